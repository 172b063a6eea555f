//! Which voxels and vertices lie side by side, which lie around one, and which is nearest; the same of points.

mod geodesic;
mod nearest;
mod neighbourhoods;
mod neighbours;
mod sparse;
mod sphere;

pub use geodesic::{Distance, Mesh};
pub use nearest::{Nearest, Rows, distinct_rows, nearest, squared_between};
pub use neighbourhoods::{Members, Neighbourhoods};
pub use neighbours::{Connectivity, Neighbours};
pub use sparse::Sparse;
pub use sphere::{SphereGrid, squared_distance};
