//! Put tables into the page as JSON that no name in them can break out of.
//!
//! Columns of text are stored as levels and codes, numbers with every digit, infinities as the words
//! "inf" and "-inf". In the finished text `<`, `>`, `&` and the two line separators of JavaScript are
//! written as escapes, so the data cannot close their script element.

use serde_json::{Map, Value, json};
use stereotax_io::{Table, Values};

use crate::input::ReportInput;
use crate::schema::TABLES;

/// Tables that the page shows as pictures and does not hold.
const NOT_EMBEDDED: [&str; 4] = ["surface_vertices", "surface_faces", "volume_grids", "volume_runs"];

/// More rows than this of one table are not embedded: browsers slow down, and the file beside the
/// page holds them anyway.
pub(crate) const MAX_ROWS: usize = 120_000;

/// A table as the page offers it.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Offered {
    pub name: String,
    pub n_rows: usize,
    pub n_columns: usize,
    pub n_embedded: usize,
    pub note: String,
}

/// The tables of a page: as JSON and as a list of what is offered.
#[derive(Debug)]
pub(crate) struct Embedded {
    pub json: Map<String, Value>,
    pub offered: Vec<Offered>,
}

/// Embed every table, known ones first.
pub(crate) fn embed(input: &ReportInput) -> Embedded {
    let mut names: Vec<&str> =
        TABLES.iter().map(|t| t.name).filter(|n| input.tables.contains_key(*n)).collect();
    names.extend(input.tables.keys().map(String::as_str).filter(|n| TABLES.iter().all(|t| t.name != *n)));
    let mut json = Map::new();
    let mut offered = Vec::new();
    for name in names {
        let Some(table) = input.tables.get(name) else { continue };
        if NOT_EMBEDDED.contains(&name) {
            continue;
        }
        let (rows, note) = kept_rows(name, table);
        offered.push(Offered {
            name: name.to_owned(),
            n_rows: table.n_rows(),
            n_columns: table.columns().len(),
            n_embedded: rows.len(),
            note,
        });
        let columns: Vec<Value> = table.columns().iter().map(|c| column(&c.name, &c.values, &rows)).collect();
        json.insert(name.to_owned(), json!({ "n_rows": rows.len(), "columns": columns }));
    }
    Embedded { json, offered }
}

/// Which rows go into the page: all, or those of the average over subjects, or the first ones.
fn kept_rows(name: &str, table: &Table) -> (Vec<usize>, String) {
    let n = table.n_rows();
    if n <= MAX_ROWS {
        return ((0..n).collect(), String::new());
    }
    let (mut rows, mut note) = ((0..n).collect::<Vec<_>>(), String::new());
    if let Some(subjects) = table.texts("subject") {
        let of_mean: Vec<usize> = (0..n).filter(|&i| subjects[i].as_deref() == Some("(mean)")).collect();
        if !of_mean.is_empty() {
            rows = of_mean;
            note = "only the averages over subjects are in this page".into();
        }
    }
    if rows.len() > MAX_ROWS && (name == "encoding" || name == "similarity_distances") {
        // Layer after layer: the first rows would be the first layers of the first model.
        rows.clear();
        note = "too many rows for a page".into();
    }
    if rows.len() > MAX_ROWS {
        rows.truncate(MAX_ROWS);
        note = format!("only the first {MAX_ROWS} rows are in this page");
    }
    (rows, format!("{note}; the results folder holds all {n}"))
}

fn column(name: &str, values: &Values, rows: &[usize]) -> Value {
    match values {
        Values::Text(v) => {
            let mut levels: Vec<&str> = Vec::new();
            let mut index = std::collections::HashMap::new();
            let codes: Vec<i64> = rows
                .iter()
                .map(|&i| match v[i].as_deref() {
                    None => -1,
                    Some(text) => *index.entry(text).or_insert_with(|| {
                        levels.push(text);
                        levels.len() as i64 - 1
                    }),
                })
                .collect();
            json!({ "name": name, "type": "text", "levels": levels, "codes": codes })
        }
        Values::Number(v) => {
            let numbers: Vec<Value> = rows.iter().map(|&i| v[i].map_or(Value::Null, number)).collect();
            json!({ "name": name, "type": "number", "values": numbers })
        }
        Values::Integer(v) => {
            let numbers: Vec<Option<i64>> = rows.iter().map(|&i| v[i]).collect();
            json!({ "name": name, "type": "integer", "values": numbers })
        }
        Values::Flag(v) => {
            let flags: Vec<Option<bool>> = rows.iter().map(|&i| v[i]).collect();
            json!({ "name": name, "type": "flag", "values": flags })
        }
    }
}

fn number(x: f64) -> Value {
    if x.is_finite() {
        json!(x)
    } else if x.is_nan() {
        Value::Null
    } else {
        json!(if x > 0.0 { "inf" } else { "-inf" })
    }
}

/// JSON text that may stand inside a script element.
pub(crate) fn script_safe(value: &Value) -> String {
    let text = value.to_string();
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => safe.push_str("\\u003c"),
            '>' => safe.push_str("\\u003e"),
            '&' => safe.push_str("\\u0026"),
            '\u{2028}' => safe.push_str("\\u2028"),
            '\u{2029}' => safe.push_str("\\u2029"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_closes_the_script_element_and_the_data_survive() {
        let nasty = "</script><!--\"'&\u{2028}x";
        let value = json!({ nasty: [nasty, 1.5, null] });
        let text = script_safe(&value);
        assert!(!text.contains('<') && !text.contains('&') && !text.contains('\u{2028}'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn columns_keep_every_digit_and_infinities() {
        let x = 0.1 + 0.2;
        let values = Values::Number(vec![Some(x), None, Some(f64::NEG_INFINITY)]);
        let value = column("r", &values, &[0, 1, 2]);
        assert_eq!(value["values"][0].as_f64().unwrap().to_bits(), x.to_bits());
        assert!(value["values"][1].is_null());
        assert_eq!(value["values"][2], json!("-inf"));
    }

    #[test]
    fn text_is_stored_as_levels() {
        let values = Values::Text(vec![Some("b".into()), None, Some("a".into()), Some("b".into())]);
        let value = column("model", &values, &[0, 1, 2, 3]);
        assert_eq!(value["levels"], json!(["b", "a"]));
        assert_eq!(value["codes"], json!([0, -1, 1, 0]));
    }

    #[test]
    fn large_tables_keep_the_averages_and_say_so() {
        let n = MAX_ROWS + 10;
        let table = Table::new()
            .text("subject", (0..n).map(|i| Some(if i % 2 == 0 { "(mean)" } else { "s1" })))
            .integer("n", (0..n).map(|i| Some(i as i64)));
        let (rows, note) = kept_rows("scores", &table);
        assert_eq!(rows.len(), n / 2);
        assert_eq!(rows[1], 2);
        assert!(note.contains("averages over subjects") && note.contains(&n.to_string()), "{note}");
        let layers = Table::new().integer("n", (0..n).map(|i| Some(i as i64)));
        let (rows, note) = kept_rows("encoding", &layers);
        assert!(
            rows.is_empty() && note.starts_with("too many rows for a page; the results folder"),
            "{note}"
        );
        assert_eq!(kept_rows("scores", &layers).0.len(), MAX_ROWS);
    }
}
