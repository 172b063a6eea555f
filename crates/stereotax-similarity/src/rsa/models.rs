//! Models of RDMs: fixed ones, and families that are fitted to other conditions and subjects than they are tested on.
//!
//! With components X_k and the pool y of training subjects (each scaled to length 1 under the comparison):
//!
//! ```text
//! select         the component with the best mean comparison
//! weighted       Σ θ_k X_k,  θ ≥ 0 minimising ‖y − Σ θ_k X_k‖² in the geometry of the comparison (NNLS)
//! interpolated   θ X_k + (1 − θ) X_{k+1}, 0 ≤ θ ≤ 1, over neighbouring components
//! ```
//!
//! The geometry is plain for the cosine, centred for the correlation, V⁻¹ for whitened comparisons; up to its scale,
//! the NNLS solution is the one with the best comparison with the pool. Comparisons of ranks have no such closed form: there
//! y are pooled ranks, and X_k centred values. Source: Schütt et al. 2023; Khaligh-Razavi & Kriegeskorte 2014; Lawson &
//! Hanson 1974; specs: peers 1.1. Cost: O(m K²) for the products, then O(K³) per step.

use std::ops::Range;

use faer::Mat;

use super::draw::{Drawn, Products};
use stereotax_base::data::Rdm;
use stereotax_base::linalg::cholesky_solve;

/// What a model predicts.
#[derive(Debug, Clone)]
pub enum RdmModel {
    /// One RDM.
    Fixed(Rdm),
    /// One of several, chosen on training data.
    Select(Vec<Rdm>),
    /// A non-negative sum of several.
    Weighted(Vec<Rdm>),
    /// Between two neighbours of an ordered list.
    Interpolated(Vec<Rdm>),
}

impl RdmModel {
    /// The RDMs that it is made of.
    pub fn components(&self) -> &[Rdm] {
        match self {
            RdmModel::Fixed(rdm) => std::slice::from_ref(rdm),
            RdmModel::Select(rdms) | RdmModel::Weighted(rdms) | RdmModel::Interpolated(rdms) => rdms,
        }
    }

    /// Whether it is fitted, and so needs cross-validation.
    pub fn is_flexible(&self) -> bool {
        !matches!(self, RdmModel::Fixed(_))
    }
}

/// Weights of the components, fitted to the drawn conditions and to subjects that count `subjects[s]` times.
pub(super) fn fit(
    model: &RdmModel,
    range: Range<usize>,
    drawn: &Drawn<'_>,
    products: &Products,
    scores: &Mat<f64>,
    subjects: &[f64],
) -> Vec<f64> {
    let k = range.len();
    let pooled = |of: &dyn Fn(usize) -> f64| -> f64 {
        (0..subjects.len()).filter(|&s| subjects[s] > 0.0).map(|s| subjects[s] * of(s)).sum()
    };
    let right: Vec<f64> = range.clone().map(|i| pooled(&|s| products.with[(i, s)])).collect();
    let gram = Mat::from_fn(k, k, |a, b| products.among[(range.start + a, range.start + b)]);
    match model {
        RdmModel::Fixed(_) => vec![1.0],
        RdmModel::Select(_) => {
            let mut best = (f64::NEG_INFINITY, 0);
            for (a, i) in range.enumerate() {
                let value = pooled(&|s| scores[(i, s)]);
                if value > best.0 {
                    best = (value, a);
                }
            }
            (0..k).map(|a| f64::from(u8::from(a == best.1))).collect()
        }
        RdmModel::Weighted(_) => non_negative_least_squares(&gram, &right, None),
        RdmModel::Interpolated(_) => {
            let mut best: (f64, Vec<f64>) = (f64::NEG_INFINITY, vec![0.0; k]);
            for a in 0..k.saturating_sub(1) {
                let pair = [a, a + 1];
                let own = Mat::from_fn(2, 2, |i, j| gram[(pair[i], pair[j])]);
                let two = non_negative_least_squares(&own, &[right[a], right[a + 1]], None);
                let sum = two[0] + two[1];
                let mut theta = vec![0.0; k];
                (theta[a], theta[a + 1]) = if sum > 0.0 { (two[0] / sum, two[1] / sum) } else { (0.5, 0.5) };
                let scores = drawn.scores_of(range.clone(), &theta, products);
                let value = pooled(&|s| scores[s]);
                if value > best.0 {
                    best = (value, theta);
                }
            }
            best.1
        }
    }
}

/// θ ≥ 0 minimising θᵀGθ − 2 qᵀθ (Lawson & Hanson 1974, on the normal equations; Bro & de Jong 1997).
///
/// `scale` may replace the diagonal of G as the yardstick of "no further gain". Zeros where nothing helps.
pub fn non_negative_least_squares(g: &Mat<f64>, q: &[f64], scale: Option<f64>) -> Vec<f64> {
    let k = q.len();
    let largest = scale.unwrap_or_else(|| q.iter().map(|v| v.abs()).fold(0.0, f64::max));
    let least = 1e-12 * largest;
    let mut theta = vec![0.0; k];
    let mut free = vec![false; k];
    for _ in 0..3 * k + 10 {
        let gradient = |a: usize, theta: &[f64]| q[a] - (0..k).map(|b| g[(a, b)] * theta[b]).sum::<f64>();
        let mut best = (least, None);
        for a in (0..k).filter(|&a| !free[a]) {
            let gain = gradient(a, &theta);
            if gain > best.0 {
                best = (gain, Some(a));
            }
        }
        let Some(entering) = best.1 else { break };
        free[entering] = true;
        loop {
            let passive: Vec<usize> = (0..k).filter(|&a| free[a]).collect();
            let own = Mat::from_fn(passive.len(), passive.len(), |i, j| g[(passive[i], passive[j])]);
            let right = Mat::from_fn(passive.len(), 1, |i, _| q[passive[i]]);
            let Some(solved) = cholesky_solve(own.as_ref(), right.as_ref()).filter(finite) else {
                // A component that others make up already adds nothing.
                free[entering] = false;
                theta[entering] = 0.0;
                return theta;
            };
            if (0..passive.len()).all(|i| solved[(i, 0)] > 0.0) {
                passive.iter().enumerate().for_each(|(i, &a)| theta[a] = solved[(i, 0)]);
                break;
            }
            let step = passive
                .iter()
                .enumerate()
                .filter(|&(i, _)| solved[(i, 0)] <= 0.0)
                .map(|(i, &a)| theta[a] / (theta[a] - solved[(i, 0)]))
                .fold(1.0, f64::min);
            for (i, &a) in passive.iter().enumerate() {
                theta[a] += step * (solved[(i, 0)] - theta[a]);
                if solved[(i, 0)] <= 0.0 && theta[a] <= 1e-14 * (1.0 + solved[(i, 0)].abs()) {
                    theta[a] = 0.0;
                    free[a] = false;
                }
            }
            if free.iter().all(|f| !f) {
                break;
            }
        }
    }
    theta
}

fn finite(x: &Mat<f64>) -> bool {
    x.col(0).iter().all(|v| v.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::linalg::{cross, gram};
    use stereotax_base::stats::rng::Stream;

    #[test]
    fn non_negative_weights_meet_their_conditions() {
        // Karush–Kuhn–Tucker: gradient 0 where θ > 0, and no gain where θ = 0.
        for seed in 0..30 {
            let mut stream = Stream::new(seed, "nnls", 0);
            // Columns with much in common: some enter and have to leave again.
            let common: Vec<f64> = (0..20).map(|_| stream.normal()).collect();
            let x = Mat::from_fn(20, 6, |i, _| 2.0 * common[i] + stream.normal());
            let y = Mat::from_fn(20, 1, |i, _| common[i] + stream.normal());
            let g = gram(x.as_ref());
            let q: Vec<f64> = (0..6).map(|k| cross(x.as_ref(), y.as_ref())[(k, 0)]).collect();
            let theta = non_negative_least_squares(&g, &q, None);
            for a in 0..6 {
                let gain = q[a] - (0..6).map(|b| g[(a, b)] * theta[b]).sum::<f64>();
                assert!(theta[a] >= 0.0);
                assert!(if theta[a] > 0.0 { gain.abs() < 1e-9 } else { gain < 1e-9 }, "{theta:?} {gain}");
            }
        }
        // By hand: the unconstrained solution (2, −1) loses its second weight; then 3/2.
        let g = Mat::from_fn(2, 2, |i, j| if i == j { 2.0 } else { 1.0 });
        let found = non_negative_least_squares(&g, &[3.0, 0.0], None);
        assert!((found[0] - 1.5).abs() < 1e-12 && found[1] == 0.0);
        assert_eq!(non_negative_least_squares(&g, &[-1.0, -2.0], None), [0.0, 0.0]);
    }
}
