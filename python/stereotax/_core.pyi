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
        layer_names: list[str],
        width: int,
        block_names: list[str],
        unit_sample: bool,
        precision: str,
        triangles: bool,
    ) -> Moments: ...
    @staticmethod
    def accumulate(
        layers: list[_Array],
        layer_names: list[str],
        blocks: list[int],
        block_names: list[str],
        unit_sample: bool,
        triangles: bool,
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
    def triangles(self) -> bool: ...
    @property
    def epsilon(self) -> float: ...

@final
class CpTensor:
    def __new__(cls, shape: list[int], values: _Array, observed: _Array | None, cyclic: bool) -> CpTensor: ...
    @property
    def most_components(self) -> int: ...

def fit_cp(
    tensor: CpTensor,
    rank: int,
    start: int,
    settings: dict[str, Any],
    init: list[_Array] | None,
    fixed_modes: list[int],
) -> dict[str, Any]: ...
def cp_sweep(
    tensor: CpTensor,
    tasks: list[tuple[int, int]],
    settings: dict[str, Any],
    receive: Callable[[int, int, dict[str, Any]], None],
) -> None: ...
def cp_cross_validate(
    tensor: CpTensor,
    ranks: list[int],
    n_splits: int,
    share: float,
    block: int,
    n_starts: int,
    settings: dict[str, Any],
) -> list[list[float]]: ...
def cp_rank_measures(tensor: CpTensor, fits: list[dict[str, Any]]) -> dict[str, Any]: ...
def cp_choose_rank(
    ranks: list[int],
    dimensions: list[float],
    similarities: list[float],
    least_similarity: float,
    held_out: list[list[float]] | None,
) -> dict[str, Any]: ...
def match_components(
    a: list[_Array], b: list[_Array], cyclic: tuple[int, int, int] | None
) -> dict[str, Any]: ...
def neuron_matrix(
    tensor: CpTensor, fit: dict[str, Any], later: tuple[_Array, _Array, _Array] | None
) -> dict[str, Any]: ...
def principal_scores(points: _Array, share: float) -> dict[str, Any]: ...
def keep_points(points: _Array, tolerance: float, n_far: int) -> dict[str, Any]: ...

@final
class Responses:
    def __new__(
        cls, values: _Array, units: list[str], stimuli: list[str], directions: list[float], bin_s: float
    ) -> Responses: ...
    @property
    def valid(self) -> _Array: ...
    @property
    def lengths(self) -> list[int]: ...
    @property
    def period(self) -> float: ...
    @property
    def silent_units(self) -> list[int]: ...
    @property
    def silent_stimuli(self) -> list[int]: ...
    def find(self, names: list[str]) -> list[int]: ...
    def smooth(self, sigma: float, ignore_padding: bool) -> _Array: ...
    def preferred_set(self, first: list[int], second: list[int]) -> list[int]: ...
    def normalise(self, how: str) -> dict[str, Any]: ...
    def tuning(self) -> dict[str, Any]: ...

@final
class SpikeTrains:
    def __new__(
        cls, shape: tuple[int, int, int], n_trials: list[int], n_spikes: list[int], times: _Array
    ) -> SpikeTrains: ...
    def rates(
        self,
        window: tuple[float, float, float],
        bandwidth: float | None,
        least: float,
        most: float,
        reflect: bool,
    ) -> dict[str, Any]: ...
    def significance(
        self, baseline: tuple[float, float], stimulus: tuple[float, float], alpha: float
    ) -> dict[str, Any]: ...

def psth(
    times: _Array,
    n_trials: int,
    window: tuple[float, float, float],
    bandwidth: float | None,
    least: float,
    most: float,
    reflect: bool,
) -> dict[str, Any]: ...
def draw_clip(
    size: tuple[int, int],
    n_frames: int,
    period: float | None,
    diameter: float,
    per_group: int,
    spacing: float,
    n_groups: int,
    bright: bool,
    direction: float,
    speed: float,
    contrast: float,
    seed: int,
    instance: int,
) -> _Array: ...
def weighted_draw(weights: list[float], count: int, seed: int, purpose: str) -> list[int]: ...

@final
class DmdParams:
    def __new__(
        cls,
        choices: str,
        *,
        min_energy: float,
        max_gain: float,
        seed: int,
        max_depth_change: float,
        max_rotation: float,
        max_residual: float,
        min_stable_energy: float,
        min_weight_correlation: float,
    ) -> DmdParams: ...

def fit_moments(moments: Moments, weights: list[float] | None, params: DmdParams) -> dict[str, Any]: ...
def fit_mapped(
    layers: list[_Array], layer_names: list[str], train: list[int], params: DmdParams
) -> dict[str, Any]: ...
def fit_trajectories(
    layers: list[_Array], layer_names: list[str], train: list[int], params: DmdParams
) -> dict[str, Any]: ...
def follow_trajectories(
    fitted_layers: list[_Array],
    layers: list[_Array],
    layer_names: list[str],
    train: list[int],
    params: DmdParams,
) -> _Array: ...
def combine_shared(
    layers: list[_Array], layer_names: list[str], coefficients: list[float], means: _Array
) -> _Array: ...
def combine_mapped(
    fitted_layers: list[_Array],
    layers: list[_Array],
    layer_names: list[str],
    train: list[int],
    params: DmdParams,
    weights: list[float],
) -> _Array: ...
def ridge_cv(
    x: _Array,
    y: _Array,
    folds: list[tuple[list[int], list[int]]],
    alphas: list[float],
    absolute: bool,
    per_target: bool,
    by_correlation: bool,
    fit_intercept: bool,
    selection: str,
    keep: bool,
) -> dict[str, Any]: ...
def kernel_matrix(
    a: _Array, b: _Array | None, kind: str, gamma: float | None, degree: int, constant: float
) -> _Array: ...
def kernel_ridge_cv(
    kernel: _Array,
    y: _Array,
    folds: list[tuple[list[int], list[int]]],
    alphas: list[float],
    absolute: bool,
    per_target: bool,
    by_correlation: bool,
    fit_intercept: bool,
    selection: str,
    keep: bool,
) -> dict[str, Any]: ...
def component_regression(
    x: _Array, y: _Array, folds: list[tuple[list[int], list[int]]], most: int | None, fit_intercept: bool
) -> dict[str, Any]: ...
def match_units(
    x: _Array, y: _Array, folds: list[tuple[list[int], list[int]]], kind: str
) -> dict[str, Any]: ...
def simplex_draws(
    n_bands: int, n_draws: int, concentrations: list[float], seed: int
) -> list[list[float]]: ...
def banded_ridge_cv(
    kernels: list[_Array],
    y: _Array,
    folds: list[tuple[list[int], list[int]]],
    draws: list[list[float]],
    alphas: list[float],
    absolute: bool,
    fit_intercept: bool,
    selection: str,
    refine: int,
) -> dict[str, Any]: ...
def encoding_test(
    x: _Array,
    y: _Array,
    folds: list[tuple[list[int], list[int]]],
    alphas: list[float],
    absolute: bool,
    fit_intercept: bool,
    runs: list[str] | None,
    blocks: list[str] | None,
    min_shift: int,
    n_permutations: int,
    seed: int,
) -> dict[str, Any]: ...
def pls(x: _Array, y: _Array, n_components: int, scale: bool) -> dict[str, Any]: ...
def pls_folds(
    x: _Array, y: _Array, folds: list[tuple[list[int], list[int]]], n_components: int, scale: bool
) -> list[dict[str, Any]]: ...
def stratified_folds(labels: list[str], n_folds: int, seed: int) -> list[tuple[list[int], list[int]]]: ...
def grouped_folds(groups: list[str], n_folds: int, seed: int) -> list[tuple[list[int], list[int]]]: ...
def decode(
    x: _Array,
    labels: list[str],
    held_out: list[tuple[list[int], list[int]]],
    settings: tuple[str, float, int, float | None, bool, int, float],
    drawn: tuple[list[str] | None, int, int],
) -> dict[str, Any]: ...
def temporal_generalisation(
    x: _Array,
    n_times: int,
    labels: list[str],
    held_out: list[tuple[list[int], list[int]]],
    settings: tuple[str, float, int, float | None, bool, int, float],
    drawn: tuple[list[str] | None, int, int],
) -> dict[str, Any]: ...
def window_accuracy(
    x: _Array,
    n_times: int,
    labels: list[str],
    repeats: list[list[tuple[list[int], list[int]]]],
    shrinking: bool,
    settings: tuple[str, float, int, float | None, bool, int, float],
) -> list[tuple[int, int, float, float, float, int]]: ...
def transfer_decoding(
    names: list[str],
    populations: list[_Array],
    labels: list[str],
    held_out: list[tuple[list[int], list[int]]],
    n_components: int | None,
    settings: tuple[str, float, int, float | None, bool, int, float],
) -> dict[str, Any]: ...
def pseudo_trials(
    units: list[str], labels: list[list[str]], n_repeats: int, seed: int
) -> list[list[int]]: ...
def principal_states(responses: Responses, n_components: int, over_time: bool) -> dict[str, Any]: ...
def physiology(
    populations: list[tuple[str, bool, list[Responses]]],
    factors: tuple[float, str, list[int], int | None, int, int],
    sizes: tuple[int, int, int],
    tubes: tuple[int, float, bool],
    held: tuple[str, int, int],
    settings: tuple[str, float, int, float | None, bool, int, float],
    measures: list[str],
    n_permutations: int,
    seed: int,
) -> dict[str, dict[str, Any]]: ...
@final
class Fitted:
    @staticmethod
    def fit(
        x: _Array, labels: list[str], settings: tuple[str, float, int, float | None, bool, int, float]
    ) -> Fitted: ...
    def results(self) -> dict[str, Any]: ...
    def tell(self, x: _Array) -> tuple[_Array, _Array]: ...

def random_projection(x: _Array, n_components: int, density: float | None, seed: int) -> _Array: ...
def projection_matrix(n_features: int, n_components: int, density: float | None, seed: int) -> _Array: ...
def johnson_lindenstrauss_size(n_samples: int, eps: float) -> int: ...
def cluster_test(
    values: _Array,
    null: _Array | None,
    adjacency: dict[str, Any],
    areas: list[float] | None,
    threshold: float | None,
    powers: tuple[float, float] | None,
    sides: str,
    n_draws: int,
    seed: int,
) -> dict[str, Any]: ...
def stack_held_out(observed: _Array, predictions: list[_Array]) -> _Array: ...
def feve(predicted: _Array, repeats: list[_Array], least: float) -> dict[str, Any]: ...
def extrapolated_ceiling(
    n_subjects: list[float], values: _Array, n_bootstraps: int, seed: int
) -> dict[str, Any]: ...
def noise_ceiling(
    repeats: list[_Array],
    runs: list[str] | None,
    method: str,
    blocks: list[str],
    n_splits: int,
    n_bootstraps: int,
    level: float,
    seed: int,
) -> dict[str, Any]: ...
def trial_ceiling(
    responses: _Array, stimuli: list[str], blocks: list[str], n_bootstraps: int, level: float, seed: int
) -> dict[str, Any]: ...
def half_corrected(
    predicted: tuple[_Array, _Array],
    observed: tuple[_Array, _Array],
    least: float,
    blocks: list[str],
    n_bootstraps: int,
    level: float,
    seed: int,
) -> dict[str, Any]: ...
def encoding_score(folds: list[_Array]) -> dict[str, Any]: ...
def above_null(scores: _Array, nulls: list[_Array], level: float) -> list[bool]: ...
def spatial_score(
    scores: _Array,
    hierarchy: list[float],
    rule: str,
    temperature: float,
    kept: list[bool],
    regions: list[str],
    of_mean_profile: bool,
    surrogates: _Array | None,
    n_permutations: int,
    seed: int,
) -> dict[str, Any]: ...
def temporal_score(
    scores: _Array,
    times: list[float],
    onset: float,
    rule: str,
    temperature: float,
    n_permutations: int,
    seed: int,
) -> dict[str, Any]: ...
def half_time(steps: list[float], scores: list[float], baseline: float, plateau: int) -> dict[str, Any]: ...
def variance_partition(observed: _Array, predictions: list[_Array], folds: list[int]) -> dict[str, Any]: ...
def product_measure(observed: _Array, parts: list[_Array], folds: list[int]) -> _Array: ...
def two_vs_two(
    predicted: _Array, observed: _Array, told: tuple[list[str], str, int, int]
) -> dict[str, Any]: ...
def retrieve(
    predicted: _Array,
    observed: _Array,
    told: tuple[list[str], str, int, int],
    backward: bool,
    ks: list[int],
    n_candidates: int | None,
) -> dict[str, Any]: ...
def distances(coordinates: _Array, kind: str) -> dict[str, Any]: ...
def permanova(distances: _Array, shuffled: dict[str, Any]) -> dict[str, Any]: ...
def pairwise_permanova(distances: _Array, shuffled: dict[str, Any]) -> list[dict[str, Any]]: ...
def permdisp(
    distances: _Array, shuffled: dict[str, Any], centre: str, negative_axes: str, bias_factor: str
) -> dict[str, Any]: ...
def silhouette(distances: _Array, shuffled: dict[str, Any]) -> dict[str, Any]: ...
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
        choices: str,
        *,
        has_nuisance: bool,
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
    repeats: list[list[_Array]],
    confounds: list[_Array],
    nuisance: list[tuple[str, _Array]],
    untrained: list[_Array] | None,
    samples: dict[str, Any],
    params: NfasParams,
) -> dict[str, Any]: ...

@final
class SpaceParams:
    def __new__(
        cls,
        choices: str,
        *,
        n_permutations: int,
        n_bootstraps: int,
        level: float,
        min_models: int,
        convergence_threshold: float,
        n_shuffles: int,
        seed: int,
    ) -> SpaceParams: ...

def compare_models(
    name: str,
    rois: list[str],
    networks: list[str | None],
    models: list[dict[str, Any]],
    params: SpaceParams,
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
def nonlinearity_of_array(jacobians: _Array, n_features: int) -> dict[str, Any]: ...
def mlp_jacobians(x: _Array, layers: list[tuple[_Array, list[float], str, bool]], all: bool) -> Any: ...
def kernel_jacobians(
    x: _Array, train: _Array, dual_weights: _Array, length_scale: float, all: bool
) -> Any: ...
def linear_surrogate(x: _Array, y: _Array, explained: list[float], seed: int) -> _Array: ...
def predictive_uncertainty(
    samples: list[_Array], truth: _Array, noise_variance: list[float], levels: list[float]
) -> dict[str, Any]: ...
def gaussian_uncertainty(
    mean: _Array, variance: _Array, truth: _Array, noise_variance: list[float], levels: list[float]
) -> dict[str, Any]: ...
def factorised_readout(
    x: _Array,
    shape: tuple[int, tuple[int, int] | None],
    y: _Array,
    folds: list[tuple[list[int], list[int]]],
    rank: int,
    alphas: list[float],
    smoothness: float,
    non_negative: bool,
    max_iterations: int,
    tolerance: float,
) -> dict[str, Any]: ...
def point_readout(
    x: _Array,
    shape: tuple[int, tuple[int, int] | None],
    y: _Array,
    folds: list[tuple[list[int], list[int]]],
    alphas: list[float],
) -> dict[str, Any]: ...
def attention_readout(
    x: _Array,
    shape: tuple[int, tuple[int, int] | None],
    y: _Array,
    regions: list[str],
    search: tuple[float, float, bool, int, int, float, int],
) -> dict[str, Any]: ...
def attention_predict(
    x: _Array, shape: tuple[int, tuple[int, int] | None], fitted: dict[str, Any]
) -> tuple[_Array, list[_Array]]: ...
def gated_readout(
    x: _Array,
    shape: tuple[int, tuple[int, int] | None],
    y: _Array,
    regions: list[str],
    n_masks: int,
    search: tuple[float, float, bool, int, int, float, int],
) -> dict[str, Any]: ...
def gated_predict(
    x: _Array, shape: tuple[int, tuple[int, int] | None], fitted: dict[str, Any]
) -> tuple[_Array, list[_Array]]: ...
def weight_prior(x: _Array, y: _Array, max_iterations: int, tolerance: float) -> dict[str, Any]: ...
def encode_in_context(fitted: dict[str, Any], x: _Array, y: _Array) -> _Array: ...
def decode_in_context(
    fitted: dict[str, Any], weights: _Array, responses: _Array, noise_variance: list[float]
) -> _Array: ...
def context_curve(
    fitted: dict[str, Any],
    pool: tuple[_Array, _Array],
    test: tuple[_Array, _Array],
    sizes: list[int],
    n_draws: int,
    seed: int,
) -> dict[str, Any]: ...
def localise_units(
    positive: list[_Array], negative: list[_Array], told: tuple[int, float, bool]
) -> dict[str, Any]: ...
def validate_units(
    positive: list[_Array], negative: list[_Array], told: tuple[int, float, bool], n_splits: int, seed: int
) -> dict[str, Any]: ...
def selection_overlap(first: list[bool], second: list[bool], eligible: list[bool]) -> dict[str, Any]: ...
def control_units(
    t: list[float],
    selected: list[bool],
    n_units: int,
    kind: str,
    percentiles: tuple[float, float],
    seed: int,
) -> _Array: ...
def transfer_matrix(
    modalities: list[tuple[str, _Array, _Array, list[str]]],
    alphas: list[float],
    delays: list[int],
    n_folds: int,
    n_inner: int,
    dimensions: list[int],
    n_permutations: int,
    block: int,
    seed: int,
) -> dict[str, Any]: ...
def assign_layers(hierarchy: list[float], n_layers: int, lowest_layer: int) -> list[int]: ...
def area_layers(
    folds: list[_Array], areas: list[str], hierarchy: list[float], n_flips: int, seed: int
) -> dict[str, Any]: ...
def reverse_correlation(images: _Array, responses: _Array) -> _Array: ...
def fit_receptive_fields(fields: _Array, grid: tuple[int, int], widest: float | None) -> dict[str, Any]: ...
def rotation_invariance(
    responses: _Array,
    gray: list[float],
    n_rotations: int,
    n_pairs: int,
    n_components: int,
    cost: float,
    seed: int,
) -> dict[str, Any]: ...
def object_information(
    responses: _Array, objects: list[str], clips: list[str], n_folds: int, n_shuffles: int, seed: int
) -> dict[str, Any]: ...
def order_agreement(
    measure: list[float], hierarchy: list[float], n_draws: int, seed: int
) -> dict[str, Any]: ...
def latent_factors(
    residuals: _Array, n_factors: int, max_iterations: int, tolerance: float
) -> dict[str, Any]: ...
def latent_given_observed(
    fitted: dict[str, Any], residuals: _Array, observed: list[bool], of_neurons: bool
) -> _Array: ...
def latent_log_likelihood(fitted: dict[str, Any], residuals: _Array) -> float: ...
def fit_zero_inflated_gamma(y: _Array, loc: float) -> list[tuple[float, float, float]]: ...
def zero_inflated_gamma(
    y: _Array, parameters: list[tuple[float, float, float]], loc: float
) -> tuple[_Array, list[float], list[float]]: ...
def to_clock(
    values: _Array,
    times_s: list[float],
    starts_s: list[float],
    tr_s: float,
    lobes: int | None,
    normalised: bool,
) -> dict[str, Any]: ...
def delayed(features: _Array, runs: list[str], delays: list[int]) -> _Array: ...
def roi_means(runs: list[str], atlas: str, resample: bool) -> dict[str, Any]: ...
def rdm_of(x: _Array, measure: dict[str, Any], noise: dict[str, Any] | None) -> _Array: ...
def cross_rdm(x: _Array, y: _Array, measure: dict[str, Any], noise: dict[str, Any] | None) -> _Array: ...
def rdm_movie(
    times: list[_Array],
    windows: list[tuple[int, int]],
    measure: dict[str, Any],
    noise: dict[str, Any] | None,
) -> _Array: ...
def time_windows(n_times: int, width: int, step: int) -> list[tuple[int, int]]: ...
def noise_precision(residuals: _Array, method: str, dof: float | None) -> dict[str, Any]: ...
def noise_deviations(x: _Array, conditions: list[int], runs: list[int] | None) -> tuple[_Array, int]: ...
def crossnobis(
    x: _Array,
    conditions: list[int],
    runs: list[int],
    noise: dict[str, Any] | None,
    pairing_word: str,
    per_channel: bool,
) -> dict[str, Any]: ...
def poisson_cross_validated(
    x: _Array, conditions: list[int], runs: list[int], measure: dict[str, Any]
) -> _Array: ...
def score_models(rdms: _Array, models: _Array, n_conditions: int, score_word: str) -> _Array: ...

@final
class Around:
    @staticmethod
    def spheres(
        shape: tuple[int, int, int],
        mask: list[bool],
        voxel_size: tuple[float, ...],
        radius: float,
        min_share: float,
    ) -> Around: ...
    @staticmethod
    def disks(
        coordinates: list[list[float]],
        faces: list[list[int]],
        mask: list[bool] | None,
        radius: float,
        min_share: float,
    ) -> Around: ...
    @staticmethod
    def lists(n_members: int, centres: list[int], members: list[list[int]]) -> Around: ...
    @property
    def centres(self) -> _Array: ...
    @property
    def shares(self) -> _Array: ...
    @property
    def n_members(self) -> int: ...
    def members(self, at: int) -> _Array: ...

def look_around(
    x: _Array,
    around: Around,
    measure: dict[str, Any],
    conditions: list[int],
    runs: list[int],
    pairing_word: str,
    residuals: _Array | None,
    noise: tuple[str, float | None],
    models: tuple[int, _Array] | None,
    score_word: str,
    progress: Callable[[str, int, int], None] | None,
) -> dict[str, Any]: ...
def compare_rdms(
    first: _Array,
    second: _Array,
    n_conditions: int,
    method: str,
    variances: list[float] | None,
    covariance: _Array | None,
) -> dict[str, Any]: ...
def transform_rdm(values: _Array, n_conditions: int, kind: str, a: float, b: float) -> dict[str, Any]: ...
def identify_regions(
    rows: _Array,
    n_conditions: int,
    n_subjects: int,
    transforms: list[tuple[str, float, float] | None],
    nearness: str,
) -> list[dict[str, Any]]: ...
def mantel_test(
    a: _Array,
    b: _Array,
    n_conditions: int,
    method: str,
    alternative: str,
    n_permutations: int,
    seed: int,
    ids: list[str] | None,
) -> dict[str, Any]: ...
def rsa_models(
    components: _Array,
    kinds: list[tuple[str, int]],
    subjects: _Array,
    n_conditions: int,
    condition_ids: list[str],
    subject_ids: list[str],
    method: str,
    resampled: str,
    n_bootstraps: int,
    n_permutations: int,
    level: float,
    n_condition_folds: int,
    n_subject_folds: int,
    n_deals: int,
    variances: list[float] | None,
    covariance: _Array | None,
    seed: int,
) -> dict[str, Any]: ...
def reweighted_rsa(
    features: _Array,
    subjects: _Array,
    method: str,
    alphas: list[float],
    non_negative: bool,
    n_folds: int,
    n_inner_folds: int,
    seed: int,
    ids: list[str] | None,
) -> dict[str, Any]: ...
def mixed_rsa(
    features: _Array,
    responses: list[_Array],
    method: str,
    distance: str,
    alphas: list[float],
    n_folds: int,
    n_inner_folds: int,
    seed: int,
    ids: list[str] | None,
) -> dict[str, Any]: ...
def dsa_operator(
    trials: list[_Array], inputs: list[_Array] | None, fit: dict[str, Any]
) -> dict[str, Any]: ...
def dsa_compare(a: _Array, b: _Array, how: dict[str, Any]) -> dict[str, Any]: ...
def dsa_pairs(operators: list[_Array], how: dict[str, Any]) -> dict[str, Any]: ...
def dsa_select(
    trials: list[_Array],
    n_delays: list[int],
    ranks: list[int],
    lag: int,
    ridge: float,
    n_folds: int,
    criterion: str,
    one_error: bool,
    seed: int,
) -> dict[str, Any]: ...
def dsa_inference(
    x: list[_Array],
    y: list[_Array],
    fit: dict[str, Any],
    fit_y: dict[str, Any],
    how: dict[str, Any],
    what: str,
    n_draws: int,
    level: float,
    paired: bool,
) -> dict[str, Any]: ...
def dsa_inputs(
    a: _Array,
    b: _Array,
    other_a: _Array,
    other_b: _Array,
    rotate_inputs: bool,
    n_powers: int | None,
    how: dict[str, Any],
) -> dict[str, Any]: ...
def pseudo_depth(
    areas: list[_Array],
    layers: list[_Array],
    halves: list[tuple[_Array, _Array]] | None,
    n_components: int | None,
    n_neurons: int | None,
    n_subsamples: int,
    n_images: int | None,
    n_bootstraps: int,
    n_permutations: int,
    level: float,
    alpha: float,
    seed: int,
) -> dict[str, Any]: ...
def embed(
    distances: _Array,
    resampled: list[_Array],
    further: _Array | None,
    stress: bool,
    n_axes: int,
    n_starts: int,
    max_iter: int,
    seed: int,
) -> dict[str, Any]: ...
def spin_test(
    x: list[float],
    y: list[float],
    spheres_given: list[_Array],
    pearson: bool,
    one_to_one: bool,
    n_rotations: int,
    seed: int,
) -> dict[str, Any]: ...
def surrogate_test(x: list[float], y: list[float], surrogates: _Array, pearson: bool) -> dict[str, Any]: ...
def spin_sources(spheres_given: list[_Array], one_to_one: bool, n_rotations: int, seed: int) -> _Array: ...
def moran_surrogates(
    x: list[float], weights: _Array, pairs: bool, n_surrogates: int, seed: int
) -> _Array: ...
def parcel_centres(sphere: _Array, labels: list[int]) -> dict[str, Any]: ...
def participation_ratio(x: _Array, repeat: _Array | None) -> dict[str, Any]: ...
def cv_pca(
    first: _Array,
    second: _Array,
    spontaneous: _Array | None,
    n_swaps: int,
    n_spontaneous: int,
    ranks: tuple[int, int],
    seed: int,
) -> dict[str, Any]: ...
def noise_matched(x: _Array, reliabilities: list[float], seed: int) -> tuple[_Array, _Array]: ...
def intrinsic_dimension(
    x: _Array,
    k: int,
    discard: float,
    n_halvings: int,
    seed: int,
    local: tuple[int, float] | None,
    calibration: tuple[list[int], int] | None,
) -> dict[str, Any]: ...

@final
class Diffusion:
    @staticmethod
    def of_points(
        x: _Array,
        n_neighbours: int,
        bandwidth: tuple[str, float],
        params: tuple[int, float, float | None, str, int],
    ) -> Diffusion: ...
    @staticmethod
    def of_kernel(
        kernel: tuple[_Array, _Array, _Array], params: tuple[int, float, float | None, str, int]
    ) -> Diffusion: ...
    def results(self) -> dict[str, Any]: ...
    def extend(self, new: _Array, kernel: bool) -> _Array: ...

@final
class Neighbourhoods:
    @staticmethod
    def fit(
        x: _Array,
        distances: bool,
        c: float | None,
        max_prune: float,
        n_sd: float,
        max_steps: int,
        hops: int,
    ) -> Neighbourhoods: ...
    def results(self) -> dict[str, Any]: ...
    def extend(self, new: _Array) -> _Array: ...

def homology_of_points(x: _Array, max_dimension: int, threshold: float | None) -> dict[str, Any]: ...
def homology_of_distances(
    n_points: int, distances: list[float], max_dimension: int, threshold: float | None
) -> dict[str, Any]: ...
def diagram_distance(a: _Array, b: _Array, order: float | None, euclidean: bool) -> float: ...
def betti_curve(diagram: _Array, scales: list[float]) -> _Array: ...
def persistence_entropy(diagram: _Array) -> float: ...
def spectral_entropy(
    x: _Array,
    labels: list[str] | None,
    sigma: tuple[bool, float],
    time: float,
    max_points: int,
    n_draws: int,
    seed: int,
) -> dict[str, Any]: ...
def tubularity(
    populations: list[tuple[_Array, tuple[int, int, int]]],
    n_components: int,
    smoothing: tuple[bool, float],
    switches: tuple[bool, bool, bool],
    quantile: float,
    refits: int,
    n_draws: int,
    seed: int,
) -> list[dict[str, Any]]: ...
def manifold_capacity(
    x: _Array,
    labels: list[str],
    finite: bool,
    margin: float,
    n_draws: int,
    n_removed: int | None,
    centred: bool,
    seed: int,
) -> dict[str, Any]: ...
def measures() -> list[dict[str, Any]]: ...
def similarity_measure(x: _Array, y: _Array, id: str) -> float: ...
def rbf_cka(x: _Array, y: _Array, fraction: float, debiased: bool) -> float: ...
def canonical_correlations(
    x: _Array,
    y: _Array,
    ridge: float,
    share: float,
    of_variance: bool,
    folds: list[tuple[list[int], list[int]]],
) -> dict[str, Any]: ...
def projection_weighted_cca(x: _Array, y: _Array) -> tuple[float, float]: ...
def shape_distance(
    x: _Array, y: _Array, alpha: float, folds: list[tuple[list[int], list[int]]]
) -> dict[str, Any]: ...
def neighbour_overlap(x: _Array, y: _Array, n_neighbours: int) -> dict[str, Any]: ...
def gulp_distance(x: _Array, y: _Array, lambda_: float) -> float: ...
def soft_match_units(x: _Array, y: _Array) -> tuple[float, float]: ...
def compare_pair(
    x: _Array,
    y: _Array,
    words: list[str],
    n_permutations: int,
    n_bootstraps: int,
    level: float,
    seed: int,
    blocks: list[str] | None,
) -> dict[str, Any]: ...
def compare_pairwise(arrays: list[_Array], id: str, rank: int | None) -> _Array: ...
def mean_shape(
    arrays: list[_Array], normalise: bool, max_iterations: int, tolerance: float
) -> dict[str, Any]: ...
def audit_bias(
    x: _Array,
    y: _Array,
    words: list[str],
    n_stimuli: list[int],
    n_units: list[int],
    n_draws: int,
    seed: int,
) -> list[dict[str, Any]]: ...
def stochastic_shape_distance(
    means: tuple[_Array, _Array],
    covariances: tuple[_Array, _Array],
    covariance_weight: float,
    n_starts: int,
    max_iterations: int,
    tolerance: float,
    seed: int,
) -> dict[str, Any]: ...
