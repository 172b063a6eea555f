//! The only code that composes families: whole analyses from reductions to group statistics.

pub mod group;
