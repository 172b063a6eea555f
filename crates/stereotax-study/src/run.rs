//! Run a study: compute the missing nodes, then the group statistics, then write the results.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::Path;

use faer::{Mat, MatRef};
use rayon::prelude::*;
use serde_json::json;
use stereotax::data::{Event, Monitor, TileSource};
use stereotax::dynamics::DepthMoments;
use stereotax::encoding::{Candidate, Solver, choose};
use stereotax::pipelines::adaptive::{MixtureRequest, evaluate_mixtures, shortlist};
use stereotax::pipelines::ceilings::{CeilingData, CeilingRule, ceilings};
use stereotax::pipelines::depth::{DepthResult, depth_moments, fit_depth};
use stereotax::pipelines::{
    Cell, CellRequest, Features, ModelData, Native, Representation, Resampled, evaluate_model, predict,
    score_cell,
};
use stereotax_io::FileLayers;

use crate::config::Embedding;
use crate::digests::Digests;
use crate::encoding;
use crate::inputs::{self, BenchmarkInput, Inputs, OnClock};
use crate::node::NodeSpec;
use crate::plan::{self, Grid, Pair};
use crate::similarity;
use crate::store::{Payload, Store};
use crate::summary::{Summary, average_predictions, read_ceilings, summarise};
use crate::tables::{self, Scored};
use crate::{Finding, Options, Study, StudyError, results, settings};

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Nodes computed now.
    pub computed: usize,
    /// Nodes found finished.
    pub reused: usize,
    /// Warnings for the person at the terminal.
    pub warnings: Vec<String>,
}

/// Compute what is missing in `out` and write `out/results/`.
///
/// Errors: wrong input, before anything is written; failures while writing, with everything finished
/// kept; a stop request, likewise. Results do not depend on `options`.
pub fn run(study: &Study, out: &Path, options: &Options, monitor: &Monitor) -> Result<Outcome, StudyError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads.unwrap_or(0))
        .build()
        .map_err(|e| StudyError::Internal { what: format!("no threads: {e}") })?;
    pool.install(|| run_inside(study, out, options, monitor))
}

fn run_inside(
    study: &Study,
    out: &Path,
    options: &Options,
    monitor: &Monitor,
) -> Result<Outcome, StudyError> {
    let mut digests = Digests::open(out, options.recheck);
    let inputs = inputs::load(study, &mut digests)?;
    if !digests.all_verified() {
        inputs::verify(&inputs, monitor)?;
    }
    let grid = Grid::new(study, &inputs);
    preflight(study, &inputs, &grid)?;
    refuse_small_memory(study, &grid, &inputs, options)?;

    // From here on things are written.
    std::fs::create_dir_all(out).map_err(|e| StudyError::write(out, &e))?;
    let _lock = lock(out)?;
    let store = Store::open(out)?;
    digests.save(out)?;
    let worker = Worker { study, inputs: &inputs, grid: &grid, store: &store, options, monitor };
    // Models that share their inputs share nodes.
    let distinct: BTreeMap<String, bool> = grid.specs().map(|spec| (spec.key(), store.holds(spec))).collect();
    let missing = distinct.values().filter(|held| !**held).count();
    monitor.tell(Event::Started { task: study.file.name.clone(), total: missing as u64 });
    for benchmark_idx in 0..inputs.benchmarks.len() {
        worker.benchmark(benchmark_idx)?;
    }
    for pair in &grid.pairs {
        if study.file.wants_nfas {
            worker.pair(pair)?;
        }
        worker.encode(pair)?;
    }
    for benchmark_idx in 0..inputs.benchmarks.len() {
        worker.similarity(benchmark_idx)?;
    }
    monitor.tell(Event::Finished { task: study.file.name.clone() });
    let scored = worker.collect()?;
    let made = tables::make(&worker, &scored)?;
    results::write(out, &made.tables, &made.manifest)?;
    let warnings = made.findings.iter().filter(|f| f.severity != "note").map(|f| f.text.clone()).collect();
    Ok(Outcome { computed: missing, reused: distinct.len() - missing, warnings })
}

/// Find before anything is written what would fail later: runs too short, folds too small, widths that
/// have no common state.
fn preflight(study: &Study, inputs: &Inputs, grid: &Grid) -> Result<(), StudyError> {
    for (benchmark, work) in inputs.benchmarks.iter().zip(&grid.benchmarks) {
        let context = format!("benchmark `{}`", benchmark.id);
        let n = benchmark.design.n_samples();
        let probe = Mat::<f64>::from_fn(n, 1, |i, _| (i as f64 * 0.7).sin() + (i as f64 * 0.13).cos());
        let features = Features::from_matrix(probe.as_ref());
        let evaluated = study.file.wants_nfas.then_some(&work.evaluate);
        for params in evaluated.into_iter().chain(&work.encode) {
            let mut params = params.clone();
            params.encoding.reduce = None;
            params.encoding.solver = Solver::Ridge;
            for fold in benchmark.design.folds.iter() {
                predict(&features, &[], fold, &benchmark.design, &[probe.as_ref()], &params)
                    .map_err(StudyError::in_context(&context))?;
            }
        }
    }
    if let Some(settings) = study.file.similarity.as_ref().filter(|s| s.permutations > 0) {
        for benchmark in &inputs.benchmarks {
            similarity::blocks_of(settings, benchmark, study.file.seed)
                .and_then(|blocks| blocks.check_sizes())
                .map_err(StudyError::in_context(&format!("benchmark `{}`", benchmark.id)))?;
        }
    }
    for pair in &grid.pairs {
        if pair.moments.is_some() {
            let model = &inputs.models[pair.model];
            let layers = &model.activations[pair.activation].layers;
            let pieces = pair.event_pieces.as_ref().unwrap_or(&grid.benchmarks[pair.benchmark].pieces);
            let names = &pieces.names;
            DepthMoments::new(
                TileSource::layers(layers),
                names,
                stereotax::dynamics::MomentsOptions::default(),
            )
            .map_err(StudyError::in_context(&format!("model `{}`", model.model.name)))?;
        }
    }
    Ok(())
}

fn refuse_small_memory(
    study: &Study,
    grid: &Grid,
    inputs: &Inputs,
    options: &Options,
) -> Result<(), StudyError> {
    for (at, benchmark) in inputs.benchmarks.iter().enumerate() {
        let least = similarity::memory(at, inputs, grid, study, options);
        if least > options.max_memory as f64 {
            return Err(StudyError::Memory {
                what: format!("similarity on benchmark `{}`", benchmark.id),
                needed_mb: (least / 1e6).ceil() as u64,
                allowed_mb: options.max_memory / 1_000_000,
            });
        }
    }
    for pair in &grid.pairs {
        let mut least = encoding::least_memory(pair, inputs, grid, options);
        if !pair.cells.is_empty() {
            let need = plan::pair_memory(pair, inputs, grid, rayon::current_num_threads());
            least = least.max(need.fixed + need.per_representation);
        }
        if least > options.max_memory as f64 {
            return Err(StudyError::Memory {
                what: format!("model `{}`", inputs.models[pair.model].model.name),
                needed_mb: (least / 1e6).ceil() as u64,
                allowed_mb: options.max_memory / 1_000_000,
            });
        }
    }
    Ok(())
}

/// Hold the folder for this run; the lock ends with the process, however it ends.
fn lock(out: &Path) -> Result<File, StudyError> {
    let path = out.join(".lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| StudyError::write(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StudyError::Locked { path: out.display().to_string() }),
        Err(std::fs::TryLockError::Error(e)) => Err(StudyError::write(&path, &e)),
    }
}

/// One run over one store.
pub(crate) struct Worker<'a> {
    pub(crate) study: &'a Study,
    pub(crate) inputs: &'a Inputs,
    pub(crate) grid: &'a Grid,
    pub(crate) store: &'a Store,
    pub(crate) options: &'a Options,
    pub(crate) monitor: &'a Monitor<'a>,
}

impl Worker<'_> {
    pub(crate) fn finish(&self, spec: &NodeSpec, payload: &Payload) -> Result<(), StudyError> {
        self.store.save(spec, payload)?;
        self.monitor.tell(Event::Advanced { done: 1 });
        Ok(())
    }

    /// Ceilings and nuisance cells.
    fn benchmark(&self, index: usize) -> Result<(), StudyError> {
        let (benchmark, work) = (&self.inputs.benchmarks[index], &self.grid.benchmarks[index]);
        let context = format!("benchmark `{}`", benchmark.id);
        if self.store.load(&work.ceiling).is_none() {
            let payload = ceiling(benchmark, self.study.file.analysis.ceiling, self.study.file.seed)
                .map_err(StudyError::in_context(&context))?;
            self.finish(&work.ceiling, &payload)?;
        }
        for (nuisance, specs) in benchmark.nuisance.iter().zip(&work.nuisance) {
            let features = Features::from_matrix(nuisance.values.as_ref());
            for (subject, spec) in benchmark.subjects.iter().zip(specs) {
                if self.store.load(spec).is_some() {
                    continue;
                }
                let responses = subject.responses.as_ref();
                let attempt = || {
                    let folds = benchmark
                        .design
                        .folds
                        .iter()
                        .map(|fold| {
                            predict(&features, &[], fold, &benchmark.design, &[responses], &work.alone)
                        })
                        .collect::<stereotax::Result<Vec<_>>>()?;
                    let folds: Vec<_> = folds.iter().map(|fold| &fold[0]).collect();
                    score_cell(&folds, responses, &benchmark.design, true, &work.alone, self.monitor)
                };
                let cell = attempt().map_err(StudyError::in_context(&context))?;
                self.finish(spec, &cell_payload(&cell, None))?;
            }
        }
        Ok(())
    }

    /// The depth fit and all cells of one model on one benchmark.
    fn pair(&self, pair: &Pair) -> Result<(), StudyError> {
        let benchmark = &self.inputs.benchmarks[pair.benchmark];
        let model = &self.inputs.models[pair.model];
        let context = format!("model `{}` on `{}`", model.model.name, benchmark.id);
        let depth = self.depth(pair, &context)?;
        let responses: Vec<MatRef<f64>> = benchmark.subjects.iter().map(|s| s.responses.as_ref()).collect();
        let layers = self.layers(pair);
        let on_clock = model.activations[pair.activation].on_clock.get(&pair.benchmark);
        let nuisance: Vec<Features> =
            benchmark.nuisance.iter().map(|n| Features::from_matrix(n.values.as_ref())).collect();
        let data = ModelData {
            nuisance: &nuisance,
            source: layers.as_source(),
            native: on_clock
                .filter(|_| pair.native)
                .map(|on| Native { design: &on.design, to_responses: &on.resampling }),
            design: &benchmark.design,
            responses: &responses,
            depth: depth.as_ref(),
            depth_params: &self.grid.depth_params,
        };
        let n_folds = benchmark.design.folds.len();
        let mut requests = Vec::new();
        let mut specs: Vec<(&NodeSpec, Option<Vec<String>>)> = Vec::new();
        for (representation, nodes) in &pair.cells {
            if let (Representation::Alternative(index), Some(depth)) = (representation, &depth)
                && depth.alternatives[*index].coefficients.is_none()
            {
                for spec in nodes.iter().filter(|spec| self.store.load(spec).is_none()) {
                    let status = &depth.alternatives[*index].status;
                    self.finish(spec, &Payload::of(json!({"status": status})))?;
                }
                continue;
            }
            for (subject, spec) in nodes.iter().enumerate() {
                if self.store.load(spec).is_none() {
                    let per_fold = vec![representation.clone(); n_folds];
                    requests.push(self.request(pair, subject, representation, per_fold));
                    specs.push((spec, None));
                }
            }
        }
        self.evaluate(pair, &data, &requests, &specs, &context)?;

        let (mut requests, mut specs) = (Vec::new(), Vec::new());
        let (mut mixtures, mut mixed_specs) = (Vec::new(), Vec::new());
        for (representation, candidates, nodes) in &pair.selected {
            for (subject, spec) in nodes.iter().enumerate() {
                if self.store.load(spec).is_none() {
                    let inner = self.inner_scores(pair, candidates, subject);
                    if *representation == Representation::Adaptive {
                        let per_fold = (0..n_folds).map(|fold| shortlist(&of_fold(&inner, fold, n_folds)));
                        mixtures.push(MixtureRequest { subject, per_fold: per_fold.collect() });
                        mixed_specs.push(spec);
                        continue;
                    }
                    let per_fold = self.choose(pair, &inner, n_folds)?;
                    let chosen = per_fold.iter().map(|r| self.layer_name(pair, r)).collect();
                    requests.push(self.request(pair, subject, representation, per_fold));
                    specs.push((spec, Some(chosen)));
                }
            }
        }
        self.evaluate(pair, &data, &requests, &specs, &context)?;
        self.mix(pair, &data, &mixtures, &mixed_specs, &context)
    }

    /// The layers on the clock on which depth is reduced.
    fn layers(&self, pair: &Pair) -> Layers<'_> {
        let input = &self.inputs.models[pair.model].activations[pair.activation];
        match input.on_clock.get(&pair.benchmark) {
            Some(on_clock) if !pair.native => Layers::resampled(&input.layers, on_clock),
            _ => Layers::AsTheyAre(&input.layers),
        }
    }

    fn depth(&self, pair: &Pair, context: &str) -> Result<Option<DepthResult>, StudyError> {
        let Some(spec) = &pair.depth else { return Ok(None) };
        let known = self.store.load(spec).and_then(|p| serde_json::from_value(p.facts).ok());
        if known.is_some() {
            return Ok(known);
        }
        let benchmark = &self.inputs.benchmarks[pair.benchmark];
        let layers = self.layers(pair);
        let source = layers.as_source();
        let on_clock =
            self.inputs.models[pair.model].activations[pair.activation].on_clock.get(&pair.benchmark);
        let (design, pieces) = match (&pair.event_pieces, on_clock) {
            (Some(pieces), Some(on_clock)) => (&on_clock.design, pieces),
            _ => (&benchmark.design, &self.grid.benchmarks[pair.benchmark].pieces),
        };
        let params = &self.grid.depth_params;
        let fitted = match &pair.moments {
            Some(moments_spec) => {
                let known = self
                    .store
                    .load(moments_spec)
                    .and_then(|p| DepthMoments::from_bytes(p.get_bytes("moments")?).ok());
                let moments = match known {
                    Some(moments) => moments,
                    None => {
                        let moments = depth_moments(source, pieces, params, self.monitor)
                            .map_err(StudyError::in_context(context))?;
                        let mut payload = Payload::of(json!({"layers": moments.layer_names()}));
                        payload.put_bytes("moments", &moments.to_bytes());
                        self.finish(moments_spec, &payload)?;
                        moments
                    }
                };
                let moments = Some((&moments, pieces));
                fit_depth(source, moments, design, params, self.monitor)
            }
            None => fit_depth(source, None, design, params, self.monitor),
        }
        .map_err(StudyError::in_context(context))?;
        let facts = serde_json::to_value(&fitted)
            .map_err(|e| StudyError::Internal { what: format!("the depth fit cannot be kept: {e}") })?;
        self.finish(spec, &Payload::of(facts))?;
        Ok(Some(fitted))
    }

    fn request(
        &self,
        pair: &Pair,
        subject: usize,
        representation: &Representation,
        per_fold: Vec<Representation>,
    ) -> CellRequest {
        let source = &self.inputs.models[pair.model].activations[pair.activation].layers;
        let n_layers = TileSource::layers(source).len();
        CellRequest { subject, per_fold, keep_draws: representation.keeps_draws(n_layers) }
    }

    fn evaluate(
        &self,
        pair: &Pair,
        data: &ModelData<'_>,
        requests: &[CellRequest],
        specs: &[(&NodeSpec, Option<Vec<String>>)],
        context: &str,
    ) -> Result<(), StudyError> {
        if requests.is_empty() {
            return Ok(());
        }
        let budget = self.budget(pair);
        let params = &self.grid.benchmarks[pair.benchmark].evaluate;
        evaluate_model(data, requests, params, budget, self.monitor, |at, cell| {
            let (spec, chosen) = &specs[at];
            self.finish(spec, &cell_payload(&cell, chosen.as_deref())).map_err(Stop::Study)
        })
        .map_err(|stop: Stop| match stop {
            Stop::Core(error) => StudyError::in_context(context)(error),
            Stop::Study(error) => error,
        })
    }

    /// The adaptive cells.
    fn mix(
        &self,
        pair: &Pair,
        data: &ModelData<'_>,
        requests: &[MixtureRequest],
        specs: &[&NodeSpec],
        context: &str,
    ) -> Result<(), StudyError> {
        let params = &self.grid.benchmarks[pair.benchmark].evaluate;
        let name = |r: &Representation| self.layer_name(pair, r);
        evaluate_mixtures(data, requests, params, self.budget(pair), self.monitor, |at, cell, mixtures| {
            let mixed: Vec<String> = mixtures.iter().map(|mixture| mixture.text(name)).collect();
            self.finish(specs[at], &cell_payload(&cell, Some(&mixed))).map_err(Stop::Study)
        })
        .map_err(|stop: Stop| match stop {
            Stop::Core(error) => StudyError::in_context(context)(error),
            Stop::Study(error) => error,
        })
    }

    /// Bytes that features and predictions may take.
    fn budget(&self, pair: &Pair) -> usize {
        let need = plan::pair_memory(pair, self.inputs, self.grid, rayon::current_num_threads());
        let allowed = self.options.max_memory as f64;
        (0.5 * allowed).min(allowed - need.fixed).max(0.0) as usize
    }

    /// Inner scores of the candidates that were scored, folds × ROIs in rows.
    fn inner_scores(&self, pair: &Pair, candidates: &[Representation], subject: usize) -> Vec<InnerScores> {
        let cell = |r: &Representation| pair.cells.iter().find(|(c, _)| c == r).map(|(_, s)| &s[subject]);
        candidates
            .iter()
            .filter_map(|r| Some((r.clone(), self.store.load(cell(r)?)?.get("inner_scores")?)))
            .collect()
    }

    /// The candidate with the best inner score in each fold, from training rows only.
    fn choose(
        &self,
        pair: &Pair,
        inner: &[InnerScores],
        n_folds: usize,
    ) -> Result<Vec<Representation>, StudyError> {
        let names: Vec<String> = inner.iter().map(|(r, _)| self.layer_name(pair, r)).collect();
        (0..n_folds)
            .map(|fold| {
                let here = of_fold(inner, fold, n_folds);
                let scored: Vec<Candidate> = names
                    .iter()
                    .zip(&here)
                    .map(|(name, (_, inner_scores))| Candidate { name, inner_scores })
                    .collect();
                let choice =
                    choose(&scored).map_err(StudyError::in_context("nested selection of representations"))?;
                // Where no candidate has a defined inner score, the first one is as good as any.
                Ok(inner[choice.winner.unwrap_or(0)].0.clone())
            })
            .collect()
    }

    fn layer_name(&self, pair: &Pair, representation: &Representation) -> String {
        let source = &self.inputs.models[pair.model].activations[pair.activation].layers;
        match representation {
            Representation::Layer(layer) => TileSource::layers(source)[*layer].name.clone(),
            other => other.name(),
        }
    }

    /// Read back everything that tables and group statistics need, one representation at a time.
    fn collect(&self) -> Result<Scored, StudyError> {
        let analysis = &self.study.file.analysis;
        let kind = settings::score_kind(analysis.score);
        let lost = encoding::lost;
        let load = |spec: &NodeSpec| self.store.load(spec).ok_or_else(|| lost(spec));
        let ceilings = self
            .inputs
            .benchmarks
            .iter()
            .zip(&self.grid.benchmarks)
            .map(|(benchmark, work)| {
                Ok(read_ceilings(benchmark, &load(&work.ceiling)?, analysis.min_ceiling))
            })
            .collect::<Result<Vec<_>, StudyError>>()?;
        let average = |specs: &[NodeSpec], benchmark: usize| -> Result<Option<Summary>, StudyError> {
            let subjects = specs.iter().map(load).collect::<Result<Vec<_>, _>>()?;
            let mut summary = summarise(&subjects, kind, &ceilings[benchmark]);
            if let (Some(summary), Embedding::Response) = (&mut summary, analysis.embedding) {
                summary.predictions =
                    average_predictions(&subjects, &self.inputs.benchmarks[benchmark].design);
            }
            Ok(summary)
        };
        let nuisance = self
            .grid
            .benchmarks
            .iter()
            .enumerate()
            .map(|(b, work)| work.nuisance.iter().map(|specs| average(specs, b)).collect())
            .collect::<Result<_, _>>()?;
        let pairs = self
            .grid
            .pairs
            .par_iter()
            .map(|pair| {
                let depth = pair
                    .depth
                    .as_ref()
                    .map(|spec| serde_json::from_value(load(spec)?.facts).map_err(|_| lost(spec)))
                    .transpose()?;
                let direct = pair.cells.iter().map(|(r, specs)| (r, specs));
                let selected = pair.selected.iter().map(|(r, _, specs)| (r, specs));
                let mut summaries = BTreeMap::new();
                for (representation, specs) in direct.chain(selected) {
                    if let Some(summary) = average(specs, pair.benchmark)? {
                        summaries.insert(representation.clone(), summary);
                    }
                }
                Ok((depth, summaries))
            })
            .collect::<Result<Vec<_>, StudyError>>()?;
        Ok(Scored { ceilings, nuisance, pairs })
    }
}

/// Activations in files, or brought to the scanner's clock while they are read.
pub(crate) enum Layers<'a> {
    AsTheyAre(&'a FileLayers),
    Resampled(Resampled<'a>),
}

impl<'a> Layers<'a> {
    pub(crate) fn resampled(layers: &'a FileLayers, on_clock: &'a OnClock) -> Self {
        Layers::Resampled(Resampled::new(layers, &on_clock.resampling))
    }

    pub(crate) fn as_source(&self) -> &dyn TileSource {
        match self {
            Layers::AsTheyAre(layers) => *layers,
            Layers::Resampled(layers) => layers,
        }
    }
}

/// A candidate with its inner scores, fold after fold.
type InnerScores = (Representation, Vec<f64>);

/// The scores of one fold alone.
fn of_fold(inner: &[InnerScores], fold: usize, n_folds: usize) -> Vec<InnerScores> {
    let part = |scores: &[f64]| {
        let n_rois = scores.len() / n_folds;
        scores[fold * n_rois..(fold + 1) * n_rois].to_vec()
    };
    inner.iter().map(|(r, scores)| (r.clone(), part(scores))).collect()
}

enum Stop {
    Core(stereotax::Error),
    Study(StudyError),
}

impl From<stereotax::Error> for Stop {
    fn from(error: stereotax::Error) -> Self {
        Stop::Core(error)
    }
}

fn cell_payload(cell: &Cell, chosen: Option<&[String]>) -> Payload {
    let n_rois = cell.r.len();
    let mut payload = Payload::of(json!({
        "n_samples": cell.n_samples,
        "share_at_edge": cell.share_at_edge,
        "n_components": cell.n_components,
        "chosen": chosen,
        "note": cell.draws.as_ref().and_then(|d| d.note.clone()),
    }));
    payload.put("r", &[n_rois], &cell.r);
    payload.put("n_eff", &[n_rois], &cell.n_eff);
    put_matrix(&mut payload, "alphas", cell.alphas.as_ref());
    put_matrix(&mut payload, "inner_scores", cell.inner_scores.as_ref());
    if let Some(split) = &cell.split {
        put_matrix(&mut payload, "band_r2", split.r2.as_ref());
        put_matrix(&mut payload, "band_weights", split.weights.as_ref());
        payload.put("joint_r2", &[n_rois], &split.joint);
    }
    if let Some(draws) = &cell.draws {
        put_single(&mut payload, "predictions", draws.predictions.as_ref());
        put_single(&mut payload, "bootstrap", draws.bootstrap.as_ref());
        let n_draws = draws.null.len() / n_rois.max(1);
        payload.put_single("null", &[n_draws, n_rois], draws.null.iter().copied());
        payload.put("p", &[n_rois], &draws.p_value);
    }
    payload
}

fn put_matrix(payload: &mut Payload, name: &str, m: MatRef<f64>) {
    let rows: Vec<f64> = (0..m.nrows()).flat_map(|i| (0..m.ncols()).map(move |j| m[(i, j)])).collect();
    payload.put(name, &[m.nrows(), m.ncols()], &rows);
}

fn put_single(payload: &mut Payload, name: &str, m: MatRef<f64>) {
    let rows = (0..m.nrows()).flat_map(|i| (0..m.ncols()).map(move |j| m[(i, j)] as f32));
    payload.put_single(name, &[m.nrows(), m.ncols()], rows);
}

/// Ceilings of every subject and ROI, as correlations with the responses that are predicted.
fn ceiling(benchmark: &BenchmarkInput, rule: CeilingRule, seed: u64) -> stereotax::Result<Payload> {
    let subjects = &benchmark.subjects;
    let responses: Vec<MatRef<f64>> = subjects.iter().map(|s| s.responses.as_ref()).collect();
    let repeats: Vec<Vec<MatRef<f64>>> =
        subjects.iter().map(|s| s.repeats.iter().map(Mat::as_ref).collect()).collect();
    let data = CeilingData {
        responses: &responses,
        repeats: &repeats,
        given: benchmark.given_ceilings.as_deref(),
        runs: &benchmark.design.runs,
    };
    let found = ceilings(rule, &data, seed)?;
    let mut payload = Payload::of(json!({"kind": found.kind, "status": found.status}));
    payload.put("ceiling", &[subjects.len(), benchmark.rois.len()], &found.subjects.concat());
    Ok(payload)
}

/// What a finished node came from: its kernel, parameters, inputs, and the nodes among them.
///
/// Errors: no such node.
pub fn why(out: &Path, prefix: &str) -> Result<Vec<NodeSpec>, StudyError> {
    let store = Store::at(out);
    let found = store.find(prefix);
    if found.is_empty() {
        return Err(StudyError::Input {
            what: format!("no finished node in `{}` has a key that begins with `{prefix}`", out.display()),
            hint: "`stereotax plan study.toml --out …` lists the keys".into(),
        });
    }
    let mut chain = found;
    let mut next = 0;
    while next < chain.len() {
        for input in chain[next].inputs.clone().values() {
            for upstream in store.find(input) {
                if !chain.contains(&upstream) {
                    chain.push(upstream);
                }
            }
        }
        next += 1;
    }
    Ok(chain)
}

/// Keys of `references.bib` for the methods that a study uses; without one, of the default analysis.
pub fn references(study: Option<&Study>) -> Vec<String> {
    study.map_or_else(|| tables::of_nfas(&crate::config::NfasSettings::default()), tables::references)
}

/// Findings as they stand in the manifest: each once, sorted.
pub(crate) fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort();
    findings.dedup();
    findings
}
