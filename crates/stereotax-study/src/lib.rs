//! A study: `study.toml`, the staged plan, content-addressed nodes, the run and its results.
//!
//! `Study::load` reads the file; [`check`] reads everything it names; [`plan`] says what would be
//! computed; [`run`] computes what is missing and writes the results. Nothing here draws or parses flags.

pub mod config;
mod digests;
mod error;
pub mod hints;
mod inputs;
mod node;
mod plan;
pub mod results;
mod run;
pub mod settings;
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
    let mut found = Vec::new();
    for b in &inputs.benchmarks {
        found.push(Finding::note(
            "benchmark",
            format!(
                "benchmark `{}`: {} samples in {} run(s), {} subject(s), {} ROIs, {} folds",
                b.id,
                b.design.n_samples(),
                b.design.runs.n_runs(),
                b.subjects.len(),
                b.rois.len(),
                b.design.folds.len(),
            ),
        ));
    }
    for b in &inputs.benchmarks {
        for s in &b.surfaces {
            found.push(Finding::note(
                "surface",
                format!(
                    "surface of `{}` ({}): {} vertices, {} triangles; {} vertices lie in ROIs",
                    b.id,
                    s.hemisphere,
                    s.mesh.vertices.len(),
                    s.mesh.faces.len(),
                    s.roi.iter().flatten().count(),
                ),
            ));
        }
    }
    for m in &inputs.models {
        for a in &m.activations {
            let widths: Vec<usize> = a.layers.layers().iter().map(|l| l.width).collect();
            found.push(Finding::note(
                "model",
                format!(
                    "model `{}` on `{}`: {} layers of widths {widths:?}",
                    m.model.name,
                    a.stimuli,
                    widths.len()
                ),
            ));
        }
    }
    found.extend(inputs.findings);
    Ok(found)
}
