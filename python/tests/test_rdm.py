"""RDMs: by hand, against SciPy's pdist, with noise, repeats and time; and what is refused."""

import numpy as np
import pytest
import stereotax as sx
from scipy.spatial.distance import cdist, pdist, squareform
from scipy.stats import spearmanr


def patterns(n=40, p=70, seed=0, dtype=float):
    return (np.random.default_rng(seed).normal(size=(n, p)) + 2).astype(dtype)


def repeated(n=6, n_runs=4, p=15, seed=1):
    """Measurements with some cells twice and some missing."""
    rng = np.random.default_rng(seed)
    rows = [(i, k) for k in range(n_runs) for i in range(n) for _ in range((i + 2 * k) % 3)]
    conditions, runs = np.array(rows).T
    return rng.normal(size=(len(rows), p)) + conditions[:, None] / 3, conditions, runs


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_distances_are_those_of_scipy(dtype, order):
    x = np.asarray(patterns(300, 70, dtype=dtype), order=order)
    for method, name in (("correlation", "correlation"), ("cosine", "cosine"), ("euclidean", "euclidean")):
        np.testing.assert_allclose(
            sx.rdm(x, method).values, pdist(x.astype(float), name), rtol=1e-10, atol=1e-12
        )
    squared = sx.rdm(x, "euclidean", squared=True, per_channel=True)
    np.testing.assert_allclose(squared.values, pdist(x.astype(float), "sqeuclidean") / 70, rtol=1e-11)
    assert squared.squared and squared.per_channel and squared.n_undefined == 0
    some = x[::2, ::-3]
    np.testing.assert_allclose(sx.rdm(some).values, pdist(some.astype(float), "correlation"), atol=1e-12)


def test_mahalanobis_is_that_of_scipy_and_the_poisson_divergence_that_of_its_formula():
    x = patterns(12, 6)
    root = np.random.default_rng(2).normal(size=(6, 6))
    precision = root @ root.T
    slow = pdist(x, "mahalanobis", VI=precision)
    np.testing.assert_allclose(sx.rdm(x, "mahalanobis", noise=precision).values, slow, rtol=1e-10)
    diagonal = sx.rdm(x, "mahalanobis", noise=np.arange(1.0, 7), squared=True).values
    np.testing.assert_allclose(diagonal, pdist(x * np.sqrt(np.arange(1.0, 7)), "sqeuclidean"), rtol=1e-10)
    counts = np.random.default_rng(3).poisson(4, size=(9, 20)).astype(float)
    rates = (counts + 0.5) / 1.25
    slow = pdist(rates, lambda a, b: ((a - b) * np.log(a / b)).mean())
    found = sx.rdm(counts, "poisson", prior=(2.0, 0.25))
    np.testing.assert_allclose(found.values, slow, rtol=1e-11)
    assert found.per_channel and found.squared is None
    total = sx.rdm(counts, "poisson", prior=(2.0, 0.25), per_channel=False)
    np.testing.assert_allclose(total.values, 20 * slow, rtol=1e-11)


def test_constant_patterns_are_nan_and_counted():
    x = patterns(5, 8)
    x[2] = 0.1
    rdm = sx.rdm(x)
    assert rdm.n_undefined == 4 and np.isnan(rdm.square()[2]).sum() == 4
    assert sx.rdm(x, "euclidean").n_undefined == 0
    x[2] = 0
    assert sx.rdm(x, "cosine").n_undefined == 4


def test_conditions_are_averaged_and_keep_their_order():
    x = patterns(6, 10)
    names = ["tool", "face", "tool", "house", "face", "tool"]
    means = np.stack([x[[0, 2, 5]].mean(0), x[[1, 4]].mean(0), x[3]])
    rdm = sx.rdm(x, conditions=names)
    assert rdm.conditions == ["tool", "face", "house"]
    np.testing.assert_allclose(rdm.values, pdist(means, "correlation"), atol=1e-14)
    assert rdm.subset(["house", "tool"]).values[0] == rdm.square()[2, 0]


def test_an_rdm_is_taken_condensed_and_square_and_what_is_none_is_refused():
    values = np.arange(1.0, 7)
    rdm = sx.RDM.of(squareform(values))
    np.testing.assert_array_equal(rdm.values, values)
    np.testing.assert_array_equal(rdm.square(), squareform(values))
    np.testing.assert_array_equal(np.asarray(rdm), values)
    from stereotax._rdm import as_rdms

    for many in (
        [rdm, values],
        np.stack([values] * 2),
        np.stack([squareform(values)] * 2),
        {"a": rdm, "b": rdm},
    ):
        assert [len(one) for one in as_rdms(many)] == [6, 6]
    assert len(as_rdms(squareform(values))) == len(as_rdms(squareform(values).tolist())) == 1
    for bad, words in (
        (np.eye(3), "pass 1 − r"),
        (np.triu(np.ones((3, 3)), 1), "symmetric"),
        (np.ones(4), "n .n − 1. / 2"),
        (np.array([np.inf]), "infinite"),
        (np.ones((2, 3, 3)), "list of them"),
    ):
        with pytest.raises(ValueError, match=words):
            sx.RDM.of(bad)
    with pytest.raises(ValueError, match="differ or stand"):
        as_rdms([sx.RDM.of([1.0], conditions=list("ab")), sx.RDM.of([1.0], conditions=list("ba"))])
    with pytest.raises(ValueError, match=r"\[3, 4\] conditions"):
        as_rdms([np.ones(3), np.ones(6)])
    again = rdm.subset([0, 2, 0])
    assert again.n_undefined == 1 and again.values[0] == values[1]
    with pytest.raises(ValueError, match="or names"):
        rdm.subset([0, 4])
    with pytest.raises(ValueError, match="conditions of the RDM"):
        rdm.subset(["face", "house"])


@pytest.mark.parametrize("method", ["shrinkage_diag", "shrinkage_eye", "full", "diag"])
def test_noise_has_the_covariance_of_its_formula(method):
    rng = np.random.default_rng(4)
    r = rng.normal(size=(90, 8)) @ (np.eye(8) + 0.4 * rng.normal(size=(8, 8)))
    found = sx.noise_precision(r, method=method)
    s = np.cov(r.T)
    target = {"full": s, "diag": np.diag(np.diag(s)), "shrinkage_diag": np.diag(np.diag(s))}
    centred = r - r.mean(0)
    if method == "shrinkage_eye":
        target[method] = np.eye(8) * np.trace(s) / 8
        sample = s * 89 / 90
        spread = np.mean([np.sum((np.outer(t, t) - sample) ** 2) for t in centred]) / 90
        slow = spread / np.sum((sample - np.eye(8) * np.trace(sample) / 8) ** 2)
        assert found.shrinkage == pytest.approx(slow, rel=1e-10) and 0.01 < slow < 0.9
    if method == "full":
        assert found.shrinkage == 0
    covariance = found.shrinkage * target[method] + (1 - found.shrinkage) * s
    np.testing.assert_allclose(found.to_array(), np.linalg.inv(covariance), rtol=1e-8, atol=1e-10)


def test_many_channels_keep_a_low_rank_and_give_the_distances_of_the_whole():
    rng = np.random.default_rng(5)
    residuals, x = rng.normal(size=(25, 120)), patterns(10, 120)
    found = sx.noise_precision(residuals)
    assert found.factor.shape == (25, 120) and found.matrix is None
    whole = found.to_array()
    covariance = np.cov(residuals.T)
    shrunk = found.shrinkage * np.diag(np.diag(covariance)) + (1 - found.shrinkage) * covariance
    np.testing.assert_allclose(whole @ shrunk, np.eye(120), atol=1e-9)
    low, dense = (sx.rdm(x, "mahalanobis", noise=noise).values for noise in (found, whole))
    np.testing.assert_allclose(low, dense, rtol=1e-9)
    by_region = sx.noise_precision(residuals, regions=["v1"] * 20 + ["it"] * 100)
    assert list(by_region) == ["v1", "it"] and by_region["v1"].n_channels == 20
    np.testing.assert_allclose(
        by_region["v1"].to_array(), sx.noise_precision(residuals[:, :20]).to_array(), rtol=1e-12
    )


def test_noise_of_repeats_and_what_has_no_precision():
    x, conditions, runs = repeated()
    found = sx.noise_precision(x, conditions=conditions, method="diag")
    means = {i: x[conditions == i].mean(0) for i in set(conditions)}
    left = x - np.stack([means[i] for i in conditions])
    assert found.dof == len(x) - 6
    np.testing.assert_allclose(1 / found.diagonal, (left**2).sum(0) / found.dof, rtol=1e-10)
    cells = len(set(zip(conditions, runs, strict=True)))
    assert sx.noise_precision(x, conditions=conditions, runs=runs).dof == len(x) - cells
    with pytest.raises(ValueError, match="12 channels, 8 residuals"):
        sx.noise_precision(patterns(8, 12), method="full")
    with pytest.raises(ValueError, match="column 3"):
        sx.noise_precision(np.where(np.arange(12) == 3, 1.0, patterns(8, 12)))
    with pytest.raises(ValueError, match="measured twice"):
        sx.noise_precision(patterns(8, 12), conditions=np.arange(8))
    with pytest.raises(ValueError, match="precision of one region"):
        sx.rdm(patterns(), "mahalanobis", noise={"v1": 1})


def slow_crossnobis(x, conditions, runs, precision, by_number):
    """The definition: every two runs that hold both conditions."""
    out = []
    for i in range(conditions.max() + 1):
        for j in range(i + 1, conditions.max() + 1):
            top = bottom = 0.0
            parts = {}
            for k in np.unique(runs):
                a, b = (x[(conditions == c) & (runs == k)] for c in (i, j))
                if len(a) and len(b):
                    weight = len(a) * len(b) / (len(a) + len(b)) if by_number else 1.0
                    parts[k] = (weight, a.mean(0) - b.mean(0))
            for k, (w, d) in parts.items():
                for m, (v, e) in parts.items():
                    if k != m:
                        top, bottom = top + w * v * d @ precision @ e, bottom + w * v
            out.append(top / bottom / x.shape[1] if bottom else np.nan)
    return np.array(out)


@pytest.mark.parametrize("pairing", ["shared_runs", "shared_runs_by_measurements"])
def test_crossnobis_of_unbalanced_runs_is_that_of_its_definition(pairing):
    x, conditions, runs = repeated()
    root = np.random.default_rng(6).normal(size=(15, 15))
    precision = root @ root.T / 15
    found = sx.crossnobis(x, conditions, runs, noise=precision, pairing=pairing)
    slow = slow_crossnobis(x, conditions, runs, precision, pairing != "shared_runs")
    # Conditions appear in the order 1, 2, 4, 5, 0, 3.
    order = [found.conditions.index(str(i)) for i in range(6)]
    np.testing.assert_allclose(found.subset(order).values, slow, rtol=1e-9, atol=1e-12)
    names = np.array(["z", "b", "q", "a"])[runs]
    renamed = sx.crossnobis(x, conditions, names, noise=precision, pairing=pairing)
    np.testing.assert_allclose(renamed.values, found.values, rtol=1e-10, atol=1e-13)
    assert found.squared and found.per_channel and (found.values < 0).any()


def test_crossnobis_and_poisson_without_repeats_are_refused_and_single_runs_undefined():
    x, conditions, runs = repeated()
    with pytest.raises(ValueError, match="2 different runs"):
        sx.crossnobis(x, conditions, np.zeros(len(x)))
    with pytest.raises(ValueError, match="one per row"):
        sx.crossnobis(x, conditions, runs[:-1])
    with pytest.raises(ValueError, match="15 channels"):
        sx.crossnobis(x, conditions, runs, noise=np.eye(4))
    with pytest.raises(ValueError, match="row 3, column 2"):
        sx.crossnobis(
            np.where((np.arange(len(x)) == 3)[:, None] & (np.arange(15) == 2), np.nan, x), conditions, runs
        )
    items, folds = np.tile(np.arange(6), 4), np.repeat(np.arange(4), 6)
    kept = (items != 5) | (folds == 1)
    once = sx.crossnobis(patterns(24)[kept], items[kept], folds[kept])
    assert once.n_undefined == 5 and np.isnan(once.square()[once.conditions.index("5")]).sum() == 5
    counts = np.round(np.abs(x) * 4)
    cross = sx.rdm(counts, "poisson", conditions=conditions, runs=runs)
    other = sx.rdm(counts, "poisson", conditions=conditions, runs=(runs + 1) % 4)
    np.testing.assert_allclose(cross.values, other.values, rtol=1e-10)
    assert cross.method == "poisson_cv"
    with pytest.raises(ValueError, match="crossnobis"):
        sx.rdm(x, conditions=conditions, runs=runs)


def test_movies_and_times_against_each_other():
    cube = np.random.default_rng(7).normal(size=(6, 20, 11))
    movie = sx.rdm_movie(cube, window=3, step=2, times=np.arange(11) / 10)
    assert movie.values.shape == (5, 15) and len(movie) == 5
    np.testing.assert_allclose(movie.times, [0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(movie.values[1], pdist(cube[:, :, 2:5].mean(2), "correlation"), atol=1e-13)
    np.testing.assert_allclose(movie.rdms[4].values, movie.values[4])
    alike = movie.generalisation()
    np.testing.assert_allclose(alike, spearmanr(movie.values.T).statistic, atol=1e-12)
    np.testing.assert_allclose(movie.generalisation("pearson"), np.corrcoef(movie.values), atol=1e-12)
    across = sx.cross_temporal_rdms(cube, "euclidean", window=3, step=2)
    slow = cdist(cube[:, :, 0:3].mean(2), cube[:, :, 4:7].mean(2))
    np.testing.assert_allclose(across[0, 2], slow, rtol=1e-10)
    np.testing.assert_allclose(across[2, 0], slow.T, rtol=1e-10)
    named = sx.rdm_movie(cube, conditions=list("abcabc"))
    np.testing.assert_allclose(
        named.values[3], pdist((cube[:3] + cube[3:])[:, :, 3] / 2, "correlation"), atol=1e-13
    )
    for wrong in ({"window": 12}, {"window": 0}, {"step": 0}, {"times": [1.0]}):
        with pytest.raises(ValueError):
            sx.rdm_movie(cube, **wrong)
    with pytest.raises(ValueError, match="three axes"):
        sx.rdm_movie(cube[0])


def test_what_has_no_rdm_is_refused():
    x = patterns(5, 8)
    for bad, words in (
        (x[:1], "2 conditions"),
        (x[:, :1], "Euclidean"),
        (np.where(x > 3, np.nan, x), "not finite"),
        (x[None], "two axes"),
    ):
        with pytest.raises(ValueError, match=words):
            sx.rdm(bad)
    with pytest.raises(ValueError, match="correlation"):
        sx.rdm(x, "Euclidean")
    with pytest.raises(ValueError, match="precision"):
        sx.rdm(x, "mahalanobis")
    with pytest.raises(ValueError, match="without|none"):
        sx.rdm(x, noise=np.eye(8))
    with pytest.raises(ValueError, match="negative"):
        sx.rdm(x, "mahalanobis", noise=-np.eye(8))
    with pytest.raises(ValueError, match="rate from 0"):
        sx.rdm(x - 5, "poisson")
    with pytest.raises(ValueError, match="rate, weight"):
        sx.rdm(x, "poisson", prior=3)
    with pytest.raises(ValueError, match="5 expected"):
        sx.rdm(x, conditions=["a"])
