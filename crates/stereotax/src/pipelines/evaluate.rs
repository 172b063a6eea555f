//! Score representations: predict every fold's held-out responses and correlate them with what was seen.
//!
//! One cell is one model × representation × subject, all ROIs together. For a fold, subjects share the
//! work on features (components, delays, eigendecompositions); each has matrix products of its own, so
//! that a cell's bits do not depend on which other subjects were there.
//! Sources: specs nfas-dmd 8.5 (encoding), 9 (score, chance); DESIGN 1.4 (one resampling plan).

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::bootstrap::bootstrap_correlations;
use super::design::{Clock, SampleDesign};
use super::represent::Features;
use crate::data::{Error, Fold, Monitor, Result, Runs};
use crate::encoding::{EncodingParams, FoldFeatures, FoldPrediction, InnerScheme, inner_folds, predict_fold};
use crate::linalg::select_rows;
use crate::stats::resampling::ResamplingPlan;
use crate::stats::score::{
    NullParams, NullScheme, correlation_test, effective_samples, run_weighted_correlation,
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
    /// Predictions, bootstrap and null draws.
    pub draws: Option<Draws>,
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

/// Predict one fold for all subjects from one representation.
pub fn predict(
    features: &Features,
    fold: &Fold,
    design: &SampleDesign,
    responses: &[MatRef<'_, f64>],
    params: &EvaluateParams,
) -> Result<Vec<FoldPrediction>> {
    let scheme = match params.inner {
        InnerRule::Runs(max_folds) => InnerScheme::Runs { max_folds },
        InnerRule::Units(n_folds) => InnerScheme::Units { ids: &design.ids, n_folds, seed: params.seed },
        InnerRule::Blocks { n_folds, gap } => InnerScheme::Blocks { n_folds, gap },
    };
    let inner = inner_folds(&design.runs, fold, scheme)?;
    let tr_s = match design.clock {
        Clock::Tr { tr_s } => tr_s,
        // No haemodynamics on a stimulus clock, so this is never used.
        Clock::Stimulus => 1.0,
    };
    let features = FoldFeatures { values: features.view(), runs: &design.runs, tr_s };
    predict_fold(&features, responses, fold, &inner, &params.encoding)
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
    let mut by_sample = Mat::<f64>::zeros(design.n_samples(), n_rois);
    for fold in folds {
        for (at, &row) in fold.rows.iter().enumerate() {
            for roi in 0..n_rois {
                // An undefined prediction is a constant one: it has no correlation in its run.
                let value = fold.predictions[(at, roi)];
                by_sample[(row, roi)] = if value.is_finite() { value } else { 0.0 };
            }
        }
    }
    let predictions = select_rows(by_sample.as_ref(), &order);
    let observed = select_rows(responses, &order);
    let correlations = run_weighted_correlation(predictions.as_ref(), observed.as_ref(), &runs)?;
    let n_eff = match design.clock {
        Clock::Tr { .. } => {
            effective_samples(predictions.as_ref(), observed.as_ref(), &runs, design.n_samples())?
        }
        // Stimuli are exchangeable: every one counts.
        Clock::Stimulus => correlations.n_samples.iter().map(|&n| n as f64).collect(),
    };
    let n_edges: usize = folds.iter().map(|f| f.n_at_lower_edge + f.n_at_upper_edge).sum();
    let draws = keep_draws
        .then(|| draw(predictions, observed, &order, &runs, design, params, monitor))
        .transpose()?;
    Ok(Cell {
        r: correlations.r,
        n_eff,
        n_samples: order.len(),
        alphas: Mat::from_fn(folds.len(), n_rois, |f, roi| folds[f].alpha_multiples[roi]),
        inner_scores: Mat::from_fn(folds.len(), n_rois, |f, roi| folds[f].inner_scores[roi]),
        share_at_edge: n_edges as f64 / (folds.len() * n_rois).max(1) as f64,
        n_components: folds.iter().map(|f| f.n_components).collect(),
        draws,
    })
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
    let scheme = match design.clock {
        Clock::Tr { tr_s } => {
            NullScheme::CircularShift { min_shift: (params.min_shift_s / tr_s).ceil() as usize }
        }
        Clock::Stimulus => {
            NullScheme::Blocks { block_ids: blocks.iter().map(|&b| design.block_names[b].clone()).collect() }
        }
    };
    let null = NullParams { scheme, n_permutations: params.n_shifts.max(1), seed: params.seed };
    let (null, p_value, note) =
        match correlation_test(predictions.as_ref(), observed.as_ref(), runs, &null, monitor) {
            Ok(test) => (test.null, test.p_value, test.support.warning),
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            // Runs too short to be shifted, blocks torn apart by folds: no null, and the reason.
            Err(reason) => (Vec::new(), vec![f64::NAN; predictions.ncols()], Some(reason.to_string())),
        };
    let plan = ResamplingPlan::new(params.seed, &design.block_names, params.n_bootstraps, params.n_shifts)?;
    let rows: Vec<Vec<u32>> =
        (0..params.n_bootstraps).into_par_iter().map(|b| plan.bootstrap(b).blocks).collect();
    let multiplicities =
        Mat::from_fn(params.n_bootstraps, design.block_names.len(), |b, k| f64::from(rows[b][k]));
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
