//! Predict brain responses from features: ridge and its relatives, with honest cross-validation.
//!
//! A penalty is α in ‖Xb − y‖² + α‖b‖² (no 1/n, no α²).

mod alphas;
mod area_layers;
mod area_order;
mod banded;
mod combine;
mod components;
mod in_context;
mod jacobian;
mod kernel;
mod latent;
mod localise;
mod matching;
mod nested;
mod nonlinearity;
mod object_codes;
mod partition;
mod pls;
mod profile;
mod projection;
mod readout;
mod receptive_field;
mod reduce;
mod refit;
mod ridge;
mod select;
mod stacking;
mod transfer;
mod uncertainty;
mod zero_inflated_gamma;

pub use alphas::{AlphaGrid, AlphaScale};
pub use area_layers::{AreaLayers, Contrast, area_layers, assign_layers};
pub use area_order::{OrderAgreement, kendall_tau_b, order_agreement};
pub use banded::{
    Band, BandedFit, BandedParams, BandedSplit, KernelSearchFit, KernelSearchParams, banded_ridge,
    banded_ridge_of_subjects, search_kernels, simplex_candidates, simplex_draws,
};
pub use combine::{BandedPlan, CombinedFold, StackedPlan, banded_fold, stacked_fold};
pub use components::{ComponentFit, ComponentParams, component_regression};
pub use in_context::{ContextCurve, PriorParams, WeightPrior, context_curve, weight_prior};
pub use jacobian::{Activation, DenseLayer, KernelJacobians, MlpJacobians};
pub use kernel::{Kernel, kernel_matrix, own_kernel};
pub use latent::{FactorParams, LatentFactors, latent_factors};
pub use localise::{
    ControlUnits, HalfValidation, Localiser, LocaliserParams, Overlap, Welch, control_units, localise_units,
    selection_overlap, validate_units, welch,
};
pub use matching::{MatchParams, Matched, Matching, match_units};
pub use nested::{
    BandParts, EncodingParams, FoldFeatures, FoldPlan, FoldPrediction, InnerPredictions, InnerScheme, Solver,
    inner_folds, predict_fold, predict_fold_banded, predict_fold_with_inner, purge_gap,
};
pub use nonlinearity::{Nonlinearity, jacobian_nonlinearity, linear_surrogate};
pub use object_codes::{
    InvarianceParams, ObjectInformation, RotationInvariance, mutual_information, object_information,
    rotation_invariance,
};
pub use partition::{Partition, partition_of_r2, product_measure, variance_partition};
pub use pls::{PlsFit, PlsParams, PlsPrediction, pls, pls_of_folds};
pub use profile::{
    EncodingScore, HalfTime, Place, PlaceRule, SpatialParams, SpatialScore, TemporalScore, above_null,
    encoding_score, half_time, place, spatial_score, temporal_score,
};
pub use projection::{Element, ProjectionKind, RandomProjection, johnson_lindenstrauss_size};
pub use readout::{
    AttentionFit, ChannelScale, FactorisedFit, FactorisedParams, FactorisedTarget, FeatureMaps, GatedFit,
    GatedPrediction, PointFit, PointParams, PointTarget, PooledHeads, PoolingParams, attention_readout,
    factorised_readout, gated_readout, point_readout,
};
pub use receptive_field::{ReceptiveField, fit_receptive_fields, reverse_correlation};
pub use reduce::{ReduceParams, Reduced, reduce};
pub use refit::{RefitTest, generalised_refits, held_out_refits};
pub use ridge::{
    AlphaChoice, CvRoute, DualWeights, InnerLoss, Intercept, RidgeFit, RidgeParams, RidgePlan, RidgeWeights,
    Selection, Space,
};
pub use select::{Candidate, Choice, RoiChoice, choose, choose_per_target};
pub use stacking::{simplex_least_squares, stack_held_out, stack_weights, stacked};
pub use transfer::{Modality, Transfer, TransferCell, TransferParams, transfer_matrix};
pub use uncertainty::{PerUnit, PredictiveUncertainty, gaussian_uncertainty, predictive_uncertainty};
pub use zero_inflated_gamma::ZeroInflatedGamma;
