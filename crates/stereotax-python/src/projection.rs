//! Random projections.

use faer::MatRef;
use numpy::{Element, PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use stereotax::encoding::{self, ProjectionKind, RandomProjection};

use crate::arrays::{Matrix, to_array};
use crate::error::Result;
use crate::watch;

/// How many directions keep all distances.
#[pyfunction]
#[pyo3(signature = (n_samples, eps))]
pub fn johnson_lindenstrauss_size(n_samples: usize, eps: f64) -> Result<usize> {
    Ok(encoding::johnson_lindenstrauss_size(n_samples, eps)?)
}

/// Project rows, in their own precision (f64 or f32). Without a density the map is Gaussian.
#[pyfunction]
#[pyo3(signature = (x, n_components, density, seed))]
pub fn random_projection<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    n_components: usize,
    density: Option<f64>,
    seed: u64,
) -> Result<Bound<'py, PyAny>> {
    if let Some(single) = Matrix::single("X", x) {
        return project(py, single?.view(), n_components, density, seed);
    }
    project(py, Matrix::new("X", x)?.view(), n_components, density, seed)
}

/// The matrix of a map (features × components).
#[pyfunction]
#[pyo3(signature = (n_features, n_components, density, seed))]
pub fn projection_matrix<'py>(
    py: Python<'py>,
    n_features: usize,
    n_components: usize,
    density: Option<f64>,
    seed: u64,
) -> Result<Bound<'py, PyAny>> {
    let map = RandomProjection::new(n_features, n_components, kind(density), seed)?;
    Ok(to_array(py, map.dense().as_ref())?.into_any())
}

fn project<'py, T: encoding::Element + Element>(
    py: Python<'py>,
    x: MatRef<'_, T>,
    n_components: usize,
    density: Option<f64>,
    seed: u64,
) -> Result<Bound<'py, PyAny>> {
    let map = RandomProjection::new(x.ncols(), n_components, kind(density), seed)?;
    let found = watch::run(py, |monitor| map.project(x, monitor))?;
    Ok(PyArray1::from_vec(py, found).reshape([x.nrows(), n_components])?.into_any())
}

fn kind(density: Option<f64>) -> ProjectionKind {
    density.map_or(ProjectionKind::Gaussian, ProjectionKind::Sparse)
}
