//! The mathematics of Stereotax: where a network lives in the functional space of a brain, how well
//! its representations match, and how sure one can be.
//!
//! This crate knows nothing of files, clocks, printing or Python. Rows are stimuli (samples)
//! everywhere; columns are units, voxels or ROIs. Layers are ordered shallow to deep. Time is in
//! seconds. Results are structs with named fields; outcomes that are interesting rather than wrong
//! (an undefined statistic, a rank below the one asked for) are fields, not errors.
//!
//! The method families (`dynamics`, `encoding`, `decoding`, `similarity`, `tensor`, `manifold`) are crates
//! of their own that stand on `stereotax-base` alone; only `pipelines` composes them. Here they are under
//! one name.

pub mod pipelines;

pub use stereotax_base::{data, graph, linalg, signal, stats};
pub use stereotax_decoding as decoding;
pub use stereotax_dynamics as dynamics;
pub use stereotax_encoding as encoding;
pub use stereotax_manifold as manifold;
pub use stereotax_similarity as similarity;
pub use stereotax_tensor as tensor;

pub use data::error::{Error, Result};
