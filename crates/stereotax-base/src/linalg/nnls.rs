//! Least squares with coefficients of at least 0, by active sets.

use faer::{Mat, MatRef};

use super::{cholesky_solve, least_squares, solve};
use crate::data::Result;

/// The w ≥ 0 that minimises ½ wᵀ G w − wᵀ b, for G = MᵀM and b = Mᵀy: min ‖M w − y‖.
///
/// Lawson & Hanson 1974 on the normal equations (Bro & de Jong 1997). Where G is singular the solution is one of
/// several; the condition number of M is squared, so see [`nnls_of_design`] beyond about 10⁶ of M. Cost: O(p³)
/// per change of the active set, of which there are about as many as coefficients.
pub fn nnls(gram: MatRef<f64>, target: &[f64]) -> Vec<f64> {
    let p = target.len();
    let slope = |w: &[f64]| -> Vec<f64> {
        (0..p).map(|i| target[i] - (0..p).map(|j| gram[(i, j)] * w[j]).sum::<f64>()).collect()
    };
    let solve = |free: &[usize]| -> Vec<f64> {
        let inner = Mat::from_fn(free.len(), free.len(), |i, j| gram[(free[i], free[j])]);
        let right = Mat::from_fn(free.len(), 1, |i, _| target[free[i]]);
        let found = cholesky_solve(inner.as_ref(), right.as_ref())
            .unwrap_or_else(|| solve(inner.as_ref(), right.as_ref()));
        found.col(0).iter().copied().collect()
    };
    let diagonal: Vec<f64> = (0..p).map(|i| gram[(i, i)]).collect();
    active_sets(p, &diagonal, target, slope, solve)
}

/// The w ≥ 0 that minimises ‖M w − y‖, with the columns of M themselves: for designs whose columns nearly agree.
///
/// Singular values below 10⁻¹² of the largest count as none. Cost: that of a singular value decomposition per change
/// of the active set.
pub fn nnls_of_design(design: MatRef<f64>, y: &[f64]) -> Result<Vec<f64>> {
    let p = design.ncols();
    let slope = |w: &[f64]| -> Vec<f64> {
        let rest: Vec<f64> =
            (0..y.len()).map(|i| y[i] - (0..p).map(|j| design[(i, j)] * w[j]).sum::<f64>()).collect();
        (0..p).map(|j| design.col(j).iter().zip(&rest).map(|(m, r)| m * r).sum()).collect()
    };
    let right = Mat::from_fn(y.len(), 1, |i, _| y[i]);
    let failed = std::cell::RefCell::new(None);
    let solve = |free: &[usize]| -> Vec<f64> {
        let columns = Mat::from_fn(design.nrows(), free.len(), |i, j| design[(i, free[j])]);
        match least_squares(columns.as_ref(), right.as_ref(), 1e-12) {
            Ok(found) => found.col(0).iter().copied().collect(),
            Err(error) => {
                failed.borrow_mut().get_or_insert(error);
                vec![0.0; free.len()]
            }
        }
    };
    let diagonal: Vec<f64> = design.col_iter().map(|col| col.squared_norm_l2()).collect();
    let target = slope(&vec![0.0; p]);
    let found = active_sets(p, &diagonal, &target, slope, solve);
    match failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(found),
    }
}

fn active_sets(
    p: usize,
    diagonal: &[f64],
    target: &[f64],
    slope: impl Fn(&[f64]) -> Vec<f64>,
    solve: impl Fn(&[usize]) -> Vec<f64>,
) -> Vec<f64> {
    let mut w = vec![0.0; p];
    let mut free = vec![false; p];
    let mut barred = vec![false; p];
    // A slope below rounding of what it is the difference of is none.
    let size = |j: usize| {
        1e-13
            * (target[j].abs()
                + (diagonal[j] * diagonal.iter().fold(0.0, |a: f64, d| a.max(*d))).sqrt() * 1e-3)
    };
    for _ in 0..30 * p.max(1) {
        let rising = slope(&w);
        let next = (0..p)
            .filter(|&j| !free[j] && !barred[j] && diagonal[j] > 0.0 && rising[j] > size(j))
            .max_by(|&a, &b| rising[a].total_cmp(&rising[b]).then(b.cmp(&a)));
        let Some(next) = next else { break };
        free[next] = true;
        let mut first = true;
        loop {
            let members: Vec<usize> = (0..p).filter(|&j| free[j]).collect();
            let full = solve(&members);
            let at_next = members.iter().position(|&j| j == next);
            // A coefficient that would enter with the wrong sign is there by rounding alone.
            if first && at_next.is_some_and(|at| !(full[at] > 0.0)) {
                (free[next], barred[next]) = (false, true);
                break;
            }
            first = false;
            if full.iter().all(|&value| value > 0.0) {
                for (&j, &value) in members.iter().zip(&full) {
                    w[j] = value;
                }
                barred.fill(false);
                break;
            }
            // As far towards the solution as all stay positive; who reaches 0 leaves.
            let step = members
                .iter()
                .zip(&full)
                .filter(|(_, value)| !(**value > 0.0))
                .map(|(&j, &value)| w[j] / (w[j] - value))
                .fold(1.0, f64::min);
            for (&j, &value) in members.iter().zip(&full) {
                w[j] += step * (value - w[j]);
                if !(value > 0.0) && w[j] <= 1e-15 * value.abs().max(f64::MIN_POSITIVE) {
                    (w[j], free[j]) = (0.0, false);
                }
            }
            if members.iter().all(|&j| free[j]) {
                // Rounding kept the one that limits the step; it is the smallest.
                if let Some(&least) = members.iter().min_by(|&&a, &&b| w[a].total_cmp(&w[b])) {
                    (w[least], free[least]) = (0.0, false);
                }
            }
        }
    }
    w
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{cross, gram};
    use crate::stats::rng::Stream;

    #[test]
    fn by_hand() {
        // G = [2 1; 1 2], b = (1, 5): unconstrained (−1, 3), so w = (0, 5/2).
        let g = Mat::from_fn(2, 2, |i, j| if i == j { 2.0 } else { 1.0 });
        let found = nnls(g.as_ref(), &[1.0, 5.0]);
        assert!(found[0] == 0.0 && (found[1] - 2.5).abs() < 1e-14, "{found:?}");
        assert_eq!(nnls(g.as_ref(), &[-1.0, 0.0]), [0.0, 0.0]);
        let found = nnls(g.as_ref(), &[3.0, 3.0]);
        assert!(found.iter().all(|w| (w - 1.0).abs() < 1e-15));
    }

    #[test]
    fn the_conditions_of_the_minimum_hold_either_way() {
        for index in 0..40 {
            let mut stream = Stream::new(3, "nnls", index);
            let (n, p) = (15, 1 + index as usize % 9);
            let mut design = Mat::from_fn(n, p, |_, _| stream.normal().abs());
            if index % 4 == 0 && p > 2 {
                // Two columns that nearly agree, and one without anything.
                for i in 0..n {
                    design[(i, 1)] = design[(i, 0)] * (1.0 + 1e-9 * i as f64);
                    design[(i, 2)] = 0.0;
                }
            }
            let y: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
            let right = Mat::from_fn(n, 1, |i, _| y[i]);
            let target: Vec<f64> = cross(design.as_ref(), right.as_ref()).col(0).iter().copied().collect();
            let g = gram(design.as_ref());
            for (w, tolerance) in
                [(nnls(g.as_ref(), &target), 1e-6), (nnls_of_design(design.as_ref(), &y).unwrap(), 1e-6)]
            {
                for j in 0..p {
                    let slope = target[j] - (0..p).map(|k| g[(j, k)] * w[k]).sum::<f64>();
                    assert!(w[j] >= 0.0 && slope < tolerance, "{index}: {slope} at {w:?}");
                    assert!(w[j] == 0.0 || slope.abs() < tolerance, "{index}: {slope} at {w:?}");
                }
            }
        }
    }
}
