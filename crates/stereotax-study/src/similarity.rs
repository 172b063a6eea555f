//! Compare layers with brain areas: which nodes that takes, how they are computed, what they cost.
//!
//! Per model and benchmark: one `similarity` node per layer and subject, all areas and measures together; subjects share
//! the work on a layer. Per benchmark: `similarity_between` (the same area in different subjects) and `similarity_map`
//! (distances of all layers and areas, and their drawing). Every area is reduced once per run, every layer once.

use std::collections::BTreeMap;

use faer::Mat;
use serde_json::json;
use stereotax::data::{Monitor, Precision, TileSource};
use stereotax::similarity::{
    Blocks, Factors, Interval, Measure, PairDraws, Reduction, Representation, between_subjects,
    compare_with_all, measure, pairwise_factors,
};
use stereotax::stats::distance::Distances;
use stereotax::stats::stress::{StressParams, stress_mds};

use crate::config::SimilaritySettings;
use crate::encoding::lost;
use crate::inputs::{BenchmarkInput, Inputs, ModelInput, SubjectInput};
use crate::node::{NodeSpec, digest_of_json};
use crate::plan::{Cost, Grid, Pair};
use crate::run::Worker;
use crate::store::Payload;
use crate::{Options, Study, StudyError};

/// Versions of the kernels: raised whenever their numbers change.
mod version {
    pub(super) const LAYER: u32 = 1;
    pub(super) const BETWEEN: u32 = 1;
    pub(super) const MAP: u32 = 1;
}

/// Leading directions by which layers and areas are compared for the map.
const MAP_RANK: usize = 128;
/// Fewest objects that a map is drawn of.
const LEAST_ON_MAP: usize = 3;

/// The similarity nodes of one model on one benchmark.
#[derive(Debug)]
pub struct PairSimilarity {
    /// Layers by position, with the node of each subject.
    pub layers: Vec<(usize, Vec<NodeSpec>)>,
}

/// What is computed once per benchmark.
#[derive(Debug)]
pub struct BenchmarkSimilarity {
    /// Names of the areas.
    pub areas: Vec<String>,
    /// Per subject and area: columns of its responses (or of its voxels); empty where none is usable.
    pub columns: Vec<Vec<Vec<usize>>>,
    /// The same area in different subjects; none with a single one.
    pub between: Option<NodeSpec>,
    /// Distances of all layers and areas, where a map is asked for.
    pub map: Option<NodeSpec>,
    /// What is drawn, in the order of the map's objects.
    pub objects: Vec<MapObject>,
}

/// One point of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapObject {
    /// A layer by position, of a pair by its number in the plan.
    Layer(usize, usize),
    /// An area of a subject, by position.
    Area(usize, usize),
}

/// The measures of a study; the words were checked when it was read.
pub(crate) fn measures(settings: &SimilaritySettings) -> Vec<&'static Measure> {
    settings.measures.iter().filter_map(|id| measure(id).ok()).collect()
}

/// Names of the areas, and of every subject their columns: one area per label of voxels, else one per network of the
/// ROI table, else one of all columns.
pub(crate) fn areas_of(benchmark: &BenchmarkInput) -> (Vec<String>, Vec<Vec<Vec<usize>>>) {
    if benchmark.subjects.iter().any(|s| s.voxels.is_some()) {
        let names: Vec<String> = benchmark.rois.iter().map(|roi| roi.roi.clone()).collect();
        let of = |subject: &SubjectInput| {
            let mut columns = vec![Vec::new(); names.len()];
            let voxels = subject.voxels.iter().flat_map(|v| v.roi_of.iter().enumerate());
            voxels.for_each(|(column, &roi)| columns[roi].push(column));
            columns
        };
        return (names.clone(), benchmark.subjects.iter().map(of).collect());
    }
    let mut networks: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (j, roi) in benchmark.rois.iter().enumerate() {
        if let Some(network) = &roi.network {
            networks.entry(network).or_default().push(j);
        }
    }
    if networks.is_empty() {
        networks.insert("(all)", (0..benchmark.rois.len()).collect());
    }
    let usable = |subject: &SubjectInput| {
        let of = |columns: &Vec<usize>| {
            columns.iter().copied().filter(|j| !subject.not_finite.contains(j)).collect::<Vec<_>>()
        };
        networks.values().map(of).collect::<Vec<_>>()
    };
    let names = networks.keys().map(|name| (*name).to_owned()).collect();
    (names, benchmark.subjects.iter().map(usable).collect())
}

/// Ids of the blocks that stimuli move in, one per stimulus.
fn block_ids(benchmark: &BenchmarkInput) -> Vec<String> {
    let design = &benchmark.design;
    design.blocks.iter().map(|&block| design.block_names[block].clone()).collect()
}

/// The draws of a benchmark.
pub(crate) fn blocks_of(
    settings: &SimilaritySettings,
    benchmark: &BenchmarkInput,
    seed: u64,
) -> stereotax::Result<Blocks> {
    let ids = block_ids(benchmark);
    Blocks::new(ids.len(), Some(&ids), seed, settings.bootstraps, settings.permutations)
}

/// Lay out the nodes of one model on one benchmark.
pub(crate) fn plan_pair(
    study: &Study,
    settings: &SimilaritySettings,
    benchmark: &BenchmarkInput,
    areas: &BenchmarkSimilarity,
    model: &ModelInput,
    activation: usize,
) -> PairSimilarity {
    let input = &model.activations[activation];
    let wanted = |name: &String| settings.layers.as_ref().is_none_or(|names| names.contains(name));
    let layers = input.layers.layers().iter().enumerate().filter(|(_, layer)| wanted(&layer.name));
    let layers = layers
        .map(|(index, layer)| {
            let nodes = benchmark
                .subjects
                .iter()
                .zip(&areas.columns)
                .map(|(subject, columns)| NodeSpec {
                    kind: "similarity".into(),
                    kernel_version: version::LAYER,
                    params: json!({
                        "layer": index, "measures": settings.measures, "seed": study.file.seed,
                        "bootstraps": settings.bootstraps, "permutations": settings.permutations,
                    }),
                    inputs: BTreeMap::from([
                        ("activations".to_owned(), input.digest.clone()),
                        ("design".to_owned(), benchmark.digest.clone()),
                        ("responses".to_owned(), subject.digest.clone()),
                        ("areas".to_owned(), digest_of_areas(subject, columns)),
                    ]),
                    label: format!(
                        "similarity: {} · {} · {} · {}",
                        model.model.name, layer.name, benchmark.id, subject.id
                    ),
                })
                .collect();
            (index, nodes)
        })
        .collect();
    PairSimilarity { layers }
}

/// Which columns make up the areas of a subject, and whether they are voxels.
fn digest_of_areas(subject: &SubjectInput, columns: &[Vec<usize>]) -> String {
    digest_of_json(&json!({"voxels": subject.voxels.is_some(), "columns": columns}))
}

/// Lay out the areas of a benchmark, and how they are compared between subjects.
pub(crate) fn plan_benchmark(
    settings: &SimilaritySettings,
    benchmark: &BenchmarkInput,
) -> BenchmarkSimilarity {
    let (areas, columns) = areas_of(benchmark);
    let between = (benchmark.subjects.len() > 1).then(|| NodeSpec {
        kind: "similarity_between".into(),
        kernel_version: version::BETWEEN,
        params: json!({"measures": settings.measures}),
        inputs: inputs_of_areas(benchmark, &columns),
        label: format!("similarity between subjects: {}", benchmark.id),
    });
    BenchmarkSimilarity { areas, columns, between, map: None, objects: Vec::new() }
}

fn inputs_of_areas(benchmark: &BenchmarkInput, columns: &[Vec<Vec<usize>>]) -> BTreeMap<String, String> {
    let areas: Vec<String> =
        benchmark.subjects.iter().zip(columns).map(|(s, columns)| digest_of_areas(s, columns)).collect();
    let subjects: Vec<&String> = benchmark.subjects.iter().map(|s| &s.digest).collect();
    BTreeMap::from([
        ("design".to_owned(), benchmark.digest.clone()),
        ("responses".to_owned(), digest_of_json(&json!(subjects))),
        ("areas".to_owned(), digest_of_json(&json!(areas))),
    ])
}

/// Lay out the map of a benchmark, whose pairs are known by now.
pub(crate) fn plan_map(
    study: &Study,
    settings: &SimilaritySettings,
    inputs: &Inputs,
    benchmark: usize,
    pairs: &[Pair],
    work: &mut BenchmarkSimilarity,
) {
    let mut activations: Vec<(&String, Vec<usize>)> = Vec::new();
    for (at, pair) in pairs.iter().enumerate().filter(|(_, pair)| pair.benchmark == benchmark) {
        let Some(similarity) = &pair.similarity else { continue };
        let layers: Vec<usize> = similarity.layers.iter().map(|(index, _)| *index).collect();
        work.objects.extend(layers.iter().map(|&layer| MapObject::Layer(at, layer)));
        activations.push((&inputs.models[pair.model].activations[pair.activation].digest, layers));
    }
    for (subject, columns) in work.columns.iter().enumerate() {
        let defined = (0..columns.len()).filter(|&area| !columns[area].is_empty());
        work.objects.extend(defined.map(|area| MapObject::Area(subject, area)));
    }
    let Some(distance) = settings.map.as_ref().filter(|_| work.objects.len() >= LEAST_ON_MAP) else {
        work.objects.clear();
        return;
    };
    let benchmark = &inputs.benchmarks[benchmark];
    let mut inputs = inputs_of_areas(benchmark, &work.columns);
    inputs.insert("activations".to_owned(), digest_of_json(&json!(activations)));
    work.map = Some(NodeSpec {
        kind: "similarity_map".into(),
        kernel_version: version::MAP,
        params: json!({"distance": distance, "rank": MAP_RANK, "seed": study.file.seed}),
        inputs,
        label: format!("similarity map: {}", benchmark.id),
    });
}

/// Every similarity node of a benchmark but those of its pairs.
pub(crate) fn specs(work: &BenchmarkSimilarity) -> impl Iterator<Item = &NodeSpec> {
    work.between.iter().chain(&work.map)
}

/// Weights of parts of the work, on the scale of large products: reordering and summing a Gram, ranks of one pair of
/// stimuli, values of a small decomposition.
const GRAM_WEIGHT: f64 = 12.0;
const RANK_WEIGHT: f64 = 60.0;
const VALUES_WEIGHT: f64 = 8.0;
const SVD_WEIGHT: f64 = 30.0;
const TRIANGLE_WEIGHT: f64 = 40.0;

/// Operations of one measure on one pair of n stimuli and ranks (or units) p and q, everything reduced.
fn measure_flops(measure: &Measure, n: f64, p: f64, q: f64) -> f64 {
    match measure.reduction {
        Reduction::Gram if p < n && q < n => 2.0 * n * (p * q + p * p + q * q),
        Reduction::Gram => GRAM_WEIGHT * n * n,
        Reduction::Distances => RANK_WEIGHT * 0.5 * n * n,
        Reduction::Factors => {
            let (least, most) = (p.min(q).min(n), p.max(q).min(n));
            2.0 * n * least * most + VALUES_WEIGHT * least * least * most
        }
        Reduction::Units => 2.0 * n * p * q + 5.0 * p.max(q).powi(3),
        Reduction::Triangles => TRIANGLE_WEIGHT * n.powi(3),
    }
}

/// Singular vectors of n stimuli × p units.
fn svd_flops(n: f64, p: f64) -> f64 {
    let (least, most) = (n.min(p), n.max(p));
    4.0 * least * least * most + SVD_WEIGHT * least.powi(3)
}

/// What one layer takes for one subject, the work on the layer divided among them.
fn layer_cost(
    benchmark: &BenchmarkInput,
    columns: &[Vec<usize>],
    width: usize,
    settings: &SimilaritySettings,
) -> Cost {
    let chosen = measures(settings);
    let (n, p) = (benchmark.design.n_samples() as f64, width as f64);
    let (null, draws) = (settings.permutations as f64, settings.bootstraps as f64);
    let subjects = benchmark.subjects.len().max(1) as f64;
    let left_out = chosen.iter().any(|m| m.interval == Interval::Jackknife);
    let subset = if left_out { draws } else { 0.0 };
    let compact = p.min(n);
    let mut flops = (n * n * p + svd_flops(n, p) + subset * svd_flops(n, compact)) / subjects;
    flops += null * GRAM_WEIGHT * n * compact / subjects;
    for area in columns.iter().filter(|area| !area.is_empty()) {
        let q = area.len() as f64;
        flops += subset * svd_flops(n, q.min(n));
        flops += (1.0 + null + draws) * chosen.iter().map(|m| measure_flops(m, n, p, q)).sum::<f64>();
    }
    let cells = (columns.len() * chosen.len()) as f64;
    Cost { flops, bytes: cells * (8.0 + 4.0 * (null + draws)) }
}

/// Every similarity node with what it costs.
pub(crate) fn costs<'a>(study: &Study, inputs: &Inputs, grid: &'a Grid) -> Vec<(&'a NodeSpec, Cost)> {
    let Some(settings) = &study.file.similarity else { return Vec::new() };
    let mut found = Vec::new();
    for pair in &grid.pairs {
        let Some(similarity) = &pair.similarity else { continue };
        let benchmark = &inputs.benchmarks[pair.benchmark];
        let layers = inputs.models[pair.model].activations[pair.activation].layers.layers();
        for (index, specs) in &similarity.layers {
            for (spec, columns) in specs.iter().zip(&grid.similarity[pair.benchmark].columns) {
                found.push((spec, layer_cost(benchmark, columns, layers[*index].width, settings)));
            }
        }
    }
    for (benchmark, work) in inputs.benchmarks.iter().zip(&grid.similarity) {
        let n = benchmark.design.n_samples() as f64;
        let chosen = measures(settings);
        if let Some(spec) = &work.between {
            let of = |area: usize| -> f64 {
                let sizes: Vec<f64> = work.columns.iter().map(|c| c[area].len() as f64).collect();
                let of_pair = |p: f64, q: f64| chosen.iter().map(|m| measure_flops(m, n, p, q)).sum::<f64>();
                sizes.iter().map(|&p| sizes.iter().map(|&q| of_pair(p, q)).sum::<f64>()).sum()
            };
            let flops = (0..work.areas.len()).map(of).sum();
            found.push((
                spec,
                Cost { flops, bytes: 8.0 * (work.columns.len() * work.areas.len() * chosen.len()) as f64 },
            ));
        }
        if let Some(spec) = &work.map {
            let (m, r) = (work.objects.len() as f64, (MAP_RANK as f64).min(n));
            let reduce: f64 = work
                .objects
                .iter()
                .map(|o| width_of(*o, inputs, grid, work) as f64)
                .map(|p| svd_flops(n, p))
                .sum();
            let flops = reduce + 0.5 * m * m * (2.0 * n * r * r + VALUES_WEIGHT * r.powi(3)) + 5e4 * m * m;
            found.push((spec, Cost { flops, bytes: 8.0 * m * (m + 4.0) }));
        }
    }
    found
}

/// Columns of an object of a map.
fn width_of(object: MapObject, inputs: &Inputs, grid: &Grid, work: &BenchmarkSimilarity) -> usize {
    match object {
        MapObject::Area(subject, area) => work.columns[subject][area].len(),
        MapObject::Layer(pair, layer) => {
            let pair = &grid.pairs[pair];
            inputs.models[pair.model].activations[pair.activation].layers.layers()[layer].width
        }
    }
}

/// Bytes of one representation with its reductions: values, a copy, and a few matrices of stimuli.
fn representation_bytes(n: usize, p: usize) -> f64 {
    8.0 * (n * (2 * p + 3 * p.min(n) + 2 * n)) as f64
}

/// Bytes that the similarity of a benchmark takes beside the responses.
pub(crate) fn memory(
    benchmark: usize,
    inputs: &Inputs,
    grid: &Grid,
    study: &Study,
    options: &Options,
) -> f64 {
    let (Some(settings), Some(work)) = (&study.file.similarity, grid.similarity.get(benchmark)) else {
        return 0.0;
    };
    let threads =
        options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let n = inputs.benchmarks[benchmark].design.n_samples();
    let areas: Vec<usize> = work.columns.iter().flatten().map(Vec::len).collect();
    let voxels: f64 = inputs.benchmarks[benchmark]
        .subjects
        .iter()
        .filter_map(|s| s.voxels.as_ref())
        .map(|v| 8.0 * (v.responses.nrows() * v.responses.ncols()) as f64)
        .sum();
    let widest = grid
        .pairs
        .iter()
        .filter(|pair| pair.benchmark == benchmark)
        .flat_map(|pair| inputs.models[pair.model].activations[pair.activation].layers.layers())
        .map(|layer| layer.width)
        .max()
        .unwrap_or(0);
    let held: f64 = areas.iter().map(|&p| representation_bytes(n, p)).sum();
    let largest = areas.iter().copied().max().unwrap_or(0);
    let per_thread = representation_bytes(n, widest.min(n)) + representation_bytes(n, largest.min(n));
    let cells = (areas.len() * settings.measures.len()) as f64;
    let draws = 16.0 * cells * (settings.permutations + settings.bootstraps) as f64;
    let map = if work.map.is_some() {
        8.0 * (work.objects.len() * (n * MAP_RANK.min(n) + work.objects.len())) as f64
    } else {
        0.0
    };
    voxels + held + representation_bytes(n, widest) + threads as f64 * per_thread + draws + map
}

/// Bytes of all draws of one subject while its tables are made.
pub(crate) fn table_bytes(grid: &Grid, study: &Study) -> f64 {
    let Some(settings) = &study.file.similarity else { return 0.0 };
    let layers = |b: usize| {
        let pairs = grid.pairs.iter().filter(|pair| pair.benchmark == b);
        pairs.filter_map(|pair| pair.similarity.as_ref()).map(|s| s.layers.len()).sum::<usize>()
    };
    let of = |(b, work): (usize, &BenchmarkSimilarity)| {
        (layers(b) * work.areas.len() * settings.measures.len() * (work.columns.len() + 2)) as f64
    };
    let cells = grid.similarity.iter().enumerate().map(of).fold(0.0, f64::max);
    cells * (1000.0 + 8.0 * (settings.permutations + settings.bootstraps) as f64)
}

/// The areas of a benchmark, ready to be compared: per subject and area.
type Areas = Vec<Vec<Option<Representation<'static>>>>;

fn areas(benchmark: &BenchmarkInput, work: &BenchmarkSimilarity) -> stereotax::Result<Areas> {
    let of = |subject: &SubjectInput, name: &str, columns: &[usize]| {
        if columns.is_empty() {
            return Ok(None);
        }
        let values = subject.voxels.as_ref().map_or(&subject.responses, |v| &v.responses);
        let values = Mat::from_fn(values.nrows(), columns.len(), |i, j| values[(i, columns[j])]);
        let name = format!("area `{name}` of `{}`", subject.id);
        Representation::owned(&name, values, Precision::F64).map(Some)
    };
    benchmark
        .subjects
        .iter()
        .zip(&work.columns)
        .map(|(subject, columns)| {
            work.areas.iter().zip(columns).map(|(name, columns)| of(subject, name, columns)).collect()
        })
        .collect()
}

fn layer(source: &dyn TileSource, layer: usize) -> stereotax::Result<Representation<'static>> {
    let info = &source.layers()[layer];
    let (n, width) = (source.n_samples(), info.width);
    let mut values = Mat::zeros(n, width);
    let rows = ((1 << 18) / width.max(1)).max(1);
    let mut tile = vec![0.0; rows * width];
    for from in (0..n).step_by(rows) {
        let to = n.min(from + rows);
        let tile = &mut tile[..(to - from) * width];
        source.read_rows(layer, from..to, tile)?;
        for (at, value) in tile.iter().enumerate() {
            values[(from + at / width, at % width)] = *value;
        }
    }
    Representation::owned(&format!("layer `{}`", info.name), values, info.precision)
}

impl Worker<'_> {
    /// Everything of one benchmark.
    pub(crate) fn similarity(&self, benchmark_idx: usize) -> Result<(), StudyError> {
        let (Some(settings), Some(work)) =
            (&self.study.file.similarity, self.grid.similarity.get(benchmark_idx))
        else {
            return Ok(());
        };
        let benchmark = &self.inputs.benchmarks[benchmark_idx];
        let mine = || self.grid.pairs.iter().filter(|pair| pair.benchmark == benchmark_idx);
        let of_layers = mine().filter_map(|p| p.similarity.as_ref()).flat_map(|s| &s.layers);
        let missing = |spec: &&NodeSpec| self.store.load(spec).is_none();
        if !of_layers.flat_map(|(_, specs)| specs).chain(specs(work)).any(|spec| missing(&spec)) {
            return Ok(());
        }
        let context = format!("benchmark `{}`", benchmark.id);
        let in_context = |error| StudyError::in_context(&context)(error);
        let areas = areas(benchmark, work).map_err(in_context)?;
        let blocks = blocks_of(settings, benchmark, self.study.file.seed).map_err(in_context)?;
        let chosen = measures(settings);
        if let Some(spec) = work.between.as_ref().filter(missing) {
            let payload = between(&areas, work, &chosen, self.monitor).map_err(in_context)?;
            self.finish(spec, &payload)?;
        }
        for pair in mine() {
            let Some(similarity) = &pair.similarity else { continue };
            let model = &self.inputs.models[pair.model];
            let context = format!("model `{}` on `{}`", model.model.name, benchmark.id);
            for (index, specs) in &similarity.layers {
                let wanted: Vec<usize> = (0..specs.len()).filter(|&s| missing(&&specs[s])).collect();
                if wanted.is_empty() {
                    continue;
                }
                let source = &model.activations[pair.activation].layers;
                let payloads = layer(source, *index)
                    .and_then(|layer| compare_layer(&layer, &areas, &wanted, &chosen, &blocks, self.monitor))
                    .map_err(StudyError::in_context(&context))?;
                for (&subject, payload) in wanted.iter().zip(&payloads) {
                    self.finish(&specs[subject], payload)?;
                }
            }
        }
        if let (Some(spec), Some(distance)) = (work.map.as_ref().filter(missing), &settings.map) {
            let factors = work
                .objects
                .iter()
                .map(|object| {
                    self.monitor.check()?;
                    match *object {
                        MapObject::Area(subject, area) => {
                            let area = areas[subject][area].as_ref();
                            area.map_or_else(|| Ok(nothing()), |a| Ok(a.factors()?.truncated(MAP_RANK)))
                        }
                        MapObject::Layer(pair, index) => {
                            let pair = &self.grid.pairs[pair];
                            let source = &self.inputs.models[pair.model].activations[pair.activation].layers;
                            Ok(layer(source, index)?.factors()?.truncated(MAP_RANK))
                        }
                    }
                })
                .collect::<stereotax::Result<Vec<Factors>>>()
                .map_err(in_context)?;
            let payload = map(&factors, distance, self.study.file.seed, self.monitor).map_err(in_context)?;
            self.finish(spec, &payload)?;
        }
        Ok(())
    }
}

/// What stands for an area without a column; it has no distances.
fn nothing() -> Factors {
    Factors { left: Mat::zeros(0, 0), singular_values: Vec::new() }
}

/// One layer with the areas of some subjects: a payload each.
fn compare_layer(
    layer: &Representation<'_>,
    areas: &Areas,
    subjects: &[usize],
    measures: &[&'static Measure],
    blocks: &Blocks,
    monitor: &Monitor<'_>,
) -> stereotax::Result<Vec<Payload>> {
    let partners: Vec<&Representation<'_>> =
        subjects.iter().flat_map(|&s| areas[s].iter().flatten()).collect();
    // The plan counts nodes, not draws.
    let quiet = monitor.only_stop();
    let mut found = compare_with_all(layer, &partners, measures, blocks, &quiet)?.into_iter();
    let own_rank = if measures.iter().any(|m| m.saturates) { layer.rank()? } else { 0 };
    Ok(subjects
        .iter()
        .map(|&s| {
            let of_areas: Vec<Option<PairDraws>> =
                areas[s].iter().map(|area| area.as_ref().and_then(|_| found.next())).collect();
            layer_payload(&of_areas, own_rank, layer.n_units(), measures.len())
        })
        .collect())
}

fn layer_payload(areas: &[Option<PairDraws>], own_rank: usize, n_units: usize, n_measures: usize) -> Payload {
    let ranks: Vec<Option<usize>> = areas.iter().map(|a| a.as_ref().and_then(|a| a.rank)).collect();
    let mut payload = Payload::of(json!({"rank": own_rank, "n_units": n_units, "area_ranks": ranks}));
    let known = || areas.iter().flatten();
    let (n_null, n_draws) = known().next().map_or((0, 0), |first| (first.null.nrows(), first.draws.nrows()));
    let values: Vec<f64> = areas
        .iter()
        .flat_map(|a| a.as_ref().map_or_else(|| vec![f64::NAN; n_measures], |a| a.values.clone()))
        .collect();
    payload.put("values", &[areas.len(), n_measures], &values);
    let put = |payload: &mut Payload, name: &str, n: usize, of: &dyn Fn(&PairDraws) -> &Mat<f64>| {
        let mut all = Vec::with_capacity(areas.len() * n_measures * n);
        for area in areas {
            for at in 0..n_measures {
                match area {
                    Some(area) => all.extend(of(area).col(at).iter().map(|v| *v as f32)),
                    None => all.extend(std::iter::repeat_n(f32::NAN, n)),
                }
            }
        }
        payload.put_single(name, &[areas.len(), n_measures, n], all);
    };
    put(&mut payload, "null", n_null, &|a| &a.null);
    put(&mut payload, "draws", n_draws, &|a| &a.draws);
    payload
}

/// A `similarity` node, read back.
pub(crate) struct LayerNode {
    /// Areas × measures, measure after measure within an area.
    pub(crate) values: Vec<f64>,
    /// The same × permutations.
    pub(crate) null: Vec<f32>,
    /// The same × draws.
    pub(crate) draws: Vec<f32>,
    /// Rank of the layer, where a measure asks for it.
    pub(crate) rank: usize,
    /// Units of the layer.
    pub(crate) n_units: usize,
    /// Rank of each area, where it is known.
    pub(crate) area_ranks: Vec<Option<usize>>,
}

pub(crate) fn read_layer(worker: &Worker<'_>, spec: &NodeSpec) -> Result<LayerNode, StudyError> {
    let read = || {
        let payload = worker.store.load(spec)?;
        Some(LayerNode {
            values: payload.get("values")?,
            null: payload.get_single("null")?,
            draws: payload.get_single("draws")?,
            rank: payload.facts["rank"].as_u64()? as usize,
            n_units: payload.facts["n_units"].as_u64()? as usize,
            area_ranks: serde_json::from_value(payload.facts["area_ranks"].clone()).ok()?,
        })
    };
    read().ok_or_else(|| lost(spec))
}

/// Subjects × areas × measures.
fn between(
    areas: &Areas,
    work: &BenchmarkSimilarity,
    measures: &[&'static Measure],
    monitor: &Monitor<'_>,
) -> stereotax::Result<Payload> {
    let (n_subjects, n_areas) = (areas.len(), work.areas.len());
    let mut values = vec![f64::NAN; n_subjects * n_areas * measures.len()];
    for area in 0..n_areas {
        let same: Vec<Option<&Representation<'_>>> = areas.iter().map(|s| s[area].as_ref()).collect();
        for (subject, found) in between_subjects(&same, measures, monitor)?.iter().enumerate() {
            let from = (subject * n_areas + area) * measures.len();
            values[from..from + measures.len()].copy_from_slice(found);
        }
    }
    let mut payload = Payload::of(json!({}));
    payload.put("values", &[n_subjects, n_areas, measures.len()], &values);
    Ok(payload)
}

/// Distances of all objects (NaN where undefined), and places of those whose distances are all defined.
fn map(factors: &[Factors], distance: &str, seed: u64, monitor: &Monitor<'_>) -> stereotax::Result<Payload> {
    let distance = measure(distance)?;
    let usable: Vec<usize> = (0..factors.len()).filter(|&at| factors[at].rank() > 0).collect();
    let kept: Vec<Factors> = usable.iter().map(|&at| factors[at].clone()).collect();
    let found = pairwise_factors(&kept, distance, &monitor.only_stop())?;
    let m = factors.len();
    let mut all = vec![f64::NAN; m * m];
    for (i, &row) in usable.iter().enumerate() {
        for (j, &column) in usable.iter().enumerate() {
            all[row * m + column] = if i == j { 0.0 } else { found[(i, j)] };
        }
    }
    let mut places = vec![f64::NAN; 2 * m];
    let (mut stress, mut converged) = (f64::NAN, true);
    if usable.len() >= LEAST_ON_MAP {
        let n = usable.len();
        let distances = Mat::from_fn(n, n, |i, j| if i == j { 0.0 } else { found[(i, j)] });
        let params = StressParams { seed, ..StressParams::default() };
        let drawn = stress_mds(&Distances::new(distances)?, &params, monitor)?;
        for (i, &at) in usable.iter().enumerate() {
            places[2 * at] = drawn.positions[(i, 0)];
            places[2 * at + 1] = drawn.positions[(i, 1)];
        }
        (stress, converged) = (drawn.stress, drawn.converged);
    }
    let mut payload = Payload::of(json!({"converged": converged}));
    payload.put("distances", &[m, m], &all);
    payload.put("places", &[m, 2], &places);
    payload.put("stress", &[1], &[stress]);
    Ok(payload)
}
