"""Add one predictor to word length, frequency and position: does it explain reading times and the EEG?

usage: python surprisal.py DATA      (the folder `ucl_sentences_eeg_reading`, see README.md)
"""

import csv
import sys
from pathlib import Path

import numpy as np
import stereotax as sx

OLS = sx.RidgeCV(0.0, cv=None)  # no penalty, nothing to choose: least squares


def log_likelihood(X: np.ndarray, y: np.ndarray, splits: list) -> np.ndarray:
    """Of the second words of a split, by fit and variance of the first; mean over splits."""
    of_splits = []
    for train, test in splits:
        model = OLS.fit(X[train], y[train])
        variance = ((y[train] - model.predict(X[train])) ** 2).mean(axis=0)
        rest = y[test] - model.predict(X[test])
        of_splits.append(-0.5 * (len(rest) * np.log(2 * np.pi * variance) + (rest**2).sum(axis=0) / variance))
    return np.mean(of_splits, axis=0)


def main(data: Path) -> sx.Table:
    with (
        open(data / "all_measures.csv", newline="") as words,
        open(data / "published_results_linear.csv", newline="") as results,
    ):
        published = list(csv.DictReader(results))
        kept = [row for row in csv.DictReader(words) if not set(row["word"]) & set(".,'’")]
    kept = [row for row in kept if row["Subtlex_log10"]]  # 21 of 1487 words have no frequency
    measures = list(dict.fromkeys(row["dv"] for row in published))
    y = np.array([[float(row[name]) for name in measures] for row in kept])
    # As published: main effects and pairwise products of frequency, length and position.
    controls = ("Subtlex_log10", "length", "context_length")
    f, n, c = np.array([[float(row[name]) for name in controls] for row in kept]).T
    base = np.column_stack([f, n, c, f * n, f * c, n * c])
    order = np.random.RandomState(0).permutation(len(y))
    every = [(np.arange(len(y)),) * 2]
    random = [(np.setdiff1d(order, test), test) for test in np.array_split(order, 5)]
    sentence = np.array([int(row["sent_id"]) for row in kept])
    whole = [(~out, out) for out in (np.isin(sentence, np.unique(sentence)[k::5]) for k in range(5))]
    without = [log_likelihood(base, y, splits) for splits in (every, random, whole)]
    rows = []
    for name in dict.fromkeys(row["iv"] for row in published):
        column = "s_GPTNeo_2.7B" if name == "s_GPTNeo_large" else name
        X = np.column_stack([base, [float(row[column]) for row in kept]])
        b = OLS.fit(X, y).coef_[-1]
        found = [log_likelihood(X, y, splits) for splits in (every, random, whole)]
        gain, of_random, of_sentences = (a - b for a, b in zip(found, without, strict=True))
        # The t of one more coefficient is the likelihood ratio in other words.
        t = np.sign(b) * np.sqrt(np.expm1(2 * gain / len(y)) * (len(y) - X.shape[1] - 1))
        for j, measure in enumerate(measures):
            row = {"measure": measure, "predictor": name, "b": b[j], "t": t[j], "llik": found[0][j]}
            row |= {"gain": gain[j], "gain, random folds": of_random[j]}
            rows.append(row | {"gain, whole sentences": of_sentences[j]})
    reference = {(row["dv"], row["iv"]): row for row in published}
    for row in rows:
        expected = reference[row["measure"], row["predictor"]]
        row["difference"] = max(abs(row[key] - float(expected[key])) for key in ("b", "t", "llik"))
    return sx.Table.from_dicts(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = main(Path(sys.argv[1]))
    print(found.where(measure="N400"), found.where(measure="RTfirstpass"), sep="\n\n")
    print(f"\n{len(found)} regressions; largest difference in b, t, llik: {found['difference'].max():.1g}")
