//! Estimate how well any model could do: noise ceilings from repeats or from subjects.
//!
//! Responses y_n, n = 1…N (repeats of one subject, or N subjects), each n_samples × n_rois. Per ROI all
//! estimates follow from the N × N covariances C (and correlations ρ) between the y_n:
//!
//! | method | value | kind |
//! | --- | --- | --- |
//! | `ExplainableVariance` | ev − (1 − ev)/(N − 1), ev = mean of ρ over all N² pairs | r² of one repeat |
//! | `SplitHalf` | mean over splits of 2ρ_h/(1 + ρ_h), ρ_h between half means | reliability of the mean |
//! | `SignalPower` | √(SP/var(mean)), SP = (ΣC − tr C)/(N(N − 1)) | r with the mean |
//! | `IscSingle` | √ρ̄, ρ̄ the mean over pairs | r with one subject |
//! | `IscGroup` | √(Nρ̄/(1 + (N − 1)ρ̄)) | r with the group mean |
//! | `LeaveOneOut` | mean over n of ρ between y_n and the mean of the others | r, a lower bound |
//! | `Ncsnr` | 1 − σ_n²/(N var(mean)), σ_n² the variance over repeats of a sample, averaged | r² of the mean |
//!
//! `LeaveOneOut` is what the others reach as a model of one: with subjects, leave one subject out.
//! `Ncsnr` is the noise ceiling of NSD, ncsnr²/(ncsnr² + 1/N) with ncsnr = σ_s/σ_n; variances have the
//! divisor n − 1, and whatever distinguishes repeats, their level too, is noise. Where σ_s² < 0 NSD says 0.
//!
//! Nothing is clipped: a negative r² or reliability is kept with its reason, and has no correlation form; a
//! correlation whose square is negative is NaN. Runs are centred by themselves (and standardised, where
//! the value is made of correlations). Intervals resample blocks of samples, not repeats: a repeat drawn
//! twice would agree with itself.
//! Source: Schoppe et al. 2016; Sahani & Linden 2003; Spearman 1910; Nili et al. 2014; Allen et al. 2022 (NSD);
//! specs: nfas-dmd 8.6, alignment-methods B6.3 and B21.1.
//! Cost: O(n_samples·N²·n_rois) and O(n_bootstraps·n_blocks·N²·n_rois).

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::resampling::multiplicities;
use super::rng::Stream;
use super::summary::{check_finite, column, is_constant, mean, quantile};
use crate::data::{Error, Result, Runs};

/// How the ceiling is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CeilingMethod {
    /// Share of one repeat's variance that repeats, corrected for their number (repeats).
    ExplainableVariance,
    /// Spearman–Brown reliability of the mean over repeats (repeats; the default).
    #[default]
    SplitHalf,
    /// Signal power, as the greatest correlation with the mean (repeats).
    SignalPower,
    /// Inter-subject correlation: what can be reached in one subject (subjects).
    IscSingle,
    /// The same for the mean over subjects (subjects).
    IscGroup,
    /// How well the mean of the others predicts each one (subjects or repeats).
    LeaveOneOut,
    /// Share of the variance of the mean over repeats that is signal, as for NSD (repeats).
    Ncsnr,
}

/// What the numbers of a ceiling are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CeilingKind {
    /// A correlation.
    R,
    /// A share of variance.
    R2,
    /// A reliability: the square of the greatest correlation.
    Reliability,
}

impl CeilingMethod {
    /// What its numbers are.
    pub fn kind(self) -> CeilingKind {
        match self {
            CeilingMethod::ExplainableVariance | CeilingMethod::Ncsnr => CeilingKind::R2,
            CeilingMethod::SplitHalf => CeilingKind::Reliability,
            _ => CeilingKind::R,
        }
    }
}

/// How a ceiling is computed.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CeilingParams {
    /// The method (default split half).
    pub method: CeilingMethod,
    /// Splits into halves; all there are if they are no more (default 100).
    pub n_splits: usize,
    /// Bootstrap draws over blocks (default 500; 0: no interval).
    pub n_bootstraps: usize,
    /// Coverage of the interval (default 0.95).
    pub level: f64,
    /// Block of each sample for the bootstrap; empty: no interval (the default).
    pub block_ids: Vec<String>,
    /// Seed of splits and draws (default 0).
    pub seed: u64,
}

impl Default for CeilingParams {
    fn default() -> Self {
        CeilingParams {
            method: CeilingMethod::SplitHalf,
            n_splits: 100,
            n_bootstraps: 500,
            level: 0.95,
            block_ids: Vec::new(),
            seed: 0,
        }
    }
}

/// Noise ceilings per ROI.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseCeiling {
    /// How they were estimated.
    pub method: CeilingMethod,
    /// What the numbers are.
    pub kind: CeilingKind,
    /// The ceiling per ROI; may be negative for r² and reliability, NaN where undefined.
    pub values: Vec<f64>,
    /// Lower end of the bootstrap interval; NaN without one.
    pub lower: Vec<f64>,
    /// Upper end.
    pub upper: Vec<f64>,
    /// Why a ceiling is undefined, or has no form as a correlation.
    pub reasons: Vec<Option<String>>,
    /// ROIs without a ceiling as a correlation.
    pub n_undefined: usize,
    /// Repeats or subjects.
    pub n_repeats: usize,
    /// N × n_rois: the correlation of each repeat or subject with the mean of the others.
    pub leave_one_out: Mat<f64>,
}

impl NoiseCeiling {
    /// The ceilings as correlations: the root of r² and reliabilities, NaN where these are negative.
    pub fn as_correlations(&self) -> Vec<f64> {
        self.values
            .iter()
            .map(|&v| {
                if self.kind == CeilingKind::R {
                    v
                } else if v >= 0.0 {
                    v.sqrt()
                } else {
                    f64::NAN
                }
            })
            .collect()
    }

    /// ROIs whose ceiling, as a correlation, is at least `least` (0.1 is customary).
    pub fn mask(&self, least: f64) -> Vec<bool> {
        self.as_correlations().iter().map(|&r| r >= least).collect()
    }
}

/// The noise ceiling of every ROI from repeats or subjects (each n_samples × n_rois).
///
/// Errors: fewer than two repeats, different shapes, values that are not finite, runs or blocks that do not
/// cover the samples. Undefined: an ROI where a repeat does not vary.
pub fn noise_ceiling(repeats: &[MatRef<f64>], runs: &Runs, params: &CeilingParams) -> Result<NoiseCeiling> {
    check(repeats, runs, params)?;
    let n = repeats.len();
    let blocks = Blocks::new(runs.n_samples(), params);
    let splits = splits(n, params);
    let standardise = !matches!(
        params.method,
        CeilingMethod::SplitHalf | CeilingMethod::SignalPower | CeilingMethod::Ncsnr
    );
    let rois: Vec<Roi> = (0..repeats[0].ncols())
        .into_par_iter()
        .map(|j| {
            let series: Vec<Vec<f64>> = if params.method == CeilingMethod::Ncsnr {
                centred_together(repeats.iter().map(|r| column(*r, j)).collect(), runs)
            } else {
                repeats.iter().map(|r| within_runs(column(*r, j), runs, standardise)).collect()
            };
            roi_ceiling(&series, &blocks, &splits, params)
        })
        .collect();
    let mut found = NoiseCeiling {
        method: params.method,
        kind: params.method.kind(),
        values: rois.iter().map(|r| r.value).collect(),
        lower: rois.iter().map(|r| r.lower).collect(),
        upper: rois.iter().map(|r| r.upper).collect(),
        reasons: Vec::new(),
        n_undefined: 0,
        n_repeats: n,
        leave_one_out: Mat::from_fn(n, rois.len(), |i, j| rois[j].leave_one_out[i]),
    };
    let correlations = found.as_correlations();
    found.n_undefined = correlations.iter().filter(|r| r.is_nan()).count();
    found.reasons = (0..rois.len())
        .map(|j| {
            if !correlations[j].is_nan() {
                None
            } else if rois[j].constant {
                Some("a repeat or subject does not vary here".into())
            } else {
                Some(format!(
                    "what repeats is negative ({:.3}): no ceiling as a correlation",
                    rois[j].squared
                ))
            }
        })
        .collect();
    Ok(found)
}

struct Roi {
    value: f64,
    /// The value before any root, which tells how far below zero it lies.
    squared: f64,
    lower: f64,
    upper: f64,
    constant: bool,
    leave_one_out: Vec<f64>,
}

/// Blocks of samples and how often each bootstrap draw takes them.
struct Blocks {
    of_sample: Vec<usize>,
    n_blocks: usize,
    draws: Vec<Vec<u32>>,
}

impl Blocks {
    fn new(n_samples: usize, params: &CeilingParams) -> Self {
        if params.block_ids.is_empty() {
            return Blocks { of_sample: vec![0; n_samples], n_blocks: 1, draws: Vec::new() };
        }
        let labels = crate::data::Labels::new(&params.block_ids);
        let draws = (0..params.n_bootstraps)
            .map(|b| multiplicities(labels.names(), params.seed, "bootstrap blocks", b))
            .collect();
        Blocks { of_sample: labels.codes().to_vec(), n_blocks: labels.n_groups(), draws }
    }
}

/// Two halves of equal size, as positions of repeats.
struct Split {
    first: Vec<usize>,
    second: Vec<usize>,
}

fn roi_ceiling(series: &[Vec<f64>], blocks: &Blocks, splits: &[Split], params: &CeilingParams) -> Roi {
    let n = series.len();
    let moments = BlockMoments::new(series, blocks);
    let whole = vec![1; blocks.n_blocks];
    let covariance = moments.covariance(&whole);
    let constant = series.iter().any(|s| is_constant(s));
    let squared_of = |weights: &[u32]| match params.method {
        CeilingMethod::Ncsnr => moments.signal_share(weights),
        method => squared_ceiling(&moments.covariance(weights), n, splits, method),
    };
    let squared = if constant { f64::NAN } else { squared_of(&whole) };
    let value = rooted(squared, params.method);
    let tail = 0.5 * (1.0 - params.level);
    let draws: Vec<f64> = blocks.draws.iter().map(|w| rooted(squared_of(w), params.method)).collect();
    let end = |share| if value.is_nan() { f64::NAN } else { quantile(&draws, share) };
    let leave_one_out = (0..n)
        .map(|i| {
            let others: Vec<usize> = (0..n).filter(|&k| k != i).collect();
            if constant { f64::NAN } else { between(&covariance, n, &[i], &others) }
        })
        .collect();
    Roi { value, squared, lower: end(tail), upper: end(1.0 - tail), constant, leave_one_out }
}

/// Sums and products of the series per block; any draw is a weighted sum of these.
struct BlockMoments {
    n: usize,
    counts: Vec<f64>,
    sums: Vec<f64>,
    products: Vec<f64>,
}

impl BlockMoments {
    fn new(series: &[Vec<f64>], blocks: &Blocks) -> Self {
        let n = series.len();
        let mut counts = vec![0.0; blocks.n_blocks];
        let mut sums = vec![0.0; blocks.n_blocks * n];
        let mut products = vec![0.0; blocks.n_blocks * n * n];
        for (t, &block) in blocks.of_sample.iter().enumerate() {
            counts[block] += 1.0;
            for a in 0..n {
                sums[block * n + a] += series[a][t];
                for b in 0..=a {
                    products[(block * n + a) * n + b] += series[a][t] * series[b][t];
                }
            }
        }
        BlockMoments { n, counts, sums, products }
    }

    /// Covariances (divisor: the number of samples drawn), n × n row after row.
    fn covariance(&self, weights: &[u32]) -> Vec<f64> {
        let n = self.n;
        let mut count = 0.0;
        let (mut sums, mut out) = (vec![0.0; n], vec![0.0; n * n]);
        for (block, &weight) in weights.iter().enumerate().filter(|(_, w)| **w > 0) {
            let weight = f64::from(weight);
            count += weight * self.counts[block];
            sums.iter_mut().zip(&self.sums[block * n..][..n]).for_each(|(s, x)| *s += weight * x);
            out.iter_mut().zip(&self.products[block * n * n..][..n * n]).for_each(|(s, x)| *s += weight * x);
        }
        for a in 0..n {
            for b in 0..=a {
                let c = out[a * n + b] / count - sums[a] * sums[b] / (count * count);
                (out[a * n + b], out[b * n + a]) = (c, c);
            }
        }
        out
    }
}

impl BlockMoments {
    /// 1 − σ_n²/(N var(mean)): the share of signal in the mean over repeats.
    fn signal_share(&self, weights: &[u32]) -> f64 {
        let n = self.n as f64;
        let samples: f64 = weights.iter().zip(&self.counts).map(|(&w, c)| f64::from(w) * c).sum();
        let covariance = self.covariance(weights);
        let of_mean = covariance.iter().sum::<f64>() / (n * n) * samples / (samples - 1.0);
        // Σ_t Σ_n (y_n − ȳ)² = Σ_n Σ_t y_n² − (Σ_ab Σ_t y_a y_b)/n.
        let (mut own, mut all) = (0.0, 0.0);
        for (block, &weight) in weights.iter().enumerate().filter(|(_, w)| **w > 0) {
            let products = &self.products[block * self.n * self.n..][..self.n * self.n];
            for a in 0..self.n {
                own += f64::from(weight) * products[a * self.n + a];
                let beside: f64 = products[a * self.n..a * self.n + a].iter().sum();
                all += f64::from(weight) * (2.0 * beside + products[a * self.n + a]);
            }
        }
        let noise = (own - all / n) / ((n - 1.0) * samples);
        1.0 - noise / (n * of_mean)
    }
}

/// The ceiling of a method, before the root where the method takes one.
fn squared_ceiling(c: &[f64], n: usize, splits: &[Split], method: CeilingMethod) -> f64 {
    let size = n as f64;
    let pairs: Vec<f64> =
        (0..n).flat_map(|a| (0..a).map(move |b| (a, b))).map(|(a, b)| between(c, n, &[a], &[b])).collect();
    let agreement = mean(&pairs);
    match method {
        CeilingMethod::ExplainableVariance => {
            // The mean of all N² correlations, of which N are 1.
            let ev = (1.0 + (size - 1.0) * agreement) / size;
            ev - (1.0 - ev) / (size - 1.0)
        }
        CeilingMethod::SplitHalf => {
            let reliabilities: Vec<f64> = splits
                .iter()
                .map(|s| between(c, n, &s.first, &s.second))
                .map(|rho| 2.0 * rho / (1.0 + rho))
                .collect();
            mean(&reliabilities)
        }
        CeilingMethod::SignalPower => {
            let total: f64 = c.iter().sum();
            let own: f64 = (0..n).map(|a| c[a * n + a]).sum();
            (total - own) / (size * (size - 1.0)) / (total / (size * size))
        }
        CeilingMethod::IscSingle => agreement,
        CeilingMethod::IscGroup => size * agreement / (1.0 + (size - 1.0) * agreement),
        CeilingMethod::LeaveOneOut => {
            let one = |i: usize| between(c, n, &[i], &(0..n).filter(|&k| k != i).collect::<Vec<_>>());
            mean(&(0..n).map(one).collect::<Vec<_>>())
        }
        // Computed from moments that are not centred: see `signal_share`.
        CeilingMethod::Ncsnr => f64::NAN,
    }
}

fn rooted(squared: f64, method: CeilingMethod) -> f64 {
    if method.kind() != CeilingKind::R || method == CeilingMethod::LeaveOneOut {
        squared
    } else if squared >= 0.0 {
        squared.sqrt()
    } else {
        f64::NAN
    }
}

/// Correlation between the means of two sets of series.
fn between(c: &[f64], n: usize, first: &[usize], second: &[usize]) -> f64 {
    let sum = |x: &[usize], y: &[usize]| {
        x.iter().map(|&a| y.iter().map(|&b| c[a * n + b]).sum::<f64>()).sum::<f64>()
    };
    sum(first, second) / (sum(first, first) * sum(second, second)).sqrt()
}

/// All splits into two halves of ⌊N/2⌋ (one repeat is left out if N is odd), or random ones if too many.
fn splits(n: usize, params: &CeilingParams) -> Vec<Split> {
    let half = n / 2;
    if n <= 8 {
        let all: Vec<Split> = (0..3usize.pow(n as u32))
            .filter_map(|code| {
                let place = |i: usize| code / 3usize.pow(i as u32) % 3;
                let of = |side| (0..n).filter(|&i| place(i) == side).collect::<Vec<_>>();
                let (first, second) = (of(0), of(1));
                (first.len() == half && second.len() == half && first[0] < second[0])
                    .then_some(Split { first, second })
            })
            .collect();
        if all.len() <= params.n_splits {
            return all;
        }
    }
    (0..params.n_splits.max(1))
        .map(|k| {
            let order = Stream::new(params.seed, "split halves", k as u64).permutation(n);
            Split { first: order[..half].to_vec(), second: order[half..2 * half].to_vec() }
        })
        .collect()
}

/// Take from each run the mean over its samples and all repeats, which leaves repeats their own levels.
fn centred_together(mut series: Vec<Vec<f64>>, runs: &Runs) -> Vec<Vec<f64>> {
    for range in runs.ranges() {
        let means: Vec<f64> = series.iter().map(|s| mean(&s[range.clone()])).collect();
        let level = mean(&means);
        series.iter_mut().flat_map(|s| &mut s[range.clone()]).for_each(|v| *v -= level);
    }
    series
}

/// Centre each run, and standardise it if asked; a constant run becomes zero.
fn within_runs(mut x: Vec<f64>, runs: &Runs, standardise: bool) -> Vec<f64> {
    for range in runs.ranges() {
        let run = &mut x[range];
        if is_constant(run) {
            run.fill(0.0);
            continue;
        }
        let centre = mean(run);
        run.iter_mut().for_each(|v| *v -= centre);
        if standardise {
            let scale = (run.iter().map(|v| v * v).sum::<f64>() / run.len() as f64).sqrt();
            run.iter_mut().for_each(|v| *v /= scale);
        }
    }
    x
}

/// A score that is corrected by reliabilities of halves.
#[derive(Debug, Clone, PartialEq)]
pub struct HalfCorrected {
    /// Per unit, the corrected correlation; may exceed 1. NaN where undefined.
    pub values: Vec<f64>,
    /// Lower end of the bootstrap interval; NaN without one.
    pub lower: Vec<f64>,
    /// Upper end.
    pub upper: Vec<f64>,
    /// The correlation before correction.
    pub raw: Vec<f64>,
    /// Correlation of the predictions from the two halves.
    pub predicted_reliability: Vec<f64>,
    /// Correlation of the responses of the two halves.
    pub observed_reliability: Vec<f64>,
    /// Units without a value: a side does not vary, or a reliability is below the least.
    pub n_undefined: usize,
}

/// Correct predictivity for noise in source and target, as between animals.
///
/// ```text
/// score = mean of ρ(f₁, b₂) and ρ(f₂, b₁), over √(ρ(f₁, f₂) ρ(b₁, b₂))
/// ```
///
/// f_h (n × units): predictions on test stimuli of a map fitted to half h of the trials; b_h: responses of half
/// h on test stimuli. With an animal as the source, and the mean over animals, this is the inter-animal
/// ceiling; with a model it is the score below that ceiling. Reliabilities are those of halves, as the
/// numerator is: with Spearman–Brown in the denominator a true 1 comes out as .8, and it is not offered.
/// Units with a reliability below `least` (.1 to .3 is customary) have no score. The interval draws the blocks
/// of stimuli that `params` names, as a ceiling does; method and splits of `params` are not used.
/// Errors: different shapes, values that are not finite. Source: specs: alignment-methods B21.1.
pub fn half_corrected(
    predicted: [MatRef<f64>; 2],
    observed: [MatRef<f64>; 2],
    least: f64,
    params: &CeilingParams,
) -> Result<HalfCorrected> {
    let named = [
        ("predicted[0]", predicted[0]),
        ("predicted[1]", predicted[1]),
        ("observed[0]", observed[0]),
        ("observed[1]", observed[1]),
    ];
    let (n, units) = (predicted[0].nrows(), predicted[0].ncols());
    for (what, x) in named {
        if (x.nrows(), x.ncols()) != (n, units) {
            return Err(Error::Shape {
                what: what.into(),
                expected: format!("{n} stimuli × {units} units"),
                found: format!("{} × {}", x.nrows(), x.ncols()),
                hint: "both halves need the same test stimuli and units".into(),
            });
        }
        check_finite(what, x)?;
    }
    check_blocks(n, params)?;
    let blocks = Blocks::new(n, params);
    let tail = 0.5 * (1.0 - params.level);
    let units: Vec<[f64; 6]> = (0..units)
        .into_par_iter()
        .map(|j| {
            let series = [predicted[0], predicted[1], observed[0], observed[1]].map(|x| column(x, j));
            if series.iter().any(|s| is_constant(s)) {
                return [f64::NAN; 6];
            }
            let moments = BlockMoments::new(&series.map(centred), &blocks);
            let of = |weights: &[u32]| {
                let c = moments.covariance(weights);
                let r = |a: usize, b: usize| between(&c, 4, &[a], &[b]);
                let (rel_f, rel_b, raw) = (r(0, 1), r(2, 3), 0.5 * (r(0, 3) + r(1, 2)));
                (raw / (rel_f * rel_b).sqrt(), raw, rel_f, rel_b)
            };
            let (value, raw, rel_f, rel_b) = of(&vec![1; blocks.n_blocks]);
            if !(rel_f >= least && rel_b >= least && rel_f > 0.0 && rel_b > 0.0) {
                return [f64::NAN, f64::NAN, f64::NAN, raw, rel_f, rel_b];
            }
            let draws: Vec<f64> = blocks.draws.iter().map(|w| of(w).0).collect();
            [value, quantile(&draws, tail), quantile(&draws, 1.0 - tail), raw, rel_f, rel_b]
        })
        .collect();
    let field = |at: usize| units.iter().map(|unit| unit[at]).collect::<Vec<f64>>();
    Ok(HalfCorrected {
        n_undefined: units.iter().filter(|unit| unit[0].is_nan()).count(),
        values: field(0),
        lower: field(1),
        upper: field(2),
        raw: field(3),
        predicted_reliability: field(4),
        observed_reliability: field(5),
    })
}

fn centred(mut x: Vec<f64>) -> Vec<f64> {
    let level = mean(&x);
    x.iter_mut().for_each(|v| *v -= level);
    x
}

fn check(repeats: &[MatRef<f64>], runs: &Runs, params: &CeilingParams) -> Result<()> {
    if repeats.len() < 2 {
        return Err(Error::TooFew {
            what: "repeats".into(),
            needed: "2 repeats or subjects".into(),
            found: repeats.len().to_string(),
            hint: "without repeats there is no ceiling: leave it undefined".into(),
        });
    }
    let (n_samples, n_rois) = (runs.n_samples(), repeats[0].ncols());
    for (i, repeat) in repeats.iter().enumerate() {
        let what = format!("repeat {i} (counted from 0)");
        if (repeat.nrows(), repeat.ncols()) != (n_samples, n_rois) {
            return Err(Error::Shape {
                what,
                expected: format!("{n_samples} samples × {n_rois} ROIs"),
                found: format!("{} × {}", repeat.nrows(), repeat.ncols()),
                hint: "all repeats need the same samples, which the runs cover, and the same ROIs".into(),
            });
        }
        check_finite(&what, *repeat)?;
    }
    check_blocks(n_samples, params)
}

fn check_blocks(n_samples: usize, params: &CeilingParams) -> Result<()> {
    if !params.block_ids.is_empty() && params.block_ids.len() != n_samples {
        return Err(Error::Shape {
            what: "block_ids".into(),
            expected: format!("{n_samples} ids (one per sample)"),
            found: format!("{} ids", params.block_ids.len()),
            hint: "repeat a block's id for each of its samples".into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Repeats with a common signal of share `share` of the variance.
    fn planted(n_repeats: usize, n_samples: usize, share: f64) -> Vec<Mat<f64>> {
        let mut stream = Stream::new(1, "ceiling tests", n_repeats as u64);
        let signal: Vec<f64> = (0..n_samples).map(|_| stream.normal()).collect();
        (0..n_repeats)
            .map(|_| {
                Mat::from_fn(n_samples, 1, |t, _| {
                    share.sqrt() * signal[t] + (1.0 - share).sqrt() * stream.normal()
                })
            })
            .collect()
    }

    fn run(repeats: &[Mat<f64>], params: &CeilingParams) -> NoiseCeiling {
        let views: Vec<MatRef<f64>> = repeats.iter().map(|r| r.as_ref()).collect();
        noise_ceiling(&views, &Runs::single(repeats[0].nrows()), params).unwrap()
    }

    fn of(method: CeilingMethod) -> CeilingParams {
        CeilingParams { method, ..Default::default() }
    }

    #[test]
    fn two_repeats_by_hand() {
        // (1, 2, 3) and (1, 3, 2): ρ = 1/2, both with variance 2/3, covariance 1/3.
        let repeats = [[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]].map(|r| Mat::from_fn(3, 1, |i, _| r[i]));
        let value = |method| run(&repeats, &of(method)).values[0];
        let expected = [
            (CeilingMethod::ExplainableVariance, 0.5),
            (CeilingMethod::SplitHalf, 2.0 / 3.0),
            // SP = 1/3, var(mean) = (2/3 + 2/3 + 2/3)/4 = 1/2.
            (CeilingMethod::SignalPower, (2.0f64 / 3.0).sqrt()),
            (CeilingMethod::IscSingle, 0.5f64.sqrt()),
            (CeilingMethod::IscGroup, (1.0f64 / 1.5).sqrt()),
            (CeilingMethod::LeaveOneOut, 0.5),
            // Within samples: 0, .5, .5, so σ_n² = 1/3; the means 1, 2.5, 2.5 have variance 3/4.
            (CeilingMethod::Ncsnr, 1.0 - (1.0 / 3.0) / (2.0 * 0.75)),
        ];
        for (method, e) in expected {
            assert!((value(method) - e).abs() < 1e-14, "{method:?} {}", value(method));
        }
        let found = run(&repeats, &of(CeilingMethod::IscSingle));
        assert!((found.leave_one_out[(0, 0)] - 0.5).abs() < 1e-14 && found.lower[0].is_nan());
    }

    #[test]
    fn the_specs_fixture_of_nsd_and_schoppe() {
        // (1,2,3,4), (2,1,4,5), (0,3,3,6): σ_n² = .83333, var(mean) = 3, NC = .907407; CCmax² = .888889.
        let repeats = [[1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 4.0, 5.0], [0.0, 3.0, 3.0, 6.0]]
            .map(|r| Mat::from_fn(4, 1, |i, _| r[i]));
        let nc = run(&repeats, &of(CeilingMethod::Ncsnr));
        assert!((nc.values[0] - 0.907407).abs() < 5e-7, "{}", nc.values[0]);
        assert_eq!(nc.kind, CeilingKind::R2);
        let ccmax = run(&repeats, &of(CeilingMethod::SignalPower)).values[0];
        assert!((ccmax * ccmax - 0.888889).abs() < 5e-7 && (ccmax - 0.942809).abs() < 5e-7, "{ccmax}");
        // Doubling every sample as a block of its own weighs samples alike.
        let block_ids = (0..4).map(|t| format!("b{t}")).collect();
        let interval = run(&repeats, &CeilingParams { block_ids, ..of(CeilingMethod::Ncsnr) });
        assert!(interval.lower[0] <= nc.values[0] && interval.upper[0] <= 1.0);
    }

    #[test]
    fn levels_of_repeats_are_noise_for_ncsnr_alone() {
        let repeats = planted(4, 500, 0.5);
        let shifted: Vec<Mat<f64>> = repeats
            .iter()
            .enumerate()
            .map(|(i, r)| Mat::from_fn(500, 1, |t, _| r[(t, 0)] + 3.0 * i as f64))
            .collect();
        for method in [CeilingMethod::SplitHalf, CeilingMethod::SignalPower, CeilingMethod::LeaveOneOut] {
            let (a, b) = (run(&repeats, &of(method)).values[0], run(&shifted, &of(method)).values[0]);
            assert!((a - b).abs() < 1e-12, "{method:?}");
        }
        let (a, b) = (run(&repeats, &of(CeilingMethod::Ncsnr)), run(&shifted, &of(CeilingMethod::Ncsnr)));
        assert!(a.values[0] > 0.7 && b.values[0] < -1.0, "{} {}", a.values[0], b.values[0]);
        assert!(b.as_correlations()[0].is_nan() && b.reasons[0].is_some());
    }

    #[test]
    fn a_correction_by_halves_recovers_the_true_correlation() {
        // Source and target share a signal with correlation .6 between the true maps; both are noisy.
        let mut stream = Stream::new(3, "half tests", 0);
        let (n, truth) = (20_000, 0.6f64);
        let mut sides = [(); 4].map(|()| Mat::zeros(n, 2));
        for i in 0..n {
            for j in 0..2 {
                let f = stream.normal();
                let b = truth * f + (1.0 - truth * truth).sqrt() * stream.normal();
                for half in 0..2 {
                    sides[half][(i, j)] = f + 0.8 * stream.normal();
                    sides[2 + half][(i, j)] = b + 1.5 * stream.normal();
                }
            }
        }
        let views = |a: usize| [sides[a].as_ref(), sides[a + 1].as_ref()];
        let block_ids = (0..n).map(|i| format!("b{:03}", i / 100)).collect();
        let params = CeilingParams { n_bootstraps: 200, block_ids, ..Default::default() };
        let found = half_corrected(views(0), views(2), 0.1, &params).unwrap();
        for j in 0..2 {
            let (low, high) = (found.lower[j], found.upper[j]);
            assert!(low < found.values[j] && found.values[j] < high && high - low < 0.15, "{low} {high}");
            let r = |a: usize, b: usize| {
                crate::stats::summary::pearson(sides[a].col_as_slice(j), sides[b].col_as_slice(j))
            };
            let by_hand = 0.5 * (r(0, 3) + r(1, 2)) / (r(0, 1) * r(2, 3)).sqrt();
            assert!((found.values[j] - by_hand).abs() < 1e-12);
            assert!((found.values[j] - truth).abs() < 0.03, "{}", found.values[j]);
            assert!(found.raw[j] < 0.5 * truth + 0.1);
            assert!((found.observed_reliability[j] - 1.0 / 3.25).abs() < 0.03);
        }
        let strict = half_corrected(views(0), views(2), 0.5, &CeilingParams::default()).unwrap();
        assert!(strict.n_undefined == 2 && strict.lower[0].is_nan());
        let short = Mat::zeros(3, 2);
        assert!(half_corrected(views(0), [short.as_ref(), short.as_ref()], 0.1, &params).is_err());
    }

    #[test]
    fn every_method_recovers_the_planted_signal() {
        let share = 0.3;
        let n = 6.0;
        let repeats = planted(6, 4000, share);
        // Reliability of the mean of n repeats (for halves of 3 as well, since 2 × 3 = n).
        let mean_reliability = n * share / (1.0 + (n - 1.0) * share);
        let expected = [
            (CeilingMethod::ExplainableVariance, share),
            (CeilingMethod::SplitHalf, mean_reliability),
            (CeilingMethod::SignalPower, mean_reliability.sqrt()),
            (CeilingMethod::IscSingle, share.sqrt()),
            (CeilingMethod::IscGroup, mean_reliability.sqrt()),
            // One, against the mean of five others: share/√(variance of that mean).
            (CeilingMethod::LeaveOneOut, share / (share + (1.0 - share) / 5.0).sqrt()),
            (CeilingMethod::Ncsnr, mean_reliability),
        ];
        for (method, e) in expected {
            let block_ids = (0..4000).map(|t| format!("b{:03}", t / 20)).collect();
            let found = run(&repeats, &CeilingParams { block_ids, ..of(method) });
            assert!((found.values[0] - e).abs() < 0.03, "{method:?} {} against {e}", found.values[0]);
            let (low, high) = (found.lower[0], found.upper[0]);
            assert!(low < found.values[0] && found.values[0] < high && high - low < 0.1, "{low} {high}");
        }
    }

    #[test]
    fn explainable_variance_is_the_variance_of_the_mean_of_standardised_repeats() {
        let repeats = planted(4, 50, 0.4);
        let z: Vec<Vec<f64>> =
            repeats.iter().map(|r| within_runs(column(r.as_ref(), 0), &Runs::single(50), true)).collect();
        let average: Vec<f64> = (0..50).map(|t| z.iter().map(|r| r[t]).sum::<f64>() / 4.0).collect();
        let ev = average.iter().map(|x| x * x).sum::<f64>() / 50.0;
        let found = run(&repeats, &of(CeilingMethod::ExplainableVariance));
        assert!((found.values[0] - (ev - (1.0 - ev) / 3.0)).abs() < 1e-14);
        assert_eq!(splits(4, &CeilingParams::default()).len(), 3);
        assert_eq!(splits(5, &CeilingParams::default()).len(), 15);
    }

    #[test]
    fn negative_reliability_is_kept_and_has_no_correlation() {
        let repeats = [[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]]
            .map(|r| Mat::from_fn(3, 2, |i, j| if j == 0 { r[i] } else { 0.1 }));
        // ρ = −1/2: reliability 2·(−1/2)/(1/2) = −2.
        let found = run(&repeats, &of(CeilingMethod::SplitHalf));
        assert!((found.values[0] + 2.0).abs() < 1e-12 && found.values[1].is_nan());
        assert!(found.as_correlations()[0].is_nan() && found.mask(0.1) == [false, false]);
        assert!(found.reasons[0].as_deref().unwrap().contains("negative (-2.000)"));
        assert!(found.reasons[1].as_deref().unwrap().contains("does not vary"));
        let found = run(&repeats, &of(CeilingMethod::IscSingle));
        assert!(found.values[0].is_nan() && found.n_undefined == 2);
    }
}
