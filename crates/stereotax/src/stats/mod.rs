//! Randomness, resampling, tests and ceilings that every family shares.

pub mod rng;
