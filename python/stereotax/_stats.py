"""Compare groups of models: where they lie, how far they spread, how consistently they score."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import DRAWS, SEED, Array, as_matrix, as_names, optional_names, whole
from ._base import Result
from ._table import Table


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Support(Result):
    """What the permutations of a test can support."""

    n_permutations: int
    exact: bool
    n_distinct: float
    smallest_p: float
    restricted: bool
    warning: str | None


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Distances(Result):
    """Distances between objects, and what had to be left out."""

    distances: Array
    objects: list[int]
    undefined_objects: list[int]
    constant_columns: list[int]


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Permanova(Result):
    """Pseudo-F, effect sizes and p-value of a difference in location."""

    f: float
    r2: float
    omega2: float
    f2: float
    p_value: float
    p_value_f2: float
    ss_total: float
    ss_within: float
    ss_within_group: dict[str, float]
    group_sizes: dict[str, int]
    null_r2_mean: float
    null_r2_q95: float
    support: Support
    reason: str | None


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Permdisp(Result):
    """F and p-value of a difference in spread."""

    f: float
    p_value: float
    to_centre: Array
    group_means: dict[str, float]
    n_positive_axes: int
    n_negative_axes: int
    negative_share: float
    converged: bool
    support: Support
    reason: str | None


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Silhouette(Result):
    """How much closer objects lie to their own group than to the next one."""

    mean: float
    per_object: Array
    per_group: dict[str, float]
    p_value: float
    null_mean: float
    support: Support


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Interval(Result):
    """A value with its bootstrap interval; NaN where undefined."""

    value: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.lower:.4g}, {self.upper:.4g}]"

    __repr__ = __str__


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Snci(Result):
    """The consistency index of one modality."""

    kind: str
    #: One row per ROI: roi, value, lower, upper, mean, sd, n_models, no_spread, status.
    rois: Table
    median: Interval
    n_families: int
    #: n_models × n_rois: the index with all models minus the index without this one.
    influence: Array
    median_without_family: dict[str, float]
    interval_reason: str | None


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ProfileConsistency(Result):
    """How alike the models' profiles over ROIs are."""

    mean_correlation: Interval
    icc31: float
    profile_snr: float
    n_pairs: int
    n_undefined_pairs: int


def distances(coordinates: Any, kind: str = "euclidean") -> Distances:
    """Distances between the rows of a table of coordinates (models × ROIs).

    Formula: "euclidean" √Σ_j (z_ij − z_kj)² on columns standardised over objects; "euclidean_raw" on the
    columns as they are; "correlation" 1 − ρ(x_i, x_k); "cosine" 1 − cos(x_i, x_k).

    Parameters
    ----------
    coordinates : array (n_objects, n_coordinates)
    kind : {"euclidean", "euclidean_raw", "correlation", "cosine"}

    Returns
    -------
    Distances
        `distances` (over the rows in `objects`), 0 = same; not squared. Rows whose distance is undefined
        (constant for "correlation", zero for "cosine") are left out and listed.

    Errors: `ValueError` for NaN, infinity, or fewer than 2 rows. Cost: O(n²p). Source: specs nfas-dmd 11.1.

    Examples
    --------
    >>> import stereotax as sx
    >>> sx.distances([[0., 0.], [3., 4.]], kind="euclidean_raw").distances
    array([[0., 5.],
           [5., 0.]])
    """
    return Distances(**_core.distances(as_matrix(coordinates, "coordinates"), kind))


def permanova(
    D: Any,
    groups: Sequence[Any],
    n_permutations: int = 9999,
    *,
    families: Sequence[Any] | None = None,
    strata: Sequence[Any] | None = None,
    seed: int = 0,
    exact_up_to: int = 100_000,
    ids: Sequence[Any] | None = None,
) -> Permanova:
    """Test whether groups of objects lie in different places, by permuting group labels.

    Formula: SS_T = (1/N) Σ_{i<j} d², SS_W = Σ_c (1/n_c) Σ_{i<j in c} d², SS_A = SS_T − SS_W,
    F = (SS_A/(g − 1)) / (SS_W/(N − g)), R² = SS_A/SS_T; F2 keeps its level when groups differ in spread.

    Parameters
    ----------
    D : array (n_objects, n_objects)
        Distances: symmetric, zero diagonal, not squared.
    groups : sequence of n_objects names
    n_permutations : int
        Random shuffles, unless all labellings are visited.
    families : sequence of n_objects names, optional
        Objects of one family keep one label: two models of a family are not two witnesses.
    strata : sequence of n_objects names, optional
        Labels are exchanged within a stratum only.
    seed : int
        Of the shuffles.
    exact_up_to : int
        Visit all distinct labellings if there are at most this many (0: never).
    ids : sequence of n_objects distinct names, optional
        Draws follow the ids, so that the order of rows changes nothing.

    Returns
    -------
    Permanova
        `f` in [0, ∞]; `p_value` = (1 + #{null ≥ observed})/(1 + permutations), large F is extreme.

    Errors: `ValueError` if D is no distance matrix, labels do not fit, there are fewer than two groups or
    no more objects than groups, a family spans groups. Undefined (NaN, with `reason`): all distances zero.
    Cost: O(Σ n_c²) per permutation. Source: Anderson 2001; F2: Anderson et al. 2017; specs nfas-dmd 11.2.
    Differs from scikit-bio: ties count within a tolerance, small designs are enumerated.

    Examples
    --------
    >>> import stereotax as sx
    >>> points = [[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]]
    >>> D = sx.distances(points, kind="euclidean_raw").distances
    >>> test = sx.permanova(D, ["a", "a", "a", "b", "b", "b"])
    >>> test.f, test.p_value, test.support.exact
    (150.0, 0.1, True)
    """
    found = _core.permanova(
        as_matrix(D, "distances"), _shuffled(groups, ids, n_permutations, exact_up_to, families, strata, seed)
    )
    return Permanova(**_by_group(found, "ss_within_group", "group_sizes"))


def pairwise_permanova(
    D: Any,
    groups: Sequence[Any],
    n_permutations: int = 9999,
    *,
    families: Sequence[Any] | None = None,
    strata: Sequence[Any] | None = None,
    seed: int = 0,
    exact_up_to: int = 100_000,
    ids: Sequence[Any] | None = None,
) -> Table:
    """`permanova` for every pair of groups, p-values adjusted over the pairs by Holm's method.

    Parameters are those of `permanova`. Returns a `Table` with one row per pair: first, second, f, r2,
    omega2, p_value, p_adjusted, n_permutations, exact, status. A pair of two single objects is undefined.

    Examples
    --------
    >>> import stereotax as sx
    >>> D = sx.distances([[0.0], [1.0], [5.0], [6.0], [9.0], [9.5]], kind="euclidean_raw").distances
    >>> sx.pairwise_permanova(D, list("aabbcc"))["p_adjusted"]
    array([1., 1., 1.])
    """
    pairs = _core.pairwise_permanova(
        as_matrix(D, "distances"), _shuffled(groups, ids, n_permutations, exact_up_to, families, strata, seed)
    )
    for pair in pairs:
        pair["status"] = pair.pop("reason") or "ok"
    return Table({name: [pair[name] for pair in pairs] for name in pairs[0]})


def permdisp(
    D: Any,
    groups: Sequence[Any],
    n_permutations: int = 9999,
    *,
    centre: str = "spatial_median",
    negative_axes: str = "subtract",
    bias_factor: str = "none",
    families: Sequence[Any] | None = None,
    strata: Sequence[Any] | None = None,
    seed: int = 0,
    exact_up_to: int = 100_000,
    ids: Sequence[Any] | None = None,
) -> Permdisp:
    """Test whether groups differ in spread: report it beside every `permanova`.

    Formula: objects get principal coordinates (positive and negative axes of −½ D∘D, centred);
    z = √|Δ₊² − Δ₋²| is the distance to the group's centre; F is the one-way F of z.

    Parameters
    ----------
    centre : {"spatial_median", "centroid"}
    negative_axes : {"subtract", "drop"}
        "subtract" keeps distances exactly where they fit in no Euclidean space; "drop" is scikit-bio's way.
    bias_factor : {"none", "small_sample"}
        "small_sample" enlarges distances by √(n_c/(n_c − 1)).
    D, groups, n_permutations, families, strata, seed, exact_up_to, ids
        As in `permanova`.

    Returns
    -------
    Permdisp
        Large F is extreme. NaN with `reason` if all objects lie equally far from their centres.

    Errors: as for `permanova`. Cost: O(n³). Source: Anderson 2006; specs nfas-dmd 11.3. Differs from
    scikit-bio in its defaults, which drop the negative axes and permute labels; agrees with vegan.

    Examples
    --------
    >>> import stereotax as sx
    >>> D = sx.distances([[0.0], [1.0], [2.0], [10.0], [20.0], [30.0]], kind="euclidean_raw").distances
    >>> sx.permdisp(D, list("aaabbb"), centre="centroid").group_means["b"].__round__(6)
    6.666667
    """
    found = _core.permdisp(
        as_matrix(D, "distances"),
        _shuffled(groups, ids, n_permutations, exact_up_to, families, strata, seed),
        centre,
        negative_axes,
        bias_factor,
    )
    return Permdisp(**_by_group(found, "group_means"))


def silhouette(
    D: Any,
    groups: Sequence[Any],
    n_permutations: int = 9999,
    *,
    families: Sequence[Any] | None = None,
    strata: Sequence[Any] | None = None,
    seed: int = 0,
    exact_up_to: int = 100_000,
    ids: Sequence[Any] | None = None,
) -> Silhouette:
    """Score how much closer objects lie to their own group than to the next one, and test the mean.

    Formula: s_i = (b_i − a_i)/max(a_i, b_i), a_i the mean distance to the own group, b_i the least mean
    distance to another one. In [−1, 1], high = well separated; the only member of a group has 0.

    Parameters are those of `permanova`, and the shuffles are the very same. Errors: as there.
    Cost: O(n²) per permutation. Source: Rousseeuw 1987; specs nfas-dmd 11.4.

    Examples
    --------
    >>> import stereotax as sx
    >>> D = sx.distances([[0.0], [1.0], [10.0], [11.0]], kind="euclidean_raw").distances
    >>> round(sx.silhouette(D, list("aabb")).mean, 6)
    0.899749
    """
    found = _core.silhouette(
        as_matrix(D, "distances"), _shuffled(groups, ids, n_permutations, exact_up_to, families, strata, seed)
    )
    return Silhouette(**_by_group(found, "per_group"))


def snci(
    scores: Any,
    families: Sequence[Any] | None = None,
    kind: str = "snr",
    *,
    sign_policy: str = "zero",
    n_bootstraps: int = 2000,
    interval: str = "percentile",
    level: float = 0.95,
    included: Sequence[bool] | None = None,
    roi_names: Sequence[Any] | None = None,
    seed: int = 0,
) -> Snci:
    """Index how consistently the models of one modality score in each ROI.

    Formula, with μ and s the mean and standard deviation over models: "snr" μ/(s + ε), "bounded"
    μ²/(μ² + s²), "snr2" μ²/s², "snr_c4" snr without small-sample bias, "debiased" the bounded form without
    the noise floor of μ², "tstat" μ√n/s. High = the models agree on a high score.

    Parameters
    ----------
    scores : array (n_models, n_rois)
        NaN marks an undefined score.
    families : sequence of n_models names, optional
        Intervals resample families; every model is its own family by default.
    kind : {"snr", "bounded", "snr2", "snr_c4", "debiased", "tstat"}
    sign_policy : {"zero", "carry"}
        What the squared forms do with a negative mean.
    n_bootstraps : int
        Draws of families (0: no intervals).
    interval : {"percentile", "bca"}
    level : float
        Coverage.
    included : sequence of n_rois bool, optional
        ROIs that take part in the median.
    roi_names : sequence of n_rois names, optional
    seed : int

    Returns
    -------
    Snci
        `rois` is a `Table` with one row per ROI; `status` says why a value is undefined.

    Errors: `ValueError` for infinities and lengths that do not fit. Undefined (NaN): fewer than 3 models.
    Cost: O(n_bootstraps·n_models·n_rois). Source: specs nfas-dmd 10; BCa: Efron 1987.

    Examples
    --------
    >>> import stereotax as sx
    >>> found = sx.snci([[0.2, 0.4], [0.3, 0.4], [0.4, 0.1]], kind="bounded", n_bootstraps=0)
    >>> found.rois["value"].round(6)
    array([0.9 , 0.75])
    """
    matrix = as_matrix(scores, "scores")
    members = _families(families, matrix.shape[0])
    rois = (
        [f"roi_{j + 1}" for j in range(matrix.shape[1])]
        if roi_names is None
        else as_names(roi_names, "roi_names")
    )
    if len(rois) != matrix.shape[1]:
        raise ValueError(
            f"`roi_names` has {len(rois)} names, but {matrix.shape[1]} expected\nhint: one per column"
        )
    mask = _mask(included)
    draws, seed = whole(n_bootstraps, "n_bootstraps", DRAWS // 100), whole(seed, "seed", SEED)
    found = _core.snci(matrix, members, kind, sign_policy, draws, interval, level, mask, seed)
    table = Table(
        {
            "roi": rois,
            **{
                name: found[name]
                for name in ("value", "lower", "upper", "mean", "sd", "n_models", "no_spread")
            },
            "status": [reason or "ok" for reason in found["reasons"]],
        }
    )
    return Snci(
        kind=kind,
        rois=table,
        median=Interval(*found["median"]),
        n_families=found["n_families"],
        influence=found["influence"],
        median_without_family=dict(
            zip(found["family_names"], found["median_without_family"].tolist(), strict=True)
        ),
        interval_reason=found["interval_reason"],
    )


def profile_consistency(
    scores: Any,
    families: Sequence[Any] | None = None,
    *,
    n_bootstraps: int = 2000,
    interval: str = "percentile",
    level: float = 0.95,
    included: Sequence[bool] | None = None,
    seed: int = 0,
) -> ProfileConsistency:
    """How alike the models' profiles over ROIs are: one number for a modality.

    Formula: the mean Pearson correlation between the profiles of two models, in [−1, 1]; ICC(3,1); and the
    variance over ROIs of μ divided by the mean over ROIs of s².

    Parameters are those of `snci`. Undefined (NaN): fewer than 2 models, or 2 ROIs in which every model has
    a score. Cost: O(n_bootstraps·n_models²). Source: Shrout & Fleiss 1979; specs nfas-dmd 10.

    Examples
    --------
    >>> import stereotax as sx
    >>> found = sx.profile_consistency([[0.1, 0.2, 0.3], [0.2, 0.3, 0.4]], n_bootstraps=0)
    >>> round(found.mean_correlation.value, 6)
    1.0
    """
    matrix = as_matrix(scores, "scores")
    members = _families(families, matrix.shape[0])
    mask = _mask(included)
    draws, seed = whole(n_bootstraps, "n_bootstraps", DRAWS // 100), whole(seed, "seed", SEED)
    found = _core.profile_consistency(matrix, members, draws, interval, level, mask, seed)
    found["mean_correlation"] = Interval(*found["mean_correlation"])
    return ProfileConsistency(**found)


def _shuffled(
    groups: Sequence[Any],
    ids: Sequence[Any] | None,
    n_permutations: int,
    exact_up_to: int,
    families: Sequence[Any] | None,
    strata: Sequence[Any] | None,
    seed: int,
) -> dict[str, Any]:
    """What all permutation tests share, checked."""
    return {
        "groups": as_names(groups, "groups"),
        "ids": optional_names(ids, "ids"),
        "n_permutations": whole(n_permutations, "n_permutations", DRAWS),
        "exact_up_to": whole(exact_up_to, "exact_up_to", DRAWS),
        "families": optional_names(families, "families"),
        "strata": optional_names(strata, "strata"),
        "seed": whole(seed, "seed", SEED),
    }


def _by_group(found: dict[str, Any], *columns: str) -> dict[str, Any]:
    """A test's numbers, with those of `columns` by the names of the groups."""
    names = found.pop("group_names")
    for column in columns:
        found[column] = dict(zip(names, np.asarray(found[column]).tolist(), strict=True))
    found["support"] = Support(**found["support"])
    return found


def _families(families: Sequence[Any] | None, n_models: int) -> list[str]:
    """Every model is a family of its own unless told otherwise."""
    return [f"model {i}" for i in range(n_models)] if families is None else as_names(families, "families")


def _mask(included: Sequence[bool] | None) -> list[bool] | None:
    return None if included is None else [bool(x) for x in np.asarray(included).tolist()]
