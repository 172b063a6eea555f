//! Judge models of an RDM against the RDMs of several subjects, with uncertainty over subjects and stimuli.
//!
//! Each model is compared with each subject ([`Comparison`]); its estimate is the mean over subjects. Draws come from the
//! study's resampling plan, keyed by the ids of conditions and subjects, so that all models, and their noise ceilings,
//! see the same draws. A condition that is drawn twice has no dissimilarity from itself.
//!
//! ```text
//! standard error   √v, v from draws over subjects, conditions, or both together (`variance`)
//! interval         estimate ± t_dof(level) · standard error
//! against 0        t = estimate/√v, one-sided; the share of draws at or below 0; permuted condition labels; sign flips of subjects
//! between models   t of the difference, two-sided, on the same draws
//! ceiling          lower: each subject with the pool of all others; upper: with the pool of all
//! best model       chosen anew in every draw: how often each wins, and how optimistic the choice makes its estimate
//! ```
//!
//! Flexible models ([`RdmModel`]) are fitted on other conditions (and subjects) than they are tested on, within every
//! draw; then all models and the ceilings are evaluated on the same held-out conditions. A model whose best weights are
//! all zero in a fit predicts nothing there: it has no value, with a status that says so.
//!
//! Source: Schütt et al. 2023; Nili et al. 2014 (ceilings); specs: peers 1.1, 7, W5; encoding-manifolds 6.8. Differs from
//! rsatoolbox: estimates are those of the data, not means over draws (which are biased downwards by repeated conditions); one
//! evaluation per draw of conditions serves all three kinds of draws; one subject is no division by zero.

mod best;
mod draw;
mod models;
#[cfg(test)]
mod tests;
mod variance;

use faer::Mat;
use rayon::prelude::*;

use super::rdm_compare::{Comparison, NoiseCovariance, Undefined};
pub use best::BestModel;
use draw::{Ceilings, Drawn, Table};
pub use models::{RdmModel, non_negative_least_squares};
use stereotax_base::data::{Error, Monitor, Rdm, Result};
use stereotax_base::stats::multiplicity::max_t;
use stereotax_base::stats::resampling::ResamplingPlan;
use stereotax_base::stats::rng::{Stream, id_key};
use stereotax_base::stats::sign_flips::{Alternative, sign_flips};
use stereotax_base::stats::special::{student_quantile, student_two_sided};
use stereotax_base::stats::summary::{permutation_p, quantile, tie_tolerance};

/// What bootstrap draws resample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resampled {
    /// Subjects and conditions: the result holds for other people and other stimuli.
    #[default]
    Both,
    /// Subjects: for other people, these stimuli.
    Subjects,
    /// Conditions: for other stimuli, these people.
    Conditions,
    /// Nothing: t-tests over subjects.
    None,
}

/// Choices of an analysis.
#[derive(Debug, Clone)]
pub struct RsaParams {
    /// Default `Pearson`.
    pub comparison: Comparison,
    /// Default `Both`.
    pub resampled: Resampled,
    /// Coverage of intervals. Default 0.95.
    pub level: f64,
    /// Parts into which conditions are dealt for flexible models; 0: 2 to 5 by their number; 1: not dealt.
    pub n_condition_folds: usize,
    /// Parts into which subjects are dealt; 1 (the default): not dealt.
    pub n_subject_folds: usize,
    /// Deals per draw (default 2).
    pub n_deals: usize,
    /// Covariance of the noise between conditions, for whitened comparisons; `None`: equal and independent.
    pub noise: Option<NoiseCovariance>,
}

impl Default for RsaParams {
    fn default() -> Self {
        RsaParams {
            comparison: Comparison::Pearson,
            resampled: Resampled::Both,
            level: 0.95,
            n_condition_folds: 0,
            n_subject_folds: 1,
            n_deals: 2,
            noise: None,
        }
    }
}

/// An estimate with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// On the data; NaN where undefined.
    pub value: f64,
    /// Standard error; NaN without draws.
    pub standard_error: f64,
    /// Ends of the t interval.
    pub lower: f64,
    /// See `lower`.
    pub upper: f64,
    /// Ends of the percentile interval of the draws.
    pub draw_lower: f64,
    /// See `draw_lower`.
    pub draw_upper: f64,
}

/// p-values of one kind of question, one per model; NaN where it cannot be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Tests {
    /// t with the variance of the draws (one-sided against 0, two-sided otherwise).
    pub t: Vec<f64>,
    /// (1 + draws beyond) / (1 + draws).
    pub draws: Vec<f64>,
}

/// What an analysis found. M models, S subjects.
#[derive(Debug, Clone)]
pub struct Rsa {
    /// M × S: comparison of each model with each subject; cross-validated if any model is flexible.
    pub evaluations: Mat<f64>,
    /// Mean over subjects, per model.
    pub estimates: Vec<Estimate>,
    /// Lower noise ceiling; values are NaN with one subject.
    pub ceiling_lower: Estimate,
    /// Upper noise ceiling.
    pub ceiling_upper: Estimate,
    /// Whether each model is better than 0.
    pub against_zero: Tests,
    /// Whether each model differs from the lower ceiling.
    pub against_ceiling: Tests,
    /// M × M: t-test of differences, two-sided; 1 on the diagonal.
    pub pairwise: Mat<f64>,
    /// M × M: standard errors of differences.
    pub pairwise_se: Mat<f64>,
    /// One-sided p of permuted condition labels, and its step-down max-T adjustment; NaN without permutations, for
    /// flexible models, and where pairs are missing.
    pub permutation: Adjusted,
    /// One-sided p of sign flips over subjects (all, where they are few), and its max-T adjustment.
    pub sign_flip: Adjusted,
    /// Selection of the best model.
    pub best: BestModel,
    /// Degrees of freedom of t.
    pub dof: f64,
    /// Draws asked for.
    pub n_draws: usize,
    /// Draws left out because they held too few different conditions or subjects.
    pub n_poor: usize,
    /// Draws left out because a model was constant in them.
    pub n_undefined: usize,
    /// Pairs left out because a model or a subject lacks them.
    pub n_pairs_dropped: usize,
    /// Pairs compared.
    pub n_pairs: usize,
    /// Weights of each flexible model's components, fitted to all data (to look at, not to test).
    pub weights: Vec<Vec<f64>>,
    /// Why a model has no estimate.
    pub status: Vec<Option<String>>,
}

/// p-values with an adjustment for all models.
#[derive(Debug, Clone, PartialEq)]
pub struct Adjusted {
    /// Per model.
    pub p_value: Vec<f64>,
    /// Step-down max-T over models.
    pub p_adjusted: Vec<f64>,
    /// Draws used.
    pub n_draws: usize,
}

impl Adjusted {
    fn nothing(n: usize) -> Self {
        Adjusted { p_value: vec![f64::NAN; n], p_adjusted: vec![f64::NAN; n], n_draws: 0 }
    }
}

/// Compare models with subjects and say how sure one can be.
///
/// `plan.block_ids` names the conditions, `plan.subject_ids` the subjects; `n_bootstraps` draws and `n_permutations`
/// permutations and sign flips are taken from it.
///
/// Errors: no model or subject, different conditions, ids that do not fit, a comparison of Gram matrices together with
/// draws of conditions, one subject where subjects are drawn, fewer conditions than three per fold, flexible models without
/// folds.
pub fn rsa(
    models: &[RdmModel],
    subjects: &[Rdm],
    plan: &ResamplingPlan,
    params: &RsaParams,
    monitor: &Monitor<'_>,
) -> Result<Rsa> {
    check(models, subjects, plan, params)?;
    let (n_models, n_subjects, n) = (models.len(), subjects.len(), subjects[0].n_conditions());
    let flexible = models.iter().any(RdmModel::is_flexible);
    let mut study = Study {
        models,
        ranges: vec![],
        table: Table::new(
            &models.iter().flat_map(RdmModel::components).collect::<Vec<_>>(),
            subjects,
            params.comparison,
            params.noise.as_ref(),
        )?,
        plan,
        condition_folds: if flexible { folds_for(params.n_condition_folds, n) } else { 1 },
        subject_folds: if flexible { params.n_subject_folds.max(1) } else { 1 },
        deals: 1,
    };
    let mut start = 0;
    for model in models {
        study.ranges.push(start..start + model.components().len());
        start += model.components().len();
    }
    if flexible {
        study.deals = params.n_deals.max(1);
        if n < 3 * study.condition_folds || n_subjects < study.subject_folds {
            return Err(Error::TooFew {
                what: "rsa".into(),
                needed: format!(
                    "{} conditions (3 for each of {} folds) and {} subjects",
                    3 * study.condition_folds,
                    study.condition_folds,
                    study.subject_folds
                ),
                found: format!("{n} and {n_subjects}"),
                hint: "ask for fewer folds".into(),
            });
        }
        if study.condition_folds == 1 && study.subject_folds == 1 {
            return Err(Error::Refused {
                what: "a flexible model without cross-validation".into(),
                reason: "it would be tested on the data that it was fitted to".into(),
                hint: "deal conditions into 2 folds or more".into(),
            });
        }
    }
    let ones = (vec![1u32; n], vec![1u32; n_subjects]);
    // On the data: as many deals as give a steady mean.
    let n_deals = if flexible { 10 * study.deals } else { 1 };
    let n_fits = n_deals * study.condition_folds * study.subject_folds;
    let whole = study.table.draw(&ones.0);
    let on_data = study.evaluate_often(&whole, &ones.0, &ones.1, n_deals);
    let draws = study.draws(&whole, params.resampled, monitor)?;
    let mut found = summarise(&on_data, &draws, params, n_subjects, n);
    found.n_pairs_dropped = study.table.n_dropped;
    found.n_pairs = study.table.pairs.len();
    found.permutation = study.permutation_test(&whole, subjects, params, &found.estimates, monitor)?;
    found.sign_flip = flipped(&found.evaluations, plan);
    found.best = best::best_model(&found.estimates, &draws, params.resampled, params.level);
    if flexible {
        let (products, scores) = (whole.products(), whole.scores());
        let weights = vec![1.0; n_subjects];
        let fit = |(model, range): (&RdmModel, &std::ops::Range<usize>)| {
            models::fit(model, range.clone(), &whole, &products, &scores, &weights)
        };
        found.weights = models.iter().zip(&study.ranges).map(fit).collect();
    } else {
        found.weights = vec![vec![1.0]; n_models];
    }
    found.status = (0..n_models)
        .map(|k| {
            found.estimates[k].value.is_nan().then(|| {
                if on_data.weightless[k] > 0 {
                    return format!(
                        "in {} of {n_fits} fits the best weights are all zero, and nothing is predicted",
                        on_data.weightless[k]
                    );
                }
                let column = &study.table.columns[study.ranges[k].start];
                draw::reason(column, params.comparison).to_owned()
            })
        })
        .collect();
    Ok(found)
}

fn folds_for(asked: usize, n: usize) -> usize {
    // About 0.63 n different conditions are in a draw, and a fold needs three.
    let different = (1.0 - (-1.0f64).exp()) * n as f64;
    match asked {
        0 if different < 12.0 => 2,
        0 if different < 24.0 => 3,
        0 if different < 40.0 => 4,
        0 => 5,
        asked => asked,
    }
}

fn check(models: &[RdmModel], subjects: &[Rdm], plan: &ResamplingPlan, params: &RsaParams) -> Result<()> {
    let few = |needed: &str, found: String, hint: &str| {
        Err(Error::TooFew { what: "rsa".into(), needed: needed.into(), found, hint: hint.into() })
    };
    if models.is_empty() || subjects.is_empty() || models.iter().any(|m| m.components().is_empty()) {
        return few(
            "one model of one RDM, and one subject",
            format!("{} models and {} subjects", models.len(), subjects.len()),
            "give model RDMs and data RDMs of the same conditions",
        );
    }
    let n = subjects[0].n_conditions();
    let all = models.iter().flat_map(RdmModel::components).chain(subjects);
    if let Some(other) = all.into_iter().find(|rdm| rdm.n_conditions() != n) {
        return Err(Error::Shape {
            what: "rdm".into(),
            expected: format!("{n} conditions (as the first subject)"),
            found: format!("{} conditions", other.n_conditions()),
            hint: "models and subjects must hold the same conditions in the same order".into(),
        });
    }
    if n < 3 {
        return few("3 conditions", n.to_string(), "two conditions have one dissimilarity");
    }
    if plan.block_ids.len() != n || plan.subject_ids.len() != subjects.len() {
        return Err(Error::Shape {
            what: "plan".into(),
            expected: format!("{n} ids of conditions and {} of subjects", subjects.len()),
            found: format!("{} and {}", plan.block_ids.len(), plan.subject_ids.len()),
            hint: "name every condition and every subject once".into(),
        });
    }
    if let Some(noise) = &params.noise {
        noise.check(n)?;
        if !params.comparison.is_whitened() {
            return Err(Error::Invalid {
                what: "noise_covariance".into(),
                expected: "none (only whitened comparisons use them)".into(),
                found: "given".into(),
                hint: "compare by whitened_cosine or whitened_pearson".into(),
            });
        }
    }
    if params.comparison.of_grams() {
        return Err(Error::Refused {
            what: "inference by Bures similarity".into(),
            reason: "a condition drawn twice leaves a hole in the Gram matrix".into(),
            hint: "use compare_rdms for its values, and whitened_cosine (linear CKA) for inference".into(),
        });
    }
    if subjects.len() < 2 && matches!(params.resampled, Resampled::Both | Resampled::Subjects) {
        return few("2 subjects to draw from", "1".into(), "with one subject, draw conditions only");
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

struct Study<'a> {
    models: &'a [RdmModel],
    /// Components of each model among the columns of the table.
    ranges: Vec<std::ops::Range<usize>>,
    table: Table,
    plan: &'a ResamplingPlan,
    condition_folds: usize,
    subject_folds: usize,
    deals: usize,
}

/// Models × subjects, and ceilings.
#[derive(Debug, Clone)]
struct Evaluation {
    scores: Mat<f64>,
    ceilings: Ceilings,
    /// For each model the fits in which its best weights are all zero, so that it predicts nothing there.
    weightless: Vec<usize>,
}

/// What a draw gives: a value per model, then the ceilings; one row per deal.
#[derive(Debug, Clone)]
struct Row {
    models: Vec<f64>,
    ceilings: Ceilings,
}

/// All rows of one draw.
#[derive(Debug, Clone)]
struct OneDraw {
    both: Vec<Row>,
    subjects: Vec<Row>,
    conditions: Vec<Row>,
}

/// Draws that can be used, and how many cannot.
struct Draws {
    kept: Vec<OneDraw>,
    n_poor: usize,
    n_undefined: usize,
}

impl Study<'_> {
    /// One evaluation, by one deal where models are flexible.
    fn evaluate(&self, drawn: &Drawn<'_>, conditions: &[u32], subjects: &[u32], deal: &str) -> Evaluation {
        if self.condition_folds * self.subject_folds == 1 {
            return Evaluation {
                scores: drawn.scores(),
                ceilings: drawn.ceilings(subjects),
                weightless: vec![0; self.models.len()],
            };
        }
        let n_subjects = subjects.len();
        let condition_fold =
            self.deal(&self.plan.block_ids, conditions, self.condition_folds, deal, "conditions");
        let subject_fold = self.deal(&self.plan.subject_ids, subjects, self.subject_folds, deal, "subjects");
        let mut scores = Mat::zeros(self.models.len(), n_subjects);
        let (mut lower, mut upper) = (0.0, 0.0);
        let mut weightless = vec![0; self.models.len()];
        let share = 1.0 / self.condition_folds as f64;
        for fold in 0..self.condition_folds {
            let some = |inside: bool| -> Vec<u32> {
                let keep = |i: usize| self.condition_folds == 1 || (condition_fold[i] == fold) == inside;
                (0..conditions.len()).map(|i| if keep(i) { conditions[i] } else { 0 }).collect()
            };
            let (train, test) = (self.table.draw(&some(false)), self.table.draw(&some(true)));
            let (fitting, testing) = (train.products(), test.products());
            let (train_scores, test_scores) = (train.scores(), test.scores());
            for held in 0..self.subject_folds {
                let within = |s: usize| self.subject_folds == 1 || subject_fold[s] == held;
                let others = |s: usize| self.subject_folds == 1 || subject_fold[s] != held;
                let weights: Vec<f64> =
                    (0..n_subjects).map(|s| if others(s) { f64::from(subjects[s]) } else { 0.0 }).collect();
                for (k, (model, range)) in self.models.iter().zip(&self.ranges).enumerate() {
                    let found: Vec<f64> = if model.is_flexible() {
                        let theta =
                            models::fit(model, range.clone(), &train, &fitting, &train_scores, &weights);
                        weightless[k] += usize::from(theta.iter().all(|&t| t == 0.0));
                        test.scores_of(range.clone(), &theta, &testing)
                    } else {
                        (0..n_subjects).map(|s| test_scores[(range.start, s)]).collect()
                    };
                    for s in (0..n_subjects).filter(|&s| subjects[s] > 0 && within(s)) {
                        scores[(k, s)] += share * found[s];
                    }
                }
            }
            let ceilings = test.ceilings(subjects);
            lower += share * ceilings.lower;
            upper += share * ceilings.upper;
        }
        Evaluation { scores, ceilings: Ceilings { lower, upper }, weightless }
    }

    /// The mean over several deals.
    fn evaluate_often(
        &self,
        whole: &Drawn<'_>,
        conditions: &[u32],
        subjects: &[u32],
        deals: usize,
    ) -> Evaluation {
        let all: Vec<Evaluation> = (0..deals)
            .into_par_iter()
            .map(|deal| self.evaluate(whole, conditions, subjects, &format!("data {deal}")))
            .collect();
        let mean = |of: &dyn Fn(&Evaluation) -> f64| all.iter().map(of).sum::<f64>() / deals as f64;
        Evaluation {
            scores: Mat::from_fn(self.models.len(), subjects.len(), |k, s| mean(&|e| e.scores[(k, s)])),
            ceilings: Ceilings { lower: mean(&|e| e.ceilings.lower), upper: mean(&|e| e.ceilings.upper) },
            weightless: (0..self.models.len()).map(|k| all.iter().map(|e| e.weightless[k]).sum()).collect(),
        }
    }

    /// A fold for each different id that was drawn, as even as can be; copies stay together.
    fn deal(&self, ids: &[String], counts: &[u32], folds: usize, deal: &str, what: &str) -> Vec<usize> {
        let purpose = format!("rsa folds of {what}, {deal}");
        let mut keyed: Vec<(u64, &String, usize)> = (0..ids.len())
            .filter(|&i| counts[i] > 0)
            .map(|i| (Stream::new(self.plan.seed, &purpose, id_key(&ids[i])).next_u64(), &ids[i], i))
            .collect();
        keyed.sort_unstable();
        let mut fold = vec![usize::MAX; ids.len()];
        keyed.iter().enumerate().for_each(|(at, &(_, _, i))| fold[i] = at % folds);
        fold
    }

    fn draws(&self, whole: &Drawn<'_>, resampled: Resampled, monitor: &Monitor<'_>) -> Result<Draws> {
        let n_draws = if resampled == Resampled::None { 0 } else { self.plan.n_bootstraps };
        let n = self.table.n_conditions;
        let flexible = self.condition_folds * self.subject_folds > 1;
        let (draw_conditions, draw_subjects) =
            (resampled != Resampled::Subjects, resampled != Resampled::Conditions);
        let original = if flexible || !draw_subjects { None } else { Some(whole.scores()) };
        let all: Vec<std::result::Result<OneDraw, bool>> = (0..n_draws)
            .into_par_iter()
            .map(|b| {
                monitor.check()?;
                let draw = self.plan.bootstrap(b);
                let conditions = if draw_conditions { draw.blocks } else { vec![1; n] };
                let ones = vec![1u32; self.table.n_subjects];
                let subjects = if draw_subjects { draw.subjects } else { ones.clone() };
                let different = |counts: &[u32]| counts.iter().filter(|&&c| c > 0).count();
                if different(&conditions) < 3 * self.condition_folds
                    || different(&subjects) < self.subject_folds
                {
                    return Ok(Err(true));
                }
                let mut found = OneDraw { both: vec![], subjects: vec![], conditions: vec![] };
                if flexible {
                    for deal in 0..self.deals {
                        let one = |kind: &str, c: &[u32], s: &[u32]| {
                            let deal = format!("draw {b} deal {deal} {kind}");
                            row(&self.evaluate(whole, c, s, &deal), s)
                        };
                        let every = vec![1; n];
                        if resampled == Resampled::Both {
                            found.both.push(one("both", &conditions, &subjects));
                        }
                        if draw_subjects {
                            found.subjects.push(one("subjects", &every, &subjects));
                        }
                        if draw_conditions {
                            found.conditions.push(one("conditions", &conditions, &ones));
                        }
                    }
                } else {
                    if draw_conditions {
                        let drawn = self.table.draw(&conditions);
                        let scores = drawn.scores();
                        let with = |s: &[u32]| Row { models: means(&scores, s), ceilings: drawn.ceilings(s) };
                        if resampled == Resampled::Both {
                            found.both.push(with(&subjects));
                        }
                        found.conditions.push(with(&ones));
                    }
                    if let Some(scores) = &original {
                        let ceilings = whole.ceilings(&subjects);
                        found.subjects.push(Row { models: means(scores, &subjects), ceilings });
                    }
                }
                let rows = found.both.iter().chain(&found.subjects).chain(&found.conditions);
                let defined = rows.into_iter().all(|row| row.models.iter().all(|v| !v.is_nan()));
                Ok(if defined { Ok(found) } else { Err(false) })
            })
            .collect::<Result<_>>()?;
        let mut draws = Draws { kept: vec![], n_poor: 0, n_undefined: 0 };
        for one in all {
            match one {
                Ok(one) => draws.kept.push(one),
                Err(true) => draws.n_poor += 1,
                Err(false) => draws.n_undefined += 1,
            }
        }
        Ok(draws)
    }

    /// Conditions of the models change places, the same for all models and subjects.
    fn permutation_test(
        &self,
        whole: &Drawn<'_>,
        subjects: &[Rdm],
        params: &RsaParams,
        estimates: &[Estimate],
        monitor: &Monitor<'_>,
    ) -> Result<Adjusted> {
        let (n_models, n) = (self.models.len(), self.table.n_conditions);
        if self.plan.n_permutations == 0 || self.table.n_dropped > 0 {
            return Ok(Adjusted::nothing(n_models));
        }
        let observed: Vec<f64> = estimates.iter().map(|e| e.value).collect();
        let tau = matches!(self.table.how, Comparison::TauA | Comparison::TauB);
        let uneven = self.table.how.is_whitened() && self.table.uneven();
        if tau || uneven || self.models.iter().any(RdmModel::is_flexible) {
            let rows: Vec<Vec<f32>> = (0..self.plan.n_permutations)
                .into_par_iter()
                .map(|index| {
                    monitor.check()?;
                    Ok(self.permuted(index, subjects, params)?.into_iter().map(|v| v as f32).collect())
                })
                .collect::<Result<_>>()?;
            return adjusted(&observed, &rows);
        }
        let mean = whole.mean_subject();
        let units: Vec<Vec<f64>> = (0..n_models).map(|k| whole.unit(k)).collect();
        let rows: Vec<Vec<f32>> = (0..self.plan.n_permutations)
            .into_par_iter()
            .map(|index| {
                monitor.check()?;
                let order = self.plan.permutation(index);
                let places: Vec<usize> = self
                    .table
                    .pairs
                    .iter()
                    .map(|&(i, j)| {
                        stereotax_base::data::rdm::pair_index(n, order[i as usize], order[j as usize])
                    })
                    .collect();
                let one =
                    |unit: &Vec<f64>| places.iter().zip(&mean).map(|(&p, m)| unit[p] * m).sum::<f64>() as f32;
                Ok(units.iter().map(one).collect())
            })
            .collect::<Result<_>>()?;
        adjusted(&observed, &rows)
    }

    /// Estimates with the conditions of every model in another order, evaluated (and fitted) as the data are: what no
    /// product of fixed vectors gives. Flexible models are dealt as often as in a draw, which is noisier than on the
    /// data and errs on the careful side.
    fn permuted(&self, index: usize, subjects: &[Rdm], params: &RsaParams) -> Result<Vec<f64>> {
        let order = self.plan.permutation(index);
        let moved: Vec<Rdm> = self
            .models
            .iter()
            .flat_map(RdmModel::components)
            .map(|rdm| rdm.subset(&order))
            .collect::<Result<_>>()?;
        let moved: Vec<&Rdm> = moved.iter().collect();
        let study = Study {
            table: Table::new(&moved, subjects, params.comparison, params.noise.as_ref())?,
            ranges: self.ranges.clone(),
            ..*self
        };
        let (conditions, people) = (vec![1; order.len()], vec![1; subjects.len()]);
        let whole = study.table.draw(&conditions);
        Ok(means(&study.evaluate_often(&whole, &conditions, &people, study.deals).scores, &people))
    }
}

fn adjusted(observed: &[f64], rows: &[Vec<f32>]) -> Result<Adjusted> {
    let found = max_t(observed, &rows.concat())?;
    Ok(Adjusted { p_value: found.p_value, p_adjusted: found.p_adjusted, n_draws: found.n_permutations })
}

fn means(scores: &Mat<f64>, subjects: &[u32]) -> Vec<f64> {
    let all: f64 = subjects.iter().map(|&u| f64::from(u)).sum();
    (0..scores.nrows())
        .map(|k| {
            let drawn = (0..subjects.len()).filter(|&s| subjects[s] > 0);
            drawn.map(|s| f64::from(subjects[s]) * scores[(k, s)]).sum::<f64>() / all
        })
        .collect()
}

fn row(evaluation: &Evaluation, subjects: &[u32]) -> Row {
    Row { models: means(&evaluation.scores, subjects), ceilings: evaluation.ceilings }
}

/// Sign flips of subjects: is the mean above 0? Models without an estimate have no p.
fn flipped(evaluations: &Mat<f64>, plan: &ResamplingPlan) -> Adjusted {
    let (n_models, n_subjects) = (evaluations.nrows(), evaluations.ncols());
    if n_subjects < 2 || plan.n_permutations == 0 {
        return Adjusted::nothing(n_models);
    }
    let whole = |k: usize| (0..n_subjects).all(|s| !evaluations[(k, s)].is_nan());
    let values =
        Mat::from_fn(n_models, n_subjects, |k, s| if whole(k) { evaluations[(k, s)] } else { f64::NAN });
    let found =
        sign_flips(values.as_ref(), &plan.subject_ids, plan.seed, plan.n_permutations, Alternative::Greater);
    Adjusted { p_value: found.p_value, p_adjusted: found.p_adjusted, n_draws: found.n_permutations }
}

/// Values of a quantity over draws × deals, of one kind.
fn gather(draws: &Draws, kind: Resampled, of: &dyn Fn(&Row) -> f64) -> variance::Values {
    draws
        .kept
        .iter()
        .map(|one| {
            let rows = match kind {
                Resampled::Both => &one.both,
                Resampled::Subjects => &one.subjects,
                Resampled::Conditions | Resampled::None => &one.conditions,
            };
            rows.iter().map(of).collect()
        })
        .collect()
}

fn summarise(on_data: &Evaluation, draws: &Draws, params: &RsaParams, s: usize, n: usize) -> Rsa {
    let resampled = params.resampled;
    let n_models = on_data.scores.nrows();
    let dof = match resampled {
        Resampled::Both => s.min(n) as f64 - 1.0,
        Resampled::Subjects | Resampled::None => s as f64 - 1.0,
        Resampled::Conditions => n as f64 - 1.0,
    };
    let of_kind = |of: &dyn Fn(&Row) -> f64| -> f64 {
        let one = |kind: Resampled| match resampled == Resampled::Both || resampled == kind {
            true => variance::over_draws(&gather(draws, kind, of)),
            false => f64::NAN,
        };
        let both = if resampled == Resampled::Both { one(Resampled::Both) } else { f64::NAN };
        variance::combined(resampled, both, one(Resampled::Subjects), one(Resampled::Conditions), s, n)
    };
    // Without draws: the spread of subjects.
    let over_subjects = |of: &dyn Fn(usize) -> f64| {
        let x: Vec<f64> = (0..s).map(of).collect();
        stereotax_base::stats::summary::variance(&x) / s as f64
    };
    let error = |variance: f64| if variance > 0.0 { variance.sqrt() } else { f64::NAN };
    let far = student_quantile(0.5 + 0.5 * params.level, dof);
    let estimate = |value: f64, standard_error: f64, of: &dyn Fn(&Row) -> f64| {
        let drawn: Vec<f64> = gather(draws, resampled, of)
            .iter()
            .map(|deals| deals.iter().sum::<f64>() / deals.len() as f64)
            .collect();
        let tail = 0.5 - 0.5 * params.level;
        Estimate {
            value,
            standard_error,
            lower: value - far * standard_error,
            upper: value + far * standard_error,
            draw_lower: quantile(&drawn, tail),
            draw_upper: quantile(&drawn, 1.0 - tail),
        }
    };
    let ones = vec![1u32; s];
    let values = means(&on_data.scores, &ones);
    let none = resampled == Resampled::None;
    let estimates: Vec<Estimate> = (0..n_models)
        .map(|k| {
            let v =
                if none { over_subjects(&|s| on_data.scores[(k, s)]) } else { of_kind(&|row| row.models[k]) };
            estimate(values[k], error(v), &|row| row.models[k])
        })
        .collect();
    let Ceilings { lower, upper } = on_data.ceilings;
    let ceiling_lower = estimate(lower, error(of_kind(&|row| row.ceilings.lower)), &|row| row.ceilings.lower);
    let ceiling_upper = estimate(upper, error(of_kind(&|row| row.ceilings.upper)), &|row| row.ceilings.upper);
    let two_sided =
        |difference: f64, standard_error: f64| student_two_sided(difference / standard_error, dof);
    let one_sided = |value: f64, standard_error: f64| {
        let p = two_sided(value, standard_error);
        if value > 0.0 { 0.5 * p } else { 1.0 - 0.5 * p }
    };
    let share = |of: &dyn Fn(&Row) -> f64| -> f64 {
        let drawn: Vec<f64> = gather(draws, resampled, of)
            .iter()
            .map(|deals| deals.iter().sum::<f64>() / deals.len() as f64)
            .filter(|v| !v.is_nan())
            .collect();
        if none || drawn.is_empty() {
            return f64::NAN;
        }
        permutation_p(drawn.iter().filter(|v| **v <= tie_tolerance(0.0) * 1e-4).count(), drawn.len())
    };
    let against_zero = Tests {
        t: estimates.iter().map(|e| one_sided(e.value, e.standard_error)).collect(),
        draws: (0..n_models).map(|k| share(&|row| row.models[k])).collect(),
    };
    let against_ceiling = Tests {
        t: (0..n_models)
            .map(|k| {
                let v = if none {
                    over_subjects(&|s| on_data.scores[(k, s)])
                } else {
                    of_kind(&|row| row.models[k] - row.ceilings.lower)
                };
                two_sided(values[k] - lower, error(v))
            })
            .collect(),
        draws: (0..n_models).map(|k| share(&|row| row.ceilings.lower - row.models[k])).collect(),
    };
    let mut pairwise = Mat::from_fn(n_models, n_models, |i, j| if i == j { 1.0 } else { f64::NAN });
    let mut pairwise_se = Mat::zeros(n_models, n_models);
    let couples: Vec<(usize, usize)> = (0..n_models).flat_map(|i| (0..i).map(move |j| (i, j))).collect();
    let tested: Vec<(f64, f64)> = couples
        .par_iter()
        .map(|&(i, j)| {
            let v = if none {
                over_subjects(&|s| on_data.scores[(i, s)] - on_data.scores[(j, s)])
            } else {
                of_kind(&|row| row.models[i] - row.models[j])
            };
            let standard_error = error(v);
            (two_sided(values[i] - values[j], standard_error), standard_error)
        })
        .collect();
    for (&(i, j), &(p, standard_error)) in couples.iter().zip(&tested) {
        (pairwise[(i, j)], pairwise[(j, i)]) = (p, p);
        (pairwise_se[(i, j)], pairwise_se[(j, i)]) = (standard_error, standard_error);
    }
    Rsa {
        evaluations: on_data.scores.clone(),
        estimates,
        ceiling_lower,
        ceiling_upper,
        against_zero,
        against_ceiling,
        pairwise,
        pairwise_se,
        permutation: Adjusted::nothing(n_models),
        sign_flip: Adjusted::nothing(n_models),
        best: BestModel::nothing(n_models),
        dof,
        n_draws: draws.kept.len() + draws.n_poor + draws.n_undefined,
        n_poor: draws.n_poor,
        n_undefined: draws.n_undefined,
        n_pairs_dropped: 0,
        n_pairs: 0,
        weights: vec![],
        status: vec![],
    }
}

/// Why nothing could be compared, for those who draw their own conclusions.
pub fn words(undefined: Undefined) -> &'static str {
    undefined.words()
}
