//! Say how sure a distance between two systems is: noise floor, differences, similarities, intervals.
//!
//! | question | how | result |
//! | --- | --- | --- |
//! | how near could it be? | halves of the trials of one system against each other | distances of halves |
//! | do the systems differ? | trials exchanged between them at random | p = (1 + #{d* ≥ d}) / (1 + draws) |
//! | are they alike at all? | the second one replaced by surrogates | p = (1 + #{d* ≤ d}) / (1 + draws), z |
//! | how precise is it? | trials drawn with replacement | percentile interval |
//!
//! Everything is fitted anew in each draw, with the settings of the observed distance. Halves are noisier than
//! wholes, so floors are to be compared with [`Halves::between`], which also comes from halves, and not with the
//! distance itself. The exchange needs the same channels in both systems; its null hypothesis is that the trials
//! come from one system. A bootstrap repeats trials and so overstates the distance a little; bias is reported.
//!
//! Source: specs: encoding-manifolds 6.6, peers 5 (13). Cost: one fit of each system and one comparison per draw.

use faer::MatRef;
use rayon::prelude::*;

use super::align::{AlignmentParams, Prepared, align_prepared};
use super::delay::{DelayParams, delay_operator};
use super::pairs::DsaDistance;
use super::surrogate::{Surrogate, surrogate};
use super::transport::eigenvalue_transport;
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::{mean, permutation_p, quantile, sd, tie_tolerance};

/// How systems are fitted and compared in every draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The first system's fit.
    pub first: DelayParams,
    /// The second one's; the same as the first as a rule.
    pub second: DelayParams,
    /// The distance.
    pub distance: DsaDistance,
    /// How the rotation is sought.
    pub align: AlignmentParams,
    /// Seed of the draws.
    pub seed: u64,
}

/// Distances between halves of trials, one per split.
#[derive(Debug, Clone, PartialEq)]
pub struct Halves {
    /// Both halves of the first system.
    pub within_first: Vec<f64>,
    /// Both halves of the second system.
    pub within_second: Vec<f64>,
    /// A half of the first and a half of the second: the mean over both pairs of halves.
    pub between: Vec<f64>,
}

/// A p-value with its null distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct DsaTest {
    /// The distance observed.
    pub distance: f64,
    /// Distances of the draws, in their order.
    pub null: Vec<f64>,
    /// One-sided; see the module.
    pub p_value: f64,
    /// (mean of the null − d) / its standard deviation: positive where nearer than the null.
    pub z: f64,
}

/// A percentile interval.
#[derive(Debug, Clone, PartialEq)]
pub struct DsaInterval {
    /// The distance observed.
    pub distance: f64,
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Mean of the draws less the distance.
    pub bias: f64,
    /// Distances of the draws.
    pub draws: Vec<f64>,
}

impl Comparison {
    /// The distance between two systems from their trials (time × channels each).
    ///
    /// Errors: those of the fit and of the comparison.
    pub fn distance(&self, x: &[MatRef<f64>], y: &[MatRef<f64>], monitor: &Monitor<'_>) -> Result<f64> {
        let (a, b) = (delay_operator(x, &self.first)?, delay_operator(y, &self.second)?);
        if !self.distance.rotates() {
            let found = eigenvalue_transport(&a.eigenvalues, &b.eigenvalues);
            return Ok(if self.distance == DsaDistance::Eigenvalues { found.squared } else { found.metric });
        }
        let (a, b) = (Prepared::new(a.operator.as_ref())?, Prepared::new(b.operator.as_ref())?);
        Ok(self.distance.of(&align_prepared(&a, &b, &self.align, monitor)?))
    }

    fn draws(
        &self,
        n_draws: usize,
        monitor: &Monitor<'_>,
        draw: impl Fn(u64) -> Result<f64> + Sync,
    ) -> Result<Vec<f64>> {
        if n_draws == 0 {
            return Err(Error::TooFew {
                what: "draws".into(),
                needed: "1".into(),
                found: "0".into(),
                hint: "199 draws give p-values down to 0.005".into(),
            });
        }
        (0..n_draws as u64)
            .into_par_iter()
            .map(|index| {
                monitor.check()?;
                draw(index)
            })
            .collect()
    }

    /// Distances between random halves of trials.
    ///
    /// Errors: fewer than 2 trials of a system, no split, and those of [`Comparison::distance`].
    pub fn split_halves(
        &self,
        x: &[MatRef<f64>],
        y: &[MatRef<f64>],
        n_splits: usize,
        monitor: &Monitor<'_>,
    ) -> Result<Halves> {
        need_trials(x, "x")?;
        need_trials(y, "y")?;
        // Both parts of a system are fitted by its own settings.
        let (of_x, of_y) =
            (Comparison { second: self.first, ..*self }, Comparison { first: self.second, ..*self });
        let cut = |trials: &[MatRef<'_, f64>], side: &str, index: u64| {
            let order = Stream::new(self.seed, &format!("halves of {side}"), index).permutation(trials.len());
            let half = trials.len() / 2;
            (order[..half].to_vec(), order[half..2 * half].to_vec())
        };
        let mut halves = Halves { within_first: vec![], within_second: vec![], between: vec![] };
        let found = (0..n_splits as u64)
            .into_par_iter()
            .map(|index| {
                monitor.check()?;
                let ((xa, xb), (ya, yb)) = (cut(x, "x", index), cut(y, "y", index));
                let (xa, xb) = (chosen(x, &xa), chosen(x, &xb));
                let (ya, yb) = (chosen(y, &ya), chosen(y, &yb));
                let between = self.distance(&xa, &ya, monitor)? + self.distance(&xb, &yb, monitor)?;
                let (first, second) = (of_x.distance(&xa, &xb, monitor)?, of_y.distance(&ya, &yb, monitor)?);
                Ok([first, second, 0.5 * between])
            })
            .collect::<Result<Vec<[f64; 3]>>>()?;
        for [first, second, between] in found {
            halves.within_first.push(first);
            halves.within_second.push(second);
            halves.between.push(between);
        }
        if halves.between.is_empty() {
            return Err(Error::TooFew {
                what: "n_splits".into(),
                needed: "1 split".into(),
                found: "0".into(),
                hint: "20 splits are customary".into(),
            });
        }
        Ok(halves)
    }

    /// Whether two systems with the same channels differ: trials are exchanged between them at random.
    ///
    /// Errors: other numbers of channels, other settings of the fit, and those of [`Comparison::distance`].
    pub fn exchange_test(
        &self,
        x: &[MatRef<f64>],
        y: &[MatRef<f64>],
        n_permutations: usize,
        monitor: &Monitor<'_>,
    ) -> Result<DsaTest> {
        let observed = self.distance(x, y, monitor)?;
        if x[0].ncols() != y[0].ncols() || self.first != self.second {
            return Err(Error::Refused {
                what: "an exchange of trials".into(),
                reason: format!(
                    "the systems have {} and {} channels; only trials of one kind can change places",
                    x[0].ncols(),
                    y[0].ncols()
                ),
                hint: "bring both to the same number of principal components, or test against surrogates"
                    .into(),
            });
        }
        let all: Vec<MatRef<'_, f64>> = x.iter().chain(y).copied().collect();
        let null = self.draws(n_permutations, monitor, |index| {
            let order = Stream::new(self.seed, "exchange of trials", index).permutation(all.len());
            let (x, y) = (chosen(&all, &order[..x.len()]), chosen(&all, &order[x.len()..]));
            self.distance(&x, &y, monitor)
        })?;
        let edge = observed - tie_tolerance(observed);
        let exceeding = null.iter().filter(|d| **d >= edge).count();
        Ok(tested(observed, null, exceeding))
    }

    /// Whether two systems are nearer than surrogates of the second one.
    ///
    /// Errors: those of [`Comparison::distance`].
    pub fn similarity_test(
        &self,
        x: &[MatRef<f64>],
        y: &[MatRef<f64>],
        kind: Surrogate,
        n_draws: usize,
        monitor: &Monitor<'_>,
    ) -> Result<DsaTest> {
        let observed = self.distance(x, y, monitor)?;
        let null = self.draws(n_draws, monitor, |index| {
            let made = surrogate(y, kind, self.seed, index);
            let views: Vec<MatRef<'_, f64>> = made.iter().map(|t| t.as_ref()).collect();
            self.distance(x, &views, monitor)
        })?;
        let edge = observed + tie_tolerance(observed);
        let exceeding = null.iter().filter(|d| **d <= edge).count();
        Ok(tested(observed, null, exceeding))
    }

    /// A percentile interval over trials drawn with replacement; `paired`: the same draws for both systems (the
    /// same stimuli in the same order).
    ///
    /// Errors: fewer than 2 trials, pairs of unequal numbers, a level outside (0, 1), and those of
    /// [`Comparison::distance`].
    pub fn bootstrap(
        &self,
        x: &[MatRef<f64>],
        y: &[MatRef<f64>],
        n_bootstraps: usize,
        level: f64,
        paired: bool,
        monitor: &Monitor<'_>,
    ) -> Result<DsaInterval> {
        need_trials(x, "x")?;
        need_trials(y, "y")?;
        if !(level > 0.0 && level < 1.0) || (paired && x.len() != y.len()) {
            return Err(Error::Invalid {
                what: "level and paired".into(),
                expected: "a level in (0, 1), and as many trials of both systems where they are paired"
                    .into(),
                found: format!("{level}, {} and {} trials", x.len(), y.len()),
                hint: "0.95 is customary; trials are paired if they are of the same stimuli".into(),
            });
        }
        let distance = self.distance(x, y, monitor)?;
        let draws = self.draws(n_bootstraps, monitor, |index| {
            let drawn = |side: &str, n: usize| -> Vec<usize> {
                let mut stream = Stream::new(self.seed, &format!("bootstrap of {side}"), index);
                (0..n).map(|_| stream.below(n)).collect()
            };
            let of_x = drawn("trials", x.len());
            let of_y = if paired { of_x.clone() } else { drawn("second trials", y.len()) };
            self.distance(&chosen(x, &of_x), &chosen(y, &of_y), monitor)
        })?;
        let tail = 0.5 * (1.0 - level);
        Ok(DsaInterval {
            distance,
            lower: quantile(&draws, tail),
            upper: quantile(&draws, 1.0 - tail),
            bias: mean(&draws) - distance,
            draws,
        })
    }
}

fn chosen<'a>(trials: &[MatRef<'a, f64>], of: &[usize]) -> Vec<MatRef<'a, f64>> {
    of.iter().map(|&k| trials[k]).collect()
}

fn need_trials(trials: &[MatRef<f64>], name: &str) -> Result<()> {
    if trials.len() >= 2 {
        return Ok(());
    }
    Err(Error::TooFew {
        what: format!("trials of `{name}`"),
        needed: "2 trials".into(),
        found: trials.len().to_string(),
        hint: "cut a long recording into trials".into(),
    })
}

fn tested(distance: f64, null: Vec<f64>, exceeding: usize) -> DsaTest {
    let z = (mean(&null) - distance) / sd(&null);
    let p_value = if distance.is_nan() { f64::NAN } else { permutation_p(exceeding, null.len()) };
    DsaTest { distance, null, p_value, z }
}

#[cfg(test)]
mod tests {
    use super::super::delay::OperatorRank;
    use super::*;
    use faer::Mat;

    fn comparison(seed: u64) -> Comparison {
        let fit = DelayParams { rank: OperatorRank::Fixed(2), ..DelayParams::default() };
        Comparison {
            first: fit,
            second: fit,
            distance: DsaDistance::Angular,
            align: AlignmentParams { n_random: 2, ..AlignmentParams::default() },
            seed,
        }
    }

    /// Noisy damped rotations by `angle` per step.
    fn trials(angle: f64, n: usize, index: u64) -> Vec<Mat<f64>> {
        let mut stream = Stream::new(6, "inference tests", index);
        (0..n)
            .map(|_| {
                let mut x = Mat::zeros(25, 2);
                (x[(0, 0)], x[(0, 1)]) = (stream.normal(), stream.normal());
                for t in 1..25 {
                    let (s, c) = angle.sin_cos();
                    let (p, q) = (x[(t - 1, 0)], x[(t - 1, 1)]);
                    x[(t, 0)] = 0.9 * (c * p - s * q) + 0.5 * stream.normal();
                    x[(t, 1)] = 0.9 * (s * p + c * q) + 0.5 * stream.normal();
                }
                x
            })
            .collect()
    }

    fn views(trials: &[Mat<f64>]) -> Vec<MatRef<'_, f64>> {
        trials.iter().map(|t| t.as_ref()).collect()
    }

    #[test]
    fn p_values_of_exchangeable_systems_are_uniform_and_others_are_found() {
        let p: Vec<f64> = (0..150)
            .map(|k| {
                let (x, y) = (trials(0.5, 5, 2 * k), trials(0.5, 6, 2 * k + 1));
                let silent = Monitor::silent();
                comparison(k).exchange_test(&views(&x), &views(&y), 39, &silent).unwrap().p_value
            })
            .collect();
        for level in [0.05, 0.25, 0.5] {
            let share = p.iter().filter(|p| **p <= level + 1e-12).count() as f64 / 150.0;
            let error = (level * (1.0 - level) / 150.0).sqrt();
            assert!((share - level).abs() < 3.5 * error, "{level}: {share}");
        }
        let (x, y) = (trials(0.5, 6, 900), trials(1.0, 6, 901));
        let found = comparison(0).exchange_test(&views(&x), &views(&y), 199, &Monitor::silent()).unwrap();
        assert!(found.p_value == 0.005 && found.z < -2.0, "{}", found.p_value);
    }

    #[test]
    fn halves_of_one_system_are_nearer_than_two_and_intervals_hold_the_distance() {
        let (x, y) = (trials(0.5, 8, 700), trials(0.9, 8, 701));
        let silent = Monitor::silent();
        let halves = comparison(1).split_halves(&views(&x), &views(&y), 10, &silent).unwrap();
        let within = mean(&halves.within_first).max(mean(&halves.within_second));
        assert!(within < 0.5 * mean(&halves.between), "{halves:?}");
        let found = comparison(1).bootstrap(&views(&x), &views(&y), 60, 0.9, false, &silent).unwrap();
        assert!(found.lower < found.distance && found.distance < found.upper);
        // About the true angle between the two: a rotation by 0.4, less what noise does to the operators.
        assert!(found.lower > 0.25 && found.upper < 0.6, "{} {}", found.lower, found.upper);
    }

    #[test]
    fn systems_that_turn_alike_beat_surrogates_without_relations() {
        let (x, y) = (trials(0.5, 8, 800), trials(0.5, 8, 801));
        let silent = Monitor::silent();
        for kind in [Surrogate::Phases, Surrogate::TimeOrder] {
            let found = comparison(0).similarity_test(&views(&x), &views(&y), kind, 99, &silent).unwrap();
            assert!(found.p_value == 0.01 && found.z > 2.0, "{kind:?} {} {}", found.p_value, found.z);
        }
    }

    #[test]
    fn refusals() {
        let (x, y) = (trials(0.5, 1, 0), trials(0.5, 3, 1));
        let (x, y, silent) = (views(&x), views(&y), Monitor::silent());
        let c = comparison(0);
        assert!(c.split_halves(&x, &y, 3, &silent).is_err() && c.split_halves(&y, &y, 0, &silent).is_err());
        assert!(c.bootstrap(&y, &y, 5, 1.5, false, &silent).is_err());
        assert!(c.exchange_test(&y, &y, 0, &silent).is_err());
        let wide = Mat::<f64>::from_fn(20, 3, |i, j| ((i * (j + 2)) as f64).sin());
        let refused = c.exchange_test(&y, &[wide.as_ref()], 9, &silent).unwrap_err().to_string();
        assert!(refused.contains("2 and 3 channels"), "{refused}");
    }
}
