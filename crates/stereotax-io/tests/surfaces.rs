//! Surfaces and labels written by other tools, by hand, and by people who mean harm.
//!
//! Fixtures: `validation/make_surface_fixtures.py` (nibabel). A real surface is not part of this repository:
//! it is read from `brain_maps_conte69` in the folder that STEREOTAX_DATA names, or in
//! `../../../shared/data`; without it that test has nothing to read and passes.

use std::path::{Path, PathBuf};

use stereotax_io::{
    ArrayFile, IoErrorKind, Mesh, ResponsesParams, Targets, VertexLabels, info, load_responses, read_mesh,
    read_texts, read_vertex_labels,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The octahedron of the fixtures.
fn octahedron() -> Mesh {
    Mesh {
        vertices: vec![
            [10.0, 0.0, 0.0],
            [-10.0, 0.0, 0.0],
            [0.0, 20.0, 0.0],
            [0.0, -20.0, 0.0],
            [0.0, 0.0, 30.0],
            [0.0, 0.0, -30.0],
        ],
        faces: vec![[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]],
    }
}

fn named(names: [&str; 6]) -> VertexLabels {
    VertexLabels::Names(names.map(|n| (!n.is_empty()).then(|| n.to_owned())).to_vec())
}

#[test]
fn what_nibabel_writes_is_read_back() {
    for name in ["ascii_row", "base64_row", "base64_column", "gzip_row", "gzip_column"] {
        let file = fixture(&format!("octahedron_{name}.surf.gii"));
        assert_eq!(read_mesh(&file, None).unwrap(), octahedron(), "{name}");
        assert_eq!(read_mesh(&file, Some(&file)).unwrap(), octahedron(), "{name}");
    }
    assert_eq!(read_mesh(&fixture("octahedron.pial"), None).unwrap(), octahedron());
    for file in ["octahedron.label.gii", "octahedron.annot"] {
        let labels = read_vertex_labels(&fixture(file), 6).unwrap();
        assert_eq!(labels, named(["V1", "A&1", "V1", "A&1", "", ""]), "{file}");
    }
}

#[test]
fn info_lists_the_arrays_of_surfaces() {
    let shapes = |name: &str| -> Vec<(String, Vec<usize>)> {
        let arrays = info(&fixture(name)).unwrap().arrays;
        arrays.into_iter().map(|a| (a.key.unwrap(), a.shape)).collect()
    };
    let of = |key: &str, shape: &[usize]| (key.to_owned(), shape.to_vec());
    let mesh = [of("pointset", &[6, 3]), of("triangle", &[8, 3])];
    assert_eq!(shapes("octahedron_gzip_row.surf.gii"), mesh);
    assert_eq!(shapes("octahedron.pial"), [of("vertices", &[6, 3]), of("faces", &[8, 3])]);
    assert_eq!(shapes("octahedron.label.gii"), [of("label", &[6])]);
    assert_eq!(shapes("octahedron.annot"), [of("label", &[6])]);
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn floats(rows: usize, values: &[f64]) -> Vec<u8> {
    let data: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    npy("<f8", &format!("({rows}, 3)"), &data)
}

fn integers(shape: &str, values: &[i32]) -> Vec<u8> {
    npy("<i4", shape, &values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
}

const TRIANGLE: [f64; 9] = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0];

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }
    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

#[test]
fn arrays_and_csv_make_a_mesh() {
    let f = Folder::new();
    let vertices = f.write("v.npy", &floats(3, &TRIANGLE));
    let faces = f.write("f.npy", &integers("(1, 3)", &[0, 1, 2]));
    let mesh = read_mesh(&vertices, Some(&faces)).unwrap();
    assert_eq!((mesh.vertices[1], mesh.faces[0]), ([1.0, 0.0, 0.0], [0, 1, 2]));
    let vertices = f.write("v.csv", b"x,y,z\n0,0,0\n1,0,0\n0,1,0\n");
    let faces = f.write("f.csv", b"a,b,c\n0,1,2\n");
    assert_eq!(read_mesh(&vertices, Some(&faces)).unwrap(), mesh);
}

#[test]
fn labels_are_names_or_numbers() {
    let f = Folder::new();
    let names = f.write(
        "l.csv",
        b"roi\nV1\n\"\"\nunknown\nMedial_Wall\nBackground+FreeSurfer_Defined_Medial_Wall\nA1\n",
    );
    assert_eq!(read_vertex_labels(&names, 6).unwrap(), named(["V1", "", "", "", "", "A1"]));
    let numbers = VertexLabels::Numbers(vec![Some(2), None, None, Some(1)]);
    let file = f.write("l.npy", &integers("(4,)", &[2, 0, -1, 1]));
    assert_eq!(read_vertex_labels(&file, 4).unwrap(), numbers);
    let file = f.write("n.csv", b"label\n2\n0\n-1\n1\n");
    assert_eq!(read_vertex_labels(&file, 4).unwrap(), numbers);
}

#[track_caller]
fn refused<T: std::fmt::Debug>(found: stereotax_io::Result<T>, kind: IoErrorKind, words: &str) {
    let error = found.unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn meshes_that_contradict_themselves_are_refused() {
    use IoErrorKind::{NotFinite, NotFound, Shape, TooLarge, Truncated, WrongFormat};
    let f = Folder::new();
    let good = f.write("v.npy", &floats(3, &TRIANGLE));
    let face = f.write("f.npy", &integers("(1, 3)", &[0, 1, 2]));
    let mesh = |v: &Path, c: &Path| read_mesh(v, Some(c));
    assert!(mesh(&good, &face).is_ok());
    let mut nan = TRIANGLE;
    nan[5] = f64::NAN;
    refused(mesh(&f.write("nan.npy", &floats(3, &nan)), &face), NotFinite, "vertex 1");
    nan[5] = 1e300;
    refused(mesh(&f.write("far.npy", &floats(3, &nan)), &face), WrongFormat, "millimetres");
    refused(mesh(&f.write("flat.npy", &floats(3, &[1.0; 9])), &face), Shape, "one point");
    refused(mesh(&f.write("two.npy", &floats(2, &TRIANGLE[..6])), &face), Shape, "at least one triangle");
    let faces = |name: &str, values: &[i32]| f.write(name, &integers("(1, 3)", values));
    refused(mesh(&good, &faces("out.npy", &[0, 1, 9])), WrongFormat, "whole numbers from 0 to 2");
    refused(mesh(&good, &faces("minus.npy", &[0, 1, -1])), WrongFormat, "found -1");
    refused(mesh(&good, &faces("one.npy", &[1, 2, 3])), WrongFormat, "count from 1: subtract 1");
    refused(mesh(&good, &f.write("half.npy", &floats(1, &[0.0, 0.5, 1.0]))), WrongFormat, "found 0.5");
    refused(mesh(&good, &f.write("none.npy", &integers("(0, 3)", &[]))), Shape, "at least one triangle");
    refused(mesh(&good, &f.write("wide.npy", &integers("(1, 4)", &[0, 1, 2, 0]))), Shape, "n × 3");
    refused(mesh(&good, &f.write("short.npy", &integers("(9, 3)", &[0, 1, 2]))), Truncated, "bytes of data");
    let huge = npy("<i4", "(900000, 3)", &vec![0; 900_000 * 12]);
    refused(mesh(&good, &f.write("huge.npy", &huge)), TooLarge, "coarser mesh");
    refused(read_mesh(&good, None), Shape, "faces = …");
    // A label file is no mesh, and has no triangles of its own.
    refused(read_mesh(&fixture("octahedron.label.gii"), None), Shape, "n × 3");
    let only_points = std::fs::read_to_string(fixture("octahedron_ascii_row.surf.gii")).unwrap();
    let cut = only_points.rfind("<DataArray").unwrap();
    let points = f.write("p.surf.gii", format!("{}</GIFTI>", &only_points[..cut]).as_bytes());
    refused(read_mesh(&points, None), Shape, "name the file of the triangles");
    refused(mesh(&f.0.path().join("wid.npy"), &face), NotFound, "did you mean `wide.npy`?");
}

#[test]
fn labels_that_fit_no_mesh_are_refused() {
    use IoErrorKind::{Dtype, Shape, WrongFormat};
    let f = Folder::new();
    refused(read_vertex_labels(&fixture("octahedron.annot"), 7), Shape, "7 labels, one per vertex");
    let file = f.write("h.npy", &npy("<f8", "(1,)", &1.5f64.to_le_bytes()));
    refused(read_vertex_labels(&file, 1), Dtype, "1.5 at vertex 0");
    let file = f.write("m.npy", &integers("(1,)", &[-7]));
    refused(read_vertex_labels(&file, 1), Dtype, "-7 at vertex 0");
    let file = f.write("t.npy", &integers("(2, 2)", &[1, 1, 1, 1]));
    refused(read_vertex_labels(&file, 4), Shape, "one axis");
    // A number that the file's own table does not name.
    let text = std::fs::read_to_string(fixture("octahedron.label.gii")).unwrap();
    let file = f.write("t.label.gii", text.replace("Key=\"9\"", "Key=\"8\"").as_bytes());
    refused(read_vertex_labels(&file, 6), WrongFormat, "9 at vertex 1");
}

/// Cut anywhere or with any byte changed, a binary surface gives an error or a mesh, and never more.
#[test]
fn broken_freesurfer_files_never_panic() {
    let f = Folder::new();
    for (name, is_mesh) in [("octahedron.pial", true), ("octahedron.annot", false)] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let read = |bytes: &[u8]| {
            let path = f.write(name, bytes);
            if is_mesh {
                read_mesh(&path, None).map(|_| ())
            } else {
                read_vertex_labels(&path, 6).map(|_| ())
            }
        };
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "{name} cut at {end}");
        }
        for at in 0..whole.len() {
            for byte in [0x00, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = byte;
                let _ = read(&changed);
            }
        }
    }
}

/// conte69: 32,492 vertices per hemisphere, a closed surface of genus 0, and 100 parcels of Schaefer's atlas.
#[test]
fn a_real_surface_is_read_whole() {
    let named = std::env::var_os("STEREOTAX_DATA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = named.unwrap_or(beside).join("brain_maps_conte69");
    if !folder.join("surfaces.npz").is_file() {
        return;
    }
    let array =
        |file: &str, key: &str| ArrayFile::open(&folder.join(file), Some(key)).unwrap().read_all().unwrap();
    let f = Folder::new();
    let labels = array("parcellations.npz", "schaefer_100");
    let mut parcels = std::collections::BTreeSet::new();
    for (side, of) in ["left", "right"].into_iter().zip(labels.chunks_exact(32_492)) {
        let vertices =
            f.write("v.npy", &floats(32_492, &array("surfaces.npz", &format!("{side}_midthickness"))));
        let faces = f.write("f.npy", &floats(64_980, &array("surfaces.npz", &format!("{side}_triangles"))));
        let mesh = read_mesh(&vertices, Some(&faces)).unwrap();
        // Every edge belongs to two triangles, and vertices − edges + triangles = 2.
        let (n, m) = (mesh.vertices.len(), mesh.faces.len());
        assert_eq!((n, m), (32_492, 64_980));
        assert_eq!(n as i64 - (3 * m / 2) as i64 + m as i64, 2);
        // Left is left: x grows to the right.
        let x = mesh.vertices.iter().map(|p| p[0]).sum::<f64>() / n as f64;
        assert!(if side == "left" { x < -20.0 } else { x > 20.0 }, "{side} {x}");
        let text: Vec<i32> = of.iter().map(|&x| x as i32).collect();
        let file = f.write("l.npy", &integers("(32492,)", &text));
        let VertexLabels::Numbers(numbers) = read_vertex_labels(&file, n).unwrap() else { panic!("numbers") };
        parcels.extend(numbers.into_iter().flatten());
    }
    assert!(parcels.into_iter().eq(1..=100));
}

#[test]
fn series_on_surfaces_and_voxels_are_read_and_averaged_by_labels() {
    let array = ArrayFile::open(&fixture("places.dtseries.nii"), None).unwrap();
    assert_eq!(array.shape(), [3, 18]);
    let values = array.read_all().unwrap();
    // Vertex 10 is the seventh column; voxel 5 the last.
    assert_eq!((values[18 + 6], values[2 * 18 + 17]), (110.0, 255.0));
    let mut row = vec![0.0; 18];
    array.read_rows(1..2, &mut row).unwrap();
    assert_eq!(row, values[18..36]);
    // Labels stand on other vertices: 0 to 5 are V1, 10 to 14 are A&1, and 15 has none.
    let voxels = |file: &str| Targets::Voxels { file: Some(fixture(file)), key: None, rois: None };
    let params = ResponsesParams { targets: voxels("places.dlabel.nii"), ..Default::default() };
    let read = load_responses(&fixture("places.dtseries.nii"), &params).unwrap();
    let names: Vec<&str> = read.rois.iter().map(|r| r.roi.as_str()).collect();
    assert_eq!(names, ["V1", "A&1"]);
    assert_eq!(read.values, [2.5, 12.0, 102.5, 112.0, 202.5, 212.0]);
    assert_eq!((read.rois[0].n_voxels, read.rois[1].n_voxels), (Some(6), Some(5)));
    // Parcels bring their names.
    let parcels = load_responses(&fixture("places.ptseries.nii"), &ResponsesParams::default()).unwrap();
    assert_eq!(parcels.rois[1].roi, "A&1");
    assert_eq!(parcels.values[..2], [2.5, 12.5]);
    // Maps of a GIFTI file are its rows.
    let maps = ArrayFile::open(&fixture("octahedron.func.gii"), None).unwrap();
    assert_eq!(maps.shape(), [3, 6]);
    assert_eq!(maps.read_all().unwrap()[6..9], [100.0, 101.0, 102.0]);
    // A label file is no series, a series holds no labels, and labels of another mesh have no place.
    let error = ArrayFile::open(&fixture("octahedron_ascii_row.surf.gii"), None).unwrap_err();
    assert_eq!(error.kind, IoErrorKind::NoSuchKey);
    assert!(read_texts(&fixture("places.dtseries.nii"), None).is_err());
    let wrong = ResponsesParams { targets: voxels("octahedron.label.gii"), ..Default::default() };
    assert!(load_responses(&fixture("places.dtseries.nii"), &wrong).is_err());
}
