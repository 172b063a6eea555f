//! Which voxels and vertices lie side by side, which lie around one, and which is nearest.

mod geodesic;
mod neighbourhoods;
mod neighbours;
mod sphere;

pub use geodesic::{Distance, Mesh};
pub use neighbourhoods::{Members, Neighbourhoods};
pub use neighbours::{Connectivity, Neighbours};
pub use sphere::{SphereGrid, squared_distance};
