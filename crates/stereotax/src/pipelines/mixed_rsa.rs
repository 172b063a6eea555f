//! Voxel-encoding RSA ("mixed" RSA): let features be remixed to predict every voxel before geometries are compared.
//!
//! Fixed RSA compares the RDM of features as they come with the RDM of responses, so that features in the wrong
//! proportions fail even where they hold all that an area represents. Here, per fold of conditions,
//!
//! ```text
//! Ŷ_test = X_test B,  B by ridge on the training conditions, a penalty per voxel chosen by folds within them
//! score  = compare(RDM(Ŷ_test), RDM(Y_test)),   beside fixed = compare(RDM(X_test), RDM(Y_test))
//! ```
//!
//! over the pairs of two held-out conditions; scores are means over folds. Pairs across folds are left out: their
//! patterns come from two fits, whose difference is none of the conditions'. Features are z-scored by the training
//! conditions (a feature that does not vary there is left out). Voxels that do not vary over training conditions
//! have no prediction and are left out of both RDMs.
//!
//! Source: Khaligh-Razavi et al. 2017; specs: alignment-methods B17, peers 4.1 (veRSA). Undefined (NaN): a fold whose
//! predictions or responses have undefined dissimilarities or none that vary. Cost: one ridge plan per fold, shared by
//! all subjects.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use crate::data::{Error, Fold, Folds, Monitor, Rdm, Result};
use crate::encoding::{RidgeParams, RidgePlan};
use crate::linalg::select_rows;
use crate::similarity::rdm::{Scale, correlation_rdm, euclidean_rdm};
use crate::similarity::rdm_compare::{Comparison, compare_all};
use crate::stats::summary::{check_finite, mean, sd};

/// Fewest conditions of a fold: three have three pairs, whose order is no geometry.
const LEAST_IN_FOLD: usize = 4;

/// How dissimilar two patterns are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PatternDistance {
    /// 1 − Pearson correlation over voxels (the default).
    #[default]
    Correlation,
    /// Squared Euclidean distance per voxel.
    SquaredEuclidean,
}

/// Choices.
#[derive(Debug, Clone)]
pub struct MixedRsaParams {
    /// The encoding model.
    pub ridge: RidgeParams,
    /// How RDMs are made.
    pub distance: PatternDistance,
    /// How RDMs are compared. Default Pearson.
    pub comparison: Comparison,
    /// Folds of conditions. Default 5.
    pub n_folds: usize,
    /// Folds within training conditions, to choose penalties. Default 5.
    pub n_inner_folds: usize,
    /// Default 0.
    pub seed: u64,
    /// Stable ids of conditions; `None`: their numbers.
    pub ids: Option<Vec<String>>,
}

impl Default for MixedRsaParams {
    fn default() -> Self {
        MixedRsaParams {
            ridge: RidgeParams::default(),
            distance: PatternDistance::Correlation,
            comparison: Comparison::Pearson,
            n_folds: 5,
            n_inner_folds: 5,
            seed: 0,
            ids: None,
        }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct MixedRsa {
    /// folds × subjects: predicted with measured geometry of held-out conditions.
    pub scores: Mat<f64>,
    /// folds × subjects: the same for the features as they come.
    pub fixed_scores: Mat<f64>,
    /// Mean over folds that are defined, per subject; NaN without any.
    pub per_subject: Vec<f64>,
    /// The same for the features as they come.
    pub fixed_per_subject: Vec<f64>,
    /// folds × subjects: mean over voxels of the inner score of the encoding model (R²).
    pub inner_scores: Mat<f64>,
    /// Per subject, the most voxels that had no prediction in a fold.
    pub n_undefined: Vec<usize>,
}

/// Compare predicted with measured geometry. `features`: conditions × features; `responses`: conditions × voxels per
/// subject, of any number of voxels.
///
/// Errors: other numbers of conditions, values that are not finite, no subject, fewer than 4 conditions in a fold.
pub fn mixed_rsa(
    features: MatRef<f64>,
    responses: &[MatRef<f64>],
    params: &MixedRsaParams,
    monitor: &Monitor<'_>,
) -> Result<MixedRsa> {
    let n = features.nrows();
    check_finite("features", features)?;
    for (s, y) in responses.iter().enumerate() {
        check_finite(&format!("responses[{s}]"), *y)?;
        if y.nrows() != n || y.ncols() == 0 {
            return Err(Error::Shape {
                what: format!("responses[{s}]"),
                expected: format!("{n} rows (the conditions of `features`) and at least one voxel"),
                found: format!("{} × {}", y.nrows(), y.ncols()),
                hint: "rows must be the same conditions in the same order".into(),
            });
        }
    }
    if responses.is_empty() || features.ncols() == 0 {
        return Err(Error::TooFew {
            what: "responses".into(),
            needed: "one subject, and one feature".into(),
            found: format!("{} subjects, {} features", responses.len(), features.ncols()),
            hint: "give the responses of each subject, conditions × voxels".into(),
        });
    }
    if params.n_folds < 2 || n < LEAST_IN_FOLD * params.n_folds {
        return Err(Error::TooFew {
            what: "conditions".into(),
            needed: format!("{LEAST_IN_FOLD} in each of {} folds (at least 2)", params.n_folds),
            found: n.to_string(),
            hint: "ask for fewer folds".into(),
        });
    }
    let ids = params.ids.clone().unwrap_or_else(|| (0..n).map(|i| format!("{i:09}")).collect());
    if ids.len() != n {
        return Err(Error::Shape {
            what: "ids".into(),
            expected: format!("{n} ids"),
            found: ids.len().to_string(),
            hint: "name every condition once".into(),
        });
    }
    let folds = Folds::k_fold(&ids, params.n_folds, params.seed)?;
    let study = Study { features, responses, params, ids: &ids, monitor };
    let found: Vec<Vec<Held>> = folds.iter().map(|fold| study.fold(fold)).collect::<Result<_>>()?;
    let table =
        |of: &dyn Fn(&Held) -> f64| Mat::from_fn(found.len(), responses.len(), |f, s| of(&found[f][s]));
    let scores = table(&|held| held.mixed);
    let fixed_scores = table(&|held| held.fixed);
    let per = |scores: &Mat<f64>| -> Vec<f64> {
        let of = |s: usize| scores.col(s).iter().copied().filter(|v| !v.is_nan()).collect::<Vec<_>>();
        (0..responses.len()).map(of).map(|v| if v.is_empty() { f64::NAN } else { mean(&v) }).collect()
    };
    let undefined = |s: usize| found.iter().map(|fold| fold[s].n_undefined).max().unwrap_or(0);
    Ok(MixedRsa {
        per_subject: per(&scores),
        fixed_per_subject: per(&fixed_scores),
        inner_scores: table(&|held| held.inner),
        n_undefined: (0..responses.len()).map(undefined).collect(),
        scores,
        fixed_scores,
    })
}

struct Study<'a> {
    features: MatRef<'a, f64>,
    responses: &'a [MatRef<'a, f64>],
    params: &'a MixedRsaParams,
    ids: &'a [String],
    monitor: &'a Monitor<'a>,
}

/// One subject in one fold.
struct Held {
    mixed: f64,
    fixed: f64,
    inner: f64,
    n_undefined: usize,
}

impl Study<'_> {
    fn fold(&self, fold: &Fold) -> Result<Vec<Held>> {
        self.monitor.check()?;
        let (train, test) = (&fold.train, &fold.test);
        let [x_train, x_test] = scaled(self.features, train, test);
        let train_ids: Vec<&String> = train.iter().map(|&i| &self.ids[i]).collect();
        let inner = Folds::k_fold(&train_ids, self.params.n_inner_folds, self.params.seed)?;
        let inner: Vec<Fold> = inner.iter().cloned().collect();
        let plan = RidgePlan::new(x_train.as_ref(), x_test.as_ref(), &inner, &self.params.ridge)?;
        let of_features = self.rdm(x_test.as_ref())?;
        self.responses
            .par_iter()
            .map(|y| {
                self.monitor.check()?;
                let fit = plan.fit(select_rows(*y, train).as_ref())?;
                let kept: Vec<usize> = (0..y.ncols()).filter(|&j| !fit.alphas[j].is_nan()).collect();
                let n_undefined = y.ncols() - kept.len();
                let inner: Vec<f64> =
                    kept.iter().map(|&j| fit.inner_scores[j]).filter(|v| !v.is_nan()).collect();
                let inner = if inner.is_empty() { f64::NAN } else { mean(&inner) };
                if kept.is_empty() {
                    return Ok(Held { mixed: f64::NAN, fixed: f64::NAN, inner, n_undefined });
                }
                let columns = |m: MatRef<f64>| Mat::from_fn(m.nrows(), kept.len(), |i, j| m[(i, kept[j])]);
                let measured = self.rdm(columns(select_rows(*y, test).as_ref()).as_ref())?;
                let predicted = self.rdm(columns(fit.predictions.as_ref()).as_ref())?;
                let models = [predicted, of_features.clone()];
                let score = |model: &Rdm| -> Result<f64> {
                    let (model, measured) = (std::slice::from_ref(model), std::slice::from_ref(&measured));
                    let silent = Monitor::silent();
                    Ok(compare_all(model, measured, self.params.comparison, None, &silent)?.values[(0, 0)])
                };
                Ok(Held { mixed: score(&models[0])?, fixed: score(&models[1])?, inner, n_undefined })
            })
            .collect()
    }

    fn rdm(&self, patterns: MatRef<f64>) -> Result<Rdm> {
        match self.params.distance {
            PatternDistance::Correlation => correlation_rdm(patterns, self.monitor),
            PatternDistance::SquaredEuclidean => {
                euclidean_rdm(patterns, Scale { squared: true, per_channel: true }, self.monitor)
            }
        }
    }
}

/// Training and held-out features, z-scored by the training rows; features that do not vary there are left out.
fn scaled(features: MatRef<f64>, train: &[usize], test: &[usize]) -> [Mat<f64>; 2] {
    let scales: Vec<(usize, f64, f64)> = (0..features.ncols())
        .filter_map(|j| {
            let x: Vec<f64> = train.iter().map(|&i| features[(i, j)]).collect();
            let spread = sd(&x);
            (spread > 1e-12 * x.iter().fold(0.0f64, |m, v| m.max(v.abs()))).then(|| (j, mean(&x), spread))
        })
        .collect();
    let of = |rows: &[usize]| {
        Mat::from_fn(rows.len(), scales.len(), |i, k| {
            let (j, centre, spread) = scales[k];
            (features[(rows[i], j)] - centre) / spread
        })
    };
    [of(train), of(test)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;

    fn noise(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(41, "mixed rsa tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    fn run(x: &Mat<f64>, y: &[&Mat<f64>], params: &MixedRsaParams) -> MixedRsa {
        let views: Vec<MatRef<f64>> = y.iter().map(|y| y.as_ref()).collect();
        mixed_rsa(x.as_ref(), &views, params, &Monitor::silent()).unwrap()
    }

    #[test]
    fn remixing_recovers_what_fixed_proportions_hide() {
        // Voxels see two of twelve features; the others drown them in the fixed RDM.
        let (x, mixing) = (noise(60, 12, 0), noise(2, 30, 1));
        let seen = Mat::from_fn(60, 2, |i, k| x[(i, k)]);
        let y = &seen * &mixing + 0.3 * &noise(60, 30, 2);
        for distance in [PatternDistance::Correlation, PatternDistance::SquaredEuclidean] {
            let found = run(&x, &[&y], &MixedRsaParams { distance, ..MixedRsaParams::default() });
            assert!(found.per_subject[0] > 0.85, "{found:?}");
            assert!(found.fixed_per_subject[0] < found.per_subject[0] - 0.3, "{found:?}");
            assert!(found.inner_scores.col(0).iter().all(|r2| *r2 > 0.5));
        }
    }

    #[test]
    fn without_a_relation_nothing_is_predicted() {
        let total: f64 = (0..12)
            .map(|k| {
                let (x, y) = (noise(40, 5, 100 + 2 * k), noise(40, 20, 101 + 2 * k));
                run(&x, &[&y], &MixedRsaParams { n_folds: 4, ..MixedRsaParams::default() }).per_subject[0]
            })
            .sum();
        // Each is a mean over 4 folds of 45 pairs: standard deviation about 0.1.
        assert!((total / 12.0).abs() < 0.1, "{}", total / 12.0);
    }

    #[test]
    fn it_is_a_ridge_and_two_rdms_by_a_slow_road() {
        let (x, mixing) = (noise(24, 3, 7), noise(3, 6, 8));
        let y = &x * &mixing + 0.5 * &noise(24, 6, 9);
        let mut params = MixedRsaParams {
            distance: PatternDistance::SquaredEuclidean,
            n_folds: 3,
            n_inner_folds: 3,
            ..MixedRsaParams::default()
        };
        params.ridge.alphas.values = vec![0.5];
        let found = run(&x, &[&y], &params);
        let ids: Vec<String> = (0..24).map(|i| format!("{i:09}")).collect();
        for (f, fold) in Folds::k_fold(&ids, 3, 0).unwrap().iter().enumerate() {
            let [a, b] = scaled(x.as_ref(), &fold.train, &fold.test);
            // Normal equations: α in units of the mean squared singular value of the centred design.
            let g = a.transpose() * &a;
            let alpha = 0.5 * (0..3).map(|k| g[(k, k)]).sum::<f64>() / 3.0;
            let penalised = Mat::from_fn(3, 3, |i, j| g[(i, j)] + if i == j { alpha } else { 0.0 });
            let y_train = select_rows(y.as_ref(), &fold.train);
            let means = crate::linalg::column_means(y_train.as_ref());
            let centred = Mat::from_fn(y_train.nrows(), 6, |i, j| y_train[(i, j)] - means[j]);
            let right = a.transpose() * &centred;
            let weights = crate::linalg::cholesky_solve(penalised.as_ref(), right.as_ref()).unwrap();
            let predicted = &b * &weights;
            let apart = |m: &Mat<f64>| -> Vec<f64> {
                let rows = m.nrows();
                (0..rows)
                    .flat_map(|i| (i + 1..rows).map(move |j| (i, j)))
                    .map(|(i, j)| (0..m.ncols()).map(|k| (m[(i, k)] - m[(j, k)]).powi(2)).sum())
                    .collect()
            };
            let y_test = select_rows(y.as_ref(), &fold.test);
            let r = crate::stats::summary::pearson(&apart(&predicted), &apart(&y_test));
            assert!((found.scores[(f, 0)] - r).abs() < 1e-9, "{} {r}", found.scores[(f, 0)]);
            let r = crate::stats::summary::pearson(&apart(&b), &apart(&y_test));
            assert!((found.fixed_scores[(f, 0)] - r).abs() < 1e-9);
        }
    }

    #[test]
    fn constant_voxels_are_left_out_and_bad_input_is_refused() {
        let (mut x, mixing) = (noise(30, 4, 20), noise(4, 8, 21));
        let mut y = &x * &mixing;
        let plain = run(&x, &[&y], &MixedRsaParams::default());
        y.col_mut(3).iter_mut().for_each(|v| *v = 2.0);
        x.col_mut(1).iter_mut().for_each(|v| *v = 5.0);
        let other = noise(30, 3, 22);
        let found = run(&x, &[&y, &other], &MixedRsaParams::default());
        assert_eq!((plain.n_undefined[0], found.n_undefined.clone()), (0, vec![1, 0]));
        assert!(found.per_subject.iter().all(|v| v.is_finite()));
        let flat = Mat::full(30, 2, 1.0);
        assert!(run(&x, &[&flat], &MixedRsaParams::default()).per_subject[0].is_nan());
        let refused = |x: &Mat<f64>, y: &[MatRef<f64>], params: &MixedRsaParams| {
            mixed_rsa(x.as_ref(), y, params, &Monitor::silent()).unwrap_err().to_string()
        };
        let plain = MixedRsaParams::default();
        assert!(refused(&x, &[noise(29, 2, 1).as_ref()], &plain).contains("30 rows"));
        assert!(refused(&x, &[], &plain).contains("one subject"));
        let many = MixedRsaParams { n_folds: 9, ..plain.clone() };
        assert!(refused(&x, &[y.as_ref()], &many).contains("4 in each"));
        let short = MixedRsaParams { ids: Some(vec!["a".into()]), ..plain };
        assert!(refused(&x, &[y.as_ref()], &short).contains("30 ids"));
    }
}
