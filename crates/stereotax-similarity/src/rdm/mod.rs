//! How unlike the patterns of conditions are: one number for every pair of conditions.
//!
//! Rows of a pattern matrix are conditions, columns channels (units, voxels, sensors). Each file holds one
//! estimator; [`Measure`] names those that need one pattern per condition, for searchlights and movies.
//! Euclidean and Mahalanobis distances say whether they are squared and divided by the number of channels
//! ([`Scale`]). A pair that has no dissimilarity is NaN and counted by [`Rdm::n_undefined`].

mod correlation;
mod crossnobis;
mod euclidean;
mod mahalanobis;
mod noise;
mod poisson;
mod products;
mod repeats;
mod temporal;

pub use correlation::{correlation_rdm, cosine_rdm};
pub(crate) use crossnobis::of_cells;
pub use crossnobis::{Crossnobis, CrossnobisParams, RunPairing, crossnobis};
pub use euclidean::euclidean_rdm;
pub use mahalanobis::mahalanobis_rdm;
pub use noise::{NoiseEstimate, NoiseParams, NoisePrecision, Shrinkage, noise_precision};
pub use poisson::{PoissonPrior, poisson_rdm, poisson_rdm_cross_validated};
pub(crate) use repeats::Cells;
pub use repeats::{Repeats, deviations_from_conditions};
pub use temporal::{cross_rdm, rdm_movie, time_windows, window_means};

use faer::MatRef;

use stereotax_base::data::{Error, Monitor, Rdm, Result};
use stereotax_base::linalg::{Real, all_finite};

/// Whether distances are squared, and divided by the number of channels.
///
/// Divided squared distances are means over channels; divided distances are their roots (√(d²/p)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Scale {
    /// d² instead of d. Default false.
    pub squared: bool,
    /// Mean instead of sum over channels. Default false.
    pub per_channel: bool,
}

impl Scale {
    /// A squared distance, on this scale.
    pub(crate) fn of(self, squared: f64, n_channels: usize) -> f64 {
        let value = if self.per_channel { squared / n_channels as f64 } else { squared };
        if self.squared { value } else { value.max(0.0).sqrt() }
    }
}

/// A dissimilarity between two patterns.
#[derive(Debug, Clone, Copy)]
pub enum Measure<'a> {
    /// 1 − r over channels.
    Correlation,
    /// 1 − cosine.
    Cosine,
    /// Euclidean distance.
    Euclidean(Scale),
    /// Distance in units of the noise.
    Mahalanobis(&'a NoisePrecision, Scale),
    /// Symmetric Kullback–Leibler divergence between Poisson distributions.
    Poisson(PoissonPrior),
}

impl Measure<'_> {
    /// The RDM of patterns (conditions × channels).
    pub fn rdm<T: Real>(&self, patterns: MatRef<T>, monitor: &Monitor<'_>) -> Result<Rdm> {
        match *self {
            Measure::Correlation => correlation_rdm(patterns, monitor),
            Measure::Cosine => cosine_rdm(patterns, monitor),
            Measure::Euclidean(scale) => euclidean_rdm(patterns, scale, monitor),
            Measure::Mahalanobis(precision, scale) => mahalanobis_rdm(patterns, precision, scale, monitor),
            Measure::Poisson(prior) => poisson_rdm(patterns, prior, monitor),
        }
    }
}

/// Refuse what has no RDM.
pub(crate) fn check_patterns<T: Real>(x: MatRef<T>, least_channels: usize) -> Result<()> {
    if x.nrows() < 2 {
        return Err(Error::TooFew {
            what: "patterns".into(),
            needed: "2 conditions".into(),
            found: format!("{} row(s)", x.nrows()),
            hint: "rows are conditions; a dissimilarity needs a pair".into(),
        });
    }
    if x.ncols() < least_channels {
        return Err(Error::TooFew {
            what: "patterns".into(),
            needed: format!("{least_channels} channels"),
            found: x.ncols().to_string(),
            hint:
                "columns are channels; a correlation over one channel says nothing: use a Euclidean distance"
                    .into(),
        });
    }
    check_numbers("patterns", x)
}

/// Refuse what is not finite, naming its place.
pub(crate) fn check_numbers<T: Real>(what: &str, x: MatRef<T>) -> Result<()> {
    if all_finite(x) {
        return Ok(());
    }
    let mut first = None;
    let mut count = 0;
    for i in 0..x.nrows() {
        for j in 0..x.ncols() {
            if !Into::<f64>::into(x[(i, j)]).is_finite() {
                first = first.or(Some((i, j)));
                count += 1;
            }
        }
    }
    let (row, column) = first.unwrap_or_default();
    Err(Error::NotFinite {
        what: what.into(),
        row,
        column,
        count,
        hint: "drop these channels or conditions first".into(),
    })
}
