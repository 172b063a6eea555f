//! Ridge over bands of features.

use faer::MatRef;
use numpy::{Element, PyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::data::Fold;
use stereotax::encoding::{self, KernelSearchParams};
use stereotax::linalg::Real;

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::ridge::{inner_folds, ridge_params};
use crate::watch;

/// Points of the simplex.
#[pyfunction]
#[pyo3(signature = (n_bands, n_draws, concentrations, seed))]
pub fn simplex_draws(n_bands: usize, n_draws: usize, concentrations: Vec<f64>, seed: u64) -> Vec<Vec<f64>> {
    encoding::simplex_draws(n_bands, n_draws, &concentrations, seed)
}

/// Search weights of bands and penalties.
#[pyfunction]
#[pyo3(signature = (kernels, y, folds, draws, alphas, absolute, fit_intercept, selection, refine))]
pub fn banded_ridge_cv<'py>(
    py: Python<'py>,
    kernels: Vec<Bound<'py, PyAny>>,
    y: &Bound<'py, PyAny>,
    folds: Vec<(Vec<usize>, Vec<usize>)>,
    draws: Vec<Vec<f64>>,
    alphas: Vec<f64>,
    absolute: bool,
    fit_intercept: bool,
    selection: &str,
    refine: usize,
) -> Result<Bound<'py, PyDict>> {
    let ridge = ridge_params(alphas, absolute, true, false, fit_intercept, selection);
    let params = KernelSearchParams {
        gammas: draws,
        alphas: ridge.alphas,
        selection: ridge.selection,
        intercept: ridge.intercept,
        refine,
    };
    let inner = inner_folds(folds);
    let kernels = kernels.iter().map(|kernel| Matrix::new("K", kernel)).collect::<Result<Vec<_>>>()?;
    let kernels: Vec<MatRef<'_, f64>> = kernels.iter().map(|kernel| kernel.view()).collect();
    // In the precision of the targets.
    if let Some(y) = Matrix::single("y", y) {
        return search(py, &kernels, y?.view(), &inner, &params);
    }
    search(py, &kernels, Matrix::new("y", y)?.view(), &inner, &params)
}

fn search<'py, T: Real + Element>(
    py: Python<'py>,
    kernels: &[MatRef<'_, f64>],
    y: MatRef<'_, T>,
    inner: &[Fold],
    params: &KernelSearchParams,
) -> Result<Bound<'py, PyDict>> {
    let fit = watch::run(py, |monitor| encoding::search_kernels(kernels, y, inner, params, monitor))?;
    let chosen: Vec<i64> = fit.chosen.iter().map(|c| c.map_or(-1, |at| at as i64)).collect();
    Ok(dict!(py, {
        "dual": to_array(py, fit.coefficients.as_ref())?,
        "mean": PyArray1::from_vec(py, fit.means),
        "offset": to_array(py, fit.offsets.as_ref())?,
        "gamma": to_array(py, fit.gammas.as_ref())?,
        "alpha": PyArray1::from_vec(py, fit.alphas),
        "draw": PyArray1::from_vec(py, chosen),
        "score": PyArray1::from_vec(py, fit.scores),
    }))
}
