"""From networks to three reports: vision on V4 neurons, audio on auditory cortex, language on EEG and
reading.

usage: python run.py DATA [FOLDER] [vision|audio|language …]

DATA is the folder with v4_neurons_images, natsound165_fmri, ucl_sentences_eeg_reading and networks (see
README.md).
FOLDER (default `three-modalities`) receives a study each, with recordings, study.toml, results and
report.html. The
three share no regions and no stimuli, so they are three studies, each with a space of its own.
"""

import csv
import io
import sys
import zipfile
from pathlib import Path

import networks
import numpy as np
import stereotax as sx
import torch

EEG = ["ELAN", "LAN", "N400", "EPNP", "P600", "PNP"]
READING = ["RTfirstfix", "RTfirstpass", "RTrightbound", "RTgopast", "self_paced_reading_time"]

STUDY = """\
[study]
name = "{name}"
seed = 7
preset = "robust"

[[stimuli]]
id = "{stimuli}"
ids = "stimuli.csv"
blocks = "stimulus"

[[brain]]
benchmark = "{benchmark}"
stimuli = "{stimuli}"
modality = "{modality}"
clock = "stimulus"
by_order = true
subjects = [ {{ id = "group", responses = "responses.npz", key = "responses"{axes} }} ]
rois = "rois.csv"
nuisance = [ {{ name = "{nuisance}", file = "responses.npz", key = "nuisance" }} ]

{models}
[analysis.nfas]

[analysis.encoding]
reduce = "pca:64"
"""


def table(path, header, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def about(stimuli, benchmark, modality, nuisance, models, axes=""):
    """What the study file says beside its name."""
    told = {"stimuli": stimuli, "benchmark": benchmark, "modality": modality, "nuisance": nuisance}
    return told | {"models": "\n".join(models), "axes": axes}


def vision(data, folder):
    """640 images, 50 neurons of macaque V4, six repeats; MobileNet and Tiny Darknet."""
    from PIL import Image

    with zipfile.ZipFile(data / "v4_neurons_images" / "images_210325.zip") as file:
        names = sorted(n for n in file.namelist() if n.endswith(".jpg"))
        shown = [Image.open(io.BytesIO(file.read(n))).convert("RGB") for n in names]
    pixels = [np.asarray(i.resize((224, 224), Image.BILINEAR)).transpose(2, 0, 1) for i in shown]
    ids = [Path(n).stem for n in names]
    small = np.stack([np.asarray(i.resize((8, 8), Image.BILINEAR)).ravel() for i in shown]) / 255.0
    with np.load(data / "v4_neurons_images" / "responses_210325.npz") as file:
        trials = file["responses_trials"][:, :, :6].transpose(2, 1, 0).astype(float)  # all images have six
    np.savez(folder / "responses.npz", responses=trials, nuisance=small)
    table(folder / "stimuli.csv", ["stimulus_id"], [[i] for i in ids])
    table(folder / "rois.csv", ["roi", "network"], [[f"neuron{n:02d}", "V4"] for n in range(trials.shape[2])])
    models = []
    for name, build, bring in (
        ("mobilenet_v1_075", networks.mobilenet, lambda x: x / 127.5 - 1),
        ("darknet_tiny", networks.darknet, lambda x: x / 255),
    ):
        tap = sx.tap(build(data / "networks" / name))
        made = tap.record(
            pixels, folder / f"{name}.safetensors", ids=ids,
            prepare=lambda batch, bring=bring: bring(torch.from_numpy(np.stack(batch)).float()),
        )  # fmt: skip
        models.append(made.study_lines(name, "vision", "images640", family=name.split("_")[0]))
    axes = ', axes = ["repeat", "stimulus", "target"]'
    return about("images640", "v4-neurons", "visual", "8 x 8 pixels", models, axes)


def audio(data, folder):
    """165 natural sounds, six components of auditory cortex; Silero VAD and CREPE."""
    with np.load(data / "natsound165_fmri" / "audio_16khz.npz") as file:
        sounds, ids = file["audio"].astype("f4") / 32768, [str(n) for n in file["names"]]
    with np.load(data / "natsound165_fmri" / "fmri_components.npz") as file:
        responses, names = file["response"], [str(n) for n in file["component_names"]]
    with np.load(data / "natsound165_fmri" / "features_logband32.npz") as file:
        bands = file["logband"]
    np.savez(folder / "responses.npz", responses=responses, nuisance=bands)
    table(folder / "stimuli.csv", ["stimulus_id"], [[i] for i in ids])
    table(folder / "rois.csv", ["roi"], [[n] for n in names])
    models = []
    for name, build in (("silero_vad_16k", networks.Silero), ("crepe_tiny", networks.FramedCrepe)):
        tap = sx.tap(build(data / "networks" / name).eval(), "layers.*")
        made = tap.record(sounds, folder / f"{name}.safetensors", ids=ids)
        models.append(made.study_lines(name, "audio", "sounds165", family=name.split("_")[0]))
    return about("sounds165", "norman-haignere", "auditory", "log-band energy", models)


def language(data, folder):
    """1726 words of 205 sentences, six EEG components and five reading times; MiniLM and two "
    "character LSTMs."""
    with open(data / "ucl_sentences_eeg_reading" / "all_measures.csv", newline="", encoding="utf-8") as file:
        words = [w for w in csv.DictReader(file) if w["Subtlex_log10"] not in ("", "NA")]
    words.sort(key=lambda w: (int(w["sent_id"]), int(w["context_length"])))
    sentences = sorted({int(w["sent_id"]) for w in words})
    # Ten runs of whole sentences: no sentence is both in training and in test.
    run = {s: f"part{i % 10}" for i, s in enumerate(sentences)}
    words.sort(key=lambda w: (run[int(w["sent_id"])], int(w["sent_id"]), int(w["context_length"])))
    ids = [f"{w['sent_id']}_{w['context_length']}_{w['word']}" for w in words]
    texts = [" ".join([*w["sentence"].split()[: int(w["context_length"])], w["word"]]) for w in words]
    columns = EEG + READING
    responses = np.array([[float(w[c]) for c in columns] for w in words])
    nuisance = np.array(
        [[float(w["length"]), float(w["Subtlex_log10"]), float(w["context_length"])] for w in words]
    )
    np.savez(folder / "responses.npz", responses=responses, nuisance=nuisance)
    table(
        folder / "stimuli.csv",
        ["stimulus_id", "run"],
        [[i, run[int(w["sent_id"])]] for i, w in zip(ids, words, strict=True)],
    )
    kinds = ["EEG"] * len(EEG) + ["reading"] * len(READING)
    table(folder / "rois.csv", ["roi", "network"], list(zip(columns, kinds, strict=True)))
    models = []
    model, prepare = networks.minilm()
    made = sx.tap(model, pool="last").record(texts, folder / "minilm.safetensors", ids=ids, prepare=prepare)
    models.append(made.study_lines("all-minilm-l6-v2", "language", "words", family="minilm"))
    for name in ("charlstm_darwin", "charlstm_charlotte_bronte"):
        model = networks.CharLSTM(data / "networks" / name).eval()
        tap = sx.tap(model, ["embedding", "layers.*"], pool="last")
        made = tap.record(texts, folder / f"{name}.safetensors", ids=ids, prepare=model.prepare)
        models.append(made.study_lines(name, "language", "words", family="charlstm"))
    return about("words", "ucl-sentences", "reading", "length, frequency, position", models)


def main(data, folder, which):
    for make in (vision, audio, language):
        name = make.__name__
        if which and name not in which:
            continue
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        told = make(data, place)
        (place / "study.toml").write_text(STUDY.format(name=name, **told), encoding="utf-8")
        sx.Study(place / "study.toml").run(place / "results")
        print(f"{name}: {place / 'results' / 'report.html'}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    rest = sys.argv[2:]
    kinds = [w for w in rest if w in ("vision", "audio", "language")]
    folders = [w for w in rest if w not in kinds]
    main(Path(sys.argv[1]), Path(folders[0] if folders else "three-modalities"), kinds)
