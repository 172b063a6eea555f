"""Areas placed along layers, drawings of distances, and spin tests of cortical maps."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import stereotax as sx
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("STEREOTAX_DATA", ROOT.parent / "shared" / "data"))


def network(n=36, depth=6, seed=0):
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=(n, 25))]
    for _ in range(depth - 1):
        layers.append(0.75 * layers[-1] + 0.66 * rng.normal(size=(n, 25)))
    return layers, rng


QUICK = dict(n_subsamples=6, n_bootstraps=30, n_permutations=59)


def test_areas_are_placed_where_they_come_from():
    layers, rng = network()
    made = {f"area {k}": layers[k] @ rng.normal(size=(25, 50)) + rng.normal(size=(36, 50)) for k in (1, 4)}
    made["noise"] = rng.normal(size=(36, 70))
    for measure in ("ssm", "svcca"):
        found = sx.pseudo_depth(made, layers, measure=measure, n_components=10, **QUICK)
        assert found.n_neurons == 40 and found.n_images == 36
        places = found.areas
        assert [places[f"area {k}"].best_layer for k in (1, 4)] == [1, 4]
        assert places["area 1"].depth_best == 0.2 and places["area 4"].depth_best == 0.8
        assert places["area 1"].depth_weighted < places["area 4"].depth_weighted
        assert places["area 1"].placed and places["area 4"].placed and not places["noise"].placed
        assert places["area 1"].best_interval[0] <= 0.2 <= places["area 1"].best_interval[1]


def test_scores_are_those_of_scipy():
    layers, rng = network()
    area = rng.normal(size=(36, 12)) + layers[2] @ rng.normal(size=(25, 12))
    upper = np.triu_indices(36, 1)
    found = sx.pseudo_depth([area], layers, n_neurons=12, n_subsamples=1, n_bootstraps=0, n_permutations=9)
    expected = [
        stats.spearmanr(np.corrcoef(area)[upper], np.corrcoef(layer)[upper]).statistic for layer in layers
    ]
    np.testing.assert_allclose(found.areas["area 0"].scores, expected, atol=1e-12)
    found = sx.pseudo_depth([area], layers, measure="svcca", n_components=5, n_neurons=12, n_subsamples=1,
                            n_bootstraps=0, n_permutations=9)  # fmt: skip

    def leading(x):
        return np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[0][:, :5]

    expected = [np.linalg.svd(leading(area).T @ leading(layer))[1].mean() for layer in layers]
    np.testing.assert_allclose(found.areas["area 0"].scores, expected, atol=1e-9)
    assert found.areas["area 0"].best_interval is None


def test_ceilings_and_refusals_of_places():
    layers, rng = network()
    area = layers[1] @ rng.normal(size=(25, 40))
    halves = [[area + rng.normal(size=area.shape), area + rng.normal(size=area.shape)]]
    found = sx.pseudo_depth([area], layers, halves=halves, **QUICK)
    assert 0.5 < found.areas["area 0"].ceiling <= 1
    with pytest.raises(ValueError, match="same images"):
        sx.pseudo_depth([area[:-1]], layers)
    with pytest.raises(ValueError, match="3 to 40 neurons"):
        sx.pseudo_depth([area], layers, n_neurons=41)
    with pytest.raises(ValueError, match="one array"):
        sx.pseudo_depth(area, layers)
    with pytest.raises(ValueError, match="a pair of arrays"):
        sx.pseudo_depth([area], layers, halves=[])


def test_drawings_keep_distances_and_place_new_objects():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(14, 2))
    d = np.linalg.norm(points[:, None] - points[None], axis=-1)
    for method in ("stress", "classical"):
        drawn = sx.embed(d[:13, :13], method=method, further=d[13:, :13])
        back = np.linalg.norm(drawn.positions[:, None] - drawn.positions[None], axis=-1)
        np.testing.assert_allclose(back, d[:13, :13], atol=1e-4)
        placed = np.linalg.norm(drawn.further[0] - drawn.positions, axis=1)
        np.testing.assert_allclose(placed, d[13, :13], atol=1e-3)
        assert drawn.stress < 1e-4 and drawn.further_stress[0] < 1e-3
    cloud = rng.normal(size=(12, 6))
    d = np.linalg.norm(cloud[:, None] - cloud[None], axis=-1)
    stress, classical = sx.embed(d), sx.embed(d, method="classical")
    assert stress.stress < classical.stress
    back = np.linalg.norm(stress.positions[:, None] - stress.positions[None], axis=-1)
    assert stress.stress == pytest.approx(np.sqrt(((d - back) ** 2).sum() / (d**2).sum()))
    assert stress.stress_shares.sum() == pytest.approx(1) and classical.explained.sum() < 1


def test_regions_come_from_distances_computed_anew():
    rng = np.random.default_rng(2)
    models = rng.normal(size=(8, 40, 3)) * np.linspace(0.2, 2, 8)[:, None, None]

    def distances(stimuli):
        x = models[:, stimuli].mean(axis=1)
        return np.linalg.norm(x[:, None] - x[None], axis=-1)

    def draw(b):
        return distances(np.random.default_rng(b).integers(40, size=40))

    drawn = sx.embed(distances(np.arange(40)), names=list("abcdefgh"), bootstraps=draw, n_bootstraps=40)
    spread = np.sqrt(np.trace(drawn.covariances, axis1=1, axis2=2))
    assert drawn.draws.shape == (40, 8, 2) and spread[:4].mean() < spread[4:].mean()
    listed = sx.embed(distances(np.arange(40)), bootstraps=[draw(b) for b in range(40)])
    np.testing.assert_array_equal(listed.draws, drawn.draws)
    with pytest.raises(ValueError, match="resample stimuli"):
        sx.embed(np.ones((3, 3)) - np.eye(3), bootstraps=[np.ones((4, 4)) - np.eye(4)])
    with pytest.raises(ValueError, match="negative"):
        sx.embed(-np.ones((3, 3)) + np.eye(3))
    rdm = sx.RDM.of([1.0, 2.0, 2.5], conditions=["x", "y", "z"])
    assert sx.embed(rdm).names == ["x", "y", "z"]


def sphere(n=400, seed=0):
    points = np.random.default_rng(seed).normal(size=(n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_turned_maps_are_rotations_and_correlations_are_those_of_scipy():
    left, right = sphere(300), sphere(300) * [-1, 1, 1]
    sources = sx.spin_sources([left, right], n_rotations=4, seed=3)
    assert sources.shape == (4, 600) and (sources[:, :300] < 300).all() and (sources[:, 300:] >= 300).all()
    np.testing.assert_array_equal(sources[:, :300], sources[:, 300:] - 300)
    # A rotation keeps distances, up to how far apart places are.
    turned = left[sources[0, :300]]
    before = np.linalg.norm(left[:, None] - left[None], axis=-1)
    after = np.linalg.norm(turned[:, None] - turned[None], axis=-1)
    assert np.abs(before - after).max() < 0.6 and np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.97
    both = np.vstack([left, right])
    x, y = both[:, 0] + both[:, 1] ** 2, both[:, 2] + 0.3 * both[:, 0]
    x[:20], y[10:40] = np.nan, np.nan
    for name, slow in (("spearman", stats.spearmanr), ("pearson", stats.pearsonr)):
        found = sx.spin_test(x, y, [left, right], correlation=name, n_rotations=4, seed=3)
        null = []
        for order in [np.arange(600), *sources]:
            kept = ~np.isnan(x) & ~np.isnan(y[order])
            null.append(slow(x[kept], y[order][kept]).statistic)
        np.testing.assert_allclose([found.correlation, *found.null], null, atol=1e-12)
        reached = sum(abs(r) >= abs(null[0]) - 1e-9 for r in null[1:])
        assert found.p_value == (1 + reached) / 5 and found.n_used == 560


def test_parcels_and_surrogates():
    places = sphere(600)
    axes = np.vstack([np.eye(3), -np.eye(3), sphere(30, 5)])
    labels = 1 + (places @ axes.T).argmax(axis=1)
    x = np.array([places[labels == k].mean(axis=0)[0] for k in np.unique(labels)])
    for assign in ("nearest", "one_to_one"):
        found = sx.spin_test(x, x**3, places, labels=labels, assign=assign, n_rotations=99)
        assert found.correlation == pytest.approx(1) and found.p_value == 0.01
    null = np.random.default_rng(0).normal(size=(49, len(x)))
    found = sx.spin_test(x, x, surrogates=null)
    assert found.p_value == 0.02
    np.testing.assert_allclose(found.null[0], stats.spearmanr(x, null[0]).statistic)
    with pytest.raises(ValueError, match="one of them"):
        sx.spin_test(x, x)
    with pytest.raises(ValueError, match="600 places"):
        sx.spin_test(x, x, places)
    with pytest.raises(ValueError, match="at the origin"):
        sx.spin_test([1, 2, 3], [1, 2, 3], np.zeros((3, 3)))


def test_maps_of_the_cortex_have_the_p_values_of_brainspace():
    folder = DATA / "brain_maps_conte69"
    if not folder.is_dir():
        pytest.skip("the maps are not here")
    maps, surfaces = np.load(folder / "maps.npz"), np.load(folder / "surfaces.npz")
    spheres = [surfaces[f"{side}_sphere"] for side in ("left", "right")]
    begin = time.process_time()
    gradient = maps["fc_gradient0"]
    thickness = sx.spin_test(gradient, maps["thickness"], spheres, n_rotations=1000)
    seconds = time.process_time() - begin
    assert seconds < 120, seconds
    assert 0.1 < thickness.p_value < 0.18, thickness.p_value
    myelin = sx.spin_test(gradient, maps["t1wt2w"], spheres, n_rotations=1000)
    assert myelin.p_value < 0.005, myelin.p_value
    reference = json.loads((folder / "reference_numbers.json").read_text())
    for name, found in (("thickness", thickness), ("t1wt2w", myelin)):
        assert found.correlation == pytest.approx(reference["spearman_with_fc_gradient0"][name], abs=1e-6)
        assert found.n_used == reference["n_vertices_used"]
