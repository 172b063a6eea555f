"""Group statistics against NumPy, SciPy, scikit-learn and enumeration by hand."""

import itertools

import numpy as np
import pytest
import stereotax as sx

RNG = np.random.default_rng(11)
POINTS = RNG.normal(size=(14, 6))
POINTS[7:, 0] += 1.5
GROUPS = ["audio"] * 7 + ["vision"] * 7
D = sx.distances(POINTS, "euclidean_raw").distances


def numpy_f(D, groups):
    groups = np.asarray(groups)
    n, names = len(groups), sorted(set(groups))
    total = (D**2).sum() / 2 / n
    within = sum((D[np.ix_(groups == g, groups == g)] ** 2).sum() / 2 / (groups == g).sum() for g in names)
    return ((total - within) / (len(names) - 1)) / (within / (n - len(names))), 1 - within / total


@pytest.mark.parametrize(
    ("kind", "metric"),
    [
        ("euclidean_raw", "euclidean"),
        ("correlation", "correlation"),
        ("cosine", "cosine"),
        ("euclidean", None),
    ],
)
def test_distances_are_those_of_scipy(kind, metric):
    spatial = pytest.importorskip("scipy.spatial.distance")
    points = POINTS if metric else (POINTS - POINTS.mean(0)) / POINTS.std(0, ddof=1)
    expected = spatial.squareform(spatial.pdist(points, metric or "euclidean"))
    np.testing.assert_allclose(sx.distances(POINTS, kind).distances, expected, rtol=1e-10, atol=1e-12)


def test_distances_leave_out_what_is_undefined():
    points = np.vstack([POINTS[:3], np.full(6, 2.0)])
    found = sx.distances(points, "correlation")
    assert found.objects == [0, 1, 2] and found.undefined_objects == [3]
    assert found.distances.shape == (3, 3)


def test_pseudo_f_is_that_of_the_definition():
    test = sx.permanova(D, GROUPS, 999, seed=3)
    f, r2 = numpy_f(D, GROUPS)
    assert test.f == pytest.approx(f, rel=1e-12) and test.r2 == pytest.approx(r2, rel=1e-12)
    # For points on a line it is the F of an analysis of variance.
    scipy_stats = pytest.importorskip("scipy.stats")
    line = POINTS[:, :1]
    test = sx.permanova(sx.distances(line, "euclidean_raw").distances, GROUPS)
    assert test.f == pytest.approx(scipy_stats.f_oneway(line[:7, 0], line[7:, 0]).statistic, rel=1e-9)


def test_small_designs_are_enumerated():
    pick, groups = [0, 1, 2, 7, 8, 9], list("aaabbb")
    small = D[np.ix_(pick, pick)]
    null = []
    for chosen in itertools.combinations(range(6), 3):
        null.append(numpy_f(small, ["a" if i in chosen else "b" for i in range(6)])[0])
    observed = numpy_f(small, groups)[0]
    test = sx.permanova(small, groups)
    assert test.support.exact and test.support.n_distinct == 20
    assert test.p_value == pytest.approx(np.mean(np.array(null) >= observed * (1 - 1e-9)), abs=1e-12)


def test_random_p_values_are_near_the_exact_one():
    exact = sx.permanova(D, GROUPS)
    drawn = sx.permanova(D, GROUPS, 4999, exact_up_to=0)
    assert exact.support.exact and not drawn.support.exact
    sd = np.sqrt(exact.p_value * (1 - exact.p_value) / 4999)
    assert abs(drawn.p_value - exact.p_value) < 5 * sd + 1 / 5000


def test_families_and_strata_restrict_what_is_exchanged():
    families = [f"f{i // 2}" for i in range(6)] + ["g"] + [f"h{i // 2}" for i in range(6)] + ["k"]
    whole = sx.permanova(D, GROUPS, families=families)
    # 8 families, 4 of each group: 70 labellings.
    assert whole.support.restricted and whole.support.n_distinct == 70
    strata = ["s", "t"] * 7
    within = sx.permanova(D, GROUPS, strata=strata)
    assert within.support.restricted and within.f == whole.f
    with pytest.raises(ValueError, match="family `odd` lies in several"):
        sx.permanova(D, GROUPS, families=["odd"] * 14)
    with pytest.raises(ValueError, match="one of them at most"):
        sx.permanova(D, GROUPS, families=families, strata=strata)


def test_ids_make_the_order_of_rows_immaterial():
    ids = [f"model {i}" for i in range(14)]
    order = RNG.permutation(14)
    a = sx.permanova(D, GROUPS, 199, exact_up_to=0, ids=ids)
    b = sx.permanova(
        D[np.ix_(order, order)], [GROUPS[i] for i in order], 199, exact_up_to=0, ids=[ids[i] for i in order]
    )
    assert a.p_value == b.p_value and a.null_r2_q95 == pytest.approx(b.null_r2_q95, rel=1e-12)


def test_pairs_are_tested_on_their_own_objects_and_adjusted():
    groups = ["a"] * 5 + ["b"] * 5 + ["c"] * 4
    table = sx.pairwise_permanova(D, groups, 199)
    assert list(zip(table["first"], table["second"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    for row in table:
        objects = [i for i, g in enumerate(groups) if g in (row["first"], row["second"])]
        own = sx.permanova(D[np.ix_(objects, objects)], [groups[i] for i in objects], 199)
        assert (row["f"], row["p_value"]) == (own.f, own.p_value)
    order = np.argsort(table["p_value"])
    holm = np.maximum.accumulate(np.array([3, 2, 1]) * table["p_value"][order]).clip(max=1)
    np.testing.assert_allclose(table["p_adjusted"][order], holm)


def test_silhouettes_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    groups = ["a"] * 5 + ["b"] * 8 + ["c"]
    found = sx.silhouette(D, groups, 99)
    np.testing.assert_allclose(
        found.per_object, metrics.silhouette_samples(D, groups, metric="precomputed"), atol=1e-12
    )
    assert found.mean == pytest.approx(metrics.silhouette_score(D, groups, metric="precomputed"), abs=1e-12)
    assert found.per_group["b"] == pytest.approx(found.per_object[5:13].mean())
    assert found.null_mean < found.mean


def test_dispersion_about_centroids_is_plain_geometry():
    found = sx.permdisp(D, GROUPS, 99, centre="centroid")
    z = np.concatenate([np.linalg.norm(p - p.mean(0), axis=1) for p in (POINTS[:7], POINTS[7:])])
    np.testing.assert_allclose(found.to_centre, z, rtol=1e-9)
    scipy_stats = pytest.importorskip("scipy.stats")
    assert found.f == pytest.approx(scipy_stats.f_oneway(z[:7], z[7:]).statistic, rel=1e-9)
    assert found.n_negative_axes == 0
    grown = sx.permdisp(D, GROUPS, 99, centre="centroid", bias_factor="small_sample")
    np.testing.assert_allclose(grown.to_centre, z * np.sqrt(7 / 6), rtol=1e-9)
    median = sx.permdisp(D, GROUPS, 99)
    assert median.converged and median.to_centre.sum() < z.sum()


SCORES = RNG.uniform(0.1, 0.6, size=(7, 4))


@pytest.mark.parametrize("kind", ["bounded", "snr2", "tstat", "snr", "snr_c4", "debiased"])
def test_the_index_is_its_formula(kind):
    mu, s, n = SCORES.mean(0), SCORES.std(0, ddof=1), len(SCORES)
    epsilon = 1e-12 + 1e-6 * abs(np.median(mu))
    j = 0.8686  # J(7), Hedges' factor with n − 1 = 6 degrees of freedom
    power = np.maximum(mu**2 - s**2 / n, 0)
    expected = {
        "snr": mu / (s + epsilon),
        "bounded": mu**2 / (mu**2 + s**2),
        "snr2": mu**2 / s**2,
        "snr_c4": mu / (s + epsilon) * j,
        "debiased": power / (power + s**2),
        "tstat": mu * np.sqrt(n) / s,
    }[kind]
    found = sx.snci(SCORES, kind=kind, n_bootstraps=0)
    np.testing.assert_allclose(found.rois["value"], expected, rtol=1e-4 if kind == "snr_c4" else 1e-9)
    assert found.median.value == pytest.approx(np.median(found.rois["value"]))
    assert np.isnan(found.rois["lower"]).all()


def test_families_widen_intervals_and_undefined_scores_are_told():
    alone = sx.snci(SCORES, n_bootstraps=300)
    row = alone.rois[0]
    assert row["lower"] <= row["value"] <= row["upper"] or row["lower"] < row["upper"]
    assert alone.n_families == 7
    grouped = sx.snci(SCORES, families=list("aabbccd"), n_bootstraps=300)
    assert grouped.n_families == 4 and set(grouped.median_without_family) == set("abcd")
    holes = SCORES.copy()
    holes[:5, 2] = np.nan
    found = sx.snci(holes, n_bootstraps=0, roi_names=["V1", "V2", "A1", "A2"])
    row = found.rois.where(roi="A1")[0]
    assert np.isnan(row["value"]) and row["status"] != "ok" and row["n_models"] == 2
    some = sx.snci(SCORES, included=[True, True, False, False], n_bootstraps=0)
    assert some.median.value == pytest.approx(some.rois["value"][:2].mean(), rel=1e-5)


def test_profiles_are_compared_by_correlation():
    found = sx.profile_consistency(SCORES, n_bootstraps=50)
    r = np.corrcoef(SCORES)[np.triu_indices(7, 1)]
    assert found.mean_correlation.value == pytest.approx(r.mean(), rel=1e-9)
    assert found.n_pairs == 21
    assert found.profile_snr == pytest.approx(
        SCORES.mean(0).var(ddof=1) / SCORES.var(0, ddof=1).mean(), rel=1e-9
    )


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: sx.permanova(1 - D, GROUPS), "zero diagonal"),
        (lambda: sx.permanova(D[:5], GROUPS), "square matrix"),
        (lambda: sx.permanova(D, GROUPS[:5]), "14 labels"),
        (lambda: sx.permanova(D, ["x"] * 14), "2 groups"),
        (lambda: sx.permanova(D, "audio"), "one name per object"),
        (lambda: sx.permanova(D, GROUPS, ids=["same"] * 14), "distinct ids"),
        (lambda: sx.permanova(D, GROUPS, 0, exact_up_to=0), "n_permutations"),
        (
            lambda: sx.permanova(D, GROUPS, -1),
            "`n_permutations` is -1, but a whole number from 0 to 100000000",
        ),
        (lambda: sx.permanova(D, GROUPS, 10**15), "n_permutations"),
        (lambda: sx.silhouette(D, GROUPS, 9.5), "`n_permutations` is 9.5"),
        (lambda: sx.permdisp(D, GROUPS, seed=-1), "seed"),
        (lambda: sx.permdisp(D, GROUPS, exact_up_to=10**12), "exact_up_to"),
        (lambda: sx.snci(SCORES, n_bootstraps=10**12), "n_bootstraps"),
        (lambda: sx.profile_consistency(SCORES, n_bootstraps=-2), "n_bootstraps"),
        (lambda: sx.permanova(np.full((4, 4), np.nan), list("aabb")), "not finite at row 0, column 0"),
        (lambda: sx.distances(POINTS, "manhattan"), "`euclidean`, `euclidean_raw`"),
        (lambda: sx.permdisp(D, GROUPS, centre="median"), "spatial_median"),
        (lambda: sx.snci(SCORES, ["one"]), "families"),
        (lambda: sx.snci(SCORES, kind="snr3"), "did you mean `snr"),
        (lambda: sx.snci(SCORES, level=1.5), "level"),
        (lambda: sx.snci(SCORES, interval="bac"), "did you mean `bca`"),
        (lambda: sx.snci(SCORES, roi_names=["a"]), "roi_names"),
        (lambda: sx.snci(SCORES, included=[True]), "included"),
    ],
)
def test_wrong_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_results_have_names_and_become_plain_dictionaries():
    import json

    test = sx.permanova(D, GROUPS, 99)
    plain = test.to_dict()
    assert json.loads(json.dumps(plain))["support"]["exact"] is True
    assert plain["group_sizes"] == {"audio": 7, "vision": 7}
    assert repr(test).startswith("Permanova\n  f ")
    assert sx.snci(SCORES, n_bootstraps=9).to_dict()["rois"]["roi"] == ["roi_1", "roi_2", "roi_3", "roi_4"]
    with pytest.raises(AttributeError):
        test.f = 1.0
