"""Non-negative tensor factorisation, plain and with maps that may rotate over directions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, SEED, Array, as_number, to_numpy, whole
from ._base import Estimator, Result
from ._responses import ResponseTensor
from ._ridge import _choice
from ._table import Table


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class CPFit(Result):
    """One factorisation."""

    #: One per component, descending.
    weights: Array
    #: One per mode, size × rank, columns of norm 1; directions × time are one mode where maps may rotate.
    factors: list[Array]
    #: Directions by which maps moved, units × stimuli flat; empty for plain fits.
    shifts: Array
    #: Silent maps, whose shift is 0.
    n_undefined_shifts: int
    #: Share of the squared norm that is not explained.
    error: float
    #: It, before each iteration and after the last.
    history: Array
    n_iter: int
    converged: bool
    #: How often a component that had died was planted again.
    n_reseeded: int
    #: Components without weight.
    dead: list[int]


class _CP(Estimator):
    """What both factorisations share."""

    _kind = "transformer"
    _cyclic = False

    def __init__(
        self,
        rank: int = 10,
        *,
        n_starts: int = 1,
        max_iter: int = 200,
        tol: float = 1e-6,
        inner_sweeps: int = 3,
        init: Any = "random",
        fixed_modes: Sequence[int] = (),
        seed: int = 0,
    ) -> None:
        self.rank = rank
        self.n_starts = n_starts
        self.max_iter = max_iter
        self.tol = tol
        self.inner_sweeps = inner_sweeps
        self.init = init
        self.fixed_modes = fixed_modes
        self.seed = seed

    def _settings(self) -> dict[str, Any]:
        return {
            "max_iter": whole(self.max_iter, "max_iter", COUNT),
            "tol": as_number(self.tol, "tol"),
            "inner_sweeps": whole(self.inner_sweeps, "inner_sweeps", 1000, least=1),
            "seed": whole(self.seed, "seed", SEED),
        }

    def _fit(self, X: Any, mask: Any) -> None:
        tensor, shape, warnings = tensor_of(X, mask, self._cyclic)
        rank, settings = whole(self.rank, "rank", COUNT, least=1), self._settings()
        given = not isinstance(self.init, str)
        n_starts = whole(self.n_starts, "n_starts", COUNT, least=1)
        if given or n_starts == 1:
            init = None if not given else [_factor(factor, i) for i, factor in enumerate(self.init)]
            if not given:
                _choice("init", self.init, ("random",))
            fixed = [whole(mode, "fixed_modes", 32) for mode in self.fixed_modes]
            fits = {0: CPFit(**_core.fit_cp(tensor, rank, 0, settings, init, fixed))}
        else:
            _choice("init", self.init, ("random",))
            if list(self.fixed_modes):
                raise ValueError("`fixed_modes` are given, but `init` is not\nhint: pass one factor per mode")
            fits = {}

            def receive(rank: int, start: int, fit: dict[str, Any]) -> None:
                fits[start] = CPFit(**fit)

            _core.cp_sweep(tensor, [(rank, start) for start in range(n_starts)], settings, receive)
        self.start_errors_: Array = np.array([fits[start].error for start in sorted(fits)])
        self._take(fits[int(np.argmin(self.start_errors_))], tensor, shape)
        if not self.converged_:
            warnings.append(
                f"stopped at {self.n_iter_} iterations before the error settled: raise `max_iter`"
            )
        if self.fit_.dead:
            warnings.append(
                f"components {self.fit_.dead} have no weight: the tensor holds fewer than {rank} components"
            )
        self.warnings_: list[str] = warnings

    def _take(self, fit: CPFit, tensor: _core.CpTensor, shape: tuple[int, ...]) -> None:
        self.fit_ = fit
        self._tensor, self._shape = tensor, shape
        self.weights_: Array = fit.weights
        self.factors_: list[Array] = fit.factors
        self.error_: float = fit.error
        self.history_: Array = fit.history
        self.n_iter_: int = fit.n_iter
        self.converged_: bool = fit.converged
        self.n_features_in_ = int(np.prod(shape[1:]))

    def fit_transform(self, X: Any, y: Any = None, *, mask: Any = None) -> Array:
        """Fit, and return the coefficients of the units (units × rank): weights times the first factor."""
        self._fit(X, mask)
        scores: Array = self.factors_[0] * self.weights_
        return scores

    def transform(self, X: Any, *, mask: Any = None) -> Array:
        """Coefficients (units × rank) of other units on the fitted components, which stay as they are."""
        fit: CPFit = self._fitted("fit_")
        tensor, shape, _ = tensor_of(X, mask, self._cyclic)
        if shape[1:] != self._shape[1:]:
            raise ValueError(
                f"`X` has the shape {shape}, but {('any number', *self._shape[1:])} expected (as in `fit`)\n"
                "hint: other units of the same stimuli, directions and bins"
            )
        rank = len(fit.weights)
        init = [np.full((shape[0], rank), float(np.mean(self.factors_[0]))), *self.factors_[1:]]
        found = CPFit(**_core.fit_cp(tensor, rank, 0, self._settings(), init, list(range(1, len(init)))))
        # Components come back by weight; their other factors say which is which.
        order = _core.match_components(self.factors_[1:], found.factors[1:], None)["order"]
        scores: Array = (found.factors[0] * found.weights)[:, order]
        return scores

    def reconstruct(self) -> Array:
        """The tensor that the components make, with maps as the fit rotated them (not rotated back)."""
        product = self._fitted("weights_") * np.ones((1, len(self.weights_)))
        for factor in self.factors_:
            product = (product[:, None, :] * factor[None]).reshape(-1, product.shape[1])
        values: Array = product.sum(axis=1).reshape(self._shape)
        return values


class NonNegativeCP(_CP):
    """Factor a tensor of any number of modes into few non-negative components (CP, PARAFAC).

    Formula: ``min ½ ‖X − Σ_r w_r a_r ∘ b_r ∘ c_r ∘ …‖²`` with all factors ≥ 0; block coordinate descent
    (HALS) that never
    raises the objective.

    Parameters
    ----------
    rank : int
        Components.
    n_starts : int
        Random starts, run in parallel; the one with the least error is kept.
    max_iter : int
        Most iterations; 0 returns the start.
    tol : float
        Stop once the error changes by no more than this share, twice in a row.
    inner_sweeps : int
        Sweeps of coordinate descent per mode and iteration.
    init : "random" or list of arrays
        Factors to start from, size × rank each, weights included in any of them.
    fixed_modes : sequence of int
        Modes that stay as in `init` (their columns are returned at norm 1).
    seed : int

    Attributes
    ----------
    weights_ : array, rank
        Descending.
    factors_ : list of arrays, size × rank
        Columns of norm 1, entries ≥ 0.
    error_ : float
        ``‖X − model‖² / ‖X‖²`` over observed entries, in [0, 1] for random starts; its root is tensortools'
        and
        tensorly's error.
    history_ : array
        The error before each iteration and after the last.
    n_iter_, converged_, start_errors_, warnings_ : how the fit went, in words where something is to be known
    fit_ : CPFit

    Errors: `ValueError` for a rank above what the tensor can need, a tensor without response, entries that
    are not
    finite and not masked. Undefined: components are determined up to order and scale. Cost: O(entries ·
    rank) per
    iteration; no unfolding is copied.

    Source: Cichocki & Phan 2009; Gillis & Glineur 2012; specs encoding-manifolds 1.5. The objective is that
    of tensorly's
    `non_negative_parafac_hals` and tensortools' `ncp_hals`.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> a, b, c = (rng.uniform(size=(n, 2)) for n in (30, 6, 20))
    >>> cp = sx.NonNegativeCP(rank=2, max_iter=2000, tol=1e-10).fit(np.einsum("ir,jr,kr->ijk", a, b, c))
    >>> bool(cp.error_ < 1e-5)
    True
    >>> [factor.shape for factor in cp.factors_]
    [(30, 2), (6, 2), (20, 2)]
    """

    def fit(self, X: Any, y: Any = None, *, mask: Any = None) -> NonNegativeCP:
        """Fit `X`: an array of two modes or more, or a `ResponseTensor`. `mask` (same shape) is True where
        observed."""
        self._fit(X, mask)
        return self


class ShiftInvariantCP(_CP):
    """Factor responses into components that do not depend on units' preferred directions.

    Formula, with P_k the rotation of a map (directions × time) by k directions:
    ``min ½ Σ_{n,s} min_k ‖P_k z_ns − Σ_r w_r A[n,r] B[s,r] C[:,r]‖²``, all factors ≥ 0. One rotation per unit
    and stimulus,
    shared by all components. Block coordinate descent in which rotations are a block: the objective never
    rises.

    Parameters
    ----------
    rank, n_starts, max_iter, tol, inner_sweeps, init, fixed_modes, seed
        As in `NonNegativeCP`; the modes are units, stimuli, and directions × time together.

    Attributes
    ----------
    weights_, factors_, error_, history_, n_iter_, converged_, start_errors_, warnings_, fit_
        As in `NonNegativeCP`.
    maps_ : array, directions × time × rank
        The components' maps.
    shifts_ : array of int, units × stimuli
        The unit's direction d stands at direction d + shift of the component. 0 for silent maps.
    units_, stimuli_ : lists of names

    Ties take the smallest shift. Fits are determined up to the order of components and one rotation of
    everything:
    compare them with `match_components`. Errors: as `NonNegativeCP`. With one direction it is the plain
    factorisation.
    Cost: O(entries · (rank + directions)) per iteration.

    Source: Dyballa et al. 2024; specs encoding-manifolds 1.5. Differs from the authors' solvers (L-BFGS-B on
    the minimum
    over shifts; one sweep per mode): see there.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> map_ = rng.uniform(size=(4, 10))
    >>> values = np.stack([np.roll(map_, k, axis=0) for k in (0, 1, 3)])[:, None]
    >>> responses = sx.ResponseTensor(values, stimuli=["dots"], directions=[0, 90, 180, 270], bin_s=0.1)
    >>> cp = sx.ShiftInvariantCP(rank=1).fit(responses)
    >>> bool(cp.error_ < 1e-12), (np.diff(cp.shifts_[:, 0]) % 4).tolist()
    (True, [3, 2])
    """

    _cyclic = True

    def fit(self, X: Any, y: Any = None, *, mask: Any = None) -> ShiftInvariantCP:
        """Fit `X`: a `ResponseTensor`, or an array units × stimuli × directions × time."""
        self._fit(X, mask)
        named = isinstance(X, ResponseTensor)
        values = X.values if named else np.asarray(X)
        self._silent_maps: Array = ~np.nan_to_num(values).reshape(*self._shape[:2], -1).any(axis=2)
        self.units_ = list(X.units) if named else [f"unit {n}" for n in range(self._shape[0])]
        self.stimuli_ = list(X.stimuli) if named else [f"stimulus {s}" for s in range(self._shape[1])]
        return self

    def fit_transform(self, X: Any, y: Any = None, *, mask: Any = None) -> Array:
        """Fit, and return the coefficients of the units (units × rank): weights times the first factor."""
        self.fit(X, mask=mask)
        scores: Array = self.factors_[0] * self.weights_
        return scores

    def _take(self, fit: CPFit, tensor: _core.CpTensor, shape: tuple[int, ...]) -> None:
        super()._take(fit, tensor, shape)
        self.shifts_: Array = fit.shifts.astype(int).reshape(shape[:2])
        self.maps_: Array = fit.factors[2].reshape(*shape[2:], -1)


def tensor_of(X: Any, mask: Any, cyclic: bool) -> tuple[_core.CpTensor, tuple[int, ...], list[str]]:
    """The core's tensor, its shape, and what is to be said of it."""
    warnings = []
    if isinstance(X, ResponseTensor):
        values, observed = X.values, X.observed
        if X.silent_units:
            warnings.append(f"units without any response: {_some(X.silent_units)}; their coefficients are 0")
        if X.silent_stimuli:
            warnings.append(f"stimuli without any response: {_some(X.silent_stimuli)}")
        flat = np.nan_to_num(values.reshape(len(X.units), -1))
        _, first, counts = np.unique(flat, axis=0, return_index=True, return_counts=True)
        twice = [X.units[n] for n in np.sort(first[counts > 1]) if flat[n].any()]
        if twice:
            warnings.append(f"units with the same responses as another: {_some(twice)}")
        if X.shape[2] == 1 and cyclic:
            warnings.append("one direction only: nothing can rotate, and the fit is the plain factorisation")
    else:
        values, observed = to_numpy(X, "X"), None
        rows = np.nan_to_num(values).reshape(len(values), -1) if values.size else np.ones((0, 1))
        silent = np.flatnonzero(~rows.any(axis=1))
        if silent.size:
            warnings.append(f"units without any response: {_some([str(n) for n in silent])} (counted from 0)")
    if cyclic and values.ndim != 4:
        raise ValueError(
            f"`X` has the shape {values.shape}, but four axes (units × stimuli × directions × time) "
            f"expected\n"
            "hint: pass a ResponseTensor, or NonNegativeCP for other tensors"
        )
    if mask is not None:
        given = np.asarray(mask)
        if given.shape != values.shape or given.dtype != bool:
            raise ValueError(
                f"`mask` has the shape {given.shape} and holds {given.dtype}, but bool of {values.shape} "
                f"expected\n"
                "hint: True where an entry is observed"
            )
        observed = given if observed is None else given & observed
    flat_values = np.ascontiguousarray(values, dtype=np.float64).ravel()
    flat_mask = None if observed is None else np.ascontiguousarray(observed).ravel()
    return _core.CpTensor(list(values.shape), flat_values, flat_mask, cyclic), values.shape, warnings


def _factor(factor: Any, mode: int) -> Array:
    array = to_numpy(factor, f"init of mode {mode}")
    if array.ndim != 2:
        raise ValueError(f"`init` of mode {mode} has the shape {array.shape}, but size × rank expected")
    return np.ascontiguousarray(array, dtype=np.float64)


def _some(names: Sequence[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ComponentMatch(Result):
    """Which component is which."""

    #: For each component of the first fit, the one of the second.
    order: Array
    #: The product of the cosines of each pair's factors, in [0, 1].
    similarity: Array
    #: Directions by which the maps of the second were rotated.
    shift: int


def match_components(a: Any, b: Any) -> ComponentMatch:
    """Match the components of two fits, blind to their order, their scales and a rotation of everything.

    Formula: the assignment, and for shift-invariant fits the rotation k, that maximise the sum of
    ``cos(a_i, a'_j) cos(b_i, b'_j) cos(c_i, P_k c'_j)``.

    Parameters
    ----------
    a, b : fitted estimators of the same kind, tensor shape and rank

    Returns
    -------
    ComponentMatch
        ``order`` (component of `b` for each of `a`), ``similarity`` (1: the same), ``shift``.

    Errors: `ValueError` for other shapes or ranks. A dead component has the similarity 0. Source: specs
    encoding-manifolds 1.5. Cost: O(directions · rank³).

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> X = np.random.default_rng(0).uniform(size=(20, 5, 8))
    >>> fits = [sx.NonNegativeCP(rank=1, seed=seed, tol=1e-12).fit(X) for seed in (0, 1)]
    >>> bool(sx.match_components(*fits).similarity[0] > 0.999)
    True
    """
    cyclic = None
    if isinstance(a, ShiftInvariantCP) != isinstance(b, ShiftInvariantCP):
        raise ValueError("one fit is plain and the other shift-invariant, but two of a kind expected")
    if isinstance(a, ShiftInvariantCP):
        cyclic = (a._fitted("_shape")[1], a._shape[2], a._shape[3])
    found = _core.match_components(a._fitted("factors_"), b._fitted("factors_"), cyclic)
    return ComponentMatch(**found)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class CPSweep(Result):
    """Factorisations of many ranks from many starts, and what rules say of the rank."""

    #: One row per rank: errors, dimension and its slope, similarity of starts, held-out errors, core
    #: consistency.
    ranks: Table
    #: One row per fit.
    starts: Table
    #: The rank each rule chooses; None where it chooses none.
    chosen: dict[str, int | None]
    #: What is to be known of them.
    warnings: list[str]
    #: Every fit by (rank, start).
    fits: dict[tuple[int, int], CPFit]
    _tensor: Any
    _shape: tuple[int, ...]
    _named: tuple[list[str], list[str]]
    _silent_maps: Array
    _settings: dict[str, Any]

    def best(self, rank: int) -> NonNegativeCP | ShiftInvariantCP:
        """The start with the least error at a rank, as a fitted estimator."""
        found = [(fit.error, start) for (r, start), fit in self.fits.items() if r == rank]
        if not found:
            raise ValueError(
                f"`rank` is {rank}, but one of {sorted({r for r, _ in self.fits})} expected (what was swept)"
            )
        fit = self.fits[rank, min(found)[1]]
        kind = ShiftInvariantCP if len(fit.shifts) else NonNegativeCP
        made = kind(rank, **self._settings)
        made._take(fit, self._tensor, self._shape)
        made.start_errors_ = np.array([error for error, _ in sorted(found, key=lambda x: x[1])])
        made.warnings_ = []
        if isinstance(made, ShiftInvariantCP):
            made.units_, made.stimuli_ = self._named
            made._silent_maps = self._silent_maps
        return made

    def __repr__(self) -> str:
        rules = ", ".join(f"{rule}: {rank}" for rule, rank in self.chosen.items())
        return f"CPSweep({len(self.fits)} fits; {rules})\n{self.ranks!r}"


def cp_sweep(
    X: Any,
    *,
    ranks: Sequence[int] = tuple(range(2, 31)),
    n_starts: int = 30,
    shift_invariant: bool | None = None,
    mask: Any = None,
    cv_splits: int = 0,
    cv_share: float = 0.1,
    cv_block: int = 1,
    min_similarity: float = 0.9,
    max_iter: int = 200,
    tol: float = 1e-6,
    inner_sweeps: int = 3,
    seed: int = 0,
    callback: Callable[[int, int, CPFit], Any] | None = None,
    finished: Mapping[tuple[int, int], CPFit] | None = None,
) -> CPSweep:
    """Fit many ranks from many starts in parallel, and say by several rules how many components there are.

    Formula of the rules: *plateau* the smallest rank at which the slope of the mean dimension (smoothed over
    ranks, σ =
    1.5) falls below a tenth of its maximum and stays there for three ranks, else where the curve bends most
    (then there
    is a warning); the dimension of a start is ``Σ v / max v`` of the variances v of its unit-norm unit
    factor, centred
    over components. *stability* the largest rank whose starts resemble the best one with a median of at least
    `min_similarity`. *cv* the smallest rank whose held-out error is within one standard error of the least.

    Parameters
    ----------
    X : ResponseTensor or array
        As in `NonNegativeCP` and `ShiftInvariantCP`.
    ranks : sequence of int
    n_starts : int
        The authors take 30 to 50.
    shift_invariant : bool, optional
        By default True for a `ResponseTensor`, False for an array.
    mask : array of bool, optional
    cv_splits : int
        Splits of cross-validation, each hiding `cv_share` of the entries in blocks of `cv_block` time bins;
        0 for none.
    min_similarity : float
    max_iter, tol, inner_sweeps, seed
        As in `NonNegativeCP`.
    callback : callable, optional
        ``callback(rank, start, fit)`` soon after each fit, in the main thread; store `fit` to go on later.
    finished : mapping of (rank, start) to CPFit, optional
        What an earlier call with the same `X` and settings has finished; not fitted again.

    Returns
    -------
    CPSweep
        ``ranks`` (Table: ``rank``, ``error_best``, ``error_mean``, ``error_sd``, ``dimension_mean``,
        ``dimension_sd``, ``dimension_smoothed``, ``dimension_slope``, ``similarity_median``,
        ``held_out_mean``, ``held_out_se``,
        ``core_consistency``), ``starts``, ``chosen``, ``fits``, and ``best(rank)``.

    A fit's bits depend on seed, rank and start alone, not on threads or on what was finished before. Rules
    may disagree;
    the authors choose by eye. Undefined (NaN): dimension at rank 1, similarity with one start, core
    consistency with
    missing entries or above the size of a mode. Errors: as the estimators. Cost: ranks × starts fits; each
    thread holds
    a few tiles besides the tensor.

    Source: Dyballa et al. 2024; Bro & Kiers 2003; specs encoding-manifolds 1.6.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> a, b, c = (rng.exponential(size=(n, 3)) for n in (40, 6, 20))
    >>> sweep = sx.cp_sweep(np.einsum("ir,jr,kr->ijk", a, b, c), ranks=range(1, 6), n_starts=4, max_iter=500)
    >>> sweep.ranks["rank"].tolist(), bool(sweep.best(3).error_ < 1e-3)
    ([1, 2, 3, 4, 5], True)
    """
    cyclic = isinstance(X, ResponseTensor) if shift_invariant is None else bool(shift_invariant)
    tensor, shape, warnings = tensor_of(X, mask, cyclic)
    wanted = sorted({whole(rank, "ranks", COUNT, least=1) for rank in ranks})
    if not wanted:
        raise ValueError("`ranks` is empty, but one rank at least expected\nhint: range(2, 31) is customary")
    if wanted[-1] > tensor.most_components:
        raise ValueError(
            f"`ranks` goes to {wanted[-1]}, but {tensor.most_components} at most expected (a tensor of "
            f"{shape} needs no "
            "more components)\nhint: sweep over fewer ranks"
        )
    starts = whole(n_starts, "n_starts", COUNT, least=1)
    chosen_settings: dict[str, Any] = {
        "max_iter": max_iter,
        "tol": tol,
        "inner_sweeps": inner_sweeps,
        "seed": seed,
    }
    settings = NonNegativeCP(**chosen_settings)._settings()
    fits = dict(finished or {})
    tasks = [(rank, start) for rank in wanted for start in range(starts) if (rank, start) not in fits]

    def receive(rank: int, start: int, fit: dict[str, Any]) -> None:
        fits[rank, start] = CPFit(**fit)
        if callback is not None:
            callback(rank, start, fits[rank, start])

    _core.cp_sweep(tensor, tasks, settings, receive)
    fits = {(rank, start): fits[rank, start] for rank in wanted for start in range(starts)}
    held_out = None
    if whole(cv_splits, "cv_splits", 10_000):
        held_out = _core.cp_cross_validate(
            tensor,
            wanted,
            cv_splits,
            as_number(cv_share, "cv_share"),
            whole(cv_block, "cv_block", COUNT, least=1),
            1,
            settings,
        )
    measures = [
        _core.cp_rank_measures(
            tensor,
            [
                {"weights": fit.weights, "factors": fit.factors, "shifts": fit.shifts, "error": fit.error}
                for fit in (fits[rank, start] for start in range(starts))
            ],
        )
        for rank in wanted
    ]
    errors = np.array([[fits[rank, start].error for start in range(starts)] for rank in wanted])
    dimensions = np.array([measure["dimensions"] for measure in measures])
    similarity = [
        float(np.median(measure["similarities"])) if starts > 1 else float("nan") for measure in measures
    ]
    means = dimensions.mean(axis=1)
    # The dimension is undefined at rank 1.
    curve = [at for at, mean in enumerate(means) if np.isfinite(mean)]
    rules = _core.cp_choose_rank(
        [wanted[at] for at in curve], means[curve].tolist(), [similarity[at] for at in curve], 2.0, None
    )
    others = _core.cp_choose_rank(
        wanted, means.tolist(), similarity, as_number(min_similarity, "min_similarity"), held_out
    )
    chosen = {"plateau": rules["plateau"], "stability": others["stability"], "cv": others["cv"]}
    if rules["plateau"] is not None and not rules["reached"]:
        warnings.append("the dimension reaches no plateau: its rank is where the curve bends most")
    smoothed, slope = np.full(len(wanted), np.nan), np.full(len(wanted), np.nan)
    smoothed[curve], slope[curve] = rules["smoothed"], rules["slope"]
    undone = sum(not fit.converged for fit in fits.values())
    if undone:
        warnings.append(f"{undone} of {len(fits)} fits stopped at `max_iter` before their error settled")
    ddof = 1 if starts > 1 else 0
    cv = np.full((len(wanted), 1), np.nan) if held_out is None else np.array(held_out)
    spread = (
        cv.std(axis=1, ddof=1) / np.sqrt(cv.shape[1]) if cv.shape[1] > 1 else np.full(len(wanted), np.nan)
    )
    table = Table(
        {
            "rank": np.array(wanted),
            "error_best": errors.min(axis=1),
            "error_mean": errors.mean(axis=1),
            "error_sd": errors.std(axis=1, ddof=ddof),
            "dimension_mean": means,
            "dimension_sd": dimensions.std(axis=1, ddof=ddof),
            "dimension_smoothed": smoothed,
            "dimension_slope": slope,
            "similarity_median": np.array(similarity),
            "held_out_mean": cv.mean(axis=1),
            "held_out_se": spread,
            "core_consistency": np.array([measure["consistency"] for measure in measures]),
        }
    )
    pairs = list(fits)
    per_start = Table(
        {
            "rank": np.array([rank for rank, _ in pairs]),
            "start": np.array([start for _, start in pairs]),
            "error": errors.ravel(),
            "dimension": dimensions.ravel(),
            "n_iter": np.array([fits[pair].n_iter for pair in pairs]),
            "converged": np.array([fits[pair].converged for pair in pairs]),
        }
    )
    named = isinstance(X, ResponseTensor)
    units = list(X.units) if named else [f"unit {n}" for n in range(shape[0])]
    stimuli = list(X.stimuli) if named else [f"stimulus {s}" for s in range(shape[1])]
    values = np.nan_to_num(X.values if named else np.asarray(X))
    return CPSweep(
        table,
        per_start,
        chosen,
        warnings,
        fits,
        tensor,
        tuple(shape),
        (units, stimuli),
        ~values.reshape(*shape[:2], -1).any(axis=2),
        chosen_settings,
    )
