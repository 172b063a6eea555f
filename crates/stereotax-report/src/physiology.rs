//! The page of a physiologist's view: modules and areas, their manifolds, tubes, accuracies and dimensions.
//!
//! Its tables are those of `stereotax::pipelines::physiology`, by name. Charts are drawn here as pictures that print
//! and need no script; the two three-dimensional views are turned by a script of the page. Nothing is computed:
//! numbers are laid out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use minijinja::value::Value as Safe;
use minijinja::{Environment, context};
use serde_json::{Map, Value, json};
use stereotax_io::{Table, Values};

use crate::cells::{Cell, Grid, fixed, head, number};
use crate::embed::script_safe;
use crate::error::ReportError;
use crate::input::{ReportInput, Row};
use crate::page::{Section, TABLES};

const TEMPLATE: &str = include_str!("../assets/physiology.html");
const SCRIPT: &str = include_str!("../assets/physiology.js");
const STYLE: &str = include_str!("../assets/report.css");

/// Tables without which there is no page.
pub const PHYSIOLOGY_TABLES: [&str; 12] = [
    "populations",
    "units",
    "ranks",
    "eigenvalues",
    "paths",
    "dimensions",
    "windows",
    "confusions",
    "tubularity",
    "tubularity_differences",
    "alignment",
    "notes",
];

const SECTIONS: [Section; 10] = [
    Section { id: "headline", title: "Modules and areas" },
    Section { id: "notes", title: "What to know" },
    Section { id: "encoding", title: "Encoding manifolds" },
    Section { id: "decoding", title: "Decoding manifolds" },
    Section { id: "tubularity", title: "Tubularity" },
    Section { id: "accuracy", title: "Decoding accuracy" },
    Section { id: "dimensions", title: "Dimension" },
    Section { id: "alignment", title: "Modules beside areas" },
    Section { id: "settings", title: "Settings and tables" },
    Section { id: "references", title: "References" },
];

/// Sources of what is on the page.
const CITED: [&str; 5] = ["bertram2026", "dyballa2024", "dyballa2023", "coifman2006", "king2014"];

/// Lay out the page. `manifest` may hold name, question, simulated, version, settings (an object), and truth (a list
/// of objects with quantity, planted and recovered).
///
/// Errors: a table that is missing.
pub fn render_physiology(input: &ReportInput) -> Result<String, ReportError> {
    if let Some(table) = PHYSIOLOGY_TABLES.iter().find(|name| !input.tables.contains_key(**name)) {
        return Err(ReportError::MissingTable { table });
    }
    let text = |key: &str| input.manifest.get(key).and_then(Value::as_str);
    let data = json!({ "units": columns(&input.tables["units"]), "paths": columns(&input.tables["paths"]) });
    let keys: Vec<String> = CITED.iter().map(|key| (*key).to_owned()).collect();
    let engine_error = |e: minijinja::Error| ReportError::Template { reason: format!("{e:#}") };
    let mut engine = Environment::new();
    engine.add_template("tables.html", TABLES).map_err(engine_error)?;
    engine.add_template("physiology.html", TEMPLATE).map_err(engine_error)?;
    let template = engine.get_template("physiology.html").map_err(engine_error)?;
    let safe = |text: String| Safe::from_safe_string(text);
    let charts = |charts: Vec<(String, String)>| -> Vec<BTreeMap<&str, Safe>> {
        charts
            .into_iter()
            .map(|(svg, caption)| {
                BTreeMap::from([("svg", Safe::from_safe_string(svg)), ("caption", Safe::from(caption))])
            })
            .collect()
    };
    template
        .render(context! {
            sections => SECTIONS,
            name => text("name").unwrap_or("Network beside brain"),
            question => text("question"),
            simulation => text("simulated"),
            version => text("version").unwrap_or(env!("CARGO_PKG_VERSION")),
            populations => populations(input),
            truth => truth(input),
            notes => notes(input),
            ranks => ranks(input),
            tubes => charts(tubes(input)),
            differences => differences(input),
            accuracy => accuracy(input).map(safe),
            dimensions => charts(dimensions(input)),
            alignment => alignment(input),
            settings => settings(input),
            tables => PHYSIOLOGY_TABLES,
            references => crate::bibliography(&keys),
            style => Safe::from_safe_string(STYLE.to_owned()),
            script => Safe::from_safe_string(SCRIPT.to_owned()),
            data => Safe::from_safe_string(script_safe(&data)),
        })
        .map_err(engine_error)
}

/// Columns as lists.
fn columns(table: &Table) -> Value {
    let list = |values: &Values| match values {
        Values::Text(v) => json!(v),
        Values::Number(v) => json!(v),
        Values::Integer(v) => json!(v),
        Values::Flag(v) => json!(v),
    };
    Value::Object(table.columns().iter().map(|c| (c.name.clone(), list(&c.values))).collect::<Map<_, _>>())
}

fn name_cell(row: Row<'_>, column: &str) -> Cell {
    Cell::text(row.text(column), None).classed("name")
}

fn count_cell(row: Row<'_>, column: &str) -> Cell {
    match row.number(column) {
        Some(n) => Cell::count(n as usize),
        None => Cell { class: "num undefined", ..Cell::undefined(Some("left out: see the notes")) },
    }
}

fn number_cell(row: Row<'_>, column: &str, digits: usize) -> Cell {
    Cell::number(row.number(column), digits, Some("left out: see the notes"))
}

fn populations(input: &ReportInput) -> Grid {
    let rows = input
        .rows("populations")
        .map(|row| {
            vec![
                name_cell(row, "population"),
                Cell::text(row.text("role"), None),
                count_cell(row, "n_units"),
                count_cell(row, "n_silent"),
                Cell::text(
                    Some(format!(
                        "{} × {} × {}",
                        row.number("n_stimuli").unwrap_or(0.0),
                        row.number("n_directions").unwrap_or(0.0),
                        row.number("n_times").unwrap_or(0.0)
                    )),
                    None,
                ),
                count_cell(row, "rank"),
                number_cell(row, "error", 3),
                count_cell(row, "n_parts"),
                number_cell(row, "local_dimension", 1),
                number_cell(row, "accuracy", 2),
                Cell::text(row.text("held_out"), None),
                number_cell(row, "chance", 2),
                number_cell(row, "null_mean", 2),
                Cell::p(row.number("p_value"), None),
            ]
        })
        .collect();
    let heads = vec![
        head("Population", "", false),
        head("Role", "", false),
        head("Units", "units that respond", true),
        head("Silent", "units left out", true),
        head("Shown", "stimuli × directions × time bins", false),
        head("Components", "of the shift-invariant factorisation", true),
        head("Error", "share of the squared responses that it leaves", true),
        head("Parts", "connected parts of the encoding manifold; 1 is what one hopes for", true),
        head("Dimension", "mean local dimension of the encoding manifold", true),
        head("Accuracy", "share of held-out samples whose stimulus is told", true),
        head(
            "Held out",
            "repeats, or directions of all stimuli together; stratified: directions of each by itself",
            false,
        ),
        head("Chance", "an answer that never changes", true),
        head(
            "Shuffled",
            "mean over labels shuffled within repeats and directions; it may lie below chance",
            true,
        ),
        head("p", "by these shuffles", true),
    ];
    Grid { caption: String::new(), heads, rows }
}

fn truth(input: &ReportInput) -> Option<Grid> {
    let rows: Vec<Vec<Cell>> = input
        .manifest
        .get("truth")?
        .as_array()?
        .iter()
        .map(|row| {
            let cell = |key: &str| Cell::text(row.get(key).and_then(Value::as_str), None);
            vec![cell("quantity"), cell("planted"), cell("recovered")]
        })
        .collect();
    let heads = vec![head("Quantity", "", false), head("Planted", "", false), head("Recovered", "", false)];
    Some(Grid { caption: String::new(), heads, rows })
}

fn notes(input: &ReportInput) -> Grid {
    let rows = input
        .rows("notes")
        .map(|row| {
            vec![
                Cell::text(Some(row.text("population").unwrap_or("between populations")), None)
                    .classed("name"),
                Cell::text(row.text("note"), None).classed("long"),
            ]
        })
        .collect();
    Grid { caption: String::new(), heads: vec![head("Population", "", false), head("Note", "", false)], rows }
}

fn ranks(input: &ReportInput) -> Grid {
    let rows = input
        .rows("ranks")
        .map(|row| {
            vec![
                name_cell(row, "population"),
                count_cell(row, "rank"),
                number_cell(row, "error", 4),
                number_cell(row, "effective_dimension", 2),
                Cell::text(Some(if row.number("chosen") == Some(1.0) { "✓" } else { "" }), None),
            ]
        })
        .collect();
    let heads = vec![
        head("Population", "", false),
        head("Components", "", true),
        head("Error", "least over starts", true),
        head("Spanned", "dimension that components span, mean over starts: the plateau is taken", true),
        head("Taken", "", false),
    ];
    Grid { caption: "Sweeps over the number of components.".into(), heads, rows }
}

fn differences(input: &ReportInput) -> Grid {
    let rows = input
        .rows("tubularity_differences")
        .filter(|row| matches!(row.text("score"), Some("tightness" | "crossing_number")))
        .map(|row| {
            let (low, high) = (row.number("low"), row.number("high"));
            let apart = matches!((low, high), (Some(l), Some(h)) if l > 0.0 || h < 0.0);
            vec![
                name_cell(row, "first"),
                name_cell(row, "second"),
                Cell::text(row.text("score").map(|s| s.replace('_', " ")), None),
                significant(row.number("mean")),
                significant(low),
                significant(high),
                Cell::text(Some(if apart { "leaves 0 out" } else { "holds 0" }), None),
            ]
        })
        .collect();
    let heads = vec![
        head("First", "", false),
        head("Second", "", false),
        head("Score", "", false),
        head("First − second", "", true),
        head("from", "2.5 % of paired draws", true),
        head("to", "97.5 %", true),
        head("Interval", "", false),
    ];
    Grid { caption: "Paired differences over draws of units.".into(), heads, rows }
}

fn significant(value: Option<f64>) -> Cell {
    match value {
        Some(x) => Cell { text: number(x, 3), sort: x.to_string(), class: "num", title: x.to_string() },
        None => Cell { class: "num undefined", ..Cell::undefined(None) },
    }
}

fn alignment(input: &ReportInput) -> Grid {
    let rows = input
        .rows("alignment")
        .map(|row| {
            vec![
                name_cell(row, "first"),
                name_cell(row, "second"),
                Cell::text(row.text("measure"), None),
                number_cell(row, "value", 3),
                Cell::number(row.number("chance"), 3, Some("no shuffles of this measure")),
                Cell::p(row.number("p_value"), Some("no shuffles of this measure")),
            ]
        })
        .collect();
    let heads = vec![
        head("First", "", false),
        head("Second", "", false),
        head("Measure", "", false),
        head("Value", "", true),
        head("Chance", "mean over shuffled conditions", true),
        head("p", "", true),
    ];
    let caption = "Higher is more alike, but for dsa_angular: an angle between dynamics, 0 the same. \
                   linear_predictivity: median over units of the second population of the correlation of held-out \
                   ridge predictions from the first.";
    Grid { caption: caption.into(), heads, rows }
}

fn settings(input: &ReportInput) -> Grid {
    let mut rows = vec![];
    if let Some(all) = input.manifest.get("settings").and_then(Value::as_object) {
        for (name, value) in all {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            rows.push(vec![
                Cell::text(Some(name.clone()), None).classed("name"),
                Cell::text(Some(value), None),
            ]);
        }
    }
    Grid { caption: String::new(), heads: vec![head("Setting", "", false), head("Value", "", false)], rows }
}

/// Text inside a picture.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A row of points with intervals per population, one chart.
fn intervals(rows: &[(String, f64, f64, f64)]) -> String {
    let (left, width, line) = (190.0, 540.0, 22.0);
    let height = line * rows.len() as f64 + 30.0;
    let low = rows.iter().map(|r| r.2).fold(0.0, f64::min);
    let high = rows.iter().map(|r| r.3).fold(f64::MIN_POSITIVE, f64::max);
    let x = |v: f64| left + width * (v - low) / (high - low);
    let mut svg = format!("<svg viewBox=\"0 0 760 {height}\" role=\"img\">");
    for k in 0..=4 {
        let v = low + (high - low) * f64::from(k) / 4.0;
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"0\" y2=\"{1:.1}\"/><text x=\"{0:.1}\" y=\"{2:.1}\" text-anchor=\"middle\">{3}</text>",
            x(v),
            height - 24.0,
            height - 8.0,
            number(v, 3)
        );
    }
    for (i, (name, mean, from, to)) in rows.iter().enumerate() {
        let y = line * (i as f64 + 0.5);
        let name = escaped(name);
        let _ = write!(
            svg,
            "<g class=\"c{5}\"><title>{name}: {4}</title><text class=\"name\" x=\"{6:.1}\" y=\"{7:.1}\" text-anchor=\"end\">{name}</text><line x1=\"{0:.1}\" x2=\"{1:.1}\" y1=\"{2:.1}\" y2=\"{2:.1}\" stroke=\"currentColor\" stroke-width=\"2\"/><circle cx=\"{3:.1}\" cy=\"{2:.1}\" r=\"4\" fill=\"currentColor\"/></g>",
            x(*from),
            x(*to),
            y,
            x(*mean),
            if from < to {
                format!("{} ({} to {})", number(*mean, 3), number(*from, 3), number(*to, 3))
            } else {
                number(*mean, 3)
            },
            i % 7,
            left - 10.0,
            y + 4.0
        );
    }
    svg.push_str("</svg>");
    svg
}

fn tubes(input: &ReportInput) -> Vec<(String, String)> {
    let captions = [
        ("tightness", "Tightness: radius of a bundle over the length of its centre line."),
        (
            "crossing",
            "Crossing: encounters of curves at an angle, over that length. It falls with the number of units, which is why all have equally many here.",
        ),
        (
            "crossing_number",
            "Crossing number: the same free of scale; 1 is one crossing at a right angle per pair of curves.",
        ),
    ];
    captions
        .iter()
        .filter_map(|(score, caption)| {
            let rows: Vec<(String, f64, f64, f64)> = input
                .rows("tubularity")
                .filter(|row| row.text("score") == Some(score))
                .filter_map(|row| {
                    let name = row.text("population")?.to_owned();
                    Some((name, row.number("mean")?, row.number("low")?, row.number("high")?))
                })
                .collect();
            (!rows.is_empty()).then(|| (intervals(&rows), (*caption).to_owned()))
        })
        .collect()
}

fn dimensions(input: &ReportInput) -> Vec<(String, String)> {
    let mut kinds: Vec<(String, String)> = vec![];
    for row in input.rows("dimensions") {
        if let (Some(points), Some(estimate)) = (row.text("points"), row.text("estimate")) {
            let kind = (points.to_owned(), estimate.to_owned());
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
    }
    kinds
        .into_iter()
        .filter_map(|(points, estimate)| {
            let rows: Vec<(String, f64, f64, f64)> = input
                .rows("dimensions")
                .filter(|row| row.text("points") == Some(&points) && row.text("estimate") == Some(&estimate))
                .filter_map(|row| {
                    let value = row.number("value")?;
                    Some((row.text("population")?.to_owned(), value, value, value))
                })
                .collect();
            let caption = format!("{} of {points}.", sentence(&estimate));
            (!rows.is_empty()).then(|| (intervals(&rows), caption))
        })
        .collect()
}

fn sentence(estimate: &str) -> String {
    match estimate {
        "participation_naive" => "Participation ratio as it comes".into(),
        "participation_stimuli" => "Participation ratio, debiased over conditions".into(),
        "participation_units" => "Participation ratio, debiased over units".into(),
        "participation_both" => "Participation ratio, debiased over both".into(),
        "two_nn" => "TwoNN dimension".into(),
        "levina_bickel" => "Levina and Bickel’s dimension".into(),
        other => other.replace('_', " "),
    }
}

/// Accuracy over windows, one line per population.
fn accuracy(input: &ReportInput) -> Option<String> {
    let names = input.distinct("windows", "population");
    let last = input.rows("windows").filter_map(|r| r.number("last_s")).fold(0.0, f64::max);
    if names.is_empty() || !(last > 0.0) {
        return None;
    }
    let (left, top, width, height) = (44.0, 8.0, 540.0, 240.0);
    let (x, y) = (|t: f64| left + width * t / last, |a: f64| top + height * (1.0 - a));
    let mut svg = String::from("<svg viewBox=\"0 0 760 290\" role=\"img\">");
    for k in 0..=4 {
        let a = f64::from(k) / 4.0;
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{2:.1}\" y2=\"{2:.1}\"/><text x=\"{1:.1}\" y=\"{3:.1}\" text-anchor=\"end\">{4}</text>",
            left + width,
            left - 6.0,
            y(a),
            y(a) + 4.0,
            fixed(a, 2)
        );
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} s</text>",
            x(last * a),
            top + height + 18.0,
            number(last * a, 2)
        );
    }
    let chance = input.rows("populations").filter_map(|r| r.number("chance")).fold(f64::NAN, f64::max);
    if chance.is_finite() {
        let _ = write!(
            svg,
            "<line class=\"zero\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>",
            left + width,
            y(chance)
        );
    }
    const DASHES: [&str; 4] = ["", "6 3", "2 2", "8 3 2 3"];
    for (i, name) in names.iter().enumerate() {
        let mut points = String::new();
        let mut bars = String::new();
        for row in input.rows("windows").filter(|row| row.text("population") == Some(name)) {
            let (Some(t), Some(a)) = (row.number("last_s"), row.number("accuracy")) else { continue };
            let _ = write!(points, "{:.1},{:.1} ", x(t), y(a));
            if let Some(sd) = row.number("sd") {
                let _ = write!(
                    bars,
                    "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1:.1}\" y2=\"{2:.1}\" stroke=\"currentColor\" stroke-opacity=\".35\"/>",
                    x(t),
                    y((a - sd).max(0.0)),
                    y((a + sd).min(1.0))
                );
            }
        }
        let (dash, at) = (DASHES[i / 7 % 4], top + 14.0 * (i as f64 + 1.0));
        let _ = write!(
            svg,
            "<g class=\"c{0}\"><polyline points=\"{points}\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>{bars}<line x1=\"{1:.1}\" x2=\"{2:.1}\" y1=\"{3:.1}\" y2=\"{3:.1}\" stroke=\"currentColor\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/><text class=\"name\" x=\"{4:.1}\" y=\"{5:.1}\">{6}</text></g>",
            i % 7,
            left + width + 12.0,
            left + width + 36.0,
            at,
            left + width + 42.0,
            at + 4.0,
            escaped(name)
        );
    }
    svg.push_str("</svg>");
    Some(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toy() -> ReportInput {
        let name = "core <b>&";
        let text = |n: usize| vec![Some(name); n];
        let mut tables: BTreeMap<String, Table> =
            PHYSIOLOGY_TABLES.iter().map(|name| ((*name).to_owned(), Table::new())).collect();
        let mut put = |table: &str, made: Table| tables.insert(table.to_owned(), made);
        put(
            "populations",
            Table::new()
                .text("population", text(1))
                .text("role", vec![Some("module")])
                .text("held_out", vec![Some("repeats")])
                .number("null_mean", [Some(0.21)])
                .number("chance", [Some(0.25)]),
        );
        put(
            "units",
            Table::new()
                .text("population", text(2))
                .text("unit", vec![Some("u0"), Some("</script>")])
                .text("stimulus", vec![Some("a"), None])
                .number("x", [Some(0.5), None]),
        );
        put(
            "paths",
            Table::new()
                .text("population", text(1))
                .text("stimulus", vec![Some("a")])
                .number("x", [Some(1.0)]),
        );
        put(
            "windows",
            Table::new()
                .text("population", text(2))
                .number("last_s", [Some(0.1), Some(0.2)])
                .number("accuracy", [Some(0.3), Some(0.8)])
                .number("sd", [Some(0.1), None]),
        );
        put(
            "tubularity",
            Table::new()
                .text("population", text(1))
                .text("score", vec![Some("tightness")])
                .number("mean", [Some(0.2)])
                .number("low", [Some(0.1)])
                .number("high", [Some(0.4)]),
        );
        put(
            "notes",
            Table::new()
                .text("population", vec![None::<&str>])
                .text("note", vec![Some("tubes are left out")]),
        );
        ReportInput {
            tables,
            manifest: json!({"name": "view", "simulated": "a toy", "truth": [{"quantity": "order", "planted": "a line", "recovered": "ρ = 0.97"}]}),
        }
    }

    #[test]
    fn the_page_holds_its_sections_and_no_name_breaks_out() {
        let page = render_physiology(&toy()).unwrap();
        for section in SECTIONS {
            assert!(page.contains(&format!("<section id=\"{}\"", section.id)), "{}", section.id);
        }
        for text in [
            "SIMULATED DATA",
            "ρ = 0.97",
            "tubes are left out",
            "0.2 (0.1 to 0.4)",
            "\"x\":[0.5,null]",
            "<td>repeats</td>",
            ">0.21</td>",
        ] {
            assert!(page.contains(text), "{text}");
        }
        assert!(!page.contains("core <b>") && page.matches("</script>").count() == 2);
        assert!(page.contains("core &lt;b&gt;&amp;"));
        // The curve: 0.1 s of 0.2 s is half way, and an accuracy of 0.8 a fifth from the top.
        assert!(page.contains("314.0,176.0 584.0,56.0"), "{page}");
        let mut without = toy();
        without.tables.remove("paths");
        assert!(render_physiology(&without).unwrap_err().to_string().contains("`paths`"));
    }
}
