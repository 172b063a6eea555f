"""Depth dynamic mode decomposition: what of a representation persists through the layers."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, SEED, Array, as_layers, whole
from ._base import Estimator, Result
from ._choices import choices
from ._moments import DepthMoments


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Verdict(Result):
    """Whether the selected mode deserves to be called stable. True in a condition if it does."""

    stable: bool
    #: The gates it failed: dictionaries with `reason`, `found` and `threshold`.
    reasons: list[dict[str, Any]]

    def __bool__(self) -> bool:
        return self.stable

    def __str__(self) -> str:
        return "stable" if self.stable else "no_stable_mode"

    def __repr__(self) -> str:
        failed = [
            f"{gate['reason']} {gate['found']:.3g} (gate {gate['threshold']:.3g})" for gate in self.reasons
        ]
        return str(self) if self.stable else f"{self}: {', '.join(failed)}"


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class RankConsensus(Result):
    """What the selected mode is at every rank up to the cap."""

    ranks: list[int]
    eigenvalues: Array
    residuals: Array
    median: complex
    spread: float


_KEPT = """
    eigenvalues coefficients amplitudes energies residuals selected selected_eigenvalue weights divisors gram
    rank numerical_rank runner_up margin reconstruction_error depth_gain depth_rotation warnings
""".split()


class DepthDMD(Estimator):
    """Read the depth of a network as a dynamical system and pick out its stable mode.

    Formula: with the layers as snapshots h_0 … h_{L−1}, each all samples × units in one long vector,
    ``h_{l+1} ≈ A h_l``; the modes φ_k and eigenvalues λ_k of A give ``h_l ≈ Σ_k b_k λ_k^l φ_k``. The stable
    representation is the selected mode written as a weighted sum of layers, ``S = Σ_l w_l H_l``.

    Parameters
    ----------
    estimator : str
        "standard", "total_least_squares", "forward_backward", "optimised", "bagged:100", "unitary",
        "symmetric", "hankel:DELAYS" or "segments:WINDOWS" (each window of depth with an operator of its
        own). The short names "tls", "fb", "opt" and "bop:100" are understood.
    rank : str or int
        "energy:0.99" (at most min(L − 2, 12)), "fixed:4" (or just 4), "hard_threshold" ("svht"), "full",
        "consensus".
    select : str
        "closest_to_one", "unit_circle", "slowest", "band:2", "decaying_slowest", "max_energy_in_band:2",
        "min_residual".
    modes : {"projected", "exact"}
        Combinations of layers 0…L−2, or of 1…L−1.
    amplitude : {"optimal", "first", "mode_only"}
        How much of each mode is in the trajectory.
    scale : {"frobenius", "none", "pair", "unit_sample"}
        How layers are made comparable: "frobenius" divides each by its RMS, "none" lets growth over depth
        into the eigenvalues, "pair" divides both members of a pair by the first, "unit_sample" gives every
        sample unit length. Mapped layers know "frobenius", "none" and "pair".
    centring : {"stimuli", "none"}
        Whether the mean over samples is taken out of every unit. Centring over depth is refused: it makes
        the eigenvalues roots of unity for any data.
    reduction : {"auto", "gram", "tsqr"}
        "gram" works on the products of layers, in which directions below 1e-7 of the largest are lost;
        "tsqr" reads the arrays once more and keeps them by QR; "auto" does so where the fit leans on
        directions below 1e-6. Of moments, what they hold counts (`DepthMoments(triangles=True)`).
    layer_map : {"identity", "procrustes", "pca", "kernel", "random_projection"}
        How layers come to share one state. "identity" needs equal widths; "procrustes" reduces every layer
        to principal components and rotates each onto the one before it; "pca" fixes signs only; "kernel"
        takes the linear kernel of a layer over samples; "random_projection" one random map for all.
    max_width : int
        Largest width of that common state.
    tikhonov : float
        η: 1/σ becomes σ/(σ² + η·mean σ²).
    min_energy : float
        Least energy share of a mode that may be selected.
    max_gain : float
        Bound of the gain over the whole depth in optimised DMD.
    seed : int
        Seed of bags.
    max_depth_change, max_rotation, max_residual, min_stable_energy, min_weight_correlation : float
        Gates of `verdict_`: nepers and radians over the whole depth, ‖Aφ − λφ‖/‖φ‖, energy share, and
        correlation between folds.

    Attributes
    ----------
    eigenvalues_ : complex array (n_modes,)
        By descending modulus; the factor by which a mode changes from one layer to the next.
    coefficients_ : complex array (L, n_modes)
        Unit modes as weights of the (centred, scaled) layers.
    amplitudes_ : complex array (n_modes,)
        b_k.
    energies_, residuals_ : float arrays (n_modes,)
        Share of the trajectory each mode alone would make (shares do not add up to 1), and
        ‖Aφ − λφ‖/‖φ‖ (NaN for estimators without an operator).
    selected_ : list of int
        The stable mode; a conjugate pair counts as one.
    selected_eigenvalue_ : complex
        Of a pair, the member with positive imaginary part.
    weights_ : float array (L,)
        Weights of the (centred, scaled) layers in the stable representation.
    divisors_ : float array (L,)
        What each layer was divided by.
    verdict_ : Verdict
        True if the mode passes every gate; otherwise `verdict_.reasons` says which it failed.
    depth_gain_, depth_rotation_ : float
        |λ|^(L−1), and the angle turned over the depth in radians.
    rank_, numerical_rank_ : int
    reconstruction_error_ : float
        ‖H − Σ b λ^l φ‖/‖H‖.
    runner_up_, margin_ : int and float, or None
        Second choice under the same rule, and how much worse it is.
    consensus_ : RankConsensus or None
        The selected eigenvalue at every rank, under `rank="consensus"`.
    gram_ : float array (L, L)
    warnings_ : list of str
        What a reader must know.

    Errors: `ValueError` for fewer than 4 layers, layers of unequal width under "identity", a constant
    layer, NaN or infinity (with their place), settings outside their range.

    Cost: one pass over the data, n·K·L²/2 multiply-adds, then O(L³).

    Source: Schmid 2010; Tu et al. 2014; specs nfas-dmd 4 to 7. Differs from PyDMD: rows are samples, the
    result is a weight per layer, and the selection is part of the fit.

    Examples
    --------
    >>> import numpy as np, stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> stays, fades = rng.normal(size=(2, 200, 30))
    >>> layers = [stays + 0.6 ** l * fades for l in range(10)]
    >>> depth = sx.DepthDMD(scale="none").fit(layers)
    >>> depth.eigenvalues_.real.round(6)
    array([1. , 0.6])
    >>> depth.verdict_
    stable
    >>> stable = depth.transform(layers)
    >>> bool(np.corrcoef(stable.ravel(), (stays - stays.mean(0)).ravel())[0, 1] > 0.999)
    True
    """

    #: What a layer map was fitted to, and with which settings: layers, rows, an estimator. None for a
    #: shared state.
    _map: tuple[list[Array], list[int], DepthDMD] | None
    layer_names_: list[str]
    layer_means_: Array
    eigenvalues_: Array
    coefficients_: Array
    amplitudes_: Array
    energies_: Array
    residuals_: Array
    selected_: list[int]
    selected_eigenvalue_: complex
    weights_: Array
    divisors_: Array
    gram_: Array
    rank_: int
    numerical_rank_: int
    runner_up_: int | None
    margin_: float | None
    reconstruction_error_: float
    depth_gain_: float
    depth_rotation_: float
    verdict_: Verdict
    consensus_: RankConsensus | None
    warnings_: list[str]

    def __init__(
        self,
        estimator: str = "standard",
        rank: str | int = "energy:0.99",
        select: str = "closest_to_one",
        modes: str = "projected",
        amplitude: str = "optimal",
        scale: str = "frobenius",
        centring: str = "stimuli",
        reduction: str = "auto",
        layer_map: str = "identity",
        max_width: int = 256,
        tikhonov: float = 0.0,
        min_energy: float = 0.01,
        max_gain: float = 1e3,
        seed: int = 0,
        max_depth_change: float = math.log(2.0),
        max_rotation: float = math.pi / 4,
        max_residual: float = 0.5,
        min_stable_energy: float = 0.1,
        min_weight_correlation: float = 0.95,
    ) -> None:
        self.estimator = estimator
        self.rank = rank
        self.select = select
        self.modes = modes
        self.amplitude = amplitude
        self.scale = scale
        self.centring = centring
        self.reduction = reduction
        self.layer_map = layer_map
        self.max_width = max_width
        self.tikhonov = tikhonov
        self.min_energy = min_energy
        self.max_gain = max_gain
        self.seed = seed
        self.max_depth_change = max_depth_change
        self.max_rotation = max_rotation
        self.max_residual = max_residual
        self.min_stable_energy = min_stable_energy
        self.min_weight_correlation = min_weight_correlation

    def _params(self) -> _core.DmdParams:
        whole(self.max_width, "max_width", COUNT, 1)
        names = (
            "estimator", "select", "modes", "amplitude", "scale", "centring", "reduction", "layer_map",
            "max_width", "tikhonov",
        )  # fmt: skip
        words = {name: getattr(self, name) for name in names}
        return _core.DmdParams(
            choices({**words, "rank": rank_word(self.rank)}, "DepthDMD"),
            min_energy=self.min_energy,
            max_gain=self.max_gain,
            seed=whole(self.seed, "seed", SEED),
            max_depth_change=self.max_depth_change,
            max_rotation=self.max_rotation,
            max_residual=self.max_residual,
            min_stable_energy=self.min_stable_energy,
            min_weight_correlation=self.min_weight_correlation,
        )

    def fit(
        self,
        layers: DepthMoments | Iterable[Any] | Any,
        y: None = None,
        *,
        weights: Sequence[float] | None = None,
        train: Sequence[int] | None = None,
        layer_names: Sequence[str] | None = None,
    ) -> DepthDMD:
        """Fit to layers, or to moments that were accumulated earlier.

        Parameters
        ----------
        layers : iterable of arrays (n_samples, n_units), mapping of names to arrays, or DepthMoments
            Shallow to deep. Arrays are read in place and never written to.
        y : None
            Ignored; for pipelines.
        weights : sequence of float, one per block, optional
            For moments: how often each block counts (0 leaves it out).
        train : sequence of int, optional
            For arrays: the rows to fit on; all by default.
        layer_names : sequence of str, optional
            Names for messages.
        """
        params = self._params()
        if isinstance(layers, DepthMoments):
            if train is not None:
                raise ValueError("moments have no rows to train on\nhint: use `weights` to leave out blocks")
            if self.layer_map != "identity":
                raise ValueError(f"`layer_map` is {self.layer_map!r}, but moments hold one shared state only")
            self._fit_moments(layers, None if weights is None else [float(w) for w in weights], params)
            return self
        if weights is not None:
            raise ValueError(
                "`weights` belong to the blocks of moments\nhint: use `train` to choose rows of arrays"
            )
        arrays, names = as_layers(layers, layer_names)
        if self.layer_map == "identity":
            if train is not None:
                arrays = [array[_rows(train, arrays)] for array in arrays]
            unit_sample = self.scale == "unit_sample"
            sharp = self.reduction == "tsqr"
            moments = DepthMoments.from_layers(
                arrays, layer_names=names, unit_sample=unit_sample, triangles=sharp
            )
            blurred = self._fit_moments(moments, None, params)
            if blurred and self.reduction == "auto":
                moments = DepthMoments.from_layers(
                    arrays, layer_names=names, unit_sample=unit_sample, triangles=True
                )
                self._fit_moments(moments, None, params)
            return self
        if self.centring != "stimuli" or self.scale == "unit_sample":
            raise ValueError(
                f"`layer_map` is {self.layer_map!r}, which centres over stimuli and scales whole layers, but "
                f"`centring` is {self.centring!r} and `scale` {self.scale!r}\nhint: use layer_map='identity'"
            )
        n_samples = arrays[0].shape[0] if arrays else 0
        rows = list(range(n_samples)) if train is None else _rows(train, arrays).tolist()
        self._keep(_core.fit_mapped(arrays, names, rows, params), names)
        self._map = (arrays, rows, copy.copy(self))
        return self

    def _fit_moments(
        self, moments: DepthMoments, weights: list[float] | None, params: _core.DmdParams
    ) -> bool:
        fitted = _core.fit_moments(moments._core, weights, params)
        self._keep(fitted, moments.layer_names)
        means = moments.layer_means(weights)
        self.layer_means_ = means if self.centring == "stimuli" else np.zeros_like(means)
        self._map = None
        return bool(fitted["blurred"])

    def _keep(self, fitted: dict[str, Any], names: list[str]) -> None:
        self.layer_names_ = names
        for name in _KEPT:
            setattr(self, f"{name}_", fitted[name])
        self.verdict_ = Verdict(stable=fitted["stable"], reasons=fitted["reasons"])
        found = fitted["consensus"]
        self.consensus_ = found and RankConsensus(
            ranks=found["ranks"],
            eigenvalues=np.array(found["re"]) + 1j * np.array(found["im"]),
            residuals=np.array(found["residuals"]),
            median=complex(found["median_re"], found["median_im"]),
            spread=found["spread"],
        )

    def transform(self, layers: Iterable[Any] | Any) -> Array:
        """The stable representation ``S = Σ_l w_l (H_l − mean_l)/divisor_l`` (n_samples × K).

        `layers` may hold other samples than those that were fitted: means, divisors, weights and maps are
        those of the fit. After a fit with a layer map, the map is fitted again on the layers of `fit` (kept
        by reference, not copied), which costs as much as the fit did.
        """
        weights = self._fitted("weights_")
        arrays, names = as_layers(layers, None)
        if len(arrays) != len(weights):
            raise ValueError(
                f"`layers` has {len(arrays)} layers, but {len(weights)} expected (as in `fit`)\n"
                "hint: pass the layers of the same network, in the same order"
            )
        names = self.layer_names_
        if self._map is not None:
            fitted, rows, settings = self._map
            return _core.combine_mapped(fitted, arrays, names, rows, settings._params(), weights.tolist())
        if self.scale == "unit_sample":
            arrays = [_unit_rows(array) for array in arrays]
        coefficients = (weights / self.divisors_).tolist()
        return _core.combine_shared(arrays, names, coefficients, self.layer_means_)

    def fit_transform(self, layers: Iterable[Any] | Any, y: None = None) -> Array:
        """`fit(layers)`, then `transform(layers)`."""
        if not hasattr(layers, "keys"):
            layers = list(layers)
        return self.fit(layers).transform(layers)


def rank_word(rank: str | int) -> str:
    """The rank as the core reads it: a whole number is a fixed rank."""
    whole = isinstance(rank, int | np.integer) and not isinstance(rank, bool)
    return f"fixed:{rank}" if whole else str(rank)


def _rows(train: Sequence[int], arrays: list[Array]) -> Array:
    rows = np.unique(np.asarray(train, dtype=np.int64))
    n_samples = arrays[0].shape[0] if arrays else 0
    if rows.size != np.size(train) or (rows.size and not 0 <= rows[0] <= rows[-1] < n_samples):
        raise ValueError(
            f"`train` names rows beyond 0…{n_samples - 1} or one of them twice\n"
            "hint: pass row numbers, not a mask"
        )
    return rows


def _unit_rows(array: Array) -> Array:
    wide: Array = array.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    length[length == 0] = 1.0
    wide /= length
    return wide
