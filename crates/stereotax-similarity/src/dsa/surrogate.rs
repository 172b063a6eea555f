//! Recordings that keep something of the dynamics and lose the rest.
//!
//! - Time order: all samples of all trials of a length in one random order, the same for all of them. It destroys
//!   the dynamics altogether: the operator becomes nearly 0, so beating it says that there *are* dynamics that
//!   repeat over trials, and little about how similar two systems are.
//! - Phases: the Fourier phases of each channel and trial become random, each channel by itself. Every channel
//!   keeps its spectrum (its own linear autocorrelation, circularly) and loses its relations to other channels:
//!   beating it says that two systems agree in more than the spectra of their channels.
//!
//! Source: Theiler et al. 1992 (phases); specs: encoding-manifolds 6.6. Cost: O(T log T) per channel and trial.

use faer::{Mat, MatRef, c64};

use stereotax_base::stats::rng::Stream;

/// What is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surrogate {
    /// Relations between channels; spectra stay (default).
    #[default]
    Phases,
    /// The order of time.
    TimeOrder,
}

/// Surrogate `index` of trials (time × channels each).
pub fn surrogate(trials: &[MatRef<f64>], kind: Surrogate, seed: u64, index: u64) -> Vec<Mat<f64>> {
    match kind {
        Surrogate::TimeOrder => trials
            .iter()
            .map(|trial| {
                // Keyed by the length, so that trials of one length share their order.
                let purpose = format!("time order {}", trial.nrows());
                let order = Stream::new(seed, &purpose, index).permutation(trial.nrows());
                Mat::from_fn(trial.nrows(), trial.ncols(), |t, j| trial[(order[t], j)])
            })
            .collect(),
        Surrogate::Phases => {
            let mut stream = Stream::new(seed, "phases", index);
            trials
                .iter()
                .map(|trial| {
                    let mut out = Mat::zeros(trial.nrows(), trial.ncols());
                    for j in 0..trial.ncols() {
                        let series: Vec<f64> = trial.col(j).iter().copied().collect();
                        let new = with_random_phases(&series, &mut stream);
                        out.col_mut(j).iter_mut().zip(new).for_each(|(out, new)| *out = new);
                    }
                    out
                })
                .collect()
        }
    }
}

/// The series with its moduli of Fourier coefficients and phases uniform on the circle; its mean stays.
fn with_random_phases(series: &[f64], stream: &mut Stream) -> Vec<f64> {
    let n = series.len();
    let mut spectrum = fourier(&series.iter().map(|&x| c64::new(x, 0.0)).collect::<Vec<_>>(), -1.0);
    for k in 1..n.div_ceil(2) {
        let angle = std::f64::consts::TAU * stream.uniform();
        let new = c64::new(angle.cos(), angle.sin()) * spectrum[k].norm();
        spectrum[k] = new;
        spectrum[n - k] = new.conj();
    }
    if n > 0 && n.is_multiple_of(2) && stream.next_u64() >> 63 == 1 {
        spectrum[n / 2] = -spectrum[n / 2];
    }
    fourier(&spectrum, 1.0).iter().map(|z| z.re / n as f64).collect()
}

/// Σ_t x_t e^{sign·2πi kt/n} for every k: powers of two by halving, other lengths as a convolution of such
/// (Bluestein 1970).
fn fourier(x: &[c64], sign: f64) -> Vec<c64> {
    let n = x.len();
    if n <= 1 || n.is_power_of_two() {
        let mut out = x.to_vec();
        radix_two(&mut out, sign);
        return out;
    }
    let size = (2 * n - 1).next_power_of_two();
    // k² modulo 2n keeps the angle small.
    let chirp: Vec<c64> = (0..n)
        .map(|k| {
            let angle = sign * std::f64::consts::PI * ((k * k) % (2 * n)) as f64 / n as f64;
            c64::new(angle.cos(), angle.sin())
        })
        .collect();
    let zero = c64::new(0.0, 0.0);
    let (mut a, mut b) = (vec![zero; size], vec![zero; size]);
    for k in 0..n {
        a[k] = x[k] * chirp[k];
        b[k] = chirp[k].conj();
        if k > 0 {
            b[size - k] = chirp[k].conj();
        }
    }
    radix_two(&mut a, -1.0);
    radix_two(&mut b, -1.0);
    a.iter_mut().zip(&b).for_each(|(a, b)| *a *= *b);
    radix_two(&mut a, 1.0);
    (0..n).map(|k| a[k] * chirp[k] * (1.0 / size as f64)).collect()
}

fn radix_two(x: &mut [c64], sign: f64) {
    let n = x.len();
    if n < 2 {
        return;
    }
    let bits = n.trailing_zeros();
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            x.swap(i, j);
        }
    }
    let mut length = 2;
    while length <= n {
        let half = length / 2;
        for k in 0..half {
            let angle = sign * std::f64::consts::TAU * k as f64 / length as f64;
            let turn = c64::new(angle.cos(), angle.sin());
            for begin in (k..n).step_by(length) {
                let (even, odd) = (x[begin], x[begin + half] * turn);
                x[begin] = even + odd;
                x[begin + half] = even - odd;
            }
        }
        length *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_are_the_sums_they_stand_for() {
        for n in [1, 2, 3, 8, 12, 37, 64, 100] {
            let mut stream = Stream::new(1, "fourier tests", n as u64);
            let x: Vec<c64> = (0..n).map(|_| c64::new(stream.normal(), stream.normal())).collect();
            for (k, found) in fourier(&x, -1.0).iter().enumerate() {
                let slow: c64 = (0..n)
                    .map(|t| {
                        let angle = -std::f64::consts::TAU * ((k * t) % n) as f64 / n as f64;
                        x[t] * c64::new(angle.cos(), angle.sin())
                    })
                    .sum();
                assert!((*found - slow).norm() < 1e-11, "{n} {k}");
            }
        }
    }

    #[test]
    fn phases_keep_spectra_and_lose_relations() {
        for n in [60, 61] {
            let mut stream = Stream::new(2, "surrogate tests", 0);
            let base: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
            let trial = Mat::from_fn(n, 2, |t, _| base[t] + 3.0);
            let made = &surrogate(&[trial.as_ref()], Surrogate::Phases, 0, 1)[0];
            let column =
                |m: &Mat<f64>, j: usize| -> Vec<c64> { m.col(j).iter().map(|&x| c64::new(x, 0.0)).collect() };
            let before = fourier(&column(&trial, 0), -1.0);
            for j in 0..2 {
                let after = fourier(&column(made, j), -1.0);
                assert!(before.iter().zip(&after).all(|(a, b)| (a.norm() - b.norm()).abs() < 1e-10));
            }
            let of = |j: usize| made.col(j).iter().copied().collect::<Vec<f64>>();
            assert!(stereotax_base::stats::summary::pearson(&of(0), &of(1)).abs() < 0.6);
        }
    }

    #[test]
    fn one_order_of_time_for_all_trials_of_a_length() {
        let trial = Mat::from_fn(20, 2, |t, j| (10 * t + j) as f64);
        let made = surrogate(&[trial.as_ref(), trial.as_ref()], Surrogate::TimeOrder, 0, 0);
        assert_eq!(made[0], made[1]);
        assert_ne!(made[0], trial);
        assert_ne!(made[0], surrogate(&[trial.as_ref()], Surrogate::TimeOrder, 0, 1)[0]);
    }
}
