//! Feature-reweighted RSA: how well a weighted sum of single-feature RDMs predicts RDMs of held-out conditions.
//!
//! Feature k by itself gives the RDM d_k(i, j) = (x_ik − x_jk)². Weights minimise, over pairs of training conditions and in
//! centred, unit-length values,
//!
//! ```text
//! ‖y − Σ w_k d_k‖² + α ḡ ‖w‖²,   w ≥ 0 (or of any sign),   ḡ the mean of ‖d_k‖²
//! ```
//!
//! with y the mean of the subjects' RDMs. The prediction for pairs of two held-out conditions is compared with each
//! subject's. Conditions are held out, never pairs: a pair shares its conditions with others. Features are scaled to unit
//! variance over training conditions, and α is chosen among several by folds within the training conditions.
//!
//! Source: Kaniuth & Hebart 2022; Storrs et al. 2021; specs: peers 4.1, alignment-methods B21.8. Cost per fold and choice:
//! O(m p²) for m training pairs of p features.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::mantel::numbered;
use super::rdm_compare::whitened::pairs;
use super::rdm_compare::{Comparison, compare_all, linear};
use super::rsa::non_negative_least_squares;
use stereotax_base::data::{Error, Folds, Monitor, Rdm, Result};
use stereotax_base::linalg::{cholesky_solve, cross, gram};
use stereotax_base::stats::summary::{check_finite, mean, sd};

/// Choices.
#[derive(Debug, Clone)]
pub struct ReweightedParams {
    /// How predictions are compared with subjects. Default Pearson.
    pub comparison: Comparison,
    /// Penalties in units of ḡ, all above 0. Default 10⁻⁴ … 10².
    pub alphas: Vec<f64>,
    /// Weights of at least 0 (the default).
    pub non_negative: bool,
    /// Outer folds. Default 5.
    pub n_folds: usize,
    /// Folds within training conditions, to choose α. Default 3.
    pub n_inner_folds: usize,
    /// Default 0.
    pub seed: u64,
    /// Stable ids of conditions; `None`: their numbers.
    pub ids: Option<Vec<String>>,
}

impl Default for ReweightedParams {
    fn default() -> Self {
        ReweightedParams {
            comparison: Comparison::Pearson,
            alphas: (-4..=2).map(|e| 10f64.powi(e)).collect(),
            non_negative: true,
            n_folds: 5,
            n_inner_folds: 3,
            seed: 0,
            ids: None,
        }
    }
}

/// What feature-reweighted RSA found.
#[derive(Debug, Clone)]
pub struct Reweighted {
    /// folds × subjects: comparison of the prediction with each subject over held-out conditions.
    pub scores: Mat<f64>,
    /// folds × subjects: the same for equal weights (of scaled features).
    pub plain_scores: Mat<f64>,
    /// Mean over folds, per subject.
    pub per_subject: Vec<f64>,
    /// The same for equal weights.
    pub plain_per_subject: Vec<f64>,
    /// Chosen penalty of each fold.
    pub alphas: Vec<f64>,
    /// Weights of scaled features fitted to all conditions with the penalty chosen on all (to look at, not to test).
    pub weights: Vec<f64>,
    /// Features that do not vary; their weights are 0.
    pub n_constant: usize,
}

/// Fit weights of features (conditions × features) on some conditions and test them on others.
///
/// Errors: other numbers of conditions, NaN in features, undefined pairs, fewer than 4 conditions in a fold, penalties that
/// are not positive.
pub fn reweighted_rsa(
    features: MatRef<f64>,
    subjects: &[Rdm],
    params: &ReweightedParams,
    monitor: &Monitor<'_>,
) -> Result<Reweighted> {
    let n = features.nrows();
    check_finite("features", features)?;
    let fits = |rdm: &Rdm| rdm.n_conditions() == n && rdm.n_undefined() == 0;
    if subjects.is_empty() || features.ncols() == 0 || !subjects.iter().all(fits) {
        return Err(Error::Shape {
            what: "rdms".into(),
            expected: format!("RDMs of {n} conditions (the rows of `features`) without undefined pairs"),
            found: format!("{} RDMs, or others", subjects.len()),
            hint: "leave out the conditions that lack pairs".into(),
        });
    }
    if params.alphas.is_empty() || params.alphas.iter().any(|a| !(*a > 0.0 && a.is_finite())) {
        return Err(Error::Invalid {
            what: "alphas".into(),
            expected: "positive numbers".into(),
            found: format!("{:?}", params.alphas),
            hint: "features outnumber what pairs can tell; 1e-4 is next to nothing".into(),
        });
    }
    let inner = if params.alphas.len() > 1 { params.n_inner_folds } else { 0 };
    if n < 4 * params.n_folds || (inner > 0 && n * (params.n_folds - 1) / params.n_folds.max(1) < 4 * inner) {
        return Err(Error::TooFew {
            what: "conditions".into(),
            needed: format!("4 in each of {} folds, and in each of {inner} within them", params.n_folds),
            found: n.to_string(),
            hint: "ask for fewer folds".into(),
        });
    }
    let ids = params.ids.clone().unwrap_or_else(|| numbered(n));
    if ids.len() != n {
        return Err(Error::Shape {
            what: "ids".into(),
            expected: format!("{n} ids"),
            found: ids.len().to_string(),
            hint: "name every condition once".into(),
        });
    }
    let study = Study { features, subjects, params, ids: &ids };
    let folds = Folds::k_fold(&ids, params.n_folds, params.seed)?;
    let found: Vec<(f64, Vec<f64>, Vec<f64>)> = folds
        .iter()
        .collect::<Vec<_>>()
        .par_iter()
        .map(|fold| {
            monitor.check()?;
            let alpha = study.choose(&fold.train)?;
            let fitted = study.fit(&fold.train, alpha);
            let equal = Fitted {
                weights: fitted.scales.iter().map(|s| f64::from(u8::from(*s > 0.0))).collect(),
                ..fitted.clone()
            };
            Ok((alpha, study.score(&fitted, &fold.test)?, study.score(&equal, &fold.test)?))
        })
        .collect::<Result<_>>()?;
    let table = |of: &dyn Fn(usize, usize) -> f64| Mat::from_fn(found.len(), subjects.len(), of);
    let scores = table(&|f, s| found[f].1[s]);
    let plain_scores = table(&|f, s| found[f].2[s]);
    let per = |scores: &Mat<f64>| -> Vec<f64> {
        (0..subjects.len()).map(|s| mean(&scores.col(s).iter().copied().collect::<Vec<_>>())).collect()
    };
    let all: Vec<usize> = (0..n).collect();
    let whole = study.fit(&all, study.choose(&all)?);
    Ok(Reweighted {
        per_subject: per(&scores),
        plain_per_subject: per(&plain_scores),
        scores,
        plain_scores,
        alphas: found.iter().map(|fold| fold.0).collect(),
        n_constant: whole.scales.iter().filter(|s| **s == 0.0).count(),
        weights: whole.weights,
    })
}

struct Study<'a> {
    features: MatRef<'a, f64>,
    subjects: &'a [Rdm],
    params: &'a ReweightedParams,
    ids: &'a [String],
}

/// Weights of features that are divided by their standard deviations.
#[derive(Clone)]
struct Fitted {
    weights: Vec<f64>,
    /// 1/sd; 0 for features that do not vary.
    scales: Vec<f64>,
}

impl Study<'_> {
    /// The penalty with the best mean score on folds within `train`.
    fn choose(&self, train: &[usize]) -> Result<f64> {
        let alphas = &self.params.alphas;
        if alphas.len() == 1 {
            return Ok(alphas[0]);
        }
        let ids: Vec<&String> = train.iter().map(|&i| &self.ids[i]).collect();
        let folds = Folds::k_fold(&ids, self.params.n_inner_folds, self.params.seed)?;
        let mut totals = vec![0.0; alphas.len()];
        for fold in folds.iter() {
            let of = |rows: &[usize]| -> Vec<usize> { rows.iter().map(|&i| train[i]).collect() };
            let (inside, outside) = (of(&fold.train), of(&fold.test));
            let system = self.system(&inside);
            for (total, &alpha) in totals.iter_mut().zip(alphas) {
                let score = self.score(&self.solve(&system, alpha), &outside)?;
                // A prediction that is constant predicts nothing.
                *total += score.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).sum::<f64>();
            }
        }
        let best = (0..alphas.len()).fold(0, |best, k| if totals[k] > totals[best] { k } else { best });
        Ok(alphas[best])
    }

    fn fit(&self, rows: &[usize], alpha: f64) -> Fitted {
        self.solve(&self.system(rows), alpha)
    }

    /// Normal equations over the pairs of `rows`.
    fn system(&self, rows: &[usize]) -> (Mat<f64>, Vec<f64>, Vec<f64>) {
        let p = self.features.ncols();
        let scales: Vec<f64> = (0..p)
            .map(|k| {
                let x: Vec<f64> = rows.iter().map(|&i| self.features[(i, k)]).collect();
                let sd = sd(&x);
                if sd > 0.0 { 1.0 / sd } else { 0.0 }
            })
            .collect();
        let mut d = self.distances(rows, &scales);
        let m = d.nrows() as f64;
        for k in 0..p {
            let column = d.col_as_slice_mut(k);
            let centre = column.iter().sum::<f64>() / m;
            column.iter_mut().for_each(|v| *v -= centre);
        }
        let mut y = Mat::zeros(d.nrows(), 1);
        for rdm in self.subjects {
            let x: Vec<f64> = pairs(rows.len()).map(|(i, j)| rdm.get(rows[i], rows[j])).collect();
            if let Ok(unit) = linear::unit(&x, true) {
                y.col_as_slice_mut(0).iter_mut().zip(unit).for_each(|(y, v)| *y += v);
            }
        }
        let q = cross(d.as_ref(), y.as_ref());
        (gram(d.as_ref()), (0..p).map(|k| q[(k, 0)]).collect(), scales)
    }

    fn solve(&self, system: &(Mat<f64>, Vec<f64>, Vec<f64>), alpha: f64) -> Fitted {
        let (g, q, scales) = system;
        let p = q.len();
        let size = (0..p).map(|k| g[(k, k)]).sum::<f64>() / p as f64;
        let mut g = g.clone();
        (0..p).for_each(|k| g[(k, k)] += alpha * size);
        let weights = if self.params.non_negative {
            non_negative_least_squares(&g, q, None)
        } else {
            let right = Mat::from_fn(p, 1, |k, _| q[k]);
            cholesky_solve(g.as_ref(), right.as_ref())
                .map_or(vec![0.0; p], |w| (0..p).map(|k| w[(k, 0)]).collect())
        };
        Fitted { weights, scales: scales.clone() }
    }

    /// Pairs × features.
    fn distances(&self, rows: &[usize], scales: &[f64]) -> Mat<f64> {
        let at: Vec<(usize, usize)> = pairs(rows.len()).map(|(i, j)| (rows[i], rows[j])).collect();
        let mut d = Mat::zeros(at.len(), scales.len());
        for (k, scale) in scales.iter().enumerate() {
            let to = d.col_as_slice_mut(k);
            for (to, &(i, j)) in to.iter_mut().zip(&at) {
                *to = (scale * (self.features[(i, k)] - self.features[(j, k)])).powi(2);
            }
        }
        d
    }

    /// Comparison of the prediction over `rows` with each subject.
    fn score(&self, fitted: &Fitted, rows: &[usize]) -> Result<Vec<f64>> {
        let used: Vec<usize> = (0..fitted.weights.len()).filter(|&k| fitted.weights[k] != 0.0).collect();
        let predicted = pairs(rows.len())
            .map(|(i, j)| {
                let part = |&k: &usize| {
                    let difference =
                        fitted.scales[k] * (self.features[(rows[i], k)] - self.features[(rows[j], k)]);
                    fitted.weights[k] * difference * difference
                };
                used.iter().map(part).sum()
            })
            .collect();
        let predicted = Rdm::new(rows.len(), predicted)?;
        let held: Vec<Rdm> = self.subjects.iter().map(|rdm| rdm.subset(rows)).collect::<Result<_>>()?;
        let found = compare_all(&[predicted], &held, self.params.comparison, None, &Monitor::silent())?;
        Ok((0..held.len()).map(|s| found.values[(0, s)]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn study(n: usize, p: usize, truth: &[f64], noise: f64, seed: u64) -> (Mat<f64>, Vec<Rdm>) {
        let mut stream = Stream::new(seed, "reweighted", 0);
        let x = Mat::from_fn(n, p, |_, _| stream.normal());
        let subjects = (0..3)
            .map(|_| {
                let one = |(i, j): (usize, usize)| {
                    let d = (0..p).map(|k| truth[k] * (x[(i, k)] - x[(j, k)]).powi(2)).sum::<f64>();
                    d + noise * stream.normal()
                };
                Rdm::new(n, pairs(n).map(one).collect()).unwrap()
            })
            .collect();
        (x, subjects)
    }

    #[test]
    fn planted_weights_are_found_and_predict_other_conditions() {
        let truth = [4.0, 0.0, 1.0, 0.0, 0.0, 2.0];
        let (x, subjects) = study(60, 6, &truth, 1.0, 1);
        for non_negative in [true, false] {
            let params = ReweightedParams { alphas: vec![1e-6], non_negative, ..ReweightedParams::default() };
            let found = reweighted_rsa(x.as_ref(), &subjects, &params, &Monitor::silent()).unwrap();
            let scaled: Vec<f64> = found.weights.iter().map(|w| 4.0 * w / found.weights[0]).collect();
            for (w, t) in scaled.iter().zip(truth) {
                // Features are scaled to unit variance, which weights repay by about a tenth.
                assert!((w - t).abs() < 0.25 + 0.3 * t, "{scaled:?}");
            }
            assert!(mean(&found.per_subject) > mean(&found.plain_per_subject) + 0.1);
            assert!(mean(&found.per_subject) > 0.95);
            // Without noise the prediction is exact.
            let (x, subjects) = study(40, 6, &truth, 0.0, 2);
            let params = ReweightedParams { alphas: vec![1e-10], ..params };
            let found = reweighted_rsa(x.as_ref(), &subjects, &params, &Monitor::silent()).unwrap();
            assert!(mean(&found.per_subject) > 1.0 - 1e-9);
        }
    }

    #[test]
    fn without_a_relation_nothing_is_predicted() {
        let total = (0..20)
            .map(|seed| {
                let (x, _) = study(40, 12, &[0.0; 12], 1.0, seed);
                let (_, subjects) = study(40, 12, &[1.0; 12], 1.0, 100 + seed);
                let params =
                    ReweightedParams { alphas: vec![0.01], n_folds: 4, ..ReweightedParams::default() };
                mean(&reweighted_rsa(x.as_ref(), &subjects, &params, &Monitor::silent()).unwrap().per_subject)
            })
            .sum::<f64>()
            / 20.0;
        assert!(total.abs() < 0.05, "{total}");
    }

    #[test]
    fn penalties_are_chosen_and_bad_input_is_refused() {
        let (mut x, subjects) = study(48, 5, &[1.0, 1.0, 0.0, 0.0, 1.0], 3.0, 3);
        x.col_mut(3).iter_mut().for_each(|v| *v = 2.0);
        let params = ReweightedParams { n_folds: 3, ..ReweightedParams::default() };
        let found = reweighted_rsa(x.as_ref(), &subjects, &params, &Monitor::silent()).unwrap();
        assert!(found.alphas.iter().all(|a| params.alphas.contains(a)));
        assert_eq!((found.n_constant, found.weights[3]), (1, 0.0));
        let refusal = |params: &ReweightedParams| {
            reweighted_rsa(x.as_ref(), &subjects, params, &Monitor::silent()).unwrap_err().to_string()
        };
        assert!(refusal(&ReweightedParams { alphas: vec![0.0], ..params.clone() }).contains("positive"));
        assert!(refusal(&ReweightedParams { n_folds: 20, ..params }).contains("4 in each"));
    }
}
