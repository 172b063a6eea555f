//! Encode a new voxel from few samples with what other voxels teach: an empirical-Bayes in-context encoder.
//!
//! Every voxel has weights w_v ~ N(m, Σ) over features and a constant (E + 1), y_v = X̃ w_v + ε, ε ~ N(0, σ²).
//! Prior and noise come from the training voxels by EM, with S = (X̃ᵀX̃/σ² + Σ⁻¹)⁻¹ the same for all of them:
//!
//! ```text
//! w_v = m + S X̃ᵀ(y_v − X̃ m)/σ²      m ← mean w_v      Σ ← S + cov w_v (divisor V)
//! σ² ← [mean_v ‖y_v − X̃ w_v‖² + tr(X̃ S X̃ᵀ)] / n
//! ```
//!
//! A new voxel with a context of c samples gets the posterior mean of the same form: the best linear encoder there
//! is for voxels from this prior, and what a transformer that reads (image, response) pairs in context can at best
//! learn. Ridge regression is m = 0 and Σ = τ²I. All goes through X̃Σ^{1/2}, so Σ may lose rank, and by the smaller
//! of c and E + 1.
//!
//! The way back, from responses r of voxels with weights W to features: with features ~ N(μ, C) of the training
//! samples, x̂ = μ + (WᵀN⁻¹W + C⁻¹)⁻¹ WᵀN⁻¹ (r − Wμ − b), N the diagonal noise of voxels.
//!
//! Source: BraInCoRL (Yu et al. 2025) for the task; specs: alignment-methods B13.4. Cost: per round of EM
//! O(E³ + E² V); a context O(c E² + E² V).

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::reduce::check_finite;
use super::{RidgeParams, RidgePlan, Selection};
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::linalg::{cholesky_solve, column_means, cross, eigh, gram, product, select_rows, solve};
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::{is_constant, mean, pearson};

/// How the prior is learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PriorParams {
    /// Most rounds of EM. Default 200.
    pub max_iterations: usize,
    /// A relative change of σ² and tr Σ below this ends EM. Default 10⁻⁵.
    pub tolerance: f64,
}

impl Default for PriorParams {
    fn default() -> Self {
        PriorParams { max_iterations: 200, tolerance: 1e-5 }
    }
}

/// What training voxels say of new ones.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightPrior {
    /// m (E + 1; the constant is last).
    pub mean: Vec<f64>,
    /// Σ.
    pub covariance: Mat<f64>,
    /// σ².
    pub noise_variance: f64,
    /// Rounds.
    pub n_iterations: usize,
    /// Whether the last change was below the tolerance.
    pub converged: bool,
    /// R with Σ = R Rᵀ.
    pub root: Mat<f64>,
    /// μ of the training features.
    pub feature_mean: Vec<f64>,
    /// A root of their covariance.
    pub feature_root: Mat<f64>,
}

/// Learn the prior of weights from training voxels: `x` n × E, `y` n × V.
///
/// Errors: rows that do not match, fewer than 3 samples or 2 voxels, values that are not finite, responses that do
/// not vary.
pub fn weight_prior(
    x: MatRef<f64>,
    y: MatRef<f64>,
    params: &PriorParams,
    monitor: &Monitor<'_>,
) -> Result<WeightPrior> {
    check(x, y)?;
    let (n, n_voxels) = (y.nrows() as f64, y.ncols());
    if y.nrows() < 3 || n_voxels < 2 {
        return Err(Error::TooFew {
            what: "y".into(),
            needed: "3 samples and 2 training voxels".into(),
            found: format!("{} and {n_voxels}", y.nrows()),
            hint: "a prior is learned from many voxels".into(),
        });
    }
    let design = with_constant(x);
    let size = design.ncols();
    let means = column_means(y);
    let total: f64 =
        (0..n_voxels).map(|v| y.col(v).iter().map(|r| (r - means[v]).powi(2)).sum::<f64>()).sum();
    if (0..n_voxels).all(|v| is_constant(&y.col(v).iter().copied().collect::<Vec<_>>())) {
        return Err(Error::ZeroVariance {
            what: "y".into(),
            detail: format!("all {n_voxels} voxels are constant"),
            hint: "look for masked voxels".into(),
        });
    }
    // XᵀX and XᵀY are all that EM sees of the samples.
    let (moments, right) = (gram(design.as_ref()), wide_cross(design.as_ref(), y));
    let squares: f64 = y.col_iter().map(|c| c.squared_norm_l2()).sum();
    // Begin with m = 0 and a Σ that explains the variance of responses alone.
    let variance = total / (n * n_voxels as f64);
    let trace: f64 = (0..size).map(|j| moments[(j, j)]).sum::<f64>() / n;
    let mut prior_mean = vec![0.0; size];
    let mut covariance = Mat::from_fn(size, size, |i, j| if i == j { variance / trace } else { 0.0 });
    let mut noise = 0.5 * variance;
    let (mut n_iterations, mut converged) = (0, false);
    while n_iterations < params.max_iterations && !converged {
        monitor.check()?;
        n_iterations += 1;
        let s = posterior_covariance(&root(&covariance)?, &moments, noise)?;
        // W = m + S (XᵀY − XᵀX m)/σ²
        let centre = column(&prior_mean);
        let mut rest = right.clone();
        let at_mean = product(moments.as_ref(), centre.as_ref());
        for v in 0..n_voxels {
            rest.col_as_slice_mut(v).iter_mut().zip(at_mean.col_as_slice(0)).for_each(|(r, m)| *r -= m);
        }
        let mut weights = wide_product(s.as_ref(), rest.as_ref());
        for v in 0..n_voxels {
            let own = weights.col_as_slice_mut(v);
            own.iter_mut().zip(&prior_mean).for_each(|(w, m)| *w = m + *w / noise);
        }
        let new_mean = column_means(weights.transpose());
        let centred = Mat::from_fn(size, n_voxels, |j, v| weights[(j, v)] - new_mean[j]);
        let scatter = gram(centred.transpose());
        let new_covariance = &s + scatter * faer::Scale(1.0 / n_voxels as f64);
        // Σ‖y − Xw‖² = Σ y² − 2 tr WᵀXᵀY + tr WᵀXᵀX W
        let mapped = wide_product(moments.as_ref(), weights.as_ref());
        let inner: f64 = (0..n_voxels)
            .map(|v| {
                let (w, a, b) = (weights.col_as_slice(v), mapped.col_as_slice(v), right.col_as_slice(v));
                w.iter().zip(a.iter().zip(b)).map(|(w, (a, b))| w * (a - 2.0 * b)).sum::<f64>()
            })
            .sum();
        let spread: f64 = (0..size)
            .map(|j| s.col_as_slice(j).iter().zip(moments.col_as_slice(j)).map(|(a, b)| a * b).sum::<f64>())
            .sum();
        // Below 10⁻⁹ of the variance noise cannot be told from rounding.
        let new_noise = (((squares + inner).max(0.0) / n_voxels as f64 + spread) / n).max(1e-9 * variance);
        let trace = |a: &Mat<f64>| (0..size).map(|j| a[(j, j)]).sum::<f64>();
        let (old, new) = (trace(&covariance), trace(&new_covariance));
        let moved = ((new_noise - noise) / new_noise).abs().max(((new - old) / new).abs());
        converged = moved <= params.tolerance;
        (prior_mean, covariance, noise) = (new_mean, new_covariance, new_noise);
    }
    let feature_mean = column_means(x);
    let centred = Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[(i, j)] - feature_mean[j]);
    let spread = gram(centred.as_ref()) * faer::Scale(1.0 / (n - 1.0));
    Ok(WeightPrior {
        root: root(&covariance)?,
        feature_root: root(&spread)?,
        feature_mean,
        mean: prior_mean,
        covariance,
        noise_variance: noise,
        n_iterations,
        converged,
    })
}

impl WeightPrior {
    /// Weights (E + 1 × V, the constant last) of voxels from a context `x` (c × E), `y` (c × V); c may be 0.
    ///
    /// Errors: another number of features, rows that do not match, values that are not finite.
    pub fn encode(&self, x: MatRef<f64>, y: MatRef<f64>) -> Result<Mat<f64>> {
        self.check_features(x)?;
        check(x, y)?;
        let design = with_constant(x);
        let mean = column(&self.mean);
        let at_mean = product(design.as_ref(), mean.as_ref());
        let rest = Mat::from_fn(y.nrows(), y.ncols(), |i, v| y[(i, v)] - at_mean[(i, 0)]);
        let a = product(design.as_ref(), self.root.as_ref()); // c × (E + 1)
        let own = if a.nrows() < a.ncols() {
            // Σ Xᵀ (X Σ Xᵀ + σ²I)⁻¹
            cross(a.as_ref(), positive_solve(plus(gram(a.transpose()), self.noise_variance), &rest).as_ref())
        } else {
            positive_solve(plus(gram(a.as_ref()), self.noise_variance), &cross(a.as_ref(), rest.as_ref()))
        };
        let mut weights = product(self.root.as_ref(), own.as_ref());
        for v in 0..weights.ncols() {
            weights.col_as_slice_mut(v).iter_mut().zip(&self.mean).for_each(|(w, m)| *w += m);
        }
        Ok(weights)
    }

    /// Predictions (n × V) of weights as [`WeightPrior::encode`] gives them.
    pub fn predict(&self, x: MatRef<f64>, weights: MatRef<f64>) -> Result<Mat<f64>> {
        self.check_features(x)?;
        check_finite(x, "X")?;
        self.check_weights(weights)?;
        Ok(product(with_constant(x).as_ref(), weights))
    }

    /// Features (n × E) from responses (n × V), given weights (E + 1 × V) and the noise variance of each voxel.
    ///
    /// Errors: sizes that do not match, values that are not finite, variances that are not positive.
    pub fn decode(
        &self,
        weights: MatRef<f64>,
        responses: MatRef<f64>,
        noise_variance: &[f64],
    ) -> Result<Mat<f64>> {
        self.check_weights(weights)?;
        check_finite(responses, "responses")?;
        check_finite(weights, "weights")?;
        let positive = noise_variance.iter().all(|v| *v > 0.0 && v.is_finite());
        if responses.ncols() != weights.ncols() || noise_variance.len() != weights.ncols() || !positive {
            return Err(Error::Shape {
                what: "responses, noise_variance".into(),
                expected: format!(
                    "{} voxels (as in weights), each with a positive variance",
                    weights.ncols()
                ),
                found: format!("{} voxels, {} variances", responses.ncols(), noise_variance.len()),
                hint: "pass the variance of each voxel's residuals".into(),
            });
        }
        let e = self.feature_mean.len();
        let map = weights.get(..e, ..);
        let centre = column(&self.feature_mean);
        let at_mean = cross(map, centre.as_ref());
        // Everything over the standard deviation of its voxel; features as R z, z ~ N(0, I).
        let sd: Vec<f64> = noise_variance.iter().map(|v| v.sqrt()).collect();
        let a = cross(map, self.feature_root.as_ref()); // V × E
        let a = Mat::from_fn(a.nrows(), a.ncols(), |v, j| a[(v, j)] / sd[v]);
        let rest = Mat::from_fn(responses.ncols(), responses.nrows(), |v, i| {
            (responses[(i, v)] - weights[(e, v)] - at_mean[(v, 0)]) / sd[v]
        });
        let z = positive_solve(plus(gram(a.as_ref()), 1.0), &cross(a.as_ref(), rest.as_ref()));
        let found = product(z.transpose(), self.feature_root.transpose());
        Ok(Mat::from_fn(found.nrows(), e, |i, j| found[(i, j)] + self.feature_mean[j]))
    }

    fn check_features(&self, x: MatRef<f64>) -> Result<()> {
        if x.ncols() + 1 == self.mean.len() {
            return Ok(());
        }
        Err(Error::Shape {
            what: "X".into(),
            expected: format!("{} features (as in fit)", self.mean.len() - 1),
            found: format!("{} features", x.ncols()),
            hint: "use the same layer".into(),
        })
    }

    fn check_weights(&self, weights: MatRef<f64>) -> Result<()> {
        if weights.nrows() == self.mean.len() {
            return Ok(());
        }
        Err(Error::Shape {
            what: "weights".into(),
            expected: format!("{} rows (features and a constant)", self.mean.len()),
            found: format!("{} rows", weights.nrows()),
            hint: "pass what `encode` returned".into(),
        })
    }
}

/// Held-out correlations against the size of the context, per voxel.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextCurve {
    /// Samples of context.
    pub sizes: Vec<usize>,
    /// Posterior mean: sizes × voxels, averaged over draws of the context.
    pub in_context: Mat<f64>,
    /// Ridge regression on the context alone, penalty per voxel by leave-one-out.
    pub ridge: Mat<f64>,
    /// The prior mean, which sees no context: one per voxel.
    pub prior_mean: Vec<f64>,
}

/// Score voxels (`y`, c × V) for contexts drawn from `x` (c × E) on test samples.
///
/// Correlations that are undefined are left out of averages; NaN where all are.
/// Errors: as [`WeightPrior::encode`]; sizes below 3 or above the samples there are.
pub fn context_curve(
    prior: &WeightPrior,
    (x, y): (MatRef<f64>, MatRef<f64>),
    (x_test, y_test): (MatRef<f64>, MatRef<f64>),
    sizes: &[usize],
    n_draws: usize,
    seed: u64,
    monitor: &Monitor<'_>,
) -> Result<ContextCurve> {
    check(x, y)?;
    check(x_test, y_test)?;
    if sizes.iter().any(|c| !(3..=x.nrows()).contains(c)) || n_draws == 0 || y.ncols() != y_test.ncols() {
        return Err(Error::Invalid {
            what: "sizes, n_draws, voxels".into(),
            expected: format!(
                "sizes from 3 to {}, at least 1 draw, the same voxels in both parts",
                x.nrows()
            ),
            found: format!("{sizes:?}, {n_draws}, {} and {}", y.ncols(), y_test.ncols()),
            hint: "contexts are drawn from the samples of `X`".into(),
        });
    }
    let voxels = y.ncols();
    let score = |predicted: &Mat<f64>| -> Vec<f64> {
        let of = |v: usize| {
            let observed: Vec<f64> = y_test.col(v).iter().copied().collect();
            pearson(predicted.col_as_slice(v), &observed)
        };
        (0..voxels).map(of).collect()
    };
    let tasks: Vec<(usize, usize)> =
        (0..sizes.len()).flat_map(|s| (0..n_draws).map(move |d| (s, d))).collect();
    let found = tasks
        .into_par_iter()
        .map(|(s, draw)| {
            monitor.check()?;
            let mut stream = Stream::new(seed, "contexts", (s * n_draws + draw) as u64);
            let rows = stream.subset(x.nrows(), sizes[s]);
            let (context, responses) = (select_rows(x, &rows), select_rows(y, &rows));
            let weights = prior.encode(context.as_ref(), responses.as_ref())?;
            let ours = score(&prior.predict(x_test, weights.as_ref())?);
            let params = RidgeParams { selection: Selection::LeaveOneOut, ..RidgeParams::default() };
            let plan = RidgePlan::new(context.as_ref(), x_test, &[], &params)?;
            Ok((ours, score(&plan.fit(responses.as_ref())?.predictions)))
        })
        .collect::<Result<Vec<_>>>()?;
    let average = |s: usize, v: usize, of: &dyn Fn(&(Vec<f64>, Vec<f64>)) -> &Vec<f64>| {
        let draws = &found[s * n_draws..(s + 1) * n_draws];
        mean(&draws.iter().map(|pair| of(pair)[v]).filter(|r| !r.is_nan()).collect::<Vec<_>>())
    };
    let at_mean = Mat::from_fn(prior.mean.len(), voxels, |j, _| prior.mean[j]);
    Ok(ContextCurve {
        sizes: sizes.to_vec(),
        in_context: Mat::from_fn(sizes.len(), voxels, |s, v| average(s, v, &|pair| &pair.0)),
        ridge: Mat::from_fn(sizes.len(), voxels, |s, v| average(s, v, &|pair| &pair.1)),
        prior_mean: score(&prior.predict(x_test, at_mean.as_ref())?),
    })
}

fn check(x: MatRef<f64>, y: MatRef<f64>) -> Result<()> {
    check_finite(x, "X")?;
    check_finite(y, "y")?;
    if y.nrows() == x.nrows() {
        return Ok(());
    }
    Err(Error::Shape {
        what: "y".into(),
        expected: format!("{} rows (as in X)", x.nrows()),
        found: format!("{} rows", y.nrows()),
        hint: "rows must be the same stimuli in the same order".into(),
    })
}

fn with_constant(x: MatRef<f64>) -> Mat<f64> {
    Mat::from_fn(x.nrows(), x.ncols() + 1, |i, j| if j < x.ncols() { x[(i, j)] } else { 1.0 })
}

fn column(values: &[f64]) -> Mat<f64> {
    Mat::from_fn(values.len(), 1, |j, _| values[j])
}

/// R with R Rᵀ = A, for symmetric positive semidefinite A.
fn root(a: &Mat<f64>) -> Result<Mat<f64>> {
    let parts = eigh(a.as_ref())?;
    Ok(Mat::from_fn(a.nrows(), a.nrows(), |i, j| parts.vectors[(i, j)] * parts.values[j].max(0.0).sqrt()))
}

/// S = R (I + RᵀAR/σ²)⁻¹ Rᵀ.
fn posterior_covariance(root: &Mat<f64>, moments: &Mat<f64>, noise: f64) -> Result<Mat<f64>> {
    let inner = cross(root.as_ref(), product(moments.as_ref(), root.as_ref()).as_ref());
    let n = inner.nrows();
    // Symmetric to the last bit.
    let inner = Mat::from_fn(n, n, |i, j| {
        0.5 * (inner[(i, j)] + inner[(j, i)]) / noise + if i == j { 1.0 } else { 0.0 }
    });
    let s = product(root.as_ref(), positive_solve(inner, &root.transpose().to_owned()).as_ref());
    Ok(Mat::from_fn(n, n, |i, j| 0.5 * (s[(i, j)] + s[(j, i)])))
}

fn plus(mut a: Mat<f64>, diagonal: f64) -> Mat<f64> {
    (0..a.nrows()).for_each(|j| a[(j, j)] += diagonal);
    a
}

fn positive_solve(a: Mat<f64>, b: &Mat<f64>) -> Mat<f64> {
    cholesky_solve(a.as_ref(), b.as_ref()).unwrap_or_else(|| solve(a.as_ref(), b.as_ref()))
}

/// Columns of a product that one task computes.
const PANEL: usize = 128;

/// A B by panels of columns, in parallel.
fn wide_product(a: MatRef<f64>, b: MatRef<f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    out.as_mut().par_col_chunks_mut(PANEL).enumerate().for_each(|(panel, mut to)| {
        let (from, width) = (panel * PANEL, to.ncols());
        to.copy_from(product(a, b.get(.., from..from + width)));
    });
    out
}

fn wide_cross(a: MatRef<f64>, b: MatRef<f64>) -> Mat<f64> {
    wide_product(a.transpose(), b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(1, "in-context tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    const E: usize = 30;

    /// Voxels with weights m + L u of rank 3, a constant of 1 ± .2, and noise of SD 1.
    fn voxels(n: usize, v: usize, index: u64) -> (Mat<f64>, Mat<f64>, Mat<f64>) {
        let (x, low, u) = (noise(n, E, index), noise(E, 3, 1), noise(3, v, index + 1));
        let (centre, extra, e) = (noise(E, 1, 2), noise(1, v, index + 2), noise(n, v, index + 3));
        let spread = product(low.as_ref(), u.as_ref());
        let w = Mat::from_fn(E, v, |j, k| 0.3 * centre[(j, 0)] + 0.5 * spread[(j, k)]);
        let clean = product(x.as_ref(), w.as_ref());
        let y = Mat::from_fn(n, v, |i, k| clean[(i, k)] + 1.0 + 0.2 * extra[(0, k)] + e[(i, k)]);
        (x, y, w)
    }

    fn prior() -> WeightPrior {
        let (x, y, _) = voxels(200, 300, 10);
        weight_prior(x.as_ref(), y.as_ref(), &PriorParams::default(), &Monitor::silent()).unwrap()
    }

    #[test]
    fn em_finds_the_prior_it_was_given() {
        let prior = prior();
        // Directions of Σ beyond the third take a share of the noise, 1 − (E + 1)²/(2 n V) and less.
        assert!(prior.converged && (prior.noise_variance - 1.0).abs() < 0.03, "{}", prior.noise_variance);
        assert!((prior.mean[E] - 1.0).abs() < 0.05, "{}", prior.mean[E]);
        let (low, centre) = (noise(E, 3, 1), noise(E, 1, 2));
        let expected = gram(low.transpose()) * faer::Scale(0.25);
        let found = prior.covariance.get(..E, ..E).to_owned();
        assert!((&found - &expected).norm_l2() < 0.2 * expected.norm_l2());
        let means: Vec<f64> = centre.col_as_slice(0).iter().map(|c| 0.3 * c).collect();
        assert!(pearson(&prior.mean[..E], &means) > 0.95);
        let values = eigh(prior.covariance.as_ref()).unwrap().values;
        assert!(values[3] < 0.03 * values[2], "{values:?}");
    }

    #[test]
    fn the_posterior_is_its_definition_and_ridge_is_a_case_of_it() {
        let mut prior = prior();
        for c in [5, 80] {
            let (x, y, _) = voxels(c, 7, 20);
            let design = with_constant(x.as_ref());
            let inverse = solve(prior.covariance.as_ref(), Mat::<f64>::identity(E + 1, E + 1).as_ref());
            let left = gram(design.as_ref()) * faer::Scale(1.0 / prior.noise_variance) + &inverse;
            let toward = product(inverse.as_ref(), column(&prior.mean).as_ref());
            let right = Mat::from_fn(E + 1, 7, |j, v| {
                let along: f64 = (0..c).map(|i| design[(i, j)] * y[(i, v)]).sum();
                along / prior.noise_variance + toward[(j, 0)]
            });
            let slow = solve(left.as_ref(), right.as_ref());
            let fast = prior.encode(x.as_ref(), y.as_ref()).unwrap();
            assert!((&fast - &slow).norm_max() < 1e-6, "{}", (fast - slow).norm_max());
        }
        // m = 0 and Σ = τ²I: ridge with α = σ²/τ², the constant penalised as well.
        (prior.mean, prior.noise_variance) = (vec![0.0; E + 1], 2.0);
        prior.root = Mat::from_fn(E + 1, E + 1, |i, j| if i == j { 0.5 } else { 0.0 });
        let (x, y, _) = voxels(60, 4, 30);
        let design = with_constant(x.as_ref());
        let ridge = positive_solve(plus(gram(design.as_ref()), 8.0), &cross(design.as_ref(), y.as_ref()));
        assert!((prior.encode(x.as_ref(), y.as_ref()).unwrap() - ridge).norm_max() < 1e-10);
    }

    #[test]
    fn the_prior_helps_where_the_context_is_small_and_does_no_harm_where_it_is_large() {
        let prior = prior();
        let (x, y, _) = voxels(3500, 20, 40);
        let rows = |from: usize, to: usize| (x.get(from..to, ..), y.get(from..to, ..));
        let sizes = [5, 20, 3000];
        let curve =
            context_curve(&prior, rows(0, 3000), rows(3000, 3500), &sizes, 3, 1, &Monitor::silent()).unwrap();
        let at = |of: &Mat<f64>, s: usize| mean(&of.row(s).iter().copied().collect::<Vec<_>>());
        let (ours, ridge) = (&curve.in_context, &curve.ridge);
        assert!(at(ours, 0) > at(ridge, 0) + 0.2, "{} {}", at(ours, 0), at(ridge, 0));
        assert!(at(ours, 1) > at(ridge, 1) + 0.1);
        assert!((at(ours, 2) - at(ridge, 2)).abs() < 0.005, "{} {}", at(ours, 2), at(ridge, 2));
        assert!(at(ours, 0) > mean(&curve.prior_mean) + 0.1 && at(ours, 1) > at(ours, 0));
        // Without any context it is the prior mean.
        let none = prior.encode(x.get(..0, ..), y.get(..0, ..)).unwrap();
        assert!((0..20).all(|v| none.col_as_slice(v) == prior.mean));
    }

    #[test]
    fn the_way_back_finds_the_features() {
        let prior = prior();
        let (x, y, w) = voxels(100, 200, 50);
        let weights = Mat::from_fn(E + 1, 200, |j, v| if j < E { w[(j, v)] } else { 1.0 });
        // Rank 4 of 30 dimensions can be told; along those the features come back.
        let noise: Vec<f64> = (0..200).map(|v| 0.5 + 0.01 * v as f64).collect();
        let found = prior.decode(weights.as_ref(), y.as_ref(), &noise).unwrap();
        let (said, truth) = (product(found.as_ref(), w.as_ref()), product(x.as_ref(), w.as_ref()));
        let r: Vec<f64> = (0..200).map(|v| pearson(said.col_as_slice(v), truth.col_as_slice(v))).collect();
        assert!(r.iter().all(|r| *r > 0.95), "{}", r.iter().fold(1.0, |m: f64, r| m.min(*r)));
        // Its definition.
        let (n, map) = (200, weights.get(..E, ..));
        let c = gram(prior.feature_root.transpose());
        let inverse = solve(c.as_ref(), Mat::<f64>::identity(E, E).as_ref());
        let weighed = Mat::from_fn(E, n, |j, v| map[(j, v)] / noise[v]);
        let left = product(weighed.as_ref(), map.transpose()) + inverse;
        let rest = Mat::from_fn(n, 100, |v, i| {
            y[(i, v)] - 1.0 - (0..E).map(|j| w[(j, v)] * prior.feature_mean[j]).sum::<f64>()
        });
        let slow = solve(left.as_ref(), product(weighed.as_ref(), rest.as_ref()).as_ref());
        let off = (0..100).flat_map(|i| (0..E).map(move |j| (i, j)));
        let off = off
            .map(|(i, j)| (found[(i, j)] - prior.feature_mean[j] - slow[(j, i)]).abs())
            .fold(0.0, f64::max);
        assert!(off < 1e-8, "{off}");
    }

    #[test]
    fn bad_input_is_named_and_threads_have_no_effect() {
        let prior = prior();
        let (x, y, _) = voxels(40, 6, 60);
        let wrong = |r: Result<Mat<f64>>| r.unwrap_err().to_string();
        assert!(wrong(prior.encode(x.get(.., ..E - 1), y.as_ref())).contains("30 features"));
        assert!(wrong(prior.encode(x.as_ref(), y.get(..9, ..))).contains("40 rows"));
        assert!(wrong(prior.predict(x.as_ref(), y.as_ref())).contains("31 rows"));
        let w = prior.encode(x.as_ref(), y.as_ref()).unwrap();
        assert!(wrong(prior.decode(w.as_ref(), y.as_ref(), &[0.0; 6])).contains("positive variance"));
        let (silent, params) = (Monitor::silent(), PriorParams::default());
        assert!(weight_prior(x.as_ref(), y.get(.., ..1), &params, &silent).is_err());
        let flat = Mat::full(40, 6, 0.1);
        assert!(weight_prior(x.as_ref(), flat.as_ref(), &params, &silent).is_err());
        let both = (x.as_ref(), y.as_ref());
        assert!(context_curve(&prior, both, both, &[41], 1, 0, &silent).is_err());
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| context_curve(&prior, both, both, &[5, 10], 2, 0, &silent).unwrap())
        };
        assert_eq!(run(1), run(3));
    }
}
