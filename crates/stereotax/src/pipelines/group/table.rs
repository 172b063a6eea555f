//! Decide which models and ROIs take part, and turn scores into coordinates.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use faer::{Mat, MatRef};

use super::{
    CoordinateKind, GroupParams, ModelInfo, PointStatus, PredictedResponses, RepresentationScores, Severity,
    SpaceInput, Warning, settle, status_of,
};
use crate::data::{Error, Result};
use crate::linalg::gram;
use crate::stats::distance::{DistanceKind, Distances, ObjectDistances, object_distances};
use crate::stats::score::ScoreKind;
use crate::stats::summary::{column, is_constant, mean, row, sd};

/// A checked space, seen in the order of names.
pub(super) struct Space<'a> {
    pub input: &'a SpaceInput,
    /// Models by name.
    pub models: Vec<usize>,
    /// ROIs by name.
    pub rois: Vec<usize>,
    /// Unmasked ROIs by name.
    pub unmasked: Vec<usize>,
}

impl<'a> Space<'a> {
    /// Check that all tables agree.
    pub fn new(input: &'a SpaceInput) -> Result<Self> {
        let (n_models, n_rois) = (input.models.len(), input.rois.len());
        let length = |what: &str, found: usize, expected: usize, of: &str| {
            if found == expected {
                return Ok(());
            }
            Err(Error::Shape {
                what: format!("{what} of space `{}`", input.space),
                expected: format!("{expected} (one per {of})"),
                found: found.to_string(),
                hint: "models and ROIs have the same order everywhere in a space".into(),
            })
        };
        length("networks", input.networks.len(), n_rois, "ROI")?;
        length("masked", input.masked.len(), n_rois, "ROI")?;
        length("ceilings", input.ceilings.len(), n_rois, "ROI")?;
        if let Some(ceilings) = &input.model_ceilings {
            length("rows of model_ceilings", ceilings.nrows(), n_models, "model")?;
            length("columns of model_ceilings", ceilings.ncols(), n_rois, "ROI")?;
        }
        for scores in &input.scores {
            let name = &scores.representation;
            for (what, table) in [("score", &scores.score), ("r", &scores.r)] {
                length(&format!("rows of {what} for {name}"), table.nrows(), n_models, "model")?;
                length(&format!("columns of {what} for {name}"), table.ncols(), n_rois, "ROI")?;
                check_not_infinite(&format!("{what} for {name}"), table.as_ref())?;
            }
            length(&format!("draws for {name}"), scores.draws.len(), n_models, "model")?;
            length(&format!("null for {name}"), scores.null.len(), n_models, "model")?;
            if !scores.responses.is_empty() {
                length(&format!("responses for {name}"), scores.responses.len(), n_models, "model")?;
            }
            for responses in scores.responses.iter().flatten() {
                let what = format!("columns of responses for {name}");
                length(&what, responses.values.ncols(), n_rois, "ROI")?;
            }
            for draws in scores.draws.iter().flatten() {
                length(&format!("columns of draws for {name}"), draws.ncols(), n_rois, "ROI")?;
            }
            for null in scores.null.iter().flatten() {
                let whole = null.len().checked_div(n_rois).unwrap_or(0) * n_rois;
                length(&format!("null values for {name}"), null.len(), whole, "draw and ROI")?;
            }
        }
        let names: Vec<&str> = input.models.iter().map(|m| m.name.as_str()).collect();
        let rois: Vec<&str> = input.rois.iter().map(String::as_str).collect();
        let kinds: Vec<&str> = input.scores.iter().map(|s| s.representation.as_str()).collect();
        sorted_distinct("representations", &kinds)?;
        let rois = sorted_distinct("rois", &rois)?;
        Ok(Space {
            models: sorted_distinct("models", &names)?,
            unmasked: rois.iter().copied().filter(|&j| !input.masked[j]).collect(),
            rois,
            input,
        })
    }

    pub fn representation(&self, name: &str) -> Option<&'a RepresentationScores> {
        self.input.scores.iter().find(|s| s.representation == name)
    }

    pub fn model(&self, i: usize) -> &'a ModelInfo {
        &self.input.models[i]
    }

    /// Trained models, by name.
    pub fn trained(&self) -> impl Iterator<Item = usize> + '_ {
        self.models.iter().copied().filter(|&i| self.model(i).trained)
    }

    /// Modalities of the trained models, by name.
    pub fn modalities(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = self.trained().map(|i| self.model(i).modality.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Say which trained models have no point, and why.
    pub fn missing_points(&self) -> Option<Warning> {
        let missing: Vec<String> = self
            .trained()
            .filter_map(|i| match &self.model(i).verdict {
                PointStatus::Placed => None,
                PointStatus::NoPoint(reason) => Some(format!("{} ({reason})", self.model(i).name)),
            })
            .collect();
        if missing.is_empty() {
            return None;
        }
        let every = ["adaptive", "layer_mean"].iter().any(|name| self.representation(name).is_some());
        let advice = if every {
            "Compare with the rows for `adaptive` and `layer_mean`, where every model takes part"
        } else {
            "Score `layer_mean` too: there every model takes part"
        };
        Some(Warning {
            severity: Severity::Warning,
            code: "models_without_point".into(),
            text: format!(
                "Space `{}`: {} of {} trained models have no stable mode and are missing from its group \
                 tests: {}. They are missing for a reason, not at random: the tests speak of networks that \
                 have a stable mode. {advice}.",
                self.input.space,
                missing.len(),
                self.trained().count(),
                missing.join(", ")
            ),
        })
    }

    /// The ceiling of what a model was scored on.
    pub fn ceiling(&self, model: usize, roi: usize) -> f64 {
        match &self.input.model_ceilings {
            Some(ceilings) => ceilings[(model, roi)],
            None => self.input.ceilings[roi],
        }
    }
}

/// Positions in the order of names; an error if a name occurs twice.
fn sorted_distinct(what: &str, names: &[&str]) -> Result<Vec<usize>> {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|&i| names[i]);
    match order.windows(2).find(|pair| names[pair[0]] == names[pair[1]]) {
        None => Ok(order),
        Some(pair) => Err(Error::Invalid {
            what: what.into(),
            expected: "each name once".into(),
            found: format!("`{}` twice", names[pair[0]]),
            hint: "give every entry a name of its own".into(),
        }),
    }
}

fn check_not_infinite(what: &str, x: MatRef<f64>) -> Result<()> {
    let mut infinite =
        (0..x.nrows()).flat_map(|i| (0..x.ncols()).map(move |j| (i, j))).filter(|&at| x[at].is_infinite());
    match infinite.next() {
        None => Ok(()),
        Some((row, column)) => Err(Error::NotFinite {
            what: what.into(),
            row,
            column,
            count: 1 + infinite.count(),
            hint: "mark undefined scores by NaN".into(),
        }),
    }
}

/// Who takes part in the group statistics of one representation.
pub(super) struct Table<'a> {
    pub space: &'a Space<'a>,
    pub scores: &'a RepresentationScores,
    /// Models that take part, by name.
    pub models: Vec<usize>,
    /// Why the other models do not.
    pub absent: BTreeMap<usize, String>,
    /// Unmasked ROIs where all of these models have a score, by name.
    pub rois: Vec<usize>,
    /// Correlations of predicted responses, made once.
    correlations: OnceLock<std::result::Result<ResponseCorrelations, String>>,
}

/// Correlations between the predicted responses of models.
struct ResponseCorrelations {
    /// Models that have predictions which vary, by position in the space.
    models: Vec<usize>,
    /// Models × models.
    values: Mat<f64>,
}

impl<'a> Table<'a> {
    pub fn new(space: &'a Space<'a>, scores: &'a RepresentationScores) -> Self {
        let mut absent = BTreeMap::new();
        let mut models = Vec::new();
        for &i in &space.models {
            match reason_to_leave_out(space, scores, i) {
                Some(reason) => {
                    absent.insert(i, reason);
                }
                None => models.push(i),
            }
        }
        let complete = |j: usize| models.iter().all(|&i| !scores.score[(i, j)].is_nan());
        let rois = space.unmasked.iter().copied().filter(|&j| complete(j)).collect();
        Table { space, scores, models, absent, rois, correlations: OnceLock::new() }
    }

    pub fn representation(&self) -> &'a str {
        &self.scores.representation
    }

    /// ROIs that some models lack, and models left out for that.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut found = Vec::new();
        let n_lost = self.space.unmasked.len() - self.rois.len();
        if n_lost > 0 && !self.models.is_empty() {
            found.push(Warning {
                severity: Severity::Warning,
                code: "rois_incomplete".into(),
                text: format!(
                    "Space `{}`, `{}`: {n_lost} of {} unmasked ROIs have no score for some model and are \
                     left out of distances and tests.",
                    self.space.input.space,
                    self.representation(),
                    self.space.unmasked.len()
                ),
            });
        }
        found
    }

    /// Scores of some models (positions in the space) in the complete ROIs.
    pub fn observed(&self, models: &[usize]) -> Mat<f64> {
        Mat::from_fn(models.len(), self.rois.len(), |i, j| self.scores.score[(models[i], self.rois[j])])
    }

    /// Distances between models (positions in the space); the reason if there are none.
    ///
    /// Predicted responses are always compared by correlation, whatever `distance` says.
    pub fn distances(
        &self,
        models: &[usize],
        embedding: CoordinateKind,
        distance: DistanceKind,
        params: &GroupParams,
    ) -> Result<std::result::Result<ObjectDistances, String>> {
        if embedding == CoordinateKind::Response {
            return self.response_distances(models);
        }
        let coordinates = if self.concatenated(params) {
            self.embed_benchmarks(models, embedding, params.score)
        } else {
            self.embed(models, &self.observed(models), embedding, params.score)
        };
        match coordinates {
            Ok(coordinates) => settle(object_distances(coordinates.as_ref(), distance)),
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// Whether coordinates are of benchmarks side by side.
    pub fn concatenated(&self, params: &GroupParams) -> bool {
        params.concatenate && !self.scores.by_benchmark.is_empty()
    }

    /// One coordinate per benchmark and unmasked ROI that every model has a score for.
    fn embed_benchmarks(
        &self,
        models: &[usize],
        embedding: CoordinateKind,
        kind: ScoreKind,
    ) -> std::result::Result<Mat<f64>, String> {
        let over_ceiling = embedding == CoordinateKind::Ceiling && kind != ScoreKind::Ceil;
        let mut columns: Vec<Vec<f64>> = Vec::new();
        for benchmark in &self.scores.by_benchmark {
            for &roi in &self.space.unmasked {
                let ceiling = benchmark.ceilings[roi];
                let usable = !over_ceiling || (ceiling > 0.0 && ceiling.is_finite());
                if usable && models.iter().all(|&i| !benchmark.score[(i, roi)].is_nan()) {
                    let scale = if over_ceiling { ceiling.powi(2) } else { 1.0 };
                    columns.push(models.iter().map(|&i| benchmark.score[(i, roi)] / scale).collect());
                }
            }
        }
        if columns.is_empty() {
            let what = if over_ceiling { " over a positive ceiling" } else { "" };
            return Err(format!("no benchmark has a score of every model{what} in an unmasked ROI"));
        }
        let joined = Mat::from_fn(models.len(), columns.len(), |i, k| columns[k][i]);
        Ok(match embedding {
            CoordinateKind::Z => standardised(&joined),
            CoordinateKind::Rank => ranked(&joined),
            CoordinateKind::Score | CoordinateKind::Ceiling | CoordinateKind::Response => joined,
        })
    }

    /// 1 − correlation of predicted responses.
    fn response_distances(&self, models: &[usize]) -> Result<std::result::Result<ObjectDistances, String>> {
        let found = match self.correlations.get_or_init(|| self.correlate_responses()) {
            Ok(found) => found,
            Err(reason) => return Ok(Err(reason.clone())),
        };
        let place = |model: &usize| found.models.iter().position(|m| m == model);
        let (mut objects, mut undefined_objects, mut at) = (Vec::new(), Vec::new(), Vec::new());
        for (k, model) in models.iter().enumerate() {
            match place(model) {
                Some(place) => {
                    objects.push(k);
                    at.push(place);
                }
                None => undefined_objects.push(k),
            }
        }
        let distances = Distances::new(Mat::from_fn(at.len(), at.len(), |i, k| {
            if i == k { 0.0 } else { (1.0 - found.values[(at[i], at[k])]).max(0.0) }
        }));
        Ok(settle(distances)?.map(|distances| ObjectDistances {
            distances,
            kind: DistanceKind::Correlation,
            objects,
            undefined_objects,
            constant_columns: Vec::new(),
        }))
    }

    /// Correlate the predictions of all models that take part, over samples × complete ROIs.
    fn correlate_responses(&self) -> std::result::Result<ResponseCorrelations, String> {
        if self.rois.is_empty() {
            return Err("no unmasked ROI has a score for every model".into());
        }
        let with: Vec<(usize, &PredictedResponses)> =
            self.models.iter().filter_map(|&i| Some((i, self.scores.responses.get(i)?.as_ref()?))).collect();
        let Some((first_model, first)) = with.first().copied() else {
            return Err("no model has predicted responses".into());
        };
        let same =
            |r: &PredictedResponses| r.stimuli == first.stimuli && r.values.nrows() == first.values.nrows();
        if let Some((other_model, other)) = with.iter().find(|(_, r)| !same(r)) {
            return Err(format!(
                "predicted responses are compared on the same stimuli, but {} was scored on {} and {} on {}",
                self.space.model(first_model).name,
                first.stimuli,
                self.space.model(*other_model).name,
                other.stimuli
            ));
        }
        let (n, n_rois) = (first.values.nrows(), self.rois.len());
        // One column per model: its predictions, each ROI's mean taken out.
        let mut columns = Mat::<f64>::zeros(n * n_rois, with.len());
        for (k, (_, responses)) in with.iter().enumerate() {
            let column = columns.col_as_slice_mut(k);
            for (place, &roi) in self.rois.iter().enumerate() {
                let values: Vec<f64> = (0..n).map(|t| f64::from(responses.values[(t, roi)])).collect();
                // A constant series has a mean that rounding may leave a trace of.
                let centre = if is_constant(&values) { values[0] } else { mean(&values) };
                for (t, value) in values.iter().enumerate() {
                    column[place * n + t] = value - centre;
                }
            }
        }
        let moments = gram(columns.as_ref());
        let varying: Vec<usize> = (0..with.len()).filter(|&k| moments[(k, k)] > 0.0).collect();
        Ok(ResponseCorrelations {
            models: varying.iter().map(|&k| with[k].0).collect(),
            values: Mat::from_fn(varying.len(), varying.len(), |a, b| {
                let (i, k) = (varying[a], varying[b]);
                (moments[(i, k)] / (moments[(i, i)] * moments[(k, k)]).sqrt()).clamp(-1.0, 1.0)
            }),
        })
    }

    /// Turn scores (`models` × complete ROIs) into coordinates; the reason if that cannot be done.
    pub fn embed(
        &self,
        models: &[usize],
        scores: &Mat<f64>,
        embedding: CoordinateKind,
        kind: ScoreKind,
    ) -> std::result::Result<Mat<f64>, String> {
        if self.rois.is_empty() {
            return Err("no unmasked ROI has a score for every model".into());
        }
        match embedding {
            CoordinateKind::Response => Err("predicted responses have no bootstrap draws".into()),
            CoordinateKind::Score => Ok(scores.clone()),
            CoordinateKind::Z => Ok(standardised(scores)),
            CoordinateKind::Rank => Ok(ranked(scores)),
            CoordinateKind::Ceiling => {
                if kind == ScoreKind::Ceil {
                    return Ok(scores.clone());
                }
                let ceiling = |i: usize, j: usize| self.space.ceiling(models[i], self.rois[j]);
                let kept: Vec<usize> = (0..self.rois.len())
                    .filter(|&j| (0..models.len()).all(|i| ceiling(i, j) > 0.0 && ceiling(i, j).is_finite()))
                    .collect();
                if kept.is_empty() {
                    return Err("no ROI has a positive ceiling for every model".into());
                }
                Ok(Mat::from_fn(models.len(), kept.len(), |i, j| {
                    scores[(i, kept[j])] / ceiling(i, kept[j]).powi(2)
                }))
            }
        }
    }
}

/// Why a model takes no part, if it takes none.
fn reason_to_leave_out(space: &Space, scores: &RepresentationScores, model: usize) -> Option<String> {
    let info = space.model(model);
    if !info.trained {
        return Some("untrained: a control, not a member of a group".into());
    }
    if scores.representation == "stable_mode"
        && let PointStatus::NoPoint(reason) = &info.verdict
    {
        return Some(status_of(std::slice::from_ref(reason)));
    }
    let n_scored = space.unmasked.iter().filter(|&&j| !scores.score[(model, j)].is_nan()).count();
    if space.unmasked.is_empty() {
        Some("every ROI is masked".into())
    } else if n_scored == 0 {
        Some("no score in any unmasked ROI".into())
    } else if 2 * n_scored < space.unmasked.len() {
        Some(format!("scores in only {n_scored} of {} unmasked ROIs", space.unmasked.len()))
    } else {
        None
    }
}

/// Columns with mean 0 and standard deviation 1 over models; 0 where they do not vary.
fn standardised(x: &Mat<f64>) -> Mat<f64> {
    let mut out = x.clone();
    for j in 0..x.ncols() {
        let values = column(x.as_ref(), j);
        let (centre, spread) = (mean(&values), sd(&values));
        let flat = x.nrows() < 2 || is_constant(&values);
        for i in 0..x.nrows() {
            out[(i, j)] = if flat { 0.0 } else { (x[(i, j)] - centre) / spread };
        }
    }
    out
}

/// Ranks within rows, from 1; ties share their mean rank.
fn ranked(x: &Mat<f64>) -> Mat<f64> {
    let mut out = Mat::zeros(x.nrows(), x.ncols());
    for i in 0..x.nrows() {
        let values = row(x.as_ref(), i);
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        let mut start = 0;
        while start < order.len() {
            let same =
                order[start..].iter().take_while(|&&j| values[j] == values[order[start]]).count().max(1);
            for &j in &order[start..start + same] {
                out[(i, j)] = (2 * start + same + 1) as f64 / 2.0;
            }
            start += same;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_share_ties() {
        let x = Mat::from_fn(1, 5, |_, j| [0.3, 0.1, 0.3, 0.9, -0.0][j]);
        assert_eq!(row(ranked(&x).as_ref(), 0), [3.5, 2.0, 3.5, 5.0, 1.0]);
        let zeros = Mat::from_fn(1, 2, |_, j| [0.0, -0.0][j]);
        assert_eq!(row(ranked(&zeros).as_ref(), 0), [1.5, 1.5]);
    }

    #[test]
    fn columns_that_do_not_vary_become_zero() {
        let x = Mat::from_fn(3, 2, |i, j| if j == 0 { i as f64 } else { 0.4 });
        let z = standardised(&x);
        assert_eq!((column(z.as_ref(), 0), column(z.as_ref(), 1)), (vec![-1.0, 0.0, 1.0], vec![0.0; 3]));
    }
}
