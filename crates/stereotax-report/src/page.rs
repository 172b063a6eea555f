//! Lay out the page: sections, tables, embedded data, script and style in one file.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::value::Value as Safe;
use minijinja::{Environment, context};
use serde_json::{Value, json};

use crate::brain;
use crate::cells::{Cell, Grid, counted, fixed, head, interval, listed, number};
use crate::embed;
use crate::encoding;
use crate::error::ReportError;
use crate::input::{ReportInput, Row, find};
use crate::methods;
use crate::references;
use crate::similarity;
use crate::verdict::{self, Outcome, control_name};
use crate::warnings;

/// A section of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Section {
    /// The element's id, which links may rely on.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
}

const fn section(id: &'static str, title: &'static str) -> Section {
    Section { id, title }
}

/// Every section, in the order of the page. One without results says so; the sections of NFAS are left out of a
/// page that holds other analyses alone.
pub const SECTIONS: &[Section] = &[
    section("headline", "What was asked, and what came out"),
    section("warnings", "Warnings"),
    section("model-space", "Model space"),
    section("scores", "Scores and their controls"),
    section("cortex", "Consistency over cortex"),
    section("group-statistics", "Group statistics"),
    section("spectra", "Spectra and gates"),
    section("layer-profiles", "Layer profiles"),
    section("encoding", "Encoding layer by layer"),
    section("similarity", "Layers beside brain areas"),
    section("controls", "Controls"),
    section("multiverse", "Multiverse of choices"),
    section("methods", "Methods"),
    section("references", "References"),
    section("provenance", "Provenance"),
    section("downloads", "Tables to download"),
];

/// Sections that speak of NFAS alone.
const OF_NFAS: [&str; 8] = [
    "model-space",
    "scores",
    "cortex",
    "group-statistics",
    "spectra",
    "layer-profiles",
    "controls",
    "multiverse",
];

const TEMPLATE: &str = include_str!("../assets/report.html");
pub(crate) const TABLES: &str = include_str!("../assets/tables.html");
const STYLE: &str = include_str!("../assets/report.css");
const SCRIPT: &str = include_str!("../assets/report.js");
const ECHARTS: &str = include_str!("../assets/echarts.min.js");
const ECHARTS_NOTICE: &str = include_str!("../assets/echarts.NOTICE");

/// Make the page.
///
/// Returns one HTML document in UTF-8 (about 1.2 MB of script, plus the data) that loads nothing from
/// anywhere. Deterministic: the same input gives the same bytes.
///
/// # Errors
/// If there is no table `models`, if a known column holds another type than docs/reference/results.md
/// says, or if the manifest is not a JSON object.
pub fn render(input: &ReportInput) -> Result<String, ReportError> {
    input.check()?;
    let embedded = embed::embed(input);
    let verdict = verdict::judge(input);
    let paragraphs = methods::write(input);
    let references = references_used(input, &paragraphs);
    let spaces = brain::spaces(input);
    let encoding = encoding::summary(input);
    let similarity = similarity::summary(input);
    let nfas = input.tables.contains_key("scores") || (encoding.is_none() && similarity.is_none());
    let shown: Vec<&Section> = SECTIONS.iter().filter(|s| nfas || !OF_NFAS.contains(&s.id)).collect();
    let data = json!({
        "tables": embedded.json,
        "unit": verdict.unit,
        "modalities": modalities(input),
        "gates": gates(input),
        "surfaces": brain::embedded(&spaces),
        "name": name(input),
    });
    let engine_error = |e: minijinja::Error| ReportError::Template { reason: format!("{e:#}") };
    let mut engine = Environment::new();
    // The ending of the name turns escaping on.
    engine.add_template("tables.html", TABLES).map_err(engine_error)?;
    engine.add_template("report.html", TEMPLATE).map_err(engine_error)?;
    let template = engine.get_template("report.html").map_err(engine_error)?;
    let page = template.render(context! {
        sections => SECTIONS,
        shown_sections => shown,
        nfas,
        encoding,
        similarity,
        name => name(input),
        question => input.manifest.get("question").or(input.manifest.get("description")).and_then(Value::as_str),
        asked => asked(input),
        preset => preset(input),
        simulation => simulation(input),
        truth => truth(input),
        group_line => verdict::group_line(input),
        verdict,
        warnings => warnings::collect(input),
        without_point => without_point(input),
        map_place => brain::place(&spaces),
        has_volume => brain::has_volume(&spaces),
        tests => tests(input),
        gates_table => gates_table(input),
        controls => controls(input),
        multiverse => multiverse(input),
        paragraphs => paragraphs.iter().map(|p| paragraph(p, &references)).collect::<Vec<_>>(),
        references => references.iter().map(|r| &r.formatted).collect::<Vec<_>>(),
        provenance => provenance(input),
        inputs => inputs(input),
        settings => settings(input),
        offered => embedded.offered,
        style => Safe::from_safe_string(STYLE.to_owned()),
        script => Safe::from_safe_string(SCRIPT.to_owned()),
        echarts => Safe::from_safe_string(ECHARTS.to_owned()),
        echarts_notice => ECHARTS_NOTICE,
        data => Safe::from_safe_string(embed::script_safe(&data)),
    });
    page.map_err(engine_error)
}

fn name(input: &ReportInput) -> String {
    input.manifest.get("name").and_then(Value::as_str).unwrap_or("unnamed study").to_owned()
}

/// Modalities in order of appearance: their place decides their colour and symbol.
fn modalities(input: &ReportInput) -> Vec<String> {
    input.distinct("models", "modality")
}

/// What was asked, in counts.
fn asked(input: &ReportInput) -> Vec<(String, String)> {
    let twins = input.rows("models").filter(|r| r.text("twin_of").is_some()).count();
    let models = input.rows("models").count() - twins;
    let mut asked = vec![(
        "models".to_owned(),
        if twins > 0 {
            format!("{models} + {}", counted(twins, "untrained twin"))
        } else {
            models.to_string()
        },
    )];
    asked.push(("modalities".into(), listed(&modalities(input))));
    let families = input.distinct("models", "family");
    if !families.is_empty() {
        asked.push(("families".into(), families.len().to_string()));
    }
    let benchmarks = input.distinct("models", "benchmark");
    if !benchmarks.is_empty() {
        asked.push(("benchmarks".into(), listed(&benchmarks)));
    }
    // Benchmarks of one space have the same ROIs; each stands once.
    let distinct = |masked: bool| {
        let rows = input.rows("rois").filter(|r| !masked || r.flag("masked") == Some(true));
        rows.map(|r| (r.text("space"), r.text("roi"))).collect::<BTreeSet<_>>().len()
    };
    let rois = distinct(false);
    if rois > 0 {
        // Masks are for the scores of NFAS; nothing else was computed with them.
        let masked = if input.tables.contains_key("scores") { distinct(true) } else { 0 };
        let note = if masked > 0 { format!(" ({masked} masked)") } else { String::new() };
        asked.push(("ROIs".into(), format!("{rois}{note}")));
    }
    let scored = ["scores", "encoding_models", "similarity_best"];
    let scored = scored.into_iter().find(|name| input.tables.contains_key(*name)).unwrap_or("scores");
    let subjects = input.distinct(scored, "subject").iter().filter(|s| *s != "(mean)").count();
    if subjects > 0 {
        asked.push(("subjects".into(), subjects.to_string()));
    }
    let mut samples: Vec<i64> = input
        .rows("scores")
        .chain(input.rows("similarity"))
        .filter_map(|r| r.number("n"))
        .map(|n| n as i64)
        .collect();
    samples.sort_unstable();
    samples.dedup();
    let stimuli = match samples.as_slice() {
        [] => input.manifest.get("n_stimuli").map(methods::words),
        [one] => Some(one.to_string()),
        [first, .., last] => Some(format!("{first} to {last}")),
    };
    if let Some(stimuli) = stimuli {
        asked.push(("stimuli (samples)".into(), stimuli));
    }
    asked
}

fn preset(input: &ReportInput) -> String {
    match input.manifest.get("preset").and_then(Value::as_str) {
        Some("paper_literal") => "paper_literal: a reconstruction, not a replication".into(),
        Some(preset) => preset.to_owned(),
        None => "not given".into(),
    }
}

/// The text of the banner, where the data are simulated.
fn simulation(input: &ReportInput) -> Option<String> {
    match input.manifest.get("simulation")? {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Object(map) => Some(
            map.iter()
                .filter(|(_, v)| !v.is_object() && !v.is_array())
                .map(|(k, v)| format!("{}: {}", k.replace('_', " "), methods::words(v)))
                .collect::<Vec<_>>()
                .join("; "),
        ),
        _ => Some(String::new()),
    }
}

/// Planted against recovered, whatever columns the simulator gives.
fn truth(input: &ReportInput) -> Option<DynamicGrid> {
    let truth = input
        .manifest
        .get("truth")
        .or_else(|| input.manifest.get("simulation").and_then(|s| s.get("truth")))?;
    let rows: Vec<(String, &Value)> = match truth {
        Value::Array(list) => list.iter().map(|v| (String::new(), v)).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), v)).collect(),
        _ => return None,
    };
    if rows.is_empty() {
        return None;
    }
    let mut heads: Vec<String> = Vec::new();
    if rows.iter().any(|r| !r.0.is_empty()) {
        heads.push("quantity".into());
    }
    for (_, row) in &rows {
        match row {
            Value::Object(map) => {
                for key in map.keys() {
                    if !heads.contains(key) {
                        heads.push(key.clone());
                    }
                }
            }
            _ if !heads.iter().any(|h| h == "value") => heads.push("value".into()),
            _ => {}
        }
    }
    // What a reader compares stands side by side, whatever the order of keys in the file.
    let order = |h: &String| {
        ["model", "quantity", "planted", "recovered", "agrees"].iter().position(|k| k == h).unwrap_or(2)
    };
    heads.sort_by_key(order);
    let cells = rows
        .iter()
        .map(|(key, row)| {
            heads
                .iter()
                .map(|head| match (head.as_str(), row) {
                    (h, Value::Object(map)) if map.contains_key(h) => json_cell(&map[h]),
                    ("quantity", _) if !key.is_empty() => Cell::text(Some(key.replace('_', " ")), None),
                    ("value", v) if !v.is_object() => json_cell(v),
                    _ => Cell::undefined(None),
                })
                .collect()
        })
        .collect();
    Some(DynamicGrid { heads: heads.iter().map(|h| h.replace('_', " ")).collect(), rows: cells })
}

/// A table whose headings come from a file.
#[derive(Debug, Clone, serde::Serialize)]
struct DynamicGrid {
    heads: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

fn json_cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::undefined(None),
        Value::Number(n) => {
            let text = n.as_f64().map_or_else(|| n.to_string(), |x| number(x, 4));
            // Numbers stand beside words in these columns, so they are not set to the right.
            Cell { text, sort: n.to_string(), class: "", title: n.to_string() }
        }
        other => Cell::text(Some(methods::words(other)), None),
    }
}

/// Models that have no point in the plane, with the reason.
fn without_point(input: &ReportInput) -> Vec<(String, String, String)> {
    let mut placed: BTreeMap<&str, bool> = BTreeMap::new();
    let mut reasons: BTreeMap<&str, &str> = BTreeMap::new();
    let rows: Vec<_> = input.rows("coordinates").collect();
    for row in &rows {
        let Some(model) = row.text("model") else { continue };
        // The claim is about the stable mode; other representations may well have a point.
        if row.text("representation").is_some_and(|r| r != "stable_mode") {
            continue;
        }
        let has = row.number("x").is_some() && row.number("y").is_some();
        *placed.entry(model).or_default() |= has;
        if let (false, Some(reason)) = (has, row.reason()) {
            reasons.insert(model, reason);
        }
    }
    if rows.is_empty() {
        return Vec::new();
    }
    input
        .rows("models")
        .filter_map(|row| row.text("model").map(|m| (m, row)))
        .filter(|(model, _)| !placed.get(model).copied().unwrap_or(false))
        .map(|(model, row)| {
            // Of a stable model the verdict says nothing amiss; the space does.
            let verdict = row.text("reason").filter(|_| row.text("verdict") != Some("stable"));
            let reason = verdict
                .or(reasons.get(model).copied())
                .or(row.text("reason"))
                .or(row.reason())
                .unwrap_or("the results give no reason");
            (model.to_owned(), row.text("modality").unwrap_or_default().to_owned(), reason.to_owned())
        })
        .collect()
}

/// The table of group statistics.
fn tests(input: &ReportInput) -> Grid {
    let heads = vec![
        head("Test", "", false),
        head("Contrast", "what is compared", false),
        head("Space", "data set and representation", false),
        head("Statistic", "its name stands in front", true),
        head("R²", "share of squared distances between groups", true),
        head("ω²", "R² less what chance gives", true),
        head("p", "(1 + number at least as extreme) / (1 + permutations)", true),
        head("p adj.", "adjusted for multiplicity", true),
        head("Permutations", "how many were drawn; all: every distinct labelling", true),
        head("n", "objects compared", true),
        head("Restricted", "whether labels were exchanged only within or between blocks", false),
    ];
    let rows = input
        .rows("tests")
        .map(|row| {
            let why = row.reason();
            let test = row.text("test").unwrap_or_default();
            let statistic = match (row.text("statistic_name"), row.number("statistic")) {
                (name, Some(x)) => Cell {
                    text: format!("{}{}", name.map_or(String::new(), |n| format!("{n} = ")), fixed(x, 3)),
                    sort: x.to_string(),
                    class: "num",
                    title: x.to_string(),
                },
                _ => Cell { class: "num undefined", ..Cell::undefined(why) },
            };
            let exact = row.flag("exact") == Some(true);
            let drawn = row.shown("n_permutations").filter(|n| n != "0");
            let mut permutations = Cell::text(drawn, why).classed("num");
            if exact && permutations.text != "–" {
                permutations.text.push_str(" (all)");
            }
            let adjustment = row.text("adjustment").unwrap_or_default();
            vec![
                Cell::text(Some(test_name(test)), None).titled(test_meaning(test)),
                Cell::text(row.text("contrast"), why),
                Cell::text(Some(space(row.text("space"), row.text("representation"))), None),
                statistic,
                Cell::number(row.number("r2"), 3, Some(why.unwrap_or("not defined for this test"))),
                Cell::number(row.number("omega2"), 3, Some(why.unwrap_or("not defined for this test"))),
                Cell::p(row.number("p"), Some(why.unwrap_or("no p-value for this row"))),
                match row.number("p_adj") {
                    Some(p) => Cell::p(Some(p), None).titled(format!("{p} {adjustment}")),
                    None => Cell::p(None, Some(why.unwrap_or("not adjusted: one test"))),
                },
                permutations,
                Cell::text(row.shown("n_objects"), why).classed("num"),
                Cell::text(row.shown("restricted"), why),
            ]
        })
        .collect();
    Grid { caption: String::new(), heads, rows }
}

fn space(space: Option<&str>, representation: Option<&str>) -> String {
    let parts: Vec<String> =
        [space.map(str::to_owned), representation.map(control_name)].into_iter().flatten().collect();
    parts.join(" · ")
}

fn test_name(test: &str) -> String {
    match test.to_lowercase().as_str() {
        "permanova" => "PERMANOVA".into(),
        "f2" | "permanova_f2" => "PERMANOVA F2".into(),
        "permdisp" => "PERMDISP".into(),
        "silhouette" => "Silhouette".into(),
        "anova" => "ANOVA".into(),
        "pairwise" | "pairwise_permanova" | "permanova_pairwise" => "Pairwise PERMANOVA".into(),
        "leave_one_family_out" | "permanova_without_family" => "PERMANOVA without a family".into(),
        "anova_pairwise" => "Difference of mean scores".into(),
        "anova_two_way" => "Two-way ANOVA".into(),
        _ => test.replace('_', " "),
    }
}

fn test_meaning(test: &str) -> &'static str {
    match test.to_lowercase().as_str() {
        "permanova" => "are the group centres farther apart than chance allows; larger F: farther",
        "f2" | "permanova_f2" => "the same, allowing for groups of unequal spread",
        "permdisp" => "do the groups differ in spread; a small p makes PERMANOVA hard to read",
        "silhouette" => "from −1 to 1; above zero: models lie nearer to their own modality",
        "leave_one_family_out" | "permanova_without_family" => "the test without one family of models",
        "anova" => "do the mean scores of modalities differ; R² is η²",
        "anova_pairwise" => "the mean score of one modality less that of the other",
        "anova_two_way" => "do mean scores differ by network, and differently for modalities",
        _ => "",
    }
}

/// One gate: the column it reads, its label, the keys of its threshold in the settings.
struct Gate {
    column: &'static str,
    label: &'static str,
    title: &'static str,
    keys: &'static [&'static str],
    /// Whether small values pass.
    at_most: bool,
}

const GATES: &[Gate] = &[
    Gate {
        column: "depth_gain",
        label: "Gain over depth",
        title: "|λ| to the power of the number of steps; 1 is neither growth nor decay",
        keys: &["max_depth_gain", "depth_gain", "gain", "max_gain"],
        at_most: true,
    },
    Gate {
        column: "depth_rotation",
        label: "Rotation, rad",
        title: "angle of λ times the number of steps",
        keys: &["max_depth_rotation_deg", "depth_rotation", "rotation", "max_rotation"],
        at_most: true,
    },
    Gate {
        column: "energy",
        label: "Energy",
        title: "share of the trajectory that the mode holds; may exceed 1",
        keys: &["energy", "min_energy"],
        at_most: false,
    },
    Gate {
        column: "residual",
        label: "Residual",
        title: "‖Aφ − λφ‖ / ‖φ‖",
        keys: &["residual", "max_residual"],
        at_most: true,
    },
    Gate {
        column: "weight_stability",
        label: "Fold agreement",
        title: "smallest correlation of layer weights between folds",
        keys: &["min_fold_correlation", "weight_stability", "fold_stability", "min_weight_stability"],
        at_most: false,
    },
    Gate {
        column: "lambda_sd",
        label: "SD of λ",
        title: "bootstrap standard deviation of the eigenvalue",
        keys: &["lambda_sd", "max_lambda_sd"],
        at_most: true,
    },
];

/// The thresholds, by column; absent where the settings do not say.
fn gates(input: &ReportInput) -> BTreeMap<&'static str, Value> {
    let Some(gates) =
        input.manifest.get("gates").or_else(|| input.manifest.get("settings").and_then(|s| find(s, "gates")))
    else {
        return BTreeMap::new();
    };
    GATES
        .iter()
        .filter_map(|g| {
            let (key, value) = g.keys.iter().find_map(|k| gates.get(*k).map(|v| (*k, v)))?;
            // The column is in radians.
            let value = match value.as_f64() {
                Some(degrees) if key.ends_with("_deg") => json!(degrees.to_radians()),
                _ => value.clone(),
            };
            Some((g.column, value))
        })
        .collect()
}

/// A threshold as a sentence, and whether a value passes it.
fn passes(gate: &Gate, threshold: &Value, x: f64) -> Option<(bool, String)> {
    if let Some([low, high]) = threshold.as_array().map(Vec::as_slice) {
        let (low, high) = (low.as_f64()?, high.as_f64()?);
        return Some(((low..=high).contains(&x), format!("{} to {}", number(low, 3), number(high, 3))));
    }
    let limit = threshold.as_f64()?;
    if gate.column == "depth_gain" && limit >= 1.0 {
        // One number δ stands for the band from 1/δ to δ.
        let inside = x >= 1.0 / limit && x <= limit;
        return Some((inside, format!("{} to {}", number(1.0 / limit, 3), number(limit, 3))));
    }
    Some(if gate.at_most {
        (x <= limit, format!("at most {}", number(limit, 3)))
    } else {
        (x >= limit, format!("at least {}", number(limit, 3)))
    })
}

/// Gates passed and failed per model, with thresholds.
fn gates_table(input: &ReportInput) -> Grid {
    let thresholds = gates(input);
    let mut heads = vec![
        head("Model", "", false),
        head("Layers", "", true),
        head("Layer map", "how layers of unequal width were compared", false),
        head("Verdict", "", false),
        head("λ", "eigenvalue of the selected mode; a pair is written with ±", true),
    ];
    heads.extend(GATES.iter().map(|g| head(g.label, g.title, true)));
    heads.push(head("Reason", "", false));
    let rows = input
        .rows("models")
        .map(|row| {
            let why = row.text("reason").or(row.reason());
            let (verdict, class) = match row.text("verdict") {
                Some("stable") => ("●\u{a0}stable", "holds"),
                Some("no_stable_mode") => ("✕\u{a0}no stable mode", "fails"),
                Some("too_shallow") => ("○\u{a0}too shallow", "open"),
                Some(other) => (other, "open"),
                None => ("–", "undefined"),
            };
            let lambda = match (row.number("lambda_re"), row.number("lambda_im")) {
                (Some(re), im) => Cell {
                    text: crate::cells::eigenvalue(re, im.unwrap_or(0.0)),
                    sort: re.to_string(),
                    class: "num",
                    title: format!("{re} {:+}i", im.unwrap_or(0.0)),
                },
                _ => Cell { class: "num undefined", ..Cell::undefined(why) },
            };
            let mut cells = vec![
                Cell::text(row.text("model"), None).classed("name"),
                Cell::text(row.shown("n_layers"), why).classed("num"),
                Cell::text(row.text("layer_map"), why),
                Cell::text(Some(verdict), None).classed(class),
                lambda,
            ];
            for gate in GATES {
                let value = row.number(gate.column);
                let mut cell = Cell::number(value, 2, why);
                if let (Some(x), Some(threshold)) = (value, thresholds.get(gate.column))
                    && let Some((passed, rule)) = passes(gate, threshold, x)
                {
                    let mark = if passed { "✓" } else { "✕" };
                    cell.text = format!("{} {mark}", cell.text);
                    cell.title = format!("{x}; passes: {rule}");
                    cell.class = if passed { "num" } else { "num fails" };
                }
                cells.push(cell);
            }
            cells.push(
                Cell::text(row.text("reason").or(row.reason()), Some("nothing to explain")).classed("long"),
            );
            cells
        })
        .collect();
    let rules: Vec<String> = GATES
        .iter()
        .filter_map(|g| {
            let (_, rule) = passes(g, thresholds.get(g.column)?, 0.0)?;
            Some(format!("{} {rule}", g.label.to_lowercase()))
        })
        .collect();
    let caption = if rules.is_empty() {
        "The settings name no thresholds; the verdict and its reason are those of the run.".into()
    } else {
        format!("Gates: {}.", rules.join("; "))
    };
    Grid { caption, heads, rows }
}

/// The table of controls.
fn controls(input: &ReportInput) -> Grid {
    let heads = vec![
        head("Model", "", false),
        head("Modality", "", false),
        head("Control", "what the claim is compared with", false),
        head(
            "Claim",
            "mean score over unmasked ROIs of the stable mode, or of the representation named before the colon",
            true,
        ),
        head("Control’s score", "the same for the control", true),
        head("Claim − control", "above zero: the stable mode scores higher", true),
        head("Interval", "bootstrap interval of the difference", true),
        head("p", "two-sided; for shuffled layer orders the share that score at least as high", true),
        head("ROIs", "", true),
        head("Reading", "", false),
    ];
    let unstable: Vec<&str> = input
        .rows("models")
        .filter(|r| r.text("verdict").is_some_and(|v| v != "stable"))
        .filter_map(|r| r.text("model"))
        .collect();
    let rows = input
        .rows("controls")
        .map(|row| {
            let why = row.reason();
            let model = row.text("model").unwrap_or_default();
            let no_claim = unstable.contains(&model) && verdict::about_stable_mode(&row);
            let (reading, class) = match verdict::outcome(row) {
                _ if no_claim => ("no stable mode: supports no claim", "fails"),
                Outcome::Above => ("● claim higher", "holds"),
                Outcome::Level => ("◐ no difference", "level"),
                Outcome::Below => ("✕ claim LOWER", "fails"),
                Outcome::Untested => ("○ not tested", "open"),
            };
            let mut claim = Cell::number(row.number("claim"), 3, why);
            if no_claim && row.number("claim").is_some() {
                claim.text = format!("({})", claim.text);
                claim.title = "this model has no stable mode".into();
            }
            vec![
                Cell::text(row.text("model"), None).classed("name"),
                Cell::text(row.text("modality"), why),
                Cell::text(row.text("control").map(|c| compared_name(&row, c)), why),
                claim,
                Cell::number(row.number("value"), 3, why),
                Cell::number(row.number("difference"), 3, why),
                interval(row, 3),
                Cell::p(row.number("p"), why),
                Cell::text(row.shown("n_rois"), why).classed("num"),
                Cell::text(Some(reading), None).classed(class),
            ]
        })
        .collect();
    Grid { caption: String::new(), heads, rows }
}

/// A control as the table of controls calls it: where the claim is not that of the stable mode, with the
/// representation that claims.
fn compared_name(row: &Row<'_>, control: &str) -> String {
    let control = match control.strip_prefix("best_other:") {
        Some(other) => format!("the best other ({})", control_name(other)),
        None => control_name(control),
    };
    match row.text("claim_representation") {
        Some(claim) if claim != "stable_mode" => format!("{}: {control}", control_name(claim)),
        _ => control,
    }
}

/// The multiverse in counts.
#[derive(Debug, Default, serde::Serialize)]
struct Multiverse {
    sentence: String,
    shares: Grid,
    models: Grid,
}

/// In which share of the cells does the claim beat the layer mean?
fn multiverse(input: &ReportInput) -> Option<Multiverse> {
    input.rows("multiverse").next()?;
    let mut total = Tally::default();
    let mut by_model: BTreeMap<String, Tally> = BTreeMap::new();
    let mut by_choice: BTreeMap<(usize, String), Tally> = BTreeMap::new();
    const CHOICES: [&str; 5] = ["trajectory", "scale", "select", "rank", "estimator"];
    // A twin is a control, and a model without a stable mode has no claim that could be robust.
    let claims: Vec<&str> = input
        .rows("models")
        .filter(|r| r.text("twin_of").is_none() && r.text("verdict").is_none_or(|v| v == "stable"))
        .filter_map(|r| r.text("model"))
        .collect();
    let claims_all = claims.is_empty();
    for row in input.rows("multiverse") {
        if !claims_all && row.text("model").is_some_and(|m| !claims.contains(&m)) {
            continue;
        }
        let difference = row.number("versus_layer_mean");
        total.add(difference);
        by_model.entry(row.text("model").unwrap_or_default().to_owned()).or_default().add(difference);
        for (i, choice) in CHOICES.iter().enumerate() {
            if let Some(level) = row.shown(choice) {
                by_choice.entry((i, level)).or_default().add(difference);
            }
        }
    }
    let sentence = format!(
        "In {} of {} the stable mode scores higher than the layer mean ({}); {} undefined. Only signs are counted here: most differences may be within noise. Models without a stable mode and untrained twins are left out of the counts.",
        total.above,
        counted(total.defined, "cell"),
        total.share(),
        if total.undefined == 1 { "1 cell is".to_owned() } else { format!("{} cells are", total.undefined) },
    );
    let tally_heads = || {
        vec![
            head("Higher", "cells in which the stable mode beats the layer mean", true),
            head("Defined", "", true),
            head("Share", "", true),
            head("Undefined", "", true),
        ]
    };
    let mut heads = vec![head("Choice", "", false), head("Level", "", false)];
    heads.extend(tally_heads());
    // A choice with one level only has nothing to compare.
    let levels = |i: usize| by_choice.keys().filter(|(k, _)| *k == i).count();
    let shares = by_choice
        .iter()
        .filter(|((i, _), _)| levels(*i) > 1)
        .map(|((i, level), tally)| {
            let mut row = vec![Cell::text(Some(CHOICES[*i]), None), Cell::text(Some(level.as_str()), None)];
            row.extend(tally.cells());
            row
        })
        .collect();
    let mut model_heads = vec![head("Model", "", false)];
    model_heads.extend(tally_heads());
    let models = by_model
        .iter()
        .map(|(model, tally)| {
            let mut row = vec![Cell::text(Some(model.as_str()), None).classed("name")];
            row.extend(tally.cells());
            row
        })
        .collect();
    Some(Multiverse {
        sentence,
        shares: Grid { caption: "By choice".into(), heads, rows: shares },
        models: Grid { caption: "By model".into(), heads: model_heads, rows: models },
    })
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    above: usize,
    defined: usize,
    undefined: usize,
}

impl Tally {
    fn add(&mut self, difference: Option<f64>) {
        match difference {
            Some(d) => {
                self.defined += 1;
                self.above += usize::from(d > 0.0);
            }
            None => self.undefined += 1,
        }
    }

    fn share(&self) -> String {
        if self.defined == 0 {
            return "–".into();
        }
        format!("{:.0} %", 100.0 * self.above as f64 / self.defined as f64)
    }

    fn cells(&self) -> Vec<Cell> {
        let share = if self.defined == 0 {
            Cell { class: "num undefined", ..Cell::undefined(Some("no cell is defined")) }
        } else {
            let sort = (self.above as f64 / self.defined as f64).to_string();
            Cell { text: self.share(), sort, class: "num", title: String::new() }
        };
        vec![Cell::count(self.above), Cell::count(self.defined), share, Cell::count(self.undefined)]
    }
}

/// A source that the page cites.
struct Used {
    cited: String,
    formatted: references::Formatted,
}

/// Sources of the methods text and of the manifest, in alphabetical order.
fn references_used(input: &ReportInput, paragraphs: &[methods::Paragraph]) -> Vec<Used> {
    let known = references::all();
    let mut keys: Vec<String> = paragraphs
        .iter()
        .flat_map(|p| &p.sentences)
        .flat_map(|s| s.keys.iter().map(|k| (*k).to_owned()))
        .collect();
    let mut foreign = Vec::new();
    if let Some(Value::Array(list)) = input.manifest.get("references") {
        for key in list {
            let key = key.as_str().or_else(|| key.get("key").and_then(Value::as_str));
            match key {
                Some(key) if known.iter().any(|r| r.key == key) => keys.push(key.to_owned()),
                Some(key) => foreign.push(key.to_owned()),
                None => {}
            }
        }
    }
    let mut used: Vec<Used> = known
        .iter()
        .filter(|r| keys.contains(&r.key))
        .map(|r| Used { cited: r.cited(), formatted: r.formatted() })
        .collect();
    used.sort_by(|a, b| a.formatted.text.cmp(&b.formatted.text));
    foreign.sort();
    foreign.dedup();
    used.extend(foreign.into_iter().map(|key| Used {
        cited: key.clone(),
        formatted: references::Formatted {
            text: format!("{key} (named by the study)."),
            key,
            url: String::new(),
        },
    }));
    used
}

/// A paragraph with its citations as links to the list.
fn paragraph(paragraph: &methods::Paragraph, used: &[Used]) -> Value {
    let sentences: Vec<Value> = paragraph
        .sentences
        .iter()
        .map(|s| {
            let cites: Vec<Value> = s
                .keys
                .iter()
                .filter_map(|k| used.iter().find(|u| u.formatted.key == **k))
                .map(|u| json!({ "key": u.formatted.key, "cited": u.cited }))
                .collect();
            // The citation stands before the full stop, which the template sets.
            json!({ "text": s.text.trim_end_matches('.'), "cites": cites })
        })
        .collect();
    json!({ "title": paragraph.title, "sentences": sentences })
}

fn provenance(input: &ReportInput) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for (key, label) in [("name", "study"), ("version", "version"), ("preset", "preset"), ("seed", "seed")] {
        if let Some(value) = input.manifest.get(key) {
            rows.push((label.to_owned(), methods::words(value)));
        }
    }
    rows.push(("page made by".into(), format!("stereotax-report {}", env!("CARGO_PKG_VERSION"))));
    const TOLD: [&str; 15] = [
        "name",
        "version",
        "preset",
        "seed",
        "settings",
        "inputs",
        "warnings",
        "references",
        "simulation",
        "truth",
        "surface",
        "question",
        "description",
        "gates",
        "n_stimuli",
    ];
    if let Some(map) = input.manifest.as_object() {
        for (key, value) in map.iter().filter(|(k, _)| !TOLD.contains(&k.as_str())) {
            rows.push((key.replace('_', " "), methods::words(value)));
        }
    }
    rows
}

/// Inputs and their digests.
fn inputs(input: &ReportInput) -> Vec<(String, String)> {
    let text = |v: &Value, keys: &[&str]| {
        keys.iter().find_map(|k| v.get(*k)).map(methods::words).unwrap_or_else(|| "–".into())
    };
    match input.manifest.get("inputs") {
        Some(Value::Array(list)) => list
            .iter()
            .map(|v| match v {
                Value::String(name) => (name.clone(), "–".into()),
                v => (text(v, &["name", "file", "path"]), text(v, &["digest", "hash", "sha256", "blake3"])),
            })
            .collect(),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(name, v)| match v {
                Value::String(digest) => (name.clone(), digest.clone()),
                v => (name.clone(), text(v, &["digest", "hash", "sha256", "blake3"])),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Settings as dotted names and values.
fn settings(input: &ReportInput) -> Vec<(String, String)> {
    fn walk(prefix: &str, value: &Value, rows: &mut Vec<(String, String)>) {
        match value {
            Value::Object(map) => {
                for (key, inner) in map {
                    let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    walk(&name, inner, rows);
                }
            }
            value => rows.push((prefix.to_owned(), methods::words(value))),
        }
    }
    let mut rows = Vec::new();
    if let Some(settings) = input.manifest.get("settings") {
        walk("", settings, &mut rows);
    }
    rows
}
