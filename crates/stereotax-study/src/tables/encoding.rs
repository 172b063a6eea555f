//! The tables of encoding layer by layer: scores, profiles over layers, the choice of layers, and models.

use std::collections::BTreeMap;
use std::ops::Range;

use faer::Mat;
use rayon::prelude::*;
use stereotax::data::TileSource;
use stereotax::encoding::{PlaceRule, SpatialParams, partition_of_r2, spatial_score, temporal_score};
use stereotax::pipelines::encoding::{
    BestCell, CombinedCell, Depth, EncodingCell, MeanScore, Scores, depth_of, mean_draws, mean_null,
    part_intervals, training_spread,
};
use stereotax::stats::multiplicity::{Adjustment, N_STEPS, StepDown, adjust, max_t_in_steps};
use stereotax::stats::summary::{median, permutation_p};
use stereotax_io::Table;

use super::{Scored, table};
use crate::config::{Combination, Multiplicity};
use crate::encoding::{
    PairEncoding, channels, combined_name, groups_of, lost, read_best, read_combined, read_layer, times_of,
};
use crate::inputs::{BenchmarkInput, ModelInput};
use crate::plan::Pair;
use crate::run::Worker;
use crate::summary::mean;
use crate::{Finding, StudyError};

/// A best layer counts as significant up to this adjusted p-value.
const SIGNIFICANT: f64 = 0.05;

/// More penalties than this share at the lower edge of the grid are told.
const LOWEST: f64 = 0.05;

/// Everything of one model on one benchmark and one subject (or the mean over subjects).
struct Part<'a> {
    pair: &'a Pair,
    model: &'a ModelInput,
    benchmark: &'a BenchmarkInput,
    /// `None`: the mean over subjects.
    subject: Option<usize>,
    layers: Vec<LayerPart<'a>>,
    /// All layers as one predictor.
    combined: Option<Combined>,
    /// Every target with the layers that it chose on training rows.
    best: Scores,
    /// Groups of targets with their mean scores per layer, then of the choice, then of all layers combined.
    groups: Vec<(String, Vec<MeanScore>)>,
    /// Layer (by place in `layers`) that most folds chose, and their share, per target.
    chosen: Vec<Option<(usize, f64)>>,
    /// How often each layer was chosen, over targets and folds, and per group.
    n_chosen: Vec<Vec<usize>>,
    share_at_edge: f64,
    /// Held-out samples.
    n: usize,
    /// What every channel chose of layers and times, where responses have times.
    timed: Option<Timed>,
    /// Per layer, then of all layers combined; filled when all parts are there.
    adjusted: Vec<Vec<f64>>,
    /// How.
    adjustment: &'static str,
}

/// Every channel with the layer and the time that it chose on training rows.
struct Timed {
    scores: Scores,
    /// Layer (by place) and time (by place) that most folds chose, each with its share, per channel.
    layers: Vec<Option<(usize, f64)>>,
    times: Vec<Option<(usize, f64)>>,
    /// p-values by the largest null correlation over channels.
    adjusted: Vec<f64>,
}

/// All layers as one predictor.
struct Combined {
    layer: LayerPart<'static>,
    /// Weights, and shares of R² (layers × targets).
    weights: Mat<f64>,
    shares: Mat<f64>,
    /// Combined less chosen, over groups of targets: r and its interval.
    gains: Vec<(f64, [f64; 2])>,
}

struct LayerPart<'a> {
    name: &'a str,
    /// Depth within the network, in [0, 1]; NaN of all layers together.
    position: f64,
    scores: Scores,
    /// Median over folds, per target.
    alpha: Vec<f64>,
    /// Mean over folds, per target.
    inner: Vec<f64>,
}

/// The tables, in a study that asks for them.
pub(super) fn encoding_tables(
    worker: &Worker<'_>,
    scored: &Scored,
    findings: &mut Vec<Finding>,
) -> Result<BTreeMap<String, Table>, StudyError> {
    let Some(settings) = &worker.study.file.encoding else { return Ok(BTreeMap::new()) };
    let read: Vec<(Vec<Part<'_>>, Vec<Finding>)> = worker
        .grid
        .pairs
        .par_iter()
        .filter_map(|pair| Some((pair, pair.encoding.as_ref()?)))
        .map(|(pair, encoding)| {
            let mut found = Vec::new();
            Ok((read_pair(worker, pair, encoding, &mut found)?, found))
        })
        .collect::<Result<_, StudyError>>()?;
    let mut parts = Vec::new();
    for (of_pair, found) in read {
        parts.extend(of_pair);
        findings.extend(found);
    }
    adjust_all(worker, &mut parts, settings.multiplicity)?;
    let partition = partition_table(worker, findings)?;
    let mut tables = BTreeMap::from([
        ("encoding".to_owned(), scores_table(&parts, scored)),
        ("layers".to_owned(), layers_table(&parts)),
        ("selection".to_owned(), selection_table(&parts)),
        ("encoding_models".to_owned(), models_table(&parts, settings.shifts, worker.study.file.seed)?),
    ]);
    if parts.iter().any(|part| part.timed.is_some()) {
        tables.insert("time_selection".to_owned(), time_selection_table(&parts));
    }
    if settings.combine != Combination::None {
        tables.insert("encoding_weights".to_owned(), weights_table(&parts));
    }
    tables.extend(partition.map(|table| ("partition".to_owned(), table)));
    Ok(tables)
}

/// Depth of every layer of a model, in [0, 1].
pub(super) fn positions(model: &ModelInput, activation: usize) -> Vec<f64> {
    let known = &model.model.activations[activation];
    let n = known.layers.len();
    let raw: Vec<f64> = match &known.positions {
        Some(positions) => positions.clone(),
        None => (0..n).map(|l| l as f64).collect(),
    };
    let span = raw.last().copied().unwrap_or(0.0) - raw.first().copied().unwrap_or(0.0);
    raw.iter().map(|x| if span > 0.0 { (x - raw[0]) / span } else { 0.0 }).collect()
}

/// Read the nodes of one pair, one layer at a time.
fn read_pair<'a>(
    worker: &Worker<'a>,
    pair: &'a Pair,
    encoding: &'a PairEncoding,
    findings: &mut Vec<Finding>,
) -> Result<Vec<Part<'a>>, StudyError> {
    let model = &worker.inputs.models[pair.model];
    let benchmark = &worker.inputs.benchmarks[pair.benchmark];
    let names = model.activations[pair.activation].layers.layers();
    let positions = positions(model, pair.activation);
    let (n_subjects, n_targets) = (benchmark.subjects.len(), benchmark.rois.len());
    let groups = groups_of(benchmark);
    let with_mean = n_subjects > 1;
    let part = |subject: Option<usize>, best: Scores| Part {
        pair,
        model,
        benchmark,
        subject,
        layers: Vec::new(),
        combined: None,
        best,
        groups: groups.iter().map(|(name, _)| (name.clone(), Vec::new())).collect(),
        chosen: vec![None; n_targets],
        n_chosen: vec![vec![0; encoding.layers.len()]; groups.len()],
        share_at_edge: 0.0,
        n: 0,
        timed: None,
        adjusted: Vec::new(),
        adjustment: "none",
    };
    let mut best_cells: Vec<BestCell> = Vec::new();
    for spec in &encoding.best {
        let cell = worker.store.load(spec).and_then(|payload| read_best(&payload));
        best_cells.push(cell.ok_or_else(|| lost(spec))?);
    }
    let members: Vec<Vec<usize>> = groups.iter().map(|(_, targets)| targets.clone()).collect();
    let best: Vec<Scores> = best_cells.iter().map(|c| Scores::of_choice(c, &members)).collect();
    let mut parts: Vec<Part<'a>> = Vec::new();
    if with_mean {
        let of: Vec<(&Scores, Option<&[f32]>)> = best
            .iter()
            .zip(&best_cells)
            .map(|(scores, cell)| (scores, cell.draws.as_ref().map(|d| d.null.as_slice())))
            .collect();
        parts.push(part(None, Scores::mean(&of)));
    }
    parts.extend(best.into_iter().enumerate().map(|(subject, best)| part(Some(subject), best)));
    let first = usize::from(with_mean);
    let (mut n_lowest, mut n_penalties) = (0, 0);
    for (layer, specs) in &encoding.layers {
        let mut read = Vec::new();
        for spec in specs {
            let cell = worker.store.load(spec).and_then(|payload| read_layer(&payload));
            read.push(cell.ok_or_else(|| lost(spec))?);
        }
        let of_layer = layer_parts(&read, names[*layer].name.as_str(), positions[*layer]);
        let mut of_layer = of_layer.into_iter();
        if with_mean {
            parts[0].layers.extend(of_layer.next());
        }
        for (s, layer) in of_layer.enumerate() {
            let part = &mut parts[first + s];
            let cell = &read[s];
            let edges = cell.n_at_edges[0] + cell.n_at_edges[1];
            let defined = cell.alphas.col_iter().flat_map(|c| c.iter()).filter(|a| !a.is_nan()).count();
            n_lowest += cell.n_at_edges[0];
            n_penalties += defined;
            part.share_at_edge += edges as f64 / defined.max(1) as f64 / encoding.layers.len().max(1) as f64;
            part.n = cell.moments.n.iter().sum();
            part.layers.push(layer);
            if let Some(note) = &cell.chance.note {
                let about = format!("encoding on `{}`: {note}", benchmark.id);
                findings.push(Finding::note("null_draws", about));
            }
        }
    }
    if let Some((combine, specs)) = &encoding.combined {
        let mut read = Vec::new();
        for spec in specs {
            let cell = worker.store.load(spec).and_then(|payload| read_combined(&payload));
            read.push(cell.ok_or_else(|| lost(spec))?);
        }
        let cells: Vec<EncodingCell> = read.iter().map(|c| c.cell.clone()).collect();
        let scores = layer_parts(&cells, combined_name(*combine), f64::NAN).into_iter();
        let of = |of: &dyn Fn(&CombinedCell) -> &Mat<f64>| -> Vec<Mat<f64>> {
            let each: Vec<&Mat<f64>> = read.iter().map(of).collect();
            let average = || {
                Mat::from_fn(each[0].nrows(), n_targets, |l, j| {
                    mean(&each.iter().map(|m| m[(l, j)]).filter(|x| !x.is_nan()).collect::<Vec<_>>())
                })
            };
            with_mean.then(average).into_iter().chain(each.iter().map(|m| (*m).clone())).collect()
        };
        let (weights, shares) = (of(&|c| &c.weights), of(&|c| &c.shares));
        for (part, ((layer, weights), shares)) in parts.iter_mut().zip(scores.zip(weights).zip(shares)) {
            part.combined = Some(Combined { layer, weights, shares, gains: Vec::new() });
        }
    }
    // At the largest penalty are targets that cannot be predicted; at the smallest those that wanted less.
    if n_lowest as f64 > LOWEST * n_penalties as f64 {
        let text = format!(
            "encoding by `{}` on `{}`: {:.0} % of the penalties are the smallest of the grid; let `alphas` begin lower",
            model.model.name,
            benchmark.id,
            100.0 * n_lowest as f64 / n_penalties as f64
        );
        findings.push(Finding::caution("lowest_penalty", text));
    }
    // The choice: how often each layer was taken, and by which target.
    let place = |layer: f64| encoding.layers.iter().position(|(index, _)| *index as f64 == layer);
    for (s, cell) in best_cells.iter().enumerate() {
        for (g, (_, targets)) in groups.iter().enumerate() {
            for &j in targets {
                for k in cell.chosen.col(j).iter().filter_map(|layer| place(*layer)) {
                    parts[first + s].n_chosen[g][k] += 1;
                    if with_mean {
                        parts[0].n_chosen[g][k] += 1;
                    }
                }
            }
        }
        for j in 0..n_targets {
            parts[first + s].chosen[j] = most_chosen(cell.chosen.col(j).iter().filter_map(|l| place(*l)));
        }
    }
    if with_mean {
        for j in 0..n_targets {
            let all = best_cells.iter().flat_map(|c| c.chosen.col(j).iter().copied().collect::<Vec<_>>());
            parts[0].chosen[j] = most_chosen(all.filter_map(place));
        }
        parts[0].share_at_edge = mean(&parts[1..].iter().map(|p| p.share_at_edge).collect::<Vec<_>>());
        parts[0].n = parts[1].n;
    }
    for (part, timed) in parts.iter_mut().zip(read_timed(worker, benchmark, encoding)?) {
        part.timed = Some(timed);
    }
    let spread = training_spread(&benchmark.design);
    for part in &mut parts {
        for (at, (_, targets)) in groups.iter().enumerate() {
            let of_layers = part.layers.iter().map(|layer| layer.scores.over(targets));
            let combined = part.combined.iter().map(|combined| combined.layer.scores.over(targets));
            part.groups[at].1 = of_layers.chain([part.best.over(targets)]).chain(combined).collect();
            if let Some(combined) = &mut part.combined {
                combined.gains.push(combined.layer.scores.gain_over(&part.best, targets, spread));
            }
        }
        // Draws have done their work.
        part.layers.iter_mut().for_each(|layer| layer.scores.bootstrap = None);
        part.combined.iter_mut().for_each(|combined| combined.layer.scores.bootstrap = None);
    }
    Ok(parts)
}

/// What channels chose of layers and times: the mean over subjects first, where there are several; none without times.
fn read_timed(
    worker: &Worker<'_>,
    benchmark: &BenchmarkInput,
    encoding: &PairEncoding,
) -> Result<Vec<Timed>, StudyError> {
    let mut cells: Vec<BestCell> = Vec::new();
    for spec in &encoding.timed {
        let cell = worker.store.load(spec).and_then(|payload| read_best(&payload));
        cells.push(cell.ok_or_else(|| lost(spec))?);
    }
    let n_channels = channels(benchmark);
    let all = [(0..n_channels).collect::<Vec<usize>>()];
    let scores: Vec<Scores> = cells.iter().map(|cell| Scores::of_choice(cell, &all)).collect();
    let place = |layer: f64| encoding.layers.iter().position(|(index, _)| *index as f64 == layer);
    let new = |of: &[BestCell], scores: Scores, maxima: &[f32]| {
        let most = |values: &dyn Fn(&BestCell, usize) -> Vec<Option<usize>>| -> Vec<Option<(usize, f64)>> {
            (0..n_channels)
                .map(|c| most_chosen(of.iter().flat_map(|cell| values(cell, c)).flatten()))
                .collect()
        };
        let n_times = benchmark.times_s.len();
        let layers = most(&|cell, c| cell.chosen.col(c).iter().map(|layer| place(*layer)).collect());
        let time = |column: &f64| (!column.is_nan()).then_some(*column as usize % n_times);
        let times = most(&|cell, c| cell.columns.col(c).iter().map(time).collect());
        Timed { adjusted: by_maxima(&scores.r, maxima), layers, times, scores }
    };
    let mut found = Vec::new();
    if cells.len() > 1 {
        let null = |cell: &'_ BestCell| cell.draws.as_ref().map(|d| d.null.clone());
        let nulls: Vec<Option<Vec<f32>>> = cells.iter().map(null).collect();
        let of: Vec<(&Scores, Option<&[f32]>)> =
            scores.iter().zip(&nulls).map(|(scores, null)| (scores, null.as_deref())).collect();
        let kept: Option<Vec<&[f32]>> = nulls.iter().map(Option::as_deref).collect();
        let maxima: Vec<f32> = mean_null(&kept.unwrap_or_default())
            .chunks_exact(n_channels.max(1))
            .map(|row| row.iter().fold(f32::NEG_INFINITY, |m, x| m.max(*x)))
            .collect();
        found.push(new(&cells, Scores::mean(&of), &maxima));
    }
    let each = cells.iter().zip(scores);
    found.extend(each.map(|(cell, scores)| new(std::slice::from_ref(cell), scores, &cell.chance.maxima)));
    Ok(found)
}

/// p-values against the largest of each draw; NaN without draws.
fn by_maxima(observed: &[f64], maxima: &[f32]) -> Vec<f64> {
    let reaching = |r: f64| maxima.iter().filter(|m| f64::from(**m) >= r - 2e-6).count();
    let p = |r: &f64| match r.is_nan() || maxima.is_empty() {
        true => f64::NAN,
        false => permutation_p(reaching(*r), maxima.len()),
    };
    observed.iter().map(p).collect()
}

/// What the cells of all subjects say of one predictor: their mean first, where there are several.
fn layer_parts<'a>(cells: &[EncodingCell], name: &'a str, position: f64) -> Vec<LayerPart<'a>> {
    let n_targets = cells[0].moments.n_targets();
    let folds =
        |m: &Mat<f64>, j: usize| -> Vec<f64> { m.col(j).iter().copied().filter(|x| !x.is_nan()).collect() };
    let new =
        |scores: Scores, alpha: Vec<f64>, inner: Vec<f64>| LayerPart { name, position, scores, alpha, inner };
    let mut parts: Vec<LayerPart<'a>> = cells
        .iter()
        .map(|c| {
            let alpha =
                |j| Some(folds(&c.alphas, j)).filter(|a| !a.is_empty()).map_or(f64::NAN, |a| median(&a));
            new(
                Scores::of(&c.moments, &c.chance, c.draws.as_ref()),
                (0..n_targets).map(alpha).collect(),
                (0..n_targets).map(|j| mean(&folds(&c.inner_scores, j))).collect(),
            )
        })
        .collect();
    if cells.len() > 1 {
        let of: Vec<(&Scores, Option<&[f32]>)> = parts
            .iter()
            .zip(cells)
            .map(|(part, cell)| (&part.scores, cell.draws.as_ref().map(|d| d.null.as_slice())))
            .collect();
        let over = |value: &dyn for<'b> Fn(&'b LayerPart<'a>) -> &'b Vec<f64>| -> Vec<f64> {
            (0..n_targets)
                .map(|j| mean(&parts.iter().map(|p| value(p)[j]).filter(|x| !x.is_nan()).collect::<Vec<_>>()))
                .collect()
        };
        let average = new(Scores::mean(&of), over(&|p| &p.alpha), over(&|p| &p.inner));
        parts.insert(0, average);
    }
    parts
}

/// The most frequent of some places, the first of equals, and its share.
fn most_chosen(places: impl Iterator<Item = usize>) -> Option<(usize, f64)> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    places.for_each(|k| *counts.entry(k).or_default() += 1);
    let total: usize = counts.values().sum();
    let best = counts.iter().fold(None, |best: Option<(usize, usize)>, (&k, &n)| match best {
        Some((_, most)) if most >= n => best,
        _ => Some((k, n)),
    })?;
    Some((best.0, best.1 as f64 / total as f64))
}

/// Adjust p-values over the models, layers and targets of one benchmark and subject.
fn adjust_all(
    worker: &Worker<'_>,
    parts: &mut [Part<'_>],
    multiplicity: Multiplicity,
) -> Result<(), StudyError> {
    let mut families: BTreeMap<(usize, Option<usize>), Vec<usize>> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        families.entry((part.pair.benchmark, part.subject)).or_default().push(at);
    }
    for members in families.into_values() {
        let of = |value: &dyn Fn(&Scores) -> &Vec<f64>| -> Vec<f64> {
            let layers = members.iter().flat_map(|&at| parts[at].predictors());
            layers.flat_map(|layer| value(&layer.scores).iter().copied()).collect()
        };
        let by_p = |adjustment| adjust(&of(&|s| &s.p), adjustment);
        let (adjusted, name) = match multiplicity {
            Multiplicity::MaxT => max_t_of(worker, parts, &members, &of(&|s| &s.r))?,
            Multiplicity::Holm => (by_p(Adjustment::Holm), "holm"),
            Multiplicity::Bh => (by_p(Adjustment::Bh), "bh"),
            Multiplicity::By => (by_p(Adjustment::By), "by"),
            Multiplicity::None => (by_p(Adjustment::None), "none"),
        };
        let mut from = adjusted.into_iter();
        for &at in &members {
            let sizes: Vec<usize> = parts[at].predictors().map(|l| l.scores.p.len()).collect();
            parts[at].adjusted = sizes.into_iter().map(|n| from.by_ref().take(n).collect()).collect();
            parts[at].adjustment = name;
        }
    }
    Ok(())
}

/// Step-down max-T over all layers of some parts and what combines them, and what it is called: exact where draws were kept, as many at a
/// time as a quarter of the memory holds; else in steps of r.
fn max_t_of(
    worker: &Worker<'_>,
    parts: &[Part<'_>],
    members: &[usize],
    observed: &[f64],
) -> Result<(Vec<f64>, &'static str), StudyError> {
    let layers: Vec<(usize, usize)> =
        members.iter().flat_map(|&at| (0..parts[at].predictors().count()).map(move |l| (at, l))).collect();
    let scores = |(at, l): &(usize, usize)| &parts[*at].predictor(*l).scores;
    let n_draws = layers.first().map_or(0, |first| scores(first).n_draws);
    if n_draws == 0 || layers.iter().any(|layer| scores(layer).n_draws != n_draws) {
        return Ok((vec![f64::NAN; observed.len()], "max_t"));
    }
    let n_steps = N_STEPS * n_draws;
    if layers.iter().all(|layer| scores(layer).steps.len() == n_steps) {
        let mut steps = vec![f32::NEG_INFINITY; n_steps];
        for layer in &layers {
            steps.iter_mut().zip(&scores(layer).steps).for_each(|(m, x)| *m = m.max(*x));
        }
        return Ok((max_t_in_steps(observed, &steps), "max_t_in_steps"));
    }
    let n_cells = observed.len();
    let room = worker.options.max_memory as usize / 4 / (4 * n_cells).max(1);
    let at_once = room.clamp(1, n_draws);
    let mut down = StepDown::new(observed);
    for from in (0..n_draws).step_by(at_once) {
        let draws = from..n_draws.min(from + at_once);
        let found: Vec<Vec<f32>> = layers
            .par_iter()
            .map(|&(at, l)| null_of(worker, &parts[at], l, &draws))
            .collect::<Result<_, StudyError>>()?;
        let mut row = Vec::with_capacity(n_cells);
        for draw in 0..draws.len() {
            row.clear();
            for of_layer in &found {
                let width = of_layer.len() / draws.len();
                row.extend_from_slice(&of_layer[draw * width..][..width]);
            }
            down.add(&row);
        }
    }
    Ok((down.p_adjusted(), "max_t"))
}

/// Some null draws of one predictor of a part, draw after draw.
fn null_of(
    worker: &Worker<'_>,
    part: &Part<'_>,
    layer: usize,
    draws: &Range<usize>,
) -> Result<Vec<f32>, StudyError> {
    let n_targets = part.benchmark.rois.len();
    let specs = part.pair.encoding.as_ref().map_or(&[][..], |e| match (e.layers.get(layer), &e.combined) {
        (Some((_, specs)), _) | (None, Some((_, specs))) => specs,
        (None, None) => &[],
    });
    let wanted = match part.subject {
        Some(subject) => &specs[subject..=subject],
        None => specs,
    };
    let read: Vec<Vec<f32>> = wanted
        .iter()
        .map(|spec| {
            let null = worker.store.load(spec).and_then(|payload| payload.get_single("null"));
            let null = null.filter(|null| null.len() >= draws.end * n_targets).ok_or_else(|| lost(spec))?;
            Ok(null[draws.start * n_targets..draws.end * n_targets].to_vec())
        })
        .collect::<Result<_, StudyError>>()?;
    Ok(mean_null(&read.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

impl<'a> Part<'a> {
    /// The layers, then all of them combined.
    fn predictors(&self) -> impl Iterator<Item = &LayerPart<'a>> {
        self.layers.iter().chain(self.combined.iter().map(|combined| &combined.layer))
    }

    fn predictor(&self, index: usize) -> &LayerPart<'a> {
        match (self.layers.get(index), &self.combined) {
            (None, Some(combined)) => &combined.layer,
            _ => &self.layers[index],
        }
    }

    fn subject(&self) -> String {
        self.subject.map_or("(mean)".to_owned(), |s| self.benchmark.subjects[s].id.clone())
    }

    /// Why a target has no score; `ok` where it has.
    fn status(&self, target: usize, r: f64) -> String {
        let holds_nan = match self.subject {
            Some(s) => self.benchmark.subjects[s].not_finite.contains(&target),
            None => self.benchmark.subjects.iter().all(|s| s.not_finite.contains(&target)),
        };
        match (r.is_nan(), holds_nan) {
            (false, _) => "ok".into(),
            (true, true) => "undefined: the response holds values that are not finite".into(),
            (true, false) => "undefined: prediction or response does not vary".into(),
        }
    }

    fn ceiling(&self, scored: &Scored, target: usize) -> f64 {
        let ceilings = &scored.ceilings[self.pair.benchmark];
        match self.subject {
            Some(s) => ceilings.subjects.get(s).map_or(f64::NAN, |c| c[target]),
            None => ceilings.mean[target],
        }
    }

    fn depth(&self, target: usize) -> Depth {
        let profile: Vec<f64> = self.layers.iter().map(|l| l.scores.r[target]).collect();
        let positions: Vec<f64> = self.layers.iter().map(|l| l.position).collect();
        depth_of(&profile, &positions)
    }

    /// Seconds after the onset of a target, where responses have times.
    fn time_s(&self, target: usize) -> Option<f64> {
        self.benchmark.rois[target].at.as_ref().map(|(_, seconds)| *seconds)
    }

    /// Whether the best layer of a target is significant; `None` without p-values.
    fn significant(&self, target: usize) -> Option<bool> {
        let p = self.adjusted.get(self.depth(target).best?)?[target];
        (!p.is_nan()).then_some(p <= SIGNIFICANT)
    }
}

fn scores_table(parts: &[Part<'_>], scored: &Scored) -> Table {
    let mut rows: Vec<(&Part<'_>, usize, usize)> = Vec::new();
    for part in parts {
        for layer in 0..part.predictors().count() {
            rows.extend((0..part.benchmark.rois.len()).map(|target| (part, layer, target)));
        }
    }
    fn of<'a, 'b>(r: &(&'b Part<'a>, usize, usize)) -> &'b LayerPart<'a> {
        r.0.predictor(r.1)
    }
    table!(rows;
        text model = |r| Some(r.0.model.model.name.clone()),
        text benchmark = |r| Some(r.0.benchmark.id.clone()),
        text subject = |r| Some(r.0.subject()),
        text roi = |r| Some(r.0.benchmark.rois[r.2].roi.clone()),
        number time_s = |r| r.0.time_s(r.2),
        text layer = |r| Some(of(r).name),
        number position = |r| Some(of(r).position),
        number r = |r| Some(of(r).scores.r[r.2]),
        number r2 = |r| Some(of(r).scores.r2[r.2]),
        number ceiling = |r| Some(r.0.ceiling(scored, r.2)),
        number of_ceiling = |r| {
            let ceiling = r.0.ceiling(scored, r.2);
            (ceiling > 0.0).then(|| of(r).scores.r[r.2] / ceiling)
        },
        integer n = |r| Some(r.0.n as i64),
        number p = |r| Some(of(r).scores.p[r.2]),
        number p_adj = |r| Some(r.0.adjusted[r.1][r.2]),
        text adjustment = |r| (!r.0.adjusted[r.1][r.2].is_nan()).then_some(r.0.adjustment),
        number alpha = |r| Some(of(r).alpha[r.2]),
        number inner_score = |r| Some(of(r).inner[r.2]),
        text status = |r| Some(r.0.status(r.2, of(r).scores.r[r.2])),
    )
}

/// How feature sets share what they explain; no table where there are none.
fn partition_table(worker: &Worker<'_>, findings: &mut Vec<Finding>) -> Result<Option<Table>, StudyError> {
    struct Row<'a> {
        model: &'a str,
        benchmark: &'a str,
        subject: String,
        targets: String,
        kind: &'static str,
        sets: String,
        r2: f64,
        interval: [f64; 2],
        n_targets: usize,
        n_negative: usize,
        n_overfitted: usize,
    }
    let Some(settings) = worker.study.file.encoding.as_ref().filter(|e| !e.partition.is_empty()) else {
        return Ok(None);
    };
    let mut rows: Vec<Row<'_>> = Vec::new();
    for pair in &worker.grid.pairs {
        let model = worker.inputs.models[pair.model].model.name.as_str();
        let benchmark = &worker.inputs.benchmarks[pair.benchmark];
        let Some(encoding) = pair.encoding.as_ref().filter(|e| !e.sets.is_empty()) else {
            let names: Vec<&str> = settings.partition.iter().map(|set| set.name.as_str()).collect();
            let text = format!(
                "`{model}` on `{}`: its variance is not divided, for it lacks the features of a set ({})",
                benchmark.id,
                names.join(", ")
            );
            findings.push(Finding::caution("no_partition", text));
            continue;
        };
        let (n_subjects, n_targets) = (benchmark.subjects.len(), benchmark.rois.len());
        let n_models = encoding.joint.len();
        let mut r2 = vec![Mat::<f64>::zeros(n_models, n_targets); n_subjects];
        // Bootstrap draws (draws × targets) of every model, per subject; the same stimuli in draws of one number.
        let mut draws: Vec<Vec<Mat<f32>>> = vec![Vec::new(); n_subjects];
        for (at, (_, specs)) in encoding.joint.iter().enumerate() {
            for (subject, spec) in specs.iter().enumerate() {
                let cell = worker.store.load(spec).and_then(|payload| read_layer(&payload));
                let cell = cell.ok_or_else(|| lost(spec))?;
                let found = cell.moments.r2();
                found.iter().enumerate().for_each(|(j, value)| r2[subject][(at, j)] = *value);
                draws[subject].extend(cell.r2_bootstrap);
            }
        }
        let mut of: Vec<(String, Mat<f64>, Vec<Mat<f32>>)> = Vec::new();
        if n_subjects > 1 {
            let average = |at: usize, j: usize| {
                mean(&r2.iter().map(|m| m[(at, j)]).filter(|x| !x.is_nan()).collect::<Vec<_>>())
            };
            let r2 = Mat::from_fn(n_models, n_targets, average);
            of.push(("(mean)".to_owned(), r2, mean_draws(&draws)));
        }
        let ids = benchmark.subjects.iter().map(|s| s.id.clone());
        of.extend(ids.zip(r2).zip(draws).map(|((id, r2), draws)| (id, r2, draws)));
        for (subject, r2, draws) in of {
            let found = partition_of_r2(r2.as_ref())
                .map_err(StudyError::in_context(&format!("partition on `{}`", benchmark.id)))?;
            for (targets, members) in groups_of(benchmark) {
                let known: Vec<usize> =
                    members.into_iter().filter(|&j| r2.col(j).iter().all(|x| !x.is_nan())).collect();
                let over =
                    |m: &Mat<f64>, at: usize| mean(&known.iter().map(|&j| m[(at, j)]).collect::<Vec<_>>());
                let intervals = part_intervals(&r2, &draws, &known, training_spread(&benchmark.design))
                    .map_err(StudyError::in_context(&format!("partition on `{}`", benchmark.id)))?;
                for at in 0..n_models {
                    let combination = at + 1;
                    let names: Vec<&str> = (0..encoding.sets.len())
                        .filter(|k| combination >> k & 1 == 1)
                        .map(|k| encoding.sets[k].as_str())
                        .collect();
                    let negative = known.iter().filter(|&&j| found.cells[(at, j)] < -1e-12).count();
                    let worse = known.iter().filter(|&&j| found.overfitted[j]).count();
                    for (kind, sets, value, n_negative, interval) in [
                        ("model", names.join(" + "), over(&found.r2, at), 0, intervals[at][0]),
                        (
                            if names.len() == 1 { "unique" } else { "shared" },
                            names.join(" & "),
                            over(&found.cells, at),
                            negative,
                            intervals[at][1],
                        ),
                    ] {
                        rows.push(Row {
                            model,
                            benchmark: &benchmark.id,
                            subject: subject.clone(),
                            targets: targets.clone(),
                            kind,
                            sets,
                            r2: value,
                            interval,
                            n_targets: known.len(),
                            n_negative,
                            n_overfitted: worse,
                        });
                    }
                }
            }
        }
    }
    Ok(Some(table!(rows;
        text model = |r| Some(r.model),
        text benchmark = |r| Some(r.benchmark),
        text subject = |r| Some(r.subject.clone()),
        text targets = |r| Some(r.targets.clone()),
        text kind = |r| Some(r.kind),
        text sets = |r| Some(r.sets.clone()),
        number r2 = |r| Some(r.r2),
        number lower = |r| Some(r.interval[0]),
        number upper = |r| Some(r.interval[1]),
        integer n_targets = |r| Some(r.n_targets as i64),
        integer n_negative = |r| Some(r.n_negative as i64),
        integer n_overfitted = |r| Some(r.n_overfitted as i64),
        text status = |r| Some(if r.r2.is_nan() { "undefined: no target has a score" } else { "ok" }),
    )))
}

fn layers_table(parts: &[Part<'_>]) -> Table {
    let mut rows: Vec<(&Part<'_>, usize, usize)> = Vec::new();
    for part in parts {
        for group in 0..part.groups.len() {
            // The layers, the choice among them, and all of them combined.
            rows.extend((0..part.groups[group].1.len()).map(|layer| (part, group, layer)));
        }
    }
    let name = |r: &(&Part<'_>, usize, usize)| match (r.0.layers.get(r.2), &r.0.combined) {
        (Some(layer), _) => layer.name.to_owned(),
        (None, Some(combined)) if r.2 > r.0.layers.len() => combined.layer.name.to_owned(),
        _ => "(chosen)".to_owned(),
    };
    let score = |r: &(&Part<'_>, usize, usize)| r.0.groups[r.1].1[r.2];
    table!(rows;
        text model = |r| Some(r.0.model.model.name.clone()),
        text benchmark = |r| Some(r.0.benchmark.id.clone()),
        text subject = |r| Some(r.0.subject()),
        text targets = |r| Some(r.0.groups[r.1].0.clone()),
        text layer = |r| Some(name(r)),
        number position = |r| r.0.layers.get(r.2).map(|l| l.position),
        number r = |r| Some(score(r).r),
        number lower = |r| Some(score(r).interval[0]),
        number upper = |r| Some(score(r).interval[1]),
        number r2 = |r| Some(score(r).r2),
        integer n_targets = |r| Some(score(r).n_targets as i64),
        integer n_chosen = |r| r.0.n_chosen[r.1].get(r.2).map(|n| *n as i64),
        text status = |r| Some(if score(r).r.is_nan() { "undefined: no target has a score" } else { "ok" }),
    )
}

/// What each layer contributes where all are combined: means over the targets that have weights.
fn weights_table(parts: &[Part<'_>]) -> Table {
    struct Row<'a> {
        part: &'a Part<'a>,
        targets: &'a str,
        layer: usize,
        weight: f64,
        r2: f64,
        joint: f64,
        n: usize,
    }
    let mut rows = Vec::new();
    for part in parts {
        let Some(combined) = &part.combined else { continue };
        for (targets, members) in groups_of(part.benchmark) {
            let known: Vec<usize> = members
                .into_iter()
                .filter(|&j| combined.weights.col(j).iter().all(|w| !w.is_nan()))
                .collect();
            let over = |of: &dyn Fn(usize) -> f64| mean(&known.iter().map(|&j| of(j)).collect::<Vec<_>>());
            let name = part.groups.iter().find(|(name, _)| *name == targets);
            for layer in 0..part.layers.len() {
                rows.push(Row {
                    part,
                    targets: name.map_or("", |(name, _)| name.as_str()),
                    layer,
                    weight: over(&|j| combined.weights[(layer, j)]),
                    r2: over(&|j| combined.shares[(layer, j)]),
                    joint: over(&|j| combined.shares.col(j).iter().sum()),
                    n: known.len(),
                });
            }
        }
    }
    table!(rows;
        text model = |r| Some(r.part.model.model.name.clone()),
        text benchmark = |r| Some(r.part.benchmark.id.clone()),
        text subject = |r| Some(r.part.subject()),
        text targets = |r| Some(r.targets),
        text layer = |r| Some(r.part.layers[r.layer].name),
        number position = |r| Some(r.part.layers[r.layer].position),
        number weight = |r| Some(r.weight),
        number r2 = |r| Some(r.r2),
        number joint_r2 = |r| Some(r.joint),
        integer n_targets = |r| Some(r.n as i64),
        text status = |r| Some(if r.n == 0 { "undefined: no target has a score" } else { "ok" }),
    )
}

fn selection_table(parts: &[Part<'_>]) -> Table {
    struct Row<'a> {
        part: &'a Part<'a>,
        target: usize,
        depth: Depth,
        of_best: f64,
        interval: [f64; 2],
    }
    let mut rows = Vec::new();
    for part in parts {
        for target in 0..part.benchmark.rois.len() {
            let depth = part.depth(target);
            let of_best = depth.best.map_or(f64::NAN, |k| part.layers[k].scores.r[target]);
            let interval = part.best.over(&[target]).interval;
            rows.push(Row { part, target, depth, of_best, interval });
        }
    }
    let nested = |r: &Row<'_>| r.part.best.r[r.target];
    table!(rows;
        text model = |r| Some(r.part.model.model.name.clone()),
        text benchmark = |r| Some(r.part.benchmark.id.clone()),
        text subject = |r| Some(r.part.subject()),
        text roi = |r| Some(r.part.benchmark.rois[r.target].roi.clone()),
        number time_s = |r| r.part.time_s(r.target),
        text chosen_layer = |r| r.part.chosen[r.target].map(|(k, _)| r.part.layers[k].name),
        number chosen_share = |r| r.part.chosen[r.target].map(|(_, share)| share),
        number r = |r| Some(nested(r)),
        number lower = |r| Some(r.interval[0]),
        number upper = |r| Some(r.interval[1]),
        number r2 = |r| Some(r.part.best.r2[r.target]),
        number p = |r| Some(r.part.best.p[r.target]),
        text best_layer = |r| r.depth.best.map(|k| r.part.layers[k].name),
        number best_r = |r| Some(r.of_best),
        number selection_bias = |r| Some(r.of_best - nested(r)),
        number depth = |r| Some(r.depth.at),
        number centroid = |r| Some(r.depth.centroid),
        flag at_boundary = |r| r.depth.best.map(|_| r.depth.at_boundary),
        flag significant = |r| r.part.significant(r.target),
        text status = |r| Some(r.part.status(r.target, nested(r))),
    )
}

/// What every channel chose of layers and times, beside the largest of all its scores.
fn time_selection_table(parts: &[Part<'_>]) -> Table {
    struct Row<'a> {
        part: &'a Part<'a>,
        timed: &'a Timed,
        channel: usize,
        /// Layer, target and r of the largest score from the onset on.
        best: Option<(usize, usize, f64)>,
        interval: [f64; 2],
    }
    let mut rows = Vec::new();
    for part in parts {
        let Some(timed) = &part.timed else { continue };
        let times = times_of(part.benchmark);
        for channel in 0..channels(part.benchmark) {
            let mut best: Option<(usize, usize, f64)> = None;
            for (k, layer) in part.layers.iter().enumerate() {
                for target in times.iter().map(|columns| columns[channel]) {
                    let r = layer.scores.r[target];
                    if !r.is_nan() && best.is_none_or(|(_, _, largest)| r > largest) {
                        best = Some((k, target, r));
                    }
                }
            }
            let interval = timed.scores.over(&[channel]).interval;
            rows.push(Row { part, timed, channel, best, interval });
        }
    }
    let r_of = |r: &Row<'_>| r.timed.scores.r[r.channel];
    let first = |r: &Row<'_>| r.channel * r.part.benchmark.times_s.len();
    table!(rows;
        text model = |r| Some(r.part.model.model.name.clone()),
        text benchmark = |r| Some(r.part.benchmark.id.clone()),
        text subject = |r| Some(r.part.subject()),
        text channel = |r| r.part.benchmark.rois[first(r)].at.as_ref().map(|(channel, _)| channel.clone()),
        text chosen_layer = |r| r.timed.layers[r.channel].map(|(k, _)| r.part.layers[k].name),
        number layer_share = |r| r.timed.layers[r.channel].map(|(_, share)| share),
        number chosen_time_s = |r| r.timed.times[r.channel].and_then(|(t, _)| r.part.time_s(first(r) + t)),
        number time_share = |r| r.timed.times[r.channel].map(|(_, share)| share),
        number r = |r| Some(r_of(r)),
        number lower = |r| Some(r.interval[0]),
        number upper = |r| Some(r.interval[1]),
        number r2 = |r| Some(r.timed.scores.r2[r.channel]),
        number p = |r| Some(r.timed.scores.p[r.channel]),
        number p_adj = |r| Some(r.timed.adjusted[r.channel]),
        text best_layer = |r| r.best.map(|(k, _, _)| r.part.layers[k].name),
        number best_time_s = |r| r.best.and_then(|(_, target, _)| r.part.time_s(target)),
        number best_r = |r| r.best.map(|(_, _, largest)| largest),
        number selection_bias = |r| r.best.map(|(_, _, largest)| largest - r_of(r)),
        text status = |r| Some(if r_of(r).is_nan() { "undefined: no layer and time has a score" } else { "ok" }),
    )
}

/// The correlation of a layer's place with the time at which it predicts best, over channels: r and p.
fn temporal(part: &Part<'_>, draws: usize, seed: u64) -> Result<Option<(f64, f64)>, StudyError> {
    let times = &part.benchmark.times_s;
    if times.is_empty() {
        return Ok(None);
    }
    let over = |k: usize, t: usize| {
        let of: Vec<f64> = part.layers[k]
            .scores
            .r
            .iter()
            .copied()
            .skip(t)
            .step_by(times.len())
            .filter(|r| !r.is_nan())
            .collect();
        mean(&of)
    };
    let scores = Mat::from_fn(part.layers.len(), times.len(), over);
    let found = temporal_score(scores.as_ref(), times, 0.0, PlaceRule::Largest, draws, seed)
        .map_err(StudyError::in_context(&format!("times of `{}`", part.benchmark.id)))?;
    Ok(Some((found.r, found.p_value)))
}

/// The correlation of depth with the hierarchy of targets, where there is one: r, p and how many targets count.
fn spatial(part: &Part<'_>, draws: usize, seed: u64) -> Result<Option<(f64, f64, usize)>, StudyError> {
    let rois = &part.benchmark.rois;
    let placed: Vec<(usize, f64)> =
        rois.iter().enumerate().filter_map(|(j, roi)| Some((j, roi.hierarchy?))).collect();
    if placed.is_empty() {
        return Ok(None);
    }
    let scores = Mat::from_fn(part.layers.len(), placed.len(), |k, at| part.layers[k].scores.r[placed[at].0]);
    let judged: Vec<Option<bool>> = placed.iter().map(|(j, _)| part.significant(*j)).collect();
    let kept: Vec<bool> = match judged.iter().any(Option::is_some) {
        true => judged.iter().map(|s| *s == Some(true)).collect(),
        false => Vec::new(),
    };
    let hierarchy: Vec<f64> = placed.iter().map(|(_, level)| *level).collect();
    let params = SpatialParams {
        rule: PlaceRule::Largest,
        kept: &kept,
        regions: &[],
        of_mean_profile: false,
        surrogates: None,
        n_permutations: draws,
        seed,
    };
    let found = spatial_score(scores.as_ref(), &hierarchy, &params)
        .map_err(StudyError::in_context(&format!("hierarchy of `{}`", part.benchmark.id)))?;
    Ok(Some((found.r, found.p_value, found.points.len())))
}

fn models_table(parts: &[Part<'_>], draws: usize, seed: u64) -> Result<Table, StudyError> {
    struct Row<'a> {
        part: &'a Part<'a>,
        every_layer: f64,
        nested: MeanScore,
        best: f64,
        share_significant: Option<f64>,
        n_undefined: usize,
        spatial: Option<(f64, f64, usize)>,
        temporal: Option<(f64, f64)>,
        /// All layers combined over all targets, and what that gains over the layers chosen.
        combined: Option<(MeanScore, (f64, [f64; 2]))>,
    }
    let rows: Vec<Row<'_>> = parts
        .iter()
        .map(|part| {
            let n = part.benchmark.rois.len();
            let kept: Vec<usize> = (0..n)
                .filter(|&j| !part.best.r[j].is_nan() && part.layers.iter().all(|l| !l.scores.r[j].is_nan()))
                .collect();
            let over = |of: &dyn Fn(usize) -> f64| mean(&kept.iter().map(|&j| of(j)).collect::<Vec<_>>());
            let judged: Vec<bool> = kept.iter().filter_map(|&j| part.significant(j)).collect();
            Ok(Row {
                spatial: spatial(part, draws, seed)?,
                temporal: temporal(part, draws, seed)?,
                every_layer: over(&|j| mean(&part.layers.iter().map(|l| l.scores.r[j]).collect::<Vec<_>>())),
                nested: part.best.over(&kept),
                best: over(&|j| part.layers.iter().map(|l| l.scores.r[j]).fold(f64::NAN, f64::max)),
                share_significant: (!judged.is_empty())
                    .then(|| judged.iter().filter(|s| **s).count() as f64 / judged.len() as f64),
                n_undefined: n - kept.len(),
                combined: part
                    .combined
                    .as_ref()
                    .map(|c| (part.groups[0].1[part.layers.len() + 1], c.gains[0])),
                part,
            })
        })
        .collect::<Result<_, StudyError>>()?;
    Ok(table!(rows;
        text model = |r| Some(r.part.model.model.name.clone()),
        text modality = |r| Some(r.part.model.model.modality.clone()),
        text benchmark = |r| Some(r.part.benchmark.id.clone()),
        text subject = |r| Some(r.part.subject()),
        integer n_layers = |r| Some(r.part.layers.len() as i64),
        integer n_targets = |r| Some(r.nested.n_targets as i64),
        integer n_undefined = |r| Some(r.n_undefined as i64),
        number mean_r = |r| Some(r.every_layer),
        number nested_r = |r| Some(r.nested.r),
        number lower = |r| Some(r.nested.interval[0]),
        number upper = |r| Some(r.nested.interval[1]),
        number best_r = |r| Some(r.best),
        number selection_bias = |r| Some(r.best - r.nested.r),
        number nested_r2 = |r| Some(r.nested.r2),
        number share_significant = |r| r.share_significant,
        text combined = |r| r.part.combined.as_ref().map(|c| c.layer.name),
        number combined_r = |r| r.combined.as_ref().map(|c| c.0.r),
        number combined_lower = |r| r.combined.as_ref().map(|c| c.0.interval[0]),
        number combined_upper = |r| r.combined.as_ref().map(|c| c.0.interval[1]),
        number combined_r2 = |r| r.combined.as_ref().map(|c| c.0.r2),
        number gain = |r| r.combined.as_ref().map(|c| c.1.0),
        number gain_lower = |r| r.combined.as_ref().map(|c| c.1.1[0]),
        number gain_upper = |r| r.combined.as_ref().map(|c| c.1.1[1]),
        number spatial_r = |r| r.spatial.map(|s| s.0),
        number spatial_p = |r| r.spatial.map(|s| s.1),
        integer n_spatial = |r| r.spatial.map(|s| s.2 as i64),
        number temporal_r = |r| r.temporal.map(|t| t.0),
        number temporal_p = |r| r.temporal.map(|t| t.1),
        number share_at_edge = |r| Some(r.part.share_at_edge),
        text status = |r| Some(match r.nested.n_targets {
            0 => "undefined: no target has a score in every layer",
            _ => "ok",
        }),
    ))
}
