//! Index how consistently the models of one modality score in each ROI (SNCI).
//!
//! Scores a are n_models × n_rois. Per ROI, over the models: μ the mean, s the standard deviation
//! (divisor n − 1).
//!
//! | kind | formula | range |
//! | --- | --- | --- |
//! | `Snr` | μ/(s + ε), ε = 1e-12 + 1e-6·‖median over ROIs of μ‖ | (−∞, ∞) |
//! | `Bounded` | μ²/(μ² + s²) | [0, 1] |
//! | `Snr2` | μ²/s² | [0, ∞) |
//! | `SnrC4` | Snr·J, J = Γ((n−1)/2)/(√((n−1)/2)·Γ((n−2)/2)) | (−∞, ∞) |
//! | `Debiased` | (μ² − s²/n)₊/((μ² − s²/n)₊ + s²) | [0, 1] |
//! | `TStat` | μ√n/s | (−∞, ∞) |
//!
//! High = the models agree on a high score. `Snr`, `Bounded` and `Snr2` order ROIs alike where μ ≥ 0.
//! Intervals come from a bootstrap over model *families*: two models of a family are not two witnesses.
//!
//! Edges: fewer than 3 models with a score: NaN. s = 0: ±∞ for the ratios (flagged), 1 for the bounded
//! forms; s = μ = 0: NaN. A negative μ: see [`SignPolicy`].
//! Source: specs: nfas-dmd 10; intervals: Efron 1987 (BCa). Cost: O(n_bootstraps·n_models·n_rois).

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::resampling::multiplicities;
use super::summary::{
    column, is_constant, mean, median, normal_cdf, normal_quantile, pearson, quantile_of_sorted, variance,
};
use crate::data::{Error, Labels, Result};

/// Which form of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnciKind {
    /// Signal-to-noise ratio (the default).
    #[default]
    Snr,
    /// In [0, 1]: snr²/(1 + snr²).
    Bounded,
    /// Power ratio.
    Snr2,
    /// Signal-to-noise ratio without its small-sample bias.
    SnrC4,
    /// Bounded, without the noise floor of μ².
    Debiased,
    /// One-sample t.
    TStat,
}

/// What the forms that square μ do with a negative one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignPolicy {
    /// They become 0 (the default): a negative mean score is no shared signal.
    #[default]
    Zero,
    /// They carry the sign of μ.
    Carry,
}

/// How intervals are read off the bootstrap draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// Quantiles of the draws (the default).
    #[default]
    Percentile,
    /// Bias-corrected and accelerated; the jackknife leaves out families.
    Bca,
}

/// How the index is computed.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SnciParams {
    /// The form (default `Snr`).
    pub kind: SnciKind,
    /// Negative means in the squared forms (default `Zero`).
    pub sign_policy: SignPolicy,
    /// Bootstrap draws over families (default 2000; 0: no intervals).
    pub n_bootstraps: usize,
    /// Kind of interval (default percentile).
    pub interval: Interval,
    /// Coverage (default 0.95).
    pub level: f64,
    /// ROIs that take part in the median and in ε; `None`: all (the default).
    pub included: Option<Vec<bool>>,
    /// Seed of the bootstrap (default 0).
    pub seed: u64,
}

impl Default for SnciParams {
    fn default() -> Self {
        SnciParams {
            kind: SnciKind::Snr,
            sign_policy: SignPolicy::Zero,
            n_bootstraps: 2000,
            interval: Interval::Percentile,
            level: 0.95,
            included: None,
            seed: 0,
        }
    }
}

/// A value with its bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Estimate {
    /// The value; NaN where undefined.
    pub value: f64,
    /// Lower end; NaN where undefined.
    pub lower: f64,
    /// Upper end; NaN where undefined.
    pub upper: f64,
}

/// The index in every ROI of one modality.
#[derive(Debug, Clone)]
pub struct Snci {
    /// Which form.
    pub kind: SnciKind,
    /// The index per ROI, with its interval.
    pub rois: Vec<Estimate>,
    /// Mean score per ROI.
    pub mean: Vec<f64>,
    /// Standard deviation over models per ROI.
    pub sd: Vec<f64>,
    /// Models with a defined score per ROI.
    pub n_models: Vec<usize>,
    /// Families in all.
    pub n_families: usize,
    /// Where all models score alike, so that ratios are infinite.
    pub no_spread: Vec<bool>,
    /// Median over the included ROIs.
    pub median: Estimate,
    /// n_models × n_rois: the index with all models minus the index without this one.
    pub influence: Mat<f64>,
    /// The median when one family is left out, in the order of the families' names.
    pub median_without_family: Vec<f64>,
    /// Why an ROI is undefined, if it is.
    pub reasons: Vec<Option<String>>,
    /// Why there is no interval, if there is none.
    pub interval_reason: Option<String>,
}

/// How alike the models' profiles over ROIs are: one number per modality.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ProfileConsistency {
    /// Mean Pearson correlation between the profiles of two models, in [−1, 1].
    pub mean_correlation: Estimate,
    /// ICC(3,1) of Shrout & Fleiss 1979: agreement of one model with another after removing levels.
    pub icc31: f64,
    /// var over ROIs of μ divided by the mean over ROIs of s².
    pub profile_snr: f64,
    /// Pairs of models that had a correlation.
    pub n_pairs: usize,
    /// Pairs without one (a constant profile).
    pub n_undefined_pairs: usize,
}

/// J(n): what removes the small-sample bias of μ/s. NaN below n = 3; J(15) = 0.9453.
pub fn c4_factor(n: usize) -> f64 {
    if n < 3 {
        return f64::NAN;
    }
    // ratio(m) = Γ((m+1)/2)/Γ(m/2): 1/√π at m = 1, and ratio(m+1) = (m/2)/ratio(m).
    let ratio = (1..n - 2).fold(1.0 / std::f64::consts::PI.sqrt(), |r, m| 0.5 * m as f64 / r);
    ratio / ((n - 1) as f64 / 2.0).sqrt()
}

/// The index per ROI, its interval over families, and each model's influence.
///
/// `scores` is n_models × n_rois; NaN marks an undefined score and is left out, an infinity is refused.
/// `families` names each model's family.
pub fn snci(scores: MatRef<f64>, families: &Labels, params: &SnciParams) -> Result<Snci> {
    check(scores, families, params)?;
    let (n, n_rois) = (scores.nrows(), scores.ncols());
    let weights = vec![1; n];
    let values = weighted_snci(scores, &weights, params);
    let moments: Vec<Moments> = (0..n_rois).map(|j| Moments::of(scores, j, &weights)).collect();
    let influence_rows: Vec<Vec<f64>> = (0..n)
        .into_par_iter()
        .map(|left_out| {
            let mut weights = weights.clone();
            weights[left_out] = 0;
            weighted_snci(scores, &weights, params).iter().zip(&values).map(|(w, v)| v - w).collect()
        })
        .collect();
    let without: Vec<Vec<f64>> = (0..families.n_groups())
        .map(|family| {
            let weights: Vec<u32> = families.codes().iter().map(|&f| u32::from(f != family)).collect();
            weighted_snci(scores, &weights, params)
        })
        .collect();
    let draws = bootstrap_snci(scores, families, params, "bootstrap families");
    let of_roi = |draws: &[Vec<f64>], j: usize| -> Vec<f64> { draws.iter().map(|d| d[j]).collect() };
    let rois =
        (0..n_rois).map(|j| estimate(values[j], of_roi(&draws, j), &of_roi(&without, j), params)).collect();
    let median_of = |values: &[f64]| included_median(values, params);
    let median_without_family: Vec<f64> = without.iter().map(|w| median_of(w)).collect();
    let median_draws = draws.iter().map(|d| median_of(d)).collect();
    Ok(Snci {
        kind: params.kind,
        rois,
        mean: moments.iter().map(|m| m.mean).collect(),
        sd: moments.iter().map(|m| m.variance.sqrt()).collect(),
        n_models: moments.iter().map(|m| m.n).collect(),
        n_families: families.n_groups(),
        no_spread: moments.iter().map(|m| m.variance == 0.0).collect(),
        median: estimate(median_of(&values), median_draws, &median_without_family, params),
        influence: Mat::from_fn(n, n_rois, |i, j| influence_rows[i][j]),
        median_without_family,
        reasons: moments.iter().map(reason).collect(),
        interval_reason: no_interval(families, params),
    })
}

/// Average scores over the ROIs of each network (n_models × n_networks, networks in name order).
///
/// Undefined scores and ROIs that are not `included` are left out; a model without any score in a
/// network has NaN there.
pub fn network_means(scores: MatRef<f64>, networks: &Labels, included: Option<&[bool]>) -> Result<Mat<f64>> {
    if networks.n_objects() != scores.ncols() {
        return Err(Error::Shape {
            what: "networks".into(),
            expected: format!("{} names (one per ROI)", scores.ncols()),
            found: format!("{} names", networks.n_objects()),
            hint: "name the network of each ROI".into(),
        });
    }
    Ok(Mat::from_fn(scores.nrows(), networks.n_groups(), |i, network| {
        let values: Vec<f64> = networks
            .members(network)
            .into_iter()
            .filter(|&j| included.is_none_or(|m| m[j]))
            .map(|j| scores[(i, j)])
            .filter(|x| !x.is_nan())
            .collect();
        mean(&values)
    }))
}

/// How alike the models' profiles over ROIs are.
///
/// ICC and `profile_snr` use the ROIs where every model has a score, and are NaN for fewer than 2 such
/// ROIs or models. In a bootstrap draw a model drawn twice is not compared with itself.
pub fn profile_consistency(
    scores: MatRef<f64>,
    families: &Labels,
    params: &SnciParams,
) -> Result<ProfileConsistency> {
    check(scores, families, params)?;
    let n = scores.nrows();
    let complete: Vec<usize> = (0..scores.ncols())
        .filter(|&j| params.included.as_ref().is_none_or(|m| m[j]))
        .filter(|&j| column(scores, j).iter().all(|x| !x.is_nan()))
        .collect();
    let profiles: Vec<Vec<f64>> =
        (0..n).map(|i| complete.iter().map(|&j| scores[(i, j)]).collect()).collect();
    let correlations = Mat::from_fn(n, n, |i, k| pearson(&profiles[i], &profiles[k]));
    let mean_pair = |weights: &[u32]| {
        let (mut sum, mut total) = (0.0, 0.0);
        for i in 0..n {
            for k in 0..i {
                let weight = f64::from(weights[i] * weights[k]);
                if weight > 0.0 && !correlations[(i, k)].is_nan() {
                    sum += weight * correlations[(i, k)];
                    total += weight;
                }
            }
        }
        sum / total
    };
    let draws = family_weights(families, params, "bootstrap families").map(|w| mean_pair(&w)).collect();
    let without: Vec<f64> = (0..families.n_groups())
        .map(|f| mean_pair(&families.codes().iter().map(|&c| u32::from(c != f)).collect::<Vec<_>>()))
        .collect();
    let pairs: Vec<f64> =
        (0..n).flat_map(|i| (0..i).map(move |k| (i, k))).map(|ik| correlations[ik]).collect();
    let n_pairs = pairs.iter().filter(|r| !r.is_nan()).count();
    let roi_means: Vec<f64> =
        (0..complete.len()).map(|j| profiles.iter().map(|p| p[j]).sum::<f64>() / n as f64).collect();
    let spread: Vec<f64> = complete.iter().map(|&j| variance(&column(scores, j))).collect();
    Ok(ProfileConsistency {
        mean_correlation: estimate(mean_pair(&vec![1; n]), draws, &without, params),
        icc31: icc31(&profiles),
        profile_snr: variance(&roi_means) / mean(&spread),
        n_pairs,
        n_undefined_pairs: pairs.len() - n_pairs,
    })
}

/// (MSR − MSE)/(MSR + (k − 1)·MSE) with ROIs as targets and the k models as judges.
fn icc31(profiles: &[Vec<f64>]) -> f64 {
    let (k, n) = (profiles.len(), profiles.first().map_or(0, Vec::len));
    if k < 2 || n < 2 {
        return f64::NAN;
    }
    let roi: Vec<f64> = (0..n).map(|j| profiles.iter().map(|p| p[j]).sum::<f64>() / k as f64).collect();
    let model: Vec<f64> = profiles.iter().map(|p| mean(p)).collect();
    let grand = mean(&model);
    let rows = roi.iter().map(|r| (r - grand).powi(2)).sum::<f64>() * k as f64 / (n - 1) as f64;
    let error = (0..k)
        .flat_map(|i| (0..n).map(move |j| (i, j)))
        .map(|(i, j)| (profiles[i][j] - roi[j] - model[i] + grand).powi(2))
        .sum::<f64>()
        / ((n - 1) * (k - 1)) as f64;
    (rows - error) / (rows + (k - 1) as f64 * error)
}

fn check(scores: MatRef<f64>, families: &Labels, params: &SnciParams) -> Result<()> {
    let infinite = (0..scores.nrows())
        .flat_map(|i| (0..scores.ncols()).map(move |j| (i, j)))
        .filter(|&ij| scores[ij].is_infinite())
        .collect::<Vec<_>>();
    if let Some(&(row, column)) = infinite.first() {
        return Err(Error::NotFinite {
            what: "scores".into(),
            row,
            column,
            count: infinite.len(),
            hint: "mark undefined scores by NaN".into(),
        });
    }
    let lengths = [
        ("families", families.n_objects(), scores.nrows(), "model"),
        ("included", params.included.as_ref().map_or(scores.ncols(), Vec::len), scores.ncols(), "ROI"),
    ];
    for (what, found, expected, of) in lengths {
        if found != expected {
            return Err(Error::Shape {
                what: what.into(),
                expected: format!("{expected} entries (one per {of})"),
                found: format!("{found} entries"),
                hint: "scores are models × ROIs".into(),
            });
        }
    }
    if !(params.level > 0.0 && params.level < 1.0) {
        return Err(Error::Invalid {
            what: "level".into(),
            expected: "between 0 and 1".into(),
            found: params.level.to_string(),
            hint: "0.95 is customary".into(),
        });
    }
    Ok(())
}

/// Mean and variance over models, each counted as often as its weight says.
struct Moments {
    n: usize,
    mean: f64,
    variance: f64,
}

impl Moments {
    fn of(scores: MatRef<f64>, roi: usize, weights: &[u32]) -> Self {
        let counted = || {
            let models = scores.col(roi).iter().zip(weights);
            models.filter(|(x, w)| **w > 0 && !x.is_nan()).map(|(x, w)| (*x, f64::from(*w)))
        };
        let (mut total, mut sum) = (0.0, 0.0);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (x, w) in counted() {
            total += w;
            sum += w * x;
            (low, high) = (low.min(x), high.max(x));
        }
        if total < 2.0 {
            return Moments { n: total as usize, mean: sum / total, variance: f64::NAN };
        }
        if is_constant(&[low, high]) {
            // Equal scores have no spread, whatever the rounding of their mean.
            return Moments { n: total as usize, mean: low, variance: 0.0 };
        }
        let mean = sum / total;
        let squares: f64 = counted().map(|(x, w)| w * (x - mean).powi(2)).sum();
        Moments { n: total as usize, mean, variance: squares / (total - 1.0) }
    }
}

fn reason(m: &Moments) -> Option<String> {
    if m.n < 3 {
        Some(format!("{} model(s) have a score here; the index needs 3", m.n))
    } else if m.variance == 0.0 && m.mean == 0.0 {
        Some("all models score exactly 0".into())
    } else if m.variance == 0.0 {
        Some("all models score alike: no spread".into())
    } else {
        None
    }
}

/// The index per ROI when model i occurs `weights[i]` times.
pub(crate) fn weighted_snci(scores: MatRef<f64>, weights: &[u32], params: &SnciParams) -> Vec<f64> {
    let moments: Vec<Moments> = (0..scores.ncols()).map(|j| Moments::of(scores, j, weights)).collect();
    let means: Vec<f64> = moments.iter().map(|m| m.mean).collect();
    let middle = included_median(&means, params);
    let epsilon = 1e-12 + if middle.is_nan() { 0.0 } else { 1e-6 * middle.abs() };
    moments.iter().map(|m| index(m, epsilon, params)).collect()
}

fn index(m: &Moments, epsilon: f64, params: &SnciParams) -> f64 {
    if m.n < 3 || (m.variance == 0.0 && m.mean == 0.0) {
        return f64::NAN;
    }
    let (mu, s, n) = (m.mean, m.variance.sqrt(), m.n as f64);
    let signed = |magnitude: f64| match params.sign_policy {
        _ if mu >= 0.0 => magnitude,
        SignPolicy::Zero => 0.0,
        SignPolicy::Carry => -magnitude,
    };
    let ratio = if s == 0.0 { f64::INFINITY.copysign(mu) } else { mu / (s + epsilon) };
    match params.kind {
        SnciKind::Snr => ratio,
        SnciKind::SnrC4 => ratio * c4_factor(m.n),
        SnciKind::TStat if s == 0.0 => ratio,
        SnciKind::TStat => mu * n.sqrt() / s,
        SnciKind::Snr2 if s == 0.0 => signed(f64::INFINITY),
        SnciKind::Snr2 => signed((mu / s).powi(2)),
        SnciKind::Bounded => signed(mu * mu / (mu * mu + s * s)),
        SnciKind::Debiased => {
            let power = (mu * mu - s * s / n).max(0.0);
            signed(power / (power + s * s))
        }
    }
}

fn included_median(values: &[f64], params: &SnciParams) -> f64 {
    match &params.included {
        None => median(values),
        Some(mask) => {
            let kept: Vec<f64> = values.iter().zip(mask).filter(|(_, m)| **m).map(|(v, _)| *v).collect();
            median(&kept)
        }
    }
}

/// Each model's weight in every bootstrap draw over families.
fn family_weights<'a>(
    families: &'a Labels,
    params: &'a SnciParams,
    purpose: &'a str,
) -> impl Iterator<Item = Vec<u32>> + 'a {
    let n_draws = if no_interval(families, params).is_some() { 0 } else { params.n_bootstraps };
    (0..n_draws).map(move |draw| {
        let counts = multiplicities(families.names(), params.seed, purpose, draw);
        families.codes().iter().map(|&f| counts[f]).collect()
    })
}

/// The index per ROI in every bootstrap draw.
pub(crate) fn bootstrap_snci(
    scores: MatRef<f64>,
    families: &Labels,
    params: &SnciParams,
    purpose: &str,
) -> Vec<Vec<f64>> {
    let weights: Vec<Vec<u32>> = family_weights(families, params, purpose).collect();
    weights.par_iter().map(|w| weighted_snci(scores, w, params)).collect()
}

fn no_interval(families: &Labels, params: &SnciParams) -> Option<String> {
    if params.n_bootstraps == 0 {
        Some("no bootstrap was asked for".into())
    } else if families.n_groups() < 3 {
        Some(format!("{} families cannot be resampled; 3 are needed", families.n_groups()))
    } else {
        None
    }
}

/// A value with the interval that the draws give it; draws without a value are left out.
pub(crate) fn estimate(value: f64, mut draws: Vec<f64>, without: &[f64], params: &SnciParams) -> Estimate {
    draws.retain(|x| !x.is_nan());
    if value.is_nan() || draws.is_empty() {
        return Estimate { value, lower: f64::NAN, upper: f64::NAN };
    }
    draws.sort_by(f64::total_cmp);
    let tail = 0.5 * (1.0 - params.level);
    let (low, high) = match params.interval {
        Interval::Percentile => (tail, 1.0 - tail),
        Interval::Bca => bca_levels(value, &draws, without, tail),
    };
    Estimate { value, lower: quantile_of_sorted(&draws, low), upper: quantile_of_sorted(&draws, high) }
}

/// Φ(z₀ + (z₀ + z)/(1 − a(z₀ + z))) at both tails (Efron 1987, eq. 2.3); plain tails if a part of it is
/// undefined.
fn bca_levels(value: f64, draws: &[f64], without: &[f64], tail: f64) -> (f64, f64) {
    let below = draws.iter().map(|&d| if d < value { 1.0 } else { 0.5 * f64::from(d == value) });
    let z0 = normal_quantile(below.sum::<f64>() / draws.len() as f64);
    let kept: Vec<f64> = without.iter().copied().filter(|x| x.is_finite()).collect();
    let centre = mean(&kept);
    let (squares, cubes) = kept.iter().fold((0.0, 0.0), |(s, c), x| {
        let d: f64 = centre - x;
        (s + d * d, c + d.powi(3))
    });
    let a = if squares > 0.0 { cubes / (6.0 * f64::powf(squares, 1.5)) } else { 0.0 };
    let level = |p: f64| {
        let z = z0 + normal_quantile(p);
        normal_cdf(z0 + z / (1.0 - a * z))
    };
    let (low, high) = (level(tail), level(1.0 - tail));
    if low.is_finite() && high.is_finite() && low < high { (low, high) } else { (tail, 1.0 - tail) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;

    fn own_families(n: usize) -> Labels {
        Labels::new(&(0..n).map(|i| format!("f{i:02}")).collect::<Vec<_>>())
    }

    fn of(kind: SnciKind, scores: &[f64]) -> f64 {
        let x = Mat::from_fn(scores.len(), 1, |i, _| scores[i]);
        let params = SnciParams { kind, n_bootstraps: 0, ..Default::default() };
        snci(x.as_ref(), &own_families(scores.len()), &params).unwrap().rois[0].value
    }

    #[test]
    fn every_form_by_hand() {
        // 1, 2, 3: μ = 2, s = 1, n = 3.
        let x = [1.0, 2.0, 3.0];
        assert!((of(SnciKind::Snr, &x) - 2.0 / (1.0 + 2e-6 + 1e-12)).abs() < 1e-15);
        assert_eq!(of(SnciKind::Bounded, &x), 0.8);
        assert_eq!(of(SnciKind::Snr2, &x), 4.0);
        assert_eq!(of(SnciKind::TStat, &x), 2.0 * 3f64.sqrt());
        let power = 4.0 - 1.0 / 3.0;
        assert!((of(SnciKind::Debiased, &x) - power / (power + 1.0)).abs() < 1e-15);
        // J(3) = Γ(1)/Γ(1/2) = 1/√π, J(4) = Γ(3/2)/(√(3/2) Γ(1)).
        assert!((c4_factor(3) - 0.564_189_583_547_756_3).abs() < 1e-15);
        assert!((c4_factor(4) - 0.886_226_925_452_758 / 1.5f64.sqrt()).abs() < 1e-15);
        assert!((c4_factor(15) - 0.9453).abs() < 5e-5, "{}", c4_factor(15));
    }

    #[test]
    fn edges_are_as_written() {
        assert!(of(SnciKind::Snr, &[1.0, 2.0]).is_nan());
        assert!(of(SnciKind::Snr, &[0.0; 4]).is_nan());
        assert_eq!(of(SnciKind::Snr, &[0.1; 4]), f64::INFINITY);
        assert_eq!(of(SnciKind::Snr, &[-0.1; 4]), f64::NEG_INFINITY);
        assert_eq!(of(SnciKind::Bounded, &[0.1; 4]), 1.0);
        assert_eq!(of(SnciKind::Bounded, &[-1.0, -2.0, -3.0]), 0.0);
        let x = Mat::from_fn(4, 2, |i, j| if i == 0 && j == 0 { f64::NAN } else { -(i as f64) });
        let params = SnciParams {
            kind: SnciKind::Bounded,
            sign_policy: SignPolicy::Carry,
            n_bootstraps: 0,
            ..Default::default()
        };
        let found = snci(x.as_ref(), &own_families(4), &params).unwrap();
        assert_eq!((found.n_models, found.rois[0].value), (vec![3, 4], -0.8));
        assert!(found.interval_reason.is_some() && found.rois[0].lower.is_nan());
    }

    #[test]
    fn monotone_forms_order_rois_alike() {
        let mut stream = Stream::new(1, "snci tests", 0);
        let x = Mat::from_fn(9, 30, |_, j| 0.05 * (1 + j) as f64 + 0.1 * stream.normal().abs());
        let order = |kind| {
            let params = SnciParams { kind, n_bootstraps: 0, ..Default::default() };
            let values = weighted_snci(x.as_ref(), &[1; 9], &params);
            let mut order: Vec<usize> = (0..30).collect();
            order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
            order
        };
        assert_eq!(order(SnciKind::Snr), order(SnciKind::Bounded));
        assert_eq!(order(SnciKind::Snr), order(SnciKind::Snr2));
    }

    #[test]
    fn intervals_resample_families_and_do_not_depend_on_the_order_of_models() {
        let mut stream = Stream::new(1, "snci tests", 1);
        let x = Mat::from_fn(12, 5, |_, _| 0.3 + 0.1 * stream.normal());
        // Pairs of identical twins: 24 models, but only 12 families.
        let twins = Mat::from_fn(24, 5, |i, j| x[(i / 2, j)]);
        let names: Vec<String> = (0..24).map(|i| format!("f{:02}", i / 2)).collect();
        for interval in [Interval::Percentile, Interval::Bca] {
            let params = SnciParams { kind: SnciKind::Bounded, interval, ..Default::default() };
            let single = snci(x.as_ref(), &own_families(12), &params).unwrap();
            let paired = snci(twins.as_ref(), &Labels::new(&names), &params).unwrap();
            let blind = snci(twins.as_ref(), &own_families(24), &params).unwrap();
            let width = |s: &Snci| s.rois.iter().map(|e| e.upper - e.lower).sum::<f64>();
            assert!((width(&paired) / width(&single) - 1.0).abs() < 0.1);
            assert!(width(&blind) < 0.85 * width(&paired), "{} {}", width(&blind), width(&paired));
            let turned = Mat::from_fn(12, 5, |i, j| x[(11 - i, j)]);
            let names: Vec<String> = (0..12).map(|i| format!("f{:02}", 11 - i)).collect();
            let turned = snci(turned.as_ref(), &Labels::new(&names), &params).unwrap();
            for (a, b) in single.rois.iter().zip(&turned.rois) {
                assert!((a.lower - b.lower).abs() < 1e-12 && (a.upper - b.upper).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn the_influence_of_a_model_is_what_changes_without_it() {
        let x = Mat::from_fn(4, 1, |i, _| [1.0, 2.0, 3.0, 10.0][i]);
        let params = SnciParams { kind: SnciKind::Snr2, n_bootstraps: 0, ..Default::default() };
        let found = snci(x.as_ref(), &own_families(4), &params).unwrap();
        assert!((found.influence[(3, 0)] - (found.rois[0].value - 4.0)).abs() < 1e-14);
        assert!((found.median_without_family[3] - 4.0).abs() < 1e-14);
    }

    #[test]
    fn profiles_by_hand() {
        // Profiles (1, 2, 3), (2, 4, 6): r = 1. ROI means 1.5, 3, 4.5: variance 2.25. Differences
        // −1, −2, −3: s² = 0.5, 2, 4.5, mean 7/3.
        let x = Mat::from_fn(2, 3, |i, j| ((i + 1) * (j + 1)) as f64);
        let params = SnciParams { n_bootstraps: 0, ..Default::default() };
        let found = profile_consistency(x.as_ref(), &own_families(2), &params).unwrap();
        assert!((found.mean_correlation.value - 1.0).abs() < 1e-15);
        assert!((found.profile_snr - 2.25 * 3.0 / 7.0).abs() < 1e-15);
        // MSR = 2·4.5/2 = 4.5; residuals ±0.5, 0, ∓0.5: MSE = 1/2. ICC = 4/5.
        assert!((found.icc31 - 0.8).abs() < 1e-15);
        assert_eq!((found.n_pairs, found.n_undefined_pairs), (1, 0));
    }
}
