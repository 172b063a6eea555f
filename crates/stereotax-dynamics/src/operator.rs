//! Turn an operator in the basis of X's leading directions into modes as layer weights.
//!
//! With pairs X, Y (ρ × p), X = U S Vᵀ truncated to r and the operator Ã = (r × r), Ã W = W Λ:
//!
//! ```text
//! c_k = T V S⁻¹ w_k                  layer coefficients (T maps pairs to layers)
//! projected: φ_k = X V S⁻¹ w_k = U w_k          layers 0 … L−2
//! exact:     φ_k = Y V S⁻¹ w_k / λ_k            layers 1 … L−1
//! residual:  ρ_k = ‖Y V S⁻¹ w_k − λ_k U w_k‖ / ‖w_k‖
//! ```
//!
//! The residual is computed as that vector and not as √(c*G₂₂c − |λ|²), which is the same number with
//! half the digits. An operator without a usable basis of eigenvectors has invariant subspaces instead
//! (`defective`). Source: Tu et al. 2014; Drmač, Mezić & Mohr 2018 (residual); specs: nfas-dmd 5.2,
//! 5.9. Cost: O(ρ L r + r³).

use faer::{Mat, MatRef, c64};

use super::defective::{Cluster, ClusterModes, clusters};
use super::modes::{RawModes, column_norm, real_times};
use super::reduce::Reduced;
use super::spectrum::ModeForm;
use stereotax_base::data::Result;
use stereotax_base::linalg::{Svd, eig, product, svd};

/// Below this share of the largest |λ| an exact mode would divide by nothing.
const SMALLEST_EXACT: f64 = 1e-10;
/// Above this condition number of W the operator counts as defective.
const DEFECTIVE: f64 = 1e10;

/// Snapshot pairs: each column of `y` is what the column of `x` became one layer on.
#[derive(Debug, Clone)]
pub(super) struct Pairs {
    /// ρ × p.
    pub x: Mat<f64>,
    /// ρ × p.
    pub y: Mat<f64>,
    /// p × p: combination of pairs → combination of layers (before the shift by one of exact modes).
    pub to_layers: Mat<f64>,
}

impl Pairs {
    /// Neighbouring layers; with `by_length`, both members of a pair divided by ‖x_l‖ (scale `pair`).
    pub fn new(reduced: &Reduced, by_length: bool) -> Self {
        let (z, p) = (&reduced.snapshots, reduced.n_layers() - 1);
        let scale: Vec<f64> = (0..p)
            .map(|l| {
                let length = z.col(l).norm_l2();
                if by_length && length > 0.0 { 1.0 / length } else { 1.0 }
            })
            .collect();
        Pairs {
            x: Mat::from_fn(z.nrows(), p, |i, l| z[(i, l)] * scale[l]),
            y: Mat::from_fn(z.nrows(), p, |i, l| z[(i, l + 1)] * scale[l]),
            to_layers: Mat::from_fn(p, p, |i, j| if i == j { scale[i] } else { 0.0 }),
        }
    }

    /// Replace the pairs by combinations of them: X·P, Y·P.
    pub fn combined(&self, p: MatRef<f64>) -> Self {
        Pairs {
            x: product(self.x.as_ref(), p),
            y: product(self.y.as_ref(), p),
            to_layers: product(self.to_layers.as_ref(), p),
        }
    }
}

/// Proper orthogonal decomposition of X, truncated.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    /// ρ × r.
    pub u: Mat<f64>,
    /// r singular values.
    pub s: Vec<f64>,
    /// p × r.
    pub v: Mat<f64>,
}

impl Pod {
    /// All singular values of X, padded with zeros to one per pair.
    pub fn full(x: MatRef<f64>) -> Result<Svd> {
        let mut decomposed = svd(x)?;
        decomposed.s.resize(x.ncols(), 0.0);
        Ok(decomposed)
    }

    /// The leading `rank` directions; fewer where X has fewer.
    pub fn leading(full: &Svd, rank: usize) -> Self {
        let rank = rank.min(full.u.ncols());
        Pod {
            u: full.u.get(.., ..rank).to_owned(),
            s: full.s[..rank].to_vec(),
            v: full.v.get(.., ..rank).to_owned(),
        }
    }

    /// V S⁻¹ (p × r), with Tikhonov's σ/(σ² + η·mean σ²) in place of 1/σ.
    pub fn whitening(&self, tikhonov: f64) -> Mat<f64> {
        let mean = self.s.iter().map(|s| s * s).sum::<f64>() / self.s.len() as f64;
        Mat::from_fn(self.v.nrows(), self.s.len(), |i, k| {
            let s = self.s[k];
            let inverse = if tikhonov > 0.0 { s / (s * s + tikhonov * mean) } else { 1.0 / s };
            self.v[(i, k)] * inverse
        })
    }

    /// Uᵀ Y V S⁻¹ (r × r).
    pub fn operator(&self, y: MatRef<f64>, tikhonov: f64) -> Mat<f64> {
        let moved = product(y, self.whitening(tikhonov).as_ref());
        product(self.u.transpose(), moved.as_ref())
    }
}

/// Eigenvalues of an operator in U's coordinates with their vectors.
#[derive(Debug, Clone)]
pub(super) struct Eigenpairs {
    pub values: Vec<c64>,
    /// r × modes, of any length.
    pub vectors: Mat<c64>,
    /// Invariant subspaces, where eigenvectors are so nearly parallel that they mean nothing; else empty.
    pub clusters: Vec<Cluster>,
    pub warnings: Vec<String>,
}

/// Eigenpairs of Ã; where the condition number of its eigenvectors is above 10¹⁰, the invariant subspaces
/// of its clusters as well, with a warning.
pub(super) fn eigenpairs(operator: MatRef<f64>) -> Result<Eigenpairs> {
    let decomposed = eig(operator)?;
    let n = decomposed.values.len();
    // The singular values of the complex W are those of its real form, twice each.
    let real = Mat::from_fn(2 * n, 2 * n, |i, j| {
        let z = decomposed.vectors[(i % n, j % n)];
        match (i < n, j < n) {
            (true, true) | (false, false) => z.re,
            (true, false) => -z.im,
            (false, true) => z.im,
        }
    });
    let s = svd(real.as_ref())?.s;
    let (mut warnings, mut found) = (Vec::new(), Vec::new());
    if s.first().zip(s.last()).is_some_and(|(first, last)| !(*first <= DEFECTIVE * *last)) {
        found = clusters(operator)?;
        let merged: Vec<String> = found
            .iter()
            .filter(|c| c.size > 1 + usize::from(c.value.im > 0.0))
            .map(|c| format!("{} at {:.4}", c.size, c.value))
            .collect();
        warnings.push(format!(
            "the operator is nearly defective: some modes are parallel, so invariant subspaces stand in for them ({})",
            merged.join(", ")
        ));
    }
    Ok(Eigenpairs { values: decomposed.values, vectors: decomposed.vectors, clusters: found, warnings })
}

/// Modes, layer coefficients and residuals of eigenpairs in the basis `pod` of `pairs`.
pub(super) fn ritz_modes(
    n_layers: usize,
    pairs: &Pairs,
    pod: &Pod,
    pairs_found: Eigenpairs,
    form: ModeForm,
    tikhonov: f64,
) -> RawModes {
    let Eigenpairs { values, vectors, clusters, mut warnings } = pairs_found;
    let plain = pod.whitening(0.0);
    let damped = pod.whitening(tikhonov);
    let to_layers = product(pairs.to_layers.as_ref(), plain.as_ref());
    let damped_to_layers = product(pairs.to_layers.as_ref(), damped.as_ref());
    let moved = product(pairs.y.as_ref(), damped.as_ref());
    let largest = values.iter().map(|z| z.norm()).fold(0.0, f64::max);
    let mut coefficients = Mat::<c64>::zeros(n_layers, values.len());
    let mut residuals = Vec::with_capacity(values.len());
    let mut substituted = 0;
    for (k, &value) in values.iter().enumerate() {
        let exact = form == ModeForm::Exact && value.norm() >= SMALLEST_EXACT * largest && largest > 0.0;
        substituted += usize::from(form == ModeForm::Exact && !exact);
        if exact {
            let shifted = real_times(damped_to_layers.as_ref(), vectors.as_ref(), k);
            for (l, c) in shifted.iter().enumerate() {
                coefficients[(l + 1, k)] = *c / value;
            }
        } else {
            let column = real_times(to_layers.as_ref(), vectors.as_ref(), k);
            for (l, c) in column.iter().enumerate() {
                coefficients[(l, k)] = *c;
            }
        }
        let (image, mode) = (
            real_times(moved.as_ref(), vectors.as_ref(), k),
            real_times(pod.u.as_ref(), vectors.as_ref(), k),
        );
        let missed: Vec<c64> = image.iter().zip(&mode).map(|(a, b)| *a - value * *b).collect();
        residuals.push(column_norm(&missed) / column_norm(&mode));
    }
    if substituted > 0 {
        warnings.push(format!(
            "{substituted} exact modes have an eigenvalue near 0; their projected form stands in"
        ));
    }
    let found: Vec<ClusterModes> = clusters
        .into_iter()
        .map(|cluster| {
            let image = product(moved.as_ref(), cluster.basis.as_ref());
            let kept =
                product(product(pod.u.as_ref(), cluster.basis.as_ref()).as_ref(), cluster.block.as_ref());
            let short = product(to_layers.as_ref(), cluster.basis.as_ref());
            ClusterModes {
                coefficients: Mat::from_fn(n_layers, cluster.size, |l, j| {
                    if l < short.nrows() { short[(l, j)] } else { 0.0 }
                }),
                residual: (image - kept).norm_l2() / (cluster.size as f64).sqrt(),
                cluster,
            }
        })
        .collect();
    if !found.is_empty() && form == ModeForm::Exact {
        warnings.push("an invariant subspace has no exact form; its projected form stands in".to_owned());
    }
    RawModes {
        clusters: found,
        eigenvalues: values,
        coefficients,
        residuals,
        amplitudes: None,
        positions: None,
        rank: pod.s.len(),
        warnings,
    }
}
