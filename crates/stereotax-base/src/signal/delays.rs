//! Copy features at several delays, so that a linear fit can shape the response itself (FIR).
//!
//! `out[t, k·q + j] = features[t − d_k, j]` for delays d_k in TRs, and 0 where t − d_k lies before the
//! first sample **of the same run**: what a subject heard in one run never predicts the next.
//!
//! Source: specs: nfas-dmd 8.3; Huth et al. 2016 for delays 1–4 at a TR of 2 s. Differs from the helpers
//! in common use, which are unaware of runs. Cost: O(n · q · delays).

use faer::{Mat, MatRef};

use super::hrf::{check_rows, check_tr};
use crate::data::{Error, Result, Runs};

/// Shortest and longest default delay, in seconds.
const FIRST_S: f64 = 1.5;
const LAST_S: f64 = 9.0;

/// Which delays, and what to do with samples that look back before their run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DelayParams {
    /// Delays in TRs, ascending.
    pub delays: Vec<usize>,
    /// Whether fits should leave out samples whose window was padded with zeros. Default false.
    pub drop_padded: bool,
}

/// All delays d with 1.5 s ≤ d · TR ≤ 9 s (TR 2 s: 1–4; TR 1.5 s: 1–6).
pub fn default_delays(tr_s: f64) -> Result<Vec<usize>> {
    check_tr(tr_s)?;
    // 6 · 1.5 is exact, but 9 · 0.1 style products are not: allow for rounding.
    let slack = 1e-9;
    let delays: Vec<usize> = ((FIRST_S / tr_s - slack).ceil().max(1.0) as usize
        ..=(LAST_S / tr_s + slack).floor() as usize)
        .collect();
    if delays.is_empty() {
        return Err(Error::Invalid {
            what: "tr_s".into(),
            expected: "a repetition time of at most 9 seconds for default delays".into(),
            found: format!("{tr_s} s"),
            hint: "name the delays".into(),
        });
    }
    Ok(delays)
}

/// Stack the features at each delay, run by run; shape n × (q · delays).
///
/// Errors: no delay, delays that do not ascend, or a run that is no longer than the longest delay.
pub fn delay(features: MatRef<f64>, runs: &Runs, delays: &[usize]) -> Result<Mat<f64>> {
    check_rows(features, runs)?;
    check_delays(runs, delays)?;
    let q = features.ncols();
    let mut out = Mat::zeros(features.nrows(), q * delays.len());
    for (k, &d) in delays.iter().enumerate() {
        for j in 0..q {
            for range in runs.ranges() {
                for t in range.start + d..range.end {
                    out[(t, k * q + j)] = features[(t - d, j)];
                }
            }
        }
    }
    Ok(out)
}

/// The samples whose window reaches before their run: the first `max(delays)` of each run, ascending.
pub fn padded_samples(runs: &Runs, delays: &[usize]) -> Vec<usize> {
    let longest = delays.iter().copied().max().unwrap_or(0);
    runs.ranges().flat_map(|range| range.start..(range.start + longest).min(range.end)).collect()
}

fn check_delays(runs: &Runs, delays: &[usize]) -> Result<()> {
    if delays.is_empty() || !delays.windows(2).all(|w| w[0] < w[1]) {
        return Err(Error::Invalid {
            what: "delays".into(),
            expected: "at least one delay, in ascending order without repeats".into(),
            found: format!("{delays:?}"),
            hint: "at a TR of 2 s, 1, 2, 3, 4 is usual".into(),
        });
    }
    let longest = delays[delays.len() - 1];
    for (range, name) in runs.ranges().zip(runs.names()) {
        if range.len() <= longest {
            return Err(Error::TooFew {
                what: format!("run {name}"),
                needed: format!("{} samples (the longest delay is {longest})", longest + 1),
                found: format!("{} samples", range.len()),
                hint: "drop the run or shorten the delays".into(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_runs() -> Runs {
        Runs::from_lengths(&["a".into(), "b".into()], &[3, 4]).unwrap()
    }

    #[test]
    fn defaults_span_one_and_a_half_to_nine_seconds() {
        assert_eq!(default_delays(2.0).unwrap(), [1, 2, 3, 4]);
        assert_eq!(default_delays(1.5).unwrap(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(default_delays(1.0).unwrap(), (2..=9).collect::<Vec<_>>());
        assert_eq!(default_delays(0.1).unwrap(), (15..=90).collect::<Vec<_>>());
        assert!(default_delays(10.0).is_err());
    }

    #[test]
    fn delays_by_hand_never_cross_runs() {
        let x = Mat::from_fn(7, 2, |i, j| (10 * j + i + 1) as f64);
        let y = delay(x.as_ref(), &two_runs(), &[0, 2]).unwrap();
        let column = |j: usize| (0..7).map(|i| y[(i, j)]).collect::<Vec<_>>();
        assert_eq!(column(1), [11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0]);
        assert_eq!(column(2), [0.0, 0.0, 1.0, 0.0, 0.0, 4.0, 5.0]);
        assert_eq!(column(3), [0.0, 0.0, 11.0, 0.0, 0.0, 14.0, 15.0]);
        assert_eq!(padded_samples(&two_runs(), &[0, 2]), [0, 1, 3, 4]);
    }

    #[test]
    fn a_run_shorter_than_its_delays_is_named() {
        let x = Mat::zeros(7, 1);
        let error = delay(x.as_ref(), &two_runs(), &[3]).unwrap_err().to_string();
        assert!(error.contains("run a") && error.contains("4 samples"), "{error}");
        assert!(delay(x.as_ref(), &two_runs(), &[2, 1]).is_err());
        assert!(delay(x.as_ref(), &two_runs(), &[]).is_err());
    }
}
