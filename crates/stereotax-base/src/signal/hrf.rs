//! Turn features on the TR clock into predicted haemodynamic responses.
//!
//! The response to a brief event is a difference of two gamma densities g(t; shape, scale),
//!
//! ```text
//! SPM     h(t) = g(t; 6, 1) − g(t; 16, 1) / 6
//! Glover  h(t) = g(t; 6/0.9, 0.9) − 0.48 · g(t; 12/0.9, 0.9)
//! ```
//!
//! on 0…32 s, sampled 16 times per TR and scaled to unit sum. A feature is held constant within its TR,
//! convolved on the fine grid, and read at the start of each TR. Because holding and reading are linear
//! and the same for every TR, the three steps are one causal kernel on the TR clock,
//! `k[d] = Σ_{j=0…15} h[16 d − j]`, which sums to 1: a constant feature keeps its value once the
//! response has settled.
//!
//! Source: Friston et al. 1998 (SPM), Glover 1999 with nilearn's constants; specs: nfas-dmd 8.3.
//! Differs from nilearn: no shift by one fine step, no linspace grid that ends on the last time point,
//! and a ratio of 1/6 where nilearn has 0.167. [`nilearn_tr_kernels`] follows nilearn's numerics instead.
//! Cost: O(n · 32/TR) per column.

use faer::{Mat, MatRef};

use crate::data::{Error, Result, Runs};
use crate::stats::special::ln_gamma;

/// Fine grid steps per TR.
const STEPS_PER_TR: usize = 16;
/// The same in nilearn.
const NILEARN_STEPS_PER_TR: usize = 50;
/// Length of the response in seconds.
const SUPPORT_S: f64 = 32.0;
/// Shift of the onset (seconds) and of the dispersion that the derivatives are differences over.
const ONSET_STEP_S: f64 = 0.1;
const DISPERSION_STEP: f64 = 0.01;

/// Which double gamma.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HrfShape {
    /// Peak shape 6, undershoot shape 16, ratio 1/6.
    Spm,
    /// Peak delay 6, undershoot delay 12, dispersions 0.9, ratio 0.48.
    Glover,
}

/// Extra regressors that let the response move or widen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Derivatives {
    /// The response alone: one column per feature.
    #[default]
    None,
    /// And its derivative by onset: two columns.
    Time,
    /// And its derivatives by onset and by the dispersion of the peak: three columns.
    TimeDispersion,
}

impl Derivatives {
    /// Kernels per feature: 1, 2 or 3.
    pub fn n_kernels(self) -> usize {
        match self {
            Derivatives::None => 1,
            Derivatives::Time => 2,
            Derivatives::TimeDispersion => 3,
        }
    }
}

/// The constants of one double gamma.
#[derive(Debug, Clone, Copy)]
struct DoubleGamma {
    peak_s: f64,
    undershoot_s: f64,
    dispersion: f64,
    undershoot_dispersion: f64,
    ratio: f64,
}

impl DoubleGamma {
    fn own(shape: HrfShape) -> Self {
        match shape {
            HrfShape::Spm => DoubleGamma { ratio: 1.0 / 6.0, ..DoubleGamma::nilearn(shape) },
            HrfShape::Glover => DoubleGamma::nilearn(shape),
        }
    }

    fn nilearn(shape: HrfShape) -> Self {
        let (peak_s, undershoot_s, dispersion, ratio) = match shape {
            HrfShape::Spm => (6.0, 16.0, 1.0, 0.167),
            HrfShape::Glover => (6.0, 12.0, 0.9, 0.48),
        };
        DoubleGamma { peak_s, undershoot_s, dispersion, undershoot_dispersion: dispersion, ratio }
    }

    /// The response at the given times, `shift_s` later than the event, scaled to unit sum.
    fn sample(&self, times_s: &[f64], shift_s: f64) -> Vec<f64> {
        let mut h: Vec<f64> = times_s
            .iter()
            .map(|t| {
                let t = t - shift_s;
                gamma_density(t, self.peak_s / self.dispersion, self.dispersion)
                    - self.ratio
                        * gamma_density(
                            t,
                            self.undershoot_s / self.undershoot_dispersion,
                            self.undershoot_dispersion,
                        )
            })
            .collect();
        let sum: f64 = h.iter().sum();
        h.iter_mut().for_each(|x| *x /= sum);
        h
    }

    /// The response and the derivatives asked for, each on the given times.
    fn kernels(&self, times_s: &[f64], shift_s: f64, derivatives: Derivatives) -> Vec<Vec<f64>> {
        let base = self.sample(times_s, shift_s);
        let difference = |other: Vec<f64>, step: f64| -> Vec<f64> {
            base.iter().zip(other).map(|(a, b)| (a - b) / step).collect()
        };
        let mut kernels = Vec::with_capacity(3);
        let later = self.sample(times_s, shift_s + ONSET_STEP_S);
        let wider = DoubleGamma { dispersion: self.dispersion + DISPERSION_STEP, ..*self };
        let (time, dispersion) =
            (difference(later, ONSET_STEP_S), difference(wider.sample(times_s, shift_s), DISPERSION_STEP));
        kernels.push(base);
        if derivatives != Derivatives::None {
            kernels.push(time);
        }
        if derivatives == Derivatives::TimeDispersion {
            kernels.push(dispersion);
        }
        kernels
    }
}

/// Kernels on the TR clock: the response first, then the derivatives asked for.
///
/// Entry `d` is the weight of the feature `d` TRs ago; the response's kernel sums to 1, those of the
/// derivatives to 0. Errors: `tr_s` not in (0, 32).
pub fn tr_kernels(shape: HrfShape, derivatives: Derivatives, tr_s: f64) -> Result<Vec<Vec<f64>>> {
    check_tr(tr_s)?;
    let step_s = tr_s / STEPS_PER_TR as f64;
    let n_fine = (SUPPORT_S / step_s).floor() as usize + 1;
    let times: Vec<f64> = (0..n_fine).map(|i| i as f64 * step_s).collect();
    Ok(on_tr_clock(&DoubleGamma::own(shape).kernels(&times, 0.0, derivatives), STEPS_PER_TR))
}

/// Hold a feature for `steps` fine steps, convolve, read at the start of each TR: one kernel per response.
fn on_tr_clock(fine: &[Vec<f64>], steps: usize) -> Vec<Vec<f64>> {
    let held = |h: &Vec<f64>, d: usize| -> f64 {
        (0..steps).filter_map(|j| (d * steps).checked_sub(j).and_then(|at| h.get(at))).sum()
    };
    fine.iter().map(|h| (0..=(h.len() - 1).div_ceil(steps)).map(|d| held(h, d)).collect()).collect()
}

/// As [`tr_kernels`], with the numerics of nilearn's `compute_regressor` ([`nilearn_kernel`], 50 steps per
/// TR, 32 s) for a condition that begins and ends with a TR. Derivatives are not made orthogonal to the
/// response, which nilearn does afterwards over all samples of a design.
///
/// Errors: `tr_s` not in (0, 32).
pub fn nilearn_tr_kernels(shape: HrfShape, derivatives: Derivatives, tr_s: f64) -> Result<Vec<Vec<f64>>> {
    let fine = nilearn_kernel(shape, derivatives, tr_s, NILEARN_STEPS_PER_TR, SUPPORT_S)?;
    Ok(on_tr_clock(&fine, NILEARN_STEPS_PER_TR))
}

/// The kernels that nilearn computes, for comparison with its designs.
///
/// The grid is `linspace(0, time_length_s, round(time_length_s / dt))` with `dt = tr_s / oversampling`,
/// the densities start at `dt`, the SPM ratio is 0.167, and the derivative by dispersion is of a response
/// whose undershoot has dispersion 1. The response sums to 1 over its grid.
/// Errors: a TR, length or oversampling that leaves fewer than 2 points.
pub fn nilearn_kernel(
    shape: HrfShape,
    derivatives: Derivatives,
    tr_s: f64,
    oversampling: usize,
    time_length_s: f64,
) -> Result<Vec<Vec<f64>>> {
    check_tr(tr_s)?;
    let step_s = tr_s / oversampling.max(1) as f64;
    let n = (time_length_s / step_s).round_ties_even();
    if oversampling == 0 || !n.is_finite() || !(2.0..1e7).contains(&n) {
        return Err(Error::Invalid {
            what: "time_length_s and oversampling".into(),
            expected: "a grid of at least 2 points".into(),
            found: format!("{time_length_s} s at {oversampling} steps per TR of {tr_s} s"),
            hint: "nilearn's defaults are 32 s and 50 steps".into(),
        });
    }
    let n = n as usize;
    let times: Vec<f64> = (0..n).map(|i| time_length_s * i as f64 / (n - 1) as f64).collect();
    let response = DoubleGamma::nilearn(shape);
    let mut kernels = response.kernels(&times, step_s, derivatives);
    if let Some(dispersion) = kernels.get_mut(2) {
        // nilearn widens a response whose undershoot has dispersion 1, whatever the shape.
        let widened = DoubleGamma { undershoot_dispersion: 1.0, ..response };
        *dispersion = widened.kernels(&times, step_s, derivatives).swap_remove(2);
    }
    Ok(kernels)
}

/// Convolve every column with each kernel, run by run: column `k · n_columns + j` is feature `j` with
/// kernel `k`. Before a run's first sample the feature is 0.
pub fn convolve(features: MatRef<f64>, runs: &Runs, kernels: &[Vec<f64>]) -> Result<Mat<f64>> {
    check_rows(features, runs)?;
    let q = features.ncols();
    let mut out = Mat::zeros(features.nrows(), q * kernels.len());
    for (k, kernel) in kernels.iter().enumerate() {
        for j in 0..q {
            for range in runs.ranges() {
                for t in range.clone() {
                    let reach = kernel.len().min(t - range.start + 1);
                    out[(t, k * q + j)] = (0..reach).map(|d| kernel[d] * features[(t - d, j)]).sum();
                }
            }
        }
    }
    Ok(out)
}

pub(super) fn check_tr(tr_s: f64) -> Result<()> {
    if tr_s > 0.0 && tr_s < SUPPORT_S {
        return Ok(());
    }
    Err(Error::Invalid {
        what: "tr_s".into(),
        expected: "a repetition time between 0 and 32 seconds".into(),
        found: format!("{tr_s}"),
        hint: "give seconds, not milliseconds".into(),
    })
}

pub(super) fn check_rows(features: MatRef<f64>, runs: &Runs) -> Result<()> {
    if features.nrows() == runs.n_samples() {
        return Ok(());
    }
    Err(Error::Shape {
        what: "features".into(),
        expected: format!("{} rows (one per sample of `runs`)", runs.n_samples()),
        found: format!("{} rows", features.nrows()),
        hint: "give the runs of the same samples, in the same order".into(),
    })
}

/// Density of the gamma distribution with this shape and scale; 0 for t ≤ 0 (all shapes here exceed 1).
fn gamma_density(t: f64, shape: f64, scale: f64) -> f64 {
    if t <= 0.0 {
        return 0.0;
    }
    let x = t / scale;
    ((shape - 1.0) * x.ln() - x - ln_gamma(shape)).exp() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            assert!((a - b).abs() < tolerance, "entry {i}: {a} is not {b}");
        }
    }

    #[test]
    fn nilearn_numerics_give_nilearns_check_values() {
        // specs: nfas-dmd 8.3, TR = 2 s, oversampling 1, 20 s, three printed decimals.
        let spm = nilearn_kernel(HrfShape::Spm, Derivatives::None, 2.0, 1, 20.0).unwrap();
        close(&spm[0], &[0.0, 0.0, 0.161, 0.443, 0.335, 0.139, 0.022, -0.028, -0.040, -0.033], 6e-4);
        let glover = nilearn_kernel(HrfShape::Glover, Derivatives::None, 2.0, 1, 20.0).unwrap();
        close(&glover[0], &[0.0, 0.0, 0.226, 0.741, 0.500, 0.037, -0.181, -0.176, -0.103, -0.045], 6e-4);
    }

    #[test]
    fn a_constant_feature_keeps_its_value_once_settled() {
        for shape in [HrfShape::Spm, HrfShape::Glover] {
            for tr_s in [0.72, 1.5, 2.0] {
                let kernels = tr_kernels(shape, Derivatives::TimeDispersion, tr_s).unwrap();
                let sums: Vec<f64> = kernels.iter().map(|k| k.iter().sum()).collect();
                close(&sums, &[1.0, 0.0, 0.0], 1e-10);
            }
        }
    }

    #[test]
    fn the_spm_response_peaks_five_seconds_after_a_brief_event() {
        // g(t; 6, 1) has its mode at t = 5; the event fills the first TR, so add half a TR.
        let kernel = &tr_kernels(HrfShape::Spm, Derivatives::None, 0.5).unwrap()[0];
        let peak = (0..kernel.len()).max_by(|&a, &b| kernel[a].total_cmp(&kernel[b])).unwrap();
        assert!((peak as f64 * 0.5 - 5.25).abs() <= 0.5, "{peak}");
    }

    #[test]
    fn the_time_derivative_is_that_of_the_response() {
        // Slow twin: central difference of the fine response, on a grid of 0.01 s.
        let times: Vec<f64> = (0..3200).map(|i| i as f64 * 0.01).collect();
        let gamma = DoubleGamma::own(HrfShape::Glover);
        let kernels = gamma.kernels(&times, 0.0, Derivatives::Time);
        for i in (200..1500).step_by(100) {
            // The backward step of 0.1 s is centred 0.05 s earlier.
            let slope = (kernels[0][i + 1 - 5] - kernels[0][i - 1 - 5]) / 0.02;
            assert!(
                (kernels[1][i] - slope).abs() < 1e-5 + 2e-3 * slope.abs(),
                "{i}: {} {slope}",
                kernels[1][i]
            );
        }
    }

    #[test]
    fn convolution_by_hand_stays_within_its_run() {
        let names = ["a".to_string(), "b".to_string()];
        let runs = Runs::from_lengths(&names, &[3, 2]).unwrap();
        let x = Mat::from_fn(5, 1, |i, _| [1.0, 2.0, 3.0, 10.0, 20.0][i]);
        let y = convolve(x.as_ref(), &runs, &[vec![0.5, 0.25]]).unwrap();
        let found: Vec<f64> = (0..5).map(|i| y[(i, 0)]).collect();
        assert_eq!(found, [0.5, 1.25, 2.0, 5.0, 12.5]);
    }

    #[test]
    fn milliseconds_are_refused() {
        let error = tr_kernels(HrfShape::Spm, Derivatives::None, 2000.0).unwrap_err();
        assert!(error.to_string().contains("not milliseconds"), "{error}");
    }
}
