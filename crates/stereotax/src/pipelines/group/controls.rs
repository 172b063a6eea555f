//! Put each claim beside what might score as well without it.
//!
//! The claim is the mean score of the stable mode over the unmasked ROIs where claim and control are both
//! defined. difference = claim − control; its interval are the percentiles of the paired bootstrap
//! differences (same draw, same stimuli), its p-value
//! min(1, 2·min((1 + #{d ≤ 0})/(1 + B), (1 + #{d ≥ 0})/(1 + B))).
//! Shuffled layer orders are one control together: value is their mean, p = (1 + #{shuffle ≥ claim})/(1 + n).
//! `adaptive` is a claim of its own against the best of the other representations; the best is chosen by
//! its observed score, which is in the control's favour.
//! Source: specs: nfas-dmd 13. Cost: O(draws·ROIs) per row.

use faer::Mat;
use rayon::prelude::*;

use super::table::Space;
use super::{ControlRow, GroupParams, PointStatus, RepresentationScores, status_of};
use crate::stats::summary::{mean, permutation_p, quantile};

const CLAIM: &str = "stable_mode";
const ADAPTIVE: &str = "adaptive";
const SHUFFLED: &str = "shuffled_";

/// What `adaptive` must beat.
const OTHERS: [&str; 5] = ["stable_mode", "layer_mean", "first_layer", "last_layer", "best_layer"];

/// Rows for every trained model of a space, by name, then by control.
pub(super) fn controls(space: &Space, params: &GroupParams) -> Vec<ControlRow> {
    let mut names: Vec<&str> = space.input.scores.iter().map(|s| s.representation.as_str()).collect();
    names.retain(|name| *name != CLAIM && !name.starts_with(SHUFFLED));
    names.sort_unstable();
    let any_twin = space.input.models.iter().any(|m| m.twin_of.is_some());
    let models: Vec<usize> = space.trained().collect();
    let by_model: Vec<Vec<ControlRow>> = models
        .into_par_iter()
        .map(|model| {
            let claim = Side::claim(space, CLAIM, model);
            let mut rows: Vec<ControlRow> = names
                .iter()
                .map(|name| compare(space, params, model, CLAIM, name, &claim, &Side::of(space, name, model)))
                .collect();
            if any_twin {
                let control = twin(space, model);
                rows.push(compare(space, params, model, CLAIM, "untrained_twin", &claim, &control));
            }
            rows.extend(shuffled(space, params, model, &claim));
            rows.extend(adaptive(space, params, model));
            rows
        })
        .collect();
    by_model.into_iter().flatten().collect()
}

/// The scores on one side of a comparison.
struct Side<'a> {
    /// Sets of scores that are averaged: one, or one per untrained twin.
    parts: Vec<(&'a RepresentationScores, usize)>,
    /// Why there is none.
    missing: Option<String>,
    /// What must be known of it.
    note: Option<String>,
}

impl<'a> Side<'a> {
    fn of(space: &Space<'a>, name: &str, model: usize) -> Self {
        match space.representation(name) {
            Some(scores) => Side { parts: vec![(scores, model)], missing: None, note: None },
            None => Side { parts: Vec::new(), missing: Some(format!("{name} was not scored")), note: None },
        }
    }

    /// The stable mode takes part only where the model has one.
    fn claim(space: &Space<'a>, name: &str, model: usize) -> Self {
        let mut side = Side::of(space, name, model);
        if let (CLAIM, PointStatus::NoPoint(reason)) = (name, &space.model(model).verdict) {
            side.missing = Some(reason.clone());
        }
        side
    }

    /// Score in one ROI.
    fn score(&self, roi: usize) -> f64 {
        mean(&self.parts.iter().map(|(scores, i)| scores.score[(*i, roi)]).collect::<Vec<_>>())
    }

    fn is_defined(&self, roi: usize) -> bool {
        self.missing.is_none() && !self.score(roi).is_nan()
    }

    fn draws(&self) -> Option<Vec<&'a Mat<f32>>> {
        let draws: Vec<&Mat<f32>> =
            self.parts.iter().map(|(scores, i)| scores.draws[*i].as_deref()).collect::<Option<_>>()?;
        let first = draws.first()?.nrows();
        draws.iter().all(|d| d.nrows() == first).then_some(draws)
    }
}

/// The untrained twins of a model: their stable modes, or their layer means where they have none.
fn twin<'a>(space: &Space<'a>, model: usize) -> Side<'a> {
    let name = &space.model(model).name;
    let twins: Vec<usize> =
        space.models.iter().copied().filter(|&i| space.model(i).twin_of.as_ref() == Some(name)).collect();
    let mut side = Side { parts: Vec::new(), missing: None, note: None };
    if twins.is_empty() {
        side.missing = Some("no untrained twin".into());
    }
    for i in twins {
        let placed = space.model(i).verdict == PointStatus::Placed;
        let kind = if placed { CLAIM } else { "layer_mean" };
        match space.representation(kind) {
            Some(scores) => side.parts.push((scores, i)),
            None => side.missing = Some(format!("{kind} of the untrained twin was not scored")),
        }
        if !placed {
            side.note = Some("the untrained twin has no stable mode: its layer mean stands in".into());
        }
    }
    side
}

fn blank(space: &Space, model: usize, claim: &str, control: &str) -> ControlRow {
    let info = space.model(model);
    ControlRow {
        space: space.input.space.clone(),
        model: info.name.clone(),
        modality: info.modality.clone(),
        claim_representation: claim.to_owned(),
        control: control.to_owned(),
        claim: f64::NAN,
        value: f64::NAN,
        difference: f64::NAN,
        lower: f64::NAN,
        upper: f64::NAN,
        p: f64::NAN,
        n_rois: 0,
        status: String::new(),
    }
}

/// A claim beside one control.
fn compare(
    space: &Space,
    params: &GroupParams,
    model: usize,
    claim_name: &str,
    control_name: &str,
    claim: &Side,
    control: &Side,
) -> ControlRow {
    let mut row = blank(space, model, claim_name, control_name);
    let has = |side: &Side, roi: usize| side.missing.is_some() || side.is_defined(roi);
    // A missing side does not keep the other from being reported.
    let rois: Vec<usize> =
        space.unmasked.iter().copied().filter(|&j| has(claim, j) && has(control, j)).collect();
    let mut notes: Vec<String> = [&claim.missing, &control.missing].into_iter().flatten().cloned().collect();
    let average = |side: &Side| match &side.missing {
        Some(_) => f64::NAN,
        None => mean(&rois.iter().map(|&j| side.score(j)).collect::<Vec<_>>()),
    };
    row.claim = average(claim);
    row.value = average(control);
    row.difference = row.claim - row.value;
    row.n_rois = if row.claim.is_nan() && row.value.is_nan() { 0 } else { rois.len() };
    if rois.is_empty() && notes.is_empty() {
        notes.push("no unmasked ROI has a score on both sides".into());
    }
    if !row.difference.is_nan() {
        match paired_differences(claim, control, &rois) {
            Ok(differences) => fill_interval(&mut row, &differences, params),
            Err(reason) => notes.push(reason),
        }
    }
    notes.extend(control.note.clone());
    row.status = status_of(&notes);
    row
}

/// claim − control in each draw, over the ROIs where both have a value in it.
fn paired_differences(claim: &Side, control: &Side, rois: &[usize]) -> Result<Vec<f64>, String> {
    let (Some(of_claim), Some(of_control)) = (claim.draws(), control.draws()) else {
        return Err("no interval: bootstrap draws are missing on one side".into());
    };
    let (n, n_control) = (of_claim[0].nrows(), of_control[0].nrows());
    if n != n_control {
        return Err(format!("no interval: {n} bootstrap draws on one side and {n_control} on the other"));
    }
    let (mut sums, mut counts) = (vec![0.0; n], vec![0.0f64; n]);
    // Columns of draws are contiguous, so ROIs come first.
    for &j in rois {
        for b in 0..n {
            let average = |draws: &[&Mat<f32>]| {
                draws.iter().map(|d| f64::from(d[(b, j)])).sum::<f64>() / draws.len() as f64
            };
            let difference = average(&of_claim) - average(&of_control);
            if !difference.is_nan() {
                sums[b] += difference;
                counts[b] += 1.0;
            }
        }
    }
    let differences: Vec<f64> = (0..n).filter(|&b| counts[b] > 0.0).map(|b| sums[b] / counts[b]).collect();
    if differences.len() < 2 {
        Err("no interval: no bootstrap draw has a value on both sides".into())
    } else {
        Ok(differences)
    }
}

fn fill_interval(row: &mut ControlRow, differences: &[f64], params: &GroupParams) {
    let tail = 0.5 * (1.0 - params.level);
    row.lower = quantile(differences, tail);
    row.upper = quantile(differences, 1.0 - tail);
    let share = |reaches: &dyn Fn(f64) -> bool| {
        permutation_p(differences.iter().filter(|&&d| reaches(d)).count(), differences.len())
    };
    row.p = (2.0 * share(&|d| d <= 0.0).min(share(&|d| d >= 0.0))).min(1.0);
}

/// The claim beside all shuffles of the layer order.
fn shuffled(space: &Space, params: &GroupParams, model: usize, claim: &Side) -> Option<ControlRow> {
    let mut shuffles: Vec<&RepresentationScores> =
        space.input.scores.iter().filter(|s| s.representation.starts_with(SHUFFLED)).collect();
    if shuffles.is_empty() && params.expected_n_shuffles == 0 {
        return None;
    }
    shuffles.sort_by(|a, b| a.representation.cmp(&b.representation));
    let mut row = blank(space, model, CLAIM, "shuffled_order");
    let defined_claim = |j: usize| claim.missing.is_some() || claim.is_defined(j);
    // A shuffle without a stable mode has no score anywhere; it must not empty the set of ROIs.
    let with_scores: Vec<&RepresentationScores> = shuffles
        .iter()
        .copied()
        .filter(|s| space.unmasked.iter().any(|&j| defined_claim(j) && !s.score[(model, j)].is_nan()))
        .collect();
    let rois: Vec<usize> = space
        .unmasked
        .iter()
        .copied()
        .filter(|&j| defined_claim(j) && with_scores.iter().all(|s| !s.score[(model, j)].is_nan()))
        .collect();
    let values: Vec<f64> = with_scores
        .iter()
        .map(|s| mean(&rois.iter().map(|&j| s.score[(model, j)]).collect::<Vec<_>>()))
        .filter(|v| !v.is_nan())
        .collect();
    let mut notes: Vec<String> = claim.missing.iter().cloned().collect();
    if claim.missing.is_none() {
        row.claim = mean(&rois.iter().map(|&j| claim.score(j)).collect::<Vec<_>>());
    }
    row.value = mean(&values);
    row.difference = row.claim - row.value;
    row.n_rois = if values.is_empty() { 0 } else { rois.len() };
    let n_expected = params.expected_n_shuffles.max(shuffles.len());
    if values.is_empty() {
        notes.push("no shuffle of the layer order has a score".into());
    } else if values.len() < n_expected {
        notes.push(format!("{} of {n_expected} shuffles have a score", values.len()));
    }
    if !row.difference.is_nan() {
        // Equal scores count as equal whatever the rounding of their means.
        let reach = |v: f64| v >= row.claim - 1e-12 * row.claim.abs();
        row.p = permutation_p(values.iter().filter(|&&v| reach(v)).count(), values.len());
        let control =
            Side { parts: with_scores.iter().map(|s| (*s, model)).collect(), missing: None, note: None };
        match paired_differences(claim, &control, &rois) {
            Ok(differences) => {
                let p = row.p;
                fill_interval(&mut row, &differences, params);
                row.p = p;
            }
            Err(reason) => notes.push(reason),
        }
    }
    row.status = status_of(&notes);
    Some(row)
}

/// `adaptive` beside the best of the other representations.
fn adaptive(space: &Space, params: &GroupParams, model: usize) -> Option<ControlRow> {
    space.representation(ADAPTIVE)?;
    let claim = Side::claim(space, ADAPTIVE, model);
    let mut best: Option<ControlRow> = None;
    for name in OTHERS {
        if space.representation(name).is_none() {
            continue;
        }
        let control = Side::claim(space, name, model);
        if control.missing.is_some() {
            continue;
        }
        let label = format!("best_other:{name}");
        let row = compare(space, params, model, ADAPTIVE, &label, &claim, &control);
        let better = best.as_ref().is_none_or(|b| b.value.is_nan() || row.value > b.value);
        if better {
            best = Some(row);
        }
    }
    best
}
