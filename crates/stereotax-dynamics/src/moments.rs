//! Accumulate, in one pass over the data, everything that depth dynamics needs of a model.
//!
//! Samples are divided into named resampling blocks (runs, stories, stretches of stimuli). Per block b:
//!
//! ```text
//! n_b                                samples
//! M_b[l, m] = Σ_t ⟨h_l(t), h_m(t)⟩   L × L, in f64
//! s_b[l]    = Σ_t h_l(t)             K per layer
//! ```
//!
//! From these the Gram matrix of any weighting u of the blocks (a fold, a bootstrap draw) follows
//! without the data:
//!
//! ```text
//! N = Σ u_b n_b,   G[l, m] = Σ u_b M_b[l, m] − ⟨Σ u_b s_b[l], Σ u_b s_b[m]⟩ / N
//! rms_l = √(G[l, l] / (N K)),   scaled: G[l, m] / (rms_l rms_m)
//! ```
//!
//! G squares the condition number: directions below about 10⁻⁷ of the largest drown in its rounding.
//! With `triangles` a block also keeps the triangular factor of its rows, centred on its own mean m_b:
//! R_bᵀR_b = M_b − n_b⟨m_b, m_b⟩, built by Householder QR and never squared. Blocks join by
//!
//! ```text
//! R of a weighting = QR factor of the rows √u_b R_b and √(u_b n_b) (m_b − m)      (m: mean of the weighting)
//! ```
//!
//! which is exact for any fold or bootstrap draw and keeps directions down to 10⁻¹⁵ (times mean over SD).
//!
//! Samples are read in tiles of about 2 MB that hold all layers, a tile being a (samples·K) × L
//! matrix of which XᵀX is taken. Tiles and the order in which partial sums are added depend on the data
//! alone, so the bits are the same for any number of threads and any memory limit.
//!
//! Source: specs: nfas-dmd 3.4, 4 and appendix A. Cost: n·L²/2 multiply-adds for n = samples·K, one
//! read of the data; memory blocks·(L² + L·K) plus one tile per thread. Triangles take another 2·n·L².

use std::ops::Range;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use stereotax_base::data::{Error, Event, LayerInfo, Monitor, Result, TileSource};
use stereotax_base::linalg::{add_gram, mirror_lower, thin_qr};

/// Numbers in one tile of all layers: 2 MB, which stay near the processor while they are read three times.
const TILE_VALUES: usize = 1 << 18;
/// Rows of a tile whose products are taken at once; L columns of them stay in the cache.
const CHUNK_ROWS: usize = 4096;
/// Tiles that one task reads and adds up before it hands over its sum.
const TILES_PER_TASK: usize = 8;
/// Tasks whose sums are held at once.
const TASKS_PER_WAVE: usize = 32;
/// Share of the raw second moment below which a centred layer is constant.
const CONSTANT: f64 = 1e-12;

/// How samples enter the moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct MomentsOptions {
    /// Divide every sample of every layer by its Euclidean length first (scale `unit_sample`), which
    /// removes the gain per stimulus. Default false. A sample of zeros stays zero.
    pub unit_sample: bool,
    /// Keep triangular factors beside the Gram matrices (specs: nfas-dmd 4, `tsqr`). Default false.
    pub triangles: bool,
}

/// Sums of one block.
#[derive(Debug, Clone, PartialEq)]
struct Block {
    name: String,
    n_samples: u64,
    /// L × L, symmetric.
    products: Mat<f64>,
    /// K × L: column l is Σ_t h_l(t).
    sums: Mat<f64>,
    /// L × L: the triangular factor of the rows minus the block's mean; only with `triangles`.
    triangle: Option<Mat<f64>>,
}

/// Sums of products and of activations per resampling block: mergeable, and small enough to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct DepthMoments {
    layer_names: Vec<String>,
    width: usize,
    epsilon: f64,
    options: MomentsOptions,
    blocks: Vec<Block>,
}

/// Whether the mean over stimuli is taken out of every unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Centring {
    /// Per layer and unit, over stimuli. Without it the mode near 1 is the mean activation.
    #[default]
    Stimuli,
    /// Leave the mean in.
    None,
}

/// How layers are made comparable in size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// Divide every layer by its RMS: eigenvalues measure how a pattern persists.
    #[default]
    Frobenius,
    /// Leave layers as they are: growth of the residual stream enters the eigenvalues.
    None,
    /// Divide both members of a pair by the length of the first: growth rates stay, weights even out.
    Pair,
    /// Every sample has unit length; must be asked for when the moments are accumulated.
    UnitSample,
}

/// The Gram matrix of the layers over a weighting of the blocks, not yet scaled.
#[derive(Debug, Clone)]
pub struct DepthGram {
    /// L × L, centred as asked.
    pub gram: Mat<f64>,
    /// N = Σ u_b n_b.
    pub n_samples: f64,
    /// K.
    pub width: usize,
    /// L × L factor R with RᵀR = `gram`, never squared; only of moments with `triangles`.
    pub triangle: Option<Mat<f64>>,
    /// √(G[l, l] / (N K)) per layer, in the units of the activations.
    pub rms: Vec<f64>,
    /// Precision of the activations.
    pub epsilon: f64,
    /// Whether samples were given unit length.
    pub unit_sample: bool,
}

/// A Gram matrix ready for `depth_dmd_scaled`.
#[derive(Debug, Clone)]
pub struct ScaledGram {
    /// L × L.
    pub gram: Mat<f64>,
    /// Any matrix F with FᵀF = `gram` (L columns); where there is one it is used instead of `gram`.
    pub triangle: Option<Mat<f64>>,
    /// What each layer was divided by; the representation must divide by the same numbers.
    pub divisors: Vec<f64>,
    /// Whether pairs are weighted by 1/‖x_l‖. The Gram matrix itself is untouched by that.
    pub pair: bool,
    /// Precision of the activations.
    pub epsilon: f64,
    /// Length of a snapshot, N·K, where known.
    pub state_size: Option<usize>,
}

impl DepthMoments {
    /// Begin without any sample.
    ///
    /// Errors: no layer, no block, a block name twice, layers of different width (both are named:
    /// cross-moments need a common state).
    pub fn new(layers: &[LayerInfo], block_names: &[String], options: MomentsOptions) -> Result<Self> {
        check_layers(layers)?;
        let mut sorted = block_names.to_vec();
        sorted.sort();
        sorted.dedup();
        if block_names.is_empty() || sorted.len() != block_names.len() {
            return Err(Error::Invalid {
                what: "block_names".into(),
                expected: "at least one block, each with a name of its own".into(),
                found: format!("{} names, {} of them different", block_names.len(), sorted.len()),
                hint: "name blocks by run and position, such as `run 2 part 5`".into(),
            });
        }
        let (n_layers, width) = (layers.len(), layers[0].width);
        Ok(DepthMoments {
            layer_names: layers.iter().map(|l| l.name.clone()).collect(),
            width,
            epsilon: layers.iter().map(|l| l.precision.epsilon()).fold(f64::EPSILON, f64::max),
            options,
            blocks: block_names
                .iter()
                .map(|name| Block::empty(name, n_layers, width, options.triangles))
                .collect(),
        })
    }

    /// Read a source once. `blocks[t]` is the block of sample t, as an index into `block_names`.
    ///
    /// Errors: those of [`DepthMoments::new`], a block per sample missing or out of range, NaN or
    /// infinite activations (layer, sample and unit are named), whatever the source reports.
    pub fn accumulate(
        source: &dyn TileSource,
        blocks: &[usize],
        block_names: &[String],
        options: MomentsOptions,
        monitor: &Monitor,
    ) -> Result<Self> {
        let mut moments = DepthMoments::new(source.layers(), block_names, options)?;
        if blocks.len() != source.n_samples() || blocks.iter().any(|b| *b >= block_names.len()) {
            return Err(Error::Shape {
                what: "blocks".into(),
                expected: format!("{} indices below {}", source.n_samples(), block_names.len()),
                found: format!("{} indices, the largest {:?}", blocks.len(), blocks.iter().max()),
                hint: "give one block index per sample".into(),
            });
        }
        let tasks = plan(blocks, block_names.len(), moments.width * moments.layer_names.len());
        let task = "depth moments";
        monitor.tell(Event::Started { task: task.into(), total: blocks.len() as u64 });
        for wave in tasks.chunks(TASKS_PER_WAVE) {
            let sums: Vec<Block> = wave
                .par_iter()
                .map(|task| {
                    let mut sum = moments.empty_block();
                    for tile in &task.tiles {
                        monitor.check()?;
                        moments.add_rows(source, tile.clone(), &mut sum)?;
                        monitor.tell(Event::Advanced { done: tile.len() as u64 });
                    }
                    Ok(sum)
                })
                .collect::<Result<_>>()?;
            for (task, sum) in wave.iter().zip(sums) {
                moments.blocks[task.block].add(&sum);
            }
        }
        monitor.tell(Event::Finished { task: task.into() });
        for block in &mut moments.blocks {
            mirror_lower(block.products.as_mut());
        }
        Ok(moments)
    }

    /// Add samples that are at hand: one matrix (samples × K) per layer, all of block `block`.
    ///
    /// `first_sample` is the number of the first row, for messages only. The bits depend on how the
    /// caller cuts the data into tiles. Errors: wrong shapes, an unknown block, NaN or infinity.
    pub fn add_tile(&mut self, block: usize, first_sample: usize, layers: &[MatRef<f64>]) -> Result<()> {
        let n_rows = layers.first().map_or(0, |l| l.nrows());
        let shape_is_wrong = |l: &MatRef<f64>| l.nrows() != n_rows || l.ncols() != self.width;
        if layers.len() != self.layer_names.len() || layers.iter().any(shape_is_wrong) {
            return Err(Error::Shape {
                what: "tile".into(),
                expected: format!(
                    "{} matrices of {n_rows} rows and {} columns (one per layer)",
                    self.layer_names.len(),
                    self.width
                ),
                found: layers
                    .iter()
                    .map(|l| format!("{} × {}", l.nrows(), l.ncols()))
                    .collect::<Vec<_>>()
                    .join(", "),
                hint: "give every layer the same samples, shallow to deep".into(),
            });
        }
        if block >= self.blocks.len() {
            return Err(Error::Invalid {
                what: "block".into(),
                expected: format!("an index below {}", self.blocks.len()),
                found: block.to_string(),
                hint: "blocks are numbered from 0 in the order of their names".into(),
            });
        }
        let mut sum = self.empty_block();
        let per_tile = samples_per_tile(self.width * layers.len());
        let mut from = 0;
        while from < n_rows {
            let to = (from + per_tile).min(n_rows);
            let mut tile = Mat::zeros((to - from) * self.width, layers.len());
            for (l, layer) in layers.iter().enumerate() {
                let mut at = 0;
                for row in from..to {
                    for column in 0..self.width {
                        tile[(at, l)] = layer[(row, column)];
                        at += 1;
                    }
                }
            }
            self.add_packed(&mut tile, first_sample + from..first_sample + to, &mut sum)?;
            from = to;
        }
        mirror_lower(sum.products.as_mut());
        self.blocks[block].add(&sum);
        Ok(())
    }

    /// Join the moments of two parts of a data set. Blocks of the same name are added up, others appended.
    ///
    /// Errors: layers, widths or options that differ.
    pub fn merge(mut self, other: &DepthMoments) -> Result<Self> {
        if self.layer_names != other.layer_names || self.width != other.width || self.options != other.options
        {
            return Err(Error::Shape {
                what: "moments".into(),
                expected: format!(
                    "layers {:?} of {} units, {:?}",
                    self.layer_names, self.width, self.options
                ),
                found: format!(
                    "layers {:?} of {} units, {:?}",
                    other.layer_names, other.width, other.options
                ),
                hint: "merge only moments of the same model, tapped in the same way".into(),
            });
        }
        self.epsilon = self.epsilon.max(other.epsilon);
        for theirs in &other.blocks {
            match self.blocks.iter_mut().find(|ours| ours.name == theirs.name) {
                Some(ours) => ours.add(theirs),
                None => self.blocks.push(theirs.clone()),
            }
        }
        Ok(self)
    }

    /// The layers' names, shallow to deep.
    pub fn layer_names(&self) -> &[String] {
        &self.layer_names
    }

    /// L.
    pub fn n_layers(&self) -> usize {
        self.layer_names.len()
    }

    /// K.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Precision of the activations.
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// How samples entered.
    pub fn options(&self) -> MomentsOptions {
        self.options
    }

    /// Names of the blocks, in order.
    pub fn block_names(&self) -> impl Iterator<Item = &str> {
        self.blocks.iter().map(|b| b.name.as_str())
    }

    /// Samples in each block.
    pub fn block_sizes(&self) -> Vec<u64> {
        self.blocks.iter().map(|b| b.n_samples).collect()
    }

    /// The Gram matrix of the layers over the blocks, each counted `weights[b]` times.
    ///
    /// `None` counts every block once; 0 leaves a block out (a fold), 2 counts it twice (a bootstrap
    /// draw). Errors: a weight per block missing, negative or not finite; fewer than 2 samples; a layer
    /// that does not vary (named). Cost: O(B·L·(L + K) + L²·K).
    pub fn gram(&self, weights: Option<&[f64]>, centring: Centring) -> Result<DepthGram> {
        let total = self.total(weights)?;
        let n_layers = self.n_layers();
        let triangle = self.options.triangles.then(|| self.joint(weights, &total, centring));
        let mut gram = total.products.clone();
        if let Some(triangle) = &triangle {
            gram = stereotax_base::linalg::gram(triangle.as_ref());
        } else if centring == Centring::Stimuli {
            let mut squares = Mat::zeros(n_layers, n_layers);
            add_gram(squares.as_mut(), total.sums.as_ref());
            mirror_lower(squares.as_mut());
            gram = Mat::from_fn(n_layers, n_layers, |l, m| {
                total.products[(l, m)] - squares[(l, m)] / total.n_samples
            });
        }
        for l in 0..n_layers {
            let raw = total.products[(l, l)];
            if !(gram[(l, l)] > CONSTANT * raw && raw > 0.0) {
                return Err(Error::ZeroVariance {
                    what: self.layer_names[l].clone(),
                    detail: format!("it is constant over {} samples", total.n_samples),
                    hint: "leave the layer out, or check that it was tapped where activations vary".into(),
                });
            }
        }
        let values = total.n_samples * self.width as f64;
        Ok(DepthGram {
            rms: (0..n_layers).map(|l| (gram[(l, l)] / values).sqrt()).collect(),
            gram,
            triangle,
            n_samples: total.n_samples,
            width: self.width,
            epsilon: self.epsilon,
            unit_sample: self.options.unit_sample,
        })
    }

    /// Mean of every unit over the weighted blocks: L vectors of K. Errors as for [`DepthMoments::gram`].
    pub fn layer_means(&self, weights: Option<&[f64]>) -> Result<Vec<Vec<f64>>> {
        let total = self.total(weights)?;
        Ok((0..self.n_layers())
            .map(|l| total.sums.col(l).iter().map(|s| s / total.n_samples).collect())
            .collect())
    }

    /// The triangular factor of a weighting of the blocks.
    fn joint(&self, weights: Option<&[f64]>, total: &Total, centring: Centring) -> Mat<f64> {
        let mut triangle = Mat::zeros(self.n_layers(), self.n_layers());
        for (b, block) in self.blocks.iter().enumerate() {
            let (weight, n) = (weights.map_or(1.0, |w| w[b]), block.n_samples as f64);
            let Some(own) = block.triangle.as_ref().filter(|_| weight > 0.0 && n > 0.0) else { continue };
            let means = Mat::from_fn(self.width, self.n_layers(), |k, l| {
                let overall = match centring {
                    Centring::Stimuli => total.sums[(k, l)] / total.n_samples,
                    Centring::None => 0.0,
                };
                (weight * n).sqrt() * (block.sums[(k, l)] / n - overall)
            });
            let within = own * faer::Scale(weight.sqrt());
            triangle = joint_triangle(&[triangle.as_ref(), within.as_ref(), means.as_ref()]);
        }
        triangle
    }

    fn total(&self, weights: Option<&[f64]>) -> Result<Total> {
        let once = vec![1.0; self.blocks.len()];
        let weights = weights.unwrap_or(&once);
        if weights.len() != self.blocks.len() || weights.iter().any(|w| !(*w >= 0.0 && w.is_finite())) {
            return Err(Error::Invalid {
                what: "weights".into(),
                expected: format!("{} finite numbers of at least 0 (one per block)", self.blocks.len()),
                found: format!("{weights:?}"),
                hint: "0 leaves a block out, 1 counts it once".into(),
            });
        }
        let mut total = Total {
            n_samples: 0.0,
            products: Mat::zeros(self.n_layers(), self.n_layers()),
            sums: Mat::zeros(self.width, self.n_layers()),
        };
        for (block, &weight) in self.blocks.iter().zip(weights).filter(|(_, w)| **w > 0.0) {
            total.n_samples += weight * block.n_samples as f64;
            for l in 0..self.n_layers() {
                for (out, x) in total.products.col_mut(l).iter_mut().zip(block.products.col(l).iter()) {
                    *out += weight * x;
                }
                for (out, x) in total.sums.col_mut(l).iter_mut().zip(block.sums.col(l).iter()) {
                    *out += weight * x;
                }
            }
        }
        if total.n_samples < 2.0 {
            return Err(Error::TooFew {
                what: "samples".into(),
                needed: "2 samples".into(),
                found: format!("{}", total.n_samples),
                hint: "keep more blocks".into(),
            });
        }
        Ok(total)
    }

    /// Read rows straight into the columns of a tile and add them.
    fn add_rows(&self, source: &dyn TileSource, rows: Range<usize>, sum: &mut Block) -> Result<()> {
        let mut tile: Mat<f64> = Mat::zeros(rows.len() * self.width, self.layer_names.len());
        for layer in 0..self.layer_names.len() {
            if let Some(column) = tile.col_mut(layer).try_as_col_major_mut() {
                source.read_rows(layer, rows.clone(), column.as_slice_mut())?;
            }
        }
        self.add_packed(&mut tile, rows, sum)
    }

    fn empty_block(&self) -> Block {
        Block::empty("", self.layer_names.len(), self.width, self.options.triangles)
    }

    /// Add a tile whose column l holds the samples of layer l, row after row. Lower triangle only.
    fn add_packed(&self, tile: &mut Mat<f64>, rows: Range<usize>, sum: &mut Block) -> Result<()> {
        if !self.options.triangles {
            return self.add_products(tile, rows, sum);
        }
        let mut own = self.empty_block();
        self.add_products(tile, rows, &mut own)?;
        own.triangle = Some(triangle_of(tile, &own));
        sum.add(&own);
        Ok(())
    }

    fn add_products(&self, tile: &mut Mat<f64>, rows: Range<usize>, sum: &mut Block) -> Result<()> {
        let width = self.width;
        for l in 0..self.layer_names.len() {
            let Some(column) = tile.col_mut(l).try_as_col_major_mut() else { continue };
            let column = column.as_slice_mut();
            let Some(sums) = sum.sums.col_mut(l).try_as_col_major_mut() else { continue };
            let sums = sums.as_slice_mut();
            for sample in column.chunks_exact_mut(width) {
                if self.options.unit_sample {
                    let length = sample.iter().map(|x| x * x).sum::<f64>().sqrt();
                    if length > 0.0 {
                        sample.iter_mut().for_each(|x| *x /= length);
                    }
                }
                for (total, x) in sums.iter_mut().zip(sample.iter()) {
                    *total += x;
                }
            }
        }
        let mut from = 0;
        while from < tile.nrows() {
            let to = (from + CHUNK_ROWS).min(tile.nrows());
            add_gram(sum.products.as_mut(), tile.get(from..to, ..));
            from = to;
        }
        sum.n_samples += rows.len() as u64;
        for l in 0..self.layer_names.len() {
            // A sum of squares is finite only if every entry is; look closer only where it is not.
            if !sum.products[(l, l)].is_finite() {
                return Err(self.not_finite(tile.as_ref(), l, rows.start));
            }
        }
        Ok(())
    }

    fn not_finite(&self, tile: MatRef<f64>, layer: usize, first_sample: usize) -> Error {
        let bad: Vec<usize> = (0..tile.nrows()).filter(|&i| !tile[(i, layer)].is_finite()).collect();
        match bad.first() {
            Some(at) => Error::NotFinite {
                what: self.layer_names[layer].clone(),
                row: first_sample + at / self.width,
                column: at % self.width,
                count: bad.len(),
                hint: "rows are samples and columns units; leave the sample out of every layer, or store activations in a wider format".into(),
            },
            None => Error::Invalid {
                what: self.layer_names[layer].clone(),
                expected: "activations whose squares can be added up".into(),
                found: "a sum of squares beyond the range of f64".into(),
                hint: "divide the activations by a constant first".into(),
            },
        }
    }
}

struct Total {
    n_samples: f64,
    products: Mat<f64>,
    sums: Mat<f64>,
}

impl Block {
    fn empty(name: &str, n_layers: usize, width: usize, triangles: bool) -> Self {
        Block {
            name: name.to_owned(),
            n_samples: 0,
            products: Mat::zeros(n_layers, n_layers),
            sums: Mat::zeros(width, n_layers),
            triangle: triangles.then(|| Mat::zeros(n_layers, n_layers)),
        }
    }

    fn add(&mut self, other: &Block) {
        if let (Some(ours), Some(theirs)) = (&self.triangle, &other.triangle) {
            // What separates the two means is part of the joint rows: √(n n′ / (n + n′)) (m − m′).
            let (n, m) = (self.n_samples as f64, other.n_samples as f64);
            let between = if n > 0.0 && m > 0.0 {
                let scale = (n * m / (n + m)).sqrt();
                Mat::from_fn(self.sums.nrows(), self.sums.ncols(), |k, l| {
                    scale * (self.sums[(k, l)] / n - other.sums[(k, l)] / m)
                })
            } else {
                Mat::zeros(0, self.sums.ncols())
            };
            self.triangle = Some(joint_triangle(&[ours.as_ref(), theirs.as_ref(), between.as_ref()]));
        }
        self.n_samples += other.n_samples;
        self.products += &other.products;
        self.sums += &other.sums;
    }
}

/// The triangular factor of a tile's rows minus their mean; centres the tile.
fn triangle_of(tile: &mut Mat<f64>, sums: &Block) -> Mat<f64> {
    let (width, n_layers) = (sums.sums.nrows(), tile.ncols());
    for l in 0..n_layers {
        let means: Vec<f64> = sums.sums.col(l).iter().map(|s| s / sums.n_samples as f64).collect();
        for (at, x) in tile.col_mut(l).iter_mut().enumerate() {
            *x -= means[at % width];
        }
    }
    let mut triangle = Mat::zeros(n_layers, n_layers);
    for from in (0..tile.nrows()).step_by(CHUNK_ROWS) {
        let to = (from + CHUNK_ROWS).min(tile.nrows());
        triangle = joint_triangle(&[triangle.as_ref(), tile.get(from..to, ..)]);
    }
    triangle
}

/// R (L × L) of matrices of L columns stacked on one another.
fn joint_triangle(parts: &[MatRef<f64>]) -> Mat<f64> {
    let n_layers = parts.first().map_or(0, |p| p.ncols());
    let mut rows = Mat::zeros(parts.iter().map(|p| p.nrows()).sum::<usize>(), n_layers);
    let mut from = 0;
    for part in parts {
        rows.get_mut(from..from + part.nrows(), ..).copy_from(part);
        from += part.nrows();
    }
    let short = thin_qr(rows.as_ref()).1;
    Mat::from_fn(n_layers, n_layers, |i, j| if i < short.nrows() && i <= j { short[(i, j)] } else { 0.0 })
}

impl DepthGram {
    /// Scale the layers (specs: nfas-dmd 3.4, item 3).
    ///
    /// Errors: `UnitSample` for moments that were not accumulated with `unit_sample`.
    pub fn scaled(&self, scaling: Scaling) -> Result<ScaledGram> {
        if scaling == Scaling::UnitSample && !self.unit_sample {
            return Err(Error::Invalid {
                what: "scale".into(),
                expected: "unit_sample to be asked for when the moments are accumulated".into(),
                found: "moments of samples as they are".into(),
                hint: "accumulate again with `unit_sample`, or scale by frobenius".into(),
            });
        }
        let n_layers = self.gram.ncols();
        let divisors = match scaling {
            Scaling::Frobenius => self.rms.clone(),
            Scaling::None | Scaling::Pair | Scaling::UnitSample => vec![1.0; n_layers],
        };
        Ok(ScaledGram {
            gram: Mat::from_fn(n_layers, n_layers, |l, m| self.gram[(l, m)] / (divisors[l] * divisors[m])),
            triangle: self
                .triangle
                .as_ref()
                .map(|r| Mat::from_fn(r.nrows(), n_layers, |i, l| r[(i, l)] / divisors[l])),
            divisors,
            pair: scaling == Scaling::Pair,
            epsilon: self.epsilon,
            state_size: Some((self.n_samples * self.width as f64) as usize),
        })
    }
}

/// Tiles of one block that one task adds up.
struct Task {
    block: usize,
    tiles: Vec<Range<usize>>,
}

fn samples_per_tile(values_per_sample: usize) -> usize {
    (TILE_VALUES / values_per_sample.max(1)).max(1)
}

/// Cut the samples of every block into tiles, and the tiles into tasks.
fn plan(blocks: &[usize], n_blocks: usize, values_per_sample: usize) -> Vec<Task> {
    let per_tile = samples_per_tile(values_per_sample);
    let mut tiles_of: Vec<Vec<Range<usize>>> = vec![Vec::new(); n_blocks];
    let mut from = 0;
    while from < blocks.len() {
        let block = blocks[from];
        let mut to = from + 1;
        while to < blocks.len() && blocks[to] == block && to - from < per_tile {
            to += 1;
        }
        tiles_of[block].push(from..to);
        from = to;
    }
    tiles_of
        .iter()
        .enumerate()
        .flat_map(|(block, tiles)| {
            tiles.chunks(TILES_PER_TASK).map(move |tiles| Task { block, tiles: tiles.to_vec() })
        })
        .collect()
}

fn check_layers(layers: &[LayerInfo]) -> Result<()> {
    let Some(first) = layers.first() else {
        return Err(Error::TooFew {
            what: "layers".into(),
            needed: "1 layer".into(),
            found: "none".into(),
            hint: "name the layers to tap".into(),
        });
    };
    if first.width == 0 {
        return Err(Error::TooFew {
            what: first.name.clone(),
            needed: "1 unit".into(),
            found: "none".into(),
            hint: "check the shape of the activations (samples × units)".into(),
        });
    }
    if let Some(odd) = layers.iter().find(|l| l.width != first.width) {
        return Err(Error::Shape {
            what: odd.name.clone(),
            expected: format!("{} units (as in layer `{}`)", first.width, first.name),
            found: format!("{} units", odd.width),
            hint: "set a layer map (procrustes, pca, kernel) for layers of different width".into(),
        });
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------------
// Bytes
// ---------------------------------------------------------------------------------------------------

const MAGIC: &[u8; 8] = b"STXMOMT1";

impl DepthMoments {
    /// Write everything down: magic number with version, sizes, names, numbers (little endian) and a
    /// checksum. The same moments give the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let put = |out: &mut Vec<u8>, x: u64| out.extend_from_slice(&x.to_le_bytes());
        put(&mut out, self.layer_names.len() as u64);
        put(&mut out, self.width as u64);
        put(&mut out, self.blocks.len() as u64);
        put(&mut out, u64::from(self.options.unit_sample) + 2 * u64::from(self.options.triangles));
        put(&mut out, self.epsilon.to_bits());
        for name in self.layer_names.iter().chain(self.blocks.iter().map(|b| &b.name)) {
            put(&mut out, name.len() as u64);
            out.extend_from_slice(name.as_bytes());
        }
        for block in &self.blocks {
            put(&mut out, block.n_samples);
            for matrix in [&block.products, &block.sums].into_iter().chain(&block.triangle) {
                for j in 0..matrix.ncols() {
                    matrix.col(j).iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes()));
                }
            }
        }
        let sum = checksum(&out);
        put(&mut out, sum);
        out
    }

    /// Read what [`DepthMoments::to_bytes`] wrote. Anything else gives an error and never more memory
    /// than a few times the length of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let broken = |reason: &str| Error::Source { what: "depth moments".into(), reason: reason.into() };
        let Some((body, stored)) = bytes.len().checked_sub(8).map(|at| bytes.split_at(at)) else {
            return Err(broken("it is shorter than a checksum"));
        };
        if body.get(..8) != Some(MAGIC.as_slice()) {
            return Err(broken("it does not begin with the mark of depth moments, version 1"));
        }
        if checksum(body).to_le_bytes() != stored {
            return Err(broken("its checksum does not match: it was cut short or changed"));
        }
        let mut reader = Reader { rest: &body[8..] };
        let short = || broken("it ends before its own sizes say");
        let sizes: [u64; 5] = {
            let mut sizes = [0; 5];
            for size in &mut sizes {
                *size = reader.number().ok_or_else(short)?;
            }
            sizes
        };
        let limit = body.len() as u64;
        let [n_layers, width, n_blocks, options, epsilon] = sizes;
        if n_layers == 0 || width == 0 || n_blocks == 0 || n_layers.max(width).max(n_blocks) > limit {
            return Err(broken("its sizes are impossible"));
        }
        let epsilon = f64::from_bits(epsilon);
        let options = match options {
            0..4 => MomentsOptions { unit_sample: options % 2 == 1, triangles: options >= 2 },
            _ => return Err(broken("its options are impossible")),
        };
        if !(epsilon > 0.0 && epsilon < 1.0) {
            return Err(broken("its options are impossible"));
        }
        let per_block = n_layers
            .checked_mul(n_layers + width + if options.triangles { n_layers } else { 0 })
            .and_then(|n| n.checked_mul(8));
        if per_block.and_then(|n| n.checked_mul(n_blocks)).is_none_or(|n| n > limit) {
            return Err(short());
        }
        let (n_layers, width, n_blocks) = (n_layers as usize, width as usize, n_blocks as usize);
        let mut names = Vec::new();
        for _ in 0..n_layers + n_blocks {
            let length = reader.number().ok_or_else(short)?;
            let text = reader.take(length).ok_or_else(short)?;
            names.push(String::from_utf8(text.to_vec()).map_err(|_| broken("a name is not text"))?);
        }
        let block_names = names.split_off(n_layers);
        let mut sorted = block_names.clone();
        sorted.sort();
        sorted.dedup();
        if sorted.len() != n_blocks {
            return Err(broken("two blocks have the same name"));
        }
        let mut blocks = Vec::new();
        for name in block_names {
            let n_samples = reader.number().ok_or_else(short)?;
            let products = reader.matrix(n_layers, n_layers).ok_or_else(short)?;
            let sums = reader.matrix(width, n_layers).ok_or_else(short)?;
            let triangle =
                options.triangles.then(|| reader.matrix(n_layers, n_layers).ok_or_else(short)).transpose()?;
            let finite = |m: &Mat<f64>| (0..m.ncols()).all(|j| m.col(j).iter().all(|x| x.is_finite()));
            let symmetric = (0..n_layers).all(|i| (0..i).all(|j| products[(i, j)] == products[(j, i)]));
            if !finite(&products) || !finite(&sums) || !symmetric || !triangle.as_ref().is_none_or(finite) {
                return Err(broken("its numbers are not moments"));
            }
            blocks.push(Block { name, n_samples, products, sums, triangle });
        }
        if !reader.rest.is_empty() {
            return Err(broken("it is longer than its own sizes say"));
        }
        Ok(DepthMoments { layer_names: names, width, epsilon, options, blocks })
    }
}

/// 64-bit FNV-1a over 8-byte words, the last one padded with zeros.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(head)
    }

    fn number(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn matrix(&mut self, rows: usize, columns: usize) -> Option<Mat<f64>> {
        let bytes = self.take(8 * (rows as u64) * (columns as u64))?;
        let at = |i: usize, j: usize| {
            let from = 8 * (j * rows + i);
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[from..from + 8]);
            f64::from_le_bytes(word)
        };
        Some(Mat::from_fn(rows, columns, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::data::{LayerArrays, Precision};
    use stereotax_base::linalg::gram;
    use stereotax_base::stats::rng::Stream;

    const N: usize = 90;
    const K: usize = 7;
    const L: usize = 5;

    fn layers(index: u64, n: usize, width: usize) -> Vec<Mat<f64>> {
        let mut stream = Stream::new(8, "moments tests", index);
        (0..L).map(|l| Mat::from_fn(n, width, |_, k| stream.normal() * (l + 1) as f64 + k as f64)).collect()
    }

    fn names(what: &str, n: usize) -> Vec<String> {
        (0..n).map(|i| format!("{what} {i}")).collect()
    }

    fn blocks(n: usize) -> Vec<usize> {
        (0..n).map(|t| (t / 20) % 3).collect()
    }

    fn moments(arrays: &[Mat<f64>], options: MomentsOptions) -> DepthMoments {
        let source =
            LayerArrays::new(&names("layer", L), arrays.iter().map(|a| a.as_ref()).collect()).unwrap();
        let n = arrays[0].nrows();
        DepthMoments::accumulate(&source, &blocks(n), &names("block", 3), options, &Monitor::silent())
            .unwrap()
    }

    /// Slow twin: select rows with repetition, centre, flatten, multiply.
    fn direct(arrays: &[Mat<f64>], multiplicity: [usize; 3], centre: bool) -> Mat<f64> {
        let rows: Vec<usize> = blocks(N)
            .iter()
            .enumerate()
            .flat_map(|(t, &b)| std::iter::repeat_n(t, multiplicity[b]))
            .collect();
        let flat = Mat::from_fn(rows.len() * K, L, |i, l| {
            let column = i % K;
            let mean = rows.iter().map(|&t| arrays[l][(t, column)]).sum::<f64>() / rows.len() as f64;
            arrays[l][(rows[i / K], column)] - if centre { mean } else { 0.0 }
        });
        gram(flat.as_ref())
    }

    #[test]
    fn grams_of_all_samples_folds_and_draws_agree_with_the_rows_themselves() {
        let arrays = layers(0, N, K);
        let m = moments(&arrays, MomentsOptions::default());
        assert_eq!(m.block_sizes(), [40, 30, 20]);
        for (weights, multiplicity) in
            [(None, [1, 1, 1]), (Some([1.0, 0.0, 1.0]), [1, 0, 1]), (Some([2.0, 0.0, 3.0]), [2, 0, 3])]
        {
            for centring in [Centring::Stimuli, Centring::None] {
                let expected = direct(&arrays, multiplicity, centring == Centring::Stimuli);
                let found = m.gram(weights.as_ref().map(|w| w.as_slice()), centring).unwrap();
                assert!((&found.gram - &expected).norm_max() < 1e-11 * expected.norm_max());
                let n = found.n_samples * K as f64;
                assert!((found.rms[2] - (expected[(2, 2)] / n).sqrt()).abs() < 1e-12);
                let scaled = found.scaled(Scaling::Frobenius).unwrap();
                assert!((0..L).all(|l| (scaled.gram[(l, l)] - n).abs() < 1e-9 * n));
                let entry = expected[(1, 3)] / (found.rms[1] * found.rms[3]);
                assert!((scaled.gram[(1, 3)] - entry).abs() < 1e-9 * n);
            }
        }
        let means = m.layer_means(Some(&[0.0, 1.0, 0.0])).unwrap();
        let rows: Vec<usize> = (0..N).filter(|t| blocks(N)[*t] == 1).collect();
        let expected = rows.iter().map(|&t| arrays[3][(t, 4)]).sum::<f64>() / 30.0;
        assert!((means[3][4] - expected).abs() < 1e-12);
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        // 26 samples fill a tile of 5 × 16 000 values, so that there are many tiles and tasks.
        let arrays = layers(1, 700, 16_000 / 10);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| moments(&arrays, MomentsOptions::default()))
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(8));
    }

    #[test]
    fn tiles_by_hand_and_merged_parts_give_the_same_moments() {
        let arrays = layers(2, N, K);
        let whole = moments(&arrays, MomentsOptions::default());
        let info: Vec<LayerInfo> = names("layer", L)
            .into_iter()
            .map(|name| LayerInfo { name, width: K, precision: Precision::F64 })
            .collect();
        let empty = || DepthMoments::new(&info, &names("block", 3), MomentsOptions::default()).unwrap();
        let (mut first, mut second) = (empty(), empty());
        let codes = blocks(N);
        for t in 0..N {
            let rows: Vec<MatRef<f64>> = arrays.iter().map(|a| a.get(t..t + 1, ..)).collect();
            let part = if t < 50 { &mut first } else { &mut second };
            part.add_tile(codes[t], t, &rows).unwrap();
        }
        let merged = first.merge(&second).unwrap();
        assert_eq!(merged.block_sizes(), whole.block_sizes());
        let (a, b) =
            (merged.gram(None, Centring::Stimuli).unwrap(), whole.gram(None, Centring::Stimuli).unwrap());
        assert!((a.gram - &b.gram).norm_max() < 1e-11 * b.gram.norm_max());
        let mut other = info.clone();
        other[1].name = "elsewhere".into();
        let other = DepthMoments::new(&other, &names("block", 3), MomentsOptions::default()).unwrap();
        assert!(matches!(merged.merge(&other), Err(Error::Shape { .. })));
    }

    #[test]
    fn unit_samples_lose_their_gain() {
        let arrays = layers(3, N, K);
        let louder: Vec<Mat<f64>> =
            arrays.iter().map(|a| Mat::from_fn(N, K, |t, k| a[(t, k)] * (1.0 + t as f64))).collect();
        let options = MomentsOptions { unit_sample: true, triangles: false };
        let a = moments(&arrays, options).gram(None, Centring::Stimuli).unwrap();
        let b = moments(&louder, options).gram(None, Centring::Stimuli).unwrap();
        assert!((&a.gram - &b.gram).norm_max() < 1e-12 * a.gram.norm_max());
        assert_eq!(a.scaled(Scaling::UnitSample).unwrap().divisors, [1.0; L]);
        let plain = moments(&arrays, MomentsOptions::default()).gram(None, Centring::Stimuli).unwrap();
        assert!(matches!(plain.scaled(Scaling::UnitSample), Err(Error::Invalid { .. })));
        assert!(plain.scaled(Scaling::Pair).unwrap().pair);
    }

    #[test]
    fn bytes_come_back_and_broken_ones_are_refused() {
        let m = moments(&layers(4, N, K), MomentsOptions { unit_sample: true, triangles: false });
        let bytes = m.to_bytes();
        assert_eq!(DepthMoments::from_bytes(&bytes).unwrap(), m);
        for cut in [0, 7, 8, 20, 60, bytes.len() - 1] {
            assert!(matches!(DepthMoments::from_bytes(&bytes[..cut]), Err(Error::Source { .. })));
        }
        for at in (0..bytes.len()).step_by(13) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            assert!(DepthMoments::from_bytes(&changed).is_err(), "byte {at}");
        }
        // Hostile: sizes beyond all memory under a checksum that fits.
        for at in [8, 16, 24, 48] {
            let mut hostile = bytes[..bytes.len() - 8].to_vec();
            hostile[at..at + 8].copy_from_slice(&(u64::MAX / 3).to_le_bytes());
            let sum = checksum(&hostile);
            hostile.extend_from_slice(&sum.to_le_bytes());
            assert!(matches!(DepthMoments::from_bytes(&hostile), Err(Error::Source { .. })));
        }
    }

    #[test]
    fn bad_data_are_named() {
        let mut arrays = layers(5, N, K);
        arrays[2][(33, 4)] = f64::NAN;
        arrays[2][(34, 1)] = f64::INFINITY;
        let source =
            LayerArrays::new(&names("layer", L), arrays.iter().map(|a| a.as_ref()).collect()).unwrap();
        let accumulate = |source: &LayerArrays, codes: &[usize]| {
            DepthMoments::accumulate(
                source,
                codes,
                &names("block", 3),
                MomentsOptions::default(),
                &Monitor::silent(),
            )
        };
        match accumulate(&source, &blocks(N)) {
            Err(Error::NotFinite { what, row, column, .. }) => {
                assert_eq!((what.as_str(), row, column), ("layer 2", 33, 4))
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(accumulate(&source, &[0; 3]), Err(Error::Shape { .. })));
        assert!(matches!(accumulate(&source, &[3; N]), Err(Error::Shape { .. })));

        let mut flat = layers(6, N, K);
        flat[1] = Mat::from_fn(N, K, |_, k| 0.1 + k as f64);
        match moments(&flat, MomentsOptions::default()).gram(None, Centring::Stimuli) {
            Err(Error::ZeroVariance { what, .. }) => assert_eq!(what, "layer 1"),
            other => panic!("{other:?}"),
        }

        let mut uneven = layers(7, N, K);
        uneven[3] = Mat::zeros(N, K + 1);
        let source =
            LayerArrays::new(&names("layer", L), uneven.iter().map(|a| a.as_ref()).collect()).unwrap();
        let refused = accumulate(&source, &blocks(N)).unwrap_err().to_string();
        assert!(
            refused.contains("layer 3") && refused.contains("layer 0") && refused.contains("layer map"),
            "{refused}"
        );

        let m = moments(&layers(8, N, K), MomentsOptions::default());
        assert!(matches!(m.gram(Some(&[0.0; 3]), Centring::Stimuli), Err(Error::TooFew { .. })));
        assert!(matches!(m.gram(Some(&[1.0, -1.0, 1.0]), Centring::Stimuli), Err(Error::Invalid { .. })));
        assert!(matches!(m.gram(Some(&[1.0; 2]), Centring::Stimuli), Err(Error::Invalid { .. })));
    }
}
