//! The tables of similarity: every layer beside every area, the best layers, models against one another, and the map.

use std::collections::BTreeMap;

use faer::Mat;
use rayon::prelude::*;
use stereotax::data::TileSource;
use stereotax::similarity::cca::saturates;
use stereotax::similarity::{
    BestLayer, Blocks, ChanceLevel, Interval, LayerDraws, Measure, ModelDifference, adjusted_together,
    best_layer, chance_level, interval_of, model_difference,
};
use stereotax::stats::multiplicity::{Adjustment, adjust};
use stereotax::stats::sign_flips::{Alternative, sign_flips};
use stereotax::stats::special::student_two_sided;
use stereotax::stats::summary::{mean, sd};
use stereotax_io::Table;

use super::encoding::positions;
use super::table;
use crate::config::{Multiplicity, SimilaritySettings};
use crate::encoding::lost;
use crate::inputs::BenchmarkInput;
use crate::plan::Pair;
use crate::run::Worker;
use crate::similarity::{BenchmarkSimilarity, MapObject, blocks_of, measures, read_layer};
use crate::{Finding, StudyError};

/// Coverage of intervals.
const LEVEL: f64 = 0.95;
/// Fewest subjects of a test over subjects.
const LEAST_SUBJECTS: usize = 3;

/// Everything of one benchmark.
struct Bench<'a> {
    worker: &'a Worker<'a>,
    benchmark: &'a BenchmarkInput,
    work: &'a BenchmarkSimilarity,
    pairs: Vec<(usize, &'a Pair)>,
    measures: Vec<&'static Measure>,
    blocks: Blocks,
    multiplicity: Multiplicity,
    /// Sign flips of subjects.
    n_flips: usize,
    /// Subjects × areas × measures; empty with one subject.
    between: Vec<f64>,
}

/// One layer of one model, of one subject or of their mean.
struct LayerPart {
    name: String,
    position: f64,
    n_units: usize,
    /// Areas × measures.
    cells: Vec<LayerDraws>,
    /// Whether ranks force the value of a cell up.
    saturated: Vec<bool>,
}

/// One row of `similarity`.
struct CellRow {
    model: String,
    benchmark: String,
    subject: String,
    area: String,
    layer: String,
    position: f64,
    measure: &'static str,
    value: f64,
    interval: Option<[f64; 2]>,
    kind: Interval,
    level: ChanceLevel,
    p_adj: f64,
    adjustment: &'static str,
    ceiling: f64,
    n: usize,
    n_units: usize,
    n_columns: usize,
    status: &'static str,
}

/// One row of `similarity_best`.
struct BestRow {
    model: String,
    modality: String,
    benchmark: String,
    subject: String,
    area: String,
    measure: &'static str,
    layer: Option<String>,
    depth: f64,
    win_share: f64,
    best: BestLayer,
    chance: f64,
    ceiling: f64,
    p_adj: f64,
    n_layers: usize,
    status: &'static str,
}

/// One row of `similarity_differences`.
struct DifferenceRow {
    models: [String; 2],
    benchmark: String,
    subject: String,
    area: String,
    measure: &'static str,
    found: ModelDifference,
    p_adj: f64,
    adjustment: &'static str,
    of_subjects: Option<OfSubjects>,
    status: &'static str,
}

/// A difference judged by how it varies over subjects.
#[derive(Clone, Copy)]
struct OfSubjects {
    /// By a t-test.
    p: f64,
    /// By sign flips of the subjects, over all differences; none without permutations.
    p_adj: Option<f64>,
    n: usize,
}

/// One point of `similarity_map`.
struct MapRow {
    benchmark: String,
    kind: &'static str,
    model: Option<String>,
    modality: Option<String>,
    layer: Option<String>,
    position: Option<f64>,
    subject: Option<String>,
    area: Option<String>,
    place: [f64; 2],
    distance: String,
    stress: f64,
}

/// One row of `similarity_distances`.
struct DistanceRow {
    benchmark: String,
    distance: String,
    objects: [usize; 2],
    names: [[Option<String>; 4]; 2],
    value: f64,
}

/// The tables, in a study that asks for them.
pub(super) fn similarity_tables(
    worker: &Worker<'_>,
    findings: &mut Vec<Finding>,
) -> Result<BTreeMap<String, Table>, StudyError> {
    let Some(settings) = &worker.study.file.similarity else { return Ok(BTreeMap::new()) };
    let mut cells = Vec::new();
    let mut best = Vec::new();
    let mut differences = Vec::new();
    let (mut places, mut distances) = (Vec::new(), Vec::new());
    for (at, work) in worker.grid.similarity.iter().enumerate() {
        let bench = Bench::new(worker, settings, at, work)?;
        bench.tell(findings);
        bench.rows(&mut cells, &mut best, &mut differences)?;
        bench.map(settings, &mut places, &mut distances, findings)?;
    }
    let mut tables = BTreeMap::from([
        ("similarity".to_owned(), cells_table(&cells)),
        ("similarity_best".to_owned(), best_table(&best)),
        ("similarity_differences".to_owned(), differences_table(&differences)),
    ]);
    if settings.map.is_some() {
        tables.insert("similarity_map".to_owned(), map_table(&places));
        tables.insert("similarity_distances".to_owned(), distances_table(&distances));
    }
    Ok(tables)
}

impl<'a> Bench<'a> {
    fn new(
        worker: &'a Worker<'a>,
        settings: &SimilaritySettings,
        at: usize,
        work: &'a BenchmarkSimilarity,
    ) -> Result<Self, StudyError> {
        let benchmark = &worker.inputs.benchmarks[at];
        let blocks = blocks_of(settings, benchmark, worker.study.file.seed)
            .map_err(StudyError::in_context(&format!("benchmark `{}`", benchmark.id)))?;
        let between = match &work.between {
            Some(spec) => worker.store.load(spec).and_then(|p| p.get("values")).ok_or_else(|| lost(spec))?,
            None => Vec::new(),
        };
        let pairs = worker.grid.pairs.iter().enumerate().filter(|(_, pair)| pair.benchmark == at).collect();
        Ok(Bench {
            worker,
            benchmark,
            work,
            pairs,
            measures: measures(settings),
            blocks,
            multiplicity: settings.multiplicity,
            n_flips: settings.permutations,
            between,
        })
    }

    /// What a reader should know of the areas.
    fn tell(&self, findings: &mut Vec<Finding>) {
        let labelled = self.benchmark.subjects.iter().any(|s| s.voxels.is_some());
        let without = self.benchmark.rois.iter().filter(|roi| roi.network.is_none()).count();
        if !labelled && without > 0 && without < self.benchmark.rois.len() {
            let text = format!(
                "similarity on `{}`: {without} of {} columns belong to no network and to no area",
                self.benchmark.id,
                self.benchmark.rois.len()
            );
            findings.push(Finding::caution("columns_without_area", text));
        }
    }

    fn n_subjects(&self) -> usize {
        self.benchmark.subjects.len()
    }

    fn n_cells(&self) -> usize {
        self.work.areas.len() * self.measures.len()
    }

    fn subject_name(&self, subject: Option<usize>) -> String {
        subject.map_or("(mean)".to_owned(), |s| self.benchmark.subjects[s].id.clone())
    }

    fn model_name(&self, pair: &Pair) -> String {
        self.worker.inputs.models[pair.model].model.name.clone()
    }

    /// Value between subjects, of one of them or of their mean; NaN without.
    fn ceiling(&self, subject: Option<usize>, cell: usize) -> f64 {
        let of = |s: usize| self.between.get(s * self.n_cells() + cell).copied().unwrap_or(f64::NAN);
        match subject {
            Some(s) => of(s),
            None => {
                let known: Vec<f64> = (0..self.n_subjects()).map(of).filter(|v| !v.is_nan()).collect();
                if known.is_empty() { f64::NAN } else { mean(&known) }
            }
        }
    }

    /// Columns of an area: of a subject, or the fewest of all.
    fn n_columns(&self, subject: Option<usize>, area: usize) -> usize {
        let of = |s: usize| self.work.columns[s][area].len();
        subject.map_or_else(|| (0..self.n_subjects()).map(of).min().unwrap_or(0), of)
    }

    /// The layers of one model for one subject, or their mean over subjects.
    fn layers(&self, pair: &Pair, subject: Option<usize>) -> Result<Vec<LayerPart>, StudyError> {
        let model = &self.worker.inputs.models[pair.model];
        let names = model.activations[pair.activation].layers.layers();
        let positions = positions(model, pair.activation);
        let n_stimuli = self.benchmark.design.n_samples();
        let layers = pair.similarity.as_ref().map_or(&[][..], |s| &s.layers);
        layers
            .par_iter()
            .map(|(index, specs)| {
                let wanted = match subject {
                    Some(s) => &specs[s..=s],
                    None => &specs[..],
                };
                let nodes =
                    wanted.iter().map(|spec| read_layer(self.worker, spec)).collect::<Result<Vec<_>, _>>()?;
                let of_node = |node: &crate::similarity::LayerNode, cell: usize| {
                    let part = |all: &[f32]| {
                        let n = all.len() / self.n_cells().max(1);
                        all[cell * n..(cell + 1) * n].to_vec()
                    };
                    LayerDraws { value: node.values[cell], null: part(&node.null), draws: part(&node.draws) }
                };
                let cells = (0..self.n_cells())
                    .map(|cell| {
                        let all: Vec<LayerDraws> = nodes.iter().map(|node| of_node(node, cell)).collect();
                        match subject {
                            Some(_) => all.into_iter().next().unwrap_or_default(),
                            None => LayerDraws::mean(&all.iter().collect::<Vec<_>>()),
                        }
                    })
                    .collect();
                let saturated = (0..self.n_cells())
                    .map(|cell| {
                        let (area, at) = (cell / self.measures.len(), cell % self.measures.len());
                        let full = |node: &crate::similarity::LayerNode| {
                            node.area_ranks[area].is_some_and(|rank| saturates(node.rank, rank, n_stimuli))
                        };
                        self.measures[at].saturates && nodes.iter().any(full)
                    })
                    .collect();
                Ok(LayerPart {
                    name: names[*index].name.clone(),
                    position: positions[*index],
                    n_units: nodes.first().map_or(0, |node| node.n_units),
                    cells,
                    saturated,
                })
            })
            .collect()
    }

    /// Rows of every subject, and of their mean last.
    fn rows(
        &self,
        cells: &mut Vec<CellRow>,
        best: &mut Vec<BestRow>,
        differences: &mut Vec<DifferenceRow>,
    ) -> Result<(), StudyError> {
        let mut subjects: Vec<Option<usize>> = (0..self.n_subjects()).map(Some).collect();
        if self.n_subjects() > 1 {
            subjects.push(None);
        }
        // Per subject: model × cell, the corrected values of best layers.
        let mut corrected: Vec<Vec<Vec<f64>>> = Vec::new();
        for subject in subjects {
            let parts: Vec<Vec<LayerPart>> =
                self.pairs.iter().map(|(_, pair)| self.layers(pair, subject)).collect::<Result<_, _>>()?;
            let adjusted = self.cell_rows(&parts, subject, cells);
            let found = self.best_rows(&parts, &adjusted, subject, best);
            self.difference_rows(&found, &corrected, subject, differences);
            corrected.push(found.iter().map(|of| of.iter().map(|b| b.corrected).collect()).collect());
        }
        Ok(())
    }

    /// One row per layer, area and measure; answers with the adjusted p-values, model by model and layer by layer.
    fn cell_rows(
        &self,
        parts: &[Vec<LayerPart>],
        subject: Option<usize>,
        rows: &mut Vec<CellRow>,
    ) -> Vec<Vec<Vec<f64>>> {
        let each: Vec<(&LayerDraws, &'static Measure)> = parts
            .iter()
            .flatten()
            .flat_map(|layer| layer.cells.iter().enumerate())
            .map(|(cell, draws)| (draws, self.measures[cell % self.measures.len()]))
            .collect();
        let levels: Vec<ChanceLevel> = each
            .par_iter()
            .map(|(c, m)| chance_level(c.value, c.null.iter().map(|v| f64::from(*v)), m.direction))
            .collect();
        let p: Vec<f64> = levels.iter().map(|level| level.p_value).collect();
        let (adjusted, adjustment) = match self.multiplicity {
            Multiplicity::MaxT => {
                let standardised: Vec<(f64, Vec<f32>)> =
                    each.par_iter().map(|(cell, measure)| cell.standardised(measure)).collect();
                (adjusted_together(&standardised), "max_t")
            }
            other => by_p(&p, other),
        };
        let mut at = 0;
        let mut answer = Vec::new();
        for ((_, pair), layers) in self.pairs.iter().zip(parts) {
            let mut of_model = Vec::new();
            for layer in layers {
                of_model.push(adjusted[at..at + layer.cells.len()].to_vec());
                for (cell, draws) in layer.cells.iter().enumerate() {
                    let (area, measure) =
                        (cell / self.measures.len(), self.measures[cell % self.measures.len()]);
                    let drawn = draws.draws.iter().map(|v| f64::from(*v));
                    let interval = match layer.saturated[cell] {
                        true => None,
                        false => interval_of(draws.value, drawn, measure, &self.blocks, LEVEL),
                    };
                    rows.push(CellRow {
                        model: self.model_name(pair),
                        benchmark: self.benchmark.id.clone(),
                        subject: self.subject_name(subject),
                        area: self.work.areas[area].clone(),
                        layer: layer.name.clone(),
                        position: layer.position,
                        measure: measure.id,
                        value: draws.value,
                        interval,
                        kind: measure.interval,
                        level: levels[at],
                        p_adj: adjusted[at],
                        adjustment,
                        ceiling: self.ceiling(subject, cell),
                        n: self.benchmark.design.n_samples(),
                        n_units: layer.n_units,
                        n_columns: self.n_columns(subject, area),
                        status: self.status(draws.value, layer.saturated[cell], subject, area),
                    });
                    at += 1;
                }
            }
            answer.push(of_model);
        }
        answer
    }

    fn status(&self, value: f64, saturated: bool, subject: Option<usize>, area: usize) -> &'static str {
        match (value.is_nan(), self.n_columns(subject, area), saturated) {
            (true, 0, _) => "undefined: the area has no column whose responses are finite",
            (true, _, _) => {
                "undefined: a side does not vary, or has too few stimuli or units for this measure"
            }
            (false, _, true) => {
                "saturated: the ranks of both sides force the value up, whatever the data are"
            }
            (false, _, false) => "ok",
        }
    }

    /// The best layer of every model, area by area and measure by measure.
    fn best_rows(
        &self,
        parts: &[Vec<LayerPart>],
        adjusted: &[Vec<Vec<f64>>],
        subject: Option<usize>,
        rows: &mut Vec<BestRow>,
    ) -> Vec<Vec<BestLayer>> {
        let mut answer = Vec::new();
        for (((_, pair), layers), adjusted) in self.pairs.iter().zip(parts).zip(adjusted) {
            let of_cell = |cell: usize| {
                let measure = self.measures[cell % self.measures.len()];
                let saturated = layers.iter().any(|layer| layer.saturated[cell]);
                let of = |layer: &LayerPart| {
                    let mut draws = layer.cells[cell].clone();
                    // Where ranks force values up, their spread tells nothing of the choice.
                    if saturated {
                        draws.draws.clear();
                    }
                    draws
                };
                let drawn: Vec<LayerDraws> = layers.iter().map(of).collect();
                (best_layer(&drawn, measure, self.blocks.factor(measure.interval), LEVEL), saturated)
            };
            let found: Vec<(BestLayer, bool)> = (0..self.n_cells()).into_par_iter().map(of_cell).collect();
            let about = &self.worker.inputs.models[pair.model].model;
            for (cell, (best, saturated)) in found.iter().enumerate() {
                let (area, measure) = (cell / self.measures.len(), self.measures[cell % self.measures.len()]);
                let layer = best.index.map(|k| &layers[k]);
                let chance = layer.map_or(f64::NAN, |layer| {
                    let cell = &layer.cells[cell];
                    let null = cell.null.iter().map(|v| f64::from(*v));
                    chance_level(cell.value, null, measure.direction).chance
                });
                rows.push(BestRow {
                    model: about.name.clone(),
                    modality: about.modality.clone(),
                    benchmark: self.benchmark.id.clone(),
                    subject: self.subject_name(subject),
                    area: self.work.areas[area].clone(),
                    measure: measure.id,
                    layer: layer.map(|layer| layer.name.clone()),
                    depth: layer.map_or(f64::NAN, |layer| layer.position),
                    win_share: best.index.and_then(|k| best.win_share.get(k).copied()).unwrap_or(f64::NAN),
                    chance,
                    ceiling: self.ceiling(subject, cell),
                    p_adj: adjusted.iter().map(|layer| layer[cell]).fold(f64::NAN, f64::min),
                    n_layers: layers.len(),
                    status: self.status(best.value, *saturated, subject, area),
                    best: best.clone(),
                });
            }
            answer.push(found.into_iter().map(|(best, _)| best).collect());
        }
        answer
    }

    /// Every two models by their best layers.
    fn difference_rows(
        &self,
        best: &[Vec<BestLayer>],
        of_subjects: &[Vec<Vec<f64>>],
        subject: Option<usize>,
        rows: &mut Vec<DifferenceRow>,
    ) {
        let twos: Vec<(usize, usize)> =
            (0..best.len()).flat_map(|i| (i + 1..best.len()).map(move |j| (i, j))).collect();
        let tasks: Vec<(usize, usize, usize)> =
            twos.iter().flat_map(|&(i, j)| (0..self.n_cells()).map(move |cell| (i, j, cell))).collect();
        let found: Vec<ModelDifference> = tasks
            .par_iter()
            .map(|&(i, j, cell)| {
                let measure = self.measures[cell % self.measures.len()];
                model_difference(&best[i][cell], &best[j][cell], measure, LEVEL)
            })
            .collect();
        let (adjusted, adjustment) = match self.multiplicity {
            Multiplicity::MaxT => {
                let cells: Vec<(f64, Vec<f32>)> =
                    found.iter().map(|f| (f.statistic, f.null.clone())).collect();
                (adjusted_together(&cells), "max_t")
            }
            other => by_p(&found.iter().map(|f| f.p_value).collect::<Vec<_>>(), other),
        };
        let over_subjects = match subject {
            Some(_) => vec![None; tasks.len()],
            None => self.tests_of_subjects(of_subjects, &tasks),
        };
        for (((&(i, j, cell), found), p_adj), of_subjects) in
            tasks.iter().zip(found).zip(adjusted).zip(over_subjects)
        {
            let (area, measure) = (cell / self.measures.len(), self.measures[cell % self.measures.len()]);
            let status = match (best[i][cell].index, best[j][cell].index) {
                (Some(_), Some(_)) if !found.p_value.is_nan() => "ok",
                (Some(_), Some(_)) => "undefined: the draws of a model are undefined or do not vary",
                _ => "undefined: a model has no value",
            };
            rows.push(DifferenceRow {
                models: [i, j].map(|m| self.model_name(self.pairs[m].1)),
                benchmark: self.benchmark.id.clone(),
                subject: self.subject_name(subject),
                area: self.work.areas[area].clone(),
                measure: measure.id,
                of_subjects,
                p_adj,
                adjustment,
                found,
                status,
            });
        }
    }

    /// All differences (two models and a cell each) over subjects: a t-test each, and max-T over all of them by flips of
    /// the signs of whole subjects.
    fn tests_of_subjects(
        &self,
        corrected: &[Vec<Vec<f64>>],
        tasks: &[(usize, usize, usize)],
    ) -> Vec<Option<OfSubjects>> {
        let all: Vec<Option<Vec<f64>>> =
            tasks.iter().map(|&(i, j, cell)| of_subjects(corrected, i, j, cell)).collect();
        let values = Mat::from_fn(tasks.len(), corrected.len(), |row, s| {
            let (i, j, cell) = tasks[row];
            if all[row].is_some() { corrected[s][i][cell] - corrected[s][j][cell] } else { f64::NAN }
        });
        let ids: Vec<String> = self.benchmark.subjects.iter().map(|subject| subject.id.clone()).collect();
        let flipped =
            sign_flips(values.as_ref(), &ids, self.worker.study.file.seed, self.n_flips, Alternative::Two);
        all.iter()
            .zip(flipped.p_adjusted)
            .map(|(of, p_adj)| {
                let (of, n) = (of.as_ref()?, of.as_ref()?.len() as f64);
                let t = mean(of) / sd(of) * n.sqrt();
                let p_adj = (!p_adj.is_nan()).then_some(p_adj);
                Some(OfSubjects { p: student_two_sided(t, n - 1.0), p_adj, n: of.len() })
            })
            .collect()
    }

    /// The map of layers and areas, and its distances.
    fn map(
        &self,
        settings: &SimilaritySettings,
        places: &mut Vec<MapRow>,
        rows: &mut Vec<DistanceRow>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), StudyError> {
        let (Some(spec), Some(distance)) = (&self.work.map, &settings.map) else {
            if settings.map.is_some() {
                let text = format!(
                    "no similarity map of `{}`: fewer than three layers and areas can be drawn",
                    self.benchmark.id
                );
                findings.push(Finding::note("no_similarity_map", text));
            }
            return Ok(());
        };
        let payload = self.worker.store.load(spec).ok_or_else(|| lost(spec))?;
        let get = |name: &str| payload.get(name).ok_or_else(|| lost(spec));
        let (found, at, stress) = (get("distances")?, get("places")?, get("stress")?);
        if payload.facts["converged"].as_bool() == Some(false) {
            let text =
                format!("the similarity map of `{}` was still moving when it was stopped", self.benchmark.id);
            findings.push(Finding::caution("map_not_converged", text));
        }
        let objects = &self.work.objects;
        for (k, object) in objects.iter().enumerate() {
            let mut row = MapRow {
                benchmark: self.benchmark.id.clone(),
                kind: "area",
                model: None,
                modality: None,
                layer: None,
                position: None,
                subject: None,
                area: None,
                place: [at[2 * k], at[2 * k + 1]],
                distance: distance.clone(),
                stress: stress.first().copied().unwrap_or(f64::NAN),
            };
            match *object {
                MapObject::Layer(pair, layer) => {
                    let pair = &self.worker.grid.pairs[pair];
                    let model = &self.worker.inputs.models[pair.model];
                    row.kind = "layer";
                    row.modality = Some(model.model.modality.clone());
                    row.position = Some(positions(model, pair.activation)[layer]);
                    [row.model, row.layer, ..] = self.names_of(*object);
                }
                MapObject::Area(..) => [.., row.subject, row.area] = self.names_of(*object),
            }
            places.push(row);
        }
        for i in 0..objects.len() {
            for j in i + 1..objects.len() {
                rows.push(DistanceRow {
                    benchmark: self.benchmark.id.clone(),
                    distance: distance.clone(),
                    objects: [i, j],
                    names: [self.names_of(objects[i]), self.names_of(objects[j])],
                    value: found[i * objects.len() + j],
                });
            }
        }
        Ok(())
    }

    /// Model, layer, subject and area of a point.
    fn names_of(&self, object: MapObject) -> [Option<String>; 4] {
        match object {
            MapObject::Layer(pair, layer) => {
                let pair = &self.worker.grid.pairs[pair];
                let model = &self.worker.inputs.models[pair.model];
                let name = model.activations[pair.activation].layers.layers()[layer].name.clone();
                [Some(model.model.name.clone()), Some(name), None, None]
            }
            MapObject::Area(subject, area) => {
                let subject = self.benchmark.subjects[subject].id.clone();
                [None, None, Some(subject), Some(self.work.areas[area].clone())]
            }
        }
    }
}

fn by_p(p: &[f64], multiplicity: Multiplicity) -> (Vec<f64>, &'static str) {
    match multiplicity {
        Multiplicity::Holm => (adjust(p, Adjustment::Holm), "holm"),
        Multiplicity::Bh => (adjust(p, Adjustment::Bh), "bh"),
        Multiplicity::By => (adjust(p, Adjustment::By), "by"),
        Multiplicity::None | Multiplicity::MaxT => (adjust(p, Adjustment::None), "none"),
    }
}

/// Differences of two models, one per subject that has both, if they can be tested.
fn of_subjects(corrected: &[Vec<Vec<f64>>], i: usize, j: usize, cell: usize) -> Option<Vec<f64>> {
    let of: Vec<f64> =
        corrected.iter().map(|models| models[i][cell] - models[j][cell]).filter(|d| !d.is_nan()).collect();
    (of.len() >= LEAST_SUBJECTS && sd(&of) > 0.0).then_some(of)
}

fn kind_name(kind: Interval) -> &'static str {
    match kind {
        Interval::Bootstrap => "bootstrap",
        Interval::Jackknife => "jackknife",
    }
}

fn cells_table(rows: &[CellRow]) -> Table {
    table!(rows;
        text model = |r| Some(r.model.as_str()),
        text benchmark = |r| Some(r.benchmark.as_str()),
        text subject = |r| Some(r.subject.as_str()),
        text area = |r| Some(r.area.as_str()),
        text layer = |r| Some(r.layer.as_str()),
        number position = |r| Some(r.position),
        text measure = |r| Some(r.measure),
        number value = |r| Some(r.value),
        number lower = |r| r.interval.map(|i| i[0]),
        number upper = |r| r.interval.map(|i| i[1]),
        text interval = |r| r.interval.map(|_| kind_name(r.kind)),
        number chance = |r| Some(r.level.chance),
        number p = |r| Some(r.level.p_value),
        number p_adj = |r| Some(r.p_adj),
        text adjustment = |r| (!r.p_adj.is_nan()).then_some(r.adjustment),
        number ceiling = |r| Some(r.ceiling),
        integer n = |r| Some(r.n as i64),
        integer n_units = |r| Some(r.n_units as i64),
        integer n_columns = |r| Some(r.n_columns as i64),
        text status = |r| Some(r.status),
    )
}

fn best_table(rows: &[BestRow]) -> Table {
    table!(rows;
        text model = |r| Some(r.model.as_str()),
        text modality = |r| Some(r.modality.as_str()),
        text benchmark = |r| Some(r.benchmark.as_str()),
        text subject = |r| Some(r.subject.as_str()),
        text area = |r| Some(r.area.as_str()),
        text measure = |r| Some(r.measure),
        text best_layer = |r| r.layer.as_deref(),
        number depth = |r| Some(r.depth),
        number value = |r| Some(r.best.value),
        number corrected = |r| Some(r.best.corrected),
        number lower = |r| Some(r.best.lower),
        number upper = |r| Some(r.best.upper),
        number win_share = |r| Some(r.win_share),
        number chance = |r| Some(r.chance),
        number ceiling = |r| Some(r.ceiling),
        number p = |r| Some(r.best.p_value),
        number p_adj = |r| Some(r.p_adj),
        integer n_layers = |r| Some(r.n_layers as i64),
        text status = |r| Some(r.status),
    )
}

fn differences_table(rows: &[DifferenceRow]) -> Table {
    table!(rows;
        text model_a = |r| Some(r.models[0].as_str()),
        text model_b = |r| Some(r.models[1].as_str()),
        text benchmark = |r| Some(r.benchmark.as_str()),
        text subject = |r| Some(r.subject.as_str()),
        text area = |r| Some(r.area.as_str()),
        text measure = |r| Some(r.measure),
        number difference = |r| Some(r.found.difference),
        number lower = |r| Some(r.found.lower),
        number upper = |r| Some(r.found.upper),
        number p = |r| Some(r.found.p_value),
        number p_adj = |r| Some(r.p_adj),
        text adjustment = |r| (!r.p_adj.is_nan()).then_some(r.adjustment),
        number p_subjects = |r| r.of_subjects.map(|of| of.p),
        number p_subjects_adj = |r| r.of_subjects.and_then(|of| of.p_adj),
        integer n_subjects = |r| r.of_subjects.map(|of| of.n as i64),
        text status = |r| Some(r.status),
    )
}

fn map_table(rows: &[MapRow]) -> Table {
    table!(rows;
        text benchmark = |r| Some(r.benchmark.as_str()),
        text kind = |r| Some(r.kind),
        text model = |r| r.model.as_deref(),
        text modality = |r| r.modality.as_deref(),
        text layer = |r| r.layer.as_deref(),
        number position = |r| r.position,
        text subject = |r| r.subject.as_deref(),
        text area = |r| r.area.as_deref(),
        number x = |r| Some(r.place[0]),
        number y = |r| Some(r.place[1]),
        text distance = |r| Some(r.distance.as_str()),
        number stress = |r| Some(r.stress),
        text status = |r| Some(if r.place[0].is_nan() { "undefined: it does not vary" } else { "ok" }),
    )
}

fn distances_table(rows: &[DistanceRow]) -> Table {
    table!(rows;
        text benchmark = |r| Some(r.benchmark.as_str()),
        text measure = |r| Some(r.distance.as_str()),
        integer object_a = |r| Some(r.objects[0] as i64),
        text model_a = |r| r.names[0][0].as_deref(),
        text layer_a = |r| r.names[0][1].as_deref(),
        text subject_a = |r| r.names[0][2].as_deref(),
        text area_a = |r| r.names[0][3].as_deref(),
        integer object_b = |r| Some(r.objects[1] as i64),
        text model_b = |r| r.names[1][0].as_deref(),
        text layer_b = |r| r.names[1][1].as_deref(),
        text subject_b = |r| r.names[1][2].as_deref(),
        text area_b = |r| r.names[1][3].as_deref(),
        number distance = |r| Some(r.value),
        text status = |r| Some(if r.value.is_nan() { "undefined: a side does not vary" } else { "ok" }),
    )
}
