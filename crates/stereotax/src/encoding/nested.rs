//! Predict one held-out fold of brain responses from one representation, for several subjects at once.
//!
//! On the training rows of the outer fold only: principal components and z-scores ([`super::reduce()`]),
//! delays or haemodynamics run by run, ridge penalties by inner cross-validation ([`RidgePlan`]). The
//! work that depends on features alone is done once; each subject is then a fit of its own, so a
//! subject's numbers are the same bits whether it comes alone or with others. Responses of held-out
//! rows are never read.
//!
//! Inner folds: leave-one-run-out over the training runs (grouped into at most 8), stimuli dealt into
//! folds by their ids, or contiguous blocks with a purge gap for a single run.
//!
//! Source: specs: nfas-dmd 8.5.1–8.5.3, appendix A step e. Cost: that of the reduction plus that of the
//! plan, plus O(p R (n + folds · alphas · min(p/2, n_f))) for R targets of all subjects.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::alphas::AlphaGrid;
use super::reduce::{ReduceParams, check_finite, reduce, z_score_on};
use super::ridge::{AlphaChoice, InnerLoss, Intercept, RidgeParams, RidgePlan, Space};
use crate::data::{Error, Fold, Folds, Result, Runs};
use crate::linalg::select_rows;
use crate::signal::{Hrf, expand, max_delay_s, padded_rows};

/// Least purge gap in seconds.
const PURGE_S: f64 = 12.0;

/// One representation of all samples, with the runs that time does not cross.
#[derive(Debug, Clone, Copy)]
pub struct FoldFeatures<'a> {
    /// Samples × units. May have been built for this fold (weights, layer maps) from training rows.
    pub values: MatRef<'a, f64>,
    /// Runs of the samples.
    pub runs: &'a Runs,
    /// Repetition time in seconds; read only where `hrf` needs it.
    pub tr_s: f64,
}

/// How weights are fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// Ridge with the penalty chosen by inner cross-validation.
    #[default]
    Ridge,
    /// Least squares by the pseudo-inverse, on at most n_train/10 components.
    LeastSquares,
}

/// Every choice of an encoding model. `default()` is the register of specs nfas-dmd section 20.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EncodingParams {
    /// Components of equal number for every model; `None` only z-scores the units. Default `Some`.
    pub reduce: Option<ReduceParams>,
    /// Default `None` (responses per stimulus).
    pub hrf: Hrf,
    /// Leave out samples whose delays were padded with zeros, when fitting and when predicting.
    /// Default false.
    pub drop_padded: bool,
    /// Default `Ridge`.
    pub solver: Solver,
    /// Default: 19 multiples of mean(s²).
    pub alphas: AlphaGrid,
    /// Default `PerTarget`.
    pub alpha_choice: AlphaChoice,
    /// Default `SquaredError`.
    pub loss: InnerLoss,
    /// Default `Fitted`.
    pub intercept: Intercept,
    /// Targets worked on at a time; changes no number. Default 128.
    pub tile: usize,
}

impl Default for EncodingParams {
    fn default() -> Self {
        let ridge = RidgeParams::default();
        EncodingParams {
            reduce: Some(ReduceParams::default()),
            hrf: Hrf::None,
            drop_padded: false,
            solver: Solver::Ridge,
            alphas: ridge.alphas,
            alpha_choice: ridge.alpha_choice,
            loss: ridge.loss,
            intercept: ridge.intercept,
            tile: ridge.tile,
        }
    }
}

impl EncodingParams {
    fn ridge(&self) -> RidgeParams {
        RidgeParams {
            alphas: match self.solver {
                Solver::Ridge => self.alphas.clone(),
                Solver::LeastSquares => AlphaGrid::absolute(&[0.0]),
            },
            alpha_choice: self.alpha_choice,
            loss: self.loss,
            intercept: self.intercept,
            space: Space::ByShape,
            tile: self.tile,
        }
    }

    fn reduction(&self) -> Option<ReduceParams> {
        self.reduce.map(|params| match self.solver {
            Solver::Ridge => params,
            Solver::LeastSquares => {
                ReduceParams { samples_per_component: params.samples_per_component.max(10), ..params }
            }
        })
    }
}

/// One subject's held-out predictions. Vectors have one entry per target.
#[derive(Debug, Clone)]
pub struct FoldPrediction {
    /// The samples predicted: the fold's test rows, without padded ones where these are dropped.
    pub rows: Vec<usize>,
    /// `rows` × targets; NaN for a target that is constant over the training rows.
    pub predictions: Mat<f64>,
    /// Penalty in absolute units; NaN where undefined, 0 for least squares.
    pub alphas: Vec<f64>,
    /// The same as a multiple of mean(s²) of the training design.
    pub alpha_multiples: Vec<f64>,
    /// Inner cross-validated score at the chosen penalty (R², or correlation, see [`InnerLoss`]), from
    /// training rows only; NaN where undefined or without inner folds.
    pub inner_scores: Vec<f64>,
    /// Targets that are constant over the training rows.
    pub n_undefined: usize,
    /// Targets at the smallest penalty of the grid.
    pub n_at_lower_edge: usize,
    /// Targets at the largest penalty of the grid.
    pub n_at_upper_edge: usize,
    /// Whether more than 5 % of the defined targets sit on an edge.
    pub grid_too_narrow: bool,
    /// Components kept per time point; the number of units without reduction.
    pub n_components: usize,
    /// Share of the features' training variance in these components; 1 without reduction.
    pub explained: f64,
    /// Numerical rank of the training design.
    pub rank: usize,
    /// Where the final fit was done.
    pub space: Space,
}

/// Predict the test rows of `fold` for every subject.
///
/// `targets[s]` is samples × targets of subject `s`; subjects may differ in their number of targets.
/// Rows outside `fold.train` are not read. `inner` divides rows of `fold.train` (see [`inner_folds`]).
/// Errors: rows that do not match, an inner fold that touches rows outside `fold.train`, values that are
/// not finite, and those of the parts.
pub fn predict_fold(
    features: &FoldFeatures<'_>,
    targets: &[MatRef<'_, f64>],
    fold: &Fold,
    inner: &[Fold],
    params: &EncodingParams,
) -> Result<Vec<FoldPrediction>> {
    check_rows(features, targets, fold)?;
    let dropped = if params.drop_padded { padded_rows(features.runs, &params.hrf) } else { vec![] };
    let keep = |rows: &[usize]| -> Vec<usize> {
        rows.iter().copied().filter(|row| dropped.binary_search(row).is_err()).collect()
    };
    let (train, test) = (keep(&fold.train), keep(&fold.test));
    let local = inner
        .iter()
        .map(|inner_fold| {
            Ok(Fold {
                name: inner_fold.name.clone(),
                train: positions(&keep(&inner_fold.train), &train, &inner_fold.name)?,
                test: positions(&keep(&inner_fold.test), &train, &inner_fold.name)?,
            })
        })
        .collect::<Result<Vec<Fold>>>()?;

    let (scores, explained) = match params.reduction() {
        Some(reduction) => {
            let reduced = reduce(features.values, &train, &reduction)?;
            (reduced.scores, reduced.explained)
        }
        None => {
            check_finite(features.values, "features")?;
            let mut scores = features.values.to_owned();
            z_score_on(&mut scores, &train);
            (scores, 1.0)
        }
    };
    let design = expand(scores.as_ref(), features.runs, features.tr_s, &params.hrf)?;
    let x_train = select_rows(design.as_ref(), &train);
    let x_test = select_rows(design.as_ref(), &test);
    let plan = RidgePlan::new(x_train.as_ref(), x_test.as_ref(), &local, &params.ridge())?;

    targets
        .par_iter()
        .map(|subject| {
            let fit = plan.fit(select_rows(*subject, &train).as_ref())?;
            Ok(FoldPrediction {
                rows: test.clone(),
                grid_too_narrow: fit.grid_too_narrow(),
                alpha_multiples: fit.alphas.iter().map(|alpha| alpha / fit.mean_square).collect(),
                predictions: fit.predictions,
                alphas: fit.alphas,
                inner_scores: fit.inner_scores,
                n_undefined: fit.n_undefined,
                n_at_lower_edge: fit.n_at_lower_edge,
                n_at_upper_edge: fit.n_at_upper_edge,
                n_components: scores.ncols(),
                explained,
                rank: fit.rank,
                space: fit.space,
            })
        })
        .collect()
}

/// How the training rows of an outer fold are divided again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InnerScheme<'a> {
    /// Hold out one of the remaining runs at a time; more than `max_folds` runs are grouped, neighbours
    /// together. 8 is usual.
    Runs {
        /// Most folds.
        max_folds: usize,
    },
    /// Deal stimuli into folds by their ids.
    Units {
        /// One id per sample, of all samples.
        ids: &'a [String],
        /// How many folds.
        n_folds: usize,
        /// Seed of the deal.
        seed: u64,
    },
    /// Contiguous blocks of the training rows, without the samples closer than `gap` to the held-out
    /// block (see [`purge_gap`]). For one run, or runs that cannot be held out whole.
    Blocks {
        /// How many blocks.
        n_folds: usize,
        /// Samples purged on both sides.
        gap: usize,
    },
}

/// Divide the training rows of `fold`; the folds name samples of the whole data set.
///
/// Rows are in `train` or `test` of an inner fold, or purged, and never outside `fold.train`.
/// Errors: fewer than 2 folds possible, ids that do not match the samples.
pub fn inner_folds(runs: &Runs, fold: &Fold, scheme: InnerScheme<'_>) -> Result<Vec<Fold>> {
    match scheme {
        InnerScheme::Runs { max_folds } => by_runs(runs, fold, max_folds),
        InnerScheme::Units { ids, n_folds, seed } => by_units(fold, ids, n_folds, seed),
        InnerScheme::Blocks { n_folds, gap } => by_blocks(runs, fold, n_folds, gap),
    }
}

/// Samples to purge on both sides of a held-out block: max(longest delay, 12 s), rounded up to TRs.
pub fn purge_gap(tr_s: f64, hrf: &Hrf) -> usize {
    (max_delay_s(hrf, tr_s).max(PURGE_S) / tr_s - 1e-9).ceil() as usize
}

fn by_runs(runs: &Runs, fold: &Fold, max_folds: usize) -> Result<Vec<Fold>> {
    let codes = runs.codes();
    let mut present: Vec<usize> = fold.train.iter().map(|&i| codes[i]).collect();
    present.dedup();
    let n_folds = present.len().min(max_folds);
    if n_folds < 2 {
        return Err(too_few_folds(format!("{} training runs and at most {max_folds} folds", present.len())));
    }
    Ok((0..n_folds)
        .map(|held| {
            let (from, to) = (held * present.len() / n_folds, (held + 1) * present.len() / n_folds);
            let group = &present[from..to];
            let names: Vec<&str> = group.iter().map(|&run| runs.names()[run].as_str()).collect();
            let (test, train) = fold.train.iter().partition(|&&i| group.contains(&codes[i]));
            Fold { name: names.join(" + "), train, test }
        })
        .collect())
}

fn by_units(fold: &Fold, ids: &[String], n_folds: usize, seed: u64) -> Result<Vec<Fold>> {
    if fold.train.iter().any(|&i| i >= ids.len()) {
        return Err(Error::Shape {
            what: "ids".into(),
            expected: "one id per sample".into(),
            found: format!("{} ids", ids.len()),
            hint: "give the ids of all samples, not of the training rows".into(),
        });
    }
    let units: Vec<&str> = fold.train.iter().map(|&i| ids[i].as_str()).collect();
    let to_samples = |rows: &[usize]| rows.iter().map(|&row| fold.train[row]).collect();
    Ok(Folds::k_fold(&units, n_folds, seed)?
        .iter()
        .map(|inner| Fold {
            name: inner.name.clone(),
            train: to_samples(&inner.train),
            test: to_samples(&inner.test),
        })
        .collect())
}

fn by_blocks(runs: &Runs, fold: &Fold, n_folds: usize, gap: usize) -> Result<Vec<Fold>> {
    let n = fold.train.len();
    if n_folds < 2 || n / n_folds.max(1) < 2 {
        return Err(too_few_folds(format!("{n_folds} blocks of {n} training rows")));
    }
    let codes = runs.codes();
    let folds: Vec<Fold> = (0..n_folds)
        .map(|held| {
            let test = fold.train[held * n / n_folds..(held + 1) * n / n_folds].to_vec();
            // Distance in time, not in position: the outer fold may have cut a hole into the rows.
            let near = |row: usize| {
                let at = test.partition_point(|&t| t < row);
                let close = |t: usize| codes[t] == codes[row] && t.abs_diff(row) <= gap;
                (at > 0 && close(test[at - 1])) || (at < test.len() && close(test[at]))
            };
            let train = fold.train.iter().copied().filter(|&row| !near(row)).collect();
            Fold { name: format!("block {}", held + 1), train, test }
        })
        .collect();
    match folds.iter().map(|fold| fold.train.len()).min() {
        Some(least) if least >= 2 => Ok(folds),
        _ => Err(too_few_folds(format!("{n} training rows and a gap of {gap} on both sides of a block"))),
    }
}

fn too_few_folds(found: String) -> Error {
    Error::TooFew {
        what: "inner folds".into(),
        needed: "2 inner folds with training rows left".into(),
        found,
        hint: "use contiguous blocks for few runs, fewer folds, or a smaller gap".into(),
    }
}

fn check_rows(features: &FoldFeatures<'_>, targets: &[MatRef<'_, f64>], fold: &Fold) -> Result<()> {
    let n = features.values.nrows();
    for (s, subject) in targets.iter().enumerate() {
        if subject.nrows() != n {
            return Err(Error::Shape {
                what: format!("targets of subject {s}"),
                expected: format!("{n} rows (one per row of the features)"),
                found: format!("{} rows", subject.nrows()),
                hint: "rows must be the same stimuli in order".into(),
            });
        }
    }
    let sorted = |rows: &[usize]| rows.windows(2).all(|w| w[0] < w[1]) && rows.last().is_none_or(|&i| i < n);
    let apart = fold.test.iter().all(|row| fold.train.binary_search(row).is_err());
    if sorted(&fold.train) && sorted(&fold.test) && apart {
        return Ok(());
    }
    Err(Error::Invalid {
        what: format!("fold {}", fold.name),
        expected: format!("sorted rows of 0…{}, none in both parts", n.saturating_sub(1)),
        found: format!("{} training and {} test rows", fold.train.len(), fold.test.len()),
        hint: "build folds from the same samples".into(),
    })
}

/// Where each sample stands within the sorted training rows.
fn positions(samples: &[usize], train: &[usize], name: &str) -> Result<Vec<usize>> {
    samples
        .iter()
        .map(|sample| {
            train.binary_search(sample).map_err(|_| Error::Invalid {
                what: format!("inner fold {name}"),
                expected: "rows of the outer training set only".into(),
                found: format!("sample {sample}, which is not one of them"),
                hint: "build inner folds with `inner_folds` from this outer fold".into(),
            })
        })
        .collect()
}
