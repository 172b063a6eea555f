//! Reading a tile takes a few MB, however large the file.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use stereotax_base::data::TileSource;
use stereotax_io::{FileLayers, Pooling};

/// The system's allocator, counting what is held and the most that was.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// Safety: every call is passed on unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn header(fortran: &str, rows: usize, units: usize) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': {fortran}, 'shape': ({rows}, {units}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

#[test]
fn tiles_of_large_files_take_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, units) = (1 << 18, 1 << 10);
    // A gigabyte each, of which the disk holds only the headers.
    for (name, fortran) in [("c", "False"), ("f", "True")] {
        let mut file = std::fs::File::create(folder.path().join(format!("{name}.npy"))).unwrap();
        let bytes = header(fortran, rows, units);
        file.write_all(&bytes).unwrap();
        file.set_len((bytes.len() + 4 * rows * units) as u64).unwrap();
    }
    // Deflated: 32 MB, below the size at which the ratio of zeros would be refused.
    let packed = folder.path().join("packed.npz");
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&packed).unwrap());
    let deflated =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    archive.start_file("x.npy", deflated).unwrap();
    archive.write_all(&header("False", 1 << 13, units)).unwrap();
    for _ in 0..32 {
        archive.write_all(&vec![0; 1 << 20]).unwrap();
    }
    archive.finish().unwrap();

    let layers = FileLayers::open(folder.path(), &["c".into(), "f".into()], Pooling::Mean, None).unwrap();
    let from_archive = FileLayers::open(&packed, &["x".into()], Pooling::Mean, None).unwrap();
    let mut out = vec![1.0; 64 * units];
    for (source, layer, first) in [(&layers, 0, rows - 64), (&layers, 1, rows - 64), (&from_archive, 0, 8000)]
    {
        out.fill(1.0);
        let before = HELD.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        source.read_rows(layer, first..first + 64, &mut out).unwrap();
        let extra = PEAK.load(Ordering::Relaxed) - before;
        assert!(out.iter().all(|&x| x == 0.0));
        assert!(extra < 6 << 20, "layer {layer}: {extra} bytes");
    }
}
