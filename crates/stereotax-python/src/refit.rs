//! Tests of encoding scores against refits to permuted responses.

use faer::{Mat, MatRef};
use numpy::{Element, PyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::Result as CoreResult;
use stereotax::data::{Fold, Runs};
use stereotax::encoding::{RidgeParams, RidgePlan, generalised_refits, held_out_refits};
use stereotax::linalg::{Real, select_rows};
use stereotax::stats::null_draws::NullDraws;
use stereotax::stats::score::{NullParams, NullScheme};

use crate::arrays::Matrix;
use crate::convert::dict;
use crate::error::Result;
use crate::ridge::{inner_folds, ridge_params};
use crate::watch;

/// Test each target; without folds by generalised cross-validation, else by held-out correlation.
#[pyfunction]
#[pyo3(signature = (x, y, folds, alphas, absolute, fit_intercept, runs, blocks, min_shift, n_permutations, seed))]
pub fn encoding_test<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    folds: Vec<(Vec<usize>, Vec<usize>)>,
    alphas: Vec<f64>,
    absolute: bool,
    fit_intercept: bool,
    runs: Option<Vec<String>>,
    blocks: Option<Vec<String>>,
    min_shift: usize,
    n_permutations: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let params = ridge_params(alphas, absolute, true, false, fit_intercept, "gcv");
    let scheme = match blocks {
        Some(block_ids) => NullScheme::Blocks { block_ids },
        None => NullScheme::CircularShift { min_shift },
    };
    // Null statistics come from refits: nothing is widened.
    let null = NullParams { scheme, n_permutations, seed, spread: 1.0 };
    let folds = inner_folds(folds);
    // In single precision where both are.
    if let (Some(x), Some(y)) = (Matrix::single("X", x), Matrix::single("y", y)) {
        return test(py, x?.view(), y?.view(), &folds, &params, runs, &null);
    }
    test(py, Matrix::new("X", x)?.view(), Matrix::new("y", y)?.view(), &folds, &params, runs, &null)
}

fn test<'py, T: Real + Element>(
    py: Python<'py>,
    x: MatRef<'_, T>,
    y: MatRef<'_, T>,
    folds: &[Fold],
    params: &RidgeParams,
    runs: Option<Vec<String>>,
    null: &NullParams,
) -> Result<Bound<'py, PyDict>> {
    let (found, support) = watch::run(py, |monitor| -> CoreResult<_> {
        let runs = match &runs {
            Some(labels) => Runs::from_labels(labels)?,
            None => Runs::single(x.nrows()),
        };
        let draws = NullDraws::new(&runs, null)?;
        let found = if folds.is_empty() {
            let none = Mat::<T>::zeros(0, x.ncols());
            let plan = RidgePlan::new(x, none.as_ref(), &[], params)?;
            generalised_refits(&plan, y, &draws, monitor)?
        } else {
            let rows = |rows: &[usize]| select_rows(x, rows);
            let plans = folds
                .iter()
                .map(|fold| {
                    RidgePlan::new(rows(&fold.train).as_ref(), rows(&fold.test).as_ref(), &[], params)
                })
                .collect::<CoreResult<Vec<_>>>()?;
            held_out_refits(folds, &plans, y, &draws, monitor)?
        };
        Ok((found, draws.support))
    })?;
    Ok(dict!(py, {
        "statistic": PyArray1::from_vec(py, found.statistic),
        "p_value": PyArray1::from_vec(py, found.p_value),
        "p_adjusted": PyArray1::from_vec(py, found.p_adjusted),
        "maxima": PyArray1::from_vec(py, found.maxima),
        "smallest_p": support.smallest_p,
        "warning": support.warning,
    }))
}
