//! Compare representations: of networks, of brains, and of one with the other.
//!
//! Rows are conditions (stimuli) everywhere, columns are units. What compares two representations lives
//! here; what predicts one from the other lives in `encoding`.

pub mod best_layer;
pub mod between_subjects;
pub mod bias_audit;
pub mod cca;
pub mod cka;
pub mod compare;
pub mod draws;
pub mod dsa;
pub mod factor_pair;
pub mod frechet;
pub mod gulp;
pub mod held_out;
pub mod identify;
pub mod mantel;
pub mod measures;
pub mod model_rdms;
pub mod neighbours;
pub mod pairwise;
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
pub mod stochastic;
pub mod topology;
pub mod unit_matching;

pub use best_layer::{
    BestLayer, LayerDraws, ModelDifference, adjusted_together, best_layer, model_difference,
};
pub use between_subjects::between_subjects;
pub use bias_audit::{BiasAuditParams, BiasCell, bias_audit};
pub use cca::{Share, Svcca, SvccaParams, mean_cca, r2_cca, regularised_cca, svcca};
pub use cka::{angular_cka, cka, debiased_cka};
pub use compare::{CompareParams, Compared, Comparison, compare};
pub use draws::{Blocks, ChanceLevel, PairDraws, chance_level, compare_with_all, interval_of};
pub use factor_pair::FactorPair;
pub use frechet::{FrechetMean, FrechetParams, frechet_mean};
pub use gulp::gulp;
pub use held_out::{
    ShapeAlignment, ShapeScore, cross_validated_cca, cross_validated_shape, interleaved_folds,
};
pub use measures::{Direction, Interval, Invariances, MEASURES, Measure, Pair, Reduction, measure, select};
pub use neighbours::{NeighbourOverlap, neighbour_overlap};
pub use pairwise::{PairwiseParams, needs_factors_alone, pairwise, pairwise_factors};
pub use procrustes::{
    bures_similarity, procrustes_angular, procrustes_euclidean, procrustes_r2, shape_angular, shape_euclidean,
};
pub use pwcca::{Pwcca, pwcca};
pub use representation::{CentredGram, Factors, Representation};
pub use stochastic::{Gaussians, StochasticParams, StochasticShape, stochastic_shape};
pub use topology::{cluster_divergence, topology_divergence};
pub use unit_matching::{PermutationMatch, SoftMatch, permutation_match, soft_match};
