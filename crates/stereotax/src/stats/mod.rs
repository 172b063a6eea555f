//! Randomness, resampling, tests and ceilings that every family shares.

pub mod distance;
pub mod multiplicity;
pub mod permanova;
pub mod rng;
pub mod shuffles;
pub mod silhouette;
pub mod summary;
