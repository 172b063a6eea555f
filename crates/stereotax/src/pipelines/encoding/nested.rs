//! Choose a layer per target where the held-out fold cannot see the choice, and keep its honest score.
//!
//! In every outer fold each target takes the layer with the best inner score, from training rows alone; ties go
//! to the layer that stands first. The moments of the chosen layers make one honest score per target, exactly as
//! if choosing were a part of fitting. The best of the scores themselves is not honest: it is the largest of as
//! many noisy numbers as there are layers. Layers are offered one after another, so that one at a time is held.
//! Where predictions were not kept, those of the layers chosen are made again for the null draws, as many targets
//! at a time as memory holds.
//! Source: specs: alignment-methods B1, B17. Cost: O(folds · targets) per layer.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::super::bootstrap::bootstrap_correlations;
use super::super::design::SampleDesign;
use super::super::evaluate::{EvaluateParams, NullModel, block_draws, held_out_order, inner_of, tr_of};
use super::super::represent::Features;
use super::layer::{BLOCK, CellDraws, Chance, Refits, TIE, bootstrap, cleaned, null_draws};
use super::moments::FoldMoments;
use crate::data::{Fold, Monitor, Result};
use crate::encoding::{FoldFeatures, FoldPlan};
use crate::stats::null_draws::NullDraws;
use crate::stats::summary::permutation_p;

/// The layers that were offered so far, and the best of them in every fold.
#[derive(Debug)]
pub struct NestedChoice {
    inner_scores: Mat<f64>,
    chosen: Mat<f64>,
    moments: FoldMoments,
    predictions: Option<Mat<f32>>,
    /// The choice made anew in every refit.
    refits: Option<Refits>,
}

/// Every target with its chosen layers.
#[derive(Debug, Clone)]
pub struct BestCell {
    /// Number of the chosen layer (folds × targets); NaN where no layer has an inner score.
    pub chosen: Mat<f64>,
    /// Its inner score.
    pub inner_scores: Mat<f64>,
    /// Moments of its held-out predictions.
    pub moments: FoldMoments,
    /// What chance gives; without numbers where predictions were not kept.
    pub chance: Chance,
    /// Predictions and draws, where they were kept.
    pub draws: Option<CellDraws>,
}

impl NestedChoice {
    /// Nothing offered yet; `n` held-out samples per fold. With `keep_predictions` every offer brings its own.
    pub fn new(n: Vec<usize>, n_targets: usize, keep_predictions: bool) -> Self {
        NestedChoice {
            inner_scores: Mat::full(n.len(), n_targets, f64::NAN),
            chosen: Mat::full(n.len(), n_targets, f64::NAN),
            predictions: keep_predictions.then(|| Mat::zeros(n.iter().sum(), n_targets)),
            refits: None,
            moments: FoldMoments::empty(n, n_targets),
        }
    }

    /// Offer layer number `layer`: inner scores (folds × targets), moments, and predictions in the order of
    /// [`held_out_order`](crate::pipelines::held_out_order), all of the same folds and targets; and refits, where
    /// these make the null draws.
    pub fn offer(
        &mut self,
        layer: usize,
        inner_scores: MatRef<f64>,
        moments: &FoldMoments,
        predictions: Option<MatRef<f32>>,
        refits: Option<&Refits>,
    ) {
        if let Some(offered) = refits {
            let kept = self.refits.get_or_insert_with(|| Refits {
                r: vec![f32::NAN; offered.r.len()],
                inner_scores: vec![f32::NAN; offered.r.len()],
            });
            for (at, score) in offered.inner_scores.iter().enumerate() {
                let best = kept.inner_scores[at];
                if !score.is_nan() && (best.is_nan() || *score > best) {
                    (kept.inner_scores[at], kept.r[at]) = (*score, offered.r[at]);
                }
            }
        }
        let mut first_row = 0;
        for fold in 0..self.moments.n.len() {
            let n = self.moments.n[fold];
            for target in 0..self.moments.n_targets() {
                let (score, best) = (inner_scores[(fold, target)], self.inner_scores[(fold, target)]);
                if score.is_nan() || !(best.is_nan() || score > best) {
                    continue;
                }
                self.inner_scores[(fold, target)] = score;
                self.chosen[(fold, target)] = layer as f64;
                self.moments.set(fold, target, moments.at(fold, target));
                if let (Some(kept), Some(offered)) = (&mut self.predictions, predictions) {
                    (first_row..first_row + n).for_each(|t| kept[(t, target)] = offered[(t, target)]);
                }
            }
            first_row += n;
        }
    }

    /// Score the choice against `y` (samples × targets), with draws where predictions were kept; where they were not
    /// they are made again from `features`, as many at a time as `memory` (bytes) holds.
    pub fn finish(
        self,
        y: MatRef<f64>,
        design: &SampleDesign,
        params: &EvaluateParams,
        features: &LayerFeatures<'_>,
        memory: usize,
        monitor: &Monitor,
    ) -> Result<BestCell> {
        let NestedChoice { inner_scores, chosen, moments, predictions, refits } = self;
        let none = |note: String| Chance {
            p_value: vec![f64::NAN; y.ncols()],
            maxima: Vec::new(),
            steps: Vec::new(),
            note: Some(note),
        };
        let Some(predictions) = predictions else {
            let chance = match (params.null, null_draws(design, params)?) {
                (_, Err(reason)) => none(reason.to_string()),
                (NullModel::Refit, Ok(_)) => none(REFITS_NOT_KEPT.to_owned()),
                (NullModel::Shift, Ok(draws)) => {
                    by_chosen(&chosen, &moments, y, design, params, &draws, features, memory, monitor)?
                }
            };
            return Ok(BestCell { chosen, inner_scores, moments, chance, draws: None });
        };
        let (order, runs) = held_out_order(design)?;
        let multiplicities = block_draws(design, params)?;
        let bootstrap =
            bootstrap(bootstrap_correlations, &predictions, y, &order, &runs, design, &multiplicities);
        let observed = moments.r();
        let (chance, null) = match (null_draws(design, params)?, refits) {
            (Err(reason), _) => (none(reason.to_string()), Vec::new()),
            (Ok(draws), Some(refits)) => of_refits(&refits, &moments.n, &observed, draws.support.warning),
            (Ok(draws), None) => {
                let finite = |v: f64| if v.is_finite() { v } else { 0.0 };
                let responses = Mat::from_fn(order.len(), y.ncols(), |t, j| finite(y[(order[t], j)]));
                let mut null = vec![f32::NAN; draws.n_draws() * y.ncols()];
                let mut p_value = vec![f64::NAN; y.ncols()];
                let mut maxima = vec![f32::NEG_INFINITY; draws.n_draws()];
                for from in (0..y.ncols()).step_by(BLOCK) {
                    let to = y.ncols().min(from + BLOCK);
                    let (p, o) = (predictions.get(.., from..to), responses.get(.., from..to));
                    let tile = draws.tile(p, o, &observed[from..to], monitor)?;
                    for (at, target) in (from..to).enumerate() {
                        if !observed[target].is_nan() {
                            p_value[target] = permutation_p(tile.n_reaching[at], draws.n_draws());
                        }
                    }
                    for (draw, row) in tile.null.chunks_exact(to - from).enumerate() {
                        maxima[draw] = row.iter().fold(maxima[draw], |m, x| m.max(*x));
                        null[draw * y.ncols() + from..][..to - from].copy_from_slice(row);
                    }
                }
                (Chance { p_value, maxima, steps: Vec::new(), note: draws.support.warning.clone() }, null)
            }
        };
        let draws = Some(CellDraws { predictions, bootstrap, null });
        Ok(BestCell { chosen, inner_scores, moments, chance, draws })
    }
}

/// The features of a layer, by its number.
pub type LayerFeatures<'a> = dyn Fn(usize) -> Result<Features> + 'a;

/// Why a choice has no null draws.
const REFITS_NOT_KEPT: &str =
    "too many targets for their refits to be kept, without which no draw can choose its layers anew";

/// Chance of the chosen layers' predictions, which are made again: layer after layer, and in each fold for the targets
/// that chose it.
fn by_chosen(
    chosen: &Mat<f64>,
    moments: &FoldMoments,
    y: MatRef<f64>,
    design: &SampleDesign,
    params: &EvaluateParams,
    draws: &NullDraws,
    layer_features: &LayerFeatures<'_>,
    memory: usize,
    monitor: &Monitor,
) -> Result<Chance> {
    let (order, _) = held_out_order(design)?;
    let folds: Vec<&Fold> = design.folds.iter().filter(|fold| !fold.test.is_empty()).collect();
    let n_targets = y.ncols();
    let mut layers: Vec<usize> =
        chosen.col_iter().flat_map(|c| c.iter()).filter(|l| !l.is_nan()).map(|l| *l as usize).collect();
    layers.sort_unstable();
    layers.dedup();
    let observed = moments.r();
    let (mut p_value, mut maxima) = (vec![f64::NAN; n_targets], vec![f32::NEG_INFINITY; draws.n_draws()]);
    let chunk = (memory / (4 * order.len()).max(1) / BLOCK).max(1) * BLOCK;
    for from in (0..n_targets).step_by(chunk) {
        let here = from..n_targets.min(from + chunk);
        let mut predictions = Mat::<f32>::zeros(order.len(), here.len());
        for &layer in &layers {
            let wanted = |fold: usize| -> Vec<usize> {
                here.clone().filter(|&j| chosen[(fold, j)] == layer as f64).collect()
            };
            let of_folds: Vec<Vec<usize>> = (0..folds.len()).map(wanted).collect();
            if of_folds.iter().all(Vec::is_empty) {
                continue;
            }
            let features = layer_features(layer)?;
            let mut first_row = 0;
            for (fold, wanted) in folds.iter().zip(&of_folds) {
                if !wanted.is_empty() {
                    let found = predict_some(&features, fold, y, wanted, design, params, monitor)?;
                    for (at, &j) in wanted.iter().enumerate() {
                        let to = predictions.col_as_slice_mut(j - from);
                        to[first_row..first_row + fold.test.len()].copy_from_slice(found.col_as_slice(at));
                    }
                }
                first_row += fold.test.len();
            }
        }
        let finite = |v: f64| if v.is_finite() { v } else { 0.0 };
        for at in (0..here.len()).step_by(BLOCK) {
            let to = here.len().min(at + BLOCK);
            let tile = from + at..from + to;
            let responses = Mat::from_fn(order.len(), to - at, |t, j| finite(y[(order[t], from + at + j)]));
            let of_tile = &observed[tile.clone()];
            let found = draws.tile(predictions.get(.., at..to), responses.as_ref(), of_tile, monitor)?;
            for (k, target) in tile.enumerate().filter(|(k, _)| !of_tile[*k].is_nan()) {
                p_value[target] = permutation_p(found.n_reaching[k], draws.n_draws());
            }
            for (largest, row) in maxima.iter_mut().zip(found.null.chunks_exact(to - at)) {
                *largest = row.iter().fold(*largest, |m, x| m.max(*x));
            }
        }
    }
    Ok(Chance { p_value, maxima, steps: Vec::new(), note: draws.support.warning.clone() })
}

/// Held-out predictions of some targets in one fold (test rows × targets), zero where undefined.
fn predict_some(
    features: &Features,
    fold: &Fold,
    y: MatRef<f64>,
    wanted: &[usize],
    design: &SampleDesign,
    params: &EvaluateParams,
    monitor: &Monitor,
) -> Result<Mat<f32>> {
    let inner = inner_of(fold, design, params)?;
    let input = FoldFeatures { values: features.view(), runs: &design.runs, tr_s: tr_of(design) };
    let plan = FoldPlan::new(&input, fold, &inner, &params.encoding)?;
    // Where targets are fitted together all of them take part.
    let together = params.encoding.fits_targets_together();
    let all: Vec<usize> = (0..y.ncols()).collect();
    let columns = if together { &all } else { wanted };
    let width = if together { columns.len().max(1) } else { BLOCK };
    let tiles: Vec<Mat<f32>> = columns
        .par_chunks(width)
        .map(|columns| {
            monitor.check()?;
            let tile = Mat::from_fn(y.nrows(), columns.len(), |i, k| y[(i, columns[k])]);
            let (clean, _) = cleaned(tile.as_ref());
            let fit = plan.fit(clean.as_ref().unwrap_or(&tile).as_ref())?;
            let single = |v: f64| if v.is_finite() { v as f32 } else { 0.0 };
            Ok(Mat::from_fn(fit.rows.len(), columns.len(), |t, k| single(fit.predictions[(t, k)])))
        })
        .collect::<Result<_>>()?;
    let place = |at: usize| if together { wanted[at] } else { at };
    Ok(Mat::from_fn(fold.test.len(), wanted.len(), |t, at| tiles[place(at) / width][(t, place(at) % width)]))
}

/// Chance by refits (draws × folds × targets), each with its own choice.
fn of_refits(refits: &Refits, n: &[usize], observed: &[f64], note: Option<String>) -> (Chance, Vec<f32>) {
    let n_targets = observed.len();
    let mut null = Vec::with_capacity(refits.r.len() / n.len().max(1));
    for draw in refits.r.chunks_exact((n.len() * n_targets).max(1)) {
        for (j, r) in observed.iter().enumerate() {
            let (mut sum, mut rows) = (0.0, 0.0);
            for (fold, n_rows) in n.iter().enumerate() {
                let value = f64::from(draw[fold * n_targets + j]);
                if !value.is_nan() {
                    sum += *n_rows as f64 * value;
                    rows += *n_rows as f64;
                }
            }
            null.push(if r.is_nan() { f32::NAN } else { (sum / rows) as f32 });
        }
    }
    let draws = || null.chunks_exact(n_targets.max(1));
    let reaching = |j: usize| draws().filter(|row| f64::from(row[j]) >= observed[j] - TIE).count();
    let p_value = (0..n_targets)
        .map(|j| if observed[j].is_nan() { f64::NAN } else { permutation_p(reaching(j), draws().count()) })
        .collect();
    let maxima = draws().map(|row| row.iter().fold(f32::NEG_INFINITY, |m, x| m.max(*x))).collect();
    (Chance { p_value, maxima, steps: Vec::new(), note }, null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_made_anew_in_every_refit() {
        // One target, two folds of 2 and 4 rows, two draws.
        let refits = |r: [f32; 4], inner: [f32; 4]| Refits { r: r.to_vec(), inner_scores: inner.to_vec() };
        let mut choice = NestedChoice::new(vec![2, 4], 1, true);
        let moments = FoldMoments::empty(vec![2, 4], 1);
        let inner = Mat::full(2, 1, 0.5);
        let nothing = Mat::<f32>::zeros(6, 1);
        let first = refits([0.9, -0.3, 0.2, f32::NAN], [0.1, 0.4, 0.2, f32::NAN]);
        let second = refits([-0.6, 0.9, 0.3, 0.8], [0.3, 0.4, 0.1, 0.0]);
        choice.offer(0, inner.as_ref(), &moments, Some(nothing.as_ref()), Some(&first));
        choice.offer(1, inner.as_ref(), &moments, Some(nothing.as_ref()), Some(&second));
        let refits = choice.refits.unwrap();
        // Fold by fold the layer with the higher inner score; a tie stays with the first.
        assert_eq!(refits.r, [-0.6, -0.3, 0.2, 0.8]);
        let (chance, null) = of_refits(&refits, &[2, 4], &[0.5], None);
        assert!((null[0] - (-0.4)).abs() < 1e-6 && (null[1] - 0.6).abs() < 1e-6);
        assert_eq!((chance.p_value[0], chance.maxima.len()), (2.0 / 3.0, 2));
        assert!(of_refits(&refits, &[2, 4], &[f64::NAN], None).0.p_value[0].is_nan());
    }

    #[test]
    fn the_choice_looks_at_inner_scores_alone() {
        // Two folds, two targets. Layer 1 wins fold 0 of target 0 by its inner score, whatever its outer one.
        let mut choice = NestedChoice::new(vec![2, 2], 2, false);
        let with = |value: f64| {
            let mut moments = FoldMoments::empty(vec![2, 2], 2);
            (0..4).for_each(|at| moments.set(at / 2, at % 2, [0.0, 0.0, 1.0, 1.0, value]));
            moments
        };
        let first = Mat::from_fn(2, 2, |f, j| [[0.1, 0.3], [0.2, f64::NAN]][f][j]);
        let second = Mat::from_fn(2, 2, |f, j| [[0.4, 0.3], [0.1, f64::NAN]][f][j]);
        choice.offer(0, first.as_ref(), &with(0.9), None, None);
        choice.offer(1, second.as_ref(), &with(-0.5), None, None);
        let chosen: Vec<f64> = [(0, 0), (0, 1), (1, 0)].map(|at| choice.chosen[at]).to_vec();
        // A tie stays with the first.
        assert_eq!(chosen, [1.0, 0.0, 0.0]);
        assert!(choice.chosen[(1, 1)].is_nan());
        // Target 0: r of layer 1 in fold 0 and of layer 0 in fold 1.
        assert!((choice.moments.r_of(0) - (2.0 * -0.5 + 2.0 * 0.9) / 4.0).abs() < 1e-15);
        // Target 1 has a score in fold 0 alone.
        assert!((choice.moments.r_of(1) - 0.9).abs() < 1e-15);
    }
}
