"""Ridge on every layer of a network, and a weighting of the layers for each target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import Array, as_matrix
from ._base import Estimator
from ._linear import r2_score
from ._ridge import RidgeCV


class StackedRidgeCV(Estimator):
    """Predict from all layers of a network by a weighted mean of the ridge predictions of each.

    Formula: with e_l the held-out errors of layer l, ``min_a ‖Σ_l a_l e_l‖²`` over ``a ≥ 0, Σ a = 1``, each
    target by itself; predictions are ``Σ_l a_l ŷ_l``. The weights read predictions of held-out samples only,
    so a layer with many units gets no advantage from fitting its own samples.

    Parameters
    ----------
    ridge : RidgeCV, optional
        The settings of every layer's model (default ``RidgeCV()``). Its `cv` gives the held-out predictions.

    Attributes
    ----------
    ridges_ : list of RidgeCV
        One per layer, fitted to all samples.
    weights_ : array, layers × targets
        At least 0, with sum 1; NaN for a target that does not vary, and its predictions with them.

    Errors: `ValueError` for layers of different lengths, no layer, another number of layers in `predict`, and
    those of `RidgeCV`. Cost: that of `RidgeCV` per layer, plus O(n layers² targets).
    Source: Breiman 1996; specs alignment-methods B17.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> layers = [rng.normal(size=(200, 10)) for _ in range(3)]
    >>> y = np.column_stack([layers[0][:, 0], layers[0][:, 1] + layers[2][:, 1]])
    >>> sx.StackedRidgeCV().fit(layers, y).weights_[:, 0].round(2).tolist()
    [1.0, 0.0, 0.0]
    """

    def __init__(self, ridge: RidgeCV | None = None) -> None:
        self.ridge = ridge

    def fit(self, layers: Sequence[Any], y: Any, groups: Any = None) -> StackedRidgeCV:
        """Fit a ridge to every layer (each samples × units), then weigh their held-out predictions."""
        if isinstance(layers, np.ndarray) and layers.ndim < 3 or not len(layers):
            raise ValueError(
                "`layers` is no sequence of layers, but at least one array of samples × units expected\n"
                "hint: [layer_1, layer_2]; a single layer is RidgeCV"
            )
        settings = (self.ridge or RidgeCV()).get_params() | {"store_cv_predictions": True}
        ridges = [RidgeCV(**settings).fit(layer, y, groups) for layer in layers]
        held_out = [np.asarray(ridge.cv_predictions_, dtype=float) for ridge in ridges]
        self._one_target = held_out[0].ndim == 1
        held_out = [each.reshape(len(each), -1) for each in held_out]
        # Samples that no fold holds out say nothing.
        rows = np.logical_and.reduce([np.isfinite(each).any(axis=1) for each in held_out])
        targets = as_matrix(np.asarray(y, dtype=float).reshape(held_out[0].shape)[rows], "y")
        self.weights_: Array = _core.stack_held_out(
            targets, [np.ascontiguousarray(each[rows]) for each in held_out]
        )
        self.ridges_ = ridges
        return self

    def predict(self, layers: Sequence[Any]) -> Array:
        """Weighted predictions for other samples of the same layers."""
        ridges: list[RidgeCV] = self._fitted("ridges_")
        if len(layers) != len(ridges):
            raise ValueError(
                f"`layers` has {len(layers)} layers, but {len(ridges)} expected (as in fit)\n"
                "hint: give the same layers in the same order"
            )
        each = [ridge.predict(layer) for ridge, layer in zip(ridges, layers, strict=True)]
        weights = self.weights_[:, 0] if self._one_target else self.weights_
        mixed: Array = sum(w * p for w, p in zip(weights, each, strict=True))
        return mixed

    def score(self, layers: Sequence[Any], y: Any) -> Array:
        """R² of each target on other samples: 1 is perfect, 0 as good as their mean, no lower bound."""
        return r2_score(self.predict(layers), y)
