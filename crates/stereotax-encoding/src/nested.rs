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
//! plan, plus O(p R (n + folds · alphas · min(p, n_f))) for R targets of all subjects.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::alphas::AlphaGrid;
use super::banded::{Band, BandedParams, banded_ridge_of_subjects};
use super::kernel::{Kernel, kernel_matrix, own_kernel};
use super::pls::{PlsParams, pls_of_folds};
use super::reduce::{ReduceParams, check_finite, reduce, z_score_on};
use super::ridge::{AlphaChoice, InnerLoss, Intercept, RidgeParams, RidgePlan, Selection, Space};
use stereotax_base::data::{Error, Fold, Folds, Monitor, Result, Runs};
use stereotax_base::linalg::{column_means, select_rows};
use stereotax_base::signal::{Drift, Hrf, expand, max_delay_s, padded_rows, remove_drift};
use stereotax_base::stats::summary::{is_constant, pearson};

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
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// Ridge with the penalty chosen by inner cross-validation.
    #[default]
    Ridge,
    /// Least squares by the pseudo-inverse, on at most n_train/10 components.
    LeastSquares,
    /// Ridge with a weight of its own for each band of features ([`super::banded_ridge`]).
    Banded {
        /// Weights tried: the centre of the simplex, then random ones.
        n_candidates: usize,
        /// Seed of the random ones.
        seed: u64,
    },
    /// Ridge in the space of a kernel of the (z-scored) features, with the penalty chosen likewise.
    KernelRidge {
        /// Which kernel; 1/units stands for γ where none is given.
        kernel: Kernel,
    },
    /// Partial least squares of all targets together ([`super::pls()`]).
    Pls {
        /// Components, at least 1.
        n_components: usize,
    },
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
    /// How penalties are judged, by one band of features. Default `Folds`.
    #[serde(default, skip_serializing_if = "by_folds")]
    pub selection: Selection,
    /// Take this drift out of the expanded features, run by run, as it was taken out of the responses:
    /// least squares then gives what a joint fit of features and drift would (Frisch & Waugh 1933).
    /// Default `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Drift>,
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
            selection: ridge.selection,
            project: None,
        }
    }
}

fn by_folds(selection: &Selection) -> bool {
    *selection == Selection::Folds
}

impl EncodingParams {
    fn ridge(&self) -> RidgeParams {
        RidgeParams {
            alphas: match self.solver {
                Solver::LeastSquares => AlphaGrid::absolute(&[0.0]),
                _ => self.alphas.clone(),
            },
            alpha_choice: self.alpha_choice,
            loss: self.loss,
            intercept: self.intercept,
            selection: self.selection,
            ..RidgeParams::default()
        }
    }

    fn reduction(&self) -> Option<ReduceParams> {
        self.reduce.map(|params| match self.solver {
            Solver::LeastSquares => {
                ReduceParams { samples_per_component: params.samples_per_component.max(10), ..params }
            }
            _ => params,
        })
    }

    /// Whether the model of a target depends on the other targets: all must then be fitted in one call.
    pub fn fits_targets_together(&self) -> bool {
        matches!(self.solver, Solver::Pls { .. }) || self.alpha_choice == AlphaChoice::Shared
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
    /// What each band contributes; `None` where features are one band.
    pub bands: Option<BandParts>,
    /// Predictions of the training rows by the inner folds; only where they were asked for.
    pub inner: Option<InnerPredictions>,
}

/// What the inner cross-validation of one outer fold predicted, each row by the fold that held it out.
#[derive(Debug, Clone)]
pub struct InnerPredictions {
    /// The samples, all of the outer training set, fold after fold.
    pub rows: Vec<usize>,
    /// Inner fold of each row, ascending.
    pub folds: Vec<usize>,
    /// `rows` × targets, at the penalty chosen for the target; NaN where that is undefined.
    pub values: Mat<f64>,
}

/// A prediction taken apart into bands.
#[derive(Debug, Clone)]
pub struct BandParts {
    /// ŷ_i per band, `rows` × targets; with `train_means` they sum to the predictions.
    pub parts: Vec<Mat<f64>>,
    /// Mean of each target over the training rows.
    pub train_means: Vec<f64>,
    /// Weight γ_i of each band at the chosen candidate (bands × targets); NaN where undefined.
    pub weights: Mat<f64>,
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
    if let Solver::Banded { .. } = params.solver {
        return Err(Error::Invalid {
            what: "solver".into(),
            expected: "features in bands".into(),
            found: "one set of features".into(),
            hint: "use `predict_fold_banded`, or solve by ridge".into(),
        });
    }
    one_band(features, targets, fold, inner, params, false)
}

/// As the solver says [`predict_fold`] of the first band or [`predict_fold_banded`] of all, with the
/// predictions of the inner folds.
///
/// Cost of these: one more product per inner fold, and 8 · n_train · targets bytes per subject.
pub fn predict_fold_with_inner(
    bands: &[FoldFeatures<'_>],
    targets: &[MatRef<'_, f64>],
    fold: &Fold,
    inner: &[Fold],
    params: &EncodingParams,
) -> Result<Vec<FoldPrediction>> {
    match (params.solver, bands.first()) {
        (Solver::Banded { .. }, _) | (_, None) => several_bands(bands, targets, fold, inner, params, true),
        (_, Some(first)) => one_band(first, targets, fold, inner, params, true),
    }
}

fn one_band(
    features: &FoldFeatures<'_>,
    targets: &[MatRef<'_, f64>],
    fold: &Fold,
    inner: &[Fold],
    params: &EncodingParams,
    keep_inner: bool,
) -> Result<Vec<FoldPrediction>> {
    let plan = FoldPlan::new(features, fold, inner, params)?;
    targets.par_iter().map(|subject| plan.predict(*subject, keep_inner)).collect()
}

/// One outer fold with its features reduced, delayed and decomposed, for any number of subjects and tiles of
/// targets.
///
/// Each target has the same bits in any company, unless targets are fitted together
/// ([`EncodingParams::fits_targets_together`]).
#[derive(Debug)]
pub struct FoldPlan {
    name: String,
    n_samples: usize,
    rows: FoldRows,
    model: FoldModel,
    n_components: usize,
    explained: f64,
}

#[derive(Debug)]
enum FoldModel {
    /// Ridge, of units or of a kernel.
    Ridge(Box<RidgePlan>),
    /// What PLS starts from: the design of the training rows, and that of the test rows below it.
    Pls { design: Mat<f64>, params: PlsParams, loss: InnerLoss },
}

impl FoldPlan {
    /// Do the work on features; `inner` as in [`predict_fold`], and empty where penalties are judged without
    /// folds.
    ///
    /// Errors: bands; those of [`predict_fold`].
    pub fn new(
        features: &FoldFeatures<'_>,
        fold: &Fold,
        inner: &[Fold],
        params: &EncodingParams,
    ) -> Result<Self> {
        let rows = fold_rows(features, &[], fold, inner, params)?;
        let (design, n_components, explained) = design(features, &rows.train, params)?;
        let x_train = select_rows(design.as_ref(), &rows.train);
        let x_test = select_rows(design.as_ref(), &rows.test);
        drop(design);
        let ridge = |plan| FoldModel::Ridge(Box::new(plan));
        let model = match params.solver {
            Solver::KernelRidge { kernel } => {
                let own = own_kernel(x_train.as_ref(), kernel)?;
                let across = kernel_matrix(x_test.as_ref(), x_train.as_ref(), kernel)?;
                ridge(RidgePlan::of_kernel(own.as_ref(), across.as_ref(), &rows.inner, &params.ridge())?)
            }
            Solver::Pls { n_components } => FoldModel::Pls {
                design: below(x_train.as_ref(), x_test.as_ref()),
                params: PlsParams { n_components, scale: false },
                loss: params.loss,
            },
            _ => ridge(RidgePlan::new(x_train.as_ref(), x_test.as_ref(), &rows.inner, &params.ridge())?),
        };
        let n_samples = features.values.nrows();
        Ok(FoldPlan { name: fold.name.clone(), n_samples, rows, model, n_components, explained })
    }

    /// The samples predicted.
    pub fn test_rows(&self) -> &[usize] {
        &self.rows.test
    }

    /// The samples that are fitted.
    pub fn train_rows(&self) -> &[usize] {
        &self.rows.train
    }

    /// Choose penalties and predict for targets (samples × targets, all samples; rows outside the training
    /// set are not read).
    pub fn fit(&self, targets: MatRef<'_, f64>) -> Result<FoldPrediction> {
        self.predict(targets, false)
    }

    /// [`FoldPlan::fit`], with predictions of the training rows by the fits that left them out.
    pub fn fit_with_inner(&self, targets: MatRef<'_, f64>) -> Result<FoldPrediction> {
        self.predict(targets, true)
    }

    fn predict(&self, targets: MatRef<'_, f64>, keep_inner: bool) -> Result<FoldPrediction> {
        if targets.nrows() != self.n_samples {
            return Err(Error::Shape {
                what: format!("targets in fold {}", self.name),
                expected: format!("{} rows (one per row of the features)", self.n_samples),
                found: format!("{} rows", targets.nrows()),
                hint: "rows must be the same stimuli in order".into(),
            });
        }
        let y_train = select_rows(targets, &self.rows.train);
        let plan = match &self.model {
            FoldModel::Ridge(plan) => plan,
            FoldModel::Pls { design, params, loss } => {
                return self.by_components(design, &y_train, params, *loss, keep_inner);
            }
        };
        let fit = plan.fit(y_train.as_ref())?;
        let inner = keep_inner.then(|| plan.inner_predictions(y_train.as_ref(), &fit.alphas)).transpose()?;
        Ok(FoldPrediction {
            inner: inner.map(|values| self.rows.inner_predictions(values.as_ref())),
            rows: self.rows.test.clone(),
            grid_too_narrow: fit.grid_too_narrow(),
            alpha_multiples: fit.alphas.iter().map(|alpha| alpha / fit.mean_square).collect(),
            predictions: fit.predictions,
            alphas: fit.alphas,
            inner_scores: fit.inner_scores,
            n_undefined: fit.n_undefined,
            n_at_lower_edge: fit.n_at_lower_edge,
            n_at_upper_edge: fit.n_at_upper_edge,
            n_components: self.n_components,
            explained: self.explained,
            rank: fit.rank,
            space: fit.space,
            bands: None,
        })
    }

    /// PLS of all targets: the outer fold and the inner ones share their moments.
    fn by_components(
        &self,
        design: &Mat<f64>,
        y_train: &Mat<f64>,
        params: &PlsParams,
        loss: InnerLoss,
        keep_inner: bool,
    ) -> Result<FoldPrediction> {
        let (n, n_targets) = (y_train.nrows(), y_train.ncols());
        let varies: Vec<bool> = (0..n_targets).map(|j| !is_constant(y_train.col_as_slice(j))).collect();
        // Responses of test rows are not read: their places hold the training means.
        let means = column_means(y_train.as_ref());
        let y =
            Mat::from_fn(design.nrows(), n_targets, |i, j| if i < n { y_train[(i, j)] } else { means[j] });
        let outer =
            Fold { name: self.name.clone(), train: (0..n).collect(), test: (n..design.nrows()).collect() };
        let folds: Vec<Fold> = std::iter::once(outer).chain(self.rows.inner.iter().cloned()).collect();
        let mut found = pls_of_folds(design.as_ref(), y.as_ref(), &folds, params, &Monitor::silent())?;
        let inner = found.split_off(1);
        let mut predictions = found.remove(0);
        let mut inner_scores = vec![f64::NAN; n_targets];
        for (j, score) in inner_scores.iter_mut().enumerate().filter(|(j, _)| varies[*j]) {
            let parts = self.rows.inner.iter().zip(&inner);
            *score = inner_score(
                y_train.col_as_slice(j),
                parts.map(|(f, p)| (f, p.predicted.col_as_slice(j))),
                loss,
            );
        }
        let kept = keep_inner.then(|| {
            let mut of_train = Mat::full(n, n_targets, f64::NAN);
            for (fold, part) in self.rows.inner.iter().zip(&inner) {
                for j in (0..n_targets).filter(|&j| varies[j]) {
                    fold.test
                        .iter()
                        .enumerate()
                        .for_each(|(at, &i)| of_train[(i, j)] = part.predicted[(at, j)]);
                }
            }
            self.rows.inner_predictions(of_train.as_ref())
        });
        for j in (0..n_targets).filter(|&j| !varies[j]) {
            predictions.predicted.col_as_slice_mut(j).fill(f64::NAN);
        }
        Ok(FoldPrediction {
            rows: self.rows.test.clone(),
            predictions: predictions.predicted,
            alphas: vec![f64::NAN; n_targets],
            alpha_multiples: vec![f64::NAN; n_targets],
            inner_scores,
            n_undefined: varies.iter().filter(|varies| !**varies).count(),
            n_at_lower_edge: 0,
            n_at_upper_edge: 0,
            grid_too_narrow: false,
            n_components: self.n_components,
            explained: self.explained,
            rank: predictions.n_components,
            space: if design.ncols() > n { Space::Dual } else { Space::Primal },
            bands: None,
            inner: kept,
        })
    }
}

/// Two matrices of the same columns, the second below the first.
fn below(first: MatRef<f64>, second: MatRef<f64>) -> Mat<f64> {
    let n = first.nrows();
    Mat::from_fn(
        n + second.nrows(),
        first.ncols(),
        |i, j| {
            if i < n { first[(i, j)] } else { second[(i - n, j)] }
        },
    )
}

/// What inner folds say of one target that varies: R² against the means of the inner training rows, pooled over
/// folds; or the correlation within folds, weighted by their rows, 0 for a constant prediction.
fn inner_score<'a>(y: &[f64], folds: impl Iterator<Item = (&'a Fold, &'a [f64])>, loss: InnerLoss) -> f64 {
    let (mut error, mut total, mut agreement, mut rows) = (0.0, 0.0, 0.0, 0.0);
    for (fold, predicted) in folds {
        let mean = fold.train.iter().map(|&i| y[i]).sum::<f64>() / fold.train.len() as f64;
        let held_out: Vec<f64> = fold.test.iter().map(|&i| y[i]).collect();
        error += held_out.iter().zip(predicted).map(|(y, p)| (y - p).powi(2)).sum::<f64>();
        total += held_out.iter().map(|y| (y - mean).powi(2)).sum::<f64>();
        if !is_constant(&held_out) {
            let r = pearson(predicted, &held_out);
            agreement += held_out.len() as f64 * if r.is_nan() { 0.0 } else { r };
            rows += held_out.len() as f64;
        }
    }
    match loss {
        InnerLoss::SquaredError => 1.0 - error / total,
        InnerLoss::Correlation => agreement / rows,
    }
}

/// Predict the test rows of `fold` from several bands of features, for every subject.
///
/// Each band is reduced, z-scored and delayed by itself; weights of bands and the penalty are chosen per
/// target by inner cross-validation (specs: nfas-dmd 8.5.5). The first band is the representation: its
/// components are the ones reported. Errors: those of [`predict_fold`], no band, a solver other than
/// `Banded`.
pub fn predict_fold_banded(
    bands: &[FoldFeatures<'_>],
    targets: &[MatRef<'_, f64>],
    fold: &Fold,
    inner: &[Fold],
    params: &EncodingParams,
) -> Result<Vec<FoldPrediction>> {
    several_bands(bands, targets, fold, inner, params, false)
}

fn several_bands(
    bands: &[FoldFeatures<'_>],
    targets: &[MatRef<'_, f64>],
    fold: &Fold,
    inner: &[Fold],
    params: &EncodingParams,
    keep_inner: bool,
) -> Result<Vec<FoldPrediction>> {
    let (Solver::Banded { n_candidates, seed }, Some(first)) = (params.solver, bands.first()) else {
        return Err(Error::Invalid {
            what: "bands".into(),
            expected: "at least one band, and the solver `Banded`".into(),
            found: format!("{} bands and {:?}", bands.len(), params.solver),
            hint: "use `predict_fold` for a single set of features".into(),
        });
    };
    let rows = fold_rows(first, targets, fold, inner, params)?;
    let mut designs = Vec::with_capacity(bands.len());
    let (mut n_components, mut explained) = (0, f64::NAN);
    for (at, band) in bands.iter().enumerate() {
        check_rows(band, targets, fold)?;
        let (design, q, share) = design(band, &rows.train, params)?;
        if at == 0 {
            (n_components, explained) = (q, share);
        }
        designs.push((select_rows(design.as_ref(), &rows.train), select_rows(design.as_ref(), &rows.test)));
    }
    let names: Vec<String> = (0..bands.len()).map(|at| format!("{at}")).collect();
    let fitted: Vec<Band<'_>> = designs
        .iter()
        .zip(&names)
        .map(|((x_train, x_test), name)| Band { name, x_train: x_train.as_ref(), x_test: x_test.as_ref() })
        .collect();
    let subjects: Vec<Mat<f64>> = targets.iter().map(|y| select_rows(*y, &rows.train)).collect();
    let subjects: Vec<MatRef<'_, f64>> = subjects.iter().map(|y| y.as_ref()).collect();
    let banded = BandedParams { n_candidates, seed, ridge: params.ridge() };
    let fits = banded_ridge_of_subjects(&fitted, &subjects, &rows.inner, &banded, keep_inner)?;
    Ok(fits
        .into_iter()
        .map(|fit| {
            let defined = fit.chosen.len() - fit.n_undefined;
            FoldPrediction {
                inner: fit.inner.map(|values| rows.inner_predictions(values.as_ref())),
                rows: rows.test.clone(),
                grid_too_narrow: (fit.n_at_lower_edge + fit.n_at_upper_edge) as f64 > 0.05 * defined as f64,
                n_undefined: fit.n_undefined,
                n_at_lower_edge: fit.n_at_lower_edge,
                n_at_upper_edge: fit.n_at_upper_edge,
                n_components,
                explained,
                rank: fit.rank,
                space: fit.space,
                bands: Some(BandParts {
                    weights: Mat::from_fn(bands.len(), fit.chosen.len(), |i, j| {
                        fit.chosen[j].map_or(f64::NAN, |c| fit.candidates[c][i])
                    }),
                    parts: fit.band_predictions,
                    train_means: fit.train_means,
                }),
                predictions: fit.predictions,
                alphas: fit.alphas,
                alpha_multiples: fit.alpha_multiples,
                inner_scores: fit.inner_scores,
            }
        })
        .collect())
}

/// The rows of an outer fold that take part, and its inner folds counted within the training rows.
#[derive(Debug)]
pub(super) struct FoldRows {
    pub(super) train: Vec<usize>,
    pub(super) test: Vec<usize>,
    pub(super) inner: Vec<Fold>,
}

impl FoldRows {
    /// Predictions of the training rows, in the order of the inner folds that held them out; where there are no
    /// folds each row was left out by itself.
    fn inner_predictions(&self, of_train: MatRef<f64>) -> InnerPredictions {
        if self.inner.is_empty() {
            return InnerPredictions {
                rows: self.train.clone(),
                folds: vec![0; self.train.len()],
                values: of_train.to_owned(),
            };
        }
        let at: Vec<usize> = self.inner.iter().flat_map(|fold| fold.test.iter().copied()).collect();
        let of_fold = |(index, fold): (usize, &Fold)| vec![index; fold.test.len()];
        InnerPredictions {
            rows: at.iter().map(|&i| self.train[i]).collect(),
            folds: self.inner.iter().enumerate().flat_map(of_fold).collect(),
            values: select_rows(of_train, &at),
        }
    }
}

pub(super) fn fold_rows(
    features: &FoldFeatures<'_>,
    targets: &[MatRef<'_, f64>],
    fold: &Fold,
    inner: &[Fold],
    params: &EncodingParams,
) -> Result<FoldRows> {
    check_rows(features, targets, fold)?;
    let dropped = if params.drop_padded { padded_rows(features.runs, &params.hrf) } else { vec![] };
    let keep = |rows: &[usize]| -> Vec<usize> {
        rows.iter().copied().filter(|row| dropped.binary_search(row).is_err()).collect()
    };
    let (train, test) = (keep(&fold.train), keep(&fold.test));
    let inner = inner
        .iter()
        .map(|inner_fold| {
            Ok(Fold {
                name: inner_fold.name.clone(),
                train: positions(&keep(&inner_fold.train), &train, &inner_fold.name)?,
                test: positions(&keep(&inner_fold.test), &train, &inner_fold.name)?,
            })
        })
        .collect::<Result<Vec<Fold>>>()?;
    Ok(FoldRows { train, test, inner })
}

/// Components, z-scores and delays of all samples; the number of components and their share of variance.
pub(super) fn design(
    features: &FoldFeatures<'_>,
    train: &[usize],
    params: &EncodingParams,
) -> Result<(Mat<f64>, usize, f64)> {
    let (scores, explained) = match params.reduction() {
        Some(reduction) => {
            let reduced = reduce(features.values, train, &reduction)?;
            (reduced.scores, reduced.explained)
        }
        None => {
            check_finite(features.values, "features")?;
            let mut scores = features.values.to_owned();
            z_score_on(&mut scores, train);
            (scores, 1.0)
        }
    };
    let expanded = expand(scores.as_ref(), features.runs, features.tr_s, &params.hrf)?;
    let design = match params.project {
        Some(drift) => remove_drift(expanded.as_ref(), features.runs, features.tr_s, drift)?,
        None => expanded,
    };
    Ok((design, scores.ncols(), explained))
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
        /// How many folds, at most one per stimulus.
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
    let n_units = units.iter().collect::<std::collections::BTreeSet<_>>().len();
    let to_samples = |rows: &[usize]| rows.iter().map(|&row| fold.train[row]).collect();
    Ok(Folds::k_fold(&units, n_folds.min(n_units), seed)?
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

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::linalg::product;
    use stereotax_base::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(9, "nested tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn four_runs() -> Runs {
        let names: Vec<String> = (0..4).map(|i| format!("story {i}")).collect();
        Runs::from_lengths(&names, &[40, 50, 45, 40]).unwrap()
    }

    /// Responses that follow features by a delayed kernel, for subjects of 150 and 9 targets.
    fn planted(runs: &Runs, features: &Mat<f64>) -> Vec<Mat<f64>> {
        let hrf = Hrf::Fir { delays: vec![2, 3] };
        let design = expand(features.as_ref(), runs, 2.0, &hrf).unwrap();
        [(150, 1), (9, 2)]
            .into_iter()
            .map(|(n_targets, index)| {
                let weights = noise(design.ncols(), n_targets, index);
                product(design.as_ref(), weights.as_ref()) + noise(design.nrows(), n_targets, index + 10)
            })
            .collect()
    }

    fn params() -> EncodingParams {
        EncodingParams { hrf: Hrf::Fir { delays: vec![1, 2, 3] }, ..EncodingParams::default() }
    }

    fn run(
        features: &Mat<f64>,
        runs: &Runs,
        targets: &[&Mat<f64>],
        held: usize,
        params: &EncodingParams,
    ) -> Vec<FoldPrediction> {
        let fold = Folds::leave_one_run_out(runs).unwrap()[held].clone();
        let inner = inner_folds(runs, &fold, InnerScheme::Runs { max_folds: 8 }).unwrap();
        let features = FoldFeatures { values: features.as_ref(), runs, tr_s: 2.0 };
        let targets: Vec<MatRef<'_, f64>> = targets.iter().map(|y| y.as_ref()).collect();
        predict_fold(&features, &targets, &fold, &inner, params).unwrap()
    }

    fn correlation(a: &[f64], b: &[f64]) -> f64 {
        let n = a.len() as f64;
        let (ma, mb) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
        let cov: f64 = a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum();
        let (va, vb) = (a.iter().map(|a| (a - ma).powi(2)), b.iter().map(|b| (b - mb).powi(2)));
        cov / (va.sum::<f64>() * vb.sum::<f64>()).sqrt()
    }

    #[test]
    fn held_out_runs_are_predicted_from_delayed_features() {
        let runs = four_runs();
        let features = noise(175, 6, 0);
        let targets = planted(&runs, &features);
        let found = run(&features, &runs, &[&targets[0]], 1, &params());
        let observed = select_rows(targets[0].as_ref(), &found[0].rows);
        let mean_r = (0..150)
            .map(|j| correlation(observed.col_as_slice(j), found[0].predictions.col_as_slice(j)))
            .sum::<f64>()
            / 150.0;
        // Signal variance 12 against noise 1: the best possible is about 0.96.
        assert!(mean_r > 0.9, "{mean_r}");
        assert_eq!((found[0].n_components, found[0].rank), (6, 18));
        assert_eq!(found[0].rows, (40..90).collect::<Vec<_>>());
        let mean_inner = found[0].inner_scores.iter().sum::<f64>() / 150.0;
        assert!(mean_inner > 0.8, "{mean_inner}");
    }

    #[test]
    fn held_out_responses_are_never_read() {
        let runs = four_runs();
        let features = noise(175, 6, 0);
        let targets = planted(&runs, &features);
        let before = run(&features, &runs, &[&targets[1]], 2, &params());
        let mut disturbed = targets[1].clone();
        for i in runs.range(2) {
            for j in 0..9 {
                disturbed[(i, j)] = f64::NAN;
            }
        }
        let after = run(&features, &runs, &[&disturbed], 2, &params());
        assert_eq!(before[0].predictions, after[0].predictions);
        assert_eq!(before[0].inner_scores, after[0].inner_scores);
        // A training response does matter.
        disturbed[(3, 0)] += 1.0;
        let moved = run(&features, &runs, &[&disturbed], 2, &params());
        assert_ne!(before[0].predictions, moved[0].predictions);
    }

    #[test]
    fn a_subject_has_the_same_bits_alone_in_company_and_on_any_number_of_threads() {
        let runs = four_runs();
        let features = noise(175, 6, 0);
        let targets = planted(&runs, &features);
        let together = run(&features, &runs, &[&targets[0], &targets[1]], 0, &params());
        let alone = run(&features, &runs, &[&targets[1]], 0, &params());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let one = pool.install(|| run(&features, &runs, &[&targets[0], &targets[1]], 0, &params()));
        for other in [&alone[0], &one[1]] {
            assert_eq!(together[1].predictions, other.predictions);
            assert_eq!(together[1].alphas, other.alphas);
            assert_eq!(together[1].inner_scores, other.inner_scores);
        }
        assert_eq!(together[0].predictions, one[0].predictions);
    }

    #[test]
    fn padded_samples_can_be_left_out_and_least_squares_takes_fewer_components() {
        let runs = four_runs();
        let features = noise(175, 6, 0);
        let targets = planted(&runs, &features);
        let dropped = EncodingParams { drop_padded: true, ..params() };
        let found = run(&features, &runs, &[&targets[1]], 0, &dropped);
        assert_eq!(found[0].rows, (3..40).collect::<Vec<_>>());
        let wide = noise(175, 40, 3);
        let ols = EncodingParams { solver: Solver::LeastSquares, ..EncodingParams::default() };
        let found = run(&wide, &runs, &[&targets[1]], 0, &ols);
        assert_eq!((found[0].n_components, found[0].alphas[0]), (13, 0.0));
        let ridge = run(&wide, &runs, &[&targets[1]], 0, &EncodingParams::default());
        assert_eq!(ridge[0].n_components, 16);
    }

    #[test]
    fn bands_are_told_apart_and_subjects_keep_their_bits() {
        let runs = four_runs();
        // The second band drives the response and leaks into the first.
        let nuisance = noise(175, 2, 20);
        let own = noise(175, 3, 21);
        let features = Mat::from_fn(175, 3, |t, k| own[(t, k)] + 1.5 * nuisance[(t, k % 2)]);
        let e = noise(175, 4, 22);
        let y = Mat::from_fn(175, 4, |t, j| match j {
            0 => 2.0 * nuisance[(t, 0)] + 0.5 * e[(t, 0)],
            1 => 2.0 * own[(t, 1)] + 0.5 * e[(t, 1)],
            j => e[(t, j)],
        });
        let banded = EncodingParams {
            reduce: None,
            solver: Solver::Banded { n_candidates: 12, seed: 3 },
            ..EncodingParams::default()
        };
        let fold = Folds::leave_one_run_out(&runs).unwrap()[1].clone();
        let inner = inner_folds(&runs, &fold, InnerScheme::Runs { max_folds: 8 }).unwrap();
        let bands = [&features, &nuisance].map(|values| FoldFeatures {
            values: values.as_ref(),
            runs: &runs,
            tr_s: 2.0,
        });
        let targets = [y.as_ref(), y.get(.., 1..3)];
        let found = predict_fold_banded(&bands, &targets, &fold, &inner, &banded).unwrap();
        let parts = found[0].bands.as_ref().unwrap();
        let sum = Mat::from_fn(50, 4, |t, j| {
            parts.train_means[j] + parts.parts[0][(t, j)] + parts.parts[1][(t, j)]
        });
        assert!((&sum - &found[0].predictions).norm_max() < 1e-12);
        let energy =
            |band: usize, j: usize| parts.parts[band].col_as_slice(j).iter().map(|x| x * x).sum::<f64>();
        // By itself the first band would predict target 0 well; beside the second it is hardly used.
        assert!(energy(0, 0) < 0.05 * energy(1, 0), "{} {}", energy(0, 0), energy(1, 0));
        assert!(energy(0, 1) > energy(1, 1));
        assert!(parts.weights[(1, 0)] > 0.5);
        // In company and alone: the same bits.
        let alone = predict_fold_banded(&bands, &targets[1..], &fold, &inner, &banded).unwrap();
        assert_eq!(found[1].predictions, alone[0].predictions);
        assert_eq!(found[1].alpha_multiples, alone[0].alpha_multiples);
        // Held-out responses are never read.
        let mut disturbed = y.clone();
        fold.test.iter().for_each(|&row| disturbed[(row, 0)] = f64::NAN);
        let after = predict_fold_banded(&bands, &[disturbed.as_ref()], &fold, &inner, &banded).unwrap();
        assert_eq!(found[0].predictions, after[0].predictions);
        assert!(predict_fold(&bands[0], &targets, &fold, &inner, &banded).is_err());
    }

    #[test]
    fn projected_features_fit_as_if_drift_were_fitted_with_them() {
        // Frisch–Waugh: slopes of residualised responses on residualised features are those of the joint fit.
        let runs = Runs::from_lengths(&["a".into(), "b".into()], &[60, 60]).unwrap();
        let x = noise(120, 2, 30);
        let trend = |t: usize| (t % 60) as f64 / 20.0;
        // Features drift as the responses do.
        let x = Mat::from_fn(120, 2, |t, k| x[(t, k)] + trend(t));
        let e = noise(120, 1, 31);
        let y = Mat::from_fn(120, 1, |t, _| x[(t, 0)] - 0.5 * x[(t, 1)] - 3.0 * trend(t) + 0.1 * e[(t, 0)]);
        let drift = Drift::Polynomial { polort: 1 };
        let clean = remove_drift(y.as_ref(), &runs, 2.0, drift).unwrap();
        let fold = Folds::leave_one_run_out(&runs).unwrap()[1].clone();
        let fit = |project| {
            let params = EncodingParams {
                reduce: None,
                project,
                alphas: AlphaGrid::absolute(&[0.0]),
                ..EncodingParams::default()
            };
            let features = FoldFeatures { values: x.as_ref(), runs: &runs, tr_s: 2.0 };
            predict_fold(&features, &[clean.as_ref()], &fold, &[], &params).unwrap().remove(0)
        };
        let residual = |found: &FoldPrediction| -> f64 {
            let each = found.rows.iter().enumerate();
            (each.map(|(at, &row)| (clean[(row, 0)] - found.predictions[(at, 0)]).powi(2)).sum::<f64>()
                / 60.0)
                .sqrt()
        };
        let (strict, loose) = (fit(Some(drift)), fit(None));
        assert!(residual(&strict) < 0.13, "{}", residual(&strict));
        // With a trend of variance 0.74 left in both features, the best slopes miss by √0.075.
        assert!(residual(&loose) > 0.2, "{}", residual(&loose));
    }

    #[test]
    fn inner_runs_are_grouped_and_stay_inside_training() {
        let names: Vec<String> = (0..11).map(|i| format!("r{i}")).collect();
        let runs = Runs::from_lengths(&names, &[5; 11]).unwrap();
        let fold = Folds::leave_one_run_out(&runs).unwrap()[4].clone();
        let inner = inner_folds(&runs, &fold, InnerScheme::Runs { max_folds: 8 }).unwrap();
        assert_eq!(inner.len(), 8);
        let mut held: Vec<usize> = inner.iter().flat_map(|f| f.test.clone()).collect();
        held.sort_unstable();
        assert_eq!(held, fold.train);
        assert!(inner.iter().all(|f| f.train.len() + f.test.len() == 50));
        assert!(inner.iter().any(|f| f.name == "r0") && inner.iter().any(|f| f.name.contains(" + ")));
        let two = Runs::from_lengths(&names[..2], &[5; 2]).unwrap();
        let fold = Folds::leave_one_run_out(&two).unwrap()[0].clone();
        assert!(inner_folds(&two, &fold, InnerScheme::Runs { max_folds: 8 }).is_err());
    }

    #[test]
    fn inner_units_keep_repeats_together_and_blocks_keep_their_distance() {
        let ids: Vec<String> = (0..40).map(|i| format!("clip {}", i / 2)).collect();
        let outer = Folds::k_fold(&ids, 4, 1).unwrap();
        let scheme = InnerScheme::Units { ids: &ids, n_folds: 5, seed: 2 };
        for inner in inner_folds(&Runs::single(40), &outer[0], scheme).unwrap() {
            assert!(inner.test.iter().all(|i| inner.test.contains(&(i ^ 1))));
            assert!(inner.test.iter().all(|i| outer[0].train.contains(i)));
        }
        // 15 clips are trained on: more folds than that there cannot be.
        let scheme = InnerScheme::Units { ids: &ids, n_folds: 50, seed: 2 };
        assert_eq!(inner_folds(&Runs::single(40), &outer[0], scheme).unwrap().len(), 15);
        let runs = Runs::single(120);
        let outer = Folds::contiguous(120, 4, 6).unwrap();
        let inner = inner_folds(&runs, &outer[1], InnerScheme::Blocks { n_folds: 3, gap: 6 }).unwrap();
        for fold in &inner {
            for t in &fold.test {
                assert!(fold.train.iter().all(|row| row.abs_diff(*t) > 6), "{}", fold.name);
            }
            assert!(fold.train.iter().chain(&fold.test).all(|row| outer[1].train.contains(row)));
        }
        assert_eq!(purge_gap(2.0, &Hrf::None), 6);
        assert_eq!(purge_gap(1.5, &Hrf::Fir { delays: vec![1, 10] }), 10);
    }

    #[test]
    fn inner_folds_that_touch_held_out_rows_are_refused() {
        let runs = four_runs();
        let features = noise(175, 6, 0);
        let y = noise(175, 2, 1);
        let folds = Folds::leave_one_run_out(&runs).unwrap();
        let inner: Vec<Fold> = folds.iter().cloned().collect();
        let input = FoldFeatures { values: features.as_ref(), runs: &runs, tr_s: 2.0 };
        let error = predict_fold(&input, &[y.as_ref()], &folds[0], &inner, &params()).unwrap_err();
        assert!(error.to_string().contains("outer training"), "{error}");
    }
}
