//! A network beside a brain, in one call.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::manifold::{Smoothing, TubularityParams};
use stereotax::pipelines::physiology::{self as view, Column, HeldOut, PhysiologyParams, Population, Role};
use stereotax::tensor::prepare::Normalise;

use crate::decoding::{Settings, classifier};
use crate::error::Result;
use crate::responses::Responses;
use crate::{options, watch};

/// Smoothing of modules, normalisation, ranks, the rank, starts, iterations.
type Factors = (f64, String, Vec<usize>, Option<usize>, usize, usize);
/// Coordinates, components of paths, components of dynamics.
type Sizes = (usize, usize, usize);
/// What decoding holds out, folds, deals of folds.
type Held = (String, usize, usize);
/// Draws (0: none), smoothing of the centre line, whether units are matched.
type Tubes = (usize, f64, bool);

/// Tables by name: dictionaries of columns.
#[pyfunction]
pub fn physiology<'py>(
    py: Python<'py>,
    populations: Vec<(String, bool, Vec<PyRef<'py, Responses>>)>,
    factors: Factors,
    sizes: Sizes,
    tubes: Tubes,
    held: Held,
    settings: Settings,
    measures: Vec<String>,
    n_permutations: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let populations: Vec<Population> = populations
        .iter()
        .map(|(name, module, repeats)| {
            let role = if *module { Role::Module } else { Role::Area };
            match repeats.as_slice() {
                [means] => Ok(Population::of_means(name, role, means.tensor().clone())),
                all => Population::of_repeats(name, role, all.iter().map(|r| r.tensor().clone()).collect()),
            }
        })
        .collect::<stereotax::Result<_>>()?;
    let words = [
        ("relative_norm", Normalise::RelativeNorm),
        ("per_map", Normalise::PerMap),
        ("maximum", Normalise::Maximum),
        ("mean", Normalise::Mean),
    ];
    let held_words = [
        ("automatic", HeldOut::Automatic),
        ("repeats", HeldOut::Repeats),
        ("directions", HeldOut::Directions),
        ("stratified", HeldOut::Stratified),
    ];
    let (n_draws, smoothing, matched) = tubes;
    let tubularity = TubularityParams {
        n_draws,
        smoothing: Smoothing::Absolute(smoothing),
        matched,
        ..Default::default()
    };
    let (classifier, scaling) = classifier(&settings)?;
    let params = PhysiologyParams {
        smoothing_bins: factors.0,
        normalise: options::choose("normalise", &factors.1, &words)?,
        ranks: factors.2,
        rank: factors.3,
        n_starts: factors.4,
        max_iterations: factors.5,
        n_coordinates: sizes.0,
        n_components: sizes.1,
        n_dynamical: sizes.2,
        held_out: options::choose("held_out", &held.0, &held_words)?,
        n_folds: held.1,
        n_repeats: held.2,
        tubularity: (n_draws > 0).then_some(tubularity),
        classifier,
        scaling,
        measures,
        n_permutations,
        seed,
    };
    let found = watch::run(py, |monitor| view::physiology(&populations, &params, monitor))?;
    let out = PyDict::new(py);
    for table in found.tables() {
        let columns = PyDict::new(py);
        for (name, column) in table.columns {
            match column {
                Column::Text(values) => columns.set_item(name, values)?,
                Column::Number(values) => columns.set_item(name, PyArray1::from_vec(py, values))?,
            }
        }
        out.set_item(table.name, columns)?;
    }
    Ok(out)
}
