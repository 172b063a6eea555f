//! Remove slow drifts from each run and put every run on one scale.
//!
//! Cosine basis of a run of n samples (nilearn's): column k = 1…K,
//!
//! ```text
//! K = min(floor(2 · n · f_hp · TR), n − 1),   c_k[t] = √(2/n) · cos(π k (t + 0.5) / n)
//! ```
//!
//! Polynomial basis: Legendre polynomials P_0…P_polort on [−1, 1], orthonormalised on the n samples.
//! A series is replaced by its residual after least squares on the basis and a constant; both bases are
//! orthonormal, so that is y − B(Bᵀy). Then each run is z-scored (divisor n).
//!
//! Source: specs: nfas-dmd 8.4. Cost: O(n · columns · K).

use faer::{Mat, MatRef};

use super::hrf::{check_rows, check_tr};
use crate::data::{Error, Result, Runs};
use crate::linalg::{add_product, cross, svd, thin_qr};

/// Which drifts are taken out, per run.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// None; the mean stays too.
    None,
    /// Mean and cosines below this frequency.
    Cosine {
        /// Cut-off in hertz; 0.01 is the default of the encoding pipelines.
        high_pass_hz: f64,
    },
    /// Polynomials up to this order; 0 takes out the mean only (for responses cleaned before).
    Polynomial {
        /// Highest order.
        polort: usize,
    },
    /// The mean only.
    #[default]
    Mean,
}

/// What a z-score of a constant column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConstantRule {
    /// NaN: for responses, where a constant series is undefined.
    #[default]
    Nan,
    /// 0: for features, where a unit that is silent in a run adds nothing there.
    Zero,
}

/// A column that does not vary within a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConstantColumn {
    /// Run, counted from 0.
    pub run: usize,
    /// Column, counted from 0.
    pub column: usize,
}

/// Series with mean 0 and standard deviation 1 in each run.
#[derive(Debug, Clone)]
pub struct ZScored {
    /// Samples × columns.
    pub values: Mat<f64>,
    /// Where there was no variance, in run order.
    pub constant: Vec<ConstantColumn>,
}

/// How many cosines (without the constant) nilearn's rule gives for a run.
pub fn dct_order(n_samples: usize, tr_s: f64, high_pass_hz: f64) -> usize {
    let order = (2.0 * n_samples as f64 * high_pass_hz * tr_s).floor().max(0.0) as usize;
    order.min(n_samples.saturating_sub(1))
}

/// The cosine columns k = 1…order, n × order, orthonormal and orthogonal to the constant.
pub fn dct_basis(n_samples: usize, order: usize) -> Mat<f64> {
    let n = n_samples as f64;
    Mat::from_fn(n_samples, order, |t, k| {
        (2.0 / n).sqrt() * (std::f64::consts::PI * (k + 1) as f64 * (t as f64 + 0.5) / n).cos()
    })
}

/// Legendre polynomials of order 0…polort on the samples, orthonormalised; n × (polort + 1).
///
/// Fewer columns where the run has fewer samples than that.
pub fn legendre_basis(n_samples: usize, polort: usize) -> Mat<f64> {
    let columns = (polort + 1).min(n_samples);
    let mut raw = Mat::zeros(n_samples, columns);
    for t in 0..n_samples {
        let x = if n_samples > 1 { 2.0 * t as f64 / (n_samples - 1) as f64 - 1.0 } else { 0.0 };
        let (mut before, mut now) = (0.0, 1.0);
        for k in 0..columns {
            raw[(t, k)] = now;
            let next = ((2 * k + 1) as f64 * x * now - k as f64 * before) / (k + 1) as f64;
            (before, now) = (now, next);
        }
    }
    thin_qr(raw.as_ref()).0
}

/// Subtract from each run its projection on that run's basis of orthonormal columns.
///
/// `basis(run, n)` gives the columns for a run of n samples.
pub fn project_out(
    series: MatRef<f64>,
    runs: &Runs,
    basis: impl Fn(usize, usize) -> Mat<f64>,
) -> Result<Mat<f64>> {
    check_rows(series, runs)?;
    let mut out = series.to_owned();
    for (run, range) in runs.ranges().enumerate() {
        let b = basis(run, range.len());
        if b.ncols() == 0 {
            continue;
        }
        let part = series.get(range.clone(), ..);
        let coefficients = cross(b.as_ref(), part);
        add_product(
            out.as_mut().subrows_mut(range.start, range.len()),
            b.as_ref(),
            coefficients.as_ref(),
            -1.0,
        );
    }
    Ok(out)
}

/// Take the chosen drift out of every run.
///
/// Errors: a TR outside (0, 32) s or a cut-off below 0 where cosines are asked for; a run with no more
/// samples than the basis has columns, which would leave nothing.
pub fn remove_drift(series: MatRef<f64>, runs: &Runs, tr_s: f64, drift: Drift) -> Result<Mat<f64>> {
    if let Drift::Cosine { high_pass_hz } = drift {
        check_tr(tr_s)?;
        if !(high_pass_hz >= 0.0 && high_pass_hz.is_finite()) {
            return Err(Error::Invalid {
                what: "high_pass_hz".into(),
                expected: "a frequency of at least 0".into(),
                found: format!("{high_pass_hz}"),
                hint: "0.01 Hz is usual".into(),
            });
        }
    }
    let n_columns = |n: usize| match drift {
        Drift::None => 0,
        Drift::Mean => 1,
        Drift::Cosine { high_pass_hz } => 1 + dct_order(n, tr_s, high_pass_hz),
        Drift::Polynomial { polort } => polort + 1,
    };
    for (range, name) in runs.ranges().zip(runs.names()) {
        if range.len() <= n_columns(range.len()) {
            return Err(Error::TooFew {
                what: format!("run {name}"),
                needed: format!("more samples than drift columns ({})", n_columns(range.len())),
                found: format!("{} samples", range.len()),
                hint: "drop the run, lower the cut-off or the polynomial order".into(),
            });
        }
    }
    project_out(series, runs, |_, n| match drift {
        Drift::None => Mat::zeros(n, 0),
        Drift::Mean => legendre_basis(n, 0),
        Drift::Polynomial { polort } => legendre_basis(n, polort),
        Drift::Cosine { .. } => {
            let cosines = dct_basis(n, n_columns(n) - 1);
            let level = 1.0 / (n as f64).sqrt();
            Mat::from_fn(n, n_columns(n), |t, k| if k == 0 { level } else { cosines[(t, k - 1)] })
        }
    })
}

/// Take the chosen drift and the columns of `confounds` (samples × confounds) out of every run: the residual
/// of least squares on both.
///
/// A confound that drift explains, or that is constant or repeats others in a run, adds nothing there.
/// Errors: those of [`remove_drift`], confounds of other rows or not finite, a run with no more samples than
/// drift and confounds have columns.
pub fn remove_confounds(
    series: MatRef<f64>,
    confounds: MatRef<f64>,
    runs: &Runs,
    tr_s: f64,
    drift: Drift,
) -> Result<Mat<f64>> {
    if confounds.nrows() != series.nrows() {
        return Err(Error::Shape {
            what: "confounds".into(),
            expected: format!("{} rows (as the series)", series.nrows()),
            found: format!("{} rows", confounds.nrows()),
            hint: "give one row per volume, in the same order".into(),
        });
    }
    crate::stats::summary::check_finite("confounds", confounds)?;
    // Regressing first on drift and then on what drift leaves of the confounds is the joint regression.
    let flat = remove_drift(series, runs, tr_s, drift)?;
    let rest = remove_drift(confounds, runs, tr_s, drift)?;
    let mut bases = Vec::with_capacity(runs.n_runs());
    for (range, name) in runs.ranges().zip(runs.names()) {
        let n_drift = match drift {
            Drift::None => 0,
            Drift::Mean => 1,
            Drift::Cosine { high_pass_hz } => 1 + dct_order(range.len(), tr_s, high_pass_hz),
            Drift::Polynomial { polort } => polort + 1,
        };
        // Columns of one scale, so that rank does not depend on units.
        let mut part = rest.get(range.clone(), ..).to_owned();
        for j in 0..part.ncols() {
            let size = confounds.get(range.clone(), j..j + 1).norm_max();
            let left = part.col(j).norm_l2();
            let scale = if left > 1e-9 * size { 1.0 / left } else { 0.0 };
            part.col_mut(j).iter_mut().for_each(|x| *x *= scale);
        }
        let found = svd(part.as_ref())?;
        let rank = found.s.iter().take_while(|&&s| s > 1e-9).count();
        if range.len() <= n_drift + rank {
            return Err(Error::TooFew {
                what: format!("run {name}"),
                needed: format!("more samples than drift and confounds have columns ({})", n_drift + rank),
                found: format!("{} samples", range.len()),
                hint: "give fewer confounds, or drop the run".into(),
            });
        }
        bases.push(found.u.get(.., ..rank).to_owned());
    }
    project_out(flat.as_ref(), runs, |run, _| bases[run].clone())
}

/// Give every column mean 0 and standard deviation 1 (divisor n) within each run.
///
/// A column whose deviation is below 1e-12 of its size is constant: it becomes what `rule` says, and is
/// listed.
pub fn z_score_runs(series: MatRef<f64>, runs: &Runs, rule: ConstantRule) -> Result<ZScored> {
    check_rows(series, runs)?;
    let mut values = Mat::zeros(series.nrows(), series.ncols());
    let mut constant = Vec::new();
    for (run, range) in runs.ranges().enumerate() {
        for column in 0..series.ncols() {
            let part = || range.clone().map(|t| series[(t, column)]);
            let n = range.len() as f64;
            let mean = part().sum::<f64>() / n;
            let sd = (part().map(|y| (y - mean).powi(2)).sum::<f64>() / n).sqrt();
            let size = part().map(f64::abs).fold(0.0, f64::max);
            let varies = sd > 1e-12 * size;
            if !varies {
                constant.push(ConstantColumn { run, column });
            }
            for t in range.clone() {
                values[(t, column)] = match (varies, rule) {
                    (true, _) => (series[(t, column)] - mean) / sd,
                    (false, ConstantRule::Nan) => f64::NAN,
                    (false, ConstantRule::Zero) => 0.0,
                };
            }
        }
    }
    Ok(ZScored { values, constant })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confounds_leave_what_a_joint_regression_leaves() {
        use crate::stats::rng::Stream;
        let mut stream = Stream::new(3, "confound tests", 0);
        let runs = Runs::from_lengths(&["a".into(), "b".into()], &[40, 50]).unwrap();
        // A confound, its double, one that is constant in the second run, and a pure drift.
        let raw = Mat::from_fn(90, 2, |_, _| stream.normal());
        let c = Mat::from_fn(90, 4, |t, j| match j {
            0 => raw[(t, 0)] + 0.1 * t as f64,
            1 => 2.0 * (raw[(t, 0)] + 0.1 * t as f64),
            2 if t < 40 => raw[(t, 1)],
            2 => 7.0,
            _ => t as f64,
        });
        let e = Mat::from_fn(90, 1, |_, _| stream.normal());
        let drift = Drift::Polynomial { polort: 1 };
        let y = Mat::from_fn(90, 1, |t, _| {
            e[(t, 0)] + 5.0 * c[(t, 0)] - 3.0 * c[(t, 2)] + 0.7 * t as f64 + if t < 40 { 9.0 } else { -4.0 }
        });
        let found = remove_confounds(y.as_ref(), c.as_ref(), &runs, 2.0, drift).unwrap();
        let noise = remove_confounds(e.as_ref(), c.as_ref(), &runs, 2.0, drift).unwrap();
        assert!((&found - &noise).norm_max() < 1e-10, "the effect of confounds and drift is gone");
        for (range, columns) in runs.ranges().zip([vec![0, 2, 3], vec![0, 3]]) {
            for j in columns {
                let dot: f64 = range.clone().map(|t| found[(t, 0)] * c[(t, j)]).sum();
                assert!(dot.abs() < 1e-8, "confound {j}: {dot}");
            }
        }
        let many = Mat::from_fn(90, 39, |t, j| ((t * (j + 1)) as f64).sin());
        let refused = remove_confounds(y.as_ref(), many.as_ref(), &runs, 2.0, drift).unwrap_err().to_string();
        assert!(refused.contains("run a") && refused.contains("confounds"), "{refused}");
    }
    use crate::linalg::gram;
    use crate::stats::rng::Stream;

    fn noise(n: usize, columns: usize) -> Mat<f64> {
        let mut stream = Stream::new(3, "drift tests", 0);
        Mat::from_fn(n, columns, |_, _| stream.normal())
    }

    fn assert_orthonormal(b: &Mat<f64>) {
        let g = gram(b.as_ref());
        assert!((&g - Mat::<f64>::identity(g.nrows(), g.nrows())).norm_max() < 1e-13);
    }

    #[test]
    fn the_cosine_order_follows_nilearn() {
        // floor(2 · 300 · 0.01 · 2) = 12; floor(2 · 128 · (1/128) · 2) = 4; never all samples.
        assert_eq!(dct_order(300, 2.0, 0.01), 12);
        assert_eq!(dct_order(128, 2.0, 1.0 / 128.0), 4);
        assert_eq!(dct_order(10, 2.0, 5.0), 9);
        assert_eq!(dct_order(49, 1.0, 0.01), 0);
    }

    #[test]
    fn bases_are_orthonormal_and_legendre_spans_powers() {
        assert_orthonormal(&dct_basis(50, 9));
        let b = legendre_basis(40, 3);
        assert_orthonormal(&b);
        let cubic = Mat::from_fn(40, 1, |t, _| (t as f64).powi(3) - 7.0 * t as f64 + 2.0);
        let left = project_out(cubic.as_ref(), &Runs::single(40), |_, n| legendre_basis(n, 3)).unwrap();
        assert!(left.norm_max() < 1e-9 * cubic.norm_max());
    }

    #[test]
    fn drift_goes_and_the_rest_stays() {
        let runs = Runs::from_lengths(&["a".into(), "b".into()], &[100, 80]).unwrap();
        let fast = |t: usize| (std::f64::consts::PI * 30.0 * (t as f64 + 0.5) / 100.0).cos();
        let series = Mat::from_fn(180, 1, |t, _| {
            if t < 100 {
                fast(t) + 5.0 * (std::f64::consts::PI * 2.0 * (t as f64 + 0.5) / 100.0).cos() + 3.0
            } else {
                -9.0
            }
        });
        let clean = remove_drift(series.as_ref(), &runs, 2.0, Drift::Cosine { high_pass_hz: 0.01 }).unwrap();
        for t in 0..100 {
            assert!((clean[(t, 0)] - fast(t)).abs() < 1e-12);
        }
        assert!((100..180).all(|t| clean[(t, 0)].abs() < 1e-12), "each run loses its own mean");
        assert!(remove_drift(series.as_ref(), &runs, 2.0, Drift::Polynomial { polort: 90 }).is_err());
    }

    #[test]
    fn every_run_is_z_scored_by_itself_and_constants_are_listed() {
        let runs = Runs::from_lengths(&["a".into(), "b".into()], &[3, 2]).unwrap();
        let x =
            Mat::from_fn(5, 2, |i, j| [[1.0, 4.0], [2.0, 4.0], [3.0, 4.0], [10.0, 1.0], [30.0, 2.0]][i][j]);
        let z = z_score_runs(x.as_ref(), &runs, ConstantRule::Nan).unwrap();
        let s = 1.5f64.sqrt();
        for (i, expected) in [-s, 0.0, s, -1.0, 1.0].into_iter().enumerate() {
            assert!((z.values[(i, 0)] - expected).abs() < 1e-15);
        }
        assert_eq!(z.constant, [ConstantColumn { run: 0, column: 1 }]);
        assert!(z.values[(0, 1)].is_nan() && z.values[(4, 1)] == 1.0);
        let zero = z_score_runs(x.as_ref(), &runs, ConstantRule::Zero).unwrap();
        assert_eq!(zero.values[(2, 1)], 0.0);
    }

    #[test]
    fn projecting_twice_changes_nothing() {
        let (x, runs) = (noise(60, 3), Runs::single(60));
        let drift = Drift::Polynomial { polort: 2 };
        let once = remove_drift(x.as_ref(), &runs, 2.0, drift).unwrap();
        let twice = remove_drift(once.as_ref(), &runs, 2.0, drift).unwrap();
        assert!((once - twice).norm_max() < 1e-14);
    }
}
