//! Fit the closest depth operator of a restricted kind: orthogonal, or symmetric.
//!
//! In the coordinates Xp = Uᵀ X = S Vᵀ, Yp = Uᵀ Y (r × p):
//!
//! ```text
//! orthogonal: Yp Xpᵀ = A D Bᵀ,              Ã = A Bᵀ          (all |λ| = 1)
//! symmetric:  C = Yp V,   Ã_ij = (σ_j C_ij + σ_i C_ji) / (σ_i² + σ_j²)     (all λ real)
//! ```
//!
//! Source: Baddoo et al. 2023 (physics-informed DMD); Higham 1988 (symmetric Procrustes); specs:
//! nfas-dmd 5.7. With an orthogonal operator only the angle of an eigenvalue is informative. Residuals
//! are taken against the data, so they show how much the restriction costs. Cost: O(L³).

use faer::{Mat, c64};

use super::modes::RawModes;
use super::operator::{Pairs, Pod, eigenpairs, ritz_modes};
use super::reduce::Reduced;
use super::spectrum::ModeForm;
use stereotax_base::data::Result;
use stereotax_base::linalg::{eigh, orthogonal_factor, product};

pub(super) fn unitary_dmd(reduced: &Reduced, pairs: &Pairs, rank: usize) -> Result<RawModes> {
    let pod = Pod::leading(&Pod::full(pairs.x.as_ref())?, rank);
    let xp = product(pod.u.transpose(), pairs.x.as_ref());
    let yp = product(pod.u.transpose(), pairs.y.as_ref());
    let operator = orthogonal_factor(product(yp.as_ref(), xp.transpose()).as_ref())?;
    let mut found = eigenpairs(operator.as_ref())?;
    for value in &mut found.values {
        *value /= value.norm();
    }
    Ok(ritz_modes(reduced.n_layers(), pairs, &pod, found, ModeForm::Projected, 0.0))
}

pub(super) fn symmetric_dmd(reduced: &Reduced, pairs: &Pairs, rank: usize) -> Result<RawModes> {
    let pod = Pod::leading(&Pod::full(pairs.x.as_ref())?, rank);
    let yp = product(pod.u.transpose(), pairs.y.as_ref());
    let c = product(yp.as_ref(), pod.v.as_ref());
    let s = &pod.s;
    let operator = Mat::from_fn(s.len(), s.len(), |i, j| {
        (s[j] * c[(i, j)] + s[i] * c[(j, i)]) / (s[i] * s[i] + s[j] * s[j])
    });
    let decomposed = eigh(operator.as_ref())?;
    let found = super::operator::Eigenpairs {
        values: decomposed.values.iter().map(|&x| c64::new(x, 0.0)).collect(),
        vectors: Mat::from_fn(s.len(), s.len(), |i, j| c64::new(decomposed.vectors[(i, j)], 0.0)),
        clusters: vec![],
        warnings: vec![],
    };
    Ok(ritz_modes(reduced.n_layers(), pairs, &pod, found, ModeForm::Projected, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(3, "restricted tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    #[test]
    fn no_symmetric_operator_fits_better() {
        // Slow twin: perturb every symmetric entry of the solution, the misfit must grow.
        let (x, y) = (noise(3, 8, 0), noise(3, 8, 1));
        let pod = Pod::leading(&Pod::full(x.as_ref()).unwrap(), 3);
        let c = product(product(pod.u.transpose(), y.as_ref()).as_ref(), pod.v.as_ref());
        let s = &pod.s;
        let a =
            Mat::from_fn(3, 3, |i, j| (s[j] * c[(i, j)] + s[i] * c[(j, i)]) / (s[i] * s[i] + s[j] * s[j]));
        let misfit = |a: &Mat<f64>| {
            let full = product(product(pod.u.as_ref(), a.as_ref()).as_ref(), pod.u.transpose());
            (product(full.as_ref(), x.as_ref()) - &y).norm_l2()
        };
        let least = misfit(&a);
        for i in 0..3 {
            for j in 0..=i {
                for step in [1e-3, -1e-3] {
                    let mut other = a.clone();
                    other[(i, j)] += step;
                    if i != j {
                        other[(j, i)] += step;
                    }
                    assert!(misfit(&other) > least);
                }
            }
        }
    }
}
