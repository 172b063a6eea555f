//! Least squares by the pseudo-inverse, on all directions of the features or on their first principal components.
//!
//! With X_c = U S Vᵀ (columns minus their means over the training rows), directions kept while
//! s_i > max(n, p) ε s_1 (their number is the rank),
//!
//! ```text
//! B_k = Σ_{i ≤ k} v_i s_i⁻¹ u_iᵀ Y_c        Ŷ = (X − mean) B_k + ȳ
//! ```
//!
//! k = rank is ordinary least squares: of all that fit best, the weights of least norm. Fewer components are
//! chosen per target by inner folds: R² pooled over folds against training means, at every k at once, because
//! component i adds the same term whatever comes after it. Ties go to fewer components. k = 0 is the mean.
//!
//! Source: specs: alignment-methods B6.2; Massy 1965. Differs from a regression on a fixed PCA: components are
//! those of the training rows of each fold. Cost: one SVD per fold and of all rows, O(n p min(n, p)), and
//! O(n_f k R) per fold of n_f rows for R targets.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::reduce::check_finite;
use stereotax_base::data::{Error, Fold, Result};
use stereotax_base::linalg::{Svd, centre_columns, column_means, cross, dot, product, select_rows, svd};

/// Targets worked on at a time; the last tile is filled with zeros.
const TILE: usize = 80;

/// Choices of a regression on components.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentParams {
    /// The most components to try; `None` for the rank. Default `None`.
    pub most: Option<usize>,
    /// Fit a constant per target. Default true.
    pub intercept: bool,
}

impl Default for ComponentParams {
    fn default() -> Self {
        ComponentParams { most: None, intercept: true }
    }
}

/// A fit on all training rows. Vectors have one entry per target.
#[derive(Debug, Clone)]
pub struct ComponentFit {
    /// p × targets; NaN for a target that does not vary where components were chosen.
    pub weights: Mat<f64>,
    /// One per target; 0 without an intercept.
    pub intercepts: Vec<f64>,
    /// Components used.
    pub n_components: Vec<usize>,
    /// R² at that number over the inner folds; NaN without folds, or where undefined.
    pub scores: Vec<f64>,
    /// Numerical rank of the centred features.
    pub rank: usize,
    /// Share of the variance of the features in the first k components, k = 1…rank.
    pub variance_shares: Vec<f64>,
}

/// Fit targets (training rows × R) on the features (training rows × p).
///
/// Without inner folds, on `most` components (all by default): least squares. With folds, the number is chosen
/// per target. Errors: values that are not finite, rows that differ, features that do not vary, folds that overlap.
pub fn component_regression(
    x: MatRef<f64>,
    y: MatRef<f64>,
    inner: &[Fold],
    params: &ComponentParams,
) -> Result<ComponentFit> {
    check(x, y, inner)?;
    let all: Vec<usize> = (0..x.nrows()).collect();
    let whole = Part::new(x, &all, &all[..0], params)?;
    if whole.rank == 0 {
        return Err(Error::ZeroVariance {
            what: "features".into(),
            detail: format!("all {} columns are constant over {} rows", x.ncols(), x.nrows()),
            hint: "check that features and rows belong together".into(),
        });
    }
    let most = params.most.unwrap_or(usize::MAX);
    let parts: Vec<Part> =
        inner.par_iter().map(|fold| Part::new(x, &fold.train, &fold.test, params)).collect::<Result<_>>()?;
    // Numbers that all folds can have.
    let tried = parts.iter().map(|part| part.rank).fold(whole.rank, usize::min).min(most);
    let starts: Vec<usize> = (0..y.ncols()).step_by(TILE).collect();
    let tiles: Vec<Tile> = starts
        .par_iter()
        .map(|&from| {
            let width = TILE.min(y.ncols() - from);
            let y = Mat::from_fn(y.nrows(), TILE, |i, j| if j < width { y[(i, from + j)] } else { 0.0 });
            let scores = (!inner.is_empty()).then(|| scores(&parts, &y, tried));
            let chosen: Vec<(Option<usize>, f64)> = (0..width)
                .map(|j| match &scores {
                    None => (Some(whole.rank.min(most)), f64::NAN),
                    Some(scores) => fewest(&scores[j]),
                })
                .collect();
            whole.fit(&y, &chosen)
        })
        .collect();
    let mut fit = ComponentFit {
        weights: Mat::zeros(x.ncols(), y.ncols()),
        intercepts: vec![],
        n_components: vec![],
        scores: vec![],
        rank: whole.rank,
        variance_shares: whole.variance_shares(),
    };
    for (tile, from) in tiles.iter().zip(&starts) {
        for (j, &(k, score)) in tile.chosen.iter().enumerate() {
            fit.weights.col_as_slice_mut(from + j).copy_from_slice(tile.weights.col_as_slice(j));
            fit.intercepts.push(tile.intercepts[j]);
            fit.n_components.push(k.unwrap_or(0));
            fit.scores.push(score);
        }
    }
    Ok(fit)
}

/// One training set, decomposed.
struct Part {
    train: Vec<usize>,
    test: Vec<usize>,
    means: Vec<f64>,
    intercept: bool,
    u: Mat<f64>,
    s: Vec<f64>,
    v: Mat<f64>,
    rank: usize,
    /// (X_test − mean) V, held-out rows × components.
    rotated: Mat<f64>,
}

struct Tile {
    weights: Mat<f64>,
    intercepts: Vec<f64>,
    chosen: Vec<(Option<usize>, f64)>,
}

impl Part {
    fn new(x: MatRef<f64>, train: &[usize], test: &[usize], params: &ComponentParams) -> Result<Self> {
        let mut x_train = select_rows(x, train);
        let means = if params.intercept { column_means(x_train.as_ref()) } else { vec![0.0; x.ncols()] };
        centre_columns(x_train.as_mut(), &means);
        let Svd { u, s, v } = svd(x_train.as_ref())?;
        let cut = train.len().max(x.ncols()) as f64 * f64::EPSILON * s.first().copied().unwrap_or(0.0);
        let rank = s.iter().take_while(|&&s| s > cut && s > 0.0).count();
        let mut x_test = select_rows(x, test);
        centre_columns(x_test.as_mut(), &means);
        let rotated = product(x_test.as_ref(), v.get(.., ..rank));
        Ok(Part {
            train: train.to_vec(),
            test: test.to_vec(),
            means,
            intercept: params.intercept,
            u: u.get(.., ..rank).to_owned(),
            s: s[..rank].to_vec(),
            v: v.get(.., ..rank).to_owned(),
            rank,
            rotated,
        })
    }

    /// s⁻¹ Uᵀ Y_c and the means of the targets over the training rows.
    fn coefficients(&self, y: &Mat<f64>) -> (Mat<f64>, Vec<f64>) {
        let mut y_train = select_rows(y.as_ref(), &self.train);
        let means = if self.intercept { column_means(y_train.as_ref()) } else { vec![0.0; y.ncols()] };
        centre_columns(y_train.as_mut(), &means);
        let mut c = cross(self.u.as_ref(), y_train.as_ref());
        for j in 0..c.ncols() {
            c.col_as_slice_mut(j).iter_mut().zip(&self.s).for_each(|(c, s)| *c /= s);
        }
        (c, means)
    }

    fn fit(&self, y: &Mat<f64>, chosen: &[(Option<usize>, f64)]) -> Tile {
        let (mut c, means) = self.coefficients(y);
        for (j, (k, _)) in chosen.iter().enumerate() {
            match k {
                Some(k) => c.col_as_slice_mut(j)[*k..].fill(0.0),
                None => c.col_as_slice_mut(j).fill(f64::NAN),
            }
        }
        let weights = product(self.v.as_ref(), c.as_ref());
        let intercepts =
            (0..chosen.len()).map(|j| means[j] - dot(weights.col_as_slice(j), &self.means)).collect();
        Tile { weights, intercepts, chosen: chosen.to_vec() }
    }

    fn variance_shares(&self) -> Vec<f64> {
        let total: f64 = self.s.iter().map(|s| s * s).sum();
        let mut sum = 0.0;
        self.s
            .iter()
            .map(|s| {
                sum += s * s;
                sum / total
            })
            .collect()
    }
}

/// R² at 0…`most` components, per target.
fn scores(parts: &[Part], y: &Mat<f64>, most: usize) -> Vec<Vec<f64>> {
    let (mut rest, mut total) = (vec![vec![0.0; most + 1]; y.ncols()], vec![0.0; y.ncols()]);
    for part in parts {
        let (c, means) = part.coefficients(y);
        let mut errors = select_rows(y.as_ref(), &part.test);
        centre_columns(errors.as_mut(), &means);
        for j in 0..y.ncols() {
            let error = errors.col_as_slice_mut(j);
            total[j] += dot(error, error);
            rest[j][0] += dot(error, error);
            for k in 0..most {
                let column = part.rotated.col_as_slice(k);
                error.iter_mut().zip(column).for_each(|(e, z)| *e -= c[(k, j)] * z);
                rest[j][k + 1] += dot(error, error);
            }
        }
    }
    let share = |rest: f64, total: f64| if total > 0.0 { 1.0 - rest / total } else { f64::NAN };
    rest.iter()
        .zip(total)
        .map(|(rest, total)| rest.iter().map(|rest| share(*rest, total)).collect())
        .collect()
}

/// The smallest number whose score is the best.
fn fewest(scores: &[f64]) -> (Option<usize>, f64) {
    let top = scores.iter().copied().fold(f64::NAN, f64::max);
    let at = scores.iter().position(|score| *score >= top - 1e-12 * top.abs().max(1.0));
    (at, at.map_or(f64::NAN, |at| scores[at]))
}

fn check(x: MatRef<f64>, y: MatRef<f64>, inner: &[Fold]) -> Result<()> {
    let n = x.nrows();
    if y.nrows() != n || n < 2 || x.ncols() == 0 {
        return Err(Error::Shape {
            what: "targets".into(),
            expected: format!("{n} rows (those of {} features), at least 2", x.ncols()),
            found: format!("{} rows", y.nrows()),
            hint: "rows must be the same stimuli in order".into(),
        });
    }
    check_finite(x, "features")?;
    check_finite(y, "targets")?;
    inner.iter().try_for_each(|fold| fold.check("inner fold", n, 2, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(37, "component tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn folds(n: usize) -> Vec<Fold> {
        (0..4)
            .map(|f| Fold {
                name: format!("{f}"),
                train: (0..n).filter(|i| i % 4 != f).collect(),
                test: (0..n).filter(|i| i % 4 == f).collect(),
            })
            .collect()
    }

    #[test]
    fn least_squares_by_hand_and_with_a_column_twice() {
        // y = 2x + 1 on x = 0, 1, 2; the same column twice halves the weight.
        let x = Mat::from_fn(3, 2, |i, _| i as f64);
        let y = Mat::from_fn(3, 1, |i, _| 2.0 * i as f64 + 1.0);
        let fit = component_regression(x.as_ref(), y.as_ref(), &[], &ComponentParams::default()).unwrap();
        assert_eq!((fit.rank, fit.n_components[0]), (1, 1));
        assert!((fit.weights[(0, 0)] - 1.0).abs() < 1e-14 && (fit.weights[(1, 0)] - 1.0).abs() < 1e-14);
        assert!((fit.intercepts[0] - 1.0).abs() < 1e-14);
    }

    #[test]
    fn a_nearly_singular_column_keeps_its_rank() {
        // Singular values 1 and 1e-10: the square of the second is lost beside 1, itself it is not.
        let base = noise(30, 2, 1);
        let x = Mat::from_fn(30, 2, |i, j| base[(i, 0)] + if j == 1 { 1e-10 * base[(i, 1)] } else { 0.0 });
        let fit = component_regression(x.as_ref(), base.as_ref(), &[], &ComponentParams::default()).unwrap();
        assert_eq!(fit.rank, 2);
    }

    #[test]
    fn the_number_of_components_is_that_of_refits() {
        let (x, e) = (noise(48, 7, 2), noise(48, 90, 3));
        let x = Mat::from_fn(48, 7, |i, k| 4.0 + x[(i, k)] * 3.0 / (1 + k) as f64);
        let y = Mat::from_fn(48, 90, |i, j| 2.0 + x[(i, j % 7)] + e[(i, j)]);
        let folds = folds(48);
        let fit = component_regression(x.as_ref(), y.as_ref(), &folds, &ComponentParams::default()).unwrap();
        let (mut rest, mut total) = (Mat::<f64>::zeros(8, 90), vec![0.0; 90]);
        for fold in &folds {
            let (a, b) = (select_rows(x.as_ref(), &fold.train), select_rows(y.as_ref(), &fold.train));
            for k in 0..8 {
                let params = ComponentParams { most: Some(k), ..ComponentParams::default() };
                let part = component_regression(a.as_ref(), b.as_ref(), &[], &params).unwrap();
                let predicted = product(select_rows(x.as_ref(), &fold.test).as_ref(), part.weights.as_ref());
                for j in 0..90 {
                    for (t, &i) in fold.test.iter().enumerate() {
                        let error = y[(i, j)] - predicted[(t, j)] - part.intercepts[j];
                        rest[(k, j)] += error * error;
                        if k == 0 {
                            total[j] += error * error;
                        }
                    }
                }
            }
        }
        for j in 0..90 {
            let score = 1.0 - rest[(fit.n_components[j], j)] / total[j];
            assert!((fit.scores[j] - score).abs() < 1e-10);
            assert!((0..8).all(|k| 1.0 - rest[(k, j)] / total[j] <= score + 1e-10));
        }
        assert!(fit.n_components.iter().any(|k| *k < 4) && fit.n_components.iter().any(|k| *k > 4));
        assert!((fit.variance_shares[6] - 1.0).abs() < 1e-14 && fit.variance_shares[0] > 0.5);
    }
}
