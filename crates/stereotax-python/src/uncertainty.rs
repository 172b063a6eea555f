//! Whether predictive uncertainty is honest.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::encoding::{self, PerUnit, PredictiveUncertainty};

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// Of stochastic predictions.
#[pyfunction]
#[pyo3(signature = (samples, truth, noise_variance, levels))]
pub fn predictive_uncertainty<'py>(
    py: Python<'py>,
    samples: Vec<Bound<'py, PyAny>>,
    truth: &Bound<'py, PyAny>,
    noise_variance: Vec<f64>,
    levels: Vec<f64>,
) -> Result<Bound<'py, PyDict>> {
    let samples = samples.iter().map(|s| Matrix::new("samples", s)).collect::<Result<Vec<_>>>()?;
    let views: Vec<_> = samples.iter().map(Matrix::view).collect();
    let truth = Matrix::new("truth", truth)?;
    let truth = truth.view();
    let found =
        watch::run(py, |_| encoding::predictive_uncertainty(&views, truth, &noise_variance, &levels))?;
    tell(py, found)
}

/// Of means and variances.
#[pyfunction]
#[pyo3(signature = (mean, variance, truth, noise_variance, levels))]
pub fn gaussian_uncertainty<'py>(
    py: Python<'py>,
    mean: &Bound<'py, PyAny>,
    variance: &Bound<'py, PyAny>,
    truth: &Bound<'py, PyAny>,
    noise_variance: Vec<f64>,
    levels: Vec<f64>,
) -> Result<Bound<'py, PyDict>> {
    let (mean, variance) = (Matrix::new("mean", mean)?, Matrix::new("variance", variance)?);
    let truth = Matrix::new("truth", truth)?;
    let (mean, variance, truth) = (mean.view(), variance.view(), truth.view());
    let found =
        watch::run(py, |_| encoding::gaussian_uncertainty(mean, variance, truth, &noise_variance, &levels))?;
    tell(py, found)
}

fn tell(py: Python<'_>, found: PredictiveUncertainty) -> Result<Bound<'_, PyDict>> {
    let per_unit = |of: PerUnit| (of.overall, PyArray1::from_vec(py, of.units));
    let by_level = |of: Vec<PerUnit>| of.into_iter().map(per_unit).collect::<Vec<_>>();
    Ok(dict!(py, {
        "mean": to_array(py, found.mean.as_ref())?,
        "epistemic": to_array(py, found.epistemic.as_ref())?,
        "total": to_array(py, found.total.as_ref())?,
        "coverage": by_level(found.coverage),
        "width": by_level(found.width),
        "nll": per_unit(found.nll),
        "crps": per_unit(found.crps),
        "curve_levels": PyArray1::from_vec(py, found.curve_levels),
        "curve": PyArray1::from_vec(py, found.curve),
        "calibration_error": per_unit(found.calibration_error),
    }))
}
