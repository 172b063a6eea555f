"""Measures of similarity, against SciPy, scikit-learn and definitions in NumPy."""

import numpy as np
import pytest
import stereotax as sx
from scipy.linalg import subspace_angles
from scipy.spatial import procrustes as scipy_procrustes
from scipy.spatial.distance import pdist
from scipy.stats import ortho_group, spearmanr


def related(n=60, p=8, q=11, seed=0):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 3))
    return tuple(
        shared @ rng.normal(size=(3, width)) + 0.8 * rng.normal(size=(n, width)) + rng.normal(size=width)
        for width in (p, q)
    )


def centred(x):
    return x - x.mean(axis=0)


@pytest.mark.parametrize(("n", "p", "q"), [(60, 8, 11), (30, 50, 7), (25, 40, 60)])
def test_cka_is_that_of_its_definition(n, p, q):
    X, Y = related(n, p, q)
    x, y = centred(X), centred(Y)
    plain = np.linalg.norm(x.T @ y) ** 2 / np.linalg.norm(x.T @ x, "fro") / np.linalg.norm(y.T @ y, "fro")
    assert sx.cka(X, Y, debiased=False) == pytest.approx(plain, abs=1e-12)

    def hsic(a, b):
        a, b = a - np.diag(np.diag(a)), b - np.diag(np.diag(b))
        ones = np.ones(n)
        return (
            np.trace(a @ b)
            + (ones @ a @ ones) * (ones @ b @ ones) / ((n - 1) * (n - 2))
            - 2 / (n - 2) * (ones @ a @ b @ ones)
        )

    a, b = X @ X.T, Y @ Y.T
    expected = hsic(a, b) / np.sqrt(hsic(a, a) * hsic(b, b))
    assert sx.cka(X, Y) == pytest.approx(expected, abs=1e-10)
    kernels = [np.exp(-(d**2) / (2 * (0.5 * np.median(d[np.triu_indices(n, 1)])) ** 2)) for d in (
        np.linalg.norm(X[:, None] - X[None], axis=2), np.linalg.norm(Y[:, None] - Y[None], axis=2)
    )]  # fmt: skip
    expected = hsic(*kernels) / np.sqrt(hsic(kernels[0], kernels[0]) * hsic(kernels[1], kernels[1]))
    assert sx.cka(X, Y, kernel="rbf", fraction=0.5) == pytest.approx(expected, abs=1e-9)


def test_canonical_correlations_are_those_of_scipy_and_scikit_learn():
    from sklearn.cross_decomposition import CCA

    X, Y = related()
    found = sx.cca(X, Y)
    angles = subspace_angles(centred(X), centred(Y))
    np.testing.assert_allclose(found.correlations, np.sort(np.cos(angles))[::-1], atol=1e-9)
    peer = CCA(n_components=3, max_iter=5000, tol=1e-12).fit(X, Y)
    a, b = peer.transform(X, Y)
    rho = [np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(3)]
    np.testing.assert_allclose(found.correlations[:3], rho, atol=1e-5)
    assert not found.saturated and found.chance_r2 == pytest.approx(11 / 59)
    assert sx.cca(X[:15], Y[:15]).saturated
    assert sx.cca(X, Y, ridge=1.0).mean < found.mean
    assert sx.cca(X, Y, cv=5).held_out < found.mean


def test_svcca_and_pwcca_are_those_of_their_definitions():
    X, Y = related()
    x, y = centred(X), centred(Y)

    def leading(z, share, power):
        u, s, _ = np.linalg.svd(z, full_matrices=False)
        kept = np.searchsorted(np.cumsum(s**power) / (s**power).sum(), share) + 1
        return u[:, :kept]

    for of, power in (("variance", 2), ("singular_values", 1)):
        rho = np.linalg.svd(leading(x, 0.9, power).T @ leading(y, 0.9, power), compute_uv=False)
        assert sx.svcca(X, Y, share=0.9, of=of).mean == pytest.approx(rho.mean(), abs=1e-10)
    ux, uy = (np.linalg.svd(z, full_matrices=False)[0] for z in (x, y))
    left, rho, right = np.linalg.svd(ux.T @ uy, full_matrices=False)
    found = sx.pwcca(X, Y)
    for variates, units, value in ((ux @ left, x, found.of_x), (uy @ right.T, y, found.of_y)):
        alpha = np.abs(variates.T @ units).sum(axis=1)
        assert value == pytest.approx((alpha @ rho) / alpha.sum(), abs=1e-9)


def test_procrustes_is_that_of_scipy():
    X, Y = related(p=9, q=9)
    disparity = scipy_procrustes(X, Y)[2]
    assert sx.procrustes(X, Y).cosine ** 2 == pytest.approx(1 - disparity, abs=1e-12)
    assert sx.bures(X, Y) ** 2 == pytest.approx(1 - disparity, abs=1e-12)
    x, y = centred(X), centred(Y)
    rotation = scipy_orthogonal(x, y)
    assert sx.procrustes(X, Y).euclidean == pytest.approx(np.linalg.norm(x @ rotation - y), abs=1e-10)
    whitened = sx.shape_distance(X, Y, alpha=0.0)
    assert whitened.cosine == pytest.approx(sx.cca(X, Y).mean, abs=1e-10)


def scipy_orthogonal(x, y):
    from scipy.linalg import orthogonal_procrustes

    return orthogonal_procrustes(x, y)[0]


def test_shapes_on_held_out_stimuli():
    X, Y = related(n=100, p=6, q=6)
    folds = [(np.arange(50), np.arange(50, 100))]
    held = sx.shape_distance(X, Y, cv=folds)
    mean_x, mean_y = X[:50].mean(axis=0), Y[:50].mean(axis=0)
    rotation = scipy_orthogonal(X[:50] - mean_x, Y[:50] - mean_y)
    a, b = (X[50:] - mean_x) @ rotation, Y[50:] - mean_y
    assert held.euclidean == pytest.approx(np.linalg.norm(a - b), abs=1e-9)
    assert held.cosine == pytest.approx((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-9)


def test_many_measures_at_once_are_the_single_ones():
    X, Y = related()
    table = sx.compare(X, Y, n_permutations=19, n_bootstraps=50)
    value = dict(zip(table["measure"], table["value"], strict=True))
    assert list(value) == sx.measures()["measure"].tolist()
    expected = {
        "cka_debiased": sx.cka(X, Y),
        "cka_linear": sx.cka(X, Y, debiased=False),
        "cka_angular": np.arccos(sx.cka(X, Y, debiased=False)),
        "cka_rbf_debiased": sx.cka(X, Y, kernel="rbf"),
        "procrustes_angular": sx.procrustes(X, Y).angular,
        "bures_similarity": sx.bures(X, Y),
        "shape_half": sx.shape_distance(X, Y, alpha=0.5).angular,
        "cca_mean": sx.cca(X, Y).mean,
        "cca_r2": sx.cca(X, Y).r2,
        "svcca": sx.svcca(X, Y).mean,
        "pwcca": sx.pwcca(X, Y).of_x,
        "pwcca_reverse": sx.pwcca(X, Y).of_y,
        "gulp": sx.gulp(X, Y),
        "knn_overlap": sx.knn_overlap(X, Y).overlap,
        "soft_matching_correlation": sx.soft_matching(X, Y).correlation,
        "rsa_spearman": spearmanr(pdist(X, "correlation"), pdist(Y, "correlation")).statistic,
        "rsa_euclidean": spearmanr(pdist(X), pdist(Y)).statistic,
    }
    for name, number in expected.items():
        assert value[name] == pytest.approx(number, abs=1e-10), name
    assert (table["lower"] <= table["value"]).all() and (table["value"] <= table["upper"]).all()
    again = sx.compare(X, Y, ["svcca", "cka_*"], n_permutations=19, n_bootstraps=50)
    assert again["measure"].tolist()[:2] == ["svcca", "cka_debiased"]
    for column in ("value", "lower", "upper", "chance", "p_value"):
        both = table.where(measure="cka_debiased")[column][0], again.where(measure="cka_debiased")[column][0]
        assert both[0] == both[1], column


def test_intervals_hold_their_estimate_where_copies_would_not():
    """Copies of stimuli are pairs at distance 0: drawn and counted as such they inflate CKA."""
    rng = np.random.default_rng(4)
    shared = rng.normal(size=(40, 3))
    X, Y = (shared @ rng.normal(size=(3, 150)) + 2 * rng.normal(size=(40, 150)) for _ in range(2))
    table = sx.compare(X, Y, ["cka_debiased", "cka_linear"], n_permutations=0, n_bootstraps=300)
    value, lower, upper = table["value"], table["lower"], table["upper"]
    assert ((lower < value) & (value < upper)).all() and np.isnan(table["chance"]).all()
    naive = []
    for _ in range(100):
        rows = rng.integers(0, 40, size=40)
        naive.append(sx.cka(X[rows], Y[rows]))
    assert np.mean(np.array(naive) > value[0]) > 0.9


def test_saturated_measures_say_so():
    X, Y = related(n=20, p=30, q=25)
    table = sx.compare(X, Y, ["cca_mean", "cka_debiased"], n_permutations=9, n_bootstraps=20)
    assert table["value"][0] == pytest.approx(1.0) and "add up" in table["status"][0]
    assert np.isnan(table["lower"][0]) and table["interval"][0] is None and table["status"][1] is None


def test_all_pairs_and_precision():
    rng = np.random.default_rng(1)
    layers = [rng.normal(size=(30, p)) for p in (5, 40, 12)]
    for measure in ("cka_debiased", "cka_linear", "procrustes_angular", "cca_r2", "rsa_spearman", "pwcca"):
        found = sx.pairwise(layers, measure)
        for i in range(3):
            for j in range(3):
                single = sx.compare(layers[i], layers[j], measure, n_permutations=0)["value"][0]
                assert found[i, j] == pytest.approx(single, abs=1e-10)
    single = [layer.astype(np.float32) for layer in layers]
    np.testing.assert_allclose(sx.pairwise(single, "svcca"), sx.pairwise(layers, "svcca"), atol=1e-5)
    fortran = [np.asfortranarray(layer)[::-1] for layer in layers]
    reversed_rows = [layer[::-1] for layer in layers]
    for a, b in zip(fortran, reversed_rows, strict=True):
        assert sx.cka(a, layers[0]) == pytest.approx(sx.cka(b, layers[0]), abs=1e-14)
    assert sx.pairwise(layers, "procrustes_angular", rank=4).shape == (3, 3)
    before = layers[0].copy()
    sx.compare(layers[0], layers[1], n_permutations=3, n_bootstraps=3)
    np.testing.assert_array_equal(layers[0], before)


def test_mean_shapes_and_stochastic_shapes():
    X, _ = related(p=5)
    turned = [X @ ortho_group.rvs(5, random_state=i) for i in range(4)]
    found = sx.frechet_mean(turned)
    assert found.converged and found.distances.max() < 1e-9
    rng = np.random.default_rng(0)
    covariances = np.stack([np.cov(rng.normal(size=(5, 12))) for _ in X])
    q = ortho_group.rvs(5, random_state=9)
    same = sx.stochastic_shape_distance(X, X @ q, covariances, q.T @ covariances @ q)
    assert same.distance < 1e-4 and same.converged


def test_refusals():
    X, Y = related()
    bad = X.copy()
    bad[3, 2] = np.nan
    with pytest.raises(ValueError, match="60 rows"):
        sx.cka(X, Y[:20])
    with pytest.raises(ValueError, match="row 3, column 2"):
        sx.compare(bad, Y)
    with pytest.raises(ValueError, match="cka_linear"):
        sx.compare(X, Y, "cka")
    with pytest.raises(ValueError, match="60 ids"):
        sx.compare(X, Y, "svcca", blocks=["a"])
    with pytest.raises(ValueError, match="one size"):
        sx.compare(X, Y, "svcca", blocks=["a"] * 20 + ["b"] * 40)
    with pytest.raises(ValueError, match="fraction"):
        sx.cka(X, Y, kernel="rbf", fraction=0)
    with pytest.raises(ValueError, match="alpha"):
        sx.shape_distance(X, Y, alpha=2.0)
    with pytest.raises(ValueError, match="share"):
        sx.svcca(X, Y, share=1.5)
    with pytest.raises(ValueError, match="rank"):
        sx.pairwise([X, Y], "cka_linear", rank=3)
    with pytest.raises(ValueError, match="does not vary"):
        sx.frechet_mean([X, np.ones((60, 2))])
    with pytest.raises(ValueError, match="n_stimuli"):
        sx.bias_audit(X, Y, n_stimuli=[61])
    with pytest.raises(ValueError, match="covariances_x"):
        sx.stochastic_shape_distance(X, Y, np.ones((60, 3, 3)), np.ones((60, 11, 11)))
    assert np.isnan(sx.cka(X, np.ones((60, 3)))) and np.isnan(sx.cca(X, np.ones((60, 3))).mean)
    assert np.isnan(sx.cka(X[:3], Y[:3]))


def test_sizes_explain_plain_cka():
    X, Y = related(n=80, p=60, q=60)
    table = sx.bias_audit(X, Y, n_draws=5)
    assert set(table["n_stimuli"]) == {8, 26, 80} and set(table["n_units"]) == {6, 20, 60}
    small = table.where(measure="cka_linear", n_stimuli=8, n_units=60)["chance"][0]
    large = table.where(measure="cka_linear", n_stimuli=80, n_units=60)["chance"][0]
    debiased = table.where(measure="cka_debiased", n_stimuli=80, n_units=60)["chance"][0]
    assert small > 0.3 and small > 3 * large and abs(debiased) < 0.1
