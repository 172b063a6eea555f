"""How alike two representations are: one function per family of measures."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, Array, as_columns, as_layer, as_number, finite, flag, whole
from ._base import Result
from ._folds import as_folds
from ._ridge import _choice


def as_units(values: Any, name: str) -> Array:
    """Stimuli × units as float64 or float32, finite; one unit may come without its axis."""
    array = as_layer(as_columns(values, name), name)
    if array.dtype not in (np.float64, np.float32):
        array = array.astype(np.float32)  # which holds every half and bfloat16
    return finite(array, name)


def _pair(X: Any, Y: Any) -> tuple[Array, Array]:
    return as_units(X, "X"), as_units(Y, "Y")


def cka(
    X: Any,
    Y: Any,
    *,
    debiased: bool = True,
    kernel: str = "linear",
    fraction: float = 0.8,
) -> float:
    """Centred kernel alignment: the cosine between the centred Gram matrices of two representations.

    Formula: ``⟨K, L⟩ / √(⟨K, K⟩⟨L, L⟩)``; debiased, ⟨·, ·⟩ is the unbiased HSIC₁ over pairs of different
    stimuli. The plain form grows towards 1 with the number of units over stimuli, for noise too.

    Parameters
    ----------
    X, Y : array, stimuli × units
        The same stimuli in the same rows; any numbers of units.
    debiased : bool
        Whether finite samples are corrected for (the default) or not.
    kernel : {"linear", "rbf"}
        Products of patterns, or ``exp(−d²/2σ²)`` of their distances.
    fraction : float
        σ of ``"rbf"`` as a share of the median distance.

    Returns
    -------
    float
        Plain in [0, 1]; debiased in [−1, 1], with 0 for unrelated representations.

    Errors: `ValueError` for rows that differ, NaN.
    Undefined: NaN where a side does not vary; debiased with fewer than 4 stimuli.
    Cost: O(n² p) for n stimuli and p units, O(n p q) where n is larger.
    Source: Kornblith et al. 2019; Song et al. 2012; specs encoding-manifolds 6.4.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> X, noise = rng.normal(size=(50, 200)), rng.normal(size=(50, 300))
    >>> bool(sx.cka(X, noise, debiased=False) > 0.7), bool(abs(sx.cka(X, noise)) < 0.05)
    (True, True)
    >>> rotation = np.linalg.qr(rng.normal(size=(200, 200)))[0]
    >>> round(sx.cka(X, 3 * X @ rotation + 1), 10)
    1.0
    """
    x, y = _pair(X, Y)
    debiased = flag(debiased, "debiased")
    if _choice("kernel", kernel, ("linear", "rbf")) == "linear":
        return _core.similarity_measure(x, y, "cka_debiased" if debiased else "cka_linear")
    share = as_number(fraction, "fraction")
    if not share > 0:
        raise ValueError(
            f"`fraction` is {share:g}, but a number above 0 expected\n"
            "hint: 0.8 of the median distance is the default"
        )
    return _core.rbf_cka(x, y, share, debiased)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class CanonicalCorrelations(Result):
    """Canonical correlations and what to hold them against."""

    #: Descending, in [0, 1]; empty with a ridge.
    correlations: Array
    #: Their mean; with a ridge, of the regularised ones.
    mean: float
    #: The mean of their squares; NaN with a ridge.
    r2: float
    #: Mean over held-out stimuli; NaN without `cv`.
    held_out: float
    #: Directions of either side.
    n_components_x: int
    n_components_y: int
    #: What `r2` of independent noise would be.
    chance_r2: float
    #: Whether the directions outnumber the stimuli, so that some correlations are 1 by construction.
    saturated: bool


def cca(X: Any, Y: Any, *, ridge: float = 0.0, cv: Any = None) -> CanonicalCorrelations:
    """Canonical correlations: how well the best-matched linear readouts of two representations agree.

    Formula: singular values of ``U_xᵀ U_y`` with U the left singular vectors of the centred sides, all with
    singular values above 10⁻¹⁰ of the largest; no covariance is inverted. With a ridge κ (in units of the
    mean squared singular value), U is shrunk by ``s/√(s² + κ)``.

    Parameters
    ----------
    X, Y : array, stimuli × units
    ridge : float
        0 for none.
    cv : int or iterable of (train, test), optional
        With it, variates fitted on training stimuli are correlated on the others (leading directions that
        hold 99 % of the variance); their mean is `held_out`, about 0 for noise.

    Returns
    -------
    CanonicalCorrelations
        ``correlations``, ``mean``, ``r2``, ``held_out``, ``n_components_x``, ``n_components_y``,
        ``chance_r2``, ``saturated``.

    Errors: `ValueError` for rows that differ, NaN, a negative ridge, folds with fewer than 3 held-out
    stimuli. Undefined: NaN where a side does not vary.
    Cost: O(min(n, p)² max(n, p)) per side.
    Source: specs encoding-manifolds 6.3, alignment-methods B9.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 3))
    >>> found = sx.cca(X, X @ rng.normal(size=(3, 3)))
    >>> found.correlations.round(6).tolist()
    [1.0, 1.0, 1.0]
    >>> noise = sx.cca(rng.normal(size=(118, 40)), rng.normal(size=(118, 40)), cv=5)
    >>> bool(noise.mean > 0.4), bool(abs(noise.held_out) < 0.15), round(noise.chance_r2, 3)
    (True, True, 0.342)
    """
    return _canonical(X, Y, as_number(ridge, "ridge"), 1.0, "variance", cv)


def svcca(
    X: Any, Y: Any, *, share: float = 0.99, of: str = "variance", cv: Any = None
) -> CanonicalCorrelations:
    """Canonical correlations of leading directions (SVCCA).

    Formula: as `cca`, of the fewest singular directions of each side that hold a share of the variance.

    Parameters
    ----------
    X, Y : array, stimuli × units
    share : float
        In (0, 1].
    of : {"variance", "singular_values"}
        What the share counts: Σ s², or Σ s as in the tutorials of SVCCA.
    cv : int or iterable of (train, test), optional
        As in `cca`.

    Returns
    -------
    CanonicalCorrelations
        ``mean`` is the SVCCA similarity; see `cca`.

    Errors, undefined, cost: as `cca`.
    Source: Raghu et al. 2017; specs encoding-manifolds 6.3, alignment-methods B9.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> shared = rng.normal(size=(200, 2))
    >>> X = np.hstack([30 * shared, rng.normal(size=(200, 3))])
    >>> Y = np.hstack([30 * shared, rng.normal(size=(200, 4))])
    >>> found = sx.svcca(X, Y)
    >>> found.n_components_x, found.n_components_y, bool(found.mean > 0.99)
    (2, 2, True)
    """
    kind = _choice("of", of, ("variance", "singular_values"))
    return _canonical(X, Y, 0.0, as_number(share, "share"), kind, cv)


def _canonical(X: Any, Y: Any, ridge: float, share: float, of: str, cv: Any) -> CanonicalCorrelations:
    x, y = _pair(X, Y)
    if not (0 <= ridge < np.inf):
        raise ValueError(f"`ridge` is {ridge:g}, but a number of at least 0 expected\nhint: 0 is plain CCA")
    folds = [] if cv is None else as_folds(cv, None, len(x), least=3)
    # Held-out variates of all directions would be noise: those of 99 % of the variance are kept.
    held_share = 0.99 if share == 1.0 else share
    found = _core.canonical_correlations(x, y, ridge, share, of == "variance", [])
    held_out = np.nan
    if folds:
        held_out = _core.canonical_correlations(x, y, ridge, held_share, of == "variance", folds)["held_out"]
    rho = found["correlations"]
    plain = ridge == 0 and len(rho) > 0
    return CanonicalCorrelations(
        correlations=rho,
        mean=float(rho.mean()) if plain else found["regularised"],
        r2=float((rho**2).mean()) if plain else np.nan,
        held_out=held_out,
        n_components_x=found["n_components_x"],
        n_components_y=found["n_components_y"],
        chance_r2=found["chance_r2"],
        saturated=found["saturated"],
    )


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class PWCCA(Result):
    """Projection-weighted CCA in both directions."""

    #: Weighted by what the variates of X project on the units of X.
    of_x: float
    #: Likewise of Y.
    of_y: float


def pwcca(X: Any, Y: Any) -> PWCCA:
    """Canonical correlations weighted by how much of a representation they speak for (PWCCA).

    Formula: ``Σ α_k ρ_k / Σ α_k`` with ``α_k = Σ_j |⟨h_k, x_j⟩|``, h_k the canonical variates of X and x_j
    its centred units; and likewise for Y. The two differ.

    Parameters
    ----------
    X, Y : array, stimuli × units

    Returns
    -------
    PWCCA
        ``of_x`` and ``of_y``, each in [0, 1].

    Errors: `ValueError` for rows that differ, NaN. Undefined: NaN where a side does not vary.
    Cost: that of `cca`, and O(n² p).
    Source: Morcos et al. 2018; specs encoding-manifolds 6.3. Differs from the public reference script, which
    leaves the whitening out of the variates.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> shared = rng.normal(size=(200, 1))
    >>> X = np.hstack([50 * shared, rng.normal(size=(200, 1))])
    >>> Y = np.hstack([shared, 50 * rng.normal(size=(200, 1))])
    >>> found = sx.pwcca(X, Y)
    >>> bool(found.of_x > 0.95), bool(found.of_y < 0.2)
    (True, True)
    """
    of_x, of_y = _core.projection_weighted_cca(*_pair(X, Y))
    return PWCCA(of_x=of_x, of_y=of_y)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Shape(Result):
    """How far apart two shapes are."""

    #: Angle in radians, in [0, π/2] (held out: up to π).
    angular: float
    #: Distance in the unit of the (whitened) data.
    euclidean: float
    #: Cosine of the angle.
    cosine: float


def shape_distance(X: Any, Y: Any, *, alpha: float = 1.0, cv: Any = None) -> Shape:
    """Distance between two representations when one may be rotated into the other.

    Formula: with ``X_a = X V diag(a + (1 − a)/s) Vᵀ`` for centred X = U S Vᵀ, ``cosine = ‖X_aᵀY_a‖_* /
    (‖X_a‖‖Y_a‖)``, ``angular = arccos(cosine)``, ``euclidean = √(‖X_a‖² + ‖Y_a‖² − 2‖X_aᵀY_a‖_*)``. Both
    distances are metrics.

    Parameters
    ----------
    X, Y : array, stimuli × units
    alpha : float
        1 is Procrustes; 0 whitens both sides fully, as CCA does.
    cv : int or iterable of (train, test), optional
        With it, rotations are fitted on training stimuli and scored on the others; means over folds. What
        lies outside of the training span is matched with nothing.

    Returns
    -------
    Shape
        ``angular``, ``euclidean``, ``cosine``.

    Errors: `ValueError` for rows that differ, NaN, `alpha` outside [0, 1], folds with fewer than 3 held-out
    rows. Undefined: NaN where a side does not vary.
    Cost: O(min(n, p)² max(n, p)) per side; never units × units.
    Source: Williams et al. 2021; specs encoding-manifolds 6.5.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 10))
    >>> rotated = X @ np.linalg.qr(rng.normal(size=(10, 10)))[0]
    >>> bool(sx.shape_distance(X, rotated).angular < 1e-10)
    True
    >>> noise = rng.normal(size=(60, 10))
    >>> in_sample, held_out = sx.shape_distance(X, noise), sx.shape_distance(X, noise, cv=5)
    >>> bool(in_sample.cosine > 0.25), bool(abs(held_out.cosine) < 0.15)
    (True, True)
    """
    x, y = _pair(X, Y)
    folds = [] if cv is None else as_folds(cv, None, len(x), least=3)
    return Shape(**_core.shape_distance(x, y, as_number(alpha, "alpha"), folds))


def procrustes(X: Any, Y: Any) -> Shape:
    """Procrustes distance: `shape_distance` without whitening.

    Formula: see `shape_distance` with ``alpha=1``. ``cosine ** 2`` is one minus the disparity of
    `scipy.spatial.procrustes`.

    Parameters
    ----------
    X, Y : array, stimuli × units

    Returns
    -------
    Shape
        ``angular``, ``euclidean``, ``cosine``.

    Errors, undefined, cost, source: as `shape_distance`.

    Examples
    --------
    >>> import stereotax as sx
    >>> found = sx.procrustes([[0.0], [1.0], [2.0]], [[1.0], [1.0], [-2.0]])
    >>> round(found.cosine, 6), round(found.euclidean, 6)
    (0.866025, 1.414214)
    """
    return shape_distance(X, Y, alpha=1.0)


def bures(X: Any, Y: Any) -> float:
    """Normalised Bures similarity of the centred Gram matrices.

    Formula: ``tr (K^½ L K^½)^½ / √(tr K tr L) = ‖XᵀY‖_* / (‖X‖‖Y‖)``: the cosine of the Procrustes angle.

    Parameters
    ----------
    X, Y : array, stimuli × units

    Returns
    -------
    float
        In [0, 1].

    Errors, undefined, cost: as `shape_distance`.
    Source: Harvey et al. 2024; specs encoding-manifolds 6.5.

    Examples
    --------
    >>> import stereotax as sx
    >>> round(sx.bures([[0.0], [1.0], [2.0]], [[1.0], [1.0], [-2.0]]), 6)
    0.866025
    """
    return _core.similarity_measure(*_pair(X, Y), "bures_similarity")


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class SoftMatching(Result):
    """How alike the tuning of single units is."""

    #: In [0, 2], a metric; both sides at unit energy.
    distance: float
    #: Mean correlation of matched units, in [−1, 1].
    correlation: float


def soft_matching(X: Any, Y: Any) -> SoftMatching:
    """Match units softly: which populations have the same tuning, not only the same geometry.

    Formula: ``min_T Σ T_ij ‖x_i − y_j‖²`` (its root is ``distance``) and ``max_T Σ T_ij r_ij``
    (``correlation``), with rows of T summing to 1/units of X and columns to 1/units of Y; exact.

    Parameters
    ----------
    X, Y : array, stimuli × units

    Returns
    -------
    SoftMatching
        ``distance`` and ``correlation``.

    Errors: `ValueError` for rows that differ, NaN. Undefined: NaN where a side does not vary.
    Cost: O(n p q) and about O(max(p, q)³).
    Source: Khosla & Williams 2024. `match_units` pairs units of a model with those of a brain and scores the
    pairs on held-out stimuli.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(40, 6))
    >>> found = sx.soft_matching(X, X[:, ::-1])
    >>> bool(found.distance < 1e-10), round(found.correlation, 10)
    (True, 1.0)
    >>> rotated = X @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    >>> bool(sx.soft_matching(X, rotated).distance > 0.3), bool(sx.procrustes(X, rotated).angular < 1e-10)
    (True, True)
    """
    distance, correlation = _core.soft_match_units(*_pair(X, Y))
    return SoftMatching(distance=distance, correlation=correlation)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class NeighbourOverlap(Result):
    """How many nearest neighbours two representations share."""

    #: Mean share of common neighbours, in [0, 1].
    overlap: float
    #: Mean of common over all neighbours, in [0, 1].
    jaccard: float
    #: Agreement of the places of common neighbours, near ones first, in [0, 1].
    ranks: float
    #: Overlap of unrelated representations: k / (n − 1).
    chance: float


def knn_overlap(X: Any, Y: Any, *, n_neighbours: int = 10) -> NeighbourOverlap:
    """Whether stimuli have the same nearest neighbours.

    Formula: ``mean_i |N_x(i) ∩ N_y(i)| / k`` with N(i) the k stimuli nearest to i by Euclidean distance; and
    the same over ``|N_x(i) ∪ N_y(i)|`` (Jaccard); and over common neighbours at places r and s of the two
    lists ``Σ 2/((1 + |r − s|)(r + s)) / Σ_m 1/m``, m = 1 … their number (ranks; 0 without a common one).

    Parameters
    ----------
    X, Y : array, stimuli × units
    n_neighbours : int
        k.

    Returns
    -------
    NeighbourOverlap
        ``overlap``, ``jaccard``, ``ranks``, ``chance``.

    Errors: `ValueError` for rows that differ, NaN.
    Undefined: NaN where a side does not vary, or k is no less than n − 1.
    Cost: O(n² (p + log n)).
    Source: specs peers 1.8.

    Examples
    --------
    >>> import stereotax as sx
    >>> found = sx.knn_overlap([0.0, 1, 3, 7], [0.0, 5, 6, 1], n_neighbours=2)
    >>> found.overlap, round(found.jaccard, 4), round(found.ranks, 4), round(found.chance, 4)
    (0.5, 0.3333, 0.5417, 0.6667)
    """
    k = whole(n_neighbours, "n_neighbours", COUNT, least=1)
    return NeighbourOverlap(**_core.neighbour_overlap(*_pair(X, Y), k))


def gulp(X: Any, Y: Any, *, penalty: float = 0.01) -> float:
    """How differently ridge regressions on two representations would predict (GULP).

    Formula: ``‖A_x − A_y‖`` with ``A = X (C + λ)⁻¹ Xᵀ / n``, C the covariance, both sides centred and scaled
    to a mean squared pattern length of 1. A metric.

    Parameters
    ----------
    X, Y : array, stimuli × units
    penalty : float
        λ above 0. Small values compare spans, as CCA does; large ones compare Grams, as CKA does.

    Returns
    -------
    float
        In [0, √(rank of X + rank of Y)].

    Errors: `ValueError` for rows that differ, NaN, a penalty that is not above 0.
    Undefined: NaN where a side does not vary.
    Cost: that of `cca`.
    Source: Boix-Adsera et al. 2022; specs peers 1.8.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(50, 5))
    >>> bool(sx.gulp(X, 2 * X[:, ::-1]) < 1e-10)
    True
    """
    return _core.gulp_distance(*_pair(X, Y), as_number(penalty, "penalty"))


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class StochasticShape(Result):
    """Distance between stochastic representations."""

    distance: float
    #: Largest less least distance over starts; 0 where all agree.
    spread: float
    #: Turns the units of Y into those of X.
    rotation: Array
    converged: bool


def stochastic_shape_distance(
    X: Any,
    Y: Any,
    covariances_x: Any,
    covariances_y: Any,
    *,
    covariance_weight: float = 1.0,
    n_starts: int = 10,
    max_iterations: int = 200,
    tolerance: float = 1e-10,
    seed: int = 0,
) -> StochasticShape:
    """Shape distance between representations with a mean and a covariance of responses per stimulus.

    Formula: ``d² = min_Q (2 − w) Σ ‖μ_i − ν_i Q‖² + w Σ B²(Σ_i, Qᵀ Ψ_i Q)`` with B the Bures distance; w = 1
    is the 2-Wasserstein distance between Gaussians.

    Parameters
    ----------
    X, Y : array, stimuli × units
        Mean responses.
    covariances_x, covariances_y : array, stimuli × units × units
        Covariance over repeats of each stimulus.
    covariance_weight : float
        w in [0, 2]: 0 compares means alone, 2 covariances alone.
    n_starts, seed
        Random rotations to begin with, beside that of the means: the problem is not convex.
    max_iterations, tolerance
        When a start ends.

    Returns
    -------
    StochasticShape
        ``distance``, ``spread`` over starts, ``rotation``, ``converged``.

    Errors: `ValueError` for shapes that do not fit, NaN, covariances that are not positive semi-definite.
    Cost: O(n p³) per step and start.
    Source: Duong et al. 2023; specs encoding-manifolds 6.5.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> means, variances = np.array([[-1.0], [1.0]]), np.array([1.0, 4.0]).reshape(2, 1, 1)
    >>> others, other_variances = np.array([[2.0], [-2.0]]), np.array([9.0, 16.0]).reshape(2, 1, 1)
    >>> found = sx.stochastic_shape_distance(means, others, variances, other_variances)
    >>> round(found.distance**2, 10)
    10.0
    """
    x, y = (as_units(means, name).astype(np.float64) for means, name in ((X, "X"), (Y, "Y")))
    flat = []
    for values, means, name in ((covariances_x, x, "covariances_x"), (covariances_y, y, "covariances_y")):
        array = np.asarray(values, dtype=np.float64)
        n, p = means.shape
        if array.shape != (n, p, p):
            raise ValueError(
                f"`{name}` has the shape {array.shape}, but {(n, p, p)} (stimuli × units × units) expected\n"
                "hint: one covariance over repeats per stimulus"
            )
        flat.append(finite(np.ascontiguousarray(array.reshape(n * p, p)), name))
    found = _core.stochastic_shape_distance(
        (x, y),
        (flat[0], flat[1]),
        as_number(covariance_weight, "covariance_weight"),
        whole(n_starts, "n_starts", 10**6),
        whole(max_iterations, "max_iterations", 10**6, least=1),
        as_number(tolerance, "tolerance"),
        whole(seed, "seed", 2**64 - 1),
    )
    return StochasticShape(**found)
