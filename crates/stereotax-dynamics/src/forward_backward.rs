//! Average the forward fit and the inverse of the backward fit, on one common basis.
//!
//! ```text
//! Xp = Uᵀ X,  Yp = Uᵀ Y (r × p, U the leading directions of X)
//! A_f = Yp Xp⁺,   A_b = Xp Yp⁺,   M = A_f A_b⁻¹,   λ_k = ±√μ_k
//! ```
//!
//! A square root has 2ʳ branches. Each μ_k takes the root nearest to its forward eigenvalue, matched
//! one to one by the overlap of eigenvectors; the principal root would turn −0.95 into +0.95 and so
//! invent a stable mode. Where M's eigenvectors do not match the forward ones (λ and −λ have the same
//! square, so that any mixture of their modes is an eigenvector of M), the forward eigenvectors w_k are
//! kept, with μ_k = (W⁻¹ M W)_kk. Where M tells nothing (A_b ill-conditioned, μ near 0 or negative
//! without a partner), the forward fit stands and a warning says so.
//!
//! Source: Dawson et al. 2016; specs: nfas-dmd 5.5. Differs from: PyDMD's `FbDMD`, which multiplies
//! operators that live in different bases and takes the principal root. Cost: O(L³).

use faer::{Mat, MatRef, c64};

use super::modes::RawModes;
use super::operator::{Eigenpairs, Pairs, Pod, eigenpairs, ritz_modes};
use super::reduce::Reduced;
use super::spectrum::ModeForm;
use stereotax_base::data::Result;
use stereotax_base::linalg::{assignment, product, pseudo_inverse, svd};

/// Above this condition number of A_b its inverse is noise.
const ILL_CONDITIONED: f64 = 1e8;
/// Below this |μ| a root has no sign worth choosing.
const NO_ROOT: f64 = 1e-12;
/// Least |cos| between an eigenvector of M and its forward partner.
const MATCHED: f64 = 0.9;

pub(super) fn forward_backward_dmd(reduced: &Reduced, pairs: &Pairs, rank: usize) -> Result<RawModes> {
    let pod = Pod::leading(&Pod::full(pairs.x.as_ref())?, rank);
    let found = match averaged(pairs, &pod)? {
        Ok(found) => found,
        Err((mut forward, why)) => {
            forward.warnings.push(format!("forward–backward fell back to the forward fit: {why}"));
            forward
        }
    };
    Ok(ritz_modes(reduced.n_layers(), pairs, &pod, found, ModeForm::Projected, 0.0))
}

/// The averaged eigenpairs, or the forward ones and why they must do.
fn averaged(pairs: &Pairs, pod: &Pod) -> Result<Result<Eigenpairs, (Eigenpairs, String)>> {
    let forward_operator = pod.operator(pairs.y.as_ref(), 0.0);
    let forward = eigenpairs(forward_operator.as_ref())?;
    let xp = product(pod.u.transpose(), pairs.x.as_ref());
    let yp = product(pod.u.transpose(), pairs.y.as_ref());
    let backward_operator = product(xp.as_ref(), pseudo_inverse(yp.as_ref(), 1e-14)?.as_ref());
    let s = svd(backward_operator.as_ref())?.s;
    let (first, last) = (s[0], s[s.len() - 1]);
    if !(last > 0.0 && first <= ILL_CONDITIONED * last) {
        return Ok(Err((
            forward,
            format!("the backward operator has condition number {:.1e}", first / last),
        )));
    }
    let inverse = pseudo_inverse(backward_operator.as_ref(), 0.0)?;
    let squared = product(forward_operator.as_ref(), inverse.as_ref());
    let squares = eigenpairs(squared.as_ref())?;
    let overlap = overlaps(squares.vectors.as_ref(), forward.vectors.as_ref());
    let cost = Mat::from_fn(overlap.nrows(), overlap.ncols(), |i, j| 1.0 - overlap[(i, j)]);
    let partner = assignment(cost.as_ref());
    let matched = (0..partner.len()).all(|k| overlap[(k, partner[k])] >= MATCHED);
    let (found, targets) = if matched {
        let targets: Vec<c64> = partner.iter().map(|&j| forward.values[j]).collect();
        (squares, targets)
    } else {
        let mut found = forward.clone();
        found.values = forward_squares(squared.as_ref(), forward.vectors.as_ref());
        let said = "forward–backward kept the forward eigenvectors: those of the averaged operator mix modes";
        found.warnings.push(said.to_owned());
        (found, forward.values.clone())
    };
    if let Some(bad) = found.values.iter().find(|mu| mu.norm() < NO_ROOT || (mu.im == 0.0 && mu.re < 0.0)) {
        return Ok(Err((forward, format!("a squared eigenvalue is {bad:.3}, which has no usable root"))));
    }
    let values = roots(&found.values, &targets);
    // Roots belong to eigenvectors; a defective square keeps them, with its warning.
    Ok(Ok(Eigenpairs { values, clusters: vec![], ..found }))
}

/// |cos| between the columns of A and B.
fn overlaps(a: MatRef<c64>, b: MatRef<c64>) -> Mat<f64> {
    let norm = |m: MatRef<c64>, k: usize| (0..m.nrows()).map(|i| m[(i, k)].norm_sqr()).sum::<f64>().sqrt();
    Mat::from_fn(a.ncols(), b.ncols(), |j, k| {
        let dot: c64 = (0..a.nrows()).map(|i| a[(i, j)].conj() * b[(i, k)]).sum();
        dot.norm() / (norm(a, j) * norm(b, k))
    })
}

/// diag(W⁻¹ M W).
fn forward_squares(m: MatRef<f64>, w: MatRef<c64>) -> Vec<c64> {
    let n = w.ncols();
    let image = Mat::from_fn(n, n, |i, k| (0..n).map(|j| w[(j, k)] * m[(i, j)]).sum::<c64>());
    let solved = {
        use faer::linalg::solvers::Solve;
        w.partial_piv_lu().solve(image.as_ref())
    };
    // A real mode has a real square; rounding must not take it off the axis.
    (0..n)
        .map(|k| {
            let mu = solved[(k, k)];
            let real = (0..n).all(|i| w[(i, k)].im == 0.0);
            if real { c64::new(mu.re, 0.0) } else { mu }
        })
        .collect()
}

/// The root of each μ nearest to its target; partners of a pair take conjugate roots.
fn roots(squares: &[c64], targets: &[c64]) -> Vec<c64> {
    let mut values = Vec::with_capacity(squares.len());
    let mut k = 0;
    while k < squares.len() {
        let root = squares[k].sqrt();
        let pair = squares[k].im != 0.0 && k + 1 < squares.len() && squares[k + 1].im == -squares[k].im;
        let miss = |r: c64| {
            let own = (r - targets[k]).norm_sqr();
            if pair { own + (r.conj() - targets[k + 1]).norm_sqr() } else { own }
        };
        let chosen = if miss(root) <= miss(-root) { root } else { -root };
        values.push(chosen);
        if pair {
            values.push(chosen.conj());
        }
        k += 1 + usize::from(pair);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_follows_its_target_and_pairs_stay_conjugate() {
        let c = c64::new;
        let squares = [c(0.9025, 0.0), c(0.0, 0.5), c(0.0, -0.5), c(0.36, 0.0)];
        let targets = [c(-0.9, 0.0), c(-0.5, -0.4), c(-0.5, 0.4), c(0.5, 0.0)];
        let found = roots(&squares, &targets);
        assert!((found[0] - c(-0.95, 0.0)).norm() < 1e-15);
        assert!((found[1] - c(-0.5, -0.5)).norm() < 1e-12);
        assert_eq!(found[2], found[1].conj());
        assert!((found[3] - c(0.6, 0.0)).norm() < 1e-15);
    }
}
