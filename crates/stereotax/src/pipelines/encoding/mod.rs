//! Encode every target from every layer, and read what the layers of a model tell apart.
//!
//! | file | what it does |
//! | --- | --- |
//! | `layer` | one layer against all targets of all subjects |
//! | `nested` | the best layer of every target, chosen on training rows |
//! | `group` | means over subjects and targets, intervals, depth |
//! | `moments` | five numbers per fold and target, from which every score follows |
//!
//! Source: specs: alignment-methods B1, B6, B17.

mod group;
mod layer;
mod moments;
mod nested;

pub use group::{Depth, MeanScore, Scores, depth_of, mean_null};
pub use layer::{
    BLOCK, CellDraws, Chance, EncodingCell, MOST_WITH_DRAWS, fold_bytes, fold_bytes_of, score_targets,
};
pub use moments::FoldMoments;
pub use nested::{BestCell, NestedChoice};
