//! Events and frames on the clock of the scanner, and features at several delays.

use numpy::PyArray2;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::data::Runs;
use stereotax::signal::{self, LanczosParams, Normalise, Resampling};

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// `values` at `times_s` on the clock of volumes that start at `starts_s`: by boxes of `tr_s`, or by the
/// Lanczos filter where `lobes` is given.
#[pyfunction]
#[pyo3(signature = (values, times_s, starts_s, tr_s, lobes, normalised))]
pub fn to_clock<'py>(
    py: Python<'py>,
    values: &Bound<'py, PyAny>,
    times_s: Vec<f64>,
    starts_s: Vec<f64>,
    tr_s: f64,
    lobes: Option<usize>,
    normalised: bool,
) -> Result<Bound<'py, PyDict>> {
    let values = Matrix::new("values", values)?;
    let view = values.view();
    let (found, empty) = watch::run(py, |_| -> stereotax::Result<_> {
        let clock = match lobes {
            None => Resampling::boxes(&times_s, &starts_s, tr_s)?,
            Some(lobes) => {
                let normalise = if normalised { Normalise::Sum } else { Normalise::None };
                let middles: Vec<f64> = starts_s.iter().map(|start| start + tr_s / 2.0).collect();
                let params = LanczosParams { lobes, normalise, ..LanczosParams::default() };
                Resampling::lanczos(&times_s, &middles, &params)?
            }
        };
        let empty: Vec<bool> = (0..clock.n_new()).map(|new| clock.row(new).is_empty()).collect();
        Ok((clock.apply(view)?, empty))
    })?;
    Ok(dict!(py, { "values": to_array(py, found.as_ref())?, "empty": empty }))
}

/// Features (n × q) at each delay, within runs: n × (q · delays).
#[pyfunction]
#[pyo3(signature = (features, runs, delays))]
pub fn delayed<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
    runs: Vec<String>,
    delays: Vec<usize>,
) -> Result<Bound<'py, PyArray2<f64>>> {
    let features = Matrix::new("features", features)?;
    let view = features.view();
    let found = watch::run(py, |_| -> stereotax::Result<_> {
        signal::delay(view, &Runs::from_labels(&runs)?, &delays)
    })?;
    Ok(to_array(py, found.as_ref())?)
}
