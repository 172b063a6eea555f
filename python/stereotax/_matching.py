"""Pair units of a model with units of a brain."""

from __future__ import annotations

import dataclasses
from typing import Any

from . import _core
from ._arrays import Array, as_columns, as_matrix, finite
from ._base import Result
from ._folds import as_folds
from ._ridge import _choice


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Matched(Result):
    """Pairs, and how well they hold on samples that did not make them."""

    #: Per target: mean over folds of r on held-out samples; NaN without a pair.
    scores: Array
    #: The unit of each target, from all samples; −1 without one, and for soft matching.
    units: Array
    #: Units × targets: weights of the pairs, from all samples.
    plan: Array
    #: Σ plan · r on all samples, which the pairing maximises.
    similarity: float


def match_units(X: Any, y: Any, *, kind: str = "best", cv: Any = 5, groups: Any = None) -> Matched:
    """Pair units (columns of `X`) with targets (columns of `y`) by their correlation over samples.

    Formula: with r_ij over training samples, ``"best"``: ``argmax_i r_ij`` for each target j (Brain-Score's
    neuron to neuron); ``"one_to_one"``: ``argmax Σ_j r_m(j)j`` with no unit twice (assignment); ``"soft"``:
    ``argmax_T Σ T_ij r_ij`` with rows of T summing to 1/units and columns to 1/targets (optimal transport,
    exact).

    Parameters
    ----------
    X : array, samples × units
    y : array, samples × targets
    kind : {"best", "one_to_one", "soft"}
    cv : int or iterable of (train, test)
        Folds; pairs are made on the training rows and scored on the others, at least 3 of either.
    groups : sequence, optional
        With it, one group is held out at a time.

    Returns
    -------
    Matched
        ``scores`` per target, ``units``, ``plan``, ``similarity``.

    To ask the other way round, which brain units explain the model, exchange `X` and `y` (as with every
    regression here).

    Errors: `ValueError` for NaN, rows that do not match, folds that overlap.
    Undefined: a target that does not vary over the held-out rows of any fold, or has no unit, scores NaN.
    Cost: O(n units targets) per fold, and O(max(units, targets)³) for ``"one_to_one"`` and about that for
    ``"soft"``.
    Source: Li et al. 2015; Khosla & Williams 2024; specs alignment-methods B6.2.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> y = rng.normal(size=(80, 3))
    >>> X = y[:, [2, 0, 1]] + 0.3 * rng.normal(size=(80, 3))
    >>> sx.match_units(X, y, kind="one_to_one").units.tolist()
    [1, 2, 0]
    """
    features = finite(as_matrix(X, "X"), "X")
    targets = finite(as_matrix(as_columns(y, "y"), "y"), "y")
    found = _core.match_units(
        features,
        targets,
        as_folds(cv, groups, len(features), least=3),
        _choice("kind", kind, ("best", "one_to_one", "soft")),
    )
    return Matched(**found)
