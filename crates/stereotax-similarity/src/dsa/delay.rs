//! A linear operator on delayed states, fitted to trials of a recording (Hankel DMD on whitened states).
//!
//! ```text
//! h_t = [x_t, x_{t−τ}, …, x_{t−(q−1)τ}]      one row per time of each trial, newest first; no centring
//! H = V S Wᵀ                                  all trials stacked; r leading directions
//! A = ((V₋ᵀV₋ + λI)⁻¹ V₋ᵀV₊)ᵀ                 v_{t+1} ≈ A v_t, pairs within trials only; r × r
//! with inputs u_t:  v_{t+1} ≈ A v_t + B u_t   both at once from [V₋ U₋]
//! ```
//!
//! Trials (time × channels) may differ in length. Rows of V are whitened states, so A does not depend on the
//! scale or on an orthogonal change of the channels, up to a rotation of its own coordinates.
//! With inputs, states are scaled to a mean square of 1 (√N V), so that B does not depend on how long one recorded.
//! Koopman residual of an eigenpair Aᵀ g = λ g, with the observable φ(v) = v·g:
//! ‖V₊ g − λ V₋ g‖ / ‖V₋ g‖ (ResDMD): 0 for an observable that the data obey exactly, near 1 for noise.
//!
//! Source: Ostrow et al. 2023; Colbrook & Townsend 2024 (residuals); Proctor, Brunton & Kutz 2016 (inputs);
//! specs: encoding-manifolds 6.6, nfas-dmd 14. Differs from DSA: f64 throughout; more columns than rows are
//! no error (the rank is what the rows allow). Cost: O(N p min(N, p)) for N rows and p = q·channels.

use faer::{Mat, MatRef, c64};

use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{cholesky_solve, cross, eig, product, pseudo_inverse, svd};
use stereotax_base::stats::hard_threshold::hard_threshold_factor;
use stereotax_base::stats::summary::{check_finite, median};

/// How many whitened directions are kept.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorRank {
    /// This many (fewer, with a warning, where the data have fewer).
    Fixed(usize),
    /// The least number whose share of Σσ² reaches this, in (0, 1].
    Energy(f64),
    /// Those above the optimal hard threshold for unknown noise (Gavish & Donoho 2014).
    HardThreshold,
    /// All that the data have.
    Full,
}

/// How an operator is fitted.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DelayParams {
    /// q ≥ 1 (default 1).
    pub n_delays: usize,
    /// τ ≥ 1, in samples (default 1).
    pub lag: usize,
    /// Directions kept (default: 0.99 of the energy).
    pub rank: OperatorRank,
    /// λ ≥ 0, beside eigenvalues of V₋ᵀV₋ of at most 1 (default 1e-8).
    pub ridge: f64,
}

impl Default for DelayParams {
    fn default() -> Self {
        DelayParams { n_delays: 1, lag: 1, rank: OperatorRank::Energy(0.99), ridge: 1e-8 }
    }
}

/// A fitted operator.
#[derive(Debug, Clone)]
pub struct DelayOperator {
    /// A (r × r).
    pub operator: Mat<f64>,
    /// B (r × inputs), where inputs were given.
    pub input: Option<Mat<f64>>,
    /// Singular values of H, descending, all of them.
    pub singular_values: Vec<f64>,
    /// W (q·channels × r): directions of delayed states.
    pub directions: Mat<f64>,
    /// Eigenvalues of A, by descending modulus.
    pub eigenvalues: Vec<c64>,
    /// Koopman residual of each, in the same order; NaN with inputs.
    pub residuals: Vec<f64>,
    /// Pairs of neighbouring states that it was fitted to.
    pub n_pairs: usize,
    /// How it was fitted.
    pub params: DelayParams,
    /// What there is to say.
    pub warnings: Vec<String>,
}

/// Delayed states of all trials, decomposed.
pub(super) struct Embedded {
    /// All left singular vectors that the data have (N × rank).
    pub v: Mat<f64>,
    pub s: Vec<f64>,
    pub w: Mat<f64>,
    /// First row of each trial, and the end.
    pub begins: Vec<usize>,
    pub n_singular: usize,
}

/// Rows [x_t, x_{t−τ}, …] of one trial (time × channels): (T − (q−1)τ) × q·channels.
pub(super) fn delayed(trial: MatRef<f64>, n_delays: usize, lag: usize) -> Mat<f64> {
    let (channels, back) = (trial.ncols(), (n_delays - 1) * lag);
    Mat::from_fn(trial.nrows().saturating_sub(back), n_delays * channels, |t, j| {
        trial[(t + back - (j / channels) * lag, j % channels)]
    })
}

pub(super) fn check_trials(trials: &[MatRef<f64>], params: &DelayParams) -> Result<()> {
    if params.n_delays == 0 || params.lag == 0 || !(params.ridge >= 0.0 && params.ridge.is_finite()) {
        return Err(Error::Invalid {
            what: "n_delays, lag and ridge".into(),
            expected: "n_delays ≥ 1, lag ≥ 1 and ridge ≥ 0".into(),
            found: format!("{}, {} and {}", params.n_delays, params.lag, params.ridge),
            hint: "n_delays = 1 is no delay".into(),
        });
    }
    match params.rank {
        OperatorRank::Fixed(0) => Some("0".to_owned()),
        OperatorRank::Energy(share) if !(share > 0.0 && share <= 1.0) => Some(share.to_string()),
        _ => None,
    }
    .map_or(Ok(()), |found| {
        Err(Error::Invalid {
            what: "rank".into(),
            expected: "a number of directions from 1, or a share of energy in (0, 1]".into(),
            found,
            hint: "0.99 of the energy is the default".into(),
        })
    })?;
    let channels = trials.first().map_or(0, |t| t.ncols());
    if trials.is_empty() || channels == 0 {
        return Err(Error::TooFew {
            what: "trials".into(),
            needed: "1 trial of 1 channel".into(),
            found: format!("{} trials of {channels} channels", trials.len()),
            hint: "give trials × time × channels".into(),
        });
    }
    let least = (params.n_delays - 1) * params.lag + 2;
    for (k, trial) in trials.iter().enumerate() {
        check_finite(&format!("trial {k}"), *trial)?;
        if trial.ncols() != channels {
            return Err(Error::Shape {
                what: format!("trial {k}"),
                expected: format!("{channels} channels (as in trial 0)"),
                found: format!("{} channels", trial.ncols()),
                hint: "all trials of a system are of the same channels".into(),
            });
        }
        if trial.nrows() < least {
            return Err(Error::TooFew {
                what: format!("trial {k}"),
                needed: format!("{least} samples ({} delays of {})", params.n_delays, params.lag),
                found: format!("{} samples", trial.nrows()),
                hint: "leave short trials out, or take fewer delays".into(),
            });
        }
    }
    Ok(())
}

pub(super) fn embed(trials: &[MatRef<f64>], n_delays: usize, lag: usize) -> Result<Embedded> {
    let parts: Vec<Mat<f64>> = trials.iter().map(|t| delayed(*t, n_delays, lag)).collect();
    let mut begins = vec![0];
    for part in &parts {
        begins.push(begins[begins.len() - 1] + part.nrows());
    }
    let mut h = Mat::zeros(begins[parts.len()], parts[0].ncols());
    for (part, &begin) in parts.iter().zip(&begins) {
        h.submatrix_mut(begin, 0, part.nrows(), part.ncols()).copy_from(part);
    }
    let found = svd(h.as_ref())?;
    let largest = found.s.first().copied().unwrap_or(0.0);
    let cut = largest * f64::EPSILON * h.nrows().max(h.ncols()) as f64;
    let rank = found.s.iter().take_while(|&&s| s > cut).count();
    if rank == 0 {
        return Err(Error::ZeroVariance {
            what: "trials".into(),
            detail: "every sample is 0".into(),
            hint: "look for a recording that was not loaded".into(),
        });
    }
    Ok(Embedded {
        v: found.u.get(.., ..rank).to_owned(),
        w: found.v.get(.., ..rank).to_owned(),
        n_singular: found.s.len(),
        s: found.s,
        begins,
    })
}

impl Embedded {
    /// The rank that a rule gives, and what there is to say.
    pub fn choose(&self, rule: OperatorRank, n_columns: usize) -> (usize, Vec<String>) {
        let available = self.v.ncols();
        let mut warnings = Vec::new();
        let wanted = match rule {
            OperatorRank::Fixed(rank) => rank,
            OperatorRank::Full => available,
            OperatorRank::Energy(share) => {
                let total: f64 = self.s.iter().map(|s| s * s).sum();
                let mut held = 0.0;
                let enough = self.s.iter().position(|s| {
                    held += s * s;
                    held >= share * total * (1.0 - 1e-14)
                });
                enough.map_or(available, |at| at + 1)
            }
            OperatorRank::HardThreshold => {
                let n_rows = self.v.nrows();
                let beta = n_rows.min(n_columns) as f64 / n_rows.max(n_columns) as f64;
                let threshold = hard_threshold_factor(beta) * median(&self.s[..self.n_singular]);
                let above = self.s.iter().take_while(|&&s| s > threshold).count();
                if above == 0 {
                    warnings.push("no singular value exceeds the hard threshold; rank 1 is used".into());
                }
                above.max(1)
            }
        };
        if wanted > available {
            warnings
                .push(format!("rank {wanted} was asked for, but the delayed states have rank {available}"));
        }
        (wanted.min(available), warnings)
    }

    /// Rows that have a successor within their trial.
    pub fn pairs(&self) -> Vec<usize> {
        self.begins.windows(2).flat_map(|w| w[0]..w[1] - 1).collect()
    }

    /// V₋ and V₊ of the leading `rank` directions.
    pub fn moves(&self, rank: usize) -> (Mat<f64>, Mat<f64>) {
        let rows = self.pairs();
        let take = |by: usize| Mat::from_fn(rows.len(), rank, |i, j| self.v[(rows[i] + by, j)]);
        (take(0), take(1))
    }
}

/// Fit the operator of one system to its trials (time × channels each).
///
/// Errors: no trial, a trial that is too short, channels that differ, values that are not finite, only zeros.
pub fn delay_operator(trials: &[MatRef<f64>], params: &DelayParams) -> Result<DelayOperator> {
    fit(trials, None, params)
}

/// As [`delay_operator`], with inputs u (time × inputs) of each trial: v_{t+1} ≈ A v_t + B u_t.
///
/// Errors: as there, and inputs of other lengths than their trials.
pub fn delay_operator_with_input(
    trials: &[MatRef<f64>],
    inputs: &[MatRef<f64>],
    params: &DelayParams,
) -> Result<DelayOperator> {
    fit(trials, Some(inputs), params)
}

fn fit(
    trials: &[MatRef<f64>],
    inputs: Option<&[MatRef<f64>]>,
    params: &DelayParams,
) -> Result<DelayOperator> {
    check_trials(trials, params)?;
    if let Some(inputs) = inputs {
        check_inputs(trials, inputs)?;
    }
    let embedded = embed(trials, params.n_delays, params.lag)?;
    let (rank, mut warnings) = embedded.choose(params.rank, trials[0].ncols() * params.n_delays);
    let (before, after) = embedded.moves(rank);
    let (operator, input) = if let Some(inputs) = inputs {
        let back = (params.n_delays - 1) * params.lag;
        let rows: Vec<(usize, usize)> = trials
            .iter()
            .enumerate()
            .flat_map(|(k, trial)| (back..trial.nrows() - 1).map(move |t| (k, t)))
            .collect();
        let n_inputs = inputs[0].ncols();
        let regressors = Mat::from_fn(rows.len(), rank + n_inputs, |i, j| {
            if j < rank { before[(i, j)] } else { inputs[rows[i].0][(rows[i].1, j - rank)] }
        });
        let both = least_squares_ridge(regressors.as_ref(), after.as_ref(), rank, params.ridge)?;
        let part =
            |begin: usize, n: usize, scale: f64| Mat::from_fn(rank, n, |i, j| scale * both[(begin + j, i)]);
        let scale = (embedded.v.nrows() as f64).sqrt();
        (part(0, rank, 1.0), Some(part(rank, n_inputs, scale)))
    } else {
        let a = least_squares_ridge(before.as_ref(), after.as_ref(), rank, params.ridge)?;
        (a.transpose().to_owned(), None)
    };
    let (eigenvalues, residuals) = residuals(operator.as_ref(), before.as_ref(), after.as_ref())?;
    if before.nrows() < 2 * rank {
        warnings.push(format!(
            "{} pairs of states for rank {rank}: the operator may interpolate",
            before.nrows()
        ));
    }
    Ok(DelayOperator {
        residuals: if input.is_some() { vec![f64::NAN; rank] } else { residuals },
        operator,
        input,
        singular_values: embedded.s.clone(),
        directions: embedded.w.get(.., ..rank).to_owned(),
        eigenvalues,
        n_pairs: before.nrows(),
        params: *params,
        warnings,
    })
}

fn check_inputs(trials: &[MatRef<f64>], inputs: &[MatRef<f64>]) -> Result<()> {
    let n_inputs = inputs.first().map_or(0, |u| u.ncols());
    let wrong = |what: String, expected: String, found: String| Error::Shape {
        what,
        expected,
        found,
        hint: "give one input (time × inputs) per trial, on the same clock".into(),
    };
    if inputs.len() != trials.len() || n_inputs == 0 {
        let found = format!("{} of {n_inputs} columns", inputs.len());
        return Err(wrong("inputs".into(), format!("{} trials of at least 1 column", trials.len()), found));
    }
    for (k, (trial, input)) in trials.iter().zip(inputs).enumerate() {
        check_finite(&format!("input {k}"), *input)?;
        if (input.nrows(), input.ncols()) != (trial.nrows(), n_inputs) {
            let found = format!("{} × {}", input.nrows(), input.ncols());
            return Err(wrong(format!("input {k}"), format!("{} × {n_inputs}", trial.nrows()), found));
        }
    }
    Ok(())
}

/// (XᵀX + λ on the first `penalised` columns)⁻¹ XᵀY; the least-norm solution where that cannot be inverted.
fn least_squares_ridge(x: MatRef<f64>, y: MatRef<f64>, penalised: usize, ridge: f64) -> Result<Mat<f64>> {
    let mut g = cross(x, x);
    for k in 0..penalised {
        g[(k, k)] += ridge;
    }
    let right = cross(x, y);
    // Columns may be scaled very differently (inputs): what Cholesky cannot do safely, the pseudo-inverse does.
    let diagonal = (0..g.nrows()).map(|k| g[(k, k)]);
    let (low, high) = diagonal.fold((f64::INFINITY, 0.0f64), |(l, h), d| (l.min(d), h.max(d)));
    if low > 1e-10 * high
        && let Some(found) = cholesky_solve(g.as_ref(), right.as_ref())
        && stereotax_base::linalg::all_finite(found.as_ref())
    {
        return Ok(found);
    }
    Ok(product(pseudo_inverse(g.as_ref(), 1e-13)?.as_ref(), right.as_ref()))
}

/// Eigenvalues of A with the residuals of their observables.
fn residuals(a: MatRef<f64>, before: MatRef<f64>, after: MatRef<f64>) -> Result<(Vec<c64>, Vec<f64>)> {
    let found = eig(a.transpose())?;
    let r = a.nrows();
    let re = Mat::from_fn(r, r, |i, k| found.vectors[(i, k)].re);
    let im = Mat::from_fn(r, r, |i, k| found.vectors[(i, k)].im);
    let (b_re, b_im) = (product(before, re.as_ref()), product(before, im.as_ref()));
    let (a_re, a_im) = (product(after, re.as_ref()), product(after, im.as_ref()));
    let residuals = (0..r)
        .map(|k| {
            let value = found.values[k];
            let (mut missed, mut size) = (0.0, 0.0);
            for i in 0..before.nrows() {
                let now = c64::new(b_re[(i, k)], b_im[(i, k)]);
                missed += (c64::new(a_re[(i, k)], a_im[(i, k)]) - value * now).norm_sqr();
                size += now.norm_sqr();
            }
            (missed / size).sqrt()
        })
        .collect();
    Ok((found.values, residuals))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    /// Trials of x_{t+1} = A x_t + noise.
    pub(crate) fn linear_trials(a: MatRef<f64>, lengths: &[usize], noise: f64, index: u64) -> Vec<Mat<f64>> {
        let n = a.nrows();
        let mut stream = Stream::new(11, "linear trials", index);
        lengths
            .iter()
            .map(|&length| {
                let mut x = Mat::zeros(length, n);
                for j in 0..n {
                    x[(0, j)] = stream.normal();
                }
                for t in 1..length {
                    for i in 0..n {
                        let next: f64 = (0..n).map(|j| a[(i, j)] * x[(t - 1, j)]).sum();
                        x[(t, i)] = next + noise * stream.normal();
                    }
                }
                x
            })
            .collect()
    }

    fn spiral() -> Mat<f64> {
        // 0.95 e^{±0.4i} and 0.8.
        let (s, c) = 0.4f64.sin_cos();
        Mat::from_fn(3, 3, |i, j| {
            [[0.95 * c, -0.95 * s, 0.0], [0.95 * s, 0.95 * c, 0.0], [0.0, 0.0, 0.8]][i][j]
        })
    }

    fn views(trials: &[Mat<f64>]) -> Vec<MatRef<'_, f64>> {
        trials.iter().map(|t| t.as_ref()).collect()
    }

    #[test]
    fn a_linear_system_is_recovered_from_trials_of_unequal_lengths() {
        let a = spiral();
        let trials = linear_trials(a.as_ref(), &[12, 30, 7, 19], 0.0, 0);
        let params = DelayParams { rank: OperatorRank::Full, ridge: 0.0, ..DelayParams::default() };
        let found = delay_operator(&views(&trials), &params).unwrap();
        assert_eq!((found.operator.nrows(), found.n_pairs), (3, 12 + 30 + 7 + 19 - 4));
        // Back in the channels' coordinates: W S A S⁻¹ Wᵀ.
        let s = &found.singular_values;
        let inner = Mat::from_fn(3, 3, |i, j| s[i] * found.operator[(i, j)] / s[j]);
        let back = product(
            product(found.directions.as_ref(), inner.as_ref()).as_ref(),
            found.directions.transpose(),
        );
        assert!((back - &a).norm_max() < 1e-12);
        let (re, im) = (0.95 * 0.4f64.cos(), 0.95 * 0.4f64.sin());
        assert!((found.eigenvalues[0] - c64::new(re, im)).norm() < 1e-12);
        assert!((found.eigenvalues[2] - c64::new(0.8, 0.0)).norm() < 1e-12);
        assert!(found.residuals.iter().all(|r| *r < 1e-12), "{:?}", found.residuals);
    }

    #[test]
    fn delays_see_what_one_channel_hides_and_residuals_see_noise() {
        // One channel of a rotation: two delays make it linear again.
        let trials = linear_trials(spiral().as_ref(), &[60, 60], 0.0, 1);
        let one: Vec<Mat<f64>> = trials.iter().map(|t| t.get(.., 0..1).to_owned()).collect();
        let params = DelayParams { n_delays: 2, rank: OperatorRank::Full, ridge: 0.0, lag: 1 };
        let found = delay_operator(&views(&one), &params).unwrap();
        assert!((found.eigenvalues[0].norm() - 0.95).abs() < 1e-10);
        assert!((found.eigenvalues[0].im.atan2(found.eigenvalues[0].re) - 0.4).abs() < 1e-10);
        let noise = linear_trials(Mat::zeros(4, 4).as_ref(), &[400], 1.0, 2);
        let found = delay_operator(&views(&noise), &DelayParams::default()).unwrap();
        assert!(found.residuals.iter().all(|r| *r > 0.8), "{:?}", found.residuals);
    }

    #[test]
    fn rows_hold_the_newest_sample_first() {
        let x = Mat::from_fn(6, 1, |t, _| t as f64);
        let h = delayed(x.as_ref(), 2, 3);
        assert_eq!((h.nrows(), h[(0, 0)], h[(0, 1)], h[(2, 0)], h[(2, 1)]), (3, 3.0, 0.0, 5.0, 2.0));
    }

    #[test]
    fn inputs_are_told_from_dynamics() {
        let a = spiral();
        let b = Mat::from_fn(3, 2, |i, j| [[1.0, 0.0], [0.0, 0.5], [0.3, -1.0]][i][j]);
        let mut stream = Stream::new(1, "inputs", 0);
        let (mut trials, mut inputs) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let u = Mat::from_fn(40, 2, |_, _| stream.normal());
            let mut x = Mat::zeros(40, 3);
            for t in 1..40 {
                for i in 0..3 {
                    x[(t, i)] = (0..3).map(|j| a[(i, j)] * x[(t - 1, j)]).sum::<f64>()
                        + (0..2).map(|j| b[(i, j)] * u[(t - 1, j)]).sum::<f64>();
                }
            }
            trials.push(x);
            inputs.push(u);
        }
        let params = DelayParams { rank: OperatorRank::Full, ridge: 0.0, ..DelayParams::default() };
        let found = delay_operator_with_input(&views(&trials), &views(&inputs), &params).unwrap();
        assert!((found.eigenvalues[0].norm() - 0.95).abs() < 1e-10);
        let s = &found.singular_values;
        let input = found.input.unwrap();
        let scaled = Mat::from_fn(3, 2, |i, j| s[i] * input[(i, j)] / 200f64.sqrt());
        assert!((product(found.directions.as_ref(), scaled.as_ref()) - &b).norm_max() < 1e-10);
    }

    #[test]
    fn ranks_by_each_rule_and_refusals() {
        let mut stream = Stream::new(2, "ranks", 0);
        // Three strong directions among thirty channels, and noise.
        let mix = Mat::from_fn(3, 30, |_, _| stream.normal());
        let base = linear_trials(spiral().as_ref(), &[100, 100], 0.5, 3);
        let trials: Vec<Mat<f64>> = base
            .iter()
            .map(|x| {
                let clean = product(x.as_ref(), mix.as_ref());
                Mat::from_fn(100, 30, |i, j| clean[(i, j)] + 0.05 * stream.normal())
            })
            .collect();
        let rank = |rank| {
            let params = DelayParams { rank, ..DelayParams::default() };
            delay_operator(&views(&trials), &params).map(|o| o.operator.nrows())
        };
        assert_eq!(rank(OperatorRank::HardThreshold).unwrap(), 3);
        assert_eq!(rank(OperatorRank::Fixed(7)).unwrap(), 7);
        assert_eq!(rank(OperatorRank::Fixed(99)).unwrap(), 30);
        assert!(rank(OperatorRank::Energy(0.99)).unwrap() <= 3);
        assert!(rank(OperatorRank::Energy(1.5)).is_err() && rank(OperatorRank::Fixed(0)).is_err());
        let short = DelayParams { n_delays: 100, ..DelayParams::default() };
        assert!(delay_operator(&views(&trials), &short).unwrap_err().to_string().contains("101 samples"));
        assert!(delay_operator(&[], &DelayParams::default()).is_err());
        let zeros = [Mat::<f64>::zeros(5, 2)];
        assert!(delay_operator(&views(&zeros), &DelayParams::default()).is_err());
    }
}
