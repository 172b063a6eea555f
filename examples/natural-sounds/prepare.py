"""Write the study of two audio networks and six auditory-cortex components.

usage: python prepare.py DATA [FOLDER]

DATA is the folder `natsound165_fmri` (see README.md for where it comes from); FOLDER (default
`natural-sounds`) receives study.toml, stimuli.csv and rois.csv. The data are not copied.
"""

import csv
import os
import sys
from pathlib import Path

import numpy as np

COMPONENTS = ["lowfreq", "highfreq", "envsounds", "pitch", "speech", "music"]

STUDY = """\
[study]
name = "natural-sounds"
seed = 7
preset = "robust"

[[stimuli]]
id = "sounds165"
ids = "stimuli.csv"
blocks = "stimulus"

[[brain]]
benchmark = "norman-haignere"
stimuli = "sounds165"
modality = "auditory"
clock = "stimulus"
by_order = true
subjects = [ {{ id = "group", responses = "{data}/fmri_components.npz", key = "response" }} ]
rois = "rois.csv"
nuisance = [ {{ name = "log-band energy", file = "{data}/features_logband32.npz", key = "logband" }} ]

[[model]]
name = "silero-vad"
modality = "audio"
family = "silero"

[model.activations]
file = "{data}/activations_silero_vad.npz"
layers = ["conv1", "conv2", "conv3", "conv4", "lstm"]
stimuli = "sounds165"
by_order = true

[[model]]
name = "crepe-tiny"
modality = "audio"
family = "crepe"

[model.activations]
file = "{data}/activations_crepe_tiny.npz"
layers = ["conv1", "conv2", "conv3", "conv4", "conv5", "conv6"]
stimuli = "sounds165"
by_order = true
"""


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    data = Path(sys.argv[1])
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else "natural-sounds")
    folder.mkdir(parents=True, exist_ok=True)
    names = np.load(data / "audio_16khz.npz", allow_pickle=False)["names"]
    with open(folder / "stimuli.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["stimulus_id"])
        writer.writerows([[name] for name in names])
    with open(folder / "rois.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["roi"])
        writer.writerows([[name] for name in COMPONENTS])
    relative = Path(os.path.relpath(data, folder)).as_posix()
    (folder / "study.toml").write_text(STUDY.format(data=relative))
    print(f"wrote {folder}/study.toml; now: stereotax run {folder}/study.toml --out {folder}/out")


if __name__ == "__main__":
    main()
