//! Transform the dissimilarities of an RDM: ranks, roots, and the geo-topological and geodesic transforms.
//!
//! With r the midranks of the defined pairs, r₀₁ = (r − min r)/(max r − min r):
//!
//! ```text
//! rank, sqrt of what is not negative, positive part, min–max
//! geo-topological    clip((r₀₁ − q_l)/(q_u − q_l), 0, 1), q the quantiles l and u of r₀₁; a step r₀₁ > q_l if q_u = q_l
//! smooth             1/(1 + exp(−α (r₀₁ − β)))
//! geodesic           keep short edges of r₀₁, shortest paths between all conditions, midranks of their lengths
//! ```
//!
//! The geo-topological family depends on the order of dissimilarities only. Path lengths are sums of whole numbers
//! (doubled ranks), so equal lengths are equal, and the closest pair has an edge of length 0, not none. Pairs without a
//! path rank as the longest, and are counted. A constant RDM becomes zeros with a flag; undefined pairs stay undefined.
//!
//! Source: Lin & Kriegeskorte 2024; specs: alignment-methods B2. Differs from rsatoolbox 0.3.2, which takes quantiles over
//! all RDMs together, without ranks, and reads the closest pair of a geodesic transform as the farthest. Cost: O(m log m)
//! for m pairs; geodesic O(n (edges) log n).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::rdm_compare::whitened::pairs;
use stereotax_base::data::{Error, Rdm, Result};
use stereotax_base::stats::ranks::{doubled_midranks, levels, midranks};
use stereotax_base::stats::summary::quantile_of_sorted;

/// Which transform.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RdmTransform {
    /// Midranks, from 1.
    Rank,
    /// Square roots; negative dissimilarities become 0.
    Sqrt,
    /// Negative dissimilarities become 0.
    Positive,
    /// From 0 to 1.
    MinMax,
    /// Ranks cut at two quantiles (0 ≤ lower ≤ upper ≤ 1; defaults 0.2 and 0.8).
    GeoTopological {
        /// l: what lies below is "the same".
        lower: f64,
        /// u: what lies above is "different".
        upper: f64,
    },
    /// Logistic function of ranks (defaults α = 10, β = 0.5).
    Smooth {
        /// α.
        slope: f64,
        /// β.
        middle: f64,
    },
    /// Ranks of shortest paths along some of the edges.
    Geodesic(Edges),
}

/// Which edges a geodesic transform keeps.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edges {
    /// Those up to this quantile of all, in (0, 1].
    Shortest(f64),
    /// The k nearest of each condition, or of either end; equal ones all.
    Nearest(usize),
}

/// A transformed RDM.
#[derive(Debug, Clone, PartialEq)]
pub struct Transformed {
    /// The same conditions and undefined pairs.
    pub rdm: Rdm,
    /// Whether the RDM was constant, so that the answer is zeros.
    pub constant: bool,
    /// Pairs of conditions without a path between them (geodesic).
    pub n_disconnected: usize,
}

/// Transform one RDM.
///
/// Errors: quantiles out of order or range, no edges, and fewer than 4 conditions for geo-topological and geodesic
/// transforms.
pub fn transform(rdm: &Rdm, how: RdmTransform) -> Result<Transformed> {
    check(rdm.n_conditions(), how)?;
    let defined: Vec<usize> = (0..rdm.n_pairs()).filter(|&p| !rdm.values()[p].is_nan()).collect();
    let x: Vec<f64> = defined.iter().map(|&p| rdm.values()[p]).collect();
    let constant = x.iter().all(|v| *v == x[0]);
    let mut n_disconnected = 0;
    let zeros_if_constant = |found: Vec<f64>| if constant { vec![0.0; found.len()] } else { found };
    let found = match how {
        RdmTransform::Rank => midranks(&x),
        RdmTransform::Sqrt => x.iter().map(|v| v.max(0.0).sqrt()).collect(),
        RdmTransform::Positive => x.iter().map(|v| v.max(0.0)).collect(),
        RdmTransform::MinMax => zeros_if_constant(min_max(&x)),
        RdmTransform::GeoTopological { lower, upper } => {
            let ranks = min_max(&midranks(&x));
            zeros_if_constant(Cuts::of(&ranks, lower, upper).apply(&ranks).collect())
        }
        RdmTransform::Smooth { slope, middle } => {
            let ranks = min_max(&midranks(&x));
            zeros_if_constant(ranks.iter().map(|r| 1.0 / (1.0 + (-slope * (r - middle)).exp())).collect())
        }
        RdmTransform::Geodesic(edges) => {
            let (ranks, apart) = geodesic(rdm.n_conditions(), &defined, &x, edges);
            n_disconnected = apart;
            zeros_if_constant(ranks)
        }
    };
    let constant =
        constant && !matches!(how, RdmTransform::Rank | RdmTransform::Sqrt | RdmTransform::Positive);
    let mut values = vec![f64::NAN; rdm.n_pairs()];
    defined.iter().zip(found).for_each(|(&p, v)| values[p] = v);
    Ok(Transformed { rdm: Rdm::new(rdm.n_conditions(), values)?, constant, n_disconnected })
}

fn check(n: usize, how: RdmTransform) -> Result<()> {
    let invalid = |what: &str, expected: &str, found: String| {
        Err(Error::Invalid {
            what: what.into(),
            expected: expected.into(),
            found,
            hint: "lower 0.2 and upper 0.8 are customary; α = 10, β = 0.5; 0.05 of the edges".into(),
        })
    };
    match how {
        RdmTransform::GeoTopological { lower, upper }
            if !(0.0 <= lower && lower <= upper && upper <= 1.0) =>
        {
            invalid("quantiles", "0 ≤ lower ≤ upper ≤ 1", format!("{lower} and {upper}"))
        }
        RdmTransform::Smooth { slope, middle }
            if !(slope > 0.0 && slope.is_finite() && middle.is_finite()) =>
        {
            invalid("slope", "a positive number", slope.to_string())
        }
        RdmTransform::Geodesic(Edges::Shortest(share)) if !(share > 0.0 && share <= 1.0) => {
            invalid("edges", "a share in (0, 1]", share.to_string())
        }
        RdmTransform::Geodesic(Edges::Nearest(k)) if k == 0 || k >= n => {
            invalid("neighbours", "from 1 to one less than the conditions", k.to_string())
        }
        RdmTransform::GeoTopological { .. } | RdmTransform::Smooth { .. } | RdmTransform::Geodesic(_)
            if n < 4 =>
        {
            Err(Error::TooFew {
                what: "rdm".into(),
                needed: "4 conditions".into(),
                found: n.to_string(),
                hint: "three distances have no topology to speak of".into(),
            })
        }
        _ => Ok(()),
    }
}

/// (x − min)/(max − min); zeros if they are equal.
pub(super) fn min_max(x: &[f64]) -> Vec<f64> {
    let low = x.iter().copied().fold(f64::INFINITY, f64::min);
    let range = x.iter().copied().fold(f64::NEG_INFINITY, f64::max) - low;
    x.iter().map(|v| if range > 0.0 { (v - low) / range } else { 0.0 }).collect()
}

/// Where the geo-topological transform cuts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cuts {
    lower: f64,
    upper: f64,
}

impl Cuts {
    pub(super) fn of(ranks: &[f64], lower: f64, upper: f64) -> Cuts {
        let mut sorted = ranks.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        Cuts::of_sorted(&sorted, lower, upper)
    }

    pub(super) fn of_sorted(sorted: &[f64], lower: f64, upper: f64) -> Cuts {
        Cuts { lower: quantile_of_sorted(sorted, lower), upper: quantile_of_sorted(sorted, upper) }
    }

    pub(super) fn apply(self, ranks: &[f64]) -> impl Iterator<Item = f64> + '_ {
        let step = self.upper == self.lower;
        let scale = if step { 0.0 } else { 1.0 / (self.upper - self.lower) };
        ranks.iter().map(move |&r| {
            if step {
                f64::from(u8::from(r > self.lower))
            } else {
                ((r - self.lower) * scale).clamp(0.0, 1.0)
            }
        })
    }
}

/// Midranks of shortest paths between the defined pairs, and how many of these pairs have none.
fn geodesic(n: usize, defined: &[usize], x: &[f64], edges: Edges) -> (Vec<f64>, usize) {
    // Whole numbers: doubled midranks less the least of them.
    let found = levels(x);
    let (doubled, _) = doubled_midranks(found.level.iter().map(|&l| (l, 1)), found.n_levels);
    let least = doubled.first().copied().unwrap_or(0);
    let length: Vec<u64> = found.level.iter().map(|&l| u64::from(doubled[l as usize] - least)).collect();
    let all: Vec<(usize, usize)> = pairs(n).collect();
    let mut near: Vec<Vec<(u64, usize)>> = vec![vec![]; n];
    for (&p, &d) in defined.iter().zip(&length) {
        let (i, j) = all[p];
        near[i].push((d, j));
        near[j].push((d, i));
    }
    let mut kept: Vec<Vec<(u64, usize)>> = vec![vec![]; n];
    match edges {
        Edges::Shortest(share) => {
            let mut sorted: Vec<f64> = length.iter().map(|&d| d as f64).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            let longest = quantile_of_sorted(&sorted, share);
            for (to, from) in kept.iter_mut().zip(&near) {
                to.extend(from.iter().filter(|(d, _)| *d as f64 <= longest));
            }
        }
        Edges::Nearest(k) => {
            for (i, from) in near.iter_mut().enumerate() {
                from.sort_unstable();
                let longest = from.get(k - 1).or(from.last()).map_or(0, |edge| edge.0);
                for &(d, j) in from.iter().take_while(|(d, _)| *d <= longest) {
                    kept[i].push((d, j));
                    kept[j].push((d, i));
                }
            }
        }
    }
    let paths: Vec<Vec<u64>> = (0..n).map(|from| shortest(&kept, from)).collect();
    let lengths: Vec<u64> = defined.iter().map(|&p| paths[all[p].0][all[p].1]).collect();
    let apart = lengths.iter().filter(|&&d| d == u64::MAX).count();
    (midranks(&lengths.iter().map(|&d| d as f64).collect::<Vec<_>>()), apart)
}

/// Dijkstra's algorithm; `u64::MAX` where there is no path.
fn shortest(edges: &[Vec<(u64, usize)>], from: usize) -> Vec<u64> {
    let mut length = vec![u64::MAX; edges.len()];
    length[from] = 0;
    let mut open = BinaryHeap::from([Reverse((0u64, from))]);
    while let Some(Reverse((so_far, at))) = open.pop() {
        if so_far > length[at] {
            continue;
        }
        for &(d, to) in &edges[at] {
            let new = so_far + d;
            if new < length[to] {
                length[to] = new;
                open.push(Reverse((new, to)));
            }
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn rdm(n: usize, values: &[f64]) -> Rdm {
        Rdm::new(n, values.to_vec()).unwrap()
    }

    #[track_caller]
    fn close(found: &Rdm, expected: &[f64]) {
        for (f, e) in found.values().iter().zip(expected) {
            assert!((f - e).abs() < 1e-12 || (f.is_nan() && e.is_nan()), "{found:?} is not {expected:?}");
        }
    }

    const CUT: RdmTransform = RdmTransform::GeoTopological { lower: 0.2, upper: 0.8 };

    #[test]
    fn the_fixtures_of_the_specs() {
        let six = rdm(4, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        close(&transform(&six, CUT).unwrap().rdm, &[0.0, 0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0, 1.0]);
        // Points on a line at 0, 1, 3, 7, 12: r₀₁ = k/9, cuts at .2 and .8.
        let line = rdm(5, &[1.0, 3.0, 7.0, 12.0, 2.0, 6.0, 11.0, 4.0, 9.0, 5.0]);
        let k = [0.0, 2.0, 6.0, 9.0, 1.0, 5.0, 8.0, 3.0, 7.0, 4.0];
        let expected: Vec<f64> = k.iter().map(|k| ((k / 9.0 - 0.2f64) / 0.6).clamp(0.0, 1.0)).collect();
        let found = transform(&line, CUT).unwrap().rdm;
        close(&found, &expected);
        let printed = [0.0, 0.0370, 0.7778, 1.0, 0.0, 0.5926, 1.0, 0.2222, 0.9630, 0.4074];
        for (f, e) in found.values().iter().zip(printed) {
            assert!((f - e).abs() < 5e-5);
        }
        let warped: Vec<f64> = line.values().iter().map(|d| 3.0 * d.sqrt() + 5.0).collect();
        close(&transform(&rdm(5, &warped), CUT).unwrap().rdm, &expected);
    }

    #[test]
    fn the_closest_pair_stays_the_closest_along_paths() {
        // All edges but the longest: paths (0, .2, .4, .2, .4, .6), so ranks 1, 2.5, 4.5, 2.5, 4.5, 6.
        let six = rdm(4, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let found = transform(&six, RdmTransform::Geodesic(Edges::Shortest(0.8))).unwrap();
        close(&found.rdm, &[1.0, 2.5, 4.5, 2.5, 4.5, 6.0]);
        assert_eq!(found.n_disconnected, 0);
    }

    #[test]
    fn a_line_is_found_along_paths_and_parts_are_counted() {
        // Distances that saturate: only neighbours on the line are short.
        let d = |(i, j): (usize, usize)| {
            if j - i == 1 { 1.0 + 0.01 * i as f64 } else { 3.0 - 0.01 * (i + j) as f64 }
        };
        let bent = rdm(6, &pairs(6).map(d).collect::<Vec<_>>());
        let found = transform(&bent, RdmTransform::Geodesic(Edges::Shortest(4.0 / 14.0))).unwrap();
        assert_eq!(found.n_disconnected, 0);
        // From one end, farther along the line is farther.
        let from_0: Vec<f64> = (1..6).map(|j| found.rdm.get(0, j)).collect();
        assert!(from_0.windows(2).all(|w| w[0] < w[1]), "{from_0:?}");
        // Two pairs that are close within and far between.
        let parts = rdm(4, &[1.0, 8.0, 9.0, 7.0, 6.0, 2.0]);
        let found = transform(&parts, RdmTransform::Geodesic(Edges::Nearest(1))).unwrap();
        assert_eq!(found.n_disconnected, 4);
        close(&found.rdm, &[1.0, 4.5, 4.5, 4.5, 4.5, 2.0]);
    }

    #[test]
    fn simple_transforms_by_hand() {
        let x = rdm(3, &[4.0, -1.0, 4.0]);
        let found = |how| transform(&x, how).unwrap().rdm;
        close(&found(RdmTransform::Rank), &[2.5, 1.0, 2.5]);
        close(&found(RdmTransform::Sqrt), &[2.0, 0.0, 2.0]);
        close(&found(RdmTransform::Positive), &[4.0, 0.0, 4.0]);
        close(&found(RdmTransform::MinMax), &[1.0, 0.0, 1.0]);
        let six = rdm(4, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let smooth = transform(&six, RdmTransform::Smooth { slope: 10.0, middle: 0.5 }).unwrap().rdm;
        assert!((smooth.values()[2] - 1.0 / (1.0 + 1f64.exp())).abs() < 1e-12);
        // One cut is a step, both ends are the ranks.
        let step = RdmTransform::GeoTopological { lower: 0.5, upper: 0.5 };
        close(&transform(&six, step).unwrap().rdm, &[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        // What stands at the cut is below it.
        let step = RdmTransform::GeoTopological { lower: 0.4, upper: 0.4 };
        close(&transform(&six, step).unwrap().rdm, &[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        let whole = RdmTransform::GeoTopological { lower: 0.0, upper: 1.0 };
        close(&transform(&six, whole).unwrap().rdm, &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
    }

    #[test]
    fn undefined_pairs_stay_and_constants_say_so() {
        let mut values = vec![1.0, f64::NAN, 3.0, 4.0, 5.0, 6.0];
        let found = transform(&rdm(4, &values), CUT).unwrap().rdm;
        assert!(found.values()[1].is_nan());
        values.remove(1);
        // As if the pair did not exist: r₀₁ = 0, .25, .5, .75, 1.
        close(&found, &[0.0, f64::NAN, 0.05 / 0.6, 0.3 / 0.6, 0.55 / 0.6, 1.0]);
        for how in [CUT, RdmTransform::MinMax, RdmTransform::Geodesic(Edges::Shortest(0.5))] {
            let flat = transform(&rdm(4, &[2.0; 6]), how).unwrap();
            assert!(flat.constant);
            close(&flat.rdm, &[0.0; 6]);
        }
        let refusal = |n: usize, how| {
            let values = vec![1.0; n * (n - 1) / 2];
            transform(&rdm(n, &values), how).unwrap_err().to_string()
        };
        assert!(refusal(3, CUT).contains("4 conditions"));
        assert!(
            refusal(5, RdmTransform::GeoTopological { lower: 0.8, upper: 0.2 }).contains("lower ≤ upper")
        );
        assert!(refusal(5, RdmTransform::Geodesic(Edges::Nearest(0))).contains("neighbours"));
        assert!(refusal(5, RdmTransform::Geodesic(Edges::Shortest(0.0))).contains("share"));
    }

    #[test]
    fn shortest_paths_are_those_of_floyd_and_warshall() {
        let mut stream = Stream::new(2, "paths", 0);
        let n = 12;
        let x: Vec<f64> = (0..66).map(|_| stream.uniform()).collect();
        let defined: Vec<usize> = (0..66).collect();
        let (found, _) = geodesic(n, &defined, &x, Edges::Shortest(0.4));
        let ranks = midranks(&x);
        let mut sorted = ranks.clone();
        sorted.sort_by(f64::total_cmp);
        let longest = quantile_of_sorted(&sorted, 0.4);
        let mut paths = vec![vec![f64::INFINITY; n]; n];
        for ((i, j), r) in pairs(n).zip(&ranks) {
            if *r <= longest {
                paths[i][j] = r - 1.0;
                paths[j][i] = r - 1.0;
            }
        }
        for k in 0..n {
            for i in 0..n {
                for j in 0..n {
                    paths[i][j] = paths[i][j].min(paths[i][k] + paths[k][j]);
                }
            }
        }
        let slow = midranks(&pairs(n).map(|(i, j)| paths[i][j]).collect::<Vec<_>>());
        assert_eq!(found, slow);
    }
}
