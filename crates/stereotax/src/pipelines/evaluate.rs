//! Score representations: predict every fold's held-out responses and correlate them with what was seen.
//!
//! One cell is one model × representation × subject, all ROIs together. For a fold, subjects share the
//! work on features (components, delays, eigendecompositions); each has matrix products of its own, so
//! that a cell's bits do not depend on which other subjects were there.
//!
//! Where nuisance bands are fitted beside a representation (banded ridge), the prediction is
//! ŷ = ȳ + ŷ_F + ŷ_N with the representation's part ŷ_F and the nuisance's part ŷ_N. The cell's correlation
//! is then semi-partial: of ŷ_F with what ŷ_N leaves of the response, on the scale of the whole response,
//!
//! ```text
//! r = c · corr(ŷ_F, y − ŷ_N),   c = min(1, √(Σ_t (y − ŷ_N)² / Σ_t y²))   (centred within held-out runs)
//! ```
//!
//! so that r² is the share of the response's variance that the representation's part explains beyond the
//! nuisance's part. A plain corr(ŷ_F, y) would give a representation credit for whatever it shares with
//! the nuisance however small its part of the prediction is, and the joint score minus that of nuisance
//! alone compares two fits that divide shared variance differently. Draws and p-values are of the same
//! quantity, c held fixed; n_eff is divided by c², so that E[r²] = 1/n_eff by chance still. The
//! product-measure split of R² over all bands is kept beside it.
//! Sources: specs nfas-dmd 8.5 (encoding), 9 (score, chance); DESIGN 1.4 (one resampling plan).

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::bootstrap::bootstrap_correlations;
use super::design::{Clock, SampleDesign};
use super::represent::Features;
use crate::data::{Error, Fold, Monitor, Result, Runs};
use crate::encoding::{
    BandParts, EncodingParams, FoldFeatures, FoldPrediction, InnerScheme, Selection, Solver, inner_folds,
    predict_fold, predict_fold_banded, predict_fold_with_inner,
};
use crate::linalg::select_rows;
use crate::stats::resampling::ResamplingPlan;
use crate::stats::score::{
    CROSS_VALIDATED_SPREAD, NullParams, NullScheme, correlation_test, effective_samples,
    run_weighted_correlation,
};

/// How the training rows are divided to choose penalties and representations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InnerRule {
    /// Leave one run out, at most this many folds.
    Runs(usize),
    /// Deal the stimuli into this many folds.
    Units(usize),
    /// Contiguous blocks with purged edges.
    Blocks {
        /// How many.
        n_folds: usize,
        /// Samples purged on both sides.
        gap: usize,
    },
}

/// Everything a cell's numbers depend on besides its data.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EvaluateParams {
    /// The encoding model.
    pub encoding: EncodingParams,
    /// The inner cross-validation.
    pub inner: InnerRule,
    /// Seed of folds and draws.
    pub seed: u64,
    /// Bootstrap draws of blocks, for cells that keep draws.
    pub n_bootstraps: usize,
    /// Null draws, for cells that keep draws.
    pub n_shifts: usize,
    /// Least circular shift in seconds.
    pub min_shift_s: f64,
    /// What null draws are made of, where layers are encoded. Default `Shift`.
    #[serde(default, skip_serializing_if = "NullModel::is_shift")]
    pub null: NullModel,
}

/// What null draws of an encoding score are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NullModel {
    /// Held-out predictions moved against responses, the draws widened by √2 for what predictions owe to the
    /// responses of the other folds.
    #[default]
    Shift,
    /// Models fitted again to responses that were moved, with penalties and layers chosen anew.
    Refit,
}

impl NullModel {
    fn is_shift(&self) -> bool {
        *self == NullModel::Shift
    }
}

/// Held-out predictions of one cell and what follows from them.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Correlation per ROI, run-weighted; NaN where prediction or response is constant.
    pub r: Vec<f64>,
    /// Effective number of samples per ROI: E[r²] = 1/n_eff by chance.
    pub n_eff: Vec<f64>,
    /// Held-out samples.
    pub n_samples: usize,
    /// Penalty per fold and ROI, as a multiple of mean(s²) (folds × ROIs).
    pub alphas: Mat<f64>,
    /// Inner cross-validated score per fold and ROI (folds × ROIs): what selection may look at.
    pub inner_scores: Mat<f64>,
    /// Share of (fold, ROI) whose penalty is on an edge of the grid.
    pub share_at_edge: f64,
    /// Components of the features, per fold.
    pub n_components: Vec<usize>,
    /// How the bands share the joint R²; `None` where features are one band.
    pub split: Option<Split>,
    /// Predictions, bootstrap and null draws.
    pub draws: Option<Draws>,
}

/// How bands share the R² of all held-out samples: the representation first, then the nuisance sets.
#[derive(Debug, Clone)]
pub struct Split {
    /// Product measure Σ(2yŷ_i − ŷ_iŷ)/Σy² per band and ROI, y minus the training mean of its fold (bands ×
    /// ROIs); each column sums to `joint`; single entries may be negative. NaN where undefined.
    pub r2: Mat<f64>,
    /// Joint R² = 1 − Σ(y − ŷ)²/Σy² per ROI.
    pub joint: Vec<f64>,
    /// Weight of each band, mean over folds (bands × ROIs).
    pub weights: Mat<f64>,
}

/// What a claim's interval and p-value rest on.
#[derive(Debug, Clone)]
pub struct Draws {
    /// Held-out predictions (samples × ROIs), in the order of [`held_out_order`].
    pub predictions: Mat<f64>,
    /// Correlations of the bootstrap draws (draws × ROIs).
    pub bootstrap: Mat<f64>,
    /// Correlations of the null draws, draw after draw; empty where chance cannot be imitated.
    pub null: Vec<f32>,
    /// One-sided p-value per ROI; NaN where undefined.
    pub p_value: Vec<f64>,
    /// Why there is no p-value, or what limits it.
    pub note: Option<String>,
}

/// Samples in the order of their folds, and the folds as runs: the order in which scores are computed.
pub fn held_out_order(design: &SampleDesign) -> Result<(Vec<usize>, Runs)> {
    let held: Vec<&Fold> = design.folds.iter().filter(|fold| !fold.test.is_empty()).collect();
    let names: Vec<String> = held.iter().map(|fold| fold.name.clone()).collect();
    let lengths: Vec<usize> = held.iter().map(|fold| fold.test.len()).collect();
    let order = held.iter().flat_map(|fold| fold.test.iter().copied()).collect();
    Ok((order, Runs::from_lengths(&names, &lengths)?))
}

/// Predict one fold for all subjects from one representation, with `nuisance` as further bands where the
/// solver is banded (ignored otherwise).
pub fn predict(
    features: &Features,
    nuisance: &[Features],
    fold: &Fold,
    design: &SampleDesign,
    responses: &[MatRef<'_, f64>],
    params: &EvaluateParams,
) -> Result<Vec<FoldPrediction>> {
    predict_as(features, nuisance, fold, design, responses, params, false)
}

/// [`predict`], with the predictions of the inner folds kept if `keep_inner`.
pub(super) fn predict_as(
    features: &Features,
    nuisance: &[Features],
    fold: &Fold,
    design: &SampleDesign,
    responses: &[MatRef<'_, f64>],
    params: &EvaluateParams,
    keep_inner: bool,
) -> Result<Vec<FoldPrediction>> {
    let inner = inner_of(fold, design, params)?;
    let tr_s = tr_of(design);
    fn of<'a>(features: &'a Features, design: &'a SampleDesign, tr_s: f64) -> FoldFeatures<'a> {
        FoldFeatures { values: features.view(), runs: &design.runs, tr_s }
    }
    if !matches!(params.encoding.solver, Solver::Banded { .. }) {
        let features = of(features, design, tr_s);
        return if keep_inner {
            predict_fold_with_inner(&[features], responses, fold, &inner, &params.encoding)
        } else {
            predict_fold(&features, responses, fold, &inner, &params.encoding)
        };
    }
    if nuisance.is_empty() {
        return Err(Error::TooFew {
            what: "bands".into(),
            needed: "a nuisance set beside the representation".into(),
            found: "none".into(),
            hint: "give nuisance features, or solve by ridge".into(),
        });
    }
    let bands: Vec<FoldFeatures<'_>> =
        std::iter::once(features).chain(nuisance).map(|f| of(f, design, tr_s)).collect();
    if keep_inner {
        predict_fold_with_inner(&bands, responses, fold, &inner, &params.encoding)
    } else {
        predict_fold_banded(&bands, responses, fold, &inner, &params.encoding)
    }
}

/// How the training rows of a fold are divided again; not at all where penalties are judged without folds.
pub(super) fn inner_of(fold: &Fold, design: &SampleDesign, params: &EvaluateParams) -> Result<Vec<Fold>> {
    if params.encoding.selection != Selection::Folds {
        return Ok(Vec::new());
    }
    let scheme = match params.inner {
        InnerRule::Runs(max_folds) => InnerScheme::Runs { max_folds },
        InnerRule::Units(n_folds) => InnerScheme::Units { ids: &design.ids, n_folds, seed: params.seed },
        InnerRule::Blocks { n_folds, gap } => InnerScheme::Blocks { n_folds, gap },
    };
    inner_folds(&design.runs, fold, scheme)
}

/// Seconds per sample.
pub(super) fn tr_of(design: &SampleDesign) -> f64 {
    match design.clock {
        Clock::Tr { tr_s } => tr_s,
        // No haemodynamics on a stimulus clock, so this is never used.
        Clock::Stimulus => 1.0,
    }
}

/// The moves of whole responses, all samples in their own order, to which models are fitted again.
pub(super) fn refit_null_of(design: &SampleDesign, params: &EvaluateParams) -> NullParams {
    let order: Vec<usize> = (0..design.n_samples()).collect();
    // Every draw goes through all that the responses went through: nothing is widened.
    NullParams { spread: 1.0, ..null_of(&order, design, params) }
}

/// What null draws of held-out samples, in `order`, move.
pub(super) fn null_of(order: &[usize], design: &SampleDesign, params: &EvaluateParams) -> NullParams {
    let scheme = match design.clock {
        Clock::Tr { tr_s } => {
            NullScheme::CircularShift { min_shift: (params.min_shift_s / tr_s).ceil() as usize }
        }
        Clock::Stimulus => NullScheme::Blocks {
            block_ids: order.iter().map(|&i| design.block_names[design.blocks[i]].clone()).collect(),
        },
    };
    NullParams {
        scheme,
        n_permutations: params.n_shifts.max(1),
        seed: params.seed,
        spread: CROSS_VALIDATED_SPREAD,
    }
}

/// How often each block is drawn in each bootstrap draw (draws × blocks).
pub(super) fn block_draws(design: &SampleDesign, params: &EvaluateParams) -> Result<Mat<f64>> {
    let plan = ResamplingPlan::new(params.seed, &design.block_names, params.n_bootstraps, params.n_shifts)?;
    let rows: Vec<Vec<u32>> =
        (0..params.n_bootstraps).into_par_iter().map(|b| plan.bootstrap(b).blocks).collect();
    Ok(Mat::from_fn(params.n_bootstraps, design.block_names.len(), |b, k| f64::from(rows[b][k])))
}

/// Put the folds of one cell together and score them.
pub fn score_cell(
    folds: &[&FoldPrediction],
    responses: MatRef<f64>,
    design: &SampleDesign,
    keep_draws: bool,
    params: &EvaluateParams,
    monitor: &Monitor,
) -> Result<Cell> {
    let (order, runs) = held_out_order(design)?;
    let n_rois = responses.ncols();
    let observed = select_rows(responses, &order);
    let in_order = |of: &dyn Fn(&FoldPrediction, usize, usize) -> f64| {
        let mut by_sample = Mat::<f64>::zeros(design.n_samples(), n_rois);
        for fold in folds {
            for (at, &row) in fold.rows.iter().enumerate() {
                for roi in 0..n_rois {
                    // An undefined prediction is a constant one: it has no correlation in its run.
                    let value = of(fold, at, roi);
                    by_sample[(row, roi)] = if value.is_finite() { value } else { 0.0 };
                }
            }
        }
        select_rows(by_sample.as_ref(), &order)
    };
    // What is predicted, from what, and on which scale.
    let banded = folds.iter().any(|fold| fold.bands.is_some());
    let (predictions, target, scale, split) = if banded {
        let part = |fold: &FoldPrediction, band: usize, at: usize, roi: usize| {
            fold.bands.as_ref().and_then(|b: &BandParts| b.parts.get(band)).map_or(0.0, |p| p[(at, roi)])
        };
        let n_bands = folds.iter().filter_map(|f| f.bands.as_ref()).map(|b| b.parts.len()).max().unwrap_or(1);
        let predictions = in_order(&|fold, at, roi| part(fold, 0, at, roi));
        let nuisance =
            in_order(&|fold, at, roi| (1..n_bands).map(|band| part(fold, band, at, roi)).sum::<f64>());
        let left = &observed - &nuisance;
        let scale = shares_left(left.as_ref(), observed.as_ref(), &runs);
        (predictions, left, scale, Some(split_bands(folds, responses, n_bands)))
    } else {
        let predictions = in_order(&|fold, at, roi| fold.predictions[(at, roi)]);
        (predictions, observed, vec![1.0; n_rois], None)
    };
    let correlations = run_weighted_correlation(predictions.as_ref(), target.as_ref(), &runs)?;
    let n_eff: Vec<f64> = match design.clock {
        Clock::Tr { .. } => {
            effective_samples(predictions.as_ref(), target.as_ref(), &runs, design.n_samples())?
        }
        // Stimuli are exchangeable: every one counts.
        Clock::Stimulus => correlations.n_samples.iter().map(|&n| n as f64).collect(),
    };
    let n_edges: usize = folds.iter().map(|f| f.n_at_lower_edge + f.n_at_upper_edge).sum();
    let mut draws =
        keep_draws.then(|| draw(predictions, target, &order, &runs, design, params, monitor)).transpose()?;
    if let Some(draws) = draws.as_mut().filter(|_| banded) {
        for (roi, c) in scale.iter().enumerate() {
            draws.bootstrap.col_mut(roi).iter_mut().for_each(|r| *r *= c);
        }
        for row in draws.null.chunks_exact_mut(n_rois.max(1)) {
            row.iter_mut().zip(&scale).for_each(|(r, c)| *r = (f64::from(*r) * c) as f32);
        }
    }
    Ok(Cell {
        r: correlations.r.iter().zip(&scale).map(|(r, c)| r * c).collect(),
        n_eff: n_eff.iter().zip(&scale).map(|(n, c)| n / (c * c)).collect(),
        n_samples: order.len(),
        alphas: Mat::from_fn(folds.len(), n_rois, |f, roi| folds[f].alpha_multiples[roi]),
        inner_scores: Mat::from_fn(folds.len(), n_rois, |f, roi| folds[f].inner_scores[roi]),
        share_at_edge: n_edges as f64 / (folds.len() * n_rois).max(1) as f64,
        n_components: folds.iter().map(|f| f.n_components).collect(),
        split,
        draws,
    })
}

/// c = min(1, √(Σ left² / Σ whole²)) per ROI, both centred within runs; 1 where `whole` does not vary.
fn shares_left(left: MatRef<f64>, whole: MatRef<f64>, runs: &Runs) -> Vec<f64> {
    let squares = |x: MatRef<f64>, roi: usize| -> f64 {
        runs.ranges()
            .map(|range| {
                let mean = range.clone().map(|t| x[(t, roi)]).sum::<f64>() / range.len() as f64;
                range.map(|t| (x[(t, roi)] - mean).powi(2)).sum::<f64>()
            })
            .sum()
    };
    (0..whole.ncols())
        .map(|roi| {
            let total = squares(whole, roi);
            if total > 0.0 { (squares(left, roi) / total).sqrt().min(1.0) } else { 1.0 }
        })
        .collect()
}

/// The product measure of every band over all held-out samples.
fn split_bands(folds: &[&FoldPrediction], responses: MatRef<f64>, n_bands: usize) -> Split {
    let n_rois = responses.ncols();
    let (mut shares, mut weights) = (Mat::<f64>::zeros(n_bands, n_rois), Mat::<f64>::zeros(n_bands, n_rois));
    let (mut total, mut error) = (vec![0.0; n_rois], vec![0.0; n_rois]);
    let with_bands: Vec<(&FoldPrediction, &BandParts)> =
        folds.iter().filter_map(|fold| Some((*fold, fold.bands.as_ref()?))).collect();
    for (fold, bands) in &with_bands {
        for roi in 0..n_rois {
            for (at, &row) in fold.rows.iter().enumerate() {
                let y = responses[(row, roi)] - bands.train_means[roi];
                let fitted = fold.predictions[(at, roi)] - bands.train_means[roi];
                for band in 0..n_bands {
                    shares[(band, roi)] += bands.parts[band][(at, roi)] * (2.0 * y - fitted);
                }
                total[roi] += y * y;
                error[roi] += (y - fitted).powi(2);
            }
            for band in 0..n_bands {
                weights[(band, roi)] += bands.weights[(band, roi)] / with_bands.len() as f64;
            }
        }
    }
    let defined = |roi: usize| if total[roi] > 0.0 { total[roi] } else { f64::NAN };
    Split {
        r2: Mat::from_fn(n_bands, n_rois, |band, roi| shares[(band, roi)] / defined(roi)),
        joint: (0..n_rois).map(|roi| 1.0 - error[roi] / defined(roi)).collect(),
        weights,
    }
}

fn draw(
    predictions: Mat<f64>,
    observed: Mat<f64>,
    order: &[usize],
    runs: &Runs,
    design: &SampleDesign,
    params: &EvaluateParams,
    monitor: &Monitor,
) -> Result<Draws> {
    let blocks: Vec<usize> = order.iter().map(|&i| design.blocks[i]).collect();
    let null = null_of(order, design, params);
    let (null, p_value, note) =
        match correlation_test(predictions.as_ref(), observed.as_ref(), runs, &null, monitor) {
            Ok(test) => (test.null, test.p_value, test.support.warning),
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            // Runs too short to be shifted, blocks torn apart by folds: no null, and the reason.
            Err(reason) => (Vec::new(), vec![f64::NAN; predictions.ncols()], Some(reason.to_string())),
        };
    let multiplicities = block_draws(design, params)?;
    let groups: Vec<Option<usize>> = runs.codes().into_iter().map(Some).collect();
    let bootstrap = bootstrap_correlations(
        predictions.as_ref(),
        observed.as_ref(),
        &groups,
        &blocks,
        multiplicities.as_ref(),
    );
    Ok(Draws { predictions, bootstrap, null, p_value, note })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Folds;
    use crate::encoding::Space;

    fn design() -> SampleDesign {
        SampleDesign {
            ids: (0..8).map(|i| format!("s{i}")).collect(),
            runs: Runs::single(8),
            clock: Clock::Stimulus,
            folds: Folds::contiguous(8, 2, 0).unwrap(),
            blocks: (0..8).collect(),
            block_names: (0..8).map(|i| i.to_string()).collect(),
        }
    }

    fn params() -> EvaluateParams {
        EvaluateParams {
            encoding: EncodingParams::default(),
            inner: InnerRule::Units(2),
            seed: 0,
            n_bootstraps: 20,
            n_shifts: 20,
            null: NullModel::Shift,
            min_shift_s: 20.0,
        }
    }

    fn column(values: &[f64]) -> Mat<f64> {
        Mat::from_fn(values.len(), 1, |i, _| values[i])
    }

    /// A fold that predicts from two bands.
    fn banded(fold: &Fold, features: &[f64], nuisance: &[f64]) -> FoldPrediction {
        FoldPrediction {
            inner: None,
            rows: fold.test.clone(),
            predictions: column(&features.iter().zip(nuisance).map(|(f, n)| f + n).collect::<Vec<_>>()),
            alphas: vec![1.0],
            alpha_multiples: vec![1.0],
            inner_scores: vec![0.5],
            n_undefined: 0,
            n_at_lower_edge: 0,
            n_at_upper_edge: 0,
            grid_too_narrow: false,
            n_components: 1,
            explained: 1.0,
            rank: 2,
            space: Space::Primal,
            bands: Some(BandParts {
                parts: vec![column(features), column(nuisance)],
                train_means: vec![0.0],
                weights: column(&[0.25, 0.75]),
            }),
        }
    }

    #[test]
    fn a_banded_score_is_what_the_features_add_by_hand() {
        let design = design();
        let (f, n) = ([1.0, 0.0, 0.0, -1.0], [1.0, 1.0, -1.0, -1.0]);
        let folds: Vec<FoldPrediction> = design.folds.iter().map(|fold| banded(fold, &f, &n)).collect();
        let y = column(&[3.0, 1.0, -1.0, -3.0, 3.0, 1.0, -1.0, -3.0]);
        let folds: Vec<&FoldPrediction> = folds.iter().collect();
        let cell = score_cell(&folds, y.as_ref(), &design, true, &params(), &Monitor::silent()).unwrap();
        // y − ŷ_N = (2, 0, 0, −2) is parallel to ŷ_F; c² = 8/20. corr(ŷ_F, y) would be 0.949.
        assert!((cell.r[0] - 0.4f64.sqrt()).abs() < 1e-12, "{}", cell.r[0]);
        // E[r²] = c²/8.
        assert!((cell.n_eff[0] - 8.0 / 0.4).abs() < 1e-9);
        // Σ ŷ_F(2y − ŷ) = 8, Σ ŷ_N(2y − ŷ) = 10, Σ (y − ŷ)² = 2, of Σ y² = 20.
        let split = cell.split.unwrap();
        assert!((split.r2[(0, 0)] - 0.4).abs() < 1e-12 && (split.r2[(1, 0)] - 0.5).abs() < 1e-12);
        assert!((split.joint[0] - 0.9).abs() < 1e-12);
        assert_eq!((split.weights[(0, 0)], split.weights[(1, 0)]), (0.25, 0.75));
        // No draw exceeds c, and the bootstrap of a perfect semi-partial correlation is c itself.
        let draws = cell.draws.unwrap();
        let c = 0.4f64.sqrt();
        assert!(draws.bootstrap.col_as_slice(0).iter().all(|r| r.is_nan() || (r - c).abs() < 1e-9));
        assert!(draws.null.iter().all(|r| f64::from(*r) <= c + 1e-6));
    }
}
