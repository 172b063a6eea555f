//! What every family of methods stands on: validated data, linear algebra with fixed bits, statistics,
//! signals and graphs.
//!
//! What two families need lives here. Nothing here knows a method, a file, a clock or Python.

pub mod data;
pub mod graph;
pub mod linalg;
pub mod signal;
pub mod stats;

pub use data::error::{Error, Result};
