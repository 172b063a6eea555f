//! Read datasets of HDF5 files (also NWB and MATLAB 7.3) through one small trait.
//!
//! The trait keeps the young reader crate behind a door: it can be replaced without touching the rest.
//! What the reader does not know (newer layouts, exotic filters) comes back as a typed error.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use hdf5_pure::{
    ChunkCacheConfig, Datatype, DatatypeByteOrder, FileAccessProperties, Layout, VlenStringReadOptions,
};

use crate::element::{Element, Endian};
use crate::error::{IoError, IoErrorKind, Result};
use crate::npy::{check_shape, total_bytes};

/// Bytes of unpacked chunks kept per dataset.
const CHUNK_CACHE: usize = 16 << 20;
/// A single chunk is unpacked as a whole; a larger one is refused.
const MAX_CHUNK: u64 = 1 << 30;
/// Below this size a sparse dataset cannot hurt.
const RATIO_COUNTS_FROM: u64 = 64 << 20;
/// Bytes promised per byte of file.
const MAX_RATIO: u64 = 400;
/// Groups within groups, and datasets, that are looked at.
const MAX_DEPTH: usize = 32;
const MAX_DATASETS: usize = 100_000;
const MAX_TEXT: usize = 1 << 28;

/// What a dataset holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hdf5Kind {
    Number(Element, Endian),
    Text,
    Other(String),
}

/// A dataset before any of its numbers is read.
#[derive(Debug, Clone)]
pub(crate) struct Hdf5Info {
    pub(crate) key: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) kind: Hdf5Kind,
    pub(crate) bytes: u64,
    pub(crate) chunked: bool,
}

/// What the rest of the crate needs of an HDF5 reader.
pub(crate) trait Hdf5Reader: fmt::Debug + Send + Sync {
    /// Paths of all datasets, without a leading slash, groups in the file's order.
    fn keys(&self) -> Result<Vec<String>>;
    /// Shape and type of one dataset, checked against the file's length.
    fn describe(&self, key: &str) -> Result<Hdf5Info>;
    /// The bytes of rows `start..start + count`, in the file's own byte order.
    fn rows(&self, key: &str, start: usize, count: usize) -> Result<Vec<u8>>;
    /// All entries of a text dataset.
    fn texts(&self, key: &str) -> Result<Vec<String>>;
}

/// Open a file with the reader that is built in.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Hdf5Reader>> {
    let options =
        FileAccessProperties::new().with_chunk_cache(ChunkCacheConfig::new().with_max_bytes(CHUNK_CACHE));
    let file = guarded(path, "file", || hdf5_pure::File::open_streaming_with_options(path, options))?;
    let len = std::fs::metadata(path).map_err(|e| IoError::reading(path, "file", &e))?.len();
    Ok(Box::new(PureReader { path: path.to_owned(), file, len, open: Default::default() }))
}

/// The reader on top of the `hdf5-pure` crate.
struct PureReader {
    path: PathBuf,
    file: hdf5_pure::File,
    len: u64,
    /// The dataset read last, whose chunk cache is worth keeping.
    open: std::sync::Mutex<Option<(String, hdf5_pure::Dataset)>>,
}

impl fmt::Debug for PureReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PureReader").field("path", &self.path).field("len", &self.len).finish_non_exhaustive()
    }
}

impl PureReader {
    fn dataset(&self, key: &str) -> Result<hdf5_pure::Dataset> {
        let key = key.trim_start_matches('/');
        match catch_unwind(AssertUnwindSafe(|| self.file.dataset(key))) {
            Ok(Ok(dataset)) => Ok(dataset),
            Ok(Err(error)) => {
                let keys = self.keys()?;
                if keys.iter().any(|k| k == key) {
                    return Err(unreadable(&self.path, &format!("array `{key}`"), &error.to_string()));
                }
                Err(IoError::no_such_key(&self.path, "array", key, &keys))
            }
            Err(_) => Err(unreadable(&self.path, &format!("array `{key}`"), "a contradiction in the file")),
        }
    }

    fn walk(
        &self,
        group: &hdf5_pure::Group,
        prefix: &str,
        depth: usize,
        keys: &mut Vec<String>,
    ) -> Result<()> {
        if depth > MAX_DEPTH || keys.len() > MAX_DATASETS {
            return Err(IoError::too_large(
                &self.path,
                "groups",
                format!("at most {MAX_DATASETS} datasets in groups {MAX_DEPTH} deep"),
                "more",
            ));
        }
        let what = if prefix.is_empty() { "root group".to_owned() } else { format!("group `{prefix}`") };
        for name in guarded(&self.path, &what, || group.datasets())? {
            keys.push(format!("{prefix}{name}"));
        }
        for name in guarded(&self.path, &what, || group.groups())? {
            let inner = guarded(&self.path, &what, || group.group(&name))?;
            self.walk(&inner, &format!("{prefix}{name}/"), depth + 1, keys)?;
        }
        Ok(())
    }
}

impl Hdf5Reader for PureReader {
    fn keys(&self) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        self.walk(&self.file.root(), "", 0, &mut keys)?;
        Ok(keys)
    }

    fn describe(&self, key: &str) -> Result<Hdf5Info> {
        let dataset = self.dataset(key)?;
        let what = format!("array `{key}`");
        let (shape, datatype, layout) = guarded(&self.path, &what, || {
            Ok::<_, hdf5_pure::Error>((dataset.shape()?, dataset.datatype()?, dataset.layout()?))
        })?;
        let axes: Option<Vec<usize>> = shape.iter().map(|&n| usize::try_from(n).ok()).collect();
        let shape = axes.ok_or_else(|| {
            IoError::too_large(&self.path, &what, "axes that fit into memory addresses", format!("{shape:?}"))
        })?;
        check_shape(&self.path, &what, &shape)?;
        let kind = kind_of(&datatype);
        let size = match &kind {
            Hdf5Kind::Number(element, _) => element.bytes(),
            _ => guarded(&self.path, &what, || dataset.element_size())? as usize,
        };
        let bytes = total_bytes(&self.path, &what, &shape, size)?;
        if let Layout::Contiguous { address: Some(address), .. } = &layout
            && address.checked_add(bytes).is_none_or(|end| end > self.len)
        {
            return Err(IoError::truncated(
                &self.path,
                &what,
                format!("{bytes} bytes from byte {address}"),
                format!("a file of {} bytes", self.len),
            ));
        }
        if bytes > RATIO_COUNTS_FROM && bytes / self.len.max(1) > MAX_RATIO {
            return Err(IoError::too_large(
                &self.path,
                &what,
                format!("at most {MAX_RATIO} bytes per byte of file"),
                format!("{bytes} bytes in a file of {}", self.len),
            ));
        }
        let mut chunked = false;
        if let Layout::Chunked { chunk_shape, .. } = &layout {
            chunked = true;
            let chunk = chunk_shape.iter().try_fold(size as u64, |n, &axis| n.checked_mul(axis));
            if chunk.is_none_or(|n| n > MAX_CHUNK) {
                return Err(IoError::too_large(
                    &self.path,
                    &what,
                    format!("chunks of at most {MAX_CHUNK} bytes"),
                    format!("chunks of shape {chunk_shape:?}"),
                ));
            }
        }
        Ok(Hdf5Info { key: key.trim_start_matches('/').to_owned(), shape, kind, bytes, chunked })
    }

    fn rows(&self, key: &str, start: usize, count: usize) -> Result<Vec<u8>> {
        // Held while reading: the chunk cache belongs to the dataset's handle.
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if open.as_ref().is_none_or(|(k, _)| k != key) {
            *open = Some((key.to_owned(), self.dataset(key)?));
        }
        let Some((_, dataset)) = open.as_ref() else { return Ok(Vec::new()) };
        guarded(&self.path, &format!("array `{key}`"), || dataset.read_raw_rows(start as u64, count as u64))
    }

    fn texts(&self, key: &str) -> Result<Vec<String>> {
        let what = format!("array `{key}`");
        let info = self.describe(key)?;
        if info.kind != Hdf5Kind::Text {
            let found = match &info.kind {
                Hdf5Kind::Number(element, _) => element.name().to_owned(),
                Hdf5Kind::Other(name) => name.clone(),
                Hdf5Kind::Text => "text".to_owned(),
            };
            return Err(IoError::dtype(&self.path, &what, "text", &found));
        }
        let dataset = self.dataset(key)?;
        guarded(&self.path, &what, || match dataset.datatype()? {
            Datatype::VariableLength { .. } => {
                let limits = VlenStringReadOptions::new()
                    .with_max_elements(MAX_TEXT / 16)
                    .with_max_payload_bytes(MAX_TEXT);
                dataset.read_vlen_strings(limits)
            }
            _ => dataset.read_string(),
        })
        .map(|texts| texts.into_iter().map(|t| t.trim_end_matches('\0').to_owned()).collect())
    }
}

/// Which of our elements a file's type is.
fn kind_of(datatype: &Datatype) -> Hdf5Kind {
    let order = |order: &DatatypeByteOrder| match order {
        DatatypeByteOrder::LittleEndian => Some(Endian::Little),
        DatatypeByteOrder::BigEndian => Some(Endian::Big),
        _ => None,
    };
    let number = match datatype {
        Datatype::FloatingPoint { size, byte_order, layout } => {
            let element = match (size, layout.exponent_size) {
                (2, 5) => Some(Element::F16),
                (2, 8) => Some(Element::Bf16),
                (4, 8) => Some(Element::F32),
                (8, 11) => Some(Element::F64),
                _ => None,
            };
            element.zip(order(byte_order))
        }
        Datatype::FixedPoint { size, byte_order, layout } => {
            let full = u32::from(layout.bit_precision) == 8 * size && layout.bit_offset == 0;
            let element = match (size, layout.signed) {
                _ if !full => None,
                (1, true) => Some(Element::I8),
                (2, true) => Some(Element::I16),
                (4, true) => Some(Element::I32),
                (8, true) => Some(Element::I64),
                (1, false) => Some(Element::U8),
                (2, false) => Some(Element::U16),
                (4, false) => Some(Element::U32),
                (8, false) => Some(Element::U64),
                _ => None,
            };
            element.zip(order(byte_order))
        }
        // How h5py writes booleans.
        Datatype::Enumeration { size: 1, members, .. }
            if members.len() == 2 && members.iter().any(|m| m.name == "TRUE") =>
        {
            Some((Element::Bool, Endian::Little))
        }
        _ => None,
    };
    match (number, datatype) {
        (Some((element, endian)), _) => Hdf5Kind::Number(element, endian),
        (None, Datatype::String { .. } | Datatype::VariableLength { is_string: true, .. }) => Hdf5Kind::Text,
        (None, other) => Hdf5Kind::Other(class_name(other).to_owned()),
    }
}

fn class_name(datatype: &Datatype) -> &'static str {
    match datatype {
        Datatype::FloatingPoint { .. } => "an unusual floating-point type",
        Datatype::FixedPoint { .. } => "an unusual integer type",
        Datatype::Compound { .. } => "a compound type",
        Datatype::Reference { .. } => "references",
        Datatype::Enumeration { .. } => "an enumeration",
        Datatype::VariableLength { .. } => "ragged arrays",
        Datatype::Array { .. } => "an array type",
        _ => "another HDF5 type",
    }
}

/// Call the reader; its errors become ours, and a panic inside it becomes an error too, since the
/// file's bytes are not ours to trust.
fn guarded<T, E: fmt::Display>(
    path: &Path,
    what: &str,
    call: impl FnOnce() -> std::result::Result<T, E>,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(unreadable(path, what, &error.to_string())),
        Err(_) => Err(unreadable(path, what, "a contradiction in the file")),
    }
}

fn unreadable(path: &Path, what: &str, found: &str) -> IoError {
    IoError::new(
        IoErrorKind::Unreadable,
        path,
        what,
        "HDF5 that the built-in reader knows",
        found,
        "read it with h5py (in Python: `h5py.File(file)[key][:]`) and save it as .npy or .npz",
    )
}
