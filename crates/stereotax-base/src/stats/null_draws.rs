//! Draw what chance would give for many ROIs, a tile of them at a time, from moves that are laid out once.
//!
//! The draws are those of [`correlation_test`](super::score::correlation_test): predictions are shifted within
//! runs, or blocks of samples change places within runs, and every ROI, model and subject sees the same moves.
//! A move is a table of N positions: the response at t meets the prediction at `from[t]`. With series
//! standardised within runs (s_t, z_t, divisor n_f) the correlation of a draw is spread · Σ_t s_{from(t)} z_t / N.
//!
//! The sums go row by row over 16 ROIs that stand side by side, so a move costs one cache line per sample and no
//! gathering. They are of single precision within 64 samples and of double precision beyond: the error of a
//! correlation is about 10⁻⁶, and ties are judged at that.
//! Source: specs: nfas-dmd 9, alignment-methods B0. Cost: O(draws · N · ROIs), memory 4 · draws · N bytes for
//! the moves.

use faer::MatRef;
use rayon::prelude::*;

use super::resampling::{ResamplingSupport, circular_shifts, support_of};
use super::score::{Moves, NullParams, NullScheme};
use super::summary::is_constant;
use crate::data::{Monitor, Result, Runs};

/// ROIs that stand side by side.
const WIDTH: usize = 16;
/// Samples whose products are added in single precision.
const STRETCH: usize = 64;
/// Null correlations are not told from the observed one below this.
const TIE: f64 = 2e-6;

/// The moves of all draws.
#[derive(Debug, Clone)]
pub struct NullDraws {
    /// Where the prediction comes from that meets each response, draw after draw.
    from: Vec<u32>,
    runs: Runs,
    n_draws: usize,
    spread: f64,
    /// What the draws can support.
    pub support: ResamplingSupport,
}

/// Null correlations of some ROIs.
#[derive(Debug, Clone, PartialEq)]
pub struct NullOfTile {
    /// Draws × ROIs, draw after draw; NaN where an ROI has no correlation.
    pub null: Vec<f32>,
    /// How many draws reach the observed correlation, per ROI.
    pub n_reaching: Vec<usize>,
}

impl NullDraws {
    /// Lay out the moves over held-out samples in `runs`.
    ///
    /// Errors: runs too short to be shifted; block ids that do not match or whose samples are scattered.
    pub fn new(runs: &Runs, params: &NullParams) -> Result<Self> {
        let moves = Moves::new(runs, params)?;
        let n = runs.n_samples();
        let draws: Vec<Vec<u32>> = (0..params.n_permutations)
            .into_par_iter()
            .map(|index| {
                let mut from: Vec<u32> = (0..n as u32).collect();
                match params.scheme {
                    NullScheme::CircularShift { min_shift } => {
                        let shifts = circular_shifts(runs, min_shift, params.seed, index)?;
                        for (range, shift) in runs.ranges().zip(shifts) {
                            // The prediction at t meets the response at t + shift, around the run's end.
                            from[range].rotate_right(shift);
                        }
                    }
                    NullScheme::Blocks { .. } => {
                        for s in moves.segments(params.seed, index) {
                            (0..s.len).for_each(|k| from[s.to + k] = (s.from + k) as u32);
                        }
                    }
                }
                Ok(from)
            })
            .collect::<Result<_>>()?;
        Ok(NullDraws {
            from: draws.concat(),
            runs: runs.clone(),
            n_draws: params.n_permutations,
            spread: params.spread,
            support: support_of(moves.n_distinct, params.n_permutations, &moves.of),
        })
    }

    /// How many draws.
    pub fn n_draws(&self) -> usize {
        self.n_draws
    }

    /// The moves, one per draw: the response at t meets the prediction at `from[t]`.
    pub fn moves(&self) -> impl Iterator<Item = &[u32]> {
        self.from.chunks_exact(self.runs.n_samples().max(1))
    }

    /// Samples of each move.
    pub fn n_samples(&self) -> usize {
        self.runs.n_samples()
    }

    /// Null correlations of `predictions` and `responses` (held-out samples × ROIs, as the runs), and how many
    /// reach `observed`, the run-weighted correlations.
    ///
    /// Values must be finite. Errors: a stop on request.
    pub fn tile(
        &self,
        predictions: MatRef<f32>,
        responses: MatRef<f64>,
        observed: &[f64],
        monitor: &Monitor,
    ) -> Result<NullOfTile> {
        let (n, n_rois) = (self.runs.n_samples(), observed.len());
        let groups: Vec<Vec<f32>> = (0..n_rois.div_ceil(WIDTH))
            .into_par_iter()
            .map(|group| {
                monitor.check()?;
                Ok(self.group(predictions, responses, group * WIDTH..n_rois.min((group + 1) * WIDTH), n))
            })
            .collect::<Result<_>>()?;
        let mut null = vec![0.0; self.n_draws * n_rois];
        let mut n_reaching = vec![0; n_rois];
        for (draw, row) in null.chunks_exact_mut(n_rois.max(1)).enumerate() {
            for (roi, value) in row.iter_mut().enumerate() {
                let found = groups[roi / WIDTH][draw * WIDTH + roi % WIDTH];
                *value = if observed[roi].is_nan() { f32::NAN } else { found };
                n_reaching[roi] += usize::from(f64::from(found) >= observed[roi] - TIE);
            }
        }
        Ok(NullOfTile { null, n_reaching })
    }

    /// Draws × [`WIDTH`] null correlations of the ROIs of one range.
    fn group(
        &self,
        predictions: MatRef<f32>,
        responses: MatRef<f64>,
        rois: std::ops::Range<usize>,
        n: usize,
    ) -> Vec<f32> {
        let (mut p, mut y) = (vec![[0f32; WIDTH]; n], vec![[0f32; WIDTH]; n]);
        let mut scale = [0.0; WIDTH];
        for (at, roi) in rois.enumerate() {
            let mut n_defined = 0;
            for run in self.runs.ranges() {
                let mut a: Vec<f64> = run.clone().map(|t| f64::from(predictions[(t, roi)])).collect();
                let mut b: Vec<f64> = run.clone().map(|t| responses[(t, roi)]).collect();
                if is_constant(&a) || is_constant(&b) {
                    continue;
                }
                n_defined += run.len();
                standardise(&mut a);
                standardise(&mut b);
                for (t, (a, b)) in run.zip(a.into_iter().zip(b)) {
                    (p[t][at], y[t][at]) = (a as f32, b as f32);
                }
            }
            scale[at] = if n_defined > 0 { self.spread / n_defined as f64 } else { 0.0 };
        }
        let mut out = vec![0f32; self.n_draws * WIDTH];
        for (from, row) in self.from.chunks_exact(n.max(1)).zip(out.chunks_exact_mut(WIDTH)) {
            let total = products(from, &p, &y);
            (0..WIDTH).for_each(|k| row[k] = (total[k] * scale[k]) as f32);
        }
        out
    }
}

/// Samples of [`WIDTH`] ROIs side by side.
type Lines = [[f32; WIDTH]];

/// Σ_t p\[from(t)\] y\[t\] per ROI. The same bits on every processor: no product is fused with its sum.
fn products(from: &[u32], p: &Lines, y: &Lines) -> [f64; WIDTH] {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has the feature.
        return unsafe { products_avx2(from, p, y) };
    }
    products_plain(from, p, y)
}

fn products_plain(from: &[u32], p: &Lines, y: &Lines) -> [f64; WIDTH] {
    let mut total = [0.0; WIDTH];
    for (from, y) in from.chunks(STRETCH).zip(y.chunks(STRETCH)) {
        let mut sum = [0f32; WIDTH];
        for (&from, y) in from.iter().zip(y) {
            let p = &p[from as usize];
            (0..WIDTH).for_each(|k| sum[k] += p[k] * y[k]);
        }
        (0..WIDTH).for_each(|k| total[k] += f64::from(sum[k]));
    }
    total
}

/// [`products_plain`] in registers, which the compiler does not find by itself.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn products_avx2(from: &[u32], p: &Lines, y: &Lines) -> [f64; WIDTH] {
    use std::arch::x86_64::{
        _mm256_add_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    };
    let mut total = [0.0; WIDTH];
    for (from, y) in from.chunks(STRETCH).zip(y.chunks(STRETCH)) {
        let (mut low, mut high) = (_mm256_setzero_ps(), _mm256_setzero_ps());
        for (&from, y) in from.iter().zip(y) {
            let (p, y) = (p[from as usize].as_ptr(), y.as_ptr());
            // SAFETY: both lines hold 16 numbers.
            unsafe {
                low = _mm256_add_ps(low, _mm256_mul_ps(_mm256_loadu_ps(p), _mm256_loadu_ps(y)));
                let (p, y) = (p.add(8), y.add(8));
                high = _mm256_add_ps(high, _mm256_mul_ps(_mm256_loadu_ps(p), _mm256_loadu_ps(y)));
            }
        }
        let mut sum = [0f32; WIDTH];
        // SAFETY: there is room for 16 numbers.
        unsafe {
            _mm256_storeu_ps(sum.as_mut_ptr(), low);
            _mm256_storeu_ps(sum.as_mut_ptr().add(8), high);
        }
        (0..WIDTH).for_each(|k| total[k] += f64::from(sum[k]));
    }
    total
}

fn standardise(x: &mut [f64]) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    x.iter_mut().for_each(|v| *v -= mean);
    let scale = (x.iter().map(|v| v * v).sum::<f64>() / n).sqrt();
    x.iter_mut().for_each(|v| *v /= scale);
}

#[cfg(test)]
mod tests {
    use faer::Mat;

    use super::*;
    use crate::stats::rng::Stream;
    use crate::stats::score::correlation_test;

    /// 37 ROIs, of which one is constant throughout and one in a run.
    fn data(n: usize) -> (Mat<f32>, Mat<f64>) {
        let mut stream = Stream::new(4, "null draws tests", 0);
        let y = Mat::from_fn(n, 37, |_, _| stream.normal());
        let p = Mat::from_fn(n, 37, |t, j| match j {
            5 => 0.5,
            20 if t < 30 => 1.0,
            _ => (0.1 * (j % 4) as f64 * y[(t, j)] + stream.normal()) as f32,
        });
        (p, y)
    }

    #[test]
    fn the_draws_are_those_of_the_correlation_test() {
        let runs = Runs::from_lengths(&["a".into(), "b".into()], &[50, 70]).unwrap();
        let (p, y) = data(120);
        let wide = Mat::from_fn(120, 37, |t, j| f64::from(p[(t, j)]));
        let ids: Vec<String> = (0..120).map(|t| format!("block {}", t / 2)).collect();
        for scheme in [NullScheme::CircularShift { min_shift: 4 }, NullScheme::Blocks { block_ids: ids }] {
            let params = NullParams { scheme, n_permutations: 99, seed: 3, spread: 1.4 };
            let test =
                correlation_test(wide.as_ref(), y.as_ref(), &runs, &params, &Monitor::silent()).unwrap();
            let draws = NullDraws::new(&runs, &params).unwrap();
            let found = draws.tile(p.as_ref(), y.as_ref(), &test.observed.r, &Monitor::silent()).unwrap();
            for (at, (a, b)) in found.null.iter().zip(&test.null).enumerate() {
                let roi = at % 37;
                if roi == 5 {
                    assert!(a.is_nan());
                } else {
                    assert!((a - b).abs() < 2e-6, "{params:?}: {a} {b}");
                }
            }
            for (j, p) in test.p_value.iter().enumerate().filter(|(j, _)| *j != 5) {
                assert_eq!((1 + found.n_reaching[j]) as f64 / 100.0, *p);
            }
            assert_eq!(draws.support, test.support);
        }
    }

    #[test]
    fn registers_change_no_bit() {
        let mut stream = Stream::new(4, "null draws tests", 1);
        let mut lines = || -> Vec<[f32; WIDTH]> {
            (0..200).map(|_| std::array::from_fn(|_| stream.normal() as f32)).collect()
        };
        let (p, y) = (lines(), lines());
        let from: Vec<u32> = (0..200).map(|t| (t * 77 % 200) as u32).collect();
        let plain = products_plain(&from, &p, &y).map(f64::to_bits);
        assert_eq!(products(&from, &p, &y).map(f64::to_bits), plain);
    }

    #[test]
    fn an_roi_has_the_same_bits_in_any_company() {
        let runs = Runs::single(60);
        let (p, y) = data(60);
        let scheme = NullScheme::CircularShift { min_shift: 4 };
        let draws =
            NullDraws::new(&runs, &NullParams { scheme, n_permutations: 50, seed: 1, spread: 1.0 }).unwrap();
        let all = draws.tile(p.as_ref(), y.as_ref(), &[0.1; 37], &Monitor::silent()).unwrap();
        let few = draws
            .tile(p.as_ref().get(.., 30..33), y.as_ref().get(.., 30..33), &[0.1; 3], &Monitor::silent())
            .unwrap();
        for draw in 0..50 {
            assert_eq!(few.null[draw * 3..][..3], all.null[draw * 37 + 30..][..3]);
        }
        assert_eq!(few.n_reaching, all.n_reaching[30..33]);
    }
}
