"""Encoding, spatial and temporal scores, half-times and variance partition, on planted truth."""

import numpy as np
import pytest
import stereotax as sx
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

RNG = np.random.default_rng(0)
DEPTH = np.linspace(0, 7, 40)
SCORES = np.exp(-0.5 * (np.arange(8)[:, None] - DEPTH) ** 2) + 0.05 * RNG.normal(size=(8, 40))


def test_spatial_scores_by_definition():
    found = sx.spatial_score(SCORES, DEPTH)
    best = SCORES.argmax(axis=0) / 7
    np.testing.assert_allclose(found.depth, best)
    assert found.r == pytest.approx(np.corrcoef(best, DEPTH)[0, 1]) and found.r > 0.95
    assert found.p_value == pytest.approx(1 / 1000) and found.points["hierarchy"][3] == DEPTH[3]
    weights = SCORES - SCORES.min(axis=0)
    centroid = (np.arange(8)[:, None] * weights).sum(axis=0) / weights.sum(axis=0) / 7
    np.testing.assert_allclose(sx.spatial_score(SCORES, DEPTH, rule="centroid").depth, centroid)
    weights = np.exp(SCORES / 0.2)
    soft = (np.arange(8)[:, None] * weights).sum(axis=0) / weights.sum(axis=0) / 7
    np.testing.assert_allclose(sx.spatial_score(SCORES, DEPTH, rule="soft", temperature=0.2).depth, soft)


def test_regions_kept_units_and_surrogates():
    regions = np.repeat(["a", "b", "c", "d", "e"], 8)
    by_region = sx.spatial_score(SCORES, DEPTH, regions=regions)
    assert by_region.points["name"].tolist() == list("abcde")
    assert by_region.points["n_units"].tolist() == [8] * 5
    np.testing.assert_allclose(by_region.points["depth"], by_region.depth.reshape(5, 8).mean(axis=1))
    of_mean = sx.spatial_score(SCORES, DEPTH, regions=regions, of_mean_profile=True)
    expected = SCORES.reshape(8, 5, 8).mean(axis=2).argmax(axis=0) / 7
    np.testing.assert_allclose(of_mean.points["depth"], expected)
    few = sx.spatial_score(SCORES, DEPTH, kept=np.arange(40) < 3)
    assert np.isnan(few.r) and few.share_kept == 0.075 and few.reason.startswith("3 points")
    tied = sx.spatial_score(SCORES, DEPTH, surrogates=np.tile(DEPTH, (9, 1)))
    assert tied.p_value == 1
    a = sx.spatial_score(SCORES, RNG.permutation(DEPTH), n_permutations=99)
    assert abs(a.r) < 0.5 and a.p_value > 0.01
    assert np.isnan(sx.spatial_score(SCORES, DEPTH, n_permutations=0).p_value)


def test_units_below_their_null_are_found():
    nulls = 0.3 * RNG.normal(size=(400, 8, 40))
    scores = np.where(np.arange(40) % 2, SCORES, 0.3 * RNG.normal(size=(8, 40)))
    threshold = np.quantile(nulls.max(axis=1), 0.95, axis=0)
    np.testing.assert_array_equal(sx.above_null(scores, nulls), scores.max(axis=0) > threshold)
    strict = sx.above_null(scores, nulls, 0.99)
    assert strict.sum() <= sx.above_null(scores, nulls).sum()


def test_temporal_scores_and_onset():
    times = np.arange(-0.1, 0.3, 0.005)
    late = np.exp(-0.5 * ((times - 0.05 - 0.02 * np.arange(7)[:, None]) / 0.02) ** 2)
    scores = late + 3 * np.exp(-0.5 * ((times + 0.06) / 0.01) ** 2)  # before onset, and larger
    found = sx.temporal_score(scores, times)
    assert found.r > 0.99 and found.p_value < 0.01
    np.testing.assert_allclose(found.times, 0.05 + 0.02 * np.arange(7), atol=0.0051)
    assert np.isnan(sx.temporal_score(scores, times, onset=-0.1).r)
    assert "same time" in sx.temporal_score(scores, times, onset=-0.1).reason
    centroid = sx.temporal_score(late, times, rule="centroid")
    assert not np.array_equal(centroid.times, found.times)
    soft = [sx.temporal_score(late, times, rule="soft", temperature=t).times for t in (0.01, 0.1)]
    assert not np.array_equal(*soft)


def test_half_times():
    steps = np.logspace(1, 7, 60)
    curve = 0.4 * steps**2 / (steps**2 + 3000.0**2)
    found = sx.half_time(steps, curve)
    assert found.first == pytest.approx(3000, rel=0.02) and found.last == found.first
    assert sx.half_time(steps, curve + 0.1, baseline=0.1).first == pytest.approx(found.first)
    assert sx.half_time([1, 2, 4], [0, 0.5, 0.9], plateau=2).half == pytest.approx(0.35)
    assert "no better" in sx.half_time(steps, -curve).reason


def test_the_best_layer_is_chosen_on_other_folds():
    folds = 0.1 * RNG.normal(size=(4, 6, 500))
    found = sx.encoding_score(folds)
    chosen = np.stack([np.delete(folds, f, 0).mean(axis=0).argmax(axis=0) for f in range(4)])
    honest = np.mean([folds[f, chosen[f], np.arange(500)].mean() for f in range(4)])
    assert found.best == pytest.approx(honest)
    assert found.best_biased == pytest.approx(folds.mean(axis=0).max(axis=0).mean())
    assert found.mean == pytest.approx(folds.mean())
    np.testing.assert_array_equal(found.chosen, np.bincount(chosen.ravel(), minlength=6))
    assert np.isnan(sx.encoding_score(folds[0]).best)


def features():
    rng = np.random.default_rng(1)
    common, a, b = rng.normal(size=(3, 400, 5))
    y = common @ rng.normal(size=(5, 3)) + a @ rng.normal(size=(5, 3)) + rng.normal(size=(400, 3))
    return np.hstack([common, a]), np.hstack([common, b]), y


def test_two_sets_share_what_they_have_in_common():
    A, B, y = features()

    def predicted(X):
        return LinearRegression().fit(X[:200], y[:200]).predict(X[200:])

    models = {"a": predicted(A), "b": predicted(B), ("b", "a"): predicted(np.hstack([A, B]))}
    found = sx.variance_partition(y[200:], models)
    r2 = {name: r2_score(y[200:], p, multioutput="raw_values") for name, p in models.items()}
    joint = r2[("b", "a")]
    np.testing.assert_allclose(found.unique("a"), joint - r2["b"], atol=1e-12)
    np.testing.assert_allclose(found.unique("b"), joint - r2["a"], atol=1e-12)
    np.testing.assert_allclose(found.shared("b", "a"), r2["a"] + r2["b"] - joint, atol=1e-12)
    np.testing.assert_allclose(sum(found.cells.values()), joint, atol=1e-12)
    assert (found.unique("a") > 0.05).all() and (np.abs(found.unique("b")) < 0.05).all()
    assert found.overfitted.any()  # set b adds nothing but noise to the joint model
    np.testing.assert_allclose(found.r2[("a",)], r2["a"])


def test_product_measure_adds_up_to_the_joint_score():
    A, B, y = features()
    joint = LinearRegression().fit(np.hstack([A, B])[:200], y[:200])
    parts = {"a": A[200:] @ joint.coef_[:, :10].T, "b": B[200:] @ joint.coef_[:, 10:].T}
    found = sx.product_measure(y[200:], parts)
    centred = y[200:] - y[200:].mean(axis=0)
    total = parts["a"] + parts["b"]
    expected = r2_score(centred, total - total.mean(axis=0), multioutput="raw_values")
    np.testing.assert_allclose(found["a"] + found["b"], expected, atol=1e-12)
    folds = np.repeat(["x", "y"], 100)
    lifted = y[200:] + 10 * (folds == "y")[:, None]
    by_fold = sx.product_measure(lifted, parts, folds=folds)
    np.testing.assert_allclose(by_fold["a"], sx.product_measure(y[200:], parts, folds=folds)["a"], atol=1e-10)


def test_wrong_input_is_refused():
    y = np.zeros((6, 2))
    for call, message in [
        (lambda: sx.spatial_score(SCORES, DEPTH[:-1]), "40 entries"),
        (lambda: sx.spatial_score(SCORES, DEPTH, rule="argmax"), "one of `largest`"),
        (lambda: sx.spatial_score(SCORES, DEPTH, rule="soft", temperature=0), "above 0"),
        (lambda: sx.temporal_score(SCORES, DEPTH[:3]), "one per time"),
        (lambda: sx.temporal_score(SCORES, DEPTH, onset=99), "onset"),
        (lambda: sx.half_time([0, 1], [0, 1]), "positive numbers that ascend"),
        (lambda: sx.encoding_score(np.zeros(3)), "three axes"),
        (lambda: sx.above_null(SCORES, np.zeros((3, 8, 39))), "8 × 40"),
        (lambda: sx.variance_partition(y, {"a": y, "b": y}), "missing"),
        (lambda: sx.variance_partition(y, {"a": y[:3]}), "6 × 2 values"),
        (lambda: sx.variance_partition(y, {}), "every combination"),
        (lambda: sx.product_measure(y, {"a": y}, folds=[0]), "6 entries"),
        (lambda: sx.product_measure(y, {}), "1 part"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
