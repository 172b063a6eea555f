//! Score predictions of single trials against what stimuli explain: the fraction of explainable variance explained.
//!
//! With y_tn the response to stimulus t in repeat n of N, ŷ_t its prediction,
//!
//! ```text
//! σ² = mean_t var_n(y_tn)      (divisor N − 1)
//! FEVe = 1 − (mean_tn (y_tn − ŷ_t)² − σ²)/(var_tn(y) − σ²)        FEV = (var − σ²)/var
//! ```
//!
//! FEVe is 1 for the expected response, 0 for the mean, negative for worse; it may exceed 1 by sampling. It is NaN
//! where FEV is below `least`: a ratio of what hardly is there.
//!
//! Source: Cadena et al. 2019; specs: alignment-methods B6.3. Cost: O(stimuli · repeats · units).

use faer::MatRef;

use super::summary::check_finite;
use crate::data::{Error, Result};

/// Per unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Feve {
    /// The fraction of explainable variance explained; NaN where `fev` is below the least.
    pub values: Vec<f64>,
    /// The share of the variance that is explainable; may be negative.
    pub fev: Vec<f64>,
}

/// FEVe of predictions (stimuli × units) for at least 2 repeats (each stimuli × units).
///
/// Errors: fewer than 2 repeats or stimuli, shapes that differ, values that are not finite.
pub fn feve(predicted: MatRef<f64>, repeats: &[MatRef<f64>], least: f64) -> Result<Feve> {
    let (n, n_units) = (predicted.nrows(), predicted.ncols());
    if repeats.len() < 2 || n < 2 {
        return Err(Error::TooFew {
            what: "repeats and stimuli".into(),
            needed: "2 of each".into(),
            found: format!("{} and {n}", repeats.len()),
            hint: "give the responses of every repeat by themselves".into(),
        });
    }
    check_finite("predicted", predicted)?;
    for (k, repeat) in repeats.iter().enumerate() {
        if (repeat.nrows(), repeat.ncols()) != (n, n_units) {
            return Err(Error::Shape {
                what: format!("repeat {k}"),
                expected: format!("{n} × {n_units} (as predicted)"),
                found: format!("{} × {}", repeat.nrows(), repeat.ncols()),
                hint: "stimuli and units must be the same in order".into(),
            });
        }
        check_finite(&format!("repeat {k}"), *repeat)?;
    }
    let n_repeats = repeats.len() as f64;
    let trials = n as f64 * n_repeats;
    let of_unit = |j: usize| {
        let mean = repeats.iter().map(|y| y.col(j).iter().sum::<f64>()).sum::<f64>() / trials;
        let (mut noise, mut error, mut total) = (0.0, 0.0, 0.0);
        for t in 0..n {
            let here = repeats.iter().map(|y| y[(t, j)]).sum::<f64>() / n_repeats;
            for y in repeats {
                noise += (y[(t, j)] - here).powi(2) / (n_repeats - 1.0) / n as f64;
                error += (y[(t, j)] - predicted[(t, j)]).powi(2) / trials;
                total += (y[(t, j)] - mean).powi(2) / trials;
            }
        }
        let fev = if total > 0.0 { (total - noise) / total } else { f64::NAN };
        (if fev >= least { 1.0 - (error - noise) / (total - noise) } else { f64::NAN }, fev)
    };
    let (values, fev) = (0..n_units).map(of_unit).unzip();
    Ok(Feve { values, fev })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;
    use faer::Mat;

    #[test]
    fn by_hand() {
        // Repeats (1, 3, 5) and (3, 5, 7): σ² = 2, mean 4, var = (9+1+1+1+1+9)/6 = 11/3.
        let a = Mat::from_fn(3, 1, |t, _| 1.0 + 2.0 * t as f64);
        let b = Mat::from_fn(3, 1, |t, _| 3.0 + 2.0 * t as f64);
        let repeats = [a.as_ref(), b.as_ref()];
        // At the means 2, 4, 6 the error is 1; at 4 it is the variance.
        let means = Mat::from_fn(3, 1, |t, _| 2.0 + 2.0 * t as f64);
        let found = feve(means.as_ref(), &repeats, 0.1).unwrap();
        assert!((found.fev[0] - 5.0 / 11.0).abs() < 1e-15);
        assert!((found.values[0] - (1.0 + 1.0 / (5.0 / 3.0))).abs() < 1e-14);
        let flat = feve(Mat::full(3, 1, 4.0).as_ref(), &repeats, 0.1).unwrap();
        assert!(flat.values[0].abs() < 1e-14);
        assert!(feve(means.as_ref(), &repeats, 0.5).unwrap().values[0].is_nan());
        assert!(feve(means.as_ref(), &repeats[..1], 0.1).is_err());
        // Nothing varies: there is no share to speak of, whatever the least.
        let still = Mat::full(3, 1, 4.0);
        let none = feve(still.as_ref(), &[still.as_ref(), still.as_ref()], -1.0).unwrap();
        assert!(none.fev[0].is_nan() && none.values[0].is_nan());
    }

    #[test]
    fn the_expected_response_has_1_whatever_the_noise() {
        let mut stream = Stream::new(47, "feve tests", 0);
        let signal = Mat::from_fn(4000, 1, |_, _| stream.normal());
        let repeats: Vec<Mat<f64>> =
            (0..3).map(|_| Mat::from_fn(4000, 1, |t, _| signal[(t, 0)] + 2.0 * stream.normal())).collect();
        let views: Vec<MatRef<f64>> = repeats.iter().map(|y| y.as_ref()).collect();
        let found = feve(signal.as_ref(), &views, 0.1).unwrap();
        assert!((found.values[0] - 1.0).abs() < 0.1 && (found.fev[0] - 0.2).abs() < 0.03, "{found:?}");
        let half = Mat::from_fn(4000, 1, |t, _| 0.5 * signal[(t, 0)]);
        assert!((feve(half.as_ref(), &views, 0.1).unwrap().values[0] - 0.75).abs() < 0.1);
    }
}
