//! Which stimulus was shown, told from responses that did not train: what is held out decides what is asked.
//!
//! Samples are (repeat, direction, stimulus); features are means over a window of time.
//!
//! - **Repeats** held out: is the response to a condition alike from repeat to repeat, and unlike that to others?
//! - **Directions** held out, all stimuli at once: is a stimulus told in directions in which no stimulus was seen?
//! - **Stratified**: every fold has its share of every stimulus, whatever the directions; published accuracies are
//!   these. A held-out condition then competes with the *same direction* of other stimuli among the training samples.
//!   Where two stimuli drive a population alike, that neighbour is nearer than any other direction of the own
//!   stimulus, and is told: accuracy falls below chance, down to 0. Shuffles show it: their mean falls too.
//!
//! For p-values stimuli are shuffled within each repeat and direction, which is what does not matter if responses say
//! nothing about stimuli. Source: specs: encoding-manifolds 4.3 (folds, windows, the stricter variant).

use faer::{Mat, MatRef};

use super::PhysiologyParams;
use crate::data::{Error, Fold, Folds, Labels, Monitor, ResponseTensor, Result};
use crate::decoding::{DecodeParams, Decoding, Movie, WindowAccuracy, Windows, decode, window_accuracy};

/// Which samples decoding holds out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldOut {
    /// Repeats where there are two or more, directions where not (the default).
    #[default]
    Automatic,
    /// Whole repeats.
    Repeats,
    /// Whole directions, of all stimuli together, from means over repeats.
    Directions,
    /// A share of the directions of every stimulus, dealt for each by itself, from means over repeats.
    Stratified,
}

impl HeldOut {
    /// As it stands in tables.
    pub fn word(self) -> &'static str {
        match self {
            HeldOut::Automatic => "automatic",
            HeldOut::Repeats => "repeats",
            HeldOut::Directions => "directions",
            HeldOut::Stratified => "stratified",
        }
    }
}

/// Stimuli told from responses.
#[derive(Debug, Clone)]
pub struct Told {
    /// What was held out; never `Automatic`.
    pub held_out: HeldOut,
    /// Accuracy of growing windows.
    pub windows: Vec<WindowAccuracy>,
    /// Accuracy from means over all times, with confusions, of the first deal of folds.
    pub decoding: Decoding,
}

/// Tell stimuli apart.
pub(super) fn tell_stimuli(
    responses: &ResponseTensor,
    repeats: &[ResponseTensor],
    params: &PhysiologyParams,
    notes: &mut Vec<String>,
    monitor: &Monitor<'_>,
) -> Result<Told> {
    if responses.valid().contains(&false) {
        return Err(Error::Invalid {
            what: "responses".into(),
            expected: "those of all units to all stimuli".into(),
            found: "not every unit was shown every stimulus".into(),
            hint: "leave the units or the stimuli out".into(),
        });
    }
    let held_out = match params.held_out {
        HeldOut::Automatic if repeats.len() > 1 => HeldOut::Repeats,
        HeldOut::Automatic => HeldOut::Directions,
        wanted => wanted,
    };
    let of_repeats = held_out == HeldOut::Repeats;
    let shown = if of_repeats { repeats } else { std::slice::from_ref(responses) };
    let [n_units, n_stimuli, n_directions, n_times] = responses.shape();
    let (n_held, what) = match held_out {
        HeldOut::Repeats => (repeats.len(), "repeats"),
        _ => (n_directions, "directions"),
    };
    if n_held < 2 {
        return Err(Error::TooFew {
            what: what.into(),
            needed: format!("2 {what}, one to train on and one to hold out"),
            found: n_held.to_string(),
            hint: "give every repeat of the stimuli, or hold out what there is more of".into(),
        });
    }
    let length = responses.lengths().iter().copied().min().unwrap_or(0);
    // Samples repeat by repeat and direction by direction; column n·length + t.
    let cells = n_directions * n_stimuli;
    let x = Mat::from_fn(shown.len() * cells, n_units * length, |i, column| {
        let (r, d, s) = (i / cells, i / n_stimuli % n_directions, i % n_stimuli);
        shown[r].map(column / length, s)[d * n_times + column % length]
    });
    let of_sample = |name: &dyn Fn(usize, usize, usize) -> String| {
        let all = (0..shown.len() * cells)
            .map(|i| name(i / cells, i / n_stimuli % n_directions, i % n_stimuli))
            .collect::<Vec<_>>();
        Labels::new(&all)
    };
    let labels = of_sample(&|_, _, s| responses.stimuli()[s].clone());
    let held = of_sample(&|r, d, _| format!("{:06}", if of_repeats { r } else { d }));
    let settings = DecodeParams {
        classifier: params.classifier,
        scaling: params.scaling,
        n_permutations: params.n_permutations,
        groups: Some(of_sample(&|r, d, _| format!("{r} {d}"))),
        seed: params.seed,
    };
    let n_folds = params.n_folds.min(n_held);
    // One sample of each set at a time leaves nothing to deal afresh.
    let n_deals = if held_out != HeldOut::Stratified && n_folds == n_held { 1 } else { params.n_repeats };
    let repeats_of_folds = (0..n_deals)
        .map(|deal| -> Result<Vec<Fold>> {
            let seed = params.seed.wrapping_add(deal as u64);
            let folds = match held_out {
                HeldOut::Stratified => Folds::stratified(&labels, params.n_folds, seed)?,
                _ => {
                    let ids: Vec<&String> = held.codes().iter().map(|&k| &held.names()[k]).collect();
                    Folds::k_fold(&ids, n_folds, seed)?
                }
            };
            Ok(folds.iter().cloned().collect())
        })
        .collect::<Result<Vec<_>>>()?;
    let movie = Movie { values: x.as_ref(), n_times: length };
    let windows = window_accuracy(movie, &labels, &repeats_of_folds, Windows::Growing, &settings, monitor)?;
    let decoding =
        decode(over_time(x.as_ref(), length).as_ref(), &labels, &repeats_of_folds[0], &settings, monitor)?;
    let (value, chance) = (decoding.accuracy.value, decoding.accuracy.chance);
    if value < chance - 2.0 * (chance * (1.0 - chance) / x.nrows() as f64).sqrt() {
        notes.push(format!(
            "stimuli are told in {value:.2} of held-out samples, below the {chance:.2} of chance: some drive the \
             population alike, and what is held out of one ({}) is nearer to what others trained with",
            held_out.word()
        ));
    }
    Ok(Told { held_out, windows, decoding })
}

/// Means over all times.
fn over_time(x: MatRef<f64>, n_times: usize) -> Mat<f64> {
    Mat::from_fn(x.nrows(), x.ncols() / n_times, |i, n| {
        (0..n_times).map(|t| x[(i, n * n_times + t)]).sum::<f64>() / n_times as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoding::Classifier;
    use crate::stats::rng::Stream;

    /// Repeats of a tuned population to which the stimuli of a pair are one; `n_pairs` pairs that differ.
    fn pairs(n_pairs: usize, n_repeats: usize) -> Vec<ResponseTensor> {
        let (n_units, n_directions, n_times) = (40, 8, 2);
        let mut stream = Stream::new(5, "told tests", 0);
        let mut values = vec![vec![]; n_repeats];
        for _ in 0..n_units {
            let preferred = 360.0 * stream.uniform();
            let gains: Vec<f64> = (0..n_pairs).map(|_| 0.5 + stream.uniform()).collect();
            for s in 0..2 * n_pairs {
                for d in 0..n_directions {
                    let tuned = (2.0 * ((45.0 * d as f64 - preferred).to_radians().cos() - 1.0)).exp();
                    for _ in 0..n_times {
                        for repeat in &mut values {
                            repeat.push(10.0 * gains[s / 2] * tuned + 0.2 * (1.0 + stream.uniform()));
                        }
                    }
                }
            }
        }
        let names = |stem: &str, n: usize| (0..n).map(|i| format!("{stem}{i}")).collect::<Vec<_>>();
        let angles: Vec<f64> = (0..n_directions).map(|d| 45.0 * d as f64).collect();
        let made = |values| {
            ResponseTensor::new(values, names("u", n_units), names("s", 2 * n_pairs), angles.clone(), 0.1)
        };
        values.into_iter().map(|values| made(values).unwrap()).collect()
    }

    fn told(n_pairs: usize, held_out: HeldOut, classifier: Classifier) -> (Told, Vec<String>) {
        let repeats = pairs(n_pairs, 4);
        let params = PhysiologyParams {
            held_out,
            classifier,
            n_folds: 4,
            n_repeats: 2,
            n_permutations: 39,
            ..PhysiologyParams::default()
        };
        let mut notes = vec![];
        let mean = super::super::Population::of_repeats("area", super::super::Role::Area, repeats.clone());
        let mean = mean.unwrap().responses;
        (tell_stimuli(&mean, &repeats, &params, &mut notes, &Monitor::silent()).unwrap(), notes)
    }

    #[test]
    fn two_names_of_one_stimulus_fall_to_zero_where_directions_are_dealt_for_each() {
        // The neighbour of a held-out direction is the same direction of the other name, unless both are held out.
        for classifier in [Classifier::Neighbours(1), Classifier::default()] {
            let (dealt, notes) = told(1, HeldOut::Stratified, classifier);
            let found = &dealt.decoding.accuracy;
            assert!(found.value < 0.3 && found.chance == 0.5, "{classifier:?} {found:?}");
            // What shuffles within directions meet as well: not evidence of anything.
            assert!(found.null_mean < 0.4 && found.p_value > 0.05, "{classifier:?} {found:?}");
            assert!(notes[0].contains("below the 0.50 of chance"), "{notes:?}");
            for held_out in [HeldOut::Repeats, HeldOut::Directions] {
                let (fair, notes) = told(1, held_out, classifier);
                let found = &fair.decoding.accuracy;
                assert!((0.3..0.7).contains(&found.value), "{held_out:?} {classifier:?} {found:?}");
                assert!((found.null_mean - 0.5).abs() < 0.08, "{held_out:?} {classifier:?} {found:?}");
                assert!(found.p_value > 0.05 && notes.is_empty(), "{held_out:?} {found:?} {notes:?}");
            }
        }
    }

    #[test]
    fn what_differs_is_told_and_what_does_not_is_shared() {
        // Two pairs: the pair is told, the name within it is not.
        for held_out in [HeldOut::Repeats, HeldOut::Directions] {
            let (found, _) = told(2, held_out, Classifier::default());
            let counts = &found.decoding.confusion;
            let of_pair: usize = [0, 1, 4, 5, 10, 11, 14, 15].iter().map(|&cell| counts[cell]).sum();
            let all: usize = counts.iter().sum();
            assert_eq!(all, if held_out == HeldOut::Repeats { 4 * 32 } else { 32 });
            assert_eq!(of_pair, all, "{held_out:?} {counts:?}");
            let accuracy = found.decoding.accuracy.value;
            assert!((0.3..0.7).contains(&accuracy), "{held_out:?} {accuracy}");
            assert_eq!(found.windows.len(), 2);
            assert_eq!(found.held_out, held_out);
        }
    }

    #[test]
    fn whole_repeats_and_whole_directions_are_held_out() {
        let (by_repeat, _) = told(2, HeldOut::Automatic, Classifier::Neighbours(1));
        assert_eq!(by_repeat.held_out, HeldOut::Repeats);
        for (held_out, of) in [(HeldOut::Repeats, 32), (HeldOut::Directions, 4)] {
            let (found, _) = told(2, held_out, Classifier::Neighbours(1));
            // Every sample once, and all samples of a repeat or direction in one fold.
            let mut fold_of = vec![usize::MAX; found.decoding.predictions.len()];
            for told in &found.decoding.predictions {
                assert_eq!(fold_of[told.sample], usize::MAX);
                fold_of[told.sample] = told.fold;
                assert_eq!(told.observed, told.sample % 4, "the label is the stimulus");
            }
            assert!(
                fold_of.chunks(of).all(|whole| whole.iter().all(|fold| *fold == whole[0])),
                "{fold_of:?}"
            );
        }
        // Four folds of four repeats leave one deal; of eight directions there are many.
        assert!(by_repeat.windows[0].sd.is_nan());
        assert!(told(2, HeldOut::Directions, Classifier::Neighbours(1)).0.windows[0].sd >= 0.0);
    }

    #[test]
    fn what_cannot_be_held_out_is_said() {
        let repeats = pairs(1, 1);
        let said = |held_out| {
            let params = PhysiologyParams { held_out, ..PhysiologyParams::default() };
            let found = tell_stimuli(&repeats[0], &repeats, &params, &mut vec![], &Monitor::silent());
            found.map(|told| told.held_out).map_err(|e| e.to_string())
        };
        assert!(said(HeldOut::Repeats).unwrap_err().contains("2 repeats"));
        assert_eq!(said(HeldOut::Automatic), Ok(HeldOut::Directions));
        let mut other = pairs(1, 2);
        other[1] = pairs(2, 1).swap_remove(0);
        let refused = super::super::Population::of_repeats("V1", super::super::Role::Area, other);
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("repeat 1 of `V1`"), "{message}");
    }
}
