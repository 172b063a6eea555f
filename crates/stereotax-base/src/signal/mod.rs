//! Time series and their clocks: haemodynamics, delays, drift, resampling.

mod component;
mod delays;
mod design;
mod drift;
mod hrf;
pub mod psth;
mod resample;
pub mod smooth;

pub use component::{FirstComponent, first_component};
pub use delays::{DelayParams, default_delays, delay, padded_samples};
pub use design::{Hrf, expand, max_delay_s, n_columns, padded_rows};
pub use drift::{
    ConstantColumn, ConstantRule, Drift, ZScored, dct_basis, dct_order, legendre_basis, project_out,
    remove_confounds, remove_drift, z_score_runs,
};
pub use hrf::{Derivatives, HrfShape, convolve, nilearn_kernel, nilearn_tr_kernels, tr_kernels};
pub use resample::{LanczosParams, Normalise, Resampling, box_average, box_of, lanczos};
