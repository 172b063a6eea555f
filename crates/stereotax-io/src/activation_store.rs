//! Write the activations of one model row by row into a safetensors file, so that an interrupted run can go on.
//!
//! ```text
//! NAME                       appears when everything is in it, never before
//! .NAME.unfinished           header, and rows as far as they were computed
//! .NAME.progress             a digest of what is being computed, and how many rows are safe on the disk
//! ```
//!
//! Every layer is an array of stimuli × …, 32-bit floats, shallow to deep; the ids of the stimuli stand in the
//! header's metadata under `stimulus_id`, as a JSON list, beside what made the store. Rows are written at their final place, so that memory does
//! not grow with them. Source: the safetensors format description.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{IoError, IoErrorKind, Result};

/// The metadata key under which ids stand.
pub const IDS_KEY: &str = "stimulus_id";
/// How much work may be lost by a crash of the machine.
const SYNC_EVERY: Duration = Duration::from_secs(2);

/// One layer of a store that is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLayer {
    /// Its name in the file.
    pub name: String,
    /// Lengths of the axes behind the stimuli.
    pub row_shape: Vec<usize>,
}

impl StoredLayer {
    fn row_bytes(&self) -> u64 {
        4 * self.row_shape.iter().map(|&n| n as u64).product::<u64>()
    }
}

/// A store in the making.
#[derive(Debug)]
pub struct StoreWriter {
    target: PathBuf,
    file: File,
    digest: String,
    layers: Vec<StoredLayer>,
    /// First byte of each layer in the file.
    places: Vec<u64>,
    n_rows: usize,
    done: usize,
    synced: Instant,
}

#[derive(Serialize, Deserialize)]
struct Progress {
    digest: String,
    rows: usize,
}

impl StoreWriter {
    /// Begin a store of one row per id, or go on with an unfinished one of the same `digest`, ids and layers. `about`
    /// says what made it: keys and texts for the header's metadata.
    ///
    /// # Errors
    /// A folder that cannot be written to, a disk without room for the header.
    pub fn open(
        target: &Path,
        digest: &str,
        ids: &[String],
        layers: &[StoredLayer],
        about: &[(&str, &str)],
    ) -> Result<StoreWriter> {
        let (header, places, total) = header(target, ids, layers, about)?;
        let unfinished = beside(target, "unfinished");
        let fail = |e: std::io::Error| IoError::writing(target, "file", &e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&unfinished)
            .map_err(fail)?;
        let mut done = rows_done(target, digest).min(ids.len());
        let mut there = vec![0u8; header.len()];
        let same = file.metadata().map_err(fail)?.len() == total
            && file.read_exact(&mut there).is_ok()
            && there == header;
        if !same || done == 0 {
            done = 0;
            let _ = fs::remove_file(beside(target, "progress"));
            file.set_len(0).map_err(fail)?;
            file.seek(SeekFrom::Start(0)).map_err(fail)?;
            file.write_all(&header).map_err(fail)?;
            file.set_len(total).map_err(fail)?;
        }
        Ok(StoreWriter {
            target: target.to_owned(),
            file,
            digest: digest.to_owned(),
            layers: layers.to_vec(),
            places,
            n_rows: ids.len(),
            done,
            synced: Instant::now(),
        })
    }

    /// Rows that are in the file.
    pub fn rows_done(&self) -> usize {
        self.done
    }

    /// Append the next rows: of every layer, row after row.
    ///
    /// # Errors
    /// A disk that is full. What was written before stays.
    pub fn append(&mut self, n_rows: usize, layers: &[Vec<f32>]) -> Result<()> {
        let fits = layers.len() == self.layers.len()
            && self.done + n_rows <= self.n_rows
            && layers
                .iter()
                .zip(&self.layers)
                .all(|(v, l)| 4 * v.len() as u64 == n_rows as u64 * l.row_bytes());
        if !fits {
            return Err(IoError::shape(
                &self.target,
                "rows",
                format!(
                    "{} layers of their widths, {} rows at most",
                    self.layers.len(),
                    self.n_rows - self.done
                ),
                format!("{} layers, {n_rows} rows", layers.len()),
                "append whole rows of all layers",
            ));
        }
        let mut bytes = Vec::new();
        for ((values, layer), place) in layers.iter().zip(&self.layers).zip(&self.places) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|x| x.to_le_bytes()));
            let at = place + self.done as u64 * layer.row_bytes();
            self.file
                .seek(SeekFrom::Start(at))
                .and_then(|_| self.file.write_all(&bytes))
                .map_err(|e| IoError::writing(&self.target, &format!("layer `{}`", layer.name), &e))?;
        }
        self.done += n_rows;
        if self.synced.elapsed() > SYNC_EVERY { self.keep() } else { Ok(()) }
    }

    /// Make sure that the rows so far survive whatever comes.
    pub fn keep(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|e| IoError::writing(&self.target, "file", &e))?;
        let progress = Progress { digest: self.digest.clone(), rows: self.done };
        let text = serde_json::to_vec(&progress)
            .map_err(|e| IoError::writing(&self.target, "progress", &e.into()))?;
        crate::atomic::write_atomic(&beside(&self.target, "progress"), &text)?;
        self.synced = Instant::now();
        Ok(())
    }

    /// Give the complete file its name.
    ///
    /// # Errors
    /// Rows that are missing, a file that cannot be renamed.
    pub fn finish(self) -> Result<()> {
        if self.done != self.n_rows {
            return Err(IoError::shape(
                &self.target,
                "rows",
                format!("{}", self.n_rows),
                format!("{}", self.done),
                "append all rows first",
            ));
        }
        let fail = |e: std::io::Error| IoError::writing(&self.target, "file", &e);
        self.file.sync_all().map_err(fail)?;
        drop(self.file);
        fs::rename(beside(&self.target, "unfinished"), &self.target).map_err(fail)?;
        let _ = fs::remove_file(beside(&self.target, "progress"));
        Ok(())
    }
}

/// How many rows an interrupted run of this digest left; 0 if there is none.
fn rows_done(target: &Path, digest: &str) -> usize {
    let Ok(text) = fs::read(beside(target, "progress")) else { return 0 };
    match serde_json::from_slice::<Progress>(&text) {
        Ok(progress) if progress.digest == digest => progress.rows,
        _ => 0,
    }
}

/// The header's bytes, the place of each layer and the length of the file.
fn header(
    target: &Path,
    ids: &[String],
    layers: &[StoredLayer],
    about: &[(&str, &str)],
) -> Result<(Vec<u8>, Vec<u64>, u64)> {
    let mut seen = std::collections::HashSet::new();
    if let Some(twice) = layers.iter().find(|l| !seen.insert(&l.name)) {
        return Err(IoError::new(
            IoErrorKind::Duplicate,
            target,
            "layers",
            "every name once",
            format!("`{}` twice", twice.name),
            "leave one away",
        ));
    }
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let listed = serde_json::Value::from(ids.to_vec()).to_string();
    let mut text = format!("{{\"__metadata__\":{{\"{IDS_KEY}\":{}", quoted(&listed));
    for (key, value) in about {
        text.push_str(&format!(",{}:{}", quoted(key), quoted(value)));
    }
    text.push('}');
    let n_rows = ids.len();
    let (mut at, mut places) = (0u64, Vec::new());
    for layer in layers {
        let mut shape = vec![n_rows];
        shape.extend(&layer.row_shape);
        let end = at + n_rows as u64 * layer.row_bytes();
        text.push_str(&format!(
            ",{}:{{\"dtype\":\"F32\",\"shape\":{shape:?},\"data_offsets\":[{at},{end}]}}",
            quoted(&layer.name)
        ));
        places.push(at);
        at = end;
    }
    text.push('}');
    while text.len() % 8 != 0 {
        text.push(' ');
    }
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    let begin = bytes.len() as u64;
    places.iter_mut().for_each(|place| *place += begin);
    Ok((bytes, places, begin + at))
}

fn beside(target: &Path, ending: &str) -> PathBuf {
    let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    target.with_file_name(format!(".{name}.{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{ArrayFile, read_texts};

    fn layers() -> Vec<StoredLayer> {
        vec![
            StoredLayer { name: "a/b \"quoted\"".into(), row_shape: vec![2] },
            StoredLayer { name: "last".into(), row_shape: vec![2, 1] },
        ]
    }

    fn row(i: usize) -> [Vec<f32>; 2] {
        let x = i as f32;
        [vec![x, -x], vec![10.0 + x, 0.5 * x]]
    }

    #[test]
    fn an_interrupted_store_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("net.safetensors");
        let ids: Vec<String> = ["é", "b,c", "\"d\"", "e"].map(str::to_owned).to_vec();
        let mut writer =
            StoreWriter::open(&target, "d1", &ids, &layers(), &[("engine", "a \"b\" 1")]).unwrap();
        writer.append(1, &row(0)).unwrap();
        writer.append(1, &row(1)).unwrap();
        writer.keep().unwrap();
        // A row that was written and not made safe is computed again.
        writer.append(1, &row(7)).unwrap();
        drop(writer);
        assert!(!target.exists());
        let mut writer =
            StoreWriter::open(&target, "d1", &ids, &layers(), &[("engine", "a \"b\" 1")]).unwrap();
        assert_eq!(writer.rows_done(), 2);
        let both: Vec<Vec<f32>> = (0..2).map(|l| [row(2)[l].clone(), row(3)[l].clone()].concat()).collect();
        writer.append(2, &both).unwrap();
        assert!(writer.append(1, &row(4)).is_err());
        writer.finish().unwrap();
        let read = ArrayFile::open(&target, Some("a/b \"quoted\"")).unwrap();
        assert_eq!(read.read_all().unwrap(), [0.0, 0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0]);
        let read = ArrayFile::open(&target, Some("last")).unwrap();
        assert_eq!(read.shape(), [4, 2, 1]);
        assert_eq!(read.read_all().unwrap(), [10.0, 0.0, 11.0, 0.5, 12.0, 1.0, 13.0, 1.5]);
        assert_eq!(read_texts(&target, Some(IDS_KEY)).unwrap(), ids);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn other_settings_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("net.safetensors");
        let ids = vec!["a".to_owned(), "b".to_owned()];
        let mut writer =
            StoreWriter::open(&target, "d1", &ids, &layers(), &[("engine", "a \"b\" 1")]).unwrap();
        writer.append(1, &row(0)).unwrap();
        writer.keep().unwrap();
        drop(writer);
        let writer = StoreWriter::open(&target, "d2", &ids, &layers(), &[("engine", "a \"b\" 1")]).unwrap();
        assert_eq!(writer.rows_done(), 0);
        assert!(writer.finish().is_err());
        assert!(!target.exists());
    }
}
