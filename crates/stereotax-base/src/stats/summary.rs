//! Summarise numbers: means, spreads, quantiles, correlations, and the checks that come first.
//!
//! One rule of constancy for the whole crate's statistics stands in [`is_constant`]: a pattern whose
//! range is lost in the rounding of its own values has no correlation and no z-score.

use faer::MatRef;

use crate::data::{Error, Result};

/// Ranges below this multiple of the largest modulus are rounding, not variation.
const CONSTANT_BELOW: f64 = 64.0 * f64::EPSILON;

/// Whether `x` does not vary beyond the rounding of its values (an empty `x` does not vary).
pub fn is_constant(x: &[f64]) -> bool {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for &value in x {
        low = low.min(value);
        high = high.max(value);
    }
    x.is_empty() || high - low <= CONSTANT_BELOW * low.abs().max(high.abs())
}

/// Arithmetic mean; NaN of nothing.
pub fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

/// Variance with divisor n − 1, two passes; NaN for fewer than two numbers, exactly 0 for constants.
pub fn variance(x: &[f64]) -> f64 {
    if x.len() < 2 {
        return f64::NAN;
    }
    if is_constant(x) {
        return 0.0;
    }
    let centre = mean(x);
    x.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / (x.len() - 1) as f64
}

/// Standard deviation with divisor n − 1; see [`variance`].
pub fn sd(x: &[f64]) -> f64 {
    variance(x).sqrt()
}

/// Median of the numbers that are not NaN; NaN if there is none.
pub fn median(x: &[f64]) -> f64 {
    quantile(x, 0.5)
}

/// Quantile by linear interpolation (type 7) of the numbers that are not NaN; NaN if there is none.
///
/// `share` is in [0, 1]. Infinite values are kept: between a finite and an infinite neighbour the
/// nearer one is returned.
pub fn quantile(x: &[f64], share: f64) -> f64 {
    let mut sorted: Vec<f64> = x.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    quantile_of_sorted(&sorted, share)
}

/// [`quantile`] of numbers that are sorted already.
pub fn quantile_of_sorted(sorted: &[f64], share: f64) -> f64 {
    if sorted.is_empty() || share.is_nan() {
        return f64::NAN;
    }
    let position = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let part = position - below as f64;
    let (low, high) = (sorted[below], sorted[above]);
    if part == 0.0 || low == high {
        low
    } else if low.is_finite() && high.is_finite() {
        low + part * (high - low)
    } else if part < 0.5 {
        low
    } else {
        high
    }
}

/// Pearson correlation in [−1, 1]; NaN if either side is constant or shorter than 2.
///
/// Both sides must have the same length.
pub fn pearson(x: &[f64], y: &[f64]) -> f64 {
    debug_assert_eq!(x.len(), y.len(), "correlations need pairs");
    if x.len() < 2 || is_constant(x) || is_constant(y) {
        return f64::NAN;
    }
    let (mx, my) = (mean(x), mean(y));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        let (a, b) = (a - mx, b - my);
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0)
}

/// Average correlations through Fisher's z; NaN values are left out, and NaN of nothing is NaN.
///
/// r of exactly ±1 has an infinite z; it is held at the last number before ±1.
pub fn fisher_mean(correlations: &[f64]) -> f64 {
    let edge = 1.0 - f64::EPSILON / 2.0;
    let z: Vec<f64> =
        correlations.iter().filter(|r| !r.is_nan()).map(|r| r.clamp(-edge, edge).atanh()).collect();
    mean(&z).tanh()
}

/// Standard normal distribution function, to about 1e-15 (complementary error function by series and
/// continued fraction; Abramowitz & Stegun 26.2.10 and 26.2.14).
pub fn normal_cdf(x: f64) -> f64 {
    if x.is_nan() {
        return f64::NAN;
    }
    let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x.abs() < 3.0 {
        let (mut term, mut sum, mut k) = (x, x, 1.0);
        while term.abs() > 1e-17 * sum.abs() && term != 0.0 {
            k += 2.0;
            term *= x * x / k;
            sum += term;
        }
        return 0.5 + density * sum;
    }
    if x.is_infinite() {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let mut fraction = x.abs();
    for k in (1..=80).rev() {
        fraction = x.abs() + f64::from(k) / fraction;
    }
    let tail = density / fraction;
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// Standard normal quantile: the inverse of [`normal_cdf`], by bisection and Newton steps.
pub fn normal_quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p == 0.0 || p == 1.0 {
        return if p == 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let (mut low, mut high) = (-39.0, 39.0);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if normal_cdf(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// p = (1 + exceeding) / (1 + draws): the observed arrangement counts as one of the draws.
pub fn permutation_p(n_exceeding: usize, n_draws: usize) -> f64 {
    (1.0 + n_exceeding as f64) / (1.0 + n_draws as f64)
}

/// How far below the observed statistic a null value still counts as a tie: √ε·max(1, |observed|).
pub fn tie_tolerance(observed: f64) -> f64 {
    f64::EPSILON.sqrt() * observed.abs().max(1.0)
}

/// Refuse a matrix with a NaN or an infinity, naming the first in row order and counting all.
pub fn check_finite(what: &str, x: MatRef<f64>) -> Result<()> {
    let mut first = None;
    let mut count = 0;
    for i in 0..x.nrows() {
        for j in 0..x.ncols() {
            if !x[(i, j)].is_finite() {
                first = first.or(Some((i, j)));
                count += 1;
            }
        }
    }
    match first {
        None => Ok(()),
        Some((row, column)) => Err(Error::NotFinite {
            what: what.into(),
            row,
            column,
            count,
            hint: "drop or mask these values first".into(),
        }),
    }
}

/// One row as a vector.
pub fn row(x: MatRef<f64>, i: usize) -> Vec<f64> {
    (0..x.ncols()).map(|j| x[(i, j)]).collect()
}

/// One column as a vector.
pub fn column(x: MatRef<f64>, j: usize) -> Vec<f64> {
    (0..x.nrows()).map(|i| x[(i, j)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_by_hand() {
        assert_eq!(variance(&[1.0, 2.0, 3.0, 4.0]), 5.0 / 3.0);
        assert_eq!(median(&[3.0, f64::NAN, 1.0, 2.0]), 2.0);
        assert_eq!(quantile(&[0.0, 10.0, 20.0, 30.0], 0.25), 7.5);
        // Deviations (−1, 0, 1) and (−1, 1, 0): r = 1/2.
        assert!((pearson(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0]) - 0.5).abs() < 1e-15);
        assert!((fisher_mean(&[0.5, -0.5, f64::NAN])).abs() < 1e-15);
    }

    #[test]
    fn a_constant_has_no_correlation_and_no_spread() {
        let flat = [0.1; 7];
        assert!(pearson(&flat, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]).is_nan());
        assert_eq!(variance(&flat), 0.0);
        assert!(mean(&[]).is_nan() && median(&[f64::NAN]).is_nan());
    }

    #[test]
    fn the_normal_distribution_has_its_tabled_values() {
        // Values to 12 digits: Φ(1) = 0.841344746069, Φ(1.96) = 0.975002104852, Φ(−4) = 3.16712418331e-5.
        assert!((normal_cdf(1.0) - 0.841_344_746_069).abs() < 1e-12);
        assert!((normal_cdf(1.96) - 0.975_002_104_852).abs() < 1e-12);
        assert!((normal_cdf(-4.0) - 3.167_124_183_31e-5).abs() < 1e-16);
        assert!((normal_quantile(0.975) - 1.959_963_984_540).abs() < 1e-11);
        assert!((normal_quantile(1e-6) + 4.753_424_308_823).abs() < 1e-9);
    }
}
