//! Read arrays of Zarr folders (format 3, and 2), and write them (format 3).
//!
//! A folder with `zarr.json`, `.zgroup` or `.zarray` is a store: an array, or a group of arrays whose paths are their
//! keys. Chunks are plain files, packed by gzip, zlib, zstd or not at all; Blosc, shards and transposed arrays are
//! refused by name. A chunk that is not there is the fill value. Ids of rows stand in the attributes of the group under
//! `stimulus_id`. Links are not followed, names never lead out of the folder, every shape is checked before memory is
//! taken. Source: the Zarr core specifications 3.0 and 2.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::activation_store::IDS_KEY;
use crate::element::{Element, Endian};
use crate::error::{IoError, IoErrorKind, Result};
use crate::npy::{check_shape, show_shape, total_bytes};
use crate::positioned::read_bytes;

/// A description is JSON of a few hundred bytes, unless it holds ids.
const MAX_JSON: u64 = 64 << 20;
/// A chunk is unpacked as a whole; a larger one is refused.
const MAX_CHUNK: u64 = 256 << 20;
/// Unpacked chunks that are kept.
const CACHE: usize = 64 << 20;
/// Below this size an empty array cannot hurt.
const RATIO_COUNTS_FROM: u64 = 16 << 20;
/// Bytes promised per byte of chunks.
const MAX_RATIO: u64 = 1000;
/// Groups within groups, and files, that are looked at.
const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 10_000_000;
/// Numbers of a chunk that we write, where a row is not longer.
const CHUNK: usize = 1 << 18;

/// Whether a path is a folder that says it is a store.
pub fn is_zarr(path: &Path) -> bool {
    ["zarr.json", ".zgroup", ".zarray"].iter().any(|name| path.join(name).is_file())
}

/// One array, readable by ranges of rows.
pub(crate) struct ZarrArray {
    folder: PathBuf,
    key: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) element: Element,
    endian: Endian,
    chunk: Vec<usize>,
    packing: Packing,
    /// Whether the first axis is the fastest within a chunk.
    fortran: bool,
    /// What stands before the numbers of a chunk, and between them.
    prefix: Option<String>,
    separator: char,
    fill: f64,
    cache: Mutex<VecDeque<(Vec<usize>, Arc<Vec<f64>>)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zlib,
    Zstd,
}

impl std::fmt::Debug for ZarrArray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZarrArray")
            .field("key", &self.key)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// The keys of a store's arrays, sorted; that of the only array of a store that is one is empty.
pub(crate) fn keys(store: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut files = 0;
    walk(store, store, 0, &mut files, &mut |path, is_array| {
        if is_array {
            let parts: Vec<String> = path
                .strip_prefix(store)
                .map(|p| p.iter().map(|part| part.to_string_lossy().into_owned()).collect())
                .unwrap_or_default();
            found.push(parts.join("/"));
        }
    })?;
    found.sort();
    Ok(found)
}

/// Tell of every array and group of a store; arrays are not entered.
fn walk(
    store: &Path,
    folder: &Path,
    depth: usize,
    files: &mut usize,
    tell: &mut dyn FnMut(&Path, bool),
) -> Result<()> {
    let is_array = match fs::read(folder.join("zarr.json")) {
        Ok(_) => description(store, &folder.join("zarr.json"))?["node_type"] == "array",
        Err(_) => folder.join(".zarray").is_file(),
    };
    tell(folder, is_array);
    if is_array || depth == MAX_DEPTH {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(|e| IoError::reading(folder, "folder", &e))? {
        let entry = entry.map_err(|e| IoError::reading(folder, "folder", &e))?;
        *files += 1;
        if *files > MAX_FILES {
            return Err(IoError::too_large(store, "store", format!("at most {MAX_FILES} entries"), "more"));
        }
        // Of links neither.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(store, &entry.path(), depth + 1, files, tell)?;
        }
    }
    Ok(())
}

/// A JSON object; `store` is for messages.
fn description(store: &Path, path: &Path) -> Result<Value> {
    let about = fs::symlink_metadata(path).map_err(|e| IoError::reading(path, "description", &e))?;
    if !about.is_file() || about.len() > MAX_JSON {
        let found = if about.is_file() { format!("{} bytes", about.len()) } else { "no plain file".into() };
        return Err(IoError::wrong_format(
            path,
            "description",
            format!("JSON of at most {MAX_JSON} bytes"),
            found,
        ));
    }
    let bytes = read_bytes(path)?;
    match serde_json::from_slice(&bytes) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(IoError::wrong_format(store, "description", "a JSON object", "other JSON")),
        Err(e) => Err(IoError::wrong_format(path, "description", "a JSON object", e.to_string())),
    }
}

/// The attributes of a group or array.
fn attributes(folder: &Path) -> Result<Value> {
    if folder.join("zarr.json").is_file() {
        return Ok(description(folder, &folder.join("zarr.json"))?["attributes"].take());
    }
    let beside = folder.join(".zattrs");
    if beside.is_file() { description(folder, &beside) } else { Ok(Value::Null) }
}

/// A list of texts in the attributes of the store.
pub(crate) fn texts(store: &Path, key: &str) -> Result<Option<Vec<String>>> {
    let Value::Array(list) = attributes(store)?[key].take() else { return Ok(None) };
    let text = |value: Value| match value {
        Value::String(text) => Ok(text),
        other => Err(IoError::wrong_format(store, &format!("attribute `{key}`"), "texts", other.to_string())),
    };
    list.into_iter().map(text).collect::<Result<_>>().map(Some)
}

/// The folder of an array; names that lead elsewhere have none.
fn place(store: &Path, key: &str) -> Option<PathBuf> {
    let mut folder = store.to_owned();
    for part in key.split('/').filter(|part| !part.is_empty()) {
        if part.chars().all(|c| c == '.') || part.contains(['\\', '\0', ':']) {
            return None;
        }
        folder.push(part);
        if !fs::symlink_metadata(&folder).is_ok_and(|about| about.is_dir()) {
            return None;
        }
    }
    Some(folder)
}

impl ZarrArray {
    /// Open an array; nothing but its description is read.
    pub(crate) fn open(store: &Path, key: &str) -> Result<ZarrArray> {
        let absent = || match keys(store) {
            Ok(keys) => IoError::no_such_key(store, "array", key, &keys),
            Err(error) => error,
        };
        let folder = place(store, key).ok_or_else(absent)?;
        let array = if folder.join("zarr.json").is_file() {
            let described = description(store, &folder.join("zarr.json"))?;
            if described["node_type"] != "array" {
                return Err(absent());
            }
            Self::of_three(&folder, key, &described)?
        } else if folder.join(".zarray").is_file() {
            Self::of_two(&folder, key, &description(store, &folder.join(".zarray"))?)?
        } else {
            return Err(absent());
        };
        array.check()?;
        Ok(array)
    }

    fn of_three(folder: &Path, key: &str, about: &Value) -> Result<ZarrArray> {
        let what = format!("array `{key}`");
        let refuse = |part: &str, expected: &str, found: &Value| {
            let found: String = found.to_string().chars().take(200).collect();
            IoError::wrong_format(folder, &what, format!("{part}: {expected}"), found)
        };
        let name = about["data_type"].as_str().unwrap_or_default();
        let element = element(name)
            .ok_or_else(|| IoError::dtype(folder, &what, "numbers", &about["data_type"].to_string()))?;
        if about["chunk_grid"]["name"] != "regular" {
            return Err(refuse("chunk_grid", "regular", &about["chunk_grid"]["name"]));
        }
        if about["storage_transformers"].as_array().is_some_and(|list| !list.is_empty()) {
            return Err(refuse("storage_transformers", "none", &about["storage_transformers"]));
        }
        let encoding = &about["chunk_key_encoding"];
        let given = encoding["configuration"]["separator"].as_str();
        let (prefix, separator) = match (encoding["name"].as_str(), given) {
            (Some("default"), None | Some("/")) => (Some("c".to_owned()), '/'),
            (Some("default"), Some(".")) => (Some("c".to_owned()), '.'),
            (Some("v2"), None | Some(".")) => (None, '.'),
            (Some("v2"), Some("/")) => (None, '/'),
            _ => return Err(refuse("chunk_key_encoding", "default or v2", encoding)),
        };
        let (mut endian, mut packing, mut seen_bytes) = (Endian::Little, Packing::None, false);
        for codec in about["codecs"].as_array().into_iter().flatten() {
            match codec["name"].as_str().or(codec.as_str()) {
                Some("bytes") if !seen_bytes => {
                    seen_bytes = true;
                    if codec["configuration"]["endian"] == "big" {
                        endian = Endian::Big;
                    }
                }
                Some("gzip") if seen_bytes && packing == Packing::None => packing = Packing::Gzip,
                Some("zstd") if seen_bytes && packing == Packing::None => packing = Packing::Zstd,
                name => {
                    let found = name.map_or_else(|| codec.clone(), Value::from);
                    return Err(refuse("codecs", "bytes, then gzip, zstd or nothing", &found));
                }
            }
        }
        if !seen_bytes {
            return Err(refuse("codecs", "bytes, then gzip, zstd or nothing", &about["codecs"]));
        }
        Ok(ZarrArray {
            folder: folder.to_owned(),
            key: key.to_owned(),
            shape: lengths(&about["shape"]).ok_or_else(|| refuse("shape", "lengths", &about["shape"]))?,
            chunk: lengths(&about["chunk_grid"]["configuration"]["chunk_shape"])
                .ok_or_else(|| refuse("chunk_shape", "lengths", &about["chunk_grid"]))?,
            element,
            endian,
            packing,
            fortran: false,
            prefix,
            separator,
            fill: fill(&about["fill_value"], element)
                .ok_or_else(|| refuse("fill_value", "a number", &about["fill_value"]))?,
            cache: Mutex::default(),
        })
    }

    fn of_two(folder: &Path, key: &str, about: &Value) -> Result<ZarrArray> {
        let what = format!("array `{key}`");
        let refuse = |part: &str, expected: &str, found: &Value| {
            let found: String = found.to_string().chars().take(200).collect();
            IoError::wrong_format(folder, &what, format!("{part}: {expected}"), found)
        };
        let name = about["dtype"].as_str().unwrap_or_default();
        let (element, endian) = two_element(name)
            .ok_or_else(|| IoError::dtype(folder, &what, "numbers", &about["dtype"].to_string()))?;
        if !about["filters"].is_null() && about["filters"] != json!([]) {
            return Err(refuse("filters", "none", &about["filters"]));
        }
        let packing = match about["compressor"]["id"].as_str() {
            None if about["compressor"].is_null() => Packing::None,
            Some("gzip") => Packing::Gzip,
            Some("zlib") => Packing::Zlib,
            Some("zstd") => Packing::Zstd,
            _ => return Err(refuse("compressor", "gzip, zlib, zstd or none", &about["compressor"]["id"])),
        };
        let separator = match about["dimension_separator"].as_str() {
            None | Some(".") => '.',
            Some("/") => '/',
            Some(_) => {
                return Err(refuse("dimension_separator", "`.` or `/`", &about["dimension_separator"]));
            }
        };
        Ok(ZarrArray {
            folder: folder.to_owned(),
            key: key.to_owned(),
            shape: lengths(&about["shape"]).ok_or_else(|| refuse("shape", "lengths", &about["shape"]))?,
            chunk: lengths(&about["chunks"]).ok_or_else(|| refuse("chunks", "lengths", &about["chunks"]))?,
            element,
            endian,
            packing,
            fortran: about["order"] == "F",
            prefix: None,
            separator,
            fill: fill(&about["fill_value"], element)
                .ok_or_else(|| refuse("fill_value", "a number", &about["fill_value"]))?,
            cache: Mutex::default(),
        })
    }

    fn what(&self) -> String {
        format!("array `{}`", self.key)
    }

    /// Shapes that fit each other, memory and what lies on the disk.
    fn check(&self) -> Result<()> {
        let what = self.what();
        check_shape(&self.folder, &what, &self.shape)?;
        if self.chunk.len() != self.shape.len() || self.chunk.contains(&0) {
            let expected = format!("chunks of {} axes", self.shape.len());
            return Err(IoError::wrong_format(&self.folder, &what, expected, show_shape(&self.chunk)));
        }
        let total = total_bytes(&self.folder, &what, &self.shape, self.element.bytes())?;
        let of_chunk = total_bytes(&self.folder, &what, &self.chunk, self.element.bytes())?;
        if of_chunk > MAX_CHUNK {
            let expected = format!("chunks of at most {MAX_CHUNK} bytes");
            return Err(IoError::too_large(&self.folder, &what, expected, format!("{of_chunk}")));
        }
        let promised = total.max(of_chunk);
        if promised > RATIO_COUNTS_FROM {
            let there = bytes_below(&self.folder, promised / MAX_RATIO)?;
            if there < promised / MAX_RATIO {
                let expected = format!("chunks that can hold {promised} bytes");
                return Err(IoError::truncated(
                    &self.folder,
                    &what,
                    expected,
                    format!("{there} bytes of files"),
                ));
            }
        }
        Ok(())
    }

    /// Write rows into `out`, the last axis fastest. `out` must hold them exactly.
    pub(crate) fn read_rows(&self, rows: Range<usize>, out: &mut [f64]) -> Result<()> {
        let axes = self.shape.len();
        if axes == 0 {
            out.copy_from_slice(&self.unpacked(&[])?);
            return Ok(());
        }
        // Chunks that the rows lie in, one after the other, the last axis fastest.
        let first = rows.start / self.chunk[0];
        let mut at: Vec<usize> = vec![0; axes];
        at[0] = first;
        loop {
            self.copy_chunk(&at, &rows, out)?;
            let mut axis = axes;
            loop {
                if axis == 0 {
                    return Ok(());
                }
                axis -= 1;
                at[axis] += 1;
                let end = if axis == 0 { rows.end } else { self.shape[axis] };
                if at[axis] * self.chunk[axis] < end {
                    break;
                }
                at[axis] = 0;
            }
        }
    }

    /// What a chunk and the rows have in common.
    fn copy_chunk(&self, at: &[usize], rows: &Range<usize>, out: &mut [f64]) -> Result<()> {
        let axes = self.shape.len();
        let values = self.cached(at)?;
        let (mut in_chunk, mut in_out) = (vec![1; axes], vec![1; axes]);
        for axis in (0..axes - 1).rev() {
            in_chunk[axis] = in_chunk[axis + 1] * self.chunk[axis + 1];
            in_out[axis] = in_out[axis + 1] * self.shape[axis + 1];
        }
        if self.fortran {
            in_chunk[0] = 1;
            for axis in 1..axes {
                in_chunk[axis] = in_chunk[axis - 1] * self.chunk[axis - 1];
            }
        }
        let bounds: Vec<Range<usize>> = (0..axes)
            .map(|axis| {
                let begin = at[axis] * self.chunk[axis];
                let end = (begin + self.chunk[axis]).min(self.shape[axis]);
                if axis == 0 { begin.max(rows.start)..end.min(rows.end) } else { begin..end }
            })
            .collect();
        if bounds.iter().any(|b| b.start >= b.end) {
            return Ok(());
        }
        let mut place: Vec<usize> = bounds.iter().map(|b| b.start).collect();
        let last = axes - 1;
        let n = bounds[last].len();
        loop {
            let from: usize = (0..axes).map(|a| (place[a] - at[a] * self.chunk[a]) * in_chunk[a]).sum();
            let to: usize =
                (0..axes).map(|a| (place[a] - if a == 0 { rows.start } else { 0 }) * in_out[a]).sum();
            if in_chunk[last] == 1 && in_out[last] == 1 {
                out[to..to + n].copy_from_slice(&values[from..from + n]);
            } else {
                (0..n).for_each(|k| out[to + k * in_out[last]] = values[from + k * in_chunk[last]]);
            }
            let mut axis = last;
            loop {
                if axis == 0 {
                    return Ok(());
                }
                axis -= 1;
                place[axis] += 1;
                if place[axis] < bounds[axis].end {
                    break;
                }
                place[axis] = bounds[axis].start;
            }
        }
    }

    fn cached(&self, at: &[usize]) -> Result<Arc<Vec<f64>>> {
        if let Ok(cache) = self.cache.lock()
            && let Some((_, values)) = cache.iter().find(|(known, _)| known == at)
        {
            return Ok(values.clone());
        }
        let values = Arc::new(self.unpacked(at)?);
        if let Ok(mut cache) = self.cache.lock() {
            let most = (CACHE / (8 * values.len()).max(1)).max(1);
            while cache.len() >= most {
                cache.pop_front();
            }
            cache.push_back((at.to_vec(), values.clone()));
        }
        Ok(values)
    }

    /// The numbers of a chunk, whole.
    fn unpacked(&self, at: &[usize]) -> Result<Vec<f64>> {
        let n: usize = self.chunk.iter().product();
        let n_bytes = n * self.element.bytes();
        let path = self.folder.join(self.name_of(at));
        let about = match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![self.fill; n]),
            found => found.map_err(|e| IoError::reading(&path, "chunk", &e))?,
        };
        if !about.is_file() || about.len() > 2 * MAX_CHUNK {
            return Err(IoError::wrong_format(
                &path,
                "chunk",
                "a plain file",
                "a link, a folder or a larger file",
            ));
        }
        let packed = read_bytes(&path)?;
        let broken = |reason: String| {
            IoError::wrong_format(
                &path,
                "chunk",
                format!("{n_bytes} bytes, packed by {:?}", self.packing),
                reason,
            )
        };
        let bounded = |reader: &mut dyn Read| {
            let mut bytes = Vec::new();
            let read = reader.take(n_bytes as u64 + 1).read_to_end(&mut bytes);
            read.map(|_| bytes).map_err(|e| broken(e.to_string()))
        };
        let bytes = match self.packing {
            Packing::None => packed,
            Packing::Gzip => bounded(&mut flate2::read::MultiGzDecoder::new(packed.as_slice()))?,
            Packing::Zlib => bounded(&mut flate2::read::ZlibDecoder::new(packed.as_slice()))?,
            Packing::Zstd => {
                let mut reader =
                    zstd::stream::read::Decoder::new(packed.as_slice()).map_err(|e| broken(e.to_string()))?;
                bounded(&mut reader)?
            }
        };
        if bytes.len() != n_bytes {
            let more = if bytes.len() > n_bytes { "more" } else { "fewer" };
            return Err(broken(format!("{more} bytes")));
        }
        let mut values = vec![0.0; n];
        self.element.decode(self.endian, &bytes, &mut values);
        Ok(values)
    }

    fn name_of(&self, at: &[usize]) -> String {
        let mut parts: Vec<String> = self.prefix.iter().cloned().collect();
        parts.extend(at.iter().map(usize::to_string));
        if parts.is_empty() { "0".to_owned() } else { parts.join(&self.separator.to_string()) }
    }
}

/// Bytes of the files below a folder, counted until there are `enough`.
fn bytes_below(folder: &Path, enough: u64) -> Result<u64> {
    let (mut open, mut total, mut seen) = (vec![folder.to_owned()], 0u64, 0);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| IoError::reading(&folder, "folder", &e))? {
            let entry = entry.map_err(|e| IoError::reading(&folder, "folder", &e))?;
            seen += 1;
            match entry.metadata() {
                Ok(about) if about.is_dir() => open.push(entry.path()),
                Ok(about) if about.is_file() => total = total.saturating_add(about.len()),
                _ => {}
            }
            if total >= enough || seen > MAX_FILES {
                return Ok(total);
            }
        }
    }
    Ok(total)
}

/// Every file of a store by name, for its digest; links are left out.
pub(crate) fn files(store: &Path) -> Result<Vec<PathBuf>> {
    let (mut open, mut found) = (vec![store.to_owned()], BTreeSet::new());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| IoError::reading(&folder, "folder", &e))? {
            let entry = entry.map_err(|e| IoError::reading(&folder, "folder", &e))?;
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(kind) if kind.is_file() => {
                    found.insert(entry.path());
                }
                _ => {}
            }
            if found.len() > MAX_FILES {
                return Err(IoError::too_large(store, "store", format!("at most {MAX_FILES} files"), "more"));
            }
        }
    }
    Ok(found.into_iter().collect())
}

fn lengths(value: &Value) -> Option<Vec<usize>> {
    value.as_array()?.iter().map(|n| usize::try_from(n.as_u64()?).ok()).collect()
}

fn element(name: &str) -> Option<Element> {
    Some(match name {
        "bool" => Element::Bool,
        "int8" => Element::I8,
        "int16" => Element::I16,
        "int32" => Element::I32,
        "int64" => Element::I64,
        "uint8" => Element::U8,
        "uint16" => Element::U16,
        "uint32" => Element::U32,
        "uint64" => Element::U64,
        "float16" => Element::F16,
        "bfloat16" => Element::Bf16,
        "float32" => Element::F32,
        "float64" => Element::F64,
        _ => return None,
    })
}

/// NumPy's names of types, as format 2 has them.
fn two_element(name: &str) -> Option<(Element, Endian)> {
    let endian = match name.chars().next()? {
        '<' | '|' => Endian::Little,
        '>' => Endian::Big,
        _ => return None,
    };
    let element = match name.get(1..)? {
        "b1" => Element::Bool,
        "i1" => Element::I8,
        "i2" => Element::I16,
        "i4" => Element::I32,
        "i8" => Element::I64,
        "u1" => Element::U8,
        "u2" => Element::U16,
        "u4" => Element::U32,
        "u8" => Element::U64,
        "f2" => Element::F16,
        "f4" => Element::F32,
        "f8" => Element::F64,
        _ => return None,
    };
    Some((element, endian))
}

fn fill(value: &Value, element: Element) -> Option<f64> {
    match value {
        Value::Null => Some(0.0),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            // The bits of a number, most significant first.
            _ => {
                let bits = u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()?.to_be_bytes();
                let mut value = [0.0];
                element.decode(Endian::Big, &bits[8 - element.bytes()..], &mut value);
                Some(value[0])
            }
        },
        _ => None,
    }
}

/// A store in the making: arrays of 32-bit floats with the same rows, appended block by block.
///
/// It is written beside its place and appears there when it is whole.
#[derive(Debug)]
pub struct ZarrWriter {
    target: PathBuf,
    staged: PathBuf,
    layers: Vec<Layer>,
    n_rows: usize,
}

#[derive(Debug)]
struct Layer {
    folder: PathBuf,
    row_shape: Vec<usize>,
    chunk_rows: usize,
    /// Rows that no chunk holds yet.
    waiting: Vec<f32>,
    done: usize,
}

impl ZarrWriter {
    /// Begin a store of layers (name and shape of a row); ids and `about` become attributes of the group.
    ///
    /// # Errors
    /// Names that cannot be folders, a folder that cannot be written to.
    pub fn create(
        target: &Path,
        ids: &[String],
        layers: &[(String, Vec<usize>)],
        about: &[(&str, &str)],
    ) -> Result<ZarrWriter> {
        let n_rows = ids.len();
        let mut seen = BTreeSet::new();
        for (name, _) in layers {
            let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
            let plain = |part: &&str| {
                !part.chars().all(|c| c == '.')
                    && !part.starts_with("__")
                    && !part.contains(['\\', ':', '*', '?', '"', '<', '>', '|'])
                    && !part.chars().any(char::is_control)
                    && part.len() < 200
                    && *part != "zarr.json"
            };
            let path = parts.join("/");
            // An array holds no arrays: `a` and `a/b` cannot be in one store.
            let within = |known: &String| {
                *known == path
                    || known.starts_with(&format!("{path}/"))
                    || path.starts_with(&format!("{known}/"))
            };
            if parts.is_empty() || !parts.iter().all(plain) || seen.iter().any(within) {
                return Err(IoError::new(
                    IoErrorKind::WrongFormat,
                    target,
                    "layers",
                    "names that can be folders, none within another",
                    format!("`{name}`"),
                    "write .safetensors, which takes any name",
                ));
            }
            seen.insert(path);
        }
        let staged = crate::atomic::stage_folder(target)?;
        let mut attributes: serde_json::Map<String, Value> =
            about.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        attributes.insert(IDS_KEY.to_owned(), json!(ids));
        let group =
            |attributes: Value| json!({ "zarr_format": 3, "node_type": "group", "attributes": attributes });
        write_json(&staged.join("zarr.json"), &group(Value::Object(attributes)))?;
        let mut made = Vec::with_capacity(layers.len());
        for ((_, row_shape), path) in layers.iter().zip(layers.iter().map(|(name, _)| name)) {
            let mut folder = staged.clone();
            let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            for (depth, part) in parts.iter().enumerate() {
                folder.push(part);
                fs::create_dir_all(&folder).map_err(|e| IoError::writing(target, "folder", &e))?;
                if depth + 1 < parts.len() {
                    write_json(&folder.join("zarr.json"), &group(json!({})))?;
                }
            }
            let row_len: usize = row_shape.iter().product();
            let chunk_rows = (CHUNK / row_len.max(1)).clamp(1, n_rows.max(1));
            let of = |first: usize| {
                let mut shape = vec![first];
                shape.extend(row_shape);
                shape
            };
            // A chunk has no axis of length 0, even where the array has.
            let chunk: Vec<usize> = of(chunk_rows).into_iter().map(|n| n.max(1)).collect();
            let described = json!({
                "zarr_format": 3, "node_type": "array", "shape": of(n_rows), "data_type": "float32",
                "chunk_grid": { "name": "regular", "configuration": { "chunk_shape": chunk } },
                "chunk_key_encoding": { "name": "default", "configuration": { "separator": "/" } },
                "fill_value": 0.0,
                "codecs": [
                    { "name": "bytes", "configuration": { "endian": "little" } },
                    { "name": "zstd", "configuration": { "level": 3, "checksum": false } },
                ],
                "attributes": {},
            });
            write_json(&folder.join("zarr.json"), &described)?;
            made.push(Layer {
                folder,
                row_shape: row_shape.clone(),
                chunk_rows,
                waiting: Vec::new(),
                done: 0,
            });
        }
        Ok(ZarrWriter { target: target.to_owned(), staged, layers: made, n_rows })
    }

    /// Append the next rows: of every layer, row after row.
    ///
    /// # Errors
    /// Rows that do not fit, a disk that is full.
    pub fn append(&mut self, n_rows: usize, layers: &[Vec<f32>]) -> Result<()> {
        let fits = |(layer, values): (&Layer, &Vec<f32>)| {
            layer.done + layer.waiting.len() / layer.row_len().max(1) + n_rows <= self.n_rows
                && values.len() == n_rows * layer.row_len()
        };
        if layers.len() != self.layers.len() || !self.layers.iter().zip(layers).all(fits) {
            let found = format!("{} layers, {n_rows} rows", layers.len());
            let hint = "append whole rows of all layers";
            return Err(IoError::shape(&self.target, "rows", "layers of their widths", found, hint));
        }
        for (layer, values) in self.layers.iter_mut().zip(layers) {
            layer.waiting.extend(values);
            while layer.waiting.len() >= layer.chunk_rows * layer.row_len().max(1) {
                layer.write_chunk(&self.target)?;
            }
        }
        Ok(())
    }

    /// Write what waits and give the store its name; an older store of that name goes.
    ///
    /// # Errors
    /// Rows that are missing, a folder that cannot be renamed.
    pub fn finish(mut self) -> Result<()> {
        for layer in &mut self.layers {
            if !layer.waiting.is_empty() {
                layer.write_chunk(&self.target)?;
            }
            if layer.row_len() > 0 && layer.done < self.n_rows {
                let (expected, found) = (format!("{}", self.n_rows), format!("{}", layer.done));
                return Err(IoError::shape(&self.target, "rows", expected, found, "append all rows first"));
            }
        }
        crate::atomic::swap_folder(&self.staged, &self.target)
    }
}

impl Layer {
    fn row_len(&self) -> usize {
        self.row_shape.iter().product()
    }

    /// The next chunk; the last one is filled with zeros.
    fn write_chunk(&mut self, target: &Path) -> Result<()> {
        let (width, full) = (self.row_len(), self.chunk_rows * self.row_len());
        let taken = self.waiting.len().min(full);
        let mut bytes: Vec<u8> = self.waiting[..taken].iter().flat_map(|x| x.to_le_bytes()).collect();
        bytes.resize(4 * full, 0);
        self.waiting.drain(..taken);
        let fail = |e: std::io::Error| IoError::writing(target, "chunk", &e);
        let packed = zstd::bulk::compress(&bytes, 3).map_err(fail)?;
        let mut path = self.folder.join("c").join((self.done / self.chunk_rows).to_string());
        for _ in &self.row_shape {
            path.push("0");
        }
        fs::create_dir_all(path.parent().unwrap_or(&self.folder)).map_err(fail)?;
        let mut file = fs::File::create(&path).map_err(fail)?;
        file.write_all(&packed).and_then(|()| file.sync_all()).map_err(fail)?;
        self.done += taken / width.max(1);
        Ok(())
    }
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, value.to_string()).map_err(|e| IoError::writing(path, "description", &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{ArrayFile, info, own_ids};

    fn ids(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("é {i}")).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("net.zarr");
        let layers = [("/block/1".to_owned(), vec![3]), ("wide".to_owned(), vec![2, 70_000])];
        let mut writer = ZarrWriter::create(&store, &ids(5), &layers, &[("engine", "e 1")]).unwrap();
        let narrow: Vec<f32> = (0..15).map(|i| i as f32 / 4.0).collect();
        let wide: Vec<f32> = (0..700_000).map(|i| (i % 1009) as f32).collect();
        for (rows, from) in [(2, 0), (1, 2), (2, 3)] {
            let part = |values: &[f32], width: usize| values[from * width..(from + rows) * width].to_vec();
            writer.append(rows, &[part(&narrow, 3), part(&wide, 140_000)]).unwrap();
        }
        assert!(writer.append(1, &[vec![0.0; 3], vec![0.0; 140_000]]).is_err());
        assert!(!store.exists());
        writer.finish().unwrap();
        assert_eq!(keys(&store).unwrap(), ["block/1", "wide"]);
        for key in ["block/1", "/block/1"] {
            let array = ArrayFile::open(&store, Some(key)).unwrap();
            assert_eq!(array.shape(), [5, 3]);
            let expected: Vec<f64> = narrow.iter().map(|x| f64::from(*x)).collect();
            assert_eq!(array.read_all().unwrap(), expected);
        }
        let array = ArrayFile::open(&store, Some("wide")).unwrap();
        let mut rows = vec![0.0; 2 * 140_000];
        array.read_rows(2..4, &mut rows).unwrap();
        assert!(rows.iter().zip(&wide[280_000..]).all(|(a, b)| *a == f64::from(*b)));
        assert_eq!(own_ids(&store).unwrap().unwrap(), ids(5));
        let about = info(&store).unwrap();
        assert_eq!((about.arrays.len(), about.arrays[1].shape.as_slice()), (2, [5, 2, 70_000].as_slice()));
        assert!(about.what.contains("ids of 5"), "{}", about.what);
    }

    #[test]
    fn chunks_across_all_axes_in_both_orders_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path();
        // 3 × 4 in chunks of 2 × 3: the last row and column are filled up; one chunk is not there.
        let write = |fortran: bool| {
            let order = if fortran { "F" } else { "C" };
            let about = json!({
                "zarr_format": 2, "shape": [3, 4], "chunks": [2, 3], "dtype": ">i2", "compressor": null,
                "filters": null, "fill_value": -7, "order": order,
            });
            fs::write(store.join(".zarray"), about.to_string()).unwrap();
            let number = |r: usize, c: usize| (10 * r + c) as i16;
            for (i, j) in [(0, 0), (0, 1), (1, 0)] {
                let places: Vec<(usize, usize)> = if fortran {
                    (0..3).flat_map(|c| (0..2).map(move |r| (r, c))).collect()
                } else {
                    (0..2).flat_map(|r| (0..3).map(move |c| (r, c))).collect()
                };
                let bytes: Vec<u8> =
                    places.iter().flat_map(|(r, c)| number(2 * i + r, 3 * j + c).to_be_bytes()).collect();
                fs::write(store.join(format!("{i}.{j}")), bytes).unwrap();
            }
        };
        for fortran in [false, true] {
            write(fortran);
            let array = ArrayFile::open(store, None).unwrap();
            let expected = [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0, 20.0, 21.0, 22.0, -7.0];
            assert_eq!(array.read_all().unwrap(), expected, "{fortran}");
            let mut row = vec![0.0; 4];
            array.read_rows(1..2, &mut row).unwrap();
            assert_eq!(row, expected[4..8]);
        }
    }

    #[test]
    fn what_leads_elsewhere_or_promises_too_much_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("s.zarr");
        let writer = ZarrWriter::create(&store, &ids(1), &[("a".into(), vec![2])], &[]).unwrap();
        drop(writer);
        for name in ["..", "a/../b", "", "/", "__x", "a:b", "zarr.json"] {
            let told = ZarrWriter::create(&store, &ids(1), &[(name.into(), vec![1])], &[]).unwrap_err();
            assert!(told.to_string().contains("names that can be folders"), "{name}: {told}");
        }
        let nested = [("a".to_owned(), vec![1]), ("a/b".to_owned(), vec![1])];
        assert!(ZarrWriter::create(&store, &ids(1), &nested, &[]).is_err());
        let mut writer = ZarrWriter::create(&store, &ids(1), &[("a".into(), vec![2])], &[]).unwrap();
        writer.append(1, &[vec![1.0, 2.0]]).unwrap();
        writer.finish().unwrap();
        let told = |key: &str| ZarrArray::open(&store, key).unwrap_err().to_string();
        assert!(told("../s.zarr/a").contains("../s.zarr/a") && told("b").contains("`a`"));
        let whole = fs::read_to_string(store.join("a/zarr.json")).unwrap();
        let changed = |from: &str, to: &str| {
            assert!(whole.contains(from), "{from}");
            fs::write(store.join("a/zarr.json"), whole.replace(from, to)).unwrap();
            ArrayFile::open(&store, Some("a")).and_then(|a| a.read_all()).unwrap_err().to_string()
        };
        let huge = changed("\"shape\":[1,2]", "\"shape\":[100000000000,2]");
        assert!(huge.contains("bytes of files"), "{huge}");
        assert!(changed("\"shape\":[1,2]", "\"shape\":[18446744073709551615,2]").contains("a"));
        assert!(changed("\"chunk_shape\":[1,2]", "\"chunk_shape\":[1,0]").contains("chunks of 2 axes"));
        assert!(changed("\"chunk_shape\":[1,2]", "\"chunk_shape\":[1000000,1000000]").contains("at most"));
        assert!(changed("\"zstd\"", "\"blosc\"").contains("blosc"));
        assert!(changed("float32", "complex64").contains("complex64"));
        assert!(changed("float32", "float64").contains("fewer bytes"));
        fs::write(store.join("a/zarr.json"), &whole).unwrap();
        #[cfg(unix)]
        {
            fs::remove_file(store.join("a/c/0/0")).unwrap();
            std::os::unix::fs::symlink("/etc/hostname", store.join("a/c/0/0")).unwrap();
            let told = ArrayFile::open(&store, Some("a")).and_then(|a| a.read_all()).unwrap_err();
            assert!(told.to_string().contains("a link"), "{told}");
        }
    }
}
