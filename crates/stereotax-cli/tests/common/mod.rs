//! A small study, and how tests run the command on it.

// Every test program uses a part of it.
#![allow(dead_code)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use safetensors::tensor::{Dtype, TensorView, serialize};
use stereotax::stats::rng::Stream;
use stereotax_io::Table;

pub const N_SAMPLES: usize = 120;
pub const N_UNITS: usize = 12;
pub const N_ROIS: usize = 5;

#[derive(Clone, Copy)]
pub struct SmallModel {
    pub name: &'static str,
    pub modality: &'static str,
    pub family: &'static str,
    pub n_layers: usize,
}

pub const MODELS: [SmallModel; 5] = [
    SmallModel { name: "see-a", modality: "vision", family: "see", n_layers: 6 },
    SmallModel { name: "see-b", modality: "vision", family: "look", n_layers: 8 },
    SmallModel { name: "hear-a", modality: "audio", family: "hear", n_layers: 6 },
    SmallModel { name: "hear-b", modality: "audio", family: "listen", n_layers: 7 },
    SmallModel { name: "shallow", modality: "audio", family: "stub", n_layers: 3 },
];

/// Write a study of `models` into `folder` and return the path of its file.
pub fn write_study(folder: &Path, models: &[SmallModel]) -> PathBuf {
    let mut latent = Stream::new(5, "latent", 0);
    let z: Vec<Vec<f64>> = (0..4).map(|_| (0..N_SAMPLES).map(|_| latent.normal()).collect()).collect();
    let mut toml = String::from(
        "[study]\nname = \"small\"\nseed = 3\n\n[[stimuli]]\nid = \"s\"\nids = \"stimuli.csv\"\n\n\
         [[brain]]\nbenchmark = \"b\"\nstimuli = \"s\"\nmodality = \"mixed\"\nby_order = true\n\
         rois = \"rois.csv\"\nsubjects = [\n  { id = \"one\", responses = \"one.safetensors\" },\n  \
         { id = \"two\", responses = \"two.safetensors\" },\n]\n",
    );
    let ids: String = (0..N_SAMPLES).map(|i| format!("stim{i:03}\n")).collect();
    fs::write(folder.join("stimuli.csv"), format!("stimulus_id\n{ids}")).unwrap();
    let rois: String = (0..N_ROIS).map(|j| format!("roi{j},net{}\n", j % 2)).collect();
    fs::write(folder.join("rois.csv"), format!("roi,network\n{rois}")).unwrap();
    for (s, subject) in ["one", "two"].iter().enumerate() {
        let mut noise = Stream::new(5, "responses", s as u64);
        let values: Vec<f32> = (0..N_SAMPLES * N_ROIS)
            .map(|at| (z[at % N_ROIS % 4][at / N_ROIS] + 0.7 * noise.normal()) as f32)
            .collect();
        write_arrays(&folder.join(format!("{subject}.safetensors")), &[("response", N_ROIS, values)]);
    }
    for (m, model) in models.iter().enumerate() {
        let mut noise = Stream::new(6, model.name, 0);
        let mixing: Vec<f64> = (0..4 * N_UNITS).map(|_| noise.normal()).collect();
        let offset = if model.modality == "vision" { 0 } else { 2 };
        let names: Vec<String> = (0..model.n_layers).map(|l| format!("block{l}")).collect();
        let layers: Vec<(&str, usize, Vec<f32>)> = names
            .iter()
            .enumerate()
            .map(|(l, name)| {
                let values = (0..N_SAMPLES * N_UNITS)
                    .map(|at| {
                        let (i, u) = (at / N_UNITS, at % N_UNITS);
                        let stable: f64 = (0..2).map(|k| z[offset + k][i] * mixing[k * N_UNITS + u]).sum();
                        let fading = 0.5f64.powi(l as i32) * z[3 - offset][i] * mixing[2 * N_UNITS + u];
                        (stable + fading + 0.2 * noise.normal()) as f32
                    })
                    .collect();
                (name.as_str(), N_UNITS, values)
            })
            .collect();
        write_arrays(&folder.join(format!("model{m}.safetensors")), &layers);
        let _ = write!(
            toml,
            "\n[[model]]\nname = \"{}\"\nmodality = \"{}\"\nfamily = \"{}\"\n\
             activations = {{ file = \"model{m}.safetensors\", layers = {names:?}, stimuli = \"s\", by_order = true }}\n",
            model.name, model.modality, model.family
        );
    }
    toml.push_str(
        "\n[analysis.nfas]\npermutations = 199\nbootstraps = 100\nshifts = 99\n\
         \n[analysis.nfas.controls]\nlayer_order = 3\nmultiverse = true\n",
    );
    let file = folder.join("study.toml");
    fs::write(&file, toml).unwrap();
    file
}

pub fn write_arrays(path: &Path, arrays: &[(&str, usize, Vec<f32>)]) {
    let bytes: Vec<Vec<u8>> =
        arrays.iter().map(|(_, _, v)| v.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let views = arrays.iter().zip(&bytes).map(|((name, width, values), bytes)| {
        (*name, TensorView::new(Dtype::F32, vec![values.len() / width, *width], bytes).unwrap())
    });
    fs::write(path, serialize(views.collect::<Vec<_>>(), None).unwrap()).unwrap();
}

pub fn stereotax(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stereotax")).args(arguments).output().unwrap()
}

pub fn run(study: &Path, out: &Path, more: &[&str]) -> Output {
    let mut arguments = vec!["run", study.to_str().unwrap(), "--out", out.to_str().unwrap()];
    arguments.extend(more);
    stereotax(&arguments)
}

pub fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every file of `results/` by name.
pub fn results(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(out.join("results"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

pub fn assert_same(a: &[(String, Vec<u8>)], b: &[(String, Vec<u8>)], what: &str) {
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
    assert_eq!(names(a), names(b), "{what}");
    for ((name, x), (_, y)) in a.iter().zip(b) {
        assert!(x == y, "{what}: {name} differs");
    }
}

pub fn rows<'a>(table: &'a Table, column: &str) -> Vec<&'a str> {
    table.texts(column).unwrap().iter().map(|t| t.as_deref().unwrap_or_default()).collect()
}

pub fn mean_score(scores: &Table, model: &str, representation: &str, roi: &str) -> f64 {
    let at = (0..scores.n_rows()).find(|&i| {
        rows(scores, "model")[i] == model
            && rows(scores, "representation")[i] == representation
            && rows(scores, "subject")[i] == "(mean)"
            && rows(scores, "roi")[i] == roi
    });
    scores.numbers("score").unwrap()[at.unwrap()].unwrap()
}

/// The number in `column` of the only row with these texts.
pub fn number(table: &Table, column: &str, at: &[(&str, &str)]) -> Option<f64> {
    let keys: Vec<(Vec<&str>, &str)> = at.iter().map(|(key, value)| (rows(table, key), *value)).collect();
    let found: Vec<usize> =
        (0..table.n_rows()).filter(|&i| keys.iter().all(|(texts, value)| texts[i] == *value)).collect();
    assert_eq!(found.len(), 1, "{at:?}");
    table.numbers(column).unwrap()[found[0]]
}

/// A tetrahedron whose corners are labelled roi0, roi1, nowhere and not at all.
/// A study whose ROIs are labels of a small volume: 4 × 3 × 2 voxels of 10 mm, i fastest.
pub fn write_volume(folder: &Path, labels: [i16; 24], with_affine: bool) -> PathBuf {
    let study = write_study(folder, &MODELS[..2]);
    let mut head = vec![0u8; 352];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &348i32.to_le_bytes());
    for (axis, n) in [3i16, 4, 3, 2, 1, 1, 1, 1].into_iter().enumerate() {
        put(40 + 2 * axis, &n.to_le_bytes());
    }
    put(70, &4i16.to_le_bytes());
    put(72, &16i16.to_le_bytes());
    put(108, &352f32.to_le_bytes());
    put(344, b"n+1\0");
    if with_affine {
        put(254, &1i16.to_le_bytes());
        for row in 0..3 {
            put(280 + 20 * row, &10f32.to_le_bytes());
            put(280 + 16 * row + 12, &(-10f32).to_le_bytes());
        }
    }
    head.extend(labels.iter().flat_map(|l| l.to_le_bytes()));
    fs::write(folder.join("atlas.nii"), head).unwrap();
    let text = fs::read_to_string(&study).unwrap();
    fs::write(&study, text.replace("rois = \"rois.csv\"", "rois = \"rois.csv\"\nvolume = \"atlas.nii\""))
        .unwrap();
    study
}

pub fn write_surface(folder: &Path, labels: &str) -> PathBuf {
    let study = write_study(folder, &MODELS[..2]);
    fs::write(folder.join("v.csv"), "x,y,z\n-30,0,0\n-10,40,0\n-10,-40,0\n-20,0,40\n").unwrap();
    fs::write(folder.join("f.csv"), "a,b,c\n0,1,2\n0,1,3\n0,2,3\n1,2,3\n").unwrap();
    fs::write(folder.join("l.csv"), labels).unwrap();
    let text = fs::read_to_string(&study).unwrap();
    let surface = "rois = \"rois.csv\"\n\
                   surface = [{ hemisphere = \"left\", vertices = \"v.csv\", faces = \"f.csv\", labels = \"l.csv\" }]";
    fs::write(&study, text.replace("rois = \"rois.csv\"", surface)).unwrap();
    study
}
