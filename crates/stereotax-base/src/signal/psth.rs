//! Estimate firing rates from spike times by a Gaussian kernel.
//!
//! ```text
//! rate(t) = 1/n_trials Σ_i φ_σ(t − t_i)     in Hz, at the middles of bins
//! ```
//!
//! Spikes are shared linearly between the two nearest bins; the kernel is cut at 6 σ and sums to one. Beyond the
//! window there is nothing (so a rate near the edge is too low, as in the authors' code), or its mirror image.
//!
//! The bandwidth is fixed, or from the improved Sheather–Jones rule: the fixed point of the diffusion estimator's
//! plug-in equations on a cosine transform of the histogram.
//!
//! Source: Botev, Grotowski & Kroese 2010, section 3; specs encoding-manifolds 1.1. Cost: O(spikes + bins · σ/bin), and
//! O(spikes · 512) for the rule.

use super::smooth::{Edge, convolve_same};
use crate::data::{Error, Result};

/// When responses are estimated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PsthWindow {
    /// Begin, in seconds from stimulus onset.
    pub start_s: f64,
    /// End; whole bins are taken from the begin.
    pub stop_s: f64,
    /// Width of a bin.
    pub bin_s: f64,
    /// What lies beyond.
    pub edge: Edge,
}

impl PsthWindow {
    /// How many whole bins there are.
    ///
    /// Errors: a window without a bin, more than ten million bins, numbers that are not finite.
    pub fn n_bins(&self) -> Result<usize> {
        let n = ((self.stop_s - self.start_s) / self.bin_s + 1e-9).floor();
        if !(self.bin_s > 0.0 && (1.0..=1e7).contains(&n)) {
            return Err(Error::Invalid {
                what: "window".into(),
                expected: "a begin, an end after it, and a width of bins such that there is one at least"
                    .into(),
                found: format!("{} to {} in bins of {} (seconds)", self.start_s, self.stop_s, self.bin_s),
                hint: "0.001 or 0.01 s are customary bins".into(),
            });
        }
        Ok(n as usize)
    }
}

/// The rate in Hz in each bin, from the spikes of all trials together; spikes outside of the window do not count.
///
/// Errors: as [`PsthWindow::n_bins`]; no trial; a σ that is no positive number.
pub fn psth(times_s: &[f64], n_trials: usize, sigma_s: f64, window: &PsthWindow) -> Result<Vec<f64>> {
    let n = window.n_bins()?;
    if n_trials == 0 || !(sigma_s > 0.0 && sigma_s.is_finite()) {
        return Err(Error::Invalid {
            what: "trials and bandwidth".into(),
            expected: "1 trial at least, and a positive number of seconds".into(),
            found: format!("{n_trials} and {sigma_s}"),
            hint: "0.025 s and 0.05 s are customary bandwidths".into(),
        });
    }
    let mut counts = vec![0.0; n];
    for &time in times_s {
        // In bins, from the middle of the first.
        let at = (time - window.start_s) / window.bin_s - 0.5;
        if !(at >= -0.5 && at <= n as f64 - 0.5) {
            continue;
        }
        let below = at.floor();
        let share = at - below;
        let last = n as i64 - 1;
        counts[(below as i64).clamp(0, last) as usize] += 1.0 - share;
        counts[(below as i64 + 1).clamp(0, last) as usize] += share;
    }
    let sigma = sigma_s / window.bin_s;
    let kernel = super::smooth::gaussian_kernel(sigma, 6.0);
    let scale = 1.0 / (n_trials as f64 * window.bin_s);
    Ok(convolve_same(&counts, &kernel, window.edge).into_iter().map(|x| x * scale).collect())
}

/// Cells of the histogram whose cosine transform is taken.
const GRID: usize = 512;

/// The improved Sheather–Jones bandwidth of a sample (its standard deviation, in units of the sample); `None` where
/// the rule finds none: fewer than four different values, or no fixed point.
pub fn sheather_jones(sample: &[f64]) -> Option<f64> {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (*sorted.first()?, *sorted.last()?);
    sorted.dedup();
    let n_distinct = sorted.len();
    if n_distinct < 4 || !(high - low).is_finite() {
        return None;
    }
    // A tenth of the range more on both sides, as Botev does.
    let range = 1.2 * (high - low);
    let begin = low - 0.1 * (high - low);
    let mut histogram = vec![0.0; GRID];
    for x in sample {
        let cell = ((x - begin) / range * GRID as f64) as usize;
        histogram[cell.min(GRID - 1)] += 1.0 / sample.len() as f64;
    }
    let cosine: Vec<f64> =
        (0..4 * GRID).map(|i| (std::f64::consts::PI * i as f64 / (2.0 * GRID as f64)).cos()).collect();
    let filled: Vec<usize> = (0..GRID).filter(|&j| histogram[j] > 0.0).collect();
    // a_k = 2 Σ_j h_j cos(π k (2j + 1) / 2 GRID); what enters is (a_k / 2)².
    let squares: Vec<f64> = (1..GRID)
        .map(|k| {
            filled.iter().map(|&j| histogram[j] * cosine[k * (2 * j + 1) % (4 * GRID)]).sum::<f64>().powi(2)
        })
        .collect();
    let n = n_distinct as f64;
    let excess = |t: f64| t - plug_in(t, n, &squares);
    // The first change of sign from below; t is the squared bandwidth in units of the range.
    let mut bound = 1e-12 + 0.01 * (n.clamp(50.0, 1050.0) - 50.0) / 1000.0;
    let (mut low, mut high) = loop {
        if excess(bound) > 0.0 && excess(1e-14) < 0.0 {
            break (1e-14, bound);
        }
        if bound >= 0.1 {
            return None;
        }
        bound = (2.0 * bound).clamp(1e-6, 0.1);
    };
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if excess(middle) > 0.0 { high = middle } else { low = middle }
    }
    let t = 0.5 * (low + high);
    (t > 0.0).then(|| t.sqrt() * range)
}

/// ξ γ^[7](t) of Botev et al.: what t should be if derivatives are estimated at t.
fn plug_in(t: f64, n: f64, squares: &[f64]) -> f64 {
    let pi = std::f64::consts::PI;
    // ‖f^(s)‖² at a time.
    let norm = |s: i32, time: f64| -> f64 {
        let sum: f64 = squares
            .iter()
            .enumerate()
            .map(|(i, a)| {
                let k2 = ((i + 1) * (i + 1)) as f64;
                k2.powi(s) * a * (-k2 * pi * pi * time).exp()
            })
            .sum();
        2.0 * pi.powi(2 * s) * sum
    };
    let mut f = norm(7, t);
    for s in (2..=6).rev() {
        let odd: f64 = (0..s).map(|i| f64::from(2 * i + 1)).product();
        let k0 = odd / (2.0 * pi).sqrt();
        let factor = (1.0 + 0.5f64.powf(f64::from(s) + 0.5)) / 3.0;
        let time = (2.0 * factor * k0 / (n * f)).powf(2.0 / (3.0 + 2.0 * f64::from(s)));
        f = norm(s, time);
    }
    (2.0 * n * pi.sqrt() * f).powf(-0.4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;

    fn window(edge: Edge) -> PsthWindow {
        PsthWindow { start_s: -0.1, stop_s: 0.9, bin_s: 0.01, edge }
    }

    #[test]
    fn one_spike_is_a_gaussian_and_its_mass_is_one() {
        // In the middle of bin 60.
        let rate = psth(&[0.505], 2, 0.03, &window(Edge::Zero)).unwrap();
        assert_eq!(rate.len(), 100);
        for (t, rate) in rate.iter().enumerate() {
            let z: f64 = (t as f64 - 60.0) * 0.01 / 0.03;
            let expected = 0.5 * (-0.5 * z * z).exp() / (0.03 * (2.0 * std::f64::consts::PI).sqrt());
            assert!((rate - expected).abs() < 1e-6, "{t}: {rate} {expected}");
        }
        assert!((rate.iter().sum::<f64>() * 0.01 - 0.5).abs() < 1e-9);
    }

    #[test]
    fn spikes_between_bins_are_shared_and_edges_lose_mass_or_mirror_it() {
        let rate = psth(&[0.51], 1, 1e-4, &window(Edge::Zero)).unwrap();
        assert!((rate[60] - 50.0).abs() < 1e-9 && (rate[61] - 50.0).abs() < 1e-9);
        let mass = |edge, time| psth(&[time], 1, 0.05, &window(edge)).unwrap().iter().sum::<f64>() * 0.01;
        assert!((mass(Edge::Zero, -0.1) - 0.5).abs() < 0.05);
        assert!((mass(Edge::Reflect, -0.1) - 1.0).abs() < 1e-9);
        assert_eq!((mass(Edge::Zero, -0.11), mass(Edge::Zero, 0.91)), (0.0, 0.0));
        assert!(psth(&[], 0, 0.05, &window(Edge::Zero)).is_err());
        assert!(psth(&[], 1, 0.0, &window(Edge::Zero)).is_err());
        assert!(PsthWindow { stop_s: -0.2, ..window(Edge::Zero) }.n_bins().is_err());
    }

    #[test]
    fn the_rule_is_near_the_best_bandwidth_of_a_normal_sample_and_finds_two_bumps() {
        let mut stream = Stream::new(1, "isj", 0);
        let normal: Vec<f64> = (0..2000).map(|_| 3.0 * stream.normal()).collect();
        let best = 3.0 * (4.0 / 3.0 / 2000.0f64).powf(0.2);
        let found = sheather_jones(&normal).unwrap();
        assert!((found / best - 1.0).abs() < 0.35, "{found} {best}");
        // Far apart, the same bandwidth is best as for one bump; the rule of thumb would be 30 times as large.
        let two: Vec<f64> =
            normal.iter().enumerate().map(|(i, x)| x + if i % 2 == 0 { 0.0 } else { 200.0 }).collect();
        let found = sheather_jones(&two).unwrap();
        assert!(found > 0.5 * best && found < 2.5 * best, "{found} {best}");
        // A bandwidth has the units of its sample.
        let scaled: Vec<f64> = normal.iter().map(|x| 1e-3 * x).collect();
        assert!((sheather_jones(&scaled).unwrap() / sheather_jones(&normal).unwrap() - 1e-3).abs() < 1e-6);
        assert_eq!(sheather_jones(&[1.0, 1.0, 2.0]), None);
    }
}
