"""Bands of features against ridge on weighted features, and planted bands."""

import numpy as np
import pytest
import stereotax as sx
from sklearn.base import clone
from sklearn.model_selection import KFold

ALPHAS = np.logspace(-2, 4, 13)


def data(n=80, n_targets=6, seed=0):
    """Even targets follow band a, odd ones b."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, 10)) + 1.0, rng.normal(size=(n, 120))
    y = np.where(np.arange(n_targets) % 2 == 0, a[:, :1] * 2, b[:, :4].sum(axis=1, keepdims=True))
    return {"a": a, "b": b}, y + 0.5 * rng.normal(size=(n, n_targets)) + 3.0


@pytest.mark.parametrize("cv", [4, "loo", "gcv"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_best_draw_is_that_of_ridge_on_weighted_features(cv, fit_intercept):
    X, y = data()
    shared = {"alphas": ALPHAS, "alpha_scale": "absolute", "fit_intercept": fit_intercept, "cv": cv}
    found = sx.BandedRidgeCV(n_draws=6, **shared).fit(X, y)
    np.testing.assert_allclose(found.draws_.sum(axis=1), 1)
    fits = [
        sx.RidgeCV(**shared).fit(
            np.hstack([np.sqrt(g) * x for g, x in zip(draw, X.values(), strict=True)]), y
        )
        for draw in found.draws_
    ]
    scores = np.array([fit.best_score_ for fit in fits])
    np.testing.assert_array_equal(found.draw_, scores.argmax(axis=0))
    np.testing.assert_allclose(found.best_score_, scores.max(axis=0), rtol=1e-8)
    new, y_new = data(seed=1)
    for j, at in enumerate(found.draw_):
        assert found.alpha_[j] == pytest.approx(fits[at].alpha_[j])
        draw = found.draws_[at]
        stacked = np.hstack([np.sqrt(g) * x for g, x in zip(draw, new.values(), strict=True)])
        np.testing.assert_allclose(found.predict(new)[:, j], fits[at].predict(stacked)[:, j], atol=1e-7)
        weights = np.concatenate([w[:, j] for w in found.weights().values()])
        np.testing.assert_allclose(np.hstack(list(new.values())) @ weights + found.intercept_[j],
                                   found.predict(new)[:, j], atol=1e-8)  # fmt: skip
    parts = found.predict_bands(new)
    mean = y.mean(axis=0) if fit_intercept else 0.0
    np.testing.assert_allclose(sum(parts.values()) + mean, found.predict(new), atol=1e-10)
    split = found.score_bands(new, y_new)
    np.testing.assert_allclose(
        sum(split.values()), sum(sx.product_measure(y_new, parts).values()), rtol=1e-12
    )


def test_planted_bands_are_found_and_refined():
    X, y = data(n=120)
    coarse = sx.BandedRidgeCV(n_draws=4, cv=5).fit(X, y)
    fine = sx.BandedRidgeCV(n_draws=4, cv=5, refine=15).fit(X, y)
    assert (fine.best_score_ >= coarse.best_score_).all()
    assert (fine.best_score_ > coarse.best_score_ + 1e-4).sum() >= 3
    assert (fine.gamma_[0, ::2] > 0.9).all() and (fine.gamma_[1, 1::2] > 0.5).all()
    new, y_new = data(n=200, seed=1)
    shares = fine.score_bands(new, y_new)
    assert (shares["a"][::2] > 0.8).all() and (np.abs(shares["b"][::2]) < 0.1).all()


def test_kernels_groups_purging_and_precision():
    X, y = data()
    kernels = [x @ x.T for x in X.values()]
    runs = np.arange(80) // 20
    by_groups = sx.BandedRidgeCV("precomputed", n_draws=5).fit(kernels, y, groups=runs)
    by_folds = sx.BandedRidgeCV(n_draws=5, cv=KFold(4).split(y)).fit(X, y)
    np.testing.assert_allclose(by_groups.best_score_, by_folds.best_score_, rtol=1e-8)
    np.testing.assert_allclose(by_groups.predict(kernels), by_folds.predict(X), atol=1e-7)
    purged = sx.BandedRidgeCV(n_draws=5, cv=4, purge=5).fit(X, y)
    by_hand = [([i for i in range(80) if np.abs(test - i).min() > 5], test) for _, test in KFold(4).split(y)]
    np.testing.assert_array_equal(
        purged.best_score_, sx.BandedRidgeCV(n_draws=5, cv=by_hand).fit(X, y).best_score_
    )
    single = sx.BandedRidgeCV(n_draws=5, cv=4).fit(X, y.astype(np.float32))
    assert single.dual_coef_.dtype == np.float32
    np.testing.assert_allclose(single.best_score_, by_folds.best_score_, atol=1e-4)
    one = sx.BandedRidgeCV(n_draws=5, cv=4).fit(X, y[:, 3])
    # The same bits in any company.
    np.testing.assert_array_equal(one.dual_coef_[:, 0], by_folds.dual_coef_[:, 3])
    np.testing.assert_allclose(one.predict(X), by_folds.predict(X)[:, 3], rtol=1e-12)
    assert one.score(X, y[:, 3]).shape == ()


def test_settings_and_refusals():
    X, y = data()
    assert clone(sx.BandedRidgeCV("rbf", gamma=2.0)).get_params()["gamma"] == 2.0
    with pytest.raises(ValueError, match="mapping or list of bands"):
        sx.BandedRidgeCV().fit(X["a"], y)
    with pytest.raises(ValueError, match="band `b` has 79 rows"):
        sx.BandedRidgeCV().fit({"a": X["a"], "b": X["b"][:79]}, y)
    with pytest.raises(ValueError, match="sum to 1"):
        sx.BandedRidgeCV(draws=[[0.5, 0.6]]).fit(X, y)
    with pytest.raises(ValueError, match="above 0"):
        sx.BandedRidgeCV(alphas=[0.0, 1.0]).fit(X, y)
    with pytest.raises(ValueError, match="numbers above 0"):
        sx.BandedRidgeCV(concentration=[0.0]).fit(X, y)
    with pytest.raises(ValueError, match="same bands"):
        sx.BandedRidgeCV(n_draws=2).fit(X, y).predict({"b": X["b"], "a": X["a"]})
    with pytest.raises(ValueError, match="'linear' expected"):
        sx.BandedRidgeCV("rbf", n_draws=2).fit(X, y).weights()
