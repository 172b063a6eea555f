"""Searchlights: spheres and disks by hand, scores of each centre against SciPy, whatever the threads."""

import os
import subprocess
import sys

import numpy as np
import pytest
import stereotax as sx
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr


def volume(n=10, seed=0):
    rng = np.random.default_rng(seed)
    mask = rng.uniform(size=(7, 6, 5)) > 0.15
    return mask, rng.normal(size=(n, mask.sum()))


def sphere(mask, centre, radius, sizes=(1, 1, 1)):
    """Columns within the radius of one voxel of the mask."""
    places = np.argwhere(mask) * sizes
    return np.flatnonzero(((places - places[centre]) ** 2).sum(1) <= radius**2 + 1e-9)


def test_every_centre_has_the_scores_of_its_own_sphere():
    mask, x = volume()
    rng = np.random.default_rng(1)
    models = {"a": sx.rdm(rng.normal(size=(10, 4))), "b": rng.normal(size=45)}
    light = sx.searchlight(x, models, mask=mask, radius=6, voxel_size=(3, 3, 4), min_share=0.6)
    assert light.models == ["a", "b"] and light.values.shape == (len(light.centres), 2)
    full = sum(
        (3 * i) ** 2 + (3 * j) ** 2 + (4 * k) ** 2 <= 36
        for i in range(-2, 3) for j in range(-2, 3) for k in range(-1, 2)
    )  # fmt: skip
    shares = np.array([len(sphere(mask, centre, 6, (3, 3, 4))) / full for centre in range(mask.sum())])
    np.testing.assert_array_equal(light.centres, np.flatnonzero(shares >= 0.6))
    np.testing.assert_allclose(light.shares, shares[light.centres])
    for at in (0, len(light.centres) // 2, len(light.centres) - 1):
        members = sphere(mask, light.centres[at], 6, (3, 3, 4))
        assert light.n_channels[at] == len(members)
        values = pdist(x[:, members], "correlation")
        for model, name in enumerate("ab"):
            slow = spearmanr(values, np.asarray(models[name])).statistic
            assert light.values[at, model] == pytest.approx(slow, abs=1e-12)
    whole = light.map("b")
    assert np.isnan(whole).sum() == mask.sum() - len(light.centres)
    np.testing.assert_array_equal(whole[light.centres], light.values[:, 1])
    with pytest.raises(ValueError, match="one of"):
        light.map("c")


@pytest.mark.parametrize("score", ["pearson", "cosine"])
@pytest.mark.parametrize("method", ["euclidean", "cosine", "poisson"])
def test_other_measures_and_scores(method, score):
    mask, x = volume()
    x = np.abs(x)
    model = np.random.default_rng(2).uniform(size=45)
    light = sx.searchlight(x, [model], mask=mask, radius=1.5, method=method, score=score)
    rdms = sx.searchlight(x, mask=mask, radius=1.5, method=method)
    at = 11
    members = sphere(mask, light.centres[at], 1.5)
    values = sx.rdm(x[:, members], method).values
    np.testing.assert_allclose(rdms.values[at], values, rtol=1e-10, atol=1e-12)
    a, b = values, model
    if score == "pearson":
        a, b = a - a.mean(), b - b.mean()
    assert light.map()[light.centres[at]] == pytest.approx(a @ b / np.sqrt(a @ a * (b @ b)), abs=1e-12)


@pytest.mark.parametrize("dropped", [0, 1])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_crossnobis_with_the_noise_of_each_sphere(dropped, dtype):
    mask, _ = volume()
    rng = np.random.default_rng(3)
    conditions, runs = np.tile(np.arange(5), 4), np.repeat(np.arange(4), 5)
    x = rng.normal(size=(20, mask.sum())).astype(dtype)[dropped:]
    conditions, runs = conditions[dropped:], runs[dropped:]
    residuals = rng.normal(size=(80, mask.sum())).astype(dtype)
    light = sx.searchlight(
        x, mask=mask, radius=1, method="crossnobis", conditions=conditions, runs=runs, residuals=residuals
    )
    at = 7
    members = sphere(mask, light.centres[at], 1)
    noise = sx.noise_precision(residuals[:, members])
    slow = sx.crossnobis(x[:, members], conditions, runs, noise=noise)
    tolerance = 1e-10 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(light.values[at], slow.values, rtol=tolerance, atol=tolerance)
    plain = sx.searchlight(x, mask=mask, radius=1, method="crossnobis", conditions=conditions, runs=runs)
    slow = sx.crossnobis(x[:, members], conditions, runs)
    np.testing.assert_allclose(plain.values[at], slow.values, rtol=tolerance, atol=tolerance)


def test_disks_on_a_surface_and_lists_of_ones_own():
    # A strip of squares of side 1, cut into triangles: 2 × 6 vertices.
    points = np.array([[i, j, 0.0] for i in range(6) for j in range(2)])
    faces = [[2 * i, 2 * i + 1, 2 * i + 2] for i in range(5)] + [
        [2 * i + 1, 2 * i + 3, 2 * i + 2] for i in range(5)
    ]
    x = np.random.default_rng(4).normal(size=(6, 12))
    light = sx.searchlight(x, coordinates=points, faces=faces, radius=1, method="euclidean")
    assert light.n_channels.tolist() == [3, 3] + [4] * 8 + [3, 3]
    np.testing.assert_allclose(light.values[4], pdist(x[:, [2, 4, 5, 6]]), rtol=1e-10)
    # Without data at vertex 5, which paths still cross: columns are the other eleven.
    has = np.arange(12) != 5
    some = sx.searchlight(
        x[:, has], coordinates=points, faces=faces, mask=has, radius=1, method="euclidean", min_share=0.8
    )
    assert len(some.centres) == 8 and some.shares.min() == 1
    own = sx.searchlight(x, radius=0, neighbourhoods=[(3, [1, 3, 8])], method="euclidean")
    np.testing.assert_allclose(own.values[0], pdist(x[:, [1, 3, 8]]), rtol=1e-10)
    assert own.centres.tolist() == [3]


def test_any_function_and_progress():
    mask, x = volume()
    told = []
    light = sx.searchlight(x, mask=mask, radius=1.5, function=lambda p: (p.shape[1], p.std()))
    assert light.values.shape == (len(light.centres), 2)
    np.testing.assert_array_equal(light.values[:, 0], light.n_channels)
    at = 5
    members = sphere(mask, light.centres[at], 1.5)
    assert light.values[at, 1] == pytest.approx(x[:, members].std())
    sx.searchlight(x, mask=mask, radius=1.5, progress=lambda *event: told.append(event))
    assert told[-1][0] == "searchlight" and told[-1][1] == told[-1][2]


def test_the_same_bits_for_any_number_of_threads():
    code = (
        "import numpy as np, stereotax as sx, hashlib; rng = np.random.default_rng(0); "
        "x = rng.normal(size=(30, 400)).astype(np.float32); mask = np.ones((10, 8, 5), bool); "
        "light = sx.searchlight(x, [rng.normal(size=435)], mask=mask, radius=2); "
        "big = sx.rdm(rng.normal(size=(600, 1500))); "
        "print(hashlib.sha256(light.values.tobytes() + big.values.tobytes()).hexdigest())"
    )
    digests = set()
    for threads in "13":
        environment = {**os.environ, "RAYON_NUM_THREADS": threads}
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert ran.returncode == 0, ran.stderr
        digests.add(ran.stdout)
    assert len(digests) == 1


def test_what_makes_no_searchlight_is_refused():
    mask, x = volume()
    model = np.ones(45)
    for wrong, words in (
        ({"models": model, "mask": mask[:-1]}, "columns"),
        ({"models": np.ones(3), "mask": mask}, "3 conditions"),
        ({"mask": None}, "missing"),
        ({"mask": mask[0]}, "three axes"),
        ({"mask": mask, "radius": -1}, "from 0"),
        ({"mask": mask, "min_share": 2}, "share"),
        ({"mask": mask, "method": "mahalanobis"}, "residuals"),
        ({"mask": mask, "method": "crossnobis"}, "conditions"),
        ({"mask": mask, "runs": np.ones(10)}, "crossnobis"),
        ({"mask": mask, "residuals": x}, "none"),
        ({"coordinates": np.zeros((3, 2)), "faces": [[0, 1, 2]]}, "three columns"),
        ({"coordinates": np.zeros((3, 3)), "faces": [[0, 1, 2]]}, "lengths above 0"),
        ({"neighbourhoods": [(0, [mask.sum()])]}, "below"),
        ({"mask": mask, "models": model, "function": len}, "one of them"),
    ):
        with pytest.raises(ValueError, match=words):
            sx.searchlight(x, **{"radius": 1, **wrong})
    x[2, 5] = np.nan
    with pytest.raises(ValueError, match="row 2, column 5"):
        sx.searchlight(x, model, mask=mask, radius=1)
