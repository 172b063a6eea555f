"""Whether predictive uncertainty is honest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import Array, as_matrix, as_number
from ._base import Result
from ._table import Table

LEVELS = (0.5, 0.8, 0.9, 0.95)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class PredictiveUncertainty(Result):
    """How well intervals cover and densities fit, over all units and per unit."""

    #: Mean prediction, epistemic variance v and total variance v + σ² (samples × units).
    mean: Array
    epistemic: Array
    total: Array
    #: One row per level: level, coverage, width, over all units.
    intervals: Table
    #: Coverage and mean width of each unit (levels × units).
    unit_coverage: Array
    unit_width: Array
    #: Mean negative log-likelihood (nats) and CRPS (unit of the responses); lower is better.
    nll: float
    crps: float
    unit_nll: Array
    unit_crps: Array
    #: The calibration curve: level, coverage.
    curve: Table
    #: Mean |coverage − level| along the curve; 0 is calibrated.
    calibration_error: float
    unit_calibration_error: Array


def predictive_uncertainty(
    samples: Any, truth: Any, *, noise_variance: Any = 0.0, levels: Sequence[float] = LEVELS
) -> PredictiveUncertainty:
    """Judge stochastic predictions: passes with dropout, bootstrap refits, draws from a posterior.

    Formula: mean m and variance v (divisor T − 1) over passes, τ² = v + σ²; interval ``m ± zτ``;
    ``NLL = ½ ln(2πτ²) + (y − m)²/(2τ²)``; ``CRPS = τ[u(2Φ(u) − 1) + 2φ(u) − 1/√π]``, u = (y − m)/τ.

    Parameters
    ----------
    samples : array (n_passes, n_samples, n_units)
        At least 2 passes; 50 or more are customary.
    truth : array (n_samples, n_units)
        Held-out responses.
    noise_variance : float or array (n_units,)
        σ², the variance of residuals on validation samples (not on `truth`).
    levels : sequence of float
        Of the intervals, between 0 and 1.

    Returns
    -------
    PredictiveUncertainty
        Coverage in [0, 1], to compare with its level. Over all units it is marginal: look at units too.

    Errors: `ValueError` for fewer than 2 passes, shapes that differ, NaN, and where v + σ² = 0, which has no
    likelihood. Cost: O(n_passes · n_samples · n_units).
    Source: Gal & Ghahramani 2016; Gneiting & Raftery 2007; specs alignment-methods B19.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> centre = rng.normal(size=(500, 3))
    >>> passes = centre + 0.5 * rng.normal(size=(50, 500, 3))
    >>> found = sx.predictive_uncertainty(passes, centre + rng.normal(size=(500, 3)), noise_variance=0.75)
    >>> bool(found.calibration_error < 0.03)
    True
    """
    passes = [as_matrix(part, "samples", axes="samples × units") for part in _three_axes(samples)]
    observed = as_matrix(truth, "truth")
    told = [as_number(p, "levels") for p in levels]
    noise = _variances(noise_variance, observed.shape[1])
    return _result(_core.predictive_uncertainty(passes, observed, noise, told), told)


def gaussian_uncertainty(
    mean: Any, variance: Any, truth: Any, *, noise_variance: Any = 0.0, levels: Sequence[float] = LEVELS
) -> PredictiveUncertainty:
    """Judge predictions that come as means and epistemic variances, such as a ridge posterior's.

    Formula: as in `predictive_uncertainty`, with m and v as they are given.

    Parameters
    ----------
    mean, variance : array (n_samples, n_units)
        Predictions, and how uncertain the model is of them (v, at least 0, without residual noise).
    truth, noise_variance, levels
        As in `predictive_uncertainty`.

    Returns: `PredictiveUncertainty`. Errors: `ValueError` for shapes that differ, NaN, negative variances,
    and where v + σ² = 0. Cost: O(n_samples · n_units). Source: specs alignment-methods B19.

    Examples
    --------
    >>> import stereotax as sx
    >>> found = sx.gaussian_uncertainty([[2.0]], [[2.0]], [[3.0]], noise_variance=2.0)
    >>> round(found.crps, 4)
    0.6628
    """
    observed = as_matrix(truth, "truth")
    told = [as_number(p, "levels") for p in levels]
    noise = _variances(noise_variance, observed.shape[1])
    found = _core.gaussian_uncertainty(
        as_matrix(mean, "mean"), as_matrix(variance, "variance"), observed, noise, told
    )
    return _result(found, told)


def _three_axes(samples: Any) -> Array:
    array = np.asarray(samples)
    if array.ndim != 3:
        raise ValueError(
            f"`samples` has the shape {array.shape}, but three axes (passes × samples × units) expected\n"
            "hint: stack the predictions of all passes with numpy.stack"
        )
    return array


def _variances(given: Any, n_units: int) -> list[float]:
    array = np.asarray(given, dtype=float)
    return [float(array)] * n_units if array.ndim == 0 else [float(v) for v in array]


def _result(found: dict[str, Any], levels: list[float]) -> PredictiveUncertainty:
    overall = {name: [pair[0] for pair in found[name]] for name in ("coverage", "width")}
    units = {name: np.array([pair[1] for pair in found[name]]) for name in ("coverage", "width")}
    return PredictiveUncertainty(
        mean=found["mean"],
        epistemic=found["epistemic"],
        total=found["total"],
        intervals=Table({"level": levels, **overall}),
        unit_coverage=units["coverage"],
        unit_width=units["width"],
        nll=found["nll"][0],
        crps=found["crps"][0],
        unit_nll=found["nll"][1],
        unit_crps=found["crps"][1],
        curve=Table({"level": found["curve_levels"], "coverage": found["curve"]}),
        calibration_error=found["calibration_error"][0],
        unit_calibration_error=found["calibration_error"][1],
    )
