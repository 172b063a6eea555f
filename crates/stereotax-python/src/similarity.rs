//! Measures of representational similarity.

use faer::Mat;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use stereotax::similarity::{
    self, BiasAuditParams, CompareParams, Direction, Factors, FrechetParams, Gaussians, Interval, MEASURES,
    Measure, Pair, PairwiseParams, Reduction, Representation, Share, StochasticParams, SvccaParams,
};

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::ridge::inner_folds;
use crate::watch;

/// An array of either precision that stays borrowed from Python.
enum Held<'py> {
    Double(Matrix<'py>),
    Single(Matrix<'py, f32>),
}

/// A view of it that any thread may read.
#[derive(Clone, Copy)]
enum View<'a> {
    Double(faer::MatRef<'a, f64>),
    Single(faer::MatRef<'a, f32>),
}

impl<'py> Held<'py> {
    fn new(name: &str, array: &Bound<'py, PyAny>) -> Result<Self> {
        match Matrix::single(name, array) {
            Some(single) => Ok(Held::Single(single?)),
            None => Ok(Held::Double(Matrix::new(name, array)?)),
        }
    }

    fn view(&self) -> View<'_> {
        match self {
            Held::Double(matrix) => View::Double(matrix.view()),
            Held::Single(matrix) => View::Single(matrix.view()),
        }
    }
}

impl<'a> View<'a> {
    fn representation(self, name: &str) -> stereotax::Result<Representation<'a>> {
        match self {
            View::Double(view) => Representation::new(name, view),
            View::Single(view) => Representation::from_single(name, view),
        }
    }
}

/// Borrow two arrays and work on them without the interpreter.
fn with_pair<T: Send>(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
    work: impl FnOnce(&Pair<'_>) -> stereotax::Result<T> + Send,
) -> Result<T> {
    let (x, y) = (Held::new("X", x)?, Held::new("Y", y)?);
    let (x, y) = (x.view(), y.view());
    watch::run(py, |_| {
        let (x, y) = (x.representation("X")?, y.representation("Y")?);
        work(&Pair::new(&x, &y)?)
    })
}

fn reduction(of: Reduction) -> &'static str {
    match of {
        Reduction::Gram => "gram",
        Reduction::Factors => "factors",
        Reduction::Distances => "distances",
        Reduction::Units => "units",
        Reduction::Triangles => "triangles",
    }
}

fn interval(of: Interval) -> &'static str {
    match of {
        Interval::Bootstrap => "bootstrap",
        Interval::Jackknife => "jackknife",
    }
}

/// The registry: one dictionary per measure.
#[pyfunction]
pub fn measures(py: Python<'_>) -> Result<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for m in MEASURES {
        let i = m.invariances;
        list.append(dict!(py, {
            "measure": m.id,
            "summary": m.summary,
            "lowest": m.lowest,
            "highest": m.highest,
            "kind": if m.direction == Direction::Similarity { "similarity" } else { "distance" },
            "symmetric": m.symmetric,
            "metric": m.metric,
            "identity": m.identity.unwrap_or(f64::NAN),
            "orthogonal": i.orthogonal,
            "isotropic_scale": i.isotropic_scale,
            "translation": i.translation,
            "permutation": i.permutation,
            "invertible_linear": i.invertible_linear,
            "computed_from": reduction(m.reduction),
            "interval": interval(m.interval),
            "source": m.source,
        }))?;
    }
    Ok(list)
}

/// One measure of the registry on one pair.
#[pyfunction]
pub fn similarity_measure(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
    id: &str,
) -> Result<f64> {
    let measure = similarity::measure(id)?;
    with_pair(py, x, y, |pair| measure.of(pair))
}

/// CKA of Gaussian kernels of another width.
#[pyfunction]
pub fn rbf_cka(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
    fraction: f64,
    debiased: bool,
) -> Result<f64> {
    with_pair(py, x, y, |pair| {
        let (k, l) = (pair.x.rbf_gram_at(fraction), pair.y.rbf_gram_at(fraction));
        Ok(if debiased { similarity::debiased_cka(&k, &l) } else { similarity::cka(&k, &l) })
    })
}

/// Canonical correlations of all directions, or of leading ones.
#[pyfunction]
#[pyo3(signature = (x, y, ridge, share, of_variance, folds))]
pub fn canonical_correlations<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    ridge: f64,
    share: f64,
    of_variance: bool,
    folds: Vec<(Vec<usize>, Vec<usize>)>,
) -> Result<Bound<'py, PyDict>> {
    let folds = inner_folds(folds);
    let params = SvccaParams { share, of: if of_variance { Share::Variance } else { Share::SingularValues } };
    let found = with_pair(py, x, y, |pair| {
        let factors = pair.factors()?;
        let leading = similarity::svcca(factors, &params)?;
        let (correlations, regularised) = if ridge > 0.0 {
            (vec![], similarity::regularised_cca(factors, ridge)?)
        } else {
            let kept = factors.between().get(..leading.kept_x, ..leading.kept_y);
            let values = stereotax::linalg::singular_values(kept)?;
            (values.into_iter().map(|rho| rho.min(1.0)).collect(), f64::NAN)
        };
        let held_out = if folds.is_empty() {
            f64::NAN
        } else {
            similarity::cross_validated_cca(pair.x, pair.y, &folds, &params)?
        };
        Ok((leading, correlations, regularised, held_out, factors.n_stimuli()))
    })?;
    let (leading, correlations, regularised, held_out, n) = found;
    let saturated = similarity::cca::saturates(leading.kept_x, leading.kept_y, n);
    Ok(dict!(py, {
        "correlations": PyArray1::from_vec(py, correlations),
        "regularised": regularised,
        "held_out": held_out,
        "n_components_x": leading.kept_x,
        "n_components_y": leading.kept_y,
        "chance_r2": similarity::cca::chance_of_squares(leading.kept_x, leading.kept_y, n),
        "saturated": saturated,
    }))
}

/// Both directions of PWCCA.
#[pyfunction]
pub fn projection_weighted_cca(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
) -> Result<(f64, f64)> {
    let found = with_pair(py, x, y, |pair| similarity::pwcca(pair.x, pair.y, pair.factors()?))?;
    Ok((found.of_x, found.of_y))
}

/// Shape distances of one partial whitening, in sample or on held-out stimuli.
#[pyfunction]
pub fn shape_distance<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    alpha: f64,
    folds: Vec<(Vec<usize>, Vec<usize>)>,
) -> Result<Bound<'py, PyDict>> {
    let folds = inner_folds(folds);
    let found = with_pair(py, x, y, |pair| {
        if !folds.is_empty() {
            let score = similarity::cross_validated_shape(pair.x, pair.y, &folds, alpha)?;
            return Ok((score.angular, score.euclidean, score.cosine));
        }
        let factors = pair.factors()?;
        let angular = similarity::shape_angular(factors, alpha)?;
        Ok((angular, similarity::shape_euclidean(factors, alpha)?, angular.cos()))
    })?;
    Ok(dict!(py, { "angular": found.0, "euclidean": found.1, "cosine": found.2 }))
}

/// Common nearest neighbours.
#[pyfunction]
pub fn neighbour_overlap<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    n_neighbours: usize,
) -> Result<Bound<'py, PyDict>> {
    let found = with_pair(py, x, y, |pair| Ok(similarity::neighbour_overlap(pair.x, pair.y, n_neighbours)))?;
    Ok(dict!(py, {
        "overlap": found.overlap,
        "jaccard": found.jaccard,
        "ranks": found.ranks,
        "chance": found.chance,
    }))
}

/// GULP at any λ.
#[pyfunction]
pub fn gulp_distance(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
    lambda_: f64,
) -> Result<f64> {
    with_pair(py, x, y, |pair| similarity::gulp(pair.factors()?, lambda_))
}

/// Units matched softly: distance and correlation.
#[pyfunction]
pub fn soft_match_units(py: Python<'_>, x: &Bound<'_, PyAny>, y: &Bound<'_, PyAny>) -> Result<(f64, f64)> {
    let found = with_pair(py, x, y, |pair| Ok(similarity::soft_match(pair.x, pair.y)))?;
    Ok((found.distance, found.correlation))
}

/// Many measures of one pair.
#[pyfunction]
#[pyo3(signature = (x, y, words, n_permutations, n_bootstraps, level, seed, blocks))]
pub fn compare_pair<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    words: Vec<String>,
    n_permutations: usize,
    n_bootstraps: usize,
    level: f64,
    seed: u64,
    blocks: Option<Vec<String>>,
) -> Result<Bound<'py, PyDict>> {
    let (x, y) = (Held::new("X", x)?, Held::new("Y", y)?);
    let (x, y) = (x.view(), y.view());
    let params = CompareParams { n_permutations, n_bootstraps, level, seed, blocks };
    let found = watch::run(py, |monitor| {
        let (x, y) = (x.representation("X")?, y.representation("Y")?);
        let measures = similarity::select(&words, x.n_stimuli(), x.n_units().max(y.n_units()))?;
        similarity::compare(&x, &y, &measures, &params, monitor)
    })?;
    let rows = PyList::empty(py);
    for m in &found.measures {
        rows.append(dict!(py, {
            "measure": m.measure,
            "value": m.value,
            "lower": m.lower,
            "upper": m.upper,
            "chance": m.chance,
            "p_value": m.p_value,
            "n_stimuli": found.n_stimuli,
            "interval": m.interval.map(interval),
            "status": if m.warnings.is_empty() { None } else { Some(m.warnings.join("; ")) },
        }))?;
    }
    Ok(dict!(py, { "rows": rows, "rank_x": found.rank_x, "rank_y": found.rank_y }))
}

/// One measure of all pairs.
#[pyfunction]
#[pyo3(signature = (arrays, id, rank))]
pub fn compare_pairwise<'py>(
    py: Python<'py>,
    arrays: Vec<Bound<'py, PyAny>>,
    id: &str,
    rank: Option<usize>,
) -> Result<Bound<'py, numpy::PyArray2<f64>>> {
    let measure: &'static Measure = similarity::measure(id)?;
    let held = held_all(&arrays)?;
    let views: Vec<View<'_>> = held.iter().map(Held::view).collect();
    let found = watch::run(py, |monitor| {
        let representations = representations(&views)?;
        similarity::pairwise(&representations, measure, &PairwiseParams { rank }, monitor)
    })?;
    Ok(to_array(py, found.as_ref())?)
}

fn held_all<'py>(arrays: &[Bound<'py, PyAny>]) -> Result<Vec<Held<'py>>> {
    arrays.iter().enumerate().map(|(at, array)| Held::new(&format!("representation {at}"), array)).collect()
}

fn representations<'a>(views: &[View<'a>]) -> stereotax::Result<Vec<Representation<'a>>> {
    views.iter().enumerate().map(|(at, view)| view.representation(&format!("representation {at}"))).collect()
}

/// Mean shape and tangent coordinates.
#[pyfunction]
pub fn mean_shape<'py>(
    py: Python<'py>,
    arrays: Vec<Bound<'py, PyAny>>,
    normalise: bool,
    max_iterations: usize,
    tolerance: f64,
) -> Result<Bound<'py, PyDict>> {
    let held = held_all(&arrays)?;
    let views: Vec<View<'_>> = held.iter().map(Held::view).collect();
    let params = FrechetParams { normalise, max_iterations, tolerance };
    let found = watch::run(py, |monitor| {
        let representations = representations(&views)?;
        let factors: Vec<&Factors> = representations
            .iter()
            .map(|r| monitor.check().and_then(|()| r.factors()))
            .collect::<stereotax::Result<_>>()?;
        similarity::frechet_mean(&factors, &params)
    })?;
    Ok(dict!(py, {
        "mean": to_array(py, found.mean.as_ref())?,
        "distances": PyArray1::from_vec(py, found.distances),
        "coordinates": to_array(py, found.coordinates.as_ref())?,
        "n_iterations": found.n_iterations,
        "converged": found.converged,
    }))
}

/// Values and chance levels over subsets of stimuli and units.
#[pyfunction]
pub fn audit_bias<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    words: Vec<String>,
    n_stimuli: Vec<usize>,
    n_units: Vec<usize>,
    n_draws: usize,
    seed: u64,
) -> Result<Bound<'py, PyList>> {
    let (x, y) = (Held::new("X", x)?, Held::new("Y", y)?);
    let (x, y) = (x.view(), y.view());
    let params = BiasAuditParams { n_stimuli, n_units, n_draws, seed };
    let found = watch::run(py, |monitor| {
        let (x, y) = (x.representation("X")?, y.representation("Y")?);
        let measures = similarity::select(&words, x.n_stimuli(), x.n_units().max(y.n_units()))?;
        similarity::bias_audit::bias_audit(&x, &y, &measures, &params, monitor)
    })?;
    let rows = PyList::empty(py);
    for cell in found {
        rows.append(dict!(py, {
            "measure": cell.measure,
            "n_stimuli": cell.n_stimuli,
            "n_units": cell.n_units,
            "value": cell.value,
            "value_sd": cell.value_sd,
            "chance": cell.chance,
            "chance_sd": cell.chance_sd,
        }))?;
    }
    Ok(rows)
}

/// Distance between stochastic representations; covariances are stimuli · units × units, one below the other.
#[pyfunction]
pub fn stochastic_shape_distance<'py>(
    py: Python<'py>,
    means: (Bound<'py, PyAny>, Bound<'py, PyAny>),
    covariances: (Bound<'py, PyAny>, Bound<'py, PyAny>),
    covariance_weight: f64,
    n_starts: usize,
    max_iterations: usize,
    tolerance: f64,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let (m, k) = (Matrix::new("X", &means.0)?, Matrix::new("Y", &means.1)?);
    let (c, d) =
        (Matrix::new("covariances of X", &covariances.0)?, Matrix::new("covariances of Y", &covariances.1)?);
    let (m, k, c, d) = (m.view(), k.view(), c.view(), d.view());
    let params = StochasticParams { covariance_weight, n_starts, max_iterations, tolerance, seed };
    let found = watch::run(py, |_| {
        let cut = |all: faer::MatRef<'_, f64>| -> Vec<Mat<f64>> {
            let p = all.ncols().max(1);
            (0..all.nrows() / p).map(|i| all.get(i * p..(i + 1) * p, ..).to_owned()).collect()
        };
        let (c, d) = (cut(c), cut(d));
        let (x, y) = (Gaussians { means: m, covariances: &c }, Gaussians { means: k, covariances: &d });
        similarity::stochastic_shape(&x, &y, &params)
    })?;
    Ok(dict!(py, {
        "distance": found.distance,
        "spread": found.spread,
        "rotation": to_array(py, found.rotation.as_ref())?,
        "converged": found.converged,
    }))
}
