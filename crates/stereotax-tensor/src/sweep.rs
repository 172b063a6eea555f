//! Fit many ranks from many starts, and held-out entries of many splits, in parallel.
//!
//! Tasks go to the thread pool, the largest rank first; each runs on one thread, so that memory stays at a tile per
//! thread. A task's bits depend on (seed, rank, start) alone: a sweep that was stopped goes on by leaving out the
//! tasks that are done.
//!
//! Cross-validation hides entries (in blocks along the last axis), fits the rest, and measures
//!
//! ```text
//! e = Σ_hidden (P z − model)² / Σ_hidden z²
//! ```
//!
//! with the rotation chosen on the entries that the fit saw. Splits are the same for all ranks.
//!
//! Source: specs encoding-manifolds 1.6. Cost: that of the fits.

use rayon::prelude::*;

use super::fit::{CpFit, CpParams, fit_cp};
use super::problem::CpTensor;
use stereotax_base::data::{Error, Event, Monitor, Result};
use stereotax_base::stats::rng::Stream;

/// One fit of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SweepTask {
    /// Components.
    pub rank: usize,
    /// Which random start.
    pub start: usize,
}

/// Fit every task; `receive` is called from the thread that finished it, in no promised order.
///
/// `base` gives all settings but rank and start. Errors: as [`fit_cp`], and a start from given factors.
pub fn sweep(
    tensor: &CpTensor,
    tasks: &[SweepTask],
    base: &CpParams,
    receive: &(dyn Fn(SweepTask, CpFit) + Sync),
    monitor: &Monitor<'_>,
) -> Result<()> {
    if base.init.is_some() || !base.fixed_modes.is_empty() {
        return Err(Error::Invalid {
            what: "init".into(),
            expected: "random starts".into(),
            found: "factors to start from".into(),
            hint: "fit one rank with `init`, or sweep over random starts".into(),
        });
    }
    let mut order = tasks.to_vec();
    // The longest first, so that none is left running alone at the end.
    order.sort_by_key(|task| (std::cmp::Reverse(task.rank), task.start));
    let name = "factorisations".to_owned();
    monitor.tell(Event::Started { task: name.clone(), total: order.len() as u64 });
    order.par_iter().with_max_len(1).try_for_each(|&task| {
        let params = CpParams { rank: task.rank, start: task.start, parallel: false, ..base.clone() };
        receive(task, fit_cp(tensor, &params, monitor)?);
        monitor.tell(Event::Advanced { done: 1 });
        Ok(())
    })?;
    monitor.tell(Event::Finished { task: name });
    Ok(())
}

/// What is hidden in cross-validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HoldOut {
    /// Splits. Default 5.
    pub n_splits: usize,
    /// Share of entries hidden in each, from above 0 to below 1. Default 0.1.
    pub share: f64,
    /// Neighbours along the last axis that are hidden together. Default 1; smoothed responses want more.
    pub block: usize,
    /// Starts per split, of which the one that fits the seen entries best counts. Default 1.
    pub n_starts: usize,
}

impl Default for HoldOut {
    fn default() -> Self {
        HoldOut { n_splits: 5, share: 0.1, block: 1, n_starts: 1 }
    }
}

/// Held-out errors, one line per rank, one number per split.
///
/// Errors: as [`fit_cp`]; settings out of range.
pub fn cross_validate(
    tensor: &CpTensor,
    ranks: &[usize],
    hold_out: &HoldOut,
    base: &CpParams,
    monitor: &Monitor<'_>,
) -> Result<Vec<Vec<f64>>> {
    let HoldOut { n_splits, share, block, n_starts } = *hold_out;
    if n_splits == 0 || block == 0 || n_starts == 0 || !(share > 0.0 && share < 1.0) {
        return Err(Error::Invalid {
            what: "hold-out".into(),
            expected: "1 split, block and start at least, and a share between 0 and 1".into(),
            found: format!("{n_splits}, {block}, {n_starts} and {share}"),
            hint: "5 splits of a tenth are customary".into(),
        });
    }
    let mut tasks: Vec<(usize, usize)> =
        ranks.iter().enumerate().flat_map(|(at, _)| (0..n_splits).map(move |split| (at, split))).collect();
    tasks.sort_by_key(|&(at, split)| (std::cmp::Reverse(ranks[at]), split));
    let name = "cross-validation".to_owned();
    monitor.tell(Event::Started { task: name.clone(), total: tasks.len() as u64 });
    let found: Vec<((usize, usize), f64)> = tasks
        .par_iter()
        .with_max_len(1)
        .map(|&(at, split)| {
            let hidden = hidden_entries(tensor, share, block, base.seed, split);
            let seen = tensor.hold_out(&hidden)?;
            let mut best: Option<CpFit> = None;
            for start in 0..n_starts {
                let params = CpParams { rank: ranks[at], start, parallel: false, ..base.clone() };
                let fit = fit_cp(&seen, &params, monitor)?;
                if best.as_ref().is_none_or(|best| fit.error < best.error) {
                    best = Some(fit);
                }
            }
            monitor.tell(Event::Advanced { done: 1 });
            Ok(((at, split), best.map_or(f64::NAN, |fit| hidden_error(tensor, &fit, &hidden))))
        })
        .collect::<Result<_>>()?;
    monitor.tell(Event::Finished { task: name });
    let mut errors = vec![vec![f64::NAN; n_splits]; ranks.len()];
    for ((at, split), error) in found {
        errors[at][split] = error;
    }
    Ok(errors)
}

/// Blocks along the time axis (the last one), each hidden with probability `share`; missing entries are not.
pub fn hidden_entries(tensor: &CpTensor, share: f64, block: usize, seed: u64, split: usize) -> Vec<bool> {
    let mut stream = Stream::new(seed, "cp held out", split as u64);
    let shape = tensor.shape();
    let fibre = tensor.cyclic_axes().map_or(shape[shape.len() - 1], |cyclic| cyclic.n_times);
    let mut hidden = Vec::with_capacity(tensor.values().len());
    while hidden.len() < tensor.values().len() {
        for begin in (0..fibre).step_by(block) {
            let hide = stream.uniform() < share;
            hidden.extend(std::iter::repeat_n(hide, block.min(fibre - begin)));
        }
    }
    if let Some(observed) = tensor.observed() {
        hidden.iter_mut().zip(observed).for_each(|(hidden, there)| *hidden &= there);
    }
    hidden
}

/// Σ (P z − model)² / Σ z² over the hidden entries; NaN where they are silent.
fn hidden_error(tensor: &CpTensor, fit: &CpFit, hidden: &[bool]) -> f64 {
    let rank = fit.weights.len();
    let model = |index: &mut [usize]| -> f64 {
        (0..rank)
            .map(|r| fit.factors.iter().zip(index.iter()).fold(fit.weights[r], |x, (f, &i)| x * f[(i, r)]))
            .sum()
    };
    let shape = tensor.shape();
    let (mut missed, mut total) = (0.0, 0.0);
    let mut index = vec![0; shape.len()];
    for (at, _) in hidden.iter().enumerate().filter(|(_, hidden)| **hidden) {
        let mut rest = at;
        for mode in (0..shape.len()).rev() {
            index[mode] = rest % shape[mode];
            rest /= shape[mode];
        }
        if let Some(cyclic) = tensor.cyclic_axes() {
            let shift = usize::from(fit.shifts[index[0] * cyclic.n_stimuli + index[1]]);
            index[2] = (index[2] + shift * cyclic.n_times) % shape[2];
        }
        let value = tensor.values()[at];
        missed += (value - model(&mut index)).powi(2);
        total += value * value;
    }
    if total > 0.0 { missed / total } else { f64::NAN }
}
