//! From spikes to response maps, and which stimuli drive a unit.
//!
//! **Rates.** Every cell (unit, stimulus, direction) is estimated by [`stereotax_base::signal::psth`]; one bandwidth serves all
//! directions of a unit and stimulus, fixed or from the direction with most spikes.
//!
//! **Significance.** For each direction the spikes of every trial are counted in consecutive windows as long as the
//! baseline; of these the one with most spikes over trials and the one with fewest are compared, trial by trial, with
//! the baseline's counts (one-sided rank-sum tests). A stimulus is significant if some direction's largest window is
//! above the baseline (p ≤ α), or every direction's smallest window is below it (p ≤ α: suppression). A test that
//! cannot be made counts as p = ∞. Choosing the window and testing it on the same trials favours significance; we do
//! as the authors do, and say so.
//!
//! Source: Dyballa et al. 2024; specs encoding-manifolds 1.1 and 1.3. Cost: O(spikes + bins) per cell.

use rayon::prelude::*;

use stereotax_base::data::spikes::SpikeTrains;
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::signal::psth::{PsthWindow, psth, sheather_jones};
use stereotax_base::stats::rank_sum::rank_sum_greater;

/// The rule for the bandwidth of a unit's responses to a stimulus.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bandwidth {
    /// Seconds.
    Fixed(f64),
    /// Improved Sheather–Jones, clipped to a range in seconds; the most where it finds none.
    SheatherJones {
        /// Default 0.01.
        least_s: f64,
        /// Default 0.05.
        most_s: f64,
    },
}

/// Rates of all units.
#[derive(Debug, Clone)]
pub struct SpikeRates {
    /// Hz, units × stimuli × directions × bins; NaN for a unit and stimulus without any trial.
    pub values: Vec<f64>,
    /// Bins.
    pub n_bins: usize,
    /// Seconds, units × stimuli; NaN without trials.
    pub bandwidths_s: Vec<f64>,
}

/// Estimate every map.
///
/// Errors: a unit and stimulus with trials in some directions only; as [`psth`].
pub fn spike_rates(
    spikes: &SpikeTrains,
    window: &PsthWindow,
    bandwidth: Bandwidth,
    monitor: &Monitor<'_>,
) -> Result<SpikeRates> {
    let [n_units, n_stimuli, n_directions] = spikes.shape();
    let n_bins = window.n_bins()?;
    if let Bandwidth::SheatherJones { least_s, most_s } = bandwidth
        && !(least_s > 0.0 && most_s >= least_s && most_s.is_finite())
    {
        return Err(Error::Invalid {
            what: "bandwidth".into(),
            expected: "a range of positive numbers of seconds".into(),
            found: format!("{least_s} to {most_s}"),
            hint: "0.01 to 0.05 s are customary".into(),
        });
    }
    let inside = |times: &[f64]| -> Vec<f64> {
        let there = |t: &&f64| (window.start_s..=window.stop_s).contains(*t);
        times.iter().filter(there).copied().collect()
    };
    let maps: Vec<(Vec<f64>, f64)> = (0..n_units * n_stimuli)
        .into_par_iter()
        .map(|cell| {
            monitor.check()?;
            let cells = cell * n_directions..(cell + 1) * n_directions;
            let n_trials: Vec<usize> = cells.clone().map(|cell| spikes.trials(cell).len()).collect();
            if n_trials.iter().all(|&n| n == 0) {
                return Ok((vec![f64::NAN; n_directions * n_bins], f64::NAN));
            }
            if let Some(d) = n_trials.iter().position(|&n| n == 0) {
                return Err(Error::TooFew {
                    what: format!(
                        "trials of unit {}, stimulus {}, direction {d}",
                        cell / n_stimuli,
                        cell % n_stimuli
                    ),
                    needed: "1, or none in all directions".into(),
                    found: "none, but some in other directions".into(),
                    hint: "(counted from 0) leave out the unit or the stimulus".into(),
                });
            }
            let sigma = match bandwidth {
                Bandwidth::Fixed(sigma) => sigma,
                Bandwidth::SheatherJones { least_s, most_s } => {
                    let most = cells
                        .clone()
                        .map(|cell| inside(spikes.pooled(cell)))
                        .fold(vec![], |most, times| if times.len() > most.len() { times } else { most });
                    sheather_jones(&most).map_or(most_s, |sigma| sigma.clamp(least_s, most_s))
                }
            };
            let mut map = Vec::with_capacity(n_directions * n_bins);
            for (cell, n_trials) in cells.zip(n_trials) {
                map.extend(psth(spikes.pooled(cell), n_trials, sigma, window)?);
            }
            Ok((map, sigma))
        })
        .collect::<Result<_>>()?;
    Ok(SpikeRates {
        bandwidths_s: maps.iter().map(|map| map.1).collect(),
        values: maps.into_iter().flat_map(|map| map.0).collect(),
        n_bins,
    })
}

/// When stimuli and baselines were.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epochs {
    /// The baseline (inter-stimulus interval), seconds from onset.
    pub baseline_s: (f64, f64),
    /// The stimulus.
    pub stimulus_s: (f64, f64),
}

/// What drives whom; entries are units × stimuli.
#[derive(Debug, Clone)]
pub struct Significance {
    /// Whether the stimulus drives or suppresses the unit.
    pub significant: Vec<bool>,
    /// The smallest p over directions that the unit fires more; ∞ where no test could be made.
    pub p_more: Vec<f64>,
    /// The largest p over directions that it fires less; ∞ likewise.
    pub p_less: Vec<f64>,
}

/// Which stimuli are significant for which units, at level `alpha` (0.001 is customary).
///
/// Errors: epochs that are empty, or a stimulus shorter than the baseline; a level outside (0, 1).
pub fn significance(spikes: &SpikeTrains, epochs: &Epochs, alpha: f64) -> Result<Significance> {
    let Epochs { baseline_s: (begin, end), stimulus_s: (onset, offset) } = *epochs;
    let length = end - begin;
    let n_windows = ((offset - onset) / length + 1e-9).floor();
    if !(length > 0.0 && (1.0..1e6).contains(&n_windows) && alpha > 0.0 && alpha < 1.0) {
        return Err(Error::Invalid {
            what: "epochs and level".into(),
            expected: "a baseline, a stimulus that is no shorter, and a level between 0 and 1".into(),
            found: format!("{begin} to {end}, {onset} to {offset} (seconds) and {alpha}"),
            hint: "baseline=(-0.25, 0), stimulus=(0, 2), say".into(),
        });
    }
    let n_windows = n_windows as usize;
    let [n_units, n_stimuli, n_directions] = spikes.shape();
    let count =
        |trial: &[f64], from: f64| trial.iter().filter(|t| **t >= from && **t < from + length).count() as f64;
    let or_never = |p: f64| if p.is_nan() { f64::INFINITY } else { p };
    let found: Vec<(f64, f64)> = (0..n_units * n_stimuli)
        .into_par_iter()
        .map(|cell| {
            let (mut more, mut less) = (f64::INFINITY, f64::NEG_INFINITY);
            for cell in cell * n_directions..(cell + 1) * n_directions {
                let before: Vec<f64> = spikes.trials(cell).map(|trial| count(trial, begin)).collect();
                let windows: Vec<Vec<f64>> = (0..n_windows)
                    .map(|w| {
                        spikes.trials(cell).map(|trial| count(trial, onset + w as f64 * length)).collect()
                    })
                    .collect();
                let total = |w: &Vec<f64>| w.iter().sum::<f64>();
                let (mut high, mut low) = (0, 0);
                for w in 1..n_windows {
                    high = if total(&windows[w]) > total(&windows[high]) { w } else { high };
                    low = if total(&windows[w]) < total(&windows[low]) { w } else { low };
                }
                more = more.min(or_never(rank_sum_greater(&windows[high], &before)));
                less = less.max(or_never(rank_sum_greater(&before, &windows[low])));
            }
            (more, less)
        })
        .collect();
    Ok(Significance {
        significant: found.iter().map(|(more, less)| *more <= alpha || *less <= alpha).collect(),
        p_more: found.iter().map(|p| p.0).collect(),
        p_less: found.iter().map(|p| p.1).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::signal::smooth::Edge;
    use stereotax_base::stats::rng::Stream;

    /// One unit per rate pair (baseline, stimulus in direction 0), two directions, 20 trials; onset at 0.
    fn poisson(rates: &[(f64, [f64; 2])]) -> SpikeTrains {
        let (mut n_spikes, mut times) = (vec![], vec![]);
        for (unit, (before, during)) in rates.iter().enumerate() {
            for (d, rate) in during.iter().enumerate() {
                for trial in 0..20 {
                    let mut stream = Stream::new(4, "poisson", (unit * 2 + d) as u64 * 20 + trial);
                    let mut n = 0;
                    for bin in 0..1250 {
                        let at = -0.25 + bin as f64 * 1e-3;
                        if stream.uniform() < 1e-3 * if at < 0.0 { *before } else { *rate } {
                            times.push(at + 5e-4);
                            n += 1;
                        }
                    }
                    n_spikes.push(n);
                }
            }
        }
        SpikeTrains::new([rates.len(), 1, 2], &vec![20; 2 * rates.len()], &n_spikes, times).unwrap()
    }

    #[test]
    fn driven_and_suppressed_units_are_found_and_others_are_not() {
        let spikes = poisson(&[
            (5.0, [60.0, 5.0]),
            (40.0, [2.0, 2.0]),
            (40.0, [2.0, 40.0]),
            (10.0, [10.0; 2]),
            (0.0, [0.0; 2]),
        ]);
        let epochs = Epochs { baseline_s: (-0.25, 0.0), stimulus_s: (0.0, 1.0) };
        let found = significance(&spikes, &epochs, 1e-3).unwrap();
        // Suppression in one direction of two is not enough; no spikes at all cannot be tested.
        assert_eq!(found.significant, [true, true, false, false, false]);
        assert!(found.p_more[4].is_infinite() && found.p_less[1] < 1e-3);
        assert!(significance(&spikes, &Epochs { stimulus_s: (0.0, 0.1), ..epochs }, 1e-3).is_err());
        assert!(significance(&spikes, &epochs, 0.0).is_err());
    }

    #[test]
    fn rates_are_those_planted_and_missing_cells_are_named() {
        let spikes = poisson(&[(5.0, [60.0, 20.0])]);
        let window = PsthWindow { start_s: 0.0, stop_s: 1.0, bin_s: 0.01, edge: Edge::Reflect };
        for bandwidth in [Bandwidth::Fixed(0.05), Bandwidth::SheatherJones { least_s: 0.01, most_s: 0.05 }] {
            let found = spike_rates(&spikes, &window, bandwidth, &Monitor::silent()).unwrap();
            assert_eq!((found.n_bins, found.values.len()), (100, 200));
            let mean = |d: usize| found.values[d * 100..(d + 1) * 100].iter().sum::<f64>() / 100.0;
            assert!((mean(0) - 60.0).abs() < 6.0 && (mean(1) - 20.0).abs() < 4.0, "{} {}", mean(0), mean(1));
            assert!((0.01..=0.05).contains(&found.bandwidths_s[0]));
        }
        let some = SpikeTrains::new([1, 1, 2], &[1, 0], &[1], vec![0.1]).unwrap();
        let message =
            spike_rates(&some, &window, Bandwidth::Fixed(0.05), &Monitor::silent()).unwrap_err().to_string();
        assert!(message.contains("unit 0, stimulus 0, direction 1"), "{message}");
        let none = SpikeTrains::new([1, 1, 2], &[0, 0], &[], vec![]).unwrap();
        let found = spike_rates(&none, &window, Bandwidth::Fixed(0.05), &Monitor::silent()).unwrap();
        assert!(found.values.iter().all(|x| x.is_nan()));
    }
}
