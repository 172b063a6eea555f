//! A small network with a known order beside a simulated area with known tuning, as a physiologist would look at them.
//!
//! Both see (or are said to see) the project's drifting gratings and moving dots. What was planted is set beside what
//! the view found, from its tables.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use stereotax::data::{Monitor, ResponseTensor};
use stereotax::pipelines::physiology::{Column, NamedTable, PhysiologyParams, Population, Role, physiology};
use stereotax_io::{Table, Values, write_atomic, write_parquet};
use stereotax_models::stimuli::{Clip, Pattern, draw};
use stereotax_models::video_network::{NetworkParams, VideoNetwork};
use stereotax_report::{ReportInput, render_physiology};
use stereotax_study::StudyError;
use stereotax_testkit::area::{AreaParams, simulate_area};

use super::compare::core;
use crate::Failure;
use crate::args::DemoArgs;
use crate::progress::{Bar, stop_flag};

const DIRECTIONS: usize = 8;
const FRAMES: usize = 24;
/// Frames at 30 Hz.
const BIN_S: f64 = 1.0 / 30.0;
/// Instances of every stimulus for the network, and repeats of it for the area.
const INSTANCES: usize = 3;
/// How much units of the area differ in what single stimuli mean to them.
const GAIN_SPREAD: f64 = 0.1;
/// Pixels per frame.
const SPEED: f64 = 1.5;

/// How much is simulated.
#[derive(Debug, Clone)]
struct Sizes {
    network: NetworkParams,
    area_units: usize,
    view: PhysiologyParams,
}

impl Sizes {
    fn of_the_demo(seed: u64) -> Self {
        Sizes {
            network: NetworkParams { seed, ..Default::default() },
            area_units: 120,
            view: PhysiologyParams {
                smoothing_bins: 1.0,
                ranks: (2..=7).collect(),
                seed,
                ..Default::default()
            },
        }
    }
}

pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.resources.threads.unwrap_or(0))
        .build()
        .map_err(|e| Failure { message: format!("threads cannot be started: {e}"), exit_code: 1 })?;
    let bar = Bar::new();
    let follow = |event| bar.follow(&event);
    let sizes = Sizes::of_the_demo(args.seed);
    let (tables, truth) = pool.install(|| simulated_view(&sizes, &Monitor::new(&follow, stop_flag())))?;
    write(&args.out, args.seed, &sizes, tables, truth)?;
    eprintln!("\nThis is a simulation. Open {} in a browser.", args.out.join("report.html").display());
    Ok(())
}

/// Simulate, look, and set the planted beside the found.
fn simulated_view(
    sizes: &Sizes,
    monitor: &Monitor<'_>,
) -> Result<(BTreeMap<String, Table>, Vec<Value>), Failure> {
    let network = VideoNetwork::new(sizes.network).map_err(core)?;
    let modules = shown(&network, sizes).map_err(core)?;
    let area = simulate_area(&AreaParams {
        n_units: sizes.area_units,
        stimuli: patterns()
            .into_iter()
            .map(|(name, p)| (name, matches!(p, Pattern::Grating { .. })))
            .collect(),
        n_directions: DIRECTIONS,
        n_times: FRAMES,
        bin_s: BIN_S,
        gain_spread: GAIN_SPREAD,
        n_repeats: INSTANCES,
        noise_hz: 0.3,
        seed: sizes.network.seed,
    })
    .map_err(core)?;
    let mut populations: Vec<Population> = ["encoder", "core", "readout"]
        .into_iter()
        .zip(modules)
        .map(|(name, instances)| Population::of_repeats(name, Role::Module, instances))
        .collect::<stereotax::Result<_>>()
        .map_err(core)?;
    populations
        .push(Population::of_repeats("simulated area", Role::Area, area.repeats.clone()).map_err(core)?);
    let found = physiology(&populations, &sizes.view, monitor).map_err(core)?;
    let tables: BTreeMap<String, Table> =
        found.tables().into_iter().map(|table| (table.name.to_owned(), as_table(table))).collect();
    let truth = planted_beside_found(&tables["units"], &area.places, &area.directions_deg, &network);
    Ok((tables, truth))
}

fn patterns() -> Vec<(String, Pattern)> {
    let dots = |per_group, bright| Pattern::Dots {
        diameter_px: 4.0,
        per_group,
        spacing_px: 5.0,
        n_groups: if per_group == 1 { 7 } else { 3 },
        bright,
    };
    vec![
        ("grating_12".into(), Pattern::Grating { period_px: 12.0 }),
        ("grating_8".into(), Pattern::Grating { period_px: 8.0 }),
        ("bright_dots".into(), dots(1, true)),
        ("dark_dots".into(), dots(1, false)),
        ("bright_triples".into(), dots(3, true)),
        ("dark_triples".into(), dots(3, false)),
    ]
}

/// Responses of encoder, core and readout to every instance.
fn shown(network: &VideoNetwork, sizes: &Sizes) -> stereotax::Result<Vec<Vec<ResponseTensor>>> {
    use rayon::prelude::*;
    let patterns = patterns();
    let cells: Vec<(usize, usize)> =
        (0..patterns.len()).flat_map(|s| (0..DIRECTIONS).map(move |d| (s, d))).collect();
    let activations = cells
        .par_iter()
        .map(|&(s, d)| {
            (0..INSTANCES)
                .map(|instance| {
                    network.show(&draw(&Clip {
                        height: sizes.network.height,
                        width: sizes.network.width,
                        n_frames: FRAMES,
                        pattern: patterns[s].1,
                        direction_deg: 360.0 * d as f64 / DIRECTIONS as f64,
                        speed_px: SPEED,
                        contrast: 1.0,
                        seed: sizes.network.seed,
                        instance,
                    })?)
                })
                .collect::<stereotax::Result<Vec<_>>>()
        })
        .collect::<stereotax::Result<Vec<_>>>()?;
    let angles: Vec<f64> = (0..DIRECTIONS).map(|d| 360.0 * d as f64 / DIRECTIONS as f64).collect();
    (0..3)
        .map(|module| {
            let line = |cell: usize, instance: usize| {
                let found = &activations[cell][instance];
                [&found.encoder, &found.core, &found.readout][module]
            };
            let n_units = line(0, 0).len() / FRAMES;
            let units: Vec<String> = (0..n_units).map(|n| format!("unit {n:03}")).collect();
            let stimuli: Vec<String> = patterns.iter().map(|(name, _)| name.clone()).collect();
            (0..INSTANCES)
                .map(|instance| {
                    let values = (0..n_units)
                        .flat_map(|unit| (0..cells.len()).map(move |cell| (unit, cell)))
                        .flat_map(|(unit, cell)| line(cell, instance)[unit * FRAMES..][..FRAMES].to_vec())
                        .collect();
                    ResponseTensor::new(values, units.clone(), stimuli.clone(), angles.clone(), BIN_S)
                })
                .collect()
        })
        .collect()
}

fn as_table(table: NamedTable) -> Table {
    table.columns.into_iter().fold(Table::new(), |made, (name, column)| match column {
        Column::Text(values) => made.text(&name, values),
        Column::Number(values) => made.number(&name, values.into_iter().map(Some)),
    })
}

/// Rows of `quantity`, `planted`, `recovered`, and the number behind each as `value`.
fn planted_beside_found(
    units: &Table,
    places: &[f64],
    area_directions: &[f64],
    network: &VideoNetwork,
) -> Vec<Value> {
    let populations = units.texts("population").unwrap_or_default();
    let of = |name: &str, column: &str| -> Vec<Option<f64>> {
        let Some(Values::Number(values)) = units.column(column) else { return vec![] };
        values.iter().zip(populations).filter(|(_, p)| p.as_deref() == Some(name)).map(|(v, _)| *v).collect()
    };
    // Silent units have no row: unit names say which there are.
    let numbers = |name: &str| -> Vec<usize> {
        let names = units.texts("unit").unwrap_or_default();
        let mine = names.iter().zip(populations).filter(|(_, p)| p.as_deref() == Some(name));
        mine.filter_map(|(unit, _)| unit.as_ref()?.rsplit(' ').next()?.parse().ok()).collect()
    };
    let row = |quantity: &str, planted: &str, recovered: String, value: f64| json!({"quantity": quantity, "planted": planted, "recovered": recovered, "value": value});
    let mut rows = vec![];
    let place: Vec<f64> = numbers("simulated area").into_iter().map(|n| places[n]).collect();
    let coordinates = ["x", "y", "z"].map(|axis| of("simulated area", axis));
    let r = agreement(&coordinates, &place);
    rows.push(row(
        "simulated area: order of its units",
        "a line from gratings to dots, whatever direction they prefer",
        format!("the five nearest units on the encoding manifold tell a unit's place on it: r = {r:.3}"),
        r,
    ));
    let near = |name: &str, planted: &[f64]| {
        let found = of(name, "direction_deg");
        let right = found.iter().zip(numbers(name)).filter(|(found, n)| {
            found.is_some_and(|f| ((f - planted[*n] + 540.0).rem_euclid(360.0) - 180.0).abs() <= 45.0)
        });
        right.count() as f64 / found.len().max(1) as f64
    };
    for (name, planted) in [
        ("simulated area", area_directions.to_vec()),
        ("core", network.core_directions()),
        ("readout", network.readout_directions()),
    ] {
        let share = near(name, &planted);
        rows.push(row(
            &format!("{name}: preferred directions"),
            "a direction for every unit",
            format!("{:.0} % of units within one step of 45°", 100.0 * share),
            share,
        ));
    }
    let selectivity: Vec<f64> = ["encoder", "core", "readout"]
        .iter()
        .map(|name| {
            let mut all: Vec<f64> = of(name, "direction_selectivity").into_iter().flatten().collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
        })
        .collect();
    rows.push(row(
        "direction selectivity of modules",
        "none in the encoder; core and readout compare places over time",
        format!("medians {:.2}, {:.2} and {:.2}", selectivity[0], selectivity[1], selectivity[2]),
        selectivity[1].min(selectivity[2]) - selectivity[0],
    ));
    rows
}

/// Correlation of every unit's place with the mean place of the five units nearest to it; units without coordinates
/// take no part.
fn agreement(coordinates: &[Vec<Option<f64>>; 3], places: &[f64]) -> f64 {
    let points: Vec<([f64; 3], f64)> = places
        .iter()
        .enumerate()
        .filter_map(|(n, &place)| {
            let at = |k: usize| coordinates[k].get(n).copied().flatten();
            Some(([at(0)?, at(1)?, at(2)?], place))
        })
        .collect();
    let told = |i: usize| {
        let mut far: Vec<(f64, f64)> = points
            .iter()
            .enumerate()
            .filter(|(j, _)| *j != i)
            .map(|(_, (at, place))| ((0..3).map(|k| (at[k] - points[i].0[k]).powi(2)).sum(), *place))
            .collect();
        far.sort_by(|a, b| a.0.total_cmp(&b.0));
        far.iter().take(5).map(|(_, place)| place).sum::<f64>() / far.len().clamp(1, 5) as f64
    };
    let own: Vec<f64> = points.iter().map(|(_, place)| *place).collect();
    stereotax::stats::summary::pearson(&(0..points.len()).map(told).collect::<Vec<f64>>(), &own)
}

/// Tables, manifest and page; each file whole or not at all.
fn write(
    out: &Path,
    seed: u64,
    sizes: &Sizes,
    tables: BTreeMap<String, Table>,
    truth: Vec<Value>,
) -> Result<(), Failure> {
    let results = out.join("results");
    std::fs::create_dir_all(&results).map_err(|e| StudyError::write(&results, &e))?;
    for (name, table) in &tables {
        write_parquet(table, &results.join(format!("{name}.parquet")))?;
    }
    let manifest = json!({
        "name": "Network beside brain",
        "question": "Which module of a small video network looks like a simulated visual area, unit by unit?",
        "simulated": "The network's weights are set by a rule, and the area's tuning is planted.",
        "version": env!("CARGO_PKG_VERSION"),
        "settings": {
            "seed": seed,
            "network": format!("{:?}", sizes.network),
            "stimuli": patterns().iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(", "),
            "instances and repeats": INSTANCES,
            "frames": format!("{FRAMES} at 30 Hz"),
            "ranks": format!("{:?}, {} starts", sizes.view.ranks, sizes.view.n_starts),
            "smoothing of modules": format!("{} frames", sizes.view.smoothing_bins),
            "decoding": "logistic regression, one instance or repeat held out",
            "shuffles": sizes.view.n_permutations,
        },
        "truth": truth,
    });
    let text = serde_json::to_string_pretty(&manifest).unwrap_or_default();
    write_atomic(&out.join("study.json"), text.as_bytes())?;
    let page = render_physiology(&ReportInput { tables, manifest })?;
    write_atomic(&out.join("report.html"), page.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax::manifold::TubularityParams;

    #[test]
    fn the_view_recovers_what_was_planted_and_the_page_says_so() {
        let mut sizes = Sizes::of_the_demo(7);
        sizes.network =
            NetworkParams { n_encoder: 40, n_core: 50, n_readout: 30, seed: 7, ..Default::default() };
        sizes.area_units = 60;
        sizes.view.ranks = vec![2, 3, 4, 5];
        sizes.view.n_starts = 2;
        sizes.view.n_permutations = 9;
        sizes.view.tubularity = Some(TubularityParams { n_draws: 3, ..Default::default() });
        let (tables, truth) =
            simulated_view(&sizes, &Monitor::silent()).unwrap_or_else(|failure| panic!("{failure:?}"));
        let value = |at: usize| truth[at]["value"].as_f64().unwrap();
        assert!(value(0) > 0.9, "order of units: {truth:?}");
        assert!((1..4).all(|at| value(at) > 0.85), "directions: {truth:?}");
        assert!(value(4) > 0.2, "selectivity: {truth:?}");
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 7, &sizes, tables, truth).unwrap_or_else(|failure| panic!("{failure:?}"));
        let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
        assert!(page.contains("SIMULATED DATA") && page.contains("a line from gratings to dots"));
        let units = stereotax_io::read_parquet(&folder.path().join("results/units.parquet")).unwrap();
        assert!(units.n_rows() > 150);
    }
}
