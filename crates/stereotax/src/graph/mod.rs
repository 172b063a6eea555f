//! Which voxels and vertices lie side by side, which lie around one, and which is nearest.
//! Which voxels and vertices lie side by side, and which lie around one; which points are near one another.

mod geodesic;
mod neighbourhoods;
mod nearest;
mod neighbours;
mod sphere;
mod sparse;

pub use geodesic::{Distance, Mesh};
pub use neighbourhoods::{Members, Neighbourhoods};
pub use nearest::{Nearest, Rows, distinct_rows, nearest, squared_distance};
pub use neighbours::{Connectivity, Neighbours};
pub use sphere::{SphereGrid, squared_distance};
pub use sparse::Sparse;
