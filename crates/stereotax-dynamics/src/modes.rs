//! Turn eigenvalues and modes into a full [`DepthSpectrum`]: amplitudes, energies, the stable mode and
//! its layer weights.
//!
//! With Z (ρ × L) the reduced snapshots, φ_k = Z c_k the modes (c_k: layer coefficients), λ_k the
//! eigenvalues and p_l the depth positions (p_l = l unless given):
//!
//! ```text
//! Z ≈ Φ diag(b) V,   V[k, l] = λ_k^{p_l}
//! optimal b:   ((Φ*Φ) ∘ conj(V V*)) b = conj(diag(V Z* Φ))          (least squares over all L)
//! energy:      E_k = |b_k|² ‖φ_k‖² Σ_l |λ_k|^{2 p_l} / tr(ZᵀZ)
//! weights:     w_l = Re Σ_{k ∈ selected} b_k c_k[l],   S = Σ_l w_l H_l
//! ```
//!
//! Rows of V are divided by their largest modulus before anything is squared, so that no eigenvalue
//! can overflow. Source: Jovanović, Schmid & Nichols 2014 (amplitudes); specs: nfas-dmd 5.3, 6, 7.
//! Cost: O(L² m + m³) for m modes.

use faer::{Mat, MatRef, c64};

use super::defective::{ClusterModes, finish_clusters};
use super::reduce::Reduced;
use super::spectrum::{Amplitude, DepthDmdParams, DepthSpectrum, Selection};
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::eigh;

/// Directions of the amplitude system below this share of its largest eigenvalue are cut.
const AMPLITUDE_CUT: f64 = 1e-12;
/// Criteria closer than this are a tie.
const TIE: f64 = 1e-6;
/// Above this residual an eigenvalue is doubtful, and above the second one meaningless.
const DOUBTFUL: f64 = 0.3;
const UNRELIABLE: f64 = 0.6;

/// What an estimator hands over: eigenvalues with modes as layer coefficients of any scale.
#[derive(Debug, Clone)]
pub struct RawModes {
    /// One per mode, in any order; complex ones in conjugate pairs.
    pub eigenvalues: Vec<c64>,
    /// L × modes: φ_k = Σ_l coefficients[(l, k)] · H_l.
    pub coefficients: Mat<c64>,
    /// ‖Aφ − λφ‖/‖φ‖ per mode; NaN where there is no operator.
    pub residuals: Vec<f64>,
    /// Amplitudes that belong to these coefficients; `None` fits them as the parameters say.
    pub amplitudes: Option<Vec<c64>>,
    /// Exponent of λ at each layer; `None` is 0, 1, …, L − 1. With depth coordinates τ it is τ·(L − 1).
    pub positions: Option<Vec<f64>>,
    /// Rank of the fit.
    pub rank: usize,
    /// What the estimator has to say.
    pub warnings: Vec<String>,
    /// Invariant subspaces that stand in for the modes of a defective operator; the fields above then
    /// hold its eigenvectors, which mean nothing. Empty for any other.
    pub(super) clusters: Vec<ClusterModes>,
}

/// One choice: a real mode, or a conjugate pair (Im > 0 first).
#[derive(Debug, Clone, Copy)]
struct Unit {
    first: usize,
    second: Option<usize>,
}

/// Complete a spectrum: normalise and order the modes, fit amplitudes, choose the stable mode.
///
/// Modes come out with unit length, the coefficient of largest modulus real and positive, in order of
/// descending |λ|. The energy of a pair, where it counts against `min_energy`, is that of both members.
/// Errors: `Modulus` amplitudes (not linear in the layers), `MinResidual` without residuals, sizes
/// that disagree, no mode at all.
pub fn finish(reduced: &Reduced, raw: RawModes, params: &DepthDmdParams) -> Result<DepthSpectrum> {
    check(reduced, &raw, params)?;
    if !raw.clusters.is_empty() {
        return finish_clusters(reduced, &raw.clusters, raw.rank, raw.warnings, params);
    }
    let n_layers = reduced.n_layers();
    let positions: Vec<f64> =
        raw.positions.clone().unwrap_or_else(|| (0..n_layers).map(|l| l as f64).collect());
    let ordered = order(raw);
    let units = ordered.units;
    let mut raw = ordered.raw;
    let mut warnings = std::mem::take(&mut raw.warnings);

    let modes = normalise(reduced, &mut raw, &units);
    let vandermonde = Vandermonde::new(&raw.eigenvalues, &positions);
    let amplitudes = match (&raw.amplitudes, params.amplitude) {
        (Some(given), _) => {
            given.iter().zip(&vandermonde.log_scale).map(|(b, s)| *b * s.exp()).collect::<Vec<_>>()
        }
        (None, Amplitude::First) => first_amplitudes(reduced, &modes, &vandermonde)?,
        (None, _) => optimal_amplitudes(reduced, &modes, &vandermonde)?,
    };
    let amplitudes = mirror_pairs(amplitudes, &units);
    let energies = energies(&amplitudes, &modes, &vandermonde, reduced.energy());
    let reconstruction_error = reconstruction_error(reduced, &modes, &amplitudes, &vandermonde);
    let amplitudes: Vec<c64> =
        amplitudes.iter().zip(&vandermonde.log_scale).map(|(b, s)| *b * (-s).exp()).collect();

    let chosen = select(&raw.eigenvalues, &raw.residuals, &energies, &units, n_layers, params)?;
    warnings.extend(chosen.warnings);
    let worst = chosen.units.iter().map(|u| raw.residuals[u.first]).fold(0.0, f64::max);
    warnings.extend(trouble(worst));
    let selected: Vec<usize> =
        chosen.units.iter().flat_map(|u| std::iter::once(u.first).chain(u.second)).collect();
    let weights = match params.amplitude {
        Amplitude::ModeOnly => mode_only_weights(reduced, &raw.coefficients, &modes, &selected),
        _ => weights(&raw.coefficients, &amplitudes, &selected),
    };
    Ok(DepthSpectrum {
        eigenvalues: raw.eigenvalues,
        coefficients: raw.coefficients,
        amplitudes,
        energies,
        residuals: raw.residuals,
        selected,
        weights,
        rank: raw.rank,
        numerical_rank: reduced.numerical_rank,
        runner_up: chosen.runner_up.map(|(unit, margin)| (unit.first, margin)),
        reconstruction_error,
        consensus: None,
        windows: Vec::new(),
        window_of: Vec::new(),
        warnings,
    })
}

/// What to say of a selected mode with this residual.
pub(super) fn trouble(residual: f64) -> Option<String> {
    if residual > UNRELIABLE {
        Some(format!("the selected mode is unreliable: its residual is {residual:.2} (above 0.6)"))
    } else if residual > DOUBTFUL {
        Some(format!("the selected mode is doubtful: its residual is {residual:.2} (above 0.3)"))
    } else {
        None
    }
}

fn check(reduced: &Reduced, raw: &RawModes, params: &DepthDmdParams) -> Result<()> {
    let n_modes = raw.eigenvalues.len();
    let n_layers = reduced.n_layers();
    let sizes_agree = raw.coefficients.nrows() == n_layers
        && raw.coefficients.ncols() == n_modes
        && raw.residuals.len() == n_modes
        && raw.amplitudes.as_ref().is_none_or(|b| b.len() == n_modes)
        && raw.positions.as_ref().is_none_or(|p| p.len() == n_layers);
    if !sizes_agree || n_modes == 0 {
        return Err(Error::Shape {
            what: "modes".into(),
            expected: format!(
                "at least one mode with {n_layers} layer coefficients, an eigenvalue and a residual"
            ),
            found: format!(
                "{} × {} coefficients, {n_modes} eigenvalues, {} residuals",
                raw.coefficients.nrows(),
                raw.coefficients.ncols(),
                raw.residuals.len()
            ),
            hint: "the estimator must give one column of coefficients per eigenvalue".into(),
        });
    }
    if let Some(bad) = raw.eigenvalues.iter().position(|z| !z.is_finite()) {
        return Err(Error::NoConvergence {
            what: "depth DMD".into(),
            detail: format!("eigenvalue {bad} is {}", raw.eigenvalues[bad]),
        });
    }
    if params.amplitude == Amplitude::Modulus {
        return Err(Error::Invalid {
            what: "amplitude".into(),
            expected: "optimal, first or mode_only for a trajectory of all samples".into(),
            found: "modulus".into(),
            hint: "the modulus of a mode is not a weighting of layers; use the per-sample trajectory".into(),
        });
    }
    if params.select == Selection::MinResidual && raw.residuals.iter().all(|r| r.is_nan()) {
        return Err(Error::Invalid {
            what: "select".into(),
            expected: "a rule that needs no residual: this estimator has no operator to take one of".into(),
            found: "min_residual".into(),
            hint: "select closest_to_one, or use the standard estimator".into(),
        });
    }
    Ok(())
}

struct Ordered {
    raw: RawModes,
    units: Vec<Unit>,
}

/// Put conjugate partners side by side and sort by descending |λ|, then descending real part.
fn order(raw: RawModes) -> Ordered {
    let n_modes = raw.eigenvalues.len();
    let value = |k: usize| raw.eigenvalues[k];
    let mut taken = vec![false; n_modes];
    let mut units: Vec<Unit> = Vec::new();
    for k in 0..n_modes {
        if taken[k] || value(k).im <= 0.0 {
            continue;
        }
        let partner = (0..n_modes)
            .filter(|&j| !taken[j] && value(j).im < 0.0)
            .map(|j| (j, (value(j) - value(k).conj()).norm()))
            .filter(|(_, gap)| *gap <= 1e-6 * value(k).norm())
            .min_by(|a, b| a.1.total_cmp(&b.1));
        taken[k] = true;
        if let Some((j, _)) = partner {
            taken[j] = true;
        }
        units.push(Unit { first: k, second: partner.map(|(j, _)| j) });
    }
    units.extend((0..n_modes).filter(|&k| !taken[k]).map(|k| Unit { first: k, second: None }));
    units.sort_by(|a, b| {
        let (x, y) = (value(a.first), value(b.first));
        y.norm().total_cmp(&x.norm()).then(y.re.total_cmp(&x.re)).then(a.first.cmp(&b.first))
    });
    let from: Vec<usize> = units.iter().flat_map(|u| std::iter::once(u.first).chain(u.second)).collect();
    let mut next = 0;
    for unit in &mut units {
        *unit = Unit { first: next, second: unit.second.map(|_| next + 1) };
        next += 1 + usize::from(unit.second.is_some());
    }
    let raw = RawModes {
        eigenvalues: from.iter().map(|&k| raw.eigenvalues[k]).collect(),
        coefficients: Mat::from_fn(raw.coefficients.nrows(), n_modes, |l, k| raw.coefficients[(l, from[k])]),
        residuals: from.iter().map(|&k| raw.residuals[k]).collect(),
        amplitudes: raw.amplitudes.map(|b| from.iter().map(|&k| b[k]).collect()),
        ..raw
    };
    Ordered { raw, units }
}

/// Scale every mode to unit length and turn its largest coefficient real and positive; returns Φ (ρ × m).
fn normalise(reduced: &Reduced, raw: &mut RawModes, units: &[Unit]) -> Mat<c64> {
    let n_layers = reduced.n_layers();
    for k in 0..raw.eigenvalues.len() {
        let length =
            column_norm(real_times(reduced.snapshots.as_ref(), raw.coefficients.as_ref(), k).as_slice());
        let largest = (0..n_layers)
            .map(|l| raw.coefficients[(l, k)])
            .fold(c64::new(0.0, 0.0), |best, c| if c.norm() > best.norm() { c } else { best });
        if length <= 0.0 || largest.norm() <= 0.0 {
            continue;
        }
        let turn = largest.conj() / largest.norm();
        for l in 0..n_layers {
            let turned = raw.coefficients[(l, k)] * turn / length;
            // A real mode is real to the last bit.
            let real = raw.eigenvalues[k].im == 0.0;
            raw.coefficients[(l, k)] = if real { c64::new(turned.re, 0.0) } else { turned };
        }
        if let Some(b) = &mut raw.amplitudes {
            b[k] = b[k] * turn.conj() * length;
        }
    }
    for unit in units {
        if let Some(second) = unit.second {
            raw.eigenvalues[second] = raw.eigenvalues[unit.first].conj();
            for l in 0..n_layers {
                raw.coefficients[(l, second)] = raw.coefficients[(l, unit.first)].conj();
            }
        }
    }
    let columns: Vec<Vec<c64>> = (0..raw.eigenvalues.len())
        .map(|k| real_times(reduced.snapshots.as_ref(), raw.coefficients.as_ref(), k))
        .collect();
    Mat::from_fn(reduced.snapshots.nrows(), columns.len(), |i, k| columns[k][i])
}

/// A · column k of B for real A and complex B.
pub(super) fn real_times(a: MatRef<f64>, b: MatRef<c64>, k: usize) -> Vec<c64> {
    let mut out = vec![c64::new(0.0, 0.0); a.nrows()];
    for l in 0..a.ncols() {
        let factor = b[(l, k)];
        for (i, o) in out.iter_mut().enumerate() {
            *o += factor * a[(i, l)];
        }
    }
    out
}

pub(super) fn column_norm(x: &[c64]) -> f64 {
    x.iter().map(|z| z.norm_sqr()).sum::<f64>().sqrt()
}

/// λ_k^{p_l} divided by max_l |λ_k|^{p_l}, with the logarithm of that divisor.
struct Vandermonde {
    /// m × L.
    scaled: Mat<c64>,
    log_scale: Vec<f64>,
}

impl Vandermonde {
    fn new(eigenvalues: &[c64], positions: &[f64]) -> Self {
        let log_scale: Vec<f64> = eigenvalues
            .iter()
            .map(|z| {
                let log = z.norm().ln();
                // 0⁰ = 1 is the largest power of an eigenvalue of zero.
                positions
                    .iter()
                    .filter(|p| **p != 0.0)
                    .map(|p| p * log)
                    .fold(if positions.contains(&0.0) { 0.0 } else { f64::NEG_INFINITY }, f64::max)
            })
            .map(|s| if s.is_finite() { s } else { 0.0 })
            .collect();
        let scaled = Mat::from_fn(eigenvalues.len(), positions.len(), |k, l| {
            let (z, p) = (eigenvalues[k], positions[l]);
            if p == 0.0 {
                return c64::new((-log_scale[k]).exp(), 0.0);
            }
            if z.norm() == 0.0 {
                return c64::new(0.0, 0.0);
            }
            let modulus = (p * z.norm().ln() - log_scale[k]).exp();
            if z.im == 0.0 && p.fract() == 0.0 {
                let sign = if z.re < 0.0 && p.rem_euclid(2.0) == 1.0 { -1.0 } else { 1.0 };
                return c64::new(sign * modulus, 0.0);
            }
            c64::from_polar(modulus, p * z.arg())
        });
        Vandermonde { scaled, log_scale }
    }
}

/// The b that minimises ‖Z − Φ diag(b) V‖_F for the scaled V.
fn optimal_amplitudes(reduced: &Reduced, modes: &Mat<c64>, vandermonde: &Vandermonde) -> Result<Vec<c64>> {
    let (m, n_layers) = (modes.ncols(), reduced.n_layers());
    let v = &vandermonde.scaled;
    let projections = projections(reduced.snapshots.as_ref(), modes);
    let p = Mat::from_fn(m, m, |j, k| {
        let overlap: c64 = (0..modes.nrows()).map(|i| modes[(i, j)].conj() * modes[(i, k)]).sum();
        let times: c64 = (0..n_layers).map(|l| v[(j, l)].conj() * v[(k, l)]).sum();
        overlap * times
    });
    let q: Vec<c64> =
        (0..m).map(|k| (0..n_layers).map(|l| v[(k, l)].conj() * projections[(k, l)]).sum()).collect();
    solve_hermitian(p.as_ref(), &q)
}

/// The b that minimises ‖z₀ − Φ diag(v₀) b‖.
fn first_amplitudes(reduced: &Reduced, modes: &Mat<c64>, vandermonde: &Vandermonde) -> Result<Vec<c64>> {
    let m = modes.ncols();
    let v = &vandermonde.scaled;
    let projections = projections(reduced.snapshots.as_ref(), modes);
    let p = Mat::from_fn(m, m, |j, k| {
        let overlap: c64 = (0..modes.nrows()).map(|i| modes[(i, j)].conj() * modes[(i, k)]).sum();
        v[(j, 0)].conj() * overlap * v[(k, 0)]
    });
    let q: Vec<c64> = (0..m).map(|k| v[(k, 0)].conj() * projections[(k, 0)]).collect();
    solve_hermitian(p.as_ref(), &q)
}

/// Φ* Z (m × L).
fn projections(snapshots: MatRef<f64>, modes: &Mat<c64>) -> Mat<c64> {
    Mat::from_fn(modes.ncols(), snapshots.ncols(), |k, l| {
        (0..modes.nrows()).map(|i| modes[(i, k)].conj() * snapshots[(i, l)]).sum()
    })
}

/// Solve P b = q for Hermitian positive semidefinite P: by Cholesky where P is well away from
/// singular, and by the solution of least norm with cut 10⁻¹² where it is not.
pub(super) fn solve_hermitian(p: MatRef<c64>, q: &[c64]) -> Result<Vec<c64>> {
    let m = q.len();
    // Equilibrate, so that the cut compares directions and not units.
    let scale: Vec<f64> =
        (0..m).map(|k| if p[(k, k)].re > 0.0 { p[(k, k)].re.sqrt() } else { 1.0 }).collect();
    let a = Mat::from_fn(m, m, |i, j| p[(i, j)] / (scale[i] * scale[j]));
    let rhs: Vec<c64> = q.iter().zip(&scale).map(|(z, s)| *z / *s).collect();
    let solution = match cholesky(a.as_ref(), &rhs) {
        Some(solution) => solution,
        None => least_norm(a.as_ref(), &rhs)?,
    };
    Ok(solution.iter().zip(&scale).map(|(z, s)| *z / *s).collect())
}

fn cholesky(a: MatRef<c64>, rhs: &[c64]) -> Option<Vec<c64>> {
    let m = rhs.len();
    let mut lower = Mat::<c64>::zeros(m, m);
    for j in 0..m {
        let pivot = a[(j, j)].re - (0..j).map(|i| lower[(j, i)].norm_sqr()).sum::<f64>();
        if pivot <= 1e-8 {
            return None;
        }
        lower[(j, j)] = c64::new(pivot.sqrt(), 0.0);
        for i in j + 1..m {
            let done: c64 = (0..j).map(|k| lower[(i, k)] * lower[(j, k)].conj()).sum();
            lower[(i, j)] = (a[(i, j)] - done) / pivot.sqrt();
        }
    }
    let mut x = rhs.to_vec();
    for i in 0..m {
        let done: c64 = (0..i).map(|k| lower[(i, k)] * x[k]).sum();
        x[i] = (x[i] - done) / lower[(i, i)].re;
    }
    for i in (0..m).rev() {
        let done: c64 = (i + 1..m).map(|k| lower[(k, i)].conj() * x[k]).sum();
        x[i] = (x[i] - done) / lower[(i, i)].re;
    }
    Some(x)
}

/// Through the real symmetric form [Re −Im; Im Re], whose eigenvalues are those of A, twice each.
fn least_norm(a: MatRef<c64>, rhs: &[c64]) -> Result<Vec<c64>> {
    let m = rhs.len();
    let real = Mat::from_fn(2 * m, 2 * m, |i, j| {
        let z = a[(i % m, j % m)];
        match (i < m, j < m) {
            (true, true) | (false, false) => z.re,
            (true, false) => -z.im,
            (false, true) => z.im,
        }
    });
    let decomposed = eigh(real.as_ref())?;
    let mut x = vec![0.0; 2 * m];
    let cut = AMPLITUDE_CUT * decomposed.values[0];
    for (k, &value) in decomposed.values.iter().enumerate().take_while(|(_, w)| **w > cut && **w > 0.0) {
        let along: f64 = (0..2 * m)
            .map(|i| decomposed.vectors[(i, k)] * if i < m { rhs[i].re } else { rhs[i - m].im })
            .sum();
        for (i, out) in x.iter_mut().enumerate() {
            *out += along / value * decomposed.vectors[(i, k)];
        }
    }
    Ok((0..m).map(|i| c64::new(x[i], x[m + i])).collect())
}

/// Make amplitudes of partners exact conjugates and those of real modes real.
fn mirror_pairs(mut amplitudes: Vec<c64>, units: &[Unit]) -> Vec<c64> {
    for unit in units {
        if let Some(second) = unit.second {
            let mean = (amplitudes[unit.first] + amplitudes[second].conj()) * 0.5;
            amplitudes[unit.first] = mean;
            amplitudes[second] = mean.conj();
        }
    }
    amplitudes
}

fn energies(amplitudes: &[c64], modes: &Mat<c64>, vandermonde: &Vandermonde, total: f64) -> Vec<f64> {
    let v = &vandermonde.scaled;
    (0..amplitudes.len())
        .map(|k| {
            let length: f64 = (0..modes.nrows()).map(|i| modes[(i, k)].norm_sqr()).sum();
            let powers: f64 = (0..v.ncols()).map(|l| v[(k, l)].norm_sqr()).sum();
            amplitudes[k].norm_sqr() * length * powers / total
        })
        .collect()
}

fn reconstruction_error(
    reduced: &Reduced,
    modes: &Mat<c64>,
    amplitudes: &[c64],
    vandermonde: &Vandermonde,
) -> f64 {
    let (z, v) = (&reduced.snapshots, &vandermonde.scaled);
    let mut missed = 0.0;
    for l in 0..z.ncols() {
        for i in 0..z.nrows() {
            let made: c64 = (0..amplitudes.len()).map(|k| modes[(i, k)] * amplitudes[k] * v[(k, l)]).sum();
            missed += (made - z[(i, l)]).norm_sqr();
        }
    }
    (missed / reduced.energy()).sqrt()
}

/// A choice among modes that stand in order, conjugate partners side by side with Im > 0 first.
pub(super) struct ChosenModes {
    /// Indices of the stable mode.
    pub selected: Vec<usize>,
    /// Second-best choice and how much worse its criterion is.
    pub runner_up: Option<(usize, f64)>,
    /// What the choice has to say.
    pub warnings: Vec<String>,
}

/// Apply the selection rule to modes of any trajectory.
pub(super) fn choose_modes(
    eigenvalues: &[c64],
    residuals: &[f64],
    energies: &[f64],
    n_layers: usize,
    params: &DepthDmdParams,
) -> Result<ChosenModes> {
    let units: Vec<Unit> = (0..eigenvalues.len())
        .filter(|&k| eigenvalues[k].im >= 0.0)
        .map(|k| Unit { first: k, second: (eigenvalues[k].im > 0.0).then_some(k + 1) })
        .collect();
    choose(eigenvalues, residuals, energies, &units, n_layers, params)
}

/// Apply the selection rule to clusters: one eigenvalue stands for each, conjugates included.
pub(super) fn choose_clusters(
    eigenvalues: &[c64],
    residuals: &[f64],
    energies: &[f64],
    n_layers: usize,
    params: &DepthDmdParams,
) -> Result<ChosenModes> {
    let units: Vec<Unit> = (0..eigenvalues.len()).map(|k| Unit { first: k, second: None }).collect();
    choose(eigenvalues, residuals, energies, &units, n_layers, params)
}

fn choose(
    eigenvalues: &[c64],
    residuals: &[f64],
    energies: &[f64],
    units: &[Unit],
    n_layers: usize,
    params: &DepthDmdParams,
) -> Result<ChosenModes> {
    let chosen = select(eigenvalues, residuals, energies, units, n_layers, params)?;
    Ok(ChosenModes {
        selected: chosen.units.iter().flat_map(|u| std::iter::once(u.first).chain(u.second)).collect(),
        runner_up: chosen.runner_up.map(|(unit, margin)| (unit.first, margin)),
        warnings: chosen.warnings,
    })
}

struct Chosen {
    units: Vec<Unit>,
    runner_up: Option<(Unit, f64)>,
    warnings: Vec<String>,
}

/// What the rules look at.
#[derive(Clone, Copy)]
struct Candidate {
    unit: Unit,
    value: c64,
    residual: f64,
    energy: f64,
    criterion: f64,
}

fn select(
    eigenvalues: &[c64],
    residuals: &[f64],
    energies: &[f64],
    units: &[Unit],
    n_layers: usize,
    params: &DepthDmdParams,
) -> Result<Chosen> {
    let mut warnings = Vec::new();
    let candidates = |rule: Selection, least_energy: f64| -> Vec<Candidate> {
        units
            .iter()
            .map(|&unit| {
                let energy = energies[unit.first] + unit.second.map_or(0.0, |k| energies[k]);
                let (value, residual) = (eigenvalues[unit.first], residuals[unit.first]);
                let criterion = criterion(rule, value, residual, energy, n_layers);
                Candidate { unit, value, residual, energy, criterion }
            })
            .filter(|c| c.energy >= least_energy && c.energy.is_finite())
            .filter(|c| c.criterion.is_finite())
            .collect()
    };
    if let Selection::Band { gain } | Selection::MaxEnergyInBand { gain } = params.select
        && !(gain > 1.0 && gain.is_finite())
    {
        return Err(Error::Invalid {
            what: "gain".into(),
            expected: "a finite number above 1".into(),
            found: gain.to_string(),
            hint: "2 admits modes that at most double or halve over the depth".into(),
        });
    }
    let mut rule = params.select;
    let in_rule = |rule: Selection, found: &[Candidate]| match rule {
        Selection::Band { .. } => found.iter().any(|c| c.criterion <= 1.0),
        _ => !found.is_empty(),
    };
    let mut found = candidates(rule, params.min_energy);
    if !in_rule(rule, &found) {
        found = candidates(rule, 0.0);
        if in_rule(rule, &found) {
            warnings.push(format!(
                "no mode that `{}` admits reached the energy threshold {}; it was dropped",
                name(rule),
                params.min_energy
            ));
        } else {
            warnings.push(format!("no mode satisfies `{}`; closest_to_one was used instead", name(rule)));
            rule = Selection::ClosestToOne;
            found = candidates(rule, params.min_energy);
            if found.is_empty() {
                warnings.push(format!(
                    "no mode reached the energy threshold {}; it was dropped",
                    params.min_energy
                ));
                found = candidates(rule, 0.0);
            }
        }
    }
    if found.is_empty() {
        return Err(Error::NoConvergence {
            what: "depth DMD".into(),
            detail: "no mode has a finite energy".into(),
        });
    }
    if let Selection::Band { .. } = rule {
        let (inside, outside): (Vec<Candidate>, Vec<Candidate>) =
            found.into_iter().partition(|c| c.criterion <= 1.0);
        let runner_up = best(&outside).map(|c| (c.unit, c.criterion - 1.0));
        return Ok(Chosen { units: inside.iter().map(|c| c.unit).collect(), runner_up, warnings });
    }
    let mut units = Vec::new();
    let mut runner_up = None;
    if let Some(winner) = best(&found) {
        units.push(winner.unit);
        let others: Vec<Candidate> =
            found.into_iter().filter(|c| c.unit.first != winner.unit.first).collect();
        runner_up = best(&others).map(|c| (c.unit, c.criterion - winner.criterion));
    }
    Ok(Chosen { units, runner_up, warnings })
}

/// The number that a rule makes as small as possible; infinite where the rule does not admit the mode.
fn criterion(rule: Selection, value: c64, residual: f64, energy: f64, n_layers: usize) -> f64 {
    let band = |gain: f64| {
        let steps = n_layers as f64 - 1.0;
        let growth = value.norm().ln().abs() * steps / gain.ln();
        growth.max(value.arg().abs() * steps / std::f64::consts::FRAC_PI_2)
    };
    match rule {
        Selection::ClosestToOne => (value - 1.0).norm(),
        Selection::UnitCircle => (value.norm() - 1.0).abs(),
        Selection::Slowest => value.norm().ln().hypot(value.arg()),
        Selection::Band { gain } => band(gain),
        Selection::DecayingSlowest if value.norm() <= 1.0 + 1e-3 => -value.norm(),
        Selection::DecayingSlowest => f64::INFINITY,
        Selection::MaxEnergyInBand { gain } if band(gain) <= 1.0 => -energy,
        Selection::MaxEnergyInBand { .. } => f64::INFINITY,
        Selection::MinResidual => residual,
    }
}

fn name(rule: Selection) -> &'static str {
    match rule {
        Selection::ClosestToOne => "closest_to_one",
        Selection::UnitCircle => "unit_circle",
        Selection::Slowest => "slowest",
        Selection::Band { .. } => "band",
        Selection::DecayingSlowest => "decaying_slowest",
        Selection::MaxEnergyInBand { .. } => "max_energy_in_band",
        Selection::MinResidual => "min_residual",
    }
}

/// The candidate of least criterion; among ties the smaller residual, then the larger energy, then
/// the smaller |Im|, then the earlier one.
fn best(candidates: &[Candidate]) -> Option<Candidate> {
    let least = |from: Vec<Candidate>, of: &dyn Fn(&Candidate) -> f64, within: f64| -> Vec<Candidate> {
        let lowest = from.iter().map(of).fold(f64::INFINITY, f64::min);
        if lowest.is_infinite() {
            return from;
        }
        from.into_iter().filter(|c| of(c) <= lowest + within).collect()
    };
    let tied = least(candidates.to_vec(), &|c| c.criterion, TIE);
    let tied = least(tied, &|c| if c.residual.is_nan() { f64::INFINITY } else { c.residual }, 1e-9);
    let tied = least(tied, &|c| -c.energy, 1e-9);
    let tied = least(tied, &|c| c.value.im.abs(), 0.0);
    tied.first().copied()
}

/// w_l = Re Σ b_k c_k[l]; invariant to the scale and phase of the modes.
fn weights(coefficients: &Mat<c64>, amplitudes: &[c64], selected: &[usize]) -> Vec<f64> {
    (0..coefficients.nrows())
        .map(|l| selected.iter().map(|&k| (amplitudes[k] * coefficients[(l, k)]).re).sum())
        .collect()
}

/// The unit modes themselves, each turned so that its product with the mean layer is real and positive.
fn mode_only_weights(
    reduced: &Reduced,
    coefficients: &Mat<c64>,
    modes: &Mat<c64>,
    selected: &[usize],
) -> Vec<f64> {
    let z = &reduced.snapshots;
    let n_layers = reduced.n_layers();
    let mean: Vec<f64> = (0..z.nrows()).map(|i| z.row(i).iter().sum::<f64>() / n_layers as f64).collect();
    let turns: Vec<c64> = (0..modes.ncols())
        .map(|k| {
            let product: c64 = mean.iter().enumerate().map(|(i, m)| modes[(i, k)].conj() * *m).sum();
            if product.norm() > 0.0 { product / product.norm() } else { c64::new(1.0, 0.0) }
        })
        .collect();
    weights(coefficients, &turns, selected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduce::reduce;
    use stereotax_base::linalg::gram;
    use stereotax_base::stats::rng::Stream;

    fn c(re: f64, im: f64) -> c64 {
        c64::new(re, im)
    }

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(2, "modes tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn raw(eigenvalues: Vec<c64>, coefficients: Mat<c64>) -> RawModes {
        let m = eigenvalues.len();
        RawModes {
            eigenvalues,
            coefficients,
            residuals: vec![0.1; m],
            amplitudes: None,
            positions: None,
            rank: m,
            warnings: vec![],
            clusters: vec![],
        }
    }

    /// A noisy trajectory with two real modes and a pair that do not fit it exactly.
    fn problem() -> (Reduced, RawModes) {
        let reduced = reduce(gram(noise(40, 6, 0).as_ref()).as_ref(), f64::EPSILON).unwrap();
        let (a, b) = (noise(6, 4, 1), noise(6, 4, 2));
        let coefficients = Mat::from_fn(6, 4, |l, k| match k {
            0 | 3 => c(a[(l, k)], 0.0),
            1 => c(a[(l, 1)], -b[(l, 1)]),
            _ => c(a[(l, 1)], b[(l, 1)]),
        });
        (reduced, raw(vec![c(0.4, 0.0), c(0.8, -0.3), c(0.8, 0.3), c(1.3, 0.0)], coefficients))
    }

    fn objective(reduced: &Reduced, spectrum: &DepthSpectrum, amplitudes: &[c64]) -> f64 {
        let z = &reduced.snapshots;
        let mut missed = 0.0;
        for l in 0..z.ncols() {
            for i in 0..z.nrows() {
                let mut made = c(0.0, 0.0);
                for k in 0..amplitudes.len() {
                    let phi: c64 = (0..z.ncols()).map(|m| spectrum.coefficients[(m, k)] * z[(i, m)]).sum();
                    let mut power = c(1.0, 0.0);
                    for _ in 0..l {
                        power *= spectrum.eigenvalues[k];
                    }
                    made += phi * amplitudes[k] * power;
                }
                missed += (made - z[(i, l)]).norm_sqr();
            }
        }
        missed
    }

    #[test]
    fn optimal_amplitudes_have_a_vanishing_gradient_and_say_their_error() {
        let (reduced, modes) = problem();
        let spectrum = finish(&reduced, modes, &DepthDmdParams::default()).unwrap();
        let least = objective(&reduced, &spectrum, &spectrum.amplitudes);
        assert!((spectrum.reconstruction_error - (least / reduced.energy()).sqrt()).abs() < 1e-12);
        for k in 0..4 {
            for step in [c(1e-4, 0.0), c(0.0, 1e-4)] {
                let mut up = spectrum.amplitudes.clone();
                let mut down = up.clone();
                up[k] += step;
                down[k] -= step;
                let (u, d) = (objective(&reduced, &spectrum, &up), objective(&reduced, &spectrum, &down));
                assert!(((u - d) / 2e-4).abs() < 1e-6, "gradient of b{k}");
                assert!(u > least && d > least);
            }
        }
    }

    #[test]
    fn modes_are_ordered_unit_and_paired() {
        let (reduced, modes) = problem();
        let s = finish(&reduced, modes, &DepthDmdParams::default()).unwrap();
        assert_eq!(s.eigenvalues, [c(1.3, 0.0), c(0.8, 0.3), c(0.8, -0.3), c(0.4, 0.0)]);
        assert_eq!(s.amplitudes[1], s.amplitudes[2].conj());
        for k in 0..4 {
            let phi = real_times(reduced.snapshots.as_ref(), s.coefficients.as_ref(), k);
            assert!((column_norm(&phi) - 1.0).abs() < 1e-12);
        }
        // |1.3 − 1| = 0.3 beats |0.8 + 0.3i − 1| = 0.36 and |0.4 − 1| = 0.6.
        assert_eq!(s.selected, [0]);
        assert_eq!(s.runner_up.map(|r| r.0), Some(1));
        assert!((s.runner_up.unwrap().1 - (0.13f64.sqrt() - 0.3)).abs() < 1e-12);
        for l in 0..6 {
            assert!((s.weights[l] - (s.amplitudes[0] * s.coefficients[(l, 0)]).re).abs() < 1e-15);
        }
    }

    #[test]
    fn scale_and_phase_of_the_given_modes_change_nothing() {
        let (reduced, modes) = problem();
        let params = DepthDmdParams { select: Selection::UnitCircle, ..Default::default() };
        let plain = finish(&reduced, modes.clone(), &params).unwrap();
        let mut turned = modes;
        for l in 0..6 {
            turned.coefficients[(l, 1)] *= c(0.3, 0.7);
            turned.coefficients[(l, 2)] *= c(0.3, -0.7);
            turned.coefficients[(l, 3)] *= c(-40.0, 0.0);
        }
        let again = finish(&reduced, turned, &params).unwrap();
        assert_eq!(plain.selected, [1, 2]);
        for (a, b) in plain.weights.iter().zip(&again.weights) {
            assert!((a - b).abs() < 1e-12);
        }
        for (a, b) in plain.energies.iter().zip(&again.energies) {
            assert!((a - b).abs() < 1e-12 * a);
        }
    }

    #[test]
    fn every_rule_names_its_mode() {
        let (reduced, mut modes) = problem();
        modes.residuals = vec![0.05, 0.2, 0.2, 0.5];
        let chosen = |select| {
            let params = DepthDmdParams { select, min_energy: 0.0, ..Default::default() };
            finish(&reduced, modes.clone(), &params).unwrap()
        };
        // Order after sorting: 1.3, 0.8 ± 0.3i (modulus 0.854), 0.4.
        assert_eq!(chosen(Selection::ClosestToOne).selected, [0]);
        assert_eq!(chosen(Selection::UnitCircle).selected, [1, 2]);
        assert_eq!(chosen(Selection::Slowest).selected, [0]); // ln 1.3 = 0.26; the pair 0.39
        assert_eq!(chosen(Selection::DecayingSlowest).selected, [1, 2]);
        assert_eq!(chosen(Selection::MinResidual).selected, [3]);
        // Over 5 steps 1.3 gains 3.7, the pair loses 2.2 and turns by 1.79 > π/2, 0.4 loses 98.
        assert_eq!(chosen(Selection::Band { gain: 4.0 }).selected, [0]);
        assert_eq!(chosen(Selection::Band { gain: 100.0 }).selected, [0, 3]);
        assert_eq!(chosen(Selection::MaxEnergyInBand { gain: 4.0 }).selected, [0]);
        let nothing = chosen(Selection::Band { gain: 2.0 });
        assert_eq!(nothing.selected, [0]);
        assert!(nothing.warnings[0].contains("closest_to_one was used"), "{:?}", nothing.warnings);
    }

    #[test]
    fn weak_modes_are_not_chosen_unless_all_are_weak() {
        let choose = |energies: &[f64]| {
            let units = [Unit { first: 0, second: None }, Unit { first: 1, second: None }];
            let values = [c(1.0, 0.0), c(0.5, 0.0)];
            select(&values, &[0.1; 2], energies, &units, 6, &DepthDmdParams::default()).unwrap()
        };
        assert_eq!(choose(&[0.02, 0.9]).units[0].first, 0);
        assert_eq!(choose(&[0.005, 0.9]).units[0].first, 1);
        let dropped = choose(&[0.005, 0.001]);
        assert_eq!(dropped.units[0].first, 0);
        assert!(dropped.warnings[0].contains("energy threshold"), "{:?}", dropped.warnings);
        assert_eq!(choose(&[f64::NAN, 0.001]).units[0].first, 1);
    }

    #[test]
    fn ties_fall_to_the_smaller_residual() {
        let (reduced, mut modes) = problem();
        modes.eigenvalues = vec![c(0.9, 0.0), c(0.2, -0.3), c(0.2, 0.3), c(1.1, 0.0)];
        modes.residuals = vec![0.1, 0.0, 0.0, 0.2];
        let s = finish(&reduced, modes, &DepthDmdParams { min_energy: 0.0, ..Default::default() }).unwrap();
        assert_eq!(s.selected_eigenvalue(), c(0.9, 0.0));
    }

    #[test]
    fn huge_eigenvalues_do_not_overflow() {
        let h = noise(300, 60, 5);
        let reduced = reduce(gram(h.as_ref()).as_ref(), f64::EPSILON).unwrap();
        let coefficients = Mat::from_fn(60, 2, |l, k| c(if l == 3 + k { 1.0 } else { 0.0 }, 0.0));
        let s =
            finish(&reduced, raw(vec![c(1e8, 0.0), c(1e-8, 0.0)], coefficients), &DepthDmdParams::default())
                .unwrap();
        assert!(s.energies.iter().all(|e| e.is_finite() && *e < 1.0), "{:?}", s.energies);
        assert!(s.reconstruction_error < 1.0);
    }

    #[test]
    fn the_first_amplitude_meets_the_first_layer() {
        // Modes that span the first layer reproduce it exactly.
        let (reduced, mut modes) = problem();
        for l in 0..6 {
            modes.coefficients[(l, 0)] = c(if l == 0 { 1.0 } else { 0.0 }, 0.0);
        }
        let params = DepthDmdParams { amplitude: Amplitude::First, min_energy: 0.0, ..Default::default() };
        let s = finish(&reduced, modes, &params).unwrap();
        for i in 0..reduced.snapshots.nrows() {
            let made: c64 = (0..4)
                .map(|k| {
                    real_times(reduced.snapshots.as_ref(), s.coefficients.as_ref(), k)[i] * s.amplitudes[k]
                })
                .sum();
            assert!((made - reduced.snapshots[(i, 0)]).norm() < 1e-10);
        }
    }

    #[test]
    fn mode_only_agrees_in_sign_with_the_layer_mean() {
        let (reduced, modes) = problem();
        let params = DepthDmdParams { amplitude: Amplitude::ModeOnly, ..Default::default() };
        let s = finish(&reduced, modes, &params).unwrap();
        let z = &reduced.snapshots;
        let (mut along_mean, mut length) = (0.0, 0.0);
        for i in 0..z.nrows() {
            let made: f64 = (0..6).map(|l| z[(i, l)] * s.weights[l]).sum();
            along_mean += made * (0..6).map(|l| z[(i, l)]).sum::<f64>();
            length += made * made;
        }
        assert!(along_mean > 0.0);
        assert!((length - 1.0).abs() < 1e-12);
    }

    #[test]
    fn requests_without_an_answer_are_refused() {
        let (reduced, mut modes) = problem();
        let modulus = DepthDmdParams { amplitude: Amplitude::Modulus, ..Default::default() };
        assert!(matches!(finish(&reduced, modes.clone(), &modulus), Err(Error::Invalid { .. })));
        modes.residuals = vec![f64::NAN; 4];
        let least = DepthDmdParams { select: Selection::MinResidual, ..Default::default() };
        assert!(matches!(finish(&reduced, modes.clone(), &least), Err(Error::Invalid { .. })));
        modes.residuals.pop();
        assert!(matches!(finish(&reduced, modes, &DepthDmdParams::default()), Err(Error::Shape { .. })));
    }
}
