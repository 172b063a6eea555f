//! Group statistics: distances, PERMANOVA, PERMDISP, silhouette, SNCI.

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::Error;
use stereotax::data::Labels;
use stereotax::stats::distance::{Distances, object_distances};
use stereotax::stats::permdisp::PermdispParams;
use stereotax::stats::shuffles::{Exchange, PermutationParams, PermutationSupport};
use stereotax::stats::snci::{Estimate, SnciParams};
use stereotax::stats::{self};

use crate::arrays::{Matrix, to_array, to_mat};
use crate::convert::dict;
use crate::error::Result;
use crate::{options, watch};

/// Distances between the rows of a table of coordinates.
#[pyfunction]
#[pyo3(signature = (coordinates, kind))]
pub fn distances<'py>(
    py: Python<'py>,
    coordinates: &Bound<'py, PyAny>,
    kind: &str,
) -> Result<Bound<'py, PyDict>> {
    let kind = options::distance(kind)?;
    let matrix = Matrix::new("coordinates", coordinates)?;
    let view = matrix.view();
    let found = watch::run(py, |_| object_distances(view, kind))?;
    Ok(dict!(py, {
        "distances": to_array(py, found.distances.matrix())?,
        "objects": found.objects,
        "undefined_objects": found.undefined_objects,
        "constant_columns": found.constant_columns,
    }))
}

/// Test a difference in location.
#[pyfunction]
#[pyo3(signature = (distances, shuffled))]
pub fn permanova<'py>(
    py: Python<'py>,
    distances: &Bound<'py, PyAny>,
    shuffled: ToldTest,
) -> Result<Bound<'py, PyDict>> {
    let LabelTest { distances, labels, permutations } = LabelTest::new(distances, shuffled)?;
    let test =
        watch::run(py, |monitor| stats::permanova::permanova(&distances, &labels, &permutations, monitor))?;
    tell_permanova(py, &test, &labels)
}

/// PERMANOVA for every pair of groups.
#[pyfunction]
#[pyo3(signature = (distances, shuffled))]
pub fn pairwise_permanova<'py>(
    py: Python<'py>,
    distances: &Bound<'py, PyAny>,
    shuffled: ToldTest,
) -> Result<Vec<Bound<'py, PyDict>>> {
    let LabelTest { distances, labels, permutations } = LabelTest::new(distances, shuffled)?;
    let pairs = watch::run(py, |monitor| {
        stats::permanova::pairwise_permanova(&distances, &labels, &permutations, monitor)
    })?;
    pairs
        .iter()
        .map(|pair| {
            Ok(dict!(py, {
                "first": &pair.first,
                "second": &pair.second,
                "f": pair.test.f,
                "r2": pair.test.r2,
                "omega2": pair.test.omega2,
                "p_value": pair.test.p_value,
                "p_adjusted": pair.p_adjusted,
                "n_permutations": pair.test.support.n_permutations,
                "exact": pair.test.support.exact,
                "reason": pair.test.reason.clone(),
            }))
        })
        .collect()
}

fn tell_permanova<'py>(
    py: Python<'py>,
    test: &stats::permanova::Permanova,
    labels: &Labels,
) -> Result<Bound<'py, PyDict>> {
    Ok(dict!(py, {
        "f": test.f,
        "r2": test.r2,
        "omega2": test.omega2,
        "f2": test.f2,
        "p_value": test.p_value,
        "p_value_f2": test.p_value_f2,
        "ss_total": test.ss_total,
        "ss_within": test.ss_within,
        "ss_within_group": PyArray1::from_slice(py, &test.ss_within_group),
        "group_names": labels.names().to_vec(),
        "group_sizes": test.group_sizes.clone(),
        "null_r2_mean": test.null_r2_mean,
        "null_r2_q95": test.null_r2_q95,
        "support": tell_support(py, &test.support)?,
        "reason": test.reason.clone(),
    }))
}

/// Test a difference in spread.
#[pyfunction]
#[pyo3(signature = (distances, shuffled, centre, negative_axes, bias_factor))]
pub fn permdisp<'py>(
    py: Python<'py>,
    distances: &Bound<'py, PyAny>,
    shuffled: ToldTest,
    centre: &str,
    negative_axes: &str,
    bias_factor: &str,
) -> Result<Bound<'py, PyDict>> {
    let LabelTest { distances, labels, permutations } = LabelTest::new(distances, shuffled)?;
    let params = PermdispParams {
        centre: options::centre(centre)?,
        negative_axes: options::negative_axes(negative_axes)?,
        bias_factor: options::bias_factor(bias_factor)?,
        permutations,
    };
    let test = watch::run(py, |monitor| stats::permdisp::permdisp(&distances, &labels, &params, monitor))?;
    Ok(dict!(py, {
        "f": test.f,
        "p_value": test.p_value,
        "to_centre": PyArray1::from_slice(py, &test.to_centre),
        "group_names": labels.names().to_vec(),
        "group_means": PyArray1::from_slice(py, &test.group_mean),
        "n_positive_axes": test.n_positive_axes,
        "n_negative_axes": test.n_negative_axes,
        "negative_share": test.negative_share,
        "converged": test.converged,
        "support": tell_support(py, &test.support)?,
        "reason": test.reason,
    }))
}

/// Mean silhouette, tested by the shuffles of PERMANOVA.
#[pyfunction]
#[pyo3(signature = (distances, shuffled))]
pub fn silhouette<'py>(
    py: Python<'py>,
    distances: &Bound<'py, PyAny>,
    shuffled: ToldTest,
) -> Result<Bound<'py, PyDict>> {
    let LabelTest { distances, labels, permutations } = LabelTest::new(distances, shuffled)?;
    let test = watch::run(py, |monitor| {
        stats::silhouette::silhouette_test(&distances, &labels, &permutations, monitor)
    })?;
    Ok(dict!(py, {
        "mean": test.observed.mean,
        "per_object": PyArray1::from_slice(py, &test.observed.per_object),
        "group_names": labels.names().to_vec(),
        "per_group": PyArray1::from_slice(py, &test.observed.per_group),
        "p_value": test.p_value,
        "null_mean": test.null_mean,
        "support": tell_support(py, &test.support)?,
    }))
}

/// Consistency of the scores of a modality's models, per ROI.
#[pyfunction]
#[pyo3(signature = (
    scores, families, kind, sign_policy, n_bootstraps, interval, level, included, seed
))]
pub fn snci<'py>(
    py: Python<'py>,
    scores: &Bound<'py, PyAny>,
    families: Vec<String>,
    kind: &str,
    sign_policy: &str,
    n_bootstraps: usize,
    interval: &str,
    level: f64,
    included: Option<Vec<bool>>,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let params = SnciParams {
        kind: options::snci_kind(kind)?,
        sign_policy: options::sign_policy(sign_policy)?,
        n_bootstraps,
        interval: options::interval(interval)?,
        level,
        included,
        seed,
    };
    let matrix = Matrix::new("scores", scores)?;
    let view = matrix.view();
    let families = Labels::new(&families);
    let found = watch::run(py, |_| stats::snci::snci(view, &families, &params))?;
    let of = |part: fn(&Estimate) -> f64| PyArray1::from_iter(py, found.rois.iter().map(part));
    Ok(dict!(py, {
        "value": of(|e| e.value),
        "lower": of(|e| e.lower),
        "upper": of(|e| e.upper),
        "mean": PyArray1::from_slice(py, &found.mean),
        "sd": PyArray1::from_slice(py, &found.sd),
        "n_models": PyArray1::from_iter(py, found.n_models.iter().map(|&n| n as i64)),
        "n_families": found.n_families,
        "no_spread": PyArray1::from_slice(py, &found.no_spread),
        "median": (found.median.value, found.median.lower, found.median.upper),
        "influence": to_array(py, found.influence.as_ref())?,
        "family_names": families.names().to_vec(),
        "median_without_family": PyArray1::from_slice(py, &found.median_without_family),
        "reasons": found.reasons,
        "interval_reason": found.interval_reason,
    }))
}

/// How alike the models' profiles over ROIs are.
#[pyfunction]
#[pyo3(signature = (scores, families, n_bootstraps, interval, level, included, seed))]
pub fn profile_consistency<'py>(
    py: Python<'py>,
    scores: &Bound<'py, PyAny>,
    families: Vec<String>,
    n_bootstraps: usize,
    interval: &str,
    level: f64,
    included: Option<Vec<bool>>,
    seed: u64,
) -> Result<Bound<'py, PyDict>> {
    let params = SnciParams {
        n_bootstraps,
        interval: options::interval(interval)?,
        level,
        included,
        seed,
        ..SnciParams::default()
    };
    let matrix = Matrix::new("scores", scores)?;
    let view = matrix.view();
    let families = Labels::new(&families);
    let found = watch::run(py, |_| stats::snci::profile_consistency(view, &families, &params))?;
    let r = found.mean_correlation;
    Ok(dict!(py, {
        "mean_correlation": (r.value, r.lower, r.upper),
        "icc31": found.icc31,
        "profile_snr": found.profile_snr,
        "n_pairs": found.n_pairs,
        "n_undefined_pairs": found.n_undefined_pairs,
    }))
}

/// Who is compared, and how labels are shuffled, as Python says it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct ToldTest {
    groups: Vec<String>,
    ids: Option<Vec<String>>,
    n_permutations: usize,
    exact_up_to: usize,
    families: Option<Vec<String>>,
    strata: Option<Vec<String>>,
    seed: u64,
}

/// What every test of group labels needs.
struct LabelTest {
    distances: Distances,
    labels: Labels,
    permutations: PermutationParams,
}

impl LabelTest {
    fn new(distances: &Bound<'_, PyAny>, told: ToldTest) -> Result<Self> {
        let matrix = Matrix::new("distances", distances)?;
        let mut distances = Distances::new(to_mat(matrix.view()))?;
        if let Some(ids) = told.ids {
            distances = distances.with_ids(&ids)?;
        }
        let exchange = match (told.families, told.strata) {
            (None, None) => Exchange::Free,
            (Some(families), None) => Exchange::Families(Labels::new(&families)),
            (None, Some(strata)) => Exchange::Strata(Labels::new(&strata)),
            (Some(_), Some(_)) => {
                return Err(Error::Invalid {
                    what: "families and strata".into(),
                    expected: "one of them at most".into(),
                    found: "both".into(),
                    hint: "permute whole families, or labels within strata".into(),
                }
                .into());
            }
        };
        let ToldTest { n_permutations, exact_up_to, seed, .. } = told;
        Ok(LabelTest {
            distances,
            labels: Labels::new(&told.groups),
            permutations: PermutationParams { n_permutations, exact_up_to, exchange, seed },
        })
    }
}

fn tell_support<'py>(py: Python<'py>, support: &PermutationSupport) -> PyResult<Bound<'py, PyDict>> {
    Ok(dict!(py, {
        "n_permutations": support.n_permutations,
        "exact": support.exact,
        "n_distinct": support.n_distinct,
        "smallest_p": support.smallest_p,
        "restricted": support.restricted,
        "warning": support.warning.clone(),
    }))
}
