//! Project many features on few random directions that keep distances, without storing the directions.
//!
//! ```text
//! Z = X R      X n × p features,  R p × k random,  Z n × k,  E[R Rᵀ] = I
//! sparse       R_jc = ±1/√(s k) with chance s/2 each, 0 else;  s = 1/√p unless told
//! Gaussian     R_jc ~ N(0, 1/k)
//! k            4 ln n / (ε²/2 − ε³/3), rounded down: all squared distances of n points within 1 ± ε
//! ```
//!
//! The directions of feature j are drawn from stream j of the purpose "random projection" whenever they are
//! needed, for a block of features at a time; the block then serves all rows. So what is held beside input
//! and output is one block, and a row's projection has the same bits whichever rows are projected with it,
//! in tiles or at once, on any number of threads.
//!
//! How the sparse one is fast: the few directions that a feature has a part in are found by geometric gaps
//! (one draw for each, not one for each of k), and sorted by direction. Rows go in groups that fill a cache
//! line per feature; a block of such lines stays in the cache while every direction sums its own.
//!
//! Source: Achlioptas 2003; Li, Hastie & Church 2006 (s = 1/√p); Dasgupta & Gupta 2003 (k);
//! specs: alignment-methods B6.1. The distribution is scikit-learn's; the numbers of one seed are not.
//! Cost: sparse O(n p k s) additions, Gaussian O(n p k); memory n × k and a block of some MB.

use std::sync::atomic::{AtomicBool, Ordering};

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::linalg::Real;
use stereotax_base::stats::rng::Stream;

/// The purpose under which directions are drawn.
const PURPOSE: &str = "random projection";
/// Features of one sparse block at most: with one cache line each, half of a megabyte.
const SPARSE_BLOCK: usize = 8192;
/// Non-zero entries of a sparse block, and entries of a Gaussian one, about.
const BLOCK_ENTRIES: usize = 1 << 20;
/// Rows of one Gaussian product. Fixed, so that a row's bits do not depend on its company.
const GAUSSIAN_ROWS: usize = 64;

/// Which random directions.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum ProjectionKind {
    /// Mostly zeros; the share of entries that are not is in (0, 1].
    Sparse(f64),
    /// Normal numbers everywhere.
    Gaussian,
}

impl ProjectionKind {
    /// Sparse with the density 1/√p of Li, Hastie & Church.
    pub fn sparse(n_features: usize) -> Self {
        ProjectionKind::Sparse(1.0 / (n_features.max(1) as f64).sqrt())
    }
}

/// A random map from p features to k directions; nothing but its key is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct RandomProjection {
    n_features: usize,
    n_components: usize,
    kind: ProjectionKind,
    seed: u64,
}

/// The number of directions that keep all squared distances among `n_samples` points within 1 ± `eps`.
///
/// k = 4 ln n / (ε²/2 − ε³/3), rounded down (but at least 1); it does not depend on the number of features.
/// Errors: fewer than 2 points, `eps` outside (0, 1).
/// Source: Dasgupta & Gupta 2003; rounded as scikit-learn does.
pub fn johnson_lindenstrauss_size(n_samples: usize, eps: f64) -> Result<usize> {
    if n_samples < 2 {
        return Err(Error::TooFew {
            what: "n_samples".into(),
            needed: "2 samples".into(),
            found: n_samples.to_string(),
            hint: "one point has no distances: give the number of components".into(),
        });
    }
    if !(eps > 0.0 && eps < 1.0) {
        return Err(Error::Invalid {
            what: "eps".into(),
            expected: "a number between 0 and 1, both excluded".into(),
            found: eps.to_string(),
            hint: "0.1 is customary".into(),
        });
    }
    let size = 4.0 * (n_samples as f64).ln() / (eps * eps / 2.0 - eps.powi(3) / 3.0);
    Ok((size as usize).max(1))
}

/// Numbers that can be projected: f64 and f32. Sums are in the same precision.
pub trait Element: Copy + Default + Send + Sync {
    /// Used by [`RandomProjection::project`].
    #[doc(hidden)]
    fn run(map: &RandomProjection, x: MatRef<Self>, out: &mut [Self], monitor: &Monitor<'_>) -> Result<()>;
}

impl Element for f64 {
    fn run(map: &RandomProjection, x: MatRef<f64>, out: &mut [f64], monitor: &Monitor<'_>) -> Result<()> {
        map.run::<f64, 8>(x, out, monitor)
    }
}

impl Element for f32 {
    fn run(map: &RandomProjection, x: MatRef<f32>, out: &mut [f32], monitor: &Monitor<'_>) -> Result<()> {
        map.run::<f32, 16>(x, out, monitor)
    }
}

/// What the two precisions do each in its own registers.
trait Number: Real {
    fn finite(self) -> bool;
    /// [`sum_of`], for processors with AVX-512.
    #[cfg(target_arch = "x86_64")]
    unsafe fn sum_avx512<const ROWS: usize>(tile: &[Line<Self, ROWS>], lines: &[u16]) -> Line<Self, ROWS>;
    /// [`sum_of`], for processors with AVX2.
    #[cfg(target_arch = "x86_64")]
    unsafe fn sum_avx2<const ROWS: usize>(tile: &[Line<Self, ROWS>], lines: &[u16]) -> Line<Self, ROWS>;
}

impl Number for f64 {
    fn finite(self) -> bool {
        self.is_finite()
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn sum_avx512<const ROWS: usize>(tile: &[Line<f64, ROWS>], lines: &[u16]) -> Line<f64, ROWS> {
        // SAFETY: the caller has made sure of the feature.
        unsafe { registers::f64_avx512(tile, lines) }
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn sum_avx2<const ROWS: usize>(tile: &[Line<f64, ROWS>], lines: &[u16]) -> Line<f64, ROWS> {
        // SAFETY: the caller has made sure of the feature.
        unsafe { registers::f64_avx2(tile, lines) }
    }
}

impl Number for f32 {
    fn finite(self) -> bool {
        self.is_finite()
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn sum_avx512<const ROWS: usize>(tile: &[Line<f32, ROWS>], lines: &[u16]) -> Line<f32, ROWS> {
        // SAFETY: the caller has made sure of the feature.
        unsafe { registers::f32_avx512(tile, lines) }
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn sum_avx2<const ROWS: usize>(tile: &[Line<f32, ROWS>], lines: &[u16]) -> Line<f32, ROWS> {
        // SAFETY: the caller has made sure of the feature.
        unsafe { registers::f32_avx2(tile, lines) }
    }
}

impl RandomProjection {
    /// Fix a map. Errors: no features or components, a density outside (0, 1].
    pub fn new(n_features: usize, n_components: usize, kind: ProjectionKind, seed: u64) -> Result<Self> {
        for (what, count) in [("n_features", n_features), ("n_components", n_components)] {
            if count == 0 || count > u32::MAX as usize {
                return Err(Error::Invalid {
                    what: what.into(),
                    expected: "a whole number from 1".into(),
                    found: count.to_string(),
                    hint: "a projection needs at least one of each".into(),
                });
            }
        }
        match kind {
            ProjectionKind::Sparse(density) if !(density > 0.0 && density <= 1.0) => Err(Error::Invalid {
                what: "density".into(),
                expected: "a share above 0 and at most 1".into(),
                found: density.to_string(),
                hint: "leave it out for 1/√p".into(),
            }),
            _ => Ok(RandomProjection { n_features, n_components, kind, seed }),
        }
    }

    /// p.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// k.
    pub fn n_components(&self) -> usize {
        self.n_components
    }

    /// X R: the projection of the rows of `x` (n × p), row after row (n × k).
    ///
    /// Rows may come in any tiles: each has its own bits. Errors: another number of features, a value that is
    /// not finite, a stop on request.
    pub fn project<T: Element>(&self, x: MatRef<T>, monitor: &Monitor<'_>) -> Result<Vec<T>> {
        if x.ncols() != self.n_features {
            return Err(Error::Shape {
                what: "X".into(),
                expected: format!("{} columns (the features of this map)", self.n_features),
                found: format!("{} columns", x.ncols()),
                hint: "project what comes from the same layer".into(),
            });
        }
        let mut out = vec![T::default(); x.nrows() * self.n_components];
        T::run(self, x, &mut out, monitor)?;
        Ok(out)
    }

    /// R (p × k) as a matrix: for tests and small maps.
    pub fn dense(&self) -> Mat<f64> {
        let mut r = Mat::zeros(self.n_features, self.n_components);
        for j in 0..self.n_features {
            match self.kind {
                ProjectionKind::Sparse(density) => {
                    let size = self.sparse_scale(density);
                    for (component, negative) in self.entries(j, density) {
                        r[(j, component as usize)] = if negative { -size } else { size };
                    }
                }
                ProjectionKind::Gaussian => {
                    let mut stream = Stream::new(self.seed, PURPOSE, j as u64);
                    let scale = self.gaussian_scale();
                    (0..self.n_components).for_each(|c| r[(j, c)] = scale * stream.normal());
                }
            }
        }
        r
    }

    fn sparse_scale(&self, density: f64) -> f64 {
        1.0 / (density * self.n_components as f64).sqrt()
    }

    fn gaussian_scale(&self) -> f64 {
        1.0 / (self.n_components as f64).sqrt()
    }

    /// The directions that feature j has a part in, ascending, each with whether its sign is negative.
    fn entries(&self, feature: usize, density: f64) -> impl Iterator<Item = (u32, bool)> {
        let mut stream = Stream::new(self.seed, PURPOSE, feature as u64);
        // P(gap ≥ g) = (1 − s)^g.
        let per_step = (-density).ln_1p();
        let end = self.n_components as f64;
        let mut next = 0.0;
        std::iter::from_fn(move || {
            let bits = stream.next_u64();
            if per_step.is_finite() {
                let uniform = ((bits >> 11) + 1) as f64 * 2f64.powi(-53);
                next += (uniform.ln() / per_step).floor();
            }
            let at = next;
            next += 1.0;
            (at < end).then_some((at as u32, bits & 1 == 1))
        })
    }

    fn run<T: Number, const ROWS: usize>(
        &self,
        x: MatRef<T>,
        out: &mut [T],
        monitor: &Monitor<'_>,
    ) -> Result<()> {
        let bad = AtomicBool::new(false);
        match self.kind {
            ProjectionKind::Sparse(density) => self.sparse::<T, ROWS>(x, out, density, &bad, monitor)?,
            ProjectionKind::Gaussian => self.gaussian(x, out, &bad, monitor)?,
        }
        if bad.load(Ordering::Relaxed) { Err(not_finite(x)) } else { Ok(()) }
    }

    /// While summing, a group of ROWS rows lies in `out` component after component; then it is turned.
    fn sparse<T: Number, const ROWS: usize>(
        &self,
        x: MatRef<T>,
        out: &mut [T],
        density: f64,
        bad: &AtomicBool,
        monitor: &Monitor<'_>,
    ) -> Result<()> {
        let k = self.n_components;
        let wide = (BLOCK_ENTRIES as f64 / (k as f64 * density)) as usize;
        let width = wide.clamp(64, SPARSE_BLOCK);
        for begin in (0..self.n_features).step_by(width) {
            monitor.check()?;
            let block = SparseBlock::draw(self, begin, width.min(self.n_features - begin), density);
            out.par_chunks_mut(ROWS * k).enumerate().for_each_init(
                || vec![Line([T::default(); ROWS]); block.width],
                |tile, (group, sums)| {
                    let rows = sums.len() / k;
                    let part = x.get(group * ROWS..group * ROWS + rows, begin..begin + block.width);
                    if !block.add(part, tile, sums) {
                        bad.store(true, Ordering::Relaxed);
                    }
                },
            );
            if bad.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
        let scale = T::from_f64(self.sparse_scale(density));
        out.par_chunks_mut(ROWS * k).for_each_init(Vec::new, |copy, sums| {
            let rows = sums.len() / k;
            copy.clear();
            copy.extend_from_slice(sums);
            for (row, line) in sums.chunks_exact_mut(k).enumerate() {
                line.iter_mut().enumerate().for_each(|(c, z)| *z = scale * copy[c * rows + row]);
            }
        });
        Ok(())
    }

    fn gaussian<T: Number>(
        &self,
        x: MatRef<T>,
        out: &mut [T],
        bad: &AtomicBool,
        monitor: &Monitor<'_>,
    ) -> Result<()> {
        let k = self.n_components;
        let width = (BLOCK_ENTRIES / k).clamp(16, 4096);
        let scale = self.gaussian_scale();
        for begin in (0..self.n_features).step_by(width) {
            let width = width.min(self.n_features - begin);
            let mut drawn = vec![T::default(); width * k];
            drawn.par_chunks_mut(k).enumerate().for_each(|(j, line)| {
                let mut stream = Stream::new(self.seed, PURPOSE, (begin + j) as u64);
                line.iter_mut().for_each(|r| *r = T::from_f64(scale * stream.normal()));
            });
            let directions = MatRef::from_column_major_slice(&drawn, k, width);
            out.par_chunks_mut(GAUSSIAN_ROWS * k).enumerate().try_for_each(|(group, lines)| {
                monitor.check()?;
                let rows = lines.len() / k;
                let part = x.get(group * GAUSSIAN_ROWS..group * GAUSSIAN_ROWS + rows, begin..begin + width);
                let tile =
                    Mat::from_fn(
                        width,
                        GAUSSIAN_ROWS,
                        |j, i| {
                            if i < rows { part[(i, j)] } else { T::default() }
                        },
                    );
                if !(0..rows).all(|i| tile.col_as_slice(i).iter().all(|v| v.finite())) {
                    bad.store(true, Ordering::Relaxed);
                }
                let one = T::from_f64(1.0);
                let product = |to: MatMut<T>| {
                    matmul(to, Accum::Add, directions, tile.as_ref(), one, Par::Seq);
                };
                if rows == GAUSSIAN_ROWS {
                    product(MatMut::from_column_major_slice_mut(lines, k, rows));
                } else {
                    let mut padded = lines.to_vec();
                    padded.resize(GAUSSIAN_ROWS * k, T::default());
                    product(MatMut::from_column_major_slice_mut(&mut padded, k, GAUSSIAN_ROWS));
                    lines.copy_from_slice(&padded[..rows * k]);
                }
                Ok(())
            })?;
            if bad.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The entries of some features in a row, by direction: features with a plus, then those with a minus.
struct SparseBlock {
    width: usize,
    /// Places in the block; those of direction c and sign s are at bounds[2c + s]..bounds[2c + s + 1].
    features: Vec<u16>,
    bounds: Vec<u32>,
}

impl SparseBlock {
    fn draw(map: &RandomProjection, begin: usize, width: usize, density: f64) -> Self {
        // One slot per direction and sign: a counting sort keeps features ascending.
        let drawn: Vec<Vec<(u32, u16)>> = (0..width.div_ceil(256))
            .into_par_iter()
            .map(|chunk| {
                let features = chunk * 256..width.min(chunk * 256 + 256);
                features
                    .flat_map(|j| {
                        map.entries(begin + j, density)
                            .map(move |(c, negative)| (2 * c + u32::from(negative), j as u16))
                    })
                    .collect()
            })
            .collect();
        let mut bounds = vec![0u32; 2 * map.n_components + 1];
        drawn.iter().flatten().for_each(|(slot, _)| bounds[*slot as usize + 1] += 1);
        (1..bounds.len()).for_each(|i| bounds[i] += bounds[i - 1]);
        let mut at = bounds.clone();
        let mut features = vec![0; bounds[bounds.len() - 1] as usize];
        for (slot, feature) in drawn.iter().flatten() {
            let place = &mut at[*slot as usize];
            features[*place as usize] = *feature;
            *place += 1;
        }
        SparseBlock { width, features, bounds }
    }

    /// Add this block's part of some rows to their sums (k × rows, component after component); tells whether
    /// all that was read is finite.
    fn add<T: Number, const ROWS: usize>(
        &self,
        part: MatRef<T>,
        tile: &mut [Line<T, ROWS>],
        sums: &mut [T],
    ) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: the processor has the feature.
                return unsafe { self.add_avx512(part, tile, sums) };
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has the feature.
                return unsafe { self.add_avx2(part, tile, sums) };
            }
        }
        self.add_any(part, tile, sums, sum_of)
    }

    // The same additions in the same order, hence the same bits, in wider registers.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn add_avx512<T: Number, const ROWS: usize>(
        &self,
        part: MatRef<T>,
        tile: &mut [Line<T, ROWS>],
        sums: &mut [T],
    ) -> bool {
        // SAFETY: the processor has the feature.
        self.add_any(part, tile, sums, |tile, lines| unsafe { T::sum_avx512(tile, lines) })
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn add_avx2<T: Number, const ROWS: usize>(
        &self,
        part: MatRef<T>,
        tile: &mut [Line<T, ROWS>],
        sums: &mut [T],
    ) -> bool {
        // SAFETY: the processor has the feature.
        self.add_any(part, tile, sums, |tile, lines| unsafe { T::sum_avx2(tile, lines) })
    }

    #[inline(always)]
    fn add_any<T: Number, const ROWS: usize>(
        &self,
        part: MatRef<T>,
        tile: &mut [Line<T, ROWS>],
        sums: &mut [T],
        sum_of: impl Fn(&[Line<T, ROWS>], &[u16]) -> Line<T, ROWS>,
    ) -> bool {
        let finite = fill(tile, part);
        for (sums, bounds) in sums.chunks_exact_mut(part.nrows()).zip(self.bounds.windows(3).step_by(2)) {
            let (from, middle, to) = (bounds[0] as usize, bounds[1] as usize, bounds[2] as usize);
            let plus = sum_of(tile, &self.features[from..middle]);
            let minus = sum_of(tile, &self.features[middle..to]);
            for ((sum, plus), minus) in sums.iter_mut().zip(&plus.0).zip(&minus.0) {
                *sum += *plus - *minus;
            }
        }
        finite
    }
}

/// One feature of a group of rows: a cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line<T, const ROWS: usize>([T; ROWS]);

/// The sum of some lines of a tile, on two chains: those at even places and those at odd ones.
fn sum_of<T: Number, const ROWS: usize>(tile: &[Line<T, ROWS>], lines: &[u16]) -> Line<T, ROWS> {
    let (mut even, mut odd) = ([T::default(); ROWS], [T::default(); ROWS]);
    for (place, &line) in lines.iter().enumerate() {
        let chain = if place % 2 == 0 { &mut even } else { &mut odd };
        chain.iter_mut().zip(&tile[usize::from(line)].0).for_each(|(sum, v)| *sum += *v);
    }
    even.iter_mut().zip(&odd).for_each(|(a, b)| *a += *b);
    Line(even)
}

/// [`sum_of`] in registers of a processor; the compiler finds no good form by itself.
#[cfg(target_arch = "x86_64")]
macro_rules! sum_in_registers {
    ($name:ident, $feature:literal, $number:ty, $registers:literal, $zero:ident, $load:ident, $add:ident,
     $store:ident) => {
        #[inline]
        #[target_feature(enable = $feature)]
        pub(super) fn $name<const ROWS: usize>(
            tile: &[Line<$number, ROWS>],
            lines: &[u16],
        ) -> Line<$number, ROWS> {
            use std::arch::x86_64::{$add, $load, $store, $zero};
            const { assert!(ROWS * size_of::<$number>() == 64, "a line is one cache line") };
            let width = ROWS / $registers;
            let (mut even, mut odd) = ([$zero(); $registers], [$zero(); $registers]);
            let pairs = lines.chunks_exact(2);
            let last = pairs.remainder();
            for pair in pairs {
                let (a, b) = (tile[usize::from(pair[0])].0.as_ptr(), tile[usize::from(pair[1])].0.as_ptr());
                for r in 0..$registers {
                    // SAFETY: a line is as long as all its registers.
                    unsafe {
                        even[r] = $add(even[r], $load(a.add(r * width)));
                        odd[r] = $add(odd[r], $load(b.add(r * width)));
                    }
                }
            }
            for &line in last {
                let a = tile[usize::from(line)].0.as_ptr();
                for r in 0..$registers {
                    // SAFETY: as above.
                    even[r] = $add(even[r], unsafe { $load(a.add(r * width)) });
                }
            }
            let mut sum = Line([0.0; ROWS]);
            for r in 0..$registers {
                // SAFETY: as above.
                unsafe { $store(sum.0.as_mut_ptr().add(r * width), $add(even[r], odd[r])) };
            }
            sum
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod registers {
    use super::Line;

    sum_in_registers!(
        f64_avx512,
        "avx512f",
        f64,
        1,
        _mm512_setzero_pd,
        _mm512_loadu_pd,
        _mm512_add_pd,
        _mm512_storeu_pd
    );
    sum_in_registers!(
        f32_avx512,
        "avx512f",
        f32,
        1,
        _mm512_setzero_ps,
        _mm512_loadu_ps,
        _mm512_add_ps,
        _mm512_storeu_ps
    );
    sum_in_registers!(
        f64_avx2,
        "avx2",
        f64,
        2,
        _mm256_setzero_pd,
        _mm256_loadu_pd,
        _mm256_add_pd,
        _mm256_storeu_pd
    );
    sum_in_registers!(
        f32_avx2,
        "avx2",
        f32,
        2,
        _mm256_setzero_ps,
        _mm256_loadu_ps,
        _mm256_add_ps,
        _mm256_storeu_ps
    );
}

/// Turn some rows (rows × features) into a line of ROWS numbers per feature; tells whether all are finite.
///
/// Rows that are not there repeat the last one: they are summed and not read.
#[inline(always)]
fn fill<T: Number, const ROWS: usize>(tile: &mut [Line<T, ROWS>], part: MatRef<T>) -> bool {
    let tile = &mut tile[..part.ncols()];
    let last = part.nrows() - 1;
    if let Some(by_rows) = part.transpose().try_as_col_major() {
        let rows: [&[T]; ROWS] = std::array::from_fn(|i| by_rows.col(i.min(last)).as_slice());
        // Squares of cache lines: ROWS lines in, ROWS lines out.
        let squares = tile.len() / ROWS;
        for (square, lines) in tile.chunks_mut(ROWS).enumerate() {
            let from = square * ROWS;
            for (i, row) in rows.iter().enumerate() {
                if square < squares {
                    for j in 0..ROWS {
                        lines[j].0[i] = row[from + j];
                    }
                } else {
                    lines.iter_mut().zip(&row[from..]).for_each(|(line, v)| line.0[i] = *v);
                }
            }
        }
    } else {
        for (j, line) in tile.iter_mut().enumerate() {
            let column = part.col(j);
            line.0.iter_mut().enumerate().for_each(|(i, value)| *value = column[i.min(last)]);
        }
    }
    // Without an early exit the loop runs in vector registers.
    let mut finite = [true; ROWS];
    for line in tile {
        finite.iter_mut().zip(&line.0).for_each(|(finite, v)| *finite &= v.finite());
    }
    finite.iter().all(|f| *f)
}

fn not_finite<T: Number>(x: MatRef<T>) -> Error {
    let mut found = (0..x.nrows())
        .flat_map(|i| (0..x.ncols()).map(move |j| (i, j)))
        .filter(|&(i, j)| !x[(i, j)].finite());
    let (row, column) = found.next().unwrap_or_default();
    Error::NotFinite {
        what: "X".into(),
        row,
        column,
        count: 1 + found.count(),
        hint: "a sum over features has no value there: drop or mend those units".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::linalg::product;

    fn noise(rows: usize, columns: usize, seed: u64) -> Mat<f64> {
        let mut stream = Stream::new(seed, "projection tests", 0);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn map(p: usize, k: usize, kind: ProjectionKind, seed: u64) -> RandomProjection {
        RandomProjection::new(p, k, kind, seed).unwrap()
    }

    fn project(map: &RandomProjection, x: MatRef<f64>) -> Mat<f64> {
        let found = map.project(x, &Monitor::silent()).unwrap();
        Mat::from_fn(x.nrows(), map.n_components(), |i, c| found[i * map.n_components() + c])
    }

    #[test]
    fn sizes_by_hand() {
        // 4 ln 118/(0.005 − 0.001/3) = 19.0827…/0.0046667 = 4089.2; n = 1000: 5920.9.
        assert_eq!(johnson_lindenstrauss_size(118, 0.1).unwrap(), 4089);
        assert_eq!(johnson_lindenstrauss_size(1000, 0.1).unwrap(), 5920);
        for (n, eps) in [(1, 0.1), (10, 0.0), (10, 1.0), (10, f64::NAN)] {
            assert!(johnson_lindenstrauss_size(n, eps).is_err());
        }
    }

    #[test]
    fn a_projection_is_the_product_with_its_dense_matrix() {
        let kinds = [
            ProjectionKind::Sparse(1.0),
            ProjectionKind::Sparse(0.3),
            ProjectionKind::sparse(300),
            ProjectionKind::Gaussian,
        ];
        // Rows that fill groups and rows that do not; more blocks of features than one.
        for (n, p, k) in [(1, 300, 40), (8, 300, 7), (83, 9000, 20)] {
            let x = noise(n, p, 1);
            for kind in kinds {
                let map = map(p, k, kind, 3);
                let slow = product(x.as_ref(), map.dense().as_ref());
                let off = (project(&map, x.as_ref()) - &slow).norm_max();
                assert!(off < 1e-12 * p as f64, "{kind:?} {n} × {p}: {off}");
                // By rows, as NumPy lays them out.
                let by_rows = x.transpose().to_owned();
                assert_eq!(project(&map, by_rows.transpose()), project(&map, x.as_ref()));
                let single = Mat::from_fn(n, p, |i, j| x[(i, j)] as f32);
                let found = map.project(single.as_ref(), &Monitor::silent()).unwrap();
                for (at, z) in found.iter().enumerate() {
                    let off = (f64::from(*z) - slow[(at / k, at % k)]).abs();
                    assert!(off < 2e-5 * slow.norm_max(), "{kind:?}: {off} in f32");
                }
            }
        }
    }

    #[test]
    fn the_bits_of_a_row_do_not_depend_on_threads_or_company() {
        let x = noise(150, 9000, 2);
        for kind in [ProjectionKind::sparse(9000), ProjectionKind::Gaussian] {
            let map = map(9000, 70, kind, 5);
            let whole = project(&map, x.as_ref());
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert_eq!(pool.install(|| project(&map, x.as_ref())), whole);
            }
            for tile in [1, 7, 64, 149] {
                for begin in (0..150).step_by(tile) {
                    let rows = tile.min(150 - begin);
                    let part = project(&map, x.get(begin..begin + rows, ..));
                    assert_eq!(part.as_ref(), whole.get(begin..begin + rows, ..), "{kind:?} {tile}");
                }
            }
        }
    }

    #[test]
    fn entries_have_their_density_and_signs_balance() {
        for density in [0.02, 0.3, 1.0] {
            let map = map(400, 500, ProjectionKind::Sparse(density), 7);
            let all: Vec<(u32, bool)> = (0..400).flat_map(|j| map.entries(j, density)).collect();
            let cells = 400.0 * 500.0;
            let sd = (cells * density * (1.0 - density)).sqrt();
            assert!((all.len() as f64 - cells * density).abs() <= 4.0 * sd, "{} of {cells}", all.len());
            let negative = all.iter().filter(|(_, negative)| *negative).count() as f64;
            let half = all.len() as f64 / 2.0;
            assert!((negative - half).abs() < 4.0 * (half / 2.0).sqrt(), "{negative} of {}", all.len());
            // The first and the last direction get their share too (binomial, 400 features).
            for end in [0, 499] {
                let count = all.iter().filter(|(c, _)| *c == end).count() as f64;
                let sd = (400.0 * density * (1.0 - density)).sqrt();
                assert!((count - 400.0 * density).abs() <= 4.0 * sd + 1e-9, "{count} at {end}");
            }
        }
    }

    #[test]
    fn squared_lengths_are_unbiased_and_spread_as_theory_says() {
        // E‖z‖² = ‖x‖². For the Gaussian map Var = 2‖x‖⁴/k; for the sparse one
        // Var = (2‖x‖⁴ + (1/s − 3) Σ x⁴)/k.
        let x = noise(1, 200, 4);
        let square: f64 = (0..200).map(|j| x[(0, j)].powi(2)).sum();
        let fourth: f64 = (0..200).map(|j| x[(0, j)].powi(4)).sum();
        let (k, draws, s) = (50, 400, 0.1);
        for kind in [ProjectionKind::Sparse(s), ProjectionKind::Gaussian] {
            let extra = if kind == ProjectionKind::Gaussian { 0.0 } else { (1.0 / s - 3.0) * fourth };
            let sd = ((2.0 * square * square + extra) / k as f64).sqrt();
            let lengths: Vec<f64> = (0..draws)
                .map(|seed| project(&map(200, k, kind, seed), x.as_ref()).squared_norm_l2())
                .collect();
            let mean = lengths.iter().sum::<f64>() / draws as f64;
            let spread = lengths.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (draws - 1) as f64;
            assert!((mean - square).abs() < 4.0 * sd / (draws as f64).sqrt(), "{mean} for {square}");
            assert!((spread.sqrt() / sd - 1.0).abs() < 0.15, "{} for {sd}", spread.sqrt());
        }
    }

    #[test]
    fn all_distances_are_kept_within_their_bounds() {
        let (n, p, eps) = (40, 5000, 0.3);
        let k = johnson_lindenstrauss_size(n, eps).unwrap();
        let x = noise(n, p, 6);
        for kind in [ProjectionKind::sparse(p), ProjectionKind::Gaussian] {
            let z = project(&map(p, k, kind, 8), x.as_ref());
            for i in 0..n {
                for j in 0..i {
                    let before = (x.row(i) - x.row(j)).squared_norm_l2();
                    let ratio = (z.row(i) - z.row(j)).squared_norm_l2() / before;
                    assert!((ratio - 1.0).abs() < eps, "{kind:?}: {ratio} between {i} and {j}");
                }
            }
        }
    }

    #[test]
    fn wrong_input_is_named() {
        for kind in [ProjectionKind::sparse(30), ProjectionKind::Gaussian] {
            let map = map(30, 5, kind, 0);
            let mut x = noise(11, 30, 9);
            (x[(9, 4)], x[(10, 2)]) = (f64::NAN, f64::INFINITY);
            let refused = map.project(x.as_ref(), &Monitor::silent()).unwrap_err().to_string();
            assert!(refused.contains("row 9, column 4") && refused.contains("2 such"), "{refused}");
            let refused = map.project(noise(3, 29, 9).as_ref(), &Monitor::silent()).unwrap_err();
            assert!(refused.to_string().contains("30 columns"), "{refused}");
            assert!(map.project(noise(0, 30, 9).as_ref(), &Monitor::silent()).unwrap().is_empty());
            let stop = AtomicBool::new(true);
            assert_eq!(map.project(x.as_ref(), &Monitor::stoppable(&stop)), Err(Error::Cancelled));
        }
        assert!(RandomProjection::new(0, 5, ProjectionKind::Gaussian, 0).is_err());
        assert!(RandomProjection::new(5, 0, ProjectionKind::Gaussian, 0).is_err());
        for density in [0.0, 1.1, f64::NAN] {
            assert!(RandomProjection::new(5, 5, ProjectionKind::Sparse(density), 0).is_err());
        }
    }
}
