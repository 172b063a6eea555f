"""How spread out a representation is, by a random walk between its points."""

from __future__ import annotations

import dataclasses
from typing import Any

from . import _core
from ._arrays import COUNT, DRAWS, SEED, as_matrix, as_names, as_number, whole
from ._base import Result
from ._ridge import _choice


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class SpectralEntropy(Result):
    """Diffusion spectral entropy, in bits, and the information of labels."""

    entropy: float
    #: σ as used, units of distance.
    sigma: float
    n_points: int
    #: Bits; NaN without labels.
    information: float
    #: Entropy of each class; NaN of a class of one point, which does not count.
    of_class: dict[str, float]


def spectral_entropy(
    X: Any,
    labels: Any = None,
    *,
    sigma: float | str = 10.0,
    factor: float = 1.0,
    time: float = 1.0,
    max_points: int = 10_000,
    n_draws: int = 5,
    seed: int = 0,
) -> SpectralEntropy:
    """Measure the spread of points by the spectrum of a random walk, and how much of it labels explain.

    Formula: ``G = exp(−d²/2σ²)``, ``K = D^−½ G D^−½``, ``p_i = |λ_i|^t/Σ|λ|^t``, ``DSE = −Σ p log₂ p``;
    ``DSMI = Σ_b p(b) [DSE(random points, as many) − DSE(class b)]``.

    Parameters
    ----------
    X : array, points × coordinates
    labels : array, points, optional
    sigma : float or "median"
        A distance; or `factor` times the median distance, which keeps with the scale of X. 10 is the
        reference's.
    factor, time : float
    max_points : int
        A random subset is taken of more.
    n_draws, seed : int
        Random sets per class.

    Returns
    -------
    SpectralEntropy
        0 bits for equal points, log₂ C for C tight clusters, log₂ N for points far apart compared with σ.

    Errors: `ValueError` for NaN, σ or t not above 0, labels of another length. Undefined: the information
    without a class of two points. Cost: O(N³).
    Source: Liao et al. 2023; specs alignment-methods B3.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> groups = np.repeat([0, 1, 2, 3], 25)
    >>> X = np.column_stack([1000.0 * groups, np.random.default_rng(0).normal(size=100) / 100])
    >>> found = sx.spectral_entropy(X, groups)
    >>> round(found.entropy, 3), round(found.information, 1)
    (2.0, 2.0)
    """
    if isinstance(sigma, str):
        _choice("sigma", sigma, ("median",))
        width = (True, as_number(factor, "factor"))
    else:
        width = (False, as_number(sigma, "sigma"))
    found = _core.spectral_entropy(
        as_matrix(X, "X", axes="points × coordinates"),
        None if labels is None else as_names(labels, "labels"),
        width,
        as_number(time, "time"),
        whole(max_points, "max_points", COUNT, least=1),
        whole(n_draws, "n_draws", DRAWS, least=1),
        whole(seed, "seed", SEED),
    )
    classes = dict(zip(found.pop("classes"), found.pop("of_class").tolist(), strict=True))
    return SpectralEntropy(**found, of_class=classes)
