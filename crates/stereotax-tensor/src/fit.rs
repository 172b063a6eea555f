//! Factor a non-negative tensor into few components, whose maps may rotate over directions.
//!
//! With A, B, C, … ≥ 0 the factors (size × rank), and for the shift-invariant model P_k the rotation of a map
//! (directions × time) by k directions:
//!
//! ```text
//! plain            f = ½ ‖ Z − Σ_r a_r ∘ b_r ∘ c_r ∘ … ‖²
//! shift-invariant  f = ½ Σ_{n,s} min_k ‖ P_k z_ns − Σ_r A[n,r] B[s,r] C[:,r] ‖²
//! ```
//!
//! A component of the second kind is the same for two units that prefer different directions. Block coordinate
//! descent: rotations (each map its best), then every mode by sweeps of non-negative coordinate descent (HALS).
//! Each step minimises the joint objective over its block, or descends, so f never rises. Missing entries are
//! replaced by the model before each pass (a majorisation, so f over the observed entries does not rise either).
//! A component that died is planted again where the model misses most, twice at most, then reported.
//!
//! Fits are determined up to the order of components and their scales; shift-invariant ones also up to one rotation
//! of everything (see [`super::compare`]). Returned components have columns of norm 1 and weights that descend.
//!
//! Source: Cichocki & Phan 2009 (HALS); Gillis & Glineur 2012 (several sweeps per product); Dyballa et al. 2024
//! (the permuted factorisation); specs encoding-manifolds 1.5. Differs from the authors': they descend with L-BFGS-B
//! on the minimum over shifts, or one HALS sweep per mode; ties take the smallest shift, counted from 0. Cost per
//! iteration: 4 N·P·F for a tensor of N × P entries at rank F, and with shifts 2 N·P·(F + D) more.

use faer::Mat;

use super::kernels::{contract, descend, factor_gram, khatri_rao};
use super::passes::{Left, Pass};
use super::problem::CpTensor;
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::stats::rng::Stream;

/// Choices of one fit.
#[derive(Debug, Clone)]
pub struct CpParams {
    /// Components, at least 1.
    pub rank: usize,
    /// Most iterations. Default 200.
    pub max_iter: usize,
    /// Stop once f changes by no more than this share, twice in a row. Default 1e-6.
    pub tol: f64,
    /// Sweeps of coordinate descent per mode and iteration. Default 3.
    pub inner_sweeps: usize,
    /// Seed of the random starts. Default 0.
    pub seed: u64,
    /// Which random start. Default 0.
    pub start: usize,
    /// Factors to start from, one per mode (size × rank), instead of random ones.
    pub init: Option<Vec<Mat<f64>>>,
    /// Modes that stay as in `init`.
    pub fixed_modes: Vec<usize>,
    /// Whether threads share the passes. Bits do not depend on it. Default true.
    pub parallel: bool,
}

impl Default for CpParams {
    fn default() -> Self {
        CpParams {
            rank: 1,
            max_iter: 200,
            tol: 1e-6,
            inner_sweeps: 3,
            seed: 0,
            start: 0,
            init: None,
            fixed_modes: vec![],
            parallel: true,
        }
    }
}

/// A factorisation.
#[derive(Debug, Clone)]
pub struct CpFit {
    /// One per component, descending: the norm of its outer product.
    pub weights: Vec<f64>,
    /// One per mode, size × rank, columns of norm 1 (0 where a component is dead).
    pub factors: Vec<Mat<f64>>,
    /// Directions by which each map moved (units × stimuli, row after row): direction d went to d + shift.
    /// Empty for plain fits.
    pub shifts: Vec<u16>,
    /// Maps without a rotation of their own: silent ones, or where the model is silent. Their shift is 0.
    pub n_undefined_shifts: usize,
    /// 2 f / Σ z², the share of the squared norm that is not explained.
    pub error: f64,
    /// It, before each iteration and after the last.
    pub history: Vec<f64>,
    /// Iterations made.
    pub n_iter: usize,
    /// Whether the change fell below `tol` before `max_iter`.
    pub converged: bool,
    /// How often a dead component was planted again.
    pub n_reseeded: usize,
    /// Components without weight at the end, in the order returned.
    pub dead: Vec<usize>,
}

/// Times that one component may be planted again.
const RESEEDS: usize = 2;
/// An error at which the fit is exact.
const EXACT: f64 = 1e-24;

/// Factor a tensor from one start.
///
/// Errors: a rank of 0 or above what the tensor can need, factors to start from that do not fit or are negative,
/// fixed modes without such factors, settings out of range, more than 65,535 directions.
pub fn fit_cp(tensor: &CpTensor, params: &CpParams, monitor: &Monitor<'_>) -> Result<CpFit> {
    check(tensor, params)?;
    let rank = params.rank;
    let cut = tensor.n_row_modes();
    let mut factors = match &params.init {
        Some(init) => init.iter().map(by_rows).collect(),
        None => random_factors(tensor, params),
    };
    let scale = 0.5 * tensor.squared_norm();
    if params.init.is_none() {
        let left = first_pass(tensor, &factors, params, false);
        // <z, model> over observed entries; the scale at which the start is best.
        let shared = 0.5 * (2.0 * scale + left.model_squares) - left.cost;
        let alpha = shared / left.model_squares;
        if alpha > 0.0 && alpha.is_finite() {
            factors[0].iter_mut().for_each(|value| *value *= alpha);
        }
    }
    let free = |mode: usize| !params.fixed_modes.contains(&mode);
    let mut history: Vec<f64> = Vec::new();
    let mut reseeds = vec![0; rank];
    let mut calm = 0;
    let (left, converged) = loop {
        monitor.check()?;
        let mut left = first_pass(tensor, &factors, params, false);
        if left.cost < 1e-7 * scale && tensor.cyclic_axes().is_none() && tensor.observed().is_none() {
            left = first_pass(tensor, &factors, params, true);
        }
        let error = left.cost / scale;
        if !error.is_finite() {
            return Err(Error::NoConvergence {
                what: "factorisation".into(),
                detail: format!("its error is {error} after {} iterations", history.len()),
            });
        }
        if let Some(before) = history.last() {
            calm = if (before - error).abs() <= params.tol * before { calm + 1 } else { 0 };
        }
        history.push(error);
        let n_iter = history.len() - 1;
        let converged = (calm >= 2 && n_iter >= 5) || error <= EXACT;
        if converged || n_iter >= params.max_iter {
            break (left, converged);
        }
        let grams: Vec<Vec<f64>> = factors.iter().map(|factor| factor_gram(factor, rank)).collect();
        let mut state = State { factors: &mut factors, grams, rank, sweeps: params.inner_sweeps };
        for mode in (0..cut).filter(|&mode| free(mode)) {
            state.update(mode, &left.product, 0..cut);
        }
        if (cut..state.factors.len()).any(free) {
            let (rows, columns) =
                (khatri_rao(&state.factors[..cut], rank), khatri_rao(&state.factors[cut..], rank));
            let pass = Pass { tensor, rows: &rows, columns: &columns, rank, parallel: params.parallel };
            let product = pass.right(&left.shifts);
            for mode in (cut..state.factors.len()).filter(|&mode| free(mode)) {
                let modes = cut..state.factors.len();
                state.update(mode, &product, modes);
            }
        }
        if params.fixed_modes.is_empty() {
            rebalance(&mut factors, rank);
            revive(tensor, &mut factors, &left.shifts, &mut reseeds, params);
        }
    };
    Ok(finish(tensor, &factors, left, history, converged, reseeds.iter().sum(), rank))
}

/// Factors on their way, with their Gram matrices.
struct State<'a> {
    factors: &'a mut Vec<Vec<f64>>,
    grams: Vec<Vec<f64>>,
    rank: usize,
    sweeps: usize,
}

impl State<'_> {
    /// Improve one mode of a block, given the product of the tensor with the other block.
    fn update(&mut self, mode: usize, product: &[f64], block: std::ops::Range<usize>) {
        let target = contract(product, &self.factors[block.clone()], mode - block.start, self.rank);
        let mut gram = vec![1.0; self.rank * self.rank];
        for (_, other) in self.grams.iter().enumerate().filter(|(at, _)| *at != mode) {
            gram.iter_mut().zip(other).for_each(|(gram, other)| *gram *= other);
        }
        descend(&mut self.factors[mode], &target, &gram, self.rank, self.sweeps);
        self.grams[mode] = factor_gram(&self.factors[mode], self.rank);
    }
}

fn first_pass(tensor: &CpTensor, factors: &[Vec<f64>], params: &CpParams, exact: bool) -> Left {
    let (rank, cut) = (params.rank, tensor.n_row_modes());
    let (rows, columns) = (khatri_rao(&factors[..cut], rank), khatri_rao(&factors[cut..], rank));
    Pass { tensor, rows: &rows, columns: &columns, rank, parallel: params.parallel }.left(exact)
}

fn check(tensor: &CpTensor, params: &CpParams) -> Result<()> {
    let shape = tensor.shape();
    let most = tensor.most_components();
    if params.rank == 0 || params.rank > most {
        return Err(Error::Invalid {
            what: "rank".into(),
            expected: format!(
                "from 1 to {most}, beyond which no component of a tensor of {shape:?} is needed"
            ),
            found: params.rank.to_string(),
            hint: "ask for fewer components; 2 to 30 are customary".into(),
        });
    }
    if !(params.tol >= 0.0 && params.tol < 1.0) || params.inner_sweeps == 0 {
        return Err(Error::Invalid {
            what: "tol and inner_sweeps".into(),
            expected: "a tolerance from 0 to below 1, and 1 sweep at least".into(),
            found: format!("{} and {}", params.tol, params.inner_sweeps),
            hint: "1e-6 and 3 are the defaults".into(),
        });
    }
    if let Some(cyclic) = tensor.cyclic_axes()
        && cyclic.n_directions > usize::from(u16::MAX)
    {
        return Err(Error::Invalid {
            what: "directions".into(),
            expected: "65535 at most".into(),
            found: cyclic.n_directions.to_string(),
            hint: "is the axis of directions the third?".into(),
        });
    }
    if let Some(mode) = params.fixed_modes.iter().find(|&&mode| mode >= shape.len()) {
        return Err(Error::Invalid {
            what: "fixed_modes".into(),
            expected: format!("modes below {}", shape.len()),
            found: mode.to_string(),
            hint: "count modes from 0; directions and time are one".into(),
        });
    }
    let Some(init) = &params.init else {
        if params.fixed_modes.is_empty() {
            return Ok(());
        }
        return Err(Error::Invalid {
            what: "fixed_modes".into(),
            expected: "factors to start from".into(),
            found: "a random start".into(),
            hint: "pass `init`, one factor per mode".into(),
        });
    };
    let sizes: Vec<(usize, usize)> = init.iter().map(|factor| (factor.nrows(), factor.ncols())).collect();
    if sizes.len() != shape.len() || sizes.iter().zip(shape).any(|(have, &n)| *have != (n, params.rank)) {
        return Err(Error::Shape {
            what: "init".into(),
            expected: format!("one factor per mode ({shape:?}) with {} columns", params.rank),
            found: format!("{sizes:?}"),
            hint: "directions and time are one mode of a shift-invariant fit".into(),
        });
    }
    let bad = |value: &f64| !(*value >= 0.0 && value.is_finite());
    if let Some(mode) = (0..init.len()).find(|&mode| init[mode].col_iter().any(|col| col.iter().any(bad))) {
        return Err(Error::Invalid {
            what: format!("init of mode {mode}"),
            expected: "finite numbers of at least 0".into(),
            found: "others".into(),
            hint: "clip negative values to 0".into(),
        });
    }
    Ok(())
}

/// Uniform in [0, 1), columns of norm 1.
fn random_factors(tensor: &CpTensor, params: &CpParams) -> Vec<Vec<f64>> {
    // The start of one rank is no beginning of the start of the next.
    let index = (params.rank as u64) << 32 | params.start as u64;
    let mut stream = Stream::new(params.seed, "cp start", index);
    let mut factors: Vec<Vec<f64>> =
        tensor.shape().iter().map(|n| (0..n * params.rank).map(|_| stream.uniform()).collect()).collect();
    for factor in &mut factors {
        let norms = column_norms(factor, params.rank);
        divide_columns(factor, &norms, params.rank);
    }
    factors
}

fn by_rows(factor: &Mat<f64>) -> Vec<f64> {
    (0..factor.nrows()).flat_map(|i| (0..factor.ncols()).map(move |r| factor[(i, r)])).collect()
}

fn column_norms(factor: &[f64], rank: usize) -> Vec<f64> {
    let mut squares = vec![0.0; rank];
    for row in factor.chunks_exact(rank) {
        squares.iter_mut().zip(row).for_each(|(sum, x)| *sum += x * x);
    }
    squares.into_iter().map(f64::sqrt).collect()
}

/// Columns of norm 0 stay.
fn divide_columns(factor: &mut [f64], by: &[f64], rank: usize) {
    for row in factor.chunks_exact_mut(rank) {
        row.iter_mut().zip(by).filter(|(_, by)| **by > 0.0).for_each(|(x, by)| *x /= by);
    }
}

/// Give the columns of each component equal norms, whose product stays.
fn rebalance(factors: &mut [Vec<f64>], rank: usize) {
    let norms: Vec<Vec<f64>> = factors.iter().map(|factor| column_norms(factor, rank)).collect();
    let share = 1.0 / factors.len() as f64;
    let common: Vec<f64> =
        (0..rank).map(|r| norms.iter().map(|norms| norms[r].powf(share)).product()).collect();
    for (factor, norms) in factors.iter_mut().zip(&norms) {
        let by: Vec<f64> = norms
            .iter()
            .zip(&common)
            .map(|(norm, common)| if *common > 0.0 { norm / common } else { 1.0 })
            .collect();
        divide_columns(factor, &by, rank);
    }
}

fn is_dead(factors: &[Vec<f64>], component: usize, rank: usize) -> bool {
    factors.iter().any(|factor| factor[component..].iter().step_by(rank).all(|&x| x == 0.0))
}

/// Plant dead components where the model misses most; there f falls, since only what is missing is added.
fn revive(
    tensor: &CpTensor,
    factors: &mut [Vec<f64>],
    shifts: &[u16],
    reseeds: &mut [usize],
    params: &CpParams,
) {
    let (rank, cut) = (params.rank, tensor.n_row_modes());
    for component in 0..rank {
        if reseeds[component] >= RESEEDS || !is_dead(factors, component, rank) {
            continue;
        }
        reseeds[component] += 1;
        for factor in factors.iter_mut() {
            factor[component..].iter_mut().step_by(rank).for_each(|x| *x = 0.0);
        }
        let (rows, columns) = (khatri_rao(&factors[..cut], rank), khatri_rao(&factors[cut..], rank));
        let pass = Pass { tensor, rows: &rows, columns: &columns, rank, parallel: params.parallel };
        let Some((mut row, mut cell, missing)) = pass.most_missing(shifts) else { continue };
        let last = factors.len() - 1;
        for (t, value) in missing.into_iter().enumerate() {
            factors[last][t * rank + component] = value;
        }
        for mode in (cut..last).rev() {
            let n = tensor.shape()[mode];
            factors[mode][(cell % n) * rank + component] = 1.0;
            cell /= n;
        }
        for mode in (0..cut).rev() {
            let n = tensor.shape()[mode];
            factors[mode][(row % n) * rank + component] = 1.0;
            row /= n;
        }
        rebalance(factors, rank);
    }
}

fn finish(
    tensor: &CpTensor,
    factors: &[Vec<f64>],
    left: Left,
    history: Vec<f64>,
    converged: bool,
    n_reseeded: usize,
    rank: usize,
) -> CpFit {
    let norms: Vec<Vec<f64>> = factors.iter().map(|factor| column_norms(factor, rank)).collect();
    let weight = |r: usize| -> f64 { norms.iter().map(|norms| norms[r]).product() };
    let mut order: Vec<usize> = (0..rank).collect();
    order.sort_by(|&a, &b| weight(b).total_cmp(&weight(a)).then(a.cmp(&b)));
    let weights: Vec<f64> = order.iter().map(|&r| weight(r)).collect();
    let factors = factors
        .iter()
        .zip(&norms)
        .zip(tensor.shape())
        .map(|((factor, norms), &n)| {
            Mat::from_fn(n, rank, |i, r| {
                let (r, norm) = (order[r], norms[order[r]]);
                if norm > 0.0 { factor[i * rank + r] / norm } else { 0.0 }
            })
        })
        .collect();
    let dead = (0..rank).filter(|&r| weights[r] == 0.0).collect();
    CpFit {
        weights,
        factors,
        shifts: left.shifts,
        n_undefined_shifts: left.n_undefined,
        error: history.last().copied().unwrap_or(f64::NAN),
        n_iter: history.len().saturating_sub(1),
        history,
        converged,
        n_reseeded,
        dead,
    }
}
