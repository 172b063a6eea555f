//! The depth of a network as a dynamical trajectory: moments, Dynamic Mode Decomposition, stable modes.
//!
//! Depth is short (5 to 100 layers) and states are huge, so everything here works on the L × L Gram
//! matrix of the layers, which loses nothing: a mode *is* a vector of layer weights
//! (specs: nfas-dmd section 4). The data are read once for the moments and once for the
//! representations.

pub mod bagged;
mod defective;
pub mod fit;
mod forward_backward;
pub mod hankel;
pub mod layer_map;
pub mod modes;
pub mod moments;
mod operator;
pub mod optimised;
pub mod per_sample;
pub mod pooled;
pub mod rank;
pub mod reduce;
mod restricted;
pub mod segments;
mod spectrum;
pub mod stability;
mod standard;
mod total_least_squares;

pub use fit::{depth_dmd, depth_dmd_reduced, depth_dmd_scaled, is_blurred, refuse_depth_centring};
pub use moments::{Centring, DepthGram, DepthMoments, MomentsOptions, ScaledGram, Scaling};
pub use reduce::Reduction;
pub use spectrum::{
    Amplitude, DepthDmdParams, DepthSpectrum, Estimator, ModeForm, RankConsensus, RankRule, Selection,
    StableVerdict, Unstable, UnstableReason,
};
