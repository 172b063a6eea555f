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
    for (folder, prefix) in [
        ("crates", "crates/"),
        ("crates/stereotax/src", "crates/stereotax/src/"),
        ("crates/stereotax-base/src", "crates/stereotax-base/src/"),
    ] {
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

/// The compiler keeps families apart once no family's manifest names another.
#[test]
fn method_families_stand_on_the_base_alone() {
    for family in FAMILIES.iter().chain(&["base"]) {
        let manifest = root().join(format!("crates/stereotax-{family}/Cargo.toml"));
        let text = fs::read_to_string(&manifest).unwrap();
        let (_, needs) = text.split_once("[dependencies]").unwrap();
        for named in needs.lines().filter(|line| line.starts_with("stereotax")) {
            let allowed = named.starts_with("stereotax-base.") && *family != "base";
            assert!(allowed, "{} names `{named}`", manifest.display());
        }
    }
}

#[test]
fn the_core_knows_no_files_clock_printing_or_python() {
    let crates = FAMILIES.iter().chain(&["base"]).map(|room| format!("crates/stereotax-{room}/src"));
    let sources = crates.chain(["crates/stereotax/src".to_owned()]);
    for file in sources.flat_map(|source| rust_files(&root().join(source))) {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in ["std::fs", "std::time", "println!", "eprintln!", "pyo3", "std::env"] {
            assert!(!code.contains(word), "{} uses `{word}`", file.display());
        }
    }
}
