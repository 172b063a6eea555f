//! Compare all pairs of groups by Tukey's honest significant difference.
//!
//! For groups c of sizes n_c with means m_c, and MS_W = SS_W/(N − g) of the one-way analysis of variance,
//!
//! ```text
//! q_ab = |m_a − m_b| / √(MS_W/2 · (1/n_a + 1/n_b)),   p_ab = P(Q ≥ q_ab)
//! ```
//!
//! with Q the studentised range of g normal values with N − g degrees of freedom: the chance that the
//! largest of all differences is this large where no group differs, so p needs no further adjustment
//! (exact for equal sizes, conservative otherwise: Tukey–Kramer). It supposes independent normal values of
//! equal variance; where values come in families, permutation p-values with Holm's method are the safer
//! ones.
//!
//! ```text
//! P(Q ≤ q) = ∫ f(s) W(q s) ds,   W(w) = g ∫ φ(z) (Φ(z) − Φ(z − w))^(g−1) dz,   f: density of √(χ²_ν/ν)
//! ```
//!
//! Both integrals are trapezoidal sums, in z and in ln s: the integrands are smooth and vanish at both ends
//! faster than exponentially or exponentially, so that the sums converge geometrically (absolute error
//! about 1e-12).
//! Source: Tukey 1949; Kramer 1956; specs: nfas-dmd 11.5. Cost: 7·10⁴ normal probabilities per pair.

use super::summary::{is_constant, mean, normal_cdf};
use crate::data::{Error, Labels, Result};

/// The comparison of two groups.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TukeyPair {
    /// Name of the first group.
    pub first: String,
    /// Name of the second group.
    pub second: String,
    /// Mean of the first minus mean of the second.
    pub difference: f64,
    /// Studentised difference, ≥ 0; NaN if no value differs, ∞ if values differ between groups only.
    pub q: f64,
    /// P(Q ≥ q), adjusted over all pairs; NaN where q is.
    pub p_adjusted: f64,
}

/// Every pair of groups, in the order of their names.
///
/// Errors: a value that is not finite, labels that do not match, fewer than two groups, no more values than
/// groups.
pub fn tukey(values: &[f64], labels: &Labels) -> Result<Vec<TukeyPair>> {
    labels.check_for_test("labels", values.len())?;
    let (n, g) = (values.len(), labels.n_groups());
    if let Some(row) = values.iter().position(|v| !v.is_finite()) {
        return Err(Error::NotFinite {
            what: "values".into(),
            row,
            column: 0,
            count: values.iter().filter(|v| !v.is_finite()).count(),
            hint: "leave undefined values out".into(),
        });
    }
    if n <= g {
        return Err(Error::TooFew {
            what: "values".into(),
            needed: format!("{} values (more than groups)", g + 1),
            found: format!("{n} values"),
            hint: "a spread within groups needs a group with two values".into(),
        });
    }
    let members: Vec<Vec<f64>> =
        (0..g).map(|c| labels.members(c).iter().map(|&i| values[i]).collect()).collect();
    let means: Vec<f64> = members.iter().map(|m| mean(m)).collect();
    let within: f64 =
        members.iter().zip(&means).map(|(m, c)| m.iter().map(|v| (v - c).powi(2)).sum::<f64>()).sum();
    // A group without spread has a rounded mean: its squares are no spread.
    let within = if members.iter().all(|m| is_constant(m)) { 0.0 } else { within };
    let (df, flat) = (n - g, is_constant(values));
    let mean_square = within / df as f64;
    let mut pairs = Vec::new();
    for first in 0..g {
        for second in first + 1..g {
            let difference = means[first] - means[second];
            let share = 1.0 / members[first].len() as f64 + 1.0 / members[second].len() as f64;
            let q = match (flat, difference == 0.0) {
                (true, _) => f64::NAN,
                (_, true) => 0.0,
                _ => difference.abs() / (0.5 * mean_square * share).sqrt(),
            };
            pairs.push(TukeyPair {
                first: labels.names()[first].clone(),
                second: labels.names()[second].clone(),
                difference,
                q,
                p_adjusted: studentised_range_tail(q, g, df),
            });
        }
    }
    Ok(pairs)
}

/// P(Q ≥ q) for the studentised range of `n_groups` values with `df` degrees of freedom; NaN where q is,
/// or for fewer than 2 groups or no degree of freedom.
pub fn studentised_range_tail(q: f64, n_groups: usize, df: usize) -> f64 {
    const STEPS: usize = 400;
    if q.is_nan() || n_groups < 2 || df == 0 {
        return f64::NAN;
    }
    if q <= 0.0 {
        return 1.0;
    }
    if q.is_infinite() {
        return 0.0;
    }
    let nu = df as f64;
    // Where the density of ln s, exp(ν(t − e^{2t}/2)) up to a factor, is above e^-40 of its peak at t = 0.
    let reach = (40.0 / nu).sqrt();
    let (low, high) = (-(40.0 / nu + reach), reach);
    let range = NormalRange::new(n_groups);
    let (mut tail, mut total) = (0.0, 0.0);
    for step in 0..=STEPS {
        let t = low + (high - low) * step as f64 / STEPS as f64;
        let weight = (nu * (t - 0.5 * ((2.0 * t).exp() - 1.0))).exp();
        tail += weight * range.tail(q * t.exp());
        total += weight;
    }
    (tail / total).clamp(0.0, 1.0)
}

/// The range of several standard normal values.
struct NormalRange {
    n_groups: usize,
    /// Places, their weights (density times step) and their distribution function.
    nodes: Vec<(f64, f64, f64)>,
}

impl NormalRange {
    fn new(n_groups: usize) -> Self {
        const HALF_WIDTH: f64 = 8.5;
        const STEP: f64 = 0.1;
        let n = (2.0 * HALF_WIDTH / STEP).round() as usize;
        let nodes = (0..=n)
            .map(|i| {
                let z = -HALF_WIDTH + STEP * i as f64;
                (z, STEP * (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt(), normal_cdf(z))
            })
            .collect();
        NormalRange { n_groups, nodes }
    }

    /// 1 − W(w).
    fn tail(&self, w: f64) -> f64 {
        let (k, power) = (self.n_groups as f64, self.n_groups as i32 - 1);
        let inside: f64 = self
            .nodes
            .iter()
            .map(|&(z, weight, below)| weight * (below - normal_cdf(z - w)).max(0.0).powi(power))
            .sum();
        1.0 - k * inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_groups_are_a_t_test() {
        // With two groups Q = √2·|t|. With 2 degrees of freedom P(|T| > t) = 1 − t/√(2 + t²).
        for t in [0.1, 1.0, 2.5, 8.0] {
            let exact = 1.0 - t / (2.0f64 + t * t).sqrt();
            let found = studentised_range_tail(2f64.sqrt() * t, 2, 2);
            assert!((found - exact).abs() < 1e-12, "t = {t}: {found} {exact}");
        }
        // With one degree of freedom the Cauchy tail, 1 − 2·atan(t)/π.
        let exact = 1.0 - 2.0 * 3f64.atan() / std::f64::consts::PI;
        assert!((studentised_range_tail(18f64.sqrt(), 2, 1) - exact).abs() < 1e-12);
    }

    #[test]
    fn pairs_by_hand() {
        // 1, 2, 3 | 5, 6, 7 | 3, 4, 5: MS_W = 6/6 = 1, q = difference·√3.
        let labels = Labels::new(&["a", "a", "a", "b", "b", "b", "c", "c", "c"]);
        let values = [1.0, 2.0, 3.0, 5.0, 6.0, 7.0, 3.0, 4.0, 5.0];
        let found = tukey(&values, &labels).unwrap();
        let differences: Vec<f64> = found.iter().map(|p| p.difference).collect();
        assert_eq!(differences, [-4.0, -2.0, 2.0]);
        assert!((found[0].q - 4.0 * 3f64.sqrt()).abs() < 1e-12);
        // Tables: the upper 5 % point of Q for 3 groups and 6 degrees of freedom is 4.339.
        assert!((studentised_range_tail(4.339, 3, 6) - 0.05).abs() < 2e-5);
        assert!(found[0].p_adjusted < 0.01 && found[1].p_adjusted > 0.05);
    }

    #[test]
    fn edges_are_words_not_numbers() {
        let labels = Labels::new(&["a", "a", "b", "b"]);
        assert!(tukey(&[0.1; 4], &labels).unwrap()[0].p_adjusted.is_nan());
        let apart = &tukey(&[0.1, 0.1, 0.3, 0.3], &labels).unwrap()[0];
        assert_eq!((apart.q, apart.p_adjusted), (f64::INFINITY, 0.0));
        assert!(tukey(&[0.1, f64::NAN, 0.3, 0.3], &labels).is_err());
        assert!(tukey(&[0.1, 0.2], &Labels::new(&["a", "b"])).is_err());
        assert_eq!(studentised_range_tail(0.0, 3, 5), 1.0);
    }
}
