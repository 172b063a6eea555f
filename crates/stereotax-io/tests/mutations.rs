//! Every reader on files that were changed, cut, lengthened or given another name: an error or numbers, never a panic,
//! never memory out of proportion.
//!
//! The seeds are the fixtures; the changes are counted, so that a failure can be repeated. `fuzz/` has the same entry
//! points for longer runs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use stereotax_base::stats::rng::Stream;
use stereotax_io::ZarrWriter;
use stereotax_io::fuzzing::read_everything;

/// The system's allocator, remembering the largest single piece.
struct Watching;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// Safety: every call is passed on unchanged.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// No piece of memory is larger than this for files of a few kilobytes: blocks of a few MB, and what 1040-fold
/// unpacking of the largest seed gives.
const MOST: usize = 160 << 20;
const PER_SEED: u64 = 40;

fn seeds() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| std::fs::metadata(p).unwrap().len() < 200_000)
        .collect();
    files.sort();
    files
}

fn change(bytes: &mut Vec<u8>, random: &mut Stream) {
    let length = bytes.len();
    // Headers matter most: half of all places lie within the first 600 bytes.
    let place = |random: &mut Stream| {
        let most = if random.below(2) == 0 { length.min(600) } else { length };
        random.below(most.max(1))
    };
    if bytes.is_empty() {
        return;
    }
    match random.below(6) {
        0 => bytes.truncate(place(random)),
        1 => {
            let at = place(random);
            bytes[at] ^= 1 << random.below(8);
        }
        2 => {
            let at = place(random);
            bytes[at] = [0, 0xff, 0x7f, 0x80, b'9', b'-', b'"', b'<'][random.below(8)];
        }
        3 => {
            // A count made huge, or negative.
            let at = place(random);
            let end = (at + 8).min(bytes.len());
            bytes[at..end].fill(if random.below(2) == 0 { 0xff } else { 0x7f });
        }
        4 => {
            let (from, to) = (place(random), place(random));
            let n = random.below(64).min(bytes.len() - from.max(to));
            let part = bytes[from..from + n].to_vec();
            bytes[to..to + n].copy_from_slice(&part);
        }
        _ => {
            let at = place(random);
            let part = bytes[at..].to_vec();
            bytes.extend(part);
        }
    }
}

#[test]
fn changed_files_are_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let seeds = seeds();
    assert!(seeds.len() > 50);
    for (which, seed) in seeds.iter().enumerate() {
        let whole = std::fs::read(seed).unwrap();
        let path = folder.path().join(seed.file_name().unwrap());
        for turn in 0..PER_SEED {
            let mut random = Stream::new(7, "mutations", which as u64 * PER_SEED + turn);
            let mut bytes = whole.clone();
            for _ in 0..=random.below(3) {
                change(&mut bytes, &mut random);
            }
            std::fs::write(&path, &bytes).unwrap();
            LARGEST.store(0, Ordering::Relaxed);
            read_everything(&path);
            let largest = LARGEST.load(Ordering::Relaxed);
            assert!(largest < MOST, "{}: turn {turn}: {largest} bytes at once", seed.display());
        }
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn changed_parts_of_a_zarr_folder_are_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("s.zarr");
    let ids = ["a", "b", "c"].map(str::to_owned);
    let layers = [("x/y".to_owned(), vec![2, 2]), ("z".to_owned(), vec![1])];
    let mut writer = ZarrWriter::create(&store, &ids, &layers, &[("engine", "e")]).unwrap();
    writer.append(3, &[(0..12).map(|i| i as f32).collect(), vec![1.0, 2.0, 3.0]]).unwrap();
    writer.finish().unwrap();
    let two = store.join("two");
    std::fs::create_dir(&two).unwrap();
    let about = r#"{"zarr_format": 2, "shape": [3, 2], "chunks": [2, 2], "dtype": "<f8", "compressor":
        {"id": "zlib", "level": 1}, "filters": null, "fill_value": "NaN", "order": "F"}"#;
    std::fs::write(two.join(".zarray"), about).unwrap();
    let parts =
        ["zarr.json", "x/zarr.json", "x/y/zarr.json", "x/y/c/0/0/0", "z/zarr.json", "z/c/0/0", "two/.zarray"];
    for (which, part) in parts.iter().enumerate() {
        let path = store.join(part);
        let whole = std::fs::read(&path).unwrap();
        for turn in 0..60 {
            let mut random = Stream::new(8, "zarr mutations", which as u64 * 60 + turn);
            let mut bytes = whole.clone();
            for _ in 0..=random.below(3) {
                change(&mut bytes, &mut random);
            }
            std::fs::write(&path, &bytes).unwrap();
            LARGEST.store(0, Ordering::Relaxed);
            read_everything(&store);
            let largest = LARGEST.load(Ordering::Relaxed);
            assert!(largest < MOST, "{part}: turn {turn}: {largest} bytes at once");
        }
        std::fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn files_under_another_name_are_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    for seed in seeds() {
        let whole = std::fs::read(&seed).unwrap();
        for ending in
            ["npy", "npz", "safetensors", "h5", "csv", "gii", "annot", "nii", "nii.gz", "parquet", "pial"]
        {
            let path = folder.path().join(format!("file.{ending}"));
            std::fs::write(&path, &whole).unwrap();
            read_everything(&path);
        }
    }
}
