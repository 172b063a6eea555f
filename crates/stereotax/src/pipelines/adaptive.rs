//! The adaptive representation: a weighting of layers chosen to predict, by nested cross-validation.
//!
//! Per outer fold and subject: candidates are the stable mode, the mean, the POD mode and at most five
//! single layers ([`shortlist`], by inner scores); each is fitted as it would be alone; per ROI they are
//! mixed with weights on the simplex that minimise the error of their inner predictions
//! ([`crate::encoding::stack_weights`]). Predictions are linear in features and features in layers, so
//! the mixture is a weighting of layers per ROI, and it can be any one candidate, so that it needs not do
//! worse than the best; where it gains nothing on inner folds that did not choose it, it is one. Held-out responses take no part in any choice.
//!
//! Source: DESIGN 1.2; specs: nfas-dmd 13 (best single layer, nested). Cost: that of one cell per
//! candidate; memory: the features of one fold's candidates, and 16 · samples · ROIs bytes per candidate
//! and subject.

use std::collections::BTreeMap;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::evaluate::{Cell, EvaluateParams, predict_as, score_cell};
use super::model::{ModelData, key_of, make_features};
use super::represent::Features;
use super::representation::Representation;
use crate::data::{Error, Monitor, Result};
use crate::encoding::{FoldPrediction, InnerPredictions, Solver, stack_weights, stacked};

/// Most single layers among the candidates.
pub const MAX_LAYERS: usize = 5;
/// Most candidates of one fold: the layers, the stable mode, the mean and the POD mode.
pub const MAX_CANDIDATES: usize = MAX_LAYERS + 3;
/// Candidates with a smaller share, on the mean over ROIs, are not named.
const NAMED: f64 = 0.05;

/// One subject's adaptive representation that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct MixtureRequest {
    /// Index of the subject.
    pub subject: usize,
    /// What is mixed in each fold.
    pub per_fold: Vec<Vec<Representation>>,
}

/// How one fold's candidates were mixed.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    /// What was mixed.
    pub candidates: Vec<Representation>,
    /// Candidates × ROIs; columns sum to 1.
    pub weights: Mat<f64>,
}

impl Mixture {
    /// Weight of each candidate, averaged over ROIs.
    pub fn mean_weights(&self) -> Vec<f64> {
        let n = self.weights.ncols() as f64;
        (0..self.candidates.len()).map(|c| self.weights.row(c).iter().sum::<f64>() / n).collect()
    }

    /// The candidates by weight, such as `0.62 layer 5 + 0.38 stable_mode`; shares below 5 % are left out.
    pub fn text(&self, name: impl Fn(&Representation) -> String) -> String {
        let mut shares: Vec<(f64, &Representation)> =
            self.mean_weights().into_iter().zip(&self.candidates).collect();
        shares.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        let named = shares.iter().enumerate().filter(|(at, (share, _))| *at == 0 || *share >= NAMED);
        named.map(|(_, (share, r))| format!("{share:.2} {}", name(r))).collect::<Vec<_>>().join(" + ")
    }
}

/// The candidates worth mixing in one fold, by their inner scores per ROI (NaN where undefined).
///
/// Everything that is not a single layer stays. Of layers, the one with the best mean comes first; then
/// those that add most to the best score of each ROI, Σ_j max(0, s_j − best_j); where none adds anything,
/// the next best mean, neighbours of a layer that is in standing back. At most [`MAX_LAYERS`] layers.
pub fn shortlist(candidates: &[(Representation, Vec<f64>)]) -> Vec<Representation> {
    let is_layer = |c: usize| matches!(candidates[c].0, Representation::Layer(_));
    let mut chosen: Vec<usize> = (0..candidates.len()).filter(|&c| !is_layer(c)).collect();
    let mut left: Vec<usize> = (0..candidates.len()).filter(|&c| is_layer(c)).collect();
    let defined = |c: usize| candidates[c].1.iter().copied().filter(|s| s.is_finite());
    let mean = |c: usize| {
        let n = defined(c).count();
        if n == 0 { f64::NEG_INFINITY } else { defined(c).sum::<f64>() / n as f64 }
    };
    let n_rois = candidates.first().map_or(0, |(_, scores)| scores.len());
    let mut n_layers = 0;
    while !left.is_empty() && n_layers < MAX_LAYERS {
        let gain = |c: usize| -> f64 {
            (0..n_rois)
                .map(|j| {
                    let best = chosen.iter().map(|&k| candidates[k].1[j]).fold(f64::NAN, f64::max);
                    let more = candidates[c].1[j] - best;
                    if more > 0.0 { more } else { 0.0 }
                })
                .sum()
        };
        let beside = |c: usize| {
            let place =
                |c: usize| if let Representation::Layer(l) = candidates[c].0 { l } else { usize::MAX };
            chosen.iter().any(|&k| is_layer(k) && place(k).abs_diff(place(c)) <= 1)
        };
        let key = |c: usize| {
            let gain = if n_layers == 0 { 0.0 } else { gain(c) };
            (gain, usize::from(!beside(c)), mean(c))
        };
        let next = left
            .iter()
            .copied()
            .reduce(|best, c| {
                let (a, b) = (key(c), key(best));
                let more = a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.total_cmp(&b.2));
                if more.is_gt() { c } else { best }
            })
            .unwrap_or(left[0]);
        chosen.push(next);
        left.retain(|&c| c != next);
        n_layers += 1;
    }
    chosen.sort_unstable();
    chosen.into_iter().map(|c| candidates[c].0.clone()).collect()
}

/// Mix and score; `sink` takes each cell with its mixtures (one per fold), in the order of requests.
///
/// `memory` bounds how many subjects are worked on at a time, never fewer than one; it changes no
/// number. Errors: those of the parts, and what `sink` returns.
pub fn evaluate_mixtures<E: From<Error> + Send>(
    data: &ModelData<'_>,
    requests: &[MixtureRequest],
    params: &EvaluateParams,
    memory: usize,
    monitor: &Monitor,
    mut sink: impl FnMut(usize, Cell, Vec<Mixture>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let width = data.source.layers().iter().map(|l| l.width).max().unwrap_or(0);
    let n_targets = data.responses.iter().map(|r| r.ncols()).max().unwrap_or(0);
    let n_samples = data.design.n_samples().max(data.source.n_samples());
    // Held-out and inner predictions; banded ones are kept in parts.
    let n_parts = match params.encoding.solver {
        Solver::Banded { .. } => 3 + data.nuisance.len(),
        _ => 2,
    };
    let per_request = MAX_CANDIDATES * n_parts * Features::bytes(n_samples, n_targets);
    // Subjects mostly share their candidates; a second set of features is what one more may need.
    let shared = MAX_CANDIDATES * Features::bytes(n_samples, width);
    let at_once = (memory.saturating_sub(shared) / per_request.max(1)).max(1);
    for (batch, requests) in requests.chunks(at_once).enumerate() {
        let mut folds: Vec<Vec<(FoldPrediction, Mixture)>> = vec![Vec::new(); requests.len()];
        for fold_idx in 0..data.design.folds.len() {
            let mixed = mix_fold(data, requests, fold_idx, params, monitor)?;
            folds.iter_mut().zip(mixed).for_each(|(folds, mixed)| folds.push(mixed));
        }
        let cells = requests
            .par_iter()
            .zip(&folds)
            .map(|(request, folds)| {
                let predictions: Vec<&FoldPrediction> = folds.iter().map(|(fold, _)| fold).collect();
                let responses = data.responses[request.subject];
                score_cell(&predictions, responses, data.design, true, params, monitor)
            })
            .collect::<Result<Vec<Cell>>>()?;
        for (at, (cell, folds)) in cells.into_iter().zip(folds).enumerate() {
            sink(batch * at_once + at, cell, folds.into_iter().map(|(_, mixture)| mixture).collect())?;
        }
    }
    Ok(())
}

/// One fold of every request.
fn mix_fold(
    data: &ModelData<'_>,
    requests: &[MixtureRequest],
    fold_idx: usize,
    params: &EvaluateParams,
    monitor: &Monitor,
) -> Result<Vec<(FoldPrediction, Mixture)>> {
    let mut users: BTreeMap<(Representation, usize), Vec<usize>> = BTreeMap::new();
    for (at, request) in requests.iter().enumerate() {
        for candidate in &request.per_fold[fold_idx] {
            users.entry(key_of(candidate, fold_idx)).or_default().push(at);
        }
    }
    let keys: Vec<(Representation, usize)> = users.keys().cloned().collect();
    let features = make_features(data, &keys, monitor)?;
    let fold = &data.design.folds[fold_idx];
    let predicted: BTreeMap<(usize, Representation), FoldPrediction> = users
        .into_par_iter()
        .map(|(key, users)| {
            monitor.check()?;
            let responses: Vec<MatRef<f64>> =
                users.iter().map(|&at| data.responses[requests[at].subject]).collect();
            let found =
                predict_as(&features[&key], data.nuisance, fold, data.design, &responses, params, true)?;
            Ok(users.into_iter().map(|at| (at, key.0.clone())).zip(found).collect::<Vec<_>>())
        })
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    requests
        .par_iter()
        .enumerate()
        .map(|(at, request)| {
            let candidates = request.per_fold[fold_idx].clone();
            let found: Vec<&FoldPrediction> =
                candidates.iter().filter_map(|c| predicted.get(&(at, c.clone()))).collect();
            let inner: Vec<&InnerPredictions> = found.iter().filter_map(|f| f.inner.as_ref()).collect();
            let responses = data.responses[request.subject];
            let weights = stack_weights(&inner, responses)?;
            let fold = stacked(&found, weights.as_ref(), responses)?;
            Ok((fold, Mixture { candidates, weights }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(l: usize, scores: [f64; 3]) -> (Representation, Vec<f64>) {
        (Representation::Layer(l), scores.to_vec())
    }

    #[test]
    fn the_shortlist_keeps_the_best_layer_and_the_specialists() {
        let mut candidates = vec![
            (Representation::StableMode, vec![0.2, 0.2, 0.2]),
            (Representation::LayerMean, vec![0.1, 0.1, f64::NAN]),
        ];
        candidates.extend((0..8).map(|l| layer(l, [0.15, 0.1, 0.1])));
        // Layer 2 is best on the mean, layer 7 in the last ROI alone, layer 3 is a weaker copy of layer 2.
        candidates[2 + 2].1 = vec![0.5, 0.4, 0.1];
        candidates[2 + 3].1 = vec![0.49, 0.39, 0.1];
        candidates[2 + 7].1 = vec![0.0, 0.0, 0.3];
        let list = shortlist(&candidates);
        assert_eq!(list[..2], [Representation::StableMode, Representation::LayerMean]);
        assert!(list.contains(&Representation::Layer(2)) && list.contains(&Representation::Layer(7)));
        assert_eq!(list.len(), 2 + MAX_LAYERS);
        // Few layers: all of them, in their order.
        let few: Vec<_> = (0..3).map(|l| layer(l, [f64::NAN; 3])).collect();
        assert_eq!(shortlist(&few), [0, 1, 2].map(Representation::Layer));
    }

    #[test]
    fn a_mixture_is_told_by_its_shares() {
        let mixture = Mixture {
            candidates: vec![Representation::StableMode, Representation::Layer(4), Representation::Pod],
            weights: Mat::from_fn(3, 2, |c, j| [[0.3, 0.5], [0.68, 0.46], [0.02, 0.04]][c][j]),
        };
        let name = |r: &Representation| format!("{r:?}");
        assert_eq!(mixture.text(name), "0.57 Layer(4) + 0.40 StableMode");
    }
}
