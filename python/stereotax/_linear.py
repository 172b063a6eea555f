"""What linear regressions have in common once they are fitted."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Array, as_columns, as_matrix, finite
from ._base import Estimator
from ._folds import as_folds, folds_once


class LinearModel(Estimator):
    """Predict and score by ``X @ coef_ + intercept_``; `fit` sets both, and whether `y` had one axis."""

    _kind = "regressor"
    coef_: Array
    intercept_: Array
    _one_target: bool

    def predict(self, X: Any) -> Array:
        """Predicted targets of other samples (samples × targets, or samples)."""
        coef = self._fitted("coef_")
        features = np.ascontiguousarray(finite(as_matrix(X, "X"), "X"))  # sums in one order for all layouts
        if features.shape[1] != len(coef):
            raise ValueError(
                f"`X` has {features.shape[1]} units, but {len(coef)} expected (as in fit)\n"
                "hint: use the same layer and components"
            )
        predicted: Array = features @ coef + self.intercept_
        return predicted[:, 0] if self._one_target else predicted

    def predict_splits(self, X: Any, y: Any, cv: Any = 10, groups: Any = None) -> list[Array]:
        """Predict the held-out rows of every split from its other rows; one array per split.

        Nothing of the estimator changes. `cv` is a number of contiguous folds, an object with `split` or an
        iterable of (train, test); with `groups`, one group at a time is held out.
        """
        features, targets = np.asarray(X), np.asarray(y)
        predicted = []
        for train, test in as_folds(cv, groups, len(features)):
            part: Any = type(self)(**self.get_params())
            predicted.append(part.fit(features[train], targets[train]).predict(features[test]))
        return predicted

    def predict_held_out(self, X: Any, y: Any, cv: Any = 10, groups: Any = None) -> Array:
        """Every sample as the split that holds it out predicts it, in the order of the samples.

        `predict_splits` put together (samples × targets, or samples), which `prediction_score` scores; NaN
        for samples that no split holds out. Splits that hold out a sample twice are refused.
        """
        n = len(X)
        folds = folds_once(cv, groups, n)
        # A generator has been used up; groups choose penalties too.
        parts = self.predict_splits(X, y, folds if groups is None else cv, groups)
        predicted = np.full((n, *parts[0].shape[1:]), np.nan)
        for (_, test), part in zip(folds, parts, strict=True):
            predicted[test] = part
        return predicted

    def score(self, X: Any, y: Any) -> Array:
        """R² of each target on other samples: 1 is perfect, 0 as good as their mean, no lower bound."""
        return r2_score(self.predict(X), y)


def r2_score(predicted: Array, y: Any) -> Array:
    """1 − Σ(y − ŷ)² / Σ(y − ȳ)² per target; NaN for one that does not vary."""
    observed = np.ascontiguousarray(finite(as_matrix(as_columns(y, "y"), "y"), "y"))
    expected = predicted[:, None] if predicted.ndim == 1 else predicted
    if observed.shape != expected.shape:
        raise ValueError(
            f"`y` has {observed.shape[0]} × {observed.shape[1]} values, but {expected.shape[0]} × "
            f"{expected.shape[1]} (samples × targets) expected\nhint: one row for each row of `X`"
        )
    observed = observed.reshape(predicted.shape)
    rest = ((observed - predicted) ** 2).sum(axis=0)
    total = ((observed - observed.mean(axis=0)) ** 2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, 1 - rest / total, np.nan)
