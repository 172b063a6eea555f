//! Regression on components, and matching of units.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::encoding::{self, ComponentParams, MatchParams, Matching};

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::ridge::inner_folds;
use crate::watch;

/// Least squares on all components, or on as many as folds choose.
#[pyfunction]
#[pyo3(signature = (x, y, folds, most, fit_intercept))]
pub fn component_regression<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    folds: Vec<(Vec<usize>, Vec<usize>)>,
    most: Option<usize>,
    fit_intercept: bool,
) -> Result<Bound<'py, PyDict>> {
    let params = ComponentParams { most, intercept: fit_intercept };
    let inner = inner_folds(folds);
    let (x, y) = (Matrix::new("X", x)?, Matrix::new("y", y)?);
    let (x, y) = (x.view(), y.view());
    let fit = watch::run(py, |_| encoding::component_regression(x, y, &inner, &params))?;
    Ok(dict!(py, {
        "coef": to_array(py, fit.weights.as_ref())?,
        "intercept": PyArray1::from_vec(py, fit.intercepts),
        "n_components": PyArray1::from_vec(py, fit.n_components),
        "score": PyArray1::from_vec(py, fit.scores),
        "rank": fit.rank,
        "variance_shares": PyArray1::from_vec(py, fit.variance_shares),
    }))
}

/// Pair units with targets.
#[pyfunction]
#[pyo3(signature = (x, y, folds, kind))]
pub fn match_units<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    folds: Vec<(Vec<usize>, Vec<usize>)>,
    kind: &str,
) -> Result<Bound<'py, PyDict>> {
    let matching = match kind {
        "one_to_one" => Matching::OneToOne,
        "soft" => Matching::Soft,
        _ => Matching::BestUnit,
    };
    let folds = inner_folds(folds);
    let (x, y) = (Matrix::new("X", x)?, Matrix::new("y", y)?);
    let (x, y) = (x.view(), y.view());
    let found = watch::run(py, |_| encoding::match_units(x, y, &folds, &MatchParams { matching }))?;
    let units: Vec<i64> = found.units.iter().map(|unit| unit.map_or(-1, |at| at as i64)).collect();
    Ok(dict!(py, {
        "scores": PyArray1::from_vec(py, found.scores),
        "units": PyArray1::from_vec(py, units),
        "plan": to_array(py, found.plan.as_ref())?,
        "similarity": found.similarity,
    }))
}
