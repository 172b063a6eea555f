//! The input of a report and a view of its rows.

use std::collections::BTreeMap;

use serde_json::Value;
use stereotax_io::{Table, Values};

use crate::error::ReportError;
use crate::schema;

/// What a report is made from.
#[derive(Debug, Clone, Default)]
pub struct ReportInput {
    /// The result tables by name without ending ("models", "scores", …), as docs/reference/results.md
    /// lists them. Only `models` must be there; a section whose table is missing says so. Tables of
    /// other names are offered for download.
    pub tables: BTreeMap<String, Table>,
    /// The content of `study.json`: name, question (optional), version, preset, seed, settings,
    /// inputs, warnings, references, simulation; also truth (a list of planted against recovered), where
    /// it is known. Every field is optional.
    pub manifest: Value,
}

impl ReportInput {
    /// Check types of columns and manifest before anything is laid out.
    pub(crate) fn check(&self) -> Result<(), ReportError> {
        if !self.tables.contains_key("models") {
            return Err(ReportError::MissingTable { table: "models" });
        }
        for (name, table) in &self.tables {
            schema::check(name, table)?;
        }
        let found = match &self.manifest {
            Value::Object(_) => return Ok(()),
            Value::Null => "nothing",
            Value::Bool(_) => "a flag",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "a list",
        };
        Err(ReportError::Manifest { found })
    }

    /// The rows of a table; none where there is no such table.
    pub(crate) fn rows(&self, table: &str) -> impl Iterator<Item = Row<'_>> {
        let table = self.tables.get(table);
        let n = table.map_or(0, Table::n_rows);
        (0..n).filter_map(move |index| table.map(|table| Row { table, index }))
    }

    /// The distinct values of a text column in order of first appearance.
    pub(crate) fn distinct(&self, table: &str, column: &str) -> Vec<String> {
        let mut seen = std::collections::HashSet::new();
        self.rows(table)
            .filter_map(|r| r.text(column))
            .filter(|v| seen.insert(v.to_string()))
            .map(str::to_owned)
            .collect()
    }
}

/// One row of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    table: &'a Table,
    index: usize,
}

impl<'a> Row<'a> {
    /// Text; `None` where undefined, empty, missing, or of another type.
    pub fn text(&self, column: &str) -> Option<&'a str> {
        match self.table.column(column)? {
            Values::Text(v) => v.get(self.index)?.as_deref().filter(|s| !s.is_empty()),
            _ => None,
        }
    }

    /// A number or whole number.
    pub fn number(&self, column: &str) -> Option<f64> {
        match self.table.column(column)? {
            Values::Number(v) => *v.get(self.index)?,
            Values::Integer(v) => v.get(self.index)?.map(|x| x as f64),
            _ => None,
        }
    }

    /// A flag; the words true/false and yes/no count as flags.
    pub fn flag(&self, column: &str) -> Option<bool> {
        match self.table.column(column)? {
            Values::Flag(v) => *v.get(self.index)?,
            Values::Integer(v) => v.get(self.index)?.map(|x| x != 0),
            Values::Text(v) => match v.get(self.index)?.as_deref()? {
                "true" | "yes" => Some(true),
                "false" | "no" => Some(false),
                _ => None,
            },
            Values::Number(_) => None,
        }
    }

    /// Whatever stands there, as text; flags are yes and no.
    pub fn shown(&self, column: &str) -> Option<String> {
        match self.table.column(column)? {
            Values::Text(_) => self.text(column).map(str::to_owned),
            Values::Number(_) => self.number(column).map(|x| crate::cells::number(x, 4)),
            Values::Integer(v) => v.get(self.index)?.map(|x| x.to_string()),
            Values::Flag(v) => v.get(self.index)?.map(|x| if x { "yes" } else { "no" }.to_owned()),
        }
    }

    /// Why something in this row is undefined; `None` where the status is `ok`.
    pub fn reason(&self) -> Option<&'a str> {
        self.text("status").filter(|s| *s != "ok")
    }
}

/// Look a key up in an object and in the objects inside it, outer ones first.
pub(crate) fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    object.get(key).or_else(|| object.values().find_map(|inner| find(inner, key)))
}
