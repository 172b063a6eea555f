"""Latent factors and the zero-inflated gamma distribution, against scikit-learn and SciPy."""

import numpy as np
import pytest
import stereotax as sx
from scipy.stats import gamma, multivariate_normal
from sklearn.base import clone
from sklearn.decomposition import FactorAnalysis

RNG = np.random.default_rng(0)
LOADINGS, PSI = RNG.normal(size=(3, 18)), np.linspace(0.5, 2, 18)
X = RNG.normal(size=(1500, 3)) @ LOADINGS + np.sqrt(PSI) * RNG.normal(size=(1500, 18)) + 1.0
MODEL = sx.LatentFactors(3).fit(X[:1000])
SIGMA = MODEL.components_.T @ MODEL.components_ + np.diag(MODEL.noise_variance_)


def test_it_is_factor_analysis():
    theirs = FactorAnalysis(3, tol=1e-10, max_iter=10_000, svd_method="lapack").fit(X[:1000])
    np.testing.assert_allclose(MODEL.noise_variance_, theirs.noise_variance_, atol=2e-3)
    np.testing.assert_allclose(SIGMA, theirs.get_covariance(), atol=5e-3)
    assert MODEL.score(X[1000:]) == pytest.approx(theirs.score(X[1000:]), abs=1e-3)
    density = multivariate_normal(MODEL.mean_, SIGMA).logpdf(X[1000:])
    assert MODEL.score(X[1000:]) == pytest.approx(density.mean())
    assert MODEL.loglike_ == pytest.approx(MODEL.score(X[:1000])) and MODEL.converged_
    truth = LOADINGS.T @ LOADINGS
    found = MODEL.components_.T @ MODEL.components_
    np.testing.assert_allclose(found, truth, atol=0.15 * np.abs(truth).max())


def test_held_out_neurons_are_predicted_by_the_joint_gaussian():
    seen = np.arange(18) % 3 > 0
    blind = np.where(seen, X[1000:], np.nan)
    found = MODEL.predict(blind, seen)
    part = np.linalg.solve(SIGMA[np.ix_(seen, seen)], SIGMA[np.ix_(seen, ~seen)])
    slow = MODEL.mean_[~seen] + (X[1000:, seen] - MODEL.mean_[seen]) @ part
    np.testing.assert_allclose(found[:, ~seen], slow, atol=1e-9)
    r = [np.corrcoef(found[:, j], X[1000:, j])[0, 1] for j in np.flatnonzero(~seen)]
    truth = LOADINGS.T @ LOADINGS + np.diag(PSI)
    part = np.linalg.solve(truth[np.ix_(seen, seen)], truth[np.ix_(seen, ~seen)])
    best = 1.0 + (X[1000:, seen] - 1.0) @ part
    limit = [np.corrcoef(best[:, k], X[1000:, j])[0, 1] for k, j in enumerate(np.flatnonzero(~seen))]
    assert np.mean(r) > np.mean(limit) - 0.01
    assert MODEL.transform(X).shape == (1500, 3)


def test_the_number_of_factors_is_seen_on_held_out_samples():
    scores = {k: sx.LatentFactors(k).fit(X[:400]).score(X[400:]) for k in (1, 2, 3, 6)}
    assert max(scores, key=scores.get) == 3
    assert clone(sx.LatentFactors(4)).get_params()["n_factors"] == 4


@pytest.mark.parametrize(("shape", "scale", "q"), [(0.6, 1.0, 0.5), (2.0, 0.3, 0.2), (9.0, 0.1, 0.9)])
def test_zero_inflated_gamma_is_scipys(shape, scale, q):
    active = RNG.random(20_000) < q
    y = np.where(active, 0.005 + RNG.gamma(shape, scale, 20_000), 0.005 * RNG.random(20_000))
    fitted = sx.ZeroInflatedGamma().fit(y[:, None])
    k, _, theta = gamma.fit(y[y >= 0.005] - 0.005, floc=0)
    assert fitted.shape_[0] == pytest.approx(k, rel=1e-3)
    assert fitted.scale_[0] == pytest.approx(theta, rel=1e-3)
    assert fitted.q_[0] == pytest.approx(active.mean()) and fitted.shape_[0] == pytest.approx(shape, rel=0.05)
    assert fitted.mean_[0] == pytest.approx(y.mean(), rel=1e-3)
    assert fitted.variance_[0] == pytest.approx(y.var(), rel=0.1)
    grid = np.linspace(0.0051, 5, 50)
    expected = np.log(fitted.q_[0]) + gamma.logpdf(grid - 0.005, fitted.shape_[0], scale=fitted.scale_[0])
    np.testing.assert_allclose(fitted.log_density(grid[:, None])[:, 0], expected, atol=1e-9)
    silent = fitted.log_density([[0.001], [-1.0]])[:, 0]
    assert silent[0] == pytest.approx(np.log((1 - fitted.q_[0]) / 0.005)) and silent[1] == -np.inf
    assert fitted.score(y[:, None]) == pytest.approx(fitted.log_density(y[:, None]).mean())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sx.LatentFactors(18).fit(X), "1 to 17"),
        (lambda: sx.LatentFactors(2).fit(np.ones((9, 3))), "neuron 0"),
        (lambda: MODEL.predict(X, np.zeros(18)), "1 is observed"),
        (lambda: MODEL.score(X[:, :4]), "18 neurons"),
        (lambda: sx.LatentFactors(2).transform(X), "not fitted"),
        (lambda: sx.ZeroInflatedGamma().fit(-np.ones((5, 1))), "at least 0"),
        (lambda: sx.ZeroInflatedGamma().fit(np.zeros((5, 1))), "3 different"),
        (lambda: sx.ZeroInflatedGamma(0.0).fit(np.ones((5, 1))), "3 different"),
        (lambda: sx.ZeroInflatedGamma().fit(RNG.random((9, 2))).log_density([[1.0]]), "2 expected"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
