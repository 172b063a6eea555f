"""Ridge with a penalty per target, against scikit-learn and by hand."""

import numpy as np
import pytest
import stereotax as sx
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.linear_model import RidgeCV as PeerRidgeCV
from sklearn.model_selection import KFold, LeaveOneOut, cross_val_predict

ALPHAS = np.logspace(-2, 4, 7)


def data(n=120, p=30, n_targets=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) + 2.0
    noise = np.linspace(0.5, 20, n_targets) * rng.normal(size=(n, n_targets))
    return X, X @ rng.normal(size=(p, n_targets)) + noise + 7.0


@pytest.mark.parametrize("p", [30, 150])  # in unit space, and in sample space
def test_penalties_and_weights_are_those_of_scikit_learn_by_brute_force(p):
    X, y = data(p=p)
    found = sx.RidgeCV(ALPHAS, alpha_scale="absolute", cv=4).fit(X, y)
    rest = np.zeros((len(ALPHAS), y.shape[1]))
    total = np.zeros(y.shape[1])
    for train, test in KFold(4).split(X):
        total += ((y[test] - y[train].mean(axis=0)) ** 2).sum(axis=0)
        for a, alpha in enumerate(ALPHAS):
            predicted = Ridge(alpha).fit(X[train], y[train]).predict(X[test])
            rest[a] += ((y[test] - predicted) ** 2).sum(axis=0)
    best = rest.argmin(axis=0)
    np.testing.assert_allclose(found.alpha_, ALPHAS[best])
    assert len(set(found.alpha_)) > 1  # noise differs, so penalties do
    np.testing.assert_allclose(found.best_score_, 1 - rest.min(axis=0) / total, rtol=1e-9)
    for j in range(y.shape[1]):
        slow = Ridge(found.alpha_[j]).fit(X, y[:, j])
        np.testing.assert_allclose(found.coef_[:, j], slow.coef_, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(found.predict(X)[:, j], slow.predict(X), rtol=1e-8)
        assert found.score(X, y)[j] == pytest.approx(slow.score(X, y[:, j]), abs=1e-9)


@pytest.mark.parametrize("p", [30, 150])
def test_leave_one_out_is_that_of_scikit_learn_and_of_refits(p):
    X, y = data(p=p)
    found = sx.RidgeCV(ALPHAS, alpha_scale="absolute", cv="loo", store_cv_predictions=True).fit(X, y)
    peer = PeerRidgeCV(ALPHAS, alpha_per_target=True).fit(X, y)
    np.testing.assert_allclose(found.alpha_, peer.alpha_)
    assert len(set(found.alpha_)) > 1
    np.testing.assert_allclose(found.coef_, peer.coef_.T, rtol=1e-7, atol=1e-9)
    n = len(y)
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0) * (n / (n - 1)) ** 2
    np.testing.assert_allclose(found.best_score_, 1 + n * peer.best_score_ / total, rtol=1e-8)
    refits = cross_val_predict(Ridge(found.alpha_[1]), X, y[:, 1], cv=LeaveOneOut())
    np.testing.assert_allclose(found.cv_predictions_[:, 1], refits, rtol=1e-8)
    by_r = sx.RidgeCV([found.alpha_[1]], alpha_scale="absolute", cv="loo", criterion="r").fit(X, y[:, 1])
    np.testing.assert_allclose(by_r.best_score_, np.corrcoef(refits, y[:, 1])[0, 1], rtol=1e-9)


def test_generalised_cross_validation_is_its_formula():
    X, y = data(p=30)
    found = sx.RidgeCV(ALPHAS, alpha_scale="absolute", cv="gcv").fit(X, y)
    centred, targets = X - X.mean(axis=0), y - y.mean(axis=0)
    n, scores = len(y), []
    for alpha in ALPHAS:
        hat = centred @ np.linalg.solve(centred.T @ centred + alpha * np.eye(30), centred.T) + 1 / n
        rest = ((targets - hat @ targets) ** 2).sum(axis=0) / (n - np.trace(hat)) ** 2
        scores.append(1 - rest / ((targets**2).sum(axis=0) / (n - 1) ** 2))
    np.testing.assert_allclose(found.alpha_, ALPHAS[np.argmax(scores, axis=0)])
    np.testing.assert_allclose(found.best_score_, np.max(scores, axis=0), rtol=1e-9)


def test_predictions_of_folds_are_kept_where_asked_for():
    X, y = data()
    found = sx.RidgeCV(ALPHAS, alpha_scale="absolute", cv=4, store_cv_predictions=True).fit(X, y)
    refits = cross_val_predict(Ridge(found.alpha_[2]), X, y[:, 2], cv=KFold(4))
    np.testing.assert_allclose(found.cv_predictions_[:, 2], refits, rtol=1e-8)
    assert not hasattr(sx.RidgeCV(ALPHAS).fit(X, y), "cv_predictions_")


@pytest.mark.parametrize("cv", [4, "loo", "gcv"])
@pytest.mark.parametrize("p", [30, 150])
def test_single_precision_chooses_what_double_precision_chooses(p, cv):
    X, y = (values.astype(np.float32) for values in data(p=p))
    single = sx.RidgeCV(ALPHAS, cv=cv).fit(X, y)
    double = sx.RidgeCV(ALPHAS, cv=cv).fit(X.astype(float), y.astype(float))
    assert (single.coef_.dtype, double.coef_.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(single.alpha_, double.alpha_)
    # "gcv" divides roundings of 1e-7 by the square of what the fit leaves free, a twentieth here.
    np.testing.assert_allclose(single.best_score_, double.best_score_, atol=1e-4)
    np.testing.assert_allclose(single.predict(X), double.predict(X), rtol=1e-4, atol=1e-4 * np.ptp(y))
    # Where one of the two is float64, nothing is rounded.
    mixed = sx.RidgeCV(ALPHAS, cv=cv).fit(X, y.astype(float))
    np.testing.assert_array_equal(mixed.coef_, double.coef_)


def test_groups_are_held_out_whole():
    X, y = data()
    runs = np.repeat(["a", "b", "c", "d"], 30)
    by_groups = sx.RidgeCV(ALPHAS).fit(X, y, groups=runs)
    by_folds = sx.RidgeCV(ALPHAS, cv=KFold(4).split(X)).fit(X, y)
    np.testing.assert_array_equal(by_groups.coef_, by_folds.coef_)


def test_a_shared_penalty_is_shared_and_a_constant_target_is_undefined():
    X, y = data()
    assert len(set(sx.RidgeCV(ALPHAS, per_target=False).fit(X, y).alpha_)) == 1
    y[:, 2] = 3.0
    found = sx.RidgeCV(ALPHAS).fit(X, y)
    assert np.isnan(found.alpha_).tolist() == [False, False, True, False, False]
    assert np.isnan(found.coef_[:, 2]).all() and np.isfinite(found.coef_[:, 3]).all()


def test_a_fit_says_how_penalties_were_judged():
    (narrow, y), (wide, z) = data(p=30), data(p=150)
    grid = ALPHAS
    assert sx.RidgeCV(grid, cv=4).fit(narrow, y).cv_route_ == "folds"
    assert sx.RidgeCV(grid, cv=4).fit(wide, z).cv_route_ == "blocks"
    assert sx.RidgeCV(grid, cv=4, criterion="r").fit(wide, z).cv_route_ == "folds"
    assert sx.RidgeCV(grid, cv="loo").fit(narrow, y).cv_route_ == "loo"
    assert sx.RidgeCV(grid, cv="gcv").fit(narrow, y).cv_route_ == "gcv"
    assert sx.RidgeCV([1.0], cv=None).fit(narrow, y).cv_route_ is None
    assert sx.KernelRidgeCV(alphas=grid, cv=4).fit(wide, z).cv_route_ == "blocks"
    # Where left-out rows decide their own fit, a weak penalty would amplify rounding: back to folds, with the
    # same scores.
    rng = np.random.default_rng(3)
    low = rng.normal(size=(120, 115)) @ rng.normal(size=(115, 150))
    blocks, folds = (sx.RidgeCV(grid, cv=4).fit(low, y) for grid in ([1.0], [1e-14, 1.0]))
    assert (blocks.cv_route_, folds.cv_route_) == ("blocks", "folds")
    same = np.isclose(folds.alpha_, blocks.alpha_)
    assert same.any()
    np.testing.assert_allclose(blocks.best_score_[same], folds.best_score_[same], rtol=1e-8)


def test_one_target_comes_back_as_it_went_in():
    X, y = data()
    found = sx.RidgeCV(ALPHAS, criterion="r").fit(X, y[:, 0])
    assert found.predict(X).shape == (120,)
    assert clone(found).get_params()["criterion"] == "r"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha_scale": "relative"}, "mean_square, absolute expected"),
        ({"criterion": "mse"}, "one of r2, r expected"),
        ({"cv": 1}, "from 2"),
        ({"alphas": [-1.0, 2.0]}, "≥ 0"),
        ({"cv": [([0, 1, 2], [2, 3])]}, "row 2 on both sides"),
        ({"cv": "LOO"}, "one of loo, gcv expected"),
        ({"cv": "gcv", "criterion": "r"}, "squared error"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    X, y = data()
    with pytest.raises(ValueError, match=message):
        sx.RidgeCV(**change).fit(X, y)


def test_wrong_data_are_refused():
    X, y = data()
    with pytest.raises(ValueError, match="rows"):
        sx.RidgeCV().fit(X, y[:100])
    with pytest.raises(ValueError, match="one group"):
        sx.RidgeCV().fit(X, y, groups=["a"] * 120)
    with pytest.raises(ValueError, match="single samples"):
        sx.RidgeCV(cv="loo").fit(X, y, groups=["a"] * 60 + ["b"] * 60)
    with pytest.raises(ValueError, match="29 units, but 30"):
        sx.RidgeCV().fit(X, y).predict(X[:, 1:])
    X[3, 4] = np.nan
    with pytest.raises(ValueError, match="row 3, column 4"):
        sx.RidgeCV().fit(X, y)
