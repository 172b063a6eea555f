//! Ridge from a kernel: the dual form where only inner products of samples are known.
//!
//! With K_ij = ⟨φ(x_i), φ(x_j)⟩ over the training rows and C = I − 1 1ᵀ/n (C = I without an intercept),
//!
//! ```text
//! C K C = U W Uᵀ      a(α) = U diag(1/(W + α)) Uᵀ C Y      ŷ(x) = Σ_i k(x, x_i) a_i + c
//! c = ȳ − aᵀ K 1/n    (a sums to 0, so that centring takes nothing else; c = 0 without an intercept)
//! ```
//!
//! Folds, leave-one-out and generalised cross-validation are those of [`RidgePlan`], whose dual decomposition
//! this is; features are centred, in the space of φ, on the training rows of every fold.
//!
//! Source: Saunders, Gammerman & Vovk 1998; specs: alignment-methods B6.1, peers 1.2. Differs from himalaya's
//! `KernelRidgeCV`: an intercept by default, penalties relative to mean(s²) by default, no resolution matrix
//! per penalty. Cost: O(n³) once and per fold, O(n² R) for R targets.

use std::sync::OnceLock;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::{
    Factor, InnerFold, Intercept, RidgeParams, RidgePlan, Selection, Space, TILE, check_design, dual_factor,
    inner_blocks, prepare_scores, shrink, tile_of, tiles_all_rows,
};
use crate::ridge::leave_one_out::OwnRows;
use stereotax_base::data::{Error, Fold, Result};
use stereotax_base::linalg::{Real, cross, dot, product, select_rows};

/// What predicts new samples from their kernel with the training rows.
#[derive(Debug, Clone)]
pub struct DualWeights<T = f64> {
    /// a, training rows × targets.
    pub coefficients: Mat<T>,
    /// c, one per target; 0 without an intercept.
    pub intercepts: Vec<f64>,
}

/// Sums of negative eigenvalues up to this share of the trace are rounding.
const INDEFINITE: f64 = 1e-6;

impl<T: Real> RidgePlan<T> {
    /// As [`RidgePlan::new`], from the kernel of the training rows (n × n) and that of the rows to predict
    /// with them (rows × n; no rows where only weights are wanted, from [`RidgePlan::dual_weights`]).
    ///
    /// mean(s²) is trace(CKC)/n. Errors: those of [`RidgePlan::new`], a kernel that is not square, not symmetric
    /// or has negative eigenvalues; `Space::Primal`.
    pub fn of_kernel(
        kernel: MatRef<f64>,
        cross_kernel: MatRef<f64>,
        inner: &[Fold],
        params: &RidgeParams,
    ) -> Result<Self> {
        let n = kernel.nrows();
        check_kernel(kernel)?;
        check_design(kernel, cross_kernel, inner, params)?;
        if params.space == Space::Primal {
            return Err(Error::Invalid {
                what: "space".into(),
                expected: "dual (or by shape)".into(),
                found: "primal".into(),
                hint: "a kernel has no units; give the features instead".into(),
            });
        }
        let kernel = kernel.to_owned();
        // Samples without units: what the dual form reads of them is how many they are.
        let none = Mat::zeros(n, 0);
        let all: Vec<usize> = (0..n).collect();
        let whole = dual_factor(&none, &kernel, &all, cross_kernel, params)?;
        check_definite(&whole)?;
        let mean_square = whole.trace / n as f64;
        if !(mean_square > 0.0) || whole.values.is_empty() {
            return Err(Error::ZeroVariance {
                what: "kernel".into(),
                detail: format!("all {n} samples are alike"),
                hint: "check that features and rows belong together".into(),
            });
        }
        let alphas = params.alphas.penalties(mean_square)?;
        let blocks = inner_blocks(&whole, inner, &alphas, params)?;
        let folds: Vec<InnerFold<T>> = match blocks {
            Some(_) => vec![],
            None => inner
                .par_iter()
                .map(|fold| {
                    let cross_kernel = select_rows(kernel.as_ref(), &fold.test);
                    let factor = dual_factor(&none, &kernel, &fold.train, cross_kernel.as_ref(), params)?;
                    let factor = prepare_scores(factor, &alphas, params.loss, T::ROUNDING)?.narrow();
                    Ok(InnerFold {
                        train: fold.train.clone(),
                        test: fold.test.clone(),
                        left_out: None,
                        factor,
                    })
                })
                .collect::<Result<_>>()?,
        };
        let partition = tiles_all_rows(&folds, n);
        let own = match params.selection {
            Selection::Folds => None,
            _ => Some(OwnRows::new(&none, &whole, &alphas, params)?),
        };
        Ok(RidgePlan {
            x: T::narrow(none),
            shift: vec![],
            alphas,
            mean_square,
            folds,
            blocks,
            partition,
            whole: whole.narrow(),
            turned_back: OnceLock::new(),
            own,
            params: params.clone(),
        })
    }

    /// The weights of the training rows at the given penalties (absolute, one per target); `kernel` is that of
    /// [`RidgePlan::of_kernel`].
    ///
    /// A NaN penalty gives NaN weights. Errors: a plan that was not made in sample space, other shapes.
    pub fn dual_weights(&self, kernel: MatRef<f64>, y: MatRef<T>, alphas: &[f64]) -> Result<DualWeights<T>> {
        self.check_targets(y)?;
        self.check_alphas(y, alphas)?;
        let n = y.nrows();
        if self.whole.space != Space::Dual || (kernel.nrows(), kernel.ncols()) != (n, n) {
            return Err(Error::Shape {
                what: "kernel".into(),
                expected: format!("{n} × {n} (training rows), and a plan in sample space"),
                found: format!("{} × {}", kernel.nrows(), kernel.ncols()),
                hint: "give the kernel that the plan was made of".into(),
            });
        }
        let row_means: Vec<f64> = match self.params.intercept {
            Intercept::Fitted => (0..n).map(|j| kernel.col(j).iter().sum::<f64>() / n as f64).collect(),
            Intercept::None => vec![0.0; n],
        };
        let row_means: Vec<T> = row_means.into_iter().map(T::from_f64).collect();
        let all: Vec<usize> = (0..n).collect();
        let mut coefficients = Mat::zeros(n, y.ncols());
        let intercepts: Vec<Vec<f64>> = coefficients
            .as_mut()
            .par_col_chunks_mut(TILE)
            .enumerate()
            .map(|(at, mut out)| {
                let from = at * TILE;
                let (centred, means) = self.centred_targets(tile_of(y, from).as_ref(), &all);
                let mut b = cross(self.whole.basis.as_ref(), centred.as_ref());
                for j in 0..out.ncols() {
                    shrink(b.col_as_slice_mut(j), &self.whole.values, alphas[from + j]);
                }
                let found = product(self.whole.basis.as_ref(), b.as_ref());
                (0..out.ncols())
                    .map(|j| {
                        out.as_mut().col_mut(j).copy_from(found.col(j));
                        means[j] - dot(found.col_as_slice(j), &row_means)
                    })
                    .collect()
            })
            .collect();
        Ok(DualWeights { coefficients, intercepts: intercepts.concat() })
    }
}

fn check_kernel(kernel: MatRef<f64>) -> Result<()> {
    let n = kernel.nrows();
    if kernel.ncols() != n {
        return Err(Error::Shape {
            what: "kernel".into(),
            expected: format!("{n} × {n} (training rows)"),
            found: format!("{n} × {}", kernel.ncols()),
            hint: "the kernel of the training rows with themselves is square".into(),
        });
    }
    let largest = (0..n).map(|i| kernel[(i, i)].abs()).fold(0.0, f64::max);
    let pair = (0..n).flat_map(|j| (0..j).map(move |i| (i, j)));
    match pair.into_iter().find(|&(i, j)| (kernel[(i, j)] - kernel[(j, i)]).abs() > 1e-5 * largest) {
        None => Ok(()),
        Some((i, j)) => Err(Error::Invalid {
            what: "kernel".into(),
            expected: "a symmetric matrix".into(),
            found: format!("{} at ({i}, {j}) and {} at ({j}, {i})", kernel[(i, j)], kernel[(j, i)]),
            hint: "row i and column i must be the same sample".into(),
        }),
    }
}

/// Kept eigenvalues sum to more than the trace by what was negative.
fn check_definite(whole: &Factor<f64>) -> Result<()> {
    let kept: f64 = whole.values.iter().sum();
    if kept - whole.trace <= INDEFINITE * kept {
        return Ok(());
    }
    Err(Error::Invalid {
        what: "kernel".into(),
        expected: "no negative eigenvalues".into(),
        found: format!("negative eigenvalues that sum to {:.3e} beside {kept:.3e}", whole.trace - kept),
        hint: "a kernel is a matrix of inner products; distances are none".into(),
    })
}
