"""Words, phonemes, frames and clips in time, and on the clock of the scanner."""

from __future__ import annotations

import csv
import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import _core
from ._arrays import Array, as_names, as_number, to_numpy, whole
from ._base import Result
from ._ridge import _choice
from ._table import Table

#: A text file beyond this is no annotation.
_MOST_BYTES = 1 << 28
_ONSETS = ("onset_s", "onset", "start", "start_s", "xmin")
_OFFSETS = ("offset_s", "offset", "end", "end_s", "xmax")
_DURATIONS = ("duration_s", "duration")
_LABELS = ("word", "label", "text", "phoneme", "phone", "trial_type", "clip", "stimulus_id")


def read_onsets(
    path: str | os.PathLike[str], *, tier: str | None = None, columns: Sequence[str] | None = None
) -> Table:
    """Read what was said or shown when: Praat's TextGrid (long and short form), or a TSV or CSV.

    Formula: ``duration_s = offset − onset``. Rows without a label (silence, in a TextGrid) are kept with an
    empty one; rows without an onset (words that an aligner did not find) have NaN there: nothing is dropped.

    Parameters
    ----------
    path : path
        `.TextGrid` (UTF-8 or UTF-16), `.tsv` or `.csv`.
    tier : str, optional
        Of a TextGrid with several tiers: which one, by name. Point tiers have durations of 0.
    columns : sequence of str, optional
        Names of the columns of a file without a header, such as ``["word", "matched", "onset", "offset"]``.

    Returns
    -------
    Table
        Columns label, onset_s, duration_s (seconds); of a TSV or CSV all other columns as well, as text.

    A TSV or CSV needs a column of onsets (onset_s, onset, start or xmin) and one of durations or offsets
    (duration_s, duration, offset, end or xmax); its label is the first of word, label, text, phoneme, phone,
    trial_type, clip, stimulus_id. Errors: `ValueError` for a file that is neither, tiers and columns that are
    not there, offsets before onsets. Cost: the file once.
    Source: Praat's TextGrid file formats; BIDS 1.10, task events (onset and duration in seconds, n/a).

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import stereotax as sx
    >>> path = pathlib.Path(tempfile.mkdtemp(), "align.csv")
    >>> _ = path.write_text("the,the,0.5,0.7\\ncat,cat,0.7,1.1\\nuhm,,,\\n")
    >>> words = sx.read_onsets(path, columns=["word", "matched", "onset", "offset"])
    >>> words["label"].tolist(), words["duration_s"].round(3).tolist()
    (['the', 'cat', 'uhm'], [0.2, 0.4, nan])
    """
    file = Path(path)
    if file.stat().st_size > _MOST_BYTES:
        raise ValueError(
            f"`{file}` has {file.stat().st_size} bytes, but an annotation (at most 256 MiB) expected"
        )
    raw = file.read_bytes()
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError(f"`{file}` is no text in UTF-8 or UTF-16\nhint: save it anew as UTF-8") from None
    if file.suffix.lower() == ".textgrid" or text[:60].startswith("File type"):
        return _textgrid(file, text, tier)
    if file.suffix.lower() not in (".tsv", ".csv", ".txt"):
        raise ValueError(f"`{file}` ends in `{file.suffix}`, but .TextGrid, .tsv or .csv expected")
    return _delimited(file, text, columns)


def _textgrid(file: Path, text: str, tier: str | None) -> Table:
    """All strings and numbers in order say what is where, in the long form and in the short one."""
    body = re.sub(r"\b(intervals|points|item)\s*:?\s*\[\d*\]\s*:?", " ", text)
    body = body.split('"', 4)[4] if body.count('"') >= 4 else ""
    tokens = re.findall(
        r'"((?:[^"]|"")*)"|(?<![\w.\["])([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?![\w"])|<(exists)>', body
    )
    at = 0

    def take(what: str) -> Any:
        nonlocal at
        if at >= len(tokens):
            raise ValueError(f"`{file}` ends where {what} is expected\nhint: it is cut short; save it anew")
        string, number, _ = tokens[at]
        at += 1
        if what in ("a number", "a count"):
            if not number:
                raise ValueError(
                    f"`{file}` has {string!r:.40} where {what} is expected\nhint: is it a TextGrid?"
                )
            return float(number)
        return string.replace('""', '"')

    take("a number"), take("a number")  # the whole recording
    if at < len(tokens) and tokens[at][2]:
        at += 1
    tiers: dict[str, list[tuple[str, float, float]]] = {}
    for _ in range(int(take("a count"))):
        kind, name = take("a tier's class"), take("a tier's name")
        if kind not in ("IntervalTier", "TextTier"):
            raise ValueError(
                f"`{file}` has a tier of the class {kind!r}, but IntervalTier or TextTier expected"
            )
        take("a number"), take("a number")
        rows = []
        for _ in range(int(take("a count"))):
            start = take("a number")
            end = take("a number") if kind == "IntervalTier" else start
            rows.append((take("a label"), start, end - start))
        tiers[name] = rows
    if tier is None and len(tiers) == 1:
        tier = next(iter(tiers))
    if tier not in tiers:
        found = "no `tier` was named" if tier is None else f"it has no tier `{tier}`"
        raise ValueError(
            f"`{file}` has {len(tiers)} tiers, and {found}\n"
            f"hint: name one of {', '.join(f'`{name}`' for name in tiers)}"
        )
    rows = tiers[tier]
    return Table(
        {
            "label": np.array([r[0] for r in rows], dtype=object),
            "onset_s": np.array([r[1] for r in rows], dtype=float),
            "duration_s": np.array([r[2] for r in rows], dtype=float),
        }
    )


def _delimited(file: Path, text: str, columns: Sequence[str] | None) -> Table:
    mark = "\t" if file.suffix.lower() == ".tsv" or "\t" in text.split("\n", 1)[0] else ","
    lines = [row for row in csv.reader(text.splitlines(), delimiter=mark) if row]
    if columns is None:
        names, lines = (lines[0] if lines else []), lines[1:]
    else:
        names = as_names(columns, "columns")
    for number, row in enumerate(lines, start=1 + (columns is None)):
        if len(row) != len(names):
            raise ValueError(f"`{file}`, line {number}: {len(row)} fields, but {len(names)} expected")

    def column(wanted: Sequence[str]) -> str | None:
        return next((name for name in wanted if name in names), None)

    onset, offset, duration, label = (column(c) for c in (_ONSETS, _OFFSETS, _DURATIONS, _LABELS))
    if onset is None or (duration is None and offset is None):
        raise ValueError(
            f"`{file}` has the columns {', '.join(names) or 'none'}, but onset and duration (or "
            "offset) expected\n"
            "hint: name the columns of a file without a header with `columns`"
        )

    def seconds(name: str) -> Array:
        cells = [row[names.index(name)].strip() for row in lines]
        values = np.full(len(cells), np.nan)
        for i, cell in enumerate(cells):
            if cell and cell.lower() not in ("n/a", "na", "nan"):
                try:
                    values[i] = float(cell)
                except ValueError:
                    raise ValueError(
                        f"`{file}`, column `{name}`, row {i}: {cell!r}, but seconds expected"
                    ) from None
        return values

    starts = seconds(onset)
    lasts = seconds(duration) if duration is not None else seconds(str(offset)) - starts
    if (lasts < 0).any():
        at = int(np.argmax(lasts < 0))
        raise ValueError(
            f"`{file}`, row {at}: ends {-float(lasts[at]):.6g} s before it begins\nhint: mend the file"
        )
    found: dict[str, Any] = {
        "label": np.array([row[names.index(label)] if label else "" for row in lines], dtype=object),
        "onset_s": starts,
        "duration_s": lasts,
    }
    for name in names:
        if name not in (onset, offset, duration, label):
            found[name] = np.array([row[names.index(name)] for row in lines], dtype=object)
    return Table(found)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class OnClock(Result):
    """Features on the clock of the scanner."""

    #: Volumes × features.
    values: Array
    #: Volumes that no event reaches; their values are 0.
    empty: Array
    #: Events whose time is NaN, or lies before the first or behind the last volume.
    n_outside: int


def to_clock(
    values: Any,
    onset_s: Any,
    *,
    duration_s: Any = None,
    tr_s: float,
    n_volumes: int,
    start_s: float = 0.0,
    method: str = "box",
    lobes: int = 3,
    normalised: bool = False,
) -> OnClock:
    """Features of events (words, frames, clips) on the clock of the scanner.

    Formula: an event's time t is its middle, ``onset + duration / 2``; volume i begins at ``start_s + i ·
    TR``.
    "box": the mean of the events with start ≤ t < start + TR. "lanczos": ``Σ sinc(x) sinc(x / a) · value``
    over
    |x| < a, ``x = (middle of the volume − t) / TR``; the weights sum up to the rate of events, unless
    `normalised` divides by their sum. A volume that nothing reaches is 0, as the sum of nothing is.

    Parameters
    ----------
    values : array, events × features
    onset_s, duration_s : arrays, events
        Seconds; no durations are durations of 0. Events whose onset is NaN reach nothing and are counted.
    tr_s : float
        Seconds per volume.
    n_volumes : int
    start_s : float
        When the first volume begins, on the clock of the events.
    method : {"box", "lanczos"}
        Boxes are for frames and other even streams, Lanczos for words.
    lobes : int
        a of the Lanczos filter.
    normalised : bool

    Returns
    -------
    OnClock
        `values` (volumes × features), `empty` (volumes that nothing reaches), `n_outside`.

    Errors: `ValueError` for times that do not match the rows, NaN among features. Cost: volumes × events.
    Source: Huth et al. 2016; specs nfas-dmd 8.2. The study file does the same with `events`.

    Examples
    --------
    >>> import stereotax as sx
    >>> found = sx.to_clock([[1.0], [3.0], [5.0]], [0.1, 0.8, 4.5], tr_s=2, n_volumes=3)
    >>> found.values.ravel().tolist(), found.empty.tolist()
    ([2.0, 0.0, 5.0], [False, True, False])
    """
    features = np.asarray(to_numpy(values, "values"), dtype=np.float64)
    features = features[:, None] if features.ndim == 1 else features
    onsets = np.asarray(to_numpy(onset_s, "onset_s"), dtype=np.float64).ravel()
    lasts = np.zeros_like(onsets)
    if duration_s is not None:
        lasts = np.asarray(to_numpy(duration_s, "duration_s"), dtype=np.float64).ravel()
    if features.ndim != 2 or len(onsets) != len(features) or len(lasts) != len(features):
        raise ValueError(
            f"`values` has the shape {features.shape}, but {len(onsets)} onsets and {len(lasts)} durations\n"
            "hint: one row, one onset and one duration per event"
        )
    tr, start = as_number(tr_s, "tr_s"), as_number(start_s, "start_s")
    if tr <= 0:
        raise ValueError(f"`tr_s` is {tr_s}, but seconds above 0 expected")
    n = whole(n_volumes, "n_volumes", 10**8, least=1)
    method = _choice("method", method, ("box", "lanczos"))
    times = onsets + lasts / 2
    known = np.isfinite(times)
    if not np.isfinite(features[known]).all():
        raise ValueError("`values` holds NaN or infinities\nhint: drop these events, or give them a number")
    starts = start + tr * np.arange(n)
    a = whole(lobes, "lobes", 100, least=1) if method == "lanczos" else None
    found = _core.to_clock(
        np.ascontiguousarray(features[known]), times[known].tolist(), starts.tolist(), tr, a, bool(normalised)
    )
    with np.errstate(invalid="ignore"):
        inside = known & (times >= start) & (times < start + n * tr)
    return OnClock(found["values"] + 0.0, np.array(found["empty"], dtype=bool), int((~inside).sum()))


def delayed(features: Any, delays: Sequence[int], runs: Any = None) -> Array:
    """Features at several delays, so that a linear fit can shape the haemodynamic response itself (FIR).

    Formula: ``out[t, k q + j] = features[t − d_k, j]``, 0 where t − d_k lies before the run of t.

    Parameters
    ----------
    features : array, volumes × features
    delays : sequence of int
        In volumes, ascending: 1.5 to 9 s are customary (1 to 4 at a TR of 2 s).
    runs : sequence of names, volumes, optional
        Run of each volume; volumes of a run stand together. One run by default.

    Returns
    -------
    array, volumes × (features · delays)

    Errors: `ValueError` for delays that do not ascend, a run no longer than the longest delay.
    Cost: the result. Source: Huth et al. 2016; specs nfas-dmd 8.3.

    Examples
    --------
    >>> import stereotax as sx
    >>> sx.delayed([[1.0], [2.0], [3.0], [4.0]], [0, 1], runs=["a", "a", "b", "b"]).tolist()
    [[1.0, 0.0], [2.0, 1.0], [3.0, 0.0], [4.0, 3.0]]
    """
    x = np.asarray(to_numpy(features, "features"), dtype=np.float64)
    if x.ndim != 2:
        raise ValueError(f"`features` has the shape {x.shape}, but volumes × features expected")
    names = ["run"] * len(x) if runs is None else as_names(runs, "runs")
    if len(names) != len(x):
        raise ValueError(f"`runs` has {len(names)}, but {len(x)} expected (one per volume)")
    return _core.delayed(np.ascontiguousarray(x), names, [whole(d, "delays", 10**6) for d in delays])
