//! Average the finished cells of a representation over subjects: what tables and group statistics use.
//!
//! A cell holds predictions and draws of one subject; a study of 45 models has gigabytes of them. They are
//! read one representation at a time, and what stays is the average, in the precision it was stored in.

use std::sync::Arc;

use faer::{Mat, MatRef};
use stereotax::pipelines::ceilings;
use stereotax::pipelines::subjects::{self, over_subjects};
use stereotax::pipelines::{SampleDesign, held_out_order};
use stereotax::stats::score::ScoreKind;
use stereotax::stats::summary::median;

use crate::inputs::BenchmarkInput;
use crate::store::Payload;

/// Scores of one representation of one model on one benchmark.
pub(crate) struct Summary {
    /// Per subject: r, score, n_eff and p per ROI.
    pub(crate) subjects: Vec<SubjectScores>,
    /// Correlation per ROI, averaged over subjects by Fisher's z.
    pub(crate) r: Vec<f64>,
    /// Score per ROI, averaged over subjects.
    pub(crate) score: Vec<f64>,
    /// Bootstrap draws of the score (draws × ROIs), averaged over subjects draw by draw.
    pub(crate) draws: Option<Arc<Mat<f32>>>,
    /// Null draws of r, draw after draw, averaged likewise.
    pub(crate) null: Option<Arc<Vec<f32>>>,
    /// Per subject, where features were fitted in bands: product measure (bands × ROIs), joint R² per ROI,
    /// and weights (bands × ROIs).
    pub(crate) split: Option<Vec<[Vec<f64>; 3]>>,
    /// Predicted responses (held-out samples in their own order × ROIs), averaged over subjects; only where
    /// models are compared by them.
    pub(crate) predictions: Option<Mat<f32>>,
    /// Share of (fold, ROI) whose penalty is on an edge of the grid, averaged over subjects.
    pub(crate) share_at_edge: f64,
}

pub(crate) struct SubjectScores {
    pub(crate) r: Vec<f64>,
    pub(crate) score: Vec<f64>,
    pub(crate) n_eff: Vec<f64>,
    pub(crate) p: Vec<f64>,
    pub(crate) alpha: Vec<f64>,
    pub(crate) n: f64,
}

/// Ceilings of one benchmark.
pub(crate) struct Ceilings {
    pub(crate) kind: String,
    pub(crate) status: String,
    /// Per subject and ROI.
    pub(crate) subjects: Vec<Vec<f64>>,
    /// Mean over subjects.
    pub(crate) mean: Vec<f64>,
    /// Whether an ROI lies below the threshold.
    pub(crate) masked: Vec<bool>,
}

/// What a ceiling node says, with the ROIs below `least` masked.
pub(crate) fn read_ceilings(benchmark: &BenchmarkInput, payload: &Payload, least: f64) -> Ceilings {
    let n_rois = benchmark.rois.len();
    let values = payload.get("ceiling").unwrap_or_default();
    let subjects: Vec<Vec<f64>> = values.chunks_exact(n_rois.max(1)).map(<[f64]>::to_vec).collect();
    let text = |key: &str, default: &str| payload.facts[key].as_str().unwrap_or(default).to_owned();
    let found = ceilings::Ceilings { kind: text("kind", "none"), status: text("status", "ok"), subjects };
    let (mean, masked) = (found.mean(), found.masked(least));
    Ceilings { kind: found.kind, status: found.status, subjects: found.subjects, mean, masked }
}

/// Average the cells of a representation over subjects; `None` where it could not be computed.
pub(crate) fn summarise(payloads: &[Payload], kind: ScoreKind, ceiling: &Ceilings) -> Option<Summary> {
    struct Read {
        r: Vec<f64>,
        n_eff: Vec<f64>,
        bootstrap: Option<Vec<f64>>,
        null: Option<Vec<f32>>,
    }
    let read: Vec<Read> = payloads
        .iter()
        .map(|payload| {
            Some(Read {
                r: payload.get("r")?,
                n_eff: payload.get("n_eff")?,
                bootstrap: payload.get("bootstrap"),
                // Kept in single precision, so nothing is lost.
                null: payload.get("null").map(|null| null.into_iter().map(|x| x as f32).collect()),
            })
        })
        .collect::<Option<_>>()?;
    let n_rois = read.first()?.r.len();
    let over = over_subjects(
        &read
            .iter()
            .enumerate()
            .map(|(subject, read)| subjects::SubjectScores {
                r: &read.r,
                n_eff: &read.n_eff,
                ceilings: &ceiling.subjects[subject.min(ceiling.subjects.len() - 1)],
                bootstrap: read
                    .bootstrap
                    .as_ref()
                    .map(|values| MatRef::from_row_major_slice(values, values.len() / n_rois.max(1), n_rois)),
                null: read.null.as_deref(),
            })
            .collect::<Vec<_>>(),
        kind,
    );
    let subjects = payloads
        .iter()
        .zip(read)
        .zip(over.of_subjects)
        .map(|((payload, Read { r, n_eff, .. }), score)| {
            let alphas = payload.get("alphas")?;
            let n_folds = alphas.len() / n_rois.max(1);
            let alpha = (0..n_rois)
                .map(|j| {
                    let folds: Vec<f64> =
                        (0..n_folds).map(|f| alphas[f * n_rois + j]).filter(|a| a.is_finite()).collect();
                    if folds.is_empty() { f64::NAN } else { median(&folds) }
                })
                .collect();
            let p = payload.get("p").unwrap_or_else(|| vec![f64::NAN; n_rois]);
            let n = payload.facts["n_samples"].as_f64().unwrap_or(f64::NAN);
            Some(SubjectScores { r, score, n_eff, p, alpha, n })
        })
        .collect::<Option<_>>()?;
    let shares: Vec<f64> = payloads.iter().filter_map(|p| p.facts["share_at_edge"].as_f64()).collect();
    Some(Summary {
        subjects,
        r: over.r,
        score: over.score,
        draws: over.draws,
        null: over.null,
        split: payloads
            .iter()
            .map(|p| Some([p.get("band_r2")?, p.get("joint_r2")?, p.get("band_weights")?]))
            .collect(),
        predictions: None,
        share_at_edge: mean(&shares),
    })
}

/// Out-of-fold predictions averaged over subjects, in the order of samples; `None` where a cell has none.
pub(crate) fn average_predictions(payloads: &[Payload], design: &SampleDesign) -> Option<Mat<f32>> {
    let (order, _) = held_out_order(design).ok()?;
    let mut places: Vec<usize> = (0..order.len()).collect();
    places.sort_by_key(|&at| order[at]);
    let subjects = payloads.iter().map(|p| p.get("predictions")).collect::<Option<Vec<_>>>()?;
    let n_rois = subjects.first()?.len().checked_div(order.len())?;
    if n_rois == 0 || subjects.iter().any(|s| s.len() != order.len() * n_rois) {
        return None;
    }
    Some(Mat::from_fn(order.len(), n_rois, |t, j| {
        let sum: f64 = subjects.iter().map(|s| s[places[t] * n_rois + j]).sum();
        (sum / subjects.len() as f64) as f32
    }))
}

/// The mean; NaN of nothing.
pub(crate) fn mean(x: &[f64]) -> f64 {
    if x.is_empty() { f64::NAN } else { x.iter().sum::<f64>() / x.len() as f64 }
}
