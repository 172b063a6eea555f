"""Ways in which encoding models of other packages have gone wrong, so that ours do not.

Each test is named for the defect; most were seen in released software. Leave-one-out ceilings and layouts of
layers have their tests beside `noise_ceiling` and the arrays.
"""

import inspect
import pickle

import numpy as np
import pytest
import stereotax as sx

RNG = np.random.default_rng(11)
X = RNG.normal(size=(60, 8)) + np.arange(8)
Y = X @ RNG.normal(size=(8, 5)) + np.array([0.5, 2, 5, 10, 20]) * RNG.normal(size=(60, 5))
REPEATS = np.stack([Y + 4 * RNG.normal(size=Y.shape) for _ in range(3)])
ALPHAS = np.logspace(-3, 3, 13)


def test_every_fold_counts_and_not_the_last_one_only():
    folds = [(np.setdiff1d(np.arange(60), part), part) for part in np.array_split(np.arange(60), 4)]
    fit = sx.RidgeCV(1.0, cv=folds, store_cv_predictions=True).fit(X, Y)
    assert np.isfinite(fit.cv_predictions_).all()
    rest = ((Y - fit.cv_predictions_) ** 2).sum(axis=0)
    total = sum(((Y[test] - Y[train].mean(axis=0)) ** 2).sum(axis=0) for train, test in folds)
    np.testing.assert_allclose(fit.best_score_, 1 - rest / total)
    for model in (sx.RidgeCV(1.0, cv=None), sx.PLSRegression(3)):
        predicted = model.predict_held_out(X, Y, folds)
        score = sx.prediction_score(Y, predicted)["r2"]
        for _, test in folds:
            worse = predicted.copy()
            worse[test] += 50
            assert (sx.prediction_score(Y, worse)["r2"] < score).all()


@pytest.mark.parametrize("cv", [4, "loo", "gcv"])
def test_a_penalty_is_that_of_its_target_whatever_stands_beside_it(cv):
    together = sx.RidgeCV(ALPHAS, cv=cv).fit(X, Y)
    assert len(set(together.alpha_)) > 2
    for j in range(5):
        alone = sx.RidgeCV(ALPHAS, cv=cv).fit(X, Y[:, j])
        assert alone.alpha_[0] == together.alpha_[j]
        np.testing.assert_allclose(alone.coef_[:, 0], together.coef_[:, j], rtol=1e-12)


@pytest.mark.parametrize("cv", [4, "loo", "gcv"])
def test_a_shared_penalty_is_shared_by_the_mean_score_and_only_where_asked_for(cv):
    shared = sx.RidgeCV(ALPHAS, cv=cv, per_target=False).fit(X, Y)
    scores = [sx.RidgeCV(alpha, cv=cv).fit(X, Y) for alpha in ALPHAS]
    best = scores[int(np.argmax([fit.best_score_.mean() for fit in scores]))]
    np.testing.assert_allclose(shared.alpha_, best.alpha_)
    np.testing.assert_allclose(shared.best_score_, best.best_score_)
    # One target of a huge variance does not decide for all others.
    loud = Y * [1, 1, 1, 1, 1e3]
    np.testing.assert_allclose(sx.RidgeCV(ALPHAS, cv=cv, per_target=False).fit(X, loud).alpha_, shared.alpha_)


@pytest.mark.parametrize("model", [sx.RidgeCV(scale=True), sx.PLSRegression(3, scale=True)])
def test_the_scaler_travels_with_the_model(model):
    fitted = model.fit(X * [1, 10, 100, 1e3, 1, 1, 1, 1], Y)
    other = 3 * RNG.normal(size=(7, 8)) + 100  # samples of another mean and spread
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(other), fitted.predict(other))
    # One sample alone is predicted as it is in company: nothing is standardised by what is predicted.
    np.testing.assert_allclose(fitted.predict(other[:1]), fitted.predict(other)[:1], rtol=1e-12)
    assert again.get_params() == fitted.get_params()


@pytest.mark.parametrize("model", [sx.RidgeCV(ALPHAS, scale=True, cv="loo"), sx.PLSRegression(2, scale=True)])
def test_nothing_of_a_held_out_sample_reaches_its_prediction(model):
    first = model.predict_held_out(X, Y, 5)
    other_y, other_x = Y.copy(), X.copy()
    other_y[:12] = 1e3
    # Splits of PLS take the held-out rows off the moments of all: what is left of them is rounding.
    close = {"rtol": 1e-10} if isinstance(model, sx.PLSRegression) else {"rtol": 0}
    np.testing.assert_allclose(model.predict_held_out(X, other_y, 5)[:12], first[:12], **close)
    other_x[1:12] *= 1e3  # the first sample is of the same fold
    np.testing.assert_allclose(model.predict_held_out(other_x, Y, 5)[0], first[0], **close)


def test_the_best_layer_of_noise_is_no_better_than_chance():
    scores = 0.1 * RNG.normal(size=(5, 12, 400))  # folds × layers × voxels
    found = sx.encoding_score(scores)
    assert abs(found.best) < 0.01 < 0.05 < found.best_biased
    assert found.selection_bias == pytest.approx(found.best_biased - found.best)
    # And the test against chance takes the best of every draw, too.
    nulls = 0.1 * RNG.normal(size=(400, 12, 400))
    assert 0.01 < sx.above_null(0.1 * RNG.normal(size=(12, 400)), nulls).mean() < 0.1


def test_a_ceiling_is_told_in_its_own_scale_and_never_clipped():
    kinds = {"split_half": "reliability", "ncsnr": "r2", "signal_power": "r", "isc_group": "r"}
    for method, kind in kinds.items():
        found = sx.noise_ceiling(REPEATS, method, n_bootstraps=0)
        assert found.kind == kind
        c = found.units["ceiling"]
        np.testing.assert_allclose(found.units["ceiling_r"], c if kind == "r" else np.sqrt(c))
        # The fraction of r² is the square of that of r: one scale, whatever the ceiling is given in.
        r = np.array([0.6, 0.5, 0.4, 0.3, 0.2])
        by_r, by_r2 = found.fraction(r), found.fraction(r**2, "r2")
        np.testing.assert_allclose(by_r["fraction"] ** 2, by_r2["fraction"])
        above = found.fraction(np.full(5, 0.999))
        assert (above["fraction"] > 1).all() and all("above the ceiling" in why for why in above["status"])
    noise = sx.noise_ceiling(np.random.default_rng(0).normal(size=(3, 30, 200)), n_bootstraps=0)
    assert noise.units["ceiling"].min() < 0 and abs(np.median(noise.units["ceiling"])) < 0.2


RIDGE = {
    "alphas": [0.5],
    "alpha_scale": "absolute",
    "per_target": False,
    "criterion": "r",
    "fit_intercept": False,
    "scale": True,
    "cv": 3,
    "store_cv_predictions": True,
}
PLS = {"n_components": 2, "scale": True}


@pytest.mark.parametrize(
    ("kind", "base", "name", "value"),
    [(sx.RidgeCV, {"alphas": ALPHAS}, name, value) for name, value in RIDGE.items()]
    + [(sx.PLSRegression, {"n_components": 3}, name, value) for name, value in PLS.items()],
)
def test_no_option_is_dropped(kind, base, name, value):
    x = X * [1, 2, 4, 8, 16, 32, 64, 128]

    def numbers(**settings):
        fit = kind(**{**base, **settings}).fit(x, Y)
        kept = (fit.coef_, fit.intercept_, getattr(fit, "alpha_", 0), getattr(fit, "best_score_", 0))
        return [np.array(part) for part in kept] + [hasattr(fit, "cv_predictions_")]

    before, after = numbers(), numbers(**{name: value})
    assert any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    if name != "store_cv_predictions":  # and by splits as by one fit
        parts = [kind(**{**base, **more}).predict_held_out(x, Y, 4) for more in ({}, {name: value})]
        assert not np.array_equal(*parts)


def test_all_options_are_among_those_that_were_tried():
    for kind, tried in ((sx.RidgeCV, RIDGE), (sx.PLSRegression, PLS)):
        assert set(inspect.signature(kind).parameters) == set(tried)


def test_defaults_stay_what_they_were():
    # A default that changes changes results that name no setting: then this test changes, and it is said.
    ridge = sx.RidgeCV().get_params()
    np.testing.assert_allclose(ridge.pop("alphas"), np.logspace(-3, 6, 19))
    assert ridge == {
        "alpha_scale": "mean_square",
        "per_target": True,
        "criterion": "r2",
        "fit_intercept": True,
        "scale": False,
        "cv": 5,
        "store_cv_predictions": False,
    }
    assert sx.PLSRegression().get_params() == {"n_components": 25, "scale": False}
    chosen = {
        sx.noise_ceiling: {"method": "split_half", "n_splits": 100, "n_bootstraps": 500, "level": 0.95},
        sx.two_vs_two: {"similarity": "cosine", "n_permutations": 999},
        sx.rank_accuracy: {"similarity": "cosine", "n_permutations": 999},
        sx.spatial_score: {"rule": "largest", "temperature": 0.05, "n_permutations": 999},
    }
    for function, expected in chosen.items():
        found = {name: p.default for name, p in inspect.signature(function).parameters.items()}
        assert expected.items() <= found.items()


def test_what_has_no_value_has_no_small_p_value():
    flat = np.full((6, 20), 0.3)  # layers × units
    few = sx.spatial_score(flat[:3], np.arange(20.0))
    assert np.isnan(few.r) and np.isnan(few.p_value) and "at least 4" in few.reason
    still = sx.spatial_score(RNG.normal(size=(6, 20)), np.ones(20))
    assert np.isnan(still.r) and np.isnan(still.p_value) and still.reason
    early = sx.temporal_score(flat[:3], np.arange(20) / 100)
    assert np.isnan(early.r) and np.isnan(early.p_value) and early.reason
    # Predictions without variation find nothing; ties and undefined similarities lose, and are counted.
    for same in (np.zeros((60, 5)), np.ones((60, 5))):
        for similarity in ("cosine", "pearson"):
            found = sx.two_vs_two(same, Y, similarity=similarity)
            assert found.accuracy == 0 and found.p_value == 1
            assert found.n_ties + found.n_undefined >= found.n_pairs - 1e-9
            assert sx.rank_accuracy(same, same, similarity=similarity).p_value == 1


def strided(x):
    wide = np.full((2 * x.shape[0], 3 * x.shape[1]), np.nan)
    wide[::2, ::3] = x
    return wide[::2, ::3]


def unaligned(x):
    record = np.zeros(x.shape, dtype=np.dtype([("pad", "i1"), ("value", "f8")]))
    record["value"] = x
    return record["value"]


LAYOUTS = {
    "columns first": np.asfortranarray,
    "a transposed copy": lambda x: x.T.copy().T,
    "rows reversed": lambda x: x[::-1].copy()[::-1],
    "both reversed": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "strided": strided,
    "unaligned": unaligned,
    "another byte order": lambda x: x.astype(">f8"),
    "read-only": lambda x: np.frombuffer(x.tobytes()).reshape(x.shape),
    "nested lists": lambda x: x.tolist(),
}
USES = {
    "ridge": lambda x, y: sx.RidgeCV(ALPHAS).fit(x, y).coef_,
    "ridge, by samples": lambda x, y: sx.RidgeCV(ALPHAS, cv="loo", scale=True).fit(x, y).coef_,
    "ridge, held out": lambda x, y: sx.RidgeCV(ALPHAS).predict_held_out(x, y, 4),
    "ridge, R²": lambda x, y: sx.RidgeCV(ALPHAS).fit(x, y).score(x, y),
    "partial least squares": lambda x, y: sx.PLSRegression(3).fit(x, y).predict(x),
    "its splits": lambda x, y: sx.PLSRegression(3).predict_held_out(x, y, 4),
    "scores": lambda x, y: sx.prediction_score(y, y)["r"] + sx.prediction_score(x, x)["r2"][0],
    "training means": lambda x, y: sx.training_means(y, 4),
    "ceilings": lambda x, y: sx.noise_ceiling([y, y], n_bootstraps=3).units["lower"],
    "2 versus 2": lambda x, y: sx.two_vs_two(y, y, n_permutations=9).per_row,
    "ranks": lambda x, y: sx.rank_accuracy(y, y, n_permutations=9).ranks,
    "variance partition": lambda x, y: sx.variance_partition(y, {"a": y}).r2[("a",)],
    "product measure": lambda x, y: sx.product_measure(y, {"a": y})["a"],
    "best layers": lambda x, y: sx.encoding_score(y).best_biased,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("use", USES)
def test_any_layout_gives_the_bits_of_a_contiguous_array(use, layout):
    # Matrices whose transpose, first rows or reversal would give other numbers.
    change, call = LAYOUTS[layout], USES[use]
    np.testing.assert_array_equal(call(change(X), change(Y)), call(X, Y))


def test_inputs_are_left_as_they_were():
    x, y = X.copy(), Y.copy()
    for call in USES.values():
        call(x, y)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
