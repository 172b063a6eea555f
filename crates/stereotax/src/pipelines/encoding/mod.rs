//! Encode every target from every layer, and read what the layers of a model tell apart.
//!
//! | file | what it does |
//! | --- | --- |
//! | `layer` | one layer against all targets of all subjects |
//! | `combined` | all layers as one predictor |
//! | `nested` | the best layer (and time) of every target, chosen on training rows |
//! | `group` | means over subjects and targets, intervals, depth |
//! | `moments` | five numbers per fold and target, from which every score follows |
//!
//! Source: specs: alignment-methods B1, B6, B17.

mod combined;
mod group;
mod layer;
mod moments;
mod nested;

pub use combined::{Combine, CombinedCell, combined_fold_bytes, combined_target_bytes, score_combined};
pub use group::{
    Depth, KeptIntervals, MeanScore, Scores, depth_of, mean_draws, mean_null, part_intervals, training_spread,
};
pub use layer::{
    BLOCK, CellDraws, Chance, EncodingCell, Keep, MOST_WITH_DRAWS, Refits, fold_bytes, fold_bytes_of,
    n_null_moves, score_targets, target_bytes,
};
pub use moments::FoldMoments;
pub use nested::{BestCell, Intervals, LayerFeatures, NestedChoice, choice_bytes};
