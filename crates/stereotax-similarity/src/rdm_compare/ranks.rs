//! The comparisons that rest on ranks with shared ties.
//!
//! With weights w of conditions a pair (i, j) counts w_i w_j times, and pairs of copies of one condition not at all: ranks
//! are midranks among all that is counted.

use super::{Undefined, linear};
use stereotax_base::linalg::dot;
use stereotax_base::stats::ranks::{Levels, levels, midranks};
use stereotax_base::stats::summary::is_constant;

/// Fewest pairs that a rank correlation means anything for.
const LEAST_PAIRS: usize = 3;

/// Correlation of midranks.
pub fn spearman(x: &[f64], y: &[f64]) -> Result<f64, Undefined> {
    linear::pearson(&midranks(x), &midranks(y))
}

/// As [`spearman`], over the pairs that both define, with weights of conditions.
pub fn spearman_of_pairs(x: &[f64], y: &[f64], weights: Option<&[f64]>) -> Result<f64, Undefined> {
    let kept: Vec<usize> = (0..x.len()).filter(|&at| !x[at].is_nan() && !y[at].is_nan()).collect();
    let of = |x: &[f64]| levels(&kept.iter().map(|&at| x[at]).collect::<Vec<_>>());
    let weights = weights.map(|w| {
        let of_pair = of_pairs(w);
        kept.iter().map(|&at| of_pair[at]).collect::<Vec<_>>()
    });
    of_sorted(&of(x), &of(y), weights.as_deref())
}

/// As [`spearman_of_pairs`], of dissimilarities that are all defined and were sorted before.
pub fn spearman_of_levels(x: &Levels, y: &Levels, weights: Option<&[f64]>) -> Result<f64, Undefined> {
    of_sorted(x, y, weights.map(of_pairs).as_deref())
}

/// How often each pair of conditions counts.
fn of_pairs(weights: &[f64]) -> Vec<f64> {
    let n = weights.len();
    let mut of_pair = Vec::with_capacity(n * n.saturating_sub(1) / 2);
    for (i, own) in weights.iter().enumerate() {
        of_pair.extend(weights[i + 1..].iter().map(|w| own * w));
    }
    of_pair
}

fn of_sorted(x: &Levels, y: &Levels, weights: Option<&[f64]>) -> Result<f64, Undefined> {
    let n_counted = weights.map_or(x.level.len(), |w| w.iter().filter(|&&w| w > 0.0).count());
    if n_counted < LEAST_PAIRS {
        return Err(Undefined::FewPairs);
    }
    match weights {
        None => linear::pearson(&x.midranks(), &y.midranks()),
        Some(w) => linear::weighted_pearson(&x.weighted_midranks(w), &y.weighted_midranks(w), w),
    }
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

    #[test]
    fn ranks_and_their_correlation_by_hand() {
        // Three stimuli: ranks (1, 2, 3) and (2, 1, 3): ρ = 1 − 6·2/(3·8) = 0.5.
        assert!((spearman_of_pairs(&[1.0, 2.0, 9.0], &[4.0, 3.0, 5.0], None).unwrap() - 0.5).abs() < 1e-15);
        let with_gap = [1.0, f64::NAN, 2.0, 9.0, 0.0, 7.0];
        let other = [4.0, 100.0, 3.0, 5.0, f64::NAN, 4.5];
        // Left: (1, 2, 9, 7) and (4, 3, 5, 4.5): ranks 1 2 4 3 and 2 1 4 3: 1 − 6·2/(4·15) = 0.8.
        assert!((spearman_of_pairs(&with_gap, &other, None).unwrap() - 0.8).abs() < 1e-15);
        assert!(spearman_of_pairs(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0], None) == Err(Undefined::Constant));
    }

    #[test]
    fn weights_are_copies_without_pairs_of_copies() {
        let x = [0.3, 1.2, 0.7, 2.0, 0.1, 1.5, 0.9, 1.1, 0.7, 0.2];
        let y = [0.5, 1.0, 0.7, 1.0, 0.4, 2.5, 0.3, 0.2, 1.7, 0.8];
        let weights = [2.0, 1.0, 0.0, 3.0, 1.0];
        let (mut left, mut right) = (vec![], vec![]);
        let mut at = 0;
        for i in 0..5 {
            for j in i + 1..5 {
                for _ in 0..(weights[i] * weights[j]) as usize {
                    left.push(x[at]);
                    right.push(y[at]);
                }
                at += 1;
            }
        }
        let expected = spearman(&left, &right).unwrap();
        assert!((spearman_of_pairs(&x, &y, Some(&weights)).unwrap() - expected).abs() < 1e-14);
        let sorted = spearman_of_levels(&levels(&x), &levels(&y), Some(&weights)).unwrap();
        assert!((sorted - expected).abs() < 1e-14);
        let ones = [1.0; 5];
        let plain = spearman_of_pairs(&x, &y, None).unwrap();
        assert!((spearman_of_pairs(&x, &y, Some(&ones)).unwrap() - plain).abs() < 1e-14);
    }
}
