//! Ranks with shared ties, and the comparisons that use them.

use super::{Undefined, linear};
use crate::linalg::dot;
use crate::stats::summary::is_constant;

/// Where values stand among all, equal values sharing one level: their order, and the level of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    /// Level of each value, 0 for the least.
    pub level: Vec<u32>,
    /// How many different values.
    pub n_levels: usize,
}

/// Sort once; NaN is not allowed.
pub fn levels(x: &[f64]) -> Levels {
    let mut order: Vec<(u64, u32)> = x.iter().enumerate().map(|(p, &v)| (sort_key(v), p as u32)).collect();
    order.sort_unstable();
    let mut level = vec![0; x.len()];
    let (mut at, mut before) = (0u32, order.first().map_or(0, |o| o.0));
    for &(key, p) in &order {
        if key != before {
            (at, before) = (at + 1, key);
        }
        level[p as usize] = at;
    }
    Levels { level, n_levels: if x.is_empty() { 0 } else { at as usize + 1 } }
}

/// Bits that sort as the numbers do; −0 is 0.
fn sort_key(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// Twice the midrank of each level when value p counts `weight[p]` times: 2·(weight below) + own weight + 1.
///
/// `members` lists (level, weight); the last entry of the answer is the total weight.
pub fn doubled_midranks(members: impl Iterator<Item = (u32, u32)>, n_levels: usize) -> (Vec<u32>, u64) {
    let mut counts = vec![0u32; n_levels];
    for (level, weight) in members {
        counts[level as usize] += weight;
    }
    let mut below = 0u32;
    for count in &mut counts {
        let own = *count;
        *count = 2 * below + own + 1;
        below += own;
    }
    (counts, u64::from(below))
}

/// Ranks from 1, equal values sharing their mean rank.
pub fn midranks(x: &[f64]) -> Vec<f64> {
    let Levels { level, n_levels } = levels(x);
    let (doubled, _) = doubled_midranks(level.iter().map(|&l| (l, 1)), n_levels);
    level.iter().map(|&l| f64::from(doubled[l as usize]) / 2.0).collect()
}

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
    use crate::stats::rng::Stream;

    #[test]
    fn ties_share_their_rank() {
        assert_eq!(midranks(&[3.0, -1.0, 3.0, 0.0, -0.0]), [4.5, 1.0, 4.5, 2.5, 2.5]);
        assert_eq!(levels(&[]).n_levels, 0);
    }

    #[test]
    fn weighted_midranks_are_those_of_copies() {
        let (x, weights) = ([2.0, 1.0, 2.0, 5.0], [2u32, 3, 1, 2]);
        let found = levels(&x);
        let (doubled, total) = doubled_midranks(found.level.iter().copied().zip(weights), found.n_levels);
        let copies = midranks(&[2.0, 2.0, 1.0, 1.0, 1.0, 2.0, 5.0, 5.0]);
        assert_eq!(total, 8);
        let ours: Vec<f64> = found.level.iter().map(|&l| f64::from(doubled[l as usize]) / 2.0).collect();
        assert_eq!(ours, [copies[0], copies[2], copies[5], copies[6]]);
    }

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
    fn an_increasing_function_changes_nothing() {
        let x = [0.3, 0.1, 0.9, 0.5, 0.1];
        let warped: Vec<f64> = x.iter().map(|v: &f64| v.exp() - 7.0).collect();
        assert_eq!(midranks(&x), midranks(&warped));
    }
}
