//! Choose and compute the noise ceiling of a benchmark: per subject and ROI, as a correlation.
//!
//! `Auto` takes the first that the data allow: given values, the split halves of repeats, the correlation
//! between subjects. What the data do not allow is NaN, with the reason in `status`.
//! Source: specs: nfas-dmd 8.6; the estimators are in `stats::ceiling`. Cost: that of the estimator.

use faer::MatRef;

use crate::data::{Error, Result, Runs};
use crate::stats::ceiling::{CeilingMethod, CeilingParams, NoiseCeiling, noise_ceiling};
use crate::stats::summary::mean;

/// How the noise ceiling is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CeilingRule {
    /// The first of `Given`, `SplitHalf`, `Isc` that the data allow, else `None`.
    #[default]
    Auto,
    /// √ of the corrected explainable variance over repeats.
    ExplainableVariance,
    /// √ of the Spearman–Brown reliability over repeats.
    SplitHalf,
    /// √ of signal power over the variance of the mean.
    SignalPower,
    /// √ of the mean correlation between subjects.
    Isc,
    /// Known beforehand.
    Given,
    /// None.
    None,
}

/// What a ceiling can be computed from.
#[derive(Debug, Clone, Copy)]
pub struct CeilingData<'a> {
    /// Responses per subject (samples × ROIs), means over repeats.
    pub responses: &'a [MatRef<'a, f64>],
    /// The same per subject and repeat; none or one where nothing was repeated.
    pub repeats: &'a [Vec<MatRef<'a, f64>>],
    /// Ceilings known beforehand, per ROI, as correlations.
    pub given: Option<&'a [f64]>,
    /// Runs: each is centred by itself.
    pub runs: &'a Runs,
}

/// Noise ceilings of a benchmark.
#[derive(Debug, Clone, PartialEq)]
pub struct Ceilings {
    /// The estimate taken: `given`, `split_half`, `explainable_variance`, `signal_power`, `isc`, `none`.
    pub kind: String,
    /// `ok`, or why there are none.
    pub status: String,
    /// Greatest correlation per subject and ROI; NaN where undefined.
    pub subjects: Vec<Vec<f64>>,
}

impl Ceilings {
    /// Mean over the subjects that have one, per ROI; NaN where none has.
    pub fn mean(&self) -> Vec<f64> {
        let n_rois = self.subjects.first().map_or(0, Vec::len);
        (0..n_rois)
            .map(|j| {
                let defined: Vec<f64> =
                    self.subjects.iter().map(|s| s[j]).filter(|c| c.is_finite()).collect();
                if defined.is_empty() { f64::NAN } else { mean(&defined) }
            })
            .collect()
    }

    /// Whether an ROI is left out of group statistics: its mean ceiling is below `least`.
    ///
    /// Where there are ceilings, an ROI without one cannot be shown to reach the threshold and is left out
    /// too; where there are none at all, every ROI stays.
    pub fn masked(&self, least: f64) -> Vec<bool> {
        let known = self.status == "ok" && least > 0.0;
        self.mean().into_iter().map(|c| known && (c.is_nan() || c < least)).collect()
    }
}

/// Compute the ceilings.
///
/// Errors: given values of another number than ROIs, repeats of another shape than the responses, and
/// those of the estimators.
pub fn ceilings(rule: CeilingRule, data: &CeilingData<'_>, seed: u64) -> Result<Ceilings> {
    let n_subjects = data.responses.len();
    let n_rois = data.responses.first().map_or(0, |r| r.ncols());
    check(data, n_rois)?;
    let have_repeats = data.repeats.len() == n_subjects && data.repeats.iter().all(|r| r.len() > 1);
    let rule = match rule {
        CeilingRule::Auto if data.given.is_some() => CeilingRule::Given,
        CeilingRule::Auto if have_repeats => CeilingRule::SplitHalf,
        CeilingRule::Auto if n_subjects > 1 => CeilingRule::Isc,
        chosen => chosen,
    };
    let made = |kind: &str, found: Vec<NoiseCeiling>| Ceilings {
        kind: kind.into(),
        status: "ok".into(),
        subjects: found.iter().map(NoiseCeiling::as_correlations).collect(),
    };
    let undefined = |kind: &str, why: &str| Ceilings {
        kind: kind.into(),
        status: why.into(),
        subjects: vec![vec![f64::NAN; n_rois]; n_subjects],
    };
    let from_repeats = |kind: &str, method: CeilingMethod| -> Result<Ceilings> {
        let params = CeilingParams { method, seed, n_bootstraps: 0, ..CeilingParams::default() };
        let found = data.repeats.iter().map(|repeats| noise_ceiling(repeats, data.runs, &params));
        Ok(made(kind, found.collect::<Result<_>>()?))
    };
    Ok(match rule {
        CeilingRule::Given => match data.given {
            Some(given) => Ceilings {
                kind: "given".into(),
                status: "ok".into(),
                subjects: vec![given.to_vec(); n_subjects],
            },
            None => undefined("given", "no ceilings were given"),
        },
        CeilingRule::SplitHalf if have_repeats => from_repeats("split_half", CeilingMethod::SplitHalf)?,
        CeilingRule::ExplainableVariance if have_repeats => {
            from_repeats("explainable_variance", CeilingMethod::ExplainableVariance)?
        }
        CeilingRule::SignalPower if have_repeats => from_repeats("signal_power", CeilingMethod::SignalPower)?,
        CeilingRule::Isc if n_subjects > 1 => {
            let method = CeilingMethod::IscSingle;
            let params = CeilingParams { method, seed, n_bootstraps: 0, ..CeilingParams::default() };
            let one = noise_ceiling(data.responses, data.runs, &params)?;
            made("isc", vec![one; n_subjects])
        }
        CeilingRule::None => undefined("none", "no ceiling was asked for"),
        CeilingRule::Isc => undefined("isc", "an inter-subject ceiling needs two subjects"),
        _ => undefined("none", "a ceiling needs repeats, several subjects, or given values"),
    })
}

fn check(data: &CeilingData<'_>, n_rois: usize) -> Result<()> {
    if let Some(given) = data.given
        && given.len() != n_rois
    {
        return Err(Error::Shape {
            what: "ceilings".into(),
            expected: format!("{n_rois} (one per ROI)"),
            found: given.len().to_string(),
            hint: "give one correlation per ROI, NaN where it is not known".into(),
        });
    }
    for (subject, repeats) in data.repeats.iter().enumerate() {
        let Some(of) = data.responses.get(subject) else { continue };
        if let Some(odd) = repeats.iter().find(|r| (r.nrows(), r.ncols()) != (of.nrows(), of.ncols())) {
            return Err(Error::Shape {
                what: format!("repeats of subject {subject}"),
                expected: format!("{} samples × {} ROIs (as the responses)", of.nrows(), of.ncols()),
                found: format!("{} × {}", odd.nrows(), odd.ncols()),
                hint: "a repeat holds the same stimuli and ROIs in the same order".into(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;
    use faer::Mat;

    /// Repeats of a signal of variance 1 with noise of variance `noise`.
    fn repeats(n: usize, n_repeats: usize, noise: f64) -> Vec<Mat<f64>> {
        let mut stream = Stream::new(1, "ceilings test", 0);
        let signal = Mat::from_fn(n, 2, |_, _| stream.normal());
        (0..n_repeats)
            .map(|_| Mat::from_fn(n, 2, |i, j| signal[(i, j)] + noise.sqrt() * stream.normal()))
            .collect()
    }

    #[test]
    fn auto_takes_what_the_data_allow() {
        let (all, runs) = (repeats(4000, 2, 1.0), Runs::single(4000));
        let views: Vec<MatRef<f64>> = all.iter().map(Mat::as_ref).collect();
        let given = [0.5, f64::NAN];
        let data = CeilingData { responses: &views[..1], repeats: &[], given: None, runs: &runs };
        let of = |data: CeilingData| ceilings(CeilingRule::Auto, &data, 0).unwrap();
        let none = of(data);
        assert_eq!((none.kind.as_str(), none.masked(0.1)), ("none", vec![false, false]));
        assert!(none.status.contains("needs repeats"), "{}", none.status);
        assert_eq!(of(CeilingData { given: Some(&given), ..data }).kind, "given");
        assert_eq!(of(CeilingData { given: Some(&given), ..data }).masked(0.1), [false, true]);

        // Two repeats of variance 1 + 1: the mean of both correlates with the signal by √(1/(1 + ½)).
        let both = [views.clone()];
        let halves = of(CeilingData { repeats: &both, ..data });
        assert_eq!(halves.kind, "split_half");
        assert!((halves.mean()[0] - (1.0f64 / 1.5).sqrt()).abs() < 0.03, "{:?}", halves.mean());
        // As two subjects: one alone correlates with the signal by √½.
        let isc = of(CeilingData { responses: &views, ..data });
        assert_eq!((isc.kind.as_str(), isc.subjects.len()), ("isc", 2));
        assert!((isc.mean()[1] - 0.5f64.sqrt()).abs() < 0.03, "{:?}", isc.mean());
    }

    #[test]
    fn what_is_not_there_is_said_and_what_does_not_fit_refused() {
        let (all, runs) = (repeats(40, 2, 1.0), Runs::single(40));
        let views: Vec<MatRef<f64>> = all.iter().map(Mat::as_ref).collect();
        let data = CeilingData { responses: &views[..1], repeats: &[], given: None, runs: &runs };
        for rule in [CeilingRule::Isc, CeilingRule::SplitHalf, CeilingRule::Given, CeilingRule::SignalPower] {
            let found = ceilings(rule, &data, 0).unwrap();
            assert!(found.status != "ok" && found.subjects[0][0].is_nan(), "{rule:?}");
        }
        let refused = ceilings(CeilingRule::Auto, &CeilingData { given: Some(&[0.5]), ..data }, 0);
        assert!(refused.unwrap_err().to_string().contains("`ceilings` has 1"));
        let short = [vec![views[0].get(..20, ..), views[1]]];
        let refused = ceilings(CeilingRule::Auto, &CeilingData { repeats: &short, ..data }, 0);
        assert!(refused.unwrap_err().to_string().contains("`repeats of subject 0` has 20 × 2"));
    }
}
