//! Readouts of feature maps.

use faer::MatRef;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::data::Fold;
use stereotax::encoding::{
    self, AttentionFit, ChannelScale, FactorisedParams, FeatureMaps, GatedFit, PointParams, PooledHeads,
    PoolingParams,
};

use crate::arrays::{Matrix, to_array, to_mat};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// Channels, and height and width where positions are a grid.
type Shape = (usize, Option<(usize, usize)>);
/// Training and test rows of each fold.
type Folds = Vec<(Vec<usize>, Vec<usize>)>;

/// Fit factorised readouts.
#[pyfunction]
#[pyo3(signature = (x, shape, y, folds, rank, alphas, smoothness, non_negative, max_iterations, tolerance))]
pub fn factorised_readout<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    shape: Shape,
    y: &Bound<'py, PyAny>,
    folds: Folds,
    rank: usize,
    alphas: Vec<f64>,
    smoothness: f64,
    non_negative: bool,
    max_iterations: usize,
    tolerance: f64,
) -> Result<Bound<'py, PyDict>> {
    let (x, y) = (Matrix::new("X", x)?, Matrix::new("y", y)?);
    let (maps, y) = (maps(x.view(), shape), y.view());
    let params = FactorisedParams { rank, alphas, smoothness, non_negative, max_iterations, tolerance };
    let folds = named(folds);
    let fit = watch::run(py, |monitor| encoding::factorised_readout(&maps, y, &folds, &params, monitor))?;
    let of = |value: &dyn Fn(&encoding::FactorisedTarget) -> f64| {
        PyArray1::from_vec(py, fit.targets.iter().map(value).collect())
    };
    let stacked = |part: &dyn Fn(&encoding::FactorisedTarget) -> MatRef<'_, f64>| {
        fit.targets.iter().map(|t| to_array(py, part(t))).collect::<PyResult<Vec<_>>>()
    };
    Ok(dict!(py, {
        "masks": stacked(&|t| t.masks.as_ref())?,
        "features": stacked(&|t| t.features.as_ref())?,
        "coef": to_array(py, fit.weights.as_ref())?,
        "intercept": of(&|t| t.intercept),
        "alpha": of(&|t| t.alpha),
        "score": of(&|t| t.score),
        "n_iter": fit.targets.iter().map(|t| t.n_iterations).collect::<Vec<_>>(),
        "converged": fit.targets.iter().map(|t| t.converged).collect::<Vec<_>>(),
    }))
}

/// Fit point readouts.
#[pyfunction]
#[pyo3(signature = (x, shape, y, folds, alphas))]
pub fn point_readout<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    shape: Shape,
    y: &Bound<'py, PyAny>,
    folds: Folds,
    alphas: Vec<f64>,
) -> Result<Bound<'py, PyDict>> {
    let (x, y) = (Matrix::new("X", x)?, Matrix::new("y", y)?);
    let (maps, y) = (maps(x.view(), shape), y.view());
    let (params, folds) = (PointParams { alphas }, named(folds));
    let fit = watch::run(py, |monitor| encoding::point_readout(&maps, y, &folds, &params, monitor))?;
    let of = |value: &dyn Fn(&encoding::PointTarget) -> f64| {
        PyArray1::from_vec(py, fit.targets.iter().map(value).collect())
    };
    Ok(dict!(py, {
        "position": fit.targets.iter().map(|t| t.position).collect::<Vec<_>>(),
        "features": fit.targets.iter().map(|t| t.features.clone()).collect::<Vec<_>>(),
        "coef": to_array(py, fit.weights.as_ref())?,
        "intercept": of(&|t| t.intercept),
        "alpha": of(&|t| t.alpha),
        "score": of(&|t| t.score),
    }))
}

/// Penalty of heads, penalty of where, positions, starts, iterations, tolerance, seed.
type Search = (f64, f64, bool, usize, usize, f64, u64);

/// Fit an attention readout.
#[pyfunction]
#[pyo3(signature = (x, shape, y, regions, search))]
pub fn attention_readout<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    shape: Shape,
    y: &Bound<'py, PyAny>,
    regions: Vec<String>,
    search: Search,
) -> Result<Bound<'py, PyDict>> {
    let (x, y) = (Matrix::new("X", x)?, Matrix::new("y", y)?);
    let (maps, y) = (maps(x.view(), shape), y.view());
    let params = pooling(search);
    let fit = watch::run(py, |monitor| encoding::attention_readout(&maps, y, &regions, &params, monitor))?;
    let out = tell_pooled(py, &fit.pooled)?;
    out.set_item("queries", to_array(py, fit.queries.as_ref())?)?;
    out.set_item("position_queries", to_array(py, fit.position_queries.as_ref())?)?;
    Ok(out)
}

/// Predictions and attention maps of a fitted attention readout.
#[pyfunction]
#[pyo3(signature = (x, shape, fitted))]
pub fn attention_predict<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    shape: Shape,
    fitted: &Bound<'py, PyDict>,
) -> Result<(Bound<'py, PyAny>, Vec<Bound<'py, PyAny>>)> {
    let x = Matrix::new("X", x)?;
    let maps = maps(x.view(), shape);
    let fit = AttentionFit {
        queries: matrix(fitted, "queries")?,
        position_queries: matrix(fitted, "position_queries")?,
        pooled: read_pooled(fitted)?,
    };
    let (predicted, attention) = watch::run(py, |_| fit.predict(&maps))?;
    let arrays = attention.iter().map(|a| Ok(to_array(py, a.as_ref())?.into_any()));
    Ok((to_array(py, predicted.as_ref())?.into_any(), arrays.collect::<Result<_>>()?))
}

/// Fit masks with gates.
#[pyfunction]
#[pyo3(signature = (x, shape, y, regions, n_masks, search))]
pub fn gated_readout<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    shape: Shape,
    y: &Bound<'py, PyAny>,
    regions: Vec<String>,
    n_masks: usize,
    search: Search,
) -> Result<Bound<'py, PyDict>> {
    let (x, y) = (Matrix::new("X", x)?, Matrix::new("y", y)?);
    let (maps, y) = (maps(x.view(), shape), y.view());
    let params = pooling(search);
    let fit =
        watch::run(py, |monitor| encoding::gated_readout(&maps, y, &regions, n_masks, &params, monitor))?;
    let out = tell_pooled(py, &fit.pooled)?;
    let masks = fit.masks.iter().map(|m| to_array(py, m.as_ref())).collect::<PyResult<Vec<_>>>()?;
    out.set_item("masks", masks)?;
    out.set_item("parameters", fit.parameters)?;
    out.set_item("n_masks", fit.n_masks)?;
    out.set_item("n_positions", fit.n_positions)?;
    Ok(out)
}

/// Predictions and gates of fitted masks.
#[pyfunction]
#[pyo3(signature = (x, shape, fitted))]
pub fn gated_predict<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    shape: Shape,
    fitted: &Bound<'py, PyDict>,
) -> Result<(Bound<'py, PyAny>, Vec<Bound<'py, PyAny>>)> {
    let x = Matrix::new("X", x)?;
    let maps = maps(x.view(), shape);
    let fit = GatedFit {
        masks: vec![],
        parameters: item(fitted, "parameters")?.extract()?,
        n_masks: item(fitted, "n_masks")?.extract()?,
        n_positions: item(fitted, "n_positions")?.extract()?,
        pooled: read_pooled(fitted)?,
    };
    let said = watch::run(py, |_| fit.predict(&maps))?;
    let gates = said.gates.iter().map(|a| Ok(to_array(py, a.as_ref())?.into_any()));
    Ok((to_array(py, said.predicted.as_ref())?.into_any(), gates.collect::<Result<_>>()?))
}

fn maps<'a>(values: MatRef<'a, f64>, (n_channels, grid): Shape) -> FeatureMaps<'a> {
    FeatureMaps { values, n_channels, grid }
}

fn named(folds: Folds) -> Vec<Fold> {
    let fold = |(i, (train, test)): (usize, _)| Fold { name: i.to_string(), train, test };
    folds.into_iter().enumerate().map(fold).collect()
}

fn pooling(search: Search) -> PoolingParams {
    let (head_alpha, penalty, positions, n_starts, max_iterations, tolerance, seed) = search;
    PoolingParams { head_alpha, penalty, positions, n_starts, max_iterations, tolerance, seed }
}

fn tell_pooled<'py>(py: Python<'py>, pooled: &PooledHeads) -> Result<Bound<'py, PyDict>> {
    let vector = |values: &Vec<f64>| PyArray1::from_slice(py, values);
    Ok(dict!(py, {
        "channel_means": vector(&pooled.scale.means),
        "channel_scales": vector(&pooled.scale.scales),
        "groups": pooled.groups.clone(),
        "group_of": pooled.group_of.clone(),
        "heads": to_array(py, pooled.heads.as_ref())?,
        "intercept": vector(&pooled.intercepts),
        "alpha": vector(&pooled.alphas),
        "loss": vector(&pooled.loss),
        "mean_pool_loss": vector(&pooled.mean_pool_loss),
        "n_iter": pooled.n_iterations.clone(),
        "converged": pooled.converged.clone(),
    }))
}

fn read_pooled(fitted: &Bound<'_, PyDict>) -> Result<PooledHeads> {
    Ok(PooledHeads {
        scale: ChannelScale {
            means: item(fitted, "channel_means")?.extract()?,
            scales: item(fitted, "channel_scales")?.extract()?,
        },
        groups: item(fitted, "groups")?.extract()?,
        group_of: item(fitted, "group_of")?.extract()?,
        heads: matrix(fitted, "heads")?,
        intercepts: item(fitted, "intercept")?.extract()?,
        alphas: vec![],
        loss: vec![],
        mean_pool_loss: vec![],
        n_iterations: vec![],
        converged: vec![],
    })
}

fn item<'py>(fitted: &Bound<'py, PyDict>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    fitted.as_any().get_item(name)
}

fn matrix(fitted: &Bound<'_, PyDict>, name: &str) -> Result<faer::Mat<f64>> {
    Ok(to_mat(Matrix::new(name, &item(fitted, name)?)?.view()))
}
