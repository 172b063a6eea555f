//! Real Schur form of a small general matrix, with blocks in an order of one's choice.
//!
//! ```text
//! A = Q T Qᵀ        Q orthogonal, T upper triangular but for 2 × 2 blocks of complex pairs
//! ```
//!
//! The first m columns of Q span an invariant subspace of A wherever T does not cut a pair after m. That
//! basis is orthonormal however close eigenvalues lie, which eigenvectors are not: with a defective A
//! they do not exist. So a cluster of eigenvalues is brought to the top of T and its columns of Q used.
//!
//! Steps: Householder reduction to Hessenberg form, Francis double shifts with deflation, and exchange of
//! neighbouring blocks by the QR factor of the solution of their Sylvester equation.
//! Source: Golub & Van Loan 2013, 7.4–7.6; Bai & Demmel 1993 (direct swapping). Cost: about 25 n³;
//! meant for n up to some hundreds. Backward stable: ‖AQ − QT‖ is a few ε‖A‖.

use faer::{Mat, MatRef, c64};

use super::solve;
use crate::data::{Error, Result};

/// Iterations per eigenvalue before giving up; 10 and 20 take an exceptional shift.
const PATIENCE: usize = 60;
/// An exchange must leave less than this share of ‖T‖ below the diagonal (times ε).
const EXCHANGE: f64 = 100.0;

/// A = Q T Qᵀ.
#[derive(Debug, Clone)]
pub struct Schur {
    /// Orthogonal, n × n.
    pub q: Mat<f64>,
    /// Quasi-triangular, n × n. Entries below the blocks are exactly 0.
    pub t: Mat<f64>,
}

/// Decompose a square matrix. Errors: entries that are not finite, no convergence.
pub fn schur(a: MatRef<f64>) -> Result<Schur> {
    let n = a.nrows();
    let failed = || Error::NoConvergence {
        what: "Schur decomposition".into(),
        detail: format!("{n} × {n} matrix; is every entry finite?"),
    };
    if !(0..n).all(|j| a.col(j).iter().all(|x| x.is_finite())) {
        return Err(failed());
    }
    let mut s = Schur { q: Mat::identity(n, n), t: a.to_owned() };
    for k in 0..n.saturating_sub(2) {
        let x: Vec<f64> = (k + 1..n).map(|i| s.t[(i, k)]).collect();
        s.reflect(&reflector(&x), k + 1);
        (k + 2..n).for_each(|i| s.t[(i, k)] = 0.0);
    }
    let norm = s.t.norm_l2();
    let mut end = n;
    let mut tries = 0;
    while end > 1 {
        let begin = s.deflate(end, norm);
        if begin + 1 == end {
            end -= 1;
            tries = 0;
        } else if begin + 2 == end {
            s.split(begin);
            end -= 2;
            tries = 0;
        } else if tries == PATIENCE {
            return Err(failed());
        } else {
            tries += 1;
            s.francis(begin, end, tries);
        }
    }
    Ok(s)
}

/// v with (I − v vᵀ) x = ±‖x‖ e₁ and ‖v‖² = 2; zeros where x is along e₁ already.
fn reflector(x: &[f64]) -> Vec<f64> {
    let size = x.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let mut v: Vec<f64> = x.iter().map(|x| if size > 0.0 { x / size } else { 0.0 }).collect();
    if v.iter().skip(1).all(|v| *v == 0.0) {
        return vec![0.0; x.len()];
    }
    let length = v.iter().map(|v| v * v).sum::<f64>().sqrt();
    v[0] += if v[0] < 0.0 { -length } else { length };
    let scale = (2.0 / v.iter().map(|v| v * v).sum::<f64>()).sqrt();
    v.iter_mut().for_each(|v| *v *= scale);
    v
}

impl Schur {
    /// T ← H T H, Q ← Q H for the reflector H = I − v vᵀ on the rows from `at` on.
    fn reflect(&mut self, v: &[f64], at: usize) {
        let n = self.t.ncols();
        for j in 0..n {
            let dot: f64 = v.iter().enumerate().map(|(i, v)| v * self.t[(at + i, j)]).sum();
            v.iter().enumerate().for_each(|(i, v)| self.t[(at + i, j)] -= v * dot);
        }
        for m in [&mut self.t, &mut self.q] {
            for i in 0..n {
                let dot: f64 = v.iter().enumerate().map(|(j, v)| v * m[(i, at + j)]).sum();
                v.iter().enumerate().for_each(|(j, v)| m[(i, at + j)] -= v * dot);
            }
        }
    }

    /// Where the unreduced block that ends before `end` begins; sets what it passes over to 0.
    fn deflate(&mut self, end: usize, norm: f64) -> usize {
        for i in (1..end).rev() {
            let around = self.t[(i - 1, i - 1)].abs() + self.t[(i, i)].abs();
            let scale = if around > 0.0 { around } else { norm };
            if self.t[(i, i - 1)].abs() <= f64::EPSILON * scale {
                self.t[(i, i - 1)] = 0.0;
                return i;
            }
        }
        0
    }

    /// One implicit double shift on the block `begin..end` of at least 3 rows.
    fn francis(&mut self, begin: usize, end: usize, tries: usize) {
        let h = &self.t;
        let (m, e) = (end - 2, end - 1);
        let (mut trace, mut determinant) =
            (h[(m, m)] + h[(e, e)], h[(m, m)] * h[(e, e)] - h[(m, e)] * h[(e, m)]);
        if tries.is_multiple_of(10) {
            let size = h[(e, m)].abs() + h[(m, m - 1)].abs();
            (trace, determinant) = (1.5 * size, size * size);
        }
        let b = begin;
        let mut x = vec![
            h[(b, b)] * (h[(b, b)] - trace) + determinant + h[(b, b + 1)] * h[(b + 1, b)],
            h[(b + 1, b)] * (h[(b, b)] + h[(b + 1, b + 1)] - trace),
            h[(b + 1, b)] * h[(b + 2, b + 1)],
        ];
        for k in begin..end - 1 {
            self.reflect(&reflector(&x), k);
            if k > begin {
                (k + 1..(k + 3).min(end)).for_each(|i| self.t[(i, k - 1)] = 0.0);
            }
            x = (k + 1..(k + 4).min(end)).map(|i| self.t[(i, k)]).collect();
        }
    }

    /// Rotate the 2 × 2 block at `at` into a triangle where its eigenvalues are real.
    fn split(&mut self, at: usize) {
        let (a, b) = (self.t[(at, at)], self.t[(at, at + 1)]);
        let (c, d) = (self.t[(at + 1, at)], self.t[(at + 1, at + 1)]);
        if c == 0.0 {
            return;
        }
        let half = 0.5 * (a - d);
        let discriminant = half * half + b * c;
        if discriminant < 0.0 {
            return;
        }
        // The eigenvalue farther from d gives the eigenvector without cancellation: (λ − d, c).
        let along = half + discriminant.sqrt().copysign(if half < 0.0 { -1.0 } else { 1.0 });
        self.reflect(&reflector(&[along, c]), at);
        self.t[(at + 1, at)] = 0.0;
    }

    /// Where blocks begin, with their sizes (1 or 2).
    pub fn blocks(&self) -> Vec<(usize, usize)> {
        let n = self.t.nrows();
        let mut blocks = Vec::new();
        let mut at = 0;
        while at < n {
            let size = if at + 1 < n && self.t[(at + 1, at)] != 0.0 { 2 } else { 1 };
            blocks.push((at, size));
            at += size;
        }
        blocks
    }

    /// Eigenvalues in the order of T's diagonal; of a pair, the one with Im > 0 first.
    pub fn eigenvalues(&self) -> Vec<c64> {
        let mut values = Vec::with_capacity(self.t.nrows());
        for (at, size) in self.blocks() {
            if size == 1 {
                values.push(c64::new(self.t[(at, at)], 0.0));
                continue;
            }
            let (a, d) = (self.t[(at, at)], self.t[(at + 1, at + 1)]);
            let half = 0.5 * (a - d);
            let under = half * half + self.t[(at, at + 1)] * self.t[(at + 1, at)];
            let (re, im) = (0.5 * (a + d), (-under).max(0.0).sqrt());
            values.extend([c64::new(re, im), c64::new(re, -im)]);
        }
        values
    }

    /// Bring the blocks that `wanted` names (by place in [`Schur::blocks`]) to the top, in their order.
    ///
    /// Returns how many columns of Q they take. Errors: two blocks so close that they cannot be exchanged
    /// (they belong to one cluster); Q and T are then a Schur form still, in some order.
    pub fn bring_up(&mut self, wanted: &[bool]) -> Result<usize> {
        let sizes: Vec<usize> = self.blocks().iter().map(|(_, size)| *size).collect();
        if sizes.len() != wanted.len() {
            return Err(Error::Shape {
                what: "wanted blocks".into(),
                expected: format!("{} (one per block)", sizes.len()),
                found: wanted.len().to_string(),
                hint: "name blocks of this decomposition".into(),
            });
        }
        // The blocks as they stand: size and whether wanted.
        let mut line: Vec<(usize, bool)> = sizes.into_iter().zip(wanted.iter().copied()).collect();
        let mut top = 0;
        for place in 0..line.len() {
            if !line[place].1 {
                continue;
            }
            for lower in (top + 1..=place).rev() {
                let at: usize = line[..lower - 1].iter().map(|(size, _)| size).sum();
                self.exchange(at, line[lower - 1].0, line[lower].0)?;
                line.swap(lower - 1, lower);
            }
            top += 1;
        }
        Ok(line[..top].iter().map(|(size, _)| size).sum())
    }

    /// Exchange the block of `upper` rows at `at` with the block of `lower` rows below it.
    ///
    /// With T₁₁X − XT₂₂ = T₁₂ the columns of (−X; I) span the subspace of T₂₂; their QR factor puts it first.
    fn exchange(&mut self, at: usize, upper: usize, lower: usize) -> Result<()> {
        let before = self.clone();
        let size = upper + lower;
        let system = Mat::from_fn(upper * lower, upper * lower, |row, column| {
            let (i, j) = (row % upper, row / upper);
            let (k, l) = (column % upper, column / upper);
            let left = if j == l { self.t[(at + i, at + k)] } else { 0.0 };
            let right = if i == k { self.t[(at + upper + l, at + upper + j)] } else { 0.0 };
            left - right
        });
        let right =
            Mat::from_fn(upper * lower, 1, |row, _| self.t[(at + row % upper, at + upper + row / upper)]);
        let x = solve(system.as_ref(), right.as_ref());
        let mut basis = Mat::from_fn(size, lower, |i, j| match i.checked_sub(upper) {
            None => -x[(i + j * upper, 0)],
            Some(i) => f64::from(u8::from(i == j)),
        });
        for k in 0..lower {
            let column: Vec<f64> = (k..size).map(|i| basis[(i, k)]).collect();
            let v = reflector(&column);
            for j in k..lower {
                let dot: f64 = v.iter().enumerate().map(|(i, v)| v * basis[(k + i, j)]).sum();
                v.iter().enumerate().for_each(|(i, v)| basis[(k + i, j)] -= v * dot);
            }
            self.reflect(&v, at + k);
        }
        let mut left_over: f64 = 0.0;
        for i in at + lower..at + size {
            for j in at..at + lower {
                left_over = left_over.max(self.t[(i, j)].abs());
                self.t[(i, j)] = 0.0;
            }
        }
        let norm = before.t.norm_max();
        if !(left_over <= EXCHANGE * f64::EPSILON * norm) {
            *self = before;
            return Err(Error::NoConvergence {
                what: "exchange of Schur blocks".into(),
                detail: "their eigenvalues are equal to rounding; they belong to one cluster".into(),
            });
        }
        // A pair may have become real by rounding.
        for (place, rows) in [(at, lower), (at + lower, upper)] {
            if rows == 2 {
                self.split(place);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{eig, product};
    use crate::stats::rng::Stream;

    fn noise(n: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(9, "schur tests", index);
        Mat::from_fn(n, n, |_, _| stream.normal())
    }

    /// ‖AQ − QT‖, ‖QᵀQ − I‖ and the shape of T.
    fn holds(a: &Mat<f64>, s: &Schur) {
        let n = a.nrows();
        let size = a.norm_l2().max(f64::MIN_POSITIVE);
        let moved = product(a.as_ref(), s.q.as_ref()) - product(s.q.as_ref(), s.t.as_ref());
        assert!(moved.norm_l2() <= 1e-14 * n as f64 * size, "{:e}", moved.norm_l2() / size);
        let identity = product(s.q.transpose(), s.q.as_ref()) - Mat::<f64>::identity(n, n);
        assert!(identity.norm_l2() <= 1e-14 * n as f64);
        for j in 0..n {
            for i in j + 1..n {
                assert!(s.t[(i, j)] == 0.0 || i == j + 1, "({i}, {j})");
            }
        }
        for (at, rows) in s.blocks() {
            if rows == 2 {
                let half = 0.5 * (s.t[(at, at)] - s.t[(at + 1, at + 1)]);
                assert!(half * half + s.t[(at, at + 1)] * s.t[(at + 1, at)] < 0.0, "a real 2 × 2 block");
                assert!(at + 2 >= n || s.t[(at + 2, at + 1)] == 0.0, "blocks touch");
            }
        }
    }

    fn sorted(mut values: Vec<c64>) -> Vec<c64> {
        values.sort_by(|a, b| a.re.total_cmp(&b.re).then(a.im.total_cmp(&b.im)));
        values
    }

    #[test]
    fn the_form_multiplies_back_and_has_the_eigenvalues() {
        for n in [0, 1, 2, 3, 5, 8, 13, 40, 64] {
            for index in 0..4 {
                let a = noise(n, 100 * n as u64 + index);
                let s = schur(a.as_ref()).unwrap();
                holds(&a, &s);
                let known = sorted(eig(a.as_ref()).unwrap().values);
                for (x, y) in sorted(s.eigenvalues()).iter().zip(&known) {
                    assert!((*x - *y).norm() < 1e-11 * (n as f64), "{x} {y}");
                }
            }
        }
        // Zero, triangular, a rotation, a cyclic shift (eigenvalues on the circle, no shift helps at first).
        for a in [
            Mat::zeros(4, 4),
            Mat::from_fn(5, 5, |i, j| if i <= j { (i + 2 * j) as f64 } else { 0.0 }),
            Mat::from_fn(2, 2, |i, j| [[0.0, -1.0], [1.0, 0.0]][i][j]),
            Mat::from_fn(6, 6, |i, j| f64::from(u8::from(i == (j + 1) % 6))),
        ] {
            holds(&a, &schur(a.as_ref()).unwrap());
        }
        let mut bad = noise(3, 1);
        bad[(1, 2)] = f64::NAN;
        assert!(schur(bad.as_ref()).is_err());
    }

    #[test]
    fn a_wanted_cluster_comes_up_and_its_columns_are_invariant() {
        for n in [2, 4, 7, 12, 30] {
            for index in 0..6 {
                let a = noise(n, 1000 * n as u64 + index);
                let mut s = schur(a.as_ref()).unwrap();
                let values = s.eigenvalues();
                let wanted: Vec<bool> = s.blocks().iter().map(|(at, _)| values[*at].re > 0.0).collect();
                let m = s.bring_up(&wanted).unwrap();
                holds(&a, &s);
                let after = s.eigenvalues();
                assert!(after[..m].iter().all(|z| z.re > 0.0) && after[m..].iter().all(|z| z.re <= 0.0));
                for (x, y) in sorted(after).iter().zip(&sorted(values)) {
                    assert!((*x - *y).norm() < 1e-10, "{x} {y}");
                }
                let basis = s.q.get(.., ..m);
                let moved = product(a.as_ref(), basis) - product(basis, s.t.get(..m, ..m));
                assert!(moved.norm_l2() < 1e-13 * n as f64 * a.norm_l2());
            }
        }
    }

    #[test]
    fn a_jordan_block_keeps_its_subspace() {
        // J₃(0.9) ⊕ 0.2 ⊕ (0.5 ± 0.3i), hidden by a change of basis: no eigenvector basis exists.
        let mut jordan = Mat::<f64>::zeros(6, 6);
        for i in 0..3 {
            jordan[(i, i)] = 0.9;
            if i < 2 {
                jordan[(i, i + 1)] = 1.0;
            }
        }
        jordan[(3, 3)] = 0.2;
        (jordan[(4, 4)], jordan[(5, 5)]) = (0.5, 0.5);
        (jordan[(4, 5)], jordan[(5, 4)]) = (0.3, -0.3);
        let basis = noise(6, 77);
        let inverse = crate::linalg::pseudo_inverse(basis.as_ref(), 1e-14).unwrap();
        let a = product(product(basis.as_ref(), jordan.as_ref()).as_ref(), inverse.as_ref());
        let mut s = schur(a.as_ref()).unwrap();
        let values = s.eigenvalues();
        let wanted: Vec<bool> = s.blocks().iter().map(|(at, _)| (values[*at] - 0.9).norm() < 0.05).collect();
        let m = s.bring_up(&wanted).unwrap();
        assert_eq!(m, 3);
        holds(&a, &s);
        // The mean of the cluster is sharp where its members are not, and the span is that of the planted one.
        let mean = (0..3).map(|i| s.t[(i, i)]).sum::<f64>() / 3.0;
        assert!((mean - 0.9).abs() < 1e-11, "{mean}");
        let planted = crate::linalg::thin_qr(basis.get(.., ..3)).0;
        let outside = s.q.get(.., ..3).to_owned()
            - product(planted.as_ref(), product(planted.transpose(), s.q.get(.., ..3)).as_ref());
        assert!(outside.norm_l2() < 1e-11, "{:e}", outside.norm_l2());
        assert!(s.bring_up(&[true]).is_err());
    }
}
