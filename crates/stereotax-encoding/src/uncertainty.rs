//! Ask whether predictive uncertainty is honest: coverage, width, likelihood and CRPS of Gaussian predictions.
//!
//! From T stochastic predictions ŷ_t (dropout passes, bootstrap refits, draws of a posterior) of n samples × m
//! units, and the residual variance σ² of each unit on a validation set,
//!
//! ```text
//! mean m = mean_t ŷ_t        epistemic v = var_t ŷ_t (divisor T − 1)        total τ² = v + σ²
//! interval at level p        m ± z τ,  z = Φ⁻¹((1 + p)/2)
//! NLL                        ½ ln(2π τ²) + (y − m)²/(2τ²)
//! CRPS (Gaussian)            τ [ u(2Φ(u) − 1) + 2φ(u) − 1/√π ],  u = (y − m)/τ
//! ```
//!
//! Coverage is the share of samples inside their interval: the calibration curve is coverage against level, and
//! the calibration error the mean |coverage − level| over it. NLL is in nats and, as CRPS and width, lower is
//! better; CRPS and width have the unit of the responses. Coverage over all units is marginal: one unit may be
//! far too sure and another not sure enough, so everything stands per unit too.
//!
//! Where τ² = 0 there is no likelihood; such a prediction is refused, not scored as infinitely bad.
//!
//! Source: Gal & Ghahramani 2016 (dropout); Gneiting & Raftery 2007 (CRPS); specs: alignment-methods B19.
//! Cost: O(n m (T + curve points)).

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::reduce::check_finite;
use stereotax_base::data::{Error, Result};
use stereotax_base::stats::summary::{mean, normal_cdf, normal_quantile};

/// Points of the calibration curve: levels 1/20 … 19/20.
const CURVE: usize = 20;

/// What a unit scores, and what all units score together.
#[derive(Debug, Clone, PartialEq)]
pub struct PerUnit {
    /// One value per unit.
    pub units: Vec<f64>,
    /// Mean over units.
    pub overall: f64,
}

/// How honest predictions are.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictiveUncertainty {
    /// m (n × m).
    pub mean: Mat<f64>,
    /// v (n × m).
    pub epistemic: Mat<f64>,
    /// v + σ² (n × m).
    pub total: Mat<f64>,
    /// Levels asked for.
    pub levels: Vec<f64>,
    /// Share of samples inside, per level.
    pub coverage: Vec<PerUnit>,
    /// Mean width 2zτ, per level.
    pub width: Vec<PerUnit>,
    /// Mean negative log-likelihood.
    pub nll: PerUnit,
    /// Mean CRPS.
    pub crps: PerUnit,
    /// Levels of the calibration curve.
    pub curve_levels: Vec<f64>,
    /// Coverage at those, over all units.
    pub curve: Vec<f64>,
    /// Mean |coverage − level| over the curve.
    pub calibration_error: PerUnit,
}

/// Judge T predictions (each n × m) of `truth` (n × m) with residual variances σ² (one per unit).
///
/// Errors: fewer than 2 predictions, different shapes, values that are not finite, levels outside (0, 1),
/// negative variances, a prediction without any variance (v + σ² = 0).
pub fn predictive_uncertainty(
    samples: &[MatRef<f64>],
    truth: MatRef<f64>,
    noise_variance: &[f64],
    levels: &[f64],
) -> Result<PredictiveUncertainty> {
    let t = samples.len();
    if t < 2 {
        return Err(Error::TooFew {
            what: "samples".into(),
            needed: "2 stochastic predictions".into(),
            found: t.to_string(),
            hint: "50 passes are customary; of a single prediction give mean and variance".into(),
        });
    }
    for sample in samples {
        same_shape("samples", *sample, truth)?;
        check_finite(*sample, "samples")?;
    }
    // By rows, as NumPy's arrays lie.
    let rows: Vec<(Vec<f64>, Vec<f64>)> = (0..truth.nrows())
        .into_par_iter()
        .map(|i| {
            // Differences from the first pass: passes that agree have no variance at all.
            let first: Vec<f64> = samples[0].row(i).iter().copied().collect();
            let mut shift = vec![0.0; first.len()];
            for sample in samples {
                let values = sample.row(i).iter().zip(&first);
                shift.iter_mut().zip(values).for_each(|(sum, (s, f))| *sum += s - f);
            }
            shift.iter_mut().for_each(|sum| *sum /= t as f64);
            let mut squares = vec![0.0; first.len()];
            for sample in samples {
                let values = sample.row(i).iter().zip(first.iter().zip(&shift));
                squares.iter_mut().zip(values).for_each(|(sum, (s, (f, d)))| *sum += (s - f - d).powi(2));
            }
            squares.iter_mut().for_each(|sum| *sum /= (t - 1) as f64);
            (first.iter().zip(&shift).map(|(f, d)| f + d).collect(), squares)
        })
        .collect();
    let mean = Mat::from_fn(truth.nrows(), truth.ncols(), |i, j| rows[i].0[j]);
    let epistemic = Mat::from_fn(truth.nrows(), truth.ncols(), |i, j| rows[i].1[j]);
    gaussian_uncertainty(mean.as_ref(), epistemic.as_ref(), truth, noise_variance, levels)
}

/// [`predictive_uncertainty`] of predictions that come as means and epistemic variances (a ridge posterior).
pub fn gaussian_uncertainty(
    mean_of: MatRef<f64>,
    epistemic: MatRef<f64>,
    truth: MatRef<f64>,
    noise_variance: &[f64],
    levels: &[f64],
) -> Result<PredictiveUncertainty> {
    check(mean_of, epistemic, truth, noise_variance, levels)?;
    let (n, m) = (truth.nrows(), truth.ncols());
    let total = Mat::from_fn(n, m, |i, j| epistemic[(i, j)] + noise_variance[j]);
    let certain = (0..m).flat_map(|j| (0..n).map(move |i| (i, j))).find(|&at| !(total[at] > 0.0));
    if let Some((row, column)) = certain {
        let count =
            (0..m).map(|j| total.col_as_slice(j).iter().filter(|v| **v == 0.0).count()).sum::<usize>();
        return Err(Error::Refused {
            what: format!("a prediction without variance (row {row}, column {column}; {count} in all)"),
            reason: "v + σ² = 0 has no likelihood".into(),
            hint: "switch dropout on while predicting, or pass the residual variance as `noise_variance`"
                .into(),
        });
    }
    let curve_levels: Vec<f64> = (1..CURVE).map(|k| k as f64 / CURVE as f64).collect();
    let z_of =
        |levels: &[f64]| -> Vec<f64> { levels.iter().map(|p| normal_quantile(0.5 * (1.0 + p))).collect() };
    let (z, z_curve) = (z_of(levels), z_of(&curve_levels));
    let units: Vec<Unit> = (0..m)
        .into_par_iter()
        .map(|j| {
            let tau: Vec<f64> = total.col_as_slice(j).iter().map(|v| v.sqrt()).collect();
            let u: Vec<f64> = (0..n).map(|i| (truth[(i, j)] - mean_of[(i, j)]) / tau[i]).collect();
            let inside = |z: &f64| u.iter().filter(|u| u.abs() <= *z).count() as f64 / n as f64;
            let half_log = 0.5 * (2.0 * std::f64::consts::PI).ln();
            Unit {
                coverage: z.iter().map(inside).collect(),
                width: z.iter().map(|z| 2.0 * z * mean(&tau)).collect(),
                nll: tau.iter().zip(&u).map(|(t, u)| half_log + t.ln() + 0.5 * u * u).sum::<f64>() / n as f64,
                crps: tau.iter().zip(&u).map(|(t, u)| t * standard_crps(*u)).sum::<f64>() / n as f64,
                curve: z_curve.iter().map(inside).collect(),
            }
        })
        .collect();
    let per_unit = |of: &dyn Fn(&Unit) -> f64| {
        let units: Vec<f64> = units.iter().map(of).collect();
        PerUnit { overall: mean(&units), units }
    };
    let off =
        |u: &Unit| mean(&u.curve.iter().zip(&curve_levels).map(|(c, p)| (c - p).abs()).collect::<Vec<_>>());
    let curve: Vec<f64> = (0..curve_levels.len()).map(|k| per_unit(&|u| u.curve[k]).overall).collect();
    let overall = off(&Unit { curve: curve.clone(), ..Unit::default() });
    Ok(PredictiveUncertainty {
        coverage: (0..levels.len()).map(|k| per_unit(&|u| u.coverage[k])).collect(),
        width: (0..levels.len()).map(|k| per_unit(&|u| u.width[k])).collect(),
        nll: per_unit(&|u| u.nll),
        crps: per_unit(&|u| u.crps),
        // Overall it is the error of the curve of all units, where opposite errors cancel.
        calibration_error: PerUnit { overall, ..per_unit(&off) },
        curve,
        curve_levels,
        levels: levels.to_vec(),
        mean: mean_of.to_owned(),
        epistemic: epistemic.to_owned(),
        total,
    })
}

#[derive(Default)]
struct Unit {
    coverage: Vec<f64>,
    width: Vec<f64>,
    nll: f64,
    crps: f64,
    curve: Vec<f64>,
}

/// CRPS of N(0, 1) at u.
fn standard_crps(u: f64) -> f64 {
    let pi = std::f64::consts::PI;
    let density = (-0.5 * u * u).exp() / (2.0 * pi).sqrt();
    u * (2.0 * normal_cdf(u) - 1.0) + 2.0 * density - 1.0 / pi.sqrt()
}

fn same_shape(what: &str, found: MatRef<f64>, truth: MatRef<f64>) -> Result<()> {
    if (found.nrows(), found.ncols()) == (truth.nrows(), truth.ncols()) {
        return Ok(());
    }
    Err(Error::Shape {
        what: what.into(),
        expected: format!("{} × {} values (as `truth`)", truth.nrows(), truth.ncols()),
        found: format!("{} × {}", found.nrows(), found.ncols()),
        hint: "predict the same samples and units".into(),
    })
}

fn check(
    mean: MatRef<f64>,
    epistemic: MatRef<f64>,
    truth: MatRef<f64>,
    noise_variance: &[f64],
    levels: &[f64],
) -> Result<()> {
    same_shape("mean", mean, truth)?;
    same_shape("variance", epistemic, truth)?;
    for (values, name) in [(truth, "truth"), (mean, "mean"), (epistemic, "variance")] {
        check_finite(values, name)?;
    }
    if truth.nrows() == 0 || truth.ncols() == 0 {
        return Err(Error::TooFew {
            what: "truth".into(),
            needed: "1 sample and 1 unit".into(),
            found: format!("{} × {}", truth.nrows(), truth.ncols()),
            hint: "pass held-out responses (samples × units)".into(),
        });
    }
    let negative = (0..truth.ncols()).any(|j| epistemic.col(j).iter().any(|v| *v < 0.0));
    let usable = noise_variance.iter().all(|v| *v >= 0.0 && v.is_finite());
    if noise_variance.len() != truth.ncols() || !usable || negative {
        return Err(Error::Invalid {
            what: "noise_variance".into(),
            expected: format!("{} variances, none of any kind below 0", truth.ncols()),
            found: if negative { "a negative `variance`".into() } else { format!("{noise_variance:?}") },
            hint: "pass variances, not standard deviations: one number, or one per unit".into(),
        });
    }
    if let Some(level) = levels.iter().find(|p| !(**p > 0.0 && **p < 1.0)) {
        return Err(Error::Invalid {
            what: "levels".into(),
            expected: "levels between 0 and 1".into(),
            found: level.to_string(),
            hint: "0.95 stands for 95 %".into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    const LEVELS: [f64; 4] = [0.5, 0.8, 0.9, 0.95];

    /// Predictions N(μ, spread²) of truths μ + N(0, 1), both units; T passes.
    fn passes(n: usize, t: usize, spread: f64) -> (Vec<Mat<f64>>, Mat<f64>) {
        let mut stream = Stream::new(1, "uncertainty tests", 0);
        let centre = Mat::from_fn(n, 2, |_, _| 3.0 * stream.normal());
        let truth = Mat::from_fn(n, 2, |i, j| centre[(i, j)] + stream.normal());
        let samples =
            (0..t).map(|_| Mat::from_fn(n, 2, |i, j| centre[(i, j)] + spread * stream.normal())).collect();
        (samples, truth)
    }

    fn judge(samples: &[Mat<f64>], truth: &Mat<f64>, noise: f64) -> PredictiveUncertainty {
        let views: Vec<_> = samples.iter().map(Mat::as_ref).collect();
        predictive_uncertainty(&views, truth.as_ref(), &[noise, noise], &LEVELS).unwrap()
    }

    #[test]
    fn by_hand() {
        // Passes 1 and 3 of a truth of 3: m = 2, v = 2, σ² = 2: τ = 2, u = ½.
        let of = |v: f64| Mat::full(1, 1, v);
        let (a, b, y) = (of(1.0), of(3.0), of(3.0));
        let found =
            predictive_uncertainty(&[a.as_ref(), b.as_ref()], y.as_ref(), &[2.0], &[0.5, 0.2]).unwrap();
        assert_eq!((found.mean[(0, 0)], found.epistemic[(0, 0)], found.total[(0, 0)]), (2.0, 2.0, 4.0));
        let nll = 0.5 * (2.0 * std::f64::consts::PI * 4.0).ln() + 1.0 / 8.0;
        assert!((found.nll.overall - nll).abs() < 1e-14);
        // Φ(.5) = .6914625, φ(.5) = .3520653: 2[.5 · .382925 + .7041307 − .5641896] = .6628075.
        assert!((found.crps.overall - 0.662_807_5).abs() < 1e-6, "{}", found.crps.overall);
        // 50 %: z = .67449 > ½ is inside, width 2.69796; 20 %: z = .25335 is outside.
        assert_eq!((found.coverage[0].overall, found.coverage[1].overall), (1.0, 0.0));
        assert!((found.width[0].overall - 2.697_959).abs() < 1e-5);
    }

    #[test]
    fn honest_predictions_cover_at_their_level_and_half_the_variance_covers_less() {
        let n = 20_000;
        let (samples, truth) = passes(n, 60, 0.5);
        // Passes scatter by .5 around the centre; truth by 1.
        let honest = judge(&samples, &truth, 0.75);
        for (level, coverage) in LEVELS.iter().zip(&honest.coverage) {
            for unit in coverage.units.iter().chain([&coverage.overall]) {
                assert!((unit - level).abs() < 2.0 / (n as f64).sqrt(), "{unit} at {level}");
            }
        }
        assert!(honest.calibration_error.overall < 0.01);
        let halved = judge(&samples, &truth, 0.25);
        // 2Φ(1.96/√2) − 1 = .8342.
        assert!((halved.coverage[3].overall - 0.8342).abs() < 0.01, "{}", halved.coverage[3].overall);
        assert!(halved.nll.overall > honest.nll.overall && halved.crps.overall > honest.crps.overall);
        assert!(halved.calibration_error.overall > 0.08);
        assert!(honest.curve.iter().zip(&halved.curve).all(|(a, b)| a > b));
    }

    #[test]
    fn crps_is_the_integral_of_its_definition() {
        for u in [-2.3, -0.4, 0.0, 1.1, 3.0] {
            let (step, from) = (1e-3, -9.0);
            let integral: f64 = (0..18_000)
                .map(|k| {
                    let x = from + (k as f64 + 0.5) * step;
                    step * (normal_cdf(x) - if x >= u { 1.0 } else { 0.0 }).powi(2)
                })
                .sum();
            assert!((standard_crps(u) - integral).abs() < 1e-3, "{u}");
        }
    }

    #[test]
    fn errors_of_units_may_cancel_overall_but_not_per_unit() {
        let (samples, truth) = passes(5000, 20, 0.5);
        let views: Vec<_> = samples.iter().map(Mat::as_ref).collect();
        let found = predictive_uncertainty(&views, truth.as_ref(), &[0.2, 2.5], &LEVELS).unwrap();
        assert!(found.calibration_error.units.iter().all(|e| *e > 0.08));
        assert!(found.calibration_error.overall < 0.04);
    }

    #[test]
    fn what_has_no_variance_is_refused_by_name() {
        let y = Mat::full(3, 2, 0.1);
        let same = [y.as_ref(), y.as_ref(), y.as_ref()];
        let refused =
            predictive_uncertainty(&same, y.as_ref(), &[0.0, 0.0], &LEVELS).unwrap_err().to_string();
        assert!(refused.contains("v + σ² = 0") && refused.contains("6 in all"), "{refused}");
        assert!(predictive_uncertainty(&same, y.as_ref(), &[0.1, 0.1], &LEVELS).is_ok());
        assert!(predictive_uncertainty(&same[..1], y.as_ref(), &[0.1, 0.1], &LEVELS).is_err());
        assert!(predictive_uncertainty(&same, y.as_ref(), &[0.1], &LEVELS).is_err());
        assert!(predictive_uncertainty(&same, y.as_ref(), &[0.1, -0.1], &LEVELS).is_err());
        assert!(predictive_uncertainty(&same, y.as_ref(), &[0.1, 0.1], &[95.0]).is_err());
        assert!(predictive_uncertainty(&same, y.get(..2, ..), &[0.1, 0.1], &LEVELS).is_err());
    }
}
