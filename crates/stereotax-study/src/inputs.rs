//! Load what a study names, and say what does not fit together.
//!
//! Responses are held in memory; activations are opened, not read. Every dropped row is counted and
//! named in a finding.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use faer::{Mat, MatRef};
use stereotax::data::{Monitor, Runs, TileSource};
use stereotax::linalg::product;
use stereotax::pipelines::{self, Clock, SampleDesign};
use stereotax::signal::{Drift, Hrf, LanczosParams, Normalise, Resampling, box_of, first_component};
use stereotax_io::{
    ArrayFile, Atlas, Delimited, FileFormat, FileLayers, LoadedResponses, LoadedVoxels, Mesh, NanPolicy,
    ResponseAxis, ResponsesParams, RoiInfo, StimulusTable, Targets, VertexLabels, VolumeGrid, load_responses,
    load_voxels, match_by_order, match_rows, own_ids, read_mesh, read_stimuli, read_texts,
    read_vertex_labels,
};

use crate::config::{
    self, ArraySource, Axis, Benchmark, Blocks, LanczosWeights, NfasSettings, Repeats, Resample, RoiSummary,
    StimulusSet, SubjectMode, Voxels,
};
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
    /// Seconds after the onset, ascending, where responses have times: ROI j is that of channel j / times at time
    /// j % times. Empty otherwise.
    pub times_s: Vec<f64>,
    /// Ceilings given in the ROI table, as correlations.
    pub given_ceilings: Option<Vec<f64>>,
    /// Low-level features.
    pub nuisance: Vec<NuisanceInput>,
    /// Surfaces for maps; nothing is computed from them.
    pub surfaces: Vec<SurfaceInput>,
    /// Labelled voxels for maps; nothing is computed from them.
    pub volume: Option<VolumeInput>,
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
    /// ROIs whose responses are not finite somewhere, ascending; they are 0 throughout and have no score.
    pub not_finite: Vec<usize>,
    /// The voxels behind the ROIs, where labels say which they are and similarity is asked for.
    pub voxels: Option<VoxelInput>,
    /// Digest of the file and of how it was read.
    pub digest: String,
}

/// The voxels of one subject, cleaned.
#[derive(Debug)]
pub struct VoxelInput {
    /// Samples × voxels, mean over repeats.
    pub responses: Mat<f64>,
    /// ROI of each voxel, by position in the benchmark's list.
    pub roi_of: Vec<usize>,
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

/// One surface of a benchmark.
#[derive(Debug)]
pub struct SurfaceInput {
    /// Which hemisphere it shows: `left`, `right` or `both`.
    pub hemisphere: &'static str,
    /// Its vertices and triangles.
    pub mesh: Mesh,
    /// Index of the ROI of each vertex.
    pub roi: Vec<Option<usize>>,
    /// Digest of its files.
    pub digest: String,
}

/// The label volume of a benchmark.
#[derive(Debug)]
pub struct VolumeInput {
    /// Where its voxels stand; the affine is known.
    pub grid: VolumeGrid,
    /// Labelled voxels in order, i fastest.
    pub runs: Vec<VoxelRun>,
    /// Digest of its file.
    pub digest: String,
}

/// Voxels in a row, along i, that belong to the same ROI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoxelRun {
    /// i, j and k of the first one, counted from 0.
    pub first: [usize; 3],
    /// How many.
    pub n: usize,
    /// Index of their ROI; `None` for labels that are no ROI.
    pub roi: Option<usize>,
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
    /// The layers, rows in the order of the stimulus set, or of the events.
    pub layers: FileLayers,
    /// Digest of the files and of how they are read.
    pub digest: String,
    /// Where rows are events: how they come to the clock of each benchmark, by its index.
    pub on_clock: BTreeMap<usize, OnClock>,
}

/// Events of a network on the clock of a benchmark.
#[derive(Debug)]
pub struct OnClock {
    /// From events to volumes.
    pub resampling: Resampling,
    /// The events with the folds of the volumes in which they lie.
    pub design: SampleDesign,
    /// Digest of times, runs and rule.
    pub digest: String,
}

/// The samples of a stimulus set in the order of its file, less those that are trimmed.
struct Timeline {
    table: StimulusTable,
    /// Ids of all rows of the file, to which files without ids correspond row by row.
    all_ids: Vec<String>,
    /// The rows that are kept.
    kept: Vec<usize>,
}

impl Timeline {
    fn whole(table: StimulusTable) -> Self {
        Timeline { all_ids: table.ids.clone(), kept: (0..table.ids.len()).collect(), table }
    }

    /// Read a set and leave out the volumes that begin within `trim_start_s` of the start of their run or
    /// end within `trim_end_s` of its end (specs: nfas-dmd 8.2).
    fn read(study: &Study, set: &StimulusSet) -> Result<Self, StudyError> {
        let whole = Timeline::whole(read_stimuli(&study.path(&set.ids))?);
        if set.trim_start_s == 0.0 && set.trim_end_s == 0.0 {
            return Ok(whole);
        }
        let table = whole.table;
        let wrong = |what: String, hint: &str| StudyError::Input { what, hint: hint.into() };
        let Some(onsets) = &table.onset_s else {
            return Err(wrong(
                format!("stimulus set `{}` is trimmed, but its file has no column `onset_s`", set.id),
                "give the seconds from the start of the run to each volume",
            ));
        };
        let runs = match &table.runs {
            Some(labels) => Runs::from_labels(labels).map_err(StudyError::in_context(&set.id))?,
            None => Runs::single(table.ids.len()),
        };
        let mut kept = Vec::new();
        for (name, range) in runs.names().iter().zip(runs.ranges()) {
            let here = &onsets[range.clone()];
            let (first, last) = (here[0], here[here.len() - 1]);
            // A volume lasts as long as volumes are apart; the last one ends the run.
            let length = (last - first) / (here.len() as f64 - 1.0).max(1.0);
            let (from, to) = (first + set.trim_start_s, last + length - set.trim_end_s);
            let before = kept.len();
            kept.extend(range.filter(|&i| {
                onsets[i] >= from - 1e-9 * length && onsets[i] + length <= to + 1e-9 * length.abs()
            }));
            if kept.len() == before {
                return Err(wrong(
                    format!("trimming leaves nothing of run `{name}` of stimulus set `{}`", set.id),
                    "trim less",
                ));
            }
        }
        let pick = |values: &Option<Vec<f64>>| {
            values.as_ref().map(|values| kept.iter().map(|&i| values[i]).collect::<Vec<f64>>())
        };
        let texts = |values: &[String]| kept.iter().map(|&i| values[i].clone()).collect::<Vec<String>>();
        let trimmed = StimulusTable {
            ids: texts(&table.ids),
            runs: table.runs.as_deref().map(texts),
            onset_s: pick(&table.onset_s),
            duration_s: pick(&table.duration_s),
            lines: kept.iter().map(|&i| table.lines[i]).collect(),
            path: table.path.clone(),
        };
        Ok(Timeline { table: trimmed, all_ids: whole.all_ids, kept })
    }

    /// The rows of a file that follows the order of the stimulus file.
    fn in_order(&self, n_found: usize, path: &Path) -> Result<Vec<usize>, StudyError> {
        match_by_order(&self.all_ids, n_found, path)?;
        Ok(self.kept.clone())
    }
}

/// Load a study.
pub fn load(study: &Study, digests: &mut Digests) -> Result<Inputs, StudyError> {
    let mut findings = Vec::new();
    let mut tables: BTreeMap<&str, Timeline> = BTreeMap::new();
    for set in &study.file.stimuli {
        tables.insert(&set.id, Timeline::read(study, set)?);
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
        .map(|model| load_model(study, model, &tables, &benchmarks, digests, &mut findings))
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
    tables: &BTreeMap<&str, Timeline>,
    digests: &mut Digests,
    findings: &mut Vec<Finding>,
) -> Result<BenchmarkInput, StudyError> {
    let analysis = &study.file.analysis;
    let context = format!("benchmark `{}`", benchmark.id);
    let in_context = |e| StudyError::in_context(&context)(e);
    let timeline = &tables[benchmark.stimuli.as_str()];
    let table = &timeline.table;
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
    let seed = study.file.seed;
    let folds =
        settings::outer_folds(analysis, &table.ids, &runs, clock, &hrf, gap, seed).map_err(in_context)?;
    let set = study.file.stimuli.iter().find(|s| s.id == benchmark.stimuli);
    let (blocks, block_names) =
        blocks(set.map_or(Blocks::Stimulus, |s| s.blocks), table, &runs, clock, &benchmark.id)?;
    let design = SampleDesign { ids: table.ids.clone(), runs, clock, folds, blocks, block_names };
    design.check().map_err(in_context)?;

    let mut rois: Option<(String, Vec<RoiInfo>)> = None;
    let mut times_s: Option<Vec<f64>> = None;
    let mut subjects = Vec::new();
    for subject in &benchmark.subjects {
        let path = study.path(&subject.responses);
        let of_subject = match &benchmark.times {
            Some(source) => read_times(study, source, &path, &context)?,
            None => Vec::new(),
        };
        if times_s.as_ref().is_some_and(|known| *known != of_subject) {
            return Err(StudyError::Input {
                what: format!("{context}: subject `{}` has other times than the one before", subject.id),
                hint: "bring all subjects to the same times, or make a benchmark of each".into(),
            });
        }
        times_s = Some(of_subject.clone());
        let params = ResponsesParams {
            times_s: of_subject,
            key: subject.key.clone(),
            axes: response_axes(subject),
            targets: targets(study, benchmark),
            // Group statistics of NFAS need every ROI; encoded by itself, a target harms no other one.
            nan: if study.file.wants_nfas { NanPolicy::Refuse } else { NanPolicy::Keep },
            // The default column need not be there; one that was asked for must.
            networks: Some(analysis.networks.clone()).filter(|column| column != "network"),
            further: subject.further.iter().map(|file| study.path(file)).collect(),
            resample_labels: benchmark.resample_labels,
        };
        let (loaded, voxels) = match benchmark.roi_summary {
            RoiSummary::Mean => (load_responses(&path, &params)?, None),
            RoiSummary::FirstPc => {
                let LoadedVoxels { voxels, roi_of, rois } = load_voxels(&path, &params)?;
                (voxels, Some((roi_of, rois)))
            }
        };
        let of_subject = voxels.as_ref().map_or(&loaded.rois, |(_, rois)| rois);
        let names: Vec<String> = of_subject.iter().map(|r| r.roi.clone()).collect();
        match &rois {
            None => rois = Some((subject.id.clone(), of_subject.clone())),
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
        let roi_of = voxels.map(|(roi_of, _)| roi_of);
        let mut read = load_subject(
            study,
            benchmark,
            subject,
            &loaded,
            roi_of.as_deref(),
            timeline,
            &design,
            digests,
            findings,
        )?;
        if study.file.similarity.is_some() && matches!(benchmark.voxels, Voxels::Labels(_)) {
            let LoadedVoxels { voxels, roi_of, .. } = load_voxels(&path, &params)?;
            // What is to be told of the rows was told above.
            let mut told = Vec::new();
            let single = load_subject(
                study, benchmark, subject, &voxels, None, timeline, &design, digests, &mut told,
            )?;
            read.voxels = Some(VoxelInput { responses: single.responses, roi_of });
        }
        subjects.push(read);
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
            let rows = timeline.in_order(loaded.n_samples, &path)?;
            let values = matrix(&loaded.repeat_mean(), loaded.n_samples, loaded.rois.len());
            let values = Mat::from_fn(rows.len(), values.ncols(), |i, j| values[(rows[i], j)]);
            let digest = digests.file(&path)?;
            Ok(NuisanceInput { name: nuisance.name.clone(), values, digest })
        })
        .collect::<Result<_, StudyError>>()?;
    let surfaces = load_surfaces(study, benchmark, &rois, digests, findings)?;
    let volume = load_volume(study, benchmark, &rois, digests, findings)?;
    let digest = crate::node::digest_of_json(&serde_json::json!({
        "ids": design.ids, "runs": design.runs, "clock": design.clock, "folds": design.folds,
        "blocks": design.blocks, "block_names": design.block_names,
    }));
    Ok(BenchmarkInput {
        id: benchmark.id.clone(),
        stimuli: benchmark.stimuli.clone(),
        given_ceilings: given_ceilings(study, benchmark)?.map(|of_channels| {
            let n_times = times_s.as_ref().map_or(1, |times| times.len().max(1));
            of_channels.into_iter().flat_map(|c| std::iter::repeat_n(c, n_times)).collect()
        }),
        design,
        hrf,
        gap,
        subjects,
        rois,
        times_s: times_s.unwrap_or_default(),
        nuisance,
        surfaces,
        volume,
        digest,
    })
}

/// Seconds of the time axis: finite, ascending, some of them from the onset on.
fn read_times(
    study: &Study,
    source: &ArraySource,
    responses: &Path,
    context: &str,
) -> Result<Vec<f64>, StudyError> {
    let (path, key) = match source {
        ArraySource::File { file, key } => (study.path(file), key.clone()),
        ArraySource::Key { key } => (responses.to_path_buf(), Some(key.clone())),
    };
    let times = ArrayFile::open(&path, key.as_deref())?.read_all()?;
    let wrong = |what: String, hint: &str| StudyError::Input { what, hint: hint.into() };
    if let Some(at) = (0..times.len()).find(|&t| !times[t].is_finite() || t > 0 && times[t] <= times[t - 1]) {
        return Err(wrong(
            format!("{context}: `times` must be ascending numbers, but number {} is {}", at + 1, times[at]),
            "give the seconds of the time axis in order",
        ));
    }
    match times.last() {
        Some(last) if *last >= 0.0 => Ok(times),
        _ => Err(wrong(
            format!("{context}: `times` holds no time from the onset (0 s) on"),
            "count seconds from the onset of the stimulus",
        )),
    }
}

/// Read the surfaces of a benchmark, and say which ROIs they do not show and which labels are no ROI.
fn load_surfaces(
    study: &Study,
    benchmark: &Benchmark,
    rois: &[RoiInfo],
    digests: &mut Digests,
    findings: &mut Vec<Finding>,
) -> Result<Vec<SurfaceInput>, StudyError> {
    let place: BTreeMap<&str, usize> = rois.iter().enumerate().map(|(j, r)| (r.roi.as_str(), j)).collect();
    let numbered = match benchmark.surface.is_empty() {
        true => BTreeMap::new(),
        false => places_of_labels(roi_table(study, benchmark).as_deref(), rois)?,
    };
    let mut surfaces = Vec::new();
    let mut unknown: BTreeMap<String, usize> = BTreeMap::new();
    let mut shown = vec![false; rois.len()];
    for surface in &benchmark.surface {
        let hemisphere = match surface.hemisphere {
            Some(config::Hemisphere::Left) => "left",
            Some(config::Hemisphere::Right) => "right",
            None => "both",
        };
        let vertices = study.path(&surface.vertices);
        let faces = surface.faces.as_ref().map(|f| study.path(f));
        let labels = study.path(&surface.labels);
        let mesh = read_mesh(&vertices, faces.as_deref())?;
        let n = mesh.vertices.len() as f64;
        let side = mesh.vertices.iter().map(|p| p[0]).sum::<f64>() / n;
        if (hemisphere == "left" && side > 10.0) || (hemisphere == "right" && side < -10.0) {
            findings.push(Finding::caution(
                "surface_on_the_other_side",
                format!(
                    "surface of `{}`: the {hemisphere} hemisphere lies at x = {side:.0} mm on average, which is the other side; is it the right file?",
                    benchmark.id
                ),
            ));
        }
        let mut find = |name: String, index: Option<usize>| {
            match index {
                Some(j) => shown[j] = true,
                None => *unknown.entry(name).or_default() += 1,
            }
            index
        };
        let roi: Vec<Option<usize>> = match read_vertex_labels(&labels, mesh.vertices.len())? {
            VertexLabels::Names(names) => names
                .into_iter()
                .map(|name| {
                    let name = name?;
                    let index = place.get(name.as_str()).copied();
                    find(name, index)
                })
                .collect(),
            VertexLabels::Numbers(numbers) => numbers
                .into_iter()
                .map(|number| {
                    let number = number?;
                    let index = i64::try_from(number).ok().and_then(|number| numbered.get(&number).copied());
                    find(number.to_string(), index)
                })
                .collect(),
        };
        let mut files = vec![digests.file(&vertices)?, digests.file(&labels)?];
        if let Some(faces) = &faces {
            files.push(digests.file(faces)?);
        }
        let digest = crate::node::digest_of_json(&serde_json::json!({"surface": files}));
        surfaces.push(SurfaceInput { hemisphere, mesh, roi, digest });
    }
    if surfaces.is_empty() {
        return Ok(surfaces);
    }
    let strangers: Vec<String> = unknown.keys().cloned().collect();
    let words = LabelWords {
        place: "surface",
        units: "vertices",
        unit: "vertex",
        code: "rois_without_surface",
        hint: "name the ROIs as the labels are named, or label vertices by the ROIs' numbers, counted from 1",
    };
    say_unmatched(&words, benchmark, rois, &shown, &strangers, unknown.values().sum(), findings)?;
    Ok(surfaces)
}

/// Read the label volume of a benchmark, and say which ROIs it does not show and which labels are no ROI.
fn load_volume(
    study: &Study,
    benchmark: &Benchmark,
    rois: &[RoiInfo],
    digests: &mut Digests,
    findings: &mut Vec<Finding>,
) -> Result<Option<VolumeInput>, StudyError> {
    let named = benchmark.volume.as_ref().map(|file| study.path(file));
    // Where the responses are volumes, their labels are at hand.
    let of_responses = match &benchmark.voxels {
        Voxels::Labels(ArraySource::File { file, .. }) => Some(study.path(file)),
        _ => None,
    };
    let of_responses = of_responses.filter(|file| FileFormat::of(file).is_ok_and(|f| f == FileFormat::Nifti));
    let Some(path) = named.clone().or(of_responses) else { return Ok(None) };
    let atlas = Atlas::read(&path)?;
    if atlas.grid.affine.is_none() {
        let what = format!("`{}` does not say where its voxels stand", path.display());
        if named.is_some() {
            let hint = "write an affine (sform or qform) into the file, or leave `volume` out";
            return Err(StudyError::Input { what, hint: hint.into() });
        }
        findings
            .push(Finding::note("volume_without_place", format!("{what}; there are no maps of the volume")));
        return Ok(None);
    }
    let place = places_of_labels(roi_table(study, benchmark).as_deref(), rois)?;
    let mut shown = vec![false; rois.len()];
    let mut unknown: BTreeMap<i64, usize> = BTreeMap::new();
    let mut runs = Vec::new();
    let [width, height, _] = atlas.grid.shape;
    for (line, labels) in atlas.labels.chunks_exact(width.max(1)).enumerate() {
        let mut i = 0;
        for run in labels.chunk_by(|a, b| a == b) {
            if run[0] != 0 {
                let roi = place.get(&run[0]).copied();
                match roi {
                    Some(j) => shown[j] = true,
                    None => *unknown.entry(run[0]).or_default() += run.len(),
                }
                runs.push(VoxelRun { first: [i, line % height, line / height], n: run.len(), roi });
            }
            i += run.len();
        }
    }
    let strangers: Vec<String> = unknown.keys().map(i64::to_string).collect();
    let words = LabelWords {
        place: "volume",
        units: "voxels",
        unit: "voxel",
        code: "rois_without_voxels",
        hint: "give the ROI table a column `index` with the label of each ROI",
    };
    say_unmatched(&words, benchmark, rois, &shown, &strangers, unknown.values().sum(), findings)?;
    let digest = crate::node::digest_of_json(&serde_json::json!({"volume": digests.file(&path)?}));
    Ok(Some(VolumeInput { grid: atlas.grid, runs, digest }))
}

/// The table of a benchmark's ROIs, where it is a file.
fn roi_table(study: &Study, benchmark: &Benchmark) -> Option<PathBuf> {
    match &benchmark.rois {
        Some(ArraySource::File { file, .. }) => Some(study.path(file)),
        _ => None,
    }
}

/// The ROI of each label: by the column `index` of the ROI table, else by names that are whole numbers, else by
/// the ROIs' numbers, counted from 1.
fn places_of_labels(table: Option<&Path>, rois: &[RoiInfo]) -> Result<BTreeMap<i64, usize>, StudyError> {
    if let Some(path) = table.filter(|path| FileFormat::of(path).is_ok_and(|f| f == FileFormat::Csv)) {
        let table = Delimited::read(path)?;
        if table.has("index") && table.has("roi") {
            let place: BTreeMap<&str, usize> =
                rois.iter().enumerate().map(|(j, r)| (r.roi.as_str(), j)).collect();
            let (names, labels) = (table.names_of("roi")?, table.numbers("index")?);
            return Ok(names
                .iter()
                .zip(labels)
                .filter(|(_, label)| label.fract() == 0.0)
                .filter_map(|(name, label)| Some((label as i64, *place.get(name.as_str())?)))
                .collect());
        }
    }
    let by_name: Option<BTreeMap<i64, usize>> =
        rois.iter().enumerate().map(|(j, r)| Some((r.roi.parse().ok()?, j))).collect();
    Ok(by_name.unwrap_or_else(|| (0..rois.len()).map(|j| (j as i64 + 1, j)).collect()))
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
            Axis::Time => ResponseAxis::Time,
        })
        .collect();
    (axes != [ResponseAxis::Sample, ResponseAxis::Target]).then_some(axes)
}

fn targets(study: &Study, benchmark: &Benchmark) -> Targets {
    let table = roi_table(study, benchmark);
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
    roi_of: Option<&[usize]>,
    timeline: &Timeline,
    design: &SampleDesign,
    digests: &mut Digests,
    findings: &mut Vec<Finding>,
) -> Result<SubjectInput, StudyError> {
    let path = study.path(&subject.responses);
    let what = format!("responses of `{}` in `{}`", subject.id, benchmark.id);
    let n_rois = loaded.rois.len();
    let found = row_ids(study, subject.ids.as_ref(), &path, benchmark.by_order)?;
    let rows: Vec<Vec<usize>> = match &found {
        Some(ids) if subject.repeats == Repeats::Rows => {
            let all = |wanted: &String| (0..ids.len()).filter(|&i| ids[i] == *wanted).collect();
            let rows: Vec<Vec<usize>> = design.ids.iter().map(all).collect();
            // The error for a missing id is the one that matching gives.
            match_rows(&design.ids, ids).complete(&path, ids)?;
            let n = rows.iter().map(Vec::len).min().unwrap_or(0);
            rows.into_iter().map(|rows| rows[..n].to_vec()).collect()
        }
        found => match_samples(
            timeline,
            found.as_deref(),
            loaded.n_samples,
            benchmark.by_order,
            &path,
            &what,
            findings,
        )?
        .into_iter()
        .map(|row| vec![row])
        .collect(),
    };
    let per_row = rows.first().map_or(1, Vec::len);
    let confounds = subject
        .confounds
        .as_ref()
        .map(|source| load_confounds(study, source, &path, &rows, loaded.n_samples, &what));
    let confounds = confounds.transpose()?;
    let drift = settings::drift(&study.file.analysis);
    let clean = |values: Mat<f64>| -> Result<Mat<f64>, StudyError> {
        let confounds = confounds.as_ref().map(|c| c.as_ref());
        pipelines::clean_responses(values.as_ref(), confounds, design, drift)
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
    let (mut single, mut mean) = (single, mean);
    let not_finite: Vec<usize> =
        (0..n_rois).filter(|&j| mean.col(j).iter().any(|value| !value.is_finite())).collect();
    for &j in &not_finite {
        mean.col_mut(j).fill(0.0);
        single.iter_mut().for_each(|values| values.col_mut(j).fill(0.0));
    }
    if !not_finite.is_empty() {
        let names: Vec<String> = not_finite.iter().map(|&j| loaded.rois[j].roi.clone()).collect();
        let text = format!(
            "{what}: {} of {n_rois} targets hold values that are not finite and have no score: {}",
            names.len(),
            stereotax_io::names::list(&names)
        );
        findings.push(Finding::caution("not_finite", text));
    }
    let mut repeats = if single.len() > 1 {
        single.into_iter().map(clean).collect::<Result<Vec<_>, _>>()?
    } else {
        Vec::new()
    };
    let mut responses = clean(mean)?;
    if let Some(roi_of) = roi_of {
        let weights = component_weights(responses.as_ref(), roi_of, &loaded.rois)
            .map_err(StudyError::in_context(&what))?;
        // One run's voxels have unit variance; their component has not, and is scaled again.
        let scaled = |values: &Mat<f64>| -> Result<Mat<f64>, StudyError> {
            let series = product(values.as_ref(), weights.as_ref());
            pipelines::clean_responses(series.as_ref(), None, design, Drift::Mean)
                .map_err(StudyError::in_context(&what))
        };
        responses = scaled(&responses)?;
        repeats = repeats.iter().map(scaled).collect::<Result<Vec<_>, _>>()?;
    }
    let mut known = serde_json::json!({
        "file": digests.file(&path)?, "key": subject.key, "axes": subject.axes, "repeats": subject.repeats,
        "rows": rows, "drift": study.file.analysis.drift, "voxels": benchmark.voxels,
    });
    // Named only where they are used, so that the keys of other results stay as they are.
    if let Some(source) = &subject.confounds {
        let file = match source {
            ArraySource::File { file, .. } => Some(digests.file(&study.path(file))?),
            ArraySource::Key { .. } => None,
        };
        known["confounds"] = serde_json::json!([source, file]);
    }
    if let Voxels::Labels(ArraySource::File { file, .. }) = &benchmark.voxels {
        known["labels"] = serde_json::json!(digests.file(&study.path(file))?);
        if let Some(ArraySource::File { file, .. }) = &benchmark.rois {
            known["rois"] = serde_json::json!(digests.file(&study.path(file))?);
        }
    }
    if !subject.further.is_empty() {
        let further = subject.further.iter().map(|file| digests.file(&study.path(file)));
        known["further"] = serde_json::json!(further.collect::<Result<Vec<_>, _>>()?);
    }
    if benchmark.resample_labels {
        known["resample_labels"] = true.into();
    }
    if roi_of.is_some() {
        known["roi_summary"] = serde_json::json!(benchmark.roi_summary);
    }
    let digest = crate::node::digest_of_json(&known);
    Ok(SubjectInput { id: subject.id.clone(), responses, repeats, not_finite, voxels: None, digest })
}

/// Confounds in the order of the samples: one row per row of the response file.
fn load_confounds(
    study: &Study,
    source: &ArraySource,
    responses: &Path,
    rows: &[Vec<usize>],
    n_responses: usize,
    what: &str,
) -> Result<Mat<f64>, StudyError> {
    let (path, key) = match source {
        ArraySource::File { file, key } => (study.path(file), key.clone()),
        ArraySource::Key { key } => (responses.to_owned(), Some(key.clone())),
    };
    let loaded = load_responses(&path, &ResponsesParams { key, ..ResponsesParams::default() })?;
    if loaded.n_samples != n_responses || loaded.n_repeats != 1 {
        return Err(StudyError::Input {
            what: format!(
                "{what}: the confounds in `{}` have {} rows, but the responses have {n_responses}",
                path.display(),
                loaded.n_samples
            ),
            hint: "give one row of confounds per row of the responses".into(),
        });
    }
    Ok(Mat::from_fn(rows.len(), loaded.rois.len(), |i, j| loaded.value(rows[i][0], j, 0)))
}

/// What turns voxels into the first component of each ROI (voxels × ROIs).
fn component_weights(
    voxels: MatRef<f64>,
    roi_of: &[usize],
    names: &[RoiInfo],
) -> stereotax::Result<Mat<f64>> {
    let n_rois = roi_of.iter().max().map_or(0, |roi| roi + 1);
    let mut weights = Mat::zeros(roi_of.len(), n_rois);
    for roi in 0..n_rois {
        let members: Vec<usize> = (0..roi_of.len()).filter(|&v| roi_of[v] == roi).collect();
        let series = Mat::from_fn(voxels.nrows(), members.len(), |t, k| voxels[(t, members[k])]);
        let found = first_component(series.as_ref()).map_err(|e| {
            let name = members.first().map_or("", |&v| names[v].roi.as_str());
            stereotax::Error::ZeroVariance {
                what: format!("the voxels of `{name}` and its neighbours"),
                detail: e.to_string(),
                hint: "leave the ROI out".into(),
            }
        })?;
        members.iter().zip(&found.weights).for_each(|(&v, &w)| weights[(v, roi)] = w);
    }
    Ok(weights)
}

/// All subjects as one.
fn group_mean(subjects: Vec<SubjectInput>, design: &SampleDesign) -> stereotax::Result<SubjectInput> {
    let responses: Vec<MatRef<f64>> = subjects.iter().map(|s| s.responses.as_ref()).collect();
    let responses = pipelines::group_mean(&responses, design)?;
    let digests: Vec<&String> = subjects.iter().map(|s| &s.digest).collect();
    let digest = crate::node::digest_of_json(&serde_json::json!({"group_mean": digests}));
    let mut not_finite: Vec<usize> = subjects.iter().flat_map(|s| s.not_finite.clone()).collect();
    not_finite.sort_unstable();
    not_finite.dedup();
    let mut responses = responses;
    not_finite.iter().for_each(|&j| responses.col_mut(j).fill(0.0));
    Ok(SubjectInput { id: "group".into(), responses, repeats: Vec::new(), not_finite, voxels: None, digest })
}

fn load_model(
    study: &Study,
    model: &config::Model,
    tables: &BTreeMap<&str, Timeline>,
    benchmarks: &[BenchmarkInput],
    digests: &mut Digests,
    findings: &mut Vec<Finding>,
) -> Result<ModelInput, StudyError> {
    let mut activations = Vec::new();
    for entry in &model.activations {
        let path = study.path(entry.source.path());
        let pooling = settings::pooling(entry.pooling);
        let open = |rows| FileLayers::open(&path, &entry.layers, pooling, rows);
        let whole = open(None)?;
        let volumes = &tables[entry.stimuli.as_str()];
        let what = format!("activations of `{}`", model.name);
        let found = row_ids(study, entry.ids.as_ref(), &path, entry.by_order)?;
        let events = entry
            .events
            .as_ref()
            .map(|file| Ok::<_, StudyError>(Timeline::whole(read_stimuli(&study.path(file))?)))
            .transpose()?;
        let wanted = events.as_ref().unwrap_or(volumes);
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
        let mut on_clock = BTreeMap::new();
        if let Some(events) = &events {
            let analysis = &study.file.analysis;
            for (index, benchmark) in benchmarks.iter().enumerate() {
                if benchmark.stimuli == entry.stimuli {
                    let mapped =
                        bring_to_clock(&events.table, &volumes.table, benchmark, analysis, &what, findings)?;
                    on_clock.insert(index, mapped);
                }
            }
        }
        activations.push(ActivationInput { stimuli: entry.stimuli.clone(), layers, digest, on_clock });
    }
    Ok(ModelInput { model: model.clone(), activations })
}

/// How events come to the volumes of a benchmark, run by run, and in which folds they lie.
fn bring_to_clock(
    events: &StimulusTable,
    volumes: &StimulusTable,
    benchmark: &BenchmarkInput,
    analysis: &NfasSettings,
    what: &str,
    findings: &mut Vec<Finding>,
) -> Result<OnClock, StudyError> {
    let wrong = |what: String, hint: &str| StudyError::Input { what, hint: hint.into() };
    let Clock::Tr { tr_s } = benchmark.design.clock else {
        return Err(wrong(
            format!("{what} have events, but benchmark `{}` has a stimulus clock", benchmark.id),
            "give the benchmark's clock as { tr_s = … }, or pool the events of each stimulus beforehand",
        ));
    };
    let file = events.path.display();
    let Some(onsets) = &events.onset_s else {
        return Err(wrong(
            format!("{what}: the events of `{file}` have no column `onset_s`"),
            "give the seconds from the start of the run to each event",
        ));
    };
    let middle = |i: usize| onsets[i] + events.duration_s.as_ref().map_or(0.0, |d| 0.5 * d[i]);
    let times: Vec<f64> = (0..onsets.len()).map(middle).collect();
    let runs = &benchmark.design.runs;
    let labels = match &events.runs {
        Some(labels) => labels.clone(),
        None if runs.n_runs() == 1 => vec![runs.names()[0].clone(); times.len()],
        None => {
            return Err(wrong(
                format!(
                    "{what}: the events of `{file}` have no column `run`, but the scan has {}",
                    runs.n_runs()
                ),
                "say in which run each event lies",
            ));
        }
    };
    if let Some(unknown) = labels.iter().find(|label| !runs.names().contains(label)) {
        return Err(wrong(
            format!("{what}: `{file}` has events in run `{unknown}`, which the stimulus file does not have"),
            "spell runs the same in both files",
        ));
    }
    let event_runs = Runs::from_labels(&labels).map_err(StudyError::in_context(what))?;
    if let Some(range) = event_runs.ranges().find(|r| times[r.clone()].windows(2).any(|w| w[0] > w[1])) {
        return Err(wrong(
            format!(
                "{what}: the events of run `{}` in `{file}` are not in the order of time",
                labels[range.start]
            ),
            "sort the events of each run by time",
        ));
    }
    let even = event_runs.ranges().all(|range| is_even(&times[range]));
    let boxes = match analysis.resample {
        Resample::Box => true,
        Resample::Lanczos => false,
        Resample::Auto => even,
    };
    let normalise = match analysis.lanczos_weights {
        LanczosWeights::Normalised => Normalise::Sum,
        LanczosWeights::Raw => Normalise::None,
        LanczosWeights::Auto if even => Normalise::Sum,
        LanczosWeights::Auto => Normalise::None,
    };
    let params = LanczosParams { normalise, ..LanczosParams::default() };
    let mut volume_of = vec![None; times.len()];
    let mut of_run: BTreeMap<&str, Range<usize>> = BTreeMap::new();
    for (name, range) in event_runs.names().iter().zip(event_runs.ranges()) {
        of_run.insert(name, range);
    }
    // Both series run after run; the order of the volumes' runs rules, so events are put in it.
    let mut order: Vec<usize> = Vec::with_capacity(times.len());
    let mut resampling = Resampling::default();
    for (name, range) in runs.names().iter().zip(runs.ranges()) {
        let mine = of_run.get(name.as_str()).cloned().unwrap_or(0..0);
        let here = &times[mine.clone()];
        let starts: Vec<f64> = match &volumes.onset_s {
            Some(onsets) => onsets[range.clone()].to_vec(),
            None => (0..range.len()).map(|i| i as f64 * tr_s).collect(),
        };
        let part = if boxes {
            Resampling::boxes(here, &starts, tr_s)
        } else {
            let middles: Vec<f64> = starts.iter().map(|start| start + 0.5 * tr_s).collect();
            Resampling::lanczos(here, &middles, &params)
        };
        resampling = resampling.then(&part.map_err(StudyError::in_context(what))?);
        for (event, volume) in mine.clone().zip(box_of(here, &starts, tr_s)) {
            volume_of[event] = volume.map(|volume| range.start + volume);
        }
        order.extend(mine);
    }
    if !order.iter().copied().eq(0..times.len()) {
        return Err(wrong(
            format!("{what}: the runs of `{file}` are not in the order of the stimulus file"),
            "sort the events by run as the stimulus file does, then by time",
        ));
    }
    let outside = volume_of.iter().filter(|volume| volume.is_none()).count();
    if outside == times.len() {
        return Err(wrong(
            format!(
                "{what}: none of the {outside} events of `{file}` lies in a volume of `{}`",
                benchmark.id
            ),
            "count seconds from the start of each run",
        ));
    }
    findings.push(Finding::note(
        "events_resampled",
        format!(
            "{what} on `{}`: {} events come to {} volumes by {}; {} volumes have none, {outside} events lie outside",
            benchmark.id,
            times.len(),
            resampling.n_new(),
            match (boxes, normalise) {
                (true, _) => "box averages",
                (false, Normalise::Sum) => "a Lanczos filter, weights normalised",
                (false, Normalise::None) => "a Lanczos filter, weights not normalised",
            },
            resampling.n_empty(),
        ),
    ));
    let folds = benchmark.design.folds.of_parts(&volume_of).map_err(StudyError::in_context(what))?;
    let digest = crate::node::digest_of_json(&serde_json::json!({
        "times": times, "runs": labels, "volumes": volumes.onset_s, "tr_s": tr_s, "boxes": boxes,
        "normalise": normalise,
    }));
    let design = SampleDesign {
        ids: events.ids.clone(),
        runs: event_runs,
        clock: benchmark.design.clock,
        folds,
        // Only depth is fitted on events, and its blocks are its own.
        blocks: vec![0; times.len()],
        block_names: vec!["events".into()],
    };
    design.check().map_err(StudyError::in_context(what))?;
    Ok(OnClock { resampling, design, digest })
}

/// Whether neighbouring times are as far apart everywhere, to one part in a hundred.
fn is_even(times_s: &[f64]) -> bool {
    let gaps: Vec<f64> = times_s.windows(2).map(|w| w[1] - w[0]).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len().max(1) as f64;
    gaps.iter().all(|gap| (gap - mean).abs() <= 0.01 * mean)
}

/// What labels stand on, in words.
struct LabelWords {
    place: &'static str,
    units: &'static str,
    unit: &'static str,
    /// Of the finding for ROIs without a label.
    code: &'static str,
    hint: &'static str,
}

/// Refuse labels none of which is an ROI; name labels without ROI, on `n_strange` units, and ROIs without label.
fn say_unmatched(
    words: &LabelWords,
    benchmark: &Benchmark,
    rois: &[RoiInfo],
    shown: &[bool],
    strangers: &[String],
    n_strange: usize,
    findings: &mut Vec<Finding>,
) -> Result<(), StudyError> {
    let (place, id) = (words.place, &benchmark.id);
    if !shown.contains(&true) {
        return Err(StudyError::Input {
            what: format!(
                "no label of the {place} of benchmark `{id}` is one of its ROIs: labels {}; ROIs {}",
                stereotax_io::names::list(strangers),
                stereotax_io::names::list(&rois.iter().map(|r| r.roi.clone()).collect::<Vec<_>>()),
            ),
            hint: words.hint.into(),
        });
    }
    if !strangers.is_empty() {
        findings.push(Finding::caution(
            "labels_without_roi",
            format!(
                "{place} of `{id}`: {} label(s) on {n_strange} {} are no ROI and stay without colour: {}",
                strangers.len(),
                words.units,
                stereotax_io::names::list(strangers),
            ),
        ));
    }
    let missing: Vec<String> =
        rois.iter().zip(shown).filter(|(_, shown)| !**shown).map(|(r, _)| r.roi.clone()).collect();
    if !missing.is_empty() {
        findings.push(Finding::caution(
            words.code,
            format!(
                "{place} of `{id}`: {} of {} ROIs have no {} and are on no map: {}",
                missing.len(),
                rois.len(),
                words.unit,
                stereotax_io::names::list(&missing),
            ),
        ));
    }
    Ok(())
}

/// The stimulus ids of a file's rows: where the study says that they stand, else from the file itself.
fn row_ids(
    study: &Study,
    source: Option<&ArraySource>,
    data: &Path,
    by_order: bool,
) -> Result<Option<Vec<String>>, StudyError> {
    Ok(match source {
        None if by_order => None,
        None => own_ids(data)?,
        Some(ArraySource::File { file, key }) => Some(read_texts(&study.path(file), key.as_deref())?),
        Some(ArraySource::Key { key }) => Some(read_texts(data, Some(key))?),
    })
}

/// Which row of a file holds each wanted stimulus.
fn match_samples(
    timeline: &Timeline,
    found: Option<&[String]>,
    n_found: usize,
    by_order: bool,
    path: &Path,
    what: &str,
    findings: &mut Vec<Finding>,
) -> Result<Vec<usize>, StudyError> {
    let Some(found) = found else {
        if by_order {
            return timeline.in_order(n_found, path);
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
    let matched = match_rows(&timeline.table.ids, found);
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
    let table = Delimited::read(&study.path(file))?;
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
