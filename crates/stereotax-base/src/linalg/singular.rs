//! Singular values alone, of large matrices in two stages that the cache can hold.
//!
//! ```text
//! A (m × n)  →  upper band of width b   reflections of b columns and b rows at a time: 8/3 n³ in products
//!            →  bidiagonal              one row after the other, what fills in chased down the band: 8 n² b
//!            →  values                  implicit QR sweeps: O(n²)
//! ```
//!
//! The usual way to a bidiagonal matrix reads and writes all that is left of A for every column; here all but the
//! second stage are products of blocks, and the second works on 3 b n numbers. Values are those of A with a
//! perturbation of the order of ε‖A‖, as from the matrix library.
//!
//! Source: Golub & Van Loan 2013, 8.6 (QR sweeps); Demmel & Kahan 1990 (sweeps without a shift); Lang 1996 (bands).
//! Cost: a third to a half of the time of the one-stage reduction at n = 1,000; more than it below [`LEAST`].

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::householder::{
    apply_block_householder_on_the_right_in_place_scratch as right_scratch,
    apply_block_householder_on_the_right_in_place_with_conj as apply_right,
    apply_block_householder_transpose_on_the_left_in_place_scratch as left_scratch,
    apply_block_householder_transpose_on_the_left_in_place_with_conj as apply_left,
};
use faer::linalg::qr::no_pivoting::factor::{qr_in_place, qr_in_place_scratch};
use faer::{Conj, Mat, MatRef};

use super::{sequential, upper_factor};
use crate::data::{Error, Result};

/// Smaller matrices are given to the matrix library.
const LEAST: usize = 256;
/// Columns and rows that are reduced at a time, and width of the band.
const BAND: usize = 32;
/// Rows over columns from which a triangular factor pays before anything else.
const TALL: f64 = 1.5;
/// Sweeps per value before giving up; two are usual.
const MOST_SWEEPS: usize = 60;

/// Singular values alone, descending.
///
/// Error: entries that are not finite.
pub fn singular_values(a: MatRef<f64>) -> Result<Vec<f64>> {
    sequential();
    let n = a.nrows().min(a.ncols());
    if n == 0 {
        return Ok(vec![]);
    }
    let values = if n < LEAST {
        a.singular_values().map_err(|_| no_convergence(a))?
    } else {
        by_bands(a).ok_or_else(|| no_convergence(a))?
    };
    if values.iter().any(|value| !value.is_finite()) {
        return Err(no_convergence(a));
    }
    Ok(values)
}

fn no_convergence(a: MatRef<f64>) -> Error {
    Error::NoConvergence {
        what: "singular value decomposition".into(),
        detail: format!("{} × {} matrix; is every entry finite?", a.nrows(), a.ncols()),
    }
}

/// The two stages; `None` where they do not end.
fn by_bands(a: MatRef<f64>) -> Option<Vec<f64>> {
    let a = if a.nrows() < a.ncols() { a.transpose() } else { a };
    let scale = a.norm_max();
    if !scale.is_finite() {
        return None;
    }
    if scale == 0.0 {
        return Some(vec![0.0; a.ncols()]);
    }
    let tall = a.nrows() as f64 >= TALL * a.ncols() as f64;
    let mut work = if tall { upper_factor(a) } else { a.to_owned() };
    // At unit scale neither squares nor their sums leave the range of numbers.
    for j in 0..work.ncols() {
        work.col_as_slice_mut(j).iter_mut().for_each(|value| *value /= scale);
    }
    let mut band = Band::of(work);
    let (diagonal, above) = band.bidiagonal();
    let mut values = values_of_bidiagonal(diagonal, above)?;
    values.iter_mut().for_each(|value| *value *= scale);
    values.sort_by(|a, b| b.total_cmp(a));
    Some(values)
}

/// An upper triangular band, and room for what fills in beside it: entry (i, j) with j − 2b ≤ i ≤ j + b.
struct Band {
    n: usize,
    columns: Vec<f64>,
}

/// Rows of a stored column.
const HEIGHT: usize = 3 * BAND + 1;

impl Band {
    /// First stage: blocks of columns turned into triangles from the left, then the rows beside them from the right.
    fn of(mut a: Mat<f64>) -> Band {
        let par = sequential();
        let (m, n) = (a.nrows(), a.ncols());
        let mut work = MemBuffer::new(StackReq::any_of(&[
            qr_in_place_scratch::<f64>(m, BAND, BAND, par, Default::default()),
            left_scratch::<f64>(m, BAND, n),
            right_scratch::<f64>(n, BAND, m),
        ]));
        let work = MemStack::new(&mut work);
        for from in (0..n).step_by(BAND) {
            let to = n.min(from + BAND);
            let mut reflections = Mat::zeros(BAND.min(to - from), to - from);
            let (left, mut rest) = a.as_mut().split_at_col_mut(to);
            let mut left = left.subrows_mut(from, m - from).subcols_mut(from, to - from);
            qr_in_place(left.as_mut(), reflections.as_mut(), par, work, Default::default());
            if to == n {
                break;
            }
            let below = rest.as_mut().subrows_mut(from, m - from);
            apply_left(left.as_ref(), reflections.as_ref(), Conj::No, below, par, work);
            // The block of rows to the right, as columns.
            let mut rows = rest.as_ref().subrows(from, to - from).transpose().to_owned();
            let size = rows.nrows().min(rows.ncols());
            let mut reflections = Mat::zeros(size, size);
            qr_in_place(rows.as_mut(), reflections.as_mut(), par, work, Default::default());
            let triangle = Mat::from_fn(to - from, n - to, |i, j| if j <= i { rows[(j, i)] } else { 0.0 });
            rest.as_mut().subrows_mut(from, to - from).copy_from(&triangle);
            let basis = rows.as_ref().subcols(0, size);
            apply_right(basis, reflections.as_ref(), Conj::No, rest.subrows_mut(to, m - to), par, work);
        }
        let mut band = Band { n, columns: vec![0.0; HEIGHT * n] };
        for j in 0..n {
            for i in j.saturating_sub(BAND)..=j {
                let at = band.at(i, j);
                band.columns[at] = a[(i, j)];
            }
        }
        band
    }

    fn at(&self, i: usize, j: usize) -> usize {
        j * HEIGHT + (i + 2 * BAND - j)
    }

    /// Second stage: diagonal, and the entries above it.
    fn bidiagonal(&mut self) -> (Vec<f64>, Vec<f64>) {
        let n = self.n;
        let (mut reflection, mut sums) = (vec![0.0; BAND], vec![0.0; 2 * BAND + 1]);
        for row in 0..n.saturating_sub(1) {
            // `row`, then what the step before has filled in: columns `from..to` are turned so that the row `of` keeps
            // one of them, then the same rows so that the first of these columns keeps one.
            let (mut of, mut from) = (row, row + 1);
            while from < n {
                let to = n.min(from + BAND);
                self.turn_columns(of, from, to, &mut reflection, &mut sums);
                self.turn_rows(from, to, n.min(to + BAND), &mut reflection);
                (of, from) = (from, from + BAND);
            }
        }
        let diagonal = (0..n).map(|i| self.columns[self.at(i, i)]).collect();
        let above = (1..n).map(|j| self.columns[self.at(j - 1, j)]).collect();
        (diagonal, above)
    }

    /// Reflect columns `from..to` so that row `of` is zero in all but the first; rows below `to` have none of them.
    fn turn_columns(&mut self, of: usize, from: usize, to: usize, v: &mut [f64], sums: &mut [f64]) {
        let v = &mut v[..to - from];
        v.iter_mut().zip(from..).for_each(|(v, j)| *v = self.columns[self.at(of, j)]);
        let Some(tau) = reflect(v) else { return };
        let n_rows = to - of;
        let sums = &mut sums[..n_rows];
        sums.fill(0.0);
        for (j, v) in (from..).zip(v.iter()) {
            let at = self.at(of, j);
            sums.iter_mut().zip(&self.columns[at..at + n_rows]).for_each(|(sum, a)| *sum += v * a);
        }
        for (j, v) in (from..).zip(v.iter()) {
            let (at, factor) = (self.at(of, j), tau * v);
            self.columns[at..at + n_rows].iter_mut().zip(&*sums).for_each(|(a, sum)| *a -= factor * sum);
        }
        (from + 1..to).for_each(|j| {
            let at = self.at(of, j);
            self.columns[at] = 0.0;
        });
    }

    /// Reflect rows `from..to` so that column `from` is zero in all but the first; columns from `end` have none.
    fn turn_rows(&mut self, from: usize, to: usize, end: usize, v: &mut [f64]) {
        let n_rows = to - from;
        let v = &mut v[..n_rows];
        let at = self.at(from, from);
        v.copy_from_slice(&self.columns[at..at + n_rows]);
        let Some(tau) = reflect(v) else { return };
        for j in from..end {
            let at = self.at(from, j);
            let column = &mut self.columns[at..at + n_rows];
            let factor = tau * super::dot(column, v);
            column.iter_mut().zip(v.iter()).for_each(|(a, v)| *a -= factor * v);
        }
        self.columns[at + 1..at + n_rows].fill(0.0);
    }
}

/// Turn x into the v with (1 − τ v vᵀ) x = ±‖x‖ e_1, and return τ; `None` where x has no other entry than the first.
fn reflect(x: &mut [f64]) -> Option<f64> {
    let rest = super::dot(&x[1..], &x[1..]);
    if rest == 0.0 {
        return None;
    }
    // Away from x_1, so that nothing cancels.
    x[0] += (x[0] * x[0] + rest).sqrt().copysign(x[0]);
    Some(2.0 / (x[0] * x[0] + rest))
}

/// Singular values of an upper bidiagonal matrix of unit scale, in any order; `None` where sweeps do not end.
fn values_of_bidiagonal(mut d: Vec<f64>, mut e: Vec<f64>) -> Option<Vec<f64>> {
    let largest = d.iter().chain(&e).fold(0.0, |m: f64, v| m.max(v.abs()));
    let negligible = f64::EPSILON * largest;
    let mut end = d.len();
    let mut sweeps = MOST_SWEEPS * d.len();
    while end > 1 {
        // The last block d[begin..end] without a negligible entry above the diagonal.
        let mut begin = end - 1;
        while begin > 0 {
            let beside = d[begin - 1].abs() + d[begin].abs();
            if e[begin - 1].abs() <= negligible.max(f64::EPSILON * beside) {
                e[begin - 1] = 0.0;
                break;
            }
            begin -= 1;
        }
        if begin == end - 1 {
            end -= 1;
            continue;
        }
        sweeps = sweeps.checked_sub(1)?;
        // From large to small: the reversed transpose has the same values.
        if d[begin].abs() < d[end - 1].abs() {
            d[begin..end].reverse();
            e[begin..end - 1].reverse();
        }
        sweep(&mut d[begin..end], &mut e[begin..end - 1]);
    }
    d.iter_mut().for_each(|value| *value = value.abs());
    Some(d)
}

/// One implicit QR sweep of BᵀB − σ²; without a shift where it would be lost in rounding, or where a diagonal entry is
/// zero, which then comes to the end at once.
fn sweep(d: &mut [f64], e: &mut [f64]) {
    let n = d.len();
    let shift = smaller_value(d[n - 2], e[n - 2], d[n - 1]);
    let lost = (shift / d[0]).powi(2) < f64::EPSILON;
    if lost || d.contains(&0.0) {
        let (mut c, mut before) = (1.0, (1.0, 0.0));
        for i in 0..n - 1 {
            let (turned, s, r) = rotation(d[i] * c, e[i]);
            if i > 0 {
                e[i - 1] = before.1 * r;
            }
            let (to, so, kept) = rotation(before.0 * r, d[i + 1] * s);
            d[i] = kept;
            (c, before) = (turned, (to, so));
        }
        let last = d[n - 1] * c;
        d[n - 1] = last * before.0;
        e[n - 2] = last * before.1;
        return;
    }
    let mut f = (d[0].abs() - shift) * (1f64.copysign(d[0]) + shift / d[0]);
    let mut g = e[0];
    for i in 0..n - 1 {
        let (c, s, r) = rotation(f, g);
        if i > 0 {
            e[i - 1] = r;
        }
        f = c * d[i] + s * e[i];
        e[i] = c * e[i] - s * d[i];
        g = s * d[i + 1];
        d[i + 1] *= c;
        let (c, s, r) = rotation(f, g);
        d[i] = r;
        f = c * e[i] + s * d[i + 1];
        d[i + 1] = c * d[i + 1] - s * e[i];
        if i + 2 < n {
            g = s * e[i + 1];
            e[i + 1] *= c;
        }
    }
    e[n - 2] = f;
}

/// (c, s, r) with c f + s g = r and c g − s f = 0.
fn rotation(f: f64, g: f64) -> (f64, f64, f64) {
    if g == 0.0 {
        return (1.0, 0.0, f);
    }
    let squares = f * f + g * g;
    let r = if squares > 1e-280 { squares.sqrt() } else { f.hypot(g) };
    (f / r, g / r, r)
}

/// The smaller singular value of [[a, b], [0, c]].
fn smaller_value(a: f64, b: f64, c: f64) -> f64 {
    // σ_1 σ_2 = |a c| and σ_1 ± σ_2 = √((a ± c)² + b²) for a, c ≥ 0.
    let (a, c) = (a.abs(), c.abs());
    let largest = 0.5 * ((a + c).hypot(b) + (a - c).hypot(b));
    if largest == 0.0 { 0.0 } else { a / largest * c }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{product, svd, thin_qr};
    use crate::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(1, "singular values", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    /// A matrix of these singular values.
    fn planted(values: &[f64], m: usize) -> Mat<f64> {
        let n = values.len();
        let (u, v) = (thin_qr(noise(m, n, 1).as_ref()).0, thin_qr(noise(n, n, 2).as_ref()).0);
        let scaled = Mat::from_fn(m, n, |i, j| u[(i, j)] * values[j]);
        product(scaled.as_ref(), v.transpose())
    }

    fn check(a: MatRef<f64>, expected: &[f64]) {
        for a in [a, a.transpose()] {
            let found = by_bands(a).unwrap();
            assert_eq!(found.len(), expected.len());
            assert!(found.windows(2).all(|w| w[0] >= w[1]));
            for (found, expected) in found.iter().zip(expected) {
                let off = (found - expected).abs();
                assert!(off <= 1e-14 * (a.ncols() as f64).sqrt() * expected_scale(a), "{found} {expected}");
            }
        }
    }

    fn expected_scale(a: MatRef<f64>) -> f64 {
        a.norm_l2().max(f64::MIN_POSITIVE)
    }

    #[test]
    fn they_are_those_of_the_decomposition() {
        // Sizes on both sides of one and several bands, square, nearly so and tall.
        for (m, n) in
            [(1, 1), (2, 2), (5, 3), (31, 31), (32, 32), (33, 33), (64, 64), (70, 65), (97, 97), (200, 40)]
        {
            let a = noise(m, n, 10 + m as u64);
            check(a.as_ref(), &svd(a.as_ref()).unwrap().s);
        }
        let a = noise(300, 280, 3);
        assert_eq!(singular_values(a.as_ref()).unwrap(), by_bands(a.as_ref()).unwrap());
        check(a.as_ref(), &svd(a.as_ref()).unwrap().s);
    }

    #[test]
    fn planted_spectra_come_back() {
        let decaying: Vec<f64> = (0..90).map(|k| 10f64.powf(-0.2 * k as f64)).collect();
        let stepped: Vec<f64> = (0..90).map(|k| if k < 40 { 3.0 } else { 1e-9 }).collect();
        let low: Vec<f64> = (0..90).map(|k| if k < 7 { 7.0 - k as f64 } else { 0.0 }).collect();
        for values in [decaying, stepped, low, vec![1.0; 90]] {
            check(planted(&values, 120).as_ref(), &values);
        }
    }

    #[test]
    fn zeros_and_extreme_scales_are_no_obstacle() {
        check(Mat::zeros(70, 50).as_ref(), &[0.0; 50]);
        let diagonal = Mat::from_fn(80, 80, |i, j| if i == j { (80 - i) as f64 } else { 0.0 });
        check(diagonal.as_ref(), &(1..=80).rev().map(f64::from).collect::<Vec<_>>());
        // Zeros on the diagonal of a bidiagonal matrix: values of the shift are 1, and one 0.
        let shifted = Mat::from_fn(66, 66, |i, j| if j == i + 1 { 1.0 } else { 0.0 });
        check(shifted.as_ref(), &(0..66).map(|k| if k < 65 { 1.0 } else { 0.0 }).collect::<Vec<_>>());
        let a = noise(60, 45, 4);
        let s = by_bands(a.as_ref()).unwrap();
        for scale in [1e-200, 1e200] {
            let scaled = Mat::from_fn(60, 45, |i, j| scale * a[(i, j)]);
            for (found, s) in by_bands(scaled.as_ref()).unwrap().iter().zip(&s) {
                assert!((found / scale - s).abs() < 1e-12);
            }
        }
        let mut broken = noise(300, 300, 5);
        broken[(7, 8)] = f64::NAN;
        assert!(singular_values(broken.as_ref()).is_err());
        broken[(7, 8)] = f64::INFINITY;
        assert!(singular_values(broken.as_ref()).is_err());
        assert!(singular_values(Mat::zeros(0, 3).as_ref()).unwrap().is_empty());
    }

    #[test]
    fn two_by_two_by_hand() {
        // [[3, 0], [0, 4]] and [[1, 1], [0, 1]]: (√5 ± 1)/2.
        assert_eq!(smaller_value(3.0, 0.0, 4.0), 3.0);
        assert!((smaller_value(1.0, 1.0, 1.0) - (5f64.sqrt() - 1.0) / 2.0).abs() < 1e-15);
        assert_eq!(smaller_value(0.0, 0.0, 0.0), 0.0);
        let (c, s, r) = rotation(3.0, 4.0);
        assert!((c - 0.6).abs() < 1e-15 && (s - 0.8).abs() < 1e-15 && r == 5.0);
        let found = values_of_bidiagonal(vec![1.0, 1.0], vec![1.0]).unwrap();
        let large = found[0].max(found[1]);
        assert!((large - (5f64.sqrt() + 1.0) / 2.0).abs() < 1e-15);
    }
}
