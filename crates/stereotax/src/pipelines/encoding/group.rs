//! Put the scores of layers together: means over subjects and targets, intervals, chance, depth.
//!
//! The mean over subjects of a target is the arithmetic mean of their r (and R²), and its null draw the mean of
//! their null draws of the same number, since all subjects see the same moves; likewise bootstrap draws. The mean
//! of a group of targets (an ROI, a network) has the interval of its own draws: draws are averaged first.
//! Source: specs: alignment-methods B1, B17.

use faer::Mat;

use super::layer::{CellDraws, Chance};
use super::moments::FoldMoments;
use crate::encoding::{PlaceRule, place};
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
        }
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
                if means.is_empty() { [f64::NAN; 2] } else { ENDS.map(|end| quantile(&means, end)) }
            }
            _ => [f64::NAN; 2],
        };
        MeanScore {
            r: known.iter().map(|&j| self.r[j]).sum::<f64>() / n,
            r2: known.iter().map(|&j| self.r2[j]).sum::<f64>() / n,
            interval,
            n_targets: known.len(),
        }
    }
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
    fn depth_takes_the_first_of_equals_and_leaves_out_what_is_undefined() {
        let found = depth_of(&[f64::NAN, 0.2, 0.4, 0.4], &[0.0, 0.2, 0.5, 1.0]);
        assert_eq!((found.best, found.at, found.at_boundary), (Some(2), 0.5, false));
        assert!((found.centroid - 0.75).abs() < 1e-15);
        assert_eq!(depth_of(&[f64::NAN], &[0.0]).best, None);
    }
}
