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


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class SampleSpectra(Result):
    """The selected mode of every sample's own trajectory, in the order of the rows of `fit`."""

    #: λ(t); of a pair, the member with positive imaginary part. NaN where a sample has no trajectory.
    eigenvalues: Array
    #: Energy share of the mode.
    energies: Array
    #: ‖Aφ − λφ‖/‖φ‖.
    residuals: Array
    #: Weights of the (centred, scaled) layers (n_samples, L); NaN under amplitude "modulus".
    weights: Array
    #: Rank; 0 where a sample has no trajectory.
    ranks: list[int]
    #: Share of the fitted samples whose own mode passes all gates.
    share_qualifying: float


#: What a fit of the stacked trajectory sets, and what one of other trajectories leaves None.
_STACKED_ONLY = """
    coefficients amplitudes divisors gram numerical_rank runner_up reconstruction_error layer_means consensus
""".split()
_OF_TRAJECTORIES = """
    eigenvalues energies residuals selected selected_eigenvalue weights rank margin depth_gain depth_rotation
    warnings
""".split()
_KEPT = """
    eigenvalues coefficients amplitudes energies residuals selected selected_eigenvalue weights divisors gram
    rank numerical_rank runner_up margin reconstruction_error depth_gain depth_rotation warnings
""".split()


class DepthDMD(Estimator):
    """Read the depth of a network as a dynamical system and pick out its stable mode.

    Formula: with the layers as snapshots h_0 … h_{L−1}, each all samples × units in one long vector,
    ``h_{l+1} ≈ A h_l``; the modes φ_k and eigenvalues λ_k of A give ``h_l ≈ Σ_k b_k λ_k^l φ_k``. The stable
    representation is the selected mode written as a weighted sum of layers, ``S = Σ_l w_l H_l``.

    That is the stacked trajectory. With `trajectory="sample"` every sample t has a trajectory and a spectrum
    of its own, ``s(t) = Re Σ_{k selected} b_k(t) φ_k(t)``; with "pooled" one operator on units is fitted to
    the pairs of layers of all samples, and ``s(t) = Π · mean_l h_l(t)``, Π the projector on its selected
    modes. Layers are centred and scaled by the rows of the fit in all three.

    Parameters
    ----------
    estimator : str, optional
        "standard", "total_least_squares", "forward_backward", "optimised", "bagged:100", "unitary",
        "symmetric", "hankel:DELAYS" or "segments:WINDOWS" (each window of depth with an operator of its
        own). The short names "tls", "fb", "opt" and "bop:100" are understood. By default "standard", and
        "total_least_squares" for the pooled trajectory, which may also have "reduced_rank:1e-6". The
        trajectories of samples have "standard" only.
    rank : str or int
        "energy:0.99" (at most min(L − 2, 12)), "fixed:4" (or just 4), "hard_threshold" ("svht"), "full",
        "consensus".
    select : str
        "closest_to_one", "unit_circle", "slowest", "band:2", "decaying_slowest", "max_energy_in_band:2",
        "min_residual".
    modes : {"projected", "exact"}
        Combinations of layers 0…L−2, or of 1…L−1.
    amplitude : {"optimal", "first", "mode_only", "modulus"}
        How much of each mode is in the trajectory. "modulus" is for samples: the entrywise modulus of the
        unit mode. The pooled projector is applied to the mean of the layers ("optimal") or to the first.
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
    trajectory : {"stacked", "sample", "pooled"}
        What one trajectory over depth is: all samples as one state, each by itself, or all with one
        operator. The latter two read arrays and no moments, have ranks by energy, "fixed" or "full", and no
        scale "pair", exact modes, Tikhonov term or layer map "kernel".

    Attributes
    ----------
    eigenvalues_ : complex array (n_modes,)
        By descending modulus; the factor by which a mode changes from one layer to the next. Of samples
        one: the median over the fitted samples of real and imaginary part.
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
        Weights of the (centred, scaled) layers in the stable representation; of samples their mean. NaN for
        the pooled trajectory, which weights no layers.
    samples_ : SampleSpectra or None
        Every sample's own selected mode, for trajectories of samples.
    divisors_ : float array (L,)
        What each layer was divided by.
    verdict_ : Verdict
        True if the mode passes every gate; otherwise `verdict_.reasons` says which it failed. Of samples
        the medians are held against the gates.
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

    `coefficients_`, `amplitudes_`, `divisors_`, `gram_`, `numerical_rank_`, `runner_up_`, `consensus_`,
    `layer_means_` and `reconstruction_error_` are of the stacked trajectory and None for others.

    Errors: `ValueError` for fewer than 4 layers, layers of unequal width under "identity", a constant
    layer, NaN or infinity (with their place), settings outside their range.

    Cost: one pass over the data, n·K·L²/2 multiply-adds, then O(L³). Of samples O(n·(K·L² + L³)); pooled
    O(n·L·k² + k³) with k = min(K, `max_width`).

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
    >>> samples = sx.DepthDMD(trajectory="sample", rank=2, scale="none").fit(layers).samples_
    >>> samples.eigenvalues.shape, samples.weights.shape, bool(abs(samples.eigenvalues - 1).max() < 1e-6)
    ((200,), (200, 10), True)
    """

    #: What a layer map or trajectories of samples were fitted to, and with which settings: layers, rows, an
    #: estimator. None for a shared, stacked state.
    _map: tuple[list[Array], list[int], DepthDMD] | None
    layer_names_: list[str]
    layer_means_: Array | None
    eigenvalues_: Array
    coefficients_: Array | None
    amplitudes_: Array | None
    energies_: Array
    residuals_: Array
    selected_: list[int]
    selected_eigenvalue_: complex
    weights_: Array
    samples_: SampleSpectra | None
    divisors_: Array | None
    gram_: Array | None
    rank_: int
    numerical_rank_: int | None
    runner_up_: int | None
    margin_: float | None
    reconstruction_error_: float | None
    depth_gain_: float
    depth_rotation_: float
    verdict_: Verdict
    consensus_: RankConsensus | None
    warnings_: list[str]

    def __init__(
        self,
        estimator: str | None = None,
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
        trajectory: str = "stacked",
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
        self.trajectory = trajectory

    def _params(self) -> _core.DmdParams:
        whole(self.max_width, "max_width", COUNT, 1)
        names = (
            "trajectory", "estimator", "select", "modes", "amplitude", "scale", "centring", "reduction",
            "layer_map", "max_width", "tikhonov",
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
            if self.trajectory != "stacked":
                raise ValueError(
                    f"`trajectory` is {self.trajectory!r}, but moments hold no single samples\n"
                    "hint: pass the layers as arrays"
                )
            self._fit_moments(layers, None if weights is None else [float(w) for w in weights], params)
            return self
        if weights is not None:
            raise ValueError(
                "`weights` belong to the blocks of moments\nhint: use `train` to choose rows of arrays"
            )
        arrays, names = as_layers(layers, layer_names)
        if self.trajectory != "stacked":
            self._fit_trajectories(arrays, names, train, params)
            return self
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
        self._refuse_mapped_scales()
        rows = _all_rows(train, arrays)
        self._keep(_core.fit_mapped(arrays, names, rows, params), names)
        self._map = (arrays, rows, copy.copy(self))
        return self

    def _refuse_mapped_scales(self) -> None:
        if self.centring != "stimuli" or self.scale == "unit_sample":
            raise ValueError(
                f"`layer_map` is {self.layer_map!r}, which centres over stimuli and scales whole layers, but "
                f"`centring` is {self.centring!r} and `scale` {self.scale!r}\nhint: use layer_map='identity'"
            )

    def _fit_trajectories(
        self, arrays: list[Array], names: list[str], train: Sequence[int] | None, params: _core.DmdParams
    ) -> None:
        if self.layer_map != "identity":
            self._refuse_mapped_scales()
        rows = _all_rows(train, arrays)
        fitted = _core.fit_trajectories(arrays, names, rows, params)
        self.layer_names_ = names
        for name in _STACKED_ONLY:
            setattr(self, f"{name}_", None)
        for name in _OF_TRAJECTORIES:
            setattr(self, f"{name}_", fitted[name])
        self.verdict_ = Verdict(stable=fitted["stable"], reasons=fitted["reasons"])
        of_samples = fitted["samples"]
        self.samples_ = of_samples and SampleSpectra(
            **of_samples, share_qualifying=fitted["share_qualifying"]
        )
        self._map = (arrays, rows, copy.copy(self))

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
        self.samples_ = None
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
        those of the fit. After a fit with a layer map, or of trajectories of samples, that is fitted again on
        the layers of `fit` (kept by reference, not copied), which costs as much as the fit did.
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
            if settings.trajectory != "stacked":
                return _core.follow_trajectories(fitted, arrays, names, rows, settings._params())
            return _core.combine_mapped(fitted, arrays, names, rows, settings._params(), weights.tolist())
        if self.scale == "unit_sample":
            arrays = [_unit_rows(array) for array in arrays]
        coefficients = (weights / self._fitted("divisors_")).tolist()
        return _core.combine_shared(arrays, names, coefficients, self._fitted("layer_means_"))

    def fit_transform(self, layers: Iterable[Any] | Any, y: None = None) -> Array:
        """`fit(layers)`, then `transform(layers)`."""
        if not hasattr(layers, "keys"):
            layers = list(layers)
        return self.fit(layers).transform(layers)


def rank_word(rank: str | int) -> str:
    """The rank as the core reads it: a whole number is a fixed rank."""
    whole = isinstance(rank, int | np.integer) and not isinstance(rank, bool)
    return f"fixed:{rank}" if whole else str(rank)


def _all_rows(train: Sequence[int] | None, arrays: list[Array]) -> list[int]:
    n_samples = arrays[0].shape[0] if arrays else 0
    return list(range(n_samples)) if train is None else [int(row) for row in _rows(train, arrays)]


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
