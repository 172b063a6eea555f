//! Rank correlation of the distances of all pairs of stimuli: the simplest form of representational similarity
//! analysis, as one of the measures of a pair.
//!
//! Spearman's ρ with midranks of ties, over pairs that both sides have (a pattern that is constant over units has no
//! correlation distance; its pairs are left out). With weights of stimuli a pair (i, j) counts w_i w_j times, pairs of
//! copies of one stimulus not at all: ranks are midranks among all that is counted.
//!
//! Source: specs: encoding-manifolds 6.2. Range [−1, 1]. Undefined (NaN): fewer than 3 pairs, or no variation of
//! distances. Cost: O(n² log n).

use stereotax_base::stats::ranks::{Levels, levels};
use stereotax_base::stats::summary::pearson;

/// Fewest pairs that a rank correlation means anything for.
const LEAST_PAIRS: usize = 3;

/// Spearman's ρ of condensed distances; `weights` of stimuli, 1 each without.
pub fn rank_correlation(x: &[f64], y: &[f64], weights: Option<&[f64]>) -> f64 {
    let kept: Vec<usize> = (0..x.len()).filter(|&at| !x[at].is_nan() && !y[at].is_nan()).collect();
    let of = |x: &[f64]| levels(&kept.iter().map(|&at| x[at]).collect::<Vec<_>>());
    let weights = weights.map(|w| {
        let of_pair = of_pairs(w);
        kept.iter().map(|&at| of_pair[at]).collect::<Vec<_>>()
    });
    of_sorted(&of(x), &of(y), weights.as_deref())
}

/// As [`rank_correlation`], of distances that are all defined and were sorted before.
pub(super) fn rank_correlation_of_levels(x: &Levels, y: &Levels, weights: Option<&[f64]>) -> f64 {
    of_sorted(x, y, weights.map(of_pairs).as_deref())
}

/// How often each pair of stimuli counts.
fn of_pairs(weights: &[f64]) -> Vec<f64> {
    let n = weights.len();
    let mut of_pair = Vec::with_capacity(n * n.saturating_sub(1) / 2);
    for (i, own) in weights.iter().enumerate() {
        of_pair.extend(weights[i + 1..].iter().map(|w| own * w));
    }
    of_pair
}

fn of_sorted(x: &Levels, y: &Levels, weights: Option<&[f64]>) -> f64 {
    let n_counted = weights.map_or(x.level.len(), |w| w.iter().filter(|&&w| w > 0.0).count());
    if n_counted < LEAST_PAIRS {
        return f64::NAN;
    }
    match weights {
        None => pearson(&x.midranks(), &y.midranks()),
        Some(w) => weighted_pearson(&x.weighted_midranks(w), &y.weighted_midranks(w), w),
    }
}

fn weighted_pearson(x: &[f64], y: &[f64], weights: &[f64]) -> f64 {
    let total: f64 = weights.iter().sum();
    let mean = |x: &[f64]| x.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>() / total;
    let (mx, my) = (mean(x), mean(y));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for ((x, y), w) in x.iter().zip(y).zip(weights) {
        let (x, y) = (x - mx, y - my);
        xx += w * x * x;
        yy += w * y * y;
        xy += w * x * y;
    }
    if xx > 0.0 && yy > 0.0 { (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0) } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::ranks::midranks;

    #[test]
    fn ranks_and_their_correlation_by_hand() {
        // Three stimuli: ranks (1, 2, 3) and (2, 1, 3): ρ = 1 − 6·2/(3·8) = 0.5.
        assert!((rank_correlation(&[1.0, 2.0, 9.0], &[4.0, 3.0, 5.0], None) - 0.5).abs() < 1e-15);
        let with_gap = [1.0, f64::NAN, 2.0, 9.0, 0.0, 7.0];
        let other = [4.0, 100.0, 3.0, 5.0, f64::NAN, 4.5];
        // Left: (1, 2, 9, 7) and (4, 3, 5, 4.5): ranks 1 2 4 3 and 2 1 4 3: 1 − 6·2/(4·15) = 0.8.
        assert!((rank_correlation(&with_gap, &other, None) - 0.8).abs() < 1e-15);
        assert!(rank_correlation(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0], None).is_nan());
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
        let expected = pearson(&midranks(&left), &midranks(&right));
        assert!((rank_correlation(&x, &y, Some(&weights)) - expected).abs() < 1e-14);
        let sorted = rank_correlation_of_levels(&levels(&x), &levels(&y), Some(&weights));
        assert!((sorted - expected).abs() < 1e-14);
        let ones = [1.0; 5];
        let plain = rank_correlation(&x, &y, None);
        assert!((rank_correlation(&x, &y, Some(&ones)) - plain).abs() < 1e-14);
    }
}
