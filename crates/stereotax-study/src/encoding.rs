//! Encode every target from every layer: which nodes that takes, how they are computed, what they cost.
//!
//! Per model and benchmark: one `encoding` node per layer and subject, all targets together; subjects share the
//! work on a layer. Then one `encoding_best` node per subject, which reads these and lets every target choose its
//! layer on training rows; and where responses have times one `encoding_timed` node, in which every channel chooses
//! layer and time. Layers are read one at a time. Where all layers are combined, one `encoding_combined`
//! node per subject, which holds the features of all of them.

use std::collections::BTreeMap;

use faer::{Mat, MatRef};
use serde_json::json;
use stereotax::data::{LayerInfo, TileSource};
use stereotax::encoding::{ProjectionKind, RandomProjection, Selection, Solver, johnson_lindenstrauss_size};
use stereotax::pipelines::encoding::{
    BLOCK, BestCell, CellDraws, Chance, Combine, CombinedCell, EncodingCell, FoldMoments, Intervals, Keep,
    MOST_WITH_DRAWS, NestedChoice, Refits, combined_fold_bytes, combined_target_bytes, fold_bytes_of,
    score_combined, score_targets, target_bytes,
};
use stereotax::pipelines::{EvaluateParams, Features, InnerRule, NullModel, projected_layer, single_layer};
use stereotax::stats::multiplicity::N_STEPS;

use crate::config::{EncodingSettings, FeatureSet, LayerReduction};
use crate::inputs::{BenchmarkInput, Inputs, ModelInput, OnClock};
use crate::node::{NodeSpec, digest_of_json};
use crate::plan::{Cost, Grid, Pair};
use crate::run::{Layers, Worker};
use crate::store::Payload;
use crate::{Options, Study, StudyError, settings};

/// Versions of the kernels: raised whenever their numbers change.
mod version {
    pub(super) const LAYER: u32 = 3;
    pub(super) const BEST: u32 = 4;
    pub(super) const TIMED: u32 = 1;
    pub(super) const COMBINED: u32 = 1;
}

/// The encoding nodes of one model on one benchmark.
#[derive(Debug, Default)]
pub struct PairEncoding {
    /// Layers by position, with the node of each subject.
    pub layers: Vec<(usize, Vec<NodeSpec>)>,
    /// The node of each subject that chooses among them.
    pub best: Vec<NodeSpec>,
    /// The node of each subject in which every channel chooses a layer and a time; empty where responses have no times.
    pub timed: Vec<NodeSpec>,
    /// All layers as one predictor, with the node of each subject; `None` where that is not asked for, or where
    /// there is one layer.
    pub combined: Option<(Combine, Vec<NodeSpec>)>,
    /// Names of the feature sets between which variance is divided; empty where there are none.
    pub sets: Vec<String>,
    /// Every combination of them, with the node of each subject: number S − 1 is that of the sets whose bits are
    /// set in S.
    pub joint: Vec<(Vec<FeatureSource>, Vec<NodeSpec>)>,
}

/// Where features come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureSource {
    /// A layer, by position.
    Layer(usize),
    /// A nuisance set of the benchmark, by position.
    Nuisance(usize),
}

impl PairEncoding {
    /// Every node, in the order of work.
    pub fn specs(&self) -> impl Iterator<Item = &NodeSpec> {
        let joint = self.joint.iter().flat_map(|(_, specs)| specs);
        let combined = self.combined.iter().flat_map(|(_, specs)| specs);
        let chosen = self.best.iter().chain(&self.timed);
        self.layers.iter().flat_map(|(_, specs)| specs).chain(chosen).chain(combined).chain(joint)
    }
}

/// Whether predictions and draws are kept.
pub fn keeps_draws(benchmark: &BenchmarkInput) -> bool {
    benchmark.rois.len() <= MOST_WITH_DRAWS
}

/// Groups of targets: all, networks, times, and single targets where they are few.
pub(crate) fn groups_of(benchmark: &BenchmarkInput) -> Vec<(String, Vec<usize>)> {
    let n = benchmark.rois.len();
    let mut groups = vec![("(all)".to_owned(), (0..n).collect())];
    let mut networks: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (j, roi) in benchmark.rois.iter().enumerate() {
        if let Some(network) = &roi.network {
            networks.entry(network).or_default().push(j);
        }
    }
    groups.extend(networks.into_iter().map(|(name, targets)| (format!("(network) {name}"), targets)));
    let n_times = benchmark.times_s.len();
    groups.extend((0..n_times).map(|t| {
        let seconds = benchmark.rois[t].at.as_ref().map_or(f64::NAN, |(_, seconds)| *seconds);
        (format!("(time) {seconds}"), (t..n).step_by(n_times).collect())
    }));
    if keeps_draws(benchmark) {
        groups.extend(benchmark.rois.iter().enumerate().map(|(j, roi)| (roi.roi.clone(), vec![j])));
    }
    groups
}

/// Channels of responses with times.
pub(crate) fn channels(benchmark: &BenchmarkInput) -> usize {
    benchmark.rois.len() / benchmark.times_s.len().max(1)
}

/// The columns of all channels at each time from the onset on, among which a channel may choose.
pub(crate) fn times_of(benchmark: &BenchmarkInput) -> Vec<Vec<usize>> {
    let times = &benchmark.times_s;
    let at = |t: usize| (0..channels(benchmark)).map(|channel| channel * times.len() + t).collect();
    (0..times.len()).filter(|&t| times[t] >= 0.0).map(at).collect()
}

/// What the cells of layers keep.
fn kept(benchmark: &BenchmarkInput) -> Keep {
    if keeps_draws(benchmark) { Keep::Draws } else { Keep::Maxima }
}

/// What the cells of feature sets keep.
fn kept_of_sets(benchmark: &BenchmarkInput) -> Keep {
    if keeps_draws(benchmark) { Keep::R2 } else { Keep::Maxima }
}

/// How many random directions a layer gets; `None` where it stays as it is.
fn n_directions(reduce: LayerReduction, width: usize, n_samples: usize) -> Option<usize> {
    let size = match reduce {
        LayerReduction::None | LayerReduction::Pca { .. } => return None,
        LayerReduction::Sparse { size } | LayerReduction::Gaussian { size } => size,
    };
    let size = size.or_else(|| johnson_lindenstrauss_size(n_samples, 0.1).ok())?;
    (size < width).then_some(size)
}

/// Lay out the nodes of one model on one benchmark.
pub fn plan_pair(
    settings: &EncodingSettings,
    params: &EvaluateParams,
    benchmark: &BenchmarkInput,
    model: &ModelInput,
    activation: usize,
    on_clock: Option<&OnClock>,
) -> PairEncoding {
    let input = &model.activations[activation];
    let mut base = BTreeMap::from([
        ("activations".to_owned(), input.digest.clone()),
        ("design".to_owned(), benchmark.digest.clone()),
    ]);
    if let Some(on_clock) = on_clock {
        let clock = json!({"events": on_clock.digest, "native": false});
        base.insert("clock".to_owned(), digest_of_json(&clock));
    }
    let draws = keeps_draws(benchmark);
    let node = |kind: &str, kernel_version, params, subject: usize, name: &str, more: Option<String>| {
        let subject = &benchmark.subjects[subject];
        let mut inputs = base.clone();
        inputs.insert("responses".into(), subject.digest.clone());
        if let Some(more) = more {
            inputs.insert("layers".into(), more);
        }
        NodeSpec {
            kind: kind.into(),
            kernel_version,
            params,
            inputs,
            label: format!("encoding: {} · {name} · {} · {}", model.model.name, benchmark.id, subject.id),
        }
    };
    let wanted = |name: &String| settings.layers.as_ref().is_none_or(|names| names.contains(name));
    let subjects = 0..benchmark.subjects.len();
    let layers: Vec<(usize, Vec<NodeSpec>)> = input
        .layers
        .layers()
        .iter()
        .enumerate()
        .filter(|(_, layer)| wanted(&layer.name))
        .map(|(index, layer)| {
            let mut all = json!({"layer": index, "evaluate": params, "draws": draws});
            if let LayerReduction::Sparse { .. } | LayerReduction::Gaussian { .. } = settings.reduce {
                all["reduce"] = json!(settings.reduce);
            }
            let nodes = subjects
                .clone()
                .map(|s| node("encoding", version::LAYER, all.clone(), s, &layer.name, None))
                .collect();
            (index, nodes)
        })
        .collect();
    let best = subjects
        .clone()
        .map(|s| {
            let keys: Vec<String> = layers.iter().map(|(_, nodes)| nodes[s].key()).collect();
            let params = json!({"evaluate": params, "draws": draws});
            let more = Some(digest_of_json(&json!(keys)));
            node("encoding_best", version::BEST, params, s, "best layer", more)
        })
        .collect();
    let timed = match benchmark.times_s.is_empty() {
        true => Vec::new(),
        false => subjects
            .clone()
            .map(|s| {
                let keys: Vec<String> = layers.iter().map(|(_, nodes)| nodes[s].key()).collect();
                let params = json!({"evaluate": params, "draws": draws, "times_s": benchmark.times_s});
                let more = Some(digest_of_json(&json!(keys)));
                node("encoding_timed", version::TIMED, params, s, "best layer and time", more)
            })
            .collect(),
    };
    let combined = settings::combination(settings.combine).filter(|_| layers.len() > 1).map(|combine| {
        let of: Vec<usize> = layers.iter().map(|(index, _)| *index).collect();
        let mut all = json!({"layers": of, "combine": combine, "evaluate": params, "draws": draws});
        if let LayerReduction::Sparse { .. } | LayerReduction::Gaussian { .. } = settings.reduce {
            all["reduce"] = json!(settings.reduce);
        }
        let name = combined_name(combine);
        let nodes = subjects
            .clone()
            .map(|s| node("encoding_combined", version::COMBINED, all.clone(), s, name, None))
            .collect();
        (combine, nodes)
    });
    let sources = sets_of(settings, input.layers.layers(), benchmark);
    let joint = (1..1usize << sources.len())
        .map(|combination| {
            let members = || (0..sources.len()).filter(|k| combination >> k & 1 == 1);
            let features: Vec<FeatureSource> = members().flat_map(|k| sources[k].iter().copied()).collect();
            let name: Vec<&str> = members().map(|k| settings.partition[k].name.as_str()).collect();
            let evaluate = of_sets(params, benchmark);
            let mut all = json!({"features": features, "evaluate": evaluate, "draws": false});
            if let LayerReduction::Sparse { .. } | LayerReduction::Gaussian { .. } = settings.reduce {
                all["reduce"] = json!(settings.reduce);
            }
            let nuisance: Vec<&String> = features
                .iter()
                .filter_map(|source| match source {
                    FeatureSource::Nuisance(index) => Some(&benchmark.nuisance[*index].digest),
                    FeatureSource::Layer(_) => None,
                })
                .collect();
            let more = Some(digest_of_json(&json!(nuisance)));
            let nodes = subjects
                .clone()
                .map(|s| node("encoding", version::LAYER, all.clone(), s, &name.join(" + "), more.clone()))
                .collect();
            (features, nodes)
        })
        .collect();
    let sets = match sources.is_empty() {
        true => Vec::new(),
        false => settings.partition.iter().map(|set| set.name.clone()).collect(),
    };
    PairEncoding { layers, best, timed, combined, sets, joint }
}

/// What a combined predictor is called where layers are named.
pub(crate) fn combined_name(combine: Combine) -> &'static str {
    match combine {
        Combine::Stacked => "(stacked)",
        Combine::Banded { .. } => "(banded)",
    }
}

/// Combinations are compared by R² alone: no null draws are made of them, and bootstrap draws of R² where they can be
/// kept.
fn of_sets(params: &EvaluateParams, benchmark: &BenchmarkInput) -> EvaluateParams {
    let n_bootstraps = if keeps_draws(benchmark) { params.n_bootstraps } else { 0 };
    EvaluateParams { n_bootstraps, ..without_draws(params) }
}

fn without_draws(params: &EvaluateParams) -> EvaluateParams {
    EvaluateParams { n_shifts: 1, n_bootstraps: 0, null: NullModel::Shift, ..params.clone() }
}

/// The features of every set; none where a set has nothing in this model.
fn sets_of(
    settings: &EncodingSettings,
    layers: &[LayerInfo],
    benchmark: &BenchmarkInput,
) -> Vec<Vec<FeatureSource>> {
    let of = |set: &FeatureSet| -> Vec<FeatureSource> {
        let nuisance = benchmark.nuisance.iter().position(|n| Some(&n.name) == set.nuisance.as_ref());
        let layers = (0..layers.len()).filter(|&l| set.layers.contains(&layers[l].name));
        layers.map(FeatureSource::Layer).chain(nuisance.map(FeatureSource::Nuisance)).collect()
    };
    let found: Vec<Vec<FeatureSource>> = settings.partition.iter().map(of).collect();
    if found.iter().any(Vec::is_empty) { Vec::new() } else { found }
}

/// Features after random directions, as columns.
fn width_of(source: FeatureSource, pair: &Pair, inputs: &Inputs, reduce: LayerReduction) -> usize {
    let benchmark = &inputs.benchmarks[pair.benchmark];
    match source {
        FeatureSource::Nuisance(index) => benchmark.nuisance[index].values.ncols(),
        FeatureSource::Layer(index) => {
            let width = inputs.models[pair.model].activations[pair.activation].layers.layers()[index].width;
            n_directions(reduce, width, benchmark.design.n_samples()).unwrap_or(width)
        }
    }
}

/// The most columns that are fitted at once.
fn most_columns(pair: &Pair, inputs: &Inputs, reduce: LayerReduction) -> usize {
    let Some(encoding) = &pair.encoding else { return 0 };
    let of = |sources: &[FeatureSource]| sources.iter().map(|s| width_of(*s, pair, inputs, reduce)).sum();
    let single = encoding.layers.iter().map(|(index, _)| of(&[FeatureSource::Layer(*index)]));
    let joint = encoding.joint.iter().map(|(sources, _)| of(sources));
    single.chain(joint).max().unwrap_or(0)
}

/// Every encoding node of a pair with what it costs.
pub(crate) fn costs<'a>(pair: &'a Pair, inputs: &Inputs, grid: &Grid) -> Vec<(&'a NodeSpec, Cost)> {
    let Some(encoding) = &pair.encoding else { return Vec::new() };
    let benchmark = &inputs.benchmarks[pair.benchmark];
    let Some(params) = &grid.benchmarks[pair.benchmark].encode else { return Vec::new() };
    let layers = inputs.models[pair.model].activations[pair.activation].layers.layers();
    let mut found = Vec::new();
    for (index, specs) in &encoding.layers {
        let mut cost = layer_cost(benchmark, layers[*index].width, params, grid.reduce, specs.len());
        if params.null == NullModel::Refit {
            cost.flops += refit_flops(benchmark, layers[*index].width, params, grid.reduce);
            let kept = if keeps_draws(benchmark) { 8.0 } else { 0.0 };
            cost.bytes +=
                kept * (params.n_shifts * benchmark.design.folds.len() * benchmark.rois.len()) as f64;
        }
        found.extend(specs.iter().map(|spec| (spec, cost)));
    }
    let (n, rois) = (benchmark.design.n_samples() as f64, benchmark.rois.len() as f64);
    let folds = benchmark.design.folds.len() as f64;
    let resampled = if keeps_draws(benchmark) { rois * draws_flops(benchmark, params) } else { 0.0 };
    let read = encoding.layers.len() as f64 * rois * folds * 200.0;
    let bytes = cell_bytes(rois, folds, n, params, keeps_draws(benchmark));
    for (sources, specs) in &encoding.joint {
        let width = sources.iter().map(|s| width_of(*s, pair, inputs, grid.reduce)).sum();
        let params = of_sets(params, benchmark);
        let mut cost = layer_cost(benchmark, width, &params, LayerReduction::None, specs.len());
        cost.bytes = cell_bytes(rois, folds, n, &params, false) + 4.0 * params.n_bootstraps as f64 * rois;
        found.extend(specs.iter().map(|spec| (spec, cost)));
    }
    // Above the most targets whose predictions are kept, those of the layers chosen are made again, and all refits.
    let again = match keeps_draws(benchmark) {
        true => 0.0,
        false => {
            let each = without_draws(params);
            let of = |index: usize, subjects: usize| {
                layer_cost(benchmark, layers[index].width, &each, grid.reduce, subjects).flops
            };
            let (mut shared, mut of_targets) = (0.0, 0.0_f64);
            for (index, _) in &encoding.layers {
                let alone = of(*index, usize::MAX);
                shared += of(*index, 1) - alone;
                of_targets = of_targets.max(alone);
            }
            let refits = match params.null {
                NullModel::Shift => 0.0,
                NullModel::Refit => {
                    let of = |(index, _): &(usize, Vec<NodeSpec>)| {
                        refit_flops(benchmark, layers[*index].width, params, grid.reduce)
                    };
                    shared + encoding.layers.iter().map(of).sum::<f64>()
                }
            };
            let bootstrap = 10.0 * params.n_bootstraps as f64 * benchmark.design.block_names.len() as f64;
            shared + of_targets + refits + rois * (draws_flops(benchmark, params) + bootstrap)
        }
    };
    found.extend(encoding.best.iter().map(|spec| (spec, Cost { flops: resampled + read + again, bytes })));
    // Of refits all candidates are made again, of predictions those of one time per channel.
    let share = match params.null {
        NullModel::Refit => 1.0,
        NullModel::Shift => 1.0 / benchmark.times_s.len().max(1) as f64,
    };
    let of_channels = Cost { flops: read + share * (resampled + again), bytes: share * bytes };
    found.extend(encoding.timed.iter().map(|spec| (spec, of_channels)));
    if let Some((combine, specs)) = &encoding.combined {
        let widths: Vec<usize> = encoding.layers.iter().map(|(index, _)| layers[*index].width).collect();
        let flops = combined_flops(benchmark, &widths, params, grid.reduce, *combine, specs.len());
        let bytes = bytes + 16.0 * rois * widths.len() as f64;
        found.extend(specs.iter().map(|spec| (spec, Cost { flops, bytes })));
    }
    found
}

/// Operations of all refits of one layer for one subject: what depends on targets, once per draw.
fn refit_flops(
    benchmark: &BenchmarkInput,
    width: usize,
    params: &EvaluateParams,
    reduce: LayerReduction,
) -> f64 {
    let each = without_draws(params);
    let all = layer_cost(benchmark, width, &each, reduce, 1).flops;
    // The shared part falls to all subjects alike: of many subjects hardly any is left.
    let of_targets = layer_cost(benchmark, width, &each, reduce, usize::MAX).flops;
    params.n_shifts as f64 * of_targets.min(all)
}

/// Operations of combining layers of these widths for one subject.
fn combined_flops(
    benchmark: &BenchmarkInput,
    widths: &[usize],
    params: &EvaluateParams,
    reduce: LayerReduction,
    combine: Combine,
    subjects: usize,
) -> f64 {
    let (n, rois) = (benchmark.design.n_samples() as f64, benchmark.rois.len() as f64);
    let (n_layers, folds) = (widths.len() as f64, benchmark.design.folds.len() as f64);
    let draws = rois * draws_flops(benchmark, params);
    match combine {
        Combine::Stacked => {
            // Every layer with its predictions of training rows, then the products of their errors.
            let each = without_draws(params);
            let fits: f64 =
                widths.iter().map(|w| 1.3 * layer_cost(benchmark, *w, &each, reduce, subjects).flops).sum();
            let again = match params.null {
                NullModel::Shift => 0.0,
                NullModel::Refit => {
                    let of = |w: &usize| refit_flops(benchmark, *w, params, reduce);
                    1.3 * widths.iter().map(of).sum::<f64>()
                        + params.n_shifts as f64 * folds * rois * n_layers * n_layers * n
                }
            };
            fits + again + folds * rois * n_layers * n_layers * n + draws
        }
        Combine::Banded { n_candidates } => {
            let candidates = if widths.len() > 1 { n_candidates as f64 } else { 1.0 };
            let alphas = params.encoding.alphas.values.len() as f64;
            let kernels: f64 = widths.iter().map(|w| n * n * *w as f64).sum();
            let of_draw = 6.0 * n.powi(3) + n_layers * n * n + alphas.min(9.0) * n * n * rois;
            // Moved responses stand side by side, 4,096 at a time.
            let moved = if params.null == NullModel::Refit { params.n_shifts as f64 * rois } else { 0.0 };
            let of_batch = 6.0 * n.powi(3) + n_layers * n * n;
            let again = (moved / 4096.0).ceil() * candidates * of_batch
                + moved * (candidates * alphas.min(9.0) + 2.0 * n_layers) * n * n;
            folds * (kernels + candidates * of_draw + 2.0 * n_layers * n * n * rois + again) + draws
        }
    }
}

/// Operations of null and bootstrap draws of one target, on the scale of products of doubles.
fn draws_flops(benchmark: &BenchmarkInput, params: &EvaluateParams) -> f64 {
    let n = benchmark.design.n_samples() as f64;
    let blocks = benchmark.design.block_names.len() as f64;
    // A product of a null draw takes as long as this many operations of a large product.
    let null = NULL_WEIGHT * params.n_shifts as f64 * n;
    let bootstrap = if keeps_draws(benchmark) { 10.0 * params.n_bootstraps as f64 * blocks } else { 0.0 };
    null + bootstrap
}

const NULL_WEIGHT: f64 = 2.0;
/// Copies, moments and conversions of one sample and target in one fold, on the same scale.
const SAMPLE_WEIGHT: f64 = 220.0;
/// One direction at one penalty under generalised cross-validation: a square, and its share of a product.
const GCV_WEIGHT: f64 = 4.0;
/// Products with one tile of targets, with what inner folds make of a tile, and with all penalties of a tile at
/// once: the wider, the faster. A forecast takes for granted a third of the rate of a square product.
const NARROW: f64 = 0.4;
const INNER: f64 = 0.35;
const WIDE: f64 = 0.25;
/// What blocks of rows left out take of products with all rows, per target: c, and four columns of z.
const INNER_BLOCKS: f64 = 10.0;
/// Decompositions, and Gram matrices of wide layers.
const SHARED: f64 = 0.8;
/// Products with the covariance that one direction of PLS takes.
const PLS_STEPS: f64 = 10.0;

fn cell_bytes(rois: f64, folds: f64, n: f64, params: &EvaluateParams, draws: bool) -> f64 {
    let kept = if draws { 4.0 * (n + (params.n_bootstraps + params.n_shifts) as f64) } else { 0.0 };
    let steps = if draws { 0.0 } else { 4.0 * (N_STEPS * params.n_shifts) as f64 };
    rois * (52.0 * folds + 8.0 + kept) + steps
}

/// What one layer takes for one subject, the shared work divided among them.
fn layer_cost(
    benchmark: &BenchmarkInput,
    width: usize,
    params: &EvaluateParams,
    reduce: LayerReduction,
    subjects: usize,
) -> Cost {
    let design = &benchmark.design;
    let (n, rois) = (design.n_samples() as f64, benchmark.rois.len() as f64);
    let folds = design.folds.len() as f64;
    let n_train = design.folds.iter().map(|fold| fold.train.len() as f64).sum::<f64>() / folds.max(1.0);
    let n_test = n - n_train;
    let encoding = &params.encoding;
    let alphas = encoding.alphas.values.len() as f64;
    let mut w = width as f64;
    let mut shared = 0.0;
    if let Some(directions) = n_directions(reduce, width, design.n_samples()) {
        let density = if matches!(reduce, LayerReduction::Gaussian { .. }) { 1.0 } else { 4.0 / w.sqrt() };
        shared += 2.0 * n * w * directions as f64 * density / folds;
        w = directions as f64;
    }
    let mut q = w;
    if let Some(reduction) = encoding.reduce {
        let k = w.min(n_train);
        q = (reduction.max_components as f64)
            .min(k)
            .min(n_train / reduction.samples_per_component.max(1) as f64);
        shared += n_train * w * k + (8.0 / 3.0) * k.powi(3) + 2.0 * k * k * q + 2.0 * n * w * q;
    }
    let p = q * stereotax::signal::n_columns(&benchmark.hrf) as f64;
    if let Solver::Pls { n_components } = encoding.solver {
        // Moments once per fold, then a few products with the deflated covariance per component, inner folds too.
        let k = p.min(n_train);
        let inner = match params.inner {
            InnerRule::Runs(n) | InnerRule::Units(n) | InnerRule::Blocks { n_folds: n, .. } => n as f64,
        };
        let shared = SHARED * (n * p * k + n * p) / subjects.max(1) as f64;
        let of_component = 2.0 * k * k + 4.0 * k * rois.min(k) * PLS_STEPS;
        let fits = (1.0 + inner) * (n_components as f64 * of_component + 2.0 * k * rois * k.min(rois));
        let flops =
            folds * (shared + fits + rois * SAMPLE_WEIGHT * n) + rois * draws_flops(benchmark, params);
        return Cost { flops, bytes: cell_bytes(rois, folds, n, params, keeps_draws(benchmark)) };
    }
    let (kernel, p) = match encoding.solver {
        // The space of a kernel has as many directions as rows.
        Solver::KernelRidge { .. } => (n_train * n_train * p, p.max(n_train + 1.0)),
        _ => (0.0, p),
    };
    shared += kernel;
    let s = p.min(n_train);
    let decomposition = (8.0 / 3.0 + 2.0) * s.powi(3);
    let path = alphas.min(9.0);
    shared += n_train * p * s + decomposition + 2.0 * n_test * p * s.min(n_train);
    let to_basis = if p <= n_train { 2.0 * n_train * p + 2.0 * p * s } else { 2.0 * n_train * s };
    let mut of_target = NARROW * (to_basis + 2.0 * n_test * s);
    match encoding.selection {
        Selection::Folds => {
            let inner = match params.inner {
                InnerRule::Runs(most) => most.min(design.runs.n_runs().saturating_sub(1)) as f64,
                InnerRule::Units(n_folds) | InnerRule::Blocks { n_folds, .. } => n_folds as f64,
            };
            let held = n_train / inner.max(1.0);
            if p > n_train && alphas * inner * held * held <= 5.0 * n_train * n_train {
                // From the decomposition of all training rows, by triangular products with blocks of them.
                shared += alphas * inner * held * held * (n_train + 2.0 * held);
                of_target += NARROW * (INNER_BLOCKS * n_train * s + alphas * inner * held * held);
                let of_fold =
                    SHARED * shared / subjects.max(1) as f64 + rois * (of_target + SAMPLE_WEIGHT * n);
                let flops = folds * of_fold + rois * draws_flops(benchmark, params);
                return Cost { flops, bytes: cell_bytes(rois, folds, n, params, keeps_draws(benchmark)) };
            }
            let s_inner = p.min(n_train - held);
            shared += inner * ((8.0 / 3.0 + 2.0) * s_inner.powi(3) + 2.0 * held * s_inner * s_inner);
            // Where there are fewer columns than rows, moments of a fold are those of all rows less its own.
            let to_inner = if p <= n_train { p + held } else { n_train - held };
            let scored = if s_inner < held { s_inner * s_inner } else { 2.0 * s_inner * held };
            of_target += inner * (NARROW * 2.0 * to_inner * s_inner + INNER * path * scored);
        }
        Selection::LeaveOneOut => {
            of_target += WIDE * 2.0 * n_train * s * path + 4.0 * n_train * alphas * path;
        }
        Selection::Generalised => of_target += GCV_WEIGHT * s * alphas,
    }
    let of_fold = SHARED * shared / subjects.max(1) as f64 + rois * (of_target + SAMPLE_WEIGHT * n);
    let flops = folds * of_fold + rois * draws_flops(benchmark, params);
    Cost { flops, bytes: cell_bytes(rois, folds, n, params, keeps_draws(benchmark)) }
}

/// Bytes of responses, repeats among them.
fn response_bytes(inputs: &Inputs) -> f64 {
    let of = |b: &BenchmarkInput| {
        let per = 8.0 * b.design.n_samples() as f64 * b.rois.len() as f64;
        b.subjects.iter().map(|s| per * (1 + s.repeats.len()) as f64).sum::<f64>()
    };
    inputs.benchmarks.iter().map(of).sum()
}

/// Bytes that encoding one pair takes beside the responses: at the least, and where nothing is done twice.
pub(crate) fn memory(pair: &Pair, inputs: &Inputs, grid: &Grid, options: &Options) -> [f64; 2] {
    let one = layer_memory(pair, inputs, grid, options);
    match combined_memory(pair, inputs, grid, options) {
        Some([_, least, all]) => [one[0].max(least), one[1].max(all)],
        None => one,
    }
}

/// Bytes that do not depend on features, and those of a layer at a time: at the least, and where nothing is done
/// twice.
fn layer_memory(pair: &Pair, inputs: &Inputs, grid: &Grid, options: &Options) -> [f64; 2] {
    let (Some(_), Some(params)) = (&pair.encoding, &grid.benchmarks[pair.benchmark].encode) else {
        return [0.0; 2];
    };
    let benchmark = &inputs.benchmarks[pair.benchmark];
    let width = most_columns(pair, inputs, grid.reduce);
    let features = 8.0 * benchmark.design.n_samples() as f64 * width as f64;
    let fold = fold_bytes_of(width, &benchmark.design, params) as f64;
    let (subjects, rois) = (benchmark.subjects.len() as f64, benchmark.rois.len() as f64);
    let folds = benchmark.design.folds.len() as f64;
    let fixed = features + target_memory(benchmark, params, options);
    let at_once = folds.min(threads_of(options) as f64).max(1.0);
    let target = target_bytes(&benchmark.design, params) as f64 * subjects;
    let refits = match (params.null, keeps_draws(benchmark)) {
        // Those of a layer, and the best of them.
        (NullModel::Refit, true) => 16.0 * params.n_shifts as f64 * folds * rois * subjects,
        _ => 0.0,
    };
    [
        fixed + refits + fold + target * (BLOCK as f64).min(rois),
        fixed + refits + at_once * fold + target * rois,
    ]
}

fn threads_of(options: &Options) -> usize {
    options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Tiles of targets at work, moves of null draws, and what is kept of cells.
fn target_memory(benchmark: &BenchmarkInput, params: &EvaluateParams, options: &Options) -> f64 {
    let (n, rois) = (benchmark.design.n_samples() as f64, benchmark.rois.len() as f64);
    let (subjects, folds) = (benchmark.subjects.len() as f64, benchmark.design.folds.len() as f64);
    // A tile of targets per thread: its training rows, its predictions, and its draws; where targets are fitted
    // together, all of them once.
    let tiles = threads_of(options) as f64 * BLOCK as f64;
    let fitted = if params.encoding.fits_targets_together() { tiles.max(rois) } else { tiles };
    let tile = fitted * 40.0 * n + tiles * 8.0 * params.n_shifts as f64;
    let moves = 4.0 * n * params.n_shifts as f64;
    tile + moves + subjects * cell_bytes(rois, folds, n, params, keeps_draws(benchmark)) * 2.0
}

/// Bytes of combining all layers: without folds and targets, at the least, and where nothing is done twice.
fn combined_memory(pair: &Pair, inputs: &Inputs, grid: &Grid, options: &Options) -> Option<[f64; 3]> {
    let encoding = pair.encoding.as_ref()?;
    let (combine, _) = encoding.combined.as_ref()?;
    let params = grid.benchmarks[pair.benchmark].encode.as_ref()?;
    let benchmark = &inputs.benchmarks[pair.benchmark];
    let of = |(index, _): &(usize, Vec<NodeSpec>)| {
        width_of(FeatureSource::Layer(*index), pair, inputs, grid.reduce)
    };
    let widths: Vec<usize> = encoding.layers.iter().map(of).collect();
    let n = benchmark.design.n_samples() as f64;
    let features = 8.0 * n * widths.iter().sum::<usize>() as f64;
    let threads = threads_of(options);
    let fold = combined_fold_bytes(&widths, &benchmark.design, params, *combine, threads) as f64;
    let target = combined_target_bytes(widths.len(), &benchmark.design, params, *combine) as f64
        * benchmark.subjects.len() as f64;
    let rois = benchmark.rois.len() as f64;
    let fixed = features + target_memory(benchmark, params, options);
    let block = if params.encoding.fits_targets_together() { rois } else { rois.min(BLOCK as f64) };
    Some([fixed, fixed + fold + target * block, fixed + fold + target * rois])
}

/// Bytes of the table of all layers and targets while it is written: its columns, and what they become.
pub(crate) fn table_bytes(grid: &Grid, inputs: &Inputs) -> f64 {
    let rows = |pair: &Pair| {
        let benchmark = &inputs.benchmarks[pair.benchmark];
        let subjects = benchmark.subjects.len() + usize::from(benchmark.subjects.len() > 1);
        pair.encoding.as_ref().map_or(0, |e| e.layers.len() * subjects * benchmark.rois.len())
    };
    1000.0 * grid.pairs.iter().map(rows).sum::<usize>() as f64
}

/// Bytes that predictions and decomposed folds may take.
fn budget(pair: &Pair, inputs: &Inputs, grid: &Grid, options: &Options) -> usize {
    let [least, all] = layer_memory(pair, inputs, grid, options);
    let benchmark = &inputs.benchmarks[pair.benchmark];
    let Some(params) = &grid.benchmarks[pair.benchmark].encode else { return 0 };
    let width = most_columns(pair, inputs, grid.reduce);
    let fold = fold_bytes_of(width, &benchmark.design, params) as f64;
    let fixed = least - fold;
    let room = options.max_memory as f64 - response_bytes(inputs) - 64e6 - fixed;
    // Half of it is for decomposed folds.
    room.min(2.0 * (all - fixed)).max(0.0) as usize
}

/// Bytes at least, with the responses, for the refusal of too small a budget.
pub(crate) fn least_memory(pair: &Pair, inputs: &Inputs, grid: &Grid, options: &Options) -> f64 {
    match pair.encoding {
        Some(_) => response_bytes(inputs) + 64e6 + memory(pair, inputs, grid, options)[0],
        None => 0.0,
    }
}

impl Worker<'_> {
    /// Every layer of a pair, then the choice among them.
    pub(crate) fn encode(&self, pair: &Pair) -> Result<(), StudyError> {
        let (Some(encoding), Some(params)) = (&pair.encoding, &self.grid.benchmarks[pair.benchmark].encode)
        else {
            return Ok(());
        };
        let benchmark = &self.inputs.benchmarks[pair.benchmark];
        let context = format!("model `{}` on `{}`", self.inputs.models[pair.model].model.name, benchmark.id);
        for (layer, specs) in &encoding.layers {
            let missing: Vec<usize> =
                (0..specs.len()).filter(|&s| self.store.load(&specs[s]).is_none()).collect();
            if missing.is_empty() {
                continue;
            }
            let features =
                self.layer_features(pair, *layer, params.seed).map_err(StudyError::in_context(&context))?;
            self.score(pair, &features, specs, &missing, params, kept(benchmark), &context)?;
        }
        for (subject, spec) in encoding.best.iter().enumerate() {
            let each: Vec<usize> = (0..benchmark.rois.len()).collect();
            let groups = groups_of(benchmark).into_iter().map(|(_, targets)| targets).collect();
            self.choose_layers(pair, encoding, subject, spec, &[each], groups, params, &context)?;
        }
        for (subject, spec) in encoding.timed.iter().enumerate() {
            let n_channels = channels(benchmark);
            let groups = vec![(0..n_channels).collect()];
            self.choose_layers(
                pair,
                encoding,
                subject,
                spec,
                &times_of(benchmark),
                groups,
                params,
                &context,
            )?;
        }
        if let Some((combine, specs)) = &encoding.combined {
            self.combine(pair, encoding, *combine, specs, params, &context)?;
        }
        for (sources, specs) in &encoding.joint {
            let missing: Vec<usize> =
                (0..specs.len()).filter(|&s| self.store.load(&specs[s]).is_none()).collect();
            if missing.is_empty() {
                continue;
            }
            let parts = sources
                .iter()
                .map(|source| match source {
                    FeatureSource::Layer(layer) => self.layer_features(pair, *layer, params.seed),
                    FeatureSource::Nuisance(index) => {
                        Ok(Features::from_matrix(benchmark.nuisance[*index].values.as_ref()))
                    }
                })
                .collect::<stereotax::Result<Vec<_>>>()
                .map_err(StudyError::in_context(&context))?;
            let features = Features::beside(&parts);
            drop(parts);
            let (params, keep) = (of_sets(params, benchmark), kept_of_sets(benchmark));
            self.score(pair, &features, specs, &missing, &params, keep, &context)?;
        }
        Ok(())
    }

    /// Every target chooses among the layers, and among `times`: the columns of the targets at each.
    fn choose_layers(
        &self,
        pair: &Pair,
        encoding: &PairEncoding,
        subject: usize,
        spec: &NodeSpec,
        times: &[Vec<usize>],
        groups: Vec<Vec<usize>>,
        params: &EvaluateParams,
        context: &str,
    ) -> Result<(), StudyError> {
        if self.store.load(spec).is_some() {
            return Ok(());
        }
        let benchmark = &self.inputs.benchmarks[pair.benchmark];
        let held = benchmark.design.folds.iter().map(|fold| fold.test.len());
        let n: Vec<usize> = held.filter(|n| *n > 0).collect();
        let mut choice = NestedChoice::new(n, times[0].len(), keeps_draws(benchmark));
        for (layer, specs) in &encoding.layers {
            let read = self.store.load(&specs[subject]).and_then(|payload| read_layer(&payload));
            let cell = read.ok_or_else(|| lost(&specs[subject]))?;
            let predictions = cell.draws.as_ref().map(|draws| draws.predictions.as_ref());
            for columns in times {
                let (inner, refits) = (cell.inner_scores.as_ref(), cell.refits.as_ref());
                choice.offer_columns(*layer, columns, inner, &cell.moments, predictions, refits);
            }
        }
        let y = benchmark.subjects[subject].responses.as_ref();
        let features = |layer| self.layer_features(pair, layer, params.seed);
        let room = budget(pair, self.inputs, self.grid, self.options);
        let best = choice
            .finish(y, &benchmark.design, params, &groups, &features, room, self.monitor)
            .map_err(StudyError::in_context(context))?;
        self.finish(spec, &best_payload(&best))
    }

    /// All layers as one predictor, for the subjects whose nodes are missing.
    fn combine(
        &self,
        pair: &Pair,
        encoding: &PairEncoding,
        combine: Combine,
        specs: &[NodeSpec],
        params: &EvaluateParams,
        context: &str,
    ) -> Result<(), StudyError> {
        let missing: Vec<usize> =
            (0..specs.len()).filter(|&s| self.store.load(&specs[s]).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let benchmark = &self.inputs.benchmarks[pair.benchmark];
        let layers: Vec<Features> = encoding
            .layers
            .iter()
            .map(|(index, _)| self.layer_features(pair, *index, params.seed))
            .collect::<stereotax::Result<_>>()
            .map_err(StudyError::in_context(context))?;
        let responses: Vec<MatRef<f64>> =
            missing.iter().map(|&s| benchmark.subjects[s].responses.as_ref()).collect();
        let [fixed, _, all] = combined_memory(pair, self.inputs, self.grid, self.options).unwrap_or_default();
        let room = self.options.max_memory as f64 - response_bytes(self.inputs) - 64e6 - fixed;
        let budget = room.min(all - fixed).max(0.0) as usize;
        let cells = score_combined(
            &layers,
            &responses,
            &benchmark.design,
            params,
            combine,
            kept(benchmark),
            budget,
            self.monitor,
        )
        .map_err(StudyError::in_context(context))?;
        for (cell, &subject) in cells.iter().zip(&missing) {
            self.finish(&specs[subject], &combined_payload(cell))?;
        }
        Ok(())
    }

    /// Score features for the subjects whose nodes are missing, and keep them.
    fn score(
        &self,
        pair: &Pair,
        features: &Features,
        specs: &[NodeSpec],
        missing: &[usize],
        params: &EvaluateParams,
        keep: Keep,
        context: &str,
    ) -> Result<(), StudyError> {
        let benchmark = &self.inputs.benchmarks[pair.benchmark];
        let budget = budget(pair, self.inputs, self.grid, self.options);
        let responses: Vec<MatRef<f64>> =
            missing.iter().map(|&s| benchmark.subjects[s].responses.as_ref()).collect();
        let cells =
            score_targets(features, &responses, &benchmark.design, params, keep, budget, self.monitor)
                .map_err(StudyError::in_context(context))?;
        for (cell, &subject) in cells.iter().zip(missing) {
            self.finish(&specs[subject], &layer_payload(cell))?;
        }
        Ok(())
    }

    /// One layer on the clock of the responses, on random directions where they are asked for.
    fn layer_features(&self, pair: &Pair, layer: usize, seed: u64) -> stereotax::Result<Features> {
        let layers = self.layers_on_clock(pair);
        let source: &dyn TileSource = layers.as_source();
        let width = source.layers()[layer].width;
        let n_samples = source.n_samples();
        let Some(size) = n_directions(self.grid.reduce, width, n_samples) else {
            return single_layer(source, layer);
        };
        let kind = match self.grid.reduce {
            LayerReduction::Gaussian { .. } => ProjectionKind::Gaussian,
            _ => ProjectionKind::sparse(width),
        };
        let projection = RandomProjection::new(width, size, kind, seed)?;
        projected_layer(source, layer, &projection, self.monitor)
    }

    fn layers_on_clock(&self, pair: &Pair) -> Layers<'_> {
        let input = &self.inputs.models[pair.model].activations[pair.activation];
        match input.on_clock.get(&pair.benchmark) {
            Some(on_clock) => Layers::resampled(&input.layers, on_clock),
            None => Layers::AsTheyAre(&input.layers),
        }
    }
}

pub(crate) fn lost(spec: &NodeSpec) -> StudyError {
    StudyError::Internal { what: format!("node `{}` was finished and cannot be read back", spec.label) }
}

/// The choices of a study that its plan needs at hand.
pub(crate) fn reduction(study: &Study) -> LayerReduction {
    study.file.encoding.as_ref().map_or(LayerReduction::None, |e| e.reduce)
}

fn put(payload: &mut Payload, name: &str, m: &Mat<f64>) {
    let rows: Vec<f64> = (0..m.nrows()).flat_map(|i| (0..m.ncols()).map(move |j| m[(i, j)])).collect();
    payload.put(name, &[m.nrows(), m.ncols()], &rows);
}

fn put_single(payload: &mut Payload, name: &str, m: &Mat<f32>) {
    let rows = (0..m.nrows()).flat_map(|i| (0..m.ncols()).map(move |j| m[(i, j)]));
    payload.put_single(name, &[m.nrows(), m.ncols()], rows);
}

fn put_common(
    payload: &mut Payload,
    moments: &FoldMoments,
    inner: &Mat<f64>,
    chance: &Chance,
    draws: Option<&CellDraws>,
) {
    let names = ["mean_y", "mean_p", "yy", "pp", "yp"];
    let all = [&moments.mean_y, &moments.mean_p, &moments.yy, &moments.pp, &moments.yp];
    names.iter().zip(all).for_each(|(name, m)| put(payload, name, m));
    put(payload, "inner_scores", inner);
    payload.put("p", &[chance.p_value.len()], &chance.p_value);
    payload.put_single("maxima", &[chance.maxima.len()], chance.maxima.iter().copied());
    if !chance.steps.is_empty() {
        payload.put_single("steps", &[chance.steps.len()], chance.steps.iter().copied());
    }
    if let Some(draws) = draws {
        put_single(payload, "predictions", &draws.predictions);
        put_single(payload, "bootstrap", &draws.bootstrap);
        let n_targets = moments.n_targets();
        let n_draws = draws.null.len() / n_targets.max(1);
        payload.put_single("null", &[n_draws, n_targets], draws.null.iter().copied());
    }
}

fn layer_payload(cell: &EncodingCell) -> Payload {
    let mut payload = Payload::of(json!({
        "n": cell.moments.n,
        "n_at_edges": cell.n_at_edges,
        "n_components": cell.n_components,
        "note": cell.chance.note,
    }));
    put_common(&mut payload, &cell.moments, &cell.inner_scores, &cell.chance, cell.draws.as_ref());
    let a = &cell.alphas;
    let rows = (0..a.nrows()).flat_map(|i| (0..a.ncols()).map(move |j| a[(i, j)] as f32));
    payload.put_single("alphas", &[a.nrows(), a.ncols()], rows);
    if let Some(r2) = &cell.r2_bootstrap {
        put_single(&mut payload, "r2_bootstrap", r2);
    }
    if let Some(refits) = &cell.refits {
        payload.put_single("refit_r", &[refits.r.len()], refits.r.iter().copied());
        payload.put_single("refit_inner", &[refits.r.len()], refits.inner_scores.iter().copied());
    }
    payload
}

fn combined_payload(cell: &CombinedCell) -> Payload {
    let mut payload = layer_payload(&cell.cell);
    put(&mut payload, "weights", &cell.weights);
    put(&mut payload, "shares", &cell.shares);
    payload
}

fn best_payload(cell: &BestCell) -> Payload {
    let n_groups = cell.intervals.as_ref().map_or(0, |intervals| intervals.groups.ncols());
    let mut payload =
        Payload::of(json!({"n": cell.moments.n, "note": cell.chance.note, "n_groups": n_groups}));
    put_common(&mut payload, &cell.moments, &cell.inner_scores, &cell.chance, cell.draws.as_ref());
    put(&mut payload, "chosen", &cell.chosen);
    put(&mut payload, "columns", &cell.columns);
    if let Some(intervals) = &cell.intervals {
        put(&mut payload, "interval", &intervals.targets);
        put_single(&mut payload, "group_draws", &intervals.groups);
    }
    payload
}

/// What both kinds of node hold.
pub(crate) struct Read {
    pub(crate) moments: FoldMoments,
    pub(crate) inner_scores: Mat<f64>,
    pub(crate) chance: Chance,
    pub(crate) draws: Option<CellDraws>,
    n_targets: usize,
}

/// Folds (or rows) × targets.
pub(crate) fn matrix(payload: &Payload, name: &str, n_targets: usize) -> Option<Mat<f64>> {
    let values = payload.get(name)?;
    let rows = values.len().checked_div(n_targets)?;
    Some(Mat::from_fn(rows, n_targets, |i, j| values[i * n_targets + j]))
}

fn read_common(payload: &Payload) -> Option<Read> {
    let n: Vec<usize> = serde_json::from_value(payload.facts["n"].clone()).ok()?;
    let p_value = payload.get("p")?;
    let n_targets = p_value.len();
    let of = |name: &str| matrix(payload, name, n_targets);
    let single = |name: &str| payload.get_single(name);
    let single_matrix = |name: &str| {
        let values = single(name)?;
        let rows = values.len().checked_div(n_targets)?;
        Some(Mat::from_fn(rows, n_targets, |i, j| values[i * n_targets + j]))
    };
    let draws = match (single_matrix("predictions"), single_matrix("bootstrap"), single("null")) {
        (Some(predictions), Some(bootstrap), Some(null)) => Some(CellDraws { predictions, bootstrap, null }),
        _ => None,
    };
    Some(Read {
        moments: FoldMoments {
            n,
            mean_y: of("mean_y")?,
            mean_p: of("mean_p")?,
            yy: of("yy")?,
            pp: of("pp")?,
            yp: of("yp")?,
        },
        inner_scores: of("inner_scores")?,
        chance: Chance {
            p_value,
            maxima: single("maxima")?,
            steps: single("steps").unwrap_or_default(),
            note: payload.facts["note"].as_str().map(str::to_owned),
        },
        draws,
        n_targets,
    })
}

/// An `encoding` node, read back.
pub(crate) fn read_layer(payload: &Payload) -> Option<EncodingCell> {
    let r2_bootstrap = payload.get_single("r2_bootstrap");
    let Read { moments, inner_scores, chance, draws, n_targets } = read_common(payload)?;
    Some(EncodingCell {
        alphas: matrix(payload, "alphas", n_targets)?,
        n_at_edges: serde_json::from_value(payload.facts["n_at_edges"].clone()).ok()?,
        n_components: serde_json::from_value(payload.facts["n_components"].clone()).ok()?,
        moments,
        inner_scores,
        chance,
        draws,
        r2_bootstrap: r2_bootstrap.and_then(|values| {
            let rows = values.len().checked_div(n_targets)?;
            Some(Mat::from_fn(rows, n_targets, |b, j| values[b * n_targets + j]))
        }),
        refits: match (payload.get_single("refit_r"), payload.get_single("refit_inner")) {
            (Some(r), Some(inner_scores)) => Some(Refits { r, inner_scores }),
            _ => None,
        },
    })
}

/// An `encoding_combined` node, read back.
pub(crate) fn read_combined(payload: &Payload) -> Option<CombinedCell> {
    let cell = read_layer(payload)?;
    let n_targets = cell.moments.n_targets();
    let (weights, shares) = (matrix(payload, "weights", n_targets)?, matrix(payload, "shares", n_targets)?);
    let joint = shares.col_iter().map(|column| column.iter().sum()).collect();
    Some(CombinedCell { cell, weights, shares, joint })
}

/// An `encoding_best` node, read back.
pub(crate) fn read_best(payload: &Payload) -> Option<BestCell> {
    let Read { moments, inner_scores, chance, draws, n_targets } = read_common(payload)?;
    let of = |name: &str| matrix(payload, name, n_targets);
    let intervals = of("interval").and_then(|targets| {
        let draws = payload.get_single("group_draws")?;
        let n_groups: usize = serde_json::from_value(payload.facts["n_groups"].clone()).ok()?;
        let rows = draws.len().checked_div(n_groups)?;
        Some(Intervals { targets, groups: Mat::from_fn(rows, n_groups, |b, g| draws[b * n_groups + g]) })
    });
    let (chosen, columns) = (of("chosen")?, of("columns")?);
    Some(BestCell { chosen, columns, moments, inner_scores, chance, draws, intervals })
}
