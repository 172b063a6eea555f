//! Response tensors, spikes, tuning, stimuli, samples of units.

use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::Error;
use stereotax::data::ResponseTensor as Core;
use stereotax::data::spikes::SpikeTrains as CoreSpikes;
use stereotax::signal::psth::{self as rates, PsthWindow};
use stereotax::signal::smooth::Edge;
use stereotax::stats::rng::Stream;
use stereotax::tensor::prepare::{self, Normalise, Padding};
use stereotax::tensor::spikes::{self, Bandwidth, Epochs};
use stereotax::tensor::tuning;
use stereotax_models::stimuli::{self, Clip, Pattern};

use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// A validated response tensor.
#[pyclass(frozen, module = "stereotax._core")]
#[derive(Debug)]
pub struct Responses {
    inner: Core,
}

impl Responses {
    /// What the core takes.
    pub(crate) fn tensor(&self) -> &Core {
        &self.inner
    }
}

#[pymethods]
impl Responses {
    /// `values` flat in C order: units × stimuli × directions × time.
    #[new]
    #[pyo3(signature = (values, units, stimuli, directions, bin_s))]
    fn new(
        values: PyReadonlyArray1<'_, f64>,
        units: Vec<String>,
        stimuli: Vec<String>,
        directions: Vec<f64>,
        bin_s: f64,
    ) -> Result<Self> {
        let values = values.as_array().to_vec();
        Ok(Responses { inner: Core::new(values, units, stimuli, directions, bin_s)? })
    }

    /// Whether each unit was shown each stimulus, row after row.
    #[getter]
    fn valid<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        PyArray1::from_slice(py, self.inner.valid())
    }

    /// Time bins of each stimulus.
    #[getter]
    fn lengths(&self) -> Vec<usize> {
        self.inner.lengths().to_vec()
    }

    /// The angle after which directions repeat.
    #[getter]
    fn period(&self) -> f64 {
        self.inner.period_deg()
    }

    /// Units that never respond.
    #[getter]
    fn silent_units(&self) -> Vec<usize> {
        self.inner.silent_units()
    }

    /// Stimuli to which nobody responds.
    #[getter]
    fn silent_stimuli(&self) -> Vec<usize> {
        self.inner.silent_stimuli()
    }

    /// Places of stimuli by name.
    fn find(&self, names: Vec<String>) -> Result<Vec<usize>> {
        Ok(self.inner.find_stimuli(&names)?)
    }

    /// Values smoothed along time.
    fn smooth<'py>(
        &self,
        py: Python<'py>,
        sigma: f64,
        ignore_padding: bool,
    ) -> Result<Bound<'py, PyArray1<f64>>> {
        let padding = if ignore_padding { Padding::Ignored } else { Padding::Zero };
        Ok(PyArray1::from_vec(py, watch::run(py, |_| prepare::smooth(&self.inner, sigma, padding))?))
    }

    /// Which of two paired sets of stimuli each unit prefers.
    fn preferred_set(&self, first: Vec<usize>, second: Vec<usize>) -> Result<Vec<usize>> {
        Ok(prepare::preferred_set(&self.inner, &[first, second])?)
    }

    /// Scaled values and relative rates.
    fn normalise<'py>(&self, py: Python<'py>, how: &str) -> Result<Bound<'py, PyDict>> {
        let how = match how {
            "per_map" => Normalise::PerMap,
            "maximum" => Normalise::Maximum,
            "mean" => Normalise::Mean,
            _ => Normalise::RelativeNorm,
        };
        let found = watch::run(py, |_| prepare::normalise(&self.inner, how))?;
        Ok(dict!(py, {
            "values": PyArray1::from_vec(py, found.values),
            "relative": PyArray1::from_vec(py, found.relative),
            "silent_units": found.silent_units,
        }))
    }

    /// The tuning of every unit, in columns.
    fn tuning<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyDict>> {
        let found = tuning::tuning(&self.inner);
        let column = |of: fn(&tuning::Tuning) -> f64| -> Vec<f64> { found.iter().map(of).collect() };
        let stimulus: Vec<Option<&String>> =
            found.iter().map(|unit| unit.stimulus.map(|s| &self.inner.stimuli()[s])).collect();
        Ok(dict!(py, {
            "unit": self.inner.units().to_vec(),
            "stimulus": stimulus,
            "direction": column(|unit| unit.direction_deg),
            "vector_direction": column(|unit| unit.vector_deg),
            "rate": column(|unit| unit.rate),
            "direction_selectivity": column(|unit| unit.direction_selectivity),
            "global_direction_selectivity": column(|unit| unit.global_direction_selectivity),
            "orientation_selectivity": column(|unit| unit.orientation_selectivity),
            "global_orientation_selectivity": column(|unit| unit.global_orientation_selectivity),
            "transience": column(|unit| unit.transience),
            "latency_s": column(|unit| unit.latency_s),
        }))
    }
}

fn edge_of(reflect: bool) -> Edge {
    if reflect { Edge::Reflect } else { Edge::Zero }
}

/// The rate of one condition; the bandwidth is a number of seconds, or the rule's if there is none.
#[pyfunction]
#[pyo3(signature = (times, n_trials, window, bandwidth, least, most, reflect))]
pub fn psth<'py>(
    py: Python<'py>,
    times: PyReadonlyArray1<'_, f64>,
    n_trials: usize,
    window: (f64, f64, f64),
    bandwidth: Option<f64>,
    least: f64,
    most: f64,
    reflect: bool,
) -> Result<Bound<'py, PyDict>> {
    let times = times.as_array().to_vec();
    let window = PsthWindow { start_s: window.0, stop_s: window.1, bin_s: window.2, edge: edge_of(reflect) };
    let spikes = CoreSpikes::new([1, 1, 1], &[1], &[times.len()], times.clone())?;
    let sigma = match bandwidth {
        Some(sigma) => sigma,
        None => {
            let rule = Bandwidth::SheatherJones { least_s: least, most_s: most };
            watch::run(py, |monitor| spikes::spike_rates(&spikes, &window, rule, monitor))?.bandwidths_s[0]
        }
    };
    let rate = rates::psth(&times, n_trials, sigma, &window)?;
    Ok(dict!(py, { "rate": PyArray1::from_vec(py, rate), "bandwidth_s": sigma }))
}

/// Spikes of all trials.
#[pyclass(frozen, module = "stereotax._core")]
#[derive(Debug)]
pub struct SpikeTrains {
    inner: CoreSpikes,
}

#[pymethods]
impl SpikeTrains {
    /// Counts of trials per cell and spikes per trial, and all times.
    #[new]
    #[pyo3(signature = (shape, n_trials, n_spikes, times))]
    fn new(
        shape: [usize; 3],
        n_trials: Vec<usize>,
        n_spikes: Vec<usize>,
        times: PyReadonlyArray1<'_, f64>,
    ) -> Result<Self> {
        Ok(SpikeTrains { inner: CoreSpikes::new(shape, &n_trials, &n_spikes, times.as_array().to_vec())? })
    }

    /// Rates of all cells.
    fn rates<'py>(
        &self,
        py: Python<'py>,
        window: (f64, f64, f64),
        bandwidth: Option<f64>,
        least: f64,
        most: f64,
        reflect: bool,
    ) -> Result<Bound<'py, PyDict>> {
        let window =
            PsthWindow { start_s: window.0, stop_s: window.1, bin_s: window.2, edge: edge_of(reflect) };
        let rule =
            bandwidth.map_or(Bandwidth::SheatherJones { least_s: least, most_s: most }, Bandwidth::Fixed);
        let found = watch::run(py, |monitor| spikes::spike_rates(&self.inner, &window, rule, monitor))?;
        Ok(dict!(py, {
            "values": PyArray1::from_vec(py, found.values),
            "n_bins": found.n_bins,
            "bandwidths_s": PyArray1::from_vec(py, found.bandwidths_s),
        }))
    }

    /// Which stimuli drive or suppress whom.
    fn significance<'py>(
        &self,
        py: Python<'py>,
        baseline: (f64, f64),
        stimulus: (f64, f64),
        alpha: f64,
    ) -> Result<Bound<'py, PyDict>> {
        let epochs = Epochs { baseline_s: baseline, stimulus_s: stimulus };
        let found = watch::run(py, |_| spikes::significance(&self.inner, &epochs, alpha))?;
        Ok(dict!(py, {
            "significant": PyArray1::from_vec(py, found.significant),
            "p_more": PyArray1::from_vec(py, found.p_more),
            "p_less": PyArray1::from_vec(py, found.p_less),
        }))
    }
}

/// The frames of one clip, flat.
#[pyfunction]
#[pyo3(signature = (
    size, n_frames, period, diameter, per_group, spacing, n_groups, bright, direction, speed, contrast, seed, instance
))]
pub fn draw_clip<'py>(
    py: Python<'py>,
    size: (usize, usize),
    n_frames: usize,
    period: Option<f64>,
    diameter: f64,
    per_group: usize,
    spacing: f64,
    n_groups: usize,
    bright: bool,
    direction: f64,
    speed: f64,
    contrast: f64,
    seed: u64,
    instance: usize,
) -> Result<Bound<'py, PyArray1<u8>>> {
    let pattern = match period {
        Some(period_px) => Pattern::Grating { period_px },
        None => Pattern::Dots { diameter_px: diameter, per_group, spacing_px: spacing, n_groups, bright },
    };
    let clip = Clip {
        height: size.0,
        width: size.1,
        n_frames,
        pattern,
        direction_deg: direction,
        speed_px: speed,
        contrast,
        seed,
        instance,
    };
    Ok(PyArray1::from_vec(py, watch::run(py, |_| stimuli::draw(&clip))?))
}

/// Different places drawn with probabilities proportional to weights.
#[pyfunction]
#[pyo3(signature = (weights, count, seed, purpose))]
pub fn weighted_draw(weights: Vec<f64>, count: usize, seed: u64, purpose: &str) -> Result<Vec<usize>> {
    if let Some(bad) = weights.iter().find(|w| !(**w >= 0.0 && w.is_finite())) {
        return Err(Error::Invalid {
            what: "weights".into(),
            expected: "finite numbers of at least 0".into(),
            found: bad.to_string(),
            hint: "clip activations at 0 first".into(),
        }
        .into());
    }
    Ok(Stream::new(seed, purpose, 0).weighted(&weights, count))
}
