//! Score one model in memory: depth fit, representations and their controls.

use faer::{Mat, MatRef};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::data::{Runs, TileSource};
use stereotax::pipelines::depth::{FoldDepth, StateKind};
use stereotax::pipelines::single::{Beside, ScoredRepresentation, SingleData, SingleModel, score_model};
use stereotax::pipelines::{Cell, Clock, Representation, SampleDesign};
use stereotax::signal::{ConstantRule, remove_drift, z_score_runs};
use stereotax::stats::score::ScoreKind;
use stereotax::stats::summary::{median, quantile};
use stereotax::{Error, Result as CoreResult};
use stereotax_study::config::{self, NfasSettings};
use stereotax_study::settings;

use crate::arrays::{Layers, Matrix, to_array};
use crate::convert::dict;
use crate::depth::tell_verdict;
use crate::error::Result;
use crate::{options, watch};

/// Every choice of an analysis in memory, checked: those of `[analysis.nfas]` in a study file.
#[pyclass(frozen, module = "stereotax._core")]
#[derive(Debug)]
pub struct NfasParams {
    settings: NfasSettings,
    score: ScoreKind,
    seed: u64,
    memory: usize,
}

#[pymethods]
impl NfasParams {
    #[new]
    #[pyo3(signature = (
        *, estimator, rank, select, modes, amplitude, scale, centring, layer_map, max_width, align_all,
        tikhonov, fit_on, max_depth_gain, max_depth_rotation_deg, max_residual, min_energy,
        min_fold_correlation, hrf, delays_s, derivatives, drift, alphas, alpha_per_roi, equalize_dim,
        max_dim, inner_folds, outer_folds, purge_s, score, n_bootstraps, n_shifts, n_shuffles, seed,
        max_memory
    ))]
    fn new(
        estimator: &str,
        rank: &str,
        select: &str,
        modes: &str,
        amplitude: &str,
        scale: &str,
        centring: &str,
        layer_map: &str,
        max_width: usize,
        align_all: bool,
        tikhonov: f64,
        fit_on: &str,
        max_depth_gain: f64,
        max_depth_rotation_deg: f64,
        max_residual: f64,
        min_energy: f64,
        min_fold_correlation: f64,
        hrf: &str,
        delays_s: (f64, f64),
        derivatives: &str,
        drift: &str,
        alphas: Vec<f64>,
        alpha_per_roi: bool,
        equalize_dim: bool,
        max_dim: usize,
        inner_folds: usize,
        outer_folds: &str,
        purge_s: f64,
        score: &str,
        n_bootstraps: usize,
        n_shifts: usize,
        n_shuffles: usize,
        seed: u64,
        max_memory: usize,
    ) -> Result<Self> {
        let mut settings = NfasSettings {
            estimator: options::estimator(estimator)?,
            rank: options::rank(rank)?,
            select: options::select(select)?,
            modes: options::modes(modes)?,
            amplitude: options::amplitude(amplitude)?,
            scale: options::study_scale(scale)?,
            centring: options::study_centring(centring)?,
            layer_map: options::study_layer_map(layer_map)?,
            max_width,
            align_all,
            tikhonov,
            fit_on: options::fit_on(fit_on)?,
            ..NfasSettings::default()
        };
        settings.gates.max_depth_gain = at_least("max_depth_gain", max_depth_gain, 1.0)?;
        settings.gates.max_depth_rotation_deg =
            at_least("max_depth_rotation_deg", max_depth_rotation_deg, 0.0)?;
        settings.gates.max_residual = at_least("max_residual", max_residual, 0.0)?;
        settings.gates.min_energy = at_least("min_energy", min_energy, 0.0)?;
        settings.gates.min_fold_correlation = at_least("min_fold_correlation", min_fold_correlation, -1.0)?;
        settings.hrf = options::hrf(hrf)?;
        settings.delays_s = config::SecondsRange {
            from: at_least("delays_s", delays_s.0, 0.0)?,
            to: at_least("delays_s", delays_s.1, delays_s.0)?,
        };
        settings.derivatives = options::derivatives(derivatives)?;
        settings.drift = options::drift(drift)?;
        settings.alphas = config::Alphas::List(alphas);
        settings.alpha_per_roi = alpha_per_roi;
        settings.equalize_dim = equalize_dim;
        settings.max_dim = max_dim.max(1);
        settings.inner_folds = at_least("inner_folds", inner_folds as f64, 2.0)? as usize;
        settings.outer_folds = options::outer_folds(outer_folds)?;
        settings.purge_s = at_least("purge_s", purge_s, 0.0)?;
        settings.bootstraps = n_bootstraps;
        settings.shifts = n_shifts;
        settings.controls.layer_order = n_shuffles;
        settings.controls.multiverse = false;
        Ok(NfasParams { settings, score: options::score(score)?, seed, memory: max_memory })
    }

    /// What was understood, in full.
    fn __repr__(&self) -> String {
        format!("{:?} {:?} seed {} memory {}", self.settings, self.score, self.seed, self.memory)
    }
}

fn at_least(what: &str, found: f64, least: f64) -> CoreResult<f64> {
    if found >= least && found.is_finite() {
        return Ok(found);
    }
    Err(Error::Invalid {
        what: what.into(),
        expected: format!("a finite number of at least {least}"),
        found: found.to_string(),
        hint: "see the documentation of the argument".into(),
    })
}

/// Fit the depth in every fold and score all representations on held-out samples.
#[pyfunction]
#[pyo3(signature = (layers, layer_names, responses, ids, runs, blocks, tr_s, params))]
pub fn nfas<'py>(
    py: Python<'py>,
    layers: Vec<Bound<'py, PyAny>>,
    layer_names: Vec<String>,
    responses: Vec<Bound<'py, PyAny>>,
    ids: Vec<String>,
    runs: Option<Vec<String>>,
    blocks: Vec<String>,
    tr_s: Option<f64>,
    params: &NfasParams,
) -> Result<Bound<'py, PyDict>> {
    let layers = Layers::new(&layer_names, &layers)?;
    let source = layers.source()?;
    let responses =
        responses.iter().map(|array| Matrix::new("responses", array)).collect::<Result<Vec<_>>>()?;
    let views: Vec<MatRef<'_, f64>> = responses.iter().map(Matrix::view).collect();
    let fitted = watch::run(py, |monitor| -> CoreResult<(SingleModel, SampleDesign)> {
        let s = &params.settings;
        let (design, hrf, gap) = design(ids, runs, &blocks, tr_s, s, params.seed)?;
        let clean = views.iter().map(|view| clean(*view, &design, s)).collect::<CoreResult<Vec<_>>>()?;
        let clean: Vec<MatRef<'_, f64>> = clean.iter().map(Mat::as_ref).collect();
        let depth = settings::depth(s, params.seed);
        let evaluate = settings::evaluate(s, params.seed, &design, &hrf, gap);
        let data = SingleData { source: &source, design: &design, responses: &clean, nuisance: &[] };
        let found = score_model(&data, Beside::default(), &depth, &evaluate, params.memory, monitor)?;
        Ok((found, design))
    })?;
    tell(py, &fitted.0, &fitted.1, &source, params)
}

fn design(
    ids: Vec<String>,
    runs: Option<Vec<String>>,
    blocks: &[String],
    tr_s: Option<f64>,
    s: &NfasSettings,
    seed: u64,
) -> CoreResult<(SampleDesign, stereotax::signal::Hrf, usize)> {
    let runs = match runs {
        Some(labels) => Runs::from_labels(&labels)?,
        None => Runs::single(ids.len()),
    };
    let clock = match tr_s {
        Some(tr_s) if tr_s > 0.0 && tr_s.is_finite() => Clock::Tr { tr_s },
        Some(tr_s) => {
            return Err(Error::Invalid {
                what: "tr_s".into(),
                expected: "seconds above 0".into(),
                found: tr_s.to_string(),
                hint: "leave it out for one response per stimulus".into(),
            });
        }
        None => Clock::Stimulus,
    };
    let hrf = settings::hrf(s, clock)?;
    let gap = settings::purge_gap(s, clock, &hrf);
    let folds = settings::outer_folds(s.outer_folds, &ids, &runs, clock, gap, seed)?;
    let mut names = blocks.to_vec();
    names.sort();
    names.dedup();
    let codes = blocks.iter().map(|block| names.partition_point(|name| name < block)).collect();
    let design = SampleDesign { ids, runs, clock, folds, blocks: codes, block_names: names };
    design.check()?;
    Ok((design, hrf, gap))
}

/// Remove drift and z-score each run of a time series; leave responses per stimulus as they are.
fn clean(values: MatRef<'_, f64>, design: &SampleDesign, s: &NfasSettings) -> CoreResult<Mat<f64>> {
    stereotax::stats::summary::check_finite("responses", values)?;
    match design.clock {
        Clock::Stimulus => Ok(values.to_owned()),
        Clock::Tr { tr_s } => {
            let flat = remove_drift(values, &design.runs, tr_s, settings::drift(s))?;
            Ok(z_score_runs(flat.as_ref(), &design.runs, ConstantRule::Zero)?.values)
        }
    }
}

fn tell<'py>(
    py: Python<'py>,
    found: &SingleModel,
    design: &SampleDesign,
    source: &dyn TileSource,
    params: &NfasParams,
) -> Result<Bound<'py, PyDict>> {
    let representations = found
        .representations
        .iter()
        .map(|scored| tell_representation(py, scored, source, params))
        .collect::<Result<Vec<_>>>()?;
    let depth = match &found.depth {
        None => None,
        Some(depth) => {
            let (stable, reasons) = tell_verdict(py, &depth.verdict)?;
            let folds = std::iter::once(&depth.whole)
                .chain(&depth.folds)
                .map(|fold| tell_fold(py, fold))
                .collect::<PyResult<Vec<_>>>()?;
            let shuffled: Vec<(f64, f64)> = depth.shuffles.iter().map(|s| (s.re, s.im)).collect();
            Some(dict!(py, {
                "state": match depth.state {
                    StateKind::Shared => "shared",
                    StateKind::Mapped => "mapped",
                    StateKind::Kernel => "kernel",
                },
                "stable": stable,
                "reasons": reasons,
                "folds": folds,
                "shuffled_eigenvalues": shuffled,
                "lambda_sd": depth.stability.lambda_sd,
                "min_correlation": depth.stability.min_correlation,
                "fold_correlation": depth.stability.fold_correlation,
                "leave_one_layer_out": depth.stability.leave_one_layer_out,
            }))
        }
    };
    let folds: Vec<(String, Vec<usize>, Vec<usize>)> =
        design.folds.iter().map(|f| (f.name.clone(), f.train.clone(), f.test.clone())).collect();
    Ok(dict!(py, { "depth": depth, "representations": representations, "folds": folds }))
}

fn tell_fold<'py>(py: Python<'py>, fold: &FoldDepth) -> PyResult<Bound<'py, PyDict>> {
    let modes: Vec<(f64, f64, f64, Option<f64>, bool)> =
        fold.modes.iter().map(|m| (m.re, m.im, m.energy, m.residual, m.selected)).collect();
    Ok(dict!(py, {
        "name": &fold.name,
        "modes": modes,
        "weights": PyArray1::from_slice(py, &fold.weights),
        "rank": fold.rank,
        "warnings": fold.warnings.clone(),
    }))
}

fn tell_representation<'py>(
    py: Python<'py>,
    scored: &ScoredRepresentation,
    source: &dyn TileSource,
    params: &NfasParams,
) -> Result<Bound<'py, PyDict>> {
    let layer_name = |r: &Representation| match r {
        Representation::Layer(layer) => source.layers()[*layer].name.clone(),
        other => other.name(),
    };
    let layer = match &scored.representation {
        Representation::Layer(layer) => Some(source.layers()[*layer].name.clone()),
        _ => None,
    };
    let chosen: Vec<Vec<String>> =
        scored.chosen.iter().map(|folds| folds.iter().map(layer_name).collect()).collect();
    let subjects =
        scored.cells.iter().map(|cell| tell_cell(py, cell, params.score)).collect::<Result<Vec<_>>>()?;
    Ok(dict!(py, {
        "name": scored.representation.name(),
        "layer": layer,
        "chosen": chosen,
        "subjects": subjects,
    }))
}

fn tell_cell<'py>(py: Python<'py>, cell: &Cell, kind: ScoreKind) -> Result<Bound<'py, PyDict>> {
    let n_rois = cell.r.len();
    let score: Vec<f64> = (0..n_rois).map(|j| kind.of(cell.r[j], f64::NAN, cell.n_eff[j])).collect();
    let alpha: Vec<f64> = (0..n_rois)
        .map(|j| median(&cell.alphas.col(j).iter().copied().filter(|a| a.is_finite()).collect::<Vec<_>>()))
        .collect();
    let nothing = vec![f64::NAN; n_rois];
    let (mut lower, mut upper, mut p) = (nothing.clone(), nothing.clone(), nothing);
    let mut note = None;
    let mut draws = None;
    if let Some(kept) = &cell.draws {
        for j in 0..n_rois {
            if kept.bootstrap.nrows() > 0 {
                let values: Vec<f64> = kept.bootstrap.col(j).iter().copied().collect();
                lower[j] = quantile(&values, 0.025);
                upper[j] = quantile(&values, 0.975);
            }
        }
        p.clone_from(&kept.p_value);
        note.clone_from(&kept.note);
        draws = Some(dict!(py, {
            "predictions": to_array(py, kept.predictions.as_ref())?,
            "bootstrap": to_array(py, kept.bootstrap.as_ref())?,
        }));
    }
    Ok(dict!(py, {
        "r": PyArray1::from_slice(py, &cell.r),
        "r_lower": lower,
        "r_upper": upper,
        "score": score,
        "n": cell.n_samples,
        "n_eff": PyArray1::from_slice(py, &cell.n_eff),
        "p": p,
        "alpha": alpha,
        "share_at_edge": cell.share_at_edge,
        "n_components": cell.n_components.clone(),
        "note": note,
        "draws": draws,
    }))
}
