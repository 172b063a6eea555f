//! Measure how consistently the models of each modality score, and where all modalities do.
//!
//! One row per modality × ROI × kind, one for the median over unmasked ROIs, one per network (its mean
//! score). Intervals resample families. The convergence map is the least index over modalities.
//! Source: specs: nfas-dmd 10. Cost: O(kinds·draws·models·ROIs).

use faer::Mat;

use super::table::Table;
use super::{Consistency, ConvergenceRow, GroupParams, InfluenceRow, SnciRow, settle, status_of};
use crate::data::{Labels, Monitor, Result};
use crate::stats::convergence::{ModalityScores, convergence};
use crate::stats::snci::{Estimate, Snci, SnciKind, SnciParams, network_means, profile_consistency, snci};
use crate::stats::summary::median;

const MASKED: &str = "masked: the ceiling is below the threshold";

/// Consistency of every modality and their convergence.
pub(super) struct Found {
    pub snci: Vec<SnciRow>,
    pub influence: Vec<InfluenceRow>,
    pub convergence: Vec<ConvergenceRow>,
}

/// The models of one modality.
struct Modality<'a> {
    name: &'a str,
    /// Names of its models.
    models: Vec<&'a str>,
    /// Models × all ROIs of the space, by name.
    scores: Mat<f64>,
    families: Labels,
}

pub(super) fn consistency(table: &Table, params: &GroupParams, monitor: &Monitor) -> Result<Found> {
    let modalities: Vec<Modality> =
        table.space.modalities().into_iter().map(|name| modality(table, name)).collect();
    let (mut rows, mut influence) = (Vec::new(), Vec::new());
    for modality in &modalities {
        for &kind in &params.snci {
            monitor.check()?;
            match kind {
                Consistency::Index(index) => {
                    index_rows(&mut rows, &mut influence, table, modality, index, params)?;
                }
                _ => rows.push(profile_row(table, modality, kind, params)?),
            }
        }
    }
    Ok(Found { snci: rows, influence, convergence: convergence_rows(table, &modalities, params)? })
}

fn modality<'a>(table: &Table<'a>, name: &'a str) -> Modality<'a> {
    let space = table.space;
    let members: Vec<usize> =
        table.models.iter().copied().filter(|&i| space.model(i).modality == name).collect();
    let families: Vec<&str> = members.iter().map(|&i| space.model(i).family.as_str()).collect();
    Modality {
        name,
        models: members.iter().map(|&i| space.model(i).name.as_str()).collect(),
        scores: Mat::from_fn(members.len(), space.rois.len(), |i, j| {
            table.scores.score[(members[i], space.rois[j])]
        }),
        families: Labels::new(&families),
    }
}

fn snci_params(table: &Table, kind: SnciKind, params: &GroupParams) -> SnciParams {
    let space = table.space;
    SnciParams {
        kind,
        sign_policy: params.sign_policy,
        interval: params.interval,
        n_bootstraps: params.n_bootstraps,
        level: params.level,
        included: Some(space.rois.iter().map(|&j| !space.input.masked[j]).collect()),
        seed: params.seed,
    }
}

/// Rows of one index: ROIs, their median, networks.
fn index_rows(
    rows: &mut Vec<SnciRow>,
    influence: &mut Vec<InfluenceRow>,
    table: &Table,
    modality: &Modality,
    kind: SnciKind,
    params: &GroupParams,
) -> Result<()> {
    let space = table.space;
    let new = |roi: &str| blank(table, modality, roi, Consistency::Index(kind).name());
    let n_models = modality.scores.nrows();
    let networks = networks(table);
    if n_models == 0 {
        let reason = format!("no model of {} takes part", modality.name);
        let of_rois = space.rois.iter().map(|&j| space.input.rois[j].clone());
        let of_networks = networks.iter().flat_map(|n| n.labels.names()).map(|name| network_name(name));
        rows.extend(
            of_rois
                .chain([MEDIAN.to_owned()])
                .chain(of_networks)
                .map(|roi| SnciRow { status: reason.clone(), ..new(&roi) }),
        );
        return Ok(());
    }
    let found = snci(modality.scores.as_ref(), &modality.families, &snci_params(table, kind, params));
    let found = settle(found)?;
    if let Ok(found) = &found {
        influence_rows(influence, table, modality, found);
    }
    for (k, &j) in space.rois.iter().enumerate() {
        let mut row = new(&space.input.rois[j]);
        if space.input.masked[j] {
            row.status = MASKED.into();
        } else {
            fill(&mut row, &found, |f| (f.rois[k], f.n_models[k], f.reasons[k].clone()));
            level(&mut row, &found, k);
        }
        rows.push(row);
    }
    let mut row = new(MEDIAN);
    fill(&mut row, &found, |f| {
        let few =
            (n_models < 3).then(|| format!("{n_models} model(s) of {}; the index needs 3", modality.name));
        (f.median, n_models, few.or_else(|| f.median.value.is_nan().then(|| "no ROI has an index".into())))
    });
    rows.push(row);
    if let Some(networks) = networks {
        let kept = Mat::from_fn(n_models, networks.rois.len(), |i, k| modality.scores[(i, networks.rois[k])]);
        let means = network_means(kept.as_ref(), &networks.labels, None)?;
        let params = SnciParams { included: None, ..snci_params(table, kind, params) };
        let found = settle(snci(means.as_ref(), &modality.families, &params))?;
        for (k, name) in networks.labels.names().iter().enumerate() {
            let mut row = new(&network_name(name));
            fill(&mut row, &found, |f| (f.rois[k], f.n_models[k], f.reasons[k].clone()));
            level(&mut row, &found, k);
            rows.push(row);
        }
    }
    Ok(())
}

const MEDIAN: &str = "(median)";

/// The jackknife over models: what the index loses without each of them.
fn influence_rows(rows: &mut Vec<InfluenceRow>, table: &Table, modality: &Modality, found: &Snci) {
    let space = table.space;
    let kept: Vec<usize> = (0..space.rois.len()).filter(|&k| !space.input.masked[space.rois[k]]).collect();
    for (i, model) in modality.models.iter().enumerate() {
        let new = |roi: &str, influence: f64| InfluenceRow {
            space: space.input.space.clone(),
            representation: table.representation().to_owned(),
            modality: modality.name.to_owned(),
            model: (*model).to_owned(),
            roi: roi.to_owned(),
            kind: Consistency::Index(found.kind).name().to_owned(),
            influence,
            status: if influence.is_nan() {
                "undefined: the index needs 3 models with and without this one".into()
            } else {
                "ok".into()
            },
        };
        for &k in &kept {
            rows.push(new(&space.input.rois[space.rois[k]], found.influence[(i, k)]));
        }
        // Index without the model, ROI by ROI, is index minus influence.
        let without: Vec<f64> = kept.iter().map(|&k| found.rois[k].value - found.influence[(i, k)]).collect();
        rows.push(new(MEDIAN, found.median.value - median(&without)));
    }
}

fn network_name(name: &str) -> String {
    format!("(network) {name}")
}

/// Write an estimate, with the reason why it or its interval is undefined.
fn fill(
    row: &mut SnciRow,
    found: &std::result::Result<Snci, String>,
    pick: impl Fn(&Snci) -> (Estimate, usize, Option<String>),
) {
    let found = match found {
        Ok(found) => found,
        Err(reason) => {
            row.status = reason.clone();
            return;
        }
    };
    let (estimate, n_models, reason) = pick(found);
    row.value = estimate.value;
    row.lower = estimate.lower;
    row.upper = estimate.upper;
    row.n_models = n_models;
    let no_interval = || {
        estimate.lower.is_nan().then(|| {
            found
                .interval_reason
                .clone()
                .map_or("no bootstrap draw has a value".to_owned(), |reason| format!("no interval: {reason}"))
        })
    };
    row.status = status_of(reason.or_else(no_interval).as_slice());
}

/// Mean and spread of the scores that the index compares.
fn level(row: &mut SnciRow, found: &std::result::Result<Snci, String>, roi: usize) {
    if let Ok(found) = found {
        row.mean = found.mean[roi];
        row.sd = found.sd[roi];
    }
}

fn blank(table: &Table, modality: &Modality, roi: &str, kind: &str) -> SnciRow {
    SnciRow {
        space: table.space.input.space.clone(),
        representation: table.representation().to_owned(),
        modality: modality.name.to_owned(),
        roi: roi.to_owned(),
        kind: kind.to_owned(),
        value: f64::NAN,
        lower: f64::NAN,
        upper: f64::NAN,
        mean: f64::NAN,
        sd: f64::NAN,
        n_models: modality.scores.nrows(),
        n_families: modality.families.n_groups(),
        status: String::new(),
    }
}

/// The unmasked ROIs that belong to a network.
pub(super) struct Networks {
    /// Positions among the ROIs of the space by name.
    pub rois: Vec<usize>,
    /// Their networks.
    pub labels: Labels,
}

/// The networks of a space; `None` where no unmasked ROI has one.
pub(super) fn networks(table: &Table) -> Option<Networks> {
    let space = table.space;
    let (mut rois, mut names) = (Vec::new(), Vec::new());
    for (k, &j) in space.rois.iter().enumerate() {
        if let (false, Some(name)) = (space.input.masked[j], &space.input.networks[j]) {
            rois.push(k);
            names.push(name.as_str());
        }
    }
    (!rois.is_empty()).then(|| Networks { rois, labels: Labels::new(&names) })
}

/// The row of a kind that gives one number per modality.
fn profile_row(
    table: &Table,
    modality: &Modality,
    kind: Consistency,
    params: &GroupParams,
) -> Result<SnciRow> {
    let mut row = blank(table, modality, "(profile)", kind.name());
    let n_models = modality.scores.nrows();
    if n_models < 2 {
        row.status =
            format!("{n_models} model(s) of {} take part; profiles are compared in pairs", modality.name);
        return Ok(row);
    }
    let index = snci_params(table, SnciKind::Snr, params);
    let found = match settle(profile_consistency(modality.scores.as_ref(), &modality.families, &index))? {
        Ok(found) => found,
        Err(reason) => {
            row.status = reason;
            return Ok(row);
        }
    };
    let mut notes = Vec::new();
    if kind == Consistency::Profile {
        row.value = found.mean_correlation.value;
        row.lower = found.mean_correlation.lower;
        row.upper = found.mean_correlation.upper;
        if found.n_undefined_pairs > 0 {
            notes.push(format!("{} pairs of profiles have no correlation", found.n_undefined_pairs));
        }
        if row.value.is_finite() && row.lower.is_nan() {
            let n = modality.families.n_groups();
            notes.push(match params.n_bootstraps {
                0 => "no interval: no bootstrap was asked for".into(),
                _ => format!("no interval: {n} families cannot be resampled; 3 are needed"),
            });
        }
    } else {
        row.value = if kind == Consistency::ProfileIcc { found.icc31 } else { found.profile_snr };
        notes.push("no interval is computed for this kind".into());
    }
    if row.value.is_nan() && notes.is_empty() {
        notes.push("fewer than two ROIs have a score for every model".into());
    }
    row.status = status_of(&notes);
    Ok(row)
}

/// Where every modality is consistent.
fn convergence_rows(
    table: &Table,
    modalities: &[Modality],
    params: &GroupParams,
) -> Result<Vec<ConvergenceRow>> {
    let space = table.space;
    let index = params.snci.iter().find_map(|kind| match kind {
        Consistency::Index(index) => Some(*index),
        _ => None,
    });
    let index = index.unwrap_or(SnciKind::Snr);
    let few: Vec<String> = modalities
        .iter()
        .filter(|m| m.scores.nrows() < 3)
        .map(|m| format!("{} has {}", m.name, models(m.scores.nrows())))
        .collect();
    let found = if modalities.len() < 2 {
        Err("only one modality".to_owned())
    } else if !few.is_empty() {
        Err(format!("{}; the index needs 3 in every modality", few.join(", ")))
    } else {
        let scores: Vec<ModalityScores> = modalities
            .iter()
            .map(|m| ModalityScores {
                name: m.name.to_owned(),
                scores: m.scores.as_ref(),
                families: m.families.clone(),
            })
            .collect();
        let snci = snci_params(table, index, params);
        settle(convergence(&scores, params.convergence_scale, params.convergence_threshold, &snci))?
    };
    let rows = space.rois.iter().enumerate().map(|(k, &j)| {
        let mut row = ConvergenceRow {
            space: space.input.space.clone(),
            representation: table.representation().to_owned(),
            roi: space.input.rois[j].clone(),
            network: space.input.networks[j].clone(),
            convergence: f64::NAN,
            lower: f64::NAN,
            upper: f64::NAN,
            n_modalities: 0,
            all_above: None,
            threshold: params.convergence_threshold,
            status: String::new(),
        };
        row.status = match &found {
            _ if space.input.masked[j] => MASKED.into(),
            Err(reason) => reason.clone(),
            Ok(found) => {
                let estimate = found.rois[k];
                row.convergence = estimate.value;
                row.lower = estimate.lower;
                row.upper = estimate.upper;
                row.n_modalities = found.n_modalities[k];
                if estimate.value.is_nan() {
                    format!("{} of {} modalities have an index here", row.n_modalities, modalities.len())
                } else {
                    row.all_above = Some(estimate.value > params.convergence_threshold);
                    if estimate.lower.is_nan() {
                        "no interval: a modality has fewer than 3 families, or no bootstrap was asked for"
                            .into()
                    } else {
                        "ok".into()
                    }
                }
            }
        };
        row
    });
    Ok(rows.collect())
}

/// "no model", "one model", "5 models".
pub(super) fn models(n: usize) -> String {
    match n {
        0 => "no model".into(),
        1 => "one model".into(),
        n => format!("{n} models"),
    }
}
