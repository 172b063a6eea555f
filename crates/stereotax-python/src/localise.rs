//! Units that respond more to one kind of stimulus.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::encoding::{self, ControlUnits, Localiser, LocaliserParams, Overlap, Welch};

use crate::arrays::Matrix;
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// At most how many units, level, |activation|.
type Told = (usize, f64, bool);

/// Test and select.
#[pyfunction]
#[pyo3(signature = (positive, negative, told))]
pub fn localise_units<'py>(
    py: Python<'py>,
    positive: Vec<Bound<'py, PyAny>>,
    negative: Vec<Bound<'py, PyAny>>,
    told: Told,
) -> Result<Bound<'py, PyDict>> {
    let (a, b) = (layers("positive", &positive)?, layers("negative", &negative)?);
    let (a, b): (Vec<_>, Vec<_>) =
        (a.iter().map(Matrix::view).collect(), b.iter().map(Matrix::view).collect());
    let params = params(told);
    let found = watch::run(py, |_| encoding::localise_units(&a, &b, &params))?;
    let of = |value: &dyn Fn(&Welch) -> f64| PyArray1::from_vec(py, found.tests.iter().map(value).collect());
    Ok(dict!(py, {
        "t": of(&|w| w.t),
        "df": of(&|w| w.df),
        "p_value": of(&|w| w.p_value),
        "q_value": PyArray1::from_vec(py, found.q_values),
        "selected": PyArray1::from_vec(py, found.selected),
        "n_dead": found.n_dead,
    }))
}

/// Choose in one half and test in the other.
#[pyfunction]
#[pyo3(signature = (positive, negative, told, n_splits, seed))]
pub fn validate_units<'py>(
    py: Python<'py>,
    positive: Vec<Bound<'py, PyAny>>,
    negative: Vec<Bound<'py, PyAny>>,
    told: Told,
    n_splits: usize,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let (a, b) = (layers("positive", &positive)?, layers("negative", &negative)?);
    let (a, b): (Vec<_>, Vec<_>) =
        (a.iter().map(Matrix::view).collect(), b.iter().map(Matrix::view).collect());
    let params = params(told);
    let found = watch::run(py, |monitor| encoding::validate_units(&a, &b, &params, n_splits, seed, monitor))?;
    Ok(dict!(py, {
        "dice": found.iter().map(|h| h.overlap.dice).collect::<Vec<_>>(),
        "jaccard": found.iter().map(|h| h.overlap.jaccard).collect::<Vec<_>>(),
        "overlap": found.iter().map(|h| h.overlap.n_both).collect::<Vec<_>>(),
        "expected": found.iter().map(|h| h.overlap.expected).collect::<Vec<_>>(),
        "p_overlap": found.iter().map(|h| h.overlap.p_value).collect::<Vec<_>>(),
        "t_first": found.iter().map(|h| h.contrast[0].t).collect::<Vec<_>>(),
        "p_first": found.iter().map(|h| h.contrast[0].p_value).collect::<Vec<_>>(),
        "t_second": found.iter().map(|h| h.contrast[1].t).collect::<Vec<_>>(),
        "p_second": found.iter().map(|h| h.contrast[1].p_value).collect::<Vec<_>>(),
        "share_positive_first": found.iter().map(|h| h.share_positive[0]).collect::<Vec<_>>(),
        "share_positive_second": found.iter().map(|h| h.share_positive[1]).collect::<Vec<_>>(),
    }))
}

/// Compare two selections.
#[pyfunction]
#[pyo3(signature = (first, second, eligible))]
pub fn selection_overlap<'py>(
    py: Python<'py>,
    first: Vec<bool>,
    second: Vec<bool>,
    eligible: Vec<bool>,
) -> Result<Bound<'py, PyDict>> {
    let Overlap { n_first, n_second, n_both, dice, jaccard, expected, p_value } =
        encoding::selection_overlap(&first, &second, &eligible)?;
    Ok(dict!(py, {
        "n_first": n_first,
        "n_second": n_second,
        "n_both": n_both,
        "dice": dice,
        "jaccard": jaccard,
        "expected": expected,
        "p_value": p_value,
    }))
}

/// Units to compare with, by t and what is selected.
#[pyfunction]
#[pyo3(signature = (t, selected, n_units, kind, percentiles, seed))]
pub fn control_units<'py>(
    py: Python<'py>,
    t: Vec<f64>,
    selected: Vec<bool>,
    n_units: usize,
    kind: &str,
    percentiles: (f64, f64),
    seed: u64,
) -> Result<Bound<'py, PyArray1<bool>>> {
    let kind = crate::options::choose(
        "kind",
        kind,
        &[
            ("random", ControlUnits::Random { seed }),
            ("lowest", ControlUnits::Lowest),
            ("percentiles", ControlUnits::Percentiles { from: percentiles.0, to: percentiles.1 }),
        ],
    )?;
    let tests = t.into_iter().map(|t| Welch { t, df: f64::NAN, p_value: f64::NAN }).collect();
    let found = Localiser { tests, q_values: vec![], selected, n_dead: 0 };
    Ok(PyArray1::from_vec(py, encoding::control_units(&found, n_units, kind)?))
}

fn layers<'py>(name: &str, given: &[Bound<'py, PyAny>]) -> Result<Vec<Matrix<'py>>> {
    given.iter().map(|layer| Matrix::new(name, layer)).collect()
}

fn params((n_units, level, absolute): Told) -> LocaliserParams {
    LocaliserParams { n_units, level, absolute }
}
