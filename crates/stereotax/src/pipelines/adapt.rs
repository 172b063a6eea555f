//! See the layers of a source otherwise: in another order, or with samples of unit length.

use std::ops::Range;

use crate::data::{LayerInfo, Result, TileSource};

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
