"""Find the runs of BIDS derivatives (fMRIPrep), and read their confounds."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ._arrays import Array, as_names
from ._base import Result
from ._ridge import _choice

_ENTITY = re.compile(r"([a-z]+)-([A-Za-z0-9+]+)")
_BOLD = (".nii.gz", ".nii", ".func.gii", ".dtseries.nii")


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class BidsRun(Result):
    """One run of one subject. Entities that its name lacks are empty."""

    subject: str
    session: str
    task: str
    run: str
    space: str
    hemisphere: str
    description: str
    bold: str
    #: Table of confounds beside it, if any.
    confounds: str | None
    #: Table of events, beside it or in the raw data set, if any.
    events: str | None
    #: RepetitionTime of the file's own .json or of one above it, if any.
    tr_s: float | None


def bids_runs(
    root: str | os.PathLike[str],
    *,
    subject: str | None = None,
    session: str | None = None,
    task: str | None = None,
    space: str | None = None,
    description: str | None = None,
    raw: str | os.PathLike[str] | None = None,
) -> list[BidsRun]:
    """Runs of functional data under a folder of BIDS derivatives, in order of subject, session, task and run.

    Parameters
    ----------
    root : path
        A folder with `sub-…` folders: fMRIPrep's output, or any other with names after BIDS.
    subject, session, task, space, description : str, optional
        Only these, without the key in front ("01", "tunnel", "MNI152NLin2009cAsym", "preproc").
    raw : path, optional
        The data set that `root` derives from, where events and repetition times may stand.

    Returns
    -------
    list of BidsRun
        `bold` (volumes or surfaces), `confounds`, `events`, `tr_s` and the entities of the name.

    Errors: `FileNotFoundError` if there is no such folder, `ValueError` if no run fits, with what there is.
    Runs are ordered by number where they are numbers. Cost: one walk through the folders; no image is opened.
    Source: BIDS 1.10, functional data and derivatives.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import stereotax as sx
    >>> folder = pathlib.Path(tempfile.mkdtemp(), "sub-01", "func")
    >>> folder.mkdir(parents=True)
    >>> for run in ("10", "2"):
    ...     (folder / f"sub-01_task-story_run-{run}_space-T1w_desc-preproc_bold.nii.gz").touch()
    >>> [(run.subject, run.run, run.space) for run in sx.bids_runs(folder.parents[1], task="story")]
    [('01', '2', 'T1w'), ('01', '10', 'T1w')]
    """
    folder = Path(root)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"`{folder}` is no folder\nhint: give the folder that holds sub-01, sub-02, …"
        )
    wanted = {"sub": subject, "ses": session, "task": task, "space": space, "desc": description}
    found, seen = [], []
    for path in sorted(folder.glob("sub-*/**/func/*")):
        ending = next((end for end in _BOLD if path.name.endswith(end)), None)
        stem = path.name[: -len(ending)] if ending else ""
        if not ending or not (stem.endswith("_bold") or ending == ".func.gii"):
            continue
        entities = dict(_ENTITY.findall(stem))
        seen.append(entities)
        if any(value is not None and entities.get(key) != str(value) for key, value in wanted.items()):
            continue
        found.append(_run(path, stem, entities, [folder] + ([Path(raw)] if raw else [])))
    if not found:
        there = {
            key: sorted({e[key] for e in seen if key in e})[:6]
            for key in wanted
            if any(key in e for e in seen)
        }
        told = ", ".join(f"{key}: {' '.join(values)}" for key, values in there.items()) or "no functional run"
        asked = ", ".join(f"{key}-{value}" for key, value in wanted.items() if value is not None)
        raise ValueError(f"`{folder}` has no run with {asked or 'a known ending'}\nhint: there is {told}")

    def order(run: BidsRun) -> tuple[object, ...]:
        numbers = tuple((int(v) if v.isdigit() else -1, v) for v in (run.subject, run.session))
        return (*numbers, run.task, int(run.run) if run.run.isdigit() else -1, run.run, run.bold)

    return sorted(found, key=order)


def _run(path: Path, stem: str, entities: dict[str, str], roots: list[Path]) -> BidsRun:
    keys = [f"{k}-{entities[k]}" for k in ("sub", "ses", "task", "acq", "run") if k in entities]
    base = "_".join(keys)
    beside = [
        path.with_name(f"{base}_{end}")
        for end in ("desc-confounds_timeseries.tsv", "desc-confounds_regressors.tsv")
    ]
    inside = path.parent.relative_to(roots[0])
    events = [
        r / place / f"{name}_events.tsv"
        for name in (base, _without(base, "run"))
        for r in roots
        for place in (inside, Path())
    ]
    events += [r / f"task-{entities.get('task', '')}_events.tsv" for r in roots]
    return BidsRun(
        subject=entities.get("sub", ""),
        session=entities.get("ses", ""),
        task=entities.get("task", ""),
        run=entities.get("run", ""),
        space=entities.get("space", ""),
        hemisphere=entities.get("hemi", ""),
        description=entities.get("desc", ""),
        bold=str(path),
        confounds=next((str(p) for p in beside if p.is_file()), None),
        events=next((str(p) for p in events if p.is_file()), None),
        tr_s=_tr(path.with_name(f"{stem}.json"), base, entities, inside, roots),
    )


def _without(base: str, key: str) -> str:
    return re.sub(rf"_{key}-[A-Za-z0-9]+", "", base)


def _tr(own: Path, base: str, entities: dict[str, str], inside: Path, roots: list[Path]) -> float | None:
    task = f"task-{entities.get('task', '')}_bold.json"
    places = [own] + [r / inside / f"{base}_bold.json" for r in roots] + [r / task for r in roots]
    for place in places:
        if place.is_file():
            told = json.loads(place.read_text(encoding="utf-8"))
            value = told.get("RepetitionTime") if isinstance(told, dict) else None
            if isinstance(value, int | float) and value > 0:
                return float(value)
    return None


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Confounds(Result):
    """Nuisance series of one run."""

    #: Volumes × confounds.
    values: Array
    names: list[str]
    #: Entries that the file has as n/a (a derivative has no first value) and that were filled.
    n_filled: int


def read_confounds(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None, *, missing: str = "mean"
) -> Confounds:
    """Confounds of one run, as fMRIPrep writes them.

    Parameters
    ----------
    path : path
        A table of confounds (TSV).
    columns : sequence of str, optional
        Which; a `*` at the end takes all that begin so ("a_comp_cor_*"). Default: six motion parameters.
    missing : {"mean", "zero", "refuse"}
        What n/a becomes: the mean of its column, 0, or an error.

    Returns
    -------
    Confounds
        `values` (volumes × confounds), `names`, `n_filled`.

    Errors: `ValueError` for columns that are not there, cells that are no numbers, a column without any
    number. Cost: the file once. Source: fMRIPrep's confounds; BIDS 1.10.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import stereotax as sx
    >>> path = pathlib.Path(tempfile.mkdtemp(), "confounds.tsv")
    >>> _ = path.write_text("trans_x\\tcsf\\tcsf_derivative1\\n0.1\\t5\\tn/a\\n0.2\\t7\\t2\\n")
    >>> found = sx.read_confounds(path, ["csf*"])
    >>> found.names, found.values.tolist(), found.n_filled
    (['csf', 'csf_derivative1'], [[5.0, 2.0], [7.0, 2.0]], 1)
    """
    missing = _choice("missing", missing, ("mean", "zero", "refuse"))
    file = Path(path)
    with open(file, newline="", encoding="utf-8-sig") as stream:
        lines = list(csv.reader(stream, delimiter="\t"))
    names, rows = (lines[0] if lines else []), lines[1:]
    motion = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
    chosen: list[str] = []
    for wanted in motion if columns is None else as_names(columns, "columns"):
        here = [n for n in names if n == wanted or (wanted.endswith("*") and n.startswith(wanted[:-1]))]
        if not here:
            raise ValueError(
                f"`{file}` has no column `{wanted}`\nhint: there is {', '.join(names[:12]) or 'none'}"
            )
        chosen += [name for name in here if name not in chosen]
    values = np.full((len(rows), len(chosen)), np.nan)
    for j, name in enumerate(chosen):
        k = names.index(name)
        for i, row in enumerate(rows):
            cell = row[k].strip() if k < len(row) else ""
            if cell.lower() not in ("n/a", "nan", ""):
                try:
                    values[i, j] = float(cell)
                except ValueError:
                    raise ValueError(
                        f"`{file}`, line {i + 2}, column `{name}`: {cell!r}, but a number expected"
                    ) from None
    gaps = ~np.isfinite(values)
    if gaps.any() and missing == "refuse":
        i, j = np.argwhere(gaps)[0]
        raise ValueError(
            f"`{file}`, line {i + 2}, column `{chosen[j]}`: no number\nhint: missing='mean' or 'zero'"
        )
    for j, name in enumerate(chosen):
        if gaps[:, j].all():
            raise ValueError(f"`{file}`, column `{name}` has no number at all\nhint: leave it out")
        values[gaps[:, j], j] = 0.0 if missing == "zero" else values[~gaps[:, j], j].mean()
    return Confounds(values, chosen, int(gaps.sum()))
