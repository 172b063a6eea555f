//! Hand tables and group results over as dictionaries of columns.

use std::sync::Arc;

use faer::Mat;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use stereotax::pipelines::group::{GroupResult, ModelScores, PointStatus, ScoredModel};
use stereotax_io::{Column, Table, Values};
use stereotax_study::Finding;

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;

/// The columns of a table by name.
pub fn columns<'py>(py: Python<'py>, table: &Table) -> PyResult<Bound<'py, PyDict>> {
    let columns = PyDict::new(py);
    for Column { name, values } in table.columns() {
        let list = match values {
            Values::Text(values) => PyList::new(py, values)?,
            Values::Number(values) => PyList::new(py, values)?,
            Values::Integer(values) => PyList::new(py, values)?,
            Values::Flag(values) => PyList::new(py, values)?,
        };
        columns.set_item(name, list)?;
    }
    Ok(columns)
}

/// All tables of the group statistics, and what must be known of them.
pub fn tell_group<'py>(py: Python<'py>, group: &GroupResult) -> Result<Bound<'py, PyDict>> {
    let told = PyDict::new(py);
    for (name, table) in stereotax_study::group_tables(group) {
        told.set_item(name, columns(py, &table)?)?;
    }
    let text = |of: fn(&stereotax::pipelines::group::MaxTRow) -> &String| -> Vec<String> {
        group.max_t.iter().map(|row| of(row).clone()).collect()
    };
    let significance = dict!(py, {
        "space": text(|row| &row.space),
        "representation": text(|row| &row.representation),
        "model": text(|row| &row.model),
        "roi": text(|row| &row.roi),
        "p": group.max_t.iter().map(|row| row.p).collect::<Vec<_>>(),
        "p_adj": group.max_t.iter().map(|row| row.p_adj).collect::<Vec<_>>(),
        "p_max_t": group.max_t.iter().map(|row| row.p_max_t).collect::<Vec<_>>(),
        "q_bh": group.max_t.iter().map(|row| row.q_bh).collect::<Vec<_>>(),
        "q_by": group.max_t.iter().map(|row| row.q_by).collect::<Vec<_>>(),
        "n_permutations": group.max_t.iter().map(|row| row.n_permutations).collect::<Vec<_>>(),
    });
    told.set_item("significance", significance)?;
    let findings: Vec<Finding> = group.warnings.iter().map(stereotax_study::as_finding).collect();
    told.set_item("findings", tell_findings(py, findings)?)?;
    Ok(told)
}

/// Severity, code and text of each, in columns.
pub fn tell_findings<'py>(py: Python<'py>, findings: Vec<Finding>) -> PyResult<Bound<'py, PyDict>> {
    let (mut severity, mut code, mut text) = (Vec::new(), Vec::new(), Vec::new());
    for finding in findings {
        severity.push(finding.severity);
        code.push(finding.code);
        text.push(finding.text);
    }
    Ok(dict!(py, { "severity": severity, "code": code, "text": text }))
}

/// What a space must know of a model: kept by the estimator, read back by [`read_scores`].
pub fn tell_scored<'py>(py: Python<'py>, model: &ScoredModel) -> Result<Bound<'py, PyDict>> {
    let scores = model
        .scores
        .iter()
        .map(|s| {
            // NumPy keeps them as doubles, in which every number of single precision is exact.
            let double = |draws: &Mat<f32>| {
                Mat::from_fn(draws.nrows(), draws.ncols(), |b, j| f64::from(draws[(b, j)]))
            };
            let array = |values: &Option<Arc<Mat<f32>>>| {
                values.as_ref().map(|values| to_array(py, double(values).as_ref())).transpose()
            };
            Ok(dict!(py, {
                "representation": &s.representation,
                "r": PyArray1::from_slice(py, &s.r),
                "score": PyArray1::from_slice(py, &s.score),
                "draws": array(&s.draws)?,
                "responses": array(&s.responses)?,
                "null": s.null.as_ref().map(|null| PyArray1::from_slice(py, null.as_slice())),
            }))
        })
        .collect::<PyResult<Vec<_>>>()?;
    let reason = match &model.info.verdict {
        PointStatus::Placed => None,
        PointStatus::NoPoint(reason) => Some(reason),
    };
    Ok(dict!(py, {
        "scores": scores,
        "ceilings": PyArray1::from_slice(py, &model.ceilings),
        "masked": model.masked.clone(),
        "reason": reason,
    }))
}

/// Scores as [`tell_scored`] hands them out.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct ToldScores<'py> {
    representation: String,
    r: Vec<f64>,
    score: Vec<f64>,
    draws: Option<Bound<'py, PyAny>>,
    null: Option<Vec<f32>>,
    responses: Option<Bound<'py, PyAny>>,
}

/// Back from Python.
pub fn read_scores(told: Vec<ToldScores<'_>>) -> Result<Vec<ModelScores>> {
    told.into_iter()
        .map(|s| {
            let single = |what: &str, values: Option<Bound<'_, PyAny>>| -> Result<_> {
                let Some(values) = values else { return Ok(None) };
                let values = Matrix::new(what, &values)?;
                let values = values.view();
                let values = Mat::from_fn(values.nrows(), values.ncols(), |b, j| values[(b, j)] as f32);
                Ok(Some(Arc::new(values)))
            };
            Ok(ModelScores {
                representation: s.representation,
                r: s.r,
                score: s.score,
                draws: single("draws", s.draws)?,
                responses: single("responses", s.responses)?,
                null: s.null.map(Arc::new),
            })
        })
        .collect()
}
