//! Find the few directions that the centres of manifolds share, so that what is left of the centres is least correlated.
//!
//! With x_m the centres less their mean (P of them, in the P − 1 directions that they span) and V of K orthonormal
//! columns,
//!
//! ```text
//! y_m = x_m − V Vᵀ x_m,   ρ_mn = y_m·y_n / (|y_m| |y_n|)
//! V_K = argmin ½ Σ_mn ρ_mn²                        10 starts: V_{K−1} and a random mixture of the centres
//!       of the starts the one that leaves the largest share of every centre, max min_m |y_m|/|x_m|
//! K*  = argmin_K mean_{m≠n} |ρ_mn|                 K = 1 … index of 95 % of the variance + 11, ended by three rises
//! ```
//!
//! The objective knows the span of V only; it is minimised over any W with that span, V = W R⁻¹:
//! ∇_W = −2 (1 − V Vᵀ) Xᵀ B X V R⁻ᵀ with B_mn = ρ_mn/(|y_m||y_n|) − δ_mn Σ_k ρ_mk²/|y_m|².
//!
//! Source: Chung, Lee & Sompolinsky 2018; Cohen et al. 2020; specs: alignment-methods B8.1. Differs from: the reference
//! follows conjugate gradients on the Stiefel manifold to the same minima; ours are quasi-Newton steps. Cost: P³ per
//! step.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use stereotax_base::data::{Monitor, Result};
use stereotax_base::linalg::{eigh, lbfgs, product, thin_qr};
use stereotax_base::stats::rng::Stream;

const N_STARTS: usize = 10;
/// Steps beyond the share of variance that K may go.
const BEYOND: usize = 11;
const SHARE: f64 = 0.95;
const MAX_STEPS: usize = 2000;
const TOLERANCE: f64 = 1e-9;

/// Directions to project out.
#[derive(Debug, Clone)]
pub struct SharedDirections {
    /// n_features × K, orthonormal.
    pub directions: Mat<f64>,
    /// Mean |correlation| that K = 0, 1, … directions leave, up to the last that was tried.
    pub correlations: Vec<f64>,
}

/// The directions that `centred` centres (P × n_features, without their mean) share: `count` of them, or as many as leave
/// the least correlation.
pub fn shared_directions(
    centred: MatRef<f64>,
    count: Option<usize>,
    seed: u64,
    monitor: &Monitor<'_>,
) -> Result<SharedDirections> {
    // Coordinates in the span: X Xᵀ = U Λ Uᵀ, X → U Λ^½.
    let gram = product(centred, centred.transpose());
    let spectrum = eigh(gram.as_ref())?;
    let cut = 1e-12 * spectrum.values[0].max(0.0) * gram.nrows() as f64;
    let rank = spectrum.values.iter().take_while(|l| **l > cut && **l > 0.0).count();
    let x = Mat::from_fn(gram.nrows(), rank, |m, k| spectrum.vectors[(m, k)] * spectrum.values[k].sqrt());
    let total: f64 = spectrum.values[..rank].iter().sum();
    let below = spectrum.values[..rank]
        .iter()
        .scan(0.0, |sum, l| {
            *sum += l / total;
            Some(*sum)
        })
        .take_while(|sum| *sum < SHARE)
        .count();
    // At least one direction must be left for the centres.
    let most = count.unwrap_or(below.saturating_sub(1) + BEYOND).min(rank.saturating_sub(1));

    let mut correlations = vec![mean_correlation(&residual_gram(&x, None))];
    let mut found: Vec<Mat<f64>> = vec![];
    for k in 1..=most {
        monitor.check()?;
        let before = found.last();
        let starts: Vec<Mat<f64>> = (0..N_STARTS)
            .into_par_iter()
            .map(|start| best_span(&x, &first_span(&x, before, seed, k, start)))
            .collect();
        let mut best = (0.0, 0);
        for (at, v) in starts.iter().enumerate() {
            let kept = least_kept(&x, v);
            if kept > best.0 {
                best = (kept, at);
            }
        }
        let v = starts.into_iter().nth(best.1).unwrap_or_else(|| Mat::zeros(rank, 0));
        correlations.push(mean_correlation(&residual_gram(&x, Some(&v))));
        found.push(v);
        let tail = &correlations[1..];
        let risen = k > 4 && (k - 3..k).all(|at| tail[at] > tail[at - 1]);
        if count.is_none() && risen {
            break;
        }
    }
    let chosen = match count {
        Some(_) => found.len(),
        // One at least, as the reference; the first of equals.
        None => (1..correlations.len()).fold(1, |b, k| if correlations[k] < correlations[b] { k } else { b }),
    };
    let directions = match found.get(chosen.wrapping_sub(1)) {
        // Features of a coordinate: Xᵀ U Λ^−½.
        Some(v) => {
            let back = Mat::from_fn(gram.nrows(), v.ncols(), |m, k| {
                (0..rank).map(|r| spectrum.vectors[(m, r)] / spectrum.values[r].sqrt() * v[(r, k)]).sum()
            });
            thin_qr(product(centred.transpose(), back.as_ref()).as_ref()).0
        }
        None => Mat::zeros(centred.ncols(), 0),
    };
    Ok(SharedDirections { directions, correlations })
}

/// The directions of one fewer, and a random mixture of the centres.
fn first_span(x: &Mat<f64>, before: Option<&Mat<f64>>, seed: u64, k: usize, start: usize) -> Mat<f64> {
    let mut stream = Stream::new(seed, "directions of centres", (k * N_STARTS + start) as u64);
    let weights: Vec<f64> = (0..x.nrows()).map(|_| stream.normal()).collect();
    let mixture: Vec<f64> =
        (0..x.ncols()).map(|r| (0..x.nrows()).map(|m| weights[m] * x[(m, r)]).sum()).collect();
    let both = Mat::from_fn(x.ncols(), k, |r, j| match (j, before) {
        (0, _) | (_, None) => mixture[r],
        (j, Some(v)) => v[(r, j - 1)],
    });
    thin_qr(both.as_ref()).0
}

/// Orthonormal V of the least objective that is reached from `start`.
fn best_span(x: &Mat<f64>, start: &Mat<f64>) -> Mat<f64> {
    let (rows, columns) = (start.nrows(), start.ncols());
    let as_matrix = |at: &[f64]| Mat::from_fn(rows, columns, |r, k| at[k * rows + r]);
    let from: Vec<f64> = (0..rows * columns).map(|at| start[(at % rows, at / rows)]).collect();
    let minimum = lbfgs(&from, MAX_STEPS, TOLERANCE, |at| objective(x, &as_matrix(at)));
    thin_qr(as_matrix(&minimum.at).as_ref()).0
}

/// y_m·y_n.
fn residual_gram(x: &Mat<f64>, v: Option<&Mat<f64>>) -> Mat<f64> {
    let mut gram = product(x.as_ref(), x.transpose());
    if let Some(v) = v {
        let c = product(x.as_ref(), v.as_ref());
        gram -= product(c.as_ref(), c.transpose());
    }
    gram
}

fn mean_correlation(gram: &Mat<f64>) -> f64 {
    let p = gram.nrows();
    let one = |m: usize, n: usize| (gram[(m, n)] / (gram[(m, m)] * gram[(n, n)]).sqrt()).abs();
    let sum: f64 = (0..p).map(|m| (0..m).map(|n| one(m, n)).sum::<f64>()).sum();
    2.0 * sum / (p as f64 * (p as f64 - 1.0))
}

/// min_m |y_m|/|x_m|.
fn least_kept(x: &Mat<f64>, v: &Mat<f64>) -> f64 {
    let (all, left) = (residual_gram(x, None), residual_gram(x, Some(v)));
    (0..x.nrows()).map(|m| (left[(m, m)].max(0.0) / all[(m, m)]).sqrt()).fold(f64::INFINITY, f64::min)
}

/// ½ Σ ρ² and its gradient; infinite where a centre has nothing left.
fn objective(x: &Mat<f64>, w: &Mat<f64>) -> (f64, Vec<f64>) {
    let (p, rows, columns) = (x.nrows(), w.nrows(), w.ncols());
    let (v, r) = thin_qr(w.as_ref());
    let c = product(x.as_ref(), v.as_ref());
    let mut gram = product(x.as_ref(), x.transpose());
    let whole: Vec<f64> = (0..p).map(|m| gram[(m, m)]).collect();
    gram -= product(c.as_ref(), c.transpose());
    let left: Vec<f64> = (0..p).map(|m| gram[(m, m)]).collect();
    if (0..p).any(|m| !(left[m] > 1e-14 * whole[m])) {
        return (f64::INFINITY, vec![0.0; rows * columns]);
    }
    let mut value = 0.0;
    let mut b = Mat::zeros(p, p);
    for m in 0..p {
        let mut row = 0.0;
        for n in 0..p {
            let along = gram[(m, n)] / (left[m] * left[n]);
            b[(m, n)] = along;
            row += along * gram[(m, n)];
        }
        b[(m, m)] -= row / left[m];
        value += 0.5 * row;
    }
    // (1 − V Vᵀ) Xᵀ B X V
    let pulled = product(x.transpose(), product(b.as_ref(), c.as_ref()).as_ref());
    let inside = product(v.transpose(), pulled.as_ref());
    let across = &pulled - product(v.as_ref(), inside.as_ref());
    let mut gradient = vec![0.0; rows * columns];
    for row in 0..rows {
        // z Rᵀ = h, from the last entry on.
        for k in (0..columns).rev() {
            let later: f64 = (k + 1..columns).map(|j| r[(k, j)] * gradient[j * rows + row]).sum();
            gradient[k * rows + row] = (-2.0 * across[(row, k)] - later) / r[(k, k)];
        }
    }
    (value, gradient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::linalg::{centre_columns, column_means};

    fn centred(mut x: Mat<f64>) -> Mat<f64> {
        let means = column_means(x.as_ref());
        centre_columns(x.as_mut(), &means);
        x
    }

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(31, "centre tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    #[test]
    fn the_gradient_is_that_of_differences() {
        let (x, w) = (noise(9, 7, 0), noise(7, 3, 1));
        let (value, gradient) = objective(&x, &w);
        for at in 0..21 {
            let moved = |by: f64| {
                let mut w = w.clone();
                w[(at % 7, at / 7)] += by;
                objective(&x, &w).0
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!(
                (slope - gradient[at]).abs() < 1e-7 * (1.0 + slope.abs()),
                "{at}: {slope} {}",
                gradient[at]
            );
        }
        // Any basis of the span has the value.
        let turned = product(w.as_ref(), noise(3, 3, 2).as_ref());
        assert!((objective(&x, &turned).0 - value).abs() < 1e-10);
    }

    #[test]
    fn planted_directions_are_found() {
        // Twelve orthogonal centres, and three directions in which all of them lie at random.
        let (p, n, shared) = (12, 40, 3);
        let axes = thin_qr(noise(n, p + shared, 3).as_ref()).0;
        let sizes = noise(p, shared, 4);
        let x = Mat::from_fn(p, n, |m, j| {
            axes[(j, m)] + (0..shared).map(|k| 4.0 * sizes[(m, k)] * axes[(j, p + k)]).sum::<f64>()
        });
        let found = shared_directions(centred(x).as_ref(), Some(3), 0, &Monitor::silent()).unwrap();
        assert_eq!(found.correlations.len(), 4);
        // The reference falls from .45 and .52 by .43, .40 (.43, .38) to .16 (.18) on two such sets: what is least for
        // the sum of squares, and leaves most of every centre, is not least for the mean.
        assert!(found.correlations[0] > 0.4 && found.correlations[2] > 0.35, "{:?}", found.correlations);
        assert!(found.correlations[3] < 0.2, "{:?}", found.correlations);
        let planted = axes.subcols(p, shared);
        let cosines = product(planted.transpose(), found.directions.as_ref());
        let overlap: f64 =
            (0..shared).map(|k| (0..shared).map(|j| cosines[(k, j)].powi(2)).sum::<f64>()).sum();
        assert!(overlap > 2.5, "{overlap}");
    }

    #[test]
    fn the_number_of_directions_is_the_best_that_was_tried_and_leaves_something() {
        let x = centred(noise(8, 30, 5));
        let found = shared_directions(x.as_ref(), None, 0, &Monitor::silent()).unwrap();
        let best = found.correlations[1..].iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!(found.correlations[found.directions.ncols()], best);
        assert!(found.directions.ncols() >= 1 && found.directions.ncols() < 7);
        let none = shared_directions(x.as_ref(), Some(0), 0, &Monitor::silent()).unwrap();
        assert_eq!((none.directions.ncols(), none.correlations.len()), (0, 1));
        let two = centred(noise(2, 30, 6));
        assert_eq!(
            shared_directions(two.as_ref(), None, 0, &Monitor::silent()).unwrap().directions.ncols(),
            0
        );
    }
}
