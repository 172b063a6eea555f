//! Planted-truth simulators, slow twins and comparison helpers, for tests, benches and the demo.
//!
//! Nothing here measures a real network or brain: every number is simulated from a seed. The slow
//! twins repeat the published formulas in plain loops and share no code with the library they check.
//! Comparison helpers panic with the position and both values, because they are meant for tests.

pub mod area;
pub mod compare;
pub mod cortex;
pub mod designs;
pub mod globe;
pub mod linear;
