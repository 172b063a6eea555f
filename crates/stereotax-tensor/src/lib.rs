//! Factor responses of units × stimuli × directions × time into few non-negative components.
//!
//! [`fit_cp`] makes one factorisation of a [`CpTensor`], plain or with maps that may rotate over directions;
//! [`sweep()`] many; the functions of [`rank`] say how many components there are; [`neuron_matrix`] describes units
//! by them, and [`points`] makes its rows ready for neighbourhoods.

mod compare;
mod fit;
mod kernels;
mod neurons;
mod passes;
pub mod points;
pub mod prepare;
mod problem;
pub mod rank;
pub mod spikes;
mod sweep;
#[cfg(test)]
mod tests;
pub mod tuning;

pub use compare::{ComponentMatch, match_components};
pub use fit::{CpFit, CpParams, fit_cp};
pub use neurons::{LaterMaps, NeuronMatrix, neuron_matrix};
pub use problem::{CpTensor, Cyclic};
pub use sweep::{HoldOut, SweepTask, cross_validate, hidden_entries, sweep};
