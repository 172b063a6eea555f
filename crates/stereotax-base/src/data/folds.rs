//! Runs of samples, and the folds that hold some of them out.

use std::ops::Range;

use super::error::{Error, Result};
use super::labels::Labels;
use crate::stats::rng::{Stream, id_key};

/// Consecutive stretches of samples (scanner runs, stories, sections) that time never crosses.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Runs {
    names: Vec<String>,
    bounds: Vec<usize>,
}

impl Runs {
    /// All samples in one run.
    pub fn single(n_samples: usize) -> Self {
        Runs { names: vec!["run".into()], bounds: vec![0, n_samples] }
    }

    /// Runs of the given lengths, in order.
    pub fn from_lengths(names: &[String], lengths: &[usize]) -> Result<Self> {
        if names.len() != lengths.len() || lengths.is_empty() || lengths.contains(&0) {
            return Err(Error::Invalid {
                what: "runs".into(),
                expected: "one name and a length of at least 1 per run".into(),
                found: format!("{} names and lengths {lengths:?}", names.len()),
                hint: "drop empty runs".into(),
            });
        }
        let mut bounds = vec![0];
        for length in lengths {
            bounds.push(bounds[bounds.len() - 1] + length);
        }
        Ok(Runs { names: names.to_vec(), bounds })
    }

    /// Read runs off one label per sample; samples of a run must stand together.
    pub fn from_labels<S: AsRef<str>>(labels: &[S]) -> Result<Self> {
        let mut names: Vec<String> = Vec::new();
        let mut bounds = vec![0];
        for (i, label) in labels.iter().enumerate() {
            let label = label.as_ref();
            if names.last().is_some_and(|last| last == label) {
                continue;
            }
            if names.iter().any(|seen| seen == label) {
                return Err(Error::Invalid {
                    what: "runs".into(),
                    expected: "the samples of each run to stand together".into(),
                    found: format!("run `{label}` begins again at sample {i} (counted from 0)"),
                    hint: "sort the samples by run, then by time".into(),
                });
            }
            if i > 0 {
                bounds.push(i);
            }
            names.push(label.to_owned());
        }
        bounds.push(labels.len());
        Ok(Runs { names, bounds })
    }

    /// How many runs.
    pub fn n_runs(&self) -> usize {
        self.names.len()
    }

    /// How many samples in all.
    pub fn n_samples(&self) -> usize {
        self.bounds[self.bounds.len() - 1]
    }

    /// The samples of one run.
    pub fn range(&self, run: usize) -> Range<usize> {
        self.bounds[run]..self.bounds[run + 1]
    }

    /// All runs' sample ranges, in order.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.bounds.windows(2).map(|w| w[0]..w[1])
    }

    /// The runs' names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Run of each sample.
    pub fn codes(&self) -> Vec<usize> {
        self.ranges().enumerate().flat_map(|(run, range)| range.map(move |_| run)).collect()
    }
}

/// One division of the samples: fitted on `train`, judged on `test`. Both are sorted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fold {
    /// The held-out run, or "fold 3".
    pub name: String,
    /// Samples that may be fitted on.
    pub train: Vec<usize>,
    /// Samples held out.
    pub test: Vec<usize>,
}

impl Fold {
    /// Refuse a fold that names rows beyond `n`, or a row on both sides, or too few rows on either.
    ///
    /// `kind` tells a reader which folds these are ("inner fold").
    pub fn check(&self, kind: &str, n: usize, least_train: usize, least_test: usize) -> Result<()> {
        let outside = self.train.iter().chain(&self.test).any(|&i| i >= n);
        let shared = self.test.iter().any(|i| self.train.binary_search(i).is_ok());
        if !outside && !shared && self.train.len() >= least_train && self.test.len() >= least_test {
            return Ok(());
        }
        let why = match (outside, shared) {
            (true, _) => ", some beyond the last",
            (_, true) => ", some on both sides",
            _ => "",
        };
        Err(Error::Invalid {
            what: format!("{kind} `{}`", self.name),
            expected: format!(
                "at least {least_train} training and {least_test} held-out rows of 0…{}, none on both sides",
                n.saturating_sub(1)
            ),
            found: format!("{} training and {} held-out rows{why}", self.train.len(), self.test.len()),
            hint: "folds name training rows, counted from 0; use fewer folds where they are small".into(),
        })
    }
}

/// A cross-validation scheme in which every sample is held out at most once.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Folds {
    folds: Vec<Fold>,
    n_samples: usize,
}

impl Folds {
    /// Hold out one run at a time.
    pub fn leave_one_run_out(runs: &Runs) -> Result<Self> {
        if runs.n_runs() < 2 {
            return Err(Error::TooFew {
                what: "runs".into(),
                needed: "2 runs".into(),
                found: format!("{} run", runs.n_runs()),
                hint: "with a single run, use contiguous blocks with a purge gap".into(),
            });
        }
        let folds = (0..runs.n_runs())
            .map(|held| Fold {
                name: runs.names()[held].clone(),
                train: (0..runs.n_runs()).filter(|&r| r != held).flat_map(|r| runs.range(r)).collect(),
                test: runs.range(held).collect(),
            })
            .collect();
        Ok(Folds { folds, n_samples: runs.n_samples() })
    }

    /// Hold out groups of whole units (stimuli, clips), dealt into `n_folds` folds at random.
    ///
    /// `units[i]` is the id of sample `i`: samples of one id stay together, and the deal is keyed by
    /// ids, so the order of the rows does not matter. Fold sizes differ by at most one unit.
    pub fn k_fold<S: AsRef<str>>(units: &[S], n_folds: usize, seed: u64) -> Result<Self> {
        let mut ids: Vec<&str> = units.iter().map(AsRef::as_ref).collect();
        ids.sort_unstable();
        ids.dedup();
        if n_folds < 2 || ids.len() < n_folds {
            return Err(Error::TooFew {
                what: "folds".into(),
                needed: format!("2 folds and as many different stimuli as folds ({n_folds})"),
                found: format!("{n_folds} folds for {} different stimuli", ids.len()),
                hint: "ask for fewer folds, or give more stimuli".into(),
            });
        }
        let mut dealt: Vec<(u64, &str)> =
            ids.iter().map(|id| (Stream::new(seed, "folds", id_key(id)).next_u64(), *id)).collect();
        dealt.sort_unstable();
        let mut fold_of: Vec<(&str, usize)> =
            dealt.iter().enumerate().map(|(i, (_, id))| (*id, i % n_folds)).collect();
        fold_of.sort_unstable();
        let codes: Vec<usize> = units
            .iter()
            .map(|unit| {
                let at = fold_of.binary_search_by(|(id, _)| (*id).cmp(unit.as_ref()));
                at.map_or(0, |at| fold_of[at].1)
            })
            .collect();
        let folds = (0..n_folds)
            .map(|held| Fold {
                name: format!("fold {}", held + 1),
                train: (0..codes.len()).filter(|&i| codes[i] != held).collect(),
                test: (0..codes.len()).filter(|&i| codes[i] == held).collect(),
            })
            .collect();
        Ok(Folds { folds, n_samples: units.len() })
    }

    /// Hold out samples such that every fold has its share of every group, dealt at random.
    ///
    /// The samples of each group are shuffled and dealt in turn, one group where the other ended, so that fold sizes
    /// differ by at most one, and so do those of a group within folds.
    ///
    /// Errors: fewer than two folds, a group with fewer samples than folds (named).
    pub fn stratified(labels: &Labels, n_folds: usize, seed: u64) -> Result<Self> {
        let small = (0..labels.n_groups()).find(|&g| labels.sizes()[g] < n_folds);
        if n_folds < 2 || labels.n_objects() == 0 || small.is_some() {
            return Err(Error::TooFew {
                what: "folds".into(),
                needed: format!("2 folds, and {n_folds} samples of every class (one for each fold)"),
                found: small.map_or(format!("{n_folds} folds"), |g| {
                    format!("{} of class `{}`", labels.sizes()[g], labels.names()[g])
                }),
                hint: "ask for fewer folds, or leave the class out".into(),
            });
        }
        let mut fold_of = vec![0; labels.n_objects()];
        let mut next = 0;
        for group in 0..labels.n_groups() {
            let mut members = labels.members(group);
            Stream::new(seed, "stratified folds", id_key(&labels.names()[group])).shuffle(&mut members);
            for sample in members {
                fold_of[sample] = next % n_folds;
                next += 1;
            }
        }
        let folds = (0..n_folds)
            .map(|held| Fold {
                name: format!("fold {}", held + 1),
                train: (0..fold_of.len()).filter(|&i| fold_of[i] != held).collect(),
                test: (0..fold_of.len()).filter(|&i| fold_of[i] == held).collect(),
            })
            .collect();
        Ok(Folds { folds, n_samples: fold_of.len() })
    }

    /// Hold out contiguous blocks of one run, leaving out `gap` samples on both sides of each.
    pub fn contiguous(n_samples: usize, n_folds: usize, gap: usize) -> Result<Self> {
        let shortest = n_samples / n_folds.max(1);
        if n_folds < 2 || shortest == 0 || n_samples < shortest + 2 * gap + 2 {
            return Err(Error::TooFew {
                what: "samples".into(),
                needed: format!("enough for {n_folds} blocks with a gap of {gap} samples on both sides"),
                found: format!("{n_samples} samples"),
                hint: "ask for fewer folds or a smaller gap".into(),
            });
        }
        let folds = (0..n_folds)
            .map(|held| {
                let (from, to) = (held * n_samples / n_folds, (held + 1) * n_samples / n_folds);
                let (before, after) = (from.saturating_sub(gap), (to + gap).min(n_samples));
                Fold {
                    name: format!("block {}", held + 1),
                    train: (0..before).chain(after..n_samples).collect(),
                    test: (from..to).collect(),
                }
            })
            .collect();
        Ok(Folds { folds, n_samples })
    }

    /// The folds of finer samples (events), each of which lies in one of these samples or in none.
    ///
    /// What lies in none is neither trained on nor held out. Errors: a sample that is not there.
    pub fn of_parts(&self, whole_of: &[Option<usize>]) -> Result<Self> {
        if let Some(at) = whole_of.iter().flatten().find(|&&at| at >= self.n_samples) {
            return Err(Error::Invalid {
                what: "whole_of".into(),
                expected: format!("samples below {}", self.n_samples),
                found: at.to_string(),
                hint: "number the samples of these folds from 0".into(),
            });
        }
        let parts = |samples: &[usize]| -> Vec<usize> {
            let mut inside = vec![false; self.n_samples];
            samples.iter().for_each(|&i| inside[i] = true);
            (0..whole_of.len()).filter(|&part| whole_of[part].is_some_and(|whole| inside[whole])).collect()
        };
        let folds = self
            .folds
            .iter()
            .map(|fold| Fold { name: fold.name.clone(), train: parts(&fold.train), test: parts(&fold.test) })
            .collect();
        Ok(Folds { folds, n_samples: whole_of.len() })
    }

    /// The same folds without `dropped`, which are then neither trained on nor held out.
    ///
    /// Errors: a fold that is left without training or held-out samples.
    pub fn without(&self, dropped: &[usize]) -> Result<Self> {
        let mut gone = vec![false; self.n_samples];
        dropped.iter().filter(|&&i| i < self.n_samples).for_each(|&i| gone[i] = true);
        let kept = |samples: &[usize]| samples.iter().copied().filter(|&i| !gone[i]).collect::<Vec<_>>();
        let folds: Vec<Fold> = self
            .folds
            .iter()
            .map(|f| Fold { name: f.name.clone(), train: kept(&f.train), test: kept(&f.test) })
            .collect();
        if let Some(empty) = folds.iter().find(|f| f.train.is_empty() || f.test.is_empty()) {
            return Err(Error::TooFew {
                what: empty.name.clone(),
                needed: "training and held-out samples beside the dropped ones".into(),
                found: format!("{} and {}", empty.train.len(), empty.test.len()),
                hint: "drop fewer samples, or ask for fewer folds".into(),
            });
        }
        Ok(Folds { folds, n_samples: self.n_samples })
    }

    /// The folds, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Fold> {
        self.folds.iter()
    }

    /// How many folds.
    pub fn len(&self) -> usize {
        self.folds.len()
    }

    /// Whether there is no fold at all.
    pub fn is_empty(&self) -> bool {
        self.folds.is_empty()
    }

    /// Samples of the whole data set.
    pub fn n_samples(&self) -> usize {
        self.n_samples
    }
}

impl std::ops::Index<usize> for Folds {
    type Output = Fold;

    fn index(&self, fold_idx: usize) -> &Fold {
        &self.folds[fold_idx]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_their_samples() {
        let folds = Folds::contiguous(8, 2, 1).unwrap();
        // Two parts in sample 0, none in 1, one in 3 (purged beside the second block), three in 7.
        let parts = folds.of_parts(&[Some(0), Some(0), Some(3), Some(7), Some(7), None, Some(7)]).unwrap();
        assert_eq!((parts[0].train.clone(), parts[0].test.clone()), (vec![3, 4, 6], vec![0, 1, 2]));
        assert_eq!((parts[1].train.clone(), parts[1].test.clone()), (vec![0, 1], vec![3, 4, 6]));
        assert_eq!(parts.n_samples(), 7);
        assert!(folds.of_parts(&[Some(8)]).is_err());
    }

    #[test]
    fn dropped_samples_are_in_no_fold() {
        let folds = Folds::contiguous(8, 2, 1).unwrap().without(&[0, 1, 7]).unwrap();
        assert_eq!((folds[0].train.clone(), folds[0].test.clone()), (vec![5, 6], vec![2, 3]));
        assert_eq!((folds[1].train.clone(), folds[1].test.clone()), (vec![2], vec![4, 5, 6]));
        assert_eq!(folds.n_samples(), 8);
        let refused = folds.without(&[2, 3]).unwrap_err().to_string();
        assert!(refused.contains("`block 1`") || refused.contains("block 1"), "{refused}");
    }

    #[test]
    fn runs_come_from_labels_and_refuse_to_resume() {
        let runs = Runs::from_labels(&["a", "a", "b"]).unwrap();
        assert_eq!(runs.ranges().collect::<Vec<_>>(), [0..2, 2..3]);
        assert_eq!(runs.codes(), [0, 0, 1]);
        let refused = Runs::from_labels(&["a", "b", "a"]).unwrap_err();
        assert!(refused.to_string().contains("begins again at sample 2"), "{refused}");
    }

    #[test]
    fn every_sample_is_held_out_once_and_repeats_stay_together() {
        let units: Vec<String> = (0..40).map(|i| format!("s{}", i / 2)).collect();
        let folds = Folds::k_fold(&units, 6, 3).unwrap();
        let mut seen = [0; 40];
        for fold in folds.iter() {
            for &i in &fold.test {
                seen[i] += 1;
                assert!(fold.test.contains(&(i ^ 1)), "the twin of {i} went elsewhere");
                assert!(!fold.train.contains(&i));
            }
            assert_eq!(fold.train.len() + fold.test.len(), 40);
            assert!(fold.test.len().abs_diff(40 / 6) <= 2);
        }
        assert_eq!(seen, [1; 40]);
    }

    #[test]
    fn every_fold_has_its_share_of_every_class() {
        let labels = Labels::new(&(0..23).map(|i| if i < 7 { "rare" } else { "common" }).collect::<Vec<_>>());
        let folds = Folds::stratified(&labels, 4, 5).unwrap();
        let mut seen = [0; 23];
        for fold in folds.iter() {
            fold.test.iter().for_each(|&i| seen[i] += 1);
            let rare = fold.test.iter().filter(|&&i| i < 7).count();
            assert!((1..=2).contains(&rare) && (5..=6).contains(&fold.test.len()));
        }
        assert_eq!(seen, [1; 23]);
        let refused = Folds::stratified(&labels, 8, 5).unwrap_err().to_string();
        assert!(refused.contains("7 of class `rare`"), "{refused}");
    }

    #[test]
    fn the_deal_follows_the_ids_not_the_rows() {
        let forward: Vec<String> = (0..20).map(|i| format!("s{i}")).collect();
        let backward: Vec<String> = forward.iter().rev().cloned().collect();
        let (a, b) = (Folds::k_fold(&forward, 5, 1).unwrap(), Folds::k_fold(&backward, 5, 1).unwrap());
        for (x, y) in a.iter().zip(b.iter()) {
            let mut mirrored: Vec<usize> = y.test.iter().map(|i| 19 - i).collect();
            mirrored.sort_unstable();
            assert_eq!(x.test, mirrored);
        }
    }

    #[test]
    fn a_gap_keeps_neighbours_out_of_training() {
        let folds = Folds::contiguous(100, 4, 5).unwrap();
        assert_eq!(folds[1].test, (25..50).collect::<Vec<_>>());
        assert_eq!(folds[1].train, (0..20).chain(55..100).collect::<Vec<_>>());
    }
}
