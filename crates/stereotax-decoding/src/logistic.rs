//! Multinomial logistic regression with a penalty on the weights.
//!
//! With X (n samples × p features), classes y_i in 0…K−1, W (p × K) and b (K):
//!
//! ```text
//! minimise ½ ‖W‖² − c Σ_i log softmax(Wᵀx_i + b)[y_i]
//! ```
//!
//! The intercepts b are not penalised; they are centred, since adding one number to all of them changes nothing.
//! Features are centred while fitting, which moves b only. Solved by L-BFGS to a gradient of `tolerance`, or until a
//! step gains less than a thousandth of it, not to a number of steps: scikit-learn's default may stop short of the optimum (specs: encoding-manifolds 11, item 7).
//!
//! Source: specs: encoding-manifolds 4.3. The objective is scikit-learn's, c = `C`.
//! Cost: 4 n p K per step, some tens to hundreds of steps.

use faer::{Mat, MatRef};

use super::classifier::Linear;
use stereotax_base::linalg::{centre_columns, column_means, cross, lbfgs, product};

/// Settings of logistic regression.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LogisticParams {
    /// Weight of the data against the penalty (default 1).
    pub c: f64,
    /// Most steps (default 2,000).
    pub max_iterations: usize,
    /// Largest entry of the gradient at the end, relative to the objective where that is above 1 (default 1e-8).
    pub tolerance: f64,
}

impl Default for LogisticParams {
    fn default() -> Self {
        LogisticParams { c: 1.0, max_iterations: 2000, tolerance: 1e-8 }
    }
}

/// Fit; every class must have a sample.
pub(super) fn fit(x: MatRef<f64>, y: &[usize], n_classes: usize, params: &LogisticParams) -> Linear {
    let (n, p, k) = (x.nrows(), x.ncols(), n_classes);
    let means = column_means(x);
    let mut centred = x.to_owned();
    centre_columns(centred.as_mut(), &means);
    let x = centred.as_ref();
    let objective = |point: &[f64]| {
        // The point holds W column after column, then b.
        let w = MatRef::from_column_major_slice(&point[..p * k], p, k);
        let mut scores = product(x, w); // (n, K)
        let mut value = 0.5 * stereotax_base::linalg::dot(&point[..p * k], &point[..p * k]);
        for i in 0..n {
            let top = (0..k).map(|j| scores[(i, j)] + point[p * k + j]).fold(f64::NEG_INFINITY, f64::max);
            let mut total = 0.0;
            let own = scores[(i, y[i])] + point[p * k + y[i]] - top;
            for j in 0..k {
                let e = (scores[(i, j)] + point[p * k + j] - top).exp();
                scores[(i, j)] = e;
                total += e;
            }
            value += params.c * (total.ln() - own);
            // What the scores become: c (softmax − one-hot).
            for j in 0..k {
                scores[(i, j)] *= params.c / total;
            }
            scores[(i, y[i])] -= params.c;
        }
        let back = cross(x, scores.as_ref()); // (p, K)
        let mut gradient = Vec::with_capacity(point.len());
        for j in 0..k {
            gradient.extend((0..p).map(|f| back[(f, j)] + point[j * p + f]));
        }
        gradient.extend((0..k).map(|j| scores.col(j).iter().sum::<f64>()));
        (value, gradient)
    };
    let found = lbfgs(&vec![0.0; (p + 1) * k], params.max_iterations, params.tolerance, objective);
    let weights = Mat::from_fn(p, k, |f, j| found.at[j * p + f]);
    let shift = found.at[p * k..].iter().sum::<f64>() / k as f64;
    let intercepts = (0..k)
        .map(|j| found.at[p * k + j] - shift - (0..p).map(|f| means[f] * weights[(f, j)]).sum::<f64>())
        .collect();
    Linear { weights, intercepts, converged: found.converged }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    #[test]
    fn two_points_have_the_optimum_of_one_equation() {
        // x = ∓1 of two classes: by symmetry w = (−v, v), b = 0 and the objective v² + 2c log(1 + e^{−2v}), whose
        // derivative is zero at v = 2c / (1 + e^{2v}).
        let x = Mat::from_fn(2, 1, |i, _| if i == 0 { -1.0 } else { 1.0 });
        let fitted = fit(x.as_ref(), &[0, 1], 2, &LogisticParams::default());
        let v = fitted.weights[(0, 1)];
        assert!((v - 2.0 / (1.0 + (2.0 * v).exp())).abs() < 1e-8, "{v}");
        assert!((fitted.weights[(0, 0)] + v).abs() < 1e-8 && fitted.converged);
        assert!(fitted.intercepts.iter().all(|b| b.abs() < 1e-8));
    }

    #[test]
    fn moving_all_features_changes_intercepts_only() {
        let mut stream = Stream::new(1, "logistic", 0);
        let x = Mat::from_fn(30, 4, |_, _| stream.normal());
        let y: Vec<usize> = (0..30).map(|i| i % 3).collect();
        let moved = Mat::from_fn(30, 4, |i, j| x[(i, j)] + 100.0 * (j as f64 + 1.0));
        let (a, b) = (
            fit(x.as_ref(), &y, 3, &LogisticParams::default()),
            fit(moved.as_ref(), &y, 3, &LogisticParams::default()),
        );
        for (p, q) in a.weights.col_iter().zip(b.weights.col_iter()) {
            assert!(p.iter().zip(q.iter()).all(|(p, q)| (p - q).abs() < 1e-6));
        }
    }
}
