"""Write the study that puts a vision and a language model beside seven regions: 81 kinds of objects.

usage: python areas.py DATA [FOLDER]

DATA is the folder `objects81_fmri` (see README.md for where it comes from); FOLDER (default `object-areas`)
receives study.toml, stimuli.csv and voxels.csv. The data are not copied.
"""

import csv
import os
import sys
from pathlib import Path

import numpy as np

STUDY = """\
[study]
name = "object-areas"
seed = 7

[[stimuli]]
id = "objects"
ids = "stimuli.csv"

[[brain]]
benchmark = "object2vec"
stimuli = "objects"
modality = "visual"
by_order = true
voxels = true
rois = "voxels.csv"                  # column network: the region of each voxel
subjects = [ {{ id = "one", responses = "{data}/data.npz", key = "betas" }} ]

[[model]]
name = "alexnet"
modality = "vision"
family = "alexnet"
activations = {{ file = "{data}/data.npz", layers = ["alexnet_pcs"], stimuli = "objects", by_order = true }}

[[model]]
name = "word2vec"
modality = "language"
family = "word2vec"
activations = {{ file = "{data}/data.npz", layers = ["word2vec_pcs"], stimuli = "objects", by_order = true }}

[analysis.similarity]
measures = ["cka_debiased", "rsa_spearman", "procrustes_angular"]
"""


def write(data: Path, folder: Path) -> Path:
    """Write the study, and say where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    found = np.load(data / "data.npz", allow_pickle=False)
    with open(folder / "stimuli.csv", "w", newline="") as file:
        csv.writer(file).writerows([["stimulus_id"], *([str(name)] for name in found["conditions"])])
    names = [str(name) for name in found["roi_names"]]
    with open(folder / "voxels.csv", "w", newline="") as file:
        rows = [[f"voxel{v:03}", names[roi - 1]] for v, roi in enumerate(found["voxel_roi"])]
        csv.writer(file).writerows([["roi", "network"], *rows])
    study = folder / "study.toml"
    study.write_text(STUDY.format(data=Path(os.path.relpath(data, folder)).as_posix()))
    return study


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    made = write(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "object-areas"))
    print(f"stereotax run {made} --out {made.parent / 'out'}")
