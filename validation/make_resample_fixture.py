"""Make fixtures/resample_scipy.json: sounds at other rates as scipy.signal.resample_poly makes them.

Run it where scipy is installed: `python validation/make_resample_fixture.py`.
"""

import json
from math import gcd
from pathlib import Path

import numpy as np
import scipy
from scipy.signal import resample_poly

RATES = [(44100, 16000), (8000, 16000), (48000, 16000), (16000, 22050), (11025, 8000), (7, 5)]


def main():
    samples = np.round(np.random.default_rng(11).uniform(-0.9, 0.9, size=160), 6)
    cases = []
    for from_hz, to_hz in RATES:
        common = gcd(from_hz, to_hz)
        found = resample_poly(samples.astype("f4").astype("f8"), to_hz // common, from_hz // common)
        cases.append({"from": from_hz, "to": to_hz, "resampled": np.round(found, 9).tolist()})
    fixture = {"made_by": f"scipy {scipy.__version__}", "samples": samples.tolist(), "cases": cases}
    path = Path(__file__).parent / "fixtures" / "resample_scipy.json"
    path.write_text(json.dumps(fixture) + "\n")


if __name__ == "__main__":
    main()
