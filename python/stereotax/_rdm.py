"""Representational dissimilarity matrices (RDMs): the value that RDM measures return and comparisons take."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import Array, _aligned, as_names, as_number, finite, to_numpy
from ._base import Result
from ._noise import as_noise
from ._ridge import _choice


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class RDM(Result):
    """The dissimilarities of all pairs of conditions, and what they are.

    Pairs stand row by row of the upper triangle, (0, 1), (0, 2), …, (1, 2), …, as in SciPy's ``squareform``
    and rsatoolbox. A pair without a dissimilarity (a constant pattern under correlation, a condition that is
    missing) is NaN. Cross-validated dissimilarities may be negative. `np.asarray(rdm)` is the condensed form.

    Examples
    --------
    >>> import stereotax as sx
    >>> rdm = sx.RDM.of([1.0, 2.0, 4.0], conditions=["face", "house", "tool"], method="euclidean")
    >>> rdm.n_conditions, rdm.n_undefined
    (3, 0)
    >>> rdm.square()[2].tolist()
    [2.0, 4.0, 0.0]
    >>> rdm.subset([2, 0]).conditions
    ['tool', 'face']
    """

    #: Condensed: n (n − 1) / 2 numbers, NaN where a pair has none.
    values: Array
    n_conditions: int
    #: Names of the conditions, or None.
    conditions: list[str] | None = None
    #: How it was made: "correlation", "crossnobis", …; None if it came as an array.
    method: str | None = None
    #: Whether dissimilarities are squared distances; None where that has no meaning or is not known.
    squared: bool | None = None
    #: Whether they are divided by the number of channels; None where not known.
    per_channel: bool | None = None
    #: Pairs without a dissimilarity.
    n_undefined: int = 0

    @classmethod
    def of(
        cls,
        values: Any,
        *,
        conditions: Sequence[str] | None = None,
        method: str | None = None,
        squared: bool | None = None,
        per_channel: bool | None = None,
        name: str = "rdm",
    ) -> RDM:
        """An RDM from its condensed or its square form (or an RDM, which passes through).

        A square form must be symmetric within 1e-9 of its largest entry, with a diagonal of 0 or NaN.
        """
        if isinstance(values, RDM):
            return values
        array = to_numpy(values, name).astype(np.float64)
        if array.ndim == 2:
            array = _condensed(array, name)
        if array.ndim != 1:
            raise ValueError(
                f"`{name}` has the shape {array.shape}, but a condensed or a square RDM expected\n"
                "hint: pass one RDM; several are a list of them"
            )
        n = n_conditions_of(array.size)
        if n is None:
            raise ValueError(
                f"`{name}` has {array.size} dissimilarities, but n (n − 1) / 2 for n conditions expected\n"
                "hint: give the upper triangle row by row, without the diagonal"
            )
        if np.isinf(array).any():
            raise ValueError(
                f"`{name}` holds {np.isinf(array).sum()} infinite dissimilarities, but numbers expected\n"
                "hint: mark a pair without a dissimilarity by NaN"
            )
        names = None if conditions is None else as_names(conditions, "conditions")
        if names is not None and len(names) != n:
            raise ValueError(
                f"`conditions` has {len(names)} names, but {n} expected (one per condition)\n"
                "hint: name every condition once, in order"
            )
        undefined = int(np.isnan(array).sum())
        return cls(array, n, names, method, squared, per_channel, undefined)

    def square(self) -> Array:
        """The n × n form: symmetric, zeros on the diagonal."""
        matrix = np.zeros((self.n_conditions, self.n_conditions))
        rows, columns = np.triu_indices(self.n_conditions, 1)
        matrix[rows, columns] = matrix[columns, rows] = self.values
        return matrix

    def subset(self, which: Any) -> RDM:
        """The RDM of some conditions, by index or by name, in the order given.

        A condition given twice has no dissimilarity from itself: that pair is NaN.
        """
        items = which.tolist() if isinstance(which, np.ndarray) else list(which)
        if items and all(isinstance(item, str) for item in items):
            places = {name: i for i, name in enumerate(self.conditions or [])}
            missing = [item for item in items if item not in places]
            if missing:
                raise ValueError(
                    f"`which` names {', '.join(map(repr, missing))}, but conditions of the RDM expected\n"
                    "hint: look at rdm.conditions"
                )
            items = [places[item] for item in items]
        whole = all(isinstance(i, int) and not isinstance(i, bool) for i in items)
        if not whole or not all(0 <= i < self.n_conditions for i in items) or len(items) < 2:
            raise ValueError(
                f"`which` is {which!r:.80}, but 2 or more indices below {self.n_conditions} or names "
                "expected\nhint: conditions count from 0"
            )
        index = np.array(items)
        matrix = self.square()[np.ix_(index, index)]
        matrix[index[:, None] == index[None, :]] = np.nan
        values = matrix[np.triu_indices(len(index), 1)]
        names = None if self.conditions is None else [self.conditions[i] for i in items]
        undefined = int(np.isnan(values).sum())
        return RDM(values, len(items), names, self.method, self.squared, self.per_channel, undefined)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.values if dtype is None else self.values.astype(dtype)
        return array.copy() if copy else array

    def __len__(self) -> int:
        return len(self.values)


#: Measures of one pattern per condition.
MEASURES = ("correlation", "cosine", "euclidean", "mahalanobis", "poisson")
PAIRINGS = ("shared_runs", "shared_runs_by_measurements", "all_measurements")


def rdm(
    X: Any,
    method: str = "correlation",
    *,
    conditions: Any = None,
    runs: Any = None,
    noise: Any = None,
    squared: bool = False,
    per_channel: bool | None = None,
    prior: tuple[float, float] = (1.0, 0.1),
) -> RDM:
    """How unlike the patterns of conditions are: one dissimilarity for every pair.

    Formula, for the patterns x_i of p channels: ``"correlation"`` 1 − r over channels; ``"cosine"`` 1 − cos;
    ``"euclidean"`` ``√Σ_c (x_ic − x_jc)²``; ``"mahalanobis"`` ``√((x_i − x_j) P (x_i − x_j)ᵀ)`` with the
    noise precision P; ``"poisson"`` ``1/p Σ_c (λ_i − λ_j)(ln λ_i − ln λ_j)``, the symmetric Kullback–Leibler
    divergence of rates ``λ = (x + w λ₀) / (1 + w)``.

    Parameters
    ----------
    X : array, conditions × channels
        Numbers, float64 or float32 without a copy; products are in double precision.
    method : {"correlation", "cosine", "euclidean", "mahalanobis", "poisson"}
        For cross-validated distances see `crossnobis`.
    conditions : sequence, rows, optional
        Names. Rows of one name are averaged first; the RDM holds names in the order in which they first
        appear.
    runs : sequence, rows, optional
        For ``"poisson"``: cross-validated over runs (the rate of a run against that of the mean of the
        others, averaged over all runs); may be negative.
    noise : NoisePrecision, array of channels × channels or of channels, optional
        The precision (not the covariance) for ``"mahalanobis"``; see `noise_precision`.
    squared : bool
        d² instead of d, for ``"euclidean"`` and ``"mahalanobis"``.
    per_channel : bool, optional
        Divided by p (d² / p, or its root). False by default, but True for ``"poisson"``.
    prior : (rate, weight)
        λ₀ and w of ``"poisson"``.

    Returns
    -------
    RDM
        ``values`` (0 = same), ``square()``, ``n_undefined`` and what they are.

    Errors: `ValueError` for NaN, fewer than 2 conditions, negative rates, a precision of other channels.
    Undefined: pairs with a constant pattern (correlation) or one of zeros (cosine) are NaN and counted.
    Cost: n² p for n conditions, one product of matrices.
    Source: Kriegeskorte et al. 2008; specs encoding-manifolds 6.2. Differs from rsatoolbox, whose
    ``euclidean`` and ``mahalanobis`` are ``squared=True, per_channel=True`` here, and whose ``poisson_cv``
    keeps the last run alone.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> X = np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [6.0, 5.0, 4.0]])
    >>> sx.rdm(X).values.round(6).tolist()
    [0.5, 2.0, 1.5]
    >>> sx.rdm(X, "euclidean", squared=True, conditions=["a", "b", "c"]).square()[0].round(6).tolist()
    [0.0, 2.0, 35.0]
    """
    method = _choice("method", method, MEASURES)
    x = as_patterns(X, "X")
    codes, names = codes_of(conditions, "conditions", len(x))
    divided = method == "poisson" if per_channel is None else bool(per_channel)
    told = tell_measure(method, squared, divided, prior)
    if runs is not None:
        if method != "poisson" or conditions is None:
            raise ValueError(
                f'`runs` is given with method={method!r}, but "poisson" with `conditions` expected\n'
                "hint: cross-validated distances of other kinds are sx.crossnobis"
            )
        run_codes, _ = codes_of(runs, "runs", len(x))
        values = _core.poisson_cross_validated(x, codes, run_codes, told)
    else:
        values = _core.rdm_of(averaged(x, codes, names), told, as_noise(noise))
    is_squared = bool(squared) if method in ("euclidean", "mahalanobis") else None
    divides = divided if method in ("euclidean", "mahalanobis", "poisson") else None
    called = method if runs is None else "poisson_cv"
    return _made(values, names, called, is_squared, divides)


def crossnobis(
    X: Any,
    conditions: Any,
    runs: Any,
    *,
    noise: Any = None,
    pairing: str = "shared_runs",
    per_channel: bool = True,
) -> RDM:
    """Squared distances between conditions without the bias that noise adds: cross-validated over runs.

    Formula: with δ_k the difference of the mean patterns of two conditions in run k and P the noise
    precision, ``d = Σ_{k≠l} w_k w_l δ_k P δ_lᵀ / Σ_{k≠l} w_k w_l``, over runs that hold both (divided by
    channels).

    Parameters
    ----------
    X : array, measurements × channels
        Any number of measurements per condition and run; they are averaged. Conditions may be missing from
        runs.
    conditions, runs : sequence, measurements
        What was measured, and in which run. Noise of different runs must be independent.
    noise : NoisePrecision, array of channels × channels or of channels, optional
        The precision; channels as they are by default.
    pairing : {"shared_runs", "shared_runs_by_measurements", "all_measurements"}
        w = 1; w_k = n_ik n_jk / (n_ik + n_jk) for n measurements in a run; or the mean product of all
        measurements from different runs (rsatoolbox's unbalanced form), which is not blind to what a run
        adds to all its patterns. They agree where no measurement is missing.
    per_channel : bool
        Divided by the number of channels.

    Returns
    -------
    RDM
        Squared distances, unbiased, hence negative at times where the truth is near 0; keep the negative
        ones.

    Errors: `ValueError` for NaN, fewer than 2 conditions or runs, a precision of other channels.
    Undefined: a pair without two runs that hold both conditions is NaN.
    Cost: (runs + 1) n² p for complete designs, (runs · n)² p otherwise.
    Source: Walther et al. 2016; specs peers W6.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> truth = np.repeat([[0.0], [0.0], [1.0]], 50, axis=1)
    >>> X = np.concatenate([truth + rng.normal(size=truth.shape) for run in range(8)])
    >>> found = sx.crossnobis(X, ["a", "b", "c"] * 8, np.repeat(np.arange(8), 3))
    >>> bool(abs(found.square()[0, 1]) < 0.2 and abs(found.square()[0, 2] - 1) < 0.3)
    True
    """
    x = as_patterns(X, "X")
    codes, names = codes_of(conditions, "conditions", len(x))
    run_codes, _ = codes_of(runs, "runs", len(x))
    found = _core.crossnobis(
        x, codes, run_codes, as_noise(noise), _choice("pairing", pairing, PAIRINGS), bool(per_channel)
    )
    return _made(found["values"], names, "crossnobis", True, bool(per_channel))


def cross_rdm(
    X: Any,
    Y: Any,
    method: str = "correlation",
    *,
    noise: Any = None,
    squared: bool = False,
    per_channel: bool | None = None,
    prior: tuple[float, float] = (1.0, 0.1),
) -> Array:
    """Dissimilarities of every row of one array with every row of another, such as one time with another.

    Formula: as `rdm`, of row i of `X` and row j of `Y`. The matrix is not symmetric; where rows are the same
    conditions, its diagonal says how alike each stays.

    Parameters
    ----------
    X : array, conditions × channels
    Y : array, conditions × channels
        The same channels; any number of rows.
    method, noise, squared, per_channel, prior
        As in `rdm`.

    Returns
    -------
    array, rows of X × rows of Y

    Errors: `ValueError` for NaN, other numbers of channels.
    Undefined: NaN where either pattern is constant (correlation) or zero (cosine).
    Cost: 2 n² p. Source: specs peers W7; rsatoolbox has none (its issue 280).

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> early = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    >>> late = np.array([[2.0, 4.0, 6.0], [1.0, 3.0, 2.0]])
    >>> sx.cross_rdm(early, late).round(6).tolist()
    [[0.0, 0.5], [1.5, 2.0]]
    """
    method = _choice("method", method, MEASURES)
    divided = method == "poisson" if per_channel is None else bool(per_channel)
    told = tell_measure(method, squared, divided, prior)
    x, y = (as_patterns(values, name).astype(np.float64, copy=False) for values, name in ((X, "X"), (Y, "Y")))
    found: Array = _core.cross_rdm(x, y, told, as_noise(noise))
    return found


def as_patterns(values: Any, name: str) -> Array:
    """Rows × channels of float64 or float32, not copied if it is one."""
    array = to_numpy(values, name)
    if array.ndim != 2:
        raise ValueError(
            f"`{name}` has the shape {array.shape}, but two axes (conditions × channels) expected\n"
            "hint: flatten the axes of channels; one RDM per time is sx.rdm_movie"
        )
    if array.dtype not in (np.float64, np.float32):
        array = array.astype(np.float64)
    return _aligned(array)


def codes_of(labels: Any, name: str, n_rows: int) -> tuple[list[int], list[str] | None]:
    """A number for each row, counted by first appearance, and the names in that order."""
    if labels is None:
        return list(range(n_rows)), None
    rows = as_names(labels, name)
    if len(rows) != n_rows:
        raise ValueError(
            f"`{name}` has {len(rows)} entries, but {n_rows} expected (one per row of `X`)\n"
            "hint: name every row"
        )
    places: dict[str, int] = {}
    codes = [places.setdefault(row, len(places)) for row in rows]
    return codes, list(places)


def averaged(x: Array, codes: list[int], names: list[str] | None) -> Array:
    """Mean rows of conditions; the array itself where each has one row."""
    if names is None or len(names) == len(x):
        return x
    counts = np.bincount(codes, minlength=len(names))
    sums = np.zeros((len(names), x.shape[1]))
    np.add.at(sums, codes, x)
    means: Array = sums / counts[:, None]
    return means


def tell_measure(method: str, squared: bool, per_channel: bool, prior: tuple[float, float]) -> dict[str, Any]:
    """A measure as the extension takes it."""
    try:
        rate, weight = prior
    except (TypeError, ValueError):
        raise ValueError(f"`prior` is {prior!r}, but (rate, weight) expected\nhint: (1.0, 0.1)") from None
    rates = (as_number(rate, "prior rate"), as_number(weight, "prior weight"))
    return {"method": method, "squared": bool(squared), "per_channel": per_channel, "prior": rates}


def _made(
    values: Array, names: list[str] | None, method: str, squared: bool | None, per_channel: bool | None
) -> RDM:
    n = n_conditions_of(len(values)) or 0
    undefined = int(np.isnan(values).sum())
    return RDM(values, n, names, method, squared, per_channel, undefined)


def n_conditions_of(n_pairs: int) -> int | None:
    """n where n (n − 1) / 2 is the number of pairs; None if there is none."""
    n = int((1 + np.sqrt(1 + 8 * n_pairs)) / 2 + 0.5)
    return n if n >= 2 and n * (n - 1) // 2 == n_pairs else None


def as_rdms(values: Any, name: str = "rdms") -> list[RDM]:
    """One or several RDMs: an RDM, a list of RDMs or arrays, a dictionary of them, or an array.

    Arrays: condensed (pairs), square (n × n), several condensed (RDMs × pairs) or several square
    (RDMs × n × n). Two axes of equal length are one square RDM.
    """
    if isinstance(values, RDM):
        return [values]
    if hasattr(values, "rdms") and not callable(values.rdms):  # a movie
        return list(values.rdms)
    if hasattr(values, "keys") and hasattr(values, "values"):
        items = [RDM.of(item, name=f"{name}[{key!r}]") for key, item in values.items()]
    elif isinstance(values, list | tuple) and not _numbers(values):
        items = [RDM.of(item, name=f"{name}[{i}]") for i, item in enumerate(values)]
    else:
        array = to_numpy(values, name)
        one = array.ndim == 1 or (array.ndim == 2 and array.shape[0] == array.shape[1])
        if one:
            return [RDM.of(array, name=name)]
        items = [RDM.of(item, name=f"{name}[{i}]") for i, item in enumerate(array)]
    if not items:
        raise ValueError(f"`{name}` is empty, but at least one RDM expected\nhint: pass a list of RDMs")
    named = [item.conditions for item in items if item.conditions is not None]
    if any(names != named[0] for names in named):
        raise ValueError(
            f"`{name}` has RDMs whose conditions differ or stand in other orders, but the same in "
            "all expected\nhint: bring them to one order with rdm.subset(names)"
        )
    sizes = {item.n_conditions for item in items}
    if len(sizes) > 1:
        raise ValueError(
            f"`{name}` has RDMs of {sorted(sizes)} conditions, but one number of conditions expected\n"
            "hint: compare RDMs of the same conditions in the same order; see RDM.subset"
        )
    return items


def _numbers(values: Sequence[Any]) -> bool:
    """Whether this is one array that was written as lists."""
    inner = [value for value in values if isinstance(value, list | tuple)]
    if inner:
        return len(inner) == len(values) and {len(item) for item in inner} == {len(values)}
    return bool(values) and all(isinstance(v, int | float | np.number) for v in values)


def _condensed(matrix: Array, name: str) -> Array:
    n = len(matrix)
    if matrix.shape[1] != n:
        raise ValueError(
            f"`{name}` has the shape {matrix.shape}, but a square matrix or a condensed RDM expected\n"
            "hint: give one row and one column per condition"
        )
    undefined = np.isnan(matrix)
    finite(np.where(undefined, 0, matrix), name)
    tolerance = 1e-9 * np.abs(np.where(undefined, 0, matrix)).max(initial=0)
    diagonal = np.diag(matrix)
    if (np.abs(diagonal[~np.isnan(diagonal)]) > tolerance).any():
        largest = diagonal[np.nanargmax(np.abs(diagonal))]
        raise ValueError(
            f"`{name}` has {largest:.6g} on its diagonal, but zeros expected\n"
            "hint: similarities are no dissimilarities: pass 1 − r, not r"
        )
    skew = np.abs(matrix - matrix.T) > tolerance
    if skew.any() or (undefined != undefined.T).any():
        i, j = np.argwhere(skew | (undefined != undefined.T))[0]
        raise ValueError(
            f"`{name}` has {matrix[i, j]} at ({i}, {j}) and {matrix[j, i]} at ({j}, {i}), but a symmetric "
            "matrix expected\nhint: average the two directions, or compare cross-temporal matrices as such"
        )
    rows, columns = np.triu_indices(n, 1)
    condensed: Array = 0.5 * (matrix[rows, columns] + matrix[columns, rows])
    return condensed
