//! Say how nonlinear an encoder is where it is used: how much its local linear map changes over samples.
//!
//! With the Jacobian J_i (D × M, ∂f_m/∂x_d at sample i of N) and its mean J̄ over samples, for target m
//!
//! ```text
//! s_im  = Σ_d |J_i[d,m] − J̄[d,m]|            distance of the local map from the mean map (summed over features)
//! μ_m   = mean_i s_im                        mean deviation
//! JNE_m = √ mean_i (s_im − μ_m)²             divisor N
//! JNE-SS_im = (s_im − μ_m)²                  which samples drive it
//! gain_m = mean_i Σ_d |J_i[d,m]|             JNE / gain and μ / gain do not depend on units
//! ```
//!
//! JNE alone says how much the *size* of the deviation varies: |x|, and a ReLU that is active half of the time,
//! have JNE 0, because their maps lie at the same distance from the mean everywhere. μ sees them (1 and |w|/2).
//! So all of these come together, always. All are in units of target per feature but the ratios, which have none.
//!
//! An encoder that was fitted to noise has curvature of its own. [`linear_surrogate`] makes responses that are
//! linear in the features and as predictable as the real ones: fit the same encoder to them, and subtract.
//!
//! Source: JNE and JNE-SS as in specs: alignment-methods B4. Differs from it: μ and the ratios are always told.
//! Cost: every Jacobian twice, O(N D M) beside; memory O(64 D M + N M), never N D M.

use faer::{Mat, MatMut, MatRef};
use rayon::prelude::*;

use super::{AlphaGrid, RidgeParams, RidgePlan, Selection};
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::linalg::{all_finite, centre_columns, column_means, product};
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::{mean, sd};

/// Most blocks in which Jacobians are summed; each holds one matrix.
const BLOCKS: usize = 64;

/// How nonlinear an encoder is, per target. NaN ratios where the encoder does not depend on the features.
#[derive(Debug, Clone, PartialEq)]
pub struct Nonlinearity {
    /// JNE: how much the distance from the mean map varies over samples.
    pub jne: Vec<f64>,
    /// μ: the mean distance from the mean map; 0 for linear encoders only.
    pub deviation: Vec<f64>,
    /// mean_i Σ_d |J_i[d,m]|.
    pub gain: Vec<f64>,
    /// JNE / gain.
    pub normalised_jne: Vec<f64>,
    /// μ / gain, in [0, 2].
    pub normalised_deviation: Vec<f64>,
    /// JNE-SS (samples × targets).
    pub per_sample: Mat<f64>,
    /// Targets without a ratio.
    pub n_undefined: usize,
}

/// Measure `n_samples` Jacobians (features × targets); `jacobian(i, out)` writes the i-th into `out`.
///
/// It is called twice per sample, from several threads, and must write the same both times.
/// Errors: fewer than 2 samples, no features or targets, a Jacobian that is not finite, a stop on request.
pub fn jacobian_nonlinearity(
    (n_samples, n_features, n_targets): (usize, usize, usize),
    jacobian: impl Fn(usize, MatMut<f64>) + Sync,
    monitor: &Monitor<'_>,
) -> Result<Nonlinearity> {
    if n_samples < 2 || n_features == 0 || n_targets == 0 {
        return Err(Error::TooFew {
            what: "jacobians".into(),
            needed: "2 samples, 1 feature and 1 target".into(),
            found: format!("{n_samples}, {n_features} and {n_targets}"),
            hint: "evaluate the Jacobian at every test sample".into(),
        });
    }
    // Differences from the first map: what is the same for all samples is exactly 0.
    let first = evaluated(&jacobian, 0, Mat::zeros(n_features, n_targets))?;
    let block = n_samples.div_ceil(BLOCKS);
    let sums = (0..n_samples.div_ceil(block))
        .into_par_iter()
        .map(|b| {
            let (mut sum, mut map) = (Mat::zeros(n_features, n_targets), Mat::zeros(n_features, n_targets));
            for i in b * block..n_samples.min((b + 1) * block) {
                monitor.check()?;
                map = evaluated(&jacobian, i, map)?;
                sum += &map - &first;
            }
            Ok(sum)
        })
        .collect::<Result<Vec<Mat<f64>>>>()?;
    let mut mean_map = Mat::zeros(n_features, n_targets);
    sums.iter().for_each(|sum| mean_map += sum);
    mean_map = first + mean_map * faer::Scale(1.0 / n_samples as f64);

    // Per sample the distances of all targets, then the sizes of all targets.
    let rows = (0..n_samples)
        .into_par_iter()
        .map_init(
            || Mat::zeros(n_features, n_targets),
            |map, i| {
                monitor.check()?;
                jacobian(i, map.as_mut());
                let distance = |m: usize| -> f64 {
                    let sides = map.col_as_slice(m).iter().zip(mean_map.col_as_slice(m));
                    sides.map(|(j, mean)| (j - mean).abs()).sum()
                };
                let size = |m: usize| map.col_as_slice(m).iter().map(|j| j.abs()).sum::<f64>();
                Ok((0..n_targets).map(distance).chain((0..n_targets).map(size)).collect())
            },
        )
        .collect::<Result<Vec<Vec<f64>>>>()?;
    let over_samples = |at: usize| mean(&rows.iter().map(|row| row[at]).collect::<Vec<_>>());
    let deviation: Vec<f64> = (0..n_targets).map(over_samples).collect();
    let gain: Vec<f64> = (n_targets..2 * n_targets).map(over_samples).collect();
    let per_sample = Mat::from_fn(n_samples, n_targets, |i, m| (rows[i][m] - deviation[m]).powi(2));
    let jne: Vec<f64> = (0..n_targets).map(|m| mean(per_sample.col_as_slice(m)).sqrt()).collect();
    let ratio = |x: &[f64]| -> Vec<f64> {
        x.iter().zip(&gain).map(|(x, gain)| if *gain > 0.0 { x / gain } else { f64::NAN }).collect()
    };
    Ok(Nonlinearity {
        normalised_jne: ratio(&jne),
        normalised_deviation: ratio(&deviation),
        n_undefined: gain.iter().filter(|gain| !(**gain > 0.0)).count(),
        jne,
        deviation,
        gain,
        per_sample,
    })
}

fn evaluated(
    jacobian: &(impl Fn(usize, MatMut<f64>) + Sync),
    i: usize,
    mut map: Mat<f64>,
) -> Result<Mat<f64>> {
    jacobian(i, map.as_mut());
    if !all_finite(map.as_ref()) {
        let bad = |m: &usize| map.col_as_slice(*m).iter().any(|v| !v.is_finite());
        return Err(Error::NotFinite {
            what: "jacobians (samples × targets)".into(),
            row: i,
            column: (0..map.ncols()).find(bad).unwrap_or(0),
            count: (0..map.ncols()).filter(bad).count(),
            hint: "look for saturated or overflowing units of the encoder".into(),
        });
    }
    Ok(map)
}

/// Responses (n × M) that are linear in `x` (n × D), have the means and variances of `y` (n × M), and of which
/// the share `explained[m]` of variance is signal: what the encoder explains of `y` on held-out samples.
///
/// The signal is a ridge regression of `y` on `x` (penalty by leave-one-out), brought to its share; the rest is
/// Gaussian. An encoder fitted to these shows the nonlinearity that noise alone gives it.
/// Errors: shapes that do not match, shares outside [0, 1], values that are not finite, features that do not
/// vary. A target that does not vary, or of which nothing is linear, keeps no signal.
pub fn linear_surrogate(x: MatRef<f64>, y: MatRef<f64>, explained: &[f64], seed: u64) -> Result<Mat<f64>> {
    if explained.len() != y.ncols() || explained.iter().any(|share| !(0.0..=1.0).contains(share)) {
        return Err(Error::Invalid {
            what: "explained".into(),
            expected: format!("{} shares from 0 to 1 (one per target)", y.ncols()),
            found: format!("{explained:.3?}"),
            hint: "pass the held-out R² of the encoder, with negative ones set to 0".into(),
        });
    }
    let params = RidgeParams {
        alphas: AlphaGrid::default(),
        selection: Selection::LeaveOneOut,
        ..RidgeParams::default()
    };
    let plan = RidgePlan::new(x, x.get(..0, ..), &[], &params)?;
    let fit = plan.fit(y)?;
    let weights = plan.weights(y, &fit.alphas)?.weights;
    let mut signal = product(x, weights.as_ref());
    let signal_means = column_means(signal.as_ref());
    centre_columns(signal.as_mut(), &signal_means);
    let means = column_means(y);
    let columns: Vec<Vec<f64>> = (0..y.ncols())
        .into_par_iter()
        .map(|m| {
            let mut stream = Stream::new(seed, "linear surrogate", m as u64);
            let (size, signal) = (sd(&y.col(m).iter().copied().collect::<Vec<_>>()), signal.col_as_slice(m));
            let strength = sd(signal);
            let gain = if strength > 0.0 { size * explained[m].sqrt() / strength } else { 0.0 };
            let noise = size * (1.0 - if gain > 0.0 { explained[m] } else { 0.0 }).sqrt();
            signal.iter().map(|s| means[m] + gain * s + noise * stream.normal()).collect()
        })
        .collect();
    Ok(Mat::from_fn(y.nrows(), y.ncols(), |i, m| columns[m][i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::summary::{normal_quantile, pearson};

    /// Means over x ~ N(0, 1) by the midpoints of N equal shares.
    const N: usize = 20_000;

    fn measure(derivative: impl Fn(f64) -> f64 + Sync) -> Nonlinearity {
        let x: Vec<f64> = (0..N).map(|i| normal_quantile((i as f64 + 0.5) / N as f64)).collect();
        jacobian_nonlinearity((N, 1, 1), |i, mut out| out[(0, 0)] = derivative(x[i]), &Monitor::silent())
            .unwrap()
    }

    #[track_caller]
    fn check(found: &Nonlinearity, jne: f64, deviation: f64) {
        assert!((found.jne[0] - jne).abs() < 2e-4, "JNE {} instead of {jne}", found.jne[0]);
        assert!((found.deviation[0] - deviation).abs() < 2e-4, "μ {} for {deviation}", found.deviation[0]);
        assert!((found.normalised_jne[0] - found.jne[0] / found.gain[0]).abs() < 1e-15);
        assert!((found.normalised_deviation[0] - found.deviation[0] / found.gain[0]).abs() < 1e-15);
    }

    #[test]
    fn fixtures_of_one_feature() {
        let linear = measure(|_| 0.1);
        assert_eq!((linear.jne[0], linear.deviation[0]), (0.0, 0.0));
        assert!((linear.gain[0] - 0.1).abs() < 1e-12);
        // A ReLU of weight w that is active in a share p of samples: J is 0 or w.
        for (p, w) in [(0.8413447460685429_f64, 1.0_f64), (0.5, 1.0), (0.2, -3.0)] {
            let threshold = normal_quantile(1.0 - p);
            let found = measure(|x| if x > threshold { w } else { 0.0 });
            let jne = (1.0 - 2.0 * p).abs() * (p * (1.0 - p)).sqrt() * w.abs();
            check(&found, jne, 2.0 * p * (1.0 - p) * w.abs());
        }
        // The numbers of the specification.
        check(&measure(|x| if x > -1.0 { 1.0 } else { 0.0 }), 0.2494, 0.2670);
        check(&measure(|x| x), 0.6028, 0.7979);
        check(&measure(|x| 1.0 - x.tanh().powi(2)), 0.1481, 0.2749);
        check(&measure(f64::signum), 0.0, 1.0);
    }

    #[test]
    fn a_quadratic_form_sums_over_its_features() {
        // Σ ½ a_k x_k² with independent x: J = (a_k x_k), Var s = Σ a_k² (1 − 2/π).
        let (n, a) = (200_000, [1.0, 2.0, 0.5]);
        let mut stream = Stream::new(1, "quadratic", 0);
        let x = Mat::from_fn(n, 3, |_, _| stream.normal());
        let write = |i: usize, mut out: MatMut<f64>| (0..3).for_each(|k| out[(k, 0)] = a[k] * x[(i, k)]);
        let found = jacobian_nonlinearity((n, 3, 1), write, &Monitor::silent()).unwrap();
        assert!((found.jne[0] - 1.3812).abs() < 0.01, "{}", found.jne[0]);
        let deviation = 3.5 * (2.0 / std::f64::consts::PI).sqrt();
        assert!((found.deviation[0] - deviation).abs() < 0.01);
    }

    #[test]
    fn samples_and_targets_by_hand() {
        // Two samples, two features, two targets: J_1 = [[1, 0], [2, 5]], J_2 = [[3, 0], [2, 5]].
        // J̄ = [[2, 0], [2, 5]]: s = 1 for the first target at both samples, 0 for the second.
        let maps = [[[1.0, 0.0], [2.0, 5.0]], [[3.0, 0.0], [2.0, 5.0]], [[8.0, 0.0], [2.0, 5.0]]];
        let write = |i: usize, mut out: MatMut<f64>| {
            (0..2).for_each(|d| (0..2).for_each(|m| out[(d, m)] = maps[i][d][m]))
        };
        let two = jacobian_nonlinearity((2, 2, 2), write, &Monitor::silent()).unwrap();
        assert_eq!((two.jne, two.deviation, two.gain), (vec![0.0; 2], vec![1.0, 0.0], vec![4.0, 5.0]));
        // With a third one, J̄ = 4: s = 3, 1, 4, μ = 8/3, JNE-SS = 1/9, 25/9, 16/9, JNE² = 14/9.
        let three = jacobian_nonlinearity((3, 2, 2), write, &Monitor::silent()).unwrap();
        let expected = [1.0 / 9.0, 25.0 / 9.0, 16.0 / 9.0];
        assert!((0..3).all(|i| (three.per_sample[(i, 0)] - expected[i]).abs() < 1e-14));
        assert!((three.jne[0] - (14.0_f64 / 9.0).sqrt()).abs() < 1e-14);
    }

    #[test]
    fn a_silent_target_has_no_ratio_and_bad_input_is_named() {
        let silent =
            jacobian_nonlinearity((3, 1, 2), |_, mut out| out.fill(0.0), &Monitor::silent()).unwrap();
        assert!(silent.n_undefined == 2 && silent.normalised_jne.iter().all(|v| v.is_nan()));
        let one = jacobian_nonlinearity((1, 1, 1), |_, mut out| out.fill(0.0), &Monitor::silent());
        assert!(one.unwrap_err().to_string().contains("2 samples"));
        let write = |i: usize, mut out: MatMut<f64>| out[(0, 1)] = if i == 2 { f64::NAN } else { 1.0 };
        let bad = jacobian_nonlinearity((4, 2, 3), write, &Monitor::silent()).unwrap_err();
        assert!(bad.to_string().contains("row 2, column 1"), "{bad}");
    }

    #[test]
    fn threads_do_not_change_bits() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let write = |i: usize, mut out: MatMut<f64>| {
                let mut stream = Stream::new(3, "maps", i as u64);
                (0..5).for_each(|d| (0..4).for_each(|m| out[(d, m)] = stream.normal()))
            };
            pool.install(|| jacobian_nonlinearity((300, 5, 4), write, &Monitor::silent()).unwrap())
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn a_surrogate_is_linear_and_as_predictable_as_told() {
        let mut stream = Stream::new(5, "surrogate tests", 0);
        let x = Mat::from_fn(4000, 6, |_, _| stream.normal());
        let y = Mat::from_fn(4000, 2, |i, m| {
            3.0 + (m as f64 + 1.0) * (x[(i, 0)] - x[(i, 3)] + x[(i, 1)].powi(2) + stream.normal())
        });
        let shares = [0.6, 0.2];
        let found = linear_surrogate(x.as_ref(), y.as_ref(), &shares, 1).unwrap();
        let design = Mat::from_fn(4000, 7, |i, j| if j == 6 { 1.0 } else { x[(i, j)] });
        let b = stereotax_base::linalg::least_squares(design.as_ref(), found.as_ref(), 1e-12).unwrap();
        let fitted = product(design.as_ref(), b.as_ref());
        for m in 0..2 {
            let r2 = pearson(fitted.col_as_slice(m), found.col_as_slice(m)).powi(2);
            assert!((r2 - shares[m]).abs() < 0.03, "{r2} instead of {}", shares[m]);
            assert!((sd(found.col_as_slice(m)) / sd(y.col_as_slice(m)) - 1.0).abs() < 0.05);
        }
        assert_ne!(found, linear_surrogate(x.as_ref(), y.as_ref(), &shares, 2).unwrap());
        assert!(linear_surrogate(x.as_ref(), y.as_ref(), &[1.2, 0.0], 1).is_err());
    }
}
