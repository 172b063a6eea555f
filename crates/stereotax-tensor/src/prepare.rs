//! Bring responses into the form that is factorised: smooth, choose stimuli, normalise.
//!
//! With y_ns the map (directions × time) of unit n and stimulus s, and m_ns = max_d mean_t y_ns:
//!
//! ```text
//! per map         z_ns = y_ns / ‖y_ns‖;      relative rate  max y_ns / max_s max y_ns     (spiking path)
//! relative norm   z_ns = y_ns / ‖y_ns‖ · m_ns / max_s m_ns                                (model path)
//! maximum         z_n = y_n / max y_n
//! mean            z_n = y_n / mean y_n
//! ```
//!
//! In the spiking path the relative rate enters only the neuron matrix; in the model path it is in the tensor. The
//! authors' model path first chooses for each unit, between paired stimuli of two spatial scales, those of the scale
//! at which more of them drive it better.
//!
//! Source: specs encoding-manifolds 1.2 and 1.4, trap 13. Norms of 0 leave a silent map silent; a unit without any
//! response is named, and its relative rates are 0.

use stereotax_base::data::{Error, ResponseTensor, Result};
use stereotax_base::signal::smooth::{Edge, gaussian_smooth, gaussian_smooth_observed};

/// How maps are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalise {
    /// Every map to norm 1.
    PerMap,
    /// To norm 1 times the unit's relative rate.
    RelativeNorm,
    /// Each unit to maximum 1.
    Maximum,
    /// Each unit to mean 1.
    Mean,
}

/// What happens beyond the end of shorter stimuli.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Counts as 0 while smoothing, which pulls the last bins down (as the authors do).
    Zero,
    /// Does not count.
    Ignored,
}

/// Responses after scaling.
#[derive(Debug, Clone)]
pub struct Normalised {
    /// In the order of the responses; NaN where these are.
    pub values: Vec<f64>,
    /// Relative rates, units × stimuli; NaN where a unit was not shown a stimulus.
    pub relative: Vec<f64>,
    /// Units without any response.
    pub silent_units: Vec<usize>,
}

/// Smooth every map along time; σ in bins.
///
/// Errors: a σ that is negative or not finite.
pub fn smooth(responses: &ResponseTensor, sigma_bins: f64, padding: Padding) -> Result<Vec<f64>> {
    if !(sigma_bins >= 0.0 && sigma_bins.is_finite()) {
        return Err(Error::Invalid {
            what: "sigma".into(),
            expected: "a number of bins of at least 0".into(),
            found: sigma_bins.to_string(),
            hint: "3 frames are customary for models".into(),
        });
    }
    let n_times = responses.shape()[3];
    let mut values = responses.values().to_vec();
    for series in values.chunks_exact_mut(n_times) {
        let observed: Vec<bool> = series.iter().map(|x| !x.is_nan()).collect();
        let smoothed = match padding {
            Padding::Ignored if observed.contains(&false) => {
                gaussian_smooth_observed(series, &observed, sigma_bins)
            }
            _ => {
                let filled: Vec<f64> = series.iter().map(|x| if x.is_nan() { 0.0 } else { *x }).collect();
                gaussian_smooth(&filled, sigma_bins, Edge::Reflect)
            }
        };
        for ((x, y), there) in series.iter_mut().zip(smoothed).zip(observed) {
            if there {
                *x = y;
            }
        }
    }
    Ok(values)
}

/// The mean rate in the best direction, m_ns (units × stimuli); NaN where a unit was not shown a stimulus.
pub fn best_rates(responses: &ResponseTensor) -> Vec<f64> {
    let [n_units, n_stimuli, n_directions, n_times] = responses.shape();
    let mut rates = Vec::with_capacity(n_units * n_stimuli);
    for n in 0..n_units {
        for s in 0..n_stimuli {
            let length = responses.lengths()[s];
            let map = responses.map(n, s);
            let mean = |d: usize| map[d * n_times..d * n_times + length].iter().sum::<f64>() / length as f64;
            let best = (0..n_directions).map(mean).fold(f64::NEG_INFINITY, f64::max);
            rates.push(if responses.valid()[n * n_stimuli + s] { best } else { f64::NAN });
        }
    }
    rates
}

/// For each unit, which of two sets of paired stimuli drives it better: 0 if more of the pairs prefer the first, else 1.
///
/// Errors: sets of different lengths, empty ones, or places that there are not. A pair with a stimulus that the unit
/// was not shown does not count.
pub fn preferred_set(responses: &ResponseTensor, sets: &[Vec<usize>; 2]) -> Result<Vec<usize>> {
    let n_stimuli = responses.shape()[1];
    let fits = sets[0].len() == sets[1].len() && !sets[0].is_empty();
    if !fits || sets.iter().flatten().any(|&s| s >= n_stimuli) {
        return Err(Error::Shape {
            what: "sets of stimuli".into(),
            expected: format!("two of one length, of the {n_stimuli} stimuli that there are"),
            found: format!("{sets:?}"),
            hint: "pair every stimulus of one spatial scale with that of the other".into(),
        });
    }
    let rates = best_rates(responses);
    let unit = |n: usize| {
        let rate = |s: usize| rates[n * n_stimuli + s];
        let count =
            |a: usize, b: usize| sets[a].iter().zip(&sets[b]).filter(|(i, j)| rate(**i) > rate(**j)).count();
        usize::from(count(0, 1) <= count(1, 0))
    };
    Ok((0..responses.shape()[0]).map(unit).collect())
}

/// Scale maps.
///
/// Errors: negative responses (rates are needed; subtract the minimum, or clip).
pub fn normalise(responses: &ResponseTensor, how: Normalise) -> Result<Normalised> {
    let [n_units, n_stimuli, n_directions, n_times] = responses.shape();
    if let Some(least) = responses.values().iter().copied().filter(|x| *x < 0.0).reduce(f64::min) {
        return Err(Error::Invalid {
            what: "responses".into(),
            expected: "rates of at least 0".into(),
            found: format!("a minimum of {least}"),
            hint: "clip at 0 and subtract the minimum, as for activations of models".into(),
        });
    }
    let map = n_directions * n_times;
    let there = |x: &&f64| !x.is_nan();
    let peak = |x: &[f64]| x.iter().filter(there).copied().fold(0.0, f64::max);
    let norm = |x: &[f64]| x.iter().filter(there).map(|x| x * x).sum::<f64>().sqrt();
    let rates = match how {
        Normalise::PerMap => responses.values().chunks_exact(map).map(peak).collect(),
        _ => best_rates(responses),
    };
    let mut relative = rates;
    for (line, valid) in relative.chunks_exact_mut(n_stimuli).zip(responses.valid().chunks_exact(n_stimuli)) {
        let most = line.iter().copied().filter(|x| !x.is_nan()).fold(0.0, f64::max);
        for (x, &valid) in line.iter_mut().zip(valid) {
            *x = if !valid {
                f64::NAN
            } else if most > 0.0 {
                *x / most
            } else {
                0.0
            };
        }
    }
    let mut values = responses.values().to_vec();
    for (n, unit) in values.chunks_exact_mut(n_stimuli * map).enumerate() {
        let count = unit.iter().filter(there).count() as f64;
        let by_unit = match how {
            Normalise::Maximum => Some(peak(unit)),
            Normalise::Mean => Some(unit.iter().filter(there).sum::<f64>() / count),
            _ => None,
        };
        for (s, cell) in unit.chunks_exact_mut(map).enumerate() {
            let size = by_unit.unwrap_or_else(|| norm(cell));
            let weight = if how == Normalise::RelativeNorm { relative[n * n_stimuli + s] } else { 1.0 };
            if size > 0.0 {
                cell.iter_mut().for_each(|x| *x *= weight / size);
            }
        }
    }
    debug_assert_eq!(n_units, values.len() / (n_stimuli * map));
    Ok(Normalised { values, relative, silent_units: responses.silent_units() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units × 2 stimuli × 2 directions × 2 bins.
    fn tensor(values: Vec<f64>) -> ResponseTensor {
        let names = |stem: &str, n: usize| (0..n).map(|i| format!("{stem}{i}")).collect::<Vec<String>>();
        ResponseTensor::new(
            values.clone(),
            names("u", values.len() / 8),
            names("s", 2),
            vec![0.0, 180.0],
            0.1,
        )
        .unwrap()
    }

    #[test]
    fn scales_by_hand() {
        // m = (3, 1): means over time (3.5 − …): direction means (3, 0) and (0, 1).
        let responses = tensor(vec![4.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0]);
        assert_eq!(best_rates(&responses), [3.0, 1.0]);
        let per_map = normalise(&responses, Normalise::PerMap).unwrap();
        assert!((per_map.values[0] - 4.0 / 20f64.sqrt()).abs() < 1e-15 && per_map.values[7] == 1.0);
        assert_eq!(per_map.relative, [1.0, 0.5]);
        let relative = normalise(&responses, Normalise::RelativeNorm).unwrap();
        assert!((relative.values[7] - 1.0 / 3.0).abs() < 1e-15);
        assert_eq!(normalise(&responses, Normalise::Maximum).unwrap().values[7], 0.5);
        assert_eq!(normalise(&responses, Normalise::Mean).unwrap().values[7], 2.0);
        let with_silent = tensor([responses.values(), &[0.0; 8]].concat());
        let found = normalise(&with_silent, Normalise::RelativeNorm).unwrap();
        assert_eq!((found.silent_units, found.relative[2]), (vec![1], 0.0));
        assert!(found.values[8..].iter().all(|x| *x == 0.0));
        assert!(
            normalise(&tensor(vec![-1.0; 8]), Normalise::Mean)
                .unwrap_err()
                .to_string()
                .contains("minimum of -1")
        );
    }

    #[test]
    fn gaps_stay_and_do_not_count() {
        let nan = f64::NAN;
        // Stimulus 1 lasts one bin.
        let responses = tensor(vec![4.0, 2.0, 0.0, 0.0, 3.0, nan, 1.0, nan]);
        assert_eq!(best_rates(&responses), [3.0, 3.0]);
        let found = normalise(&responses, Normalise::PerMap).unwrap();
        assert!(found.values[5].is_nan() && (found.values[4] - 3.0 / 10f64.sqrt()).abs() < 1e-15);
        let ignored = smooth(&responses, 1.0, Padding::Ignored).unwrap();
        assert!((ignored[4] - 3.0).abs() < 1e-12 && ignored[5].is_nan());
        let zero = smooth(&responses, 1.0, Padding::Zero).unwrap();
        assert!(zero[4] < 2.5 && zero[5].is_nan() && (zero[0] - ignored[0]).abs() < 1e-15);
    }

    #[test]
    fn the_scale_that_wins_more_pairs_is_preferred_and_ties_take_the_second() {
        let responses = tensor([[4.0; 4], [1.0; 4], [1.0; 4], [4.0; 4], [2.0; 4], [2.0; 4]].concat());
        assert_eq!(preferred_set(&responses, &[vec![0], vec![1]]).unwrap(), [0, 1, 1]);
        assert!(preferred_set(&responses, &[vec![0], vec![1, 0]]).is_err());
        assert!(preferred_set(&responses, &[vec![0], vec![2]]).is_err());
    }
}
