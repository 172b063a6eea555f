//! Compare representations unit by unit: with the best permutation of units, or with soft matching.
//!
//! Units are centred columns x_i, y_j. Fewer units on one side count as padded with zeros under permutations; soft
//! matching spreads weight evenly over both sides instead.
//!
//! ```text
//! permutation   c = max_π Σ_i ⟨x_i, y_π(i)⟩ / (‖X‖ ‖Y‖), angle arccos c          a metric, in [0, π]
//! soft          d² = min_T Σ_ij T_ij ‖x_i − y_j‖², rows of T sum to 1/p, columns to 1/q, mean ‖x_i‖² = mean ‖y_j‖² = 1
//!               (a metric, in [0, 2]); r = max_T Σ_ij T_ij r_ij of correlations, in [−1, 1]
//! ```
//!
//! What no rotation is allowed for is how units are tuned: two populations with the same geometry and other tuning are
//! at distance 0 for Procrustes and not here.
//!
//! Source: Williams et al. 2021 (permutations); Khosla & Williams 2024 (soft matching); specs: encoding-manifolds 6.5.
//! Undefined (NaN): a constant side. Cost: O(n p q) and O(max(p, q)³).

use faer::Mat;

use super::representation::Representation;
use stereotax_base::linalg::{assignment, cross, uniform_transport};

/// The best one-to-one pairing.
#[derive(Debug, Clone)]
pub struct PermutationMatch {
    /// Angle between X and the permuted Y, in [0, π].
    pub angular: f64,
    /// ‖X − Y P‖ in the unit of the representations.
    pub euclidean: f64,
    /// The unit of the second side for each of the first; `None` where it was paired with padding.
    pub partners: Vec<Option<usize>>,
}

/// The best soft pairing.
#[derive(Debug, Clone)]
pub struct SoftMatch {
    /// d, in [0, 2].
    pub distance: f64,
    /// r: mean correlation of matched units, in [−1, 1]; units that do not vary count as 0.
    pub correlation: f64,
}

/// Pair units such that the summed products are largest.
pub fn permutation_match(x: &Representation<'_>, y: &Representation<'_>) -> PermutationMatch {
    let (a, b) = (x.centred(), y.centred());
    let (p, q) = (a.ncols(), b.ncols());
    let (of_x, of_y) = (a.norm_l2(), b.norm_l2());
    if !(of_x > 0.0 && of_y > 0.0) {
        return PermutationMatch { angular: f64::NAN, euclidean: f64::NAN, partners: vec![None; p] };
    }
    let size = p.max(q);
    let products = cross(a.as_ref(), b.as_ref());
    let cost = Mat::from_fn(size, size, |i, j| if i < p && j < q { -products[(i, j)] } else { 0.0 });
    let found = assignment(cost.as_ref());
    // From the differences themselves, so that equal sides are at 0.
    let (mut chord, mut euclidean) = (0.0, 0.0);
    let zero = vec![0.0; a.nrows()];
    for (i, &j) in found.iter().enumerate() {
        let left = if i < p { a.col_as_slice(i) } else { &zero };
        let right = if j < q { b.col_as_slice(j) } else { &zero };
        for (l, r) in left.iter().zip(right) {
            chord += (l / of_x - r / of_y).powi(2);
            euclidean += (l - r).powi(2);
        }
    }
    let partners = found.iter().take(p).map(|&j| (j < q).then_some(j)).collect();
    let angular = 2.0 * (0.5 * chord.sqrt()).min(1.0).asin();
    PermutationMatch { angular, euclidean: euclidean.sqrt(), partners }
}

/// Spread units over units at least cost.
pub fn soft_match(x: &Representation<'_>, y: &Representation<'_>) -> SoftMatch {
    let scaled = |z: &Representation<'_>| {
        let mut z = z.centred();
        let size = z.norm_l2() / (z.ncols() as f64).sqrt();
        for j in 0..z.ncols() {
            z.col_as_slice_mut(j).iter_mut().for_each(|v| *v /= size);
        }
        (z, size > 0.0)
    };
    let ((a, x_varies), (b, y_varies)) = (scaled(x), scaled(y));
    if !x_varies || !y_varies {
        return SoftMatch { distance: f64::NAN, correlation: f64::NAN };
    }
    let (p, q) = (a.ncols(), b.ncols());
    let between = |i: usize, j: usize| {
        let both = a.col_as_slice(i).iter().zip(b.col_as_slice(j));
        both.map(|(a, b)| (a - b).powi(2)).sum::<f64>()
    };
    let products = cross(a.as_ref(), b.as_ref());
    let lengths = |z: &Mat<f64>| -> Vec<f64> {
        (0..z.ncols()).map(|j| z.col_as_slice(j).iter().map(|v| v * v).sum::<f64>()).collect()
    };
    let (aa, bb) = (lengths(&a), lengths(&b));
    let cost = Mat::from_fn(p, q, |i, j| aa[i] + bb[j] - 2.0 * products[(i, j)]);
    let plan = uniform_transport(cost.as_ref());
    let moved = (0..q).flat_map(|j| (0..p).map(move |i| (i, j))).filter(|&at| plan[at] > 0.0);
    let squared: f64 = moved.map(|(i, j)| plan[(i, j)] * between(i, j)).sum();
    let correlation = |i: usize, j: usize| {
        let size = (aa[i] * bb[j]).sqrt();
        if size > 0.0 { (products[(i, j)] / size).clamp(-1.0, 1.0) } else { 0.0 }
    };
    let cost = Mat::from_fn(p, q, |i, j| 1.0 - correlation(i, j));
    let plan = uniform_transport(cost.as_ref());
    let mut found = 0.0;
    for j in 0..q {
        for i in 0..p {
            found += plan[(i, j)] * correlation(i, j);
        }
    }
    SoftMatch { distance: squared.sqrt(), correlation: found.clamp(-1.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn noise(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(12, "unit matching tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    fn both(x: &Mat<f64>, y: &Mat<f64>) -> (PermutationMatch, SoftMatch) {
        let [a, b] = [x, y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        (permutation_match(&a, &b), soft_match(&a, &b))
    }

    #[test]
    fn shuffled_units_are_found_and_are_at_zero() {
        let x = noise(15, 6, 0);
        let order = [3, 0, 5, 1, 4, 2];
        let y = Mat::from_fn(15, 6, |i, j| x[(i, order[j])] + 4.0);
        let (hard, soft) = both(&x, &y);
        for (j, &i) in order.iter().enumerate() {
            assert_eq!(hard.partners[i], Some(j));
        }
        assert!(hard.angular < 1e-14 && hard.euclidean < 1e-13 && soft.distance < 1e-13);
        assert!((soft.correlation - 1.0).abs() < 1e-13);
    }

    #[test]
    fn the_best_of_all_permutations() {
        let (x, y) = (noise(10, 4, 1), noise(10, 3, 2));
        let (hard, _) = both(&x, &y);
        let [a, b] = [&x, &y].map(|x| Representation::new("x", x.as_ref()).unwrap().centred());
        let (products, lengths) = (a.transpose() * &b, a.norm_l2() * b.norm_l2());
        let mut best = f64::NEG_INFINITY;
        for i in 0..4 {
            for j in (0..4).filter(|&j| j != i) {
                for k in (0..4).filter(|&k| k != i && k != j) {
                    best = f64::max(best, products[(i, 0)] + products[(j, 1)] + products[(k, 2)]);
                }
            }
        }
        assert!((hard.angular.cos() - best / lengths).abs() < 1e-13);
        assert_eq!(hard.partners.iter().filter(|p| p.is_none()).count(), 1);
    }

    #[test]
    fn copies_of_units_change_nothing_for_soft_matching() {
        let (x, y) = (noise(12, 3, 3), noise(12, 4, 4));
        let doubled = Mat::from_fn(12, 6, |i, j| x[(i, j / 2)]);
        let (a, b) = (both(&x, &y).1, both(&doubled, &y).1);
        assert!((a.distance - b.distance).abs() < 1e-12 && (a.correlation - b.correlation).abs() < 1e-12);
        assert!(both(&x, &doubled).1.distance < 1e-13);
        let constant = Mat::full(12, 2, 0.1);
        let (hard, soft) = both(&x, &constant);
        assert!(hard.angular.is_nan() && soft.distance.is_nan() && soft.correlation.is_nan());
    }
}
