//! Do tests of RDM models keep their level, and do their intervals cover, over new subjects and new stimuli?
//!
//! By default a few hundred seeds, which shows gross errors; STEREOTAX_CALIBRATE=1 runs more and prints the table of
//! docs/similarity.md. Worlds are drawn anew in every seed: stimuli, subjects and what they share.

#![allow(clippy::print_stderr, reason = "a calibration prints its table")]

use stereotax::data::{Monitor, Rdm};
use stereotax::similarity::mantel::{MantelParams, mantel};
use stereotax::similarity::rdm_compare::Comparison;
use stereotax::similarity::rsa::{RdmModel, Resampled, Rsa, RsaParams, rsa};
use stereotax::stats::resampling::ResamplingPlan;
use stereotax::stats::rng::Stream;

fn calibrating() -> bool {
    std::env::var_os("STEREOTAX_CALIBRATE").is_some_and(|v| v == "1")
}

fn n_seeds() -> u64 {
    if calibrating() { 1000 } else { 200 }
}

/// Squared distances of patterns of four normal numbers, one set per part.
struct World {
    n: usize,
    parts: Vec<Vec<[f64; 4]>>,
}

impl World {
    fn new(n: usize, n_parts: usize, seed: u64) -> World {
        let mut stream = Stream::new(seed, "calibration of rsa", 0);
        let part = |stream: &mut Stream| (0..n).map(|_| std::array::from_fn(|_| stream.normal())).collect();
        World { n, parts: (0..n_parts).map(|_| part(&mut stream)).collect() }
    }

    fn rdm(&self, weights: &[(usize, f64)]) -> Rdm {
        let mut values = Vec::with_capacity(self.n * (self.n - 1) / 2);
        for i in 0..self.n {
            for j in i + 1..self.n {
                let of = |k: usize| -> f64 {
                    let (a, b) = (&self.parts[k][i], &self.parts[k][j]);
                    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
                };
                values.push(weights.iter().map(|&(k, w)| w * of(k)).sum());
            }
        }
        Rdm::new(self.n, values).unwrap()
    }
}

fn plan(n: usize, s: usize, seed: u64, n_bootstraps: usize, n_permutations: usize) -> ResamplingPlan {
    let names = |what: &str, n: usize| -> Vec<String> { (0..n).map(|i| format!("{what}{i:03}")).collect() };
    ResamplingPlan::new(seed, &names("image", n), n_bootstraps, n_permutations)
        .unwrap()
        .with_subjects(&names("subject", s))
        .unwrap()
}

/// Models of parts 0 and 1, which all subjects share alike, and of part 2, which none has.
fn study(n: usize, s: usize, seed: u64, params: &RsaParams, n_permutations: usize) -> Rsa {
    let world = World::new(n, 3 + s, seed);
    let subjects: Vec<Rdm> = (0..s).map(|s| world.rdm(&[(0, 1.0), (1, 1.0), (3 + s, 2.0)])).collect();
    let models: Vec<RdmModel> = (0..3).map(|k| RdmModel::Fixed(world.rdm(&[(k, 1.0)]))).collect();
    rsa(&models, &subjects, &plan(n, s, seed, 200, n_permutations), params, &Monitor::silent()).unwrap()
}

fn share(of: impl Iterator<Item = bool>) -> f64 {
    let all: Vec<bool> = of.collect();
    all.iter().filter(|&&hit| hit).count() as f64 / all.len() as f64
}

#[test]
fn tests_keep_their_level_and_intervals_cover_over_subjects_and_stimuli() {
    for (n, s) in [(20, 8), (40, 12)] {
        for comparison in [Comparison::Pearson, Comparison::RhoA, Comparison::WhitenedPearson] {
            let params = RsaParams { comparison, ..RsaParams::default() };
            let all: Vec<Rsa> = (0..n_seeds()).map(|seed| study(n, s, seed, &params, 0)).collect();
            let zero = share(all.iter().map(|r| r.against_zero.t[2] <= 0.05));
            let pair = share(all.iter().map(|r| r.pairwise[(0, 1)] <= 0.05));
            let truth = all.iter().map(|r| r.estimates[0].value).sum::<f64>() / all.len() as f64;
            let covered =
                share(all.iter().map(|r| r.estimates[0].lower <= truth && truth <= r.estimates[0].upper));
            let within = share(all.iter().map(|r| r.ceiling_lower.value <= r.ceiling_upper.value));
            let power = share(all.iter().map(|r| r.against_zero.t[0] <= 0.05));
            if calibrating() {
                eprintln!(
                    "{comparison:?} {n} {s}: zero {zero:.3} pair {pair:.3} covered {covered:.3} power {power:.3}"
                );
            }
            let slack = 4.0 * (0.05 * 0.95 / n_seeds() as f64).sqrt();
            // The variance is held above its parts, so that tests err on the careful side.
            assert!(zero < 0.05 + slack && pair < 0.05 + slack, "{comparison:?} {n} {s}: {zero} {pair}");
            assert!(covered > 0.95 - slack, "{comparison:?} {n} {s}: {covered}");
            assert!(power > 0.6 && within == 1.0, "{power} {within}");
        }
    }
}

#[test]
fn one_factor_is_not_enough_where_both_vary() {
    // Draws of subjects alone hold stimuli fixed: two models that are equal over stimuli differ on these.
    let params = RsaParams { resampled: Resampled::Subjects, ..RsaParams::default() };
    let false_alarms =
        share((0..n_seeds()).map(|seed| study(20, 12, seed, &params, 0).pairwise[(0, 1)] <= 0.05));
    assert!(false_alarms > 0.3, "{false_alarms}");
}

#[test]
fn permuted_labels_keep_their_level() {
    let params = RsaParams { resampled: Resampled::None, ..RsaParams::default() };
    for level in [0.05, 0.5] {
        let rate =
            share((0..n_seeds()).map(|seed| study(15, 4, seed, &params, 99).permutation.p_value[2] <= level));
        let allowed = 4.0 * (level * (1.0 - level) / n_seeds() as f64).sqrt();
        assert!((rate - level).abs() < allowed, "{rate} of the p-values lie below {level}");
        let rate = share((0..n_seeds()).map(|seed| {
            let world = World::new(12, 2, seed);
            let params = MantelParams { n_permutations: 99, seed, ..MantelParams::default() };
            let (a, b) = (world.rdm(&[(0, 1.0)]), world.rdm(&[(1, 1.0)]));
            mantel(&a, &b, &params, &Monitor::silent()).unwrap().p_value <= level
        }));
        assert!((rate - level).abs() < allowed, "Mantel: {rate} of the p-values lie below {level}");
    }
}

#[test]
fn sign_flips_keep_their_level_for_subjects_without_anything_in_common() {
    let one = |seed: u64| {
        let world = World::new(12, 10, seed);
        let subjects: Vec<Rdm> = (0..9).map(|s| world.rdm(&[(s, 1.0)])).collect();
        let params = RsaParams { resampled: Resampled::None, ..RsaParams::default() };
        let models = [RdmModel::Fixed(world.rdm(&[(9, 1.0)]))];
        rsa(&models, &subjects, &plan(12, 9, seed, 0, 511), &params, &Monitor::silent())
            .unwrap()
            .sign_flip
            .p_value[0]
    };
    for level in [0.05, 0.5] {
        let rate = share((0..n_seeds()).map(|seed| one(seed) <= level));
        let allowed = 4.0 * (level * (1.0 - level) / n_seeds() as f64).sqrt() + 0.02;
        assert!((rate - level).abs() < allowed, "{rate} of the p-values lie below {level}");
    }
}

#[test]
fn the_choice_of_the_best_model_is_paid_for() {
    // Six models that are equally good: the winner's estimate is too high, the corrected one less so.
    let params = RsaParams::default();
    let (mut raw, mut corrected, mut truth) = (0.0, 0.0, 0.0);
    for seed in 0..n_seeds() {
        let world = World::new(20, 12, seed);
        let shared: Vec<(usize, f64)> = (0..6).map(|k| (k, 1.0)).collect();
        let subjects: Vec<Rdm> =
            (0..6).map(|s| world.rdm(&[&shared[..], &[(6 + s, 2.0)]].concat())).collect();
        let models: Vec<RdmModel> = (0..6).map(|k| RdmModel::Fixed(world.rdm(&[(k, 1.0)]))).collect();
        let found = rsa(&models, &subjects, &plan(20, 6, seed, 100, 0), &params, &Monitor::silent()).unwrap();
        let n = n_seeds() as f64;
        raw += found.estimates[found.best.index.unwrap()].value / n;
        corrected += found.best.corrected / n;
        truth += found.estimates.iter().map(|e| e.value).sum::<f64>() / 6.0 / n;
    }
    if calibrating() {
        eprintln!("best of six equal models: {raw:.4}, corrected {corrected:.4}, truth {truth:.4}");
    }
    assert!(
        raw > truth + 0.05 && (corrected - truth).abs() < 0.5 * (raw - truth),
        "{raw} {corrected} {truth}"
    );
}
