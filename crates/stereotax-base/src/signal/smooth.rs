//! Smooth series with a Gaussian kernel.
//!
//! ```text
//! y_t = Σ_k w_k x_(t+k),  w_k ∝ exp(−k² / 2σ²),  |k| ≤ round(4σ),  Σ w = 1
//! ```
//!
//! Beyond the ends the series is mirrored with its edge repeated (d c b a | a b c d | d c b a), or counts as 0.
//! Source: specs encoding-manifolds 1.2. Agrees with SciPy's `gaussian_filter1d`, modes `reflect` and `constant`.
//! Cost: O(T σ) per series.

/// What stands beyond the ends of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Edge {
    /// The mirror image, with the edge repeated.
    #[default]
    Reflect,
    /// Zeros.
    Zero,
}

/// The weights from −radius to radius, of sum 1.
pub fn gaussian_kernel(sigma: f64, truncate: f64) -> Vec<f64> {
    let radius = (truncate * sigma + 0.5).floor() as i64;
    let weights: Vec<f64> = (-radius..=radius).map(|k| (-0.5 * (k as f64 / sigma).powi(2)).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / total).collect()
}

/// Smooth one series; σ in samples, 0 leaves it as it is.
pub fn gaussian_smooth(x: &[f64], sigma: f64, edge: Edge) -> Vec<f64> {
    if !(sigma > 0.0) || x.is_empty() {
        return x.to_vec();
    }
    let kernel = gaussian_kernel(sigma, 4.0);
    convolve_same(x, &kernel, edge)
}

/// Smooth what is there of a series: weights over missing samples are shared by the others, and missing samples
/// stay NaN. `observed` and `x` have the same length.
pub fn gaussian_smooth_observed(x: &[f64], observed: &[bool], sigma: f64) -> Vec<f64> {
    let there = |at: usize| if observed[at] { 1.0 } else { 0.0 };
    let values: Vec<f64> = (0..x.len()).map(|t| if observed[t] { x[t] } else { 0.0 }).collect();
    let weights: Vec<f64> = (0..x.len()).map(there).collect();
    let (sums, weights) =
        (gaussian_smooth(&values, sigma, Edge::Reflect), gaussian_smooth(&weights, sigma, Edge::Reflect));
    (0..x.len()).map(|t| if observed[t] { sums[t] / weights[t] } else { f64::NAN }).collect()
}

/// The convolution with a kernel of odd length, as long as the series.
pub fn convolve_same(x: &[f64], kernel: &[f64], edge: Edge) -> Vec<f64> {
    let (n, radius) = (x.len() as i64, kernel.len() as i64 / 2);
    let at = |t: i64| -> f64 {
        if (0..n).contains(&t) {
            return x[t as usize];
        }
        match edge {
            Edge::Zero => 0.0,
            Edge::Reflect => {
                // Period 2 n: a b c d d c b a.
                let t = t.rem_euclid(2 * n);
                x[t.min(2 * n - 1 - t) as usize]
            }
        }
    };
    (0..n).map(|t| kernel.iter().zip(t - radius..).map(|(w, s)| w * at(s)).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scipy_1_17_1_gaussian_filter1d() {
        // gaussian_filter1d([1, 4, 2, 8, 5, 7], 1.5, mode="reflect") and mode="constant".
        let x = [1.0, 4.0, 2.0, 8.0, 5.0, 7.0];
        let found = gaussian_smooth(&x, 1.5, Edge::Reflect);
        let expected = REFLECT;
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        let found = gaussian_smooth(&x, 1.5, Edge::Zero);
        assert!(found.iter().zip(CONSTANT).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        assert_eq!(gaussian_smooth(&x, 0.0, Edge::Reflect), x);
        // A kernel longer than the series mirrors it again and again, and a constant stays.
        assert!(gaussian_smooth(&[2.0; 3], 5.0, Edge::Reflect).iter().all(|y| (y - 2.0).abs() < 1e-12));
    }

    const REFLECT: [f64; 6] = [
        2.4591461128189347,
        3.0954711006698092,
        4.123737028520948,
        5.167474122604841,
        5.904528899330192,
        6.249642736055276,
    ];
    const CONSTANT: [f64; 6] = [
        1.6696558928811756,
        2.810642569668812,
        3.9955463431395346,
        4.85723402969709,
        4.894591358423658,
        3.9047233440149545,
    ];

    #[test]
    fn missing_samples_neither_count_nor_pull_down() {
        let observed = [true, true, true, false, false];
        let found = gaussian_smooth_observed(&[3.0, 3.0, 3.0, f64::NAN, 9.0], &observed, 2.0);
        assert!(found[..3].iter().all(|y| (y - 3.0).abs() < 1e-12) && found[3].is_nan() && found[4].is_nan());
    }
}
