//! Layers and responses from files of every format, against the formula of the fixtures.

use std::path::{Path, PathBuf};

use stereotax_base::data::TileSource;
use stereotax_io::{
    FileLayers, IoErrorKind, Pooling, ResponseAxis, ResponsesParams, Targets, load_responses,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|n| (*n).to_owned()).collect()
}

fn value(flat: usize) -> f64 {
    flat as f64 * 0.5 - 3.0
}

fn read(layers: &FileLayers, layer: usize, rows: std::ops::Range<usize>) -> Vec<f64> {
    let mut out = vec![f64::NAN; rows.len() * layers.layers()[layer].width];
    layers.read_rows(layer, rows, &mut out).unwrap();
    out
}

#[test]
fn layers_of_unlike_width_in_the_stated_order() {
    for file in ["stored.npz", "deflated.npz"] {
        let wanted = names(&["conv2", "block/attn", "conv1"]);
        let layers = FileLayers::open(&fixture(file), &wanted, Pooling::Mean, None).unwrap();
        assert_eq!(layers.n_samples(), 6);
        let widths: Vec<usize> = layers.layers().iter().map(|l| l.width).collect();
        assert_eq!(widths, [3, 5, 4]);
        // Lock-step over the layers, and back again.
        for row in [0, 1, 4, 5, 2] {
            assert_eq!(read(&layers, 0, row..row + 1), [0, 1, 2].map(|j| value(row * 3 + j)));
            assert_eq!(read(&layers, 2, row..row + 1), [0, 1, 2, 3].map(|j| value(row * 4 + j)));
            // The mean of positions 0 and 1 is 5 / 2 places further.
            let mean = [0, 1, 2, 3, 4].map(|j| (value(row * 10 + j) + value(row * 10 + 5 + j)) / 2.0);
            assert_eq!(read(&layers, 1, row..row + 1), mean);
        }
        assert_eq!(layers.epsilon(), 2f64.powi(-10));
    }
}

#[test]
fn rows_come_in_the_order_of_the_study() {
    let order = vec![5, 0, 1, 3, 3];
    for (file, key) in [("deflated.npz", "conv2"), ("layers.h5", "layers/gzip"), ("numpy.safetensors", "f16")]
    {
        let layers =
            FileLayers::open(&fixture(file), &names(&[key]), Pooling::Mean, Some(order.clone())).unwrap();
        assert_eq!(layers.n_samples(), 5);
        let width = layers.layers()[0].width;
        let expected: Vec<f64> =
            order.iter().flat_map(|r| (0..width).map(move |j| value(r * width + j))).collect();
        assert_eq!(read(&layers, 0, 0..5), expected, "{file}");
        assert_eq!(read(&layers, 0, 2..4), expected[2 * width..4 * width], "{file}");
    }
    let beyond = FileLayers::open(&fixture("stored.npz"), &names(&["conv1"]), Pooling::Mean, Some(vec![6]));
    assert_eq!(beyond.unwrap_err().kind, IoErrorKind::Shape);
}

#[test]
fn every_pooling_rule_on_tokens() {
    // 6 × 2 × 5: two positions of five units.
    let row = |rule| {
        let layers =
            FileLayers::open(&fixture("numpy.safetensors"), &names(&["tokens"]), rule, None).unwrap();
        read(&layers, 0, 1..2)
    };
    let at = |flat: std::ops::Range<usize>| flat.map(value).collect::<Vec<f64>>();
    assert_eq!(row(Pooling::First), at(10..15));
    assert_eq!(row(Pooling::Last), at(15..20));
    assert_eq!(row(Pooling::Max), at(15..20));
    assert_eq!(row(Pooling::Flatten), at(10..20));
    assert_eq!(row(Pooling::Mean), (10..15).map(|i| value(i) + 1.25).collect::<Vec<f64>>());
}

#[test]
fn a_folder_of_arrays_is_a_model() {
    let wanted = names(&["npy_le_f4", "npy_fortran", "npy_3d.npy"]);
    let layers = FileLayers::open(&fixture(""), &wanted, Pooling::Flatten, None).unwrap();
    assert_eq!(read(&layers, 1, 2..4), (10..20).map(value).collect::<Vec<f64>>());
    assert_eq!(layers.layers()[2].width, 10);
    let error = FileLayers::open(&fixture(""), &names(&["npy_le_f3"]), Pooling::Mean, None).unwrap_err();
    assert_eq!(error.kind, IoErrorKind::NoSuchKey);
    assert!(error.details.nearest.unwrap().starts_with("npy_le_f"));
    let unequal = FileLayers::open(&fixture(""), &names(&["npy_le_f4", "npy_scalar"]), Pooling::Mean, None);
    assert_eq!(unequal.unwrap_err().kind, IoErrorKind::Shape);
}

#[test]
fn threads_and_tiles_do_not_change_what_is_read() {
    let wanted = names(&["conv1", "conv2", "block/attn"]);
    let layers =
        FileLayers::open(&fixture("deflated.npz"), &wanted, Pooling::Max, Some(vec![2, 0, 5, 1])).unwrap();
    let alone: Vec<Vec<f64>> = (0..3).map(|l| read(&layers, l, 0..4)).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (layers, alone) = (&layers, &alone);
            scope.spawn(move || {
                for turn in 0..40 {
                    let (layer, row) = ((turn + thread) % 3, (turn * 3 + thread) % 4);
                    let width = layers.layers()[layer].width;
                    assert_eq!(
                        read(layers, layer, row..row + 1),
                        alone[layer][row * width..(row + 1) * width]
                    );
                }
            });
        }
    });
}

#[test]
fn a_number_that_is_not_finite_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = std::fs::read(fixture("npy_le_f4.npy")).unwrap();
    let at = bytes.len() - 4 * 30 + 4 * 12;
    bytes[at..at + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    std::fs::write(folder.path().join("l.npy"), bytes).unwrap();
    let layers = FileLayers::open(folder.path(), &names(&["l"]), Pooling::Mean, Some(vec![5, 2])).unwrap();
    let error = layers.read(0, 0..2, &mut [0.0; 10]).unwrap_err();
    assert_eq!(error.kind, IoErrorKind::NotFinite);
    assert!(error.details.what.contains("row 2 of the file, unit 2"), "{error}");
}

#[test]
fn responses_with_repeats_in_any_axis_order() {
    // 6 × 2 × 5 read as target × repeat × sample.
    let params = ResponsesParams {
        axes: Some(vec![ResponseAxis::Target, ResponseAxis::Repeat, ResponseAxis::Sample]),
        ..Default::default()
    };
    let r = load_responses(&fixture("npy_3d.npy"), &params).unwrap();
    assert_eq!((r.n_samples, r.rois.len(), r.n_repeats), (5, 6, 2));
    for (s, t, k) in [(0, 0, 0), (4, 5, 1), (3, 2, 1)] {
        assert_eq!(r.value(s, t, k), value(t * 10 + k * 5 + s));
    }
    assert_eq!(r.repeat_mean()[3 * 6 + 2], value(2 * 10 + 3) + 1.25);
    // Without a stated order: sample × target × repeat.
    let r = load_responses(&fixture("npy_3d.npy"), &ResponsesParams::default()).unwrap();
    assert_eq!((r.n_samples, r.rois.len(), r.n_repeats), (6, 2, 5));
    assert_eq!(r.value(4, 1, 3), value(4 * 10 + 5 + 3));
    let named = ResponsesParams {
        key: Some("conv2".into()),
        targets: Targets::RoiKey("rois".into()),
        ..Default::default()
    };
    let r = load_responses(&fixture("deflated.npz"), &named).unwrap();
    assert_eq!(r.rois.iter().map(|r| r.roi.as_str()).collect::<Vec<_>>(), ["A1", "belt", "PT"]);
}
