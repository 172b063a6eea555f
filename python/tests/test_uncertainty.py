"""Predictive uncertainty, against the definitions with SciPy's normal distribution."""

import numpy as np
import pytest
import stereotax as sx
from scipy.stats import norm

RNG = np.random.default_rng(0)
CENTRE = RNG.normal(size=(4000, 3))
PASSES = CENTRE + 0.5 * RNG.normal(size=(60, 4000, 3))
TRUTH = CENTRE + RNG.normal(size=(4000, 3))


def test_scores_are_their_definitions():
    noise = np.array([0.75, 0.5, 1.0])
    found = sx.predictive_uncertainty(PASSES, TRUTH, noise_variance=noise, levels=[0.5, 0.95])
    mean, total = PASSES.mean(axis=0), PASSES.var(axis=0, ddof=1) + noise
    np.testing.assert_allclose(found.mean, mean, atol=1e-12)
    np.testing.assert_allclose(found.total, total)
    np.testing.assert_allclose(found.epistemic, total - noise)
    nll = -norm.logpdf(TRUTH, mean, np.sqrt(total))
    np.testing.assert_allclose(found.unit_nll, nll.mean(axis=0))
    assert found.nll == pytest.approx(nll.mean())
    u = (TRUTH - mean) / np.sqrt(total)
    crps = np.sqrt(total) * (u * (2 * norm.cdf(u) - 1) + 2 * norm.pdf(u) - 1 / np.sqrt(np.pi))
    np.testing.assert_allclose(found.unit_crps, crps.mean(axis=0))
    for k, level in enumerate([0.5, 0.95]):
        z = norm.ppf((1 + level) / 2)
        np.testing.assert_allclose(found.unit_coverage[k], (np.abs(u) <= z).mean(axis=0))
        np.testing.assert_allclose(found.unit_width[k], (2 * z * np.sqrt(total)).mean(axis=0))
    levels = found.curve["level"]
    inside = [(np.abs(u) <= norm.ppf((1 + p) / 2)).mean() for p in levels]
    np.testing.assert_allclose(found.curve["coverage"], inside)
    assert found.calibration_error == pytest.approx(np.abs(inside - levels).mean())


def test_honest_variances_cover_and_half_of_them_do_not():
    honest = sx.predictive_uncertainty(PASSES, TRUTH, noise_variance=0.75).intervals
    np.testing.assert_allclose(honest["coverage"], honest["level"], atol=2 / np.sqrt(TRUTH.size))
    assert honest["level"].tolist() == [0.5, 0.8, 0.9, 0.95]
    halved = sx.predictive_uncertainty(PASSES, TRUTH, noise_variance=0.25).intervals
    assert halved["coverage"][3] == pytest.approx(0.834, abs=0.01)


def test_moments_do_as_well_as_passes():
    by_moments = sx.gaussian_uncertainty(
        PASSES.mean(axis=0), PASSES.var(axis=0, ddof=1), TRUTH, noise_variance=0.75
    )
    by_passes = sx.predictive_uncertainty(PASSES, TRUTH, noise_variance=0.75)
    assert by_moments.nll == pytest.approx(by_passes.nll)
    np.testing.assert_allclose(by_moments.unit_coverage, by_passes.unit_coverage)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sx.predictive_uncertainty(np.ones((5, 3, 2)), np.ones((3, 2))), "σ² = 0 has no likelihood"),
        (lambda: sx.predictive_uncertainty(np.ones((3, 2)), np.ones((3, 2))), "three axes"),
        (lambda: sx.predictive_uncertainty(np.ones((1, 3, 2)), np.ones((3, 2))), "2 stochastic"),
        (lambda: sx.predictive_uncertainty(PASSES, TRUTH[:, :2]), "4000 × 2"),
        (lambda: sx.predictive_uncertainty(PASSES, TRUTH, noise_variance=[1, 2]), "3 variances"),
        (lambda: sx.predictive_uncertainty(PASSES, TRUTH, levels=[95]), "between 0 and 1"),
        (lambda: sx.gaussian_uncertainty(TRUTH, -np.ones_like(TRUTH), TRUTH), "below 0"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
