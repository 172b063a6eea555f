"""Make fixtures/ridge_himalaya.json: penalties and predictions of himalaya's RidgeCV on small data.

Run it where himalaya is installed: `python validation/make_ridge_fixture.py`. The data are stored beside
the answers, so the test needs neither NumPy nor himalaya.
"""

import json
from pathlib import Path

import himalaya
import numpy as np
from himalaya.ridge import RidgeCV
from sklearn.model_selection import PredefinedSplit

SEED = 20261121
RUNS = [12, 12, 12]  # equal folds: himalaya averages fold losses without weights
N_TEST = 4
N_TARGETS = 5
ALPHAS = np.logspace(-2, 4, 13)


def make_case(rng, n_features):
    n_train = sum(RUNS)
    x = rng.standard_normal((n_train + N_TEST, n_features)).round(6)
    # Correlated columns, so that the penalties spread over the grid.
    x[:, 1] = (x[:, 0] + 0.1 * x[:, 1]).round(6)
    weights = rng.standard_normal((n_features, N_TARGETS)) / np.sqrt(n_features)
    noise = np.array([0.1, 0.5, 1.0, 2.0, 20.0])
    y = (x @ weights + noise * rng.standard_normal((n_train + N_TEST, N_TARGETS))).round(6)
    model = RidgeCV(alphas=ALPHAS, fit_intercept=False, cv=PredefinedSplit(np.repeat(range(len(RUNS)), RUNS)))
    model.fit(x[:n_train], y[:n_train])
    return {
        "x_train": x[:n_train].tolist(),
        "y_train": y[:n_train].tolist(),
        "x_test": x[n_train:].tolist(),
        "best_alphas": np.asarray(model.best_alphas_).tolist(),
        "predictions": np.asarray(model.predict(x[n_train:])).tolist(),
    }


def main():
    rng = np.random.default_rng(SEED)
    fixture = {
        "origin": "validation/make_ridge_fixture.py",
        "peer": f"himalaya {himalaya.__version__}, NumPy {np.__version__}",
        "seed": SEED,
        "solver": "RidgeCV, NumPy backend, float64, fit_intercept=False, l2 loss",
        "runs": RUNS,
        "alphas": ALPHAS.tolist(),
        "cases": [make_case(rng, n_features) for n_features in (8, 40)],
    }
    path = Path(__file__).parent / "fixtures" / "ridge_himalaya.json"
    path.write_text(json.dumps(fixture) + "\n")


if __name__ == "__main__":
    main()
