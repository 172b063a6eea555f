"""How well any model could do, and scores beside that."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import (
    DRAWS,
    SEED,
    Array,
    as_columns,
    as_matrix,
    as_names,
    as_number,
    finite,
    optional_names,
    to_numpy,
    whole,
)
from ._base import Result
from ._table import Table


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class NoiseCeiling(Result):
    """Noise ceilings of units, with what kind of number they are."""

    method: str
    #: "r", "r2" or "reliability" (the square of the greatest correlation).
    kind: str
    #: One row per unit: unit, ceiling, lower, upper (of its own kind), ceiling_r (as a correlation), status.
    units: Table
    n_repeats: int
    #: n_repeats × n_units: correlation of each repeat or subject with the mean of the others.
    leave_one_out: Array

    def fraction(self, scores: Any, kind: str = "r", *, least: float = 0.1) -> Table:
        """Scores as a fraction of their ceilings, on one scale.

        Formula: ``r / ceiling_r`` for kind "r", ``r² / ceiling_r²`` for "r2": a reliability is a square
        already and is not squared again. One row per unit: unit, score, ceiling (on the scale of the score),
        fraction, status. A fraction above 1 is kept and said: the score is above what repeats support, by
        sampling noise or because it saw the same noise. Ceilings below `least` (as r) give NaN.
        """
        if kind not in ("r", "r2"):
            raise ValueError(f"`kind` is {kind!r}, but one of r, r2 expected\nhint: what the scores are")
        values = to_numpy(scores, "scores").astype(float)
        r = self.units["ceiling_r"]
        if values.shape != r.shape:
            raise ValueError(
                f"`scores` has the shape {values.shape}, but {r.shape} expected\nhint: one score per unit"
            )
        if (np.abs(values) > 1 + 1e-9).any() if kind == "r" else (values > 1 + 1e-9).any():
            raise ValueError(
                f"`scores` has {np.nanmax(np.abs(values)):.4g}, but no {kind} is above 1\n"
                "hint: `kind` is r or r2; scores that are corrected for noise already have no ceiling"
            )
        ceiling = r if kind == "r" else r**2
        usable = r >= as_number(least, "least")
        with np.errstate(divide="ignore", invalid="ignore"):
            fraction = np.where(usable, values / ceiling, np.nan)
        status: list[str | None] = [None] * len(r)
        for i, reason in enumerate(self.units["status"]):
            if np.isnan(r[i]):
                status[i] = reason or "no ceiling"
            elif not usable[i]:
                status[i] = f"the ceiling is below {least}"
            elif np.isnan(values[i]):
                status[i] = "no score"
            elif fraction[i] > 1:
                status[i] = "above the ceiling: by sampling noise, or the score saw the noise of the repeats"
        columns = {"unit": self.units["unit"], "score": values, "ceiling": ceiling, "fraction": fraction}
        return Table({**columns, "status": status})


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class HalfCorrected(Result):
    """Correlations corrected for the noise of source and target."""

    score: Array
    #: Ends of the bootstrap interval.
    lower: Array
    upper: Array
    raw: Array
    predicted_reliability: Array
    observed_reliability: Array


def noise_ceiling(
    repeats: Any,
    method: str = "split_half",
    *,
    runs: Sequence[Any] | None = None,
    blocks: Sequence[Any] | None = None,
    unit_names: Sequence[Any] | None = None,
    n_splits: int = 100,
    n_bootstraps: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> NoiseCeiling:
    """How well any model could predict each unit, from repeats or from subjects.

    Formula, with N repeats and ρ their correlations:

    - "split_half" (a reliability): mean over splits of 2ρ_h/(1 + ρ_h) (Spearman–Brown), of the mean;
    - "explainable_variance" (r² of one repeat): ev − (1 − ev)/(N − 1), ev the mean of all N² ρ;
    - "signal_power" (r with the mean): √(SP/var(mean)), CCmax of Schoppe et al.;
    - "ncsnr" (r² of the mean): 1 − σ_n²/(N var(mean)), the noise ceiling of NSD;
    - "leave_one_out" (r, a lower bound): mean correlation of each with the mean of the others;
    - "isc_single", "isc_group" (r, for subjects): √ρ̄ and √(Nρ̄/(1 + (N − 1)ρ̄)).

    Parameters
    ----------
    repeats : array (n_repeats, n_samples, n_units) or sequence of arrays (n_samples, n_units)
        Presentations of the same stimuli, or subjects, in the same order.
    method : str
        One of the above.
    runs : sequence of n_samples names, optional
        Each run is centred by itself.
    blocks : sequence of n_samples names, optional
        What the bootstrap draws; samples of a time series need blocks longer than their memory. By default
        every sample is one.
    unit_names : sequence of n_units names, optional
    n_splits : int
        Splits into halves; all there are if they are no more.
    n_bootstraps : int
        Draws of blocks for the interval; 0: none.
    level : float
        Coverage of the interval.
    seed : int

    Returns
    -------
    NoiseCeiling
        Nothing is clipped: a negative r² or reliability is kept, has no form as a correlation (NaN) and a
        `status`. `fraction` puts scores beside it.

    Errors: `ValueError` for one repeat, shapes that differ, NaN. Undefined where a repeat does not vary.
    Cost: O(n_samples N² units (1 + n_bootstraps·blocks/n_samples)).
    Source: Schoppe et al. 2016; Allen et al. 2022; specs alignment-methods B6.3, nfas-dmd 8.6.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> repeats = np.array([[1., 2., 3., 4.], [2., 1., 4., 5.], [0., 3., 3., 6.]])[:, :, None]
    >>> found = sx.noise_ceiling(repeats, "ncsnr", n_bootstraps=0)
    >>> found.units["ceiling"].round(6), found.kind
    (array([0.907407]), 'r2')
    """
    hint = "repeats come first: (n_repeats, n_samples, n_units)"
    if not hasattr(repeats, "__iter__") or isinstance(repeats, str | bytes | dict):
        raise ValueError(f"`repeats` is {repeats!r:.60}, but arrays expected\nhint: {hint}")
    arrays = [as_matrix(r, f"repeats[{i}]", axes="samples × units", hint=hint) for i, r in enumerate(repeats)]
    if arrays and len(arrays[0]) < 3:
        raise ValueError(
            f"`repeats` has {len(arrays[0])} samples, but at least 3 expected: two correlate by ±1 always\n"
            f"hint: {hint}"
        )
    n_samples = len(arrays[0]) if arrays else 0
    for i, repeat in enumerate(arrays):
        if not np.isfinite(repeat).all():
            row, column = np.argwhere(~np.isfinite(repeat))[0]
            raise ValueError(
                f"`repeats[{i}]` is not finite at row {row}, column {column} (counted from 0)\n"
                "hint: where stimuli have unequal numbers of repeats, use `trial_ceiling`, or pass two "
                "repeats that are means of random halves of each stimulus's own"
            )
    found = _core.noise_ceiling(
        arrays,
        optional_names(runs, "runs"),
        str(method),
        [str(i) for i in range(n_samples)] if blocks is None else as_names(blocks, "blocks"),
        whole(n_splits, "n_splits", DRAWS, least=1),
        whole(n_bootstraps, "n_bootstraps", DRAWS),
        _share(level, "level"),
        whole(seed, "seed", SEED),
    )
    n_units = len(found["values"])
    names = [str(j) for j in range(n_units)] if unit_names is None else as_names(unit_names, "unit_names")
    if len(names) != n_units:
        raise ValueError(f"`unit_names` has {len(names)} names, but {n_units} expected (one per unit)")
    units = {"unit": names, "ceiling": found["values"], "lower": found["lower"], "upper": found["upper"]}
    table = Table({**units, "ceiling_r": found["as_r"], "status": found["reasons"]})
    return NoiseCeiling(str(method), found["kind"], table, found["n_repeats"], found["leave_one_out"])


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class TrialCeiling(Result):
    """Noise ceilings from stimuli that were shown unequally often."""

    #: One row per unit: unit, ceiling (r² of the stimulus means), lower, upper, ceiling_r (its root; NaN
    #: below 0), ncsnr (σ_s/σ_n).
    units: Table
    #: mean over stimuli of 1/(number of trials).
    mean_inverse: float
    n_stimuli: int
    #: Stimuli with at least 2 trials.
    n_repeated: int


def trial_ceiling(
    responses: Any,
    stimuli: Sequence[Any],
    *,
    blocks: Sequence[Any] | None = None,
    unit_names: Sequence[Any] | None = None,
    n_bootstraps: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> TrialCeiling:
    """How well any model could predict stimulus means, from trials of stimuli shown unequally often.

    Formula: with n_t trials of stimulus t, ȳ_t their mean, ``σ_n² = Σ (y − ȳ_t)²/Σ (n_t − 1)`` and
    ``ceiling = 1 − σ_n² mean(1/n_t)/var(ȳ)``: NSD's noise ceiling, whose ``(A/3 + B/2 + C)/(A + B + C)`` is
    mean(1/n_t). With equal numbers it is ``noise_ceiling(repeats, "ncsnr")``.

    Parameters
    ----------
    responses : array (n_trials, n_units)
    stimuli : sequence of n_trials names
        What was shown; trials of the same name are repeats.
    blocks : sequence of n_trials names, optional
        What the bootstrap draws, all trials of a stimulus in one; by default every stimulus is one.
    unit_names : sequence of n_units names, optional
    n_bootstraps : int
        Draws of blocks for the interval; 0: none.
    level : float
        Coverage of the interval.
    seed : int

    Returns
    -------
    TrialCeiling
        Nothing is clipped: where noise explains more than all variance of the means the ceiling is negative
        (NSD says 0), and has no form as a correlation (NaN).

    Errors: `ValueError` for fewer than 3 stimuli or 2 that are repeated, a stimulus in two blocks, NaN.
    Undefined: NaN where means do not vary. Noise is taken to be alike for all stimuli.
    Cost: O(trials · units), and O(blocks · units) per draw. Source: Allen et al. 2022; specs
    alignment-methods B6.3.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> trials = np.array([[1.], [2.], [3.], [4.], [2.], [1.], [4.], [5.], [0.], [3.], [3.], [6.]])
    >>> found = sx.trial_ceiling(trials, list("abcd") * 3, n_bootstraps=0)
    >>> found.units["ceiling"].round(6)
    array([0.907407])
    """
    trials = as_matrix(as_columns(responses, "responses"), "responses", axes="trials × units")
    given = finite(trials, "responses")
    found = _core.trial_ceiling(
        given,
        as_names(stimuli, "stimuli"),
        [] if blocks is None else as_names(blocks, "blocks"),
        whole(n_bootstraps, "n_bootstraps", DRAWS),
        _share(level, "level"),
        whole(seed, "seed", SEED),
    )
    n_units = given.shape[1]
    names = [str(j) for j in range(n_units)] if unit_names is None else as_names(unit_names, "unit_names")
    if len(names) != n_units:
        raise ValueError(f"`unit_names` has {len(names)} names, but {n_units} expected (one per unit)")
    ceiling = found["ceiling"]
    with np.errstate(invalid="ignore"):
        columns = {"unit": names, "ceiling": ceiling, "lower": found["lower"], "upper": found["upper"]}
        table = Table({**columns, "ceiling_r": np.sqrt(ceiling), "ncsnr": found["ncsnr"]})
    return TrialCeiling(table, found["mean_inverse"], found["n_stimuli"], found["n_repeated"])


def half_corrected(
    predicted: tuple[Any, Any],
    observed: tuple[Any, Any],
    *,
    least: float = 0.1,
    blocks: Sequence[Any] | None = None,
    n_bootstraps: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> HalfCorrected:
    """Correct predictivity for noise in source and target; between animals, the inter-animal ceiling.

    Formula: the mean of ρ(f₁, b₂) and ρ(f₂, b₁) over ``√(ρ(f₁, f₂) ρ(b₁, b₂))``, per unit. f_h are
    predictions on test stimuli by a map fitted to half h of the trials, b_h the responses of half h there.
    With another animal as the source of the map this is what one animal says of another (average over pairs
    of animals and over splits); with a model it is the score to be held against that.

    Parameters
    ----------
    predicted, observed : two arrays (n_stimuli, n_units)
        The two halves.
    least : float
        Units with a lower reliability in source or target have no score (NaN); .1 to .3 is customary.
    blocks, n_bootstraps, level, seed
        Of the interval over stimuli, as in `noise_ceiling`.

    Returns
    -------
    HalfCorrected
        `score` may exceed 1 by sampling noise. Reliabilities are those of halves, without Spearman–Brown: the
        numerator is of halves too, and with it a true 1 comes out as .8.

    Errors: `ValueError` for shapes that differ, NaN. Cost: O(n units n_bootstraps).
    Source: specs alignment-methods B21.1.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.normal(size=(2000, 3))
    >>> f = [signal + rng.normal(size=signal.shape) for half in range(2)]
    >>> b = [signal + rng.normal(size=signal.shape) for half in range(2)]
    >>> found = sx.half_corrected(f, b)
    >>> bool(found.raw.max() < 0.6), bool(abs(found.score - 1).max() < 0.1)
    (True, True)
    """
    for name, pair in (("predicted", predicted), ("observed", observed)):
        if not hasattr(pair, "__len__") or len(pair) != 2:
            raise ValueError(f"`{name}` is {pair!r:.60}, but two arrays expected\nhint: one of each half")
    (f1, f2), (b1, b2) = predicted, observed
    sides = [as_matrix(x, name) for x, name in ((f1, "predicted"), (f2, "predicted"))]
    targets = [as_matrix(x, name) for x, name in ((b1, "observed"), (b2, "observed"))]
    found = _core.half_corrected(
        (sides[0], sides[1]),
        (targets[0], targets[1]),
        as_number(least, "least"),
        [str(i) for i in range(len(sides[0]))] if blocks is None else as_names(blocks, "blocks"),
        whole(n_bootstraps, "n_bootstraps", DRAWS),
        _share(level, "level"),
        whole(seed, "seed", SEED),
    )
    return HalfCorrected(**found)


def _share(value: Any, name: str) -> float:
    share = as_number(value, name)
    if not 0 < share < 1:
        raise ValueError(
            f"`{name}` is {share}, but a number between 0 and 1 expected\nhint: 0.95 is customary"
        )
    return share


