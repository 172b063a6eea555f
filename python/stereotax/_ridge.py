"""Ridge regression of many targets, each with the penalty that predicts it best."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from . import _core
from ._arrays import Array, as_columns, as_layer, finite, flag
from ._folds import Fold, as_folds, held_out_twice
from ._linear import LinearModel

_GRID = tuple(float(alpha) for alpha in np.logspace(-3, 6, 19))


class RidgeCV(LinearModel):
    """Predict many targets from the same features, with a penalty per target chosen by cross-validation.

    Formula: ``min_b ‖y − X b − c‖² + α ‖b‖²`` per target (no 1/n; scikit-learn's and himalaya's
    convention). There is one eigendecomposition per fold, shared by all penalties and targets; held-out
    errors come from moments, so no matrix of test × training rows is formed per penalty. The decomposition
    is in unit space, or in sample space where there are more units than rows.

    Parameters
    ----------
    alphas : sequence of float
        Penalties to choose from, at least 0. Ties go to the larger one.
    alpha_scale : {"mean_square", "absolute"}
        What `alphas` multiply: the mean squared singular value of the centred features, so that 1 halves
        a direction of average strength whatever the units, or nothing.
    per_target : bool
        A penalty for each target, or one for all by their mean score.
    criterion : {"r2", "r"}
        What the folds maximise: R² pooled over folds, or the correlation averaged over folds.
    fit_intercept : bool
        Fit a constant per target, unpenalised, within every fold too.
    scale : bool
        Bring units to unit variance (divisor n, as scikit-learn's ``StandardScaler``) over the rows of the
        fit first. Weights are those of the units as they came: the scaler is part of the model.
    cv : int, iterable of (train, test), "loo", "gcv" or None
        Contiguous folds without shuffling (scikit-learn's ``KFold``), the rows of each fold, or an object
        with `split`. With `groups` in `fit`, one group (a run, say) is held out at a time instead. None:
        there is one penalty and nothing to choose. ``"loo"`` predicts each
        sample from all others, exactly and without refits: ``(y_i − ŷ_i) / (1 − h_ii)``, h_ii the leverage
        of the sample; ``"gcv"`` puts the mean leverage for each. Both are for samples that are exchangeable:
        neighbours in time predict one another.
    store_cv_predictions : bool
        Keep what each sample was predicted to be when it was held out.

    Attributes
    ----------
    coef_ : array, units × targets
        float32 where features and targets are.
    intercept_ : array, targets
    alpha_ : array, targets
        The penalty of each target in absolute units. NaN for a target that does not vary, as are its
        weights.
    best_score_ : array, targets
        Cross-validated score at that penalty, at most 1. It is the best of several: an honest estimate
        needs rows that were not used here.
    cv_predictions_ : array, samples × targets
        With `store_cv_predictions`: each sample at the target's penalty, from the fit that held it out (under
        ``"gcv"`` from the fit without this sample). NaN for samples that no fold holds out, and where a
        sample alone decides its own fit (leverage 1). Penalties, and the deviations of `scale`, are of all
        rows: `predict_splits` holds out from these too.
    cv_route_ : {"folds", "blocks", "loo", "gcv"} or None
        How penalties were judged: ``"folds"`` decomposes the training rows of every fold; ``"blocks"``
        predicts the rows of each fold from one decomposition of all rows (the leave-one-out identity for
        many rows at once), taken for more units than rows, four folds or more and ``criterion="r2"``, unless
        a weak penalty would amplify rounding. Both give the same scores to rounding. None: one penalty, no
        folds.
    status_ : list of str or None, targets
        Why there is no penalty or no score, or that the penalty is at an end of the grid; None: all is well.

    Errors
    ------
    ValueError
        For NaN or infinities, rows that do not match, folds that overlap, a design that does not vary,
        ``"gcv"`` with ``criterion="r"``.

    Undefined
    ---------
    With ``"loo"`` and ``"gcv"`` a penalty at which the fit reproduces every sample (0 with as many units as
    samples) has no score and is not chosen.

    Cost: O(folds · (n p² + p³) + n p R + folds · d · p · min(p, n/folds) · R) for R targets, where the
    vectors ``1/(W + α)`` of the penalties lie in d dimensions (9 for 13 penalties over nine decades);
    ``"loo"`` O(n p min(n, p) + d n min(n, p) R), ``"gcv"`` O(n p min(n, p) + n min(n, p) R).

    Source: Hoerl & Kennard 1970; Hastie & Tibshirani 2004 (rotated form); Allen 1974 (leave-one-out); Golub,
    Heath & Wahba 1979.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 20))
    >>> y = X @ rng.normal(size=(20, 3)) + rng.normal(size=(200, 3))
    >>> ridge = sx.RidgeCV(cv=5).fit(X[:150], y[:150])
    >>> bool(ridge.score(X[150:], y[150:]).min() > 0.8)
    True
    """

    def __init__(
        self,
        alphas: Iterable[float] = _GRID,
        *,
        alpha_scale: str = "mean_square",
        per_target: bool = True,
        criterion: str = "r2",
        fit_intercept: bool = True,
        scale: bool = False,
        cv: Any = 5,
        store_cv_predictions: bool = False,
    ) -> None:
        self.alphas = alphas
        self.alpha_scale = alpha_scale
        self.per_target = per_target
        self.criterion = criterion
        self.fit_intercept = fit_intercept
        self.scale = scale
        self.cv = cv
        self.store_cv_predictions = store_cv_predictions

    def fit(self, X: Any, y: Any, groups: Any = None) -> RidgeCV:
        """Choose penalties by cross-validation and fit weights on all rows.

        `X` is samples × units, `y` samples × targets (or samples), `groups` one name per sample. Where both
        are float32 (or half), products with targets and `coef_` are float32, in half of the time and memory;
        decompositions, penalties and scores are float64 all the same.
        """
        features, targets, self._one_target = self._data(X, y)
        if np.array_equal(features.min(axis=0), features.max(axis=0)):
            raise ValueError(
                f"`X` does not vary: all {features.shape[1]} units are constant over {len(features)} rows\n"
                "hint: check that features and rows belong together"
            )
        alphas = self._grid()
        scale = _deviations(features) if flag(self.scale, "scale") else None
        found = _core.ridge_cv(
            features if scale is None else (features / scale).astype(features.dtype),
            targets,
            self._inner(groups, len(features), len(alphas)),
            alphas,
            _choice("alpha_scale", self.alpha_scale, ("mean_square", "absolute")) == "absolute",
            flag(self.per_target, "per_target"),
            _choice("criterion", self.criterion, ("r2", "r")) == "r",
            flag(self.fit_intercept, "fit_intercept"),
            self.cv if isinstance(self.cv, str) else "folds",
            flag(self.store_cv_predictions, "store_cv_predictions"),
        )
        if self.store_cv_predictions:
            held_out: Array = found["held_out"]
            self.cv_predictions_ = held_out[:, 0] if self._one_target else held_out
        self.coef_ = found["coef"] if scale is None else (found["coef"].T / scale).T.astype(features.dtype)
        self.intercept_ = found["intercept"]
        self.alpha_: Array = found["alpha"]
        self.best_score_: Array = found["score"]
        self.cv_route_: str | None = found["route"]
        unit = 1.0 if self.alpha_scale == "absolute" else found["mean_square"]
        grid = unit * np.array(alphas)
        self.status_ = _status(targets, self.alpha_, self.best_score_, grid, isinstance(self.cv, str))
        self.n_features_in_ = features.shape[1]
        return self

    def predict_splits(self, X: Any, y: Any, cv: Any = 10, groups: Any = None) -> list[Array]:
        """Predict the held-out rows of every split from its other rows alone; one array per split.

        Nested cross-validation: penalties, deviations and weights are all of the training rows of a split,
        whatever `cv` of the estimator chooses the penalty by (folds of their own, ``"loo"``, ``"gcv"``).
        Nothing of the estimator changes. `cv` and `groups` are as in `PLSRegression.predict_splits`; with
        `groups` and a number of folds, penalties are chosen one training group at a time.
        """
        features, targets, one_target = self._data(X, y)
        if not isinstance(self.cv, int | np.integer | str | None):
            raise ValueError(
                f"`cv` of the estimator is {self.cv!r:.60}, but 'loo', 'gcv' or a number of folds expected "
                "within a split\nhint: row numbers of all samples mean nothing among those of a split"
            )
        names = None if groups is None or self.cv is None or isinstance(self.cv, str) else list(groups)
        predicted = []
        for train, test in as_folds(cv, groups, len(features)):
            within = None if names is None else [names[row] for row in train]
            part = type(self)(**self.get_params()).set_params(store_cv_predictions=False)
            part.fit(features[train], targets[train], within)  # type: ignore[attr-defined]
            found: Array = part.predict(features[test])  # type: ignore[attr-defined]
            predicted.append(found[:, 0] if one_target else found)
        return predicted

    @staticmethod
    def _data(X: Any, y: Any) -> tuple[Array, Array, bool]:
        features, targets = as_layer(X, "X"), as_layer(as_columns(y, "y"), "y")
        for name, array in (("X", features), ("y", targets)):
            if len(array) < 2 or array.shape[1] < 1:
                raise ValueError(
                    f"`{name}` has {array.shape[0]} rows and {array.shape[1]} columns, but at least 2 and 1 "
                    "expected"
                )
        both = np.float64 if np.float64 in (features.dtype, targets.dtype) else np.float32
        features, targets = features.astype(both, copy=False), targets.astype(both, copy=False)
        return finite(features, "X"), finite(targets, "y"), np.ndim(y) == 1

    def _grid(self) -> list[float]:
        """The penalties to choose from, ascending."""
        given: Any = self.alphas
        try:
            single = isinstance(given, int | float | np.integer | np.floating)
            values = sorted({float(alpha) for alpha in ([given] if single else given)})
        except (TypeError, ValueError):
            values = []
        if not values or not all(0 <= alpha < np.inf for alpha in values):
            raise ValueError(f"`alphas` is {given!r:.80}, but finite numbers ≥ 0, at least one, expected")
        return values

    def _inner(self, groups: Any, n: int, n_alphas: int) -> list[Fold]:
        """The folds that choose the penalty; none where single samples are left out, or none is to choose."""
        if isinstance(self.cv, str):
            _choice("cv", self.cv, ("loo", "gcv"))
            if groups is not None:
                raise ValueError(
                    f"`groups` are given, but `cv` is {self.cv!r}, which leaves out single samples\n"
                    "hint: leave `groups` out, or pass a number of folds as `cv`"
                )
            return []
        if self.cv is None:
            if n_alphas > 1 or self.store_cv_predictions:
                raise ValueError(
                    "`cv` is None, but folds expected: there are several penalties to choose from, or "
                    "predictions of held-out rows to keep\nhint: cv='loo', or a number of folds"
                )
            return []
        folds = as_folds(self.cv, groups, n, least=2)
        twice = held_out_twice(folds, n) if self.store_cv_predictions else None
        if twice is not None:
            raise ValueError(
                f"`cv` holds out row {twice} in several folds, but `store_cv_predictions` keeps one "
                "prediction of each\nhint: use `predict_splits`, which returns one array per split"
            )
        return folds


def _deviations(features: Array) -> Array:
    """The standard deviation of each unit, and 1 for those that do not vary but by rounding."""
    features = np.ascontiguousarray(features)  # sums in one order for all layouts
    deviations: Array = features.std(axis=0, dtype=np.float64)
    rounding = 10 * np.finfo(features.dtype).eps * np.abs(features.mean(axis=0, dtype=np.float64))
    return np.where(deviations > rounding, deviations, 1.0)


def _status(targets: Array, alphas: Array, scores: Array, grid: Array, by_samples: bool) -> list[str | None]:
    varies = targets.min(axis=0) < targets.max(axis=0)
    reasons: list[str | None] = []
    for alpha, score, moves in zip(alphas, scores, varies, strict=True):
        reason = None
        if not moves:
            reason = "the target does not vary"
        elif np.isnan(score) and (len(grid) > 1 or by_samples):
            reason = "no penalty has a score: every fit reproduces all samples, or predicts a constant"
        elif len(grid) > 1 and alpha <= grid[0] * (1 + 1e-6) and grid[0] > 0:
            reason = "the smallest penalty of the grid is chosen: the best may be smaller"
        elif len(grid) > 1 and alpha >= grid[-1] * (1 - 1e-6):
            reason = "the largest penalty of the grid is chosen: nothing predicts, or the best is larger"
        reasons.append(reason)
    return reasons


def _choice(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"`{name}` is {value!r}, but one of {', '.join(known)} expected")
    return value
