//! What tests of whole pipelines repeat: noise, layers as a source, designs of clips.

use faer::Mat;
use stereotax::data::{Folds, LayerArrays, Result, Runs, TileSource};
use stereotax::pipelines::{Clock, SampleDesign};
use stereotax::stats::rng::Stream;

/// Standard normal numbers, rows × columns; `purpose` keeps tests apart that use one seed.
pub fn noise(rows: usize, columns: usize, seed: u64, purpose: &str, index: u64) -> Mat<f64> {
    let mut stream = Stream::new(seed, purpose, index);
    Mat::from_fn(rows, columns, |_, _| stream.normal())
}

/// "WHAT 000", "WHAT 001" …, in alphabetical order up to a thousand.
pub fn names(what: &str, n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{what} {i:03}")).collect()
}

/// `n_samples` clips in one run, each a block of its own, dealt into `n_folds` folds.
///
/// Panics if there are fewer clips than folds.
pub fn clips(n_samples: usize, n_folds: usize, seed: u64) -> SampleDesign {
    let ids = names("clip", n_samples);
    SampleDesign {
        folds: Folds::k_fold(&ids, n_folds, seed).unwrap_or_else(|e| panic!("{e}")),
        runs: Runs::single(n_samples),
        clock: Clock::Stimulus,
        blocks: (0..n_samples).collect(),
        block_names: ids.clone(),
        ids,
    }
}

/// Hand the layers over as a source, named "layer 0", "layer 1" …. Errors: layers that are none.
pub fn with_source<T>(layers: &[Mat<f64>], then: impl FnOnce(&dyn TileSource) -> T) -> Result<T> {
    let names: Vec<String> = (0..layers.len()).map(|l| format!("layer {l}")).collect();
    let source = LayerArrays::new(&names, layers.iter().map(Mat::as_ref).collect())?;
    Ok(then(&source))
}
