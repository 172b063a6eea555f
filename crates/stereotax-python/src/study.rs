//! A whole study: check, plan, run, and the tables of a finished run.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax_study::{Options, Study};

use crate::convert::dict;
use crate::error::{Failure, Result};
use crate::tables::columns;
use crate::watch;

/// Severity, code and text of everything that a study's files show.
#[pyfunction]
#[pyo3(signature = (path))]
pub fn study_check(py: Python<'_>, path: PathBuf) -> Result<Vec<(String, String, String)>> {
    let found = watch::run(py, |monitor| stereotax_study::check(&Study::load(&path)?, monitor))?;
    Ok(found.into_iter().map(|line| (line.severity, line.code, line.text)).collect())
}

/// The nodes of a run and what they would take.
#[pyfunction]
#[pyo3(signature = (path, out, threads, max_memory))]
pub fn study_plan(
    py: Python<'_>,
    path: PathBuf,
    out: PathBuf,
    threads: Option<usize>,
    max_memory: Option<u64>,
) -> Result<Bound<'_, PyDict>> {
    let options = options(threads, max_memory, false);
    let plan = watch::run(py, |_| stereotax_study::plan(&Study::load(&path)?, &out, &options))?;
    let text = |of: fn(&stereotax_study::PlannedNode) -> &String| -> Vec<String> {
        plan.nodes.iter().map(|node| of(node).clone()).collect()
    };
    let nodes = dict!(py, {
        "key": text(|n| &n.key),
        "kind": text(|n| &n.kind),
        "label": text(|n| &n.label),
        "done": plan.nodes.iter().map(|n| n.done).collect::<Vec<_>>(),
        "seconds": plan.nodes.iter().map(|n| n.seconds).collect::<Vec<_>>(),
    });
    Ok(dict!(py, {
        "nodes": nodes,
        "seconds": plan.forecast.seconds,
        "memory_bytes": plan.forecast.memory_bytes,
        "disk_bytes": plan.forecast.disk_bytes,
    }))
}

/// Compute what is missing; write results and report.
#[pyfunction]
#[pyo3(signature = (path, out, threads, max_memory, recheck, progress))]
pub fn study_run<'py>(
    py: Python<'py>,
    path: PathBuf,
    out: PathBuf,
    threads: Option<usize>,
    max_memory: Option<u64>,
    recheck: bool,
    progress: Option<Bound<'py, PyAny>>,
) -> Result<Bound<'py, PyDict>> {
    let options = options(threads, max_memory, recheck);
    let outcome = watch::run_told(py, progress.as_ref(), |monitor| -> std::result::Result<_, Failure> {
        let outcome = stereotax_study::run(&Study::load(&path)?, &out, &options, monitor)?;
        let (tables, manifest) = stereotax_study::results::read(&out)?;
        let page = stereotax_report::render(&stereotax_report::ReportInput { tables, manifest })?;
        stereotax_io::write_atomic(&out.join("report.html"), page.as_bytes())?;
        Ok(outcome)
    })?;
    Ok(dict!(py, {
        "computed": outcome.computed,
        "reused": outcome.reused,
        "warnings": outcome.warnings,
    }))
}

/// The tables of a finished run by name (columns by name), and the manifest as JSON text.
#[pyfunction]
#[pyo3(signature = (out))]
pub fn study_results(py: Python<'_>, out: PathBuf) -> Result<(Bound<'_, PyDict>, String)> {
    let (tables, manifest) = watch::run(py, |_| stereotax_study::results::read(&out))?;
    let found = PyDict::new(py);
    for (name, table) in &tables {
        found.set_item(name, columns(py, table)?)?;
    }
    Ok((found, manifest.to_string()))
}

fn options(threads: Option<usize>, max_memory: Option<u64>, recheck: bool) -> Options {
    let default = Options::default();
    Options { max_memory: max_memory.unwrap_or(default.max_memory), threads, recheck }
}
