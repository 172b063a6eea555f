//! Judge penalties by predicting each training row from all others, without fitting again.
//!
//! With H(α) the matrix that turns training targets into their own predictions,
//!
//! ```text
//! H = 1 1ᵀ/n + U diag(W/(W + α)) Uᵀ          (without 1 1ᵀ/n where there is no intercept)
//! y_i − ŷ_(−i) = (y_i − ŷ_i)/(1 − h_ii)       leave-one-out, exact for fixed features
//! GCV = n Σ (y_i − ŷ_i)² / (n − tr H)²        the same with the mean leverage, up to a factor
//! Σ (y_i − ŷ_i)² = Σ_k (α/(W_k + α))² (u_kᵀy)² + ‖y outside the span of U‖²
//! ```
//!
//! The last line, and n − tr H = n − 1 − k + Σ_k α/(W_k + α), keep their digits where a weak penalty leaves
//! almost nothing of y.
//!
//! Scores are those of inner folds of one row: R² = 1 − Σ_i (y_i − ŷ_(−i))² / Σ_i (y_i − ȳ_(−i))² against
//! the mean of the other rows, or the correlation of y with ŷ_(−·) over all rows; for GCV, 1 − GCV(α)/GCV of
//! the mean. Where a row alone decides its own fit (1 − h_ii ≤ 10⁻¹⁰, as for p ≥ n at α → 0), the row's
//! prediction is 0/0: the score at that penalty is NaN and the penalty is not chosen.
//!
//! Source: Allen 1974; Golub, Heath & Wahba 1979; specs: alignment-methods B6.1. Differs from scikit-learn's
//! `RidgeCV`: one score per target without arrays of samples × targets × penalties, R² instead of a mean
//! squared error, GCV kept apart from leave-one-out. Cost: no decomposition beyond that of all rows; leave
//! one out takes O(n k d R) for R targets and d directions of the penalties, GCV O(k A R).

use faer::Mat;

use super::path::PenaltyPath;
use super::{Factor, InnerLoss, Intercept, RidgeParams, Selection, Space, shrink};
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{Real, cross, dot, product};
use stereotax_base::stats::summary::pearson;

/// A row with less than this left of itself has no prediction from the others.
const LEAST_REST: f64 = 1e-10;

/// The training rows as rows to predict.
#[derive(Debug)]
pub(super) struct OwnRows<T: Real> {
    /// X_c V or X_c X_cᵀ U: with b = c/(W + α), ŷ − ȳ = R b.
    rotated: Mat<T>,
    /// U_ik² (rows × k).
    leverages: Mat<f64>,
    values: Vec<f64>,
    space: Space,
    /// What each c_k² adds to the squared error at each penalty, k × penalties: (α/(W_k + α))², over W_k in
    /// primal space, where c_k = √W_k u_kᵀy.
    losses: Mat<f64>,
    /// (u_kᵀy)²/c_k².
    squares: Vec<f64>,
    /// Whether the directions span all that targets can do, so that nothing of them lies outside.
    full_rank: bool,
    /// Empty for GCV.
    path: PenaltyPath<T>,
    /// 1 − h_ii (rows × penalties): of each row, or the mean over rows.
    rest: Mat<f64>,
    alphas: Vec<f64>,
    loss: InnerLoss,
    generalised: bool,
    intercept: bool,
}

impl<T: Real> OwnRows<T> {
    /// `whole` is the decomposition of all rows of `x`.
    pub fn new(x: &Mat<f64>, whole: &Factor<f64>, alphas: &[f64], params: &RidgeParams) -> Result<Self> {
        let generalised = params.selection == Selection::Generalised;
        if generalised && params.loss == InnerLoss::Correlation {
            return Err(Error::Invalid {
                what: "loss".into(),
                expected: "squared error with generalised cross-validation".into(),
                found: "correlation".into(),
                hint: "leave one out, or use folds".into(),
            });
        }
        let intercept = params.intercept == Intercept::Fitted;
        let rotated = match whole.space {
            // X_cX_cᵀ U = U W.
            Space::Dual => Mat::from_fn(whole.basis.nrows(), whole.values.len(), |i, k| {
                whole.basis[(i, k)] * whole.values[k]
            }),
            _ => product(x.as_ref(), whole.basis.as_ref()),
        };
        let powers: Vec<f64> =
            (0..rotated.ncols()).map(|k| dot(rotated.col_as_slice(k), rotated.col_as_slice(k))).collect();
        let leverages = Mat::from_fn(rotated.nrows(), rotated.ncols(), |i, k| {
            if powers[k] > 0.0 { rotated[(i, k)].powi(2) / powers[k] } else { 0.0 }
        });
        let squares: Vec<f64> =
            whole.values.iter().map(|w| if whole.space == Space::Dual { 1.0 } else { 1.0 / w }).collect();
        let losses = Mat::from_fn(squares.len(), alphas.len(), |k, a| {
            squares[k] * (alphas[a] / (whole.values[k] + alphas[a])).powi(2)
        });
        let n_free = x.nrows() - usize::from(intercept);
        let full_rank = whole.values.len() >= n_free;
        let rest = rest_of_rows(&leverages, &whole.values, intercept, alphas);
        let n = rest.nrows() as f64;
        let (rest, path) = if generalised {
            // n − tr H, summed over what is left of each direction: no digits are lost where that is little.
            let left = |a: usize| -> f64 {
                let shrunken: f64 = whole.values.iter().map(|w| alphas[a] / (w + alphas[a])).sum();
                n_free.saturating_sub(whole.values.len()) as f64 + shrunken
            };
            (Mat::from_fn(1, alphas.len(), |_, a| left(a) / n), PenaltyPath::empty())
        } else {
            (rest, PenaltyPath::banded(&whole.values, whole.space, &rotated, alphas, T::ROUNDING)?)
        };
        Ok(OwnRows {
            rotated: T::narrow(rotated),
            leverages,
            losses,
            squares,
            full_rank,
            values: whole.values.clone(),
            space: whole.space,
            path: path.narrow(),
            rest,
            alphas: alphas.to_vec(),
            loss: params.loss,
            generalised,
            intercept,
        })
    }

    /// Scores of one tile of targets (penalties × targets).
    pub fn scores(&self, rotated_targets: &Mat<T>, y: &Mat<T>) -> Mat<f64> {
        if self.generalised {
            return self.generalised_scores(rotated_targets, y);
        }
        let (n_alphas, apart) = (self.alphas.len(), self.apart(y.nrows()));
        let mut out = Mat::full(n_alphas, y.ncols(), f64::NAN);
        let d = self.path.width();
        let turned = self.path.turn(self.rotated.as_ref(), rotated_targets);
        let defined: Vec<bool> =
            (0..n_alphas).map(|a| self.rest.col_as_slice(a).iter().all(|rest| *rest > LEAST_REST)).collect();
        let mut error = vec![0.0; y.nrows()];
        for j in 0..y.ncols() {
            let observed: Vec<f64> = y.col_as_slice(j).iter().map(|v| (*v).into()).collect();
            let total = dot(&observed, &observed);
            for a in (0..n_alphas).filter(|&a| defined[a] && total > 0.0) {
                error.copy_from_slice(&observed);
                for m in 0..d {
                    let u = self.path.coefficients[(a, m)];
                    if u != 0.0 {
                        let column = turned.column(j, m);
                        error.iter_mut().zip(column).for_each(|(e, t)| *e -= u * (*t).into());
                    }
                }
                error.iter_mut().zip(self.rest.col_as_slice(a)).for_each(|(e, rest)| *e /= rest);
                out[(a, j)] = match self.loss {
                    InnerLoss::SquaredError => 1.0 - dot(&error, &error) / (total * apart * apart),
                    InnerLoss::Correlation => {
                        let predicted: Vec<f64> = observed.iter().zip(&error).map(|(y, e)| y - e).collect();
                        let r = pearson(&observed, &predicted);
                        // Predictions that do not vary agree with nothing, as in inner folds.
                        if r.is_nan() { 0.0 } else { r }
                    }
                };
            }
        }
        out
    }

    /// From deviations about the mean of all n rows to those about the mean of the others.
    fn apart(&self, n: usize) -> f64 {
        if self.intercept { n as f64 / (n as f64 - 1.0) } else { 1.0 }
    }

    /// c of centred targets: Uᵀy in dual space, Vᵀ X_cᵀ y = Rᵀy in primal space.
    pub fn along(&self, basis: &Mat<T>, y: &Mat<T>) -> Mat<T> {
        let towards = if self.space == Space::Dual { basis } else { &self.rotated };
        cross(towards.as_ref(), y.as_ref())
    }

    /// 1 − GCV(α)/GCV(mean) (penalties × targets), GCV = Σ (y − ŷ)² / (mean of 1 − h_ii)² up to a factor.
    pub fn generalised_scores(&self, rotated_targets: &Mat<T>, y: &Mat<T>) -> Mat<f64> {
        let apart = self.apart(y.nrows());
        let powers = Mat::from_fn(rotated_targets.nrows(), rotated_targets.ncols(), |k, j| {
            let c: f64 = rotated_targets[(k, j)].into();
            c * c
        });
        let errors = cross(self.losses.as_ref(), powers.as_ref());
        let totals: Vec<f64> = (0..y.ncols()).map(|j| dot(y.col_as_slice(j), y.col_as_slice(j))).collect();
        let outside: Vec<f64> = (0..y.ncols())
            .map(
                |j| if self.full_rank { 0.0 } else { totals[j] - dot(&self.squares, powers.col_as_slice(j)) },
            )
            .collect();
        Mat::from_fn(self.alphas.len(), y.ncols(), |a, j| {
            let rest = self.rest[(0, a)];
            if !(totals[j] > 0.0 && rest > LEAST_REST) {
                return f64::NAN;
            }
            1.0 - (errors[(a, j)] + outside[j].max(0.0)) / totals[j] / (rest * apart).powi(2)
        })
    }

    /// Each row predicted from all others at the given penalties; `levels` are added.
    pub fn predictions(&self, c: &Mat<T>, y: &Mat<T>, levels: &[f64], alphas: &[f64]) -> Mat<T> {
        let mut b = c.clone();
        for (j, alpha) in alphas.iter().enumerate() {
            shrink(b.col_as_slice_mut(j), &self.values, *alpha);
        }
        let fitted = product(self.rotated.as_ref(), b.as_ref());
        let rest = rest_of_rows(&self.leverages, &self.values, self.intercept, alphas);
        Mat::from_fn(y.nrows(), alphas.len(), |i, j| {
            let (y, fitted): (f64, f64) = (y[(i, j)].into(), fitted[(i, j)].into());
            let rest = rest[(i, j)];
            T::from_f64(if rest > LEAST_REST { y - (y - fitted) / rest + levels[j] } else { f64::NAN })
        })
    }
}

/// 1 − h_ii, rows × penalties: h_ii = 1/n + Σ_k U_ik² W_k/(W_k + α).
fn rest_of_rows(leverages: &Mat<f64>, values: &[f64], intercept: bool, alphas: &[f64]) -> Mat<f64> {
    let shrink = Mat::from_fn(values.len(), alphas.len(), |k, a| values[k] / (values[k] + alphas[a]));
    let mut rest = product(leverages.as_ref(), shrink.as_ref());
    let level = if intercept { 1.0 / leverages.nrows() as f64 } else { 0.0 };
    for a in 0..alphas.len() {
        rest.col_mut(a).iter_mut().for_each(|h| *h = 1.0 - level - *h);
    }
    rest
}
