//! Read CSV with a header, so that every problem can be named by line and column.
//!
//! Comma-separated (`.tsv`: tab-separated), UTF-8, double quotes, one header line. Empty cells, `NA`,
//! `NaN` and `null` are undefined. Memory: the file's text.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::error::{IoError, IoErrorKind, Result};
use crate::table::{Table, Values};

/// Tables larger than this belong into a binary format.
const MAX_BYTES: u64 = 2 << 30;

/// The cells of a CSV file.
#[derive(Debug, Clone)]
pub struct Delimited {
    path: PathBuf,
    names: Vec<String>,
    cells: csv::StringRecord,
    lines: Vec<u64>,
}

impl Delimited {
    /// Read all cells; every line must have as many as the header, and no column name may repeat.
    pub fn read(path: &Path) -> Result<Delimited> {
        let meta = std::fs::metadata(path).map_err(|e| IoError::reading(path, "table", &e))?;
        if meta.len() > MAX_BYTES {
            return Err(IoError::too_large(
                path,
                "table",
                format!("at most {MAX_BYTES} bytes of text"),
                format!("{} bytes", meta.len()),
            ));
        }
        let tabs = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(if tabs { b'\t' } else { b',' })
            .trim(csv::Trim::All)
            .from_path(path)
            .map_err(|e| csv_error(path, &e))?;
        let names: Vec<String> =
            reader.headers().map_err(|e| csv_error(path, &e))?.iter().map(str::to_owned).collect();
        if names.is_empty() {
            return Err(IoError::wrong_format(path, "table", "a header line with column names", "nothing"));
        }
        let mut seen = HashSet::new();
        for (index, name) in names.iter().enumerate() {
            if !seen.insert(name.as_str()) {
                return Err(IoError::new(
                    IoErrorKind::Duplicate,
                    path,
                    format!("header, column {}", index + 1),
                    "every column name once",
                    format!("`{name}` twice"),
                    "rename one of the two columns",
                ));
            }
        }
        let (mut cells, mut lines) = (csv::StringRecord::new(), Vec::new());
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(|e| csv_error(path, &e))? {
            lines.push(record.position().map_or(0, csv::Position::line));
            cells.extend(record.iter());
        }
        Ok(Delimited { path: path.to_owned(), names, cells, lines })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The column names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Rows without the header.
    pub fn n_rows(&self) -> usize {
        self.lines.len()
    }

    /// In which line of the file (from 1) a row (from 0) begins.
    pub fn line(&self, row: usize) -> u64 {
        self.lines.get(row).copied().unwrap_or(0)
    }

    /// Whether there is a column of that name.
    pub fn has(&self, column: &str) -> bool {
        self.names.iter().any(|n| n == column)
    }

    /// Where a column stands; an unknown name lists those there are.
    pub fn position(&self, column: &str) -> Result<usize> {
        self.names
            .iter()
            .position(|n| n == column)
            .ok_or_else(|| IoError::no_such_key(&self.path, "column", column, &self.names))
    }

    /// One cell.
    pub fn cell(&self, row: usize, column: usize) -> &str {
        self.cells.get(row * self.names.len() + column).unwrap_or("")
    }

    /// A column as text, as it stands.
    pub fn texts(&self, column: &str) -> Result<Vec<String>> {
        let c = self.position(column)?;
        Ok((0..self.n_rows()).map(|r| self.cell(r, c).to_owned()).collect())
    }

    /// A column of text in which no cell is empty.
    pub fn names_of(&self, column: &str) -> Result<Vec<String>> {
        let texts = self.texts(column)?;
        if let Some(row) = texts.iter().position(String::is_empty) {
            return Err(IoError::new(
                IoErrorKind::WrongFormat,
                &self.path,
                format!("line {}, column `{column}`", self.line(row)),
                "a name",
                "an empty cell",
                "fill the cell or delete the line",
            ));
        }
        Ok(texts)
    }

    /// A column of numbers; undefined cells are NaN.
    pub fn numbers(&self, column: &str) -> Result<Vec<f64>> {
        let c = self.position(column)?;
        (0..self.n_rows()).map(|r| self.number(r, c)).collect()
    }

    /// A column of finite numbers.
    pub fn finite_numbers(&self, column: &str) -> Result<Vec<f64>> {
        let values = self.numbers(column)?;
        if let Some(row) = values.iter().position(|v| !v.is_finite()) {
            let c = self.position(column)?;
            return Err(IoError::new(
                IoErrorKind::NotFinite,
                &self.path,
                format!("line {}, column `{column}`", self.line(row)),
                "a number",
                format!("`{}`", self.cell(row, c)),
                "fill the cell or delete the line",
            ));
        }
        Ok(values)
    }

    /// All columns as numbers, row after row; undefined cells are NaN.
    pub fn matrix(&self) -> Result<Vec<f64>> {
        let width = self.names.len();
        let mut values = Vec::with_capacity(self.n_rows() * width);
        for row in 0..self.n_rows() {
            for column in 0..width {
                values.push(self.number(row, column)?);
            }
        }
        Ok(values)
    }

    fn number(&self, row: usize, column: usize) -> Result<f64> {
        let cell = self.cell(row, column);
        if is_undefined(cell) {
            return Ok(f64::NAN);
        }
        cell.parse().map_err(|_| {
            IoError::new(
                IoErrorKind::Dtype,
                &self.path,
                format!("line {}, column `{}`", self.line(row), self.names[column]),
                "a number",
                format!("`{}`", cell.chars().take(40).collect::<String>()),
                "decimal points are written `.`; leave the cell empty where there is no value",
            )
        })
    }

    /// The whole as a [`Table`], each column of the narrowest type that holds all its cells: flags
    /// (true/false), whole numbers, numbers, text. A column without any value is text.
    pub fn to_table(&self) -> Table {
        let mut table = Table::new();
        for (c, name) in self.names.iter().enumerate() {
            let column: Vec<Option<&str>> = (0..self.n_rows())
                .map(|r| Some(self.cell(r, c)).filter(|cell| !is_undefined(cell)))
                .collect();
            table = table.with(name, narrowest(&column));
        }
        table
    }
}

fn narrowest(column: &[Option<&str>]) -> Values {
    fn all<'a, T>(
        column: &[Option<&'a str>],
        parse: impl Fn(&'a str) -> Option<T>,
    ) -> Option<Vec<Option<T>>> {
        column.iter().map(|cell| cell.map_or(Some(None), |c| parse(c).map(Some))).collect()
    }
    let text = || Values::Text(column.iter().map(|c| c.map(str::to_owned)).collect());
    if column.iter().all(Option::is_none) {
        return text();
    }
    let flag = |c: &str| match c {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    };
    if let Some(values) = all(column, flag) {
        return Values::Flag(values);
    }
    // `007` is a name, not a number.
    let padded =
        column.iter().flatten().any(|c| c.len() > 1 && c.starts_with('0') && !c.contains(['.', 'e', 'E']));
    if padded {
        return text();
    }
    if let Some(values) = all(column, |c| c.parse::<i64>().ok()) {
        return Values::Integer(values);
    }
    match all(column, |c| c.parse::<f64>().ok()) {
        Some(values) => Values::Number(values),
        None => text(),
    }
}

/// What counts as an undefined cell.
pub(crate) fn is_undefined(cell: &str) -> bool {
    matches!(cell, "" | "NA" | "NaN" | "nan" | "null" | "None")
}

fn csv_error(path: &Path, error: &csv::Error) -> IoError {
    let line = error.position().map_or_else(|| "table".to_owned(), |p| format!("line {}", p.line()));
    match error.kind() {
        csv::ErrorKind::Io(e) => IoError::reading(path, "table", e),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => IoError::wrong_format(
            path,
            &line,
            format!("{expected_len} cells, as in the header"),
            format!("{len}"),
        ),
        csv::ErrorKind::Utf8 { .. } => IoError::wrong_format(path, &line, "text in UTF-8", "other bytes"),
        other => IoError::wrong_format(path, &line, "comma-separated text", format!("{other:?}")),
    }
}

/// Read a CSV file as a table; see [`Delimited::to_table`] for the types.
pub fn read_csv(path: &Path) -> Result<Table> {
    Ok(Delimited::read(path)?.to_table())
}

/// Refuse a name that stands twice in a column, naming both lines.
pub(crate) fn refuse_duplicates(table: &Delimited, column: &str, entries: &[String]) -> Result<()> {
    let mut first: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
    for (row, name) in entries.iter().enumerate() {
        if let Some(&before) = first.get(name.as_str()) {
            return Err(IoError::new(
                IoErrorKind::Duplicate,
                table.path(),
                format!("column `{column}`"),
                "every id once",
                format!("`{name}` in line {} and in line {}", table.line(before), table.line(row)),
                "give each its own id",
            ));
        }
        first.insert(name, row);
    }
    Ok(())
}
