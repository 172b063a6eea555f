//! Noise ceilings, and scores corrected by reliabilities.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::data::Runs;
use stereotax::stats::ceiling::{self, CeilingKind, CeilingParams};
use stereotax::stats::trial_ceiling::{self as unequal, TrialCeilingParams};
use stereotax::stats::{extrapolated, feve as of_trials};

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::{options, watch};

/// The noise ceiling of every unit.
#[pyfunction]
#[pyo3(signature = (repeats, runs, method, blocks, n_splits, n_bootstraps, level, seed))]
pub fn noise_ceiling<'py>(
    py: Python<'py>,
    repeats: Vec<Bound<'py, PyAny>>,
    runs: Option<Vec<String>>,
    method: &str,
    blocks: Vec<String>,
    n_splits: usize,
    n_bootstraps: usize,
    level: f64,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let params = CeilingParams {
        method: options::ceiling(method)?,
        n_splits,
        n_bootstraps,
        level,
        block_ids: blocks,
        seed,
    };
    let repeats = repeats.iter().map(|r| Matrix::new("repeats", r)).collect::<Result<Vec<_>>>()?;
    let views: Vec<_> = repeats.iter().map(Matrix::view).collect();
    let runs = match runs {
        Some(labels) => Runs::from_labels(&labels)?,
        None => Runs::single(views.first().map_or(0, |v| v.nrows())),
    };
    let found = watch::run(py, |_| ceiling::noise_ceiling(&views, &runs, &params))?;
    let kind = match found.kind {
        CeilingKind::R => "r",
        CeilingKind::R2 => "r2",
        CeilingKind::Reliability => "reliability",
    };
    Ok(dict!(py, {
        "kind": kind,
        "as_r": PyArray1::from_vec(py, found.as_correlations()),
        "values": PyArray1::from_vec(py, found.values),
        "lower": PyArray1::from_vec(py, found.lower),
        "upper": PyArray1::from_vec(py, found.upper),
        "reasons": found.reasons,
        "n_repeats": found.n_repeats,
        "leave_one_out": to_array(py, found.leave_one_out.as_ref())?,
    }))
}

/// The noise ceiling of every unit from single trials.
#[pyfunction]
#[pyo3(signature = (responses, stimuli, blocks, n_bootstraps, level, seed))]
pub fn trial_ceiling<'py>(
    py: Python<'py>,
    responses: &Bound<'py, PyAny>,
    stimuli: Vec<String>,
    blocks: Vec<String>,
    n_bootstraps: usize,
    level: f64,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let responses = Matrix::new("responses", responses)?;
    let responses = responses.view();
    let params = TrialCeilingParams { n_bootstraps, level, seed };
    let found = watch::run(py, |_| unequal::trial_ceiling(responses, &stimuli, &blocks, &params))?;
    Ok(dict!(py, {
        "ceiling": PyArray1::from_vec(py, found.values),
        "lower": PyArray1::from_vec(py, found.lower),
        "upper": PyArray1::from_vec(py, found.upper),
        "ncsnr": PyArray1::from_vec(py, found.ncsnr),
        "mean_inverse": found.mean_inverse,
        "n_stimuli": found.n_stimuli,
        "n_repeated": found.n_repeated,
    }))
}

/// A score corrected by the reliabilities of halves.
#[pyfunction]
#[pyo3(signature = (predicted, observed, least, blocks, n_bootstraps, level, seed))]
pub fn half_corrected<'py>(
    py: Python<'py>,
    predicted: (Bound<'py, PyAny>, Bound<'py, PyAny>),
    observed: (Bound<'py, PyAny>, Bound<'py, PyAny>),
    least: f64,
    blocks: Vec<String>,
    n_bootstraps: usize,
    level: f64,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let f = [Matrix::new("predicted", &predicted.0)?, Matrix::new("predicted", &predicted.1)?];
    let b = [Matrix::new("observed", &observed.0)?, Matrix::new("observed", &observed.1)?];
    let (f, b) = ([f[0].view(), f[1].view()], [b[0].view(), b[1].view()]);
    let params = CeilingParams { n_bootstraps, level, block_ids: blocks, seed, ..CeilingParams::default() };
    let found = watch::run(py, |_| ceiling::half_corrected(f, b, least, &params))?;
    Ok(dict!(py, {
        "score": PyArray1::from_vec(py, found.values),
        "lower": PyArray1::from_vec(py, found.lower),
        "upper": PyArray1::from_vec(py, found.upper),
        "raw": PyArray1::from_vec(py, found.raw),
        "predicted_reliability": PyArray1::from_vec(py, found.predicted_reliability),
        "observed_reliability": PyArray1::from_vec(py, found.observed_reliability),
    }))
}

/// The fraction of explainable variance explained.
#[pyfunction]
#[pyo3(signature = (predicted, repeats, least))]
pub fn feve<'py>(
    py: Python<'py>,
    predicted: &Bound<'py, PyAny>,
    repeats: Vec<Bound<'py, PyAny>>,
    least: f64,
) -> Result<Bound<'py, PyDict>> {
    let predicted = Matrix::new("predicted", predicted)?;
    let repeats = repeats.iter().map(|r| Matrix::new("repeats", r)).collect::<Result<Vec<_>>>()?;
    let views: Vec<_> = repeats.iter().map(Matrix::view).collect();
    let predicted = predicted.view();
    let found = watch::run(py, |_| of_trials::feve(predicted, &views, least))?;
    Ok(dict!(py, {
        "score": PyArray1::from_vec(py, found.values),
        "fev": PyArray1::from_vec(py, found.fev),
    }))
}

/// A ceiling at infinitely many subjects.
#[pyfunction]
#[pyo3(signature = (n_subjects, values, n_bootstraps, seed))]
pub fn extrapolated_ceiling<'py>(
    py: Python<'py>,
    n_subjects: Vec<f64>,
    values: &Bound<'py, PyAny>,
    n_bootstraps: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let values = Matrix::new("ceilings", values)?;
    let values = values.view();
    let found =
        watch::run(py, |_| extrapolated::extrapolated_ceiling(&n_subjects, values, n_bootstraps, seed))?;
    Ok(dict!(py, {
        "ceiling": found.ceiling,
        "scale": found.scale,
        "lower": found.lower,
        "upper": found.upper,
        "n_defined": found.n_defined,
        "reason": found.reason,
    }))
}
