//! Cluster tests on volumes and surfaces.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::Error;
use stereotax::graph::{Connectivity, Neighbours};
use stereotax::stats::cluster::{self, ClusterParams, ClusterTest, Sides};

use crate::arrays::Matrix;
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// Where vertices lie: a mask with its shape and connectivity (6, 18, 26), faces, or edges.
#[derive(FromPyObject)]
pub struct Told {
    #[pyo3(item)]
    shape: Option<[usize; 3]>,
    #[pyo3(item)]
    mask: Vec<bool>,
    #[pyo3(item)]
    connectivity: usize,
    #[pyo3(item)]
    n_vertices: usize,
    #[pyo3(item)]
    faces: Option<Vec<[usize; 3]>>,
    #[pyo3(item)]
    edges: Vec<[usize; 2]>,
}

impl Told {
    fn neighbours(&self) -> stereotax::Result<Neighbours> {
        if let Some(shape) = self.shape {
            let connectivity = match self.connectivity {
                6 => Connectivity::Faces,
                18 => Connectivity::Edges,
                26 => Connectivity::Corners,
                other => {
                    return Err(Error::Invalid {
                        what: "connectivity".into(),
                        expected: "6, 18 or 26".into(),
                        found: other.to_string(),
                        hint: "6 joins voxels that share a face".into(),
                    });
                }
            };
            return Neighbours::from_mask(shape, &self.mask, connectivity);
        }
        match &self.faces {
            Some(faces) => Neighbours::from_faces(self.n_vertices, faces),
            None => Neighbours::from_edges(self.n_vertices, &self.edges),
        }
    }
}

/// Test subjects × vertices by sign flips, or an observed map (one row) against null maps.
#[pyfunction]
#[pyo3(signature = (values, null, adjacency, areas, threshold, powers, sides, n_draws, seed))]
pub fn cluster_test<'py>(
    py: Python<'py>,
    values: &Bound<'py, PyAny>,
    null: Option<&Bound<'py, PyAny>>,
    adjacency: Told,
    areas: Option<Vec<f64>>,
    threshold: Option<f64>,
    powers: Option<(f64, f64)>,
    sides: &str,
    n_draws: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let sides = match sides {
        "greater" => Sides::Greater,
        "less" => Sides::Less,
        _ => Sides::Two,
    };
    let params = ClusterParams { threshold, tfce: powers, sides, n_draws, seed };
    let values = Matrix::new("data", values)?;
    let null = null.map(|null| Matrix::new("null", null)).transpose()?;
    let (values, null) = (values.view(), null.as_ref().map(|null| null.view()));
    let found: ClusterTest = watch::run(py, |monitor| {
        let neighbours = adjacency.neighbours()?;
        let areas = areas.as_deref();
        match null {
            None => cluster::cluster_test(values, &neighbours, areas, &params, monitor),
            Some(null) => {
                let observed: Vec<f64> = values.row(0).iter().copied().collect();
                cluster::cluster_test_of_null(&observed, null, &neighbours, areas, &params, monitor)
            }
        }
    })?;
    let clusters: Vec<Bound<'py, PyDict>> = found
        .clusters
        .into_iter()
        .map(|cluster| {
            Ok(dict!(py, {
                "vertices": PyArray1::from_vec(py, cluster.vertices),
                "peak": cluster.peak,
                "peak_value": cluster.peak_value,
                "size": cluster.size,
                "mass": cluster.mass,
                "p_size": cluster.p_size,
                "p_mass": cluster.p_mass,
            }))
        })
        .collect::<Result<_>>()?;
    Ok(dict!(py, {
        "statistic": PyArray1::from_vec(py, found.statistic),
        "p_values": PyArray1::from_vec(py, found.p_values),
        "tfce": PyArray1::from_vec(py, found.tfce),
        "tfce_p_values": PyArray1::from_vec(py, found.tfce_p_values),
        "clusters": clusters,
        "n_draws": found.n_draws,
        "exact": found.exact,
    }))
}
