//! Estimate how well any model could do from trials of stimuli that were shown unequally often.
//!
//! With n_t trials of stimulus t (1 or more), their mean ȳ_t, and T stimuli, per unit
//!
//! ```text
//! σ_n² = Σ_t Σ_n (y_tn − ȳ_t)² / Σ_t (n_t − 1)        σ_s² = var(ȳ) − σ_n² mean_t(1/n_t)        (var: divisor T − 1)
//! ceiling = σ_s²/(σ_s² + σ_n² mean_t(1/n_t)) = 1 − σ_n² mean_t(1/n_t)/var(ȳ)
//! ```
//!
//! the share of the variance of stimulus means that is signal: r² of a perfect model with them. It is the noise
//! ceiling of NSD, whose (A/3 + B/2 + C)/(A + B + C) is mean(1/n_t); with equal numbers it is
//! [`super::ceiling::CeilingMethod::Ncsnr`]. Stimuli of one trial add to var(ȳ) and nothing to σ_n². Noise is taken
//! to be alike for all stimuli. Nothing is clipped: where σ_s² < 0, NSD says 0 and we keep the negative share.
//! Intervals resample blocks of stimuli.
//!
//! Source: Allen et al. 2022 (NSD); specs: alignment-methods B6.3. Cost: O(trials · units), and O(blocks · units)
//! per draw.

use faer::MatRef;
use rayon::prelude::*;

use super::resampling::multiplicities;
use super::summary::{check_finite, quantile};
use crate::data::{Error, Labels, Result};

/// How a ceiling of trials is computed.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialCeilingParams {
    /// Bootstrap draws over blocks of stimuli (default 500; 0: no interval).
    pub n_bootstraps: usize,
    /// Coverage of the interval (default 0.95).
    pub level: f64,
    /// Seed of the draws (default 0).
    pub seed: u64,
}

impl Default for TrialCeilingParams {
    fn default() -> Self {
        TrialCeilingParams { n_bootstraps: 500, level: 0.95, seed: 0 }
    }
}

/// Noise ceilings of units. Vectors have one entry per unit.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialCeiling {
    /// The share of signal in stimulus means (r²); may be negative, NaN where means do not vary.
    pub values: Vec<f64>,
    /// Lower end of the bootstrap interval; NaN without one.
    pub lower: Vec<f64>,
    /// Upper end.
    pub upper: Vec<f64>,
    /// σ_s/σ_n; NaN where σ_s² is negative or nothing is noise.
    pub ncsnr: Vec<f64>,
    /// mean(1/n_t).
    pub mean_inverse: f64,
    /// Stimuli.
    pub n_stimuli: usize,
    /// Stimuli with at least 2 trials, from which noise is estimated.
    pub n_repeated: usize,
    /// Units without a ceiling, or with a negative one.
    pub n_undefined: usize,
}

/// The noise ceiling of every unit from single trials (trials × units); `stimuli` names the stimulus of each trial,
/// `blocks` the block of each trial's stimulus for the bootstrap (empty: every stimulus is one).
///
/// Errors: names that do not cover the trials, fewer than 3 stimuli or 2 that are repeated, a stimulus in two blocks,
/// values that are not finite.
pub fn trial_ceiling(
    responses: MatRef<f64>,
    stimuli: &[String],
    blocks: &[String],
    params: &TrialCeilingParams,
) -> Result<TrialCeiling> {
    let n = responses.nrows();
    for (what, names) in [("stimuli", stimuli), ("blocks", blocks)] {
        if names.len() != n && !(what == "blocks" && names.is_empty()) {
            return Err(Error::Shape {
                what: what.into(),
                expected: format!("{n} names (one per trial)"),
                found: names.len().to_string(),
                hint: "rows of the responses are single trials".into(),
            });
        }
    }
    check_finite("responses", responses)?;
    let stimuli = Labels::new(stimuli);
    let n_stimuli = stimuli.n_groups();
    let mut counts = vec![0usize; n_stimuli];
    stimuli.codes().iter().for_each(|&code| counts[code] += 1);
    let n_repeated = counts.iter().filter(|&&count| count > 1).count();
    if n_stimuli < 3 || n_repeated < 2 {
        return Err(Error::TooFew {
            what: "stimuli".into(),
            needed: "3 stimuli, of which 2 were shown more than once".into(),
            found: format!("{n_stimuli}, of which {n_repeated}"),
            hint: "name the stimulus of each trial, the same for its repeats".into(),
        });
    }
    let blocks = Blocks::new(&stimuli, blocks)?;
    let draws: Vec<Vec<u32>> = (0..params.n_bootstraps)
        .map(|draw| multiplicities(&blocks.names, params.seed, "bootstrap stimuli", draw))
        .collect();
    let tail = 0.5 * (1.0 - params.level);
    let whole = vec![1; blocks.names.len()];
    let found: Vec<[f64; 4]> = (0..responses.ncols())
        .into_par_iter()
        .map(|j| {
            let column: Vec<f64> = responses.col(j).iter().copied().collect();
            let sums = BlockSums::new(&column, &stimuli, &counts, &blocks);
            let (value, ncsnr) = sums.ceiling(&whole);
            let drawn: Vec<f64> = draws.iter().map(|weights| sums.ceiling(weights).0).collect();
            let end = |share: f64| if value.is_nan() { f64::NAN } else { quantile(&drawn, share) };
            [value, end(tail), end(1.0 - tail), ncsnr]
        })
        .collect();
    let part = |k: usize| found.iter().map(|unit| unit[k]).collect::<Vec<f64>>();
    Ok(TrialCeiling {
        values: part(0),
        lower: part(1),
        upper: part(2),
        ncsnr: part(3),
        mean_inverse: counts.iter().map(|&count| 1.0 / count as f64).sum::<f64>() / n_stimuli as f64,
        n_stimuli,
        n_repeated,
        n_undefined: found.iter().filter(|unit| !(unit[0] >= 0.0)).count(),
    })
}

/// Blocks of stimuli.
struct Blocks {
    names: Vec<String>,
    of_stimulus: Vec<usize>,
}

impl Blocks {
    fn new(stimuli: &Labels, blocks: &[String]) -> Result<Self> {
        if blocks.is_empty() {
            let names = stimuli.names().to_vec();
            return Ok(Blocks { of_stimulus: (0..names.len()).collect(), names });
        }
        let blocks = Labels::new(blocks);
        let mut of_stimulus = vec![usize::MAX; stimuli.n_groups()];
        for (&stimulus, &block) in stimuli.codes().iter().zip(blocks.codes()) {
            if of_stimulus[stimulus] != usize::MAX && of_stimulus[stimulus] != block {
                return Err(Error::Invalid {
                    what: "blocks".into(),
                    expected: "all trials of a stimulus in one block".into(),
                    found: format!("`{}` in two", stimuli.names()[stimulus]),
                    hint: "blocks are of stimuli, whatever run a trial was in".into(),
                });
            }
            of_stimulus[stimulus] = block;
        }
        Ok(Blocks { names: blocks.names().to_vec(), of_stimulus })
    }
}

/// Sums per block, of which any draw is a weighted sum.
struct BlockSums {
    /// Stimuli, Σ 1/n_t, Σ (n_t − 1), Σ ȳ, Σ ȳ², Σ (y − ȳ)².
    sums: Vec<[f64; 6]>,
    constant: bool,
}

impl BlockSums {
    fn new(values: &[f64], stimuli: &Labels, counts: &[usize], blocks: &Blocks) -> Self {
        // About the mean of all, so that squares keep their digits.
        let centre = values.iter().sum::<f64>() / values.len() as f64;
        let mut means = vec![0.0; counts.len()];
        stimuli.codes().iter().zip(values).for_each(|(&t, y)| means[t] += (y - centre) / counts[t] as f64);
        let mut sums = vec![[0.0; 6]; blocks.names.len()];
        for (t, &mean) in means.iter().enumerate() {
            let sum = &mut sums[blocks.of_stimulus[t]];
            let count = counts[t] as f64;
            let add = [1.0, 1.0 / count, count - 1.0, mean, mean * mean, 0.0];
            sum.iter_mut().zip(add).for_each(|(sum, add)| *sum += add);
        }
        for (&t, y) in stimuli.codes().iter().zip(values) {
            sums[blocks.of_stimulus[t]][5] += (y - centre - means[t]).powi(2);
        }
        let size = values.iter().map(|y| y.abs()).fold(0.0, f64::max);
        let spread = means.iter().map(|mean| (mean - means[0]).abs()).fold(0.0, f64::max);
        BlockSums { sums, constant: !(spread > 1e-12 * size) }
    }

    /// The ceiling, and σ_s/σ_n.
    fn ceiling(&self, weights: &[u32]) -> (f64, f64) {
        let mut total = [0.0; 6];
        for (sums, &weight) in self.sums.iter().zip(weights) {
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += f64::from(weight) * sum);
        }
        let [n, inverse, free, first, second, within] = total;
        let of_means = (second - first * first / n) / (n - 1.0);
        let noise = within / free;
        if self.constant || !(of_means > 0.0) || !(free > 0.0) {
            return (f64::NAN, f64::NAN);
        }
        let in_means = noise * inverse / n;
        let signal = of_means - in_means;
        let ratio = if signal >= 0.0 && noise > 0.0 { (signal / noise).sqrt() } else { f64::NAN };
        (signal / of_means, ratio)
    }
}

#[cfg(test)]
mod tests {
    use faer::Mat;

    use super::*;
    use crate::stats::rng::Stream;

    fn names(codes: &[usize]) -> Vec<String> {
        codes.iter().map(|code| format!("stimulus {code}")).collect()
    }

    #[test]
    fn the_fixture_of_equal_repeats_and_one_with_trials_missing() {
        // Repeats (1,2,3,4), (2,1,4,5), (0,3,3,6): σ_n² = 5/6, var of means 3, ceiling 1 − 5/18/3 = .907407.
        let y = [1.0, 2.0, 3.0, 4.0, 2.0, 1.0, 4.0, 5.0, 0.0, 3.0, 3.0, 6.0];
        let responses = Mat::from_fn(12, 1, |i, _| 100.0 + y[i]);
        let codes: Vec<usize> = (0..12).map(|i| i % 4).collect();
        let params = TrialCeilingParams { n_bootstraps: 0, ..TrialCeilingParams::default() };
        let found = trial_ceiling(responses.as_ref(), &names(&codes), &[], &params).unwrap();
        assert!((found.values[0] - (1.0 - 5.0 / 54.0)).abs() < 1e-12, "{}", found.values[0]);
        assert!((found.ncsnr[0] - ((3.0 - 5.0 / 18.0) / (5.0f64 / 6.0)).sqrt()).abs() < 1e-12);
        assert!((found.mean_inverse - 1.0 / 3.0).abs() < 1e-15 && found.lower[0].is_nan());
        // Stimulus 0 shown twice (1, 2), 1 once (2), 2 three times (3, 4, 3), 3 twice (4, 6).
        // Σ(y − ȳ)² = 1/2 + 0 + 2/3 + 2 = 19/6 with 1 + 0 + 2 + 1 degrees of freedom; mean(1/n) = (1/2 + 1 + 1/3 + 1/2)/4;
        // means 3/2, 2, 10/3, 5: variance (9/4 + 4 + 100/9 + 25 − (71/6)²/4)/3.
        let y = [1.0, 2.0, 2.0, 3.0, 4.0, 3.0, 4.0, 6.0];
        let responses = Mat::from_fn(8, 1, |i, _| y[i]);
        let found =
            trial_ceiling(responses.as_ref(), &names(&[0, 0, 1, 2, 2, 2, 3, 3]), &[], &params).unwrap();
        let (noise, inverse) = (19.0 / 24.0, (0.5 + 1.0 + 1.0 / 3.0 + 0.5) / 4.0);
        let of_means = (2.25 + 4.0 + 100.0 / 9.0 + 25.0 - (71.0f64 / 6.0).powi(2) / 4.0) / 3.0;
        assert!((found.values[0] - (1.0 - noise * inverse / of_means)).abs() < 1e-12);
        assert_eq!((found.n_stimuli, found.n_repeated), (4, 3));
    }

    #[test]
    fn planted_signal_comes_back_whatever_the_numbers_of_trials() {
        // Signal variance 1, noise variance 2, and 1 to 4 trials: 1/(1 + 2 mean(1/n)); the interval covers it.
        let (n_stimuli, n_units) = (600, 200);
        let codes: Vec<usize> = (0..n_stimuli).flat_map(|t| vec![t; 1 + t % 4]).collect();
        let mut stream = Stream::new(4, "trial ceiling tests", 0);
        let signal = Mat::from_fn(n_stimuli, n_units, |_, _| stream.normal());
        let y =
            Mat::from_fn(codes.len(), n_units, |i, j| signal[(codes[i], j)] + 2f64.sqrt() * stream.normal());
        let params = TrialCeilingParams { n_bootstraps: 200, ..TrialCeilingParams::default() };
        let found = trial_ceiling(y.as_ref(), &names(&codes), &[], &params).unwrap();
        let truth = 1.0 / (1.0 + 2.0 * found.mean_inverse);
        let mean = found.values.iter().sum::<f64>() / n_units as f64;
        assert!((mean - truth).abs() < 0.01, "{mean} {truth}");
        let covered = (0..n_units).filter(|&j| found.lower[j] <= truth && truth <= found.upper[j]).count();
        assert!((175..=200).contains(&covered), "{covered}");
        // It is r² of the truth with the means.
        let r2 = (0..n_units).map(|j| {
            let mut means = vec![0.0; n_stimuli];
            codes.iter().enumerate().for_each(|(i, &t)| means[t] += y[(i, j)] / (1 + t % 4) as f64);
            crate::stats::summary::pearson(&means, signal.col_as_slice(j)).powi(2)
        });
        let r2 = r2.sum::<f64>() / n_units as f64;
        assert!((r2 - mean).abs() < 0.02, "{r2} {mean}");
    }

    #[test]
    fn pure_noise_is_kept_below_zero_and_what_does_not_vary_has_none() {
        let codes: Vec<usize> = (0..60).map(|i| i / 3).collect();
        let mut stream = Stream::new(4, "trial ceiling tests", 1);
        let y = Mat::from_fn(60, 40, |_, j| if j == 0 { 7.0 } else { stream.normal() });
        let found = trial_ceiling(y.as_ref(), &names(&codes), &[], &TrialCeilingParams::default()).unwrap();
        assert!(found.values[0].is_nan() && found.lower[0].is_nan());
        let negative = found.values.iter().filter(|v| **v < 0.0).count();
        assert!((8..32).contains(&negative) && found.n_undefined == negative + 1, "{negative}");
    }

    #[test]
    fn blocks_are_drawn_whole_and_wrong_names_are_refused() {
        let codes: Vec<usize> = (0..24).map(|i| i / 2).collect();
        let y = Mat::from_fn(24, 2, |i, j| ((i * (j + 3)) % 7) as f64);
        let params = TrialCeilingParams::default();
        let blocks: Vec<String> = codes.iter().map(|t| format!("{}", t / 6)).collect();
        let by_block = trial_ceiling(y.as_ref(), &names(&codes), &blocks, &params).unwrap();
        let alone = trial_ceiling(y.as_ref(), &names(&codes), &[], &params).unwrap();
        assert!((by_block.values[0] - alone.values[0]).abs() < 1e-12);
        assert_ne!(by_block.lower, alone.lower);
        let mut odd = blocks.clone();
        odd[0] = "9".into();
        let refusal = |stimuli: &[String], blocks: &[String]| {
            trial_ceiling(y.as_ref(), stimuli, blocks, &params).unwrap_err().to_string()
        };
        assert!(refusal(&names(&codes), &odd).contains("in one block"));
        assert!(refusal(&names(&codes[1..]), &[]).contains("one per trial"));
        let single: Vec<usize> = (0..24).collect();
        assert!(refusal(&names(&single), &[]).contains("more than once"));
    }
}
