//! `extract`, `info` and `convert`: a network to a store, what is in files, and from one format to another.

mod common;
#[allow(dead_code)]
#[path = "../../stereotax-models/tests/common/mod.rs"]
mod onnx;

use std::fs;
use std::path::Path;

use common::{stereotax, told};
use stereotax_io::{ArrayFile, StoreWriter, StoredLayer, own_ids};

fn json_of(arguments: &[&str]) -> serde_json::Value {
    let output = stereotax(arguments);
    assert!(output.status.success(), "{}", told(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn network(folder: &Path) -> (String, String, String) {
    let path = folder.join("net.onnx");
    fs::write(&path, onnx::tokens()).unwrap();
    fs::write(folder.join("net.toml"), "[input]\nkind = \"numbers\"\n").unwrap();
    let table = folder.join("texts.csv");
    fs::write(&table, "stimulus_id,text\nfirst,0 1\nsecond,3\n").unwrap();
    (text(&path).into(), text(&table).into(), text(&folder.join("net.safetensors")).into())
}

#[test]
fn a_network_is_described_extracted_and_its_store_described() {
    let folder = tempfile::tempdir().unwrap();
    let (net, table, out) = network(folder.path());
    let about = json_of(&["info", &net, "--json"]);
    assert_eq!(about["inputs"][0]["whole_numbers"], true);
    assert_eq!(about["tensors"][1]["name"], "mixed");
    let done = json_of(&[
        "extract",
        &net,
        "--stimuli",
        &table,
        "--layers",
        "embedding,mixed",
        "--out",
        &out,
        "--json",
    ]);
    assert_eq!((&done["n_stimuli"], &done["layers"][1]["row_shape"]), (&2.into(), &serde_json::json!([2])));
    let about = json_of(&["info", &out, "--json"]);
    assert_eq!(about["what"], "a safetensors file with 2 arrays, with the ids of 2 stimuli");
    assert_eq!(about["arrays"][0]["gaps"], 0);
    assert_eq!(
        about["study"],
        "[[model.activations]] file = \"net.safetensors\", layers = [\"embedding\",\"mixed\"]"
    );
    assert_eq!(own_ids(Path::new(&out)).unwrap().unwrap(), ["first", "second"]);
    let zarr = text(&folder.path().join("net.zarr")).to_owned();
    json_of(&["extract", &net, "--stimuli", &table, "--layers", "embedding,mixed", "--out", &zarr, "--json"]);
    let copied = text(&folder.path().join("copied.zarr")).to_owned();
    assert!(stereotax(&["convert", &out, &copied]).status.success());
    for store in [&zarr, &copied] {
        let about = json_of(&["info", store, "--json"]);
        assert_eq!(about["what"], "a Zarr folder with 2 arrays, with the ids of 2 stimuli");
        assert_eq!(about["arrays"][0]["gaps"], 0);
        for key in ["embedding", "mixed"] {
            let values =
                |path: &str| ArrayFile::open(Path::new(path), Some(key)).unwrap().read_all().unwrap();
            assert_eq!(values(store), values(&out), "{store}");
        }
    }
    // Nothing is left beside, and no folder of something else is replaced.
    assert!(
        fs::read_dir(folder.path()).unwrap().all(|e| !e
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with('.'))
    );
    let other = folder.path().join("mine.zarr");
    fs::create_dir(&other).unwrap();
    for arguments in [
        ["convert", &out, text(&other), "--force"].as_slice(),
        ["extract", &net, "--stimuli", &table, "--layers", "mixed", "--out", text(&other)].as_slice(),
    ] {
        let refused = stereotax(arguments);
        assert_eq!(refused.status.code(), Some(2));
        assert!(told(&refused).contains("no Zarr store"), "{}", told(&refused));
    }
    let wrong = stereotax(&["extract", &net, "--stimuli", &table, "--layers", "mixd", "--out", &out]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(told(&wrong).contains("did you mean `mixed`"), "{}", told(&wrong));
    let pooling = stereotax(&["extract", &net, "--stimuli", &table, "--pooling", "median"]);
    assert_eq!(pooling.status.code(), Some(2));
}

#[test]
fn gaps_are_counted_and_arrays_converted() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let layers = [
        StoredLayer { name: "a".into(), row_shape: vec![2] },
        StoredLayer { name: "b".into(), row_shape: vec![1] },
    ];
    let ids = ["x", "y", "z"].map(str::to_owned);
    let mut writer = StoreWriter::open(&path("s.safetensors"), "", &ids, &layers, &[]).unwrap();
    writer.append(3, &[vec![1.0, f32::NAN, 3.0, 4.0, f32::NAN, f32::INFINITY], vec![7.0, 8.0, 9.0]]).unwrap();
    writer.finish().unwrap();
    let (store, one) = (path("s.safetensors"), path("a.npy"));
    let about = json_of(&["info", text(&store), "--json"]);
    assert_eq!((&about["arrays"][0]["gaps"], &about["arrays"][0]["rows_with_gaps"]), (&3.into(), &2.into()));
    // Two arrays do not fit into one .npy; one does, and comes back with its name and without the others.
    let refused = stereotax(&["convert", text(&store), text(&one)]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(told(&refused).contains("--arrays"), "{}", told(&refused));
    let done = stereotax(&["convert", text(&store), text(&one), "--arrays", "b"]);
    assert!(done.status.success(), "{}", told(&done));
    let read = ArrayFile::open(&one, None).unwrap();
    assert_eq!((read.shape(), read.read_all().unwrap()), ([3, 1].as_slice(), vec![7.0, 8.0, 9.0]));
    let again = path("again.safetensors");
    assert!(stereotax(&["convert", text(&store), text(&again)]).status.success());
    assert_eq!(fs::read(&again).unwrap(), fs::read(&store).unwrap());
    // Nothing is replaced unasked.
    assert_eq!(stereotax(&["convert", text(&store), text(&again)]).status.code(), Some(2));
    assert!(stereotax(&["convert", text(&store), text(&again), "--arrays", "a", "--force"]).status.success());
    assert_eq!(stereotax_io::keys(&again).unwrap(), ["a"]);
    assert_eq!(stereotax(&["convert", text(&store), text(&path("x.mat"))]).status.code(), Some(2));
}

#[test]
fn volumes_and_tables_say_how_a_study_uses_them() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stereotax-io/tests/fixtures");
    let about = |name: &str| json_of(&["info", text(&fixtures.join(name)), "--json"]);
    let series = about("places.dtseries.nii");
    assert_eq!(series["what"], "CIFTI-2 series: 3 × 18 vertices and voxels of 2 structures");
    assert_eq!(series["units"], "0.72 s between volumes");
    assert!(series["study"].as_str().unwrap().contains("responses = \"places.dtseries.nii\""));
    assert!(
        about("octahedron.label.gii")["study"]
            .as_str()
            .unwrap()
            .contains("labels = \"octahedron.label.gii\"")
    );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("s.csv"), "stimulus_id,run\na,1\n").unwrap();
    assert_eq!(
        json_of(&["info", text(&folder.path().join("s.csv")), "--json"])["study"],
        "[[stimuli]] ids = \"s.csv\""
    );
}
