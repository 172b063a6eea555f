"""Explainable variance and extrapolated ceilings, by NumPy and by scipy's curve fit."""

import numpy as np
import pytest
import stereotax as sx
from scipy.optimize import curve_fit


def test_feve_by_its_formula():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(50, 3)) * [1.0, 2.0, 0.01]
    trials = np.stack([signal + rng.normal(size=signal.shape) + 4 for _ in range(5)])
    predicted = 0.7 * signal + 4
    found = sx.feve(predicted, list(trials))
    noise = trials.var(axis=0, ddof=1).mean(axis=0)
    total = trials.reshape(-1, 3).var(axis=0)
    np.testing.assert_allclose(found.fev, (total - noise) / total, rtol=1e-10)
    expected = 1 - (((trials - predicted) ** 2).mean(axis=(0, 1)) - noise) / (total - noise)
    np.testing.assert_allclose(found.score[:2], expected[:2], rtol=1e-10)
    assert np.isnan(found.score[2])
    with pytest.raises(ValueError, match="2 of each"):
        sx.feve(predicted, trials[:1])
    with pytest.raises(ValueError, match="repeat 1"):
        sx.feve(predicted, [trials[0], trials[1, :40]])


def test_extrapolation_is_scipys_curve_fit():
    rng = np.random.default_rng(1)
    x = np.array([2.0, 3, 5, 8])
    values = 0.5 * (1 - np.exp(-x / 4)) + 0.02 * rng.normal(size=(30, 4))
    found = sx.extrapolated_ceiling(x, values)
    peer, _ = curve_fit(
        lambda x, v, tau: v * (1 - np.exp(-x / tau)), np.tile(x, 30), values.ravel(), p0=(1, 3)
    )
    assert (found.ceiling, found.scale) == (
        pytest.approx(peer[0], rel=1e-5),
        pytest.approx(peer[1], rel=1e-4),
    )
    assert found.lower < found.ceiling < found.upper and found.n_defined == 100
    assert "level off" in sx.extrapolated_ceiling(x, 0.01 * x).reason
    with pytest.raises(ValueError, match="2 different"):
        sx.extrapolated_ceiling([3, 3], [0.1, 0.2])
