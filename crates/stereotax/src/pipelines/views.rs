//! See the layers of a source otherwise: in another order, with samples of unit length, on another clock.

use std::ops::Range;

use crate::data::{LayerInfo, Result, TileSource};
use crate::signal::Resampling;

/// The layers of a source in another order; layers may be left out.
pub(super) struct Reordered<'a> {
    source: &'a dyn TileSource,
    order: &'a [usize],
    info: Vec<LayerInfo>,
}

impl<'a> Reordered<'a> {
    pub(super) fn new(source: &'a dyn TileSource, order: &'a [usize]) -> Self {
        let info = order.iter().map(|&l| source.layers()[l].clone()).collect();
        Reordered { source, order, info }
    }
}

impl TileSource for Reordered<'_> {
    fn n_samples(&self) -> usize {
        self.source.n_samples()
    }

    fn layers(&self) -> &[LayerInfo] {
        &self.info
    }

    fn read_rows(&self, layer: usize, rows: Range<usize>, out: &mut [f64]) -> Result<()> {
        self.source.read_rows(self.order[layer], rows, out)
    }
}

/// Every sample of every layer divided by its length; a sample of length 0 stays 0.
///
/// What `Scaling::UnitSample` means for a representation, as it does for the moments (specs: nfas-dmd
/// 3.4).
pub(super) struct UnitSamples<'a>(pub(super) &'a dyn TileSource);

impl TileSource for UnitSamples<'_> {
    fn n_samples(&self) -> usize {
        self.0.n_samples()
    }

    fn layers(&self) -> &[LayerInfo] {
        self.0.layers()
    }

    fn read_rows(&self, layer: usize, rows: Range<usize>, out: &mut [f64]) -> Result<()> {
        self.0.read_rows(layer, rows, out)?;
        for sample in out.chunks_exact_mut(self.0.layers()[layer].width.max(1)) {
            let length = sample.iter().map(|x| x * x).sum::<f64>().sqrt();
            if length > 0.0 {
                sample.iter_mut().for_each(|x| *x /= length);
            }
        }
        Ok(())
    }
}

/// Layers of events on the clock of the responses: one row per volume.
#[derive(Clone, Copy)]
pub struct Resampled<'a> {
    source: &'a dyn TileSource,
    map: &'a Resampling,
}

/// Numbers of events that are read at once.
const EVENT_TILE: usize = 1 << 18;

impl<'a> Resampled<'a> {
    /// `map` must be one of the source's samples.
    pub fn new(source: &'a dyn TileSource, map: &'a Resampling) -> Self {
        Resampled { source, map }
    }
}

impl std::fmt::Debug for Resampled<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resampled").field("n_samples", &self.map.n_new()).finish_non_exhaustive()
    }
}

impl TileSource for Resampled<'_> {
    fn n_samples(&self) -> usize {
        self.map.n_new()
    }

    fn layers(&self) -> &[LayerInfo] {
        self.source.layers()
    }

    fn read_rows(&self, layer: usize, rows: Range<usize>, out: &mut [f64]) -> Result<()> {
        let width = self.source.layers()[layer].width.max(1);
        out.fill(0.0);
        let wanted: Vec<&[(usize, f64)]> = rows.map(|row| self.map.row(row)).collect();
        let Some(first) = wanted.iter().filter_map(|row| row.first()).map(|(old, _)| *old).min() else {
            return Ok(());
        };
        let end = wanted.iter().filter_map(|row| row.last()).map(|(old, _)| old + 1).max().unwrap_or(first);
        let per_tile = (EVENT_TILE / width).max(1);
        let mut tile = vec![0.0; per_tile.min(end - first) * width];
        // Events enter every sum in their order, wherever tiles begin.
        for from in (first..end).step_by(per_tile) {
            let to = (from + per_tile).min(end);
            let tile = &mut tile[..(to - from) * width];
            self.source.read_rows(layer, from..to, tile)?;
            for (row, line) in wanted.iter().zip(out.chunks_exact_mut(width)) {
                let start = row.partition_point(|(old, _)| *old < from);
                for &(old, weight) in row[start..].iter().take_while(|(old, _)| *old < to) {
                    let event = &tile[(old - from) * width..(old - from + 1) * width];
                    line.iter_mut().zip(event).for_each(|(sum, x)| *sum += weight * x);
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
    use crate::data::{LayerArrays, Monitor};
    use crate::pipelines::weighted_sums;
    use crate::signal::LanczosParams;
    use crate::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(19, "adapt tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn with_source<T>(layers: &[Mat<f64>], then: impl FnOnce(&dyn TileSource) -> T) -> T {
        let names: Vec<String> = (0..layers.len()).map(|l| format!("layer {l}")).collect();
        then(&LayerArrays::new(&names, layers.iter().map(|h| h.as_ref()).collect()).unwrap())
    }

    fn read(source: &dyn TileSource, layer: usize, rows: Range<usize>) -> Mat<f64> {
        let width = source.layers()[layer].width;
        let mut out = vec![f64::NAN; rows.len() * width];
        source.read_rows(layer, rows.clone(), &mut out).unwrap();
        Mat::from_fn(rows.len(), width, |i, j| out[i * width + j])
    }

    #[test]
    fn resampling_the_layers_and_resampling_their_sum_are_the_same() {
        // 3000 words of 200 units: more than one tile of events.
        let layers: Vec<Mat<f64>> = (0..3).map(|l| noise(3000, 200, l)).collect();
        let mut stream = Stream::new(19, "adapt tests: times", 0);
        let mut now = 0.0;
        let times: Vec<f64> = (0..3000)
            .map(|_| {
                now += 0.1 + 0.4 * stream.uniform();
                now
            })
            .collect();
        let middles: Vec<f64> = (0..400).map(|i| 2.0 * i as f64 + 1.0).collect();
        let map = Resampling::lanczos(&times, &middles, &LanczosParams::default()).unwrap();
        with_source(&layers, |events| {
            let volumes = Resampled::new(events, &map);
            assert_eq!(volumes.n_samples(), 400);
            for rows in [0..400, 37..38, 100..350] {
                let direct = map.apply(layers[1].as_ref()).unwrap();
                let found = read(&volumes, 1, rows.clone());
                assert!((found - direct.subrows(rows.start, rows.len())).norm_max() < 1e-11);
            }
            let weights = Mat::from_fn(1, 3, |_, l| [0.7, -0.2, 0.5][l]);
            let silent = Monitor::silent();
            let first = weighted_sums(&volumes, weights.as_ref(), &silent).unwrap();
            let after = weighted_sums(events, weights.as_ref(), &silent).unwrap();
            let after = map.apply(after[0].view()).unwrap();
            assert!((first[0].view() - &after).norm_max() < 1e-11 * after.norm_max());
        });
    }

    #[test]
    fn order_and_unit_length_by_hand() {
        let layers = [Mat::from_fn(2, 2, |i, j| [[3.0, 4.0], [0.0, 0.0]][i][j]), noise(2, 2, 9)];
        with_source(&layers, |source| {
            let swapped = Reordered::new(source, &[1, 0]);
            assert_eq!(swapped.layers()[1].name, "layer 0");
            assert_eq!(read(&swapped, 1, 0..2), layers[0]);
            let unit = read(&UnitSamples(source), 0, 0..2);
            assert_eq!((unit[(0, 0)], unit[(0, 1)], unit[(1, 0)]), (0.6, 0.8, 0.0));
        });
    }
}
