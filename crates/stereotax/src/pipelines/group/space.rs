//! Put the scores of models that were analysed one by one into one space.

use std::collections::BTreeSet;
use std::sync::Arc;

use faer::Mat;

use super::{ModelInfo, PredictedResponses, RepresentationScores, SpaceInput};
use crate::data::{Error, Result};

/// One representation of one model, averaged over subjects.
#[derive(Debug, Clone)]
pub struct ModelScores {
    /// As in [`RepresentationScores`].
    pub representation: String,
    /// Correlation per ROI; NaN where undefined.
    pub r: Vec<f64>,
    /// Score per ROI; NaN where undefined.
    pub score: Vec<f64>,
    /// Bootstrap draws of the score (draws × ROIs).
    pub draws: Option<Arc<Mat<f32>>>,
    /// Null draws of r, draw after draw.
    pub null: Option<Arc<Vec<f32>>>,
    /// Held-out predictions averaged over subjects (samples in their order × ROIs); for
    /// [`CoordinateKind::Response`](super::CoordinateKind::Response).
    pub responses: Option<Arc<Mat<f32>>>,
}

/// A model with its scores.
#[derive(Debug, Clone)]
pub struct ScoredModel {
    /// What is known of it besides its scores.
    pub info: ModelInfo,
    /// What the rows of its predictions are.
    pub stimuli: String,
    /// Its representations; a name occurs once.
    pub scores: Vec<ModelScores>,
    /// Noise ceilings of what it was scored on, as correlations; NaN where there are none.
    pub ceilings: Vec<f64>,
    /// Whether its ceiling in an ROI is too low.
    pub masked: Vec<bool>,
}

/// The ROIs of a space.
#[derive(Debug, Clone)]
pub struct SpaceRois {
    /// Names, all different.
    pub names: Vec<String>,
    /// Network of each, if it has one.
    pub networks: Vec<Option<String>>,
}

/// Collect models into a space. An ROI is masked for all if it is for one.
///
/// Errors: a model whose scores, ceilings or mask have another number of ROIs than the space.
pub fn space_of(name: &str, rois: SpaceRois, models: Vec<ScoredModel>) -> Result<SpaceInput> {
    let n_rois = rois.names.len();
    for model in &models {
        let lengths = [("ceilings", model.ceilings.len()), ("masked", model.masked.len())]
            .into_iter()
            .chain(model.scores.iter().flat_map(|s| [("r", s.r.len()), ("score", s.score.len())]));
        for (what, found) in lengths {
            if found != n_rois {
                return Err(Error::Shape {
                    what: format!("{what} of model {}", model.info.name),
                    expected: format!("{n_rois} values (one per ROI of the space)"),
                    found: format!("{found} values"),
                    hint: "models of one space are scored on the same ROIs in the same order".into(),
                });
            }
        }
    }
    let representations: BTreeSet<&str> =
        models.iter().flat_map(|m| m.scores.iter().map(|s| s.representation.as_str())).collect();
    let scores = representations
        .into_iter()
        .map(|name| {
            let of: Vec<Option<&ModelScores>> =
                models.iter().map(|m| m.scores.iter().find(|s| s.representation == name)).collect();
            let table = |values: fn(&ModelScores) -> &[f64]| {
                Mat::from_fn(models.len(), n_rois, |m, j| of[m].map_or(f64::NAN, |s| values(s)[j]))
            };
            RepresentationScores {
                representation: name.into(),
                score: table(|s| &s.score),
                r: table(|s| &s.r),
                draws: of.iter().map(|s| s.and_then(|s| s.draws.clone())).collect(),
                null: of.iter().map(|s| s.and_then(|s| s.null.clone())).collect(),
                by_benchmark: Vec::new(),
                responses: models
                    .iter()
                    .zip(&of)
                    .map(|(model, s)| {
                        let values = s.and_then(|s| s.responses.clone())?;
                        Some(PredictedResponses { stimuli: model.stimuli.clone(), values })
                    })
                    .collect(),
            }
        })
        .collect();
    let mean_ceiling = |j: usize| {
        let known: Vec<f64> = models.iter().map(|m| m.ceilings[j]).filter(|c| c.is_finite()).collect();
        if known.is_empty() { f64::NAN } else { known.iter().sum::<f64>() / known.len() as f64 }
    };
    Ok(SpaceInput {
        space: name.into(),
        networks: rois.networks,
        masked: (0..n_rois).map(|j| models.iter().any(|m| m.masked[j])).collect(),
        ceilings: (0..n_rois).map(mean_ceiling).collect(),
        model_ceilings: Some(Mat::from_fn(models.len(), n_rois, |m, j| models[m].ceilings[j])),
        rois: rois.names,
        models: models.into_iter().map(|m| m.info).collect(),
        scores,
    })
}

#[cfg(test)]
mod tests {
    use super::super::PointStatus;
    use super::*;

    fn model(name: &str, representations: &[&str], masked: [bool; 2]) -> ScoredModel {
        ScoredModel {
            info: ModelInfo {
                name: name.into(),
                modality: "audio".into(),
                family: name.into(),
                benchmark: "b".into(),
                trained: true,
                twin_of: None,
                verdict: PointStatus::Placed,
            },
            stimuli: "clips".into(),
            scores: representations
                .iter()
                .map(|r| ModelScores {
                    representation: (*r).into(),
                    r: vec![0.5, 0.6],
                    score: vec![0.25, 0.36],
                    draws: Some(Arc::new(Mat::full(3, 2, 0.2))),
                    null: None,
                    responses: Some(Arc::new(Mat::full(7, 2, 0.1))),
                })
                .collect(),
            ceilings: vec![0.8, f64::NAN],
            masked: masked.into(),
        }
    }

    #[test]
    fn what_a_model_lacks_is_undefined_and_a_mask_holds_for_all() {
        let rois = SpaceRois { names: vec!["A".into(), "B".into()], networks: vec![None, None] };
        let models = vec![
            model("deep", &["stable_mode", "layer_mean"], [false, false]),
            model("flat", &["layer_mean"], [false, true]),
        ];
        let space = space_of("main", rois.clone(), models).unwrap();
        assert_eq!(space.masked, [false, true]);
        assert!(space.ceilings[0] == 0.8 && space.ceilings[1].is_nan());
        let names: Vec<&str> = space.scores.iter().map(|s| s.representation.as_str()).collect();
        assert_eq!(names, ["layer_mean", "stable_mode"]);
        let stable = &space.scores[1];
        assert!(stable.score[(0, 1)] == 0.36 && stable.score[(1, 0)].is_nan());
        assert!(stable.draws[0].is_some() && stable.draws[1].is_none());
        assert_eq!(stable.responses[0].as_ref().unwrap().stimuli, "clips");
        assert!(stable.responses[1].is_none());

        let mut short = model("short", &["stable_mode"], [false, false]);
        short.scores[0].r.pop();
        let refused = space_of("main", rois, vec![short]).unwrap_err().to_string();
        assert!(refused.contains("`r of model short` has 1 values"), "{refused}");
    }
}
