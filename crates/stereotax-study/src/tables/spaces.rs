//! Bring the scores of all models into spaces: benchmarks with the same ROIs, and who has a point in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use faer::Mat;
use stereotax::data::TileSource;
use stereotax::pipelines::Representation;
use stereotax::pipelines::depth::DepthResult;
use stereotax::pipelines::group::{
    BenchmarkScores, GroupResult, ModelInfo, PointStatus, PredictedResponses, RepresentationScores,
    SpaceInput,
};

use super::Scored;
use super::findings::verdict_words;
use crate::Study;
use crate::config::{self, GateAction};
use crate::inputs::{BenchmarkInput, Inputs};
use crate::plan::{Grid, Pair};
use crate::summary::{Summary, mean};

/// Benchmarks with the same set of ROIs share a space; its name is that of its benchmarks.
pub(super) fn space_names(inputs: &Inputs) -> Vec<String> {
    let key = |b: &BenchmarkInput| {
        let mut names: Vec<&str> = b.rois.iter().map(|r| r.roi.as_str()).collect();
        names.sort_unstable();
        names.join("\u{1f}")
    };
    let keys: Vec<String> = inputs.benchmarks.iter().map(key).collect();
    keys.iter()
        .map(|mine| {
            let members: Vec<&str> = inputs
                .benchmarks
                .iter()
                .zip(&keys)
                .filter(|(_, k)| *k == mine)
                .map(|(b, _)| b.id.as_str())
                .collect();
            members.join(" + ")
        })
        .collect()
}

pub(super) fn spaces(study: &Study, inputs: &Inputs, grid: &Grid, scored: &Scored) -> Vec<SpaceInput> {
    let ceilings = &scored.ceilings;
    let names = space_names(inputs);
    let mut distinct = names.clone();
    distinct.sort();
    distinct.dedup();
    distinct
        .into_iter()
        .filter_map(|space| {
            let benchmarks: Vec<usize> = (0..names.len()).filter(|&b| names[b] == space).collect();
            let first = &inputs.benchmarks[benchmarks[0]];
            let rois: Vec<String> = first.rois.iter().map(|r| r.roi.clone()).collect();
            // Columns of every benchmark in the order of the first one.
            let columns: BTreeMap<usize, Vec<usize>> = benchmarks
                .iter()
                .map(|&b| {
                    let there = &inputs.benchmarks[b].rois;
                    let of = |roi: &String| there.iter().position(|r| r.roi == *roi).unwrap_or_default();
                    (b, rois.iter().map(of).collect())
                })
                .collect();
            let mut models: Vec<usize> =
                grid.pairs.iter().filter(|p| benchmarks.contains(&p.benchmark)).map(|p| p.model).collect();
            models.sort_unstable();
            models.dedup();
            if models.is_empty() {
                return None;
            }
            let of_model = |model: usize| -> Vec<usize> {
                (0..grid.pairs.len())
                    .filter(|&i| {
                        grid.pairs[i].model == model && benchmarks.contains(&grid.pairs[i].benchmark)
                    })
                    .collect()
            };
            let infos =
                models.iter().map(|&model| model_info(study, inputs, grid, scored, model, &of_model(model)));
            let masked = (0..rois.len())
                .map(|j| benchmarks.iter().any(|b| ceilings[*b].masked[columns[b][j]]))
                .collect();
            let mean_ceiling = |members: &[usize], j: usize| {
                let values: Vec<f64> = members
                    .iter()
                    .map(|b| ceilings[*b].mean[columns[b][j]])
                    .filter(|c| c.is_finite())
                    .collect();
                mean(&values)
            };
            let concatenate =
                study.file.analysis.benchmarks == config::Benchmarks::Concatenate && benchmarks.len() > 1;
            let mut scores = Vec::new();
            for (name, pick) in representation_names(grid, study.file.analysis.controls.first_last) {
                let per_model: Vec<Option<Combined>> = models
                    .iter()
                    .map(|&model| {
                        let parts: Vec<(&Summary, &[usize], &str)> = of_model(model)
                            .into_iter()
                            .filter_map(|i| {
                                let layers = n_layers(inputs, &grid.pairs[i]);
                                let b = grid.pairs[i].benchmark;
                                let summary = scored.pairs[i].1.get(&pick.of(layers))?;
                                Some((summary, columns[&b].as_slice(), inputs.benchmarks[b].stimuli.as_str()))
                            })
                            .collect();
                        Combined::of(&parts, rois.len())
                    })
                    .collect();
                push_scores(&mut scores, name, &per_model, rois.len());
                if let Some(scores) = scores.last_mut().filter(|_| concatenate) {
                    scores.by_benchmark = benchmarks
                        .iter()
                        .map(|&b| {
                            let of = |model: usize| {
                                let i =
                                    of_model(model).into_iter().find(|&i| grid.pairs[i].benchmark == b)?;
                                scored.pairs[i].1.get(&pick.of(n_layers(inputs, &grid.pairs[i])))
                            };
                            BenchmarkScores {
                                benchmark: inputs.benchmarks[b].id.clone(),
                                score: Mat::from_fn(models.len(), rois.len(), |m, j| {
                                    of(models[m]).map_or(f64::NAN, |s| s.score[columns[&b][j]])
                                }),
                                ceilings: columns[&b].iter().map(|&j| ceilings[b].mean[j]).collect(),
                            }
                        })
                        .collect();
                }
            }
            nuisance_scores(&mut scores, inputs, grid, scored, &models, &of_model, &columns, rois.len());
            let model_ceilings = Mat::from_fn(models.len(), rois.len(), |m, j| {
                let members: Vec<usize> =
                    of_model(models[m]).into_iter().map(|i| grid.pairs[i].benchmark).collect();
                mean_ceiling(&members, j)
            });
            Some(SpaceInput {
                networks: first.rois.iter().map(|r| r.network.clone()).collect(),
                ceilings: (0..rois.len()).map(|j| mean_ceiling(&benchmarks, j)).collect(),
                model_ceilings: Some(model_ceilings),
                models: infos.collect(),
                space,
                rois,
                masked,
                scores,
            })
        })
        .collect()
}

/// A model without a point makes no claim, but its mode has a score, and readers must see how low it is.
pub fn show_scores_without_point(spaces: &[SpaceInput], group: &mut GroupResult) {
    for row in &mut group.controls {
        if !row.claim.is_nan() || row.claim_representation != "stable_mode" {
            continue;
        }
        let Some(space) = spaces.iter().find(|s| s.space == row.space) else { continue };
        let stable = space.scores.iter().find(|s| s.representation == "stable_mode");
        let model = space.models.iter().position(|m| m.name == row.model);
        if let (Some(stable), Some(model)) = (stable, model) {
            let kept = (0..space.rois.len()).filter(|&j| !space.masked[j]).map(|j| stable.score[(model, j)]);
            row.claim = mean(&kept.filter(|x| !x.is_nan()).collect::<Vec<_>>());
        }
    }
}

fn model_info(
    study: &Study,
    inputs: &Inputs,
    grid: &Grid,
    scored: &Scored,
    model: usize,
    pairs: &[usize],
) -> ModelInfo {
    let about = &inputs.models[model].model;
    let benchmarks: Vec<&str> =
        pairs.iter().map(|&i| inputs.benchmarks[grid.pairs[i].benchmark].id.as_str()).collect();
    let exclude = study.file.analysis.gates.action == GateAction::Exclude;
    let verdict = pairs
        .iter()
        .map(|&i| scored.pairs[i].0.as_ref())
        .map(|depth| point_status(depth, exclude))
        .find(|status| *status != PointStatus::Placed)
        .unwrap_or(PointStatus::Placed);
    ModelInfo {
        name: about.name.clone(),
        modality: about.modality.clone(),
        family: about.family.clone(),
        benchmark: benchmarks.join("+"),
        trained: about.trained,
        twin_of: about.twin_of.clone().filter(|_| study.file.analysis.controls.untrained),
        verdict,
    }
}

/// Whether a model has a point in the space of the stable mode; `exclude`: a failed gate takes it away.
pub fn point_status(depth: Option<&DepthResult>, exclude: bool) -> PointStatus {
    match verdict_words(depth) {
        ("too_shallow", reason) => PointStatus::NoPoint(reason),
        ("no_stable_mode", reason) if exclude => PointStatus::NoPoint(format!("no stable mode: {reason}")),
        _ => PointStatus::Placed,
    }
}

pub(super) fn n_layers(inputs: &Inputs, pair: &Pair) -> usize {
    inputs.models[pair.model].activations[pair.activation].layers.layers().len()
}

/// A representation that is named for all models, whatever their depth.
enum Pick {
    Same(Representation),
    LastLayer,
}

impl Pick {
    fn of(&self, n_layers: usize) -> Representation {
        match self {
            Pick::Same(representation) => representation.clone(),
            Pick::LastLayer => Representation::Layer(n_layers - 1),
        }
    }
}

fn representation_names(grid: &Grid, first_last: bool) -> Vec<(String, Pick)> {
    let mut names: Vec<(String, Pick)> = [
        Representation::StableMode,
        Representation::Adaptive,
        Representation::LayerMean,
        Representation::BestLayer,
        Representation::Pod,
    ]
    .into_iter()
    .map(|r| (r.name(), Pick::Same(r)))
    .collect();
    if first_last {
        names.push(("first_layer".into(), Pick::Same(Representation::Layer(0))));
        names.push(("last_layer".into(), Pick::LastLayer));
    }
    for index in 0..grid.depth_params.n_shuffles {
        let shuffled = Representation::Shuffled(index);
        names.push((shuffled.name(), Pick::Same(shuffled)));
    }
    names
}

/// One model's scores in a space, averaged over its benchmarks.
struct Combined {
    r: Vec<f64>,
    score: Vec<f64>,
    draws: Option<Arc<Mat<f32>>>,
    null: Option<Arc<Vec<f32>>>,
    responses: Option<PredictedResponses>,
}

impl Combined {
    /// `parts`: summary, columns in the order of the space, and stimulus set of each benchmark.
    fn of(parts: &[(&Summary, &[usize], &str)], n_rois: usize) -> Option<Self> {
        let over = |of: &dyn Fn(&Summary) -> &[f64], j: usize| -> f64 {
            let values: Vec<f64> =
                parts.iter().map(|(s, columns, _)| of(s)[columns[j]]).filter(|x| !x.is_nan()).collect();
            mean(&values)
        };
        let (only, columns, _) = *parts.first()?;
        // Draws of different benchmarks resample different stimuli; only one benchmark's can be kept whole.
        let single = parts.len() == 1;
        let in_order = columns.iter().enumerate().all(|(j, &column)| j == column);
        let draws = only.draws.as_ref().filter(|_| single).map(|draws| match in_order {
            true => draws.clone(),
            false => Arc::new(Mat::from_fn(draws.nrows(), n_rois, |b, j| draws[(b, columns[j])])),
        });
        let null = only.null.as_ref().filter(|_| single).map(|null| match in_order {
            true => null.clone(),
            false => {
                let rows = null.chunks_exact(n_rois);
                Arc::new(rows.flat_map(|row| columns.iter().map(|&c| row[c])).collect())
            }
        });
        Some(Combined {
            r: (0..n_rois).map(|j| over(&|s| &s.r, j)).collect(),
            score: (0..n_rois).map(|j| over(&|s| &s.score, j)).collect(),
            draws,
            null,
            responses: stacked_responses(parts, n_rois),
        })
    }
}

/// The predictions for all benchmarks of a model, one below the other, each on the scale of its own.
fn stacked_responses(parts: &[(&Summary, &[usize], &str)], n_rois: usize) -> Option<PredictedResponses> {
    let blocks = parts
        .iter()
        .map(|(summary, columns, _)| Some((summary.predictions.as_ref()?, *columns)))
        .collect::<Option<Vec<_>>>()?;
    let mut values = Mat::<f32>::zeros(blocks.iter().map(|(block, _)| block.nrows()).sum(), n_rois);
    let mut from = 0;
    for (block, columns) in blocks {
        for j in 0..n_rois {
            for t in 0..block.nrows() {
                values[(from + t, j)] = block[(t, columns[j])];
            }
        }
        from += block.nrows();
    }
    let stimuli: Vec<&str> = parts.iter().map(|(_, _, stimuli)| *stimuli).collect();
    Some(PredictedResponses { stimuli: stimuli.join(" + "), values: Arc::new(values) })
}

fn push_scores(
    scores: &mut Vec<RepresentationScores>,
    representation: String,
    per_model: &[Option<Combined>],
    n_rois: usize,
) {
    if per_model.iter().all(Option::is_none) {
        return;
    }
    let value = |of: &dyn Fn(&Combined) -> &[f64], m: usize, j: usize| {
        per_model[m].as_ref().map_or(f64::NAN, |c| of(c)[j])
    };
    scores.push(RepresentationScores {
        representation,
        score: Mat::from_fn(per_model.len(), n_rois, |m, j| value(&|c| &c.score, m, j)),
        r: Mat::from_fn(per_model.len(), n_rois, |m, j| value(&|c| &c.r, m, j)),
        draws: per_model.iter().map(|c| c.as_ref().and_then(|c| c.draws.clone())).collect(),
        null: per_model.iter().map(|c| c.as_ref().and_then(|c| c.null.clone())).collect(),
        by_benchmark: Vec::new(),
        responses: per_model.iter().map(|c| c.as_ref().and_then(|c| c.responses.clone())).collect(),
    });
}

/// Every model is compared with the nuisance features of its own benchmarks.
fn nuisance_scores(
    scores: &mut Vec<RepresentationScores>,
    inputs: &Inputs,
    grid: &Grid,
    scored: &Scored,
    models: &[usize],
    of_model: &dyn Fn(usize) -> Vec<usize>,
    columns: &BTreeMap<usize, Vec<usize>>,
    n_rois: usize,
) {
    let mut made: BTreeMap<(usize, &str), &Summary> = BTreeMap::new();
    for &b in columns.keys() {
        for (nuisance, summary) in inputs.benchmarks[b].nuisance.iter().zip(&scored.nuisance[b]) {
            if let Some(summary) = summary {
                made.insert((b, nuisance.name.as_str()), summary);
            }
        }
    }
    let mut names: Vec<&str> = made.keys().map(|(_, name)| *name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let per_model: Vec<Option<Combined>> = models
            .iter()
            .map(|&model| {
                let parts: Vec<(&Summary, &[usize], &str)> = of_model(model)
                    .into_iter()
                    .filter_map(|i| {
                        let b = grid.pairs[i].benchmark;
                        let stimuli = inputs.benchmarks[b].stimuli.as_str();
                        Some((*made.get(&(b, name))?, columns[&b].as_slice(), stimuli))
                    })
                    .collect();
                Combined::of(&parts, n_rois)
            })
            .collect();
        push_scores(scores, format!("nuisance:{name}"), &per_model, n_rois);
    }
}
