"""Scores of held-out predictions, by hand and against scikit-learn."""

import numpy as np
import pytest
import stereotax as sx
from sklearn.base import is_regressor
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
Y = X @ RNG.normal(size=(5, 4)) + RNG.normal(size=(60, 4)) + 3


def test_two_numbers_that_are_easily_confused():
    # y = 1 2 3 4; ŷ = 11 12 13 14: r is 1; the errors are 4 × 100, the deviations 5: 1 − 400/5.
    found = sx.prediction_score([1, 2, 3, 4], [11, 12, 13, 14])[0]
    assert (found["r"], found["r_squared"], found["r2"]) == (1, 1, -79)
    predicted = 0.5 * Y + RNG.normal(size=Y.shape)
    found = sx.prediction_score(Y, predicted, names=list("abcd"))
    np.testing.assert_allclose(found["r2"], r2_score(Y, predicted, multioutput="raw_values"))
    r = [np.corrcoef(Y[:, j], predicted[:, j])[0, 1] for j in range(4)]
    np.testing.assert_allclose(found["r"], r)
    np.testing.assert_allclose(found["r_squared"], np.square(r))
    assert (found["r2"] < found["r_squared"]).all() and found["target"].tolist() == list("abcd")
    # The best line through the predictions brings the two together.
    scaled = np.column_stack(
        [np.polyval(np.polyfit(p, y, 1), p) for p, y in zip(predicted.T, Y.T, strict=True)]
    )
    again = sx.prediction_score(Y, scaled)
    np.testing.assert_allclose(again["r2"], found["r_squared"])


def test_levels_of_folds_do_not_count_where_folds_are_told():
    fold = np.repeat(["a", "b", "c"], 20)
    predicted = Y + RNG.normal(size=Y.shape)
    lifted = 50 * (fold == "b")[:, None]
    score, plain = (sx.prediction_score(Y + up, predicted + up, folds=fold) for up in (lifted, 0))
    for name in ("r", "r2"):
        np.testing.assert_allclose(score[name], plain[name], rtol=1e-10)
    assert (sx.prediction_score(Y + lifted, predicted + lifted)["r"] > 0.99).all()
    expected = sx.variance_partition(Y, {"a": predicted}, folds=fold).r2[("a",)]
    np.testing.assert_allclose(sx.prediction_score(Y, predicted, folds=fold)["r2"], expected, atol=1e-12)


def test_what_is_undefined_says_why():
    y, p = Y.copy(), Y + RNG.normal(size=Y.shape)
    y[:, 1], p[:, 2], p[:, 3] = 0.1, np.nan, 0.3
    found = sx.prediction_score(y, p)
    why = [None, "the target does not vary", "no prediction", "the prediction does not vary"]
    assert found["status"].tolist() == why
    assert np.isnan(found["r"]).tolist() == [False, True, True, True]
    assert np.isnan(found["r2"]).tolist() == [False, True, True, False]
    for call, message in [
        (lambda: sx.prediction_score(Y, Y[:30]), "30 × 4 values, but 60 × 4"),
        (lambda: sx.prediction_score(Y, np.where(np.arange(60)[:, None] < 9, np.nan, Y)), "sample 0 .9 such"),
        (lambda: sx.prediction_score(np.where(Y > 3, np.nan, Y), Y), "`observed` is not finite"),
        (lambda: sx.prediction_score(Y, Y, names=["a"]), "4 expected"),
        (lambda: sx.prediction_score(Y, Y, folds=["a"]), "60 expected"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("model", [sx.RidgeCV(2.0, cv=None, scale=True), sx.PLSRegression(2)])
def test_held_out_predictions_stand_in_the_order_of_the_samples(model):
    split = KFold(5, shuffle=True, random_state=2)
    found = model.predict_held_out(X, Y, split)
    np.testing.assert_allclose(found, cross_val_predict(model, X, Y, cv=split), atol=1e-10)
    assert model.predict_held_out(X, Y[:, 0], split).shape == (60,)
    np.testing.assert_array_equal(model.predict_held_out(X, Y, split.split(X)), found)  # a generator
    runs = np.arange(60) % 4
    rows = [(runs != run, runs == run) for run in range(4)]
    np.testing.assert_array_equal(
        model.predict_held_out(X, Y, groups=runs), model.predict_held_out(X, Y, rows)
    )
    some = model.predict_held_out(X, Y, [(range(30), range(40, 60))])
    assert np.isnan(some[:40]).all() and np.isfinite(some[40:]).all()
    with pytest.raises(ValueError, match="row 5 in several splits"):
        model.predict_held_out(X, Y, [(range(30, 60), range(5, 9)), (range(30, 60), [5])])


def test_any_linear_model_predicts_splits():
    maps = RNG.normal(size=(40, 2, 3, 3))
    y = maps[:, 0, 1, 2] + 0.1 * RNG.normal(size=40)
    model = sx.FactorisedReadout(alphas=[0.1])
    found = model.predict_held_out(maps, y, 4)
    alone = sx.FactorisedReadout(alphas=[0.1]).fit(maps[10:], y[10:]).predict(maps[:10])
    np.testing.assert_array_equal(found[:10], alone)
    assert sx.prediction_score(y, found)["r2"][0] > 0.8 and not hasattr(model, "coef_")


def test_scikit_learn_can_drive_the_estimators():
    by_hand = sx.RidgeCV(scale=True).predict_held_out(X, Y, 5)
    piped = make_pipeline(StandardScaler(), sx.RidgeCV())
    np.testing.assert_allclose(cross_val_predict(piped, X, Y, cv=5), by_hand, rtol=1e-9)
    scores = cross_val_score(sx.PLSRegression(2), X, Y, cv=KFold(5), scoring="r2")
    parts = sx.PLSRegression(2).predict_splits(X, Y, 5)
    for score, part, (_, test) in zip(scores, parts, KFold(5).split(X), strict=True):
        assert score == pytest.approx(np.mean(sx.prediction_score(Y[test], part)["r2"]))
    found = GridSearchCV(sx.PLSRegression(1), {"n_components": [1, 2, 3]}, scoring="r2").fit(X, Y)
    assert found.best_params_["n_components"] == 3
    projected = make_pipeline(sx.GaussianRandomProjection(4), sx.RidgeCV()).fit(X, Y)
    assert is_regressor(projected) and projected.predict(X).shape == Y.shape
    for estimator in (sx.RidgeCV(), sx.DepthDMD(), sx.NFAS(), sx.ModelSpace()):
        assert get_tags(estimator).estimator_type == ("regressor" if is_regressor(estimator) else None)


def test_means_of_the_training_samples():
    np.testing.assert_allclose(sx.training_means([1.0, 2.0, 6.0], cv=3), [4, 3.5, 1.5])
    split = KFold(4, shuffle=True, random_state=1)
    found = sx.training_means(Y, split)
    for train, test in split.split(Y):
        np.testing.assert_allclose(found[test], np.tile(Y[train].mean(axis=0), (len(test), 1)))
    # A penalty without end predicts nothing but these.
    flat = sx.RidgeCV(1e12, cv=None).predict_held_out(X, Y, split)
    np.testing.assert_allclose(flat, found, atol=1e-8)


def test_predictions_of_noise_find_their_stimulus_by_chance_once_means_are_out():
    raw, centred = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(40, 8)), rng.normal(size=(40, 30))
        predicted = sx.RidgeCV(1.0, cv=None, scale=True).predict_held_out(x, y, cv=40)
        level = sx.training_means(y, cv=40)
        raw.append(sx.two_vs_two(predicted, y, n_permutations=0).accuracy)
        centred.append(sx.two_vs_two(predicted - level, y - level, n_permutations=0).accuracy)
    assert np.mean(raw) < 0.35  # what leave-one-out means do to it
    assert np.mean(centred) == pytest.approx(0.475, abs=0.025)


def test_tables_are_made_of_rows():
    rows = [{"a": 1, "b": "x"}, {"b": "y", "a": 2}]
    table = sx.Table.from_dicts(rows)
    assert table.columns == ["a", "b"] and table["b"].tolist() == ["x", "y"]
    assert sx.Table.from_dicts(table.to_dicts()) == table
    assert len(sx.Table.from_dicts([])) == 0
    with pytest.raises(ValueError, match="row 1 has the columns"):
        sx.Table.from_dicts([{"a": 1}, {"b": 2}])
