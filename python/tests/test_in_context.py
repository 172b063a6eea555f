"""The empirical-Bayes in-context encoder, on voxels drawn from a known prior."""

import numpy as np
import pytest
import stereotax as sx

E = 25
RNG = np.random.default_rng(0)
LOW, CENTRE = RNG.normal(size=(E, 2)), 0.5 * RNG.normal(size=(E, 1))


def voxels(n, v):
    X = RNG.normal(size=(n, E))
    W = CENTRE + LOW @ RNG.normal(size=(2, v))
    return X, X @ W + 2.0 + RNG.normal(size=(n, v)), W


X, Y, W = voxels(1500, 400)
ENCODER = sx.InContextEncoder().fit(X[:300], Y[:300, :350])


def test_the_prior_is_found():
    assert ENCODER.converged_ and ENCODER.noise_variance_ == pytest.approx(1, abs=0.03)
    assert np.corrcoef(ENCODER.prior_mean_[:-1], CENTRE[:, 0])[0, 1] > 0.95
    assert ENCODER.prior_mean_[-1] == pytest.approx(2, abs=0.1)
    expected = LOW @ LOW.T
    assert np.linalg.norm(ENCODER.prior_covariance_[:-1, :-1] - expected) < 0.2 * np.linalg.norm(expected)


@pytest.mark.parametrize("size", [0, 6, 90])
def test_weights_are_the_posterior_mean(size):
    context, responses = X[300 : 300 + size], Y[300 : 300 + size, 350:]
    design = np.column_stack([context, np.ones(size)])
    precision = np.linalg.inv(ENCODER.prior_covariance_)
    slow = np.linalg.solve(
        design.T @ design / ENCODER.noise_variance_ + precision,
        design.T @ responses / ENCODER.noise_variance_ + (precision @ ENCODER.prior_mean_)[:, None],
    )
    found = ENCODER.encode(context, responses)
    np.testing.assert_allclose(found, slow, atol=1e-6)
    np.testing.assert_allclose(
        ENCODER.predict(X, found), np.column_stack([X, np.ones(1500)]) @ found, atol=1e-9
    )


def test_it_beats_ridge_where_the_context_is_small_and_meets_it_where_it_is_large():
    pool, test = (X[300:1200], Y[300:1200, 350:]), (X[1200:], Y[1200:, 350:])
    curve = ENCODER.context_curve(*pool, *test, sizes=[5, 20, 900])
    gain = curve["in_context"] - curve["ridge"]
    assert gain[0] > 0.2 and gain[1] > 0.02 and abs(gain[2]) < 0.003, curve
    assert curve["in_context"][0] > curve["prior_mean"][0]


def test_features_come_back_from_responses():
    weights = np.vstack([W, np.full((1, 400), 2.0)])
    found = ENCODER.decode(weights, Y[1200:], 1.0)
    mean, cov = X[:300].mean(axis=0), np.cov(X[:300].T)
    slow = mean + (Y[1200:] - 2 - mean @ W) @ np.linalg.solve(W @ W.T + np.linalg.inv(cov), W).T
    np.testing.assert_allclose(found, slow, atol=1e-8)
    # Three dimensions of 25 are seen: there the stimulus is found.
    basis = np.linalg.svd(W)[0][:, :3]
    ranked = sx.rank_accuracy(found @ basis, X[1200:] @ basis, n_permutations=0)
    assert ranked.accuracy > 0.98


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sx.InContextEncoder().fit(X, Y[:, :1]), "2 training voxels"),
        (lambda: ENCODER.encode(X[:, :-1], Y), "25 features"),
        (lambda: ENCODER.predict(X, W), "26 expected"),
        (lambda: ENCODER.decode(ENCODER.encode(X, Y), Y, -1.0), "positive variance"),
        (lambda: ENCODER.context_curve(X, Y, X, Y, sizes=[2]), "from 3"),
        (lambda: sx.InContextEncoder().encode(X, Y), "not fitted"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
