//! `[analysis.similarity]` from files to report: planted layers are recovered, noise is not, bytes stay the same.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use common::{assert_same, results, rows, run, stereotax, told, write_arrays};
use faer::Mat;
use stereotax::data::{Monitor, Precision};
use stereotax::similarity::{
    BestLayer, Blocks, LayerDraws, Measure, ModelDifference, Pair, Representation, adjusted_together,
    best_layer, chance_level, compare_with_all, interval_of, measure, model_difference,
};
use stereotax::stats::rng::Stream;
use stereotax::stats::summary::{mean, sd};
use stereotax_io::{Table, read_parquet};

const N: usize = 48;
const LAYERS: usize = 4;
const DIMS: usize = 3;
/// Columns of an area.
const COLUMNS: usize = 7;

/// How a planted study differs from the plain one.
#[derive(Clone, Copy, Default)]
struct Kind {
    /// Areas are labels of voxels and not networks of ROIs.
    voxels: bool,
    /// One more area that does not vary, and a column that holds a NaN.
    spoiled: bool,
    /// The second subject's file lacks a stimulus.
    lacking: bool,
}

/// Two models: layer l of `net` holds latents of its own, in different widths; `noise` holds nothing. Area a follows
/// layer a of `net`, in two subjects with their own noise and their own mixing of the latents.
fn write_planted(folder: &Path, kind: Kind, analysis: &str) -> PathBuf {
    let mut latent = Stream::new(31, "latents", 0);
    let z: Vec<Vec<f64>> = (0..LAYERS * DIMS).map(|_| (0..N).map(|_| latent.normal()).collect()).collect();
    let names: Vec<String> = (0..LAYERS).map(|l| format!("block{l}")).collect();
    for (file, strength) in [("net", 1.0), ("noise", 0.0)] {
        let mut noise = Stream::new(32, file, 0);
        let layers: Vec<(&str, usize, Vec<f32>)> = (0..LAYERS)
            .map(|l| {
                // The widest has more units than there are stimuli.
                let width = [6, 20, 60, 11][l];
                let mixing: Vec<f64> = (0..DIMS * width).map(|_| noise.normal()).collect();
                let values = (0..N * width)
                    .map(|at| {
                        let (i, u) = (at / width, at % width);
                        let own: f64 = (0..DIMS).map(|k| z[l * DIMS + k][i] * mixing[k * width + u]).sum();
                        (strength * own + 0.5 * noise.normal()) as f32
                    })
                    .collect();
                (names[l].as_str(), width, values)
            })
            .collect();
        write_arrays(&folder.join(format!("{file}.safetensors")), &layers);
    }
    let n_areas = LAYERS + usize::from(kind.spoiled);
    let n_columns = n_areas * COLUMNS;
    let area = |j: usize| if j / COLUMNS < LAYERS { format!("area{}", j / COLUMNS) } else { "flat".into() };
    let rois: String = (0..n_columns).map(|j| format!("column{j:02},{}\n", area(j))).collect();
    fs::write(folder.join("rois.csv"), format!("roi,network\n{rois}")).unwrap();
    let labels: String = (0..n_columns).map(|j| format!("{}\n", area(j))).collect();
    fs::write(folder.join("labels.csv"), format!("roi\n{labels}")).unwrap();
    let ids: Vec<String> = (0..N).map(|i| format!("stim{i:02}")).collect();
    fs::write(folder.join("stimuli.csv"), format!("stimulus_id\n{}\n", ids.join("\n"))).unwrap();
    for (s, subject) in ["one", "two", "three"].iter().enumerate() {
        let mut noise = Stream::new(33, "responses", s as u64);
        let mixing: Vec<f64> = (0..n_columns * DIMS).map(|_| noise.normal()).collect();
        let values: Vec<f32> = (0..N * n_columns)
            .map(|at| {
                let (i, j) = (at / n_columns, at % n_columns);
                let a = j / COLUMNS;
                if a == LAYERS {
                    return 1.5;
                }
                if kind.spoiled && (i, j) == (3, 1) {
                    return f32::NAN;
                }
                let signal: f64 = (0..DIMS).map(|k| z[a * DIMS + k][i] * mixing[j * DIMS + k]).sum();
                (signal + noise.normal()) as f32
            })
            .collect();
        write_arrays(&folder.join(format!("{subject}.safetensors")), &[("response", n_columns, values)]);
        // Rows in an order of their own, by id.
        let kept = if kind.lacking && s == 1 { 1 } else { 0 };
        let mut own = ids.clone();
        if kept > 0 {
            own[5] = "another".into();
        }
        fs::write(folder.join(format!("{subject}.csv")), format!("stimulus_id\n{}\n", own.join("\n")))
            .unwrap();
    }
    let subjects: String = ["one", "two", "three"]
        .iter()
        .map(|s| format!("  {{ id = \"{s}\", responses = \"{s}.safetensors\", ids = \"{s}.csv\" }},\n"))
        .collect();
    let rois = if kind.voxels { "voxels = \"labels.csv\"" } else { "rois = \"rois.csv\"" };
    let mut toml = format!(
        "[study]\nname = \"areas\"\nseed = 3\n\n[[stimuli]]\nid = \"s\"\nids = \"stimuli.csv\"\n\n\
         [[brain]]\nbenchmark = \"b\"\nstimuli = \"s\"\nmodality = \"mixed\"\n{rois}\nsubjects = [\n{subjects}]\n",
    );
    for model in ["net", "noise"] {
        let _ = write!(
            toml,
            "\n[[model]]\nname = \"{model}\"\nmodality = \"vision\"\nfamily = \"{model}\"\n\
             activations = {{ file = \"{model}.safetensors\", layers = {names:?}, stimuli = \"s\", by_order = true }}\n",
        );
    }
    toml.push_str("\n[analysis.similarity]\n");
    for (key, few) in [("bootstraps", 100), ("permutations", 199)] {
        if !analysis.contains(key) {
            let _ = writeln!(toml, "{key} = {few}");
        }
    }
    toml.push_str(analysis);
    let file = folder.join("study.toml");
    fs::write(&file, toml).unwrap();
    file
}

fn read(out: &Path, table: &str) -> Table {
    read_parquet(&out.join(format!("results/{table}.parquet"))).unwrap()
}

/// The rows of a table with these texts.
fn at(table: &Table, wanted: &[(&str, &str)]) -> Vec<usize> {
    let keys: Vec<(Vec<&str>, &str)> = wanted.iter().map(|(key, v)| (rows(table, key), *v)).collect();
    (0..table.n_rows()).filter(|&i| keys.iter().all(|(texts, v)| texts[i] == *v)).collect()
}

fn one(table: &Table, column: &str, wanted: &[(&str, &str)]) -> f64 {
    let found = at(table, wanted);
    assert_eq!(found.len(), 1, "{wanted:?}");
    table.numbers(column).unwrap()[found[0]].unwrap_or(f64::NAN)
}

fn word<'a>(table: &'a Table, column: &str, wanted: &[(&str, &str)]) -> &'a str {
    let found = at(table, wanted);
    assert_eq!(found.len(), 1, "{wanted:?}");
    table.texts(column).unwrap()[found[0]].as_deref().unwrap_or("")
}

const MEASURES: [&str; 3] = ["cka_debiased", "rsa_spearman", "procrustes_angular"];

#[test]
fn planted_layers_are_recovered_and_the_bytes_stay_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_planted(folder.path(), Kind::default(), "");
    let out = folder.path().join("out");
    let first = run(&study, &out, &["--threads", "1"]);
    assert!(first.status.success(), "{}", told(&first));
    let reference = results(&out);
    let (cells, best) = (read(&out, "similarity"), read(&out, "similarity_best"));
    assert_eq!(cells.n_rows(), 2 * LAYERS * LAYERS * 3 * 4);
    assert_eq!(best.n_rows(), 2 * LAYERS * 3 * 4);
    for subject in ["(mean)", "one", "two", "three"] {
        for a in 0..LAYERS {
            for measure in MEASURES {
                let area = format!("area{a}");
                let of =
                    |model| [("model", model), ("subject", subject), ("area", &area), ("measure", measure)];
                let planted = format!("block{a}");
                assert_eq!(word(&best, "best_layer", &of("net")), planted, "{subject} {measure}");
                let depth = one(&best, "depth", &of("net"));
                assert!((depth - a as f64 / (LAYERS - 1) as f64).abs() < 1e-12);
                let (value, corrected) =
                    (one(&best, "value", &of("net")), one(&best, "corrected", &of("net")));
                let (lower, upper) = (one(&best, "lower", &of("net")), one(&best, "upper", &of("net")));
                assert!(lower < corrected && corrected < upper, "{lower} {corrected} {upper}");
                // A choice this clear costs little.
                assert!((value - corrected).abs() < 0.05, "{value} {corrected}");
                assert!(one(&best, "p", &of("net")) <= 0.005 + 1e-12);
                assert!(one(&best, "p_adj", &of("net")) < 0.05);
                // The best of noise is chance once its choice is paid for.
                assert!(one(&best, "p_adj", &of("noise")) > 0.05, "{subject} {area} {measure}");
                let chance = one(&best, "chance", &of("net"));
                let ceiling = one(&best, "ceiling", &of("net"));
                match measure {
                    // Distances: small is alike.
                    "procrustes_angular" => assert!(value < chance - 0.1 && ceiling < chance - 0.1),
                    _ => assert!(chance.abs() < 0.05 && value > 0.3 && ceiling > 0.3, "{value} {ceiling}"),
                }
            }
        }
    }
    // Every cell has its interval and its counts.
    let planted = [
        ("model", "net"),
        ("subject", "one"),
        ("area", "area2"),
        ("layer", "block2"),
        ("measure", "procrustes_angular"),
    ];
    assert_eq!(word(&cells, "interval", &planted), "jackknife");
    assert!(one(&cells, "lower", &planted) < one(&cells, "value", &planted));
    assert_eq!(word(&cells, "status", &planted), "ok");
    assert!(rows(&cells, "adjustment").iter().all(|how| *how == "max_t"));
    // The mean of subjects is the mean of their values.
    let of = |subject| {
        [
            ("subject", subject),
            ("area", "area1"),
            ("layer", "block3"),
            ("model", "net"),
            ("measure", "rsa_spearman"),
        ]
    };
    let mean = ["one", "two", "three"].map(|s| one(&cells, "value", &of(s))).iter().sum::<f64>() / 3.0;
    assert!((one(&cells, "value", &of("(mean)")) - mean).abs() < 1e-12);
    // The model that holds something is above the other, in every area and by every measure.
    let differences = read(&out, "similarity_differences");
    assert_eq!(differences.n_rows(), LAYERS * 3 * 4);
    for found in at(&differences, &[("subject", "(mean)")]) {
        let number = |column: &str| differences.numbers(column).unwrap()[found].unwrap();
        assert!(number("difference") > 0.1 && number("lower") > 0.0 && number("p_adj") < 0.05);
        assert!(number("p_subjects") < 0.05);
        // Three subjects have eight flips: the observed one and its mirror image reach it.
        assert!(number("p_subjects_adj") >= 2.0 / 8.0);
    }
    let of_one = at(&differences, &[("subject", "one")]);
    assert!(of_one.iter().all(|&row| differences.numbers("p_subjects_adj").unwrap()[row].is_none()));
    // On the map layers lie nearest to the area that follows them.
    let map = read(&out, "similarity_map");
    assert_eq!(map.n_rows(), 2 * LAYERS + 3 * LAYERS);
    assert!(map.numbers("stress").unwrap()[0].unwrap() < 0.3);
    let distances = read(&out, "similarity_distances");
    let m = map.n_rows();
    assert_eq!(distances.n_rows(), m * (m - 1) / 2);
    for a in 0..LAYERS {
        let to = |area: usize| {
            let area = format!("area{area}");
            let layer = format!("block{a}");
            one(
                &distances,
                "distance",
                &[("model_a", "net"), ("layer_a", &layer), ("subject_b", "one"), ("area_b", &area)],
            )
        };
        assert!((0..LAYERS).filter(|b| *b != a).all(|b| to(a) < to(b) - 0.1));
    }
    // Nothing of NFAS was computed, and the report says what was.
    assert!(!out.join("nodes/cell").exists() && !out.join("nodes/depth").exists());
    assert!(!out.join("results/scores.parquet").exists());
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("id=\"similarity\"") && page.contains("fig-similarity-map"));
    assert!(!page.contains("id=\"spectra\"") && !page.contains("dynamic mode decomposition gives"));
    // Without a word on masks, which are for the scores of NFAS.
    assert!(page.contains(&format!("<dt>ROIs</dt><dd>{}</dd>", LAYERS * COLUMNS)));

    for (threads, budget) in [("2", "300M"), ("5", "200M")] {
        let again = folder.path().join(threads);
        let output = run(&study, &again, &["--threads", threads, "--max-memory", budget]);
        assert!(output.status.success(), "{}", told(&output));
        assert_same(&reference, &results(&again), &format!("{threads} threads"));
    }
    // A lost node is computed again, alone.
    let nodes = |kind: &str| fs::read_dir(out.join("nodes").join(kind)).unwrap().map(|e| e.unwrap().path());
    assert_eq!(nodes("similarity").count(), 2 * 3 * LAYERS);
    assert_eq!(nodes("similarity_between").count() + nodes("similarity_map").count(), 2);
    fs::remove_file(nodes("similarity").next().unwrap()).unwrap();
    let repaired = run(&study, &out, &["--threads", "2"]);
    assert!(told(&repaired).contains("1 node"), "{}", told(&repaired));
    assert_same(&reference, &results(&out), "after a loss");
    // Another measure is other nodes; the map stays.
    let other = write_planted(folder.path(), Kind::default(), "measures = [\"cka_linear\", \"cca_mean\"]\n");
    let output = run(&other, &out, &[]);
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(nodes("similarity").count(), 2 * 2 * 3 * LAYERS);
    assert_eq!(nodes("similarity_map").count(), 1);
    // Widths of 60 and more fill 48 stimuli: CCA is 1 whatever the data are, and says so.
    let cells = read(&out, "similarity");
    let full = [
        ("model", "net"),
        ("subject", "one"),
        ("area", "area2"),
        ("layer", "block2"),
        ("measure", "cca_mean"),
    ];
    assert!((one(&cells, "value", &full) - 1.0).abs() < 1e-9 && one(&cells, "lower", &full).is_nan());
    assert!(word(&cells, "status", &full).starts_with("saturated"));
}

/// The array of a file that [`write_arrays`] has written.
fn array(file: &Path, name: &str) -> Mat<f64> {
    let bytes = fs::read(file).unwrap();
    let all = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let view = all.tensor(name).unwrap();
    let (rows, columns) = (view.shape()[0], view.shape()[1]);
    let at = |i: usize, j: usize| {
        let from = 4 * (i * columns + j);
        f64::from(f32::from_le_bytes(view.data()[from..from + 4].try_into().unwrap()))
    };
    Mat::from_fn(rows, columns, at)
}

fn near(found: f64, expected: f64) -> bool {
    found.is_nan() && expected.is_nan() || (found - expected).abs() <= 2e-6 * (1.0 + expected.abs())
}

/// |t| of every cell (rows) with the signs of subjects flipped.
fn flipped(cells: &[Vec<f64>], flip: usize) -> Vec<f64> {
    let of = |cell: &Vec<f64>| {
        let x: Vec<f64> =
            cell.iter().enumerate().map(|(s, x)| if flip >> s & 1 == 1 { -x } else { *x }).collect();
        (mean(&x) / (sd(&x) / (x.len() as f64).sqrt())).abs()
    };
    cells.iter().map(of).collect()
}

#[test]
fn every_number_of_the_tables_follows_from_the_data() {
    let folder = tempfile::tempdir().unwrap();
    // A similarity of Grams, one of distances, and a distance whose interval leaves stimuli out.
    let names = ["cka_linear", "rsa_euclidean", "procrustes_angular"];
    let study =
        write_planted(folder.path(), Kind::default(), &format!("map = \"none\"\nmeasures = {names:?}\n"));
    let out = folder.path().join("out");
    let output = run(&study, &out, &[]);
    assert!(output.status.success(), "{}", told(&output));
    let (cells, best) = (read(&out, "similarity"), read(&out, "similarity_best"));
    let differences = read(&out, "similarity_differences");

    let measures: Vec<&'static Measure> = names.iter().map(|id| measure(id).unwrap()).collect();
    let ids: Vec<String> = (0..N).map(|i| format!("stim{i:02}")).collect();
    let blocks = Blocks::new(N, Some(&ids), 3, 100, 199).unwrap();
    let (models, subjects) = (["net", "noise"], ["one", "two", "three"]);
    let layers: Vec<Vec<Representation<'static>>> = models
        .iter()
        .map(|model| {
            let file = folder.path().join(format!("{model}.safetensors"));
            let of = |l| Representation::owned("layer", array(&file, &format!("block{l}")), Precision::F32);
            (0..LAYERS).map(|l| of(l).unwrap()).collect()
        })
        .collect();
    let areas: Vec<Vec<Representation<'static>>> = subjects
        .iter()
        .map(|subject| {
            let all = array(&folder.path().join(format!("{subject}.safetensors")), "response");
            let of = |a: usize| {
                let own = Mat::from_fn(N, COLUMNS, |i, j| all[(i, a * COLUMNS + j)]);
                Representation::owned("area", own, Precision::F64).unwrap()
            };
            (0..LAYERS).map(of).collect()
        })
        .collect();
    // Subjects, then their mean; models; layers; areas × measures.
    let n_cells = LAYERS * measures.len();
    let drawn = |model: usize, l: usize, s: usize| -> Vec<LayerDraws> {
        let partners: Vec<&Representation<'_>> = areas[s].iter().collect();
        let found =
            compare_with_all(&layers[model][l], &partners, &measures, &blocks, &Monitor::silent()).unwrap();
        let single = |x: faer::ColRef<'_, f64>| x.iter().map(|v| *v as f32).collect::<Vec<f32>>();
        (0..n_cells)
            .map(|cell| {
                let (pair, at) = (&found[cell / measures.len()], cell % measures.len());
                LayerDraws {
                    value: pair.values[at],
                    null: single(pair.null.col(at)),
                    draws: single(pair.draws.col(at)),
                }
            })
            .collect()
    };
    let mut all: Vec<Vec<Vec<Vec<LayerDraws>>>> =
        (0..3).map(|s| (0..2).map(|m| (0..LAYERS).map(|l| drawn(m, l, s)).collect()).collect()).collect();
    let mean_of = |m: usize, l: usize, cell: usize| {
        LayerDraws::mean(&(0..3).map(|s| &all[s][m][l][cell]).collect::<Vec<_>>())
    };
    let means = (0..2)
        .map(|m| (0..LAYERS).map(|l| (0..n_cells).map(|cell| mean_of(m, l, cell)).collect()).collect())
        .collect();
    all.push(means);
    let ceiling = |s: usize, cell: usize| -> f64 {
        let (a, measure) = (cell / measures.len(), measures[cell % measures.len()]);
        let others = (0..3).filter(|t| *t != s);
        mean(
            &others
                .map(|t| measure.of(&Pair::new(&areas[t][a], &areas[s][a]).unwrap()).unwrap())
                .collect::<Vec<_>>(),
        )
    };
    let mut corrected: Vec<[Vec<f64>; 2]> = vec![];
    for (s, subject) in ["one", "two", "three", "(mean)"].into_iter().enumerate() {
        let ceiling = |cell: usize| match s {
            3 => mean(&(0..3).map(|t| ceiling(t, cell)).collect::<Vec<_>>()),
            _ => ceiling(s, cell),
        };
        // Adjusted over everything of the subject.
        let standardised: Vec<(f64, Vec<f32>)> = all[s]
            .iter()
            .flatten()
            .flat_map(|layer| layer.iter().enumerate())
            .map(|(cell, draws)| draws.standardised(measures[cell % measures.len()]))
            .collect();
        let adjusted = adjusted_together(&standardised);
        let mut of_models: Vec<Vec<BestLayer>> = vec![];
        for (m, model) in models.iter().enumerate() {
            let mut of_model = vec![];
            for cell in 0..n_cells {
                let measure = measures[cell % measures.len()];
                let area = format!("area{}", cell / measures.len());
                let key = [("model", *model), ("subject", subject), ("area", &area), ("measure", measure.id)];
                let p_adj = |l: usize| adjusted[(m * LAYERS + l) * n_cells + cell];
                let level = |l: usize| {
                    let draws: &LayerDraws = &all[s][m][l][cell];
                    chance_level(draws.value, draws.null.iter().map(|v| f64::from(*v)), measure.direction)
                };
                for l in 0..LAYERS {
                    let draws = &all[s][m][l][cell];
                    let layer = format!("block{l}");
                    let key = [&key[..], &[("layer", &layer)]].concat();
                    let ends = interval_of(
                        draws.value,
                        draws.draws.iter().map(|v| f64::from(*v)),
                        measure,
                        &blocks,
                        0.95,
                    )
                    .unwrap();
                    for (column, expected) in [
                        ("value", draws.value),
                        ("lower", ends[0]),
                        ("upper", ends[1]),
                        ("chance", level(l).chance),
                        ("p", level(l).p_value),
                        ("p_adj", p_adj(l)),
                        ("ceiling", ceiling(cell)),
                    ] {
                        let found = one(&cells, column, &key);
                        assert!(near(found, expected), "{key:?} {column}: {found} {expected}");
                    }
                }
                let drawn: Vec<LayerDraws> = (0..LAYERS).map(|l| all[s][m][l][cell].clone()).collect();
                let of_best = best_layer(&drawn, measure, blocks.factor(measure.interval), 0.95);
                let l = of_best.index.unwrap();
                assert_eq!(word(&best, "best_layer", &key), format!("block{l}"));
                for (column, expected) in [
                    ("value", of_best.value),
                    ("corrected", of_best.corrected),
                    ("lower", of_best.lower),
                    ("upper", of_best.upper),
                    ("win_share", of_best.win_share[l]),
                    ("chance", level(l).chance),
                    ("ceiling", ceiling(cell)),
                    ("p", of_best.p_value),
                    ("p_adj", (0..LAYERS).map(p_adj).fold(1.0, f64::min)),
                ] {
                    let found = one(&best, column, &key);
                    assert!(near(found, expected), "{key:?} {column}: {found} {expected}");
                }
                of_model.push(of_best);
            }
            of_models.push(of_model);
        }
        let found: Vec<ModelDifference> = (0..n_cells)
            .map(|cell| {
                let measure = measures[cell % measures.len()];
                model_difference(&of_models[0][cell], &of_models[1][cell], measure, 0.95)
            })
            .collect();
        let adjusted =
            adjusted_together(&found.iter().map(|f| (f.statistic, f.null.clone())).collect::<Vec<_>>());
        // Over subjects, by all eight flips: the largest |t| of the cells whose |t| is no larger.
        let of_subjects: Vec<Vec<f64>> = (0..n_cells)
            .map(|cell| corrected.iter().map(|of: &[Vec<f64>; 2]| of[0][cell] - of[1][cell]).collect())
            .collect();
        let step_down: Vec<f64> = if s < 3 {
            vec![f64::NAN; n_cells]
        } else {
            let observed = flipped(&of_subjects, 0);
            let share = |cell: usize| {
                let below: Vec<usize> = (0..n_cells).filter(|&c| observed[c] <= observed[cell]).collect();
                let largest = |flip: usize| {
                    let t = flipped(&of_subjects, flip);
                    below.iter().map(|&c| t[c]).fold(0.0, f64::max)
                };
                (0..8).filter(|&flip| largest(flip) >= observed[cell] * (1.0 - 1e-6)).count() as f64 / 8.0
            };
            let single: Vec<f64> = (0..n_cells).map(share).collect();
            // No p below that of a cell whose |t| is larger.
            let above =
                |cell: usize| (0..n_cells).filter(|&c| observed[c] >= observed[cell]).collect::<Vec<_>>();
            (0..n_cells).map(|cell| above(cell).iter().map(|&c| single[c]).fold(0.0, f64::max)).collect()
        };
        for cell in 0..n_cells {
            let measure = measures[cell % measures.len()];
            let area = format!("area{}", cell / measures.len());
            let key = [("subject", subject), ("area", &area), ("measure", measure.id)];
            for (column, expected) in [
                ("difference", found[cell].difference),
                ("lower", found[cell].lower),
                ("upper", found[cell].upper),
                ("p", found[cell].p_value),
                ("p_adj", adjusted[cell]),
                ("p_subjects_adj", step_down[cell]),
            ] {
                let found = one(&differences, column, &key);
                assert!(near(found, expected), "{key:?} {column}: {found} {expected}");
            }
        }
        corrected.push([0, 1].map(|m| of_models[m].iter().map(|of| of.corrected).collect()));
    }
}

#[test]
fn voxels_of_a_label_are_a_pattern_and_give_what_columns_give() {
    let folder = tempfile::tempdir().unwrap();
    let by_network = write_planted(folder.path(), Kind::default(), "map = \"none\"\n");
    let output = run(&by_network, &folder.path().join("networks"), &[]);
    assert!(output.status.success(), "{}", told(&output));
    let by_label = write_planted(folder.path(), Kind { voxels: true, ..Kind::default() }, "map = \"none\"\n");
    let output = run(&by_label, &folder.path().join("labels"), &[]);
    assert!(output.status.success(), "{}", told(&output));
    let [a, b] = ["networks", "labels"].map(|name| read(&folder.path().join(name), "similarity"));
    assert_eq!(rows(&a, "area"), rows(&b, "area"));
    for column in ["value", "lower", "chance", "p_adj", "ceiling"] {
        assert_eq!(a.numbers(column).unwrap(), b.numbers(column).unwrap(), "{column}");
    }
    assert!(!folder.path().join("labels/results/similarity_map.parquet").exists());
}

#[test]
fn areas_without_a_value_are_named_and_harm_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let spoiled = Kind { spoiled: true, ..Kind::default() };
    let study =
        write_planted(folder.path(), spoiled, "multiplicity = \"holm\"\nlayers = [\"block0\", \"block1\"]\n");
    let out = folder.path().join("out");
    let output = run(&study, &out, &[]);
    assert!(output.status.success(), "{}", told(&output));
    let cells = read(&out, "similarity");
    let of = |area| {
        [
            ("model", "net"),
            ("subject", "two"),
            ("area", area),
            ("layer", "block0"),
            ("measure", "cka_debiased"),
        ]
    };
    assert!(one(&cells, "value", &of("flat")).is_nan() && one(&cells, "p_adj", &of("flat")).is_nan());
    assert!(word(&cells, "status", &of("flat")).starts_with("undefined: a side does not vary"));
    assert_eq!(word(&cells, "status", &of("area0")), "ok");
    assert!(one(&cells, "p_adj", &of("area0")) > one(&cells, "p", &of("area0")));
    // The column that holds a NaN is left out; the rest of its area stands.
    let columns = |area| match cells.column("n_columns") {
        Some(stereotax_io::Values::Integer(v)) => v[at(&cells, &of(area))[0]],
        _ => None,
    };
    assert_eq!((columns("area0"), columns("area1")), (Some(COLUMNS as i64 - 1), Some(COLUMNS as i64)));
    let best = read(&out, "similarity_best");
    let flat = at(&best, &[("area", "flat")]);
    assert!(flat.iter().all(|&row| best.texts("best_layer").unwrap()[row].is_none()));
    assert!(at(&read(&out, "similarity_map"), &[("area", "flat")]).len() == 3);
}

#[test]
fn choices_change_what_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, analysis: &str| {
        let study = write_planted(folder.path(), Kind::default(), &format!("map = \"none\"\n{analysis}"));
        let out = folder.path().join(name);
        let output = run(&study, &out, &[]);
        assert!(output.status.success(), "{name}: {}", told(&output));
        read(&out, "similarity")
    };
    let key = [("model", "net"), ("area", "area1"), ("layer", "block1"), ("measure", "cka_debiased")];
    let with = |subject| [&key[..], &[("subject", subject)]].concat();
    let plain = of("plain", "layers = [\"block1\"]\n");
    assert_eq!(plain.n_rows(), 2 * LAYERS * 3 * 4);
    let none = of("none", "layers = [\"block1\"]\npermutations = 0\nmeasures = [\"cka_*\"]\n");
    assert_eq!(one(&plain, "value", &with("one")), one(&none, "value", &with("one")));
    // The same draws, whatever else is computed.
    assert_eq!(one(&plain, "lower", &with("one")), one(&none, "lower", &with("one")));
    assert!(one(&none, "p", &with("one")).is_nan() && one(&none, "chance", &with("one")).is_nan());
    assert_eq!(none.n_rows(), 2 * LAYERS * 5 * 4);
    let group = of("group", "layers = [\"block1\"]\nsubjects = \"group_mean\"\n");
    // Other patterns, other numbers; one subject has nobody beside it.
    assert!(one(&group, "value", &with("group")) > 0.2);
    assert!(one(&group, "ceiling", &with("group")).is_nan());
}

#[test]
fn wrong_words_and_lacking_stimuli_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |kind: Kind, analysis: &str, words: &str| {
        let study = write_planted(folder.path(), kind, analysis);
        let out = folder.path().join("refused");
        let output = run(&study, &out, &[]);
        assert_eq!(output.status.code(), Some(2), "{analysis}");
        assert!(told(&output).contains(words), "{analysis}: {}", told(&output));
        assert!(!out.exists());
    };
    let plain = Kind::default();
    for (analysis, words) in [
        ("measures = [\"cka_debised\"]\n", "did you mean `cka_debiased`?"),
        ("measures = [\"nothing*\"]\n", "which is no measure"),
        ("measures = []\n", "at least one member"),
        ("map = \"cka_debiased\"\n", "no distance that can be drawn"),
        ("permutations = 7\n", "0 or at least 99"),
        ("bootstraps = 3\n", "from 100"),
        ("layers = [\"blok1\"]\n", "did you mean `block1`?"),
        ("shifts = 99\n", "unknown key `shifts`"),
        ("multiplicity = \"maxt\"\n", "did you mean"),
        ("networks = \"a\"\n[analysis.encoding]\nnetworks = \"b\"\n", "say it in one of them"),
    ] {
        refused(plain, analysis, words);
    }
    refused(Kind { voxels: true, ..plain }, "subjects = \"group_mean\"\n", "differ between subjects");
    refused(Kind { lacking: true, ..plain }, "", "stim05");
    // A series has no pattern per stimulus.
    let study = write_planted(folder.path(), plain, "");
    let text = fs::read_to_string(&study).unwrap();
    let series = text
        .replace("ids = \"stimuli.csv\"", "ids = \"stimuli.csv\"\nblocks = \"run\"")
        .replace("modality = \"mixed\"", "modality = \"mixed\"\nclock = { tr_s = 2.0 }");
    fs::write(&study, series).unwrap();
    let output = stereotax(&["check", study.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("is a time series"), "{}", told(&output));
    // A budget that cannot hold it is refused with the sum.
    let study = write_planted(folder.path(), plain, "");
    let output = run(&study, &folder.path().join("small"), &["--max-memory", "1M"]);
    assert!(
        !output.status.success() && told(&output).contains("similarity on benchmark `b`"),
        "{}",
        told(&output)
    );
}

#[test]
fn the_plan_and_the_sources_know_it() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_planted(folder.path(), Kind::default(), "");
    let path = study.to_str().unwrap();
    let plan = stereotax(&["plan", path, "--out", folder.path().join("out").to_str().unwrap()]);
    assert!(plan.status.success());
    let text = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(
        text.contains("similarity: net · block2 · b · two") && text.contains("similarity map: b"),
        "{text}"
    );
    let cited = stereotax(&["cite", path]);
    let text = String::from_utf8_lossy(&cited.stdout).into_owned();
    assert!(text.contains("Kornblith") && text.contains("multidimensional scaling"), "{text}");
    assert!(!text.contains("Schmid"), "{text}");
}

#[test]
fn the_example_of_the_guide_is_a_study() {
    let page = include_str!("../../../docs/similarity.md");
    let text = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let study = stereotax_study::config::parse(text, "study.toml").unwrap_or_else(|e| panic!("{e}"));
    assert!(study.similarity.is_some() && !study.wants_nfas);
}
