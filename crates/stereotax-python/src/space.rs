//! Compare groups of models that were scored one by one.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::pipelines::group::{
    GroupParams, ModelInfo, PointStatus, ScoredModel, SpaceRois, compare_groups, space_of,
};
use stereotax_study::{settings, show_scores_without_point};

use crate::error::Result;
use crate::tables::{ToldScores, read_scores, tell_group};
use crate::{choices, watch};

/// Every choice of a comparison of groups, checked: those of `[analysis.nfas]` in a study file.
#[pyclass(frozen, module = "stereotax._core")]
#[derive(Debug)]
pub struct SpaceParams {
    inner: GroupParams,
}

#[pymethods]
impl SpaceParams {
    #[new]
    #[pyo3(signature = (
        choices, *, n_permutations, n_bootstraps, level, min_models, convergence_threshold, n_shuffles, seed
    ))]
    fn new(
        choices: &str,
        n_permutations: usize,
        n_bootstraps: usize,
        level: f64,
        min_models: usize,
        convergence_threshold: f64,
        n_shuffles: usize,
        seed: u64,
    ) -> Result<Self> {
        let settings = choices::read(choices, "ModelSpace", false)?;
        Ok(SpaceParams {
            inner: GroupParams {
                n_permutations,
                n_bootstraps,
                level,
                min_models,
                convergence_threshold,
                expected_n_shuffles: n_shuffles,
                ..settings::group(&settings, seed)
            },
        })
    }

    /// What was understood, in full.
    fn __repr__(&self) -> String {
        format!("{:?}", self.inner)
    }
}

/// A model with its scores, as Python knows it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct ToldModel<'py> {
    name: String,
    modality: String,
    family: String,
    benchmark: String,
    trained: bool,
    twin_of: Option<String>,
    reason: Option<String>,
    stimuli: String,
    scores: Vec<ToldScores<'py>>,
    ceilings: Vec<f64>,
    masked: Vec<bool>,
}

/// Coordinates, consistency, tests, convergence, controls and significance of the models of one space.
#[pyfunction]
#[pyo3(signature = (name, rois, networks, models, params))]
pub fn compare_models<'py>(
    py: Python<'py>,
    name: &str,
    rois: Vec<String>,
    networks: Vec<Option<String>>,
    models: Vec<ToldModel<'py>>,
    params: &SpaceParams,
) -> Result<Bound<'py, PyDict>> {
    let models = models
        .into_iter()
        .map(|m| {
            Ok(ScoredModel {
                info: ModelInfo {
                    name: m.name,
                    modality: m.modality,
                    family: m.family,
                    benchmark: m.benchmark,
                    trained: m.trained,
                    twin_of: m.twin_of,
                    verdict: m.reason.map_or(PointStatus::Placed, PointStatus::NoPoint),
                },
                stimuli: m.stimuli,
                scores: read_scores(m.scores)?,
                ceilings: m.ceilings,
                masked: m.masked,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let spaces = [space_of(name, SpaceRois { names: rois, networks }, models)?];
    let group = watch::run(py, |monitor| -> stereotax::Result<_> {
        let mut group = compare_groups(&spaces, &params.inner, monitor)?;
        show_scores_without_point(&spaces, &mut group);
        Ok(group)
    })?;
    tell_group(py, &group)
}
