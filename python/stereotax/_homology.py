"""Clusters and loops of points at all scales, and how far apart two such descriptions are."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from . import _core
from ._arrays import Array, as_matrix, as_number, to_numpy, whole
from ._base import Result
from ._rdm import RDM
from ._ridge import _choice


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class PersistentHomology(Result):
    """Persistence diagrams of a set of points."""

    #: One array (bars × 2: birth, death) per dimension, longest bar first; without an end: infinity.
    diagrams: list[Array]
    #: Scale at which it ends, in the unit of the distances.
    threshold: float
    n_points: int
    #: Pairs of points up to the threshold.
    n_edges: int
    #: Entropy of the lengths of finite bars of each dimension, nats; NaN without one.
    entropies: list[float]


def persistent_homology(
    X: Any,
    *,
    metric: str = "euclidean",
    max_dimension: int = 1,
    threshold: float | None = None,
) -> PersistentHomology:
    """Follow clusters (dimension 0) and loops (dimension 1) of points while a scale grows.

    Formula: at scale t points closer than t are joined, and three that are joined in pairs span a triangle
    (Vietoris–Rips). A cluster is born at 0 and dies where it joins another; a loop is born with the edge
    that closes it and dies with the triangle that fills it, over Z/2.

    Parameters
    ----------
    X : array, points × coordinates; or an `RDM`, condensed or square distances
    metric : {"euclidean", "precomputed"}
        Distances of rows, or X holds distances: 0 or more, infinity for pairs that are never joined. The
        triangle inequality is not needed.
    max_dimension : {1, 0}
    threshold : float, optional
        Largest scale. By default the enclosing radius min_i max_j d(i, j): beyond it nothing happens.

    Returns
    -------
    PersistentHomology
        `diagrams[0]` clusters (one without an end), `diagrams[1]` loops; bars of no length are left out.
        With a lower threshold, what is alive there has no end.

    Errors: `ValueError` for NaN, distances below 0 (cross-validated ones may be), no point.
    Cost: n² numbers of memory; 1,000 points take some tenths of a second, seconds where long loops last.
    Source: Bauer 2021; Edelsbrunner & Harer 2010. Agrees with ripser, which rounds to single precision.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    >>> found = sx.persistent_homology(np.column_stack([np.cos(turn), np.sin(turn)]))
    >>> found.diagrams[1].round(3).tolist()  # one loop, filled at √3
    [[0.105, 1.732]]
    """
    given = _choice("metric", metric, ("euclidean", "precomputed"))
    told = (
        whole(max_dimension, "max_dimension", 1),
        None if threshold is None else as_number(threshold, "threshold"),
    )
    if given == "euclidean" and not isinstance(X, RDM):
        points = as_matrix(X, "X", axes="points × coordinates")
        return PersistentHomology(**_core.homology_of_points(points, *told), n_points=len(points))
    n_points, condensed = _condensed(X)
    found = _core.homology_of_distances(n_points, condensed.tolist(), *told)
    return PersistentHomology(**found, n_points=n_points)


def _condensed(X: Any) -> tuple[int, Array]:
    """Distances of all pairs, and of how many points."""
    if isinstance(X, RDM):
        return X.n_conditions, X.values
    array = to_numpy(X, "X").astype(np.float64, copy=False)
    if array.ndim == 1:
        n_points = int(round((1 + np.sqrt(1 + 8 * len(array))) / 2))
        return n_points, array
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ValueError(
            f"`X` has the shape {array.shape}, but distances (points × points, or condensed) expected\n"
            'hint: leave out metric="precomputed" for points × coordinates'
        )
    upper, lower = array[np.triu_indices(len(array), 1)], array.T[np.triu_indices(len(array), 1)]
    finite = np.abs(upper[np.isfinite(upper)])
    if not np.allclose(upper, lower, rtol=0, atol=1e-9 * finite.max(initial=0.0), equal_nan=True):
        raise ValueError(
            "`X` is not symmetric, but distances expected\n"
            "hint: pass (X + X.T) / 2 if the order has no meaning"
        )
    return len(array), upper


def diagram_distance(
    a: Any,
    b: Any,
    *,
    kind: str = "bottleneck",
    order: float = 1.0,
    ground: str = "chebyshev",
) -> float:
    """How far apart two persistence diagrams are.

    Formula: every bar is paired with one of the other diagram or with the diagonal, at least cost.
    "bottleneck": the largest ``max(|Δbirth|, |Δdeath|)``; to the diagonal half the length of the bar.
    "wasserstein": ``(Σ cost^order)^(1/order)``; with the Euclidean ground length/√2 to the diagonal.

    Parameters
    ----------
    a, b : array, bars × 2 (birth, death)
    kind : {"bottleneck", "wasserstein"}
    order : float, 1 or more
        Of the Wasserstein distance.
    ground : {"chebyshev", "euclidean"}
        Of the Wasserstein distance; persim takes "euclidean" and order 1.

    Returns
    -------
    float
        0 or more, exact; infinity where different numbers of bars have no end (these pair by birth). If the
        distances behind two diagrams differ by at most ε, their bottleneck distance is at most ε.

    Errors: `ValueError` for NaN, deaths before births, an order below 1.
    Cost: m and n bars: bottleneck m n √(m + n) log(m n), Wasserstein max(m, n)³.
    Source: Edelsbrunner & Harer 2010; Cohen-Steiner et al. 2007.

    Examples
    --------
    >>> import stereotax as sx
    >>> sx.diagram_distance([[0.0, 4.0], [1.0, 2.0]], [[0.0, 3.0]])
    1.0
    >>> sx.diagram_distance([[0.0, 4.0], [1.0, 2.0]], [[0.0, 3.0]], kind="wasserstein")
    1.5
    """
    bottleneck = _choice("kind", kind, ("bottleneck", "wasserstein")) == "bottleneck"
    euclidean = _choice("ground", ground, ("chebyshev", "euclidean")) == "euclidean"
    if bottleneck and (order != 1.0 or euclidean):
        raise ValueError(
            f'`order` is {order} and `ground` "{ground}", but the bottleneck distance has neither\n'
            'hint: both belong to kind="wasserstein"'
        )
    return _core.diagram_distance(
        _diagram(a, "a"), _diagram(b, "b"), None if bottleneck else as_number(order, "order"), euclidean
    )


def _diagram(values: Any, name: str) -> Array:
    array = to_numpy(values, name)
    if array.size == 0:
        return np.zeros((0, 2))
    array = as_matrix(array, name, axes="bars × 2", hint="give one row (birth, death) per bar")
    if array.shape[1] != 2:
        raise ValueError(
            f"`{name}` has {array.shape[1]} columns, but 2 (birth, death) expected\n"
            "hint: give the diagram of one dimension"
        )
    return array


def betti_curve(diagram: Any, scales: Any) -> Array:
    """Count the bars that hold each scale: ``birth ≤ t < death``.

    Parameters
    ----------
    diagram : array, bars × 2 (birth, death)
    scales : array

    Returns
    -------
    array of int
        Clusters or loops at each scale.

    Errors: `ValueError` for another shape. Cost: bars × scales. Source: Edelsbrunner & Harer 2010.

    Examples
    --------
    >>> import stereotax as sx
    >>> sx.betti_curve([[0.0, 2.0], [1.0, 3.0], [0.0, float("inf")]], [0.0, 1.0, 2.0, 3.0]).tolist()
    [2, 3, 2, 1]
    """
    at = np.atleast_1d(to_numpy(scales, "scales")).astype(np.float64)
    return _core.betti_curve(_diagram(diagram, "diagram"), at.ravel().tolist())


def persistence_entropy(diagram: Any) -> float:
    """Measure how evenly long the bars of a diagram are: ``−Σ (l/L) log(l/L)`` over finite bars, in nats.

    Parameters
    ----------
    diagram : array, bars × 2 (birth, death)

    Returns
    -------
    float
        0 for one bar, the log of their number for equal ones; NaN without a finite bar.

    Errors: `ValueError` for another shape. Cost: linear. Source: Edelsbrunner & Harer 2010.

    Examples
    --------
    >>> import stereotax as sx
    >>> round(sx.persistence_entropy([[0.0, 2.0], [1.0, 3.0]]), 4)
    0.6931
    """
    return _core.persistence_entropy(_diagram(diagram, "diagram"))
