//! Are p-values uniform without an effect, and do intervals cover at their rate?
//!
//! By default a few hundred seeds, which shows gross errors; STEREOTAX_CALIBRATE=1 runs ten times as many.
//! Counts are held within four binomial standard deviations of what is expected.

use faer::Mat;
use stereotax::data::{Labels, Monitor, Runs};
use stereotax::stats::anova::one_way;
use stereotax::stats::distance::{DistanceKind, Distances, object_distances};
use stereotax::stats::permanova::permanova;
use stereotax::stats::permdisp::{PermdispParams, permdisp};
use stereotax::stats::rng::Stream;
use stereotax::stats::score::{NullParams, NullScheme, correlation_test};
use stereotax::stats::shuffles::{Exchange, PermutationParams};
use stereotax::stats::silhouette::silhouette_test;
use stereotax::stats::snci::{Interval, SnciKind, SnciParams, snci};

fn n_seeds() -> u64 {
    if std::env::var_os("STEREOTAX_CALIBRATE").is_some_and(|v| v == "1") { 4000 } else { 300 }
}

/// Hold the share of p-values at or below 0.05 and 0.5 to these levels; `slack` allows for tests that are
/// only nearly exact.
fn uniform(what: &str, slack: f64, p_value: impl Fn(u64) -> f64) {
    let n = n_seeds();
    let p: Vec<f64> = (0..n).map(p_value).collect();
    for level in [0.05, 0.5] {
        let share = p.iter().filter(|&&p| p <= level + 1e-12).count() as f64 / n as f64;
        let allowed = 4.0 * (level * (1.0 - level) / n as f64).sqrt() + slack;
        assert!((share - level).abs() < allowed, "{what}: {share} of the p-values lie below {level}");
    }
}

fn cloud(n: usize, seed: u64) -> Distances {
    let mut stream = Stream::new(seed, "calibration clouds", 0);
    let x = Mat::from_fn(n, 4, |_, _| stream.normal());
    object_distances(x.as_ref(), DistanceKind::EuclideanRaw).unwrap().distances
}

fn thirds(n: usize) -> Labels {
    Labels::new(&(0..n).map(|i| ["a", "b", "c"][i % 3]).collect::<Vec<_>>())
}

fn permutations(seed: u64) -> PermutationParams {
    PermutationParams { n_permutations: 199, exact_up_to: 0, seed, ..Default::default() }
}

#[test]
fn group_tests_keep_their_level() {
    let labels = thirds(18);
    let quiet = Monitor::silent();
    uniform("PERMANOVA", 0.0, |s| {
        permanova(&cloud(18, s), &labels, &permutations(s), &quiet).unwrap().p_value
    });
    uniform("F2", 0.0, |s| permanova(&cloud(18, s), &labels, &permutations(s), &quiet).unwrap().p_value_f2);
    uniform("silhouette", 0.0, |s| {
        silhouette_test(&cloud(18, s), &labels, &permutations(s), &quiet).unwrap().p_value
    });
    uniform("one-way", 0.0, |s| {
        let mut stream = Stream::new(s, "calibration values", 0);
        let values: Vec<f64> = (0..18).map(|_| stream.normal()).collect();
        one_way(&values, &labels, &permutations(s), &quiet).unwrap().p_value
    });
}

#[test]
fn dispersion_keeps_its_level_about() {
    // Distances to a fitted centre are not quite exchangeable: the test is approximate by nature.
    let labels = thirds(36);
    uniform("PERMDISP", 0.04, |s| {
        let params = PermdispParams { permutations: permutations(s), ..Default::default() };
        permdisp(&cloud(36, s), &labels, &params, &Monitor::silent()).unwrap().p_value
    });
}

#[test]
fn families_must_move_together_for_the_level_to_hold() {
    // 12 families of 3 models that nearly agree, 4 families per group.
    let family = |i: usize| i / 3;
    let labels = Labels::new(&(0..36).map(|i| ["a", "b", "c"][family(i) % 3]).collect::<Vec<_>>());
    let families = Labels::new(&(0..36).map(|i| format!("f{:02}", family(i))).collect::<Vec<_>>());
    let study = |seed: u64| {
        let mut stream = Stream::new(seed, "calibration families", 0);
        let heads = Mat::from_fn(12, 4, |_, _| stream.normal());
        let x = Mat::from_fn(36, 4, |i, j| heads[(family(i), j)] + 0.2 * stream.normal());
        object_distances(x.as_ref(), DistanceKind::EuclideanRaw).unwrap().distances
    };
    let p = |seed, exchange: Exchange| {
        let params = PermutationParams { exchange, ..permutations(seed) };
        permanova(&study(seed), &labels, &params, &Monitor::silent()).unwrap().p_value
    };
    uniform("family-restricted PERMANOVA", 0.0, |s| p(s, Exchange::Families(families.clone())));
    let free = (0..200).filter(|&s| p(s, Exchange::Free) <= 0.05).count();
    assert!(free > 40, "free permutations should be far too sure of themselves: {free} of 200");
}

#[test]
fn null_draws_keep_their_level() {
    let runs = Runs::from_lengths(&["one".into(), "two".into()], &[150, 130]).unwrap();
    let red = |seed, purpose: &str| {
        let mut stream = Stream::new(seed, purpose, 0);
        let mut x = 0.0;
        Mat::from_fn(280, 1, |_, _| {
            x = 0.7 * x + stream.normal();
            x
        })
    };
    uniform("circular shifts", 0.02, |seed| {
        let scheme = NullScheme::CircularShift { min_shift: 10 };
        let params = NullParams { scheme, n_permutations: 199, seed, spread: 1.0 };
        let (p, y) = (red(seed, "calibration predictions"), red(seed, "calibration responses"));
        correlation_test(p.as_ref(), y.as_ref(), &runs, &params, &Monitor::silent()).unwrap().p_value[0]
    });
    let ids: Vec<String> = (0..40).map(|i| format!("s{i:02}")).collect();
    uniform("block permutation", 0.0, |seed| {
        let mut stream = Stream::new(seed, "calibration stimuli", 0);
        let p = Mat::from_fn(40, 1, |_, _| stream.normal());
        let y = Mat::from_fn(40, 1, |_, _| stream.normal());
        let params = NullParams {
            scheme: NullScheme::Blocks { block_ids: ids.clone() },
            n_permutations: 199,
            seed,
            spread: 1.0,
        };
        correlation_test(p.as_ref(), y.as_ref(), &Runs::single(40), &params, &Monitor::silent())
            .unwrap()
            .p_value[0]
    });
}

#[test]
fn intervals_of_the_consistency_index_cover_about_as_often_as_they_say() {
    // μ = 0.3, s = 0.2 over 30 families: the bounded index is 0.09/0.13.
    let truth = 0.09 / 0.13;
    let families = Labels::new(&(0..30).map(|i| format!("f{i:02}")).collect::<Vec<_>>());
    for interval in [Interval::Percentile, Interval::Bca] {
        let n = n_seeds() / 2;
        let covered = (0..n)
            .filter(|&seed| {
                let mut stream = Stream::new(seed, "calibration scores", 0);
                let x = Mat::from_fn(30, 1, |_, _| 0.3 + 0.2 * stream.normal());
                let params = SnciParams {
                    kind: SnciKind::Bounded,
                    interval,
                    n_bootstraps: 400,
                    seed,
                    ..Default::default()
                };
                let found = snci(x.as_ref(), &families, &params).unwrap().rois[0];
                found.lower <= truth && truth <= found.upper
            })
            .count();
        // Bootstrap intervals of ratios fall a little short at n = 30.
        let share = covered as f64 / n as f64;
        assert!((0.86..=0.99).contains(&share), "{interval:?}: {share}");
    }
}
