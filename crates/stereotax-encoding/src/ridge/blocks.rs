//! Predict blocks of rows from fits on all other rows, from one decomposition of all rows.
//!
//! With the centred kernel of n rows C K C = U W Uᵀ (C = I − 1 1ᵀ/n, or I without an intercept), y centred likewise,
//! P = C − U Uᵀ (0 where the kernel has full rank), and rows L left out of a fit on all others,
//!
//! ```text
//! M(α) = P + U diag(α/(W + α)) Uᵀ        z = M y        y_L − ŷ_L = (M_LL)⁻¹ z_L
//! Σ (y − ŷ)² over the rows T of L that are predicted = ‖Gᵀ z_L‖²,  G Gᵀ = (M_LL)⁻¹_LT (M_LL)⁻¹_TL
//! ```
//!
//! exact for the fit without L, its centring included: the leave-one-out formula for many rows at once. So there
//! is no decomposition per fold; per penalty and fold a Cholesky factor of the size of the fold, and per target a
//! triangular product with it. z at all penalties is a sum of few columns, by bands of W ([`PenaltyPath`]).
//!
//! Rounding of z is multiplied by (M_LL)⁻¹, which grows as α falls: relative to y by at most ‖(M_LL)⁻¹‖ ‖M‖, which is
//! known beforehand. Who asks says what is too much.
//!
//! Source: specs: peers W1, nfas-dmd 8.5.3; the identity for one row is Allen 1974. Cost: O(A Σ n_f² n) once for A
//! penalties and folds of n_f rows, O(d n² + A Σ n_f²) per target for d ≈ 4 columns (single precision).

use faer::{Mat, MatMut, MatRef};
use rayon::prelude::*;

use super::path::PenaltyPath;
use stereotax_base::data::{Fold, Result};
use stereotax_base::linalg::{
    Real, add_product, cholesky_factor, cholesky_inverse, cross, dot, gram, lower_cross, product,
    product_into, select_rows,
};

/// The rows outside one inner training set, and where among them those to predict are.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub rows: Vec<usize>,
    pub test: Vec<usize>,
}

impl Block {
    pub fn new(fold: &Fold, n: usize) -> Self {
        let (mut trains, mut tests) = (vec![false; n], vec![false; n]);
        fold.train.iter().for_each(|&i| trains[i] = true);
        fold.test.iter().for_each(|&i| tests[i] = true);
        let rows: Vec<usize> = (0..n).filter(|&i| !trains[i]).collect();
        let test = (0..rows.len()).filter(|&at| tests[rows[at]]).collect();
        Block { rows, test }
    }
}

/// All rows, decomposed: positive eigenvalues, descending, and their vectors.
#[derive(Clone, Copy)]
pub(crate) struct Whole<'a> {
    pub values: &'a [f64],
    /// n × k.
    pub basis: MatRef<'a, f64>,
    pub intercept: bool,
}

impl Whole<'_> {
    /// Whether P = 0.
    fn full_rank(&self) -> bool {
        self.values.len() + usize::from(self.intercept) >= self.basis.nrows()
    }

    /// U_Lᵀ, so that what is scaled lies together.
    fn turned(&self, rows: &[usize]) -> Mat<f64> {
        select_rows(self.basis, rows).transpose().to_owned()
    }

    /// P_LL.
    fn outside(&self, turned: &Mat<f64>) -> Option<Mat<f64>> {
        if self.full_rank() {
            return None;
        }
        let level = if self.intercept { 1.0 / self.basis.nrows() as f64 } else { 0.0 };
        let mut p = gram(turned.as_ref());
        for j in 0..p.ncols() {
            for i in 0..p.nrows() {
                p[(i, j)] = if i == j { 1.0 } else { 0.0 } - level - p[(i, j)];
            }
        }
        Some(p)
    }

    /// (M_LL)⁻¹ at one penalty; `None` where the rows left out decide their own fit.
    fn inverse(&self, turned: &Mat<f64>, outside: Option<&Mat<f64>>, alpha: f64) -> Option<Mat<f64>> {
        let half: Vec<f64> = self.values.iter().map(|w| (alpha / (w + alpha)).sqrt()).collect();
        let mut scaled = turned.clone();
        for i in 0..scaled.ncols() {
            scaled.col_as_slice_mut(i).iter_mut().zip(&half).for_each(|(u, h)| *u *= h);
        }
        let mut m = gram(scaled.as_ref());
        if let Some(outside) = outside {
            m += outside;
        }
        let inverse = cholesky_inverse(m.as_ref())?;
        let finite = (0..inverse.ncols()).all(|j| inverse.col_as_slice(j).iter().all(|v| v.is_finite()));
        finite.then_some(inverse)
    }
}

/// What turns z of the rows left out into the squared error of those predicted, at one penalty.
#[derive(Debug)]
enum Turn<T: Real> {
    /// G, lower triangular.
    Triangle(Mat<T>),
    /// Rows of (M_LL)⁻¹, where some rows that are left out are not predicted.
    Rows(Mat<T>),
    /// 1/M_ii, where each row is left out alone.
    Scales(Vec<T>),
}

#[derive(Debug)]
struct Prepared<T: Real> {
    block: Block,
    /// U_L.
    basis: Mat<T>,
    /// Per penalty; `None` where undefined.
    turns: Vec<Option<Turn<T>>>,
}

/// Squared errors of all folds at all penalties, for any number of targets.
#[derive(Debug)]
pub(crate) struct BlockErrors<T: Real> {
    n_alphas: usize,
    blocks: Vec<Prepared<T>>,
    path: PenaltyPath<T>,
    /// Per band, directions × penalties: z = Σ_m coefficient × U (s_m ∘ Uᵀy).
    coefficients: Vec<Mat<T>>,
    full_rank: bool,
}

impl<T: Real> BlockErrors<T> {
    /// Prepare the folds at all penalties (absolute).
    ///
    /// `None` where rounding would be amplified by more than `limit` at some penalty; with an infinite `limit`
    /// errors are NaN at penalties where they are undefined.
    pub fn new(whole: Whole<'_>, blocks: &[Block], alphas: &[f64], limit: f64) -> Result<Option<Self>> {
        let least = whole.values.last().copied().unwrap_or(0.0);
        let of_rows: Vec<Mat<f64>> = blocks.par_iter().map(|block| whole.turned(&block.rows)).collect();
        let outside: Vec<Option<Mat<f64>>> = of_rows.par_iter().map(|turned| whole.outside(turned)).collect();
        let turn = |f: usize, alpha: f64| -> Option<(Turn<T>, f64)> {
            let inverse = whole.inverse(&of_rows[f], outside[f].as_ref(), alpha)?;
            let size = if whole.full_rank() { alpha / (least + alpha) } else { 1.0 };
            let predicted = &blocks[f].test;
            let whole_block = predicted.len() == inverse.nrows();
            let rows = if whole_block { inverse } else { select_rows(inverse.as_ref(), predicted) };
            let square = gram(rows.as_ref());
            let sums =
                (0..square.ncols()).map(|j| square.col_as_slice(j).iter().map(|v| v.abs()).sum::<f64>());
            let amplification = size * sums.fold(0.0, f64::max).sqrt();
            let turn = if whole_block {
                Turn::Triangle(T::narrow(cholesky_factor(square.as_ref())?))
            } else {
                Turn::Rows(T::narrow(rows))
            };
            amplification.is_finite().then_some((turn, amplification))
        };
        // The smallest penalty amplifies most: ask there first.
        let first = (0..alphas.len()).min_by(|&a, &b| alphas[a].total_cmp(&alphas[b])).unwrap_or(0);
        let allowed = |found: &Option<(Turn<T>, f64)>| found.as_ref().map_or(f64::INFINITY, |f| f.1) <= limit;
        let at_least: Vec<Option<(Turn<T>, f64)>> =
            (0..blocks.len()).into_par_iter().map(|f| turn(f, alphas[first])).collect();
        if !at_least.iter().all(allowed) {
            return Ok(None);
        }
        let n_alphas = alphas.len();
        let others: Vec<(usize, usize)> = (0..blocks.len())
            .flat_map(|f| (0..n_alphas).filter(move |&a| a != first).map(move |a| (f, a)))
            .collect();
        let found: Vec<Option<(Turn<T>, f64)>> =
            others.par_iter().map(|&(f, a)| turn(f, alphas[a])).collect();
        if !found.iter().all(allowed) {
            return Ok(None);
        }
        let mut turns: Vec<Vec<Option<Turn<T>>>> =
            blocks.iter().map(|_| (0..n_alphas).map(|_| None).collect()).collect();
        let at_first = (0..blocks.len()).map(|f| (f, first)).zip(at_least);
        for ((f, a), found) in at_first.chain(others.iter().copied().zip(found)) {
            turns[f][a] = found.map(|(turn, _)| turn);
        }
        let blocks = blocks
            .iter()
            .zip(of_rows)
            .zip(turns)
            .map(|((block, turned), turns)| {
                let basis = T::narrow(turned.transpose().to_owned());
                Prepared { block: block.clone(), basis, turns }
            })
            .collect();
        Ok(Some(BlockErrors::of(whole, alphas, blocks)?))
    }

    /// Each row left out alone; errors are NaN at penalties where a row decides its own fit.
    pub fn of_single_rows(whole: Whole<'_>, alphas: &[f64]) -> Result<Self> {
        let n = whole.basis.nrows();
        let level = if whole.intercept { 1.0 / n as f64 } else { 0.0 };
        let squares = Mat::from_fn(n, whole.values.len(), |i, k| whole.basis[(i, k)].powi(2));
        // P_ii.
        let outside = |i: usize| 1.0 - level - (0..squares.ncols()).map(|k| squares[(i, k)]).sum::<f64>();
        let base: Vec<f64> = (0..n).map(|i| if whole.full_rank() { 0.0 } else { outside(i) }).collect();
        let turns = alphas
            .iter()
            .map(|alpha| {
                let mut rest = base.clone();
                for (k, w) in whole.values.iter().enumerate() {
                    let shrink = alpha / (w + alpha);
                    rest.iter_mut().zip(squares.col_as_slice(k)).for_each(|(r, u)| *r += shrink * u);
                }
                let defined = rest.iter().all(|r| *r > LEAST_REST);
                defined.then(|| Turn::Scales(rest.iter().map(|r| T::from_f64(1.0 / r)).collect()))
            })
            .collect();
        let block = Block { rows: (0..n).collect(), test: (0..n).collect() };
        let basis = T::narrow(whole.basis.to_owned());
        BlockErrors::of(whole, alphas, vec![Prepared { block, basis, turns }])
    }

    fn of(whole: Whole<'_>, alphas: &[f64], blocks: Vec<Prepared<T>>) -> Result<Self> {
        let n_alphas = alphas.len();
        let path = PenaltyPath::summed(whole.values, alphas, CUT * T::ROUNDING)?;
        let mut coefficients = Vec::new();
        let mut from = 0;
        for width in path.widths() {
            coefficients.push(T::narrow(Mat::from_fn(width, n_alphas, |m, a| {
                alphas[a] * path.coefficients[(a, from + m)]
            })));
            from += width;
        }
        let (path, full_rank) = (path.narrow(), whole.full_rank());
        Ok(BlockErrors { n_alphas, blocks, path, coefficients, full_rank })
    }

    /// Σ (y − ŷ)² over the rows predicted (penalties × targets) of centred targets, with `c` = Uᵀy
    /// (what it has beyond k rows is not read).
    pub fn errors(&self, c: &Mat<T>, y: &Mat<T>) -> Mat<f64> {
        let width = y.ncols();
        let mut out = Mat::zeros(self.n_alphas, width);
        // Directions of a band one after the other, each for all targets.
        let spread: Vec<Mat<T>> = self.path.spread_by_direction(c);
        let (mut all_z, mut part): (Vec<T>, Vec<T>) = (Vec::new(), Vec::new());
        for prepared in &self.blocks {
            let n_rows = prepared.block.rows.len();
            let size = n_rows * width;
            // z of one penalty after the other; as one matrix, (rows · targets) × penalties.
            all_z.resize(all_z.len().max(size * self.n_alphas), T::default());
            let z = &mut all_z[..size * self.n_alphas];
            z.fill(T::default());
            for ((from, spread), coefficients) in self.path.starts().zip(&spread).zip(&self.coefficients) {
                let (k, d) = (spread.nrows(), coefficients.nrows());
                part.resize(part.len().max(size * d), T::default());
                let part = &mut part[..size * d];
                product_into(
                    MatMut::from_column_major_slice_mut(part, n_rows, width * d),
                    prepared.basis.as_ref().subcols(from, k),
                    spread.as_ref(),
                );
                let part = MatRef::from_column_major_slice(part, size, d);
                let mut z = MatMut::from_column_major_slice_mut(z, size, self.n_alphas);
                // By pieces that stay in the cache.
                for at in (0..size).step_by(PIECE) {
                    let length = PIECE.min(size - at);
                    let z = z.as_mut().subrows_mut(at, length);
                    add_product(z, part.subrows(at, length), coefficients.as_ref(), 1.0);
                }
            }
            if !self.full_rank {
                let mut outside = select_rows(y.as_ref(), &prepared.block.rows);
                let c = c.as_ref().subrows(0, prepared.basis.ncols());
                add_product(outside.as_mut(), prepared.basis.as_ref(), c, -1.0);
                for z in z.chunks_exact_mut(size) {
                    for (j, z) in z.chunks_exact_mut(n_rows).enumerate() {
                        z.iter_mut().zip(outside.col_as_slice(j)).for_each(|(z, p)| *z += *p);
                    }
                }
            }
            for (a, (turn, z)) in prepared.turns.iter().zip(z.chunks_exact(size)).enumerate() {
                let z = MatRef::from_column_major_slice(z, n_rows, width);
                let errors = match turn {
                    Some(Turn::Triangle(lower)) => lower_cross(lower.as_ref(), z),
                    Some(Turn::Rows(rows)) => product(rows.as_ref(), z),
                    Some(Turn::Scales(scales)) => Mat::from_fn(n_rows, width, |i, j| z[(i, j)] * scales[i]),
                    None => Mat::full(1, width, T::from_f64(f64::NAN)),
                };
                for j in 0..width {
                    out[(a, j)] += dot(errors.col_as_slice(j), errors.col_as_slice(j));
                }
            }
        }
        out
    }
}

/// What is dropped of z, as a multiple of the precision of the data: what a product of a thousand terms loses too.
const CUT: f64 = 8.0;
/// A row with less than this left of itself has no prediction from the others.
const LEAST_REST: f64 = 1e-10;
/// Rows of (rows · targets) that are summed over directions at a time.
const PIECE: usize = 512;

/// The rows of blocks predicted from all others at chosen penalties: ŷ_T = (M_LL)⁻¹_TL (S_L· y outside L) with
/// S = I − M, which keeps its digits where almost nothing is predicted.
pub(super) struct BlockPredictions<T: Real> {
    blocks: Vec<(Block, Mat<T>)>,
    basis: Mat<T>,
    values: Vec<f64>,
    intercept: bool,
    alphas: Vec<f64>,
    /// (M_LL)⁻¹_TL per block and penalty; `None` where undefined.
    inverses: Vec<Vec<Option<Mat<T>>>>,
}

impl<T: Real> BlockPredictions<T> {
    pub fn new(whole: Whole<'_>, blocks: &[Block], alphas: &[f64]) -> Self {
        let mut alphas: Vec<f64> = alphas.iter().copied().filter(|alpha| *alpha >= 0.0).collect();
        alphas.sort_by(f64::total_cmp);
        alphas.dedup();
        let inverses = blocks
            .par_iter()
            .map(|block| {
                let turned = whole.turned(&block.rows);
                let outside = whole.outside(&turned);
                let at = |alpha: &f64| {
                    let inverse = whole.inverse(&turned, outside.as_ref(), *alpha)?;
                    Some(T::narrow(select_rows(inverse.as_ref(), &block.test)))
                };
                alphas.par_iter().map(at).collect()
            })
            .collect();
        let basis = T::narrow(whole.basis.to_owned());
        let blocks =
            blocks.iter().map(|block| (block.clone(), select_rows(basis.as_ref(), &block.rows))).collect();
        BlockPredictions {
            blocks,
            basis,
            values: whole.values.to_vec(),
            intercept: whole.intercept,
            alphas,
            inverses,
        }
    }

    /// Rows × targets, centred as `y` is, at one penalty per target (`y` may be wider); NaN where undefined, and for
    /// rows that no block predicts.
    pub fn predictions(&self, y: &Mat<T>, alphas: &[f64]) -> Mat<T> {
        let n = y.nrows();
        let mut out = Mat::full(n, alphas.len(), T::from_f64(f64::NAN));
        for ((block, basis), inverses) in self.blocks.iter().zip(&self.inverses) {
            let mut kept = y.clone();
            for j in 0..kept.ncols() {
                let column = kept.col_as_slice_mut(j);
                block.rows.iter().for_each(|&i| column[i] = T::default());
            }
            let mut b = cross(self.basis.as_ref(), kept.as_ref());
            for (j, alpha) in alphas.iter().enumerate() {
                let column = b.col_as_slice_mut(j).iter_mut();
                column.zip(&self.values).for_each(|(c, w)| *c = T::from_f64((*c).into() * (w / (w + alpha))));
            }
            let mut pull = product(basis.as_ref(), b.as_ref());
            for j in (0..y.ncols()).filter(|_| self.intercept) {
                let sum: f64 = kept.col_as_slice(j).iter().map(|v| -> f64 { (*v).into() }).sum();
                let level = T::from_f64(sum / n as f64);
                pull.col_as_slice_mut(j).iter_mut().for_each(|v| *v += level);
            }
            for (alpha, inverse) in self.alphas.iter().zip(inverses) {
                let Some(inverse) = inverse.as_ref().filter(|_| alphas.contains(alpha)) else { continue };
                // All targets, so that a target has the same bits in any company.
                let predicted = product(inverse.as_ref(), pull.as_ref());
                for j in (0..alphas.len()).filter(|&j| alphas[j] == *alpha) {
                    for (t, &at) in block.test.iter().enumerate() {
                        out[(block.rows[at], j)] = predicted[(t, j)];
                    }
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ridge::{InnerLoss, Intercept, RidgeParams, RidgePlan, Selection};
    use crate::{AlphaGrid, AlphaScale};
    use stereotax_base::data::Fold;
    use stereotax_base::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(3, "block tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    /// Folds of unequal sizes, `gap` rows on either side of each in neither.
    fn folds(n: usize, ends: &[usize], gap: usize) -> Vec<Fold> {
        ends.windows(2)
            .map(|ends| Fold {
                name: String::new(),
                train: (0..n).filter(|&i| i + gap < ends[0] || i >= ends[1] + gap).collect(),
                test: (ends[0]..ends[1]).collect(),
            })
            .collect()
    }

    /// y minus predictions of a fit on all rows but those of one fold, by a plan of these rows.
    fn refit_errors(x: &Mat<f64>, y: &Mat<f64>, fold: &Fold, alpha: f64, intercept: Intercept) -> Mat<f64> {
        let params =
            RidgeParams { alphas: AlphaGrid::absolute(&[alpha]), intercept, ..RidgeParams::default() };
        let rows = |rows: &[usize]| select_rows(x.as_ref(), rows);
        let plan =
            RidgePlan::new(rows(&fold.train).as_ref(), rows(&fold.test).as_ref(), &[], &params).unwrap();
        let fit = plan.fit(select_rows(y.as_ref(), &fold.train).as_ref()).unwrap();
        select_rows(y.as_ref(), &fold.test) - fit.predictions
    }

    #[test]
    fn folds_from_one_decomposition_are_refits_without_them() {
        // Full rank and twins of rows (a kernel with a null space); purged rows on neither side; both intercepts.
        for (twins, gap) in [(false, 0), (true, 0), (false, 2), (true, 2)] {
            let n = 48;
            let raw = noise(n, 70, 1);
            let x = Mat::from_fn(n, 70, |i, j| raw[(if twins { i / 2 } else { i }, j)] + 5.0);
            let e = noise(n, 3, 2);
            let y = Mat::from_fn(n, 3, |i, j| 4.0 + x[(i, 0)] * j as f64 + e[(i, j)]);
            let inner = folds(n, &[0, 8, 19, 27, 38, 48], gap);
            for intercept in [Intercept::Fitted, Intercept::None] {
                let params = RidgeParams {
                    alphas: AlphaGrid::logarithmic(-3.0, 3.0, 7, AlphaScale::MeanSquare),
                    intercept,
                    ..RidgeParams::default()
                };
                let plan = RidgePlan::new(x.as_ref(), x.as_ref(), &inner, &params).unwrap();
                assert!(plan.blocks.is_some() && plan.folds.is_empty());
                let fit = plan.fit(y.as_ref()).unwrap();
                let held_out = plan.inner_predictions(y.as_ref(), &fit.alphas).unwrap();
                for (a, &alpha) in plan.alphas().iter().enumerate() {
                    let mut errors = [0.0; 3];
                    for fold in &inner {
                        let off = refit_errors(&x, &y, fold, alpha, intercept);
                        for j in 0..3 {
                            errors[j] += dot(off.col_as_slice(j), off.col_as_slice(j));
                            for (t, &row) in fold.test.iter().enumerate().filter(|_| fit.alphas[j] == alpha) {
                                let found = y[(row, j)] - held_out[(row, j)];
                                assert!((found - off[(t, j)]).abs() < 1e-8, "{twins} {gap} {alpha}");
                            }
                        }
                    }
                    let tile = plan.centred_targets(super::super::tile_of(y.as_ref(), 0).as_ref(), &all(n)).0;
                    let c = cross(plan.whole.basis.as_ref(), tile.as_ref());
                    let found = plan.blocks.as_ref().unwrap().errors.errors(&c, &tile);
                    for j in 0..3 {
                        let off = (found[(a, j)] - errors[j]).abs();
                        assert!(off < 1e-8 * errors[j], "{twins} {gap} {intercept:?} {alpha} {off:e}");
                    }
                }
            }
        }
    }

    fn all(n: usize) -> Vec<usize> {
        (0..n).collect()
    }

    #[test]
    fn rounding_that_would_be_amplified_goes_the_long_way() {
        // Twins of rows: what lies between them stays in z whole, while little of a block follows from the others.
        let (raw, y) = (noise(60, 90, 5), noise(60, 4, 6));
        let x = Mat::from_fn(60, 90, |i, j| raw[(i / 2, j)]);
        let inner = folds(60, &[0, 12, 24, 36, 48, 60], 0);
        let params = |from: f64| RidgeParams {
            alphas: AlphaGrid::logarithmic(from, 3.0, 9, AlphaScale::MeanSquare),
            ..RidgeParams::default()
        };
        let (x1, y1) = (<f32 as Real>::narrow(x.clone()), <f32 as Real>::narrow(y.clone()));
        for (from, short) in [(-2.0, true), (-6.0, false)] {
            let plan = RidgePlan::<f32>::new(x1.as_ref(), x1.as_ref(), &inner, &params(from)).unwrap();
            assert_eq!(plan.blocks.is_some(), short, "{from}");
            let exact = RidgePlan::new(x.as_ref(), x.as_ref(), &inner, &params(from)).unwrap();
            assert!(exact.blocks.is_some());
            let (fit, exact) = (plan.fit(y1.as_ref()).unwrap(), exact.fit(y.as_ref()).unwrap());
            for j in 0..4 {
                assert!((fit.inner_scores[j] - exact.inner_scores[j]).abs() < 1e-4);
            }
        }
        // No penalty at all leaves nothing to divide by; correlations and few folds have their own way.
        let none = RidgeParams { alphas: AlphaGrid::absolute(&[0.0, 1.0]), ..RidgeParams::default() };
        let correlation = RidgeParams { loss: InnerLoss::Correlation, ..params(-2.0) };
        for (inner, params) in [
            (inner.clone(), none),
            (inner, correlation),
            (folds(60, &[0, 30, 60], 0), {
                RidgeParams {
                    alphas: AlphaGrid::logarithmic(-2.0, 3.0, 19, AlphaScale::MeanSquare),
                    ..params(-2.0)
                }
            }),
        ] {
            let plan = RidgePlan::new(x.as_ref(), x.as_ref(), &inner, &params).unwrap();
            assert!(plan.blocks.is_none() && plan.folds.len() == inner.len());
        }
    }

    #[test]
    fn rows_left_out_one_by_one_are_blocks_of_one_row() {
        let (x, y) = (noise(30, 45, 7), noise(30, 128, 8));
        let params = RidgeParams { selection: Selection::LeaveOneOut, ..RidgeParams::default() };
        let plan = RidgePlan::new(x.as_ref(), x.as_ref(), &[], &params).unwrap();
        let centred = plan.centred_targets(y.as_ref(), &all(30)).0;
        let c = cross(plan.whole.basis.as_ref(), centred.as_ref());
        let whole = Whole { values: &plan.whole.values, basis: plan.whole.basis.as_ref(), intercept: true };
        let singles: Vec<Block> = (0..30).map(|i| Block { rows: vec![i], test: vec![0] }).collect();
        let slow = BlockErrors::new(whole, &singles, plan.alphas(), f64::INFINITY).unwrap().unwrap();
        let fast = BlockErrors::<f64>::of_single_rows(whole, plan.alphas()).unwrap();
        let (slow, fast) = (slow.errors(&c, &centred), fast.errors(&c, &centred));
        for j in 0..128 {
            for a in 0..plan.alphas().len() {
                assert!((slow[(a, j)] - fast[(a, j)]).abs() < 1e-9 * slow[(a, j)]);
            }
        }
    }
}
