//! Split the depth into contiguous windows and fit each with an operator of its own.
//!
//! One linear map is good over a few layers and rarely over a whole network. The windows are given, or
//! chosen by dynamic programming on the summed one-step error at a common rank r:
//!
//! ```text
//! window [a, b):  X = layers a … b−2,  Y = layers a+1 … b−1,  X ≈ U S Vᵀ cut to r
//! error(a, b)   = ‖Y − Y V Vᵀ‖²_F = tr G22 − tr Vᵀ G22 V       (from the Gram matrix alone)
//! best(s, b)    = min over a of best(s − 1, a) + error(a, b)
//! ```
//!
//! A window of n layers has n − 1 pairs, so its error is zero by interpolation once r ≥ n − 1: windows
//! must hold at least r + 2 layers. The number of windows is the caller's: more windows always fit
//! better.
//!
//! Source: Aswani & Jabari 2026 (operators along depth are local); Bellman 1961 (segmentation by
//! dynamic programming); specs: nfas-dmd 5.7. Cost: O(L²) windows of O(L³), O(s·L²) for the search.

use std::ops::Range;

use faer::{Mat, MatRef};

use super::fit::{MIN_LAYERS, depth_dmd};
use super::spectrum::{DepthDmdParams, DepthSpectrum};
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{cross, eigh, product};

/// Where windows begin and end.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentRule {
    /// First layer of every window but the first, ascending.
    Given(Vec<usize>),
    /// The split of least summed one-step error.
    Search {
        /// Windows.
        n_segments: usize,
        /// Fewest layers per window; at least `rank` + 2 and 4.
        min_length: usize,
        /// Rank at which windows are compared. Each is then fitted with the rank rule of the parameters.
        rank: usize,
    },
}

/// One window and its fit.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Layers, counted from 0.
    pub layers: Range<usize>,
    /// ‖Y − Y V Vᵀ‖² / ‖Y‖² of the window at the rank of its fit.
    pub one_step_error: f64,
    /// Spectrum of the window; weights and coefficients count from its first layer.
    pub spectrum: DepthSpectrum,
}

/// A depth trajectory in pieces.
#[derive(Debug, Clone)]
pub struct SegmentedDmd {
    /// In order of depth; together they hold every layer once.
    pub segments: Vec<Segment>,
    /// Summed one-step error over Σ‖Y‖² of the windows, each at the rank of its fit.
    pub one_step_error: f64,
    /// The same for a single window over the whole depth, at the largest rank that a window was
    /// fitted with: what splitting must be compared with.
    pub unsplit_error: f64,
}

/// Split the depth of a Gram matrix (centred over stimuli, scaled) and fit every window.
///
/// Errors: windows shorter than 4 layers, boundaries out of order, a split that the depth does not
/// hold, those of [`depth_dmd`].
pub fn segmented_dmd(
    gram: MatRef<f64>,
    epsilon: f64,
    rule: &SegmentRule,
    params: &DepthDmdParams,
) -> Result<SegmentedDmd> {
    let n_layers = gram.nrows();
    // The unsplit fit also checks the matrix and the settings.
    depth_dmd(gram, epsilon, params)?;
    let windows = match rule {
        SegmentRule::Given(starts) => given(starts, n_layers)?,
        SegmentRule::Search { n_segments, min_length, rank } => {
            search(gram, *n_segments, *min_length, *rank)?
        }
    };
    let mut segments = Vec::with_capacity(windows.len());
    let (mut missed, mut total, mut rank) = (0.0, 0.0, 0);
    for layers in windows {
        let window = gram.submatrix(layers.start, layers.start, layers.len(), layers.len());
        let spectrum = depth_dmd(window, epsilon, params)?;
        let error = one_step_error(window, spectrum.rank)?;
        let size = after(window);
        missed += error;
        total += size;
        rank = rank.max(spectrum.rank);
        segments.push(Segment { layers, one_step_error: error / size, spectrum });
    }
    Ok(SegmentedDmd {
        segments,
        one_step_error: missed / total,
        unsplit_error: one_step_error(gram, rank)? / after(gram),
    })
}

/// Windows for the estimator `segments`: as many as asked for, or as the depth holds with
/// [`MIN_LAYERS`] each, compared at `rank`, or at the highest rank that leaves windows of that number
/// two layers to spare. Says what was lowered.
pub(super) fn search_windows(
    gram: MatRef<f64>,
    n_segments: usize,
    rank: usize,
) -> Result<(Vec<Range<usize>>, Vec<String>)> {
    let n_layers = gram.nrows();
    let held = n_segments.min(n_layers / MIN_LAYERS).max(1);
    let mut warnings = Vec::new();
    if held < n_segments {
        warnings.push(format!(
            "{n_layers} layers hold {held} windows of {MIN_LAYERS} layers, fewer than the {n_segments} asked for"
        ));
    }
    let rank = rank.min(n_layers / held - 2).max(1);
    Ok((search(gram, held, (rank + 2).max(MIN_LAYERS), rank)?, warnings))
}

fn given(starts: &[usize], n_layers: usize) -> Result<Vec<Range<usize>>> {
    let bounds: Vec<usize> =
        std::iter::once(0).chain(starts.iter().copied()).chain(std::iter::once(n_layers)).collect();
    if let Some(w) = bounds.windows(2).find(|w| w[1] < w[0] + MIN_LAYERS) {
        return Err(Error::Invalid {
            what: "segments".into(),
            expected: format!("ascending starts with at least {MIN_LAYERS} layers per window"),
            found: format!("a window from layer {} to {}", w[0], w[1]),
            hint: format!("there are {n_layers} layers"),
        });
    }
    Ok(bounds.windows(2).map(|w| w[0]..w[1]).collect())
}

/// Dynamic programming over the last boundary; the earliest one among equals.
fn search(gram: MatRef<f64>, n_segments: usize, min_length: usize, rank: usize) -> Result<Vec<Range<usize>>> {
    let n = gram.nrows();
    let needed = (rank + 2).max(MIN_LAYERS);
    if rank == 0 || n_segments == 0 || min_length < needed || n_segments.saturating_mul(min_length) > n {
        return Err(Error::Invalid {
            what: "segments".into(),
            expected: format!(
                "a rank and a number of windows of at least 1 that {n} layers hold, with at least {needed} layers each (rank + 2)"
            ),
            found: format!("{n_segments} windows of at least {min_length} layers at rank {rank}"),
            hint: "ask for fewer windows or a lower rank".into(),
        });
    }
    let mut error = Mat::from_fn(n + 1, n + 1, |_, _| f64::INFINITY);
    for a in 0..n {
        for b in a + min_length..=n {
            error[(a, b)] = one_step_error(gram.submatrix(a, a, b - a, b - a), rank)?;
        }
    }
    let mut best: Vec<f64> = (0..=n).map(|b| error[(0, b)]).collect();
    let mut last_starts: Vec<Vec<usize>> = Vec::new();
    for _ in 1..n_segments {
        let mut next = vec![f64::INFINITY; n + 1];
        let mut starts = vec![0; n + 1];
        for b in 0..=n {
            for a in 0..b {
                let total = best[a] + error[(a, b)];
                if total < next[b] {
                    (next[b], starts[b]) = (total, a);
                }
            }
        }
        best = next;
        last_starts.push(starts);
    }
    let mut windows = Vec::with_capacity(n_segments);
    let mut end = n;
    for starts in last_starts.iter().rev() {
        windows.push(starts[end]..end);
        end = starts[end];
    }
    windows.push(0..end);
    windows.reverse();
    Ok(windows)
}

/// ‖Y − Y V Vᵀ‖² for the leading `rank` right-singular directions V of X.
fn one_step_error(window: MatRef<f64>, rank: usize) -> Result<f64> {
    let pairs = window.nrows() - 1;
    let decomposed = eigh(window.submatrix(0, 0, pairs, pairs))?;
    let cut = decomposed.values[0] * pairs as f64 * f64::EPSILON;
    let kept = decomposed.values.iter().take(rank).take_while(|w| **w > cut).count();
    let v = decomposed.vectors.get(.., ..kept);
    let g22 = window.submatrix(1, 1, pairs, pairs);
    let inside = cross(v, product(g22, v).as_ref());
    let held: f64 = (0..kept).map(|k| inside[(k, k)]).sum();
    Ok((after(window) - held).max(0.0))
}

/// ‖Y‖².
fn after(window: MatRef<f64>) -> f64 {
    (1..window.nrows()).map(|l| window[(l, l)]).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectrum::{Estimator, RankRule};
    use stereotax_base::linalg::{gram, svd};
    use stereotax_base::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(7, "segments tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    /// 16 layers: λ = 0.95, 0.5 up to layer 8, then another plane with λ = 0.8, 1.05.
    fn two_phases(sd: f64) -> Mat<f64> {
        let (x, e) = (noise(60, 4, 0), noise(60, 16, 1));
        Mat::from_fn(60, 16, |i, l| {
            let signal = if l < 9 {
                x[(i, 0)] * 0.95f64.powi(l as i32) + x[(i, 1)] * 0.5f64.powi(l as i32)
            } else {
                x[(i, 2)] * 0.8f64.powi(l as i32 - 9) + x[(i, 3)] * 1.05f64.powi(l as i32 - 9)
            };
            signal + sd * e[(i, l)]
        })
    }

    fn params() -> DepthDmdParams {
        DepthDmdParams { rank: RankRule::Fixed(2), ..Default::default() }
    }

    #[test]
    fn a_planted_change_of_law_is_found() {
        for sd in [0.0, 0.02] {
            let h = two_phases(sd);
            let rule = SegmentRule::Search { n_segments: 2, min_length: 4, rank: 2 };
            let found = segmented_dmd(gram(h.as_ref()).as_ref(), f64::EPSILON, &rule, &params()).unwrap();
            assert_eq!(found.segments[0].layers, 0..9);
            assert_eq!(found.segments[1].layers, 9..16);
            assert!(found.one_step_error < 0.1 * found.unsplit_error);
            if sd == 0.0 {
                let values = |s: usize| &found.segments[s].spectrum.eigenvalues;
                for (s, expected) in [(0, [0.95, 0.5]), (1, [1.05, 0.8])] {
                    for (v, e) in values(s).iter().zip(expected) {
                        assert!((v.re - e).abs() < 1e-6 && v.im == 0.0, "{v} against {e}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_estimator_joins_the_windows_by_their_length() {
        let g = gram(two_phases(0.0).as_ref());
        let segments =
            |n_segments| DepthDmdParams { estimator: Estimator::Segments { n_segments }, ..params() };
        let found = depth_dmd(g.as_ref(), f64::EPSILON, &segments(2)).unwrap();
        assert_eq!(found.windows, [0..9, 9..16]);
        assert_eq!(found.window_of, [0, 0, 1, 1]);
        // Closest to one: 0.95 in the first window, 1.05 in the second.
        let (a, b) = (found.eigenvalues[found.selected[0]].re, found.eigenvalues[found.selected[1]].re);
        assert!((a - 0.95).abs() < 1e-6 && (b - 1.05).abs() < 1e-6, "{a} {b}");
        let rate = ((8.0 * 0.95f64.ln() + 6.0 * 1.05f64.ln()) / 14.0).exp();
        assert!((found.selected_eigenvalue().re - rate).abs() < 1e-6);
        let change = 8.0 * 0.95f64.ln().abs() + 6.0 * 1.05f64.ln();
        assert!((found.over_depth(|z| z.norm().ln().abs()) - change).abs() < 1e-5);
        // Weights are those of the windows, 9/16 and 7/16 of them.
        for (window, share) in [(0..9, 9.0 / 16.0), (9..16, 7.0 / 16.0)] {
            let alone = g.submatrix(window.start, window.start, window.len(), window.len());
            let alone = depth_dmd(alone, f64::EPSILON, &params()).unwrap();
            for (l, w) in window.clone().zip(&alone.weights) {
                assert!((found.weights[l] - share * w).abs() < 1e-12);
            }
        }
        // Nine layers hold two windows of four, not five.
        let short = g.submatrix(0, 0, 9, 9);
        let short = depth_dmd(short, f64::EPSILON, &segments(5)).unwrap();
        assert_eq!(short.windows.len(), 2);
        assert!(short.warnings[0].contains("9 layers hold 2 windows"), "{:?}", short.warnings);
        assert!(depth_dmd(g.as_ref(), f64::EPSILON, &segments(1)).is_err());
    }

    #[test]
    fn the_search_finds_the_least_of_all_splits() {
        let h = noise(30, 15, 3);
        let g = gram(h.as_ref());
        let total = |bounds: [usize; 4]| -> f64 {
            bounds
                .windows(2)
                .map(|w| one_step_error(g.submatrix(w[0], w[0], w[1] - w[0], w[1] - w[0]), 2).unwrap())
                .sum()
        };
        let mut least = (f64::INFINITY, [0; 4]);
        for a in 4..=7 {
            for b in a + 4..=11 {
                let error = total([0, a, b, 15]);
                if error < least.0 {
                    least = (error, [0, a, b, 15]);
                }
            }
        }
        let found = search(g.as_ref(), 3, 4, 2).unwrap();
        assert_eq!(found.iter().map(|w| w.start).collect::<Vec<_>>(), least.1[..3]);
    }

    #[test]
    fn the_error_is_that_of_the_explicit_operator() {
        let h = noise(30, 8, 4);
        let (x, y) = (h.get(.., ..7), h.get(.., 1..));
        let v = svd(x).unwrap().v.get(.., ..3).to_owned();
        let rest = y - product(product(y, v.as_ref()).as_ref(), v.transpose());
        let found = one_step_error(gram(h.as_ref()).as_ref(), 3).unwrap();
        assert!((found - rest.squared_norm_l2()).abs() < 1e-10);
    }

    #[test]
    fn given_windows_are_kept_and_short_ones_refused() {
        let g = gram(two_phases(0.1).as_ref());
        let split = |starts: Vec<usize>| {
            segmented_dmd(g.as_ref(), f64::EPSILON, &SegmentRule::Given(starts), &params())
        };
        let found = split(vec![5, 10]).unwrap();
        let lengths: Vec<usize> = found.segments.iter().map(|s| s.spectrum.weights.len()).collect();
        assert_eq!(lengths, [5, 5, 6]);
        assert!(split(vec![2]).is_err() && split(vec![10, 5]).is_err() && split(vec![20]).is_err());
        assert!(search(g.as_ref(), 5, 4, 2).is_err() && search(g.as_ref(), 2, 4, 3).is_err());
    }
}
