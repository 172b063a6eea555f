//! Do intervals of layers, gains and parts of variance cover, and do tests by refits keep their level?
//!
//! By default a few hundred seeds, which shows gross errors; STEREOTAX_CALIBRATE=1 runs more and prints the table of
//! docs/encoding.md. Stimuli and noise are drawn anew in every seed, the network is kept. What an interval should cover is
//! the mean of the estimate over seeds: what a study of this size finds on average.

#![allow(clippy::print_stderr, reason = "a calibration prints its table")]

use faer::Mat;
use rayon::prelude::*;
use stereotax::data::{Folds, Monitor, Runs};
use stereotax::encoding::{EncodingParams, Selection, partition_of_r2};
use stereotax::pipelines::encoding::{
    BestCell, Combine, EncodingCell, Keep, NestedChoice, Scores, part_intervals, score_combined,
    score_targets, training_spread,
};
use stereotax::pipelines::{Clock, EvaluateParams, Features, InnerRule, NullModel, SampleDesign};
use stereotax::stats::rng::Stream;

const ROOM: usize = 1 << 28;

fn calibrating() -> bool {
    std::env::var_os("STEREOTAX_CALIBRATE").is_some_and(|v| v == "1")
}

fn n_seeds() -> u64 {
    if calibrating() { 1000 } else { 200 }
}

fn design(n: usize) -> SampleDesign {
    let ids: Vec<String> = (0..n).map(|i| format!("s{i:03}")).collect();
    SampleDesign {
        folds: Folds::k_fold(&ids, 5, 1).unwrap(),
        runs: Runs::single(n),
        clock: Clock::Stimulus,
        blocks: (0..n).collect(),
        block_names: ids.clone(),
        ids,
    }
}

fn params(seed: u64, null: NullModel, n_bootstraps: usize, n_shifts: usize) -> EvaluateParams {
    EvaluateParams {
        encoding: EncodingParams {
            reduce: None,
            selection: Selection::Generalised,
            ..EncodingParams::default()
        },
        inner: InnerRule::Units(5),
        seed,
        n_bootstraps,
        n_shifts,
        min_shift_s: 0.0,
        null,
    }
}

/// Three layers of ten units, of which number 1 shares half its latents with number 0, and three targets: layers 0 and
/// 1 as they are weighed, and noise.
fn world(n: usize, seed: u64, weights: [f64; 2]) -> (Vec<Features>, Mat<f64>) {
    let mut stream = Stream::new(seed, "calibration of encoding", 0);
    let latent = Mat::from_fn(n, 6, |_, _| stream.normal());
    // The network is the same in all seeds.
    let mut network = Stream::new(0, "network of the calibration", 0);
    let layers = [[0, 1], [1, 2], [4, 5]]
        .map(|own| {
            let mixing = Mat::from_fn(2, 10, |_, _| network.normal());
            let layer = Mat::from_fn(n, 10, |i, u| {
                let signal: f64 = (0..2).map(|k| latent[(i, own[k])] * mixing[(k, u)]).sum();
                signal + 0.3 * stream.normal()
            });
            Features::from_matrix(layer.as_ref())
        })
        .to_vec();
    let y = Mat::from_fn(n, 3, |i, _| {
        weights[0] * (latent[(i, 0)] + latent[(i, 1)]) + weights[1] * latent[(i, 2)] + stream.normal()
    });
    (layers, y)
}

fn cells(layers: &[Features], y: &Mat<f64>, params: &EvaluateParams, keep: Keep) -> Vec<EncodingCell> {
    let design = design(y.nrows());
    let quiet = Monitor::silent();
    let one =
        |layer| score_targets(layer, &[y.as_ref()], &design, params, keep, ROOM, &quiet).unwrap().remove(0);
    layers.iter().map(one).collect()
}

fn chosen(cells: &[EncodingCell], layers: &[Features], y: &Mat<f64>, params: &EvaluateParams) -> BestCell {
    let design = design(y.nrows());
    let mut choice = NestedChoice::new(cells[0].moments.n.clone(), y.ncols(), true);
    for (at, cell) in cells.iter().enumerate() {
        let predictions = cell.draws.as_ref().map(|draws| draws.predictions.as_ref());
        choice.offer(at, cell.inner_scores.as_ref(), &cell.moments, predictions, cell.refits.as_ref());
    }
    let features = |layer: usize| Ok(layers[layer].clone());
    choice.finish(y.as_ref(), &design, params, &[], &features, ROOM, &Monitor::silent()).unwrap()
}

fn scores(cell: &EncodingCell) -> Scores {
    Scores::of(&cell.moments, &cell.chance, cell.draws.as_ref())
}

/// How often intervals cover the mean of their estimates; the number of seeds that define one.
fn covered(found: &[(f64, [f64; 2])]) -> (f64, f64) {
    let truth = found.iter().map(|(value, _)| value).sum::<f64>() / found.len() as f64;
    let hits = found.iter().filter(|(_, [lower, upper])| *lower <= truth && truth <= *upper).count();
    (hits as f64 / found.len() as f64, truth)
}

fn slack(level: f64) -> f64 {
    4.0 * (level * (1.0 - level) / n_seeds() as f64).sqrt()
}

#[test]
fn intervals_of_chosen_layers_and_of_gains_cover_about_as_often_as_they_say() {
    let banded = Combine::Banded { n_candidates: 8 };
    // Two layers that are equally good, between which the choice wavers; one that is better; one that has all.
    for (weights, n, combine) in [
        ([0.7, 0.7], 80, Combine::Stacked),
        ([0.7, 0.7], 200, Combine::Stacked),
        ([0.7, 0.7], 80, banded),
        ([0.8, 0.4], 80, Combine::Stacked),
        ([0.8, 0.4], 200, Combine::Stacked),
        ([0.8, 0.0], 80, Combine::Stacked),
        ([0.8, 0.0], 200, Combine::Stacked),
    ] {
        let found: Vec<[(f64, [f64; 2]); 3]> = (0..n_seeds())
            .into_par_iter()
            .map(|seed| {
                let (layers, y) = world(n, seed, weights);
                let params = params(seed, NullModel::Shift, 400, 1);
                let cells = cells(&layers, &y, &params, Keep::Draws);
                let best = chosen(&cells, &layers, &y, &params);
                let best = Scores::of(&best.moments, &best.chance, best.draws.as_ref());
                let quiet = Monitor::silent();
                let (design, y) = (design(n), [y.as_ref()]);
                let spread = training_spread(&design);
                let all = score_combined(&layers, &y, &design, &params, combine, Keep::Draws, ROOM, &quiet);
                let all = scores(&all.unwrap()[0].cell);
                let (one, mean) = (best.over(&[0]), best.over(&[0, 1, 2]));
                [(one.r, one.interval), (mean.r, mean.interval), all.gain_over(&best, &[0, 1, 2], spread)]
            })
            .collect();
        let of = |at: usize| covered(&found.iter().map(|f| f[at]).collect::<Vec<_>>());
        let [(one, r), (mean, _), (gain, size)] = [of(0), of(1), of(2)];
        if calibrating() {
            eprintln!(
                "{weights:?} {combine:?} {n}: r {r:.2} one {one:.3} mean {mean:.3} gain {size:.3} {gain:.3}"
            );
        }
        // Draws hold models fixed: an interval of r is a little narrow, that of a gain is made wider for it.
        for (what, share, least) in [("one", one, 0.88), ("mean", mean, 0.88), ("gain", gain, 0.82)] {
            assert!(share > least - slack(0.1), "{weights:?} {combine:?} {n}: {what} {share}");
        }
        assert!(one < 0.96 + slack(0.05) && mean < 0.96 + slack(0.05), "{weights:?} {n}: {one} {mean}");
    }
}

#[test]
fn intervals_of_parts_cover_about_as_often_as_they_say() {
    for n in [80, 200] {
        let found: Vec<Vec<(f64, [f64; 2])>> = (0..n_seeds())
            .into_par_iter()
            .map(|seed| {
                let (layers, y) = world(n, seed, [0.7, 0.7]);
                let params = params(seed, NullModel::Shift, 400, 1);
                let sets = [layers[0].clone(), layers[1].clone(), Features::beside(&layers[..2])];
                let cells = cells(&sets, &y, &params, Keep::R2);
                let r2: Vec<Vec<f64>> = cells.iter().map(|cell| cell.moments.r2()).collect();
                let mean = |at: usize| r2[at].iter().sum::<f64>() / 3.0;
                let parts = partition_of_r2(Mat::from_fn(3, 1, |at, _| mean(at)).as_ref()).unwrap();
                let r2 = Mat::from_fn(3, 3, |at, j| r2[at][j]);
                let spread = training_spread(&design(n));
                let draws: Vec<Mat<f32>> = cells.into_iter().map(|cell| cell.r2_bootstrap.unwrap()).collect();
                let intervals = part_intervals(&r2, &draws, &[0, 1, 2], spread).unwrap();
                let models = (0..3).map(|at| (parts.r2[(at, 0)], intervals[at][0]));
                models.chain((0..3).map(|at| (parts.cells[(at, 0)], intervals[at][1]))).collect()
            })
            .collect();
        let names = ["R² of a", "R² of b", "R² of a + b", "unique to a", "unique to b", "shared"];
        for (at, what) in names.iter().enumerate() {
            let (share, truth) = covered(&found.iter().map(|f| f[at]).collect::<Vec<_>>());
            if calibrating() {
                eprintln!("{what}, {n}: {truth:.3} {share:.3}");
            }
            // Made wider for training sets, intervals err on the careful side.
            assert!(share > 0.9 - slack(0.1), "{what}, {n}: {share}");
        }
    }
}

#[test]
fn refits_keep_their_level_where_layers_are_chosen() {
    let found: Vec<[f64; 4]> = (0..n_seeds())
        .into_par_iter()
        .map(|seed| {
            let of = |null| {
                let (layers, y) = world(60, seed, [0.0, 0.0]);
                let params = params(seed, null, 1, 99);
                let cells = cells(&layers, &y, &params, Keep::Draws);
                let best = chosen(&cells, &layers, &y, &params);
                [cells[0].chance.p_value[0], best.chance.p_value[0]]
            };
            let ([layer, best], [moved_layer, moved_best]) = (of(NullModel::Refit), of(NullModel::Shift));
            [layer, best, moved_layer, moved_best]
        })
        .collect();
    let names = ["refits, a layer", "refits, the chosen layer", "moved, a layer", "moved, the chosen layer"];
    for (at, what) in names.iter().enumerate() {
        for level in [0.05, 0.5] {
            let share = found.iter().filter(|p| p[at] <= level + 1e-12).count() as f64 / found.len() as f64;
            if calibrating() {
                eprintln!("{what}: {share:.3} at {level}");
            }
            // Moved predictions are widened by √2, which errs on the careful side at small levels.
            let slack = slack(level);
            if at >= 2 && level == 0.05 {
                assert!(share < level + slack, "{what}: {share} of the p-values lie below {level}");
            } else {
                let slack = if at >= 2 { slack + 0.08 } else { slack };
                assert!((share - level).abs() < slack, "{what}: {share} of the p-values lie below {level}");
            }
        }
    }
}
