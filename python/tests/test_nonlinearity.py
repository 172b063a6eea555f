"""Nonlinearity of encoders: numbers of the specification, and Jacobians against differences."""

import warnings

import numpy as np
import pytest
import stereotax as sx
from scipy.stats import norm
from sklearn.kernel_ridge import KernelRidge
from sklearn.neural_network import MLPRegressor

N = 20_000
X = norm.ppf((np.arange(N) + 0.5) / N)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("derivative", "jne", "deviation"),
    [
        (lambda x: np.full_like(x, 3.0), 0.0, 0.0),
        (lambda x: (x > -1) * 1.0, 0.2494, 0.2670),  # ReLU, active with p = .8413
        (lambda x: (x > 0) * 2.0, 0.0, 1.0),  # ReLU of weight 2, active half of the time
        (lambda x: x, 0.6028, 0.7979),  # x²/2
        (lambda x: 1 - np.tanh(x) ** 2, 0.1481, 0.2749),
        (np.sign, 0.0, 1.0),  # |x|
    ],
)
def test_fixtures(derivative, jne, deviation):
    found = sx.jacobian_nonlinearity(derivative(X)[:, None, None])
    assert found.jne[0] == pytest.approx(jne, abs=2e-4)
    assert found.deviation[0] == pytest.approx(deviation, abs=2e-4)
    assert found.normalised_jne[0] == pytest.approx(found.jne[0] / found.gain[0])
    assert found.normalised_deviation[0] == pytest.approx(found.deviation[0] / found.gain[0])


def test_it_is_the_definition_and_sums_over_features():
    J = RNG.normal(size=(50, 4, 3))
    s = np.abs(J - J.mean(axis=0)).sum(axis=1)
    found = sx.jacobian_nonlinearity(J)
    np.testing.assert_allclose(found.deviation, s.mean(axis=0))
    np.testing.assert_allclose(found.jne, s.std(axis=0))
    np.testing.assert_allclose(found.jne_ss, (s - s.mean(axis=0)) ** 2)
    np.testing.assert_allclose(found.gain, np.abs(J).sum(axis=1).mean(axis=0))
    a = np.array([1, 2, 0.5])
    quadratic = a * RNG.normal(size=(200_000, 3))
    assert sx.jacobian_nonlinearity(quadratic[:, :, None]).jne[0] == pytest.approx(1.3812, abs=0.01)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_perceptrons_are_those_of_scikit_learn(activation):
    x, y = RNG.normal(size=(80, 6)), RNG.normal(size=(80, 2))
    net = MLPRegressor(hidden_layer_sizes=(8, 8), activation=activation, max_iter=30, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge
        net.fit(x, y)
    ours = sx.mlp_jacobians(
        x, net.coefs_, biases=net.intercepts_, activation={"logistic": "sigmoid"}.get(activation, activation)
    )
    assert ours.shape == (80, 6, 2)
    slow = sx.numerical_jacobians(net.predict, x, step=1e-5)
    np.testing.assert_allclose(np.asarray(ours), slow, atol=1e-6)
    lazy, dense = sx.jacobian_nonlinearity(ours), sx.jacobian_nonlinearity(np.asarray(ours))
    assert lazy.to_dict() == dense.to_dict()


def test_skips_and_output_activations_count():
    x, weights = RNG.normal(size=(5, 4)), [RNG.normal(size=(4, 4)), RNG.normal(size=(4, 7))]

    def network(rows):
        return np.tanh((np.maximum(rows @ weights[0], 0) + rows) @ weights[1])

    found = sx.mlp_jacobians(x, weights, skips=[True, False], output_activation="tanh")
    np.testing.assert_allclose(np.asarray(found), sx.numerical_jacobians(network, x), atol=1e-5)


def test_kernel_ridge_is_that_of_scikit_learn():
    x, y = RNG.normal(size=(60, 3)), RNG.normal(size=(60, 2))
    fitted = KernelRidge(kernel="rbf", gamma=0.2, alpha=0.1).fit(x, y)
    found = sx.kernel_ridge_jacobians(x[:9], x, fitted.dual_coef_, length_scale=1 / np.sqrt(0.4))
    np.testing.assert_allclose(np.asarray(found), sx.numerical_jacobians(fitted.predict, x[:9]), atol=1e-5)


def test_fitted_encoders_rise_with_the_nonlinearity_of_the_responses():
    x = RNG.normal(size=(1500, 3))
    quadratic = (x**2 - 1) @ [0.5, -0.4, 0.3]
    curve = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = (1 - share) * x @ [0.6, -0.5, 0.4] + share * quadratic
        fitted = KernelRidge(kernel="rbf", gamma=0.02, alpha=1e-3).fit(x, y)
        J = sx.kernel_ridge_jacobians(x[:400], x, fitted.dual_coef_, length_scale=5.0)
        curve.append(sx.jacobian_nonlinearity(J).normalised_jne[0])
    assert curve[0] < 0.02 and np.all(np.diff(curve) > 0), curve


def test_a_surrogate_has_the_curvature_of_fitting_noise():
    x = RNG.normal(size=(300, 3))
    y = np.stack([x @ [1, 1, 0] + RNG.normal(size=300), x[:, 0] ** 2 + 0.3 * RNG.normal(size=300)], axis=1)

    def measure(responses):
        fitted = KernelRidge(kernel="rbf", gamma=0.05, alpha=0.5).fit(x, responses)
        J = sx.kernel_ridge_jacobians(x, x, fitted.dual_coef_, length_scale=1 / np.sqrt(0.1))
        return sx.jacobian_nonlinearity(J).deviation

    surrogate = sx.linear_surrogate(x, y, [0.66, 0.9], seed=3)
    np.testing.assert_array_equal(surrogate, sx.linear_surrogate(x, y, [0.66, 0.9], seed=3))
    assert not np.array_equal(surrogate, sx.linear_surrogate(x, y, [0.66, 0.9], seed=4))
    excess = measure(y) - measure(surrogate)
    assert excess[0] < 0.3 * measure(y)[0] and excess[1] > 0.5 * measure(y)[1], excess


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sx.jacobian_nonlinearity(np.ones((3, 2))), "three axes"),
        (lambda: sx.jacobian_nonlinearity(np.ones((1, 2, 1))), "2 samples"),
        (lambda: sx.jacobian_nonlinearity(np.full((3, 2, 1), np.nan)), "not finite at row 0"),
        (lambda: np.asarray(sx.mlp_jacobians(np.ones((3, 2)), [np.ones((3, 2))])), "2 rows"),
        (lambda: np.asarray(sx.mlp_jacobians([[1.0]], [[[1.0]]], output_activation="rely")), "relu"),
        (lambda: sx.mlp_jacobians([[1.0]], [[[1.0]]], skips=[True, False]), "one per layer"),
        (lambda: sx.numerical_jacobians(lambda x: x, X[:, None], step=0), "positive"),
        (lambda: sx.numerical_jacobians(lambda x: x[:3], X[:, None]), "rows expected"),
        (lambda: sx.linear_surrogate(np.ones((3, 2)), np.ones((3, 1)), 1.5), "from 0 to 1"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
