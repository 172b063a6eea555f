//! Dynamical similarity: operators of delayed states, their distances, and what is known of them.

use faer::MatRef;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::similarity::dsa::delay::delay_operator_with_input;
use stereotax::similarity::dsa::inference::{Comparison, DsaTest};
use stereotax::similarity::dsa::input::{Apart, InputSystem, Inputs, input_align};
use stereotax::similarity::dsa::select::{Criterion, Parsimony, SelectParams, select_delays};
use stereotax::similarity::dsa::surrogate::Surrogate;
use stereotax::similarity::dsa::transport::{eigenvalue_transport, eigenvalues};
use stereotax::similarity::dsa::{
    Alignment, AlignmentParams, DelayParams, DsaDistance, OperatorRank, Unequal, align, delay_operator,
    pairwise,
};

use crate::arrays::{Matrix, to_array, to_mat};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// How an operator is fitted.
#[derive(FromPyObject)]
pub struct Fit {
    #[pyo3(item)]
    n_delays: usize,
    #[pyo3(item)]
    lag: usize,
    #[pyo3(item)]
    rank: Option<usize>,
    #[pyo3(item)]
    energy: Option<f64>,
    #[pyo3(item)]
    hard: bool,
    #[pyo3(item)]
    ridge: f64,
}

impl Fit {
    fn params(&self) -> DelayParams {
        let rank = match (self.rank, self.energy, self.hard) {
            (Some(rank), _, _) => OperatorRank::Fixed(rank),
            (None, Some(share), _) => OperatorRank::Energy(share),
            (None, None, true) => OperatorRank::HardThreshold,
            (None, None, false) => OperatorRank::Full,
        };
        DelayParams { n_delays: self.n_delays, lag: self.lag, rank, ridge: self.ridge }
    }
}

/// How operators are compared.
#[derive(FromPyObject)]
pub struct How {
    #[pyo3(item)]
    distance: String,
    #[pyo3(item)]
    pad: bool,
    #[pyo3(item)]
    n_starts: usize,
    #[pyo3(item)]
    max_iter: usize,
    #[pyo3(item)]
    tol: f64,
    #[pyo3(item)]
    seed: u64,
}

impl How {
    fn align(&self) -> AlignmentParams {
        AlignmentParams {
            n_random: self.n_starts,
            max_iterations: self.max_iter,
            tolerance: self.tol,
            unequal: if self.pad { Unequal::Pad } else { Unequal::Refuse },
            seed: self.seed,
        }
    }

    fn distance(&self) -> DsaDistance {
        match self.distance.as_str() {
            "euclidean" => DsaDistance::Euclidean,
            "eigenvalues" => DsaDistance::Eigenvalues,
            "eigenvalues_metric" => DsaDistance::EigenvaluesMetric,
            _ => DsaDistance::Angular,
        }
    }
}

struct Trials<'py>(Vec<Matrix<'py>>);

impl<'py> Trials<'py> {
    fn new(name: &str, trials: &[Bound<'py, PyAny>]) -> Result<Self> {
        Ok(Trials(trials.iter().map(|trial| Matrix::new(name, trial)).collect::<Result<_>>()?))
    }

    fn views(&self) -> Vec<MatRef<'_, f64>> {
        self.0.iter().map(Matrix::view).collect()
    }
}

/// Fit the operator of a system to trials (time × channels each), with inputs or without.
#[pyfunction]
#[pyo3(signature = (trials, inputs, fit))]
pub fn dsa_operator<'py>(
    py: Python<'py>,
    trials: Vec<Bound<'py, PyAny>>,
    inputs: Option<Vec<Bound<'py, PyAny>>>,
    fit: Fit,
) -> Result<Bound<'py, PyDict>> {
    let trials = Trials::new("trials", &trials)?;
    let inputs = inputs.map(|inputs| Trials::new("inputs", &inputs)).transpose()?;
    let views = trials.views();
    let input_views = inputs.as_ref().map(Trials::views);
    let found = watch::run(py, |_| match &input_views {
        Some(inputs) => delay_operator_with_input(&views, inputs, &fit.params()),
        None => delay_operator(&views, &fit.params()),
    })?;
    Ok(dict!(py, {
        "operator": to_array(py, found.operator.as_ref())?,
        "input": found.input.as_ref().map(|b| to_array(py, b.as_ref())).transpose()?,
        "singular_values": PyArray1::from_vec(py, found.singular_values),
        "directions": to_array(py, found.directions.as_ref())?,
        "eigenvalues": PyArray1::from_slice(py, &found.eigenvalues),
        "residuals": PyArray1::from_vec(py, found.residuals),
        "n_pairs": found.n_pairs,
        "warnings": found.warnings,
    }))
}

fn aligned<'py>(py: Python<'py>, found: &Alignment) -> Result<Bound<'py, PyDict>> {
    Ok(dict!(py, {
        "angle": found.angle,
        "euclidean": found.euclidean,
        "similarity": found.cosine,
        "bound": found.bound,
        "rotation": to_array(py, found.rotation.as_ref())?,
        "determinant": found.determinant,
        "n_starts": found.n_starts,
        "maxima": PyArray1::from_slice(py, &found.maxima),
        "n_agreeing": found.n_agreeing,
        "n_iterations": found.n_iterations,
        "converged": found.converged,
    }))
}

/// Compare two operators by the best rotation, and by their eigenvalues.
#[pyfunction]
#[pyo3(signature = (a, b, how))]
pub fn dsa_compare<'py>(
    py: Python<'py>,
    a: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    how: How,
) -> Result<Bound<'py, PyDict>> {
    let (a, b) = (Matrix::new("a", a)?, Matrix::new("b", b)?);
    let (a, b) = (a.view(), b.view());
    let found = watch::run(py, |monitor| -> stereotax::Result<_> {
        let alignment = align(a, b, &how.align(), monitor)?;
        Ok((alignment, eigenvalue_transport(&eigenvalues(a)?, &eigenvalues(b)?)))
    })?;
    let (alignment, transport) = found;
    let dict = aligned(py, &alignment)?;
    dict.set_item("eigenvalues", transport.squared)?;
    dict.set_item("eigenvalues_metric", transport.metric)?;
    Ok(dict)
}

/// Distances of all pairs of operators, condensed.
#[pyfunction]
#[pyo3(signature = (operators, how))]
pub fn dsa_pairs<'py>(
    py: Python<'py>,
    operators: Vec<Bound<'py, PyAny>>,
    how: How,
) -> Result<Bound<'py, PyDict>> {
    let operators = Trials::new("operators", &operators)?;
    let views = operators.views();
    let found = watch::run(py, |monitor| pairwise(&views, how.distance(), &how.align(), monitor))?;
    Ok(dict!(py, {
        "distances": PyArray1::from_vec(py, found.distances.into_values()),
        "gaps": PyArray1::from_vec(py, found.gaps),
        "n_unconverged": found.n_unconverged,
    }))
}

/// Delays and rank by held-out prediction.
#[pyfunction]
#[pyo3(signature = (trials, n_delays, ranks, lag, ridge, n_folds, criterion, one_error, seed))]
pub fn dsa_select<'py>(
    py: Python<'py>,
    trials: Vec<Bound<'py, PyAny>>,
    n_delays: Vec<usize>,
    ranks: Vec<usize>,
    lag: usize,
    ridge: f64,
    n_folds: usize,
    criterion: &str,
    one_error: bool,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let trials = Trials::new("trials", &trials)?;
    let views = trials.views();
    let params = SelectParams {
        n_delays,
        ranks,
        lag,
        ridge,
        n_folds,
        criterion: match criterion {
            "r2" => Criterion::R2,
            "aic" => Criterion::Aic,
            _ => Criterion::Mase,
        },
        parsimony: if one_error { Parsimony::OneError } else { Parsimony::Best },
        seed,
    };
    let found = watch::run(py, |monitor| select_delays(&views, &params, monitor))?;
    let column = |of: &dyn Fn(&stereotax::similarity::dsa::select::Candidate) -> f64| {
        PyArray1::from_vec(py, found.candidates.iter().map(of).collect())
    };
    Ok(dict!(py, {
        "n_delays": found.candidates.iter().map(|c| c.n_delays).collect::<Vec<_>>(),
        "ranks": found.candidates.iter().map(|c| c.rank).collect::<Vec<_>>(),
        "mase": column(&|c| c.mase),
        "r2": column(&|c| c.r2),
        "aic": column(&|c| c.aic),
        "errors": column(&|c| c.error),
        "chosen": found.chosen,
    }))
}

/// A comparison with its inference: `what` is "halves", "exchange", "phases", "time_order" or "bootstrap".
#[pyfunction]
#[pyo3(signature = (x, y, fit, fit_y, how, what, n_draws, level, paired))]
pub fn dsa_inference<'py>(
    py: Python<'py>,
    x: Vec<Bound<'py, PyAny>>,
    y: Vec<Bound<'py, PyAny>>,
    fit: Fit,
    fit_y: Fit,
    how: How,
    what: &str,
    n_draws: usize,
    level: f64,
    paired: bool,
) -> Result<Bound<'py, PyDict>> {
    let (x, y) = (Trials::new("x", &x)?, Trials::new("y", &y)?);
    let (x, y) = (x.views(), y.views());
    let comparison = Comparison {
        first: fit.params(),
        second: fit_y.params(),
        distance: how.distance(),
        align: how.align(),
        seed: how.seed,
    };
    if what == "halves" {
        let found = watch::run(py, |monitor| comparison.split_halves(&x, &y, n_draws, monitor))?;
        return Ok(dict!(py, {
            "within_x": PyArray1::from_vec(py, found.within_first),
            "within_y": PyArray1::from_vec(py, found.within_second),
            "between": PyArray1::from_vec(py, found.between),
        }));
    }
    if what == "bootstrap" {
        let found = watch::run(py, |monitor| comparison.bootstrap(&x, &y, n_draws, level, paired, monitor))?;
        return Ok(dict!(py, {
            "distance": found.distance,
            "lower": found.lower,
            "upper": found.upper,
            "bias": found.bias,
            "draws": PyArray1::from_vec(py, found.draws),
        }));
    }
    let found: DsaTest = watch::run(py, |monitor| match what {
        "exchange" => comparison.exchange_test(&x, &y, n_draws, monitor),
        "time_order" => comparison.similarity_test(&x, &y, Surrogate::TimeOrder, n_draws, monitor),
        _ => comparison.similarity_test(&x, &y, Surrogate::Phases, n_draws, monitor),
    })?;
    Ok(dict!(py, {
        "distance": found.distance,
        "p_value": found.p_value,
        "z": found.z,
        "null": PyArray1::from_vec(py, found.null),
    }))
}

/// Compare two systems with inputs: (state, input) matrices of each.
#[pyfunction]
#[pyo3(signature = (a, b, other_a, other_b, rotate_inputs, n_powers, how))]
pub fn dsa_inputs<'py>(
    py: Python<'py>,
    a: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    other_a: &Bound<'py, PyAny>,
    other_b: &Bound<'py, PyAny>,
    rotate_inputs: bool,
    n_powers: Option<usize>,
    how: How,
) -> Result<Bound<'py, PyDict>> {
    let system = |a, b| -> Result<InputSystem> {
        Ok(InputSystem {
            state: to_mat(Matrix::new("state", a)?.view()),
            input: to_mat(Matrix::new("input", b)?.view()),
        })
    };
    let (first, second) = (system(a, b)?, system(other_a, other_b)?);
    let inputs = if rotate_inputs { Inputs::Rotated } else { Inputs::Same };
    let found =
        watch::run(py, |monitor| input_align(&first, &second, inputs, n_powers, &how.align(), monitor))?;
    let angular = how.distance() != DsaDistance::Euclidean;
    let of = |apart: Apart| if angular { apart.angle } else { apart.euclidean };
    Ok(dict!(py, {
        "joint": of(found.joint),
        "state": of(found.state),
        "input": of(found.input),
        "state_alone": if angular { found.state_alone.angle } else { found.state_alone.euclidean },
        "input_alone": of(found.input_alone),
        "rotation": to_array(py, found.rotation.as_ref())?,
        "input_rotation": to_array(py, found.input_rotation.as_ref())?,
    }))
}
