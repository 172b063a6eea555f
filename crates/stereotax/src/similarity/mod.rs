//! Compare representations: of networks, of brains, and of one with the other.
//!
//! Rows are conditions (stimuli) everywhere, columns are units. What compares two representations lives
//! here; what predicts one from the other lives in `encoding`.

pub mod cca;
pub mod cka;
pub mod dsa;
pub mod factor_pair;
pub mod identify;
pub mod mantel;
pub mod model_rdms;
pub mod placement;
pub mod procrustes;
pub mod pwcca;
pub mod rdm;
pub mod rdm_compare;
pub mod rdm_transform;
pub mod representation;
pub mod reweighted;
pub mod rsa;
pub mod searchlight;

pub use cca::{Share, Svcca, SvccaParams, mean_cca, r2_cca, regularised_cca, svcca};
pub use cka::{angular_cka, cka, debiased_cka};
pub use factor_pair::FactorPair;
pub use procrustes::{
    bures_similarity, procrustes_angular, procrustes_euclidean, procrustes_r2, shape_angular, shape_euclidean,
};
pub use pwcca::{Pwcca, pwcca};
pub use representation::{CentredGram, Factors, Representation};
