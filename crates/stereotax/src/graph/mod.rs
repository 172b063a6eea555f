//! Which voxels and vertices lie side by side, and which lie around one.

mod geodesic;
mod neighbourhoods;
mod neighbours;

pub use geodesic::{Distance, Mesh};
pub use neighbourhoods::{Members, Neighbourhoods};
pub use neighbours::{Connectivity, Neighbours};
