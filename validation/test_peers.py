"""Live peers on the same input: where they are right, we agree; where they are known to be wrong, say so.

PyDMD serves for exact and projected modes of plain DMD only: its forward-backward operator mixes two
bases and its `opt=True` amplitudes mix two Vandermonde matrices.
"""

import numpy as np
import pytest
import stereotax as sx


@pytest.fixture(scope="module")
def layers():
    """Ten layers of 60 samples x 30 units: three persistent or fading patterns, a rotation and noise."""
    rng = np.random.default_rng(3)
    patterns = rng.normal(size=(5, 60, 30))
    made = []
    for depth in range(10):
        turn = np.cos(0.4 * depth) * patterns[3] + np.sin(0.4 * depth) * patterns[4]
        fading = 0.7**depth * patterns[1] + 0.9**depth * patterns[2]
        made.append(patterns[0] + fading + turn + 0.01 * rng.normal(size=(60, 30)))
    return made


def by_size(values):
    return np.array(sorted(values, key=lambda z: (-round(abs(z), 9), -z.real, -z.imag)))


@pytest.mark.parametrize("modes", ["projected", "exact"])
@pytest.mark.parametrize("rank", [2, 4, 6])
def test_eigenvalues_of_pydmd(layers, rank, modes):
    from pydmd import DMD

    snapshots = np.stack([layer.ravel() for layer in layers], axis=1)
    peer = DMD(svd_rank=rank, exact=modes == "exact").fit(snapshots)
    ours = sx.DepthDMD(rank=f"fixed:{rank}", modes=modes, scale="none", centring="none").fit(layers)
    np.testing.assert_allclose(by_size(ours.eigenvalues_), by_size(peer.eigs), atol=1e-9)


def test_permanova_of_scikit_bio():
    from skbio import DistanceMatrix
    from skbio.stats.distance import permanova

    rng = np.random.default_rng(5)
    groups = np.repeat(["audio", "language", "vision"], 8)
    points = rng.normal(size=(24, 6)) + 0.8 * (groups == "vision")[:, None]
    matrix = np.linalg.norm(points[:, None] - points[None], axis=-1)
    peer = permanova(DistanceMatrix(matrix), groups, permutations=999, seed=1)
    ours = sx.permanova(matrix, groups, n_permutations=9999, seed=1)
    assert ours.f == pytest.approx(peer["test statistic"], rel=1e-10)
    # Two Monte Carlo estimates of one p-value.
    assert abs(ours.p_value - peer["p-value"]) < 0.03
