//! The empirical-Bayes in-context encoder.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::encoding::{self, PriorParams, WeightPrior};

use crate::arrays::{Matrix, to_array, to_mat};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// Learn a prior of weights from training voxels.
#[pyfunction]
#[pyo3(signature = (x, y, max_iterations, tolerance))]
pub fn weight_prior<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    max_iterations: usize,
    tolerance: f64,
) -> Result<Bound<'py, PyDict>> {
    let (x, y) = (Matrix::new("X", x)?, Matrix::new("y", y)?);
    let (x, y) = (x.view(), y.view());
    let params = PriorParams { max_iterations, tolerance };
    let found = watch::run(py, |monitor| encoding::weight_prior(x, y, &params, monitor))?;
    Ok(dict!(py, {
        "mean": PyArray1::from_vec(py, found.mean),
        "covariance": to_array(py, found.covariance.as_ref())?,
        "noise_variance": found.noise_variance,
        "n_iter": found.n_iterations,
        "converged": found.converged,
        "root": to_array(py, found.root.as_ref())?,
        "feature_mean": PyArray1::from_vec(py, found.feature_mean),
        "feature_root": to_array(py, found.feature_root.as_ref())?,
    }))
}

/// Weights of voxels from a context.
#[pyfunction]
#[pyo3(signature = (fitted, x, y))]
pub fn encode_in_context<'py>(
    py: Python<'py>,
    fitted: &Bound<'py, PyDict>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
) -> Result<Bound<'py, PyAny>> {
    let prior = read(fitted)?;
    let (x, y) = (Matrix::new("X", x)?, Matrix::new("y", y)?);
    let (x, y) = (x.view(), y.view());
    let found = watch::run(py, |_| prior.encode(x, y))?;
    Ok(to_array(py, found.as_ref())?.into_any())
}

/// Features from responses.
#[pyfunction]
#[pyo3(signature = (fitted, weights, responses, noise_variance))]
pub fn decode_in_context<'py>(
    py: Python<'py>,
    fitted: &Bound<'py, PyDict>,
    weights: &Bound<'py, PyAny>,
    responses: &Bound<'py, PyAny>,
    noise_variance: Vec<f64>,
) -> Result<Bound<'py, PyAny>> {
    let prior = read(fitted)?;
    let (w, r) = (Matrix::new("weights", weights)?, Matrix::new("responses", responses)?);
    let (w, r) = (w.view(), r.view());
    let found = watch::run(py, |_| prior.decode(w, r, &noise_variance))?;
    Ok(to_array(py, found.as_ref())?.into_any())
}

/// Samples × features, samples × voxels.
type Pair<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// Scores against the size of the context.
#[pyfunction]
#[pyo3(signature = (fitted, pool, test, sizes, n_draws, seed))]
pub fn context_curve<'py>(
    py: Python<'py>,
    fitted: &Bound<'py, PyDict>,
    pool: Pair<'py>,
    test: Pair<'py>,
    sizes: Vec<usize>,
    n_draws: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let prior = read(fitted)?;
    let (x, y) = (Matrix::new("X", &pool.0)?, Matrix::new("y", &pool.1)?);
    let (u, v) = (Matrix::new("X_test", &test.0)?, Matrix::new("y_test", &test.1)?);
    let (pool, test) = ((x.view(), y.view()), (u.view(), v.view()));
    let found = watch::run(py, |monitor| {
        encoding::context_curve(&prior, pool, test, &sizes, n_draws, seed, monitor)
    })?;
    Ok(dict!(py, {
        "in_context": to_array(py, found.in_context.as_ref())?,
        "ridge": to_array(py, found.ridge.as_ref())?,
        "prior_mean": PyArray1::from_vec(py, found.prior_mean),
    }))
}

fn read(fitted: &Bound<'_, PyDict>) -> Result<WeightPrior> {
    let item = |name: &str| fitted.as_any().get_item(name);
    let matrix = |name: &str| -> Result<_> { Ok(to_mat(Matrix::new(name, &item(name)?)?.view())) };
    Ok(WeightPrior {
        mean: item("mean")?.extract()?,
        covariance: matrix("covariance")?,
        noise_variance: item("noise_variance")?.extract()?,
        n_iterations: item("n_iter")?.extract()?,
        converged: item("converged")?.extract()?,
        root: matrix("root")?,
        feature_mean: item("feature_mean")?.extract()?,
        feature_root: matrix("feature_root")?,
    })
}
