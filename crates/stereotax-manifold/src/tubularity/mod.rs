//! Score how much the trajectories of a population are like tubes: thin, and without crossings inside a bundle.
//!
//! ```text
//! z        units scored over all rows (stimulus, direction, time); PCA to 10 dimensions; one curve per stimulus and
//!          direction, at 150 equal steps of arc length u; a bundle holds the directions of one stimulus
//! c(u)     mean of the bundle, smoothed; L its length
//! S_tight  mean over 100 bins of u of the 0.9 quantile of |X(u) − c(bin)|, over L
//! S_cross  X_ε / L,  X_ε = 2/(m(m−1)) Σ_{pairs} exp(−ρ²/2ε²) (1 − (t·t′)²) / 150²      ρ ≤ 3ε, m curves
//! ```
//!
//! Lower is more tube-like. S_cross falls with the length of curves, and that grows with the root of the number of units:
//! compare populations at the same number (`matched`, the default), or by the crossing number. The smoothing s of the
//! centre line is a residual in absolute units of z (0.01 in the first release of the reference, 2 in the later one):
//! scores of other smoothings are other scores. All variants of both scores come with each bundle.
//!
//! Units are drawn with replacement. Draws of one population are no independent samples: their interval, and that of
//! paired differences between populations, stand for the choice of units, and no test is made of them.
//!
//! Source: Bertram et al. 2026; specs: encoding-manifolds 5 (T1, with T2–T7). Differs from the reference in the spline
//! (Reinsch's, not FITPACK's) and in a seed. Cost: per draw the leading eigenvectors of rows × units, and for each
//! bundle the distances of all its points, (150 m)².

mod bundle;
mod spline;

pub use bundle::Bundle;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use bundle::Curve;
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::linalg::{eigh_largest, product};
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::{check_finite, is_constant, mean, quantile};

/// How far the centre line may leave the mean of its bundle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Smoothing {
    /// Residual sum of squares per dimension, over 150 points, in units of z.
    Absolute(f64),
    /// The same as a share of the mean sum of squares of the mean line's dimensions.
    Relative(f64),
}

impl Smoothing {
    fn residual(self, sum_of_squares: f64) -> f64 {
        match self {
            Smoothing::Absolute(s) => s,
            Smoothing::Relative(share) => share * sum_of_squares,
        }
    }

    fn is_off(self) -> bool {
        let (Smoothing::Absolute(s) | Smoothing::Relative(s)) = self;
        s <= 0.0
    }
}

/// Choices of the scores.
#[derive(Debug, Clone, PartialEq)]
pub struct TubularityParams {
    /// Dimensions of the trajectories. Default 10.
    pub n_components: usize,
    /// Default 2 absolute, as in the latest revision of the reference.
    pub smoothing: Smoothing,
    /// Divide trajectories by the root of their total variance (T3). Default no.
    pub scale_free: bool,
    /// q of the radii. Default 0.9.
    pub quantile: f64,
    /// ε from the nearest point of another curve anywhere, not among ten neighbours (which caps it). Default no.
    pub exact_epsilon: bool,
    /// Refits of the centre line as a principal curve, at most (T7). Default 0; 10 is usual.
    pub refits: usize,
    /// Draws of units. Default 30.
    pub n_draws: usize,
    /// Draw as many units of each population as the smallest has. Default yes.
    pub matched: bool,
    /// Default 0.
    pub seed: u64,
}

impl Default for TubularityParams {
    fn default() -> Self {
        TubularityParams {
            n_components: 10,
            smoothing: Smoothing::Absolute(2.0),
            scale_free: false,
            quantile: 0.9,
            exact_epsilon: false,
            refits: 0,
            n_draws: 30,
            matched: true,
            seed: 0,
        }
    }
}

/// Responses of a population: rows are stimulus × direction × time (time fastest), columns units.
#[derive(Debug, Clone, Copy)]
pub struct Population<'a> {
    /// The rows.
    pub responses: MatRef<'a, f64>,
    /// Stimuli, directions, times.
    pub shape: [usize; 3],
}

/// Scores of one draw: means over bundles, weighted by their curves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TubularityScores {
    /// S_tight (T1).
    pub tightness: f64,
    /// S_cross (T1).
    pub crossing: f64,
    /// T3.
    pub crossing_number: f64,
    /// T6.
    pub crossing_legacy: f64,
    /// T2.
    pub tightness_contextual: f64,
    /// T4, at the same u.
    pub tightness_matched: f64,
    /// T4, to the nearest point.
    pub tightness_normal: f64,
    /// T5: median over pairs of bundles; above 1 tubes are disjoint. NaN of one bundle.
    pub separation: f64,
    /// T5: the least over pairs.
    pub least_separation: f64,
    /// T5: largest radius × curvature; below 1 a tube does not cut itself by bending.
    pub bend: f64,
}

/// What is known of one population.
#[derive(Debug, Clone)]
pub struct Tubularity {
    /// Scores of each draw of units.
    pub draws: Vec<TubularityScores>,
    /// Units in a draw.
    pub n_units: usize,
    /// Scores of all units, each once.
    pub all_units: TubularityScores,
    /// The bundles of all units.
    pub bundles: Vec<Bundle>,
    /// Units that respond alike in all rows: they stay 0.
    pub n_silent: usize,
}

/// Scores of several populations, drawn alike.
///
/// Errors: no population, a shape that does not fit, fewer than two directions, times or units, values that are not
/// finite, settings outside their ranges, only silent units.
pub fn tubularity(
    populations: &[Population<'_>],
    params: &TubularityParams,
    monitor: &Monitor<'_>,
) -> Result<Vec<Tubularity>> {
    let (Smoothing::Absolute(s) | Smoothing::Relative(s)) = params.smoothing;
    if !(0.0..=1.0).contains(&params.quantile) || params.n_components == 0 || !s.is_finite() {
        return Err(Error::Invalid {
            what: "quantile, n_components and smoothing".into(),
            expected: "a share, a dimension at least, a number".into(),
            found: format!("{}, {} and {s}", params.quantile, params.n_components),
            hint: "0.9, 10 and 2 are the reference's".into(),
        });
    }
    for (at, population) in populations.iter().enumerate() {
        let [stimuli, directions, times] = population.shape;
        let (rows, units) = (population.responses.nrows(), population.responses.ncols());
        if stimuli * directions * times != rows {
            return Err(Error::Shape {
                what: format!("population {at}"),
                expected: format!("{stimuli} × {directions} × {times} rows"),
                found: format!("{rows} rows"),
                hint: "rows are stimulus × direction × time, time fastest".into(),
            });
        }
        if stimuli == 0 || directions < 2 || times < 2 || units < 2 {
            return Err(Error::TooFew {
                what: format!("population {at}"),
                needed: "1 stimulus of 2 directions (curves of a bundle), 2 times and 2 units".into(),
                found: format!("{stimuli} × {directions} × {times}, {units} units"),
                hint: "a bundle is the trajectories of one class of stimuli; a single curve has no thickness"
                    .into(),
            });
        }
        check_finite(&format!("population {at}"), population.responses)?;
    }
    let fewest = populations.iter().map(|p| p.responses.ncols()).min().unwrap_or(0);
    populations
        .iter()
        .enumerate()
        .map(|(at, population)| {
            let (z, n_silent) = scored(population.responses);
            if n_silent == z.ncols() {
                return Err(Error::ZeroVariance {
                    what: format!("population {at}"),
                    detail: format!("all {n_silent} units are silent or constant"),
                    hint: "leave silent units out, and look at the units of the array's first axis".into(),
                });
            }
            let n_units = if params.matched { fewest } else { z.ncols() };
            let draws = (0..params.n_draws)
                .into_par_iter()
                .map(|draw| {
                    monitor.check()?;
                    let mut stream = Stream::new(params.seed, "units of trajectories", draw as u64);
                    let mut weights = vec![0.0; z.ncols()];
                    (0..n_units).for_each(|_| weights[stream.below(z.ncols())] += 1.0);
                    Ok(scores(&bundles(&z, &weights, population.shape, params)?))
                })
                .collect::<Result<Vec<_>>>()?;
            let bundles = bundles(&z, &vec![1.0; z.ncols()], population.shape, params)?;
            Ok(Tubularity { draws, n_units, all_units: scores(&bundles), bundles, n_silent })
        })
        .collect()
}

/// Units with mean 0 and standard deviation 1 (divisor n); constant ones are 0, and counted.
fn scored(x: MatRef<f64>) -> (Mat<f64>, usize) {
    let mut z = x.to_owned();
    let mut silent = 0;
    for j in 0..z.ncols() {
        let column: Vec<f64> = z.col(j).iter().copied().collect();
        let centre = mean(&column);
        let spread = (column.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / column.len() as f64).sqrt();
        let constant = is_constant(&column);
        silent += usize::from(constant);
        z.col_mut(j).iter_mut().for_each(|v| *v = if constant { 0.0 } else { (*v - centre) / spread });
    }
    (z, silent)
}

/// The bundles of units with weights: rows are brought to the leading eigenvectors of Σ w z zᵀ.
fn bundles(
    z: &Mat<f64>,
    weights: &[f64],
    [stimuli, directions, times]: [usize; 3],
    params: &TubularityParams,
) -> Result<Vec<Bundle>> {
    let used: Vec<usize> = (0..z.ncols()).filter(|&j| weights[j] > 0.0).collect();
    let rows = z.nrows();
    let y = Mat::from_fn(rows, used.len(), |i, j| z[(i, used[j])] * weights[used[j]].sqrt());
    let count = params.n_components.min(rows).min(used.len());
    let found = eigh_largest(rows, count, 1e-10, params.seed, |v| {
        Ok(product(y.as_ref(), product(y.transpose(), v).as_ref()))
    })?;
    let total = y.squared_norm_l2() / rows as f64;
    let scale = if params.scale_free && total > 0.0 { 1.0 / total.sqrt() } else { 1.0 };
    let point = |row: usize| -> Vec<f64> {
        (0..count).map(|k| scale * found.vectors[(row, k)] * found.values[k].max(0.0).sqrt()).collect()
    };
    let mut made: Vec<Bundle> = (0..stimuli)
        .map(|stimulus| {
            let curves: Vec<Curve> = (0..directions)
                .map(|direction| {
                    let first = (stimulus * directions + direction) * times;
                    Curve::of(&(first..first + times).map(point).collect::<Vec<_>>())
                })
                .collect();
            bundle::bundle(stimulus, &curves, params)
        })
        .collect();
    for at in 0..made.len() {
        let others = (0..made.len()).filter(|&other| other != at);
        let nearest =
            others.map(|other| bundle::apart(&made[at], &made[other])).fold(f64::INFINITY, f64::min);
        if nearest.is_finite() {
            made[at].tightness_contextual = mean(&made[at].radii) / (nearest + 1e-12);
        }
    }
    Ok(made)
}

fn scores(bundles: &[Bundle]) -> TubularityScores {
    let curves: f64 = bundles.iter().map(|b| b.n_curves as f64).sum();
    let over =
        |of: fn(&Bundle) -> f64| bundles.iter().map(|b| b.n_curves as f64 * of(b)).sum::<f64>() / curves;
    let pairs: Vec<f64> = (0..bundles.len())
        .flat_map(|a| (a + 1..bundles.len()).map(move |b| (a, b)))
        .map(|(a, b)| bundle::separation(&bundles[a], &bundles[b]))
        .collect();
    TubularityScores {
        tightness: over(|b| b.tightness),
        crossing: over(|b| b.crossing),
        crossing_number: over(|b| b.crossing_number),
        crossing_legacy: over(|b| b.crossing_legacy),
        tightness_contextual: over(|b| b.tightness_contextual),
        tightness_matched: over(|b| b.tightness_matched),
        tightness_normal: over(|b| b.tightness_normal),
        separation: quantile(&pairs, 0.5),
        least_separation: quantile(&pairs, 0.0),
        bend: bundles.iter().map(|b| b.bend).fold(f64::NAN, f64::max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_curves(curves: &[Vec<Vec<f64>>], params: &TubularityParams) -> Bundle {
        let curves: Vec<Curve> = curves.iter().map(|curve| Curve::of(curve)).collect();
        bundle::bundle(0, &curves, params)
    }

    fn interpolating() -> TubularityParams {
        TubularityParams { smoothing: Smoothing::Absolute(0.0), ..TubularityParams::default() }
    }

    #[test]
    fn parallel_segments_have_their_radius_over_length_and_do_not_cross() {
        // Two segments of length 10 at ±0.5.
        let segment = |y: f64| (0..5).map(|i| vec![2.5 * f64::from(i), y]).collect::<Vec<_>>();
        let found = of_curves(&[segment(0.5), segment(-0.5)], &interpolating());
        assert!((found.length - 10.0).abs() < 1e-9);
        assert!((found.tightness - 0.0501).abs() < 1e-4, "{}", found.tightness);
        assert!((found.tightness_matched - 0.05).abs() < 1e-12 && found.tightness_normal <= 0.0501);
        assert!(found.crossing.abs() < 1e-12 && found.crossing_number.abs() < 1e-9, "{found:?}");
        // The same curve twice: no thickness beyond bins, and the least ε.
        let same = of_curves(&[segment(0.5), segment(0.5)], &interpolating());
        assert!((same.tightness - 0.0024).abs() < 3e-4, "{}", same.tightness);
        assert_eq!(same.epsilon, 1e-12);
    }

    #[test]
    fn crossing_segments_have_the_weight_of_theory_and_a_crossing_number_of_their_sine() {
        for degrees in [30.0f64, 60.0, 90.0] {
            let angle = degrees.to_radians();
            let (a, b) = (vec![5.0, 0.0], vec![5.0 * angle.cos(), 5.0 * angle.sin()]);
            let segment = |end: &[f64]| vec![end.iter().map(|x| -x).collect::<Vec<_>>(), end.to_vec()];
            let found = of_curves(&[segment(&a), segment(&b)], &interpolating());
            let expected = 2.0
                * std::f64::consts::PI
                * (found.epsilon / 10.0).powi(2)
                * angle.sin().recip()
                * angle.sin().powi(2);
            let expected = expected * (1.0 - (-4.5f64).exp());
            assert!(
                (found.encounters / expected - 1.0).abs() < 0.03,
                "{degrees}: {} {expected}",
                found.encounters
            );
            let along = found.crossing_number * (10.0 / found.length).powi(2);
            assert!((along / angle.sin() - 1.0).abs() < 0.03, "{degrees}: {along}");
        }
    }

    #[test]
    fn scaling_divides_crossing_and_leaves_the_rest() {
        let mut stream = Stream::new(1, "bundle", 0);
        let curves: Vec<Vec<Vec<f64>>> = (0..5)
            .map(|_| {
                (0..20)
                    .map(|i| {
                        vec![
                            f64::from(i),
                            (f64::from(i) / 3.0).sin() + 0.3 * stream.normal(),
                            stream.normal(),
                        ]
                    })
                    .collect()
            })
            .collect();
        let wide: Vec<Vec<Vec<f64>>> = curves
            .iter()
            .map(|curve| curve.iter().map(|point| point.iter().map(|x| 3.0 * x).collect()).collect())
            .collect();
        let with =
            |s: f64| TubularityParams { smoothing: Smoothing::Absolute(s), ..TubularityParams::default() };
        let (a, b) = (of_curves(&curves, &with(1.0)), of_curves(&wide, &with(9.0)));
        assert!((a.tightness / b.tightness - 1.0).abs() < 1e-5, "{} {}", a.tightness, b.tightness);
        assert!((a.crossing / b.crossing / 3.0 - 1.0).abs() < 1e-5);
        assert!((a.crossing_number / b.crossing_number - 1.0).abs() < 1e-5);
        assert!((a.bend / b.bend - 1.0).abs() < 1e-4);
        let refitted = of_curves(&curves, &TubularityParams { refits: 10, ..with(1.0) });
        assert!(refitted.tightness_normal > 0.0 && refitted.tightness_normal < 2.0 * a.tightness_normal);
    }

    /// Units that read a few latent numbers, which go along a line with an offset of each stimulus and direction.
    fn population(units: usize, thickness: f64, seed: u64) -> Mat<f64> {
        let mut stream = Stream::new(seed, "trajectories", 0);
        let reading = Mat::from_fn(6, units, |_, _| stream.normal());
        let offsets: Vec<Vec<f64>> =
            (0..24).map(|_| (0..6).map(|_| thickness * stream.normal()).collect()).collect();
        let latent = Mat::from_fn(3 * 8 * 15, 6, |row, k| {
            let (stimulus, curve, t) = (row / 120, row / 15, (row % 15) as f64 / 14.0);
            let along = if k == stimulus {
                5.0 * t
            } else if k == 3 + stimulus {
                3.0 * t * t
            } else {
                0.0
            };
            along + offsets[curve][k]
        });
        let noise = Mat::from_fn(360, units, |_, _| 0.01 * stream.normal());
        product(latent.as_ref(), reading.as_ref()) + noise
    }

    #[test]
    fn thin_bundles_score_lower_and_draws_are_matched() {
        let (thin, thick) = (population(40, 0.1, 1), population(90, 0.8, 2));
        let of = |x: &'_ Mat<f64>| -> Mat<f64> { x.clone() };
        let (a, b) = (of(&thin), of(&thick));
        let shape = [3, 8, 15];
        let both = [Population { responses: a.as_ref(), shape }, Population { responses: b.as_ref(), shape }];
        let params = TubularityParams { n_draws: 6, ..TubularityParams::default() };
        let found = tubularity(&both, &params, &Monitor::silent()).unwrap();
        assert_eq!((found[0].n_units, found[1].n_units), (40, 40));
        for (a, b) in found[0].draws.iter().zip(&found[1].draws) {
            assert!(a.tightness < b.tightness && a.tightness_contextual < b.tightness_contextual);
            assert!(a.separation > b.separation && a.least_separation <= a.separation);
        }
        assert_eq!(found[0].bundles.len(), 3);
        // Crossing falls with the number of units; its number does not, by and large.
        let many = tubularity(
            &both[1..],
            &TubularityParams { matched: false, ..params.clone() },
            &Monitor::silent(),
        )
        .unwrap();
        assert_eq!(many[0].n_units, 90);
        assert!(many[0].bundles[0].length > 0.0);
    }

    #[test]
    fn what_has_no_bundle_is_refused_in_words() {
        let x = population(10, 0.1, 3);
        let message = |shape: [usize; 3]| {
            let one = [Population { responses: x.as_ref(), shape }];
            tubularity(&one, &TubularityParams::default(), &Monitor::silent()).unwrap_err().to_string()
        };
        assert!(message([24, 1, 15]).contains("single curve"));
        assert!(message([3, 8, 14]).contains("360 rows"));
        let silent = Mat::zeros(360, 4);
        let one = [Population { responses: silent.as_ref(), shape: [3, 8, 15] }];
        let refused =
            tubularity(&one, &TubularityParams::default(), &Monitor::silent()).unwrap_err().to_string();
        assert!(refused.contains("4 units are silent"), "{refused}");
    }
}
