//! Average the scores of one representation over subjects, and their draws with them.
//!
//! r is averaged through Fisher's z, scores arithmetically; undefined values are left out. Draw b
//! resamples the same samples for every subject, so the mean over subjects of draw b is draw b of the
//! mean (specs: nfas-dmd 9). Cost: O(subjects·draws·ROIs).

use std::sync::Arc;

use faer::{Mat, MatRef};

use crate::stats::score::ScoreKind;
use crate::stats::summary::{fisher_mean, mean};

/// What one subject brings.
#[derive(Debug, Clone, Copy)]
pub struct SubjectScores<'a> {
    /// Correlation per ROI; NaN where undefined.
    pub r: &'a [f64],
    /// Effective number of samples per ROI.
    pub n_eff: &'a [f64],
    /// Noise ceiling per ROI, as a correlation; NaN where there is none.
    pub ceilings: &'a [f64],
    /// Correlations of the bootstrap draws (draws × ROIs).
    pub bootstrap: Option<MatRef<'a, f64>>,
    /// Correlations of the null draws, draw after draw.
    pub null: Option<&'a [f32]>,
}

/// Scores of one representation over all subjects.
#[derive(Debug, Clone)]
pub struct MeanScores {
    /// Correlation per ROI.
    pub r: Vec<f64>,
    /// Score per ROI.
    pub score: Vec<f64>,
    /// Score per subject and ROI.
    pub of_subjects: Vec<Vec<f64>>,
    /// Bootstrap draws of the score (draws × ROIs), in single precision, which is more than their number
    /// gives and half the memory; `None` where a subject has none, or fewer.
    pub draws: Option<Arc<Mat<f32>>>,
    /// Null draws of r, draw after draw; `None` where a subject has none, or fewer.
    pub null: Option<Arc<Vec<f32>>>,
}

/// Average over subjects; at least one.
pub fn over_subjects(subjects: &[SubjectScores<'_>], kind: ScoreKind) -> MeanScores {
    let n_rois = subjects.first().map_or(0, |s| s.r.len());
    let of_subjects: Vec<Vec<f64>> = subjects
        .iter()
        .map(|s| (0..n_rois).map(|j| kind.of(s.r[j], s.ceilings[j], s.n_eff[j])).collect())
        .collect();
    let defined =
        |of: &dyn Fn(usize) -> f64| (0..subjects.len()).map(of).filter(|x| !x.is_nan()).collect::<Vec<_>>();
    MeanScores {
        r: (0..n_rois).map(|j| fisher_mean(&defined(&|s| subjects[s].r[j]))).collect(),
        score: (0..n_rois).map(|j| mean_or_nan(&defined(&|s| of_subjects[s][j]))).collect(),
        draws: draws(subjects, kind).map(Arc::new),
        null: null(subjects).map(Arc::new),
        of_subjects,
    }
}

/// Mean over the ROIs that are not masked and have a value; NaN where there is none.
pub fn over_rois(values: &[f64], masked: &[bool]) -> f64 {
    let kept = values.iter().zip(masked).filter(|(x, masked)| !**masked && !x.is_nan()).map(|(x, _)| *x);
    mean_or_nan(&kept.collect::<Vec<_>>())
}

fn mean_or_nan(x: &[f64]) -> f64 {
    if x.is_empty() { f64::NAN } else { mean(x) }
}

fn draws(subjects: &[SubjectScores<'_>], kind: ScoreKind) -> Option<Mat<f32>> {
    let first = subjects.first()?.bootstrap?;
    let mut sum = Mat::<f64>::zeros(first.nrows(), first.ncols());
    for s in subjects {
        let r = s.bootstrap.filter(|r| r.nrows() == first.nrows())?;
        sum += Mat::from_fn(r.nrows(), r.ncols(), |b, j| kind.of(r[(b, j)], s.ceilings[j], s.n_eff[j]));
    }
    let n = subjects.len() as f64;
    Some(Mat::from_fn(sum.nrows(), sum.ncols(), |b, j| (sum[(b, j)] / n) as f32))
}

fn null(subjects: &[SubjectScores<'_>]) -> Option<Vec<f32>> {
    let first = subjects.first()?.null.filter(|null| !null.is_empty())?;
    let mut sum = vec![0.0f64; first.len()];
    for s in subjects {
        let null = s.null.filter(|null| null.len() == first.len())?;
        sum.iter_mut().zip(null).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    Some(sum.into_iter().map(|x| (x / subjects.len() as f64) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_by_hand() {
        let (n_eff, ceilings) = ([50.0, 50.0], [f64::NAN; 2]);
        let (a, b) = ([0.6, f64::NAN], [0.2, 0.4]);
        let (draws_a, draws_b) =
            (Mat::from_fn(2, 2, |i, _| 0.5 + 0.1 * i as f64), Mat::from_fn(2, 2, |_, _| 0.3));
        let (null_a, null_b) = ([0.1f32, 0.2, 0.3, 0.4], [0.3f32, 0.2, 0.1, 0.0]);
        let of = |r, draws, null| SubjectScores {
            r,
            n_eff: &n_eff,
            ceilings: &ceilings,
            bootstrap: Some(draws),
            null: Some(null),
        };
        let both = [of(&a, draws_a.as_ref(), &null_a), of(&b, draws_b.as_ref(), &null_b)];
        let found = over_subjects(&both, ScoreKind::R2);
        assert!((found.r[0] - (0.5 * (0.6f64.atanh() + 0.2f64.atanh())).tanh()).abs() < 1e-12);
        assert!((found.r[1] - 0.4).abs() < 1e-12, "the undefined subject is left out");
        assert!((found.score[0] - 0.5 * (0.36 + 0.04)).abs() < 1e-12);
        let draws = found.draws.unwrap();
        assert!((draws[(1, 0)] - 0.5 * (0.36 + 0.09)).abs() < 1e-7);
        assert_eq!(*found.null.unwrap(), [0.2f32, 0.2, 0.2, 0.2]);

        let without = [both[0], SubjectScores { bootstrap: None, null: None, ..both[1] }];
        let found = over_subjects(&without, ScoreKind::R2);
        assert!(found.draws.is_none() && found.null.is_none());
        assert!((over_rois(&[1.0, f64::NAN, 3.0, 100.0], &[false, false, false, true]) - 2.0).abs() < 1e-15);
        assert!(over_rois(&[f64::NAN], &[false]).is_nan());
    }
}
