//! Load what a study names, and say what does not fit together.
//!
//! Responses are held in memory; activations are opened, not read. Every dropped row is counted and
//! named in a finding.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use faer::{Mat, MatRef};
use stereotax::data::{Monitor, Runs, TileSource};
use stereotax::pipelines::{self, Clock, SampleDesign};
use stereotax::signal::Hrf;
use stereotax_io::{
    FileLayers, LoadedResponses, NanPolicy, ResponseAxis, ResponsesParams, RoiInfo, StimulusTable, Targets,
    load_responses, match_by_order, match_rows, read_stimuli, read_texts,
};

use crate::config::{self, ArraySource, Axis, Benchmark, Blocks, Repeats, SubjectMode, Voxels};
use crate::digests::Digests;
use crate::error::StudyError;
use crate::settings;
use crate::{Finding, Study};

/// Everything a study names, loaded or opened.
#[derive(Debug)]
pub struct Inputs {
    /// The benchmarks, in the study's order.
    pub benchmarks: Vec<BenchmarkInput>,
    /// The models, in the study's order.
    pub models: Vec<ModelInput>,
    /// What a reader should know.
    pub findings: Vec<Finding>,
}

/// One benchmark: samples, subjects, ROIs.
#[derive(Debug)]
pub struct BenchmarkInput {
    /// Its id.
    pub id: String,
    /// Id of its stimulus set.
    pub stimuli: String,
    /// What the samples are.
    pub design: SampleDesign,
    /// How features become predictors.
    pub hrf: Hrf,
    /// Samples purged on both sides of held-out blocks.
    pub gap: usize,
    /// Subjects, or their mean as one.
    pub subjects: Vec<SubjectInput>,
    /// ROIs, in the order of the response columns.
    pub rois: Vec<RoiInfo>,
    /// Ceilings given in the ROI table, as correlations.
    pub given_ceilings: Option<Vec<f64>>,
    /// Low-level features.
    pub nuisance: Vec<NuisanceInput>,
    /// Digest of ids, runs, blocks and folds.
    pub digest: String,
}

/// One subject's responses.
#[derive(Debug)]
pub struct SubjectInput {
    /// The subject's id.
    pub id: String,
    /// Samples × ROIs, mean over repeats, cleaned.
    pub responses: Mat<f64>,
    /// The same per repeat, where there are at least two.
    pub repeats: Vec<Mat<f64>>,
    /// Digest of the file and of how it was read.
    pub digest: String,
}

/// Low-level features of the stimuli.
#[derive(Debug)]
pub struct NuisanceInput {
    /// Its name.
    pub name: String,
    /// Samples × features.
    pub values: Mat<f64>,
    /// Digest of the file.
    pub digest: String,
}

/// One network.
#[derive(Debug)]
pub struct ModelInput {
    /// What the study says of it.
    pub model: config::Model,
    /// Its activations, one per stimulus set.
    pub activations: Vec<ActivationInput>,
}

/// Activations of one network on one stimulus set.
#[derive(Debug)]
pub struct ActivationInput {
    /// Id of the stimulus set.
    pub stimuli: String,
    /// The layers, rows in the order of the stimulus set.
    pub layers: FileLayers,
    /// Digest of the files and of how they are read.
    pub digest: String,
}

/// Load a study.
pub fn load(study: &Study, digests: &mut Digests) -> Result<Inputs, StudyError> {
    settings::refuse_unbuilt(&study.file.analysis)?;
    let mut findings = Vec::new();
    let mut tables: BTreeMap<&str, StimulusTable> = BTreeMap::new();
    for set in &study.file.stimuli {
        tables.insert(&set.id, read_stimuli(&study.path(&set.ids))?);
    }
    let benchmarks = study
        .file
        .brain
        .iter()
        .map(|benchmark| load_benchmark(study, benchmark, &tables, digests, &mut findings))
        .collect::<Result<Vec<_>, _>>()?;
    let models = study
        .file
        .models
        .iter()
        .map(|model| load_model(study, model, &tables, digests, &mut findings))
        .collect::<Result<Vec<_>, _>>()?;
    for benchmark in &benchmarks {
        if !models.iter().any(|m| m.activations.iter().any(|a| a.stimuli == benchmark.stimuli)) {
            findings.push(Finding::caution(
                "benchmark_without_models",
                format!("no model has activations for the stimuli of benchmark `{}`", benchmark.id),
            ));
        }
    }
    Ok(Inputs { benchmarks, models, findings })
}

fn load_benchmark(
    study: &Study,
    benchmark: &Benchmark,
    tables: &BTreeMap<&str, StimulusTable>,
    digests: &mut Digests,
    findings: &mut Vec<Finding>,
) -> Result<BenchmarkInput, StudyError> {
    let analysis = &study.file.analysis;
    let context = format!("benchmark `{}`", benchmark.id);
    let in_context = |e| StudyError::in_context(&context)(e);
    let table = &tables[benchmark.stimuli.as_str()];
    let runs = match &table.runs {
        Some(names) => Runs::from_labels(names).map_err(in_context)?,
        None => Runs::single(table.ids.len()),
    };
    let clock = match benchmark.clock {
        config::Clock::Stimulus => Clock::Stimulus,
        config::Clock::Tr { tr_s } => Clock::Tr { tr_s },
    };
    let hrf = settings::hrf(analysis, clock).map_err(in_context)?;
    let gap = settings::purge_gap(analysis, clock, &hrf);
    let rule = analysis.outer_folds;
    let folds =
        settings::outer_folds(rule, &table.ids, &runs, clock, gap, study.file.seed).map_err(in_context)?;
    let set = study.file.stimuli.iter().find(|s| s.id == benchmark.stimuli);
    let (blocks, block_names) =
        blocks(set.map_or(Blocks::Stimulus, |s| s.blocks), table, &runs, clock, &benchmark.id)?;
    let design = SampleDesign { ids: table.ids.clone(), runs, clock, folds, blocks, block_names };
    design.check().map_err(in_context)?;

    let mut rois: Option<(String, Vec<RoiInfo>)> = None;
    let mut subjects = Vec::new();
    for subject in &benchmark.subjects {
        let path = study.path(&subject.responses);
        let params = ResponsesParams {
            key: subject.key.clone(),
            axes: response_axes(subject),
            targets: targets(study, benchmark),
            nan: NanPolicy::Refuse,
        };
        let loaded = load_responses(&path, &params)?;
        let names: Vec<String> = loaded.rois.iter().map(|r| r.roi.clone()).collect();
        match &rois {
            None => rois = Some((subject.id.clone(), loaded.rois.clone())),
            Some((first, known)) if known.iter().map(|r| &r.roi).ne(names.iter()) => {
                return Err(StudyError::Input {
                    what: format!(
                        "{context}: subject `{}` has ROIs {}, but subject `{first}` has others; all subjects of a benchmark must have the same ROIs in the same order",
                        subject.id,
                        stereotax_io::names::list(&names),
                    ),
                    hint: "reorder the columns, or make a benchmark of each".into(),
                });
            }
            Some(_) => {}
        }
        subjects.push(load_subject(study, benchmark, subject, &loaded, &design, digests, findings)?);
    }
    let rois = rois.map(|(_, rois)| rois).unwrap_or_default();
    if analysis.subjects == SubjectMode::GroupMean && subjects.len() > 1 {
        subjects = vec![group_mean(subjects, &design).map_err(in_context)?];
    }
    let nuisance = benchmark
        .nuisance
        .iter()
        .map(|nuisance| {
            let path = study.path(&nuisance.file);
            let params = ResponsesParams { key: nuisance.key.clone(), ..ResponsesParams::default() };
            let loaded = load_responses(&path, &params)?;
            match_by_order(&design.ids, loaded.n_samples, &path)?;
            let values = matrix(&loaded.repeat_mean(), loaded.n_samples, loaded.rois.len());
            let digest = digests.file(&path)?;
            Ok(NuisanceInput { name: nuisance.name.clone(), values, digest })
        })
        .collect::<Result<_, StudyError>>()?;
    let digest = crate::node::digest_of_json(&serde_json::json!({
        "ids": design.ids, "runs": design.runs, "clock": design.clock, "folds": design.folds,
        "blocks": design.blocks, "block_names": design.block_names,
    }));
    Ok(BenchmarkInput {
        id: benchmark.id.clone(),
        stimuli: benchmark.stimuli.clone(),
        given_ceilings: given_ceilings(study, benchmark)?,
        design,
        hrf,
        gap,
        subjects,
        rois,
        nuisance,
        digest,
    })
}

/// The resampling block of each sample, and the blocks' stable names.
fn blocks(
    rule: Blocks,
    table: &StimulusTable,
    runs: &Runs,
    clock: Clock,
    benchmark: &str,
) -> Result<(Vec<usize>, Vec<String>), StudyError> {
    let names: Vec<String> = match rule {
        Blocks::Stimulus => table.ids.clone(),
        Blocks::Run => runs.codes().into_iter().map(|run| runs.names()[run].clone()).collect(),
        Blocks::Segment { seconds } => {
            let Clock::Tr { tr_s } = clock else {
                return Err(StudyError::Input {
                    what: format!(
                        "benchmark `{benchmark}` has a stimulus clock, but its stimuli are resampled in segments of {seconds} s"
                    ),
                    hint: "give the clock as { tr_s = … }, or resample by stimulus or run".into(),
                });
            };
            let length = (seconds / tr_s).round().max(1.0) as usize;
            let names = runs.names();
            runs.ranges()
                .enumerate()
                .flat_map(|(run, range)| {
                    (0..range.len()).map(move |i| format!("{} · {}", names[run], i / length))
                })
                .collect()
        }
    };
    let mut distinct = names.clone();
    distinct.sort();
    distinct.dedup();
    let codes = names.iter().map(|name| distinct.partition_point(|d| d < name)).collect();
    Ok((codes, distinct))
}

fn response_axes(subject: &config::Subject) -> Option<Vec<ResponseAxis>> {
    let axes: Vec<ResponseAxis> = subject
        .axes
        .iter()
        .map(|axis| match axis {
            Axis::Stimulus => ResponseAxis::Sample,
            Axis::Target => ResponseAxis::Target,
            Axis::Repeat => ResponseAxis::Repeat,
        })
        .collect();
    (axes != [ResponseAxis::Sample, ResponseAxis::Target]).then_some(axes)
}

fn targets(study: &Study, benchmark: &Benchmark) -> Targets {
    let table = match &benchmark.rois {
        Some(ArraySource::File { file, .. }) => Some(study.path(file)),
        _ => None,
    };
    match (&benchmark.voxels, &benchmark.rois) {
        (Voxels::Labels(ArraySource::File { file, key }), _) => {
            Targets::Voxels { file: Some(study.path(file)), key: key.clone(), rois: table }
        }
        (Voxels::Labels(ArraySource::Key { key }), _) => {
            Targets::Voxels { file: None, key: Some(key.clone()), rois: table }
        }
        (_, Some(ArraySource::Key { key })) => Targets::RoiKey(key.clone()),
        _ => table.map_or(Targets::Unnamed, Targets::RoiTable),
    }
}

fn load_subject(
    study: &Study,
    benchmark: &Benchmark,
    subject: &config::Subject,
    loaded: &LoadedResponses,
    design: &SampleDesign,
    digests: &mut Digests,
    findings: &mut Vec<Finding>,
) -> Result<SubjectInput, StudyError> {
    let path = study.path(&subject.responses);
    let what = format!("responses of `{}` in `{}`", subject.id, benchmark.id);
    let n_rois = loaded.rois.len();
    let found = row_ids(study, subject.ids.as_ref(), &path)?;
    let rows: Vec<Vec<usize>> = match &found {
        Some(ids) if subject.repeats == Repeats::Rows => {
            let all = |wanted: &String| (0..ids.len()).filter(|&i| ids[i] == *wanted).collect();
            let rows: Vec<Vec<usize>> = design.ids.iter().map(all).collect();
            // The error for a missing id is the one that matching gives.
            match_rows(&design.ids, ids).complete(&path, ids)?;
            let n = rows.iter().map(Vec::len).min().unwrap_or(0);
            rows.into_iter().map(|rows| rows[..n].to_vec()).collect()
        }
        found => {
            rows_of(design, found.as_deref(), loaded.n_samples, benchmark.by_order, &path, &what, findings)?
                .into_iter()
                .map(|row| vec![row])
                .collect()
        }
    };
    let per_row = rows.first().map_or(1, Vec::len);
    let clean = |values: Mat<f64>| -> Result<Mat<f64>, StudyError> {
        pipelines::clean_responses(values.as_ref(), design, settings::drift(&study.file.analysis))
            .map_err(StudyError::in_context(&what))
    };
    let mut single = Vec::new();
    for place in 0..per_row {
        for repeat in 0..loaded.n_repeats {
            let values = Mat::from_fn(rows.len(), n_rois, |i, j| loaded.value(rows[i][place], j, repeat));
            single.push(values);
        }
    }
    let n_single = single.len() as f64;
    let mean = Mat::from_fn(rows.len(), n_rois, |i, j| {
        single.iter().map(|values| values[(i, j)]).sum::<f64>() / n_single
    });
    let repeats = if single.len() > 1 {
        single.into_iter().map(clean).collect::<Result<Vec<_>, _>>()?
    } else {
        Vec::new()
    };
    let digest = crate::node::digest_of_json(&serde_json::json!({
        "file": digests.file(&path)?, "key": subject.key, "axes": subject.axes, "repeats": subject.repeats,
        "rows": rows, "drift": study.file.analysis.drift, "voxels": benchmark.voxels,
    }));
    Ok(SubjectInput { id: subject.id.clone(), responses: clean(mean)?, repeats, digest })
}

/// All subjects as one.
fn group_mean(subjects: Vec<SubjectInput>, design: &SampleDesign) -> stereotax::Result<SubjectInput> {
    let responses: Vec<MatRef<f64>> = subjects.iter().map(|s| s.responses.as_ref()).collect();
    let responses = pipelines::group_mean(&responses, design)?;
    let digests: Vec<&String> = subjects.iter().map(|s| &s.digest).collect();
    let digest = crate::node::digest_of_json(&serde_json::json!({"group_mean": digests}));
    Ok(SubjectInput { id: "group".into(), responses, repeats: Vec::new(), digest })
}

fn load_model(
    study: &Study,
    model: &config::Model,
    tables: &BTreeMap<&str, StimulusTable>,
    digests: &mut Digests,
    findings: &mut Vec<Finding>,
) -> Result<ModelInput, StudyError> {
    let mut activations = Vec::new();
    for entry in &model.activations {
        let path = study.path(entry.source.path());
        let pooling = settings::pooling(entry.pooling);
        let open = |rows| FileLayers::open(&path, &entry.layers, pooling, rows);
        let whole = open(None)?;
        let table = &tables[entry.stimuli.as_str()];
        let what = format!("activations of `{}`", model.name);
        let found = row_ids(study, entry.ids.as_ref(), &path)?;
        let wanted = &table.ids;
        let rows = match_samples(
            wanted,
            found.as_deref(),
            whole.n_samples(),
            entry.by_order,
            &path,
            &what,
            findings,
        )?;
        let files: Vec<PathBuf> = match &entry.source {
            config::ActivationSource::File(_) => vec![path.clone()],
            config::ActivationSource::Folder(_) => {
                entry.layers.iter().map(|layer| path.join(format!("{layer}.npy"))).collect()
            }
        };
        let parts = files.iter().map(|file| digests.file(file)).collect::<Result<Vec<_>, _>>()?;
        let digest = crate::node::digest_of_json(&serde_json::json!({
            "files": parts, "layers": entry.layers, "pooling": entry.pooling, "rows": rows,
        }));
        let in_order = rows.iter().copied().eq(0..whole.n_samples());
        let layers = if in_order { whole } else { open(Some(rows))? };
        activations.push(ActivationInput { stimuli: entry.stimuli.clone(), layers, digest });
    }
    Ok(ModelInput { model: model.clone(), activations })
}

/// The stimulus ids of a file's rows, where the study says where they stand.
fn row_ids(
    study: &Study,
    source: Option<&ArraySource>,
    data: &Path,
) -> Result<Option<Vec<String>>, StudyError> {
    Ok(match source {
        None => None,
        Some(ArraySource::File { file, key }) => Some(read_texts(&study.path(file), key.as_deref())?),
        Some(ArraySource::Key { key }) => Some(read_texts(data, Some(key))?),
    })
}

fn rows_of(
    design: &SampleDesign,
    found: Option<&[String]>,
    n_found: usize,
    by_order: bool,
    path: &Path,
    what: &str,
    findings: &mut Vec<Finding>,
) -> Result<Vec<usize>, StudyError> {
    match_samples(&design.ids, found, n_found, by_order, path, what, findings)
}

/// Which row of a file holds each wanted stimulus.
fn match_samples(
    wanted: &[String],
    found: Option<&[String]>,
    n_found: usize,
    by_order: bool,
    path: &Path,
    what: &str,
    findings: &mut Vec<Finding>,
) -> Result<Vec<usize>, StudyError> {
    let Some(found) = found else {
        if by_order {
            return Ok(match_by_order(wanted, n_found, path)?);
        }
        return Err(StudyError::Input {
            what: format!(
                "{what}: the study does not say which stimulus each row of `{}` is",
                path.display()
            ),
            hint:
                "name the rows' ids with `ids = …`, or say `by_order = true` if rows follow the stimulus file"
                    .into(),
        });
    };
    if found.len() != n_found {
        return Err(StudyError::Input {
            what: format!("{what}: {} ids for {n_found} rows", found.len()),
            hint: "give one id per row".into(),
        });
    }
    let mut sorted: Vec<&String> = found.iter().collect();
    sorted.sort();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(StudyError::Input {
            what: format!(
                "{what}: stimulus id `{}` stands twice among the rows of `{}`",
                twice[0],
                path.display()
            ),
            hint: "average repeats beforehand, or say `repeats = \"rows\"` for responses".into(),
        });
    }
    let matched = match_rows(wanted, found);
    if !matched.extra.is_empty() {
        findings.push(Finding::note(
            "rows_not_used",
            format!(
                "{what}: {} rows are not stimuli of the study and are left out: {}",
                matched.extra.len(),
                stereotax_io::names::list(&matched.extra)
            ),
        ));
    }
    Ok(matched.complete(path, found)?)
}

fn given_ceilings(study: &Study, benchmark: &Benchmark) -> Result<Option<Vec<f64>>, StudyError> {
    let Some(ArraySource::File { file, .. }) = &benchmark.rois else { return Ok(None) };
    let table = stereotax_io::Delimited::read(&study.path(file))?;
    if !table.has("ceiling") {
        return Ok(None);
    }
    Ok(Some(table.numbers("ceiling")?))
}

fn matrix(values: &[f64], n_rows: usize, n_columns: usize) -> Mat<f64> {
    Mat::from_fn(n_rows, n_columns, |i, j| values[i * n_columns + j])
}

/// Read every activation once: refuse what is not finite and layers that do not vary.
pub fn verify(inputs: &Inputs, monitor: &Monitor) -> Result<(), StudyError> {
    use rayon::prelude::*;
    for model in &inputs.models {
        for activation in &model.activations {
            let context = format!("model `{}`", model.model.name);
            (0..activation.layers.layers().len())
                .into_par_iter()
                .try_for_each(|layer| verify_layer(&activation.layers, layer, monitor))
                .map_err(StudyError::in_context(&context))?;
        }
    }
    Ok(())
}

fn verify_layer(source: &FileLayers, layer: usize, monitor: &Monitor) -> stereotax::Result<()> {
    let info = &source.layers()[layer];
    let rows = ((1 << 18) / info.width.max(1)).max(1);
    let mut first: Vec<f64> = Vec::new();
    let mut varies = false;
    for from in (0..source.n_samples()).step_by(rows) {
        monitor.check()?;
        let to = (from + rows).min(source.n_samples());
        let mut tile = vec![0.0; (to - from) * info.width];
        source.read_rows(layer, from..to, &mut tile)?;
        if let Some(at) = tile.iter().position(|x| !x.is_finite()) {
            return Err(stereotax::Error::NotFinite {
                what: format!("layer `{}`", info.name),
                row: from + at / info.width,
                column: at % info.width,
                count: tile.iter().filter(|x| !x.is_finite()).count(),
                hint: "leave these samples out of the stimulus file, or repair the activations".into(),
            });
        }
        if from == 0 {
            first = tile[..info.width].to_vec();
        }
        varies |= tile.chunks_exact(info.width).any(|row| row != first);
    }
    if varies {
        return Ok(());
    }
    Err(stereotax::Error::ZeroVariance {
        what: format!("layer `{}`", info.name),
        detail: format!("all {} samples are alike", source.n_samples()),
        hint: "leave this layer out".into(),
    })
}
