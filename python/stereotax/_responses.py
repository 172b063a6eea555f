"""Responses of units to stimuli in directions over time: from spikes and activations, and their tuning."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import Array, as_names, as_number, to_numpy
from ._base import Result
from ._ridge import _choice
from ._table import Table


class ResponseTensor:
    """Responses of units to stimuli that move in several directions: units × stimuli × directions × time.

    Stimuli are known by name. A response that is not there is NaN: a whole map (a unit that was not shown a
    stimulus),
    or the end of a stimulus that is shorter than others; any other NaN is refused by name.

    Parameters
    ----------
    values : array, units × stimuli × directions × time
        Rates (Hz) or activations.
    stimuli : sequence of names
    directions : sequence of float
        Angles in degrees, in equal steps round a full circle (motion) or half of one (orientations).
    bin_s : float
        Width of a time bin in seconds.
    units : sequence of names, optional
        ``unit 0``, ``unit 1``, … by default.

    Attributes
    ----------
    values : array, units × stimuli × directions × time
    units, stimuli : lists of names
    directions : array, degrees
    bin_s : float
    shape : (units, stimuli, directions, time)
    valid : array of bool, units × stimuli
        Whether the unit was shown the stimulus.
    lengths : list of int
        Time bins of each stimulus.
    relative_rates : array, units × stimuli, or None
        What `normalise` measured: the rate relative to the unit's best stimulus.
    bandwidths_s : array, units × stimuli, or None
        What `from_spikes` used.

    Errors: `ValueError` for names that are not unique, directions that do not close the circle, NaN
    elsewhere,
    infinities, a unit or stimulus without any map. Cost: O(values).

    Source: specs encoding-manifolds 0 and 1.1 to 1.4.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> values = rng.uniform(size=(5, 2, 4, 10))
    >>> directions = [0, 90, 180, 270]
    >>> responses = sx.ResponseTensor(
    ...     values, stimuli=["grating", "dots"], directions=directions, bin_s=0.1
    ... )
    >>> responses
    ResponseTensor(5 units × 2 stimuli × 4 directions × 10 bins of 0.1 s)
    >>> responses.select(stimuli=["dots"]).normalise("relative_norm").shape
    (5, 1, 4, 10)
    """

    def __init__(
        self, values: Any, *, stimuli: Any, directions: Any, bin_s: float, units: Any = None
    ) -> None:
        array = to_numpy(values, "values")
        if array.ndim != 4:
            raise ValueError(
                f"`values` has the shape {array.shape}, but four axes (units × stimuli × directions × "
                f"time) expected\n"
                "hint: static stimuli have an axis of directions of length 1"
            )
        self.values: Array = np.ascontiguousarray(array, dtype=np.float64)
        n_units, n_stimuli, n_directions, _ = self.values.shape
        self.units = [f"unit {i}" for i in range(n_units)] if units is None else as_names(units, "units")
        self.stimuli = as_names(stimuli, "stimuli")
        self.directions: Array = np.asarray(to_numpy(directions, "directions"), dtype=np.float64).ravel()
        self.bin_s = as_number(bin_s, "bin_s")
        for what, have, need in (
            ("units", len(self.units), n_units),
            ("stimuli", len(self.stimuli), n_stimuli),
            ("directions", len(self.directions), n_directions),
        ):
            if have != need:
                raise ValueError(
                    f"`{what}` has {have}, but {need} expected (the shape of `values` is "
                    f"{self.values.shape})\n"
                    "hint: the axes are units × stimuli × directions × time"
                )
        self._core = _core.Responses(
            self.values.ravel(), self.units, self.stimuli, self.directions.tolist(), self.bin_s
        )
        self.valid: Array = self._core.valid.reshape(n_units, n_stimuli)
        self.lengths = self._core.lengths
        self.relative_rates: Array | None = None
        self.bandwidths_s: Array | None = None

    @classmethod
    def from_maps(
        cls, maps: Mapping[str, Any], *, directions: Any, bin_s: float, units: Any = None
    ) -> ResponseTensor:
        """From one array (units × directions × time) per stimulus; shorter stimuli are padded with NaN.

        Errors: `ValueError` for other numbers of units or directions.
        """
        arrays = {str(name): to_numpy(values, str(name)) for name, values in maps.items()}
        if not arrays:
            raise ValueError(
                "`maps` is empty, but one array per stimulus expected\nhint: map names to arrays"
            )
        first = next(iter(arrays.values()))
        for name, array in arrays.items():
            if array.ndim != 3 or array.shape[:2] != first.shape[:2]:
                raise ValueError(
                    f"`{name}` has the shape {array.shape}, but units × directions × time as the first "
                    f"stimulus "
                    f"({first.shape}) expected\nhint: only the time axis may differ"
                )
        longest = max(array.shape[2] for array in arrays.values())
        values = np.full((first.shape[0], len(arrays), first.shape[1], longest), np.nan)
        for s, array in enumerate(arrays.values()):
            values[:, s, :, : array.shape[2]] = array
        return cls(values, stimuli=list(arrays), directions=directions, bin_s=bin_s, units=units)

    @classmethod
    def from_activations(
        cls, activations: Mapping[str, Any], *, directions: Any, bin_s: float, units: Any = None
    ) -> ResponseTensor:
        """From activations of a model, as its authors prepare them: clip at 0, average instances, subtract
        the minimum.

        `activations` maps stimuli to arrays: units × directions × time, or instances × units × directions ×
        time. The
        minimum is that of the whole tensor. Errors: as `from_maps`. Source: specs encoding-manifolds 1.1.
        """
        maps = {}
        for name, values in activations.items():
            array = np.clip(to_numpy(values, str(name)).astype(np.float64), 0, None)
            maps[str(name)] = array.mean(axis=0) if array.ndim == 4 else array
        made = cls.from_maps(maps, directions=directions, bin_s=bin_s, units=units)
        return made._with(made.values - np.nanmin(made.values))

    @classmethod
    def from_spikes(
        cls,
        spikes: Mapping[str, Any],
        *,
        directions: Any,
        window: tuple[float, float],
        bin_s: float = 0.01,
        bandwidth: float | str = 0.025,
        edge: str = "zero",
        units: Any = None,
    ) -> ResponseTensor:
        """Firing rates (Hz) from spike times, by kernel density.

        Parameters
        ----------
        spikes : mapping of stimuli to nested sequences, directions × units × trials
            Each trial is an array of spike times in seconds from stimulus onset. Trials may differ in
            number. A unit
            without any trial in all directions of a stimulus was not shown it.
        directions : sequence of float
            Degrees.
        window : (start, stop)
            Seconds from onset.
        bin_s : float
            Width of bins in seconds.
        bandwidth : float or "sheather_jones"
            Standard deviation of the kernel in seconds; or the improved Sheather–Jones rule, once per unit
            and stimulus
            from the direction with most spikes, between 0.01 and 0.05 s (0.05 where it finds none).
        edge : {"zero", "reflect"}
            What lies beyond the window. Nothing there makes rates at the edge too low, as in the authors'
            code.

        Returns
        -------
        ResponseTensor
            With `bandwidths_s`.

        Errors: `ValueError` for trials in some directions only. Source: Botev et al. 2010; specs
        encoding-manifolds 1.1.
        """
        trains, names, units = _trains(spikes, directions, units)
        fixed = None if isinstance(bandwidth, str) else as_number(bandwidth, "bandwidth")
        if fixed is None:
            _choice("bandwidth", str(bandwidth), ("sheather_jones",))
        found = trains.rates(
            (as_number(window[0], "window"), as_number(window[1], "window"), as_number(bin_s, "bin_s")),
            fixed,
            0.01,
            0.05,
            _choice("edge", edge, ("zero", "reflect")) == "reflect",
        )
        n_directions = len(np.ravel(directions))
        values = found["values"].reshape(len(units), len(names), n_directions, found["n_bins"])
        made = cls(values, stimuli=names, directions=directions, bin_s=bin_s, units=units)
        made.bandwidths_s = found["bandwidths_s"].reshape(len(units), len(names))
        return made

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(units, stimuli, directions, time bins)."""
        n, s, d, t = self.values.shape
        return n, s, d, t

    @property
    def silent_units(self) -> list[str]:
        """Units that never respond."""
        return [self.units[n] for n in self._core.silent_units]

    @property
    def silent_stimuli(self) -> list[str]:
        """Stimuli to which no unit responds."""
        return [self.stimuli[s] for s in self._core.silent_stimuli]

    @property
    def observed(self) -> Array | None:
        """Which entries are there; None if all are."""
        there = ~np.isnan(self.values)
        return None if there.all() else there

    def select(self, *, stimuli: Any = None, units: Any = None) -> ResponseTensor:
        """Some stimuli and units, by name, in the order given. `units` may also be a mask."""
        which = self._core.find(self.stimuli if stimuli is None else as_names(stimuli, "stimuli"))
        rows = np.arange(len(self.units))
        if units is not None:
            mask = np.asarray(units)
            if mask.dtype == bool:
                if mask.shape != rows.shape:
                    raise ValueError(
                        f"`units` is a mask of {mask.size}, but {rows.size} expected (one per unit)"
                    )
                rows = rows[mask]
            else:
                places = {name: n for n, name in enumerate(self.units)}
                missing = [name for name in as_names(units, "units") if name not in places]
                if missing:
                    raise ValueError(
                        f"`units` has `{missing[0]}`, which there is not\nhint: units are known by name"
                    )
                rows = np.array([places[name] for name in as_names(units, "units")], dtype=int)
        made = ResponseTensor(
            self.values[np.ix_(rows, np.asarray(which))],
            stimuli=[self.stimuli[s] for s in which],
            directions=self.directions,
            bin_s=self.bin_s,
            units=[self.units[n] for n in rows],
        )
        for name in ("relative_rates", "bandwidths_s"):
            extra = getattr(self, name)
            setattr(made, name, None if extra is None else extra[np.ix_(rows, np.asarray(which))])
        return made

    def drop_silent(self) -> ResponseTensor:
        """Without units that never respond (`silent_units` names them)."""
        silent = set(self._core.silent_units)
        return self.select(units=np.array([n not in silent for n in range(len(self.units))]))

    def keep(self, significant: Any) -> ResponseTensor:
        """Silence the maps of a unit and stimulus that are not significant (units × stimuli, bool).

        Units without any significant stimulus are left out; the others' silent maps are zeros, as the
        factorisation of
        spiking data wants them.
        """
        mask = np.asarray(significant)
        if mask.shape != self.valid.shape or mask.dtype != bool:
            raise ValueError(
                f"`significant` has the shape {mask.shape} and holds {mask.dtype}, but bool of "
                f"{self.valid.shape} "
                "expected\nhint: pass `significant_stimuli(…).significant`"
            )
        if not mask.any():
            raise ValueError("`significant` has no stimulus for any unit\nhint: look at epochs and level")
        values = np.where(mask[:, :, None, None] | np.isnan(self.values), self.values, 0.0)
        return self._with(values).select(units=mask.any(axis=1))

    def smooth(self, sigma_bins: float = 3.0, *, padding: str = "zero") -> ResponseTensor:
        """Smooth along time with a Gaussian (truncated at 4 σ, edges mirrored).

        `padding` says what lies beyond the end of shorter stimuli: "zero" (as the authors do; it pulls the
        last bins
        down) or "ignored". Source: specs encoding-manifolds 1.2.
        """
        ignored = _choice("padding", padding, ("zero", "ignored")) == "ignored"
        smoothed = self._core.smooth(as_number(sigma_bins, "sigma_bins"), ignored)
        return self._with(smoothed.reshape(self.shape))

    def prefer(
        self, first: Sequence[str], second: Sequence[str], names: Sequence[str] | None = None
    ) -> tuple[ResponseTensor, Array]:
        """For each unit, of two sets of paired stimuli those that drive it better (two spatial scales, say).

        Parameters
        ----------
        first, second : sequences of stimuli
            Paired by place. A unit takes `first` if it has a higher mean rate in its best direction for more
            pairs;
            otherwise, also at ties, `second`.
        names : sequence of names, optional
            Of the stimuli of the result; "first|second" by default.

        Returns
        -------
        ResponseTensor, array of bool
            Column j is the j-th stimulus at the unit's preferred scale; and whether units took `first`.

        Source: specs encoding-manifolds 1.4.
        """
        sets = [self._core.find(as_names(names_, "stimuli")) for names_ in (first, second)]
        chosen = np.array(self._core.preferred_set(*sets))
        rows = np.arange(len(self.units))[:, None]
        labels = names
        if labels is None:
            labels = [f"{a}|{b}" if a != b else str(a) for a, b in zip(first, second, strict=True)]
        made = ResponseTensor(
            self.values[rows, np.array(sets)[chosen]],
            stimuli=labels,
            directions=self.directions,
            bin_s=self.bin_s,
            units=self.units,
        )
        return made, chosen == 0

    def normalise(self, how: str = "relative_norm") -> ResponseTensor:
        """Scale maps for the factorisation; `relative_rates` of the result says how units respond to stimuli.

        `how` is "relative_norm" (models: every map to norm 1, times its rate relative to the unit's best
        stimulus),
        "per_map" (spikes: norm 1 only; the relative rate enters `neuron_matrix`), "maximum" or "mean" "
        "(per unit).
        Silent maps stay silent. Errors: `ValueError` for negative responses. Source: specs
        encoding-manifolds 1.4.
        """
        found = self._core.normalise(_choice("how", how, ("relative_norm", "per_map", "maximum", "mean")))
        made = self._with(found["values"].reshape(self.shape))
        made.relative_rates = found["relative"].reshape(self.valid.shape)
        return made

    def samples(self) -> Samples:
        """Pairs of direction and stimulus as samples for decoding, all stimuli of the first direction first.

        Errors: `ValueError` for units that were not shown a stimulus, and for stimuli of unequal length.
        """
        gap = np.argwhere(np.isnan(self.values))
        if gap.size:
            n, s = gap[0][:2]
            raise ValueError(
                f"unit `{self.units[n]}` has no response to `{self.stimuli[s]}` at bin {gap[0][3]}, but one "
                "expected: samples need all units at all times\n"
                "hint: leave the unit or the stimulus out, or cut all stimuli to the shortest"
            )
        n, s, d, t = self.shape
        return Samples(
            values=self.values.transpose(2, 1, 0, 3).reshape(d * s, n, t),
            stimuli=self.stimuli * d,
            directions=[f"{direction:g}" for direction in self.directions for _ in range(s)],
        )

    def _with(self, values: Array) -> ResponseTensor:
        made = ResponseTensor(
            values, stimuli=self.stimuli, directions=self.directions, bin_s=self.bin_s, units=self.units
        )
        made.relative_rates, made.bandwidths_s = self.relative_rates, self.bandwidths_s
        return made

    def __repr__(self) -> str:
        n, s, d, t = self.shape
        return f"ResponseTensor({n} units × {s} stimuli × {d} directions × {t} bins of {self.bin_s:g} s)"


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Samples(Result):
    """Samples for decoding."""

    #: Samples × units × times.
    values: Array
    #: Stimulus of each sample: what a decoder tells.
    stimuli: list[str]
    #: Direction of each sample: what it generalises over.
    directions: list[str]


def _trains(
    spikes: Mapping[str, Any], directions: Any, units: Any
) -> tuple[_core.SpikeTrains, list[str], list[str]]:
    """Nested trials in the order units × stimuli × directions."""
    names = [str(name) for name in spikes]
    n_directions = len(np.ravel(directions))
    cells = list(spikes.values())
    if not cells or any(len(of_stimulus) != n_directions for of_stimulus in cells):
        found = {name: len(x) for name, x in zip(names, cells, strict=True)}
        raise ValueError(
            f"`spikes` has the directions {found}, but {n_directions} for each stimulus expected\n"
            "hint: map stimuli to directions × units × trials of spike times"
        )
    counts = {len(of_direction) for of_stimulus in cells for of_direction in of_stimulus}
    if len(counts) != 1 or counts == {0}:
        raise ValueError(
            f"`spikes` has {sorted(counts)} units, but the same number in every direction of every "
            f"stimulus expected\n"
            "hint: a unit that was not shown a stimulus has no trials there"
        )
    n_units = counts.pop()
    labels = [f"unit {i}" for i in range(n_units)] if units is None else as_names(units, "units")
    if len(labels) != n_units:
        raise ValueError(f"`units` has {len(labels)} names, but {n_units} expected (one per unit)")
    trials = [
        [np.asarray(trial, dtype=np.float64).ravel() for trial in of_stimulus[d][n]]
        for n in range(n_units)
        for of_stimulus in cells
        for d in range(n_directions)
    ]
    flat = [trial for of_cell in trials for trial in of_cell]
    trains = _core.SpikeTrains(
        (n_units, len(names), n_directions),
        [len(of_cell) for of_cell in trials],
        [trial.size for trial in flat],
        np.concatenate(flat) if flat else np.zeros(0),
    )
    return trains, names, labels


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class SignificantStimuli(Result):
    """Which stimuli drive or suppress which units; arrays are units × stimuli."""

    significant: Array
    p_more: Array
    p_less: Array
    units: list[str]
    stimuli: list[str]


def significant_stimuli(
    spikes: Mapping[str, Any],
    *,
    directions: Any,
    baseline: tuple[float, float],
    stimulus: tuple[float, float],
    alpha: float = 1e-3,
    units: Any = None,
) -> SignificantStimuli:
    """Find the stimuli that drive or suppress units, by counts of spikes against a baseline.

    Formula: per direction, one-sided rank-sum tests of the counts per trial in the window (as long as the
    baseline)
    with most spikes, and of that with fewest, against the baseline's. Significant is ``min_d p_more ≤ α`` or
    ``max_d p_less ≤ α``.

    Parameters
    ----------
    spikes : mapping of stimuli to directions × units × trials
        As in `ResponseTensor.from_spikes`.
    directions : sequence of float
    baseline, stimulus : (start, stop)
        Seconds from onset; the stimulus is cut into consecutive windows as long as the baseline.
    alpha : float
    units : sequence of names, optional

    Returns
    -------
    SignificantStimuli
        ``significant``, ``p_more`` (least over directions), ``p_less`` (largest over directions); p is
        infinite where
        no test can be made (no spikes, no trials).

    Errors: `ValueError` for empty epochs. Choosing a window and testing it on the same trials favours
    significance:
    p-values are those of the authors' procedure, not calibrated ones. Cost: O(spikes). Source: specs
    encoding-manifolds 1.3.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> trial = lambda rate: np.r_[rng.uniform(-0.5, 0, rng.poisson(2)), rng.uniform(0, 1, rng.poisson(rate))]
    >>> spikes = {"dots": [[[trial(rate) for _ in range(20)] for rate in (40, 4)] for _ in range(2)]}
    >>> sx.significant_stimuli(
    ...     spikes, directions=[0, 180], baseline=(-0.5, 0), stimulus=(0, 1)
    ... ).significant[:, 0].tolist()
    [True, False]
    """
    trains, names, labels = _trains(spikes, directions, units)
    found = trains.significance(
        (as_number(baseline[0], "baseline"), as_number(baseline[1], "baseline")),
        (as_number(stimulus[0], "stimulus"), as_number(stimulus[1], "stimulus")),
        as_number(alpha, "alpha"),
    )
    shape = (len(labels), len(names))
    return SignificantStimuli(
        **{name: found[name].reshape(shape) for name in ("significant", "p_more", "p_less")},
        units=labels,
        stimuli=names,
    )


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Psth(Result):
    """A firing rate over time."""

    times_s: Array
    rate: Array
    bandwidth_s: float


def psth(
    trials: Sequence[Any],
    *,
    window: tuple[float, float],
    bin_s: float = 0.01,
    bandwidth: float | str = 0.025,
    edge: str = "zero",
) -> Psth:
    """Estimate a firing rate from the spikes of trials by a Gaussian kernel.

    Formula: ``rate(t) = 1/n Σ_i φ_σ(t − t_i)`` in Hz, at the middles of bins.

    Parameters
    ----------
    trials : sequence of arrays
        Spike times in seconds.
    window : (start, stop)
        Seconds.
    bin_s : float
    bandwidth : float or "sheather_jones"
        σ in seconds, or the improved Sheather–Jones rule clipped to 0.01 … 0.05 s.
    edge : {"zero", "reflect"}
        What lies beyond the window; with "zero" mass is lost at the edges.

    Returns
    -------
    Psth
        ``times_s`` (middles of bins), ``rate`` (Hz), ``bandwidth_s``.

    Errors: `ValueError` without a trial or a bin. Cost: O(spikes + bins). Source: Botev et al. 2010; specs
    encoding-manifolds 1.1.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> found = sx.psth([np.array([0.1, 0.105]), np.array([0.11])], window=(0, 0.2), bin_s=0.01)
    >>> bool(abs(found.rate.sum() * 0.01 - 1.5) < 0.01)
    True
    """
    times = [np.asarray(trial, dtype=np.float64).ravel() for trial in trials]
    if not times:
        raise ValueError(
            "`trials` is empty, but 1 trial at least expected\nhint: a silent trial is an empty array"
        )
    fixed = None if isinstance(bandwidth, str) else as_number(bandwidth, "bandwidth")
    if fixed is None:
        _choice("bandwidth", str(bandwidth), ("sheather_jones",))
    start, stop, width = (
        as_number(window[0], "window"),
        as_number(window[1], "window"),
        as_number(bin_s, "bin_s"),
    )
    reflect = _choice("edge", edge, ("zero", "reflect")) == "reflect"
    found = _core.psth(np.concatenate(times), len(times), (start, stop, width), fixed, 0.01, 0.05, reflect)
    rate = found["rate"]
    return Psth(start + (np.arange(len(rate)) + 0.5) * width, rate, found["bandwidth_s"])


def tuning(responses: ResponseTensor) -> Table:
    """Describe every unit's tuning: preferred stimulus and direction, selectivity, time course.

    Formula, with R_d the mean rate in direction d at the preferred stimulus, d* the best, y its time course:
    ``direction_selectivity = (R_d* − R_opposite) / (R_d* + R_opposite)``; ``orientation_selectivity`` the
    same of the
    mean of opposite directions and that across; global versions ``|Σ R e^{iθ}| / Σ R`` and ``|Σ R e^{2iθ}| /
    Σ R``;
    ``transience = 1 − mean(y) / max(y)``; ``latency_s``: first time at half of the way from the least y to
    the most.

    Parameters
    ----------
    responses : ResponseTensor
        Rates of at least 0.

    Returns
    -------
    Table
        One row per unit: ``unit``, ``stimulus``, ``direction`` (degrees), ``vector_direction``, ``rate``,
        ``direction_selectivity``, ``global_direction_selectivity``, ``orientation_selectivity``,
        ``global_orientation_selectivity`` (each in [0, 1]), ``transience``, ``latency_s`` (from the first
        bin's begin).

    Undefined (NaN; stimulus None): all of a silent unit; direction measures of orientations; indices whose
    opposite or
    orthogonal direction was not shown; the latency of a constant response. Cost: O(values). Source: the
    circular
    measures are 1 − circular variance; transience and latency are our choice.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> values = np.zeros((2, 1, 4, 5))
    >>> values[0, 0, :, 2] = [1, 6, 1, 2]
    >>> responses = sx.ResponseTensor(values, stimuli=["dots"], directions=[0, 90, 180, 270], bin_s=0.1)
    >>> table = sx.tuning(responses)
    >>> table["direction"].tolist()
    [90.0, nan]
    >>> [round(float(table[f"{what}_selectivity"][0]), 6) for what in ("direction", "orientation")]
    [0.5, 0.6]
    """
    if not isinstance(responses, ResponseTensor):
        raise ValueError(
            f"`responses` is {type(responses).__name__}, but a ResponseTensor expected\n"
            "hint: ResponseTensor(values, stimuli=…, directions=…, bin_s=…)"
        )
    return Table(responses._core.tuning())
