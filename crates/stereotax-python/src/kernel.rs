//! Kernels, and ridge from them.

use faer::{Mat, MatRef};
use numpy::{Element, PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::Result as CoreResult;
use stereotax::data::Fold;
use stereotax::encoding::{self, Kernel, RidgeParams, RidgePlan};
use stereotax::linalg::Real;

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::ridge::{inner_folds, ridge_params, route_word};
use crate::watch;

/// k(a_i, b_j); of `a` with itself, exactly symmetric, where `b` is missing.
#[pyfunction]
#[pyo3(signature = (a, b, kind, gamma, degree, constant))]
pub fn kernel_matrix<'py>(
    py: Python<'py>,
    a: &Bound<'py, PyAny>,
    b: Option<&Bound<'py, PyAny>>,
    kind: &str,
    gamma: Option<f64>,
    degree: u32,
    constant: f64,
) -> Result<Bound<'py, PyArray2<f64>>> {
    let kernel = match kind {
        "poly" => Kernel::Polynomial { gamma, degree, constant },
        "rbf" => Kernel::Rbf { gamma },
        _ => Kernel::Linear,
    };
    let a = Matrix::new("X", a)?;
    let b = b.map(|b| Matrix::new("X", b)).transpose()?;
    let (a, b) = (a.view(), b.as_ref().map(|b| b.view()));
    let found = watch::run(py, |_| match b {
        Some(b) => encoding::kernel_matrix(a, b, kernel),
        None => encoding::own_kernel(a, kernel),
    })?;
    Ok(to_array(py, found.as_ref())?)
}

/// Choose penalties and fit the weights of all samples.
#[pyfunction]
#[pyo3(signature = (kernel, y, folds, alphas, absolute, per_target, by_correlation, fit_intercept, selection, keep))]
pub fn kernel_ridge_cv<'py>(
    py: Python<'py>,
    kernel: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    folds: Vec<(Vec<usize>, Vec<usize>)>,
    alphas: Vec<f64>,
    absolute: bool,
    per_target: bool,
    by_correlation: bool,
    fit_intercept: bool,
    selection: &str,
    keep: bool,
) -> Result<Bound<'py, PyDict>> {
    let params = ridge_params(alphas, absolute, per_target, by_correlation, fit_intercept, selection);
    let inner = inner_folds(folds);
    let kernel = Matrix::new("K", kernel)?;
    // In the precision of the targets.
    if let Some(y) = Matrix::single("y", y) {
        return fit(py, kernel.view(), y?.view(), &inner, &params, keep);
    }
    fit(py, kernel.view(), Matrix::new("y", y)?.view(), &inner, &params, keep)
}

fn fit<'py, T: Real + Element>(
    py: Python<'py>,
    kernel: MatRef<'_, f64>,
    y: MatRef<'_, T>,
    inner: &[Fold],
    params: &RidgeParams,
    keep: bool,
) -> Result<Bound<'py, PyDict>> {
    let (fit, weights, held_out) = watch::run(py, |_| -> CoreResult<_> {
        let none = Mat::zeros(0, kernel.ncols());
        let plan = RidgePlan::of_kernel(kernel, none.as_ref(), inner, params)?;
        let fit = plan.fit(y)?;
        let weights = plan.dual_weights(kernel, y, &fit.alphas)?;
        let held_out = keep.then(|| plan.inner_predictions(y, &fit.alphas)).transpose()?;
        Ok((fit, weights, held_out))
    })?;
    Ok(dict!(py, {
        "dual": to_array(py, weights.coefficients.as_ref())?,
        "intercept": PyArray1::from_vec(py, weights.intercepts),
        "alpha": PyArray1::from_vec(py, fit.alphas),
        "score": PyArray1::from_vec(py, fit.inner_scores),
        "held_out": held_out.map(|values| to_array(py, values.as_ref())).transpose()?,
        "route": route_word(fit.route),
    }))
}
