"""Trials of neurons or sensors over time, from NWB, tables of spikes, MNE, BIDS-EEG and GLMsingle."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._arrays import Array, as_names, as_number, to_numpy
from ._base import Result
from ._onsets import read_onsets
from ._responses import ResponseTensor

#: Bins of one trial, and numbers of one array, that may be asked for.
_MOST_BINS = 10**6
_MOST_NUMBERS = 2 * 10**9


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Trials(Result):
    """Trials × channels × times, with the stimulus of each trial.

    `sx.align({"brain": (trials.ids, trials.values), …})` keeps repeats and names what is left out.
    """

    #: Trials × channels × times.
    values: Array
    #: Stimulus of each trial.
    ids: list[str]
    channels: list[str]
    #: Seconds from the stimulus of each time point (middle of a bin, for spikes).
    times_s: Array
    #: What a number is: "spikes", or the unit that the file states.
    unit: str


class Spikes:
    """Spike times of many units, and trials with the stimuli that were shown. Made by `read_nwb` and
    `read_spikes`.

    Attributes
    ----------
    units : list of str
    times_s : list of arrays
        Spike times of each unit, ascending, on the clock of the trials.
    onsets_s : array
        When each trial's stimulus begins.
    ids : list of str
        Stimulus of each trial.
    directions : array or None
        Of each trial, in degrees, if a column says so.
    """

    def __init__(
        self,
        units: list[str],
        times_s: list[Array],
        onsets_s: Array,
        ids: list[str],
        directions: Array | None,
    ) -> None:
        self.units, self.times_s, self.onsets_s, self.ids = units, times_s, onsets_s, ids
        self.directions = directions

    def __repr__(self) -> str:
        n = sum(map(len, self.times_s))
        trials = f"{len(self.ids)} trials of {len(set(self.ids))} stimuli"
        return f"Spikes({len(self.units)} units, {n} spikes, {trials})"

    def counts(self, window: tuple[float, float], bin_s: float) -> Trials:
        """Spikes in bins of `bin_s` from `window[0]` to `window[1]` seconds after onset (trials × units ×
        time).

        A spike at time t after onset is in bin floor((t − start) / bin_s); a bin that the window cuts off is
        left out.
        """
        start, stop, width = (
            as_number(v, n) for v, n in zip((*window, bin_s), ("window", "window", "bin_s"), strict=True)
        )
        n_bins = int(np.floor((stop - start) / width + 1e-9)) if width > 0 else 0
        if not 0 < n_bins <= _MOST_BINS:
            raise ValueError(
                f"`window` is {window} and `bin_s` {bin_s}, which makes {n_bins} bins, but 1 to 10⁶ expected"
            )
        if n_bins * len(self.units) * len(self.ids) > _MOST_NUMBERS:
            raise ValueError(
                f"{len(self.ids)} × {len(self.units)} × {n_bins} counts are too many\nhint: take wider bins"
            )
        edges = start + width * np.arange(n_bins + 1) - 1e-9 * width
        values = np.zeros((len(self.ids), len(self.units), n_bins))
        for u, times in enumerate(self.times_s):
            places = np.searchsorted(times, (self.onsets_s[:, None] + edges).ravel()).reshape(-1, n_bins + 1)
            values[:, u] = np.diff(places, axis=1)
        return Trials(
            values, list(self.ids), list(self.units), start + width * (np.arange(n_bins) + 0.5), "spikes"
        )

    def responses(self, window: tuple[float, float], **how: Any) -> ResponseTensor:
        """Firing rates (units × stimuli × directions × time), as `ResponseTensor.from_spikes` makes them.

        Trials without directions are one direction of 0°. `how`: its `bin_s`, `bandwidth`, `edge`.
        """
        angles = np.zeros(len(self.ids)) if self.directions is None else self.directions
        directions = sorted(set(angles.tolist()))
        start, stop = as_number(window[0], "window"), as_number(window[1], "window")
        spikes: dict[str, Any] = {}
        for stimulus in dict.fromkeys(self.ids):
            spikes[stimulus] = []
            for angle in directions:
                rows = [t for t, name in enumerate(self.ids) if name == stimulus and angles[t] == angle]
                per_unit = []
                for times in self.times_s:
                    trains = []
                    for onset in self.onsets_s[rows]:
                        first, last = np.searchsorted(times, [onset + start, onset + stop])
                        trains.append(times[first:last] - onset)
                    per_unit.append(trains)
                spikes[stimulus].append(per_unit)
        return ResponseTensor.from_spikes(
            spikes, directions=directions, window=(start, stop), units=self.units, **how
        )


def read_nwb(
    path: str | os.PathLike[str], *, stimulus: str, onset: str = "start_time", direction: str | None = None
) -> Spikes:
    """Units and trials of an NWB file (HDF5).

    Parameters
    ----------
    path : path
        NWB 2 with the tables `units` (spike_times) and `intervals/trials`.
    stimulus : str
        Column of the trials that names what was shown.
    onset : str
        Column with the seconds at which it began.
    direction : str, optional
        Column with degrees.

    Returns
    -------
    Spikes
        `counts(window, bin_s)` gives trials × units × time, `responses(window)` a `ResponseTensor`.

    Errors: `ImportError` without h5py, `ValueError` for tables or columns that are not there, an index that
    points beyond its data. Trials whose onset is NaN are refused. Cost: all spike times once.
    Source: NWB 2 schema (ragged columns: NAME and NAME_index, ends of the rows).

    Examples
    --------
    ``sx.read_nwb("session.nwb", stimulus="image").counts((0, 0.3), 0.01)``; spikes made by hand:

    >>> import numpy as np
    >>> import stereotax as sx
    >>> spikes = sx.read_spikes({"a": [0.1, 1.2]}, onsets_s=[0, 1], ids=["cat", "dog"])
    >>> spikes.counts((0, 0.5), 0.5).values.ravel()
    array([1., 1.])
    """
    try:
        import h5py
    except ImportError:
        raise ImportError("NWB files need h5py\nhint: pip install stereotax[io]") from None
    with h5py.File(path, "r") as file:
        for table in ("units", "intervals/trials"):
            if table not in file:
                raise ValueError(f"`{path}` has no table `{table}`\nhint: it has {', '.join(list(file)[:8])}")
        trials, units = file["intervals/trials"], file["units"]
        for name in filter(None, (stimulus, onset, direction)):
            if name not in trials:
                raise ValueError(
                    f"the trials of `{path}` have no column `{name}`\nhint: they have {', '.join(trials)}"
                )
        if "spike_times" not in units or "spike_times_index" not in units:
            raise ValueError(f"the units of `{path}` have no spike times\nhint: they have {', '.join(units)}")
        spikes, ends = units["spike_times"][()], units["spike_times_index"][()].astype(np.int64)
        bounds = np.concatenate([[0], ends])
        if (np.diff(bounds) < 0).any() or bounds[-1] > len(spikes):
            raise ValueError(f"`{path}`: the index of the spike times does not fit {len(spikes)} spikes")
        names = [str(v) for v in units["id"][()]] if "id" in units else [str(i) for i in range(len(ends))]
        ids = _labels(trials[stimulus])
        onsets = np.asarray(trials[onset][()], dtype=np.float64)
        angles = None if direction is None else np.asarray(trials[direction][()], dtype=np.float64)
    trains = [np.sort(spikes[a:b].astype(np.float64)) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    return _spikes(names, trains, onsets, ids, angles)


def read_spikes(
    spikes: Any, *, onsets_s: Any, ids: Any, directions: Any = None, unit: str = "unit", time: str = "time_s"
) -> Spikes:
    """Spikes from a plain table (CSV or TSV with a row per spike), or from arrays by unit.

    Parameters
    ----------
    spikes : path, or mapping from unit to spike times
        Seconds, on the clock of `onsets_s`.
    onsets_s : array, trials
    ids : sequence of names, trials
        What was shown in each trial; a name that comes again is a repeat.
    directions : array, trials, optional
        Degrees.
    unit, time : str
        Columns of the table.

    Returns
    -------
    Spikes

    Errors: `ValueError` for columns that are not there, times that are no numbers, unequal numbers of trials.
    Cost: the spikes once. Source: none needed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import stereotax as sx
    >>> path = pathlib.Path(tempfile.mkdtemp(), "spikes.csv")
    >>> _ = path.write_text("unit,time_s\\nb,0.3\\na,1.1\\nb,1.2\\n")
    >>> found = sx.read_spikes(path, onsets_s=[0, 1], ids=["cat", "cat"])
    >>> found, found.counts((0, 0.4), 0.2).values[:, 0].tolist()
    (Spikes(2 units, 3 spikes, 2 trials of 1 stimuli), [[0.0, 1.0], [0.0, 1.0]])
    """
    by_unit: dict[str, list[float]] = {}
    if isinstance(spikes, str | os.PathLike):
        file = Path(spikes)
        with open(file, newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream, delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
            for name in (unit, time):
                if name not in (rows.fieldnames or []):
                    raise ValueError(
                        f"`{file}` has no column `{name}`\nhint: it has {', '.join(rows.fieldnames or [])}"
                    )
            for line, row in enumerate(rows, start=2):
                try:
                    by_unit.setdefault(str(row[unit]), []).append(float(row[time]))
                except (TypeError, ValueError):
                    raise ValueError(f"`{file}`, line {line}: {row[time]!r}, but seconds expected") from None
    else:
        by_unit = {
            str(name): np.asarray(to_numpy(t, str(name)), dtype=float).tolist() for name, t in spikes.items()
        }
    trains = [np.sort(np.asarray(times, dtype=np.float64)) for times in by_unit.values()]
    angles = None if directions is None else np.asarray(to_numpy(directions, "directions"), dtype=np.float64)
    onsets = np.asarray(to_numpy(onsets_s, "onsets_s"), dtype=np.float64)
    return _spikes(list(by_unit), trains, onsets, as_names(ids, "ids"), angles)


def _spikes(
    units: list[str], trains: list[Array], onsets: Array, ids: list[str], angles: Array | None
) -> Spikes:
    for what, n in (("ids", len(ids)), ("directions", len(ids) if angles is None else len(angles))):
        if n != len(onsets):
            raise ValueError(f"`{what}` has {n}, but {len(onsets)} expected (one per trial)")
    if not np.isfinite(onsets).all():
        raise ValueError(
            f"trial {int(np.argmin(np.isfinite(onsets)))} (from 0) has no onset\nhint: drop it, with its id"
        )
    for unit, times in zip(units, trains, strict=True):
        if not np.isfinite(times).all():
            raise ValueError(f"unit `{unit}` has spike times that are no numbers")
    return Spikes(units, trains, onsets, ids, angles)


def _labels(dataset: Any) -> list[str]:
    return [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in dataset[()]]


def _mne() -> Any:
    try:
        import mne
    except ImportError:
        raise ImportError("EEG and MEG files need MNE\nhint: pip install stereotax[eeg]") from None
    return mne


def read_epochs(path: str | os.PathLike[str], *, picks: Any = None) -> Trials:
    """Epochs that MNE has saved (`-epo.fif`), as trials × channels × times.

    Parameters
    ----------
    path : path
    picks : str or list, optional
        Channels, as MNE takes them ("eeg", "mag", names). All data channels by default.

    Returns
    -------
    Trials
        `ids` are the names of the events, `unit` is V (or T, for magnetometers alone). Bad channels are left
        out, as MNE does; rejected epochs are not in the file.

    Errors: `ImportError` without MNE; MNE's own for files that it cannot read. Cost: the file once.
    Source: Gramfort et al. 2013.

    Examples
    --------
    ``trials = sx.read_epochs("sub-01_task-n400-epo.fif", picks="eeg")``, then

    >>> import numpy as np
    >>> import stereotax as sx
    >>> ids, values = ["cat", "dog", "cat"], np.ones((3, 32, 100))    # trials.ids, trials.values
    >>> sx.align({"brain": (ids, values)}).repeats["brain"].shape
    (2, 2, 32, 100)
    """
    mne = _mne()
    return _of_epochs(mne.read_epochs(os.fspath(path), preload=True, verbose="error"), picks)


def _of_epochs(epochs: Any, picks: Any) -> Trials:
    chosen = epochs.copy().pick("data" if picks is None else picks, exclude="bads")
    names = {code: name for name, code in chosen.event_id.items()}
    kinds = set(chosen.get_channel_types())
    return Trials(
        values=chosen.get_data(copy=True),
        ids=[names[code] for code in chosen.events[:, 2]],
        channels=list(chosen.ch_names),
        times_s=np.asarray(chosen.times, dtype=np.float64),
        unit="T" if kinds == {"mag"} else "T/m" if kinds == {"grad"} else "V",
    )


def read_bids_eeg(
    root: str | os.PathLike[str],
    *,
    subject: str,
    task: str,
    window: tuple[float, float],
    session: str | None = None,
    label: str = "trial_type",
    baseline: tuple[float, float] | None = None,
    picks: Any = None,
) -> Trials:
    """Trials of a BIDS data set of EEG (or MEG, iEEG): raw files and events.tsv, cut by MNE.

    Parameters
    ----------
    root : path
    subject, task, session : str
        Without the key in front.
    window : (start, stop)
        Seconds from each event.
    label : str
        Column of the events that names the stimulus.
    baseline : (start, stop), optional
        The mean over it is taken off each trial and channel. None by default: nothing is.
    picks : str or list, optional

    Returns
    -------
    Trials
        All runs, one after the other. Events whose window leaves the recording are refused, not dropped.

    Errors: `ImportError` without MNE, `FileNotFoundError` without such a recording, `ValueError` for runs
    with
    other channels or rates. Cost: the recordings once. Source: Pernet et al. 2019 (EEG-BIDS); Gramfort et
    al. 2013.

    Examples
    --------
    ``sx.read_bids_eeg("ds003645", subject="002", task="FacePerception", window=(-0.1, 0.6))``; the
    mean over trials of one stimulus is

    >>> import numpy as np
    >>> import stereotax as sx
    >>> sx.align({"eeg": (["a", "a"], np.array([[[1.0, 2.0]], [[3.0, 4.0]]]))}).values["eeg"].tolist()
    [[[2.0, 3.0]]]
    """
    mne = _mne()
    folder = Path(root) / f"sub-{subject}" / (f"ses-{session}" if session else "")
    endings = (".vhdr", ".edf", ".bdf", ".set", ".fif")
    raws = sorted(
        p for p in folder.glob(f"*eg/sub-{subject}_*task-{task}_*eg.*") if p.suffix.lower() in endings
    )
    if not raws:
        raise FileNotFoundError(f"`{folder}` has no recording of the task `{task}` ({', '.join(endings)})")
    start, stop = as_number(window[0], "window"), as_number(window[1], "window")
    found: list[Trials] = []
    for path in raws:
        table = read_onsets(path.with_name(path.stem.rsplit("_", 1)[0] + "_events.tsv"))
        labels = table["label"] if label == "trial_type" or label not in table.columns else table[label]
        raw = mne.io.read_raw(path, preload=True, verbose="error")
        names = sorted(set(map(str, labels)))
        samples = np.round(np.asarray(table["onset_s"]) * raw.info["sfreq"]).astype(int) + raw.first_samp
        codes = [1 + names.index(str(name)) for name in labels]
        events = np.stack([samples, np.zeros_like(samples), codes], axis=1)
        epochs = mne.Epochs(
            raw, events, {name: i for i, name in enumerate(names, start=1)}, start, stop, baseline=baseline,
            preload=True, reject_by_annotation=False, event_repeated="error", verbose="error",
        )  # fmt: skip
        if len(epochs) != len(events):
            raise ValueError(
                f"`{path}`: {len(events) - len(epochs)} events lie too near the ends for `window` {window}"
            )
        found.append(_of_epochs(epochs, picks))
        if found[-1].channels != found[0].channels or len(found[-1].times_s) != len(found[0].times_s):
            raise ValueError(
                f"`{path}` and `{raws[0]}` have other channels or rates\nhint: name common ones in `picks`"
            )
    return Trials(
        np.concatenate([f.values for f in found]),
        [name for f in found for name in f.ids],
        found[0].channels,
        found[0].times_s,
        found[0].unit,
    )


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Betas(Result):
    """Single-trial responses of voxels."""

    #: Trials × voxels (those that the mask keeps), in per cent of the mean signal.
    values: Array
    #: Stimulus of each trial.
    ids: list[str]
    #: Place of each voxel in the flattened volume (last axis fastest), so that maps can be drawn.
    voxels: Array
    #: Shape of the volume.
    shape: tuple[int, ...]
    #: Variance explained by the model (per cent) of each voxel, where the file has it.
    r_squared: Array | None
    #: Voxels left out because some trial has no finite value there.
    n_dropped: int


def read_glmsingle(path: str | os.PathLike[str], ids: Sequence[str], *, mask: Any = None) -> Betas:
    """Betas of GLMsingle: HDF5 (`wanthdf5=1`, or MATLAB's v7.3) or .npz.

    Parameters
    ----------
    path : path
        `TYPED_FITHRF_GLMDENOISE_RR.hdf5` and the like, with `betasmd` (x × y × z × trials, or voxels ×
        trials;
        MATLAB's files have the axes the other way round, which is told by their header).
    ids : sequence of str
        Stimulus of each trial, in the order of the design; repeats have one name.
    mask : array, the volume's shape, optional
        Voxels to keep.

    Returns
    -------
    Betas
        `values` (trials × voxels), ready for `align`.

    Errors: `ValueError` for .npy, which is a pickle of Python objects here; another number of trials than
    ids;
    a mask of another shape. Cost: the betas once. Source: Prince et al. 2022.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import stereotax as sx
    >>> path = pathlib.Path(tempfile.mkdtemp(), "betas.npz")
    >>> np.savez(path, betasmd=np.arange(24.0).reshape(2, 2, 2, 3), R2=np.zeros((2, 2, 2)))
    >>> found = sx.read_glmsingle(path, ["cat", "dog", "cat"])
    >>> found.values.shape, found.values[0, :3].tolist(), found.shape
    ((3, 8), [0.0, 3.0, 6.0], (2, 2, 2))
    """
    file = Path(path)
    names = as_names(ids, "ids")
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as data:
            found = {key: data[key] for key in ("betasmd", "R2") if key in data.files}
    elif file.suffix in (".hdf5", ".h5", ".mat"):
        found = _betas_hdf5(file)
    else:
        raise ValueError(
            f"`{file}` ends in `{file.suffix}`, but .hdf5, .mat (v7.3) or .npz expected\n"
            "hint: GLMsingle's .npy is a pickle, which is never opened; run it with wanthdf5=1"
        )
    if "betasmd" not in found:
        raise ValueError(
            f"`{file}` has no `betasmd`\nhint: give a file of GLMsingle's outputs, not its figures"
        )
    betas = np.asarray(found["betasmd"], dtype=np.float64)
    if betas.ndim < 2 or betas.shape[-1] != len(names):
        raise ValueError(
            f"`ids` has {len(names)}, but {betas.shape[-1] if betas.ndim else 0} trials in `{file}`\n"
            "hint: one id per trial, in the order of the design matrix"
        )
    shape = betas.shape[:-1]
    keep = np.ones(shape, dtype=bool) if mask is None else np.asarray(mask) != 0
    if keep.shape != shape:
        raise ValueError(f"`mask` has the shape {keep.shape}, but {shape} expected")
    flat = betas.reshape(-1, len(names))
    usable = keep.ravel() & np.isfinite(flat).all(axis=1)
    r2 = found.get("R2")
    explained = (
        np.asarray(r2, dtype=np.float64).reshape(-1)
        if r2 is not None and np.size(r2) == flat.shape[0]
        else None
    )
    return Betas(
        values=np.ascontiguousarray(flat[usable].T),
        ids=names,
        voxels=np.flatnonzero(usable),
        shape=tuple(int(n) for n in shape),
        r_squared=None if explained is None else explained[usable],
        n_dropped=int((keep.ravel() & ~usable).sum()),
    )


def _betas_hdf5(file: Path) -> dict[str, Array]:
    try:
        import h5py
    except ImportError:
        raise ImportError("HDF5 files need h5py\nhint: pip install stereotax[io]") from None
    with open(file, "rb") as stream:
        matlab = stream.read(20).startswith(b"MATLAB 7.3")
    try:
        with h5py.File(file, "r") as data:
            found = {}
            for key, other in (("betasmd", "modelmd"), ("R2", "R2")):  # MATLAB calls betas modelmd
                name = key if key in data else other
                if name in data and isinstance(data[name], h5py.Dataset):
                    values = data[name][()]
                    found[key] = values.T if matlab else values
            return found
    except OSError as reason:
        raise ValueError(f"`{file}` is no HDF5 file: {reason}\nhint: save MATLAB files with -v7.3") from None
