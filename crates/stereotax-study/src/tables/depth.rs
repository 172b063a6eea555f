//! The tables of the depth fits: models, spectra and weights.

use stereotax::data::TileSource;
use stereotax::pipelines::depth::{DepthResult, FoldDepth};
use stereotax_io::Table;

use super::findings::{depth_findings, verdict_words};
use super::spaces::n_layers;
use super::table;
use super::{Scored, word};
use crate::config;
use crate::inputs::Inputs;
use crate::plan::Grid;
use crate::{Finding, Study};

pub(super) fn models_table(
    study: &Study,
    inputs: &Inputs,
    grid: &Grid,
    scored: &Scored,
    space_of: &[String],
    findings: &mut Vec<Finding>,
) -> Table {
    struct Row<'a> {
        model: &'a config::Model,
        benchmark: &'a str,
        space: &'a str,
        n_layers: usize,
        depth: Option<&'a DepthResult>,
        map: String,
    }
    let rows: Vec<Row> = grid
        .pairs
        .iter()
        .zip(&scored.pairs)
        .map(|(pair, (depth, _))| Row {
            model: &inputs.models[pair.model].model,
            benchmark: &inputs.benchmarks[pair.benchmark].id,
            space: &space_of[pair.benchmark],
            n_layers: n_layers(inputs, pair),
            depth: depth.as_ref(),
            map: match depth.as_ref().map(|d| d.state) {
                _ if !study.file.wants_nfas => String::new(),
                Some(stereotax::pipelines::depth::StateKind::Shared) => "identity".into(),
                Some(_) => word(&study.file.analysis.layer_map),
                None => "none".into(),
            },
        })
        .collect();
    for row in &rows {
        findings.extend(depth_findings(&row.model.name, row.benchmark, row.n_layers, row.depth));
    }
    let lambda = |row: &Row| row.depth.map(|d| d.whole.selected());
    let steps = |row: &Row| row.n_layers as f64 - 1.0;
    let spread = |row: &Row| row.depth.and_then(|d| d.whole.spread);
    let trajectory = word(&study.file.analysis.trajectory);
    // Where NFAS was not asked for, nothing is said of depth dynamics.
    let asked = study.file.wants_nfas;
    table!(rows;
        text model = |r| Some(r.model.name.clone()),
        text modality = |r| Some(r.model.modality.clone()),
        text family = |r| Some(r.model.family.clone()),
        text benchmark = |r| Some(r.benchmark.to_owned()),
        flag trained = |r| Some(r.model.trained),
        text twin_of = |r| r.model.twin_of.clone(),
        text space = |r| Some(r.space.to_owned()),
        integer n_layers = |r| Some(r.n_layers as i64),
        text layer_map = |r| asked.then(|| r.map.clone()),
        text trajectory = |_| asked.then(|| trajectory.clone()),
        text verdict = |r| asked.then(|| verdict_words(r.depth).0.to_owned()),
        text reason = |r| asked.then(|| match (r.model.trained, verdict_words(r.depth)) {
            (false, ("stable", reason)) => format!("{reason}; untrained networks are controls and get no point"),
            (_, (_, reason)) => reason,
        }),
        number lambda_re = |r| lambda(r).map(|l| l.0),
        number lambda_im = |r| lambda(r).map(|l| l.1),
        number depth_gain = |r| lambda(r).map(|l| l.0.hypot(l.1).powf(steps(r))),
        number depth_rotation = |r| lambda(r).map(|l| l.1.atan2(l.0).abs() * steps(r)),
        number energy = |r| r.depth.and_then(|d| energy_of(&d.whole)),
        number residual = |r| r.depth.and_then(|d| residual_of(&d.whole)),
        number weight_stability = |r| r.depth.and_then(|d| d.stability.fold_correlation),
        number lambda_sd = |r| r.depth.and_then(|d| d.stability.lambda_sd),
        number leave_one_layer_out = |r| r.depth.and_then(|d| d.stability.leave_one_layer_out),
        number bootstrap_correlation = |r| r.depth.and_then(|d| d.stability.min_correlation),
        number modulus_lower = |r| spread(r).map(|s| s.modulus[0]),
        number modulus_upper = |r| spread(r).map(|s| s.modulus[2]),
        number share_qualifying = |r| spread(r).map(|s| s.share_qualifying),
        number versus_persistence = |r| {
            r.depth.and_then(|d| d.whole.modes.iter().find(|m| m.selected)?.versus_persistence)
        },
        text status = |r| Some(if r.depth.is_some() || !asked { "ok".to_owned() } else { "too_shallow".to_owned() }),
    )
}

/// Energy share of the first selected mode; with windows of depth, of all of them together.
fn energy_of(fold: &FoldDepth) -> Option<f64> {
    let mut chosen = fold.modes.iter().filter(|m| m.selected).map(|m| m.energy);
    if fold.windows.is_empty() { chosen.next() } else { Some(chosen.sum()) }
}

/// Residual of the first selected mode; with windows of depth, the largest.
fn residual_of(fold: &FoldDepth) -> Option<f64> {
    let mut chosen = fold.modes.iter().filter(|m| m.selected);
    match fold.windows.is_empty() {
        true => chosen.next().and_then(|m| m.residual),
        false => chosen.filter_map(|m| m.residual).reduce(f64::max),
    }
}

pub(super) fn spectra_table(inputs: &Inputs, grid: &Grid, scored: &Scored) -> Table {
    let mut rows = Vec::new();
    for (pair, (depth, _)) in grid.pairs.iter().zip(&scored.pairs) {
        let Some(depth) = depth else { continue };
        let name = inputs.models[pair.model].model.name.as_str();
        let benchmark = inputs.benchmarks[pair.benchmark].id.as_str();
        for fold in std::iter::once(&depth.whole).chain(&depth.folds) {
            for (k, mode) in fold.modes.iter().enumerate() {
                let steps = fold.steps(mode, n_layers(inputs, pair));
                rows.push((name, benchmark, fold.name.as_str(), k, mode, steps));
            }
        }
    }
    table!(rows;
        text model = |r| Some(r.0), text benchmark = |r| Some(r.1), text fold = |r| Some(r.2),
        integer segment = |r| r.4.window.map(|w| w as i64),
        integer mode = |r| Some(r.3 as i64),
        number re = |r| Some(r.4.re), number im = |r| Some(r.4.im),
        number modulus = |r| Some(r.4.re.hypot(r.4.im)),
        number depth_gain = |r| Some(r.4.re.hypot(r.4.im).powf(r.5)),
        number depth_rotation = |r| Some(r.4.im.atan2(r.4.re).abs() * r.5),
        number energy = |r| Some(r.4.energy), number residual = |r| r.4.residual,
        number versus_persistence = |r| r.4.versus_persistence,
        flag selected = |r| Some(r.4.selected),
    )
}

pub(super) fn weights_table(inputs: &Inputs, grid: &Grid, scored: &Scored) -> Table {
    let mut rows = Vec::new();
    for (pair, (depth, _)) in grid.pairs.iter().zip(&scored.pairs) {
        let Some(depth) = depth else { continue };
        let model = &inputs.models[pair.model];
        let layers = model.activations[pair.activation].layers.layers();
        let benchmark = inputs.benchmarks[pair.benchmark].id.as_str();
        let last = (layers.len() - 1) as f64;
        for fold in std::iter::once(&depth.whole).chain(&depth.folds) {
            // Without weights, as under the pooled trajectory, the layers still have their places.
            for (l, layer) in layers.iter().enumerate() {
                let (at, weight) = (l as f64 / last, fold.weights.get(l).copied());
                let layer = layer.name.as_str();
                rows.push((model.model.name.as_str(), benchmark, fold.name.as_str(), layer, at, weight));
            }
        }
    }
    table!(rows;
        text model = |r| Some(r.0), text benchmark = |r| Some(r.1), text fold = |r| Some(r.2),
        text layer = |r| Some(r.3), number position = |r| Some(r.4), number weight = |r| r.5,
    )
}
