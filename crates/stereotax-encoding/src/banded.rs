//! Fit one ridge over several bands of features, each band with its own penalty, and split what is explained.
//!
//! With bands X_1…X_B (n × p_i) and weights γ on the simplex,
//!
//! ```text
//! X_γ = [√γ_1 X_1 … √γ_B X_B],   ‖X_γ b − y‖² + α‖b‖²,   ŷ_i = √γ_i (X_i − mean_i) b_i,   ŷ = Σ ŷ_i
//! r²_i = Σ_t (2 y ŷ_i − ŷ_i ŷ) / Σ_t y²     (y minus its training mean)
//! ```
//!
//! The product measure r²_i sums over bands to the joint R² = 1 − Σ(y − ŷ)²/Σy²; a single r²_i may be
//! negative. Candidates for γ: the centre of the simplex, then Dirichlet draws with concentrations
//! 0.1 and 1 in turn. α and γ are chosen per target by inner cross-validation.
//!
//! Source: Nunez-Elizalde, Huth & Gallant 2019; Dupré la Tour et al. 2022; specs: nfas-dmd 8.5.5.
//! Differs from himalaya: an intercept by default, R² against the training mean, penalties relative to
//! mean(s²) of each X_γ. Cost: that of one [`RidgePlan`] per candidate, and of its fit per candidate and
//! subject.

use faer::{Mat, MatRef};
use rayon::prelude::*;

mod kernels;
mod refine;

pub use kernels::{KernelSearchFit, KernelSearchParams, search_kernels};

use super::alphas::AlphaScale;
use super::ridge::{AlphaChoice, Intercept, RidgeParams, RidgePlan, Space};
use stereotax_base::data::{Error, Fold, Result};
use stereotax_base::linalg::{column_means, product};
use stereotax_base::stats::rng::Stream;

/// One group of features, expanded to the design, on training and held-out rows.
#[derive(Debug, Clone, Copy)]
pub struct Band<'a> {
    /// "network", "word rate" and the like.
    pub name: &'a str,
    /// Training rows × columns of the band.
    pub x_train: MatRef<'a, f64>,
    /// Held-out rows × columns of the band.
    pub x_test: MatRef<'a, f64>,
}

/// Choices of a banded ridge.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct BandedParams {
    /// Candidates for γ, the centre included. Default 20.
    pub n_candidates: usize,
    /// Seed of the draws. Default 0.
    pub seed: u64,
    /// The ridge inside. Penalties are always chosen per target.
    pub ridge: RidgeParams,
}

impl Default for BandedParams {
    fn default() -> Self {
        BandedParams { n_candidates: 20, seed: 0, ridge: RidgeParams::default() }
    }
}

/// A banded fit. Vectors have one entry per target.
#[derive(Debug, Clone)]
pub struct BandedFit {
    /// Held-out rows × targets; NaN for a target that is constant over the training rows.
    pub predictions: Mat<f64>,
    /// ŷ_i per band, held-out rows × targets; their sum plus `train_means` is `predictions`.
    pub band_predictions: Vec<Mat<f64>>,
    /// Mean of each target over the training rows (0 without an intercept).
    pub train_means: Vec<f64>,
    /// Which candidate was chosen; `None` where the target is undefined.
    pub chosen: Vec<Option<usize>>,
    /// The candidates for γ, each summing to 1.
    pub candidates: Vec<Vec<f64>>,
    /// Penalty at the chosen candidate; NaN where undefined.
    pub alphas: Vec<f64>,
    /// The same as a multiple of mean(s²) of that candidate's design.
    pub alpha_multiples: Vec<f64>,
    /// Defined targets whose penalty is the smallest of the grid.
    pub n_at_lower_edge: usize,
    /// Defined targets whose penalty is the largest of the grid.
    pub n_at_upper_edge: usize,
    /// Numerical rank of the training design at the centre of the simplex.
    pub rank: usize,
    /// Where that design was decomposed.
    pub space: Space,
    /// Inner score at the chosen candidate and penalty; NaN where undefined.
    pub inner_scores: Vec<f64>,
    /// Targets that are constant over the training rows.
    pub n_undefined: usize,
    /// Each training row predicted by the inner fold that held it out (training rows × targets); only where
    /// asked for.
    pub inner: Option<Mat<f64>>,
}

/// How the bands share the joint R² of held-out responses.
#[derive(Debug, Clone)]
pub struct BandedSplit {
    /// Bands × targets; each column sums to `joint`. NaN where the target is undefined.
    pub r2: Mat<f64>,
    /// Joint R² against the training mean, per target.
    pub joint: Vec<f64>,
}

impl BandedFit {
    /// Split the R² on the held-out responses (rows as in `predictions`).
    ///
    /// Errors: a shape other than that of the predictions. Undefined (NaN) where Σ y² is 0.
    pub fn split(&self, y_test: MatRef<f64>) -> Result<BandedSplit> {
        if y_test.nrows() != self.predictions.nrows() || y_test.ncols() != self.predictions.ncols() {
            return Err(Error::Shape {
                what: "y_test".into(),
                expected: format!("{} × {}", self.predictions.nrows(), self.predictions.ncols()),
                found: format!("{} × {}", y_test.nrows(), y_test.ncols()),
                hint: "give the responses of the held-out rows".into(),
            });
        }
        let (n, n_targets) = (y_test.nrows(), y_test.ncols());
        let y = Mat::from_fn(n, n_targets, |t, j| y_test[(t, j)] - self.train_means[j]);
        let fitted = Mat::from_fn(n, n_targets, |t, j| self.predictions[(t, j)] - self.train_means[j]);
        let total = |j: usize| -> f64 {
            let sum: f64 = (0..n).map(|t| y[(t, j)] * y[(t, j)]).sum();
            if sum > 0.0 { sum } else { f64::NAN }
        };
        let r2 = Mat::from_fn(self.band_predictions.len(), n_targets, |i, j| {
            let part = &self.band_predictions[i];
            (0..n).map(|t| part[(t, j)] * (2.0 * y[(t, j)] - fitted[(t, j)])).sum::<f64>() / total(j)
        });
        let joint = (0..n_targets)
            .map(|j| 1.0 - (0..n).map(|t| (y[(t, j)] - fitted[(t, j)]).powi(2)).sum::<f64>() / total(j))
            .collect();
        Ok(BandedSplit { r2, joint })
    }
}

/// Fit targets `y` (training rows × R) on the bands and predict the held-out rows.
///
/// `inner` names training rows, counted from 0. Errors: no band, bands of different rows, no candidate,
/// and those of [`RidgePlan::new`].
pub fn banded_ridge(
    bands: &[Band<'_>],
    y: MatRef<f64>,
    inner: &[Fold],
    params: &BandedParams,
) -> Result<BandedFit> {
    let mut fits = banded_ridge_of_subjects(bands, &[y], inner, params, false)?;
    fits.pop().ok_or_else(|| Error::TooFew {
        what: "subjects".into(),
        needed: "1 subject".into(),
        found: "none".into(),
        hint: "give the responses of one subject at least".into(),
    })
}

/// [`banded_ridge`] for several subjects that share the bands; the decompositions are made once, and a
/// subject's numbers do not depend on the others. With `keep_inner` the predictions of the inner folds are
/// kept.
pub fn banded_ridge_of_subjects(
    bands: &[Band<'_>],
    subjects: &[MatRef<'_, f64>],
    inner: &[Fold],
    params: &BandedParams,
    keep_inner: bool,
) -> Result<Vec<BandedFit>> {
    check_bands(bands, params)?;
    let n_test = bands[0].x_test.nrows();
    let candidates = simplex_candidates(bands.len(), params.n_candidates, params.seed);
    let ridge = RidgeParams { alpha_choice: AlphaChoice::PerTarget, ..params.ridge.clone() };
    let fitted = ridge.intercept == Intercept::Fitted;
    // Held-out rows of each band minus its training means.
    let centred: Vec<Mat<f64>> = bands
        .iter()
        .map(|band| {
            let p = band.x_train.ncols();
            let means = if fitted { column_means(band.x_train) } else { vec![0.0; p] };
            Mat::from_fn(n_test, p, |t, k| band.x_test[(t, k)] - means[k])
        })
        .collect();
    let mut fits: Vec<BandedFit> = subjects
        .iter()
        .map(|y| {
            let n_targets = y.ncols();
            BandedFit {
                predictions: Mat::zeros(0, 0),
                band_predictions: vec![Mat::full(n_test, n_targets, f64::NAN); bands.len()],
                train_means: if fitted { column_means(*y) } else { vec![0.0; n_targets] },
                chosen: vec![None; n_targets],
                candidates: candidates.clone(),
                alphas: vec![f64::NAN; n_targets],
                alpha_multiples: vec![f64::NAN; n_targets],
                n_at_lower_edge: 0,
                n_at_upper_edge: 0,
                rank: 0,
                space: Space::ByShape,
                inner_scores: vec![f64::NAN; n_targets],
                n_undefined: 0,
                inner: keep_inner.then(|| Mat::full(y.nrows(), n_targets, f64::NAN)),
            }
        })
        .collect();
    for (c, gamma) in candidates.iter().enumerate() {
        let x_train = stack(bands.iter().map(|band| band.x_train), gamma);
        let x_test = stack(bands.iter().map(|band| band.x_test), gamma);
        let plan = RidgePlan::new(x_train.as_ref(), x_test.as_ref(), inner, &ridge)?;
        fits.par_iter_mut().zip(subjects).try_for_each(|(fit, y)| improve(fit, c, &plan, *y, &centred))?;
    }
    for fit in &mut fits {
        let n_targets = fit.chosen.len();
        fit.predictions = Mat::from_fn(n_test, n_targets, |t, j| {
            fit.band_predictions.iter().map(|part| part[(t, j)]).sum::<f64>() + fit.train_means[j]
        });
        fit.n_undefined = fit.chosen.iter().filter(|c| c.is_none()).count();
        let grid = &ridge.alphas.values;
        if let (AlphaScale::MeanSquare, [first, .., last]) = (ridge.alphas.scale, grid.as_slice()) {
            // Multiples went through a product and a quotient: equal up to rounding.
            let at =
                |edge: f64| fit.alpha_multiples.iter().filter(|m| (**m - edge).abs() <= 1e-9 * edge).count();
            (fit.n_at_lower_edge, fit.n_at_upper_edge) = (at(*first), at(*last));
        }
    }
    Ok(fits)
}

/// Take candidate `c` over for the targets that it predicts better inside the training rows.
fn improve(
    fit: &mut BandedFit,
    c: usize,
    plan: &RidgePlan,
    y: MatRef<f64>,
    centred: &[Mat<f64>],
) -> Result<()> {
    let found = plan.fit(y)?;
    if c == 0 {
        (fit.rank, fit.space) = (found.rank, found.space);
    }
    let better: Vec<usize> = (0..y.ncols())
        .filter(|&j| found.alphas[j].is_finite())
        .filter(|&j| fit.chosen[j].is_none() || found.inner_scores[j] > fit.inner_scores[j])
        .collect();
    if better.is_empty() {
        return Ok(());
    }
    let y_better = Mat::from_fn(y.nrows(), better.len(), |t, k| y[(t, better[k])]);
    let alphas_better: Vec<f64> = better.iter().map(|&j| found.alphas[j]).collect();
    if let Some(inner) = &mut fit.inner {
        let found = plan.inner_predictions(y_better.as_ref(), &alphas_better)?;
        for (k, &j) in better.iter().enumerate() {
            inner.col_as_slice_mut(j).copy_from_slice(found.col_as_slice(k));
        }
    }
    let weights = plan.weights(y_better.as_ref(), &alphas_better)?.weights;
    let mut from = 0;
    for (i, x) in centred.iter().enumerate() {
        let p = x.ncols();
        let part = product(x.as_ref(), weights.get(from..from + p, ..));
        let scale = fit.candidates[c][i].sqrt();
        for (k, &j) in better.iter().enumerate() {
            let to = fit.band_predictions[i].col_as_slice_mut(j);
            to.iter_mut().zip(part.col_as_slice(k)).for_each(|(to, value)| *to = scale * value);
        }
        from += p;
    }
    for &j in &better {
        fit.chosen[j] = Some(c);
        fit.alphas[j] = found.alphas[j];
        fit.alpha_multiples[j] = found.alphas[j] / found.mean_square;
        fit.inner_scores[j] = found.inner_scores[j];
    }
    Ok(())
}

/// Points of the simplex: its centre, then Dirichlet draws with concentrations 0.1 and 1 in turn.
pub fn simplex_candidates(n_bands: usize, n_candidates: usize, seed: u64) -> Vec<Vec<f64>> {
    simplex_draws(n_bands, n_candidates, &[0.1, 1.0], seed)
}

/// Points of the simplex: its centre, then Dirichlet draws with these concentrations in turn; one point for one
/// band. Small concentrations (0.1) put most weight on one band, 1 is uniform.
pub fn simplex_draws(n_bands: usize, n_draws: usize, concentrations: &[f64], seed: u64) -> Vec<Vec<f64>> {
    if n_bands == 1 {
        return vec![vec![1.0]];
    }
    (0..n_draws)
        .map(|index| {
            if index == 0 || concentrations.is_empty() {
                return vec![1.0 / n_bands as f64; n_bands];
            }
            let concentration = concentrations[(index - 1) % concentrations.len()];
            let mut stream = Stream::new(seed, "banded simplex", index as u64);
            // Shares of gamma variables, from logarithms: at 0.1 most are below the smallest double.
            let logs: Vec<f64> = (0..n_bands).map(|_| ln_gamma_draw(&mut stream, concentration)).collect();
            let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logs.iter().map(|log| (log - top).exp()).sum();
            logs.iter().map(|log| (log - top).exp() / sum).collect()
        })
        .collect()
}

/// Logarithm of a gamma variable of this shape: Marsaglia & Tsang 2000 at shape + 1, times U^(1/shape).
fn ln_gamma_draw(stream: &mut Stream, shape: f64) -> f64 {
    let d = shape + 1.0 - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    let log = loop {
        let x = stream.normal();
        let v = (1.0 + c * x).powi(3);
        let u = 1.0 - stream.uniform();
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            break (d * v).ln();
        }
    };
    log + (1.0 - stream.uniform()).ln() / shape
}

/// [√γ_1 X_1 … √γ_B X_B].
fn stack<'a>(parts: impl Iterator<Item = MatRef<'a, f64>>, gamma: &[f64]) -> Mat<f64> {
    let parts: Vec<MatRef<'a, f64>> = parts.collect();
    let n_columns = parts.iter().map(|part| part.ncols()).sum();
    let mut out = Mat::zeros(parts[0].nrows(), n_columns);
    let mut at = 0;
    for (part, weight) in parts.iter().zip(gamma) {
        for j in 0..part.ncols() {
            for i in 0..part.nrows() {
                out[(i, at + j)] = weight.sqrt() * part[(i, j)];
            }
        }
        at += part.ncols();
    }
    out
}

fn check_bands(bands: &[Band<'_>], params: &BandedParams) -> Result<()> {
    let Some(first) = bands.first() else {
        return Err(Error::TooFew {
            what: "bands".into(),
            needed: "1 band".into(),
            found: "none".into(),
            hint: "give the network's features as one band".into(),
        });
    };
    for band in bands {
        let (train, test) = (band.x_train.nrows(), band.x_test.nrows());
        let same_columns = band.x_train.ncols() == band.x_test.ncols();
        if train != first.x_train.nrows() || test != first.x_test.nrows() || !same_columns {
            return Err(Error::Shape {
                what: format!("band {}", band.name),
                expected: format!(
                    "{} training and {} held-out rows of equal width",
                    first.x_train.nrows(),
                    first.x_test.nrows()
                ),
                found: format!("{train} × {} and {test} × {}", band.x_train.ncols(), band.x_test.ncols()),
                hint: "take all bands on the same rows".into(),
            });
        }
    }
    if params.n_candidates == 0 {
        return Err(Error::Invalid {
            what: "n_candidates".into(),
            expected: "at least 1".into(),
            found: "0".into(),
            hint: "20 is the default".into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::data::{Folds, Runs};

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(11, "banded tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn inner(n: usize) -> Vec<Fold> {
        let runs = Runs::from_lengths(&["a".into(), "b".into(), "c".into()], &[n / 3; 3]).unwrap();
        Folds::leave_one_run_out(&runs).unwrap().iter().cloned().collect()
    }

    #[test]
    fn the_split_sums_to_the_joint_score_and_finds_the_band_that_drives() {
        let (a, b) = (noise(90, 6, 0), noise(90, 5, 1));
        let (a_test, b_test) = (noise(60, 6, 2), noise(60, 5, 3));
        // Target 0 follows band a, target 1 band b, target 2 is constant.
        let respond = |a: &Mat<f64>, b: &Mat<f64>, e: &Mat<f64>| {
            Mat::from_fn(a.nrows(), 3, |t, j| match j {
                0 => 3.0 + a[(t, 0)] - a[(t, 3)] + 0.3 * e[(t, 0)],
                1 => -2.0 + 2.0 * b[(t, 1)] + 0.3 * e[(t, 1)],
                _ => 1.0,
            })
        };
        let y = respond(&a, &b, &noise(90, 2, 4));
        let y_test = respond(&a_test, &b_test, &noise(60, 2, 5));
        let bands = [
            Band { name: "a", x_train: a.as_ref(), x_test: a_test.as_ref() },
            Band { name: "b", x_train: b.as_ref(), x_test: b_test.as_ref() },
        ];
        let params = BandedParams { n_candidates: 9, ..BandedParams::default() };
        let fit = banded_ridge(&bands, y.as_ref(), &inner(90), &params).unwrap();
        let split = fit.split(y_test.as_ref()).unwrap();
        for j in 0..2 {
            assert!((split.r2[(0, j)] + split.r2[(1, j)] - split.joint[j]).abs() < 1e-12);
            assert!(split.joint[j] > 0.85, "{:?}", split.joint);
            assert!(split.r2[(j, j)] > 0.9 * split.joint[j]);
            let gamma = &fit.candidates[fit.chosen[j].unwrap()];
            assert!(gamma[j] > 0.5, "target {j} chose {gamma:?}");
        }
        assert_eq!((fit.chosen[2], fit.n_undefined), (None, 1));
        assert!(fit.predictions[(0, 2)].is_nan() && split.r2[(0, 2)].is_nan());
    }

    #[test]
    fn one_band_is_a_plain_ridge() {
        let (x, x_test, e) = (noise(60, 4, 6), noise(20, 4, 7), noise(60, 1, 8));
        let y = Mat::from_fn(60, 1, |t, _| x[(t, 0)] + e[(t, 0)] + 5.0);
        let bands = [Band { name: "a", x_train: x.as_ref(), x_test: x_test.as_ref() }];
        let params = BandedParams::default();
        let banded = banded_ridge(&bands, y.as_ref(), &inner(60), &params).unwrap();
        let plan = RidgePlan::new(x.as_ref(), x_test.as_ref(), &inner(60), &params.ridge).unwrap();
        let plain = plan.fit(y.as_ref()).unwrap();
        assert_eq!(banded.alphas, plain.alphas);
        assert!((banded.predictions - plain.predictions).norm_max() < 1e-12);
    }

    #[test]
    fn candidates_lie_on_the_simplex_and_reach_its_corners() {
        let points = simplex_candidates(3, 200, 4);
        assert_eq!(points[0], [1.0 / 3.0; 3]);
        assert!(
            points.iter().all(|g| (g.iter().sum::<f64>() - 1.0).abs() < 1e-14 && g.iter().all(|x| *x >= 0.0))
        );
        let sharp = points.iter().skip(1).step_by(2).filter(|g| g.iter().any(|x| *x > 0.95)).count();
        // P(max > 0.95) is about 0.7 at concentration 0.1.
        assert!((45..=95).contains(&sharp), "{sharp}");
        let mean = points.iter().map(|g| g[1]).sum::<f64>() / 200.0;
        assert!((mean - 1.0 / 3.0).abs() < 0.1, "{mean}");
    }
}
