//! Fit exponentials in depth to all layers at once (optimised DMD), by variable projection.
//!
//! With reduced snapshots Z (ρ × L) and depth coordinates τ in [0, 1], any spacing:
//!
//! ```text
//! min over ω ∈ C^r, B ∈ C^{r×ρ} of  ‖Zᵀ − E B‖²_F,   E[l, k] = exp(ω_k τ_l)   (L × r)
//! B = E⁺ Zᵀ,   R = Zᵀ − E B = P Zᵀ,   P = I − E E⁺   (thin QR of E, rank cut L·ε)
//! J_k = ∂R/∂ω_k = −(P D_k) b_k,   D_k = τ ∘ exp(ω_k τ)                        (Kaufman)
//! step δ:  (J*J + μ diag(d²)) δ = −J*R,   d_k = ‖J_k‖ clipped to [10⁻⁶, 1]
//! λ_k = exp(ω_k / (L − 1)),   mode k = row k of B
//! ```
//!
//! The term that Kaufman leaves out, −(E⁺)* D_k* R, multiplies conj(dω) and is orthogonal to R: the
//! gradient is exact without it. Every J_k has rank one, so J*J costs O(r²(L + ρ)).
//!
//! Data are real, so rates are real or come in conjugate pairs. The start is paired by Hungarian
//! assignment, and a step keeps the pairing, because the problem is symmetric under conjugation.
//! A rate may not gain more than `max_gain` over the depth, nor turn by more than π per layer (faster
//! turning cannot be told from slower). On an even grid a negative λ is a rate with Im ω = π(L − 1),
//! whose column is real, and it needs no partner.
//!
//! Source: Askham & Kutz 2018; Kaufman 1975; damping after Nielsen 1999; specs: nfas-dmd 5.6.
//! Cost: O(L·ρ·r) per iteration, at most 100 iterations.

use faer::{Mat, MatRef, c64};

use super::modes::{RawModes, finish};
use super::reduce::Reduced;
use super::spectrum::{DepthDmdParams, DepthSpectrum};
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{Svd, assignment, cross, eig, product, svd};

/// Steps or relative decreases below this end the iteration.
const TOLERANCE: f64 = 1e-10;
/// Most iterations.
const MAX_ITERATIONS: usize = 100;
/// Most attempts at one step; each doubles the damping.
const MAX_ATTEMPTS: usize = 52;
/// Imaginary parts below this share of the modulus count as zero.
const REAL: f64 = 1e-9;

/// An optimised DMD with its spectrum and the course of its fit.
#[derive(Debug, Clone)]
pub struct OptimisedDmd {
    /// Eigenvalues, modes, selection and weights. Residuals are NaN: there is no operator.
    pub spectrum: DepthSpectrum,
    /// The fitted exponentials, in the reduced space.
    pub fit: Exponentials,
}

/// Z ≈ Σ_k profiles_k · exp(rates_k · τ).
#[derive(Debug, Clone)]
pub struct Exponentials {
    /// ω per mode, per unit of τ; complex ones in exact conjugate pairs.
    pub rates: Vec<c64>,
    /// One mode per column, scaled by its amplitude (ρ × modes).
    pub profiles: Mat<c64>,
    /// ‖Zᵀ − E B‖_F / ‖Z‖_F.
    pub residual: f64,
    /// Iterations taken.
    pub iterations: usize,
    /// Whether steps or decreases became negligible before the iterations ran out.
    pub converged: bool,
}

/// Fit `rank` exponentials to reduced snapshots at depth coordinates `tau`.
///
/// Of `params` the amplitude rule is not used (amplitudes are part of the fit), `max_gain`, `select`
/// and `min_energy` are. Starts from the standard DMD on an even grid and from the trapezoidal rule on
/// any grid, and keeps the better fit. Errors: `tau` not ascending within [0, 1], a rank of 0 or above
/// L − 1, a `max_gain` not above 1.
pub fn optimised_dmd(
    reduced: &Reduced,
    tau: &[f64],
    rank: usize,
    params: &DepthDmdParams,
) -> Result<OptimisedDmd> {
    let problem = Problem::new(reduced.snapshots.as_ref(), tau, params.max_gain)?;
    check_rank(rank, problem.n_layers)?;
    let mut warnings = Vec::new();
    let mut starts = vec![trapezoidal_start(&problem, rank)?];
    if problem.even {
        starts.insert(0, standard_start(&problem, rank)?);
    }
    let mut best: Option<Fit> = None;
    for start in &starts {
        let fit = problem.fit(start);
        // Equal minima belong to the first start.
        if best.as_ref().is_none_or(|b| fit.objective < 0.999 * b.objective && b.objective > ROUNDING) {
            best = Some(fit);
        }
    }
    let Some(fit) = best else {
        return Err(Error::NoConvergence { what: "optimised DMD".into(), detail: "no start".into() });
    };
    if fit.rates.len() < rank {
        warnings.push(format!("the snapshots allow {} modes, not {rank}", fit.rates.len()));
    }
    if !fit.converged {
        warnings.push(format!("optimised DMD did not converge in {MAX_ITERATIONS} iterations"));
    }
    let fit = problem.exponentials(&fit);
    let spectrum = spectrum_of(reduced, &problem, &fit, params, warnings)?;
    Ok(OptimisedDmd { spectrum, fit })
}

/// Squared relative residual that is rounding.
const ROUNDING: f64 = 1e-28;

/// Complete the spectrum of fitted exponentials.
pub(super) fn spectrum_of(
    reduced: &Reduced,
    problem: &Problem,
    fit: &Exponentials,
    params: &DepthDmdParams,
    warnings: Vec<String>,
) -> Result<DepthSpectrum> {
    let n_modes = fit.rates.len();
    let lift = &reduced.lift;
    let coefficients = Mat::from_fn(lift.nrows(), n_modes, |l, k| {
        (0..lift.ncols()).map(|i| fit.profiles[(i, k)] * lift[(l, i)]).sum()
    });
    let raw = RawModes {
        eigenvalues: fit.rates.iter().map(|&w| problem.eigenvalue(w)).collect(),
        coefficients,
        residuals: vec![f64::NAN; n_modes],
        amplitudes: Some(vec![c64::new(1.0, 0.0); n_modes]),
        positions: Some(problem.positions()),
        rank: n_modes,
        warnings,
        clusters: vec![],
    };
    finish(reduced, raw, params)
}

/// How a rate is tied so that the fit stays real.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tie {
    /// Im ω = 0.
    Real,
    /// Im ω = π(L − 1): λ is negative.
    Nyquist,
    /// The exact conjugate of this other rate.
    Pair(usize),
}

/// Snapshots at depth coordinates, scaled to unit norm.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    n_layers: usize,
    rho: usize,
    /// L × ρ, layer after layer.
    data: Vec<f64>,
    norm: f64,
    tau: Vec<f64>,
    /// Layer steps over τ = 0…1.
    steps: f64,
    /// τ lies on the grid l / steps without gaps.
    even: bool,
    /// τ lies on that grid, with or without gaps.
    on_grid: bool,
    max_log_gain: f64,
}

/// The state of a fit.
#[derive(Debug, Clone)]
pub(super) struct Fit {
    rates: Vec<c64>,
    /// r × ρ.
    profiles: Vec<c64>,
    objective: f64,
    iterations: usize,
    pub(super) converged: bool,
}

/// Everything known at one ω.
struct Evaluation {
    /// L × r, column after column; columns beyond the rank of E are zero.
    q: Vec<c64>,
    /// E, in the same layout.
    columns: Vec<c64>,
    /// r × ρ.
    profiles: Vec<c64>,
    /// L × ρ.
    residual: Vec<c64>,
    objective: f64,
}

impl Problem {
    pub(super) fn new(snapshots: MatRef<f64>, tau: &[f64], max_gain: f64) -> Result<Self> {
        let (rho, n_layers) = (snapshots.nrows(), snapshots.ncols());
        check_tau(tau, n_layers)?;
        if !(max_gain > 1.0 && max_gain.is_finite()) {
            return Err(Error::Invalid {
                what: "max_gain".into(),
                expected: "a finite number above 1".into(),
                found: format!("{max_gain}"),
                hint: "the default is 1000".into(),
            });
        }
        let mut data: Vec<f64> =
            (0..n_layers).flat_map(|l| (0..rho).map(move |i| snapshots[(i, l)])).collect();
        let norm = data.iter().map(|x| x * x).sum::<f64>().sqrt();
        if !(norm > 0.0 && norm.is_finite()) {
            return Err(Error::ZeroVariance {
                what: "trajectory".into(),
                detail: "every snapshot is zero or not finite".into(),
                hint: "check the Gram matrix of the layers".into(),
            });
        }
        data.iter_mut().for_each(|x| *x /= norm);
        let steps = n_layers as f64 - 1.0;
        let near = |x: f64, y: f64| (x - y).abs() < 1e-9 * steps;
        let even = tau.iter().enumerate().all(|(l, t)| near(t * steps, l as f64));
        let on_grid = tau.iter().all(|t| near(t * steps, (t * steps).round()));
        Ok(Problem {
            n_layers,
            rho,
            data,
            norm,
            tau: tau.to_vec(),
            steps,
            even,
            on_grid,
            max_log_gain: max_gain.ln(),
        })
    }

    /// The same problem seen through some of its layers.
    pub(super) fn restrict(&self, layers: &[usize]) -> Problem {
        let rho = self.rho;
        Problem {
            n_layers: layers.len(),
            data: layers.iter().flat_map(|&l| self.data[l * rho..(l + 1) * rho].iter().copied()).collect(),
            tau: layers.iter().map(|&l| self.tau[l]).collect(),
            even: false,
            ..self.clone()
        }
    }

    /// λ = exp(ω / (L − 1)), exactly real where the rate is.
    pub(super) fn eigenvalue(&self, rate: c64) -> c64 {
        let modulus = (rate.re / self.steps).exp();
        if rate.im == 0.0 {
            c64::new(modulus, 0.0)
        } else if rate.im == self.fastest() && self.on_grid {
            c64::new(-modulus, 0.0)
        } else {
            c64::from_polar(modulus, rate.im / self.steps)
        }
    }

    /// Layer positions in steps, on the whole numbers where τ lies on the grid.
    fn positions(&self) -> Vec<f64> {
        let round = |p: f64| if self.on_grid { p.round() } else { p };
        self.tau.iter().map(|t| round(t * self.steps)).collect()
    }

    /// Largest |Im ω|: half a turn per layer.
    fn fastest(&self) -> f64 {
        std::f64::consts::PI * self.steps
    }

    pub(super) fn exponentials(&self, fit: &Fit) -> Exponentials {
        Exponentials {
            rates: fit.rates.clone(),
            profiles: Mat::from_fn(self.rho, fit.rates.len(), |i, k| {
                fit.profiles[k * self.rho + i] * self.norm
            }),
            residual: self.relative(fit.objective),
            iterations: fit.iterations,
            converged: fit.converged,
        }
    }

    fn relative(&self, objective: f64) -> f64 {
        let total: f64 = self.data.iter().map(|x| x * x).sum();
        (objective / total).sqrt()
    }

    /// Levenberg–Marquardt from the given rates.
    pub(super) fn fit(&self, start: &[c64]) -> Fit {
        let mut rates = start.to_vec();
        let ties = self.pair_up(&mut rates);
        self.constrain(&mut rates, &ties);
        let mut at = self.evaluate(&rates, &ties);
        let (mut damping, mut iterations, mut converged, mut idle) = (1.0, 0, false, 0);
        while iterations < MAX_ITERATIONS && !converged {
            iterations += 1;
            let normal = self.normal_equations(&at);
            let mut moved = false;
            for _ in 0..MAX_ATTEMPTS {
                let Some(step) = normal.step(damping) else {
                    damping *= 2.0;
                    continue;
                };
                let mut tried: Vec<c64> = rates.iter().zip(&step).map(|(w, d)| w + d).collect();
                self.constrain(&mut tried, &ties);
                let next = self.evaluate(&tried, &ties);
                let gain = (at.objective - next.objective) / normal.predicted(&step);
                if next.objective < at.objective {
                    let distance = length(&difference(&tried, &rates)) / (1.0 + length(&rates));
                    let decrease = 1.0 - next.objective / at.objective;
                    (rates, at, moved) = (tried, next, true);
                    damping *= (1.0 - (2.0 * gain - 1.0).powi(3)).clamp(1.0 / 3.0, 2.0);
                    idle = if decrease < TOLERANCE { idle + 1 } else { 0 };
                    converged = distance < TOLERANCE || idle >= 3;
                    break;
                }
                damping *= 2.0;
                // Damped this far, the step itself is negligible.
                if length(&step) < TOLERANCE * (1.0 + length(&rates)) {
                    break;
                }
            }
            // No step lowers the objective: a minimum to rounding.
            converged |= !moved;
        }
        Fit { profiles: at.profiles, objective: at.objective, rates, iterations, converged }
    }

    fn evaluate(&self, rates: &[c64], ties: &[Tie]) -> Evaluation {
        let (n, rho, r) = (self.n_layers, self.rho, rates.len());
        let zero = c64::new(0.0, 0.0);
        let mut columns = vec![zero; n * r];
        for (k, (&rate, column)) in rates.iter().zip(columns.chunks_exact_mut(n)).enumerate() {
            for (value, &t) in column.iter_mut().zip(&self.tau) {
                *value = match ties[k] {
                    Tie::Real => c64::new((rate.re * t).exp(), 0.0),
                    Tie::Nyquist => {
                        let odd = (t * self.steps).round().rem_euclid(2.0) == 1.0;
                        c64::new((rate.re * t).exp() * if odd { -1.0 } else { 1.0 }, 0.0)
                    }
                    Tie::Pair(_) => c64::from_polar((rate.re * t).exp(), rate.im * t),
                };
            }
        }
        let mut q = columns.clone();
        let mut upper = vec![zero; r * r];
        for k in 0..r {
            let (done, rest) = q.split_at_mut(k * n);
            let column = &mut rest[..n];
            let before = length(column);
            // Twice is enough for orthogonality to rounding.
            for _ in 0..2 {
                for (j, other) in done.chunks_exact(n).enumerate() {
                    let along = dot(other, column);
                    upper[j * r + k] += along;
                    subtract(column, along, other);
                }
            }
            let left = length(column);
            if left > n as f64 * f64::EPSILON * before {
                upper[k * r + k] = c64::new(left, 0.0);
                column.iter_mut().for_each(|x| *x /= left);
            } else {
                column.fill(zero);
            }
        }
        let mut residual: Vec<c64> = self.data.iter().map(|&x| c64::new(x, 0.0)).collect();
        let mut profiles = vec![zero; r * rho];
        for k in 0..r {
            let column = &q[k * n..(k + 1) * n];
            let row = &mut profiles[k * rho..(k + 1) * rho];
            for (factor, line) in column.iter().zip(residual.chunks_exact(rho)) {
                for (out, x) in row.iter_mut().zip(line) {
                    *out += factor.conj() * x;
                }
            }
            for (factor, line) in column.iter().zip(residual.chunks_exact_mut(rho)) {
                for (x, b) in line.iter_mut().zip(row.iter()) {
                    *x -= factor * b;
                }
            }
        }
        for k in (0..r).rev() {
            let (above, below) = profiles.split_at_mut((k + 1) * rho);
            let row = &mut above[k * rho..];
            let pivot = upper[k * r + k].re;
            if pivot == 0.0 {
                row.fill(zero);
                continue;
            }
            for (j, other) in below.chunks_exact(rho).enumerate() {
                subtract(row, upper[k * r + k + 1 + j], other);
            }
            row.iter_mut().for_each(|x| *x /= pivot);
        }
        let objective = residual.iter().map(|x| x.norm_sqr()).sum();
        // A step that overflows is refused like one that climbs.
        let objective = if f64::is_finite(objective) { objective } else { f64::INFINITY };
        Evaluation { q, columns, profiles, residual, objective }
    }

    fn normal_equations(&self, at: &Evaluation) -> NormalEquations {
        let (n, rho) = (self.n_layers, self.rho);
        let r = at.columns.len() / n;
        let mut projected = at.columns.clone();
        for column in projected.chunks_exact_mut(n) {
            for (value, &t) in column.iter_mut().zip(&self.tau) {
                *value *= t;
            }
            for _ in 0..2 {
                for other in at.q.chunks_exact(n) {
                    let along = dot(other, column);
                    subtract(column, along, other);
                }
            }
        }
        let mut matrix = vec![c64::new(0.0, 0.0); r * r];
        let mut gradient = vec![c64::new(0.0, 0.0); r];
        for j in 0..r {
            let (p, b) = (&projected[j * n..(j + 1) * n], &at.profiles[j * rho..(j + 1) * rho]);
            for k in 0..r {
                let (p_k, b_k) = (&projected[k * n..(k + 1) * n], &at.profiles[k * rho..(k + 1) * rho]);
                matrix[j * r + k] = dot(p, p_k) * dot(b, b_k);
            }
            for (factor, line) in p.iter().zip(at.residual.chunks_exact(rho)) {
                gradient[j] -= factor.conj() * dot(b, line);
            }
        }
        NormalEquations { matrix, gradient }
    }

    /// Tie every rate to its nature: real, negative, or the conjugate of another.
    ///
    /// Rates above the real axis are assigned to those below it at least Σ|ω_i − conj ω_j|; one that
    /// finds no partner becomes real.
    fn pair_up(&self, rates: &mut [c64]) -> Vec<Tie> {
        let mut ties = vec![Tie::Real; rates.len()];
        let nyquist = |w: c64| self.on_grid && (w.im.abs() - self.fastest()).abs() < 1e-9 * self.fastest();
        let complex = |w: &c64| w.im.abs() > REAL * w.norm();
        for (tie, rate) in ties.iter_mut().zip(rates.iter()) {
            if nyquist(*rate) {
                *tie = Tie::Nyquist;
            }
        }
        let side = |above: bool| -> Vec<usize> {
            (0..rates.len())
                .filter(|&k| ties[k] == Tie::Real && complex(&rates[k]) && (rates[k].im > 0.0) == above)
                .collect()
        };
        let (above, below) = (side(true), side(false));
        let size = above.len().max(below.len());
        let cost = Mat::from_fn(size, size, |i, j| match (above.get(i), below.get(j)) {
            (Some(&a), Some(&b)) => (rates[a] - rates[b].conj()).norm(),
            (Some(&a), None) => rates[a].im.abs(),
            (None, Some(&b)) => rates[b].im.abs(),
            (None, None) => 0.0,
        });
        for (i, j) in assignment(cost.as_ref()).into_iter().enumerate() {
            if let (Some(&a), Some(&b)) = (above.get(i), below.get(j)) {
                (ties[a], ties[b]) = (Tie::Pair(b), Tie::Pair(a));
            }
        }
        ties
    }

    /// Enforce ties, the cap on growth and the cap on turning.
    fn constrain(&self, rates: &mut [c64], ties: &[Tie]) {
        for k in 0..rates.len() {
            match ties[k] {
                Tie::Real => rates[k].im = 0.0,
                Tie::Nyquist => rates[k].im = self.fastest(),
                Tie::Pair(partner) if partner > k => {
                    let mean = (rates[k] + rates[partner].conj()) * 0.5;
                    rates[k] = mean;
                    rates[partner] = mean.conj();
                }
                Tie::Pair(_) => {}
            }
        }
        for (rate, tie) in rates.iter_mut().zip(ties) {
            rate.re = rate.re.clamp(-MAX_LOG_LOSS, self.max_log_gain);
            if let Tie::Pair(_) = tie {
                // Just short of half a turn, where a pair would become one column.
                let cap = self.fastest() * (1.0 - 1e-6);
                rate.im = rate.im.clamp(-cap, cap);
            }
        }
    }
}

/// Faster decay than exp(−500) over the depth is decay at once.
const MAX_LOG_LOSS: f64 = 500.0;

/// J*J and J*R.
struct NormalEquations {
    matrix: Vec<c64>,
    gradient: Vec<c64>,
}

impl NormalEquations {
    /// δ of (J*J + μ diag(d²)) δ = −J*R, by Cholesky after equilibration; `None` if not definite.
    fn step(&self, damping: f64) -> Option<Vec<c64>> {
        let r = self.gradient.len();
        let mut lower = self.matrix.clone();
        for k in 0..r {
            let scale = self.matrix[k * r + k].re.max(0.0).sqrt().clamp(1e-6, 1.0);
            lower[k * r + k] += damping * scale * scale;
        }
        let size: Vec<f64> = (0..r).map(|k| lower[k * r + k].re.sqrt()).collect();
        for i in 0..r {
            for j in 0..r {
                lower[i * r + j] /= size[i] * size[j];
            }
        }
        for j in 0..r {
            let pivot = lower[j * r + j].re - (0..j).map(|k| lower[j * r + k].norm_sqr()).sum::<f64>();
            if pivot.is_nan() || pivot <= f64::EPSILON {
                return None;
            }
            lower[j * r + j] = c64::new(pivot.sqrt(), 0.0);
            for i in j + 1..r {
                let done: c64 = (0..j).map(|k| lower[i * r + k] * lower[j * r + k].conj()).sum();
                lower[i * r + j] = (lower[i * r + j] - done) / pivot.sqrt();
            }
        }
        let mut x: Vec<c64> = self.gradient.iter().zip(&size).map(|(g, s)| -g / *s).collect();
        for i in 0..r {
            let done: c64 = (0..i).map(|k| lower[i * r + k] * x[k]).sum();
            x[i] = (x[i] - done) / lower[i * r + i].re;
        }
        for i in (0..r).rev() {
            let done: c64 = (i + 1..r).map(|k| lower[k * r + i].conj() * x[k]).sum();
            x[i] = (x[i] - done) / lower[i * r + i].re;
        }
        x.iter_mut().zip(&size).for_each(|(v, s)| *v /= *s);
        x.iter().all(|v| v.is_finite()).then_some(x)
    }

    /// ‖R‖² − ‖R + J δ‖².
    fn predicted(&self, step: &[c64]) -> f64 {
        let r = step.len();
        let linear: f64 = self.gradient.iter().zip(step).map(|(g, d)| (g.conj() * d).re).sum();
        let square: f64 = (0..r)
            .map(|i| (0..r).map(|j| (step[i].conj() * self.matrix[i * r + j] * step[j]).re).sum::<f64>())
            .sum();
        -2.0 * linear - square
    }
}

/// Rates of the standard DMD on an even grid.
fn standard_start(problem: &Problem, rank: usize) -> Result<Vec<c64>> {
    let (n, rho) = (problem.n_layers, problem.rho);
    let z = |shift: usize| Mat::from_fn(rho, n - 1, |i, l| problem.data[(l + shift) * rho + i]);
    let values = projected_eigenvalues(z(0).as_ref(), z(1).as_ref(), rank)?;
    Ok(values
        .iter()
        .map(|v| {
            let log_gain = v.norm().max(1e-8).ln() * problem.steps;
            let turn = if v.im == 0.0 && v.re < 0.0 { problem.fastest() } else { v.arg() * problem.steps };
            c64::new(log_gain, turn)
        })
        .collect())
}

/// Rates of the trapezoidal rule: slopes between layers regressed on their mid-points.
fn trapezoidal_start(problem: &Problem, rank: usize) -> Result<Vec<c64>> {
    let (n, rho) = (problem.n_layers, problem.rho);
    let z = |l: usize, i: usize| problem.data[l * rho + i];
    let middle = Mat::from_fn(rho, n - 1, |i, l| 0.5 * (z(l + 1, i) + z(l, i)));
    let slope =
        Mat::from_fn(rho, n - 1, |i, l| (z(l + 1, i) - z(l, i)) / (problem.tau[l + 1] - problem.tau[l]));
    projected_eigenvalues(middle.as_ref(), slope.as_ref(), rank)
}

/// Eigenvalues of Uᵀ Y V S⁻¹ for X = U S Vᵀ cut to `rank` (or to the numerical rank of X).
fn projected_eigenvalues(x: MatRef<f64>, y: MatRef<f64>, rank: usize) -> Result<Vec<c64>> {
    let Svd { u, s, v } = svd(x)?;
    let cut = s.first().copied().unwrap_or(0.0) * x.ncols() as f64 * f64::EPSILON;
    let kept = s.iter().take(rank).take_while(|value| **value > cut).count();
    let scaled = Mat::from_fn(v.nrows(), kept, |i, k| v[(i, k)] / s[k]);
    let operator = product(cross(u.get(.., ..kept), y).as_ref(), scaled.as_ref());
    Ok(eig(operator.as_ref())?.values)
}

fn check_tau(tau: &[f64], n_layers: usize) -> Result<()> {
    if tau.len() != n_layers || n_layers < 2 {
        return Err(Error::Shape {
            what: "tau".into(),
            expected: format!("{n_layers} depth coordinates (one per layer) of at least 2 layers"),
            found: format!("{}", tau.len()),
            hint: "leave out the coordinates of missing layers".into(),
        });
    }
    let ascending = tau.windows(2).all(|w| w[0] < w[1]);
    if !ascending || !tau.iter().all(|t| (0.0..=1.0).contains(t)) {
        return Err(Error::Invalid {
            what: "tau".into(),
            expected: "ascending numbers in [0, 1]".into(),
            found: format!("{tau:?}"),
            hint: "divide the depth of each layer by that of the last".into(),
        });
    }
    Ok(())
}

pub(super) fn check_rank(rank: usize, n_layers: usize) -> Result<()> {
    if rank == 0 || rank >= n_layers {
        return Err(Error::Invalid {
            what: "rank".into(),
            expected: format!("1 to {} (one less than layers)", n_layers - 1),
            found: format!("{rank}"),
            hint: "as many exponentials as layers fit anything".into(),
        });
    }
    Ok(())
}

/// Σ conj(a) b.
fn dot(a: &[c64], b: &[c64]) -> c64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        re += x.re * y.re + x.im * y.im;
        im += x.re * y.im - x.im * y.re;
    }
    c64::new(re, im)
}

/// a −= factor · b.
fn subtract(a: &mut [c64], factor: c64, b: &[c64]) {
    for (x, y) in a.iter_mut().zip(b) {
        x.re -= factor.re * y.re - factor.im * y.im;
        x.im -= factor.re * y.im + factor.im * y.re;
    }
}

fn length(a: &[c64]) -> f64 {
    a.iter().map(|x| x.norm_sqr()).sum::<f64>().sqrt()
}

fn difference(a: &[c64], b: &[c64]) -> Vec<c64> {
    a.iter().zip(b).map(|(x, y)| x - y).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::reduce::reduce;
    use stereotax_base::linalg::gram;
    use stereotax_base::stats::rng::Stream;

    fn c(re: f64, im: f64) -> c64 {
        c64::new(re, im)
    }

    /// A trajectory Σ_k x_k λ_k^p in 40 dimensions with the given noise; pairs are given by Im > 0.
    pub(crate) fn planted(values: &[c64], positions: &[f64], noise: f64, index: u64) -> Reduced {
        let mut stream = Stream::new(4, "optimised tests", index);
        let modes: Vec<Vec<c64>> =
            values.iter().map(|_| (0..40).map(|_| c(stream.normal(), stream.normal())).collect()).collect();
        let h = Mat::from_fn(40, positions.len(), |i, l| {
            let signal: f64 = values
                .iter()
                .zip(&modes)
                .map(|(v, x)| {
                    let power = c64::from_polar(v.norm().powf(positions[l]), v.arg() * positions[l]);
                    if v.im == 0.0 { x[i].re * power.re } else { 2.0 * (x[i] * power).re }
                })
                .sum();
            signal + noise * stream.normal()
        });
        reduce(gram(h.as_ref()).as_ref(), f64::EPSILON).unwrap()
    }

    fn even(n_layers: usize) -> Vec<f64> {
        (0..n_layers).map(|l| l as f64 / (n_layers as f64 - 1.0)).collect()
    }

    fn nearest(found: &[c64], value: c64) -> f64 {
        found.iter().map(|v| (v - value).norm()).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn known_eigenvalues_come_back() {
        let cases: [&[c64]; 5] = [
            &[c(0.98, 0.0), c(0.7, 0.0)],
            &[c(1.0, 0.0), c(0.8, 0.4)],
            &[c(0.95, 0.1), c(0.6, 0.5), c(1.05, 0.0)],
            &[c(0.9, 0.0), c(0.87, 0.0)],
            &[c(1.0, 0.0), c(-0.8, 0.0)],
        ];
        for (index, values) in cases.iter().enumerate() {
            let positions: Vec<f64> = (0..13).map(f64::from).collect();
            let reduced = planted(values, &positions, 0.0, index as u64);
            let rank = values.iter().map(|v| if v.im == 0.0 { 1 } else { 2 }).sum();
            let found = optimised_dmd(&reduced, &even(13), rank, &DepthDmdParams::default()).unwrap();
            assert!(found.fit.converged && found.fit.residual < 1e-8, "{index}: {:?}", found.fit.residual);
            for &value in *values {
                let error = nearest(&found.spectrum.eigenvalues, value);
                assert!(
                    error < if index == 3 { 1e-7 } else { 1e-10 },
                    "case {index}: {value} off by {error:e}"
                );
            }
            assert!(found.spectrum.reconstruction_error < 1e-7);
        }
    }

    #[test]
    fn uneven_depths_and_missing_layers_are_no_obstacle() {
        let values = [c(0.99, 0.0), c(0.85, 0.3)];
        for positions in [
            vec![0.0, 0.5, 1.7, 2.0, 3.1, 4.4, 6.0, 7.5, 8.0],
            vec![0.0, 1.0, 2.0, 4.0, 5.0, 7.0, 8.0, 9.0, 12.0],
        ] {
            let last = positions[8];
            let tau: Vec<f64> = positions.iter().map(|p| p / last).collect();
            let reduced = planted(&values, &positions, 0.0, 10);
            let found = optimised_dmd(&reduced, &tau, 3, &DepthDmdParams::default()).unwrap();
            for value in values {
                // λ is per step of 1/(L − 1) in τ.
                let expected = c64::from_polar(value.norm().powf(last / 8.0), value.arg() * last / 8.0);
                assert!(nearest(&found.spectrum.eigenvalues, expected) < 1e-9);
            }
        }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let positions: Vec<f64> = (0..9).map(f64::from).collect();
        let reduced = planted(&[c(0.9, 0.2), c(0.7, 0.0)], &positions, 0.5, 20);
        let problem = Problem::new(reduced.snapshots.as_ref(), &even(9), 1e3).unwrap();
        // Rates without any symmetry, away from the minimum.
        let rates = [c(-0.5, 1.9), c(-0.9, -1.4), c(-2.0, 0.3)];
        let ties = [Tie::Pair(1), Tie::Pair(0), Tie::Pair(2)];
        let gradient = problem.normal_equations(&problem.evaluate(&rates, &ties)).gradient;
        for k in 0..3 {
            let slope = |direction: c64| {
                let shifted = |h: f64| {
                    let mut moved = rates;
                    moved[k] += direction * h;
                    problem.evaluate(&moved, &ties).objective
                };
                (shifted(1e-5) - shifted(-1e-5)) / 2e-5
            };
            assert!((2.0 * gradient[k].re - slope(c(1.0, 0.0))).abs() < 1e-8);
            assert!((2.0 * gradient[k].im - slope(c(0.0, 1.0))).abs() < 1e-8);
            assert!(gradient[k].norm() > 1e-5, "the test point is not a minimum");
        }
    }

    #[test]
    fn a_noisy_fit_is_a_minimum_and_says_so() {
        let positions: Vec<f64> = (0..13).map(f64::from).collect();
        let reduced = planted(&[c(0.97, 0.0), c(0.8, 0.3)], &positions, 0.4, 30);
        let problem = Problem::new(reduced.snapshots.as_ref(), &even(13), 1e3).unwrap();
        let found = optimised_dmd(&reduced, &even(13), 3, &DepthDmdParams::default()).unwrap();
        assert!(found.fit.converged, "noise must not hinder convergence");
        assert!(found.fit.residual > 0.05);
        let mut rates = found.fit.rates.clone();
        let ties = problem.pair_up(&mut rates);
        let least = problem.evaluate(&rates, &ties).objective;
        assert!((problem.relative(least) - found.fit.residual).abs() < 1e-12);
        assert!((found.spectrum.reconstruction_error - found.fit.residual).abs() < 1e-10);
        for k in 0..3 {
            for shift in [c(1e-3, 0.0), c(-1e-3, 0.0), c(0.0, 1e-3), c(0.0, -1e-3)] {
                let mut moved = rates.clone();
                moved[k] += shift;
                if let Tie::Pair(partner) = ties[k] {
                    moved[partner] += shift.conj();
                }
                problem.constrain(&mut moved, &ties);
                assert!(problem.evaluate(&moved, &ties).objective >= least - 1e-15);
            }
        }
    }

    #[test]
    fn growth_is_capped() {
        let positions: Vec<f64> = (0..9).map(f64::from).collect();
        let reduced = planted(&[c(4.0, 0.0), c(0.9, 0.0)], &positions, 0.0, 40);
        let params = DepthDmdParams { max_gain: 50.0, ..Default::default() };
        let found = optimised_dmd(&reduced, &even(9), 2, &params).unwrap();
        assert!(found.fit.rates.iter().all(|w| w.re <= 50f64.ln() + 1e-12), "{:?}", found.fit.rates);
        assert!(optimised_dmd(&reduced, &even(9), 2, &DepthDmdParams { max_gain: 0.5, ..params }).is_err());
    }

    #[test]
    fn partners_are_found_by_assignment_and_orphans_become_real() {
        let reduced = planted(&[c(0.9, 0.0)], &[0.0, 1.0, 2.0, 3.0], 0.1, 50);
        let problem = Problem::new(reduced.snapshots.as_ref(), &even(4), 1e3).unwrap();
        let mut rates = [c(0.0, 1.0), c(-1.0, -2.1), c(0.1, -0.9), c(-1.0, 2.0), c(3.0, 0.2)];
        let ties = problem.pair_up(&mut rates);
        assert_eq!(ties, [Tie::Pair(2), Tie::Pair(3), Tie::Pair(0), Tie::Pair(1), Tie::Real]);
        problem.constrain(&mut rates, &ties);
        assert_eq!(rates[0], rates[2].conj());
        assert!((rates[0] - c(0.05, 0.95)).norm() < 1e-15);
        assert_eq!(rates[4], c(3.0, 0.0));
    }

    #[test]
    fn impossible_requests_are_refused() {
        let reduced = planted(&[c(0.9, 0.0)], &[0.0, 1.0, 2.0, 3.0], 0.1, 60);
        let fit = |tau: &[f64], rank| optimised_dmd(&reduced, tau, rank, &DepthDmdParams::default());
        assert!(matches!(fit(&even(4), 0), Err(Error::Invalid { .. })));
        assert!(matches!(fit(&even(4), 4), Err(Error::Invalid { .. })));
        assert!(matches!(fit(&even(5), 1), Err(Error::Shape { .. })));
        assert!(matches!(fit(&[0.0, 0.5, 0.4, 1.0], 1), Err(Error::Invalid { .. })));
    }
}
