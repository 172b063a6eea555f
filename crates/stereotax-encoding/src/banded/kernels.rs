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
//! The second line is exact: it is the leave-one-out formula for many rows at once ([`BlockErrors`]). So each γ
//! costs one eigendecomposition of n × n, whatever the folds; per penalty, a Cholesky factor of the size of each
//! fold. M y at all penalties is a sum of few columns per target.
//!
//! [`super::refine`] then follows the gradient of the same score from the best draw.
//!
//! Source: Nunez-Elizalde, Huth & Gallant 2019; Dupré la Tour et al. 2022; specs: alignment-methods B17,
//! peers W1. Differs from himalaya's `MultipleKernelRidgeCV`: one decomposition per γ instead of one per fold,
//! an intercept by default, R² pooled over folds (the same choices for folds of one size), penalties relative
//! to the mean eigenvalue of K_γ by default. Cost per γ: O(n³ + d n² R + A n n_f R) for R targets, d ≈ 4 columns (single precision)
//! and folds of n_f rows, GCV O(n³ + n² R + A n R).

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::refine::Refined;
use crate::alphas::{AlphaGrid, best};
use crate::reduce::check_finite;
use crate::ridge::{Block, BlockErrors, Intercept, Selection, Whole, numerical_rank};
use stereotax_base::data::{Error, Fold, Monitor, Result};
use stereotax_base::linalg::{Real, column_means, cross, dot, eigh, product};

/// Targets worked on at a time; the last tile is filled with zeros.
const TILE: usize = 128;
/// Draws decomposed at a time.
const BATCH: usize = 4;
/// A row with less than this left of itself has no prediction from the others.
pub(super) const LEAST_REST: f64 = 1e-10;

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
pub(super) struct Bands<'a> {
    pub(super) n: usize,
    pub(super) kernels: Vec<Mat<f64>>,
    /// Means over rows of the kernels as given; zeros without an intercept.
    mean_rows: Vec<Vec<f64>>,
    pub(super) folds: Vec<Block>,
    pub(super) params: &'a KernelSearchParams,
}

/// One γ, decomposed.
struct Draw<T: Real> {
    gamma: Vec<f64>,
    alphas: Vec<f64>,
    values: Vec<f64>,
    basis: Mat<f64>,
    narrow: Mat<T>,
}

impl<'a> Bands<'a> {
    pub(super) fn new(kernels: &[MatRef<'_, f64>], inner: &[Fold], params: &'a KernelSearchParams) -> Self {
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
        let folds = inner.iter().map(|fold| Block::new(fold, n)).collect();
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
                let of_fold = |fold: &Block| -> f64 {
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
        // 1. What turns targets into errors, at every penalty.
        let n_alphas = draw.alphas.len();
        let rank = numerical_rank(&draw.values, self.n);
        let whole = Whole {
            values: &draw.values[..rank],
            basis: draw.basis.as_ref().subcols(0, rank),
            intercept: self.params.intercept == Intercept::Fitted,
        };
        let prepared = match self.params.selection {
            Selection::Folds => BlockErrors::new(whole, &self.folds, &draw.alphas, f64::INFINITY)?,
            Selection::LeaveOneOut => Some(BlockErrors::of_single_rows(whole, &draw.alphas)?),
            Selection::Generalised => None,
        };
        // 2. Errors of all targets at all penalties.
        let all: Vec<usize> = (0..y.ncols()).filter(|&j| totals[j] > 0.0).collect();
        let errors: Vec<Mat<f64>> = all
            .par_chunks(TILE)
            .map(|targets| {
                let tile = gather(y, targets);
                let c = cross(draw.narrow.as_ref(), tile.as_ref());
                match &prepared {
                    Some(prepared) => prepared.errors(&c, &tile),
                    None => self.generalised_errors(draw, &c),
                }
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

    /// n/tr M of generalised cross-validation; NaN where some row is left alone with itself.
    fn mean_rest(&self, values: &[f64], alpha: f64) -> f64 {
        let shrunken: f64 = values.iter().map(|w| alpha / (w + alpha)).sum();
        let rest = shrunken / self.n as f64 - self.level();
        if rest > LEAST_REST { 1.0 / rest } else { f64::NAN }
    }

    /// Σ (y − ŷ)²/(mean of 1 − h_ii)² of one tile, of which `c` = Uᵀy: penalties × targets.
    fn generalised_errors<T: Real>(&self, draw: &Draw<T>, c: &Mat<T>) -> Mat<f64> {
        let mut out = Mat::zeros(draw.alphas.len(), TILE);
        for (a, &alpha) in draw.alphas.iter().enumerate() {
            let scale = self.mean_rest(&draw.values, alpha);
            let squares: Vec<T> =
                draw.values.iter().map(|w| T::from_f64((alpha / (w + alpha)).powi(2))).collect();
            let mut column = vec![T::default(); self.n];
            for j in 0..TILE {
                column.iter_mut().zip(c.col_as_slice(j)).for_each(|(out, c)| *out = *c * *c);
                out[(a, j)] = dot(&column, &squares) * scale * scale;
            }
        }
        out
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
pub(super) mod tests {
    use super::*;
    use crate::banded::{simplex_draws, stack};
    use crate::kernel::{Kernel, own_kernel};
    use crate::{AlphaScale, RidgeParams, RidgePlan, Space};
    use stereotax_base::stats::rng::Stream;

    pub(in crate::banded) fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(29, "kernel search tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    /// Three bands, of which a target follows one, two or none.
    pub(in crate::banded) fn problem(n: usize, n_targets: usize) -> (Vec<Mat<f64>>, Mat<f64>) {
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

    pub(in crate::banded) fn kernels(bands: &[Mat<f64>]) -> Vec<Mat<f64>> {
        bands.iter().map(|x| own_kernel(x.as_ref(), Kernel::Linear).unwrap()).collect()
    }

    pub(in crate::banded) fn views(kernels: &[Mat<f64>]) -> Vec<MatRef<'_, f64>> {
        kernels.iter().map(|k| k.as_ref()).collect()
    }

    /// Folds of unequal sizes; with purged rows that belong to neither side.
    pub(in crate::banded) fn folds(n: usize, gap: usize) -> Vec<Fold> {
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

    pub(in crate::banded) fn params(selection: Selection, intercept: Intercept) -> KernelSearchParams {
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
    pub(in crate::banded) fn fitted(kernels: &[Mat<f64>], fit: &KernelSearchFit) -> Mat<f64> {
        let parts: Vec<Mat<f64>> =
            kernels.iter().map(|k| product(k.as_ref(), fit.coefficients.as_ref())).collect();
        Mat::from_fn(kernels[0].nrows(), fit.means.len(), |t, j| {
            let part = |b: usize| fit.gammas[(b, j)] * parts[b][(t, j)] - fit.offsets[(b, j)];
            (0..kernels.len()).map(part).sum::<f64>() + fit.means[j]
        })
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
