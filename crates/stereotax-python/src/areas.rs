//! Areas and layers: the rule, receptive fields, codes of objects, orders.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::encoding::{self, Contrast, InvarianceParams};

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// The layer of every area.
#[pyfunction]
#[pyo3(signature = (hierarchy, n_layers, lowest_layer))]
pub fn assign_layers(hierarchy: Vec<f64>, n_layers: usize, lowest_layer: usize) -> Result<Vec<usize>> {
    Ok(encoding::assign_layers(&hierarchy, n_layers, lowest_layer)?)
}

/// The rule against other choices.
#[pyfunction]
#[pyo3(signature = (folds, areas, hierarchy, n_flips, seed))]
pub fn area_layers<'py>(
    py: Python<'py>,
    folds: Vec<Bound<'py, PyAny>>,
    areas: Vec<String>,
    hierarchy: Vec<f64>,
    n_flips: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let folds = folds.iter().map(|f| Matrix::new("scores", f)).collect::<Result<Vec<_>>>()?;
    let views: Vec<_> = folds.iter().map(Matrix::view).collect();
    let found = watch::run(py, |_| encoding::area_layers(&views, &areas, &hierarchy, n_flips, seed))?;
    let contrast = |of: Contrast| (of.difference, of.p_value, of.per_area);
    Ok(dict!(py, {
        "areas": found.areas,
        "layers": found.layers,
        "single_layers": found.single_layers,
        "own": found.own,
        "own_per_area": found.own_per_area,
        "against_final": contrast(found.against_final),
        "against_single": contrast(found.against_single),
        "against_permuted": found.against_permuted,
        "p_permuted": found.p_permuted,
        "n_assignments": found.n_assignments,
        "n_undefined": found.n_undefined,
        "biased": found.biased,
    }))
}

/// Fields by reverse correlation (pixels × neurons).
#[pyfunction]
#[pyo3(signature = (images, responses))]
pub fn reverse_correlation<'py>(
    py: Python<'py>,
    images: &Bound<'py, PyAny>,
    responses: &Bound<'py, PyAny>,
) -> Result<Bound<'py, PyAny>> {
    let (x, r) = (Matrix::new("images", images)?, Matrix::new("responses", responses)?);
    let (x, r) = (x.view(), r.view());
    let found = watch::run(py, |_| encoding::reverse_correlation(x, r))?;
    Ok(to_array(py, found.as_ref())?.into_any())
}

/// Gaussians of fields (pixels × neurons).
#[pyfunction]
#[pyo3(signature = (fields, grid, widest))]
pub fn fit_receptive_fields<'py>(
    py: Python<'py>,
    fields: &Bound<'py, PyAny>,
    grid: (usize, usize),
    widest: Option<f64>,
) -> Result<Bound<'py, PyDict>> {
    let fields = Matrix::new("fields", fields)?;
    let fields = fields.view();
    let found = watch::run(py, |monitor| encoding::fit_receptive_fields(fields, grid, widest, monitor))?;
    let of = |value: &dyn Fn(&encoding::ReceptiveField) -> f64| {
        PyArray1::from_vec(py, found.iter().map(value).collect())
    };
    Ok(dict!(py, {
        "x": of(&|f| f.centre.0),
        "y": of(&|f| f.centre.1),
        "sigma_1": of(&|f| f.widths.0),
        "sigma_2": of(&|f| f.widths.1),
        "angle_deg": of(&|f| f.angle_deg),
        "amplitude": of(&|f| f.amplitude),
        "offset": of(&|f| f.offset),
        "correlation": of(&|f| f.correlation),
        "size": of(&|f| f.size),
        "status": found.iter().map(|f| f.reason.clone()).collect::<Vec<_>>(),
    }))
}

/// Accuracy under rotation.
#[pyfunction]
#[pyo3(signature = (responses, gray, n_rotations, n_pairs, n_components, cost, seed))]
pub fn rotation_invariance<'py>(
    py: Python<'py>,
    responses: &Bound<'py, PyAny>,
    gray: Vec<f64>,
    n_rotations: usize,
    n_pairs: usize,
    n_components: usize,
    cost: f64,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let responses = Matrix::new("responses", responses)?;
    let responses = responses.view();
    let params = InvarianceParams { n_pairs, n_components, cost, seed };
    let found = watch::run(py, |monitor| {
        encoding::rotation_invariance(responses, &gray, n_rotations, &params, monitor)
    })?;
    Ok(dict!(py, {
        "accuracy": found.accuracy,
        "per_pair": PyArray1::from_vec(py, found.per_pair),
        "pairs": found.pairs,
    }))
}

/// Bits about objects.
#[pyfunction]
#[pyo3(signature = (responses, objects, clips, n_folds, n_shuffles, seed))]
pub fn object_information<'py>(
    py: Python<'py>,
    responses: &Bound<'py, PyAny>,
    objects: Vec<String>,
    clips: Vec<String>,
    n_folds: usize,
    n_shuffles: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let responses = Matrix::new("responses", responses)?;
    let responses = responses.view();
    let found = watch::run(py, |monitor| {
        encoding::object_information(responses, &objects, &clips, n_folds, n_shuffles, seed, monitor)
    })?;
    Ok(dict!(py, {
        "bits": found.bits,
        "raw_bits": found.raw_bits,
        "bias": found.bias,
        "p_value": found.p_value,
        "accuracy": found.accuracy,
        "confusion": found.confusion,
        "objects": found.objects,
    }))
}

/// Order of a measure against a hierarchy.
#[pyfunction]
#[pyo3(signature = (measure, hierarchy, n_draws, seed))]
pub fn order_agreement<'py>(
    py: Python<'py>,
    measure: Vec<f64>,
    hierarchy: Vec<f64>,
    n_draws: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let found = encoding::order_agreement(&measure, &hierarchy, n_draws, seed)?;
    Ok(dict!(py, {
        "tau_b": found.tau_b,
        "p_tau": found.p_tau,
        "slope": found.slope,
        "p_slope": found.p_slope,
        "n_orders": found.n_orders,
        "exact": found.exact,
    }))
}
