"""Least squares, on all directions of the features or on their first principal components."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, Array, as_columns, as_matrix, finite, flag, whole
from ._folds import as_folds
from ._linear import LinearModel


class LinearRegression(LinearModel):
    """Ordinary least squares of many targets, by the pseudo-inverse.

    Formula: ``B = X_c⁺ Y_c``, with singular values below ``max(n, p) ε s_1`` cut: of all weights that fit
    best, those of least norm.

    Parameters
    ----------
    fit_intercept : bool
        Fit a constant per target.

    Attributes
    ----------
    coef_ : array, units × targets
    intercept_ : array, targets
    rank_ : int
        Directions of the centred features. With fewer directions than units, weights of single units mean
        little; with as many as samples, every training target is reproduced.
    n_features_in_ : int

    Errors
    ------
    ValueError
        For NaN or infinities, rows that do not match, features that do not vary.

    Cost: O(n p min(n, p)) for the decomposition, O(n p R) for R targets.

    Source: specs alignment-methods B6.2. The same as scikit-learn's `LinearRegression`, whose `coef_` is
    transposed.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> X = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])  # one column twice
    >>> model = sx.LinearRegression().fit(X, [1.0, 3.0, 5.0])
    >>> model.rank_, model.coef_.round(6).ravel().tolist(), model.predict(X).round(6).tolist()
    (1, [1.0, 1.0], [1.0, 3.0, 5.0])
    """

    def __init__(self, *, fit_intercept: bool = True) -> None:
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: Any) -> LinearRegression:
        """Fit on all rows: `X` is samples × units, `y` samples × targets (or samples)."""
        features, targets = _data(X, y)
        intercept = flag(self.fit_intercept, "fit_intercept")
        found = _core.component_regression(features, targets, [], None, intercept)
        self._one_target = np.ndim(y) == 1
        self.coef_ = found["coef"]
        self.intercept_ = found["intercept"]
        self.rank_: int = found["rank"]
        self.n_features_in_ = features.shape[1]
        return self


class PCARegressionCV(LinearModel):
    """Least squares on the first principal components, as many per target as cross-validation chooses.

    Formula: ``X_c = U S Vᵀ``, ``B_k = Σ_{i ≤ k} v_i s_i⁻¹ u_iᵀ Y_c``; k per target by R² pooled over folds,
    ties to fewer. Components are those of the training rows of each fold. k = 0 predicts the mean.

    Parameters
    ----------
    max_components : int, optional
        The most components to try; as many as every fold has by default.
    cv : int or iterable of (train, test)
        Contiguous folds, or the rows of each fold. With `groups` in `fit`, one group is held out at a time.
    fit_intercept : bool
        Fit a constant per target.

    Attributes
    ----------
    coef_ : array, units × targets
        NaN for a target that does not vary.
    intercept_ : array, targets
    n_components_ : array of int, targets
    best_score_ : array, targets
        R² over the folds at that number (the best of several: no honest estimate).
    rank_ : int
    explained_variance_ratio_ : array, rank
        Of the features, by the first 1, 2, … components together.
    n_features_in_ : int

    Errors
    ------
    ValueError
        For NaN or infinities, rows that do not match, features that do not vary, folds that overlap.

    Cost: one SVD per fold and of all rows, O(n p min(n, p)) each; all numbers of components at once.

    Source: Massy 1965; specs alignment-methods B6.2.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> hidden = rng.normal(size=(120, 2)) * [5, 3]
    >>> X = hidden @ rng.normal(size=(2, 30)) + 0.5 * rng.normal(size=(120, 30))
    >>> y = hidden[:, 1] + rng.normal(size=120)
    >>> sx.PCARegressionCV().fit(X, y).n_components_.tolist()
    [2]
    """

    def __init__(self, max_components: int | None = None, *, cv: Any = 5, fit_intercept: bool = True) -> None:
        self.max_components = max_components
        self.cv = cv
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: Any, groups: Any = None) -> PCARegressionCV:
        """Choose numbers of components and fit on all rows; `X` is samples × units, `y` samples × targets."""
        features, targets = _data(X, y)
        most = None
        if self.max_components is not None:
            most = whole(self.max_components, "max_components", COUNT, least=1)
        folds = as_folds(self.cv, groups, len(features))
        intercept = flag(self.fit_intercept, "fit_intercept")
        found = _core.component_regression(features, targets, folds, most, intercept)
        self._one_target = np.ndim(y) == 1
        self.coef_ = found["coef"]
        self.intercept_ = found["intercept"]
        self.n_components_: Array = found["n_components"]
        self.best_score_: Array = found["score"]
        self.rank_: int = found["rank"]
        self.explained_variance_ratio_: Array = found["variance_shares"]
        self.n_features_in_ = features.shape[1]
        return self


def _data(X: Any, y: Any) -> tuple[Array, Array]:
    features = finite(as_matrix(X, "X"), "X")
    return features, finite(as_matrix(as_columns(y, "y"), "y"), "y")
