"""Compare and transform RDMs; Mantel's test; identify regions by their RDMs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import DRAWS, SEED, Array, as_matrix, as_names, as_number, optional_names, to_numpy, whole
from ._base import Result
from ._rdm import RDM, as_rdms
from ._ridge import _choice
from ._table import Table

COMPARISONS = (
    "pearson", "spearman", "rho_a", "tau_a", "tau_b", "cosine", "whitened_cosine", "whitened_pearson",
    "bures", "bures_distance",
)  # fmt: skip
#: How rsatoolbox calls them.
ALIASES = {
    "corr": "pearson", "rho-a": "rho_a", "tau-a": "tau_a", "tau-b": "tau_b", "kendall": "tau_b",
    "cosine_cov": "whitened_cosine", "corr_cov": "whitened_pearson", "bures_metric": "bures_distance",
}  # fmt: skip


def comparison(method: str) -> str:
    """The name of a comparison, from ours or rsatoolbox's."""
    return _choice("method", ALIASES.get(method, method), COMPARISONS)


def stacked(rdms: Sequence[RDM]) -> Array:
    """RDMs × pairs."""
    return np.stack([rdm.values for rdm in rdms])


def same_conditions(first: Sequence[RDM], second: Sequence[RDM], names: tuple[str, str]) -> None:
    """Refuse sets of other conditions, or of the same in another order where both are named."""
    a, b = first[0], second[0]
    if a.n_conditions != b.n_conditions:
        raise ValueError(
            f"`{names[1]}` has {b.n_conditions} conditions, but {a.n_conditions} expected (as `{names[0]}`)\n"
            "hint: compare RDMs of the same conditions in the same order; see RDM.subset"
        )
    known = [rdm for rdm in (*first, *second) if rdm.conditions is not None]
    for rdm in known[1:]:
        if rdm.conditions != known[0].conditions:
            raise ValueError(
                f"`{names[1]}` names other conditions than `{names[0]}`, or in another order, but the same "
                "expected\nhint: bring them into one order: rdm.subset(other.conditions)"
            )


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class RDMComparison(Result):
    """Comparisons of two sets of RDMs."""

    #: First set × second set; NaN where undefined.
    values: Array
    method: str
    #: Pairs of conditions that one of the two RDMs lacks, left out of their comparison.
    n_dropped: Array
    #: Why a value is undefined, or None.
    status: list[list[str | None]]

    def __float__(self) -> float:
        if self.values.size != 1:
            raise TypeError(f"{self.values.size} comparisons are no single number; see values")
        return float(self.values[0, 0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.values if dtype is None else self.values.astype(dtype)
        return array.copy() if copy else array


def compare_rdms(
    first: Any, second: Any, method: str = "pearson", *, noise_covariance: Any = None
) -> RDMComparison:
    """Compare every RDM of one set with every one of another.

    Formula, over the pairs of conditions that both RDMs define:

    - "pearson", "spearman" (of midranks), "cosine";
    - "rho_a": Spearman's coefficient expected when ties are broken at random,
      ``12 Σ (r − r̄)(q − q̄)/(m³ − m)``: for models that predict ties, which Spearman's favours;
    - "tau_a", "tau_b": Kendall's coefficients over all, and over untied pairs of pairs;
    - "whitened_cosine", "whitened_pearson": ``xᵀV⁻¹y`` of unit length, V the covariance of dissimilarities
    that
      noise gives; without `noise_covariance` the former is linear CKA of what squared distances came from;
    - "bures" (similarity), "bures_distance" (squared; 0 is the same): of the centred Gram matrices.

    rsatoolbox's names ("corr", "rho-a", "cosine_cov", …) are understood.

    Parameters
    ----------
    first, second : RDM, array or a list of them
        Condensed or square; n conditions in the same order.
    method : str
        One of the above.
    noise_covariance : array (n,) or (n, n), optional
        For whitened comparisons: variance of the noise of each condition, or covariance between them.

    Returns
    -------
    RDMComparison
        ``values`` (first × second; all but the distance larger = more alike), ``n_dropped``, ``status``. A
        single
        comparison converts by ``float``.

    Errors: `ValueError` for other conditions, an unknown method, what is no covariance.
    Undefined: an RDM that is constant (zero for cosines) over the pairs compared, fewer than three pairs:
    NaN, and
    the reason in ``status``, never 0.
    Cost: O(m) per comparison of m pairs, O(m log m) per RDM for ranks and per comparison for τ; O(n³) for
    Bures and a
    full covariance.
    Source: Schütt et al. 2023; Diedrichsen et al. 2021; Nili et al. 2014. Differs from rsatoolbox: RDMs may
    lack
    different pairs; a zero RDM has no cosine instead of 0.

    Examples
    --------
    >>> import stereotax as sx
    >>> round(float(sx.compare_rdms([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])), 3)
    0.5
    >>> sx.compare_rdms([1.0, 2.0, 3.0], [1.0, 3.0, 2.0], "tau_a").values.round(3)
    array([[0.333]])
    """
    a, b = as_rdms(first, "first"), as_rdms(second, "second")
    same_conditions(a, b, ("first", "second"))
    method = comparison(method)
    variances, covariance = noise_of(noise_covariance)
    found = _core.compare_rdms(stacked(a), stacked(b), a[0].n_conditions, method, variances, covariance)
    return RDMComparison(found["values"], method, np.array(found["n_dropped"]), found["status"])


def noise_of(noise: Any) -> tuple[list[float] | None, Array | None]:
    """Variances of conditions, or the covariance between them."""
    if noise is None:
        return None, None
    array = to_numpy(noise, "noise_covariance").astype(np.float64)
    if array.ndim == 1:
        return array.tolist(), None
    return None, as_matrix(array, "noise_covariance", axes="conditions × conditions")


TRANSFORMS = ("rank", "sqrt", "positive", "minmax", "geotopological", "smooth", "geodesic")


def transform_rdm(
    rdm: Any,
    method: str = "rank",
    *,
    lower: float = 0.2,
    upper: float = 0.8,
    slope: float = 10.0,
    middle: float = 0.5,
    edges: float = 0.05,
    neighbours: int | None = None,
) -> RDM:
    """Transform the dissimilarities of an RDM.

    Formula, with r₀₁ the midranks brought to [0, 1]:

    - "rank"; "sqrt" and "positive" (negative ones become 0); "minmax": to [0, 1];
    - "geotopological": ``clip((r₀₁ − q_l)/(q_u − q_l), 0, 1)`` with q the quantiles of r₀₁: small distances
    are
      "the same", large ones "different"; a step where both are equal;
    - "smooth": ``1/(1 + exp(−slope (r₀₁ − middle)))``;
    - "geodesic": midranks of the lengths of shortest paths along the shortest edges.

    Parameters
    ----------
    rdm : RDM or array
        Condensed or square. Undefined pairs (NaN) stay undefined and count for nothing.
    method : str
        One of the above.
    lower, upper : float
        Quantiles of "geotopological", 0 ≤ lower ≤ upper ≤ 1.
    slope, middle : float
        Of "smooth".
    edges : float
        "geodesic": the share of all edges that is kept, the shortest ones.
    neighbours : int, optional
        "geodesic": keep each condition's nearest ones instead (an edge stays if it is so for either end).

    Returns
    -------
    RDM
        Pairs without a path rank as the farthest. A constant RDM gives zeros under "minmax",
        "geotopological", "smooth"
        and "geodesic".

    Errors: `ValueError` for quantiles out of order, and fewer than 4 conditions for the last three.
    Cost: O(m log m) for m pairs; "geodesic" O(n · edges · log n).
    Source: Lin & Kriegeskorte 2024. Differs from rsatoolbox 0.3.2, which takes quantiles of all RDMs
    together and without
    ranks, and whose geodesic transform reads the closest pair as the farthest.

    Examples
    --------
    >>> import stereotax as sx
    >>> sx.transform_rdm([1.0, 2, 3, 4, 5, 6], "geotopological").values.round(3).tolist()
    [0.0, 0.0, 0.333, 0.667, 1.0, 1.0]
    >>> sx.transform_rdm([1.0, 2, 3, 4, 5, 6], "geodesic", edges=0.8).values.tolist()
    [1.0, 2.5, 4.5, 2.5, 4.5, 6.0]
    """
    given = RDM.of(rdm)
    kind, a, b = _transform(method, lower, upper, slope, middle, edges, neighbours, given.n_conditions)
    found = _core.transform_rdm(given.values, given.n_conditions, kind, a, b)
    name = f"{kind} of {given.method}" if given.method else kind
    squared = False if kind == "sqrt" and given.squared else given.squared if kind == "positive" else None
    return dataclasses.replace(given, values=found["values"], method=name, squared=squared, per_channel=None)


def _transform(
    method: str,
    lower: float,
    upper: float,
    slope: float,
    middle: float,
    edges: float,
    neighbours: int | None,
    n: int,
) -> tuple[str, float, float]:
    method = _choice("method", method, TRANSFORMS)
    if method == "geotopological":
        return method, as_number(lower, "lower"), as_number(upper, "upper")
    if method == "smooth":
        return method, as_number(slope, "slope"), as_number(middle, "middle")
    if method == "geodesic" and neighbours is not None:
        return "geodesic_nearest", float(whole(neighbours, "neighbours", max(n - 1, 1), least=1)), 0.0
    return method, as_number(edges, "edges"), 0.0


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Mantel(Result):
    """Whether two RDMs are related."""

    statistic: float
    p_value: float
    n_permutations: int
    #: Whether these are all orders of the conditions.
    exact: bool
    null_mean: float
    null_sd: float
    n_conditions: int
    #: Why the statistic is undefined, or None.
    status: str | None


def mantel(
    first: Any,
    second: Any,
    method: str = "pearson",
    *,
    alternative: str = "greater",
    n_permutations: int = 9999,
    ids: Sequence[Any] | None = None,
    seed: int = 0,
) -> Mantel:
    """Test whether two RDMs of the same conditions are related.

    Formula: r over pairs; ``p = (1 + #{draws as extreme}) / (1 + draws)``, where a draw moves the conditions
    of one RDM,
    rows and columns together: pairs that share a condition are not independent, so that a p-value of a plain
    correlation over pairs is far too small.

    Parameters
    ----------
    first, second : RDM or array
        Condensed or square, without undefined pairs.
    method : {"pearson", "spearman"}
    alternative : {"greater", "less", "two"}
    n_permutations, seed
        Draws; where there are no more orders than that in all, each is taken once.
    ids : sequence of names, optional
        Stable names of the conditions, by which draws are keyed; by default those of the RDM, or their
        numbers.

    Returns
    -------
    Mantel
        ``statistic`` in [−1, 1], ``p_value``, and the null distribution's mean and standard deviation.

    Errors: `ValueError` for other conditions, undefined pairs, fewer than 4 conditions.
    Undefined: a constant RDM: NaN with a ``status``.
    Cost: O(n²) per draw. Source: Mantel 1967.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> points = np.random.default_rng(0).normal(size=(12, 3))
    >>> near = np.linalg.norm(points[:, None] - points[None], axis=-1)
    >>> other = np.linalg.norm(points[:, None, :2] - points[None, :, :2], axis=-1)
    >>> test = sx.mantel(near, other, n_permutations=999)
    >>> test.statistic > 0.7, test.p_value
    (True, 0.001)
    """
    a, b = RDM.of(first, name="first"), RDM.of(second, name="second")
    same_conditions([a], [b], ("first", "second"))
    names = optional_names(ids, "ids") or a.conditions or b.conditions
    found = _core.mantel_test(
        a.values,
        b.values,
        a.n_conditions,
        _choice("method", ALIASES.get(method, method), ("pearson", "spearman")),
        _choice("alternative", alternative, ("greater", "less", "two")),
        whole(n_permutations, "n_permutations", DRAWS, least=1),
        whole(seed, "seed", SEED),
        names,
    )
    return Mantel(**found)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Identification(Result):
    """How often regions are told apart by their RDMs."""

    #: One row per transform: transform, lower, upper, accuracy, n_constant.
    accuracies: Table
    #: transforms × subjects: share of the regions identified.
    per_subject: Array
    #: transforms × regions × regions: share of subjects in which the row's region was taken for the column's.
    confusion: Array
    #: 1 / regions.
    chance: float
    regions: list[str]


def identify_regions(
    rdms: Any,
    *,
    transform: str | None = "geotopological",
    grid: Any = ((0.2, 0.8),),
    nearness: str = "euclidean",
    regions: Sequence[Any] | None = None,
) -> Identification:
    """Leave one subject out, and tell each region by the nearest mean RDM of the other subjects.

    Formula: region r of subject s is identified if ``c_r``, the mean of the transformed RDMs of region r
    over the other
    subjects, is the nearest to its own; k equally near ones count 1/k. Accuracy is a mean over regions and
    subjects.

    Parameters
    ----------
    rdms : array (subjects, regions, pairs) or (subjects, regions, n, n), or lists of RDMs
        The same conditions, with the same pairs undefined.
    transform : str or None
        As in `transform_rdm`, or None for RDMs as they are.
    grid : sequence of (lower, upper)
        "geotopological": quantiles; each is a row of the answer. Transforms without quantiles take one row.
    nearness : {"euclidean", "correlation"}
    regions : sequence of names, optional

    Returns
    -------
    Identification
        ``accuracies`` (a table), ``per_subject``, with which transforms are compared pairwise, ``confusion``.

    Errors: `ValueError` for fewer than two subjects or regions, other shapes, quantiles out of order.
    Undefined: under "correlation" a constant RDM is never identified; ``n_constant`` counts them.
    Cost: O(S R² m) per cell of the grid, for S subjects, R regions, m pairs; ranks are taken once.
    Source: Lin & Kriegeskorte 2024.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> regions = rng.uniform(size=(4, 45))
    >>> rdms = regions + 0.1 * rng.normal(size=(6, 4, 45))
    >>> found = sx.identify_regions(rdms, grid=[(0.0, 1.0), (0.2, 0.8)])
    >>> found.accuracies["accuracy"].tolist(), found.chance
    ([1.0, 1.0], 0.25)
    """
    subjects = [as_rdms(list(subject), f"rdms[{s}]") for s, subject in enumerate(rdms)]
    if len(subjects) < 2 or len({len(subject) for subject in subjects}) != 1:
        raise ValueError(
            f"`rdms` has {[len(subject) for subject in subjects]} regions per subject, but as many in each "
            "of 2 or more subjects expected\nhint: pass subjects × regions × pairs"
        )
    for subject in subjects[1:]:
        same_conditions(subjects[0], subject, ("rdms[0]", "rdms"))
    n_regions, n = len(subjects[0]), subjects[0][0].n_conditions
    names = as_names(regions, "regions") if regions is not None else [str(r) for r in range(n_regions)]
    if len(names) != n_regions:
        raise ValueError(
            f"`regions` has {len(names)} names, but {n_regions} expected\nhint: name each region once"
        )
    cells: list[tuple[str, float, float] | None] = [None]
    if transform is not None:
        quantiles = [tuple(cell) for cell in grid] if transform == "geotopological" else [(0.2, 0.8)]
        if not quantiles or any(len(cell) != 2 for cell in quantiles):
            raise ValueError("`grid` holds no pairs, but (lower, upper) expected\nhint: [(0.2, 0.8)]")
        cells = [_transform(transform, low, high, 10.0, 0.5, 0.05, None, n) for low, high in quantiles]
    found = _core.identify_regions(
        np.concatenate([stacked(subject) for subject in subjects]),
        n,
        len(subjects),
        cells,
        _choice("nearness", nearness, ("euclidean", "correlation")),
    )
    cut = transform == "geotopological"
    return Identification(
        accuracies=Table(
            {
                "transform": [transform or "none"] * len(cells),
                "lower": [float(cell[1]) if cut and cell else np.nan for cell in cells],
                "upper": [float(cell[2]) if cut and cell else np.nan for cell in cells],
                "accuracy": [one["accuracy"] for one in found],
                "n_constant": [one["n_constant"] for one in found],
            }
        ),
        per_subject=np.stack([one["per_subject"] for one in found]),
        confusion=np.stack([one["confusion"] for one in found]),
        chance=1 / n_regions,
        regions=names,
    )
