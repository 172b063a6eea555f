from collections.abc import Callable
from os import PathLike
from typing import Any, final

import numpy as np

_Array = np.ndarray[Any, np.dtype[Any]]

__version__: str

class StereotaxError(Exception): ...

@final
class Moments:
    @staticmethod
    def empty(
        layer_names: list[str], width: int, block_names: list[str], unit_sample: bool, precision: str
    ) -> Moments: ...
    @staticmethod
    def accumulate(
        layers: list[_Array],
        layer_names: list[str],
        blocks: list[int],
        block_names: list[str],
        unit_sample: bool,
    ) -> Moments: ...
    def with_tile(self, block: int, first_sample: int, layers: list[_Array]) -> Moments: ...
    def merge(self, other: Moments) -> Moments: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: bytes) -> Moments: ...
    def gram(self, weights: list[float] | None, centring: str, scale: str) -> _Array: ...
    def layer_means(self, weights: list[float] | None) -> _Array: ...
    @property
    def layer_names(self) -> list[str]: ...
    @property
    def width(self) -> int: ...
    @property
    def block_names(self) -> list[str]: ...
    @property
    def block_sizes(self) -> list[int]: ...
    @property
    def unit_sample(self) -> bool: ...
    @property
    def epsilon(self) -> float: ...

@final
class DmdParams:
    def __new__(
        cls,
        *,
        estimator: str,
        rank: str,
        modes: str,
        amplitude: str,
        select: str,
        tikhonov: float,
        min_energy: float,
        max_gain: float,
        seed: int,
        max_depth_change: float,
        max_rotation: float,
        max_residual: float,
        min_stable_energy: float,
        min_weight_correlation: float,
    ) -> DmdParams: ...

def fit_moments(
    moments: Moments, weights: list[float] | None, centring: str, scale: str, params: DmdParams
) -> dict[str, Any]: ...
def fit_mapped(
    layers: list[_Array],
    layer_names: list[str],
    train: list[int],
    layer_map: str,
    max_width: int,
    unit_rms: bool,
    scale: str,
    params: DmdParams,
) -> dict[str, Any]: ...
def combine_shared(
    layers: list[_Array], layer_names: list[str], coefficients: list[float], means: _Array
) -> _Array: ...
def combine_mapped(
    fitted_layers: list[_Array],
    layers: list[_Array],
    layer_names: list[str],
    train: list[int],
    layer_map: str,
    max_width: int,
    unit_rms: bool,
    weights: list[float],
) -> _Array: ...
def distances(coordinates: _Array, kind: str) -> dict[str, Any]: ...
def permanova(
    distances: _Array,
    groups: list[str],
    ids: list[str] | None,
    n_permutations: int,
    exact_up_to: int,
    families: list[str] | None,
    strata: list[str] | None,
    seed: int,
) -> dict[str, Any]: ...
def pairwise_permanova(
    distances: _Array,
    groups: list[str],
    ids: list[str] | None,
    n_permutations: int,
    exact_up_to: int,
    families: list[str] | None,
    strata: list[str] | None,
    seed: int,
) -> list[dict[str, Any]]: ...
def permdisp(
    distances: _Array,
    groups: list[str],
    ids: list[str] | None,
    centre: str,
    negative_axes: str,
    bias_factor: str,
    n_permutations: int,
    exact_up_to: int,
    families: list[str] | None,
    strata: list[str] | None,
    seed: int,
) -> dict[str, Any]: ...
def silhouette(
    distances: _Array,
    groups: list[str],
    ids: list[str] | None,
    n_permutations: int,
    exact_up_to: int,
    families: list[str] | None,
    strata: list[str] | None,
    seed: int,
) -> dict[str, Any]: ...
def snci(
    scores: _Array,
    families: list[str],
    kind: str,
    sign_policy: str,
    n_bootstraps: int,
    interval: str,
    level: float,
    included: list[bool] | None,
    seed: int,
) -> dict[str, Any]: ...
def profile_consistency(
    scores: _Array,
    families: list[str],
    n_bootstraps: int,
    interval: str,
    level: float,
    included: list[bool] | None,
    seed: int,
) -> dict[str, Any]: ...

@final
class NfasParams:
    def __new__(
        cls,
        *,
        estimator: str,
        rank: str,
        select: str,
        modes: str,
        amplitude: str,
        scale: str,
        centring: str,
        layer_map: str,
        max_width: int,
        align_all: bool,
        tikhonov: float,
        fit_on: str,
        max_depth_gain: float,
        max_depth_rotation_deg: float,
        max_residual: float,
        min_energy: float,
        min_fold_correlation: float,
        hrf: str,
        delays_s: tuple[float, float],
        derivatives: str,
        drift: str,
        alphas: list[float],
        alpha_per_roi: bool,
        equalize_dim: bool,
        max_dim: int,
        inner_folds: int,
        outer_folds: str,
        purge_s: float,
        score: str,
        n_bootstraps: int,
        n_shifts: int,
        n_shuffles: int,
        seed: int,
        max_memory: int,
    ) -> NfasParams: ...

def nfas(
    layers: list[_Array],
    layer_names: list[str],
    responses: list[_Array],
    ids: list[str],
    runs: list[str] | None,
    blocks: list[str],
    tr_s: float | None,
    params: NfasParams,
) -> dict[str, Any]: ...
def run_command(arguments: list[str]) -> int: ...
def study_check(path: PathLike[str]) -> list[tuple[str, str, str]]: ...
def study_plan(
    path: PathLike[str], out: PathLike[str], threads: int | None, max_memory: int | None
) -> dict[str, Any]: ...
def study_run(
    path: PathLike[str],
    out: PathLike[str],
    threads: int | None,
    max_memory: int | None,
    recheck: bool,
    progress: Callable[[str, int, int], object] | None,
) -> dict[str, Any]: ...
def study_results(out: PathLike[str]) -> tuple[dict[str, dict[str, list[Any]]], str]: ...
