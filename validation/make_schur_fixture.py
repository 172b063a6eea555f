"""Make fixtures/schur_scipy.json: ordered real Schur forms as scipy.linalg.schur(sort=...) gives them.

Run it where SciPy is installed: `python validation/make_schur_fixture.py`. The matrices are stored beside the
answers, so the test needs neither NumPy nor SciPy. Of every matrix and every threshold between the real parts
of its eigenvalues: how many eigenvalues lie above, which, and the orthogonal projector on their invariant
subspace, which no choice of signs or of a basis changes.
"""

import json
from pathlib import Path

import numpy as np
import scipy
from scipy.linalg import schur

SEED = 20261121


def matrices(rng):
    yield "random", rng.standard_normal((4, 4))
    yield "random", rng.standard_normal((7, 7))
    yield "random", rng.standard_normal((10, 10))
    # Far from normal: a triangle with large entries above its diagonal, in another basis.
    triangle = np.diag([1.0, 0.8, 0.5, 0.2, -0.3]) + 5 * np.triu(rng.standard_normal((5, 5)), 1)
    turn = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    yield "not normal", turn @ triangle @ turn.T
    # A Jordan block beside a pair and a real eigenvalue: no basis of eigenvectors.
    jordan = np.zeros((6, 6))
    jordan[:3, :3] = 0.9 * np.eye(3) + np.eye(3, k=1)
    jordan[3:5, 3:5] = [[0.5, 0.3], [-0.3, 0.5]]
    jordan[5, 5] = 0.2
    basis = rng.standard_normal((6, 6)) + 3 * np.eye(6)
    yield "defective", basis @ jordan @ np.linalg.inv(basis)


def eigenvalues(block):
    values = np.linalg.eigvals(block)
    return [[float(v.real), float(v.imag)] for v in sorted(values, key=lambda v: (-v.real, -v.imag))]


def main():
    rng = np.random.default_rng(SEED)
    cases = []
    for kind, a in matrices(rng):
        a = a.round(12)
        levels = np.unique(np.linalg.eigvals(a).real.round(2))
        cuts = []
        for low, high in zip(levels[:-1], levels[1:], strict=True):
            threshold = float(0.5 * (low + high))
            t, q, count = schur(a, output="real", sort=lambda re, im, cut=threshold: re > cut)
            cuts.append(
                {
                    "threshold": threshold,
                    "count": int(count),
                    "eigenvalues": eigenvalues(t[:count, :count]),
                    "projector": (q[:, :count] @ q[:, :count].T).tolist(),
                }
            )
        cases.append({"kind": kind, "matrix": a.tolist(), "cuts": cuts})
    path = Path(__file__).parent / "fixtures" / "schur_scipy.json"
    origin = {"origin": "validation/make_schur_fixture.py", "scipy": scipy.__version__}
    path.write_text(json.dumps({**origin, "cases": cases}) + "\n")


if __name__ == "__main__":
    main()
