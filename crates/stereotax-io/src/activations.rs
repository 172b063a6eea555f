//! Serve the layers of one model from files, pooled and in the study's order of stimuli.
//!
//! Rows are samples: the first axis of every array. Units are the **last** axis. Axes between the two
//! (tokens, time steps, places) are positions, which [`Pooling`] turns into one row per sample.
//! Arrays with channels first (samples × channels × height × width) must be transposed before, or
//! flattened. Memory: a few MB per reading thread, or one sample's row where that is larger.

use std::ops::Range;
use std::path::Path;

use stereotax_base::data::{LayerInfo, TileSource};

use crate::array::ArrayFile;
use crate::error::{IoError, IoErrorKind, Result};
use crate::npy::show_shape;
use crate::zarr::is_zarr;

/// Numbers read at once where rows have to be pooled or reordered.
const BLOCK: usize = 1 << 18;

/// What becomes of the axes between samples and units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The mean over positions.
    #[default]
    Mean,
    /// The first position: the class token of many transformers.
    First,
    /// The last position: the last token of a language model.
    Last,
    /// The largest value of each unit over positions.
    Max,
    /// No pooling: every position's units side by side, the last axis fastest.
    Flatten,
}

/// Layers in files, as a source of tiles.
#[derive(Debug)]
pub struct FileLayers {
    info: Vec<LayerInfo>,
    arrays: Vec<Layer>,
    pooling: Pooling,
    rows: Option<Vec<usize>>,
    n_samples: usize,
}

#[derive(Debug)]
struct Layer {
    array: ArrayFile,
    positions: usize,
    units: usize,
}

impl FileLayers {
    /// Open `layers`, shallow to deep.
    ///
    /// `path` is either a folder, in which layer `conv1` is the file `conv1.npy`, or an `.npz`,
    /// `.safetensors`, HDF5 or Zarr store, in which it is the array of that name. `rows` says which file row is
    /// the study's row 0, 1, … (`None`: the file's own order). Nothing but headers is read.
    ///
    /// # Errors
    /// A layer that is not there (with the nearest name), layers with different numbers of samples, a
    /// row beyond the file, types that cannot be read.
    pub fn open(
        path: &Path,
        layers: &[String],
        pooling: Pooling,
        rows: Option<Vec<usize>>,
    ) -> Result<FileLayers> {
        if layers.is_empty() {
            return Err(IoError::shape(
                path,
                "layers",
                "at least one layer name",
                "none",
                "name the layers, shallow to deep",
            ));
        }
        let mut opened: Vec<Layer> = Vec::with_capacity(layers.len());
        let folder = path.is_dir() && !is_zarr(path);
        for name in layers {
            let array = if folder { open_in_folder(path, name)? } else { ArrayFile::open(path, Some(name))? };
            let shape = array.shape();
            if shape.is_empty() {
                return Err(IoError::shape(
                    array.path(),
                    &format!("layer `{name}`"),
                    "samples × units",
                    show_shape(shape),
                    "save one row per stimulus",
                ));
            }
            if let Some(first) = opened.first()
                && first.array.n_rows() != shape[0]
            {
                return Err(IoError::shape(
                    array.path(),
                    &format!("layer `{name}`"),
                    format!("{} rows, as in layer `{}`", first.array.n_rows(), layers[0]),
                    format!("{} rows (shape {})", shape[0], show_shape(shape)),
                    "the first axis is samples; every layer must hold the same stimuli in the same order",
                ));
            }
            let units = if shape.len() > 1 { shape[shape.len() - 1] } else { 1 };
            let positions: usize =
                if shape.len() > 2 { shape[1..shape.len() - 1].iter().product() } else { 1 };
            if units == 0 || positions == 0 {
                return Err(IoError::shape(
                    array.path(),
                    &format!("layer `{name}`"),
                    "at least one unit and one position",
                    show_shape(shape),
                    "leave the layer away",
                ));
            }
            opened.push(Layer { array, positions, units });
        }
        let in_file = opened.first().map_or(0, |l| l.array.n_rows());
        if let Some(&row) = rows.iter().flatten().find(|&&row| row >= in_file) {
            return Err(IoError::shape(
                path,
                "row selection",
                format!("rows below {in_file}"),
                format!("row {row}"),
                "match the stimuli by name against the ids that belong to this file",
            ));
        }
        let info = layers
            .iter()
            .zip(&opened)
            .map(|(name, layer)| LayerInfo {
                name: name.clone(),
                width: if pooling == Pooling::Flatten { layer.positions * layer.units } else { layer.units },
                precision: layer.array.precision(),
            })
            .collect();
        let n_samples = rows.as_ref().map_or(in_file, Vec::len);
        Ok(FileLayers { info, arrays: opened, pooling, rows, n_samples })
    }

    /// Whether some layer is deflated, so that reading it out of order unpacks it again each time.
    pub fn is_sequential(&self) -> bool {
        self.arrays.iter().any(|l| l.array.is_sequential())
    }

    /// Read rows of one layer; as [`TileSource::read_rows`] with this crate's error.
    pub fn read(&self, layer: usize, rows: Range<usize>, out: &mut [f64]) -> Result<()> {
        let (info, source) = (&self.info[layer], &self.arrays[layer]);
        let count = rows.end.saturating_sub(rows.start);
        if rows.end > self.n_samples || out.len() != count * info.width {
            return Err(IoError::shape(
                source.array.path(),
                &format!("layer `{}`", info.name),
                format!("rows within 0..{} and room for {} numbers each", self.n_samples, info.width),
                format!("rows {}..{} and room for {} numbers", rows.start, rows.end, out.len()),
                "ask for rows that the layer has",
            ));
        }
        // (row in the file, row in `out`), ascending in the file.
        let mut wanted: Vec<(usize, usize)> = match &self.rows {
            Some(order) => order[rows.clone()].iter().copied().zip(0..).collect(),
            None => rows.clone().zip(0..).collect(),
        };
        wanted.sort_unstable();
        let in_row = source.array.row_len();
        let per_block = (BLOCK / in_row).max(1);
        let mut scratch = Vec::new();
        let mut next = 0;
        while next < wanted.len() {
            // A stretch of neighbouring file rows; a row that is wanted twice stays in it.
            let (first, mut end) = (wanted[next].0, next + 1);
            while end < wanted.len()
                && wanted[end].0 <= wanted[end - 1].0 + 1
                && wanted[end].0 - first < per_block
            {
                end += 1;
            }
            let last = wanted[end - 1].0;
            scratch.resize((last + 1 - first) * in_row, 0.0);
            source.array.read_rows(first..last + 1, &mut scratch)?;
            for &(file_row, out_row) in &wanted[next..end] {
                let row = &scratch[(file_row - first) * in_row..(file_row - first + 1) * in_row];
                let target = &mut out[out_row * info.width..(out_row + 1) * info.width];
                pool(self.pooling, row, source.units, target);
            }
            next = end;
        }
        self.refuse_non_finite(layer, &rows, out)
    }

    fn refuse_non_finite(&self, layer: usize, rows: &Range<usize>, out: &[f64]) -> Result<()> {
        let (info, source) = (&self.info[layer], &self.arrays[layer]);
        let Some(at) = out.iter().position(|x| !x.is_finite()) else { return Ok(()) };
        let count = out.iter().filter(|x| !x.is_finite()).count();
        let row = rows.start + at / info.width;
        let file_row = self.rows.as_ref().map_or(row, |order| order[row]);
        Err(IoError::new(
            IoErrorKind::NotFinite,
            source.array.path(),
            format!(
                "layer `{}`, row {file_row} of the file, unit {} (both from 0)",
                info.name,
                at % info.width
            ),
            "finite numbers",
            format!("{} (and {} more such values in the rows read)", out[at], count - 1),
            "numbers above 65504 overflow in half precision: save the layer as float32",
        ))
    }
}

impl TileSource for FileLayers {
    fn n_samples(&self) -> usize {
        self.n_samples
    }

    fn layers(&self) -> &[LayerInfo] {
        &self.info
    }

    fn read_rows(&self, layer: usize, rows: Range<usize>, out: &mut [f64]) -> stereotax_base::Result<()> {
        Ok(self.read(layer, rows, out)?)
    }
}

/// A layer's file in a folder, named with or without its ending.
fn open_in_folder(folder: &Path, name: &str) -> Result<ArrayFile> {
    let bare = name.strip_suffix(".npy").unwrap_or(name);
    let plain = !bare.is_empty() && !bare.contains(['/', '\\']) && bare != "..";
    let path = folder.join(format!("{bare}.npy"));
    if plain && path.is_file() {
        return ArrayFile::open(&path, None);
    }
    let entries = std::fs::read_dir(folder).map_err(|e| IoError::reading(folder, "folder", &e))?;
    let mut there: Vec<String> = entries
        .flatten()
        .filter_map(|e| e.file_name().to_string_lossy().strip_suffix(".npy").map(str::to_owned))
        .collect();
    there.sort();
    Err(IoError::no_such_key(folder, "layer", name, &there))
}

/// One sample's positions × units to its row.
fn pool(rule: Pooling, row: &[f64], units: usize, out: &mut [f64]) {
    let positions = row.len() / units;
    match rule {
        Pooling::Flatten => out.copy_from_slice(row),
        Pooling::First => out.copy_from_slice(&row[..units]),
        Pooling::Last => out.copy_from_slice(&row[(positions - 1) * units..]),
        Pooling::Mean => {
            out.copy_from_slice(&row[..units]);
            for position in row.chunks_exact(units).skip(1) {
                out.iter_mut().zip(position).for_each(|(o, x)| *o += x);
            }
            if positions > 1 {
                out.iter_mut().for_each(|o| *o /= positions as f64);
            }
        }
        Pooling::Max => {
            out.copy_from_slice(&row[..units]);
            for position in row.chunks_exact(units).skip(1) {
                // A NaN must not be passed over by the comparison.
                out.iter_mut().zip(position).for_each(|(o, x)| {
                    if *x > *o || x.is_nan() {
                        *o = *x;
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_by_hand() {
        // 3 positions × 2 units.
        let row = [1.0, -2.0, 4.0, 0.0, 1.0, 8.0];
        let pooled = |rule| {
            let mut out = vec![f64::NAN; if rule == Pooling::Flatten { 6 } else { 2 }];
            pool(rule, &row, 2, &mut out);
            out
        };
        assert_eq!(pooled(Pooling::Mean), [2.0, 2.0]);
        assert_eq!(pooled(Pooling::First), [1.0, -2.0]);
        assert_eq!(pooled(Pooling::Last), [1.0, 8.0]);
        assert_eq!(pooled(Pooling::Max), [4.0, 8.0]);
        assert_eq!(pooled(Pooling::Flatten), row);
        let mut out = [0.0];
        pool(Pooling::Max, &[3.0, f64::NAN, 1.0], 1, &mut out);
        assert!(out[0].is_nan());
    }
}
