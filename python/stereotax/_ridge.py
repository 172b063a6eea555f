"""Ridge regression of many targets, each with the penalty that predicts it best."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, Array, as_layer, as_names, whole
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
    cv : int, iterable of (train, test), "loo" or "gcv"
        Contiguous folds without shuffling (scikit-learn's ``KFold``), or the rows of each fold. With
        `groups` in `fit`, one group (a run, say) is held out at a time instead. ``"loo"`` predicts each
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
        sample alone decides its own fit (leverage 1).

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
        cv: Any = 5,
        store_cv_predictions: bool = False,
    ) -> None:
        self.alphas = alphas
        self.alpha_scale = alpha_scale
        self.per_target = per_target
        self.criterion = criterion
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.store_cv_predictions = store_cv_predictions

    def fit(self, X: Any, y: Any, groups: Any = None) -> RidgeCV:
        """Choose penalties by cross-validation and fit weights on all rows.

        `X` is samples × units, `y` samples × targets (or samples), `groups` one name per sample. Where both
        are float32 (or half), products with targets and `coef_` are float32, in half of the time and memory;
        decompositions, penalties and scores are float64 all the same.
        """
        features = as_layer(X, "X")
        self._one_target = np.ndim(y) == 1
        targets = as_layer(np.asarray(y)[:, None] if self._one_target else y, "y")
        both = np.float64 if np.float64 in (features.dtype, targets.dtype) else np.float32
        features, targets = features.astype(both, copy=False), targets.astype(both, copy=False)
        selection = self.cv if isinstance(self.cv, str) else "folds"
        if isinstance(self.cv, str):
            _choice("cv", self.cv, ("loo", "gcv"))
            if groups is not None:
                raise ValueError(
                    f"`groups` are given, but `cv` is {self.cv!r}, which leaves out single samples\n"
                    "hint: leave `groups` out, or pass a number of folds as `cv`"
                )
        found = _core.ridge_cv(
            features,
            targets,
            [] if isinstance(self.cv, str) else _folds(self.cv, groups, len(features)),
            sorted(float(alpha) for alpha in self.alphas),
            _choice("alpha_scale", self.alpha_scale, ("mean_square", "absolute")) == "absolute",
            bool(self.per_target),
            _choice("criterion", self.criterion, ("r2", "r")) == "r",
            bool(self.fit_intercept),
            selection,
            bool(self.store_cv_predictions),
        )
        if self.store_cv_predictions:
            held_out: Array = found["held_out"]
            self.cv_predictions_ = held_out[:, 0] if self._one_target else held_out
        self.coef_ = found["coef"]
        self.intercept_ = found["intercept"]
        self.alpha_: Array = found["alpha"]
        self.best_score_: Array = found["score"]
        self.n_features_in_ = features.shape[1]
        return self


def _choice(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"`{name}` is {value!r}, but one of {', '.join(known)} expected")
    return value


def _folds(cv: Any, groups: Any, n: int) -> list[tuple[list[int], list[int]]]:
    rows = np.arange(n)
    if groups is not None:
        names = np.asarray(as_names(groups, "groups"))
        if len(names) != n:
            raise ValueError(f"`groups` has {len(names)} names, but {n} expected (one per sample)")
        held = [names == name for name in dict.fromkeys(names)]
        if len(held) < 2:
            raise ValueError("`groups` names one group, but at least 2 expected\nhint: pass `cv` instead")
        return [(rows[~out].tolist(), rows[out].tolist()) for out in held]
    if isinstance(cv, int | np.integer):
        parts = np.array_split(rows, whole(cv, "cv", COUNT, least=2))
        return [(np.setdiff1d(rows, part).tolist(), part.tolist()) for part in parts]
    return [(np.asarray(train).tolist(), np.asarray(test).tolist()) for train, test in cv]
