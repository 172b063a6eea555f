//! Read responses out of feature maps: where in the image, and which features.
//!
//! Features of n samples are C channels at P positions, one row of C · P numbers per sample with the channel
//! running slower ([`FeatureMaps`]). Readouts differ in how they weigh positions:
//!
//! | readout | weights of positions |
//! | --- | --- |
//! | [`factorised_readout`] | K free masks per target, the same for all samples |
//! | [`point_readout`] | one point per target, read by bilinear interpolation |
//! | [`attention_readout`] | softmax of a learned query against each position's features, per sample |
//! | [`gated_readout`] | K masks for all targets, mixed by gates that depend on the sample |

use faer::{Mat, MatRef};

use super::reduce::check_finite;
use stereotax_base::data::{Error, Fold, Result};
use stereotax_base::linalg::{
    centre_columns, cholesky_solve, column_means, cross, gram, least_squares, product, select_rows,
};
use stereotax_base::stats::summary::is_constant;

mod attention;
mod factorised;
mod gated;
mod point;
mod pooling;

pub use attention::{AttentionFit, PooledHeads, PoolingParams, attention_readout};
pub use factorised::{FactorisedFit, FactorisedParams, FactorisedTarget, factorised_readout};
pub use gated::{GatedFit, GatedPrediction, gated_readout};
pub use point::{PointFit, PointParams, PointTarget, point_readout};
pub use pooling::ChannelScale;

/// Feature maps of n samples.
#[derive(Debug, Clone, Copy)]
pub struct FeatureMaps<'a> {
    /// n × (C · P): column c · P + p is channel c at position p; p = y · width + x on a grid.
    pub values: MatRef<'a, f64>,
    /// C.
    pub n_channels: usize,
    /// (height, width) with height · width = P; `None` where positions are no grid (tokens).
    pub grid: Option<(usize, usize)>,
}

impl FeatureMaps<'_> {
    /// P.
    pub fn n_positions(&self) -> usize {
        self.values.ncols() / self.n_channels.max(1)
    }

    /// Errors: sizes that do not fit together, values that are not finite.
    pub(super) fn check(&self) -> Result<()> {
        let p = self.n_positions();
        let grid = self.grid.is_none_or(|(height, width)| height * width == p);
        if self.n_channels == 0 || p == 0 || p * self.n_channels != self.values.ncols() || !grid {
            return Err(Error::Shape {
                what: "features".into(),
                expected: "channels × height × width numbers per sample".into(),
                found: format!(
                    "{} numbers, {} channels, grid {:?}",
                    self.values.ncols(),
                    self.n_channels,
                    self.grid
                ),
                hint: "pass (samples, channels, height, width) or (samples, tokens, channels)".into(),
            });
        }
        check_finite(self.values, "features")
    }

    /// The grid, for readouts that need one.
    pub(super) fn needs_grid(&self, who: &str) -> Result<(usize, usize)> {
        self.grid.ok_or_else(|| Error::Invalid {
            what: "features".into(),
            expected: format!("positions on a grid for {who}"),
            found: format!("{} tokens without one", self.n_positions()),
            hint: "pass (samples, channels, height, width), or `grid=(height, width)` for tokens".into(),
        })
    }
}

/// Errors: rows that do not match, fewer than 3 of them, values that are not finite.
pub(super) fn check_targets(maps: &FeatureMaps<'_>, y: MatRef<f64>) -> Result<()> {
    maps.check()?;
    if y.nrows() != maps.values.nrows() {
        return Err(Error::Shape {
            what: "y".into(),
            expected: format!("{} rows (as in X)", maps.values.nrows()),
            found: format!("{} rows", y.nrows()),
            hint: "rows must be the same stimuli in the same order".into(),
        });
    }
    if y.nrows() < 3 || y.ncols() == 0 {
        return Err(Error::TooFew {
            what: "y".into(),
            needed: "3 samples and 1 target".into(),
            found: format!("{} and {}", y.nrows(), y.ncols()),
            hint: "give more samples".into(),
        });
    }
    check_finite(y, "y")
}

/// Errors: no penalty, or one that is not positive; folds of nothing, or of rows that are not there.
pub(super) fn check_search(alphas: &[f64], folds: &[Fold], n: usize) -> Result<()> {
    if alphas.is_empty() || alphas.iter().any(|a| !(*a > 0.0 && a.is_finite())) {
        return Err(Error::Invalid {
            what: "alphas".into(),
            expected: "positive numbers".into(),
            found: format!("{alphas:?}"),
            hint: "penalties are multiples of the mean square of a feature column".into(),
        });
    }
    let usable = |fold: &Fold| {
        fold.train.len() >= 3 && !fold.test.is_empty() && fold.train.iter().chain(&fold.test).all(|&i| i < n)
    };
    if alphas.len() > 1 && (folds.is_empty() || !folds.iter().all(usable)) {
        return Err(Error::TooFew {
            what: "folds".into(),
            needed: format!("1 fold of 3 training rows and 1 test row below {n}"),
            found: format!("{} folds", folds.len()),
            hint: "several penalties are chosen between by cross-validation".into(),
        });
    }
    Ok(())
}

/// Training rows, centred.
pub(super) struct Part {
    /// Rows × (C · P).
    pub x: Mat<f64>,
    pub means: Vec<f64>,
    /// Mean sum of squares of a column: what penalties multiply.
    pub mean_square: f64,
    rows: Vec<usize>,
    test: Vec<usize>,
}

impl Part {
    /// Errors: features that do not vary.
    pub(super) fn new(x: MatRef<f64>, rows: &[usize], test: &[usize]) -> Result<Self> {
        let mut part = select_rows(x, rows);
        let means = column_means(part.as_ref());
        centre_columns(part.as_mut(), &means);
        let squares: f64 = part.col_iter().map(|c| c.squared_norm_l2()).sum();
        if !(squares > 0.0) {
            return Err(Error::ZeroVariance {
                what: "X".into(),
                detail: format!("all {} features are constant over {} rows", x.ncols(), rows.len()),
                hint: "look for a saturated or silent layer".into(),
            });
        }
        let mean_square = squares / x.ncols() as f64;
        Ok(Part { x: part, means, mean_square, rows: rows.to_vec(), test: test.to_vec() })
    }

    /// Centred responses of one target at these rows, and their mean.
    pub(super) fn target(&self, y: &[f64]) -> (Mat<f64>, f64) {
        let mean = self.rows.iter().map(|&i| y[i]).sum::<f64>() / self.rows.len() as f64;
        (Mat::from_fn(self.rows.len(), 1, |i, _| y[self.rows[i]] - mean), mean)
    }

    pub(super) fn is_constant(&self, y: &[f64]) -> bool {
        is_constant(&self.rows.iter().map(|&i| y[i]).collect::<Vec<_>>())
    }
}

/// All rows, and those of every fold where there is a choice.
pub(super) fn parts(x: MatRef<f64>, alphas: &[f64], folds: &[Fold]) -> Result<(Part, Vec<Part>)> {
    let all: Vec<usize> = (0..x.nrows()).collect();
    let folds = if alphas.len() > 1 { folds } else { &[] };
    let inner = folds.iter().map(|f| Part::new(x, &f.train, &f.test)).collect::<Result<Vec<_>>>()?;
    Ok((Part::new(x, &all, &[])?, inner))
}

/// The penalty (index) whose fits predict the folds' test rows of a target best, and its R² (NaN without a
/// choice); `fit(part, alpha)` gives weights of features. Ties go to the larger penalty.
pub(super) fn choose_alpha(
    x: MatRef<f64>,
    y: &[f64],
    inner: &[Part],
    alphas: &[f64],
    fit: impl Fn(&Part, f64) -> Result<Vec<f64>>,
) -> Result<(usize, f64)> {
    let mut chosen = (0, f64::NAN);
    if alphas.len() == 1 {
        return Ok(chosen);
    }
    for (a, &alpha) in alphas.iter().enumerate() {
        let (mut rest, mut total) = (0.0, 0.0);
        for part in inner {
            let (_, mean) = part.target(y);
            let coef = fit(part, alpha)?;
            let b = Mat::from_fn(coef.len(), 1, |j, _| coef[j]);
            let offset: f64 = coef.iter().zip(&part.means).map(|(b, m)| b * m).sum();
            let predicted = product(select_rows(x, &part.test).as_ref(), b.as_ref());
            for (k, &i) in part.test.iter().enumerate() {
                rest += (y[i] - mean - predicted[(k, 0)] + offset).powi(2);
                total += (y[i] - mean).powi(2);
            }
        }
        let score = 1.0 - rest / total;
        if !(score < chosen.1) && !score.is_nan() {
            chosen = (a, score);
        }
    }
    Ok(chosen)
}

/// The b that minimises ‖y − A b‖² + bᵀR b, for symmetric positive semidefinite R.
pub(super) fn penalised(a: MatRef<f64>, y: MatRef<f64>, penalty: MatRef<f64>) -> Result<Mat<f64>> {
    let moments = gram(a) + penalty;
    let right = cross(a, y);
    match cholesky_solve(moments.as_ref(), right.as_ref()) {
        Some(b) => Ok(b),
        None => least_squares(moments.as_ref(), right.as_ref(), 1e-13),
    }
}

/// Features of every channel where positions are weighed by `mask`: n × C.
pub(super) fn masked(x: MatRef<f64>, n_channels: usize, mask: &[f64]) -> Mat<f64> {
    let p = mask.len();
    let column = Mat::from_fn(p, 1, |i, _| mask[i]);
    let mut out = Mat::zeros(x.nrows(), n_channels);
    for c in 0..n_channels {
        let part = product(x.get(.., c * p..(c + 1) * p), column.as_ref());
        out.col_as_slice_mut(c).copy_from_slice(part.col_as_slice(0));
    }
    out
}

/// One map per sample, channels weighed by `features`: n × P.
pub(super) fn weighted(x: &Mat<f64>, n_positions: usize, features: &[f64]) -> Mat<f64> {
    let mut out = Mat::zeros(x.nrows(), n_positions);
    for (c, f) in features.iter().enumerate() {
        for p in 0..n_positions {
            let from = x.col_as_slice(c * n_positions + p);
            out.col_as_slice_mut(p).iter_mut().zip(from).for_each(|(to, v)| *to += f * v);
        }
    }
    out
}

/// The part of `weights` that belongs to target m of a fit of all targets, in columns.
pub(super) fn in_columns(columns: &[Vec<f64>]) -> Mat<f64> {
    Mat::from_fn(columns.first().map_or(0, Vec::len), columns.len(), |i, j| columns[j][i])
}
