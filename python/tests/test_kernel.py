"""Ridge from a kernel, against scikit-learn and ridge on features."""

import numpy as np
import pytest
import stereotax as sx
from sklearn.base import clone
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel
from sklearn.model_selection import KFold

ALPHAS = np.logspace(-3, 3, 7)


def data(n=90, p=4, n_targets=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) + 1.0
    y = np.sin(X @ rng.normal(size=(p, n_targets)))
    return X, y + np.linspace(0.01, 2, n_targets) * rng.normal(size=y.shape) + 4.0


@pytest.mark.parametrize("kernel", ["rbf", "poly", "precomputed"])
def test_choices_and_weights_are_those_of_scikit_learn_by_brute_force(kernel):
    X, y = data()
    settings = {"gamma": 0.3, "degree": 2, "coef0": 0.5}
    peer_kernel = (
        (lambda a, b: polynomial_kernel(a, b, **settings))
        if kernel == "poly"
        else lambda a, b: rbf_kernel(a, b, gamma=0.3)
    )
    given = peer_kernel(X, X) if kernel == "precomputed" else X
    found = sx.KernelRidgeCV(
        kernel, **settings, alphas=ALPHAS, alpha_scale="absolute", fit_intercept=False, cv=4
    ).fit(given, y)
    rest = np.zeros((len(ALPHAS), y.shape[1]))
    for train, test in KFold(4).split(X):
        for a, alpha in enumerate(ALPHAS):
            peer = KernelRidge(alpha=alpha, kernel="precomputed").fit(
                peer_kernel(X[train], X[train]), y[train]
            )
            rest[a] += ((y[test] - peer.predict(peer_kernel(X[test], X[train]))) ** 2).sum(axis=0)
    best = rest.argmin(axis=0)
    assert len(set(best)) > 1
    np.testing.assert_allclose(found.alpha_, ALPHAS[best])
    np.testing.assert_allclose(found.best_score_, 1 - rest.min(axis=0) / (y**2).sum(axis=0), rtol=1e-8)
    new = data(seed=1)[0]
    given = peer_kernel(new, X) if kernel == "precomputed" else new
    for j in range(y.shape[1]):
        peer = KernelRidge(alpha=found.alpha_[j], kernel="precomputed").fit(peer_kernel(X, X), y[:, j])
        np.testing.assert_allclose(found.predict(given)[:, j], peer.predict(peer_kernel(new, X)), rtol=1e-6)


@pytest.mark.parametrize("cv", ["loo", "gcv", 4])
def test_a_linear_kernel_with_an_intercept_is_ridge(cv):
    X, y = data()
    runs = np.repeat(["a", "b", "c"], 30)
    settings = {"alphas": ALPHAS, "alpha_scale": "absolute", "cv": cv, "store_cv_predictions": True}
    groups = None if isinstance(cv, str) else runs
    kernel = sx.KernelRidgeCV(**settings).fit(X, y, groups)
    ridge = sx.RidgeCV(**settings).fit(X, y, groups)
    np.testing.assert_allclose(kernel.alpha_, ridge.alpha_)
    np.testing.assert_allclose(kernel.best_score_, ridge.best_score_, rtol=1e-9)
    np.testing.assert_allclose(kernel.cv_predictions_, ridge.cv_predictions_, rtol=1e-9)
    new, y_new = data(seed=1)
    np.testing.assert_allclose(kernel.predict(new), ridge.predict(new), rtol=1e-9)
    np.testing.assert_allclose(kernel.score(new, y_new), ridge.score(new, y_new), rtol=1e-9)
    np.testing.assert_allclose(X.T @ kernel.dual_coef_, ridge.coef_, rtol=1e-7, atol=1e-9)


def test_purged_rows_are_in_no_training_set():
    X, y = data()
    folds = [
        ([row for row in range(90) if np.abs(test - row).min() > 6], test) for _, test in KFold(4).split(X)
    ]
    purged = sx.KernelRidgeCV("rbf", cv=4, purge=6).fit(X, y)
    by_hand = sx.KernelRidgeCV("rbf", cv=folds).fit(X, y)
    np.testing.assert_array_equal(purged.best_score_, by_hand.best_score_)
    assert (purged.best_score_ != sx.KernelRidgeCV("rbf", cv=4).fit(X, y).best_score_).all()


def test_single_precision_and_one_target():
    X, y = data()
    double = sx.KernelRidgeCV("rbf").fit(X, y)
    single = sx.KernelRidgeCV("rbf").fit(X, y.astype(np.float32))
    assert single.dual_coef_.dtype == np.float32
    np.testing.assert_allclose(single.predict(X), double.predict(X), atol=1e-4)
    one = sx.KernelRidgeCV("rbf").fit(X, y[:, 2])
    assert one.predict(X).shape == (90,)
    # The same bits in any company.
    np.testing.assert_array_equal(one.dual_coef_[:, 0], double.dual_coef_[:, 2])


def test_settings_and_refusals():
    X, y = data()
    assert clone(sx.KernelRidgeCV("rbf", gamma=2.0)).get_params()["gamma"] == 2.0
    with pytest.raises(ValueError, match="symmetric"):
        sx.KernelRidgeCV("precomputed").fit(X @ X.T + np.eye(90, k=1) * 50, y)
    with pytest.raises(ValueError, match="negative eigenvalues"):
        sx.KernelRidgeCV("precomputed").fit(np.abs(X[:, :1] - X[:, 0]), y)
    with pytest.raises(ValueError, match="`kernel` is 'gauss'"):
        sx.KernelRidgeCV("gauss").fit(X, y)
    with pytest.raises(ValueError, match="gamma above 0"):
        sx.KernelRidgeCV("rbf", gamma=-1.0).fit(X, y)
    with pytest.raises(ValueError, match="one of them expected"):
        sx.KernelRidgeCV("rbf", purge=2).fit(X, y, groups=np.arange(90) // 30)
    with pytest.raises(ValueError, match="leaves out single samples"):
        sx.KernelRidgeCV("rbf", purge=2, cv="loo").fit(X, y)
    with pytest.raises(ValueError, match="4 expected"):
        sx.KernelRidgeCV("rbf").fit(X, y).predict(X[:, :3])
    with pytest.raises(ValueError, match="call fit first"):
        sx.KernelRidgeCV().predict(X)
