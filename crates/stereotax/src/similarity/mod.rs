//! Compare representations: of networks, of brains, and of one with the other.
//!
//! Rows are conditions (stimuli) everywhere, columns are units. What compares two representations lives
//! here; what predicts one from the other lives in `encoding`.
