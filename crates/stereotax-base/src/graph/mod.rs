//! Which voxels and vertices lie side by side, which lie around one, and which is nearest; the same of points, and
//! the shape that points make at all scales.

mod geodesic;
mod homology;
mod nearest;
mod neighbourhoods;
mod neighbours;
mod sparse;
mod sphere;
mod tree;

pub use geodesic::{Distance, Mesh};
pub use homology::{
    Bar, Ground, Homology, HomologyParams, betti_curve, bottleneck_distance, homology_of_points,
    persistence_entropy, persistent_homology, wasserstein_distance,
};
pub use nearest::{Nearest, Rows, distinct_rows, nearest, squared_between};
pub use neighbourhoods::{Members, Neighbourhoods};
pub use neighbours::{Connectivity, Neighbours};
pub use sparse::Sparse;
#[cfg(test)]
pub(crate) use sphere::tests::sphere as fibonacci_sphere;
pub use sphere::{SphereGrid, squared_distance};
