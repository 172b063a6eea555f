//! Choose between representations by what the training rows say: "best layer", and the adaptive one.
//!
//! Every candidate comes with the inner cross-validated scores of one outer fold
//! ([`super::FoldPrediction`]'s `inner_scores`, averaged over subjects or concatenated). The winner has
//! the highest mean over the targets that all candidates define, or the highest score per target.
//! Nothing is refitted and no held-out response is read, so the winner's held-out predictions are an
//! honest score of "choose, then predict". A choice by outer scores would not be.
//!
//! Ties go to the candidate that stands first: list the simplest first.
//! Source: specs: nfas-dmd 13 (best single layer, nested). Cost: O(candidates · targets).

use stereotax_base::data::{Error, Result};

/// One representation and how well it predicted inside the training rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'a> {
    /// Name of the representation or layer.
    pub name: &'a str,
    /// Inner score per target; NaN where undefined.
    pub inner_scores: &'a [f64],
}

/// The winner for all targets together.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Position of the winner among the candidates; `None` where no target is defined for all of them.
    pub winner: Option<usize>,
    /// Mean inner score of each candidate over the common targets.
    pub mean_scores: Vec<f64>,
    /// Targets that every candidate defines.
    pub n_common: usize,
    /// Winner's mean minus the runner-up's: near 0, the choice may change with the fold.
    pub margin: f64,
}

/// The winner for each target.
#[derive(Debug, Clone, PartialEq)]
pub struct RoiChoice {
    /// Position of the winner per target; `None` where no candidate is defined.
    pub winners: Vec<Option<usize>>,
    /// How many targets each candidate won.
    pub wins: Vec<usize>,
}

/// Choose one candidate for all targets by the mean inner score.
///
/// Errors: no candidate, or candidates with different numbers of targets.
pub fn choose(candidates: &[Candidate<'_>]) -> Result<Choice> {
    let n_targets = check(candidates)?;
    let common: Vec<usize> = (0..n_targets)
        .filter(|&j| candidates.iter().all(|candidate| candidate.inner_scores[j].is_finite()))
        .collect();
    let mean_scores: Vec<f64> = candidates
        .iter()
        .map(|c| common.iter().map(|&j| c.inner_scores[j]).sum::<f64>() / common.len() as f64)
        .collect();
    let winner = first_best(mean_scores.iter().copied());
    let margin = winner.map_or(f64::NAN, |at| {
        let others = mean_scores.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, s)| *s);
        mean_scores[at] - others.fold(f64::NAN, f64::max)
    });
    Ok(Choice { winner, mean_scores, n_common: common.len(), margin })
}

/// Choose a candidate for each target by itself.
///
/// Errors: as [`choose`].
pub fn choose_per_target(candidates: &[Candidate<'_>]) -> Result<RoiChoice> {
    let n_targets = check(candidates)?;
    let winners: Vec<Option<usize>> =
        (0..n_targets).map(|j| first_best(candidates.iter().map(|c| c.inner_scores[j]))).collect();
    let wins = (0..candidates.len()).map(|i| winners.iter().filter(|w| **w == Some(i)).count()).collect();
    Ok(RoiChoice { winners, wins })
}

fn first_best(scores: impl Iterator<Item = f64>) -> Option<usize> {
    let mut found: Option<(usize, f64)> = None;
    for (i, score) in scores.enumerate() {
        if score.is_finite() && found.is_none_or(|(_, top)| score > top) {
            found = Some((i, score));
        }
    }
    found.map(|(i, _)| i)
}

fn check(candidates: &[Candidate<'_>]) -> Result<usize> {
    let Some(first) = candidates.first() else {
        return Err(Error::TooFew {
            what: "candidates".into(),
            needed: "1 candidate".into(),
            found: "none".into(),
            hint: "give at least one representation".into(),
        });
    };
    let n_targets = first.inner_scores.len();
    match candidates.iter().find(|c| c.inner_scores.len() != n_targets) {
        None => Ok(n_targets),
        Some(odd) => Err(Error::Shape {
            what: format!("inner scores of {}", odd.name),
            expected: format!("{n_targets} targets (those of {})", first.name),
            found: format!("{} targets", odd.inner_scores.len()),
            hint: "score all candidates on the same subjects and ROIs".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f64; 4] = [0.1, 0.5, f64::NAN, 0.2];
    const B: [f64; 4] = [0.3, 0.2, 0.9, 0.2];

    fn candidates() -> [Candidate<'static>; 2] {
        [Candidate { name: "a", inner_scores: &A }, Candidate { name: "b", inner_scores: &B }]
    }

    #[test]
    fn the_mean_runs_over_common_targets_only() {
        // Over targets 0, 1 and 3: a has 0.8/3, b has 0.7/3. Target 2 would have made b win.
        let choice = choose(&candidates()).unwrap();
        assert_eq!((choice.winner, choice.n_common), (Some(0), 3));
        assert!((choice.margin - 0.1 / 3.0).abs() < 1e-15, "{}", choice.margin);
    }

    #[test]
    fn each_target_has_its_own_winner_and_ties_go_to_the_first() {
        let choice = choose_per_target(&candidates()).unwrap();
        assert_eq!(choice.winners, [Some(1), Some(0), Some(1), Some(0)]);
        assert_eq!(choice.wins, [2, 2]);
    }

    #[test]
    fn nothing_defined_means_no_winner() {
        let nan = [f64::NAN; 2];
        let candidates = [Candidate { name: "a", inner_scores: &nan }];
        assert_eq!(choose(&candidates).unwrap().winner, None);
        assert_eq!(choose_per_target(&candidates).unwrap().winners, [None, None]);
        assert!(choose(&[]).is_err());
        let short = Candidate { name: "c", inner_scores: &nan[..1] };
        assert!(choose(&[candidates[0], short]).unwrap_err().to_string().contains("inner scores of c"));
    }
}
