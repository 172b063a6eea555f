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


@pytest.mark.parametrize("n_features", [20, 120])
def test_ridge_of_himalaya(n_features):
    """The same folds and absolute penalties: the same choices, and predictions to 1e-8 (float64)."""
    from himalaya.ridge import RidgeCV
    from sklearn.model_selection import KFold

    rng = np.random.default_rng(7)
    x = rng.normal(size=(100, n_features))
    x[:, 1] = x[:, 0] + 0.1 * x[:, 1]
    noise = np.array([0.1, 0.5, 1.0, 2.0, 20.0, 5.0])
    y = x @ rng.normal(size=(n_features, 6)) / np.sqrt(n_features) + noise * rng.normal(size=(100, 6))
    alphas = np.logspace(-2, 5, 15)
    peer = RidgeCV(alphas=alphas, fit_intercept=False, cv=KFold(4)).fit(x[:80], y[:80])
    ours = sx.RidgeCV(alphas, alpha_scale="absolute", fit_intercept=False, cv=4).fit(x[:80], y[:80])
    np.testing.assert_allclose(ours.alpha_, np.asarray(peer.best_alphas_), rtol=1e-12)
    np.testing.assert_allclose(ours.predict(x[80:]), np.asarray(peer.predict(x[80:])), atol=1e-8)


@pytest.mark.parametrize("n_features", [10, 150])
def test_ridge_of_scikit_learn(n_features):
    """One penalty, with an intercept: the same weights."""
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(8)
    x = rng.normal(size=(90, n_features)) + 3.0
    y = x @ rng.normal(size=(n_features, 3)) + rng.normal(size=(90, 3))
    for alpha in (1e-2, 1.0, 1e3):
        peer = Ridge(alpha=alpha).fit(x, y)
        ours = sx.RidgeCV([alpha], alpha_scale="absolute", cv=3).fit(x, y)
        np.testing.assert_allclose(ours.coef_, peer.coef_.T, atol=1e-9)
        np.testing.assert_allclose(ours.intercept_, peer.intercept_, atol=1e-8)


def test_distances_and_silhouette_of_scipy_and_scikit_learn():
    from scipy.spatial.distance import cdist
    from sklearn.metrics import silhouette_samples

    rng = np.random.default_rng(9)
    points = rng.normal(size=(30, 7))
    groups = np.repeat(["a", "b", "c"], 10)
    metrics = {"euclidean_raw": "euclidean", "correlation": "correlation", "cosine": "cosine"}
    for kind, metric in metrics.items():
        ours = sx.distances(points, kind=kind).distances
        theirs = cdist(points, points, metric)
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
        np.fill_diagonal(theirs, 0.0)
        found = sx.silhouette(ours, groups, 99)
        assert found.mean == pytest.approx(silhouette_samples(theirs, groups, metric="precomputed").mean())


def test_a_reduction_by_qr_keeps_what_scipy_sees():
    """Singular values down to 1e-11 of the largest, which a Gram matrix loses."""
    from scipy.linalg import svdvals

    rng = np.random.default_rng(10)
    basis = np.linalg.qr(rng.normal(size=(80 * 10, 4)))[0]
    depth = np.arange(9)
    path = np.array([0.95**depth, 0.8**depth, (-0.7) ** depth, 0.5**depth])
    sizes = np.logspace(0, -10.5, 4)
    snapshots = basis @ (sizes[:, None] * path)
    layers = [column.reshape(80, 10) for column in snapshots.T]
    settings = {"rank": "fixed:4", "scale": "none", "centring": "none", "min_energy": 0.0}
    blurred = sx.DepthDMD(reduction="gram", **settings).fit(layers)
    sharp = sx.DepthDMD(reduction="auto", **settings).fit(layers)
    assert blurred.numerical_rank_ < 4 <= sharp.numerical_rank_
    assert svdvals(snapshots)[3] / svdvals(snapshots)[0] < 1e-10
    np.testing.assert_allclose(sorted(sharp.eigenvalues_.real), [-0.7, 0.5, 0.8, 0.95], atol=1e-2)


def test_the_stored_numbers_of_nilearn_are_still_nilearns():
    """`crates/stereotax/tests/signal_nilearn.rs` holds our kernels and drifts to these numbers."""
    import json
    from pathlib import Path

    from make_signal_fixture import make

    stored = json.loads((Path(__file__).parent / "fixtures" / "signal_nilearn.json").read_text())
    live = make()
    for ours, theirs in zip(stored["kernels"], live["kernels"], strict=True):
        for a, b in zip(ours["kernels"], theirs["kernels"], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)
    for ours, theirs in zip(stored["drifts"], live["drifts"], strict=True):
        np.testing.assert_allclose(ours["basis"], theirs["basis"], atol=1e-14)


def test_product_measure_of_himalaya():
    from himalaya.scoring import r2_score, r2_score_split

    rng = np.random.default_rng(8)
    y = rng.normal(size=(120, 6))
    parts = {name: 0.3 * y + 0.4 * rng.normal(size=y.shape) for name in "abc"}
    # himalaya takes all to have mean zero; we take the levels out.
    y_centred = y - y.mean(axis=0)
    centred = np.stack([part - part.mean(axis=0) for part in parts.values()])
    found = sx.product_measure(y, parts)
    np.testing.assert_allclose(np.stack(list(found.values())), r2_score_split(y_centred, centred), atol=1e-12)
    np.testing.assert_allclose(sum(found.values()), r2_score(y_centred, centred.sum(axis=0)), atol=1e-12)


def test_kernel_ridge_of_himalaya():
    from himalaya.kernel_ridge import KernelRidgeCV
    from sklearn.model_selection import KFold

    rng = np.random.default_rng(9)
    x = rng.normal(size=(120, 5))
    y = np.sin(x @ rng.normal(size=(5, 6))) + np.array([0.01, 0.1, 0.5, 1, 2, 20]) * rng.normal(size=(120, 6))
    alphas = np.logspace(-4, 4, 9)
    peer = KernelRidgeCV(alphas, kernel="rbf", kernel_params={"gamma": 0.2}, cv=KFold(4)).fit(x[:90], y[:90])
    settings = {"alphas": alphas, "alpha_scale": "absolute", "fit_intercept": False, "cv": 4}
    ours = sx.KernelRidgeCV("rbf", gamma=0.2, **settings).fit(x[:90], y[:90])
    np.testing.assert_allclose(ours.alpha_, np.asarray(peer.best_alphas_), rtol=1e-12)
    np.testing.assert_allclose(ours.predict(x[90:]), np.asarray(peer.predict(x[90:])), atol=1e-8)


def test_tfce_of_nilearn():
    """Its sum over steps, times their width, comes to our integral as the width goes to 0."""
    from nilearn.mass_univariate._utils import calculate_tfce
    from scipy.ndimage import gaussian_filter, generate_binary_structure

    rng = np.random.default_rng(10)
    volume = 8 * gaussian_filter(rng.normal(size=(9, 10, 8)), 1.2)
    mask = np.ones(volume.shape, bool)
    ours = sx.cluster_test(volume[mask], null=np.zeros((1, mask.sum())), mask=mask).tfce
    step = np.abs(volume).max() / 900  # it takes no more than 1000 steps
    theirs = calculate_tfce(volume[..., None], generate_binary_structure(3, 1), E=0.5, H=2, dh=step)
    np.testing.assert_allclose(ours, step * theirs[mask][:, 0], rtol=0.02, atol=0.002 * np.abs(ours).max())


def test_banded_search_of_himalaya():
    """The same draws, folds and penalties: the same scores, choices and predictions (float64)."""
    from himalaya.kernel_ridge import MultipleKernelRidgeCV
    from sklearn.model_selection import KFold

    rng = np.random.default_rng(11)
    bands = [rng.normal(size=(120, p)) for p in (8, 40, 150)]
    y = sum(x[:, :3] @ rng.normal(size=(3, 30)) * rng.uniform(0, 1, 30) for x in bands)
    y += 2 * rng.normal(size=y.shape)
    kernels = np.stack([x @ x[:100].T for x in bands])
    draws = np.vstack([np.full(3, 1 / 3), rng.dirichlet([0.3] * 3, size=15)])
    alphas = np.logspace(-1, 4, 16)
    peer = MultipleKernelRidgeCV(
        kernels="precomputed",
        solver="random_search",
        solver_params={"n_iter": draws, "alphas": alphas, "progress_bar": False},
        cv=KFold(5),
    ).fit(kernels[:, :100], y[:100])
    settings = {"alphas": alphas, "alpha_scale": "absolute", "fit_intercept": False, "cv": 5}
    ours = sx.BandedRidgeCV("precomputed", draws=draws, **settings).fit(list(kernels[:, :100]), y[:100])
    # Theirs is minus the mean squared error.
    theirs = 1 + np.asarray(peer.cv_scores_).max(axis=0) / (y[:100] ** 2).mean(axis=0)
    np.testing.assert_allclose(ours.best_score_, theirs, atol=1e-9)
    np.testing.assert_allclose(np.exp(ours.deltas_), np.exp(np.asarray(peer.deltas_)), rtol=1e-6)
    found = ours.predict(list(kernels[:, 100:]))
    np.testing.assert_allclose(found, np.asarray(peer.predict(kernels[:, 100:])), atol=1e-7)


def test_intrinsic_dimension_of_scikit_dimension():
    """`MLE(K=…)` is without effect there: neighbours go to `fit`."""
    import skdim

    points = np.random.default_rng(9).normal(size=(600, 4)) @ np.random.default_rng(10).normal(size=(4, 9))
    ours = sx.intrinsic_dimension(points, k=20)
    assert ours.two_nn == pytest.approx(skdim.id.TwoNN().fit(points).dimension_, rel=0.01)
    peer = skdim.id.MLE().fit(points, n_neighbors=20, comb="mle")
    assert ours.levina_bickel == pytest.approx(peer.dimension_, rel=0.06)


def test_diffusion_map_of_pydiffmap():
    """With the same ε (theirs is exp(−d²/4ε)) and all neighbours: the same first coordinates up to scale."""
    from pydiffmap import diffusion_map

    points = np.random.default_rng(11).uniform(size=(200, 2)) * [3.0, 1.0]
    ours = sx.DiffusionMap(3, n_neighbors=199, bandwidth=0.4).fit(points)
    peer = diffusion_map.DiffusionMap.from_sklearn(n_evecs=3, k=200, epsilon=0.1, alpha=1.0)
    theirs = peer.fit_transform(points)
    for k in range(3):
        assert abs(np.corrcoef(ours.embedding_[:, k], theirs[:, k])[0, 1]) > 0.999
