"""How many dimensions representations have: by variance, free of noise, and by nearest neighbours."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, DRAWS, SEED, Array, as_matrix, as_number, to_numpy, whole
from ._base import Result
from ._table import Table


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ParticipationRatio(Result):
    """The participation ratio in all its forms, from 1 to the number of units; NaN where undefined."""

    #: Of the sample as it is: biased down by few stimuli and few units, up by noise.
    naive: float
    #: Debiased over stimuli; over units; over both.
    stimuli: float
    units: float
    both: float
    #: (numerator, denominator) of each form; a denominator of 0 or less has no ratio.
    parts: dict[str, tuple[float, float]]
    n_constant: int


def participation_ratio(X: Any, repeat: Any = None) -> ParticipationRatio:
    """Count the directions that carry variance, without the bias of few stimuli, few units and noise.

    Formula: ``PR = (Σ C_αα)² / Σ C_αβ²`` of the covariance C between units; debiased, numerator and
    denominator are means over different stimuli (and units): ``A = ⟨v(iijj)⟩ − 2⟨v(iijl)⟩ + ⟨v(ijlr)⟩``,
    ``B = ⟨v(ijji)⟩ − 2⟨v(ijjl)⟩ + ⟨v(ijlr)⟩`` with ``v(ijlr) = Σ_αβ x_iα y_jα x_lβ y_rβ``.

    Parameters
    ----------
    X : array, stimuli × units
    repeat : array, stimuli × units, optional
        Second repeat of the same stimuli. Then `stimuli`, `units` and `both` hold no product of one noise
        with itself, and estimate the ratio of the signal.

    Returns
    -------
    ParticipationRatio
        `both` estimates the population's; at low signal it is unstable, and NaN where its denominator is
        not above 0.

    Errors: `ValueError` for fewer than 4 stimuli or 2 units, NaN, no unit that varies.
    Cost: O(P Q min(P, Q)) for P stimuli and Q units.
    Source: specs alignment-methods B5.1. Differs from scikit-dimension (a whole number there).

    Examples
    --------
    >>> import stereotax as sx
    >>> X = [[7, 2, 10, 5], [6, 8, 10, 12], [2, 11, 7, 3], [8, 11, 1, 4], [11, 8, 5, 2], [11, 2, 6, 10]]
    >>> found = sx.participation_ratio(X)
    >>> round(found.naive, 4), round(found.stimuli, 4)
    (2.658, 4.3517)
    """
    found = _core.participation_ratio(
        as_matrix(X, "X", axes="stimuli × units"),
        None if repeat is None else as_matrix(repeat, "repeat", axes="stimuli × units"),
    )
    forms = ("naive", "stimuli", "units", "both")
    return ParticipationRatio(
        **{form: float(found[form][0]) for form in forms},
        parts={form: (float(found[form][1]), float(found[form][2])) for form in forms},
        n_constant=found["n_constant"],
    )


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class CvPCA(Result):
    """A spectrum from two repeats, and its power law."""

    #: Estimates of signal variance; negative ones are about 0.
    eigenvalues: Array
    #: α of λ_k ∝ k^−α over `ranks`, its R², and ranks in between with λ ≤ 0.
    exponent: float
    r2: float
    ranks: tuple[int, int]
    n_left_out: int
    participation_ratio: float
    #: Signal variance over total variance.
    signal_share: float


def cv_pca(
    X: Any,
    repeat: Any,
    *,
    spontaneous: Any = None,
    n_spontaneous: int = 32,
    n_swaps: int = 10,
    ranks: tuple[int, int] = (11, 500),
    seed: int = 0,
) -> CvPCA:
    """Estimate the spectrum of stimulus-related variance from two repeats, free of noise (cvPCA).

    Formula: ``λ_k = Σ_s (X₁u_k)_s (X₂u_k)_s / (S − 1)`` with u_k the principal directions of X₁, units
    centred over stimuli; mean over random swaps of repeats, and both directions. ``log λ = c − α log k``
    with weights 1/k.

    Parameters
    ----------
    X, repeat : array, stimuli × units
        Two repeats of the same stimuli.
    spontaneous : array, times × units, optional
        Units are divided by its standard deviation, and its first `n_spontaneous` components taken out.
    n_swaps : int
    ranks : (int, int)
        First and last rank of the power law, from 1; at most a quarter of the stimuli.
    seed : int

    Returns: `CvPCA`. Errors: `ValueError` for other shapes, fewer than 3 stimuli, NaN, units that are
    silent in `spontaneous`. Cost: O(S³) per swap and direction, S² N once.
    Source: Stringer et al. 2019; specs alignment-methods B5.2.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> spectrum = np.arange(1, 301) ** -0.5
    >>> signal = rng.normal(size=(300, 300)) * spectrum @ np.linalg.qr(rng.normal(size=(300, 300)))[0]
    >>> first, second = (signal + 0.1 * rng.normal(size=signal.shape) for _ in range(2))
    >>> 0.85 < sx.cv_pca(first, second).exponent < 1.15
    True
    """
    found = _core.cv_pca(
        as_matrix(X, "X", axes="stimuli × units"),
        as_matrix(repeat, "repeat", axes="stimuli × units"),
        None if spontaneous is None else as_matrix(spontaneous, "spontaneous", axes="times × units"),
        whole(n_swaps, "n_swaps", COUNT, least=1),
        whole(n_spontaneous, "n_spontaneous", COUNT),
        (whole(ranks[0], "ranks", COUNT, least=1), whole(ranks[1], "ranks", COUNT, least=1)),
        whole(seed, "seed", SEED),
    )
    return CvPCA(**found)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class IntrinsicDimension(Result):
    """What nearest neighbours say about the dimension."""

    #: TwoNN: slope through 0, and maximum likelihood.
    two_nn: float
    two_nn_mle: float
    #: Levina–Bickel: harmonic mean over points, mean, median, and of each point.
    levina_bickel: float
    levina_bickel_mean: float
    levina_bickel_median: float
    pointwise: Array
    #: Estimates on all points, halves, quarters, …: how they depend on the scale looked at.
    scales: Table
    n_duplicates: int
    #: Whether there are 5 · 2^d points.
    reliable: bool
    #: Mean participation ratio of local covariances, and eigenvalues above a share of the first; None unless
    #: asked for.
    local_pca: float | None = None
    local_pca_above: float | None = None
    #: Balls of known dimension with as many points; None unless asked for.
    calibration: Table | None = None
    #: The dimension of the ball that would give the estimate; NaN outside of the dimensions tried.
    corrected_two_nn: float | None = None
    corrected_levina_bickel: float | None = None


def intrinsic_dimension(
    X: Any,
    *,
    k: int = 20,
    discard: float = 0.1,
    n_halvings: int = 4,
    local_pca: int | None = None,
    local_share: float = 0.05,
    calibrate: bool | Sequence[int] = False,
    n_draws: int = 3,
    seed: int = 0,
) -> IntrinsicDimension:
    """Estimate the dimension of a cloud of points from the distances to nearest neighbours.

    Formula: TwoNN: with μ = r₂/r₁ sorted and F_i = i/n, the slope of −ln(1 − F) on ln μ through 0.
    Levina–Bickel: ``d_i = (k − 1)/Σ_{j<k} ln(r_k/r_j)``, harmonic mean over points.

    Parameters
    ----------
    X : array, points × coordinates
        Stimuli × units, for the dimension of a representation. Average repeats first: noise has as many
        dimensions as there are units.
    k : int
        Neighbours of Levina–Bickel; 10 to 30.
    discard : float
        Share of the largest μ that the slope leaves out.
    n_halvings : int
        Rows of `scales` beyond the first.
    local_pca : int, optional
        Also local PCA, with so many neighbours; eigenvalues of at least `local_share` of the first count.
    calibrate : bool or sequence of int
        Also the same estimates on balls with as many points, of these dimensions (True: 1 to 40).
    n_draws, seed : int
        Balls of each dimension.

    Returns
    -------
    IntrinsicDimension
        Above ten dimensions both fall short, the more the fewer points: compare only at the same number of
        points, or the corrected values.

    Points that equal an earlier one are left out and counted. Errors: `ValueError` for fewer than k + 1
    different points, NaN. Cost: n² coordinates/2 products in single precision; distances are exact.
    Source: Facco et al. 2017; Levina & Bickel 2004; specs alignment-methods B5.3. Differs from
    scikit-dimension: both estimates share one search.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> sheet = np.column_stack([rng.uniform(size=(2000, 2)), np.zeros((2000, 8))])
    >>> found = sx.intrinsic_dimension(sheet)
    >>> abs(found.two_nn - 2) < 0.15 and abs(found.levina_bickel - 2) < 0.15
    True
    """
    balls = None
    if calibrate is not False:
        dims = [1, 2, 3, 4, 6, 8, 10, 12, 15, 20, 25, 30, 40] if calibrate is True else list(calibrate)
        balls = (
            [whole(d, "calibrate", 10_000, least=1) for d in dims],
            whole(n_draws, "n_draws", DRAWS, least=1),
        )
    found = dict(
        _core.intrinsic_dimension(
            as_matrix(X, "X", axes="points × coordinates"),
            whole(k, "k", COUNT, least=3),
            as_number(discard, "discard"),
            whole(n_halvings, "n_halvings", 40),
            whole(seed, "seed", SEED),
            None
            if local_pca is None
            else (whole(local_pca, "local_pca", COUNT, least=2), as_number(local_share, "local_share")),
            balls,
        )
    )
    found["scales"] = _table(("n_points", "n_parts", "two_nn", "levina_bickel"), found["scales"])
    if balls is not None:
        names = ("dimension", "two_nn", "two_nn_sd", "levina_bickel", "levina_bickel_sd")
        found["calibration"] = _table(names, found["calibration"])
    return IntrinsicDimension(**found)


def noise_matched(X: Any, reliability: Any, *, seed: int = 0) -> tuple[Array, Array]:
    """Make two noisy repeats of a network's responses that are as reliable as a brain's.

    Formula: unit j gets the reliability r of a random unit of the brain, and normal noise of variance
    ``var_j (1/r − 1)`` in each repeat, so that its repeats correlate by r.

    Parameters
    ----------
    X : array, stimuli × units
    reliability : array, units of the brain
        Correlation between two repeats of each, above 0 and up to 1. Leave out units without reliability on
        both sides.
    seed : int

    Returns: two arrays, stimuli × units. Errors: `ValueError` for other reliabilities, NaN.
    Cost: O(stimuli · units). Source: specs alignment-methods B5.4.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> X = np.random.default_rng(0).normal(size=(4000, 3))
    >>> a, b = sx.noise_matched(X, [0.5])
    >>> bool(abs(np.corrcoef(a[:, 0], b[:, 0])[0, 1] - 0.5) < 0.05)
    True
    """
    given = [float(r) for r in np.asarray(to_numpy(reliability, "reliability"), float).ravel()]
    return _core.noise_matched(as_matrix(X, "X", axes="stimuli × units"), given, whole(seed, "seed", SEED))


def _table(names: Sequence[str], rows: list[tuple[Any, ...]]) -> Table:
    return Table({name: [row[at] for row in rows] for at, name in enumerate(names)})
