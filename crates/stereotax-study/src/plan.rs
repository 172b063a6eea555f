//! Lay out the staged plan: which nodes a study consists of, and what a run of the missing ones takes.
//!
//! Per model and benchmark: `moments` (where layers share their state) → `depth` → one `cell` per
//! representation and subject → `selected` cells (best layer, adaptive), chosen by the inner scores of the
//! other cells. Where layers are encoded: one `encoding` node per layer (or combination of feature sets) and
//! subject, then `encoding_best` and `encoding_combined`. Where layers are compared with areas: one `similarity` node per layer and subject,
//! `similarity_between` and `similarity_map` per benchmark. Per benchmark: `ceiling` and `nuisance` cells. Group statistics are not nodes: they are
//! always rerun from the cells.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use faer::Mat;
use serde_json::json;
use stereotax::data::TileSource;
use stereotax::encoding::Solver;
use stereotax::pipelines::adaptive::MAX_CANDIDATES;
use stereotax::pipelines::depth::{StateKind, state_kind};
use stereotax::pipelines::{DepthParams, EvaluateParams, InnerRule, Pieces, Representation, Trajectory};

use crate::config::{DmdClock, LayerReduction, NfasSettings};
use crate::digests::Digests;
use crate::encoding::{self, PairEncoding};
use crate::inputs::{self, BenchmarkInput, Inputs, ModelInput, OnClock};
use crate::node::{NodeSpec, digest_of_json};
use crate::similarity::{self, BenchmarkSimilarity, PairSimilarity};
use crate::store::Store;
use crate::{Options, Study, StudyError, settings};

/// Versions of the kernels: raised whenever their numbers change (golden tests guard them).
mod version {
    pub(super) const MOMENTS: u32 = 2;
    pub(super) const DEPTH: u32 = 2;
    pub(super) const CELL: u32 = 4;
    /// Cells of the adaptive mixture.
    pub(super) const ADAPTIVE: u32 = 6;
    pub(super) const NUISANCE: u32 = 3;
    pub(super) const CEILING: u32 = 1;
}

/// Fewest layers that have depth dynamics.
pub const MIN_LAYERS: usize = 4;

/// The whole study as work on its inputs.
#[derive(Debug)]
pub struct Grid {
    /// One entry per model and benchmark that share stimuli.
    pub pairs: Vec<Pair>,
    /// One entry per benchmark, in order.
    pub benchmarks: Vec<BenchmarkWork>,
    /// The depth fit's choices.
    pub depth_params: DepthParams,
    /// What layers are reduced to before they are encoded.
    pub reduce: LayerReduction,
    /// Areas of every benchmark, and what is compared between them; empty where similarity is not asked for.
    pub similarity: Vec<BenchmarkSimilarity>,
}

/// What is computed once per benchmark.
#[derive(Debug)]
pub struct BenchmarkWork {
    /// The encoding model and its draws on this benchmark.
    pub evaluate: EvaluateParams,
    /// The same for a nuisance set by itself: one band, so ridge where the model is banded.
    pub alone: EvaluateParams,
    /// The model that encodes single layers, where that is asked for.
    pub encode: Option<EvaluateParams>,
    /// The division of samples for moments.
    pub pieces: Pieces,
    /// Noise ceilings.
    pub ceiling: NodeSpec,
    /// Per nuisance set and subject.
    pub nuisance: Vec<Vec<NodeSpec>>,
}

/// One model on one benchmark.
#[derive(Debug)]
pub struct Pair {
    /// Index of the model.
    pub model: usize,
    /// Index of the benchmark.
    pub benchmark: usize,
    /// Index of the model's activations.
    pub activation: usize,
    /// The moments; only where layers are taken as they are.
    pub moments: Option<NodeSpec>,
    /// The depth fit; none for a model that is too shallow.
    pub depth: Option<NodeSpec>,
    /// Whether depth is reduced on the network's own clock.
    pub native: bool,
    /// The division of events for moments, where depth is reduced on their clock.
    pub event_pieces: Option<Pieces>,
    /// Cells that are scored directly, per representation and subject.
    pub cells: Vec<(Representation, Vec<NodeSpec>)>,
    /// Cells chosen by inner scores, per representation: its candidates and the node of each subject.
    pub selected: Vec<(Representation, Vec<Representation>, Vec<NodeSpec>)>,
    /// Every layer against every target, where that is asked for.
    pub encoding: Option<PairEncoding>,
    /// Every layer beside every area, where that is asked for.
    pub similarity: Option<PairSimilarity>,
}

impl Pair {
    /// Nothing to compute yet.
    fn bare(activation: usize) -> Self {
        Pair {
            model: 0,
            benchmark: 0,
            activation,
            moments: None,
            depth: None,
            native: false,
            event_pieces: None,
            cells: Vec::new(),
            selected: Vec::new(),
            encoding: None,
            similarity: None,
        }
    }

    /// Samples on the clock on which depth is reduced.
    pub fn n_depth_samples(&self, inputs: &Inputs) -> usize {
        match self.native {
            true => inputs.models[self.model].activations[self.activation].layers.n_samples(),
            false => inputs.benchmarks[self.benchmark].design.n_samples(),
        }
    }
}

impl Grid {
    /// Lay out the work; pure, given the inputs' digests.
    pub fn new(study: &Study, inputs: &Inputs) -> Self {
        let analysis = &study.file.analysis;
        let depth_params = settings::depth(analysis, study.file.seed);
        let benchmarks: Vec<BenchmarkWork> =
            inputs.benchmarks.iter().map(|b| benchmark_work(study, b)).collect();
        let mut areas: Vec<BenchmarkSimilarity> = match &study.file.similarity {
            Some(settings) => {
                inputs.benchmarks.iter().map(|b| similarity::plan_benchmark(settings, b)).collect()
            }
            None => Vec::new(),
        };
        let mut pairs = Vec::new();
        for (benchmark_idx, benchmark) in inputs.benchmarks.iter().enumerate() {
            let allowed = &study.file.brain[benchmark_idx].model_modalities;
            for (model_idx, model) in inputs.models.iter().enumerate() {
                if !allowed.is_empty() && !allowed.contains(&model.model.modality) {
                    continue;
                }
                let found = model.activations.iter().position(|a| a.stimuli == benchmark.stimuli);
                if let Some(activation) = found {
                    let work = &benchmarks[benchmark_idx];
                    let on_clock = model.activations[activation].on_clock.get(&benchmark_idx);
                    let mut pair = match study.file.wants_nfas {
                        true => pair(analysis, &depth_params, benchmark, work, model, activation, on_clock),
                        false => Pair::bare(activation),
                    };
                    if let (Some(settings), Some(params)) = (&study.file.encoding, &work.encode) {
                        let layers =
                            encoding::plan_pair(settings, params, benchmark, model, activation, on_clock);
                        pair.encoding = Some(layers);
                    }
                    if let Some(settings) = &study.file.similarity {
                        let areas = &areas[benchmark_idx];
                        let layers =
                            similarity::plan_pair(study, settings, benchmark, areas, model, activation);
                        pair.similarity = Some(layers);
                    }
                    pair.model = model_idx;
                    pair.benchmark = benchmark_idx;
                    pairs.push(pair);
                }
            }
        }
        if let Some(settings) = &study.file.similarity {
            for (benchmark_idx, work) in areas.iter_mut().enumerate() {
                similarity::plan_map(study, settings, inputs, benchmark_idx, &pairs, work);
            }
        }
        Grid { pairs, benchmarks, depth_params, reduce: encoding::reduction(study), similarity: areas }
    }

    /// Every node, in the order of work.
    pub fn specs(&self) -> impl Iterator<Item = &NodeSpec> {
        let benchmarks = self
            .benchmarks
            .iter()
            .flat_map(|b| std::iter::once(&b.ceiling).chain(b.nuisance.iter().flatten()));
        let pairs = self.pairs.iter().flat_map(|pair| {
            let cells = pair.cells.iter().flat_map(|(_, specs)| specs);
            let selected = pair.selected.iter().flat_map(|(_, _, specs)| specs);
            let layers = pair.encoding.iter().flat_map(PairEncoding::specs);
            let compared = pair.similarity.iter().flat_map(|s| &s.layers).flat_map(|(_, specs)| specs);
            pair.moments.iter().chain(&pair.depth).chain(cells).chain(selected).chain(layers).chain(compared)
        });
        benchmarks.chain(pairs).chain(self.similarity.iter().flat_map(similarity::specs))
    }

    /// One fit of all samples' trajectories; nothing for the stacked one, which needs moments alone.
    fn trajectory_flops(&self, n: f64, k: f64, l: f64) -> f64 {
        match self.depth_params.trajectory {
            Trajectory::Stacked => 0.0,
            // A Gram matrix and an eigenproblem of every sample.
            Trajectory::Sample => n * (2.0 * k * l * l + 300.0 * l * l * l),
            Trajectory::Pooled => {
                let least = k.min(self.depth_params.layer_map.max_width as f64);
                let joint = if k > least { n * l * k * k.min(16.0 * least) } else { 0.0 };
                3.0 * n * l * least * least + 200.0 * least.powi(3) + joint
            }
        }
    }

    /// Every node with what it is called and what it costs, in the order of work.
    fn nodes(&self, inputs: &Inputs) -> Vec<(&NodeSpec, Cost)> {
        let mut nodes: Vec<(&NodeSpec, Cost)> = Vec::new();
        for (work, benchmark) in self.benchmarks.iter().zip(&inputs.benchmarks) {
            let n = benchmark.design.n_samples() as f64;
            let rois = benchmark.rois.len() as f64;
            nodes.push((&work.ceiling, Cost { flops: 4e3 * n * rois, bytes: 8.0 * rois }));
            for (nuisance, specs) in benchmark.nuisance.iter().zip(&work.nuisance) {
                let cost = cell_cost(benchmark, nuisance.values.ncols(), work, true);
                nodes.extend(specs.iter().map(|spec| (spec, cost)));
            }
        }
        for pair in &self.pairs {
            let benchmark = &inputs.benchmarks[pair.benchmark];
            let work = &self.benchmarks[pair.benchmark];
            let layers = inputs.models[pair.model].activations[pair.activation].layers.layers();
            let width = layers.iter().map(|l| l.width).max().unwrap_or(0);
            let n = pair.n_depth_samples(inputs) as f64;
            let (k, l) = (width as f64, layers.len() as f64);
            if let Some(spec) = &pair.moments {
                let pieces = work.pieces.names.len() as f64;
                nodes.push((spec, Cost { flops: 4.0 * n * k * l * l, bytes: 8.0 * pieces * l * k }));
            }
            if let Some(spec) = &pair.depth {
                let folds = benchmark.design.folds.len() as f64;
                let fits = folds * (25.0 + self.depth_params.n_shuffles as f64) + 100.0;
                let mapping = if pair.moments.is_none() { folds * l * n * k * k.min(n) * 4.0 } else { 0.0 };
                let followed =
                    (folds + 1.0 + self.depth_params.n_shuffles as f64) * self.trajectory_flops(n, k, l);
                let flops = fits * 300.0 * l * l * l + mapping + followed;
                nodes.push((spec, Cost { flops, bytes: 1e5 }));
            }
            for (representation, specs) in &pair.cells {
                let mut cost = cell_cost(benchmark, width, work, representation.keeps_draws(layers.len()));
                if matches!(representation, Representation::StableMode | Representation::Shuffled(_)) {
                    let folds = benchmark.design.folds.len() as f64;
                    cost.flops += folds * self.trajectory_flops(n, k, l) / specs.len().max(1) as f64;
                }
                nodes.extend(specs.iter().map(|spec| (spec, cost)));
            }
            for (representation, _, specs) in &pair.selected {
                let mut cost = cell_cost(benchmark, width, work, true);
                if *representation == Representation::Adaptive {
                    let one = cell_cost(benchmark, width, work, false);
                    cost.flops += (MAX_CANDIDATES - 1) as f64 * one.flops;
                }
                nodes.extend(specs.iter().map(|spec| (spec, cost)));
            }
            nodes.extend(encoding::costs(pair, inputs, self));
        }
        nodes
    }
}

fn benchmark_work(study: &Study, benchmark: &BenchmarkInput) -> BenchmarkWork {
    let analysis = &study.file.analysis;
    let evaluate =
        settings::evaluate(analysis, study.file.seed, &benchmark.design, &benchmark.hrf, benchmark.gap);
    let mut alone = evaluate.clone();
    if let Solver::Banded { .. } = alone.encoding.solver {
        alone.encoding.solver = Solver::Ridge;
    }
    let subjects: Vec<&String> = benchmark.subjects.iter().map(|s| &s.digest).collect();
    let ceiling = NodeSpec {
        kind: "ceiling".into(),
        kernel_version: version::CEILING,
        params: json!({"kind": analysis.ceiling, "given": benchmark.given_ceilings, "seed": study.file.seed}),
        inputs: BTreeMap::from([
            ("design".into(), benchmark.digest.clone()),
            ("subjects".into(), digest_of_json(&json!(subjects))),
        ]),
        label: format!("ceiling: {}", benchmark.id),
    };
    let encode = study.file.encoding.as_ref().map(|e| {
        let (design, hrf) = (&benchmark.design, &benchmark.hrf);
        settings::encode(e, analysis, study.file.seed, design, hrf, benchmark.gap)
    });
    let wants_nuisance = analysis.controls.nuisance && study.file.wants_nfas;
    let nuisance = if wants_nuisance { benchmark.nuisance.as_slice() } else { &[] }
        .iter()
        .map(|nuisance| {
            benchmark
                .subjects
                .iter()
                .map(|subject| NodeSpec {
                    kind: "nuisance".into(),
                    kernel_version: version::NUISANCE,
                    params: json!({"evaluate": alone}),
                    inputs: BTreeMap::from([
                        ("design".into(), benchmark.digest.clone()),
                        ("features".into(), nuisance.digest.clone()),
                        ("responses".into(), subject.digest.clone()),
                    ]),
                    label: format!("nuisance: {} · {} · {}", nuisance.name, benchmark.id, subject.id),
                })
                .collect()
        })
        .collect();
    BenchmarkWork { evaluate, alone, encode, pieces: benchmark.design.pieces(), ceiling, nuisance }
}

fn pair(
    analysis: &NfasSettings,
    depth_params: &DepthParams,
    benchmark: &BenchmarkInput,
    work: &BenchmarkWork,
    model: &ModelInput,
    activation: usize,
    on_clock: Option<&OnClock>,
) -> Pair {
    let input = &model.activations[activation];
    let n_layers = input.layers.layers().len();
    let state = (n_layers >= MIN_LAYERS).then(|| state_kind(&input.layers, depth_params));
    let of = |what: &str| format!("{what}: {} · {}", model.model.name, benchmark.id);
    let mut base = BTreeMap::from([
        ("activations".to_owned(), input.digest.clone()),
        ("design".to_owned(), benchmark.digest.clone()),
    ]);
    let native = on_clock.filter(|_| analysis.clock == DmdClock::Native);
    if let Some(on_clock) = on_clock {
        let clock = json!({"events": on_clock.digest, "native": native.is_some()});
        base.insert("clock".to_owned(), digest_of_json(&clock));
    }
    let moments = (state == Some(StateKind::Shared)).then(|| NodeSpec {
        kind: "moments".into(),
        kernel_version: version::MOMENTS,
        params: json!({"scaling": depth_params.scaling}),
        inputs: base.clone(),
        label: of("moments"),
    });
    let depth = state.map(|_| {
        let mut inputs = base.clone();
        if let Some(moments) = &moments {
            inputs = BTreeMap::from([
                ("design".to_owned(), benchmark.digest.clone()),
                ("moments".to_owned(), moments.key()),
            ]);
        }
        NodeSpec {
            kind: "depth".into(),
            kernel_version: version::DEPTH,
            params: json!(depth_params),
            inputs,
            label: of("depth"),
        }
    });
    let cell = |representation: &Representation, extra: Option<String>| -> Vec<NodeSpec> {
        benchmark
            .subjects
            .iter()
            .map(|subject| {
                let mut inputs = base.clone();
                inputs.insert("responses".into(), subject.digest.clone());
                if let Solver::Banded { .. } = work.evaluate.encoding.solver {
                    let bands: Vec<&String> = benchmark.nuisance.iter().map(|n| &n.digest).collect();
                    inputs.insert("nuisance".into(), digest_of_json(&json!(bands)));
                }
                if let Some(depth) =
                    depth.as_ref().filter(|_| !matches!(representation, Representation::Layer(_)))
                {
                    inputs.insert("depth".into(), depth.key());
                }
                if let Some(extra) = &extra {
                    inputs.insert("candidates".into(), extra.clone());
                }
                let layer = match representation {
                    Representation::Layer(layer) => Some(*layer),
                    _ => None,
                };
                let name = layer
                    .map_or_else(|| representation.name(), |layer| input.layers.layers()[layer].name.clone());
                NodeSpec {
                    kind: "cell".into(),
                    kernel_version: if *representation == Representation::Adaptive {
                        version::ADAPTIVE
                    } else {
                        version::CELL
                    },
                    params: json!({
                        "representation": representation.name(), "layer": layer, "evaluate": work.evaluate,
                        "draws": representation.keeps_draws(n_layers),
                    }),
                    inputs,
                    label: format!("cell: {} · {name} · {} · {}", model.model.name, benchmark.id, subject.id),
                }
            })
            .collect()
    };
    let controls = &analysis.controls;
    let mut wanted = Vec::new();
    if depth.is_some() {
        wanted.push(Representation::StableMode);
        wanted.push(Representation::Pod);
    }
    let equal = input.layers.layers().iter().all(|l| l.width == input.layers.layers()[0].width);
    // Layers of unequal width have a mean only in a common state.
    if (controls.layer_mean || controls.adaptive) && (depth.is_some() || equal) {
        wanted.push(Representation::LayerMean);
    }
    if depth.is_some() {
        wanted.extend((0..depth_params.n_shuffles).map(Representation::Shuffled));
        if depth_params.multiverse && state == Some(StateKind::Shared) {
            wanted.extend((0..stereotax::pipelines::depth::N_ALTERNATIVES).map(Representation::Alternative));
        }
    }
    if controls.best_layer || controls.adaptive {
        wanted.extend((0..n_layers).map(Representation::Layer));
    } else if controls.first_last {
        wanted.extend([0, n_layers - 1].map(Representation::Layer));
    }
    let cells: Vec<(Representation, Vec<NodeSpec>)> =
        wanted.into_iter().map(|r| (r.clone(), cell(&r, None))).collect();
    let mut selected = Vec::new();
    let choose = |representation: Representation, among: &dyn Fn(&Representation) -> bool| {
        let (candidates, keys): (Vec<Representation>, Vec<Vec<String>>) = cells
            .iter()
            .filter(|(r, _)| among(r))
            .map(|(r, specs)| (r.clone(), specs.iter().map(NodeSpec::key).collect()))
            .unzip();
        let nodes = cell(&representation, Some(digest_of_json(&json!(keys))));
        (representation, candidates, nodes)
    };
    if controls.best_layer {
        selected.push(choose(Representation::BestLayer, &|r| matches!(r, Representation::Layer(_))));
    }
    if controls.adaptive {
        selected.push(choose(Representation::Adaptive, &|r| {
            matches!(
                r,
                Representation::Layer(_)
                    | Representation::StableMode
                    | Representation::LayerMean
                    | Representation::Pod
            )
        }));
    }
    let event_pieces = native.map(|on_clock| on_clock.design.pieces());
    let native = native.is_some();
    Pair { moments, depth, native, event_pieces, cells, selected, ..Pair::bare(activation) }
}

/// What a node takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    pub(crate) flops: f64,
    pub(crate) bytes: f64,
}

/// Floating-point operations of a symmetric eigendecomposition per cubed size: 4/3 to tridiagonal form and
/// 4/3 for its vectors.
const EIGEN: f64 = 8.0 / 3.0;
/// Those of turning its vectors back, per squared size and vector.
const TURN_BACK: f64 = 2.0;
/// Directions that the penalties of a usual grid have in common.
const PATH: f64 = 9.0;

/// Operations of one cell: what its products and decompositions cannot do without.
fn cell_cost(benchmark: &BenchmarkInput, width: usize, work: &BenchmarkWork, draws: bool) -> Cost {
    let design = &benchmark.design;
    let (n, rois) = (design.n_samples() as f64, benchmark.rois.len() as f64);
    let folds = design.folds.len() as f64;
    let subjects = benchmark.subjects.len().max(1) as f64;
    let n_train = design.folds.iter().map(|fold| fold.train.len() as f64).sum::<f64>() / folds.max(1.0);
    let encoding = &work.evaluate.encoding;
    let alphas = encoding.alphas.values.len() as f64;
    let inner = match work.evaluate.inner {
        _ if encoding.alphas.values.len() == 1 => 0.0,
        InnerRule::Runs(most) => most.min(design.runs.n_runs().saturating_sub(1)) as f64,
        InnerRule::Units(n_folds) | InnerRule::Blocks { n_folds, .. } => n_folds as f64,
    };
    // Components of the features (units × units, or samples × samples), then of delayed components.
    let (w, k) = (width as f64, (width as f64).min(n_train));
    let q = encoding
        .reduce
        .map_or(w, |r| (r.max_components as f64).min(k).min(n_train / r.samples_per_component.max(1) as f64));
    let components = encoding
        .reduce
        .map_or(0.0, |_| n_train * w * k + EIGEN * k.powi(3) + TURN_BACK * k * k * q + 2.0 * n * w * q);
    let p = q * stereotax::signal::n_columns(&benchmark.hrf) as f64;
    let s = p.min(n_train);
    let left_out = n_train / inner.max(1.0);
    let decompositions = (inner + 1.0) * (EIGEN + TURN_BACK) * s.powi(3)
        + 2.0 * n_train * p * s
        + 2.0 * n * s * s
        + if s < left_out { n_train * s * s } else { 0.0 };
    let targets = rois
        * (4.0 * n_train * p
            + 2.0 * (inner + 1.0) * p * s
            + inner * alphas.min(PATH) * if s < left_out { s * s } else { 2.0 * s * left_out }
            + 2.0 * (n - n_train) * s);
    // Every candidate for the weights of bands is a fit of its own.
    let n_fits = match encoding.solver {
        Solver::Banded { n_candidates, .. } => n_candidates as f64,
        _ => 1.0,
    };
    let shared = components + decompositions;
    let of_subject = n_fits * targets + (n_fits - 1.0) * decompositions;
    let (b, shifts) = (work.evaluate.n_bootstraps as f64, work.evaluate.n_shifts as f64);
    let (blocks, n_runs) = (design.block_names.len() as f64, design.runs.n_runs().max(1) as f64);
    let resampling = if draws { rois * (10.0 * b * blocks + 2.0 * shifts.min(n / n_runs) * n) } else { 0.0 };
    let bytes = if draws { 4.0 * rois * (n + b + shifts) } else { 24.0 * rois * folds };
    Cost { flops: folds * (shared / subjects + of_subject) + resampling, bytes }
}

/// What a run would do.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Plan {
    /// Every node, in the order of work.
    pub nodes: Vec<PlannedNode>,
    /// What the missing ones take.
    pub forecast: Forecast,
}

/// One node of a plan.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PlannedNode {
    /// Its key.
    pub key: String,
    /// Its kernel.
    pub kind: String,
    /// What a person calls it.
    pub label: String,
    /// Whether it is finished.
    pub done: bool,
    /// Seconds it would take on this machine, by its flops.
    pub seconds: f64,
}

/// What a run would take.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Forecast {
    /// Seconds, from the flops of missing nodes and the rate of products measured now.
    pub seconds: f64,
    /// Peak memory in bytes.
    pub memory_bytes: u64,
    /// Bytes that the missing nodes will take on disk.
    pub disk_bytes: u64,
    /// Floating-point operations of the missing nodes.
    pub flops: f64,
}

/// Say what a run of `study` into `out` would compute; nothing is computed or written.
pub fn plan(study: &Study, out: &Path, options: &Options) -> Result<Plan, StudyError> {
    let mut digests = Digests::open(out, options.recheck);
    let inputs = inputs::load(study, &mut digests)?;
    let grid = Grid::new(study, &inputs);
    let store = Store::at(out);
    let threads =
        options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    // Small decompositions and copies run below the rate of large products.
    let rate = 0.35 * product_rate() * threads as f64;
    let mut forecast = Forecast {
        seconds: 0.0,
        memory_bytes: memory(study, &grid, &inputs, options),
        disk_bytes: 0,
        flops: 0.0,
    };
    let mut nodes = Vec::new();
    // Models that share their inputs share nodes.
    let mut counted = BTreeSet::new();
    let all = grid.nodes(&inputs).into_iter().chain(similarity::costs(study, &inputs, &grid));
    for (spec, cost) in all {
        let done = store.holds(spec);
        let seconds = cost.flops / rate + 2e-3;
        if !done && counted.insert(spec.key()) {
            forecast.seconds += seconds;
            forecast.disk_bytes += cost.bytes as u64 + 2048;
            forecast.flops += cost.flops;
        }
        nodes.push(PlannedNode {
            key: spec.key(),
            kind: spec.kind.clone(),
            label: spec.label.clone(),
            done,
            seconds,
        });
    }
    Ok(Plan { nodes, forecast })
}

/// Peak memory: the responses, and one model's working set.
pub fn memory(study: &Study, grid: &Grid, inputs: &Inputs, options: &Options) -> u64 {
    let responses: f64 = inputs
        .benchmarks
        .iter()
        .map(|b| {
            let per = 8.0 * b.design.n_samples() as f64 * b.rois.len() as f64;
            b.subjects.iter().map(|s| per * (1 + s.repeats.len()) as f64).sum::<f64>()
        })
        .sum();
    let threads =
        options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let working = grid
        .pairs
        .iter()
        .map(|pair| {
            let [least, all] = encoding::memory(pair, inputs, grid, options);
            let encoding = least.max(all.min(options.max_memory as f64 - responses));
            if pair.cells.is_empty() {
                return encoding;
            }
            let need = pair_memory(pair, inputs, grid, threads);
            let nfas =
                need.fixed + need.per_representation.max((options.max_memory as f64 * 0.5).min(need.all));
            nfas.max(encoding)
        })
        .fold(0.0, f64::max);
    let compared = (0..inputs.benchmarks.len())
        .map(|b| similarity::memory(b, inputs, grid, study, options))
        .fold(similarity::table_bytes(grid, study), f64::max);
    (responses + working.max(encoding::table_bytes(grid, inputs)).max(compared) + 64e6) as u64
}

/// Bytes that scoring one pair takes.
#[derive(Debug, Clone, Copy)]
pub struct PairMemory {
    /// Whatever the batch: moments, tiles and the threads' own matrices.
    pub fixed: f64,
    /// One representation in all folds, or what the adaptive one mixes in one fold.
    pub per_representation: f64,
    /// All representations at once.
    pub all: f64,
}

/// Bytes that scoring one pair takes, by its sizes.
pub fn pair_memory(pair: &Pair, inputs: &Inputs, grid: &Grid, threads: usize) -> PairMemory {
    let benchmark = &inputs.benchmarks[pair.benchmark];
    let layers = inputs.models[pair.model].activations[pair.activation].layers.layers();
    let (n, l) = (pair.n_depth_samples(inputs) as f64, layers.len() as f64);
    let k = layers.iter().map(|layer| layer.width).max().unwrap_or(0) as f64;
    let folds = benchmark.design.folds.len() as f64;
    let small = k.min(n);
    // States in memory: those of mapped layers, and of one operator for all samples.
    let held = 8.0 * n * k.min(grid.depth_params.layer_map.max_width as f64) * l;
    let mut moments = if pair.moments.is_some() { 8.0 * 64.0 * l * k } else { held };
    if grid.depth_params.trajectory == Trajectory::Pooled && pair.depth.is_some() {
        moments = moments.max(held);
    }
    // Per thread: the training rows, their Gram matrix with what its decomposition takes, components and delays.
    let thread = 8.0 * (n * k + 6.0 * small * small + 6.0 * n * 256.0) + 16e6;
    let rois = benchmark.rois.len() as f64;
    let mut per_representation = 8.0 * n * (folds * k + 2.0 * rois);
    if pair.selected.iter().any(|(r, _, _)| *r == Representation::Adaptive) {
        // One fold's candidates: features, inner and held-out predictions.
        per_representation = per_representation.max(8.0 * n * MAX_CANDIDATES as f64 * (k + 2.0 * rois));
    }
    PairMemory {
        fixed: 2.0 * moments + threads as f64 * thread,
        per_representation,
        all: per_representation * (pair.cells.len().max(1)) as f64,
    }
}

/// Floating-point operations per second of a product on one thread: the fastest of some rounds, since others may
/// have been interrupted.
fn product_rate() -> f64 {
    let a = Mat::<f64>::from_fn(384, 384, |i, j| (i * 7 + j * 3) as f64 % 11.0);
    let round = || {
        let begin = Instant::now();
        std::hint::black_box(stereotax::linalg::product(a.as_ref(), a.as_ref()));
        begin.elapsed().as_secs_f64()
    };
    let fastest = (0..12).map(|_| round()).fold(f64::INFINITY, f64::min);
    2.0 * 384f64.powi(3) / fastest
}
