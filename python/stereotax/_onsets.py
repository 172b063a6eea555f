"""Words, phonemes, frames and clips in time."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._arrays import Array, as_names
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
