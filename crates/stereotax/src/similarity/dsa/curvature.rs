//! How strongly ⟨A, C B Cᵀ⟩ bends along each direction, near where both agree: what a climb divides its slopes by.
//!
//! With A in real Schur form and M = C B Cᵀ ≈ A, the second derivative along exp(tΩ) C is −‖AΩ − ΩA‖². For normal
//! A it is diagonal in blocks: between blocks with eigenvalues λ and μ it is |λ − μ|² on the part of Ω that turns both
//! planes alike and |λ − μ̄|² on the part that turns them against each other; real eigenvalues have one of both.
//! A floor keeps directions without curvature (rotations within a plane, equal eigenvalues) within reach.
//! For operators that are not normal this is an approximation, which costs steps and not correctness.

use faer::{MatRef, c64};

use crate::linalg::Schur;

/// Share of the mean curvature below which no direction falls.
const FLOOR: f64 = 3e-3;

/// Inverse curvatures for slopes packed by the lower triangle, column after column.
#[derive(Debug, Clone)]
pub(super) struct Curvature {
    /// Of each entry that stands for itself; unused for entries of planes.
    single: Vec<f64>,
    planes: Vec<Planes>,
}

/// Two planes: places of Ω's entries (0,0), (1,0), (0,1), (1,1) between them.
#[derive(Debug, Clone)]
struct Planes {
    at: [usize; 4],
    alike: f64,
    against: f64,
}

impl Curvature {
    pub fn new(schur: &Schur) -> Self {
        let n = schur.t.nrows();
        let blocks = schur.blocks();
        let values: Vec<c64> = blocks
            .iter()
            .map(|&(at, size)| {
                let t: MatRef<'_, f64> = schur.t.as_ref();
                if size == 1 {
                    return c64::new(t[(at, at)], 0.0);
                }
                // The rotation nearest to the block, with its sense.
                let re = 0.5 * (t[(at, at)] + t[(at + 1, at + 1)]);
                c64::new(re, 0.5 * (t[(at + 1, at)] - t[(at, at + 1)]))
            })
            .collect();
        let place = |i: usize, j: usize| j * n - j * (j + 1) / 2 + (i - j - 1);
        let mut single = vec![0.0; n * n.saturating_sub(1) / 2];
        let mut planes = Vec::new();
        let (mut sum, mut count) = (0.0, 0.0);
        for (q, &(j, width)) in blocks.iter().enumerate() {
            for (p, &(i, height)) in blocks.iter().enumerate().skip(q + 1) {
                let alike = (values[p] - values[q]).norm_sqr();
                let against = (values[p] - values[q].conj()).norm_sqr();
                sum += (alike + against) * (width * height) as f64;
                count += 2.0 * (width * height) as f64;
                if width == 2 && height == 2 {
                    let at = [place(i, j), place(i + 1, j), place(i, j + 1), place(i + 1, j + 1)];
                    planes.push(Planes { at, alike, against });
                } else {
                    for di in 0..height {
                        for dj in 0..width {
                            single[place(i + di, j + dj)] = alike;
                        }
                    }
                }
            }
        }
        let mean = if count > 0.0 { sum / count } else { 0.0 };
        let inverse = |k: f64| if mean > 0.0 { mean / (k + FLOOR * mean) } else { 1.0 };
        single.iter_mut().for_each(|k| *k = inverse(*k));
        for plane in &mut planes {
            (plane.alike, plane.against) = (inverse(plane.alike), inverse(plane.against));
        }
        // Within a plane nothing bends; a step there is that of the mean.
        for &(at, size) in &blocks {
            if size == 2 {
                single[place(at + 1, at)] = 1.0;
            }
        }
        Curvature { single, planes }
    }

    /// Divide packed slopes by the curvature.
    pub fn divide(&self, slopes: &mut [f64]) {
        let before: Vec<[f64; 4]> = self.planes.iter().map(|p| p.at.map(|k| slopes[k])).collect();
        slopes.iter_mut().zip(&self.single).for_each(|(x, k)| *x *= k);
        for (plane, [a, b, c, d]) in self.planes.iter().zip(before) {
            // [a c; b d] = alike (a + d, b − c) / 2 and against (a − d, b + c) / 2.
            let (z, y) = (0.5 * plane.alike * (a + d), 0.5 * plane.alike * (b - c));
            let (w, x) = (0.5 * plane.against * (a - d), 0.5 * plane.against * (b + c));
            let new = [z + w, y + x, x - y, z - w];
            plane.at.iter().zip(new).for_each(|(&k, value)| slopes[k] = value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{product, schur};
    use crate::similarity::dsa::starts::haar;
    use faer::Mat;

    #[test]
    fn curvatures_of_a_normal_operator_are_those_of_its_commutator() {
        // Two planes and two real eigenvalues, in other coordinates.
        let blocks = Mat::from_fn(6, 6, |i, j| match (i, j) {
            (0, 0) | (1, 1) => 0.9,
            (1, 0) => 0.3,
            (0, 1) => -0.3,
            (2, 2) | (3, 3) => 0.2,
            (3, 2) => -0.7,
            (2, 3) => 0.7,
            (4, 4) => 0.5,
            (5, 5) => -0.4,
            _ => 0.0,
        });
        let q = haar(6, true, 0, 0);
        let a = product(product(q.as_ref(), blocks.as_ref()).as_ref(), q.transpose());
        let form = schur(a.as_ref()).unwrap();
        let curvature = Curvature::new(&form);
        let t = &form.t;
        // K Ω = Tᵀ[T, Ω] − [T, Ω]Tᵀ on skew Ω; divide(K e) is e times the mean curvature, up to the floor.
        let n = 6;
        let packed = |m: &Mat<f64>| -> Vec<f64> {
            (0..n).flat_map(|j| (j + 1..n).map(move |i| (i, j))).map(|at| m[at]).collect()
        };
        let mut ratios = Vec::new();
        for j in 0..n {
            for i in j + 1..n {
                let mut omega = Mat::<f64>::zeros(n, n);
                (omega[(i, j)], omega[(j, i)]) = (1.0, -1.0);
                let commutator = t * &omega - &omega * t;
                let bent = t.transpose() * &commutator - &commutator * t.transpose();
                if bent.norm_max() < 1e-9 {
                    continue;
                }
                let mut found = packed(&bent);
                curvature.divide(&mut found);
                let wanted = packed(&omega);
                let along: f64 = found.iter().zip(&wanted).map(|(x, y)| x * y).sum();
                let rest: f64 = found.iter().map(|x| x * x).sum::<f64>() - along * along;
                assert!(rest < 0.01 * along * along, "{i} {j}: {rest} {along}");
                ratios.push(along);
            }
        }
        let (low, high) = ratios.iter().fold((f64::MAX, 0.0f64), |(l, h), r| (l.min(*r), h.max(*r)));
        assert!(ratios.len() > 8 && high / low < 1.1, "{ratios:?}");
    }
}
