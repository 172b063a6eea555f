//! Read the choices of `[analysis.similarity]`.

use stereotax::similarity::{MEASURES, measure, needs_factors_alone, select};

use super::choices::read_design;
use super::encoding::read_layers;
use super::reader::Reader;
use super::study::{Benchmark, Clock, Model, NfasSettings, SimilaritySettings, SubjectMode, Voxels};
use super::words::MULTIPLICITY;
use crate::hints::nearest;

pub(super) const SIMILARITY: &[&str] =
    &["layers", "measures", "bootstraps", "permutations", "multiplicity", "map", "subjects", "networks"];

/// Keys that it shares with the other analyses; they may stand in one of their tables.
pub(crate) const SHARED_WITH_SIMILARITY: &[&str] = &["subjects", "networks"];

/// Fewest permutations that a p-value is given for.
const FEWEST: usize = 99;

/// Read the table; what all analyses share goes into `shared`.
pub(super) fn read_similarity(
    t: &Reader<'_>,
    others: &[&Reader<'_>],
    shared: &mut NfasSettings,
    brain: &[Benchmark],
    models: &[Model],
) -> SimilaritySettings {
    let mut s = SimilaritySettings::default();
    for key in SHARED_WITH_SIMILARITY {
        if t.get(key).is_some() && others.iter().any(|other| other.get(key).is_some()) {
            t.problem(
                key,
                format!("`{key}` stands in [analysis.similarity] and in another analysis, which share it"),
                "say it in one of them",
            );
        }
    }
    read_design(t, shared);
    s.layers = read_layers(t, models);
    if let Some(value) = t.get("measures")
        && let Some(words) = value.texts()
    {
        match select(&words, usize::MAX, usize::MAX) {
            Ok(chosen) => s.measures = chosen.iter().map(|m| m.id.to_owned()).collect(),
            Err(_) => {
                for word in words.iter().filter(|word| select(&[word], usize::MAX, usize::MAX).is_err()) {
                    unknown_measure(t, "measures", word, |_| true);
                }
            }
        }
    }
    t.count("bootstraps", &mut s.bootstraps, 100, 10_000_000);
    t.count("permutations", &mut s.permutations, 0, 10_000_000);
    if (1..FEWEST).contains(&s.permutations) {
        let message = format!("`permutations` is {}, but 0 or at least {FEWEST} expected", s.permutations);
        t.problem("permutations", message, "0 gives neither chance levels nor p-values");
    }
    t.form("multiplicity", &mut s.multiplicity, MULTIPLICITY);
    if let Some(word) = t.get("map").and_then(|v| v.text()) {
        s.map = match word.as_str() {
            "none" => None,
            id if may_be_mapped(id) => Some(word),
            id => {
                unknown_measure(t, "map", id, may_be_mapped);
                None
            }
        };
    }
    check(t, shared, brain);
    s
}

/// Whether distances of that name can be drawn as a map.
fn may_be_mapped(id: &str) -> bool {
    measure(id).is_ok_and(|m| m.metric && needs_factors_alone(m))
}

fn unknown_measure(t: &Reader<'_>, key: &str, word: &str, fits: impl Fn(&str) -> bool) {
    let ids: Vec<&str> = MEASURES.iter().map(|m| m.id).filter(|id| fits(id)).collect();
    let hint = nearest(word, ids.iter().copied())
        .map_or_else(|| format!("known here: {}", ids.join(", ")), |near| format!("did you mean `{near}`?"));
    let what = if key == "map" { "no distance that can be drawn" } else { "no measure" };
    t.problem(key, format!("`{key}` names `{word}`, which is {what}"), &hint);
}

fn check(t: &Reader<'_>, shared: &NfasSettings, brain: &[Benchmark]) {
    if let Some(series) = brain.iter().find(|b| matches!(b.clock, Clock::Tr { .. })) {
        let message = format!(
            "similarity compares responses to stimuli, but benchmark `{}` is a time series",
            series.id
        );
        t.problem("", message, "estimate one response per stimulus beforehand, or encode the series");
    }
    let labelled = |b: &&Benchmark| matches!(b.voxels, Voxels::Labels(_));
    if let (SubjectMode::GroupMean, Some(b)) = (shared.subjects, brain.iter().find(labelled)) {
        let message = format!(
            "`subjects = \"group_mean\"` averages patterns, but the voxels of benchmark `{}` differ between subjects",
            b.id
        );
        t.problem("subjects", message, "use `subjects = \"each\"`");
    }
}
