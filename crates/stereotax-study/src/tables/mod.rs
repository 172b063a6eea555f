//! Turn finished nodes into spaces, group statistics and the tables of `results/`.

mod depth;
mod encoding;
mod findings;
mod groups;
mod manifest;
mod places;
mod scores;
mod similarity;
mod spaces;

use std::collections::BTreeMap;

use serde_json::Value;
use stereotax::data::Monitor;
use stereotax::pipelines::Representation;
use stereotax::pipelines::depth::DepthResult;
use stereotax::pipelines::group::compare_groups;
use stereotax::stats::score::ScoreKind;
use stereotax_io::Table;

use crate::inputs::Inputs;
use crate::plan::Grid;
use crate::run::{Worker, sorted};
use crate::summary::{Ceilings, Summary};
use crate::{Finding, Study, StudyError, settings};
use depth::{models_table, spectra_table, weights_table};
use encoding::encoding_tables;
use findings::edge_note;
use manifest::manifest;
use places::{rois_table, surface_tables, volume_tables};
use scores::{bands_table, multiverse_table, scores_table};
use similarity::similarity_tables;
use spaces::{space_names, spaces};

pub use findings::{as_finding, depth_findings, edge_finding, no_ceiling, verdict_words};
pub use groups::group_tables;
pub(crate) use manifest::{of_nfas, references};
pub use spaces::{point_status, show_scores_without_point};

/// Everything that was computed, read back and averaged over subjects.
pub(crate) struct Scored {
    /// Per benchmark.
    pub(crate) ceilings: Vec<Ceilings>,
    /// Per benchmark and nuisance set.
    pub(crate) nuisance: Vec<Vec<Option<Summary>>>,
    /// Per pair: the depth fit, and every representation that could be scored.
    pub(crate) pairs: Vec<(Option<DepthResult>, BTreeMap<Representation, Summary>)>,
}

/// What `results/` holds.
pub(crate) struct Made {
    pub(crate) tables: BTreeMap<String, Table>,
    pub(crate) manifest: Value,
    pub(crate) findings: Vec<Finding>,
}

pub(crate) fn make(worker: &Worker<'_>, scored: &Scored) -> Result<Made, StudyError> {
    let (study, inputs, grid) = (worker.study, worker.inputs, worker.grid);
    let mut findings = inputs.findings.clone();
    let space_of = space_names(inputs);
    let mut tables = match study.file.wants_nfas {
        true => nfas_tables(study, inputs, grid, scored, &space_of, &mut findings, worker.monitor)?,
        false => BTreeMap::from([(
            "models".to_owned(),
            models_table(study, inputs, grid, scored, &space_of, &mut Vec::new()),
        )]),
    };
    tables.extend(encoding_tables(worker, scored, &mut findings)?);
    tables.extend(similarity_tables(worker, &mut findings)?);
    tables.insert("rois".into(), rois_table(inputs, &scored.ceilings, &space_of));
    tables.extend(surface_tables(inputs, &space_of));
    tables.extend(volume_tables(inputs, &space_of));
    if let Some(caveat) = study.file.preset.caveat().filter(|_| study.file.wants_nfas) {
        findings.push(Finding::note("reconstruction", caveat));
    }
    let findings = sorted(findings);
    let manifest = manifest(study, inputs, &findings);
    Ok(Made { tables, manifest, findings })
}

/// Spaces, group statistics and the tables of NFAS.
fn nfas_tables(
    study: &Study,
    inputs: &Inputs,
    grid: &Grid,
    scored: &Scored,
    space_of: &[String],
    findings: &mut Vec<Finding>,
    monitor: &Monitor,
) -> Result<BTreeMap<String, Table>, StudyError> {
    let analysis = &study.file.analysis;
    let kind = settings::score_kind(analysis.score);
    let ceilings = &scored.ceilings;
    edge_note(inputs, grid, scored, findings);
    let spaces = spaces(study, inputs, grid, scored);
    let params = settings::group(analysis, study.file.seed);
    let mut group =
        compare_groups(&spaces, &params, monitor).map_err(StudyError::in_context("group statistics"))?;
    show_scores_without_point(&spaces, &mut group);
    findings.extend(group.warnings.iter().map(as_finding));
    if kind == ScoreKind::Ceil && ceilings.iter().any(|c| c.status != "ok") {
        findings.push(no_ceiling());
    }
    let mut tables = group_tables(&group);
    tables.insert("models".into(), models_table(study, inputs, grid, scored, space_of, findings));
    tables.insert("scores".into(), scores_table(study, inputs, grid, &group, scored, kind));
    tables.insert("bands".into(), bands_table(inputs, grid, scored));
    tables.insert("spectra".into(), spectra_table(inputs, grid, scored));
    tables.insert("weights".into(), weights_table(inputs, grid, scored));
    tables.insert("multiverse".into(), multiverse_table(inputs, grid, scored));
    Ok(tables)
}

/// Build columns from rows by one closure each.
macro_rules! table {
    ($rows:expr; $($kind:ident $name:ident = $of:expr),+ $(,)?) => {{
        let rows = &$rows;
        Table::new()$(.$kind(stringify!($name), rows.iter().map($of)))+
    }};
}

use table;

/// The word that a setting has in the study file, as in `energy:0.99`.
pub fn word(setting: &impl serde::Serialize) -> String {
    fn of(value: &Value) -> String {
        match value {
            Value::String(word) => word.clone(),
            Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |x| x.to_string()),
            Value::Object(one) if one.len() == 1 => match one.iter().next() {
                // The argument may have a name of its own, which the study file does not say.
                Some((word, Value::Object(named))) if named.len() == 1 => {
                    format!("{word}:{}", named.values().map(of).collect::<String>())
                }
                Some((word, argument)) => format!("{word}:{}", of(argument)),
                None => String::new(),
            },
            other => other.to_string(),
        }
    }
    serde_json::to_value(setting).map(|value| of(&value)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax::dynamics::{Estimator, RankRule, Selection};

    #[test]
    fn settings_are_told_in_the_words_of_the_study_file() {
        assert_eq!(word(&RankRule::Energy(0.99)), "energy:0.99");
        assert_eq!(word(&RankRule::Full), "full");
        assert_eq!(word(&Selection::MaxEnergyInBand { gain: 2.0 }), "max_energy_in_band:2");
        assert_eq!(word(&Estimator::Bagged { n_bags: 100 }), "bagged:100");
        assert_eq!(word(&crate::config::LayerMap::Procrustes), "procrustes");
    }
}
