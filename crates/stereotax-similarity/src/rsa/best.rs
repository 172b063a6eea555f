//! The best of several models, with the choice itself resampled.
//!
//! The model that came out best did so partly by luck. In every draw b the best model is chosen anew; the optimism of
//! the choice is the mean over draws of e_b(best of b) − mean over draws of e(best of b): how much better a winner looks
//! in the draw that made it win than in the others. Source: specs: peers 5, 7 (best layer chosen and tested on the same
//! data); Efron & Tibshirani 1993.

use super::{Draws, Estimate, Resampled, gather};
use stereotax_base::stats::summary::{mean, quantile};

/// Selection of the best model.
#[derive(Debug, Clone, PartialEq)]
pub struct BestModel {
    /// The model with the largest estimate; `None` if there is none.
    pub index: Option<usize>,
    /// Share of draws that each model wins (ties: the first); NaN without draws.
    pub win_share: Vec<f64>,
    /// How much the choice inflates the winner's estimate; NaN without draws.
    pub optimism: f64,
    /// The winner's estimate less the optimism.
    pub corrected: f64,
    /// Percentile interval of what draws' winners reach, less the optimism.
    pub lower: f64,
    /// See `lower`.
    pub upper: f64,
}

impl BestModel {
    pub(super) fn nothing(n_models: usize) -> Self {
        BestModel {
            index: None,
            win_share: vec![f64::NAN; n_models],
            optimism: f64::NAN,
            corrected: f64::NAN,
            lower: f64::NAN,
            upper: f64::NAN,
        }
    }
}

pub(super) fn best_model(
    estimates: &[Estimate],
    draws: &Draws,
    resampled: Resampled,
    level: f64,
) -> BestModel {
    let m = estimates.len();
    let mut found = BestModel::nothing(m);
    let first_best = |values: &[f64]| -> Option<usize> {
        let mut best: Option<usize> = None;
        for (k, v) in values.iter().enumerate().filter(|(_, v)| !v.is_nan()) {
            if best.is_none_or(|b| *v > values[b]) {
                best = Some(k);
            }
        }
        best
    };
    let values: Vec<f64> = estimates.iter().map(|e| e.value).collect();
    found.index = first_best(&values);
    let Some(index) = found.index else { return found };
    if resampled == Resampled::None || draws.kept.is_empty() {
        return found;
    }
    let per_model: Vec<Vec<f64>> = (0..m)
        .map(|k| {
            let drawn = gather(draws, resampled, &|row| row.models[k]);
            drawn.iter().map(|deals| deals.iter().sum::<f64>() / deals.len() as f64).collect()
        })
        .collect();
    let centre: Vec<f64> = per_model.iter().map(|x| mean(x)).collect();
    let n = draws.kept.len();
    let mut wins = vec![0usize; m];
    let (mut gains, mut reached) = (Vec::with_capacity(n), Vec::with_capacity(n));
    for b in 0..n {
        let of: Vec<f64> = per_model.iter().map(|x| x[b]).collect();
        if let Some(winner) = first_best(&of) {
            wins[winner] += 1;
            gains.push(of[winner] - centre[winner]);
            reached.push(of[winner]);
        }
    }
    found.win_share = wins.iter().map(|&w| w as f64 / n as f64).collect();
    found.optimism = mean(&gains);
    found.corrected = values[index] - found.optimism;
    let tail = 0.5 - 0.5 * level;
    found.lower = quantile(&reached, tail) - found.optimism;
    found.upper = quantile(&reached, 1.0 - tail) - found.optimism;
    found
}
