//! Evaluate a ridge at all penalties of a grid from few directions.
//!
//! The coefficients of a target depend on the penalty by b(α) = c/(W + α), entry by entry. The A vectors
//! 1/(W + α_a) of a grid lie, to rounding, in d < A dimensions, because neighbouring penalties shrink
//! alike:
//!
//! ```text
//! 1/(W_i + α_a) = Σ_m u_am s_mi ,   m = 1…d          b(α_a) = Σ_m u_am (s_m ∘ c)
//! ```
//!
//! so whatever is linear in b is computed for the d columns s_m ∘ c, and quadratic forms of errors follow as
//! d × d forms. With 13 penalties over nine decades d is 9, with 20 it is 9 to 14.

use faer::Mat;

use super::Space;
use crate::data::Result;
use crate::linalg::{Real, Svd, dot, svd};

/// Few directions that the vectors 1/(W + α) of all penalties have in common.
#[derive(Debug)]
pub(super) struct PenaltyPath<T: Real = f64> {
    /// s_m, k × d.
    pub directions: Mat<T>,
    /// u, penalties × d.
    pub coefficients: Mat<f64>,
}

/// Dropped directions change predictions by no more than about this, relative to the largest part of a
/// prediction at a penalty; or by the rounding of the data's precision, if that is more.
const CUT: f64 = 1e-11;

impl PenaltyPath {
    pub fn empty() -> Self {
        PenaltyPath { directions: Mat::zeros(0, 0), coefficients: Mat::zeros(0, 0) }
    }

    /// Singular vectors of E_ai = z_i/(W_i + α_a), each row divided by its largest entry.
    ///
    /// z_i/(W_i + α) bounds what direction i can add to the predictions of a target of unit length:
    /// |c_i| ≤ √W_i in primal space (c = Vᵀ X_cᵀ Y_c), ≤ 1 in dual space, times the length of column i of
    /// R_f. So what is dropped is small in predictions at every penalty, however ill-conditioned X is.
    pub fn new(
        values: &[f64],
        space: Space,
        rotated: &Mat<f64>,
        alphas: &[f64],
        rounding: f64,
    ) -> Result<Self> {
        let reach: Vec<f64> = (0..values.len())
            .map(|i| {
                let column = rotated.col_as_slice(i);
                let largest = if space == Space::Dual { 1.0 } else { values[i].sqrt() };
                largest * dot(column, column).sqrt()
            })
            .collect();
        let entry = |a: usize, i: usize| reach[i] / (values[i] + alphas[a]);
        let largest: Vec<f64> = (0..alphas.len())
            .map(|a| (0..reach.len()).map(|i| entry(a, i)).fold(f64::MIN_POSITIVE, f64::max))
            .collect();
        let scaled = Mat::from_fn(alphas.len(), reach.len(), |a, i| entry(a, i) / largest[a]);
        let Svd { u, s, v } = svd(scaled.as_ref())?;
        let d = s.iter().take_while(|&&x| x > CUT.max(rounding) * s[0]).count();
        if d == alphas.len() {
            // Nothing to share: each penalty is a direction.
            return Ok(PenaltyPath {
                directions: Mat::from_fn(reach.len(), d, |i, a| 1.0 / (values[i] + alphas[a])),
                coefficients: Mat::identity(d, d),
            });
        }
        Ok(PenaltyPath {
            directions: Mat::from_fn(
                reach.len(),
                d,
                |i, m| {
                    if reach[i] > 0.0 { v[(i, m)] / reach[i] } else { 0.0 }
                },
            ),
            coefficients: Mat::from_fn(alphas.len(), d, |a, m| u[(a, m)] * s[m] * largest[a]),
        })
    }

    pub fn narrow<T: Real>(self) -> PenaltyPath<T> {
        PenaltyPath { directions: T::narrow(self.directions), coefficients: self.coefficients }
    }
}

impl<T: Real> PenaltyPath<T> {
    /// Columns s_m ∘ c_j, those of a target side by side: k × (d · targets).
    pub fn spread(&self, rotated_targets: &Mat<T>) -> Mat<T> {
        let d = self.directions.ncols();
        let mut out = Mat::zeros(rotated_targets.nrows(), rotated_targets.ncols() * d);
        for j in 0..rotated_targets.ncols() {
            for m in 0..d {
                let (c, s) = (rotated_targets.col_as_slice(j), self.directions.col_as_slice(m));
                let column = out.col_as_slice_mut(j * d + m).iter_mut();
                column.zip(c).zip(s).for_each(|((out, c), s)| *out = *c * *s);
            }
        }
        out
    }
}
