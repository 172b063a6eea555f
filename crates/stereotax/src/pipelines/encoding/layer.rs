//! Score one set of features against all targets of all subjects, and keep what the group stage needs.
//!
//! Per outer fold the work on features (reduction, delays, decompositions) is done once for all subjects; each
//! subject's targets then go through it in tiles. What is kept per target is small ([`FoldMoments`], penalties,
//! inner scores, a p-value); held-out predictions of as many targets as memory allows wait, in single precision,
//! until the last fold, since a null draw moves them within all folds at once. Where targets are few the null
//! draws and a bootstrap are kept; where they are many, the largest null correlation over targets, in steps of
//! the observed one, so that max-T over layers, models and targets can be made later without the draws.
//!
//! Null draws move held-out predictions against responses; or ([`NullModel::Refit`]) the responses are moved and
//! everything that depends on them is fitted again, penalties chosen anew, from decompositions made once.
//!
//! A target that is constant over some training rows, or holds a value that is not finite, is undefined there and
//! harms no other one. The bits of a target do not depend on its company, on memory or on threads.
//! Source: specs: alignment-methods B1, B6, B17; DESIGN 1.4; Winkler et al. 2014 for moved responses.

use std::ops::Range;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::super::bootstrap::{bootstrap_correlations, bootstrap_r2};
use super::super::design::SampleDesign;
use super::super::evaluate::{
    EvaluateParams, NullModel, block_draws, held_out_order, inner_of, null_of, refit_null_of, tr_of,
};
use super::super::represent::Features;
use super::moments::{FoldMoments, correlation_of, moments_of};
use crate::data::{Error, Fold, Monitor, Result, Runs};
use crate::encoding::{FoldFeatures, FoldPlan};
use crate::linalg::select_rows;
use crate::stats::multiplicity::{N_STEPS, step_of};
use crate::stats::null_draws::NullDraws;
use crate::stats::summary::permutation_p;

/// Targets that one thread works on at a time.
pub const BLOCK: usize = 480;
/// Most targets of a cell that keeps predictions and draws.
pub const MOST_WITH_DRAWS: usize = 2000;

/// One set of features against all targets of one subject.
#[derive(Debug, Clone)]
pub struct EncodingCell {
    /// Moments of the held-out predictions.
    pub moments: FoldMoments,
    /// Penalty per fold and target, as a multiple of mean(s²); NaN where undefined (folds × targets).
    pub alphas: Mat<f64>,
    /// Inner cross-validated score per fold and target: what a choice of layers may look at.
    pub inner_scores: Mat<f64>,
    /// (fold, target) whose penalty is the smallest, and the largest, of the grid.
    pub n_at_edges: [usize; 2],
    /// Components of the features, per fold.
    pub n_components: Vec<usize>,
    /// What chance gives.
    pub chance: Chance,
    /// What is kept of few targets only.
    pub draws: Option<CellDraws>,
    /// The refits behind null draws, beside `draws`.
    pub refits: Option<Refits>,
    /// R² of the bootstrap draws (draws × targets).
    pub r2_bootstrap: Option<Mat<f32>>,
}

/// Refits to moved responses (draws × folds × targets), from which a choice of layers can be made anew in each draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Refits {
    /// Held-out correlation; NaN where there is none.
    pub r: Vec<f32>,
    /// Inner score.
    pub inner_scores: Vec<f32>,
}

/// A null correlation this close to the observed one reaches it: both are kept in single precision.
pub(super) const TIE: f64 = 2e-6;

/// What null draws of held-out predictions say.
#[derive(Debug, Clone, PartialEq)]
pub struct Chance {
    /// One-sided p-value per target; NaN where undefined.
    pub p_value: Vec<f64>,
    /// Largest null correlation over targets, per draw; empty where chance cannot be imitated.
    pub maxima: Vec<f32>,
    /// The same over the targets of each step of r ([`N_STEPS`] × draws), for step-down max-T; empty where the
    /// draws themselves are kept.
    pub steps: Vec<f32>,
    /// Why there is no p-value, or what limits it.
    pub note: Option<String>,
}

/// Predictions and draws of a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct CellDraws {
    /// Held-out predictions (samples × targets), in the order of
    /// [`held_out_order`](crate::pipelines::held_out_order).
    pub predictions: Mat<f32>,
    /// Correlations of the bootstrap draws (draws × targets).
    pub bootstrap: Mat<f32>,
    /// Correlations of the null draws, draw after draw.
    pub null: Vec<f32>,
}

/// What a cell keeps beside its scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The largest null correlations, for any number of targets.
    Maxima,
    /// Predictions, null and bootstrap draws; meant for at most [`MOST_WITH_DRAWS`] targets.
    Draws,
    /// Bootstrap draws of R²; likewise.
    R2,
}

/// Score `features` against every subject (samples × targets each).
///
/// `memory` is how many bytes predictions and decomposed folds may take at a time; one fold and one tile of
/// targets are always allowed. Errors: those of the encoding model and of the design; a stop on request.
pub fn score_targets(
    features: &Features,
    subjects: &[MatRef<'_, f64>],
    design: &SampleDesign,
    params: &EvaluateParams,
    keep: Keep,
    memory: usize,
    monitor: &Monitor,
) -> Result<Vec<EncodingCell>> {
    let one_fold = fold_bytes(features, design, params);
    let room = Room {
        memory,
        one_fold,
        at_once: memory / 2 / one_fold.max(1),
        per_target: target_bytes(design, params) * subjects.len().max(1),
    };
    let null = null_draws(design, params)?;
    let moves = null.as_ref().ok().filter(|_| params.null == NullModel::Refit);
    let fit = |fold: &Fold, wanted: &Range<usize>| {
        fit_fold(features, subjects, fold, design, params, wanted, moves, monitor)
    };
    let found = score_by(subjects, design, params, &null, keep, &room, monitor, &fit)?;
    Ok(found.into_iter().map(|(cell, _)| cell).collect())
}

/// How many different moves null draws can choose among: 1 where nothing may change its place, so that every
/// p-value is 1; `None` where there can be no draws.
pub fn n_null_moves(design: &SampleDesign, params: &EvaluateParams) -> Result<Option<f64>> {
    let one = EvaluateParams { n_shifts: 1, ..params.clone() };
    Ok(null_draws(design, &one)?.ok().map(|draws| draws.support.n_distinct))
}

/// The moves of null draws, or why there can be none.
pub(super) fn null_draws(design: &SampleDesign, params: &EvaluateParams) -> Result<Result<NullDraws>> {
    let (order, runs) = held_out_order(design)?;
    Ok(match params.null {
        NullModel::Shift => NullDraws::new(&runs, &null_of(&order, design, params)),
        NullModel::Refit => NullDraws::new(&design.runs, &refit_null_of(design, params)),
    })
}

/// Bytes that wait per target and subject until the last fold: predictions, and sums of refits.
pub fn target_bytes(design: &SampleDesign, params: &EvaluateParams) -> usize {
    let of_draws = if params.null == NullModel::Refit { 32 * params.n_shifts } else { 0 };
    4 * design.n_samples() + of_draws
}

/// What a cell may take.
pub(super) struct Room {
    /// Bytes of predictions and decomposed folds at a time.
    pub(super) memory: usize,
    /// Bytes of one decomposed fold.
    pub(super) one_fold: usize,
    /// Folds at a time.
    pub(super) at_once: usize,
    /// Bytes of what waits per target.
    pub(super) per_target: usize,
}

/// Fits one fold for the wanted targets, one part per subject.
pub(super) type FitFold<'a> = dyn Fn(&Fold, &Range<usize>) -> Result<Vec<FoldPart>> + Sync + 'a;

/// Score what `fit` predicts against every subject; with each cell what its layers contribute, if `fit` tells.
pub(super) fn score_by(
    subjects: &[MatRef<'_, f64>],
    design: &SampleDesign,
    params: &EvaluateParams,
    null: &Result<NullDraws>,
    keep: Keep,
    room: &Room,
    monitor: &Monitor,
    fit: &FitFold<'_>,
) -> Result<Vec<(EncodingCell, Option<LayerSums>)>> {
    let (order, runs) = held_out_order(design)?;
    let folds: Vec<&Fold> = design.folds.iter().filter(|fold| !fold.test.is_empty()).collect();
    let refit = params.null == NullModel::Refit;
    let mut cells: Vec<Partial> =
        subjects.iter().map(|y| Partial::new(&runs, y.ncols(), null, keep, refit)).collect();
    let most = subjects.iter().map(|y| y.ncols()).max().unwrap_or(0);
    // Folds that are worked on at once, then targets whose predictions fit beside them.
    let together = params.encoding.fits_targets_together();
    // Many targets that are fitted together are enough for one fold at a time.
    let most_at_once = if together && most > BLOCK { 1 } else { rayon::current_num_threads() };
    let at_once = room.at_once.clamp(1, folds.len().max(1)).min(most_at_once);
    let chunk = match together {
        true => most.max(1),
        false => {
            let left = room.memory.saturating_sub(at_once * room.one_fold) / room.per_target.max(1);
            (left / BLOCK).max(1) * BLOCK
        }
    };
    for from in (0..most).step_by(chunk) {
        let wanted = from..most.min(from + chunk);
        for cell in &mut cells {
            cell.open(&wanted);
        }
        let mut first_row = 0;
        for (group_idx, group) in folds.chunks(at_once).enumerate() {
            monitor.check()?;
            let fitted: Vec<Vec<FoldPart>> =
                group.par_iter().map(|fold| fit(fold, &wanted)).collect::<Result<_>>()?;
            for (at, parts) in fitted.into_iter().enumerate() {
                let fold_idx = group_idx * at_once + at;
                for (cell, part) in cells.iter_mut().zip(parts) {
                    cell.take(fold_idx, first_row, &wanted, part);
                }
                first_row += folds[fold_idx].test.len();
            }
        }
        for (cell, y) in cells.iter_mut().zip(subjects) {
            match (refit, null) {
                (true, Ok(_)) => cell.test_refits(&wanted),
                _ => cell.test(&wanted, *y, &order, null, monitor)?,
            }
        }
    }
    let multiplicities = if keep == Keep::Maxima { None } else { Some(block_draws(design, params)?) };
    cells
        .into_iter()
        .zip(subjects)
        .map(|(cell, y)| cell.finish(*y, &order, &runs, design, null, multiplicities.as_ref()))
        .collect()
}

/// Bytes that one decomposed fold takes, with what its making takes.
pub fn fold_bytes(features: &Features, design: &SampleDesign, params: &EvaluateParams) -> usize {
    fold_bytes_of(features.view().ncols(), design, params)
}

/// [`fold_bytes`] of features of this width.
pub fn fold_bytes_of(width: usize, design: &SampleDesign, params: &EvaluateParams) -> usize {
    let n = design.n_samples();
    let q = params.encoding.reduce.map_or(width, |r| r.max_components.min(width).min(n));
    let p = q * crate::signal::n_columns(&params.encoding.hrf);
    let k = p.min(n);
    let inner = match params.encoding.selection {
        crate::encoding::Selection::Folds => match params.inner {
            super::super::evaluate::InnerRule::Runs(folds)
            | super::super::evaluate::InnerRule::Units(folds)
            | super::super::evaluate::InnerRule::Blocks { n_folds: folds, .. } => folds,
        },
        _ => 1,
    };
    // Features and design with their training rows; decompositions with their work space, inner ones after it.
    8 * (2 * n * width + 3 * n * p + 6 * k * k + (inner + 1) * (3 * k * k + n * k))
}

/// What one fold gives for the wanted targets of one subject.
pub(super) struct FoldPart {
    pub(super) moments: Vec<[f64; 5]>,
    pub(super) alphas: Vec<f64>,
    pub(super) inner_scores: Vec<f64>,
    pub(super) n_at_edges: [usize; 2],
    pub(super) n_components: usize,
    /// Test rows × targets; zero where undefined.
    pub(super) predictions: Mat<f32>,
    /// Where layers are combined.
    pub(super) layers: Option<LayerSums>,
    /// r and inner scores of refits (draws × targets); empty without.
    pub(super) refits: Refits,
}

/// What layers contribute to a combined prediction (layers × targets), summed over folds.
#[derive(Debug, Clone)]
pub(super) struct LayerSums {
    /// Weights.
    pub(super) weights: Mat<f64>,
    /// Σ ŷ'_l (2 y' − ŷ').
    pub(super) shares: Mat<f64>,
    /// Σ y'².
    pub(super) totals: Vec<f64>,
}

fn fit_fold(
    features: &Features,
    subjects: &[MatRef<'_, f64>],
    fold: &Fold,
    design: &SampleDesign,
    params: &EvaluateParams,
    wanted: &Range<usize>,
    moves: Option<&NullDraws>,
    monitor: &Monitor,
) -> Result<Vec<FoldPart>> {
    let inner = inner_of(fold, design, params)?;
    let input = FoldFeatures { values: features.view(), runs: &design.runs, tr_s: tr_of(design) };
    let plan = FoldPlan::new(&input, fold, &inner, &params.encoding)?;
    check_rows(plan.test_rows(), fold)?;
    let block = if params.encoding.fits_targets_together() { wanted.len().max(1) } else { BLOCK };
    subjects
        .par_iter()
        .map(|y| {
            let here = wanted.start.min(y.ncols())..wanted.end.min(y.ncols());
            let starts: Vec<usize> = here.clone().step_by(block).collect();
            let blocks: Vec<FoldPart> = starts
                .into_par_iter()
                .map(|from| {
                    monitor.check()?;
                    fit_block(&plan, y.get(.., from..here.end.min(from + block)), moves, monitor)
                })
                .collect::<Result<_>>()?;
            Ok(join(blocks, fold.test.len()))
        })
        .collect()
}

/// The rows that are predicted must be those that are held out.
pub(super) fn check_rows(predicted: &[usize], fold: &Fold) -> Result<()> {
    if predicted == fold.test {
        return Ok(());
    }
    Err(Error::Invalid {
        what: format!("fold {}", fold.name),
        expected: "padded samples to be left out of the folds where they are dropped".into(),
        found: format!("{} of {} test rows to be predicted", predicted.len(), fold.test.len()),
        hint: "build the folds without padded rows".into(),
    })
}

/// Targets of which one that is not finite somewhere is treated as one that does not vary; and which are finite.
pub(super) fn cleaned(y: MatRef<'_, f64>) -> (Option<Mat<f64>>, Vec<bool>) {
    let finite: Vec<bool> = (0..y.ncols()).map(|j| y.col(j).iter().all(|v| v.is_finite())).collect();
    let clean = (!finite.iter().all(|f| *f))
        .then(|| Mat::from_fn(y.nrows(), y.ncols(), |i, j| if finite[j] { y[(i, j)] } else { 0.0 }));
    (clean, finite)
}

/// Moments of predictions of the samples `rows`, undefined for targets that are not finite; and the predictions in
/// single precision.
pub(super) fn scored(
    predictions: &Mat<f64>,
    y: MatRef<'_, f64>,
    rows: &[usize],
    finite: &[bool],
) -> (Vec<[f64; 5]>, Mat<f32>) {
    let moments = moments_of(predictions.as_ref(), y, rows)
        .into_iter()
        .zip(finite)
        .map(|(m, finite)| if *finite && !m[1].is_nan() { m } else { [f64::NAN; 5] })
        .collect();
    let single = Mat::from_fn(rows.len(), y.ncols(), |i, j| {
        let value = predictions[(i, j)];
        if value.is_finite() { value as f32 } else { 0.0 }
    });
    (moments, single)
}

/// Choose penalties and predict for some targets.
fn fit_block(
    plan: &FoldPlan,
    y: MatRef<'_, f64>,
    moves: Option<&NullDraws>,
    monitor: &Monitor,
) -> Result<FoldPart> {
    let (clean, finite) = cleaned(y);
    let y = clean.as_ref().map_or(y, |clean| clean.as_ref());
    let refits = match moves {
        Some(moves) => refit_block(plan, y, moves, monitor)?,
        None => Refits { r: Vec::new(), inner_scores: Vec::new() },
    };
    let fit = plan.fit(y)?;
    let (moments, predictions) = scored(&fit.predictions, y, &fit.rows, &finite);
    Ok(FoldPart {
        moments,
        predictions,
        alphas: fit.alpha_multiples,
        inner_scores: fit.inner_scores,
        n_at_edges: [fit.n_at_lower_edge, fit.n_at_upper_edge],
        n_components: fit.n_components,
        layers: None,
        refits,
    })
}

/// Held-out r and inner scores of some targets in every draw: what met row t of the features now meets another.
pub(super) fn refit_block(
    plan: &FoldPlan,
    y: MatRef<'_, f64>,
    moves: &NullDraws,
    monitor: &Monitor,
) -> Result<Refits> {
    let draws: Vec<&[u32]> = moves.moves().collect();
    let found: Vec<(Vec<f32>, Vec<f32>)> = draws
        .into_par_iter()
        .map(|from| {
            monitor.check()?;
            let mut moved = Mat::zeros(y.nrows(), y.ncols());
            for j in 0..y.ncols() {
                let to = moved.col_as_slice_mut(j);
                from.iter().zip(y.col(j).iter()).for_each(|(&row, value)| to[row as usize] = *value);
            }
            let fit = plan.fit(moved.as_ref())?;
            let moments = moments_of(fit.predictions.as_ref(), moved.as_ref(), &fit.rows);
            let r = moments.into_iter().map(|m| correlation_of(m, fit.rows.len()) as f32).collect();
            Ok((r, fit.inner_scores.into_iter().map(|score| score as f32).collect()))
        })
        .collect::<Result<_>>()?;
    let (r, inner_scores): (Vec<Vec<f32>>, Vec<Vec<f32>>) = found.into_iter().unzip();
    Ok(Refits { r: r.concat(), inner_scores: inner_scores.concat() })
}

/// Tiles side by side.
fn join(blocks: Vec<FoldPart>, n_rows: usize) -> FoldPart {
    let width = blocks.iter().map(|b| b.moments.len()).sum();
    let mut predictions = Mat::<f32>::zeros(n_rows, width);
    let mut whole = FoldPart {
        moments: Vec::with_capacity(width),
        alphas: Vec::with_capacity(width),
        inner_scores: Vec::with_capacity(width),
        n_at_edges: [0, 0],
        n_components: blocks.first().map_or(0, |b| b.n_components),
        predictions: Mat::zeros(0, 0),
        layers: None,
        refits: Refits { r: Vec::new(), inner_scores: Vec::new() },
    };
    let n_draws = blocks.first().map_or(0, |b| b.refits.r.len() / b.moments.len().max(1));
    for draw in 0..n_draws {
        for block in &blocks {
            let here = draw * block.moments.len()..(draw + 1) * block.moments.len();
            whole.refits.r.extend_from_slice(&block.refits.r[here.clone()]);
            whole.refits.inner_scores.extend_from_slice(&block.refits.inner_scores[here]);
        }
    }
    for block in blocks {
        for j in 0..block.moments.len() {
            let to = predictions.col_as_slice_mut(whole.moments.len() + j);
            to.copy_from_slice(block.predictions.col_as_slice(j));
        }
        whole.moments.extend(block.moments);
        whole.alphas.extend(block.alphas);
        whole.inner_scores.extend(block.inner_scores);
        whole.n_at_edges.iter_mut().zip(block.n_at_edges).for_each(|(sum, n)| *sum += n);
    }
    whole.predictions = predictions;
    whole
}

/// A cell that is being filled.
struct Partial {
    cell: EncodingCell,
    n_held_out: usize,
    /// Held-out predictions of the targets at work.
    predictions: Mat<f32>,
    keep: Keep,
    kept: Option<CellDraws>,
    layers: Option<LayerSums>,
    /// Σ n_f r_f and Σ n_f over the folds that have a correlation (draws × targets at work), of refits.
    refit_sums: Vec<[f64; 2]>,
    n_refits: usize,
}

impl Partial {
    fn new(runs: &Runs, n_targets: usize, null: &Result<NullDraws>, keep: Keep, refit: bool) -> Self {
        let n = runs.n_samples();
        let lengths: Vec<usize> = runs.ranges().map(|range| range.len()).collect();
        let undefined = || Mat::full(lengths.len(), n_targets, f64::NAN);
        let (n_draws, note) = match null {
            Ok(null) => (null.n_draws(), null.support.warning.clone()),
            // Runs too short to be shifted, blocks torn apart by folds: no null, and the reason.
            Err(reason) => (0, Some(reason.to_string())),
        };
        Partial {
            cell: EncodingCell {
                alphas: undefined(),
                inner_scores: undefined(),
                n_at_edges: [0, 0],
                n_components: vec![0; lengths.len()],
                chance: Chance {
                    p_value: vec![f64::NAN; n_targets],
                    maxima: vec![f32::NEG_INFINITY; n_draws],
                    steps: vec![f32::NEG_INFINITY; if keep == Keep::Maxima { N_STEPS * n_draws } else { 0 }],
                    note,
                },
                draws: None,
                r2_bootstrap: None,
                refits: (keep == Keep::Draws && refit && n_draws > 0).then(|| {
                    let undefined = || vec![f32::NAN; n_draws * lengths.len() * n_targets];
                    Refits { r: undefined(), inner_scores: undefined() }
                }),
                moments: FoldMoments::empty(lengths, n_targets),
            },
            n_held_out: n,
            predictions: Mat::zeros(0, 0),
            keep,
            kept: (keep != Keep::Maxima).then(|| CellDraws {
                predictions: Mat::zeros(n, n_targets),
                bootstrap: Mat::zeros(0, n_targets),
                null: vec![f32::NAN; n_draws * n_targets],
            }),
            layers: None,
            refit_sums: Vec::new(),
            n_refits: if refit { n_draws } else { 0 },
        }
    }

    /// Make room for the wanted targets.
    fn open(&mut self, wanted: &Range<usize>) {
        let n_targets = self.cell.moments.n_targets();
        let width = wanted.end.min(n_targets).saturating_sub(wanted.start);
        self.predictions = Mat::zeros(self.n_held_out, width);
        self.refit_sums = vec![[0.0; 2]; self.n_refits * width];
    }

    fn take(&mut self, fold: usize, first_row: usize, wanted: &Range<usize>, part: FoldPart) {
        for (at, moments) in part.moments.iter().enumerate() {
            let target = wanted.start + at;
            self.cell.moments.set(fold, target, *moments);
            self.cell.alphas[(fold, target)] = part.alphas[at];
            self.cell.inner_scores[(fold, target)] = part.inner_scores[at];
            let from = part.predictions.col_as_slice(at);
            self.predictions.col_as_slice_mut(at)[first_row..first_row + from.len()].copy_from_slice(from);
        }
        self.cell.n_at_edges.iter_mut().zip(part.n_at_edges).for_each(|(sum, n)| *sum += n);
        self.cell.n_components[fold] = part.n_components;
        let (n_folds, n_targets) = (self.cell.moments.n.len(), self.cell.moments.n_targets());
        let (n_rows, width) = (self.cell.moments.n[fold] as f64, part.moments.len());
        for (at, (r, sums)) in part.refits.r.iter().zip(&mut self.refit_sums).enumerate() {
            if !r.is_nan() {
                *sums = [sums[0] + n_rows * f64::from(*r), sums[1] + n_rows];
            }
            if let Some(kept) = &mut self.cell.refits {
                let (draw, target) = (at / width, wanted.start + at % width);
                let to = (draw * n_folds + fold) * n_targets + target;
                kept.r[to] = *r;
                kept.inner_scores[to] = part.refits.inner_scores[at];
            }
        }
        if let Some(part) = part.layers {
            let (n_layers, n_targets) = (part.weights.nrows(), self.cell.moments.n_targets());
            let sums = self.layers.get_or_insert_with(|| LayerSums {
                weights: Mat::zeros(n_layers, n_targets),
                shares: Mat::zeros(n_layers, n_targets),
                totals: vec![0.0; n_targets],
            });
            for at in 0..part.totals.len() {
                let target = wanted.start + at;
                for layer in 0..n_layers {
                    sums.weights[(layer, target)] += part.weights[(layer, at)];
                    sums.shares[(layer, target)] += part.shares[(layer, at)];
                }
                sums.totals[target] += part.totals[at];
            }
        }
    }

    /// Compare the scores at work with those of refits.
    fn test_refits(&mut self, wanted: &Range<usize>) {
        let width = self.predictions.ncols();
        self.keep_predictions(wanted);
        let observed: Vec<f64> = (0..width).map(|at| self.cell.moments.r_of(wanted.start + at)).collect();
        let null: Vec<f32> = self
            .refit_sums
            .iter()
            .enumerate()
            .map(|(at, [sum, n])| if observed[at % width].is_nan() { f32::NAN } else { (sum / n) as f32 })
            .collect();
        let mut n_reaching = vec![0; width];
        for (at, value) in null.iter().enumerate() {
            n_reaching[at % width] += usize::from(f64::from(*value) >= observed[at % width] - TIE);
        }
        let n_targets = self.cell.moments.n_targets();
        self.take_null(wanted.start, n_targets, &observed, &null, &n_reaching);
    }

    fn keep_predictions(&mut self, wanted: &Range<usize>) {
        let Some(kept) = &mut self.kept else { return };
        for at in 0..self.predictions.ncols() {
            let to = kept.predictions.col_as_slice_mut(wanted.start + at);
            to.copy_from_slice(self.predictions.col_as_slice(at));
        }
    }

    /// Take over null draws (draw after draw) of the targets from `first` on.
    fn take_null(
        &mut self,
        first: usize,
        n_targets: usize,
        observed: &[f64],
        null: &[f32],
        n_reaching: &[usize],
    ) {
        let n_draws = self.cell.chance.maxima.len();
        for (at, r) in observed.iter().enumerate() {
            self.cell.chance.p_value[first + at] = match r.is_nan() {
                true => f64::NAN,
                false => permutation_p(n_reaching[at], n_draws),
            };
        }
        for (draw, row) in null.chunks_exact(observed.len().max(1)).enumerate() {
            let largest = &mut self.cell.chance.maxima[draw];
            *largest = row.iter().fold(*largest, |m, x| m.max(*x));
            if !self.cell.chance.steps.is_empty() {
                for (r, value) in observed.iter().zip(row) {
                    let largest = &mut self.cell.chance.steps[step_of(*r) * n_draws + draw];
                    *largest = largest.max(*value);
                }
            }
            if let Some(kept) = &mut self.kept {
                let to = draw * n_targets + first;
                kept.null[to..to + row.len()].copy_from_slice(row);
            }
        }
    }

    /// Compare the predictions at work with null draws.
    fn test(
        &mut self,
        wanted: &Range<usize>,
        y: MatRef<'_, f64>,
        order: &[usize],
        null: &Result<NullDraws>,
        monitor: &Monitor,
    ) -> Result<()> {
        let width = self.predictions.ncols();
        self.keep_predictions(wanted);
        let Ok(null) = null else { return Ok(()) };
        let n_targets = y.ncols();
        let starts: Vec<usize> = (0..width).step_by(BLOCK).collect();
        // A few blocks at a time: their draws wait until their maxima are taken.
        for some in starts.chunks(2 * rayon::current_num_threads()) {
            let found = some
                .par_iter()
                .map(|&from| {
                    let to = width.min(from + BLOCK);
                    let observed: Vec<f64> =
                        (from..to).map(|at| self.cell.moments.r_of(wanted.start + at)).collect();
                    let here = y.get(.., wanted.start + from..wanted.start + to);
                    // Where there is no correlation the values may not be finite; they are not looked at.
                    let responses = Mat::from_fn(order.len(), to - from, |t, at| {
                        if observed[at].is_nan() { 0.0 } else { here[(order[t], at)] }
                    });
                    let predictions = self.predictions.get(.., from..to);
                    let tile = null.tile(predictions, responses.as_ref(), &observed, monitor)?;
                    Ok((from, observed, tile))
                })
                .collect::<Result<Vec<_>>>()?;
            for (from, observed, tile) in found {
                self.take_null(wanted.start + from, n_targets, &observed, &tile.null, &tile.n_reaching);
            }
        }
        Ok(())
    }

    fn finish(
        mut self,
        y: MatRef<'_, f64>,
        order: &[usize],
        runs: &Runs,
        design: &SampleDesign,
        null: &Result<NullDraws>,
        multiplicities: Option<&Mat<f64>>,
    ) -> Result<(EncodingCell, Option<LayerSums>)> {
        if null.is_err() {
            self.cell.chance.maxima.clear();
            self.cell.chance.steps.clear();
        }
        if let (Some(mut kept), Some(multiplicities)) = (self.kept.take(), multiplicities) {
            let observed = select_rows(y, order);
            let bootstrap = |of: BootstrapOf| {
                bootstrap(of, &kept.predictions, observed.as_ref(), order, runs, design, multiplicities)
            };
            if self.keep == Keep::R2 {
                // An undefined target was predicted by zeros.
                let mut r2 = bootstrap(bootstrap_r2);
                for j in (0..y.ncols()).filter(|&j| self.cell.moments.r2_of(j).is_nan()) {
                    r2.col_as_slice_mut(j).fill(f32::NAN);
                }
                self.cell.r2_bootstrap = Some(r2);
            } else {
                kept.bootstrap = bootstrap(bootstrap_correlations);
                self.cell.draws = Some(kept);
            }
        }
        Ok((self.cell, self.layers))
    }
}

/// A statistic of predictions and responses in every draw: [`bootstrap_correlations`] or [`bootstrap_r2`].
pub(super) type BootstrapOf =
    fn(MatRef<f64>, MatRef<f64>, &[Option<usize>], &[usize], MatRef<f64>) -> Mat<f64>;

/// Bootstrap draws of a statistic of held-out predictions and what was observed, both in the order of the folds (draws
/// × targets).
pub(super) fn bootstrap(
    statistic: BootstrapOf,
    predictions: &Mat<f32>,
    observed: MatRef<'_, f64>,
    order: &[usize],
    runs: &Runs,
    design: &SampleDesign,
    multiplicities: &Mat<f64>,
) -> Mat<f32> {
    let blocks: Vec<usize> = order.iter().map(|&i| design.blocks[i]).collect();
    let groups: Vec<Option<usize>> = runs.codes().into_iter().map(Some).collect();
    let parts: Vec<Mat<f64>> = (0..observed.ncols())
        .step_by(BLOCK)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|from| {
            let to = observed.ncols().min(from + BLOCK);
            let finite = |v: f64| if v.is_finite() { v } else { 0.0 };
            let p = Mat::from_fn(order.len(), to - from, |t, j| f64::from(predictions[(t, from + j)]));
            let o = Mat::from_fn(order.len(), to - from, |t, j| finite(observed[(t, from + j)]));
            statistic(p.as_ref(), o.as_ref(), &groups, &blocks, multiplicities.as_ref())
        })
        .collect();
    Mat::from_fn(multiplicities.nrows(), observed.ncols(), |b, j| parts[j / BLOCK][(b, j % BLOCK)] as f32)
}

#[cfg(test)]
mod tests {
    use super::super::super::design::Clock;
    use super::super::super::evaluate::{InnerRule, predict};
    use super::*;
    use crate::data::Folds;
    use crate::encoding::{
        EncodingParams, Kernel, PlsParams, RidgeParams, RidgePlan, Selection, Solver, held_out_refits, pls,
    };
    use crate::stats::rng::Stream;
    use crate::stats::score::{correlation_test, run_weighted_correlation};

    const N: usize = 60;

    fn design() -> SampleDesign {
        let ids: Vec<String> = (0..N).map(|i| format!("s{i:02}")).collect();
        SampleDesign {
            folds: Folds::k_fold(&ids, 4, 1).unwrap(),
            runs: Runs::single(N),
            clock: Clock::Stimulus,
            blocks: (0..N).collect(),
            block_names: ids.clone(),
            ids,
        }
    }

    fn params() -> EvaluateParams {
        EvaluateParams {
            encoding: EncodingParams { reduce: None, ..EncodingParams::default() },
            inner: InnerRule::Units(3),
            seed: 2,
            n_bootstraps: 30,
            n_shifts: 99,
            min_shift_s: 20.0,
            null: NullModel::Shift,
        }
    }

    /// Features, and subjects of 600 and 3 targets; target 1 does not vary, target 2 holds a NaN.
    fn data() -> (Features, Vec<Mat<f64>>) {
        let mut stream = Stream::new(5, "layer tests", 0);
        let x = Mat::from_fn(N, 12, |_, _| stream.normal());
        let subjects = [600, 3].map(|m| {
            Mat::from_fn(N, m, |i, j| match j {
                1 => 3.0,
                2 if i == 50 => f64::NAN,
                _ => x[(i, j % 12)] + stream.normal(),
            })
        });
        (Features::from_matrix(x.as_ref()), subjects.to_vec())
    }

    fn score(
        subjects: &[MatRef<f64>],
        params: &EvaluateParams,
        draws: bool,
        memory: usize,
    ) -> Vec<EncodingCell> {
        let (features, _) = data();
        let keep = if draws { Keep::Draws } else { Keep::Maxima };
        score_targets(&features, subjects, &design(), params, keep, memory, &Monitor::silent()).unwrap()
    }

    fn same(a: &Mat<f64>, b: &Mat<f64>) -> bool {
        (0..a.ncols()).all(|j| a.col(j).iter().zip(b.col(j).iter()).all(|(x, y)| x.to_bits() == y.to_bits()))
    }

    #[test]
    fn scores_equal_those_of_predicting_fold_by_fold() {
        let (features, subjects) = data();
        let (design, params) = (design(), params());
        let cell = &score(&[subjects[0].as_ref()], &params, true, 1 << 30)[0];
        let y = Mat::from_fn(N, 5, |i, j| subjects[0][(i, [0, 3, 4, 100, 599][j])]);
        let (order, runs) = held_out_order(&design).unwrap();
        let mut predictions = Mat::<f64>::zeros(N, 5);
        let mut row = 0;
        for (f, fold) in design.folds.iter().enumerate() {
            let found = predict(&features, &[], fold, &design, &[y.as_ref()], &params).unwrap().remove(0);
            for (j, target) in [0, 3, 4, 100, 599].into_iter().enumerate() {
                assert_eq!(cell.inner_scores[(f, target)].to_bits(), found.inner_scores[j].to_bits());
                assert_eq!(cell.alphas[(f, target)].to_bits(), found.alpha_multiples[j].to_bits());
                for t in 0..fold.test.len() {
                    predictions[(row + t, j)] = found.predictions[(t, j)];
                }
            }
            row += fold.test.len();
        }
        let observed = select_rows(y.as_ref(), &order);
        let slow = run_weighted_correlation(predictions.as_ref(), observed.as_ref(), &runs).unwrap();
        let null = null_of(&order, &design, &params);
        let test =
            correlation_test(predictions.as_ref(), observed.as_ref(), &runs, &null, &Monitor::silent())
                .unwrap();
        let draws = cell.draws.as_ref().unwrap();
        for (j, target) in [0, 3, 4, 100, 599].into_iter().enumerate() {
            assert!((cell.moments.r_of(target) - slow.r[j]).abs() < 1e-12);
            assert_eq!(cell.chance.p_value[target], test.p_value[j]);
            for b in 0..99 {
                assert!((draws.null[b * 600 + target] - test.null[b * 5 + j]).abs() < 3e-6);
            }
        }
        let largest =
            |b: usize| draws.null[b * 600..][..600].iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert!((0..99).all(|b| cell.chance.maxima[b] == largest(b)));
        assert!(cell.moments.r_of(0) > 0.3);
    }

    #[test]
    fn bits_do_not_depend_on_company_memory_or_what_is_kept() {
        let (_, subjects) = data();
        let params = params();
        let both: Vec<MatRef<f64>> = subjects.iter().map(|y| y.as_ref()).collect();
        let whole = score(&both, &params, true, 1 << 30);
        let tight = score(&both, &params, false, 0);
        let alone = score(&both[1..], &params, true, 1 << 30);
        for (a, b) in [(&whole[0], &tight[0]), (&whole[1], &tight[1]), (&whole[1], &alone[0])] {
            assert!(same(&a.moments.yp, &b.moments.yp) && same(&a.inner_scores, &b.inner_scores));
            assert_eq!(a.chance.maxima, b.chance.maxima);
            assert!(a.chance.steps.is_empty() && (b.chance.steps.is_empty() == b.draws.is_some()));
            for (draw, largest) in b.chance.maxima.iter().enumerate().filter(|_| b.draws.is_none()) {
                let steps = b.chance.steps.iter().skip(draw).step_by(99);
                assert_eq!(steps.fold(f32::NEG_INFINITY, |m, x| m.max(*x)), *largest);
            }
            assert_eq!(format!("{:?}", a.chance.p_value), format!("{:?}", b.chance.p_value));
        }
        assert!(tight[0].draws.is_none() && whole[0].draws.is_some());
    }

    #[test]
    fn a_spoiled_target_harms_no_other() {
        let (_, subjects) = data();
        let params = params();
        let cell = score(&[subjects[1].as_ref()], &params, true, 1 << 30).remove(0);
        for target in [1, 2] {
            assert!(cell.moments.r_of(target).is_nan() && cell.chance.p_value[target].is_nan());
            assert!(cell.moments.r2_of(target).is_nan());
        }
        let alone = subjects[1].get(.., ..1);
        let clean = score(&[alone], &params, true, 1 << 30).remove(0);
        assert_eq!(cell.moments.r_of(0).to_bits(), clean.moments.r_of(0).to_bits());
        assert_eq!(cell.chance.maxima, clean.chance.maxima);
    }

    #[test]
    fn kernels_and_components_predict_as_their_estimators_do() {
        let (features, subjects) = data();
        let y = subjects[0].get(.., ..40);
        let design = design();
        let of = |solver| {
            let mut params = params();
            params.encoding.solver = solver;
            let one = score(&[y], &params, true, 1 << 30).remove(0);
            let tight = score(&[y], &params, true, 0).remove(0);
            assert!(same(&one.moments.yp, &tight.moments.yp), "memory changes bits");
            (one, params)
        };
        // A linear kernel is ridge itself, whose mean(s²) is over 12 units where the kernel's is over n rows.
        let (linear, mut params) = of(Solver::KernelRidge { kernel: Kernel::Linear });
        params.encoding.solver = Solver::Ridge;
        let n_train = design.folds[0].train.len() as f64;
        params.encoding.alphas.values.iter_mut().for_each(|a| *a *= 12.0 / n_train);
        let ridge = score(&[y], &params, true, 1 << 30).remove(0);
        for j in [0, 3, 20, 39] {
            assert!((linear.moments.r_of(j) - ridge.moments.r_of(j)).abs() < 1e-8);
            assert!((linear.inner_scores[(0, j)] - ridge.inner_scores[(0, j)]).abs() < 1e-8);
        }
        let (rbf, _) = of(Solver::KernelRidge { kernel: Kernel::Rbf { gamma: None } });
        assert!(rbf.moments.r_of(0) > 0.1 && rbf.moments.r_of(0) != ridge.moments.r_of(0));
        // PLS of all targets together, as the estimator fits z-scored rows.
        let (found, params) = of(Solver::Pls { n_components: 10 });
        let fold = &design.folds[1];
        let mut x = features.view().to_owned();
        for j in 0..12 {
            let train: Vec<f64> = fold.train.iter().map(|&i| x[(i, j)]).collect();
            let n = train.len() as f64;
            let mean = train.iter().sum::<f64>() / n;
            let sd = (train.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
            x.col_as_slice_mut(j).iter_mut().for_each(|v| *v = (*v - mean) / sd);
        }
        let clean = Mat::from_fn(N, 40, |i, j| if j == 2 { 0.0 } else { y[(i, j)] });
        let rows = |m: &Mat<f64>, rows: &[usize]| select_rows(m.as_ref(), rows);
        let pls_params = PlsParams { n_components: 10, scale: false };
        let fit = pls(
            rows(&x, &fold.train).as_ref(),
            rows(&clean, &fold.train).as_ref(),
            &pls_params,
            &Monitor::silent(),
        )
        .unwrap();
        let test = rows(&x, &fold.test);
        let first_row = design.folds[0].test.len();
        let predictions = &found.draws.as_ref().unwrap().predictions;
        for j in [0, 3, 20, 39] {
            for t in 0..fold.test.len() {
                let slow: f64 =
                    fit.intercepts[j] + (0..12).map(|k| test[(t, k)] * fit.weights[(k, j)]).sum::<f64>();
                assert!((f64::from(predictions[(first_row + t, j)]) - slow).abs() < 1e-5);
            }
        }
        assert!(
            found.moments.r_of(0) > 0.2 && found.moments.r_of(1).is_nan() && found.moments.r_of(2).is_nan()
        );
        assert!(found.alphas[(0, 0)].is_nan() && found.inner_scores[(0, 0)] < 1.0);
        // Held-out responses are not read: other ones there leave the predictions as they are.
        let other =
            Mat::from_fn(N, 40, |i, j| if fold.test.contains(&i) { 9.0 - y[(i, j)] } else { y[(i, j)] });
        let again = score(&[other.as_ref()], &params, true, 1 << 30).remove(0);
        let of_fold = |cell: &EncodingCell| {
            let p = &cell.draws.as_ref().unwrap().predictions;
            (0..fold.test.len()).map(|t| p[(first_row + t, 3)].to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(of_fold(&again), of_fold(&found));
    }

    #[test]
    fn refits_are_those_of_the_encoding_test_and_uniform_on_noise() {
        let (features, subjects) = data();
        let design = design();
        let mut params = params();
        params.null = NullModel::Refit;
        params.encoding.selection = Selection::Generalised;
        let mut stream = Stream::new(6, "layer tests", 1);
        // Ten targets with signal, one that does not vary, 500 of noise.
        let y = Mat::from_fn(N, 511, |i, j| match j {
            0..10 => subjects[0][(i, 3 + j)],
            10 => 2.0,
            _ => stream.normal(),
        });
        let cell = score(&[y.as_ref()], &params, true, 1 << 30).remove(0);
        let plans: Vec<RidgePlan> = design
            .folds
            .iter()
            .map(|fold| {
                let mut x = features.view().to_owned();
                for j in 0..x.ncols() {
                    let train: Vec<f64> = fold.train.iter().map(|&i| x[(i, j)]).collect();
                    let n = train.len() as f64;
                    let mean = train.iter().sum::<f64>() / n;
                    let sd = (train.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
                    x.col_as_slice_mut(j).iter_mut().for_each(|v| *v = (*v - mean) / sd);
                }
                let rows = |rows: &[usize]| select_rows(x.as_ref(), rows);
                let ridge = RidgeParams { selection: Selection::Generalised, ..RidgeParams::default() };
                RidgePlan::new(rows(&fold.train).as_ref(), rows(&fold.test).as_ref(), &[], &ridge).unwrap()
            })
            .collect();
        let draws = NullDraws::new(&design.runs, &refit_null_of(&design, &params)).unwrap();
        let folds: Vec<Fold> = design.folds.iter().cloned().collect();
        let twin = held_out_refits(&folds, &plans, y.as_ref(), &draws, &Monitor::silent()).unwrap();
        let mut differ = 0;
        for j in (0..511).filter(|&j| j != 10) {
            assert!((cell.moments.r_of(j) - twin.statistic[j]).abs() < 1e-9);
            differ += usize::from(cell.chance.p_value[j] != twin.p_value[j]);
        }
        // Ties within single precision may fall on either side.
        assert!(differ <= 2, "{differ}");
        assert!((0..10).all(|j| cell.chance.p_value[j] <= 0.05) && cell.chance.p_value[10].is_nan());
        let largest = (0..99).map(|b| (f64::from(cell.chance.maxima[b]) - twin.maxima[b]).abs());
        assert!(largest.fold(0.0, f64::max) < 1e-6);
        for level in [0.05, 0.2, 0.5] {
            let share = (11..511).filter(|&j| cell.chance.p_value[j] <= level).count() as f64 / 500.0;
            let error = (level * (1.0 - level) / 500.0_f64).sqrt();
            assert!((share - level).abs() < 4.0 * error, "{share} at {level}");
        }
        // What is kept, memory and threads change no bit.
        let tight = score(&[y.as_ref()], &params, false, 0).remove(0);
        assert_eq!(format!("{:?}", tight.chance.p_value), format!("{:?}", cell.chance.p_value));
        assert_eq!(tight.chance.maxima, cell.chance.maxima);
        assert!(tight.refits.is_none() && tight.chance.steps.len() == N_STEPS * 99);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let again = pool.install(|| score(&[y.as_ref()], &params, true, 1 << 30).remove(0));
        assert_eq!(format!("{:?}", again.refits), format!("{:?}", cell.refits));
        // A null draw is the mean of its folds.
        let (refits, null) = (cell.refits.unwrap(), cell.draws.unwrap().null);
        let of = |b: usize, j: usize| {
            (0..4).map(|f| 15.0 * f64::from(refits.r[(b * 4 + f) * 511 + j])).sum::<f64>() / 60.0
        };
        assert!((0..99).all(|b| (of(b, 30) - f64::from(null[b * 511 + 30])).abs() < 1e-6));
    }

    #[test]
    fn penalties_are_judged_as_asked() {
        let (_, subjects) = data();
        let y = [subjects[0].get(.., ..1)];
        let of = |selection| {
            let mut params = params();
            params.encoding.selection = selection;
            score(&y, &params, false, 1 << 30).remove(0)
        };
        let [folds, loo, gcv] = [Selection::Folds, Selection::LeaveOneOut, Selection::Generalised].map(of);
        assert!(!same(&folds.inner_scores, &loo.inner_scores) && !same(&loo.inner_scores, &gcv.inner_scores));
        for cell in [&loo, &gcv] {
            assert!((cell.moments.r_of(0) - folds.moments.r_of(0)).abs() < 0.2);
        }
    }
}
