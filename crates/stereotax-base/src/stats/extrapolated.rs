//! Extrapolate a ceiling that grows with the number of subjects to as many subjects as one likes.
//!
//! ```text
//! v(x) = v0 (1 − exp(−x/τ0))       x subjects; v0 is the ceiling of infinitely many
//! ```
//!
//! Least squares over the values given (one per draw of subjects and number): for one τ, v0 is a ratio of
//! sums; τ is found on a grid over log τ from a tenth of the least x to a hundred times the largest, then by
//! golden section. Where the best τ is the largest of the grid the values do not level off: v0 is NaN, with a
//! reason. The interval resamples draws (rows), percentiles over those resamples that level off.
//!
//! Source: Schrimpf et al. 2021 (language benchmarks); specs: alignment-methods B6.3. Cost: O(draws · numbers) per fit.

use faer::MatRef;

use super::rng::Stream;
use super::summary::quantile;
use crate::data::{Error, Result};

/// An extrapolated ceiling.
#[derive(Debug, Clone, PartialEq)]
pub struct Extrapolated {
    /// v0; NaN where the values do not level off.
    pub ceiling: f64,
    /// τ0, in subjects.
    pub scale: f64,
    /// Lower end of the interval at 95 %; NaN without one.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Resamples that level off, of those drawn.
    pub n_defined: usize,
    /// Why there is no ceiling.
    pub reason: Option<String>,
}

/// Fit v(x) to `values` (draws × numbers of subjects; NaN for what is missing) at these numbers of subjects.
///
/// Errors: fewer than 2 different numbers, numbers that are not above 0, other shapes, no value at all.
pub fn extrapolated_ceiling(
    n_subjects: &[f64],
    values: MatRef<f64>,
    n_bootstraps: usize,
    seed: u64,
) -> Result<Extrapolated> {
    let mut different = n_subjects.to_vec();
    different.sort_by(f64::total_cmp);
    different.dedup();
    let good = n_subjects.iter().all(|x| *x > 0.0 && x.is_finite());
    if !good || different.len() < 2 || values.ncols() != n_subjects.len() || values.nrows() == 0 {
        return Err(Error::Invalid {
            what: "n_subjects".into(),
            expected: format!(
                "at least 2 different numbers above 0, one per column of {} values",
                values.ncols()
            ),
            found: format!("{n_subjects:?}"),
            hint: "give ceilings as draws × numbers of subjects".into(),
        });
    }
    let all: Vec<usize> = (0..values.nrows()).collect();
    let Some((ceiling, scale)) = fit(n_subjects, values, &all) else {
        return Ok(Extrapolated {
            ceiling: f64::NAN,
            scale: f64::NAN,
            lower: f64::NAN,
            upper: f64::NAN,
            n_defined: 0,
            reason: Some("the ceilings do not level off with the number of subjects".into()),
        });
    };
    // One draw resampled is itself: no interval.
    let n_bootstraps = if all.len() < 2 { 0 } else { n_bootstraps };
    let mut drawn: Vec<f64> = (0..n_bootstraps)
        .filter_map(|draw| {
            let mut stream = Stream::new(seed, "extrapolated ceiling", draw as u64);
            let rows: Vec<usize> = all.iter().map(|_| stream.below(all.len())).collect();
            fit(n_subjects, values, &rows).map(|found| found.0)
        })
        .collect();
    drawn.sort_by(f64::total_cmp);
    let end = |q: f64| if drawn.len() < 2 { f64::NAN } else { quantile(&drawn, q) };
    Ok(Extrapolated {
        ceiling,
        scale,
        lower: end(0.025),
        upper: end(0.975),
        n_defined: drawn.len(),
        reason: None,
    })
}

/// v0 and τ0; `None` where values do not level off.
fn fit(x: &[f64], values: MatRef<f64>, rows: &[usize]) -> Option<(f64, f64)> {
    // Sums per number of subjects are all that the error depends on.
    let sums: Vec<(f64, f64)> = (0..x.len())
        .map(|j| {
            let known = rows.iter().map(|&i| values[(i, j)]).filter(|v| v.is_finite());
            known.fold((0.0, 0.0), |(count, sum), v| (count + 1.0, sum + v))
        })
        .collect();
    let at = |log: f64| {
        let (mut fg, mut gg) = (0.0, 0.0);
        for (x, (count, sum)) in x.iter().zip(&sums) {
            let g = -(-x / log.exp()).exp_m1();
            fg += g * sum;
            gg += count * g * g;
        }
        // The error is Σ v² − (Σ v g)²/Σ g² for v0 = Σ v g/Σ g².
        (if gg > 0.0 { fg * fg.abs() / gg } else { f64::NEG_INFINITY }, fg / gg)
    };
    let least = x.iter().copied().fold(f64::INFINITY, f64::min);
    let most = x.iter().copied().fold(0.0, f64::max);
    let (low, high) = ((least / 10.0).ln(), (most * 100.0).ln());
    const STEPS: usize = 200;
    let place = |i: usize| low + (high - low) * i as f64 / STEPS as f64;
    let best = (0..=STEPS).fold(0, |best, i| if at(place(i)).0 > at(place(best)).0 { i } else { best });
    if best == STEPS {
        return None;
    }
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let (mut from, mut to) = (place(best.saturating_sub(1)), place(best + 1));
    for _ in 0..80 {
        let (a, b) = (to - golden * (to - from), from + golden * (to - from));
        if at(a).0 >= at(b).0 { to = b } else { from = a }
    }
    let log = 0.5 * (from + to);
    let ceiling = at(log).1;
    ceiling.is_finite().then_some((ceiling, log.exp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Mat;

    #[test]
    fn planted_curves_come_back() {
        let x = [2.0, 3.0, 4.0, 6.0, 8.0];
        let curve = |x: f64| 0.4 * (1.0 - (-x / 3.0).exp());
        let exact = Mat::from_fn(1, 5, |_, j| curve(x[j]));
        let found = extrapolated_ceiling(&x, exact.as_ref(), 100, 0).unwrap();
        assert!(found.lower.is_nan() && found.n_defined == 0);
        assert!((found.ceiling - 0.4).abs() < 1e-6 && (found.scale - 3.0).abs() < 1e-4, "{found:?}");
        let mut stream = Stream::new(53, "extrapolation tests", 0);
        let noisy = Mat::from_fn(60, 5, |i, j| {
            let value = curve(x[j]) + 0.03 * stream.normal();
            if i == 7 && j == 2 { f64::NAN } else { value }
        });
        let found = extrapolated_ceiling(&x, noisy.as_ref(), 200, 1).unwrap();
        assert!(found.lower < 0.4 && found.upper > 0.4 && found.upper - found.lower < 0.1, "{found:?}");
        assert_eq!(found, extrapolated_ceiling(&x, noisy.as_ref(), 200, 1).unwrap());
    }

    #[test]
    fn a_line_does_not_level_off() {
        let x = [2.0, 4.0, 8.0];
        let line = Mat::from_fn(2, 3, |_, j| 0.05 * x[j]);
        let found = extrapolated_ceiling(&x, line.as_ref(), 10, 0).unwrap();
        assert!(found.ceiling.is_nan() && found.reason.is_some());
        assert!(extrapolated_ceiling(&[2.0, 2.0], line.get(.., ..2), 0, 0).is_err());
    }
}
