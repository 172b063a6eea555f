//! Turn finished nodes into spaces, group statistics and the tables of `results/`.

use std::collections::BTreeMap;
use std::sync::Arc;

use faer::Mat;
use serde_json::{Value, json};
use stereotax::data::{Monitor, TileSource};
use stereotax::dynamics::{StableVerdict, Unstable, UnstableReason};
use stereotax::pipelines::Representation;
use stereotax::pipelines::ceilings::CeilingRule;
use stereotax::pipelines::depth::{DepthResult, FoldDepth};
use stereotax::pipelines::group::{
    BenchmarkScores, GroupResult, MaxTRow, ModelInfo, PointStatus, PredictedResponses, RepresentationScores,
    Severity, SpaceInput, Warning, compare_groups,
};
use stereotax::stats::score::ScoreKind;
use stereotax_io::Table;

use crate::config::{self, GateAction, NfasSettings};
use crate::inputs::{BenchmarkInput, Inputs};
use crate::plan::{Grid, Pair};
use crate::run::sorted;
use crate::summary::{Ceilings, SubjectScores, Summary, mean};
use crate::{Finding, Study, StudyError, settings};

/// Everything that was computed, read back and averaged over subjects.
pub(crate) struct Scored {
    /// Per benchmark.
    pub(crate) ceilings: Vec<Ceilings>,
    /// Per benchmark and nuisance set.
    pub(crate) nuisance: Vec<Vec<Option<Summary>>>,
    /// Per pair: the depth fit, and every representation that could be scored.
    pub(crate) pairs: Vec<(Option<DepthResult>, BTreeMap<Representation, Summary>)>,
}

/// What `results/` holds.
pub(crate) struct Made {
    pub(crate) tables: BTreeMap<String, Table>,
    pub(crate) manifest: Value,
    pub(crate) findings: Vec<Finding>,
}

pub(crate) fn make(
    study: &Study,
    inputs: &Inputs,
    grid: &Grid,
    scored: &Scored,
    monitor: &Monitor,
) -> Result<Made, StudyError> {
    let analysis = &study.file.analysis;
    let kind = settings::score_kind(analysis.score);
    let mut findings = inputs.findings.clone();
    let ceilings = &scored.ceilings;
    edge_note(inputs, grid, scored, &mut findings);
    let spaces = spaces(study, inputs, grid, scored);
    let params = settings::group(analysis, study.file.seed);
    let mut group =
        compare_groups(&spaces, &params, monitor).map_err(StudyError::in_context("group statistics"))?;
    show_scores_without_point(&spaces, &mut group);
    findings.extend(group.warnings.iter().map(as_finding));
    if kind == ScoreKind::Ceil && ceilings.iter().any(|c| c.status != "ok") {
        findings.push(no_ceiling());
    }
    let space_of = space_names(inputs);
    let mut tables = group_tables(&group);
    tables.insert("models".into(), models_table(study, inputs, grid, scored, &space_of, &mut findings));
    tables.insert("scores".into(), scores_table(study, inputs, grid, &group, scored, kind));
    tables.insert("bands".into(), bands_table(inputs, grid, scored));
    tables.insert("spectra".into(), spectra_table(inputs, grid, scored));
    tables.insert("weights".into(), weights_table(inputs, grid, scored));
    tables.insert("rois".into(), rois_table(inputs, ceilings, &space_of));
    tables.extend(surface_tables(inputs, &space_of));
    tables.insert("multiverse".into(), multiverse_table(inputs, grid, scored));
    if let Some(caveat) = study.file.preset.caveat() {
        findings.push(Finding::note("reconstruction", caveat));
    }
    let findings = sorted(findings);
    let manifest = manifest(study, inputs, &findings);
    Ok(Made { tables, manifest, findings })
}

fn score_name(kind: ScoreKind) -> &'static str {
    match kind {
        ScoreKind::R2 => "r2",
        ScoreKind::Signed => "signed",
        ScoreKind::Clipped => "clipped",
        ScoreKind::Ceil => "ceiling",
        ScoreKind::Debiased => "debiased",
    }
}

/// Scores over ceilings where there are none.
pub fn no_ceiling() -> Finding {
    Finding::caution(
        "no_ceiling",
        "scores are divided by noise ceilings, but a benchmark has none; its scores are undefined",
    )
}

/// A warning of the group statistics as a finding.
pub fn as_finding(warning: &Warning) -> Finding {
    let severity = match warning.severity {
        Severity::Note => "note",
        Severity::Warning => "caution",
        Severity::Serious => "serious",
    };
    Finding::new(severity, &warning.code, warning.text.clone())
}

/// One note for all models whose penalties often lie on an edge of the grid.
fn edge_note(inputs: &Inputs, grid: &Grid, scored: &Scored, findings: &mut Vec<Finding>) {
    let shares = grid.pairs.iter().zip(&scored.pairs).filter_map(|(pair, (_, cells))| {
        let stable = cells.get(&Representation::StableMode)?;
        Some((inputs.models[pair.model].model.name.as_str(), stable.share_at_edge))
    });
    findings.extend(edge_finding(&shares.collect::<Vec<_>>()));
}

/// A note on models whose share of penalties on an edge of the grid is above 5 %.
pub fn edge_finding(shares: &[(&str, f64)]) -> Option<Finding> {
    let many = shares.iter().filter(|(_, share)| *share > 0.05);
    let told: Vec<String> = many.map(|(name, share)| format!("`{name}` {:.0} %", 100.0 * share)).collect();
    (!told.is_empty()).then(|| {
        Finding::note(
            "alpha_at_edge",
            format!(
                "the best penalty of the stable mode lies on an edge of the grid in more than 5 % of ROIs and folds: {}; ROIs that cannot be predicted want the largest penalty there is",
                told.join(", ")
            ),
        )
    })
}

/// Benchmarks with the same set of ROIs share a space; its name is that of its benchmarks.
fn space_names(inputs: &Inputs) -> Vec<String> {
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

/// `stable`, `no_stable_mode` or `too_shallow`, and why.
pub fn verdict_words(depth: Option<&DepthResult>) -> (&'static str, String) {
    let Some(depth) = depth else {
        return ("too_shallow", "fewer than 4 layers have no depth dynamics".into());
    };
    match &depth.verdict {
        StableVerdict::Stable => ("stable", "passes every gate".to_owned() + &of_samples(depth)),
        StableVerdict::NoStableMode(failed) => {
            let words: Vec<String> = failed.iter().map(failed_gate).collect();
            ("no_stable_mode", words.join("; ") + &of_samples(depth))
        }
    }
}

/// Of a per-sample trajectory the gates judge medians, and readers must know how many samples agree.
fn of_samples(depth: &DepthResult) -> String {
    depth.whole.spread.map_or(String::new(), |spread| {
        format!(
            " (medians over samples, of which {:.0} % pass every gate by themselves)",
            100.0 * spread.share_qualifying
        )
    })
}

fn failed_gate(gate: &Unstable) -> String {
    match gate.reason {
        // Both changes of size and turns are distances from one; their thresholds tell them apart.
        UnstableReason::FarFromOne if (gate.threshold - std::f64::consts::LN_2).abs() < 1e-9 => format!(
            "it grows or decays by a factor of {:.2} over the depth (at most {:.2})",
            gate.found.exp(),
            gate.threshold.exp()
        ),
        UnstableReason::FarFromOne => format!(
            "it moves by {:.2} over the depth, {:.0}° if it turns (at most {:.2}, or {:.0}°)",
            gate.found,
            gate.found.to_degrees(),
            gate.threshold,
            gate.threshold.to_degrees()
        ),
        UnstableReason::Residual => format!(
            "one step misses it by {:.0} % of its size (at most {:.0} %)",
            100.0 * gate.found,
            100.0 * gate.threshold
        ),
        UnstableReason::Energy => format!(
            "it holds {:.1} % of the trajectory (at least {:.1} %)",
            100.0 * gate.found,
            100.0 * gate.threshold
        ),
        UnstableReason::FoldInstability => format!(
            "representations of two folds correlate by only {:.2} (at least {:.2})",
            gate.found, gate.threshold
        ),
    }
}

fn spaces(study: &Study, inputs: &Inputs, grid: &Grid, scored: &Scored) -> Vec<SpaceInput> {
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

fn n_layers(inputs: &Inputs, pair: &Pair) -> usize {
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

// --- tables ---

/// Build columns from rows by one closure each.
macro_rules! table {
    ($rows:expr; $($kind:ident $name:ident = $of:expr),+ $(,)?) => {{
        let rows = &$rows;
        Table::new()$(.$kind(stringify!($name), rows.iter().map($of)))+
    }};
}

/// The tables of the group statistics, by the names of their files.
pub fn group_tables(group: &GroupResult) -> BTreeMap<String, Table> {
    let coordinates = table!(group.coordinates;
        text space = |r| Some(r.space.clone()),
        text representation = |r| Some(r.representation.clone()),
        text embedding = |r| Some(r.embedding.clone()),
        text model = |r| Some(r.model.clone()),
        text modality = |r| Some(r.modality.clone()),
        text family = |r| Some(r.family.clone()),
        number x = |r| Some(r.x), number y = |r| Some(r.y),
        number sd_x = |r| Some(r.sd_x), number sd_y = |r| Some(r.sd_y), number cov_xy = |r| Some(r.cov_xy),
        number explained_x = |r| Some(r.explained_x), number explained_y = |r| Some(r.explained_y),
        text status = |r| Some(r.status.clone()),
    );
    let snci = table!(group.snci;
        text space = |r| Some(r.space.clone()),
        text representation = |r| Some(r.representation.clone()),
        text modality = |r| Some(r.modality.clone()),
        text roi = |r| Some(r.roi.clone()),
        text kind = |r| Some(r.kind.clone()),
        number value = |r| Some(r.value), number lower = |r| Some(r.lower), number upper = |r| Some(r.upper),
        number mean = |r| Some(r.mean), number sd = |r| Some(r.sd),
        integer n_models = |r| Some(r.n_models as i64), integer n_families = |r| Some(r.n_families as i64),
        text status = |r| Some(r.status.clone()),
    );
    let influence = table!(group.influence;
        text space = |r| Some(r.space.clone()),
        text representation = |r| Some(r.representation.clone()),
        text modality = |r| Some(r.modality.clone()),
        text model = |r| Some(r.model.clone()),
        text roi = |r| Some(r.roi.clone()),
        text kind = |r| Some(r.kind.clone()),
        number influence = |r| Some(r.influence),
        text status = |r| Some(r.status.clone()),
    );
    let convergence = table!(group.convergence;
        text space = |r| Some(r.space.clone()),
        text representation = |r| Some(r.representation.clone()),
        text roi = |r| Some(r.roi.clone()),
        text network = |r| r.network.clone(),
        number convergence = |r| Some(r.convergence),
        number lower = |r| Some(r.lower), number upper = |r| Some(r.upper),
        integer n_modalities = |r| Some(r.n_modalities as i64),
        flag all_above = |r| r.all_above,
        number threshold = |r| Some(r.threshold),
        text status = |r| Some(r.status.clone()),
    );
    let tests = table!(group.tests;
        text space = |r| Some(r.space.clone()),
        text representation = |r| Some(r.representation.clone()),
        text test = |r| Some(r.test.clone()),
        text contrast = |r| Some(r.contrast.clone()),
        text statistic_name = |r| Some(r.statistic_name.clone()),
        number statistic = |r| Some(r.statistic),
        number r2 = |r| Some(r.r2), number omega2 = |r| Some(r.omega2),
        number p = |r| Some(r.p), number p_adj = |r| Some(r.p_adj),
        text adjustment = |r| Some(r.adjustment.clone()),
        integer n_permutations = |r| Some(r.n_permutations as i64),
        flag exact = |r| Some(r.exact),
        integer n_objects = |r| Some(r.n_objects as i64),
        flag restricted = |r| Some(r.restricted),
        text status = |r| Some(r.status.clone()),
    );
    let controls = table!(group.controls;
        text space = |r| Some(r.space.clone()),
        text model = |r| Some(r.model.clone()),
        text modality = |r| Some(r.modality.clone()),
        text claim_representation = |r| Some(r.claim_representation.clone()),
        text control = |r| Some(r.control.clone()),
        number claim = |r| Some(r.claim), number value = |r| Some(r.value),
        number difference = |r| Some(r.difference),
        number lower = |r| Some(r.lower), number upper = |r| Some(r.upper), number p = |r| Some(r.p),
        integer n_rois = |r| Some(r.n_rois as i64),
        text status = |r| Some(r.status.clone()),
    );
    BTreeMap::from([
        ("coordinates".to_owned(), coordinates),
        ("snci".to_owned(), snci),
        ("influence".to_owned(), influence),
        ("convergence".to_owned(), convergence),
        ("tests".to_owned(), tests),
        ("controls".to_owned(), controls),
    ])
}

/// What a reader must know of a model's depth fit.
pub fn depth_findings(
    model: &str,
    benchmark: &str,
    n_layers: usize,
    depth: Option<&DepthResult>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (verdict, reason) = verdict_words(depth);
    if verdict != "stable" {
        let text = format!("`{model}` has no stable mode on {benchmark}: {reason}");
        findings.push(Finding::caution(verdict, text));
    }
    if let Some(depth) = depth {
        let unexplained = depth.whole.warnings.iter().filter(|w| !w.contains("only"));
        findings.extend(unexplained.map(|w| Finding::note("depth_fit", format!("`{model}`: {w}"))));
        if n_layers < 8 {
            findings.push(Finding::caution(
                "short_depth",
                format!("`{model}` has only {n_layers} layers: its spectrum depends strongly on the rank"),
            ));
        }
    }
    findings
}

fn models_table(
    study: &Study,
    inputs: &Inputs,
    grid: &Grid,
    scored: &Scored,
    space_of: &[String],
    findings: &mut Vec<Finding>,
) -> Table {
    struct Row<'a> {
        model: &'a config::Model,
        benchmark: &'a str,
        space: &'a str,
        n_layers: usize,
        depth: Option<&'a DepthResult>,
        map: String,
    }
    let rows: Vec<Row> = grid
        .pairs
        .iter()
        .zip(&scored.pairs)
        .map(|(pair, (depth, _))| Row {
            model: &inputs.models[pair.model].model,
            benchmark: &inputs.benchmarks[pair.benchmark].id,
            space: &space_of[pair.benchmark],
            n_layers: n_layers(inputs, pair),
            depth: depth.as_ref(),
            map: match depth.as_ref().map(|d| d.state) {
                Some(stereotax::pipelines::depth::StateKind::Shared) => "identity".into(),
                Some(_) => word(&study.file.analysis.layer_map),
                None => "none".into(),
            },
        })
        .collect();
    for row in &rows {
        findings.extend(depth_findings(&row.model.name, row.benchmark, row.n_layers, row.depth));
    }
    let lambda = |row: &Row| row.depth.map(|d| d.whole.selected());
    let steps = |row: &Row| row.n_layers as f64 - 1.0;
    let spread = |row: &Row| row.depth.and_then(|d| d.whole.spread);
    let trajectory = word(&study.file.analysis.trajectory);
    table!(rows;
        text model = |r| Some(r.model.name.clone()),
        text modality = |r| Some(r.model.modality.clone()),
        text family = |r| Some(r.model.family.clone()),
        text benchmark = |r| Some(r.benchmark.to_owned()),
        flag trained = |r| Some(r.model.trained),
        text twin_of = |r| r.model.twin_of.clone(),
        text space = |r| Some(r.space.to_owned()),
        integer n_layers = |r| Some(r.n_layers as i64),
        text layer_map = |r| Some(r.map.clone()),
        text trajectory = |_| Some(trajectory.clone()),
        text verdict = |r| Some(verdict_words(r.depth).0.to_owned()),
        text reason = |r| Some(match (r.model.trained, verdict_words(r.depth)) {
            (false, ("stable", reason)) => format!("{reason}; untrained networks are controls and get no point"),
            (_, (_, reason)) => reason,
        }),
        number lambda_re = |r| lambda(r).map(|l| l.0),
        number lambda_im = |r| lambda(r).map(|l| l.1),
        number depth_gain = |r| lambda(r).map(|l| l.0.hypot(l.1).powf(steps(r))),
        number depth_rotation = |r| lambda(r).map(|l| l.1.atan2(l.0).abs() * steps(r)),
        number energy = |r| r.depth.and_then(|d| energy_of(&d.whole)),
        number residual = |r| r.depth.and_then(|d| residual_of(&d.whole)),
        number weight_stability = |r| r.depth.and_then(|d| d.stability.fold_correlation),
        number lambda_sd = |r| r.depth.and_then(|d| d.stability.lambda_sd),
        number leave_one_layer_out = |r| r.depth.and_then(|d| d.stability.leave_one_layer_out),
        number bootstrap_correlation = |r| r.depth.and_then(|d| d.stability.min_correlation),
        number modulus_lower = |r| spread(r).map(|s| s.modulus[0]),
        number modulus_upper = |r| spread(r).map(|s| s.modulus[2]),
        number share_qualifying = |r| spread(r).map(|s| s.share_qualifying),
        number versus_persistence = |r| {
            r.depth.and_then(|d| d.whole.modes.iter().find(|m| m.selected)?.versus_persistence)
        },
        text status = |r| Some(if r.depth.is_some() { "ok".to_owned() } else { "too_shallow".to_owned() }),
    )
}

/// Energy share of the first selected mode; with windows of depth, of all of them together.
fn energy_of(fold: &FoldDepth) -> Option<f64> {
    let mut chosen = fold.modes.iter().filter(|m| m.selected).map(|m| m.energy);
    if fold.windows.is_empty() { chosen.next() } else { Some(chosen.sum()) }
}

/// Residual of the first selected mode; with windows of depth, the largest.
fn residual_of(fold: &FoldDepth) -> Option<f64> {
    let mut chosen = fold.modes.iter().filter(|m| m.selected);
    match fold.windows.is_empty() {
        true => chosen.next().and_then(|m| m.residual),
        false => chosen.filter_map(|m| m.residual).reduce(f64::max),
    }
}

/// The word that a setting has in the study file, as in `energy:0.99`.
pub fn word(setting: &impl serde::Serialize) -> String {
    fn of(value: &Value) -> String {
        match value {
            Value::String(word) => word.clone(),
            Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |x| x.to_string()),
            Value::Object(one) if one.len() == 1 => match one.iter().next() {
                // The argument may have a name of its own, which the study file does not say.
                Some((word, Value::Object(named))) if named.len() == 1 => {
                    format!("{word}:{}", named.values().map(of).collect::<String>())
                }
                Some((word, argument)) => format!("{word}:{}", of(argument)),
                None => String::new(),
            },
            other => other.to_string(),
        }
    }
    serde_json::to_value(setting).map(|value| of(&value)).unwrap_or_default()
}

#[expect(clippy::too_many_lines, reason = "one flat list of rows is easier to follow in one place")]
fn scores_table(
    study: &Study,
    inputs: &Inputs,
    grid: &Grid,
    group: &GroupResult,
    scored: &Scored,
    kind: ScoreKind,
) -> Table {
    struct Row<'a> {
        model: &'a str,
        modality: &'a str,
        family: &'a str,
        benchmark: &'a BenchmarkInput,
        ceiling: &'a Ceilings,
        representation: String,
        layer: Option<&'a str>,
        /// `None`: the mean over subjects.
        subject: Option<usize>,
        /// `None`: the mean over unmasked ROIs.
        roi: Option<usize>,
        summary: &'a Summary,
        adjusted: Option<&'a MaxTRow>,
    }
    let adjusted: BTreeMap<(&str, &str, &str), &MaxTRow> = group
        .max_t
        .iter()
        .map(|r| ((r.representation.as_str(), r.model.as_str(), r.roi.as_str()), r))
        .collect();
    let mut rows: Vec<Row> = Vec::new();
    for (pair, (_, summaries)) in grid.pairs.iter().zip(&scored.pairs) {
        let benchmark = &inputs.benchmarks[pair.benchmark];
        let about = &inputs.models[pair.model].model;
        let layers = inputs.models[pair.model].activations[pair.activation].layers.layers();
        let mut named: Vec<(String, Option<&str>, &Summary)> = Vec::new();
        for (representation, summary) in summaries {
            match representation {
                Representation::Alternative(_) => continue,
                Representation::Layer(layer) => {
                    let name = layers[*layer].name.as_str();
                    named.push((representation.name(), Some(name), summary));
                    if *layer == 0 {
                        named.push(("first_layer".into(), Some(name), summary));
                    }
                    if layer + 1 == layers.len() {
                        named.push(("last_layer".into(), Some(name), summary));
                    }
                }
                other => named.push((other.name(), None, summary)),
            }
        }
        for (nuisance, summary) in benchmark.nuisance.iter().zip(&scored.nuisance[pair.benchmark]) {
            if let Some(summary) = summary {
                named.push((format!("nuisance:{}", nuisance.name), None, summary));
            }
        }
        named.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        for (representation, layer, summary) in named {
            // Single layers and shuffles are told by their means; a thousand rows say no more.
            let by_subject = !(representation == "layer" || representation.starts_with("shuffled_"));
            let subjects = if by_subject { summary.subjects.len() } else { 0 };
            for subject in std::iter::once(None).chain((0..subjects).map(Some)) {
                let mean_row = subject.is_none().then_some(None);
                for roi in (0..benchmark.rois.len()).map(Some).chain(mean_row) {
                    let adjusted = roi.filter(|_| subject.is_none()).and_then(|roi| {
                        let roi = benchmark.rois[roi].roi.as_str();
                        adjusted.get(&(representation.as_str(), about.name.as_str(), roi)).copied()
                    });
                    rows.push(Row {
                        model: &about.name,
                        modality: &about.modality,
                        family: &about.family,
                        benchmark,
                        ceiling: &scored.ceilings[pair.benchmark],
                        adjusted,
                        representation: representation.clone(),
                        layer,
                        subject,
                        roi,
                        summary,
                    });
                }
            }
        }
    }
    // The value of a row: of one ROI, or averaged over the unmasked ones.
    let over = |r: &Row, of: &dyn Fn(usize) -> f64| match r.roi {
        Some(roi) => of(roi),
        None => {
            let kept = (0..r.ceiling.masked.len()).filter(|&j| !r.ceiling.masked[j]).map(of);
            mean(&kept.filter(|x| !x.is_nan()).collect::<Vec<_>>())
        }
    };
    // The same, averaged over subjects where the row is of none in particular.
    let value = |r: &Row, of: &dyn Fn(&SubjectScores, usize) -> f64| match r.subject {
        Some(s) => over(r, &|j| of(&r.summary.subjects[s], j)),
        None => over(r, &|j| {
            let values = r.summary.subjects.iter().map(|s| of(s, j)).filter(|x| !x.is_nan());
            mean(&values.collect::<Vec<_>>())
        }),
    };
    let ceiling = |r: &Row| match r.subject {
        Some(s) => over(r, &|j| r.ceiling.subjects[s][j]),
        None => over(r, &|j| r.ceiling.mean[j]),
    };
    let n_eff = |r: &Row| value(r, &|s, j| s.n_eff[j]);
    let score = |r: &Row| match r.subject {
        Some(s) => over(r, &|j| r.summary.subjects[s].score[j]),
        None => over(r, &|j| r.summary.score[j]),
    };
    let p = |r: &Row| match (r.subject, r.roi) {
        (Some(s), Some(j)) => r.summary.subjects[s].p[j],
        (None, Some(j)) if r.summary.subjects.len() == 1 => r.summary.subjects[0].p[j],
        _ => f64::NAN,
    };
    table!(rows;
        text model = |r| Some(r.model.to_owned()),
        text modality = |r| Some(r.modality.to_owned()),
        text family = |r| Some(r.family.to_owned()),
        text benchmark = |r| Some(r.benchmark.id.clone()),
        text subject = |r| Some(r.subject.map_or("(mean)".to_owned(), |s| r.benchmark.subjects[s].id.clone())),
        text roi = |r| Some(r.roi.map_or("(mean)".to_owned(), |j| r.benchmark.rois[j].roi.clone())),
        text representation = |r| Some(r.representation.clone()),
        text layer = |r| r.layer.map(str::to_owned),
        number time_s = |_| None,
        text measure = |_| Some("encoding"),
        number r = |r| Some(match r.subject {
            Some(s) => over(r, &|j| r.summary.subjects[s].r[j]),
            None => over(r, &|j| r.summary.r[j]),
        }),
        number score = |r| Some(score(r)),
        text score_kind = |_| Some(score_name(kind)),
        number ceiling = |r| Some(ceiling(r)),
        text ceiling_kind = |r| Some(r.ceiling.kind.clone()),
        number chance = |r| Some(1.0 / n_eff(r)).filter(|c| c.is_finite()),
        integer n = |r| Some(value(r, &|s, _| s.n) as i64),
        number n_eff = |r| Some(n_eff(r)),
        number p = |r| Some(p(r)),
        number p_adj = |r| r.adjusted.map(|a| a.p_adj),
        text adjustment = |r| r.adjusted.map(|_| settings::group(&study.file.analysis, 0).multiplicity.name()),
        number p_max_t = |r| r.adjusted.map(|a| a.p_max_t),
        number q_bh = |r| r.adjusted.map(|a| a.q_bh),
        number q_by = |r| r.adjusted.map(|a| a.q_by),
        number alpha = |r| Some(value(r, &|s, j| s.alpha[j])),
        text status = |r| Some(if score(r).is_nan() {
            if r.ceiling.status != "ok" && kind == ScoreKind::Ceil {
                r.ceiling.status.clone()
            } else {
                "undefined: prediction or response does not vary".to_owned()
            }
        } else {
            "ok".to_owned()
        }),
    )
}

/// How the bands of a banded ridge share the joint R², per subject and averaged over subjects.
fn bands_table(inputs: &Inputs, grid: &Grid, scored: &Scored) -> Table {
    struct Row<'a> {
        model: &'a str,
        benchmark: &'a BenchmarkInput,
        subject: &'a str,
        roi: usize,
        representation: String,
        band: usize,
        r2: f64,
        joint: f64,
        weight: f64,
    }
    let mut rows: Vec<Row> = Vec::new();
    for (pair, (_, cells)) in grid.pairs.iter().zip(&scored.pairs) {
        let benchmark = &inputs.benchmarks[pair.benchmark];
        let model = inputs.models[pair.model].model.name.as_str();
        let (n_rois, n_bands) = (benchmark.rois.len(), 1 + benchmark.nuisance.len());
        for (representation, summary) in cells {
            // Single layers, shuffles and the multiverse are told by their scores.
            let Some(parts) = summary.split.as_ref().filter(|_| representation.keeps_draws(0)) else {
                continue;
            };
            let over = |of: &dyn Fn(&[Vec<f64>; 3]) -> f64| {
                let defined: Vec<f64> = parts.iter().map(of).filter(|x| !x.is_nan()).collect();
                mean(&defined)
            };
            for subject in std::iter::once(None).chain((0..parts.len()).map(Some)) {
                for roi in 0..n_rois {
                    for band in 0..n_bands {
                        let at = band * n_rois + roi;
                        let value = |of: &dyn Fn(&[Vec<f64>; 3]) -> f64| match subject {
                            Some(s) => of(&parts[s]),
                            None => over(of),
                        };
                        rows.push(Row {
                            model,
                            benchmark,
                            subject: subject.map_or("(mean)", |s| benchmark.subjects[s].id.as_str()),
                            roi,
                            representation: representation.name(),
                            band,
                            r2: value(&|p| p[0][at]),
                            joint: value(&|p| p[1][roi]),
                            weight: value(&|p| p[2][at]),
                        });
                    }
                }
            }
        }
    }
    table!(rows;
        text model = |r| Some(r.model), text benchmark = |r| Some(r.benchmark.id.clone()),
        text subject = |r| Some(r.subject), text roi = |r| Some(r.benchmark.rois[r.roi].roi.clone()),
        text representation = |r| Some(r.representation.clone()),
        text band = |r| Some(match r.band {
            0 => "representation",
            band => r.benchmark.nuisance[band - 1].name.as_str(),
        }),
        number r2 = |r| Some(r.r2), number joint_r2 = |r| Some(r.joint), number weight = |r| Some(r.weight),
        text status = |r| Some(if r.r2.is_nan() { "undefined: the response does not vary" } else { "ok" }),
    )
}

fn spectra_table(inputs: &Inputs, grid: &Grid, scored: &Scored) -> Table {
    let mut rows = Vec::new();
    for (pair, (depth, _)) in grid.pairs.iter().zip(&scored.pairs) {
        let Some(depth) = depth else { continue };
        let name = inputs.models[pair.model].model.name.as_str();
        let benchmark = inputs.benchmarks[pair.benchmark].id.as_str();
        for fold in std::iter::once(&depth.whole).chain(&depth.folds) {
            for (k, mode) in fold.modes.iter().enumerate() {
                let steps = fold.steps(mode, n_layers(inputs, pair));
                rows.push((name, benchmark, fold.name.as_str(), k, mode, steps));
            }
        }
    }
    table!(rows;
        text model = |r| Some(r.0), text benchmark = |r| Some(r.1), text fold = |r| Some(r.2),
        integer segment = |r| r.4.window.map(|w| w as i64),
        integer mode = |r| Some(r.3 as i64),
        number re = |r| Some(r.4.re), number im = |r| Some(r.4.im),
        number modulus = |r| Some(r.4.re.hypot(r.4.im)),
        number depth_gain = |r| Some(r.4.re.hypot(r.4.im).powf(r.5)),
        number depth_rotation = |r| Some(r.4.im.atan2(r.4.re).abs() * r.5),
        number energy = |r| Some(r.4.energy), number residual = |r| r.4.residual,
        number versus_persistence = |r| r.4.versus_persistence,
        flag selected = |r| Some(r.4.selected),
    )
}

fn weights_table(inputs: &Inputs, grid: &Grid, scored: &Scored) -> Table {
    let mut rows = Vec::new();
    for (pair, (depth, _)) in grid.pairs.iter().zip(&scored.pairs) {
        let Some(depth) = depth else { continue };
        let model = &inputs.models[pair.model];
        let layers = model.activations[pair.activation].layers.layers();
        let benchmark = inputs.benchmarks[pair.benchmark].id.as_str();
        let last = (layers.len() - 1) as f64;
        for fold in std::iter::once(&depth.whole).chain(&depth.folds) {
            // Without weights, as under the pooled trajectory, the layers still have their places.
            for (l, layer) in layers.iter().enumerate() {
                let (at, weight) = (l as f64 / last, fold.weights.get(l).copied());
                let layer = layer.name.as_str();
                rows.push((model.model.name.as_str(), benchmark, fold.name.as_str(), layer, at, weight));
            }
        }
    }
    table!(rows;
        text model = |r| Some(r.0), text benchmark = |r| Some(r.1), text fold = |r| Some(r.2),
        text layer = |r| Some(r.3), number position = |r| Some(r.4), number weight = |r| r.5,
    )
}

fn rois_table(inputs: &Inputs, ceilings: &[Ceilings], space_of: &[String]) -> Table {
    let mut rows = Vec::new();
    for ((benchmark, ceiling), space) in inputs.benchmarks.iter().zip(ceilings).zip(space_of) {
        for (j, roi) in benchmark.rois.iter().enumerate() {
            rows.push((space.as_str(), benchmark.id.as_str(), roi, ceiling, j));
        }
    }
    table!(rows;
        text space = |r| Some(r.0), text benchmark = |r| Some(r.1),
        text roi = |r| Some(r.2.roi.clone()), text network = |r| r.2.network.clone(),
        text hemisphere = |r| r.2.hemisphere.clone(),
        number x = |r| r.2.x, number y = |r| r.2.y, number z = |r| r.2.z,
        number ceiling = |r| Some(r.3.mean[r.4]), text ceiling_kind = |r| Some(r.3.kind.clone()),
        flag masked = |r| Some(r.3.masked[r.4]),
        text status = |r| Some(if r.3.masked[r.4] {
            "ceiling below the threshold".to_owned()
        } else {
            r.3.status.clone()
        }),
    )
}

/// The surfaces of each space, from its first benchmark that has any: vertices with their ROIs, and
/// triangles. No tables where there is no surface.
fn surface_tables(inputs: &Inputs, space_of: &[String]) -> BTreeMap<String, Table> {
    let mut shown: BTreeMap<&str, &BenchmarkInput> = BTreeMap::new();
    for (benchmark, space) in inputs.benchmarks.iter().zip(space_of) {
        if !benchmark.surfaces.is_empty() {
            shown.entry(space).or_insert(benchmark);
        }
    }
    let (mut vertices, mut faces) = (Vec::new(), Vec::new());
    for (&space, benchmark) in &shown {
        for surface in &benchmark.surfaces {
            for (point, roi) in surface.mesh.vertices.iter().zip(&surface.roi) {
                let roi = roi.map(|j| benchmark.rois[j].roi.as_str());
                vertices.push((space, surface.hemisphere, point, roi));
            }
            faces.extend(surface.mesh.faces.iter().map(|face| (space, surface.hemisphere, face)));
        }
    }
    if faces.is_empty() {
        return BTreeMap::new();
    }
    let vertices = table!(vertices;
        text space = |r| Some(r.0), text hemisphere = |r| Some(r.1),
        number x = |r| Some(r.2[0]), number y = |r| Some(r.2[1]), number z = |r| Some(r.2[2]),
        text roi = |r| r.3,
    );
    let faces = table!(faces;
        text space = |r| Some(r.0), text hemisphere = |r| Some(r.1),
        integer a = |r| Some(i64::from(r.2[0])), integer b = |r| Some(i64::from(r.2[1])),
        integer c = |r| Some(i64::from(r.2[2])),
    );
    BTreeMap::from([("surface_vertices".to_owned(), vertices), ("surface_faces".to_owned(), faces)])
}

fn multiverse_table(inputs: &Inputs, grid: &Grid, scored: &Scored) -> Table {
    struct Row<'a> {
        model: &'a str,
        benchmark: &'a str,
        alternative: &'a stereotax::pipelines::depth::Alternative,
        score: f64,
        versus_mean: f64,
    }
    let mut rows: Vec<Row> = Vec::new();
    for (pair, (depth, summaries)) in grid.pairs.iter().zip(&scored.pairs) {
        let Some(depth) = depth else { continue };
        let masked = &scored.ceilings[pair.benchmark].masked;
        let average = |representation: &Representation| {
            summaries.get(representation).map_or(f64::NAN, |summary| {
                let kept: Vec<f64> = (0..masked.len())
                    .filter(|&j| !masked[j])
                    .map(|j| summary.score[j])
                    .filter(|x| !x.is_nan())
                    .collect();
                mean(&kept)
            })
        };
        let layer_mean = average(&Representation::LayerMean);
        for (index, alternative) in depth.alternatives.iter().enumerate() {
            let score = average(&Representation::Alternative(index));
            rows.push(Row {
                model: &inputs.models[pair.model].model.name,
                benchmark: &inputs.benchmarks[pair.benchmark].id,
                alternative,
                score,
                versus_mean: score - layer_mean,
            });
        }
    }
    table!(rows;
        text model = |r| Some(r.model), text benchmark = |r| Some(r.benchmark),
        text trajectory = |_| Some("stacked"),
        text scale = |r| Some(word(&r.alternative.scaling)),
        text select = |r| Some(word(&r.alternative.dmd.select)),
        text rank = |r| Some(word(&r.alternative.dmd.rank)),
        text estimator = |r| Some(word(&r.alternative.dmd.estimator)),
        number score = |r| Some(r.score),
        number versus_layer_mean = |r| Some(r.versus_mean),
        number lambda_re = |r| r.alternative.re, number lambda_im = |r| r.alternative.im,
        text status = |r| Some(r.alternative.status.clone()),
    )
}

// --- the manifest ---

fn manifest(study: &Study, inputs: &Inputs, findings: &[Finding]) -> Value {
    let mut files: Vec<Value> = Vec::new();
    for benchmark in &inputs.benchmarks {
        for subject in &benchmark.subjects {
            let name = format!("responses: {} · {}", benchmark.id, subject.id);
            files.push(json!({"name": name, "digest": subject.digest}));
        }
        for surface in &benchmark.surfaces {
            let name = format!("surface: {} · {}", benchmark.id, surface.hemisphere);
            files.push(json!({"name": name, "digest": surface.digest}));
        }
        for nuisance in &benchmark.nuisance {
            let name = format!("nuisance: {} · {}", benchmark.id, nuisance.name);
            files.push(json!({"name": name, "digest": nuisance.digest}));
        }
    }
    for model in &inputs.models {
        for activation in &model.activations {
            let name = format!("activations: {} · {}", model.model.name, activation.stimuli);
            files.push(json!({"name": name, "digest": activation.digest}));
        }
    }
    json!({
        "name": study.file.name,
        "version": env!("CARGO_PKG_VERSION"),
        "preset": study.file.preset,
        "caveat": study.file.preset.caveat(),
        "seed": study.file.seed,
        "random_numbers": "ChaCha8, one stream per purpose and index",
        "settings": {"nfas": study.file.analysis},
        "gates": study.file.analysis.gates,
        "inputs": files,
        "warnings": findings,
        "references": references(&study.file.analysis),
        "simulation": study.file.simulated,
    })
}

/// Keys of `references.bib` for the methods that these settings use.
pub(crate) fn references(s: &NfasSettings) -> Vec<String> {
    use stereotax::dynamics::Estimator;
    let mut keys = vec!["yan2026", "schmid2010", "tu2014", "jovanovic2014", "chen2012", "aswani2026"];
    match s.estimator {
        Estimator::TotalLeastSquares => keys.push("hemati2017"),
        Estimator::ForwardBackward => keys.push("dawson2016"),
        Estimator::Optimised => keys.push("askham2018"),
        Estimator::Bagged { .. } => keys.extend(["askham2018", "sashidhar2022"]),
        Estimator::Unitary | Estimator::Symmetric => keys.push("baddoo2023"),
        Estimator::ReducedRank { .. } => keys.push("kostic2022"),
        Estimator::Standard | Estimator::Hankel { .. } | Estimator::Segments { .. } => {}
    }
    if s.rank == stereotax::dynamics::RankRule::HardThreshold {
        keys.push("gavish2014");
    }
    if s.layer_map == config::LayerMap::Kernel {
        keys.push("kornblith2019");
    }
    if s.encoder == config::Encoder::Banded {
        keys.push("nunezelizalde2019");
    }
    match s.multiplicity {
        config::Multiplicity::Bh => keys.push("benjamini1995"),
        config::Multiplicity::By => keys.push("benjamini2001"),
        _ => {}
    }
    keys.push("tukey1949");
    keys.extend(["drmac2018", "hoerl1970", "anderson2001", "anderson2006", "anderson2017", "rousseeuw1987"]);
    keys.extend(["holm1979", "westfall1993", "nichols2002", "phipson2010"]);
    if s.ceiling != CeilingRule::None {
        keys.extend(["sahani2003", "schoppe2016"]);
    }
    if s.controls.multiverse {
        keys.push("steegen2016");
    }
    if s.controls.adaptive {
        keys.push("breiman1996");
    }
    if s.reduction == stereotax::dynamics::Reduction::Tsqr {
        keys.push("demmel2012");
    }
    keys.sort_unstable();
    keys.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax::dynamics::{Estimator, RankRule, Selection};

    #[test]
    fn settings_are_told_in_the_words_of_the_study_file() {
        assert_eq!(word(&RankRule::Energy(0.99)), "energy:0.99");
        assert_eq!(word(&RankRule::Full), "full");
        assert_eq!(word(&Selection::MaxEnergyInBand { gain: 2.0 }), "max_energy_in_band:2");
        assert_eq!(word(&Estimator::Bagged { n_bags: 100 }), "bagged:100");
        assert_eq!(word(&config::LayerMap::Procrustes), "procrustes");
    }
}
