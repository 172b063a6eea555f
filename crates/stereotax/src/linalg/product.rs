//! Matrix products and the few row and column operations that surround them.

use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, Mat, MatMut, MatRef};

use super::sequential;

/// A·B.
pub fn product(a: MatRef<f64>, b: MatRef<f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    matmul(out.as_mut(), Accum::Replace, a, b, 1.0, sequential());
    out
}

/// Aᵀ·B, the cross-moments of the columns of A and B.
pub fn cross(a: MatRef<f64>, b: MatRef<f64>) -> Mat<f64> {
    product(a.transpose(), b)
}

/// `out += scale · A·B`.
pub fn add_product(out: MatMut<f64>, a: MatRef<f64>, b: MatRef<f64>, scale: f64) {
    matmul(out, Accum::Add, a, b, scale, sequential());
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

/// Copy the lower triangle onto the upper one.
pub fn mirror_lower(mut a: MatMut<f64>) {
    for j in 1..a.ncols() {
        for i in 0..j {
            a[(i, j)] = a[(j, i)];
        }
    }
}

/// Mean of each column, added in row order.
pub fn column_means(x: MatRef<f64>) -> Vec<f64> {
    let n = x.nrows() as f64;
    (0..x.ncols()).map(|j| x.col(j).iter().sum::<f64>() / n).collect()
}

/// Subtract one number from each column.
pub fn centre_columns(mut x: MatMut<f64>, means: &[f64]) {
    for (j, mean) in means.iter().enumerate() {
        for i in 0..x.nrows() {
            x[(i, j)] -= mean;
        }
    }
}

/// The given rows, in the given order.
pub fn select_rows(x: MatRef<f64>, rows: &[usize]) -> Mat<f64> {
    Mat::from_fn(rows.len(), x.ncols(), |i, j| x[(rows[i], j)])
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
        assert_eq!(column_means(x.as_ref()), [3.0, 4.0]);
    }
}
