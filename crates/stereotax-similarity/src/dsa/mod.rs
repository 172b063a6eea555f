//! Compare how systems move, whatever their coordinates: dynamical similarity analysis (DSA).
//!
//! A recording becomes a linear operator on delayed states ([`delay`]), with delays and rank chosen by prediction
//! ([`select`]); two operators are compared by the best rotation between them ([`align`](mod@align)) or by their
//! eigenvalues ([`transport`]). [`pairs`] compares many systems, each fitted once; [`input`] takes known inputs
//! into account; [`inference`] says how sure a distance is.

pub mod align;
mod ascent;
pub mod delay;
pub mod inference;
pub mod input;
pub mod pairs;
pub mod select;
mod starts;
pub mod surrogate;
pub mod transport;

pub use align::{Alignment, AlignmentParams, Prepared, Unequal, align, align_prepared};
pub use delay::{DelayOperator, DelayParams, OperatorRank, delay_operator};
pub use pairs::{DsaDistance, PairwiseDsa, pairwise};
