//! How differently two representations connect their stimuli as the scale grows: the part of dimension 0 of the
//! representation topology divergence.
//!
//! With D the distances of a side divided by their 0.9 quantile, and M the smaller of both entry by entry, clusters
//! that M has joined at a scale and D has not are told apart by D alone:
//!
//! ```text
//! RTD₀(X → Y) = mst(D_x) − mst(M),     RTD₀ = ½ (RTD₀(X → Y) + RTD₀(Y → X))
//! ```
//!
//! with mst the total length of the minimum spanning tree, the sum of all bars of dimension 0. Exact, at least 0, and
//! 0 where both have the same tree lengths as M. Not a metric. Loops (dimension 1) are left out: they need the
//! persistent homology of a graph of twice the size.
//!
//! Source: Barannikov et al. 2022 (divergence, quantile); specs: peers 1.8 (ReSi). Undefined (NaN): a side of which
//! nine tenths of all pairs are at distance 0. Cost: O(n²).

use crate::data::rdm::pair_index;
use crate::stats::summary::quantile;

/// Compare condensed distances of the same stimuli.
pub fn topology_divergence(n_stimuli: usize, x: &[f64], y: &[f64]) -> f64 {
    let scaled = |d: &[f64]| {
        let size = quantile(d, 0.9);
        (size > 0.0).then(|| d.iter().map(|v| v / size).collect::<Vec<f64>>())
    };
    let (Some(x), Some(y)) = (scaled(x), scaled(y)) else { return f64::NAN };
    let least: Vec<f64> = x.iter().zip(&y).map(|(a, b)| a.min(*b)).collect();
    let shared = spanning_length(n_stimuli, &least);
    0.5 * (spanning_length(n_stimuli, &x) - shared) + 0.5 * (spanning_length(n_stimuli, &y) - shared)
}

/// Total length of the minimum spanning tree of a complete graph (Prim).
pub fn spanning_length(n: usize, distances: &[f64]) -> f64 {
    let mut nearest = vec![f64::INFINITY; n];
    let mut inside = vec![false; n];
    let (mut at, mut total) = (0, 0.0);
    for _ in 1..n {
        inside[at] = true;
        let mut next = (f64::INFINITY, at);
        for j in (0..n).filter(|&j| !inside[j]) {
            nearest[j] = nearest[j].min(distances[pair_index(n, at, j)]);
            if nearest[j] < next.0 {
                next = (nearest[j], j);
            }
        }
        total += next.0;
        at = next.1;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_by_hand() {
        // Points 0, 1, 3 on a line: tree of 1 + 2.
        assert_eq!(spanning_length(3, &[1.0, 3.0, 2.0]), 3.0);
        // Pairs (0,1) (0,2) (1,2); 0.9 quantiles 2.8 and 2.8 (of 1, 2, 3: 2 + 0.8).
        let (x, y) = ([1.0, 3.0, 2.0], [3.0, 1.0, 2.0]);
        // Both trees have length 3; the smaller of both is (1, 1, 2), tree 2.
        assert!((topology_divergence(3, &x, &y) - 1.0 / 2.8).abs() < 1e-15);
        assert_eq!(topology_divergence(3, &x, &x), 0.0);
        let stretched: Vec<f64> = x.iter().map(|v| 8.0 * v).collect();
        assert_eq!(topology_divergence(3, &x, &stretched), 0.0);
        assert!(topology_divergence(3, &x, &[0.0; 3]).is_nan());
    }
}
