//! What the samples are: their ids, runs, clock, folds, and the blocks that resampling may move.

use faer::{Mat, MatRef};

use crate::data::{Error, Fold, Folds, Result, Runs};
use crate::signal::{ConstantRule, Drift, remove_confounds, remove_drift, z_score_runs};

/// What one row of the responses is.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// A stimulus, with one response each: no haemodynamics, order without meaning.
    Stimulus,
    /// A volume of a time series, one every `tr_s` seconds.
    Tr {
        /// Repetition time in seconds.
        tr_s: f64,
    },
}

/// The samples of one benchmark, in the order of its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleDesign {
    /// Stable id per sample (for time series: run and index).
    pub ids: Vec<String>,
    /// Runs that time never crosses; one run for a stimulus design.
    pub runs: Runs,
    /// What a row is.
    pub clock: Clock,
    /// Which samples are held out together.
    pub folds: Folds,
    /// Resampling block per sample, as an index into `block_names`.
    pub blocks: Vec<usize>,
    /// Stable id per block.
    pub block_names: Vec<String>,
}

/// How many pieces of the samples keep moments of their own, at least; more where folds need it.
const MOMENT_PIECES: usize = 64;

/// A division of the samples so fine that every training set is a union of its pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pieces {
    /// Piece of each sample.
    pub of_sample: Vec<usize>,
    /// Name of each piece.
    pub names: Vec<String>,
    /// Per fold, which pieces are trained on.
    pub in_training: Vec<Vec<bool>>,
}

impl SampleDesign {
    /// How many samples.
    pub fn n_samples(&self) -> usize {
        self.ids.len()
    }

    /// Refuse a design whose parts contradict each other.
    pub fn check(&self) -> Result<()> {
        let n = self.ids.len();
        for (what, found) in [
            ("runs", self.runs.n_samples()),
            ("folds", self.folds.n_samples()),
            ("blocks", self.blocks.len()),
        ] {
            if found != n {
                return Err(Error::Shape {
                    what: what.into(),
                    expected: format!("{n} samples (as many as ids)"),
                    found: format!("{found} samples"),
                    hint: "describe every sample once".into(),
                });
            }
        }
        Ok(())
    }

    /// The group within which a held-out sample's prediction is correlated with its response: its fold.
    pub fn score_groups(&self) -> Vec<Option<usize>> {
        let mut groups = vec![None; self.n_samples()];
        for (fold_idx, fold) in self.folds.iter().enumerate() {
            for &sample in &fold.test {
                groups[sample] = Some(fold_idx);
            }
        }
        groups
    }

    /// Divide the samples for the moments: atoms of all training sets, cut further into stretches.
    ///
    /// Within an atom, samples of a stimulus design are dealt by sorted id, so that the order of rows
    /// does not matter; those of a time series stay contiguous.
    pub fn pieces(&self) -> Pieces {
        let n = self.n_samples();
        let mut signature = vec![Vec::with_capacity(self.folds.len()); n];
        for fold in self.folds.iter() {
            let mut member = vec![false; n];
            fold.train.iter().for_each(|&i| member[i] = true);
            for (sample, inside) in member.into_iter().enumerate() {
                signature[sample].push(inside);
            }
        }
        let mut order: Vec<usize> = (0..n).collect();
        if self.clock == Clock::Stimulus {
            order.sort_by(|&a, &b| self.ids[a].cmp(&self.ids[b]));
        }
        // Atoms in order of their first member.
        let mut atoms: Vec<(Vec<bool>, Vec<usize>)> = Vec::new();
        for &sample in &order {
            match atoms.iter_mut().find(|(known, _)| *known == signature[sample]) {
                Some((_, members)) => members.push(sample),
                None => atoms.push((signature[sample].clone(), vec![sample])),
            }
        }
        let per_atom = MOMENT_PIECES.div_ceil(atoms.len().max(1));
        let mut pieces = Pieces {
            of_sample: vec![0; n],
            names: Vec::new(),
            in_training: vec![Vec::new(); self.folds.len()],
        };
        for (atom_idx, (membership, members)) in atoms.iter().enumerate() {
            let n_parts = per_atom.min(members.len());
            for part in 0..n_parts {
                let stretch = &members[part * members.len() / n_parts..(part + 1) * members.len() / n_parts];
                for &sample in stretch {
                    pieces.of_sample[sample] = pieces.names.len();
                }
                pieces.names.push(format!("{atom_idx}.{part}"));
                for (fold_idx, inside) in membership.iter().enumerate() {
                    pieces.in_training[fold_idx].push(*inside);
                }
            }
        }
        pieces
    }

    /// The fold that trains on everything, for what is described rather than predicted.
    pub fn whole(&self) -> Fold {
        Fold { name: "all".into(), train: (0..self.n_samples()).collect(), test: Vec::new() }
    }
}

/// Remove drift and confounds and z-score each run of a time series; leave responses per stimulus as they are.
///
/// `values` are samples × ROIs, `confounds` samples × confounds; a constant ROI becomes 0. Errors: those of
/// the drift model.
pub fn clean_responses(
    values: MatRef<f64>,
    confounds: Option<MatRef<f64>>,
    design: &SampleDesign,
    drift: Drift,
) -> Result<Mat<f64>> {
    let Clock::Tr { tr_s } = design.clock else { return Ok(values.to_owned()) };
    let flat = match confounds {
        Some(confounds) => remove_confounds(values, confounds, &design.runs, tr_s, drift)?,
        None => remove_drift(values, &design.runs, tr_s, drift)?,
    };
    Ok(z_score_runs(flat.as_ref(), &design.runs, ConstantRule::Zero)?.values)
}

/// The mean over subjects of responses z-scored by run (time series) or over all samples (stimuli).
///
/// All matrices are samples × ROIs of one shape; at least one.
pub fn group_mean(subjects: &[MatRef<f64>], design: &SampleDesign) -> Result<Mat<f64>> {
    let (n, n_rois) = subjects.first().map_or((0, 0), |first| (first.nrows(), first.ncols()));
    let runs = match design.clock {
        Clock::Stimulus => Runs::single(n),
        Clock::Tr { .. } => design.runs.clone(),
    };
    let mut mean = Mat::<f64>::zeros(n, n_rois);
    for subject in subjects {
        mean += z_score_runs(*subject, &runs, ConstantRule::Zero)?.values;
    }
    mean *= faer::Scale(1.0 / subjects.len() as f64);
    Ok(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn design(n: usize, clock: Clock, folds: Folds) -> SampleDesign {
        SampleDesign {
            ids: (0..n).map(|i| format!("s{:03}", (i * 37) % n)).collect(),
            runs: Runs::single(n),
            clock,
            folds,
            blocks: (0..n).collect(),
            block_names: (0..n).map(|i| i.to_string()).collect(),
        }
    }

    #[test]
    fn training_sets_are_unions_of_pieces() {
        for folds in [Folds::contiguous(200, 4, 7).unwrap(), Folds::contiguous(200, 10, 0).unwrap()] {
            let design = design(200, Clock::Tr { tr_s: 2.0 }, folds);
            let pieces = design.pieces();
            assert!(pieces.names.len() >= 60);
            for (fold_idx, fold) in design.folds.iter().enumerate() {
                let rebuilt: Vec<usize> =
                    (0..200).filter(|&i| pieces.in_training[fold_idx][pieces.of_sample[i]]).collect();
                assert_eq!(rebuilt, fold.train);
            }
        }
    }

    #[test]
    fn pieces_follow_the_ids_of_stimuli() {
        let n = 101;
        let ids: Vec<String> = (0..n).map(|i| format!("s{:03}", (i * 37) % n)).collect();
        let forward = design(n, Clock::Stimulus, Folds::k_fold(&ids, 5, 1).unwrap());
        let backward_ids: Vec<String> = ids.iter().rev().cloned().collect();
        let mut backward = design(n, Clock::Stimulus, Folds::k_fold(&backward_ids, 5, 1).unwrap());
        backward.ids = backward_ids;
        let (a, b) = (forward.pieces(), backward.pieces());
        let sizes = |pieces: &Pieces, of: usize| pieces.of_sample.iter().filter(|&&p| p == of).count();
        for piece in 0..a.names.len() {
            assert_eq!(sizes(&a, piece), sizes(&b, piece));
        }
        for sample in 0..n {
            assert_eq!(a.of_sample[sample], b.of_sample[n - 1 - sample]);
        }
    }
}
