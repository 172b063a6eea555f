//! Distances between patterns in units of the noise.
//!
//! ```text
//! d²_ij = (x_i − x_j) P (x_i − x_j)ᵀ         P: noise precision, channels × channels
//! ```
//!
//! P comes from [`super::noise_precision`] (diagonal, dense, or of low rank beside a diagonal, where there are more
//! channels than residuals), so that p × p numbers are not formed without need. The plain distance is biased upwards
//! by noise: compare [`super::crossnobis`]. Source: specs: encoding-manifolds 6.2; Walther et al. 2016. Differs from
//! rsatoolbox, whose `mahalanobis` is squared and divided by channels. Cost: the products with P, and 2 n² p.

use faer::MatRef;

use super::noise::NoisePrecision;
use super::products::{row_products, rows_of};
use super::{Scale, check_patterns};
use stereotax_base::data::{Monitor, Rdm, Result};
use stereotax_base::linalg::{Real, column_means};

/// RDM of Mahalanobis distances (0 = same); `patterns` is conditions × channels, f64 or f32.
///
/// Errors: fewer than 2 conditions, a value that is not finite, a precision of other channels.
pub fn mahalanobis_rdm<T: Real>(
    patterns: MatRef<T>,
    precision: &NoisePrecision,
    scale: Scale,
    monitor: &Monitor<'_>,
) -> Result<Rdm> {
    check_patterns(patterns, 1)?;
    let (n, p) = (patterns.nrows(), patterns.ncols());
    precision.check_channels(p)?;
    let means = column_means(patterns);
    // (n_channels, n_conditions)
    let centred = faer::Mat::from_fn(p, n, |c, i| patterns[(i, c)].into() - means[c]);
    let weighed = precision.times(centred.as_ref());
    let rows = rows_of(centred.transpose());
    let products = row_products(n, p, &rows, Some(&rows_of(weighed.transpose())), monitor)?;
    let lengths = products.diagonal();
    products.to_rdm(|i, j, product| {
        let squared = lengths[i] + lengths[j] - 2.0 * product;
        scale.of(squared.max(0.0), p)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdm::euclidean_rdm;
    use faer::{Mat, mat};

    #[test]
    fn a_distance_by_hand_and_the_identity() {
        // (1, 2) P (1, 2)ᵀ with P = [2 1; 1 3]: 2 + 4 + 12 = 18.
        let x = mat![[0.0, 0.0], [1.0, 2.0], [5.0, 1.0]];
        let precision = NoisePrecision::dense(mat![[2.0, 1.0], [1.0, 3.0]]).unwrap();
        let scale = Scale { squared: true, per_channel: false };
        let found = mahalanobis_rdm(x.as_ref(), &precision, scale, &Monitor::silent()).unwrap();
        assert!((found.get(0, 1) - 18.0).abs() < 1e-12);
        let identity = NoisePrecision::dense(Mat::identity(2, 2)).unwrap();
        let found = mahalanobis_rdm(x.as_ref(), &identity, Scale::default(), &Monitor::silent()).unwrap();
        let plain = euclidean_rdm(x.as_ref(), Scale::default(), &Monitor::silent()).unwrap();
        assert!(found.values().iter().zip(plain.values()).all(|(a, b)| (a - b).abs() < 1e-12));
        let message = mahalanobis_rdm(x.get(.., ..1), &identity, scale, &Monitor::silent()).unwrap_err();
        assert!(message.to_string().contains("2 channels"), "{message}");
    }
}
