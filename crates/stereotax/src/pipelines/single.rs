//! Score one model on one benchmark in memory: the depth fit and every representation beside its
//! controls, without files or nodes.
//!
//! Per outer fold: depth weights from training rows, features, ridge with inner cross-validation,
//! held-out predictions; then r per ROI over the folds (specs: nfas-dmd appendix A, steps a to f). The
//! best layer and the adaptive mixture are chosen in each fold by inner predictions, never by held-out
//! responses. Cost: that of the depth fit plus one encoding model per representation, fold and subject, and
//! as many again for the adaptive one as it has candidates.

use std::sync::Arc;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::adaptive::{Mixture, MixtureRequest, evaluate_mixtures, shortlist};
use super::ceilings::Ceilings;
use super::depth::{Alternative, DepthParams, DepthResult, StateKind};
use super::depth::{depth_moments, fit_depth, state_kind};
use super::design::SampleDesign;
use super::evaluate::{Cell, EvaluateParams, held_out_order, predict, score_cell};
use super::group::{GROUPED, ModelScores};
use super::model::{CellRequest, ModelData, evaluate_model};
use super::represent::Features;
use super::representation::Representation;
use super::subjects::{MeanScores, SubjectScores, over_rois, over_subjects};
use crate::data::{Error, Monitor, Result, TileSource};
use crate::dynamics::fit::MIN_LAYERS;
use crate::encoding::{Candidate, FoldPrediction, Solver, choose};
use crate::stats::score::ScoreKind;
use crate::stats::summary::check_finite;

/// One model and the brains it is compared with.
#[derive(Clone, Copy)]
pub struct SingleData<'a> {
    /// The layers.
    pub source: &'a dyn TileSource,
    /// What the samples are.
    pub design: &'a SampleDesign,
    /// Samples × ROIs, one matrix per subject, drift removed.
    pub responses: &'a [MatRef<'a, f64>],
    /// Low-level features of the samples by name (samples × features), scored as controls.
    pub nuisance: &'a [(String, MatRef<'a, f64>)],
}

impl std::fmt::Debug for SingleData<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SingleData").field("n_subjects", &self.responses.len()).finish_non_exhaustive()
    }
}

/// What is scored beside the stable mode; everything by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// The uniform mean of the layers.
    pub layer_mean: bool,
    /// The first proper orthogonal mode over depth.
    pub pod: bool,
    /// The first and the last layer.
    pub first_last: bool,
    /// The best single layer, by nested selection; scores every layer.
    pub best_layer: bool,
    /// A mixture of all of these, by nested cross-validation; scores every layer and the mean.
    pub adaptive: bool,
}

impl Default for Beside {
    fn default() -> Self {
        Beside { layer_mean: true, pod: true, first_last: true, best_layer: true, adaptive: true }
    }
}

impl Beside {
    /// What stands for an untrained twin: its stable mode, or its mean where it has none.
    pub const TWIN: Beside =
        Beside { layer_mean: true, pod: false, first_last: false, best_layer: false, adaptive: false };
}

/// A representation with its scores.
#[derive(Debug, Clone)]
pub struct ScoredRepresentation {
    /// Which one.
    pub representation: Representation,
    /// For the best layer: what was chosen, per subject and fold. Else empty.
    pub chosen: Vec<Vec<Representation>>,
    /// For the adaptive one: what was mixed, per subject and fold. Else empty.
    pub mixtures: Vec<Vec<Mixture>>,
    /// One cell per subject.
    pub cells: Vec<Cell>,
}

/// What is known of one model on one benchmark.
#[derive(Debug, Clone)]
pub struct SingleModel {
    /// The depth fit; `None` for a model with fewer than 4 layers.
    pub depth: Option<DepthResult>,
    /// Representations in a fixed order: stable mode, adaptive, mean, best layer, POD, layers, shuffles,
    /// cells of the multiverse that have coefficients.
    pub representations: Vec<ScoredRepresentation>,
    /// One cell per set of nuisance features and subject.
    pub nuisance: Vec<(String, Vec<Cell>)>,
    /// How many layers.
    pub n_layers: usize,
    /// The samples in the order of the predictions.
    pub held_out: Vec<usize>,
}

/// Fit and score.
///
/// `memory` is what features and predictions may take, in bytes (it changes no number). Errors: a design,
/// responses or nuisance features that do not fit the layers, values that are not finite, and those of the
/// parts.
pub fn score_model(
    data: &SingleData<'_>,
    beside: Beside,
    depth_params: &DepthParams,
    params: &EvaluateParams,
    memory: usize,
    monitor: &Monitor,
) -> Result<SingleModel> {
    check(data)?;
    let SingleData { source, design, responses, .. } = *data;
    let n_layers = source.layers().len();
    let depth = if n_layers < MIN_LAYERS {
        None
    } else if state_kind(source, depth_params) == StateKind::Shared {
        let pieces = design.pieces();
        let moments = depth_moments(source, &pieces, depth_params, monitor)?;
        Some(fit_depth(source, Some((&moments, &pieces)), design, depth_params, monitor)?)
    } else {
        Some(fit_depth(source, None, design, depth_params, monitor)?)
    };
    let bands: Vec<Features> = data.nuisance.iter().map(|(_, x)| Features::from_matrix(*x)).collect();
    let model = ModelData {
        source,
        design,
        responses,
        nuisance: &bands,
        depth: depth.as_ref(),
        depth_params,
        native: None,
    };

    let wanted = wanted(source, depth.as_ref(), beside);
    let same = |r: &Representation| vec![r.clone(); design.folds.len()];
    let plain: Vec<(Representation, Vec<Vec<Representation>>)> =
        wanted.iter().map(|r| (r.clone(), vec![same(r); responses.len()])).collect();
    let mut scored = evaluate(&model, plain, params, memory, monitor)?;

    let layers = those(&scored, |r| matches!(r, Representation::Layer(_)));
    let all = those(&scored, |r| !matches!(r, Representation::Shuffled(_) | Representation::Alternative(_)));
    let mut chosen = Vec::new();
    if beside.best_layer {
        let layers = (0..responses.len())
            .map(|subject| nested_choice(&layers, subject, design.folds.len()))
            .collect::<Result<Vec<_>>>()?;
        let best = vec![(Representation::BestLayer, layers)];
        chosen.extend(evaluate(&model, best, params, memory, monitor)?);
    }
    if beside.adaptive {
        chosen.push(mix(&model, &all, params, memory, monitor)?);
    }
    scored.extend(chosen);
    scored.sort_by_key(|s| place(&s.representation));
    let nuisance = data
        .nuisance
        .iter()
        .map(|(name, values)| Ok((name.clone(), score_features(*values, data, params, monitor)?)))
        .collect::<Result<_>>()?;
    let (held_out, _) = held_out_order(design)?;
    Ok(SingleModel { depth, representations: scored, nuisance, n_layers, held_out })
}

fn those(
    scored: &[ScoredRepresentation],
    keep: impl Fn(&Representation) -> bool,
) -> Vec<&ScoredRepresentation> {
    scored.iter().filter(|s| keep(&s.representation)).collect()
}

/// Score features that are the same in every fold, one cell per subject; one band, so by ridge where the model
/// is banded.
fn score_features(
    values: MatRef<'_, f64>,
    data: &SingleData<'_>,
    params: &EvaluateParams,
    monitor: &Monitor,
) -> Result<Vec<Cell>> {
    let features = Features::from_matrix(values);
    let mut alone = params.clone();
    if let Solver::Banded { .. } = alone.encoding.solver {
        alone.encoding.solver = Solver::Ridge;
    }
    let params = &alone;
    let folds: Vec<Vec<FoldPrediction>> = data
        .design
        .folds
        .iter()
        .map(|fold| {
            monitor.check()?;
            predict(&features, &[], fold, data.design, data.responses, params)
        })
        .collect::<Result<_>>()?;
    (0..data.responses.len())
        .into_par_iter()
        .map(|subject| {
            let folds: Vec<&FoldPrediction> = folds.iter().map(|fold| &fold[subject]).collect();
            score_cell(&folds, data.responses[subject], data.design, true, params, monitor)
        })
        .collect()
}

/// One cell of the multiverse with its score.
#[derive(Debug, Clone)]
pub struct MultiverseScore<'a> {
    /// The choices, the eigenvalue, and the reason where there is none.
    pub alternative: &'a Alternative,
    /// Mean score over subjects and unmasked ROIs; NaN where there is none.
    pub score: f64,
    /// The same minus that of the layer mean.
    pub versus_layer_mean: f64,
}

impl SingleModel {
    /// The cells of one representation, one per subject.
    pub fn cells(&self, representation: &Representation) -> Option<&[Cell]> {
        let found = self.representations.iter().find(|s| s.representation == *representation);
        found.map(|s| s.cells.as_slice())
    }

    /// All representations by the names that group statistics know, averaged over subjects.
    ///
    /// Inner layers and cells of the multiverse are left out; `first_layer` and `last_layer` are added.
    pub fn mean_scores(&self, kind: ScoreKind, ceilings: &Ceilings) -> Vec<ModelScores> {
        let mut named: Vec<(String, &[Cell])> = Vec::new();
        for scored in &self.representations {
            let cells = scored.cells.as_slice();
            match &scored.representation {
                Representation::Alternative(_) => {}
                Representation::Layer(layer) => {
                    if *layer == 0 {
                        named.push(("first_layer".into(), cells));
                    }
                    if layer + 1 == self.n_layers {
                        named.push(("last_layer".into(), cells));
                    }
                }
                other => named.push((other.name(), cells)),
            }
        }
        named
            .extend(self.nuisance.iter().map(|(name, cells)| (format!("nuisance:{name}"), cells.as_slice())));
        named
            .into_iter()
            .map(|(representation, cells)| {
                let MeanScores { r, score, draws, null, .. } = average(cells, kind, ceilings);
                let grouped = GROUPED.contains(&representation.as_str());
                let responses = if grouped { self.mean_predictions(cells).map(Arc::new) } else { None };
                ModelScores { representation, r, score, draws, null, responses }
            })
            .collect()
    }

    /// Held-out predictions averaged over subjects, in the order of samples.
    fn mean_predictions(&self, cells: &[Cell]) -> Option<Mat<f32>> {
        let of: Vec<&Mat<f64>> =
            cells.iter().map(|cell| Some(&cell.draws.as_ref()?.predictions)).collect::<Option<_>>()?;
        let mut places: Vec<usize> = (0..self.held_out.len()).collect();
        places.sort_by_key(|&at| self.held_out[at]);
        Some(Mat::from_fn(places.len(), of.first()?.ncols(), |t, j| {
            (of.iter().map(|p| p[(places[t], j)]).sum::<f64>() / of.len() as f64) as f32
        }))
    }

    /// The multiverse, in the order of its cells; empty unless it was asked for.
    pub fn multiverse(
        &self,
        kind: ScoreKind,
        ceilings: &Ceilings,
        masked: &[bool],
    ) -> Vec<MultiverseScore<'_>> {
        let score = |representation: &Representation| {
            let cells = self.cells(representation).filter(|cells| !cells.is_empty());
            cells.map_or(f64::NAN, |cells| over_rois(&average(cells, kind, ceilings).score, masked))
        };
        let layer_mean = score(&Representation::LayerMean);
        let alternatives = self.depth.iter().flat_map(|depth| &depth.alternatives).enumerate();
        alternatives
            .map(|(index, alternative)| {
                let score = score(&Representation::Alternative(index));
                MultiverseScore { alternative, score, versus_layer_mean: score - layer_mean }
            })
            .collect()
    }
}

fn average(cells: &[Cell], kind: ScoreKind, ceilings: &Ceilings) -> MeanScores {
    let subjects: Vec<SubjectScores<'_>> = cells
        .iter()
        .zip(&ceilings.subjects)
        .map(|(cell, ceilings)| SubjectScores {
            r: &cell.r,
            n_eff: &cell.n_eff,
            ceilings,
            bootstrap: cell.draws.as_ref().map(|d| d.bootstrap.as_ref()),
            null: cell.draws.as_ref().map(|d| d.null.as_slice()),
        })
        .collect();
    over_subjects(&subjects, kind)
}

fn check(data: &SingleData<'_>) -> Result<()> {
    let SingleData { source, design, responses, nuisance } = *data;
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
        .chain(responses.iter().enumerate().map(|(i, r)| (format!("responses of subject {i}"), r.nrows())))
        .chain(nuisance.iter().map(|(name, x)| (format!("nuisance {name}"), x.nrows())));
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
        check_finite(&format!("responses of subject {subject}"), *response)?;
    }
    for (name, values) in nuisance {
        if values.ncols() == 0 {
            return Err(Error::TooFew {
                what: format!("nuisance {name}"),
                needed: "1 feature".into(),
                found: "none".into(),
                hint: "leave it out".into(),
            });
        }
        check_finite(&format!("nuisance {name}"), *values)?;
    }
    Ok(())
}

/// What can be scored without a choice.
fn wanted(source: &dyn TileSource, depth: Option<&DepthResult>, beside: Beside) -> Vec<Representation> {
    let layers = source.layers();
    let equal = layers.iter().all(|l| l.width == layers[0].width);
    let mut wanted = Vec::new();
    if let Some(depth) = depth {
        wanted.push(Representation::StableMode);
        if beside.pod {
            wanted.push(Representation::Pod);
        }
        wanted.extend((0..depth.shuffles.len()).map(Representation::Shuffled));
        let alternatives = depth.alternatives.iter().enumerate();
        let fitted = alternatives.filter(|(_, alternative)| alternative.coefficients.is_some());
        wanted.extend(fitted.map(|(index, _)| Representation::Alternative(index)));
    }
    // Layers of unequal width have a mean only in a common state.
    if (beside.layer_mean || beside.adaptive) && (depth.is_some() || equal) {
        wanted.push(Representation::LayerMean);
    }
    let last = layers.len() - 1;
    let every = beside.best_layer || beside.adaptive;
    let kept = (0..layers.len()).filter(|&l| every || (beside.first_last && (l == 0 || l == last)));
    wanted.extend(kept.map(Representation::Layer));
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
            mixtures: Vec::new(),
            representation,
        })
        .collect())
}

/// The candidates of every fold, mixed by their inner predictions.
fn mix(
    data: &ModelData<'_>,
    candidates: &[&ScoredRepresentation],
    params: &EvaluateParams,
    memory: usize,
    monitor: &Monitor,
) -> Result<ScoredRepresentation> {
    let requests: Vec<MixtureRequest> = (0..data.responses.len())
        .map(|subject| {
            let of_fold = |fold: usize| {
                let scored = candidates.iter().map(|c| {
                    let scores = c.cells[subject].inner_scores.row(fold).iter().copied().collect();
                    (c.representation.clone(), scores)
                });
                shortlist(&scored.collect::<Vec<_>>())
            };
            MixtureRequest { subject, per_fold: (0..data.design.folds.len()).map(of_fold).collect() }
        })
        .collect();
    let (mut cells, mut mixtures) = (Vec::new(), Vec::new());
    evaluate_mixtures(data, &requests, params, memory, monitor, |_, cell, mixed| -> Result<()> {
        cells.push(cell);
        mixtures.push(mixed);
        Ok(())
    })?;
    Ok(ScoredRepresentation { representation: Representation::Adaptive, chosen: Vec::new(), mixtures, cells })
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
