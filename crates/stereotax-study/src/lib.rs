//! A study: `study.toml`, the staged plan, content-addressed nodes, the run and its results.
//!
//! `Study::load` reads the file; [`check`] reads everything it names; [`plan`] says what would be
//! computed; [`run`] computes what is missing and writes the results. Nothing here draws or parses flags.

pub mod config;
mod digests;
mod encoding;
mod error;
pub mod hints;
mod inputs;
mod node;
mod plan;
pub mod results;
mod run;
pub mod settings;
mod similarity;
mod store;
mod summary;
mod tables;

use std::path::{Path, PathBuf};

use stereotax::data::Monitor;

pub use error::StudyError;
pub use node::NodeSpec;
pub use plan::{Forecast, Plan, PlannedNode, plan};
pub use run::{Outcome, references, run, why};
pub use tables::{
    as_finding, depth_findings, edge_finding, group_tables, no_ceiling, point_status,
    show_scores_without_point, verdict_words, word,
};

/// A study file that was read and understood.
#[derive(Debug, Clone)]
pub struct Study {
    /// What it says.
    pub file: config::Study,
    folder: PathBuf,
}

impl Study {
    /// Read and parse a study file.
    ///
    /// Errors: a file that cannot be read; everything that is wrong in it, with line numbers.
    pub fn load(path: &Path) -> Result<Self, StudyError> {
        let text = std::fs::read_to_string(path).map_err(|e| StudyError::Input {
            what: format!("cannot read the study file `{}`: {e}", path.display()),
            hint: "`stereotax init` writes one to start from".into(),
        })?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Self::parse(&text, &name, &folder)
    }

    /// Parse a study; its relative paths start at `folder`.
    pub fn parse(text: &str, name: &str, folder: &Path) -> Result<Self, StudyError> {
        let file = config::parse(text, name).map_err(|e| StudyError::Config(e.to_string()))?;
        Ok(Study { file, folder: folder.to_owned() })
    }

    /// Where a path of the study file points.
    pub(crate) fn path(&self, relative: &Path) -> PathBuf {
        self.folder.join(relative)
    }
}

/// What a run may use, and how far it trusts earlier runs. No choice here changes a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes.
    pub max_memory: u64,
    /// Threads; `None`: all cores.
    pub threads: Option<usize>,
    /// Read input files again even where size and time are as before.
    pub recheck: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { max_memory: 4 << 30, threads: None, recheck: false }
    }
}

/// Something a reader should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Finding {
    /// "note", "caution" or "serious".
    pub severity: String,
    /// A stable word for programs.
    pub code: String,
    /// A sentence or two for people.
    pub text: String,
}

impl Finding {
    pub(crate) fn new(severity: &str, code: &str, text: impl Into<String>) -> Self {
        Finding { severity: severity.into(), code: code.into(), text: text.into() }
    }

    pub(crate) fn note(code: &str, text: impl Into<String>) -> Self {
        Self::new("note", code, text)
    }

    pub(crate) fn caution(code: &str, text: impl Into<String>) -> Self {
        Self::new("caution", code, text)
    }
}

/// Read everything a study names and say what is there; compute nothing, write nothing.
pub fn check(study: &Study, monitor: &Monitor) -> Result<Vec<Finding>, StudyError> {
    use stereotax::data::TileSource;
    let mut digests = digests::Digests::default();
    let inputs = inputs::load(study, &mut digests)?;
    inputs::verify(&inputs, monitor)?;
    let benchmarks = inputs.benchmarks.iter().map(|b| {
        let (design, subjects, rois) = (&b.design, b.subjects.len(), b.rois.len());
        let (n, runs, folds) = (design.n_samples(), design.runs.n_runs(), design.folds.len());
        let text = format!(
            "benchmark `{}`: {n} samples in {runs} run(s), {subjects} subject(s), {rois} ROIs, {folds} folds",
            b.id
        );
        Finding::note("benchmark", text)
    });
    let surfaces = inputs.benchmarks.iter().flat_map(|b| b.surfaces.iter().map(move |s| (&b.id, s)));
    let surfaces = surfaces.map(|(id, s)| {
        let (vertices, triangles) = (s.mesh.vertices.len(), s.mesh.faces.len());
        let inside = s.roi.iter().flatten().count();
        let text = format!(
            "surface of `{id}` ({}): {vertices} vertices, {triangles} triangles; {inside} vertices lie in ROIs",
            s.hemisphere
        );
        Finding::note("surface", text)
    });
    let volumes = inputs.benchmarks.iter().filter_map(|b| Some((&b.id, b.volume.as_ref()?)));
    let volumes = volumes.map(|(id, v)| {
        let count = |inside: bool| -> usize {
            v.runs.iter().filter(|r| !inside || r.roi.is_some()).map(|r| r.n).sum()
        };
        let text = format!(
            "volume of `{id}`: {:?} voxels, of which {} are labelled and {} lie in ROIs",
            v.grid.shape,
            count(false),
            count(true)
        );
        Finding::note("volume", text)
    });
    let models = inputs.models.iter().flat_map(|m| m.activations.iter().map(move |a| (&m.model.name, a)));
    let models = models.map(|(name, a)| {
        let widths: Vec<usize> = a.layers.layers().iter().map(|l| l.width).collect();
        let n = widths.len();
        Finding::note("model", format!("model `{name}` on `{}`: {n} layers of widths {widths:?}", a.stimuli))
    });
    let stuck = inputs.benchmarks.iter().map(|b| few_moves(study, b)).collect::<Result<Vec<_>, _>>()?;
    let mut found: Vec<Finding> = benchmarks.chain(surfaces).chain(volumes).chain(models).collect();
    found.extend(stuck.into_iter().flatten());
    found.extend(inputs.findings);
    Ok(found)
}

/// Whether blocks of single stimuli leave so few ways to move responses that no p-value can be small.
fn few_moves(study: &Study, benchmark: &inputs::BenchmarkInput) -> Result<Option<Finding>, StudyError> {
    use stereotax::pipelines::{Clock, encoding::n_null_moves};
    let (design, hrf, gap) = (&benchmark.design, &benchmark.hrf, benchmark.gap);
    if design.clock != Clock::Stimulus {
        return Ok(None);
    }
    let (file, shared) = (&study.file, &study.file.analysis);
    let nfas = file.wants_nfas.then(|| settings::evaluate(shared, file.seed, design, hrf, gap));
    let encode = file.encoding.as_ref().map(|e| settings::encode(e, shared, file.seed, design, hrf, gap));
    let mut least: Option<f64> = None;
    for params in nfas.iter().chain(&encode) {
        let in_context = StudyError::in_context(&benchmark.id);
        if let Some(n) = n_null_moves(design, params).map_err(in_context)? {
            least = Some(least.map_or(n, |least| least.min(n)));
        }
    }
    Ok(least.filter(|n| *n < 20.0).map(|n| {
        let text = format!(
            "benchmark `{}`: {} blocks of {} samples leave {n} way(s) to move responses within what is held out \
             together, so that no p-value of NFAS or encoding can be below {:.2}; say `blocks = \"stimulus\"` in its \
             [[stimuli]] table if stimuli may change places within a run",
            benchmark.id,
            design.block_names.len(),
            design.n_samples(),
            1.0 / n
        );
        Finding::caution("few_moves", text)
    }))
}
