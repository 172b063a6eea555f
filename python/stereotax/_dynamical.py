"""How alike two systems move, whatever their coordinates: dynamical similarity analysis (DSA)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, DRAWS, SEED, Array, as_matrix, as_names, as_number, flag, to_numpy, whole
from ._base import Estimator, Result
from ._rdm import RDM
from ._ridge import _choice

DISTANCES = ("angular", "euclidean", "eigenvalues", "eigenvalues_metric")


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class DelaySelection(Result):
    """Held-out prediction of every number of delays and rank, and the choice."""

    n_delays: Array
    ranks: Array
    mase: Array
    r2: Array
    aic: Array
    #: Standard errors over folds of the criterion.
    errors: Array
    best_n_delays: int
    best_rank: int


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class DSATest(Result):
    """A distance against a null distribution."""

    distance: float
    p_value: float
    #: (mean of the null − distance) / its standard deviation: positive where nearer than the null.
    z: float
    null: Array


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class DSAHalves(Result):
    """Distances between halves of trials, one per split."""

    within_x: Array
    within_y: Array
    between: Array


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class DSAInterval(Result):
    """A percentile interval over trials drawn with replacement."""

    lower: float
    upper: float
    #: Mean of the draws less the distance.
    bias: float
    draws: Array


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class DSAResult(Result):
    """How two systems lie to one another."""

    #: In the kind asked for.
    distance: float
    #: Radians, [0, π].
    angle: float
    euclidean: float
    #: cos(angle), and a number that no rotation exceeds.
    similarity: float
    bound: float
    #: Mean squared distance of eigenvalues under the cheapest plan, and its root.
    eigenvalues: float
    eigenvalues_metric: float
    rotation: Array
    determinant: float
    ranks: tuple[int, int]
    #: Cosines of the climbs that ran to their end, and how many reached the best within 1e-6.
    maxima: Array
    n_agreeing: int
    n_starts: int
    converged: bool
    halves: DSAHalves | None
    exchange: DSATest | None
    surrogates: DSATest | None
    interval: DSAInterval | None
    warnings: list[str]


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class PairwiseDSA(Result):
    """Distances between all pairs of systems."""

    distances: RDM
    #: How far each pair's cosine may be below the best one possible; None without rotations.
    gaps: Array | None
    ranks: list[int]
    n_unconverged: int


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class InputDSA(Result):
    """How two driven systems differ: together, and in their parts."""

    joint: float
    #: Under the joint rotation.
    state: float
    input: float
    #: Each under a rotation of its own.
    state_alone: float
    input_alone: float
    rotation: Array
    input_rotation: Array
    ranks: tuple[int, int]


class DelayDMD(Estimator):
    """The linear operator of delayed states of a recording (Hankel DMD on whitened states).

    Formula: rows ``h_t = [x_t, x_{t−τ}, …]`` of all trials, ``H = V S Wᵀ``; ``A`` of least
    ``‖V₊ − V₋ Aᵀ‖² + λ‖A‖²`` over neighbouring rows of a trial: ``v_{t+1} ≈ A v_t``. With inputs
    ``v_{t+1} ≈ A v_t + B u_t``, states scaled to a mean square of 1.

    Parameters
    ----------
    n_delays, lag : int
        q samples per state, τ samples apart. No centring.
    rank : int, float or "hard_threshold" or None
        Directions kept: a number; a share of energy in (0, 1); those above the optimal hard threshold for
        unknown noise (Gavish & Donoho 2014); None: all.
    ridge : float
        λ.

    Attributes (after `fit`): ``operator_`` (r × r), ``input_operator_`` (or None), ``eigenvalues_`` by
    descending modulus, ``residuals_`` (Koopman residuals of the eigenpairs: 0 for what the data obey exactly,
    near 1 for noise), ``singular_values_``, ``directions_`` (q·channels × r), ``rank_``, ``n_pairs_``,
    ``warnings_``.

    Errors: `ValueError` for trials that are too short, of other channels, or not finite.
    Cost: O(N p min(N, p)) for N rows and p = q·channels.
    Source: Ostrow et al. 2023; Colbrook & Townsend 2024; Proctor et al. 2016; specs encoding-manifolds 6.6.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> t = np.arange(80)
    >>> x = np.stack([0.97**t * np.cos(0.3 * t), 0.97**t * np.sin(0.3 * t)], axis=1)
    >>> model = sx.DelayDMD(rank=2, ridge=0).fit([x[:50], x[20:]])
    >>> bool(np.allclose(np.abs(model.eigenvalues_), 0.97))
    True
    """

    def __init__(
        self,
        n_delays: int = 1,
        *,
        lag: int = 1,
        rank: int | float | str | None = 0.99,
        ridge: float = 1e-8,
    ) -> None:
        self.n_delays = n_delays
        self.lag = lag
        self.rank = rank
        self.ridge = ridge

    def fit(self, X: Any, y: Any = None, *, inputs: Any = None) -> DelayDMD:
        """Fit to trials: trials × time × channels, a list of time × channels, or one time × channels."""
        trials = as_trials(X, "X")
        driven = None if inputs is None else as_trials(inputs, "inputs")
        found = _core.dsa_operator(trials, driven, self._told())
        self.operator_: Array = found["operator"]
        self.input_operator_: Array | None = found["input"]
        self.eigenvalues_: Array = found["eigenvalues"]
        self.residuals_: Array = found["residuals"]
        self.singular_values_: Array = found["singular_values"]
        self.directions_: Array = found["directions"]
        self.rank_ = int(self.operator_.shape[0])
        self.n_pairs_: int = found["n_pairs"]
        self.warnings_: list[str] = found["warnings"]
        return self

    def select(
        self,
        X: Any,
        *,
        n_delays: Sequence[int] = (1, 2, 5, 10),
        ranks: Sequence[int] = (2, 5, 10, 20),
        criterion: str = "mase",
        one_error: bool = False,
        n_folds: int = 5,
        seed: int = 0,
    ) -> DelaySelection:
        """Choose `n_delays` and `rank` by one-step prediction of held-out trials, and set both here.

        `criterion`: "mase" (error relative to "nothing changes"), "r2", or "aic" (with rank² parameters).
        With `one_error`, the smallest combination within one standard error of the best.
        """
        found = _core.dsa_select(
            as_trials(X, "X"),
            [whole(q, "n_delays", COUNT, least=1) for q in n_delays],
            [whole(r, "ranks", COUNT, least=1) for r in ranks],
            whole(self.lag, "lag", COUNT, least=1),
            as_number(self.ridge, "ridge"),
            whole(n_folds, "n_folds", COUNT, least=2),
            _choice("criterion", criterion, ("mase", "r2", "aic")),
            flag(one_error, "one_error"),
            whole(seed, "seed", SEED),
        )
        chosen = found["chosen"]
        self.n_delays, self.rank = found["n_delays"][chosen], found["ranks"][chosen]
        return DelaySelection(
            n_delays=np.array(found["n_delays"]),
            ranks=np.array(found["ranks"]),
            mase=found["mase"],
            r2=found["r2"],
            aic=found["aic"],
            errors=found["errors"],
            best_n_delays=self.n_delays,
            best_rank=int(self.rank),
        )

    def _told(self) -> dict[str, Any]:
        rank, energy, hard = None, None, False
        if isinstance(self.rank, str):
            hard = _choice("rank", self.rank, ("hard_threshold",)) == "hard_threshold"
        elif isinstance(self.rank, float | np.floating):
            energy = float(self.rank)
        elif self.rank is not None:
            rank = whole(self.rank, "rank", COUNT, least=1)
        return {
            "n_delays": whole(self.n_delays, "n_delays", COUNT, least=1),
            "lag": whole(self.lag, "lag", COUNT, least=1),
            "rank": rank,
            "energy": energy,
            "hard": hard,
            "ridge": as_number(self.ridge, "ridge"),
        }


def as_trials(values: Any, name: str) -> list[Array]:
    """Trials (time × channels each) from three axes, a list, or a single trial."""
    if isinstance(values, list | tuple):
        return [as_matrix(trial, f"{name}[{k}]", axes="time × channels") for k, trial in enumerate(values)]
    array = to_numpy(values, name)
    if array.ndim == 3:
        return [as_matrix(trial, name, axes="time × channels") for trial in array]
    return [as_matrix(array, name, axes="time × channels", hint="pass trials × time × channels")]


def _how(distance: str, unequal: str, n_starts: int, max_iter: int, tol: float, seed: int) -> dict[str, Any]:
    return {
        "distance": _choice("distance", distance, DISTANCES),
        "pad": _choice("unequal", unequal, ("pad", "refuse")) == "pad",
        "n_starts": whole(n_starts, "n_starts", COUNT),
        "max_iter": whole(max_iter, "max_iter", COUNT, least=1),
        "tol": as_number(tol, "tol"),
        "seed": whole(seed, "seed", SEED),
    }


def _is_system(values: Any) -> bool:
    return isinstance(values, DelayDMD)


def dsa(
    X: Any,
    Y: Any,
    *,
    n_delays: int = 1,
    lag: int = 1,
    rank: int | float | str | None = 0.99,
    ridge: float = 1e-8,
    distance: str = "angular",
    unequal: str = "pad",
    n_starts: int = 10,
    max_iter: int = 1000,
    tol: float = 1e-7,
    n_splits: int = 0,
    n_permutations: int = 0,
    n_surrogates: int = 0,
    surrogate: str = "phases",
    n_bootstraps: int = 0,
    paired: bool = False,
    level: float = 0.95,
    seed: int = 0,
) -> DSAResult:
    """How differently two systems move, whatever coordinates they are recorded in.

    Formula: with operators A, B of delayed states (`DelayDMD`), ``cos θ = max_C ⟨A, C B Cᵀ⟩ / (‖A‖‖B‖)`` over
    all orthogonal C. "angular" is θ in [0, π], "euclidean" ``min_C ‖A − C B Cᵀ‖`` (not squared).
    "eigenvalues" is the mean squared distance between eigenvalues under the cheapest plan, *not*
    square-rooted (what DSA 2 reports as "wasserstein" up to its factor n); "eigenvalues_metric" its root. 0
    is the same in all.

    Parameters
    ----------
    X, Y : array, trials × time × channels; or a list of time × channels (unequal lengths); or a fitted
    `DelayDMD`
        The two systems. Channels may differ in number and kind.
    n_delays, lag, rank, ridge
        The fit, see `DelayDMD`.
    unequal : {"pad", "refuse"}
        Operators of different ranks: zeros are added to the smaller one, or an error. ("eigenvalues" shares
        mass evenly instead.)
    n_starts, max_iter, tol
        Random starts in each component of O(n), beside those from matched eigenvectors; the climb's limits.
    n_splits : int
        Splits of trials in halves: distances within and between systems (0: none).
    n_permutations : int
        Exchanges of trials between the systems: p that they *differ*. The same channels are needed.
    n_surrogates : int, surrogate : {"phases", "time_order"}
        Surrogates of Y: p that the systems are *alike*. "phases" keeps the spectrum of each channel;
        "time_order" destroys the dynamics, so beating it says little.
    n_bootstraps, paired, level
        Trials drawn with replacement (the same ones in both, if `paired`): percentile interval.
    seed : int
        Of all draws.

    Returns
    -------
    DSAResult
        ``distance`` and all kinds of it, ``rotation``, ``bound`` (a cosine above which none can be: if
        ``similarity`` is near it, the maximum is global), ``maxima``; ``halves``, ``exchange``,
        ``surrogates``, ``interval`` where asked for.

    Errors: `ValueError` for trials too short, other channels within a system, values that are not finite;
    `ValueError` for draws with fitted systems (they need the trials).
    Undefined: an operator of zeros has no angle (NaN).
    Cost: about 1000 steps of O(r³) per comparison; draws refit everything.
    Source: Ostrow et al. 2023; specs encoding-manifolds 6.6, nfas-dmd 14.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> t = np.arange(60)[:, None]
    >>> x = 0.98**t * np.cos(0.3 * t + rng.uniform(0, 6, size=(20, 1, 2)))
    >>> turn, _ = np.linalg.qr(rng.normal(size=(2, 2)))
    >>> bool(sx.dsa(x, x @ turn, n_delays=2, rank=4).distance < 1e-6)
    True
    >>> y = 0.98**t * np.cos(0.8 * t + rng.uniform(0, 6, size=(20, 1, 2)))
    >>> round(sx.dsa(x, y, n_delays=2, rank=4, n_permutations=99).exchange.p_value, 2)
    0.01
    """
    how = _how(distance, unequal, n_starts, max_iter, tol, seed)
    model = DelayDMD(n_delays, lag=lag, rank=rank, ridge=ridge)
    fits = [_fitted_system(side, model, name) for side, name in ((X, "X"), (Y, "Y"))]
    counts = {
        "halves": whole(n_splits, "n_splits", DRAWS),
        "exchange": whole(n_permutations, "n_permutations", DRAWS),
        _choice("surrogate", surrogate, ("phases", "time_order")): whole(n_surrogates, "n_surrogates", DRAWS),
        "bootstrap": whole(n_bootstraps, "n_bootstraps", DRAWS),
    }
    if any(counts.values()) and (_is_system(X) or _is_system(Y)):
        raise ValueError(
            "`X` or `Y` is a fitted DelayDMD, but trials expected where there are splits or draws\n"
            "hint: pass the recordings, and n_delays, rank and so on as arguments"
        )
    found = _core.dsa_compare(fits[0].operator_, fits[1].operator_, how)
    drawn: dict[str, Any] = {}
    for what, count in counts.items():
        if count:
            drawn[what] = _core.dsa_inference(
                as_trials(X, "X"), as_trials(Y, "Y"), model._told(), model._told(), how, what, count,
                as_number(level, "level"), flag(paired, "paired"),
            )  # fmt: skip
    interval = drawn.get("bootstrap")
    if interval is not None:
        interval = DSAInterval(**{key: interval[key] for key in ("lower", "upper", "bias", "draws")})
    names = {
        "angular": "angle",
        "euclidean": "euclidean",
        "eigenvalues": "eigenvalues",
        "eigenvalues_metric": "eigenvalues_metric",
    }
    return DSAResult(
        distance=found[names[distance]],
        angle=found["angle"],
        euclidean=found["euclidean"],
        similarity=found["similarity"],
        bound=found["bound"],
        eigenvalues=found["eigenvalues"],
        eigenvalues_metric=found["eigenvalues_metric"],
        rotation=found["rotation"],
        determinant=found["determinant"],
        ranks=(fits[0].rank_, fits[1].rank_),
        maxima=found["maxima"],
        n_agreeing=found["n_agreeing"],
        n_starts=found["n_starts"],
        converged=found["converged"],
        halves=DSAHalves(**drawn["halves"]) if "halves" in drawn else None,
        exchange=DSATest(**drawn["exchange"]) if "exchange" in drawn else None,
        surrogates=DSATest(**drawn[surrogate]) if surrogate in drawn else None,
        interval=interval,
        warnings=fits[0].warnings_ + fits[1].warnings_,
    )


def _fitted_system(side: Any, model: DelayDMD, name: str) -> DelayDMD:
    if _is_system(side):
        side._fitted("operator_")
        fitted: DelayDMD = side
        return fitted
    return DelayDMD(**model.get_params()).fit(as_trials(side, name))


def pairwise_dsa(
    systems: Any,
    *,
    names: Any = None,
    n_delays: int = 1,
    lag: int = 1,
    rank: int | float | str | None = 0.99,
    ridge: float = 1e-8,
    distance: str = "angular",
    unequal: str = "pad",
    n_starts: int = 10,
    max_iter: int = 1000,
    tol: float = 1e-7,
    seed: int = 0,
) -> PairwiseDSA:
    """DSA distances between all pairs of systems, each fitted once, pairs in parallel.

    Formula, shapes and settings: see `dsa`.

    Parameters
    ----------
    systems : list or dict
        One recording (see `dsa`), fitted `DelayDMD`, or square operator wrapped as one per system; a
        dictionary names them.
    names : list of str, optional
        One per system.

    Returns
    -------
    PairwiseDSA
        ``distances`` as an `RDM` (one condition per system), ``gaps`` (how far each cosine may be below the
        best possible), ``ranks``, ``n_unconverged``.

    Errors: `ValueError` for fewer than two systems, and those of `dsa`. Undefined: see `dsa`; such pairs are
    NaN. Cost: that of `dsa` per pair; the numbers do not depend on the number of threads.
    Source: Ostrow et al. 2023; specs peers W9.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> t = np.arange(50)[:, None]
    >>> record = lambda rate: 0.98**t * np.cos(rate * t + rng.uniform(0, 6, size=(10, 1, 2)))
    >>> found = sx.pairwise_dsa({"a": record(0.3), "b": record(0.3), "c": record(0.9)}, rank=2)
    >>> found.distances.conditions, bool(found.distances.values[0] < found.distances.values[1:].min())
    (['a', 'b', 'c'], True)
    """
    if hasattr(systems, "keys"):
        names = list(systems.keys()) if names is None else names
        systems = list(systems.values())
    model = DelayDMD(n_delays, lag=lag, rank=rank, ridge=ridge)
    fits = [_fitted_system(side, model, f"systems[{k}]") for k, side in enumerate(systems)]
    how = _how(distance, unequal, n_starts, max_iter, tol, seed)
    found = _core.dsa_pairs([fit.operator_ for fit in fits], how)
    labels = None if names is None else as_names(names, "names")
    distances = RDM.of(found["distances"], conditions=labels, method=f"dsa {distance}")
    return PairwiseDSA(
        distances=distances,
        gaps=found["gaps"] if distance in ("angular", "euclidean") else None,
        ranks=[fit.rank_ for fit in fits],
        n_unconverged=found["n_unconverged"],
    )


def input_dsa(
    X: Any,
    Y: Any,
    inputs_x: Any = None,
    inputs_y: Any = None,
    *,
    n_delays: int = 1,
    lag: int = 1,
    rank: int | float | str | None = 0.99,
    ridge: float = 1e-8,
    distance: str = "angular",
    rotate_inputs: bool = False,
    n_powers: int | None = None,
    n_starts: int = 10,
    seed: int = 0,
) -> InputDSA:
    """How differently two driven systems move: together, and in what is their own and what the inputs do.

    Formula: ``v_{t+1} ≈ A v_t + B u_t`` (`DelayDMD` with inputs); ``K = [B, AB, AᵀB, A²B, …]``;
    C of least ``‖K₁ − C K₂‖`` (Procrustes). ``joint`` compares K₁ with C K₂; ``state`` A₁ with C A₂ Cᵀ and
    ``input`` B₁ with C B₂ under that C; ``state_alone`` (DSA) and ``input_alone`` each under their own best
    C.

    Parameters
    ----------
    X, Y, inputs_x, inputs_y : array, trials × time × channels (or lists); or `DelayDMD` fitted with inputs
        Recordings and what drove them, on the same clock; the same input variables in both.
    n_delays, lag, rank, ridge, n_starts, seed
        See `dsa`.
    distance : {"angular", "euclidean"}
        Angles in [0, π], or Frobenius norms (not squared).
    rotate_inputs : bool
        Whether inputs are known up to an orthogonal change of coordinates only (a local optimum).
    n_powers : int, optional
        Blocks Aᵏ B, k from 0; as many as states by default.

    Returns
    -------
    InputDSA
        0 is the same.

    Errors: `ValueError` for inputs of other lengths or numbers. Undefined: NaN angles where a matrix is 0.
    Cost: O(r³ · inputs). Source: Huang et al. 2025; specs nfas-dmd 14.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> def record(a, b, turn):
    ...     u, x = rng.normal(size=(5, 80, 1)), np.zeros((5, 80, 2))
    ...     for t in range(79):
    ...         x[:, t + 1] = x[:, t] @ a.T + u[:, t] @ b.T
    ...     return x @ turn, u
    >>> a, b = np.array([[0.8, -0.3], [0.3, 0.8]]), np.array([[1.0], [0.2]])
    >>> x, u = record(a, b, np.eye(2))
    >>> y, w = record(a, b, np.array([[0.0, 1.0], [1.0, 0.0]]))
    >>> bool(sx.input_dsa(x, y, u, w, rank=2).state_alone < 0.1)
    True
    """
    fits = []
    for side, inputs, name in ((X, inputs_x, "X"), (Y, inputs_y, "Y")):
        if _is_system(side):
            side._fitted("operator_")
            fits.append(side)
        else:
            model = DelayDMD(n_delays, lag=lag, rank=rank, ridge=ridge)
            driven = None if inputs is None else as_trials(inputs, f"inputs_{name.lower()}")
            fits.append(model.fit(as_trials(side, name), inputs=driven))
        if fits[-1].input_operator_ is None:
            raise ValueError(
                f"`{name}` has no inputs, but inputs expected\nhint: pass inputs_x and inputs_y, or use dsa"
            )
    how = _how(_choice("distance", distance, DISTANCES[:2]), "pad", n_starts, 1000, 1e-7, seed)
    found = _core.dsa_inputs(
        fits[0].operator_,
        fits[0].input_operator_,
        fits[1].operator_,
        fits[1].input_operator_,
        flag(rotate_inputs, "rotate_inputs"),
        None if n_powers is None else whole(n_powers, "n_powers", COUNT, least=1),
        how,
    )
    return InputDSA(**found, ranks=(fits[0].rank_, fits[1].rank_))
