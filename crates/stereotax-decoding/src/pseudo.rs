//! Pseudo-simultaneous trials from units that were recorded one after another.
//!
//! Of every unit, `n_repeats` trials of each class are drawn without replacement; repeat r of a class puts the r-th
//! drawn trials of all units together. Correlations of noise between units are lost. Holding out whole repeats keeps
//! a trial from standing on both sides. Source: Meyers 2024.

use stereotax_base::data::{Error, Labels, Result};
use stereotax_base::stats::rng::Stream;

/// For each unit, which of its trials stand in row r·K + k (repeat r, class k in the order of names).
///
/// `labels` holds one label per trial of every unit; all units must have the same classes.
/// Errors: no unit, a unit without a class, fewer trials of a class than repeats; both name the unit and class.
pub fn pseudo_trials(
    units: &[String],
    labels: &[Labels],
    n_repeats: usize,
    seed: u64,
) -> Result<Vec<Vec<usize>>> {
    let Some(first) = labels.first() else {
        return Err(Error::TooFew {
            what: "units".into(),
            needed: "1 unit".into(),
            found: "none".into(),
            hint: "one list of trials per unit".into(),
        });
    };
    let mut all = first.names().to_vec();
    labels.iter().for_each(|of| all.extend(of.names().iter().cloned()));
    all.sort();
    all.dedup();
    if n_repeats == 0 {
        return Err(Error::Invalid {
            what: "n_repeats".into(),
            expected: "at least 1".into(),
            found: "0".into(),
            hint: "decoding holds whole repeats out, so that 2 are the least that it can use".into(),
        });
    }
    labels
        .iter()
        .zip(units)
        .enumerate()
        .map(|(at, (of, unit))| {
            let mut rows = vec![0; n_repeats * all.len()];
            for (k, class) in all.iter().enumerate() {
                let trials = of.names().binary_search(class).map_or(vec![], |code| of.members(code));
                if trials.len() < n_repeats {
                    return Err(Error::TooFew {
                        what: format!("trials of class `{class}` of unit `{unit}`"),
                        needed: format!("{n_repeats} trials"),
                        found: trials.len().to_string(),
                        hint: "ask for fewer repeats, or leave the unit out".into(),
                    });
                }
                let mut stream = Stream::new(seed, "pseudo trials", (at * all.len() + k) as u64);
                let order = stream.permutation(trials.len());
                (0..n_repeats).for_each(|r| rows[r * all.len() + k] = trials[order[r]]);
            }
            Ok(rows)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_are_of_their_class_and_stand_once() {
        let units = vec!["u".to_owned(), "v".to_owned()];
        let labels = [Labels::new(&["a", "b", "a", "b", "a"]), Labels::new(&["b", "b", "b", "a", "a"])];
        let found = pseudo_trials(&units, &labels, 2, 0).unwrap();
        for (of, rows) in labels.iter().zip(&found) {
            assert!(rows.iter().enumerate().all(|(row, &trial)| of.codes()[trial] == row % 2));
            assert!(rows[0] != rows[2] && rows[1] != rows[3]);
        }
        let refused = pseudo_trials(&units, &labels, 3, 0).unwrap_err().to_string();
        assert!(refused.contains("class `b` of unit `u`"), "{refused}");
    }
}
