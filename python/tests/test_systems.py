"""Components of brain models, against loops, limits, simulations and their peers in NumPy, "
"SciPy or torch's words."""

import numpy as np
import pytest
import stereotax as sx
from scipy import signal, stats

RNG = np.random.default_rng(5)


@pytest.mark.parametrize(("v", "k"), [(10, 3), (7, 7), (3, 5), (100, 8)])
def test_bins_of_adaptive_pooling_are_those_of_the_formula(v, k):
    x = RNG.normal(size=(4, v))
    expected = [x[:, int(np.floor(i * v / k)) : int(np.ceil((i + 1) * v / k))].max(axis=1) for i in range(k)]
    np.testing.assert_array_equal(sx.adaptive_pooling(x, k), np.stack(expected, axis=1))


def test_softmax_projection_by_loops_and_at_its_limits():
    w, e = RNG.normal(size=(5, 4)), RNG.normal(size=(30, 4))
    found = sx.softmax_projection(w, e, 0.7)
    for voxel in range(5):
        s = np.exp(e @ w[voxel] / 0.7)
        s /= s.sum()
        direction = sum(si * ei / np.linalg.norm(ei) for si, ei in zip(s, e, strict=True))
        length = sum(si * np.linalg.norm(ei) for si, ei in zip(s, e, strict=True))
        np.testing.assert_allclose(found[voxel], length * direction / np.linalg.norm(direction))
    cold = sx.softmax_projection(w, e, 1e-4)
    np.testing.assert_allclose(cold, e[(w @ e.T).argmax(axis=1)], atol=1e-9)
    warm = sx.softmax_projection(w, e, 1e9)
    mean = (e / np.linalg.norm(e, axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(warm[0] / np.linalg.norm(warm[0]), mean / np.linalg.norm(mean), atol=1e-6)
    assert np.isnan(sx.softmax_projection([[0.0, 0.0]], [[1.0, 0.0], [-1.0, 0.0]], 1.0)).all()
    with pytest.raises(ValueError, match="features"):
        sx.softmax_projection(w, e[:, :3], 1.0)
    with pytest.raises(ValueError, match="above 0"):
        sx.softmax_projection(w, e, 0.0)


def test_the_gradient_is_that_of_finite_differences():
    w, x = RNG.normal(size=(6, 5)), RNG.normal(size=5)
    found = sx.region_gradient(w, x)

    def response(z):
        return float((w @ (z / np.linalg.norm(z))).mean())

    for j in range(5):
        step = np.zeros(5)
        step[j] = 1e-6
        assert found[j] == pytest.approx((response(x + step) - response(x - step)) / 2e-6, abs=1e-8)
    assert found @ x == pytest.approx(0, abs=1e-12)


def test_codes_usage_and_errors():
    x, c = RNG.normal(size=(2500, 3)), RNG.normal(size=(6, 3))
    found = sx.quantise(x, c)
    by_hand = [int(np.argmin([((row - word) ** 2).sum() for word in c])) for row in x]
    assert found.codes.tolist() == by_hand
    u = np.bincount(by_hand, minlength=6) / 2500
    assert found.perplexity == pytest.approx(2 ** stats.entropy(u, base=2))
    assert found.correlation == pytest.approx(np.corrcoef(x.ravel(), c[by_hand].ravel())[0, 1])
    assert sx.quantise(x, c[:1]).perplexity == 1 and sx.quantise([[1.0]], [[1.0], [1.0]]).codes.tolist() == [
        0
    ]


def test_windows_end_at_their_sample():
    x = RNG.normal(size=(40, 2))
    found = sx.multi_scale(x, [3, 16])
    for t in range(40):
        np.testing.assert_allclose(found[t, 2:], x[max(0, t - 15) : t + 1].mean(axis=0))
        np.testing.assert_allclose(found[t, :2], x[max(0, t - 2) : t + 1].mean(axis=0))


def test_parcels_and_knock_outs():
    x, labels = RNG.normal(size=(30, 6)), ["a", "", "b", "a", "b", "b"]
    values, names = sx.group_by_parcel(x, labels)
    assert names == ["a", "b"]
    np.testing.assert_allclose(values[:, 1], x[:, [2, 4, 5]].mean(axis=1))
    weights = np.array([1.0, 0, 0, 1, 0.5, 0])
    target = x @ weights
    found = sx.knock_out(
        lambda z: -float(((z @ weights - target) ** 2).sum()), x, [n or "c" for n in labels], x.mean(0)
    )
    lost = dict(zip(found.regions, found.importance, strict=True))
    assert found.score == 0 and lost["c"] == 0 and lost["a"] > lost["b"] > 0
    apart = x - x.mean(axis=0)
    assert lost["b"] == pytest.approx(((0.5 * apart[:, 4]) ** 2).sum())


def test_spectra_are_those_of_scipys_welch():
    real, made = RNG.normal(size=(3000, 2)), np.cumsum(RNG.normal(size=(2000, 2)), axis=0)
    found = sx.compare_generated(made, real, 100, window=128)
    power = [signal.welch(x, 100, "hann", 128, detrend="constant", axis=0)[1] for x in (made, real)]
    np.testing.assert_allclose(found.log_power_ratio, np.log10(power[0] / power[1]), atol=1e-9)
    c = np.cov(real.T)
    assert found.covariance_distance == pytest.approx(np.linalg.norm(np.cov(made.T) - c) / np.linalg.norm(c))
    same = sx.compare_generated(real, real, 100)
    assert same.spectral_distance == 0 and same.covariance_distance == 0
    with pytest.raises(ValueError, match="constant in channel 1"):
        sx.compare_generated(made, np.stack([real[:, 0], np.ones(3000)], axis=1), 100)


def test_topography_tells_smooth_maps_from_shuffled_ones():
    grid = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0)), axis=-1).reshape(-1, 2)
    angle = np.arctan2(grid[:, 1] - 5.3, grid[:, 0] - 5.2)
    tuning = np.stack([np.cos(angle - a) for a in np.arange(0, 2 * np.pi, np.pi / 8)], axis=1)
    smooth = sx.topography(tuning, grid)
    ratios = [sx.topography(tuning[RNG.permutation(144)], grid).neighbour_ratio for _ in range(20)]
    assert smooth.neighbour_ratio < 0.3 and smooth.distance_correlation < -0.3
    assert np.mean(ratios) == pytest.approx(1, abs=0.03)
    s, d = np.corrcoef(tuning), np.linalg.norm(grid[:, None] - grid, axis=2)
    pairs = np.triu_indices(144, 1)
    assert smooth.distance_correlation == pytest.approx(np.corrcoef(s[pairs], d[pairs])[0, 1])
    with pytest.raises(ValueError, match="unit 1 has constant tuning"):
        sx.topography([[1.0, 2.0], [3.0, 3.0], [1.0, 0.0]], [[0.0], [1.0], [2.0]])


def test_asymmetry_has_intervals_that_hold_the_truth():
    truth, held = (8 - 5) / 13, 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        found = sx.asymmetry_index(rng.poisson(8, 40), rng.poisson(5, 40), n_bootstraps=400, seed=seed)
        held += found.lower <= truth <= found.upper
    assert 0.88 < held / 150 < 0.99
    one, two = sx.asymmetry_index([5, 9, 7], [2, 3, 4]), sx.asymmetry_index([2, 3, 4], [5, 9, 7])
    assert one.index == pytest.approx(-two.index)


@pytest.mark.parametrize("rule", ["differencing", "independent"])
@pytest.mark.parametrize("d", [0.5, 1.5, 3.0])
def test_abx_of_simulated_observers(rule, d):
    n = 400_000
    a, b = RNG.normal(size=n), RNG.normal(size=n) + d
    shown = RNG.integers(0, 2, n)  # 1: X is B
    x = RNG.normal(size=n) + d * shown
    says_b = np.abs(x - b) < np.abs(x - a) if rule == "differencing" else (x - d / 2) * (b - a) > 0
    assert sx.abx_sensitivity(float((says_b == shown).mean()), rule=rule) == pytest.approx(d, abs=0.05)
    assert sx.abx_sensitivity(0.4) == 0 and sx.abx_sensitivity(1.0) == np.inf
    with pytest.raises(ValueError, match="0 to 1"):
        sx.abx_sensitivity(1.2)
