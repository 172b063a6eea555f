//! The command fed with wrong input: named, refused, nothing written.

mod common;

use std::fs;
use std::path::Path;

use common::{MODELS, N_SAMPLES, N_UNITS, run, told, write_arrays, write_study, write_surface};

/// Change the study or its files, and expect exit code 2, these words, and nothing written.
fn refused(change: impl Fn(&Path, &mut String), words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let study = write_study(folder.path(), &MODELS[..2]);
    let mut text = fs::read_to_string(&study).unwrap();
    change(folder.path(), &mut text);
    fs::write(&study, text).unwrap();
    let out = folder.path().join("out");
    let output = run(&study, &out, &[]);
    let told = told(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    for word in words {
        assert!(told.contains(word), "`{word}` is not in: {told}");
    }
    assert!(told.contains("hint:"), "no way out in: {told}");
    assert!(!told.contains("panicked"), "{told}");
    assert!(!out.exists(), "something was written");
}

#[test]
fn wrong_input_is_refused_before_anything_is_written() {
    refused(|_, text| *text = text.replace("permutations", "permutatons"), &["permutatons", "permutations"]);
    refused(|_, text| *text = text.replace("block2", "blok2"), &["blok2"]);
    refused(|_, text| *text = text.replace("\"rois.csv\"", "\"regions.csv\""), &["regions.csv"]);
    refused(|_, text| *text = text.replacen("by_order = true\n", "", 1), &["by_order"]);
    refused(
        |folder, _| {
            let ids: String = (0..N_SAMPLES).map(|i| format!("stim{}\n", i / 2)).collect();
            fs::write(folder.join("stimuli.csv"), format!("stimulus_id\n{ids}")).unwrap();
        },
        &["stim0"],
    );
    refused(
        |folder, _| {
            let ids: String = (0..60).map(|i| format!("stim{i:03}\n")).collect();
            fs::write(folder.join("stimuli.csv"), format!("stimulus_id\n{ids}")).unwrap();
        },
        &["120 rows"],
    );
    let layers = |fill: &dyn Fn(usize) -> f32| -> Vec<(&'static str, usize, Vec<f32>)> {
        ["block0", "block1", "block2", "block3", "block4", "block5"]
            .into_iter()
            .map(|name| (name, N_UNITS, (0..N_SAMPLES * N_UNITS).map(fill).collect()))
            .collect()
    };
    refused(
        |folder, _| {
            let mut arrays = layers(&|i| ((i * 7919) % 101) as f32);
            arrays[3].2[5 * N_UNITS + 2] = f32::NAN;
            write_arrays(&folder.join("model0.safetensors"), &arrays);
        },
        &["block3", "see-a"],
    );
    refused(
        |folder, _| {
            let mut arrays = layers(&|i| ((i * 7919) % 101) as f32);
            arrays[1].2.iter_mut().enumerate().for_each(|(i, x)| *x = (i % N_UNITS) as f32);
            write_arrays(&folder.join("model0.safetensors"), &arrays);
        },
        &["block1", "does not vary"],
    );
    refused(
        |folder, _| {
            let whole = fs::read(folder.join("model1.safetensors")).unwrap();
            fs::write(folder.join("model1.safetensors"), &whole[..whole.len() / 2]).unwrap();
        },
        &["model1.safetensors"],
    );
}

#[test]
fn too_little_memory_and_an_unwritable_folder_fail_with_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_study(folder.path(), &MODELS[..2]);
    let out = folder.path().join("out");
    let small = run(&study, &out, &["--max-memory", "1M"]);
    assert_eq!(small.status.code(), Some(1), "{}", told(&small));
    assert!(told(&small).contains("--max-memory"), "{}", told(&small));
    let file = folder.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let blocked = run(&study, &file.join("out"), &[]);
    assert_eq!(blocked.status.code(), Some(1), "{}", told(&blocked));
}

#[test]
fn a_surface_without_any_roi_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let study = write_surface(folder.path(), "roi\nV1\nV2\nV1\nunknown\n");
    let out = folder.path().join("out");
    let output = run(&study, &out, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("labels `V1`, `V2`; ROIs `roi0`"), "{}", told(&output));
    assert!(!out.exists());
}
