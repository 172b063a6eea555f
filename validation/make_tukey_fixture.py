"""Make fixtures/tukey_scipy.json: p-values of scipy.stats.tukey_hsd and of the studentised range.

Run it where SciPy is installed: `python validation/make_tukey_fixture.py`. The data are stored beside the
answers, so the test needs neither NumPy nor SciPy.
"""

import json
from pathlib import Path

import numpy as np
import scipy
from scipy.stats import studentized_range, tukey_hsd

SEED = 20261121


def main():
    rng = np.random.default_rng(SEED)
    cases = []
    for sizes, shifts in [([6, 6, 6], [0, 0.5, 2]), ([3, 9, 5, 7], [0, 1, 0, 1.5]), ([2, 4], [0, 1])]:
        groups = [(shift + rng.standard_normal(n)).round(6) for n, shift in zip(sizes, shifts, strict=True)]
        found = tukey_hsd(*groups)
        pairs = [(i, j) for i in range(len(groups)) for j in range(i + 1, len(groups))]
        cases.append(
            {
                "groups": [g.tolist() for g in groups],
                "differences": [float(found.statistic[i, j]) for i, j in pairs],
                "p": [float(found.pvalue[i, j]) for i, j in pairs],
            }
        )
    tails = [
        {"q": q, "groups": k, "df": df, "tail": float(studentized_range.sf(q, k, df))}
        for q in [0.5, 2.0, 3.5, 6.0]
        for k in [2, 3, 8]
        for df in [1, 4, 42, 500]
    ]
    out = Path(__file__).parent / "fixtures" / "tukey_scipy.json"
    out.write_text(json.dumps({"scipy": scipy.__version__, "cases": cases, "tails": tails}, indent=1) + "\n")


if __name__ == "__main__":
    main()
