//! Partial least squares regression.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::data::Fold;
use stereotax::encoding::{self, PlsParams};

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// Fit on all rows.
#[pyfunction]
#[pyo3(signature = (x, y, n_components, scale))]
pub fn pls<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    n_components: usize,
    scale: bool,
) -> Result<Bound<'py, PyDict>> {
    let (x, y) = (Matrix::new("X", x)?, Matrix::new("y", y)?);
    let (x, y) = (x.view(), y.view());
    let params = PlsParams { n_components, scale };
    let fit = watch::run(py, |monitor| encoding::pls(x, y, &params, monitor))?;
    Ok(dict!(py, {
        "coef": to_array(py, fit.weights.as_ref())?,
        "intercept": PyArray1::from_vec(py, fit.intercepts),
        "n_components": fit.n_components,
        "stopped": fit.stopped,
    }))
}

/// Predict the test rows of every fold.
#[pyfunction]
#[pyo3(signature = (x, y, folds, n_components, scale))]
pub fn pls_folds<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    folds: Vec<(Vec<usize>, Vec<usize>)>,
    n_components: usize,
    scale: bool,
) -> Result<Vec<Bound<'py, PyDict>>> {
    let (x, y) = (Matrix::new("X", x)?, Matrix::new("y", y)?);
    let (x, y) = (x.view(), y.view());
    let params = PlsParams { n_components, scale };
    let folds: Vec<Fold> = folds
        .into_iter()
        .enumerate()
        .map(|(i, (train, test))| Fold { name: i.to_string(), train, test })
        .collect();
    watch::run(py, |monitor| encoding::pls_of_folds(x, y, &folds, &params, monitor))?
        .into_iter()
        .map(|found| {
            Ok(dict!(py, {
                "predicted": to_array(py, found.predicted.as_ref())?,
                "n_components": found.n_components,
                "stopped": found.stopped,
            }))
        })
        .collect()
}
