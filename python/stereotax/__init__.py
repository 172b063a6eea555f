"""Put artificial neural networks into the coordinates of the brain.

Rows are stimuli (samples) everywhere; columns are units, voxels or ROIs. Layers are ordered from
shallow to deep. Time is in seconds.

- `DepthMoments`, `DepthDMD`: the depth of a network as a dynamical trajectory, and its stable mode.
- `NFAS`: how well representations of a network predict brain responses, with ceilings and controls.
- `ModelSpace`: many models as points in the coordinates of the brain, and tests between their groups.
- `RidgeCV`, `KernelRidgeCV`, `BandedRidgeCV`, `PLSRegression`, `LinearRegression`, `PCARegressionCV`:
  encoding models of many targets; `prediction_score`: how well they predict.
- `StackedRidgeCV`: all layers of a network, weighed for each target.
- `match_units`, `reverse_regression`: units of a model paired with units of a brain, and predicted from them.
- `SparseRandomProjection`, `GaussianRandomProjection`, `johnson_lindenstrauss_size`: fewer features, the
  same distances.
- `encoding_score`, `spatial_score`, `temporal_score`, `half_time`, `above_null`: where, when and how early in
  training layers predict best.
- `encoding_test`: p-values of encoding scores by refits to permuted responses, and over all targets.
- `variance_partition`, `product_measure`: what sets of features explain alone and together.
- `noise_ceiling`, `trial_ceiling`, `half_corrected`, `feve`, `extrapolated_ceiling`: how well any model
  could do, and scores corrected for noise.
- `two_vs_two`, `rank_accuracy`, `top_k_retrieval`: whether predictions find their own stimulus;
  `training_means`: what to take from both sides first.
- `RDM`: dissimilarities of all pairs of conditions, as RDM measures return and comparisons take them; `rdm`,
  `crossnobis`, `cross_rdm`, `rdm_movie`, `cross_temporal_rdms`: how unlike patterns are, without the bias of
  noise, over time and across times; `noise_precision`: the noise of channels.
- `searchlight`: RDMs, models or any function around every voxel or vertex.
- `distances`, `permanova`, `pairwise_permanova`, `permdisp`, `silhouette`: tests between groups of models.
- `compare`: how alike two representations are, by many measures with chance levels and intervals;
  `pairwise`: all pairs of many; `measures`: what there is and what each promises; `bias_audit`: what sizes
  alone explain.
- `cka`, `cca`, `svcca`, `pwcca`, `procrustes`, `shape_distance`, `bures`, `gulp`, `knn_overlap`,
  `soft_matching`, `stochastic_shape_distance`: single measures with their options; `frechet_mean`: the mean
  of many shapes.
- `cluster_test`: where on a volume or a surface there is an effect, corrected for all vertices.
- `dsa`, `pairwise_dsa`, `input_dsa`, `DelayDMD`: how alike two systems move, whatever their coordinates.
- `pseudo_depth`: where areas stand along the layers of a network.
- `embed`: models, layers, subjects and regions as points of one drawing, with how sure their places are.
- `spin_test`, `spin_sources`, `moran_surrogates`: correlations of cortical maps against maps that are as
  smooth.
- `snci`, `profile_consistency`: how consistently the models of a modality score.
- `jacobian_nonlinearity`, `mlp_jacobians`, `kernel_ridge_jacobians`, `numerical_jacobians`,
  `linear_surrogate`: how nonlinear an encoder is.
- `predictive_uncertainty`, `gaussian_uncertainty`: whether predictions are as sure as they say.
- `FactorisedReadout`, `PointReadout`, `AttentionReadout`, `GatedMaskReadout`: where in a feature map a
  target looks, and at which features.
- `InContextEncoder`: new voxels from few samples, with what other voxels teach.
- `UnitLocaliser`, `selection_overlap`: units that respond more to one kind of stimulus.
- `transfer_matrix`: encoders trained on one modality and tested on another.
- `assign_layers`, `area_layers`: whether areas are best read from layers of their own depth.
- `receptive_fields`, `rotation_invariance`, `object_information`, `order_agreement`: what populations of
  areas say, and in which order.
- `participation_ratio`, `cv_pca`, `intrinsic_dimension`, `noise_matched`: how many dimensions a
  representation has, with noise and sample size taken care of.
- `DiffusionMap`, `IAN`: representations as graphs of neighbours, and maps of them.
- `persistent_homology`, `diagram_distance`, `betti_curve`, `persistence_entropy`: clusters and loops of a
  representation at all scales, and how far apart two of these descriptions are.
- `spectral_entropy`: how spread out a representation is, and what labels say of that.
- `manifold_capacity`: how many classes a linear readout can tell apart, and why.
- `tubularity`: how thin bundles of neural trajectories are, and how much their curves cross.
- `decode`, `Classifier`: which classes can be told from responses; `temporal_generalisation`,
  `window_accuracy`: when, and whether the code stays; `transfer_decoding`: across subjects and areas;
  `pseudo_trials`: from units recorded one after another; `principal_states`: paths of a population.
- `physiology`: modules of a network beside areas of a brain: all of this in one call, as tables.
- `LatentFactors`, `ZeroInflatedGamma`: what stimuli leave unexplained, and how responses are distributed.
- `roi_means`: series of regions from NIfTI files and a label volume.
- `fsaverage`: a cortex to paint maps on, with the labels of your atlas.
- `Study`: a whole study file, planned, computed and kept; the same as the command `stereotax`;
  `write_study`: its folder, from recorded networks and an array of responses.
- `ResponseTensor`: responses of units to stimuli in directions over time, from spikes or activations; `psth`,
  `significant_stimuli`, `tuning`; `stimulus_set`, `gratings`, `moving_dots`: what to show.
- `NonNegativeCP`, `ShiftInvariantCP`, `cp_sweep`, `match_components`: few components of such a tensor, and
  how many;
  `neuron_matrix`: units as points by their components.
- `sample_units`: some units of a model's feature maps.
- `tap`: the blocks of a torch model, recorded into the file of activations that a study reads.
- `align`: arrays brought to the same stimuli by id, every dropped row counted and named.
- `read_features`: what THINGSvision, Net2Brain and Brain-Score have written; `bids_runs`, `read_confounds`,
  `read_glmsingle`: fMRI; `read_nwb`, `read_spikes`: neurons; `read_epochs`, `read_bids_eeg`: EEG and MEG.
- `read_onsets`, `to_clock`, `delayed`: words, frames and clips on the clock of the scanner.
- `adaptive_pooling`, `multi_scale`, `group_by_parcel`, `quantise`, `softmax_projection`, `region_gradient`,
  `knock_out`, `compare_generated`, `topography`, `asymmetry_index`, `abx_sensitivity`: components of trained
  brain models, docs/components.md.
- `extract`: the blocks of a network in an ONNX file, recorded likewise; `info`: what a file is and which
  line of a study uses it; `convert`: arrays from one format to another.
- `Table`: what results come as.

Where to begin: one network and one brain are ``nfas = sx.NFAS().fit(layers, responses)``, with
`nfas.verdict_` (is there a stable mode?), `nfas.controls_` (does it claim more than simpler
representations?) and `nfas.warnings_`. Several networks are
``sx.ModelSpace().fit({"name": nfas, ...}, modality=[...])``. Whole studies on disk are `Study`.

Wrong input raises `ValueError` with what was expected, what was found and a hint. What cannot be computed
from good input is NaN, with the reason in the column `status`. Long work stops within a second of Ctrl-C.
Settings that are words are those of the study file, docs/reference/study-file.md.
"""

from ._align import align
from ._areas import (
    area_layers,
    assign_layers,
    object_information,
    order_agreement,
    receptive_fields,
    rotation_invariance,
)
from ._banded import BandedRidgeCV
from ._bids import bids_runs, read_confounds
from ._capacity import manifold_capacity
from ._ceiling import half_corrected, noise_ceiling, trial_ceiling
from ._cluster import cluster_test
from ._compare import bias_audit, compare, frechet_mean, measures, pairwise
from ._components import LinearRegression, PCARegressionCV
from ._core import StereotaxError, __version__
from ._cp import NonNegativeCP, ShiftInvariantCP, cp_sweep, match_components
from ._decoding import (
    Classifier,
    decode,
    principal_states,
    pseudo_trials,
    temporal_generalisation,
    transfer_decoding,
    window_accuracy,
)
from ._depth import DepthDMD
from ._diffusion import IAN, DiffusionMap
from ._dimension import cv_pca, intrinsic_dimension, noise_matched, participation_ratio
from ._dynamical import DelayDMD, dsa, input_dsa, pairwise_dsa
from ._embedding import embed
from ._entropy import spectral_entropy
from ._explained import extrapolated_ceiling, feve
from ._features import read_features
from ._files import convert, extract, info
from ._homology import betti_curve, diagram_distance, persistence_entropy, persistent_homology
from ._in_context import InContextEncoder
from ._kernel import KernelRidgeCV
from ._latent import LatentFactors, ZeroInflatedGamma
from ._localise import UnitLocaliser, selection_overlap
from ._matching import match_units
from ._moments import DepthMoments
from ._movie import RDMMovie, cross_temporal_rdms, rdm_movie
from ._neurons import neuron_matrix
from ._nfas import NFAS
from ._noise import NoisePrecision, noise_precision
from ._nonlinearity import (
    Jacobians,
    jacobian_nonlinearity,
    kernel_ridge_jacobians,
    linear_surrogate,
    mlp_jacobians,
    numerical_jacobians,
)
from ._onsets import delayed, read_onsets, to_clock
from ._partition import product_measure, variance_partition
from ._physiology import physiology
from ._placement import pseudo_depth
from ._pls import PLSRegression
from ._profile import above_null, encoding_score, half_time, spatial_score, temporal_score
from ._projection import GaussianRandomProjection, SparseRandomProjection, johnson_lindenstrauss_size
from ._rdm import RDM, cross_rdm, crossnobis, rdm
from ._rdm_compare import compare_rdms, identify_regions, mantel, transform_rdm
from ._readout import AttentionReadout, FactorisedReadout, GatedMaskReadout, PointReadout
from ._refit import encoding_test
from ._responses import ResponseTensor, psth, significant_stimuli, tuning
from ._retrieval import rank_accuracy, top_k_retrieval, two_vs_two
from ._reverse import reverse_regression
from ._ridge import RidgeCV
from ._rsa import RDMModel, mixed_rsa, rsa, weighted_rsa
from ._score import prediction_score, training_means
from ._searchlight import Searchlight, searchlight
from ._similarity import (
    bures,
    cca,
    cka,
    gulp,
    knn_overlap,
    procrustes,
    pwcca,
    shape_distance,
    soft_matching,
    stochastic_shape_distance,
    svcca,
)
from ._space import ModelSpace
from ._spin import moran_surrogates, spin_sources, spin_test
from ._stacking import StackedRidgeCV
from ._stats import (
    distances,
    pairwise_permanova,
    permanova,
    permdisp,
    profile_consistency,
    silhouette,
    snci,
)
from ._stimuli import gratings, moving_dots, stimulus_set
from ._study import Study
from ._surfaces import fsaverage
from ._systems import (
    abx_sensitivity,
    adaptive_pooling,
    asymmetry_index,
    compare_generated,
    group_by_parcel,
    knock_out,
    multi_scale,
    quantise,
    region_gradient,
    softmax_projection,
    topography,
)
from ._table import Table
from ._tap import tap
from ._transfer import transfer_matrix
from ._trials import read_bids_eeg, read_epochs, read_glmsingle, read_nwb, read_spikes
from ._tubularity import tubularity
from ._uncertainty import gaussian_uncertainty, predictive_uncertainty
from ._units import sample_units
from ._volumes import roi_means
from ._write_study import write_study

__all__ = [
    "Classifier",
    "NonNegativeCP",
    "ResponseTensor",
    "ShiftInvariantCP",
    "cp_sweep",
    "decode",
    "gratings",
    "match_components",
    "moving_dots",
    "neuron_matrix",
    "physiology",
    "principal_states",
    "pseudo_trials",
    "psth",
    "sample_units",
    "significant_stimuli",
    "stimulus_set",
    "temporal_generalisation",
    "transfer_decoding",
    "tuning",
    "AttentionReadout",
    "BandedRidgeCV",
    "DelayDMD",
    "DepthDMD",
    "DepthMoments",
    "DiffusionMap",
    "FactorisedReadout",
    "GatedMaskReadout",
    "GaussianRandomProjection",
    "IAN",
    "InContextEncoder",
    "Jacobians",
    "KernelRidgeCV",
    "LinearRegression",
    "LatentFactors",
    "ModelSpace",
    "PCARegressionCV",
    "NFAS",
    "NoisePrecision",
    "PLSRegression",
    "PointReadout",
    "RDM",
    "RDMMovie",
    "RDMModel",
    "RidgeCV",
    "Searchlight",
    "SparseRandomProjection",
    "StereotaxError",
    "align",
    "bids_runs",
    "read_bids_eeg",
    "read_confounds",
    "read_epochs",
    "read_features",
    "read_glmsingle",
    "read_nwb",
    "read_onsets",
    "read_spikes",
    "abx_sensitivity",
    "adaptive_pooling",
    "asymmetry_index",
    "compare_generated",
    "group_by_parcel",
    "knock_out",
    "multi_scale",
    "quantise",
    "region_gradient",
    "softmax_projection",
    "topography",
    "delayed",
    "tap",
    "to_clock",
    "write_study",
    "StackedRidgeCV",
    "Study",
    "Table",
    "UnitLocaliser",
    "ZeroInflatedGamma",
    "__version__",
    "above_null",
    "cluster_test",
    "cv_pca",
    "area_layers",
    "assign_layers",
    "cross_rdm",
    "cross_temporal_rdms",
    "crossnobis",
    "compare_rdms",
    "diagram_distance",
    "distances",
    "dsa",
    "embed",
    "encoding_score",
    "input_dsa",
    "moran_surrogates",
    "pairwise_dsa",
    "pseudo_depth",
    "spin_sources",
    "spin_test",
    "gaussian_uncertainty",
    "encoding_test",
    "extrapolated_ceiling",
    "feve",
    "half_corrected",
    "half_time",
    "identify_regions",
    "intrinsic_dimension",
    "jacobian_nonlinearity",
    "johnson_lindenstrauss_size",
    "kernel_ridge_jacobians",
    "linear_surrogate",
    "mixed_rsa",
    "mlp_jacobians",
    "mantel",
    "manifold_capacity",
    "match_units",
    "noise_ceiling",
    "noise_precision",
    "noise_matched",
    "numerical_jacobians",
    "object_information",
    "order_agreement",
    "pairwise_permanova",
    "participation_ratio",
    "permanova",
    "permdisp",
    "persistence_entropy",
    "persistent_homology",
    "prediction_score",
    "predictive_uncertainty",
    "product_measure",
    "profile_consistency",
    "rank_accuracy",
    "rdm",
    "rdm_movie",
    "receptive_fields",
    "roi_means",
    "reverse_regression",
    "rotation_invariance",
    "searchlight",
    "rsa",
    "selection_overlap",
    "silhouette",
    "snci",
    "spatial_score",
    "spectral_entropy",
    "temporal_score",
    "top_k_retrieval",
    "training_means",
    "transform_rdm",
    "transfer_matrix",
    "trial_ceiling",
    "tubularity",
    "two_vs_two",
    "bias_audit",
    "betti_curve",
    "compare",
    "convert",
    "extract",
    "info",
    "frechet_mean",
    "fsaverage",
    "measures",
    "pairwise",
    "bures",
    "cca",
    "cka",
    "gulp",
    "knn_overlap",
    "procrustes",
    "pwcca",
    "shape_distance",
    "soft_matching",
    "stochastic_shape_distance",
    "svcca",
    "variance_partition",
    "weighted_rsa",
    "window_accuracy",
]
