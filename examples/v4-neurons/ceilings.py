"""Hold V4 neurons against the networks published for them, and against what their own repeats allow.

usage: python ceilings.py DATA      (the folder `v4_neurons_images`, see README.md; needs Pillow)
"""

import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import stereotax as sx


def published(data: Path) -> np.ndarray:
    """Test-half correlation of each of 33 neurons with its own published network."""
    responses = np.load(data / "responses_190923.npz")["responses_average"].T
    networks = np.load(data / "compact_models_190923_predictions.npz")["predictions"].T
    return sx.prediction_score(responses[600:], networks[600:])["r"]  # fitted on images 1 to 600


def halves(trials: np.ndarray, draw: np.random.RandomState, n_splits: int = 20) -> np.ndarray:
    """Means of random halves of each image's 6 to 10 repeats: n_splits × 2 × images × neurons."""
    counts = (~np.isnan(trials[0])).sum(axis=1)
    made = np.empty((n_splits, 2, len(counts), len(trials)))
    for neuron, of_neuron in enumerate(trials):
        for split in range(n_splits):
            for image, count in enumerate(counts):
                order = draw.permutation(count)
                made[split, 0, image, neuron] = of_neuron[image, order[: count // 2]].mean()
                made[split, 1, image, neuron] = of_neuron[image, order[count // 2 :]].mean()
    return made


def pixels(data: Path, side: int = 8) -> np.ndarray:
    """Colour and contrast of every image on a coarse grid: a model without any network."""
    from PIL import Image

    rows = []
    with zipfile.ZipFile(data / "images_210325.zip") as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".jpg")):
            image = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"), dtype=float)
            tiles = image.reshape(side, 112 // side, side, 112 // side, 3)
            rows.append(np.r_[tiles.mean(axis=(1, 3)).ravel(), tiles.std(axis=(1, 3)).ravel()])
    return np.array(rows)


def main(data: Path) -> tuple[sx.Table, sx.Table]:
    reference = json.loads((data / "reference_numbers.json").read_text())
    session = np.load(data / "responses_210325.npz")
    splits = halves(session["responses_trials"].astype(float), np.random.RandomState(0))
    found = [sx.noise_ceiling(pair, n_bootstraps=0).units["ceiling"] for pair in splits]
    ours = {"r of network and neuron": published(data), "split-half reliability": np.mean(found, axis=0)}
    keys = ("190923_test_half_pearson_compact_vs_neuron", "210325_spearman_brown_split_half_reliability")
    rows = []
    for (name, values), key in zip(ours.items(), keys, strict=True):
        row = {"number": name, "median": np.median(values), "reference": np.median(reference[key])}
        rows.append(
            row | {"neurons": len(values), "largest difference": np.abs(values - reference[key]).max()}
        )
    compared = sx.Table.from_dicts(rows)

    # What coarse pixels predict of each neuron, nested, beside the ceiling of that neuron.
    responses = session["responses_average"].T
    predicted = sx.RidgeCV(scale=True, cv="loo").predict_held_out(pixels(data), responses)
    scores = sx.prediction_score(responses, predicted)["r"]
    ceiling = np.sqrt(ours["split-half reliability"])
    wrong = np.median(scores / ours["split-half reliability"])  # a correlation over a square
    summary = {"median r": np.median(scores), "median ceiling of r": np.median(ceiling)}
    summary |= {"median r / ceiling": np.median(scores / ceiling), "if scales are confused": wrong}
    level = sx.training_means(responses)
    identified = sx.rank_accuracy(predicted - level, responses - level)
    summary |= {"image found": identified.accuracy, "p": identified.p_value}
    return compared, sx.Table.from_dicts([summary])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(*main(Path(sys.argv[1])), sep="\n\n")
