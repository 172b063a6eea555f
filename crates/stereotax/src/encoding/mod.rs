//! Predict brain responses from features: ridge and its relatives, with honest cross-validation.
//!
//! A penalty is α in ‖Xb − y‖² + α‖b‖² (no 1/n, no α²).

mod alphas;
mod banded;
mod nested;
mod partition;
mod pls;
mod profile;
mod projection;
mod reduce;
mod ridge;
mod select;
mod stacking;

pub use alphas::{AlphaGrid, AlphaScale};
pub use banded::{
    Band, BandedFit, BandedParams, BandedSplit, banded_ridge, banded_ridge_of_subjects, simplex_candidates,
};
pub use nested::{
    BandParts, EncodingParams, FoldFeatures, FoldPrediction, InnerPredictions, InnerScheme, Solver,
    inner_folds, predict_fold, predict_fold_banded, predict_fold_with_inner, purge_gap,
};
pub use partition::{Partition, product_measure, variance_partition};
pub use pls::{PlsFit, PlsParams, PlsPrediction, pls, pls_of_folds};
pub use profile::{
    EncodingScore, HalfTime, Place, PlaceRule, SpatialParams, SpatialScore, TemporalScore, above_null,
    encoding_score, half_time, place, spatial_score, temporal_score,
};
pub use projection::{Element, ProjectionKind, RandomProjection, johnson_lindenstrauss_size};
pub use reduce::{ReduceParams, Reduced, reduce};
pub use ridge::{
    AlphaChoice, InnerLoss, Intercept, RidgeFit, RidgeParams, RidgePlan, RidgeWeights, Selection, Space,
};
pub use select::{Candidate, Choice, RoiChoice, choose, choose_per_target};
pub use stacking::{simplex_least_squares, stack_weights, stacked};
