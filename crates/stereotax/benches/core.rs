//! Time the core on one thread and check each result against a slow form.
//!
//! `cargo bench -p stereotax` prints the median of several runs; a wrong result ends the program.
//! `cargo bench -p stereotax -- per_sample` runs one case.
//! Cases: a DMD per sample (768 units × 13 layers), moments with a standard DMD (10⁶ × 25), and
//! PERMANOVA with silhouette (45 objects, 3 groups, 10⁵ permutations).

// A bench is a program: it prints.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use faer::Mat;
use stereotax::data::{Labels, LayerArrays, Monitor};
use stereotax::dynamics::per_sample::per_sample_dmd;
use stereotax::dynamics::reduce::LayerTransform;
use stereotax::dynamics::{
    Centring, DepthDmdParams, DepthMoments, MomentsOptions, Scaling, depth_dmd, depth_dmd_scaled,
};
use stereotax::linalg::{eig, eigh, gram};
use stereotax::stats::distance::{DistanceKind, object_distances};
use stereotax::stats::permanova::permanova;
use stereotax::stats::rng::Stream;
use stereotax::stats::shuffles::PermutationParams;
use stereotax::stats::silhouette::silhouette_test;

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread");
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let cases: [(&str, fn()); 3] =
        [("per_sample", per_sample), ("moments", moments), ("permutations", permutations)];
    for (name, case) in cases {
        if asked.is_empty() || asked.iter().any(|a| name.contains(a.as_str())) {
            pool.install(case);
        }
    }
}

/// Run several times; print and return the median of the seconds per run.
fn time<T>(name: &str, runs: usize, mut work: impl FnMut() -> T) -> f64 {
    let mut seconds: Vec<f64> = (0..runs)
        .map(|_| {
            let begin = Instant::now();
            black_box(work());
            begin.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let median = seconds[runs / 2];
    println!("{name}: {:.3} ms (median of {runs}, least {:.3})", 1e3 * median, 1e3 * seconds[0]);
    median
}

/// A walk in depth; every layer is stored row after row, as NumPy does.
fn walk(samples: usize, width: usize, n_layers: usize) -> Vec<Mat<f64>> {
    let mut stream = Stream::new(1, "core bench", 0);
    let mut state = Mat::from_fn(width, samples, |_, _| stream.normal());
    (0..n_layers)
        .map(|_| {
            let now = state.clone();
            for t in 0..samples {
                state.col_mut(t).iter_mut().for_each(|x| *x += 0.3 * stream.normal());
            }
            now
        })
        .collect()
}

fn source(layers: &[Mat<f64>]) -> LayerArrays<'_> {
    let names: Vec<String> = (0..layers.len()).map(|l| format!("layer {l}")).collect();
    LayerArrays::new(&names, layers.iter().map(|h| h.transpose()).collect()).expect("layers of equal height")
}

fn per_sample() {
    let (samples, width, n_layers) = (256, 768, 13);
    let layers = walk(samples, width, n_layers);
    let rms = vec![1.0; n_layers];
    let transform = LayerTransform { means: None, rms: &rms };
    let params = DepthDmdParams::default();
    let run = || {
        per_sample_dmd(&source(&layers), transform, &params, &Monitor::silent()).expect("a DMD per sample")
    };
    let seconds = time("per-sample DMD, 256 samples of 768 × 13", 15, run);
    println!("    {:.1} µs per sample", 1e6 * seconds / samples as f64);
    let found = run();
    let small = |t: usize| Mat::from_fn(width, n_layers, |u, l| layers[l][(u, t)]);
    for t in 0..samples {
        let general =
            depth_dmd(gram(small(t).as_ref()).as_ref(), f64::EPSILON, &params).expect("the general route");
        assert!((found.eigenvalues[t] - general.selected_eigenvalue()).norm() < 1e-8, "sample {t}");
    }
    let products = gram(small(0).get(.., ..n_layers - 1));
    let tall = small(0);
    time("    parts: 1000 × gram 768 × 13", 9, || {
        (0..1000).map(|_| gram(tall.as_ref())[(0, 0)]).sum::<f64>()
    });
    time("    parts: 1000 × symmetric eigen of 12", 9, || {
        (0..1000).filter_map(|_| eigh(products.as_ref()).ok()).count()
    });
    let general = Mat::from_fn(10, 10, |i, j| tall[(10 * i + j, 3)]);
    time("    parts: 1000 × general eigen of 10", 9, || {
        (0..1000).filter_map(|_| eig(general.as_ref()).ok()).count()
    });
}

fn moments() {
    let (samples, width, n_layers) = (1000, 1000, 25);
    let layers = walk(samples, width, n_layers);
    let source = source(&layers);
    let (blocks, names) = (vec![0; samples], ["all".to_owned()]);
    let options = MomentsOptions::default();
    let accumulate =
        || DepthMoments::accumulate(&source, &blocks, &names, options, &Monitor::silent()).expect("moments");
    let fit = |moments: &DepthMoments| {
        let scaled = moments
            .gram(None, Centring::Stimuli)
            .and_then(|g| g.scaled(Scaling::Frobenius))
            .expect("layers that vary");
        depth_dmd_scaled(&scaled, &DepthDmdParams::default()).expect("a spectrum")
    };
    let ours = time("moments and standard DMD, 10⁶ × 25", 7, || fit(&accumulate()));
    let read = time("    floor: read the data once", 7, || {
        layers.iter().map(|h| (0..samples).map(|t| h.col(t).iter().sum::<f64>()).sum::<f64>()).sum::<f64>()
    });
    let chunk = Mat::from_fn(4096, n_layers, |i, l| layers[l][(i % width, i / width)]);
    let chunks = (samples * width).div_ceil(4096);
    let multiply = time("    floor: 25 × 25 products of chunks that stay in cache", 7, || {
        (0..chunks).map(|_| black_box(gram(chunk.as_ref()))[(0, 0)]).sum::<f64>()
    });
    println!("    ratio to both floors: {:.2}", ours / (read + multiply));

    let found = accumulate().gram(None, Centring::None).expect("moments").gram;
    for (l, m) in [(0, 0), (3, 17), (24, 24), (24, 0)] {
        let slow: f64 = (0..samples)
            .map(|t| layers[l].col(t).iter().zip(layers[m].col(t).iter()).map(|(a, b)| a * b).sum::<f64>())
            .sum();
        assert!((found[(l, m)] - slow).abs() < 1e-11 * slow.abs(), "moment {l}, {m}");
    }
}

fn permutations() {
    let n = 45;
    let mut stream = Stream::new(2, "core bench", 0);
    let x = Mat::from_fn(n, 6, |i, _| stream.normal() + 0.3 * (i % 3) as f64);
    let names: Vec<String> = (0..n).map(|i| format!("group {}", i % 3)).collect();
    let labels = Labels::new(&names);
    let distances = object_distances(x.as_ref(), DistanceKind::EuclideanRaw).expect("distances").distances;
    let params = PermutationParams { n_permutations: 100_000, ..Default::default() };
    let silent = Monitor::silent();
    let ours = time("PERMANOVA with R², 10⁵ permutations of 45", 5, || {
        permanova(&distances, &labels, &params, &silent)
    });
    let theirs = time("silhouette, 10⁵ permutations of 45", 5, || {
        silhouette_test(&distances, &labels, &params, &silent)
    });
    println!("    both: {:.3} s", ours + theirs);

    let found = permanova(&distances, &labels, &params, &silent).expect("a test");
    let d = distances.matrix();
    let (mut total, mut within) = (0.0, 0.0);
    for i in 0..n {
        for j in 0..i {
            total += d[(i, j)].powi(2) / n as f64;
            within += if i % 3 == j % 3 { d[(i, j)].powi(2) / 15.0 } else { 0.0 };
        }
    }
    let slow = ((total - within) / 2.0) / (within / 42.0);
    assert!((found.f - slow).abs() < 1e-12 * slow, "F {} against {slow}", found.f);
    assert!((found.r2 - (1.0 - within / total)).abs() < 1e-12);
    let shown = silhouette_test(&distances, &labels, &params, &silent).expect("a test").observed.mean;
    let slow: f64 = (0..n)
        .map(|i| {
            let to = |c: usize| {
                let others: Vec<f64> = (0..n).filter(|&j| j % 3 == c && j != i).map(|j| d[(i, j)]).collect();
                others.iter().sum::<f64>() / others.len() as f64
            };
            let b = (0..3).filter(|&c| c != i % 3).map(to).fold(f64::INFINITY, f64::min);
            (b - to(i % 3)) / b.max(to(i % 3))
        })
        .sum::<f64>()
        / n as f64;
    assert!((shown - slow).abs() < 1e-12, "silhouette {shown} against {slow}");
}
