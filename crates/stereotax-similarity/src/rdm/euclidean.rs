//! Euclidean distances between patterns, squared or not, divided by channels or not.
//!
//! ```text
//! d²_ij = Σ_c (x_ic − x_jc)² = ‖x_i‖² + ‖x_j‖² − 2 Σ_c x_ic x_jc
//! ```
//!
//! after the mean over conditions is taken off every channel, which changes no distance. Where two patterns are
//! so alike that the difference of products would lose digits, it is summed from the differences themselves, so
//! that equal patterns are at distance 0. Source: specs: encoding-manifolds 6.2. Differs from rsatoolbox, whose
//! `euclidean` is squared and divided by channels: here that is `Scale { squared: true, per_channel: true }`.
//! Cost: n² p, and p for each pair that is summed again.

use faer::MatRef;

use super::products::{copy, row_products};
use super::{Scale, check_patterns};
use stereotax_base::data::{Monitor, Rdm, Result};
use stereotax_base::linalg::{Real, column_means};

/// Squared distances below this share of the two lengths are summed from differences: 12 digits are kept.
pub(super) const NEAR: f64 = 1e-4;

/// RDM of Euclidean distances (0 = same); `patterns` is conditions × channels, f64 or f32.
///
/// Errors: fewer than 2 conditions, no channel, a value that is not finite.
pub fn euclidean_rdm<T: Real>(patterns: MatRef<T>, scale: Scale, monitor: &Monitor<'_>) -> Result<Rdm> {
    check_patterns(patterns, 1)?;
    let (n, p) = (patterns.nrows(), patterns.ncols());
    let means = column_means(patterns);
    let rows = |row: usize, columns: std::ops::Range<usize>, out: &mut [f64]| {
        copy(patterns, row, columns.clone(), out);
        out.iter_mut().zip(&means[columns]).for_each(|(value, mean)| *value -= mean);
    };
    let products = row_products(n, p, &rows, None, monitor)?;
    let lengths = products.diagonal();
    let summed = |i: usize, j: usize| -> f64 {
        let difference = |c: usize| Into::<f64>::into(patterns[(i, c)]) - Into::<f64>::into(patterns[(j, c)]);
        (0..p).map(|c| difference(c).powi(2)).sum()
    };
    products.to_rdm(|i, j, product| {
        let both = lengths[i] + lengths[j];
        let squared = both - 2.0 * product;
        scale.of(if squared < NEAR * both { summed(i, j) } else { squared }, p)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::{Mat, mat};
    use stereotax_base::stats::rng::Stream;

    #[test]
    fn the_four_scales_by_hand() {
        // Differences (3, 4): 25, 5, 12.5, √12.5.
        let x = mat![[1.0, 1.0], [4.0, 5.0]];
        let found = |squared, per_channel| {
            let scale = Scale { squared, per_channel };
            euclidean_rdm(x.as_ref(), scale, &Monitor::silent()).unwrap().values()[0]
        };
        assert_eq!([found(true, false), found(false, false), found(true, true)], [25.0, 5.0, 12.5]);
        assert_eq!(found(false, true), 12.5f64.sqrt());
    }

    #[test]
    fn close_patterns_far_from_the_others_keep_their_digits() {
        let mut stream = Stream::new(2, "patterns", 0);
        let mut x = Mat::from_fn(6, 40, |_, _| 1e3 + stream.normal());
        for c in 0..40 {
            x[(1, c)] = x[(0, c)] + if c == 7 { 2f64.powi(-26) } else { 0.0 };
            x[(3, c)] = x[(2, c)];
        }
        let found = euclidean_rdm(x.as_ref(), Scale::default(), &Monitor::silent()).unwrap();
        assert_eq!((found.get(0, 1), found.get(2, 3)), (2f64.powi(-26), 0.0));
        let slow: f64 = (0..40).map(|c| (x[(4, c)] - x[(5, c)]).powi(2)).sum();
        assert!((found.get(4, 5) - slow.sqrt()).abs() < 1e-12 * slow.sqrt());
    }
}
