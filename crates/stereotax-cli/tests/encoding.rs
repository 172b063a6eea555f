//! `[analysis.encoding]` from files to report: planted layers are found, choosing is paid for, bytes stay the same.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use common::{assert_same, results, rows, run, stereotax, told, write_arrays};
use stereotax::stats::rng::Stream;
use stereotax_io::{Table, read_parquet};

const N: usize = 120;
const LAYERS: usize = 6;
const DIMS: usize = 3;

/// A model whose layers hold latents of their own, in different widths, and ROIs of which number j follows layer
/// j (as far as there are layers); further ROIs are noise. ROI `flat` does not vary, `holes` holds a NaN.
fn write_planted(folder: &Path, n_noise: usize, spoiled: bool, analysis: &str) -> PathBuf {
    let mut latent = Stream::new(8, "latents", 0);
    let z: Vec<Vec<f64>> = (0..LAYERS * DIMS).map(|_| (0..N).map(|_| latent.normal()).collect()).collect();
    let names: Vec<String> = (0..LAYERS).map(|l| format!("block{l}")).collect();
    let mut noise = Stream::new(8, "activations", 0);
    let layers: Vec<(&str, usize, Vec<f32>)> = (0..LAYERS)
        .map(|l| {
            let width = 8 + 3 * l;
            let mixing: Vec<f64> = (0..DIMS * width).map(|_| noise.normal()).collect();
            let values = (0..N * width)
                .map(|at| {
                    let (i, u) = (at / width, at % width);
                    let own: f64 = (0..DIMS).map(|k| z[l * DIMS + k][i] * mixing[k * width + u]).sum();
                    (own + 0.3 * noise.normal()) as f32
                })
                .collect();
            (names[l].as_str(), width, values)
        })
        .collect();
    write_arrays(&folder.join("model.safetensors"), &layers);
    let mut rois: Vec<String> = Vec::new();
    if n_noise == 0 {
        rois.extend((0..LAYERS).map(|j| format!("roi{j},net{},{}", j % 2, 10 * j)));
    }
    rois.extend((0..n_noise).map(|j| format!("noise{j},net{},", j % 2)));
    if spoiled {
        rois.extend(["flat,net0,".to_owned(), "holes,net1,".to_owned()]);
    }
    fs::write(folder.join("rois.csv"), format!("roi,network,hierarchy\n{}\n", rois.join("\n"))).unwrap();
    let ids: String = (0..N).map(|i| format!("stim{i:03}\n")).collect();
    fs::write(folder.join("stimuli.csv"), format!("stimulus_id\n{ids}")).unwrap();
    for (s, subject) in ["one", "two"].iter().enumerate() {
        let mut noise = Stream::new(9, "responses", s as u64);
        let values: Vec<f32> = (0..N * rois.len())
            .map(|at| {
                let (i, j) = (at / rois.len(), at % rois.len());
                let name = &rois[j];
                if name.starts_with("flat") {
                    return 2.5;
                }
                if name.starts_with("holes") && i == 7 {
                    return f32::NAN;
                }
                let signal = if name.starts_with("roi") { z[j * DIMS][i] + z[j * DIMS + 1][i] } else { 0.0 };
                (signal + noise.normal()) as f32
            })
            .collect();
        write_arrays(&folder.join(format!("{subject}.safetensors")), &[("response", rois.len(), values)]);
    }
    let mut toml = format!(
        "[study]\nname = \"layers\"\nseed = 3\n\n[[stimuli]]\nid = \"s\"\nids = \"stimuli.csv\"\n\n\
         [[brain]]\nbenchmark = \"b\"\nstimuli = \"s\"\nmodality = \"mixed\"\nby_order = true\n\
         rois = \"rois.csv\"\nsubjects = [\n  {{ id = \"one\", responses = \"one.safetensors\" }},\n  \
         {{ id = \"two\", responses = \"two.safetensors\" }},\n]\n\n\
         [[model]]\nname = \"net\"\nmodality = \"vision\"\nfamily = \"net\"\n\
         activations = {{ file = \"model.safetensors\", layers = {names:?}, stimuli = \"s\", by_order = true }}\n",
    );
    let _ = write!(
        toml,
        "\n[analysis.encoding]\nbootstraps = 100\nshifts = 99\nouter_folds = \"k_fold:5\"\n{analysis}"
    );
    let file = folder.join("study.toml");
    fs::write(&file, toml).unwrap();
    file
}

fn read(out: &Path, table: &str) -> Table {
    read_parquet(&out.join(format!("results/{table}.parquet"))).unwrap()
}

/// ROIs that mix the latents of two layers of [`write_planted`]: `mix` has layers 1 and 4 as 3 : 1 in variance, `one`
/// follows layer 2, `noise` nothing, `flat` does not vary.
fn write_mixture(folder: &Path, analysis: &str) -> PathBuf {
    let study = write_planted(folder, 0, false, analysis);
    let mut latent = Stream::new(8, "latents", 0);
    let z: Vec<Vec<f64>> = (0..LAYERS * DIMS).map(|_| (0..N).map(|_| latent.normal()).collect()).collect();
    fs::write(folder.join("rois.csv"), "roi,network\nmix,a\none,a\nnoise,b\nflat,b\n").unwrap();
    for (s, subject) in ["one", "two"].iter().enumerate() {
        let mut noise = Stream::new(19, "responses", s as u64);
        let values: Vec<f32> = (0..N * 4)
            .map(|at| {
                let (i, j) = (at / 4, at % 4);
                let signal = match j {
                    0 => 3f64.sqrt() * z[DIMS][i] + z[4 * DIMS][i],
                    1 => 1.5 * z[2 * DIMS + 1][i],
                    2 => 0.0,
                    _ => return 2.5,
                };
                (signal + 0.7 * noise.normal()) as f32
            })
            .collect();
        write_arrays(&folder.join(format!("{subject}.safetensors")), &[("response", 4, values)]);
    }
    study
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

#[test]
fn planted_layers_are_found_and_the_bytes_stay_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_planted(folder.path(), 0, false, "");
    let out = folder.path().join("out");
    let first = run(&study, &out, &["--threads", "1"]);
    assert!(first.status.success(), "{}", told(&first));
    let reference = results(&out);
    let selection = read(&out, "selection");
    for subject in ["(mean)", "one", "two"] {
        for j in 0..LAYERS {
            let found = at(&selection, &[("subject", subject), ("roi", &format!("roi{j}"))]);
            assert_eq!(rows(&selection, "chosen_layer")[found[0]], format!("block{j}"), "{subject}");
            assert_eq!(rows(&selection, "best_layer")[found[0]], format!("block{j}"), "{subject}");
            let depth = selection.numbers("depth").unwrap()[found[0]].unwrap();
            assert!((depth - j as f64 / (LAYERS - 1) as f64).abs() < 1e-12);
            let r = selection.numbers("r").unwrap()[found[0]].unwrap();
            let (lower, upper) = (selection.numbers("lower").unwrap(), selection.numbers("upper").unwrap());
            assert!(r > 0.6 && lower[found[0]].unwrap() < r && r < upper[found[0]].unwrap(), "{r}");
        }
    }
    // Depth follows the hierarchy of the ROI table.
    let models = read(&out, "encoding_models");
    assert!((one(&models, "spatial_r", &[("subject", "(mean)")]) - 1.0).abs() < 1e-12);
    assert!(one(&models, "spatial_p", &[("subject", "(mean)")]) < 0.05);
    let scores = read(&out, "encoding");
    assert_eq!(scores.n_rows(), 3 * LAYERS * LAYERS);
    let planted = [("subject", "(mean)"), ("roi", "roi2"), ("layer", "block2")];
    let other = [("subject", "(mean)"), ("roi", "roi2"), ("layer", "block4")];
    assert_eq!(one(&scores, "p_adj", &planted), 0.01);
    assert!(rows(&scores, "adjustment").iter().all(|how| *how == "max_t"));
    assert!(one(&scores, "p_adj", &other) > 0.05 && one(&scores, "r", &other) < 0.3);
    // Nothing of NFAS was computed.
    assert!(!out.join("nodes/cell").exists() && !out.join("nodes/depth").exists());
    assert!(!out.join("results/scores.parquet").exists());
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("too high for having looked") && page.contains("id=\"encoding\""));
    assert!(page.contains("ridge regression") && !page.contains("id=\"spectra\""));
    assert!(!page.contains("dynamic mode decomposition gives"), "methods speak of what was not done");

    for threads in ["2", "5"] {
        let again = folder.path().join(threads);
        let output = run(&study, &again, &["--threads", threads, "--max-memory", "300M"]);
        assert!(output.status.success(), "{}", told(&output));
        assert_same(&reference, &results(&again), &format!("{threads} threads"));
    }
    // A lost node is computed again, alone.
    let nodes = |kind: &str| fs::read_dir(out.join("nodes").join(kind)).unwrap().map(|e| e.unwrap().path());
    assert_eq!(nodes("encoding").count(), 2 * LAYERS);
    assert_eq!(nodes("encoding_best").count(), 2);
    fs::remove_file(nodes("encoding").next().unwrap()).unwrap();
    let repaired = run(&study, &out, &["--threads", "2"]);
    assert!(told(&repaired).contains("1 node"), "{}", told(&repaired));
    assert_same(&reference, &results(&out), "after a loss");
}

#[test]
fn the_best_of_noisy_layers_is_biased_and_the_nested_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_planted(folder.path(), 60, false, "");
    let out = folder.path().join("out");
    let output = run(&study, &out, &[]);
    assert!(output.status.success(), "{}", told(&output));
    let models = read(&out, "encoding_models");
    for subject in ["one", "two"] {
        let nested = one(&models, "nested_r", &[("subject", subject)]);
        let best = one(&models, "best_r", &[("subject", subject)]);
        // The mean of 60 r with standard errors of 0.09 each; the largest of six is a standard error above.
        assert!(nested.abs() < 0.05, "{nested}");
        assert!(best > 0.06, "{best}");
        assert!(one(&models, "selection_bias", &[("subject", subject)]) > 0.05);
        assert!(one(&models, "share_significant", &[("subject", subject)]) < 0.05);
    }
}

#[test]
fn targets_without_a_score_are_named_and_harm_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_planted(folder.path(), 0, true, "inner = \"gcv\"\nmultiplicity = \"bh\"\n");
    let out = folder.path().join("out");
    let output = run(&study, &out, &[]);
    assert!(output.status.success(), "{}", told(&output));
    assert!(told(&output).contains("holes"), "{}", told(&output));
    let scores = read(&out, "encoding");
    let status = |roi: &str| {
        let found = at(&scores, &[("subject", "one"), ("roi", roi), ("layer", "block1")]);
        rows(&scores, "status")[found[0]].to_owned()
    };
    assert_eq!(status("roi1"), "ok");
    assert_eq!(status("flat"), "undefined: prediction or response does not vary");
    assert_eq!(status("holes"), "undefined: the response holds values that are not finite");
    let planted = [("subject", "one"), ("roi", "roi1"), ("layer", "block1")];
    assert!(one(&scores, "r", &planted) > 0.6);
    assert!(one(&scores, "p_adj", &planted) > one(&scores, "p", &planted));
    let models = read(&out, "encoding_models");
    let found = at(&models, &[("subject", "one")]);
    assert!(
        matches!(models.column("n_undefined"), Some(stereotax_io::Values::Integer(v)) if v[found[0]] == Some(2))
    );
}

#[test]
fn choices_change_what_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, analysis: &str| {
        let study = write_planted(folder.path(), 0, false, analysis);
        let out = folder.path().join(name);
        let output = run(&study, &out, &[]);
        assert!(output.status.success(), "{name}: {}", told(&output));
        read(&out, "encoding")
    };
    let r = |table: &Table, layer: &str| {
        one(table, "r", &[("subject", "one"), ("roi", "roi3"), ("layer", layer)])
    };
    let plain = of("plain", "");
    for (name, analysis) in [
        ("loo", "inner = \"loo\"\n"),
        ("gcv", "inner = \"gcv\"\n"),
        ("pca", "reduce = \"pca:4\"\n"),
        ("ols", "reduce = \"pca:8\"\nencoder = \"ols\"\n"),
        ("pls", "encoder = \"pls:3\"\n"),
        ("linear kernel", "encoder = \"kernel_ridge\"\n"),
        ("polynomial", "encoder = \"kernel_ridge\"\nkernel = \"polynomial:2\"\ninner = \"loo\"\n"),
        ("rbf", "encoder = \"kernel_ridge\"\nkernel = \"rbf\"\n"),
        ("sparse", "reduce = \"sparse:9\"\n"),
        ("gaussian", "reduce = \"gaussian:9\"\n"),
        ("shared", "alpha_per_roi = false\n"),
    ] {
        let found = of(name, analysis);
        assert!(r(&found, "block3") > 0.5, "{name}: {}", r(&found, "block3"));
        assert_ne!(r(&found, "block3").to_bits(), r(&plain, "block3").to_bits(), "{name}");
    }
    // A grid that begins too high is told.
    let study = write_planted(folder.path(), 0, false, "alphas = [100, 10000]\n");
    let output = run(&study, &folder.path().join("high"), &[]);
    assert!(told(&output).contains("let `alphas` begin lower"), "{}", told(&output));
    // Layers narrower than the directions stay as they are; as many directions as there are units are none.
    let auto = of("auto", "reduce = \"sparse\"\n");
    assert_eq!(r(&auto, "block3").to_bits(), r(&plain, "block3").to_bits());
    let two = of("two", "layers = [\"block3\", \"block1\"]\n");
    assert_eq!(two.n_rows(), 3 * 2 * LAYERS);
    assert_eq!(r(&two, "block3").to_bits(), r(&plain, "block3").to_bits());
}

#[test]
fn a_time_series_is_encoded_by_runs_and_refuses_to_leave_out_single_rows() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_planted(folder.path(), 0, false, "delays_s = { from = 0, to = 2 }\n");
    let rows_of: String = (0..N).map(|i| format!("stim{i:03},run{},{},2\n", i / 30, 2 * (i % 30))).collect();
    let stimuli = format!("stimulus_id,run,onset_s,duration_s\n{rows_of}");
    fs::write(folder.path().join("stimuli.csv"), stimuli).unwrap();
    let text = fs::read_to_string(&study)
        .unwrap()
        .replace("ids = \"stimuli.csv\"", "ids = \"stimuli.csv\"\nblocks = \"run\"")
        .replace("modality = \"mixed\"", "modality = \"mixed\"\nclock = { tr_s = 2.0 }")
        .replace("k_fold:5", "leave_run_out");
    fs::write(&study, &text).unwrap();
    let out = folder.path().join("out");
    let output = run(&study, &out, &[]);
    assert!(output.status.success(), "{}", told(&output));
    let selection = read(&out, "selection");
    for j in 0..LAYERS {
        let found = at(&selection, &[("subject", "(mean)"), ("roi", &format!("roi{j}"))]);
        assert_eq!(rows(&selection, "chosen_layer")[found[0]], format!("block{j}"));
    }
    fs::write(&study, text.replace("bootstraps = 100", "bootstraps = 100\ninner = \"gcv\"")).unwrap();
    let refused = stereotax(&["check", study.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(told(&refused).contains("its neighbours tell what was left out"), "{}", told(&refused));
}

#[test]
fn variance_is_divided_between_planted_sets() {
    let folder = tempfile::tempdir().unwrap();
    let sets = "partition = [\n{ name = \"mine\", layers = [\"block2\"] },\n\
                { name = \"other\", layers = [\"block4\", \"block5\"] },\n]\n";
    let study = write_planted(folder.path(), 0, false, sets);
    let out = folder.path().join("out");
    let output = run(&study, &out, &[]);
    assert!(output.status.success(), "{}", told(&output));
    let table = read(&out, "partition");
    let r2 = |roi: &str, kind: &str, sets: &str| {
        one(&table, "r2", &[("subject", "one"), ("targets", roi), ("kind", kind), ("sets", sets)])
    };
    // roi2 follows block2 alone, roi4 the other set.
    assert!(r2("roi2", "unique", "mine") > 0.4 && r2("roi2", "unique", "other") < 0.1);
    assert!(r2("roi4", "unique", "other") > 0.4 && r2("roi4", "unique", "mine") < 0.1);
    for roi in ["roi2", "roi4", "(all)", "(network) net0"] {
        let parts =
            r2(roi, "unique", "mine") + r2(roi, "unique", "other") + r2(roi, "shared", "mine & other");
        assert!((parts - r2(roi, "model", "mine + other")).abs() < 1e-12, "{roi}");
        let unique = r2(roi, "model", "mine + other") - r2(roi, "model", "other");
        assert!((r2(roi, "unique", "mine") - unique).abs() < 1e-12, "{roi}");
    }
    // Intervals hold their values, and the planted part is apart from zero.
    let interval = |kind: &str, sets: &str| {
        let row = [("subject", "one"), ("targets", "roi2"), ("kind", kind), ("sets", sets)];
        (one(&table, "lower", &row), one(&table, "r2", &row), one(&table, "upper", &row))
    };
    for (kind, sets) in
        [("model", "mine + other"), ("unique", "mine"), ("unique", "other"), ("shared", "mine & other")]
    {
        let (lower, value, upper) = interval(kind, sets);
        assert!(lower < value && value < upper, "{kind} {sets}: {lower} {value} {upper}");
    }
    assert!(interval("unique", "mine").0 > 0.2 && interval("unique", "other").0 < 0.1);
    // A set of one layer is that layer.
    let scores = read(&out, "encoding");
    let alone = one(&scores, "r2", &[("subject", "one"), ("roi", "roi2"), ("layer", "block2")]);
    assert_eq!(alone.to_bits(), r2("roi2", "model", "mine").to_bits());
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("fig-encoding-partition") && page.contains("divided into unique and shared parts"));
}

#[test]
fn refits_choose_layers_anew_and_agree_with_what_is_planted() {
    let folder = tempfile::tempdir().unwrap();
    let layers = "inner = \"gcv\"\nlayers = [\"block2\", \"block4\", \"block5\"]\n";
    let refit = &format!("null = \"refit\"\n{layers}");
    let study = write_planted(folder.path(), 0, false, refit);
    let out = folder.path().join("planted");
    let output = run(&study, &out, &["--threads", "1"]);
    assert!(output.status.success(), "{}", told(&output));
    let (scores, selection) = (read(&out, "encoding"), read(&out, "selection"));
    for subject in ["(mean)", "one"] {
        let planted = [("subject", subject), ("roi", "roi2"), ("layer", "block2")];
        assert_eq!((one(&scores, "p", &planted), one(&scores, "p_adj", &planted)), (0.01, 0.01));
        assert_eq!(one(&selection, "p", &[("subject", subject), ("roi", "roi2")]), 0.01);
        let other = [("subject", subject), ("roi", "roi2"), ("layer", "block4")];
        assert!(one(&scores, "p_adj", &other) > 0.05);
    }
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("fit everything again, penalties and layers chosen anew"));
    let reference = results(&out);
    let again = folder.path().join("again");
    let output = run(&study, &again, &["--threads", "3", "--max-memory", "300M"]);
    assert!(output.status.success(), "{}", told(&output));
    assert_same(&reference, &results(&again), "3 threads");
    // Scores are those of the other null.
    let plain = write_planted(folder.path(), 0, false, layers);
    let plain_out = folder.path().join("plain");
    assert!(run(&plain, &plain_out, &[]).status.success());
    let row = [("subject", "one"), ("roi", "roi4"), ("layer", "block4")];
    assert_eq!(one(&read(&plain_out, "encoding"), "r", &row).to_bits(), one(&scores, "r", &row).to_bits());
    // On noise: uniform, the choice of layers included.
    let study = write_planted(folder.path(), 150, false, refit);
    let out = folder.path().join("noise");
    let output = run(&study, &out, &[]);
    assert!(output.status.success(), "{}", told(&output));
    let selection = read(&out, "selection");
    let p: Vec<f64> = at(&selection, &[("subject", "one")])
        .into_iter()
        .filter_map(|i| selection.numbers("p").unwrap()[i])
        .collect();
    assert_eq!(p.len(), 150);
    for level in [0.1, 0.3, 0.5] {
        let share = p.iter().filter(|p| **p <= level).count() as f64 / 150.0;
        let error = (level * (1.0 - level) / 150.0_f64).sqrt();
        assert!((share - level).abs() < 4.0 * error, "{share} at {level}");
    }
}

#[test]
fn all_layers_combined_recover_a_planted_mixture() {
    let folder = tempfile::tempdir().unwrap();
    for (combine, name, kind) in
        [("stacked", "(stacked)", "stacked"), ("banded:60", "(banded)", "as bands of one ridge")]
    {
        let study = write_mixture(folder.path(), &format!("combine = \"{combine}\"\n"));
        let out = folder.path().join(kind);
        let first = run(&study, &out, &["--threads", "1"]);
        assert!(first.status.success(), "{}", told(&first));
        let reference = results(&out);
        let (scores, weights, models) =
            (read(&out, "encoding"), read(&out, "encoding_weights"), read(&out, "encoding_models"));
        assert_eq!(scores.n_rows(), 3 * (LAYERS + 1) * 4);
        assert_eq!(weights.n_rows(), 3 * (1 + 2 + 4) * LAYERS);
        for subject in ["(mean)", "one", "two"] {
            let r = |roi: &str, layer: &str| {
                one(&scores, "r", &[("subject", subject), ("roi", roi), ("layer", layer)])
            };
            // More than any layer by itself where layers are mixed, as much as the planted one where they are not.
            let best = (0..LAYERS).map(|l| r("mix", &format!("block{l}"))).fold(f64::NAN, f64::max);
            assert!(r("mix", name) > best + 0.03, "{subject}: {} {best}", r("mix", name));
            assert!((r("one", name) - r("one", "block2")).abs() < 0.03 && r("one", name) > 0.8);
            assert!(r("noise", name).abs() < 0.25 && r("flat", name).is_nan());
            let of = |roi: &str, layer: usize, column: &str| {
                let layer = format!("block{layer}");
                one(&weights, column, &[("subject", subject), ("targets", roi), ("layer", &layer)])
            };
            for roi in ["mix", "one", "noise", "(all)", "(network) a"] {
                let sum = |column: &str| (0..LAYERS).map(|l| of(roi, l, column)).sum::<f64>();
                assert!((sum("weight") - 1.0).abs() < 1e-9, "{roi}");
                assert!((sum("r2") - of(roi, 0, "joint_r2")).abs() < 1e-9, "{roi}");
            }
            // What is explained belongs to the two planted layers, most of it to the stronger one.
            let parts: Vec<f64> = (0..LAYERS).map(|l| of("mix", l, "r2")).collect();
            let others: f64 = [0, 2, 3, 5].iter().map(|&l| parts[l].abs()).sum();
            assert!(parts[1] > parts[4] && parts[1] > 0.4, "{kind} {subject}: {parts:?}");
            assert!(parts[4] > 0.03 && others < 0.3, "{kind} {subject}: {parts:?}");
            if combine == "stacked" {
                assert!((of("mix", 1, "weight") - 0.75).abs() < 0.2, "{}", of("mix", 1, "weight"));
                assert!((of("mix", 4, "weight") - 0.25).abs() < 0.2);
                assert!(of("one", 2, "weight") > 0.8);
            }
            let gain = |column: &str| one(&models, column, &[("subject", subject)]);
            assert!((gain("gain") - (gain("combined_r") - gain("nested_r"))).abs() < 1e-12);
            assert!(gain("gain_lower") < gain("gain") && gain("gain") < gain("gain_upper"));
            assert!(
                gain("combined_lower") < gain("combined_r") && gain("combined_r") < gain("combined_upper")
            );
        }
        let planted = [("subject", "(mean)"), ("roi", "mix"), ("layer", name)];
        assert_eq!(one(&scores, "p_adj", &planted), 0.01);
        assert_eq!(at(&read(&out, "layers"), &[("targets", "mix"), ("layer", name)]).len(), 3);
        let page = fs::read_to_string(out.join("report.html")).unwrap();
        assert!(page.contains(&format!("All layers {kind} predict with r")), "{kind}");
        assert!(page.contains("fig-encoding-weights") && page.contains("All layers were also"));
        // Any threads and memory; a lost node is computed again, alone.
        for threads in ["2", "5"] {
            let again = folder.path().join(format!("{kind} {threads}"));
            let output = run(&study, &again, &["--threads", threads, "--max-memory", "300M"]);
            assert!(output.status.success(), "{}", told(&output));
            assert_same(&reference, &results(&again), &format!("{kind}, {threads} threads"));
        }
        let node = fs::read_dir(out.join("nodes/encoding_combined")).unwrap().next().unwrap().unwrap().path();
        fs::remove_file(node).unwrap();
        let repaired = run(&study, &out, &["--threads", "2"]);
        assert!(told(&repaired).contains("1 node"), "{}", told(&repaired));
        assert_same(&reference, &results(&out), "after a loss");
        // Beside it the layers are what they are without.
        let alone = write_mixture(folder.path(), "");
        let plain_out = folder.path().join(format!("{kind} alone"));
        let output = run(&alone, &plain_out, &[]);
        assert!(output.status.success(), "{}", told(&output));
        let plain = read(&plain_out, "encoding");
        let row = [("subject", "one"), ("roi", "mix"), ("layer", "block1")];
        assert_eq!(one(&plain, "r", &row).to_bits(), one(&scores, "r", &row).to_bits());
        assert!(!plain_out.join("results/encoding_weights.parquet").exists());
    }
    // One layer is no combination.
    let study = write_mixture(folder.path(), "combine = \"stacked\"\nlayers = [\"block1\"]\n");
    let out = folder.path().join("single");
    let output = run(&study, &out, &[]);
    assert!(output.status.success(), "{}", told(&output));
    assert!(!out.join("nodes/encoding_combined").exists());
}

#[test]
fn all_layers_combined_are_tested_by_refits() {
    let folder = tempfile::tempdir().unwrap();
    for (combine, name) in [("stacked", "(stacked)"), ("banded:8", "(banded)")] {
        let choices = "inner = \"gcv\"\nlayers = [\"block1\", \"block2\", \"block4\"]\nnull = \"refit\"\n";
        let study = write_mixture(folder.path(), &format!("{choices}combine = \"{combine}\"\n"));
        let out = folder.path().join(combine);
        let output = run(&study, &out, &["--threads", "1"]);
        assert!(output.status.success(), "{}", told(&output));
        let scores = read(&out, "encoding");
        for subject in ["(mean)", "one"] {
            let p = |roi: &str| {
                let row = [("subject", subject), ("roi", roi), ("layer", name)];
                (one(&scores, "p", &row), one(&scores, "p_adj", &row))
            };
            assert_eq!(p("mix"), (0.01, 0.01));
            assert!(p("noise").0 > 0.02 && p("noise").1 >= p("noise").0 && p("flat").0.is_nan());
        }
        let again = folder.path().join(format!("{combine} again"));
        assert!(run(&study, &again, &["--threads", "3", "--max-memory", "300M"]).status.success());
        assert_same(&results(&out), &results(&again), combine);
    }
}

#[test]
fn above_two_thousand_targets_the_chosen_layers_have_p_values_too() {
    let folder = tempfile::tempdir().unwrap();
    let choices = "inner = \"gcv\"\nlayers = [\"block1\", \"block3\", \"block5\"]\n";
    let of = |name: &str, n: usize, more: &[&str]| {
        let study = write_planted(folder.path(), n, false, choices);
        let out = folder.path().join(name);
        let output = run(&study, &out, more);
        assert!(output.status.success(), "{}", told(&output));
        (read(&out, "selection"), results(&out))
    };
    let (many, bytes) = of("many", 2100, &["--threads", "1"]);
    let numbers = |table: &Table, n: usize, subject: &str, column: &str| -> Vec<Option<f64>> {
        let found = at(table, &[("subject", subject)]);
        found.into_iter().take(n).map(|i| table.numbers(column).unwrap()[i]).collect()
    };
    for subject in ["one", "two"] {
        let p = numbers(&many, 2100, subject, "p");
        assert!(p.iter().all(Option::is_some));
        let share = p.iter().flatten().filter(|p| **p <= 0.05).count() as f64 / 2100.0;
        assert!(share < 0.08, "{share}");
    }
    let (_, tight) = of("tight", 2100, &["--threads", "2", "--max-memory", "200M"]);
    assert_same(&bytes, &tight, "two threads, little memory");
    // The first 40 of the same targets by themselves, whose predictions are kept.
    let study = write_planted(folder.path(), 2100, false, choices);
    let rows: Vec<String> = (0..2100).map(|j| format!("noise{j},net{},", j % 2)).collect();
    let kept = |n: usize| format!("roi,network,hierarchy\n{}\n", rows[..n].join("\n"));
    fs::write(folder.path().join("rois.csv"), kept(2100)).unwrap();
    for subject in ["one", "two"] {
        let file = folder.path().join(format!("{subject}.safetensors"));
        let mut noise = Stream::new(9, "responses", u64::from(subject == "two"));
        let values: Vec<f32> = (0..N * 2100).map(|_| noise.normal() as f32).collect();
        let cut = (0..N).flat_map(|i| values[i * 2100..i * 2100 + 40].to_vec()).collect();
        write_arrays(&file, &[("response", 40, cut)]);
    }
    fs::write(folder.path().join("rois.csv"), kept(40)).unwrap();
    let out = folder.path().join("few");
    let output = run(&study, &out, &[]);
    assert!(output.status.success(), "{}", told(&output));
    let few = read(&out, "selection");
    for subject in ["one", "two"] {
        for (column, roi) in ["r", "p", "lower", "upper"]
            .into_iter()
            .flat_map(|c| ["noise0", "noise7", "noise39"].map(|r| (c, r)))
        {
            let row = [("subject", subject), ("roi", roi)];
            assert_eq!(
                one(&few, column, &row).to_bits(),
                one(&many, column, &row).to_bits(),
                "{column} of {roi}"
            );
        }
    }
}

/// Channels over time: `early` follows layer 1 at 0.1 s, `late` layer 4 at 0.3 s, `noise` nothing; before the onset, at
/// -0.1 s, `early` follows layer 1 as well, without noise. Further channels are noise.
fn write_timed(folder: &Path, n_noise: usize, analysis: &str) -> PathBuf {
    let study = write_planted(folder, 0, false, analysis);
    let mut latent = Stream::new(8, "latents", 0);
    let z: Vec<Vec<f64>> = (0..LAYERS * DIMS).map(|_| (0..N).map(|_| latent.normal()).collect()).collect();
    let times = [-0.1, 0.0, 0.1, 0.2, 0.3];
    let mut rois = vec!["early,front".to_owned(), "late,back".to_owned()];
    rois.extend((0..n_noise).map(|j| format!("noise{j},back")));
    fs::write(folder.join("rois.csv"), format!("roi,network\n{}\n", rois.join("\n"))).unwrap();
    for (s, subject) in ["one", "two"].iter().enumerate() {
        let mut noise = Stream::new(29, "responses", s as u64);
        let width = rois.len() * times.len();
        let values: Vec<f64> = (0..N * width)
            .map(|at| {
                let (i, channel, t) = (at / width, at % width / times.len(), at % times.len());
                match (channel, t) {
                    (0, 0) => z[DIMS][i],
                    (0, 2) => 2.0 * z[DIMS][i] + noise.normal(),
                    (1, 4) => 2.0 * z[4 * DIMS][i] + noise.normal(),
                    _ => noise.normal(),
                }
            })
            .collect();
        let shape = [N, rois.len(), times.len()];
        fs::write(folder.join(format!("{subject}.npy")), npy(&shape, &values)).unwrap();
    }
    fs::write(folder.join("times.npy"), npy(&[times.len()], &times)).unwrap();
    let text = fs::read_to_string(&study).unwrap();
    let text = text.replace("one.safetensors", "one.npy").replace("two.safetensors", "two.npy");
    fs::write(&study, text.replace("rois = ", "times = \"times.npy\"\nrois = ")).unwrap();
    study
}

fn npy(shape: &[usize], values: &[f64]) -> Vec<u8> {
    let shape: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({shape}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00v\x00".to_vec();
    bytes.extend(format!("{header:<117}\n").bytes());
    values.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
    bytes
}

#[test]
fn layer_and_time_are_chosen_on_training_rows() {
    let folder = tempfile::tempdir().unwrap();
    for null in ["shift", "refit"] {
        let choices =
            format!("inner = \"gcv\"\nlayers = [\"block1\", \"block4\", \"block5\"]\nnull = \"{null}\"\n");
        let study = write_timed(folder.path(), 2, &choices);
        let out = folder.path().join(null);
        let output = run(&study, &out, &["--threads", "1"]);
        assert!(output.status.success(), "{}", told(&output));
        let (scores, chosen) = (read(&out, "encoding"), read(&out, "time_selection"));
        assert_eq!((scores.n_rows(), chosen.n_rows()), (3 * 3 * 4 * 5, 3 * 4));
        for subject in ["(mean)", "one", "two"] {
            // The time before the onset is scored, and no choice.
            let row = [("subject", subject), ("roi", "early@-0.1"), ("layer", "block1")];
            assert!(one(&scores, "r", &row) > 0.9 && one(&scores, "time_s", &row) == -0.1);
            for (channel, layer, time) in [("early", "block1", 0.1), ("late", "block4", 0.3)] {
                let row = [("subject", subject), ("channel", channel)];
                let found = at(&chosen, &row)[0];
                assert_eq!(rows(&chosen, "chosen_layer")[found], layer);
                assert_eq!(rows(&chosen, "best_layer")[found], layer);
                assert_eq!(one(&chosen, "chosen_time_s", &row), time);
                assert_eq!(one(&chosen, "best_time_s", &row), time);
                assert_eq!((one(&chosen, "time_share", &row), one(&chosen, "layer_share", &row)), (1.0, 1.0));
                // Every fold chose the same: the score is that of this layer and time.
                let same =
                    [("subject", subject), ("roi", &format!("{channel}@{time}")[..]), ("layer", layer)];
                let r = one(&chosen, "r", &row);
                assert_eq!(r.to_bits(), one(&scores, "r", &same).to_bits());
                assert!(one(&chosen, "lower", &row) < r && r < one(&chosen, "upper", &row));
                assert_eq!((one(&chosen, "p", &row), one(&chosen, "p_adj", &row)), (0.01, 0.01));
                assert!(one(&chosen, "selection_bias", &row).abs() < 1e-12);
            }
            let noise = [("subject", subject), ("channel", "noise0")];
            assert!(one(&chosen, "p_adj", &noise) >= one(&chosen, "p", &noise));
            assert!(one(&chosen, "selection_bias", &noise) > 0.0);
        }
        // Means over channels at a time, and the correlation of depth with time (block1 at 0.1 s, block4 at 0.3 s; of
        // two layers that follow something and one that does not).
        let layers = read(&out, "layers");
        let early = [("subject", "one"), ("targets", "(time) 0.1"), ("layer", "block1")];
        assert!(one(&layers, "lower", &early) < one(&layers, "r", &early));
        let models = read(&out, "encoding_models");
        let r = one(&models, "temporal_r", &[("subject", "(mean)")]);
        assert!((-1.0..=1.0).contains(&r) || r.is_nan());
        let again = folder.path().join(format!("{null} again"));
        assert!(run(&study, &again, &["--threads", "3", "--max-memory", "300M"]).status.success());
        assert_same(&results(&out), &results(&again), null);
        let page = fs::read_to_string(out.join("report.html")).unwrap();
        assert!(page.contains("time_selection"), "the report holds the table");
    }
    // Above 2,000 targets predictions, and refits, of what is chosen are made again: the same channels among many.
    for (null, n) in [("shift", 400), ("refit", 400)] {
        let choices = format!("inner = \"gcv\"\nlayers = [\"block1\", \"block4\"]\nnull = \"{null}\"\n");
        let few = write_timed(folder.path(), 2, &choices);
        let few_out = folder.path().join(format!("{null} few"));
        assert!(run(&few, &few_out, &[]).status.success());
        let many = write_timed(folder.path(), n, &choices);
        let many_out = folder.path().join(format!("{null} many"));
        let output = run(&many, &many_out, &[]);
        assert!(output.status.success(), "{}", told(&output));
        let (few, many) = (read(&few_out, "time_selection"), read(&many_out, "time_selection"));
        for channel in ["early", "late"] {
            let row = [("subject", "one"), ("channel", channel)];
            assert!((one(&few, "r", &row) - one(&many, "r", &row)).abs() < 0.1, "{channel}");
            for column in ["lower", "upper", "p", "p_adj"] {
                let found = one(&many, column, &row);
                assert!((found - one(&few, column, &row)).abs() < 0.1, "{null} {channel} {column}: {found}");
            }
        }
        let p: Vec<f64> = at(&many, &[("subject", "one")])
            .into_iter()
            .filter_map(|i| many.numbers("p").unwrap()[i])
            .skip(2)
            .collect();
        let share = p.iter().filter(|p| **p <= 0.1).count() as f64 / p.len() as f64;
        assert!(p.len() == n && share < 0.1 + 4.0 * (0.09 / n as f64).sqrt(), "{null}: {share}");
    }
    // What does not fit together is refused.
    for (from, to, words) in [
        ("times.npy", "short.npy", "a time axis of 2"),
        (
            "responses = \"one.npy\"",
            "responses = \"one.npy\", axes = [\"stimulus\", \"target\"]",
            "go together",
        ),
        (
            "by_order = true\ntimes",
            "by_order = true\nvoxels = \"each\"\ntimes",
            "leave out `clock` and `voxels`",
        ),
        ("times.npy", "early.npy", "no time from the onset"),
        ("times.npy", "wild.npy", "number 2 is -0.2"),
    ] {
        let study = write_timed(folder.path(), 2, "inner = \"gcv\"\n");
        fs::write(folder.path().join("early.npy"), npy(&[5], &[-0.5, -0.4, -0.3, -0.2, -0.1])).unwrap();
        fs::write(folder.path().join("short.npy"), npy(&[2], &[0.0, 0.1])).unwrap();
        fs::write(folder.path().join("wild.npy"), npy(&[5], &[-0.1, -0.2, 0.0, 0.1, 0.2])).unwrap();
        let text = fs::read_to_string(&study).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        fs::write(&study, text.replace(from, to)).unwrap();
        let refused = run(&study, &folder.path().join("refused"), &[]);
        assert!(!refused.status.success() && told(&refused).contains(words), "{words}: {}", told(&refused));
    }
}

#[test]
fn both_analyses_stand_side_by_side_and_wrong_words_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let nfas = "\n[analysis.nfas]\npermutations = 199\nbootstraps = 100\nshifts = 99\n\
                [analysis.nfas.controls]\nlayer_order = 3\nmultiverse = false\n";
    let study = write_planted(folder.path(), 0, false, &format!("layers = [\"block0\"]\n{nfas}"));
    let out = folder.path().join("both");
    let output = run(&study, &out, &[]);
    assert!(output.status.success(), "{}", told(&output));
    assert!(read(&out, "scores").n_rows() > 0 && read(&out, "encoding").n_rows() > 0);

    for (analysis, words) in [
        ("inner = \"looo\"\n", "did you mean `\"loo\"`?"),
        ("reduce = \"sparse:0\"\n", "a number of directions, as in `sparse:5920`"),
        ("reduce = \"svd\"\n", "`none`, `pca`, `sparse`, `gaussian`"),
        ("encoder = \"banded\"\n", "`ridge`, `ols`, `kernel_ridge`, `pls`"),
        ("encoder = \"pls:0\"\n", "a number of components, as in `pls:25`"),
        ("encoder = \"pls\"\ninner = \"gcv\"\n", "`encoder = \"pls\"` has no penalty to choose"),
        ("encoder = \"pls\"\nalpha_per_roi = true\n", "`alpha_per_roi` has no say"),
        ("kernel = \"rbf\"\n", "in `encoder = \"kernel_ridge\"` alone"),
        ("encoder = \"kernel_ridge\"\nkernel = \"rbf:-1\"\n", "as in `rbf:0.01`"),
        ("encoder = \"kernel_ridge\"\nkernel = \"poly\"\n", "`linear`, `polynomial`, `rbf`"),
        ("null = \"refits\"\n", "did you mean `\"refit\"`?"),
        ("combine = \"stack\"\n", "did you mean `\"stacked\"`?"),
        ("combine = \"banded\"\nencoder = \"pls\"\n", "is one ridge over all layers"),
        ("combine = \"banded\"\nalpha_per_roi = false\n", "target by target"),
        ("combine = \"banded\"\ninner_loss = \"correlation\"\n", "compares squared errors"),
        ("combine = \"banded\"\nalphas = [0, 1]\n", "penalties above 0"),
        ("encoder = \"ols\"\n", "set `reduce = \"pca:256\"`"),
        ("inner = \"gcv\"\ninner_loss = \"correlation\"\n", "it is a squared error"),
        ("inner = \"gcv\"\ninner_folds = 4\n", "has no say"),
        ("layers = [\"blok1\"]\n", "did you mean `block1`?"),
        ("partition = [{ name = \"a\", layers = [\"block1\"] }]\n", "2 to 4 expected"),
        (
            "partition = [{ name = \"a\" }, { name = \"b\", layers = [\"block1\"] }]\n",
            "either `layers` or `nuisance`",
        ),
        (
            "partition = [{ name = \"a\", nuisance = \"x\" }, { name = \"b\", layers = [\"block1\"] }]\n",
            "has none",
        ),
        ("inner_folds = 1\n", "a whole number from 2 to 1000"),
        ("estimator = \"ridge\"\n", "unknown key `estimator`"),
        ("purge_s = 3\n[analysis.nfas]\npurge_s = 4\n", "say it in one of them"),
    ] {
        let study = write_planted(folder.path(), 0, false, analysis);
        let refused = stereotax(&["check", study.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(2), "{analysis}");
        assert!(told(&refused).contains(words), "{analysis}: {}", told(&refused));
    }
}

#[test]
fn the_example_of_the_guide_is_a_study() {
    let page = include_str!("../../../docs/encoding.md");
    let text = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let study = stereotax_study::config::parse(text, "study.toml").unwrap_or_else(|e| panic!("{e}"));
    assert!(study.encoding.is_some() && !study.wants_nfas);
}
