//! Which voxels and vertices lie side by side, and which lie around one.
//! Which voxels and vertices lie side by side, and which is nearest.

mod geodesic;
mod neighbourhoods;
mod neighbours;
mod sphere;

pub use geodesic::{Distance, Mesh};
pub use neighbourhoods::{Members, Neighbourhoods};
pub use neighbours::{Connectivity, Neighbours};
pub use sphere::{SphereGrid, squared_distance};
