//! Compare two systems by their eigenvalues alone: the cheapest way to move one spectrum onto the other.
//!
//! ```text
//! d = min_T Σ_ij T_ij |λ_i − μ_j|²,   Σ_j T_ij = 1/n,  Σ_i T_ij = 1/m            exact
//! ```
//!
//! The squared cost is averaged over eigenvalues and is *not* square-rooted, as DSA reports it; it is no metric.
//! Its root ([`Transport::metric`]) is the 2-Wasserstein metric on spectra. Not padded: spectra of different
//! sizes share their mass evenly. Eigenvectors play no part, so two systems that differ in how far they are from
//! normal may be at distance 0. Source: Redman et al. 2024; specs: encoding-manifolds 6.6. Cost: O(n³).

use faer::{Mat, MatRef, c64};

use stereotax_base::data::Result;
use stereotax_base::linalg::{assignment, eig, uniform_transport};

/// How far apart two spectra are.
#[derive(Debug, Clone, PartialEq)]
pub struct Transport {
    /// Mean squared distance, not rooted.
    pub squared: f64,
    /// Its square root.
    pub metric: f64,
    /// n × m; rows sum to 1/n.
    pub plan: Mat<f64>,
}

/// Eigenvalues by descending modulus; conjugate pairs side by side.
pub fn eigenvalues(operator: MatRef<f64>) -> Result<Vec<c64>> {
    Ok(eig(operator)?.values)
}

/// The cheapest plan between two sets of eigenvalues, at least one each.
pub fn eigenvalue_transport(x: &[c64], y: &[c64]) -> Transport {
    let (n, m) = (x.len(), y.len());
    let cost = Mat::from_fn(n, m, |i, j| (x[i] - y[j]).norm_sqr());
    let plan = if n == m {
        let pairs = assignment(cost.as_ref());
        Mat::from_fn(n, n, |i, j| if pairs[i] == j { 1.0 / n as f64 } else { 0.0 })
    } else {
        uniform_transport(cost.as_ref())
    };
    let squared = (0..m).map(|j| (0..n).map(|i| plan[(i, j)] * cost[(i, j)]).sum::<f64>()).sum::<f64>();
    let squared = if n == 0 || m == 0 { f64::NAN } else { squared };
    Transport { squared, metric: squared.sqrt(), plan }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spectra_by_hand() {
        // 0.9 ± 0.1i against 0.5 ± 0.1i, and 1 against 0.8: (2 · 0.16 + 0.04) / 3.
        let z = c64::new;
        let x = [z(0.9, 0.1), z(0.9, -0.1), z(1.0, 0.0)];
        let y = [z(0.8, 0.0), z(0.5, -0.1), z(0.5, 0.1)];
        let found = eigenvalue_transport(&x, &y);
        assert!((found.squared - 0.12).abs() < 1e-15 && (found.metric - 0.12f64.sqrt()).abs() < 1e-15);
        // One against two: half its mass to each.
        let found = eigenvalue_transport(&[z(0.0, 0.0)], &[z(1.0, 0.0), z(0.0, 3.0)]);
        assert!((found.squared - 5.0).abs() < 1e-14);
        assert_eq!(eigenvalue_transport(&x, &x).squared, 0.0);
    }
}
