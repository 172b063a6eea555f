//! Compare found with expected values, and say where and by how much they differ.
//!
//! Tolerances are multiples of machine epsilon times a problem size: `rounding(8.0, n)` allows what
//! a sum of n terms may lose, times eight, relative to the largest expected entry.

use faer::{Mat, MatRef, c64};

/// A relative tolerance of `multiple` × 2⁻⁵² × `size` (at least one).
pub fn rounding(multiple: f64, size: usize) -> f64 {
    multiple * f64::EPSILON * size.max(1) as f64
}

/// Panic unless every |found − expected| ≤ `relative` × max(1e-300, largest |expected|).
///
/// NaN equals NaN, and infinities must agree exactly. The message names the worst position.
#[track_caller]
pub fn assert_close(found: MatRef<f64>, expected: MatRef<f64>, relative: f64) {
    assert_eq!(
        (found.nrows(), found.ncols()),
        (expected.nrows(), expected.ncols()),
        "shapes differ (found, then expected)"
    );
    let mut scale = 1e-300f64;
    for j in 0..expected.ncols() {
        for i in 0..expected.nrows() {
            if expected[(i, j)].is_finite() {
                scale = scale.max(expected[(i, j)].abs());
            }
        }
    }
    let mut worst: Option<(usize, usize, f64)> = None;
    for j in 0..expected.ncols() {
        for i in 0..expected.nrows() {
            let gap = gap(found[(i, j)], expected[(i, j)]);
            if gap > relative * scale && worst.is_none_or(|(_, _, largest)| gap > largest) {
                worst = Some((i, j, gap));
            }
        }
    }
    if let Some((i, j, gap)) = worst {
        panic!(
            "row {i}, column {j}: found {:e}, expected {:e} (differ by {gap:e}, allowed {:e})",
            found[(i, j)],
            expected[(i, j)],
            relative * scale
        );
    }
}

/// [`assert_close`] for vectors.
#[track_caller]
pub fn assert_close_slice(found: &[f64], expected: &[f64], relative: f64) {
    assert_eq!(found.len(), expected.len(), "lengths differ (found, then expected)");
    let found = Mat::from_fn(found.len(), 1, |i, _| found[i]);
    let expected = Mat::from_fn(expected.len(), 1, |i, _| expected[i]);
    assert_close(found.as_ref(), expected.as_ref(), relative);
}

/// Panic unless |found − expected| ≤ `absolute`; NaN equals NaN.
#[track_caller]
pub fn assert_near(found: f64, expected: f64, absolute: f64) {
    let gap = gap(found, expected);
    assert!(
        gap <= absolute,
        "found {found:e}, expected {expected:e} (differ by {gap:e}, allowed {absolute:e})"
    );
}

fn gap(found: f64, expected: f64) -> f64 {
    if found == expected || (found.is_nan() && expected.is_nan()) {
        0.0
    } else if found.is_finite() && expected.is_finite() {
        (found - expected).abs()
    } else {
        f64::INFINITY
    }
}

/// One pairing of found with expected columns or numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Matching {
    /// For each expected item, the index of the found item paired with it.
    pub found_of: Vec<usize>,
    /// For each expected item, how well the pair agrees: a distance (0 is best) for numbers, a
    /// cosine without sign (1 is best) for columns.
    pub agreement: Vec<f64>,
}

/// Pair complex numbers up to order: always take the closest pair that is left.
///
/// Greedy, so meant for sets whose members lie further apart than their errors.
#[track_caller]
pub fn match_numbers(found: &[c64], expected: &[c64]) -> Matching {
    let cost = |e: usize, f: usize| (found[f] - expected[e]).norm();
    greedy(found.len(), expected.len(), cost)
}

/// Panic unless the found numbers are the expected ones up to order, each within `absolute`.
#[track_caller]
pub fn assert_same_numbers(found: &[c64], expected: &[c64], absolute: f64) {
    assert_eq!(found.len(), expected.len(), "counts differ: found {found:?}, expected {expected:?}");
    let matching = match_numbers(found, expected);
    for (e, &f) in matching.found_of.iter().enumerate() {
        assert!(
            matching.agreement[e] <= absolute,
            "number {e}: found {}, expected {} (differ by {:e}, allowed {absolute:e})",
            found[f],
            expected[e],
            matching.agreement[e]
        );
    }
}

/// Pair the columns of two matrices up to order, sign and length: always take the pair with the
/// largest |cosine| that is left.
#[track_caller]
pub fn match_columns(found: MatRef<f64>, expected: MatRef<f64>) -> Matching {
    assert_eq!(found.nrows(), expected.nrows(), "columns differ in length (found, then expected)");
    let cosine = |e: usize, f: usize| {
        let (mut dot, mut a, mut b) = (0.0, 0.0, 0.0);
        for i in 0..found.nrows() {
            dot += found[(i, f)] * expected[(i, e)];
            a += found[(i, f)].powi(2);
            b += expected[(i, e)].powi(2);
        }
        (dot / (a * b).sqrt()).abs()
    };
    let mut matching = greedy(found.ncols(), expected.ncols(), |e, f| 1.0 - cosine(e, f));
    matching.agreement.iter_mut().for_each(|x| *x = 1.0 - *x);
    matching
}

/// Panic unless every expected column has a found partner with |cosine| ≥ `at_least`.
#[track_caller]
pub fn assert_same_columns(found: MatRef<f64>, expected: MatRef<f64>, at_least: f64) {
    let matching = match_columns(found, expected);
    for (e, &f) in matching.found_of.iter().enumerate() {
        let cosine = matching.agreement[e];
        assert!(cosine >= at_least, "column {e}: best partner {f} has |cosine| {cosine}, wanted {at_least}");
    }
}

#[track_caller]
fn greedy(n_found: usize, n_expected: usize, cost: impl Fn(usize, usize) -> f64) -> Matching {
    assert!(n_found >= n_expected, "only {n_found} found for {n_expected} expected");
    let mut pairs: Vec<(f64, usize, usize)> = Vec::with_capacity(n_found * n_expected);
    for e in 0..n_expected {
        for f in 0..n_found {
            pairs.push((cost(e, f), e, f));
        }
    }
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let mut found_of = vec![usize::MAX; n_expected];
    let mut agreement = vec![f64::NAN; n_expected];
    let mut used = vec![false; n_found];
    for (cost, e, f) in pairs {
        if found_of[e] == usize::MAX && !used[f] {
            found_of[e] = f;
            agreement[e] = cost;
            used[f] = true;
        }
    }
    Matching { found_of, agreement }
}

/// Principal angles between two column spans, in radians, ascending.
///
/// cos θᵢ = σᵢ(Q_aᵀ Q_b) with orthonormal bases Q (Björck & Golub 1973). The cosine loses angles
/// below about 1e-8. Columns that depend on earlier ones are dropped.
#[track_caller]
pub fn principal_angles(a: MatRef<f64>, b: MatRef<f64>) -> Vec<f64> {
    assert_eq!(a.nrows(), b.nrows(), "spans live in different spaces");
    let (qa, qb) = (orthonormal_columns(a), orthonormal_columns(b));
    let inner = qa.transpose() * &qb;
    let Ok(svd) = inner.thin_svd() else { panic!("no singular values; is every entry finite?") };
    (0..inner.nrows().min(inner.ncols())).map(|i| svd.S()[i].clamp(-1.0, 1.0).acos()).collect()
}

/// Panic unless two column spans have equal dimension and no principal angle above `radians`.
#[track_caller]
pub fn assert_same_span(found: MatRef<f64>, expected: MatRef<f64>, radians: f64) {
    let dimensions = (orthonormal_columns(found).ncols(), orthonormal_columns(expected).ncols());
    assert_eq!(dimensions.0, dimensions.1, "spans differ in dimension (found, then expected)");
    let angles = principal_angles(found, expected);
    let largest = angles.last().copied().unwrap_or(0.0);
    assert!(
        largest <= radians,
        "largest principal angle {largest:e} rad, allowed {radians:e}; all {angles:?}"
    );
}

/// Orthonormal basis of a column span: Gram–Schmidt, twice, in column order.
pub fn orthonormal_columns(a: MatRef<f64>) -> Mat<f64> {
    let n = a.nrows();
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for j in 0..a.ncols() {
        let mut column: Vec<f64> = (0..n).map(|i| a[(i, j)]).collect();
        let before = column.iter().map(|x| x * x).sum::<f64>().sqrt();
        // Once is not enough for nearly dependent columns (Kahan's "twice is enough").
        for _ in 0..2 {
            for q in &basis {
                let dot: f64 = q.iter().zip(&column).map(|(x, y)| x * y).sum();
                column.iter_mut().zip(q).for_each(|(x, y)| *x -= dot * y);
            }
        }
        let length = column.iter().map(|x| x * x).sum::<f64>().sqrt();
        if length > 1e-12 * before && length > 0.0 {
            basis.push(column.iter().map(|x| x / length).collect());
        }
    }
    Mat::from_fn(n, basis.len(), |i, j| basis[j][i])
}

/// Area under the ROC curve: the chance that a planted ROI has a larger value than another one,
/// ties counting one half. 1 is perfect, 0.5 is chance; `None` if either set is empty.
pub fn auc(values: &[f64], planted: &[bool]) -> Option<f64> {
    let (mut wins, mut pairs) = (0.0, 0usize);
    for (i, &inside) in planted.iter().enumerate() {
        for (j, &other) in planted.iter().enumerate() {
            if inside && !other {
                pairs += 1;
                if values[i] > values[j] {
                    wins += 1.0;
                } else if values[i] == values[j] {
                    wins += 0.5;
                }
            }
        }
    }
    (pairs > 0).then(|| wins / pairs as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "row 1, column 0: found 2.5e0, expected 2e0")]
    fn a_difference_is_named_with_its_place() {
        let found = Mat::from_fn(2, 1, |i, _| [1.0, 2.5][i]);
        let expected = Mat::from_fn(2, 1, |i, _| [1.0, 2.0][i]);
        assert_close(found.as_ref(), expected.as_ref(), 1e-3);
    }

    #[test]
    #[should_panic(expected = "row 0, column 0: found NaN")]
    fn nan_is_not_close_to_a_number() {
        assert_close_slice(&[f64::NAN], &[1.0], 1.0);
    }

    #[test]
    fn rounding_is_accepted() {
        assert_close_slice(
            &[0.1 + 0.2, f64::NAN, f64::INFINITY],
            &[0.3, f64::NAN, f64::INFINITY],
            rounding(1.0, 3),
        );
    }

    #[test]
    fn order_and_sign_do_not_matter() {
        let expected = Mat::from_fn(3, 2, |i, j| [[1.0, 0.0], [2.0, 1.0], [0.0, -1.0]][i][j]);
        let found = Mat::from_fn(3, 2, |i, j| -3.0 * expected[(i, 1 - j)]);
        let matching = match_columns(found.as_ref(), expected.as_ref());
        assert_eq!(matching.found_of, [1, 0]);
        assert_same_columns(found.as_ref(), expected.as_ref(), 1.0 - 1e-12);
        assert_same_numbers(
            &[c64::new(0.0, 1.0), c64::new(2.0, 0.0)],
            &[c64::new(2.0, 0.0), c64::new(0.0, 1.0)],
            0.0,
        );
    }

    #[test]
    fn principal_angles_by_hand() {
        // Span{e1, e2} and span{e1, cos 0.3 e2 + sin 0.3 e3}.
        let a = Mat::from_fn(3, 2, |i, j| f64::from(i == j));
        let b = Mat::from_fn(3, 2, |i, j| [[1.0, 0.0], [0.0, 0.3f64.cos()], [0.0, 0.3f64.sin()]][i][j]);
        assert_close_slice(&principal_angles(a.as_ref(), b.as_ref()), &[0.0, 0.3], 1e-7);
    }

    #[test]
    fn auc_by_hand() {
        // Pairs (3>1), (3>2), (2>1), (2=2): 3.5 of 4.
        assert_eq!(auc(&[3.0, 2.0, 1.0, 2.0], &[true, true, false, false]), Some(0.875));
        assert_eq!(auc(&[1.0], &[true]), None);
    }
}
