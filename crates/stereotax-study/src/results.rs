//! Write `DIR/results/` last, whole and sorted, and read it back.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use stereotax_io::{
    Table, read_parquet, recover_folder, stage_folder, swap_folder, write_atomic, write_parquet,
};

use crate::error::StudyError;

/// Replace `DIR/results/` by these tables and this manifest: all of them, or none.
pub(crate) fn write(
    out: &Path,
    tables: &BTreeMap<String, Table>,
    manifest: &Value,
) -> Result<(), StudyError> {
    let target = out.join("results");
    let staged = stage_folder(&target)?;
    for (name, table) in tables {
        write_parquet(table, &staged.join(format!("{name}.parquet")))?;
    }
    let mut text = serde_json::to_string_pretty(manifest)
        .map_err(|e| StudyError::Internal { what: format!("study.json cannot be written: {e}") })?;
    text.push('\n');
    write_atomic(&staged.join("study.json"), text.as_bytes())?;
    Ok(swap_folder(&staged, &target)?)
}

/// The tables by name, and the manifest, of a finished run.
///
/// Errors: no finished results in `out`.
pub fn read(out: &Path) -> Result<(BTreeMap<String, Table>, Value), StudyError> {
    let folder = out.join("results");
    recover_folder(&folder)?;
    let unfinished = || StudyError::Input {
        what: format!("`{}` holds no finished results", out.display()),
        hint: "finish the run first: stereotax run study.toml --out …".into(),
    };
    let text = std::fs::read_to_string(folder.join("study.json")).map_err(|_| unfinished())?;
    let manifest = serde_json::from_str(&text).map_err(|_| unfinished())?;
    let mut tables = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).map_err(|_| unfinished())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".parquet") {
            tables.insert(name.to_owned(), read_parquet(&entry.path())?);
        }
    }
    Ok((tables, manifest))
}

/// Add fields to the manifest of finished results, such as what was planted.
pub fn annotate(out: &Path, fields: serde_json::Map<String, Value>) -> Result<(), StudyError> {
    let (tables, mut manifest) = read(out)?;
    if let Some(known) = manifest.as_object_mut() {
        known.extend(fields);
    }
    write(out, &tables, &manifest)
}
