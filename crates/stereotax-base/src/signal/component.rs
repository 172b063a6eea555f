//! Summarise several series by their first principal component.
//!
//! With X (samples × series) centred by column and X = U S Vᵀ, the summary is X v₁/√p for p series: where all
//! series are alike it is their mean. The sign is such that it correlates with the mean over series.
//! Source: specs: nfas-dmd 8.4. Cost: O(n·p·min(n, p)).

use faer::{Mat, MatRef};

use crate::data::{Error, Result};
use crate::linalg::{column_means, product, svd};

/// The first principal component of several series.
#[derive(Debug, Clone, PartialEq)]
pub struct FirstComponent {
    /// v₁/√p, signed.
    pub weights: Vec<f64>,
    /// Share of the variance of all series, in (0, 1].
    pub explained: f64,
}

/// Fit the component on `series` (samples × series).
///
/// Errors: no series, or none that varies.
pub fn first_component(series: MatRef<f64>) -> Result<FirstComponent> {
    let (n, p) = (series.nrows(), series.ncols());
    let means = column_means(series);
    let centred = Mat::from_fn(n, p, |t, j| series[(t, j)] - means[j]);
    let found = svd(centred.as_ref())?;
    let total: f64 = found.s.iter().map(|s| s * s).sum();
    let Some(first) = found.s.first().filter(|&&s| s > 1e-12 * series.norm_max()) else {
        return Err(Error::ZeroVariance {
            what: "series".into(),
            detail: format!("none of {p} series varies over {n} samples"),
            hint: "leave the region out".into(),
        });
    };
    let scores = product(centred.as_ref(), found.v.get(.., ..1));
    let agreement: f64 = (0..n).map(|t| scores[(t, 0)] * (0..p).map(|j| centred[(t, j)]).sum::<f64>()).sum();
    let scale = if agreement < 0.0 { -1.0 } else { 1.0 } / (p as f64).sqrt();
    Ok(FirstComponent {
        weights: (0..p).map(|j| scale * found.v[(j, 0)]).collect(),
        explained: first * first / total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alike_series_give_their_mean_and_the_sign_follows_it() {
        let t = [1.0, -2.0, 0.5, 0.5];
        let alike = Mat::from_fn(4, 9, |i, _| t[i]);
        let found = first_component(alike.as_ref()).unwrap();
        assert!(found.weights.iter().all(|w| (w - 1.0 / 9.0).abs() < 1e-12) && found.explained > 0.999_999);
        // One series of three runs against the others; twice as strong, it leads, and the mean is its own.
        let mixed = Mat::from_fn(4, 3, |i, j| t[i] * [1.0, 1.0, -4.0][j]);
        let found = first_component(mixed.as_ref()).unwrap();
        let by_hand = [-1.0, -1.0, 4.0].map(|w| w / 18f64.sqrt() / 3f64.sqrt());
        assert!(found.weights.iter().zip(by_hand).all(|(w, b)| (w - b).abs() < 1e-12), "{found:?}");
        assert!(first_component(Mat::full(4, 2, 3.0).as_ref()).is_err());
    }
}
