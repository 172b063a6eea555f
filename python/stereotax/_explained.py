"""Scores beside what can be explained: single trials, and ceilings of more subjects than there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import DRAWS, SEED, Array, as_matrix, as_number, whole
from ._base import Result


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Feve(Result):
    """What stimuli explain of single trials, and what predictions explain of that."""

    #: Per unit: the fraction of explainable variance explained; NaN where `fev` is too small.
    score: Array
    #: Per unit: the share of the variance that is explainable; may be negative.
    fev: Array


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ExtrapolatedCeiling(Result):
    """A ceiling at infinitely many subjects, with its bootstrap interval (95 %)."""

    ceiling: float
    #: τ0: subjects until 63 % of it.
    scale: float
    lower: float
    upper: float
    #: Resamples that level off.
    n_defined: int
    reason: str | None


def feve(predicted: Any, repeats: Sequence[Any], *, least: float = 0.1) -> Feve:
    """The fraction of explainable variance that predictions explain, from single trials.

    Formula: with σ² the variance over repeats of a stimulus, averaged: ``1 − (MSE − σ²) / (var − σ²)``, and
    ``FEV = (var − σ²) / var``; MSE and var over all trials.

    Parameters
    ----------
    predicted : array, stimuli × units
    repeats : sequence of arrays, stimuli × units
        At least 2.
    least : float
        Units with a smaller FEV have no score (NaN): a ratio of what hardly is there.

    Returns
    -------
    Feve
        ``score`` is 1 for the expected response, 0 for the mean, negative for worse; ``fev``.

    Errors: `ValueError` for shapes that differ, NaN, fewer than 2 repeats. Cost: O(stimuli repeats units).
    Source: Cadena et al. 2019; specs alignment-methods B6.3.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.normal(size=(2000, 2))
    >>> trials = [signal + rng.normal(size=signal.shape) for repeat in range(4)]
    >>> bool(np.all(abs(sx.feve(0.5 * signal, trials).score - 0.75) < 0.05))
    True
    """
    arrays = [as_matrix(repeat, f"repeats[{k}]") for k, repeat in enumerate(repeats)]
    found = _core.feve(as_matrix(predicted, "predicted"), arrays, as_number(least, "least"))
    return Feve(**found)


def extrapolated_ceiling(
    n_subjects: Sequence[float], ceilings: Any, *, n_bootstraps: int = 100, seed: int = 0
) -> ExtrapolatedCeiling:
    """Extrapolate ceilings from few subjects to as many as one likes.

    Formula: ``v(x) = v0 (1 − exp(−x / τ0))`` by least squares; the ceiling is v0.

    Parameters
    ----------
    n_subjects : sequence of numbers
        How many subjects each column is of; at least 2 different ones.
    ceilings : array, draws × numbers
        Ceilings from random subsets of subjects (NaN where there is none); or one value per number.
    n_bootstraps, seed
        Resamples of draws for the interval.

    Returns
    -------
    ExtrapolatedCeiling
        ``ceiling`` is NaN, with ``reason``, where the values do not level off.

    Errors: `ValueError` for other shapes, numbers that are not above 0. Cost: O(n_bootstraps draws numbers).
    Source: Schrimpf et al. 2021; specs alignment-methods B6.3.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> x = np.array([2, 3, 4, 6, 8])
    >>> round(sx.extrapolated_ceiling(x, 0.4 * (1 - np.exp(-x / 3))).ceiling, 4)
    0.4
    """
    values = as_matrix(np.atleast_2d(np.asarray(ceilings, dtype=float)), "ceilings")
    found = _core.extrapolated_ceiling(
        [as_number(x, "n_subjects") for x in n_subjects],
        values,
        whole(n_bootstraps, "n_bootstraps", DRAWS),
        whole(seed, "seed", SEED),
    )
    return ExtrapolatedCeiling(**found)
