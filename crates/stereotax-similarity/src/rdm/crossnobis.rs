//! Estimate squared distances between conditions without the bias that noise adds.
//!
//! With b_ik the mean pattern of condition i in run k, P the noise precision and δ_k = b_ik − b_jk,
//!
//! ```text
//! shared runs       d_ij = Σ_{k≠l} w_k w_l δ_k P δ_lᵀ / Σ_{k≠l} w_k w_l           over runs that hold i and j
//! all measurements  d_ij = s_ii + s_jj − 2 s_ij,     s_ab: mean of x P yᵀ over all measurements x of a and y of b
//!                                                    from different runs
//! ```
//!
//! w_k = 1, or n_ik n_jk / (n_ik + n_jk), the inverse variance of a difference of means of n_ik and n_jk
//! measurements. Noise of different runs must be independent; then the expectation is the squared distance of the
//! true patterns, so that negative estimates are valid and stay. Differences within a run are blind to what the
//! run adds to all its patterns; `AllMeasurements` uses every measurement but is not. In complete designs all three
//! agree. A pair with fewer than two shared runs (or a condition in one run only) is NaN.
//!
//! Source: Walther et al. 2016; specs: encoding-manifolds 6.2, peers W6. Agrees with rsatoolbox's crossnobis
//! where the design is complete (leave one run out), and, as `AllMeasurements`, with its unbalanced one. Cost: for
//! complete designs and `AllMeasurements` (R + 1) C² p, else (R C)² p, for R runs and C conditions, and the
//! products with P.

use faer::{Mat, MatRef};

use super::noise::NoisePrecision;
use super::products::{Rows, row_products, rows_of};
use super::repeats::{Cells, Repeats};
use stereotax_base::data::{Monitor, Rdm, Result};
use stereotax_base::linalg::{Real, add_gram, add_product};

/// Which products of runs make an estimate where repeats are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunPairing {
    /// Runs that hold both conditions, all alike (the default).
    #[default]
    SharedRuns,
    /// Runs that hold both conditions, by their numbers of measurements.
    SharedRunsByMeasurements,
    /// All measurements of either condition.
    AllMeasurements,
}

/// Choices of crossnobis distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossnobisParams {
    /// Default [`RunPairing::SharedRuns`].
    pub pairing: RunPairing,
    /// Divide by the number of channels. Default true, as is customary.
    pub per_channel: bool,
}

impl Default for CrossnobisParams {
    fn default() -> Self {
        CrossnobisParams { pairing: RunPairing::SharedRuns, per_channel: true }
    }
}

/// Cross-validated squared distances, and what each rests on.
#[derive(Debug, Clone)]
pub struct Crossnobis {
    /// Squared distances; may be negative.
    pub rdm: Rdm,
    /// Runs that hold both conditions of a pair, in the order of the RDM.
    pub shared_runs: Vec<usize>,
    /// Whether every run holds every condition.
    pub complete: bool,
}

/// Crossnobis distances of measurements × channels; without `precision` the channels count as they are.
///
/// Errors: labels of another length, fewer than 2 conditions or runs, values that are not finite, a precision of
/// other channels.
pub fn crossnobis<T: Real>(
    patterns: MatRef<T>,
    repeats: &Repeats<'_>,
    precision: Option<&NoisePrecision>,
    params: &CrossnobisParams,
    monitor: &Monitor<'_>,
) -> Result<Crossnobis> {
    if let Some(precision) = precision {
        precision.check_channels(patterns.ncols())?;
    }
    let mut cells = repeats.cells(patterns)?;
    let complete = cells.counts.iter().all(|count| *count > 0);
    if params.pairing != RunPairing::AllMeasurements {
        cells.centre_runs();
    }
    let weighed = precision.map(|precision| in_columns(precision.times(cells.matrix()).as_ref()));
    let shared_runs = shared_runs(&cells);
    let rdm = of_cells(cells, weighed, params, monitor)?;
    Ok(Crossnobis { rdm, shared_runs, complete })
}

/// Runs that hold both conditions, for every pair.
fn shared_runs(cells: &Cells) -> Vec<usize> {
    let n = cells.n_conditions;
    let runs = |condition: usize| &cells.counts[condition * cells.n_runs..][..cells.n_runs];
    let shared = |i: usize, j: usize| runs(i).iter().zip(runs(j)).filter(|(a, b)| **a > 0 && **b > 0).count();
    (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).map(|(i, j)| shared(i, j)).collect()
}

/// Column after column, without the gaps that matrices may have.
fn in_columns(x: MatRef<f64>) -> Vec<f64> {
    let mut out = Vec::with_capacity(x.nrows() * x.ncols());
    (0..x.ncols()).for_each(|j| out.extend(x.col(j).iter()));
    out
}

/// The distances of cells (centred within runs, for shared runs); `weighed` is the same times the precision.
pub(crate) fn of_cells(
    cells: Cells,
    weighed: Option<Vec<f64>>,
    params: &CrossnobisParams,
    monitor: &Monitor<'_>,
) -> Result<Rdm> {
    let balanced = match params.pairing {
        RunPairing::SharedRuns => cells.counts.iter().all(|count| *count > 0),
        RunPairing::SharedRunsByMeasurements => cells.counts.iter().all(|n| *n > 0 && *n == cells.counts[0]),
        RunPairing::AllMeasurements => false,
    };
    let channels = if params.per_channel { cells.n_channels as f64 } else { 1.0 };
    if balanced {
        let numbers = vec![1.0; cells.counts.len()];
        from_sums(&cells, &cells.means, weighed.as_deref(), &numbers, channels)
    } else if params.pairing == RunPairing::AllMeasurements {
        let numbers: Vec<f64> = cells.counts.iter().map(|count| *count as f64).collect();
        let times = |values: &[f64]| -> Vec<f64> {
            let p = cells.n_channels.max(1);
            values.chunks_exact(p).zip(&numbers).flat_map(|(x, n)| x.iter().map(move |x| x * n)).collect()
        };
        let weighed = weighed.map(|weighed| times(&weighed));
        from_sums(&cells, &times(&cells.means), weighed.as_deref(), &numbers, channels)
    } else {
        from_run_pairs(&cells, weighed.as_deref(), params.pairing, channels, monitor)
    }
}

/// Σ_{k≠l} u_k P v_l = (Σ_k u_k) P (Σ_l v_l) − Σ_k u_k P v_k, u and v: patterns times their numbers.
fn from_sums(
    cells: &Cells,
    left: &[f64],
    right: Option<&[f64]>,
    numbers: &[f64],
    channels: f64,
) -> Result<Rdm> {
    let (n, n_runs, p) = (cells.n_conditions, cells.n_runs, cells.n_channels);
    // (n_channels, n_conditions)
    let sums = |values: &[f64]| {
        let mut out = Mat::<f64>::zeros(p, n);
        for condition in 0..n {
            let out = out.col_as_slice_mut(condition);
            for run in 0..n_runs {
                let cell = &values[(condition * n_runs + run) * p..][..p];
                out.iter_mut().zip(cell).for_each(|(sum, value)| *sum += value);
            }
        }
        out
    };
    // The runs of a condition one below the other: (n_runs · n_channels, n_conditions).
    let stacked = |values| MatRef::from_column_major_slice(values, n_runs * p, n);
    let (mut across, mut within) = (Mat::<f64>::zeros(n, n), Mat::<f64>::zeros(n, n));
    match right {
        None => {
            add_gram(across.as_mut(), sums(left).as_ref());
            add_gram(within.as_mut(), stacked(left));
        }
        Some(right) => {
            add_product(across.as_mut(), sums(left).transpose(), sums(right).as_ref(), 1.0);
            add_product(within.as_mut(), stacked(left).transpose(), stacked(right), 1.0);
        }
    }
    let runs = |i: usize| &numbers[i * n_runs..][..n_runs];
    let totals: Vec<f64> = (0..n).map(|i| runs(i).iter().sum()).collect();
    // Means over pairs of measurements from different runs; j ≤ i.
    let mean = |i: usize, j: usize| {
        let same_run: f64 = runs(i).iter().zip(runs(j)).map(|(a, b)| a * b).sum();
        let pairs = totals[i] * totals[j] - same_run;
        if pairs > 0.0 { (across[(i, j)] - within[(i, j)]) / pairs } else { f64::NAN }
    };
    let own: Vec<f64> = (0..n).map(|i| mean(i, i)).collect();
    let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
    Rdm::new(n, pairs.map(|(i, j)| (own[i] + own[j] - 2.0 * mean(j, i)) / channels).collect())
}

/// Runs that hold both conditions, from the products of all cells.
fn from_run_pairs(
    cells: &Cells,
    weighed: Option<&[f64]>,
    pairing: RunPairing,
    channels: f64,
    monitor: &Monitor<'_>,
) -> Result<Rdm> {
    let (n, n_runs) = (cells.n_conditions, cells.n_runs);
    let left = rows_of(cells.matrix().transpose());
    let right = weighed.map(|weighed| {
        rows_of(MatRef::from_column_major_slice(weighed, cells.n_channels, n * n_runs).transpose())
    });
    let right = right.as_ref().map(|right| right as &dyn Rows);
    let products = row_products(n * n_runs, cells.n_channels, &left, right, monitor)?;
    let weight = |i: usize, j: usize, run: usize| {
        let (a, b) = (cells.counts[i * n_runs + run] as f64, cells.counts[j * n_runs + run] as f64);
        if pairing == RunPairing::SharedRunsByMeasurements { a * b / (a + b) } else { 1.0 }
    };
    let mut values = Vec::with_capacity(n * (n - 1) / 2);
    let mut shared: Vec<(usize, f64)> = Vec::with_capacity(n_runs);
    for i in 0..n {
        monitor.check()?;
        for j in i + 1..n {
            let there =
                |run: &usize| cells.counts[i * n_runs + run] > 0 && cells.counts[j * n_runs + run] > 0;
            shared.clear();
            shared.extend((0..n_runs).filter(there).map(|run| (run, weight(i, j, run))));
            let (mut sum, mut total) = (0.0, 0.0);
            for (at, &(k, w_k)) in shared.iter().enumerate() {
                for &(l, w_l) in &shared[..at] {
                    let (ik, il, jk, jl) = (i * n_runs + k, i * n_runs + l, j * n_runs + k, j * n_runs + l);
                    // k > l and j > i: all of them stand in the lower triangle.
                    let mixed = products.get(jk, il) + products.get(jl, ik);
                    sum += w_k * w_l * (products.get(ik, il) + products.get(jk, jl) - mixed);
                    total += w_k * w_l;
                }
            }
            values.push(sum / total / channels);
        }
    }
    Rdm::new(n, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn params(pairing: RunPairing) -> CrossnobisParams {
        CrossnobisParams { pairing, per_channel: false }
    }

    fn run(x: &Mat<f64>, conditions: &[usize], runs: &[usize], pairing: RunPairing) -> Crossnobis {
        let repeats = Repeats { conditions, runs };
        crossnobis(x.as_ref(), &repeats, None, &params(pairing), &Monitor::silent()).unwrap()
    }

    const ALL: [RunPairing; 3] =
        [RunPairing::SharedRuns, RunPairing::SharedRunsByMeasurements, RunPairing::AllMeasurements];

    #[test]
    fn two_runs_by_hand() {
        // Differences (1, 2) in run 0 and (3, −1) in run 1: their product is 1. Offsets of runs do not matter to
        // shared runs; with all measurements of a complete design they cancel too.
        let x = faer::mat![[1.0, 2.0], [0.0, 0.0], [13.0, 9.0], [10.0, 10.0]];
        for pairing in ALL {
            let found = run(&x, &[0, 1, 0, 1], &[0, 0, 1, 1], pairing);
            assert!((found.rdm.values()[0] - 1.0).abs() < 1e-12, "{pairing:?}");
            assert!(found.complete && found.shared_runs == [2]);
        }
        // Divided by two channels.
        let repeats = Repeats { conditions: &[0, 1, 0, 1], runs: &[0, 0, 1, 1] };
        let found = crossnobis(x.as_ref(), &repeats, None, &CrossnobisParams::default(), &Monitor::silent());
        assert!((found.unwrap().rdm.values()[0] - 0.5).abs() < 1e-12);
    }

    /// By the definition: every two runs, every pair, differences of means.
    fn slow(
        x: &Mat<f64>,
        conditions: &[usize],
        runs: &[usize],
        precision: &NoisePrecision,
        pairing: RunPairing,
    ) -> Vec<f64> {
        let p = x.ncols();
        let (n, n_runs) = (1 + conditions.iter().max().unwrap(), 1 + runs.iter().max().unwrap());
        let dense = precision.to_dense();
        let inner = |a: &[f64], b: &[f64]| -> f64 {
            (0..p).flat_map(|c| (0..p).map(move |d| (c, d))).map(|(c, d)| a[c] * dense[(c, d)] * b[d]).sum()
        };
        let rows = |i: usize, k: usize| -> Vec<usize> {
            (0..x.nrows()).filter(|&row| conditions[row] == i && runs[row] == k).collect()
        };
        let pattern = |row: usize| -> Vec<f64> { (0..p).map(|c| x[(row, c)]).collect() };
        let mut out = vec![];
        for i in 0..n {
            for j in i + 1..n {
                if pairing == RunPairing::AllMeasurements {
                    let similarity = |a: usize, b: usize| {
                        let (mut sum, mut count) = (0.0, 0.0);
                        for r in 0..x.nrows() {
                            for s in 0..x.nrows() {
                                if conditions[r] == a && conditions[s] == b && runs[r] != runs[s] {
                                    sum += inner(&pattern(r), &pattern(s));
                                    count += 1.0;
                                }
                            }
                        }
                        sum / count
                    };
                    out.push(similarity(i, i) + similarity(j, j) - 2.0 * similarity(i, j));
                    continue;
                }
                let (mut sum, mut total) = (0.0, 0.0);
                for k in 0..n_runs {
                    for l in 0..n_runs {
                        let all = [rows(i, k), rows(j, k), rows(i, l), rows(j, l)];
                        if k == l || all.iter().any(Vec::is_empty) {
                            continue;
                        }
                        let mean = |rows: &[usize], c: usize| {
                            rows.iter().map(|&row| x[(row, c)]).sum::<f64>() / rows.len() as f64
                        };
                        let difference = |a: &[usize], b: &[usize]| -> Vec<f64> {
                            (0..p).map(|c| mean(a, c) - mean(b, c)).collect()
                        };
                        let weight = |a: &[usize], b: &[usize]| match pairing {
                            RunPairing::SharedRuns => 1.0,
                            _ => (a.len() * b.len()) as f64 / (a.len() + b.len()) as f64,
                        };
                        let w = weight(&all[0], &all[1]) * weight(&all[2], &all[3]);
                        sum += w * inner(&difference(&all[0], &all[1]), &difference(&all[2], &all[3]));
                        total += w;
                    }
                }
                out.push(sum / total);
            }
        }
        out
    }

    /// Measurements with some cells repeated and some missing; condition 4 is in one run only.
    fn unbalanced(p: usize) -> (Mat<f64>, Vec<usize>, Vec<usize>) {
        let mut stream = Stream::new(5, "unbalanced", 0);
        let (mut conditions, mut runs) = (vec![], vec![]);
        for k in 0..4 {
            for i in 0..5 {
                let count = if i == 4 { usize::from(k == 2) } else { (i + 2 * k) % 3 + usize::from(k == 0) };
                conditions.extend(vec![i; count]);
                runs.extend(vec![k; count]);
            }
        }
        let x = Mat::from_fn(runs.len(), p, |row, c| {
            stream.normal() + (conditions[row] * (c + 1)) as f64 / 3.0 + 5.0 * runs[row] as f64
        });
        (x, conditions, runs)
    }

    #[test]
    fn unbalanced_designs_are_those_of_the_definition() {
        let (x, conditions, runs) = unbalanced(3);
        let precision =
            NoisePrecision::dense(faer::mat![[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 1.5]]).unwrap();
        for pairing in ALL {
            let repeats = Repeats { conditions: &conditions, runs: &runs };
            let found =
                crossnobis(x.as_ref(), &repeats, Some(&precision), &params(pairing), &Monitor::silent())
                    .unwrap();
            let slow = slow(&x, &conditions, &runs, &precision, pairing);
            for (fast, slow) in found.rdm.values().iter().zip(&slow) {
                let scale = if pairing == RunPairing::AllMeasurements { 1e3 } else { 10.0 };
                assert!(
                    (fast - slow).abs() < 1e-12 * scale || (fast.is_nan() && slow.is_nan()),
                    "{pairing:?}"
                );
            }
            assert_eq!(found.rdm.n_undefined(), 4, "condition 4 is in one run only");
            assert!(!found.complete);
        }
    }

    #[test]
    fn the_order_of_rows_and_the_names_of_runs_do_not_matter() {
        let (x, conditions, runs) = unbalanced(6);
        let order: Vec<usize> = (0..x.nrows()).rev().collect();
        let turned = stereotax_base::linalg::select_rows(x.as_ref(), &order);
        let pick = |codes: &[usize], name: &dyn Fn(usize) -> usize| -> Vec<usize> {
            order.iter().map(|&row| name(codes[row])).collect()
        };
        for pairing in ALL {
            let found = run(&x, &conditions, &runs, pairing);
            let other = run(&turned, &pick(&conditions, &|c| c), &pick(&runs, &|k| (k + 3) % 4), pairing);
            for (a, b) in found.rdm.values().iter().zip(other.rdm.values()) {
                assert!((a - b).abs() < 1e-9 || (a.is_nan() && b.is_nan()));
            }
        }
    }

    #[test]
    fn complete_designs_need_no_run_pairs() {
        let mut stream = Stream::new(6, "complete", 0);
        let conditions: Vec<usize> = (0..24).map(|row| row % 6).collect();
        let runs: Vec<usize> = (0..24).map(|row| row / 6).collect();
        let x = Mat::from_fn(24, 7, |_, _| stream.normal());
        let mut cells = Repeats { conditions: &conditions, runs: &runs }.cells(x.as_ref()).unwrap();
        cells.centre_runs();
        let silent = Monitor::silent();
        let slow = from_run_pairs(&cells, None, RunPairing::SharedRuns, 1.0, &silent).unwrap();
        for pairing in ALL {
            let fast = run(&x, &conditions, &runs, pairing);
            assert!(fast.rdm.values().iter().zip(slow.values()).all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }

    #[test]
    fn estimates_are_unbiased_under_noise_and_plain_distances_are_not() {
        // Patterns at squared distances 0, 9, 9 (sum over 9 channels), noise of unit variance in 3 runs, one
        // condition missing in one of them.
        let (n_draws, p) = (4000, 9);
        let (conditions, runs) = (vec![0, 1, 2, 0, 1, 2, 0, 1], vec![0, 0, 0, 1, 1, 1, 2, 2]);
        for pairing in ALL {
            let mut sums = [0.0; 3];
            let mut squares = [0.0; 3];
            let mut negative = 0;
            for draw in 0..n_draws {
                let mut stream = Stream::new(7, "noise", draw);
                let x = Mat::from_fn(8, p, |row, _| stream.normal() + f64::from(conditions[row] == 2));
                let found = run(&x, &conditions, &runs, pairing);
                negative += usize::from(found.rdm.values()[0] < 0.0);
                for (pair, value) in found.rdm.values().iter().enumerate() {
                    sums[pair] += value;
                    squares[pair] += value * value;
                }
            }
            for (pair, truth) in [0.0, 9.0, 9.0].into_iter().enumerate() {
                let mean = sums[pair] / n_draws as f64;
                let error = (squares[pair] / n_draws as f64 - mean * mean).sqrt() / (n_draws as f64).sqrt();
                assert!((mean - truth).abs() < 4.0 * error, "{pairing:?} {pair}: {mean} ± {error}");
            }
            assert!((1200..2800).contains(&negative), "{negative}");
        }
    }
}
