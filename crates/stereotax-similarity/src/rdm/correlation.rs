//! One minus the correlation, or the cosine, of two patterns.
//!
//! With x_i the pattern of condition i (p channels) and x̄_i its mean over channels,
//!
//! ```text
//! correlation   d_ij = 1 − Σ_c (x_ic − x̄_i)(x_jc − x̄_j) / (‖x_i − x̄_i‖ ‖x_j − x̄_j‖)
//! cosine        d_ij = 1 − Σ_c x_ic x_jc / (‖x_i‖ ‖x_j‖)
//! ```
//!
//! Range [0, 2], 0 = same up to scale (and offset). A pattern that is constant over channels (correlation) or
//! zero (cosine) has neither: its pairs are NaN. Source: specs: encoding-manifolds 6.2; Kriegeskorte et al. 2008.
//! As rsatoolbox and SciPy, with one product of matrices in place of a loop. Cost: n² p.

use faer::MatRef;
use rayon::prelude::*;

use super::check_patterns;
use super::products::{copy, row_products};
use stereotax_base::data::{Monitor, Rdm, Result};
use stereotax_base::linalg::{Real, dot};
use stereotax_base::stats::summary::is_constant;

/// RDM of 1 − Pearson correlation over channels; `patterns` is conditions × channels, f64 or f32.
///
/// Errors: fewer than 2 conditions or 2 channels; a value that is not finite.
pub fn correlation_rdm<T: Real>(patterns: MatRef<T>, monitor: &Monitor<'_>) -> Result<Rdm> {
    check_patterns(patterns, 2)?;
    of_unit_rows(patterns, true, monitor)
}

/// RDM of 1 − cosine over channels. Errors: fewer than 2 conditions, no channel, a value that is not finite.
pub fn cosine_rdm<T: Real>(patterns: MatRef<T>, monitor: &Monitor<'_>) -> Result<Rdm> {
    check_patterns(patterns, 1)?;
    of_unit_rows(patterns, false, monitor)
}

fn of_unit_rows<T: Real>(x: MatRef<T>, centred: bool, monitor: &Monitor<'_>) -> Result<Rdm> {
    let units = unit_rows(x, centred);
    let rows = |row: usize, columns: std::ops::Range<usize>, out: &mut [f64]| {
        let (mean, scale) = units[row];
        copy(x, row, columns, out);
        out.iter_mut().for_each(|value| *value = (*value - mean) * scale);
    };
    let products = row_products(x.nrows(), x.ncols(), &rows, None, monitor)?;
    // A row without a length has the scale NaN, which its products inherit.
    products.to_rdm(|_, _, cosine| 1.0 - cosine.clamp(-1.0, 1.0))
}

/// Numbers above which rows are shared among threads. A searchlight has one task per centre already.
const FEW: usize = 1 << 17;

/// What to subtract from each row and what to multiply it by; NaN for rows without a direction.
pub(super) fn unit_rows<T: Real>(x: MatRef<T>, centred: bool) -> Vec<(f64, f64)> {
    let line = || vec![0.0; x.ncols()];
    let of = |line: &mut Vec<f64>, row| {
        copy(x, row, 0..x.ncols(), line);
        unit(line, centred)
    };
    if x.nrows() * x.ncols() <= FEW {
        let mut line = line();
        (0..x.nrows()).map(|row| of(&mut line, row)).collect()
    } else {
        (0..x.nrows()).into_par_iter().map_init(line, of).collect()
    }
}

/// Mean and inverse length of one row, which is overwritten.
fn unit(line: &mut [f64], centred: bool) -> (f64, f64) {
    let (low, high) = extent(line);
    let nothing = if centred { is_constant(&[low, high]) } else { low == 0.0 && high == 0.0 };
    if nothing {
        return (0.0, f64::NAN);
    }
    let mean = if centred { line.iter().sum::<f64>() / line.len() as f64 } else { 0.0 };
    // Divided by the largest first: squares of very large or small numbers stay in range.
    let largest = (low - mean).abs().max((high - mean).abs());
    line.iter_mut().for_each(|v| *v = (*v - mean) / largest);
    (mean, 1.0 / (dot(line, line).sqrt() * largest))
}

/// Least and largest number. Eight of each at a time: neither depends on the order.
fn extent(x: &[f64]) -> (f64, f64) {
    let (mut low, mut high) = ([f64::INFINITY; 8], [f64::NEG_INFINITY; 8]);
    let (eights, rest) = x.as_chunks::<8>();
    for values in eights {
        for lane in 0..8 {
            low[lane] = low[lane].min(values[lane]);
            high[lane] = high[lane].max(values[lane]);
        }
    }
    let least = low.iter().chain(rest).fold(f64::INFINITY, |a, &b| a.min(b));
    (least, high.iter().chain(rest).fold(f64::NEG_INFINITY, |a, &b| a.max(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::{Mat, mat};

    fn rdm(x: &Mat<f64>) -> Rdm {
        correlation_rdm(x.as_ref(), &Monitor::silent()).unwrap()
    }

    #[test]
    fn correlations_and_cosines_by_hand() {
        // Deviations (−1, 0, 1), (−1, 1, 0), (1, 0, −1): r = 1/2, −1, −1/2.
        let x = mat![[1.0, 2.0, 3.0], [1.0, 3.0, 2.0], [6.0, 5.0, 4.0]];
        let expected = [0.5, 2.0, 1.5];
        assert!(rdm(&x).values().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15));
        // (3, 4) and (4, 3): 24/25; (3, 4) and (−4, 3): 0.
        let x = mat![[3.0, 4.0], [4.0, 3.0], [-4.0, 3.0]];
        let found = cosine_rdm(x.as_ref(), &Monitor::silent()).unwrap();
        assert!(
            found.values().iter().zip([0.04, 1.0, 1.28]).all(|(a, b): (&f64, f64)| (a - b).abs() < 1e-15)
        );
    }

    #[test]
    fn offset_and_scale_of_a_pattern_do_not_matter_to_correlations() {
        let x = mat![[1.0, 2.0, 7.0, 3.0], [0.0, 3.0, 2.0, 1.0], [1.0, 0.0, 0.0, 5.0]];
        let other = Mat::from_fn(3, 4, |i, j| (i + 1) as f64 * x[(i, j)] * 1e200 + 5e200);
        assert!(rdm(&x).values().iter().zip(rdm(&other).values()).all(|(a, b)| (a - b).abs() < 1e-14));
        let cosines = |x: &Mat<f64>| cosine_rdm(x.as_ref(), &Monitor::silent()).unwrap();
        assert!((cosines(&x).values()[0] - cosines(&other).values()[0]).abs() > 0.01);
    }

    #[test]
    fn constant_patterns_have_no_correlation_and_are_counted() {
        let x = mat![[1.0, 2.0, 3.0], [0.1, 0.1, 0.1], [3.0, 1.0, 2.0]];
        let found = rdm(&x);
        assert_eq!(found.n_undefined(), 2);
        assert!(found.get(0, 1).is_nan() && found.get(1, 2).is_nan() && !found.get(0, 2).is_nan());
        let zero = mat![[1.0, 2.0], [0.0, 0.0]];
        assert_eq!(cosine_rdm(zero.as_ref(), &Monitor::silent()).unwrap().n_undefined(), 1);
    }

    #[test]
    fn single_precision_is_accumulated_in_double() {
        let x = Mat::from_fn(5, 900, |i, j| ((i * 37 + j * j) % 101) as f32 / 7.0);
        let double = Mat::from_fn(5, 900, |i, j| f64::from(x[(i, j)]));
        let found = correlation_rdm(x.as_ref(), &Monitor::silent()).unwrap();
        assert_eq!(found, rdm(&double));
    }

    #[test]
    fn what_has_no_correlation_rdm_is_refused() {
        let message = |x: Mat<f64>| correlation_rdm(x.as_ref(), &Monitor::silent()).unwrap_err().to_string();
        assert!(message(mat![[1.0, 2.0]]).contains("2 conditions"));
        assert!(message(mat![[1.0], [2.0]]).contains("Euclidean"));
        assert!(message(mat![[1.0, 2.0], [f64::NAN, 1.0]]).contains("row 1, column 0"));
    }
}
