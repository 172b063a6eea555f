//! Dissimilarities of conditions: RDMs, noise, repeats, time, searchlights.

use faer::{Mat, MatRef};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::Error;
use stereotax::data::Rdm;
use stereotax::graph::{Mesh, Neighbourhoods};
use stereotax::similarity::model_rdms::{ModelRdms, ModelScore, Scratch};
use stereotax::similarity::rdm::{
    self, CrossnobisParams, Measure, NoiseParams, NoisePrecision, PoissonPrior, Repeats, RunPairing, Scale,
    Shrinkage,
};
use stereotax::similarity::searchlight::{self, LocalMeasure, LocalNoise};

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// An array of either precision.
enum Numbers<'py> {
    Double(Matrix<'py>),
    Single(Matrix<'py, f32>),
}

impl<'py> Numbers<'py> {
    fn new(name: &str, array: &Bound<'py, PyAny>) -> Result<Self> {
        Ok(match Matrix::single(name, array) {
            Some(single) => Numbers::Single(single?),
            None => Numbers::Double(Matrix::new(name, array)?),
        })
    }
}

/// Call with a view of whichever precision it is.
macro_rules! with_view {
    ($numbers:expr, $view:ident => $work:expr) => {
        match $numbers {
            Numbers::Double(matrix) => {
                let $view = matrix.view();
                $work
            }
            Numbers::Single(matrix) => {
                let $view = matrix.view();
                $work
            }
        }
    };
}

/// A noise precision in parts: a diagonal, and a matrix (alone: the precision; beside a diagonal: the factor).
#[derive(FromPyObject)]
pub struct ToldNoise<'py> {
    #[pyo3(item)]
    diagonal: Option<Vec<f64>>,
    #[pyo3(item)]
    matrix: Option<Bound<'py, PyAny>>,
}

impl ToldNoise<'_> {
    fn precision(&self) -> Result<NoisePrecision> {
        let matrix = match &self.matrix {
            Some(matrix) => Some(Matrix::new("noise", matrix)?.view().to_owned()),
            None => None,
        };
        Ok(match (&self.diagonal, matrix) {
            (Some(diagonal), None) => NoisePrecision::diagonal(diagonal.clone())?,
            (Some(diagonal), Some(factor)) => NoisePrecision::low_rank(diagonal.clone(), factor)?,
            (None, Some(matrix)) => NoisePrecision::dense(matrix)?,
            (None, None) => NoisePrecision::diagonal(vec![])?,
        })
    }
}

/// A measure by its name, with its choices.
#[derive(FromPyObject)]
pub struct ToldMeasure {
    #[pyo3(item)]
    method: String,
    #[pyo3(item)]
    squared: bool,
    #[pyo3(item)]
    per_channel: bool,
    #[pyo3(item)]
    prior: (f64, f64),
}

impl ToldMeasure {
    fn scale(&self) -> Scale {
        Scale { squared: self.squared, per_channel: self.per_channel }
    }

    fn prior(&self) -> PoissonPrior {
        PoissonPrior { rate: self.prior.0, weight: self.prior.1, per_channel: self.per_channel }
    }

    fn measure<'a>(&self, noise: Option<&'a NoisePrecision>) -> stereotax::Result<Measure<'a>> {
        Ok(match (self.method.as_str(), noise) {
            ("correlation", None) => Measure::Correlation,
            ("cosine", None) => Measure::Cosine,
            ("euclidean", None) => Measure::Euclidean(self.scale()),
            ("poisson", None) => Measure::Poisson(self.prior()),
            ("mahalanobis", Some(noise)) => Measure::Mahalanobis(noise, self.scale()),
            (method, noise) => {
                return Err(Error::Invalid {
                    what: "noise".into(),
                    expected: if noise.is_some() { "none for this method" } else { "a noise precision" }
                        .into(),
                    found: format!(
                        "method {method:?} {} one",
                        if noise.is_some() { "with" } else { "without" }
                    ),
                    hint:
                        "a noise precision belongs to \"mahalanobis\" and \"crossnobis\"; see noise_precision"
                            .into(),
                });
            }
        })
    }
}

fn noise_of(noise: Option<ToldNoise<'_>>) -> Result<Option<NoisePrecision>> {
    noise.map(|noise| noise.precision()).transpose()
}

fn values(py: Python<'_>, rdm: Rdm) -> Bound<'_, PyArray1<f64>> {
    PyArray1::from_vec(py, rdm.into_values())
}

/// RDMs below one another.
fn rows<'py>(py: Python<'py>, rdms: &[Rdm]) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let n_pairs = rdms.first().map_or(0, Rdm::n_pairs);
    let all: Vec<f64> = rdms.iter().flat_map(|rdm| rdm.values()).copied().collect();
    PyArray1::from_vec(py, all).reshape([rdms.len(), n_pairs])
}

/// The RDM of conditions × channels.
#[pyfunction]
#[pyo3(signature = (x, measure, noise))]
pub fn rdm_of<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    measure: ToldMeasure,
    noise: Option<ToldNoise<'py>>,
) -> Result<Bound<'py, PyArray1<f64>>> {
    let noise = noise_of(noise)?;
    let measure = measure.measure(noise.as_ref())?;
    let x = Numbers::new("X", x)?;
    Ok(values(py, with_view!(&x, view => watch::run(py, |monitor| measure.rdm(view, monitor)))?))
}

/// Dissimilarities of the rows of two arrays.
#[pyfunction]
#[pyo3(signature = (x, y, measure, noise))]
pub fn cross_rdm<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    measure: ToldMeasure,
    noise: Option<ToldNoise<'py>>,
) -> Result<Bound<'py, PyArray2<f64>>> {
    let noise = noise_of(noise)?;
    let measure = measure.measure(noise.as_ref())?;
    let (x, y) = (Matrix::new("X", x)?, Matrix::new("Y", y)?);
    let (x, y) = (x.view(), y.view());
    let found = watch::run(py, |_| rdm::cross_rdm(x, y, &measure))?;
    Ok(to_array(py, found.as_ref())?)
}

fn windows_of(windows: &[(usize, usize)]) -> Vec<std::ops::Range<usize>> {
    windows.iter().map(|&(begin, end)| begin..end).collect()
}

/// One RDM per window; one array (conditions × channels) per time.
#[pyfunction]
#[pyo3(signature = (times, windows, measure, noise))]
pub fn rdm_movie<'py>(
    py: Python<'py>,
    times: Vec<Bound<'py, PyAny>>,
    windows: Vec<(usize, usize)>,
    measure: ToldMeasure,
    noise: Option<ToldNoise<'py>>,
) -> Result<Bound<'py, PyArray2<f64>>> {
    let noise = noise_of(noise)?;
    let measure = measure.measure(noise.as_ref())?;
    let times: Vec<Matrix<'py>> = times.iter().map(|x| Matrix::new("X", x)).collect::<Result<_>>()?;
    let views: Vec<MatRef<'_, f64>> = times.iter().map(Matrix::view).collect();
    let windows = windows_of(&windows);
    let found = watch::run(py, |monitor| rdm::rdm_movie(&views, &windows, &measure, monitor))?;
    Ok(rows(py, &found)?)
}

/// Windows of time points.
#[pyfunction]
#[pyo3(signature = (n_times, width, step))]
pub fn time_windows(n_times: usize, width: usize, step: usize) -> Result<Vec<(usize, usize)>> {
    Ok(rdm::time_windows(n_times, width, step)?.into_iter().map(|w| (w.start, w.end)).collect())
}

fn shrinkage(method: &str) -> Shrinkage {
    match method {
        "full" => Shrinkage::Full,
        "diag" => Shrinkage::Diagonal,
        "shrinkage_eye" => Shrinkage::TowardEye,
        _ => Shrinkage::TowardDiagonal,
    }
}

/// The noise precision of channels from residuals, in parts.
#[pyfunction]
#[pyo3(signature = (residuals, method, dof))]
pub fn noise_precision<'py>(
    py: Python<'py>,
    residuals: &Bound<'py, PyAny>,
    method: &str,
    dof: Option<f64>,
) -> Result<Bound<'py, PyDict>> {
    let params = NoiseParams { shrinkage: shrinkage(method), dof };
    let residuals = Numbers::new("residuals", residuals)?;
    let (estimate, precision) = with_view!(&residuals, view => watch::run(py, |_| {
        let estimate = rdm::noise_precision(view, &params)?;
        let precision = estimate.precision()?;
        Ok::<_, Error>((estimate, precision))
    }))?;
    let (diagonal, matrix) = precision.parts();
    Ok(dict!(py, {
        "shrinkage": estimate.shrinkage,
        "dof": estimate.dof,
        "n_channels": precision.n_channels(),
        "diagonal": diagonal.map(|values| PyArray1::from_slice(py, values)),
        "matrix": matrix.map(|matrix| to_array(py, matrix)).transpose()?,
    }))
}

/// Deviations of repeats from the mean of their condition, and their degrees of freedom.
#[pyfunction]
#[pyo3(signature = (x, conditions, runs))]
pub fn noise_deviations<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    conditions: Vec<usize>,
    runs: Option<Vec<usize>>,
) -> Result<(Bound<'py, PyArray2<f64>>, usize)> {
    let x = Numbers::new("X", x)?;
    let (deviations, dof) = with_view!(&x, view => watch::run(py, |_| {
        rdm::deviations_from_conditions(view, &conditions, runs.as_deref())
    }))?;
    Ok((to_array(py, deviations.as_ref())?, dof))
}

fn pairing(word: &str) -> RunPairing {
    match word {
        "shared_runs_by_measurements" => RunPairing::SharedRunsByMeasurements,
        "all_measurements" => RunPairing::AllMeasurements,
        _ => RunPairing::SharedRuns,
    }
}

/// Crossnobis distances of measurements.
#[pyfunction]
#[pyo3(signature = (x, conditions, runs, noise, pairing_word, per_channel))]
pub fn crossnobis<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    conditions: Vec<usize>,
    runs: Vec<usize>,
    noise: Option<ToldNoise<'py>>,
    pairing_word: &str,
    per_channel: bool,
) -> Result<Bound<'py, PyDict>> {
    let noise = noise_of(noise)?;
    let params = CrossnobisParams { pairing: pairing(pairing_word), per_channel };
    let x = Numbers::new("X", x)?;
    let repeats = Repeats { conditions: &conditions, runs: &runs };
    let found = with_view!(&x, view => watch::run(py, |monitor| {
        rdm::crossnobis(view, &repeats, noise.as_ref(), &params, monitor)
    }))?;
    Ok(dict!(py, {
        "values": values(py, found.rdm),
        "shared_runs": PyArray1::from_vec(py, found.shared_runs),
        "complete": found.complete,
    }))
}

/// Cross-validated Poisson divergences of measurements.
#[pyfunction]
#[pyo3(signature = (x, conditions, runs, measure))]
pub fn poisson_cross_validated<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    conditions: Vec<usize>,
    runs: Vec<usize>,
    measure: ToldMeasure,
) -> Result<Bound<'py, PyArray1<f64>>> {
    let x = Numbers::new("X", x)?;
    let repeats = Repeats { conditions: &conditions, runs: &runs };
    let found = with_view!(&x, view => watch::run(py, |monitor| {
        rdm::poisson_rdm_cross_validated(view, &repeats, measure.prior(), monitor)
    }))?;
    Ok(values(py, found))
}

fn score(word: &str) -> ModelScore {
    match word {
        "pearson" => ModelScore::Pearson,
        "cosine" => ModelScore::Cosine,
        _ => ModelScore::Spearman,
    }
}

fn models_of(models: MatRef<'_, f64>, n_conditions: usize, word: &str) -> stereotax::Result<ModelRdms> {
    let models: Vec<Rdm> = (0..models.nrows())
        .map(|i| Rdm::new(n_conditions, models.row(i).iter().copied().collect()))
        .collect::<stereotax::Result<_>>()?;
    ModelRdms::new(&models, score(word))
}

/// Every row of `rdms` (RDMs × pairs) with every row of `models`.
#[pyfunction]
#[pyo3(signature = (rdms, models, n_conditions, score_word))]
pub fn score_models<'py>(
    py: Python<'py>,
    rdms: &Bound<'py, PyAny>,
    models: &Bound<'py, PyAny>,
    n_conditions: usize,
    score_word: &str,
) -> Result<Bound<'py, PyArray2<f64>>> {
    let (rdms, models) = (Matrix::new("rdms", rdms)?, Matrix::new("models", models)?);
    let (rdms, models) = (rdms.view(), models.view());
    let found = watch::run(py, |monitor| {
        let models = models_of(models, n_conditions, score_word)?;
        let mut out = Mat::<f64>::zeros(rdms.nrows(), models.len());
        let (mut scratch, mut line) = (Scratch::default(), vec![0.0; models.len()]);
        for i in 0..rdms.nrows() {
            monitor.check()?;
            let rdm: Vec<f64> = rdms.row(i).iter().copied().collect();
            models.scores(&rdm, &mut scratch, &mut line);
            (0..line.len()).for_each(|model| out[(i, model)] = line[model]);
        }
        Ok::<_, Error>(out)
    })?;
    Ok(to_array(py, found.as_ref())?)
}

/// What lies around each voxel or vertex.
#[pyclass(frozen)]
#[derive(Debug)]
pub struct Around {
    inner: Neighbourhoods,
}

#[pymethods]
impl Around {
    /// Spheres in a volume.
    #[staticmethod]
    fn spheres(
        shape: [usize; 3],
        mask: Vec<bool>,
        voxel_size: [f64; 3],
        radius: f64,
        min_share: f64,
    ) -> Result<Self> {
        Ok(Around { inner: Neighbourhoods::spheres(shape, &mask, voxel_size, radius, min_share)? })
    }

    /// Disks along a surface.
    #[staticmethod]
    fn disks(
        py: Python<'_>,
        coordinates: Vec<[f64; 3]>,
        faces: Vec<[usize; 3]>,
        mask: Option<Vec<bool>>,
        radius: f64,
        min_share: f64,
    ) -> Result<Self> {
        let inner = watch::run(py, |monitor| {
            let mesh = Mesh::from_surface(&coordinates, &faces)?;
            Neighbourhoods::disks(&mesh, mask.as_deref(), radius, min_share, monitor)
        })?;
        Ok(Around { inner })
    }

    /// Lists of one's own.
    #[staticmethod]
    fn lists(n_members: usize, centres: Vec<usize>, members: Vec<Vec<usize>>) -> Result<Self> {
        Ok(Around { inner: Neighbourhoods::from_lists(n_members, centres, &members)? })
    }

    #[getter]
    fn centres<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<usize>> {
        PyArray1::from_slice(py, self.inner.centres())
    }

    #[getter]
    fn shares<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(py, self.inner.shares())
    }

    #[getter]
    fn n_members(&self) -> usize {
        self.inner.n_members()
    }

    fn members<'py>(&self, py: Python<'py>, at: usize) -> Result<Bound<'py, PyArray1<u32>>> {
        if at >= self.inner.len() {
            return Err(Error::Invalid {
                what: "at".into(),
                expected: format!("a centre below {}", self.inner.len()),
                found: at.to_string(),
                hint: "centres count from 0".into(),
            }
            .into());
        }
        Ok(PyArray1::from_vec(py, self.inner.members(at)))
    }
}

/// RDMs around every centre, or scores of models there; `progress(task, done, total)` is told how far it is.
#[pyfunction]
#[pyo3(signature = (x, around, measure, conditions, runs, pairing_word, residuals, noise, models, score_word, progress))]
pub fn look_around<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    around: &Around,
    measure: ToldMeasure,
    conditions: Vec<usize>,
    runs: Vec<usize>,
    pairing_word: &str,
    residuals: Option<&Bound<'py, PyAny>>,
    noise: (String, Option<f64>),
    models: Option<(usize, Bound<'py, PyAny>)>,
    score_word: &str,
    progress: Option<&Bound<'py, PyAny>>,
) -> Result<Bound<'py, PyDict>> {
    let local = match measure.method.as_str() {
        "correlation" => LocalMeasure::Correlation,
        "cosine" => LocalMeasure::Cosine,
        "euclidean" => LocalMeasure::Euclidean(measure.scale()),
        "mahalanobis" => LocalMeasure::Mahalanobis(measure.scale()),
        "poisson" => LocalMeasure::Poisson(measure.prior()),
        _ => {
            let params =
                CrossnobisParams { pairing: pairing(pairing_word), per_channel: measure.per_channel };
            LocalMeasure::Crossnobis(Repeats { conditions: &conditions, runs: &runs }, params)
        }
    };
    let params = NoiseParams { shrinkage: shrinkage(&noise.0), dof: noise.1 };
    let models = models
        .map(|(n_conditions, models)| -> Result<ModelRdms> {
            Ok(models_of(Matrix::new("models", &models)?.view(), n_conditions, score_word)?)
        })
        .transpose()?;
    let x = Numbers::new("X", x)?;
    let around = &around.inner;
    let found = match &x {
        Numbers::Double(x) => {
            let residuals = residuals.map(|residuals| Matrix::new("residuals", residuals)).transpose()?;
            let local_noise =
                residuals.as_ref().map(|residuals| LocalNoise { residuals: residuals.view(), params });
            let view = x.view();
            watch::run_told(py, progress, |monitor| look(view, around, &local, local_noise, models, monitor))?
        }
        Numbers::Single(x) => {
            let residuals = residuals.map(|residuals| single_of("residuals", residuals)).transpose()?;
            let local_noise =
                residuals.as_ref().map(|residuals| LocalNoise { residuals: residuals.view(), params });
            let view = x.view();
            watch::run_told(py, progress, |monitor| look(view, around, &local, local_noise, models, monitor))?
        }
    };
    Ok(match found {
        Found::Scores(found) => dict!(py, {
            "scores": to_array(py, found.scores.as_ref())?,
            "n_channels": PyArray1::from_vec(py, found.n_channels),
            "n_undefined": PyArray1::from_vec(py, found.n_undefined),
        }),
        Found::Rdms(rdms, n_channels) => dict!(py, {
            "rdms": rows(py, &rdms)?,
            "n_channels": PyArray1::from_vec(py, n_channels),
            "n_undefined": PyArray1::from_vec(py, rdms.iter().map(Rdm::n_undefined).collect()),
        }),
    })
}

fn single_of<'py>(name: &str, array: &Bound<'py, PyAny>) -> Result<Matrix<'py, f32>> {
    match Matrix::single(name, array) {
        Some(single) => single,
        None => Err(Error::Invalid {
            what: name.into(),
            expected: "the precision of the data (float32)".into(),
            found: "another".into(),
            hint: "convert it to float32".into(),
        }
        .into()),
    }
}

enum Found {
    Scores(searchlight::SearchlightScores),
    Rdms(Vec<Rdm>, Vec<usize>),
}

fn look<T: stereotax::linalg::Real>(
    x: MatRef<'_, T>,
    around: &Neighbourhoods,
    local: &LocalMeasure<'_>,
    noise: Option<LocalNoise<'_, T>>,
    models: Option<ModelRdms>,
    monitor: &stereotax::data::Monitor<'_>,
) -> stereotax::Result<Found> {
    Ok(match models {
        Some(models) => {
            Found::Scores(searchlight::searchlight_scores(x, around, local, noise, &models, monitor)?)
        }
        None => {
            let rdms = searchlight::searchlight_rdms(x, around, local, noise, monitor)?;
            Found::Rdms(rdms, (0..around.len()).map(|at| around.members(at).len()).collect())
        }
    })
}
