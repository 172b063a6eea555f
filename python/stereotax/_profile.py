"""Read where, when and how early in training the layers of a network predict the brain best."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, DRAWS, SEED, Array, as_matrix, as_names, as_number, to_numpy, whole
from ._base import Result
from ._table import Table


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class EncodingScore(Result):
    """Two readings of how well layers predict, and what choosing on the same data adds."""

    mean: float
    best: float
    best_biased: float
    selection_bias: float
    #: How often each layer is chosen, over units and folds.
    chosen: Array
    n_undefined: int


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class SpatialScore(Result):
    """How the depth of the best layer follows a hierarchy of the brain."""

    r: float
    p_value: float
    #: Depth of each unit in [0, 1].
    depth: Array
    #: One row per region (or unit): name, hierarchy, depth, n_units.
    points: Table
    share_kept: float
    n_at_boundary: int
    n_tied: int
    reason: str | None


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class TemporalScore(Result):
    """How the time of best prediction follows depth."""

    r: float
    p_value: float
    times: Array
    n_at_boundary: int
    reason: str | None


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class HalfTime(Result):
    """When training reaches half of its gain."""

    first: float
    last: float
    half: float
    reason: str | None


def encoding_score(scores: Any) -> EncodingScore:
    """Summarise encoding scores of layers × units, with an honest best layer.

    Formula: `mean` is the mean over layers and units. `best` is the mean over units of the layer chosen on
    the other folds; `best_biased` chooses on all and is too high by `selection_bias`.

    Parameters
    ----------
    scores : array (n_layers, n_units) or (n_folds, n_layers, n_units)
        Held-out scores, higher is better. Without folds `best` is NaN.

    Returns
    -------
    EncodingScore
        Units with a NaN are left out and counted.

    Errors: `ValueError` for other shapes. Cost: O(folds · layers · units).
    Source: Raugel et al. 2025; specs alignment-methods B1.

    Examples
    --------
    >>> import stereotax as sx
    >>> found = sx.encoding_score([[[.1], [.5]], [[.3], [.2]]])
    >>> round(found.best, 3), round(found.best_biased, 3), round(found.mean, 3)
    (0.15, 0.35, 0.275)
    """
    return EncodingScore(**_core.encoding_score(_stack(scores, "scores", single=True)))


def above_null(scores: Any, nulls: Any, level: float = 0.95) -> Array:
    """Which units have a best score over layers above a quantile of their best null scores.

    Parameters
    ----------
    scores : array (n_layers, n_units)
    nulls : array (n_draws, n_layers, n_units)
        The same with permuted stimuli. The largest over layers is taken in each draw, as for the scores.
    level : float

    Returns
    -------
    array of bool (n_units,)
        For `kept` of `spatial_score`: the best layer of a flat profile is any.

    Errors: `ValueError` for shapes that differ. Cost: O(draws · layers · units).
    Source: specs alignment-methods B1.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> nulls = np.random.default_rng(0).normal(size=(200, 5, 2))
    >>> scores = np.array([[0., 9.], [0., 1.], [0., 1.], [0., 1.], [0., 1.]])
    >>> sx.above_null(scores, nulls)
    array([False,  True])
    """
    draws = _stack(nulls, "nulls", single=False)
    found = _core.above_null(as_matrix(scores, "scores"), draws, as_number(level, "level"))
    return np.array(found, dtype=bool)


def spatial_score(
    scores: Any,
    hierarchy: Sequence[float],
    *,
    rule: str = "largest",
    temperature: float = 0.05,
    kept: Any = None,
    regions: Sequence[Any] | None = None,
    of_mean_profile: bool = False,
    surrogates: Any = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> SpatialScore:
    """Whether deeper layers predict areas higher in a hierarchy.

    Formula: Pearson correlation over units (or regions) of the depth ``k*/(L − 1)`` with the hierarchy.

    Parameters
    ----------
    scores : array (n_layers, n_units)
        Held-out scores, shallow to deep.
    hierarchy : sequence of n_units numbers
        Any: distance from V1, rank, timescale, T1w/T2w.
    rule : {"largest", "centroid", "soft"}
        k*: the largest entry; the centroid of what exceeds the smallest; the centroid under
        ``exp(E/temperature)``. The largest entry of a flat profile is random.
    temperature : float
        For "soft", in units of the scores.
    kept : array of bool (n_units,), optional
        Units that count, see `above_null`.
    regions : sequence of n_units names, optional
        Correlate regions: mean hierarchy, and the mean depth of their units.
    of_mean_profile : bool
        A region's depth is that of its mean profile instead.
    surrogates : array (n_draws, n_units), optional
        The hierarchy after moving it over the brain (spins), for the p-value. Without it the hierarchy is
        permuted over points, which takes neighbours for independent.
    n_permutations, seed : int
        Of those permutations; 0: no p-value.

    Returns
    -------
    SpatialScore
        `r` in [−1, 1], NaN with a `reason` for fewer than 4 layers or points; `p_value` is one-sided.

    Errors: `ValueError` for sizes that do not fit. Cost: O(layers · units + draws · units).
    Source: Raugel et al. 2025; specs alignment-methods B1.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> depth = np.linspace(0, 5, 12)
    >>> scores = np.exp(-0.5 * (np.arange(6)[:, None] - depth) ** 2)
    >>> round(sx.spatial_score(scores, depth, rule="centroid").r, 2)
    1.0
    """
    found = _core.spatial_score(
        as_matrix(scores, "scores", axes="layers × units"),
        [as_number(float(h), "hierarchy") for h in hierarchy],
        str(rule),
        as_number(temperature, "temperature"),
        [] if kept is None else [bool(k) for k in kept],
        [] if regions is None else as_names(regions, "groups"),
        bool(of_mean_profile),
        None if surrogates is None else as_matrix(surrogates, "surrogates", axes="draws × units"),
        whole(n_permutations, "n_permutations", DRAWS),
        whole(seed, "seed", SEED),
    )
    columns = list(zip(*found.pop("points"), strict=True)) or [(), (), (), ()]
    names = ("name", "hierarchy", "depth", "n_units")
    table = Table({name: list(column) for name, column in zip(names, columns, strict=True)})
    return SpatialScore(points=table, **found)


def temporal_score(
    scores: Any,
    times: Sequence[float],
    *,
    onset: float = 0.0,
    rule: str = "largest",
    temperature: float = 0.05,
    n_permutations: int = 999,
    seed: int = 0,
) -> TemporalScore:
    """Whether deeper layers predict later responses.

    Formula: Pearson correlation over layers of k with the time ``t*(k)`` of its best prediction.

    Parameters
    ----------
    scores : array (n_layers, n_times)
        Held-out scores, averaged over sensors.
    times : sequence of n_times numbers
        In seconds.
    onset : float
        Earlier times do not count.
    rule, temperature
        As in `spatial_score`.
    n_permutations, seed : int
        Of layers, for the one-sided p-value; 0: none.

    Returns
    -------
    TemporalScore
        `r` in [−1, 1], NaN with a `reason` for fewer than 4 layers.

    Errors: `ValueError` for sizes that do not fit, no time from the onset on. Cost: O(layers · times).
    Source: Raugel et al. 2025; specs alignment-methods B1.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> times = np.arange(0, 0.3, 0.01)
    >>> scores = np.exp(-0.5 * ((times - 0.05 - 0.02 * np.arange(6)[:, None]) / 0.03) ** 2)
    >>> round(sx.temporal_score(scores, times).r, 3)
    1.0
    """
    return TemporalScore(
        **_core.temporal_score(
            as_matrix(scores, "scores", axes="layers × times"),
            [as_number(float(t), "times") for t in times],
            as_number(onset, "onset"),
            str(rule),
            as_number(temperature, "temperature"),
            whole(n_permutations, "n_permutations", DRAWS),
            whole(seed, "seed", SEED),
        )
    )


def half_time(
    steps: Sequence[float], scores: Sequence[float], *, baseline: float = 0.0, plateau: int = 1
) -> HalfTime:
    """When in training a score reaches half of its final gain.

    Formula: the step with score ``b + (f − b)/2``, linear in log s between steps.

    Parameters
    ----------
    steps : sequence of float
        Training steps, positive and ascending.
    scores : sequence of float
        One per step.
    baseline : float
        b: 0, or the score of the untrained network (the paper leaves it open).
    plateau : int
        f is the mean of so many last scores.

    Returns
    -------
    HalfTime
        `first` crossing, and the `last` one from which on the score stays above; NaN with a `reason`.

    Errors: `ValueError` for steps that are not positive and ascending. Cost: O(steps).
    Source: Raugel et al. 2025; specs alignment-methods B1.

    Examples
    --------
    >>> import stereotax as sx
    >>> round(sx.half_time([1, 10, 100, 1000], [0., 0.25, 0.75, 1.]).first, 2)
    31.62
    """
    return HalfTime(
        **_core.half_time(
            [as_number(float(s), "steps") for s in steps],
            [as_number(float(s), "scores") for s in scores],
            as_number(baseline, "baseline"),
            whole(plateau, "plateau", COUNT, least=1),
        )
    )


def _stack(values: Any, name: str, *, single: bool) -> list[Array]:
    array = to_numpy(values, name).astype(np.float64)
    if np.isinf(array).any():
        raise ValueError(f"`{name}` has infinite scores, but numbers expected\nhint: NaN marks no score")
    if single and array.ndim == 2:
        array = array[None]
    if array.ndim != 3:
        raise ValueError(
            f"`{name}` has the shape {array.shape}, but three axes (draws or folds × layers × units) expected"
        )
    return list(array)
