//! Retrieval scores: 2-versus-2, rank accuracy, top-k.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::stats::retrieval::{self, Chance, Direction, Matched};

use crate::arrays::Matrix;
use crate::convert::dict;
use crate::error::Result;
use crate::{options, watch};

/// What every score is told: stimuli, similarity, permutations, seed.
type Told = (Vec<String>, String, usize, u64);

/// 2-versus-2 accuracy.
#[pyfunction]
#[pyo3(signature = (predicted, observed, told))]
pub fn two_vs_two<'py>(
    py: Python<'py>,
    predicted: &Bound<'py, PyAny>,
    observed: &Bound<'py, PyAny>,
    told: Told,
) -> Result<Bound<'py, PyDict>> {
    let (p, t) = (Matrix::new("predicted", predicted)?, Matrix::new("observed", observed)?);
    let data = matched(&p, &t, &told)?;
    let found = watch::run(py, |monitor| retrieval::two_vs_two(&data, monitor))?;
    let out = tell_chance(py, &found.accuracy)?;
    out.set_item("per_row", PyArray1::from_vec(py, found.per_row))?;
    out.set_item("n_pairs", found.n_pairs)?;
    out.set_item("n_ties", found.n_ties)?;
    out.set_item("n_undefined", found.n_undefined)?;
    Ok(out)
}

/// Ranks and top-k accuracies in one direction.
#[pyfunction]
#[pyo3(signature = (predicted, observed, told, backward, ks, n_candidates))]
pub fn retrieve<'py>(
    py: Python<'py>,
    predicted: &Bound<'py, PyAny>,
    observed: &Bound<'py, PyAny>,
    told: Told,
    backward: bool,
    ks: Vec<usize>,
    n_candidates: Option<usize>,
) -> Result<Bound<'py, PyDict>> {
    let (p, t) = (Matrix::new("predicted", predicted)?, Matrix::new("observed", observed)?);
    let data = matched(&p, &t, &told)?;
    let direction = if backward { Direction::Backward } else { Direction::Forward };
    let found = watch::run(py, |monitor| retrieval::retrieval(&data, direction, &ks, n_candidates, monitor))?;
    let counts = |of: Vec<usize>| PyArray1::from_vec(py, of.into_iter().map(|c| c as i64).collect());
    let top_k = found
        .top_k
        .iter()
        .map(|(k, chance)| Ok((*k, tell_chance(py, chance)?)))
        .collect::<Result<Vec<_>>>()?;
    Ok(dict!(py, {
        "ranks": counts(found.ranks),
        "n_candidates": counts(found.n_candidates),
        "top_k": top_k,
        "rank_accuracy": tell_chance(py, &found.rank_accuracy)?,
        "per_row": PyArray1::from_vec(py, found.per_row),
        "mean_rank": found.mean_rank,
        "median_rank": found.median_rank,
        "mean_reciprocal_rank": found.mean_reciprocal_rank,
        "n_undefined": found.n_undefined,
    }))
}

fn matched<'a>(p: &'a Matrix<'_>, t: &'a Matrix<'_>, told: &'a Told) -> Result<Matched<'a>> {
    let (stimuli, similarity, n_permutations, seed) = told;
    let similarity = options::similarity(similarity)?;
    Ok(Matched {
        predicted: p.view(),
        observed: t.view(),
        stimuli,
        similarity,
        n_permutations: *n_permutations,
        seed: *seed,
    })
}

fn tell_chance<'py>(py: Python<'py>, found: &Chance) -> Result<Bound<'py, PyDict>> {
    Ok(dict!(py, {
        "accuracy": found.value,
        "chance": found.chance,
        "p_value": found.p_value,
        "null_q95": found.null_q95,
    }))
}
