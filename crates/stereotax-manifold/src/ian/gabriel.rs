//! The Gabriel graph: points are joined where the ball that has both at its ends holds no other.
//!
//! ```text
//! i — j  iff no k has d_ik² + d_jk² ≤ d_ij² (1 + 10⁻⁹)
//! ```
//!
//! Equality counts as a witness: the diagonals of a square are no edges. Source: Gabriel & Sokal 1969; specs:
//! encoding-manifolds 2.2. Cost: O(N²) for pairs that one of the 48 nearest points of an end rules out, which are most,
//! and O(N) for each of the others.

use rayon::prelude::*;

use stereotax_base::data::{Monitor, Result};

/// Points near one end that are asked first.
const NEAR: usize = 48;

/// The neighbours of each point, ascending; `squared` holds N × N squared distances, row after row.
pub(super) fn gabriel(squared: &[f64], n: usize, monitor: &Monitor<'_>) -> Result<Vec<Vec<usize>>> {
    let near: Vec<Vec<u32>> = (0..n)
        .into_par_iter()
        .map(|i| {
            let row = &squared[i * n..(i + 1) * n];
            let mut order: Vec<u32> = (0..n as u32).filter(|&j| j as usize != i).collect();
            let compare = |a: &u32, b: &u32| row[*a as usize].total_cmp(&row[*b as usize]).then(a.cmp(b));
            if order.len() > NEAR {
                order.select_nth_unstable_by(NEAR, compare);
                order.truncate(NEAR);
            }
            order.sort_unstable_by(compare);
            order
        })
        .collect();
    let above: Vec<Vec<usize>> = (0..n)
        .into_par_iter()
        .map(|i| {
            monitor.check()?;
            let row = &squared[i * n..(i + 1) * n];
            let joined = |j: usize| {
                let other = &squared[j * n..(j + 1) * n];
                let limit = row[j] * (1.0 + 1e-9);
                let witness = |k: usize| k != i && k != j && row[k] + other[k] <= limit;
                let first = near[i].iter().chain(&near[j]).any(|&k| witness(k as usize));
                !first && !(0..n).any(witness)
            };
            Ok((i + 1..n).filter(|&j| joined(j)).collect())
        })
        .collect::<Result<_>>()?;
    let mut lists = vec![vec![]; n];
    for (i, list) in above.iter().enumerate() {
        for &j in list {
            lists[i].push(j);
            lists[j].push(i);
        }
    }
    lists.iter_mut().for_each(|list: &mut Vec<usize>| list.sort_unstable());
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn graph(points: &[Vec<f64>]) -> Vec<Vec<usize>> {
        let n = points.len();
        let squared: Vec<f64> = (0..n * n)
            .map(|at| points[at / n].iter().zip(&points[at % n]).map(|(a, b)| (a - b) * (a - b)).sum())
            .collect();
        gabriel(&squared, n, &Monitor::silent()).unwrap()
    }

    #[test]
    fn a_square_has_four_edges_and_a_chain_one_less_than_points() {
        let square: Vec<Vec<f64>> =
            [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]].iter().map(|p| p.to_vec()).collect();
        assert_eq!(graph(&square), [[1, 3], [0, 2], [1, 3], [0, 2]]);
        let chain: Vec<Vec<f64>> = (0..7).map(|i| vec![f64::from(i)]).collect();
        let found = graph(&chain);
        assert_eq!(found.iter().map(Vec::len).sum::<usize>(), 12);
        assert_eq!(found[3], [2, 4]);
    }

    #[test]
    fn edges_are_those_of_the_definition() {
        for dimension in [2, 5] {
            let mut stream = Stream::new(5, "gabriel", dimension);
            let points: Vec<Vec<f64>> =
                (0..150).map(|_| (0..dimension).map(|_| stream.normal()).collect()).collect();
            let found = graph(&points);
            let distance = |i: usize, j: usize| -> f64 {
                points[i].iter().zip(&points[j]).map(|(a, b)| (a - b) * (a - b)).sum()
            };
            for i in 0..150 {
                for j in 0..150 {
                    let empty = (0..150)
                        .all(|k| k == i || k == j || distance(i, k) + distance(j, k) > distance(i, j));
                    assert_eq!(found[i].contains(&j), i != j && empty, "{i} {j}");
                }
            }
        }
    }
}
