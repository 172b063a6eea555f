//! Bring a sound to another number of samples per second, without what the new rate cannot hold.
//!
//! ```text
//! y_m = Σ_n x_n h(m · down − n · up)      up/down the two rates in lowest terms, N = max(up, down)
//! h(k) ∝ sinc(k/N) I₀(5 √(1 − (k/10N)²)),  |k| ≤ 10 N,  Σ h = up
//! ```
//!
//! Everything outside the sound is zero; y has ⌈n · up / down⌉ samples, the first at the time of the first. The cut-off
//! is half the lower rate, where the filter is at one half; what lies closer to it than a tenth is weakened or folded.
//! Source: polyphase filters in crochiere1983, the window in kaiser1980; the numbers are those of
//! `scipy.signal.resample_poly`, with which it agrees within 1e-6 of the loudest sample. Sums are in 64 bits.
//! Cost: O(samples of y · 20 N / up).

use rayon::prelude::*;

/// Lobes of the filter on either side.
const LOBES: usize = 10;
/// Shape of the Kaiser window.
const BETA: f64 = 5.0;
/// A filter for larger terms takes too much memory.
const MAX_TERM: usize = 400_000;
/// Longer results take too much memory.
const MAX_SAMPLES: usize = 1 << 28;

/// A sound of `from` samples per second at `to`; the reason where it cannot be.
pub fn resampled(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>, String> {
    if from == to {
        return Ok(samples.to_vec());
    }
    if from == 0 || to == 0 {
        return Err("a rate of 0".into());
    }
    let common = gcd(from as usize, to as usize);
    let (up, down) = (to as usize / common, from as usize / common);
    let n = samples.len().saturating_mul(up).div_ceil(down);
    if up.max(down) > MAX_TERM || n > MAX_SAMPLES {
        return Err(format!("{from} samples per second, {} of them, for {to}", samples.len()));
    }
    let half = LOBES * up.max(down);
    let filter = low_pass(half, up);
    let value = |m: usize| {
        // Samples whose distance |m · down − n · up| is at most `half`.
        let centre = m * down;
        let first = centre.saturating_sub(half).div_ceil(up);
        let end = ((centre + half) / up + 1).min(samples.len());
        let sum = |n: usize| f64::from(samples[n]) * filter[centre + half - n * up];
        (first..end).map(sum).sum::<f64>() as f32
    };
    Ok((0..n).into_par_iter().with_min_len(1 << 12).map(value).collect())
}

/// h(−half) … h(half).
fn low_pass(half: usize, up: usize) -> Vec<f64> {
    let n = (half / LOBES) as f64;
    let at_k = |k: usize| {
        let t = (k as f64 - half as f64) / n;
        let edge = t / LOBES as f64;
        let sinc = if t == 0.0 { 1.0 } else { (std::f64::consts::PI * t).sin() / (std::f64::consts::PI * t) };
        sinc * bessel_i0(BETA * (1.0 - edge * edge).max(0.0).sqrt())
    };
    let mut filter: Vec<f64> = (0..=2 * half).map(at_k).collect();
    let scale = up as f64 / filter.iter().sum::<f64>();
    filter.iter_mut().for_each(|h| *h *= scale);
    filter
}

/// I₀(x) = Σ ((x/2)^k / k!)², for small x.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..60 {
        term *= quarter / f64::from(k * k);
        sum += term;
    }
    sum
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `validation/make_resample_fixture.py`.
    const FIXTURE: &str = include_str!("../../../../validation/fixtures/resample_scipy.json");

    #[test]
    fn scipy_gives_the_same() {
        let fixture: serde_json::Value = serde_json::from_str(FIXTURE).unwrap();
        let list = |value: &serde_json::Value| -> Vec<f32> {
            value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
        };
        let samples = list(&fixture["samples"]);
        for case in fixture["cases"].as_array().unwrap() {
            let [from, to] = ["from", "to"].map(|key| case[key].as_u64().unwrap() as u32);
            let found = resampled(&samples, from, to).unwrap();
            let expected = list(&case["resampled"]);
            assert_eq!(found.len(), expected.len(), "{from} to {to}");
            for (at, (a, b)) in found.iter().zip(&expected).enumerate() {
                assert!((a - b).abs() < 1e-6, "{from} to {to}, sample {at}: {a} and {b}");
            }
        }
    }

    #[test]
    fn a_tone_stays_and_what_is_too_high_goes() {
        let tone = |hz: f64, rate: f64, n: usize| -> Vec<f32> {
            (0..n).map(|i| (std::f64::consts::TAU * hz * i as f64 / rate).sin() as f32).collect()
        };
        let found = resampled(&tone(1000.0, 44100.0, 44100), 44100, 16000).unwrap();
        assert_eq!(found.len(), 16000);
        let expected = tone(1000.0, 16000.0, 16000);
        let error = |at: usize| (found[at] - expected[at]).abs();
        assert!((1000..15000).map(error).fold(0.0, f32::max) < 2e-3);
        // 12 kHz cannot be at 16000 samples per second.
        let found = resampled(&tone(12000.0, 44100.0, 44100), 44100, 16000).unwrap();
        assert!(found[1000..15000].iter().all(|x| x.abs() < 2e-3));
        // A constant stays one, up and down.
        for (from, to) in [(8000, 48000), (48000, 8000), (3, 2)] {
            let found = resampled(&vec![0.5; 1200], from, to).unwrap();
            let middle = &found[found.len() / 3..2 * found.len() / 3];
            assert!(middle.iter().all(|x| (x - 0.5).abs() < 1e-3), "{from} to {to}");
        }
    }

    #[test]
    fn what_cannot_be_is_said() {
        assert_eq!(resampled(&[0.5, 0.25], 7, 7).unwrap(), [0.5, 0.25]);
        assert_eq!(resampled(&[], 8000, 16000).unwrap(), [0.0f32; 0]);
        for (n, from, to) in [(4, 0, 1), (4, 1, 4_000_000_000), (1 << 20, 1, 16000)] {
            assert!(resampled(&vec![0.0; n], from, to).is_err(), "{from} to {to}");
        }
    }
}
