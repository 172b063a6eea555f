//! Depth DMD: fit from moments or from mapped layers, and form the stable representation.

use faer::{Mat, c64};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyComplex, PyDict};
use stereotax::data::TileSource;
use stereotax::dynamics::layer_map::LayerMap;
use stereotax::dynamics::stability::{StableGates, verdict};
use stereotax::dynamics::{
    DepthDmdParams, DepthSpectrum, ScaledGram, StableVerdict, UnstableReason, depth_dmd_scaled, is_blurred,
};
use stereotax::pipelines::depth::{DepthParams, MappedState};
use stereotax::pipelines::{self, Features, TrajectoryFit};
use stereotax::{Error, Result as CoreResult};
use stereotax_study::settings;

use crate::arrays::{Layers, Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::moments::Moments;
use crate::{choices, watch};

/// Every choice of a depth DMD, checked.
#[pyclass(frozen, module = "stereotax._core")]
#[derive(Debug)]
pub struct DmdParams {
    depth: DepthParams,
}

#[pymethods]
impl DmdParams {
    #[new]
    #[pyo3(signature = (
        choices, *, min_energy, max_gain, seed, max_depth_change, max_rotation, max_residual,
        min_stable_energy, min_weight_correlation
    ))]
    fn new(
        choices: &str,
        min_energy: f64,
        max_gain: f64,
        seed: u64,
        max_depth_change: f64,
        max_rotation: f64,
        max_residual: f64,
        min_stable_energy: f64,
        min_weight_correlation: f64,
    ) -> Result<Self> {
        let mut depth = settings::depth(&choices::read(choices, "DepthDMD", false)?, seed);
        depth.dmd = DepthDmdParams { min_energy, max_gain, ..depth.dmd };
        // A map that is named is used, for layers of equal width too.
        depth.align_all = depth.layer_map.map != LayerMap::Identity;
        depth.gates = StableGates {
            max_depth_change,
            max_rotation,
            max_residual,
            min_energy: min_stable_energy,
            min_weight_correlation,
        };
        Ok(DmdParams { depth })
    }

    /// What was understood, in full.
    fn __repr__(&self) -> String {
        format!("{:?}", self.depth)
    }
}

/// Fit from moments: layers of equal width that share their state.
#[pyfunction]
#[pyo3(signature = (moments, weights, params))]
pub fn fit_moments<'py>(
    py: Python<'py>,
    moments: &Moments,
    weights: Option<Vec<f64>>,
    params: &DmdParams,
) -> Result<Bound<'py, PyDict>> {
    let depth = &params.depth;
    let fitted = watch::run(py, |_| -> CoreResult<Fitted> {
        let gram = moments.inner.gram(weights.as_deref(), depth.centring)?.scaled(depth.scaling)?;
        Fitted::new(gram, params)
    })?;
    fitted.to_dict(py)
}

/// Fit after the layers were brought into one state, on rows `train`.
#[pyfunction]
#[pyo3(signature = (layers, layer_names, train, params))]
pub fn fit_mapped<'py>(
    py: Python<'py>,
    layers: Vec<Bound<'py, PyAny>>,
    layer_names: Vec<String>,
    train: Vec<usize>,
    params: &DmdParams,
) -> Result<Bound<'py, PyDict>> {
    let layers = Layers::new(&layer_names, &layers)?;
    let source = layers.source()?;
    let fitted = watch::run(py, |monitor| -> CoreResult<Fitted> {
        let order: Vec<usize> = (0..layer_names.len()).collect();
        let state = MappedState::fit(&source, &train, &params.depth, monitor)?;
        Fitted::new(state.gram(&order, &train, &params.depth)?, params)
    })?;
    fitted.to_dict(py)
}

/// Fit the trajectories of single samples, or one operator for all, on rows `train`.
#[pyfunction]
#[pyo3(signature = (layers, layer_names, train, params))]
pub fn fit_trajectories<'py>(
    py: Python<'py>,
    layers: Vec<Bound<'py, PyAny>>,
    layer_names: Vec<String>,
    train: Vec<usize>,
    params: &DmdParams,
) -> Result<Bound<'py, PyDict>> {
    let layers = Layers::new(&layer_names, &layers)?;
    let source = layers.source()?;
    let fit = watch::run(py, |monitor| pipelines::fit_trajectories(&source, &train, &params.depth, monitor))?;
    tell_trajectories(py, &fit, layer_names.len())
}

/// The stable representation of the rows of `layers` by trajectories fitted on rows `train` of
/// `fitted_layers` (samples × width of the state).
#[pyfunction]
#[pyo3(signature = (fitted_layers, layers, layer_names, train, params))]
pub fn follow_trajectories<'py>(
    py: Python<'py>,
    fitted_layers: Vec<Bound<'py, PyAny>>,
    layers: Vec<Bound<'py, PyAny>>,
    layer_names: Vec<String>,
    train: Vec<usize>,
    params: &DmdParams,
) -> Result<Bound<'py, PyArray2<f64>>> {
    let fitted_layers = Layers::new(&layer_names, &fitted_layers)?;
    let layers = Layers::new(&layer_names, &layers)?;
    let first = fitted_layers.source()?;
    let n_fitted = first.n_samples();
    let source = first.then(layers.source()?)?;
    let fit = watch::run(py, |monitor| pipelines::fit_trajectories(&source, &train, &params.depth, monitor))?;
    Ok(to_array(py, fit.stable.as_ref().get(n_fitted.., ..))?)
}

fn tell_trajectories<'py>(
    py: Python<'py>,
    fit: &TrajectoryFit,
    n_layers: usize,
) -> Result<Bound<'py, PyDict>> {
    let values: Vec<c64> = fit.modes.iter().map(|m| c64::new(m.re, m.im)).collect();
    let selected: Vec<usize> = (0..values.len()).filter(|&k| fit.modes[k].selected).collect();
    // Of a pair the member with Im > 0 comes first.
    let lambda = selected.first().map_or(c64::new(f64::NAN, f64::NAN), |&k| values[k]);
    let steps = n_layers as f64 - 1.0;
    let mut weights = fit.weights.clone();
    weights.resize(n_layers, f64::NAN);
    let (stable, reasons) = tell_verdict(py, &fit.verdict)?;
    let samples = match &fit.samples {
        None => None,
        Some(s) => Some(dict!(py, {
            "eigenvalues": PyArray1::from_slice(py, &s.eigenvalues),
            "energies": PyArray1::from_slice(py, &s.energies),
            "residuals": PyArray1::from_slice(py, &s.residuals),
            "weights": to_array(py, s.weights.as_ref())?,
            "ranks": s.ranks.clone(),
        })),
    };
    Ok(dict!(py, {
        "eigenvalues": PyArray1::from_slice(py, &values),
        "energies": PyArray1::from_vec(py, fit.modes.iter().map(|m| m.energy).collect()),
        "residuals": PyArray1::from_vec(
            py,
            fit.modes.iter().map(|m| m.residual.unwrap_or(f64::NAN)).collect(),
        ),
        "selected": selected,
        "selected_eigenvalue": PyComplex::from_doubles(py, lambda.re, lambda.im),
        "weights": PyArray1::from_vec(py, weights),
        "rank": fit.rank,
        "margin": fit.margin,
        "depth_gain": lambda.norm().powf(steps),
        "depth_rotation": lambda.arg().abs() * steps,
        "share_qualifying": fit.spread.map(|s| s.share_qualifying),
        "samples": samples,
        "stable": stable,
        "reasons": reasons,
        "warnings": fit.warnings.clone(),
    }))
}

/// Σ_l coefficients[l] · (H_l − means[l]) for layers of equal width (samples × K).
#[pyfunction]
#[pyo3(signature = (layers, layer_names, coefficients, means))]
pub fn combine_shared<'py>(
    py: Python<'py>,
    layers: Vec<Bound<'py, PyAny>>,
    layer_names: Vec<String>,
    coefficients: Vec<f64>,
    means: &Bound<'py, PyAny>,
) -> Result<Bound<'py, PyArray2<f64>>> {
    let layers = Layers::new(&layer_names, &layers)?;
    let source = layers.source()?;
    let means = Matrix::new("means", means)?;
    let means = means.view();
    let widths: Vec<usize> = source.layers().iter().map(|layer| layer.width).collect();
    if coefficients.len() != widths.len()
        || means.nrows() != widths.len()
        || widths.iter().any(|width| *width != means.ncols())
    {
        return Err(Error::Shape {
            what: "layers".into(),
            expected: format!("{} layers of {} units (as in `fit`)", means.nrows(), means.ncols()),
            found: format!("layers of {widths:?} units"),
            hint: "pass the layers of the same network, in the same order".into(),
        }
        .into());
    }
    let sum = watch::run(py, |monitor| -> CoreResult<Mat<f64>> {
        let width = means.ncols();
        let mut sum = Mat::<f64>::zeros(source.n_samples(), width);
        let mut row = vec![0.0; width];
        for sample in 0..source.n_samples() {
            monitor.check()?;
            for (layer, coefficient) in coefficients.iter().enumerate() {
                source.read_rows(layer, sample..sample + 1, &mut row)?;
                for unit in 0..width {
                    sum[(sample, unit)] += coefficient * (row[unit] - means[(layer, unit)]);
                }
            }
        }
        Ok(sum)
    })?;
    Ok(to_array(py, sum.as_ref())?)
}

/// The stable representation of mapped layers; the map is fitted again on rows `train` of
/// `fitted_layers`, and the rows of `layers` are what comes back (samples × common width).
#[pyfunction]
#[pyo3(signature = (fitted_layers, layers, layer_names, train, params, weights))]
pub fn combine_mapped<'py>(
    py: Python<'py>,
    fitted_layers: Vec<Bound<'py, PyAny>>,
    layers: Vec<Bound<'py, PyAny>>,
    layer_names: Vec<String>,
    train: Vec<usize>,
    params: &DmdParams,
    weights: Vec<f64>,
) -> Result<Bound<'py, PyArray2<f64>>> {
    let fitted_layers = Layers::new(&layer_names, &fitted_layers)?;
    let layers = Layers::new(&layer_names, &layers)?;
    let first = fitted_layers.source()?;
    let n_fitted = first.n_samples();
    let source = first.then(layers.source()?)?;
    let sum = watch::run(py, |monitor| -> CoreResult<Features> {
        let order: Vec<usize> = (0..layer_names.len()).collect();
        let state = MappedState::fit(&source, &train, &params.depth, monitor)?;
        state.features(&source, &order, &weights, &params.depth, monitor)
    })?;
    Ok(to_array(py, sum.view().get(n_fitted.., ..))?)
}

/// A spectrum, the divisors that made its Gram matrix, and the verdict.
struct Fitted {
    spectrum: DepthSpectrum,
    gram: ScaledGram,
    verdict: StableVerdict,
    blurred: bool,
}

impl Fitted {
    fn new(gram: ScaledGram, params: &DmdParams) -> CoreResult<Self> {
        let spectrum = depth_dmd_scaled(&gram, &params.depth.dmd)?;
        let verdict = verdict(std::slice::from_ref(&spectrum), gram.gram.as_ref(), &params.depth.gates)?;
        let blurred = is_blurred(&gram, &spectrum, &params.depth.dmd)?;
        Ok(Fitted { spectrum, gram, verdict, blurred })
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyDict>> {
        let s = &self.spectrum;
        let coefficients: Vec<_> = (0..s.coefficients.nrows())
            .flat_map(|l| (0..s.coefficients.ncols()).map(move |k| s.coefficients[(l, k)]))
            .collect();
        let lambda = s.selected_eigenvalue();
        let (runner_up, margin) = match s.runner_up {
            Some((mode, margin)) => (Some(mode), Some(margin)),
            None => (None, None),
        };
        let (stable, reasons) = tell_verdict(py, &self.verdict)?;
        let consensus = match &s.consensus {
            None => None,
            Some(c) => Some(dict!(py, {
                "ranks": c.ranks.clone(),
                "re": c.re.clone(),
                "im": c.im.clone(),
                "residuals": c.residuals.clone(),
                "median_re": c.median_re,
                "median_im": c.median_im,
                "spread": c.spread,
            })),
        };
        Ok(dict!(py, {
            "eigenvalues": PyArray1::from_slice(py, &s.eigenvalues),
            "coefficients": PyArray1::from_vec(py, coefficients)
                .reshape([s.coefficients.nrows(), s.coefficients.ncols()])?,
            "amplitudes": PyArray1::from_slice(py, &s.amplitudes),
            "energies": PyArray1::from_slice(py, &s.energies),
            "residuals": PyArray1::from_slice(py, &s.residuals),
            "selected": s.selected.clone(),
            "selected_eigenvalue": PyComplex::from_doubles(py, lambda.re, lambda.im),
            "weights": PyArray1::from_slice(py, &s.weights),
            "divisors": PyArray1::from_slice(py, &self.gram.divisors),
            "gram": to_array(py, self.gram.gram.as_ref())?,
            "rank": s.rank,
            "numerical_rank": s.numerical_rank,
            "runner_up": runner_up,
            "margin": margin,
            "reconstruction_error": s.reconstruction_error,
            "depth_gain": s.depth_gain(),
            "depth_rotation": s.depth_rotation(),
            "consensus": consensus,
            "stable": stable,
            "reasons": reasons,
            "warnings": s.warnings.clone(),
            "blurred": self.blurred,
        }))
    }
}

/// Whether the mode is stable, and the gates it failed.
pub fn tell_verdict<'py>(
    py: Python<'py>,
    verdict: &StableVerdict,
) -> PyResult<(bool, Vec<Bound<'py, PyDict>>)> {
    let failed = match verdict {
        StableVerdict::Stable => return Ok((true, Vec::new())),
        StableVerdict::NoStableMode(failed) => failed,
    };
    let reasons = failed
        .iter()
        .map(|gate| {
            let reason = match gate.reason {
                UnstableReason::FarFromOne => "far_from_one",
                UnstableReason::Residual => "residual",
                UnstableReason::Energy => "energy",
                UnstableReason::FoldInstability => "fold_instability",
            };
            Ok(dict!(py, { "reason": reason, "found": gate.found, "threshold": gate.threshold }))
        })
        .collect::<PyResult<_>>()?;
    Ok((false, reasons))
}
