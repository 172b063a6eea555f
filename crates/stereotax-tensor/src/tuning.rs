//! Describe every unit's tuning: preferred stimulus and direction, selectivity, time course.
//!
//! With R_d the mean rate over time in direction d at the unit's preferred stimulus, θ_d the angle, and y_t the time
//! course in the preferred direction d*:
//!
//! ```text
//! direction index     (R_d* − R_opposite) / (R_d* + R_opposite)
//! orientation index   (R_o* − R_across) / (R_o* + R_across)        R_o the mean of a direction and its opposite
//! global versions     |Σ R_d e^{iθ_d}| / Σ R_d   and   |Σ R_d e^{2iθ_d}| / Σ R_d
//! transience          1 − mean_t y_t / max_t y_t                    0 sustained, towards 1 brief
//! latency             first time at which y reaches half of its way from the least to the most, interpolated
//! ```
//!
//! Indices lie in [0, 1]. Where the opposite or the orthogonal direction was not shown, the plain index is NaN; with
//! orientations (period 180°) there is no direction index. A silent unit has none of them.
//!
//! Source: the circular measures are 1 − circular variance (Mazurek et al. 2014); the names are those of the job of
//! specs encoding-manifolds 1; transience and latency are our choice. Cost: O(values).

use stereotax_base::data::ResponseTensor;

use super::prepare::best_rates;

/// The tuning of one unit; NaN where undefined.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// The stimulus with the highest mean rate in its best direction; `None` for a silent unit.
    pub stimulus: Option<usize>,
    /// The direction with the highest mean rate at that stimulus.
    pub direction: Option<usize>,
    /// Its angle.
    pub direction_deg: f64,
    /// The angle of Σ R e^{iθ}, from 0 to the period; NaN where rates do not point anywhere.
    pub vector_deg: f64,
    /// The rate there (mean over time).
    pub rate: f64,
    /// Direction index.
    pub direction_selectivity: f64,
    /// 1 − circular variance over directions.
    pub global_direction_selectivity: f64,
    /// Orientation index.
    pub orientation_selectivity: f64,
    /// 1 − circular variance over orientations.
    pub global_orientation_selectivity: f64,
    /// Transience.
    pub transience: f64,
    /// Latency in seconds from the first bin's begin, to the middle of bins.
    pub latency_s: f64,
}

/// The tuning of every unit.
pub fn tuning(responses: &ResponseTensor) -> Vec<Tuning> {
    let rates = best_rates(responses);
    let n_stimuli = responses.shape()[1];
    (0..responses.shape()[0])
        .map(|n| of_unit(responses, n, &rates[n * n_stimuli..(n + 1) * n_stimuli]))
        .collect()
}

fn of_unit(responses: &ResponseTensor, unit: usize, rates: &[f64]) -> Tuning {
    let mut found = Tuning {
        stimulus: None,
        direction: None,
        direction_deg: f64::NAN,
        vector_deg: f64::NAN,
        rate: f64::NAN,
        direction_selectivity: f64::NAN,
        global_direction_selectivity: f64::NAN,
        orientation_selectivity: f64::NAN,
        global_orientation_selectivity: f64::NAN,
        transience: f64::NAN,
        latency_s: f64::NAN,
    };
    let (mut stimulus, mut most) = (None, 0.0);
    for (s, &rate) in rates.iter().enumerate() {
        if rate > most {
            (stimulus, most) = (Some(s), rate);
        }
    }
    let Some(s) = stimulus else { return found };
    let [_, _, n_directions, n_times] = responses.shape();
    let (map, length) = (responses.map(unit, s), responses.lengths()[s]);
    let course = |d: usize| &map[d * n_times..d * n_times + length];
    let means: Vec<f64> = (0..n_directions).map(|d| course(d).iter().sum::<f64>() / length as f64).collect();
    let best = (0..n_directions).fold(0, |best, d| if means[d] > means[best] { d } else { best });
    found.stimulus = Some(s);
    found.direction = Some(best);
    found.direction_deg = responses.directions_deg()[best];
    found.rate = means[best];
    let period = responses.period_deg();
    if n_directions > 1 {
        // Angles are multiplied such that what is summed closes a circle once.
        let vector = |times: f64| -> (f64, f64) {
            means.iter().zip(responses.directions_deg()).fold((0.0, 0.0), |(x, y), (r, angle)| {
                let angle = (times * angle).to_radians();
                (x + r * angle.cos(), y + r * angle.sin())
            })
        };
        let total: f64 = means.iter().sum();
        let (x, y) = vector(360.0 / period);
        if x.hypot(y) > 1e-12 * total {
            let angle = (y.atan2(x).to_degrees() * period / 360.0).rem_euclid(period);
            // The remainder of a negative angle that is rounding alone is a whole period.
            found.vector_deg = if angle < period { angle } else { 0.0 };
        }
        let at = |steps: usize| means[(best + steps) % n_directions];
        let index = |high: f64, low: f64| (high - low) / (high + low);
        let (x, y) = vector(2.0);
        found.global_orientation_selectivity = x.hypot(y) / total;
        if period == 360.0 {
            let (x, y) = vector(1.0);
            found.global_direction_selectivity = x.hypot(y) / total;
            if n_directions % 2 == 0 {
                found.direction_selectivity = index(at(0), at(n_directions / 2));
            }
            if n_directions % 4 == 0 {
                let quarter = n_directions / 4;
                let (along, across) = (at(0) + at(2 * quarter), at(quarter) + at(3 * quarter));
                found.orientation_selectivity = index(along, across);
            }
        } else if n_directions % 2 == 0 {
            found.orientation_selectivity = index(at(0), at(n_directions / 2));
        }
    }
    let y = course(best);
    let high = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let low = y.iter().copied().fold(f64::INFINITY, f64::min);
    found.transience = 1.0 - found.rate / high;
    if high > low {
        let half = 0.5 * (low + high);
        let first = y.iter().position(|y| *y >= half).unwrap_or(0);
        let into = if first > 0 { (half - y[first - 1]) / (y[first] - y[first - 1]) - 1.0 } else { 0.0 };
        found.latency_s = (first as f64 + 0.5 + into) * responses.bin_s();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: Vec<f64>, directions: Vec<f64>) -> ResponseTensor {
        ResponseTensor::new(values, vec!["u".into()], vec!["s".into()], directions, 0.1).unwrap()
    }

    #[test]
    fn four_directions_by_hand() {
        // Mean rates 1, 6, 1, 2 at 0°, 90°, 180°, 270°; the course at 90° is 0, 4, 12, 8.
        let rows = [[1.0; 4], [0.0, 4.0, 12.0, 8.0], [1.0; 4], [2.0; 4]].concat();
        let found = &tuning(&tensor(rows, vec![0.0, 90.0, 180.0, 270.0]))[0];
        assert_eq!(
            (found.stimulus, found.direction, found.direction_deg, found.rate),
            (Some(0), Some(1), 90.0, 6.0)
        );
        assert!((found.vector_deg - 90.0).abs() < 1e-12);
        assert_eq!(found.direction_selectivity, 0.5); // (6 − 2) / 8
        assert!((found.global_direction_selectivity - 0.4).abs() < 1e-12); // 4 / 10
        assert_eq!(found.orientation_selectivity, 0.6); // (8 − 2) / 10
        assert!((found.global_orientation_selectivity - 0.6).abs() < 1e-12); // |2 − 8| / 10
        assert_eq!(found.transience, 0.5);
        // Half of 12 is a quarter of the way from bin 1 to bin 2, whose middles are 0.15 s and 0.25 s.
        assert!((found.latency_s - 0.175).abs() < 1e-12);
    }

    #[test]
    fn orientations_one_direction_and_silence() {
        let found = &tuning(&tensor(vec![0.0, 3.0, 1.0], vec![0.0, 60.0, 120.0]))[0];
        assert!(found.direction_selectivity.is_nan() && found.orientation_selectivity.is_nan());
        // 3 e^{i120°} + e^{i240°}: |·|² = 9 + 1 − 3.
        assert!((found.global_orientation_selectivity - 7f64.sqrt() / 4.0).abs() < 1e-12);
        assert!(found.vector_deg > 60.0 && found.vector_deg < 90.0, "{}", found.vector_deg);
        assert!(found.latency_s.is_nan() && found.transience == 0.0);
        let one = &tuning(&tensor(vec![1.0, 2.0], vec![0.0]))[0];
        assert!(one.global_direction_selectivity.is_nan() && one.vector_deg.is_nan() && one.rate == 1.5);
        let silent = &tuning(&tensor(vec![0.0; 3], vec![0.0, 60.0, 120.0]))[0];
        assert!(silent.stimulus.is_none() && silent.rate.is_nan());
    }
}
