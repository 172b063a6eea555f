//! Any bytes as a picture, a sound and a preparation file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stereotax_models::prepare::{Preparation, image, wave};

fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    std::fs::write(&path, data).expect("a file");
    let _ = image::decode(&path);
    let _ = wave::read(&path);
    let _ = Preparation::read(&path);
});
