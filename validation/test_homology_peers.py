"""Persistent homology against ripser, distances of diagrams against persim, RTD on ripser."""

import warnings

import numpy as np
import pytest
import stereotax as sx
from scipy.spatial.distance import pdist, squareform

ripser = pytest.importorskip("ripser").ripser
persim = pytest.importorskip("persim")

RNG = np.random.default_rng(11)


def clouds():
    turns = RNG.uniform(0, 2 * np.pi, size=(150, 2))
    yield "torus", np.column_stack([np.cos(turns), np.sin(turns)])
    yield "gauss", RNG.normal(size=(120, 20))
    yield "grid", np.argwhere(np.ones((9, 9))).astype(float)
    yield (
        "ring",
        np.column_stack([np.cos(turns[:, 0]), np.sin(turns[:, 0])]) + 0.1 * RNG.normal(size=(150, 2)),
    )


def same(ours, theirs):
    """Bars of some length; ripser has single precision."""
    ours, theirs = (np.asarray(bars, float) for bars in (ours, theirs))
    ours, theirs = (bars[bars[:, 1] - bars[:, 0] > 1e-5] for bars in (ours, theirs))
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(np.sort(ours, axis=0), np.sort(theirs, axis=0), atol=2e-6)
    assert sx.diagram_distance(ours, theirs) < 2e-6


@pytest.mark.parametrize(("name", "points"), list(clouds()))
def test_diagrams_are_those_of_ripser(name, points):
    theirs = ripser(points, maxdim=1)["dgms"]
    ours = sx.persistent_homology(points).diagrams
    for a, b in zip(ours, theirs, strict=True):
        same(a, b)
    # Cut off.
    cut = float(np.quantile(pdist(points), 0.3))
    theirs = ripser(points, maxdim=1, thresh=cut)["dgms"]
    ours = sx.persistent_homology(points, threshold=cut).diagrams
    for a, b in zip(ours, theirs, strict=True):
        same(a, b)


def test_distances_of_diagrams_are_those_of_persim():
    from persim.persistent_entropy import persistent_entropy

    diagrams = [sx.persistent_homology(points).diagrams[1] for _, points in clouds()]
    for i, a in enumerate(diagrams):
        for b in diagrams[:i]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                bottleneck, wasserstein = persim.bottleneck(a, b), persim.wasserstein(a, b)
            assert sx.diagram_distance(a, b) == pytest.approx(bottleneck, abs=1e-9)
            ours = sx.diagram_distance(a, b, kind="wasserstein", ground="euclidean")
            assert ours == pytest.approx(wasserstein, rel=1e-9)
        entropy = persistent_entropy(a)[0]
        assert sx.persistence_entropy(a) == pytest.approx(entropy, rel=1e-9)


def test_topology_divergence_is_its_definition_on_ripser():
    x = RNG.normal(size=(40, 4))
    y = x[:, :2] + 0.5 * RNG.normal(size=(40, 2))
    a, b = (pdist(points) / np.quantile(pdist(points), 0.9) for points in (x, y))
    least = squareform(np.minimum(a, b))

    def one(side):
        doubled = np.block([[np.zeros((40, 40)), squareform(side)], [squareform(side), least]])
        loops = ripser(doubled, distance_matrix=True, maxdim=1)["dgms"][1]
        return (loops[:, 1] - loops[:, 0]).sum()

    table = sx.compare(x, y, ["rtd_1"], n_permutations=0)
    assert table["value"][0] == pytest.approx((one(a) + one(b)) / 2, abs=1e-5)
