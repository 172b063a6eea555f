//! Place the models of a space in a plane, with bootstrap regions.
//!
//! Positions are the first two principal coordinates (classical scaling) of the distances that the tests
//! use; for Euclidean distances these are the principal components. Each bootstrap draw of the scores is
//! placed the same way and turned onto the observed configuration before spreads are taken.
//! Tests run in the full space, never in the plane.
//! Source: Gower 1966; specs: nfas-dmd 10. Cost: O(draws·models²·(ROIs + models)).

use faer::Mat;
use rayon::prelude::*;

use super::table::Table;
use super::{CoordinateKind, CoordinateRow, GroupParams, settle, status_of};
use crate::data::{Error, Monitor, Result};
use crate::stats::distance::object_distances;
use crate::stats::ordination::{Ordination, Region, bootstrap_regions, classical_mds};

/// Draws placed per task.
const CHUNK: usize = 32;

/// Draws placed at most, the first ones: they give a standard deviation to 1/√998, that is 3 %.
const REGION_DRAWS: usize = 500;

/// One row per model of the space, by name.
pub(super) fn coordinates(
    table: &Table,
    params: &GroupParams,
    monitor: &Monitor,
) -> Result<Vec<CoordinateRow>> {
    let placed = settle(place(table, params, monitor))?.and_then(|placed| placed);
    let rows = table.space.models.iter().map(|&i| {
        let info = table.space.model(i);
        let mut row = CoordinateRow {
            space: table.space.input.space.clone(),
            representation: table.representation().to_owned(),
            embedding: params.embedding.name().to_owned(),
            model: info.name.clone(),
            modality: info.modality.clone(),
            family: info.family.clone(),
            x: f64::NAN,
            y: f64::NAN,
            sd_x: f64::NAN,
            sd_y: f64::NAN,
            cov_xy: f64::NAN,
            explained_x: f64::NAN,
            explained_y: f64::NAN,
            status: String::new(),
        };
        row.status = match (&placed, table.absent.get(&i)) {
            (_, Some(reason)) => reason.clone(),
            (Err(reason), None) => reason.clone(),
            (Ok(placed), None) => fill(&mut row, placed, i),
        };
        row
    });
    Ok(rows.collect())
}

/// Write a model's place into its row; the status says what is missing.
fn fill(row: &mut CoordinateRow, placed: &Placed, model: usize) -> String {
    let Some(at) = placed.models.iter().position(|&i| i == model) else {
        return match row.embedding.as_str() {
            "response" => "it has no predicted responses that vary: this distance is undefined for it".into(),
            _ => "its scores do not vary over ROIs: this distance is undefined for it".into(),
        };
    };
    let mut notes = placed.notes.clone();
    row.x = placed.ordination.positions[(at, 0)];
    row.y = placed.ordination.positions[(at, 1)];
    row.explained_x = placed.ordination.explained[0];
    row.explained_y = placed.ordination.explained[1];
    match (&placed.regions, placed.drawn[at]) {
        (Ok(regions), true) => {
            row.sd_x = regions[at].sd_x;
            row.sd_y = regions[at].sd_y;
            row.cov_xy = regions[at].cov_xy;
        }
        (Ok(_), false) => notes.push("no bootstrap draws of this model: no region".into()),
        (Err(reason), _) => notes.push(reason.clone()),
    }
    status_of(&notes)
}

/// The models in the plane.
struct Placed {
    models: Vec<usize>,
    /// Whether a model has bootstrap draws.
    drawn: Vec<bool>,
    ordination: Ordination,
    regions: std::result::Result<Vec<Region>, String>,
    notes: Vec<String>,
}

fn place(
    table: &Table,
    params: &GroupParams,
    monitor: &Monitor,
) -> Result<std::result::Result<Placed, String>> {
    if table.models.len() < 2 {
        return Ok(Err("a single model has no place relative to others".into()));
    }
    let found = match table.distances(&table.models, params.embedding, params.distance, params)? {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    let models: Vec<usize> = found.objects.iter().map(|&k| table.models[k]).collect();
    if models.len() < 2 {
        return Ok(Err("fewer than two models have scores that vary over ROIs".into()));
    }
    let ordination = classical_mds(&found.distances, 2)?;
    let notes = match ordination.rank {
        0 => return Ok(Err("all models have the same coordinates".into())),
        1 => vec!["the models differ along one axis only".to_owned()],
        _ => Vec::new(),
    };
    let regions = regions(table, &models, &ordination, params, monitor)?;
    let drawn = models.iter().map(|&i| table.scores.draws[i].is_some()).collect();
    Ok(Ok(Placed { models, drawn, ordination, regions, notes }))
}

/// Regions over the draws that all models with draws have.
fn regions(
    table: &Table,
    models: &[usize],
    ordination: &Ordination,
    params: &GroupParams,
    monitor: &Monitor,
) -> Result<std::result::Result<Vec<Region>, String>> {
    if params.embedding == CoordinateKind::Response {
        return Ok(Err("no region: bootstrap draws are of scores, not of predicted responses".into()));
    }
    if table.concatenated(params) {
        return Ok(Err("no region: draws of different benchmarks are not joined".into()));
    }
    let n_draws = models.iter().filter_map(|&i| Some(table.scores.draws[i].as_ref()?.nrows())).min();
    let Some(n_draws) = n_draws.map(|n| n.min(REGION_DRAWS)).filter(|&n| n >= 2) else {
        return Ok(Err("no bootstrap draws: no region".into()));
    };
    let observed = table.observed(models);
    let chunks: Vec<Result<Vec<Mat<f64>>>> = (0..n_draws.div_ceil(CHUNK))
        .into_par_iter()
        .map(|chunk| {
            monitor.check()?;
            let draws = chunk * CHUNK..n_draws.min((chunk + 1) * CHUNK);
            Ok(draws.filter_map(|draw| configuration(table, models, &observed, draw, params)).collect())
        })
        .collect();
    let mut configurations = Vec::with_capacity(n_draws);
    for chunk in chunks {
        configurations.extend(chunk?);
    }
    if configurations.len() < 2 {
        return Ok(Err("no bootstrap draw gives every model a place: no region".into()));
    }
    Ok(bootstrap_regions(ordination.positions.as_ref(), &configurations).map_err(|error| match error {
        Error::Cancelled => "stopped".to_owned(),
        other => other.to_string(),
    }))
}

/// Where the models lie in one draw; `None` where a score or a distance is undefined in it.
///
/// A model without draws stays at its observed scores.
fn configuration(
    table: &Table,
    models: &[usize],
    observed: &Mat<f64>,
    draw: usize,
    params: &GroupParams,
) -> Option<Mat<f64>> {
    let scores = Mat::from_fn(models.len(), table.rois.len(), |i, j| match &table.scores.draws[models[i]] {
        Some(draws) => f64::from(draws[(draw, table.rois[j])]),
        None => observed[(i, j)],
    });
    let coordinates = table.embed(models, &scores, params.embedding, params.score).ok()?;
    let found = object_distances(coordinates.as_ref(), params.distance).ok()?;
    if !found.undefined_objects.is_empty() {
        return None;
    }
    Some(classical_mds(&found.distances, 2).ok()?.positions)
}
