//! Decoding from windows of time that grow or shrink.
//!
//! Features are means over time of a window: growing ones hold times 0…i, shrinking ones i…T−1. All 2T means come
//! from one running sum. Source: specs: encoding-manifolds 4.3. Cost: T fits per fold.

use faer::Mat;
use rayon::prelude::*;

use super::classifier::Machine;
use super::decode::{DecodeParams, Tally, check};
use super::generalise::Movie;
use stereotax_base::data::{Fold, Labels, Monitor, Result};
use stereotax_base::linalg::select_rows;
use stereotax_base::stats::summary::{mean, sd};

/// Which times a window holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Windows {
    /// 0…i.
    #[default]
    Growing,
    /// i…T−1.
    Shrinking,
}

/// Accuracy of one window.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowAccuracy {
    /// First time bin.
    pub first: usize,
    /// Last time bin.
    pub last: usize,
    /// Mean accuracy over repeats of the folds.
    pub accuracy: f64,
    /// Standard deviation over repeats (divisor n − 1); NaN for one.
    pub sd: f64,
    /// Mean balanced accuracy.
    pub balanced_accuracy: f64,
    /// Fits that stopped before their optimum.
    pub n_unconverged: usize,
}

/// Decode from every window; `repeats` are whole sets of folds.
///
/// Errors: those of [`super::decode`].
pub fn window_accuracy(
    movie: Movie<'_>,
    labels: &Labels,
    repeats: &[Vec<Fold>],
    windows: Windows,
    params: &DecodeParams,
    monitor: &Monitor<'_>,
) -> Result<Vec<WindowAccuracy>> {
    movie.check()?;
    for folds in repeats {
        check(movie.values, labels, folds, &params.classifier)?;
    }
    if repeats.is_empty() {
        check(movie.values, labels, &[], &params.classifier)?;
    }
    let (t, k) = (movie.n_times, labels.n_groups());
    (0..t)
        .into_par_iter()
        .map(|at| {
            let (first, last) = match windows {
                Windows::Growing => (0, at),
                Windows::Shrinking => (at, t - 1),
            };
            let x = mean_over(movie, first, last);
            let (mut plain, mut balanced, mut n_unconverged) = (vec![], vec![], 0);
            for folds in repeats {
                let mut told = Vec::with_capacity(folds.len());
                for fold in folds {
                    monitor.check()?;
                    let (train, test) =
                        (select_rows(x.as_ref(), &fold.train), select_rows(x.as_ref(), &fold.test));
                    let machine =
                        Machine::new(train.as_ref(), &[test.as_ref()], params.classifier, params.scaling)?;
                    let y: Vec<usize> = fold.train.iter().map(|&i| labels.codes()[i]).collect();
                    let mut of_fold = machine.tell(&y, k)?;
                    n_unconverged += usize::from(!of_fold.converged);
                    told.push(of_fold.classes.swap_remove(0));
                }
                let tally = Tally::new(folds, labels.codes(), &told, k);
                plain.push(tally.accuracy());
                balanced.push(tally.balanced());
            }
            Ok(WindowAccuracy {
                first,
                last,
                accuracy: mean(&plain),
                sd: sd(&plain),
                balanced_accuracy: mean(&balanced),
                n_unconverged,
            })
        })
        .collect()
}

/// Samples × features, mean over times first…last.
fn mean_over(movie: Movie<'_>, first: usize, last: usize) -> Mat<f64> {
    let (t, p) = (movie.n_times, movie.values.ncols() / movie.n_times);
    let n = (last + 1 - first) as f64;
    Mat::from_fn(movie.values.nrows(), p, |i, f| {
        (first..=last).map(|time| movie.values[(i, f * t + time)]).sum::<f64>() / n
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Classifier;
    use stereotax_base::data::Folds;

    #[test]
    fn windows_know_what_lies_in_them() {
        // Classes differ at time 2 of 4 only, without noise but for a ramp over samples that tells nothing.
        let x = Mat::from_fn(12, 4, |i, time| {
            0.01 * (i / 2) as f64 + if time == 2 { 8.0 * (i % 2) as f64 } else { 0.0 }
        });
        let labels = Labels::new(&(0..12).map(|i| ["x", "y"][i % 2]).collect::<Vec<_>>());
        let folds: Vec<Fold> = Folds::stratified(&labels, 3, 0).unwrap().iter().cloned().collect();
        let params = DecodeParams { classifier: Classifier::Neighbours(1), ..Default::default() };
        let movie = Movie { values: x.as_ref(), n_times: 4 };
        let curve = |windows| {
            let found = window_accuracy(
                movie,
                &labels,
                &[folds.clone(), folds.clone()],
                windows,
                &params,
                &Monitor::silent(),
            );
            found.unwrap()
        };
        let grow = curve(Windows::Growing);
        assert!(
            grow[..2].iter().all(|w| w.accuracy < 0.9) && grow[2].accuracy == 1.0 && grow[3].accuracy == 1.0
        );
        assert_eq!((grow[2].first, grow[2].last, grow[2].sd), (0, 2, 0.0));
        let shrink = curve(Windows::Shrinking);
        assert!(shrink[..3].iter().all(|w| w.accuracy == 1.0) && shrink[3].accuracy < 0.9);
    }
}
