//! The trait through which data larger than memory come in, and its in-memory implementation.

use std::ops::Range;

use faer::MatRef;

use super::error::{Error, Result};

/// In which precision a source holds its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// IEEE half: 11 significant bits.
    F16,
    /// bfloat16: 8 significant bits.
    Bf16,
    /// IEEE single: 24 significant bits.
    F32,
    /// IEEE double: 53 significant bits.
    F64,
}

impl Precision {
    /// Unit round-off step of the format: the gap between 1 and the next number.
    pub fn epsilon(self) -> f64 {
        match self {
            Precision::F16 => 2f64.powi(-10),
            Precision::Bf16 => 2f64.powi(-7),
            Precision::F32 => f64::from(f32::EPSILON),
            Precision::F64 => f64::EPSILON,
        }
    }

    /// Bytes per number.
    pub fn bytes(self) -> usize {
        match self {
            Precision::F16 | Precision::Bf16 => 2,
            Precision::F32 => 4,
            Precision::F64 => 8,
        }
    }
}

/// What is known of a layer before any of its numbers is read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LayerInfo {
    /// The name the study uses.
    pub name: String,
    /// Units per sample, after pooling.
    pub width: usize,
    /// Format of the numbers at rest.
    pub precision: Precision,
}

/// Layer-wise activations of one model, readable by ranges of rows.
///
/// Rows are samples in the study's order and the same in every layer. Implementations may read from
/// files, so every call can fail; they must be callable from several threads and must not keep more
/// than a fixed number of bytes of their own.
pub trait TileSource: Sync {
    /// Samples (rows) in every layer.
    fn n_samples(&self) -> usize;

    /// The layers, shallow to deep.
    fn layers(&self) -> &[LayerInfo];

    /// Write rows `rows` of layer `layer` into `out`, row after row (`rows.len() × width`).
    fn read_rows(&self, layer: usize, rows: Range<usize>, out: &mut [f64]) -> Result<()>;

    /// The coarsest precision among the layers: what the numbers can be trusted to.
    fn epsilon(&self) -> f64 {
        self.layers().iter().map(|l| l.precision.epsilon()).fold(f64::EPSILON, f64::max)
    }
}

/// Layers that are already in memory.
#[derive(Debug, Clone)]
pub struct LayerArrays<'a> {
    info: Vec<LayerInfo>,
    arrays: Vec<MatRef<'a, f64>>,
    n_samples: usize,
}

impl<'a> LayerArrays<'a> {
    /// Wrap matrices (samples × units), shallow to deep; all must have the same number of rows.
    pub fn new(names: &[String], arrays: Vec<MatRef<'a, f64>>) -> Result<Self> {
        let n_samples = arrays.first().map_or(0, |a| a.nrows());
        if names.len() != arrays.len() {
            return Err(Error::Shape {
                what: "names".into(),
                expected: format!("{} names (one per layer)", arrays.len()),
                found: format!("{} names", names.len()),
                hint: "name every layer once".into(),
            });
        }
        for (name, array) in names.iter().zip(&arrays) {
            if array.nrows() != n_samples {
                return Err(Error::Shape {
                    what: name.clone(),
                    expected: format!("{n_samples} rows (as in layer `{}`)", names[0]),
                    found: format!("{} rows", array.nrows()),
                    hint: "every layer must hold the same samples in the same order".into(),
                });
            }
        }
        let info = names
            .iter()
            .zip(&arrays)
            .map(|(name, a)| LayerInfo { name: name.clone(), width: a.ncols(), precision: Precision::F64 })
            .collect();
        Ok(LayerArrays { info, arrays, n_samples })
    }
}

/// Rows that are copied together, so that matrices stored column after column are read by the cache line.
const ROW_BLOCK: usize = 16;

impl TileSource for LayerArrays<'_> {
    fn n_samples(&self) -> usize {
        self.n_samples
    }

    fn layers(&self) -> &[LayerInfo] {
        &self.info
    }

    fn read_rows(&self, layer: usize, rows: Range<usize>, out: &mut [f64]) -> Result<()> {
        let array = self.arrays[layer].subrows(rows.start, rows.len());
        let width = array.ncols();
        for (block, lines) in out.chunks_mut((ROW_BLOCK * width).max(1)).enumerate() {
            let from = block * ROW_BLOCK;
            if width > 0 && array.col_stride() == 1 {
                for (row, line) in lines.chunks_exact_mut(width).enumerate() {
                    line.iter_mut().zip(array.row(from + row).iter()).for_each(|(value, x)| *value = *x);
                }
                continue;
            }
            for column in 0..width {
                let values = array.col(column).subrows(from, lines.len() / width);
                for (row, x) in values.iter().enumerate() {
                    lines[row * width + column] = *x;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use faer::Mat;

    use super::*;

    #[test]
    fn rows_come_out_alike_however_the_matrix_is_stored() {
        // 40 rows are two blocks and a half; the range begins inside the first.
        let value = |row: usize, column: usize| (100 * row + column) as f64;
        let by_column = Mat::from_fn(40, 3, value);
        let by_row = Mat::from_fn(3, 40, |column, row| value(row, column));
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let source = LayerArrays::new(
            &names,
            vec![by_column.as_ref(), by_row.transpose(), by_column.as_ref().reverse_rows()],
        )
        .unwrap();
        for (layer, rows) in [(0, 5..40), (1, 5..40), (2, 0..35), (0, 7..7), (1, 39..40)] {
            let mut out = vec![f64::NAN; rows.len() * 3];
            source.read_rows(layer, rows.clone(), &mut out).unwrap();
            for (at, x) in out.iter().enumerate() {
                let row = rows.start + at / 3;
                let row = if layer == 2 { 39 - row } else { row };
                assert_eq!(*x, value(row, at % 3), "layer {layer}");
            }
        }
    }
}
