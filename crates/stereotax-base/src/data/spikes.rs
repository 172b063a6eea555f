//! Spike times of units in trials of stimuli in directions.

use super::{Error, Result};

/// Spikes of all trials, cell after cell (units × stimuli × directions); trials may differ in number.
#[derive(Debug, Clone, PartialEq)]
pub struct SpikeTrains {
    shape: [usize; 3],
    times_s: Vec<f64>,
    trial_ends: Vec<usize>,
    cell_ends: Vec<usize>,
}

impl SpikeTrains {
    /// `n_trials` per cell, `n_spikes` per trial, and all times (in seconds from stimulus onset) one after the other.
    ///
    /// Errors: counts that do not add up, times that are not finite.
    pub fn new(shape: [usize; 3], n_trials: &[usize], n_spikes: &[usize], times_s: Vec<f64>) -> Result<Self> {
        let cells: usize = shape.iter().product();
        let (trials, spikes): (usize, usize) = (n_trials.iter().sum(), n_spikes.iter().sum());
        if cells == 0 || n_trials.len() != cells || n_spikes.len() != trials || times_s.len() != spikes {
            return Err(Error::Shape {
                what: "spikes".into(),
                expected: format!("{cells} cells, {trials} trials and {spikes} spikes"),
                found: format!("{}, {} and {}", n_trials.len(), n_spikes.len(), times_s.len()),
                hint: "give units × stimuli × directions × trials of spike times".into(),
            });
        }
        if let Some(at) = times_s.iter().position(|time| !time.is_finite()) {
            return Err(Error::NotFinite {
                what: "spikes (all times, as one row)".into(),
                row: 0,
                column: at,
                count: times_s.iter().filter(|time| !time.is_finite()).count(),
                hint: "leave out spikes without a time".into(),
            });
        }
        let ends = |counts: &[usize]| -> Vec<usize> {
            counts
                .iter()
                .scan(0, |sum, n| {
                    *sum += n;
                    Some(*sum)
                })
                .collect()
        };
        Ok(SpikeTrains { shape, times_s, trial_ends: ends(n_spikes), cell_ends: ends(n_trials) })
    }

    /// Units, stimuli, directions.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The trials of one cell.
    pub fn trials(&self, cell: usize) -> impl ExactSizeIterator<Item = &[f64]> {
        let begin = if cell == 0 { 0 } else { self.cell_ends[cell - 1] };
        (begin..self.cell_ends[cell]).map(|trial| {
            let first = if trial == 0 { 0 } else { self.trial_ends[trial - 1] };
            &self.times_s[first..self.trial_ends[trial]]
        })
    }

    /// All spikes of one cell, whatever the trial.
    pub fn pooled(&self, cell: usize) -> &[f64] {
        let begin = if cell == 0 { 0 } else { self.cell_ends[cell - 1] };
        let at = |trial: usize| if trial == 0 { 0 } else { self.trial_ends[trial - 1] };
        &self.times_s[at(begin)..at(self.cell_ends[cell])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_stand_in_their_cells() {
        let spikes = SpikeTrains::new([1, 1, 3], &[2, 0, 1], &[1, 2, 1], vec![0.1, 0.2, 0.3, 0.4]).unwrap();
        assert_eq!(spikes.trials(0).collect::<Vec<_>>(), [&[0.1][..], &[0.2, 0.3]]);
        assert_eq!((spikes.trials(1).len(), spikes.pooled(1).len()), (0, 0));
        assert_eq!(spikes.pooled(2), [0.4]);
        assert!(SpikeTrains::new([1, 1, 3], &[2, 0], &[1, 2], vec![0.1; 3]).is_err());
        assert!(SpikeTrains::new([1, 1, 1], &[1], &[1], vec![f64::NAN]).is_err());
    }
}
