"""What stimuli leave unexplained: latent factors, and the distribution of deconvolved responses."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, Array, as_matrix, as_number, whole
from ._base import Estimator


class LatentFactors(Estimator):
    """Shared latent factors of residuals, to predict neurons from other neurons (factor analysis).

    Formula: ``r = μ + Λ z + ε``, ``z ~ N(0, I_k)``, ``ε ~ N(0, diag ψ)``, by EM; held-out neurons from
    observed ones: ``μ_H + Λ_H (I + Λ_Oᵀ Ψ_O⁻¹ Λ_O)⁻¹ Λ_Oᵀ Ψ_O⁻¹ (r_O − μ_O)``.

    Fit it on what a stimulus encoder leaves, y − ŷ. Λ is found up to a rotation: factors come out with
    orthogonal ``ΛᵀΨ⁻¹Λ``, strongest first.

    Parameters
    ----------
    n_factors : int
        k, fewer than neurons. Compare `score` on held-out samples to choose.
    max_iterations, tolerance : int, float
        Rounds of EM, and the gain of log-likelihood per sample and neuron that ends it.

    Attributes
    ----------
    mean_, noise_variance_ : array, neurons
    components_ : array, factors × neurons
        Λᵀ.
    loglike_ : float
        Per training sample, in nats.
    n_iter_, converged_

    Errors
    ------
    ValueError
        For NaN, neurons that do not vary, as many factors as neurons.

    Cost: O(n m²) once, O(m² k) per round. Source: Rubin & Thayer 1982; specs alignment-methods B14. Differs
    from scikit-learn: its `FactorAnalysis` by default stops earlier; it has no conditional means.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> residuals = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 20)) + 0.5 * rng.normal(size=(500, 20))
    >>> model = sx.LatentFactors(2).fit(residuals[:400])
    >>> seen = np.arange(20) < 10
    >>> said = model.predict(residuals[400:], seen)
    >>> bool(np.corrcoef(said[:, 15], residuals[400:, 15])[0, 1] > 0.7)
    True
    """

    def __init__(self, n_factors: int = 2, *, max_iterations: int = 1000, tolerance: float = 1e-9) -> None:
        self.n_factors = n_factors
        self.max_iterations = max_iterations
        self.tolerance = tolerance

    def fit(self, X: Any, y: Any = None) -> LatentFactors:
        """Fit on residuals (samples × neurons); `y` is for scikit-learn and has no meaning."""
        found = _core.latent_factors(
            as_matrix(X, "X"),
            whole(self.n_factors, "n_factors", COUNT, least=1),
            whole(self.max_iterations, "max_iterations", COUNT, least=1),
            as_number(self.tolerance, "tolerance"),
        )
        self._found = found
        self.mean_: Array = found["means"]
        self.components_: Array = found["loadings"].T
        self.noise_variance_: Array = found["noise_variance"]
        self.loglike_: float = found["log_likelihood"]
        self.n_iter_: int = found["n_iter"]
        self.converged_: bool = found["converged"]
        return self

    def transform(self, X: Any, observed: Any = None) -> Array:
        """Factors (samples × k) expected from the observed neurons (all by default)."""
        return self._given(X, observed, False)

    def predict(self, X: Any, observed: Any) -> Array:
        """All neurons (samples × neurons) expected from the `observed` ones, a flag per neuron.

        Neurons that are not observed are not looked at, and may be NaN.
        """
        return self._given(X, observed, True)

    def score(self, X: Any, y: Any = None) -> float:
        """Log-likelihood per sample of other residuals, in nats."""
        self._fitted("mean_")
        return _core.latent_log_likelihood(self._found, as_matrix(X, "X"))

    def _given(self, X: Any, observed: Any, of_neurons: bool) -> Array:
        n = len(self._fitted("mean_"))
        flags = [True] * n if observed is None else [bool(flag) for flag in observed]
        return _core.latent_given_observed(self._found, as_matrix(X, "X"), flags, of_neurons)


class ZeroInflatedGamma(Estimator):
    """The distribution of deconvolved fluorescence: silence, or a gamma variable, per neuron.

    Formula: ``p(y) = (1 − q)/loc`` below `loc`, ``q Gamma(y − loc; k, θ)`` above; mean
    ``(1 − q) loc/2 + q(kθ + loc)``. q is the share at or above `loc`; k and θ by maximum likelihood.

    Parameters
    ----------
    loc : float
        Where silence ends, positive, in units of the responses.

    Attributes
    ----------
    q_, shape_, scale_ : array, neurons
        q is held within [10⁻⁶, 1 − 10⁻⁶].
    mean_, variance_ : array, neurons
        Of the fitted distribution.

    Errors
    ------
    ValueError
        For negative responses, NaN, a neuron with fewer than 3 different responses at or above `loc`.

    A response of exactly `loc` is taken as a little above. Cost: O(n) per neuron. Source: Wei et al. 2020;
    specs alignment-methods B14.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> y = np.where(rng.random(5000) < 0.3, 0.005 + rng.gamma(2.0, 0.5, 5000), 0.005 * rng.random(5000))
    >>> fitted = sx.ZeroInflatedGamma().fit(y[:, None])
    >>> bool(abs(fitted.shape_[0] - 2) < 0.2), bool(abs(fitted.mean_[0] - y.mean()) < 1e-3)
    (True, True)
    """

    def __init__(self, loc: float = 0.005) -> None:
        self.loc = loc

    def fit(self, X: Any, y: Any = None) -> ZeroInflatedGamma:
        """Fit every column of responses (samples × neurons); `y` is for scikit-learn and has no meaning."""
        responses = as_matrix(X, "X")
        found = _core.fit_zero_inflated_gamma(responses, as_number(self.loc, "loc"))
        self.q_, self.shape_, self.scale_ = (np.array(values) for values in zip(*found, strict=True))
        _, mean, variance = _core.zero_inflated_gamma(responses[:0], found, as_number(self.loc, "loc"))
        self.mean_, self.variance_ = np.array(mean), np.array(variance)
        return self

    def log_density(self, X: Any) -> Array:
        """ln p of responses (samples × neurons), in nats; −∞ below 0, NaN of NaN."""
        q = self._fitted("q_")
        responses = as_matrix(X, "X")
        if responses.shape[1] != len(q):
            raise ValueError(
                f"`X` has {responses.shape[1]} neurons, but {len(q)} expected (as in fit)\n"
                "hint: pass the same neurons"
            )
        told = list(zip(q.tolist(), self.shape_.tolist(), self.scale_.tolist(), strict=True))
        return _core.zero_inflated_gamma(responses, told, as_number(self.loc, "loc"))[0]

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-density over samples and neurons, in nats."""
        return float(self.log_density(X).mean())
