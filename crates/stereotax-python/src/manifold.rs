//! The geometry of representations.

use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::Error;
use stereotax::data::Labels;
use stereotax::graph::Sparse;
use stereotax::manifold::{
    self, Bandwidth, CvPcaParams, DiffusionMap, DiffusionParams, EntropyParams, FiniteParams, Ian, IanParams,
    IntrinsicParams, ManifoldGeometry, MeanFieldParams, NeighbourKernel, Norm, Population, Ratio, Removal,
    Smoothing, Time, TubularityParams, TubularityScores, Width,
};

use crate::arrays::{Matrix, to_array, to_mat};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

type Values<'py> = Bound<'py, PyArray1<f64>>;

fn ratio<'py>(py: Python<'py>, ratio: Ratio) -> Values<'py> {
    PyArray1::from_vec(py, vec![ratio.value, ratio.numerator, ratio.denominator])
}

/// All forms of the participation ratio: (value, numerator, denominator) each.
#[pyfunction]
pub fn participation_ratio<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    repeat: Option<&Bound<'py, PyAny>>,
) -> Result<Bound<'py, PyDict>> {
    let x = Matrix::new("responses", x)?;
    let repeat = repeat.map(|y| Matrix::new("repeat", y)).transpose()?;
    let (x, y) = (x.view(), repeat.as_ref().map(|y| y.view()));
    let found = watch::run(py, |_| manifold::participation_ratio(x, y))?;
    Ok(dict!(py, {
        "naive": ratio(py, found.naive),
        "stimuli": ratio(py, found.stimuli),
        "units": ratio(py, found.units),
        "both": ratio(py, found.both),
        "n_constant": found.n_constant,
    }))
}

/// The spectrum of two repeats.
#[pyfunction]
pub fn cv_pca<'py>(
    py: Python<'py>,
    first: &Bound<'py, PyAny>,
    second: &Bound<'py, PyAny>,
    spontaneous: Option<&Bound<'py, PyAny>>,
    n_swaps: usize,
    n_spontaneous: usize,
    ranks: (usize, usize),
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let (a, b) = (Matrix::new("responses", first)?, Matrix::new("repeat", second)?);
    let spontaneous = spontaneous.map(|s| Matrix::new("spontaneous", s)).transpose()?;
    let (a, b, s) = (a.view(), b.view(), spontaneous.as_ref().map(|s| s.view()));
    let params = CvPcaParams { n_swaps, n_spontaneous, ranks, seed };
    let found = watch::run(py, |monitor| manifold::cv_pca(a, b, s, &params, monitor))?;
    Ok(dict!(py, {
        "eigenvalues": PyArray1::from_vec(py, found.eigenvalues),
        "exponent": found.power_law.exponent,
        "r2": found.power_law.r2,
        "ranks": found.power_law.ranks,
        "n_left_out": found.power_law.n_left_out,
        "participation_ratio": found.participation_ratio,
        "signal_share": found.signal_share,
    }))
}

/// Two noisy repeats as reliable as a brain's units.
#[pyfunction]
pub fn noise_matched<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    reliabilities: Vec<f64>,
    seed: u64,
) -> Result<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let x = Matrix::new("responses", x)?;
    let x = x.view();
    let (a, b) = watch::run(py, |_| manifold::noise_matched(x, &reliabilities, seed))?;
    Ok((to_array(py, a.as_ref())?.into_any(), to_array(py, b.as_ref())?.into_any()))
}

/// Dimension by nearest neighbours, by local PCA where neighbours are given for it, and its calibration.
#[pyfunction]
pub fn intrinsic_dimension<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    k: usize,
    discard: f64,
    n_halvings: usize,
    seed: u64,
    local: Option<(usize, f64)>,
    calibration: Option<(Vec<usize>, usize)>,
) -> Result<Bound<'py, PyDict>> {
    let x = Matrix::new("points", x)?;
    let x = x.view();
    let params = IntrinsicParams { k, discard, n_halvings, seed };
    let (found, local, calibration) = watch::run(py, |monitor| -> stereotax::Result<_> {
        let found = manifold::intrinsic_dimension(x, &params, monitor)?;
        let local = local.map(|(k, share)| manifold::local_pca(x, k, share, monitor)).transpose()?;
        let n = x.nrows() - found.n_duplicates;
        let calibration = calibration
            .map(|(dims, draws)| manifold::calibrate_dimension(n, &dims, draws, &params, monitor))
            .transpose()?;
        Ok((found, local, calibration))
    })?;
    let scales: Vec<(usize, usize, f64, f64)> =
        found.scales.iter().map(|s| (s.n_points, s.n_parts, s.two_nn, s.levina_bickel)).collect();
    let out = dict!(py, {
        "two_nn": found.two_nn.dimension,
        "two_nn_mle": found.two_nn.maximum_likelihood,
        "levina_bickel": found.levina_bickel.dimension,
        "levina_bickel_mean": found.levina_bickel.mean,
        "levina_bickel_median": found.levina_bickel.median,
        "pointwise": PyArray1::from_vec(py, found.levina_bickel.pointwise),
        "scales": scales,
        "n_duplicates": found.n_duplicates,
        "reliable": found.reliable,
    });
    if let Some(local) = local {
        out.set_item("local_pca", local.participation_ratio)?;
        out.set_item("local_pca_above", local.above_share)?;
    }
    if let Some(c) = calibration {
        out.set_item("corrected_two_nn", c.corrected_two_nn(found.two_nn.dimension))?;
        let corrected = c.corrected_levina_bickel(found.levina_bickel.dimension);
        out.set_item("corrected_levina_bickel", corrected)?;
        let rows: Vec<(usize, f64, f64, f64, f64)> = (0..c.dimensions.len())
            .map(|i| {
                (c.dimensions[i], c.two_nn[i], c.two_nn_sd[i], c.levina_bickel[i], c.levina_bickel_sd[i])
            })
            .collect();
        out.set_item("calibration", rows)?;
    }
    Ok(out)
}

/// Rows of a compressed matrix: where they start, columns, values.
type Compressed<'py> = (PyReadonlyArray1<'py, i64>, PyReadonlyArray1<'py, i64>, PyReadonlyArray1<'py, f64>);

fn sparse(parts: &Compressed<'_>) -> Result<Sparse> {
    let read = |array: &PyReadonlyArray1<'_, i64>| -> Vec<usize> {
        array.as_array().iter().map(|&value| usize::try_from(value).unwrap_or(usize::MAX)).collect()
    };
    let (starts, columns) = (read(&parts.0), read(&parts.1));
    let values: Vec<f64> = parts.2.as_array().iter().copied().collect();
    let bad = starts.windows(2).any(|w| w[0] > w[1] || w[1] > columns.len()) || values.len() != columns.len();
    if bad {
        return Err(Error::Invalid {
            what: "kernel".into(),
            expected: "a compressed sparse matrix (starts of rows that ascend)".into(),
            found: format!("{} starts, {} columns, {} values", starts.len(), columns.len(), values.len()),
            hint: "pass scipy.sparse.csr_matrix(kernel)".into(),
        }
        .into());
    }
    let row = |w: &[usize]| (w[0]..w[1]).map(|at| (columns[at], values[at])).collect();
    Ok(Sparse::from_rows(starts.windows(2).map(row).collect())?)
}

fn compressed<'py>(
    py: Python<'py>,
    kernel: &Sparse,
) -> (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Values<'py>) {
    let (mut starts, mut columns, mut values) = (vec![0i64], vec![], vec![]);
    for i in 0..kernel.len() {
        let (c, v) = kernel.row(i);
        columns.extend(c.iter().map(|&j| j as i64));
        values.extend_from_slice(v);
        starts.push(columns.len() as i64);
    }
    (PyArray1::from_vec(py, starts), PyArray1::from_vec(py, columns), PyArray1::from_vec(py, values))
}

/// A fitted diffusion map.
#[pyclass(frozen, module = "stereotax._core")]
#[derive(Debug)]
pub struct Diffusion {
    map: DiffusionMap,
    from: Option<(NeighbourKernel, faer::Mat<f64>)>,
}

#[pymethods]
impl Diffusion {
    /// From points: neighbours, and a bandwidth of a kind ("automatic", "neighbour", "squared") with its number.
    #[staticmethod]
    fn of_points(
        py: Python<'_>,
        x: &Bound<'_, PyAny>,
        n_neighbours: usize,
        bandwidth: (String, f64),
        params: (usize, f64, Option<f64>, String, u64),
    ) -> Result<Self> {
        let x = Matrix::new("points", x)?;
        let x = x.view();
        let width = match bandwidth.0.as_str() {
            "squared" => Bandwidth::Squared(bandwidth.1),
            "neighbour" => Bandwidth::Neighbour(bandwidth.1 as usize),
            _ => Bandwidth::Automatic,
        };
        let params = diffusion_params(params);
        watch::run(py, |monitor| -> stereotax::Result<_> {
            let kernel = manifold::neighbour_kernel(x, n_neighbours, width, monitor)?;
            let map = manifold::diffusion_map(&kernel.kernel, &params, monitor)?;
            Ok(Diffusion { map, from: Some((kernel, to_mat(x))) })
        })
    }

    /// From a kernel in compressed rows.
    #[staticmethod]
    fn of_kernel(
        py: Python<'_>,
        kernel: Compressed<'_>,
        params: (usize, f64, Option<f64>, String, u64),
    ) -> Result<Self> {
        let kernel = sparse(&kernel)?;
        let params = diffusion_params(params);
        let map = watch::run(py, |monitor| manifold::diffusion_map(&kernel, &params, monitor))?;
        Ok(Diffusion { map, from: None })
    }

    /// What was found.
    fn results<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyDict>> {
        let map = &self.map;
        let part = |&label: &usize| if label == usize::MAX { -1 } else { label as i64 };
        Ok(dict!(py, {
            "eigenvalues": PyArray1::from_vec(py, map.eigenvalues.clone()),
            "coordinates": to_array(py, map.coordinates.as_ref())?,
            "components": PyArray1::from_vec(py, map.components.iter().map(part).collect()),
            "n_parts": map.n_parts,
            "left_out": PyArray1::from_vec(py, map.left_out.clone()),
            "degenerate": PyArray1::from_vec(py, map.degenerate.clone()),
            "spectral_dimension": map.spectral_dimension,
            "n_above": map.n_above,
            "epsilon": self.from.as_ref().map_or(f64::NAN, |(kernel, _)| kernel.epsilon),
        }))
    }

    /// Coordinates of new points (`kernel` false), or of new rows of the kernel.
    fn extend<'py>(
        &self,
        py: Python<'py>,
        new: &Bound<'py, PyAny>,
        kernel: bool,
    ) -> Result<Bound<'py, PyAny>> {
        let new = Matrix::new(if kernel { "kernel" } else { "points" }, new)?;
        let new = new.view();
        let placed = watch::run(py, |monitor| match (&self.from, kernel) {
            (Some((from, points)), false) => {
                self.map.extend(from.to(points.as_ref(), new, monitor)?.as_ref())
            }
            _ => self.map.extend(new),
        })?;
        Ok(to_array(py, placed.as_ref())?.into_any())
    }
}

fn diffusion_params(
    (n, alpha, steps, norm, seed): (usize, f64, Option<f64>, String, u64),
) -> DiffusionParams {
    let norm = match norm.as_str() {
        "stationary" => Norm::Stationary,
        "unit" => Norm::Unit,
        _ => Norm::Reference,
    };
    DiffusionParams { n_components: n, alpha, time: steps.map_or(Time::Commute, Time::Steps), norm, seed }
}

/// Fitted neighbourhoods.
#[pyclass(frozen, module = "stereotax._core")]
#[derive(Debug)]
pub struct Neighbourhoods {
    found: Ian,
    points: Option<faer::Mat<f64>>,
}

#[pymethods]
impl Neighbourhoods {
    /// From points, or their distances.
    #[staticmethod]
    fn fit(
        py: Python<'_>,
        x: &Bound<'_, PyAny>,
        distances: bool,
        c: Option<f64>,
        max_prune: f64,
        n_sd: f64,
        max_steps: usize,
        hops: usize,
    ) -> Result<Self> {
        let x = Matrix::new(if distances { "distances" } else { "points" }, x)?;
        let x = x.view();
        let params = IanParams { c, max_prune, n_sd, max_steps, hops };
        let found = watch::run(py, |monitor| {
            if distances {
                manifold::ian_of_distances(x, &params, monitor)
            } else {
                manifold::ian(x, &params, monitor)
            }
        })?;
        Ok(Neighbourhoods { found, points: (!distances).then(|| to_mat(x)) })
    }

    /// What was found.
    fn results<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyDict>> {
        let found = &self.found;
        let steps: Vec<(f64, f64, f64, usize)> =
            found.history.iter().map(|s| (s.c, s.median, s.threshold, s.n_removed)).collect();
        let off: Vec<(usize, f64, usize)> =
            found.disconnected.iter().map(|d| (d.point, d.last_scale, d.last_neighbour)).collect();
        let edges: Vec<Vec<usize>> = found.edges.iter().map(|edge| edge.to_vec()).collect();
        let out = dict!(py, {
            "edges": edges,
            "n_gabriel": found.n_gabriel,
            "kernel": compressed(py, &found.kernel),
            "scales": PyArray1::from_vec(py, found.scales.clone()),
            "ratios": PyArray1::from_vec(py, found.ratios.clone()),
            "c": found.c,
            "disconnected": off,
            "components": PyArray1::from_vec(py, found.components.clone()),
            "n_parts": found.n_parts,
            "history": steps,
            "converged": found.converged,
        });
        if let Some(dimension) = &found.dimension {
            out.set_item("dimension", dimension.mean)?;
            out.set_item("pointwise", PyArray1::from_vec(py, dimension.pointwise.clone()))?;
            out.set_item("by_degree", PyArray1::from_vec(py, dimension.by_degree.clone()))?;
        }
        Ok(out)
    }

    /// Rows of the kernel for new points.
    fn extend<'py>(&self, py: Python<'py>, new: &Bound<'py, PyAny>) -> Result<Bound<'py, PyAny>> {
        let new = Matrix::new("points", new)?;
        let new = new.view();
        let Some(points) = &self.points else {
            return Err(Error::Refused {
                what: "placing new points".into(),
                reason: "the fit had distances, not points".into(),
                hint: "fit the points themselves".into(),
            }
            .into());
        };
        let rows = watch::run(py, |_| manifold::ian_extend(&self.found, points.as_ref(), new))?;
        Ok(to_array(py, rows.as_ref())?.into_any())
    }
}

/// Entropy of a random walk between points, and what labels say of it.
#[pyfunction]
pub fn spectral_entropy<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    labels: Option<Vec<String>>,
    sigma: (bool, f64),
    time: f64,
    max_points: usize,
    n_draws: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let x = Matrix::new("points", x)?;
    let x = x.view();
    let labels = labels.map(|labels| Labels::new(&labels));
    let width = if sigma.0 { Width::Median(sigma.1) } else { Width::Fixed(sigma.1) };
    let params = EntropyParams { width, time, max_points, n_draws, seed };
    let found = watch::run(py, |monitor| manifold::spectral_entropy(x, labels.as_ref(), &params, monitor))?;
    let names = labels.as_ref().map_or(vec![], |labels| labels.names().to_vec());
    Ok(dict!(py, {
        "entropy": found.entropy,
        "sigma": found.sigma,
        "n_points": found.n_points,
        "information": found.information,
        "classes": names,
        "of_class": PyArray1::from_vec(py, found.of_class),
    }))
}

fn score_row(s: &TubularityScores) -> Vec<f64> {
    vec![
        s.tightness,
        s.crossing,
        s.crossing_number,
        s.crossing_legacy,
        s.tightness_contextual,
        s.tightness_matched,
        s.tightness_normal,
        s.separation,
        s.least_separation,
        s.bend,
    ]
}

/// Scores of trajectories as tubes: one dictionary per population (rows × units, with its shape).
#[pyfunction]
pub fn tubularity<'py>(
    py: Python<'py>,
    populations: Vec<(Bound<'py, PyAny>, [usize; 3])>,
    n_components: usize,
    smoothing: (bool, f64),
    switches: (bool, bool, bool),
    quantile: f64,
    refits: usize,
    n_draws: usize,
    seed: u64,
) -> Result<Vec<Bound<'py, PyDict>>> {
    let arrays: Vec<Matrix<'py>> =
        populations.iter().map(|(x, _)| Matrix::new("responses", x)).collect::<Result<_>>()?;
    let views: Vec<Population<'_>> = arrays
        .iter()
        .zip(&populations)
        .map(|(array, (_, shape))| Population { responses: array.view(), shape: *shape })
        .collect();
    let smoothing =
        if smoothing.0 { Smoothing::Relative(smoothing.1) } else { Smoothing::Absolute(smoothing.1) };
    let (scale_free, exact_epsilon, matched) = switches;
    let params = TubularityParams {
        n_components,
        smoothing,
        scale_free,
        quantile,
        exact_epsilon,
        refits,
        n_draws,
        matched,
        seed,
    };
    let found = watch::run(py, |monitor| manifold::tubularity(&views, &params, monitor))?;
    found
        .into_iter()
        .map(|one| {
            let draws: Vec<Vec<f64>> = one.draws.iter().map(score_row).collect();
            let bundles: Vec<Bound<'py, PyDict>> = one
                .bundles
                .into_iter()
                .map(|b| {
                    Ok(dict!(py, {
                        "tightness": b.tightness,
                        "crossing": b.crossing,
                        "crossing_number": b.crossing_number,
                        "length": b.length,
                        "epsilon": b.epsilon,
                        "encounters": b.encounters,
                        "tube_radius": b.tube_radius,
                        "bend": b.bend,
                        "radii": PyArray1::from_vec(py, b.radii),
                        "line": b.line,
                    }))
                })
                .collect::<Result<_>>()?;
            Ok(dict!(py, {
                "draws": draws,
                "all_units": score_row(&one.all_units),
                "n_units": one.n_units,
                "n_silent": one.n_silent,
                "bundles": bundles,
            }))
        })
        .collect()
}

/// Capacity of classes by mean-field theory, and together as they lie.
#[pyfunction]
pub fn manifold_capacity<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    labels: Vec<String>,
    finite: bool,
    margin: f64,
    n_draws: usize,
    n_removed: Option<usize>,
    centred: bool,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let x = Matrix::new("points", x)?;
    let x = x.view();
    let labels = Labels::new(&labels);
    if finite {
        let params = FiniteParams { n_draws, centred, seed };
        let found = watch::run(py, |monitor| manifold::finite_capacity(x, &labels, &params, monitor))?;
        return Ok(dict!(py, {
            "capacity": found.capacity,
            "capacity_by_anchors": found.capacity_by_anchors,
            "dimension": found.dimension,
            "radius": found.radius,
            "utility": found.utility,
            "center_alignment": found.centre_alignment,
            "axis_alignment": found.axis_alignment,
            "center_axis_alignment": found.centre_axis_alignment,
            "share_inactive": found.share_inactive,
        }));
    }
    let removal = match n_removed {
        None => Removal::Search,
        Some(0) => Removal::None,
        Some(count) => Removal::Directions(count),
    };
    let params = MeanFieldParams { margin, n_draws, removal, centred, seed };
    let found = watch::run(py, |monitor| manifold::mean_field_capacity(x, &labels, &params, monitor))?;
    let per = |of: fn(&ManifoldGeometry) -> f64| found.manifolds.iter().map(of).collect::<Vec<_>>();
    Ok(dict!(py, {
        "capacity": found.capacity,
        "radius": found.radius,
        "dimension": found.dimension,
        "center_correlation": found.centre_correlation,
        "n_removed": found.n_removed,
        "center_correlations": PyArray1::from_vec(py, found.correlations.clone()),
        "participation_ratio": found.participation_ratio,
        "n_components_90": found.n_components_90,
        "classes": labels.names().to_vec(),
        "capacities": per(|m| m.capacity),
        "radii": per(|m| m.radius),
        "dimensions": per(|m| m.dimension),
    }))
}
