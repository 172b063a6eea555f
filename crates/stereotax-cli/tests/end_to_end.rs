//! The command as a user meets it: a small study from files to report, stopped and resumed, the same byte for
//! byte.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{
    MODELS, SmallModel, assert_same, results, rows, run, stereotax, told, write_study, write_surface,
    write_volume,
};
use stereotax_io::read_parquet;

#[test]
fn a_study_runs_from_files_to_report_and_stays_the_same_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_study(folder.path(), &MODELS);
    let out = folder.path().join("out");
    let first = run(&study, &out, &["--threads", "1"]);
    assert!(first.status.success(), "{}", told(&first));
    let reference = results(&out);

    let models = read_parquet(&out.join("results/models.parquet")).unwrap();
    let at = rows(&models, "model").iter().position(|m| *m == "shallow").unwrap();
    assert_eq!(rows(&models, "verdict")[at], "too_shallow");
    let scores = read_parquet(&out.join("results/scores.parquet")).unwrap();
    let representations = rows(&scores, "representation");
    for wanted in
        ["stable_mode", "adaptive", "layer_mean", "best_layer", "first_layer", "layer", "shuffled_03"]
    {
        assert!(representations.contains(&wanted), "{wanted} is missing");
    }
    // The planted stable latents of vision drive ROIs 0, 1 and 4; see-a must find them and not the rest.
    let score_of = |roi: &str| {
        (0..scores.n_rows())
            .find(|&i| {
                rows(&scores, "model")[i] == "see-a"
                    && representations[i] == "stable_mode"
                    && rows(&scores, "subject")[i] == "(mean)"
                    && rows(&scores, "roi")[i] == roi
            })
            .and_then(|i| scores.numbers("score").unwrap()[i])
            .unwrap()
    };
    assert!(score_of("roi0") > 0.4 && score_of("roi1") > 0.4 && score_of("roi4") > 0.4);
    assert!(score_of("roi2") < 0.15, "{}", score_of("roi2"));
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("see-a") && page.contains("id=\"controls\""));

    for threads in ["2", "8"] {
        let again = folder.path().join(threads);
        let output = run(&study, &again, &["--threads", threads]);
        assert!(output.status.success(), "{}", told(&output));
        assert_same(&reference, &results(&again), &format!("{threads} threads"));
    }

    // A rerun computes nothing; losing nodes costs only those nodes.
    let rerun = run(&study, &out, &[]);
    assert!(
        told(&rerun).contains("\n0 nodes computed") || told(&rerun).starts_with("0 nodes"),
        "{}",
        told(&rerun)
    );
    let cells: Vec<PathBuf> =
        fs::read_dir(out.join("nodes/cell")).unwrap().map(|e| e.unwrap().path()).collect();
    fs::remove_file(&cells[0]).unwrap();
    fs::write(&cells[1], b"cut short").unwrap();
    let repaired = run(&study, &out, &["--threads", "2"]);
    assert!(repaired.status.success(), "{}", told(&repaired));
    assert_same(&reference, &results(&out), "after damage");
}

#[test]
fn a_killed_run_goes_on_and_ends_in_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_study(folder.path(), &MODELS);
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    assert!(run(&study, &whole, &[]).status.success());
    for pause_ms in [150, 400, 900] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stereotax"))
            .args(["run", study.to_str().unwrap(), "--out", killed.to_str().unwrap()])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(pause_ms));
        // SIGKILL: no chance to tidy up.
        let _ = child.kill();
        let _ = child.wait();
    }
    let end = run(&study, &killed, &[]);
    assert!(end.status.success(), "{}", told(&end));
    assert_same(&results(&whole), &results(&killed), "after kill");
}

#[test]
fn adding_a_model_computes_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_study(folder.path(), &MODELS[..4]);
    let out = folder.path().join("out");
    assert!(run(&study, &out, &[]).status.success());
    let nodes = |kind: &str| fs::read_dir(out.join("nodes").join(kind)).unwrap().count();
    let before = nodes("depth");
    let stamp = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let old: Vec<(PathBuf, _)> = fs::read_dir(out.join("nodes/depth"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .map(|p| (p.clone(), stamp(&p)))
        .collect();
    let new = SmallModel { name: "new", modality: "vision", family: "new", n_layers: 6 };
    let study = write_study(folder.path(), &[&MODELS[..4], &[new]].concat());
    assert!(run(&study, &out, &[]).status.success());
    assert_eq!(nodes("depth"), before + 1);
    for (path, time) in old {
        assert_eq!(stamp(&path), time, "{} was computed again", path.display());
    }
}

#[test]
fn a_simulated_study_says_so_in_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_study(folder.path(), &MODELS[..1]);
    let text = fs::read_to_string(&study).unwrap();
    let banner = |name: &str, text: &str| {
        let file = folder.path().join(format!("{name}.toml"));
        fs::write(&file, text).unwrap();
        let out = folder.path().join(name);
        assert!(run(&file, &out, &[]).status.success());
        fs::read_to_string(out.join("report.html")).unwrap()
    };
    assert!(!banner("measured", &text).contains("SIMULATED DATA"));
    let page = banner("simulated", &text.replace("seed = 3", "seed = 3\nsimulated = \"a toy <cortex>\""));
    assert!(page.contains("SIMULATED DATA") && page.contains("a toy &lt;cortex&gt;"));
}

#[test]
fn plan_check_why_and_info_answer_without_computing() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_study(folder.path(), &MODELS[..2]);
    let (file, out) = (study.to_str().unwrap(), folder.path().join("out"));
    let out_text = out.to_str().unwrap();
    let checked = stereotax(&["check", file]);
    assert!(checked.status.success(), "{}", told(&checked));
    let planned = stereotax(&["plan", file, "--out", out_text, "--json"]);
    assert!(planned.status.success(), "{}", told(&planned));
    assert!(!out.exists(), "planning wrote something");
    let first = String::from_utf8(planned.stdout).unwrap().lines().next().unwrap().to_owned();
    let node: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(node["done"], false);
    assert!(run(&study, &out, &[]).status.success());
    let why = stereotax(&["why", &node["key"].as_str().unwrap()[..10], "--out", out_text]);
    assert!(why.status.success(), "{}", told(&why));
    assert!(String::from_utf8_lossy(&why.stdout).contains("kernel_version"));
    let info = stereotax(&["info", folder.path().join("model0.safetensors").to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&info.stdout).contains("block5"));
    assert!(stereotax(&["report", out_text]).status.success());
    assert!(String::from_utf8_lossy(&stereotax(&["cite"]).stdout).contains("Schmid"));
}

#[test]
fn blocks_that_cannot_move_are_named_before_anything_is_computed() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_study(folder.path(), &MODELS[..2]);
    let checked = |blocks: &str| {
        let text = fs::read_to_string(&study).unwrap();
        let text =
            text.replace("ids = \"stimuli.csv\"", &format!("ids = \"stimuli.csv\"\nblocks = \"{blocks}\""));
        let other = folder.path().join(format!("{blocks}.toml"));
        fs::write(&other, text).unwrap();
        let output = stereotax(&["check", other.to_str().unwrap()]);
        assert!(output.status.success(), "{}", told(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let table = fs::read_to_string(folder.path().join("stimuli.csv")).unwrap();
    let n = table.lines().count() - 1;
    let lines = table.lines().enumerate().map(|(at, line)| match at {
        0 => "stimulus_id,run\n".to_owned(),
        _ => format!("{line},run{}\n", (at - 1) * 4 / n),
    });
    fs::write(folder.path().join("stimuli.csv"), lines.collect::<String>()).unwrap();
    // Each run is held out alone, and is one block: nothing can change its place.
    let by_run = checked("run");
    assert!(by_run.contains("leave 1 way(s)") && by_run.contains("below 1.00"), "{by_run}");
    assert!(by_run.contains("blocks = \"stimulus\""), "{by_run}");
    assert!(!checked("stimulus").contains("way(s)"));
}

#[test]
fn one_modality_leaves_group_tests_undefined_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_study(folder.path(), &MODELS[..2]);
    let out = folder.path().join("out");
    let output = run(&study, &out, &[]);
    assert!(output.status.success(), "{}", told(&output));
    let tests = read_parquet(&out.join("results/tests.parquet")).unwrap();
    let at = rows(&tests, "test").iter().position(|t| *t == "permanova").unwrap();
    assert_eq!(tests.numbers("statistic").unwrap()[at], None);
    assert_ne!(rows(&tests, "status")[at], "ok");
}

/// Where the shared recordings are, on machines that have them.
fn recordings() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("STEREOTAX_DATA").map_or(beside, PathBuf::from);
    folder.join("natsound165_fmri").is_dir().then(|| fs::canonicalize(folder).unwrap())
}

#[test]
fn natural_sounds_give_silero_no_point() {
    let Some(data) = recordings() else { return };
    let data = data.join("natsound165_fmri");
    let folder = tempfile::tempdir().unwrap();
    let ids: String = (0..165).map(|i| format!("sound{i:03}\n")).collect();
    fs::write(folder.path().join("stimuli.csv"), format!("stimulus_id\n{ids}")).unwrap();
    let toml = format!(
        "[study]\nname = \"sounds\"\nseed = 7\n[[stimuli]]\nid = \"s\"\nids = \"stimuli.csv\"\n\
         [[brain]]\nbenchmark = \"b\"\nstimuli = \"s\"\nmodality = \"auditory\"\nby_order = true\n\
         rois = \"component_names\"\n\
         subjects = [ {{ id = \"group\", responses = \"{0}/fmri_components.npz\", key = \"response\" }} ]\n\
         [[model]]\nname = \"silero\"\nmodality = \"audio\"\nfamily = \"silero\"\n\
         activations = {{ file = \"{0}/activations_silero_vad.npz\", stimuli = \"s\", by_order = true, \
         layers = [\"conv1\", \"conv2\", \"conv3\", \"conv4\", \"lstm\"] }}\n",
        data.display()
    );
    let study = folder.path().join("study.toml");
    fs::write(&study, toml).unwrap();
    let out = folder.path().join("out");
    let output = run(&study, &out, &[]);
    assert!(output.status.success(), "{}", told(&output));
    let models = read_parquet(&out.join("results/models.parquet")).unwrap();
    assert_eq!(rows(&models, "verdict"), ["no_stable_mode"]);
    let lambda = |part: &str| models.numbers(part).unwrap()[0].unwrap();
    assert!((lambda("lambda_re") - 0.80).abs() < 0.005 && (lambda("lambda_im") - 0.31).abs() < 0.005);
    let scores = read_parquet(&out.join("results/scores.parquet")).unwrap();
    let r2 = |representation: &str, roi: &str| {
        let at = (0..scores.n_rows())
            .find(|&i| {
                rows(&scores, "representation")[i] == representation
                    && rows(&scores, "roi")[i] == roi
                    && rows(&scores, "subject")[i] == "(mean)"
            })
            .unwrap();
        scores.numbers("r").unwrap()[at].unwrap().powi(2)
    };
    assert!(r2("stable_mode", "speech") < 0.3 && r2("layer_mean", "speech") > 0.6);
    assert!(r2("last_layer", "speech") > 0.75);
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("No stable mode"), "the report does not say it");
}

#[test]
fn a_label_volume_is_checked_and_its_maps_are_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let mut labels = [0i16; 24];
    labels[..8].copy_from_slice(&[1, 1, 2, 0, 3, 3, 3, 7]);
    let study = write_volume(folder.path(), labels, true);
    let check = stereotax(&["check", study.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success(), "{}", told(&check));
    assert!(said.contains("[4, 3, 2] voxels, of which 7 are labelled and 6 lie in ROIs"), "{said}");
    assert!(said.contains("1 label(s) on 1 voxels are no ROI and stay without colour: `7`"), "{said}");
    assert!(said.contains("2 of 5 ROIs have no voxel and are on no map: `roi3`, `roi4`"), "{said}");

    let out = folder.path().join("out");
    let first = run(&study, &out, &[]);
    assert!(first.status.success(), "{}", told(&first));
    let runs = read_parquet(&out.join("results/volume_runs.parquet")).unwrap();
    assert_eq!(rows(&runs, "roi"), ["roi0", "roi1", "roi2", ""]);
    let column = |name: &str| -> Vec<f64> {
        match runs.column(name).unwrap() {
            stereotax_io::Values::Integer(v) => v.iter().map(|x| x.unwrap() as f64).collect(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((column("i"), column("j")), (vec![0.0, 2.0, 0.0, 3.0], vec![0.0, 0.0, 1.0, 1.0]));
    assert_eq!((column("k"), column("n")), (vec![0.0; 4], vec![2.0, 1.0, 3.0, 1.0]));
    let grids = read_parquet(&out.join("results/volume_grids.parquet")).unwrap();
    assert_eq!(grids.numbers("x_i").unwrap(), [Some(10.0)]);
    assert_eq!(grids.numbers("z_0").unwrap(), [Some(-10.0)]);
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("Maps in the volume") && page.contains("glass brain"));
    let drawn = stereotax(&["figures", out.to_str().unwrap(), "--formats", "svg"]);
    assert!(drawn.status.success(), "{}", told(&drawn));
    let files = String::from_utf8_lossy(&drawn.stdout).into_owned();
    assert!(files.lines().any(|f| f.ends_with("map-noise-ceiling-glass-brain.svg")), "{files}");
    assert!(files.lines().all(|f| fs::read_to_string(f).unwrap().starts_with("<svg ")));
    let none = stereotax(&["figures", folder.path().join("nowhere").to_str().unwrap()]);
    assert!(!none.status.success());

    // A column of labels goes before the order of the table.
    let table = fs::read_to_string(folder.path().join("rois.csv")).unwrap();
    let indexed: Vec<String> = table
        .lines()
        .enumerate()
        .map(|(i, line)| format!("{line},{}", if i == 0 { "index".into() } else { (8 - i).to_string() }))
        .collect();
    fs::write(folder.path().join("rois.csv"), indexed.join("\n") + "\n").unwrap();
    let check = stereotax(&["check", study.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("7 are labelled and 4 lie in ROIs"), "{said}");
    assert!(said.contains("3 of 5 ROIs have no voxel and are on no map: `roi1`, `roi2`, `roi3`"), "{said}");
}

#[test]
fn a_label_volume_without_a_place_or_without_rois_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_volume(folder.path(), [1; 24], false);
    let check = stereotax(&["check", study.to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(2));
    assert!(told(&check).contains("does not say where its voxels stand"), "{}", told(&check));
    let study = write_volume(folder.path(), [9; 24], true);
    let check = stereotax(&["check", study.to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(2));
    assert!(told(&check).contains("no label of the volume"), "{}", told(&check));
    assert!(told(&check).contains("a column `index`"), "{}", told(&check));
}

#[test]
fn a_surface_is_checked_and_its_maps_are_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_surface(folder.path(), "roi\nroi0\nroi1\nnowhere\nunknown\n");
    let check = stereotax(&["check", study.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success(), "{}", told(&check));
    assert!(said.contains("4 vertices, 4 triangles; 2 vertices lie in ROIs"), "{said}");
    assert!(
        said.contains("1 label(s) on 1 vertices are no ROI and stay without colour: `nowhere`"),
        "{said}"
    );
    assert!(said.contains("3 of 5 ROIs have no vertex and are on no map: `roi2`, `roi3`, `roi4`"), "{said}");
    assert!(told(&check).contains("2 warning(s)"), "{}", told(&check));
    let mirrored = fs::read_to_string(folder.path().join("v.csv")).unwrap().replace("\n-", "\n");
    fs::write(folder.path().join("v.csv"), mirrored).unwrap();
    let check = stereotax(&["check", study.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("the left hemisphere lies at x = 18 mm on average"), "{said}");

    let out = folder.path().join("out");
    let first = run(&study, &out, &[]);
    assert!(first.status.success(), "{}", told(&first));
    let vertices = read_parquet(&out.join("results/surface_vertices.parquet")).unwrap();
    assert_eq!(rows(&vertices, "roi"), ["roi0", "roi1", "", ""]);
    assert_eq!(vertices.numbers("y").unwrap()[1], Some(40.0));
    assert_eq!(read_parquet(&out.join("results/surface_faces.parquet")).unwrap().n_rows(), 4);
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("Maps on the cortical surface"));
    // ROIs whose names are whole numbers go by their names.
    let (table, labels) = (folder.path().join("rois.csv"), folder.path().join("l.csv"));
    let named = fs::read_to_string(&table).unwrap();
    fs::write(&table, "roi,network\n2,a\n30,a\n1,a\n103,b\n104,b\n").unwrap();
    fs::write(&labels, "roi\n30\n30\n2\n0\n").unwrap();
    let check = stereotax(&["check", study.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("3 vertices lie in ROIs") && said.contains("3 of 5 ROIs have no vertex"), "{said}");
    fs::write(&table, named).unwrap();
    // Another mesh computes nothing again.
    fs::write(folder.path().join("l.csv"), "roi\n1\n1\n2\n0\n").unwrap();
    let again = run(&study, &out, &[]);
    assert!(told(&again).contains("0 nodes computed"), "{}", told(&again));
}
