//! Any bytes under any ending, to every reader of data files. The first byte chooses the ending.
#![no_main]

use libfuzzer_sys::fuzz_target;

const ENDINGS: [&str; 13] =
    ["npy", "npz", "safetensors", "h5", "csv", "tsv", "gii", "annot", "nii", "nii.gz", "parquet", "pial", "bin"];

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(format!("file.{}", ENDINGS[usize::from(*first) % ENDINGS.len()]));
    std::fs::write(&path, rest).expect("a file");
    stereotax_io::fuzzing::read_everything(&path);
});
