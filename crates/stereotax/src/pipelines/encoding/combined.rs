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
    EncodingCell, FoldPart, Keep, LayerSums, Refits, Room, check_rows, cleaned, null_draws, score_by, scored,
};
use crate::data::{Error, Fold, Monitor, Result};
use crate::encoding::{FoldFeatures, banded_fold, stacked_fold};

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
/// Arguments, memory and errors are those of [`score_targets`](super::score_targets), and refits are refused; the
/// features of all layers are held beside `memory`.
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
    if params.null == NullModel::Refit {
        return Err(Error::Invalid {
            what: "null".into(),
            expected: "draws that move predictions, where layers are combined".into(),
            found: "refits".into(),
            hint: "use `NullModel::Shift`".into(),
        });
    }
    let n_folds = design.folds.iter().filter(|fold| !fold.test.is_empty()).count();
    let widths: Vec<usize> = layers.iter().map(|layer| layer.view().ncols()).collect();
    let room = Room {
        memory,
        one_fold: combined_fold_bytes(&widths, design, params, combine, rayon::current_num_threads()),
        at_once: 1,
        per_target: combined_target_bytes(layers.len(), design, combine) * subjects.len().max(1),
    };
    let fit = |fold: &Fold, wanted: &Range<usize>| {
        fit_fold(layers, subjects, fold, design, params, combine, wanted, monitor)
    };
    let null = null_draws(design, params)?;
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
    match combine {
        // A layer per thread.
        Combine::Stacked => threads.min(widths.len().max(1)) * one,
        // Kernels of all layers, as they are and centred; decompositions of a few draws.
        Combine::Banded { .. } => 8 * n * n * (3 * widths.len() + 16) + 8 * n * widest,
    }
}

/// Bytes of what waits per target and subject: what every layer predicts of training and test rows.
pub fn combined_target_bytes(n_layers: usize, design: &SampleDesign, combine: Combine) -> usize {
    let n = design.n_samples();
    match combine {
        Combine::Stacked => 4 * n + 24 * n * n_layers,
        Combine::Banded { .. } => 4 * n + 48 * n + 8 * n * n_layers,
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
    let found = match combine {
        Combine::Stacked => stacked_fold(&features, &targets, fold, &inner, &params.encoding)?,
        Combine::Banded { n_candidates } => {
            let draws = (n_candidates, params.seed);
            banded_fold(&features, &targets, fold, &inner, &params.encoding, draws, monitor)?
        }
    };
    found
        .into_iter()
        .zip(targets.iter().zip(&clean))
        .map(|(found, (y, (_, finite)))| {
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
                refits: Refits { r: Vec::new(), inner_scores: Vec::new() },
            })
        })
        .collect()
}
