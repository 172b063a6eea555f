//! Transfer of encoders between modalities.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::data::Runs;
use stereotax::encoding::{self, AlphaGrid, AlphaScale, Modality, RidgeParams, TransferParams};

use crate::arrays::Matrix;
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// Name, features, responses, run of each sample.
type Given<'py> = (String, Bound<'py, PyAny>, Bound<'py, PyAny>, Vec<String>);

/// Scores of all pairs of modalities.
#[pyfunction]
#[pyo3(signature = (modalities, alphas, delays, n_folds, n_inner, dimensions, n_permutations, block, seed))]
pub fn transfer_matrix<'py>(
    py: Python<'py>,
    modalities: Vec<Given<'py>>,
    alphas: Vec<f64>,
    delays: Vec<usize>,
    n_folds: usize,
    n_inner: usize,
    dimensions: Vec<usize>,
    n_permutations: usize,
    block: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let held = modalities
        .iter()
        .map(|(name, x, y, runs)| {
            Ok((name.as_str(), Matrix::new(name, x)?, Matrix::new(name, y)?, Runs::from_labels(runs)?))
        })
        .collect::<Result<Vec<_>>>()?;
    let views: Vec<Modality<'_>> = held
        .iter()
        .map(|(name, x, y, runs)| Modality { name, features: x.view(), responses: y.view(), runs })
        .collect();
    let alphas = AlphaGrid { values: alphas, scale: AlphaScale::MeanSquare };
    let ridge = RidgeParams { alphas, ..RidgeParams::default() };
    let params = TransferParams { ridge, delays, n_folds, n_inner, dimensions, n_permutations, block, seed };
    let found = watch::run(py, |monitor| encoding::transfer_matrix(&views, &params, monitor))?;
    let cells = found
        .cells
        .into_iter()
        .map(|cell| {
            Ok(dict!(py, {
                "train": cell.train,
                "test": cell.test,
                "r": PyArray1::from_vec(py, cell.r),
                "mean_r": cell.mean_r,
                "ratio": cell.ratio,
                "p_values": PyArray1::from_vec(py, cell.p_values),
                "p_value": cell.p_value,
                "shared": cell.shared,
            }))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(dict!(py, { "cells": cells, "dimensions": found.dimensions, "n_folds": found.n_folds }))
}
