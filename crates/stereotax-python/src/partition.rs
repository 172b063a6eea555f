//! Variance partition and product measure.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::encoding;

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// Cells of the models of all combinations of sets.
#[pyfunction]
#[pyo3(signature = (observed, predictions, folds))]
pub fn variance_partition<'py>(
    py: Python<'py>,
    observed: &Bound<'py, PyAny>,
    predictions: Vec<Bound<'py, PyAny>>,
    folds: Vec<usize>,
) -> Result<Bound<'py, PyDict>> {
    let observed = Matrix::new("observed", observed)?;
    let predictions =
        predictions.iter().map(|p| Matrix::new("predictions", p)).collect::<Result<Vec<_>>>()?;
    let views: Vec<_> = predictions.iter().map(Matrix::view).collect();
    let observed = observed.view();
    let found = watch::run(py, |_| encoding::variance_partition(observed, &views, &folds))?;
    Ok(dict!(py, {
        "r2": to_array(py, found.r2.as_ref())?,
        "cells": to_array(py, found.cells.as_ref())?,
        "negative": found.negative,
        "overfitted": found.overfitted,
        "n_undefined": found.n_undefined,
    }))
}

/// The parts of the R² of one joint model.
#[pyfunction]
#[pyo3(signature = (observed, parts, folds))]
pub fn product_measure<'py>(
    py: Python<'py>,
    observed: &Bound<'py, PyAny>,
    parts: Vec<Bound<'py, PyAny>>,
    folds: Vec<usize>,
) -> Result<Bound<'py, PyAny>> {
    let observed = Matrix::new("observed", observed)?;
    let parts = parts.iter().map(|p| Matrix::new("parts", p)).collect::<Result<Vec<_>>>()?;
    let views: Vec<_> = parts.iter().map(Matrix::view).collect();
    let observed = observed.view();
    let found = watch::run(py, |_| encoding::product_measure(observed, &views, &folds))?;
    Ok(to_array(py, found.as_ref())?.into_any())
}

/// Weights of held-out predictions (candidates × targets).
#[pyfunction]
#[pyo3(signature = (observed, predictions))]
pub fn stack_held_out<'py>(
    py: Python<'py>,
    observed: &Bound<'py, PyAny>,
    predictions: Vec<Bound<'py, PyAny>>,
) -> Result<Bound<'py, PyAny>> {
    let observed = Matrix::new("y", observed)?;
    let predictions =
        predictions.iter().map(|p| Matrix::new("predictions", p)).collect::<Result<Vec<_>>>()?;
    let views: Vec<_> = predictions.iter().map(Matrix::view).collect();
    let observed = observed.view();
    let found = watch::run(py, |_| encoding::stack_held_out(observed, &views))?;
    Ok(to_array(py, found.as_ref())?.into_any())
}
