"""Diffusion maps, and the neighbourhoods (IAN) that they can rest on."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, SEED, Array, as_matrix, as_number, whole
from ._base import Estimator
from ._ridge import _choice
from ._table import Table


class DiffusionMap(Estimator):
    """Map points so that their distances are those of a random walk between them.

    Formula: ``q = K1``, ``K_α = K_ij/(q_i q_j)^α``, ``d = K_α 1``; of ``M = D^−½ K_α D^−½ = U Λ Uᵀ`` the
    coordinates are ``λ_k^t u_k/√d``, k = 1 … by descending λ, without the constant one. New points by
    Nyström: ``ψ_k(x) = Σ_i p(x, i) ψ_k(i)/λ_k``.

    Parameters
    ----------
    n_components : int
    kernel : {"neighbors", "ian", "precomputed"}
        A Gaussian of each point and its `n_neighbors` nearest, the kernel of `IAN`, or X is the kernel
        (points × points, dense or sparse, symmetric, none below 0).
    n_neighbors : int
    bandwidth : "automatic", "local" or float
        ε of exp(−d²/ε): where d ln Σ exp(−d²/ε)/d ln ε is largest; or exp(−d²/(σ_i σ_j)) with σ the distance
        to the 7th neighbour; or ε itself.
    alpha : float
        1 divides the density of points out (Laplace–Beltrami), 0.5 Fokker–Planck, 0 keeps it.
    time : float or "commute"
        Steps t; or 1/√(1 − λ), all times at once.
    norm : {"reference", "stationary", "unit"}
        Σ d ψ² = 1; Σ π ψ² = 1 with π = d/Σd (for any number of points alike); Σ ψ² = 1.
    seed : int

    Attributes
    ----------
    embedding_ : array, points × n_components
        NaN of points that no other is connected with.
    eigenvalues_ : array
        Descending, without the trivial 1.
    labels_ : array of int
        Connected part of each point; −1 of points left out.
    n_parts_ : int
        Above 1 the kernel is disconnected: the first n_parts − 1 coordinates (λ = 1) tell parts apart.
    left_out_ : array of int
    degenerate_ : array of bool
        Coordinates whose eigenvalue is repeated: their axes are arbitrary.
    spectral_dimension_ : float
        exp of the entropy of λ^{2t}; `n_above_`: coordinates with λ^t > 0.1.
    epsilon_ : float
        NaN with "local" and other kernels.
    warnings_ : list of str

    Errors: `ValueError` for a kernel that is not symmetric or below 0, too few connected points, NaN.
    Cost: dense O(N³) to 1,500 points, then some hundred products with the sparse kernel.
    Source: Coifman & Lafon 2006; specs encoding-manifolds 3. Differs from pydiffmap: a symmetric solver, by
    value; from IAN's own: not singular values.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    >>> circle = np.column_stack([np.cos(turn), np.sin(turn)])
    >>> model = sx.DiffusionMap(2, n_neighbors=10).fit(circle)
    >>> radius = np.hypot(*model.embedding_.T)
    >>> bool(np.ptp(radius) < 1e-6 * radius[0]), model.n_parts_
    (True, 1)
    >>> model.transform(circle[:3] + 1e-3).shape
    (3, 2)
    """

    _kind = "transformer"

    def __init__(
        self,
        n_components: int = 20,
        *,
        kernel: str = "neighbors",
        n_neighbors: int = 64,
        bandwidth: str | float = "automatic",
        alpha: float = 1.0,
        time: float | str = 1.0,
        norm: str = "reference",
        seed: int = 0,
    ) -> None:
        self.n_components = n_components
        self.kernel = kernel
        self.n_neighbors = n_neighbors
        self.bandwidth = bandwidth
        self.alpha = alpha
        self.time = time
        self.norm = norm
        self.seed = seed

    def fit(self, X: Any, y: Any = None) -> DiffusionMap:
        """Map the rows of X (points × coordinates), or the points of a kernel. `y` is ignored."""
        kind = _choice("kernel", self.kernel, ("neighbors", "ian", "precomputed"))
        if isinstance(self.time, str):
            _choice("time", self.time, ("commute",))
        told = (
            whole(self.n_components, "n_components", COUNT, least=1),
            as_number(self.alpha, "alpha"),
            None if isinstance(self.time, str) else as_number(self.time, "time"),
            _choice("norm", self.norm, ("reference", "stationary", "unit")),
            whole(self.seed, "seed", SEED),
        )
        self._ian: IAN | None = None
        if kind == "precomputed":
            self._map = _core.Diffusion.of_kernel(_compressed(X), told)
        elif kind == "ian":
            self._ian = IAN(hops=0).fit(X)
            self._map = _core.Diffusion.of_kernel(self._ian._kernel, told)
        else:
            points = as_matrix(X, "X", axes="points × coordinates")
            if isinstance(self.bandwidth, str):
                word = _choice("bandwidth", self.bandwidth, ("automatic", "local"))
                width = ("neighbour", 7.0) if word == "local" else ("automatic", 0.0)
            else:
                width = ("squared", as_number(self.bandwidth, "bandwidth"))
            k = min(whole(self.n_neighbors, "n_neighbors", COUNT, least=1), max(len(points) - 1, 1))
            self._map = _core.Diffusion.of_points(points, k, width, told)
        found = self._map.results()
        self.embedding_: Array = found["coordinates"]
        self.eigenvalues_: Array = found["eigenvalues"]
        self.labels_: Array = found["components"]
        self.n_parts_: int = found["n_parts"]
        self.left_out_: Array = found["left_out"]
        self.degenerate_: Array = found["degenerate"]
        self.spectral_dimension_: float = found["spectral_dimension"]
        self.n_above_: int = found["n_above"]
        self.epsilon_: float = found["epsilon"]
        self.warnings_: list[str] = []
        if self.n_parts_ > 1:
            self.warnings_.append(
                f"the kernel falls into {self.n_parts_} parts that no walk connects; the first "
                f"{min(self.n_parts_ - 1, len(self.eigenvalues_))} coordinates only tell them apart: map "
                "each part alone (labels_), or widen the kernel"
            )
        if len(self.left_out_):
            self.warnings_.append(f"{len(self.left_out_)} points have no neighbour, and no coordinates")
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """`fit`, then the coordinates of the points themselves."""
        return self.fit(X).embedding_

    def transform(self, X: Any) -> Array:
        """Coordinates of new points (new × coordinates), or of their kernel to the points of `fit`.

        NaN for a new point that the kernel connects with none.
        """
        self._fitted("embedding_")
        if self._ian is not None:
            return self._map.extend(self._ian.kernel_rows(X), True)
        if self.kernel == "precomputed":
            if hasattr(X, "toarray"):
                X = X.toarray()
            return self._map.extend(as_matrix(X, "X", axes="new points × points"), True)
        return self._map.extend(as_matrix(X, "X", axes="points × coordinates"), False)


class IAN(Estimator):
    """Find each point's own neighbourhood, and the kernel of these: iterated adaptive neighbourhoods.

    Formula: the Gabriel graph; scales σ with Σ σ least subject to σ_i σ_j ≥ (C e_ij)² on its edges (a linear
    program); ``δ′_i = [Σ_j exp(−d_ij²/σ_i²)/m_i]/(√π/2)^{log₂ m_i}`` with m_i = max(2, degree); C such that
    the median of δ′ is 1 ± 0.1; points with outlying δ′ lose their longest edge, until there are none.
    ``K_ij = exp(−d_ij²/(σ_i σ_j))``.

    Parameters
    ----------
    c : float, optional
        C above 0, up to 1; tuned by default.
    max_prune : float
        Share of the outlying points that lose an edge in one step.
    n_sd : float
        Robust standard deviations that make δ′ outlying.
    max_steps : int
    hops : int
        How far the local dimension looks in the graph; 0 leaves it out.
    metric : {"euclidean", "precomputed"}
        "precomputed": X holds distances.

    Attributes
    ----------
    edges_ : array, edges × 2
    n_gabriel_ : int
        Edges before pruning.
    scales_ : array
        σ, in units of distance; 0 of disconnected points.
    ratios_ : array
        δ′ of the kernel; about 1, NaN of disconnected points.
    c_ : float
    disconnected_ : Table
        `point`, `last_scale`, `last_neighbor`, in the order in which they came off.
    labels_ : array of int
        Connected part of each point in the kernel; `n_parts_` counts those of two points or more.
    history_ : Table
        Per step `c`, `median` of δ′, `threshold`, `n_removed` edges.
    converged_ : bool
    dimension_, local_dimension_ : float and array
        Mean local dimension, and of each point; `by_degree_` lists points where only the degree says.
    warnings_ : list of str

    Errors: `ValueError` for fewer than 3 points, equal points (named), NaN.
    Cost: 8 N² bytes; per step of pruning a linear program, N³/3 for each of its 10–20 iterations at worst.
    Source: Dyballa & Zucker 2023; specs encoding-manifolds 2. Differs from the reference: see `converged_`
    (it asks on a prompt), our own solver, double precision.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    >>> model = sx.IAN().fit(np.column_stack([np.cos(turn), np.sin(turn)]))
    >>> len(model.edges_), model.n_parts_, model.converged_
    (60, 1, True)
    """

    def __init__(
        self,
        *,
        c: float | None = None,
        max_prune: float = 0.1,
        n_sd: float = 4.5,
        max_steps: int = 500,
        hops: int = 2,
        metric: str = "euclidean",
    ) -> None:
        self.c = c
        self.max_prune = max_prune
        self.n_sd = n_sd
        self.max_steps = max_steps
        self.hops = hops
        self.metric = metric

    def fit(self, X: Any, y: Any = None) -> IAN:
        """Neighbourhoods of the rows of X (points × coordinates, or distances). `y` is ignored."""
        precomputed = _choice("metric", self.metric, ("euclidean", "precomputed")) == "precomputed"
        self._model = _core.Neighbourhoods.fit(
            as_matrix(X, "X", axes="points × points" if precomputed else "points × coordinates"),
            precomputed,
            None if self.c is None else as_number(self.c, "c"),
            as_number(self.max_prune, "max_prune"),
            as_number(self.n_sd, "n_sd"),
            whole(self.max_steps, "max_steps", COUNT, least=1),
            whole(self.hops, "hops", 100),
        )
        found = self._model.results()
        self.edges_: Array = np.array(found["edges"], dtype=np.int64).reshape(-1, 2)
        self.n_gabriel_: int = found["n_gabriel"]
        self._kernel = found["kernel"]
        self.scales_: Array = found["scales"]
        self.ratios_: Array = found["ratios"]
        self.c_: float = found["c"]
        self.labels_: Array = found["components"]
        self.n_parts_: int = found["n_parts"]
        self.converged_: bool = found["converged"]
        self.disconnected_ = _columns(("point", "last_scale", "last_neighbor"), found["disconnected"])
        self.history_ = _columns(("c", "median", "threshold", "n_removed"), found["history"])
        self.dimension_: float | None = found.get("dimension")
        self.local_dimension_: Array | None = found.get("pointwise")
        self.by_degree_: Array | None = found.get("by_degree")
        self.warnings_: list[str] = []
        if not self.converged_:
            self.warnings_.append(f"pruning has not converged in {self.max_steps} steps; raise max_steps")
        if self.n_parts_ > 1:
            self.warnings_.append(f"the kernel falls into {self.n_parts_} parts (labels_)")
        if len(found["disconnected"]):
            self.warnings_.append(f"{len(found['disconnected'])} points are disconnected (disconnected_)")
        return self

    def kernel(self) -> Array:
        """K, points × points, dense; rows of disconnected points are 0."""
        self._fitted("scales_")
        starts, columns, values = self._kernel
        n = len(starts) - 1
        dense = np.zeros((n, n))
        dense[np.repeat(np.arange(n), np.diff(starts)), columns] = values
        return dense

    def kernel_rows(self, X: Any) -> Array:
        """K between new points and those of `fit`: σ of a new one is C times its nearest distance."""
        self._fitted("scales_")
        return self._model.extend(as_matrix(X, "X", axes="points × coordinates"))


def _columns(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Table:
    return Table({name: [row[at] for row in rows] for at, name in enumerate(names)})


def _compressed(kernel: Any) -> tuple[Array, Array, Array]:
    """Rows of a dense or SciPy matrix, without its zeros."""
    if hasattr(kernel, "tocsr"):
        rows = kernel.tocsr().copy()
        rows.sum_duplicates()
        if rows.shape[0] != rows.shape[1]:
            raise ValueError(
                f"`X` has the shape {rows.shape}, but a square kernel expected\n"
                'hint: pass points with kernel="neighbors"'
            )
        data = np.asarray(rows.data, dtype=np.float64)
        return rows.indptr.astype(np.int64), rows.indices.astype(np.int64), data
    dense = as_matrix(kernel, "X", axes="points × points")
    if dense.shape[0] != dense.shape[1]:
        raise ValueError(
            f"`X` has the shape {dense.shape}, but a square kernel expected\n"
            'hint: pass points with kernel="neighbors"'
        )
    where = dense != 0
    starts = np.concatenate([[0], np.cumsum(where.sum(axis=1))]).astype(np.int64)
    return starts, np.nonzero(where)[1].astype(np.int64), dense[where]
