//! Keep the rules between the rooms: ARCHITECTURE.md names what is there, families stay apart, and the
//! core knows no files, clock, printing or Python.

use std::fs;
use std::path::{Path, PathBuf};

const FAMILIES: [&str; 6] = ["dynamics", "encoding", "decoding", "similarity", "tensor", "manifold"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn the_map_names_every_room_and_only_rooms_that_exist() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut rooms: Vec<String> = Vec::new();
    for (folder, prefix) in [("crates", "crates/"), ("crates/stereotax/src", "crates/stereotax/src/")] {
        for entry in fs::read_dir(root().join(folder)).unwrap().flatten() {
            if entry.path().is_dir() {
                rooms.push(format!("{prefix}{}/", entry.file_name().to_string_lossy()));
            }
        }
    }
    for room in &rooms {
        assert!(map.contains(&format!("`{room}`")), "ARCHITECTURE.md does not name `{room}`");
    }
    for named in map.split('`').filter(|word| word.starts_with("crates/") && word.ends_with('/')) {
        assert!(root().join(named).is_dir(), "ARCHITECTURE.md names `{named}`, which is not there");
    }
}

#[test]
fn method_families_do_not_import_one_another() {
    let source = root().join("crates/stereotax/src");
    for family in FAMILIES {
        for file in rust_files(&source.join(family)) {
            let text = fs::read_to_string(&file).unwrap();
            for other in FAMILIES.iter().chain(&["pipelines"]).filter(|&&other| other != family) {
                assert!(!text.contains(&format!("crate::{other}")), "{} imports `{other}`", file.display());
            }
        }
    }
    for shared in ["data", "linalg", "stats", "signal", "graph"] {
        for file in rust_files(&source.join(shared)) {
            let text = fs::read_to_string(&file).unwrap();
            for upper in FAMILIES.iter().chain(&["pipelines"]) {
                assert!(!text.contains(&format!("crate::{upper}")), "{} imports `{upper}`", file.display());
            }
        }
    }
}

#[test]
fn the_core_knows_no_files_clock_printing_or_python() {
    for file in rust_files(&root().join("crates/stereotax/src")) {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in ["std::fs", "std::time", "println!", "eprintln!", "pyo3", "std::env"] {
            assert!(!code.contains(word), "{} uses `{word}`", file.display());
        }
    }
}
