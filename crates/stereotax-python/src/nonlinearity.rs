//! Jacobians of encoders, and how nonlinear they say an encoder is.

use faer::{Mat, MatMut};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::data::Monitor;
use stereotax::encoding::{
    self, Activation, DenseLayer, KernelJacobians, MlpJacobians, Nonlinearity, jacobian_nonlinearity,
};

use crate::arrays::{Matrix, new_array, to_array, to_mat};
use crate::convert::dict;
use crate::error::Result;
use crate::options::choose;
use crate::watch;

/// Of Jacobians in memory: samples × (features · targets), the feature running slower.
#[pyfunction]
#[pyo3(signature = (jacobians, n_features))]
pub fn nonlinearity_of_array<'py>(
    py: Python<'py>,
    jacobians: &Bound<'py, PyAny>,
    n_features: usize,
) -> Result<Bound<'py, PyDict>> {
    let all = Matrix::new("jacobians", jacobians)?;
    let all = all.view();
    let n_targets = all.ncols() / n_features.max(1);
    let write = |i: usize, mut out: MatMut<f64>| {
        for m in 0..n_targets {
            (0..n_features).for_each(|d| out[(d, m)] = all[(i, d * n_targets + m)]);
        }
    };
    let size = (all.nrows(), n_features, n_targets);
    tell(py, watch::run(py, |monitor| jacobian_nonlinearity(size, write, monitor))?)
}

/// A perceptron's layers: weights (inputs × outputs), bias or None, activation, skip.
type Layers<'py> = Vec<(Bound<'py, PyAny>, Vec<f64>, String, bool)>;

/// Of a perceptron at the samples of X, or (`all`) its Jacobians themselves, samples · features × targets.
#[pyfunction]
#[pyo3(signature = (x, layers, all))]
pub fn mlp_jacobians<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    layers: Layers<'py>,
    all: bool,
) -> Result<Bound<'py, PyAny>> {
    let x = Matrix::new("X", x)?;
    let layers = layers
        .into_iter()
        .map(|(weights, bias, name, skip)| {
            let weights = to_mat(Matrix::new("weights", &weights)?.view());
            Ok(DenseLayer { weights, bias, activation: activation(&name)?, skip })
        })
        .collect::<Result<Vec<_>>>()?;
    let x = x.view();
    let at = watch::run(py, |_| MlpJacobians::new(layers, x))?;
    answer(py, at.size(), |i, out| at.write(i, out), all)
}

/// Of a kernel ridge regression at the samples of X, or its Jacobians themselves.
#[pyfunction]
#[pyo3(signature = (x, train, dual_weights, length_scale, all))]
pub fn kernel_jacobians<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    train: &Bound<'py, PyAny>,
    dual_weights: &Bound<'py, PyAny>,
    length_scale: f64,
    all: bool,
) -> Result<Bound<'py, PyAny>> {
    let (x, train) = (Matrix::new("X", x)?, Matrix::new("train", train)?);
    let weights = Matrix::new("dual_coef", dual_weights)?;
    let at = KernelJacobians::new(x.view(), train.view(), weights.view(), length_scale)?;
    answer(py, at.size(), |i, out| at.write(i, out), all)
}

/// Responses that are linear in X and as predictable as `y`.
#[pyfunction]
#[pyo3(signature = (x, y, explained, seed))]
pub fn linear_surrogate<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    explained: Vec<f64>,
    seed: u64,
) -> Result<Bound<'py, PyAny>> {
    let (x, y) = (Matrix::new("X", x)?, Matrix::new("y", y)?);
    let (x, y) = (x.view(), y.view());
    let found = watch::run(py, |_| encoding::linear_surrogate(x, y, &explained, seed))?;
    Ok(to_array(py, found.as_ref())?.into_any())
}

fn answer<'py>(
    py: Python<'py>,
    size: (usize, usize, usize),
    write: impl Fn(usize, MatMut<f64>) + Sync + Send,
    all: bool,
) -> Result<Bound<'py, PyAny>> {
    let run = |monitor: &Monitor<'_>| jacobian_nonlinearity(size, &write, monitor);
    if !all {
        return Ok(tell(py, watch::run(py, run)?)?.into_any());
    }
    let (n_samples, n_features, n_targets) = size;
    // Targets × (samples · features): its transpose lies as NumPy reads (samples, features, targets).
    let (array, mut view) = new_array::<f64>(py, n_targets, n_samples * n_features);
    let mut map = Mat::zeros(n_features, n_targets);
    for i in 0..n_samples {
        write(i, map.as_mut());
        view.as_mut().get_mut(.., i * n_features..(i + 1) * n_features).copy_from(map.transpose());
    }
    Ok(array.into_any())
}

fn tell(py: Python<'_>, found: Nonlinearity) -> Result<Bound<'_, PyDict>> {
    let vector = |values: Vec<f64>| PyArray1::from_vec(py, values);
    Ok(dict!(py, {
        "jne": vector(found.jne),
        "deviation": vector(found.deviation),
        "gain": vector(found.gain),
        "normalised_jne": vector(found.normalised_jne),
        "normalised_deviation": vector(found.normalised_deviation),
        "jne_ss": to_array(py, found.per_sample.as_ref())?,
        "n_undefined": found.n_undefined,
    }))
}

fn activation(given: &str) -> Result<Activation> {
    let found = choose(
        "activation",
        given,
        &[
            ("identity", Activation::Identity),
            ("relu", Activation::Relu),
            ("tanh", Activation::Tanh),
            ("sigmoid", Activation::Sigmoid),
            ("softplus", Activation::Softplus),
            ("elu", Activation::Elu),
            ("gelu", Activation::Gelu),
            ("silu", Activation::Silu),
        ],
    )?;
    Ok(found)
}
