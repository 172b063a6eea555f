//! Variances of evaluations from bootstrap draws over subjects, conditions and both.
//!
//! Drawing both factors at once counts the noise of single measurements thrice, so the three variances are combined
//! (Schütt et al. 2023, eq. 15; S subjects, n conditions):
//!
//! ```text
//! v = S/(S−1) v_S + n/(n−1) v_n − S n/((S−1)(n−1)) (v_both − v_S − v_n)
//! ```
//!
//! held between the larger of its first two terms and v_both. Where flexible models are cross-validated, r deals of folds
//! per draw add variance that more deals would remove: v = (r v_mean − v_1)/(r − 1), v_mean of the mean over deals, v_1
//! of single deals. Degrees of freedom: the fewer of S and n, less 1. Differs from rsatoolbox: draws in which a ceiling
//! is undefined (one subject drawn alone) still count for the models.

use super::Resampled;

/// Values of one quantity: draws × deals; NaN where undefined.
pub(super) type Values = Vec<Vec<f64>>;

/// Variance over draws with the correction for deals; NaN from fewer than two draws, and where the correction leaves
/// nothing.
pub(super) fn over_draws(values: &[Vec<f64>]) -> f64 {
    let kept: Vec<&Vec<f64>> = values.iter().filter(|deals| deals.iter().all(|v| v.is_finite())).collect();
    if kept.len() < 2 {
        return f64::NAN;
    }
    let deals = kept[0].len();
    let variance = |of: &dyn Fn(&Vec<f64>) -> f64| {
        let x: Vec<f64> = kept.iter().map(|deals| of(deals)).collect();
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (x.len() - 1) as f64
    };
    let of_mean = variance(&|deals| deals.iter().sum::<f64>() / deals.len() as f64);
    if deals == 1 {
        return of_mean;
    }
    let single = (0..deals).map(|r| variance(&|values| values[r])).sum::<f64>() / deals as f64;
    (deals as f64 * of_mean - single) / (deals as f64 - 1.0)
}

/// The variance of a quantity from its draws of each kind.
pub(super) fn combined(
    kind: Resampled,
    both: f64,
    subjects: f64,
    conditions: f64,
    s: usize,
    n: usize,
) -> f64 {
    let (s, n) = (s as f64, n as f64);
    let (fs, fn_) = (s / (s - 1.0), n / (n - 1.0));
    match kind {
        Resampled::Subjects => fs * subjects,
        Resampled::Conditions => fn_ * conditions,
        Resampled::Both => {
            let v = fs * subjects + fn_ * conditions - fs * fn_ * (both - subjects - conditions);
            v.max(fs * subjects).max(fn_ * conditions).min(both)
        }
        Resampled::None => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    #[test]
    fn two_factors_by_hand() {
        // S = 3, n = 5: 1.5·0.02 + 1.25·0.04 − 1.875·(0.07 − 0.06) = 0.06125, between 0.05 and 0.07.
        assert!((combined(Resampled::Both, 0.07, 0.02, 0.04, 3, 5) - 0.06125).abs() < 1e-15);
        // 0.08 − 1.875·0.03 = 0.02375 is below 1.25·0.04; 0.08 − 1.875·(−0.01) = 0.09875 is above 0.05.
        assert_eq!(combined(Resampled::Both, 0.09, 0.02, 0.04, 3, 5), 0.05);
        assert_eq!(combined(Resampled::Both, 0.05, 0.02, 0.04, 3, 5), 0.05);
        assert!((combined(Resampled::Subjects, 0.0, 0.02, 0.0, 3, 5) - 0.03).abs() < 1e-15);
    }

    #[test]
    fn the_noise_of_deals_is_taken_out() {
        let mut stream = Stream::new(1, "deals", 0);
        let values: Values = (0..20_000)
            .map(|_| {
                let truth = stream.normal();
                (0..2).map(|_| truth + 3.0 * stream.normal()).collect()
            })
            .collect();
        // Standard error about 0.08; uncorrected, the mean of two deals has 1 + 9/2.
        assert!((over_draws(&values) - 1.0).abs() < 0.35, "{}", over_draws(&values));
        assert!(over_draws(&[vec![1.0], vec![f64::NAN]]).is_nan());
        assert!((over_draws(&[vec![1.0], vec![3.0], vec![f64::NAN]]) - 2.0).abs() < 1e-15);
    }
}
