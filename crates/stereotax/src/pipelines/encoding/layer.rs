//! Score one set of features against all targets of all subjects, and keep what the group stage needs.
//!
//! Per outer fold the work on features (reduction, delays, decompositions) is done once for all subjects; each
//! subject's targets then go through it in tiles. What is kept per target is small ([`FoldMoments`], penalties,
//! inner scores, a p-value); held-out predictions of as many targets as memory allows wait, in single precision,
//! until the last fold, since a null draw moves them within all folds at once. Where targets are few the null
//! draws and a bootstrap are kept; where they are many, the largest null correlation over targets, in steps of
//! the observed one, so that max-T over layers, models and targets can be made later without the draws.
//!
//! A target that is constant over some training rows, or holds a value that is not finite, is undefined there and
//! harms no other one. The bits of a target do not depend on its company, on memory or on threads.
//! Source: specs: alignment-methods B1, B6, B17; DESIGN 1.4.

use std::ops::Range;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::super::bootstrap::bootstrap_correlations;
use super::super::design::SampleDesign;
use super::super::evaluate::{EvaluateParams, block_draws, held_out_order, inner_of, null_of, tr_of};
use super::super::represent::Features;
use super::moments::{FoldMoments, moments_of};
use crate::data::{Error, Fold, Monitor, Result, Runs};
use crate::encoding::{AlphaChoice, FoldFeatures, FoldPlan};
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
}

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

/// Score `features` against every subject (samples × targets each).
///
/// `memory` is how many bytes predictions and decomposed folds may take at a time; one fold and one tile of
/// targets are always allowed. `keep_draws` keeps predictions and draws, and is meant for at most
/// [`MOST_WITH_DRAWS`] targets. Errors: those of the encoding model and of the design; a stop on request.
pub fn score_targets(
    features: &Features,
    subjects: &[MatRef<'_, f64>],
    design: &SampleDesign,
    params: &EvaluateParams,
    keep_draws: bool,
    memory: usize,
    monitor: &Monitor,
) -> Result<Vec<EncodingCell>> {
    let (order, runs) = held_out_order(design)?;
    let folds: Vec<&Fold> = design.folds.iter().filter(|fold| !fold.test.is_empty()).collect();
    let null = NullDraws::new(&runs, &null_of(&order, design, params));
    let mut cells: Vec<Partial> =
        subjects.iter().map(|y| Partial::new(&runs, y.ncols(), &null, keep_draws, order.len())).collect();
    let most = subjects.iter().map(|y| y.ncols()).max().unwrap_or(0);
    let one_fold = fold_bytes(features, design, params);
    // Folds that are worked on at once, then targets whose predictions fit beside them.
    let at_once =
        (memory / 2 / one_fold.max(1)).clamp(1, folds.len().max(1)).min(rayon::current_num_threads());
    let per_target = 4 * order.len() * subjects.len().max(1);
    let chunk = match params.encoding.alpha_choice {
        // A shared penalty looks at all targets together.
        AlphaChoice::Shared => most.max(1),
        AlphaChoice::PerTarget => {
            let room = memory.saturating_sub(at_once * one_fold) / per_target.max(1);
            (room / BLOCK).max(1) * BLOCK
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
            let fitted: Vec<Vec<FoldPart>> = group
                .par_iter()
                .map(|fold| fit_fold(features, subjects, fold, design, params, &wanted, monitor))
                .collect::<Result<_>>()?;
            for (at, parts) in fitted.into_iter().enumerate() {
                let fold_idx = group_idx * at_once + at;
                for (cell, part) in cells.iter_mut().zip(parts) {
                    cell.take(fold_idx, first_row, &wanted, part);
                }
                first_row += folds[fold_idx].test.len();
            }
        }
        for (cell, y) in cells.iter_mut().zip(subjects) {
            cell.test(&wanted, *y, &order, &null, monitor)?;
        }
    }
    let multiplicities = if keep_draws { Some(block_draws(design, params)?) } else { None };
    cells
        .into_iter()
        .zip(subjects)
        .map(|(cell, y)| cell.finish(*y, &order, &runs, design, &null, multiplicities.as_ref()))
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
struct FoldPart {
    moments: Vec<[f64; 5]>,
    alphas: Vec<f64>,
    inner_scores: Vec<f64>,
    n_at_edges: [usize; 2],
    n_components: usize,
    /// Test rows × targets; zero where undefined.
    predictions: Mat<f32>,
}

fn fit_fold(
    features: &Features,
    subjects: &[MatRef<'_, f64>],
    fold: &Fold,
    design: &SampleDesign,
    params: &EvaluateParams,
    wanted: &Range<usize>,
    monitor: &Monitor,
) -> Result<Vec<FoldPart>> {
    let inner = inner_of(fold, design, params)?;
    let input = FoldFeatures { values: features.view(), runs: &design.runs, tr_s: tr_of(design) };
    let plan = FoldPlan::new(&input, fold, &inner, &params.encoding)?;
    if plan.test_rows() != fold.test {
        return Err(Error::Invalid {
            what: format!("fold {}", fold.name),
            expected: "padded samples to be left out of the folds where they are dropped".into(),
            found: format!("{} of {} test rows to be predicted", plan.test_rows().len(), fold.test.len()),
            hint: "build the folds without padded rows".into(),
        });
    }
    let block = match params.encoding.alpha_choice {
        AlphaChoice::Shared => wanted.len().max(1),
        AlphaChoice::PerTarget => BLOCK,
    };
    subjects
        .par_iter()
        .map(|y| {
            let here = wanted.start.min(y.ncols())..wanted.end.min(y.ncols());
            let starts: Vec<usize> = here.clone().step_by(block).collect();
            let blocks: Vec<FoldPart> = starts
                .into_par_iter()
                .map(|from| {
                    monitor.check()?;
                    fit_block(&plan, y.get(.., from..here.end.min(from + block)))
                })
                .collect::<Result<_>>()?;
            Ok(join(blocks, fold.test.len()))
        })
        .collect()
}

/// Choose penalties and predict for some targets.
fn fit_block(plan: &FoldPlan, y: MatRef<'_, f64>) -> Result<FoldPart> {
    // A target that is not finite somewhere is treated as one that does not vary.
    let finite: Vec<bool> = (0..y.ncols()).map(|j| y.col(j).iter().all(|v| v.is_finite())).collect();
    let clean = (!finite.iter().all(|f| *f))
        .then(|| Mat::from_fn(y.nrows(), y.ncols(), |i, j| if finite[j] { y[(i, j)] } else { 0.0 }));
    let y = clean.as_ref().map_or(y, |clean| clean.as_ref());
    let fit = plan.fit(y)?;
    let moments = moments_of(fit.predictions.as_ref(), y, &fit.rows);
    Ok(FoldPart {
        moments: moments
            .into_iter()
            .zip(&finite)
            .map(|(m, finite)| if *finite && !m[1].is_nan() { m } else { [f64::NAN; 5] })
            .collect(),
        predictions: Mat::from_fn(fit.rows.len(), y.ncols(), |i, j| {
            let value = fit.predictions[(i, j)];
            if value.is_finite() { value as f32 } else { 0.0 }
        }),
        alphas: fit.alpha_multiples,
        inner_scores: fit.inner_scores,
        n_at_edges: [fit.n_at_lower_edge, fit.n_at_upper_edge],
        n_components: fit.n_components,
    })
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
    };
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
    kept: Option<CellDraws>,
}

impl Partial {
    fn new(runs: &Runs, n_targets: usize, null: &Result<NullDraws>, keep_draws: bool, n: usize) -> Self {
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
                    steps: vec![f32::NEG_INFINITY; if keep_draws { 0 } else { N_STEPS * n_draws }],
                    note,
                },
                draws: None,
                moments: FoldMoments::empty(lengths, n_targets),
            },
            n_held_out: n,
            predictions: Mat::zeros(0, 0),
            kept: keep_draws.then(|| CellDraws {
                predictions: Mat::zeros(n, n_targets),
                bootstrap: Mat::zeros(0, n_targets),
                null: vec![f32::NAN; n_draws * n_targets],
            }),
        }
    }

    /// Make room for the wanted targets.
    fn open(&mut self, wanted: &Range<usize>) {
        let n_targets = self.cell.moments.n_targets();
        let width = wanted.end.min(n_targets).saturating_sub(wanted.start);
        self.predictions = Mat::zeros(self.n_held_out, width);
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
        if let Some(kept) = &mut self.kept {
            for at in 0..width {
                let to = kept.predictions.col_as_slice_mut(wanted.start + at);
                to.copy_from_slice(self.predictions.col_as_slice(at));
            }
        }
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
                for (at, r) in observed.iter().enumerate() {
                    self.cell.chance.p_value[wanted.start + from + at] = match r.is_nan() {
                        true => f64::NAN,
                        false => permutation_p(tile.n_reaching[at], null.n_draws()),
                    };
                }
                for (draw, row) in tile.null.chunks_exact(observed.len().max(1)).enumerate() {
                    let largest = &mut self.cell.chance.maxima[draw];
                    *largest = row.iter().fold(*largest, |m, x| m.max(*x));
                    if !self.cell.chance.steps.is_empty() {
                        for (r, value) in observed.iter().zip(row) {
                            let largest = &mut self.cell.chance.steps[step_of(*r) * null.n_draws() + draw];
                            *largest = largest.max(*value);
                        }
                    }
                    if let Some(kept) = &mut self.kept {
                        let to = draw * n_targets + wanted.start + from;
                        kept.null[to..to + row.len()].copy_from_slice(row);
                    }
                }
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
    ) -> Result<EncodingCell> {
        if null.is_err() {
            self.cell.chance.maxima.clear();
            self.cell.chance.steps.clear();
        }
        if let (Some(mut kept), Some(multiplicities)) = (self.kept.take(), multiplicities) {
            kept.bootstrap = bootstrap(&kept.predictions, y, order, runs, design, multiplicities);
            self.cell.draws = Some(kept);
        }
        Ok(self.cell)
    }
}

/// Bootstrap draws of the correlations of held-out predictions (draws × targets).
pub(super) fn bootstrap(
    predictions: &Mat<f32>,
    y: MatRef<'_, f64>,
    order: &[usize],
    runs: &Runs,
    design: &SampleDesign,
    multiplicities: &Mat<f64>,
) -> Mat<f32> {
    let blocks: Vec<usize> = order.iter().map(|&i| design.blocks[i]).collect();
    let groups: Vec<Option<usize>> = runs.codes().into_iter().map(Some).collect();
    let observed = select_rows(y, order);
    let parts: Vec<Mat<f64>> = (0..y.ncols())
        .step_by(BLOCK)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|from| {
            let to = y.ncols().min(from + BLOCK);
            let finite = |v: f64| if v.is_finite() { v } else { 0.0 };
            let p = Mat::from_fn(order.len(), to - from, |t, j| f64::from(predictions[(t, from + j)]));
            let o = Mat::from_fn(order.len(), to - from, |t, j| finite(observed[(t, from + j)]));
            bootstrap_correlations(p.as_ref(), o.as_ref(), &groups, &blocks, multiplicities.as_ref())
        })
        .collect();
    Mat::from_fn(multiplicities.nrows(), y.ncols(), |b, j| parts[j / BLOCK][(b, j % BLOCK)] as f32)
}

#[cfg(test)]
mod tests {
    use super::super::super::design::Clock;
    use super::super::super::evaluate::{InnerRule, predict};
    use super::*;
    use crate::data::Folds;
    use crate::encoding::{EncodingParams, Selection};
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
        score_targets(&features, subjects, &design(), params, draws, memory, &Monitor::silent()).unwrap()
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
