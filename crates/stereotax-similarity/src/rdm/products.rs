//! The products Σ_c a_ic b_jc of all pairs of rows, which every dissimilarity here is made of.
//!
//! Channels are read once, in blocks that are converted to double precision; for each block, tiles of
//! conditions are multiplied on the thread pool and added to what the blocks before gave. Tiles and blocks have
//! fixed sizes and every tile its own sum, so that bits do not depend on threads. Cost: n² p operations for the
//! products of rows with themselves, 2 n² p for those of two matrices; memory n²/2 + n · 1024 numbers.

use std::ops::Range;

use faer::{Mat, MatMut, MatRef};
use rayon::prelude::*;

use stereotax_base::data::{Monitor, Rdm, Result};
use stereotax_base::linalg::{Real, add_gram, add_product};

/// Conditions of one tile.
const TILE: usize = 256;
/// Channels converted at a time.
const BLOCK: usize = 1024;

/// Something that can write channels `columns` of row `row` as f64.
pub(super) trait Rows: Sync {
    fn fill(&self, row: usize, columns: Range<usize>, out: &mut [f64]);
}

impl<F: Fn(usize, Range<usize>, &mut [f64]) + Sync> Rows for F {
    fn fill(&self, row: usize, columns: Range<usize>, out: &mut [f64]) {
        self(row, columns, out);
    }
}

/// Products of pairs of rows: tiles of the lower triangle.
#[derive(Debug)]
pub(super) struct RowProducts {
    n: usize,
    /// Tile (J, I), J ≥ I, at J (J + 1) / 2 + I: rows of J × columns of I.
    tiles: Vec<Mat<f64>>,
}

/// Rows of `x` as they are.
pub(super) fn rows_of<T: Real>(x: MatRef<'_, T>) -> impl Rows + '_ {
    move |row: usize, columns: Range<usize>, out: &mut [f64]| copy(x, row, columns, out)
}

/// Copy a piece of a row.
pub(super) fn copy<T: Real>(x: MatRef<T>, row: usize, columns: Range<usize>, out: &mut [f64]) {
    match x.row(row).try_as_row_major() {
        Some(line) => {
            out.iter_mut().zip(&line.as_slice()[columns]).for_each(|(out, value)| *out = (*value).into());
        }
        None => columns.zip(out).for_each(|(column, out)| *out = x[(row, column)].into()),
    }
}

/// Products of rows with rows, Σ_c a_ic a_jc, or with those of a second matrix, Σ_c a_ic b_jc for i ≥ j.
pub(super) fn row_products(
    n: usize,
    n_channels: usize,
    a: &dyn Rows,
    b: Option<&dyn Rows>,
    monitor: &Monitor<'_>,
) -> Result<RowProducts> {
    let n_tiles = n.div_ceil(TILE);
    let span = |tile: usize| tile * TILE..n.min((tile + 1) * TILE);
    let places: Vec<(usize, usize)> = (0..n_tiles).flat_map(|j| (0..=j).map(move |i| (j, i))).collect();
    let mut tiles: Vec<Mat<f64>> =
        places.iter().map(|&(j, i)| Mat::zeros(span(j).len(), span(i).len())).collect();
    let width = BLOCK.min(n_channels.max(1));
    let mut left = vec![0.0; n * width];
    let mut right = if b.is_some() { vec![0.0; n * width] } else { vec![] };
    let mut begin = 0;
    while begin < n_channels {
        monitor.check()?;
        let columns = begin..n_channels.min(begin + width);
        let size = columns.len();
        // (channels, conditions): the channels of a condition side by side.
        read(a, &columns, size, &mut left[..n * size]);
        if let Some(b) = b {
            read(b, &columns, size, &mut right[..n * size]);
        }
        let left = MatRef::from_column_major_slice(&left[..n * size], size, n);
        let right =
            if b.is_some() { MatRef::from_column_major_slice(&right[..n * size], size, n) } else { left };
        let add = |(tile, &(j, i)): (&mut Mat<f64>, &(usize, usize))| {
            let (rows, columns) = (span(j), span(i));
            let left = left.subcols(rows.start, rows.len());
            if i == j && b.is_none() {
                add_gram(tile.as_mut(), left);
            } else {
                add_product(
                    tile.as_mut(),
                    left.transpose(),
                    right.subcols(columns.start, columns.len()),
                    1.0,
                );
            }
        };
        if places.len() == 1 {
            tiles.iter_mut().zip(&places).for_each(add);
        } else {
            tiles.par_iter_mut().zip(&places).for_each(add);
        }
        begin += size;
    }
    Ok(RowProducts { n, tiles })
}

/// One block of channels of all rows.
fn read(rows: &dyn Rows, columns: &Range<usize>, size: usize, out: &mut [f64]) {
    // Small blocks stay on this thread: a searchlight has one task per centre already.
    if out.len() <= 1 << 17 {
        out.chunks_exact_mut(size).enumerate().for_each(|(row, out)| rows.fill(row, columns.clone(), out));
    } else {
        out.par_chunks_mut(size).enumerate().for_each(|(row, out)| rows.fill(row, columns.clone(), out));
    }
}

impl RowProducts {
    /// Σ_c a_ic b_jc for i ≥ j.
    pub(super) fn get(&self, i: usize, j: usize) -> f64 {
        self.tile(i / TILE, j / TILE)[(i % TILE, j % TILE)]
    }

    fn tile(&self, j: usize, i: usize) -> &Mat<f64> {
        &self.tiles[j * (j + 1) / 2 + i]
    }

    /// Σ_c a_ic b_ic for every i.
    pub(super) fn diagonal(&self) -> Vec<f64> {
        (0..self.n).map(|i| self.get(i, i)).collect()
    }

    /// The RDM with value(i, j, product of j and i) for every pair i < j.
    pub(super) fn to_rdm(&self, value: impl Fn(usize, usize, f64) -> f64 + Sync) -> Result<Rdm> {
        let n = self.n;
        let mut values = vec![0.0; n * n.saturating_sub(1) / 2];
        let mut lines = Vec::with_capacity(n);
        let mut rest = values.as_mut_slice();
        for i in 0..n {
            let (line, others) = std::mem::take(&mut rest).split_at_mut(n - 1 - i);
            lines.push((i, line));
            rest = others;
        }
        let fill = |(i, line): (usize, &mut [f64])| {
            let mut j = i + 1;
            while j < n {
                let tile = self.tile(j / TILE, i / TILE);
                let last = n.min((j / TILE + 1) * TILE);
                let products = &tile.col_as_slice(i % TILE)[j % TILE..];
                for (j, product) in (j..last).zip(products) {
                    line[j - i - 1] = value(i, j, *product);
                }
                j = last;
            }
        };
        if n <= TILE {
            lines.into_iter().for_each(fill);
        } else {
            lines.into_par_iter().for_each(fill);
        }
        Rdm::new(n, values)
    }
}

/// All products of the rows of one matrix with the rows of another: rows of `a` × rows of `b`.
pub(super) fn cross_products(
    n_a: usize,
    n_b: usize,
    n_channels: usize,
    a: &dyn Rows,
    b: &dyn Rows,
    out: MatMut<f64>,
) {
    let mut out = out;
    let width = BLOCK.min(n_channels.max(1));
    let (mut left, mut right) = (vec![0.0; n_a * width], vec![0.0; n_b * width]);
    let mut begin = 0;
    while begin < n_channels {
        let columns = begin..n_channels.min(begin + width);
        let size = columns.len();
        read(a, &columns, size, &mut left[..n_a * size]);
        read(b, &columns, size, &mut right[..n_b * size]);
        let left = MatRef::from_column_major_slice(&left[..n_a * size], size, n_a);
        let right = MatRef::from_column_major_slice(&right[..n_b * size], size, n_b);
        add_product(out.as_mut(), left.transpose(), right, 1.0);
        begin += size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    #[test]
    fn tiles_and_blocks_make_no_difference_nor_do_layouts_and_threads() {
        let (n, p) = (TILE + 37, BLOCK + 55);
        let mut stream = Stream::new(1, "rows", 0);
        let x = Mat::from_fn(n, p, |_, _| stream.normal());
        let by_rows = x.transpose().to_owned();
        let products = row_products(n, p, &rows_of(x.as_ref()), None, &Monitor::silent())
            .unwrap()
            .to_rdm(|_, _, g| g)
            .unwrap();
        for (i, j) in [(0, 1), (3, TILE + 20), (TILE + 1, TILE + 36), (TILE - 1, TILE)] {
            let slow: f64 = (0..p).map(|c| x[(i, c)] * x[(j, c)]).sum();
            assert!((products.get(i, j) - slow).abs() < 1e-11);
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let other = pool.install(|| {
            let rows = rows_of(by_rows.transpose());
            row_products(n, p, &rows, None, &Monitor::silent()).unwrap().to_rdm(|_, _, g| g).unwrap()
        });
        assert_eq!(other, products);
        let two = row_products(n, p, &rows_of(x.as_ref()), Some(&rows_of(x.as_ref())), &Monitor::silent());
        let two = two.unwrap().to_rdm(|_, _, g| g).unwrap();
        assert!(two.values().iter().zip(products.values()).all(|(a, b)| (a - b).abs() < 1e-10));
        let mut all = Mat::zeros(n, n);
        cross_products(n, n, p, &rows_of(x.as_ref()), &rows_of(x.as_ref()), all.as_mut());
        assert!((all[(3, TILE + 20)] - products.get(3, TILE + 20)).abs() < 1e-11);
    }
}
