//! Collect what a reader must know before believing a number.
//!
//! Warnings come from the manifest: a text, or an object with `message` and, where known, `severity`
//! (serious, caution, note), `code`, `model` and `hint`. Three are read off the tables themselves, in
//! case the run did not say them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cells::{listed, p_text};
use crate::input::ReportInput;

/// How much a warning weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// A conclusion cannot be drawn.
    Serious,
    /// A number must be read with care.
    Caution,
    /// Good to know.
    Note,
}

/// One warning.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Warning {
    pub severity: Severity,
    pub mark: &'static str,
    pub label: &'static str,
    pub code: String,
    pub message: String,
    /// The message in parts; those between backticks are names (true).
    pub parts: Vec<(String, bool)>,
    pub hint: String,
}

fn warning(severity: Severity, code: &str, message: String, hint: &str) -> Warning {
    let (mark, label) = match severity {
        Severity::Serious => ("✕", "Serious"),
        Severity::Caution => ("▲", "Caution"),
        Severity::Note => ("●", "Note"),
    };
    let parts = parts(&message);
    Warning { severity, mark, label, code: code.into(), message, parts, hint: hint.into() }
}

/// Split a message at its backticks; one whose backticks do not come in pairs stays whole.
fn parts(message: &str) -> Vec<(String, bool)> {
    if !message.matches('`').count().is_multiple_of(2) {
        return vec![(message.to_owned(), false)];
    }
    let pieces = message.split('`').enumerate().map(|(i, piece)| (piece.to_owned(), i % 2 == 1));
    pieces.filter(|(piece, _)| !piece.is_empty()).collect()
}

/// Every warning, serious ones first.
pub(crate) fn collect(input: &ReportInput) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = match input.manifest.get("warnings") {
        Some(Value::Array(list)) => list.iter().filter_map(from_manifest).collect(),
        Some(Value::Object(map)) => map
            .iter()
            .filter_map(|(code, value)| from_manifest(value).map(|w| Warning { code: code.clone(), ..w }))
            .collect(),
        Some(value) => from_manifest(value).into_iter().collect(),
        None => Vec::new(),
    };
    let known = |words: &[&str], warnings: &[Warning]| {
        warnings.iter().any(|w| {
            words.iter().any(|word| w.code.contains(word) || w.message.to_lowercase().contains(word))
        })
    };
    if !known(&["confound"], &warnings) {
        warnings.extend(confound(input));
    }
    if !known(&["permdisp", "dispersion"], &warnings) {
        warnings.extend(dispersion(input));
    }
    let others = ["encoding_models", "similarity_best"];
    let about_modes =
        input.tables.contains_key("scores") || !others.iter().any(|name| input.tables.contains_key(*name));
    let without_controls = input.rows("controls").next().is_none() && about_modes;
    if !known(&["no control", "controls_missing"], &warnings) && without_controls {
        warnings.push(warning(
            Severity::Serious,
            "controls_missing",
            "No control was run: nothing here shows that the stable mode matters.".into(),
            "run the controls of the robust preset",
        ));
    }
    warnings.sort_by_key(|w| w.severity);
    warnings
}

fn from_manifest(value: &Value) -> Option<Warning> {
    if let Value::String(message) = value {
        return Some(warning(Severity::Caution, "", message.clone(), ""));
    }
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let message = ["message", "text", "what"].iter().map(|k| text(k)).find(|t| !t.is_empty())?;
    let severity = match text("severity").to_lowercase().as_str() {
        "serious" | "error" | "severe" | "high" => Severity::Serious,
        "note" | "info" | "low" => Severity::Note,
        _ => Severity::Caution,
    };
    let message = match text("model") {
        "" => message.to_owned(),
        model => format!("{model}: {message}"),
    };
    Some(warning(severity, text("code"), message, text("hint")))
}

/// Each modality has one benchmark of its own: the groups differ by data set as much as by modality.
fn confound(input: &ReportInput) -> Option<Warning> {
    let mut of_modality: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut of_benchmark: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in input.rows("models") {
        let (Some(modality), Some(benchmark)) = (row.text("modality"), row.text("benchmark")) else {
            continue;
        };
        of_modality.entry(modality).or_default().insert(benchmark);
        of_benchmark.entry(benchmark).or_default().insert(modality);
    }
    let aliased = of_modality.len() > 1
        && of_modality.values().all(|b| b.len() == 1)
        && of_benchmark.values().all(|m| m.len() == 1);
    aliased.then(|| {
        let pairs: Vec<String> = of_modality
            .iter()
            .map(|(m, b)| format!("{m} only on {}", b.iter().next().copied().unwrap_or_default()))
            .collect();
        warning(
            Severity::Serious,
            "benchmark_is_modality",
            format!(
                "Benchmark and modality are the same label here ({}). Clusters by modality may be clusters by data set, and nothing in this study can tell them apart.",
                listed(&pairs)
            ),
            "evaluate every model on every benchmark it can take, and use ceiling-normalised scores",
        )
    })
}

/// Groups that differ in spread make PERMANOVA hard to read.
fn dispersion(input: &ReportInput) -> Option<Warning> {
    let row = input.rows("tests").find(|r| {
        r.text("test").is_some_and(|t| t.to_lowercase().starts_with("permdisp"))
            && r.number("p").is_some_and(|p| p <= 0.05)
    })?;
    Some(warning(
        Severity::Caution,
        "dispersion",
        format!(
            "The groups differ in spread (PERMDISP, p = {}), so PERMANOVA may be about spread and not about place.",
            p_text(row.number("p")?)
        ),
        "read the heteroscedastic variant (F2) instead",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use stereotax_io::Table;

    fn input(benchmarks: [&str; 3], warnings: Value) -> ReportInput {
        let models = Table::new()
            .text("model", ["a", "b", "c"].map(Some))
            .text("modality", ["audio", "vision", "language"].map(Some))
            .text("benchmark", benchmarks.map(Some));
        let controls = Table::new().text("model", [Some("a")]);
        ReportInput {
            tables: BTreeMap::from([("models".into(), models), ("controls".into(), controls)]),
            manifest: json!({ "warnings": warnings }),
        }
    }

    #[test]
    fn names_between_backticks_are_told_apart() {
        let part = |text: &str, name| (text.to_owned(), name);
        assert_eq!(parts("`a` beats `b c`"), [part("a", true), part(" beats ", false), part("b c", true)]);
        assert_eq!(parts("a ` b"), [part("a ` b", false)]);
    }

    #[test]
    fn benchmark_equal_to_modality_is_serious() {
        let found = collect(&input(["x", "y", "z"], json!([])));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity, Severity::Serious);
        assert!(found[0].message.contains("audio only on x"), "{}", found[0].message);
        assert!(collect(&input(["x", "x", "x"], json!([]))).is_empty());
    }

    #[test]
    fn what_the_run_said_is_not_said_twice_and_serious_comes_first() {
        let said = json!(["short depth", { "severity": "serious", "code": "confound", "message": "same label" },
                          { "severity": "note", "message": "alpha at edge", "model": "b" }]);
        let found = collect(&input(["x", "y", "z"], said));
        let messages: Vec<&str> = found.iter().map(|w| w.message.as_str()).collect();
        assert_eq!(messages, ["same label", "short depth", "b: alpha at edge"]);
    }
}
