//! Read the header of a `.safetensors` file, trusting nothing in it.
//!
//! The format: header length (u64), a JSON object of tensors with type, shape and place, then the
//! bytes, all little-endian and row by row. Source: the safetensors format description.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use crate::element::Element;
use crate::error::{IoError, IoErrorKind, Result};
use crate::npy::{check_shape, total_bytes};
use crate::positioned::PositionedFile;

/// The reference reader's own limit.
const MAX_HEADER: u64 = 100_000_000;

/// One tensor as the header states it, checked against the file's length.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) key: String,
    /// Its type as written: `F32`, `BF16` …
    pub(crate) dtype: String,
    pub(crate) shape: Vec<usize>,
    /// First byte in the file.
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

impl Tensor {
    /// The element, where it is one that can be read.
    pub(crate) fn element(&self) -> Option<Element> {
        Some(match self.dtype.as_str() {
            "F16" => Element::F16,
            "BF16" => Element::Bf16,
            "F32" => Element::F32,
            "F64" => Element::F64,
            "I8" => Element::I8,
            "I16" => Element::I16,
            "I32" => Element::I32,
            "I64" => Element::I64,
            "U8" => Element::U8,
            "U16" => Element::U16,
            "U32" => Element::U32,
            "U64" => Element::U64,
            "BOOL" => Element::Bool,
            _ => return None,
        })
    }
}

/// The tensors of a file, in the order of their places (which is the order of writing).
pub(crate) fn tensors(file: &PositionedFile) -> Result<Vec<Tensor>> {
    let path = file.path();
    let (entries, _, data_start) = header(file)?;
    let available = file.len() - data_start;
    let mut tensors: Vec<Tensor> = Vec::with_capacity(entries.len());
    let mut seen = HashSet::new();
    for (key, entry) in entries {
        let what = format!("array `{key}`");
        if !seen.insert(key.clone()) {
            return Err(IoError::new(
                IoErrorKind::Duplicate,
                path,
                what,
                "every name once",
                "the name twice",
                "write the file again; which of the two was meant cannot be known",
            ));
        }
        check_shape(path, &what, &entry.shape)?;
        let [begin, end] = entry.data_offsets;
        if begin > end {
            return Err(IoError::wrong_format(path, &what, "begin ≤ end", format!("{begin} and {end}")));
        }
        if end > available {
            return Err(IoError::truncated(
                path,
                &what,
                format!("data up to byte {end}"),
                format!("{available} bytes of data"),
            ));
        }
        let tensor = Tensor {
            key,
            dtype: entry.dtype,
            shape: entry.shape,
            offset: data_start + begin,
            bytes: end - begin,
        };
        if let Some(element) = tensor.element() {
            let needed = total_bytes(path, &what, &tensor.shape, element.bytes())?;
            if needed != tensor.bytes {
                return Err(IoError::wrong_format(
                    path,
                    &what,
                    format!("{needed} bytes for its shape and type"),
                    format!("{} bytes", tensor.bytes),
                ));
            }
        }
        tensors.push(tensor);
    }
    tensors.sort_by_key(|t| t.offset);
    Ok(tensors)
}

/// The entries as written, the metadata and the first byte of data.
fn header(file: &PositionedFile) -> Result<(Vec<(String, Entry)>, HashMap<String, String>, u64)> {
    let path = file.path();
    let mut length = [0u8; 8];
    file.read_exact_at("header", 0, &mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(IoError::too_large(
            path,
            "header",
            format!("at most {MAX_HEADER} bytes"),
            format!("{length} bytes"),
        ));
    }
    let data_start = 8 + length;
    if data_start > file.len() {
        return Err(IoError::truncated(
            path,
            "header",
            format!("{length} bytes"),
            format!("a file of {} bytes", file.len()),
        ));
    }
    let mut text = vec![0u8; length as usize];
    file.read_exact_at("header", 8, &mut text)?;
    let Header(entries, metadata) = serde_json::from_slice(&text)
        .map_err(|e| IoError::wrong_format(path, "header", "a JSON object of tensors", e.to_string()))?;
    Ok((entries, metadata, data_start))
}

/// A list of texts in the header's metadata: how names of rows are kept in a format without text.
pub(crate) fn texts(file: &PositionedFile, key: &str) -> Result<Vec<String>> {
    let (_, metadata, _) = header(file)?;
    let Some(text) = metadata.get(key) else {
        let mut there: Vec<String> = metadata.into_keys().collect();
        there.sort();
        return Err(IoError::no_such_key(file.path(), "list of texts", key, &there));
    };
    serde_json::from_str(text).map_err(|e| {
        IoError::wrong_format(
            file.path(),
            &format!("metadata `{key}`"),
            "a JSON list of texts",
            e.to_string(),
        )
    })
}

/// An entry of the header's metadata.
pub(crate) fn metadata(file: &PositionedFile, key: &str) -> Result<Option<String>> {
    Ok(header(file)?.1.remove(key))
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// The entries in order, duplicates kept: a map would silently drop all but one.
struct Header(Vec<(String, Entry)>, HashMap<String, String>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> std::result::Result<Header, M::Error> {
                let (mut entries, mut metadata) = (Vec::new(), HashMap::new());
                while let Some(key) = map.next_key::<String>()? {
                    if key == "__metadata__" {
                        metadata = map.next_value()?;
                    } else {
                        entries.push((key, map.next_value()?));
                    }
                }
                Ok(Header(entries, metadata))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
