"""Write one benchmark's part of the study: responses by ROI, stimuli, words.

usage: python prepare.py narratives ROOT STORY ATLAS OUT
       python prepare.py little-prince ROOT ATLAS OUT
       python prepare.py algonauts2021 ROOT OUT

ROOT is the data set as it lies on disk after download, ATLAS a label volume (.nii.gz), OUT the folder of
the study.
OUT/BENCHMARK receives the files, OUT/BENCHMARK.toml the lines of study.toml. Networks are recorded with
sx.tap (see
README.md); `python prepare.py study OUT` then writes OUT/study.toml from all parts and recordings that are
there.
"""

import json
import sys
from pathlib import Path

import adapters
import networks


def study(out):
    """study.toml from the parts in `out`, with every network that has been recorded for them."""
    out = Path(out)
    parts = sorted(p for p in out.glob("*.toml") if p.name != "study.toml")
    if not parts:
        raise FileNotFoundError(f"`{out}` has no part yet\nhint: prepare a benchmark first")
    lines = ['[study]\nname = "nfas-45"\nseed = 45\npreset = "paper_literal"\n']
    lines += [part.read_text(encoding="utf-8") for part in parts]
    n = 0
    for entry in networks.models():
        stores = sorted(out.glob(f"*/activations/{entry['name']}.json"))
        for store in stores:
            told = json.loads(store.read_text(encoding="utf-8"))
            place = store.parent.relative_to(out).as_posix()
            if store == stores[0]:
                told_by = ("name", "modality", "family")
                lines.append("[[model]]\n" + "".join(f'{key} = "{entry[key]}"\n' for key in told_by))
                n += 1
            benchmark = store.parts[-3]
            here = [
                "[[model.activations]]",
                f'file = "{place}/{entry["name"]}.safetensors"',
                f'ids = "{place}/{entry["name"]}.csv"',
                f"layers = [{', '.join(json.dumps(layer) for layer in told['layers'])}]",
                f'stimuli = "{benchmark}"',
            ]
            if told["events"]:
                here.append(f'events = "{benchmark}/events.csv"')
            lines.append("\n".join(here) + "\n")
    (out / "study.toml").write_text("\n".join(lines), encoding="utf-8")
    return n


def record(entry, model, stimuli, out, benchmark, prepare=None, events=False, **how):
    """Record one network for one benchmark where `study` finds it; goes on where it was stopped."""
    import stereotax as sx

    folder = Path(out) / benchmark / "activations"
    folder.mkdir(parents=True, exist_ok=True)
    tap = sx.tap(model, entry["layers"], pool=entry["pool"])
    made = tap.record(stimuli, folder / f"{entry['name']}.safetensors", prepare=prepare, **how)
    told = {"layers": made.layers, "events": events}
    (folder / f"{entry['name']}.json").write_text(json.dumps(told), encoding="utf-8")
    return made


def main(words):
    if len(words) < 2:
        sys.exit(__doc__)
    kind, *rest = words
    if kind == "study":
        sys.exit(f"{rest[0]}/study.toml has {study(rest[0])} networks")
    out = Path(rest[-1])
    if kind == "narratives" and len(rest) == 4:
        name = f"narratives-{rest[1]}"
        made = adapters.narratives(rest[0], rest[1], rest[2], out / name)
    elif kind == "little-prince" and len(rest) == 3:
        name = "little-prince-EN"
        made = adapters.little_prince(rest[0], rest[1], out / name)
    elif kind == "algonauts2021" and len(rest) == 2:
        name = "algonauts2021-mini_track"
        made = adapters.algonauts2021(rest[0], out / name)
    else:
        sys.exit(__doc__)
    (out / f"{name}.toml").write_text(made["toml"], encoding="utf-8")
    for note in made["notes"]:
        print("note:", note, file=sys.stderr)
    print(f"{name}: {made['n_subjects']} subjects, {len(made['rois'])} regions")


if __name__ == "__main__":
    main(sys.argv[1:])
