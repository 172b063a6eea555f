//! A simulated visual area with known tuning: units on a line between gratings and dots, in every direction.
//!
//! Unit n stands at λ_n in [0.1, 0.9] and prefers the direction θ_n:
//!
//! ```text
//! rate = 20 Hz · w(s) · exp(2 (cos(θ − θ_n) − 1)) · course(t) + noise
//! w = 1 − λ at gratings, λ at dots        course: a plateau at λ = 0, an early peak at λ = 1, mixed between
//! ```
//!
//! On an encoding manifold that does not depend on preferred directions, neighbours must have alike λ.

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
    /// Standard deviation of the noise of the mean rates, in Hz.
    pub noise_hz: f64,
    /// Seed.
    pub seed: u64,
}

/// A simulated area and what was planted in it.
#[derive(Debug, Clone)]
pub struct Area {
    /// Rates in Hz, at least 0.
    pub responses: ResponseTensor,
    /// λ of every unit.
    pub places: Vec<f64>,
    /// θ of every unit, in degrees.
    pub directions_deg: Vec<f64>,
}

/// Simulate an area.
///
/// Errors: those of [`ResponseTensor::new`] (names given twice, an empty axis).
pub fn simulate_area(params: &AreaParams) -> Result<Area> {
    let (mut values, mut places, mut directions_deg) = (vec![], vec![], vec![]);
    for n in 0..params.n_units {
        let mut stream = Stream::new(params.seed, "simulated area", n as u64);
        let (place, preferred) = (0.1 + 0.8 * stream.uniform(), 360.0 * stream.uniform());
        for (_, grating) in &params.stimuli {
            let weight = if *grating { 1.0 - place } else { place };
            for d in 0..params.n_directions {
                let angle = 360.0 * d as f64 / params.n_directions as f64 - preferred;
                let tuned = (2.0 * (angle.to_radians().cos() - 1.0)).exp();
                for t in 0..params.n_times {
                    let share = (t as f64 + 0.5) / params.n_times as f64;
                    let plateau = 1.0 / (1.0 + (-(share - 0.25) / 0.04).exp());
                    let peak = (-((share - 0.3) / 0.1).powi(2)).exp();
                    let course = (1.0 - place) * plateau + place * peak;
                    let rate = 20.0 * weight * tuned * course + params.noise_hz * stream.normal();
                    values.push(rate.max(0.0));
                }
            }
        }
        places.push(place);
        directions_deg.push(preferred);
    }
    let angles = (0..params.n_directions).map(|d| 360.0 * d as f64 / params.n_directions as f64).collect();
    let units = (0..params.n_units).map(|n| format!("cell {n:03}")).collect();
    let stimuli = params.stimuli.iter().map(|(name, _)| name.clone()).collect();
    let responses = ResponseTensor::new(values, units, stimuli, angles, params.bin_s)?;
    Ok(Area { responses, places, directions_deg })
}
