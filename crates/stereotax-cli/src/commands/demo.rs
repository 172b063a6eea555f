//! Run a complete study on a simulated cortex, and show what was planted beside what was found.
//!
//! Two studies: the main one, in which every model meets the same stimuli; and a second one in
//! `confounded/`, in which each modality has a benchmark of its own and all models are alike in truth, so
//! that a separation of modalities can only come from the benchmarks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use faer::Mat;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Map, Value, json};
use stereotax_io::{Table, Values, write_atomic};
use stereotax_study::{Study, StudyError, results};
use stereotax_testkit::compare::auc;
use stereotax_testkit::cortex::{Benchmark, Cortex, CortexParams, Design, Hemisphere, simulate};
use stereotax_testkit::globe::{Globe, globes};

use super::run::{options, study_to_report};
use crate::Failure;
use crate::args::{DemoArgs, DemoView};

pub(crate) fn run(args: &DemoArgs) -> Result<(), Failure> {
    if args.view == DemoView::Physiology {
        return super::demo_physiology::run(args);
    }
    let options = options(&args.resources, false);
    let confounded = args.out.join("confounded");
    let main = simulate(&CortexParams::crossed(args.seed));
    let what = "a cortex with planted truth; every model meets the same stimuli";
    let study = write_study(&args.out, "simulated-cortex", what, args.seed, &main, SMALL_MODELS)?;
    study_to_report(&study, &args.out, &options)?;
    let truth = planted_beside_found(&args.out, &main)?;
    results::annotate(&args.out, Map::from_iter([("truth".to_owned(), Value::Array(truth))]))?;
    super::report::write(&args.out)?;

    let second = simulate(&CortexParams::confounded(args.seed));
    let what = "all models have the same true profile; only their benchmarks differ";
    let study = write_study(&confounded, "simulated-confound", what, args.seed, &second, FEW_CONTROLS)?;
    study_to_report(&study, &confounded, &options)?;
    eprintln!("\nThis is a simulation. Open {} in a browser.", args.out.join("report.html").display());
    Ok(())
}

/// Twelve latents stand behind each simulated network: 16 components hold them, and keep the demo short.
const SMALL_MODELS: &str = "\n[analysis.nfas]\nmax_dim = 16\n";

/// 10,242 vertices per hemisphere, as many as fsaverage5 has.
const SUBDIVISIONS: usize = 5;

/// The second study is about groups: controls of single models are left to the first.
const FEW_CONTROLS: &str =
    "\n[analysis.nfas.controls]\nlayer_order = 0\nbest_layer = false\nadaptive = false\nmultiverse = false\n";

/// Write activations, responses, tables and study.toml, where they are not there already. `what` is
/// simulated.
fn write_study(
    out: &Path,
    name: &str,
    what: &str,
    seed: u64,
    cortex: &Cortex,
    settings: &str,
) -> Result<Study, Failure> {
    let data = out.join("data");
    std::fs::create_dir_all(&data).map_err(|e| StudyError::write(&data, &e))?;
    let mut toml = format!(
        "# Written by `stereotax demo`: a simulation with planted truth, not a recording.\n\
         [study]\nname = \"{name}\"\nseed = {seed}\npreset = \"robust\"\nsimulated = \"{what}\"\n"
    );
    put(&data.join("rois.csv"), rois_csv(cortex).as_bytes())?;
    let surfaces = globes(&cortex.rois, SUBDIVISIONS);
    for globe in &surfaces {
        put(&data.join(format!("surface-{}.safetensors", side(globe.hemisphere))), &surface(globe)?)?;
    }
    for benchmark in &cortex.benchmarks {
        let id = &benchmark.name;
        put(&data.join(format!("{id}.csv")), stimuli_csv(benchmark).as_bytes())?;
        let (clock, blocks) = match benchmark.design {
            Design::TimeSeries { tr, .. } => (format!("{{ tr_s = {tr:.1} }}"), "segment:20s"),
            Design::Clips { .. } => ("\"stimulus\"".to_owned(), "stimulus"),
        };
        let _ = write!(
            toml,
            "\n[[stimuli]]\nid = \"{id}\"\nids = \"data/{id}.csv\"\nblocks = \"{blocks}\"\n\
             \n[[brain]]\nbenchmark = \"{id}\"\nstimuli = \"{id}\"\nmodality = \"mixed\"\nclock = {clock}\n\
             by_order = true\nrois = \"data/rois.csv\"\nsubjects = [\n"
        );
        for subject in &benchmark.subjects {
            let file = format!("data/{id}-{}.safetensors", subject.id);
            put(&out.join(&file), &responses(&subject.repeats)?)?;
            let axes = if subject.repeats.len() > 1 {
                ", axes = [\"repeat\", \"stimulus\", \"target\"]"
            } else {
                ""
            };
            let _ = writeln!(
                toml,
                "    {{ id = \"{}\", responses = \"{file}\", key = \"response\"{axes} }},",
                subject.id
            );
        }
        toml.push_str("]\nsurface = [\n");
        for globe in &surfaces {
            let side = side(globe.hemisphere);
            let file = format!("data/surface-{side}.safetensors");
            let _ = writeln!(
                toml,
                "    {{ hemisphere = \"{side}\", vertices = \"{file}\", labels = \"{file}\" }},"
            );
        }
        toml.push_str("]\n");
    }
    for model in &cortex.models {
        let file = format!("data/{}.safetensors", model.name);
        let names: Vec<String> = (0..model.layers.len()).map(|l| format!("block{l:02}")).collect();
        put(&out.join(&file), &layers(&names, &model.layers)?)?;
        let twin = model.twin_of.as_ref().map_or(String::new(), |of| format!("twin_of = \"{of}\"\n"));
        let _ = write!(
            toml,
            "\n[[model]]\nname = \"{}\"\nmodality = \"{}\"\nfamily = \"{}\"\ntrained = {}\n{twin}\
             activations = {{ file = \"{file}\", layers = {names:?}, stimuli = \"{}\", by_order = true }}\n",
            model.name, model.modality, model.family, model.trained, cortex.benchmarks[model.benchmark].name,
        );
    }
    toml.push_str(settings);
    put(&out.join("study.toml"), toml.as_bytes())?;
    Ok(Study::load(&out.join("study.toml"))?)
}

/// Write a file unless it holds these bytes already: unchanged data keep their digests.
fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if std::fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    Ok(write_atomic(path, bytes)?)
}

fn side(hemisphere: Hemisphere) -> &'static str {
    match hemisphere {
        Hemisphere::Left => "left",
        Hemisphere::Right => "right",
    }
}

/// The arrays `vertices`, `faces` and `labels` of a hemisphere; labels are ROI numbers counted from 1.
fn surface(globe: &Globe) -> Result<Vec<u8>, Failure> {
    let (n, m) = (globe.vertices.len(), globe.faces.len());
    let vertices = globe.vertices.iter().flatten().flat_map(|&x| (x as f32).to_le_bytes()).collect();
    let faces = globe.faces.iter().flatten().flat_map(|&k| (k as i32).to_le_bytes()).collect();
    let label = |roi: &Option<usize>| roi.map_or(0, |j| j as i32 + 1).to_le_bytes();
    let labels = globe.roi.iter().flat_map(label).collect();
    pack(&[
        ("vertices".to_owned(), Dtype::F32, vec![n, 3], vertices),
        ("faces".to_owned(), Dtype::I32, vec![m, 3], faces),
        ("labels".to_owned(), Dtype::I32, vec![n], labels),
    ])
}

fn rois_csv(cortex: &Cortex) -> String {
    let mut csv = "roi,network,hemisphere,x,y,z\n".to_owned();
    for roi in &cortex.rois {
        let side = side(roi.hemisphere);
        let _ = writeln!(csv, "{},{},{side},{:.2},{:.2},{:.2}", roi.name, roi.network, roi.x, roi.y, roi.z);
    }
    csv
}

fn stimuli_csv(benchmark: &Benchmark) -> String {
    let stimuli = &benchmark.stimuli;
    let timed = stimuli.runs.len() == stimuli.ids.len();
    let mut csv = if timed { "stimulus_id,run,onset_s\n" } else { "stimulus_id\n" }.to_owned();
    for (i, id) in stimuli.ids.iter().enumerate() {
        let _ = match timed {
            true => writeln!(csv, "{id},{},{:.1}", stimuli.runs[i], stimuli.onsets[i]),
            false => writeln!(csv, "{id}"),
        };
    }
    csv
}

fn bytes_of(matrix: &Mat<f64>) -> Vec<u8> {
    let at = |i: usize| (0..matrix.ncols()).flat_map(move |j| (matrix[(i, j)] as f32).to_le_bytes());
    (0..matrix.nrows()).flat_map(at).collect()
}

fn pack(arrays: &[(String, Dtype, Vec<usize>, Vec<u8>)]) -> Result<Vec<u8>, Failure> {
    let internal = |e: safetensors::SafeTensorError| {
        Failure::from(StudyError::Internal { what: format!("the demo's data cannot be written: {e}") })
    };
    let views = arrays
        .iter()
        .map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(internal)?;
    serialize(views, None).map_err(internal)
}

fn layers(names: &[String], layers: &[Mat<f64>]) -> Result<Vec<u8>, Failure> {
    let arrays: Vec<_> = names
        .iter()
        .zip(layers)
        .map(|(name, layer)| (name.clone(), Dtype::F32, vec![layer.nrows(), layer.ncols()], bytes_of(layer)))
        .collect();
    pack(&arrays)
}

/// Samples × ROIs, or repeats × samples × ROIs.
fn responses(repeats: &[Mat<f64>]) -> Result<Vec<u8>, Failure> {
    let (n, n_rois) = (repeats[0].nrows(), repeats[0].ncols());
    let shape = if repeats.len() > 1 { vec![repeats.len(), n, n_rois] } else { vec![n, n_rois] };
    pack(&[("response".to_owned(), Dtype::F32, shape, repeats.iter().flat_map(bytes_of).collect())])
}

/// What was planted, beside what the results say: verdicts, eigenvalues, and the map of each modality.
fn planted_beside_found(out: &Path, cortex: &Cortex) -> Result<Vec<Value>, Failure> {
    let (tables, _) = results::read(out)?;
    let mut rows = Vec::new();
    let models = &tables["models"];
    let names = models.texts("model").unwrap_or_default();
    for (index, model) in cortex.models.iter().enumerate() {
        let Some(at) = names.iter().position(|n| n.as_deref() == Some(&model.name)) else { continue };
        let planted = if cortex.truth.too_shallow.contains(&model.name) {
            "too shallow".to_owned()
        } else if cortex.truth.no_stable_mode.contains(&model.name) {
            "no stable mode".to_owned()
        } else {
            match cortex.truth.stable_eigenvalue[index] {
                Some(value) => format!("stable, λ = {value:.3}"),
                None => continue,
            }
        };
        let verdict = models.texts("verdict").and_then(|v| v[at].clone()).unwrap_or_default();
        let lambda = |part: &str| models.numbers(part).and_then(|v| v[at]);
        let found = match (lambda("lambda_re"), lambda("lambda_im")) {
            (Some(re), Some(im)) if im != 0.0 => {
                format!("{}, λ = {re:.3} ± {:.3}i", words(&verdict), im.abs())
            }
            (Some(re), _) => format!("{}, λ = {re:.3}", words(&verdict)),
            _ => words(&verdict),
        };
        rows.push(
            json!({"model": model.name, "quantity": "stable mode", "planted": planted, "recovered": found}),
        );
    }
    let maps = mean_maps(&tables["scores"]);
    let modalities = ["vision", "audio", "language"];
    for (m, modality) in modalities.iter().enumerate() {
        let Some(map) = maps.get(*modality) else { continue };
        let scores: Vec<f64> =
            cortex.rois.iter().map(|roi| map.get(&roi.name).copied().unwrap_or(0.0)).collect();
        let driven: Vec<bool> = cortex.truth.driven.iter().map(|roi| roi[m]).collect();
        let planted = format!("{} of {} ROIs follow it", driven.iter().filter(|&&d| d).count(), driven.len());
        let found = auc(&scores, &driven)
            .map_or("undefined".to_owned(), |auc| format!("map separates them with AUC {auc:.2}"));
        rows.push(json!({"model": modality, "quantity": "ROIs of the modality", "planted": planted, "recovered": found}));
    }
    Ok(rows)
}

fn words(verdict: &str) -> String {
    verdict.replace('_', " ")
}

/// Per modality and ROI, the mean score of the stable mode over trained models.
fn mean_maps(scores: &Table) -> BTreeMap<String, BTreeMap<String, f64>> {
    let text = |name: &str| scores.texts(name).unwrap_or_default();
    let (modality, representation, subject, roi) =
        (text("modality"), text("representation"), text("subject"), text("roi"));
    let Some(Values::Number(score)) = scores.column("score") else { return BTreeMap::new() };
    let mut sums: BTreeMap<String, BTreeMap<String, (f64, f64)>> = BTreeMap::new();
    for row in 0..scores.n_rows() {
        let is = |column: &[Option<String>], word: &str| column[row].as_deref() == Some(word);
        if !is(representation, "stable_mode") || !is(subject, "(mean)") {
            continue;
        }
        if let (Some(modality), Some(roi), Some(value)) = (&modality[row], &roi[row], score[row]) {
            let sum = sums.entry(modality.clone()).or_default().entry(roi.clone()).or_default();
            *sum = (sum.0 + value, sum.1 + 1.0);
        }
    }
    sums.into_iter()
        .map(|(m, rois)| (m, rois.into_iter().map(|(roi, (sum, n))| (roi, sum / n)).collect()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The report's banner must not hang on the command that ran the study.
    #[test]
    fn the_study_of_the_demo_says_itself_that_it_is_a_simulation() {
        let folder = tempfile::tempdir().unwrap();
        let mut cortex = simulate(&CortexParams {
            design: Design::Clips { n_clips: 20, n_repeats: 1 },
            ..CortexParams::crossed(1)
        });
        cortex.models.truncate(1);
        let study = write_study(folder.path(), "toy", "a cortex", 1, &cortex, SMALL_MODELS)
            .unwrap_or_else(|_| panic!());
        assert_eq!(study.file.simulated.as_deref(), Some("a cortex"));
    }
}
