//! Comparison and transforms of RDMs, representational similarity analysis, Mantel, identification.

use faer::MatRef;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use stereotax::Error;
use stereotax::data::Rdm;
use stereotax::encoding::{AlphaGrid, AlphaScale, RidgeParams};
use stereotax::pipelines::mixed_rsa::{MixedRsaParams, PatternDistance, mixed_rsa as remixed};
use stereotax::similarity::identify::{self, Nearness};
use stereotax::similarity::mantel::{self, Alternative, MantelParams};
use stereotax::similarity::rdm_compare::{self, Comparison, NoiseCovariance};
use stereotax::similarity::rdm_transform::{self, Edges, RdmTransform};
use stereotax::similarity::reweighted::{self, ReweightedParams};
use stereotax::similarity::rsa::{self, Estimate, RdmModel, Resampled, RsaParams};
use stereotax::stats::resampling::ResamplingPlan;

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::watch;

/// Rows of condensed RDMs.
fn rdms(rows: MatRef<'_, f64>, n_conditions: usize) -> stereotax::Result<Vec<Rdm>> {
    (0..rows.nrows()).map(|i| Rdm::new(n_conditions, rows.row(i).iter().copied().collect())).collect()
}

fn comparison(word: &str) -> Comparison {
    match word {
        "spearman" => Comparison::Spearman,
        "rho_a" => Comparison::RhoA,
        "tau_a" => Comparison::TauA,
        "tau_b" => Comparison::TauB,
        "cosine" => Comparison::Cosine,
        "whitened_cosine" => Comparison::WhitenedCosine,
        "whitened_pearson" => Comparison::WhitenedPearson,
        "bures" => Comparison::Bures,
        "bures_distance" => Comparison::BuresDistance,
        _ => Comparison::Pearson,
    }
}

fn told<T>(outcome: stereotax::Result<T>) -> Result<T> {
    outcome.map_err(Into::into)
}

/// Variances of conditions, or the covariance between them.
fn noise_of(
    variances: Option<Vec<f64>>,
    covariance: Option<&Bound<'_, PyAny>>,
) -> Result<Option<NoiseCovariance>> {
    let covariance = covariance.map(|c| Matrix::new("noise_covariance", c)).transpose()?;
    Ok(match (variances, &covariance) {
        (Some(variances), _) => Some(NoiseCovariance::Diagonal(variances)),
        (None, Some(full)) => Some(NoiseCovariance::Full(full.view().to_owned())),
        (None, None) => None,
    })
}

/// Compare every RDM of the first rows with every one of the second.
#[pyfunction]
#[pyo3(signature = (first, second, n_conditions, method, variances, covariance))]
pub fn compare_rdms<'py>(
    py: Python<'py>,
    first: &Bound<'py, PyAny>,
    second: &Bound<'py, PyAny>,
    n_conditions: usize,
    method: &str,
    variances: Option<Vec<f64>>,
    covariance: Option<&Bound<'py, PyAny>>,
) -> Result<Bound<'py, PyDict>> {
    let (first, second) = (Matrix::new("first", first)?, Matrix::new("second", second)?);
    let noise = noise_of(variances, covariance)?;
    let how = comparison(method);
    let (first, second) = (first.view(), second.view());
    let found = watch::run(py, |monitor| {
        let (first, second) = (rdms(first, n_conditions)?, rdms(second, n_conditions)?);
        rdm_compare::compare_all(&first, &second, how, noise.as_ref(), monitor)
    })?;
    let n_dropped: Vec<Vec<usize>> =
        found.compared.iter().map(|row| row.iter().map(|one| one.n_dropped).collect()).collect();
    let status: Vec<Vec<Option<&str>>> = found
        .compared
        .iter()
        .map(|row| row.iter().map(|one| one.undefined.map(|why| why.words())).collect())
        .collect();
    Ok(dict!(py, {
        "values": to_array(py, found.values.as_ref())?,
        "n_dropped": n_dropped,
        "status": status,
    }))
}

fn transform_of(kind: &str, a: f64, b: f64) -> RdmTransform {
    match kind {
        "sqrt" => RdmTransform::Sqrt,
        "positive" => RdmTransform::Positive,
        "minmax" => RdmTransform::MinMax,
        "geotopological" => RdmTransform::GeoTopological { lower: a, upper: b },
        "smooth" => RdmTransform::Smooth { slope: a, middle: b },
        "geodesic" => RdmTransform::Geodesic(Edges::Shortest(a)),
        "geodesic_nearest" => RdmTransform::Geodesic(Edges::Nearest(a as usize)),
        _ => RdmTransform::Rank,
    }
}

/// Transform one condensed RDM.
#[pyfunction]
pub fn transform_rdm<'py>(
    py: Python<'py>,
    values: Vec<f64>,
    n_conditions: usize,
    kind: &str,
    a: f64,
    b: f64,
) -> Result<Bound<'py, PyDict>> {
    let rdm = told(Rdm::new(n_conditions, values))?;
    let found = told(rdm_transform::transform(&rdm, transform_of(kind, a, b)))?;
    Ok(dict!(py, {
        "values": PyArray1::from_vec(py, found.rdm.into_values()),
        "constant": found.constant,
        "n_disconnected": found.n_disconnected,
    }))
}

/// Identify regions (rows: subject 0's regions, then subject 1's, …) under some transforms.
#[pyfunction]
#[pyo3(signature = (rows, n_conditions, n_subjects, transforms, nearness))]
pub fn identify_regions<'py>(
    py: Python<'py>,
    rows: &Bound<'py, PyAny>,
    n_conditions: usize,
    n_subjects: usize,
    transforms: Vec<Option<(String, f64, f64)>>,
    nearness: &str,
) -> Result<Bound<'py, PyList>> {
    let rows = Matrix::new("rdms", rows)?;
    let rows = rows.view();
    let transforms: Vec<Option<RdmTransform>> =
        transforms.into_iter().map(|how| how.map(|(kind, a, b)| transform_of(&kind, a, b))).collect();
    let nearness = if nearness == "correlation" { Nearness::Correlation } else { Nearness::Euclidean };
    let found = watch::run(py, |monitor| {
        let all = rdms(rows, n_conditions)?;
        let n_regions = all.len() / n_subjects.max(1);
        let by_subject: Vec<Vec<Rdm>> = all.chunks(n_regions.max(1)).map(<[Rdm]>::to_vec).collect();
        identify::identify(&by_subject, &transforms, nearness, monitor)
    })?;
    let list = PyList::empty(py);
    for one in found {
        list.append(dict!(py, {
            "accuracy": one.accuracy,
            "per_subject": PyArray1::from_vec(py, one.per_subject),
            "confusion": to_array(py, one.confusion.as_ref())?,
            "n_constant": one.n_constant,
        }))?;
    }
    Ok(list)
}

/// Mantel's test.
#[pyfunction]
#[pyo3(signature = (a, b, n_conditions, method, alternative, n_permutations, seed, ids))]
pub fn mantel_test<'py>(
    py: Python<'py>,
    a: Vec<f64>,
    b: Vec<f64>,
    n_conditions: usize,
    method: &str,
    alternative: &str,
    n_permutations: usize,
    seed: u64,
    ids: Option<Vec<String>>,
) -> Result<Bound<'py, PyDict>> {
    let alternative = match alternative {
        "less" => Alternative::Less,
        "two" => Alternative::Two,
        _ => Alternative::Greater,
    };
    let params = MantelParams { comparison: comparison(method), alternative, n_permutations, seed, ids };
    let found = watch::run(py, |monitor| {
        mantel::mantel(&Rdm::new(n_conditions, a)?, &Rdm::new(n_conditions, b)?, &params, monitor)
    })?;
    Ok(dict!(py, {
        "statistic": found.statistic,
        "p_value": found.p_value,
        "n_permutations": found.n_permutations,
        "exact": found.exact,
        "null_mean": found.null_mean,
        "null_sd": found.null_sd,
        "n_conditions": found.n_conditions,
        "status": found.undefined.map(|why| why.words()),
    }))
}

fn estimates<'py>(py: Python<'py>, all: &[Estimate]) -> Result<Bound<'py, PyDict>> {
    let of = |f: &dyn Fn(&Estimate) -> f64| PyArray1::from_vec(py, all.iter().map(f).collect());
    Ok(dict!(py, {
        "value": of(&|e| e.value),
        "standard_error": of(&|e| e.standard_error),
        "lower": of(&|e| e.lower),
        "upper": of(&|e| e.upper),
        "draw_lower": of(&|e| e.draw_lower),
        "draw_upper": of(&|e| e.draw_upper),
    }))
}

/// Compare models (kind, number of component rows) with subjects.
#[pyfunction]
#[pyo3(signature = (components, kinds, subjects, n_conditions, condition_ids, subject_ids, method, resampled,
    n_bootstraps, n_permutations, level, n_condition_folds, n_subject_folds, n_deals, variances, covariance, seed))]
pub fn rsa_models<'py>(
    py: Python<'py>,
    components: &Bound<'py, PyAny>,
    kinds: Vec<(String, usize)>,
    subjects: &Bound<'py, PyAny>,
    n_conditions: usize,
    condition_ids: Vec<String>,
    subject_ids: Vec<String>,
    method: &str,
    resampled: &str,
    n_bootstraps: usize,
    n_permutations: usize,
    level: f64,
    n_condition_folds: usize,
    n_subject_folds: usize,
    n_deals: usize,
    variances: Option<Vec<f64>>,
    covariance: Option<&Bound<'py, PyAny>>,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let (components, subjects) = (Matrix::new("models", components)?, Matrix::new("data", subjects)?);
    let (components, subjects) = (components.view(), subjects.view());
    let params = RsaParams {
        comparison: comparison(method),
        resampled: match resampled {
            "subjects" => Resampled::Subjects,
            "conditions" => Resampled::Conditions,
            "none" => Resampled::None,
            _ => Resampled::Both,
        },
        level,
        n_condition_folds,
        n_subject_folds,
        n_deals,
        noise: noise_of(variances, covariance)?,
    };
    let found = watch::run(py, |monitor| {
        let plan = ResamplingPlan::new(seed, &condition_ids, n_bootstraps, n_permutations)?
            .with_subjects(&subject_ids)?;
        let mut left = rdms(components, n_conditions)?.into_iter();
        let mut models = Vec::with_capacity(kinds.len());
        for (kind, count) in &kinds {
            let parts: Vec<Rdm> = left.by_ref().take(*count).collect();
            models.push(match (kind.as_str(), parts.first()) {
                ("select", _) => RdmModel::Select(parts),
                ("weighted", _) => RdmModel::Weighted(parts),
                ("interpolated", _) => RdmModel::Interpolated(parts),
                (_, Some(first)) => RdmModel::Fixed(first.clone()),
                (_, None) => {
                    return Err(Error::TooFew {
                        what: "models".into(),
                        needed: "1 RDM per model".into(),
                        found: "none".into(),
                        hint: "leave the model out".into(),
                    });
                }
            });
        }
        rsa::rsa(&models, &rdms(subjects, n_conditions)?, &plan, &params, monitor)
    })?;
    let vector = |values: Vec<f64>| PyArray1::from_vec(py, values);
    let best = found.best;
    Ok(dict!(py, {
        "evaluations": to_array(py, found.evaluations.as_ref())?,
        "estimates": estimates(py, &found.estimates)?,
        "ceilings": estimates(py, &[found.ceiling_lower, found.ceiling_upper])?,
        "zero_t": vector(found.against_zero.t),
        "zero_draws": vector(found.against_zero.draws),
        "ceiling_t": vector(found.against_ceiling.t),
        "ceiling_draws": vector(found.against_ceiling.draws),
        "pairwise": to_array(py, found.pairwise.as_ref())?,
        "pairwise_se": to_array(py, found.pairwise_se.as_ref())?,
        "permutation": vector(found.permutation.p_value),
        "permutation_adjusted": vector(found.permutation.p_adjusted),
        "flip": vector(found.sign_flip.p_value),
        "flip_adjusted": vector(found.sign_flip.p_adjusted),
        "best": best.index,
        "win_share": vector(best.win_share),
        "optimism": best.optimism,
        "corrected": best.corrected,
        "best_lower": best.lower,
        "best_upper": best.upper,
        "dof": found.dof,
        "n_draws": found.n_draws,
        "n_poor": found.n_poor,
        "n_undefined": found.n_undefined,
        "n_pairs": found.n_pairs,
        "n_pairs_dropped": found.n_pairs_dropped,
        "weights": found.weights,
        "status": found.status,
    }))
}

/// Feature-reweighted RSA.
#[pyfunction]
#[pyo3(signature = (features, subjects, method, alphas, non_negative, n_folds, n_inner_folds, seed, ids))]
pub fn reweighted_rsa<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
    subjects: &Bound<'py, PyAny>,
    method: &str,
    alphas: Vec<f64>,
    non_negative: bool,
    n_folds: usize,
    n_inner_folds: usize,
    seed: u64,
    ids: Option<Vec<String>>,
) -> Result<Bound<'py, PyDict>> {
    let (features, subjects) = (Matrix::new("features", features)?, Matrix::new("data", subjects)?);
    let (features, subjects) = (features.view(), subjects.view());
    let params = ReweightedParams {
        comparison: comparison(method),
        alphas,
        non_negative,
        n_folds,
        n_inner_folds,
        seed,
        ids,
    };
    let found = watch::run(py, |monitor| {
        // The number of conditions is that of the pairs, so that a wrong one is said as such.
        let n = (1.0 + (1.0 + 8.0 * subjects.ncols() as f64).sqrt()) / 2.0;
        reweighted::reweighted_rsa(features, &rdms(subjects, n.round() as usize)?, &params, monitor)
    })?;
    Ok(dict!(py, {
        "scores": to_array(py, found.scores.as_ref())?,
        "plain_scores": to_array(py, found.plain_scores.as_ref())?,
        "per_subject": PyArray1::from_vec(py, found.per_subject),
        "plain_per_subject": PyArray1::from_vec(py, found.plain_per_subject),
        "alphas": PyArray1::from_vec(py, found.alphas),
        "weights": PyArray1::from_vec(py, found.weights),
        "n_constant": found.n_constant,
    }))
}

/// Voxel-encoding RSA.
#[pyfunction]
#[pyo3(signature = (features, responses, method, distance, alphas, n_folds, n_inner_folds, seed, ids))]
pub fn mixed_rsa<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
    responses: Vec<Bound<'py, PyAny>>,
    method: &str,
    distance: &str,
    alphas: Vec<f64>,
    n_folds: usize,
    n_inner_folds: usize,
    seed: u64,
    ids: Option<Vec<String>>,
) -> Result<Bound<'py, PyDict>> {
    let features = Matrix::new("features", features)?;
    let responses: Vec<Matrix<'_>> =
        responses.iter().map(|y| Matrix::new("responses", y)).collect::<Result<_>>()?;
    let views: Vec<MatRef<'_, f64>> = responses.iter().map(Matrix::view).collect();
    let features = features.view();
    let params = MixedRsaParams {
        ridge: RidgeParams {
            alphas: AlphaGrid { values: alphas, scale: AlphaScale::MeanSquare },
            ..RidgeParams::default()
        },
        distance: match distance {
            "sqeuclidean" => PatternDistance::SquaredEuclidean,
            _ => PatternDistance::Correlation,
        },
        comparison: comparison(method),
        n_folds,
        n_inner_folds,
        seed,
        ids,
    };
    let found = watch::run(py, |monitor| remixed(features, &views, &params, monitor))?;
    Ok(dict!(py, {
        "scores": to_array(py, found.scores.as_ref())?,
        "fixed_scores": to_array(py, found.fixed_scores.as_ref())?,
        "per_subject": PyArray1::from_vec(py, found.per_subject),
        "fixed_per_subject": PyArray1::from_vec(py, found.fixed_per_subject),
        "inner_scores": to_array(py, found.inner_scores.as_ref())?,
        "n_undefined": found.n_undefined,
    }))
}
