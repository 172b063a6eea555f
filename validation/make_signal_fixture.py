"""Make fixtures/signal_nilearn.json: haemodynamic responses and cosine drifts as nilearn computes them.

Run it where nilearn is installed: `python validation/make_signal_fixture.py`.
"""

import inspect
import json
from pathlib import Path

import nilearn
import numpy as np
from nilearn.glm.first_level import hemodynamic_models as models
from nilearn.glm.first_level.design_matrix import create_cosine_drift

KERNELS = {
    "spm": [models.spm_hrf, models.spm_time_derivative, models.spm_dispersion_derivative],
    "glover": [models.glover_hrf, models.glover_time_derivative, models.glover_dispersion_derivative],
}


def sampled(function, tr_s, oversampling, length_s):
    first = next(iter(inspect.signature(function).parameters))
    return function(**{first: tr_s}, oversampling=oversampling, time_length=length_s).tolist()


def regressors(n, tr_s):
    """Features that change with every volume, as nilearn convolves them."""
    feature = np.random.default_rng(n).normal(size=n)
    # A hair early, so that rounding of the fine grid does not put a block one step late.
    onsets = np.maximum(np.arange(n) * tr_s - 1e-9, 0)
    condition = np.vstack([onsets, np.full(n, tr_s), feature])
    columns = {
        shape: models.compute_regressor(
            condition, f"{shape} + derivative + dispersion", np.arange(n) * tr_s, oversampling=50, min_onset=0
        )[0].T.tolist()
        for shape in KERNELS
    }
    return {"tr_s": tr_s, "feature": feature.tolist(), "columns": columns}


def make():
    kernels = [
        {
            "shape": shape,
            "tr_s": tr_s,
            "oversampling": oversampling,
            "length_s": length_s,
            "kernels": [sampled(function, tr_s, oversampling, length_s) for function in functions],
        }
        for shape, functions in KERNELS.items()
        for tr_s, oversampling, length_s in [(2.0, 1, 20.0), (1.5, 4, 32.0), (0.8, 7, 32.0)]
    ]
    drifts = []
    for n, tr_s, high_pass_hz in [(60, 2.0, 0.01), (151, 1.5, 0.008), (40, 0.8, 0.02)]:
        basis = create_cosine_drift(high_pass_hz, np.arange(n) * tr_s)
        drifts.append({"n": n, "tr_s": tr_s, "high_pass_hz": high_pass_hz, "basis": basis.T.tolist()})
    return {
        "origin": "validation/make_signal_fixture.py",
        "peer": f"nilearn {nilearn.__version__}, NumPy {np.__version__}",
        "kernels": kernels,
        "drifts": drifts,
        "regressors": [regressors(40, 2.0), regressors(60, 0.75)],
    }


def main():
    path = Path(__file__).parent / "fixtures" / "signal_nilearn.json"
    path.write_text(json.dumps(make()) + "\n")


if __name__ == "__main__":
    main()
