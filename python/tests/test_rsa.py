"""Comparison of RDMs, their transforms, Mantel's test, identification and RSA."""

import numpy as np
import pytest
import stereotax as sx
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau, pearsonr, rankdata, spearmanr


def condensed(n, seed, ties=False):
    rng = np.random.default_rng(seed)
    m = n * (n - 1) // 2
    return rng.integers(0, 5, m) + 0.5 if ties else rng.uniform(0.1, 1, m)


@pytest.mark.parametrize("ties", [False, True])
def test_comparisons_are_those_of_scipy(ties):
    a, b = condensed(15, 1, ties), condensed(15, 2, ties)
    expected = {
        "pearson": pearsonr(a, b).statistic,
        "spearman": spearmanr(a, b).statistic,
        "tau_b": kendalltau(a, b).statistic,
        "cosine": a @ b / np.linalg.norm(a) / np.linalg.norm(b),
    }
    m = len(a)
    ranks = rankdata(a) - (m + 1) / 2, rankdata(b) - (m + 1) / 2
    expected["rho_a"] = 12 * ranks[0] @ ranks[1] / (m**3 - m)
    signs = [np.sign(x[:, None] - x[None]) for x in (a, b)]
    expected["tau_a"] = (signs[0] * signs[1]).sum() / (m * (m - 1))
    for method, value in expected.items():
        assert float(sx.compare_rdms(a, b, method)) == pytest.approx(value, abs=1e-13), method
    assert float(sx.compare_rdms(a, b, "rho-a")) == float(sx.compare_rdms(a, b, "rho_a"))


def test_whitened_cosine_is_linear_cka_and_takes_a_covariance():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(12, 5)), rng.normal(size=(12, 8))
    centred = [z - z.mean(axis=0) for z in (x, y)]
    grams = [z @ z.T for z in centred]
    cka = (grams[0] * grams[1]).sum() / np.sqrt((grams[0] ** 2).sum() * (grams[1] ** 2).sum())
    rdms = [pdist(z, "sqeuclidean") for z in (x, y)]
    assert float(sx.compare_rdms(*rdms, "whitened_cosine")) == pytest.approx(cka, abs=1e-12)
    assert float(sx.compare_rdms(squareform(rdms[0]), rdms[1], "cosine_cov")) == pytest.approx(cka, abs=1e-12)
    # The whole covariance of dissimilarities, where it can still be written down.
    noise = np.cov(rng.normal(size=(12, 40)))
    rows, columns = np.triu_indices(12, 1)
    contrasts = np.zeros((66, 12))
    contrasts[np.arange(66), rows], contrasts[np.arange(66), columns] = 1, -1
    for sigma, given in [(noise, noise), (np.diag(np.diag(noise)), np.diag(noise))]:
        v = (contrasts @ sigma @ contrasts.T) ** 2
        for keep in (np.ones(66, bool), rng.uniform(size=66) > 0.2):
            a, b = (np.where(keep, rdm, np.nan) for rdm in rdms)
            inner = np.linalg.solve(v[np.ix_(keep, keep)], np.array([a[keep], b[keep]]).T)
            aa, ab, bb = a[keep] @ inner[:, 0], a[keep] @ inner[:, 1], b[keep] @ inner[:, 1]
            found = sx.compare_rdms(a, b, "whitened_cosine", noise_covariance=given)
            assert float(found) == pytest.approx(ab / np.sqrt(aa * bb), abs=1e-9)
            assert found.n_dropped[0, 0] == (~keep).sum()


def test_what_is_undefined_is_nan_with_a_reason_never_zero():
    a = condensed(6, 1)
    flat = sx.compare_rdms([a, np.ones(15)], [a], "spearman")
    assert flat.values[0, 0] == pytest.approx(1) and np.isnan(flat.values[1, 0])
    assert flat.status == [[None], ["an RDM is constant over the pairs compared"]]
    zero = sx.compare_rdms(np.zeros(15), a, "cosine")
    assert np.isnan(float(zero)) and "zero" in zero.status[0][0]
    holes = a.copy()
    holes[[2, 7]] = np.nan
    found = sx.compare_rdms(holes, condensed(6, 2))
    keep = ~np.isnan(holes)
    assert float(found) == pytest.approx(pearsonr(holes[keep], condensed(6, 2)[keep]).statistic)
    assert found.n_dropped.tolist() == [[2]]
    with pytest.raises(ValueError, match="another order"):
        names = ["a", "b", "c"]
        sx.compare_rdms(
            sx.RDM.of([1.0, 2, 3], conditions=names), sx.RDM.of([1.0, 2, 3], conditions=names[::-1])
        )
    with pytest.raises(ValueError, match="one of pearson"):
        sx.compare_rdms(a, a, "euclid")
    with pytest.raises(ValueError, match="conditions"):
        sx.compare_rdms(a, condensed(7, 1))


def test_transforms():
    line = [1.0, 3, 7, 12, 2, 6, 11, 4, 9, 5]
    found = sx.transform_rdm(line, "geotopological", lower=0.2, upper=0.8).values
    expected = [0, 0.0370, 0.7778, 1, 0, 0.5926, 1, 0.2222, 0.9630, 0.4074]
    np.testing.assert_allclose(found, expected, atol=5e-5)
    warped = sx.transform_rdm(np.exp(line), "geotopological").values
    np.testing.assert_array_equal(found, warped)
    given = sx.RDM.of([4.0, -1, 9], conditions=["a", "b", "c"], method="crossnobis", squared=True)
    root = sx.transform_rdm(given, "sqrt")
    assert root.values.tolist() == [2, 0, 3] and root.squared is False and root.conditions == ["a", "b", "c"]
    assert root.method == "sqrt of crossnobis"
    near = sx.transform_rdm([1.0, 8, 9, 7, 6, 2], "geodesic", neighbours=1)
    assert near.values.tolist() == [1, 4.5, 4.5, 4.5, 4.5, 2]
    for bad in ({"lower": 0.9, "upper": 0.1}, {"lower": -1}):
        with pytest.raises(ValueError, match="lower"):
            sx.transform_rdm(line, "geotopological", **bad)


def test_mantel_finds_a_relation_and_refuses_holes():
    points = np.random.default_rng(1).normal(size=(15, 4))
    test = sx.mantel(pdist(points), pdist(points[:, :2]), "spearman", n_permutations=499)
    assert test.statistic == pytest.approx(spearmanr(pdist(points), pdist(points[:, :2])).statistic)
    assert test.p_value == 0.002 and not test.exact
    assert sx.mantel(pdist(points), pdist(points[:, :2]), alternative="less", n_permutations=99).p_value > 0.9
    with pytest.raises(ValueError, match="undefined pairs"):
        sx.mantel([1.0, 2, 3, np.nan, 5, 6], [1.0, 2, 3, 4, 5, 6])


def test_regions_are_identified_as_a_plain_loop_does():
    rng = np.random.default_rng(2)
    rdms = rng.uniform(size=(4, 28)) + 0.5 * rng.normal(size=(5, 4, 28))
    grid = [(0.0, 1.0), (0.2, 0.8), (0.3, 0.5)]
    found = sx.identify_regions(rdms, grid=grid, regions=["V1", "V2", "V4", "IT"])
    for cell, (low, high) in enumerate(grid):
        g = np.array(
            [[sx.transform_rdm(r, "geotopological", lower=low, upper=high).values for r in s] for s in rdms]
        )
        right = 0
        for s in range(5):
            centroids = np.delete(g, s, axis=0).mean(axis=0)
            distances = ((g[s][:, None] - centroids[None]) ** 2).sum(axis=-1)
            right += (distances.argmin(axis=1) == np.arange(4)).sum()
        assert found.accuracies["accuracy"][cell] == pytest.approx(right / 20)
    assert found.per_subject.shape == (3, 5) and found.confusion.shape == (3, 4, 4)


def world(n=24, n_subjects=6, seed=0):
    rng = np.random.default_rng(seed)

    def rdm(*parts):
        return pdist(np.concatenate(parts, axis=1), "sqeuclidean")

    a, b, other = rng.normal(size=(3, n, 4))
    people = {f"subject {s}": rdm(a, 0.7 * b, rng.normal(size=(n, 4))) for s in range(n_subjects)}
    return {"a": rdm(a), "both": rdm(a, 0.7 * b), "other": rdm(other)}, people, (rdm(a), rdm(b), rdm(other))


@pytest.mark.parametrize("method", ["pearson", "spearman", "rho_a", "tau_a", "cosine", "whitened_pearson"])
def test_models_are_judged_with_what_surrounds_them(method):
    models, people, _ = world()
    found = sx.rsa(models, people, method, n_bootstraps=100, n_permutations=99)
    expected = sx.compare_rdms(models, people, method).values
    np.testing.assert_allclose(found.evaluations, expected, atol=1e-12)
    np.testing.assert_allclose(found.estimates, expected.mean(axis=1), atol=1e-12)
    assert found.best["name"] == "both" and found.win_share[1] > 0.8
    assert found.p_zero[1] < 0.01 and found.p_pairwise[1, 2] < 0.05 and (np.diag(found.p_pairwise) == 1).all()
    assert found.noise_ceiling[0] < found.noise_ceiling[1]
    assert (found.lower < found.estimates).all() and (found.estimates < found.upper).all()
    table, pairs = found.table(), found.pairs()
    assert table["model"].tolist() == ["a", "both", "other"] and len(pairs) == 3
    assert (table["p_zero_adjusted"] >= table["p_zero"]).all()
    assert found.p_zero_by_test["sign_flip"][1] == 1 / 64
    if method != "tau_a":
        assert found.p_zero_by_test["permutation"][1] == 0.01
    text = found.summary()
    assert "p (against NC)" in text and "noise ceiling (NC)" in text and "wins" in text


def test_ceilings_are_leave_one_out_and_pooled():
    models, people, _ = world(n=12)
    x = np.array(list(people.values()))
    z = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    lower = np.mean([pearsonr(np.delete(z, s, axis=0).mean(axis=0), x[s]).statistic for s in range(6)])
    upper = np.mean([pearsonr(z.mean(axis=0), x[s]).statistic for s in range(6)])
    found = sx.rsa(models, people, n_bootstraps=50)
    np.testing.assert_allclose(found.noise_ceiling, (lower, upper), atol=1e-12)
    ranks = np.array([rankdata(v) for v in x])
    lower = np.mean([spearmanr(np.delete(ranks, s, axis=0).mean(axis=0), x[s]).statistic for s in range(6)])
    assert sx.rsa(models, people, "spearman", n_bootstraps=5).noise_ceiling[0] == pytest.approx(
        lower, abs=1e-12
    )
    low, high = found.noise_ceiling_intervals[0]
    assert low < found.noise_ceiling[0] < high


def test_flexible_models_are_fitted_elsewhere():
    models, people, components = world(n=36, seed=4)
    models["weighted"] = sx.RDMModel(components)
    models["select"] = sx.RDMModel(components, "select")
    models["between"] = sx.RDMModel(components[:2], "interpolated")
    found = sx.rsa(models, people, n_bootstraps=30)
    weights = np.array(found.weights[3])
    assert 0.2 < weights[1] / weights[0] < 0.9 and weights[2] < 0.25 * weights[0]
    assert found.weights[4] == [1, 0, 0] and sum(found.weights[5]) == pytest.approx(1)
    assert found.estimates[3] == pytest.approx(found.estimates[1], abs=0.05)
    with pytest.raises(ValueError, match="fitted to"):
        sx.rsa(models, people, n_folds=1)
    with pytest.raises(ValueError, match="one of weighted"):
        sx.RDMModel(components, "tree")


def test_one_subject_many_conditions_and_few():
    models, people, _ = world(n=110)
    one = list(people.values())[:1]
    with pytest.raises(ValueError, match="draw conditions only"):
        sx.rsa(models, one)
    found = sx.rsa(models, one, bootstrap="conditions", n_bootstraps=30)
    assert np.isnan(found.noise_ceiling).all() and "one subject" in found.summary()
    assert found.standard_errors[0] > 0
    # More than a hundred conditions, whitened, with conditions drawn twice.
    whitened = sx.rsa(models, people, "corr_cov", n_bootstraps=20)
    assert (whitened.standard_errors > 0).all() and whitened.n_undefined == 0
    models, people, _ = world(n=4)
    few = sx.rsa(models, people, n_bootstraps=200)
    assert few.n_poor > 0 and np.isfinite(few.estimates).all() and "left out" in few.summary()
    models["flat"] = np.ones(6)
    flat = sx.rsa(models, people, n_bootstraps=10)
    assert (
        np.isnan(flat.estimates[3]) and "constant" in flat.status[3] and flat.n_undefined + flat.n_poor == 10
    )


def test_draws_follow_names_not_rows():
    models, people, _ = world(n=10)
    names = [f"image {i}" for i in range(10)]
    order = np.random.default_rng(0).permutation(10)

    def moved(rdm):
        return squareform(squareform(rdm)[np.ix_(order, order)])

    first = sx.rsa(models, people, n_bootstraps=40, conditions=names)
    other = sx.rsa(
        {k: moved(v) for k, v in models.items()},
        {k: moved(v) for k, v in reversed(people.items())},
        n_bootstraps=40,
        conditions=[names[i] for i in order],
    )
    np.testing.assert_allclose(first.standard_errors, other.standard_errors, rtol=1e-9)
    again = sx.rsa(models, people, n_bootstraps=40, conditions=names)
    np.testing.assert_array_equal(first.standard_errors, again.standard_errors)
    assert not np.array_equal(
        first.standard_errors, sx.rsa(models, people, n_bootstraps=40, seed=1).standard_errors
    )


def test_noise_that_conditions_share_enters_every_draw():
    models, people, _ = world(n=12)
    near = 0.6 ** np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
    settings = {"method": "whitened_cosine", "n_bootstraps": 50, "seed": 1}
    found = sx.rsa(models, people, noise_covariance=near, **settings)
    plain = sx.compare_rdms(models, people, "whitened_cosine", noise_covariance=near).values
    assert np.allclose(found.estimates, plain.mean(axis=1), rtol=0, atol=1e-12)
    assert found.n_undefined == 0 and (found.standard_errors > 0).all()
    # What is diagonal is so in either form; what is not changes the draws too.
    variances = 1 + np.arange(12) / 6
    forms = [sx.rsa(models, people, noise_covariance=v, **settings) for v in (variances, np.diag(variances))]
    assert np.allclose(forms[0].standard_errors, forms[1].standard_errors, rtol=0, atol=1e-12)
    assert np.abs(found.standard_errors - forms[0].standard_errors).max() > 1e-3


def test_arguments_are_checked():
    models, people, _ = world(n=8)
    for bad, message in [
        ({"test": "permutation"}, "n_permutations"),
        ({"bootstrap": "all"}, "one of both"),
        ({"method": "bures"}, "compare_rdms"),
        ({"level": 2.0}, "between 0 and 1"),
        ({"noise_covariance": np.ones(8)}, "whitened"),
        ({"noise_covariance": np.ones((8, 8)), "method": "whitened_cosine"}, "shrink"),
        ({"noise_covariance": np.eye(7), "method": "whitened_cosine"}, "8 conditions"),
        ({"subjects": ["x"] * 6}, "twice"),
    ]:
        with pytest.raises(ValueError, match=message):
            sx.rsa(models, people, **bad)
    with pytest.raises(ValueError, match="conditions"):
        sx.rsa(world(n=9)[0], people)
    with pytest.raises(ValueError, match="empty"):
        sx.rsa({}, people)


def test_weighted_features_predict_other_conditions():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(50, 8))
    truth = np.array([3, 0, 0, 1, 0, 2, 0, 0])
    people = [pdist(x * truth, "sqeuclidean") + rng.normal(size=1225) for _ in range(3)]
    found = sx.weighted_rsa(x, people)
    assert found.score > 0.95 > found.plain_score and found.scores.shape == (3,)
    assert found.weights[0] > found.weights[5] > found.weights[3] > 5 * found.weights[[1, 2, 4, 6, 7]].max()
    # Features that have nothing to do with the data predict nothing.
    assert abs(sx.weighted_rsa(rng.normal(size=(50, 8)), people, alphas=[0.01]).score) < 0.2
    with pytest.raises(ValueError, match="positive"):
        sx.weighted_rsa(x, people, alphas=[0.0])


def test_mixed_rsa_recovers_what_fixed_proportions_hide():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(60, 10))
    people = [x[:, :2] @ rng.normal(size=(2, p)) + 0.3 * rng.normal(size=(60, p)) for p in (25, 40)]
    for distance in ("correlation", "sqeuclidean"):
        found = sx.mixed_rsa(x, people, "spearman", distance=distance)
        assert found.scores.shape == (2,) and found.fold_scores.shape == (5, 2)
        assert found.score > 0.75 > found.fixed_score + 0.2, (found.score, found.fixed_score)
        assert found.inner_scores.min() > 0.5 and found.n_undefined == [0, 0]
    # By an outside road: one penalty, folds by hand.
    alone = sx.mixed_rsa(x, people[0], distance="sqeuclidean", alphas=[1e-9], n_folds=2)
    both = sx.mixed_rsa(x[:, ::-1], people[0], distance="sqeuclidean", alphas=[1e-9], n_folds=2)
    np.testing.assert_allclose(alone.fold_scores, both.fold_scores, atol=1e-6)
    # Features that have nothing to do with the voxels predict nothing.
    assert abs(sx.mixed_rsa(rng.normal(size=(60, 10)), people).score) < 0.25
    with pytest.raises(ValueError, match="4 in each"):
        sx.mixed_rsa(x[:12], people[0][:12], n_folds=4)
    with pytest.raises(ValueError, match="60 rows"):
        sx.mixed_rsa(x, people[0][:50])
    with pytest.raises(ValueError, match="distance"):
        sx.mixed_rsa(x, people[0], distance="euclid")
