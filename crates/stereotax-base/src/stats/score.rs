//! Score held-out predictions against responses, per ROI, and draw what chance would give.
//!
//! Predictions P and responses Y are n_samples × n_rois, in runs f of n_f samples. Per ROI
//! r = Σ_f n_f r_f / Σ_f n_f with r_f Pearson's correlation within run f: the correlation of the
//! concatenated, run-wise standardised series.
//!
//! A constant prediction or response has no correlation: the run is left out of that ROI's r and counted;
//! if no run is left, r is NaN. Scores of r are listed at [`ScoreKind`].
//!
//! Null draws shift predictions within runs, or move blocks of samples within runs; every ROI sees the
//! same shift or move b, so max-T over any set of cells can be rerun from the stored draws.
//! Source: specs: nfas-dmd 9. Cost: O(n_moves·n_samples·n_rois), where n_moves is the number of
//! draws for blocks and of different shifts of a run (at most the draws) for shifts.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::resampling::{ResamplingSupport, circular_shifts, permute_by_id, shift_choices, support_of};
use super::summary::{
    check_finite, column, fisher_mean, is_constant, mean, pearson, permutation_p, tie_tolerance,
};
use crate::data::{Error, Monitor, Result, Runs};
use crate::linalg::dot;

/// What is reported of a correlation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreKind {
    /// r² (the default). It cannot tell anti-correlation from correlation: keep r beside it.
    #[default]
    R2,
    /// r·|r|.
    Signed,
    /// max(r, 0)².
    Clipped,
    /// r²/ceiling², with the ceiling as a correlation.
    Ceil,
    /// max(0, r² − 1/n_eff).
    Debiased,
}

impl ScoreKind {
    /// The score of r. NaN where r is, and for `Ceil` where the ceiling is not positive.
    ///
    /// `ceiling` is used by `Ceil` alone, `n_eff` by `Debiased` alone.
    pub fn of(self, r: f64, ceiling: f64, n_eff: f64) -> f64 {
        if r.is_nan() {
            return f64::NAN;
        }
        match self {
            ScoreKind::R2 => r * r,
            ScoreKind::Signed => r * r.abs(),
            ScoreKind::Clipped => r.max(0.0).powi(2),
            ScoreKind::Ceil if ceiling > 0.0 => (r / ceiling).powi(2),
            ScoreKind::Ceil => f64::NAN,
            ScoreKind::Debiased if n_eff > 0.0 => (r * r - 1.0 / n_eff).max(0.0),
            ScoreKind::Debiased => f64::NAN,
        }
    }
}

/// Run-weighted correlations.
#[derive(Debug, Clone)]
pub struct Correlations {
    /// r per ROI, in [−1, 1]; NaN if no run has one.
    pub r: Vec<f64>,
    /// r_f, n_runs × n_rois.
    pub per_run: Mat<f64>,
    /// Runs without a correlation, per ROI.
    pub n_undefined_runs: Vec<usize>,
    /// Samples in the runs that count, per ROI.
    pub n_samples: Vec<usize>,
    /// ROIs without any correlation.
    pub n_undefined: usize,
}

/// Run-weighted Pearson correlation per ROI.
///
/// Errors: different shapes, runs that do not cover the samples, values that are not finite.
pub fn run_weighted_correlation(
    predictions: MatRef<f64>,
    responses: MatRef<f64>,
    runs: &Runs,
) -> Result<Correlations> {
    check(predictions, responses, runs)?;
    let n_rois = predictions.ncols();
    let by_roi: Vec<Vec<f64>> = (0..n_rois)
        .into_par_iter()
        .map(|j| {
            let (p, y) = (column(predictions, j), column(responses, j));
            runs.ranges().map(|range| pearson(&p[range.clone()], &y[range])).collect()
        })
        .collect();
    let weights: Vec<usize> = runs.ranges().map(|range| range.len()).collect();
    let (mut r, mut undefined, mut samples) = (Vec::new(), Vec::new(), Vec::new());
    for run_r in &by_roi {
        let kept = || run_r.iter().zip(&weights).filter(|(r, _)| !r.is_nan());
        let n: usize = kept().map(|(_, n)| n).sum();
        r.push(kept().map(|(r, &n)| n as f64 * r).sum::<f64>() / n as f64);
        undefined.push(run_r.len() - kept().count());
        samples.push(n);
    }
    Ok(Correlations {
        n_undefined: r.iter().filter(|r| r.is_nan()).count(),
        per_run: Mat::from_fn(weights.len(), n_rois, |f, j| by_roi[j][f]),
        r,
        n_undefined_runs: undefined,
        n_samples: samples,
    })
}

/// Effective number of independent samples per ROI.
///
/// Within a run of n samples n_eff = n/(1 + 2 Σ_{k≥1} (1 − k/n) ρ_p(k) ρ_y(k)), ρ the autocorrelations of
/// prediction and response; over runs, n²/Σ_f (n_f²/n_eff,f). Lags run to n/4, at most `max_lag`; n_eff
/// never exceeds n, since a negative sum is mostly noise. NaN where a side is constant in every run; runs
/// where one is are left out. E[r²] = 1/n_eff without any relation.
pub fn effective_samples(
    predictions: MatRef<f64>,
    responses: MatRef<f64>,
    runs: &Runs,
    max_lag: usize,
) -> Result<Vec<f64>> {
    check(predictions, responses, runs)?;
    Ok((0..predictions.ncols())
        .into_par_iter()
        .map(|j| {
            let (p, y) = (column(predictions, j), column(responses, j));
            let (mut n, mut spread) = (0.0, 0.0);
            for range in runs.ranges() {
                let (p, y) = (&p[range.clone()], &y[range]);
                if is_constant(p) || is_constant(y) {
                    continue;
                }
                let length = p.len() as f64;
                let lags = (p.len() / 4).min(max_lag);
                let (rho_p, rho_y) = (autocorrelation(p, lags), autocorrelation(y, lags));
                let sum: f64 = (1..=lags).map(|k| (1.0 - k as f64 / length) * rho_p[k] * rho_y[k]).sum();
                let inflation = (1.0 + 2.0 * sum).max(1.0);
                n += length;
                spread += length * inflation;
            }
            n * n / spread
        })
        .collect())
}

/// ρ(0) … ρ(max_lag) of one series, with the divisor n at every lag.
fn autocorrelation(x: &[f64], max_lag: usize) -> Vec<f64> {
    let centre = mean(x);
    let x: Vec<f64> = x.iter().map(|v| v - centre).collect();
    let power = dot(&x, &x);
    (0..=max_lag).map(|k| dot(&x[k..], &x[..x.len() - k]) / power).collect()
}

/// Averages over subjects: r through Fisher's z, the score as it is. Undefined subjects are left out.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SubjectAverage {
    /// Fisher-z mean of r per ROI.
    pub r: Vec<f64>,
    /// Arithmetic mean of the scores per ROI.
    pub score: Vec<f64>,
    /// Subjects without a score per ROI.
    pub n_undefined: Vec<usize>,
}

/// Average correlations and scores (both n_subjects × n_rois) over subjects.
pub fn average_over_subjects(r: MatRef<f64>, scores: MatRef<f64>) -> Result<SubjectAverage> {
    same_shape("scores", scores, r)?;
    let defined = |x: MatRef<f64>, j| column(x, j).into_iter().filter(|v| !v.is_nan()).collect::<Vec<_>>();
    let n_rois = r.ncols();
    Ok(SubjectAverage {
        r: (0..n_rois).map(|j| fisher_mean(&defined(r, j))).collect(),
        score: (0..n_rois).map(|j| mean(&defined(scores, j))).collect(),
        n_undefined: (0..n_rois).map(|j| r.nrows() - defined(scores, j).len()).collect(),
    })
}

/// How chance is imitated.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NullScheme {
    /// Shift predictions circularly within each run, by at least this many samples and at least a tenth of
    /// the run. For time series: it keeps their autocorrelation.
    CircularShift {
        /// Least shift, in samples.
        min_shift: usize,
    },
    /// Exchange blocks (stimuli, clips) of equal length within each run. One id per sample; the samples of
    /// a block stand together and keep their order.
    Blocks {
        /// Block of each sample.
        block_ids: Vec<String>,
    },
}

/// What null draws of cross-validated predictions are multiplied by: √2.
///
/// Where every sample is predicted by a linear map fitted to the others, r is close to a quadratic form
/// yᵀA y in the responses, A = the products of features, which is symmetric: the pair (s, t) enters
/// twice, when s is predicted from t and when t is predicted from s. A draw moves predictions against
/// responses and leaves these as they are, so it is a bilinear form y'ᵀA y, in which the two count as
/// independent. For independent y the variances are 2‖A‖² and ‖A‖². Without the factor a nominal 5 % is
/// P(z > 1.645/√2) = 12 %. For very few features the factor errs on the safe side.
pub const CROSS_VALIDATED_SPREAD: f64 = std::f64::consts::SQRT_2;

/// How null draws are made.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NullParams {
    /// What is moved.
    pub scheme: NullScheme,
    /// Draws (1000 or more are customary).
    pub n_permutations: usize,
    /// Seed of the draws. The same seed gives every model, subject and ROI the same moves.
    pub seed: u64,
    /// What null correlations are multiplied by: 1 where predictions owe nothing to these responses,
    /// [`CROSS_VALIDATED_SPREAD`] where they were fitted to them in other folds.
    pub spread: f64,
}

/// Correlations with their null draws.
#[derive(Debug, Clone)]
pub struct CorrelationTest {
    /// The observed correlations.
    pub observed: Correlations,
    /// P(r under chance ≥ r) per ROI; NaN where r is.
    pub p_value: Vec<f64>,
    /// Null correlations, n_permutations × n_rois, draw after draw; NaN where r is.
    pub null: Vec<f32>,
    /// What the draws can support.
    pub support: ResamplingSupport,
}

/// Test the run-weighted correlation of every ROI against null draws (one-sided, large r is extreme).
///
/// Errors: as [`run_weighted_correlation`]; runs too short to be shifted; block ids that do not match or
/// whose samples are scattered.
pub fn correlation_test(
    predictions: MatRef<f64>,
    responses: MatRef<f64>,
    runs: &Runs,
    params: &NullParams,
    monitor: &Monitor,
) -> Result<CorrelationTest> {
    let observed = run_weighted_correlation(predictions, responses, runs)?;
    let moves = Moves::new(runs, params)?;
    let n_rois = predictions.ncols();
    let p = standardised(predictions, responses, runs);
    let y = standardised(responses, predictions, runs);
    let scale = |total: f64, j: usize| (params.spread * total / observed.n_samples[j] as f64) as f32;
    let null = match params.scheme {
        NullScheme::CircularShift { min_shift } => {
            let shifts = (0..params.n_permutations)
                .map(|index| circular_shifts(runs, min_shift, params.seed, index))
                .collect::<Result<Vec<_>>>()?;
            shifted(&p, &y, runs, &shifts, scale, monitor)?
        }
        NullScheme::Blocks { .. } => {
            let draws: Vec<Vec<f32>> = (0..params.n_permutations)
                .into_par_iter()
                .map(|index| {
                    monitor.check()?;
                    let source = moves.segments(params.seed, index);
                    let total = |j: usize| -> f64 {
                        source.iter().map(|s| dot(&p[j][s.from..][..s.len], &y[j][s.to..][..s.len])).sum()
                    };
                    Ok((0..n_rois).map(|j| scale(total(j), j)).collect())
                })
                .collect::<Result<_>>()?;
            draws.concat()
        }
    };
    let p_value = (0..n_rois)
        .map(|j| {
            let r = observed.r[j];
            let threshold = r - tie_tolerance(r).max(f64::from(f32::EPSILON));
            let n_exceeding =
                null.iter().skip(j).step_by(n_rois).filter(|&&x| f64::from(x) >= threshold).count();
            if r.is_nan() { f64::NAN } else { permutation_p(n_exceeding, params.n_permutations) }
        })
        .collect();
    let support = support_of(moves.n_distinct, params.n_permutations, &moves.of);
    Ok(CorrelationTest { observed, p_value, null, support })
}

/// A stretch of predictions that meets a stretch of responses.
pub(super) struct Segment {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) len: usize,
}

/// What may be moved, checked and counted.
pub(super) struct Moves {
    /// Classes of blocks that may change places: their ids and first samples, and their common length.
    classes: Vec<(Vec<String>, Vec<usize>, usize)>,
    pub(super) n_distinct: f64,
    pub(super) of: String,
}

impl Moves {
    pub(super) fn new(runs: &Runs, params: &NullParams) -> Result<Self> {
        if params.n_permutations == 0 {
            return Err(Error::Invalid {
                what: "n_permutations".into(),
                expected: "at least 1".into(),
                found: "0".into(),
                hint: "1000 draws are customary".into(),
            });
        }
        let block_ids = match &params.scheme {
            NullScheme::CircularShift { min_shift } => {
                circular_shifts(runs, *min_shift, params.seed, 0)?;
                let n_distinct =
                    runs.ranges().map(|range| shift_choices(range.len(), *min_shift) as f64).product();
                return Ok(Moves { classes: Vec::new(), n_distinct, of: format!("{} runs", runs.n_runs()) });
            }
            NullScheme::Blocks { block_ids } => block_ids,
        };
        if block_ids.len() != runs.n_samples() {
            return Err(Error::Shape {
                what: "block_ids".into(),
                expected: format!("{} ids (one per sample)", runs.n_samples()),
                found: format!("{} ids", block_ids.len()),
                hint: "repeat a block's id for each of its samples".into(),
            });
        }
        let mut classes: Vec<(usize, Vec<String>, Vec<usize>, usize)> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for (run, range) in runs.ranges().enumerate() {
            let mut start = range.start;
            while start < range.end {
                let id = &block_ids[start];
                let len = block_ids[start..range.end].iter().take_while(|other| *other == id).count();
                if !seen.insert(id.clone()) {
                    return Err(Error::Invalid {
                        what: "block_ids".into(),
                        expected: "the samples of each block to stand together in one run".into(),
                        found: format!("block `{id}` begins again at sample {start} (counted from 0)"),
                        hint: "sort samples by run and block, or name the blocks apart".into(),
                    });
                }
                match classes.iter_mut().find(|c| c.0 == run && c.3 == len) {
                    Some(class) => {
                        class.1.push(id.clone());
                        class.2.push(start);
                    }
                    None => classes.push((run, vec![id.clone()], vec![start], len)),
                }
                start += len;
            }
        }
        let n_distinct =
            classes.iter().map(|c| (1..=c.1.len()).fold(1.0, |product, k| product * k as f64)).product();
        Ok(Moves {
            of: format!("{} blocks", seen.len()),
            classes: classes.into_iter().map(|(_, ids, starts, len)| (ids, starts, len)).collect(),
            n_distinct,
        })
    }

    /// Draw `index` of blocks: which predictions meet which responses.
    pub(super) fn segments(&self, seed: u64, index: usize) -> Vec<Segment> {
        self.classes
            .iter()
            .flat_map(|(ids, starts, len)| {
                permute_by_id(ids, seed, index)
                    .into_iter()
                    .enumerate()
                    .map(|(to, from)| Segment { from: starts[from], to: starts[to], len: *len })
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

/// Null correlations of circular shifts, draw after draw; `shifts[b]` has one shift per run.
///
/// Draws share shifts: each run meets each of its shifts once per ROI, and a draw adds up its runs.
fn shifted(
    p: &[Vec<f64>],
    y: &[Vec<f64>],
    runs: &Runs,
    shifts: &[Vec<usize>],
    scale: impl Fn(f64, usize) -> f32 + Sync,
    monitor: &Monitor,
) -> Result<Vec<f32>> {
    let used: Vec<Vec<usize>> = (0..runs.n_runs())
        .map(|run| {
            let mut used: Vec<usize> = shifts.iter().map(|draw| draw[run]).collect();
            used.sort_unstable();
            used.dedup();
            used
        })
        .collect();
    // Place of each draw's shift among those of the run, run after run.
    let places: Vec<Vec<usize>> = (0..runs.n_runs())
        .map(|run| shifts.iter().map(|draw| used[run].partition_point(|&s| s < draw[run])).collect())
        .collect();
    let columns: Vec<Vec<f32>> = (0..p.len())
        .into_par_iter()
        .map(|j| {
            monitor.check()?;
            let mut totals = vec![0.0; shifts.len()];
            for ((range, used), places) in runs.ranges().zip(&used).zip(&places) {
                let (p, y) = (&p[j][range.clone()], &y[j][range]);
                // The prediction at t meets the response at t + shift, around the run's end.
                let meet = |shift: usize| {
                    let kept = p.len() - shift;
                    dot(&p[..kept], &y[shift..]) + dot(&p[kept..], &y[..shift])
                };
                let products: Vec<f64> = used.iter().map(|&shift| meet(shift)).collect();
                totals.iter_mut().zip(places).for_each(|(total, &at)| *total += products[at]);
            }
            Ok(totals.into_iter().map(|total| scale(total, j)).collect())
        })
        .collect::<Result<_>>()?;
    Ok((0..shifts.len()).flat_map(|draw| columns.iter().map(move |column| column[draw])).collect())
}

/// Columns of `x`, standardised within runs (divisor n); zeros in runs where `x` or `other` is constant.
fn standardised(x: MatRef<f64>, other: MatRef<f64>, runs: &Runs) -> Vec<Vec<f64>> {
    (0..x.ncols())
        .into_par_iter()
        .map(|j| {
            let (mut values, other) = (column(x, j), column(other, j));
            for range in runs.ranges() {
                let run = &mut values[range.clone()];
                if is_constant(run) || is_constant(&other[range]) {
                    run.fill(0.0);
                    continue;
                }
                let centre = mean(run);
                run.iter_mut().for_each(|v| *v -= centre);
                let scale = (run.iter().map(|v| v * v).sum::<f64>() / run.len() as f64).sqrt();
                run.iter_mut().for_each(|v| *v /= scale);
            }
            values
        })
        .collect()
}

fn check(predictions: MatRef<f64>, responses: MatRef<f64>, runs: &Runs) -> Result<()> {
    same_shape("predictions", predictions, responses)?;
    if runs.n_samples() != responses.nrows() {
        return Err(Error::Shape {
            what: "runs".into(),
            expected: format!("{} samples (as the responses)", responses.nrows()),
            found: format!("{} samples", runs.n_samples()),
            hint: "the runs must cover every held-out sample".into(),
        });
    }
    check_finite("predictions", predictions)?;
    check_finite("responses", responses)
}

fn same_shape(what: &str, found: MatRef<f64>, expected: MatRef<f64>) -> Result<()> {
    if (found.nrows(), found.ncols()) == (expected.nrows(), expected.ncols()) {
        return Ok(());
    }
    Err(Error::Shape {
        what: what.into(),
        expected: format!("{} × {}", expected.nrows(), expected.ncols()),
        found: format!("{} × {}", found.nrows(), found.ncols()),
        hint: "rows are samples (or subjects) and columns ROIs, the same in both".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;

    fn two_runs(a: usize, b: usize) -> Runs {
        Runs::from_lengths(&["one".into(), "two".into()], &[a, b]).unwrap()
    }

    /// An AR(1) series.
    fn red(n: usize, a: f64, stream: &mut Stream) -> Vec<f64> {
        let mut x = stream.normal() / (1.0 - a * a).sqrt();
        (0..n)
            .map(|_| {
                x = a * x + stream.normal();
                x
            })
            .collect()
    }

    #[test]
    fn runs_are_weighted_by_their_length_and_undefined_ones_counted() {
        // Run one: (1, 2, 3) with (1, 3, 2), r = 1/2; run two: 5 samples, r = −1; ROI 1 is constant in run one.
        let y0 = [1.0, 3.0, 2.0, 5.0, 4.0, 3.0, 2.0, 1.0];
        let p0 = [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let p = Mat::from_fn(8, 3, |i, j| [p0[i], if i < 3 { 0.1 } else { p0[i] }, 0.1][j]);
        let y = Mat::from_fn(8, 3, |i, _| y0[i]);
        let found = run_weighted_correlation(p.as_ref(), y.as_ref(), &two_runs(3, 5)).unwrap();
        assert!((found.r[0] - (3.0 * 0.5 - 5.0) / 8.0).abs() < 1e-15);
        assert!((found.r[1] + 1.0).abs() < 1e-15 && found.r[2].is_nan());
        assert_eq!((found.n_undefined_runs, found.n_undefined), (vec![0, 1, 2], 1));
        assert_eq!(found.n_samples, [8, 5, 0]);
    }

    #[test]
    fn score_kinds_by_hand() {
        let of = |kind: ScoreKind, r| kind.of(r, 0.8, 50.0);
        assert_eq!(of(ScoreKind::R2, -0.5), 0.25);
        assert_eq!(of(ScoreKind::Signed, -0.5), -0.25);
        assert_eq!(of(ScoreKind::Clipped, -0.5), 0.0);
        assert!((of(ScoreKind::Ceil, 0.4) - 0.25).abs() < 1e-15);
        assert!((of(ScoreKind::Debiased, 0.5) - 0.23).abs() < 1e-15);
        assert_eq!(of(ScoreKind::Debiased, 0.1), 0.0);
        assert!(of(ScoreKind::R2, f64::NAN).is_nan() && ScoreKind::Ceil.of(0.5, f64::NAN, 9.0).is_nan());
    }

    #[test]
    fn null_draws_agree_with_shifting_and_correlating() {
        let mut stream = Stream::new(1, "score tests", 0);
        let runs = two_runs(40, 50);
        let p = Mat::from_fn(90, 2, |_, _| stream.normal());
        let y = Mat::from_fn(90, 2, |_, _| stream.normal());
        let scheme = NullScheme::CircularShift { min_shift: 4 };
        let params = NullParams { scheme, n_permutations: 20, seed: 9, spread: 1.0 };
        let found = correlation_test(p.as_ref(), y.as_ref(), &runs, &params, &Monitor::silent()).unwrap();
        for draw in 0..20 {
            let shifts = circular_shifts(&runs, 4, 9, draw).unwrap();
            let mut moved = p.clone();
            for (range, shift) in runs.ranges().zip(shifts) {
                for t in range.clone() {
                    let to = range.start + (t - range.start + shift) % range.len();
                    (0..2).for_each(|j| moved[(to, j)] = p[(t, j)]);
                }
            }
            let twin = run_weighted_correlation(moved.as_ref(), y.as_ref(), &runs).unwrap();
            for j in 0..2 {
                assert!((f64::from(found.null[2 * draw + j]) - twin.r[j]).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn shifted_predictions_give_uniform_p_values_on_red_noise() {
        let runs = two_runs(120, 100);
        let (mut rare, mut half) = (0, 0);
        for seed in 0..200 {
            let mut stream = Stream::new(seed, "score calibration", 0);
            let (p, y) = (red(220, 0.8, &mut stream), red(220, 0.8, &mut stream));
            let (p, y) = (Mat::from_fn(220, 1, |i, _| p[i]), Mat::from_fn(220, 1, |i, _| y[i]));
            let scheme = NullScheme::CircularShift { min_shift: 10 };
            let params = NullParams { scheme, n_permutations: 99, seed, spread: 1.0 };
            let found = correlation_test(p.as_ref(), y.as_ref(), &runs, &params, &Monitor::silent()).unwrap();
            rare += usize::from(found.p_value[0] <= 0.05);
            half += usize::from(found.p_value[0] <= 0.5);
        }
        // Expected 10 ± 3.1 and 100 ± 7.1.
        assert!((1..=21).contains(&rare) && (76..=124).contains(&half), "{rare} {half}");
    }

    #[test]
    fn chance_r2_is_one_over_the_effective_number_of_samples() {
        let runs = Runs::single(300);
        let mut stream = Stream::new(2, "score tests", 1);
        let columns = 400;
        let series = |stream: &mut Stream| -> Mat<f64> {
            let all: Vec<Vec<f64>> = (0..columns).map(|_| red(300, 0.8, stream)).collect();
            Mat::from_fn(300, columns, |i, j| all[j][i])
        };
        let (p, y) = (series(&mut stream), series(&mut stream));
        let r = run_weighted_correlation(p.as_ref(), y.as_ref(), &runs).unwrap().r;
        let r2 = r.iter().map(|r| r * r).sum::<f64>() / columns as f64;
        let n_eff = effective_samples(p.as_ref(), y.as_ref(), &runs, 100).unwrap();
        let expected = n_eff.iter().map(|n| 1.0 / n).sum::<f64>() / columns as f64;
        // In the limit 1/n_eff = (1 + a²)/(1 − a²)/n = 0.0152; r² of 400 pairs has a standard error of 7 %.
        assert!((r2 / 0.0152 - 1.0).abs() < 0.25, "{r2}");
        assert!((expected / 0.0152 - 1.0).abs() < 0.2, "{expected}");
    }

    #[test]
    fn blocks_move_whole_and_by_their_ids() {
        let mut stream = Stream::new(1, "score tests", 2);
        let runs = Runs::single(24);
        let ids: Vec<String> = (0..24).map(|i| format!("c{:02}", i / 2)).collect();
        let p = Mat::from_fn(24, 1, |_, _| stream.normal());
        let y = Mat::from_fn(24, 1, |i, _| p[(i, 0)] + 0.1 * stream.normal());
        let test = |p: &Mat<f64>, y: &Mat<f64>, ids: &[String]| {
            let scheme = NullScheme::Blocks { block_ids: ids.to_vec() };
            let params = NullParams { scheme, n_permutations: 199, seed: 3, spread: 1.0 };
            correlation_test(p.as_ref(), y.as_ref(), &runs, &params, &Monitor::silent()).unwrap()
        };
        let found = test(&p, &y, &ids);
        assert_eq!(found.p_value, [1.0 / 200.0]);
        // Blocks in another order.
        let turn = |x: &Mat<f64>| Mat::from_fn(24, 1, |i, _| x[(22 - 2 * (i / 2) + i % 2, 0)]);
        let turned_ids: Vec<String> = (0..24).map(|i| ids[22 - 2 * (i / 2)].clone()).collect();
        let turned = test(&turn(&p), &turn(&y), &turned_ids);
        assert!(found.null.iter().zip(&turned.null).all(|(a, b)| (a - b).abs() < 1e-6));
        let scattered = NullScheme::Blocks { block_ids: (0..24).map(|i| format!("c{}", i % 2)).collect() };
        let params = NullParams { scheme: scattered, n_permutations: 9, seed: 3, spread: 1.0 };
        let refused = correlation_test(p.as_ref(), y.as_ref(), &runs, &params, &Monitor::silent());
        assert!(refused.unwrap_err().to_string().contains("begins again at sample 2"));
    }

    #[test]
    fn subjects_without_a_score_are_left_out_and_counted() {
        let r = Mat::from_fn(3, 1, |i, _| [0.5, f64::NAN, 0.0][i]);
        let s = Mat::from_fn(3, 1, |i, _| [0.25, f64::NAN, 0.0][i]);
        let found = average_over_subjects(r.as_ref(), s.as_ref()).unwrap();
        assert!((found.r[0] - (0.5f64.atanh() / 2.0).tanh()).abs() < 1e-15);
        assert_eq!((found.score, found.n_undefined), (vec![0.125], vec![1]));
    }
}
