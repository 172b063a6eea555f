//! k nearest neighbours (Euclidean): a sample belongs to the class most of its neighbours belong to.
//!
//! Equal votes go to the first class in the order of names, equal distances to the sample that comes first.
//! Source: specs: encoding-manifolds 4.3. Cost: O(n m p) for n training and m other samples.

use std::cmp::Ordering;

use faer::{Mat, MatRef};

use stereotax_base::stats::summary::row;

/// Training samples from near to far, for each row of `x`.
pub(super) fn order(train: MatRef<f64>, x: MatRef<f64>) -> Vec<Vec<usize>> {
    let known: Vec<Vec<f64>> = (0..train.nrows()).map(|i| row(train, i)).collect();
    (0..x.nrows())
        .map(|i| {
            let sample = row(x, i);
            let mut far: Vec<(f64, usize)> = known
                .iter()
                .enumerate()
                .map(|(at, line)| (line.iter().zip(&sample).map(|(a, b)| (a - b) * (a - b)).sum(), at))
                .collect();
            far.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal).then(a.1.cmp(&b.1)));
            far.into_iter().map(|(_, at)| at).collect()
        })
        .collect()
}

/// Shares of the votes of the k nearest (rows × K).
pub(super) fn votes(nearest: &[Vec<usize>], y: &[usize], k: usize, n_classes: usize) -> Mat<f64> {
    let mut out = Mat::zeros(nearest.len(), n_classes);
    for (i, line) in nearest.iter().enumerate() {
        line.iter().take(k).for_each(|&at| out[(i, y[at])] += 1.0 / k as f64);
    }
    out
}
