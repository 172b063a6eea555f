"""Dimension, diffusion maps, neighbourhoods, entropy, tubularity and capacity: SciPy, scikit-learn,
by hand."""

import numpy as np
import pytest
import stereotax as sx
from scipy import sparse
from scipy.optimize import linprog, nnls
from sklearn.neighbors import NearestNeighbors

SIX = np.array(
    [[7, 2, 10, 5], [6, 8, 10, 12], [2, 11, 7, 3], [8, 11, 1, 4], [11, 8, 5, 2], [11, 2, 6, 10]], float
)


def test_participation_ratio_has_the_published_values_and_takes_noise_out():
    found = sx.participation_ratio(SIX)
    # The package `dimensionality`.
    assert found.naive == pytest.approx(2.65799, abs=1e-5)
    assert found.stimuli == pytest.approx(4.3516763, rel=1e-6)
    assert found.both == pytest.approx(46.2424985, rel=1e-6)
    assert found.parts["both"] == pytest.approx((2517.1333333, 54.4333333), rel=1e-6)
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(150, 5)) @ rng.normal(size=(5, 200))
    first, second = (signal + 3 * rng.normal(size=signal.shape) for _ in range(2))
    assert sx.participation_ratio(first).naive > 10
    assert 3 < sx.participation_ratio(first, second).both < 7
    with pytest.raises(ValueError, match="4 stimuli"):
        sx.participation_ratio(SIX[:3])
    with pytest.raises(ValueError, match="not finite"):
        sx.participation_ratio(np.where(SIX == 12, np.nan, SIX))


def test_cv_pca_is_the_cross_validated_spectrum():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 30, 12))
    # All swaps of identical repeats are one: the covariance's spectrum.
    same = sx.cv_pca(x, x)
    np.testing.assert_allclose(same.eigenvalues, np.linalg.eigvalsh(np.cov(x.T))[::-1], rtol=1e-9)
    noise = sx.cv_pca(x, y, n_swaps=200)
    assert abs(noise.eigenvalues.sum() - (x - x.mean(0)).ravel() @ (y - y.mean(0)).ravel() / 29) < 1.0
    with pytest.raises(ValueError, match="as the first repeat"):
        sx.cv_pca(x, y[:-1])


def test_intrinsic_dimension_follows_the_neighbours_of_scikit_learn():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(700, 6)) @ rng.normal(size=(6, 60)) + 100
    distances = NearestNeighbors(n_neighbors=21).fit(x).kneighbors(x)[0][:, 1:]
    logs = np.sort(np.log(distances[:, 1] / distances[:, 0]))
    kept, f = 630, np.arange(1, 701) / 700
    slope = (logs[:kept] * -np.log(1 - f[:kept])).sum() / (logs[:kept] ** 2).sum()
    local = 19 / np.log(distances[:, 19:] / distances[:, :19]).sum(axis=1)
    found = sx.intrinsic_dimension(x, local_pca=30, calibrate=[4, 6, 8], n_draws=2)
    assert found.two_nn == pytest.approx(slope, rel=1e-9)
    np.testing.assert_allclose(found.pointwise, local, rtol=1e-9)
    assert found.levina_bickel == pytest.approx(1 / np.mean(1 / local), rel=1e-9)
    assert found.local_pca == pytest.approx(4.8, abs=1)
    assert found.corrected_levina_bickel == pytest.approx(6, abs=0.8)
    assert found.scales["n_points"].tolist() == [700, 350, 175, 87]
    twice = sx.intrinsic_dimension(np.vstack([x, x[:50]]))
    assert twice.n_duplicates == 50 and twice.two_nn == found.two_nn
    with pytest.raises(ValueError, match="different ones"):
        sx.intrinsic_dimension(np.ones((40, 3)))


def test_diffusion_map_of_a_given_kernel_is_that_of_numpy():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 2))
    kernel = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1))
    q = kernel.sum(1)
    k = kernel / np.outer(q, q)
    markov = k / k.sum(1)[:, None]
    expected = np.sort(np.linalg.eigvals(markov).real)[::-1][1:6]
    dense = sx.DiffusionMap(5, kernel="precomputed").fit(kernel)
    np.testing.assert_allclose(dense.eigenvalues_, expected, rtol=1e-9)
    np.testing.assert_allclose(markov @ dense.embedding_, dense.embedding_ * expected, atol=1e-12)
    light = sx.DiffusionMap(5, kernel="precomputed").fit(sparse.csr_matrix(kernel))
    np.testing.assert_array_equal(light.embedding_, dense.embedding_)
    np.testing.assert_allclose(dense.transform(kernel[:4]), dense.embedding_[:4], atol=1e-12)
    with pytest.raises(ValueError, match="symmetric"):
        sx.DiffusionMap(5, kernel="precomputed").fit(np.triu(kernel))
    with pytest.raises(ValueError, match="below 0"):
        sx.DiffusionMap(2, kernel="precomputed").fit(-kernel)


def test_disconnected_points_are_told():
    rng = np.random.default_rng(4)
    x = np.vstack([rng.normal(size=(40, 3)), 100 + rng.normal(size=(50, 3))])
    model = sx.DiffusionMap(3, n_neighbors=8).fit(x)
    assert model.n_parts_ == 2 and model.eigenvalues_[0] == 1.0 and "2 parts" in model.warnings_[0]
    assert len(set(model.labels_[:40])) == 1 and model.labels_[0] != model.labels_[-1]


def test_scales_of_ian_are_the_optimum_of_scipy():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(70, 2))
    # One step, C fixed: the Gabriel graph is what is left, less the edges pruned in this step.
    model = sx.IAN(c=0.8, n_sd=1e9, hops=0).fit(x)
    d = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
    edges = model.edges_
    u = np.zeros(70)
    for i, j in edges:
        u[i], u[j] = max(u[i], d[i, j]), max(u[j], d[i, j])
    rows, bounds = [], []
    for i, j in edges:
        w = 0.8 * d[i, j]
        for a, b, bound in ((w / u[i], 1.0, w * (1 + w / u[i])), (1.0, w / u[j], w * (1 + w / u[j]))):
            row = np.zeros(70)
            row[i], row[j] = -a, -b
            rows.append(row)
            bounds.append(-bound)
    best = linprog(
        np.ones(70), A_ub=np.array(rows), b_ub=bounds, bounds=list(zip(np.zeros(70), u, strict=True))
    )
    assert model.scales_.sum() == pytest.approx(best.fun, rel=1e-6)
    kernel = model.kernel()
    expected = np.exp(-(d**2) / np.outer(model.scales_, model.scales_))
    np.testing.assert_allclose(kernel, np.where(expected >= 1e-8, expected, 0), rtol=1e-9)
    np.testing.assert_array_equal(model.kernel_rows(x[:3]), kernel[:3])
    embedded = sx.DiffusionMap(3, kernel="ian").fit(x)
    assert embedded.embedding_.shape == (70, 3) and embedded.transform(x[:2] + 1e-4).shape == (2, 3)
    with pytest.raises(ValueError, match="0 and 1 are equal"):
        sx.IAN().fit(np.vstack([x[0], x]))


def test_entropy_has_the_reference_values_and_refuses():
    for sigma, time, value in [(3, 1, 2.5796489888), (3, 2, 2.5654684679), (10, 1, 1.6100745081)]:
        assert sx.spectral_entropy(SIX, sigma=sigma, time=time).entropy == pytest.approx(value, abs=1e-9)
    labelled = sx.spectral_entropy(SIX, np.array(["a", "a", "b", "b", "b", "c"]))
    assert np.isnan(labelled.of_class["c"]) and np.isfinite(labelled.information)
    with pytest.raises(ValueError, match="above 0"):
        sx.spectral_entropy(SIX, sigma=-1.0)


def test_tubularity_of_one_population_and_bad_input():
    rng = np.random.default_rng(6)
    path = np.sin(np.linspace(0, 3, 25)) * rng.normal(size=(40, 4, 1, 1))
    responses = path + 0.1 * rng.normal(size=(40, 4, 5, 25))
    found = sx.tubularity(responses, n_draws=4)
    assert len(found.draws) == 4 and len(found.bundles) == 4 and len(found.differences) == 0
    assert found.lines["responses"].shape == (4, 400, 10)
    again = sx.tubularity(responses, n_draws=4)
    np.testing.assert_array_equal(found.draws["tightness"], again.draws["tightness"])
    pair = sx.tubularity({"few": responses[:20], "many": responses}, n_draws=3)
    assert pair.scores["n_units"].tolist() == [20, 20]
    with pytest.raises(ValueError, match="single curve"):
        sx.tubularity(responses[:, :, :1])
    with pytest.raises(ValueError, match="silent"):
        sx.tubularity(np.zeros((3, 2, 4, 9)))
    with pytest.raises(ValueError, match="four axes"):
        sx.tubularity(responses[0])
    with pytest.raises(ValueError, match="not finite"):
        sx.tubularity(np.where(responses > 2, np.nan, responses))


def test_capacity_of_segments_is_that_of_theory():
    # Segments of radius 1 around centres of length 1: 1.0011 by quadrature.
    x = np.zeros((4, 6))
    x[:2, 0] = x[2:, 3] = 1
    x[[0, 1], 1], x[[2, 3], 4] = (1, -1), (1, -1)
    found = sx.manifold_capacity(x, [0, 0, 1, 1], n_draws=20_000, center=False)
    assert found.capacity == pytest.approx(1.0011, rel=0.03)
    assert found.classes["capacity"].shape == (2,)
    # All together: the mean square of the projection on the cone, by SciPy's non-negative least squares.
    rng = np.random.default_rng(7)
    draws = [
        nnls((x * np.repeat(rng.choice([-1, 1], 2), 2)[:, None]).T, rng.normal(size=6))[1] for _ in range(50)
    ]
    assert all(np.isfinite(draws))
    finite = sx.manifold_capacity(x, [0, 0, 1, 1], method="finite", n_draws=4000)
    rng = np.random.default_rng(8)
    total = 0.0
    for _ in range(4000):
        cone, t = (x * np.repeat(rng.choice([-1, 1], 2), 2)[:, None]).T, rng.normal(size=6)
        total += t @ t - nnls(cone, t)[1] ** 2
    assert finite.capacity == pytest.approx(2 / (total / 4000), rel=0.08)
    assert finite.capacity_by_anchors == pytest.approx(finite.capacity, rel=1e-3)
    with pytest.raises(ValueError, match="class `1`"):
        sx.manifold_capacity(x[:3], [0, 0, 1])
    with pytest.raises(ValueError, match="finite"):
        sx.manifold_capacity(x, [0, 0, 1, 1], method="finite", margin=1.0)


@pytest.mark.parametrize(
    ("seed", "left"),
    [(0, (0.462487, 0.429995, 0.324748, 0.172668)), (1, (0.506162, 0.441533, 0.369063, 0.179942))],
)
def test_directions_that_centers_share_are_those_of_the_reference(seed, left):
    """What 0 to 3 directions leave, by the reference (neural_manifolds_replicaMFT d56eda1, by gradients on a
    Stiefel manifold with pymanopt 0.2.5, 10 starts); its own runs differ at the third (.1727, .3268)."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(40, 12)) + 3 * rng.normal(size=(40, 3)) @ rng.normal(size=(3, 12))
    points = np.repeat(centers.T, 2, axis=0)
    points[::2] += 1e-4
    points[1::2] -= 1e-4
    found = sx.manifold_capacity(points, np.repeat(np.arange(12), 2), n_removed="search", n_draws=5)
    assert found.n_removed == 3 and found.center_correlation == found.center_correlations[0]
    np.testing.assert_allclose(found.center_correlations[:3], left[:3], atol=2e-6)
    assert abs(found.center_correlations[3] - left[3]) < 0.03
    fewer = sx.manifold_capacity(points, np.repeat(np.arange(12), 2), n_removed=1, n_draws=5)
    assert (
        fewer.n_removed == 1 and fewer.center_correlations.tolist() == found.center_correlations[:2].tolist()
    )
