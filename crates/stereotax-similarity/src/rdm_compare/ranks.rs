//! The comparisons that rest on ranks with shared ties.

use super::{Undefined, linear};
use stereotax_base::linalg::dot;
use stereotax_base::stats::ranks::midranks;
use stereotax_base::stats::summary::is_constant;

/// Correlation of midranks.
pub fn spearman(x: &[f64], y: &[f64]) -> Result<f64, Undefined> {
    linear::pearson(&midranks(x), &midranks(y))
}

/// Midranks less their mean, scaled so that the inner product of two such vectors is ρ-a.
pub fn rho_a_unit(x: &[f64]) -> Result<Vec<f64>, Undefined> {
    if is_constant(x) {
        return Err(Undefined::Constant);
    }
    let m = x.len() as f64;
    let scale = (12.0 / (m * m * m - m)).sqrt();
    Ok(midranks(x).into_iter().map(|r| (r - (m + 1.0) / 2.0) * scale).collect())
}

/// Spearman's coefficient expected over random breaking of ties: 12 Σ (r − r̄)(q − q̄) / (m³ − m).
///
/// A rank expected over the orders of a tie is the midrank, and the two RDMs' ties are broken independently; the
/// denominator is that of ranks without ties. Source: Schütt et al. 2023.
pub fn rho_a(x: &[f64], y: &[f64]) -> Result<f64, Undefined> {
    Ok(dot(&rho_a_unit(x)?, &rho_a_unit(y)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    #[test]
    fn rho_a_is_the_mean_of_spearman_over_broken_ties() {
        let (x, y) = ([1.0, 1.0, 2.0, 2.0, 3.0, 2.0], [4.0, 1.0, 1.0, 6.0, 5.0, 6.0]);
        let mut stream = Stream::new(1, "ties", 0);
        let mut broken = |x: &[f64]| -> Vec<f64> { x.iter().map(|v| v + 0.1 * stream.uniform()).collect() };
        let n = 40_000;
        let mean = (0..n).map(|_| spearman(&broken(&x), &broken(&y)).unwrap()).sum::<f64>() / f64::from(n);
        // The standard error is about 0.0008.
        assert!((rho_a(&x, &y).unwrap() - mean).abs() < 0.004, "{mean}");
        // By hand: 12 Σ/(6³ − 6) with r = (1.5, 1.5, 4, 4, 6, 4), q = (3, 1.5, 1.5, 5.5, 4, 5.5), Σ r q − 6·3.5² = 7.25.
        assert!((rho_a(&x, &y).unwrap() - 12.0 * 7.25 / 210.0).abs() < 1e-15);
        assert!(spearman(&x, &y).unwrap() > rho_a(&x, &y).unwrap());
    }
}
