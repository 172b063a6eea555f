//! Read the table of stimuli, and match rows of one file to those of another by id.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::delimited::{Delimited, refuse_duplicates};
use crate::error::{IoError, IoErrorKind, Result};
use crate::names;

/// The stimuli of a study, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct StimulusTable {
    /// Column `stimulus_id`: unique, never empty.
    pub ids: Vec<String>,
    /// Column `run`, where there is one.
    pub runs: Option<Vec<String>>,
    /// Column `onset_s`: seconds from the start of the run.
    pub onset_s: Option<Vec<f64>>,
    /// Column `duration_s`: seconds, not negative.
    pub duration_s: Option<Vec<f64>>,
    /// Line of the file (from 1) of each stimulus.
    pub lines: Vec<u64>,
    /// The file.
    pub path: PathBuf,
}

/// Read a CSV with the column `stimulus_id` and, for time series, `run`, `onset_s`, `duration_s`.
///
/// Other columns are left alone. An id that stands twice is refused with both lines.
pub fn read_stimuli(path: &Path) -> Result<StimulusTable> {
    let table = Delimited::read(path)?;
    let ids = table.names_of("stimulus_id")?;
    if ids.is_empty() {
        return Err(IoError::shape(
            path,
            "table",
            "at least one stimulus",
            "a header only",
            "one line per stimulus",
        ));
    }
    refuse_duplicates(&table, "stimulus_id", &ids)?;
    let runs = if table.has("run") { Some(table.names_of("run")?) } else { None };
    let seconds =
        |column: &str| if table.has(column) { table.finite_numbers(column).map(Some) } else { Ok(None) };
    let (onset_s, duration_s) = (seconds("onset_s")?, seconds("duration_s")?);
    if let Some(row) = duration_s.iter().flatten().position(|&d| d < 0.0) {
        return Err(IoError::new(
            IoErrorKind::WrongFormat,
            path,
            format!("line {}, column `duration_s`", table.line(row)),
            "seconds, 0 or more",
            "a negative number",
            "give the duration, not the end",
        ));
    }
    let lines = (0..table.n_rows()).map(|row| table.line(row)).collect();
    Ok(StimulusTable { ids, runs, onset_s, duration_s, lines, path: path.to_owned() })
}

/// Which row of the found file holds each wanted stimulus.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowMatch {
    /// For each wanted id that was found, in the wanted order: its row in the file.
    pub rows: Vec<usize>,
    /// Wanted ids that the file does not hold.
    pub missing: Vec<String>,
    /// Ids of the file that nobody wants.
    pub extra: Vec<String>,
}

impl RowMatch {
    /// The rows, if every wanted stimulus was found; otherwise an error that names the first ones
    /// missing and the nearest id there is.
    pub fn complete(self, file: &Path, found: &[String]) -> Result<Vec<usize>> {
        let Some(first) = self.missing.first() else { return Ok(self.rows) };
        let hint = match names::nearest(first, found.iter().map(String::as_str)) {
            Some(name) => {
                format!("the nearest id to `{first}` is `{name}`; ids must be spelt the same everywhere")
            }
            None => "give the file that belongs to these stimuli, or the ids of its rows".to_owned(),
        };
        let mut error = IoError::new(
            IoErrorKind::NoSuchKey,
            file,
            "stimulus ids",
            format!("all {} stimuli of the study", self.rows.len() + self.missing.len()),
            format!("{} missing: {}", self.missing.len(), names::list(&self.missing)),
            hint,
        );
        error.details.keys = found.to_vec();
        Err(error)
    }
}

/// Match by id. Where the file holds an id twice the first row is taken; check for duplicates before.
///
/// Cost: linear.
pub fn match_rows(wanted: &[String], found: &[String]) -> RowMatch {
    let mut place: HashMap<&str, usize> = HashMap::with_capacity(found.len());
    for (row, id) in found.iter().enumerate() {
        place.entry(id).or_insert(row);
    }
    let mut result = RowMatch::default();
    for id in wanted {
        match place.get(id.as_str()) {
            Some(&row) => result.rows.push(row),
            None => result.missing.push(id.clone()),
        }
    }
    let asked: std::collections::HashSet<&str> = wanted.iter().map(String::as_str).collect();
    result.extra = found.iter().filter(|id| !asked.contains(id.as_str())).cloned().collect();
    result
}

/// Take row i for stimulus i, which is right only where the user has said so; the counts must agree.
pub fn match_by_order(wanted: &[String], n_found: usize, file: &Path) -> Result<Vec<usize>> {
    if wanted.len() == n_found {
        return Ok((0..n_found).collect());
    }
    Err(IoError::shape(
        file,
        "rows",
        format!("{} rows, one per stimulus and in their order", wanted.len()),
        format!("{n_found} rows"),
        "give the file's stimulus ids, so that rows can be matched by name",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn matches_by_name_and_says_what_is_missing() {
        let m = match_rows(&ids(&["b", "x", "a"]), &ids(&["a", "b", "c"]));
        assert_eq!(m, RowMatch { rows: vec![1, 0], missing: ids(&["x"]), extra: ids(&["c"]) });
        let error = m.complete(Path::new("m.npz"), &ids(&["a", "b", "c"])).unwrap_err();
        assert_eq!(error.details.found, "1 missing: `x`");
        let whole = match_rows(&ids(&["b", "a"]), &ids(&["a", "b", "c"]));
        assert_eq!(whole.complete(Path::new("m.npz"), &ids(&["a", "b", "c"])).unwrap(), [1, 0]);
        assert_eq!(match_by_order(&ids(&["a", "b"]), 2, Path::new("m")).unwrap(), [0, 1]);
        assert!(match_by_order(&ids(&["a", "b"]), 3, Path::new("m")).is_err());
    }

    #[test]
    fn duplicate_ids_name_both_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stimuli.csv");
        std::fs::write(&path, "stimulus_id,run,onset_s,duration_s\n007,1,0,2\n008,1,2.5,2\n007,2,0,2\n")
            .unwrap();
        let error = read_stimuli(&path).unwrap_err();
        assert_eq!(error.kind, IoErrorKind::Duplicate);
        assert_eq!(error.details.found, "`007` in line 2 and in line 4");
        std::fs::write(&path, "stimulus_id,run,onset_s,duration_s\n007,1,0,2\n008,2,2.5,2\n").unwrap();
        let table = read_stimuli(&path).unwrap();
        assert_eq!(table.ids, ["007", "008"]);
        assert_eq!(table.runs.unwrap(), ["1", "2"]);
        assert_eq!(table.onset_s.unwrap(), [0.0, 2.5]);
        std::fs::write(&path, "stimulus,run\n007,1\n").unwrap();
        let error = read_stimuli(&path).unwrap_err();
        assert_eq!(error.kind, IoErrorKind::NoSuchKey);
        std::fs::write(&path, "stimulus_id,onset_s\na,1\nb,\n").unwrap();
        let error = read_stimuli(&path).unwrap_err();
        assert_eq!(
            (error.kind, error.details.what.as_str()),
            (IoErrorKind::NotFinite, "line 3, column `onset_s`")
        );
    }
}
