"""Encode new voxels from few samples with what other voxels teach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, SEED, Array, as_matrix, as_number, whole
from ._base import Estimator
from ._table import Table


class InContextEncoder(Estimator):
    """Learn from training voxels what weights of voxels are like, and encode new ones from a small context.

    Formula: ``w_v ~ N(m, Σ)`` over features and a constant, ``y_v = X w_v + ε``, ``ε ~ N(0, σ²)``; m, Σ and
    σ² by EM. A new voxel with a context (X, y) has ``w = (XᵀX/σ² + Σ⁻¹)⁻¹ (Xᵀy/σ² + Σ⁻¹m)``.

    This is the best encoder of voxels that come from such a prior, and so what an in-context transformer
    (BraInCoRL) is to be compared with. Ridge regression is m = 0, Σ = τ²I.

    Parameters
    ----------
    max_iterations, tolerance : int, float
        Rounds of EM, and the relative change of σ² and tr Σ that ends it.

    Attributes
    ----------
    prior_mean_ : array, features + 1
        m; the constant is last.
    prior_covariance_ : array, (features + 1) × (features + 1)
    noise_variance_ : float
    n_iter_, converged_

    Errors
    ------
    ValueError
        For NaN, rows that do not match, fewer than 2 training voxels.

    Cost: per round O(E³ + E² V); a context O(c E² + E² V). Source: Yu et al. 2025; specs alignment-methods
    B13.4. Training voxels and new ones must not be the same: the prior has seen the former.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> W = 2 * rng.normal(size=(20, 1)) + rng.normal(size=(20, 2)) @ rng.normal(size=(2, 300))
    >>> X = rng.normal(size=(200, 20))
    >>> Y = X @ W + rng.normal(size=(200, 300))
    >>> encoder = sx.InContextEncoder().fit(X[:150], Y[:150, :250])
    >>> weights = encoder.encode(X[:10], Y[:10, 250:])  # ten samples for twenty features
    >>> predicted = encoder.predict(X[150:], weights)
    >>> bool(np.corrcoef(predicted[:, 0], Y[150:, 250])[0, 1] > 0.8)
    True
    """

    def __init__(self, *, max_iterations: int = 200, tolerance: float = 1e-5) -> None:
        self.max_iterations = max_iterations
        self.tolerance = tolerance

    def fit(self, X: Any, y: Any) -> InContextEncoder:
        """Learn the prior: `X` samples × features, `y` samples × training voxels."""
        rounds = whole(self.max_iterations, "max_iterations", COUNT, least=1)
        tolerance = as_number(self.tolerance, "tolerance")
        found = _core.weight_prior(as_matrix(X, "X"), as_matrix(y, "y"), rounds, tolerance)
        self._found = found
        self.prior_mean_: Array = found["mean"]
        self.prior_covariance_: Array = found["covariance"]
        self.noise_variance_: float = found["noise_variance"]
        self.n_iter_: int = found["n_iter"]
        self.converged_: bool = found["converged"]
        return self

    def encode(self, X: Any, y: Any) -> Array:
        """Weights ((features + 1) × voxels, the constant last) of new voxels.

        The context, `X` samples × features and `y` samples × voxels, may be empty.
        """
        self._fitted("prior_mean_")
        return _core.encode_in_context(self._found, as_matrix(X, "X"), as_matrix(y, "y"))

    def predict(self, X: Any, weights: Any) -> Array:
        """Responses (samples × voxels) of voxels with these weights."""
        self._fitted("prior_mean_")
        features, w = as_matrix(X, "X"), as_matrix(weights, "weights")
        if w.shape[0] != features.shape[1] + 1:
            raise ValueError(
                f"`weights` has {w.shape[0]} rows, but {features.shape[1] + 1} expected\n"
                "hint: pass what `encode` returned, features and a constant"
            )
        predicted: Array = features @ w[:-1] + w[-1]
        return predicted

    def decode(self, weights: Any, responses: Any, noise_variance: Any = None) -> Array:
        """Features (samples × features) that responses (samples × voxels) speak for.

        Formula: ``x̂ = μ + (WᵀN⁻¹W + C⁻¹)⁻¹ WᵀN⁻¹ (r − Wμ − b)`` with features ~ N(μ, C) of the samples in
        `fit` and N the noise of voxels: one variance, one per voxel, or `noise_variance_`. Judge by
        `top_k_retrieval` and its kin.
        """
        self._fitted("prior_mean_")
        w = as_matrix(weights, "weights")
        given = self.noise_variance_ if noise_variance is None else noise_variance
        noise = np.broadcast_to(np.asarray(given, dtype=float), (w.shape[1],)).tolist()
        return _core.decode_in_context(self._found, w, as_matrix(responses, "responses"), noise)

    def context_curve(
        self,
        X: Any,
        y: Any,
        X_test: Any,
        y_test: Any,
        *,
        sizes: Sequence[int] = (5, 10, 20, 50, 100),
        n_draws: int = 5,
        seed: int = 0,
    ) -> Table:
        """Held-out correlations of new voxels against the size of their context.

        Contexts of each size are drawn `n_draws` times from `X`, `y`. One row per size: `size`, `in_context`
        (this encoder), `ridge` (RidgeCV's leave-one-out penalties on the context alone), `prior_mean` (no
        context at all), each the mean over voxels and draws of correlations that exist.
        """
        self._fitted("prior_mean_")
        told = [whole(size, "sizes", COUNT, least=3) for size in sizes]
        found = _core.context_curve(
            self._found,
            (as_matrix(X, "X"), as_matrix(y, "y")),
            (as_matrix(X_test, "X_test"), as_matrix(y_test, "y_test")),
            told,
            whole(n_draws, "n_draws", COUNT, least=1),
            whole(seed, "seed", SEED),
        )

        def mean(values: Array) -> float:
            known = values[~np.isnan(values)]
            return float(known.mean()) if len(known) else float("nan")

        return Table(
            {
                "size": told,
                "in_context": [mean(row) for row in found["in_context"]],
                "ridge": [mean(row) for row in found["ridge"]],
                "prior_mean": [mean(found["prior_mean"])] * len(told),
            }
        )
