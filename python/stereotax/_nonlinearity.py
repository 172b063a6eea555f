"""How nonlinear an encoder is, from its Jacobians."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import SEED, Array, as_matrix, as_number, whole
from ._base import Result


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Nonlinearity(Result):
    """How much the local linear map of an encoder changes over samples, per target."""

    #: How much the distance of the local map from the mean map varies (its population SD).
    jne: Array
    #: μ, that distance on average: 0 for linear encoders only.
    deviation: Array
    #: Mean size Σ_d |J| of the local map.
    gain: Array
    #: JNE / gain and μ / gain, which have no unit; NaN where the gain is 0.
    normalised_jne: Array
    normalised_deviation: Array
    #: (s − μ)², samples × targets: which samples drive it.
    jne_ss: Array
    n_undefined: int


class Jacobians:
    """Jacobians of an encoder, computed when they are needed.

    What `mlp_jacobians` and `kernel_ridge_jacobians` return. `jacobian_nonlinearity` takes them one at a
    time; ``numpy.asarray`` gives all, samples × features × targets.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> np.asarray(sx.mlp_jacobians([[1.0], [-1.0]], [[[2.0]]], output_activation="relu")).ravel()
    array([2., 0.])
    """

    def __init__(self, evaluate: Callable[[bool], Any], shape: tuple[int, int, int]) -> None:
        self._evaluate = evaluate
        #: (samples, features, targets)
        self.shape = shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return np.asarray(self._evaluate(True).T.reshape(self.shape), dtype=dtype)

    def __repr__(self) -> str:
        return f"Jacobians{self.shape}"


def jacobian_nonlinearity(jacobians: Any) -> Nonlinearity:
    """How nonlinear an encoder is where it is used (JNE, JNE-SS), per target.

    Formula: with J_i (features × targets) at sample i and J̄ their mean, ``s_im = Σ_d |J_i[d,m] − J̄[d,m]|``
    (summed over features), ``μ_m = mean_i s_im``, ``JNE_m = √mean_i (s_im − μ_m)²``,
    ``JNE-SS_im = (s_im − μ_m)²``, ``gain_m = mean_i Σ_d |J_i[d,m]|``.

    JNE alone only says how much the *size* of the deviation varies: it is 0 for |x|, and for a ReLU that is
    active half of the time. μ is not; read both.

    Parameters
    ----------
    jacobians : array (n_samples, n_features, n_targets), or `Jacobians`
        ``jacobians[i, d, m] = ∂f_m/∂x_d`` at test sample i. From `mlp_jacobians`, `kernel_ridge_jacobians`,
        `numerical_jacobians`, or automatic differentiation.

    Returns
    -------
    Nonlinearity
        JNE, μ and gain at least 0, in units of target per feature: z-score both before fitting to compare
        encoders, or read the ratios. The value of a region is the mean over its targets.

    An encoder that was fitted to noise is curved by it: compare with `linear_surrogate`.

    Errors: `ValueError` for fewer than 2 samples, NaN. Undefined: ratios of a target that does not depend on
    the features are NaN and counted.
    Cost: every Jacobian twice. Source: specs alignment-methods B4.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> x = np.array([-1.0, 1.0, 2.0])
    >>> found = sx.jacobian_nonlinearity(np.sign(x)[:, None, None])  # f = |x|
    >>> found.deviation.round(4), found.gain
    (array([0.8889]), array([1.]))
    """
    if isinstance(jacobians, Jacobians):
        return Nonlinearity(**jacobians._evaluate(False))
    array = np.asarray(jacobians, dtype=np.float64)
    if array.ndim != 3 or 0 in array.shape[1:]:
        raise ValueError(
            f"`jacobians` has the shape {array.shape}, but three axes expected\n"
            "hint: they are samples × features × targets; a single target is passed as J[:, :, None]"
        )
    flat = as_matrix(array.reshape(len(array), array.shape[1] * array.shape[2]), "jacobians")
    return Nonlinearity(**_core.nonlinearity_of_array(flat, array.shape[1]))


def mlp_jacobians(
    X: Any,
    weights: Sequence[Any],
    *,
    biases: Sequence[Any] | None = None,
    activation: str = "relu",
    output_activation: str = "identity",
    skips: Sequence[bool] | None = None,
) -> Jacobians:
    """Jacobians of a multilayer perceptron, in closed form.

    Formula: ``h_l = φ(h_{l−1} W_l + b_l)``, plus ``h_{l−1}`` where `skips`;
    ``J = Π_l (W_l diag(φ′) + [skip_l] I)``.

    Parameters
    ----------
    X : array (n_samples, n_features)
    weights : sequence of arrays (inputs, outputs)
        First layer to last. PyTorch keeps the transpose.
    biases : sequence of arrays or None, optional
        One per layer; None: none.
    activation, output_activation : str
        "identity", "relu", "tanh", "sigmoid", "softplus", "elu", "gelu" or "silu"; the latter for the last
        layer. A ReLU has slope 0 at 0.
    skips : sequence of bool, optional
        Layers whose input is added to their output (which must have the same width).

    Returns
    -------
    Jacobians
        For `jacobian_nonlinearity`, or ``numpy.asarray``.

    Errors: `ValueError` for layers that do not fit together, NaN.
    Cost per sample: O(min(features, targets) Σ inputs · outputs). Source: specs alignment-methods B4.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> layers = [rng.normal(size=(20, 30)), rng.normal(size=(30, 4))]
    >>> J = sx.mlp_jacobians(rng.normal(size=(100, 20)), layers)
    >>> J
    Jacobians(100, 20, 4)
    >>> bool((sx.jacobian_nonlinearity(J).deviation > 0).all())
    True
    """
    features = as_matrix(X, "X")
    matrices = [as_matrix(w, "weights", axes="inputs × outputs") for w in weights]
    n = len(matrices)
    told_biases = [None] * n if biases is None else list(biases)
    told_skips = [False] * n if skips is None else [bool(s) for s in skips]
    if len(told_biases) != n or len(told_skips) != n:
        raise ValueError(
            f"`biases` and `skips` have {len(told_biases)} and {len(told_skips)} entries, "
            f"but {n} expected (one per layer)\nhint: None stands for no bias"
        )
    layers = [
        (
            w,
            [] if bias is None else np.asarray(bias, dtype=float).ravel().tolist(),
            str(output_activation if layer == n - 1 else activation),
            skip,
        )
        for layer, (w, bias, skip) in enumerate(zip(matrices, told_biases, told_skips, strict=True))
    ]
    shape = (len(features), features.shape[1], matrices[-1].shape[1] if matrices else 0)
    return Jacobians(lambda all_of: _core.mlp_jacobians(features, layers, all_of), shape)


def kernel_ridge_jacobians(X: Any, train: Any, dual_coef: Any, *, length_scale: float) -> Jacobians:
    """Jacobians of a kernel ridge regression with the kernel exp(−‖x − x′‖²/(2ℓ²)), in closed form.

    Formula: ``J = Σ_i k(x, x_i) (x_i − x) a_iᵀ / ℓ²``.

    Parameters
    ----------
    X : array (n_samples, n_features)
        Where.
    train : array (n_train, n_features)
        What the regression was fitted on.
    dual_coef : array (n_train, n_targets) or (n_train,)
        scikit-learn's ``KernelRidge.dual_coef_``.
    length_scale : float
        ℓ, positive; ``1 / sqrt(2 * gamma)``.

    Returns: `Jacobians`. Errors: `ValueError` for shapes that do not match, NaN.
    Cost per sample: O(n_train · features · targets). Source: specs alignment-methods B4.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> J = sx.kernel_ridge_jacobians([[1.0]], [[0.0]], [1.0], length_scale=1.0)  # f = exp(−x²/2)
    >>> np.asarray(J).round(4).ravel()
    array([-0.6065])
    """
    coef = np.asarray(dual_coef, dtype=np.float64)
    points, fitted = as_matrix(X, "X"), as_matrix(train, "train")
    dual = as_matrix(coef[:, None] if coef.ndim == 1 else coef, "dual_coef")
    scale = as_number(length_scale, "length_scale")
    shape = (len(points), points.shape[1], dual.shape[1])
    return Jacobians(lambda all_of: _core.kernel_jacobians(points, fitted, dual, scale, all_of), shape)


def numerical_jacobians(function: Callable[[Array], Any], X: Any, *, step: float = 1e-3) -> Array:
    """Jacobians of any function of samples, by central differences.

    Formula: ``J[i, d] = (f(x_i + δ_d e_d) − f(x_i − δ_d e_d)) / (2 δ_d)`` with δ_d = `step` times the
    standard deviation of feature d (or times 1 where it does not vary).

    Parameters
    ----------
    function : callable
        Samples × features to samples × targets (or samples); each row must be predicted by itself.
    X : array (n_samples, n_features)
    step : float
        Positive. The error is O(step²) of the curvature's change, and rounding/step.

    Returns: array (n_samples, n_features, n_targets), for `jacobian_nonlinearity`.
    Errors: `ValueError` for a step that is not positive, or predictions of another number of rows.
    Cost: 2 · n_features calls. Source: specs alignment-methods B4.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> sx.numerical_jacobians(lambda x: x**2, [[1.0], [3.0]]).round(9).ravel()
    array([2., 6.])
    """
    points = as_matrix(X, "X")
    share = as_number(step, "step")
    if not share > 0:
        raise ValueError(f"`step` is {step!r}, but a positive number expected\nhint: 1e-3 is customary")
    sizes = points.std(axis=0)
    columns = []
    for d, size in enumerate(np.where(sizes > 0, sizes, 1.0)):
        sides = []
        for sign in (1, -1):
            moved = points.copy()
            moved[:, d] += sign * share * size
            said = np.asarray(function(moved), dtype=np.float64)
            said = said[:, None] if said.ndim == 1 else said
            if said.ndim != 2 or len(said) != len(points):
                raise ValueError(
                    f"`function` returns the shape {said.shape}, but {len(points)} rows expected\n"
                    "hint: it must predict one row per sample"
                )
            sides.append(said)
        columns.append((sides[0] - sides[1]) / (2 * share * size))
    return np.stack(columns, axis=1)


def linear_surrogate(X: Any, y: Any, explained: Any, *, seed: int = 0) -> Array:
    """Responses that are linear in the features and as predictable as the real ones.

    Fit the same encoder to them: what nonlinearity it shows then comes from noise and fitting alone, and is
    to be subtracted.

    Formula: a ridge regression of `y` on `X` (penalty by leave-one-out), scaled to hold the share `explained`
    of each target's variance, plus Gaussian noise for the rest.

    Parameters
    ----------
    X : array (n_samples, n_features)
    y : array (n_samples, n_targets)
    explained : float or array (n_targets,)
        Share of variance, 0 to 1: the held-out R² of the encoder on `y`.
    seed : int

    Returns: array (n_samples, n_targets) with the means and variances of `y`.
    Errors: `ValueError` for shares outside [0, 1], NaN, features that do not vary.
    Cost: that of one ridge. Source: specs alignment-methods B4.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 5))
    >>> y = X[:, :2] ** 2 + X[:, :2]
    >>> surrogate = sx.linear_surrogate(X, y, 0.5)
    >>> bool(abs(sx.RidgeCV().fit(X, surrogate).score(X, surrogate) - 0.5).max() < 0.1)
    True
    """
    responses = as_matrix(y, "y")
    shares = np.broadcast_to(np.asarray(explained, dtype=float), (responses.shape[1],)).tolist()
    return _core.linear_surrogate(as_matrix(X, "X"), responses, shares, whole(seed, "seed", SEED))
