//! Test whether the models of different modalities lie apart, in several ways that can disagree.
//!
//! For the trained models that take part: PERMANOVA (F and the heteroscedastic F2), each pair of
//! modalities with Holm's adjustment, PERMDISP beside it (a difference in spread can pass for one in place),
//! silhouette, one-way analysis of variance of the models' mean scores with pairs by Holm and by Tukey,
//! two-way analysis over networks,
//! PERMANOVA on a second distance (correlation forgets the level, Euclid keeps it), and PERMANOVA without
//! each family in turn. Where modalities do not share benchmarks: PERMANOVA on scores divided by the
//! ceilings, and on ranks.
//!
//! Labels are exchanged as `restricted` says. Where that allows no p-value of 0.05 or below they are
//! exchanged freely, and the row says so.
//! Source: specs: nfas-dmd 11 and 13.4. Cost: O(tests·permutations·models²).

use std::collections::BTreeSet;

use faer::Mat;

use super::consistency::{models as count_models, networks};
use super::table::{Space, Table};
use super::{
    CoordinateKind, GroupParams, ModelInfo, Restriction, Severity, TestRow, Warning, settle, status_of,
};
use crate::data::{Labels, Monitor, Result};
use crate::stats::anova::{one_way, two_way};
use crate::stats::distance::{DistanceKind, Distances};
use crate::stats::multiplicity::holm;
use crate::stats::permanova::{Permanova, permanova};
use crate::stats::permdisp::{PermdispParams, permdisp};
use crate::stats::shuffles::{Exchange, PermutationParams, PermutationSupport, Shuffles};
use crate::stats::silhouette::silhouette_test;
use crate::stats::snci::network_means;
use crate::stats::summary::{mean, row};
use crate::stats::tukey::tukey;

/// Most relabellings that are visited one by one.
const EXACT_UP_TO: usize = 100_000;

const MODALITY: &str = "modality";

/// Which modalities share no benchmark.
pub(super) struct Confound {
    /// Pairs of modalities without a common benchmark.
    apart: Vec<(String, String)>,
    /// Whether no two modalities share one.
    all: bool,
    /// "audio: narratives; vision: algonauts".
    listing: String,
}

/// Find out whether modality and benchmark can be told apart.
pub(super) fn benchmarks_apart(space: &Space) -> Confound {
    let modalities = space.modalities();
    let benchmarks: Vec<BTreeSet<&str>> = modalities
        .iter()
        .map(|name| {
            let of_modality = space.trained().filter(|&i| space.model(i).modality == *name);
            of_modality.flat_map(|i| space.model(i).benchmark.split('+').map(str::trim)).collect()
        })
        .collect();
    let mut apart = Vec::new();
    let mut n_pairs = 0;
    for a in 0..modalities.len() {
        for b in a + 1..modalities.len() {
            n_pairs += 1;
            if benchmarks[a].is_disjoint(&benchmarks[b]) {
                apart.push((modalities[a].to_owned(), modalities[b].to_owned()));
            }
        }
    }
    let listing: Vec<String> = modalities
        .iter()
        .zip(&benchmarks)
        .map(|(name, of)| format!("{name}: {}", of.iter().copied().collect::<Vec<_>>().join(" and ")))
        .collect();
    Confound { all: n_pairs > 0 && apart.len() == n_pairs, apart, listing: listing.join("; ") }
}

impl Confound {
    pub fn warning(&self, space: &Space) -> Option<Warning> {
        let space = &space.input.space;
        if self.apart.is_empty() {
            return None;
        }
        let remedy = "Remedies: score every model on every benchmark that it can take (captions, transcripts \
                      or the sound of the same stimulus); read the contrasts `ceiling-normalised` and `ranks \
                      of ROIs`, and believe no separation that does not survive there; compare with \
                      untrained twins on the same benchmark.";
        Some(if self.all {
            Warning {
                severity: Severity::Serious,
                code: "benchmark_is_modality".into(),
                text: format!(
                    "Space `{space}`: every modality was scored on benchmarks of its own ({}). A difference \
                     between modalities may then be a difference between data sets: their ceilings, \
                     lengths and subjects. No permutation test can tell the two apart. {remedy}",
                    self.listing
                ),
            }
        } else {
            let pairs: Vec<String> = self.apart.iter().map(|(a, b)| format!("{a} and {b}")).collect();
            Warning {
                severity: Severity::Warning,
                code: "benchmark_partly_modality".into(),
                text: format!(
                    "Space `{space}`: {} share no benchmark ({}). A difference between them may be a \
                     difference between data sets. {remedy}",
                    pairs.join(", "),
                    self.listing
                ),
            }
        })
    }
}

/// Rows and warnings of one representation.
#[derive(Default)]
pub(super) struct Compared {
    pub tests: Vec<TestRow>,
    pub warnings: Vec<Warning>,
}

/// Models that are compared, with their labels.
struct Groups {
    /// Positions in the space, by name.
    models: Vec<usize>,
    modality: Labels,
    family: Labels,
    benchmark: Labels,
    /// Modalities that were left out.
    notes: Vec<String>,
}

/// Permutations of one set of groups.
struct Permutations {
    params: PermutationParams,
    /// Why the restriction asked for was dropped.
    dropped: Option<String>,
}

pub(super) fn comparisons(
    table: &Table,
    confound: &Confound,
    params: &GroupParams,
    monitor: &Monitor,
) -> Result<Compared> {
    let mut found = Compared::default();
    let rows = &mut found.tests;
    let second = match (params.embedding, params.distance) {
        (CoordinateKind::Response, _) => {
            (CoordinateKind::Score, DistanceKind::Euclidean, "modality, euclidean distance of scores")
        }
        (kind, DistanceKind::Correlation) => (kind, DistanceKind::Euclidean, "modality, euclidean distance"),
        (kind, _) => (kind, DistanceKind::Correlation, "modality, correlation distance"),
    };
    let groups = match groups(table, &table.models, params) {
        Ok(groups) => groups,
        Err(reason) => {
            for test in ["permanova", "permanova_f2", "permdisp", "silhouette", "anova", "anova_two_way"] {
                rows.push(undefined(table, test, MODALITY, table.models.len(), &reason));
            }
            return Ok(found);
        }
    };
    let permutations = permutations(&groups, params)?;
    if let Some(reason) = &permutations.dropped {
        found.warnings.push(Warning {
            severity: Severity::Warning,
            code: "restriction_dropped".into(),
            text: format!(
                "Space `{}`, `{}`: {reason}. Models of one family are no independent witnesses: p-values \
                 of these tests are smaller than they should be.",
                table.space.input.space,
                table.representation()
            ),
        });
    }
    for note in &groups.notes {
        found.warnings.push(Warning {
            severity: Severity::Warning,
            code: "modality_too_small".into(),
            text: format!("Space `{}`, `{}`: {note}.", table.space.input.space, table.representation()),
        });
    }

    match measured(table, &groups, params.embedding, params.distance, params)? {
        Err(reason) => {
            for test in ["permanova", "permanova_f2", "permdisp", "silhouette"] {
                rows.push(undefined(table, test, MODALITY, groups.models.len(), &reason));
            }
        }
        Ok(measured) => {
            let located = location_rows(rows, table, &measured, params, monitor)?;
            let spread = spread_rows(rows, table, &measured, params, monitor)?;
            if located <= 0.05 && spread <= 0.05 {
                found.warnings.push(Warning {
                    severity: Severity::Warning,
                    code: "dispersion_differs".into(),
                    text: format!(
                        "Space `{}`, `{}`: modalities differ in spread too (PERMDISP p = {spread:.3}). \
                         PERMANOVA may answer to spread rather than place; read `permanova_f2`.",
                        table.space.input.space,
                        table.representation()
                    ),
                });
            }
        }
    }
    anova_rows(rows, table, &groups, params, monitor)?;
    rows.push(permanova_row(table, &groups, second.0, second.1, second.2, params, monitor)?);
    if !confound.apart.is_empty() {
        rows.push(ceiling_row(table, &groups, params, monitor)?);
        let (kind, contrast) = (CoordinateKind::Rank, "ranks of ROIs");
        rows.push(permanova_row(table, &groups, kind, params.distance, contrast, params, monitor)?);
    }
    if params.leave_one_family_out {
        rows.extend(without_family_rows(table, &groups, params, monitor)?);
    }
    Ok(found)
}

/// Group models by modality, without modalities that are too small.
fn groups(table: &Table, models: &[usize], params: &GroupParams) -> std::result::Result<Groups, String> {
    let space = table.space;
    if space.unmasked.is_empty() {
        return Err("every ROI is masked".into());
    }
    let least = params.min_models.max(1);
    let (mut kept, mut notes, mut n_kept) = (Vec::new(), Vec::new(), 0);
    let all = space.modalities();
    for name in &all {
        let members: Vec<usize> =
            models.iter().copied().filter(|&i| space.model(i).modality == *name).collect();
        if members.len() < least {
            let has = count_models(members.len());
            notes
                .push(format!("{name} has {has} and is left out of the tests (at least {least} are needed)"));
        } else {
            n_kept += 1;
            kept.extend(members);
        }
    }
    if n_kept < 2 {
        if all.len() < 2 {
            return Err("only one modality".into());
        }
        let few: Vec<String> = all
            .iter()
            .map(|name| {
                let n = models.iter().filter(|&&i| space.model(i).modality == *name).count();
                format!("{name} has {}", count_models(n))
            })
            .collect();
        return Err(format!(
            "a comparison needs two modalities of {least} models or more: {}",
            few.join(", ")
        ));
    }
    // Back to the order of names.
    kept.sort_by(|&a, &b| space.model(a).name.cmp(&space.model(b).name));
    if kept.len() <= n_kept {
        return Err("every modality has one model: there is no spread within".into());
    }
    Ok(labelled(table, kept, notes))
}

fn labelled(table: &Table, models: Vec<usize>, notes: Vec<String>) -> Groups {
    let labels = |of: fn(&ModelInfo) -> &str| {
        Labels::new(&models.iter().map(|&i| of(table.space.model(i))).collect::<Vec<_>>())
    };
    Groups {
        modality: labels(|info| &info.modality),
        family: labels(|info| &info.family),
        benchmark: labels(|info| &info.benchmark),
        models,
        notes,
    }
}

/// The permutations that the restriction allows, or free ones and why.
fn permutations(groups: &Groups, params: &GroupParams) -> Result<Permutations> {
    let free = PermutationParams {
        n_permutations: params.n_permutations.max(1),
        exact_up_to: if params.exact { EXACT_UP_TO } else { 0 },
        exchange: Exchange::Free,
        seed: params.seed,
    };
    let (exchange, what) = match params.restricted {
        Restriction::Free => return Ok(Permutations { params: free, dropped: None }),
        Restriction::Family => (Exchange::Families(groups.family.clone()), "families as wholes"),
        Restriction::Strata => (Exchange::Strata(groups.benchmark.clone()), "models within benchmarks"),
    };
    let spans = |family: usize| {
        let members = groups.family.members(family);
        members.iter().any(|&i| groups.modality.codes()[i] != groups.modality.codes()[members[0]])
    };
    if params.restricted == Restriction::Family
        && let Some(family) = (0..groups.family.n_groups()).find(|&f| spans(f))
    {
        let name = &groups.family.names()[family];
        let dropped = format!("models were exchanged freely: family {name} has models of several modalities");
        return Ok(Permutations { params: free, dropped: Some(dropped) });
    }
    let restricted = PermutationParams { exchange, ..free.clone() };
    let order: Vec<usize> = (0..groups.models.len()).collect();
    let n_groups = groups.modality.n_groups();
    let shuffles =
        settle(Shuffles::new(groups.modality.codes(), n_groups, &order, &restricted, "count relabellings"))?;
    Ok(match shuffles {
        Ok(shuffles) if least_p(shuffles.support(), groups, params.restricted) <= 0.05 => {
            Permutations { params: restricted, dropped: None }
        }
        Ok(shuffles) => {
            let n = shuffles.support().n_distinct;
            let dropped =
                format!("models were exchanged freely: exchanging {what} leaves {n} distinct labelling(s)");
            Permutations { params: free, dropped: Some(dropped) }
        }
        Err(reason) => {
            Permutations { params: free, dropped: Some(format!("models were exchanged freely: {reason}")) }
        }
    })
}

/// The smallest p-value of a statistic that does not care how groups are named.
///
/// Groups of equally many families may swap their names: each such swap is a labelling that ties with the
/// observed one.
fn least_p(support: &PermutationSupport, groups: &Groups, restriction: Restriction) -> f64 {
    if restriction != Restriction::Family {
        return support.smallest_p;
    }
    let mut n_families = vec![0usize; groups.modality.n_groups()];
    for family in 0..groups.family.n_groups() {
        n_families[groups.modality.codes()[groups.family.members(family)[0]]] += 1;
    }
    n_families.sort_unstable();
    let (mut swaps, mut run) = (1.0, 1.0);
    for pair in n_families.windows(2) {
        run = if pair[0] == pair[1] { run + 1.0 } else { 1.0 };
        swaps *= run;
    }
    support.smallest_p.max(swaps / support.n_distinct)
}

/// Distances between grouped models.
struct Measured {
    distances: Distances,
    groups: Groups,
}

/// Measure distances; models for which they are undefined leave the groups.
fn measured(
    table: &Table,
    groups: &Groups,
    embedding: CoordinateKind,
    distance: DistanceKind,
    params: &GroupParams,
) -> Result<std::result::Result<Measured, String>> {
    let found = match table.distances(&groups.models, embedding, distance, params)? {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    let kept: Vec<usize> = found.objects.iter().map(|&k| groups.models[k]).collect();
    let mut regrouped = match self::groups(table, &kept, params) {
        Ok(regrouped) => regrouped,
        Err(reason) => return Ok(Err(reason)),
    };
    let lost: Vec<&str> =
        found.undefined_objects.iter().map(|&k| table.space.model(groups.models[k]).name.as_str()).collect();
    if !lost.is_empty() {
        regrouped.notes.push(format!("no distance is defined for {}", lost.join(", ")));
    }
    let at: Vec<usize> = (0..kept.len()).filter(|&k| regrouped.models.contains(&kept[k])).collect();
    let names: Vec<&str> = regrouped.models.iter().map(|&i| name(table, i)).collect();
    Ok(settle(found.distances.subset(&at).with_ids(&names))?
        .map(|distances| Measured { distances, groups: regrouped }))
}

fn name<'a>(table: &Table<'a>, model: usize) -> &'a str {
    &table.space.model(model).name
}

/// PERMANOVA with F2 and pairs; returns the p-value of F.
fn location_rows(
    rows: &mut Vec<TestRow>,
    table: &Table,
    measured: &Measured,
    params: &GroupParams,
    monitor: &Monitor,
) -> Result<f64> {
    let groups = &measured.groups;
    let permutations = permutations(groups, params)?;
    let test = permanova(&measured.distances, &groups.modality, &permutations.params, monitor);
    let test = settle(test)?;
    let mut row = blank(table, "permanova", MODALITY, groups.models.len());
    fill_permanova(&mut row, &test, groups, &permutations);
    let p = row.p;
    rows.push(row);
    let mut row = blank(table, "permanova_f2", MODALITY, groups.models.len());
    fill_permanova(&mut row, &test, groups, &permutations);
    row.statistic_name = "F2".into();
    (row.statistic, row.p) = test.as_ref().map_or((f64::NAN, f64::NAN), |t| (t.f2, t.p_value_f2));
    row.p_adj = row.p;
    rows.push(row);
    pair_rows(rows, table, measured, params, monitor)?;
    Ok(p)
}

/// PERMANOVA of every pair of modalities, adjusted by Holm's method.
fn pair_rows(
    rows: &mut Vec<TestRow>,
    table: &Table,
    measured: &Measured,
    params: &GroupParams,
    monitor: &Monitor,
) -> Result<()> {
    let labels = &measured.groups.modality;
    let mut pairs = Vec::new();
    for first in 0..labels.n_groups() {
        for second in first + 1..labels.n_groups() {
            let objects: Vec<usize> =
                (0..labels.n_objects()).filter(|&i| [first, second].contains(&labels.codes()[i])).collect();
            let contrast = format!("{} and {}", labels.names()[first], labels.names()[second]);
            let mut row = blank(table, "permanova_pairwise", &contrast, objects.len());
            row.adjustment = "holm".into();
            let models = objects.iter().map(|&k| measured.groups.models[k]).collect();
            let groups = labelled(table, models, Vec::new());
            let permutations = permutations(&groups, params)?;
            let distances = measured.distances.subset(&objects);
            let test = settle(permanova(&distances, &groups.modality, &permutations.params, monitor))?;
            fill_permanova(&mut row, &test, &groups, &permutations);
            pairs.push(row);
        }
    }
    let adjusted = holm(&pairs.iter().map(|row| row.p).collect::<Vec<_>>());
    pairs.iter_mut().zip(adjusted).for_each(|(row, p)| row.p_adj = p);
    rows.extend(pairs);
    Ok(())
}

/// PERMDISP and silhouette; returns the p-value of PERMDISP.
fn spread_rows(
    rows: &mut Vec<TestRow>,
    table: &Table,
    measured: &Measured,
    params: &GroupParams,
    monitor: &Monitor,
) -> Result<f64> {
    let groups = &measured.groups;
    let permutations = permutations(groups, params)?;
    let mut row = blank(table, "permdisp", MODALITY, groups.models.len());
    row.statistic_name = "F".into();
    let settings = PermdispParams {
        centre: params.dispersion_centre,
        negative_axes: params.dispersion_axes,
        bias_factor: params.dispersion_bias,
        permutations: permutations.params.clone(),
    };
    let mut notes = permutations.notes(groups);
    match settle(permdisp(&measured.distances, &groups.modality, &settings, monitor))? {
        Ok(test) => {
            row.statistic = test.f;
            row.p = test.p_value;
            fill_support(&mut row, &test.support, &mut notes);
            notes.extend(test.reason);
            if !test.converged {
                notes.push("a spatial median did not converge".into());
            }
        }
        Err(reason) => notes.push(reason),
    }
    row.p_adj = row.p;
    row.status = status_of(&notes);
    let p = row.p;
    rows.push(row);

    let mut row = blank(table, "silhouette", MODALITY, groups.models.len());
    row.statistic_name = "mean silhouette".into();
    let mut notes = permutations.notes(groups);
    match settle(silhouette_test(&measured.distances, &groups.modality, &permutations.params, monitor))? {
        Ok(test) => {
            row.statistic = test.observed.mean;
            row.p = test.p_value;
            fill_support(&mut row, &test.support, &mut notes);
            row.p_adj = row.p;
            row.status = status_of(&notes);
            rows.push(row);
            for (c, (name, value)) in groups.modality.names().iter().zip(&test.observed.per_group).enumerate()
            {
                let mut row = blank(table, "silhouette", name, groups.modality.sizes()[c]);
                row.statistic_name = "mean silhouette".into();
                row.statistic = *value;
                row.status = "described, not tested".into();
                rows.push(row);
            }
        }
        Err(reason) => {
            notes.push(reason);
            row.status = status_of(&notes);
            rows.push(row);
        }
    }
    Ok(p)
}

/// Analyses of variance of the scores themselves.
fn anova_rows(
    rows: &mut Vec<TestRow>,
    table: &Table,
    groups: &Groups,
    params: &GroupParams,
    monitor: &Monitor,
) -> Result<()> {
    let n = groups.models.len();
    if table.rois.is_empty() {
        let reason = "no unmasked ROI has a score for every model";
        rows.push(undefined(table, "anova", MODALITY, n, reason));
        rows.push(undefined(table, "anova_two_way", MODALITY, n, reason));
        return Ok(());
    }
    let observed = table.observed(&groups.models);
    let levels: Vec<f64> = (0..n).map(|i| mean(&row(observed.as_ref(), i))).collect();
    let permutations = permutations(groups, params)?;
    let mut line = blank(table, "anova", MODALITY, n);
    line.statistic_name = "F".into();
    let mut notes = permutations.notes(groups);
    match settle(one_way(&levels, &groups.modality, &permutations.params, monitor))? {
        Ok(test) => {
            line.statistic = test.f;
            line.r2 = test.eta2;
            line.p = test.p_value;
            line.p_adj = test.p_value;
            fill_support(&mut line, &test.support, &mut notes);
            if test.f.is_nan() {
                notes.push("all models have the same mean score".into());
            }
            line.status = status_of(&notes);
            rows.push(line);
        }
        Err(reason) => {
            notes.push(reason);
            line.status = status_of(&notes);
            rows.push(line);
        }
    }
    anova_pair_rows(rows, table, groups, &levels, params, monitor)?;
    tukey_rows(rows, table, groups, &levels, params)?;
    two_way_rows(rows, table, groups, params, monitor)
}

/// Differences between two modalities' mean scores, adjusted by Holm's method.
fn anova_pair_rows(
    rows: &mut Vec<TestRow>,
    table: &Table,
    groups: &Groups,
    levels: &[f64],
    params: &GroupParams,
    monitor: &Monitor,
) -> Result<()> {
    let labels = &groups.modality;
    let mut pairs = Vec::new();
    for first in 0..labels.n_groups() {
        for second in first + 1..labels.n_groups() {
            let kept: Vec<usize> =
                (0..labels.n_objects()).filter(|&i| [first, second].contains(&labels.codes()[i])).collect();
            let contrast = format!("{} minus {}", labels.names()[first], labels.names()[second]);
            let mut line = blank(table, "anova_pairwise", &contrast, kept.len());
            line.statistic_name = "difference".into();
            line.adjustment = "holm".into();
            let pair = labelled(table, kept.iter().map(|&k| groups.models[k]).collect(), Vec::new());
            let permutations = permutations(&pair, params)?;
            let values: Vec<f64> = kept.iter().map(|&k| levels[k]).collect();
            let mut notes = permutations.notes(&pair);
            match settle(one_way(&values, &pair.modality, &permutations.params, monitor))? {
                Ok(test) => {
                    line.statistic = test.group_mean[0] - test.group_mean[1];
                    line.r2 = test.eta2;
                    line.p = test.p_value;
                    fill_support(&mut line, &test.support, &mut notes);
                    if test.p_value.is_nan() {
                        notes.push("all models have the same mean score".into());
                    }
                }
                Err(reason) => notes.push(reason),
            }
            line.status = status_of(&notes);
            pairs.push(line);
        }
    }
    let adjusted = holm(&pairs.iter().map(|line| line.p).collect::<Vec<_>>());
    pairs.iter_mut().zip(adjusted).for_each(|(line, p)| line.p_adj = p);
    rows.extend(pairs);
    Ok(())
}

/// Differences between two modalities' mean scores by Tukey's studentised range.
fn tukey_rows(
    rows: &mut Vec<TestRow>,
    table: &Table,
    groups: &Groups,
    levels: &[f64],
    params: &GroupParams,
) -> Result<()> {
    let mut notes = groups.notes.clone();
    if params.restricted == Restriction::Family && groups.family.n_groups() < groups.models.len() {
        notes.push(
            "supposes independent models, but some share a family: `anova_pairwise` moves families as wholes"
                .into(),
        );
    }
    let labels = &groups.modality;
    let sizes = labels.sizes();
    for pair in settle(tukey(levels, labels))?.unwrap_or_default() {
        let of = |name: &str| labels.names().iter().position(|n| n == name).map_or(0, |c| sizes[c]);
        let contrast = format!("{} minus {}", pair.first, pair.second);
        let mut line = blank(table, "anova_tukey", &contrast, of(&pair.first) + of(&pair.second));
        line.statistic_name = "q".into();
        line.adjustment = "tukey".into();
        // Models that differ between modalities only have no finite q.
        line.statistic = if pair.q.is_finite() { pair.q } else { f64::NAN };
        line.p_adj = pair.p_adjusted;
        let mut notes = notes.clone();
        if pair.q.is_nan() {
            notes.push("all models have the same mean score".into());
        } else if pair.q.is_infinite() {
            notes.push("mean scores do not differ within modalities: q is infinite".into());
        }
        line.status = status_of(&notes);
        rows.push(line);
    }
    Ok(())
}

/// Modality × network, on each model's mean score in each network.
fn two_way_rows(
    rows: &mut Vec<TestRow>,
    table: &Table,
    groups: &Groups,
    params: &GroupParams,
    monitor: &Monitor,
) -> Result<()> {
    const TEST: &str = "anova_two_way";
    const TERMS: [&str; 3] = [MODALITY, "network", "modality × network"];
    let n = groups.models.len();
    let space = table.space;
    let outcome = match networks(table) {
        None => Err("no unmasked ROI has a network".to_owned()),
        Some(networks) if networks.labels.n_groups() < 2 => Err("only one network".to_owned()),
        Some(networks) => {
            let scores = Mat::from_fn(n, networks.rois.len(), |i, k| {
                table.scores.score[(groups.models[i], space.rois[networks.rois[k]])]
            });
            let means = network_means(scores.as_ref(), &networks.labels, None)?;
            let (mut values, mut modality, mut network) = (Vec::new(), Vec::new(), Vec::new());
            for i in 0..n {
                for (k, of) in networks.labels.names().iter().enumerate() {
                    if !means[(i, k)].is_nan() {
                        values.push(means[(i, k)]);
                        modality.push(groups.modality.names()[groups.modality.codes()[i]].as_str());
                        network.push(of.as_str());
                    }
                }
            }
            let free = PermutationParams {
                n_permutations: params.n_permutations.max(1),
                exact_up_to: 0,
                exchange: Exchange::Free,
                seed: params.seed,
            };
            settle(two_way(&values, &Labels::new(&modality), &Labels::new(&network), &free, monitor))?
        }
    };
    let test = match outcome {
        Ok(test) => test,
        Err(reason) => {
            rows.extend(TERMS.iter().map(|term| undefined(table, TEST, term, n, &reason)));
            return Ok(());
        }
    };
    for (contrast, term) in TERMS.iter().zip([&test.first, &test.second, &test.interaction]) {
        let mut line = blank(table, TEST, contrast, n);
        line.statistic_name = "F".into();
        line.statistic = term.f;
        line.r2 = term.eta2;
        line.n_permutations = test.n_permutations;
        let mut notes = groups.notes.clone();
        if *contrast == MODALITY {
            // A model's networks share its level, so exchanging their residuals would claim too much.
            notes.push("the networks of a model are no independent witnesses: `anova` tests modality".into());
        } else {
            line.p = term.p_value;
            if term.f.is_nan() {
                notes.push("the term has no degree of freedom, or no score differs".into());
            }
        }
        line.p_adj = line.p;
        line.status = status_of(&notes);
        rows.push(line);
    }
    Ok(())
}

/// PERMANOVA on other coordinates or another distance.
fn permanova_row(
    table: &Table,
    groups: &Groups,
    embedding: CoordinateKind,
    distance: DistanceKind,
    contrast: &str,
    params: &GroupParams,
    monitor: &Monitor,
) -> Result<TestRow> {
    let measured = match measured(table, groups, embedding, distance, params)? {
        Ok(measured) => measured,
        Err(reason) => return Ok(undefined(table, "permanova", contrast, groups.models.len(), &reason)),
    };
    let permutations = permutations(&measured.groups, params)?;
    let mut row = blank(table, "permanova", contrast, measured.groups.models.len());
    let test =
        settle(permanova(&measured.distances, &measured.groups.modality, &permutations.params, monitor))?;
    fill_permanova(&mut row, &test, &measured.groups, &permutations);
    Ok(row)
}

/// PERMANOVA on scores divided by the ceilings of the benchmark that each model was scored on.
fn ceiling_row(table: &Table, groups: &Groups, params: &GroupParams, monitor: &Monitor) -> Result<TestRow> {
    const CONTRAST: &str = "ceiling-normalised";
    let n = groups.models.len();
    let normalised_already = params.score == crate::stats::score::ScoreKind::Ceil;
    let differ = |j: usize| {
        let ceiling = |i: usize| table.space.ceiling(i, j);
        groups.models.iter().any(|&i| ceiling(i) != ceiling(groups.models[0]) && !ceiling(i).is_nan())
    };
    if !normalised_already && !table.rois.iter().any(|&j| differ(j)) {
        let reason = "the ceilings given are the same for all benchmarks: dividing by them removes nothing \
                      that differs between benchmarks";
        return Ok(undefined(table, "permanova", CONTRAST, n, reason));
    }
    permanova_row(table, groups, CoordinateKind::Ceiling, params.distance, CONTRAST, params, monitor)
}

/// PERMANOVA without each family in turn, then the least and the most favourable of these.
fn without_family_rows(
    table: &Table,
    groups: &Groups,
    params: &GroupParams,
    monitor: &Monitor,
) -> Result<Vec<TestRow>> {
    const TEST: &str = "permanova_without_family";
    let mut rows = Vec::new();
    for (family, family_name) in groups.family.names().iter().enumerate() {
        monitor.check()?;
        let kept: Vec<usize> = (0..groups.models.len())
            .filter(|&k| groups.family.codes()[k] != family)
            .map(|k| groups.models[k])
            .collect();
        let n = kept.len();
        let row = match self::groups(table, &kept, params) {
            Err(reason) => undefined(table, TEST, family_name, n, &reason),
            Ok(rest) if rest.modality.names() != groups.modality.names() => {
                let reason =
                    format!("without {family_name} a modality is too small: {}", rest.notes.join(", "));
                undefined(table, TEST, family_name, n, &reason)
            }
            Ok(rest) => {
                let (kind, distance) = (params.embedding, params.distance);
                let mut row = permanova_row(table, &rest, kind, distance, family_name, params, monitor)?;
                row.test = TEST.into();
                row
            }
        };
        rows.push(row);
    }
    let defined: Vec<&TestRow> = rows.iter().filter(|row| !row.r2.is_nan()).collect();
    let extreme = |values: &dyn Fn(&TestRow) -> f64, largest: bool| {
        let all = defined.iter().map(|row| values(row));
        if largest { all.fold(f64::NAN, f64::max) } else { all.fold(f64::NAN, f64::min) }
    };
    let n_undefined = rows.len() - defined.len();
    let mut range = Vec::new();
    for (contrast, largest) in [("(least favourable)", false), ("(most favourable)", true)] {
        let mut row = blank(table, TEST, contrast, groups.models.len());
        row.statistic_name = "F".into();
        row.statistic = extreme(&|row| row.statistic, largest);
        row.r2 = extreme(&|row| row.r2, largest);
        row.omega2 = extreme(&|row| row.omega2, largest);
        row.p = extreme(&|row| row.p, !largest);
        row.p_adj = row.p;
        row.n_permutations = defined.iter().map(|row| row.n_permutations).min().unwrap_or(0);
        row.exact = !defined.is_empty() && defined.iter().all(|row| row.exact);
        row.restricted = !defined.is_empty() && defined.iter().all(|row| row.restricted);
        let mut notes = Vec::new();
        if n_undefined > 0 {
            notes.push(format!("undefined without {n_undefined} of {} families", rows.len()));
        }
        let n_free = defined.iter().filter(|row| !row.restricted).count();
        if n_free > 0 && params.restricted != Restriction::Free {
            notes.push(format!("models were exchanged freely without {n_free} of {} families", rows.len()));
        }
        row.status = status_of(&notes);
        range.push(row);
    }
    rows.extend(range);
    Ok(rows)
}

impl Permutations {
    fn notes(&self, groups: &Groups) -> Vec<String> {
        groups.notes.iter().chain(&self.dropped).cloned().collect()
    }
}

fn fill_permanova(
    row: &mut TestRow,
    test: &std::result::Result<Permanova, String>,
    groups: &Groups,
    permutations: &Permutations,
) {
    row.statistic_name = "F".into();
    let mut notes = permutations.notes(groups);
    match test {
        Ok(test) => {
            row.statistic = test.f;
            row.r2 = test.r2;
            row.omega2 = test.omega2;
            row.p = test.p_value;
            fill_support(row, &test.support, &mut notes);
            let about_f2 = !test.f.is_nan();
            // The reason for an undefined F2 belongs to the row of F2.
            if !about_f2 || row.test == "permanova_f2" {
                notes.extend(test.reason.clone());
            }
        }
        Err(reason) => notes.push(reason.clone()),
    }
    if row.adjustment == "none" {
        row.p_adj = row.p;
    }
    row.status = status_of(&notes);
}

fn fill_support(row: &mut TestRow, support: &PermutationSupport, notes: &mut Vec<String>) {
    row.n_permutations = support.n_permutations;
    row.exact = support.exact;
    row.restricted = support.restricted;
    notes.extend(support.warning.clone());
}

fn blank(table: &Table, test: &str, contrast: &str, n_objects: usize) -> TestRow {
    TestRow {
        space: table.space.input.space.clone(),
        representation: table.representation().to_owned(),
        test: test.to_owned(),
        contrast: contrast.to_owned(),
        statistic_name: String::new(),
        statistic: f64::NAN,
        r2: f64::NAN,
        omega2: f64::NAN,
        p: f64::NAN,
        p_adj: f64::NAN,
        adjustment: "none".into(),
        n_permutations: 0,
        exact: false,
        n_objects,
        restricted: false,
        status: "ok".into(),
    }
}

fn undefined(table: &Table, test: &str, contrast: &str, n_objects: usize, reason: &str) -> TestRow {
    let statistic_name = match test {
        "permanova_f2" => "F2",
        "silhouette" => "mean silhouette",
        _ => "F",
    };
    TestRow {
        statistic_name: statistic_name.into(),
        status: reason.to_owned(),
        ..blank(table, test, contrast, n_objects)
    }
}
