//! Files to data and back. No mathematics.
//!
//! Every count or shape that a file states is checked before memory is taken for it, archives never
//! leave their folder, pickled objects are refused, and results appear under their name only when
//! they are complete.

pub mod table;

pub use table::{Column, Table, Values};
