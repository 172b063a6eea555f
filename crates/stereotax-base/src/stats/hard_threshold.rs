//! Tell singular values of a signal from those of noise whose level is unknown.
//!
//! ```text
//! keep σ > ω(β) · median σ,  ω(β) = λ*(β) / √μ_β,  β = shorter side / longer side
//! λ*(β) = √(2(β+1) + 8β / ((β+1) + √(β²+14β+1))),  μ_β the Marchenko–Pastur median
//! ```
//!
//! Source: Gavish & Donoho 2014, eqs. 10–11. Differs from: tools that use the cubic
//! 0.56β³ − 0.95β² + 1.82β + 1.43; ω is exact here. Cost: O(1), about a millisecond.

/// ω(β) of the optimal hard threshold for unknown noise, exact to about 10⁻¹⁰; β in [0, 1].
pub fn hard_threshold_factor(beta: f64) -> f64 {
    let b = beta.clamp(0.0, 1.0);
    let lambda = (2.0 * (b + 1.0) + 8.0 * b / ((b + 1.0) + (b * b + 14.0 * b + 1.0).sqrt())).sqrt();
    lambda / marchenko_pastur_median(b).sqrt()
}

/// Median of the Marchenko–Pastur law of ratio β and unit variance.
///
/// With x(θ) = 1 + β + 2√β cos θ the law is (2/π) sin²θ / x(θ) dθ on 0…π, which is smooth.
fn marchenko_pastur_median(beta: f64) -> f64 {
    if beta <= 0.0 {
        return 1.0;
    }
    let x = |theta: f64| 1.0 + beta + 2.0 * beta.sqrt() * theta.cos();
    let density = |theta: f64| {
        let value = if beta >= 1.0 { 0.5 * (1.0 - theta.cos()) } else { theta.sin().powi(2) / x(theta) };
        value * std::f64::consts::FRAC_2_PI
    };
    // Mass between angle θ and π: the lower part of the law. Simpson's rule.
    let below = |theta: f64| {
        let steps = 4000;
        let h = (std::f64::consts::PI - theta) / f64::from(steps);
        let inner: f64 =
            (1..steps).map(|i| density(theta + f64::from(i) * h) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        (density(theta) + inner + density(std::f64::consts::PI)) * h / 3.0
    };
    let (mut low, mut high) = (0.0, std::f64::consts::PI);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if below(middle) > 0.5 { low = middle } else { high = middle }
    }
    x(0.5 * (low + high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hard_threshold_has_its_published_values() {
        // Gavish & Donoho 2014, table IV: ω(1) = 2.8582, ω(0.5) = 2.1711 (to their rounding), and √2 at 0.
        assert!((hard_threshold_factor(1.0) - 2.8582).abs() < 2e-4, "{}", hard_threshold_factor(1.0));
        assert!((hard_threshold_factor(0.0) - 2f64.sqrt()).abs() < 1e-12);
        assert!((hard_threshold_factor(1e-5) - 2f64.sqrt()).abs() < 1e-3);
        for beta in [0.05, 0.1, 0.3, 0.5, 0.7, 0.9] {
            let b: f64 = beta;
            let cubic = 0.56 * b.powi(3) - 0.95 * b * b + 1.82 * b + 1.43;
            assert!((hard_threshold_factor(b) - cubic).abs() < 0.03, "{b}: {}", hard_threshold_factor(b));
        }
    }
}
