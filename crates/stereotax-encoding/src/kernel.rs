//! Inner products of samples in a space of features that need not be written down.
//!
//! ```text
//! linear       k(x, z) = xᵀz
//! polynomial   k(x, z) = (γ xᵀz + c)^d
//! RBF          k(x, z) = exp(−γ ‖x − z‖²)
//! ```
//!
//! γ = 1/p for p units where it is not given, as in scikit-learn. Source: specs: peers 1.2.
//! Cost: O(n m p) time for n × m samples; tiles of samples run in parallel.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{dot, mirror_lower, product};

/// Which kernel.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// xᵀz.
    Linear,
    /// (γ xᵀz + c)^d.
    Polynomial {
        /// γ > 0; `None` for 1/units.
        gamma: Option<f64>,
        /// d ≥ 1.
        degree: u32,
        /// c ≥ 0.
        constant: f64,
    },
    /// exp(−γ ‖x − z‖²).
    Rbf {
        /// γ > 0; `None` for 1/units.
        gamma: Option<f64>,
    },
}

/// Samples of the right side worked on at a time.
const TILE: usize = 128;

/// k(a_i, b_j) for the rows of `a` and `b` (both samples × units).
///
/// Errors: other units on both sides; γ, d or c out of range.
pub fn kernel_matrix(a: MatRef<f64>, b: MatRef<f64>, kernel: Kernel) -> Result<Mat<f64>> {
    let p = a.ncols();
    if b.ncols() != p {
        return Err(Error::Shape {
            what: "samples".into(),
            expected: format!("{p} units"),
            found: format!("{} units", b.ncols()),
            hint: "use the same layer and components on both sides".into(),
        });
    }
    check(kernel)?;
    let gamma = |given: Option<f64>| given.unwrap_or(1.0 / p.max(1) as f64);
    let squares = |x: MatRef<f64>| -> Vec<f64> {
        let row = |i: usize| -> Vec<f64> { x.row(i).iter().copied().collect() };
        (0..x.nrows())
            .into_par_iter()
            .map(|i| {
                let row = row(i);
                dot(&row, &row)
            })
            .collect()
    };
    let (left, right) = match kernel {
        Kernel::Rbf { .. } => (squares(a), squares(b)),
        _ => (vec![], vec![]),
    };
    let mut out = Mat::zeros(a.nrows(), b.nrows());
    out.as_mut().par_col_chunks_mut(TILE).enumerate().for_each(|(at, mut out)| {
        let from = at * TILE;
        let mut found = product(a, b.get(from..from + out.ncols(), ..).transpose());
        for j in 0..out.ncols() {
            let column = found.col_as_slice_mut(j);
            match kernel {
                Kernel::Linear => {}
                Kernel::Polynomial { gamma: given, degree, constant } => {
                    let gamma = gamma(given);
                    column.iter_mut().for_each(|v| *v = (gamma * *v + constant).powi(degree as i32));
                }
                Kernel::Rbf { gamma: given } => {
                    let gamma = gamma(given);
                    column.iter_mut().zip(&left).for_each(|(v, left)| {
                        *v = (-gamma * (left + right[from + j] - 2.0 * *v).max(0.0)).exp();
                    });
                }
            }
            out.as_mut().col_mut(j).copy_from(found.col(j));
        }
    });
    Ok(out)
}

/// [`kernel_matrix`] of samples with themselves, exactly symmetric.
pub fn own_kernel(x: MatRef<f64>, kernel: Kernel) -> Result<Mat<f64>> {
    let mut out = kernel_matrix(x, x, kernel)?;
    mirror_lower(out.as_mut());
    Ok(out)
}

fn check(kernel: Kernel) -> Result<()> {
    let (gamma, degree, constant) = match kernel {
        Kernel::Linear => return Ok(()),
        Kernel::Polynomial { gamma, degree, constant } => (gamma, degree, constant),
        Kernel::Rbf { gamma } => (gamma, 1, 0.0),
    };
    let positive = gamma.is_none_or(|gamma| gamma > 0.0 && gamma.is_finite());
    if positive && (1..=100).contains(&degree) && constant >= 0.0 && constant.is_finite() {
        return Ok(());
    }
    Err(Error::Invalid {
        what: "kernel".into(),
        expected: "gamma above 0, a degree from 1 to 100, a constant of at least 0".into(),
        found: format!("{kernel:?}"),
        hint: "leave them out for 1/units, 3 and 1".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AlphaGrid, Intercept, RidgeParams, RidgePlan, Selection, Space};
    use stereotax_base::data::Fold;
    use stereotax_base::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(23, "kernel tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    #[test]
    fn kernels_by_hand() {
        // x = (1, 2), z = (3, −1): xᵀz = 1, ‖x − z‖² = 13.
        let x = Mat::from_fn(1, 2, |_, j| [1.0, 2.0][j]);
        let z = Mat::from_fn(1, 2, |_, j| [3.0, -1.0][j]);
        let k = |kernel| kernel_matrix(x.as_ref(), z.as_ref(), kernel).unwrap()[(0, 0)];
        assert_eq!(k(Kernel::Linear), 1.0);
        assert_eq!(k(Kernel::Polynomial { gamma: Some(2.0), degree: 3, constant: 1.0 }), 27.0);
        assert_eq!(k(Kernel::Polynomial { gamma: None, degree: 2, constant: 0.0 }), 0.25);
        assert!((k(Kernel::Rbf { gamma: Some(0.1) }) - (-1.3f64).exp()).abs() < 1e-16);
        assert!(kernel_matrix(x.as_ref(), z.as_ref(), Kernel::Rbf { gamma: Some(0.0) }).is_err());
        assert!(kernel_matrix(x.as_ref(), noise(2, 3, 9).as_ref(), Kernel::Linear).is_err());
    }

    #[test]
    fn a_linear_kernel_is_the_dual_ridge() {
        let (mut x, y) = (noise(60, 8, 0), noise(60, 90, 1));
        (0..60).for_each(|i| x[(i, 2)] += 5.0);
        let y = Mat::from_fn(60, 90, |i, j| y[(i, j)] + x[(i, j % 8)] + 3.0);
        let test = noise(10, 8, 2);
        let folds: Vec<Fold> = (0..4)
            .map(|f| Fold {
                name: format!("{f}"),
                train: (0..60).filter(|i| i % 4 != f).collect(),
                test: (0..60).filter(|i| i % 4 == f).collect(),
            })
            .collect();
        for selection in [Selection::Folds, Selection::LeaveOneOut, Selection::Generalised] {
            for intercept in [Intercept::Fitted, Intercept::None] {
                let params = RidgeParams {
                    alphas: AlphaGrid::absolute(&[0.1, 1.0, 10.0, 100.0]),
                    intercept,
                    selection,
                    space: Space::Dual,
                    ..RidgeParams::default()
                };
                let inner: &[Fold] = if selection == Selection::Folds { &folds } else { &[] };
                let plain = RidgePlan::new(x.as_ref(), test.as_ref(), inner, &params).unwrap();
                let k = own_kernel(x.as_ref(), Kernel::Linear).unwrap();
                let to_test = kernel_matrix(test.as_ref(), x.as_ref(), Kernel::Linear).unwrap();
                let plan = RidgePlan::of_kernel(k.as_ref(), to_test.as_ref(), inner, &params).unwrap();
                let (a, b) = (plain.fit(y.as_ref()).unwrap(), plan.fit(y.as_ref()).unwrap());
                assert_eq!(a.alphas, b.alphas);
                assert!((0..90).all(|j| (a.inner_scores[j] - b.inner_scores[j]).abs() < 1e-9));
                assert!((&a.predictions - &b.predictions).norm_max() < 1e-9);
                // And by the weights of the training rows.
                let dual = plan.dual_weights(k.as_ref(), y.as_ref(), &b.alphas).unwrap();
                let found = product(to_test.as_ref(), dual.coefficients.as_ref());
                let off = (0..10)
                    .flat_map(|i| (0..90).map(move |j| (i, j)))
                    .map(|(i, j)| (found[(i, j)] + dual.intercepts[j] - a.predictions[(i, j)]).abs())
                    .fold(0.0, f64::max);
                assert!(off < 1e-9, "{selection:?} {intercept:?}: {off}");
            }
        }
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        let none = Mat::zeros(0, 5);
        let params = RidgeParams { alphas: AlphaGrid::absolute(&[1.0]), ..RidgeParams::default() };
        let refusal = |k: &Mat<f64>| {
            RidgePlan::<f64>::of_kernel(k.as_ref(), none.as_ref(), &[], &params).unwrap_err().to_string()
        };
        let x = noise(5, 3, 3);
        let mut k = own_kernel(x.as_ref(), Kernel::Linear).unwrap();
        k[(1, 4)] += 1.0;
        assert!(refusal(&k).contains("symmetric"));
        let distances = Mat::from_fn(5, 5, |i, j| (i as f64 - j as f64).abs());
        assert!(refusal(&distances).contains("negative eigenvalues"), "{}", refusal(&distances));
        assert!(refusal(&Mat::full(5, 5, 2.0)).contains("alike"));
        assert!(refusal(&x).contains("5 × 5"));
    }
}
