//! Ask whether a measure orders areas as experiments do.
//!
//! ```text
//! τ_b = (concordant − discordant)/√((n₀ − n₁)(n₀ − n₂)),  n₀ = n(n − 1)/2, n₁ and n₂ the pairs tied on each side
//! slope = Σ (h − h̄)(m − m̄)/Σ (h − h̄)²                    of the measure m over the hierarchy h
//! ```
//!
//! p-values are two-sided, from all n! orders of the measure for up to 8 areas (the observed one among them), else
//! from random ones, p = (1 + #)/(1 + draws). With four areas no p is below 1/24, or 1/12 for two sides.
//!
//! Source: Kendall 1945; specs: alignment-methods B7. Cost: O(n! n²) for up to 8 areas.

use super::area_layers::permutations;
use stereotax_base::data::{Error, Result};
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::{is_constant, mean, permutation_p, tie_tolerance};

/// Up to this many areas all orders are gone through.
const EXACT: usize = 8;

/// Agreement of two orders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrderAgreement {
    /// In [−1, 1]; NaN where a side is all ties.
    pub tau_b: f64,
    /// Two-sided.
    pub p_tau: f64,
    /// In units of the measure per unit of the hierarchy.
    pub slope: f64,
    /// Two-sided.
    pub p_slope: f64,
    /// Orders that p-values come from.
    pub n_orders: usize,
    /// Whether these are all.
    pub exact: bool,
}

/// Compare a measure of areas with their place in a hierarchy.
///
/// Errors: different lengths, fewer than 3 areas, values that are not finite.
pub fn order_agreement(
    measure: &[f64],
    hierarchy: &[f64],
    n_draws: usize,
    seed: u64,
) -> Result<OrderAgreement> {
    let finite = measure.iter().chain(hierarchy).all(|v| v.is_finite());
    let n = measure.len();
    if n != hierarchy.len() || n < 3 || !finite {
        return Err(Error::Invalid {
            what: "measure, hierarchy".into(),
            expected: "one finite number per area in both, for 3 areas or more".into(),
            found: format!("{measure:?} and {hierarchy:?}"),
            hint: "order areas alike in both".into(),
        });
    }
    let exact = n <= EXACT;
    let orders: Vec<Vec<usize>> = if exact {
        permutations(n)
    } else {
        (0..n_draws).map(|k| Stream::new(seed, "order agreement", k as u64).permutation(n)).collect()
    };
    let p = |of: &dyn Fn(&[f64]) -> f64, observed: f64| {
        if observed.is_nan() || orders.is_empty() {
            return f64::NAN;
        }
        let reached = |order: &Vec<usize>| {
            let permuted: Vec<f64> = order.iter().map(|&k| measure[k]).collect();
            of(&permuted).abs() >= observed.abs() - tie_tolerance(observed.abs())
        };
        let count = orders.iter().filter(|order| reached(order)).count();
        if exact { count as f64 / orders.len() as f64 } else { permutation_p(count, orders.len()) }
    };
    let (tau, line) = (|m: &[f64]| kendall_tau_b(m, hierarchy), |m: &[f64]| slope(hierarchy, m));
    let (tau_b, steep) = (tau(measure), line(measure));
    Ok(OrderAgreement {
        tau_b,
        p_tau: p(&tau, tau_b),
        slope: steep,
        p_slope: p(&line, steep),
        n_orders: orders.len(),
        exact,
    })
}

/// Kendall's τ-b; NaN where a side is all ties.
pub fn kendall_tau_b(x: &[f64], y: &[f64]) -> f64 {
    let (mut sum, mut x_pairs, mut y_pairs) = (0i64, 0i64, 0i64);
    for i in 0..x.len() {
        for j in 0..i {
            let sign = |a: f64, b: f64| i64::from(a > b) - i64::from(a < b);
            let (a, b) = (sign(x[i], x[j]), sign(y[i], y[j]));
            sum += a * b;
            x_pairs += a * a;
            y_pairs += b * b;
        }
    }
    if x_pairs == 0 || y_pairs == 0 { f64::NAN } else { sum as f64 / ((x_pairs * y_pairs) as f64).sqrt() }
}

fn slope(x: &[f64], y: &[f64]) -> f64 {
    if is_constant(x) {
        return f64::NAN;
    }
    let (mx, my) = (mean(x), mean(y));
    let across: f64 = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum();
    across / x.iter().map(|x| (x - mx).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tau_by_hand() {
        assert_eq!(kendall_tau_b(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]), 1.0);
        assert_eq!(kendall_tau_b(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
        // x = 1 2 2 3, y = 1 3 2 2: five pairs differ in x, five in y; four in both, 3 concordant and 1 not.
        let tau = kendall_tau_b(&[1.0, 2.0, 2.0, 3.0], &[1.0, 3.0, 2.0, 2.0]);
        assert!((tau - 2.0 / 5.0).abs() < 1e-15, "{tau}");
        assert!(kendall_tau_b(&[1.0, 1.0], &[1.0, 2.0]).is_nan());
    }

    #[test]
    fn four_areas_have_exact_p_values() {
        let found = order_agreement(&[1.0, 2.0, 3.0, 4.0], &[0.1, 0.2, 0.3, 0.4], 0, 0).unwrap();
        assert!(found.exact && found.n_orders == 24 && found.tau_b == 1.0);
        // The order and its reverse.
        assert!((found.p_tau - 2.0 / 24.0).abs() < 1e-15 && (found.p_slope - 2.0 / 24.0).abs() < 1e-15);
        assert!((found.slope - 10.0).abs() < 1e-12);
        // One neighbouring pair swapped: |τ| ≥ 4/6 in the order, its three neighbours, and their reverses.
        let found = order_agreement(&[2.0, 1.0, 3.0, 4.0], &[0.1, 0.2, 0.3, 0.4], 0, 0).unwrap();
        assert!((found.tau_b - 4.0 / 6.0).abs() < 1e-15 && (found.p_tau - 8.0 / 24.0).abs() < 1e-15);
    }

    #[test]
    fn many_areas_are_drawn_and_bad_input_is_named() {
        let h: Vec<f64> = (0..12).map(f64::from).collect();
        let found = order_agreement(&h, &h, 999, 1).unwrap();
        assert!(!found.exact && (found.p_tau - 0.001).abs() < 1e-12 && found.n_orders == 999);
        assert!(order_agreement(&h, &h, 0, 1).unwrap().p_tau.is_nan());
        assert!(order_agreement(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0], 0, 0).unwrap().tau_b.is_nan());
        assert!(order_agreement(&h[..2], &h[..2], 0, 0).is_err());
        assert!(order_agreement(&[1.0, f64::NAN, 2.0], &h[..3], 0, 0).is_err());
    }
}
