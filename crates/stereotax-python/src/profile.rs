//! Encoding, spatial and temporal scores, and half-times.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::encoding::{self, SpatialParams};

use crate::arrays::Matrix;
use crate::convert::dict;
use crate::error::Result;
use crate::{options, watch};

/// The encoding score of one matrix (layers × units) per fold.
#[pyfunction]
#[pyo3(signature = (folds))]
pub fn encoding_score<'py>(py: Python<'py>, folds: Vec<Bound<'py, PyAny>>) -> Result<Bound<'py, PyDict>> {
    let folds = folds.iter().map(|f| Matrix::new("scores", f)).collect::<Result<Vec<_>>>()?;
    let views: Vec<_> = folds.iter().map(Matrix::view).collect();
    let found = encoding::encoding_score(&views)?;
    Ok(dict!(py, {
        "mean": found.mean,
        "best": found.best,
        "best_biased": found.best_biased,
        "selection_bias": found.selection_bias,
        "chosen": PyArray1::from_vec(py, found.chosen.into_iter().map(|c| c as i64).collect()),
        "n_undefined": found.n_undefined,
    }))
}

/// Units whose best score exceeds a quantile of their best null scores.
#[pyfunction]
#[pyo3(signature = (scores, nulls, level))]
pub fn above_null(scores: &Bound<'_, PyAny>, nulls: Vec<Bound<'_, PyAny>>, level: f64) -> Result<Vec<bool>> {
    let scores = Matrix::new("scores", scores)?;
    let nulls = nulls.iter().map(|n| Matrix::new("nulls", n)).collect::<Result<Vec<_>>>()?;
    let views: Vec<_> = nulls.iter().map(Matrix::view).collect();
    Ok(encoding::above_null(scores.view(), &views, level)?)
}

/// Depth of the best layer against a hierarchy.
#[pyfunction]
#[pyo3(signature = (scores, hierarchy, rule, temperature, kept, regions, of_mean_profile, surrogates,
    n_permutations, seed))]
pub fn spatial_score<'py>(
    py: Python<'py>,
    scores: &Bound<'py, PyAny>,
    hierarchy: Vec<f64>,
    rule: &str,
    temperature: f64,
    kept: Vec<bool>,
    regions: Vec<String>,
    of_mean_profile: bool,
    surrogates: Option<Bound<'py, PyAny>>,
    n_permutations: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let scores = Matrix::new("scores", scores)?;
    let surrogates = surrogates.map(|s| Matrix::new("surrogates", &s)).transpose()?;
    let params = SpatialParams {
        rule: options::place_rule(rule, temperature)?,
        kept: &kept,
        regions: &regions,
        of_mean_profile,
        surrogates: surrogates.as_ref().map(Matrix::view),
        n_permutations,
        seed,
    };
    let scores = scores.view();
    let found = watch::run(py, |_| encoding::spatial_score(scores, &hierarchy, &params))?;
    Ok(dict!(py, {
        "r": found.r,
        "p_value": found.p_value,
        "depth": PyArray1::from_vec(py, found.depth),
        "points": found.points,
        "share_kept": found.share_kept,
        "n_at_boundary": found.n_at_boundary,
        "n_tied": found.n_tied,
        "reason": found.reason,
    }))
}

/// Time of best prediction against depth.
#[pyfunction]
#[pyo3(signature = (scores, times, onset, rule, temperature, n_permutations, seed))]
pub fn temporal_score<'py>(
    py: Python<'py>,
    scores: &Bound<'py, PyAny>,
    times: Vec<f64>,
    onset: f64,
    rule: &str,
    temperature: f64,
    n_permutations: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let scores = Matrix::new("scores", scores)?;
    let (scores, rule) = (scores.view(), options::place_rule(rule, temperature)?);
    let found =
        watch::run(py, |_| encoding::temporal_score(scores, &times, onset, rule, n_permutations, seed))?;
    Ok(dict!(py, {
        "r": found.r,
        "p_value": found.p_value,
        "times": PyArray1::from_vec(py, found.times),
        "n_at_boundary": found.n_at_boundary,
        "reason": found.reason,
    }))
}

/// When training reaches half of its gain.
#[pyfunction]
#[pyo3(signature = (steps, scores, baseline, plateau))]
pub fn half_time<'py>(
    py: Python<'py>,
    steps: Vec<f64>,
    scores: Vec<f64>,
    baseline: f64,
    plateau: usize,
) -> Result<Bound<'py, PyDict>> {
    let found = encoding::half_time(&steps, &scores, baseline, plateau)?;
    Ok(dict!(py, {
        "first": found.first,
        "last": found.last,
        "half": found.half,
        "reason": found.reason,
    }))
}
