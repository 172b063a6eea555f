//! Canonical correlations: how well the best-matched linear readouts of two representations agree.
//!
//! ```text
//! ρ_1 ≥ ρ_2 ≥ …   singular values of U_xᵀ U_y, X = U_x S_x V_xᵀ centred
//! mean            Σ ρ_k / min(r_x, r_y)
//! R²              Σ ρ_k² / min(r_x, r_y)
//! SVCCA           the mean, of the leading directions that hold 99 % of Σ s² on each side
//! regularised     the mean of singular values of G_x U_xᵀ U_y G_y, G = S/√(S² + κ), κ = ridge · mean s²
//! ```
//!
//! No covariance is inverted. All are invariant to shifts, scales and rotations of either side; mean and R² to any
//! invertible linear map of it. Where r_x + r_y > n − 1 some correlations are 1 whatever the data are
//! ([`saturates`]). For independent noise E mean ρ² = max(d_x, d_y)/(n − 1) with d dimensions kept
//! ([`chance_of_squares`]): with 118 stimuli and 40 dimensions each the mean ρ of noise is 0.5. Report such values
//! beside their permutation null.
//!
//! Source: Raghu et al. 2017 (SVCCA); specs: encoding-manifolds 6.3, alignment-methods B9. Differs from the tutorials of
//! SVCCA: they add up singular values, we their squares, which are variances; [`Share`] offers both. Undefined (NaN): a
//! constant side. Cost: O(n r² + r³) beyond the factors.

use super::factor_pair::FactorPair;
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::singular_values;

/// What the share of an SVCCA counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Share {
    /// Σ s², the variance.
    #[default]
    Variance,
    /// Σ s, as the tutorials of SVCCA have it.
    SingularValues,
}

/// Choices of an SVCCA.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SvccaParams {
    /// How much of each side is kept, in (0, 1]. Default 0.99 (Raghu et al. 2017).
    pub share: f64,
    /// Of what.
    pub of: Share,
}

impl Default for SvccaParams {
    fn default() -> Self {
        SvccaParams { share: 0.99, of: Share::Variance }
    }
}

/// An SVCCA and what it kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Svcca {
    /// Mean correlation, in [0, 1].
    pub value: f64,
    /// Dimensions of the first side.
    pub kept_x: usize,
    /// Dimensions of the second.
    pub kept_y: usize,
}

/// Mean canonical correlation, in [0, 1].
pub fn mean_cca(pair: &FactorPair<'_>) -> Result<f64> {
    Ok(mean(pair.correlations()?))
}

/// Mean squared canonical correlation, in [0, 1].
pub fn r2_cca(pair: &FactorPair<'_>) -> Result<f64> {
    let squares: Vec<f64> = pair.correlations()?.iter().map(|rho| rho * rho).collect();
    Ok(mean(&squares))
}

/// Mean canonical correlation of leading directions.
pub fn svcca(pair: &FactorPair<'_>, params: &SvccaParams) -> Result<Svcca> {
    if !(params.share > 0.0 && params.share <= 1.0) {
        return Err(Error::Invalid {
            what: "share".into(),
            expected: "a number above 0 and up to 1".into(),
            found: params.share.to_string(),
            hint: "0.99 keeps 99 % of the variance".into(),
        });
    }
    let (kept_x, kept_y) =
        (leading(&pair.x.singular_values, params), leading(&pair.y.singular_values, params));
    let values = singular_values(pair.between().get(..kept_x, ..kept_y))?;
    let value = mean(&values).clamp(0.0, 1.0);
    Ok(Svcca { value, kept_x, kept_y })
}

/// How many leading singular values hold the share.
pub fn leading(singular_values: &[f64], params: &SvccaParams) -> usize {
    let size = |s: f64| if params.of == Share::Variance { s * s } else { s };
    let total: f64 = singular_values.iter().map(|&s| size(s)).sum();
    let mut sum = 0.0;
    for (at, &s) in singular_values.iter().enumerate() {
        sum += size(s);
        // A share of 1 is all of it, however the sum rounds.
        if sum >= params.share * total * (1.0 - 1e-12) && params.share < 1.0 {
            return at + 1;
        }
    }
    singular_values.len()
}

/// Mean of regularised canonical correlations, in [0, 1); below 1 for equal sides too. `ridge` is in units of the mean
/// squared singular value of each side.
pub fn regularised_cca(pair: &FactorPair<'_>, ridge: f64) -> Result<f64> {
    if !(ridge >= 0.0 && ridge.is_finite()) {
        return Err(Error::Invalid {
            what: "ridge".into(),
            expected: "a number of at least 0".into(),
            found: ridge.to_string(),
            hint: "0 is CCA itself; 1 halves the weight of an average direction".into(),
        });
    }
    if pair.is_undefined() {
        return Ok(f64::NAN);
    }
    let penalty = |factors: &super::Factors| ridge * factors.energy() / factors.rank() as f64;
    let (of_x, of_y) = (penalty(pair.x), penalty(pair.y));
    let weighted = pair.weighted(|s| s / (s * s + of_x).sqrt(), |s| s / (s * s + of_y).sqrt());
    Ok(mean(&singular_values(weighted.as_ref())?).clamp(0.0, 1.0))
}

/// Whether ranks alone force some correlations to 1: r_x + r_y > n − 1.
pub fn saturates(rank_x: usize, rank_y: usize, n_stimuli: usize) -> bool {
    rank_x + rank_y > n_stimuli.saturating_sub(1)
}

/// E mean ρ² of independent Gaussian noise of d_x and d_y dimensions: max(d_x, d_y)/(n − 1), at most 1.
pub fn chance_of_squares(kept_x: usize, kept_y: usize, n_stimuli: usize) -> f64 {
    (kept_x.max(kept_y) as f64 / (n_stimuli as f64 - 1.0)).min(1.0)
}

/// NaN of nothing.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::super::representation::Representation;
    use super::*;
    use faer::Mat;
    use stereotax_base::linalg::{cross, pseudo_inverse};
    use stereotax_base::stats::rng::Stream;

    fn noise(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(7, "cca tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    fn of<T>(x: &Mat<f64>, y: &Mat<f64>, work: impl Fn(&FactorPair<'_>) -> Result<T>) -> T {
        let [a, b] = [x, y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        work(&FactorPair::new(a.factors().unwrap(), b.factors().unwrap())).unwrap()
    }

    #[test]
    fn one_unit_each_is_the_correlation() {
        // x = (−1, 0, 1), y = (1, 0, −2 + 1): r = −3/√(2·14)·… by hand: y centred (4, 1, −5)/3.
        let x = Mat::from_fn(3, 1, |i, _| i as f64);
        let y = Mat::from_fn(3, 1, |i, _| [1.0, 0.0, -2.0][i]);
        let r = 9.0 / 3.0 / (2.0f64 * 42.0 / 9.0).sqrt();
        assert!((of(&x, &y, mean_cca) - r).abs() < 1e-14);
        assert!((of(&x, &y, r2_cca) - r * r).abs() < 1e-14);
    }

    #[test]
    fn correlations_are_those_of_inverted_covariances() {
        // Twin: eigenvalues of Σxx⁻¹ Σxy Σyy⁻¹ Σyx are ρ².
        let shared = noise(60, 2, 0);
        let (x, y) = (noise(60, 5, 1), noise(60, 4, 2));
        let x = Mat::from_fn(60, 5, |i, j| x[(i, j)] + if j < 2 { 2.0 * shared[(i, j)] } else { 0.0 });
        let y = Mat::from_fn(60, 4, |i, j| y[(i, j)] + if j < 2 { shared[(i, j)] } else { 3.0 });
        let centred = |x: &Mat<f64>| Representation::new("x", x.as_ref()).unwrap().centred();
        let (cx, cy) = (centred(&x), centred(&y));
        let inverse = |c: &Mat<f64>| pseudo_inverse(cross(c.as_ref(), c.as_ref()).as_ref(), 1e-14).unwrap();
        let between = cross(cx.as_ref(), cy.as_ref());
        let product = inverse(&cx) * &between * inverse(&cy) * between.transpose();
        let trace: f64 = (0..5).map(|i| product[(i, i)]).sum();
        assert!((of(&x, &y, r2_cca) - trace / 4.0).abs() < 1e-12);
        let largest = stereotax_base::linalg::eig(product.as_ref()).unwrap().values[0].re.sqrt();
        let found = of(&x, &y, |pair| Ok(pair.correlations()?[0]));
        assert!((found - largest).abs() < 1e-12);
        assert!((of(&x, &y, |pair| regularised_cca(pair, 0.0)) - of(&x, &y, mean_cca)).abs() < 1e-13);
        assert!(of(&x, &y, |pair| regularised_cca(pair, 1.0)) < of(&x, &y, mean_cca));
    }

    #[test]
    fn svcca_keeps_the_share_it_is_asked_for() {
        // s² = 90, 9, 1 in shares of 0.90, 0.09, 0.01; s = 9.49, 3, 1 in shares of 0.70, 0.22, 0.07.
        let s = [90f64.sqrt(), 3.0, 1.0];
        let kept = |share, of| leading(&s, &SvccaParams { share, of });
        assert_eq!((kept(0.9, Share::Variance), kept(0.99, Share::Variance)), (1, 2));
        assert_eq!((kept(0.995, Share::Variance), kept(1.0, Share::Variance)), (3, 3));
        assert_eq!((kept(0.9, Share::SingularValues), kept(0.92, Share::SingularValues)), (2, 2));
        // Only what is kept can agree: the small third direction is shared, the large ones are not.
        let (a, b, small) = (noise(80, 2, 3), noise(80, 2, 4), noise(80, 1, 5));
        let with =
            |x: &Mat<f64>| Mat::from_fn(80, 3, |i, j| if j < 2 { 30.0 * x[(i, j)] } else { small[(i, 0)] });
        let (x, y) = (with(&a), with(&b));
        let found = of(&x, &y, |pair| svcca(pair, &SvccaParams::default()));
        assert_eq!((found.kept_x, found.kept_y), (2, 2));
        assert!(found.value < 0.35 && of(&x, &y, mean_cca) > found.value + 0.1);
        let pair_of =
            |share| of(&x, &y, |p| Ok(svcca(p, &SvccaParams { share, of: Share::Variance }).is_err()));
        assert!(pair_of(0.0) && pair_of(1.1) && pair_of(f64::NAN));
    }

    #[test]
    fn noise_is_at_the_chance_of_its_dimensions() {
        // Specs B9: 118 stimuli, 40 × 40: mean ρ² 0.342, mean ρ 0.515; 20 × 60: 0.513 and 0.701.
        for (p, q, squares, rhos) in [(40, 40, 0.342, 0.515), (20, 60, 0.513, 0.701)] {
            let (mut found, mut mean) = (0.0, 0.0);
            for draw in 0..8 {
                let (x, y) = (noise(118, p, 10 + draw), noise(118, q, 30 + draw));
                found += of(&x, &y, r2_cca) / 8.0;
                mean += of(&x, &y, mean_cca) / 8.0;
            }
            assert!((found - chance_of_squares(p, q, 118)).abs() < 0.012, "{found}");
            assert!((found - squares).abs() < 0.012 && (mean - rhos).abs() < 0.012, "{found} {mean}");
        }
        // Three dimensions each, 48 conditions (specs 6.3): E mean ρ² = 3/47.
        assert_eq!(chance_of_squares(3, 3, 48), 3.0 / 47.0);
    }

    #[test]
    fn ranks_beyond_the_stimuli_saturate() {
        let (x, y) = (noise(10, 6, 6), noise(10, 7, 7));
        assert!(saturates(6, 7, 10) && !saturates(4, 5, 10));
        let found = of(&x, &y, |pair| Ok(pair.correlations()?.to_vec()));
        // 6 + 7 − 9 = 4 of them are 1 by construction.
        assert!(found[3] > 1.0 - 1e-12 && found[4] < 1.0 - 1e-6);
        let constant = Mat::full(10, 2, 5.0);
        assert!(of(&x, &constant, mean_cca).is_nan());
        assert!(of(&x, &constant, |p| svcca(p, &SvccaParams::default())).value.is_nan());
        assert!(of(&x, &constant, |p| regularised_cca(p, 0.5)).is_nan());
    }
}
