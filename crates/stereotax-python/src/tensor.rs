//! Tensor factorisations, their ranks, and the neuron matrix.

use std::sync::Mutex;

use faer::Mat;
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::tensor::{
    self, CpFit, CpParams, CpTensor as Core, HoldOut, LaterMaps, SweepTask, points, rank,
};

use crate::arrays::{Matrix, to_array, to_mat};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// A tensor as the factorisations read it; made once for many fits.
#[pyclass(frozen, module = "stereotax._core")]
#[derive(Debug)]
pub struct CpTensor {
    inner: Core,
}

#[pymethods]
impl CpTensor {
    /// `values` and `observed` flat in C order; `cyclic` says that the four modes are units × stimuli × directions
    /// × time, whose maps may rotate.
    #[new]
    #[pyo3(signature = (shape, values, observed, cyclic))]
    fn new(
        shape: Vec<usize>,
        values: PyReadonlyArray1<'_, f64>,
        observed: Option<PyReadonlyArray1<'_, bool>>,
        cyclic: bool,
    ) -> Result<Self> {
        let values = values.as_array().to_vec();
        let observed = observed.map(|observed| observed.as_array().to_vec());
        let inner = match (cyclic, shape.as_slice()) {
            (true, &[n, s, d, t]) => Core::cyclic([n, s, d, t], values, observed)?,
            _ => Core::plain(&shape, values, observed)?,
        };
        Ok(CpTensor { inner })
    }

    /// The largest rank that can be asked for.
    #[getter]
    fn most_components(&self) -> usize {
        self.inner.most_components()
    }
}

/// Settings that all fits share.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Settings {
    max_iter: usize,
    tol: f64,
    inner_sweeps: usize,
    seed: u64,
}

impl Settings {
    fn base(&self) -> CpParams {
        CpParams {
            max_iter: self.max_iter,
            tol: self.tol,
            inner_sweeps: self.inner_sweeps,
            seed: self.seed,
            ..CpParams::default()
        }
    }
}

fn matrices(what: &str, arrays: &[Bound<'_, PyAny>]) -> Result<Vec<Mat<f64>>> {
    arrays.iter().map(|array| Ok(to_mat(Matrix::new(what, array)?.view()))).collect()
}

fn tell<'py>(py: Python<'py>, fit: CpFit) -> Result<Bound<'py, PyDict>> {
    let factors =
        fit.factors.iter().map(|factor| to_array(py, factor.as_ref())).collect::<PyResult<Vec<_>>>()?;
    Ok(dict!(py, {
        "weights": PyArray1::from_vec(py, fit.weights),
        "factors": factors,
        "shifts": PyArray1::from_vec(py, fit.shifts),
        "n_undefined_shifts": fit.n_undefined_shifts,
        "error": fit.error,
        "history": PyArray1::from_vec(py, fit.history),
        "n_iter": fit.n_iter,
        "converged": fit.converged,
        "n_reseeded": fit.n_reseeded,
        "dead": fit.dead,
    }))
}

/// A fit as [`tell`] hands it out.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct ToldFit<'py> {
    weights: Vec<f64>,
    factors: Vec<Bound<'py, PyAny>>,
    shifts: PyReadonlyArray1<'py, u16>,
    error: f64,
}

impl ToldFit<'_> {
    fn read(&self) -> Result<CpFit> {
        Ok(CpFit {
            weights: self.weights.clone(),
            factors: matrices("factors", &self.factors)?,
            shifts: self.shifts.as_array().to_vec(),
            n_undefined_shifts: 0,
            error: self.error,
            history: vec![],
            n_iter: 0,
            converged: true,
            n_reseeded: 0,
            dead: vec![],
        })
    }
}

/// One factorisation, from a random start or from factors.
#[pyfunction]
#[pyo3(signature = (tensor, rank, start, settings, init, fixed_modes))]
pub fn fit_cp<'py>(
    py: Python<'py>,
    tensor: &CpTensor,
    rank: usize,
    start: usize,
    settings: Settings,
    init: Option<Vec<Bound<'py, PyAny>>>,
    fixed_modes: Vec<usize>,
) -> Result<Bound<'py, PyDict>> {
    let init = init.map(|init| matrices("init", &init)).transpose()?;
    let params = CpParams { rank, start, init, fixed_modes, ..settings.base() };
    let fit = watch::run(py, |monitor| tensor::fit_cp(&tensor.inner, &params, monitor))?;
    tell(py, fit)
}

/// Many factorisations in parallel; `receive(rank, start, fit)` hears of each soon after it is finished.
#[pyfunction]
#[pyo3(signature = (tensor, tasks, settings, receive))]
pub fn cp_sweep(
    py: Python<'_>,
    tensor: &CpTensor,
    tasks: Vec<(usize, usize)>,
    settings: Settings,
    receive: &Bound<'_, PyAny>,
) -> Result<()> {
    let tasks: Vec<SweepTask> = tasks.into_iter().map(|(rank, start)| SweepTask { rank, start }).collect();
    let done: Mutex<Vec<(SweepTask, CpFit)>> = Mutex::new(Vec::new());
    let base = settings.base();
    let hand_over = || -> PyResult<()> {
        let finished = done.lock().map(|mut done| std::mem::take(&mut *done)).unwrap_or_default();
        for (task, fit) in finished {
            receive.call1((task.rank, task.start, tell(py, fit)?))?;
        }
        Ok(())
    };
    let keep = |task: SweepTask, fit: CpFit| {
        if let Ok(mut done) = done.lock() {
            done.push((task, fit));
        }
    };
    watch::run_polled(py, hand_over, |monitor| tensor::sweep(&tensor.inner, &tasks, &base, &keep, monitor))
}

/// Held-out errors, one line per rank.
#[pyfunction]
#[pyo3(signature = (tensor, ranks, n_splits, share, block, n_starts, settings))]
pub fn cp_cross_validate(
    py: Python<'_>,
    tensor: &CpTensor,
    ranks: Vec<usize>,
    n_splits: usize,
    share: f64,
    block: usize,
    n_starts: usize,
    settings: Settings,
) -> Result<Vec<Vec<f64>>> {
    let hold_out = HoldOut { n_splits, share, block, n_starts };
    let base = settings.base();
    watch::run(py, |monitor| tensor::cross_validate(&tensor.inner, &ranks, &hold_out, &base, monitor))
}

/// What the starts of one rank say of it.
#[pyfunction]
#[pyo3(signature = (tensor, fits))]
pub fn cp_rank_measures<'py>(
    py: Python<'py>,
    tensor: &CpTensor,
    fits: Vec<ToldFit<'py>>,
) -> Result<Bound<'py, PyDict>> {
    let fits: Vec<CpFit> = fits.iter().map(ToldFit::read).collect::<Result<_>>()?;
    let tensor = &tensor.inner;
    let (dimensions, similarities, consistency) = watch::run(py, |_| -> stereotax::Result<_> {
        let dimensions = fits
            .iter()
            .map(|fit| rank::effective_dimension(fit.factors[0].as_ref()))
            .collect::<stereotax::Result<Vec<_>>>()?;
        let all: Vec<&CpFit> = fits.iter().collect();
        let similarities = rank::similarity_to_best(&all, tensor.cyclic_axes())?;
        let best = fits.iter().min_by(|a, b| a.error.total_cmp(&b.error));
        let consistency = best.map_or(Ok(f64::NAN), |best| rank::core_consistency(tensor, best))?;
        Ok((dimensions, similarities, consistency))
    })?;
    Ok(dict!(py, {
        "dimensions": dimensions,
        "similarities": similarities,
        "consistency": consistency,
    }))
}

/// The ranks that the rules choose from their curves over ascending ranks.
#[pyfunction]
#[pyo3(signature = (ranks, dimensions, similarities, least_similarity, held_out))]
pub fn cp_choose_rank<'py>(
    py: Python<'py>,
    ranks: Vec<usize>,
    dimensions: Vec<f64>,
    similarities: Vec<f64>,
    least_similarity: f64,
    held_out: Option<Vec<Vec<f64>>>,
) -> Result<Bound<'py, PyDict>> {
    let plateau = rank::plateau(&ranks, &dimensions);
    Ok(dict!(py, {
        "plateau": plateau.rank,
        "reached": plateau.reached,
        "smoothed": plateau.smoothed,
        "slope": plateau.slope,
        "stability": rank::stable_rank(&ranks, &similarities, least_similarity),
        "cv": held_out.and_then(|errors| rank::one_standard_error(&ranks, &errors)),
    }))
}

/// The components of one fit that are those of another.
#[pyfunction]
#[pyo3(signature = (a, b, cyclic))]
pub fn match_components<'py>(
    py: Python<'py>,
    a: Vec<Bound<'py, PyAny>>,
    b: Vec<Bound<'py, PyAny>>,
    cyclic: Option<(usize, usize, usize)>,
) -> Result<Bound<'py, PyDict>> {
    let (a, b) = (matrices("a", &a)?, matrices("b", &b)?);
    let cyclic =
        cyclic.map(|(n_stimuli, n_directions, n_times)| tensor::Cyclic { n_stimuli, n_directions, n_times });
    let found = tensor::match_components(&a, &b, cyclic)?;
    Ok(dict!(py, {
        "order": PyArray1::from_vec(py, found.order),
        "similarity": PyArray1::from_vec(py, found.similarity),
        "shift": found.shift,
    }))
}

/// Units × components; `later` is (maps, silenced, relative), flat in C order.
#[pyfunction]
#[pyo3(signature = (tensor, fit, later))]
pub fn neuron_matrix<'py>(
    py: Python<'py>,
    tensor: &CpTensor,
    fit: ToldFit<'py>,
    later: Option<(PyReadonlyArray1<'py, f64>, PyReadonlyArray1<'py, bool>, PyReadonlyArray1<'py, f64>)>,
) -> Result<Bound<'py, PyDict>> {
    let fit = fit.read()?;
    let later = later.map(|(maps, silenced, relative)| {
        (maps.as_array().to_vec(), silenced.as_array().to_vec(), relative.as_array().to_vec())
    });
    let tensor = &tensor.inner;
    let found = watch::run(py, |_| {
        let later = later.as_ref().map(|(maps, silenced, relative)| LaterMaps { maps, silenced, relative });
        tensor::neuron_matrix(tensor, &fit, later)
    })?;
    Ok(dict!(py, {
        "values": to_array(py, found.values.as_ref())?,
        "components": PyArray1::from_vec(py, found.components),
        "stimuli": to_array(py, found.stimuli.as_ref())?,
        "explained": PyArray1::from_vec(py, found.explained),
        "later_shifts": PyArray1::from_vec(py, found.later_shifts),
        "condition": found.condition,
        "by_design": found.by_design,
    }))
}

/// Scores on the fewest principal components that explain more than a share of the variance.
#[pyfunction]
#[pyo3(signature = (points, share))]
pub fn principal_scores<'py>(
    py: Python<'py>,
    points: &Bound<'py, PyAny>,
    share: f64,
) -> Result<Bound<'py, PyDict>> {
    let found = points::principal_scores(Matrix::new("points", points)?.view(), share)?;
    Ok(dict!(py, {
        "scores": to_array(py, found.scores.as_ref())?,
        "loadings": to_array(py, found.loadings.as_ref())?,
        "means": PyArray1::from_vec(py, found.means),
        "explained": PyArray1::from_vec(py, found.explained),
    }))
}

/// Points without duplicates and stragglers.
#[pyfunction]
#[pyo3(signature = (points, tolerance, n_far))]
pub fn keep_points<'py>(
    py: Python<'py>,
    points: &Bound<'py, PyAny>,
    tolerance: f64,
    n_far: usize,
) -> Result<Bound<'py, PyDict>> {
    let found = points::keep_points(Matrix::new("points", points)?.view(), tolerance, n_far)?;
    Ok(dict!(py, {
        "kept": PyArray1::from_vec(py, found.kept),
        "multiplicity": PyArray1::from_vec(py, found.multiplicity),
        "representative": PyArray1::from_vec(py, found.representative),
        "far": PyArray1::from_vec(py, found.far),
        "tolerance": found.tolerance,
    }))
}
