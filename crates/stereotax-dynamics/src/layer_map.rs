//! Bring layers of unequal width into one common state, fitted on training samples only.
//!
//! The eigenvalues of a depth DMD mean something only if neighbouring layers share coordinates. With
//! H_l (samples × K_l) centred by its training means:
//!
//! ```text
//! identity            Q_l = H_l
//! pca                 H_l = U S Wᵀ on the training rows,  P_l = H_l · (first K columns of W)
//! procrustes          Q_0 = P_0;  Q_l = P_l · A Bᵀ  with  P_lᵀ Q_{l−1} = A D Bᵀ  (training rows)
//! random projection   Q_l = H_l · R,  one R (K_l × width) with N(0, 1/width) entries for all layers
//! kernel              vec(H_l H_lᵀ / ‖H_l H_lᵀ‖_F);  Gram matrix of the layers = linear CKA
//! K = min(256, min_l rank H_l, training samples / 4)
//! ```
//!
//! Test rows go through the same right singular vectors W and the same rotations, so they never touch
//! the fit. The rotations run along an order of the layers: a shuffled order is aligned in its own
//! order, which is what a control of layer order must compare with.
//!
//! Procrustes makes neighbours as alike as a rotation can, so it pulls eigenvalues towards 1: use it
//! for all models of a comparison or for none. Components of `pca` have an arbitrary order and sign
//! from layer to layer, so its eigenvalues cannot be interpreted.
//!
//! Source: Schönemann 1966 (Procrustes); Kornblith et al. 2019 (linear CKA); specs: nfas-dmd 3.3.
//! Cost: one pass; per layer O(n·K_l·min(T, K_l) + min(T, K_l)³). One layer is in memory at a time.

use std::ops::Range;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use stereotax_base::data::{Error, Monitor, Result, TileSource};
use stereotax_base::linalg::{add_product, cross, eigh, gram, orthogonal_factor, product, select_rows};
use stereotax_base::stats::rng::Stream;

/// How layers come to share one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerMap {
    /// The layers themselves; needs equal widths.
    Identity,
    /// Principal components, each layer rotated onto the one before it.
    Procrustes,
    /// Principal components, unaligned.
    Pca,
    /// The layer's linear kernel over samples; see [`kernel_layers`].
    Kernel,
    /// One seeded Gaussian map for all layers; needs equal widths.
    RandomProjection {
        /// Width of the common state.
        width: usize,
        /// Seed of the map.
        seed: u64,
    },
}

/// Settings of [`reduce_layers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LayerMapParams {
    /// Default `Procrustes`.
    pub map: LayerMap,
    /// Divide every mapped layer by its RMS over the training rows. The RMS is taken in the common
    /// state, where widths agree. Default true.
    pub unit_rms: bool,
    /// Largest width of the common state for `Procrustes` and `Pca`. Default 256.
    pub max_width: usize,
}

impl Default for LayerMapParams {
    fn default() -> Self {
        LayerMapParams { map: LayerMap::Procrustes, unit_rms: true, max_width: 256 }
    }
}

/// Every layer in a state of the same width, not yet aligned with one another.
#[derive(Debug, Clone)]
pub struct ReducedLayers {
    /// Per layer: all samples × K, centred by the training means and scaled if asked.
    pub layers: Vec<Mat<f64>>,
    /// The rows that were fitted on.
    pub train: Vec<usize>,
    /// K.
    pub width: usize,
    /// Numerical rank of every layer over the training rows; the width for maps that take no
    /// decomposition.
    pub ranks: Vec<usize>,
    /// Share of every layer's training variance that the common state keeps; 1 for `Identity`. Under
    /// `RandomProjection` it is an estimate and may exceed 1.
    pub kept_variance: Vec<f64>,
    /// What every mapped layer was divided by (1 without `unit_rms`).
    pub rms: Vec<f64>,
    /// The map that made them.
    pub map: LayerMap,
}

/// Layers in common coordinates, along one order.
#[derive(Debug, Clone)]
pub struct MappedLayers {
    /// `layers[i]` is layer `order[i]` of the source: all samples × K.
    pub layers: Vec<Mat<f64>>,
    /// Which layer stands at each place.
    pub order: Vec<usize>,
    /// ‖Q_l − Q_{l−1}‖_F / ‖Q_{l−1}‖_F over the training rows, for each step along the order
    /// (L − 1 values): how far neighbours still differ.
    pub step_sizes: Vec<f64>,
}

/// Map every layer of a source by any map but [`LayerMap::Kernel`].
///
/// `train` are the rows that may be fitted on, sorted, without repeats. Errors: fewer than 4 training
/// rows, values that are not finite, a layer that is constant over the training rows, unequal widths
/// under `Identity` or `RandomProjection`.
pub fn reduce_layers(
    source: &dyn TileSource,
    train: &[usize],
    params: &LayerMapParams,
    monitor: &Monitor,
) -> Result<ReducedLayers> {
    check_rows(source, train)?;
    if matches!(params.map, LayerMap::Identity | LayerMap::RandomProjection { .. }) {
        check_equal_widths(source, params.map)?;
    }
    let cap = params.max_width.min(train.len() / 4).max(1);
    let mut fitted: Vec<OneLayer> = Vec::with_capacity(source.layers().len());
    for layer in 0..source.layers().len() {
        monitor.check()?;
        let centred = read_centred(source, layer, train)?;
        fitted.push(match params.map {
            LayerMap::Identity => OneLayer { rank: centred.ncols(), kept: 1.0, total: 1.0, states: centred },
            LayerMap::Procrustes | LayerMap::Pca => {
                principal_components(centred.as_ref(), train, cap, source)?
            }
            LayerMap::RandomProjection { width, seed } => {
                random_projection(centred.as_ref(), train, width, seed)
            }
            LayerMap::Kernel => return Err(kernel_has_no_states()),
        });
    }
    // Components are nested, so the narrowest layer decides and the others are cut: no zero padding.
    let width = fitted.iter().map(|l| l.states.ncols()).min().unwrap_or(0);
    let mut reduced = ReducedLayers {
        layers: Vec::with_capacity(fitted.len()),
        train: train.to_vec(),
        width,
        ranks: fitted.iter().map(|l| l.rank).collect(),
        kept_variance: Vec::new(),
        rms: Vec::new(),
        map: params.map,
    };
    for (index, layer) in fitted.into_iter().enumerate() {
        let mut states = layer.states.get(.., ..width).to_owned();
        let square = square_norm(states.as_ref(), train);
        if square <= 0.0 {
            return Err(constant_layer(&source.layers()[index].name));
        }
        let kept = if layer.total == layer.kept { 1.0 } else { square / layer.total };
        let rms = if params.unit_rms { (square / (train.len() * width) as f64).sqrt() } else { 1.0 };
        for j in 0..width {
            states.col_mut(j).iter_mut().for_each(|x| *x /= rms);
        }
        reduced.layers.push(states);
        reduced.kept_variance.push(kept);
        reduced.rms.push(rms);
    }
    Ok(reduced)
}

impl ReducedLayers {
    /// Put the layers into common coordinates along `order` (indices of layers, each at most once).
    ///
    /// Under `Procrustes` every layer is rotated onto the one before it *in this order*; other maps
    /// only take the layers in the order given. Cost: O(T·K² + K³) per layer under `Procrustes`.
    pub fn align(&self, order: &[usize]) -> Result<MappedLayers> {
        self.check_order(order)?;
        let mut layers: Vec<Mat<f64>> = Vec::with_capacity(order.len());
        let mut before: Option<Mat<f64>> = None;
        let mut step_sizes = Vec::new();
        for &layer in order {
            let fit = select_rows(self.layers[layer].as_ref(), &self.train);
            let (all, fit) = match (&before, self.map) {
                (Some(before), LayerMap::Procrustes) => {
                    let rotation = orthogonal_factor(cross(fit.as_ref(), before.as_ref()).as_ref())?;
                    (
                        product(self.layers[layer].as_ref(), rotation.as_ref()),
                        product(fit.as_ref(), rotation.as_ref()),
                    )
                }
                _ => (self.layers[layer].clone(), fit),
            };
            if let Some(before) = &before {
                step_sizes.push((&fit - before).norm_l2() / before.norm_l2());
            }
            layers.push(all);
            before = Some(fit);
        }
        Ok(MappedLayers { layers, order: order.to_vec(), step_sizes })
    }

    fn check_order(&self, order: &[usize]) -> Result<()> {
        let mut seen = vec![false; self.layers.len()];
        let repeats = order.iter().any(|&l| l >= seen.len() || std::mem::replace(&mut seen[l], true));
        if repeats || order.is_empty() {
            return Err(Error::Invalid {
                what: "order".into(),
                expected: format!("layer indices below {}, each at most once", self.layers.len()),
                found: format!("{order:?}"),
                hint: "shuffle 0, 1, …, L − 1".into(),
            });
        }
        Ok(())
    }
}

impl MappedLayers {
    /// Gram matrix of the layers (L × L) over the given rows: ⟨Q_l, Q_m⟩_F.
    ///
    /// Rows are added in blocks of fixed size. Cost: O(n·K·L²).
    pub fn gram(&self, rows: &[usize]) -> Mat<f64> {
        let n_layers = self.layers.len();
        let mut out = Mat::zeros(n_layers, n_layers);
        for l in 0..n_layers {
            for m in 0..=l {
                let (a, b) = (&self.layers[l], &self.layers[m]);
                let total: f64 =
                    (0..a.ncols()).map(|j| rows.iter().map(|&i| a[(i, j)] * b[(i, j)]).sum::<f64>()).sum();
                out[(l, m)] = total;
                out[(m, l)] = total;
            }
        }
        out
    }

    /// The representation Σ_l weights[l] · Q_l of all samples (n × K).
    pub fn combine(&self, weights: &[f64]) -> Result<Mat<f64>> {
        check_weights(weights, self.layers.len())?;
        let mut out = Mat::zeros(self.layers[0].nrows(), self.layers[0].ncols());
        for (layer, &weight) in self.layers.iter().zip(weights) {
            for j in 0..out.ncols() {
                for (o, x) in out.col_mut(j).iter_mut().zip(layer.col(j).iter()) {
                    *o += weight * x;
                }
            }
        }
        Ok(out)
    }
}

/// The layers as kernels over samples: what [`LayerMap::Kernel`] works on.
#[derive(Debug, Clone)]
pub struct KernelLayers {
    /// Linear CKA between layers over the training rows (L × L, ones on the diagonal): the Gram matrix
    /// of the trajectory of unit-norm kernels.
    pub gram: Mat<f64>,
    /// ‖H_l H_lᵀ‖_F over the training rows.
    pub norms: Vec<f64>,
    /// Training mean of every unit, per layer.
    pub means: Vec<Vec<f64>>,
    /// The rows that were fitted on.
    pub train: Vec<usize>,
}

/// Coordinates of all samples in the leading eigenfunctions of a weighted sum of kernels.
#[derive(Debug, Clone)]
pub struct KernelFeatures {
    /// All samples × K. On the training rows F Fᵀ is the best approximation of rank K to the clipped
    /// kernel.
    pub features: Mat<f64>,
    /// Eigenvalues of the K features, descending, all positive.
    pub eigenvalues: Vec<f64>,
    /// Σ|negative eigenvalues| / Σ|all eigenvalues|: what was clipped, because weights may be negative.
    pub clipped_share: f64,
}

/// Gram matrix of the layers' centred linear kernels, without ever holding a T × T kernel.
///
/// ⟨K_l, K_m⟩ is added over blocks of 256 × 256 pairs of samples. Cost: T²·Σ K_l / 2 multiply-adds and
/// T/256 reads of every layer; memory L blocks per thread.
pub fn kernel_layers(source: &dyn TileSource, train: &[usize], monitor: &Monitor) -> Result<KernelLayers> {
    check_rows(source, train)?;
    let n_layers = source.layers().len();
    let means: Vec<Vec<f64>> = (0..n_layers)
        .into_par_iter()
        .map(|layer| {
            monitor.check()?;
            Ok(read_layer(source, layer, train)?.means)
        })
        .collect::<Result<_>>()?;
    let blocks: Vec<&[usize]> = train.chunks(KERNEL_BLOCK).collect();
    let pairs: Vec<(usize, usize)> = (0..blocks.len()).flat_map(|a| (0..=a).map(move |b| (a, b))).collect();
    let parts: Vec<Mat<f64>> = pairs
        .par_iter()
        .map(|&(a, b)| {
            monitor.check()?;
            let tiles: Vec<Mat<f64>> = (0..n_layers)
                .map(|layer| {
                    let left = read_rows(source, layer, blocks[a], &means[layer])?;
                    let right = read_rows(source, layer, blocks[b], &means[layer])?;
                    Ok(product(left.as_ref(), right.transpose()))
                })
                .collect::<Result<_>>()?;
            let times = if a == b { 1.0 } else { 2.0 };
            Ok(Mat::from_fn(n_layers, n_layers, |l, m| {
                let (l, m) = (l.max(m), l.min(m));
                times * inner(tiles[l].as_ref(), tiles[m].as_ref())
            }))
        })
        .collect::<Result<_>>()?;
    let mut total = Mat::<f64>::zeros(n_layers, n_layers);
    for part in &parts {
        total += part;
    }
    let norms: Vec<f64> = (0..n_layers).map(|l| total[(l, l)].sqrt()).collect();
    if let Some(layer) = norms.iter().position(|n| *n <= 0.0) {
        return Err(constant_layer(&source.layers()[layer].name));
    }
    let gram =
        Mat::from_fn(
            n_layers,
            n_layers,
            |l, m| {
                if l == m { 1.0 } else { total[(l, m)] / (norms[l] * norms[m]) }
            },
        );
    Ok(KernelLayers { gram, norms, means, train: train.to_vec() })
}

/// Samples per side of a block of kernel entries.
const KERNEL_BLOCK: usize = 256;

impl KernelLayers {
    /// Leading `n_features` eigenfeatures of Σ_l weights[l] · K_l / ‖K_l‖ for all samples.
    ///
    /// With K = U Λ Uᵀ over the training rows, a sample with kernel row k has features k U Λ^(−1/2),
    /// which on the training rows is U Λ^(1/2). Negative eigenvalues are clipped. Fewer features are
    /// returned if fewer eigenvalues are above 10⁻¹⁰ of the largest modulus. Cost: O(n·T·ΣK_l + T³).
    pub fn features(
        &self,
        source: &dyn TileSource,
        weights: &[f64],
        n_features: usize,
        monitor: &Monitor,
    ) -> Result<KernelFeatures> {
        check_weights(weights, self.norms.len())?;
        let n = source.n_samples();
        let mut kernel = Mat::zeros(n, self.train.len());
        let all: Vec<usize> = (0..n).collect();
        for (layer, &weight) in weights.iter().enumerate() {
            monitor.check()?;
            let rows = read_rows(source, layer, &all, &self.means[layer])?;
            let fit = select_rows(rows.as_ref(), &self.train);
            add_product(kernel.as_mut(), rows.as_ref(), fit.transpose(), weight / self.norms[layer]);
        }
        let decomposed = eigh(select_rows(kernel.as_ref(), &self.train).as_ref())?;
        let largest = decomposed.values[0];
        // Beside large negative eigenvalues, tiny positive ones are rounding.
        let strongest = decomposed.values.iter().fold(0.0, |m: f64, w| m.max(w.abs()));
        if largest <= 1e-10 * strongest {
            return Err(Error::Refused {
                what: "the stable kernel".into(),
                reason: "it has no positive eigenvalue under these layer weights".into(),
                hint: "the selected mode is mostly negative; select another one or use another layer map"
                    .into(),
            });
        }
        let kept = decomposed.values.iter().take(n_features).take_while(|w| **w > 1e-10 * strongest).count();
        let eigenvalues = decomposed.values[..kept].to_vec();
        let lift =
            Mat::from_fn(self.train.len(), kept, |i, k| decomposed.vectors[(i, k)] / eigenvalues[k].sqrt());
        let all: f64 = decomposed.values.iter().map(|w| w.abs()).sum();
        let negative: f64 = decomposed.values.iter().map(|w| (-w).max(0.0)).sum();
        Ok(KernelFeatures {
            features: product(kernel.as_ref(), lift.as_ref()),
            eigenvalues,
            clipped_share: negative / all,
        })
    }
}

struct OneLayer {
    states: Mat<f64>,
    rank: usize,
    kept: f64,
    total: f64,
}

/// P = H·W with at most `cap` components, through the smaller of the T × T and K_l × K_l problems.
fn principal_components(
    centred: MatRef<f64>,
    train: &[usize],
    cap: usize,
    source: &dyn TileSource,
) -> Result<OneLayer> {
    let fit = select_rows(centred, train);
    let by_samples = fit.nrows() <= fit.ncols();
    let small = if by_samples { gram(fit.transpose()) } else { gram(fit.as_ref()) };
    let decomposed = eigh(small.as_ref())?;
    let epsilon = source.epsilon();
    let precision = if epsilon > f64::EPSILON { epsilon * epsilon } else { 0.0 };
    let cut = decomposed.values[0] * (small.nrows() as f64 * f64::EPSILON).max(precision);
    let rank = decomposed.values.iter().take_while(|w| **w > cut && **w > 0.0).count();
    let kept = rank.min(cap);
    let mut loadings = if by_samples {
        let scaled =
            Mat::from_fn(fit.nrows(), kept, |i, k| decomposed.vectors[(i, k)] / decomposed.values[k].sqrt());
        cross(fit.as_ref(), scaled.as_ref())
    } else {
        decomposed.vectors.get(.., ..kept).to_owned()
    };
    // The sign rule: the loading of largest modulus is positive.
    for k in 0..kept {
        let largest = loadings.col(k).iter().fold(0.0, |b: f64, &x| if x.abs() > b.abs() { x } else { b });
        if largest < 0.0 {
            loadings.col_mut(k).iter_mut().for_each(|x| *x = -*x);
        }
    }
    Ok(OneLayer {
        states: product(centred, loadings.as_ref()),
        rank,
        kept: decomposed.values[..kept].iter().sum(),
        total: (0..small.nrows()).map(|i| small[(i, i)]).sum(),
    })
}

fn random_projection(centred: MatRef<f64>, train: &[usize], width: usize, seed: u64) -> OneLayer {
    let mut map = Mat::zeros(centred.ncols(), width);
    for unit in 0..centred.ncols() {
        let mut stream = Stream::new(seed, "random projection", unit as u64);
        for k in 0..width {
            map[(unit, k)] = stream.normal() / (width as f64).sqrt();
        }
    }
    let states = product(centred, map.as_ref());
    let total = square_norm(centred, train);
    OneLayer { rank: width, kept: square_norm(states.as_ref(), train), total, states }
}

struct Layer {
    values: Mat<f64>,
    means: Vec<f64>,
}

/// One whole layer, checked, with its training means.
fn read_layer(source: &dyn TileSource, layer: usize, train: &[usize]) -> Result<Layer> {
    let info = &source.layers()[layer];
    let n = source.n_samples();
    let mut buffer = vec![0.0; n * info.width];
    source.read_rows(layer, 0..n, &mut buffer)?;
    check_finite(&info.name, &buffer, info.width, 0)?;
    let values = Mat::from_fn(n, info.width, |i, j| buffer[i * info.width + j]);
    let means = (0..info.width)
        .map(|j| train.iter().map(|&i| values[(i, j)]).sum::<f64>() / train.len() as f64)
        .collect();
    Ok(Layer { values, means })
}

fn read_centred(source: &dyn TileSource, layer: usize, train: &[usize]) -> Result<Mat<f64>> {
    let Layer { mut values, means } = read_layer(source, layer, train)?;
    let raw = square_norm(values.as_ref(), train);
    stereotax_base::linalg::centre_columns(values.as_mut(), &means);
    // What is left of a constant layer is rounding.
    if square_norm(values.as_ref(), train) <= raw * (train.len() as f64 * f64::EPSILON).powi(2) {
        return Err(constant_layer(&source.layers()[layer].name));
    }
    Ok(values)
}

/// Some rows of a layer, centred by the given means.
fn read_rows(source: &dyn TileSource, layer: usize, rows: &[usize], means: &[f64]) -> Result<Mat<f64>> {
    let width = means.len();
    let mut out = Mat::zeros(rows.len(), width);
    let mut at = 0;
    for range in consecutive(rows) {
        let mut buffer = vec![0.0; range.len() * width];
        source.read_rows(layer, range.clone(), &mut buffer)?;
        check_finite(&source.layers()[layer].name, &buffer, width, range.start)?;
        for line in buffer.chunks_exact(width.max(1)) {
            for (j, x) in line.iter().enumerate() {
                out[(at, j)] = x - means[j];
            }
            at += 1;
        }
    }
    Ok(out)
}

/// Sorted rows as ranges without gaps.
fn consecutive(rows: &[usize]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for &row in rows {
        match ranges.last_mut() {
            Some(range) if range.end == row => range.end = row + 1,
            _ => ranges.push(row..row + 1),
        }
    }
    ranges
}

fn square_norm(x: MatRef<f64>, rows: &[usize]) -> f64 {
    (0..x.ncols()).map(|j| rows.iter().map(|&i| x[(i, j)] * x[(i, j)]).sum::<f64>()).sum()
}

fn inner(a: MatRef<f64>, b: MatRef<f64>) -> f64 {
    (0..a.ncols()).map(|j| a.col(j).iter().zip(b.col(j).iter()).map(|(x, y)| x * y).sum::<f64>()).sum()
}

fn check_rows(source: &dyn TileSource, train: &[usize]) -> Result<()> {
    let n = source.n_samples();
    if train.len() < 4 || source.layers().is_empty() {
        return Err(Error::TooFew {
            what: "train".into(),
            needed: "4 training samples of at least one layer".into(),
            found: format!("{} samples of {} layers", train.len(), source.layers().len()),
            hint: "use fewer folds or give more stimuli".into(),
        });
    }
    if train.windows(2).any(|w| w[0] >= w[1]) || train[train.len() - 1] >= n {
        return Err(Error::Invalid {
            what: "train".into(),
            expected: format!("rows below {n} in ascending order, each once"),
            found: "rows out of order, repeated or too large".into(),
            hint: "sort the training rows".into(),
        });
    }
    Ok(())
}

fn check_equal_widths(source: &dyn TileSource, map: LayerMap) -> Result<()> {
    let layers = source.layers();
    if let LayerMap::RandomProjection { width: 0, .. } = map {
        return Err(Error::Invalid {
            what: "width".into(),
            expected: "at least 1".into(),
            found: "0".into(),
            hint: "project on 256 dimensions".into(),
        });
    }
    match layers.iter().find(|l| l.width != layers[0].width) {
        None => Ok(()),
        Some(odd) => Err(Error::Refused {
            what: format!(
                "{} of layers of unequal width",
                if map == LayerMap::Identity { "the identity map" } else { "a random projection" }
            ),
            reason: format!(
                "`{}` has {} units and `{}` has {}, so they share no coordinates that one map could keep",
                layers[0].name, layers[0].width, odd.name, odd.width
            ),
            hint: "use layer_map = procrustes".into(),
        }),
    }
}

fn check_finite(name: &str, values: &[f64], width: usize, first_row: usize) -> Result<()> {
    match values.iter().position(|x| !x.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Error::NotFinite {
            what: name.into(),
            row: first_row + at / width,
            column: at % width,
            count: values.iter().filter(|x| !x.is_finite()).count(),
            hint: "drop the sample from all layers, or mask it".into(),
        }),
    }
}

fn check_weights(weights: &[f64], n_layers: usize) -> Result<()> {
    if weights.len() == n_layers && weights.iter().all(|w| w.is_finite()) {
        return Ok(());
    }
    Err(Error::Shape {
        what: "weights".into(),
        expected: format!("{n_layers} finite numbers (one per layer)"),
        found: format!("{} numbers", weights.len()),
        hint: "pass `DepthSpectrum::weights`".into(),
    })
}

fn constant_layer(name: &str) -> Error {
    Error::ZeroVariance {
        what: name.into(),
        detail: "every unit is constant on the training samples".into(),
        hint: "leave the layer out".into(),
    }
}

fn kernel_has_no_states() -> Error {
    Error::Invalid {
        what: "layer_map".into(),
        expected: "a map into a common state: identity, procrustes, pca or random_projection".into(),
        found: "kernel".into(),
        hint: "the kernel map has no states per sample; call `kernel_layers`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::data::LayerArrays;
    use stereotax_base::linalg::{column_means, thin_qr};

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(3, "layer map tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn source(layers: &[Mat<f64>]) -> LayerArrays<'_> {
        let names: Vec<String> = (0..layers.len()).map(|l| format!("layer {l}")).collect();
        LayerArrays::new(&names, layers.iter().map(|a| a.as_ref()).collect()).unwrap()
    }

    fn reduced(layers: &[Mat<f64>], train: &[usize], map: LayerMap) -> ReducedLayers {
        let params = LayerMapParams { map, ..Default::default() };
        reduce_layers(&source(layers), train, &params, &Monitor::silent()).unwrap()
    }

    /// Layers that are one slowly changing state of 5 dimensions, seen through other units each.
    fn rotated_layers(n: usize, widths: &[usize]) -> Vec<Mat<f64>> {
        let state = noise(n, 5, 0);
        let spread = [5.0, 3.0, 2.0, 1.2, 0.7];
        widths
            .iter()
            .enumerate()
            .map(|(l, &width)| {
                let frame = thin_qr(noise(width, 5, 10 + l as u64).as_ref()).0;
                let scaled = Mat::from_fn(n, 5, |i, k| state[(i, k)] * spread[k]);
                product(scaled.as_ref(), frame.transpose())
            })
            .collect()
    }

    #[test]
    fn procrustes_undoes_planted_rotations_of_unequal_width() {
        let layers = rotated_layers(60, &[8, 20, 70, 12]);
        let train: Vec<usize> = (0..40).collect();
        let found = reduced(&layers, &train, LayerMap::Procrustes);
        assert_eq!((found.width, found.ranks.as_slice()), (5, [5, 5, 5, 5].as_slice()));
        let mapped = found.align(&[0, 1, 2, 3]).unwrap();
        for l in 1..4 {
            // Training and held-out rows alike.
            assert!((&mapped.layers[l] - &mapped.layers[0]).norm_max() < 1e-10, "layer {l}");
            assert!(mapped.step_sizes[l - 1] < 1e-11);
        }
        let g = mapped.gram(&train);
        assert!((0..4).all(|l| (0..4).all(|m| (g[(l, m)] - 200.0).abs() < 1e-9)), "{g:?}");
    }

    #[test]
    fn a_shuffled_order_is_aligned_in_its_own_order() {
        let layers: Vec<Mat<f64>> = (0..4).map(|l| noise(50, 6, 20 + l)).collect();
        let train: Vec<usize> = (0..50).collect();
        let found = reduced(&layers, &train, LayerMap::Procrustes);
        let order = [2, 0, 3, 1];
        let shuffled = found.align(&order).unwrap();
        let moved: Vec<Mat<f64>> = order.iter().map(|&l| layers[l].clone()).collect();
        let anew = reduced(&moved, &train, LayerMap::Procrustes).align(&[0, 1, 2, 3]).unwrap();
        assert!((shuffled.gram(&train) - anew.gram(&train)).norm_max() < 1e-9);
        // It is not the Gram matrix of the true order with rows moved.
        let straight = found.align(&[0, 1, 2, 3]).unwrap().gram(&train);
        let permuted = Mat::from_fn(4, 4, |i, j| straight[(order[i], order[j])]);
        assert!((shuffled.gram(&train) - permuted).norm_max() > 1.0);
        assert!(found.align(&[0, 0, 1]).is_err() && found.align(&[4]).is_err());
    }

    #[test]
    fn each_step_is_the_nearest_rotation() {
        let layers: Vec<Mat<f64>> = (0..2).map(|l| noise(30, 4, 30 + l)).collect();
        let train: Vec<usize> = (0..30).collect();
        let found = reduced(&layers, &train, LayerMap::Procrustes);
        let best = found.align(&[0, 1]).unwrap();
        let distance = |q: MatRef<f64>| (q - &best.layers[0]).norm_l2();
        for index in 0..50 {
            let turn = thin_qr(noise(4, 4, 100 + index).as_ref()).0;
            let other = product(found.layers[1].as_ref(), turn.as_ref());
            assert!(distance(other.as_ref()) >= distance(best.layers[1].as_ref()) - 1e-12);
        }
    }

    #[test]
    fn rotating_units_or_moving_samples_changes_no_gram_matrix() {
        let layers: Vec<Mat<f64>> = (0..3).map(|l| noise(40, 9 + l as usize, 40 + l)).collect();
        let rows: Vec<usize> = (0..40).collect();
        let plain = reduced(&layers, &rows, LayerMap::Procrustes).align(&[0, 1, 2]).unwrap().gram(&rows);
        let turned: Vec<Mat<f64>> = layers
            .iter()
            .map(|h| product(h.as_ref(), thin_qr(noise(h.ncols(), h.ncols(), 50).as_ref()).0.as_ref()))
            .collect();
        let moved: Vec<Mat<f64>> =
            turned.iter().map(|h| Mat::from_fn(40, h.ncols(), |i, j| h[((7 * i + 3) % 40, j)])).collect();
        let again = reduced(&moved, &rows, LayerMap::Procrustes).align(&[0, 1, 2]).unwrap().gram(&rows);
        assert!((plain - again).norm_max() < 1e-9);
    }

    #[test]
    fn both_routes_give_the_components_and_test_rows_follow_the_same_rule() {
        // 12 training rows of width 30 (sample route) and the same data padded below (unit route).
        let wide = noise(20, 30, 60);
        let train: Vec<usize> = (0..12).collect();
        let found = reduced(std::slice::from_ref(&wide), &train, LayerMap::Pca);
        assert_eq!(found.width, 3);
        let means = column_means(wide.get(..12, ..));
        let centred = Mat::from_fn(20, 30, |i, j| wide[(i, j)] - means[j]);
        let by_svd = stereotax_base::linalg::svd(centred.get(..12, ..)).unwrap();
        for k in 0..3 {
            let expected: Vec<f64> =
                (0..20).map(|i| (0..30).map(|j| centred[(i, j)] * by_svd.v[(j, k)]).sum()).collect();
            let sign = (expected[0] * found.layers[0][(0, k)]).signum();
            for i in 0..20 {
                assert!((found.layers[0][(i, k)] * found.rms[0] - sign * expected[i]).abs() < 1e-9);
            }
        }
        assert!((square_norm(found.layers[0].as_ref(), &train) - 36.0).abs() < 1e-9);
        let share =
            by_svd.s[..3].iter().map(|s| s * s).sum::<f64>() / by_svd.s.iter().map(|s| s * s).sum::<f64>();
        assert!((found.kept_variance[0] - share).abs() < 1e-12);
        let narrow = wide.get(.., ..4).to_owned();
        let by_units = reduced(std::slice::from_ref(&narrow), &train, LayerMap::Pca);
        assert_eq!(by_units.layers[0].ncols(), 3);
        assert_eq!(by_units.ranks, [4]);
        let g = gram(select_rows(by_units.layers[0].as_ref(), &train).as_ref());
        assert!((0..3).all(|i| (0..i).all(|j| g[(i, j)].abs() < 1e-9)), "components are uncorrelated");
    }

    #[test]
    fn held_out_rows_never_touch_the_fit() {
        let layers: Vec<Mat<f64>> = (0..3).map(|l| noise(30, 7, 70 + l)).collect();
        let train: Vec<usize> = (0..20).collect();
        let mut spoilt = layers.clone();
        for h in &mut spoilt {
            for i in 20..30 {
                h[(i, 2)] += 1e3;
            }
        }
        for map in [LayerMap::Procrustes, LayerMap::Pca, LayerMap::RandomProjection { width: 3, seed: 1 }] {
            let (a, b) = (reduced(&layers, &train, map), reduced(&spoilt, &train, map));
            let (a, b) = (a.align(&[0, 1, 2]).unwrap(), b.align(&[0, 1, 2]).unwrap());
            for (x, y) in a.layers.iter().zip(&b.layers) {
                assert!((x.get(..20, ..) - y.get(..20, ..)).norm_max() == 0.0);
                assert!((x.get(20.., ..) - y.get(20.., ..)).norm_max() > 1.0);
            }
        }
    }

    #[test]
    fn the_kernel_gram_is_linear_cka_over_block_borders() {
        let layers: Vec<Mat<f64>> = (0..3).map(|l| noise(300, 4 + 3 * l as usize, 80 + l)).collect();
        let train: Vec<usize> = (0..300).filter(|i| i % 17 != 3).collect();
        assert!(train.len() > KERNEL_BLOCK);
        let found = kernel_layers(&source(&layers), &train, &Monitor::silent()).unwrap();
        let centred: Vec<Mat<f64>> = layers
            .iter()
            .map(|h| {
                let mut x = select_rows(h.as_ref(), &train);
                let means = column_means(x.as_ref());
                stereotax_base::linalg::centre_columns(x.as_mut(), &means);
                x
            })
            .collect();
        let square = |l: usize, m: usize| cross(centred[l].as_ref(), centred[m].as_ref()).squared_norm_l2();
        for l in 0..3 {
            for m in 0..3 {
                let cka = square(l, m) / (square(l, l) * square(m, m)).sqrt();
                assert!((found.gram[(l, m)] - cka).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn kernel_features_rebuild_the_clipped_kernel_and_extend_it() {
        let layers: Vec<Mat<f64>> = (0..2).map(|l| noise(24, 5, 90 + l)).collect();
        let train: Vec<usize> = (0..18).collect();
        let data = source(&layers);
        let kernels = kernel_layers(&data, &train, &Monitor::silent()).unwrap();
        let positive = kernels.features(&data, &[1.0, 0.5], 99, &Monitor::silent()).unwrap();
        assert_eq!(positive.eigenvalues.len(), 10);
        assert!(positive.clipped_share < 1e-12);
        let mut expected = Mat::<f64>::zeros(24, 18);
        for (l, w) in [(0, 1.0), (1, 0.5)] {
            let all: Vec<usize> = (0..24).collect();
            let rows = read_rows(&data, l, &all, &kernels.means[l]).unwrap();
            add_product(
                expected.as_mut(),
                rows.as_ref(),
                rows.get(..18, ..).transpose(),
                w / kernels.norms[l],
            );
        }
        // All rows against the training rows, held-out ones included.
        let f = &positive.features;
        assert!((product(f.as_ref(), f.get(..18, ..).transpose()) - expected).norm_max() < 1e-12);
        let mixed = kernels.features(&data, &[1.0, -0.5], 99, &Monitor::silent()).unwrap();
        assert!(mixed.clipped_share > 0.05 && mixed.eigenvalues.iter().all(|w| *w > 0.0));
        assert!(kernels.features(&data, &[-1.0, -1.0], 3, &Monitor::silent()).is_err());
    }

    #[test]
    fn a_shared_projection_keeps_distances_and_refuses_unequal_widths() {
        let layers = vec![noise(10, 40, 95), noise(10, 40, 96)];
        let train: Vec<usize> = (0..10).collect();
        let map = LayerMap::RandomProjection { width: 4000, seed: 3 };
        let params = LayerMapParams { map, unit_rms: false, ..Default::default() };
        let found = reduce_layers(&source(&layers), &train, &params, &Monitor::silent()).unwrap();
        let identity = LayerMapParams { map: LayerMap::Identity, unit_rms: false, ..Default::default() };
        let truth = reduce_layers(&source(&layers), &train, &identity, &Monitor::silent()).unwrap();
        let g = found.align(&[0, 1]).unwrap().gram(&train);
        let t = truth.align(&[0, 1]).unwrap().gram(&train);
        // Relative standard error of an inner product is about sqrt(2/4000) over 10 rows.
        assert!((g - &t).norm_max() < 0.06 * t.norm_max());
        assert!((found.kept_variance[0] - 1.0).abs() < 0.06);
        let unequal = vec![noise(10, 40, 97), noise(10, 41, 98)];
        for map in [map, LayerMap::Identity] {
            let refused = reduce_layers(
                &source(&unequal),
                &train,
                &LayerMapParams { map, ..Default::default() },
                &Monitor::silent(),
            )
            .unwrap_err()
            .to_string();
            assert!(refused.contains("share no coordinates"), "{refused}");
        }
    }

    #[test]
    fn hopeless_layers_are_named() {
        let mut layers = vec![noise(10, 3, 99), Mat::from_fn(10, 3, |_, j| 0.1 + j as f64)];
        let train: Vec<usize> = (0..10).collect();
        let refused = |layers: &[Mat<f64>]| {
            let params = LayerMapParams::default();
            reduce_layers(&source(layers), &train, &params, &Monitor::silent()).unwrap_err().to_string()
        };
        assert!(refused(&layers).contains("`layer 1` does not vary"));
        layers[1] = noise(10, 3, 98);
        layers[1][(7, 2)] = f64::NAN;
        assert!(refused(&layers).contains("`layer 1` is not finite at row 7, column 2"));
        let rows = [3, 2, 4, 5];
        let params = LayerMapParams::default();
        assert!(reduce_layers(&source(&layers), &rows, &params, &Monitor::silent()).is_err());
    }
}
