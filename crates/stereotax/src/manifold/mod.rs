//! The geometry of representations: neighbourhoods, diffusion maps, dimension, entropy, capacity.
