//! Local dimension, by how a Gaussian's sum of points grows with its width around a central point.
//!
//! ```text
//! g(s) = Σ_j (d_j²/s²) exp(−d_j²/2s²) / Σ_j exp(−d_j²/2s²)       = d ln Σ exp(−d_j²/2s²) / d ln s
//! ```
//!
//! over the points within some hops of the graph, seen from the most central of them (least median squared distance);
//! the dimension is the highest local maximum of g over log s, averaged over a point and its neighbours in the graph.
//! Beside it stands log₂ of the degree (at least 1), averaged likewise and rounded down; the larger of both counts.
//! Where g has no inner maximum, the degree stands alone and the point is flagged.
//!
//! Source: Dyballa & Zucker 2023 (neighbourhood correlation dimension); specs: encoding-manifolds 2.9. Cost: about
//! 300 sums over the points within hops, for each point.

use rayon::prelude::*;

use stereotax_base::stats::summary::{mean, median};

/// Dimension of each point's neighbourhood.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalDimension {
    /// Of each point; NaN of disconnected points.
    pub pointwise: Vec<f64>,
    /// Mean over points.
    pub mean: f64,
    /// Points where the degree had to do.
    pub by_degree: Vec<usize>,
}

pub(super) fn local(squared: &[f64], near: &[Vec<usize>], hops: usize) -> LocalDimension {
    let n = near.len();
    let within: Vec<Vec<usize>> = (0..n).into_par_iter().map(|i| reached(near, i, hops)).collect();
    let own: Vec<f64> = (0..n)
        .into_par_iter()
        .map(|i| {
            let row = |at: usize| &squared[at * n..(at + 1) * n];
            let spread = |at: usize| {
                let d: Vec<f64> = within[i].iter().filter(|&&j| j != at).map(|&j| row(at)[j]).collect();
                median(&d)
            };
            let centre =
                within[i].iter().copied().min_by(|&a, &b| spread(a).total_cmp(&spread(b)).then(a.cmp(&b)));
            let Some(centre) = centre else { return f64::NAN };
            let mut all: Vec<usize> = within[i].iter().chain(&within[centre]).copied().collect();
            all.sort_unstable();
            all.dedup();
            highest(&all.iter().map(|&j| row(centre)[j]).collect::<Vec<_>>())
        })
        .collect();
    let degree: Vec<f64> = near.iter().map(|list| (list.len().max(1) as f64).log2().max(1.0)).collect();
    let mut found = LocalDimension { pointwise: vec![], mean: f64::NAN, by_degree: vec![] };
    for i in 0..n {
        if near[i].is_empty() {
            found.pointwise.push(f64::NAN);
            continue;
        }
        let around = || std::iter::once(i).chain(near[i].iter().copied());
        let ncd: Vec<f64> = around().map(|j| own[j]).filter(|d| !d.is_nan()).collect();
        let by_degree = mean(&around().map(|j| degree[j]).collect::<Vec<_>>()).floor();
        if own[i].is_nan() {
            found.by_degree.push(i);
        }
        found.pointwise.push(if ncd.is_empty() || own[i].is_nan() {
            by_degree
        } else {
            mean(&ncd).max(by_degree)
        });
    }
    found.mean = mean(&found.pointwise.iter().copied().filter(|d| !d.is_nan()).collect::<Vec<_>>());
    found
}

/// Points within some hops, with the point itself.
fn reached(near: &[Vec<usize>], from: usize, hops: usize) -> Vec<usize> {
    let mut found = vec![from];
    let mut edge = 0;
    for _ in 0..hops {
        let end = found.len();
        for at in edge..end {
            for &j in &near[found[at]] {
                if !found.contains(&j) {
                    found.push(j);
                }
            }
        }
        edge = end;
    }
    if found.len() > 1 { found } else { vec![] }
}

/// The highest inner maximum of g over log₁₀ s in steps of 0.01; NaN where there is none.
fn highest(squared: &[f64]) -> f64 {
    let positive = || squared.iter().copied().filter(|d| *d > 0.0);
    let (low, high) = positive().fold((f64::INFINITY, 0.0f64), |(a, b), d| (a.min(d), b.max(d)));
    if !(high > 0.0) {
        return f64::NAN;
    }
    let g = |log: f64| {
        let s2 = 10f64.powf(2.0 * log);
        let (mut top, mut bottom) = (0.0, 0.0);
        for d in squared {
            let weight = (-0.5 * d / s2).exp();
            top += d / s2 * weight;
            bottom += weight;
        }
        top / bottom
    };
    let (from, to) = (0.5 * low.log10() - 0.5, 0.5 * high.log10() + 0.5);
    let steps = ((to - from) / 0.01).ceil() as usize;
    let values: Vec<f64> = (0..=steps).map(|k| g(from + 0.01 * k as f64)).collect();
    let inner = values.windows(3).filter(|w| w[1] > w[0] && w[1] >= w[2]).map(|w| w[1]);
    inner.fold(f64::NAN, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lattices_have_their_dimension() {
        // A Gaussian much wider than the spacing and narrower than the lattice grows by s^d.
        for (dimension, side) in [(1usize, 41i32), (2, 31), (3, 21)] {
            let half = side / 2;
            let count = (side as usize).pow(dimension as u32);
            let squared: Vec<f64> = (0..count)
                .map(|at| {
                    let mut at = at as i32;
                    (0..dimension)
                        .map(|_| {
                            let x = at % side - half;
                            at /= side;
                            f64::from(x * x)
                        })
                        .sum()
                })
                .collect();
            let found = highest(&squared);
            assert!((found - dimension as f64).abs() < 0.15, "{dimension}: {found}");
        }
        assert!(highest(&[0.0]).is_nan());
    }

    #[test]
    fn hops_reach_as_far_as_they_say() {
        let chain: Vec<Vec<usize>> =
            (0..6usize).map(|i| (0..6).filter(|&j: &usize| i.abs_diff(j) == 1).collect()).collect();
        let mut two = reached(&chain, 2, 2);
        two.sort_unstable();
        assert_eq!(two, [0, 1, 2, 3, 4]);
        assert!(reached(&[vec![]], 0, 2).is_empty());
    }
}
