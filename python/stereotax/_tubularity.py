"""How much the trajectories of populations are like tubes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, DRAWS, SEED, Array, as_number, flag, to_numpy, whole
from ._base import Result
from ._table import Table

#: Columns of scores, in the order of the extension.
SCORES = (
    "tightness", "crossing", "crossing_number", "crossing_legacy", "tightness_contextual",
    "tightness_matched", "tightness_normal", "separation", "least_separation", "bend",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Tubularity(Result):
    """Scores of one or more populations; lower tightness and crossing are more tube-like."""

    #: One row per population: `population`, `n_units` in a draw, `n_silent`, and of each score the mean over
    #: draws with `_low` and `_high` of its interval.
    scores: Table
    #: One row per population and draw, all scores.
    draws: Table
    #: One row per pair of populations, and of each of `tightness`, `crossing`, `crossing_number` the mean
    #: paired difference (first − second) with its interval.
    differences: Table
    #: One row per population and stimulus, of all units once: length of the centre line, ε, X_ε, radius.
    bundles: Table
    #: Per population, stimulus and bin (stimuli × 100): the radius along the centre line.
    radii: dict[str, Array]
    #: Per population, stimuli × 400 × dimensions: the centre lines.
    lines: dict[str, Array]


def tubularity(
    responses: Any,
    *,
    smoothing: float = 2.0,
    relative: bool = False,
    scale_free: bool = False,
    n_components: int = 10,
    quantile: float = 0.9,
    exact_epsilon: bool = False,
    refits: int = 0,
    matched: bool = True,
    n_draws: int = 30,
    level: float = 0.95,
    seed: int = 0,
) -> Tubularity:
    """Score how thin the bundles of a population's trajectories are, and how much their curves cross.

    Formula: units z-scored over all rows, PCA, one curve per stimulus and direction at 150 equal steps of arc
    length; a bundle holds the directions of a stimulus, c(u) is its smoothed mean of length L.
    ``S_tight = mean_bins q-quantile |X(u) − c|/L``; ``S_cross = X_ε/L`` with ``X_ε = 2/(m(m−1)) Σ
    exp(−ρ²/2ε²)(1 − (t·t′)²)/150²`` over pairs of points of different curves at ρ ≤ 3ε.

    Parameters
    ----------
    responses : array, units × stimuli × directions × times; or a mapping of names to such arrays
        Populations to compare need no equal numbers of units.
    smoothing : float
        Residual sum of squares of each dimension of the centre line; absolute (2: the reference's latest,
        0.01 its first), or with `relative` a share of the mean line's sum of squares. 0: no smoothing.
    scale_free : bool
        Divide trajectories by the root of their total variance.
    n_components : int
    quantile : float
    exact_epsilon : bool
        ε without the cap that ten neighbours put on it.
    refits : int
        Refits of the centre line as a principal curve.
    matched : bool
        Draw as many units of each population as the smallest has: S_cross falls with the number of units.
    n_draws, seed : int
        Draws of units with replacement.
    level : float
        Of the percentile intervals.

    Returns
    -------
    Tubularity
        `crossing_number` is free of length: Σ sin(angle) over crossings, per pair of curves.
        `separation` (median and least over pairs of bundles) above 1: tubes are disjoint. `bend` below 1: no
        tube cuts itself by bending. Intervals stand for the choice of units; draws are no samples to test.

    Errors: `ValueError` for a bundle of a single curve, NaN (cut padded times off), only silent units.
    Undefined: separations with one stimulus; bend without smoothing. Cost: per draw (150 directions)²
    distances per stimulus. Source: Bertram et al. 2026; specs encoding-manifolds 5 (T1–T7). Differs from the
    reference in the spline (Reinsch's, not FITPACK's).

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> path = np.linspace(0, 1, 20) * rng.normal(size=(30, 3, 1, 1))
    >>> thin, thick = (path + s * rng.normal(size=(30, 3, 4, 1)) for s in (0.02, 0.5))
    >>> found = sx.tubularity({"thin": thin, "thick": thick}, n_draws=5)
    >>> bool(found.differences["tightness_high"][0] < 0)
    True
    """
    if not hasattr(responses, "keys"):
        responses = {"responses": responses}
    names = [str(name) for name in responses.keys()]
    told = []
    for name, given in responses.items():
        array = np.asarray(to_numpy(given, str(name)), dtype=np.float64)
        if array.ndim != 4:
            raise ValueError(
                f"`{name}` has the shape {array.shape}, but four axes (units × stimuli × directions × times) "
                "expected\nhint: add an axis for one stimulus; bundles are its directions"
            )
        rows = np.ascontiguousarray(array.reshape(array.shape[0], -1).T)
        told.append((rows, (array.shape[1], array.shape[2], array.shape[3])))
    if not told:
        raise ValueError("`responses` is empty, but a population expected\nhint: pass {'V1': array}")
    draws_wanted = whole(n_draws, "n_draws", DRAWS, least=1)
    found = _core.tubularity(
        told,
        whole(n_components, "n_components", COUNT, least=1),
        (flag(relative, "relative"), as_number(smoothing, "smoothing")),
        (flag(scale_free, "scale_free"), flag(exact_epsilon, "exact_epsilon"), flag(matched, "matched")),
        as_number(quantile, "quantile"),
        whole(refits, "refits", 1000),
        draws_wanted,
        whole(seed, "seed", SEED),
    )
    tails = [(1 - as_number(level, "level")) / 2, (1 + level) / 2]
    values = np.array([one["draws"] for one in found])  # populations × draws × scores
    rows_of = []
    for at, (name, one) in enumerate(zip(names, found, strict=True)):
        row: dict[str, Any] = {"population": name, "n_units": one["n_units"], "n_silent": one["n_silent"]}
        for score, column in zip(SCORES, values[at].T, strict=True):
            row[score] = column.mean()
            row[f"{score}_low"], row[f"{score}_high"] = np.quantile(column, tails)
        rows_of.append(row)
    pairs: list[dict[str, Any]] = []
    for a in range(len(names)):
        for b in range(a + 1, len(names)):
            row = {"first": names[a], "second": names[b]}
            for score in SCORES[:3]:
                difference = values[a, :, SCORES.index(score)] - values[b, :, SCORES.index(score)]
                row[score] = difference.mean()
                row[f"{score}_low"], row[f"{score}_high"] = np.quantile(difference, tails)
            pairs.append(row)
    bundles = [
        {"population": name, "stimulus": stimulus}
        | {key: value for key, value in bundle.items() if key not in ("radii", "line")}
        for name, one in zip(names, found, strict=True)
        for stimulus, bundle in enumerate(one["bundles"])
    ]
    flat = values.reshape(-1, len(SCORES))
    per_draw: dict[str, Any] = {
        "population": [name for name in names for _ in range(draws_wanted)],
        "draw": [draw for _ in names for draw in range(draws_wanted)],
    }
    return Tubularity(
        scores=Table.from_dicts(rows_of),
        draws=Table(per_draw | {score: flat[:, at] for at, score in enumerate(SCORES)}),
        differences=Table.from_dicts(pairs),
        bundles=Table.from_dicts(bundles),
        radii={
            n: np.array([b["radii"] for b in one["bundles"]]) for n, one in zip(names, found, strict=True)
        },
        lines={n: np.array([b["line"] for b in one["bundles"]]) for n, one in zip(names, found, strict=True)},
    )
