//! Describe deconvolved fluorescence by a zero-inflated gamma distribution.
//!
//! A response y ≥ 0 is silence with probability 1 − q, spread evenly below `loc`, or a gamma variable above it:
//!
//! ```text
//! p(y) = (1 − q)/loc                                              0 ≤ y < loc
//! p(y) = q · Gamma(y − loc; shape k, scale θ)                     y ≥ loc
//! mean = (1 − q) loc/2 + q (kθ + loc)
//! var  = (1 − q) loc²/3 + q (k θ² + (kθ + loc)²) − mean²
//! ```
//!
//! Fitting by maximum likelihood: q is the share at or above loc; of those, s = ln(mean) − mean(ln) gives k by Newton's
//! method on ln k − ψ(k) = s, and θ = mean/k. At y = loc exactly the gamma density is 0, 1/θ or infinite as k exceeds
//! 1, is 1 or is less; such values are moved to loc·(1 + 10⁻⁶) for fitting and density. q is held within [10⁻⁶, 1 − 10⁻⁶].
//!
//! Source: Wei et al. 2020; specs: alignment-methods B14. Cost: O(n).

use stereotax_base::data::{Error, Result};
use stereotax_base::stats::special::{digamma, ln_gamma, trigamma};

/// q stays this far from 0 and 1.
const EDGE: f64 = 1e-6;

/// The distribution of one neuron's responses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ZeroInflatedGamma {
    /// q: probability of a response at or above loc.
    pub q: f64,
    /// k.
    pub shape: f64,
    /// θ, in units of the responses.
    pub scale: f64,
    /// Where silence ends, in units of the responses; 0.005 is customary.
    pub loc: f64,
}

impl ZeroInflatedGamma {
    /// Check the parameters; q is moved inside [10⁻⁶, 1 − 10⁻⁶].
    pub fn new(q: f64, shape: f64, scale: f64, loc: f64) -> Result<Self> {
        let positive = [shape, scale, loc].iter().all(|v| *v > 0.0 && v.is_finite());
        if !positive || !(0.0..=1.0).contains(&q) {
            return Err(Error::Invalid {
                what: "q, shape, scale, loc".into(),
                expected: "a probability and three positive numbers".into(),
                found: format!("{q}, {shape}, {scale}, {loc}"),
                hint: "loc is 0.005 as a rule, in units of the responses".into(),
            });
        }
        Ok(ZeroInflatedGamma { q: q.clamp(EDGE, 1.0 - EDGE), shape, scale, loc })
    }

    /// ln p(y) in nats; −∞ below 0, NaN of NaN.
    pub fn log_density(&self, y: f64) -> f64 {
        if y.is_nan() {
            return f64::NAN;
        }
        if y < 0.0 {
            return f64::NEG_INFINITY;
        }
        if y < self.loc {
            return (1.0 - self.q).ln() - self.loc.ln();
        }
        let x = above(y, self.loc) / self.scale;
        self.q.ln() + (self.shape - 1.0) * x.ln() - x - ln_gamma(self.shape) - self.scale.ln()
    }

    /// Expected response.
    pub fn mean(&self) -> f64 {
        (1.0 - self.q) * self.loc / 2.0 + self.q * (self.shape * self.scale + self.loc)
    }

    /// Variance of responses.
    pub fn variance(&self) -> f64 {
        let active = self.shape * self.scale + self.loc;
        let square = (1.0 - self.q) * self.loc * self.loc / 3.0
            + self.q * (self.shape * self.scale * self.scale + active * active);
        square - self.mean().powi(2)
    }

    /// Fit by maximum likelihood to the responses of one neuron.
    ///
    /// Errors: negative or infinite values, fewer than 3 different ones at or above loc.
    pub fn fit(y: &[f64], loc: f64) -> Result<Self> {
        if let Some(bad) = y.iter().find(|v| !(**v >= 0.0 && v.is_finite())) {
            return Err(Error::Invalid {
                what: "y".into(),
                expected: "responses of at least 0".into(),
                found: bad.to_string(),
                hint: "deconvolved fluorescence is not negative; do not z-score it".into(),
            });
        }
        let active: Vec<f64> = y.iter().filter(|v| **v >= loc).map(|v| above(*v, loc)).collect();
        let n = active.len() as f64;
        let mean = active.iter().sum::<f64>() / n;
        let s = mean.ln() - active.iter().map(|v| v.ln()).sum::<f64>() / n;
        if active.len() < 3 || !(s > 1e-12) {
            return Err(Error::TooFew {
                what: "y".into(),
                needed: format!("3 different responses at or above loc = {loc}"),
                found: format!("{} of {} responses", active.len(), y.len()),
                hint: "drop silent neurons, or lower loc".into(),
            });
        }
        // Minka's start; then Newton on 1/k, which stays positive.
        let mut shape = (3.0 - s + ((s - 3.0).powi(2) + 24.0 * s).sqrt()) / (12.0 * s);
        for _ in 0..50 {
            let step = (shape.ln() - digamma(shape) - s) / (shape * shape * (1.0 / shape - trigamma(shape)));
            let next = 1.0 / (1.0 / shape + step);
            let moved = (next - shape).abs();
            shape = if next > 0.0 { next } else { 0.5 * shape };
            if moved <= 1e-13 * shape {
                break;
            }
        }
        ZeroInflatedGamma::new(n / y.len() as f64, shape, mean / shape, loc)
    }
}

/// y − loc, a little above 0 where y is loc.
fn above(y: f64, loc: f64) -> f64 {
    (y - loc).max(1e-6 * loc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn draw(of: &ZeroInflatedGamma, n: usize, whole_shape: usize, index: u64) -> Vec<f64> {
        let mut stream = Stream::new(1, "gamma tests", index);
        (0..n)
            .map(|_| {
                if stream.uniform() >= of.q {
                    return of.loc * stream.uniform();
                }
                // A gamma variable of whole shape is a sum of exponentials.
                let sum: f64 = (0..whole_shape).map(|_| -(1.0 - stream.uniform()).ln()).sum();
                of.loc + of.scale * sum
            })
            .collect()
    }

    #[test]
    fn density_integrates_to_one_and_to_its_moments() {
        for (q, shape, scale) in [(0.3, 2.0, 0.5), (0.8, 1.0, 2.0), (0.5, 5.5, 0.1)] {
            let of = ZeroInflatedGamma::new(q, shape, scale, 0.05).unwrap();
            let mut sums = [0.0; 3];
            let (step, loc) = (1e-4, 0.05);
            for k in 0..600_000 {
                let y = (k as f64 + 0.5) * step;
                let mass = of.log_density(y).exp() * step;
                (0..3).for_each(|p| sums[p as usize] += mass * y.powi(p));
            }
            assert!((sums[0] - 1.0).abs() < 1e-6, "{q} {shape} {scale} {loc}: {sums:?}");
            assert!((sums[1] - of.mean()).abs() < 1e-5);
            assert!((sums[2] - sums[1] * sums[1] - of.variance()).abs() < 1e-4);
        }
    }

    #[test]
    fn maximum_likelihood_finds_what_was_drawn() {
        for (k, index) in [(1, 0), (3, 1), (12, 2)] {
            let of = ZeroInflatedGamma::new(0.4, k as f64, 0.3, 0.005).unwrap();
            let y = draw(&of, 50_000, k, index);
            let found = ZeroInflatedGamma::fit(&y, 0.005).unwrap();
            assert!((found.q - 0.4).abs() < 0.01 && (found.shape / k as f64 - 1.0).abs() < 0.04, "{found:?}");
            assert!((found.scale / 0.3 - 1.0).abs() < 0.04);
            let mean = y.iter().sum::<f64>() / 5e4;
            assert!((found.mean() - mean).abs() < 1e-3 * (1.0 + mean), "{} {mean}", found.mean());
            // No neighbour is likelier.
            let likelihood = |of: &ZeroInflatedGamma| y.iter().map(|v| of.log_density(*v)).sum::<f64>();
            let best = likelihood(&found);
            for (dq, dk, ds) in [
                (0.01, 0.0, 0.0),
                (-0.01, 0.0, 0.0),
                (0.0, 0.01, 0.0),
                (0.0, -0.01, 0.0),
                (0.0, 0.0, 0.01),
                (0.0, 0.0, -0.01),
            ] {
                let other = ZeroInflatedGamma {
                    q: found.q * (1.0 + dq),
                    shape: found.shape * (1.0 + dk),
                    scale: found.scale * (1.0 + ds),
                    loc: found.loc,
                };
                assert!(likelihood(&other) < best);
            }
        }
    }

    #[test]
    fn edges() {
        let of = ZeroInflatedGamma::new(1.0, 0.5, 1.0, 0.005).unwrap();
        assert_eq!(of.q, 1.0 - 1e-6);
        assert!(of.log_density(0.005).is_finite() && of.log_density(0.0).is_finite());
        assert!(of.log_density(-0.1) == f64::NEG_INFINITY && of.log_density(f64::NAN).is_nan());
        assert!(ZeroInflatedGamma::new(0.5, 0.0, 1.0, 0.005).is_err());
        assert!(ZeroInflatedGamma::fit(&[0.0, 0.001, 1.0, 2.0], 0.005).is_err());
        assert!(ZeroInflatedGamma::fit(&[1.0; 10], 0.005).is_err());
        assert!(ZeroInflatedGamma::fit(&[-1.0, 1.0, 2.0, 3.0], 0.005).is_err());
    }
}
