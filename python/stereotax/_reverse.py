"""Predict a model from a brain: how much of the model has a place there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._arrays import as_columns, as_matrix, finite
from ._base import Result
from ._folds import folds_once
from ._ridge import _GRID, RidgeCV
from ._score import prediction_score
from ._table import Table


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ReverseRegression(Result):
    """How well a brain predicts the units of a model."""

    #: One row per unit of the model: target, r, r_squared, r2, status, of held-out samples
    #: (`prediction_score`).
    units: Table
    #: Median of r over the units that have one; NaN where none has.
    median: float
    #: Units without r.
    n_undefined: int


def reverse_regression(
    features: Any,
    responses: Any,
    *,
    cv: Any = 5,
    groups: Any = None,
    alphas: Sequence[float] = _GRID,
    inner: int = 5,
) -> ReverseRegression:
    """Regress the units of a model on the responses of a brain, the other way round from encoding.

    Formula: for every fold, ``features ≈ responses · W`` by ridge with a penalty per unit, chosen within the
    training rows; r of held-out samples, deviations taken within each fold; the median over units.

    An encoding asks whether the model contains what the brain does: a model that contains much else pays
    nothing for it. This asks what share of the model the brain contains. A model of half its units foreign to
    the brain can have the best of encodings, and half of its units are not predicted here.

    Parameters
    ----------
    features : array, samples × units of the model
    responses : array, samples × units of the brain
    cv : int or iterable of (train, test)
        Folds that score; each sample is held out at most once.
    groups : sequence, optional
        With it, one group is held out at a time, in the inner folds too.
    alphas : sequence of float
        Penalties as in `RidgeCV`.
    inner : int
        Contiguous folds that choose them, where there are no groups.

    Returns
    -------
    ReverseRegression
        ``units`` (a table), ``median``, ``n_undefined``. Noise of the responses is noise of the predictor
        here, and lowers r as few samples do: compare models on the same responses, or brains at equal noise.

    Errors: `ValueError` for NaN, rows that do not match, folds that overlap. Undefined: units that do not
    vary (NaN). Cost: one ridge on the responses per fold, with the units as targets.
    Source: Brain-Score's reverse regressions; specs alignment-methods B6.2.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> model = rng.normal(size=(200, 6))
    >>> brain = model[:, :3] @ rng.normal(size=(3, 10)) + 0.1 * rng.normal(size=(200, 10))
    >>> found = sx.reverse_regression(model, brain)
    >>> (found.units["r"] > 0.9).tolist()
    [True, True, True, False, False, False]
    """
    x = finite(as_matrix(as_columns(responses, "responses"), "responses"), "responses")
    y = finite(as_matrix(as_columns(features, "features"), "features"), "features")
    if len(x) != len(y):
        raise ValueError(
            f"`responses` has {len(x)} samples, but {len(y)} expected (as `features`)\n"
            "hint: rows of both are the same stimuli in order"
        )
    folds = folds_once(cv, groups, len(x))
    names = None if groups is None else np.asarray(groups)
    predicted = np.full(y.shape, np.nan)
    fold_of = np.full(len(x), -1)
    for at, (train, test) in enumerate(folds):
        ridge = RidgeCV(alphas, cv=inner).fit(x[train], y[train], None if names is None else names[train])
        predicted[test] = np.asarray(ridge.predict(x[test])).reshape(len(test), -1)
        fold_of[test] = at
    held_out = fold_of >= 0
    units = prediction_score(y[held_out], predicted[held_out], folds=[str(at) for at in fold_of[held_out]])
    r = np.asarray(units["r"], dtype=float)
    defined = r[~np.isnan(r)]
    median = float(np.median(defined)) if defined.size else float("nan")
    return ReverseRegression(units, median, int(np.isnan(r).sum()))
