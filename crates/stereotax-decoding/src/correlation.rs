//! Maximum correlation: a sample belongs to the class whose mean pattern it correlates with most.
//!
//! score_k(x) = Pearson correlation over features of x and the mean of the training samples of class k, in [−1, 1];
//! NaN where either of them is constant. Source: Meyers 2024. Cost: O(n p K).

use faer::{Mat, MatRef};

use stereotax_base::stats::summary::{pearson, row};

/// Mean pattern of each class (K × p).
pub(super) fn fit(x: MatRef<f64>, y: &[usize], n_classes: usize) -> Mat<f64> {
    let mut means = Mat::zeros(n_classes, x.ncols());
    for k in 0..n_classes {
        let own: Vec<usize> = (0..y.len()).filter(|&i| y[i] == k).collect();
        for f in 0..x.ncols() {
            means[(k, f)] = own.iter().map(|&i| x[(i, f)]).sum::<f64>() / own.len() as f64;
        }
    }
    means
}

/// Correlations of samples with the means (n × K).
pub(super) fn scores(means: MatRef<f64>, x: MatRef<f64>) -> Mat<f64> {
    let patterns: Vec<Vec<f64>> = (0..means.nrows()).map(|k| row(means, k)).collect();
    let mut out = Mat::zeros(x.nrows(), means.nrows());
    for i in 0..x.nrows() {
        let sample = row(x, i);
        for (k, pattern) in patterns.iter().enumerate() {
            out[(i, k)] = pearson(&sample, pattern);
        }
    }
    out
}
