//! A network beside a brain, in one call.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::manifold::{Smoothing, TubularityParams};
use stereotax::pipelines::physiology::{self as view, Column, PhysiologyParams, Population, Role};
use stereotax::tensor::prepare::Normalise;

use crate::decoding::{Settings, classifier};
use crate::error::Result;
use crate::responses::Responses;
use crate::{options, watch};

/// Smoothing of modules, normalisation, ranks, the rank, starts, iterations.
type Factors = (f64, String, Vec<usize>, Option<usize>, usize, usize);
/// Coordinates, components of paths, components of dynamics, folds, repeats.
type Sizes = (usize, usize, usize, usize, usize);
/// Draws (0: none), smoothing of the centre line, whether units are matched.
type Tubes = (usize, f64, bool);

/// Tables by name: dictionaries of columns.
#[pyfunction]
pub fn physiology<'py>(
    py: Python<'py>,
    populations: Vec<(String, bool, PyRef<'py, Responses>)>,
    factors: Factors,
    sizes: Sizes,
    tubes: Tubes,
    settings: Settings,
    measures: Vec<String>,
    n_permutations: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let populations: Vec<Population> = populations
        .iter()
        .map(|(name, module, responses)| Population {
            name: name.clone(),
            role: if *module { Role::Module } else { Role::Area },
            responses: responses.tensor().clone(),
        })
        .collect();
    let words = [
        ("relative_norm", Normalise::RelativeNorm),
        ("per_map", Normalise::PerMap),
        ("maximum", Normalise::Maximum),
        ("mean", Normalise::Mean),
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
        n_folds: sizes.3,
        n_repeats: sizes.4,
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
