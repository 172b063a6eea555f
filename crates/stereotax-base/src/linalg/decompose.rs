//! Decompositions, with orders and signs fixed.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::evd::tridiag::tridiag_in_place;
use faer::linalg::evd::{
    ComputeEigenvectors, SelfAdjointEvdParams, self_adjoint_evd_scratch, tridiagonal_self_adjoint_evd,
};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch as reflect_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj as reflect,
};
use faer::linalg::qr::no_pivoting::factor::recommended_block_size;
use faer::linalg::solvers::{DenseSolveCore, Solve};
use faer::{Auto, Conj, Mat, MatRef, Side, c64};

use super::sequential;
use crate::data::{Error, Result};

/// A = V diag(values) Vᵀ for symmetric A.
#[derive(Debug, Clone)]
pub struct Eigh {
    /// Eigenvalues, descending.
    pub values: Vec<f64>,
    /// Eigenvectors as columns, in the same order; the entry of largest modulus is positive.
    pub vectors: Mat<f64>,
}

/// A = U diag(s) Vᵀ, thin.
#[derive(Debug, Clone)]
pub struct Svd {
    /// Left singular vectors (rows × min(rows, columns)); the entry of largest modulus is positive.
    pub u: Mat<f64>,
    /// Singular values, descending.
    pub s: Vec<f64>,
    /// Right singular vectors (columns × min(rows, columns)).
    pub v: Mat<f64>,
}

/// A W = W diag(values) for a general real A.
#[derive(Debug, Clone)]
pub struct Eig {
    /// Eigenvalues; complex ones stand in exact conjugate pairs, the one with Im > 0 first.
    pub values: Vec<c64>,
    /// Eigenvectors as columns with unit length; those of a pair are exact conjugates.
    pub vectors: Mat<c64>,
}

fn no_convergence(what: &str, a: MatRef<f64>) -> Error {
    Error::NoConvergence {
        what: what.into(),
        detail: format!("{} × {} matrix; is every entry finite?", a.nrows(), a.ncols()),
    }
}

/// Decompose a symmetric matrix, of which the lower triangle is read.
pub fn eigh(a: MatRef<f64>) -> Result<Eigh> {
    eigh_leading(a, a.nrows())
}

/// All eigenvalues of a symmetric matrix, and the eigenvectors of the `n_vectors` largest.
///
/// Only the lower triangle is read. Cost: 4/3 n³ for the tridiagonal form and about 4/3 n³ for its
/// eigenvectors whatever is asked for, then 2 n² per vector turned back.
pub fn eigh_leading(a: MatRef<f64>, n_vectors: usize) -> Result<Eigh> {
    let par = sequential();
    let n = a.nrows();
    if n == 0 {
        return Ok(Eigh { values: vec![], vectors: Mat::zeros(0, 0) });
    }
    if n == 1 {
        return Ok(Eigh { values: vec![a[(0, 0)]], vectors: Mat::full(1, n_vectors.min(1), 1.0) });
    }
    // A = Q T Qᵀ with Q a sequence of reflections, kept below the diagonal of `reduced`.
    let mut reduced = a.to_owned();
    let block = recommended_block_size::<f64>(n, n);
    let mut reflections = Mat::zeros(block, n - 1);
    let settings = <SelfAdjointEvdParams as Auto<f64>>::auto();
    let mut work = MemBuffer::new(StackReq::any_of(&[
        self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, par, settings.into()),
        reflect_scratch::<f64>(n - 1, block, n_vectors),
    ]));
    let work = MemStack::new(&mut work);
    tridiag_in_place(reduced.as_mut(), reflections.as_mut(), par, work, settings.tridiag.into());

    let (mut diagonal, mut below, mut found) = (Diag::zeros(n), Diag::zeros(n), Diag::<f64>::zeros(n));
    for i in 0..n {
        diagonal[i] = reduced[(i, i)];
        below[i] = if i + 1 < n { reduced[(i + 1, i)] } else { 0.0 };
    }
    let mut of_tridiagonal = Mat::zeros(n, n);
    tridiagonal_self_adjoint_evd(
        diagonal.as_ref(),
        below.as_ref(),
        found.as_mut(),
        Some(of_tridiagonal.as_mut()),
        par,
        work,
        settings.into(),
    )
    .map_err(|_| no_convergence("eigendecomposition", a))?;

    // The library's order ascends.
    let values: Vec<f64> = (0..n).rev().map(|i| found[i]).collect();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(no_convergence("eigendecomposition", a));
    }
    let mut vectors = of_tridiagonal.as_ref().reverse_cols().get(.., ..n_vectors.min(n)).to_owned();
    reflect(
        reduced.submatrix(1, 0, n - 1, n - 1),
        reflections.as_ref(),
        Conj::No,
        vectors.as_mut().subrows_mut(1, n - 1),
        par,
        work,
    );
    for j in 0..vectors.ncols() {
        if largest_entry(vectors.as_ref(), j) < 0.0 {
            vectors.col_mut(j).iter_mut().for_each(|x| *x = -*x);
        }
    }
    Ok(Eigh { values, vectors })
}

/// Thin singular value decomposition.
pub fn svd(a: MatRef<f64>) -> Result<Svd> {
    sequential();
    let size = a.nrows().min(a.ncols());
    if size == 0 {
        return Ok(Svd { u: Mat::zeros(a.nrows(), 0), s: vec![], v: Mat::zeros(a.ncols(), 0) });
    }
    let decomposed = a.thin_svd().map_err(|_| no_convergence("singular value decomposition", a))?;
    let s = (0..size).map(|i| decomposed.S()[i]).collect();
    let (mut u, mut v) = (decomposed.U().to_owned(), decomposed.V().to_owned());
    for j in 0..size {
        if largest_entry(u.as_ref(), j) < 0.0 {
            u.col_mut(j).iter_mut().for_each(|x| *x = -*x);
            v.col_mut(j).iter_mut().for_each(|x| *x = -*x);
        }
    }
    Ok(Svd { u, s, v })
}

/// The entry of largest modulus in a column; the first one among equals.
fn largest_entry(a: MatRef<f64>, column: usize) -> f64 {
    a.col(column).iter().fold(0.0, |best: f64, &x| if x.abs() > best.abs() { x } else { best })
}

/// Eigenvalues and eigenvectors of a general real matrix, with conjugate pairs made exact.
///
/// The order is by descending modulus, then descending real part.
pub fn eig(a: MatRef<f64>) -> Result<Eig> {
    sequential();
    let n = a.nrows();
    if n == 0 {
        return Ok(Eig { values: vec![], vectors: Mat::zeros(0, 0) });
    }
    let decomposed = a.eigen().map_err(|_| no_convergence("general eigendecomposition", a))?;
    // A real solver returns pairs side by side. Keep the member with Im > 0 and mirror it.
    let mut found: Vec<(c64, Vec<c64>)> = Vec::with_capacity(n);
    for j in 0..n {
        let value = decomposed.S()[j];
        if value.im < 0.0 {
            continue;
        }
        let column: Vec<c64> = (0..n).map(|i| decomposed.U()[(i, j)]).collect();
        let length = column.iter().map(|z| z.norm_sqr()).sum::<f64>().sqrt();
        let scale = if length > 0.0 { 1.0 / length } else { 1.0 };
        found.push((value, column.iter().map(|z| z * scale).collect()));
    }
    found.sort_by(|(x, _), (y, _)| {
        y.norm().total_cmp(&x.norm()).then(y.re.total_cmp(&x.re)).then(y.im.total_cmp(&x.im))
    });
    let mut values = Vec::with_capacity(n);
    let mut columns: Vec<Vec<c64>> = Vec::with_capacity(n);
    for (value, column) in found {
        values.push(value);
        let mirrored: Option<Vec<c64>> = (value.im > 0.0).then(|| column.iter().map(|z| z.conj()).collect());
        columns.push(column);
        if let Some(mirrored) = mirrored {
            values.push(value.conj());
            columns.push(mirrored);
        }
    }
    if values.len() != n {
        return Err(no_convergence("general eigendecomposition", a));
    }
    let vectors = Mat::from_fn(n, n, |i, j| columns[j][i]);
    Ok(Eig { values, vectors })
}

/// Solve A X = B for symmetric positive definite A; `None` where A is not.
pub fn cholesky_solve(a: MatRef<f64>, b: MatRef<f64>) -> Option<Mat<f64>> {
    sequential();
    Some(a.llt(Side::Lower).ok()?.solve(b))
}

/// L⁻¹ B with A = L Lᵀ for symmetric positive definite A; `None` where A is not. Half the cost of
/// [`cholesky_solve`]; inner products of the columns are those with A⁻¹.
pub fn lower_cholesky_solve(a: MatRef<f64>, b: MatRef<f64>) -> Option<Mat<f64>> {
    let par = sequential();
    let factor = a.llt(Side::Lower).ok()?;
    let mut out = b.to_owned();
    faer::linalg::triangular_solve::solve_lower_triangular_in_place(factor.L(), out.as_mut(), par);
    Some(out)
}

/// A⁻¹ of a symmetric positive definite A, symmetric; `None` where A is not.
pub fn cholesky_inverse(a: MatRef<f64>) -> Option<Mat<f64>> {
    sequential();
    Some(a.llt(Side::Lower).ok()?.inverse())
}

/// Lower triangular L with A = L Lᵀ for symmetric positive definite A; `None` where A is not.
pub fn cholesky_factor(a: MatRef<f64>) -> Option<Mat<f64>> {
    sequential();
    Some(a.llt(Side::Lower).ok()?.L().to_owned())
}

/// Solve the square system A X = B by LU with partial pivoting.
pub fn solve(a: MatRef<f64>, b: MatRef<f64>) -> Mat<f64> {
    sequential();
    a.partial_piv_lu().solve(b)
}

/// A⁺, cutting singular values below `relative_cut` times the largest.
pub fn pseudo_inverse(a: MatRef<f64>, relative_cut: f64) -> Result<Mat<f64>> {
    let Svd { u, s, v } = svd(a)?;
    let cut = relative_cut * s.first().copied().unwrap_or(0.0);
    let kept = s.iter().take_while(|&&x| x > cut && x > 0.0).count();
    let scaled = Mat::from_fn(v.nrows(), kept, |i, j| v[(i, j)] / s[j]);
    Ok(super::product(scaled.as_ref(), u.get(.., ..kept).transpose()))
}

/// The X of least norm among those that minimise ‖A X − B‖, with the cut of [`pseudo_inverse`].
pub fn least_squares(a: MatRef<f64>, b: MatRef<f64>, relative_cut: f64) -> Result<Mat<f64>> {
    Ok(super::product(pseudo_inverse(a, relative_cut)?.as_ref(), b))
}

/// A = Q R with Q of min(rows, columns) orthonormal columns and R upper triangular; returns (Q, R).
pub fn thin_qr(a: MatRef<f64>) -> (Mat<f64>, Mat<f64>) {
    sequential();
    let qr = a.qr();
    (qr.compute_thin_Q(), qr.thin_R().to_owned())
}

/// R of A = Q R alone (min(rows, columns) × columns); Q is not formed.
pub fn upper_factor(a: MatRef<f64>) -> Mat<f64> {
    sequential();
    a.qr().thin_R().to_owned()
}

/// The orthogonal factor U Vᵀ of A = U S Vᵀ: the rotation Q that maximises tr(Qᵀ A).
///
/// It solves the orthogonal Procrustes problem min ‖P Q − T‖ for A = Pᵀ T (Schönemann 1966).
pub fn orthogonal_factor(a: MatRef<f64>) -> Result<Mat<f64>> {
    let Svd { u, v, .. } = svd(a)?;
    Ok(super::product(u.as_ref(), v.transpose()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{cross, product};
    use crate::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(1, "linalg tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn distance(a: MatRef<f64>, b: MatRef<f64>) -> f64 {
        (a.to_owned() - b).norm_max()
    }

    #[test]
    fn symmetric_eigenvectors_multiply_back_in_descending_order() {
        let a = noise(30, 12, 0);
        let c = cross(a.as_ref(), a.as_ref());
        let Eigh { values, vectors } = eigh(c.as_ref()).unwrap();
        assert!(values.windows(2).all(|w| w[0] >= w[1]));
        let scaled = Mat::from_fn(12, 12, |i, j| vectors[(i, j)] * values[j]);
        assert!(distance(product(scaled.as_ref(), vectors.transpose()).as_ref(), c.as_ref()) < 1e-11);
    }

    #[test]
    fn leading_eigenvectors_are_those_of_the_whole_decomposition() {
        // Sizes on both sides of the library's divide and conquer, and the smallest.
        for n in [1, 2, 3, 12, 150] {
            let a = noise(2 * n, n, 5);
            let c = cross(a.as_ref(), a.as_ref());
            let whole = eigh(c.as_ref()).unwrap();
            let size = n as f64 * whole.values[0];
            for q in [0, 1, n / 3, n] {
                let leading = eigh_leading(c.as_ref(), q).unwrap();
                assert_eq!(leading.values, whole.values);
                assert_eq!((leading.vectors.nrows(), leading.vectors.ncols()), (n, q));
                let turned = product(c.as_ref(), leading.vectors.as_ref());
                for j in 0..q {
                    for i in 0..n {
                        let off = turned[(i, j)] - whole.values[j] * leading.vectors[(i, j)];
                        assert!(off.abs() < 1e-14 * size, "{n} {q}: {off}");
                        let off = leading.vectors[(i, j)] - whole.vectors[(i, j)];
                        assert!(off.abs() < 1e-12, "{n} {q}: {off}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_singular_value_decomposition_multiplies_back_both_ways() {
        for (rows, columns) in [(9, 4), (4, 9), (5, 5)] {
            let a = noise(rows, columns, 1);
            let Svd { u, s, v } = svd(a.as_ref()).unwrap();
            let scaled = Mat::from_fn(rows, s.len(), |i, j| u[(i, j)] * s[j]);
            assert!(distance(product(scaled.as_ref(), v.transpose()).as_ref(), a.as_ref()) < 1e-12);
        }
    }

    #[test]
    fn general_eigenvectors_satisfy_their_equation_and_pairs_are_exact() {
        let a = noise(7, 7, 2);
        let Eig { values, vectors } = eig(a.as_ref()).unwrap();
        for k in 0..7 {
            for i in 0..7 {
                let left: c64 = (0..7).map(|j| vectors[(j, k)] * a[(i, j)]).sum();
                assert!((left - values[k] * vectors[(i, k)]).norm() < 1e-12);
            }
            if values[k].im > 0.0 {
                assert_eq!(values[k + 1], values[k].conj());
                assert_eq!(vectors[(3, k + 1)], vectors[(3, k)].conj());
            }
        }
    }

    #[test]
    fn a_cholesky_factor_and_inverse_multiply_back_and_indefinite_matrices_have_none() {
        let a = noise(60, 40, 6);
        let c = cross(a.as_ref(), a.as_ref());
        let (l, inverse) = (cholesky_factor(c.as_ref()).unwrap(), cholesky_inverse(c.as_ref()).unwrap());
        assert!((0..40).all(|j| (0..j).all(|i| l[(i, j)] == 0.0)));
        assert!(distance(product(l.as_ref(), l.transpose()).as_ref(), c.as_ref()) < 1e-11);
        let one = Mat::<f64>::identity(40, 40);
        assert!(distance(product(c.as_ref(), inverse.as_ref()).as_ref(), one.as_ref()) < 1e-10);
        let odd = Mat::from_fn(2, 2, |i, j| if i == j { 1.0 } else { 2.0 });
        assert!(cholesky_factor(odd.as_ref()).is_none() && cholesky_inverse(odd.as_ref()).is_none());
    }

    #[test]
    fn the_pseudo_inverse_ignores_what_lies_below_its_cut() {
        // Rank 1: the pseudo-inverse of u vᵀ is v uᵀ / (|u|²|v|²).
        let a = Mat::from_fn(3, 2, |i, j| ((i + 1) * (j + 1)) as f64);
        let inverse = pseudo_inverse(a.as_ref(), 1e-12).unwrap();
        let expected = Mat::from_fn(2, 3, |i, j| ((i + 1) * (j + 1)) as f64 / (14.0 * 5.0));
        assert!(distance(inverse.as_ref(), expected.as_ref()) < 1e-15);
    }

    #[test]
    fn procrustes_recovers_a_planted_rotation() {
        let (p, q) = (noise(40, 6, 3), thin_qr(noise(6, 6, 4).as_ref()).0);
        let turned = product(p.as_ref(), q.as_ref());
        let found = orthogonal_factor(cross(p.as_ref(), turned.as_ref()).as_ref()).unwrap();
        assert!(distance(found.as_ref(), q.as_ref()) < 1e-12);
    }
}
