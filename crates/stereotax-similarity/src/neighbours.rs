//! Whether stimuli have the same nearest neighbours in two representations.
//!
//! With N_x(i) the k stimuli nearest to i by Euclidean distance,
//!
//! ```text
//! overlap   mean_i |N_x(i) ∩ N_y(i)| / k
//! Jaccard   mean_i |N_x(i) ∩ N_y(i)| / |N_x(i) ∪ N_y(i)|
//! ranks     mean_i Σ_j 2 / ((1 + |r − s|)(r + s)) / Σ_m 1/m      j common, r and s its places (1 … k) on either side,
//!                                                               m = 1 … number of common ones; 0 without one
//! ```
//!
//! All in [0, 1]; chance of the overlap is k/(n − 1). Invariant to whatever keeps the order of distances. Ties go to
//! the earlier stimulus on both sides, so that duplicates of stimuli may agree by their order.
//! Source: specs: peers 1.8 (ReSi: kNN, Jaccard and rank similarity, of which its default distance is the cosine). Undefined (NaN): a constant side; k of 0 or n − 1 and more.
//! Cost: O(n² log n) once per representation, O(n k) per pair.

use super::representation::Representation;

/// How neighbours agree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NeighbourOverlap {
    /// Mean share of common neighbours.
    pub overlap: f64,
    /// Mean of common over all neighbours.
    pub jaccard: f64,
    /// Agreement of the places of common neighbours, the near ones first.
    pub ranks: f64,
    /// Neighbours per stimulus.
    pub n_neighbours: usize,
    /// k/(n − 1), the overlap of unrelated representations.
    pub chance: f64,
}

/// 10 neighbours, or half of the others where there are fewer than 20.
pub fn default_neighbours(n_stimuli: usize) -> usize {
    10.min(n_stimuli.saturating_sub(1) / 2)
}

/// Compare the `n_neighbours` nearest of every stimulus.
pub fn neighbour_overlap(
    x: &Representation<'_>,
    y: &Representation<'_>,
    n_neighbours: usize,
) -> NeighbourOverlap {
    let n = x.n_stimuli();
    let k = n_neighbours;
    let chance = k as f64 / (n as f64 - 1.0);
    if k == 0 || k + 1 >= n || !x.varies() || !y.varies() {
        let none = f64::NAN;
        return NeighbourOverlap { overlap: none, jaccard: none, ranks: none, n_neighbours: k, chance };
    }
    let (mut overlap, mut jaccard, mut ranks) = (0.0, 0.0, 0.0);
    let mut near = vec![usize::MAX; n];
    let mut place = vec![0; n];
    for (i, (of_x, of_y)) in x.neighbours().iter().zip(y.neighbours()).enumerate() {
        for (at, &j) in of_x[..k].iter().enumerate() {
            (near[j as usize], place[j as usize]) = (i, at + 1);
        }
        let (mut common, mut agreement, mut most) = (0.0, 0.0, 0.0);
        for (at, &j) in of_y[..k].iter().enumerate() {
            if near[j as usize] == i {
                let (r, s) = (place[j as usize], at + 1);
                common += 1.0;
                agreement += 2.0 / ((1 + r.abs_diff(s)) * (r + s)) as f64;
                most += 1.0 / common;
            }
        }
        ranks += if common > 0.0 { agreement / most } else { 0.0 };
        overlap += common / k as f64;
        jaccard += common / (2.0 * k as f64 - common);
    }
    let mean = |sum: f64| sum / n as f64;
    let (overlap, jaccard, ranks) = (mean(overlap), mean(jaccard), mean(ranks));
    NeighbourOverlap { overlap, jaccard, ranks, n_neighbours: k, chance }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Mat;
    use stereotax_base::stats::rng::Stream;

    #[test]
    fn neighbours_on_a_line_by_hand() {
        // Nearest on 0, 1, 3, 7: 1, 0, 1, 2 (of the third: 1 at 2 before 0 at 3). On 0, 5, 6, 1: 3, 2, 1, 0.
        let x = Mat::from_fn(4, 1, |i, _| [0.0, 1.0, 3.0, 7.0][i]);
        let y = Mat::from_fn(4, 1, |i, _| [0.0, 5.0, 6.0, 1.0][i]);
        let [a, b] = [&x, &y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        let found = neighbour_overlap(&a, &b, 1);
        assert_eq!((found.overlap, found.jaccard, found.chance), (0.25, 0.25, 1.0 / 3.0));
        // Two nearest: {1,2} {0,2} {1,0} {2,1} and {3,1} {2,3} {1,3} {0,1}: one each.
        let found = neighbour_overlap(&a, &b, 2);
        assert_eq!((found.overlap, found.jaccard), (0.5, 1.0 / 3.0));
        // Places of the common one: of 0: 1 (1st, 2nd); of 1: 2 (2nd, 1st); of 3: 1 (1st, 1st); of 7: 1 (2nd, 2nd):
        // 2/(2·3), 2/(2·3), 2/(1·2), 2/(1·4), each over 1.
        assert!((found.ranks - (1.0 / 3.0 + 1.0 / 3.0 + 1.0 + 0.5) / 4.0).abs() < 1e-15, "{}", found.ranks);
        let same = neighbour_overlap(&a, &a, 2);
        assert!(same.overlap == 1.0 && (same.ranks - 1.0).abs() < 1e-15);
        assert!(
            neighbour_overlap(&a, &b, 3).overlap.is_nan() && neighbour_overlap(&a, &b, 0).overlap.is_nan()
        );
    }

    #[test]
    fn noise_is_at_chance() {
        let mut stream = Stream::new(11, "neighbours tests", 0);
        let mut noise = || Mat::from_fn(80, 6, |_, _| stream.normal());
        let (x, y) = (noise(), noise());
        let [a, b] = [&x, &y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        let found = neighbour_overlap(&a, &b, 10);
        assert!((found.overlap - found.chance).abs() < 0.03, "{found:?}");
        let constant = Mat::full(80, 2, 1.0);
        let c = Representation::new("c", constant.as_ref()).unwrap();
        assert!(neighbour_overlap(&a, &c, 10).overlap.is_nan());
        assert_eq!((default_neighbours(100), default_neighbours(9), default_neighbours(2)), (10, 4, 0));
    }
}
