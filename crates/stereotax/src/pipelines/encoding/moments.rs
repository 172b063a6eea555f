//! Keep of held-out predictions what every score needs: five numbers per fold and target.
//!
//! For the held-out samples of fold f and target j: n, the means ȳ and p̄ of response and prediction, and the
//! centred sums S_yy = Σ(y − ȳ)², S_pp, S_yp. From them follow, exactly and for any choice of a prediction per
//! fold,
//!
//! ```text
//! r_f = S_yp/√(S_yy S_pp)                              r = Σ_f n_f r_f / Σ_f n_f
//! SSE_f = S_yy + S_pp − 2 S_yp + n (ȳ − p̄)²            R² = 1 − Σ_f SSE_f / Σ_f S_yy
//! ```
//!
//! A fold whose response or prediction is constant has no r_f and is left out of r; without any fold r is NaN.
//! R² is against the mean of each held-out fold, and a constant prediction counts in it.
//! Source: specs: alignment-methods B0, B1.

use faer::{Mat, MatRef};

/// Moments of held-out predictions. All matrices are folds × targets.
#[derive(Debug, Clone, PartialEq)]
pub struct FoldMoments {
    /// Held-out samples per fold.
    pub n: Vec<usize>,
    /// ȳ.
    pub mean_y: Mat<f64>,
    /// p̄; NaN where nothing was predicted.
    pub mean_p: Mat<f64>,
    /// S_yy.
    pub yy: Mat<f64>,
    /// S_pp.
    pub pp: Mat<f64>,
    /// S_yp.
    pub yp: Mat<f64>,
}

/// A sum of squares about the mean below this share of the sum of squares is rounding.
const CONSTANT: f64 = 1e-24;

impl FoldMoments {
    /// Nothing predicted yet.
    pub fn empty(n: Vec<usize>, n_targets: usize) -> Self {
        let undefined = || Mat::full(n.len(), n_targets, f64::NAN);
        let (mean_y, mean_p, yy, pp, yp) = (undefined(), undefined(), undefined(), undefined(), undefined());
        FoldMoments { mean_y, mean_p, yy, pp, yp, n }
    }

    /// How many targets.
    pub fn n_targets(&self) -> usize {
        self.yy.ncols()
    }

    /// Moments of one target in one fold, as \[ȳ, p̄, S_yy, S_pp, S_yp\].
    pub fn at(&self, fold: usize, target: usize) -> [f64; 5] {
        [&self.mean_y, &self.mean_p, &self.yy, &self.pp, &self.yp].map(|m| m[(fold, target)])
    }

    /// Set what [`FoldMoments::at`] gives.
    pub fn set(&mut self, fold: usize, target: usize, values: [f64; 5]) {
        let of = [&mut self.mean_y, &mut self.mean_p, &mut self.yy, &mut self.pp, &mut self.yp];
        of.into_iter().zip(values).for_each(|(m, value)| m[(fold, target)] = value);
    }

    /// Pearson correlation of one target in one fold; NaN where there is none.
    pub fn fold_r(&self, fold: usize, target: usize) -> f64 {
        correlation_of(self.at(fold, target), self.n[fold])
    }

    /// r of one target over all folds.
    pub fn r_of(&self, target: usize) -> f64 {
        let (mut sum, mut n) = (0.0, 0.0);
        for fold in 0..self.n.len() {
            let r = self.fold_r(fold, target);
            if !r.is_nan() {
                sum += self.n[fold] as f64 * r;
                n += self.n[fold] as f64;
            }
        }
        sum / n
    }

    /// R² of one target over all folds; NaN where nothing was predicted or the response does not vary.
    pub fn r2_of(&self, target: usize) -> f64 {
        let (mut error, mut total, mut scale) = (0.0, 0.0, 0.0);
        for fold in 0..self.n.len() {
            let [mean_y, mean_p, yy, pp, yp] = self.at(fold, target);
            let n = self.n[fold] as f64;
            error += yy + pp - 2.0 * yp + n * (mean_y - mean_p).powi(2);
            total += yy;
            scale += yy + n * mean_y * mean_y;
        }
        if total > CONSTANT * scale && total > 0.0 { 1.0 - error / total } else { f64::NAN }
    }

    /// r of every target.
    pub fn r(&self) -> Vec<f64> {
        (0..self.n_targets()).map(|target| self.r_of(target)).collect()
    }

    /// R² of every target.
    pub fn r2(&self) -> Vec<f64> {
        (0..self.n_targets()).map(|target| self.r2_of(target)).collect()
    }
}

/// Pearson correlation of \[ȳ, p̄, S_yy, S_pp, S_yp\] of n rows; NaN where there is none.
pub(super) fn correlation_of([mean_y, mean_p, yy, pp, yp]: [f64; 5], n: usize) -> f64 {
    let varies = |s: f64, mean: f64| s > CONSTANT * (s + n as f64 * mean * mean) && s > 0.0;
    if varies(yy, mean_y) && varies(pp, mean_p) { (yp / (yy * pp).sqrt()).clamp(-1.0, 1.0) } else { f64::NAN }
}

/// Moments of some targets on the held-out rows of one fold, one \[ȳ, p̄, S_yy, S_pp, S_yp\] per target.
pub(super) fn moments_of(predictions: MatRef<f64>, responses: MatRef<f64>, rows: &[usize]) -> Vec<[f64; 5]> {
    let n = rows.len() as f64;
    (0..predictions.ncols())
        .map(|j| {
            let mean_y = rows.iter().map(|&row| responses[(row, j)]).sum::<f64>() / n;
            let mean_p = (0..rows.len()).map(|at| predictions[(at, j)]).sum::<f64>() / n;
            let (mut yy, mut pp, mut yp) = (0.0, 0.0, 0.0);
            for (at, &row) in rows.iter().enumerate() {
                let (y, p) = (responses[(row, j)] - mean_y, predictions[(at, j)] - mean_p);
                yy += y * y;
                pp += p * p;
                yp += y * p;
            }
            [mean_y, mean_p, yy, pp, yp]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Runs;
    use crate::stats::rng::Stream;
    use crate::stats::score::run_weighted_correlation;

    fn of(p: &Mat<f64>, y: &Mat<f64>, lengths: &[usize]) -> FoldMoments {
        let mut found = FoldMoments::empty(lengths.to_vec(), y.ncols());
        let mut from = 0;
        for (fold, &n) in lengths.iter().enumerate() {
            let rows: Vec<usize> = (from..from + n).collect();
            let held = p.get(from..from + n, ..);
            for (j, values) in moments_of(held, y.as_ref(), &rows).into_iter().enumerate() {
                found.set(fold, j, values);
            }
            from += n;
        }
        found
    }

    #[test]
    fn scores_by_hand() {
        // Fold one: y = 1, 3, p = 2, 4: r 1, SSE 2, S_yy 2. Fold two: y = 0, 4, p = 3, 1: r −1, SSE 18, S_yy 8.
        let y = Mat::from_fn(4, 1, |t, _| [1.0, 3.0, 0.0, 4.0][t]);
        let p = Mat::from_fn(4, 1, |t, _| [2.0, 4.0, 3.0, 1.0][t]);
        let found = of(&p, &y, &[2, 2]);
        assert!(found.r_of(0).abs() < 1e-15);
        assert!((found.r2_of(0) - (1.0 - 20.0 / 10.0)).abs() < 1e-15);
    }

    #[test]
    fn r_is_the_run_weighted_correlation() {
        let mut stream = Stream::new(1, "moments tests", 0);
        let y = Mat::from_fn(50, 4, |t, j| if j == 3 && t < 20 { 7.0 } else { stream.normal() + 100.0 });
        let p = Mat::from_fn(50, 4, |t, j| if j == 2 { 0.1 } else { y[(t, j)] + stream.normal() });
        let found = of(&p, &y, &[20, 30]);
        let runs = Runs::from_lengths(&["a".into(), "b".into()], &[20, 30]).unwrap();
        let slow = run_weighted_correlation(p.as_ref(), y.as_ref(), &runs).unwrap();
        for j in 0..4 {
            let r = found.r_of(j);
            assert!((r - slow.r[j]).abs() < 1e-12 || (r.is_nan() && j == 2), "{j}: {r} {}", slow.r[j]);
        }
        assert!(found.r2_of(2) < 0.0, "a constant prediction counts: {}", found.r2_of(2));
        let flat = of(&p, &Mat::full(50, 4, 0.3), &[20, 30]);
        assert!(flat.r_of(0).is_nan() && flat.r2_of(0).is_nan());
        assert!(FoldMoments::empty(vec![3], 2).r2_of(0).is_nan());
    }
}
