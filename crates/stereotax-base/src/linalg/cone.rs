//! Project a point onto the cone of some vectors: non-negative least squares.
//!
//! ```text
//! min |t − Σ α_m s_m|²  over α ≥ 0                   with G = S Sᵀ and h = S t only
//! ```
//!
//! Active sets (Lawson & Hanson 1974), with the Cholesky factor of the set carried along: a vector that comes in adds a
//! row, one that leaves is taken out by rotations. Cost: O(M + m²) per change of a set of m out of M vectors.

/// The α of the projection; `gram` is M × M, row after row, `inner` holds s_m · t.
///
/// Vectors that depend on those in the set stay out. Ends once no vector would lower the residual by more than rounding.
pub fn cone_weights(gram: &[f64], inner: &[f64]) -> Vec<f64> {
    let n = inner.len();
    let mut alpha = vec![0.0; n];
    let mut set: Vec<usize> = vec![];
    // Rows of the lower Cholesky factor of the set.
    let mut factor: Vec<Vec<f64>> = vec![];
    let mut barred = vec![false; n];
    let largest = (0..n).map(|i| gram[i * n + i]).fold(0.0f64, f64::max);
    let scale = inner.iter().fold(0.0f64, |most, h| most.max(h.abs())).max(f64::MIN_POSITIVE);
    for _ in 0..10 * n + 100 {
        // h − G α is what each vector still has in common with the residual.
        let (mut best, mut enter) = (1e-10 * scale, None);
        for i in 0..n {
            if !barred[i] && !set.contains(&i) {
                let row = &gram[i * n..(i + 1) * n];
                let left = inner[i] - set.iter().map(|&j| row[j] * alpha[j]).sum::<f64>();
                if left > best {
                    (best, enter) = (left, Some(i));
                }
            }
        }
        let Some(enter) = enter else { break };
        let mut row: Vec<f64> = Vec::with_capacity(set.len() + 1);
        for (at, &j) in set.iter().enumerate() {
            let before: f64 = (0..at).map(|k| row[k] * factor[at][k]).sum();
            row.push((gram[enter * n + j] - before) / factor[at][at]);
        }
        let pivot = gram[enter * n + enter] - row.iter().map(|x| x * x).sum::<f64>();
        if pivot <= 1e-12 * largest {
            barred[enter] = true;
            continue;
        }
        row.push(pivot.sqrt());
        factor.push(row);
        set.push(enter);
        loop {
            let wanted = solve(&factor, &set.iter().map(|&j| inner[j]).collect::<Vec<_>>());
            if wanted.iter().all(|a| *a > 0.0) {
                set.iter().zip(&wanted).for_each(|(&j, a)| alpha[j] = *a);
                break;
            }
            // As far as all stay at 0 or above; what reaches 0 leaves.
            let (mut step, mut leave) = (f64::INFINITY, 0);
            for (at, (&j, &to)) in set.iter().zip(&wanted).enumerate() {
                if to <= 0.0 {
                    let share = alpha[j] / (alpha[j] - to);
                    if share < step || share.is_nan() {
                        (step, leave) = (if share.is_nan() { 0.0 } else { share }, at);
                    }
                }
            }
            set.iter().zip(&wanted).for_each(|(&j, &to)| alpha[j] += step * (to - alpha[j]));
            alpha[set[leave]] = 0.0;
            set.remove(leave);
            drop_row(&mut factor, leave);
            barred.fill(false);
            if set.is_empty() {
                break;
            }
        }
    }
    alpha
}

fn solve(factor: &[Vec<f64>], right: &[f64]) -> Vec<f64> {
    let mut x = right.to_vec();
    for i in 0..x.len() {
        let before: f64 = (0..i).map(|k| factor[i][k] * x[k]).sum();
        x[i] = (x[i] - before) / factor[i][i];
    }
    for i in (0..x.len()).rev() {
        x[i] /= factor[i][i];
        for k in 0..i {
            x[k] -= factor[i][k] * x[i];
        }
    }
    x
}

/// Take one vector out of the factor: its row goes, and rotations of columns bring back the triangle.
fn drop_row(factor: &mut Vec<Vec<f64>>, at: usize) {
    factor.remove(at);
    for i in at..factor.len() {
        let (a, b) = (factor[i][i], factor[i][i + 1]);
        let length = a.hypot(b);
        let (c, s) = (a / length, b / length);
        for row in factor[i..].iter_mut() {
            let (x, y) = (row[i], row[i + 1]);
            row[i] = c * x + s * y;
            row[i + 1] = c * y - s * x;
        }
        factor[i].truncate(i + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;

    #[test]
    fn projections_by_hand_and_by_their_conditions() {
        // Cone of (1, 0) and (1, 1): (0, 2) falls on (1, 1); (−1, −1) on nothing; (3, 1) is inside.
        let gram = [1.0, 1.0, 1.0, 2.0];
        let edge = cone_weights(&gram, &[0.0, 2.0]);
        assert!(edge[0] == 0.0 && (edge[1] - 1.0).abs() < 1e-15);
        assert_eq!(cone_weights(&gram, &[-1.0, -2.0]), [0.0, 0.0]);
        let inside = cone_weights(&gram, &[3.0, 4.0]);
        assert!((inside[0] - 2.0).abs() < 1e-12 && (inside[1] - 1.0).abs() < 1e-12);
        let mut stream = Stream::new(1, "cone", 0);
        for (m, p) in [(5, 8), (30, 12), (60, 20), (40, 3)] {
            let s: Vec<Vec<f64>> =
                (0..m).map(|_| (0..p).map(|k| stream.normal() + f64::from(k == 0)).collect()).collect();
            let t: Vec<f64> = (0..p).map(|_| stream.normal()).collect();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let gram: Vec<f64> = (0..m * m).map(|at| dot(&s[at / m], &s[at % m])).collect();
            let inner: Vec<f64> = s.iter().map(|s| dot(s, &t)).collect();
            let alpha = cone_weights(&gram, &inner);
            // Karush–Kuhn–Tucker: weights at 0 where the residual turns away, and 0 of it along the rest.
            for i in 0..m {
                let left = inner[i] - (0..m).map(|j| gram[i * m + j] * alpha[j]).sum::<f64>();
                assert!(alpha[i] >= 0.0 && left < 1e-8, "{m} {i}: {left}");
                assert!(alpha[i] == 0.0 || left.abs() < 1e-8, "{m} {i}: {left}");
            }
        }
    }
}
