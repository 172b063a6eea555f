"""Many measures of one pair, one measure of many pairs, and what they are worth at this size."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import DRAWS, SEED, Array, as_number, flag, optional_names, whole
from ._base import Result
from ._similarity import as_units
from ._table import Table


def measures() -> Table:
    """Every measure and what it promises: range, kind, symmetry, whether it is a metric, and what leaves it
    alone.

    The columns ``orthogonal``, ``isotropic_scale``, ``translation``, ``permutation`` and
    ``invertible_linear`` say which transformations of the units of either side leave the value unchanged;
    ``interval`` what intervals of `compare` rest on; ``computed_from`` which measures share their cost.

    Returns
    -------
    Table
        One row per measure.

    Source: specs peers 1.8; docs/reference/measures.md.

    Examples
    --------
    >>> import stereotax as sx
    >>> table = sx.measures()
    >>> table.where(measure="procrustes_angular")["metric"].tolist()
    [True]
    >>> [row["measure"] for row in table if row["invertible_linear"]]
    ['shape_whitened', 'cca_mean', 'cca_r2']
    """
    return Table.from_dicts(_core.measures())


def _words(values: str | Iterable[str]) -> list[str]:
    return values.split(",") if isinstance(values, str) else [str(value) for value in values]


def compare(
    X: Any,
    Y: Any,
    measures: str | Sequence[str] = "all",
    *,
    n_permutations: int = 99,
    n_bootstraps: int = 0,
    level: float = 0.95,
    blocks: Any = None,
    seed: int = 0,
) -> Table:
    """Compare two representations by many measures, with chance levels and intervals.

    Reductions (Gram matrices, singular vectors, distances) are computed once for all measures and draws;
    every measure sees the same draws.

    Parameters
    ----------
    X, Y : array, stimuli × units
        The same stimuli in the same rows; any numbers of units.
    measures : str or sequence of str
        Ids of `stereotax.measures()`; ``"all"``; ``"cka_*"``. With more than 1,000 units ``"all"`` leaves out
        measures that pair units, the cost of which grows with the cube of their number.
    n_permutations : int
        Orders of stimuli for ``chance`` and ``p_value``.
    n_bootstraps : int
        Draws for ``lower`` and ``upper``. What they rest on is in ``interval``: a bootstrap over stimuli in
        which copies never count as pairs of similar stimuli; or, for measures that fit something in sample,
        a jackknife that leaves a fifth of the stimuli out.
    level : float
        Coverage of intervals.
    blocks : sequence, optional
        One id per stimulus; rows that share one move together (runs of a time series, the rows of which are
        not exchangeable). Draws are keyed by these ids.
    seed : int

    Returns
    -------
    Table
        ``measure``, ``value``, ``lower``, ``upper``, ``chance``, ``p_value``, ``n_stimuli``, ``interval``,
        ``status`` (a warning, such as ranks that force correlations to 1).

    Errors: `ValueError` for rows that differ, NaN, an unknown measure, blocks of unequal length to permute.
    Undefined: NaN where a side does not vary.
    Cost: that of the reductions, and of each measure per draw.
    Source: specs peers 5 and 7, encoding-manifolds 6.8; docs/reference/measures.md.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 8))
    >>> Y = X @ rng.normal(size=(8, 12)) + rng.normal(size=(60, 12))
    >>> table = sx.compare(X, Y, ["cka_debiased", "procrustes_angular"], n_bootstraps=100)
    >>> table["p_value"].tolist()
    [0.01, 0.01]
    >>> bool((table["lower"] < table["value"]).all() and (table["value"] < table["upper"]).all())
    True
    >>> bool(abs(table["chance"][0]) < 0.05)
    True
    """
    found = _core.compare_pair(
        as_units(X, "X"),
        as_units(Y, "Y"),
        _words(measures),
        whole(n_permutations, "n_permutations", DRAWS),
        whole(n_bootstraps, "n_bootstraps", DRAWS),
        as_number(level, "level"),
        whole(seed, "seed", SEED),
        optional_names(blocks, "blocks"),
    )
    return Table.from_dicts(found["rows"])


def pairwise(representations: Iterable[Any], measure: str, *, rank: int | None = None) -> Array:
    """One measure of all pairs of representations of the same stimuli.

    What a representation needs for all its pairs is computed once. CKA of all pairs is one product of
    vectorised Gram matrices; Procrustes and CCA work on singular vectors over stimuli, never on units ×
    units.

    Parameters
    ----------
    representations : iterable of array, stimuli × units each
        The same stimuli in the same rows; any numbers of units.
    measure : str
        An id of `stereotax.measures()`.
    rank : int, optional
        Leading directions that are kept of each, for Procrustes, CCA and their relatives.

    Returns
    -------
    array, representations × representations
        Row i, column j: the measure of i and j in this order (only PWCCA differs from its transpose).

    Errors: `ValueError` for rows that differ, NaN, an unknown measure, a rank where none applies.
    Undefined: NaN where a representation does not vary.
    Cost: memory n · min(n, units) numbers per representation; CKA m² n² / 2 for m representations, the others
    O(n r² + r³) per pair with r ≤ n the rank.
    Source: specs peers W8.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(40, 6))
    >>> layers = [X, X @ np.linalg.qr(rng.normal(size=(6, 6)))[0], rng.normal(size=(40, 9))]
    >>> distances = sx.pairwise(layers, "procrustes_angular")
    >>> bool(distances[0, 1] < 1e-10), bool(distances[0, 2] > 0.5)
    (True, True)
    """
    arrays = [as_units(x, f"representation {i}") for i, x in enumerate(representations)]
    kept = None if rank is None else whole(rank, "rank", 2**31 - 1, least=1)
    return _core.compare_pairwise(arrays, measure, kept)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class MeanShape(Result):
    """The mean of shapes, and shapes around it."""

    #: Stimuli × dimensions, up to a rotation.
    mean: Array
    #: Euclidean distance of each shape to the mean.
    distances: Array
    #: Representations × components: principal components of the tangent vectors at the mean.
    coordinates: Array
    n_iterations: int
    converged: bool


def frechet_mean(
    representations: Iterable[Any],
    *,
    normalise: bool = True,
    max_iterations: int = 200,
    tolerance: float = 1e-10,
) -> MeanShape:
    """The mean shape of several representations, and their coordinates around it.

    Formula: ``argmin_M Σ_i min_Q ‖X_i Q − M‖²`` by generalised Procrustes; tangent vectors ``X_i Q_i − M``.
    Distances between coordinates are shape distances to first order, so that ordinary statistics apply to
    them.

    Parameters
    ----------
    representations : iterable of array, stimuli × units each
    normalise : bool
        Whether each is scaled to length 1 first.
    max_iterations, tolerance
        The last step is the first that lowers the sum of squares by less than this share.

    Returns
    -------
    MeanShape
        ``mean``, ``distances``, ``coordinates``, ``n_iterations``, ``converged``.

    Errors: `ValueError` for rows that differ, NaN, a representation that does not vary.
    Cost: O(m² r³) for m representations of rank r.
    Source: Williams et al. 2021; specs encoding-manifolds 6.5.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(30, 4))
    >>> shapes = [X + 0.1 * rng.normal(size=X.shape) for _ in range(5)]
    >>> found = sx.frechet_mean(shapes)
    >>> found.converged, found.coordinates.shape, bool(found.distances.max() < 0.15)
    (True, (5, 4), True)
    """
    arrays = [as_units(x, f"representation {i}") for i, x in enumerate(representations)]
    found = _core.mean_shape(
        arrays,
        flag(normalise, "normalise"),
        whole(max_iterations, "max_iterations", 10**6, least=1),
        as_number(tolerance, "tolerance"),
    )
    return MeanShape(**found)


def bias_audit(
    X: Any,
    Y: Any,
    measures: str | Sequence[str] = ("cka_linear", "cka_debiased"),
    *,
    n_stimuli: Sequence[int] | None = None,
    n_units: Sequence[int] | None = None,
    n_draws: int = 20,
    seed: int = 0,
) -> Table:
    """How much of a value the numbers of stimuli and units explain alone.

    Random subsets of stimuli and units of each size are compared as they are (``value``) and with the
    stimuli of one side in random order (``chance``): noise with the same spectra and sizes. Where both rise
    together as stimuli become few or units many, the value tells about sizes.

    Parameters
    ----------
    X, Y : array, stimuli × units
    measures : str or sequence of str
        As in `compare`; put a plain measure beside its debiased form.
    n_stimuli, n_units : sequence of int, optional
        Sizes; by default a tenth, a third and all of what there is.
    n_draws : int
        Subsets per size.
    seed : int

    Returns
    -------
    Table
        ``measure``, ``n_stimuli``, ``n_units``, ``value``, ``value_sd``, ``chance``, ``chance_sd``.

    Errors: `ValueError` for rows that differ, NaN, sizes beyond the data.
    Cost: two evaluations per measure, size and draw.
    Source: specs peers 5 (7).

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.normal(size=(100, 80)), rng.normal(size=(100, 80))
    >>> table = sx.bias_audit(X, Y, n_stimuli=[10], n_units=[80])
    >>> plain, debiased = table["value"]
    >>> bool(plain > 0.8), bool(abs(debiased) < 0.2)
    (True, True)
    """
    x, y = as_units(X, "X"), as_units(Y, "Y")
    found = _core.audit_bias(
        x,
        y,
        _words(measures),
        _sizes(n_stimuli, "n_stimuli", len(x), 4),
        _sizes(n_units, "n_units", max(x.shape[1], y.shape[1]), 1),
        whole(n_draws, "n_draws", DRAWS, least=1),
        whole(seed, "seed", SEED),
    )
    return Table.from_dicts(found)


def _sizes(values: Sequence[int] | None, name: str, most: int, least: int) -> list[int]:
    if values is None:
        return sorted({max(least, most // 10), max(least, most // 3), most})
    return [whole(value, name, most, least=1) for value in np.atleast_1d(np.asarray(values)).tolist()]
