//! Read the layers a second time and form weighted sums of them: the representations of all folds.
//!
//! S_o = Σ_l c_{ol} · H_l for every wanted output o (n × K each). One pass over the data serves all
//! outputs at once, since per tile it is a product (outputs × L) · (L × tile). Cost: 2 · n · K · L ·
//! outputs flops; memory: the outputs, and per thread one tile of all layers and one of all outputs.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::data::{Error, Monitor, Result, TileSource};
use crate::encoding::RandomProjection;

/// Numbers per layer in a tile; fixed, so that no setting changes the order of sums.
const TILE: usize = 2048;

/// A representation: samples × units, row after row.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    values: Vec<f64>,
    n_samples: usize,
    width: usize,
}

impl Features {
    /// View as a matrix (samples × units).
    pub fn view(&self) -> MatRef<'_, f64> {
        MatRef::from_row_major_slice(&self.values, self.n_samples, self.width)
    }

    /// From a matrix (samples × units).
    pub fn from_matrix(matrix: MatRef<f64>) -> Self {
        let (n_samples, width) = (matrix.nrows(), matrix.ncols());
        let values = (0..n_samples).flat_map(|i| (0..width).map(move |j| matrix[(i, j)])).collect();
        Features { values, n_samples, width }
    }

    /// Several features of the same samples, side by side.
    pub fn beside(parts: &[Features]) -> Self {
        let n_samples = parts.first().map_or(0, |part| part.n_samples);
        let width = parts.iter().map(|part| part.width).sum();
        let mut values = Vec::with_capacity(n_samples * width);
        for row in 0..n_samples {
            for part in parts {
                values.extend_from_slice(&part.values[row * part.width..(row + 1) * part.width]);
            }
        }
        Features { values, n_samples, width }
    }

    /// Bytes it holds.
    pub fn bytes(n_samples: usize, width: usize) -> usize {
        8 * n_samples * width
    }
}

/// Form Σ_l coefficients[(o, l)] · H_l for every row o of `coefficients`; all layers must be as wide.
pub fn weighted_sums(
    source: &dyn TileSource,
    coefficients: MatRef<f64>,
    monitor: &Monitor,
) -> Result<Vec<Features>> {
    let layers = source.layers();
    let width = layers.first().map_or(0, |l| l.width);
    if let Some(other) = layers.iter().find(|l| l.width != width) {
        return Err(Error::Shape {
            what: other.name.clone(),
            expected: format!("{width} units (as in layer `{}`)", layers[0].name),
            found: format!("{} units", other.width),
            hint: "layers of unequal width have no weighted sum; choose a layer map".into(),
        });
    }
    let (n_samples, n_outputs) = (source.n_samples(), coefficients.nrows());
    let rows = (TILE / width.max(1)).max(1);
    let mut values: Vec<Vec<f64>> = (0..n_outputs).map(|_| vec![0.0; n_samples * width]).collect();
    // One bundle per tile: that stretch of every output.
    let mut bundles: Vec<Vec<&mut [f64]>> =
        (0..n_samples.div_ceil(rows)).map(|_| Vec::with_capacity(n_outputs)).collect();
    for output in &mut values {
        for (bundle, stretch) in bundles.iter_mut().zip(output.chunks_mut(rows * width)) {
            bundle.push(stretch);
        }
    }
    bundles.into_par_iter().enumerate().try_for_each(|(tile_idx, bundle)| {
        monitor.check()?;
        let from = tile_idx * rows;
        let to = (from + rows).min(n_samples);
        let size = (to - from) * width;
        let mut tile = Mat::<f64>::zeros(size, layers.len());
        let mut buffer = vec![0.0; size];
        for layer in 0..layers.len() {
            source.read_rows(layer, from..to, &mut buffer)?;
            tile.col_mut(layer).iter_mut().zip(&buffer).for_each(|(to, from)| *to = *from);
        }
        for (output, stretch) in bundle.into_iter().enumerate() {
            let to = MatMut::from_column_major_slice_mut(stretch, size, 1);
            let weights = coefficients.get(output..output + 1, ..).transpose();
            matmul(to, Accum::Replace, tile.as_ref(), weights, 1.0, Par::Seq);
        }
        Ok(())
    })?;
    Ok(values.into_iter().map(|values| Features { values, n_samples, width }).collect())
}

/// One layer as it is.
pub fn single_layer(source: &dyn TileSource, layer: usize) -> Result<Features> {
    let (n_samples, width) = (source.n_samples(), source.layers()[layer].width);
    let mut values = vec![0.0; n_samples * width];
    source.read_rows(layer, 0..n_samples, &mut values)?;
    Ok(Features { values, n_samples, width })
}

/// Bytes of rows that are projected at a time.
const PROJECTED_AT_ONCE: usize = 64 << 20;

/// One layer on random directions, a few rows of the layer at a time.
pub fn projected_layer(
    source: &dyn TileSource,
    layer: usize,
    projection: &RandomProjection,
    monitor: &Monitor,
) -> Result<Features> {
    let (n_samples, width) = (source.n_samples(), source.layers()[layer].width);
    let at_once = (PROJECTED_AT_ONCE / (8 * width.max(1))).max(1);
    let mut values = Vec::with_capacity(n_samples * projection.n_components());
    let mut buffer = vec![0.0; at_once.min(n_samples) * width];
    for from in (0..n_samples).step_by(at_once) {
        let to = n_samples.min(from + at_once);
        let rows = &mut buffer[..(to - from) * width];
        source.read_rows(layer, from..to, rows)?;
        values.extend(projection.project(MatRef::from_row_major_slice(rows, to - from, width), monitor)?);
    }
    Ok(Features { values, n_samples, width: projection.n_components() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::LayerArrays;
    use crate::stats::rng::Stream;

    #[test]
    fn sums_are_the_sums_and_their_bits_do_not_depend_on_threads() {
        let mut stream = Stream::new(1, "represent", 0);
        let layers: Vec<Mat<f64>> = (0..4).map(|_| Mat::from_fn(301, 97, |_, _| stream.normal())).collect();
        let names: Vec<String> = (0..4).map(|l| format!("layer {l}")).collect();
        let source = LayerArrays::new(&names, layers.iter().map(|l| l.as_ref()).collect()).unwrap();
        let weights = Mat::from_fn(3, 4, |o, l| (o as f64 - 1.0) * 0.5 + l as f64);
        let in_pool = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| weighted_sums(&source, weights.as_ref(), &Monitor::silent()).unwrap())
        };
        let found = in_pool(1);
        assert_eq!(found, in_pool(2));
        assert_eq!(found, in_pool(8));
        for o in 0..3 {
            for (i, j) in [(0, 0), (100, 50), (300, 96)] {
                let by_hand: f64 = (0..4).map(|l| weights[(o, l)] * layers[l][(i, j)]).sum();
                assert!((found[o].view()[(i, j)] - by_hand).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn unequal_widths_are_refused_by_name() {
        let (a, b) = (Mat::<f64>::zeros(5, 3), Mat::<f64>::zeros(5, 4));
        let names = ["wide".to_owned(), "wider".to_owned()];
        let source = LayerArrays::new(&names, vec![a.as_ref(), b.as_ref()]).unwrap();
        let refused = weighted_sums(&source, Mat::full(1, 2, 1.0).as_ref(), &Monitor::silent()).unwrap_err();
        assert!(refused.to_string().contains("`wider` has 4 units"), "{refused}");
    }
}
