//! Weigh bands of features by a search over the simplex, from one kernel per band.
//!
//! With kernels K_1…K_B of the training rows (centred with an intercept), weights γ on the simplex, penalty α,
//!
//! ```text
//! K_γ = Σ_b γ_b K_b = U W Uᵀ        M(α) = α (K_γ + αI)⁻¹ − 1 1ᵀ/n     (without 1 1ᵀ/n: no intercept)
//! y_L − ŷ_L = (M_LL)⁻¹ (M y)_L      for rows L that are left out of a fit on all others
//! ŷ(x) = Σ_b γ_b k_b(x, ·) a + c    a = (K_γ + αI)⁻¹ (y − ȳ)
//! ```
//!
//! The second line is exact: it is the leave-one-out formula for many rows at once. So each γ costs one
//! eigendecomposition of n × n, whatever the folds; per penalty, a Cholesky factor of the size of each fold.
//!
//! The A vectors α/(W + α) of a grid lie, to rounding, in d < A dimensions, as in [`crate::encoding::ridge`]: the
//! product with all targets is made for d columns per target, and M y at a penalty is a sum of them.
//!
//! Refinement follows, per target, the gradient of the same score from the best draw, in δ_b = ln(γ_b/α)
//! with e = (M_LL)⁻¹ (My)_L at α = 1, G = (K_δ + I)⁻¹, u_L = (M_LL)⁻¹ e_L, and P_L zeros but for the rows L:
//!
//! ```text
//! ∂Σ‖e‖²/∂δ_b = 2 e^{δ_b} [ Σ_L (G P_L u)ᵀ K_b (G P_L e) − (G u)ᵀ K_b (G y) ]
//! ```
//!
//! Source: Nunez-Elizalde, Huth & Gallant 2019; Dupré la Tour et al. 2022; specs: alignment-methods B17,
//! peers W1. Differs from himalaya's `MultipleKernelRidgeCV`: one decomposition per γ instead of one per fold,
//! an intercept by default, R² pooled over folds (the same choices for folds of one size), penalties relative
//! to the mean eigenvalue of K_γ by default. Cost per γ: O(n³ + d n² R + A n n_f R) for R targets and folds of
//! n_f rows, GCV O(n³ + n² R + A n R); a step of refinement O(n³) per target.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use crate::data::{Error, Fold, Monitor, Result};
use crate::encoding::alphas::{AlphaGrid, best};
use crate::encoding::reduce::check_finite;
use crate::encoding::ridge::{Intercept, Selection};
use crate::linalg::{
    Real, Svd, cholesky_solve, column_means, cross, dot, eigh, gram, product, select_rows, svd,
};

/// Targets worked on at a time; the last tile is filled with zeros.
const TILE: usize = 128;
/// Directions below this share of the first are rounding.
const CUT: f64 = 1e-14;
/// Draws decomposed at a time.
const BATCH: usize = 4;
/// A row with less than this left of itself has no prediction from the others.
const LEAST_REST: f64 = 1e-10;
/// Weights start no further apart than this when they are refined.
const APART: f64 = 1e4;

/// Choices of a search over kernels.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelSearchParams {
    /// The draws, each on the simplex; see [`super::simplex_draws`].
    pub gammas: Vec<Vec<f64>>,
    /// Penalties; `MeanSquare` multiplies trace(K_γ)/n.
    pub alphas: AlphaGrid,
    /// Default `Folds`.
    pub selection: Selection,
    /// Default `Fitted`.
    pub intercept: Intercept,
    /// Steps of refinement per target; 0 (the default) keeps the best draw.
    pub refine: usize,
}

impl Default for KernelSearchParams {
    fn default() -> Self {
        KernelSearchParams {
            gammas: vec![],
            alphas: AlphaGrid::default(),
            selection: Selection::Folds,
            intercept: Intercept::Fitted,
            refine: 0,
        }
    }
}

/// A fit of many targets. Vectors have one entry per target.
#[derive(Debug, Clone)]
pub struct KernelSearchFit<T = f64> {
    /// a, training rows × targets; NaN for a target that does not vary.
    pub coefficients: Mat<T>,
    /// ȳ over the training rows (0 without an intercept).
    pub means: Vec<f64>,
    /// γ_b k̄_bᵀ a with k̄_b the mean row of kernel b, bands × targets: what centring takes from the part of
    /// band b. ŷ(x) = Σ_b (γ_b k_b(x)ᵀ a − offset_b) + ȳ.
    pub offsets: Mat<f64>,
    /// γ, bands × targets; refined where that was asked for.
    pub gammas: Mat<f64>,
    /// α in absolute units.
    pub alphas: Vec<f64>,
    /// Which draw was the best; `None` where the target is undefined.
    pub chosen: Vec<Option<usize>>,
    /// Cross-validated R² there: pooled over folds, against training means.
    pub scores: Vec<f64>,
}

/// Search weights and penalties for targets `y` (training rows × R).
///
/// `kernels` are of the training rows; `inner` names rows, and may leave rows out of both sides (purged ones).
/// Errors: no kernel, kernels or targets of other rows, values that are not finite, draws that are no points of
/// the simplex, folds that overlap or are missing, a stop request.
pub fn search_kernels<T: Real>(
    kernels: &[MatRef<'_, f64>],
    y: MatRef<T>,
    inner: &[Fold],
    params: &KernelSearchParams,
    monitor: &Monitor<'_>,
) -> Result<KernelSearchFit<T>> {
    check(kernels, y, inner, params)?;
    let bands = Bands::new(kernels, inner, params);
    let (n, n_targets) = (bands.n, y.ncols());
    let means = match params.intercept {
        Intercept::Fitted => column_means(y),
        Intercept::None => vec![0.0; n_targets],
    };
    let centred = Mat::from_fn(n, n_targets, |i, j| T::from_f64(y[(i, j)].into() - means[j]));
    let totals = bands.totals(&centred);
    let mut fit = KernelSearchFit {
        coefficients: Mat::full(n, n_targets, T::from_f64(f64::NAN)),
        means,
        offsets: Mat::full(kernels.len(), n_targets, f64::NAN),
        gammas: Mat::full(kernels.len(), n_targets, f64::NAN),
        alphas: vec![f64::NAN; n_targets],
        chosen: vec![None; n_targets],
        scores: vec![f64::NAN; n_targets],
    };
    for (batch, gammas) in params.gammas.chunks(BATCH).enumerate() {
        monitor.check()?;
        let draws: Vec<Draw<T>> =
            gammas.par_iter().map(|gamma| bands.decompose(gamma, &params.alphas)).collect::<Result<_>>()?;
        for (at, draw) in draws.iter().enumerate() {
            monitor.check()?;
            bands.try_draw(batch * BATCH + at, draw, &centred, &totals, &mut fit)?;
        }
    }
    if params.refine > 0 {
        let refined: Vec<Option<Refined>> = (0..n_targets)
            .into_par_iter()
            .map(|j| {
                monitor.check()?;
                let start: Vec<f64> =
                    (0..kernels.len()).map(|b| fit.gammas[(b, j)] / fit.alphas[j]).collect();
                let target: Vec<f64> = (0..n).map(|i| centred[(i, j)].into()).collect();
                match fit.chosen[j] {
                    Some(_) => Ok(bands.refine(&start, &target, totals[j], fit.scores[j], params.refine)),
                    None => Ok(None),
                }
            })
            .collect::<Result<_>>()?;
        for (j, found) in refined.into_iter().enumerate() {
            let Some(found) = found else { continue };
            fit.scores[j] = found.score;
            fit.alphas[j] = found.alpha;
            for (b, gamma) in found.gamma.iter().enumerate() {
                fit.gammas[(b, j)] = *gamma;
            }
            for (i, a) in found.coefficients.iter().enumerate() {
                fit.coefficients[(i, j)] = T::from_f64(*a);
            }
        }
    }
    for j in 0..n_targets {
        let a: Vec<f64> = fit.coefficients.col_as_slice(j).iter().map(|a| (*a).into()).collect();
        for (b, row) in bands.mean_rows.iter().enumerate() {
            fit.offsets[(b, j)] = fit.gammas[(b, j)] * dot(&a, row);
        }
    }
    Ok(fit)
}

/// The kernels, centred, and the rows that are left out together.
struct Bands<'a> {
    n: usize,
    kernels: Vec<Mat<f64>>,
    /// Means over rows of the kernels as given; zeros without an intercept.
    mean_rows: Vec<Vec<f64>>,
    folds: Vec<LeftOut>,
    params: &'a KernelSearchParams,
}

/// The rows outside one inner training set, and where among them those to predict are.
struct LeftOut {
    rows: Vec<usize>,
    test: Vec<usize>,
}

/// One γ, decomposed.
struct Draw<T: Real> {
    gamma: Vec<f64>,
    alphas: Vec<f64>,
    values: Vec<f64>,
    basis: Mat<f64>,
    narrow: Mat<T>,
}

/// What turns M y into errors of rows that were left out, at one penalty.
enum Rest<T: Real> {
    /// Rows of (M_LL)⁻¹ that predict, per fold.
    Folds(Vec<Mat<T>>),
    /// 1/M_ii.
    Rows(Vec<f64>),
    /// n/tr M.
    Mean(f64),
    /// Some row is left alone with itself.
    Undefined,
}

impl<'a> Bands<'a> {
    fn new(kernels: &[MatRef<'_, f64>], inner: &[Fold], params: &'a KernelSearchParams) -> Self {
        let n = kernels[0].nrows();
        let fitted = params.intercept == Intercept::Fitted;
        let mean_rows: Vec<Vec<f64>> =
            kernels.iter().map(|k| if fitted { column_means(*k) } else { vec![0.0; n] }).collect();
        let centred = kernels
            .par_iter()
            .zip(&mean_rows)
            .map(|(k, means)| {
                let grand = means.iter().sum::<f64>() / n as f64;
                // Exactly symmetric.
                Mat::from_fn(n, n, |i, j| k[(i.max(j), i.min(j))] - means[i] - means[j] + grand)
            })
            .collect();
        let folds = inner
            .iter()
            .map(|fold| {
                let mut trains = vec![false; n];
                fold.train.iter().for_each(|&i| trains[i] = true);
                let rows: Vec<usize> = (0..n).filter(|&i| !trains[i]).collect();
                let test = (0..rows.len()).filter(|&at| fold.test.contains(&rows[at])).collect();
                LeftOut { rows, test }
            })
            .collect();
        Bands { n, kernels: centred, mean_rows, folds, params }
    }

    /// From the mean of all rows to that of the others.
    fn apart(&self) -> f64 {
        let n = self.n as f64;
        if self.params.intercept == Intercept::Fitted { n / (n - 1.0) } else { 1.0 }
    }

    /// What 1/n is taken off M.
    fn level(&self) -> f64 {
        if self.params.intercept == Intercept::Fitted { 1.0 / self.n as f64 } else { 0.0 }
    }

    /// Σ (y − mean of the training rows)² over the rows predicted, per target; 0 for one that does not vary.
    fn totals<T: Real>(&self, y: &Mat<T>) -> Vec<f64> {
        (0..y.ncols())
            .into_par_iter()
            .map(|j| {
                let y: Vec<f64> = y.col_as_slice(j).iter().map(|v| (*v).into()).collect();
                let all = dot(&y, &y);
                let largest = y.iter().map(|v| v.abs()).fold(0.0, f64::max);
                if !(largest > 0.0) {
                    return 0.0;
                }
                if self.params.selection != Selection::Folds {
                    return all * self.apart().powi(2);
                }
                let sum: f64 = y.iter().sum();
                let of_fold = |fold: &LeftOut| -> f64 {
                    let out: f64 = fold.rows.iter().map(|&i| y[i]).sum();
                    let mean = (sum - out) / (self.n - fold.rows.len()) as f64;
                    let mean = if self.params.intercept == Intercept::Fitted { mean } else { 0.0 };
                    fold.test.iter().map(|&at| (y[fold.rows[at]] - mean).powi(2)).sum()
                };
                self.folds.iter().map(of_fold).sum()
            })
            .collect()
    }

    fn decompose<T: Real>(&self, gamma: &[f64], grid: &AlphaGrid) -> Result<Draw<T>> {
        let mut k = Mat::zeros(self.n, self.n);
        for (kernel, weight) in self.kernels.iter().zip(gamma) {
            for j in 0..self.n {
                let column = k.col_as_slice_mut(j).iter_mut();
                column.zip(kernel.col_as_slice(j)).for_each(|(k, add)| *k += weight * add);
            }
        }
        let trace: f64 = (0..self.n).map(|i| k[(i, i)]).sum();
        let alphas = grid.penalties(trace / self.n as f64)?;
        let decomposed = eigh(k.as_ref())?;
        // Rounding puts eigenvalues that are 0 on either side of it.
        let values = decomposed.values.iter().map(|w| w.max(0.0)).collect();
        let narrow = T::narrow(decomposed.vectors.clone());
        Ok(Draw { gamma: gamma.to_vec(), alphas, values, basis: decomposed.vectors, narrow })
    }

    /// Score one draw, and take it over where it is better than the draws before.
    fn try_draw<T: Real>(
        &self,
        index: usize,
        draw: &Draw<T>,
        y: &Mat<T>,
        totals: &[f64],
        fit: &mut KernelSearchFit<T>,
    ) -> Result<()> {
        // 1. What the penalties share.
        let n_alphas = draw.alphas.len();
        let turned: Vec<Mat<f64>> = self
            .folds
            .par_iter()
            .map(|fold| Mat::from_fn(self.n, fold.rows.len(), |k, i| draw.basis[(fold.rows[i], k)]))
            .collect();
        let rests: Vec<Rest<T>> =
            draw.alphas.par_iter().map(|&alpha| self.rest(draw, &turned, alpha)).collect();
        let path = ShrinkagePath::new(&draw.values, &draw.alphas)?;
        // 2. Errors of all targets at all penalties.
        let all: Vec<usize> = (0..y.ncols()).filter(|&j| totals[j] > 0.0).collect();
        let errors: Vec<Mat<f64>> = all
            .par_chunks(TILE)
            .map(|targets| {
                let c = cross(draw.narrow.as_ref(), gather(y, targets).as_ref());
                self.errors(draw, &rests, &path, &c)
            })
            .collect();
        let score = |at: usize, a: usize| 1.0 - errors[at / TILE][(a, at % TILE)] / totals[all[at]];
        // 3. Weights of the targets that gain.
        let mut better = vec![];
        for (at, &j) in all.iter().enumerate() {
            let Some(a) = best((0..n_alphas).map(|a| score(at, a))) else { continue };
            if fit.chosen[j].is_none() || score(at, a) > fit.scores[j] {
                better.push(j);
                fit.chosen[j] = Some(index);
                fit.scores[j] = score(at, a);
                fit.alphas[j] = draw.alphas[a];
                draw.gamma.iter().enumerate().for_each(|(b, gamma)| fit.gammas[(b, j)] = *gamma);
            }
        }
        let weights: Vec<Mat<T>> = better
            .par_chunks(TILE)
            .map(|targets| {
                let mut c = cross(draw.narrow.as_ref(), gather(y, targets).as_ref());
                for (k, &j) in targets.iter().enumerate() {
                    let column = c.col_as_slice_mut(k).iter_mut();
                    column.zip(&draw.values).for_each(|(c, w)| {
                        *c = T::from_f64((*c).into() / (w + fit.alphas[j]));
                    });
                }
                product(draw.narrow.as_ref(), c.as_ref())
            })
            .collect();
        for (targets, weights) in better.chunks(TILE).zip(&weights) {
            for (k, &j) in targets.iter().enumerate() {
                fit.coefficients.col_as_slice_mut(j).copy_from_slice(weights.col_as_slice(k));
            }
        }
        Ok(())
    }

    /// Σ e² of one tile, of which `c` = Uᵀy: penalties × targets.
    fn errors<T: Real>(
        &self,
        draw: &Draw<T>,
        rests: &[Rest<T>],
        path: &ShrinkagePath<T>,
        c: &Mat<T>,
    ) -> Mat<f64> {
        let mut out = Mat::full(rests.len(), TILE, f64::NAN);
        if self.params.selection == Selection::Generalised {
            for (a, rest) in rests.iter().enumerate() {
                let Rest::Mean(scale) = rest else { continue };
                let alpha = draw.alphas[a];
                let squares: Vec<T> =
                    draw.values.iter().map(|w| T::from_f64((alpha / (w + alpha)).powi(2))).collect();
                let mut column = vec![T::default(); self.n];
                for j in 0..TILE {
                    let c = c.col_as_slice(j);
                    column.iter_mut().zip(c).for_each(|(out, c)| *out = *c * *c);
                    out[(a, j)] = dot(&column, &squares) * scale * scale;
                }
            }
            return out;
        }
        // M y in d parts, those of a direction side by side.
        let d = path.directions.ncols();
        let mut spread: Mat<T> = Mat::zeros(self.n, d * TILE);
        for m in 0..d {
            let direction = path.directions.col_as_slice(m);
            for j in 0..TILE {
                let column = spread.col_as_slice_mut(m * TILE + j).iter_mut();
                column.zip(c.col_as_slice(j)).zip(direction).for_each(|((out, c), s)| *out = *c * *s);
            }
        }
        let parts = product(draw.narrow.as_ref(), spread.as_ref());
        let own;
        let folds: &[LeftOut] = match self.params.selection {
            Selection::Folds => &self.folds,
            _ => {
                own = [LeftOut { rows: (0..self.n).collect(), test: vec![] }];
                &own
            }
        };
        out.fill(0.0);
        for (f, fold) in folds.iter().enumerate() {
            let parts = select_rows(parts.as_ref(), &fold.rows);
            let mut left_out: Mat<T> = Mat::zeros(fold.rows.len(), TILE);
            for (a, rest) in rests.iter().enumerate() {
                for j in 0..TILE {
                    let column = left_out.col_as_slice_mut(j);
                    column.fill(T::default());
                    for m in 0..d {
                        let u = T::from_f64(path.coefficients[(a, m)]);
                        let part = parts.col_as_slice(m * TILE + j);
                        column.iter_mut().zip(part).for_each(|(out, part)| *out += u * *part);
                    }
                }
                match rest {
                    Rest::Folds(inverses) => {
                        let errors = product(inverses[f].as_ref(), left_out.as_ref());
                        for j in 0..TILE {
                            out[(a, j)] += dot(errors.col_as_slice(j), errors.col_as_slice(j));
                        }
                    }
                    Rest::Rows(inverse) => {
                        for j in 0..TILE {
                            let column = left_out.col_as_slice(j).iter().zip(inverse);
                            let errors: Vec<f64> =
                                column.map(|(z, rest)| -> f64 { (*z).into() * rest }).collect();
                            out[(a, j)] = dot(&errors, &errors);
                        }
                    }
                    _ => (0..TILE).for_each(|j| out[(a, j)] = f64::NAN),
                }
            }
        }
        out
    }

    /// `turned` holds, per fold, the rows of U that are left out, as columns.
    fn rest<T: Real>(&self, draw: &Draw<T>, turned: &[Mat<f64>], alpha: f64) -> Rest<T> {
        let shrink: Vec<f64> = draw.values.iter().map(|w| alpha / (w + alpha)).collect();
        let level = self.level();
        match self.params.selection {
            Selection::Generalised => {
                let rest = shrink.iter().sum::<f64>() / self.n as f64 - level;
                if rest > LEAST_REST { Rest::Mean(1.0 / rest) } else { Rest::Undefined }
            }
            Selection::LeaveOneOut => {
                let mut rest = vec![-level; self.n];
                for (k, d) in shrink.iter().enumerate() {
                    rest.iter_mut().zip(draw.basis.col_as_slice(k)).for_each(|(r, u)| *r += d * u * u);
                }
                if rest.iter().any(|r| !(*r > LEAST_REST)) {
                    return Rest::Undefined;
                }
                Rest::Rows(rest.iter().map(|r| 1.0 / r).collect())
            }
            Selection::Folds => {
                let half: Vec<f64> = shrink.iter().map(|d| d.sqrt()).collect();
                let inverses: Option<Vec<Mat<T>>> = self
                    .folds
                    .iter()
                    .zip(turned)
                    .map(|(fold, turned)| {
                        let mut of_rows = turned.clone();
                        for i in 0..of_rows.ncols() {
                            of_rows.col_as_slice_mut(i).iter_mut().zip(&half).for_each(|(u, h)| *u *= h);
                        }
                        let mut m = gram(of_rows.as_ref());
                        (0..m.ncols())
                            .for_each(|j| m.col_as_slice_mut(j).iter_mut().for_each(|v| *v -= level));
                        Some(T::narrow(self.inverse_rows(&m, fold)?))
                    })
                    .collect();
                inverses.map_or(Rest::Undefined, Rest::Folds)
            }
        }
    }

    /// The rows to predict of (M_LL)⁻¹.
    fn inverse_rows(&self, m: &Mat<f64>, fold: &LeftOut) -> Option<Mat<f64>> {
        let unit = Mat::from_fn(m.nrows(), fold.test.len(), |i, t| if fold.test[t] == i { 1.0 } else { 0.0 });
        let inverse = cholesky_solve(m.as_ref(), unit.as_ref())?.transpose().to_owned();
        let finite = (0..inverse.ncols()).all(|j| inverse.col_as_slice(j).iter().all(|v| v.is_finite()));
        finite.then_some(inverse)
    }
}

/// Some targets, and zeros up to a whole tile.
fn gather<T: Real>(y: &Mat<T>, targets: &[usize]) -> Mat<T> {
    let mut out = Mat::zeros(y.nrows(), TILE);
    for (k, &j) in targets.iter().enumerate() {
        out.col_as_slice_mut(k).copy_from_slice(y.col_as_slice(j));
    }
    out
}

/// Few directions that the vectors α/(W + α) of all penalties have in common.
struct ShrinkagePath<T: Real> {
    /// n × d.
    directions: Mat<T>,
    /// Penalties × d.
    coefficients: Mat<f64>,
}

impl<T: Real> ShrinkagePath<T> {
    /// Singular vectors of the rows α/(W + α), each divided by its largest entry.
    fn new(values: &[f64], alphas: &[f64]) -> Result<Self> {
        let entry = |a: usize, k: usize| alphas[a] / (values[k] + alphas[a]);
        let largest: Vec<f64> = (0..alphas.len())
            .map(|a| (0..values.len()).map(|k| entry(a, k)).fold(f64::MIN_POSITIVE, f64::max))
            .collect();
        let scaled = Mat::from_fn(alphas.len(), values.len(), |a, k| entry(a, k) / largest[a]);
        let Svd { u, s, v } = svd(scaled.as_ref())?;
        let d = s.iter().take_while(|&&x| x > CUT.max(0.1 * T::ROUNDING) * s[0]).count();
        Ok(ShrinkagePath {
            directions: T::narrow(v.get(.., ..d).to_owned()),
            coefficients: Mat::from_fn(alphas.len(), d, |a, m| u[(a, m)] * s[m] * largest[a]),
        })
    }
}

/// Where refinement ended.
struct Refined {
    gamma: Vec<f64>,
    alpha: f64,
    coefficients: Vec<f64>,
    score: f64,
}

impl Bands<'_> {
    /// Follow the gradient from e^δ = `start`; `None` where nothing is gained on `score`.
    fn refine(&self, start: &[f64], y: &[f64], total: f64, score: f64, steps: usize) -> Option<Refined> {
        let n_bands = start.len();
        // Penalties below those of the grid are not looked at: there is little between them and none.
        let sum: f64 = start.iter().sum();
        let trace = |k: &Mat<f64>| (0..self.n).map(|i| k[(i, i)]).sum::<f64>();
        let mean: f64 = self.kernels.iter().zip(start).map(|(k, w)| w / sum * trace(k)).sum();
        let grid = self.params.alphas.penalties(mean / self.n as f64).ok()?;
        let most = (1.0 + 1e-9) / grid.first()?.min(1.0 / sum);
        let top = start.iter().copied().fold(0.0, f64::max);
        let mut delta: Vec<f64> = start.iter().map(|w| w.max(top / APART).ln()).collect();
        let (mut loss, mut gradient) = self.loss(&delta, y)?;
        // Quasi-Newton: the inverse curvature H, from the steps taken.
        let mut h: Mat<f64> = Mat::identity(n_bands, n_bands);
        let times = |h: &Mat<f64>, v: &[f64]| -> Vec<f64> {
            (0..n_bands).map(|i| (0..n_bands).map(|j| h[(i, j)] * v[j]).sum()).collect()
        };
        for step in 0..steps {
            let largest = |v: &[f64]| v.iter().map(|x| x.abs()).fold(0.0, f64::max);
            if !(largest(&gradient) > 1e-7 * loss) {
                break;
            }
            let mut way = times(&h, &gradient);
            if step == 0 || !(dot(&way, &gradient) > 0.0) {
                way = gradient.clone();
                h = Mat::identity(n_bands, n_bands);
                way.iter_mut().for_each(|x| *x /= largest(&gradient));
                h *= faer::Scale(1.0 / largest(&gradient));
            }
            // No weight changes by more than e² at once.
            let mut length = (2.0 / largest(&way)).min(1.0);
            let slope = dot(&way, &gradient);
            let found = (0..8).find_map(|_| {
                let next: Vec<f64> = delta.iter().zip(&way).map(|(d, w)| d - length * w).collect();
                let inside = next.iter().map(|d| d.exp()).sum::<f64>() <= most;
                let found = inside
                    .then(|| self.loss(&next, y))
                    .flatten()
                    .filter(|found| found.0 <= loss - 1e-4 * length * slope);
                length *= 0.4;
                found.map(|found| (next, found))
            });
            let Some((next, (next_loss, next_gradient))) = found else { break };
            let s: Vec<f64> = next.iter().zip(&delta).map(|(a, b)| a - b).collect();
            let r: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
            let sr = dot(&s, &r);
            if sr > 1e-12 * (dot(&s, &s) * dot(&r, &r)).sqrt() {
                // BFGS: H ← (I − s rᵀ/sr) H (I − r sᵀ/sr) + s sᵀ/sr.
                let hr = times(&h, &r);
                let rhr = dot(&r, &hr);
                for i in 0..n_bands {
                    for j in 0..n_bands {
                        h[(i, j)] += (1.0 + rhr / sr) * s[i] * s[j] / sr - (hr[i] * s[j] + s[i] * hr[j]) / sr;
                    }
                }
            }
            (delta, loss, gradient) = (next, next_loss, next_gradient);
        }
        let refined = 1.0 - loss / total;
        if !(refined > score) {
            return None;
        }
        let weights: Vec<f64> = delta.iter().map(|d| d.exp()).collect();
        let sum: f64 = weights.iter().sum();
        let target = Mat::from_fn(self.n, 1, |i, _| y[i]);
        let z = cholesky_solve(self.ridged(&weights).0.as_ref(), target.as_ref())?;
        Some(Refined {
            gamma: weights.iter().map(|w| w / sum).collect(),
            alpha: 1.0 / sum,
            coefficients: z.col_as_slice(0).iter().map(|z| z * sum).collect(),
            score: refined,
        })
    }

    /// Σ_b w_b K_b + I, and 1/n times its inverse along 1, which M is without.
    ///
    /// Centred kernels are 0 along 1, where the inverse would be 1 and drown what matters; so along 1 it is put
    /// to the mean eigenvalue, which M does not see.
    fn ridged(&self, weights: &[f64]) -> (Mat<f64>, f64) {
        let n = self.n as f64;
        let trace = |k: &Mat<f64>| (0..self.n).map(|i| k[(i, i)]).sum::<f64>();
        let mean: f64 = self.kernels.iter().zip(weights).map(|(k, w)| w * trace(k)).sum::<f64>() / n;
        let (along, level) = match self.params.intercept {
            Intercept::Fitted => (mean / n, 1.0 / (n * (1.0 + mean))),
            Intercept::None => (0.0, 0.0),
        };
        let mut k = Mat::from_fn(self.n, self.n, |i, j| along + if i == j { 1.0 } else { 0.0 });
        for (kernel, weight) in self.kernels.iter().zip(weights) {
            for j in 0..self.n {
                let column = k.col_as_slice_mut(j).iter_mut();
                column.zip(kernel.col_as_slice(j)).for_each(|(k, add)| *k += weight * add);
            }
        }
        (k, level)
    }

    /// Squared error of rows left out at weights e^δ and penalty 1, and its gradient.
    fn loss(&self, delta: &[f64], y: &[f64]) -> Option<(f64, Vec<f64>)> {
        let n = self.n;
        let weights: Vec<f64> = delta.iter().map(|d| d.exp()).collect();
        let (ridged, level) = self.ridged(&weights);
        let g = cholesky_solve(ridged.as_ref(), Mat::<f64>::identity(n, n).as_ref())?;
        let z = product(g.as_ref(), MatRef::from_column_major_slice(y, n, 1));
        let scaled = |parts: Vec<f64>| parts.iter().zip(&weights).map(|(part, w)| part * w).collect();
        if self.params.selection == Selection::Generalised {
            let rest = (0..n).map(|i| g[(i, i)]).sum::<f64>() / n as f64 - level;
            let (square, gz) = (dot(z.col_as_slice(0), z.col_as_slice(0)), product(g.as_ref(), z.as_ref()));
            let parts = self
                .kernels
                .iter()
                .map(|kernel| {
                    let along = product(kernel.as_ref(), z.as_ref());
                    let of_square = -2.0 * dot(gz.col_as_slice(0), along.col_as_slice(0));
                    let turned = product(g.as_ref(), kernel.as_ref());
                    let of_rest: f64 =
                        -(0..n).map(|j| dot(turned.col_as_slice(j), &row_of(&g, j))).sum::<f64>() / n as f64;
                    of_square / rest.powi(2) - 2.0 * square * of_rest / rest.powi(3)
                })
                .collect();
            return (rest > LEAST_REST).then(|| (square / rest.powi(2), scaled(parts)));
        }
        let single: Vec<LeftOut>;
        let folds = match self.params.selection {
            Selection::LeaveOneOut => {
                single = (0..n).map(|i| LeftOut { rows: vec![i], test: vec![0] }).collect();
                &single
            }
            _ => &self.folds,
        };
        let (mut errors, mut turned) = (Mat::zeros(n, folds.len()), Mat::zeros(n, folds.len()));
        let mut sum_of_turned = Mat::zeros(n, 1);
        let mut loss = 0.0;
        for (f, fold) in folds.iter().enumerate() {
            let m = Mat::from_fn(fold.rows.len(), fold.rows.len(), |i, j| {
                g[(fold.rows[i], fold.rows[j])] - level
            });
            let z_out = select_rows(z.as_ref(), &fold.rows);
            let e = cholesky_solve(m.as_ref(), z_out.as_ref())?;
            let mut predicted = Mat::zeros(fold.rows.len(), 1);
            for &t in &fold.test {
                predicted[(t, 0)] = e[(t, 0)];
                loss += e[(t, 0)].powi(2);
            }
            let u = cholesky_solve(m.as_ref(), predicted.as_ref())?;
            for (at, &i) in fold.rows.iter().enumerate() {
                (errors[(i, f)], turned[(i, f)]) = (e[(at, 0)], u[(at, 0)]);
                sum_of_turned[(i, 0)] += u[(at, 0)];
            }
        }
        let (ge, gu) = (product(g.as_ref(), errors.as_ref()), product(g.as_ref(), turned.as_ref()));
        let gs = product(g.as_ref(), sum_of_turned.as_ref());
        let parts = self
            .kernels
            .iter()
            .map(|kernel| {
                let along_e = product(kernel.as_ref(), ge.as_ref());
                let along_z = product(kernel.as_ref(), z.as_ref());
                let blocks: f64 =
                    (0..folds.len()).map(|f| dot(gu.col_as_slice(f), along_e.col_as_slice(f))).sum();
                2.0 * (blocks - dot(gs.col_as_slice(0), along_z.col_as_slice(0)))
            })
            .collect();
        loss.is_finite().then(|| (loss, scaled(parts)))
    }
}

fn row_of(a: &Mat<f64>, i: usize) -> Vec<f64> {
    (0..a.ncols()).map(|j| a[(i, j)]).collect()
}

fn check<T: Real>(
    kernels: &[MatRef<'_, f64>],
    y: MatRef<T>,
    inner: &[Fold],
    params: &KernelSearchParams,
) -> Result<()> {
    let n = y.nrows();
    let invalid = |what: &str, expected: &str, found: String, hint: &str| {
        Err(Error::Invalid { what: what.into(), expected: expected.into(), found, hint: hint.into() })
    };
    if kernels.is_empty() || params.gammas.is_empty() || n < 2 {
        return Err(Error::TooFew {
            what: "kernels, draws and rows".into(),
            needed: "1 kernel, 1 draw and 2 rows".into(),
            found: format!("{}, {} and {n}", kernels.len(), params.gammas.len()),
            hint: "give the features of each band".into(),
        });
    }
    for (b, kernel) in kernels.iter().enumerate() {
        if (kernel.nrows(), kernel.ncols()) != (n, n) {
            return Err(Error::Shape {
                what: format!("kernel {b}"),
                expected: format!("{n} × {n} (rows of the targets)"),
                found: format!("{} × {}", kernel.nrows(), kernel.ncols()),
                hint: "take all bands on the same rows".into(),
            });
        }
        check_finite(*kernel, &format!("kernel {b}"))?;
        let largest = (0..n).map(|i| kernel[(i, i)].abs()).fold(0.0, f64::max);
        let odd = (0..n).any(|j| (0..j).any(|i| (kernel[(i, j)] - kernel[(j, i)]).abs() > 1e-5 * largest));
        if odd || (0..n).any(|i| kernel[(i, i)] < -1e-5 * largest) {
            return invalid(
                &format!("kernel {b}"),
                "a symmetric matrix of inner products",
                "one that is none".into(),
                "row i and column i must be the same sample",
            );
        }
    }
    check_finite(y, "targets")?;
    for gamma in &params.gammas {
        let sum: f64 = gamma.iter().sum();
        let on = gamma.len() == kernels.len() && gamma.iter().all(|g| *g >= 0.0) && (sum - 1.0).abs() < 1e-6;
        if !on {
            let expected = format!("{} weights ≥ 0 that sum to 1", kernels.len());
            return invalid("draws", &expected, format!("{gamma:?}"), "divide each draw by its sum");
        }
    }
    if params.alphas.values.iter().any(|a| !(*a > 0.0)) {
        let found = format!("{:?}", params.alphas.values);
        return invalid("alphas", "penalties above 0", found, "leave 0 out: bands are weighed by penalties");
    }
    if (params.selection == Selection::Folds) == inner.is_empty() {
        let expected = if inner.is_empty() { "2 folds" } else { "none without selection by folds" };
        return invalid("inner folds", expected, inner.len().to_string(), "give folds, or leave one out");
    }
    inner.iter().try_for_each(|fold| fold.check("inner fold", n, 2, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::banded::{simplex_draws, stack};
    use crate::encoding::kernel::{Kernel, own_kernel};
    use crate::encoding::{AlphaScale, RidgeParams, RidgePlan, Space};
    use crate::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(29, "kernel search tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    /// Three bands, of which a target follows one, two or none.
    fn problem(n: usize, n_targets: usize) -> (Vec<Mat<f64>>, Mat<f64>) {
        let bands = vec![noise(n, 5, 1), noise(n, 30, 2), noise(n, n + 10, 3)];
        let (e, weights) = (noise(n, n_targets, 4), noise(3, n_targets, 5));
        let y = Mat::from_fn(n, n_targets, |t, j| {
            let part = |b: usize| (0..3).map(|k| bands[b][(t, (j + k) % 5)]).sum::<f64>();
            let drive = match j % 4 {
                0 => 2.0 * part(0),
                1 => part(0) + part(1),
                2 => 0.0,
                _ => weights[(0, j)] * part(0) + weights[(1, j)] * part(1) + weights[(2, j)] * part(2),
            };
            7.0 + drive + e[(t, j)]
        });
        (bands, y)
    }

    fn kernels(bands: &[Mat<f64>]) -> Vec<Mat<f64>> {
        bands.iter().map(|x| own_kernel(x.as_ref(), Kernel::Linear).unwrap()).collect()
    }

    fn views(kernels: &[Mat<f64>]) -> Vec<MatRef<'_, f64>> {
        kernels.iter().map(|k| k.as_ref()).collect()
    }

    /// Folds of unequal sizes; with purged rows that belong to neither side.
    fn folds(n: usize, gap: usize) -> Vec<Fold> {
        let ends = [0, n / 5, n / 2, n];
        (0..3)
            .map(|f| {
                let (from, to) = (ends[f], ends[f + 1]);
                let near = |i: usize| i + gap >= from && i < to + gap;
                Fold {
                    name: format!("{f}"),
                    train: (0..n).filter(|&i| !near(i)).collect(),
                    test: (from..to).collect(),
                }
            })
            .collect()
    }

    fn params(selection: Selection, intercept: Intercept) -> KernelSearchParams {
        KernelSearchParams {
            gammas: simplex_draws(3, 7, &[0.1, 1.0], 3),
            alphas: AlphaGrid::logarithmic(-2.0, 4.0, 25, AlphaScale::Absolute),
            selection,
            intercept,
            ..KernelSearchParams::default()
        }
    }

    #[test]
    fn a_search_is_a_ridge_on_weighted_features_for_each_draw() {
        let (n, n_targets) = (40, 9);
        let (bands, y) = problem(n, n_targets);
        let given = kernels(&bands);
        for selection in [Selection::Folds, Selection::LeaveOneOut, Selection::Generalised] {
            for (intercept, gap) in [(Intercept::Fitted, 0), (Intercept::None, 0), (Intercept::Fitted, 3)] {
                let inner = if selection == Selection::Folds { folds(n, gap) } else { vec![] };
                let params = params(selection, intercept);
                let silent = Monitor::silent();
                let found = search_kernels(&views(&given), y.as_ref(), &inner, &params, &silent).unwrap();
                let mut best = vec![(f64::NEG_INFINITY, 0, f64::NAN); n_targets];
                let mut predictions = Mat::zeros(n, n_targets);
                for (at, gamma) in params.gammas.iter().enumerate() {
                    let x = stack(bands.iter().map(|x| x.as_ref()), gamma);
                    let ridge = RidgeParams {
                        alphas: params.alphas.clone(),
                        selection,
                        intercept,
                        space: Space::Dual,
                        ..RidgeParams::default()
                    };
                    let plan = RidgePlan::new(x.as_ref(), x.as_ref(), &inner, &ridge).unwrap();
                    let fit = plan.fit(y.as_ref()).unwrap();
                    for j in 0..n_targets {
                        if fit.inner_scores[j] > best[j].0 {
                            best[j] = (fit.inner_scores[j], at, fit.alphas[j]);
                            predictions.col_mut(j).copy_from(fit.predictions.col(j));
                        }
                    }
                }
                for j in 0..n_targets {
                    let (score, draw, alpha) = best[j];
                    let off = (found.scores[j] - score).abs();
                    assert!(off < 1e-8, "{selection:?} {j} {off:e}");
                    assert_eq!((found.chosen[j], found.alphas[j]), (Some(draw), alpha), "{selection:?} {j}");
                }
                let off = &fitted(&given, &found) - &predictions;
                assert!(off.norm_max() < 1e-8, "{selection:?} {}", off.norm_max());
            }
        }
    }

    /// Predictions of the training rows, band by band.
    fn fitted(kernels: &[Mat<f64>], fit: &KernelSearchFit) -> Mat<f64> {
        let parts: Vec<Mat<f64>> =
            kernels.iter().map(|k| product(k.as_ref(), fit.coefficients.as_ref())).collect();
        Mat::from_fn(kernels[0].nrows(), fit.means.len(), |t, j| {
            let part = |b: usize| fit.gammas[(b, j)] * parts[b][(t, j)] - fit.offsets[(b, j)];
            (0..kernels.len()).map(part).sum::<f64>() + fit.means[j]
        })
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let (bands, y) = problem(30, 1);
        let given = kernels(&bands);
        let mean = y.col_as_slice(0).iter().sum::<f64>() / 30.0;
        let y: Vec<f64> = y.col_as_slice(0).iter().map(|v| v - mean).collect();
        for selection in [Selection::Folds, Selection::LeaveOneOut, Selection::Generalised] {
            let params = params(selection, Intercept::Fitted);
            let bands = Bands::new(&views(&given), &folds(30, 2), &params);
            let delta = [-2.0, -4.0, -5.5];
            let (_, gradient) = bands.loss(&delta, &y).unwrap();
            for b in 0..3 {
                let at = |step: f64| {
                    let mut moved = delta;
                    moved[b] += step;
                    bands.loss(&moved, &y).unwrap().0
                };
                let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((gradient[b] - slope).abs() < 1e-6 * slope.abs().max(1.0), "{selection:?} {b}");
            }
        }
    }

    #[test]
    fn refined_weights_are_better_and_their_score_is_a_ridge_s() {
        let (bands, y) = problem(40, 8);
        let given = kernels(&bands);
        let inner = folds(40, 0);
        let draws = params(Selection::Folds, Intercept::Fitted);
        let silent = Monitor::silent();
        let before = search_kernels(&views(&given), y.as_ref(), &inner, &draws, &silent).unwrap();
        let steps = KernelSearchParams { refine: 30, ..draws };
        let after = search_kernels(&views(&given), y.as_ref(), &inner, &steps, &silent).unwrap();
        assert!((0..8).all(|j| after.scores[j] >= before.scores[j]));
        assert!((0..8).filter(|&j| after.scores[j] > before.scores[j] + 1e-3).count() >= 4);
        for j in 0..8 {
            let gamma: Vec<f64> = (0..3).map(|b| after.gammas[(b, j)]).collect();
            assert!((gamma.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let x = stack(bands.iter().map(|x| x.as_ref()), &gamma);
            let ridge =
                RidgeParams { alphas: AlphaGrid::absolute(&[after.alphas[j]]), ..RidgeParams::default() };
            let plan = RidgePlan::new(x.as_ref(), x.as_ref(), &inner, &ridge).unwrap();
            let target = Mat::from_fn(40, 1, |i, _| y[(i, j)]);
            let fit = plan.fit(target.as_ref()).unwrap();
            let off = (fit.inner_scores[0] - after.scores[j]).abs();
            assert!(off < 1e-7, "{j} {off:e} at {}", after.alphas[j]);
            let found = fitted(&given, &after);
            assert!((0..40).all(|i| (found[(i, j)] - fit.predictions[(i, 0)]).abs() < 1e-8));
        }
    }

    #[test]
    fn single_precision_and_targets_that_do_not_vary() {
        let (bands, mut y) = problem(50, 20);
        (0..50).for_each(|i| y[(i, 6)] = 2.5);
        let given = kernels(&bands);
        let (inner, params) = (folds(50, 0), params(Selection::Folds, Intercept::Fitted));
        let narrow = Mat::from_fn(50, 20, |i, j| y[(i, j)] as f32);
        let silent = Monitor::silent();
        let a = search_kernels(&views(&given), y.as_ref(), &inner, &params, &silent).unwrap();
        let b = search_kernels(&views(&given), narrow.as_ref(), &inner, &params, &silent).unwrap();
        assert!((0..20).filter(|&j| j != 6).all(|j| (a.scores[j] - b.scores[j]).abs() < 1e-4));
        assert!(a.chosen[6].is_none() && a.scores[6].is_nan() && a.coefficients[(3, 6)].is_nan());
        assert!(b.chosen[6].is_none());
    }

    #[test]
    fn wrong_draws_penalties_and_folds_are_refused() {
        let (bands, y) = problem(30, 2);
        let given = kernels(&bands);
        let good = params(Selection::Folds, Intercept::Fitted);
        let refusal = |params: &KernelSearchParams, inner: &[Fold]| {
            let found = search_kernels(&views(&given), y.as_ref(), inner, params, &Monitor::silent());
            found.unwrap_err().to_string()
        };
        let off = KernelSearchParams { gammas: vec![vec![0.5, 0.5, 0.5]], ..good.clone() };
        assert!(refusal(&off, &folds(30, 0)).contains("sum to 1"));
        let zero = KernelSearchParams { alphas: AlphaGrid::absolute(&[0.0, 1.0]), ..good.clone() };
        assert!(refusal(&zero, &folds(30, 0)).contains("above 0"));
        assert!(refusal(&good, &[]).contains("inner folds"));
        let mut overlapping = folds(30, 0);
        let row = overlapping[0].train[0];
        overlapping[0].test.push(row);
        assert!(refusal(&good, &overlapping).contains("none on both"));
        let stop = std::sync::atomic::AtomicBool::new(true);
        let stopped =
            search_kernels(&views(&given), y.as_ref(), &folds(30, 0), &good, &Monitor::stoppable(&stop));
        assert!(matches!(stopped.unwrap_err(), Error::Cancelled));
    }
}
