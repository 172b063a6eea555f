//! Multinomial logistic regression with a penalty on the weights.
//!
//! With X (n samples × p features), classes y_i in 0…K−1, W (p × K) and b (K):
//!
//! ```text
//! minimise ½ ‖W‖² − c Σ_i log softmax(Wᵀx_i + b)[y_i]
//! ```
//!
//! The intercepts b are not penalised; they are centred, since adding one number to all of them changes nothing.
//! Features are centred while fitting, which moves b only. Solved by L-BFGS until steps gain nothing that shows in the
//! objective, and from there by Newton steps to a gradient of `tolerance`, not to a number of steps: scikit-learn's
//! default may stop short of the optimum (specs: encoding-manifolds 11, item 7). The penalty makes the gradient bound
//! the error: ‖W − Ŵ‖ ≤ ‖g‖. Where the objective no longer shows a difference (ε of it), weights may still be off by
//! its root, which is why the last steps go by the gradient.
//!
//! Newton steps solve H d = −g by conjugate gradients, preconditioned by the diagonal; with P the probabilities,
//!
//! ```text
//! H (V, v) = (V + Xᵀ T, 1ᵀ T),   T_ij = c P_ij (S_ij − Σ_l P_il S_il),   S = X V + 1 vᵀ
//! ```
//!
//! Source: specs: encoding-manifolds 4.3; Nocedal & Wright 2006, 7.1. The objective is scikit-learn's, c = `C`.
//! Cost: 4 n p K per step, some tens to hundreds of steps.

use faer::{Mat, MatRef};

use super::classifier::Linear;
use stereotax_base::linalg::{centre_columns, column_means, cross, dot, lbfgs, product};

/// Most Newton steps, and most conjugate gradient steps within one.
const NEWTON_STEPS: usize = 20;
const CONJUGATE_STEPS: usize = 200;

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
    let (p, k) = (x.ncols(), n_classes);
    let means = column_means(x);
    let mut centred = x.to_owned();
    centre_columns(centred.as_mut(), &means);
    let x = centred.as_ref();
    let samples = Samples { x, y, k, c: params.c };
    let start = vec![0.0; (p + 1) * k];
    let found = lbfgs(&start, params.max_iterations, params.tolerance, |at| {
        let here = samples.at(at);
        (here.value, here.gradient)
    });
    let at = if found.converged { polish(&samples, found.at, params.tolerance) } else { found.at };
    let weights = Mat::from_fn(p, k, |f, j| at[j * p + f]);
    let shift = at[p * k..].iter().sum::<f64>() / k as f64;
    let intercepts = (0..k)
        .map(|j| at[p * k + j] - shift - (0..p).map(|f| means[f] * weights[(f, j)]).sum::<f64>())
        .collect();
    Linear { weights, intercepts, converged: found.converged }
}

/// Centred samples with their classes. A point holds W column after column, then b.
#[derive(Debug, Clone, Copy)]
struct Samples<'a> {
    x: MatRef<'a, f64>,
    y: &'a [usize],
    k: usize,
    c: f64,
}

/// The objective at a point.
struct Here {
    value: f64,
    gradient: Vec<f64>,
    /// Samples × classes.
    probabilities: Mat<f64>,
}

impl Samples<'_> {
    /// X W + 1 bᵀ.
    fn scores(&self, point: &[f64]) -> Mat<f64> {
        let (p, k) = (self.x.ncols(), self.k);
        let mut scores = product(self.x, MatRef::from_column_major_slice(&point[..p * k], p, k));
        for j in 0..k {
            scores.col_mut(j).iter_mut().for_each(|score| *score += point[p * k + j]);
        }
        scores
    }

    /// (W + Xᵀ R, 1ᵀ R) of a point and numbers per sample and class.
    fn back(&self, point: &[f64], rest: MatRef<f64>) -> Vec<f64> {
        let p = self.x.ncols();
        let back = cross(self.x, rest); // (p, K)
        let mut out = Vec::with_capacity(point.len());
        for j in 0..self.k {
            out.extend(back.col(j).iter().zip(&point[j * p..]).map(|(a, b)| a + b));
        }
        out.extend((0..self.k).map(|j| rest.col(j).iter().sum::<f64>()));
        out
    }

    fn at(&self, point: &[f64]) -> Here {
        let (n, p, k) = (self.x.nrows(), self.x.ncols(), self.k);
        let mut probabilities = self.scores(point);
        let mut value = 0.5 * dot(&point[..p * k], &point[..p * k]);
        for i in 0..n {
            let top = (0..k).map(|j| probabilities[(i, j)]).fold(f64::NEG_INFINITY, f64::max);
            let own = probabilities[(i, self.y[i])] - top;
            let mut total = 0.0;
            for j in 0..k {
                let e = (probabilities[(i, j)] - top).exp();
                probabilities[(i, j)] = e;
                total += e;
            }
            value += self.c * (total.ln() - own);
            for j in 0..k {
                probabilities[(i, j)] /= total;
            }
        }
        let own = |i: usize, j: usize| f64::from(u8::from(self.y[i] == j));
        let rest = Mat::from_fn(n, k, |i, j| self.c * (probabilities[(i, j)] - own(i, j)));
        Here { value, gradient: self.back(point, rest.as_ref()), probabilities }
    }

    /// The Hessian at `here` times a direction.
    fn bend(&self, here: &Here, direction: &[f64]) -> Vec<f64> {
        let mut s = self.scores(direction);
        for i in 0..s.nrows() {
            let of = |j: usize| here.probabilities[(i, j)];
            let inside: f64 = (0..self.k).map(|j| of(j) * s[(i, j)]).sum();
            (0..self.k).for_each(|j| s[(i, j)] = self.c * of(j) * (s[(i, j)] - inside));
        }
        self.back(direction, s.as_ref())
    }

    /// Its diagonal.
    fn diagonal(&self, here: &Here) -> Vec<f64> {
        let (n, p, k) = (self.x.nrows(), self.x.ncols(), self.k);
        let spread = Mat::from_fn(n, k, |i, j| {
            self.c * here.probabilities[(i, j)] * (1.0 - here.probabilities[(i, j)])
        });
        let squares = Mat::from_fn(n, p, |i, f| self.x[(i, f)] * self.x[(i, f)]);
        let of_weights = cross(squares.as_ref(), spread.as_ref());
        let mut out: Vec<f64> =
            (0..k).flat_map(|j| (0..p).map(move |f| (f, j))).map(|at| 1.0 + of_weights[at]).collect();
        out.extend((0..k).map(|j| spread.col(j).iter().sum::<f64>().max(f64::MIN_POSITIVE)));
        out
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most: f64, v| most.max(v.abs()))
}

/// Newton steps as long as they lower the gradient and it is above the tolerance.
fn polish(samples: &Samples<'_>, mut at: Vec<f64>, tolerance: f64) -> Vec<f64> {
    let mut here = samples.at(&at);
    for _ in 0..NEWTON_STEPS {
        if largest(&here.gradient) <= tolerance * here.value.abs().max(1.0) {
            break;
        }
        let step = newton_step(samples, &here);
        let next: Vec<f64> = at.iter().zip(&step).map(|(a, s)| a + s).collect();
        let there = samples.at(&next);
        if !(largest(&there.gradient) < largest(&here.gradient)) {
            break;
        }
        (at, here) = (next, there);
    }
    at
}

/// −H⁻¹ g, by conjugate gradients to a thousandth of g.
fn newton_step(samples: &Samples<'_>, here: &Here) -> Vec<f64> {
    let diagonal = samples.diagonal(here);
    let scaled = |r: &[f64]| r.iter().zip(&diagonal).map(|(r, d)| r / d).collect::<Vec<f64>>();
    let mut step = vec![0.0; here.gradient.len()];
    let mut rest: Vec<f64> = here.gradient.iter().map(|g| -g).collect();
    let mut direction = scaled(&rest);
    let mut inner = dot(&rest, &direction);
    let enough = 1e-3 * largest(&rest);
    for _ in 0..CONJUGATE_STEPS {
        let bent = samples.bend(here, &direction);
        let curvature = dot(&direction, &bent);
        if !(curvature > 0.0) {
            break;
        }
        let length = inner / curvature;
        step.iter_mut().zip(&direction).for_each(|(s, d)| *s += length * d);
        rest.iter_mut().zip(&bent).for_each(|(r, b)| *r -= length * b);
        if largest(&rest) <= enough {
            break;
        }
        let next = scaled(&rest);
        let new_inner = dot(&rest, &next);
        let share = new_inner / inner;
        direction.iter_mut().zip(&next).for_each(|(d, n)| *d = n + share * *d);
        inner = new_inner;
    }
    step
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

    /// The gradient of the objective itself, by loops, at what a fit returned.
    fn gradient(x: MatRef<f64>, y: &[usize], c: f64, fitted: &Linear) -> f64 {
        let (n, p, k) = (x.nrows(), x.ncols(), fitted.intercepts.len());
        let mut most = 0.0f64;
        let rest = Mat::from_fn(n, k, |i, j| {
            let score = |l: usize| {
                (0..p).map(|f| x[(i, f)] * fitted.weights[(f, l)]).sum::<f64>() + fitted.intercepts[l]
            };
            c * (1.0 / (0..k).map(|l| (score(l) - score(j)).exp()).sum::<f64>()
                - f64::from(u8::from(y[i] == j)))
        });
        for j in 0..k {
            for f in 0..p {
                let g: f64 = (0..n).map(|i| x[(i, f)] * rest[(i, j)]).sum();
                most = most.max((g + fitted.weights[(f, j)]).abs());
            }
            most = most.max((0..n).map(|i| rest[(i, j)]).sum::<f64>().abs());
        }
        most
    }

    #[test]
    fn the_gradient_vanishes_also_where_the_objective_shows_nothing() {
        // Features of unlike scales: what L-BFGS ends with has a gradient of 1e-4 and more.
        let mut stream = Stream::new(2, "logistic", 1);
        for (n, p, k, c) in [(45, 6, 3, 0.3), (45, 60, 3, 0.3), (80, 10, 5, 10.0)] {
            let x = Mat::from_fn(n, p, |i, j| {
                3f64.powi(j as i32 % 4) * (stream.normal() + if j % k == i % k { 1.0 } else { 0.0 })
            });
            let y: Vec<usize> = (0..n).map(|i| i % k).collect();
            let params = LogisticParams { c, ..LogisticParams::default() };
            let fitted = fit(x.as_ref(), &y, k, &params);
            let left = gradient(x.as_ref(), &y, c, &fitted);
            assert!(fitted.converged && left < 1e-6, "{n} × {p}, {k} classes: {left}");
        }
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
