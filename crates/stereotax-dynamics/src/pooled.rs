//! Fit one operator for all samples: every pair (h_l(t), h_{l+1}(t)) is one observation of it.
//!
//! With X, Y (K × pairs) holding the states before and after each step, all samples together:
//!
//! ```text
//! C11 = X Xᵀ,  C12 = X Yᵀ,  C22 = Y Yᵀ                        (K × K, streaming, mergeable)
//! standard (OLS)        C11 ≈ U S² Uᵀ:  A = C12ᵀ U S⁻² Uᵀ, restricted to U
//! total least squares   leading r eigenvectors [Q1; Q2] of [C11 C12; C12ᵀ C22]:  A = Q2 Q1⁺
//! reduced rank          V = leading r eigenvectors of C12ᵀ (C11 + γI)⁻¹ C12:  A = V Vᵀ C12ᵀ (C11 + γI)⁻¹
//! every A = F Gᵀ with F, G (K × r):  GᵀF W = W Λ,  φ = F w,  ψ* = (w⁻¹)Gᵀ/λ,  ψ_j* φ_k = δ_jk
//! Π = Re Σ_{k ∈ selected} φ_k ψ_k*,    s(t) = Π · mean_l h_l(t)
//! residual²:    ψ*(C22 − λ̄ C12ᵀ − λ C12 + |λ|² C11) ψ / ψ*C11ψ = ‖ψ*Y − λ ψ*X‖² / ‖ψ*X‖²
//! ```
//!
//! Independent layer noise adds to C11 but not to C12, so least squares shrinks |λ| and a stable mode
//! looks decaying; total least squares with noise of equal variance in all units does not. It is the
//! default here.
//!
//! States wider than 256 are first projected on the leading 256 directions of C11 + C22.
//!
//! Source: Hemati et al. 2017 (total least squares); Kostic et al. 2022 (reduced rank); Colbrook &
//! Townsend 2021 (residual); specs: nfas-dmd 5.1, 5.4, 5.9, 7. Cost: one pass of 1.5·pairs·K²
//! multiply-adds, then O(K³).

use std::ops::Range;

use faer::{Mat, MatRef, c64};
use rayon::prelude::*;

use super::modes::choose_modes;
use super::reduce::LayerTransform;
use super::spectrum::{DepthDmdParams, Estimator, RankRule};
use stereotax_base::data::{Error, Monitor, Result, TileSource};
use stereotax_base::linalg::{
    add_gram, add_product, cholesky_solve, cross, eigh, mirror_lower, product, pseudo_inverse, solve,
};

/// States are projected on this many directions at most.
pub const POOLED_WIDTH: usize = 256;
/// The energy rule keeps at most this many modes.
pub const POOLED_RANK_CAP: usize = 64;
/// Eigenvalues below this share of the largest have no eigenfunction to speak of.
const VANISHING: f64 = 1e-12;
/// Above this condition number of W the operator counts as defective.
const DEFECTIVE: f64 = 1e10;

/// Cross-moments of all one-step pairs of states. Moments of disjoint samples add up.
#[derive(Debug, Clone)]
pub struct PooledMoments {
    /// X Xᵀ (K × K).
    pub c11: Mat<f64>,
    /// X Yᵀ (K × K).
    pub c12: Mat<f64>,
    /// Y Yᵀ (K × K).
    pub c22: Mat<f64>,
    /// Observations: samples × (layers − 1).
    pub n_pairs: usize,
}

impl PooledMoments {
    /// No observation of states of this width.
    pub fn new(width: usize) -> Self {
        let zero = || Mat::zeros(width, width);
        PooledMoments { c11: zero(), c12: zero(), c22: zero(), n_pairs: 0 }
    }

    /// Add samples whose states (one matrix samples × K per layer, shallow to deep) are already
    /// centred over stimuli and scaled.
    pub fn add(&mut self, layers: &[MatRef<f64>]) -> Result<()> {
        let (width, rows) = (self.c11.nrows(), layers.first().map_or(0, |h| h.nrows()));
        if let Some((l, h)) = layers.iter().enumerate().find(|(_, h)| h.ncols() != width || h.nrows() != rows)
        {
            return Err(Error::Shape {
                what: format!("layer {l}"),
                expected: format!("{rows} samples × {width} units"),
                found: format!("{} × {}", h.nrows(), h.ncols()),
                hint: "layers of unequal width need a layer map".into(),
            });
        }
        if layers.len() < 2 {
            return Err(Error::TooFew {
                what: "layers".into(),
                needed: "2 layers".into(),
                found: format!("{}", layers.len()),
                hint: "one layer makes no step".into(),
            });
        }
        let last = layers.len() - 1;
        for (l, h) in layers.iter().enumerate() {
            let mut square = Mat::zeros(width, width);
            add_gram(square.as_mut(), *h);
            mirror_lower(square.as_mut());
            if l < last {
                self.c11 += &square;
                add_product(self.c12.as_mut(), h.transpose(), layers[l + 1], 1.0);
            }
            if l > 0 {
                self.c22 += &square;
            }
        }
        self.n_pairs += rows * last;
        Ok(())
    }

    /// Add the observations of other samples.
    pub fn merge(&mut self, other: &PooledMoments) -> Result<()> {
        if other.c11.nrows() != self.c11.nrows() {
            return Err(Error::Shape {
                what: "moments".into(),
                expected: format!("states of {} units", self.c11.nrows()),
                found: format!("{}", other.c11.nrows()),
                hint: "merge moments of the same layers only".into(),
            });
        }
        self.c11 += &other.c11;
        self.c12 += &other.c12;
        self.c22 += &other.c22;
        self.n_pairs += other.n_pairs;
        Ok(())
    }

    /// ψ*(C22 − λ̄ C12ᵀ − λ C12 + |λ|² C11)ψ.
    fn misfit(&self, psi: &[c64], value: c64) -> f64 {
        let n = psi.len();
        let mut total = c64::new(0.0, 0.0);
        for j in 0..n {
            for i in 0..n {
                let entry = value * -self.c12[(i, j)] - value.conj() * self.c12[(j, i)]
                    + self.c22[(i, j)]
                    + value.norm_sqr() * self.c11[(i, j)];
                total += psi[i].conj() * entry * psi[j];
            }
        }
        total.re.max(0.0)
    }
}

/// Accumulate one set of moments per block of samples, from a source whose layers have equal width.
///
/// Blocks run in parallel, the tiles of a block in order. Blocks are what a bootstrap resamples.
pub fn pooled_moments(
    source: &dyn TileSource,
    blocks: &[Range<usize>],
    transform: LayerTransform,
    monitor: &Monitor,
) -> Result<Vec<PooledMoments>> {
    let width = source.layers().first().map_or(0, |l| l.width);
    if let Some(odd) = source.layers().iter().find(|l| l.width != width) {
        return Err(Error::Shape {
            what: odd.name.clone(),
            expected: format!("{width} units (as in layer `{}`)", source.layers()[0].name),
            found: format!("{} units", odd.width),
            hint: "layers of unequal width need a layer map".into(),
        });
    }
    blocks
        .par_iter()
        .map(|block| {
            let mut moments = PooledMoments::new(width);
            for from in block.clone().step_by(TILE) {
                monitor.check()?;
                let states = read_states(source, from..(from + TILE).min(block.end), transform)?;
                let layers: Vec<MatRef<f64>> = states.iter().map(|h| h.as_ref()).collect();
                moments.add(&layers)?;
            }
            Ok(moments)
        })
        .collect()
}

/// Samples per tile.
const TILE: usize = 256;

/// All layers of some samples, centred and scaled (samples × K each).
fn read_states(
    source: &dyn TileSource,
    rows: Range<usize>,
    transform: LayerTransform,
) -> Result<Vec<Mat<f64>>> {
    let n = rows.len();
    let layers = read_states_by_row(source, rows, transform)?;
    let width = source.layers().first().map_or(0, |l| l.width);
    Ok(layers.iter().map(|h| Mat::from_fn(n, width, |i, j| h[i * width + j])).collect())
}

/// The same, row after row.
pub(super) fn read_states_by_row(
    source: &dyn TileSource,
    rows: Range<usize>,
    transform: LayerTransform,
) -> Result<Vec<Vec<f64>>> {
    let layers = source.layers();
    check_transform(source, transform)?;
    (0..layers.len())
        .map(|layer| {
            let width = layers[layer].width;
            let mut buffer = vec![0.0; rows.len() * width];
            source.read_rows(layer, rows.clone(), &mut buffer)?;
            if let Some(at) = buffer.iter().position(|x| !x.is_finite()) {
                return Err(Error::NotFinite {
                    what: layers[layer].name.clone(),
                    row: rows.start + at / width,
                    column: at % width,
                    count: buffer.iter().filter(|x| !x.is_finite()).count(),
                    hint: "drop the sample from all layers, or mask it".into(),
                });
            }
            let rms = transform.rms[layer];
            for line in buffer.chunks_exact_mut(width.max(1)) {
                match transform.means.map(|m| &m[layer]) {
                    Some(means) => line.iter_mut().zip(means).for_each(|(x, m)| *x = (*x - m) / rms),
                    None => line.iter_mut().for_each(|x| *x /= rms),
                }
            }
            Ok(buffer)
        })
        .collect()
}

fn check_transform(source: &dyn TileSource, transform: LayerTransform) -> Result<()> {
    let layers = source.layers();
    let means_fit = transform
        .means
        .is_none_or(|m| m.len() == layers.len() && m.iter().zip(layers).all(|(m, l)| m.len() == l.width));
    let rms_fit = transform.rms.len() == layers.len() && transform.rms.iter().all(|r| *r > 0.0);
    if means_fit && rms_fit {
        return Ok(());
    }
    Err(Error::Shape {
        what: "transform".into(),
        expected: format!("{} positive divisors and as many vectors of unit means", layers.len()),
        found: format!("{} divisors", transform.rms.len()),
        hint: "take both from the moments of the same layers".into(),
    })
}

/// The default settings of the pooled trajectory: those of [`DepthDmdParams`] with total least squares.
pub fn pooled_defaults() -> DepthDmdParams {
    DepthDmdParams { estimator: Estimator::TotalLeastSquares, ..Default::default() }
}

/// The spectrum of one operator for all samples.
///
/// Modes are in order of descending |λ|, pairs side by side with Im > 0 first.
#[derive(Debug, Clone)]
pub struct PooledSpectrum {
    /// Eigenvalue per mode.
    pub eigenvalues: Vec<c64>,
    /// φ_k, unit length (K × modes).
    pub modes: Mat<c64>,
    /// ψ_k with ψ_j* φ_k = δ_jk (K × modes): the coordinate of a state along mode k is ψ_k* h.
    pub duals: Mat<c64>,
    /// Σ over states before a step of ‖φ_k ψ_k* h‖² / Σ ‖h‖²; shares do not add up to 1.
    pub energies: Vec<f64>,
    /// ‖ψ*Y − λ ψ*X‖ / ‖ψ*X‖: how badly the coordinate follows its law.
    pub residuals: Vec<f64>,
    /// The residual divided by the one at λ = 1: below 1 the law predicts better than persistence.
    pub versus_persistence: Vec<f64>,
    /// The stable mode: indices into the above. Never empty.
    pub selected: Vec<usize>,
    /// Second-best choice, and how much worse its criterion is.
    pub runner_up: Option<(usize, f64)>,
    /// Rank used.
    pub rank: usize,
    /// Share of tr(C11 + C22) that the projection on at most 256 directions kept.
    pub kept_share: f64,
    /// Observations.
    pub n_pairs: usize,
    /// What a reader must know.
    pub warnings: Vec<String>,
}

impl PooledSpectrum {
    /// Eigenvalue of the selected mode; of a pair, the member with Im > 0.
    pub fn selected_eigenvalue(&self) -> c64 {
        self.eigenvalues[self.selected[0]]
    }

    /// Π h for every row h of `states` (samples × K): the part in the stable invariant subspace.
    pub fn project(&self, states: MatRef<f64>) -> Result<Mat<f64>> {
        let width = self.modes.nrows();
        if states.ncols() != width {
            return Err(Error::Shape {
                what: "states".into(),
                expected: format!("{width} units"),
                found: format!("{}", states.ncols()),
                hint: "use the layers the operator was fitted to".into(),
            });
        }
        let mut out = Mat::zeros(states.nrows(), width);
        for &k in &self.selected {
            // Re(φ ψ*h) = Re φ · Re ψ*h − Im φ · Im ψ*h.
            let part = |of: &dyn Fn(c64) -> f64, m: &Mat<c64>| Mat::from_fn(width, 1, |i, _| of(m[(i, k)]));
            let along = product(states, part(&|z| z.re, &self.duals).as_ref());
            let across = product(states, part(&|z| -z.im, &self.duals).as_ref());
            add_product(out.as_mut(), along.as_ref(), part(&|z| z.re, &self.modes).transpose(), 1.0);
            add_product(out.as_mut(), across.as_ref(), part(&|z| z.im, &self.modes).transpose(), -1.0);
        }
        Ok(out)
    }

    /// The stable representation s(t) = Π · mean_l h_l(t) of all rows of `layers` (samples × K each,
    /// centred and scaled as in the fit). The same rule holds for samples outside the fit.
    pub fn represent(&self, layers: &[MatRef<f64>]) -> Result<Mat<f64>> {
        let Some(first) = layers.first() else {
            return Err(Error::TooFew {
                what: "layers".into(),
                needed: "1 layer".into(),
                found: "none".into(),
                hint: "pass the layers of the fit".into(),
            });
        };
        if let Some(odd) = layers.iter().find(|h| h.nrows() != first.nrows() || h.ncols() != first.ncols()) {
            return Err(Error::Shape {
                what: "layers".into(),
                expected: format!("{} × {} each", first.nrows(), first.ncols()),
                found: format!("{} × {}", odd.nrows(), odd.ncols()),
                hint: "use the layers the operator was fitted to".into(),
            });
        }
        let mut mean = Mat::<f64>::zeros(first.nrows(), first.ncols());
        for h in layers {
            mean += h;
        }
        mean *= faer::Scale(1.0 / layers.len() as f64);
        self.project(mean.as_ref())
    }
}

/// Fit one operator to pooled moments and choose its stable mode.
///
/// Of `params`: `estimator` (`Standard`, `TotalLeastSquares` or `ReducedRank`), `rank` (`Energy`, at
/// most 64; `Fixed`; `Full`), `select`, `min_energy`; the other settings belong to single trajectories.
/// `n_layers` sets the depth over which band rules count. Errors: other estimators or ranks, fewer
/// pairs than the rank + 1, moments that are zero or not finite.
pub fn pooled_dmd(
    moments: &PooledMoments,
    n_layers: usize,
    params: &DepthDmdParams,
) -> Result<PooledSpectrum> {
    check_moments(moments)?;
    let width = moments.c11.nrows();
    let total = eigh((&moments.c11 + &moments.c22).as_ref())?;
    let cut = total.values[0] * width as f64 * f64::EPSILON;
    let kept = total.values.iter().take_while(|w| **w > cut).count().min(POOLED_WIDTH);
    let basis = total.vectors.get(.., ..kept).to_owned();
    let small = compress(moments, basis.as_ref());
    let mut warnings = Vec::new();
    let rank = choose_rank(&small, params, &mut warnings)?;
    if moments.n_pairs <= rank {
        return Err(Error::TooFew {
            what: "pairs".into(),
            needed: format!("{} pairs of states", rank + 1),
            found: format!("{}", moments.n_pairs),
            hint: "lower the rank or give more samples".into(),
        });
    }
    let operator = match params.estimator {
        Estimator::Standard => least_squares_operator(&small, rank)?,
        Estimator::TotalLeastSquares => total_least_squares_operator(&small, rank)?,
        Estimator::ReducedRank { ridge } => reduced_rank_operator(&small, rank, ridge)?,
        other => {
            return Err(Error::Invalid {
                what: "estimator".into(),
                expected: "standard, total_least_squares or reduced_rank for the pooled trajectory".into(),
                found: format!("{other:?}"),
                hint: "the default for the pooled trajectory is total_least_squares".into(),
            });
        }
    };
    let Decomposed { values, modes, duals } = decompose(&operator, &mut warnings)?;
    let n_modes = values.len();
    let trace: f64 = (0..width).map(|i| moments.c11[(i, i)]).sum();
    let column = |m: &Mat<c64>, k: usize| -> Vec<c64> { (0..m.nrows()).map(|i| m[(i, k)]).collect() };
    let (mut energies, mut residuals, mut versus) = (Vec::new(), Vec::new(), Vec::new());
    for k in 0..n_modes {
        let psi = column(&duals, k);
        let size = quadratic(&small.c11, &psi);
        let misfit = small.misfit(&psi, values[k]);
        let persistence = small.misfit(&psi, c64::new(1.0, 0.0));
        energies.push(size / trace);
        residuals.push(if size > 0.0 { (misfit / size).sqrt() } else { f64::NAN });
        versus.push(if persistence > 0.0 { (misfit / persistence).sqrt() } else { f64::NAN });
    }
    let chosen = choose_modes(&values, &residuals, &energies, n_layers, params)?;
    warnings.extend(chosen.warnings);
    let lift = |m: &Mat<c64>| {
        Mat::from_fn(width, n_modes, |i, k| (0..kept).map(|j| m[(j, k)] * basis[(i, j)]).sum::<c64>())
    };
    Ok(PooledSpectrum {
        modes: lift(&modes),
        duals: lift(&duals),
        eigenvalues: values,
        energies,
        residuals,
        versus_persistence: versus,
        selected: chosen.selected,
        runner_up: chosen.runner_up,
        rank,
        kept_share: total.values[..kept].iter().sum::<f64>() / total.values.iter().sum::<f64>(),
        n_pairs: moments.n_pairs,
        warnings,
    })
}

/// A = F Gᵀ.
struct LowRank {
    f: Mat<f64>,
    g: Mat<f64>,
}

fn compress(moments: &PooledMoments, basis: MatRef<f64>) -> PooledMoments {
    let inside = |c: &Mat<f64>| cross(basis, product(c.as_ref(), basis).as_ref());
    PooledMoments {
        c11: inside(&moments.c11),
        c12: inside(&moments.c12),
        c22: inside(&moments.c22),
        n_pairs: moments.n_pairs,
    }
}

fn choose_rank(
    moments: &PooledMoments,
    params: &DepthDmdParams,
    warnings: &mut Vec<String>,
) -> Result<usize> {
    let values = eigh(moments.c11.as_ref())?.values;
    let largest = values[0];
    let numerical = values.iter().take_while(|w| **w > largest * values.len() as f64 * f64::EPSILON).count();
    let invalid = |expected: &str, found: String| {
        Err(Error::Invalid {
            what: "rank".into(),
            expected: expected.into(),
            found,
            hint: "the default is energy 0.99".into(),
        })
    };
    let rank = match params.rank {
        RankRule::Energy(share) if share > 0.0 && share <= 1.0 => {
            let total: f64 = values.iter().map(|w| w.max(0.0)).sum();
            let mut held = 0.0;
            let reached = values.iter().position(|w| {
                held += w.max(0.0);
                held >= share * total
            });
            (reached.unwrap_or(values.len() - 1) + 1).min(POOLED_RANK_CAP)
        }
        RankRule::Energy(share) => {
            return invalid("an energy share above 0 and at most 1", share.to_string());
        }
        RankRule::Fixed(0) => return invalid("a rank of at least 1", "0".into()),
        RankRule::Fixed(rank) => rank,
        RankRule::Full => numerical,
        other => return invalid("energy, fixed or full for the pooled trajectory", format!("{other:?}")),
    };
    if rank > numerical {
        warnings.push(format!("rank {rank} was asked for, but the states have rank {numerical}"));
    }
    Ok(rank.min(numerical).max(1))
}

/// A = U (Uᵀ C12ᵀ U S⁻²) Uᵀ.
fn least_squares_operator(moments: &PooledMoments, rank: usize) -> Result<LowRank> {
    let decomposed = eigh(moments.c11.as_ref())?;
    let u = decomposed.vectors.get(.., ..rank);
    let scaled = Mat::from_fn(u.nrows(), rank, |i, k| u[(i, k)] / decomposed.values[k]);
    let inside = cross(u, cross(moments.c12.as_ref(), scaled.as_ref()).as_ref());
    Ok(LowRank { f: product(u, inside.as_ref()), g: u.to_owned() })
}

/// A = Q2 Q1⁺.
fn total_least_squares_operator(moments: &PooledMoments, rank: usize) -> Result<LowRank> {
    let n = moments.c11.nrows();
    let stacked = Mat::from_fn(2 * n, 2 * n, |i, j| match (i < n, j < n) {
        (true, true) => moments.c11[(i, j)],
        (true, false) => moments.c12[(i, j - n)],
        (false, true) => moments.c12[(j, i - n)],
        (false, false) => moments.c22[(i - n, j - n)],
    });
    let vectors = eigh(stacked.as_ref())?.vectors;
    let (above, below) = (vectors.get(..n, ..rank), vectors.get(n.., ..rank));
    Ok(LowRank { f: below.to_owned(), g: pseudo_inverse(above, 1e-12)?.transpose().to_owned() })
}

/// A = V Vᵀ C12ᵀ (C11 + γI)⁻¹, γ = ridge · mean eigenvalue of C11.
fn reduced_rank_operator(moments: &PooledMoments, rank: usize, ridge: f64) -> Result<LowRank> {
    let n = moments.c11.nrows();
    if !(ridge >= 0.0 && ridge.is_finite()) {
        return Err(Error::Invalid {
            what: "ridge".into(),
            expected: "a finite number of at least 0".into(),
            found: ridge.to_string(),
            hint: "1e-6 is a small one".into(),
        });
    }
    let mean = (0..n).map(|i| moments.c11[(i, i)]).sum::<f64>() / n as f64;
    let penalised = Mat::from_fn(n, n, |i, j| moments.c11[(i, j)] + if i == j { ridge * mean } else { 0.0 });
    // (C11 + γI)⁻¹ C12.
    let Some(solved) = cholesky_solve(penalised.as_ref(), moments.c12.as_ref()) else {
        return Err(Error::Invalid {
            what: "ridge".into(),
            expected: "large enough for C11 + γI to be invertible".into(),
            found: ridge.to_string(),
            hint: "use a ridge of 1e-6 or more, or total_least_squares".into(),
        });
    };
    let mut explained = cross(moments.c12.as_ref(), solved.as_ref());
    mirror_lower(explained.as_mut());
    let v = eigh(explained.as_ref())?.vectors.get(.., ..rank).to_owned();
    let g = product(solved.as_ref(), v.as_ref());
    Ok(LowRank { f: v, g })
}

struct Decomposed {
    values: Vec<c64>,
    modes: Mat<c64>,
    duals: Mat<c64>,
}

/// Eigenvalues, unit right and matching left eigenvectors of F Gᵀ through the r × r matrix GᵀF.
fn decompose(operator: &LowRank, warnings: &mut Vec<String>) -> Result<Decomposed> {
    let small = cross(operator.g.as_ref(), operator.f.as_ref());
    let eig = stereotax_base::linalg::eig(small.as_ref())?;
    let r = eig.values.len();
    // W = T C with real T = [Re w, Im w] for pairs, so that only a real matrix is inverted.
    let real = Mat::from_fn(r, r, |i, k| {
        if eig.values[k].im < 0.0 { -eig.vectors[(i, k)].im } else { eig.vectors[(i, k)].re }
    });
    let inverse = solve(real.as_ref(), Mat::<f64>::identity(r, r).as_ref());
    let condition = inverse.norm_l2() * real.norm_l2();
    if !condition.is_finite() {
        return Err(Error::NoConvergence {
            what: "pooled DMD".into(),
            detail: "the operator has no basis of eigenvectors; lower the rank".into(),
        });
    }
    if condition > DEFECTIVE {
        warnings.push("the operator is nearly defective: single modes are not reliable".into());
    }
    // Rows of W⁻¹: ½(t₁ − i t₂) and its conjugate for a pair.
    let left = |k: usize, j: usize| -> c64 {
        match eig.values[k].im {
            im if im > 0.0 => c64::new(0.5 * inverse[(k, j)], -0.5 * inverse[(k + 1, j)]),
            im if im < 0.0 => c64::new(0.5 * inverse[(k - 1, j)], 0.5 * inverse[(k, j)]),
            _ => c64::new(inverse[(k, j)], 0.0),
        }
    };
    let n = operator.f.nrows();
    let largest = eig.values.iter().map(|z| z.norm()).fold(0.0, f64::max);
    let mut modes = Mat::zeros(n, r);
    let mut duals = Mat::zeros(n, r);
    for k in 0..r {
        let phi: Vec<c64> =
            (0..n).map(|i| (0..r).map(|j| eig.vectors[(j, k)] * operator.f[(i, j)]).sum()).collect();
        let length = phi.iter().map(|z| z.norm_sqr()).sum::<f64>().sqrt();
        let vanishing = eig.values[k].norm() <= VANISHING * largest || length <= 0.0;
        for i in 0..n {
            modes[(i, k)] = if length > 0.0 { phi[i] / length } else { c64::new(0.0, 0.0) };
            let psi: c64 = (0..r).map(|j| left(k, j) * operator.g[(i, j)]).sum();
            // Stored as a column ψ, so that ψ* is the row.
            duals[(i, k)] =
                if vanishing { c64::new(0.0, 0.0) } else { (psi * length / eig.values[k]).conj() };
        }
    }
    Ok(Decomposed { values: eig.values, modes, duals })
}

fn quadratic(c: &Mat<f64>, psi: &[c64]) -> f64 {
    let n = psi.len();
    (0..n).map(|j| (0..n).map(|i| (psi[i].conj() * psi[j]).re * c[(i, j)]).sum::<f64>()).sum()
}

fn check_moments(moments: &PooledMoments) -> Result<()> {
    let n = moments.c11.nrows();
    for (name, c) in [("C11", &moments.c11), ("C12", &moments.c12), ("C22", &moments.c22)] {
        for j in 0..n {
            for i in 0..n {
                if !c[(i, j)].is_finite() {
                    return Err(Error::NotFinite {
                        what: name.into(),
                        row: i,
                        column: j,
                        count: 1,
                        hint: "look for NaN or infinite activations".into(),
                    });
                }
            }
        }
    }
    if (0..n).all(|i| moments.c11[(i, i)] <= 0.0) {
        return Err(Error::ZeroVariance {
            what: "states".into(),
            detail: "every state before a step is zero".into(),
            hint: "check that the layers hold activations".into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::linalg::{eig, svd};
    use stereotax_base::stats::rng::Stream;

    fn c(re: f64, im: f64) -> c64 {
        c64::new(re, im)
    }

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(5, "pooled tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    /// Block-diagonal operator in a skewed basis; the given pair and real eigenvalues.
    fn operator(n: usize, index: u64) -> Mat<f64> {
        let mut block = Mat::<f64>::zeros(n, n);
        block[(0, 0)] = 0.99;
        (block[(1, 1)], block[(2, 2)], block[(1, 2)], block[(2, 1)]) = (0.7, 0.7, -0.4, 0.4);
        block[(3, 3)] = -0.6;
        let basis = noise(n, n, index);
        let turned = product(basis.as_ref(), block.as_ref());
        solve(basis.transpose(), turned.transpose()).transpose().to_owned()
    }

    /// h_{l+1}(t) = A h_l(t), with independent noise on every state afterwards.
    fn layers(a: &Mat<f64>, samples: usize, n_layers: usize, sd: f64, index: u64) -> Vec<Mat<f64>> {
        let mut state = noise(samples, a.nrows(), index);
        let mut out = Vec::new();
        for l in 0..n_layers {
            out.push(&state + noise(samples, a.nrows(), 1000 * index + l as u64) * faer::Scale(sd));
            state = product(state.as_ref(), a.transpose());
        }
        out
    }

    fn moments(layers: &[Mat<f64>]) -> PooledMoments {
        let mut out = PooledMoments::new(layers[0].ncols());
        out.add(&layers.iter().map(|h| h.as_ref()).collect::<Vec<_>>()).unwrap();
        out
    }

    fn params(estimator: Estimator, rank: usize) -> DepthDmdParams {
        DepthDmdParams { estimator, rank: RankRule::Fixed(rank), ..Default::default() }
    }

    fn all_pairs(layers: &[Mat<f64>], shift: usize) -> Mat<f64> {
        let (t, n, p) = (layers[0].nrows(), layers[0].ncols(), layers.len() - 1);
        Mat::from_fn(n, t * p, |i, q| layers[q / t + shift][(q % t, i)])
    }

    #[test]
    fn every_estimator_finds_known_eigenvalues() {
        let a = operator(4, 1);
        let m = moments(&layers(&a, 50, 6, 0.0, 2));
        for estimator in
            [Estimator::Standard, Estimator::TotalLeastSquares, Estimator::ReducedRank { ridge: 0.0 }]
        {
            let found = pooled_dmd(&m, 6, &params(estimator, 4)).unwrap();
            for value in [c(0.99, 0.0), c(0.7, 0.4), c(0.7, -0.4), c(-0.6, 0.0)] {
                let error = found.eigenvalues.iter().map(|v| (v - value).norm()).fold(1.0, f64::min);
                assert!(error < 1e-10, "{estimator:?}: {value} off by {error:e}");
            }
            assert!((found.selected_eigenvalue() - c(0.99, 0.0)).norm() < 1e-10);
            assert!(found.residuals.iter().all(|r| *r < 1e-6), "{:?}", found.residuals);
            // Duals and modes are biorthogonal, modes are eigenvectors.
            for j in 0..4 {
                for k in 0..4 {
                    let d: c64 = (0..4).map(|i| found.duals[(i, j)].conj() * found.modes[(i, k)]).sum();
                    assert!((d - f64::from(u8::from(j == k))).norm() < 1e-9);
                }
                for i in 0..4 {
                    let moved: c64 = (0..4).map(|m| found.modes[(m, j)] * a[(i, m)]).sum();
                    assert!((moved - found.eigenvalues[j] * found.modes[(i, j)]).norm() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn total_least_squares_equals_its_projection_form() {
        let h = layers(&operator(5, 3), 40, 5, 0.3, 4);
        let found = pooled_dmd(&moments(&h), 5, &params(Estimator::TotalLeastSquares, 3)).unwrap();
        let (x, y) = (all_pairs(&h, 0), all_pairs(&h, 1));
        let stacked = Mat::from_fn(10, x.ncols(), |i, q| if i < 5 { x[(i, q)] } else { y[(i - 5, q)] });
        let v = svd(stacked.as_ref()).unwrap().v.get(.., ..3).to_owned();
        // Standard DMD of rank 3 on X·P, Y·P with P = V Vᵀ.
        let (xp, yp) = (product(x.as_ref(), v.as_ref()), product(y.as_ref(), v.as_ref()));
        let full = product(yp.as_ref(), pseudo_inverse(xp.as_ref(), 1e-12).unwrap().as_ref());
        let expected = eig(full.as_ref()).unwrap().values;
        for (a, b) in found.eigenvalues.iter().zip(&expected) {
            assert!((a - b).norm() < 1e-10, "{a} against {b}");
        }
    }

    #[test]
    fn layer_noise_shrinks_least_squares_and_not_total_least_squares() {
        // Rank 1 signal of unit variance in 8 units, λ = 0.98, noise of the same variance everywhere.
        let direction = noise(8, 1, 5);
        let length = direction.norm_l2();
        let mut stream = Stream::new(6, "pooled tests", 0);
        let start: Vec<f64> = (0..20_000).map(|_| 2.0 * stream.normal()).collect();
        let h: Vec<Mat<f64>> = (0..6)
            .map(|l| {
                let errors = noise(20_000, 8, 100 + l);
                Mat::from_fn(20_000, 8, |t, i| {
                    start[t] * 0.98f64.powi(l as i32) * direction[(i, 0)] / length + errors[(t, i)]
                })
            })
            .collect();
        let m = moments(&h);
        let ols = pooled_dmd(&m, 6, &params(Estimator::Standard, 1)).unwrap().eigenvalues[0].re;
        let tls = pooled_dmd(&m, 6, &params(Estimator::TotalLeastSquares, 1)).unwrap().eigenvalues[0].re;
        // Signal variance along the direction is about 4·mean(0.98²ˡ) = 3.7: shrinkage 3.7/4.7.
        assert!((0.75..0.80).contains(&ols), "{ols}");
        assert!((tls - 0.98).abs() < 0.01, "{tls}");
    }

    #[test]
    fn residuals_are_those_of_the_explicit_pairs() {
        let h = layers(&operator(4, 7), 30, 5, 0.4, 8);
        let (x, y) = (all_pairs(&h, 0), all_pairs(&h, 1));
        for estimator in
            [Estimator::Standard, Estimator::TotalLeastSquares, Estimator::ReducedRank { ridge: 1e-3 }]
        {
            let found = pooled_dmd(&moments(&h), 5, &params(estimator, 3)).unwrap();
            for k in 0..3 {
                let along = |m: &Mat<f64>, q: usize| -> c64 {
                    (0..4).map(|i| found.duals[(i, k)].conj() * m[(i, q)]).sum()
                };
                let (mut missed, mut moved, mut size) = (0.0, 0.0, 0.0);
                for q in 0..x.ncols() {
                    missed += (along(&y, q) - found.eigenvalues[k] * along(&x, q)).norm_sqr();
                    moved += (along(&y, q) - along(&x, q)).norm_sqr();
                    size += along(&x, q).norm_sqr();
                }
                assert!((found.residuals[k] - (missed / size).sqrt()).abs() < 1e-10);
                assert!((found.versus_persistence[k] - (missed / moved).sqrt()).abs() < 1e-10);
                assert!((found.energies[k] - size / x.squared_norm_l2()).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn the_projector_keeps_the_stable_subspace_and_nothing_else() {
        let a = operator(4, 9);
        let h = layers(&a, 40, 6, 0.0, 10);
        let found = pooled_dmd(&moments(&h), 6, &params(Estimator::TotalLeastSquares, 4)).unwrap();
        let s = found.represent(&h.iter().map(|x| x.as_ref()).collect::<Vec<_>>()).unwrap();
        // s lies in the eigenspace of 0.99 and projecting again changes nothing.
        let moved = product(s.as_ref(), a.transpose());
        assert!((moved - &s * faer::Scale(0.99)).norm_max() < 1e-9 * s.norm_max());
        assert!((found.project(s.as_ref()).unwrap() - &s).norm_max() < 1e-9 * s.norm_max());
        assert!(s.norm_max() > 0.1);
        // A selected pair is projected as a whole.
        let mut pair = found;
        pair.selected = (0..4).filter(|&k| pair.eigenvalues[k].im != 0.0).collect();
        let once = pair.project(h[0].as_ref()).unwrap();
        assert!((pair.project(once.as_ref()).unwrap() - &once).norm_max() < 1e-8 * once.norm_max());
        assert_eq!(svd(once.as_ref()).unwrap().s.iter().filter(|s| **s > 1e-8).count(), 2);
    }

    #[test]
    fn blocks_merge_and_samples_and_units_may_move() {
        let h = layers(&operator(4, 11), 500, 5, 0.2, 12);
        let whole = moments(&h);
        let names: Vec<String> = (0..5).map(|l| format!("layer {l}")).collect();
        let shifted: Vec<Mat<f64>> =
            h.iter().map(|x| Mat::from_fn(500, 4, |i, j| 3.0 * x[(i, j)] + 1.0 + j as f64)).collect();
        let source =
            stereotax_base::data::LayerArrays::new(&names, shifted.iter().map(|x| x.as_ref()).collect())
                .unwrap();
        let means = vec![vec![1.0, 2.0, 3.0, 4.0]; 5];
        let transform = LayerTransform { means: Some(&means), rms: &[3.0; 5] };
        let parts = pooled_moments(&source, &[0..90, 90..500], transform, &Monitor::silent()).unwrap();
        let mut merged = parts[0].clone();
        merged.merge(&parts[1]).unwrap();
        assert_eq!(merged.n_pairs, 2000);
        for (a, b) in [(&merged.c11, &whole.c11), (&merged.c12, &whole.c12), (&merged.c22, &whole.c22)] {
            assert!((a - b).norm_max() < 1e-9);
        }
        let turn = stereotax_base::linalg::thin_qr(noise(4, 4, 13).as_ref()).0;
        let turned: Vec<Mat<f64>> = h
            .iter()
            .map(|x| {
                let moved = Mat::from_fn(500, 4, |i, j| x[((i * 7 + 3) % 500, j)]);
                product(moved.as_ref(), turn.as_ref())
            })
            .collect();
        let settings = params(Estimator::TotalLeastSquares, 3);
        let (a, b) =
            (pooled_dmd(&whole, 5, &settings).unwrap(), pooled_dmd(&moments(&turned), 5, &settings).unwrap());
        for k in 0..3 {
            assert!((a.eigenvalues[k] - b.eigenvalues[k]).norm() < 1e-10);
            assert!((a.residuals[k] - b.residuals[k]).abs() < 1e-10);
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let m = moments(&layers(&operator(4, 14), 10, 4, 0.1, 15));
        assert!(pooled_dmd(&m, 4, &params(Estimator::Unitary, 2)).is_err());
        assert!(pooled_dmd(&m, 4, &params(Estimator::Standard, 0)).is_err());
        assert!(pooled_dmd(&m, 4, &params(Estimator::ReducedRank { ridge: -1.0 }, 2)).is_err());
        assert!(pooled_dmd(&PooledMoments::new(4), 4, &pooled_defaults()).is_err());
        let few = PooledMoments { n_pairs: 2, ..m };
        assert!(matches!(pooled_dmd(&few, 4, &params(Estimator::Standard, 3)), Err(Error::TooFew { .. })));
    }
}
