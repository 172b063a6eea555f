//! Latent factors of residuals, and the zero-inflated gamma distribution.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::encoding::{self, FactorParams, LatentFactors, ZeroInflatedGamma};

use crate::arrays::{Matrix, to_array, to_mat};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// Fit factors.
#[pyfunction]
#[pyo3(signature = (residuals, n_factors, max_iterations, tolerance))]
pub fn latent_factors<'py>(
    py: Python<'py>,
    residuals: &Bound<'py, PyAny>,
    n_factors: usize,
    max_iterations: usize,
    tolerance: f64,
) -> Result<Bound<'py, PyDict>> {
    let x = Matrix::new("residuals", residuals)?;
    let x = x.view();
    let params = FactorParams { n_factors, max_iterations, tolerance };
    let found = watch::run(py, |monitor| encoding::latent_factors(x, &params, monitor))?;
    Ok(dict!(py, {
        "means": PyArray1::from_vec(py, found.means),
        "loadings": to_array(py, found.loadings.as_ref())?,
        "noise_variance": PyArray1::from_vec(py, found.noise_variance),
        "log_likelihood": found.log_likelihood,
        "n_iter": found.n_iterations,
        "converged": found.converged,
    }))
}

/// Factors, or (`of_neurons`) all neurons, given the observed neurons.
#[pyfunction]
#[pyo3(signature = (fitted, residuals, observed, of_neurons))]
pub fn latent_given_observed<'py>(
    py: Python<'py>,
    fitted: &Bound<'py, PyDict>,
    residuals: &Bound<'py, PyAny>,
    observed: Vec<bool>,
    of_neurons: bool,
) -> Result<Bound<'py, PyAny>> {
    let model = read(fitted)?;
    let x = Matrix::new("residuals", residuals)?;
    let x = x.view();
    let found = watch::run(py, |_| {
        if of_neurons { model.conditional_mean(x, &observed) } else { model.factors(x, &observed) }
    })?;
    Ok(to_array(py, found.as_ref())?.into_any())
}

/// Log-likelihood per sample.
#[pyfunction]
#[pyo3(signature = (fitted, residuals))]
pub fn latent_log_likelihood(fitted: &Bound<'_, PyDict>, residuals: &Bound<'_, PyAny>) -> Result<f64> {
    let x = Matrix::new("residuals", residuals)?;
    Ok(read(fitted)?.score(x.view())?)
}

fn read(fitted: &Bound<'_, PyDict>) -> Result<LatentFactors> {
    let item = |name: &str| fitted.as_any().get_item(name);
    Ok(LatentFactors {
        means: item("means")?.extract()?,
        loadings: to_mat(Matrix::new("loadings", &item("loadings")?)?.view()),
        noise_variance: item("noise_variance")?.extract()?,
        log_likelihood: f64::NAN,
        n_iterations: 0,
        converged: false,
    })
}

/// q, k, θ by maximum likelihood of each neuron.
#[pyfunction]
#[pyo3(signature = (y, loc))]
pub fn fit_zero_inflated_gamma(y: &Bound<'_, PyAny>, loc: f64) -> Result<Vec<(f64, f64, f64)>> {
    let y = Matrix::new("y", y)?;
    let of = |column: Vec<f64>| -> Result<(f64, f64, f64)> {
        let found = ZeroInflatedGamma::fit(&column, loc)?;
        Ok((found.q, found.shape, found.scale))
    };
    y.view().col_iter().map(|c| of(c.iter().copied().collect())).collect()
}

/// Log-density of every response, mean and variance, from q, k and θ of each neuron.
#[pyfunction]
#[pyo3(signature = (y, parameters, loc))]
pub fn zero_inflated_gamma<'py>(
    py: Python<'py>,
    y: &Bound<'py, PyAny>,
    parameters: Vec<(f64, f64, f64)>,
    loc: f64,
) -> Result<(Bound<'py, PyAny>, Vec<f64>, Vec<f64>)> {
    let y = Matrix::new("y", y)?;
    let y = y.view();
    let of = parameters
        .into_iter()
        .map(|(q, shape, scale)| Ok(ZeroInflatedGamma::new(q, shape, scale, loc)?))
        .collect::<Result<Vec<_>>>()?;
    let density = faer::Mat::from_fn(y.nrows(), y.ncols(), |i, j| of[j].log_density(y[(i, j)]));
    let moments = (of.iter().map(|d| d.mean()).collect(), of.iter().map(|d| d.variance()).collect());
    Ok((to_array(py, density.as_ref())?.into_any(), moments.0, moments.1))
}
