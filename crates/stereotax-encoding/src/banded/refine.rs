//! Refine the weights of bands per target, from the best draw of a search.
//!
//! The score of [`super::kernels`] is differentiable in δ_b = ln(γ_b/α): with e = (M_LL)⁻¹ (My)_L at α = 1,
//! G = (K_δ + I)⁻¹, u_L = (M_LL)⁻¹ e_L, and P_L zeros but for the rows L,
//!
//! ```text
//! ∂Σ‖e‖²/∂δ_b = 2 e^{δ_b} [ Σ_L (G P_L u)ᵀ K_b (G P_L e) − (G u)ᵀ K_b (G y) ]
//! ```
//!
//! Source: Nunez-Elizalde, Huth & Gallant 2019; Dupré la Tour et al. 2022; specs: alignment-methods B17. Cost: O(n³)
//! per step and target.

use faer::{Mat, MatRef};

use super::kernels::{Bands, LEAST_REST};
use crate::ridge::{Block, Intercept, Selection};
use stereotax_base::linalg::{cholesky_solve, dot, product, select_rows};

/// Weights start no further apart than this.
const APART: f64 = 1e4;

/// Where refinement ended.
pub(super) struct Refined {
    pub(super) gamma: Vec<f64>,
    pub(super) alpha: f64,
    pub(super) coefficients: Vec<f64>,
    pub(super) score: f64,
}

impl Bands<'_> {
    /// Follow the gradient from e^δ = `start`; `None` where nothing is gained on `score`.
    pub(super) fn refine(
        &self,
        start: &[f64],
        y: &[f64],
        total: f64,
        score: f64,
        steps: usize,
    ) -> Option<Refined> {
        let n_bands = start.len();
        // Penalties below those of the grid are not looked at: there is little between them and none.
        let sum: f64 = start.iter().sum();
        let trace = |k: &Mat<f64>| (0..self.n).map(|i| k[(i, i)]).sum::<f64>();
        let mean: f64 = self.kernels.iter().zip(start).map(|(k, w)| w / sum * trace(k)).sum();
        let grid = self.params.alphas.penalties(mean / self.n as f64).ok()?;
        let most = (1.0 + 1e-9) / grid.first()?.min(1.0 / sum);
        let top = start.iter().copied().fold(0.0, f64::max);
        let mut delta: Vec<f64> = start.iter().map(|w| w.max(top / APART).ln()).collect();
        let (mut loss, mut gradient) = self.loss(&delta, y)?;
        // Quasi-Newton: the inverse curvature H, from the steps taken.
        let mut h: Mat<f64> = Mat::identity(n_bands, n_bands);
        let times = |h: &Mat<f64>, v: &[f64]| -> Vec<f64> {
            (0..n_bands).map(|i| (0..n_bands).map(|j| h[(i, j)] * v[j]).sum()).collect()
        };
        for step in 0..steps {
            let largest = |v: &[f64]| v.iter().map(|x| x.abs()).fold(0.0, f64::max);
            if !(largest(&gradient) > 1e-7 * loss) {
                break;
            }
            let mut way = times(&h, &gradient);
            if step == 0 || !(dot(&way, &gradient) > 0.0) {
                way = gradient.clone();
                h = Mat::identity(n_bands, n_bands);
                way.iter_mut().for_each(|x| *x /= largest(&gradient));
                h *= faer::Scale(1.0 / largest(&gradient));
            }
            // No weight changes by more than e² at once.
            let mut length = (2.0 / largest(&way)).min(1.0);
            let slope = dot(&way, &gradient);
            let found = (0..8).find_map(|_| {
                let next: Vec<f64> = delta.iter().zip(&way).map(|(d, w)| d - length * w).collect();
                let inside = next.iter().map(|d| d.exp()).sum::<f64>() <= most;
                let found = inside
                    .then(|| self.loss(&next, y))
                    .flatten()
                    .filter(|found| found.0 <= loss - 1e-4 * length * slope);
                length *= 0.4;
                found.map(|found| (next, found))
            });
            let Some((next, (next_loss, next_gradient))) = found else { break };
            let s: Vec<f64> = next.iter().zip(&delta).map(|(a, b)| a - b).collect();
            let r: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
            let sr = dot(&s, &r);
            if sr > 1e-12 * (dot(&s, &s) * dot(&r, &r)).sqrt() {
                // BFGS: H ← (I − s rᵀ/sr) H (I − r sᵀ/sr) + s sᵀ/sr.
                let hr = times(&h, &r);
                let rhr = dot(&r, &hr);
                for i in 0..n_bands {
                    for j in 0..n_bands {
                        h[(i, j)] += (1.0 + rhr / sr) * s[i] * s[j] / sr - (hr[i] * s[j] + s[i] * hr[j]) / sr;
                    }
                }
            }
            (delta, loss, gradient) = (next, next_loss, next_gradient);
        }
        let refined = 1.0 - loss / total;
        if !(refined > score) {
            return None;
        }
        let weights: Vec<f64> = delta.iter().map(|d| d.exp()).collect();
        let sum: f64 = weights.iter().sum();
        let target = Mat::from_fn(self.n, 1, |i, _| y[i]);
        let z = cholesky_solve(self.ridged(&weights).0.as_ref(), target.as_ref())?;
        Some(Refined {
            gamma: weights.iter().map(|w| w / sum).collect(),
            alpha: 1.0 / sum,
            coefficients: z.col_as_slice(0).iter().map(|z| z * sum).collect(),
            score: refined,
        })
    }

    /// Σ_b w_b K_b + I, and 1/n times its inverse along 1, which M is without.
    ///
    /// Centred kernels are 0 along 1, where the inverse would be 1 and drown what matters; so along 1 it is put
    /// to the mean eigenvalue, which M does not see.
    fn ridged(&self, weights: &[f64]) -> (Mat<f64>, f64) {
        let n = self.n as f64;
        let trace = |k: &Mat<f64>| (0..self.n).map(|i| k[(i, i)]).sum::<f64>();
        let mean: f64 = self.kernels.iter().zip(weights).map(|(k, w)| w * trace(k)).sum::<f64>() / n;
        let (along, level) = match self.params.intercept {
            Intercept::Fitted => (mean / n, 1.0 / (n * (1.0 + mean))),
            Intercept::None => (0.0, 0.0),
        };
        let mut k = Mat::from_fn(self.n, self.n, |i, j| along + if i == j { 1.0 } else { 0.0 });
        for (kernel, weight) in self.kernels.iter().zip(weights) {
            for j in 0..self.n {
                let column = k.col_as_slice_mut(j).iter_mut();
                column.zip(kernel.col_as_slice(j)).for_each(|(k, add)| *k += weight * add);
            }
        }
        (k, level)
    }

    /// Squared error of rows left out at weights e^δ and penalty 1, and its gradient.
    fn loss(&self, delta: &[f64], y: &[f64]) -> Option<(f64, Vec<f64>)> {
        let n = self.n;
        let weights: Vec<f64> = delta.iter().map(|d| d.exp()).collect();
        let (ridged, level) = self.ridged(&weights);
        let g = cholesky_solve(ridged.as_ref(), Mat::<f64>::identity(n, n).as_ref())?;
        let z = product(g.as_ref(), MatRef::from_column_major_slice(y, n, 1));
        let scaled = |parts: Vec<f64>| parts.iter().zip(&weights).map(|(part, w)| part * w).collect();
        if self.params.selection == Selection::Generalised {
            let rest = (0..n).map(|i| g[(i, i)]).sum::<f64>() / n as f64 - level;
            let (square, gz) = (dot(z.col_as_slice(0), z.col_as_slice(0)), product(g.as_ref(), z.as_ref()));
            let parts = self
                .kernels
                .iter()
                .map(|kernel| {
                    let along = product(kernel.as_ref(), z.as_ref());
                    let of_square = -2.0 * dot(gz.col_as_slice(0), along.col_as_slice(0));
                    let turned = product(g.as_ref(), kernel.as_ref());
                    let of_rest: f64 =
                        -(0..n).map(|j| dot(turned.col_as_slice(j), &row_of(&g, j))).sum::<f64>() / n as f64;
                    of_square / rest.powi(2) - 2.0 * square * of_rest / rest.powi(3)
                })
                .collect();
            return (rest > LEAST_REST).then(|| (square / rest.powi(2), scaled(parts)));
        }
        let single: Vec<Block>;
        let folds = match self.params.selection {
            Selection::LeaveOneOut => {
                single = (0..n).map(|i| Block { rows: vec![i], test: vec![0] }).collect();
                &single
            }
            _ => &self.folds,
        };
        let (mut errors, mut turned) = (Mat::zeros(n, folds.len()), Mat::zeros(n, folds.len()));
        let mut sum_of_turned = Mat::zeros(n, 1);
        let mut loss = 0.0;
        for (f, fold) in folds.iter().enumerate() {
            let m = Mat::from_fn(fold.rows.len(), fold.rows.len(), |i, j| {
                g[(fold.rows[i], fold.rows[j])] - level
            });
            let z_out = select_rows(z.as_ref(), &fold.rows);
            let e = cholesky_solve(m.as_ref(), z_out.as_ref())?;
            let mut predicted = Mat::zeros(fold.rows.len(), 1);
            for &t in &fold.test {
                predicted[(t, 0)] = e[(t, 0)];
                loss += e[(t, 0)].powi(2);
            }
            let u = cholesky_solve(m.as_ref(), predicted.as_ref())?;
            for (at, &i) in fold.rows.iter().enumerate() {
                (errors[(i, f)], turned[(i, f)]) = (e[(at, 0)], u[(at, 0)]);
                sum_of_turned[(i, 0)] += u[(at, 0)];
            }
        }
        let (ge, gu) = (product(g.as_ref(), errors.as_ref()), product(g.as_ref(), turned.as_ref()));
        let gs = product(g.as_ref(), sum_of_turned.as_ref());
        let parts = self
            .kernels
            .iter()
            .map(|kernel| {
                let along_e = product(kernel.as_ref(), ge.as_ref());
                let along_z = product(kernel.as_ref(), z.as_ref());
                let blocks: f64 =
                    (0..folds.len()).map(|f| dot(gu.col_as_slice(f), along_e.col_as_slice(f))).sum();
                2.0 * (blocks - dot(gs.col_as_slice(0), along_z.col_as_slice(0)))
            })
            .collect();
        loss.is_finite().then(|| (loss, scaled(parts)))
    }
}

fn row_of(a: &Mat<f64>, i: usize) -> Vec<f64> {
    (0..a.ncols()).map(|j| a[(i, j)]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::kernels::tests::{fitted, folds, kernels, params, problem, views};
    use super::super::kernels::{KernelSearchParams, search_kernels};
    use super::*;
    use crate::banded::stack;
    use crate::{AlphaGrid, RidgeParams, RidgePlan};
    use stereotax_base::data::Monitor;

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let (bands, y) = problem(30, 1);
        let given = kernels(&bands);
        let mean = y.col_as_slice(0).iter().sum::<f64>() / 30.0;
        let y: Vec<f64> = y.col_as_slice(0).iter().map(|v| v - mean).collect();
        for selection in [Selection::Folds, Selection::LeaveOneOut, Selection::Generalised] {
            let params = params(selection, Intercept::Fitted);
            let bands = Bands::new(&views(&given), &folds(30, 2), &params);
            let delta = [-2.0, -4.0, -5.5];
            let (_, gradient) = bands.loss(&delta, &y).unwrap();
            for b in 0..3 {
                let at = |step: f64| {
                    let mut moved = delta;
                    moved[b] += step;
                    bands.loss(&moved, &y).unwrap().0
                };
                let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((gradient[b] - slope).abs() < 1e-6 * slope.abs().max(1.0), "{selection:?} {b}");
            }
        }
    }

    #[test]
    fn refined_weights_are_better_and_their_score_is_a_ridge_s() {
        let (bands, y) = problem(40, 8);
        let given = kernels(&bands);
        let inner = folds(40, 0);
        let draws = params(Selection::Folds, Intercept::Fitted);
        let silent = Monitor::silent();
        let before = search_kernels(&views(&given), y.as_ref(), &inner, &draws, &silent).unwrap();
        let steps = KernelSearchParams { refine: 30, ..draws };
        let after = search_kernels(&views(&given), y.as_ref(), &inner, &steps, &silent).unwrap();
        assert!((0..8).all(|j| after.scores[j] >= before.scores[j]));
        assert!((0..8).filter(|&j| after.scores[j] > before.scores[j] + 1e-3).count() >= 4);
        for j in 0..8 {
            let gamma: Vec<f64> = (0..3).map(|b| after.gammas[(b, j)]).collect();
            assert!((gamma.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let x = stack(bands.iter().map(|x| x.as_ref()), &gamma);
            let ridge =
                RidgeParams { alphas: AlphaGrid::absolute(&[after.alphas[j]]), ..RidgeParams::default() };
            let plan = RidgePlan::new(x.as_ref(), x.as_ref(), &inner, &ridge).unwrap();
            let target = Mat::from_fn(40, 1, |i, _| y[(i, j)]);
            let fit = plan.fit(target.as_ref()).unwrap();
            let off = (fit.inner_scores[0] - after.scores[j]).abs();
            assert!(off < 1e-7, "{j} {off:e} at {}", after.alphas[j]);
            let found = fitted(&given, &after);
            assert!((0..40).all(|i| (found[(i, j)] - fit.predictions[(i, 0)]).abs() < 1e-8));
        }
    }
}
