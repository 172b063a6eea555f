//! Adjust the significance of every model in every ROI over all of them: step-down max-T, and the shares of
//! false claims of Benjamini–Hochberg and Benjamini–Yekutieli beside it.
//!
//! Cells are the models with null draws × the unmasked ROIs. Draw b moves the same samples for every
//! model and ROI, so the dependence between cells is kept. Models with different numbers of draws are
//! adjusted on the draws that all of them have, the first ones.
//! Source: Westfall & Young 1993; Benjamini & Hochberg 1995; Benjamini & Yekutieli 2001; specs: nfas-dmd 11.5. Cost: O(draws·models·ROIs) time and memory (4 bytes
//! each).

use super::table::Space;
use super::{MaxTRow, Multiplicity, RepresentationScores, Severity, Warning, settle};
use crate::data::Result;
use crate::stats::multiplicity::{benjamini_hochberg, benjamini_yekutieli, holm, max_t};

/// Adjusted p-values and what must be known of them.
pub(super) struct Adjusted {
    pub rows: Vec<MaxTRow>,
    pub warning: Option<Warning>,
}

pub(super) fn max_t_rows(
    space: &Space,
    scores: &RepresentationScores,
    multiplicity: Multiplicity,
) -> Result<Adjusted> {
    let n_rois = space.rois.len();
    let n_draws = |i: usize| scores.null[i].as_ref().map_or(0, |null| null.len() / n_rois.max(1));
    let models: Vec<usize> = space.models.iter().copied().filter(|&i| n_draws(i) > 0).collect();
    let fewest = models.iter().map(|&i| n_draws(i)).min().unwrap_or(0);
    let most = models.iter().map(|&i| n_draws(i)).max().unwrap_or(0);
    let cells: Vec<(usize, usize)> =
        models.iter().flat_map(|&i| space.unmasked.iter().map(move |&j| (i, j))).collect();
    if cells.is_empty() {
        return Ok(Adjusted { rows: Vec::new(), warning: None });
    }
    let observed: Vec<f64> = cells.iter().map(|&cell| scores.r[cell]).collect();
    let mut null = Vec::with_capacity(fewest * cells.len());
    for draw in 0..fewest {
        null.extend(cells.iter().map(|&(i, j)| match &scores.null[i] {
            Some(values) => values[draw * n_rois + j],
            None => f32::NAN,
        }));
    }
    let found = settle(max_t(&observed, &null))?.ok();
    let single: Vec<f64> = found.as_ref().map(|f| f.p_value.clone()).unwrap_or_default();
    let stepped: Vec<f64> = found.map(|f| f.p_adjusted).unwrap_or_default();
    let (q_bh, q_by) = (benjamini_hochberg(&single), benjamini_yekutieli(&single));
    let chosen = match multiplicity {
        Multiplicity::None => single.clone(),
        Multiplicity::MaxT => stepped.clone(),
        Multiplicity::Holm => holm(&single),
        Multiplicity::Bh => q_bh.clone(),
        Multiplicity::By => q_by.clone(),
    };
    let mut cell = 0;
    let mut rows = Vec::with_capacity(models.len() * n_rois);
    for &i in &models {
        for &j in &space.rois {
            let mut row = MaxTRow {
                space: space.input.space.clone(),
                representation: scores.representation.clone(),
                model: space.model(i).name.clone(),
                roi: space.input.rois[j].clone(),
                p: f64::NAN,
                p_max_t: f64::NAN,
                q_bh: f64::NAN,
                q_by: f64::NAN,
                p_adj: f64::NAN,
                n_permutations: fewest,
            };
            if !space.input.masked[j] {
                if !single.is_empty() {
                    row.p = single[cell];
                    row.p_max_t = stepped[cell];
                    row.q_bh = q_bh[cell];
                    row.q_by = q_by[cell];
                    row.p_adj = chosen[cell];
                }
                cell += 1;
            }
            rows.push(row);
        }
    }
    let warning = (fewest < most).then(|| Warning {
        severity: Severity::Note,
        code: "null_draws_differ".into(),
        text: format!(
            "Space `{}`, `{}`: models have between {fewest} and {most} null draws; p-values adjusted over \
             models use the first {fewest} of each.",
            space.input.space, scores.representation
        ),
    });
    Ok(Adjusted { rows, warning })
}
