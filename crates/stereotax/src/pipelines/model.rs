//! Make the features of one model and score the cells that ask for them.
//!
//! Cells ask for a representation per fold: the same one in every fold, or, where inner
//! cross-validation chose, a different one. Features of a (representation, fold) are made once for all
//! subjects that need them. Work goes in batches that fit the memory given; a batch's size changes no
//! number.

use std::collections::BTreeMap;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::depth::{DepthParams, DepthResult, MappedState, StateKind, Trajectory, state_kind};
use super::design::SampleDesign;
use super::evaluate::{Cell, EvaluateParams, predict, score_cell};
use super::represent::{Features, single_layer, weighted_sums};
use super::representation::Representation;
use super::states::States;
use super::trajectories::fit_order;
use super::views::UnitSamples;
use crate::data::{Error, Monitor, Result, TileSource};
use crate::dynamics::Scaling;
use crate::encoding::{FoldPrediction, Solver};
use crate::signal::Resampling;

/// One cell that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct CellRequest {
    /// Index of the subject.
    pub subject: usize,
    /// What is scored in each fold.
    pub per_fold: Vec<Representation>,
    /// Whether predictions, bootstrap and null draws are kept.
    pub keep_draws: bool,
}

/// The data of one model on one benchmark.
#[derive(Clone, Copy)]
pub struct ModelData<'a> {
    /// The layers.
    pub source: &'a dyn TileSource,
    /// What the samples are.
    pub design: &'a SampleDesign,
    /// Responses per subject (samples × ROIs).
    pub responses: &'a [MatRef<'a, f64>],
    /// Nuisance features, fitted beside every representation where the solver is banded.
    pub nuisance: &'a [Features],
    /// The depth fit; `None` for a model too shallow for one.
    pub depth: Option<&'a DepthResult>,
    /// The choices behind it.
    pub depth_params: &'a DepthParams,
    /// Where the samples of `source` are events and not those of the design: depth is reduced on the
    /// network's own clock, and representations are brought to that of the responses.
    pub native: Option<Native<'a>>,
}

/// A network's own clock (specs: nfas-dmd 3.2).
#[derive(Debug, Clone, Copy)]
pub struct Native<'a> {
    /// What the events are: their ids, their runs, and the folds of the volumes in which they lie.
    pub design: &'a SampleDesign,
    /// From events to the samples of the responses.
    pub to_responses: &'a Resampling,
}

impl std::fmt::Debug for ModelData<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelData").field("n_subjects", &self.responses.len()).finish_non_exhaustive()
    }
}

/// Score every requested cell; `sink` takes each as soon as it is finished, in the order of requests.
///
/// `memory` is how many bytes features and predictions may take at a time; one (representation, all
/// folds) is always allowed. Errors: those of the parts, and what `sink` returns.
pub fn evaluate_model<E: From<Error> + Send>(
    data: &ModelData<'_>,
    requests: &[CellRequest],
    params: &EvaluateParams,
    memory: usize,
    monitor: &Monitor,
    mut sink: impl FnMut(usize, Cell) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let width = data.source.layers().iter().map(|l| l.width).max().unwrap_or(0);
    let n_samples = data.design.n_samples().max(data.source.n_samples());
    let n_targets = data.responses.iter().map(|r| r.ncols()).max().unwrap_or(0);
    // Banded predictions are kept in parts.
    let n_parts = match params.encoding.solver {
        Solver::Banded { .. } => 2 + data.nuisance.len(),
        _ => 1,
    };
    let per_cell = n_parts * Features::bytes(n_samples, n_targets);
    let mut from = 0;
    while from < requests.len() {
        // Neighbouring requests tend to share features; grow the batch while it fits.
        let mut to = from;
        let mut keys: Vec<(Representation, usize)> = Vec::new();
        loop {
            for (fold_idx, representation) in requests[to].per_fold.iter().enumerate() {
                let key = key_of(representation, fold_idx);
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            to += 1;
            let bytes = keys.len() * Features::bytes(n_samples, width) + (to - from + 1) * per_cell;
            if to == requests.len() || bytes > memory {
                break;
            }
        }
        evaluate_batch(data, &requests[from..to], &keys, params, monitor)?
            .into_iter()
            .enumerate()
            .try_for_each(|(at, cell)| sink(from + at, cell))?;
        from = to;
    }
    Ok(())
}

/// Single layers are the same in every fold.
pub(super) fn key_of(representation: &Representation, fold_idx: usize) -> (Representation, usize) {
    match representation {
        Representation::Layer(_) => (representation.clone(), 0),
        _ => (representation.clone(), fold_idx),
    }
}

fn evaluate_batch(
    data: &ModelData<'_>,
    requests: &[CellRequest],
    keys: &[(Representation, usize)],
    params: &EvaluateParams,
    monitor: &Monitor,
) -> Result<Vec<Cell>> {
    let features = make_features(data, keys, monitor)?;
    // (features, fold) → the requests that need them.
    let mut wanted: BTreeMap<(&(Representation, usize), usize), Vec<usize>> = BTreeMap::new();
    for (request_idx, request) in requests.iter().enumerate() {
        for (fold_idx, representation) in request.per_fold.iter().enumerate() {
            let key = key_of(representation, fold_idx);
            if let Some(at) = keys.iter().position(|k| *k == key) {
                wanted.entry((&keys[at], fold_idx)).or_default().push(request_idx);
            }
        }
    }
    let predicted: Vec<Vec<((usize, usize), FoldPrediction)>> = wanted
        .into_par_iter()
        .map(|((key, fold_idx), users)| {
            monitor.check()?;
            let responses: Vec<MatRef<f64>> =
                users.iter().map(|&at| data.responses[requests[at].subject]).collect();
            let fold = &data.design.folds[fold_idx];
            let found = predict(&features[key], data.nuisance, fold, data.design, &responses, params)?;
            Ok(users.into_iter().map(|at| (at, fold_idx)).zip(found).collect())
        })
        .collect::<Result<_>>()?;
    let predicted: BTreeMap<(usize, usize), FoldPrediction> = predicted.into_iter().flatten().collect();
    requests
        .par_iter()
        .enumerate()
        .map(|(at, request)| {
            monitor.check()?;
            let folds: Vec<&FoldPrediction> =
                predicted.range((at, 0)..=(at, usize::MAX)).map(|(_, fold)| fold).collect();
            let responses = data.responses[request.subject];
            score_cell(&folds, responses, data.design, request.keep_draws, params, monitor)
        })
        .collect()
}

/// Features on the clock of the responses.
pub(super) fn make_features(
    data: &ModelData<'_>,
    keys: &[(Representation, usize)],
    monitor: &Monitor,
) -> Result<BTreeMap<(Representation, usize), Features>> {
    let mut made = features_of_source(data, keys, monitor)?;
    if let Some(native) = data.native {
        for features in made.values_mut() {
            *features = Features::from_matrix(native.to_responses.apply(features.view())?.as_ref());
        }
    }
    Ok(made)
}

/// Features on the clock of the layers.
fn features_of_source(
    data: &ModelData<'_>,
    keys: &[(Representation, usize)],
    monitor: &Monitor,
) -> Result<BTreeMap<(Representation, usize), Features>> {
    let design = data.native.map_or(data.design, |native| native.design);
    let mut made = BTreeMap::new();
    let (layers, combined): (Vec<_>, Vec<_>) = keys
        .iter()
        .cloned()
        .partition(|(representation, _)| matches!(representation, Representation::Layer(_)));
    for key in layers {
        if let Representation::Layer(layer) = key.0 {
            made.insert(key, single_layer(data.source, layer)?);
        }
    }
    if combined.is_empty() {
        return Ok(made);
    }
    // What follows single trajectories is no fixed combination of layers.
    let (followed, combined): (Vec<_>, Vec<_>) = combined.into_iter().partition(|(representation, _)| {
        data.depth_params.trajectory != Trajectory::Stacked
            && matches!(representation, Representation::StableMode | Representation::Shuffled(_))
    });
    follow_trajectories(data, followed, &mut made, monitor)?;
    match data.depth.map_or_else(|| state_kind(data.source, data.depth_params), |depth| depth.state) {
        StateKind::Shared => {
            let n_layers = data.source.layers().len();
            let rows = combined
                .iter()
                .map(|(representation, fold_idx)| coefficients(data, representation, *fold_idx))
                .collect::<Result<Vec<_>>>()?;
            let matrix = Mat::from_fn(rows.len(), n_layers, |o, l| rows[o][l]);
            let unit = UnitSamples(data.source);
            let source: &dyn TileSource = match data.depth_params.scaling {
                Scaling::UnitSample => &unit,
                _ => data.source,
            };
            made.extend(combined.into_iter().zip(weighted_sums(source, matrix.as_ref(), monitor)?));
        }
        StateKind::Mapped | StateKind::Kernel => {
            for fold_idx in 0..design.folds.len() {
                let here: Vec<_> = combined.iter().filter(|(_, fold)| *fold == fold_idx).collect();
                if here.is_empty() {
                    continue;
                }
                let all = design.whole();
                let train =
                    if data.depth_params.fit_on_all { &all.train } else { &design.folds[fold_idx].train };
                let state = MappedState::fit(data.source, train, data.depth_params, monitor)?;
                let features = here
                    .par_iter()
                    .map(|(representation, fold_idx)| {
                        mapped_features(data, &state, representation, *fold_idx, monitor)
                    })
                    .collect::<Result<Vec<_>>>()?;
                made.extend(here.into_iter().cloned().zip(features));
            }
        }
    }
    Ok(made)
}

/// Representations of single trajectories: each fold's states are fitted once, then every order of the
/// layers that is asked for.
fn follow_trajectories(
    data: &ModelData<'_>,
    keys: Vec<(Representation, usize)>,
    made: &mut BTreeMap<(Representation, usize), Features>,
    monitor: &Monitor,
) -> Result<()> {
    let design = data.native.map_or(data.design, |native| native.design);
    let all = design.whole();
    let n_folds = design.folds.len();
    // With weights fitted on all rows, every fold has the same representation.
    let stages: Vec<(&[usize], Vec<(Representation, usize)>)> = if data.depth_params.fit_on_all {
        vec![(&all.train, keys)]
    } else {
        (0..n_folds)
            .map(|fold| {
                let here = keys.iter().filter(|(_, of)| *of == fold).cloned().collect();
                (design.folds[fold].train.as_slice(), here)
            })
            .collect()
    };
    for (train, keys) in stages {
        if keys.is_empty() {
            continue;
        }
        let states = States::fit(data.source, train, data.depth_params, monitor)?;
        let natural: Vec<usize> = (0..data.source.layers().len()).collect();
        let mut distinct: Vec<Representation> = keys.iter().map(|(r, _)| r.clone()).collect();
        distinct.sort();
        distinct.dedup();
        let features: BTreeMap<Representation, Features> = distinct
            .into_par_iter()
            .map(|representation| {
                let order = match (&representation, data.depth) {
                    (Representation::Shuffled(index), Some(depth)) => &depth.shuffles[*index].order,
                    _ => &natural,
                };
                let fitted = fit_order(&states, order, train, data.depth_params, monitor)?;
                Ok((representation, Features::from_matrix(fitted.stable.as_ref())))
            })
            .collect::<Result<_>>()?;
        for key in keys {
            if let Some(features) = features.get(&key.0) {
                made.insert(key, features.clone());
            }
        }
    }
    Ok(())
}

fn mapped_features(
    data: &ModelData<'_>,
    state: &MappedState,
    representation: &Representation,
    fold_idx: usize,
    monitor: &Monitor,
) -> Result<Features> {
    let natural: Vec<usize> = (0..data.source.layers().len()).collect();
    let order = match (representation, data.depth) {
        (Representation::Shuffled(index), Some(depth)) => &depth.shuffles[*index].order,
        _ => &natural,
    };
    let weights = coefficients(data, representation, fold_idx)?;
    state.features(data.source, order, &weights, data.depth_params, monitor)
}

/// Weight of each layer (or place along a shuffled order) in a combined representation.
fn coefficients(data: &ModelData<'_>, representation: &Representation, fold_idx: usize) -> Result<Vec<f64>> {
    let n_layers = data.source.layers().len();
    let Some(depth) = data.depth else {
        return match representation {
            // Without a depth fit the mean is still defined, over layers as they are.
            Representation::LayerMean => Ok(vec![1.0 / n_layers as f64; n_layers]),
            _ => Err(missing(representation)),
        };
    };
    let fold = &depth.folds[fold_idx];
    match representation {
        Representation::StableMode => Ok(fold.coefficients.clone()),
        Representation::LayerMean => Ok(fold.mean_coefficients.clone()),
        Representation::Pod => Ok(fold.pod_coefficients.clone()),
        Representation::Shuffled(index) => Ok(depth.shuffles[*index].coefficients[fold_idx].clone()),
        Representation::Alternative(index) => depth.alternatives[*index]
            .coefficients
            .as_ref()
            .map(|folds| folds[fold_idx].clone())
            .ok_or_else(|| missing(representation)),
        Representation::Layer(_) | Representation::BestLayer | Representation::Adaptive => {
            Err(missing(representation))
        }
    }
}

fn missing(representation: &Representation) -> Error {
    Error::Invalid {
        what: "representation".into(),
        expected: "one that this model's depth fit defines".into(),
        found: format!("`{}`", representation.name()),
        hint: "fit the depth first, and resolve selected representations into layers".into(),
    }
}
