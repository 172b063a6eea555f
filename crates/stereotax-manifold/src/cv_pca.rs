//! Estimate the spectrum of responses to stimuli from two repeats, free of noise, and its power law.
//!
//! ```text
//! X₁, X₂   repeats, n_stimuli S × n_units, each unit centred over stimuli
//! u_k      principal directions of X₁                          (S − 1 of them, or one per unit)
//! λ_k      Σ_s (X₁ u_k)_s (X₂ u_k)_s / (S − 1)                 mean over swaps of repeats, and both directions
//! log λ_k  = c − α log k                                       weights 1/k, ranks 11 to 500 or S/4
//! ```
//!
//! Noise that is independent between repeats leaves λ_k without bias for the directions found, so that it can be
//! negative for large k: it stays, and only the logarithm leaves it out.
//!
//! All swaps share one product: with G the products of all 2 S rows, those of a swap are a selection of G.
//!
//! Source: Stringer et al. 2019; specs: alignment-methods B5.2. Differs from the published helper, which takes means
//! over units instead of stimuli. Cost: O(S² N) once and O(S³) per swap and direction (O(N³) and O(S N²) with fewer
//! units than stimuli).

use faer::{Mat, MatRef};
use rayon::prelude::*;

use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::linalg::{centre_columns, column_means, cross, dot, eigh, product, svd};
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::{check_finite, sd};

/// Choices of a cross-validated spectrum.
#[derive(Debug, Clone, PartialEq)]
pub struct CvPcaParams {
    /// Random swaps of the repeats of each stimulus. Default 10.
    pub n_swaps: usize,
    /// Components of spontaneous activity that are taken out, where it is given. Default 32.
    pub n_spontaneous: usize,
    /// Ranks of the power law, from 1. Default 11 to 500 (at most a quarter of the stimuli).
    pub ranks: (usize, usize),
    /// Seed of the swaps. Default 0.
    pub seed: u64,
}

impl Default for CvPcaParams {
    fn default() -> Self {
        CvPcaParams { n_swaps: 10, n_spontaneous: 32, ranks: (11, 500), seed: 0 }
    }
}

/// A straight line through log eigenvalues over log ranks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerLaw {
    /// α of λ_k ∝ k^−α; NaN with fewer than three eigenvalues above 0.
    pub exponent: f64,
    /// Weighted share of the variance of log λ that the line explains.
    pub r2: f64,
    /// First and last rank that took part, from 1.
    pub ranks: (usize, usize),
    /// Ranks in between that did not, because λ ≤ 0.
    pub n_left_out: usize,
}

/// A cross-validated spectrum.
#[derive(Debug, Clone, PartialEq)]
pub struct CvPca {
    /// λ_k, squared units of responses; negative ones are estimates of about 0.
    pub eigenvalues: Vec<f64>,
    /// Its power law.
    pub power_law: PowerLaw,
    /// (Σλ)²/Σλ² with all of them. Noise in λ biases it down; the debiased form of two repeats is better.
    pub participation_ratio: f64,
    /// Σλ over the mean total variance of a repeat: the share of variance that repeats.
    pub signal_share: f64,
}

/// The spectrum of two repeats (n_stimuli × n_units each). `spontaneous` (n_times × n_units) divides units by its
/// standard deviation, and its leading components are projected out of both repeats.
///
/// Errors: fewer than 3 stimuli, other shapes, values that are not finite, no variance, no swap, a unit that is
/// constant in spontaneous activity.
pub fn cv_pca(
    first: MatRef<f64>,
    second: MatRef<f64>,
    spontaneous: Option<MatRef<f64>>,
    params: &CvPcaParams,
    monitor: &Monitor<'_>,
) -> Result<CvPca> {
    let (s, n) = (first.nrows(), first.ncols());
    if s < 3 || n == 0 || params.n_swaps == 0 {
        return Err(Error::TooFew {
            what: "repeats".into(),
            needed: "3 stimuli, 1 unit and 1 swap".into(),
            found: format!("{s} stimuli, {n} units and {} swaps", params.n_swaps),
            hint: "give two repeats of the same stimuli; 10 swaps are customary".into(),
        });
    }
    if (second.nrows(), second.ncols()) != (s, n) {
        return Err(Error::Shape {
            what: "repeat".into(),
            expected: format!("{s} stimuli × {n} units (as the first repeat)"),
            found: format!("{} × {}", second.nrows(), second.ncols()),
            hint: "rows are the same stimuli, columns the same units".into(),
        });
    }
    check_finite("responses", first)?;
    check_finite("repeat", second)?;
    let both = Mat::from_fn(2 * s, n, |i, j| if i < s { first[(i, j)] } else { second[(i - s, j)] });
    let both = match spontaneous {
        None => both,
        Some(spontaneous) => without_spontaneous(both, spontaneous, params.n_spontaneous)?,
    };
    let mut both = both;
    let means = column_means(both.as_ref());
    centre_columns(both.as_mut(), &means);
    let total = both.squared_norm_l2() / 2.0 / (s as f64 - 1.0);
    if total == 0.0 {
        return Err(Error::ZeroVariance {
            what: "responses".into(),
            detail: "all units are constant".into(),
            hint: "are rows stimuli?".into(),
        });
    }
    let wide = n >= s;
    let products = if wide { Some(product(both.as_ref(), both.transpose())) } else { None };
    let tasks: Vec<usize> = (0..2 * params.n_swaps).collect();
    let spectra: Vec<Vec<f64>> = tasks
        .into_par_iter()
        .map(|task| {
            monitor.check()?;
            let mut stream = Stream::new(params.seed, "swaps of repeats", (task / 2) as u64);
            // Rows of the repeat that gives directions; the other repeat has the other rows.
            let rows: Vec<usize> =
                (0..s).map(|i| i + s * ((stream.next_u64() >> 63) as usize ^ (task & 1))).collect();
            let others: Vec<usize> = rows.iter().map(|&row| (row + s) % (2 * s)).collect();
            match &products {
                Some(g) => of_products(g.as_ref(), &rows, &others),
                None => of_units(both.as_ref(), &rows, &others),
            }
        })
        .collect::<Result<_>>()?;
    let count = n.min(s - 1);
    let eigenvalues: Vec<f64> = (0..count)
        .map(|k| spectra.iter().map(|lambda| lambda[k]).sum::<f64>() / spectra.len() as f64)
        .collect();
    let (sum, squares) = eigenvalues.iter().fold((0.0, 0.0), |(a, b), l| (a + l, b + l * l));
    Ok(CvPca {
        power_law: power_law(&eigenvalues, (params.ranks.0, params.ranks.1.min((s / 4).max(params.ranks.0)))),
        participation_ratio: sum * sum / squares,
        signal_share: sum / total,
        eigenvalues,
    })
}

/// By the products of rows: u_kᵀ X₂ X₁ᵀ u_k with u_k the left singular vectors of X₁.
fn of_products(g: MatRef<f64>, rows: &[usize], others: &[usize]) -> Result<Vec<f64>> {
    let s = rows.len();
    let select = |a: &[usize], b: &[usize]| {
        let m = Mat::from_fn(s, s, |i, j| g[(a[i], b[j])]);
        // Centring of units over stimuli, on both sides.
        let by_row: Vec<f64> = (0..s).map(|i| m.row(i).iter().sum::<f64>() / s as f64).collect();
        let by_column: Vec<f64> = (0..s).map(|j| m.col(j).iter().sum::<f64>() / s as f64).collect();
        let all = by_row.iter().sum::<f64>() / s as f64;
        Mat::from_fn(s, s, |i, j| m[(i, j)] - by_row[i] - by_column[j] + all)
    };
    let directions = eigh(select(rows, rows).as_ref())?.vectors;
    let turned = product(select(others, rows).as_ref(), directions.as_ref());
    let lambda = |k: usize| -> f64 {
        let pairs = directions.col(k).iter().zip(turned.col(k).iter());
        pairs.map(|(u, v)| u * v).sum::<f64>() / (s as f64 - 1.0)
    };
    Ok((0..s - 1).map(lambda).collect())
}

/// By the covariance of units, where these are fewer than stimuli.
fn of_units(both: MatRef<f64>, rows: &[usize], others: &[usize]) -> Result<Vec<f64>> {
    let centred = |rows: &[usize]| {
        let mut x = stereotax_base::linalg::select_rows(both, rows);
        let means = column_means(x.as_ref());
        centre_columns(x.as_mut(), &means);
        x
    };
    let (x, y) = (centred(rows), centred(others));
    let directions = eigh(cross(x.as_ref(), x.as_ref()).as_ref())?.vectors;
    let (a, b) = (product(x.as_ref(), directions.as_ref()), product(y.as_ref(), directions.as_ref()));
    let lambda = |k: usize| dot(a.col_as_slice(k), b.col_as_slice(k)) / (rows.len() as f64 - 1.0);
    Ok((0..x.ncols()).map(lambda).collect())
}

fn without_spontaneous(both: Mat<f64>, spontaneous: MatRef<f64>, count: usize) -> Result<Mat<f64>> {
    check_finite("spontaneous", spontaneous)?;
    if spontaneous.ncols() != both.ncols() || spontaneous.nrows() < 2 {
        return Err(Error::Shape {
            what: "spontaneous".into(),
            expected: format!("2 times or more × {} units", both.ncols()),
            found: format!("{} × {}", spontaneous.nrows(), spontaneous.ncols()),
            hint: "give activity without stimuli, times × units".into(),
        });
    }
    let means = column_means(spontaneous);
    let sds: Vec<f64> =
        (0..both.ncols()).map(|j| sd(&spontaneous.col(j).iter().copied().collect::<Vec<_>>())).collect();
    if let Some(unit) = sds.iter().position(|sd| !(*sd > 0.0)) {
        return Err(Error::ZeroVariance {
            what: format!("spontaneous activity of unit {unit}"),
            detail: "its standard deviation is 0".into(),
            hint: "drop units that are silent without stimuli, or leave spontaneous activity out".into(),
        });
    }
    let scaled = |x: MatRef<f64>| Mat::from_fn(x.nrows(), x.ncols(), |i, j| (x[(i, j)] - means[j]) / sds[j]);
    let directions = svd(scaled(spontaneous).as_ref())?.v;
    let directions = directions.get(.., ..count.min(directions.ncols()));
    let responses = scaled(both.as_ref());
    let inside = product(responses.as_ref(), directions);
    Ok(&responses - product(inside.as_ref(), directions.transpose()))
}

/// Fit log λ_k = c − α log k over ranks `from..=to` (from 1) with weights 1/k.
pub fn power_law(eigenvalues: &[f64], (from, to): (usize, usize)) -> PowerLaw {
    let ranks = (from.max(1), to.min(eigenvalues.len()));
    let used: Vec<(f64, f64, f64)> = (ranks.0..=ranks.1)
        .filter(|&k| eigenvalues[k - 1] > 0.0)
        .map(|k| ((k as f64).ln(), eigenvalues[k - 1].ln(), 1.0 / k as f64))
        .collect();
    let weight: f64 = used.iter().map(|(_, _, w)| w).sum();
    let mean = |of: fn(&(f64, f64, f64)) -> f64| used.iter().map(|u| u.2 * of(u)).sum::<f64>() / weight;
    let (mx, my) = (mean(|u| u.0), mean(|u| u.1));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (x, y, w) in &used {
        xx += w * (x - mx) * (x - mx);
        xy += w * (x - mx) * (y - my);
        yy += w * (y - my) * (y - my);
    }
    let enough = used.len() >= 3;
    PowerLaw {
        exponent: if enough { -xy / xx } else { f64::NAN },
        r2: if enough { xy * xy / (xx * yy) } else { f64::NAN },
        n_left_out: (ranks.1 + 1).saturating_sub(ranks.0) - used.len(),
        ranks,
    }
}

/// Two noisy repeats of a network's responses, each unit as reliable as a unit of the brain.
///
/// Unit j gets the reliability r of a random unit of the brain (correlation between two single repeats), and noise of
/// variance var_j (1/r − 1), so that its own repeats correlate by r. Dimensions that noise inflates are then inflated
/// alike on both sides. Errors: reliabilities outside (0, 1], none at all.
pub fn noise_matched(x: MatRef<f64>, reliabilities: &[f64], seed: u64) -> Result<(Mat<f64>, Mat<f64>)> {
    check_finite("responses", x)?;
    if let Some(bad) = reliabilities.iter().position(|r| !(*r > 0.0 && *r <= 1.0)) {
        return Err(Error::Invalid {
            what: format!("reliability {bad}"),
            expected: "numbers above 0, up to 1".into(),
            found: reliabilities[bad].to_string(),
            hint: "leave out units without a reliability above 0, on the brain's side too".into(),
        });
    }
    if reliabilities.is_empty() || x.nrows() < 2 {
        return Err(Error::TooFew {
            what: "reliabilities and stimuli".into(),
            needed: "1 and 2".into(),
            found: format!("{} and {}", reliabilities.len(), x.nrows()),
            hint: "give the correlation between repeats of each unit of the brain".into(),
        });
    }
    let mut repeats = (x.to_owned(), x.to_owned());
    for j in 0..x.ncols() {
        let mut stream = Stream::new(seed, "noise matched", j as u64);
        let r = reliabilities[stream.below(reliabilities.len())];
        let spread = sd(&x.col(j).iter().copied().collect::<Vec<_>>()) * (1.0 / r - 1.0).sqrt();
        for i in 0..x.nrows() {
            repeats.0[(i, j)] += spread * stream.normal();
            repeats.1[(i, j)] += spread * stream.normal();
        }
    }
    Ok(repeats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::summary::{mean, pearson};

    fn planted(s: usize, n: usize, alpha: f64, noise: f64, seed: u64) -> (Mat<f64>, Mat<f64>) {
        let mut stream = Stream::new(seed, "planted spectrum", 0);
        let scores = Mat::from_fn(s, n, |_, k| stream.normal() * ((k + 1) as f64).powf(-alpha / 2.0));
        let turn = stereotax_base::linalg::thin_qr(Mat::from_fn(n, n, |_, _| stream.normal()).as_ref()).0;
        let signal = product(scores.as_ref(), turn.as_ref());
        let mut noisy = || Mat::from_fn(s, n, |i, j| signal[(i, j)] + noise * stream.normal());
        (noisy(), noisy())
    }

    #[test]
    fn without_noise_eigenvalues_are_those_of_the_covariance_on_either_road() {
        for (s, n) in [(12, 30), (40, 9)] {
            let (x, _) = planted(s, n, 1.0, 0.0, 1);
            let found =
                cv_pca(x.as_ref(), x.as_ref(), None, &CvPcaParams::default(), &Monitor::silent()).unwrap();
            let mut c = x.clone();
            let means = column_means(c.as_ref());
            centre_columns(c.as_mut(), &means);
            let values = svd(c.as_ref()).unwrap().s;
            assert_eq!(found.eigenvalues.len(), n.min(s - 1));
            for (k, found) in found.eigenvalues.iter().enumerate() {
                assert!((found - values[k] * values[k] / (s as f64 - 1.0)).abs() < 1e-10, "{k}");
            }
            assert!((found.signal_share - 1.0).abs() < 1e-10);
        }
    }

    #[test]
    fn both_roads_agree_on_the_same_rows() {
        let (x, y) = planted(20, 20, 1.0, 0.3, 2);
        let both = Mat::from_fn(40, 20, |i, j| if i < 20 { x[(i, j)] } else { y[(i - 20, j)] });
        let rows: Vec<usize> = (0..20).map(|i| i + 20 * (i % 2)).collect();
        let others: Vec<usize> = rows.iter().map(|r| (r + 20) % 40).collect();
        let g = product(both.as_ref(), both.transpose());
        let a = of_products(g.as_ref(), &rows, &others).unwrap();
        let b = of_units(both.as_ref(), &rows, &others).unwrap();
        for k in 0..19 {
            assert!((a[k] - b[k]).abs() < 1e-10, "{k}: {} {}", a[k], b[k]);
        }
    }

    #[test]
    fn a_planted_power_law_comes_back_from_under_noise() {
        let (x, y) = planted(400, 500, 1.0, 0.12, 3);
        let found =
            cv_pca(x.as_ref(), y.as_ref(), None, &CvPcaParams::default(), &Monitor::silent()).unwrap();
        let noisy = svd(x.as_ref()).unwrap().s.iter().map(|s| s * s).collect::<Vec<_>>();
        let biased = power_law(&noisy, found.power_law.ranks);
        assert_eq!(found.power_law.ranks, (11, 100));
        assert!((found.power_law.exponent - 1.0).abs() < 0.15, "{:?}", found.power_law);
        assert!(biased.exponent < 0.75, "{biased:?}");
    }

    #[test]
    fn an_exact_power_law_by_hand_and_its_gaps() {
        let values: Vec<f64> = (1..=40).map(|k| 3.0 * f64::from(k).powf(-1.5)).collect();
        let line = power_law(&values, (5, 100));
        assert!((line.exponent - 1.5).abs() < 1e-12 && (line.r2 - 1.0).abs() < 1e-12);
        assert_eq!(line.ranks, (5, 40));
        let mut gaps = values;
        gaps[10] = -1.0;
        assert_eq!(power_law(&gaps, (5, 40)).n_left_out, 1);
        assert!(power_law(&gaps[..3], (2, 3)).exponent.is_nan());
    }

    #[test]
    fn spontaneous_directions_are_gone() {
        let (x, y) = planted(50, 20, 1.0, 0.0, 4);
        let mut stream = Stream::new(5, "spontaneous", 0);
        let spontaneous = Mat::from_fn(80, 20, |_, j| stream.normal() * (j + 1) as f64);
        let all = CvPcaParams { n_spontaneous: 20, ..CvPcaParams::default() };
        let none = cv_pca(x.as_ref(), y.as_ref(), Some(spontaneous.as_ref()), &all, &Monitor::silent());
        assert!(none.is_err() || none.unwrap().eigenvalues[0].abs() < 1e-20);
        let silent = Mat::zeros(80, 20);
        let refused = cv_pca(x.as_ref(), y.as_ref(), Some(silent.as_ref()), &all, &Monitor::silent());
        assert!(refused.unwrap_err().to_string().contains("unit 0"));
    }

    #[test]
    fn matched_noise_gives_the_reliability_asked_for() {
        let mut stream = Stream::new(6, "reliable", 0);
        let x = Mat::from_fn(3000, 8, |_, j| (j + 1) as f64 * stream.normal());
        let (a, b) = noise_matched(x.as_ref(), &[0.36], 0).unwrap();
        let column = |m: &Mat<f64>, j: usize| m.col(j).iter().copied().collect::<Vec<_>>();
        let found: Vec<f64> = (0..8).map(|j| pearson(&column(&a, j), &column(&b, j))).collect();
        assert!((mean(&found) - 0.36).abs() < 0.03, "{found:?}");
        assert!(noise_matched(x.as_ref(), &[0.5, 0.0], 0).unwrap_err().to_string().contains("reliability 1"));
    }
}
