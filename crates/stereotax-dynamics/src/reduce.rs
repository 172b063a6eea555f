//! Reduce a depth trajectory to at most L numbers per layer without losing anything a DMD can see.
//!
//! H (n × L) holds one layer per column. Every estimator of this module gives the same answer on any
//! isometric image of H, so H is replaced by Z (ρ × L) with ZᵀZ = HᵀH = G:
//!
//! ```text
//! G = Q diag(w) Qᵀ,   ρ = #{ wᵢ > w₁ · max(L·ε₆₄, ε_in²) }
//! Z = diag(√w) Qᵀ     (ρ × L),      lift = Q diag(1/√w)   (L × ρ),      H · lift is orthonormal
//! ```
//!
//! so any vector v of the reduced space stands for the layer combination `lift · v` of H.
//!
//! Source: specs: nfas-dmd 4. The Gram route squares the condition number: directions with
//! σᵢ/σ₁ below √(L·ε₆₄) (about 10⁻⁷) are lost. [`reduce_tsqr`] reads the data once more and keeps them.
//!
//! Cost: O(L³) from G; O(n·L²) for the QR tree.

use std::ops::Range;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use stereotax_base::data::{Error, Monitor, Result, TileSource};
use stereotax_base::linalg::{eigh, svd, thin_qr};

/// Smallest σ ratio among the retained directions that the Gram route is trusted with.
pub const GRAM_TRUST: f64 = 1e-6;

/// How the layers are reduced to L numbers each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// From the Gram matrix; where a fit leans on what squaring blurs, by QR in a second pass.
    #[default]
    Auto,
    /// From the Gram matrix alone, with a warning where it is blurred.
    Gram,
    /// By QR of the activations, in a second pass.
    Tsqr,
}

/// An isometric image of the snapshots of a depth trajectory.
#[derive(Debug, Clone)]
pub struct Reduced {
    /// Z (ρ × L): column l stands for layer l.
    pub snapshots: Mat<f64>,
    /// L × ρ: H · lift has orthonormal columns.
    pub lift: Mat<f64>,
    /// Singular values of H, descending (L values; those that were cut are kept here for the record).
    pub singular_values: Vec<f64>,
    /// ρ: how many of them are above the noise of the input format.
    pub numerical_rank: usize,
    /// Share of σ₁ at which directions were cut.
    pub relative_cut: f64,
}

impl Reduced {
    /// L.
    pub fn n_layers(&self) -> usize {
        self.snapshots.ncols()
    }

    /// ‖H‖²_F over the retained directions.
    pub fn energy(&self) -> f64 {
        self.singular_values[..self.numerical_rank].iter().map(|s| s * s).sum()
    }

    /// Whether a rank-`rank` fit leans on directions that squaring has blurred: use [`reduce_tsqr`].
    pub fn needs_tsqr(&self, rank: usize) -> bool {
        let last = rank.min(self.numerical_rank);
        last > 0 && self.singular_values[last - 1] < GRAM_TRUST * self.singular_values[0]
    }
}

/// Reduce from the L × L Gram matrix of the layers.
///
/// `epsilon` is the precision of the input format (`TileSource::epsilon`). Errors: a Gram matrix that
/// is not square, not finite, or zero.
pub fn reduce(gram: MatRef<f64>, epsilon: f64) -> Result<Reduced> {
    check_gram(gram)?;
    let n_layers = gram.nrows();
    let decomposed = eigh(gram)?;
    let cut = relative_cut(n_layers, epsilon);
    let largest = decomposed.values[0];
    let rho = decomposed.values.iter().take_while(|&&w| w > largest * cut * cut).count();
    let root: Vec<f64> = decomposed.values.iter().map(|w| w.max(0.0).sqrt()).collect();
    Ok(Reduced {
        snapshots: Mat::from_fn(rho, n_layers, |i, l| root[i] * decomposed.vectors[(l, i)]),
        lift: Mat::from_fn(n_layers, rho, |l, i| decomposed.vectors[(l, i)] / root[i]),
        singular_values: root,
        numerical_rank: rho,
        relative_cut: cut,
    })
}

/// How layers are centred and scaled before they become snapshots.
#[derive(Debug, Clone, Copy)]
pub struct LayerTransform<'a> {
    /// Mean of every unit, per layer; `None` leaves the layers as they are.
    pub means: Option<&'a [Vec<f64>]>,
    /// Divisor of every layer.
    pub rms: &'a [f64],
}

/// Reduce from the data themselves by a tree of QR decompositions (Demmel et al. 2012): R of all
/// rows, then the SVD of R.
///
/// Rows of H are the (sample, unit) pairs of the samples in `rows`. Backward stable: directions down
/// to σᵢ/σ₁ ≈ L·ε₆₄ (or ε_in, where that is coarser) are kept. Tiles have a fixed size and are combined
/// in order, so the bits do not depend on the number of threads. Cost: 2·n·L² flops, one data pass.
pub fn reduce_tsqr(
    source: &dyn TileSource,
    rows: &[Range<usize>],
    transform: LayerTransform,
    monitor: &Monitor,
) -> Result<Reduced> {
    let layers = source.layers();
    let n_layers = layers.len();
    let width = layers.first().map_or(0, |l| l.width);
    if let Some(odd) = layers.iter().find(|l| l.width != width) {
        return Err(Error::Shape {
            what: odd.name.clone(),
            expected: format!("{width} units (as in layer `{}`)", layers[0].name),
            found: format!("{} units", odd.width),
            hint: "layers of different width need a layer map".into(),
        });
    }
    let samples_per_tile = (TSQR_ROWS / width.max(1)).max(1);
    let tiles: Vec<Range<usize>> = rows
        .iter()
        .flat_map(|range| {
            range.clone().step_by(samples_per_tile).map(|from| from..(from + samples_per_tile).min(range.end))
        })
        .collect();
    let triangles: Vec<Mat<f64>> = tiles
        .par_iter()
        .map(|tile| {
            monitor.check()?;
            let mut h = Mat::zeros(tile.len() * width, n_layers);
            let mut buffer = vec![0.0; tile.len() * width];
            for layer in 0..n_layers {
                source.read_rows(layer, tile.clone(), &mut buffer)?;
                let scale = 1.0 / transform.rms[layer];
                let means = transform.means.map(|m| &m[layer]);
                for (at, (&x, out)) in buffer.iter().zip(h.col_mut(layer).iter_mut()).enumerate() {
                    *out = (x - means.map_or(0.0, |m| m[at % width])) * scale;
                }
            }
            Ok(thin_qr(h.as_ref()).1)
        })
        .collect::<Result<_>>()?;
    let triangle = triangles.into_iter().fold(Mat::zeros(0, n_layers), |above, below| {
        thin_qr(stack(above.as_ref(), below.as_ref()).as_ref()).1
    });
    reduce_triangle(triangle.as_ref(), source.epsilon())
}

/// Rows of H (sample × unit pairs) per tile of the QR tree: 4 MB at 32 layers.
const TSQR_ROWS: usize = 16_384;

/// Reduce from R (or from any short matrix with the Gram matrix of H).
pub fn reduce_triangle(triangle: MatRef<f64>, epsilon: f64) -> Result<Reduced> {
    let n_layers = triangle.ncols();
    let decomposed = svd(triangle)?;
    let largest = decomposed.s.first().copied().unwrap_or(0.0);
    if !(largest > 0.0 && largest.is_finite()) {
        return Err(zero_trajectory());
    }
    let cut = (n_layers as f64 * f64::EPSILON).max(if epsilon > f64::EPSILON { epsilon } else { 0.0 });
    let rho = decomposed.s.iter().take_while(|&&s| s > largest * cut).count();
    let mut singular_values = decomposed.s.clone();
    singular_values.resize(n_layers, 0.0);
    Ok(Reduced {
        snapshots: Mat::from_fn(rho, n_layers, |i, l| decomposed.s[i] * decomposed.v[(l, i)]),
        lift: Mat::from_fn(n_layers, rho, |l, i| decomposed.v[(l, i)] / decomposed.s[i]),
        singular_values,
        numerical_rank: rho,
        relative_cut: cut,
    })
}

/// √max(L·ε₆₄, ε_in²): the σ ratio below which a Gram matrix knows nothing.
fn relative_cut(n_layers: usize, epsilon: f64) -> f64 {
    (n_layers as f64 * f64::EPSILON).max(epsilon * epsilon).sqrt()
}

fn stack(above: MatRef<f64>, below: MatRef<f64>) -> Mat<f64> {
    let height = above.nrows();
    Mat::from_fn(height + below.nrows(), below.ncols(), |i, j| {
        if i < height { above[(i, j)] } else { below[(i - height, j)] }
    })
}

fn check_gram(gram: MatRef<f64>) -> Result<()> {
    if gram.nrows() != gram.ncols() || gram.nrows() == 0 {
        return Err(Error::Shape {
            what: "gram".into(),
            expected: "as many rows as columns (one per layer)".into(),
            found: format!("{} rows and {} columns", gram.nrows(), gram.ncols()),
            hint: "pass HᵀH, with one column of H per layer".into(),
        });
    }
    let mut bad = 0;
    let mut first = None;
    for i in 0..gram.nrows() {
        for j in 0..gram.ncols() {
            if !gram[(i, j)].is_finite() {
                bad += 1;
                first.get_or_insert((i, j));
            }
        }
    }
    if let Some((row, column)) = first {
        return Err(Error::NotFinite {
            what: "gram".into(),
            row,
            column,
            count: bad,
            hint: "look for NaN or infinite activations in these layers".into(),
        });
    }
    if (0..gram.nrows()).all(|l| gram[(l, l)] <= 0.0) {
        return Err(zero_trajectory());
    }
    Ok(())
}

fn zero_trajectory() -> Error {
    Error::ZeroVariance {
        what: "trajectory".into(),
        detail: "every layer is zero after centring".into(),
        hint: "check that the layers hold activations and that there are at least 2 samples".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::data::LayerArrays;
    use stereotax_base::linalg::{cross, gram, product};
    use stereotax_base::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(1, "reduce tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    #[test]
    fn the_reduction_keeps_every_inner_product_and_lifts_to_an_orthonormal_basis() {
        let h = noise(60, 7, 0);
        let g = gram(h.as_ref());
        let reduced = reduce(g.as_ref(), f64::EPSILON).unwrap();
        assert_eq!(reduced.numerical_rank, 7);
        assert!((gram(reduced.snapshots.as_ref()) - &g).norm_max() < 1e-12 * g.norm_max());
        let basis = product(h.as_ref(), reduced.lift.as_ref());
        assert!((gram(basis.as_ref()) - Mat::<f64>::identity(7, 7)).norm_max() < 1e-12);
        // And the snapshots are the coordinates of H in that basis.
        let coordinates = cross(basis.as_ref(), h.as_ref());
        assert!((coordinates - &reduced.snapshots).norm_max() < 1e-11);
    }

    #[test]
    fn duplicate_layers_lower_the_rank_and_nothing_else() {
        let mut h = noise(60, 5, 1);
        for i in 0..60 {
            h[(i, 3)] = h[(i, 1)];
        }
        let reduced = reduce(gram(h.as_ref()).as_ref(), f64::EPSILON).unwrap();
        assert_eq!(reduced.numerical_rank, 4);
        let z = &reduced.snapshots;
        assert!((0..4).all(|i| (z[(i, 3)] - z[(i, 1)]).abs() < 1e-12));
    }

    #[test]
    fn single_precision_input_hides_what_lies_below_its_step() {
        let g = Mat::from_fn(3, 3, |i, j| if i == j { [1.0, 1e-6, 1e-16][i] } else { 0.0 });
        assert_eq!(reduce(g.as_ref(), f64::EPSILON).unwrap().numerical_rank, 2);
        assert_eq!(reduce(g.as_ref(), 1e-2).unwrap().numerical_rank, 1);
    }

    #[test]
    fn the_qr_tree_agrees_with_the_gram_and_sees_deeper() {
        // Two samples per row block, width 3; the last layer differs from the first by 1e-10 only.
        let (n, width) = (7000, 5);
        let base = noise(n, 4 * width, 2);
        let extra = noise(n, width, 3);
        let arrays: Vec<Mat<f64>> = (0..5)
            .map(|l| {
                Mat::from_fn(n, width, |t, k| {
                    if l < 4 { base[(t, l * width + k)] } else { base[(t, k)] + 1e-10 * extra[(t, k)] }
                })
            })
            .collect();
        let names: Vec<String> = (0..5).map(|l| format!("layer {l}")).collect();
        let source = LayerArrays::new(&names, arrays.iter().map(|a| a.as_ref()).collect()).unwrap();
        let flat = Mat::from_fn(n * width, 5, |i, l| arrays[l][(i / width, i % width)] / (l + 1) as f64);
        let from_gram = reduce(gram(flat.as_ref()).as_ref(), f64::EPSILON).unwrap();
        let transform = LayerTransform { means: None, rms: &[1.0, 2.0, 3.0, 4.0, 5.0] };
        let rows = [0..4000, 4000..n];
        let tree = reduce_tsqr(&source, &rows, transform, &Monitor::silent()).unwrap();
        assert_eq!((from_gram.numerical_rank, tree.numerical_rank), (4, 5));
        let scale = tree.singular_values[0];
        for (a, b) in from_gram.singular_values.iter().zip(&tree.singular_values).take(4) {
            assert!((a - b).abs() < 1e-12 * scale);
        }
        assert!(tree.needs_tsqr(5) && !tree.needs_tsqr(4));
        assert!((gram(tree.snapshots.as_ref()) - gram(flat.as_ref())).norm_max() < 1e-12 * scale * scale);
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let again = one.install(|| reduce_tsqr(&source, &rows, transform, &Monitor::silent()).unwrap());
        assert_eq!(tree.snapshots, again.snapshots);
    }

    #[test]
    fn hopeless_input_is_refused_with_its_place() {
        let mut g = Mat::<f64>::identity(3, 3);
        g[(1, 2)] = f64::NAN;
        let refused = reduce(g.as_ref(), 0.0).unwrap_err().to_string();
        assert!(refused.contains("row 1, column 2"), "{refused}");
        assert!(matches!(reduce(Mat::zeros(3, 3).as_ref(), 0.0), Err(Error::ZeroVariance { .. })));
        assert!(matches!(reduce(Mat::zeros(3, 2).as_ref(), 0.0), Err(Error::Shape { .. })));
    }
}
