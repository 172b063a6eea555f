//! Ridge with a penalty per target, chosen by cross-validation.

use faer::{Mat, MatRef};
use numpy::{Element, PyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::Result as CoreResult;
use stereotax::data::Fold;
use stereotax::encoding::{
    AlphaChoice, AlphaGrid, AlphaScale, CvRoute, InnerLoss, Intercept, RidgeParams, RidgePlan, Selection,
};
use stereotax::linalg::Real;

use crate::arrays::{Matrix, new_array, to_array};
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
    let params = ridge_params(alphas, absolute, per_target, by_correlation, fit_intercept, selection);
    let inner = inner_folds(folds);
    // In single precision where both are.
    if let (Some(x), Some(y)) = (Matrix::single("X", x), Matrix::single("y", y)) {
        return fit(py, x?.view(), y?.view(), &inner, &params, keep);
    }
    fit(py, Matrix::new("X", x)?.view(), Matrix::new("y", y)?.view(), &inner, &params, keep)
}

/// The choices that ridges of all kinds share.
pub(crate) fn ridge_params(
    alphas: Vec<f64>,
    absolute: bool,
    per_target: bool,
    by_correlation: bool,
    fit_intercept: bool,
    selection: &str,
) -> RidgeParams {
    RidgeParams {
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
    }
}

/// What judged the penalties, in a word.
pub(crate) fn route_word(route: CvRoute) -> Option<&'static str> {
    match route {
        CvRoute::None => None,
        CvRoute::Folds => Some("folds"),
        CvRoute::Blocks => Some("blocks"),
        CvRoute::LeaveOneOut => Some("loo"),
        CvRoute::Generalised => Some("gcv"),
    }
}

/// Rows of training and test, each in ascending order.
pub(crate) fn inner_folds(folds: Vec<(Vec<usize>, Vec<usize>)>) -> Vec<Fold> {
    folds
        .into_iter()
        .enumerate()
        .map(|(i, (mut train, mut test))| {
            train.sort_unstable();
            test.sort_unstable();
            Fold { name: format!("{i}"), train, test }
        })
        .collect()
}

fn fit<'py, T: Real + Element>(
    py: Python<'py>,
    x: MatRef<'_, T>,
    y: MatRef<'_, T>,
    inner: &[Fold],
    params: &RidgeParams,
    keep: bool,
) -> Result<Bound<'py, PyDict>> {
    let (coef, weights) = new_array(py, x.ncols(), y.ncols());
    let (fit, intercepts, held_out) = watch::run(py, |_| -> CoreResult<_> {
        // Weights are asked for, not predictions: no rows are held out.
        let none = Mat::<T>::zeros(0, x.ncols());
        let plan = RidgePlan::new(x, none.as_ref(), inner, params)?;
        let fit = plan.fit(y)?;
        let intercepts = plan.weights_into(y, &fit.alphas, weights)?;
        let held_out = keep.then(|| plan.inner_predictions(y, &fit.alphas)).transpose()?;
        Ok((fit, intercepts, held_out))
    })?;
    Ok(dict!(py, {
        "coef": coef,
        "intercept": PyArray1::from_vec(py, intercepts),
        "alpha": PyArray1::from_vec(py, fit.alphas),
        "score": PyArray1::from_vec(py, fit.inner_scores),
        "held_out": held_out.map(|values| to_array(py, values.as_ref())).transpose()?,
        "rank": fit.rank,
        "mean_square": fit.mean_square,
        "route": route_word(fit.route),
    }))
}
