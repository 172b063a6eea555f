//! RDMs over time, and between two times.
//!
//! A movie has one RDM for each window of time, of the mean patterns in it. Between two times (or two data sets on the
//! same channels) the matrix of dissimilarities is not symmetric: entry (i, j) compares condition i at one time with
//! condition j at the other, and its diagonal says how alike a condition stays. Source: specs: peers W7; rsatoolbox
//! has movies, without windows for unequal bins, and no matrices across times (its issue 280). Cost: that of one RDM
//! per window; 2 n² p for a matrix across times.

use std::ops::Range;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::correlation::unit_rows;
use super::euclidean::NEAR;
use super::poisson::both_ways;
use super::products::{copy, cross_products, rows_of};
use super::{Measure, check_patterns};
use stereotax_base::data::{Error, Monitor, Rdm, Result};
use stereotax_base::linalg::{Real, dot};

/// Windows of `width` time points, every `step`, that lie wholly inside `n_times`.
///
/// Errors: a width or step of 0, a width beyond the data.
pub fn time_windows(n_times: usize, width: usize, step: usize) -> Result<Vec<Range<usize>>> {
    if width == 0 || step == 0 || width > n_times {
        return Err(Error::Invalid {
            what: "window".into(),
            expected: format!("1 to {n_times} time points, every 1 or more"),
            found: format!("{width} every {step}"),
            hint: "windows are counted in time points of the data".into(),
        });
    }
    Ok((0..=n_times - width).step_by(step).map(|begin| begin..begin + width).collect())
}

/// Mean pattern of each condition within a window; `times` holds one matrix (conditions × channels) per time.
///
/// Errors: a window beyond the data or empty, matrices of different shapes.
pub fn window_means<T: Real>(times: &[MatRef<T>], window: Range<usize>) -> Result<Mat<f64>> {
    let some = times.get(window.clone()).filter(|some| !some.is_empty());
    let Some(some) = some else {
        return Err(Error::Invalid {
            what: "window".into(),
            expected: format!("a range of the {} time points", times.len()),
            found: format!("{window:?}"),
            hint: "windows must lie inside the data".into(),
        });
    };
    let (n, p) = (some[0].nrows(), some[0].ncols());
    if let Some(other) = some.iter().find(|x| x.nrows() != n || x.ncols() != p) {
        return Err(Error::Shape {
            what: "patterns".into(),
            expected: format!("{n} × {p} at every time"),
            found: format!("{} × {}", other.nrows(), other.ncols()),
            hint: "give the same conditions and channels at every time".into(),
        });
    }
    let mut out = Mat::<f64>::zeros(n, p);
    for x in some {
        for j in 0..p {
            for i in 0..n {
                out[(i, j)] += x[(i, j)].into();
            }
        }
    }
    let share = 1.0 / some.len() as f64;
    Ok(if some.len() == 1 { out } else { Mat::from_fn(n, p, |i, j| out[(i, j)] * share) })
}

/// One RDM per window. Errors: those of the measure and of [`window_means`].
pub fn rdm_movie<T: Real>(
    times: &[MatRef<T>],
    windows: &[Range<usize>],
    measure: &Measure<'_>,
    monitor: &Monitor<'_>,
) -> Result<Vec<Rdm>> {
    windows
        .par_iter()
        .map(|window| {
            monitor.check()?;
            measure.rdm(window_means(times, window.clone())?.as_ref(), monitor)
        })
        .collect()
}

/// Dissimilarity of every row of `x` and every row of `y`: rows of x × rows of y, diagonal included; NaN where
/// either pattern has none.
///
/// Errors: other numbers of channels, values that are not finite, those of the measure.
pub fn cross_rdm(x: MatRef<f64>, y: MatRef<f64>, measure: &Measure<'_>) -> Result<Mat<f64>> {
    let least = if matches!(measure, Measure::Correlation) { 2 } else { 1 };
    check_patterns(x, least)?;
    check_patterns(y, least)?;
    let (n, m, p) = (x.nrows(), y.nrows(), x.ncols());
    if y.ncols() != p {
        return Err(Error::Shape {
            what: "patterns".into(),
            expected: format!("{p} channels on both sides"),
            found: y.ncols().to_string(),
            hint: "dissimilarities across times or sets compare the same channels".into(),
        });
    }
    let mut out = Mat::<f64>::zeros(n, m);
    match *measure {
        Measure::Correlation | Measure::Cosine => {
            let centred = matches!(measure, Measure::Correlation);
            let rows = |of: MatRef<'_, f64>| {
                let units = unit_rows(of, centred);
                Mat::from_fn(p, of.nrows(), |c, i| (of[(i, c)] - units[i].0) * units[i].1)
            };
            let (a, b) = (rows(x), rows(y));
            cross_products(n, m, p, &rows_of(a.transpose()), &rows_of(b.transpose()), out.as_mut());
            Ok(Mat::from_fn(n, m, |i, j| 1.0 - out[(i, j)].clamp(-1.0, 1.0)))
        }
        Measure::Euclidean(scale) => {
            // (n_channels, conditions), without the mean of both sides.
            let mean: Vec<f64> = (0..p).map(|c| (x.col(c).sum() + y.col(c).sum()) / (n + m) as f64).collect();
            let rows = |of: MatRef<'_, f64>| Mat::from_fn(p, of.nrows(), |c, i| of[(i, c)] - mean[c]);
            let (a, b) = (rows(x), rows(y));
            cross_products(n, m, p, &rows_of(a.transpose()), &rows_of(b.transpose()), out.as_mut());
            let lengths = |of: &Mat<f64>| -> Vec<f64> {
                (0..of.ncols()).map(|i| dot(of.col_as_slice(i), of.col_as_slice(i))).collect()
            };
            let (of_a, of_b) = (lengths(&a), lengths(&b));
            Ok(Mat::from_fn(n, m, |i, j| {
                let both = of_a[i] + of_b[j];
                let squared = both - 2.0 * out[(i, j)];
                let summed = || (0..p).map(|c| (x[(i, c)] - y[(j, c)]).powi(2)).sum();
                scale.of(if squared < NEAR * both { summed() } else { squared }, p)
            }))
        }
        Measure::Mahalanobis(precision, scale) => {
            precision.check_channels(p)?;
            let both = Mat::from_fn(p, n + m, |c, i| if i < n { x[(i, c)] } else { y[(i - n, c)] });
            let mean: Vec<f64> = (0..p).map(|c| both.row(c).sum() / (n + m) as f64).collect();
            let both = Mat::from_fn(p, n + m, |c, i| both[(c, i)] - mean[c]);
            let weighed = precision.times(both.as_ref());
            let right = weighed.subcols(n, m);
            cross_products(n, m, p, &rows_of(both.transpose()), &rows_of(right.transpose()), out.as_mut());
            let own: Vec<f64> =
                (0..n + m).map(|i| dot(both.col_as_slice(i), weighed.col_as_slice(i))).collect();
            Ok(Mat::from_fn(n, m, |i, j| scale.of((own[i] + own[n + j] - 2.0 * out[(i, j)]).max(0.0), p)))
        }
        Measure::Poisson(prior) => {
            prior.check(x)?;
            prior.check(y)?;
            let fill =
                |of: MatRef<'_, f64>, row: usize, columns: Range<usize>, log: bool, out: &mut [f64]| {
                    copy(of, row, columns, out);
                    out.iter_mut().for_each(|value| {
                        let rate = prior.rate_of(*value);
                        *value = if log { rate.ln() } else { rate };
                    });
                };
            let left = both_ways(
                p,
                |row, columns, out: &mut [f64]| fill(x, row, columns, false, out),
                |row, columns, out: &mut [f64]| fill(x, row, columns, true, out),
                false,
            );
            let right = both_ways(
                p,
                |row, columns, out: &mut [f64]| fill(y, row, columns, false, out),
                |row, columns, out: &mut [f64]| fill(y, row, columns, true, out),
                true,
            );
            cross_products(n, m, 2 * p, &left, &right, out.as_mut());
            let own = |of: MatRef<'_, f64>| -> Vec<f64> {
                let term = |value: f64| prior.rate_of(value) * prior.rate_of(value).ln();
                (0..of.nrows()).map(|i| of.row(i).iter().map(|value| term(*value)).sum()).collect()
            };
            let (of_x, of_y) = (own(x), own(y));
            let channels = if prior.per_channel { p as f64 } else { 1.0 };
            Ok(Mat::from_fn(n, m, |i, j| (of_x[i] + of_y[j] - out[(i, j)]).max(0.0) / channels))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdm::{NoisePrecision, PoissonPrior, Scale};
    use stereotax_base::stats::rng::Stream;

    fn cube(seed: u64, times: usize) -> Vec<Mat<f64>> {
        let mut stream = Stream::new(seed, "cube", 0);
        (0..times).map(|_| Mat::from_fn(5, 8, |_, _| 1.0 + stream.uniform())).collect()
    }

    #[test]
    fn a_movie_holds_the_rdms_of_window_means() {
        let cube = cube(1, 6);
        let views: Vec<MatRef<'_, f64>> = cube.iter().map(|x| x.as_ref()).collect();
        let windows = time_windows(6, 3, 2).unwrap();
        assert_eq!(windows, [0..3, 2..5]);
        let first = (cube[0][(1, 2)] + cube[1][(1, 2)]) / 2.0;
        assert!((window_means(&views, 0..2).unwrap()[(1, 2)] - first).abs() < 1e-15);
        let movie = rdm_movie(&views, &windows, &Measure::Correlation, &Monitor::silent()).unwrap();
        let mean = Mat::from_fn(5, 8, |i, j| (cube[2][(i, j)] + cube[3][(i, j)] + cube[4][(i, j)]) / 3.0);
        let slow = Measure::Correlation.rdm(mean.as_ref(), &Monitor::silent()).unwrap();
        assert!(movie[1].values().iter().zip(slow.values()).all(|(a, b)| (a - b).abs() < 1e-14));
        assert!(
            time_windows(6, 7, 1).is_err()
                && time_windows(6, 0, 1).is_err()
                && time_windows(6, 2, 0).is_err()
        );
        assert!(window_means(&views, 5..7).is_err() && window_means(&views, 3..3).is_err());
    }

    #[test]
    fn across_one_time_and_itself_the_matrix_is_the_rdm_and_across_two_it_is_not_symmetric() {
        let cube = cube(2, 2);
        let mut stream = Stream::new(3, "precision", 0);
        let root = Mat::from_fn(8, 8, |_, _| stream.normal());
        let precision = NoisePrecision::dense(&root * root.transpose()).unwrap();
        for measure in [
            Measure::Correlation,
            Measure::Cosine,
            Measure::Euclidean(Scale::default()),
            Measure::Euclidean(Scale { squared: true, per_channel: true }),
            Measure::Mahalanobis(&precision, Scale::default()),
            Measure::Poisson(PoissonPrior::default()),
        ] {
            let own = cross_rdm(cube[0].as_ref(), cube[0].as_ref(), &measure).unwrap();
            let rdm = measure.rdm(cube[0].as_ref(), &Monitor::silent()).unwrap();
            assert!((&own - rdm.to_square()).norm_max() < 2e-7, "{measure:?}");
            let across = cross_rdm(cube[0].as_ref(), cube[1].as_ref(), &measure).unwrap();
            let back = cross_rdm(cube[1].as_ref(), cube[0].as_ref(), &measure).unwrap();
            assert!((&across - back.transpose()).norm_max() < 1e-11);
            assert!((&across - across.transpose()).norm_max() > 0.01);
            // One entry as an RDM of two rows.
            let two = Mat::from_fn(2, 8, |i, c| if i == 0 { cube[0][(1, c)] } else { cube[1][(3, c)] });
            let pair = measure.rdm(two.as_ref(), &Monitor::silent()).unwrap().values()[0];
            assert!((across[(1, 3)] - pair).abs() < 1e-11, "{measure:?}");
        }
        assert!(cross_rdm(cube[0].as_ref(), cube[1].get(.., ..7), &Measure::Cosine).is_err());
    }
}
