"""PLS regression, against scikit-learn with its inner iteration carried to convergence."""

import warnings

import numpy as np
import pytest
import stereotax as sx
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.model_selection import KFold, ShuffleSplit


def data(n=90, p=40, n_targets=7, seed=0):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, 8)) * np.linspace(3, 1, 8)
    X = hidden @ rng.normal(size=(8, p)) + rng.normal(size=(n, p)) + 5.0
    return X, hidden @ rng.normal(size=(8, n_targets)) + 3 * rng.normal(size=(n, n_targets)) - 2.0


def peer(n_components, scale=False):
    return PLSRegression(n_components, scale=scale, tol=1e-26, max_iter=100_000)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("p", [40, 200])  # in unit space, and in sample space
@pytest.mark.parametrize("n_targets", [1, 7, 120])
def test_predictions_are_those_of_scikit_learn(p, n_targets, scale):
    X, y = data(p=p, n_targets=n_targets)
    ours = sx.PLSRegression(12, scale=scale).fit(X[:70], y[:70])
    theirs = peer(12, scale).fit(X[:70], y[:70])
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X).reshape(90, -1), atol=1e-8, rtol=0)
    np.testing.assert_allclose(ours.coef_, theirs.coef_.T, atol=1e-8)
    assert ours.n_components_ == 12 and ours.stopped_ is None


@pytest.mark.parametrize("p", [40, 200])
def test_splits_are_fits_of_their_own(p):
    X, y = data(p=p)
    for cv in (KFold(5), ShuffleSplit(4, test_size=0.1, random_state=1)):
        splits = list(cv.split(X))
        all_found = sx.PLSRegression(9).predict_splits(X, y, splits)
        for (train, test), found in zip(splits, all_found, strict=True):
            expected = peer(9).fit(X[train], y[train]).predict(X[test])
            np.testing.assert_allclose(found, expected, atol=1e-8, rtol=0)
    runs = np.repeat(["a", "b", "c"], 30)
    by_groups = sx.PLSRegression(3).predict_splits(X, y, groups=runs)
    for a, b in zip(by_groups, sx.PLSRegression(3).predict_splits(X, y, KFold(3).split(X)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_scikit_learn_with_its_own_tolerance_is_near():
    X, y = data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        default = PLSRegression(12, scale=False).fit(X, y).predict(X)
    off = np.abs(sx.PLSRegression(12).fit(X, y).predict(X) - default).max()
    assert 1e-8 < off < 0.05 * y.std()  # so its tolerance, not the method, is what differs


def test_components_end_with_the_rank():
    X, y = data(p=30)
    X[:, 10:] = X[:, :10] @ np.random.default_rng(1).normal(size=(10, 20))
    fitted = sx.PLSRegression(25).fit(X, y)
    assert fitted.n_components_ == 10 and fitted.stopped_.startswith("10 of 25 components")
    design = np.column_stack([np.ones(90), X[:, :10]])
    least_squares = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    np.testing.assert_allclose(fitted.predict(X), least_squares, atol=1e-7)


def test_one_target_comes_back_as_it_went_in():
    X, y = data()
    found = sx.PLSRegression(4).fit(X, y[:, 0])
    assert found.predict(X).shape == (90,)
    assert [part.shape for part in found.predict_splits(X, y[:, 0], 3)] == [(30,)] * 3
    assert found.score(X, y[:, 0]) == pytest.approx(peer(4).fit(X, y[:, 0]).score(X, y[:, 0]), abs=1e-9)
    assert clone(sx.PLSRegression(4, scale=True)).get_params() == {"n_components": 4, "scale": True}


def test_wrong_input_is_refused_and_left_alone():
    X, y = data()
    kept = X.copy(), y.copy()
    sx.PLSRegression(3, scale=True).fit(X, y)
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])
    with pytest.raises(ValueError, match="rows"):
        sx.PLSRegression().fit(X, y[:80])
    with pytest.raises(ValueError, match="from 1"):
        sx.PLSRegression(0).fit(X, y)
    with pytest.raises(ValueError, match="does not vary"):
        sx.PLSRegression().fit(np.ones((90, 3)), y)
    with pytest.raises(ValueError, match="39 units, but 40"):
        sx.PLSRegression(2).fit(X, y).predict(X[:, 1:])
    with pytest.raises(ValueError, match="rows below 90"):
        sx.PLSRegression(2).predict_splits(X, y, [(np.arange(80), [90])])
    y[:, 2] = 1.5
    fitted = sx.PLSRegression(2).fit(X, y)
    assert np.allclose(fitted.predict(X)[:, 2], 1.5) and np.isnan(fitted.score(X, y)[2])
    X[3, 4] = np.nan
    with pytest.raises(ValueError, match="row 3, column 4"):
        sx.PLSRegression().fit(X, y)


def test_layout_and_precision_of_the_input_do_not_matter():
    X, y = data()
    expected = sx.PLSRegression(5).fit(X, y).coef_
    for view in (np.asfortranarray(X), np.repeat(X, 3, axis=1)[:, ::3], np.flip(np.flip(X, 0).copy(), 0)):
        np.testing.assert_array_equal(sx.PLSRegression(5).fit(view, y).coef_, expected)
    single = X.astype(np.float32)
    again = sx.PLSRegression(5).fit(single.astype(np.float64), y).coef_
    np.testing.assert_array_equal(sx.PLSRegression(5).fit(single, y).coef_, again)
