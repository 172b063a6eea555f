"""Partial least squares regression of many targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, Array, as_columns, as_matrix, finite, flag, whole
from ._folds import as_folds
from ._linear import LinearModel


class PLSRegression(LinearModel):
    """Predict many targets from the few directions of the features that covary with them most (PLS2).

    Formula: components ``t_a = X_a w_a`` with w_a the left singular vector of ``X_aᵀ Y`` of the largest
    singular value and X_a what earlier components leave of X; ``Ŷ = X B + c`` is least squares on them.

    Parameters
    ----------
    n_components : int
        Components, at least 1. 25 is Brain-Score's choice.
    scale : bool
        Bring units and targets to unit variance (divisor n − 1) first.

    Attributes
    ----------
    coef_ : array, units × targets
    intercept_ : array, targets
    n_components_ : int
        Components found. Fewer than asked for if nothing is left to predict, or to predict from.
    stopped_ : str or None
        Why they are fewer.
    n_features_in_ : int

    A target that does not vary is predicted by its value; its score is NaN.

    Errors
    ------
    ValueError
        For NaN or infinities, rows that do not match, features that do not vary.

    Cost: O(n p min(n, p)) once for all splits; per split and component O(p² + p m min(m, p)) for p units and
    m targets (in sample space where there are more units than rows).

    Source: Wold et al. 2001; Dayal & MacGregor 1997; specs alignment-methods B6.2. Differs from scikit-learn:
    its predictions are ours once `tol` is small; by default it stops its inner iteration at ‖Δw‖ = 10⁻³. Its
    `coef_` is transposed, and `scale` is True there.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> hidden = rng.normal(size=(200, 3))
    >>> X = hidden @ rng.normal(size=(3, 50)) + rng.normal(size=(200, 50))
    >>> y = hidden @ rng.normal(size=(3, 4)) + 0.3 * rng.normal(size=(200, 4))
    >>> pls = sx.PLSRegression(n_components=3).fit(X[:150], y[:150])
    >>> bool(pls.score(X[150:], y[150:]).min() > 0.8)
    True
    """

    def __init__(self, n_components: int = 25, *, scale: bool = False) -> None:
        self.n_components = n_components
        self.scale = scale

    def fit(self, X: Any, y: Any) -> PLSRegression:
        """Fit on all rows: `X` is samples × units, `y` samples × targets (or samples)."""
        features, targets = self._data(X, y)
        found = _core.pls(features, targets, self._size(), flag(self.scale, "scale"))
        self._one_target = np.ndim(y) == 1
        self.coef_ = found["coef"]
        self.intercept_ = found["intercept"]
        self.n_components_: int = found["n_components"]
        self.stopped_: str | None = found["stopped"]
        self.n_features_in_ = features.shape[1]
        return self

    def predict_splits(self, X: Any, y: Any, cv: Any = 10, groups: Any = None) -> list[Array]:
        """Predict the held-out rows of every split from its other rows; one array per split.

        Nothing of the estimator changes. Splits share their moments, so ten of them cost little more than
        one fit. They may overlap. `cv` and `groups` are those of `RidgeCV`: a number of contiguous folds, an
        iterable of (train, test), or one group at a time.
        """
        features, targets = self._data(X, y)
        folds = as_folds(cv, groups, len(features))
        found = _core.pls_folds(features, targets, folds, self._size(), flag(self.scale, "scale"))
        one_target = np.ndim(y) == 1
        return [part["predicted"][:, 0] if one_target else part["predicted"] for part in found]

    def _size(self) -> int:
        return whole(self.n_components, "n_components", COUNT, least=1)

    @staticmethod
    def _data(X: Any, y: Any) -> tuple[Array, Array]:
        return finite(as_matrix(X, "X"), "X"), finite(as_matrix(as_columns(y, "y"), "y"), "y")
