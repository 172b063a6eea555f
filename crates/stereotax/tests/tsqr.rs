//! Triangular factors beside Gram matrices: the same numbers where both are sharp, directions that a Gram
//! matrix loses, any folds and draws, the same bits for any threads (specs: nfas-dmd 4 and 19.2).

use faer::{Mat, c64};
use stereotax::data::{Monitor, TileSource};
use stereotax::dynamics::reduce::{LayerTransform, reduce_tsqr};
use stereotax::dynamics::{
    Centring, DepthDmdParams, DepthMoments, Estimator, MomentsOptions, RankRule, Reduction, Scaling,
    depth_dmd_scaled,
};
use stereotax::linalg::{cross, svd, thin_qr};
use stereotax::pipelines::DepthParams;
use stereotax::pipelines::depth::{DepthResult, depth_moments, fit_depth};
use stereotax_testkit::designs::{self, clips, names};

const N: usize = 96;
const WIDTH: usize = 9;

fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
    designs::noise(rows, columns, 21, "tsqr test", index)
}

fn with_source<T>(layers: &[Mat<f64>], then: impl FnOnce(&dyn TileSource) -> T) -> T {
    designs::with_source(layers, then).unwrap()
}

fn moments(layers: &[Mat<f64>], unit_sample: bool, triangles: bool) -> DepthMoments {
    let blocks: Vec<usize> = (0..layers[0].nrows()).map(|t| (t / 10) % 4).collect();
    let options = MomentsOptions { unit_sample, triangles };
    with_source(layers, |source| {
        DepthMoments::accumulate(source, &blocks, &names("block", 4), options, &Monitor::silent()).unwrap()
    })
}

fn random_layers(n_layers: usize, n: usize, width: usize) -> Vec<Mat<f64>> {
    (0..n_layers)
        .map(|l| {
            noise(n, width, l as u64) * faer::Scale(1.0 + l as f64) + Mat::full(n, width, 3.0 - l as f64)
        })
        .collect()
}

#[test]
fn factors_multiply_to_the_gram_of_every_weighting() {
    let layers = random_layers(6, N, WIDTH);
    for unit_sample in [false, true] {
        let (plain, sharp) = (moments(&layers, unit_sample, false), moments(&layers, unit_sample, true));
        for weights in [None, Some(vec![1.0, 0.0, 1.0, 1.0]), Some(vec![2.0, 0.0, 3.0, 1.0])] {
            for centring in [Centring::Stimuli, Centring::None] {
                let a = plain.gram(weights.as_deref(), centring).unwrap();
                let b = sharp.gram(weights.as_deref(), centring).unwrap();
                let scale = a.gram.norm_max();
                let r = b.triangle.as_ref().unwrap();
                assert!((&a.gram - cross(r.as_ref(), r.as_ref())).norm_max() < 1e-12 * scale);
                assert!((0..6).all(|j| (j + 1..6).all(|i| r[(i, j)] == 0.0)));
                assert!((&a.gram - &b.gram).norm_max() < 1e-12 * scale && a.triangle.is_none());
                for scaling in [Scaling::Frobenius, Scaling::None, Scaling::Pair] {
                    let params = DepthDmdParams { rank: RankRule::Fixed(3), ..DepthDmdParams::default() };
                    let x = depth_dmd_scaled(&a.scaled(scaling).unwrap(), &params).unwrap();
                    let y = depth_dmd_scaled(&b.scaled(scaling).unwrap(), &params).unwrap();
                    for (x, y) in x.eigenvalues.iter().zip(&y.eigenvalues) {
                        assert!((*x - *y).norm() < 1e-9, "{x} {y}");
                    }
                }
            }
        }
        // Parts of the data, joined, and bytes.
        let (top, bottom): (Vec<Mat<f64>>, Vec<Mat<f64>>) =
            layers.iter().map(|h| (h.get(..40, ..).to_owned(), h.get(40.., ..).to_owned())).unzip();
        let joined = moments(&top, unit_sample, true).merge(&moments(&bottom, unit_sample, true)).unwrap();
        let once = joined.gram(None, Centring::Stimuli).unwrap();
        let whole = sharp.gram(None, Centring::Stimuli).unwrap();
        let distance = |a: &Mat<f64>, b: &Mat<f64>| (a - b).norm_max() / b.norm_max();
        assert!(distance(&once.gram, &whole.gram) < 1e-12);
        assert_eq!(DepthMoments::from_bytes(&sharp.to_bytes()).unwrap(), sharp);
        assert!(sharp.merge(&plain).is_err());
    }
}

#[test]
fn bits_do_not_depend_on_threads_and_tiles_may_be_added_by_hand() {
    // Long enough for many tiles and tasks.
    let layers = random_layers(5, 700, 1600);
    let in_pool = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| moments(&layers, false, true))
    };
    let one = in_pool(1);
    assert_eq!(one, in_pool(3));
    let empty = DepthMoments::new(
        &with_source(&layers, |s| s.layers().to_vec()),
        &names("block", 1),
        MomentsOptions { unit_sample: false, triangles: true },
    );
    let mut by_hand = empty.unwrap();
    for from in (0..700).step_by(100) {
        let tiles: Vec<_> = layers.iter().map(|h| h.get(from..from + 100, ..)).collect();
        by_hand.add_tile(0, from, &tiles).unwrap();
    }
    let (a, b) = (one.gram(None, Centring::Stimuli).unwrap(), by_hand.gram(None, Centring::Stimuli).unwrap());
    assert!((&a.gram - &b.gram).norm_max() < 1e-12 * a.gram.norm_max());
}

/// Four modes with λ = 0.95, 0.8, −0.7, 0.5 whose sizes fall from 1 to `least`, and an offset per unit.
fn falling(least: f64) -> Vec<Mat<f64>> {
    let modes = thin_qr(noise(N * WIDTH, 4, 50).as_ref()).0;
    let values = [0.95f64, 0.8, -0.7, 0.5];
    (0..9)
        .map(|l| {
            Mat::from_fn(N, WIDTH, |t, k| {
                let state: f64 = (0..4)
                    .map(|m| least.powf(m as f64 / 3.0) * values[m].powi(l) * modes[(t * WIDTH + k, m)])
                    .sum();
                30.0 * state + 0.01 * k as f64
            })
        })
        .collect()
}

/// The states, centred, as one column per layer.
fn snapshots(layers: &[Mat<f64>]) -> Mat<f64> {
    let means: Vec<Vec<f64>> = layers
        .iter()
        .map(|h| (0..WIDTH).map(|k| h.col(k).iter().sum::<f64>() / N as f64).collect())
        .collect();
    Mat::from_fn(N * WIDTH, layers.len(), |i, l| layers[l][(i / WIDTH, i % WIDTH)] - means[l][i % WIDTH])
}

#[test]
fn directions_that_a_gram_matrix_loses_are_kept() {
    let layers = falling(1e-11);
    let expected = svd(snapshots(&layers).as_ref()).unwrap().s;
    let params = DepthDmdParams { rank: RankRule::Fixed(4), min_energy: 0.0, ..DepthDmdParams::default() };
    let scaled = |triangles| {
        moments(&layers, false, triangles)
            .gram(None, Centring::Stimuli)
            .unwrap()
            .scaled(Scaling::None)
            .unwrap()
    };
    let (blurred, sharp) = (scaled(false), scaled(true));
    let by_gram = depth_dmd_scaled(&blurred, &params).unwrap();
    assert!(by_gram.numerical_rank < 4, "{}", by_gram.numerical_rank);
    let r = svd(sharp.triangle.as_ref().unwrap().as_ref()).unwrap().s;
    assert!(expected[3] / expected[0] < 1e-11);
    for k in 0..4 {
        assert!((r[k] / expected[k] - 1.0).abs() < 1e-3, "{k}: {} {}", r[k], expected[k]);
    }
    // Every estimator sees all four modes; the weak ones as sharply as their size allows.
    for estimator in [
        Estimator::Standard,
        Estimator::ForwardBackward,
        Estimator::Hankel { delays: 2 },
        Estimator::TotalLeastSquares,
    ] {
        let found = depth_dmd_scaled(&sharp, &DepthDmdParams { estimator, ..params }).unwrap();
        for value in [0.95, 0.8, -0.7, 0.5] {
            let gap = found.eigenvalues.iter().map(|z| (*z - c64::new(value, 0.0)).norm());
            let gap = gap.fold(f64::INFINITY, f64::min);
            assert!(gap < 1e-2, "{estimator:?} {value}: {gap:e} {:?}", found.eigenvalues);
        }
    }
    // The one-fold reduction of the same data agrees.
    let direct = with_source(&layers, |source| {
        let means: Vec<Vec<f64>> = moments(&layers, false, false).layer_means(None).unwrap();
        let transform = LayerTransform { means: Some(&means), rms: &[1.0; 9] };
        reduce_tsqr(source, std::slice::from_ref(&(0..N)), transform, &Monitor::silent()).unwrap()
    });
    for k in 0..4 {
        assert!((direct.singular_values[k] / r[k] - 1.0).abs() < 1e-3);
    }
}

fn fit(layers: &[Mat<f64>], reduction: Reduction, rank: RankRule) -> DepthResult {
    let design = clips(N, 4, 0);
    let params = DepthParams {
        dmd: DepthDmdParams { rank, min_energy: 0.0, ..DepthDmdParams::default() },
        scaling: Scaling::None,
        reduction,
        n_shuffles: 1,
        n_bootstraps: 3,
        multiverse: false,
        ..Default::default()
    };
    with_source(layers, |source| {
        let pieces = design.pieces();
        let moments = depth_moments(source, &pieces, &params, &Monitor::silent()).unwrap();
        fit_depth(source, Some((&moments, &pieces)), &design, &params, &Monitor::silent()).unwrap()
    })
}

#[test]
fn the_depth_stage_reads_the_layers_again_where_it_must() {
    let says = |result: &DepthResult, what: &str| result.whole.warnings.iter().any(|w| w.contains(what));
    let hard = falling(1e-11);
    let auto = fit(&hard, Reduction::Auto, RankRule::Fixed(4));
    assert!(says(&auto, "reduced by QR") && auto.whole.numerical_rank >= 4, "{:?}", auto.whole);
    assert!(auto.folds.iter().all(|fold| fold.rank == 4));
    // A direction at about 4·10⁻⁷ is in the Gram matrix, but blurred.
    let middling = falling(3e-6);
    assert!(says(&fit(&middling, Reduction::Auto, RankRule::Fixed(4)), "reduced by QR"));
    assert!(says(&fit(&middling, Reduction::Gram, RankRule::Fixed(4)), "blurred"));
    assert!(!says(&fit(&middling, Reduction::Tsqr, RankRule::Fixed(4)), "blurred"));
    // Truncated data need no second pass, and their numbers are those of the Gram matrix to the bit.
    let (auto, gram) = (
        fit(&middling, Reduction::Auto, RankRule::Energy(0.99)),
        fit(&middling, Reduction::Gram, RankRule::Energy(0.99)),
    );
    assert_eq!(auto, gram);
}
