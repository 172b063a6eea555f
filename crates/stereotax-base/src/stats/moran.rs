//! Random maps with the spatial autocorrelation of a given one (Moran spectral randomisation).
//!
//! ```text
//! H W H = V Λ Vᵀ,  H = I − 11ᵀ/n           W symmetric weights of places, larger for nearer ones; 0 on the diagonal
//! x − mean = Σ_k a_k v_k
//! single   x' = mean + Σ_k s_k a_k v_k,  s_k = ±1                   mean, variance and Moran's I as in x
//! pairs    neighbouring (a_k, a_k+1) turned by a random angle        mean and variance as in x, I nearly
//! ```
//!
//! For places that are on no sphere (volumes, subcortex, a network), or of which a part is missing, where a spin
//! would turn values into the void. `single` keeps the moduli of all coefficients: where a map is little more than
//! one eigenvector, all surrogates are nearly ± the map, and no p-value is small; `pairs` has no such limit.
//!
//! Source: Wagner & Dray 2015; specs: peers 5 (11). Cost: O(n³) once, O(n²) per surrogate.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::rng::Stream;
use super::summary::{check_finite, mean};
use crate::data::{Error, Monitor, Result};
use crate::linalg::{cross, eigh, product};

/// What is random in a surrogate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoranProcedure {
    /// The sign of each coefficient.
    Single,
    /// The angle of each pair of neighbouring coefficients (default).
    #[default]
    Pairs,
}

/// Surrogates of a map (n_surrogates × places); places where it is NaN stay so and take no part.
///
/// Errors: weights that are not square, symmetric within 1e-9 of the largest, or finite; fewer than 3 places with
/// a value.
pub fn moran_surrogates(
    map: &[f64],
    weights: MatRef<f64>,
    procedure: MoranProcedure,
    n_surrogates: usize,
    seed: u64,
    monitor: &Monitor<'_>,
) -> Result<Mat<f64>> {
    let places: Vec<usize> = (0..map.len()).filter(|&i| !map[i].is_nan()).collect();
    let n = places.len();
    if (weights.nrows(), weights.ncols()) != (map.len(), map.len()) {
        return Err(Error::Shape {
            what: "weights".into(),
            expected: format!("{0} × {0} (one row and column per place)", map.len()),
            found: format!("{} × {}", weights.nrows(), weights.ncols()),
            hint: "inverse distances between places will do".into(),
        });
    }
    check_finite("weights", weights)?;
    let largest = weights.norm_max();
    let uneven = (0..map.len())
        .flat_map(|j| (0..j).map(move |i| (i, j)))
        .find(|&(i, j)| !((weights[(i, j)] - weights[(j, i)]).abs() <= 1e-9 * largest));
    if n < 3 || uneven.is_some() || map.iter().any(|x| x.is_infinite()) {
        return Err(Error::Invalid {
            what: "map and weights".into(),
            expected: "at least 3 places with a finite value, and symmetric weights".into(),
            found: uneven.map_or(format!("{n} places"), |at| format!("weights that differ at {at:?}")),
            hint: "average the weights with their transpose".into(),
        });
    }
    // H W H without its diagonal.
    let w = Mat::from_fn(n, n, |i, j| if i == j { 0.0 } else { weights[(places[i], places[j])] });
    let row_means: Vec<f64> = (0..n).map(|i| (0..n).map(|j| w[(i, j)]).sum::<f64>() / n as f64).collect();
    let all = mean(&row_means);
    let centred = Mat::from_fn(n, n, |i, j| w[(i, j)] - row_means[i] - row_means[j] + all);
    let vectors = eigh(centred.as_ref())?.vectors;
    let values: Vec<f64> = places.iter().map(|&i| map[i]).collect();
    let centre = mean(&values);
    let column = Mat::from_fn(n, 1, |i, _| values[i] - centre);
    // The constant vector is among them (eigenvalue 0), with a coefficient of 0: nothing of it may be turned in.
    let constant = (0..n)
        .max_by(|&a, &b| {
            let sum = |k: usize| vectors.col(k).iter().sum::<f64>().abs();
            sum(a).total_cmp(&sum(b))
        })
        .unwrap_or(0);
    let kept: Vec<usize> = (0..n).filter(|&k| k != constant).collect();
    let basis = Mat::from_fn(n, kept.len(), |i, k| vectors[(i, kept[k])]);
    let coefficients = cross(basis.as_ref(), column.as_ref());
    let draws = (0..n_surrogates)
        .into_par_iter()
        .map(|draw| {
            monitor.check()?;
            let mut stream = Stream::new(seed, "moran surrogates", draw as u64);
            let mut a: Vec<f64> = coefficients.col(0).iter().copied().collect();
            match procedure {
                MoranProcedure::Single => {
                    a.iter_mut().for_each(|a| *a *= if stream.next_u64() >> 63 == 1 { -1.0 } else { 1.0 });
                }
                MoranProcedure::Pairs => {
                    // An odd one out, first or last by turns, takes a sign.
                    let begin = if a.len() % 2 == 1 { (stream.next_u64() >> 63) as usize } else { 0 };
                    if a.len() % 2 == 1 {
                        let alone = if begin == 1 { 0 } else { a.len() - 1 };
                        a[alone] *= if stream.next_u64() >> 63 == 1 { -1.0 } else { 1.0 };
                    }
                    for k in (begin..a.len().saturating_sub(1)).step_by(2) {
                        let (s, c) = (std::f64::consts::TAU * stream.uniform()).sin_cos();
                        (a[k], a[k + 1]) = (c * a[k] - s * a[k + 1], s * a[k] + c * a[k + 1]);
                    }
                }
            }
            let turned = Mat::from_fn(a.len(), 1, |k, _| a[k]);
            Ok(product(basis.as_ref(), turned.as_ref()).col(0).iter().map(|x| x + centre).collect())
        })
        .collect::<Result<Vec<Vec<f64>>>>()?;
    let mut out = Mat::full(n_surrogates, map.len(), f64::NAN);
    for (draw, values) in draws.iter().enumerate() {
        for (&place, value) in places.iter().zip(values) {
            out[(draw, place)] = *value;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::summary::{pearson, variance};

    /// Places on a ring, weights of neighbours, a smooth map.
    fn ring(n: usize) -> (Mat<f64>, Vec<f64>) {
        let w = Mat::from_fn(n, n, |i, j| {
            let apart = i.abs_diff(j).min(n - i.abs_diff(j));
            if apart == 0 { 0.0 } else { (-(apart as f64) / 2.0).exp() }
        });
        let angle = |i: usize| std::f64::consts::TAU * i as f64 / n as f64;
        (
            w,
            (0..n)
                .map(|i| 3.0 + angle(i).sin() + 0.5 * (2.0 * angle(i)).cos() + 0.2 * (5.0 * angle(i)).sin())
                .collect(),
        )
    }

    fn moran(x: &[f64], w: &Mat<f64>) -> f64 {
        let m = mean(x);
        let n = x.len();
        let (mut over, mut under) = (0.0, 0.0);
        for i in 0..n {
            under += (x[i] - m).powi(2);
            for j in 0..n {
                over += w[(i, j)] * (x[i] - m) * (x[j] - m);
            }
        }
        over / under
    }

    #[test]
    fn surrogates_keep_mean_variance_and_autocorrelation_and_lose_the_map() {
        let (w, x) = ring(41);
        for procedure in [MoranProcedure::Single, MoranProcedure::Pairs] {
            let made = moran_surrogates(&x, w.as_ref(), procedure, 200, 0, &Monitor::silent()).unwrap();
            let mut together = 0.0;
            for draw in 0..200 {
                let y: Vec<f64> = made.row(draw).iter().copied().collect();
                assert!((mean(&y) - 3.0).abs() < 1e-10 && (variance(&y) - variance(&x)).abs() < 1e-10);
                let loose = if procedure == MoranProcedure::Single { 1e-10 } else { 0.35 };
                assert!((moran(&y, &w) / moran(&x, &w) - 1.0).abs() < loose, "{procedure:?}");
                together += pearson(&x, &y) / 200.0;
            }
            assert!(together.abs() < 0.2, "{together}");
        }
    }

    #[test]
    fn undefined_places_stay_undefined_and_bad_weights_are_refused() {
        let (w, mut x) = ring(12);
        x[4] = f64::NAN;
        let run = |x: &[f64], w: &Mat<f64>| {
            moran_surrogates(x, w.as_ref(), MoranProcedure::Pairs, 3, 1, &Monitor::silent())
        };
        let made = run(&x, &w).unwrap();
        assert!((0..3).all(|d| (0..12).all(|i| made[(d, i)].is_nan() == (i == 4))));
        let mut skew = w.clone();
        skew[(0, 1)] += 1.0;
        assert!(run(&x, &skew).unwrap_err().to_string().contains("transpose"));
        assert!(run(&x[..11], &w).is_err() && run(&[f64::NAN; 12], &w).is_err());
    }
}
