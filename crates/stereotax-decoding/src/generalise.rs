//! Temporal generalisation: train at one time, test at all times.
//!
//! A[t, t'] is the held-out accuracy of a classifier that was fitted on the training samples at time t and is asked
//! for held-out samples at time t'. The diagonal is decoding over time; a square away from it says that the code
//! stays, a bare diagonal that it moves on (King & Dehaene 2014). Features are scaled by the training samples at t.
//!
//! Significance: as for [`super::decode`]. `p_values` stand each for itself; `p_family` compares each cell with the
//! highest cell of every shuffle, which holds the error over all cells.
//! Cost: T fits per fold and draw, and T² predictions.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::classifier::Machine;
use super::decode::{DecodeParams, Tally, check, shuffles};
use stereotax_base::data::{Error, Fold, Labels, Monitor, Result};
use stereotax_base::linalg::select_rows;
use stereotax_base::stats::summary::{permutation_p, tie_tolerance};

/// Samples × features × times: column f·T + t of `values` is feature f at time t.
#[derive(Debug, Clone, Copy)]
pub struct Movie<'a> {
    /// Samples × (features · times).
    pub values: MatRef<'a, f64>,
    /// T.
    pub n_times: usize,
}

impl Movie<'_> {
    /// Refuse columns that are no whole number of features.
    pub(super) fn check(&self) -> Result<()> {
        if self.n_times > 0 && self.values.ncols().is_multiple_of(self.n_times) && self.values.ncols() > 0 {
            return Ok(());
        }
        Err(Error::Shape {
            what: "X".into(),
            expected: format!("samples × features × {} times", self.n_times),
            found: format!("{} columns", self.values.ncols()),
            hint: "time is the last axis".into(),
        })
    }

    /// Samples × features at one time.
    pub(super) fn at(&self, time: usize) -> Mat<f64> {
        let p = self.values.ncols() / self.n_times;
        Mat::from_fn(self.values.nrows(), p, |i, f| self.values[(i, f * self.n_times + time)])
    }
}

/// Accuracies of training and test times.
#[derive(Debug, Clone)]
pub struct TemporalGeneralisation {
    /// Names of classes, sorted.
    pub classes: Vec<String>,
    /// Accuracy, training time × test time.
    pub accuracy: Mat<f64>,
    /// Balanced accuracy.
    pub balanced_accuracy: Mat<f64>,
    /// p-value of each accuracy for itself; NaN without shuffles.
    pub p_values: Mat<f64>,
    /// p-value of each accuracy against the highest of all cells; NaN without shuffles.
    pub p_family: Mat<f64>,
    /// Fits that stopped before their optimum.
    pub n_unconverged: usize,
    /// Held-out samples without any score, over all cells.
    pub n_undefined: usize,
    /// What a reader must know of the shuffles.
    pub warning: Option<String>,
}

/// Decode at all pairs of times.
///
/// Errors: those of [`super::decode`].
pub fn temporal_generalisation(
    movie: Movie<'_>,
    labels: &Labels,
    folds: &[Fold],
    params: &DecodeParams,
    monitor: &Monitor<'_>,
) -> Result<TemporalGeneralisation> {
    movie.check()?;
    check(movie.values, labels, folds, &params.classifier)?;
    let (t, k) = (movie.n_times, labels.n_groups());
    let at: Vec<Mat<f64>> = (0..t).map(|time| movie.at(time)).collect();
    // One machine per time and fold; it holds the held-out samples at all times.
    let machines = (0..t * folds.len())
        .into_par_iter()
        .map(|cell| {
            monitor.check()?;
            let (time, fold) = (cell / folds.len(), &folds[cell % folds.len()]);
            let tests: Vec<Mat<f64>> = at.iter().map(|x| select_rows(x.as_ref(), &fold.test)).collect();
            let tests: Vec<MatRef<'_, f64>> = tests.iter().map(|x| x.as_ref()).collect();
            let train = select_rows(at[time].as_ref(), &fold.train);
            Machine::new(train.as_ref(), &tests, params.classifier, params.scaling)
        })
        .collect::<Result<Vec<_>>>()?;
    let grid = |codes: &[usize]| -> Result<Grid> {
        let mut grid =
            Grid { accuracy: Mat::zeros(t, t), balanced: Mat::zeros(t, t), n_early: 0, n_undefined: 0 };
        for train in 0..t {
            monitor.check()?;
            let mut told = Vec::with_capacity(folds.len());
            for (fold, machine) in folds.iter().zip(&machines[train * folds.len()..]) {
                let y: Vec<usize> = fold.train.iter().map(|&i| codes[i]).collect();
                let of_fold = machine.tell(&y, k)?;
                grid.n_early += usize::from(!of_fold.converged);
                told.push(of_fold.classes);
            }
            for test in 0..t {
                let here: Vec<Vec<Option<usize>>> = told.iter().map(|fold| fold[test].clone()).collect();
                grid.n_undefined += here.iter().flatten().filter(|told| told.is_none()).count();
                let tally = Tally::new(folds, codes, &here, k);
                grid.accuracy[(train, test)] = tally.accuracy();
                grid.balanced[(train, test)] = tally.balanced();
            }
        }
        Ok(grid)
    };
    let observed = grid(labels.codes())?;
    let shuffles = shuffles(labels, params)?;
    let n_draws = shuffles.as_ref().map_or(0, |s| s.len());
    let null = (0..n_draws)
        .into_par_iter()
        .map(|draw| {
            let mut codes = vec![0u32; labels.n_objects()];
            if let Some(shuffles) = &shuffles {
                shuffles.write(draw, &mut codes);
            }
            let codes: Vec<usize> = codes.iter().map(|&c| c as usize).collect();
            Ok(grid(&codes)?.accuracy)
        })
        .collect::<Result<Vec<Mat<f64>>>>()?;
    let highest: Vec<f64> = null.iter().map(|draw| draw.norm_max()).collect();
    let p_of = |reached: &dyn Fn(f64) -> usize, value: f64| match n_draws {
        0 => f64::NAN,
        _ => permutation_p(reached(value - tie_tolerance(value)), n_draws),
    };
    let alone = Mat::from_fn(t, t, |i, j| {
        p_of(&|least| null.iter().filter(|draw| draw[(i, j)] >= least).count(), observed.accuracy[(i, j)])
    });
    let family = Mat::from_fn(t, t, |i, j| {
        p_of(&|least| highest.iter().filter(|&&top| top >= least).count(), observed.accuracy[(i, j)])
    });
    Ok(TemporalGeneralisation {
        classes: labels.names().to_vec(),
        accuracy: observed.accuracy,
        balanced_accuracy: observed.balanced,
        p_values: alone,
        p_family: family,
        n_unconverged: observed.n_early,
        n_undefined: observed.n_undefined,
        warning: shuffles.and_then(|s| s.support().warning.clone()),
    })
}

struct Grid {
    accuracy: Mat<f64>,
    balanced: Mat<f64>,
    n_early: usize,
    n_undefined: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Classifier, decode};
    use stereotax_base::data::Folds;
    use stereotax_base::stats::rng::Stream;

    #[test]
    fn a_code_that_stays_fills_a_square_and_one_that_moves_a_diagonal() {
        // 4 features; at times 1 and 2 the class stands in features 0 and 1, at time 3 in features 2 and 3.
        let mut stream = Stream::new(2, "generalise tests", 0);
        let (n, t) = (40, 4);
        let x = Mat::from_fn(n, 4 * t, |i, column| {
            let (f, time) = (column / t, column % t);
            let shown = match time {
                1 | 2 => f == i % 2,
                3 => f == 2 + i % 2,
                _ => false,
            };
            0.3 * stream.normal() + f64::from(u8::from(shown))
        });
        let labels = Labels::new(&(0..n).map(|i| ["x", "y"][i % 2]).collect::<Vec<_>>());
        let folds: Vec<Fold> = Folds::stratified(&labels, 4, 0).unwrap().iter().cloned().collect();
        let movie = Movie { values: x.as_ref(), n_times: t };
        let params = DecodeParams {
            classifier: Classifier::MaximumCorrelation,
            n_permutations: 60,
            ..Default::default()
        };
        let found = temporal_generalisation(movie, &labels, &folds, &params, &Monitor::silent()).unwrap();
        let a = &found.accuracy;
        assert!(a[(1, 2)] > 0.9 && a[(2, 1)] > 0.9 && a[(3, 3)] > 0.9, "{a:?}");
        assert!(a[(1, 3)] < 0.8 && a[(3, 1)] < 0.8 && a[(0, 0)] < 0.8, "{a:?}");
        assert_eq!((found.p_values[(1, 1)], found.p_family[(1, 1)]), (1.0 / 61.0, 1.0 / 61.0));
        assert!(found.p_family[(0, 0)] >= found.p_values[(0, 0)]);
        // The diagonal is plain decoding.
        let alone = decode(movie.at(2).as_ref(), &labels, &folds, &params, &Monitor::silent()).unwrap();
        assert_eq!((alone.accuracy.value, alone.accuracy.p_value), (a[(2, 2)], found.p_values[(2, 2)]));
    }
}
