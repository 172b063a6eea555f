//! A simulated visual area with known tuning: units on a line between gratings and dots, in every direction.
//!
//! Unit n stands at λ_n in [0.1, 0.9] and prefers the direction θ_n:
//!
//! ```text
//! rate = 20 Hz · w(s) · g(n, s) · exp(2 (cos(θ − θ_n) − 1)) · course(t) + noise of each repeat
//! w = 1 − λ at gratings, λ at dots        course: a plateau at λ = 0, an early peak at λ = 1, mixed between
//! g = exp(spread · z), z ~ N(0, 1)        what a unit has of each stimulus alone
//! ```
//!
//! On an encoding manifold that does not depend on preferred directions, neighbours must have alike λ. Without g all
//! gratings are one to the area, and so are all dots: no decoder can tell more than these two kinds.

use stereotax::Result;
use stereotax::data::ResponseTensor;
use stereotax::stats::rng::Stream;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct AreaParams {
    /// Units.
    pub n_units: usize,
    /// Names of stimuli, and whether each is a grating.
    pub stimuli: Vec<(String, bool)>,
    /// Directions in equal steps from 0°.
    pub n_directions: usize,
    /// Time bins.
    pub n_times: usize,
    /// Seconds per bin.
    pub bin_s: f64,
    /// Spread of the gains g.
    pub gain_spread: f64,
    /// Repeats of every stimulus and direction.
    pub n_repeats: usize,
    /// Standard deviation of the noise of one repeat in one bin, in Hz.
    pub noise_hz: f64,
    /// Seed.
    pub seed: u64,
}

/// A simulated area and what was planted in it.
#[derive(Debug, Clone)]
pub struct Area {
    /// Rates in Hz, at least 0, of every repeat.
    pub repeats: Vec<ResponseTensor>,
    /// λ of every unit.
    pub places: Vec<f64>,
    /// θ of every unit, in degrees.
    pub directions_deg: Vec<f64>,
}

/// Simulate an area.
///
/// Errors: those of [`ResponseTensor::new`] (names given twice, an empty axis).
pub fn simulate_area(params: &AreaParams) -> Result<Area> {
    let mut values = vec![vec![]; params.n_repeats];
    let (mut places, mut directions_deg) = (vec![], vec![]);
    for n in 0..params.n_units {
        let mut stream = Stream::new(params.seed, "simulated area", n as u64);
        let (place, preferred) = (0.1 + 0.8 * stream.uniform(), 360.0 * stream.uniform());
        for (_, grating) in &params.stimuli {
            let gain = (params.gain_spread * stream.normal()).exp();
            let weight = gain * if *grating { 1.0 - place } else { place };
            for d in 0..params.n_directions {
                let angle = 360.0 * d as f64 / params.n_directions as f64 - preferred;
                let tuned = (2.0 * (angle.to_radians().cos() - 1.0)).exp();
                for t in 0..params.n_times {
                    let share = (t as f64 + 0.5) / params.n_times as f64;
                    let plateau = 1.0 / (1.0 + (-(share - 0.25) / 0.04).exp());
                    let peak = (-((share - 0.3) / 0.1).powi(2)).exp();
                    let course = (1.0 - place) * plateau + place * peak;
                    for repeat in &mut values {
                        let rate = 20.0 * weight * tuned * course + params.noise_hz * stream.normal();
                        repeat.push(rate.max(0.0));
                    }
                }
            }
        }
        places.push(place);
        directions_deg.push(preferred);
    }
    let angles: Vec<f64> =
        (0..params.n_directions).map(|d| 360.0 * d as f64 / params.n_directions as f64).collect();
    let units: Vec<String> = (0..params.n_units).map(|n| format!("cell {n:03}")).collect();
    let stimuli: Vec<String> = params.stimuli.iter().map(|(name, _)| name.clone()).collect();
    let repeats = values
        .into_iter()
        .map(|values| {
            ResponseTensor::new(values, units.clone(), stimuli.clone(), angles.clone(), params.bin_s)
        })
        .collect::<Result<_>>()?;
    Ok(Area { repeats, places, directions_deg })
}
