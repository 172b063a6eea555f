//! Open one named array of a file and read its rows, without loading it.
//!
//! Formats are told apart by their first bytes, CSV by its ending. Uncompressed data are read at their
//! place (never mapped into memory, where pages would count as ours); deflated members of `.npz` are
//! unpacked forwards. Whatever the order at rest, rows come out row after row with the last axis
//! fastest. Memory: a few MB whatever the file's size, except CSV, which is parsed whole.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stereotax_base::data::Precision;

use crate::activation_store::IDS_KEY;
use crate::cifti;
use crate::delimited::Delimited;
use crate::element::{Element, Endian};
use crate::error::{IoError, IoErrorKind, Result};
use crate::freesurfer;
use crate::gifti::{self, NamedArray, NamedArrays};
use crate::hdf5::{self, Hdf5Info, Hdf5Kind, Hdf5Reader};
use crate::nifti::{self, VolumeFile};
use crate::npy::{NpyHeader, NpyType, decode_text, show_shape, total_bytes};
use crate::npz::{self, DeflatedMember, Member, Packing};
use crate::positioned::PositionedFile;
use crate::tensors::{self, Tensor};
use crate::zarr::{self, ZarrArray, is_zarr};

/// Bytes read at once.
const BLOCK: usize = 1 << 20;
/// Text arrays are ids and labels; a larger one is a mistake.
const MAX_TEXT_BYTES: u64 = 1 << 30;

/// The formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// One NumPy array.
    Npy,
    /// An archive of NumPy arrays.
    Npz,
    /// Named tensors.
    Safetensors,
    /// HDF5, with NWB and MATLAB 7.3.
    Hdf5,
    /// Comma-separated text with a header.
    Csv,
    /// GIFTI surfaces, labels and data.
    Gifti,
    /// A FreeSurfer surface of triangles.
    FreeSurfer,
    /// A FreeSurfer annotation.
    Annotation,
    /// NIfTI volumes, plain or gzipped.
    Nifti,
    /// CIFTI-2 series, scalars and labels.
    Cifti,
    /// A Zarr folder.
    Zarr,
}

impl FileFormat {
    /// Tell the format by the file's first bytes; only CSV and safetensors need the name's ending.
    pub fn of(path: &Path) -> Result<FileFormat> {
        if is_zarr(path) {
            return Ok(FileFormat::Zarr);
        }
        let file = PositionedFile::open(path)?;
        format_of(&file)
    }
}

fn format_of(file: &PositionedFile) -> Result<FileFormat> {
    let path = file.path();
    let head = file.head(16)?;
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if head.is_empty() {
        return Err(IoError::truncated(path, "file", "at least a header", "an empty file"));
    }
    if head.starts_with(b"\x93NUMPY") {
        return Ok(FileFormat::Npy);
    }
    if npz::is_zip(&head) {
        return Ok(FileFormat::Npz);
    }
    if head.starts_with(b"\x89HDF\r\n\x1a\n") {
        return Ok(FileFormat::Hdf5);
    }
    if head.starts_with(&freesurfer::TRIANGLES) {
        return Ok(FileFormat::FreeSurfer);
    }
    if nifti::is_nifti(file) {
        return Ok(if cifti::is_cifti(file) { FileFormat::Cifti } else { FileFormat::Nifti });
    }
    match ending.as_str() {
        "gii" => Ok(FileFormat::Gifti),
        "annot" => Ok(FileFormat::Annotation),
        "safetensors" => Ok(FileFormat::Safetensors),
        "csv" | "tsv" => Ok(FileFormat::Csv),
        // MATLAB 7.3 and NWB files may begin with a block of the user's own.
        "h5" | "hdf5" | "nwb" | "mat" if hdf5_pure::is_hdf5(path).unwrap_or(false) => Ok(FileFormat::Hdf5),
        "npy" | "npz" | "h5" | "hdf5" | "nwb" | "mat" | "nii" | "gz" => Err(IoError::wrong_format(
            path,
            "file",
            format!("the bytes of a .{ending} file"),
            "other bytes at its start",
        )),
        _ => Err(IoError::wrong_format(
            path,
            "file",
            ".npy, .npz, .safetensors, .zarr, HDF5, .csv, .nii, .gii, .annot or a FreeSurfer surface",
            "none of these by its first bytes and its ending",
        )),
    }
}

/// One array of numbers in a file, readable by ranges of rows (its first axis) from any thread.
#[derive(Debug)]
pub struct ArrayFile {
    path: PathBuf,
    key: Option<String>,
    shape: Vec<usize>,
    element: Element,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// Bytes in the file, at their place.
    Stored { file: Arc<PositionedFile>, offset: u64, endian: Endian, fortran: bool },
    /// Bytes in a deflated member, behind a header of so many bytes.
    Deflated { member: DeflatedMember, offset: u64, endian: Endian, fortran: bool },
    /// A dataset.
    Hdf5 { reader: Box<dyn Hdf5Reader>, key: String, endian: Endian },
    /// Volumes, one per row.
    Volumes(VolumeFile),
    /// Chunks in a folder.
    Zarr(ZarrArray),
    /// Parsed text.
    Memory(Vec<f64>),
}

impl ArrayFile {
    /// Open the array `key` of a file; without a key the file must hold exactly one array.
    ///
    /// Nothing but headers is read (CSV: all of it). For `.npy` a key is refused. For CSV a key names
    /// one column; without one all columns must be numbers.
    pub fn open(path: &Path, key: Option<&str>) -> Result<ArrayFile> {
        if is_zarr(path) {
            return Self::open_zarr(path, key);
        }
        let file = Arc::new(PositionedFile::open(path)?);
        match format_of(&file)? {
            FileFormat::Npy => Self::open_npy(file, key),
            FileFormat::Npz => Self::open_npz(file, key),
            FileFormat::Safetensors => Self::open_safetensors(file, key),
            FileFormat::Hdf5 => Self::open_hdf5(path, key),
            FileFormat::Csv => Self::open_csv(path, key),
            FileFormat::Gifti | FileFormat::FreeSurfer | FileFormat::Annotation => {
                Self::open_surface(&file, key)
            }
            FileFormat::Nifti => Self::open_volumes(path, key),
            FileFormat::Cifti => Self::open_cifti(file, key),
            FileFormat::Zarr => Self::open_zarr(path, key),
        }
    }

    /// Lengths of the axes; the first is that of the rows.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Rows: the length of the first axis (1 for a single number).
    pub fn n_rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Numbers per row: the product of the other axes.
    pub fn row_len(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// To which precision the stored numbers can be trusted.
    pub fn precision(&self) -> Precision {
        self.element.precision()
    }

    /// How one number is stored.
    pub fn element(&self) -> Element {
        self.element
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The array's name in the file, where the format has names.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Whether going back to an earlier row means unpacking from the start.
    pub fn is_sequential(&self) -> bool {
        match &self.body {
            Body::Deflated { .. } => true,
            Body::Volumes(volumes) => volumes.is_gzipped(),
            _ => false,
        }
    }

    /// Write rows `rows` into `out` (`rows.len() × row_len`), each with its last axis fastest.
    pub fn read_rows(&self, rows: Range<usize>, out: &mut [f64]) -> Result<()> {
        let count = rows.end.saturating_sub(rows.start);
        if rows.end > self.n_rows() || out.len() != count * self.row_len() {
            return Err(IoError::shape(
                &self.path,
                &self.what(),
                format!(
                    "rows within 0..{} and room for their {} numbers each",
                    self.n_rows(),
                    self.row_len()
                ),
                format!("rows {}..{} and room for {} numbers", rows.start, rows.end, out.len()),
                "ask for rows that the array has",
            ));
        }
        if out.is_empty() {
            return Ok(());
        }
        match &self.body {
            Body::Volumes(volumes) => {
                let width = self.row_len();
                volumes.volumes(rows.clone(), |at, values| {
                    out[(at - rows.start) * width..][..width].copy_from_slice(values);
                    Ok(())
                })
            }
            Body::Zarr(array) => array.read_rows(rows, out),
            Body::Memory(values) => {
                let width = self.row_len();
                out.copy_from_slice(&values[rows.start * width..rows.end * width]);
                Ok(())
            }
            Body::Hdf5 { reader, key, endian } => self.read_hdf5(reader.as_ref(), key, *endian, rows, out),
            Body::Stored { file, offset, endian, fortran } => {
                let read = |at: u64, buffer: &mut [u8]| file.read_exact_at(&self.what(), offset + at, buffer);
                if *fortran && self.shape.len() > 1 {
                    self.read_columns(read, *endian, rows, out)
                } else {
                    self.read_in_order(read, *endian, rows, out)
                }
            }
            Body::Deflated { member, offset, endian, fortran } => {
                if *fortran && self.shape.len() > 1 {
                    self.unpack_columns(member, *offset, *endian, rows, out)
                } else {
                    let read =
                        |at: u64, buffer: &mut [u8]| member.read_exact_at(&self.what(), offset + at, buffer);
                    self.read_in_order(read, *endian, rows, out)
                }
            }
        }
    }

    /// The whole array, rows one after the other. Memory: 8 bytes per number.
    pub fn read_all(&self) -> Result<Vec<f64>> {
        let mut out = vec![0.0; self.n_rows() * self.row_len()];
        self.read_rows(0..self.n_rows(), &mut out)?;
        Ok(out)
    }

    fn what(&self) -> String {
        self.key.as_ref().map_or_else(|| "array".to_owned(), |k| format!("array `{k}`"))
    }

    // --- opening ---

    fn open_npy(file: Arc<PositionedFile>, key: Option<&str>) -> Result<ArrayFile> {
        no_key(file.path(), key, ".npy")?;
        let header = NpyHeader::read(file.path(), "array", |at, b| file.read_exact_at("array", at, b))?;
        let (element, endian) = numbers(file.path(), "array", &header.kind)?;
        let needed = header.data_bytes(file.path(), "array")?;
        let there = file.len().saturating_sub(header.data_offset);
        if there < needed {
            return Err(IoError::truncated(
                file.path(),
                "array",
                format!("{needed} bytes of data for shape {}", show_shape(&header.shape)),
                format!("{there}"),
            ));
        }
        Ok(ArrayFile {
            path: file.path().to_owned(),
            key: None,
            shape: header.shape,
            element,
            body: Body::Stored { offset: header.data_offset, file, endian, fortran: header.fortran },
        })
    }

    fn open_npz(file: Arc<PositionedFile>, key: Option<&str>) -> Result<ArrayFile> {
        let members = npz::members(&file)?;
        let member = match key {
            Some(key) => npz::find(file.path(), members, key)?,
            None => {
                let keys: Vec<String> = members.iter().map(|m| m.key.clone()).collect();
                only(file.path(), members, &keys)?
            }
        };
        let what = format!("array `{}`", member.key);
        let opened = OpenMember::open(&file, &member)?;
        let (element, endian) = numbers(file.path(), &what, &opened.header.kind)?;
        let offset = opened.header.data_offset;
        let fortran = opened.header.fortran;
        let body = match opened.deflated {
            Some(member) => Body::Deflated { member, offset, endian, fortran },
            None => Body::Stored { file: file.clone(), offset: member.start + offset, endian, fortran },
        };
        Ok(ArrayFile {
            path: file.path().to_owned(),
            key: Some(member.key),
            shape: opened.header.shape,
            element,
            body,
        })
    }

    fn open_safetensors(file: Arc<PositionedFile>, key: Option<&str>) -> Result<ArrayFile> {
        let path = file.path().to_owned();
        let tensors = tensors::tensors(&file)?;
        let keys: Vec<String> = tensors.iter().map(|t| t.key.clone()).collect();
        let tensor: Tensor = match key {
            Some(key) => tensors
                .into_iter()
                .find(|t| t.key == key)
                .ok_or_else(|| IoError::no_such_key(&path, "array", key, &keys))?,
            None => only(&path, tensors, &keys)?,
        };
        let what = format!("array `{}`", tensor.key);
        let element = tensor.element().ok_or_else(|| {
            IoError::dtype(&path, &what, "F16, BF16, F32, F64, I*, U* or BOOL", &tensor.dtype)
        })?;
        Ok(ArrayFile {
            path,
            key: Some(tensor.key),
            shape: tensor.shape,
            element,
            body: Body::Stored { file, offset: tensor.offset, endian: Endian::Little, fortran: false },
        })
    }

    fn open_hdf5(path: &Path, key: Option<&str>) -> Result<ArrayFile> {
        let reader = hdf5::open(path)?;
        let key = match key {
            Some(key) => key.to_owned(),
            None => {
                let keys = reader.keys()?;
                only(path, keys.clone(), &keys)?
            }
        };
        let Hdf5Info { key, shape, kind, .. } = reader.describe(&key)?;
        let what = format!("array `{key}`");
        match kind {
            Hdf5Kind::Number(element, endian) => Ok(ArrayFile {
                path: path.to_owned(),
                key: Some(key.clone()),
                shape,
                element,
                body: Body::Hdf5 { reader, key, endian },
            }),
            Hdf5Kind::Text => Err(IoError::dtype(path, &what, "numbers", "text")),
            Hdf5Kind::Other(name) => Err(IoError::dtype(path, &what, "numbers", &name)),
        }
    }

    fn open_zarr(path: &Path, key: Option<&str>) -> Result<ArrayFile> {
        let key = match key {
            Some(key) => key.to_owned(),
            None => {
                let keys = zarr::keys(path)?;
                only(path, keys.clone(), &keys)?
            }
        };
        let array = ZarrArray::open(path, &key)?;
        Ok(ArrayFile {
            path: path.to_owned(),
            key: Some(key).filter(|key| !key.is_empty()),
            shape: array.shape.clone(),
            element: array.element,
            body: Body::Zarr(array),
        })
    }

    fn open_csv(path: &Path, key: Option<&str>) -> Result<ArrayFile> {
        let table = Delimited::read(path)?;
        let (shape, values) = match key {
            Some(key) => {
                let column = table.numbers(key)?;
                (vec![column.len()], column)
            }
            None => {
                let matrix = table.matrix()?;
                (vec![table.n_rows(), table.names().len()], matrix)
            }
        };
        Ok(ArrayFile {
            path: path.to_owned(),
            key: key.map(str::to_owned),
            shape,
            element: Element::F64,
            body: Body::Memory(values),
        })
    }

    /// Maps or volumes × places: the first axis is the faster one in the file.
    fn open_cifti(file: Arc<PositionedFile>, key: Option<&str>) -> Result<ArrayFile> {
        no_key(file.path(), key, "CIFTI")?;
        let found = cifti::open(&file)?;
        let (element, endian) =
            (found.element.unwrap_or(Element::F32), found.endian.unwrap_or(Endian::Little));
        Ok(ArrayFile {
            path: file.path().to_owned(),
            key: None,
            shape: vec![found.n_maps, found.n_places],
            element,
            body: Body::Stored { offset: found.offset, file, endian, fortran: true },
        })
    }

    fn open_surface(file: &PositionedFile, key: Option<&str>) -> Result<ArrayFile> {
        let found = surface_arrays(file)?;
        let array = match series(&found) {
            Some(series) if key.is_none() => series,
            _ => one_of_surface(file, found, key)?,
        };
        Ok(ArrayFile {
            path: file.path().to_owned(),
            key: Some(array.key),
            shape: array.shape,
            element: array.element,
            body: Body::Memory(array.values),
        })
    }

    /// Volumes as rows: volumes × k × j × i.
    fn open_volumes(path: &Path, key: Option<&str>) -> Result<ArrayFile> {
        no_key(path, key, "NIfTI")?;
        let volumes = VolumeFile::open(path)?;
        let [i, j, k] = volumes.grid.shape;
        Ok(ArrayFile {
            path: path.to_owned(),
            key: None,
            shape: vec![volumes.n_volumes, k, j, i],
            element: volumes.element,
            body: Body::Volumes(volumes),
        })
    }

    // --- reading ---

    /// Rows that lie one after the other: read blocks and decode them in place.
    fn read_in_order(
        &self,
        read: impl Fn(u64, &mut [u8]) -> Result<()>,
        endian: Endian,
        rows: Range<usize>,
        out: &mut [f64],
    ) -> Result<()> {
        let size = self.element.bytes();
        let mut at = (rows.start as u64) * (self.row_len() as u64) * size as u64;
        let per_block = BLOCK / size;
        let mut bytes = vec![0u8; out.len().min(per_block) * size];
        for part in out.chunks_mut(per_block) {
            let buffer = &mut bytes[..part.len() * size];
            read(at, buffer)?;
            self.element.decode(endian, buffer, part);
            at += buffer.len() as u64;
        }
        Ok(())
    }

    /// Fortran order: column after column, of each the wanted stretch. Where the stretch is a good part
    /// of the column, several columns are read at once.
    fn read_columns(
        &self,
        read: impl Fn(u64, &mut [u8]) -> Result<()>,
        endian: Endian,
        rows: Range<usize>,
        out: &mut [f64],
    ) -> Result<()> {
        let (n_rows, width, size) = (self.n_rows(), self.row_len(), self.element.bytes());
        let count = rows.len();
        let column_bytes = n_rows * size;
        let together = if count * 8 >= n_rows { (BLOCK / column_bytes.max(1)).clamp(1, width) } else { 1 };
        if together > 1 {
            let mut bytes = vec![0u8; together * column_bytes];
            let mut values = vec![0.0; together * n_rows];
            for first in (0..width).step_by(together) {
                let n = together.min(width - first);
                let buffer = &mut bytes[..n * column_bytes];
                read((first * column_bytes) as u64, buffer)?;
                self.element.decode(endian, buffer, &mut values[..n * n_rows]);
                for c in 0..n {
                    let target = self.row_place(first + c);
                    for r in 0..count {
                        out[r * width + target] = values[c * n_rows + rows.start + r];
                    }
                }
            }
            return Ok(());
        }
        let per_block = (BLOCK / size).min(count);
        let mut bytes = vec![0u8; per_block * size];
        let mut values = vec![0.0; per_block];
        for column in 0..width {
            let target = self.row_place(column);
            for start in (0..count).step_by(per_block) {
                let n = per_block.min(count - start);
                let at = (column as u64 * n_rows as u64 + (rows.start + start) as u64) * size as u64;
                read(at, &mut bytes[..n * size])?;
                self.element.decode(endian, &bytes[..n * size], &mut values[..n]);
                for r in 0..n {
                    out[(start + r) * width + target] = values[r];
                }
            }
        }
        Ok(())
    }

    /// Fortran order in a deflated member: one pass over the whole member, keeping the wanted rows.
    fn unpack_columns(
        &self,
        member: &DeflatedMember,
        offset: u64,
        endian: Endian,
        rows: Range<usize>,
        out: &mut [f64],
    ) -> Result<()> {
        let (n_rows, width, size) = (self.n_rows(), self.row_len(), self.element.bytes());
        let count = rows.len();
        let stretches: Vec<(u64, usize)> = (0..width as u64)
            .map(|c| (offset + (c * n_rows as u64 + rows.start as u64) * size as u64, count * size))
            .collect();
        // Pieces end on multiples of 64 kB of a stretch that begins on an element, so no element is cut.
        let mut values = Vec::new();
        member.visit(&self.what(), &stretches, |column, bytes, at| {
            let target = self.row_place(column);
            values.resize(bytes.len() / size, 0.0);
            self.element.decode(endian, bytes, &mut values);
            for (i, value) in values.iter().enumerate() {
                out[(at / size + i) * width + target] = *value;
            }
        })
    }

    /// Where within a row (last axis fastest) the Fortran-ordered column number `column` stands.
    fn row_place(&self, mut column: usize) -> usize {
        let axes = &self.shape[1..];
        let mut step: usize = axes.iter().product();
        let mut place = 0;
        for &n in axes {
            step /= n.max(1);
            place += (column % n) * step;
            column /= n;
        }
        place
    }

    fn read_hdf5(
        &self,
        reader: &dyn Hdf5Reader,
        key: &str,
        endian: Endian,
        rows: Range<usize>,
        out: &mut [f64],
    ) -> Result<()> {
        let (width, size) = (self.row_len(), self.element.bytes());
        let per_block = (4 * BLOCK / (width * size)).max(1);
        let mut start = rows.start;
        for part in out.chunks_mut(per_block * width) {
            let n = part.len() / width;
            let bytes = reader.rows(key, start, n)?;
            if bytes.len() != part.len() * size {
                return Err(IoError::truncated(
                    &self.path,
                    &self.what(),
                    format!("{} bytes for {n} rows", part.len() * size),
                    format!("{}", bytes.len()),
                ));
            }
            self.element.decode(endian, &bytes, part);
            start += n;
        }
        Ok(())
    }
}

/// Everything in a GIFTI or FreeSurfer file.
fn surface_arrays(file: &PositionedFile) -> Result<NamedArrays> {
    match format_of(file)? {
        FileFormat::FreeSurfer => freesurfer::surface(file),
        FileFormat::Annotation => freesurfer::annotation(file),
        _ => gifti::read(file),
    }
}

/// The maps of a data file (`.func.gii`) as maps × vertices, where it holds several of one length and nothing else.
fn series(found: &NamedArrays) -> Option<NamedArray> {
    let first = found.arrays.first()?;
    let is_map = |array: &NamedArray| {
        let kind = array.key.split('_').next().unwrap_or_default();
        array.shape.len() == 1
            && array.shape == first.shape
            && !matches!(kind, "pointset" | "triangle" | "label")
    };
    if found.arrays.len() < 2 || !found.arrays.iter().all(is_map) {
        return None;
    }
    let element = found.arrays.iter().map(|a| a.element).max_by_key(|e| e.bytes()).unwrap_or(first.element);
    Some(NamedArray {
        key: "series".to_owned(),
        shape: vec![found.arrays.len(), first.shape[0]],
        element,
        values: found.arrays.iter().flat_map(|a| a.values.iter().copied()).collect(),
    })
}

fn one_of_surface(file: &PositionedFile, found: NamedArrays, key: Option<&str>) -> Result<NamedArray> {
    let keys: Vec<String> = found.arrays.iter().map(|a| a.key.clone()).collect();
    match key {
        Some(key) => found
            .arrays
            .into_iter()
            .find(|a| a.key == key)
            .ok_or_else(|| IoError::no_such_key(file.path(), "array", key, &keys)),
        None => only(file.path(), found.arrays, &keys),
    }
}

/// The names of the labels in a file that brings a table of them, entry by entry; `None` for formats and
/// files without one. Numbers 0 and −1 need no name.
pub(crate) fn label_names(path: &Path, key: Option<&str>) -> Result<Option<Vec<String>>> {
    let file = PositionedFile::open(path)?;
    if !matches!(format_of(&file)?, FileFormat::Gifti | FileFormat::Annotation) {
        return Ok(None);
    }
    let mut found = surface_arrays(&file)?;
    if found.labels.is_empty() {
        return Ok(None);
    }
    let names: std::collections::HashMap<i64, String> = found.labels.drain(..).collect();
    let array = one_of_surface(&file, found, key)?;
    let what = format!("array `{}`", array.key);
    one_axis(path, &what, &array.shape)?;
    let name = |(vertex, &number): (usize, &f64)| match names.get(&(number as i64)) {
        Some(name) if number.fract() == 0.0 => Ok(name.clone()),
        None if number == 0.0 || number == -1.0 => Ok(String::new()),
        _ => Err(IoError::wrong_format(
            path,
            &what,
            "labels that the file's table names",
            format!("{number} at vertex {vertex}"),
        )),
    };
    array.values.iter().enumerate().map(name).collect::<Result<Vec<_>>>().map(Some)
}

/// A member of an archive with its header read and its sizes checked.
struct OpenMember {
    header: NpyHeader,
    deflated: Option<DeflatedMember>,
}

impl OpenMember {
    fn open(file: &Arc<PositionedFile>, member: &Member) -> Result<OpenMember> {
        let path = file.path();
        let what = format!("array `{}`", member.key);
        let deflated = match member.packing {
            Packing::Deflated => Some(DeflatedMember::new(file.clone(), member.clone())),
            Packing::Stored => None,
        };
        let header = NpyHeader::read(path, &what, |at, buffer| {
            if at + buffer.len() as u64 > member.unpacked {
                return Err(IoError::truncated(
                    path,
                    &what,
                    "a NumPy header",
                    format!("a member of {} bytes", member.unpacked),
                ));
            }
            match &deflated {
                Some(d) => d.read_exact_at(&what, at, buffer),
                None => file.read_exact_at(&what, member.start + at, buffer),
            }
        })?;
        if header.kind != NpyType::Object {
            let needed = header.data_bytes(path, &what)?;
            let there = member.unpacked - header.data_offset;
            if there < needed {
                return Err(IoError::truncated(
                    path,
                    &what,
                    format!("{needed} bytes of data for shape {}", show_shape(&header.shape)),
                    format!("{there}"),
                ));
            }
        }
        Ok(OpenMember { header, deflated })
    }
}

fn numbers(path: &Path, what: &str, kind: &NpyType) -> Result<(Element, Endian)> {
    match kind {
        NpyType::Number(element, endian) => Ok((*element, *endian)),
        NpyType::Object => Err(IoError::object_array(path, what)),
        other => Err(IoError::dtype(path, what, "numbers", &other.name())),
    }
}

/// Refuse a key where the format has no names.
fn no_key(path: &Path, key: Option<&str>, format: &str) -> Result<()> {
    let Some(key) = key else { return Ok(()) };
    Err(IoError::new(
        IoErrorKind::NoSuchKey,
        path,
        format!("array `{key}`"),
        format!("no key, since a {format} file holds one array without a name"),
        format!("key `{key}`"),
        "leave the key away",
    ))
}

/// The only entry of a file, or an error that lists what there is.
fn only<T>(path: &Path, entries: Vec<T>, keys: &[String]) -> Result<T> {
    let n = entries.len();
    let mut entries = entries.into_iter();
    match (entries.next(), n) {
        (Some(entry), 1) => Ok(entry),
        _ => {
            let mut error = IoError::new(
                IoErrorKind::NoSuchKey,
                path,
                "array",
                "a key, or a file with exactly one array",
                if n == 0 {
                    "no array".to_owned()
                } else {
                    format!("{n} arrays: {}", crate::names::list(keys))
                },
                if n == 0 { "check that this is the right file" } else { "say which array is meant" },
            );
            error.details.keys = keys.to_vec();
            Err(error)
        }
    }
}

// --- text ---

/// Read an array of text (labels, ids), entry by entry: NumPy `<U` and `S` in `.npy` and `.npz`, HDF5
/// strings, a CSV column, a JSON list in the metadata of safetensors. Only arrays with one axis longer than 1 are
/// accepted.
pub fn read_texts(path: &Path, key: Option<&str>) -> Result<Vec<String>> {
    if is_zarr(path) {
        return zarr_texts(path, key);
    }
    let file = Arc::new(PositionedFile::open(path)?);
    match format_of(&file)? {
        FileFormat::Npy => {
            let header = NpyHeader::read(path, "array", |at, b| file.read_exact_at("array", at, b))?;
            let there = file.len().saturating_sub(header.data_offset);
            npy_texts(path, "array", &header, there, |at, b| file.read_exact_at("array", at, b))
        }
        FileFormat::Npz => {
            let members = npz::members(&file)?;
            let member = match key {
                Some(key) => npz::find(path, members, key)?,
                None => {
                    let keys: Vec<String> = members.iter().map(|m| m.key.clone()).collect();
                    only(path, members, &keys)?
                }
            };
            let what = format!("array `{}`", member.key);
            let opened = OpenMember::open(&file, &member)?;
            let there = member.unpacked - opened.header.data_offset;
            npy_texts(path, &what, &opened.header, there, |at, b| match &opened.deflated {
                Some(d) => d.read_exact_at(&what, at, b),
                None => file.read_exact_at(&what, member.start + at, b),
            })
        }
        FileFormat::Hdf5 => {
            let reader = hdf5::open(path)?;
            let key = match key {
                Some(key) => key.to_owned(),
                None => {
                    let keys = reader.keys()?;
                    only(path, keys.clone(), &keys)?
                }
            };
            let info = reader.describe(&key)?;
            one_axis(path, &format!("array `{key}`"), &info.shape)?;
            reader.texts(&key)
        }
        FileFormat::Csv => {
            let table = Delimited::read(path)?;
            match key {
                Some(key) => table.texts(key),
                None => {
                    let names = table.names().to_vec();
                    table.texts(&only(path, names.clone(), &names)?)
                }
            }
        }
        FileFormat::Safetensors => tensors::texts(&file, key.unwrap_or(IDS_KEY)),
        FileFormat::Nifti => Err(IoError::dtype(path, "array", "text", "volumes, which hold no text")),
        FileFormat::Cifti => cifti::open(&file)?.names(&file),
        FileFormat::Zarr => zarr_texts(path, key),
        FileFormat::Gifti | FileFormat::FreeSurfer | FileFormat::Annotation => {
            let names = label_names(path, key)?;
            names.ok_or_else(|| IoError::dtype(path, "array", "text", "numbers without a table of names"))
        }
    }
}

fn zarr_texts(path: &Path, key: Option<&str>) -> Result<Vec<String>> {
    let key = key.unwrap_or(IDS_KEY);
    let found = zarr::texts(path, key)?;
    found.ok_or_else(|| IoError::dtype(path, &format!("attribute `{key}`"), "a list of texts", "none"))
}

/// The ids of the rows, where the file itself says them: an array or a list `stimulus_id` beside the numbers, or in
/// safetensors the name of a CSV in the same folder under `stimulus_ids`.
pub fn own_ids(path: &Path) -> Result<Option<Vec<String>>> {
    if path.is_dir() {
        return if is_zarr(path) { zarr::texts(path, IDS_KEY) } else { Ok(None) };
    }
    let file = PositionedFile::open(path)?;
    let there = match format_of(&file)? {
        FileFormat::Safetensors => {
            let beside = tensors::metadata(&file, "stimulus_ids")?;
            // Never a file of another folder.
            let plain = |name: &String| !name.is_empty() && !name.contains(['/', '\\', ':']) && name != "..";
            if let Some(name) = beside.filter(plain)
                && path.with_file_name(&name).is_file()
            {
                return read_texts(&path.with_file_name(&name), Some(IDS_KEY)).map(Some);
            }
            tensors::metadata(&file, IDS_KEY)?.is_some()
        }
        FileFormat::Npz | FileFormat::Hdf5 => keys(path)?.iter().any(|key| key == IDS_KEY),
        _ => false,
    };
    if there { read_texts(path, Some(IDS_KEY)).map(Some) } else { Ok(None) }
}

fn npy_texts(
    path: &Path,
    what: &str,
    header: &NpyHeader,
    there: u64,
    read: impl FnOnce(u64, &mut [u8]) -> Result<()>,
) -> Result<Vec<String>> {
    let needed = header.data_bytes(path, what)?;
    if !matches!(header.kind, NpyType::Unicode(..) | NpyType::Bytes(_)) {
        return Err(IoError::dtype(path, what, "text", &header.kind.name()));
    }
    let count = one_axis(path, what, &header.shape)?;
    if needed > MAX_TEXT_BYTES || count as u64 > MAX_TEXT_BYTES {
        return Err(IoError::too_large(
            path,
            what,
            format!("at most {MAX_TEXT_BYTES} bytes of text"),
            format!("{needed} bytes in {count} entries"),
        ));
    }
    if there < needed {
        return Err(IoError::truncated(path, what, format!("{needed} bytes of data"), format!("{there}")));
    }
    let mut bytes = vec![0u8; needed as usize];
    read(header.data_offset, &mut bytes)?;
    decode_text(path, what, &header.kind, &bytes, count)
}

/// How many entries; at most one axis may be longer than 1.
fn one_axis(path: &Path, what: &str, shape: &[usize]) -> Result<usize> {
    if shape.iter().filter(|&&n| n != 1).count() > 1 {
        return Err(IoError::shape(path, what, "one axis", show_shape(shape), "give one label per entry"));
    }
    Ok(shape.iter().product())
}

// --- what is in a file ---

/// The names of a file's arrays, in the file's own order; columns for CSV, nothing for `.npy`.
pub fn keys(path: &Path) -> Result<Vec<String>> {
    if is_zarr(path) {
        return zarr::keys(path);
    }
    let file = Arc::new(PositionedFile::open(path)?);
    Ok(match format_of(&file)? {
        FileFormat::Npy | FileFormat::Nifti | FileFormat::Cifti => Vec::new(),
        FileFormat::Npz => npz::members(&file)?.into_iter().map(|m| m.key).collect(),
        FileFormat::Safetensors => tensors::tensors(&file)?.into_iter().map(|t| t.key).collect(),
        FileFormat::Hdf5 => hdf5::open(path)?.keys()?,
        FileFormat::Csv => Delimited::read(path)?.names().to_vec(),
        FileFormat::Zarr => zarr::keys(path)?,
        FileFormat::Gifti | FileFormat::FreeSurfer | FileFormat::Annotation => {
            surface_arrays(&file)?.arrays.into_iter().map(|a| a.key).collect()
        }
    })
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FileInfo {
    /// The file's name without its folder.
    pub file: String,
    /// Its format.
    pub format: FileFormat,
    /// One sentence: what it holds.
    pub what: String,
    /// Units, where the file says: seconds between volumes, sides of voxels.
    pub units: Option<String>,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its arrays, in its own order.
    pub arrays: Vec<ArrayInfo>,
}

/// What an array is, before any of its numbers is read.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ArrayInfo {
    /// Its name, where the format has names.
    pub key: Option<String>,
    /// Lengths of its axes.
    pub shape: Vec<usize>,
    /// Type of its elements, by NumPy's names.
    pub dtype: String,
    /// Bytes of its data, unpacked.
    pub bytes: Option<u64>,
    /// `stored`, `deflated`, `chunked` or `text`.
    pub storage: String,
    /// Why it cannot be read, where it cannot.
    pub problem: Option<String>,
}

/// Describe a file; an array that cannot be read is listed with its problem.
pub fn info(path: &Path) -> Result<FileInfo> {
    if is_zarr(path) {
        return zarr_info(path);
    }
    let file = Arc::new(PositionedFile::open(path)?);
    let format = format_of(&file)?;
    let arrays = match format {
        FileFormat::Npy => {
            let header = NpyHeader::read(path, "array", |at, b| file.read_exact_at("array", at, b))?;
            let there = file.len().saturating_sub(header.data_offset);
            vec![npy_info(path, None, &header, there, "stored")]
        }
        FileFormat::Npz => npz::members(&file)?
            .into_iter()
            .map(|member| {
                let storage = if member.packing == Packing::Stored { "stored" } else { "deflated" };
                match OpenMember::open(&file, &member) {
                    Ok(opened) => {
                        let there = member.unpacked - opened.header.data_offset;
                        npy_info(path, Some(member.key), &opened.header, there, storage)
                    }
                    Err(error) => problem(Some(member.key), storage, &error),
                }
            })
            .collect(),
        FileFormat::Safetensors => tensors::tensors(&file)?
            .into_iter()
            .map(|t| ArrayInfo {
                dtype: t.element().map_or_else(|| t.dtype.clone(), |e| e.name().to_owned()),
                problem: t.element().is_none().then(|| format!("type {} is not read", t.dtype)),
                key: Some(t.key),
                shape: t.shape,
                bytes: Some(t.bytes),
                storage: "stored".to_owned(),
            })
            .collect(),
        FileFormat::Hdf5 => {
            let reader = hdf5::open(path)?;
            reader
                .keys()?
                .into_iter()
                .map(|key| match reader.describe(&key) {
                    Ok(d) => ArrayInfo {
                        key: Some(key),
                        shape: d.shape,
                        dtype: match &d.kind {
                            Hdf5Kind::Number(element, _) => element.name().to_owned(),
                            Hdf5Kind::Text => "text".to_owned(),
                            Hdf5Kind::Other(name) => name.clone(),
                        },
                        problem: matches!(d.kind, Hdf5Kind::Other(_))
                            .then(|| "this type is not read".to_owned()),
                        bytes: Some(d.bytes),
                        storage: if d.chunked { "chunked" } else { "stored" }.to_owned(),
                    },
                    Err(error) => problem(Some(key), "unknown", &error),
                })
                .collect()
        }
        FileFormat::Csv => {
            let table = Delimited::read(path)?;
            table
                .names()
                .iter()
                .map(|name| ArrayInfo {
                    key: Some(name.clone()),
                    shape: vec![table.n_rows()],
                    dtype: if table.numbers(name).is_ok() { "float64" } else { "text" }.to_owned(),
                    bytes: None,
                    storage: "text".to_owned(),
                    problem: None,
                })
                .collect()
        }
        FileFormat::Gifti | FileFormat::FreeSurfer | FileFormat::Annotation => surface_arrays(&file)?
            .arrays
            .into_iter()
            .map(|array| ArrayInfo {
                bytes: Some((array.values.len() * array.element.bytes()) as u64),
                dtype: array.element.name().to_owned(),
                key: Some(array.key),
                shape: array.shape,
                storage: "stored".to_owned(),
                problem: None,
            })
            .collect(),
        FileFormat::Zarr => zarr_info(path)?.arrays,
        FileFormat::Cifti => {
            let array = ArrayFile::open(path, None)?;
            vec![ArrayInfo {
                key: None,
                shape: array.shape.clone(),
                dtype: array.element.name().to_owned(),
                bytes: Some((array.n_rows() * array.row_len() * array.element.bytes()) as u64),
                storage: "stored".to_owned(),
                problem: None,
            }]
        }
        FileFormat::Nifti => {
            let volumes = VolumeFile::open(path)?;
            let [i, j, k] = volumes.grid.shape;
            let numbers = volumes.grid.n_voxels() as u64 * volumes.n_volumes as u64;
            vec![ArrayInfo {
                key: None,
                shape: vec![volumes.n_volumes, k, j, i],
                dtype: volumes.element.name().to_owned(),
                bytes: Some(numbers * volumes.element.bytes() as u64),
                storage: if volumes.is_gzipped() { "deflated" } else { "stored" }.to_owned(),
                problem: None,
            }]
        }
    };
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let (what, units) = sentence(&file, format, &arrays)?;
    Ok(FileInfo { file: name, format, what, units, bytes: file.len(), arrays })
}

/// The arrays of a Zarr folder.
fn zarr_info(path: &Path) -> Result<FileInfo> {
    let arrays: Vec<ArrayInfo> = zarr::keys(path)?
        .into_iter()
        .map(|key| match ZarrArray::open(path, &key) {
            Ok(array) => ArrayInfo {
                bytes: total_bytes(path, "array", &array.shape, array.element.bytes()).ok(),
                dtype: array.element.name().to_owned(),
                shape: array.shape,
                key: Some(key).filter(|key| !key.is_empty()),
                storage: "chunked".to_owned(),
                problem: None,
            },
            Err(error) => problem(Some(key), "chunked", &error),
        })
        .collect();
    let ids = zarr::texts(path, IDS_KEY)?.map_or(0, |ids| ids.len());
    let named = if ids > 0 { format!(", with the ids of {ids} stimuli") } else { String::new() };
    let several = if arrays.len() == 1 { "one array".to_owned() } else { format!("{} arrays", arrays.len()) };
    let bytes =
        zarr::files(path)?.iter().map(|file| std::fs::metadata(file).map_or(0, |about| about.len())).sum();
    let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let what = format!("a Zarr folder with {several}{named}");
    Ok(FileInfo { file, format: FileFormat::Zarr, what, units: None, bytes, arrays })
}

/// What a file holds in one sentence, and its units.
fn sentence(
    file: &Arc<PositionedFile>,
    format: FileFormat,
    arrays: &[ArrayInfo],
) -> Result<(String, Option<String>)> {
    let n = arrays.len();
    let several = |kind: &str| {
        if n == 1 { format!("{kind} with one array") } else { format!("{kind} with {n} arrays") }
    };
    Ok(match format {
        FileFormat::Npy => ("one NumPy array".into(), None),
        FileFormat::Npz => (several("an archive of NumPy arrays"), None),
        FileFormat::Safetensors => {
            let ids = own_ids(file.path())?.map_or(0, |ids| ids.len());
            let named = if ids > 0 { format!(", with the ids of {ids} stimuli") } else { String::new() };
            (format!("{}{named}", several("a safetensors file")), None)
        }
        FileFormat::Hdf5 => (several("an HDF5 file"), None),
        FileFormat::Csv => (format!("a table of {n} columns"), None),
        FileFormat::Zarr => (several("a Zarr folder"), None),
        FileFormat::Gifti => (several("a GIFTI file"), None),
        FileFormat::FreeSurfer => ("a FreeSurfer surface".into(), Some("coordinates in mm".into())),
        FileFormat::Annotation => ("a FreeSurfer annotation: a label per vertex".into(), None),
        FileFormat::Cifti => {
            let found = cifti::open(file)?;
            (found.describe(), found.tr_s.map(|tr| format!("{tr} s between volumes")))
        }
        FileFormat::Nifti => {
            let volumes = VolumeFile::open(file.path())?;
            let side =
                |a: &[[f64; 4]; 3], axis: usize| a.iter().map(|row| row[axis].powi(2)).sum::<f64>().sqrt();
            let mut units = Vec::new();
            match &volumes.grid.affine {
                Some(a) => units.push(format!(
                    "voxels of {:.3} × {:.3} × {:.3} mm",
                    side(a, 0),
                    side(a, 1),
                    side(a, 2)
                )),
                None => units.push("the file does not say where its voxels stand".into()),
            }
            if volumes.n_volumes > 1 {
                units.push(match volumes.tr_s {
                    Some(tr) => format!("{tr} s between volumes"),
                    None => "the file does not say how far volumes are apart".into(),
                });
            }
            let what = if volumes.n_volumes > 1 {
                format!("a NIfTI series of {} volumes", volumes.n_volumes)
            } else {
                "one NIfTI volume".into()
            };
            (what, Some(units.join("; ")))
        }
    })
}

fn npy_info(path: &Path, key: Option<String>, header: &NpyHeader, there: u64, storage: &str) -> ArrayInfo {
    let needed = header.data_bytes(path, "array");
    let problem = match &needed {
        Ok(n) if *n > there => Some(format!("cut short: {n} bytes of data expected, {there} found")),
        Ok(_) => None,
        Err(error) => Some(format!("expected {}, found {}", error.details.expected, error.details.found)),
    };
    ArrayInfo {
        key,
        shape: header.shape.clone(),
        dtype: header.kind.name(),
        bytes: needed.ok(),
        storage: storage.to_owned(),
        problem,
    }
}

fn problem(key: Option<String>, storage: &str, error: &IoError) -> ArrayInfo {
    ArrayInfo {
        key,
        shape: Vec::new(),
        dtype: "unknown".to_owned(),
        bytes: None,
        storage: storage.to_owned(),
        problem: Some(format!("expected {}, found {}", error.details.expected, error.details.found)),
    }
}
