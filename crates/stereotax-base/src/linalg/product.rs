//! Matrix products and the few row and column operations that surround them.

use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, Mat, MatMut, MatRef};

use super::{Real, sequential};

/// A·B.
pub fn product<T: Real>(a: MatRef<T>, b: MatRef<T>) -> Mat<T> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    matmul(out.as_mut(), Accum::Replace, a, b, T::from_f64(1.0), sequential());
    out
}

/// Aᵀ·B, the cross-moments of the columns of A and B.
pub fn cross<T: Real>(a: MatRef<T>, b: MatRef<T>) -> Mat<T> {
    product(a.transpose(), b)
}

/// L·B for lower triangular L (what stands above its diagonal is not read), at half the cost of a full product.
pub fn lower_product<T: Real>(lower: MatRef<T>, b: MatRef<T>) -> Mat<T> {
    use triangular::BlockStructure::{Rectangular, TriangularLower};
    let mut out = Mat::zeros(lower.nrows(), b.ncols());
    triangular::matmul(
        out.as_mut(),
        Rectangular,
        Accum::Replace,
        lower,
        TriangularLower,
        b,
        Rectangular,
        T::from_f64(1.0),
        sequential(),
    );
    out
}

/// Lᵀ·B for lower triangular L (what stands above its diagonal is not read), at half the cost of a full product.
pub fn lower_cross<T: Real>(lower: MatRef<T>, b: MatRef<T>) -> Mat<T> {
    use triangular::BlockStructure::{Rectangular, TriangularUpper};
    let mut out = Mat::zeros(lower.ncols(), b.ncols());
    triangular::matmul(
        out.as_mut(),
        Rectangular,
        Accum::Replace,
        lower.transpose(),
        TriangularUpper,
        b,
        Rectangular,
        T::from_f64(1.0),
        sequential(),
    );
    out
}

/// `out = A·B`.
pub fn product_into<T: Real>(out: MatMut<T>, a: MatRef<T>, b: MatRef<T>) {
    matmul(out, Accum::Replace, a, b, T::from_f64(1.0), sequential());
}

/// `out += scale · A·B`.
pub fn add_product<T: Real>(out: MatMut<T>, a: MatRef<T>, b: MatRef<T>, scale: f64) {
    matmul(out, Accum::Add, a, b, T::from_f64(scale), sequential());
}

/// Σ x_i y_i over the shorter of both, added in sixteen lanes, which are then added in their order.
///
/// The lanes fill whatever vector registers the processor has; the order of additions, and with it the
/// result, is the same on all of them.
pub fn dot<T: Real>(x: &[T], y: &[T]) -> f64 {
    struct Lanes<'a, T>(&'a [T], &'a [T]);
    impl<T: Real> pulp::NullaryFnOnce for Lanes<'_, T> {
        type Output = f64;
        #[inline(always)]
        fn call(self) -> f64 {
            let mut lanes = [T::default(); 16];
            let (mut left, mut right) = (self.0.chunks_exact(16), self.1.chunks_exact(16));
            for (a, b) in (&mut left).zip(&mut right) {
                for lane in 0..16 {
                    lanes[lane] += a[lane] * b[lane];
                }
            }
            let rest = left.remainder().iter().zip(right.remainder());
            let rest: f64 = rest.map(|(a, b)| -> f64 { (*a * *b).into() }).sum();
            lanes.iter().map(|lane| -> f64 { (*lane).into() }).sum::<f64>() + rest
        }
    }
    let length = x.len().min(y.len());
    pulp::Arch::new().dispatch(Lanes(&x[..length], &y[..length]))
}

/// XᵀX, exactly symmetric, at half the cost of a full product.
pub fn gram(x: MatRef<f64>) -> Mat<f64> {
    let mut out = Mat::zeros(x.ncols(), x.ncols());
    add_gram(out.as_mut(), x);
    mirror_lower(out.as_mut());
    out
}

/// Add XᵀX to the lower triangle of `out`; the upper one is left as it is (see [`mirror_lower`]).
pub fn add_gram(out: MatMut<f64>, x: MatRef<f64>) {
    use triangular::BlockStructure::{Rectangular, TriangularLower};
    triangular::matmul(
        out,
        TriangularLower,
        Accum::Add,
        x.transpose(),
        Rectangular,
        x,
        Rectangular,
        1.0,
        sequential(),
    );
}

/// Side of the squares in which a triangle is mirrored.
const MIRROR: usize = 32;

/// Copy the lower triangle onto the upper one.
pub fn mirror_lower(mut a: MatMut<f64>) {
    // By squares that fit the cache: whole rows would fetch a line for each number.
    let n = a.ncols();
    for right in (0..n).step_by(MIRROR) {
        for top in (0..=right).step_by(MIRROR) {
            for j in right..n.min(right + MIRROR) {
                for i in top..j.min(top + MIRROR) {
                    a[(i, j)] = a[(j, i)];
                }
            }
        }
    }
}

/// Mean of each column, added in row order.
pub fn column_means<T: Real>(x: MatRef<T>) -> Vec<f64> {
    let n = x.nrows() as f64;
    (0..x.ncols()).map(|j| x.col(j).iter().map(|v| -> f64 { (*v).into() }).sum::<f64>() / n).collect()
}

/// Subtract one number from each column.
pub fn centre_columns<T: Real>(mut x: MatMut<T>, means: &[f64]) {
    for (j, mean) in means.iter().enumerate() {
        let centred = |value: T| T::from_f64(value.into() - mean);
        x.as_mut().col_mut(j).iter_mut().for_each(|value| *value = centred(*value));
    }
}

/// Rows gathered at a time where the source lies row after row: as many as caches have lines for.
const GATHER: usize = 16;

/// The given rows, in the given order.
pub fn select_rows<T: Real>(x: MatRef<T>, rows: &[usize]) -> Mat<T> {
    let mut out = Mat::zeros(rows.len(), x.ncols());
    if let Some(by_columns) = x.try_as_col_major() {
        for j in 0..x.ncols() {
            let from = by_columns.col(j).as_slice();
            out.col_as_slice_mut(j).iter_mut().zip(rows).for_each(|(to, &row)| *to = from[row]);
        }
    } else if let Some(by_rows) = x.transpose().try_as_col_major() {
        for (block, rows) in rows.chunks(GATHER).enumerate() {
            let from: Vec<&[T]> = rows.iter().map(|&row| by_rows.col(row).as_slice()).collect();
            for j in 0..x.ncols() {
                let to = &mut out.col_as_slice_mut(j)[block * GATHER..];
                to.iter_mut().zip(&from).for_each(|(to, from)| *to = from[j]);
            }
        }
    } else {
        out = Mat::from_fn(rows.len(), x.ncols(), |i, j| x[(rows[i], j)]);
    }
    out
}

/// Whether every entry is finite, read in the order in which it lies in memory.
pub fn all_finite<T: Real>(x: MatRef<T>) -> bool {
    let finite = |v: &T| -> bool { Into::<f64>::into(*v).is_finite() };
    let lines = if x.transpose().try_as_col_major().is_some() { x.transpose() } else { x };
    (0..lines.ncols()).all(|j| {
        let line = lines.col(j);
        // Without an early exit the loop runs in vector registers.
        match line.try_as_col_major() {
            Some(line) => !line.as_slice().iter().fold(false, |bad, v| bad | !finite(v)),
            None => line.iter().all(finite),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gram_matrix_by_hand() {
        // X = [1 2; 3 4; 5 6]: XᵀX = [35 44; 44 56].
        let x = Mat::from_fn(3, 2, |i, j| (2 * i + j + 1) as f64);
        let g = gram(x.as_ref());
        assert_eq!((g[(0, 0)], g[(0, 1)], g[(1, 0)], g[(1, 1)]), (35.0, 44.0, 44.0, 56.0));
        assert_eq!(cross(x.as_ref(), x.as_ref()), g);
        // The lower triangle [35 0; 44 56] of it: times (1, 2)ᵀ it is (35, 156)ᵀ.
        let b = Mat::from_fn(2, 1, |i, _| (i + 1) as f64);
        // 1² + … + 40², whole lanes and a rest; the shorter side counts.
        let numbers: Vec<f64> = (1..=50).map(f64::from).collect();
        assert_eq!(dot(&numbers, &numbers[..40]), 22_140.0);
        let turned = lower_product(g.as_ref(), b.as_ref());
        // Its transpose [35 44; 0 56] times (1, 2)ᵀ.
        let back = lower_cross(g.as_ref(), b.as_ref());
        assert_eq!((back[(0, 0)], back[(1, 0)]), (123.0, 112.0));
        assert_eq!((turned[(0, 0)], turned[(1, 0)]), (35.0, 156.0));
        assert_eq!(column_means(x.as_ref()), [3.0, 4.0]);
    }

    #[test]
    fn a_mirrored_triangle_is_symmetric_at_any_size() {
        for n in [0, 1, 31, 32, 33, 70] {
            let lower = Mat::from_fn(n, n, |i, j| if i >= j { (100 * i + j) as f64 } else { -1.0 });
            let mut a = lower.clone();
            mirror_lower(a.as_mut());
            assert_eq!(a, Mat::from_fn(n, n, |i, j| lower[(i.max(j), i.min(j))]));
        }
    }

    #[test]
    fn rows_are_the_same_however_the_source_lies() {
        let by_columns = Mat::from_fn(40, 7, |i, j| (10 * i + j) as f64);
        let by_rows = by_columns.transpose().to_owned();
        let strided =
            Mat::from_fn(80, 14, |i, j| if i % 2 + j % 2 == 0 { (5 * i + j / 2) as f64 } else { -1.0 });
        let rows: Vec<usize> = (0..40).rev().filter(|i| i % 3 > 0).collect();
        let slow = Mat::from_fn(rows.len(), 7, |i, j| by_columns[(rows[i], j)]);
        assert_eq!(select_rows(by_columns.as_ref(), &rows), slow);
        assert_eq!(select_rows(by_rows.transpose(), &rows), slow);
        // SAFETY: every other row and column of a matrix twice as large in both.
        let view = unsafe { MatRef::from_raw_parts(strided.as_ptr(), 40, 7, 2, 2 * strided.col_stride()) };
        assert_eq!(select_rows(view, &rows), slow);
        for x in [by_columns.as_ref(), by_rows.transpose(), view] {
            assert!(all_finite(x));
        }
    }

    #[test]
    fn one_value_that_is_not_finite_is_found() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut x = Mat::full(9, 5, 1e308);
            assert!(all_finite(x.as_ref()));
            x[(8, 2)] = bad;
            assert!(!all_finite(x.as_ref()) && !all_finite(x.transpose()));
        }
    }
}
