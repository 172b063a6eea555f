"""Read responses out of feature maps: where in the image, and which features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, SEED, Array, as_matrix, as_names, as_number, whole
from ._base import Estimator
from ._folds import as_folds
from ._linear import LinearModel, r2_score

_Shape = tuple[int, tuple[int, int] | None]


class FactorisedReadout(LinearModel):
    """Predict each target by masks of where times weights of what.

    Formula: ``y = Σ_k Σ_c f_kc Σ_p m_kp φ_cp + b``, minimising
    ``‖y − ŷ‖² + Σ_k ‖f_k‖² (α ‖m_k‖² + λ m_kᵀ L m_k)``, L the Laplacian of the grid's neighbours; ridge
    steps for f and m in turn (m ≥ 0 by coordinate descent), from the leading singular pairs of the full
    ridge weights.

    Parameters
    ----------
    rank : int
        K masks per target.
    alphas : sequence of float
        α in multiples of the mean square of a feature column, positive; the best per target by
        cross-validation.
    smoothness : float
        λ in the same unit, at least 0; needs positions on a grid.
    non_negative : bool
        No negative masks.
    cv : int or iterable of (train, test)
        Contiguous folds, or the rows of each; not used for a single penalty.
    max_iterations, tolerance : int, float
        Rounds, and the share of variance that a round must gain.
    grid : (height, width), optional
        Where tokens stand, row by row.

    Attributes
    ----------
    masks_ : array, targets × K × height × width (or × tokens)
        Unit norm, positive sum, strongest first.
    features_ : array, targets × K × channels
    coef_ : array, (channels · positions) × targets
        The same as weights of flat features.
    intercept_, alpha_ : array, targets
    best_score_ : array, targets
        Cross-validated R² of the penalty; NaN with a single one.
    n_iter_, converged_ : array, targets

    A target that does not vary is predicted by its value; its score is NaN.

    Errors
    ------
    ValueError
        For NaN, rows that do not match, settings out of range, features that do not vary.

    Cost: one ridge of all features; per target and round O(n C P K + n (C² + P²) K² + (C³ + P³) K³).
    Source: Klindt et al. 2017; specs alignment-methods B13.2. Differs from the paper: closed-form steps and a
    squared penalty in place of λ Σ|m| Σ|f| by gradient descent.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 4, 6, 6))  # samples, channels, height, width
    >>> y = X[:, 1, 2:4, 3].sum(axis=1) - X[:, 2, 2:4, 3].sum(axis=1)
    >>> readout = sx.FactorisedReadout(alphas=[0.1]).fit(X, y)
    >>> mask = readout.masks_[0, 0]
    >>> bool(mask[2:4, 3].min() > 5 * np.delete(mask, [15, 21]).max())
    True
    """

    def __init__(
        self,
        rank: int = 1,
        *,
        alphas: Iterable[float] = (0.01, 0.1, 1.0),
        smoothness: float = 0.0,
        non_negative: bool = False,
        cv: Any = 3,
        max_iterations: int = 100,
        tolerance: float = 1e-6,
        grid: tuple[int, int] | None = None,
    ) -> None:
        self.rank = rank
        self.alphas = alphas
        self.smoothness = smoothness
        self.non_negative = non_negative
        self.cv = cv
        self.max_iterations = max_iterations
        self.tolerance = tolerance
        self.grid = grid

    def fit(self, X: Any, y: Any) -> FactorisedReadout:
        """Fit on feature maps (samples × channels × height × width) or tokens (samples × tokens × channels).

        `y` is samples × targets, or samples.
        """
        maps, shape = _maps(X, self.grid)
        self._one_target = np.ndim(y) == 1
        alphas = sorted(as_number(alpha, "alphas") for alpha in self.alphas)
        found = _core.factorised_readout(
            maps,
            shape,
            _targets(y),
            as_folds(self.cv, None, len(maps), least=2) if len(alphas) > 1 else [],
            whole(self.rank, "rank", COUNT, least=1),
            alphas,
            as_number(self.smoothness, "smoothness"),
            bool(self.non_negative),
            whole(self.max_iterations, "max_iterations", COUNT, least=1),
            as_number(self.tolerance, "tolerance"),
        )
        masks = np.array(found["masks"])
        self.masks_: Array = masks if shape[1] is None else masks.reshape(*masks.shape[:2], *shape[1])
        self.features_: Array = np.array(found["features"])
        self.coef_ = found["coef"]
        self.intercept_ = found["intercept"]
        self.alpha_: Array = found["alpha"]
        self.best_score_: Array = found["score"]
        self.n_iter_ = np.array(found["n_iter"])
        self.converged_ = np.array(found["converged"])
        return self

    def predict(self, X: Any) -> Array:
        """Predicted targets of other samples (samples × targets, or samples)."""
        self._fitted("coef_")
        return super().predict(_maps(X, self.grid)[0])


class PointReadout(LinearModel):
    """Predict each target from the features at one point of the map.

    Formula: ``y = Σ_c w_c φ_c(μ) + b``, φ_c(μ) by bilinear interpolation; ``‖y − ŷ‖² + α‖w‖²`` is minimised
    over μ with w solved for exactly.

    Positions are (x, y) with ``align_corners=True``: −1 is the centre of the first column (row), +1 that of
    the last; points stay inside. Bilinear interpolation sees one cell only, so μ is first sought under
    Gaussian windows whose σ shrinks from a quarter of the map to half a position, and from the best single
    positions.

    Parameters
    ----------
    alphas, cv, grid
        As in `FactorisedReadout`.

    Attributes
    ----------
    position_ : array, targets × 2
        (x, y) in [−1, 1]; NaN for a target that does not vary.
    features_ : array, targets × channels
    coef_, intercept_, alpha_, best_score_
        As in `FactorisedReadout`.

    Errors
    ------
    ValueError
        For positions without a grid, NaN, rows that do not match, features that do not vary.

    Cost: O(P (n C² + C³ + n C T)) for T targets, and per target a few hundred evaluations of O(n C²).
    Source: Lurz et al. 2021; specs alignment-methods B13.3. Differs from the paper: σ follows a schedule.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> X = np.random.default_rng(0).normal(size=(300, 4, 5, 9))
    >>> readout = sx.PointReadout(alphas=[0.1]).fit(X, X[:, 0, 1, 6] - X[:, 3, 1, 6])
    >>> (readout.position_.round(2) + 0.0).tolist()
    [[0.5, -0.5]]
    """

    def __init__(
        self,
        *,
        alphas: Iterable[float] = (0.01, 0.1, 1.0),
        cv: Any = 3,
        grid: tuple[int, int] | None = None,
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.grid = grid

    def fit(self, X: Any, y: Any) -> PointReadout:
        """Fit on feature maps (samples × channels × height × width), or tokens with `grid`."""
        maps, shape = _maps(X, self.grid)
        self._one_target = np.ndim(y) == 1
        alphas = sorted(as_number(alpha, "alphas") for alpha in self.alphas)
        folds = as_folds(self.cv, None, len(maps), least=2) if len(alphas) > 1 else []
        found = _core.point_readout(maps, shape, _targets(y), folds, alphas)
        self.position_: Array = np.array(found["position"])
        self.features_: Array = np.array(found["features"])
        self.coef_ = found["coef"]
        self.intercept_ = found["intercept"]
        self.alpha_: Array = found["alpha"]
        self.best_score_: Array = found["score"]
        return self

    def predict(self, X: Any) -> Array:
        """Predicted targets of other samples (samples × targets, or samples)."""
        self._fitted("coef_")
        return super().predict(_maps(X, self.grid)[0])


class _PooledReadout(Estimator):
    """What readouts with learned weights of positions share."""

    grid: tuple[int, int] | None
    _one_target: bool

    def _search(self, positions: bool) -> tuple[float, float, bool, int, int, float, int]:
        settings: dict[str, Any] = self.get_params()
        return (
            as_number(settings["head_alpha"], "head_alpha"),
            as_number(settings["penalty"], "penalty"),
            positions,
            whole(settings["n_starts"], "n_starts", COUNT, least=1),
            whole(settings["max_iterations"], "max_iterations", COUNT, least=1),
            as_number(settings["tolerance"], "tolerance"),
            whole(settings["seed"], "seed", SEED),
        )

    def _keep(self, found: dict[str, Any], y: Any) -> None:
        self._found = found
        self._one_target = np.ndim(y) == 1
        self.region_names_: list[str] = found["groups"]
        self.coef_: Array = found["heads"]
        self.intercept_: Array = found["intercept"]
        self.alpha_: Array = found["alpha"]
        self.loss_: Array = found["loss"]
        self.mean_pool_loss_: Array = found["mean_pool_loss"]
        self.n_iter_ = np.array(found["n_iter"])
        self.converged_ = np.array(found["converged"])

    def predict(self, X: Any) -> Array:
        """Predicted targets of other samples (samples × targets, or samples)."""
        predicted = self._say(X)[0]
        return predicted[:, 0] if self._one_target else predicted

    def score(self, X: Any, y: Any) -> Array:
        """R² of each target on other samples: 1 is perfect, 0 as good as their mean, no lower bound."""
        return r2_score(self.predict(X), y)

    def _say(self, X: Any) -> tuple[Array, list[Array]]:
        """Predictions and attention maps: each readout has its own."""
        raise NotImplementedError

    def _regions(self, regions: Any, y: Any) -> list[str]:
        n = 1 if np.ndim(y) == 1 else np.shape(y)[1]
        return ["all"] * n if regions is None else as_names(regions, "regions")


class AttentionReadout(_PooledReadout):
    """Predict targets from where a learned query finds what it asks for (one head of attention).

    Formula: ``a_ip = softmax_p(φ_ip · q/√C + e_p · u/√E)``, ``z_i = Σ_p a_ip φ_ip``, ``y = z_i W + b``; one
    query per region, a head per target. φ are features standardised per channel, e_p sines and cosines of
    position. Heads are solved for exactly at every step of L-BFGS on the query; at the end each has a
    penalty of its own, by leave-one-out.

    Parameters
    ----------
    head_alpha : float
        Penalty of heads while the query is learned, in multiples of the mean square of mean-pooled features.
    penalty : float
        Of the query, at least 0, beside the unexplained share of variance.
    positions : bool
        Whether queries see where a position is (on a grid).
    n_starts : int
        Starts: equal weights (mean pooling), then random ones. The best is kept.
    max_iterations, tolerance : int, float
        Of L-BFGS.
    seed : int
    grid : (height, width), optional
        Where tokens stand, row by row.

    Attributes
    ----------
    region_names_ : list of str
    queries_, position_queries_ : array, regions × channels, regions × 16 (or 0)
    coef_, intercept_, alpha_ : heads (channels × targets, for standardised features), constants, penalties
    loss_, mean_pool_loss_ : array, regions
        Unexplained share of training variance with penalties, and the same with equal weights.
    n_iter_, converged_ : array, regions

    Errors
    ------
    ValueError
        For NaN, rows that do not match, settings out of range, features that do not vary.

    Cost: per evaluation O(n P C + n C² + C³ + n C T). The loss has several minima; raise `n_starts` if they
    differ.
    Source: Adeli et al. 2025; specs alignment-methods B13.1. Differs from the paper: one head, closed-form
    heads, no feed-forward part.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> X = np.random.default_rng(0).normal(size=(300, 10, 4))  # samples, tokens, channels
    >>> a = np.exp(3 * X[:, :, 0]) / np.exp(3 * X[:, :, 0]).sum(axis=1, keepdims=True)
    >>> y = (a * X[:, :, 1]).sum(axis=1)  # channel 1, read where channel 0 is high
    >>> readout = sx.AttentionReadout().fit(X[:200], y[:200])
    >>> bool(readout.score(X[200:], y[200:]) > 0.9)
    True
    >>> readout.attention_maps(X)["all"].shape
    (300, 10)
    """

    def __init__(
        self,
        *,
        head_alpha: float = 0.1,
        penalty: float = 1e-4,
        positions: bool = True,
        n_starts: int = 3,
        max_iterations: int = 200,
        tolerance: float = 1e-6,
        seed: int = 0,
        grid: tuple[int, int] | None = None,
    ) -> None:
        self.head_alpha = head_alpha
        self.penalty = penalty
        self.positions = positions
        self.n_starts = n_starts
        self.max_iterations = max_iterations
        self.tolerance = tolerance
        self.seed = seed
        self.grid = grid

    def fit(self, X: Any, y: Any, regions: Sequence[Any] | None = None) -> AttentionReadout:
        """Fit on feature maps (samples × channels × height × width) or tokens (samples × tokens × channels).

        `y` is samples × targets (or samples); `regions` names the region of each target: those of one region
        share a query. Without it all do.
        """
        maps, shape = _maps(X, self.grid)
        found = _core.attention_readout(
            maps, shape, _targets(y), self._regions(regions, y), self._search(bool(self.positions))
        )
        self._keep(found, y)
        self.queries_: Array = found["queries"]
        self.position_queries_: Array = found["position_queries"]
        return self

    def attention_maps(self, X: Any) -> dict[str, Array]:
        """Weights of positions of each region: samples × height × width (or × tokens); they add up to 1."""
        shape = _maps(X, self.grid)[1]
        arrays = self._say(X)[1]
        names = self.region_names_
        if shape[1] is not None:
            arrays = [array.reshape(-1, *shape[1]) for array in arrays]
        return dict(zip(names, arrays, strict=True))

    def _say(self, X: Any) -> tuple[Array, list[Array]]:
        self._fitted("queries_")
        return _core.attention_predict(*_maps(X, self.grid), self._found)


class GatedMaskReadout(_PooledReadout):
    """Predict targets from K masks of where, mixed by gates that depend on what the image shows.

    Formula: ``a_ip = Σ_k γ_ik s_kp`` with masks ``s_k = softmax_p(θ_k)`` and gates
    ``γ_i = softmax_k(g_k · φ̄_i/√C + h_k)``, φ̄_i the mean over positions; ``z_i = Σ_p a_ip φ_ip``, ``y =
    z_i W + b``.

    This is the cheap stand-in for semantic spatial transformers, which move and reshape a receptive field
    by what an image shows: here the image chooses between K fields. It is not that model.

    Parameters
    ----------
    n_masks : int
        K; 1 is a single non-negative mask for all targets of a region.
    head_alpha, penalty, n_starts, max_iterations, tolerance, seed, grid
        As in `AttentionReadout`; all starts are random.

    Attributes
    ----------
    masks_ : dict
        Region name to array K × height × width (or × tokens); each mask adds up to 1.
    region_names_, coef_, intercept_, alpha_, loss_, mean_pool_loss_, n_iter_, converged_
        As in `AttentionReadout`.

    Errors: `ValueError` as in `AttentionReadout`, and for more masks than positions.
    Cost: per evaluation O(n P (C + K) + n C² + C³ + n C T). Source: specs alignment-methods B13.3.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> X = np.random.default_rng(0).normal(size=(400, 3, 4, 4))
    >>> X[::2, 2] += 2; X[1::2, 2] -= 2
    >>> y = np.where(np.arange(400) % 2, X[:, 0, 0, 0], X[:, 0, 3, 3])  # channel 2 says where to look
    >>> readout = sx.GatedMaskReadout(n_masks=2, penalty=1e-5).fit(X[:300], y[:300])
    >>> bool(readout.score(X[300:], y[300:]) > 0.8)
    True
    """

    def __init__(
        self,
        n_masks: int = 2,
        *,
        head_alpha: float = 0.1,
        penalty: float = 1e-4,
        n_starts: int = 3,
        max_iterations: int = 200,
        tolerance: float = 1e-6,
        seed: int = 0,
        grid: tuple[int, int] | None = None,
    ) -> None:
        self.n_masks = n_masks
        self.head_alpha = head_alpha
        self.penalty = penalty
        self.n_starts = n_starts
        self.max_iterations = max_iterations
        self.tolerance = tolerance
        self.seed = seed
        self.grid = grid

    def fit(self, X: Any, y: Any, regions: Sequence[Any] | None = None) -> GatedMaskReadout:
        """Fit on feature maps or tokens; arguments as in `AttentionReadout.fit`."""
        maps, shape = _maps(X, self.grid)
        n_masks = whole(self.n_masks, "n_masks", COUNT, least=1)
        found = _core.gated_readout(
            maps, shape, _targets(y), self._regions(regions, y), n_masks, self._search(False)
        )
        self._keep(found, y)
        masks = [m if shape[1] is None else m.reshape(-1, *shape[1]) for m in found["masks"]]
        self.masks_: dict[str, Array] = dict(zip(self.region_names_, masks, strict=True))
        return self

    def gates(self, X: Any) -> dict[str, Array]:
        """γ of each region: samples × K; they add up to 1."""
        gates = self._say(X)[1]
        return dict(zip(self.region_names_, gates, strict=True))

    def _say(self, X: Any) -> tuple[Array, list[Array]]:
        self._fitted("masks_")
        return _core.gated_predict(*_maps(X, self.grid), self._found)


def _maps(X: Any, grid: tuple[int, int] | None) -> tuple[Array, _Shape]:
    """Flat features, channel running slower, with the number of channels and the grid of positions."""
    array = np.asarray(X.detach() if hasattr(X, "detach") else X, dtype=np.float64)
    if array.ndim == 4:
        shape: _Shape = (array.shape[1], (array.shape[2], array.shape[3]))
    elif array.ndim == 3:
        told = None
        if grid is not None:
            told = (whole(grid[0], "grid", COUNT, least=1), whole(grid[1], "grid", COUNT, least=1))
        shape = (array.shape[2], told)
        array = array.transpose(0, 2, 1)
    else:
        raise ValueError(
            f"`X` has the shape {array.shape}, but feature maps (samples × channels × height × width) "
            "or tokens (samples × tokens × channels) expected\nhint: do not flatten them"
        )
    return as_matrix(array.reshape(len(array), -1 if len(array) else 0), "X"), shape


def _targets(y: Any) -> Array:
    return as_matrix(np.asarray(y)[:, None] if np.ndim(y) == 1 else y, "y")
