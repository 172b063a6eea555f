"""Predict voxels of seven regions from a vision and from a language model: 81 kinds of objects.

usage: python encode.py DATA      (the folder `objects81_fmri`, see README.md)
"""

import json
import sys
from pathlib import Path

import numpy as np
import stereotax as sx

MODELS = ("alexnet_pcs", "word2vec_pcs")


def main(data: Path) -> tuple[sx.Table, sx.Table]:
    found = np.load(data / "data.npz", allow_pickle=False)
    reference = json.loads((data / "reference_numbers.json").read_text())["ridge_alpha100_9fold_mean_voxel_r"]
    voxels, n = found["betas"].astype(float), len(found["betas"])
    order = np.random.RandomState(0).permutation(n)  # the folds of the reference
    splits = [(np.setdiff1d(order, test), test) for test in order.reshape(9, 9)]
    regions = {str(name): found["voxel_roi"] == k for k, name in enumerate(found["roi_names"], start=1)}

    # One penalty for all, as in the reference: is the arithmetic the same?
    fixed = sx.RidgeCV(100.0, alpha_scale="absolute", scale=True, cv=None)
    rows = []
    for model in MODELS:
        predicted = fixed.predict_held_out(found[model].astype(float), voxels, splits)
        r = sx.prediction_score(voxels, predicted)["r"]
        for roi, at in regions.items():
            ours = {"model": model, "region": roi, "r": r[at].mean()}
            rows.append(ours | {"reference": reference[model][roi]})
    compared = sx.Table.from_dicts(rows)

    # A penalty per voxel, chosen within each training set; what the models explain alone and together.
    sets = {key: found[key].astype(float) for key in MODELS}
    sets[MODELS] = np.hstack([sets[key] for key in MODELS])
    chosen = sx.RidgeCV(np.logspace(-2, 5, 15), scale=True, cv="loo")
    predicted = {key: chosen.predict_held_out(X, voxels, splits) for key, X in sets.items()}
    parts = sx.variance_partition(voxels, predicted)
    level, rows = sx.training_means(voxels, splits), []
    for roi, at in regions.items():
        sides = ((side - level)[:, at] for side in (predicted[MODELS], voxels))
        identified = sx.rank_accuracy(*sides)
        alone = [parts.unique(model)[at].mean() for model in MODELS]
        row = {"region": roi, "vision alone": alone[0], "language alone": alone[1]}
        row |= {"shared": parts.shared(*MODELS)[at].mean(), "overfitted": parts.overfitted[at].mean()}
        rows.append(row | {"object found": identified.accuracy, "p": identified.p_value})
    return compared, sx.Table.from_dicts(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(*main(Path(sys.argv[1])), sep="\n\n")
