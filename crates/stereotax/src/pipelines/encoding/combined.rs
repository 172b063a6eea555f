//! Score all layers of a network as one predictor: stacked, or as bands of one ridge.
//!
//! Everything of a combined model, its weights among them, comes from the training rows of each fold, so that its
//! held-out score is as honest as that of the layer chosen on training rows, with which it can be compared. Null
//! and bootstrap draws are those of the layers.
//!
//! Source: specs: alignment-methods B17; see [`crate::encoding::stacked_fold`].

use std::ops::Range;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::super::design::SampleDesign;
use super::super::evaluate::{EvaluateParams, NullModel, inner_of, tr_of};
use super::super::represent::Features;
use super::layer::{
    BLOCK, EncodingCell, FoldPart, Keep, LayerSums, Refits, Room, check_rows, cleaned, null_draws, score_by,
    scored,
};
use super::moments::{correlation_of, moments_of};
use crate::data::{Fold, Monitor, Result};
use crate::encoding::{BandedPlan, CombinedFold, FoldFeatures, StackedPlan, stacked_fold};
use crate::stats::null_draws::NullDraws;

/// How the layers of a network become one predictor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// The fits of all layers, with weights per target.
    Stacked,
    /// One ridge with a band per layer.
    Banded {
        /// Weights of bands that are tried, equal ones first.
        n_candidates: usize,
    },
}

/// All layers against all targets of one subject.
#[derive(Debug, Clone)]
pub struct CombinedCell {
    /// Scores and draws of the combined predictions; penalties are NaN when stacked.
    pub cell: EncodingCell,
    /// Weight of each layer, mean over folds (layers × targets); NaN where undefined.
    pub weights: Mat<f64>,
    /// Product measure of each layer against the training means (layers × targets): sums to `joint`; single ones
    /// may be negative.
    pub shares: Mat<f64>,
    /// R² of all held-out samples against the training means.
    pub joint: Vec<f64>,
}

/// Score all `layers` (features of the same samples) together against every subject.
///
/// Arguments, memory and errors are those of [`score_targets`](super::score_targets); the features of all layers are
/// held beside `memory`. Refits fit all layers and their weights again, many draws side by side.
pub fn score_combined(
    layers: &[Features],
    subjects: &[MatRef<'_, f64>],
    design: &SampleDesign,
    params: &EvaluateParams,
    combine: Combine,
    keep: Keep,
    memory: usize,
    monitor: &Monitor,
) -> Result<Vec<CombinedCell>> {
    let n_folds = design.folds.iter().filter(|fold| !fold.test.is_empty()).count();
    let widths: Vec<usize> = layers.iter().map(|layer| layer.view().ncols()).collect();
    let room = Room {
        memory,
        one_fold: combined_fold_bytes(&widths, design, params, combine, rayon::current_num_threads()),
        at_once: 1,
        per_target: combined_target_bytes(layers.len(), design, params, combine) * subjects.len().max(1),
    };
    let null = null_draws(design, params)?;
    let moves = null.as_ref().ok().filter(|_| params.null == NullModel::Refit);
    let fit = |fold: &Fold, wanted: &Range<usize>| {
        fit_fold(layers, subjects, fold, design, params, combine, wanted, moves, monitor)
    };
    let cells = score_by(subjects, design, params, &null, keep, &room, monitor, &fit)?;
    Ok(cells
        .into_iter()
        .map(|(cell, sums)| {
            let empty = || LayerSums {
                weights: Mat::zeros(layers.len(), 0),
                shares: Mat::zeros(layers.len(), 0),
                totals: Vec::new(),
            };
            let LayerSums { mut weights, mut shares, totals } = sums.unwrap_or_else(empty);
            weights *= faer::Scale(1.0 / n_folds.max(1) as f64);
            for (j, total) in totals.iter().enumerate() {
                shares.col_as_slice_mut(j).iter_mut().for_each(|share| *share /= total);
            }
            let joint = shares.col_iter().map(|column| column.iter().sum()).collect();
            CombinedCell { cell, weights, shares, joint }
        })
        .collect())
}

/// Bytes that the decompositions of one fold take on this many threads, whatever the targets.
pub fn combined_fold_bytes(
    widths: &[usize],
    design: &SampleDesign,
    params: &EvaluateParams,
    combine: Combine,
    threads: usize,
) -> usize {
    let widest = widths.iter().copied().max().unwrap_or(0);
    let one = super::fold_bytes_of(widest, design, params);
    let n = design.n_samples();
    let columns = match (params.null, combine) {
        (NullModel::Shift, _) => 0,
        (NullModel::Refit, Combine::Stacked) => 24 * n * BLOCK * widths.len(),
        (NullModel::Refit, Combine::Banded { .. }) => 8 * n * MOVED_AT_ONCE * (widths.len() + 8),
    };
    columns
        + match (combine, params.null) {
            // A layer per thread.
            (Combine::Stacked, NullModel::Shift) => threads.min(widths.len().max(1)) * one,
            // All of them, for they are fitted to every draw.
            (Combine::Stacked, NullModel::Refit) => widths.len().max(1) * one,
            // Kernels of all layers, as they are and centred; decompositions of a few draws.
            (Combine::Banded { .. }, _) => 8 * n * n * (3 * widths.len() + 16) + 8 * n * widest,
        }
}

/// Bytes of what waits per target and subject: what every layer predicts of training and test rows.
pub fn combined_target_bytes(
    n_layers: usize,
    design: &SampleDesign,
    params: &EvaluateParams,
    combine: Combine,
) -> usize {
    let n = design.n_samples();
    let of_layers = match combine {
        Combine::Stacked => 24 * n * n_layers,
        Combine::Banded { .. } => 48 * n + 8 * n * n_layers,
    };
    of_layers + super::target_bytes(design, params)
}

/// Columns of moved responses that are fitted together as bands: the more, the fewer decompositions.
const MOVED_AT_ONCE: usize = 4096;

/// One fold of either kind.
enum Plan {
    Stacked(StackedPlan),
    Banded(BandedPlan),
}

impl Plan {
    fn fit(&self, y: MatRef<f64>, monitor: &Monitor) -> Result<CombinedFold> {
        match self {
            Plan::Stacked(plan) => plan.fit(y),
            Plan::Banded(plan) => plan.fit(y, monitor),
        }
    }

    /// Held-out r and inner scores (draws × targets) of fits to moved responses, many draws side by side; one at a
    /// time where targets are `together`.
    fn refits(&self, y: MatRef<f64>, together: bool, moves: &NullDraws, monitor: &Monitor) -> Result<Refits> {
        let draws: Vec<&[u32]> = moves.moves().collect();
        let n_targets = y.ncols().max(1);
        let width = match self {
            _ if together => n_targets,
            Plan::Stacked(_) => BLOCK,
            Plan::Banded(_) => MOVED_AT_ONCE,
        };
        let mut found = Refits { r: Vec::new(), inner_scores: Vec::new() };
        for some in draws.chunks((width / n_targets).max(1)) {
            monitor.check()?;
            let mut moved = Mat::zeros(y.nrows(), some.len() * y.ncols());
            for (draw, from) in some.iter().enumerate() {
                for j in 0..y.ncols() {
                    let to = moved.col_as_slice_mut(draw * y.ncols() + j);
                    from.iter().zip(y.col(j).iter()).for_each(|(&row, value)| to[row as usize] = *value);
                }
            }
            let fit = self.fit(moved.as_ref(), monitor)?;
            let moments = moments_of(fit.predictions.as_ref(), moved.as_ref(), &fit.rows);
            found.r.extend(moments.into_iter().map(|m| correlation_of(m, fit.rows.len()) as f32));
            found.inner_scores.extend(fit.inner_scores.into_iter().map(|score| score as f32));
        }
        Ok(found)
    }
}

fn fit_fold(
    layers: &[Features],
    subjects: &[MatRef<'_, f64>],
    fold: &Fold,
    design: &SampleDesign,
    params: &EvaluateParams,
    combine: Combine,
    wanted: &Range<usize>,
    moves: Option<&NullDraws>,
    monitor: &Monitor,
) -> Result<Vec<FoldPart>> {
    let inner = inner_of(fold, design, params)?;
    let tr_s = tr_of(design);
    let features: Vec<FoldFeatures<'_>> =
        layers.iter().map(|layer| FoldFeatures { values: layer.view(), runs: &design.runs, tr_s }).collect();
    let here: Vec<MatRef<'_, f64>> =
        subjects.iter().map(|y| y.get(.., wanted.start.min(y.ncols())..wanted.end.min(y.ncols()))).collect();
    let clean: Vec<(Option<Mat<f64>>, Vec<bool>)> = here.par_iter().map(|y| cleaned(*y)).collect();
    let targets: Vec<MatRef<'_, f64>> = here
        .iter()
        .zip(&clean)
        .map(|(y, (clean, _))| clean.as_ref().map_or(*y, |clean| clean.as_ref()))
        .collect();
    let none = || Refits { r: Vec::new(), inner_scores: Vec::new() };
    let found: Vec<(CombinedFold, Refits)> = match (moves, combine) {
        (None, Combine::Stacked) => stacked_fold(&features, &targets, fold, &inner, &params.encoding)?
            .into_iter()
            .map(|found| (found, none()))
            .collect(),
        _ => {
            let plan = match combine {
                Combine::Stacked => {
                    Plan::Stacked(StackedPlan::new(&features, fold, &inner, &params.encoding)?)
                }
                Combine::Banded { n_candidates } => {
                    let draws = (n_candidates, params.seed);
                    Plan::Banded(BandedPlan::new(&features, fold, &inner, &params.encoding, draws)?)
                }
            };
            let together = params.encoding.fits_targets_together();
            targets
                .iter()
                .map(|y| {
                    let refits = match moves {
                        Some(moves) => plan.refits(*y, together, moves, monitor)?,
                        None => none(),
                    };
                    Ok((plan.fit(*y, monitor)?, refits))
                })
                .collect::<Result<_>>()?
        }
    };
    found
        .into_iter()
        .zip(targets.iter().zip(&clean))
        .map(|((found, refits), (y, (_, finite)))| {
            check_rows(&found.rows, fold)?;
            let (moments, predictions) = scored(&found.predictions, *y, &found.rows, finite);
            Ok(FoldPart {
                moments,
                predictions,
                alphas: found.alpha_multiples,
                inner_scores: found.inner_scores,
                n_at_edges: found.n_at_edges,
                n_components: layers.len(),
                layers: Some(LayerSums {
                    weights: found.weights,
                    shares: found.shares,
                    totals: found.totals,
                }),
                refits,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::design::Clock;
    use super::super::super::evaluate::InnerRule;
    use super::super::score_targets;
    use super::*;
    use crate::data::{Folds, Runs};
    use crate::encoding::{EncodingParams, Selection, banded_fold};
    use crate::stats::rng::Stream;

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
            encoding: EncodingParams {
                reduce: None,
                selection: Selection::Generalised,
                ..EncodingParams::default()
            },
            inner: InnerRule::Units(3),
            seed: 2,
            n_bootstraps: 10,
            n_shifts: 99,
            min_shift_s: 20.0,
            null: NullModel::Refit,
        }
    }

    /// Two layers; targets: layer 0, both, a constant, then noise.
    fn data() -> (Vec<Features>, Mat<f64>) {
        let mut stream = Stream::new(6, "combined tests", 0);
        let x = [5, 9].map(|width| Mat::from_fn(N, width, |_, _| stream.normal()));
        let y = Mat::from_fn(N, 60, |i, j| match j {
            0 => x[0][(i, 0)] + 0.5 * stream.normal(),
            1 => x[0][(i, 1)] + x[1][(i, 0)] + 0.5 * stream.normal(),
            2 => 1.0,
            _ => stream.normal(),
        });
        (x.iter().map(|x| Features::from_matrix(x.as_ref())).collect(), y)
    }

    fn score(layers: &[Features], y: &Mat<f64>, combine: Combine, params: &EvaluateParams) -> CombinedCell {
        let quiet = Monitor::silent();
        let keep = Keep::Draws;
        score_combined(layers, &[y.as_ref()], &design(), params, combine, keep, 1 << 28, &quiet)
            .unwrap()
            .remove(0)
    }

    #[test]
    fn refits_of_one_stacked_layer_are_those_of_the_layer() {
        let (layers, y) = data();
        let combined = score(&layers[..1], &y, Combine::Stacked, &params());
        let quiet = Monitor::silent();
        let layer =
            score_targets(&layers[0], &[y.as_ref()], &design(), &params(), Keep::Draws, 1 << 28, &quiet)
                .unwrap()
                .remove(0);
        let null = |cell: &EncodingCell| cell.draws.as_ref().unwrap().null.clone();
        for (a, b) in null(&combined.cell).iter().zip(null(&layer)) {
            assert!((a - b).abs() < 1e-6 || a.is_nan() && b.is_nan(), "{a} {b}");
        }
        assert!(combined.cell.chance.p_value[0] == 0.01 && combined.cell.chance.p_value[2].is_nan());
    }

    #[test]
    fn refits_fit_all_layers_and_weights_to_moved_responses() {
        let (layers, y) = data();
        let (design, params) = (design(), params());
        let moves = null_draws(&design, &params).unwrap().unwrap();
        for combine in [Combine::Stacked, Combine::Banded { n_candidates: 6 }] {
            let cell = score(&layers, &y, combine, &params).cell;
            let null = &cell.draws.as_ref().unwrap().null;
            // Draws one by one, each target by itself.
            for draw in [0, 57] {
                let from = moves.moves().nth(draw).unwrap();
                let mut moved = Mat::<f64>::zeros(N, 2);
                for (k, j) in [1, 40].into_iter().enumerate() {
                    (0..N).for_each(|t| moved[(from[t] as usize, k)] = y[(t, j)]);
                }
                let mut r = [0.0; 2];
                for fold in design.folds.iter() {
                    let features: Vec<FoldFeatures<'_>> = layers
                        .iter()
                        .map(|x| FoldFeatures { values: x.view(), runs: &design.runs, tr_s: 1.0 })
                        .collect();
                    let found = match combine {
                        Combine::Stacked => {
                            stacked_fold(&features, &[moved.as_ref()], fold, &[], &params.encoding)
                        }
                        Combine::Banded { n_candidates } => {
                            let draws = (n_candidates, params.seed);
                            let quiet = Monitor::silent();
                            banded_fold(
                                &features,
                                &[moved.as_ref()],
                                fold,
                                &[],
                                &params.encoding,
                                draws,
                                &quiet,
                            )
                        }
                    };
                    let found = found.unwrap().remove(0);
                    for (k, m) in
                        moments_of(found.predictions.as_ref(), moved.as_ref(), &found.rows).iter().enumerate()
                    {
                        r[k] += correlation_of(*m, found.rows.len()) * found.rows.len() as f64 / N as f64;
                    }
                }
                for (k, j) in [1, 40].into_iter().enumerate() {
                    let found = f64::from(null[draw * 60 + j]);
                    assert!((found - r[k]).abs() < 1e-6, "{combine:?} {draw} {j}: {found} {}", r[k]);
                }
            }
            let p = &cell.chance.p_value;
            assert!(p[0] == 0.01 && p[1] == 0.01 && p[2].is_nan());
            let share = p[3..].iter().filter(|p| **p <= 0.2).count() as f64 / 57.0;
            assert!((share - 0.2).abs() < 4.0 * (0.16_f64 / 57.0).sqrt(), "{combine:?}: {share}");
        }
    }
}
