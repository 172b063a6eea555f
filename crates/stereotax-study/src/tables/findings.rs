//! Say in words what a reader must know of fits, scores and group statistics.

use stereotax::dynamics::{StableVerdict, Unstable, UnstableReason};
use stereotax::pipelines::Representation;
use stereotax::pipelines::depth::DepthResult;
use stereotax::pipelines::group::{Severity, Warning};

use super::Scored;
use crate::Finding;
use crate::inputs::Inputs;
use crate::plan::Grid;

/// Scores over ceilings where there are none.
pub fn no_ceiling() -> Finding {
    Finding::caution(
        "no_ceiling",
        "scores are divided by noise ceilings, but a benchmark has none; its scores are undefined",
    )
}

/// A warning of the group statistics as a finding.
pub fn as_finding(warning: &Warning) -> Finding {
    let severity = match warning.severity {
        Severity::Note => "note",
        Severity::Warning => "caution",
        Severity::Serious => "serious",
    };
    Finding::new(severity, &warning.code, warning.text.clone())
}

/// One note for all models whose penalties often lie on an edge of the grid.
pub(super) fn edge_note(inputs: &Inputs, grid: &Grid, scored: &Scored, findings: &mut Vec<Finding>) {
    let shares = grid.pairs.iter().zip(&scored.pairs).filter_map(|(pair, (_, cells))| {
        let stable = cells.get(&Representation::StableMode)?;
        Some((inputs.models[pair.model].model.name.as_str(), stable.share_at_edge))
    });
    findings.extend(edge_finding(&shares.collect::<Vec<_>>()));
}

/// A note on models whose share of penalties on an edge of the grid is above 5 %.
pub fn edge_finding(shares: &[(&str, f64)]) -> Option<Finding> {
    let many = shares.iter().filter(|(_, share)| *share > 0.05);
    let told: Vec<String> = many.map(|(name, share)| format!("`{name}` {:.0} %", 100.0 * share)).collect();
    (!told.is_empty()).then(|| {
        Finding::note(
            "alpha_at_edge",
            format!(
                "the best penalty of the stable mode lies on an edge of the grid in more than 5 % of ROIs and folds: {}; ROIs that cannot be predicted want the largest penalty there is",
                told.join(", ")
            ),
        )
    })
}

/// `stable`, `no_stable_mode` or `too_shallow`, and why.
pub fn verdict_words(depth: Option<&DepthResult>) -> (&'static str, String) {
    let Some(depth) = depth else {
        return ("too_shallow", "fewer than 4 layers have no depth dynamics".into());
    };
    match &depth.verdict {
        StableVerdict::Stable => ("stable", "passes every gate".to_owned() + &of_samples(depth)),
        StableVerdict::NoStableMode(failed) => {
            let words: Vec<String> = failed.iter().map(failed_gate).collect();
            ("no_stable_mode", words.join("; ") + &of_samples(depth))
        }
    }
}

/// Of a per-sample trajectory the gates judge medians, and readers must know how many samples agree.
fn of_samples(depth: &DepthResult) -> String {
    depth.whole.spread.map_or(String::new(), |spread| {
        format!(
            " (medians over samples, of which {:.0} % pass every gate by themselves)",
            100.0 * spread.share_qualifying
        )
    })
}

fn failed_gate(gate: &Unstable) -> String {
    match gate.reason {
        // Both changes of size and turns are distances from one; their thresholds tell them apart.
        UnstableReason::FarFromOne if (gate.threshold - std::f64::consts::LN_2).abs() < 1e-9 => format!(
            "it grows or decays by a factor of {:.2} over the depth (at most {:.2})",
            gate.found.exp(),
            gate.threshold.exp()
        ),
        UnstableReason::FarFromOne => format!(
            "it moves by {:.2} over the depth, {:.0}° if it turns (at most {:.2}, or {:.0}°)",
            gate.found,
            gate.found.to_degrees(),
            gate.threshold,
            gate.threshold.to_degrees()
        ),
        UnstableReason::Residual => format!(
            "one step misses it by {:.0} % of its size (at most {:.0} %)",
            100.0 * gate.found,
            100.0 * gate.threshold
        ),
        UnstableReason::Energy => format!(
            "it holds {:.1} % of the trajectory (at least {:.1} %)",
            100.0 * gate.found,
            100.0 * gate.threshold
        ),
        UnstableReason::FoldInstability => format!(
            "representations of two folds correlate by only {:.2} (at least {:.2})",
            gate.found, gate.threshold
        ),
    }
}

/// What a reader must know of a model's depth fit.
pub fn depth_findings(
    model: &str,
    benchmark: &str,
    n_layers: usize,
    depth: Option<&DepthResult>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (verdict, reason) = verdict_words(depth);
    if verdict != "stable" {
        let text = format!("`{model}` has no stable mode on {benchmark}: {reason}");
        findings.push(Finding::caution(verdict, text));
    }
    if let Some(depth) = depth {
        let unexplained = depth.whole.warnings.iter().filter(|w| !w.contains("only"));
        findings.extend(unexplained.map(|w| Finding::note("depth_fit", format!("`{model}`: {w}"))));
        if n_layers < 8 {
            findings.push(Finding::caution(
                "short_depth",
                format!("`{model}` has only {n_layers} layers: its spectrum depends strongly on the rank"),
            ));
        }
    }
    findings
}
