//! Expand features into the columns of an encoding model.

use faer::{Mat, MatRef};

use super::delays::{delay, padded_samples};
use super::hrf::{Derivatives, HrfShape, check_rows, convolve, nilearn_tr_kernels, tr_kernels};
use crate::data::{Result, Runs};

/// How the response follows the stimulus (specs: nfas-dmd 8.3).
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hrf {
    /// Responses per stimulus, or estimates of them: nothing to do.
    #[default]
    None,
    /// One copy per delay; the fit shapes the response. [`super::default_delays`] gives 1.5–9 s.
    Fir {
        /// Delays in TRs, ascending.
        delays: Vec<usize>,
    },
    /// SPM's double gamma.
    Spm {
        /// Extra regressors.
        derivatives: Derivatives,
    },
    /// Glover's double gamma.
    Glover {
        /// Extra regressors.
        derivatives: Derivatives,
    },
    /// Either double gamma with the numerics of nilearn.
    Nilearn {
        /// Which one.
        shape: HrfShape,
        /// Extra regressors.
        derivatives: Derivatives,
    },
}

/// Expand `features` (n × q) to the design (n × p), run by run; p is q times [`n_columns`].
///
/// Columns are grouped by delay or kernel, features within. Errors: rows that are not those of `runs`,
/// a TR outside (0, 32) s where one is needed, a run no longer than its longest delay.
pub fn expand(features: MatRef<f64>, runs: &Runs, tr_s: f64, hrf: &Hrf) -> Result<Mat<f64>> {
    check_rows(features, runs)?;
    match hrf {
        Hrf::None => Ok(features.to_owned()),
        Hrf::Fir { delays } => delay(features, runs, delays),
        Hrf::Spm { derivatives } => convolve(features, runs, &tr_kernels(HrfShape::Spm, *derivatives, tr_s)?),
        Hrf::Glover { derivatives } => {
            convolve(features, runs, &tr_kernels(HrfShape::Glover, *derivatives, tr_s)?)
        }
        Hrf::Nilearn { shape, derivatives } => {
            convolve(features, runs, &nilearn_tr_kernels(*shape, *derivatives, tr_s)?)
        }
    }
}

/// Columns per feature.
pub fn n_columns(hrf: &Hrf) -> usize {
    match hrf {
        Hrf::None => 1,
        Hrf::Fir { delays } => delays.len(),
        Hrf::Spm { derivatives } | Hrf::Glover { derivatives } | Hrf::Nilearn { derivatives, .. } => {
            derivatives.n_kernels()
        }
    }
}

/// How far back the design looks in seconds: the longest delay, 12 s for a double gamma (its bulk), or 0.
pub fn max_delay_s(hrf: &Hrf, tr_s: f64) -> f64 {
    match hrf {
        Hrf::None => 0.0,
        Hrf::Fir { delays } => delays.iter().copied().max().unwrap_or(0) as f64 * tr_s,
        Hrf::Spm { .. } | Hrf::Glover { .. } | Hrf::Nilearn { .. } => 12.0,
    }
}

/// The samples whose FIR window was padded with zeros; none for other choices.
pub fn padded_rows(runs: &Runs, hrf: &Hrf) -> Vec<usize> {
    match hrf {
        Hrf::Fir { delays } => padded_samples(runs, delays),
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_gives_the_columns_it_promises() {
        let runs = Runs::single(30);
        let x = Mat::from_fn(30, 3, |i, j| ((i * (j + 2)) % 7) as f64);
        let derivatives = Derivatives::TimeDispersion;
        for hrf in [
            Hrf::None,
            Hrf::Fir { delays: vec![1, 3] },
            Hrf::Spm { derivatives },
            Hrf::Glover { derivatives: Derivatives::Time },
            Hrf::Nilearn { shape: HrfShape::Spm, derivatives },
        ] {
            let design = expand(x.as_ref(), &runs, 2.0, &hrf).unwrap();
            assert_eq!(design.ncols(), 3 * n_columns(&hrf));
        }
        assert_eq!(expand(x.as_ref(), &runs, 2.0, &Hrf::None).unwrap(), x);
        let fir = expand(x.as_ref(), &runs, 2.0, &Hrf::Fir { delays: vec![1, 3] }).unwrap();
        assert_eq!(fir[(5, 4)], x[(2, 1)]);
        assert!(expand(x.as_ref(), &Runs::single(29), 2.0, &Hrf::None).is_err());
    }
}
