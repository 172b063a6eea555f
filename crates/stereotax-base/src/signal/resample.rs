//! Bring stimulus features to the TR clock.
//!
//! Lanczos, for events at uneven times (words): with x = (t_new − t_old) · f_c and
//! f_c = cutoff_mult / (mean spacing of the new times),
//!
//! ```text
//! out[new] = Σ_old w · values[old],   w = sinc(x) · sinc(x / a) for |x| < a, else 0,
//! ```
//!
//! sinc(x) = sin(πx)/(πx). The weights are not normalised by default, so the rate of events enters every
//! feature, as in the Huth laboratory's practice; `Normalise::Sum` divides by Σ w.
//! Box average, for even streams (frames, audio): the mean of the samples with
//! start ≤ t < start + TR.
//!
//! Source: specs: nfas-dmd 8.2; Huth et al. 2016. Cost: O(new · old + overlaps · columns).

use faer::{Mat, MatRef};

use crate::data::{Error, Result};

/// Whether the weights of one new time are divided by their sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// They are not: for events.
    #[default]
    None,
    /// They are: for evenly sampled streams.
    Sum,
}

/// Choices of the Lanczos filter.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LanczosParams {
    /// Lobes a on each side. Default 3.
    pub lobes: usize,
    /// Cut-off as a multiple of the new rate. Default 1.
    pub cutoff_mult: f64,
    /// Default `None`.
    pub normalise: Normalise,
}

impl Default for LanczosParams {
    fn default() -> Self {
        LanczosParams { lobes: 3, cutoff_mult: 1.0, normalise: Normalise::None }
    }
}

/// Filter `values` (old × columns) at `old_times_s` to `new_times_s`; new × columns.
///
/// With `Normalise::Sum` a new time that no event reaches, or whose weights cancel (|Σ w| < 1e-6), is
/// NaN. Errors: times that do not match the rows, are not finite, or new times that do not ascend.
pub fn lanczos(
    values: MatRef<f64>,
    old_times_s: &[f64],
    new_times_s: &[f64],
    params: &LanczosParams,
) -> Result<Mat<f64>> {
    check_times(values, old_times_s)?;
    check_lanczos(new_times_s, params)?;
    let n_new = new_times_s.len();
    let spacing_s = (new_times_s[n_new - 1] - new_times_s[0]) / (n_new - 1) as f64;
    let (cutoff_hz, lobes) = (params.cutoff_mult / spacing_s, params.lobes as f64);
    let mut out = Mat::zeros(n_new, values.ncols());
    for (i, new) in new_times_s.iter().enumerate() {
        let mut sum = 0.0;
        for (o, old) in old_times_s.iter().enumerate() {
            let weight = lanczos_weight((new - old) * cutoff_hz, lobes);
            if weight != 0.0 {
                sum += weight;
                for j in 0..values.ncols() {
                    out[(i, j)] += weight * values[(o, j)];
                }
            }
        }
        if params.normalise == Normalise::Sum {
            let scale = if sum.abs() < 1e-6 { f64::NAN } else { 1.0 / sum };
            (0..values.ncols()).for_each(|j| out[(i, j)] *= scale);
        }
    }
    Ok(out)
}

/// Mean of the samples of each TR; `n_new` × columns.
///
/// TR `i` holds the samples at `start_s + i·TR ≤ t < start_s + (i + 1)·TR`. Samples outside are left
/// out (trimming). A TR without a sample is NaN. Errors: times that do not match the rows, a TR ≤ 0.
pub fn box_average(
    values: MatRef<f64>,
    times_s: &[f64],
    start_s: f64,
    tr_s: f64,
    n_new: usize,
) -> Result<Mat<f64>> {
    check_times(values, times_s)?;
    if !(tr_s > 0.0 && tr_s.is_finite() && start_s.is_finite()) {
        return Err(Error::Invalid {
            what: "tr_s and start_s".into(),
            expected: "finite seconds, the first above 0".into(),
            found: format!("{tr_s} and {start_s}"),
            hint: "give seconds".into(),
        });
    }
    let mut out = Mat::zeros(n_new, values.ncols());
    let mut counts = vec![0usize; n_new];
    for (row, t) in times_s.iter().enumerate() {
        // Frame times such as 29 · 0.1 s may lie a rounding error before the border they mean.
        let bin = ((t - start_s) / tr_s + 1e-9).floor();
        if bin < 0.0 || bin >= n_new as f64 {
            continue;
        }
        let bin = bin as usize;
        counts[bin] += 1;
        for j in 0..values.ncols() {
            out[(bin, j)] += values[(row, j)];
        }
    }
    for (bin, &count) in counts.iter().enumerate() {
        let scale = if count == 0 { f64::NAN } else { 1.0 / count as f64 };
        (0..values.ncols()).for_each(|j| out[(bin, j)] *= scale);
    }
    Ok(out)
}

/// How one series comes to another clock: every new sample as a weighted sum of old ones.
///
/// A new sample that nothing reaches is zero, as the sum of nothing is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resampling {
    /// Per new sample: old samples, ascending, with their weights.
    rows: Vec<Vec<(usize, f64)>>,
    n_old: usize,
}

impl Resampling {
    /// The weights of [`lanczos`].
    pub fn lanczos(old_times_s: &[f64], new_times_s: &[f64], params: &LanczosParams) -> Result<Self> {
        check_finite(old_times_s)?;
        check_lanczos(new_times_s, params)?;
        let n_new = new_times_s.len();
        let spacing_s = (new_times_s[n_new - 1] - new_times_s[0]) / (n_new - 1) as f64;
        let (cutoff_hz, lobes) = (params.cutoff_mult / spacing_s, params.lobes as f64);
        let rows = new_times_s
            .iter()
            .map(|new| {
                let weights = old_times_s.iter().map(|old| lanczos_weight((new - old) * cutoff_hz, lobes));
                let mut row: Vec<(usize, f64)> = weights.enumerate().filter(|(_, w)| *w != 0.0).collect();
                if params.normalise == Normalise::Sum {
                    let sum: f64 = row.iter().map(|(_, w)| w).sum();
                    if sum.abs() < 1e-6 {
                        row.clear();
                    }
                    row.iter_mut().for_each(|(_, w)| *w /= sum);
                }
                row
            })
            .collect();
        Ok(Resampling { rows, n_old: old_times_s.len() })
    }

    /// The weights of [`box_average`].
    pub fn boxes(times_s: &[f64], starts_s: &[f64], tr_s: f64) -> Result<Self> {
        check_finite(times_s)?;
        check_finite(starts_s)?;
        let mut rows = vec![Vec::new(); starts_s.len()];
        for (old, new) in box_of(times_s, starts_s, tr_s).into_iter().enumerate() {
            if let Some(new) = new {
                rows[new].push((old, 1.0));
            }
        }
        for row in &mut rows {
            let n = row.len() as f64;
            row.iter_mut().for_each(|(_, w)| *w /= n);
        }
        Ok(Resampling { rows, n_old: times_s.len() })
    }

    /// This one for the first samples of both series, `other` for those behind them: run after run.
    pub fn then(mut self, other: &Resampling) -> Self {
        let shifted = |row: &Vec<(usize, f64)>| row.iter().map(|(old, w)| (self.n_old + old, *w)).collect();
        self.rows.extend(other.rows.iter().map(shifted));
        self.n_old += other.n_old;
        self
    }

    /// Samples of the old clock.
    pub fn n_old(&self) -> usize {
        self.n_old
    }

    /// Samples of the new clock.
    pub fn n_new(&self) -> usize {
        self.rows.len()
    }

    /// The old samples of a new one, ascending, with their weights.
    pub fn row(&self, new: usize) -> &[(usize, f64)] {
        &self.rows[new]
    }

    /// New samples that nothing reaches.
    pub fn n_empty(&self) -> usize {
        self.rows.iter().filter(|row| row.is_empty()).count()
    }

    /// `values` (old × columns) on the new clock (new × columns). Errors: another number of rows.
    pub fn apply(&self, values: MatRef<f64>) -> Result<Mat<f64>> {
        if values.nrows() != self.n_old {
            return Err(Error::Shape {
                what: "values".into(),
                expected: format!("{} rows (samples of the old clock)", self.n_old),
                found: format!("{} rows", values.nrows()),
                hint: "resample the series whose times were given".into(),
            });
        }
        let mut out = Mat::zeros(self.n_new(), values.ncols());
        for j in 0..values.ncols() {
            let column = values.col(j);
            for (new, row) in self.rows.iter().enumerate() {
                out[(new, j)] = row.iter().map(|(old, w)| w * column[*old]).sum();
            }
        }
        Ok(out)
    }
}

/// The volume in which each time lies, start ≤ t < start + TR; `starts_s` ascend.
pub fn box_of(times_s: &[f64], starts_s: &[f64], tr_s: f64) -> Vec<Option<usize>> {
    times_s
        .iter()
        .map(|t| {
            // Frame times such as 29 · 0.1 s may lie a rounding error before the border they mean.
            let t = t + 1e-9 * tr_s;
            let after = starts_s.partition_point(|start| *start <= t);
            let volume = after.checked_sub(1)?;
            (t < starts_s[volume] + tr_s).then_some(volume)
        })
        .collect()
}

fn check_times(values: MatRef<f64>, times_s: &[f64]) -> Result<()> {
    if times_s.len() != values.nrows() {
        return Err(Error::Shape {
            what: "times".into(),
            expected: format!("{} times (one per row of the values)", values.nrows()),
            found: format!("{} times", times_s.len()),
            hint: "give the time of every sample".into(),
        });
    }
    check_finite(times_s)
}

fn check_lanczos(new_times_s: &[f64], params: &LanczosParams) -> Result<()> {
    let n_new = new_times_s.len();
    if n_new < 2 || !new_times_s.windows(2).all(|w| w[0] < w[1]) || !new_times_s.iter().all(|t| t.is_finite())
    {
        return Err(Error::Invalid {
            what: "new_times_s".into(),
            expected: "at least 2 finite times in ascending order".into(),
            found: format!("{n_new} times"),
            hint: "give the start (or middle) of every TR".into(),
        });
    }
    if params.lobes == 0 || !(params.cutoff_mult > 0.0 && params.cutoff_mult.is_finite()) {
        return Err(Error::Invalid {
            what: "lobes and cutoff_mult".into(),
            expected: "numbers above 0".into(),
            found: format!("{} and {}", params.lobes, params.cutoff_mult),
            hint: "3 and 1 are usual".into(),
        });
    }
    Ok(())
}

fn check_finite(times_s: &[f64]) -> Result<()> {
    match times_s.iter().position(|t| !t.is_finite()) {
        None => Ok(()),
        Some(row) => Err(Error::NotFinite {
            what: "times".into(),
            row,
            column: 0,
            count: times_s.iter().filter(|t| !t.is_finite()).count(),
            hint: "drop the events without a time".into(),
        }),
    }
}

fn lanczos_weight(x: f64, lobes: f64) -> f64 {
    if x.abs() >= lobes { 0.0 } else { sinc(x) * sinc(x / lobes) }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_vanish_at_integer_lags_but_zero() {
        assert_eq!(lanczos_weight(0.0, 3.0), 1.0);
        for lag in [1.0, 2.0, 3.0, 4.0, -1.0, -2.0] {
            assert!(lanczos_weight(lag, 3.0).abs() < 1e-16, "{lag}");
        }
        // sinc(1/2) sinc(1/6) = (2/π) · (3/π).
        let expected = 6.0 / std::f64::consts::PI.powi(2);
        assert!((lanczos_weight(0.5, 3.0) - expected).abs() < 1e-15);
    }

    #[test]
    fn events_on_the_clock_come_back_unchanged() {
        let times: Vec<f64> = (0..9).map(|i| 2.0 * i as f64).collect();
        let x = Mat::from_fn(9, 2, |i, j| (i * i + j) as f64);
        let y = lanczos(x.as_ref(), &times, &times, &LanczosParams::default()).unwrap();
        assert!((x - y).norm_max() < 1e-13);
    }

    #[test]
    fn normalised_weights_keep_a_constant_and_raw_ones_count_events() {
        let old: Vec<f64> = (0..200).map(|i| 0.1 * i as f64).collect();
        let new: Vec<f64> = (2..8).map(|i| 2.0 * i as f64).collect();
        let ones = Mat::from_fn(200, 1, |_, _| 1.0);
        let sum = LanczosParams { normalise: Normalise::Sum, ..LanczosParams::default() };
        let kept = lanczos(ones.as_ref(), &old, &new, &sum).unwrap();
        assert!((0..6).all(|i| (kept[(i, 0)] - 1.0).abs() < 1e-12));
        // 20 events per TR: the raw sum is near 20 (the filter's integral is 0.997 for a = 3).
        let raw = lanczos(ones.as_ref(), &old, &new, &LanczosParams::default()).unwrap();
        assert!((raw[(2, 0)] - 20.0).abs() < 0.2, "{}", raw[(2, 0)]);
    }

    #[test]
    fn kept_weights_do_what_the_filters_do() {
        // Uneven events with a gap; the time of every volume's middle and start.
        let events: Vec<f64> = (0..60).map(|i| 0.37 * i as f64 + if i > 30 { 9.0 } else { 0.0 }).collect();
        let starts: Vec<f64> = (0..15).map(|i| 2.0 * i as f64).collect();
        let x = Mat::from_fn(60, 3, |i, j| ((7 * i + 3 * j) % 11) as f64 - 4.0);
        for normalise in [Normalise::None, Normalise::Sum] {
            let params = LanczosParams { normalise, ..LanczosParams::default() };
            let direct = lanczos(x.as_ref(), &events, &starts, &params).unwrap();
            let map = Resampling::lanczos(&events, &starts, &params).unwrap();
            let kept = map.apply(x.as_ref()).unwrap();
            for i in 0..15 {
                for j in 0..3 {
                    let same = (kept[(i, j)] - direct[(i, j)]).abs() < 1e-12;
                    assert!(same || direct[(i, j)].is_nan() && kept[(i, j)] == 0.0);
                }
            }
        }
        let direct = box_average(x.as_ref(), &events, 0.0, 2.0, 15).unwrap();
        let map = Resampling::boxes(&events, &starts, 2.0).unwrap();
        let kept = map.apply(x.as_ref()).unwrap();
        // Volumes 6 to 9 lie in the gap or behind it: events stand at 0 … 11.1 and 20.5 … 30.8 s.
        assert_eq!(map.n_empty(), 4);
        for i in 0..15 {
            let same = (0..3).all(|j| (kept[(i, j)] - direct[(i, j)]).abs() < 1e-12);
            assert!(same || direct[(i, 0)].is_nan() && (0..3).all(|j| kept[(i, j)] == 0.0), "{i}");
        }
        let two = map.clone().then(&map);
        assert_eq!((two.n_old(), two.n_new()), (120, 30));
        let twice = two.apply(faer::concat![[x], [x]].as_ref()).unwrap();
        assert_eq!(twice.subrows(15, 15).to_owned(), kept);
        // One event in each volume is itself, to the last bit.
        let own = Resampling::boxes(&starts, &starts, 2.0).unwrap();
        assert_eq!(own.apply(x.subrows(0, 15)).unwrap(), x.subrows(0, 15).to_owned());
        assert!(map.apply(x.subrows(0, 15)).is_err());
    }

    #[test]
    fn boxes_by_hand() {
        let x = Mat::from_fn(5, 1, |i, _| (i + 1) as f64);
        let times = [0.0, 1.0, 2.0, 3.0, 7.0];
        let y = box_average(x.as_ref(), &times, 1.0, 2.0, 3).unwrap();
        // [1, 3): 2 and 3. [3, 5): 4. [5, 7): nothing. Sample 0 comes before the start, 7 after the end.
        assert_eq!((y[(0, 0)], y[(1, 0)]), (2.5, 4.0));
        assert!(y[(2, 0)].is_nan());
        assert!(box_average(x.as_ref(), &times[..4], 1.0, 2.0, 3).is_err());
        assert!(box_average(x.as_ref(), &[0.0, f64::NAN, 0.0, 0.0, 0.0], 1.0, 2.0, 3).is_err());
    }
}
