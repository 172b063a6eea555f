//! The tables of the scores, of their bands, and of the scores under other choices.

use std::collections::BTreeMap;

use stereotax::data::TileSource;
use stereotax::pipelines::Representation;
use stereotax::pipelines::group::{GroupResult, MaxTRow};
use stereotax::stats::score::ScoreKind;
use stereotax_io::Table;

use super::table;
use super::{Scored, word};
use crate::inputs::{BenchmarkInput, Inputs};
use crate::plan::Grid;
use crate::summary::{Ceilings, SubjectScores, Summary, mean};
use crate::{Study, settings};

fn score_name(kind: ScoreKind) -> &'static str {
    match kind {
        ScoreKind::R2 => "r2",
        ScoreKind::Signed => "signed",
        ScoreKind::Clipped => "clipped",
        ScoreKind::Ceil => "ceiling",
        ScoreKind::Debiased => "debiased",
    }
}

#[expect(clippy::too_many_lines, reason = "one flat list of rows is easier to follow in one place")]
pub(super) fn scores_table(
    study: &Study,
    inputs: &Inputs,
    grid: &Grid,
    group: &GroupResult,
    scored: &Scored,
    kind: ScoreKind,
) -> Table {
    struct Row<'a> {
        model: &'a str,
        modality: &'a str,
        family: &'a str,
        benchmark: &'a BenchmarkInput,
        ceiling: &'a Ceilings,
        representation: String,
        layer: Option<&'a str>,
        /// `None`: the mean over subjects.
        subject: Option<usize>,
        /// `None`: the mean over unmasked ROIs.
        roi: Option<usize>,
        summary: &'a Summary,
        adjusted: Option<&'a MaxTRow>,
    }
    let adjusted: BTreeMap<(&str, &str, &str), &MaxTRow> = group
        .max_t
        .iter()
        .map(|r| ((r.representation.as_str(), r.model.as_str(), r.roi.as_str()), r))
        .collect();
    let mut rows: Vec<Row> = Vec::new();
    for (pair, (_, summaries)) in grid.pairs.iter().zip(&scored.pairs) {
        let benchmark = &inputs.benchmarks[pair.benchmark];
        let about = &inputs.models[pair.model].model;
        let layers = inputs.models[pair.model].activations[pair.activation].layers.layers();
        let mut named: Vec<(String, Option<&str>, &Summary)> = Vec::new();
        for (representation, summary) in summaries {
            match representation {
                Representation::Alternative(_) => continue,
                Representation::Layer(layer) => {
                    let name = layers[*layer].name.as_str();
                    named.push((representation.name(), Some(name), summary));
                    if *layer == 0 {
                        named.push(("first_layer".into(), Some(name), summary));
                    }
                    if layer + 1 == layers.len() {
                        named.push(("last_layer".into(), Some(name), summary));
                    }
                }
                other => named.push((other.name(), None, summary)),
            }
        }
        for (nuisance, summary) in benchmark.nuisance.iter().zip(&scored.nuisance[pair.benchmark]) {
            if let Some(summary) = summary {
                named.push((format!("nuisance:{}", nuisance.name), None, summary));
            }
        }
        named.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        for (representation, layer, summary) in named {
            // Single layers and shuffles are told by their means; a thousand rows say no more.
            let by_subject = !(representation == "layer" || representation.starts_with("shuffled_"));
            let subjects = if by_subject { summary.subjects.len() } else { 0 };
            for subject in std::iter::once(None).chain((0..subjects).map(Some)) {
                let mean_row = subject.is_none().then_some(None);
                for roi in (0..benchmark.rois.len()).map(Some).chain(mean_row) {
                    let adjusted = roi.filter(|_| subject.is_none()).and_then(|roi| {
                        let roi = benchmark.rois[roi].roi.as_str();
                        adjusted.get(&(representation.as_str(), about.name.as_str(), roi)).copied()
                    });
                    rows.push(Row {
                        model: &about.name,
                        modality: &about.modality,
                        family: &about.family,
                        benchmark,
                        ceiling: &scored.ceilings[pair.benchmark],
                        adjusted,
                        representation: representation.clone(),
                        layer,
                        subject,
                        roi,
                        summary,
                    });
                }
            }
        }
    }
    // The value of a row: of one ROI, or averaged over the unmasked ones.
    let over = |r: &Row, of: &dyn Fn(usize) -> f64| match r.roi {
        Some(roi) => of(roi),
        None => {
            let kept = (0..r.ceiling.masked.len()).filter(|&j| !r.ceiling.masked[j]).map(of);
            mean(&kept.filter(|x| !x.is_nan()).collect::<Vec<_>>())
        }
    };
    // The same, averaged over subjects where the row is of none in particular.
    let value = |r: &Row, of: &dyn Fn(&SubjectScores, usize) -> f64| match r.subject {
        Some(s) => over(r, &|j| of(&r.summary.subjects[s], j)),
        None => over(r, &|j| {
            let values = r.summary.subjects.iter().map(|s| of(s, j)).filter(|x| !x.is_nan());
            mean(&values.collect::<Vec<_>>())
        }),
    };
    let ceiling = |r: &Row| match r.subject {
        Some(s) => over(r, &|j| r.ceiling.subjects[s][j]),
        None => over(r, &|j| r.ceiling.mean[j]),
    };
    let n_eff = |r: &Row| value(r, &|s, j| s.n_eff[j]);
    let score = |r: &Row| match r.subject {
        Some(s) => over(r, &|j| r.summary.subjects[s].score[j]),
        None => over(r, &|j| r.summary.score[j]),
    };
    let p = |r: &Row| match (r.subject, r.roi) {
        (Some(s), Some(j)) => r.summary.subjects[s].p[j],
        (None, Some(j)) if r.summary.subjects.len() == 1 => r.summary.subjects[0].p[j],
        _ => f64::NAN,
    };
    table!(rows;
        text model = |r| Some(r.model.to_owned()),
        text modality = |r| Some(r.modality.to_owned()),
        text family = |r| Some(r.family.to_owned()),
        text benchmark = |r| Some(r.benchmark.id.clone()),
        text subject = |r| Some(r.subject.map_or("(mean)".to_owned(), |s| r.benchmark.subjects[s].id.clone())),
        text roi = |r| Some(r.roi.map_or("(mean)".to_owned(), |j| r.benchmark.rois[j].roi.clone())),
        text representation = |r| Some(r.representation.clone()),
        text layer = |r| r.layer.map(str::to_owned),
        number time_s = |_| None,
        text measure = |_| Some("encoding"),
        number r = |r| Some(match r.subject {
            Some(s) => over(r, &|j| r.summary.subjects[s].r[j]),
            None => over(r, &|j| r.summary.r[j]),
        }),
        number score = |r| Some(score(r)),
        text score_kind = |_| Some(score_name(kind)),
        number ceiling = |r| Some(ceiling(r)),
        text ceiling_kind = |r| Some(r.ceiling.kind.clone()),
        number chance = |r| Some(1.0 / n_eff(r)).filter(|c| c.is_finite()),
        integer n = |r| Some(value(r, &|s, _| s.n) as i64),
        number n_eff = |r| Some(n_eff(r)),
        number p = |r| Some(p(r)),
        number p_adj = |r| r.adjusted.map(|a| a.p_adj),
        text adjustment = |r| r.adjusted.map(|_| settings::group(&study.file.analysis, 0).multiplicity.name()),
        number p_max_t = |r| r.adjusted.map(|a| a.p_max_t),
        number q_bh = |r| r.adjusted.map(|a| a.q_bh),
        number q_by = |r| r.adjusted.map(|a| a.q_by),
        number alpha = |r| Some(value(r, &|s, j| s.alpha[j])),
        text status = |r| Some(if score(r).is_nan() {
            if r.ceiling.status != "ok" && kind == ScoreKind::Ceil {
                r.ceiling.status.clone()
            } else {
                "undefined: prediction or response does not vary".to_owned()
            }
        } else {
            "ok".to_owned()
        }),
    )
}

/// How the bands of a banded ridge share the joint R², per subject and averaged over subjects.
pub(super) fn bands_table(inputs: &Inputs, grid: &Grid, scored: &Scored) -> Table {
    struct Row<'a> {
        model: &'a str,
        benchmark: &'a BenchmarkInput,
        subject: &'a str,
        roi: usize,
        representation: String,
        band: usize,
        r2: f64,
        joint: f64,
        weight: f64,
    }
    let mut rows: Vec<Row> = Vec::new();
    for (pair, (_, cells)) in grid.pairs.iter().zip(&scored.pairs) {
        let benchmark = &inputs.benchmarks[pair.benchmark];
        let model = inputs.models[pair.model].model.name.as_str();
        let (n_rois, n_bands) = (benchmark.rois.len(), 1 + benchmark.nuisance.len());
        for (representation, summary) in cells {
            // Single layers, shuffles and the multiverse are told by their scores.
            let Some(parts) = summary.split.as_ref().filter(|_| representation.keeps_draws(0)) else {
                continue;
            };
            let over = |of: &dyn Fn(&[Vec<f64>; 3]) -> f64| {
                let defined: Vec<f64> = parts.iter().map(of).filter(|x| !x.is_nan()).collect();
                mean(&defined)
            };
            for subject in std::iter::once(None).chain((0..parts.len()).map(Some)) {
                for roi in 0..n_rois {
                    for band in 0..n_bands {
                        let at = band * n_rois + roi;
                        let value = |of: &dyn Fn(&[Vec<f64>; 3]) -> f64| match subject {
                            Some(s) => of(&parts[s]),
                            None => over(of),
                        };
                        rows.push(Row {
                            model,
                            benchmark,
                            subject: subject.map_or("(mean)", |s| benchmark.subjects[s].id.as_str()),
                            roi,
                            representation: representation.name(),
                            band,
                            r2: value(&|p| p[0][at]),
                            joint: value(&|p| p[1][roi]),
                            weight: value(&|p| p[2][at]),
                        });
                    }
                }
            }
        }
    }
    table!(rows;
        text model = |r| Some(r.model), text benchmark = |r| Some(r.benchmark.id.clone()),
        text subject = |r| Some(r.subject), text roi = |r| Some(r.benchmark.rois[r.roi].roi.clone()),
        text representation = |r| Some(r.representation.clone()),
        text band = |r| Some(match r.band {
            0 => "representation",
            band => r.benchmark.nuisance[band - 1].name.as_str(),
        }),
        number r2 = |r| Some(r.r2), number joint_r2 = |r| Some(r.joint), number weight = |r| Some(r.weight),
        text status = |r| Some(if r.r2.is_nan() { "undefined: the response does not vary" } else { "ok" }),
    )
}

pub(super) fn multiverse_table(inputs: &Inputs, grid: &Grid, scored: &Scored) -> Table {
    struct Row<'a> {
        model: &'a str,
        benchmark: &'a str,
        alternative: &'a stereotax::pipelines::depth::Alternative,
        score: f64,
        versus_mean: f64,
    }
    let mut rows: Vec<Row> = Vec::new();
    for (pair, (depth, summaries)) in grid.pairs.iter().zip(&scored.pairs) {
        let Some(depth) = depth else { continue };
        let masked = &scored.ceilings[pair.benchmark].masked;
        let average = |representation: &Representation| {
            summaries.get(representation).map_or(f64::NAN, |summary| {
                let kept: Vec<f64> = (0..masked.len())
                    .filter(|&j| !masked[j])
                    .map(|j| summary.score[j])
                    .filter(|x| !x.is_nan())
                    .collect();
                mean(&kept)
            })
        };
        let layer_mean = average(&Representation::LayerMean);
        for (index, alternative) in depth.alternatives.iter().enumerate() {
            let score = average(&Representation::Alternative(index));
            rows.push(Row {
                model: &inputs.models[pair.model].model.name,
                benchmark: &inputs.benchmarks[pair.benchmark].id,
                alternative,
                score,
                versus_mean: score - layer_mean,
            });
        }
    }
    table!(rows;
        text model = |r| Some(r.model), text benchmark = |r| Some(r.benchmark),
        text trajectory = |_| Some("stacked"),
        text scale = |r| Some(word(&r.alternative.scaling)),
        text select = |r| Some(word(&r.alternative.dmd.select)),
        text rank = |r| Some(word(&r.alternative.dmd.rank)),
        text estimator = |r| Some(word(&r.alternative.dmd.estimator)),
        number score = |r| Some(r.score),
        number versus_layer_mean = |r| Some(r.versus_mean),
        number lambda_re = |r| r.alternative.re, number lambda_im = |r| r.alternative.im,
        text status = |r| Some(r.alternative.status.clone()),
    )
}
