//! Draw bootstrap weights, block permutations, circular shifts and sign flips from one plan, keyed by
//! the ids of what is moved.
//!
//! A plan holds the blocks that may be moved (stimuli, runs, segments; models' families; subjects). Draw
//! b gives the same weight to the block called `X` whatever the order of the rows and whichever other
//! draws were made, so every measure is evaluated on the same draws and any two can be compared.
//! A time series is never resampled point by point: its blocks are runs or segments, and its null
//! distribution comes from circular shifts within runs.
//!
//! Source: specs: nfas-dmd 9 and 10; Efron & Tibshirani 1993. Cost: one random stream per draw
//! (bootstrap), or one per draw and id (the others; about 0.1 µs each).

use super::rng::{Stream, id_key};
use super::summary::permutation_p;
use crate::data::{Error, Result, Runs};

/// The one plan of everything that is resampled in a stimulus set.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ResamplingPlan {
    /// Seed of all draws.
    pub seed: u64,
    /// Stable ids of the blocks, all different, in any order.
    pub block_ids: Vec<String>,
    /// Stable ids of the subjects to be crossed with the blocks; empty: subjects are not resampled.
    pub subject_ids: Vec<String>,
    /// Bootstrap draws (2000 is customary).
    pub n_bootstraps: usize,
    /// Permutations, shifts or flips (1000 or more).
    pub n_permutations: usize,
}

/// How often each block and each subject occurs in one bootstrap draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapDraw {
    /// Multiplicity per block, in the order of the plan's `block_ids`; they add up to their number.
    pub blocks: Vec<u32>,
    /// Multiplicity per subject, in the order of `subject_ids`; empty without subjects.
    pub subjects: Vec<u32>,
}

/// What is drawn, for [`ResamplingPlan::support`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Draw {
    /// Blocks with replacement.
    Bootstrap,
    /// Orders of the blocks.
    Permutation,
    /// Signs of the blocks.
    SignFlip,
}

/// How many different draws there are, and what follows for the precision claimed.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ResamplingSupport {
    /// Different draws that exist (∞ where they exceed the range of f64).
    pub n_distinct: f64,
    /// Draws that the plan takes.
    pub n_draws: usize,
    /// The smallest p-value possible; for a bootstrap, of a two-sided interval.
    pub smallest_p: f64,
    /// Why the claimed precision is not supported, if it is not.
    pub warning: Option<String>,
}

impl ResamplingPlan {
    /// A plan over blocks, checked: at least one block, and no id twice.
    pub fn new<S: AsRef<str>>(
        seed: u64,
        block_ids: &[S],
        n_bootstraps: usize,
        n_permutations: usize,
    ) -> Result<Self> {
        let block_ids = distinct("block_ids", block_ids)?;
        Ok(ResamplingPlan { seed, block_ids, subject_ids: Vec::new(), n_bootstraps, n_permutations })
    }

    /// Cross the blocks with subjects.
    pub fn with_subjects<S: AsRef<str>>(mut self, subject_ids: &[S]) -> Result<Self> {
        self.subject_ids = distinct("subject_ids", subject_ids)?;
        Ok(self)
    }

    /// Bootstrap draw `draw`: blocks, and independently of them subjects, with replacement.
    pub fn bootstrap(&self, draw: usize) -> BootstrapDraw {
        BootstrapDraw {
            blocks: multiplicities(&self.block_ids, self.seed, "bootstrap blocks", draw),
            subjects: multiplicities(&self.subject_ids, self.seed, "bootstrap subjects", draw),
        }
    }

    /// Permutation `index`: block k takes the place of block `result[k]`'s content, by random keys of
    /// the ids.
    pub fn permutation(&self, index: usize) -> Vec<usize> {
        permute_by_id(&self.block_ids, self.seed, index)
    }

    /// Sign flips `index`: +1 or −1 per block.
    pub fn sign_flips(&self, index: usize) -> Vec<f64> {
        let purpose = format!("sign flips {index}");
        let sign = |id: &String| Stream::new(self.seed, &purpose, id_key(id)).next_u64() >> 63;
        self.block_ids.iter().map(|id| if sign(id) == 0 { 1.0 } else { -1.0 }).collect()
    }

    /// How many different draws there are, with a warning where the plan asks for more than they bear.
    pub fn support(&self, draw: Draw) -> ResamplingSupport {
        let n = self.block_ids.len();
        let n_distinct = match draw {
            // Multisets of n out of n: (2n − 1)!/(n! (n − 1)!).
            Draw::Bootstrap => (1..n).fold(1.0, |c, k| c * (n + k) as f64 / k as f64),
            Draw::Permutation => (1..=n).fold(1.0, |c, k| c * k as f64),
            Draw::SignFlip => 2f64.powi(i32::try_from(n).unwrap_or(i32::MAX)),
        };
        let n_draws = if draw == Draw::Bootstrap { self.n_bootstraps } else { self.n_permutations };
        support_of(n_distinct, n_draws, &format!("{n} blocks"))
    }
}

/// Judge a number of draws by the number of different ones that exist.
pub fn support_of(n_distinct: f64, n_draws: usize, of: &str) -> ResamplingSupport {
    let smallest_p = permutation_p(0, n_draws).max(1.0 / n_distinct);
    let warning = if n_distinct < n_draws as f64 {
        Some(format!(
            "{of} allow only {n_distinct} different draws, fewer than the {n_draws} taken: no precision beyond {smallest_p:.3}"
        ))
    } else if smallest_p > 0.05 {
        Some(format!("{n_draws} draws give no p-value below {smallest_p:.3}"))
    } else {
        None
    };
    ResamplingSupport { n_distinct, n_draws, smallest_p, warning }
}

/// How often each id is drawn when as many are drawn with replacement as there are.
///
/// The result follows the order of `ids`, and each id's number depends on the set of ids only.
pub fn multiplicities(ids: &[String], seed: u64, purpose: &str, draw: usize) -> Vec<u32> {
    let mut stream = Stream::new(seed, purpose, draw as u64);
    let order = sorted_positions(ids);
    let mut counts = vec![0; ids.len()];
    for _ in 0..ids.len() {
        counts[order[stream.below(ids.len())]] += 1;
    }
    counts
}

/// A random order of blocks that depends on their ids only: entry k is the block that moves to place k.
pub fn permute_by_id(ids: &[String], seed: u64, index: usize) -> Vec<usize> {
    let purpose = format!("block permutation {index}");
    let places = sorted_positions(ids);
    let mut keyed: Vec<(u64, &String, usize)> = ids
        .iter()
        .enumerate()
        .map(|(at, id)| (Stream::new(seed, &purpose, id_key(id)).next_u64(), id, at))
        .collect();
    keyed.sort_unstable();
    let mut result = vec![0; ids.len()];
    for (place, (_, _, block)) in places.iter().zip(keyed) {
        result[*place] = block;
    }
    result
}

/// The least circular shift of a run: `min_shift` samples or a tenth of the run, whichever is more.
pub fn least_shift(n_samples: usize, min_shift: usize) -> usize {
    min_shift.max(n_samples.div_ceil(10)).max(1)
}

/// How far each run is shifted in draw `index`: uniform over `least..=n − least`, keyed by the run's name.
///
/// Error: a run too short for any such shift.
pub fn circular_shifts(runs: &Runs, min_shift: usize, seed: u64, index: usize) -> Result<Vec<usize>> {
    let purpose = format!("circular shift {index}");
    runs.names()
        .iter()
        .zip(runs.ranges())
        .map(|(name, range)| {
            let least = least_shift(range.len(), min_shift);
            let choices = shift_choices(range.len(), min_shift);
            if choices == 0 {
                return Err(Error::TooFew {
                    what: format!("run `{name}`"),
                    needed: format!("{} samples (shifts of {least} both ways)", 2 * least),
                    found: format!("{} samples", range.len()),
                    hint: "join short runs, or ask for a smaller least shift".into(),
                });
            }
            Ok(least + Stream::new(seed, &purpose, id_key(name)).below(choices))
        })
        .collect()
}

/// How many different shifts a run allows.
pub fn shift_choices(n_samples: usize, min_shift: usize) -> usize {
    (n_samples + 1).saturating_sub(2 * least_shift(n_samples, min_shift))
}

fn sorted_positions(ids: &[String]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by(|&a, &b| ids[a].cmp(&ids[b]));
    order
}

fn distinct<S: AsRef<str>>(what: &str, ids: &[S]) -> Result<Vec<String>> {
    let ids: Vec<String> = ids.iter().map(|id| id.as_ref().to_owned()).collect();
    let order = sorted_positions(&ids);
    let twice = order.windows(2).find(|w| ids[w[0]] == ids[w[1]]);
    if ids.is_empty() || twice.is_some() {
        return Err(Error::Invalid {
            what: what.into(),
            expected: "at least one id, and none twice".into(),
            found: twice.map_or("none".into(), |w| format!("`{}` twice", ids[w[0]])),
            hint: "name each block once; the rows of a block share its id".into(),
        });
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("clip{i:02}")).collect()
    }

    #[test]
    fn draws_follow_ids_not_rows() {
        let forward = names(12);
        let backward: Vec<String> = forward.iter().rev().cloned().collect();
        let (a, b) = (
            ResamplingPlan::new(4, &forward, 10, 10).unwrap(),
            ResamplingPlan::new(4, &backward, 10, 10).unwrap(),
        );
        for draw in 0..10 {
            let mut mirrored = b.bootstrap(draw).blocks;
            mirrored.reverse();
            assert_eq!(a.bootstrap(draw).blocks, mirrored);
            assert_eq!(mirrored.iter().sum::<u32>(), 12);
            let mut mirrored: Vec<usize> = b.permutation(draw).iter().map(|i| 11 - i).collect();
            mirrored.reverse();
            assert_eq!(a.permutation(draw), mirrored);
            let mut flips = b.sign_flips(draw);
            flips.reverse();
            assert_eq!(a.sign_flips(draw), flips);
        }
        assert_ne!(a.permutation(0), a.permutation(1));
        let mut sorted = a.permutation(3);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..12).collect::<Vec<_>>());
    }

    #[test]
    fn every_block_is_drawn_and_moved_equally_often() {
        let plan = ResamplingPlan::new(1, &names(5), 0, 0).unwrap();
        let (mut drawn, mut moved, mut up) = ([0u32; 5], [[0i32; 5]; 5], [0i32; 5]);
        for draw in 0..5000 {
            plan.bootstrap(draw).blocks.iter().zip(&mut drawn).for_each(|(m, d)| *d += m);
            plan.permutation(draw).iter().enumerate().for_each(|(to, &from)| moved[from][to] += 1);
            plan.sign_flips(draw).iter().zip(&mut up).for_each(|(s, u)| *u += i32::from(*s > 0.0));
        }
        // Standard deviations: 63, 28 and 35.
        assert!(drawn.iter().all(|d| d.abs_diff(5000) < 280), "{drawn:?}");
        assert!(moved.iter().flatten().all(|&m| m.abs_diff(1000) < 130), "{moved:?}");
        assert!(up.iter().all(|&u| u.abs_diff(2500) < 160), "{up:?}");
    }

    #[test]
    fn few_blocks_say_what_they_cannot_support() {
        let plan = ResamplingPlan::new(1, &names(4), 2000, 999).unwrap();
        // C(7, 4) = 35 multisets, 24 orders, 16 signs.
        assert_eq!(plan.support(Draw::Bootstrap).n_distinct, 35.0);
        assert_eq!(plan.support(Draw::Permutation).n_distinct, 24.0);
        let flips = plan.support(Draw::SignFlip);
        assert_eq!((flips.n_distinct, flips.smallest_p), (16.0, 1.0 / 16.0));
        assert!(flips.warning.unwrap().contains("only 16 different draws"));
        let plan = ResamplingPlan::new(1, &names(40), 2000, 999).unwrap();
        assert_eq!(plan.support(Draw::Permutation).warning, None);
        assert!(ResamplingPlan::new(1, &["a", "a"], 1, 1).unwrap_err().to_string().contains("`a` twice"));
    }

    #[test]
    fn shifts_stay_away_from_zero_and_belong_to_their_run() {
        let runs = Runs::from_lengths(&["one".into(), "two".into()], &[50, 90]).unwrap();
        let other = Runs::from_lengths(&["two".into(), "one".into()], &[90, 50]).unwrap();
        for index in 0..200 {
            let shifts = circular_shifts(&runs, 7, 2, index).unwrap();
            assert!((7..=43).contains(&shifts[0]) && (9..=81).contains(&shifts[1]), "{shifts:?}");
            let swapped = circular_shifts(&other, 7, 2, index).unwrap();
            assert_eq!(shifts, [swapped[1], swapped[0]]);
        }
        let refused = circular_shifts(&runs, 26, 2, 0).unwrap_err().to_string();
        assert!(refused.contains("run `one`") && refused.contains("52 samples"), "{refused}");
    }
}
