//! Dissimilarity of firing rates: the symmetric Kullback–Leibler divergence of Poisson distributions.
//!
//! With rates λ_ic = (x_ic + w λ₀) / (1 + w), x the mean counts, λ₀ and w a prior rate and its weight,
//!
//! ```text
//! d_ij = 1/p Σ_c (λ_ic − λ_jc) (ln λ_ic − ln λ_jc)                    = 1/p Σ_c KL(i‖j) + KL(j‖i)
//! cross-validated: mean over runs k of 1/p Σ_c (λ⁻ᵏ_ic − λ⁻ᵏ_jc) (ln λᵏ_ic − ln λᵏ_jc)
//! ```
//!
//! in nats per channel; λᵏ from run k, λ⁻ᵏ from the mean over the others. The plain form is ≥ 0 and biased upwards by
//! noise; the cross-validated one may be negative. A run counts for a pair where it and some other run hold both
//! conditions; a pair without such a run is NaN. Source: specs: peers 1.1, STYLE smell 1. Differs from rsatoolbox
//! 0.3.2, whose cross-validated form returns the last run alone. Cost: 2 n² p, for each run if cross-validated.

use std::ops::Range;

use faer::MatRef;

use super::products::{copy, row_products};
use super::repeats::Repeats;
use super::{check_patterns, products::Rows};
use stereotax_base::data::{Error, Monitor, Rdm, Result};
use stereotax_base::linalg::Real;

/// What rates are drawn towards, so that none is 0.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PoissonPrior {
    /// λ₀ > 0. Default 1.
    pub rate: f64,
    /// w ≥ 0, in measurements. Default 0.1.
    pub weight: f64,
    /// Divide by the number of channels. Default true.
    pub per_channel: bool,
}

impl Default for PoissonPrior {
    fn default() -> Self {
        PoissonPrior { rate: 1.0, weight: 0.1, per_channel: true }
    }
}

impl PoissonPrior {
    pub(super) fn check<T: Real>(&self, x: MatRef<T>) -> Result<()> {
        if !(self.rate > 0.0 && self.rate.is_finite() && self.weight >= 0.0 && self.weight.is_finite()) {
            return Err(Error::Invalid {
                what: "prior".into(),
                expected: "a rate above 0 and a weight from 0".into(),
                found: format!("rate {}, weight {}", self.rate, self.weight),
                hint: "1 and 0.1 are customary".into(),
            });
        }
        for i in 0..x.nrows() {
            for j in 0..x.ncols() {
                let value: f64 = x[(i, j)].into();
                if value < 0.0 || (value == 0.0 && self.weight == 0.0) {
                    return Err(Error::Invalid {
                        what: format!("patterns at row {i}, column {j}"),
                        expected: "a rate from 0 (above 0 without a prior)".into(),
                        found: value.to_string(),
                        hint:
                            "Poisson divergences are for counts and rates; use another measure for z-scores"
                                .into(),
                    });
                }
            }
        }
        Ok(())
    }

    pub(super) fn rate_of(&self, mean: f64) -> f64 {
        (mean + self.rate * self.weight) / (1.0 + self.weight)
    }
}

/// Rows [first, second] or [second, first], whose products are Σ a_i b_j + b_i a_j.
pub(super) fn both_ways<'a>(
    n_channels: usize,
    first: impl Fn(usize, Range<usize>, &mut [f64]) + Sync + 'a,
    second: impl Fn(usize, Range<usize>, &mut [f64]) + Sync + 'a,
    swapped: bool,
) -> impl Rows + 'a {
    move |row: usize, columns: Range<usize>, out: &mut [f64]| {
        let middle = columns.start.max(columns.end.min(n_channels));
        let (a, b) = out.split_at_mut(middle - columns.start);
        let after = middle.max(n_channels) - n_channels..columns.end.max(n_channels) - n_channels;
        let (one, other): (&dyn Rows, &dyn Rows) =
            if swapped { (&second, &first) } else { (&first, &second) };
        if !a.is_empty() {
            one.fill(row, columns.start..middle, a);
        }
        if !b.is_empty() {
            other.fill(row, after, b);
        }
    }
}

/// RDM of Poisson divergences; `patterns` is conditions × channels of mean counts or rates.
///
/// Errors: fewer than 2 conditions, negative or not finite rates, zeros without a prior.
pub fn poisson_rdm<T: Real>(patterns: MatRef<T>, prior: PoissonPrior, monitor: &Monitor<'_>) -> Result<Rdm> {
    check_patterns(patterns, 1)?;
    prior.check(patterns)?;
    let rates = |row: usize, columns: Range<usize>, out: &mut [f64]| {
        copy(patterns, row, columns, out);
        out.iter_mut().for_each(|value| *value = prior.rate_of(*value));
    };
    let logs = |row: usize, columns: Range<usize>, out: &mut [f64]| {
        copy(patterns, row, columns, out);
        out.iter_mut().for_each(|value| *value = prior.rate_of(*value).ln());
    };
    let value = divergences(patterns.nrows(), patterns.ncols(), rates, logs, monitor)?;
    let channels = if prior.per_channel { patterns.ncols() as f64 } else { 1.0 };
    Rdm::new(patterns.nrows(), value.into_iter().map(|d| d.max(0.0) / channels).collect())
}

/// Σ_c (λ_i − λ_j)(ln_i − ln_j) of all pairs.
fn divergences(
    n: usize,
    p: usize,
    rates: impl Fn(usize, Range<usize>, &mut [f64]) + Sync + Copy,
    logs: impl Fn(usize, Range<usize>, &mut [f64]) + Sync + Copy,
    monitor: &Monitor<'_>,
) -> Result<Vec<f64>> {
    let left = both_ways(p, rates, logs, false);
    let right = both_ways(p, rates, logs, true);
    let products = row_products(n, 2 * p, &left, Some(&right), monitor)?;
    let own = products.diagonal();
    Ok(products.to_rdm(|i, j, mixed| 0.5 * (own[i] + own[j]) - mixed)?.into_values())
}

/// Cross-validated over runs; `patterns` is measurements × channels.
///
/// Errors: as [`poisson_rdm`]; labels of another length, fewer than 2 runs.
pub fn poisson_rdm_cross_validated<T: Real>(
    patterns: MatRef<T>,
    repeats: &Repeats<'_>,
    prior: PoissonPrior,
    monitor: &Monitor<'_>,
) -> Result<Rdm> {
    let cells = repeats.cells(patterns)?;
    prior.check(patterns)?;
    let (n, n_runs, p) = (cells.n_conditions, cells.n_runs, cells.n_channels);
    let there = |condition: usize, run: usize| cells.counts[condition * n_runs + run] > 0;
    let mean = |condition: usize, run: usize| &cells.means[(condition * n_runs + run) * p..][..p];
    let mut sums = vec![0.0; n * (n - 1) / 2];
    let mut folds = vec![0usize; sums.len()];
    for test in 0..n_runs {
        // Conditions that this run and some other hold.
        let used: Vec<usize> = (0..n)
            .filter(|&i| there(i, test) && (0..n_runs).any(|run| run != test && there(i, run)))
            .collect();
        if used.len() < 2 {
            continue;
        }
        let (mut rates, mut logs) = (vec![0.0; used.len() * p], vec![0.0; used.len() * p]);
        for (at, &i) in used.iter().enumerate() {
            let others: Vec<usize> = (0..n_runs).filter(|&run| run != test && there(i, run)).collect();
            for c in 0..p {
                let others_mean =
                    others.iter().map(|&run| mean(i, run)[c]).sum::<f64>() / others.len() as f64;
                rates[at * p + c] = prior.rate_of(others_mean);
                logs[at * p + c] = prior.rate_of(mean(i, test)[c]).ln();
            }
        }
        let rates = |row: usize, columns: Range<usize>, out: &mut [f64]| {
            out.copy_from_slice(&rates[row * p..][columns]);
        };
        let logs = |row: usize, columns: Range<usize>, out: &mut [f64]| {
            out.copy_from_slice(&logs[row * p..][columns]);
        };
        let found = divergences(used.len(), p, rates, logs, monitor)?;
        let mut found = found.into_iter();
        for (at, &i) in used.iter().enumerate() {
            for &j in &used[at + 1..] {
                let pair = stereotax_base::data::rdm::pair_index(n, i, j);
                sums[pair] += found.next().unwrap_or(f64::NAN);
                folds[pair] += 1;
            }
        }
    }
    let channels = if prior.per_channel { p as f64 } else { 1.0 };
    let value = |(sum, count): (f64, usize)| if count > 0 { sum / count as f64 / channels } else { f64::NAN };
    Rdm::new(n, sums.into_iter().zip(folds).map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::{Mat, mat};
    use stereotax_base::stats::rng::Stream;

    #[test]
    fn a_divergence_by_hand() {
        // Rates (1, 4) and (e, 4) without a prior: (e − 1)(1 − 0) / 2.
        let x = mat![[1.0, 4.0], [std::f64::consts::E, 4.0]];
        let prior = PoissonPrior { weight: 0.0, ..PoissonPrior::default() };
        let found = poisson_rdm(x.as_ref(), prior, &Monitor::silent()).unwrap();
        assert!((found.values()[0] - (std::f64::consts::E - 1.0) / 2.0).abs() < 1e-14);
        // With the prior, (0 + 0.1) / 1.1 and (2.1) / 1.1.
        let x = mat![[0.0], [2.0]];
        let found = poisson_rdm(x.as_ref(), PoissonPrior::default(), &Monitor::silent()).unwrap();
        assert!((found.values()[0] - 2.0 / 1.1 * 21f64.ln()).abs() < 1e-14);
        let message = poisson_rdm(mat![[0.0], [-2.0]].as_ref(), PoissonPrior::default(), &Monitor::silent());
        assert!(message.unwrap_err().to_string().contains("row 1, column 0"));
        assert!(poisson_rdm(x.as_ref(), prior, &Monitor::silent()).is_err());
    }

    #[test]
    fn all_runs_count_and_their_names_do_not() {
        let mut stream = Stream::new(8, "counts", 0);
        let (conditions, runs): (Vec<usize>, Vec<usize>) = (0..12).map(|row| (row % 4, row / 4)).unzip();
        let x = Mat::from_fn(12, 1500, |row, c| (stream.uniform() * (3 + row % 4 + c % 5) as f64).floor());
        let of = |runs: &[usize]| {
            let repeats = Repeats { conditions: &conditions, runs };
            poisson_rdm_cross_validated(x.as_ref(), &repeats, PoissonPrior::default(), &Monitor::silent())
                .unwrap()
        };
        let found = of(&runs);
        let prior = PoissonPrior::default();
        // The definition for the pair (1, 3).
        let mut slow = 0.0;
        for test in 0..3 {
            for c in 0..1500 {
                let other = |i: usize| {
                    let sum: f64 = (0..3).filter(|run| *run != test).map(|run| x[(4 * run + i, c)]).sum();
                    prior.rate_of(sum / 2.0)
                };
                let own = |i: usize| prior.rate_of(x[(4 * test + i, c)]).ln();
                slow += (other(1) - other(3)) * (own(1) - own(3)) / 1500.0 / 3.0;
            }
        }
        assert!((found.get(1, 3) - slow).abs() < 1e-12);
        for names in [[2, 0, 1], [1, 2, 0]] {
            let renamed: Vec<usize> = runs.iter().map(|run| names[*run]).collect();
            assert!(of(&renamed).values().iter().zip(found.values()).all(|(a, b)| (a - b).abs() < 1e-12));
        }
        // Condition 3 is left in one run: three pairs are undefined.
        let kept: Vec<usize> = (0..12).filter(|row| row % 4 != 3 || *row < 4).collect();
        let some = stereotax_base::linalg::select_rows(x.as_ref(), &kept);
        let conditions: Vec<usize> = kept.iter().map(|row| row % 4).collect();
        let runs: Vec<usize> = kept.iter().map(|row| row / 4).collect();
        let repeats = Repeats { conditions: &conditions, runs: &runs };
        let found = poisson_rdm_cross_validated(some.as_ref(), &repeats, prior, &Monitor::silent()).unwrap();
        assert_eq!(found.n_undefined(), 3);
    }
}
