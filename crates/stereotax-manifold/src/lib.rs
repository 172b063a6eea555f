//! The geometry of representations: neighbourhoods, diffusion maps, dimension, entropy, capacity.

mod capacity;
mod cv_pca;
mod diffusion;
mod entropy;
mod ian;
mod intrinsic;
mod participation;
mod tubularity;

pub use capacity::{
    FiniteCapacity, FiniteParams, ManifoldGeometry, MeanFieldCapacity, MeanFieldParams, Removal,
    finite_capacity, mean_field_capacity,
};
pub use cv_pca::{CvPca, CvPcaParams, PowerLaw, cv_pca, noise_matched, power_law};
pub use diffusion::{
    Bandwidth, DiffusionMap, DiffusionParams, NeighbourKernel, Norm, Time, diffusion_map, neighbour_kernel,
};
pub use entropy::{EntropyParams, SpectralEntropy, Width, spectral_entropy};
pub use ian::{Disconnected, Ian, IanParams, IanStep, LocalDimension, ian, ian_extend, ian_of_distances};
pub use intrinsic::{
    Calibration, IntrinsicDimension, IntrinsicParams, LevinaBickel, LocalPca, Scale, TwoNn,
    calibrate_dimension, intrinsic_dimension, local_pca,
};
pub use participation::{ParticipationRatio, Ratio, participation_ratio};
pub use tubularity::{
    Bundle, Population, Smoothing, Tubularity, TubularityParams, TubularityScores, tubularity,
};
