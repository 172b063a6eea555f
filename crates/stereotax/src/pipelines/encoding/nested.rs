//! Choose a layer per target where the held-out fold cannot see the choice, and keep its honest score.
//!
//! In every outer fold each target takes the layer with the best inner score, from training rows alone; ties go
//! to the layer that stands first. The moments of the chosen layers make one honest score per target, exactly as
//! if choosing were a part of fitting. The best of the scores themselves is not honest: it is the largest of as
//! many noisy numbers as there are layers. Layers are offered one after another, so that one at a time is held.
//! Source: specs: alignment-methods B1, B17. Cost: O(folds · targets) per layer.

use faer::{Mat, MatRef};

use super::super::design::SampleDesign;
use super::super::evaluate::{EvaluateParams, block_draws, held_out_order, null_of};
use super::layer::{BLOCK, CellDraws, Chance, bootstrap};
use super::moments::FoldMoments;
use crate::data::{Monitor, Result};
use crate::stats::null_draws::NullDraws;
use crate::stats::summary::permutation_p;

/// The layers that were offered so far, and the best of them in every fold.
#[derive(Debug)]
pub struct NestedChoice {
    inner_scores: Mat<f64>,
    chosen: Mat<f64>,
    moments: FoldMoments,
    predictions: Option<Mat<f32>>,
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
            moments: FoldMoments::empty(n, n_targets),
        }
    }

    /// Offer layer number `layer`: inner scores (folds × targets), moments, and predictions in the order of
    /// [`held_out_order`](crate::pipelines::held_out_order), all of the same folds and targets.
    pub fn offer(
        &mut self,
        layer: usize,
        inner_scores: MatRef<f64>,
        moments: &FoldMoments,
        predictions: Option<MatRef<f32>>,
    ) {
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

    /// Score the choice against `y` (samples × targets), with draws where predictions were kept.
    pub fn finish(
        self,
        y: MatRef<f64>,
        design: &SampleDesign,
        params: &EvaluateParams,
        monitor: &Monitor,
    ) -> Result<BestCell> {
        let NestedChoice { inner_scores, chosen, moments, predictions } = self;
        let none = |note: String| Chance {
            p_value: vec![f64::NAN; y.ncols()],
            maxima: Vec::new(),
            steps: Vec::new(),
            note: Some(note),
        };
        let Some(predictions) = predictions else {
            let note = "too many targets for their predictions to be kept".to_owned();
            return Ok(BestCell { chosen, inner_scores, moments, chance: none(note), draws: None });
        };
        let (order, runs) = held_out_order(design)?;
        let multiplicities = block_draws(design, params)?;
        let bootstrap = bootstrap(&predictions, y, &order, &runs, design, &multiplicities);
        let observed = moments.r();
        let (chance, null) = match NullDraws::new(&runs, &null_of(&order, design, params)) {
            Err(reason) => (none(reason.to_string()), Vec::new()),
            Ok(draws) => {
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

#[cfg(test)]
mod tests {
    use super::*;

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
        choice.offer(0, first.as_ref(), &with(0.9), None);
        choice.offer(1, second.as_ref(), &with(-0.5), None);
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
