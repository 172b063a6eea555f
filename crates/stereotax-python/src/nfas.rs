//! Score one model in memory: depth fit, representations, their controls, ceilings and multiverse.

use faer::{Mat, MatRef};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::data::{Monitor, Runs, TileSource};
use stereotax::pipelines::ceilings::{CeilingData, Ceilings, ceilings};
use stereotax::pipelines::depth::{DepthParams, FoldDepth, StateKind};
use stereotax::pipelines::group::{GroupResult, ModelInfo, ScoredModel, SpaceRois, compare_groups, space_of};
use stereotax::pipelines::single::{
    Beside, MultiverseScore, ScoredRepresentation, SingleData, SingleModel, score_model,
};
use stereotax::pipelines::{Cell, Clock, Representation, SampleDesign, clean_responses, group_mean};
use stereotax::stats::score::ScoreKind;
use stereotax::stats::summary::{check_finite, mean, median, quantile};
use stereotax::{Error, Result as CoreResult};
use stereotax_study::config::{GateAction, NfasSettings, SubjectMode};
use stereotax_study::{settings, word};

use crate::arrays::{Layers, Matrix, Source, to_array};
use crate::convert::dict;
use crate::depth::tell_verdict;
use crate::error::Result;
use crate::tables::{tell_findings, tell_group, tell_scored};
use crate::{choices, watch};

/// What the model and its twin are called where names are needed.
const MODEL: &str = "model";
const TWIN: &str = "untrained twin";

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
    #[pyo3(signature = (choices, *, has_nuisance, n_bootstraps, n_shifts, n_shuffles, seed, max_memory))]
    fn new(
        choices: &str,
        has_nuisance: bool,
        n_bootstraps: usize,
        n_shifts: usize,
        n_shuffles: usize,
        seed: u64,
        max_memory: usize,
    ) -> Result<Self> {
        let mut settings = choices::read(choices, "NFAS", has_nuisance)?;
        settings.bootstraps = n_bootstraps;
        settings.shifts = n_shifts;
        settings.controls.layer_order = n_shuffles;
        let score = settings::score_kind(settings.score);
        Ok(NfasParams { settings, score, seed, memory: max_memory })
    }

    /// What was understood, in full.
    fn __repr__(&self) -> String {
        format!("{:?} {:?} seed {} memory {}", self.settings, self.score, self.seed, self.memory)
    }
}

/// What is known of the samples.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct ToldSamples {
    ids: Vec<String>,
    runs: Option<Vec<String>>,
    blocks: Vec<String>,
    tr_s: Option<f64>,
    rois: Vec<String>,
    given_ceilings: Option<Vec<f64>>,
}

/// Everything that was computed.
struct Fitted {
    design: SampleDesign,
    model: SingleModel,
    ceilings: Ceilings,
    masked: Vec<bool>,
    scored: ScoredModel,
    group: GroupResult,
}

/// Fit the depth in every fold and score all representations on held-out samples.
#[pyfunction]
#[pyo3(signature = (
    layers, layer_names, responses, repeats, confounds, nuisance, untrained, samples, params
))]
pub fn nfas<'py>(
    py: Python<'py>,
    layers: Vec<Bound<'py, PyAny>>,
    layer_names: Vec<String>,
    responses: Vec<Bound<'py, PyAny>>,
    repeats: Vec<Vec<Bound<'py, PyAny>>>,
    confounds: Vec<Bound<'py, PyAny>>,
    nuisance: Vec<(String, Bound<'py, PyAny>)>,
    untrained: Option<Vec<Bound<'py, PyAny>>>,
    samples: ToldSamples,
    params: &NfasParams,
) -> Result<Bound<'py, PyDict>> {
    let layers = Layers::new(&layer_names, &layers)?;
    let source = layers.source()?;
    let twin_names = |n: usize| -> Vec<String> { (0..n).map(|l| format!("untrained layer {l}")).collect() };
    let twin = untrained.map(|arrays| Layers::new(&twin_names(arrays.len()), &arrays)).transpose()?;
    let twin = twin.as_ref().map(Layers::source).transpose()?;
    let borrow = |name: &str, arrays: &[Bound<'py, PyAny>]| -> Result<Vec<Matrix<'py>>> {
        arrays.iter().map(|array| Matrix::new(name, array)).collect()
    };
    let responses = borrow("responses", &responses)?;
    let repeats = repeats.iter().map(|arrays| borrow("repeats", arrays)).collect::<Result<Vec<_>>>()?;
    let confounds = borrow("confounds", &confounds)?;
    let nuisance = nuisance
        .into_iter()
        .map(|(name, array)| Ok((name, Matrix::new("nuisance", &array)?)))
        .collect::<Result<Vec<_>>>()?;
    let input = Input {
        source: &source,
        twin: twin.as_ref(),
        responses: responses.iter().map(Matrix::view).collect(),
        repeats: repeats.iter().map(|of| of.iter().map(Matrix::view).collect()).collect(),
        confounds: confounds.iter().map(Matrix::view).collect(),
        nuisance: nuisance.iter().map(|(name, values)| (name.clone(), values.view())).collect(),
    };
    let fitted = watch::run(py, |monitor| fit(&input, samples, params, monitor))?;
    tell(py, &fitted, &source, params)
}

/// Borrowed arrays.
struct Input<'a> {
    source: &'a Source<'a>,
    twin: Option<&'a Source<'a>>,
    responses: Vec<MatRef<'a, f64>>,
    repeats: Vec<Vec<MatRef<'a, f64>>>,
    /// Per subject; empty where there are none.
    confounds: Vec<MatRef<'a, f64>>,
    nuisance: Vec<(String, MatRef<'a, f64>)>,
}

fn fit(
    input: &Input<'_>,
    samples: ToldSamples,
    params: &NfasParams,
    monitor: &Monitor<'_>,
) -> CoreResult<Fitted> {
    let s = &params.settings;
    let rois = samples.rois.clone();
    let given = samples.given_ceilings.clone();
    let (design, hrf, gap) = design(samples, s, params.seed)?;
    let cleaned = |what: &str,
                   values: &[MatRef<'_, f64>],
                   confounds: &[MatRef<'_, f64>]|
     -> CoreResult<Vec<Mat<f64>>> {
        values
            .iter()
            .enumerate()
            .map(|(subject, values)| {
                check_finite(what, *values)?;
                let confounds = confounds.get(subject).copied();
                confounds.map(|confounds| check_finite("confounds", confounds)).transpose()?;
                clean_responses(*values, confounds, &design, settings::drift(s))
            })
            .collect()
    };
    let mut responses = cleaned("responses", &input.responses, &input.confounds)?;
    let mut repeats =
        input.repeats.iter().map(|of| cleaned("repeats", of, &[])).collect::<CoreResult<Vec<_>>>()?;
    if s.subjects == SubjectMode::GroupMean && responses.len() > 1 {
        let views: Vec<MatRef<'_, f64>> = responses.iter().map(Mat::as_ref).collect();
        responses = vec![group_mean(&views, &design)?];
        repeats = Vec::new();
    }
    let responses: Vec<MatRef<'_, f64>> = responses.iter().map(Mat::as_ref).collect();
    let repeats: Vec<Vec<MatRef<'_, f64>>> =
        repeats.iter().map(|of| of.iter().map(Mat::as_ref).collect()).collect();

    // Cheap, and what is wrong with them should be told before the long work.
    let ceiling_data =
        CeilingData { responses: &responses, repeats: &repeats, given: given.as_deref(), runs: &design.runs };
    let ceilings = ceilings(s.ceiling, &ceiling_data, params.seed)?;
    let masked = ceilings.masked(s.min_ceiling);

    let data = SingleData {
        source: input.source,
        design: &design,
        responses: &responses,
        nuisance: &input.nuisance,
    };
    let beside = Beside {
        layer_mean: s.controls.layer_mean,
        pod: true,
        first_last: s.controls.first_last,
        best_layer: s.controls.best_layer,
        adaptive: s.controls.adaptive,
    };
    let depth = settings::depth(s, params.seed);
    let evaluate = settings::evaluate(s, params.seed, &design, &hrf, gap);
    let model = score_model(&data, beside, &depth, &evaluate, params.memory, monitor)?;
    let scored = |name: &str, model: &SingleModel, trained: bool| ScoredModel {
        info: ModelInfo {
            name: name.into(),
            modality: MODEL.into(),
            family: MODEL.into(),
            benchmark: MODEL.into(),
            trained,
            twin_of: (!trained).then(|| MODEL.into()),
            verdict: stereotax_study::point_status(
                model.depth.as_ref(),
                s.gates.action == GateAction::Exclude,
            ),
        },
        stimuli: String::new(),
        scores: model.mean_scores(params.score, &ceilings),
        ceilings: ceilings.mean(),
        masked: masked.clone(),
    };
    let own = scored(MODEL, &model, true);
    let mut models = vec![own.clone()];
    if let Some(source) = input.twin {
        let plain = DepthParams { n_shuffles: 0, multiverse: false, n_bootstraps: 0, ..depth };
        let data = SingleData { source, nuisance: &[], ..data };
        let twin = score_model(&data, Beside::TWIN, &plain, &evaluate, params.memory, monitor)?;
        let mut twin = scored(TWIN, &twin, false);
        // A control takes no part in the adjustment of p-values.
        twin.scores.iter_mut().for_each(|s| s.null = None);
        models.push(twin);
    }
    let networks = vec![None; rois.len()];
    let spaces = [space_of(MODEL, SpaceRois { names: rois, networks }, models)?];
    let mut group = compare_groups(&spaces, &settings::group(s, params.seed), monitor)?;
    stereotax_study::show_scores_without_point(&spaces, &mut group);
    Ok(Fitted { model, ceilings, masked, scored: own, group, design })
}

fn design(
    samples: ToldSamples,
    s: &NfasSettings,
    seed: u64,
) -> CoreResult<(SampleDesign, stereotax::signal::Hrf, usize)> {
    let ToldSamples { ids, runs, blocks, tr_s, .. } = samples;
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
    let folds = settings::outer_folds(s, &ids, &runs, clock, &hrf, gap, seed)?;
    let mut names = blocks.clone();
    names.sort();
    names.dedup();
    let codes = blocks.iter().map(|block| names.partition_point(|name| name < block)).collect();
    let design = SampleDesign { ids, runs, clock, folds, blocks: codes, block_names: names };
    design.check()?;
    Ok((design, hrf, gap))
}

fn tell<'py>(
    py: Python<'py>,
    found: &Fitted,
    source: &dyn TileSource,
    params: &NfasParams,
) -> Result<Bound<'py, PyDict>> {
    let model = &found.model;
    let representations = model
        .representations
        .iter()
        .filter(|scored| !matches!(scored.representation, Representation::Alternative(_)))
        .map(|scored| tell_representation(py, scored, &found.ceilings, source, params))
        .chain(model.nuisance.iter().map(|(name, cells)| {
            let subjects = tell_cells(py, cells, &found.ceilings, params.score)?;
            let nothing: Vec<Vec<String>> = Vec::new();
            let name = format!("nuisance:{name}");
            Ok(dict!(py, { "name": name, "layer": py.None(), "chosen": nothing, "subjects": subjects }))
        }))
        .collect::<Result<Vec<_>>>()?;
    let depth = match &model.depth {
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
        found.design.folds.iter().map(|f| (f.name.clone(), f.train.clone(), f.test.clone())).collect();
    let multiverse = model.multiverse(params.score, &found.ceilings, &found.masked);
    Ok(dict!(py, {
        "depth": depth,
        "representations": representations,
        "folds": folds,
        "ceilings": dict!(py, {
            "kind": &found.ceilings.kind,
            "status": &found.ceilings.status,
            "subjects": found.ceilings.subjects.clone(),
            "masked": found.masked.clone(),
        }),
        "group": tell_group(py, &found.group)?,
        "multiverse": tell_multiverse(py, &multiverse)?,
        "scored": tell_scored(py, &found.scored)?,
        "findings": tell_findings(py, findings(found, params))?,
    }))
}

/// What a reader must know, in the words of a study.
fn findings(found: &Fitted, params: &NfasParams) -> Vec<stereotax_study::Finding> {
    let model = &found.model;
    let mut findings =
        stereotax_study::depth_findings(MODEL, "these responses", model.n_layers, model.depth.as_ref());
    if let Some(cells) = model.cells(&Representation::StableMode) {
        let shares: Vec<f64> = cells.iter().map(|cell| cell.share_at_edge).collect();
        findings.extend(stereotax_study::edge_finding(&[(MODEL, mean(&shares))]));
    }
    if let (Some(depth), true) = (&model.depth, params.settings.controls.multiverse)
        && depth.alternatives.is_empty()
    {
        findings.push(stereotax_study::Finding {
            severity: "note".into(),
            code: "no_multiverse".into(),
            text: "the multiverse needs layers of one width that share their state as they are".into(),
        });
    }
    if params.score == ScoreKind::Ceil && found.ceilings.status != "ok" {
        findings.push(stereotax_study::no_ceiling());
    }
    findings
}

fn tell_multiverse<'py>(py: Python<'py>, cells: &[MultiverseScore<'_>]) -> PyResult<Bound<'py, PyDict>> {
    let of = |word: &dyn Fn(&MultiverseScore<'_>) -> String| cells.iter().map(word).collect::<Vec<_>>();
    let number = |of: &dyn Fn(&MultiverseScore<'_>) -> f64| cells.iter().map(of).collect::<Vec<_>>();
    Ok(dict!(py, {
        "scale": of(&|c| word(&c.alternative.scaling)),
        "select": of(&|c| word(&c.alternative.dmd.select)),
        "rank": of(&|c| word(&c.alternative.dmd.rank)),
        "estimator": of(&|c| word(&c.alternative.dmd.estimator)),
        "score": number(&|c| c.score),
        "versus_layer_mean": number(&|c| c.versus_layer_mean),
        "lambda_re": number(&|c| c.alternative.re.unwrap_or(f64::NAN)),
        "lambda_im": number(&|c| c.alternative.im.unwrap_or(f64::NAN)),
        "status": of(&|c| c.alternative.status.clone()),
    }))
}

fn tell_fold<'py>(py: Python<'py>, fold: &FoldDepth) -> PyResult<Bound<'py, PyDict>> {
    let modes: Vec<(f64, f64, f64, Option<f64>, bool)> =
        fold.modes.iter().map(|m| (m.re, m.im, m.energy, m.residual, m.selected)).collect();
    // Some trajectories weight no layers.
    let weights = match fold.weights.is_empty() {
        true => vec![f64::NAN; fold.mean_coefficients.len()],
        false => fold.weights.clone(),
    };
    Ok(dict!(py, {
        "name": &fold.name,
        "modes": modes,
        "weights": PyArray1::from_vec(py, weights),
        "rank": fold.rank,
        "warnings": fold.warnings.clone(),
    }))
}

fn tell_representation<'py>(
    py: Python<'py>,
    scored: &ScoredRepresentation,
    ceilings: &Ceilings,
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
    let mut chosen: Vec<Vec<String>> =
        scored.chosen.iter().map(|folds| folds.iter().map(layer_name).collect()).collect();
    chosen.extend(scored.mixtures.iter().map(|folds| folds.iter().map(|m| m.text(layer_name)).collect()));
    let subjects = tell_cells(py, &scored.cells, ceilings, params.score)?;
    Ok(dict!(py, {
        "name": scored.representation.name(),
        "layer": layer,
        "chosen": chosen,
        "subjects": subjects,
    }))
}

fn tell_cells<'py>(
    py: Python<'py>,
    cells: &[Cell],
    ceilings: &Ceilings,
    kind: ScoreKind,
) -> Result<Vec<Bound<'py, PyDict>>> {
    cells.iter().zip(&ceilings.subjects).map(|(cell, ceilings)| tell_cell(py, cell, ceilings, kind)).collect()
}

fn tell_cell<'py>(
    py: Python<'py>,
    cell: &Cell,
    ceilings: &[f64],
    kind: ScoreKind,
) -> Result<Bound<'py, PyDict>> {
    let n_rois = cell.r.len();
    let score: Vec<f64> = (0..n_rois).map(|j| kind.of(cell.r[j], ceilings[j], cell.n_eff[j])).collect();
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
    let split = match &cell.split {
        None => None,
        Some(split) => Some(dict!(py, {
            "r2": to_array(py, split.r2.as_ref())?,
            "joint_r2": split.joint.clone(),
            "weight": to_array(py, split.weights.as_ref())?,
        })),
    };
    Ok(dict!(py, {
        "r": PyArray1::from_slice(py, &cell.r),
        "r_lower": lower,
        "r_upper": upper,
        "score": score,
        "n": cell.n_samples,
        "n_eff": PyArray1::from_slice(py, &cell.n_eff),
        "p": p,
        "alpha": alpha,
        "note": note,
        "draws": draws,
        "split": split,
    }))
}
