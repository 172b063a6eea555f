"""What a user gets wrong with encoding models is answered in words, or is undefined and says so."""

import numpy as np
import pytest
import stereotax as sx
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, RepeatedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6))
Y = X @ RNG.normal(size=(6, 3)) + RNG.normal(size=(40, 3))
WIDE = RNG.normal(size=(20, 200))
REPEATS = np.stack([Y + RNG.normal(size=Y.shape) for _ in range(4)])
HALF = np.arange(40) < 20


def changed(values, at, to):
    values = values.copy()
    values[at] = to
    return values


def fit(x=X, y=Y, **settings):
    return sx.RidgeCV(**settings).fit(x, y)


VOXEL_OUTSIDE = changed(Y, (slice(None), 1), np.nan)
MASKED = np.ma.MaskedArray(Y, mask=changed(np.zeros(Y.shape, bool), (3, 1), True))


@pytest.mark.parametrize(
    ("call", "words"),
    {
        "a voxel without numbers": (
            lambda: fit(y=VOXEL_OUTSIDE),
            r"`y`.*column 1.*\n.*keep y\[:, np.isfinite",
        ),
        "the same for PLS": (
            lambda: sx.PLSRegression(2).fit(X, VOXEL_OUTSIDE),
            r"`y` is not finite at row 0",
        ),
        "one lost sample": (lambda: fit(y=changed(Y, (4, 1), np.nan)), "row 4, column 1.*; 1 such"),
        "an infinite feature": (
            lambda: fit(changed(X, (3, 2), np.inf)),
            "`X` is not finite at row 3, column 2",
        ),
        "NaN to predict from": (lambda: fit().predict(changed(X, (5, 0), np.nan)), "`X`.*row 5, column 0"),
        "NaN to score": (lambda: fit().score(X, VOXEL_OUTSIDE), "`y` is not finite"),
        "numbers that overflow": (lambda: fit(y=Y * 1e200), "square of which is beyond"),
        "a mask": (lambda: fit(y=MASKED), "1 masked values"),
        "one masked target": (lambda: fit(y=MASKED[:, 1]), "1 masked values"),
        "a transposed target": (lambda: fit().score(X, Y.T), "3 × 40 values, but 40 × 3"),
        "fewer rows to score": (lambda: fit().score(X, Y[:20]), "20 × 3 values, but 40 × 3"),
        "no target": (lambda: fit(y=Y[:, :0]), "`y` has 40 rows and 0 columns"),
        "no unit": (lambda: fit(X[:, :0]), "`X` has 40 rows and 0 columns"),
        "one row": (lambda: fit(X[:1], Y[:1]), "`X` has 1 rows"),
        "features that stand still": (lambda: fit(np.ones((40, 6))), "`X` does not vary"),
        "a name as penalty": (lambda: fit(alphas="auto"), "`alphas` is 'auto'"),
        "no penalty": (lambda: fit(alphas=[]), "finite numbers ≥ 0"),
        "a penalty of NaN": (lambda: fit(alphas=[np.nan, 1]), "finite numbers ≥ 0"),
        "a word for a flag": (lambda: fit(per_target="false"), "`per_target` is 'false', but True or False"),
        "another": (lambda: sx.PLSRegression(2, scale="no").fit(X, Y), "`scale` is 'no'"),
        "more folds than samples": (lambda: fit(cv=50), "at most 20 folds, or cv='loo'"),
        "single samples by number": (lambda: fit(cv=40), "cv='loo' to leave out single samples"),
        "a used generator": (lambda: fit(cv=iter([])), "a generator is used up"),
        "no folds for a choice": (lambda: fit(cv=None), "several penalties to choose from"),
        "rows that are not there": (lambda: fit(cv=[(range(20), [40, 41])]), "row 41, but rows below 40"),
        "rows from the end": (lambda: fit(cv=[(range(20), [-1, -2])]), "row -2"),
        "rows that are no numbers": (lambda: fit(cv=[([0.0, 1.0], [2, 3])]), "float64 values"),
        "leaking folds": (lambda: fit(cv=[(range(21), range(20, 40))]), "row 20 on both sides"),
        "no pair": (lambda: fit(cv=[np.arange(20)]), "a pair"),
        "nothing held out": (lambda: fit(cv=[(range(20), [])]), "0 held-out rows"),
        "samples without a group": (lambda: fit_grouped([None] * 20 + ["b"] * 20), "None or NaN"),
        "groups of NaN": (lambda: fit_grouped([1.0] * 20 + [np.nan] * 20), "None or NaN"),
        "leave-one-out of PLS by name": (
            lambda: sx.PLSRegression(2).predict_splits(X, Y, "loo"),
            "`cv` is 'loo'",
        ),
        "fixed rows within a split": (
            lambda: sx.RidgeCV(cv=[(range(20), range(20, 40))]).predict_splits(X, Y),
            "row numbers of all samples mean nothing",
        ),
        "a single repeat": (lambda: sx.noise_ceiling(REPEATS[:1]), "at least 2 repeats"),
        "a single repeat, one axis short": (lambda: sx.noise_ceiling(Y), "repeats come first"),
        "no repeats": (lambda: sx.noise_ceiling(None), "arrays expected"),
        "unequal repeats": (
            lambda: sx.noise_ceiling(changed(REPEATS, (2, 5), np.nan)),
            "unequal numbers of repeats",
        ),
        "two samples": (lambda: sx.noise_ceiling(REPEATS[:, :2]), "at least 3 expected"),
        "scores in words": (lambda: sx.noise_ceiling(REPEATS).fraction(list("abc")), "real numbers expected"),
        "scores of other units": (
            lambda: sx.noise_ceiling(REPEATS).fraction(np.ones((3, 2))),
            "one score per unit",
        ),
        "scores above one": (lambda: sx.noise_ceiling(REPEATS).fraction([50, 60, 70]), "no r is above 1"),
        "three halves": (lambda: sx.half_corrected((Y, Y, Y), (Y, Y)), "two arrays"),
        "a list for names": (lambda: sx.variance_partition(Y, [Y, Y]), "predictions by name"),
        "another list": (lambda: sx.product_measure(Y, [Y]), "predictions by name"),
        "a lost combination": (
            lambda: sx.variance_partition(Y, {"a": Y, "b": Y}),
            r"missing: \[\('a', 'b'\)\]",
        ),
        "scores that are names": (lambda: sx.encoding_score([["a", "b"]]), "real numbers expected"),
        "infinite scores": (lambda: sx.encoding_score(np.full((2, 3, 4), np.inf)), "infinite"),
        "ragged scores": (lambda: sx.encoding_score([[[1, 2]], [[1]]]), "same length"),
        "predictions of other words": (lambda: sx.two_vs_two(Y[:5], Y), "40 × 3, but 5 × 3"),
        "one word": (lambda: sx.two_vs_two(Y, Y, stimuli=["a"] * 40), "at least 2 different stimuli"),
    }.values(),
)
def test_mistakes_are_named(call, words):
    with pytest.raises(ValueError, match=f"(?s){words}"):
        call()


def fit_grouped(groups):
    return sx.RidgeCV().fit(X, Y, groups=groups)


@pytest.mark.parametrize("cv", [5, "loo", "gcv"])
def test_a_target_that_does_not_vary_is_undefined_and_alone(cv):
    constant = changed(Y, (slice(None), 1), 3.0)
    found = fit(y=constant, cv=cv, store_cv_predictions=True)
    assert found.status_ == [None, "the target does not vary", None]
    kept = fit(y=Y[:, [0, 2]], cv=cv)
    np.testing.assert_array_equal(found.coef_[:, [0, 2]], kept.coef_)
    assert np.isnan(found.coef_[:, 1]).all() and np.isnan(found.cv_predictions_[:, 1]).all()
    assert np.isnan(found.predict(X)[:, 1]).all() and np.isnan(found.score(X, constant)[1])
    assert fit(y=np.ones((40, 2)), cv=cv).status_ == ["the target does not vary"] * 2


def test_the_ends_of_the_grid_are_told():
    clean = X @ RNG.normal(size=(6, 2))
    assert all("smallest penalty" in s for s in fit(y=clean, alphas=[10, 100]).status_)
    noise = np.random.default_rng(3).normal(size=(40, 2))
    assert all("largest penalty" in s for s in fit(y=noise, alphas=[1e-3, 1e-2]).status_)
    assert fit(y=clean, alphas=[0, 100]).status_ == [None, None]  # nothing is below 0
    assert fit(y=noise, alphas=100.0).status_ == [None, None]  # nothing was to choose
    for scale in ("mean_square", "absolute"):
        assert all("smallest" in s for s in fit(y=clean, alphas=[10, 100], alpha_scale=scale).status_)


@pytest.mark.parametrize("cv", ["loo", "gcv"])
def test_a_fit_that_reproduces_every_sample_has_no_score(cv):
    # 200 units, 20 samples, no penalty: single samples tell nothing, folds still do.
    y = RNG.normal(size=(20, 2))
    found = fit(WIDE, y, alphas=0.0, cv=cv)
    assert np.isnan(found.best_score_).all() and all("reproduces all samples" in s for s in found.status_)
    np.testing.assert_allclose(found.predict(WIDE), y, atol=1e-8)  # the shortest of all exact weights
    shortest = np.linalg.pinv(WIDE - WIDE.mean(axis=0)) @ (y - y.mean(axis=0))
    np.testing.assert_allclose(found.coef_, shortest, atol=1e-10)
    assert (fit(WIDE, y, alphas=[0, 1], cv=cv).alpha_ > 0).all()  # what has no score is not chosen
    assert np.isfinite(fit(WIDE, y, alphas=[0, 1e-18]).best_score_).all()


def test_nothing_is_chosen_where_there_is_nothing_to_choose_by():
    found = fit(WIDE, RNG.normal(size=(20, 2)), alphas=[0, 1e-18], cv="loo")
    assert np.isnan(found.alpha_).all() and np.isnan(found.predict(WIDE)).all()
    assert all("no penalty has a score" in s for s in found.status_)


def test_scores_of_generalised_cross_validation_are_never_rounding():
    # With as many units as samples both what a fit leaves and what it divides by vanish with the penalty.
    y = WIDE[:, :3] + RNG.normal(size=(20, 3))
    centred, targets = WIDE - WIDE.mean(axis=0), y - y.mean(axis=0)
    w, U = np.linalg.eigh(centred @ centred.T)
    w, U = w[1:], U[:, 1:]  # without the direction of the mean
    for multiple in (1e-8, 1e-6, 1e-5, 1e-3, 1.0):
        share = 1 / (1 + w / (multiple * w.sum() / 20))  # α/(w + α)
        rest = ((share[:, None] * (U.T @ targets)) ** 2).sum(axis=0) / share.sum() ** 2
        truth = 1 - rest * 19**2 / (targets**2).sum(axis=0)
        found = sx.RidgeCV(multiple, cv="gcv").fit(WIDE, y)
        np.testing.assert_allclose(found.best_score_, truth, atol=2e-3)
        single = sx.RidgeCV(multiple, cv="gcv").fit(WIDE.astype("f4"), y.astype("f4"))
        np.testing.assert_allclose(single.best_score_, truth, atol=2e-3)
        assert single.coef_.dtype == np.float32


def test_units_that_repeat_one_another_share_their_weight():
    found = fit(np.hstack([X, X]), alphas=0.0)
    np.testing.assert_allclose(found.coef_[:6], found.coef_[6:], atol=1e-12)
    np.testing.assert_allclose(found.predict(np.hstack([X, X])), fit(alphas=0.0).predict(X), atol=1e-12)


def test_a_sample_that_stands_in_two_folds_is_seen_by_those_who_group():
    # Presentations of one stimulus in different folds are what a leak looks like: noise is predicted.
    rng = np.random.default_rng(7)
    x, noise = (
        np.repeat(rng.normal(size=(20, 60)), 2, axis=0),
        np.repeat(rng.normal(size=(20, 30)), 2, axis=0),
    )
    stimulus = np.repeat(np.arange(20), 2)
    leaking = KFold(5, shuffle=True, random_state=0)
    assert np.median(fit(x, noise, cv=leaking).best_score_) > 0.5
    assert np.median(sx.RidgeCV().fit(x, noise, groups=stimulus).best_score_) < 0.05


def test_folds_may_be_masks_or_those_of_scikit_learn():
    by_rows = fit(cv=[(np.flatnonzero(~HALF), np.flatnonzero(HALF)), (range(20), range(20, 40))])
    by_mask = fit(cv=[(~HALF, HALF), (HALF, ~HALF)])
    np.testing.assert_array_equal(by_rows.best_score_, by_mask.best_score_)
    splitter = KFold(4, shuffle=True, random_state=1)
    np.testing.assert_array_equal(fit(cv=splitter).best_score_, fit(cv=list(splitter.split(X))).best_score_)
    pls = sx.PLSRegression(2)
    for a, b in zip(
        pls.predict_splits(X, Y, splitter), pls.predict_splits(X, Y, splitter.split(X)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_one_prediction_of_each_sample_needs_folds_that_hold_it_out_once():
    twice = RepeatedKFold(n_splits=4, n_repeats=2, random_state=0)
    assert np.isfinite(fit(cv=twice).best_score_).all()
    with pytest.raises(ValueError, match="in several folds"):
        fit(cv=twice, store_cv_predictions=True)


@pytest.mark.parametrize("x", [X * [1, 10, 100, 0.1, 5, 3] + 4, WIDE[:, :60]])
def test_a_scaled_ridge_is_the_pipeline_of_scikit_learn_and_carries_its_scaler(x):
    y = Y[: len(x)]
    peer = make_pipeline(StandardScaler(), Ridge(30.0))
    found = sx.RidgeCV(30.0, alpha_scale="absolute", scale=True).fit(x, y)
    peer.fit(x, y)
    np.testing.assert_allclose(found.predict(x * 2 + 1), peer.predict(x * 2 + 1), rtol=1e-8)
    split = KFold(4, shuffle=True, random_state=0)
    held_out = np.empty_like(y)
    for (_, test), part in zip(split.split(x), found.predict_splits(x, y, split), strict=True):
        held_out[test] = part
    np.testing.assert_allclose(held_out, cross_val_predict(peer, x, y, cv=split), rtol=1e-8)
    silent = np.hstack([x, np.full((len(x), 1), 0.1)])  # 0.1 has a deviation of rounding in NumPy
    np.testing.assert_allclose(
        found.fit(silent, y).coef_[:-1], peer[1].coef_.T / x.std(axis=0)[:, None], rtol=1e-8
    )
    assert np.abs(found.coef_[-1]).max() < 1e-20
    single = sx.RidgeCV(30.0, alpha_scale="absolute", scale=True).fit(x.astype("f4"), y.astype("f4"))
    assert single.coef_.dtype == np.float32
    np.testing.assert_allclose(single.predict(x), peer.predict(x), atol=1e-4)


@pytest.mark.parametrize("cv", [3, "loo", "gcv"])
def test_splits_are_nested_fits(cv):
    settings = {"alphas": np.logspace(-2, 4, 7), "cv": cv, "scale": True}
    parts = sx.RidgeCV(**settings).predict_splits(X, Y, 4)
    for part, (train, test) in zip(parts, KFold(4).split(X), strict=True):
        alone = sx.RidgeCV(**settings).fit(X[train], Y[train])
        np.testing.assert_array_equal(part, alone.predict(X[test]))
    # What was held out has no influence at all, not even on the choice.
    spoilt = changed(Y, (slice(0, 10),), 1e3)
    np.testing.assert_array_equal(sx.RidgeCV(**settings).predict_splits(X, spoilt, 4)[0], parts[0])
    one = sx.RidgeCV(**settings).predict_splits(X, Y[:, 0], 4)
    assert [part.shape for part in one] == [(10,)] * 4


def test_splits_by_group_choose_by_group():
    runs = np.repeat(list("abcd"), 10)
    parts = sx.RidgeCV(scale=True).predict_splits(X, Y, groups=runs)
    rest = runs != "b"
    alone = sx.RidgeCV(scale=True).fit(X[rest], Y[rest], groups=runs[rest])
    np.testing.assert_array_equal(parts[1], alone.predict(X[~rest]))
    assert len(sx.RidgeCV(cv="loo").predict_splits(X, Y, groups=runs)) == 4
    with pytest.raises(ValueError, match="one group"):
        sx.RidgeCV().predict_splits(X, Y, groups=HALF)


def test_ceilings_of_units_that_do_not_repeat_are_undefined_and_say_so():
    still = sx.noise_ceiling(changed(REPEATS, (1, slice(None), 1), 0.0), n_bootstraps=0)
    assert np.isnan(still.units["ceiling"]).tolist() == [False, True, False]
    assert still.units["status"][1] == "a repeat or subject does not vary here"
    against = sx.noise_ceiling(np.stack([Y, -0.5 * Y + RNG.normal(size=Y.shape)]), n_bootstraps=0)
    assert (against.units["ceiling"] < 0).all() and np.isnan(against.units["ceiling_r"]).all()
    assert all("negative" in s for s in against.fraction([0.3] * 3)["status"])


def test_a_class_that_a_fold_lacks_is_predicted_from_what_the_others_teach():
    # One-hot features of 4 classes; each fold holds out one of them whole: its unit is constant in training.
    classes = np.repeat(np.arange(4), 10)
    one_hot = np.eye(4)[classes]
    for model in (sx.RidgeCV(1.0, alpha_scale="absolute", scale=True), sx.PLSRegression(3)):
        for held, part in enumerate(model.predict_splits(one_hot, Y, groups=classes)):
            # Nothing is known of the class: all its samples are predicted alike, and finite.
            assert np.isfinite(part).all() and np.ptp(part, axis=0).max() < 1e-12, (model, held)
