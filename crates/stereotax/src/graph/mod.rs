//! Which voxels and vertices lie side by side.

mod neighbours;

pub use neighbours::{Connectivity, Neighbours};
