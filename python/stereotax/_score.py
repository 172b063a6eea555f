"""Say how well held-out predictions are, target by target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._arrays import Array, as_columns, as_matrix, as_names, finite
from ._folds import folds_once
from ._table import Table


def prediction_score(
    observed: Any, predicted: Any, *, folds: Sequence[Any] | None = None, names: Sequence[Any] | None = None
) -> Table:
    """Correlation and coefficient of determination of every target: two numbers that are easily confused.

    Formula, with y observed and ŷ predicted: ``r`` their Pearson correlation, ``r_squared`` its square, and
    ``r2 = 1 − Σ(y − ŷ)²/Σ(y − ȳ)²``. r and its square forgive a wrong level and a wrong scale of the
    predictions, r2 does not: ``r2 ≤ r_squared`` always, and below 0 the mean of the target predicts better. A
    negative r has a positive square.

    Parameters
    ----------
    observed, predicted : array (n_samples, n_targets) or (n_samples,)
        All held-out samples, such as `predict_held_out` gives, not those of one fold.
    folds : sequence of n_samples names, optional
        The test fold of each sample: deviations are from the means of each.
    names : sequence of n_targets names, optional

    Returns
    -------
    Table
        target, r, r_squared, r2, status. NaN where the target does not vary, has no prediction (is NaN
        throughout), or, for r, where its prediction does not vary.

    Errors: `ValueError` for shapes that differ, NaN, samples without a prediction. Cost: O(n targets).

    Examples
    --------
    >>> import stereotax as sx
    >>> sx.prediction_score([1., 2., 3., 4.], [11., 12., 13., 14.])
    target  r  r_squared   r2  status
    0       1          1  -79  –
    [1 rows x 5 columns]
    """
    y = finite(as_matrix(as_columns(observed, "observed"), "observed"), "observed")
    p = as_matrix(as_columns(predicted, "predicted"), "predicted")
    if p.shape != y.shape or len(y) < 2:
        raise ValueError(
            f"`predicted` has {p.shape[0]} × {p.shape[1]} values, but {y.shape[0]} × {y.shape[1]} (as in "
            "`observed`), of at least 2 samples, expected\nhint: one prediction of each sample and target"
        )
    none = np.isnan(p).all(axis=0)
    missing = np.flatnonzero(np.isnan(p[:, ~none]).any(axis=1))
    if missing.size:
        raise ValueError(
            f"`predicted` has nothing for sample {missing[0]} ({missing.size} such samples)\n"
            "hint: score the samples that some fold holds out"
        )
    rest = finite(np.where(none, 0.0, y - p), "predicted")
    y, p = _centred(y, folds), _centred(np.where(none, 0.0, p), folds)
    yy, pp = (y**2).sum(axis=0), (p**2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.where(none | (yy == 0) | (pp == 0), np.nan, (y * p).sum(axis=0) / np.sqrt(yy * pp))
        r2 = np.where(none | (yy == 0), np.nan, 1 - (rest**2).sum(axis=0) / yy)
    status: list[str | None] = [None] * len(r)
    for at, why in (
        (pp == 0, "the prediction does not vary"),
        (none, "no prediction"),
        (yy == 0, "the target does not vary"),
    ):
        for j in np.flatnonzero(at):
            status[j] = why
    targets = [str(j) for j in range(len(r))] if names is None else as_names(names, "names")
    if len(targets) != len(r):
        raise ValueError(f"`names` has {len(targets)} names, but {len(r)} expected (one per target)")
    return Table({"target": targets, "r": r, "r_squared": r**2, "r2": r2, "status": status})


def _centred(values: Array, folds: Sequence[Any] | None) -> Array:
    """Deviations from the means of each fold: 0, not what rounding leaves, where nothing varies."""
    names = np.asarray([""] * len(values) if folds is None else as_names(folds, "groups"))
    if len(names) != len(values):
        raise ValueError(f"`folds` has {len(names)} names, but {len(values)} expected (one per sample)")
    centred = np.empty_like(values)
    for name in dict.fromkeys(names):
        part = values[names == name]
        still = part.min(axis=0) == part.max(axis=0)
        centred[names == name] = np.where(still, 0.0, part - part.mean(axis=0))
    return centred


def training_means(y: Any, cv: Any = 10, groups: Any = None) -> Array:
    """The mean of the samples that train the split of each sample: its prediction without a model.

    Take it from both sides before predictions of different splits are compared with one another, as
    `two_vs_two`, `rank_accuracy` and `top_k_retrieval` do. The mean of all samples but some points away from
    those (by ``(ȳ_test − ȳ) n_test/n_train``), so that predictions that are near to it are matched wrongly:
    with single samples left out and a large penalty, 2-versus-2 accuracy falls from 1/2 towards 0. What
    is left without the means errs low by little (.475 for noise of 40 samples), so p-values err high.

    Parameters
    ----------
    y : array (n_samples, n_targets) or (n_samples,)
    cv, groups
        As in `predict_held_out`.

    Returns
    -------
    array of the shape of `y`
        NaN for samples that no split holds out.

    Errors: `ValueError` for NaN, and for splits that hold out a sample twice. Cost: O(n targets splits).

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> sx.training_means([1., 2., 6.], cv=3)
    array([4. , 3.5, 1.5])
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 9))
    >>> predicted = sx.RidgeCV(1e4, cv=None).predict_held_out(X, y, cv=40)  # of noise
    >>> sx.two_vs_two(predicted, y, n_permutations=0).accuracy
    0.0
    >>> level = sx.training_means(y, cv=40)
    >>> round(sx.two_vs_two(predicted - level, y - level, n_permutations=0).accuracy, 1)
    0.5
    """
    values = finite(as_matrix(as_columns(y, "y"), "y"), "y")
    means = np.full(values.shape, np.nan)
    for train, test in folds_once(cv, groups, len(values)):
        means[test] = values[train].mean(axis=0)
    return means[:, 0] if np.ndim(y) == 1 else means
