//! A study: `study.toml`, the staged plan, content-addressed nodes, the run and its results.

pub mod config;
pub mod hints;
