//! Choices of a study from files to results: each reaches its kernel and does there what its name says.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{
    MODELS, N_SAMPLES, N_UNITS, SmallModel, assert_same, mean_score, number, results, rows, run, stereotax,
    told, write_arrays, write_study,
};
use safetensors::tensor::{SafeTensors, TensorView, serialize};
use stereotax::stats::rng::Stream;
use stereotax_io::{Table, Values, read_parquet};

/// Run the small study with other choices; its models and scores.
fn chosen(folder: &Path, study: &Path, name: &str, lines: &str) -> (Table, Table, PathBuf) {
    let text = fs::read_to_string(study).unwrap();
    let text = text.replace("[analysis.nfas]\n", &format!("[analysis.nfas]\n{lines}\n"));
    let file = folder.join(format!("{name}.toml"));
    fs::write(&file, text).unwrap();
    let out = folder.join(name);
    let output = run(&file, &out, &[]);
    assert!(output.status.success(), "{lines}: {}", told(&output));
    let table = |of: &str| read_parquet(&out.join(format!("results/{of}.parquet"))).unwrap();
    (table("models"), table("scores"), out)
}

#[test]
fn every_trajectory_and_segments_run_from_files_to_report() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_study(folder.path(), &MODELS[..2]);
    let small = "select = \"band:2\"";
    for (name, lines) in [
        ("sample", "trajectory = \"sample\"".to_owned()),
        ("mode-only", "trajectory = \"sample\"\namplitude = \"mode_only\"".to_owned()),
        ("modulus", "trajectory = \"sample\"\namplitude = \"modulus\"".to_owned()),
        ("pooled", format!("trajectory = \"pooled\"\n{small}")),
        ("narrow", format!("trajectory = \"pooled\"\nestimator = \"rrr:1e-3\"\nmax_width = 8\n{small}")),
        ("mapped", format!("trajectory = \"pooled\"\nalign_all = true\n{small}")),
        ("segments", "estimator = \"segments:2\"".to_owned()),
    ] {
        let (models, scores, out) = chosen(folder.path(), &study, name, &lines);
        let trajectory = if name == "segments" {
            "stacked"
        } else if lines.contains("pooled") {
            "pooled"
        } else {
            "sample"
        };
        assert!(rows(&models, "trajectory").iter().all(|t| *t == trajectory));
        // The planted stable latents of vision drive ROIs 0 and 1, and not 2; shuffles are scored too.
        let of = |roi: &str| mean_score(&scores, "see-b", "stable_mode", roi);
        // A unit mode has lost its sign and size per sample, and a modulus the sign of every unit.
        if !matches!(name, "mode-only" | "modulus") {
            assert!(of("roi0") > 0.3 && of("roi1") > 0.3, "{name}: {} {}", of("roi0"), of("roi1"));
            assert!(of("roi2") < 0.2, "{name}: {}", of("roi2"));
        }
        assert!(mean_score(&scores, "see-b", "shuffled_03", "roi0").is_finite(), "{name}");
        assert!(mean_score(&scores, "see-b", "layer_mean", "roi0") > 0.3, "{name}");
        let weights = read_parquet(&out.join("results/weights.parquet")).unwrap();
        let weighted = weights.numbers("weight").unwrap().iter().all(Option::is_some);
        assert_eq!(weighted, !matches!(name, "modulus" | "pooled" | "narrow" | "mapped"), "{name}");
        let spectra = read_parquet(&out.join("results/spectra.parquet")).unwrap();
        let segments = spectra.column("segment").unwrap();
        let text = format!("{segments:?}");
        assert_eq!(text.contains("Some(1)"), name == "segments", "{name}");
        let share = models.numbers("share_qualifying").unwrap()[0];
        assert_eq!(share.is_some(), trajectory == "sample", "{name}");
        let versus = models.numbers("versus_persistence").unwrap()[0];
        assert_eq!(versus.is_some(), trajectory == "pooled", "{name}");
        let page = fs::read_to_string(out.join("report.html")).unwrap();
        assert!(page.contains("see-a"), "{name}");
        if matches!(name, "sample" | "narrow") {
            let reference = results(&out);
            for threads in ["1", "8"] {
                let again = folder.path().join(format!("{name}-{threads}"));
                let file = folder.path().join(format!("{name}.toml"));
                assert!(run(&file, &again, &["--threads", threads]).status.success());
                assert_same(&reference, &results(&again), &format!("{name}, {threads} threads"));
            }
        }
    }
}

/// A story of 3 runs of 40 volumes at 2 s; `per_volume` events in each, evenly or unevenly spaced.
fn write_story(folder: &Path, per_volume: usize, even: bool) -> String {
    const VOLUMES: usize = 120;
    let mut latent = Stream::new(8, "story", 0);
    let z: Vec<Vec<f64>> = (0..3).map(|_| (0..VOLUMES).map(|_| latent.normal()).collect()).collect();
    let ids: String =
        (0..VOLUMES).map(|i| format!("v{i:03},run{},{:.1}\n", i / 40, (i % 40) as f64 * 2.0)).collect();
    fs::write(folder.join("volumes.csv"), format!("stimulus_id,run,onset_s\n{ids}")).unwrap();
    let mut noise = Stream::new(8, "story responses", 0);
    let responses: Vec<f32> =
        (0..VOLUMES * 3).map(|at| (z[at % 3][at / 3] + 0.5 * noise.normal()) as f32).collect();
    write_arrays(&folder.join("brain.safetensors"), &[("response", 3, responses)]);
    fs::write(folder.join("rois.csv"), "roi\nstays\nremains\nfades\n").unwrap();
    let n = VOLUMES * per_volume;
    let gap = 2.0 / per_volume as f64;
    let mut jitter = Stream::new(8, "story jitter", 0);
    let events: String = (0..n)
        .map(|i| {
            let shift = if even { 0.0 } else { 0.3 * gap * jitter.uniform() };
            let onset = (i % (40 * per_volume)) as f64 * gap + shift;
            format!("e{i:04},run{},{onset:.4},{gap:.4}\n", i / (40 * per_volume))
        })
        .collect();
    fs::write(folder.join("events.csv"), format!("stimulus_id,run,onset_s,duration_s\n{events}")).unwrap();
    let mixing: Vec<f64> = (0..3 * N_UNITS).map(|_| noise.normal()).collect();
    let names: Vec<String> = (0..6).map(|l| format!("block{l}")).collect();
    let layers: Vec<(&str, usize, Vec<f32>)> = names
        .iter()
        .enumerate()
        .map(|(l, name)| {
            let values = (0..n * N_UNITS)
                .map(|at| {
                    let (volume, u) = (at / N_UNITS / per_volume, at % N_UNITS);
                    let stable: f64 = (0..2).map(|k| z[k][volume] * mixing[k * N_UNITS + u]).sum();
                    let fading = 0.5f64.powi(l as i32) * z[2][volume] * mixing[2 * N_UNITS + u];
                    (stable + fading + 0.4 * noise.normal()) as f32
                })
                .collect();
            (name.as_str(), N_UNITS, values)
        })
        .collect();
    write_arrays(&folder.join("story.safetensors"), &layers);
    format!(
        "[study]\nname = \"story\"\nseed = 3\n[[stimuli]]\nid = \"s\"\nids = \"volumes.csv\"\nblocks = \"segment:20s\"\n\
         [[brain]]\nbenchmark = \"b\"\nstimuli = \"s\"\nmodality = \"auditory\"\nclock = {{ tr_s = 2.0 }}\nby_order = true\n\
         rois = \"rois.csv\"\nsubjects = [ {{ id = \"one\", responses = \"brain.safetensors\" }} ]\n\
         [[model]]\nname = \"listener\"\nmodality = \"audio\"\nfamily = \"l\"\n\
         activations = {{ file = \"story.safetensors\", layers = {names:?}, stimuli = \"s\", by_order = true, events = \"events.csv\" }}\n\
         [analysis.nfas]\nhrf = \"none\"\npermutations = 199\nbootstraps = 100\nshifts = 99\nCHOICES\n\
         [analysis.nfas.controls]\nlayer_order = 2\nmultiverse = false\n"
    )
}

fn run_story(folder: &Path, text: &str, name: &str, choices: &str) -> PathBuf {
    let file = folder.join(format!("{name}.toml"));
    fs::write(&file, text.replace("CHOICES", choices)).unwrap();
    let out = folder.join(name);
    let output = run(&file, &out, &[]);
    assert!(output.status.success(), "{choices}: {}", told(&output));
    out
}

/// The tables without the manifest, which tells the settings.
fn tables(out: &Path) -> Vec<(String, Vec<u8>)> {
    results(out).into_iter().filter(|(name, _)| name.ends_with(".parquet")).collect()
}

#[test]
fn one_event_per_volume_makes_both_clocks_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let text = write_story(folder.path(), 1, true);
    let plain = text.replace(", events = \"events.csv\"", "");
    let reference = tables(&run_story(folder.path(), &plain, "plain", "clock = \"native\""));
    for (name, choices) in [
        ("tr", "clock = \"tr\""),
        ("native", "clock = \"native\""),
        ("sample", "clock = \"native\"\nresample = \"box\"\ntrajectory = \"sample\""),
    ] {
        let found = tables(&run_story(folder.path(), &text, name, choices));
        if name == "sample" {
            let same = tables(&run_story(folder.path(), &plain, "plain-sample", "trajectory = \"sample\""));
            assert_same(&same, &found, name);
        } else {
            assert_same(&reference, &found, name);
        }
    }
}

#[test]
fn frames_and_words_come_to_the_clock_before_or_after_depth() {
    let folder = tempfile::tempdir().unwrap();
    let scores_of = |out: &Path| read_parquet(&out.join("results/scores.parquet")).unwrap();
    for (even, kind) in [(true, "frames"), (false, "words")] {
        let text = write_story(folder.path(), 4, even);
        let outs: Vec<PathBuf> = ["tr", "native"]
            .iter()
            .map(|c| run_story(folder.path(), &text, &format!("{kind}-{c}"), &format!("clock = \"{c}\"")))
            .collect();
        let both: Vec<Table> = outs.iter().map(|out| scores_of(out)).collect();
        for roi in ["stays", "remains"] {
            let stable: Vec<f64> =
                both.iter().map(|t| mean_score(t, "listener", "stable_mode", roi)).collect();
            assert!(stable.iter().all(|s| *s > 0.3), "{kind} {roi}: {stable:?}");
            assert!((stable[0] - stable[1]).abs() < 0.1, "{kind} {roi}: {stable:?}");
            // Single layers do not know of the depth, so the clock of the depth cannot matter to them.
            let first: Vec<f64> =
                both.iter().map(|t| mean_score(t, "listener", "first_layer", roi)).collect();
            assert!((first[0] - first[1]).abs() < 1e-9, "{kind}: {first:?}");
        }
        let manifest = fs::read_to_string(outs[1].join("results/study.json")).unwrap();
        let told = if even { "box averages" } else { "a Lanczos filter, weights not normalised" };
        assert!(manifest.contains(told), "{kind}");
        if !even {
            for choices in ["trajectory = \"sample\"", "trajectory = \"pooled\"\nselect = \"band:2\""] {
                let name = format!("words-{}", &choices[14..20]);
                let out = run_story(folder.path(), &text, &name, &format!("clock = \"native\"\n{choices}"));
                assert!(
                    mean_score(&scores_of(&out), "listener", "stable_mode", "(mean)") > 0.15,
                    "{choices}"
                );
            }
        }
    }
    // Ten seconds less at the start and four at the end of each run: 7 volumes of 40.
    let text = write_story(folder.path(), 4, true);
    let trim = "blocks = \"segment:20s\"\ntrim_start_s = 10\ntrim_end_s = 4";
    let trimmed = text.replace("blocks = \"segment:20s\"", trim);
    let scores = scores_of(&run_story(folder.path(), &trimmed, "trimmed", "clock = \"native\""));
    assert!(matches!(scores.column("n"), Some(Values::Integer(n)) if n.iter().all(|n| *n == Some(99))));
    assert!(mean_score(&scores, "listener", "stable_mode", "stays") > 0.3);
    // What is wrong with events is told before anything is written.
    let text = write_story(folder.path(), 2, true).replace("CHOICES", "");
    let whole = fs::read_to_string(folder.path().join("events.csv")).unwrap();
    let refuse = |events: &str, text: &str, words: &str| {
        fs::write(folder.path().join("events.csv"), events).unwrap();
        fs::write(folder.path().join("wrong.toml"), text).unwrap();
        let output = run(&folder.path().join("wrong.toml"), &folder.path().join("wrong"), &[]);
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
        assert!(told(&output).contains(words) && told(&output).contains("hint:"), "{}", told(&output));
        assert!(!folder.path().join("wrong").exists());
    };
    refuse(&whole.replace("onset_s", "onset"), &text, "no column `onset_s`");
    refuse(&whole.replace("run2", "run9"), &text, "run `run9`");
    refuse(&whole.replace("e0001,run0,1.0000", "e0001,run0,7.0000"), &text, "not in the order of time");
    let clips = text.replace("clock = { tr_s = 2.0 }\n", "").replace("segment:20s", "stimulus");
    refuse(&whole, &clips, "has a stimulus clock");
}

#[test]
fn every_choice_of_numerics_reaches_its_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let plain = write_story(folder.path(), 1, true).replace(", events = \"events.csv\"", "");
    let delays = plain.replace("hrf = \"none\"", "delays_s = { from = 0, to = 4 }");
    let scores_of = |out: &Path| read_parquet(&out.join("results/scores.parquet")).unwrap();
    let stays = |t: &Table| mean_score(t, "listener", "stable_mode", "stays");
    let base = scores_of(&run_story(folder.path(), &delays, "base", ""));
    assert!(stays(&base) > 0.3);
    // Delays of up to two volumes: two volumes less in each of three runs.
    let dropped = scores_of(&run_story(folder.path(), &delays, "dropped", "drop_padded = true"));
    assert!(matches!(dropped.column("n"), Some(Values::Integer(n)) if n.iter().all(|n| *n == Some(114))));
    assert!((stays(&dropped) - stays(&base)).abs() < 0.1 && stays(&dropped) != stays(&base));
    let loss = scores_of(&run_story(folder.path(), &delays, "loss", "inner_loss = \"correlation\""));
    assert!((stays(&loss) - stays(&base)).abs() < 0.1);
    let alphas = |t: &Table| t.numbers("alpha").unwrap().to_vec();
    assert!(alphas(&loss) != alphas(&base));
    // Of a response that comes at once a convolved prediction has little, but not the same little.
    let spm = plain.replace("hrf = \"none\"", "hrf = \"spm\"");
    let own = scores_of(&run_story(folder.path(), &spm, "spm", ""));
    let theirs = scores_of(&run_story(folder.path(), &spm, "nilearn", "hrf_parity = \"nilearn\""));
    let r = |t: &Table| t.numbers("r").unwrap().to_vec();
    assert!(r(&own) != r(&theirs));
    for (a, b) in r(&own).iter().zip(r(&theirs)) {
        assert!((a.unwrap() - b.unwrap()).abs() < 0.05, "{a:?} {b:?}");
    }
    for (weights, even, told) in
        [("raw", true, "not normalised"), ("normalised", false, "weights normalised")]
    {
        let text = write_story(folder.path(), 4, even);
        let choices = format!("resample = \"lanczos\"\nlanczos_weights = \"{weights}\"");
        let out = run_story(folder.path(), &text, weights, &choices);
        assert!(fs::read_to_string(out.join("results/study.json")).unwrap().contains(told), "{weights}");
    }
}

/// The planted latent `k` of [`write_study`].
fn latent(k: usize) -> Vec<f32> {
    let mut stream = Stream::new(5, "latent", 0);
    let z: Vec<Vec<f32>> = (0..4).map(|_| (0..N_SAMPLES).map(|_| stream.normal() as f32).collect()).collect();
    z[k].clone()
}

/// The study of [`write_study`] with few controls, and `lines` in [analysis.nfas].
fn write_light_study(folder: &Path, models: &[SmallModel], lines: &str) -> PathBuf {
    let study = write_study(folder, models);
    let text = fs::read_to_string(&study).unwrap();
    let text = text.replace(
        "layer_order = 3\nmultiverse = true",
        "layer_order = 0\nmultiverse = false\nbest_layer = false\nadaptive = false",
    );
    fs::write(&study, text.replace("permutations = 199", &format!("permutations = 199\n{lines}"))).unwrap();
    study
}

#[test]
fn banded_scores_are_what_the_network_adds_to_the_nuisance() {
    let folder = tempfile::tempdir().unwrap();
    // Latent 0 drives roi0 and roi4; given as a nuisance feature, it must take their score away from the
    // network, and leave roi1, which follows latent 1.
    write_arrays(&folder.path().join("loud.safetensors"), &[("loudness", 1, latent(0))]);
    let study = write_light_study(folder.path(), &MODELS[..2], "encoder = \"banded\"\nband_candidates = 5");
    let bare = stereotax(&["check", study.to_str().unwrap()]);
    assert!(told(&bare).contains("but benchmark `b` names none"), "{}", told(&bare));
    assert_eq!(bare.status.code(), Some(2));
    let text = fs::read_to_string(&study).unwrap();
    let nuisance = "rois = \"rois.csv\"\nnuisance = [{ name = \"loud\", file = \"loud.safetensors\" }]";
    fs::write(&study, text.replace("rois = \"rois.csv\"", nuisance)).unwrap();
    let out = folder.path().join("out");
    let done = run(&study, &out, &[]);
    assert!(done.status.success(), "{}", told(&done));

    let scores = read_parquet(&out.join("results/scores.parquet")).unwrap();
    let score = |representation: &str, roi: &str| {
        let at =
            [("model", "see-a"), ("representation", representation), ("subject", "(mean)"), ("roi", roi)];
        number(&scores, "score", &at).unwrap()
    };
    assert!(score("nuisance:loud", "roi0") > 0.4 && score("nuisance:loud", "roi1") < 0.1);
    assert!(score("stable_mode", "roi0") < 0.1, "{}", score("stable_mode", "roi0"));
    assert!(score("stable_mode", "roi1") > 0.4, "{}", score("stable_mode", "roi1"));

    let bands = read_parquet(&out.join("results/bands.parquet")).unwrap();
    for roi in ["roi0", "roi1", "roi2"] {
        let part = |band: &str, column: &str| {
            let at = [
                ("model", "see-a"),
                ("representation", "stable_mode"),
                ("subject", "one"),
                ("roi", roi),
                ("band", band),
            ];
            number(&bands, column, &at).unwrap()
        };
        let sum = part("representation", "r2") + part("loud", "r2");
        assert!((sum - part("loud", "joint_r2")).abs() < 1e-9, "{roi}");
        assert!((part("representation", "weight") + part("loud", "weight") - 1.0).abs() < 1e-9);
    }
    // Nuisance by itself is one band: the same numbers as under ridge.
    let ridge = folder.path().join("ridge");
    let text = fs::read_to_string(&study).unwrap();
    fs::write(&study, text.replace("encoder = \"banded\"", "encoder = \"ridge\"")).unwrap();
    assert!(run(&study, &ridge, &[]).status.success());
    let plain = read_parquet(&ridge.join("results/scores.parquet")).unwrap();
    let at = [("model", "see-a"), ("subject", "(mean)"), ("roi", "roi0")];
    let of =
        |representation| number(&plain, "score", &[&at[..], &[("representation", representation)]].concat());
    assert_eq!(of("nuisance:loud"), Some(score("nuisance:loud", "roi0")));
    assert!(of("stable_mode").unwrap() > 0.4);
}

#[test]
fn models_are_placed_by_what_they_predict() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "embedding = \"response\"\nmultiplicity = \"bh\"\ninterval = \"bca\"";
    let study = write_light_study(folder.path(), &MODELS[..4], lines);
    let out = folder.path().join("out");
    let done = run(&study, &out, &[]);
    assert!(done.status.success(), "{}", told(&done));
    let coordinates = read_parquet(&out.join("results/coordinates.parquet")).unwrap();
    let x = |model: &str| {
        number(&coordinates, "x", &[("representation", "stable_mode"), ("model", model)]).unwrap()
    };
    assert!(rows(&coordinates, "embedding").iter().all(|e| *e == "response"));
    // Vision carries latents 0 and 1, audio 2 and 3: what they predict is unrelated between modalities.
    assert!((x("see-a") - x("see-b")).abs() < 0.2 && (x("hear-a") - x("hear-b")).abs() < 0.2);
    assert!((x("see-a") - x("hear-a")).abs() > 0.6, "{} {}", x("see-a"), x("hear-a"));
    let tests = read_parquet(&out.join("results/tests.parquet")).unwrap();
    let at = [("representation", "stable_mode"), ("test", "permanova"), ("contrast", "modality")];
    assert!(number(&tests, "r2", &at).unwrap() > 0.8);

    let scores = read_parquet(&out.join("results/scores.parquet")).unwrap();
    let (chosen, q) = (scores.numbers("p_adj").unwrap(), scores.numbers("q_bh").unwrap());
    assert_eq!(chosen, q);
    assert!(q.iter().flatten().count() > 10 && rows(&scores, "adjustment").contains(&"bh"));
    let influence = read_parquet(&out.join("results/influence.parquet")).unwrap();
    assert!(rows(&influence, "model").contains(&"hear-b"));
}

/// A time series of two runs whose first volumes and motion would drown the response.
fn write_series(folder: &Path, trims: &str, brain: &str, subject: &str, lines: &str) -> PathBuf {
    const N: usize = 240;
    const N_VOXELS: usize = 12;
    let mut stream = Stream::new(9, "series", 0);
    let mut draw = |n: usize| -> Vec<f64> { (0..n).map(|_| stream.normal()).collect() };
    let (z, motion, e, mix) = (draw(N), draw(N), draw(N * N_VOXELS), draw(3 * 8));
    let other = [draw(N), draw(N)];
    let table: String = (0..N).map(|t| format!("v{t:03},run{},{}\n", t / 120, t % 120 * 2)).collect();
    fs::write(folder.join("stimuli.csv"), format!("stimulus_id,run,onset_s\n{table}")).unwrap();
    let labels: String = (0..N_VOXELS).map(|v| format!("{}\n", if v < 6 { "A" } else { "B" })).collect();
    fs::write(folder.join("labels.csv"), format!("roi\n{labels}")).unwrap();
    let regions = "roi,network,yeo\nA,n,Vis\nB,n,SomMot\n";
    fs::write(folder.join("rois.csv"), regions).unwrap();
    let voxel = |t: usize, v: usize| {
        let settling = if t % 120 < 6 { 300.0 } else { 0.0 };
        // Half of the voxels of A follow the stimulus with the other sign, and more weakly.
        let sign = if v < 6 { [1.0, 1.0, 1.0, -0.6, -0.6, -0.6][v] } else { 0.0 };
        let response = if t % 120 >= 2 { sign * z[t - 2] } else { 0.0 };
        (response + 4.0 * motion[t] + settling + 0.4 * e[t * N_VOXELS + v]) as f32
    };
    let values: Vec<f32> = (0..N * N_VOXELS).map(|at| voxel(at / N_VOXELS, at % N_VOXELS)).collect();
    write_arrays(&folder.join("s.safetensors"), &[("response", N_VOXELS, values)]);
    let values: Vec<f32> = motion.iter().map(|&m| m as f32).collect();
    write_arrays(&folder.join("motion.safetensors"), &[("motion", 1, values)]);
    let names: Vec<String> = (0..5).map(|l| format!("block{l}")).collect();
    let layers: Vec<(&str, usize, Vec<f32>)> = names
        .iter()
        .enumerate()
        .map(|(l, name)| {
            let unit = |t: usize, u: usize| {
                let fading = 0.5f64.powi(l as i32);
                let rest = mix[8 + u] * other[0][t] + mix[16 + u] * other[1][t];
                (mix[u] * z[t] + fading * rest + 0.05 * other[l % 2][(t + 7) % N]) as f32
            };
            (name.as_str(), 8, (0..N * 8).map(|at| unit(at / 8, at % 8)).collect())
        })
        .collect();
    write_arrays(&folder.join("model.safetensors"), &layers);
    let toml = format!(
        "[study]\nname = \"series\"\n\n[[stimuli]]\nid = \"s\"\nids = \"stimuli.csv\"\n\
         blocks = \"segment:20s\"\n{trims}\n\n[[brain]]\nbenchmark = \"b\"\nstimuli = \"s\"\n\
         modality = \"auditory\"\nclock = {{ tr_s = 2.0 }}\nby_order = true\nrois = \"rois.csv\"\n\
         voxels = \"labels.csv\"\n{brain}\n\
         subjects = [{{ id = \"one\", responses = \"s.safetensors\"{subject} }}]\n\n\
         [[model]]\nname = \"net\"\nmodality = \"audio\"\nfamily = \"net\"\n\
         activations = {{ file = \"model.safetensors\", layers = {names:?}, stimuli = \"s\", by_order = true }}\n\n\
         [analysis.nfas]\npermutations = 99\nbootstraps = 100\nshifts = 99\n{lines}\n\n\
         [analysis.nfas.controls]\nlayer_order = 0\nmultiverse = false\nbest_layer = false\nadaptive = false\n"
    );
    let file = folder.join("study.toml");
    fs::write(&file, toml).unwrap();
    file
}

#[test]
fn a_time_series_is_cleaned_as_the_study_says() {
    let score = |trims: &str, brain: &str, subject: &str, lines: &str, roi: &str| {
        let folder = tempfile::tempdir().unwrap();
        let study = write_series(folder.path(), trims, brain, subject, lines);
        let out = folder.path().join("out");
        let done = run(&study, &out, &[]);
        assert!(done.status.success(), "{}", told(&done));
        let scores = read_parquet(&out.join("results/scores.parquet")).unwrap();
        let at = [("representation", "layer_mean"), ("subject", "(mean)"), ("roi", roi)];
        number(&scores, "score", &at).unwrap()
    };
    let trims = "trim_start_s = 12";
    let motion = ", confounds = { file = \"motion.safetensors\" }";
    let best = score(trims, "roi_summary = \"first_pc\"", motion, "", "A");
    assert!(best > 0.7, "{best}");
    // Without the trims the settling of the scanner, without the confounds motion drowns it.
    assert!(score("", "", motion, "", "A") < 0.3);
    assert!(score(trims, "", "", "", "A") < 0.1);
    // In the mean, voxels of either sign cancel in part.
    let mean = score(trims, "", motion, "", "A");
    assert!(mean < best - 0.1, "{mean} {best}");
    assert!(score(trims, "", motion, "", "B") < 0.1);
    // Predictors without the drift that the responses lost: hardly another number here, but another one.
    let strict = score(trims, "", motion, "project_features = true", "A");
    assert!(strict != mean && (strict - mean).abs() < 0.1, "{strict} {mean}");
}

#[test]
fn networks_come_from_the_column_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_series(folder.path(), "", "", "", "networks = \"yeo\"");
    let out = folder.path().join("out");
    let done = run(&study, &out, &[]);
    assert!(done.status.success(), "{}", told(&done));
    let rois = read_parquet(&out.join("results/rois.parquet")).unwrap();
    assert_eq!(rows(&rois, "network"), ["Vis", "SomMot"]);
    let text = fs::read_to_string(&study).unwrap().replace("networks = \"yeo\"", "networks = \"yeo17\"");
    fs::write(&study, text).unwrap();
    let refused = run(&study, &out, &[]);
    assert!(refused.status.code() == Some(2) && told(&refused).contains("yeo17"), "{}", told(&refused));
}

#[test]
fn responses_that_carry_their_ids_stand_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_study(folder.path(), &MODELS[..1]);
    let (_, _, straight) = chosen(folder.path(), &study, "straight", "");
    for subject in ["one", "two"] {
        let path = folder.path().join(format!("{subject}.safetensors"));
        let file = fs::read(&path).unwrap();
        let there = SafeTensors::deserialize(&file).unwrap();
        let array = there.tensor("response").unwrap();
        let row = array.data().len() / N_SAMPLES;
        let turned: Vec<u8> = array.data().chunks(row).rev().flatten().copied().collect();
        let view = TensorView::new(array.dtype(), array.shape().to_vec(), &turned).unwrap();
        let ids: Vec<String> = (0..N_SAMPLES).rev().map(|i| format!("stim{i:03}")).collect();
        let about = HashMap::from([("stimulus_id".to_owned(), serde_json::to_string(&ids).unwrap())]);
        fs::write(&path, serialize([("response", view)], Some(about)).unwrap()).unwrap();
    }
    let text = fs::read_to_string(&study).unwrap();
    fs::write(&study, text.replace("modality = \"mixed\"\nby_order = true\n", "modality = \"mixed\"\n"))
        .unwrap();
    let (_, _, by_id) = chosen(folder.path(), &study, "by-id", "");
    let scores = |out: &Path| fs::read(out.join("results/scores.parquet")).unwrap();
    assert!(scores(&straight) == scores(&by_id), "rows are matched by their own ids");
}
