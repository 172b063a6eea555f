"""Tell two nouns apart by what a model of their meaning predicts of a brain: leave-two-out, 9 people.

usage: python leave_two_out.py DATA      (the folder `nouns60_fmri`, see README.md)
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import stereotax as sx


def main(data: Path) -> sx.Table:
    found = np.load(data / "data.npz", allow_pickle=False)
    reference = json.loads((data / "reference_numbers.json").read_text())
    reference = reference["leave_two_out_accuracy_spose66_ridge10_no_voxel_selection"]
    words = found["words"].tolist()
    kept = [words.index(word) for word in found["spose66_words"]]  # 53 of 60 nouns have a row
    brains = found["fmri"][:, kept].astype(float)  # people × words × voxels
    category = found["category"][kept]
    meaning = found["spose66"].astype(float)
    n_people, n, _ = brains.shape

    # As the reference: features standardised over all words, targets about the mean of the training words, no
    # intercept, one penalty. Ridge is linear in its targets, so one-hot targets tell what every training word
    # contributes to a prediction, for all people and voxels at once.
    features = (meaning - meaning.mean(axis=0)) / meaning.std(axis=0)
    ridge = sx.RidgeCV(10.0, alpha_scale="absolute", fit_intercept=False, cv=None)
    pairs = np.array(list(itertools.combinations(range(n), 2)))
    won = np.empty((len(pairs), n_people))
    for k, pair in enumerate(pairs):
        train = np.setdiff1d(np.arange(n), pair)
        contributions = ridge.fit(features[train], np.eye(n - 2)).predict(features[pair])
        for person, brain in enumerate(brains):
            level = brain[train].mean(axis=0)
            predicted = contributions @ (brain[train] - level)
            won[k, person] = sx.two_vs_two(predicted, brain[pair] - level, n_permutations=0).accuracy

    # With a test: every word predicted from all others, deviations and penalty included; about the mean of
    # the others on both sides, since the mean of all words but one points away from it (see the column raw).
    nested = sx.RidgeCV(np.logspace(-1, 4, 11), scale=True, per_target=False, cv="loo")
    alike = category[pairs[:, 0]] == category[pairs[:, 1]]
    rows = []
    for person in range(n_people):
        row = {"person": person + 1, "ours": won[:, person].mean(), "reference": reference[person]}
        row |= {"one category": won[alike, person].mean(), "two categories": won[~alike, person].mean()}
        brain = brains[person]
        level = sx.training_means(brain, cv=n)
        held_out = nested.predict_held_out(meaning, brain, cv=n)
        raw = sx.two_vs_two(held_out, brain, n_permutations=0)
        honest = sx.two_vs_two(held_out - level, brain - level)
        row |= {"raw": raw.accuracy}
        row |= {"nested": honest.accuracy, "p": honest.p_value, "95 % of chance": honest.null_q95}
        rows.append(row)
    return sx.Table.from_dicts(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(main(Path(sys.argv[1])))
