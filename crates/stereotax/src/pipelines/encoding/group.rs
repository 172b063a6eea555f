//! Put the scores of layers together: means over subjects and targets, intervals, chance, depth.
//!
//! The mean over subjects of a target is the arithmetic mean of their r (and R²), and its null draw the mean of
//! their null draws of the same number, since all subjects see the same moves; likewise bootstrap draws. The mean
//! of a group of targets (an ROI, a network) has the interval of its own draws: draws are averaged first.
//! Source: specs: alignment-methods B1, B17; Nadeau & Bengio 2003 for what draws leave out.

use faer::Mat;

use super::super::design::SampleDesign;
use super::layer::{CellDraws, Chance};
use super::moments::FoldMoments;
use super::nested::BestCell;
use crate::data::Result;
use crate::encoding::{PlaceRule, partition_of_r2, place};
use crate::stats::summary::{permutation_p, quantile};

/// Lower and upper end of an interval of 95 %.
const ENDS: [f64; 2] = [0.025, 0.975];

/// Scores of one layer for one subject, or for the mean over subjects.
#[derive(Debug, Clone)]
pub struct Scores {
    /// Correlation per target.
    pub r: Vec<f64>,
    /// R² per target, against the mean of each held-out fold.
    pub r2: Vec<f64>,
    /// One-sided p-value per target; NaN where there is none.
    pub p: Vec<f64>,
    /// Null draws; 0 where there is none.
    pub n_draws: usize,
    /// Largest null correlation in steps of r ([`Chance::steps`]).
    pub steps: Vec<f32>,
    /// Bootstrap draws of r (draws × targets).
    pub bootstrap: Option<Mat<f32>>,
    /// What is kept instead where targets are many: their intervals, and draws of the means of some groups.
    pub kept: Option<KeptIntervals>,
}

/// Intervals of targets and of the means of groups, without the draws of targets.
#[derive(Debug, Clone)]
pub struct KeptIntervals {
    /// Lower and upper end per target (2 × targets); without columns where only groups have one.
    pub targets: Mat<f64>,
    /// The targets of each group.
    pub groups: Vec<Vec<usize>>,
    /// Draws of the mean r over the targets of each group that have one (draws × groups).
    pub draws: Mat<f32>,
}

/// Mean over some targets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanScore {
    /// Mean correlation.
    pub r: f64,
    /// Mean R².
    pub r2: f64,
    /// Interval of the mean correlation; NaN without draws.
    pub interval: [f64; 2],
    /// Targets with a correlation.
    pub n_targets: usize,
}

impl Scores {
    /// Of one subject.
    pub fn of(moments: &FoldMoments, chance: &Chance, draws: Option<&CellDraws>) -> Self {
        Scores {
            r: moments.r(),
            r2: moments.r2(),
            p: chance.p_value.clone(),
            n_draws: chance.maxima.len(),
            steps: chance.steps.clone(),
            bootstrap: draws.map(|draws| draws.bootstrap.clone()),
            kept: None,
        }
    }

    /// Of the choice of one subject, with intervals of `groups` where draws were not kept.
    pub fn of_choice(cell: &BestCell, groups: &[Vec<usize>]) -> Self {
        let kept = cell.intervals.as_ref().map(|intervals| KeptIntervals {
            targets: intervals.targets.clone(),
            groups: groups.to_vec(),
            draws: intervals.groups.clone(),
        });
        Scores { kept, ..Scores::of(&cell.moments, &cell.chance, cell.draws.as_ref()) }
    }

    /// The mean over subjects, each with its null draws (draw after draw) where they were kept. A target counts
    /// the subjects that define it.
    pub fn mean(subjects: &[(&Scores, Option<&[f32]>)]) -> Self {
        let n_targets = subjects.first().map_or(0, |(s, _)| s.r.len());
        let over = |of: &dyn Fn(&Scores) -> &Vec<f64>, j: usize| {
            let known: Vec<f64> = subjects.iter().map(|(s, _)| of(s)[j]).filter(|x| !x.is_nan()).collect();
            known.iter().sum::<f64>() / known.len() as f64
        };
        let r: Vec<f64> = (0..n_targets).map(|j| over(&|s| &s.r, j)).collect();
        let defined: Vec<Vec<usize>> = (0..n_targets)
            .map(|j| (0..subjects.len()).filter(|&s| !subjects[s].0.r[j].is_nan()).collect())
            .collect();
        let nulls: Option<Vec<&[f32]>> = subjects.iter().map(|(_, null)| *null).collect();
        let (mut p, mut n_null) = (vec![f64::NAN; n_targets], 0);
        if let Some(nulls) = nulls.filter(|nulls| nulls.iter().all(|null| !null.is_empty())) {
            let n_draws = nulls[0].len() / n_targets.max(1);
            let mut reaching = vec![0; n_targets];
            n_null = n_draws;
            for value in mean_null(&nulls).chunks_exact(n_targets.max(1)) {
                for j in 0..n_targets {
                    reaching[j] += usize::from(f64::from(value[j]) >= r[j] - 2e-6);
                }
            }
            for j in (0..n_targets).filter(|&j| !r[j].is_nan()) {
                p[j] = permutation_p(reaching[j], n_draws);
            }
        }
        let draws: Option<Vec<&Mat<f32>>> = subjects.iter().map(|(s, _)| s.bootstrap.as_ref()).collect();
        let bootstrap = draws.filter(|d| !d.is_empty()).map(|draws| {
            Mat::from_fn(draws[0].nrows(), n_targets, |b, j| {
                let sum: f64 = defined[j].iter().map(|&s| f64::from(draws[s][(b, j)])).sum();
                (sum / defined[j].len() as f64) as f32
            })
        });
        Scores {
            r2: (0..n_targets).map(|j| over(&|s| &s.r2, j)).collect(),
            r,
            p,
            n_draws: n_null,
            steps: Vec::new(),
            bootstrap,
            kept: mean_of_groups(subjects, &defined),
        }
    }

    /// The mean over `targets` that have a correlation, with its interval.
    pub fn over(&self, targets: &[usize]) -> MeanScore {
        let known: Vec<usize> = targets.iter().copied().filter(|&j| !self.r[j].is_nan()).collect();
        let n = known.len() as f64;
        let interval = match &self.bootstrap {
            Some(draws) if !known.is_empty() => {
                let means: Vec<f64> = (0..draws.nrows())
                    .map(|b| known.iter().map(|&j| f64::from(draws[(b, j)])).sum::<f64>() / n)
                    .filter(|mean| !mean.is_nan())
                    .collect();
                ends_of(&means)
            }
            _ => self.kept.as_ref().map_or([f64::NAN; 2], |kept| self.kept_interval(kept, targets, &known)),
        };
        MeanScore {
            r: known.iter().map(|&j| self.r[j]).sum::<f64>() / n,
            r2: known.iter().map(|&j| self.r2[j]).sum::<f64>() / n,
            interval,
            n_targets: known.len(),
        }
    }
}

impl Scores {
    /// Mean of self − other over the targets that both define, with its interval (95 %): draws of the same number drew
    /// the same stimuli, so that what both owe to them cancels. NaN where no target has both, or without draws.
    ///
    /// The interval is `spread` ([`training_spread`]) times as wide as the draws say, for they hold fitted models
    /// fixed, and a gain owes much to these. Cost: O(draws · targets).
    pub fn gain_over(&self, other: &Scores, targets: &[usize], spread: f64) -> (f64, [f64; 2]) {
        let known: Vec<usize> =
            targets.iter().copied().filter(|&j| !self.r[j].is_nan() && !other.r[j].is_nan()).collect();
        let over = |of: &dyn Fn(usize) -> f64| known.iter().map(|&j| of(j)).sum::<f64>() / known.len() as f64;
        let interval = match (&self.bootstrap, &other.bootstrap) {
            (Some(a), Some(b)) => {
                let draws = (0..a.nrows())
                    .map(|draw| over(&|j| f64::from(a[(draw, j)]) - f64::from(b[(draw, j)])))
                    .filter(|x| !x.is_nan());
                ends_of(&draws.collect::<Vec<_>>())
            }
            _ => [f64::NAN; 2],
        };
        let gain = over(&|j| self.r[j] - other.r[j]);
        (gain, widened(interval, gain, spread))
    }
}

impl Scores {
    /// The interval of one target, or of a group that was kept: one whose targets with a score are `known`.
    fn kept_interval(&self, kept: &KeptIntervals, targets: &[usize], known: &[usize]) -> [f64; 2] {
        if let &[target] = targets {
            return if target < kept.targets.ncols() {
                [kept.targets[(0, target)], kept.targets[(1, target)]]
            } else {
                [f64::NAN; 2]
            };
        }
        let defined = |group: &Vec<usize>| {
            group.iter().copied().filter(|&j| !self.r[j].is_nan()).eq(known.iter().copied())
        };
        let group = kept.groups.iter().position(defined).filter(|_| !known.is_empty());
        let draws: Vec<f64> = group.map_or(Vec::new(), |g| {
            kept.draws.col(g).iter().map(|x| f64::from(*x)).filter(|x| !x.is_nan()).collect()
        });
        ends_of(&draws)
    }
}

/// Draws of the mean over subjects of the means of groups; none unless all subjects define the same targets, for then
/// alone the mean over subjects is that of means.
fn mean_of_groups(subjects: &[(&Scores, Option<&[f32]>)], defined: &[Vec<usize>]) -> Option<KeptIntervals> {
    let kept: Vec<&KeptIntervals> = subjects.iter().map(|(s, _)| s.kept.as_ref()).collect::<Option<_>>()?;
    let first = kept.first()?;
    if defined.iter().any(|of| !of.is_empty() && of.len() != subjects.len()) {
        return None;
    }
    let draws = Mat::from_fn(first.draws.nrows(), first.draws.ncols(), |b, g| {
        let sum: f64 = kept.iter().map(|k| f64::from(k.draws[(b, g)])).sum();
        (sum / kept.len() as f64) as f32
    });
    Some(KeptIntervals { targets: Mat::zeros(2, 0), groups: first.groups.clone(), draws })
}

/// How many times wider an interval of held-out scores gets when it allows for other training sets.
///
/// √(1 + Σ_f n_f / n_train,f) over folds f: the variance of a mean over held-out rows counts these as if models were
/// given, and models fitted to rows that overlap make their errors together. 1.5 with five folds. Source: Nadeau &
/// Bengio 2003, section 3, the corrected variance 1/J + n₂/n₁ against 1/J with J folds.
pub fn training_spread(design: &SampleDesign) -> f64 {
    let held = design.folds.iter().filter(|fold| !fold.test.is_empty());
    (1.0 + held.map(|fold| fold.test.len() as f64 / fold.train.len() as f64).sum::<f64>()).sqrt()
}

/// An interval made `spread` times as wide about `value`.
fn widened(interval: [f64; 2], value: f64, spread: f64) -> [f64; 2] {
    interval.map(|end| value + spread * (end - value))
}

/// The interval of 95 % of some draws; NaN without any.
fn ends_of(draws: &[f64]) -> [f64; 2] {
    if draws.is_empty() { [f64::NAN; 2] } else { ENDS.map(|end| quantile(draws, end)) }
}

/// Draws (draws × targets) of the mean over subjects for every model, each of the subjects that define it.
///
/// `subjects[s]` holds the models of subject s in one order; empty where a subject lacks any.
pub fn mean_draws(subjects: &[Vec<Mat<f32>>]) -> Vec<Mat<f32>> {
    let n_models = subjects.iter().map(Vec::len).max().unwrap_or(0);
    if subjects.iter().any(|draws| draws.len() != n_models) {
        return Vec::new();
    }
    (0..n_models)
        .map(|at| {
            let first = &subjects[0][at];
            Mat::from_fn(first.nrows(), first.ncols(), |b, j| {
                let known =
                    || subjects.iter().map(|draws| f64::from(draws[at][(b, j)])).filter(|x| !x.is_nan());
                (known().sum::<f64>() / known().count() as f64) as f32
            })
        })
        .collect()
}

/// Intervals (95 %) of the R² of every model and of every part, of means over some targets: parts are linear in R², so
/// that those of a draw are parts of its means.
///
/// Row S − 1 of `r2` (models × targets), and `draws[S − 1]` (draws × targets), are of the model of the sets whose bits
/// are set in S. Intervals are `spread` ([`training_spread`]) times as wide as the draws say, which hold fitted models
/// fixed. NaN without draws. Source: specs: alignment-methods B17. Errors: those of [`partition_of_r2`].
pub fn part_intervals(
    r2: &Mat<f64>,
    draws: &[Mat<f32>],
    targets: &[usize],
    spread: f64,
) -> Result<Vec<[[f64; 2]; 2]>> {
    let n_models = r2.nrows();
    if draws.len() != n_models || targets.is_empty() {
        return Ok(vec![[[f64::NAN; 2]; 2]; n_models]);
    }
    let mean = |of: &dyn Fn(usize) -> f64| targets.iter().map(|&j| of(j)).sum::<f64>() / targets.len() as f64;
    let observed = partition_of_r2(Mat::from_fn(n_models, 1, |at, _| mean(&|j| r2[(at, j)])).as_ref())?;
    let drawn = Mat::from_fn(n_models, draws[0].nrows(), |at, b| mean(&|j| f64::from(draws[at][(b, j)])));
    let parts = partition_of_r2(drawn.as_ref())?;
    let ends = |m: &Mat<f64>, value: &Mat<f64>, at: usize| {
        let known: Vec<f64> = m.row(at).iter().copied().filter(|x| !x.is_nan()).collect();
        widened(ends_of(&known), value[(at, 0)], spread)
    };
    let both = |at| [ends(&parts.r2, &observed.r2, at), ends(&parts.cells, &observed.cells, at)];
    Ok((0..n_models).map(both).collect())
}

/// The mean over subjects of null draws of the same number; a subject without a correlation (NaN) does not count.
pub fn mean_null(subjects: &[&[f32]]) -> Vec<f32> {
    let n = subjects.iter().map(|null| null.len()).min().unwrap_or(0);
    let of = |at: usize| {
        let known = || subjects.iter().map(|null| f64::from(null[at])).filter(|x| !x.is_nan());
        (known().sum::<f64>() / known().count() as f64) as f32
    };
    (0..n).map(of).collect()
}

/// Where the profile of a target over layers is highest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Depth {
    /// Place of the best layer among those offered; `None` without any score.
    pub best: Option<usize>,
    /// Its position.
    pub at: f64,
    /// Centroid of what exceeds the worst layer.
    pub centroid: f64,
    /// Whether the best layer is the first or the last one.
    pub at_boundary: bool,
}

/// The depth of one profile over `positions`.
pub fn depth_of(profile: &[f64], positions: &[f64]) -> Depth {
    let largest = place(profile, positions, PlaceRule::Largest);
    let best =
        (0..profile.len()).filter(|&k| !profile[k].is_nan()).fold(
            None,
            |best: Option<usize>, k| match best {
                Some(b) if profile[b] >= profile[k] => Some(b),
                _ => Some(k),
            },
        );
    Depth {
        best,
        at: largest.at,
        centroid: place(profile, positions, PlaceRule::Centroid).at,
        at_boundary: largest.at_boundary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(r: &[f64], boot: &[f32]) -> Scores {
        let n = r.len();
        Scores {
            r: r.to_vec(),
            r2: r.iter().map(|r| r * r).collect(),
            p: vec![0.5; n],
            n_draws: 2,
            steps: Vec::new(),
            bootstrap: Some(Mat::from_fn(boot.len() / n, n, |b, j| boot[b * n + j])),
            kept: None,
        }
    }

    #[test]
    fn means_over_subjects_and_targets_by_hand() {
        let a = scores(&[0.4, f64::NAN], &[0.2, f32::NAN, 0.6, f32::NAN]);
        let b = scores(&[0.2, 0.3], &[0.0, 0.3, 0.4, 0.3]);
        let (null_a, null_b) = ([0.5, f32::NAN, 0.0, f32::NAN], [0.3, 0.1, 0.1, 0.4]);
        let mean = Scores::mean(&[(&a, Some(&null_a)), (&b, Some(&null_b))]);
        assert!((mean.r[0] - 0.3).abs() < 1e-15 && mean.r[1] == 0.3);
        assert!((mean.r2[0] - 0.1).abs() < 1e-15);
        // Null means: (0.4, 0.1) and (0.05, 0.4): one of two reaches 0.3 in each target.
        assert_eq!(mean.p, [2.0 / 3.0, 2.0 / 3.0]);
        assert_eq!(mean_null(&[&null_a, &null_b]), [0.4, 0.1, 0.05, 0.4]);
        assert_eq!(mean.n_draws, 2);
        let over = mean.over(&[0, 1]);
        assert!((over.r - 0.3).abs() < 1e-15 && over.n_targets == 2);
        // Draws: (0.1 + 0.3)/2 and (0.5 + 0.3)/2.
        let [lower, upper] = over.interval;
        assert!((lower - (0.2 + 0.025 * 0.2)).abs() < 1e-6 && (upper - (0.4 - 0.025 * 0.2)).abs() < 1e-6);
        assert_eq!(a.over(&[1]).n_targets, 0);
        assert!(a.over(&[1]).r.is_nan());
        let bare = Scores::mean(&[(&a, None), (&b, Some(&null_b))]);
        assert!(bare.p.iter().all(|p| p.is_nan()) && bare.n_draws == 0);
    }

    #[test]
    fn a_gain_is_paired_draw_by_draw_by_hand() {
        // Target 1 is undefined in b and does not count; draws move together, so that differences hardly vary.
        let a = scores(&[0.5, 0.9, 0.3], &[0.1, 0.9, 0.2, 0.7, 0.9, 0.6, 0.9, 0.9, 0.8]);
        let b = scores(&[0.2, f64::NAN, 0.2], &[0.0, f32::NAN, 0.1, 0.6, f32::NAN, 0.5, 0.6, f32::NAN, 0.7]);
        let (gain, [lower, upper]) = a.gain_over(&b, &[0, 1, 2], 1.0);
        assert!((gain - 0.2).abs() < 1e-12);
        // Differences: means of (0.1, 0.1), (0.1, 0.1), (0.3, 0.1).
        assert!((lower - 0.1).abs() < 1e-6 && (upper - (0.1 + 0.95 * 0.1)).abs() < 1e-6, "{lower} {upper}");
        // Twice as wide about 0.2.
        let (_, [low, high]) = a.gain_over(&b, &[0, 1, 2], 2.0);
        assert!((low - (2.0 * lower - 0.2)).abs() < 1e-12 && (high - (2.0 * upper - 0.2)).abs() < 1e-12);
        let (gain, interval) = a.gain_over(&b, &[1], 1.0);
        assert!(gain.is_nan() && interval.iter().all(|x| x.is_nan()));
        let bare = Scores { bootstrap: None, ..b };
        let (gain, interval) = a.gain_over(&bare, &[0], 1.5);
        assert!((gain - 0.3).abs() < 1e-12 && interval.iter().all(|x| x.is_nan()));
    }

    #[test]
    fn intervals_of_parts_are_those_of_parts_of_draws_by_hand() {
        let of = |values: [f32; 4]| Mat::from_fn(2, 2, |b, j| values[2 * b + j]);
        // Two draws, two targets: models a, b, a + b.
        let draws = [of([0.2, 0.4, 0.3, 0.5]), of([0.1, 0.3, 0.3, 0.3]), of([0.4, 0.6, 0.5, 0.5])];
        let r2 = Mat::from_fn(3, 2, |at, _| [0.35, 0.25, 0.5][at]);
        let found = part_intervals(&r2, &draws, &[0, 1], 1.0).unwrap();
        // Means: a 0.3, 0.4; b 0.2, 0.3; both 0.5, 0.5. Unique to a 0.3, 0.2; to b 0.2, 0.1; shared 0.0, 0.2.
        let expected = [[[0.3, 0.4], [0.2, 0.3]], [[0.2, 0.3], [0.1, 0.2]], [[0.5, 0.5], [0.0, 0.2]]];
        for (found, expected) in found.iter().zip(expected) {
            for (found, [low, high]) in found.iter().zip(expected) {
                assert!((found[0] - (low + 0.025 * (high - low))).abs() < 1e-6, "{found:?}");
                assert!((found[1] - (high - 0.025 * (high - low))).abs() < 1e-6, "{found:?}");
            }
        }
        // Unique to a 0.25: from 0.2025 to 0.2975, twice as wide.
        let wide = part_intervals(&r2, &draws, &[0, 1], 2.0).unwrap();
        assert!((wide[0][1][0] - 0.155).abs() < 1e-6 && (wide[0][1][1] - 0.345).abs() < 1e-6, "{wide:?}");
        assert!(part_intervals(&r2, &draws, &[], 1.0).unwrap()[0][0][0].is_nan());
        assert!(part_intervals(&r2, &draws[..2], &[0], 1.0).unwrap()[2][1][1].is_nan());
        // The mean over subjects, draw by draw, of those that define it.
        let hole = Mat::from_fn(2, 2, |b, j| if (b, j) == (0, 1) { f32::NAN } else { 0.1 });
        let mean = mean_draws(&[vec![draws[0].clone()], vec![hole.clone()]]);
        assert!((mean[0][(0, 0)] - 0.15).abs() < 1e-6 && (mean[0][(0, 1)] - 0.4).abs() < 1e-6);
        assert!(mean_draws(&[vec![hole], vec![]]).is_empty());
    }

    #[test]
    fn intervals_that_were_kept_stand_for_draws() {
        let groups = vec![vec![0, 1, 2], vec![1, 2]];
        let of = |r: &[f64], draws: [f32; 4]| Scores {
            bootstrap: None,
            kept: Some(KeptIntervals {
                targets: Mat::from_fn(2, 3, |end, j| [0.1, 0.3][end] + j as f64),
                groups: groups.clone(),
                draws: Mat::from_fn(2, 2, |b, g| draws[2 * b + g]),
            }),
            ..scores(r, &[])
        };
        let a = of(&[0.2, 0.4, f64::NAN], [0.1, 0.2, 0.5, 0.6]);
        assert_eq!(a.over(&[1]).interval, [1.1, 1.3]);
        let [lower, upper] = a.over(&[0, 1]).interval;
        assert!(
            (lower - 0.11).abs() < 1e-6 && (upper - 0.49).abs() < 1e-6,
            "the first group: {lower} {upper}"
        );
        // The second group defines target 1 alone; [0, 2] is no group.
        assert!((a.over(&[1, 2]).interval[1] - 0.59).abs() < 1e-6);
        assert!(a.over(&[0, 2]).interval[0].is_nan());
        let b = of(&[0.4, 0.2, f64::NAN], [0.3, 0.2, 0.7, 0.6]);
        let mean = Scores::mean(&[(&a, None), (&b, None)]);
        assert!(
            (mean.over(&[0, 1, 2]).interval[0] - 0.21).abs() < 1e-6 && mean.over(&[1]).interval[0].is_nan()
        );
        // Subjects that define different targets have no mean of means.
        let c = of(&[0.4, f64::NAN, f64::NAN], [0.3; 4]);
        assert!(Scores::mean(&[(&a, None), (&c, None)]).over(&[0, 1]).interval[0].is_nan());
    }

    #[test]
    fn depth_takes_the_first_of_equals_and_leaves_out_what_is_undefined() {
        let found = depth_of(&[f64::NAN, 0.2, 0.4, 0.4], &[0.0, 0.2, 0.5, 1.0]);
        assert_eq!((found.best, found.at, found.at_boundary), (Some(2), 0.5, false));
        assert!((found.centroid - 0.75).abs() < 1e-15);
        assert_eq!(depth_of(&[f64::NAN], &[0.0]).best, None);
    }
}
