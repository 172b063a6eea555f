"""Project many features on few random directions that keep distances."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, SEED, Array, as_layer, as_number, whole
from ._base import Estimator


def johnson_lindenstrauss_size(n_samples: int, eps: float = 0.1) -> int:
    """How many random directions keep all distances among some points.

    Formula: ``4 ln n / (ε²/2 − ε³/3)``, rounded down. With that many directions all squared distances among
    n points stay within 1 ± ε, with a chance of at least 1 − 1/n. The number of features does not matter.

    Parameters
    ----------
    n_samples : int
        Points, at least 2.
    eps : float
        Greatest relative error of a squared distance, in (0, 1).

    Returns
    -------
    int

    Errors: `ValueError` for fewer than 2 points, `eps` outside (0, 1). Cost: none.
    Source: Dasgupta & Gupta 2003; specs alignment-methods B6.1.

    Examples
    --------
    >>> import stereotax as sx
    >>> sx.johnson_lindenstrauss_size(1000, eps=0.1)
    5920
    """
    return _core.johnson_lindenstrauss_size(whole(n_samples, "n_samples", COUNT), as_number(eps, "eps"))


class _RandomProjection(Estimator):
    _kind = "transformer"
    n_components: int | str
    eps: float
    seed: int

    def _density(self, n_features: int) -> float | None:
        return None

    def fit(self, X: Any, y: Any = None) -> Any:
        """Fix the size of the map from the shape of `X` (samples × features); its values do not matter."""
        n, p = _features(X).shape
        if isinstance(self.n_components, str):
            if self.n_components != "auto":
                raise ValueError(
                    f"`n_components` is {self.n_components!r}, but a whole number or 'auto' expected"
                )
            size = johnson_lindenstrauss_size(n, self.eps)
            if size > p:
                raise ValueError(
                    f"`n_components` would be {size} for {n} samples and eps = {self.eps}, but at most the "
                    f"{p} features expected\nhint: project nothing, allow a larger eps, or give the number"
                )
        else:
            size = whole(self.n_components, "n_components", COUNT, least=1)
        whole(self.seed, "seed", SEED)
        self.n_components_: int = size
        self.density_: float | None = self._density(p)
        self.n_features_in_: int = p
        return self

    def transform(self, X: Any) -> Array:
        """The projection (samples × components) of samples with the features of `fit`.

        float32 (or half) in, float32 out; all else is float64. Rows may be passed in tiles of any size.
        """
        size = self._fitted("n_components_")
        features = _features(X)
        if features.shape[1] != self.n_features_in_:
            raise ValueError(
                f"`X` has {features.shape[1]} features, but {self.n_features_in_} expected (as in fit)\n"
                "hint: project what comes from the same layer"
            )
        return _core.random_projection(features, size, self.density_, self.seed)

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """`fit`, then `transform`."""
        found: Array = self.fit(X, y).transform(X)
        return found

    def matrix(self) -> Array:
        """The map as a matrix (features × components, float64), which `transform` never holds."""
        size = self._fitted("n_components_")
        return _core.projection_matrix(self.n_features_in_, size, self.density_, self.seed)


class SparseRandomProjection(_RandomProjection):
    """Project features on few random directions, most entries of which are zero.

    Formula: ``Z = X R`` with ``R_jc = ±1/√(s k)`` with chance s/2 each, and 0 else; ``E[R Rᵀ] = I``, so
    inner products and squared distances are unbiased.

    Parameters
    ----------
    n_components : int or "auto"
        k; "auto" is `johnson_lindenstrauss_size` of the number of samples given to `fit`.
    density : float or "auto"
        s in (0, 1]; "auto" is 1/√p for p features.
    eps : float
        For "auto": greatest relative error of a squared distance.
    seed : int
        The map depends on seed, sizes and density only. Models that share these share a map.

    Attributes
    ----------
    n_components_ : int
    density_ : float
    n_features_in_ : int

    Errors
    ------
    ValueError
        For NaN or infinities, another number of features than in `fit`, more automatic components than
        features, settings outside their range.

    Cost: O(n p k s) additions; memory: input, output and one block of some MB. The map is drawn again by
    blocks of features and never stored. Each row has the same bits in any tile, for any number of threads.

    Source: Achlioptas 2003; Li, Hastie & Church 2006; specs alignment-methods B6.1. Differs from
    scikit-learn: the same distribution, other random numbers, no stored matrix, no `inverse_transform`.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> X = np.random.default_rng(0).normal(size=(50, 20000))
    >>> Z = sx.SparseRandomProjection(eps=0.2).fit_transform(X)
    >>> Z.shape
    (50, 902)
    >>> before, after = np.linalg.norm(X[0] - X[1]), np.linalg.norm(Z[0] - Z[1])
    >>> bool(abs(after**2 / before**2 - 1) < 0.2)
    True
    """

    def __init__(
        self,
        n_components: int | str = "auto",
        *,
        density: float | str = "auto",
        eps: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.n_components = n_components
        self.density = density
        self.eps = eps
        self.seed = seed

    def _density(self, n_features: int) -> float:
        if isinstance(self.density, str):
            if self.density != "auto":
                raise ValueError(f"`density` is {self.density!r}, but a share or 'auto' expected")
            return 1.0 / float(np.sqrt(n_features))
        density = as_number(self.density, "density")
        if not 0 < density <= 1:
            raise ValueError(f"`density` is {density}, but a share above 0 and at most 1 expected")
        return density


class GaussianRandomProjection(_RandomProjection):
    """Project features on few random directions with normal entries.

    Formula: ``Z = X R`` with ``R_jc ~ N(0, 1/k)``. For inputs of few features; for many the sparse map keeps
    distances as well at a cost √p times lower.

    Parameters
    ----------
    n_components : int or "auto"
        k; "auto" is `johnson_lindenstrauss_size` of the number of samples given to `fit`.
    eps : float
        For "auto": greatest relative error of a squared distance.
    seed : int
        The map depends on seed and sizes only.

    Attributes
    ----------
    n_components_ : int
    n_features_in_ : int

    Errors
    ------
    ValueError
        As `SparseRandomProjection`.

    Cost: O(n p k), and p k normal numbers; memory: input, output and one block of some MB.

    Source: Dasgupta & Gupta 2003; specs alignment-methods B6.1.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> X = np.random.default_rng(0).normal(size=(50, 3000))
    >>> projection = sx.GaussianRandomProjection(400).fit(X)
    >>> bool(np.allclose(projection.transform(X), X @ projection.matrix()))
    True
    """

    def __init__(self, n_components: int | str = "auto", *, eps: float = 0.1, seed: int = 0) -> None:
        self.n_components = n_components
        self.eps = eps
        self.seed = seed


def _features(X: Any) -> Array:
    features = as_layer(X, "X")
    return features if features.dtype in (np.float64, np.float32) else features.astype(np.float32)
