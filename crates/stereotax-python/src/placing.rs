//! Places of areas along layers, drawings of distances, and spin tests of maps.

use faer::{Mat, MatRef};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::similarity::placement::{
    Area, Ends, Placement, PlacementMeasure, PlacementParams, place_areas,
};
use stereotax::stats::distance::Distances;
use stereotax::stats::moran::{self, MoranProcedure};
use stereotax::stats::spin::{self, MapCorrelation, SpinAssign, SpinParams, SpinTest, Spins};
use stereotax::stats::stress::{DrawingMethod, StressParams, draw};

use crate::arrays::{Matrix, to_array, to_mat};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// Place areas along layers. `halves`: two arrays per area, or none for any.
#[pyfunction]
#[pyo3(signature = (
    areas, layers, halves, n_components, n_neurons, n_subsamples, n_images, n_bootstraps, n_permutations, level,
    alpha, seed
))]
pub fn pseudo_depth<'py>(
    py: Python<'py>,
    areas: Vec<Bound<'py, PyAny>>,
    layers: Vec<Bound<'py, PyAny>>,
    halves: Option<Vec<[Bound<'py, PyAny>; 2]>>,
    n_components: Option<usize>,
    n_neurons: Option<usize>,
    n_subsamples: usize,
    n_images: Option<usize>,
    n_bootstraps: usize,
    n_permutations: usize,
    level: f64,
    alpha: f64,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let areas: Vec<Matrix> = areas.iter().map(|a| Matrix::new("areas", a)).collect::<Result<_>>()?;
    let layers: Vec<Matrix> = layers.iter().map(|l| Matrix::new("layers", l)).collect::<Result<_>>()?;
    let halves: Option<Vec<[Matrix; 2]>> = halves
        .map(|halves| {
            halves
                .iter()
                .map(|[one, two]| Ok([Matrix::new("halves", one)?, Matrix::new("halves", two)?]))
                .collect::<Result<_>>()
        })
        .transpose()?;
    let area = |k: usize| Area {
        responses: areas[k].view(),
        halves: halves.as_ref().map(|halves| [halves[k][0].view(), halves[k][1].view()]),
    };
    let areas: Vec<Area<'_>> = (0..areas.len()).map(area).collect();
    let layers: Vec<MatRef<'_, f64>> = layers.iter().map(Matrix::view).collect();
    let params = PlacementParams {
        measure: n_components
            .map_or(PlacementMeasure::Ssm, |n_components| PlacementMeasure::Svcca { n_components }),
        n_neurons,
        n_subsamples,
        n_images,
        n_bootstraps,
        n_permutations,
        level,
        alpha,
        seed,
    };
    let found: Placement = watch::run(py, |monitor| place_areas(&areas, &layers, &params, monitor))?;
    let ends = |ends: Option<Ends>| ends.map(|e| (e.lower, e.upper));
    let places: Vec<Bound<'py, PyDict>> = found
        .areas
        .into_iter()
        .map(|area| {
            Ok(dict!(py, {
                "scores": PyArray1::from_vec(py, area.scores),
                "score_sds": PyArray1::from_vec(py, area.score_sds),
                "null_means": PyArray1::from_vec(py, area.null_means),
                "p_values": PyArray1::from_vec(py, area.p_values),
                "p_value": area.p_value,
                "placed": area.placed,
                "best_layer": area.best_layer,
                "depth_best": area.depth_best,
                "depth_weighted": area.depth_weighted,
                "best_interval": ends(area.best_interval),
                "weighted_interval": ends(area.weighted_interval),
                "best_shares": PyArray1::from_vec(py, area.best_shares),
                "ceiling": area.ceiling,
            }))
        })
        .collect::<Result<_>>()?;
    Ok(dict!(py, { "areas": places, "n_neurons": found.n_neurons, "n_images": found.n_images }))
}

/// Draw objects by their distances, with regions from resampled distances, and further objects.
#[pyfunction]
#[pyo3(signature = (distances, resampled, further, stress, n_axes, n_starts, max_iter, seed))]
pub fn embed<'py>(
    py: Python<'py>,
    distances: &Bound<'py, PyAny>,
    resampled: Vec<Bound<'py, PyAny>>,
    further: Option<&Bound<'py, PyAny>>,
    stress: bool,
    n_axes: usize,
    n_starts: usize,
    max_iter: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let whole = Distances::new(to_mat(Matrix::new("distances", distances)?.view()))?;
    let draws: Vec<Distances> = resampled
        .iter()
        .map(|d| Ok(Distances::new(to_mat(Matrix::new("bootstraps", d)?.view()))?))
        .collect::<Result<_>>()?;
    let further = further.map(|d| Matrix::new("further", d)).transpose()?;
    let further = further.as_ref().map(Matrix::view);
    let params = StressParams {
        n_axes,
        n_random: n_starts,
        max_iterations: max_iter,
        seed,
        ..StressParams::default()
    };
    let method = if stress { DrawingMethod::Stress } else { DrawingMethod::Classical };
    let found = watch::run(py, |monitor| draw(&whole, &draws, further, method, &params, monitor))?;
    let (n, axes) = (found.positions.nrows(), found.positions.ncols());
    let flat: Vec<f64> = found
        .draws
        .iter()
        .flat_map(|draw| (0..n).flat_map(move |i| (0..axes).map(move |j| draw[(i, j)])))
        .collect();
    let placed = Mat::from_fn(found.further.len(), axes, |i, j| found.further[i].position[j]);
    Ok(dict!(py, {
        "positions": to_array(py, found.positions.as_ref())?,
        "stress": found.stress,
        "stress_shares": PyArray1::from_vec(py, found.shares),
        "explained": PyArray1::from_vec(py, found.explained),
        "negative_share": found.negative_share,
        "draws": PyArray1::from_vec(py, flat).reshape([found.draws.len(), n, axes])?,
        "further": to_array(py, placed.as_ref())?,
        "further_stress": PyArray1::from_vec(py, found.further.iter().map(|p| p.stress).collect()),
        "converged": found.converged,
    }))
}

fn spheres<'py>(given: &[Bound<'py, PyAny>]) -> Result<Vec<Matrix<'py>>> {
    given.iter().map(|sphere| Matrix::new("spheres", sphere)).collect()
}

fn tested<'py>(py: Python<'py>, found: SpinTest) -> Result<Bound<'py, PyDict>> {
    Ok(dict!(py, {
        "correlation": found.correlation,
        "p_value": found.p_value,
        "null": PyArray1::from_vec(py, found.null),
        "n_used": found.n_used,
        "n_undefined": found.n_undefined,
    }))
}

fn correlation(pearson: bool) -> MapCorrelation {
    if pearson { MapCorrelation::Pearson } else { MapCorrelation::Spearman }
}

fn spin_params(n_rotations: usize, one_to_one: bool, seed: u64) -> SpinParams {
    let assign = if one_to_one { SpinAssign::OneToOne } else { SpinAssign::Nearest };
    SpinParams { n_rotations, assign, seed }
}

/// Correlate two maps, the second turned on its spheres.
#[pyfunction]
#[pyo3(signature = (x, y, spheres_given, pearson, one_to_one, n_rotations, seed))]
pub fn spin_test<'py>(
    py: Python<'py>,
    x: Vec<f64>,
    y: Vec<f64>,
    spheres_given: Vec<Bound<'py, PyAny>>,
    pearson: bool,
    one_to_one: bool,
    n_rotations: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let spheres = spheres(&spheres_given)?;
    let views: Vec<MatRef<'_, f64>> = spheres.iter().map(Matrix::view).collect();
    let params = spin_params(n_rotations, one_to_one, seed);
    let found =
        watch::run(py, |monitor| spin::spin_test(&x, &y, &views, correlation(pearson), &params, monitor))?;
    tested(py, found)
}

/// Correlate two maps against surrogates of the second (draws × places).
#[pyfunction]
#[pyo3(signature = (x, y, surrogates, pearson))]
pub fn surrogate_test<'py>(
    py: Python<'py>,
    x: Vec<f64>,
    y: Vec<f64>,
    surrogates: &Bound<'py, PyAny>,
    pearson: bool,
) -> Result<Bound<'py, PyDict>> {
    let surrogates = Matrix::new("surrogates", surrogates)?;
    let view = surrogates.view();
    let found = watch::run(py, |_| spin::surrogate_test(&x, &y, view, correlation(pearson)))?;
    tested(py, found)
}

/// Which place each place takes its value from: rotations × places.
#[pyfunction]
#[pyo3(signature = (spheres_given, one_to_one, n_rotations, seed))]
pub fn spin_sources<'py>(
    py: Python<'py>,
    spheres_given: Vec<Bound<'py, PyAny>>,
    one_to_one: bool,
    n_rotations: usize,
    seed: u64,
) -> Result<Bound<'py, PyArray2<u32>>> {
    let spheres = spheres(&spheres_given)?;
    let views: Vec<MatRef<'_, f64>> = spheres.iter().map(Matrix::view).collect();
    let params = spin_params(n_rotations, one_to_one, seed);
    let spins = Spins::new(&views, params)?;
    let found = watch::run(py, |monitor| spins.draws(monitor))?;
    Ok(PyArray1::from_vec(py, found.concat()).reshape([n_rotations, spins.n_places()])?)
}

/// Labels of parcels, ascending, and their centres on the unit sphere.
#[pyfunction]
#[pyo3(signature = (sphere, labels))]
pub fn parcel_centres<'py>(
    py: Python<'py>,
    sphere: &Bound<'py, PyAny>,
    labels: Vec<i64>,
) -> Result<Bound<'py, PyDict>> {
    let sphere = Matrix::new("sphere", sphere)?;
    let found = spin::parcel_centres(sphere.view(), &labels)?;
    Ok(dict!(py, {
        "labels": PyArray1::from_vec(py, found.labels),
        "centres": to_array(py, found.centres.as_ref())?,
    }))
}

/// Surrogates of a map with its spatial autocorrelation (surrogates × places).
#[pyfunction]
#[pyo3(signature = (x, weights, pairs, n_surrogates, seed))]
pub fn moran_surrogates<'py>(
    py: Python<'py>,
    x: Vec<f64>,
    weights: &Bound<'py, PyAny>,
    pairs: bool,
    n_surrogates: usize,
    seed: u64,
) -> Result<Bound<'py, PyArray2<f64>>> {
    let weights = Matrix::new("weights", weights)?;
    let view = weights.view();
    let procedure = if pairs { MoranProcedure::Pairs } else { MoranProcedure::Single };
    let found =
        watch::run(py, |monitor| moran::moran_surrogates(&x, view, procedure, n_surrogates, seed, monitor))?;
    Ok(to_array(py, found.as_ref())?)
}
