"""Write the folder of a study from recordings of networks and an array of responses."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._arrays import as_names, as_number, refuse_twice, to_numpy
from ._study import Study
from ._tap import Recording


def write_study(
    folder: str | os.PathLike[str],
    recordings: Mapping[str, Recording],
    responses: Any,
    ids: Sequence[str],
    *,
    rois: Sequence[str],
    model_modality: str,
    brain_modality: str,
    tr_s: float | None = None,
    runs: Sequence[str] | None = None,
    events: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Study:
    """A study of some recorded networks and one recording of a brain, ready to be checked and run.

    Writes study.toml (which you may go on editing), stimuli.csv, rois.csv and responses.npy into `folder`.
    Networks and responses are matched by stimulus id.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    recordings : mapping from name to Recording
        What `tap(model).record(…)` returned. Their files stay where they are.
    responses : array, stimuli × ROIs, or repeats × stimuli × ROIs
        Volumes × ROIs with `tr_s`.
    ids : sequence of str
        One per row (stimulus or volume) of `responses`.
    rois : sequence of str
        Names of the columns (ROIs, voxels, sensors, neurons).
    model_modality, brain_modality : str
        Such as "vision" and "visual".
    tr_s : float, optional
        Seconds per volume, for a time series.
    runs : sequence of names, rows, optional
        Run of each row. A time series needs them if there is more than one.
    events : path, optional
        CSV with stimulus_id, run, onset_s and duration_s of the words or frames that were recorded, where
        networks met events and not volumes.
    seed : int

    Returns
    -------
    Study
        ``.check()`` reads everything, ``.run("results")`` computes and writes the report.

    Errors: `ValueError` for other numbers of ids or names than rows or columns, ids that stand twice, no
    recording, a folder that has a study.toml already. Cost: the responses, written once.
    Source: none; the settings are the preset "robust", docs/reference/study-file.md.

    Examples
    --------
    ``sx.write_study("study", {"resnet18": recorded}, betas, ids, rois=["V1", "V4"], …).run("results")``, see
    docs/guides.md. Without a network there is nothing to study:

    >>> import stereotax as sx
    >>> told = {"rois": ["V1"], "model_modality": "vision", "brain_modality": "visual"}
    >>> sx.write_study("study", {}, [[1.0]], ["a"], **told)
    Traceback (most recent call last):
    ...
    ValueError: `recordings` is empty, but at least one recorded network expected
    """
    if not recordings:
        raise ValueError("`recordings` is empty, but at least one recorded network expected")
    array = np.asarray(to_numpy(responses, "responses"), dtype=np.float64)
    names, targets = as_names(ids, "ids"), as_names(rois, "rois")
    if array.ndim not in (2, 3) or array.shape[-2:] != (len(names), len(targets)):
        raise ValueError(
            f"`responses` has the shape {array.shape}, but {len(names)} rows (ids) × "
            f"{len(targets)} columns (rois) "
            "expected\nhint: repeats are the first of three axes"
        )
    refuse_twice(names, "ids")
    labels = None if runs is None else as_names(runs, "runs")
    if labels is not None and len(labels) != len(names):
        raise ValueError(f"`runs` has {len(labels)}, but {len(names)} expected (one per row)")
    if events is not None and tr_s is None:
        raise ValueError("`events` need `tr_s`, the clock that they are brought to")
    place = Path(folder)
    if (place / "study.toml").exists():
        raise ValueError(
            f"`{place / 'study.toml'}` is there already\nhint: give another folder, or run it as it is"
        )
    place.mkdir(parents=True, exist_ok=True)

    def text(value: str) -> str:
        return json.dumps(value, ensure_ascii=False)

    def relative(path: str | os.PathLike[str]) -> str:
        return text(Path(os.path.relpath(path, place)).as_posix())

    def table(name: str, header: list[str], rows: list[list[str]]) -> None:
        with open(place / name, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])

    np.save(place / "responses.npy", array)
    table("rois.csv", ["roi"], [[t] for t in targets])
    if labels is None:
        table("stimuli.csv", ["stimulus_id"], [[n] for n in names])
    else:
        table("stimuli.csv", ["stimulus_id", "run"], [[n, r] for n, r in zip(names, labels, strict=True)])
    clock = '"stimulus"' if tr_s is None else f"{{ tr_s = {as_number(tr_s, 'tr_s'):g} }}"
    axes = ', axes = ["repeat", "stimulus", "target"]' if array.ndim == 3 else ""
    lines = [
        "[study]",
        f"name = {text(place.resolve().name)}",
        f"seed = {int(seed)}",
        "",
        "[[stimuli]]",
        'id = "stimuli"',
        'ids = "stimuli.csv"',
        f"blocks = {text('stimulus' if tr_s is None else 'segment:30s')}",
        "",
        "[[brain]]",
        'benchmark = "brain"',
        'stimuli = "stimuli"',
        f"modality = {text(brain_modality)}",
        f"clock = {clock}",
        "by_order = true",
        'rois = "rois.csv"',
        f'subjects = [ {{ id = "subject", responses = "responses.npy"{axes} }} ]',
    ]
    for name, made in recordings.items():
        lines += [
            "",
            "[[model]]",
            f"name = {text(str(name))}",
            f"modality = {text(model_modality)}",
            f"family = {text(str(name))}",
            "",
            "[model.activations]",
            f"file = {relative(made.file)}",
            f"ids = {relative(made.ids_file)}",
            f"layers = [{', '.join(text(layer) for layer in made.layers)}]",
            'stimuli = "stimuli"',
        ]
        if events is not None:
            lines.append(f"events = {relative(events)}")
    (place / "study.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Study(place / "study.toml")
