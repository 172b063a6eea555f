//! The view of modules and areas as named columns, for whoever writes tables.

use super::Physiology;
use crate::manifold::{Tubularity, TubularityScores};
use crate::stats::summary::{mean, quantile};

/// One column; NaN is an undefined number.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Names; `None` where there is none.
    Text(Vec<Option<String>>),
    /// Numbers.
    Number(Vec<f64>),
}

/// Columns of equal length.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTable {
    /// As a file would be called.
    pub name: &'static str,
    /// In order.
    pub columns: Vec<(String, Column)>,
}

/// A table that is filled row by row.
struct Rows {
    name: &'static str,
    columns: Vec<(String, Column)>,
}

impl Rows {
    fn new(name: &'static str, texts: &[&str], numbers: &[&str]) -> Self {
        let texts = texts.iter().map(|t| (t.to_string(), Column::Text(vec![])));
        let numbers = numbers.iter().map(|n| (n.to_string(), Column::Number(vec![])));
        Rows { name, columns: texts.chain(numbers).collect() }
    }

    fn push(&mut self, texts: &[Option<&str>], numbers: &[f64]) {
        let (mut texts, mut numbers) = (texts.iter(), numbers.iter());
        for (_, column) in &mut self.columns {
            match column {
                Column::Text(all) => all.push(texts.next().copied().flatten().map(String::from)),
                Column::Number(all) => all.push(numbers.next().copied().unwrap_or(f64::NAN)),
            }
        }
    }

    fn done(self) -> NamedTable {
        NamedTable { name: self.name, columns: self.columns }
    }
}

/// Scores of tubularity that stand in tables.
const SCORES: [(&str, fn(&TubularityScores) -> f64); 5] = [
    ("tightness", |s| s.tightness),
    ("crossing", |s| s.crossing),
    ("crossing_number", |s| s.crossing_number),
    ("tightness_contextual", |s| s.tightness_contextual),
    ("separation", |s| s.separation),
];

impl Physiology {
    /// All tables: populations, units, ranks, eigenvalues, paths, dimensions, windows, confusions, tubularity,
    /// tubularity_differences, alignment, notes.
    pub fn tables(&self) -> Vec<NamedTable> {
        vec![
            self.populations_table(),
            self.units(),
            self.ranks(),
            self.eigenvalues(),
            self.paths(),
            self.dimensions(),
            self.windows(),
            self.confusions(),
            self.tubularity_table(),
            self.differences(),
            self.alignment(),
            self.notes_table(),
        ]
    }

    fn populations_table(&self) -> NamedTable {
        let mut rows = Rows::new(
            "populations",
            &["population", "role", "held_out"],
            &[
                "n_units",
                "n_silent",
                "n_stimuli",
                "n_directions",
                "n_times",
                "bin_s",
                "rank",
                "error",
                "explained_by_paths",
                "n_parts",
                "local_dimension",
                "spectral_dimension",
                "accuracy",
                "balanced_accuracy",
                "chance",
                "null_mean",
                "p_value",
            ],
        );
        for view in &self.populations {
            let [n, s, d, t] = view.responses.shape();
            let nan = f64::NAN;
            let of = |get: &dyn Fn(&super::EncodingManifold) -> f64| view.encoding.as_ref().map_or(nan, get);
            let told = |get: &dyn Fn(&crate::decoding::Decoding) -> f64| {
                view.told.as_ref().map_or(nan, |t| get(&t.decoding))
            };
            rows.push(
                &[Some(&view.name), Some(view.role.word()), view.told.as_ref().map(|t| t.held_out.word())],
                &[
                    n as f64,
                    view.silent_units.len() as f64,
                    s as f64,
                    d as f64,
                    t as f64,
                    view.responses.bin_s(),
                    of(&|e| e.rank as f64),
                    of(&|e| e.error),
                    view.paths.as_ref().map_or(nan, |p| p.explained.iter().sum()),
                    of(&|e| e.n_parts as f64),
                    of(&|e| e.local_dimension),
                    of(&|e| e.spectral_dimension),
                    told(&|d| d.accuracy.value),
                    told(&|d| d.balanced_accuracy.value),
                    told(&|d| d.accuracy.chance),
                    told(&|d| d.accuracy.null_mean),
                    told(&|d| d.accuracy.p_value),
                ],
            );
        }
        rows.done()
    }

    fn units(&self) -> NamedTable {
        let mut rows = Rows::new(
            "units",
            &["population", "unit", "stimulus"],
            &[
                "x",
                "y",
                "z",
                "part",
                "component",
                "direction_deg",
                "direction_selectivity",
                "orientation_selectivity",
                "transience",
                "latency_s",
                "rate",
            ],
        );
        for view in &self.populations {
            for (n, tuning) in view.tuning.iter().enumerate() {
                let at = |k: usize| {
                    let made = view.encoding.as_ref().filter(|e| k < e.coordinates.ncols());
                    made.map_or(f64::NAN, |e| e.coordinates[(n, k)])
                };
                let part = view.encoding.as_ref().map_or(f64::NAN, |e| match e.parts[n] {
                    usize::MAX => f64::NAN,
                    part => part as f64,
                });
                let strongest = view.encoding.as_ref().map_or(f64::NAN, |e| {
                    let row = |r: usize| e.neurons[(n, r)];
                    (0..e.neurons.ncols()).fold(0, |best, r| if row(r) > row(best) { r } else { best }) as f64
                });
                let stimulus = tuning.stimulus.map(|s| view.responses.stimuli()[s].as_str());
                rows.push(
                    &[Some(&view.name), Some(&view.responses.units()[n]), stimulus],
                    &[
                        at(0),
                        at(1),
                        at(2),
                        part,
                        strongest,
                        tuning.direction_deg,
                        tuning.global_direction_selectivity,
                        tuning.global_orientation_selectivity,
                        tuning.transience,
                        tuning.latency_s,
                        tuning.rate,
                    ],
                );
            }
        }
        rows.done()
    }

    fn ranks(&self) -> NamedTable {
        let mut rows =
            Rows::new("ranks", &["population"], &["rank", "error", "effective_dimension", "chosen"]);
        for view in &self.populations {
            let Some(encoding) = &view.encoding else { continue };
            for measure in &encoding.ranks {
                let chosen = f64::from(u8::from(measure.rank == encoding.rank));
                let numbers = [measure.rank as f64, measure.error, measure.effective_dimension, chosen];
                rows.push(&[Some(&view.name)], &numbers);
            }
        }
        rows.done()
    }

    fn eigenvalues(&self) -> NamedTable {
        let mut rows = Rows::new("eigenvalues", &["population"], &["coordinate", "eigenvalue"]);
        for view in &self.populations {
            for (k, value) in view.encoding.iter().flat_map(|e| e.eigenvalues.iter().enumerate()) {
                rows.push(&[Some(&view.name)], &[k as f64 + 1.0, *value]);
            }
        }
        rows.done()
    }

    fn paths(&self) -> NamedTable {
        let mut rows =
            Rows::new("paths", &["population", "stimulus"], &["direction_deg", "time_s", "x", "y", "z"]);
        for view in &self.populations {
            let Some(paths) = &view.paths else { continue };
            let (t, d) = (paths.n_times, view.responses.shape()[2]);
            for row in 0..paths.scores.nrows() {
                let at = |k: usize| if k < paths.scores.ncols() { paths.scores[(row, k)] } else { 0.0 };
                if at(0).is_nan() {
                    continue;
                }
                let time = ((row % t) as f64 + 0.5) * view.responses.bin_s();
                let direction = view.responses.directions_deg()[row / t % d];
                let stimulus = &view.responses.stimuli()[row / (t * d)];
                rows.push(&[Some(&view.name), Some(stimulus)], &[direction, time, at(0), at(1), at(2)]);
            }
        }
        rows.done()
    }

    fn dimensions(&self) -> NamedTable {
        let mut rows = Rows::new("dimensions", &["population", "points", "estimate"], &["value"]);
        for view in &self.populations {
            for found in &view.dimensions {
                rows.push(&[Some(&view.name), Some(found.points), Some(found.estimate)], &[found.value]);
            }
        }
        rows.done()
    }

    fn windows(&self) -> NamedTable {
        let numbers = ["last_s", "accuracy", "sd", "balanced_accuracy", "n_unconverged"];
        let mut rows = Rows::new("windows", &["population"], &numbers);
        for view in &self.populations {
            for window in view.told.iter().flat_map(|t| &t.windows) {
                let last = (window.last + 1) as f64 * view.responses.bin_s();
                let early = window.n_unconverged as f64;
                let numbers = [last, window.accuracy, window.sd, window.balanced_accuracy, early];
                rows.push(&[Some(&view.name)], &numbers);
            }
        }
        rows.done()
    }

    fn confusions(&self) -> NamedTable {
        let mut rows = Rows::new("confusions", &["population", "observed", "predicted"], &["n", "share"]);
        for view in &self.populations {
            let Some(found) = view.told.as_ref().map(|t| &t.decoding) else { continue };
            let k = found.classes.len();
            for (cell, &n) in found.confusion.iter().enumerate() {
                let share = n as f64 / found.n_of_class[cell / k].max(1) as f64;
                let names = [
                    Some(view.name.as_str()),
                    Some(&found.classes[cell / k]),
                    Some(&found.classes[cell % k]),
                ];
                rows.push(&names, &[n as f64, share]);
            }
        }
        rows.done()
    }

    fn tubularity_table(&self) -> NamedTable {
        let mut rows =
            Rows::new("tubularity", &["population", "score"], &["mean", "low", "high", "n_units", "n_draws"]);
        for (at, found) in &self.tubularity {
            for (score, get) in SCORES {
                let draws: Vec<f64> = found.draws.iter().map(get).collect();
                let n = [found.n_units as f64, draws.len() as f64];
                rows.push(
                    &[Some(&self.populations[*at].name), Some(score)],
                    &[mean(&draws), quantile(&draws, 0.025), quantile(&draws, 0.975), n[0], n[1]],
                );
            }
        }
        rows.done()
    }

    fn differences(&self) -> NamedTable {
        let mut rows =
            Rows::new("tubularity_differences", &["first", "second", "score"], &["mean", "low", "high"]);
        let all = &self.tubularity;
        for (i, (a, first)) in all.iter().enumerate() {
            for (b, second) in &all[i + 1..] {
                for (score, get) in SCORES {
                    let draws = paired(first, second, get);
                    rows.push(
                        &[Some(&self.populations[*a].name), Some(&self.populations[*b].name), Some(score)],
                        &[mean(&draws), quantile(&draws, 0.025), quantile(&draws, 0.975)],
                    );
                }
            }
        }
        rows.done()
    }

    fn alignment(&self) -> NamedTable {
        let mut rows = Rows::new(
            "alignment",
            &["first", "first_role", "second", "second_role", "measure"],
            &["value", "chance", "p_value", "n_conditions"],
        );
        for pair in &self.pairs {
            let (a, b) = (&self.populations[pair.first], &self.populations[pair.second]);
            let n = if pair.n_conditions == 0 { f64::NAN } else { pair.n_conditions as f64 };
            rows.push(
                &[
                    Some(&a.name),
                    Some(a.role.word()),
                    Some(&b.name),
                    Some(b.role.word()),
                    Some(&pair.measure),
                ],
                &[pair.value, pair.chance, pair.p_value, n],
            );
        }
        rows.done()
    }

    fn notes_table(&self) -> NamedTable {
        let mut rows = Rows::new("notes", &["population", "note"], &[]);
        for view in &self.populations {
            view.notes.iter().for_each(|note| rows.push(&[Some(&view.name), Some(note)], &[]));
        }
        self.notes.iter().for_each(|note| rows.push(&[None, Some(note)], &[]));
        rows.done()
    }
}

fn paired(a: &Tubularity, b: &Tubularity, get: fn(&TubularityScores) -> f64) -> Vec<f64> {
    a.draws.iter().zip(&b.draws).map(|(a, b)| get(a) - get(b)).collect()
}
