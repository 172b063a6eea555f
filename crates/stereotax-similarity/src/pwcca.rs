//! Projection-weighted CCA: canonical correlations weighted by how much of a representation they speak for.
//!
//! With h_k the canonical variates of X (unit vectors over stimuli) and x_j its centred units,
//! α_k = Σ_j |⟨h_k, x_j⟩| and
//!
//! ```text
//! PWCCA_x = Σ_k α_k ρ_k / Σ_k α_k
//! ```
//!
//! and PWCCA_y likewise with the variates and units of Y: the two differ, and both are returned. The weights depend on
//! the basis of the units, so that rotating X changes PWCCA_x.
//!
//! Source: Morcos et al. 2018; specs: encoding-manifolds 6.3. Differs from the public reference script, which leaves the
//! whitening out of the variates and takes the first data set in both branches: we follow the paper. Undefined (NaN): a
//! constant side. Cost: O(n r p) beyond the directions of CCA.

use super::factor_pair::FactorPair;
use super::representation::Representation;
use stereotax_base::data::Result;
use stereotax_base::linalg::{cross, product};

/// Both directions, each in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pwcca {
    /// Weighted by what the variates of the first side project on its units.
    pub of_x: f64,
    /// Likewise of the second.
    pub of_y: f64,
}

/// Weight the correlations of a pair by both sides.
pub fn pwcca(x: &Representation<'_>, y: &Representation<'_>, pair: &FactorPair<'_>) -> Result<Pwcca> {
    Ok(Pwcca { of_x: weighted_by(x, pair, true)?, of_y: weighted_by(y, pair, false)? })
}

/// One direction: weighted by the first side of the pair, or by the second.
pub fn weighted_by(side: &Representation<'_>, pair: &FactorPair<'_>, first: bool) -> Result<f64> {
    if pair.is_undefined() {
        return Ok(f64::NAN);
    }
    let found = pair.directions()?;
    let (left, turned) = if first { (&pair.x.left, &found.u) } else { (&pair.y.left, &found.v) };
    let variates = product(left.as_ref(), turned.as_ref()); // (n, min(r_x, r_y))
    let projected = cross(side.centred().as_ref(), variates.as_ref()); // (p, min(r_x, r_y))
    let (mut sum, mut total) = (0.0, 0.0);
    for (k, rho) in found.s.iter().enumerate() {
        let alpha: f64 = projected.col_as_slice(k).iter().map(|v| v.abs()).sum();
        sum += alpha * rho.min(1.0);
        total += alpha;
    }
    Ok((sum / total).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Mat;
    use stereotax_base::linalg::{eigh, solve};
    use stereotax_base::stats::rng::Stream;

    fn noise(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(8, "pwcca tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    fn of(x: &Mat<f64>, y: &Mat<f64>) -> Pwcca {
        let [a, b] = [x, y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        pwcca(&a, &b, &FactorPair::new(a.factors().unwrap(), b.factors().unwrap())).unwrap()
    }

    #[test]
    fn weights_are_those_of_the_paper() {
        // Twin by covariances: variates X Σxx^{-1/2} a with a the eigenvectors of
        // Σxx^{-1/2} Σxy Σyy⁻¹ Σyx Σxx^{-1/2}.
        let shared = noise(50, 2, 0);
        let (x, y) = (noise(50, 3, 1), noise(50, 4, 2));
        let x = Mat::from_fn(50, 3, |i, j| x[(i, j)] + 3.0 * shared[(i, j % 2)]);
        let y = Mat::from_fn(50, 4, |i, j| y[(i, j)] + shared[(i, j % 2)]);
        let slow = |x: &Mat<f64>, y: &Mat<f64>| {
            let centred = |x: &Mat<f64>| Representation::new("x", x.as_ref()).unwrap().centred();
            let (x, y) = (centred(x), centred(y));
            let e = eigh((x.transpose() * &x).as_ref()).unwrap();
            let root = Mat::from_fn(x.ncols(), x.ncols(), |i, j| e.vectors[(i, j)] / e.values[j].sqrt());
            let whiten = &root * e.vectors.transpose();
            let (yy, yx) = (y.transpose() * &y, y.transpose() * &x);
            let inner = &whiten * yx.transpose() * solve(yy.as_ref(), yx.as_ref()) * &whiten;
            let e = eigh(inner.as_ref()).unwrap();
            let variates = &x * &whiten * &e.vectors;
            let (mut sum, mut total) = (0.0, 0.0);
            for k in 0..x.ncols() {
                let h = variates.col(k);
                let length: f64 = h.iter().map(|v| v * v).sum::<f64>().sqrt();
                let alpha: f64 = (0..x.ncols())
                    .map(|j| (h.iter().zip(x.col(j).iter()).map(|(h, x)| h * x).sum::<f64>() / length).abs())
                    .sum();
                sum += alpha * e.values[k].max(0.0).sqrt();
                total += alpha;
            }
            sum / total
        };
        let found = of(&x, &y);
        assert!((found.of_x - slow(&x, &y)).abs() < 1e-10, "{found:?}");
        // Four units of y, three correlations: the first three variates of y are what the twin's leading three are.
        let swapped = of(&y, &x);
        assert!((swapped.of_y - found.of_x).abs() < 1e-12 && (swapped.of_x - found.of_y).abs() < 1e-12);
        assert!((found.of_x - found.of_y).abs() > 1e-3, "the directions differ");
    }

    #[test]
    fn large_directions_count_more() {
        // Direction 0 is shared and large in x, small in y: PWCCA of x is near 1, of y near 0.
        let (shared, a, b) = (noise(200, 1, 3), noise(200, 1, 4), noise(200, 1, 5));
        let x = Mat::from_fn(200, 2, |i, j| if j == 0 { 50.0 * shared[(i, 0)] } else { a[(i, 0)] });
        let y = Mat::from_fn(200, 2, |i, j| if j == 0 { shared[(i, 0)] } else { 50.0 * b[(i, 0)] });
        let found = of(&x, &y);
        assert!(found.of_x > 0.95 && found.of_y < 0.2, "{found:?}");
        let same = of(&x, &x);
        assert!((same.of_x - 1.0).abs() < 1e-12 && (same.of_y - 1.0).abs() < 1e-12);
        assert!(of(&x, &Mat::full(200, 2, 1.0)).of_x.is_nan());
    }
}
