//! Planted factors, laws and slow twins of the factorisations.

use faer::Mat;

use super::*;
use stereotax_base::data::Monitor;
use stereotax_base::stats::rng::Stream;

/// Sparse non-negative factors.
pub fn planted(sizes: &[usize], rank: usize, seed: u64) -> Vec<Mat<f64>> {
    let mut stream = Stream::new(seed, "planted factors", 0);
    let mut entry = || if stream.uniform() < 0.4 { 0.0 } else { 0.2 + stream.uniform() };
    sizes.iter().map(|&n| Mat::from_fn(n, rank, |_, _| entry())).collect()
}

/// Σ_r a_r ∘ b_r ∘ …, in C order.
pub fn outer(factors: &[Mat<f64>]) -> Vec<f64> {
    let rank = factors[0].ncols();
    let mut cells = vec![vec![1.0; rank]];
    for factor in factors {
        cells = cells
            .iter()
            .flat_map(|cell| {
                (0..factor.nrows()).map(move |i| (0..rank).map(|r| cell[r] * factor[(i, r)]).collect())
            })
            .collect();
    }
    cells.iter().map(|cell| cell.iter().sum()).collect()
}

/// Planted maps, each rotated by its own number of directions; the rotations that undo it.
pub fn rotated(shape: [usize; 4], factors: &[Mat<f64>], seed: u64) -> (Vec<f64>, Vec<u16>) {
    let [n_units, n_stimuli, n_directions, n_times] = shape;
    let mut values = outer(factors);
    let mut stream = Stream::new(seed, "planted rotations", 0);
    let mut undo = vec![];
    for map in values.chunks_exact_mut(n_directions * n_times) {
        let shift = stream.below(n_directions);
        map.rotate_right(shift * n_times);
        undo.push(((n_directions - shift) % n_directions) as u16);
    }
    assert_eq!(undo.len(), n_units * n_stimuli);
    (values, undo)
}

fn noisy(values: &[f64], seed: u64, size: f64) -> Vec<f64> {
    let mut stream = Stream::new(seed, "noise", 0);
    values.iter().map(|value| (value + size * stream.normal()).max(0.0)).collect()
}

fn fit(tensor: &CpTensor, params: &CpParams) -> CpFit {
    fit_cp(tensor, params, &Monitor::silent()).unwrap()
}

fn best_of(tensor: &CpTensor, params: &CpParams, n_starts: usize) -> CpFit {
    (0..n_starts)
        .map(|start| fit(tensor, &CpParams { start, ..params.clone() }))
        .min_by(|a, b| a.error.total_cmp(&b.error))
        .unwrap()
}

fn assert_never_rises(fit: &CpFit) {
    for pair in fit.history.windows(2) {
        assert!(pair[1] <= pair[0] * (1.0 + 1e-10) + 1e-16, "{pair:?} in {:?}", fit.history);
    }
}

#[test]
fn planted_components_are_found_blind_to_order_and_scale() {
    let truth = planted(&[20, 6, 5, 7], 3, 1);
    let tensor = CpTensor::plain(&[20, 6, 5, 7], outer(&truth), None).unwrap();
    let params = CpParams { rank: 3, max_iter: 3000, tol: 1e-14, ..CpParams::default() };
    let found = best_of(&tensor, &params, 5);
    assert!(found.error < 1e-10, "{}", found.error);
    assert_never_rises(&found);
    let matched = match_components(&truth, &found.factors, None).unwrap();
    assert!(matched.similarity.iter().all(|s| *s > 0.999), "{matched:?}");
    assert!(found.weights.windows(2).all(|w| w[0] >= w[1]));
    // Weights and unit columns make the tensor again.
    let mut scaled = found.factors.clone();
    scaled[0] = Mat::from_fn(20, 3, |i, r| scaled[0][(i, r)] * found.weights[r]);
    let off = outer(&scaled).iter().zip(tensor.values()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(off < 1e-3, "{off}");
    assert!(found.shifts.is_empty());
}

#[test]
fn planted_rotations_are_found_up_to_one_of_everything() {
    let shape = [16, 4, 6, 5];
    let mut truth = planted(&[16, 4, 30], 3, 2);
    // Every component answers every stimulus: what shares no map with others could rotate by itself.
    truth[1] =
        Mat::from_fn(4, 3, |s, r| [[1.0, 0.3, 0.6], [0.4, 0.9, 0.2], [0.2, 0.5, 1.1], [0.8, 0.7, 0.3]][s][r]);
    let (values, undo) = rotated(shape, &truth, 3);
    let tensor = CpTensor::cyclic(shape, values, None).unwrap();
    let params = CpParams { rank: 3, max_iter: 3000, tol: 1e-14, ..CpParams::default() };
    let found = best_of(&tensor, &params, 20);
    assert!(found.error < 1e-10, "{}", found.error);
    assert_never_rises(&found);
    let matched = match_components(&truth, &found.factors, tensor.cyclic_axes()).unwrap();
    assert!(matched.similarity.iter().all(|s| *s > 0.999), "{matched:?}");
    // A silent map may rotate as it likes.
    let maps = tensor.values().chunks_exact(30);
    for ((found, planted), map) in found.shifts.iter().zip(&undo).zip(maps) {
        if map.iter().any(|x| *x > 0.0) {
            assert_eq!((usize::from(*found) + matched.shift) % 6, usize::from(*planted));
        }
    }
    // Without rotations the same tensor needs more than three components.
    let plain = CpTensor::plain(&[16, 4, 30], tensor.values().to_vec(), None).unwrap();
    assert!(best_of(&plain, &params, 3).error > 0.01);
}

#[test]
fn the_objective_never_rises() {
    for seed in 0..6 {
        let shape = [14, 3, 5, 4];
        let truth = planted(&[14, 3, 20], 3, seed);
        let values = noisy(&rotated(shape, &truth, seed).0, seed, 0.3);
        let mut stream = Stream::new(seed, "gaps", 0);
        let gaps: Vec<bool> = values.iter().map(|_| stream.uniform() > 0.15).collect();
        for observed in [None, Some(gaps)] {
            let shifted = CpTensor::cyclic(shape, values.clone(), observed.clone()).unwrap();
            let plain = CpTensor::plain(&shape, values.clone(), observed.clone()).unwrap();
            for tensor in [shifted, plain] {
                for rank in [1, 2, 6] {
                    let params = CpParams { rank, seed, max_iter: 60, tol: 0.0, ..CpParams::default() };
                    let found = fit(&tensor, &params);
                    assert_never_rises(&found);
                    // A tolerance of 0 stops only where nothing changes at all.
                    assert_eq!(found.converged, found.n_iter < 60);
                }
            }
        }
    }
}

/// The error of a fit by the definition: every rotation of every map tried.
fn slow_error(tensor: &CpTensor, fit: &CpFit) -> f64 {
    let mut factors = fit.factors.clone();
    for r in 0..fit.weights.len() {
        factors[0].col_mut(r).iter_mut().for_each(|x| *x *= fit.weights[r]);
    }
    let model = outer(&factors);
    let cyclic = tensor.cyclic_axes().unwrap();
    let length = cyclic.n_directions * cyclic.n_times;
    let there = |i: usize| tensor.observed().is_none_or(|observed| observed[i]);
    let mut total = 0.0;
    for (at, model) in model.chunks_exact(length).enumerate() {
        let cost = |shift: usize| -> f64 {
            (0..length)
                .filter(|i| there(at * length + i))
                .map(|i| {
                    let to = (i + shift * cyclic.n_times) % length;
                    (tensor.values()[at * length + i] - model[to]).powi(2)
                })
                .sum()
        };
        total += (0..cyclic.n_directions).map(cost).fold(f64::INFINITY, f64::min);
    }
    total / tensor.squared_norm()
}

#[test]
fn the_error_is_that_of_the_definition_and_does_not_see_rotations_of_the_input() {
    let shape = [12, 3, 4, 5];
    let values = noisy(&rotated(shape, &planted(&[12, 3, 20], 2, 5), 5).0, 5, 0.2);
    let gaps: Vec<bool> = (0..values.len()).map(|i| i % 7 != 3).collect();
    let params = CpParams { rank: 2, ..CpParams::default() };
    for observed in [None, Some(gaps)] {
        let tensor = CpTensor::cyclic(shape, values.clone(), observed).unwrap();
        let found = fit(&tensor, &params);
        assert!((slow_error(&tensor, &found) - found.error).abs() < 1e-12);
    }
    let tensor = CpTensor::cyclic(shape, values.clone(), None).unwrap();
    let mut turned = values;
    for (at, map) in turned.chunks_exact_mut(20).enumerate() {
        map.rotate_right(5 * (at % 4));
    }
    let again = fit(&CpTensor::cyclic(shape, turned, None).unwrap(), &params);
    let found = fit(&tensor, &params);
    assert!((found.error - again.error).abs() < 1e-10);
    for (at, (a, b)) in found.shifts.iter().zip(&again.shifts).enumerate() {
        assert_eq!(usize::from(*a), (usize::from(*b) + at % 4) % 4);
    }
}

#[test]
fn one_direction_is_the_plain_factorisation() {
    let values = noisy(&outer(&planted(&[10, 4, 6], 2, 7)), 7, 0.2);
    let params = CpParams { rank: 2, max_iter: 300, tol: 1e-9, ..CpParams::default() };
    let shifted = fit(&CpTensor::cyclic([10, 4, 1, 6], values.clone(), None).unwrap(), &params);
    let plain = fit(&CpTensor::plain(&[10, 4, 6], values, None).unwrap(), &params);
    assert!((shifted.error - plain.error).abs() < 1e-7, "{} {}", shifted.error, plain.error);
    let matched = match_components(&shifted.factors, &plain.factors, None).unwrap();
    assert!(matched.similarity.iter().all(|s| *s > 0.999), "{matched:?}");
    assert!(shifted.shifts.iter().all(|shift| *shift == 0));
}

#[test]
fn missing_entries_do_not_matter_and_are_predicted() {
    let truth = planted(&[20, 6, 8], 2, 9);
    let values = outer(&truth);
    let mut stream = Stream::new(9, "gaps", 0);
    let observed: Vec<bool> = values.iter().map(|_| stream.uniform() > 0.2).collect();
    let spoilt = values.iter().zip(&observed).map(|(x, there)| if *there { *x } else { f64::NAN }).collect();
    let tensor = CpTensor::plain(&[20, 6, 8], spoilt, Some(observed.clone())).unwrap();
    let params = CpParams { rank: 2, max_iter: 3000, tol: 1e-13, ..CpParams::default() };
    let found = best_of(&tensor, &params, 4);
    assert!(found.error < 1e-8, "{}", found.error);
    let matched = match_components(&truth, &found.factors, None).unwrap();
    assert!(matched.similarity.iter().all(|s| *s > 0.999), "{matched:?}");
    assert_never_rises(&found);
}

#[test]
fn fixed_modes_stay_and_starts_are_taken() {
    let values = noisy(&outer(&planted(&[10, 4, 6], 2, 11)), 11, 0.1);
    let tensor = CpTensor::plain(&[10, 4, 6], values, None).unwrap();
    let first = fit(&tensor, &CpParams { rank: 2, tol: 1e-10, max_iter: 2000, ..CpParams::default() });
    let mut init = first.factors.clone();
    init[0] = Mat::full(10, 2, 1.0);
    let params = CpParams {
        rank: 2,
        init: Some(init),
        fixed_modes: vec![1, 2],
        tol: 1e-12,
        max_iter: 2000,
        ..CpParams::default()
    };
    let again = fit(&tensor, &params);
    for mode in 0..3 {
        let off = (&first.factors[mode] - &again.factors[mode]).norm_max();
        assert!(off < if mode == 0 { 1e-3 } else { 1e-12 }, "{mode}: {off}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let shape = [150, 3, 4, 6];
    let values = noisy(&rotated(shape, &planted(&[150, 3, 24], 3, 13), 13).0, 13, 0.2);
    let observed: Vec<bool> = (0..values.len()).map(|i| i % 11 != 5).collect();
    let tensors = [
        CpTensor::cyclic(shape, values.clone(), None).unwrap(),
        CpTensor::cyclic(shape, values.clone(), Some(observed)).unwrap(),
        CpTensor::plain(&shape, values, None).unwrap(),
    ];
    for tensor in &tensors {
        let of = |threads: usize, parallel: bool| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| fit(tensor, &CpParams { rank: 3, max_iter: 20, parallel, ..CpParams::default() }))
        };
        let alone = of(1, false);
        for threads in [1, 2, 8] {
            let found = of(threads, true);
            assert_eq!((&found.history, &found.shifts), (&alone.history, &alone.shifts));
            assert_eq!(found.factors, alone.factors);
        }
    }
}

#[test]
fn dead_components_are_planted_again_or_reported() {
    // Two disjoint blocks; the start knows the first only, and its second component is dead.
    let mut values = vec![0.0; 4 * 3 * 5];
    for (i, j, k) in [(0, 0, 0), (0, 0, 1), (3, 2, 3), (3, 2, 4)] {
        values[(i * 3 + j) * 5 + k] = 2.0;
    }
    let tensor = CpTensor::plain(&[4, 3, 5], values, None).unwrap();
    let mut init: Vec<Mat<f64>> = [4, 3, 5].iter().map(|&n| Mat::zeros(n, 2)).collect();
    init.iter_mut().for_each(|factor| factor[(0, 0)] = 1.0);
    let found = fit(&tensor, &CpParams { rank: 2, init: Some(init), ..CpParams::default() });
    assert!(found.n_reseeded >= 1 && found.dead.is_empty() && found.error < 1e-20, "{found:?}");
    // One component explains it all: what is left over has nothing to be planted in.
    let single = CpTensor::plain(&[4, 3, 5], vec![1.0; 60], None).unwrap();
    let mut init: Vec<Mat<f64>> = [4, 3, 5].iter().map(|&n| Mat::full(n, 2, 1.0)).collect();
    init[0].col_mut(1).iter_mut().for_each(|x| *x = 0.0);
    let found = fit(&single, &CpParams { rank: 2, init: Some(init), ..CpParams::default() });
    assert_eq!(found.dead, [1]);
    assert!((found.weights[0] - 60f64.sqrt()).abs() < 1e-9 && found.weights[1] == 0.0);
}

#[test]
fn refusals_name_what_is_wrong() {
    let tensor = CpTensor::plain(&[3, 2, 2], vec![1.0; 12], None).unwrap();
    let message = |params: CpParams| fit_cp(&tensor, &params, &Monitor::silent()).unwrap_err().to_string();
    assert!(message(CpParams { rank: 5, ..CpParams::default() }).contains("from 1 to 4"));
    assert!(message(CpParams { rank: 0, ..CpParams::default() }).contains("`rank`"));
    assert!(message(CpParams { tol: f64::NAN, ..CpParams::default() }).contains("tol"));
    assert!(message(CpParams { fixed_modes: vec![0], ..CpParams::default() }).contains("init"));
    assert!(message(CpParams { fixed_modes: vec![3], ..CpParams::default() }).contains("below 3"));
    let init =
        |value: f64, n: usize| Some(vec![Mat::full(n, 1, value), Mat::full(2, 1, 1.0), Mat::full(2, 1, 1.0)]);
    assert!(message(CpParams { init: init(1.0, 4), ..CpParams::default() }).contains("one factor per mode"));
    assert!(message(CpParams { init: init(-1.0, 3), ..CpParams::default() }).contains("init of mode 0"));
    let stop = std::sync::atomic::AtomicBool::new(true);
    let stopped = fit_cp(&tensor, &CpParams::default(), &Monitor::stoppable(&stop)).unwrap_err();
    assert_eq!(stopped, stereotax_base::Error::Cancelled);
}
