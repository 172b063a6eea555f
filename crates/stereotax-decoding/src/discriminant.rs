//! Linear discriminant analysis with shrinkage.
//!
//! With S the pooled covariance of samples about the means of their classes (divisor n), m = tr S / p, π_k the share
//! of class k and μ_k its mean:
//!
//! ```text
//! Σ = (1 − γ) S + γ m I        score_k(x) = xᵀ Σ⁻¹ μ_k − ½ μ_kᵀ Σ⁻¹ μ_k + log π_k
//! ```
//!
//! up to a number that all classes share (means are taken from their overall mean). γ is given, or estimated from the residuals r_i: γ = min(1, b²/d²), d² = ‖S − m I‖²,
//! b² = Σ_i ‖r_i r_iᵀ − S‖² / n² (Ledoit & Wolf 2004). Differs from scikit-learn in this estimate only: there it is
//! made class by class after bringing features to unit variance. Cost: n p² + p³; p is at most the number of
//! training samples, in whose span all is done.

use faer::{Mat, MatRef};

use super::classifier::Linear;
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{cholesky_solve, column_means, dot, gram};

/// How far the covariance is shrunk to a multiple of the identity.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shrinkage {
    /// γ of Ledoit & Wolf (the default).
    #[default]
    Automatic,
    /// γ in [0, 1].
    Fixed(f64),
}

/// Fit in coordinates of the span of the training samples; `n_features` counts the features before that.
///
/// Errors: samples that are all equal to the means of their classes; γ = 0 with a singular covariance.
pub(super) fn fit(
    x: MatRef<f64>,
    y: &[usize],
    n_classes: usize,
    n_features: usize,
    shrinkage: Shrinkage,
) -> Result<Linear> {
    let (n, p) = (x.nrows(), x.ncols());
    let overall = column_means(x);
    let mut means = Mat::zeros(p, n_classes);
    let mut sizes = vec![0.0; n_classes];
    for i in 0..n {
        sizes[y[i]] += 1.0;
        (0..p).for_each(|f| means[(f, y[i])] += x[(i, f)] - overall[f]);
    }
    for k in 0..n_classes {
        (0..p).for_each(|f| means[(f, k)] /= sizes[k]);
    }
    let residuals = Mat::from_fn(n, p, |i, f| x[(i, f)] - overall[f] - means[(f, y[i])]);
    let mut covariance = gram(residuals.as_ref());
    covariance *= faer::Scale(1.0 / n as f64);
    let trace: f64 = (0..p).map(|f| covariance[(f, f)]).sum();
    let scale = (0..n).flat_map(|i| (0..p).map(move |f| (i, f))).fold(0.0, |m: f64, at| m.max(x[at].abs()));
    if !(trace > (64.0 * f64::EPSILON * scale).powi(2)) {
        return Err(Error::ZeroVariance {
            what: "X".into(),
            detail: "within each class all samples are the same, so that a discriminant has no covariance"
                .into(),
            hint: "decode by maximum correlation or nearest neighbours".into(),
        });
    }
    let gamma = match shrinkage {
        Shrinkage::Fixed(gamma) => gamma,
        Shrinkage::Automatic => automatic(residuals.as_ref(), covariance.as_ref(), trace, n_features),
    };
    let floor = gamma * trace / n_features as f64;
    covariance *= faer::Scale(1.0 - gamma);
    (0..p).for_each(|f| covariance[(f, f)] += floor);
    let singular = || Error::Refused {
        what: "a discriminant without shrinkage".into(),
        reason: format!("the covariance of {n_features} features from {n} samples is singular"),
        hint: "let shrinkage be \"auto\" or a number above 0, or decode from fewer features".into(),
    };
    if gamma == 0.0 && (n_features > p || n < p + n_classes) {
        return Err(singular());
    }
    let weights = cholesky_solve(covariance.as_ref(), means.as_ref()).ok_or_else(singular)?;
    // Means stand relative to the overall mean; scores of x − overall.
    let intercepts = (0..n_classes)
        .map(|k| {
            let (w, m) = (weights.col_as_slice(k), means.col_as_slice(k));
            (sizes[k] / n as f64).ln() - 0.5 * dot(w, m) - dot(w, &overall)
        })
        .collect();
    Ok(Linear { weights, intercepts, converged: true })
}

/// γ of Ledoit & Wolf for residuals about known means.
fn automatic(residuals: MatRef<f64>, covariance: MatRef<f64>, trace: f64, n_features: usize) -> f64 {
    let n = residuals.nrows() as f64;
    let norm = covariance.squared_norm_l2();
    let spread = norm - trace * trace / n_features as f64;
    let fourth: f64 = (0..residuals.nrows()).map(|i| residuals.row(i).squared_norm_l2().powi(2)).sum();
    let noise = (fourth / n - norm) / n;
    if spread > 0.0 { (noise / spread).clamp(0.0, 1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_feature_has_the_threshold_of_two_gaussians() {
        // Classes {0, 2} and {4, 6}, one more of the first: {0, 2, 1}: means 1 and 5, S = (1 + 1 + 0 + 1 + 1)/5 = 0.8.
        let values = [0.0, 2.0, 1.0, 4.0, 6.0];
        let x = Mat::from_fn(5, 1, |i, _| values[i]);
        let fitted = fit(x.as_ref(), &[0, 0, 0, 1, 1], 2, 1, Shrinkage::Fixed(0.0)).unwrap();
        // Equal scores at x = (1 + 5)/2 + 0.8/(5 − 1) ln(3/2).
        let at =
            (fitted.intercepts[0] - fitted.intercepts[1]) / (fitted.weights[(0, 1)] - fitted.weights[(0, 0)]);
        assert!((at - (3.0 + 0.2 * 1.5f64.ln())).abs() < 1e-12, "{at}");
    }

    #[test]
    fn what_has_no_covariance_is_refused() {
        let x = Mat::from_fn(4, 2, |i, _| (i / 2) as f64);
        let refused = fit(x.as_ref(), &[0, 0, 1, 1], 2, 2, Shrinkage::Automatic).unwrap_err().to_string();
        assert!(refused.contains("all samples are the same"), "{refused}");
        let x = Mat::from_fn(4, 3, |i, j| ((i * 3 + j) % 5) as f64);
        let refused = fit(x.as_ref(), &[0, 0, 1, 1], 2, 3, Shrinkage::Fixed(0.0)).unwrap_err().to_string();
        assert!(refused.contains("singular"), "{refused}");
    }
}
