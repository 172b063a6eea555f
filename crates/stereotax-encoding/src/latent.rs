//! Model what stimuli leave unexplained as shared latent factors, and predict neurons from other neurons.
//!
//! For residuals r = y − ŷ (n × m) of a stimulus encoder, with latent z ~ N(0, I_k) and private noise,
//!
//! ```text
//! r = μ + Λ z + ε,  ε ~ N(0, diag ψ)                      factor analysis; by EM
//! E[z | r_O] = (I + Λ_Oᵀ Ψ_O⁻¹ Λ_O)⁻¹ Λ_Oᵀ Ψ_O⁻¹ (r_O − μ_O)
//! E[r_H | r_O] = μ_H + Λ_H E[z | r_O]                     held-out neurons given observed ones
//! ```
//!
//! Λ is found up to a rotation; it is returned with orthogonal ΛᵀΨ⁻¹Λ, strongest factor first, the largest entry of
//! each column positive. Log-likelihoods are per sample, in nats.
//!
//! This is the linear-Gaussian part of dynamic latent models of neural variability: no dynamics, no non-negative
//! responses (for those see [`super::ZeroInflatedGamma`]).
//!
//! Source: Rubin & Thayer 1982 (EM); specs: alignment-methods B14. Cost: O(n m²) once, O(m² k) per round.

use faer::{Mat, MatRef};

use super::reduce::check_finite;
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::linalg::{cholesky_solve, column_means, cross, eigh, gram, product, solve};
use stereotax_base::stats::summary::is_constant;

/// A noise variance does not fall below this share of the neuron's variance (a Heywood case).
const LEAST_NOISE: f64 = 1e-4;

/// How factors are fitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FactorParams {
    /// k.
    pub n_factors: usize,
    /// Most rounds of EM. Default 1000.
    pub max_iterations: usize,
    /// A gain of the log-likelihood per sample and neuron below this ends EM. Default 10⁻⁹.
    pub tolerance: f64,
}

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentFactors {
    /// μ.
    pub means: Vec<f64>,
    /// Λ, m × k.
    pub loadings: Mat<f64>,
    /// ψ.
    pub noise_variance: Vec<f64>,
    /// Log-likelihood of the training samples, per sample.
    pub log_likelihood: f64,
    /// Rounds.
    pub n_iterations: usize,
    /// Whether the last gain was below the tolerance.
    pub converged: bool,
}

/// Fit k factors to residuals (n × m).
///
/// Errors: no factors or as many as neurons, fewer than 3 samples, values that are not finite, a neuron that does not
/// vary.
pub fn latent_factors(
    residuals: MatRef<f64>,
    params: &FactorParams,
    monitor: &Monitor<'_>,
) -> Result<LatentFactors> {
    let (n, m, k) = (residuals.nrows(), residuals.ncols(), params.n_factors);
    check_finite(residuals, "residuals")?;
    if n < 3 || k == 0 || k >= m {
        return Err(Error::Invalid {
            what: "n_factors".into(),
            expected: format!("1 to {} factors (fewer than neurons), and 3 samples or more", m.max(1) - 1),
            found: format!("{k} factors, {n} samples of {m} neurons"),
            hint: "a dozen factors are many".into(),
        });
    }
    if let Some(j) = (0..m).find(|&j| is_constant(&residuals.col(j).iter().copied().collect::<Vec<_>>())) {
        return Err(Error::ZeroVariance {
            what: format!("neuron {j}"),
            detail: format!("it is constant over {n} samples"),
            hint: "drop silent neurons first".into(),
        });
    }
    let means = column_means(residuals);
    let centred = Mat::from_fn(n, m, |i, j| residuals[(i, j)] - means[j]);
    let s = gram(centred.as_ref()) * faer::Scale(1.0 / n as f64);
    let least: Vec<f64> = (0..m).map(|j| LEAST_NOISE * s[(j, j)]).collect();
    // Begin with principal components of correlations, half of the variance private.
    let sd: Vec<f64> = (0..m).map(|j| s[(j, j)].sqrt()).collect();
    let parts = eigh(Mat::from_fn(m, m, |i, j| s[(i, j)] / (sd[i] * sd[j])).as_ref())?;
    let mut loadings =
        Mat::from_fn(m, k, |j, f| sd[j] * parts.vectors[(j, f)] * (0.5 * parts.values[f].max(1e-6)).sqrt());
    let mut noise: Vec<f64> = (0..m).map(|j| 0.5 * s[(j, j)]).collect();
    let (mut before, mut n_iterations, mut converged) = (f64::NEG_INFINITY, 0, false);
    while n_iterations < params.max_iterations && !converged {
        monitor.check()?;
        n_iterations += 1;
        let posterior = Posterior::new(loadings.as_ref(), &noise);
        let now = posterior.log_likelihood(&s, &noise);
        converged = now - before <= params.tolerance * m as f64;
        before = now;
        // β = (I + ΛᵀΨ⁻¹Λ)⁻¹ΛᵀΨ⁻¹; E zzᵀ = I − βΛ + βSβᵀ; Λ ← Sβᵀ(E zzᵀ)⁻¹; ψ ← diag(S − Λ βS)
        let along = product(s.as_ref(), posterior.beta.transpose()); // m × k
        let second = &posterior.inverse + product(posterior.beta.as_ref(), along.as_ref());
        let second = Mat::from_fn(k, k, |a, b| 0.5 * (second[(a, b)] + second[(b, a)]));
        loadings = positive_solve(&second, &along.transpose().to_owned()).transpose().to_owned();
        for j in 0..m {
            let shared: f64 = (0..k).map(|f| loadings[(j, f)] * along[(j, f)]).sum();
            noise[j] = (s[(j, j)] - shared).max(least[j]);
        }
    }
    let log_likelihood = Posterior::new(loadings.as_ref(), &noise).log_likelihood(&s, &noise);
    // A rotation of factors changes nothing but their names.
    let scaled = Mat::from_fn(m, k, |j, f| loadings[(j, f)] / noise[j].sqrt());
    let turn = eigh(gram(scaled.as_ref()).as_ref())?.vectors;
    let mut loadings = product(loadings.as_ref(), turn.as_ref());
    for f in 0..k {
        let largest =
            loadings.col_as_slice(f).iter().fold(0.0f64, |b, v| if v.abs() > b.abs() { *v } else { b });
        if largest < 0.0 {
            loadings.col_mut(f).iter_mut().for_each(|v| *v = -*v);
        }
    }
    Ok(LatentFactors { means, loadings, noise_variance: noise, log_likelihood, n_iterations, converged })
}

impl LatentFactors {
    /// E[z | r of the `observed` neurons] (n × k).
    ///
    /// Errors: another number of neurons, none observed, values that are not finite where they are.
    pub fn factors(&self, residuals: MatRef<f64>, observed: &[bool]) -> Result<Mat<f64>> {
        let seen = self.seen(residuals, observed)?;
        let loadings = Mat::from_fn(seen.len(), self.loadings.ncols(), |a, f| self.loadings[(seen[a], f)]);
        let noise: Vec<f64> = seen.iter().map(|&j| self.noise_variance[j]).collect();
        let rest =
            Mat::from_fn(residuals.nrows(), seen.len(), |i, a| residuals[(i, seen[a])] - self.means[seen[a]]);
        Ok(product(rest.as_ref(), Posterior::new(loadings.as_ref(), &noise).beta.transpose()))
    }

    /// E[r of all neurons | r of the `observed` ones] (n × m): their shared part, without private noise.
    ///
    /// What is not observed is not looked at and may be NaN. Errors: as [`LatentFactors::factors`].
    pub fn conditional_mean(&self, residuals: MatRef<f64>, observed: &[bool]) -> Result<Mat<f64>> {
        let factors = self.factors(residuals, observed)?;
        let shared = product(factors.as_ref(), self.loadings.transpose());
        Ok(Mat::from_fn(shared.nrows(), shared.ncols(), |i, j| self.means[j] + shared[(i, j)]))
    }

    /// Log-likelihood of other samples, per sample. Errors: as [`LatentFactors::factors`].
    pub fn score(&self, residuals: MatRef<f64>) -> Result<f64> {
        self.seen(residuals, &vec![true; self.means.len()])?;
        let n = residuals.nrows() as f64;
        let centred =
            Mat::from_fn(residuals.nrows(), residuals.ncols(), |i, j| residuals[(i, j)] - self.means[j]);
        let s = gram(centred.as_ref()) * faer::Scale(1.0 / n);
        Ok(Posterior::new(self.loadings.as_ref(), &self.noise_variance)
            .log_likelihood(&s, &self.noise_variance))
    }

    fn seen(&self, residuals: MatRef<f64>, observed: &[bool]) -> Result<Vec<usize>> {
        let m = self.means.len();
        let seen: Vec<usize> = (0..observed.len()).filter(|&j| observed[j]).collect();
        if residuals.ncols() != m || observed.len() != m || seen.is_empty() || residuals.nrows() == 0 {
            return Err(Error::Shape {
                what: "residuals, observed".into(),
                expected: format!("{m} neurons (as in fit), of which 1 is observed, and 1 sample"),
                found: format!(
                    "{} neurons, {} flags, {} of them set",
                    residuals.ncols(),
                    observed.len(),
                    seen.len()
                ),
                hint: "pass all neurons, and which of them to look at".into(),
            });
        }
        let looked_at = Mat::from_fn(residuals.nrows(), seen.len(), |i, a| residuals[(i, seen[a])]);
        check_finite(looked_at.as_ref(), "observed residuals")?;
        Ok(seen)
    }
}

/// (I + ΛᵀΨ⁻¹Λ)⁻¹ and β = (I + ΛᵀΨ⁻¹Λ)⁻¹ΛᵀΨ⁻¹.
struct Posterior {
    inverse: Mat<f64>,
    beta: Mat<f64>,
    /// ln |I + ΛᵀΨ⁻¹Λ|
    log_determinant: f64,
}

impl Posterior {
    fn new(loadings: MatRef<f64>, noise: &[f64]) -> Self {
        let k = loadings.ncols();
        let scaled = Mat::from_fn(loadings.nrows(), k, |j, f| loadings[(j, f)] / noise[j]);
        let mut precision = cross(loadings, scaled.as_ref());
        (0..k).for_each(|f| precision[(f, f)] += 1.0);
        let precision = Mat::from_fn(k, k, |a, b| 0.5 * (precision[(a, b)] + precision[(b, a)]));
        let log_determinant = match eigh(precision.as_ref()) {
            Ok(parts) => parts.values.iter().map(|v| v.ln()).sum(),
            Err(_) => f64::NAN,
        };
        let inverse = positive_solve(&precision, &Mat::identity(k, k));
        let beta = product(inverse.as_ref(), scaled.transpose());
        Posterior { inverse, beta, log_determinant }
    }

    /// −½ [m ln 2π + ln|Σ| + tr Σ⁻¹S], Σ = ΛΛᵀ + Ψ.
    fn log_likelihood(&self, s: &Mat<f64>, noise: &[f64]) -> f64 {
        let m = noise.len();
        let log_determinant = self.log_determinant + noise.iter().map(|v| v.ln()).sum::<f64>();
        // Σ⁻¹ = Ψ⁻¹ − Ψ⁻¹Λ(I + ΛᵀΨ⁻¹Λ)⁻¹ΛᵀΨ⁻¹ = Ψ⁻¹ − βᵀ(I + ΛᵀΨ⁻¹Λ)β
        let private: f64 = (0..m).map(|j| s[(j, j)] / noise[j]).sum();
        let along = product(self.beta.as_ref(), product(s.as_ref(), self.beta.transpose()).as_ref());
        let precision = positive_solve(&self.inverse, &along);
        let shared: f64 = (0..along.nrows()).map(|f| precision[(f, f)]).sum();
        -0.5 * (m as f64 * (2.0 * std::f64::consts::PI).ln() + log_determinant + private - shared)
    }
}

fn positive_solve(a: &Mat<f64>, b: &Mat<f64>) -> Mat<f64> {
    cholesky_solve(a.as_ref(), b.as_ref()).unwrap_or_else(|| solve(a.as_ref(), b.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::linalg::svd;
    use stereotax_base::stats::rng::Stream;
    use stereotax_base::stats::summary::pearson;

    const M: usize = 20;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(1, "latent tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn truth() -> (Mat<f64>, Vec<f64>) {
        (noise(M, 3, 1), (0..M).map(|j| 0.5 + 0.1 * j as f64).collect())
    }

    fn planted(n: usize, index: u64) -> Mat<f64> {
        let (loadings, psi) = truth();
        let (z, e) = (noise(n, 3, index), noise(n, M, index + 1));
        let shared = product(z.as_ref(), loadings.transpose());
        Mat::from_fn(n, M, |i, j| 1.0 + shared[(i, j)] + psi[j].sqrt() * e[(i, j)])
    }

    fn params(n_factors: usize) -> FactorParams {
        FactorParams { n_factors, max_iterations: 1000, tolerance: 1e-9 }
    }

    fn fitted() -> LatentFactors {
        latent_factors(planted(4000, 10).as_ref(), &params(3), &Monitor::silent()).unwrap()
    }

    #[test]
    fn planted_factors_come_back() {
        let (found, (loadings, psi)) = (fitted(), truth());
        assert!(found.converged);
        for j in 0..M {
            assert!((found.noise_variance[j] - psi[j]).abs() < 0.15, "{j}: {}", found.noise_variance[j]);
            assert!((found.means[j] - 1.0).abs() < 0.15);
        }
        let of = |l: &Mat<f64>| product(l.as_ref(), l.transpose());
        let (a, b) = (of(&found.loadings), of(&loadings));
        assert!((&a - &b).norm_l2() < 0.1 * b.norm_l2(), "{}", (&a - &b).norm_l2() / b.norm_l2());
        // Orthogonal in the metric of noise, strongest first.
        let scaled = Mat::from_fn(M, 3, |j, f| found.loadings[(j, f)] / found.noise_variance[j].sqrt());
        let g = gram(scaled.as_ref());
        assert!(g[(0, 0)] > g[(1, 1)] && g[(1, 1)] > g[(2, 2)]);
        assert!((0..3).all(|a| (0..3).all(|b| a == b || g[(a, b)].abs() < 1e-8 * g[(0, 0)])));
    }

    #[test]
    fn conditional_means_are_those_of_the_joint_gaussian() {
        let (found, fresh) = (fitted(), planted(50, 20));
        let observed: Vec<bool> = (0..M).map(|j| j % 2 == 0).collect();
        let sigma = Mat::from_fn(M, M, |i, j| {
            let shared: f64 = (0..3).map(|f| found.loadings[(i, f)] * found.loadings[(j, f)]).sum();
            shared + if i == j { found.noise_variance[j] } else { 0.0 }
        });
        let seen = Mat::from_fn(10, 10, |a, b| sigma[(2 * a, 2 * b)]);
        let across = Mat::from_fn(10, 10, |a, b| sigma[(2 * a, 2 * b + 1)]);
        let rest = Mat::from_fn(10, 50, |a, i| fresh[(i, 2 * a)] - found.means[2 * a]);
        let slow = cross(across.as_ref(), solve(seen.as_ref(), rest.as_ref()).as_ref());
        // What is not observed is not looked at.
        let blind = Mat::from_fn(50, M, |i, j| if observed[j] { fresh[(i, j)] } else { f64::NAN });
        let fast = found.conditional_mean(blind.as_ref(), &observed).unwrap();
        for i in 0..50 {
            for b in 0..10 {
                let expected = found.means[2 * b + 1] + slow[(b, i)];
                assert!((fast[(i, 2 * b + 1)] - expected).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn held_out_neurons_are_predicted_as_well_as_the_truth_allows() {
        let (found, fresh, (loadings, psi)) = (fitted(), planted(3000, 30), truth());
        let exact = LatentFactors { loadings, noise_variance: psi, means: vec![1.0; M], ..found.clone() };
        let observed: Vec<bool> = (0..M).map(|j| j < M / 2).collect();
        let r = |model: &LatentFactors| {
            let said = model.conditional_mean(fresh.as_ref(), &observed).unwrap();
            (M / 2..M).map(|j| pearson(said.col_as_slice(j), fresh.col_as_slice(j))).sum::<f64>()
                / (M / 2) as f64
        };
        assert!(r(&found) > r(&exact) - 0.01 && r(&exact) > 0.5, "{} {}", r(&found), r(&exact));
    }

    #[test]
    fn likelihood_is_its_definition_rises_and_prefers_the_right_number_of_factors() {
        let (train, test) = (planted(600, 40), planted(2000, 50));
        let found = latent_factors(train.as_ref(), &params(3), &Monitor::silent()).unwrap();
        let sigma = Mat::from_fn(M, M, |i, j| {
            let shared: f64 = (0..3).map(|f| found.loadings[(i, f)] * found.loadings[(j, f)]).sum();
            shared + if i == j { found.noise_variance[j] } else { 0.0 }
        });
        let log_determinant: f64 = svd(sigma.as_ref()).unwrap().s.iter().map(|v| v.ln()).sum();
        let rest = Mat::from_fn(M, 2000, |j, i| test[(i, j)] - found.means[j]);
        let solved = solve(sigma.as_ref(), rest.as_ref());
        let square: f64 = (0..2000)
            .map(|i| solved.col_as_slice(i).iter().zip(rest.col_as_slice(i)).map(|(a, b)| a * b).sum::<f64>())
            .sum();
        let slow = -0.5 * (M as f64 * (2.0 * std::f64::consts::PI).ln() + log_determinant + square / 2000.0);
        assert!((found.score(test.as_ref()).unwrap() - slow).abs() < 1e-8);
        assert!((found.score(train.as_ref()).unwrap() - found.log_likelihood).abs() < 1e-9);
        let mut before = f64::NEG_INFINITY;
        for rounds in [1, 2, 5, 20, 100] {
            let params = FactorParams { max_iterations: rounds, ..params(3) };
            let now = latent_factors(train.as_ref(), &params, &Monitor::silent()).unwrap().log_likelihood;
            assert!(now >= before, "{now} after {before}");
            before = now;
        }
        let held_out = |k| {
            let fit = latent_factors(train.as_ref(), &params(k), &Monitor::silent()).unwrap();
            fit.score(test.as_ref()).unwrap()
        };
        assert!(held_out(3) > held_out(2) && held_out(3) > held_out(6));
    }

    #[test]
    fn bad_input_is_named() {
        let x = planted(30, 60);
        let refused =
            |x: MatRef<f64>, k| latent_factors(x, &params(k), &Monitor::silent()).unwrap_err().to_string();
        assert!(refused(x.as_ref(), 0).contains("1 to 19"));
        assert!(refused(x.as_ref(), M).contains("1 to 19"));
        let flat = Mat::from_fn(30, M, |i, j| if j == 4 { 0.1 } else { x[(i, j)] });
        assert!(refused(flat.as_ref(), 2).contains("neuron 4"));
        let found = latent_factors(x.as_ref(), &params(2), &Monitor::silent()).unwrap();
        assert!(found.factors(x.as_ref(), &[false; M]).is_err());
        assert!(found.factors(x.get(.., ..3), &[true; 3]).is_err());
        let holes = Mat::from_fn(30, M, |i, j| if j == 4 { f64::NAN } else { x[(i, j)] });
        assert!(found.factors(holes.as_ref(), &[true; M]).is_err());
    }
}
