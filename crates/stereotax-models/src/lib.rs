//! Make parametric stimuli: drifting and static gratings, moving dots and oriented dot triples.

pub mod stimuli;
