//! Ridge with a penalty per target, chosen by cross-validation.

use faer::Mat;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::Result as CoreResult;
use stereotax::data::Fold;
use stereotax::encoding::{
    AlphaChoice, AlphaGrid, AlphaScale, InnerLoss, Intercept, RidgeParams, RidgePlan, Selection,
};

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// Choose penalties and fit weights on all rows.
#[pyfunction]
#[pyo3(signature = (x, y, folds, alphas, absolute, per_target, by_correlation, fit_intercept, selection, keep))]
pub fn ridge_cv<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    folds: Vec<(Vec<usize>, Vec<usize>)>,
    alphas: Vec<f64>,
    absolute: bool,
    per_target: bool,
    by_correlation: bool,
    fit_intercept: bool,
    selection: &str,
    keep: bool,
) -> Result<Bound<'py, PyDict>> {
    let params = RidgeParams {
        alphas: AlphaGrid {
            values: alphas,
            scale: if absolute { AlphaScale::Absolute } else { AlphaScale::MeanSquare },
        },
        alpha_choice: if per_target { AlphaChoice::PerTarget } else { AlphaChoice::Shared },
        loss: if by_correlation { InnerLoss::Correlation } else { InnerLoss::SquaredError },
        intercept: if fit_intercept { Intercept::Fitted } else { Intercept::None },
        selection: match selection {
            "loo" => Selection::LeaveOneOut,
            "gcv" => Selection::Generalised,
            _ => Selection::Folds,
        },
        ..RidgeParams::default()
    };
    let inner: Vec<Fold> = folds
        .into_iter()
        .enumerate()
        .map(|(i, (mut train, mut test))| {
            train.sort_unstable();
            test.sort_unstable();
            Fold { name: format!("{i}"), train, test }
        })
        .collect();
    let (x, y) = (Matrix::new("X", x)?, Matrix::new("y", y)?);
    let (x, y) = (x.view(), y.view());
    let (fit, weights, held_out) = watch::run(py, |_| -> CoreResult<_> {
        // Weights are asked for, not predictions: no rows are held out.
        let none = Mat::<f64>::zeros(0, x.ncols());
        let plan = RidgePlan::new(x, none.as_ref(), &inner, &params)?;
        let fit = plan.fit(y)?;
        let weights = plan.weights(y, &fit.alphas)?;
        let held_out = keep.then(|| plan.inner_predictions(y, &fit.alphas)).transpose()?;
        Ok((fit, weights, held_out))
    })?;
    Ok(dict!(py, {
        "coef": to_array(py, weights.weights.as_ref())?,
        "intercept": PyArray1::from_vec(py, weights.intercepts),
        "alpha": PyArray1::from_vec(py, fit.alphas),
        "score": PyArray1::from_vec(py, fit.inner_scores),
        "held_out": held_out.map(|values| to_array(py, values.as_ref())).transpose()?,
        "rank": fit.rank,
        "mean_square": fit.mean_square,
    }))
}
