//! Held-out accuracy of a classifier, with confusions, chance and permutations.
//!
//! Accuracy is the share of held-out samples told rightly; balanced accuracy the mean over classes of the share told
//! rightly. A sample without any score (a constant pattern has no correlation) is told wrongly and counted. Chance
//! is what an answer that never changes gets: the share of the commonest class, or 1/K when balanced.
//!
//! Significance: labels are shuffled, training and held-out ones alike, folds stay as they are, and
//! p = (1 + #{null ≥ observed})/(1 + draws) on the shuffles of `stats`. Samples of a group that has one label move
//! together; where labels differ within groups they are shuffled within them (specs: nfas-dmd 11.2).
//! Cost: one fit per fold, and per fold and draw; what does not depend on labels is done once per fold.

use faer::MatRef;
use rayon::prelude::*;

use super::classifier::{Classifier, FeatureScaling, Machine, check_settings};
use stereotax_base::data::{Error, Fold, Labels, Monitor, Result};
use stereotax_base::linalg::select_rows;
use stereotax_base::stats::shuffles::{Exchange, PermutationParams, Shuffles};
use stereotax_base::stats::summary::{check_finite, mean, permutation_p, quantile, tie_tolerance};

/// Choices of a decoding analysis.
#[derive(Debug, Clone, Default)]
pub struct DecodeParams {
    /// How classes are told apart.
    pub classifier: Classifier,
    /// What is done to features first.
    pub scaling: FeatureScaling,
    /// Shuffles of labels; 0 (the default): no p-values.
    pub n_permutations: usize,
    /// Groups of samples that labels respect when they are shuffled.
    pub groups: Option<Labels>,
    /// Seed of the shuffles.
    pub seed: u64,
}

/// A share with what chance gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The observed share, in [0, 1].
    pub value: f64,
    /// What an answer that never changes gets.
    pub chance: f64,
    /// p-value of a share so large; NaN without shuffles.
    pub p_value: f64,
    /// Mean of the shuffled shares; NaN without.
    pub null_mean: f64,
    /// 95th percentile of the shuffled shares; NaN without.
    pub null_q95: f64,
}

/// One sample held out by one fold.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Row.
    pub sample: usize,
    /// Fold.
    pub fold: usize,
    /// Its class.
    pub observed: usize,
    /// The class told; `None` where no score exists.
    pub predicted: Option<usize>,
}

/// How well classes can be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoding {
    /// Names of classes, sorted.
    pub classes: Vec<String>,
    /// Share told rightly.
    pub accuracy: Score,
    /// Mean over classes of the share told rightly.
    pub balanced_accuracy: Score,
    /// Accuracy of each fold.
    pub fold_accuracies: Vec<f64>,
    /// Held-out samples of class row told as class column, row after row.
    pub confusion: Vec<usize>,
    /// Held-out samples of each class.
    pub n_of_class: Vec<usize>,
    /// Held-out samples without any score, of each class.
    pub n_undefined: Vec<usize>,
    /// Every held-out sample.
    pub predictions: Vec<Prediction>,
    /// Folds whose fit stopped before its optimum.
    pub n_unconverged: usize,
    /// Features that do not vary over the training samples of some fold, at most.
    pub n_constant: usize,
    /// Distinct shuffles, if all of them were visited.
    pub exact: bool,
    /// What a reader must know of the shuffles.
    pub warning: Option<String>,
}

/// Tell the classes of held-out samples (rows of `x`).
///
/// Errors: numbers of rows and labels that differ, values that are not finite, fewer than two classes, folds that
/// overlap or lie outside, a class that a fold leaves nothing to train on, more neighbours than training samples,
/// settings without meaning, a stop on request.
pub fn decode(
    x: MatRef<f64>,
    labels: &Labels,
    folds: &[Fold],
    params: &DecodeParams,
    monitor: &Monitor<'_>,
) -> Result<Decoding> {
    check(x, labels, folds, &params.classifier)?;
    let machines = folds
        .par_iter()
        .map(|fold| {
            monitor.check()?;
            let (train, test) = (select_rows(x, &fold.train), select_rows(x, &fold.test));
            Machine::new(train.as_ref(), &[test.as_ref()], params.classifier, params.scaling)
        })
        .collect::<Result<Vec<_>>>()?;
    let k = labels.n_groups();
    let told = tell_all(&machines, folds, labels.codes(), k, monitor)?;
    let observed = Tally::new(folds, labels.codes(), &told.0, k);
    let mut n_undefined = vec![0; k];
    let mut predictions = vec![];
    for (at, (fold, told)) in folds.iter().zip(&told.0).enumerate() {
        for (&sample, &predicted) in fold.test.iter().zip(told) {
            let own = labels.codes()[sample];
            n_undefined[own] += usize::from(predicted.is_none());
            predictions.push(Prediction { sample, fold: at, observed: own, predicted });
        }
    }
    let shuffles = shuffles(labels, params)?;
    let null = match &shuffles {
        None => vec![],
        Some(shuffles) => (0..shuffles.len())
            .into_par_iter()
            .map(|draw| {
                monitor.check()?;
                let mut codes = vec![0u32; x.nrows()];
                shuffles.write(draw, &mut codes);
                let codes: Vec<usize> = codes.iter().map(|&c| c as usize).collect();
                let told = tell_all(&machines, folds, &codes, k, monitor)?;
                let tally = Tally::new(folds, &codes, &told.0, k);
                Ok((tally.accuracy(), tally.balanced()))
            })
            .collect::<Result<Vec<_>>>()?,
    };
    let commonest = observed.of_class.iter().max().copied().unwrap_or(0) as f64
        / observed.of_class.iter().sum::<usize>() as f64;
    let n_held = observed.of_class.iter().filter(|&&n| n > 0).count();
    Ok(Decoding {
        classes: labels.names().to_vec(),
        accuracy: against(observed.accuracy(), commonest, null.iter().map(|d| d.0).collect()),
        balanced_accuracy: against(
            observed.balanced(),
            1.0 / n_held as f64,
            null.iter().map(|d| d.1).collect(),
        ),
        fold_accuracies: (0..folds.len())
            .map(|at| Tally::new(&folds[at..=at], labels.codes(), &told.0[at..=at], k).accuracy())
            .collect(),
        confusion: observed.confusion,
        n_of_class: observed.of_class,
        n_undefined,
        predictions,
        n_unconverged: told.1,
        n_constant: machines.iter().map(|m| m.n_constant).max().unwrap_or(0),
        exact: shuffles.as_ref().is_some_and(|s| s.support().exact),
        warning: shuffles.and_then(|s| s.support().warning.clone()),
    })
}

/// Refuse what no classifier can use.
pub(super) fn check(x: MatRef<f64>, labels: &Labels, folds: &[Fold], by: &Classifier) -> Result<()> {
    labels.check_for_test("labels", x.nrows())?;
    if x.ncols() == 0 {
        return Err(Error::TooFew {
            what: "X".into(),
            needed: "1 feature".into(),
            found: "none".into(),
            hint: "columns are units".into(),
        });
    }
    check_finite("X", x)?;
    check_folds(labels, folds, by)
}

/// Refuse folds that leave a class nothing to train on, by name.
pub(super) fn check_folds(labels: &Labels, folds: &[Fold], by: &Classifier) -> Result<()> {
    if folds.is_empty() {
        return Err(Error::TooFew {
            what: "folds".into(),
            needed: "1 fold".into(),
            found: "none".into(),
            hint: "hold some samples out".into(),
        });
    }
    for fold in folds {
        fold.check("fold", labels.n_objects(), 1, 1)?;
        check_settings(by, fold.train.len(), &format!(" of fold `{}`", fold.name))?;
        let absent: Vec<&str> = (0..labels.n_groups())
            .filter(|&k| fold.train.iter().all(|&i| labels.codes()[i] != k))
            .map(|k| labels.names()[k].as_str())
            .collect();
        if !absent.is_empty() {
            return Err(Error::TooFew {
                what: format!("training samples of fold `{}`", fold.name),
                needed: "1 sample of every class".into(),
                found: format!("none of {}", absent.join(", ")),
                hint: "stratify the folds, hold out groups that do not hold all of a class, or leave the class out"
                    .into(),
            });
        }
    }
    Ok(())
}

/// Classes told of every fold's held-out samples, and how many fits stopped early.
fn tell_all(
    machines: &[Machine],
    folds: &[Fold],
    codes: &[usize],
    n_classes: usize,
    monitor: &Monitor<'_>,
) -> Result<(Vec<Vec<Option<usize>>>, usize)> {
    let told = machines
        .par_iter()
        .zip(folds)
        .map(|(machine, fold)| {
            monitor.check()?;
            let y: Vec<usize> = fold.train.iter().map(|&i| codes[i]).collect();
            let mut told = machine.tell(&y, n_classes)?;
            Ok((told.classes.swap_remove(0), told.converged))
        })
        .collect::<Result<Vec<_>>>()?;
    let n_early = told.iter().filter(|(_, converged)| !converged).count();
    Ok((told.into_iter().map(|(classes, _)| classes).collect(), n_early))
}

/// The shuffles that groups allow; `None` if none are wanted.
pub(super) fn shuffles(labels: &Labels, params: &DecodeParams) -> Result<Option<Shuffles>> {
    if params.n_permutations == 0 {
        return Ok(None);
    }
    let exchange = match &params.groups {
        None => Exchange::Free,
        Some(groups) => {
            groups.check_for_test("groups", labels.n_objects())?;
            let whole = (0..groups.n_groups()).all(|g| {
                let members = groups.members(g);
                members.iter().all(|&i| labels.codes()[i] == labels.codes()[members[0]])
            });
            if whole { Exchange::Families(groups.clone()) } else { Exchange::Strata(groups.clone()) }
        }
    };
    let settings = PermutationParams {
        n_permutations: params.n_permutations,
        exact_up_to: params.n_permutations,
        exchange,
        seed: params.seed,
    };
    let order: Vec<usize> = (0..labels.n_objects()).collect();
    Shuffles::new(labels.codes(), labels.n_groups(), &order, &settings, "decoding labels").map(Some)
}

/// Counts of what was told.
pub(super) struct Tally {
    confusion: Vec<usize>,
    of_class: Vec<usize>,
    n_classes: usize,
}

impl Tally {
    pub fn new(folds: &[Fold], codes: &[usize], told: &[Vec<Option<usize>>], n_classes: usize) -> Self {
        let mut tally =
            Tally { confusion: vec![0; n_classes * n_classes], of_class: vec![0; n_classes], n_classes };
        for (fold, told) in folds.iter().zip(told) {
            for (&sample, predicted) in fold.test.iter().zip(told) {
                let own = codes[sample];
                tally.of_class[own] += 1;
                if let Some(predicted) = predicted {
                    tally.confusion[own * n_classes + predicted] += 1;
                }
            }
        }
        tally
    }

    fn right(&self, k: usize) -> usize {
        self.confusion[k * self.n_classes + k]
    }

    pub fn accuracy(&self) -> f64 {
        let right: usize = (0..self.n_classes).map(|k| self.right(k)).sum();
        right as f64 / self.of_class.iter().sum::<usize>() as f64
    }

    pub fn balanced(&self) -> f64 {
        let held = (0..self.n_classes).filter(|&k| self.of_class[k] > 0);
        mean(&held.map(|k| self.right(k) as f64 / self.of_class[k] as f64).collect::<Vec<_>>())
    }
}

fn against(value: f64, chance: f64, null: Vec<f64>) -> Score {
    if null.is_empty() {
        return Score { value, chance, p_value: f64::NAN, null_mean: f64::NAN, null_q95: f64::NAN };
    }
    let n_reached = null.iter().filter(|&&draw| draw >= value - tie_tolerance(value)).count();
    Score {
        value,
        chance,
        p_value: permutation_p(n_reached, null.len()),
        null_mean: mean(&null),
        null_q95: quantile(&null, 0.95),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Mat;
    use stereotax_base::data::Folds;
    use stereotax_base::stats::rng::Stream;

    fn planted(n: usize, gain: f64, seed: u64) -> (Mat<f64>, Labels) {
        let mut stream = Stream::new(seed, "decode tests", 0);
        let x = Mat::from_fn(n, 6, |i, f| stream.normal() + if f == i % 3 { gain } else { 0.0 });
        (x, Labels::new(&(0..n).map(|i| ["a", "b", "c"][i % 3]).collect::<Vec<_>>()))
    }

    fn folds(labels: &Labels, n: usize) -> Vec<Fold> {
        Folds::stratified(labels, n, 1).unwrap().iter().cloned().collect()
    }

    const ALL: [Classifier; 4] = [
        Classifier::MaximumCorrelation,
        Classifier::Neighbours(3),
        Classifier::Discriminant(super::super::Shrinkage::Automatic),
        Classifier::Logistic(super::super::LogisticParams { c: 1.0, max_iterations: 500, tolerance: 1e-6 }),
    ];

    #[test]
    fn classes_far_apart_are_told_and_shuffled_ones_are_not() {
        let (x, labels) = planted(60, 8.0, 1);
        let folds = folds(&labels, 5);
        for classifier in ALL {
            let params = DecodeParams { classifier, n_permutations: 39, ..Default::default() };
            let found = decode(x.as_ref(), &labels, &folds, &params, &Monitor::silent()).unwrap();
            assert_eq!(found.accuracy.value, 1.0, "{classifier:?}");
            assert_eq!(found.accuracy.p_value, 1.0 / 40.0);
            assert!((found.accuracy.null_mean - 1.0 / 3.0).abs() < 0.08, "{classifier:?} {found:?}");
            assert_eq!((found.n_of_class.clone(), found.confusion[0]), (vec![20; 3], 20));
            assert!((found.accuracy.chance - 1.0 / 3.0).abs() < 1e-12);
        }
    }

    #[test]
    fn p_values_of_noise_are_uniform() {
        // 60 worlds without any relation: the share below 0.2 is 0.2, give or take 3 standard errors (0.155).
        let below = (0..60)
            .filter(|&world| {
                let (x, labels) = planted(18, 0.0, 100 + world);
                let params = DecodeParams {
                    classifier: Classifier::MaximumCorrelation,
                    n_permutations: 49,
                    ..Default::default()
                };
                let found = decode(x.as_ref(), &labels, &folds(&labels, 3), &params, &Monitor::silent());
                found.unwrap().accuracy.p_value <= 0.2
            })
            .count();
        assert!((3..=21).contains(&below), "{below}");
    }

    #[test]
    fn counts_are_those_of_hand() {
        // Nearest neighbour on a line; 0 1 | 10 11 of a and b, and one b at 0.4.
        let x = Mat::from_fn(5, 1, |i, _| [0.0, 1.0, 10.0, 11.0, 0.4][i]);
        let labels = Labels::new(&["a", "a", "b", "b", "b"]);
        let leave_one: Vec<Fold> = (0..5)
            .map(|i| Fold { name: i.to_string(), train: (0..5).filter(|&j| j != i).collect(), test: vec![i] })
            .collect();
        let params = DecodeParams { classifier: Classifier::Neighbours(1), ..Default::default() };
        let found = decode(x.as_ref(), &labels, &leave_one, &params, &Monitor::silent()).unwrap();
        // Both a are nearest to the stray b, which is nearest to an a.
        assert_eq!(found.confusion, [0, 2, 1, 2]);
        assert_eq!((found.accuracy.value, found.accuracy.chance), (0.4, 0.6));
        assert!((found.balanced_accuracy.value - 1.0 / 3.0).abs() < 1e-15);
        assert_eq!((found.balanced_accuracy.chance, found.fold_accuracies[2]), (0.5, 1.0));
        assert!(found.accuracy.p_value.is_nan());
    }

    #[test]
    fn groups_keep_their_labels_together() {
        let (x, labels) = planted(12, 0.0, 3);
        let pairs = Labels::new(&(0..12).map(|i| format!("{}", i % 3 + 3 * (i / 6))).collect::<Vec<_>>());
        let params = DecodeParams { n_permutations: 20, groups: Some(pairs), ..Default::default() };
        let drawn = shuffles(&labels, &params).unwrap().unwrap();
        let mut codes = vec![0; 12];
        for draw in 0..drawn.len() {
            drawn.write(draw, &mut codes);
            assert!((0..3).all(|i| codes[i] == codes[i + 3] && codes[i + 6] == codes[i + 9]));
        }
        let runs = Labels::new(&(0..12).map(|i| format!("{}", i / 6)).collect::<Vec<_>>());
        let params = DecodeParams { n_permutations: 20, groups: Some(runs), ..Default::default() };
        let drawn = shuffles(&labels, &params).unwrap().unwrap();
        drawn.write(0, &mut codes);
        assert_eq!(codes[..6].iter().filter(|&&c| c == 0).count(), 2);
        let _ = x;
    }

    #[test]
    fn what_cannot_be_decoded_is_refused_in_words() {
        let (x, labels) = planted(12, 1.0, 4);
        let told = |labels: &Labels, folds: &[Fold], params: &DecodeParams| {
            decode(x.as_ref(), labels, folds, params, &Monitor::silent()).unwrap_err().to_string()
        };
        let plain = DecodeParams::default();
        let one = Labels::new(&["a"; 12]);
        assert!(told(&one, &folds(&labels, 3), &plain).contains("2 groups"));
        let lost = Fold { name: "odd".into(), train: vec![0, 1, 3, 4], test: vec![2, 5] };
        let message = told(&labels, &[lost], &plain);
        assert!(message.contains("fold `odd`") && message.contains("none of c"), "{message}");
        let many = DecodeParams { classifier: Classifier::Neighbours(9), ..Default::default() };
        assert!(told(&labels, &folds(&labels, 3), &many).contains("from 1 to 8 neighbours"));
        let mut gap = x.clone();
        gap[(3, 2)] = f64::NAN;
        let refused = decode(gap.as_ref(), &labels, &folds(&labels, 3), &plain, &Monitor::silent());
        assert!(refused.unwrap_err().to_string().contains("row 3, column 2"));
        // Constant features change nothing and are counted.
        let wider = Mat::from_fn(12, 7, |i, f| if f < 6 { x[(i, f)] } else { 2.0 });
        let a = decode(x.as_ref(), &labels, &folds(&labels, 3), &plain, &Monitor::silent()).unwrap();
        let b = decode(wider.as_ref(), &labels, &folds(&labels, 3), &plain, &Monitor::silent()).unwrap();
        assert_eq!((a.confusion, b.n_constant), (b.confusion, 1));
    }
}
