//! Clusters and loops of points at all scales.

use faer::Mat;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::graph::{self, Bar, Ground, Homology, HomologyParams};

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// Bars as rows (birth, death).
fn bars(diagram: &Matrix<'_>) -> Vec<Bar> {
    let rows = diagram.view();
    (0..rows.nrows()).map(|i| Bar { birth: rows[(i, 0)], death: rows[(i, 1)] }).collect()
}

fn found<'py>(py: Python<'py>, homology: &Homology) -> Result<Bound<'py, PyDict>> {
    let diagram = |bars: &Vec<Bar>| {
        let rows = Mat::from_fn(bars.len(), 2, |i, j| if j == 0 { bars[i].birth } else { bars[i].death });
        to_array(py, rows.as_ref())
    };
    let diagrams = homology.diagrams.iter().map(diagram).collect::<PyResult<Vec<_>>>()?;
    let entropies: Vec<f64> = homology.diagrams.iter().map(|bars| graph::persistence_entropy(bars)).collect();
    Ok(dict!(py, {
        "diagrams": diagrams,
        "threshold": homology.threshold,
        "n_edges": homology.n_edges,
        "entropies": entropies,
    }))
}

/// Of points (rows), by Euclidean distance.
#[pyfunction]
pub fn homology_of_points<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    max_dimension: usize,
    threshold: Option<f64>,
) -> Result<Bound<'py, PyDict>> {
    let x = Matrix::new("points", x)?;
    let x = x.view();
    let params = HomologyParams { max_dimension, threshold };
    let homology = watch::run(py, |monitor| graph::homology_of_points(x, &params, monitor))?;
    found(py, &homology)
}

/// Of condensed distances.
#[pyfunction]
pub fn homology_of_distances<'py>(
    py: Python<'py>,
    n_points: usize,
    distances: Vec<f64>,
    max_dimension: usize,
    threshold: Option<f64>,
) -> Result<Bound<'py, PyDict>> {
    let params = HomologyParams { max_dimension, threshold };
    let run = |monitor: &stereotax::data::Monitor<'_>| {
        graph::persistent_homology(n_points, &distances, &params, monitor)
    };
    let homology = watch::run(py, run)?;
    found(py, &homology)
}

/// Bottleneck (no order) or Wasserstein distance of two diagrams.
#[pyfunction]
pub fn diagram_distance(
    py: Python<'_>,
    a: &Bound<'_, PyAny>,
    b: &Bound<'_, PyAny>,
    order: Option<f64>,
    euclidean: bool,
) -> Result<f64> {
    let (a, b) = (bars(&Matrix::new("a", a)?), bars(&Matrix::new("b", b)?));
    let ground = if euclidean { Ground::Euclidean } else { Ground::Chebyshev };
    watch::run(py, |_| match order {
        None => graph::bottleneck_distance(&a, &b),
        Some(order) => graph::wasserstein_distance(&a, &b, order, ground),
    })
}

/// Bars that hold each scale.
#[pyfunction]
pub fn betti_curve<'py>(
    py: Python<'py>,
    diagram: &Bound<'py, PyAny>,
    scales: Vec<f64>,
) -> Result<Bound<'py, PyArray1<i64>>> {
    let bars = bars(&Matrix::new("diagram", diagram)?);
    let counts = graph::betti_curve(&bars, &scales).into_iter().map(|count| count as i64).collect();
    Ok(PyArray1::from_vec(py, counts))
}

/// Entropy of the lengths of bars.
#[pyfunction]
pub fn persistence_entropy(diagram: &Bound<'_, PyAny>) -> Result<f64> {
    Ok(graph::persistence_entropy(&bars(&Matrix::new("diagram", diagram)?)))
}
