//! Read a cortical surface: a mesh of triangles, and which region each vertex belongs to.
//!
//! Meshes come from two arrays (`.npy`, `.npz`, `.safetensors`, HDF5, CSV) or from one GIFTI or
//! FreeSurfer file; labels from an array of names or whole numbers, a GIFTI label file or a FreeSurfer
//! annotation. Memory: 8 bytes per number.

use std::path::Path;

use crate::array::{ArrayFile, FileFormat, keys, label_names, read_texts};
use crate::delimited::is_undefined;
use crate::error::{IoError, IoErrorKind, Result};
use crate::npy::show_shape;

/// Vertices of one mesh at most; `fsaverage`, the finest one in common use, has 163,842.
pub const MAX_VERTICES: usize = 400_000;
/// Triangles of one mesh at most.
pub const MAX_FACES: usize = 2 * MAX_VERTICES;
/// Coordinates are millimetres; anything farther from the origin is no brain.
const MAX_COORDINATE: f64 = 1e6;

/// A mesh of triangles.
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    /// x (right), y (forward), z (up) of each vertex, in mm; all finite.
    pub vertices: Vec<[f64; 3]>,
    /// Corners of each triangle; all are vertices.
    pub faces: Vec<[u32; 3]>,
}

/// What each vertex of a mesh belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VertexLabels {
    /// The name of a region; `None` where the vertex belongs to none.
    Names(Vec<Option<String>>),
    /// The number of a region, counted from 1; `None` where the vertex belongs to none.
    Numbers(Vec<Option<usize>>),
}

impl VertexLabels {
    /// Vertices.
    pub fn len(&self) -> usize {
        match self {
            VertexLabels::Names(labels) => labels.len(),
            VertexLabels::Numbers(labels) => labels.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Read a mesh: `vertices` (n × 3) and `faces` (m × 3, whole numbers from 0 to n − 1).
///
/// Without `faces` the triangles stand in the file of the vertices. In a file of several arrays those
/// named `vertices` or `pointset`, and `faces`, `triangles` or `triangle` are taken.
///
/// # Errors
/// Shapes other than these, more than [`MAX_VERTICES`] or [`MAX_FACES`], coordinates that are not finite
/// or that have no extent, faces that name a vertex that is not there.
pub fn read_mesh(vertices: &Path, faces: Option<&Path>) -> Result<Mesh> {
    let faces_in = faces.unwrap_or(vertices);
    let one_array = |format| matches!(format, FileFormat::Npy | FileFormat::Csv);
    if faces_in == vertices && one_array(FileFormat::of(vertices)?) {
        return Err(IoError::shape(
            vertices,
            "faces",
            "an array of its own",
            "the file of the vertices, which holds one array",
            "name the file of the triangles with `faces = …`",
        ));
    }
    let (n, points) = three_columns(vertices, "vertices", &["vertices", "pointset", "coords"], MAX_VERTICES)?;
    if n < 3 {
        return Err(no_mesh(vertices, "vertices", format!("{n}")));
    }
    if let Some(at) = points.iter().position(|x| !x.is_finite()) {
        return Err(IoError::new(
            IoErrorKind::NotFinite,
            vertices,
            format!("vertex {}", at / 3),
            "finite coordinates",
            format!("{} as {}", points[at], ["x", "y", "z"][at % 3]),
            "repair the mesh with the tool that made it",
        ));
    }
    if let Some(at) = points.iter().position(|x| x.abs() > MAX_COORDINATE) {
        let expected = format!("millimetres within ±{MAX_COORDINATE}");
        return Err(IoError::wrong_format(
            vertices,
            &format!("vertex {}", at / 3),
            expected,
            format!("{}", points[at]),
        ));
    }
    if faces_in == vertices && keys(vertices)?.len() < 2 {
        let expected = "vertices and triangles";
        return Err(no_mesh_in(
            vertices,
            expected,
            "one array".into(),
            "name the file of the triangles with `faces = …`",
        ));
    }
    let flat = (0..3).filter(|axis| points.chunks_exact(3).all(|p| p[*axis] == points[*axis])).count();
    if flat > 1 {
        return Err(no_mesh(vertices, "vertices", "vertices on one line or in one point".into()));
    }
    let (m, corners) = three_columns(faces_in, "faces", &["faces", "triangles", "triangle"], MAX_FACES)?;
    if m == 0 {
        return Err(no_mesh(faces_in, "faces", "none".into()));
    }
    let highest = corners.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lowest = corners.iter().copied().fold(f64::INFINITY, f64::min);
    if let Some(at) = corners.iter().position(|&c| !(c >= 0.0 && c < n as f64 && c.fract() == 0.0)) {
        let hint = if lowest >= 1.0 && highest == n as f64 {
            "these count from 1: subtract 1"
        } else {
            "check that vertices and faces belong to the same mesh"
        };
        return Err(IoError::new(
            IoErrorKind::WrongFormat,
            faces_in,
            format!("face {}", at / 3),
            format!("whole numbers from 0 to {}", n - 1),
            format!("{}", corners[at]),
            hint,
        ));
    }
    Ok(Mesh {
        vertices: points.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect(),
        faces: corners.chunks_exact(3).map(|c| [c[0] as u32, c[1] as u32, c[2] as u32]).collect(),
    })
}

fn no_mesh(path: &Path, what: &str, found: String) -> IoError {
    let hint = "check that this is the right file";
    IoError::shape(path, what, "at least one triangle in space", found, hint)
}

fn no_mesh_in(path: &Path, expected: &str, found: String, hint: &str) -> IoError {
    IoError::shape(path, "mesh", expected, found, hint)
}

/// The key of the array that is meant, where a file has names for its arrays.
fn key_of(path: &Path, names: &[&str]) -> Result<Option<String>> {
    match FileFormat::of(path)? {
        FileFormat::Npy | FileFormat::Csv => Ok(None),
        _ => {
            let there = keys(path)?;
            match names.iter().find(|n| there.iter().any(|k| k == *n)) {
                Some(name) => Ok(Some((*name).to_owned())),
                None if there.len() == 1 => Ok(None),
                None => Err(IoError::new(
                    IoErrorKind::NoSuchKey,
                    path,
                    "array",
                    format!("one array, or one named `{}`", names[0]),
                    format!("{} arrays: {}", there.len(), crate::names::list(&there)),
                    format!("save the array as `{}`, or by itself in a file of its own", names[0]),
                )),
            }
        }
    }
}

/// An array of three columns, row by row.
fn three_columns(path: &Path, what: &str, names: &[&str], most: usize) -> Result<(usize, Vec<f64>)> {
    let array = ArrayFile::open(path, key_of(path, names)?.as_deref())?;
    let shape = array.shape();
    if shape.len() != 2 || shape[1] != 3 {
        let hint = "give one row per vertex (x, y, z) or triangle (three vertex numbers)";
        return Err(IoError::shape(path, what, "an array n × 3", show_shape(shape), hint));
    }
    if shape[0] > most {
        return Err(IoError::new(
            IoErrorKind::TooLarge,
            path,
            what,
            format!("at most {most}"),
            format!("{}", shape[0]),
            "use a coarser mesh, such as fsaverage5 or fs_LR 32k; a map by region needs no finer one",
        ));
    }
    Ok((shape[0], array.read_all()?))
}

/// Read which region each of `n_vertices` vertices belongs to.
///
/// Text: names of regions. Whole numbers: 0 and −1 belong to none, k is the k-th region. A GIFTI label
/// file or FreeSurfer annotation gives the names of its table. Empty names, `unknown`, `???`,
/// `background` and the medial wall belong to none.
///
/// # Errors
/// Another number of labels than of vertices, numbers that are not whole or are negative, a label whose
/// number is not in the table of the file.
pub fn read_vertex_labels(path: &Path, n_vertices: usize) -> Result<VertexLabels> {
    let key = match FileFormat::of(path)? {
        FileFormat::Csv => {
            let there = keys(path)?;
            ["roi", "label"].iter().find(|n| there.iter().any(|k| k == *n)).map(|n| (*n).to_owned())
        }
        _ => key_of(path, &["labels", "label", "rois", "roi"])?,
    };
    let key = key.as_deref();
    let texts = match label_names(path, key)? {
        Some(names) => Some(names),
        None => match read_texts(path, key) {
            // CSV has no types: a column of numbers is one of numbers.
            Ok(texts) if texts.iter().all(|t| t.parse::<f64>().is_ok()) => None,
            Ok(texts) => Some(texts),
            Err(error) if error.kind == IoErrorKind::Dtype => None,
            Err(error) => return Err(error),
        },
    };
    let labels = match texts {
        Some(texts) => VertexLabels::Names(texts.into_iter().map(|t| Some(t).filter(|t| !none(t))).collect()),
        None => VertexLabels::Numbers(numbers(path, key)?),
    };
    if labels.len() != n_vertices {
        return Err(IoError::shape(
            path,
            "labels",
            format!("{n_vertices} labels, one per vertex"),
            format!("{}", labels.len()),
            "labels must be those of this mesh and hemisphere; in a CSV an empty line is no row: write `unknown`",
        ));
    }
    Ok(labels)
}

fn numbers(path: &Path, key: Option<&str>) -> Result<Vec<Option<usize>>> {
    let array = ArrayFile::open(path, key)?;
    if array.shape().iter().filter(|&&n| n != 1).count() > 1 {
        return Err(IoError::shape(
            path,
            "labels",
            "one axis",
            show_shape(array.shape()),
            "give one label per vertex",
        ));
    }
    let values = array.read_all()?;
    if let Some(at) = values.iter().position(|x| !(*x >= -1.0 && *x < 1e9 && x.fract() == 0.0)) {
        return Err(IoError::dtype(
            path,
            "labels",
            "names, or whole numbers counted from 1 with 0 for no region",
            &format!("{} at vertex {at}", values[at]),
        ));
    }
    Ok(values.iter().map(|&x| (x >= 1.0).then_some(x as usize)).collect())
}

/// Whether a name stands for no region.
fn none(name: &str) -> bool {
    let plain = name.to_lowercase().replace([' ', '-'], "_");
    is_undefined(name)
        || matches!(plain.as_str(), "0" | "???" | "unknown" | "background" | "corpuscallosum")
        || plain.contains("medial_wall")
}
