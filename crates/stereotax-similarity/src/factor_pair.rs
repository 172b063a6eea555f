//! What two sets of factors have in common, computed once for all measures that rest on it.
//!
//! With X = U_x S_x V_xᵀ and Y likewise, everything that is invariant to rotations of the units follows from
//! B = U_xᵀ U_y (r_x × r_y): its singular values are the canonical correlations, and those of D_x B D_y, with D a
//! weight of singular values, make shape distances and their relatives.
//! Source: specs: encoding-manifolds 6.3 and 6.5. Cost: B O(n r²), singular values about 8/3 r³ each.

use std::sync::OnceLock;

use faer::{Mat, MatRef};

use super::representation::Factors;
use stereotax_base::data::Result;
use stereotax_base::linalg::{Svd, cross, product, singular_values, svd};

/// Factors of two representations of the same stimuli.
#[derive(Debug)]
pub struct FactorPair<'a> {
    /// Of the first.
    pub x: &'a Factors,
    /// Of the second.
    pub y: &'a Factors,
    between: Mat<f64>,
    directions: OnceLock<Result<Svd>>,
    correlations: OnceLock<Result<Vec<f64>>>,
    nuclear: OnceLock<Result<f64>>,
}

impl<'a> FactorPair<'a> {
    /// Bring two together; they must have the same rows.
    pub fn new(x: &'a Factors, y: &'a Factors) -> Self {
        FactorPair {
            x,
            y,
            between: cross(x.left.as_ref(), y.left.as_ref()),
            directions: OnceLock::new(),
            correlations: OnceLock::new(),
            nuclear: OnceLock::new(),
        }
    }

    /// U_xᵀ U_y (r_x × r_y).
    pub fn between(&self) -> MatRef<'_, f64> {
        self.between.as_ref()
    }

    /// Whether either side is constant, so that nothing can be said of the pair.
    pub fn is_undefined(&self) -> bool {
        self.x.rank() == 0 || self.y.rank() == 0
    }

    /// Stimuli.
    pub fn n_stimuli(&self) -> usize {
        self.x.left.nrows()
    }

    /// Singular vectors and values of B: the canonical directions in the coordinates of U_x and U_y.
    pub fn directions(&self) -> Result<&Svd> {
        self.directions.get_or_init(|| svd(self.between())).as_ref().map_err(Clone::clone)
    }

    /// Canonical correlations, descending, in [0, 1]; as many as the lower rank.
    pub fn correlations(&self) -> Result<&[f64]> {
        let made = self.correlations.get_or_init(|| {
            // Not those of `directions`, whose last bits differ: a value must not depend on what else was asked.
            let mut values = singular_values(self.between())?;
            values.iter_mut().for_each(|rho| *rho = rho.min(1.0));
            Ok(values)
        });
        made.as_ref().map(Vec::as_slice).map_err(Clone::clone)
    }

    /// diag(w(s_x)) B diag(w(s_y)).
    pub fn weighted(&self, weight_x: impl Fn(f64) -> f64, weight_y: impl Fn(f64) -> f64) -> Mat<f64> {
        let of_x: Vec<f64> = self.x.singular_values.iter().map(|&s| weight_x(s)).collect();
        let of_y: Vec<f64> = self.y.singular_values.iter().map(|&s| weight_y(s)).collect();
        Mat::from_fn(of_x.len(), of_y.len(), |i, j| of_x[i] * self.between[(i, j)] * of_y[j])
    }

    /// ‖XᵀY‖_*, the sum of singular values.
    pub fn nuclear_norm(&self) -> Result<f64> {
        let made = self
            .nuclear
            .get_or_init(|| Ok(singular_values(self.weighted(|s| s, |s| s).as_ref())?.iter().sum::<f64>()));
        made.clone()
    }

    /// min over rotations Q of ‖X_a/a − Y_a Q/b‖ from the matrices themselves, where their squared lengths would
    /// cancel: X_a = U_x diag(weight(s)), likewise Y_a.
    pub fn aligned_difference(&self, weight: impl Fn(f64) -> f64 + Copy, a: f64, b: f64) -> Result<f64> {
        let all = || self.x.singular_values.iter().chain(&self.y.singular_values);
        // Sides without weights are turned by the canonical directions.
        let own;
        let Svd { u, v, .. } = if all().all(|&s| weight(s) == 1.0) {
            self.directions()?
        } else {
            own = svd(self.weighted(weight, weight).as_ref())?;
            &own
        };
        let (x, y) = (self.x.weighted(weight), self.y.weighted(weight));
        // The smaller side is turned into the larger one, which keeps all of its own.
        let (large, small, turned_by, scales) = if self.x.rank() >= self.y.rank() {
            (x, y, product(v.as_ref(), u.transpose()), (1.0 / a, 1.0 / b))
        } else {
            (y, x, product(u.as_ref(), v.transpose()), (1.0 / b, 1.0 / a))
        };
        let turned = product(small.as_ref(), turned_by.as_ref());
        let mut sum = 0.0;
        for j in 0..large.ncols() {
            let both = large.col_as_slice(j).iter().zip(turned.col_as_slice(j));
            sum += both.map(|(l, t)| (scales.0 * l - scales.1 * t).powi(2)).sum::<f64>();
        }
        Ok(sum.sqrt())
    }
}
