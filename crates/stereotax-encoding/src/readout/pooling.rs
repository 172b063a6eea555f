//! Fit weights of positions that depend on the sample, with linear heads solved for at every step.
//!
//! With Φ_i (P × C) the standardised features of sample i, a_i(θ) (P) the weights of its positions and
//! z_i = Φ_iᵀ a_i,
//!
//! ```text
//! J(θ) = min_W ‖Y − Z W‖² + α‖W‖²  (Y, Z centred),  over ‖Y‖²,  + β‖θ‖²
//! ∂J/∂a_i = Φ_i G_i,  G = −2 (Y − Z W) Wᵀ / ‖Y‖²                        W does not move: it is at its minimum
//! ```
//!
//! Features are standardised per channel over samples and positions. The heads of the result have a penalty per
//! target, chosen by leave-one-out on the pooled features.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::FeatureMaps;
use crate::{RidgeParams, RidgePlan, Selection};
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::linalg::{
    Minimum, centre_columns, cholesky_solve, column_means, cross, gram, lbfgs, least_squares, product,
};

/// Samples that one task works on.
const BLOCK: usize = 32;

/// How samples weigh positions.
pub(super) trait Weighing: Sync {
    /// Weights of positions of a sample (P × C), which add up to 1.
    fn weigh(&self, parameters: &[f64], sample: MatRef<f64>) -> Vec<f64>;
    /// Add to the gradient what a slope by the weights of a sample means for the parameters.
    fn pull(
        &self,
        parameters: &[f64],
        sample: MatRef<f64>,
        weights: &[f64],
        slope: &[f64],
        gradient: &mut [f64],
    );
}

/// Channels brought to mean 0 and variance 1 over samples and positions.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelScale {
    /// One per channel.
    pub means: Vec<f64>,
    /// One per channel; 1 for a channel that does not vary.
    pub scales: Vec<f64>,
}

/// Standardised samples in columns: C · P × n.
pub(super) struct Tokens {
    x: Mat<f64>,
    n_positions: usize,
}

impl ChannelScale {
    /// Errors: features of which none varies.
    pub(super) fn new(maps: &FeatureMaps<'_>) -> Result<Self> {
        let (p, n) = (maps.n_positions(), maps.values.nrows());
        let count = (p * n) as f64;
        let channel = |c: usize| {
            let part = maps.values.get(.., c * p..(c + 1) * p);
            let mean = part.col_iter().map(|col| col.iter().sum::<f64>()).sum::<f64>() / count;
            let square = part.col_iter().map(|col| col.iter().map(|v| (v - mean).powi(2)).sum::<f64>());
            let sd = (square.sum::<f64>() / count).sqrt();
            (mean, if sd > 64.0 * f64::EPSILON * mean.abs() { sd } else { 0.0 })
        };
        let (means, sds): (Vec<f64>, Vec<f64>) = (0..maps.n_channels).into_par_iter().map(channel).unzip();
        if sds.iter().all(|sd| *sd == 0.0) {
            return Err(Error::ZeroVariance {
                what: "X".into(),
                detail: format!("all {} channels are constant", maps.n_channels),
                hint: "look for a saturated or silent layer".into(),
            });
        }
        Ok(ChannelScale { means, scales: sds.iter().map(|sd| if *sd > 0.0 { *sd } else { 1.0 }).collect() })
    }

    /// Errors: another number of channels.
    pub(super) fn tokens(&self, maps: &FeatureMaps<'_>) -> Result<Tokens> {
        maps.check()?;
        if maps.n_channels != self.means.len() {
            return Err(Error::Shape {
                what: "X".into(),
                expected: format!("{} channels (as in fit)", self.means.len()),
                found: format!("{} channels", maps.n_channels),
                hint: "use the same layer".into(),
            });
        }
        let p = maps.n_positions();
        let x = Mat::from_fn(maps.values.ncols(), maps.values.nrows(), |j, i| {
            (maps.values[(i, j)] - self.means[j / p]) / self.scales[j / p]
        });
        Ok(Tokens { x, n_positions: p })
    }
}

impl Tokens {
    pub(super) fn n_samples(&self) -> usize {
        self.x.ncols()
    }

    pub(super) fn n_positions(&self) -> usize {
        self.n_positions
    }

    pub(super) fn n_channels(&self) -> usize {
        self.x.nrows() / self.n_positions
    }

    /// Φ_i, P × C.
    pub(super) fn sample(&self, i: usize) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice(self.x.col_as_slice(i), self.n_positions, self.n_channels())
    }

    /// Weights of positions of all samples (n × P) and pooled features (n × C).
    pub(super) fn pool(&self, weighing: &impl Weighing, parameters: &[f64]) -> (Mat<f64>, Mat<f64>) {
        let rows: Vec<(Vec<f64>, Vec<f64>)> = (0..self.n_samples())
            .into_par_iter()
            .with_min_len(BLOCK)
            .map(|i| {
                let weights = weighing.weigh(parameters, self.sample(i));
                let pooled = times(self.sample(i).transpose(), &weights);
                (weights, pooled)
            })
            .collect();
        let n = self.n_samples();
        (
            Mat::from_fn(n, self.n_positions, |i, p| rows[i].0[p]),
            Mat::from_fn(n, self.n_channels(), |i, c| rows[i].1[c]),
        )
    }
}

/// A x.
pub(super) fn times(a: MatRef<f64>, x: &[f64]) -> Vec<f64> {
    product(a, MatRef::from_column_major_slice(x, x.len(), 1)).col_as_slice(0).to_vec()
}

/// e^x over its sum.
pub(super) fn softmax(mut x: Vec<f64>) -> Vec<f64> {
    let largest = x.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
    x.iter_mut().for_each(|v| *v = (*v - largest).exp());
    let total: f64 = x.iter().sum();
    x.iter_mut().for_each(|v| *v /= total);
    x
}

/// Slope by the exponents, from weights and the slope by them: a_p (g_p − Σ a g).
pub(super) fn through_softmax(weights: &[f64], slope: &[f64]) -> Vec<f64> {
    let mean: f64 = weights.iter().zip(slope).map(|(a, g)| a * g).sum();
    weights.iter().zip(slope).map(|(a, g)| a * (g - mean)).collect()
}

/// A fit of one group of targets.
pub(super) struct Pooled {
    pub found: Minimum,
    /// J at equal weights of all positions.
    pub mean_pool_loss: f64,
    /// C × targets, for standardised channels.
    pub heads: Mat<f64>,
    pub intercepts: Vec<f64>,
    pub alphas: Vec<f64>,
}

/// How [`fit`] goes.
pub(super) struct Steps {
    pub head_alpha: f64,
    pub penalty: f64,
    pub max_iterations: usize,
    pub tolerance: f64,
}

/// Minimise J from the best of `starts`, and choose the heads.
pub(super) fn fit(
    tokens: &Tokens,
    y: MatRef<f64>,
    weighing: &impl Weighing,
    starts: &[Vec<f64>],
    steps: &Steps,
    monitor: &Monitor<'_>,
) -> Result<Pooled> {
    let mut y_centred = y.to_owned();
    centre_columns(y_centred.as_mut(), &column_means(y));
    let p = tokens.n_positions();
    let (_, z) = tokens.pool(&MeanPool, &[]);
    let varied = z.col_iter().any(|c| c.iter().any(|v| *v != z[(0, 0)]));
    let centred = |mut z: Mat<f64>| {
        let means = column_means(z.as_ref());
        centre_columns(z.as_mut(), &means);
        z
    };
    let z = centred(z);
    // Pooling shrinks features; where their means do not vary, single positions (variance 1) set the scale.
    let square = z.squared_norm_l2() / z.ncols() as f64;
    let scale = if varied && square > 0.0 { square } else { z.nrows() as f64 / p as f64 };
    let problem = Problem { tokens, y: y_centred, alpha: steps.head_alpha * scale, penalty: steps.penalty };
    let mean_pool_loss = problem.heads(&z)?.0;
    let mut best: Option<Minimum> = None;
    for start in starts {
        let mut failed = None;
        let found = lbfgs(start, steps.max_iterations, steps.tolerance, |at| {
            match monitor.check().and_then(|()| problem.value(weighing, at)) {
                Ok(found) => found,
                Err(reason) => {
                    failed = Some(reason);
                    (f64::NAN, vec![0.0; at.len()])
                }
            }
        });
        if let Some(reason) = failed {
            return Err(reason);
        }
        if best.as_ref().is_none_or(|best| found.value < best.value) {
            best = Some(found);
        }
    }
    let found = best.ok_or_else(|| Error::TooFew {
        what: "n_starts".into(),
        needed: "1 start".into(),
        found: "0".into(),
        hint: "3 starts are customary".into(),
    })?;
    let (_, z) = tokens.pool(weighing, &found.at);
    let params = RidgeParams { selection: Selection::LeaveOneOut, ..RidgeParams::default() };
    let plan = RidgePlan::new(z.as_ref(), z.get(..0, ..), &[], &params)?;
    let alphas = plan.fit(y)?.alphas;
    let mut heads = plan.weights(y, &alphas)?;
    for m in (0..y.ncols()).filter(|&m| alphas[m].is_nan()) {
        heads.weights.col_mut(m).fill(0.0);
        heads.intercepts[m] = y[(0, m)];
    }
    Ok(Pooled { found, mean_pool_loss, heads: heads.weights, intercepts: heads.intercepts, alphas })
}

/// Equal weights.
pub(super) struct MeanPool;

impl Weighing for MeanPool {
    fn weigh(&self, _: &[f64], sample: MatRef<f64>) -> Vec<f64> {
        vec![1.0 / sample.nrows() as f64; sample.nrows()]
    }

    fn pull(&self, _: &[f64], _: MatRef<f64>, _: &[f64], _: &[f64], _: &mut [f64]) {}
}

struct Problem<'a> {
    tokens: &'a Tokens,
    y: Mat<f64>,
    alpha: f64,
    penalty: f64,
}

impl Problem<'_> {
    /// J of centred pooled features without the penalty of θ, and G.
    fn heads(&self, z: &Mat<f64>) -> Result<(f64, Mat<f64>)> {
        let size = self.y.squared_norm_l2().max(f64::MIN_POSITIVE);
        let mut moments = gram(z.as_ref());
        (0..moments.nrows()).for_each(|c| moments[(c, c)] += self.alpha);
        let right = cross(z.as_ref(), self.y.as_ref());
        let w = match cholesky_solve(moments.as_ref(), right.as_ref()) {
            Some(w) => w,
            None => least_squares(moments.as_ref(), right.as_ref(), 1e-13)?,
        };
        let rest = &self.y - product(z.as_ref(), w.as_ref());
        let value = (rest.squared_norm_l2() + self.alpha * w.squared_norm_l2()) / size;
        Ok((value, product(rest.as_ref(), w.transpose()) * faer::Scale(-2.0 / size)))
    }

    /// J and its gradient.
    fn value(&self, weighing: &impl Weighing, at: &[f64]) -> Result<(f64, Vec<f64>)> {
        let (weights, mut z) = self.tokens.pool(weighing, at);
        let means = column_means(z.as_ref());
        centre_columns(z.as_mut(), &means);
        let (value, g) = self.heads(&z)?;
        let n = self.tokens.n_samples();
        let parts: Vec<Vec<f64>> = (0..n.div_ceil(BLOCK))
            .into_par_iter()
            .map(|block| {
                let mut gradient = vec![0.0; at.len()];
                for i in block * BLOCK..n.min((block + 1) * BLOCK) {
                    let sample = self.tokens.sample(i);
                    let along: Vec<f64> = g.row(i).iter().copied().collect();
                    let slope = times(sample, &along);
                    let own: Vec<f64> = weights.row(i).iter().copied().collect();
                    weighing.pull(at, sample, &own, &slope, &mut gradient);
                }
                gradient
            })
            .collect();
        let mut gradient: Vec<f64> = at.iter().map(|t| 2.0 * self.penalty * t).collect();
        for part in parts {
            gradient.iter_mut().zip(part).for_each(|(sum, g)| *sum += g);
        }
        Ok((value + self.penalty * at.iter().map(|t| t * t).sum::<f64>(), gradient))
    }
}

/// For tests: J and its gradient at a point.
#[cfg(test)]
pub(super) fn objective(
    tokens: &Tokens,
    y: &Mat<f64>,
    weighing: &impl Weighing,
    at: &[f64],
) -> (f64, Vec<f64>) {
    Problem { tokens, y: y.clone(), alpha: 3.0, penalty: 0.01 }.value(weighing, at).unwrap_or_default()
}
