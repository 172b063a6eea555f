//! Randomness, resampling, tests and ceilings that every family shares.

pub mod anova;
pub mod ceiling;
pub mod cluster;
pub mod convergence;
pub mod distance;
pub mod extrapolated;
pub mod feve;
pub mod hard_threshold;
pub mod multiplicity;
pub mod null_draws;
pub mod ordination;
pub mod permanova;
pub mod permdisp;
pub mod rank_sum;
pub mod resampling;
pub mod retrieval;
pub mod rng;
pub mod score;
pub mod shuffles;
pub mod silhouette;
pub mod snci;
pub mod special;
pub mod spin;
pub mod stress;
pub mod summary;
pub mod tukey;
