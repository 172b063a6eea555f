"""Ridge regression from inner products of samples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, Array, as_columns, as_layer, as_matrix, as_number, finite, flag, whole
from ._base import Estimator
from ._folds import Fold, as_folds
from ._linear import r2_score
from ._ridge import _GRID, _choice


class KernelRidgeCV(Estimator):
    """Predict many targets from a kernel, with a penalty per target chosen by cross-validation.

    Formula: ``ŷ(x) = Σ_i k(x, x_i) a_i + c`` with ``a = (CKC + αI)⁻¹ C y``, C centring on the training
    samples (none without an intercept): ridge on features that need not be written down. Linear ``xᵀz``,
    polynomial ``(γ xᵀz + c)^d``, RBF ``exp(−γ ‖x − z‖²)``, or a kernel of your own.

    Parameters
    ----------
    kernel : {"linear", "poly", "rbf", "precomputed"}
        With ``"precomputed"``, `X` is the kernel: samples × training samples.
    gamma : float, optional
        γ; 1/units by default.
    degree, coef0 : int, float
        d and c of the polynomial.
    alphas, alpha_scale, per_target, criterion, fit_intercept, cv, store_cv_predictions
        As in `RidgeCV`. ``"mean_square"`` multiplies trace(CKC)/n, the mean eigenvalue.
    purge : int
        Training samples this close to a held-out one (in order of rows) are left out of that fold: for
        neighbours in time that predict one another. 0 purges none.

    Attributes
    ----------
    dual_coef_ : array, training samples × targets
        a; sums to 0 over samples with an intercept.
    intercept_, alpha_, best_score_, cv_predictions_, cv_route_
        As in `RidgeCV`.
    X_fit_ : array
        The training samples, unless the kernel is precomputed.

    Errors
    ------
    ValueError
        For NaN or infinities, rows that do not match, a kernel that is not symmetric or has negative
        eigenvalues, folds that overlap.

    Undefined
    ---------
    As in `RidgeCV`; a target that does not vary is NaN.

    Cost: O(n² p) for the kernel, O(n³) once and per fold, O(n² R) for R targets.

    Source: Saunders, Gammerman & Vovk 1998; specs alignment-methods B6.1. The choices are those of himalaya's
    `KernelRidgeCV` with the same folds, absolute penalties and no intercept; leave-one-out is exact.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-2, 2, size=(200, 2))
    >>> y = np.sin(X[:, 0]) * X[:, 1] + 0.1 * rng.normal(size=200)
    >>> ridge = sx.KernelRidgeCV("rbf", cv="loo").fit(X[:150], y[:150])
    >>> bool(ridge.score(X[150:], y[150:]) > 0.95)
    True
    """

    _one_target: bool

    def __init__(
        self,
        kernel: str = "linear",
        *,
        gamma: float | None = None,
        degree: int = 3,
        coef0: float = 1.0,
        alphas: Iterable[float] = _GRID,
        alpha_scale: str = "mean_square",
        per_target: bool = True,
        criterion: str = "r2",
        fit_intercept: bool = True,
        cv: Any = 5,
        purge: int = 0,
        store_cv_predictions: bool = False,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.alphas = alphas
        self.alpha_scale = alpha_scale
        self.per_target = per_target
        self.criterion = criterion
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.purge = purge
        self.store_cv_predictions = store_cv_predictions

    def fit(self, X: Any, y: Any, groups: Any = None) -> KernelRidgeCV:
        """Choose penalties by cross-validation and fit the weights of all samples.

        `X` is samples × units, or the kernel of the samples if that is precomputed; `y` samples × targets (or
        samples), `groups` one name per sample. Where `y` is float32, products with targets are float32.
        """
        features = finite(as_matrix(X, "X"), "X")
        self._one_target = np.ndim(y) == 1
        targets = as_targets(y, len(features))
        selection, folds = as_selection(self.cv, groups, len(features), self.purge)
        found = _core.kernel_ridge_cv(
            self._kernel(features, None),
            targets,
            folds,
            as_penalties(self.alphas),
            _choice("alpha_scale", self.alpha_scale, ("mean_square", "absolute")) == "absolute",
            flag(self.per_target, "per_target"),
            _choice("criterion", self.criterion, ("r2", "r")) == "r",
            flag(self.fit_intercept, "fit_intercept"),
            selection,
            flag(self.store_cv_predictions, "store_cv_predictions"),
        )
        if self.store_cv_predictions:
            held_out: Array = found["held_out"]
            self.cv_predictions_ = held_out[:, 0] if self._one_target else held_out
        if self.kernel != "precomputed":
            self.X_fit_ = features
        self.dual_coef_: Array = found["dual"]
        self.intercept_: Array = found["intercept"]
        self.alpha_: Array = found["alpha"]
        self.best_score_: Array = found["score"]
        self.cv_route_: str | None = found["route"]
        self.n_features_in_ = features.shape[1]
        return self

    def predict(self, X: Any) -> Array:
        """Predicted targets of other samples; a precomputed `X` is their kernel with the training samples."""
        dual = self._fitted("dual_coef_")
        features = finite(as_matrix(X, "X"), "X")
        if features.shape[1] != self.n_features_in_:
            raise ValueError(
                f"`X` has {features.shape[1]} columns, but {self.n_features_in_} expected (as in fit)\n"
                "hint: use the same layer, or the kernel with the training samples"
            )
        other = None if self.kernel == "precomputed" else self.X_fit_
        predicted: Array = self._kernel(features, other) @ dual + self.intercept_
        return predicted[:, 0] if self._one_target else predicted

    def score(self, X: Any, y: Any) -> Array:
        """R² of each target on other samples: 1 is perfect, 0 as good as their mean, no lower bound."""
        return r2_score(self.predict(X), y)

    def _kernel(self, features: Array, other: Array | None) -> Array:
        _choice("kernel", self.kernel, ("linear", "poly", "rbf", "precomputed"))
        if self.kernel == "precomputed":
            return features
        gamma = None if self.gamma is None else as_number(self.gamma, "gamma")
        degree = whole(self.degree, "degree", 100, least=1)
        return _core.kernel_matrix(
            features, other, self.kernel, gamma, degree, as_number(self.coef0, "coef0")
        )


def as_targets(y: Any, n: int) -> Array:
    """Targets in float32 or float64 with an axis of their own, `n` rows."""
    targets = finite(as_layer(as_columns(y, "y"), "y"), "y")
    if len(targets) != n:
        raise ValueError(
            f"`y` has {len(targets)} rows, but {n} expected (those of `X`)\n"
            "hint: rows must be the same stimuli in order"
        )
    return targets if targets.dtype in (np.float32, np.float64) else targets.astype(np.float32)


def as_penalties(alphas: Iterable[float]) -> list[float]:
    """The penalties, ascending and each once."""
    values = sorted({float(alpha) for alpha in alphas})
    if not values or not all(0 <= alpha < np.inf for alpha in values):
        raise ValueError(f"`alphas` is {values!r:.80}, but finite numbers ≥ 0, at least one, expected")
    return values


def as_selection(cv: Any, groups: Any, n: int, purge: Any) -> tuple[str, list[Fold]]:
    """How penalties are judged, and the folds if it is by folds; rows beside held-out ones are purged."""
    purge = whole(purge, "purge", COUNT)
    if isinstance(cv, str):
        _choice("cv", cv, ("loo", "gcv"))
        if groups is not None or purge:
            what = "`groups` are" if groups is not None else "`purge` is"
            raise ValueError(
                f"{what} given, but `cv` is {cv!r}, which leaves out single samples\n"
                f"hint: leave {what.split()[0]} out, or pass a number of folds as `cv`"
            )
        return cv, []
    folds = as_folds(cv, groups, n, least=2)
    if not purge:
        return "folds", folds
    if groups is not None:
        raise ValueError(
            "`purge` and `groups` are given, but one of them expected\n"
            "hint: groups that are runs need no purging; for others pass (train, test) pairs as `cv`"
        )
    purged = []
    for train, test in folds:
        near = np.zeros(n, bool)
        for row in test:
            near[max(row - purge, 0) : row + purge + 1] = True
        purged.append(([row for row in train if not near[row]], test))
    return "folds", purged
