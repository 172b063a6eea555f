//! The shape of a set of points at all scales: clusters and loops, and how far apart two such descriptions are.

mod diagrams;
mod rips;

pub use diagrams::{Ground, betti_curve, bottleneck_distance, persistence_entropy, wasserstein_distance};
pub use rips::{Bar, Homology, HomologyParams, homology_of_points, persistent_homology};
