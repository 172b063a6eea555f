"""Bring Narratives, Algonauts 2021 and The Little Prince, as they lie on disk, into what a study reads.

Each function writes stimuli.csv, rois.csv, one .npy per subject (and events.csv for words) into a folder, and
returns the [[stimuli]] and [[brain]] of study.toml that use them. Nothing is downloaded. What was left out is
counted in `notes`.
"""

import csv
import json
from pathlib import Path

import numpy as np
import plain_pickle
import stereotax as sx

#: Columns of `align.csv`, which has no header.
GENTLE = ["word", "matched", "onset", "offset"]
ALGONAUTS_ROIS = ["V1", "V2", "V3", "V4", "LOC", "EBA", "FFA", "STS", "PPA"]


def narratives(root, story, atlas, out, space="MNI152NLin2009cAsym"):
    """One story of Narratives (OpenNeuro ds002345): fMRIPrep's volumes by ROI, words by Gentle's alignment.

    `root` holds `derivatives/fmriprep`, `stimuli/gentle/STORY/align.csv` and the events of each subject.
    """
    root, out = Path(root), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    runs = sx.bids_runs(root / "derivatives" / "fmriprep", task=story, space=space, raw=root)
    first = {}
    for run in runs:  # a subject who heard the story twice counts once
        first.setdefault(run.subject, run)
    notes = (
        [f"{len(runs) - len(first)} further runs of the same subjects are left out"]
        if len(runs) > len(first)
        else []
    )
    begins = {subject: _story_onset(run) for subject, run in first.items()}
    if max(begins.values()) - min(begins.values()) > 0.5:
        raise ValueError(
            f"the story begins at different times for {sorted(begins, key=begins.get)[:2]}: {begins}"
        )
    series, labels, tr_s = _by_roi(first, atlas, notes)
    _save(
        out,
        "stimuli.csv",
        ["stimulus_id", "run", "onset_s"],
        _volumes(story, len(next(iter(series.values()))), tr_s),
    )
    words = sx.read_onsets(root / "stimuli" / "gentle" / story / "align.csv", columns=GENTLE)
    start = next(iter(begins.values()))
    heard = _words(words, story, start, notes)
    _save(out, "events.csv", ["stimulus_id", "run", "onset_s", "duration_s", "word"], heard)
    return _finish(out, f"narratives-{story}", "auditory", series, labels, {"tr_s": tr_s}, notes)


def little_prince(root, atlas, out, language="EN", space="MNIColin27"):
    """The Little Prince (OpenNeuro ds003643): nine sections, `annotation/EN/lppEN_word_information.csv`."""
    root, out = Path(root), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    runs = sx.bids_runs(root / "derivatives", task=f"lpp{language}", space=space, raw=root)
    by_subject = {}
    for run in runs:  # runs are numbered on from other scans; their order is that of the sections
        by_subject.setdefault(run.subject, []).append(run)
    n_sections = max(map(len, by_subject.values()))
    short = sorted(s for s, mine in by_subject.items() if len(mine) < n_sections)
    notes = [f"{len(short)} subjects lack sections and are left out: {', '.join(short)}"] if short else []
    whole = {s: mine for s, mine in by_subject.items() if len(mine) == n_sections}
    table = sx.read_onsets(root / "annotation" / language / f"lpp{language}_word_information.csv")
    series, rows, labels, tr_s = {}, [], None, None
    for section in range(n_sections):
        part, labels, tr_s = _by_roi({s: mine[section] for s, mine in whole.items()}, atlas, notes)
        for subject, values in part.items():
            series.setdefault(subject, []).append(values)
        rows += _volumes(f"section{section + 1}", len(next(iter(part.values()))), tr_s)
    sections = [f"section{int(float(s))}" for s in table["section"]]
    _save(out, "stimuli.csv", ["stimulus_id", "run", "onset_s"], rows)
    _save(
        out, "events.csv", ["stimulus_id", "run", "onset_s", "duration_s", "word"],
        _words(table, sections, 0.0, notes),
    )  # fmt: skip
    joined = {subject: np.concatenate(parts) for subject, parts in series.items()}
    return _finish(out, f"little-prince-{language}", "auditory", joined, labels, {"tr_s": tr_s}, notes)


def algonauts2021(root, out, track="mini_track"):
    """Algonauts 2021: `participants_data_v2021/mini_track/sub01/V1.pkl` … (1000 films × 3 repeats × voxels).

    The files are pickles. They are read by a reader that runs nothing; a file with more than plain arrays
    is refused.
    """
    folder, out = Path(root) / "participants_data_v2021" / track, Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"`{folder}` is not there\nhint: unpack participants_data_v2021.zip into `{root}`"
        )
    series, rois, notes = {}, None, []
    for place in sorted(folder.glob("sub*")):
        means = {}
        for file in sorted(place.glob("*.pkl"), key=lambda p: (_rank(p.stem), p.stem)):
            found = plain_pickle.load(file)
            if not isinstance(found, dict) or getattr(found.get("train"), "ndim", 0) != 3:
                raise ValueError(f"`{file}` has no array `train` of films × repeats × voxels")
            means[file.stem] = found["train"].mean(axis=2, dtype=np.float64).T  # repeats × films
        if rois is not None and list(means) != rois:
            raise ValueError(
                f"`{place}` has the regions {list(means)}, but {rois} expected, as in the first subject"
            )
        rois = list(means)
        series[place.name] = np.stack(list(means.values()), axis=2)  # repeats × films × rois
    n = {subject: values.shape[1] for subject, values in series.items()}
    if len(set(n.values())) != 1:
        raise ValueError(f"subjects have different numbers of films: {n}")
    films = sorted(p.stem for p in (Path(root) / "AlgonautsVideos268_All_30fpsmax").glob("*.mp4"))
    if films and len(films) < next(iter(n.values())):
        raise ValueError(f"there are {len(films)} films, but {next(iter(n.values()))} responses")
    if not films:
        notes.append("the films are not there; their ids are their numbers")
        films = [f"{i + 1:04d}" for i in range(next(iter(n.values())))]
    # Responses are of the first films in order of name; the others are the challenge's test set.
    _save(out, "stimuli.csv", ["stimulus_id"], [[name] for name in films[: next(iter(n.values()))]])
    return _finish(out, f"algonauts2021-{track}", "visual", series, rois, "stimulus", notes)


def _rank(roi):
    return ALGONAUTS_ROIS.index(roi) if roi in ALGONAUTS_ROIS else len(ALGONAUTS_ROIS)


def _story_onset(run):
    """Seconds from the first volume to the story; 0 where no event says so."""
    if run.events is None:
        raise FileNotFoundError(
            f"`{run.bold}` has no events.tsv\nhint: the raw data set must lie beside derivatives"
        )
    events = sx.read_onsets(run.events)
    story = [i for i, label in enumerate(events["label"]) if str(label).lower().startswith("story")]
    if not story:
        raise ValueError(f"`{run.events}` has no event `story`\nhint: it has {sorted(set(events['label']))}")
    return float(events["onset_s"][story[0]])


def _by_roi(runs, atlas, notes):
    found = {subject: sx.roi_means(run.bold, atlas, resample_labels=True) for subject, run in runs.items()}
    lengths = {subject: len(f.values) for subject, f in found.items()}
    shortest = min(lengths.values())
    if max(lengths.values()) > shortest:
        notes.append(f"volumes behind the shortest run ({shortest}) are left out: {lengths}")
    steps = {s: run.tr_s or found[s].tr_s for s, run in runs.items()}
    if len(set(steps.values())) != 1 or None in steps.values():
        raise ValueError(f"repetition times differ or are not known: {steps}")
    labels = [str(int(v)) for v in next(iter(found.values())).rois["label"]]
    series = {subject: f.values[:shortest] for subject, f in found.items()}
    kept = ~np.any([np.isnan(s).any(axis=0) for s in series.values()], axis=0)
    if not kept.all():
        notes.append(f"{int((~kept).sum())} regions without usable voxels in some subject are left out")
    return (
        {s: v[:, kept] for s, v in series.items()},
        [r for r, k in zip(labels, kept, strict=True) if k],
        steps.popitem()[1],
    )


def _volumes(run, n, tr_s):
    return [[f"{run}_{i:04d}", run, f"{i * tr_s:.6g}"] for i in range(n)]


def _words(table, runs, start, notes):
    runs = [runs] * len(table["label"]) if isinstance(runs, str) else runs
    known = np.isfinite(table["onset_s"]) & np.isfinite(table["duration_s"])
    if not known.all():
        notes.append(f"{int((~known).sum())} of {len(known)} words have no time and are left out")
    rows = []
    for i in np.flatnonzero(known):
        onset = table["onset_s"][i] + start
        rows.append(
            [f"word{i:05d}", runs[i], f"{onset:.4f}", f"{table['duration_s'][i]:.4f}", table["label"][i]]
        )
    return rows


def _save(out, name, header, rows):
    with open(out / name, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _finish(out, name, modality, series, rois, clock, notes):
    _save(out, "rois.csv", ["roi"], [[roi] for roi in rois])
    subjects = []
    for subject, values in series.items():
        np.save(out / f"{subject}.npy", values)
        axes = ', axes = ["repeat", "stimulus", "target"]' if values.ndim == 3 else ""
        subjects.append(f'  {{ id = "{subject}", responses = "{out.name}/{subject}.npy"{axes} }},')
    told = json.dumps(clock) if isinstance(clock, str) else f"{{ tr_s = {clock['tr_s']:g} }}"
    blocks = "stimulus" if isinstance(clock, str) else "segment:30s"
    lines = [
        "[[stimuli]]",
        f'id = "{name}"',
        f'ids = "{out.name}/stimuli.csv"',
        f'blocks = "{blocks}"',
        "",
        "[[brain]]",
        f'benchmark = "{name}"',
        f'stimuli = "{name}"',
        f'modality = "{modality}"',
        f"clock = {told}",
        "by_order = true",
        f'rois = "{out.name}/rois.csv"',
        "subjects = [",
        *subjects,
        "]",
        "",
    ]
    return {"toml": "\n".join(lines), "notes": notes, "n_subjects": len(series), "rois": rois}
