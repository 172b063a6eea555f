//! Word the verdict: which models have a stable mode, and how the claim stands beside its controls.
//!
//! The claim is that the stable mode of a model aligns with the brain, and that it does so because it
//! is the stable mode. A model without a stable mode cannot support it, whatever its selected mode
//! scores; a model whose layer mean, last layer or shuffled layer order scores as high does not
//! support it either. Numbers come from `models` and `controls`; here they are only compared with
//! zero and counted (specs: nfas-dmd 13).

use std::collections::BTreeMap;

use crate::cells::{counted, eigenvalue, fixed, listed, p_text};
use crate::input::{ReportInput, Row};

/// p-values of shuffled layer orders at or below this count as "higher than".
const ALPHA: f64 = 0.05;

/// Whether a model has a stable mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stable {
    /// It passes every gate.
    Yes,
    /// It fails at least one.
    No,
    /// Too few layers to say.
    TooShallow,
    /// The table does not say.
    Unknown,
}

/// How the claim stands beside one control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The claim scores higher: the interval of the difference lies above zero.
    Above,
    /// The interval of the difference holds zero.
    Level,
    /// The claim scores lower.
    Below,
    /// Not known.
    Untested,
}

/// One control of one model.
#[derive(Debug, Clone)]
pub(crate) struct Compared {
    pub control: String,
    pub value: Option<f64>,
    pub outcome: Outcome,
}

/// The verdict on one model.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct ModelVerdict {
    pub model: String,
    pub modality: String,
    pub stable: Stable,
    pub holds: bool,
    /// A mark that needs no colour.
    pub mark: &'static str,
    pub class: &'static str,
    pub stable_words: &'static str,
    pub eigenvalue: String,
    pub claim: String,
    pub layer_mean: String,
    pub strongest: String,
    pub reading: String,
    #[serde(skip)]
    pub compared: Vec<Compared>,
}

/// The verdict on the study.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Verdict {
    pub title: String,
    pub class: &'static str,
    pub sentences: Vec<String>,
    pub models: Vec<ModelVerdict>,
    pub unit: String,
}

/// Whether a row of the controls speaks of the stable mode, and not of another representation's claim.
pub(crate) fn about_stable_mode(row: &Row<'_>) -> bool {
    row.text("claim_representation").is_none_or(|claim| claim == "stable_mode")
}

/// Word the verdict from `models` and `controls`.
pub(crate) fn judge(input: &ReportInput) -> Verdict {
    let mut controls: BTreeMap<&str, Vec<Row<'_>>> = BTreeMap::new();
    for row in input.rows("controls").filter(about_stable_mode) {
        if let Some(model) = row.text("model") {
            controls.entry(model).or_default().push(row);
        }
    }
    let unit = unit(input);
    let digits = digits(controls.values().flatten());
    let mut models: Vec<ModelVerdict> = input
        .rows("models")
        .filter_map(|row| row.text("model").map(|name| (row, name)))
        // An untrained twin is a control of its model, not a model of the claim.
        .filter(|(row, _)| row.text("twin_of").is_none())
        .map(|(row, name)| judge_model(row, controls.get(name).map_or(&[], Vec::as_slice), &unit, digits))
        .collect();
    let (title, class, sentences) = summarise(&models);
    // Models without a stable mode stand on top, where nobody overlooks them.
    models.sort_by_key(|m| match m.stable {
        Stable::No => 0,
        Stable::TooShallow | Stable::Unknown => 1,
        Stable::Yes => 2,
    });
    Verdict { title, class, sentences, models, unit }
}

/// Digits behind the point that tell scores apart: small scores need three.
fn digits<'a>(rows: impl Iterator<Item = &'a Row<'a>>) -> usize {
    let scores = rows.flat_map(|r| [r.number("claim"), r.number("value")]).flatten();
    let largest = scores.map(f64::abs).filter(|x| x.is_finite()).fold(0.0, f64::max);
    if largest < 0.2 { 3 } else { 2 }
}

/// What the scores are called: r², unless the table says otherwise.
pub(crate) fn unit(input: &ReportInput) -> String {
    match input.rows("scores").find_map(|r| r.text("score_kind")).unwrap_or("r2") {
        "r2" => "r²".into(),
        "signed" => "signed r²".into(),
        "clipped" => "r², negative r as 0".into(),
        "ceil" | "ceiling" => "r²/ceiling²".into(),
        "debiased" => "r² less chance".into(),
        other => other.to_owned(),
    }
}

/// How a control is called on the page.
pub(crate) fn control_name(control: &str) -> String {
    match control {
        "stable_mode" => "stable mode".into(),
        "adaptive" => "adaptive".into(),
        "layer_mean" => "layer mean".into(),
        "first_layer" => "first layer".into(),
        "last_layer" => "last layer".into(),
        "best_layer" => "best single layer".into(),
        "pod" => "first POD mode".into(),
        "shuffled_order" => "shuffled layer order".into(),
        "untrained_twin" | "untrained" => "untrained twin".into(),
        other => match other.strip_prefix("nuisance:") {
            Some(name) => format!("low-level feature {name}"),
            None => other.replace('_', " "),
        },
    }
}

/// Whether the verdict counts this control; alternatives such as `adaptive` are only shown.
fn counts(control: &str) -> bool {
    !matches!(control, "adaptive" | "pod" | "noise_ceiling" | "ceiling")
}

/// Compare the claim with one control.
pub(crate) fn outcome(row: Row<'_>) -> Outcome {
    if row.text("control") == Some("shuffled_order") {
        // p is the share of shuffles that score at least as high as the claim.
        return match (row.number("claim"), row.number("p")) {
            (Some(_), Some(p)) if p <= ALPHA => Outcome::Above,
            (Some(_), Some(p)) if p >= 1.0 - ALPHA => Outcome::Below,
            (Some(_), Some(_)) => Outcome::Level,
            _ => Outcome::Untested,
        };
    }
    match (row.number("lower"), row.number("upper")) {
        (Some(lower), _) if lower > 0.0 => Outcome::Above,
        (_, Some(upper)) if upper < 0.0 => Outcome::Below,
        (Some(_), Some(_)) => Outcome::Level,
        _ => Outcome::Untested,
    }
}

fn judge_model(row: Row<'_>, controls: &[Row<'_>], unit: &str, digits: usize) -> ModelVerdict {
    let stable = match row.text("verdict") {
        Some("stable") => Stable::Yes,
        Some("no_stable_mode") => Stable::No,
        Some("too_shallow") => Stable::TooShallow,
        _ => Stable::Unknown,
    };
    let compared: Vec<Compared> = controls
        .iter()
        .filter_map(|c| {
            let control = c.text("control")?;
            Some(Compared { control: control.to_owned(), value: c.number("value"), outcome: outcome(*c) })
        })
        .collect();
    let claim = controls.iter().find_map(|c| c.number("claim"));
    let counted_controls = || compared.iter().filter(|c| counts(&c.control));
    let strongest =
        counted_controls().filter_map(|c| c.value.map(|v| (c, v))).max_by(|a, b| a.1.total_cmp(&b.1));
    let layer_mean = compared.iter().find(|c| c.control == "layer_mean").and_then(|c| c.value);
    let holds = stable == Stable::Yes
        && claim.is_some()
        && counted_controls().count() > 0
        && counted_controls().all(|c| c.outcome == Outcome::Above);
    let fails = stable == Stable::No || counted_controls().any(|c| c.outcome == Outcome::Below);
    let eigenvalue = match (row.number("lambda_re"), row.number("lambda_im")) {
        (Some(re), im) => eigenvalue(re, im.unwrap_or(0.0)),
        _ => String::new(),
    };
    let reading = match stable {
        Stable::Yes => read_stable(claim, &compared, unit, digits),
        Stable::No => read_unstable(row, &eigenvalue, claim, &compared, unit, digits),
        Stable::TooShallow => {
            let why = row.text("reason").or(row.reason()).map_or(String::new(), |r| format!(" ({r})"));
            format!("Too shallow to say whether there is a stable mode{why}. Not evidence for or against.")
        }
        Stable::Unknown => match row.text("reason").or(row.reason()) {
            Some(reason) => format!("Not known whether there is a stable mode: {reason}."),
            None => "Not known whether there is a stable mode.".into(),
        },
    };
    let (mark, class, stable_words) = match (stable, holds, fails) {
        (Stable::No, _, _) => ("✕", "fails", "NO stable mode"),
        (Stable::TooShallow, _, _) => ("○", "open", "too shallow to say"),
        (Stable::Unknown, _, _) => ("○", "open", "not known"),
        (Stable::Yes, true, _) => ("●", "holds", "stable mode"),
        (Stable::Yes, false, true) => ("✕", "fails", "stable mode"),
        (Stable::Yes, false, false) => ("◐", "level", "stable mode"),
    };
    let shown = |v: Option<f64>| v.map_or("–".to_owned(), |x| fixed(x, digits));
    ModelVerdict {
        model: row.text("model").unwrap_or_default().to_owned(),
        modality: row.text("modality").unwrap_or_default().to_owned(),
        stable,
        holds,
        mark,
        class,
        stable_words,
        eigenvalue,
        claim: match stable {
            Stable::Yes | Stable::Unknown => shown(claim),
            // A number without brackets would read as the score of a stable mode.
            _ => claim.map_or("–".to_owned(), |x| format!("({})", fixed(x, digits))),
        },
        layer_mean: shown(layer_mean),
        strongest: strongest
            .map_or("–".to_owned(), |(c, v)| format!("{} {}", control_name(&c.control), fixed(v, digits))),
        reading,
        compared,
    }
}

/// "stable mode .61: above the layer mean (.52); level with …; below …"
fn read_stable(claim: Option<f64>, compared: &[Compared], unit: &str, digits: usize) -> String {
    if compared.is_empty() {
        return "Stable mode found, but no control was run, so this supports no claim.".into();
    }
    let Some(claim) = claim else { return "Stable mode found; its score is not known.".into() };
    let mut parts = vec![format!("Stable mode {unit} {}", fixed(claim, digits))];
    for (outcome, words) in [
        (Outcome::Below, "LOWER than"),
        (Outcome::Level, "no different from"),
        (Outcome::Above, "higher than"),
    ] {
        let names = names_with_values(compared, digits, |c| c.outcome == outcome && counts(&c.control));
        if !names.is_empty() {
            parts.push(format!("{words} {}", listed(&names)));
        }
    }
    let untested: Vec<String> = compared
        .iter()
        .filter(|c| c.outcome == Outcome::Untested && counts(&c.control))
        .map(|c| control_name(&c.control))
        .collect();
    if !untested.is_empty() {
        parts.push(format!("not compared with {}", listed(&untested)));
    }
    format!("{}.", parts.join("; "))
}

/// A mode that fails its gates must not be read as a result.
fn read_unstable(
    row: Row<'_>,
    eigenvalue: &str,
    claim: Option<f64>,
    compared: &[Compared],
    unit: &str,
    digits: usize,
) -> String {
    let mut text = "No stable mode".to_owned();
    if let Some(reason) = row.text("reason").or(row.reason()) {
        text.push_str(&format!(" ({reason})"));
    }
    if !eigenvalue.is_empty() {
        let what = if eigenvalue.contains('i') { "a rotating pair at" } else { "at" };
        text.push_str(&format!(": the mode nearest to one is {what} {eigenvalue}"));
    }
    text.push('.');
    if let Some(claim) = claim {
        text.push_str(&format!(
            " That mode’s {unit} of {} is not the score of a stable mode and supports no claim",
            fixed(claim, digits)
        ));
        let higher = names_with_values(compared, digits, |c| c.value.is_some_and(|v| v > claim));
        if higher.is_empty() {
            text.push('.');
        } else {
            text.push_str(&format!("; it is also less than {}.", listed(&higher)));
        }
    }
    text
}

fn names_with_values(compared: &[Compared], digits: usize, keep: impl Fn(&Compared) -> bool) -> Vec<String> {
    compared
        .iter()
        .filter(|c| keep(c))
        .map(|c| {
            let name = control_name(&c.control);
            c.value.map_or(name.clone(), |v| format!("{name} ({})", fixed(v, digits)))
        })
        .collect()
}

/// The title of the verdict box and its sentences.
fn summarise(models: &[ModelVerdict]) -> (String, &'static str, Vec<String>) {
    let n = models.len();
    let of =
        |stable: Stable| -> Vec<&ModelVerdict> { models.iter().filter(|m| m.stable == stable).collect() };
    let names = |list: &[&ModelVerdict]| -> String {
        let shown: Vec<&str> = list.iter().take(12).map(|m| m.model.as_str()).collect();
        let rest = list.len().saturating_sub(12);
        if rest == 0 { listed(&shown) } else { format!("{} and {rest} more", shown.join(", ")) }
    };
    let (stable, unstable, shallow, unknown) =
        (of(Stable::Yes), of(Stable::No), of(Stable::TooShallow), of(Stable::Unknown));
    let mut sentences = Vec::new();
    sentences.push(format!(
        "{} of {} {} a stable mode.",
        stable.len(),
        counted(n, "model"),
        has(stable.len())
    ));
    if !unstable.is_empty() {
        sentences.push(format!(
            "{} {} NO stable mode: {}. No statement about stable-mode alignment is made for {}.",
            counted(unstable.len(), "model"),
            has(unstable.len()),
            names(&unstable),
            if unstable.len() == 1 { "it" } else { "them" }
        ));
    }
    if !shallow.is_empty() {
        sentences.push(format!(
            "{} too shallow to say: {}.",
            if shallow.len() == 1 {
                "1 model is".to_owned()
            } else {
                format!("{} models are", shallow.len())
            },
            names(&shallow)
        ));
    }
    if !unknown.is_empty() {
        sentences.push(format!("Not known for {}.", names(&unknown)));
    }
    let against = |control: &str, outcome: Outcome| {
        stable
            .iter()
            .filter(|m| m.compared.iter().any(|c| c.control == control && c.outcome == outcome))
            .count()
    };
    let mut told: Vec<&str> =
        vec!["layer_mean", "shuffled_order", "last_layer", "best_layer", "untrained_twin", "untrained"];
    for compared in stable.iter().flat_map(|m| &m.compared) {
        if compared.control.starts_with("nuisance:") && !told.contains(&compared.control.as_str()) {
            told.push(&compared.control);
        }
    }
    for control in told {
        let (above, level, below) = (
            against(control, Outcome::Above),
            against(control, Outcome::Level),
            against(control, Outcome::Below),
        );
        if above + level + below > 0 {
            sentences.push(format!(
                "Against the {}, the stable mode scores higher in {above}, no different in {level} and lower in {below} of the {} compared.",
                control_name(control),
                counted(above + level + below, "model"),
            ));
        }
    }
    let holding: Vec<&ModelVerdict> = stable.iter().copied().filter(|m| m.holds).collect();
    let (title, class) = if n == 0 {
        ("No model was judged".to_owned(), "open")
    } else if stable.is_empty() {
        ("No model has a stable mode: there is no stable-mode alignment to report".to_owned(), "fails")
    } else if holding.is_empty() {
        ("The claim does not hold against its controls in any model".to_owned(), "fails")
    } else if holding.len() == n {
        ("The claim holds against its controls in every model".to_owned(), "holds")
    } else {
        (
            format!(
                "The claim holds against all its controls in {} of {}",
                holding.len(),
                counted(n, "model")
            ),
            "level",
        )
    };
    if !holding.is_empty() && holding.len() < n {
        sentences.push(format!("Higher than every control: {}.", names(&holding)));
    }
    (title, class, sentences)
}

fn has(n: usize) -> &'static str {
    if n == 1 { "has" } else { "have" }
}

/// One line on the group test, where there is one: what modality explains, what it explains for the layer
/// mean, and what is to be known of the p-value.
pub(crate) fn group_line(input: &ReportInput) -> Option<String> {
    let permanova = |representation: Option<&str>, contrast: Option<&str>| {
        input.rows("tests").find(|r| {
            r.text("test").is_some_and(|t| t.eq_ignore_ascii_case("permanova"))
                && r.number("statistic").is_some()
                && representation.is_none_or(|wanted| r.text("representation") == Some(wanted))
                && contrast.is_none_or(|wanted| r.text("contrast") == Some(wanted))
        })
    };
    let row = permanova(Some("stable_mode"), None).or_else(|| permanova(None, None))?;
    let mut text = "Modality".to_owned();
    text.push_str(&match row.number("r2") {
        Some(r2) => {
            format!(" accounts for {} % of the squared distances between models", fixed(100.0 * r2, 0))
        }
        None => format!(" separates the models with pseudo-F {}", fixed(row.number("statistic")?, 2)),
    });
    if let Some(p) = row.number("p") {
        text.push_str(&format!(" (PERMANOVA, p = {})", p_text(p)));
    }
    if row.text("representation") == Some("stable_mode")
        && let Some(control) = permanova(Some("layer_mean"), row.text("contrast"))
        && let Some(r2) = control.number("r2")
    {
        let p = control.number("p").map_or(String::new(), |p| format!(" (p = {})", p_text(p)));
        text.push_str(&format!("; for the plain layer mean it is {} %{p}", fixed(100.0 * r2, 0)));
    }
    text.push('.');
    if let (Some(_), Some(reason)) = (row.number("p"), row.reason()) {
        text.push_str(&format!(" Of this p-value: {reason}."));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_io::Table;

    /// The case that must not be misread: no stable mode, and its score below layer mean and last layer.
    fn misreadable() -> ReportInput {
        let models = Table::new()
            .text("model", [Some("vgg")])
            .text("modality", [Some("vision")])
            .text("verdict", [Some("no_stable_mode")])
            .text("reason", [Some("rotates by 3.7 rad over the depth")])
            .number("lambda_re", [Some(0.80)])
            .number("lambda_im", [Some(0.31)]);
        let controls = Table::new()
            .text("model", [Some("vgg"); 2])
            .text("control", [Some("layer_mean"), Some("last_layer")])
            .number("claim", [Some(0.47); 2])
            .number("value", [Some(0.73), Some(0.80)])
            .number("lower", [Some(-0.3), Some(-0.4)])
            .number("upper", [Some(-0.2), Some(-0.3)]);
        let tables = BTreeMap::from([("models".to_owned(), models), ("controls".to_owned(), controls)]);
        ReportInput { tables, manifest: serde_json::json!({}) }
    }

    #[test]
    fn no_stable_mode_cannot_be_misread() {
        let verdict = judge(&misreadable());
        assert_eq!(verdict.title, "No model has a stable mode: there is no stable-mode alignment to report");
        assert_eq!(verdict.class, "fails");
        let model = &verdict.models[0];
        assert_eq!(model.claim, "(0.47)");
        assert_eq!(model.stable_words, "NO stable mode");
        assert_eq!(
            model.reading,
            "No stable mode (rotates by 3.7 rad over the depth): the mode nearest to one is a rotating pair at \
             0.80 ± 0.31i. That mode’s r² of 0.47 is not the score of a stable mode and supports no claim; it is \
             also less than layer mean (0.73) and last layer (0.80)."
        );
    }

    #[test]
    fn a_stable_model_below_its_layer_mean_fails() {
        let mut input = misreadable();
        let models = Table::new()
            .text("model", [Some("vgg")])
            .text("modality", [Some("vision")])
            .text("verdict", [Some("stable")]);
        input.tables.insert("models".into(), models);
        let verdict = judge(&input);
        assert_eq!(verdict.title, "The claim does not hold against its controls in any model");
        assert!(verdict.models[0].reading.contains("LOWER than layer mean (0.73) and last layer (0.80)"));
        assert_eq!(verdict.models[0].class, "fails");
    }

    #[test]
    fn holding_needs_every_control_above() {
        let mut input = misreadable();
        let models = Table::new()
            .text("model", [Some("a"), Some("b"), Some("c")])
            .text("modality", [Some("vision"); 3])
            .text("verdict", [Some("stable"); 3]);
        let controls = Table::new()
            .text("model", [Some("a"), Some("a"), Some("b")])
            .text("control", [Some("layer_mean"), Some("shuffled_order"), Some("layer_mean")])
            .number("claim", [Some(0.5); 3])
            .number("value", [Some(0.4), Some(0.3), Some(0.49)])
            .number("lower", [Some(0.05), None, Some(-0.01)])
            .number("upper", [Some(0.15), None, Some(0.03)])
            .number("p", [Some(0.01), Some(0.05), Some(0.4)]);
        input.tables.insert("models".into(), models);
        input.tables.insert("controls".into(), controls);
        let verdict = judge(&input);
        assert_eq!(verdict.title, "The claim holds against all its controls in 1 of 3 models");
        let marks: Vec<&str> = verdict.models.iter().map(|m| m.mark).collect();
        // "c" has no control at all: it is not counted as holding.
        assert_eq!(marks, ["●", "◐", "◐"]);
        assert!(verdict.models[2].reading.contains("no control was run"));
    }

    #[test]
    fn shuffles_are_judged_by_the_share_that_score_as_high() {
        let table = Table::new()
            .text("control", [Some("shuffled_order"); 4])
            .number("claim", [Some(0.5), Some(0.5), Some(0.5), None])
            .number("p", [Some(0.02), Some(0.5), Some(0.99), Some(0.02)]);
        let input = ReportInput { tables: [("controls".to_owned(), table)].into(), ..Default::default() };
        let outcomes: Vec<Outcome> = input.rows("controls").map(outcome).collect();
        assert_eq!(outcomes, [Outcome::Above, Outcome::Level, Outcome::Below, Outcome::Untested]);
    }

    #[test]
    fn twins_are_controls_not_models() {
        let mut input = misreadable();
        let models = Table::new()
            .text("model", [Some("a"), Some("a-untrained")])
            .text("modality", [Some("vision"); 2])
            .text("twin_of", [None, Some("a")])
            .text("verdict", [Some("stable"); 2]);
        input.tables.insert("models".into(), models);
        assert_eq!(judge(&input).models.len(), 1);
    }
}
