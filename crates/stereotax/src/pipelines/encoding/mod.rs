//! Encode every target from every layer, and read what the layers of a model tell apart.
//!
//! | file | what it does |
//! | --- | --- |
//! | `layer` | one layer against all targets of all subjects |
//! | `moments` | five numbers per fold and target, from which every score follows |
//!
//! Source: specs: alignment-methods B1, B6, B17.

mod layer;
mod moments;

pub use layer::{
    BLOCK, CellDraws, Chance, EncodingCell, MOST_WITH_DRAWS, fold_bytes, fold_bytes_of, score_targets,
};
pub use moments::FoldMoments;
