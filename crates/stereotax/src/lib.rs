//! The mathematics of Stereotax: where a network lives in the functional space of a brain, how well
//! its representations match, and how sure one can be.
//!
//! This crate knows nothing of files, clocks, printing or Python. Rows are stimuli (samples)
//! everywhere; columns are units, voxels or ROIs. Layers are ordered shallow to deep. Time is in
//! seconds. Results are structs with named fields; outcomes that are interesting rather than wrong
//! (an undefined statistic, a rank below the one asked for) are fields, not errors.
//!
//! The method families (`dynamics`, `encoding`, `decoding`, `similarity`, `tensor`, `manifold`) do not
//! import one another; what two of them need lives in `data`, `linalg`, `stats`, `signal` or `graph`, and only `pipelines` composes them.

pub mod data;
pub mod decoding;
pub mod dynamics;
pub mod encoding;
pub mod graph;
pub mod linalg;
pub mod manifold;
pub mod pipelines;
pub mod signal;
pub mod similarity;
pub mod stats;
pub mod tensor;

pub use data::error::{Error, Result};
