"""Least squares and principal component regression, against scikit-learn."""

import numpy as np
import pytest
import stereotax as sx
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline


def data(n=70, p=12, n_targets=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) / np.sqrt(1 + np.arange(p)) + 2.0
    return X, X @ rng.normal(size=(p, n_targets)) + 3 * rng.normal(size=(n, n_targets)) + 1.0


@pytest.mark.parametrize("p", [12, 100])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_least_squares_are_those_of_scikit_learn(p, fit_intercept):
    X, y = data(p=p)
    ours = sx.LinearRegression(fit_intercept=fit_intercept).fit(X, y)
    peer = LinearRegression(fit_intercept=fit_intercept).fit(X, y)
    np.testing.assert_allclose(ours.coef_, peer.coef_.T, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(ours.intercept_, peer.intercept_, atol=1e-8)
    assert ours.rank_ == min(p, 70 - fit_intercept)


def test_components_are_chosen_as_by_refits():
    X, y = data()
    found = sx.PCARegressionCV(cv=7).fit(X, y)
    scores = np.zeros((13, 5))
    total = sum(((y[test] - y[train].mean(axis=0)) ** 2).sum(axis=0) for train, test in KFold(7).split(X))
    for k in range(1, 13):
        predicted = cross_val_predict(make_pipeline(PCA(k), LinearRegression()), X, y, cv=KFold(7))
        scores[k] = 1 - ((y - predicted) ** 2).sum(axis=0) / total
    np.testing.assert_array_equal(found.n_components_, scores.argmax(axis=0))
    np.testing.assert_allclose(found.best_score_, scores.max(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        found.explained_variance_ratio_, PCA().fit(X).explained_variance_ratio_.cumsum(), rtol=1e-10
    )
    j = int(found.n_components_.argmax())
    peer = make_pipeline(PCA(int(found.n_components_[j])), LinearRegression()).fit(X, y[:, j])
    np.testing.assert_allclose(found.predict(X)[:, j], peer.predict(X), rtol=1e-8)
    assert sx.PCARegressionCV(2).fit(X, y).n_components_.max() <= 2


def test_settings_and_refusals():
    X, y = data()
    assert clone(sx.PCARegressionCV(3, cv=4)).get_params()["max_components"] == 3
    assert sx.LinearRegression().fit(X, y[:, 0]).predict(X).shape == (70,)
    y[:, 1] = 4.0
    fitted = sx.PCARegressionCV().fit(X, y)
    assert np.isnan(fitted.best_score_[1]) and np.isfinite(fitted.best_score_[0])
    with pytest.raises(ValueError, match="constant"):
        sx.LinearRegression().fit(np.ones((70, 2)), y)
    with pytest.raises(ValueError, match="70 rows"):
        sx.LinearRegression().fit(X, y[:60])
    with pytest.raises(ValueError, match="max_components"):
        sx.PCARegressionCV(0).fit(X, y)
