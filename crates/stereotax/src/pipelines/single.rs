//! Score one model on one benchmark in memory: the depth fit and every representation beside its
//! controls, without files, nodes or group statistics.
//!
//! Per outer fold: depth weights from training rows, features, ridge with inner cross-validation,
//! held-out predictions; then r per ROI over the folds (specs: nfas-dmd appendix A, steps a to f). The
//! best layer and the adaptive representation are chosen in each fold by inner scores, never by held-out
//! ones. Cost: that of the depth fit plus one encoding model per representation, fold and subject.

use faer::MatRef;

use super::depth::StateKind;
use super::depth::{DepthParams, DepthResult, depth_moments, depth_of_mapped, depth_of_moments, state_kind};
use super::design::SampleDesign;
use super::evaluate::{Cell, EvaluateParams};
use super::model::{CellRequest, ModelData, evaluate_model};
use super::representation::Representation;
use crate::data::{Error, Monitor, Result, TileSource};
use crate::dynamics::fit::MIN_LAYERS;
use crate::encoding::{Candidate, choose};

/// A representation with its scores.
#[derive(Debug, Clone)]
pub struct ScoredRepresentation {
    /// Which one.
    pub representation: Representation,
    /// For the best layer and the adaptive one: what was chosen, per subject and fold. Else empty.
    pub chosen: Vec<Vec<Representation>>,
    /// One cell per subject.
    pub cells: Vec<Cell>,
}

/// What is known of one model on one benchmark.
#[derive(Debug, Clone)]
pub struct SingleModel {
    /// The depth fit; `None` for a model with fewer than 4 layers.
    pub depth: Option<DepthResult>,
    /// Representations in a fixed order: stable mode, adaptive, mean, best layer, POD, layers, shuffles.
    pub representations: Vec<ScoredRepresentation>,
}

/// Fit and score.
///
/// `responses` are samples × ROIs, one matrix per subject, drift removed; `memory` is what features and
/// predictions may take, in bytes (it changes no number). Errors: a design or responses that do not fit
/// the layers, values that are not finite, and those of the parts.
pub fn score_model(
    source: &dyn TileSource,
    design: &SampleDesign,
    responses: &[MatRef<'_, f64>],
    depth_params: &DepthParams,
    params: &EvaluateParams,
    memory: usize,
    monitor: &Monitor,
) -> Result<SingleModel> {
    check(source, design, responses)?;
    let n_layers = source.layers().len();
    let depth = if n_layers < MIN_LAYERS {
        None
    } else if state_kind(source, depth_params) == StateKind::Shared {
        let pieces = design.pieces();
        let moments = depth_moments(source, &pieces, depth_params, monitor)?;
        Some(depth_of_moments(&moments, &pieces, design, depth_params, monitor)?)
    } else {
        Some(depth_of_mapped(source, design, depth_params, monitor)?)
    };
    let data = ModelData { source, design, responses, depth: depth.as_ref(), depth_params };

    let wanted = wanted(source, depth.as_ref());
    let same = |r: &Representation| vec![r.clone(); design.folds.len()];
    let plain: Vec<(Representation, Vec<Vec<Representation>>)> =
        wanted.iter().map(|r| (r.clone(), vec![same(r); responses.len()])).collect();
    let mut scored = evaluate(&data, plain, params, memory, monitor)?;

    let layers: Vec<&ScoredRepresentation> =
        scored.iter().filter(|s| matches!(s.representation, Representation::Layer(_))).collect();
    let all: Vec<&ScoredRepresentation> =
        scored.iter().filter(|s| !matches!(s.representation, Representation::Shuffled(_))).collect();
    let mut selections = Vec::new();
    for (representation, candidates) in
        [(Representation::BestLayer, &layers), (Representation::Adaptive, &all)]
    {
        let chosen = (0..responses.len())
            .map(|subject| nested_choice(candidates, subject, design.folds.len()))
            .collect::<Result<Vec<_>>>()?;
        selections.push((representation, chosen));
    }
    scored.extend(evaluate(&data, selections, params, memory, monitor)?);
    scored.sort_by_key(|s| place(&s.representation));
    Ok(SingleModel { depth, representations: scored })
}

fn check(source: &dyn TileSource, design: &SampleDesign, responses: &[MatRef<'_, f64>]) -> Result<()> {
    design.check()?;
    let n = design.n_samples();
    if source.layers().is_empty() || responses.is_empty() {
        return Err(Error::TooFew {
            what: "layers and responses".into(),
            needed: "1 layer and 1 subject".into(),
            found: format!("{} layers and {} subjects", source.layers().len(), responses.len()),
            hint: "pass at least one of each".into(),
        });
    }
    if let Some(empty) = source.layers().iter().find(|layer| layer.width == 0) {
        return Err(Error::TooFew {
            what: empty.name.clone(),
            needed: "1 unit".into(),
            found: "none".into(),
            hint: "leave the layer out".into(),
        });
    }
    let sizes = std::iter::once(("layers".to_owned(), source.n_samples()))
        .chain(responses.iter().enumerate().map(|(i, r)| (format!("responses of subject {i}"), r.nrows())));
    for (what, found) in sizes {
        if found != n {
            return Err(Error::Shape {
                what,
                expected: format!("{n} rows (one per sample of the design)"),
                found: format!("{found} rows"),
                hint: "rows of layers and responses are the same stimuli in the same order".into(),
            });
        }
    }
    for (subject, response) in responses.iter().enumerate() {
        crate::stats::summary::check_finite(&format!("responses of subject {subject}"), *response)?;
    }
    Ok(())
}

/// What can be scored without a choice.
fn wanted(source: &dyn TileSource, depth: Option<&DepthResult>) -> Vec<Representation> {
    let layers = source.layers();
    let equal = layers.iter().all(|l| l.width == layers[0].width);
    let mut wanted = Vec::new();
    if let Some(depth) = depth {
        wanted.extend([Representation::StableMode, Representation::Pod]);
        wanted.extend((0..depth.shuffles.len()).map(Representation::Shuffled));
    }
    // Layers of unequal width have a mean only in a common state.
    if depth.is_some() || equal {
        wanted.push(Representation::LayerMean);
    }
    wanted.extend((0..layers.len()).map(Representation::Layer));
    wanted
}

fn place(representation: &Representation) -> (usize, usize) {
    match representation {
        Representation::StableMode => (0, 0),
        Representation::Adaptive => (1, 0),
        Representation::LayerMean => (2, 0),
        Representation::BestLayer => (3, 0),
        Representation::Pod => (4, 0),
        Representation::Layer(layer) => (5, *layer),
        Representation::Shuffled(index) => (6, *index),
        Representation::Alternative(index) => (7, *index),
    }
}

/// Score representations, each for every subject and with what it stands for in every fold.
fn evaluate(
    data: &ModelData<'_>,
    wanted: Vec<(Representation, Vec<Vec<Representation>>)>,
    params: &EvaluateParams,
    memory: usize,
    monitor: &Monitor,
) -> Result<Vec<ScoredRepresentation>> {
    let n_layers = data.source.layers().len();
    let requests: Vec<CellRequest> = wanted
        .iter()
        .flat_map(|(representation, per_subject)| {
            per_subject.iter().enumerate().map(|(subject, per_fold)| CellRequest {
                subject,
                per_fold: per_fold.clone(),
                keep_draws: representation.keeps_draws(n_layers),
            })
        })
        .collect();
    let mut cells = Vec::with_capacity(requests.len());
    evaluate_model(data, &requests, params, memory, monitor, |_, cell| -> Result<()> {
        cells.push(cell);
        Ok(())
    })?;
    let mut cells = cells.into_iter();
    Ok(wanted
        .into_iter()
        .map(|(representation, per_subject)| ScoredRepresentation {
            cells: cells.by_ref().take(per_subject.len()).collect(),
            chosen: if representation.is_selected() { per_subject } else { Vec::new() },
            representation,
        })
        .collect())
}

/// The candidate with the best inner score in each fold, from training rows only.
fn nested_choice(
    candidates: &[&ScoredRepresentation],
    subject: usize,
    n_folds: usize,
) -> Result<Vec<Representation>> {
    let names: Vec<String> = candidates.iter().map(|c| c.representation.name()).collect();
    (0..n_folds)
        .map(|fold| {
            let inner: Vec<Vec<f64>> = candidates
                .iter()
                .map(|c| c.cells[subject].inner_scores.row(fold).iter().copied().collect())
                .collect();
            let scored: Vec<Candidate> = names
                .iter()
                .zip(&inner)
                .map(|(name, inner_scores)| Candidate { name, inner_scores })
                .collect();
            // Where no candidate has a defined inner score, the first one is as good as any.
            Ok(candidates[choose(&scored)?.winner.unwrap_or(0)].representation.clone())
        })
        .collect()
}
