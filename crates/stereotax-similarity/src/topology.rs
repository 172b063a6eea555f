//! How differently two representations connect their stimuli as the scale grows: the representation topology
//! divergence, and the part of it that clusters alone make.
//!
//! With D the distances of a side divided by their 0.9 quantile, and M the smaller of both entry by entry, clusters
//! that M has joined at a scale and D has not are told apart by D alone:
//!
//! ```text
//! RTD₀(X → Y) = mst(D_x) − mst(M),     RTD₀ = ½ (RTD₀(X → Y) + RTD₀(Y → X))
//! ```
//!
//! with mst the total length of the minimum spanning tree, the sum of all bars of dimension 0. Exact, at least 0, and
//! 0 where both have the same tree lengths as M.
//!
//! The divergence proper also tells loops apart. Every stimulus stands twice, once as D knows it and once as M does:
//!
//! ```text
//! d(i, j) = 0,   d(i′, j′) = M_ij,   d(i, j′) = D_ij for i ≤ j, else never joined
//! RTD₁(X → Y) = Σ (death − birth) over the bars of dimension 1,     RTD₁ = ½ (RTD₁(X → Y) + RTD₁(Y → X))
//! ```
//!
//! What M has and D has not, or the other way round, is a loop of this graph: two clusters that M has joined and D has
//! not make one through the first copies, so that RTD₁ holds what RTD₀ measures; loops that M has of its own come on
//! top. Neither is a metric.
//!
//! Source: Barannikov et al. 2022 (divergence, quantile); specs: peers 1.8 (ReSi). Differs from: the reference takes the
//! quantile over all entries of the matrix, its diagonal included, and sets distances below 10⁻⁶ of the mean to 0.
//! Undefined (NaN): a side of which nine tenths of all pairs are at distance 0. Cost: O(n²); with loops the persistent
//! homology of 2 n points, twice.

use stereotax_base::data::rdm::pair_index;
use stereotax_base::data::{Monitor, Result};
use stereotax_base::graph::{Bar, HomologyParams, persistent_homology};
use stereotax_base::stats::summary::quantile;

/// Both sides by their 0.9 quantiles, and the smaller of both; `None` where undefined.
fn scaled(x: &[f64], y: &[f64]) -> Option<[Vec<f64>; 3]> {
    let scaled = |d: &[f64]| {
        let size = quantile(d, 0.9);
        (size > 0.0).then(|| d.iter().map(|v| v / size).collect::<Vec<f64>>())
    };
    let (x, y) = (scaled(x)?, scaled(y)?);
    let least = x.iter().zip(&y).map(|(a, b)| a.min(*b)).collect();
    Some([x, y, least])
}

/// RTD₀ of condensed distances of the same stimuli.
pub fn cluster_divergence(n_stimuli: usize, x: &[f64], y: &[f64]) -> f64 {
    let Some([x, y, least]) = scaled(x, y) else { return f64::NAN };
    let shared = spanning_length(n_stimuli, &least);
    0.5 * (spanning_length(n_stimuli, &x) - shared) + 0.5 * (spanning_length(n_stimuli, &y) - shared)
}

/// RTD₁ of condensed distances of the same stimuli.
///
/// Errors: those of [`persistent_homology`].
pub fn topology_divergence(n_stimuli: usize, x: &[f64], y: &[f64]) -> Result<f64> {
    let Some([x, y, least]) = scaled(x, y) else { return Ok(f64::NAN) };
    Ok(0.5 * (divergence(n_stimuli, &x, &least)? + divergence(n_stimuli, &y, &least)?))
}

/// RTD₁ from one side, whose distances are nowhere smaller than `least`.
fn divergence(n: usize, side: &[f64], least: &[f64]) -> Result<f64> {
    let mut doubled = Vec::with_capacity(n * (2 * n - 1));
    for i in 0..n {
        doubled.extend(std::iter::repeat_n(0.0, n - 1 - i));
        doubled.extend((0..n).map(|j| match i.cmp(&j) {
            std::cmp::Ordering::Less => side[pair_index(n, i, j)],
            std::cmp::Ordering::Equal => 0.0,
            std::cmp::Ordering::Greater => f64::INFINITY,
        }));
    }
    doubled.extend_from_slice(least);
    let found = persistent_homology(2 * n, &doubled, &HomologyParams::default(), &Monitor::silent())?;
    Ok(found.diagrams[1].iter().map(Bar::persistence).sum())
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
        assert!((cluster_divergence(3, &x, &y) - 1.0 / 2.8).abs() < 1e-15);
        assert_eq!(cluster_divergence(3, &x, &x), 0.0);
        let stretched: Vec<f64> = x.iter().map(|v| 8.0 * v).collect();
        assert_eq!(cluster_divergence(3, &x, &stretched), 0.0);
        assert!(cluster_divergence(3, &x, &[0.0; 3]).is_nan());
    }
    #[test]
    fn a_loop_that_one_side_has_is_seen_in_dimension_one_only() {
        // A square against the same four points with both diagonals short: all trees have length 3, but the loop of the
        // square is born at 1 and filled at √2 on one side, and never there on the other.
        // Pairs (0,1) (0,2) (0,3) (1,2) (1,3) (2,3); 0.9 quantiles √2 and 1.
        let root = 2f64.sqrt();
        let square = [1.0, root, 1.0, 1.0, root, 1.0];
        let filled = [1.0; 6];
        assert_eq!(cluster_divergence(4, &filled, &filled), 0.0);
        // Scaled: sides 1/√2 and diagonals 1 against 1 everywhere: M is the square. Trees 3/√2, 3, 3/√2.
        let zero = cluster_divergence(4, &square, &filled);
        assert!((zero - 0.5 * (3.0 - 3.0 / root)).abs() < 1e-15, "{zero}");
        // From the filled side: three clusters joined at 1/√2 that it joins at 1, and M's loop from 1/√2 to 1; from the
        // square nothing.
        let one = topology_divergence(4, &square, &filled).unwrap();
        assert!((one - 0.5 * 4.0 * (1.0 - 1.0 / root)).abs() < 1e-15, "{one}");
        assert_eq!(topology_divergence(4, &square, &square).unwrap(), 0.0);
        assert!(topology_divergence(3, &[1.0, 2.0, 3.0], &[0.0; 3]).unwrap().is_nan());
    }

    #[test]
    fn loops_come_on_top_of_clusters_and_the_sides_are_alike() {
        let mut stream = stereotax_base::stats::rng::Stream::new(9, "topology tests", 0);
        for n in [5, 9, 16] {
            let mut some = || -> Vec<f64> { (0..n * (n - 1) / 2).map(|_| 0.1 + stream.uniform()).collect() };
            let (x, y) = (some(), some());
            let (zero, one) = (cluster_divergence(n, &x, &y), topology_divergence(n, &x, &y).unwrap());
            assert!(one >= zero - 1e-12 && zero > 0.0, "{n}: {zero} {one}");
            assert!((one - topology_divergence(n, &y, &x).unwrap()).abs() < 1e-12);
        }
    }
}
