//! Classifiers, and what they read out of responses over time.

use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stereotax::data::{Fold, Folds, Labels};
use stereotax::decoding::{
    self, Classifier, Common, DecodeParams, FeatureScaling, FittedClassifier, LogisticParams, Movie, Score,
    Shrinkage, Windows,
};

use crate::arrays::{Matrix, to_array};
use crate::convert::dict;
use crate::error::Result;
use crate::responses::Responses;
use crate::{options, watch};

/// Method, c, k, shrinkage (none: estimated), whether to z-score, most steps, tolerance.
pub(crate) type Settings = (String, f64, usize, Option<f64>, bool, usize, f64);
/// Rows of a fold: training, held out.
type Rows = (Vec<usize>, Vec<usize>);
/// Groups of samples, shuffles, seed.
type Drawn = (Option<Vec<String>>, usize, u64);

pub(crate) fn classifier(settings: &Settings) -> Result<(Classifier, FeatureScaling)> {
    let (method, c, k, shrinkage, zscore, max_iterations, tolerance) = settings;
    let logistic = LogisticParams { c: *c, max_iterations: *max_iterations, tolerance: *tolerance };
    let shrinkage = shrinkage.map_or(Shrinkage::Automatic, Shrinkage::Fixed);
    let words = [
        ("logistic", Classifier::Logistic(logistic)),
        ("neighbours", Classifier::Neighbours(*k)),
        ("maximum_correlation", Classifier::MaximumCorrelation),
        ("discriminant", Classifier::Discriminant(shrinkage)),
    ];
    let scaling = if *zscore { FeatureScaling::ZScore } else { FeatureScaling::None };
    Ok((options::choose("method", method, &words)?, scaling))
}

fn params(settings: &Settings, drawn: Drawn) -> Result<DecodeParams> {
    let (classifier, scaling) = classifier(settings)?;
    let (groups, n_permutations, seed) = drawn;
    Ok(DecodeParams { classifier, scaling, n_permutations, groups: groups.map(|g| Labels::new(&g)), seed })
}

fn folds(rows: Vec<Rows>) -> Vec<Fold> {
    rows.into_iter()
        .enumerate()
        .map(|(i, (mut train, mut test))| {
            train.sort_unstable();
            test.sort_unstable();
            Fold { name: i.to_string(), train, test }
        })
        .collect()
}

fn rows(folds: &Folds) -> Vec<Rows> {
    folds.iter().map(|fold| (fold.train.clone(), fold.test.clone())).collect()
}

/// Folds that each have their share of every class.
#[pyfunction]
pub fn stratified_folds(labels: Vec<String>, n_folds: usize, seed: u64) -> Result<Vec<Rows>> {
    Ok(rows(&Folds::stratified(&Labels::new(&labels), n_folds, seed)?))
}

/// Folds that keep groups whole.
#[pyfunction]
pub fn grouped_folds(groups: Vec<String>, n_folds: usize, seed: u64) -> Result<Vec<Rows>> {
    Ok(rows(&Folds::k_fold(&groups, n_folds, seed)?))
}

/// A classifier that was fitted.
#[pyclass(frozen, module = "stereotax._core")]
#[derive(Debug)]
pub struct Fitted {
    found: FittedClassifier,
}

#[pymethods]
impl Fitted {
    /// Fit on samples with one label each.
    #[staticmethod]
    fn fit(py: Python<'_>, x: &Bound<'_, PyAny>, labels: Vec<String>, settings: Settings) -> Result<Self> {
        let x = Matrix::new("X", x)?;
        let x = x.view();
        let labels = Labels::new(&labels);
        let (classifier, scaling) = classifier(&settings)?;
        let found = watch::run(py, |_| decoding::fit_classifier(x, &labels, &classifier, scaling))?;
        Ok(Fitted { found })
    }

    /// What was found.
    fn results<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyDict>> {
        let out = dict!(py, {
            "classes": self.found.classes.clone(),
            "converged": self.found.converged,
            "n_constant": self.found.n_constant,
        });
        if let Some((weights, intercepts)) = self.found.linear() {
            out.set_item("weights", to_array(py, weights.as_ref())?)?;
            out.set_item("intercepts", PyArray1::from_vec(py, intercepts))?;
        }
        Ok(out)
    }

    /// Scores of classes, and the class told (-1 without any score), for each sample.
    fn tell<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
    ) -> Result<(Bound<'py, PyAny>, Bound<'py, PyArray1<i64>>)> {
        let x = Matrix::new("X", x)?;
        let x = x.view();
        let (scores, told) = watch::run(py, |_| -> stereotax::Result<_> {
            Ok((self.found.scores(x)?, self.found.predict(x)?))
        })?;
        let told = told.into_iter().map(|k| k.map_or(-1, |k| k as i64)).collect();
        Ok((to_array(py, scores.as_ref())?.into_any(), PyArray1::from_vec(py, told)))
    }
}

fn score(found: &Score) -> Vec<f64> {
    vec![found.value, found.chance, found.p_value, found.null_mean, found.null_q95]
}

/// Held-out accuracy, confusions, chance.
#[pyfunction]
pub fn decode<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    labels: Vec<String>,
    held_out: Vec<Rows>,
    settings: Settings,
    drawn: Drawn,
) -> Result<Bound<'py, PyDict>> {
    let x = Matrix::new("X", x)?;
    let x = x.view();
    let (labels, folds, params) = (Labels::new(&labels), folds(held_out), params(&settings, drawn)?);
    let found = watch::run(py, |monitor| decoding::decode(x, &labels, &folds, &params, monitor))?;
    let predictions: Vec<(usize, usize, usize, Option<usize>)> =
        found.predictions.iter().map(|p| (p.sample, p.fold, p.observed, p.predicted)).collect();
    Ok(dict!(py, {
        "classes": found.classes,
        "accuracy": score(&found.accuracy),
        "balanced_accuracy": score(&found.balanced_accuracy),
        "fold_accuracies": PyArray1::from_vec(py, found.fold_accuracies),
        "confusion": found.confusion,
        "n_of_class": found.n_of_class,
        "n_undefined": found.n_undefined,
        "predictions": predictions,
        "n_unconverged": found.n_unconverged,
        "n_constant": found.n_constant,
        "exact": found.exact,
        "warning": found.warning,
    }))
}

/// Accuracy of training times at test times.
#[pyfunction]
pub fn temporal_generalisation<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    n_times: usize,
    labels: Vec<String>,
    held_out: Vec<Rows>,
    settings: Settings,
    drawn: Drawn,
) -> Result<Bound<'py, PyDict>> {
    let x = Matrix::new("X", x)?;
    let movie = Movie { values: x.view(), n_times };
    let (labels, folds, params) = (Labels::new(&labels), folds(held_out), params(&settings, drawn)?);
    let found = watch::run(py, |monitor| {
        decoding::temporal_generalisation(movie, &labels, &folds, &params, monitor)
    })?;
    Ok(dict!(py, {
        "classes": found.classes,
        "accuracy": to_array(py, found.accuracy.as_ref())?,
        "balanced_accuracy": to_array(py, found.balanced_accuracy.as_ref())?,
        "p_values": to_array(py, found.p_values.as_ref())?,
        "p_family": to_array(py, found.p_family.as_ref())?,
        "n_unconverged": found.n_unconverged,
        "n_undefined": found.n_undefined,
        "warning": found.warning,
    }))
}

/// Accuracy of windows that grow or shrink: (first, last, accuracy, sd, balanced accuracy, unconverged) each.
#[pyfunction]
pub fn window_accuracy(
    py: Python<'_>,
    x: &Bound<'_, PyAny>,
    n_times: usize,
    labels: Vec<String>,
    repeats: Vec<Vec<Rows>>,
    shrinking: bool,
    settings: Settings,
) -> Result<Vec<(usize, usize, f64, f64, f64, usize)>> {
    let x = Matrix::new("X", x)?;
    let movie = Movie { values: x.view(), n_times };
    let (labels, params) = (Labels::new(&labels), params(&settings, (None, 0, 0))?);
    let repeats: Vec<Vec<Fold>> = repeats.into_iter().map(folds).collect();
    let windows = if shrinking { Windows::Shrinking } else { Windows::Growing };
    let found = watch::run(py, |monitor| {
        decoding::window_accuracy(movie, &labels, &repeats, windows, &params, monitor)
    })?;
    let row = |w: &decoding::WindowAccuracy| {
        (w.first, w.last, w.accuracy, w.sd, w.balanced_accuracy, w.n_unconverged)
    };
    Ok(found.iter().map(row).collect())
}

/// Accuracy of classifiers of one population in another.
#[pyfunction]
pub fn transfer_decoding<'py>(
    py: Python<'py>,
    names: Vec<String>,
    populations: Vec<Bound<'py, PyAny>>,
    labels: Vec<String>,
    held_out: Vec<Rows>,
    n_components: Option<usize>,
    settings: Settings,
) -> Result<Bound<'py, PyDict>> {
    let arrays = names
        .iter()
        .zip(&populations)
        .map(|(name, x)| Matrix::new(name, x))
        .collect::<Result<Vec<Matrix<'_>>>>()?;
    let views: Vec<_> = arrays.iter().map(|x| x.view()).collect();
    let (labels, folds, params) = (Labels::new(&labels), folds(held_out), params(&settings, (None, 0, 0))?);
    let common = n_components.map_or(Common::Features, Common::Turned);
    let found = watch::run(py, |monitor| {
        decoding::transfer_decoding(&names, &views, &labels, &folds, common, &params, monitor)
    })?;
    Ok(dict!(py, {
        "accuracy": to_array(py, found.accuracy.as_ref())?,
        "balanced_accuracy": to_array(py, found.balanced_accuracy.as_ref())?,
        "n_unconverged": found.n_unconverged,
    }))
}

/// Which trial of every unit stands in every row.
#[pyfunction]
pub fn pseudo_trials(
    units: Vec<String>,
    labels: Vec<Vec<String>>,
    n_repeats: usize,
    seed: u64,
) -> Result<Vec<Vec<usize>>> {
    let labels: Vec<Labels> = labels.iter().map(|of| Labels::new(of)).collect();
    Ok(decoding::pseudo_trials(&units, &labels, n_repeats, seed)?)
}

/// Principal components of states: scores (rows × components), loadings, explained shares.
#[pyfunction]
pub fn principal_states<'py>(
    py: Python<'py>,
    responses: &Responses,
    n_components: usize,
    over_time: bool,
) -> Result<Bound<'py, PyDict>> {
    let tensor = responses.tensor();
    let found = watch::run(py, |_| decoding::principal_states(tensor, n_components, over_time))?;
    let [_, s, d, _] = tensor.shape();
    let scores = to_array(py, found.scores.as_ref())?;
    Ok(dict!(py, {
        "scores": scores.reshape([s, d, found.n_times, n_components])?,
        "loadings": to_array(py, found.loadings.as_ref())?,
        "explained": PyArray1::from_vec(py, found.explained),
    }))
}
