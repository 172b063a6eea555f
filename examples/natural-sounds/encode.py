"""Predict six auditory-cortex components from layers of two audio networks: 165 natural sounds.

usage: python encode.py DATA      (the folder `natsound165_fmri`, see README.md)
"""

import json
import sys
from pathlib import Path

import numpy as np
import stereotax as sx


def load(data: Path) -> tuple[dict[str, np.ndarray], np.ndarray, list[str]]:
    """Features by name, responses (165 sounds × 6 components), names of components."""
    silero, crepe = (np.load(data / f"activations_{name}.npz") for name in ("silero_vad", "crepe_tiny"))
    features = {"logband32": np.load(data / "features_logband32.npz")["logband"]}
    features |= {f"silero_{name}": silero[name] for name in ("conv1", "conv2", "conv3", "conv4", "lstm")}
    features |= {f"crepe_{name}": crepe[name] for name in ("conv1", "pitch")}
    brain = np.load(data / "fmri_components.npz")
    wide = {name: values.astype(float) for name, values in features.items()}
    return wide, brain["response"], brain["component_names"].tolist()


def splits(n: int = 165) -> list[tuple[np.ndarray, np.ndarray]]:
    """The five folds of the reference."""
    order = np.random.RandomState(0).permutation(n)
    return [(np.setdiff1d(order, test), test) for test in np.array_split(order, 5)]


def main(data: Path) -> tuple[sx.Table, sx.Table]:
    features, responses, components = load(data)
    reference = json.loads((data / "reference_numbers.json").read_text())["ridgecv_5fold_r2"]
    penalties = 10 ** np.arange(0, 5.1, 0.5)

    # One penalty for all components, chosen by leave-one-out within each training set, as in the reference.
    shared = sx.RidgeCV(penalties, alpha_scale="absolute", per_target=False, cv="loo", scale=True)
    rows = []
    for name, expected in reference.items():
        predicted = shared.predict_held_out(features[name], responses, splits())
        for found in sx.prediction_score(responses, predicted, names=components):
            row = {"features": name, "component": found["target"], "r squared": found["r_squared"]}
            rows.append(row | {"reference": expected[found["target"]], "R2": found["r2"]})
    compared = sx.Table.from_dicts(rows)

    # The best layer of Silero: chosen on the other folds, and chosen on the very scores that are reported.
    own = sx.RidgeCV(scale=True, cv="loo")  # a penalty for each component
    layers = [name for name in features if name.startswith("silero")]
    predicted = {name: own.predict_splits(features[name], responses, splits()) for name in layers}
    scores = [
        [sx.prediction_score(responses[test], predicted[name][k])["r2"] for name in layers]
        for k, (_, test) in enumerate(splits())
    ]
    rows = []
    for j, component in enumerate(components):
        best = sx.encoding_score(np.array(scores)[:, :, [j]])
        row = {"component": component, "R2, layer chosen elsewhere": best.best, "here": best.best_biased}
        rows.append(row | {"chosen": ", ".join(f"{layers[i]} {n}" for i, n in enumerate(best.chosen) if n)})
    return compared, sx.Table.from_dicts(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    compared, best_layers = main(Path(sys.argv[1]))
    print(compared[:15], compared[15:], best_layers, sep="\n\n")
