//! The extension module `stereotax._core`: convert, release the interpreter, map errors.
//!
//! No mathematics lives here. Every function borrows NumPy arrays as views, calls the core on a thread
//! of its own while the interpreter is free (`watch`), and hands back dictionaries of numbers and arrays.
//! The public, documented names are in `python/stereotax/`.

mod areas;
mod arrays;
mod banded;
mod ceiling;
mod choices;
mod cluster;
mod command;
mod convert;
mod decoding;
mod depth;
mod dynamical;
mod error;
mod homology;
mod in_context;
mod kernel;
mod latent;
mod localise;
mod manifold;
mod matching;
mod moments;
mod nfas;
mod nonlinearity;
mod options;
mod partition;
mod physiology;
mod placing;
mod pls;
mod profile;
mod projection;
mod rdm;
mod readout;
mod refit;
mod responses;
mod retrieval;
mod ridge;
mod rsa;
mod signal;
mod similarity;
mod space;
mod stats;
mod study;
mod tables;
mod tensor;
mod transfer;
mod uncertainty;
mod volumes;
mod watch;

use pyo3::prelude::*;

/// What `import stereotax` is made of; private.
#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::areas::{
        area_layers, assign_layers, fit_receptive_fields, object_information, order_agreement,
        reverse_correlation, rotation_invariance,
    };
    #[pymodule_export]
    use crate::banded::{banded_ridge_cv, simplex_draws};
    #[pymodule_export]
    use crate::ceiling::{extrapolated_ceiling, feve, half_corrected, noise_ceiling, trial_ceiling};
    #[pymodule_export]
    use crate::cluster::cluster_test;
    #[pymodule_export]
    use crate::command::run_command;
    #[pymodule_export]
    use crate::decoding::{
        Fitted, decode, grouped_folds, principal_states, pseudo_trials, stratified_folds,
        temporal_generalisation, transfer_decoding, window_accuracy,
    };
    #[pymodule_export]
    use crate::depth::{
        DmdParams, combine_mapped, combine_shared, fit_mapped, fit_moments, fit_trajectories,
        follow_trajectories,
    };
    #[pymodule_export]
    use crate::dynamical::{dsa_compare, dsa_inference, dsa_inputs, dsa_operator, dsa_pairs, dsa_select};
    #[pymodule_export]
    use crate::error::StereotaxError;
    #[pymodule_export]
    use crate::homology::{
        betti_curve, diagram_distance, homology_of_distances, homology_of_points, persistence_entropy,
    };
    #[pymodule_export]
    use crate::in_context::{context_curve, decode_in_context, encode_in_context, weight_prior};
    #[pymodule_export]
    use crate::kernel::{kernel_matrix, kernel_ridge_cv};
    #[pymodule_export]
    use crate::latent::{
        fit_zero_inflated_gamma, latent_factors, latent_given_observed, latent_log_likelihood,
        zero_inflated_gamma,
    };
    #[pymodule_export]
    use crate::localise::{control_units, localise_units, selection_overlap, validate_units};
    #[pymodule_export]
    use crate::manifold::{
        Diffusion, Neighbourhoods, cv_pca, intrinsic_dimension, manifold_capacity, noise_matched,
        participation_ratio, spectral_entropy, tubularity,
    };
    #[pymodule_export]
    use crate::matching::{component_regression, match_units};
    #[pymodule_export]
    use crate::moments::Moments;
    #[pymodule_export]
    use crate::nfas::{NfasParams, nfas};
    #[pymodule_export]
    use crate::nonlinearity::{kernel_jacobians, linear_surrogate, mlp_jacobians, nonlinearity_of_array};
    #[pymodule_export]
    use crate::partition::{product_measure, stack_held_out, variance_partition};
    #[pymodule_export]
    use crate::physiology::physiology;
    #[pymodule_export]
    use crate::placing::{
        embed, moran_surrogates, parcel_centres, pseudo_depth, spin_sources, spin_test, surrogate_test,
    };
    #[pymodule_export]
    use crate::pls::{pls, pls_folds};
    #[pymodule_export]
    use crate::profile::{above_null, encoding_score, half_time, spatial_score, temporal_score};
    #[pymodule_export]
    use crate::projection::{johnson_lindenstrauss_size, projection_matrix, random_projection};
    #[pymodule_export]
    use crate::rdm::{
        Around, cross_rdm, crossnobis, look_around, noise_deviations, noise_precision,
        poisson_cross_validated, rdm_movie, rdm_of, score_models, time_windows,
    };
    #[pymodule_export]
    use crate::readout::{
        attention_predict, attention_readout, factorised_readout, gated_predict, gated_readout, point_readout,
    };
    #[pymodule_export]
    use crate::refit::encoding_test;
    #[pymodule_export]
    use crate::responses::{Responses, SpikeTrains, draw_clip, psth, weighted_draw};
    #[pymodule_export]
    use crate::retrieval::{retrieve, two_vs_two};
    #[pymodule_export]
    use crate::ridge::ridge_cv;
    #[pymodule_export]
    use crate::rsa::{
        compare_rdms, identify_regions, mantel_test, mixed_rsa, reweighted_rsa, rsa_models, transform_rdm,
    };
    #[pymodule_export]
    use crate::signal::{delayed, to_clock};
    #[pymodule_export]
    use crate::similarity::{
        audit_bias, canonical_correlations, compare_pair, compare_pairwise, gulp_distance, mean_shape,
        measures, neighbour_overlap, projection_weighted_cca, rbf_cka, shape_distance, similarity_measure,
        soft_match_units, stochastic_shape_distance,
    };
    #[pymodule_export]
    use crate::space::{SpaceParams, compare_models};
    #[pymodule_export]
    use crate::stats::{
        distances, pairwise_permanova, permanova, permdisp, profile_consistency, silhouette, snci,
    };
    #[pymodule_export]
    use crate::study::{study_check, study_plan, study_results, study_run};
    #[pymodule_export]
    use crate::tensor::{
        CpTensor, cp_choose_rank, cp_cross_validate, cp_rank_measures, cp_sweep, fit_cp, keep_points,
        match_components, neuron_matrix, principal_scores,
    };
    #[pymodule_export]
    use crate::transfer::transfer_matrix;
    #[pymodule_export]
    use crate::uncertainty::{gaussian_uncertainty, predictive_uncertainty};
    #[pymodule_export]
    use crate::volumes::roi_means;

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
