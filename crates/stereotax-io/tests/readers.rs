//! Files written by NumPy, safetensors and h5py, and files made to hurt.
//!
//! `validation/make_io_fixtures.py` made them. Numbers follow a formula: flat index / 2 − 3 for
//! floating point, the flat index for integers.

use std::path::{Path, PathBuf};

use stereotax_base::data::Precision;
use stereotax_io::{ArrayFile, FileFormat, IoErrorKind, info, keys, read_texts};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn grid(n: usize) -> Vec<f64> {
    (0..n).map(|i| i as f64 * 0.5 - 3.0).collect()
}

fn counted(n: usize) -> Vec<f64> {
    (0..n).map(|i| i as f64).collect()
}

fn read(name: &str, key: Option<&str>) -> ArrayFile {
    ArrayFile::open(&fixture(name), key).unwrap_or_else(|e| panic!("{name} {key:?}: {e}"))
}

fn refused(name: &str, key: Option<&str>) -> IoErrorKind {
    let error = match ArrayFile::open(&fixture(name), key) {
        Ok(array) => array.read_all().expect_err(name),
        Err(error) => error,
    };
    let text = error.to_string();
    assert!(text.contains("expected ") && text.contains("found ") && text.contains("\nhint: "), "{text}");
    error.kind
}

/// The same numbers by rows in three tiles, in one go, and backwards.
fn check(name: &str, key: Option<&str>, shape: &[usize], expected: &[f64]) {
    let array = read(name, key);
    assert_eq!(array.shape(), shape, "{name} {key:?}");
    assert_eq!(array.read_all().unwrap(), expected, "{name} {key:?}");
    let width = array.row_len();
    let n = array.n_rows();
    for start in (0..n).rev() {
        let rows = start..(start + 2).min(n);
        let mut out = vec![f64::NAN; rows.len() * width];
        array.read_rows(rows.clone(), &mut out).unwrap();
        assert_eq!(out, expected[rows.start * width..rows.end * width], "{name} {key:?} rows {rows:?}");
    }
}

#[test]
fn npy_of_every_type_and_byte_order() {
    for (name, precision) in [
        ("le_f2", Precision::F16),
        ("le_f4", Precision::F32),
        ("le_f8", Precision::F64),
        ("be_f2", Precision::F16),
        ("be_f4", Precision::F32),
        ("be_f8", Precision::F64),
    ] {
        let file = format!("npy_{name}.npy");
        check(&file, None, &[6, 5], &grid(30));
        assert_eq!(read(&file, None).precision(), precision);
    }
    for name in ["le_i2", "be_i4", "le_i8", "i1", "le_u2", "be_u8"] {
        check(&format!("npy_{name}.npy"), None, &[6, 5], &counted(30));
    }
    let thirds: Vec<f64> = (0..30).map(|i| f64::from(u8::from(i % 3 == 0))).collect();
    check("npy_bool.npy", None, &[6, 5], &thirds);
    check("npy_scalar.npy", None, &[], &[2.5]);
}

#[test]
fn fortran_order_comes_out_row_by_row() {
    check("npy_fortran.npy", None, &[6, 5], &grid(30));
    check("npy_fortran_3d.npy", None, &[6, 2, 5], &grid(60));
    check("npy_3d.npy", None, &[6, 2, 5], &grid(60));
}

#[test]
fn stored_and_deflated_members_are_equal() {
    for name in ["stored.npz", "deflated.npz"] {
        check(name, Some("conv1"), &[6, 4], &grid(24));
        check(name, Some("conv2"), &[6, 3], &grid(18));
        check(name, Some("block/attn"), &[6, 2, 5], &grid(60));
        assert_eq!(keys(&fixture(name)).unwrap(), ["conv1", "conv2", "block/attn", "rois"]);
        assert_eq!(read_texts(&fixture(name), Some("rois")).unwrap(), ["A1", "belt", "PT"]);
    }
    assert!(read("deflated.npz", Some("conv1")).is_sequential());
    assert!(!read("stored.npz", Some("conv1")).is_sequential());
}

#[test]
fn safetensors_with_half_precision() {
    for (key, precision) in [("f16", Precision::F16), ("f32", Precision::F32), ("f64", Precision::F64)] {
        check("numpy.safetensors", Some(key), &[6, 5], &grid(30));
        assert_eq!(read("numpy.safetensors", Some(key)).precision(), precision);
    }
    check("numpy.safetensors", Some("i32"), &[6, 5], &counted(30));
    check("numpy.safetensors", Some("tokens"), &[6, 2, 5], &grid(60));
    check("bf16.safetensors", None, &[6, 5], &grid(30));
    assert_eq!(read("bf16.safetensors", None).precision(), Precision::Bf16);
}

#[test]
fn hdf5_contiguous_chunked_and_behind_a_user_block() {
    check("layers.h5", Some("f4"), &[6, 5], &grid(30));
    check("layers.h5", Some("be_f8"), &[6, 5], &grid(30));
    check("layers.h5", Some("f2"), &[6, 5], &grid(30));
    check("layers.h5", Some("i2"), &[6, 5], &counted(30));
    check("layers.h5", Some("flags"), &[6], &[0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    check("layers.h5", Some("layers/gzip"), &[6, 5], &grid(30));
    check("layers.h5", Some("/layers/lzf"), &[6, 2, 5], &grid(60));
    check("userblock.mat", None, &[6, 5], &grid(30));
    assert_eq!(read("layers.h5", Some("f2")).precision(), Precision::F16);
    assert_eq!(read_texts(&fixture("layers.h5"), Some("names")).unwrap(), ["A1", "belt", "é–ß"]);
    assert_eq!(read_texts(&fixture("layers.h5"), Some("fixed")).unwrap(), ["A1", "belt"]);
}

#[test]
fn hdf5_that_is_not_known_says_so() {
    assert_eq!(refused("latest.h5", Some("x")), IoErrorKind::Unreadable);
    assert_eq!(refused("layers.h5", Some("compound")), IoErrorKind::Dtype);
    assert_eq!(refused("layers.h5", Some("names")), IoErrorKind::Dtype);
    assert_eq!(refused("hostile_sparse.h5", None), IoErrorKind::TooLarge);
    let error = ArrayFile::open(&fixture("layers.h5"), Some("layers/gzp")).unwrap_err();
    assert_eq!(error.kind, IoErrorKind::NoSuchKey);
    assert_eq!(error.details.nearest.as_deref(), Some("layers/gzip"));
}

#[test]
fn text_arrays() {
    for name in ["npy_names.npy", "npy_names_be.npy"] {
        assert_eq!(read_texts(&fixture(name), None).unwrap(), ["A1", "belt", "é–ß"]);
    }
    assert_eq!(read_texts(&fixture("npy_bytes.npy"), None).unwrap(), ["A1", "belt"]);
    assert_eq!(read_texts(&fixture("npy_le_f4.npy"), None).unwrap_err().kind, IoErrorKind::Dtype);
    assert_eq!(read_texts(&fixture("hostile_object.npy"), None).unwrap_err().kind, IoErrorKind::ObjectArray);
    assert_eq!(refused("npy_names.npy", None), IoErrorKind::Dtype);
}

#[test]
fn hostile_files_are_refused_for_the_right_reason() {
    for (name, key, kind) in [
        ("hostile_object.npy", None, IoErrorKind::ObjectArray),
        ("hostile_object.npz", Some("bad"), IoErrorKind::ObjectArray),
        ("hostile_structured.npy", None, IoErrorKind::Dtype),
        ("hostile_truncated.npy", None, IoErrorKind::Truncated),
        ("hostile_huge.npy", None, IoErrorKind::TooLarge),
        ("hostile_traversal.npz", None, IoErrorKind::WrongFormat),
        ("hostile_bomb.npz", None, IoErrorKind::TooLarge),
        ("hostile_short.npz", None, IoErrorKind::Truncated),
        ("hostile_duplicate.npz", Some("a"), IoErrorKind::Duplicate),
        ("hostile_short.safetensors", None, IoErrorKind::Truncated),
        ("hostile_size.safetensors", None, IoErrorKind::WrongFormat),
        ("hostile_duplicate.safetensors", Some("x"), IoErrorKind::Duplicate),
        ("hostile_header.safetensors", None, IoErrorKind::TooLarge),
        ("versions.json", None, IoErrorKind::WrongFormat),
        ("not_there.npz", None, IoErrorKind::NotFound),
    ] {
        assert_eq!(refused(name, key), kind, "{name}");
    }
    // A good array beside a bad one is still read.
    check("hostile_object.npz", Some("good"), &[2, 2], &grid(4));
    // A flipped bit is an error, whichever way the unpacking notices it.
    let flipped = refused("hostile_flipped.npz", Some("conv1"));
    assert!(matches!(flipped, IoErrorKind::Unreadable | IoErrorKind::WrongFormat | IoErrorKind::Truncated));
    assert!(
        ArrayFile::open(&fixture("hostile_truncated.h5"), Some("be_f8")).and_then(|a| a.read_all()).is_err()
    );
}

#[test]
fn every_cut_of_a_file_is_an_error_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["npy_le_f8.npy", "deflated.npz", "numpy.safetensors"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let key = match name {
            "npy_le_f8.npy" => None,
            "deflated.npz" => Some("conv1"),
            _ => Some("tokens"),
        };
        let path = folder.path().join(name);
        for cut in (0..whole.len()).step_by(7) {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(ArrayFile::open(&path, key).and_then(|a| a.read_all()).is_err(), "{name} cut at {cut}");
        }
    }
}

#[test]
fn keys_are_asked_for_by_name() {
    let error = ArrayFile::open(&fixture("stored.npz"), Some("conv3")).unwrap_err();
    assert_eq!(error.kind, IoErrorKind::NoSuchKey);
    assert_eq!(error.details.keys, ["conv1", "conv2", "block/attn", "rois"]);
    assert!(error.to_string().ends_with("hint: did you mean `conv1`?"), "{error}");
    let error = ArrayFile::open(&fixture("stored.npz"), None).unwrap_err();
    assert!(error.to_string().contains("4 arrays: `conv1`"), "{error}");
    assert_eq!(ArrayFile::open(&fixture("npy_3d.npy"), Some("x")).unwrap_err().kind, IoErrorKind::NoSuchKey);
}

#[test]
fn four_threads_read_what_one_reads() {
    for (name, key, n) in [
        ("npy_fortran_3d.npy", None, 60),
        ("deflated.npz", Some("block/attn"), 60),
        ("deflated.npz", Some("conv2"), 18),
        ("layers.h5", Some("layers/gzip"), 30),
    ] {
        let array = read(name, key);
        let (expected, width) = (grid(n), n / 6);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (array, expected) = (&array, &expected);
                scope.spawn(move || {
                    for turn in 0..50 {
                        let row = (turn * 5 + thread) % 6;
                        let mut out = vec![f64::NAN; width];
                        array.read_rows(row..row + 1, &mut out).unwrap();
                        assert_eq!(out, expected[row * width..(row + 1) * width]);
                    }
                });
            }
        });
    }
}

#[test]
fn info_describes_without_reading() {
    let described = info(&fixture("deflated.npz")).unwrap();
    assert_eq!(described.format, FileFormat::Npz);
    assert_eq!(described.arrays[2].key.as_deref(), Some("block/attn"));
    assert_eq!(described.arrays[2].shape, [6, 2, 5]);
    assert_eq!(described.arrays[2].dtype, "float16");
    assert_eq!(described.arrays[2].bytes, Some(120));
    assert_eq!(described.arrays[2].storage, "deflated");
    assert_eq!(described.arrays[3].dtype, "text of 4 characters");
    let described = info(&fixture("hostile_object.npz")).unwrap();
    assert!(described.arrays[1].problem.as_deref().unwrap().contains("never read"));
    let described = info(&fixture("layers.h5")).unwrap();
    let gzip = described.arrays.iter().find(|a| a.key.as_deref() == Some("layers/gzip")).unwrap();
    assert_eq!((gzip.shape.as_slice(), gzip.storage.as_str()), ([6, 5].as_slice(), "chunked"));
    assert!(info(&fixture("hostile_truncated.npy")).unwrap().arrays[0].problem.is_some());
    let text = serde_json::to_string(&described).unwrap();
    assert!(text.contains("\"format\":\"hdf5\""), "{text}");
}

#[test]
fn csv_numbers_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    std::fs::write(&path, "\u{feff}A1,belt\r\n1,2.5\r\n-3e-1,\r\n").unwrap();
    let array = ArrayFile::open(&path, None).unwrap();
    assert_eq!(array.shape(), [2, 2]);
    let values = array.read_all().unwrap();
    assert_eq!(values[..3], [1.0, 2.5, -0.3]);
    assert!(values[3].is_nan());
    assert_eq!(keys(&path).unwrap(), ["A1", "belt"]);
    assert_eq!(ArrayFile::open(&path, Some("A1")).unwrap().read_all().unwrap(), [1.0, -0.3]);
    std::fs::write(&path, "A1,belt\n1,2.5\n1,\"a\nb\"\n").unwrap();
    let error = ArrayFile::open(&path, None).unwrap_err();
    assert_eq!(error.kind, IoErrorKind::Dtype);
    assert_eq!(error.details.what, "line 3, column `belt`");
    std::fs::write(&path, "A1,belt\n1\n").unwrap();
    let error = ArrayFile::open(&path, None).unwrap_err();
    assert_eq!((error.details.what.as_str(), error.details.found.as_str()), ("line 2", "1"));
    std::fs::write(&path, "A1,A1\n1,2\n").unwrap();
    assert_eq!(ArrayFile::open(&path, None).unwrap_err().kind, IoErrorKind::Duplicate);
}
