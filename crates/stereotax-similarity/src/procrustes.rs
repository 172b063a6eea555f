//! Shape distances: how far two representations are apart when one may be rotated (and reflected) into the other.
//!
//! ```text
//! cosine      c = ‖X_aᵀ Y_a‖_* / (‖X_a‖ ‖Y_a‖)           normalised Bures similarity for a = 1
//! angular     arccos c                                     a metric, in [0, π/2]
//! Euclidean   √(‖X_a‖² + ‖Y_a‖² − 2 ‖X_aᵀ Y_a‖_*)         a metric; the Bures distance of the Grams for a = 1
//! R²          c²                                           one minus the disparity of SciPy
//! ```
//!
//! with X centred, X_a = X V diag(a + (1 − a)/s) Vᵀ for X = U S Vᵀ: a = 1 is Procrustes, a = 0 compares fully
//! whitened sides as CCA does, and what lies between depends on the unit of measurement. The nuclear norm ‖·‖_* is
//! what the best rotation reaches; the side of fewer dimensions counts as padded with zeros. All of it is computed
//! from factors over stimuli, never from units × units.
//!
//! Angles near 0 are computed as 2 asin of half a chord and distances near 0 from the aligned matrices, so that equal
//! representations are at 0 within rounding.
//!
//! In sample, rotations fit noise: with more units than stimuli the cosine of independent noise is far above 0. Fit
//! rotations on some stimuli and score them on others with `ShapeAlignment`.
//!
//! Source: Williams et al. 2021; Harvey et al. 2024 (normalised Bures similarity); specs: encoding-manifolds 6.5.
//! Undefined (NaN): a constant side. Cost: about 8/3 r³ beyond the factors.

use super::factor_pair::FactorPair;
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::singular_values;

/// Cosines are lifted from arccos to chords above this.
const NEAR_ONE: f64 = 1.0 - 1e-4;

/// c for a = 1, in [0, 1]: the normalised Bures similarity of the two Grams.
pub fn bures_similarity(pair: &FactorPair<'_>) -> Result<f64> {
    if pair.is_undefined() {
        return Ok(f64::NAN);
    }
    Ok((pair.nuclear_norm()? / (pair.x.energy() * pair.y.energy()).sqrt()).min(1.0))
}

/// c² for a = 1, in [0, 1].
pub fn procrustes_r2(pair: &FactorPair<'_>) -> Result<f64> {
    Ok(bures_similarity(pair)?.powi(2))
}

/// Angle for a = 1, in [0, π/2].
pub fn procrustes_angular(pair: &FactorPair<'_>) -> Result<f64> {
    angle(pair, |s| s, bures_similarity(pair)?)
}

/// Euclidean distance for a = 1, in [0, ∞), in the unit of the representations.
pub fn procrustes_euclidean(pair: &FactorPair<'_>) -> Result<f64> {
    let nuclear = pair.nuclear_norm()?;
    euclidean(pair, |s| s, nuclear)
}

/// Angle of partially whitened sides.
///
/// Error: `alpha` outside [0, 1].
pub fn shape_angular(pair: &FactorPair<'_>, alpha: f64) -> Result<f64> {
    check_alpha(alpha)?;
    if pair.is_undefined() {
        return Ok(f64::NAN);
    }
    let weight = |s: f64| alpha * s + (1.0 - alpha);
    let length = |s: &[f64]| s.iter().map(|&s| weight(s).powi(2)).sum::<f64>().sqrt();
    let lengths = length(&pair.x.singular_values) * length(&pair.y.singular_values);
    let cosine = (whitened_nuclear(pair, alpha)? / lengths).min(1.0);
    angle(pair, weight, cosine)
}

/// Euclidean distance of partially whitened sides.
///
/// Error: `alpha` outside [0, 1].
pub fn shape_euclidean(pair: &FactorPair<'_>, alpha: f64) -> Result<f64> {
    check_alpha(alpha)?;
    let nuclear = whitened_nuclear(pair, alpha)?;
    euclidean(pair, |s| alpha * s + (1.0 - alpha), nuclear)
}

pub(super) fn check_alpha(alpha: f64) -> Result<()> {
    if (0.0..=1.0).contains(&alpha) {
        return Ok(());
    }
    Err(Error::Invalid {
        what: "alpha".into(),
        expected: "a number from 0 to 1".into(),
        found: alpha.to_string(),
        hint: "1 is Procrustes, 0 whitens both sides fully".into(),
    })
}

/// ‖X_aᵀ Y_a‖_*; where it is known from canonical correlations or Procrustes it is not computed again.
fn whitened_nuclear(pair: &FactorPair<'_>, alpha: f64) -> Result<f64> {
    if alpha == 1.0 {
        return pair.nuclear_norm();
    }
    if alpha == 0.0 {
        return Ok(pair.correlations()?.iter().sum());
    }
    let weight = |s: f64| alpha * s + (1.0 - alpha);
    Ok(singular_values(pair.weighted(weight, weight).as_ref())?.iter().sum())
}

fn angle(pair: &FactorPair<'_>, weight: impl Fn(f64) -> f64 + Copy, cosine: f64) -> Result<f64> {
    if !(cosine > NEAR_ONE) {
        return Ok(cosine.acos());
    }
    let length = |s: &[f64]| s.iter().map(|&s| weight(s).powi(2)).sum::<f64>().sqrt();
    let chord =
        pair.aligned_difference(weight, length(&pair.x.singular_values), length(&pair.y.singular_values))?;
    Ok(2.0 * (0.5 * chord).min(1.0).asin())
}

fn euclidean(pair: &FactorPair<'_>, weight: impl Fn(f64) -> f64 + Copy, nuclear: f64) -> Result<f64> {
    if pair.is_undefined() {
        return Ok(f64::NAN);
    }
    let energy = |s: &[f64]| s.iter().map(|&s| weight(s).powi(2)).sum::<f64>();
    let lengths = energy(&pair.x.singular_values) + energy(&pair.y.singular_values);
    let squared = lengths - 2.0 * nuclear;
    if squared > 1e-4 * lengths {
        return Ok(squared.sqrt());
    }
    pair.aligned_difference(weight, 1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::representation::Representation;
    use super::*;
    use faer::Mat;
    use stereotax_base::linalg::{cross, eigh, thin_qr};
    use stereotax_base::stats::rng::Stream;

    fn noise(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(9, "procrustes tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    fn of<T>(x: &Mat<f64>, y: &Mat<f64>, work: impl Fn(&FactorPair<'_>) -> Result<T>) -> T {
        let [a, b] = [x, y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        work(&FactorPair::new(a.factors().unwrap(), b.factors().unwrap())).unwrap()
    }

    #[test]
    fn one_unit_each_by_hand() {
        // x = (−1, 0, 1), y = (1, 1, −2): a reflection is allowed, so |xᵀy| = 3, lengths √2 and √6.
        let x = Mat::from_fn(3, 1, |i, _| i as f64);
        let y = Mat::from_fn(3, 1, |i, _| [1.0, 1.0, -2.0][i]);
        let c = 3.0 / 12f64.sqrt();
        assert!((of(&x, &y, bures_similarity) - c).abs() < 1e-14);
        assert!((of(&x, &y, procrustes_angular) - c.acos()).abs() < 1e-14);
        assert!((of(&x, &y, procrustes_euclidean) - (2.0f64 + 6.0 - 6.0).sqrt()).abs() < 1e-14);
        assert!((of(&x, &y, procrustes_r2) - 0.75).abs() < 1e-14);
    }

    #[test]
    fn stimuli_give_what_units_give() {
        // Twin: the nuclear norm of units × units, and partial whitening by eigenvectors.
        for (n, p, q) in [(12, 20, 30), (30, 5, 8), (15, 30, 4)] {
            let (x, y) = (noise(n, p, 0), noise(n, q, 1));
            let centred = |x: &Mat<f64>| Representation::new("x", x.as_ref()).unwrap().centred();
            for alpha in [1.0, 0.5, 0.0] {
                let whiten = |x: &Mat<f64>| {
                    let x = centred(x);
                    let e = eigh((x.transpose() * &x).as_ref()).unwrap();
                    let scale = |l: f64| if l > 1e-9 { alpha + (1.0 - alpha) / l.sqrt() } else { 0.0 };
                    let turned =
                        Mat::from_fn(x.ncols(), x.ncols(), |i, j| e.vectors[(i, j)] * scale(e.values[j]));
                    &x * &turned * e.vectors.transpose()
                };
                let (a, b) = (whiten(&x), whiten(&y));
                let nuclear: f64 =
                    singular_values(cross(a.as_ref(), b.as_ref()).as_ref()).unwrap().iter().sum();
                let (aa, bb) = (a.norm_l2(), b.norm_l2());
                let angular = of(&x, &y, |pair| shape_angular(pair, alpha));
                assert!((angular.cos() - nuclear / (aa * bb)).abs() < 1e-9, "{alpha}");
                let distance = of(&x, &y, |pair| shape_euclidean(pair, alpha));
                assert!((distance * distance - (aa * aa + bb * bb - 2.0 * nuclear)).abs() < 1e-8, "{alpha}");
            }
            let plain = of(&x, &y, |pair| shape_angular(pair, 1.0));
            assert!((plain - of(&x, &y, procrustes_angular)).abs() < 1e-13);
        }
    }

    #[test]
    fn the_bures_distance_of_the_grams_is_the_procrustes_distance() {
        // tr K + tr L − 2 tr (K^½ L K^½)^½.
        let (x, y) = (noise(8, 5, 2), noise(8, 12, 3));
        let [a, b] = [&x, &y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        let (k, l) = (a.gram().columns(0, 8), b.gram().columns(0, 8));
        let root = |k: &Mat<f64>| {
            let e = eigh(k.as_ref()).unwrap();
            let half = Mat::from_fn(8, 8, |i, j| e.vectors[(i, j)] * e.values[j].max(0.0).sqrt());
            &half * e.vectors.transpose()
        };
        let inner = &root(&k) * &l * root(&k);
        let fidelity: f64 = eigh(inner.as_ref()).unwrap().values.iter().map(|v| v.max(0.0).sqrt()).sum();
        let expected = (a.gram().trace + b.gram().trace - 2.0 * fidelity).sqrt();
        assert!((of(&x, &y, procrustes_euclidean) - expected).abs() < 1e-6);
    }

    #[test]
    fn a_rotated_copy_is_at_distance_zero() {
        for (n, p) in [(12, 30), (40, 6)] {
            let x = noise(n, p, 4);
            let (rotation, _) = thin_qr(noise(p, p, 5).as_ref());
            let y = &x * &rotation;
            // Also into more dimensions than it has.
            let wide = Mat::from_fn(n, p + 7, |i, j| if j < p { y[(i, j)] } else { 2.0 });
            for y in [&x, &y, &wide] {
                assert!(of(&x, y, procrustes_angular) < 1e-12);
                assert!(of(&x, y, procrustes_euclidean) < 1e-12 * x.norm_l2());
                assert!((of(&x, y, bures_similarity) - 1.0).abs() < 1e-13);
                assert!(of(&x, y, |pair| shape_angular(pair, 0.3)) < 1e-11);
            }
            // A slope that arccos would lose: an angle of 10⁻⁹.
            let off = noise(n, p, 6);
            let near = Mat::from_fn(n, p, |i, j| x[(i, j)] + 1e-9 * off[(i, j)]);
            let found = of(&x, &near, procrustes_angular);
            assert!(found > 1e-11 && found < 2e-9, "{found}");
        }
        let constant = Mat::full(12, 2, 1.0);
        let x = noise(12, 3, 7);
        assert!(of(&x, &constant, procrustes_angular).is_nan());
        assert!(of(&x, &constant, procrustes_euclidean).is_nan());
        assert!(of(&x, &constant, |pair| shape_angular(pair, 0.0)).is_nan());
        assert!(of(&x, &x, |pair| Ok(shape_angular(pair, 1.5).is_err())));
    }
}
