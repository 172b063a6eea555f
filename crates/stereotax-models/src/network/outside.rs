//! Bring the weights that lie in files beside a network into its bytes.
//!
//! A weight of `data_location` 1 (field 14) names a file, a first byte and a length in its `external_data` (13); here it
//! becomes one with `raw_data` (9). Names lead into the network's own folder or below it, never elsewhere: links are
//! followed, and what they lead to must lie there, or beside what a link to the network leads to. Every length is checked
//! against shape, type and file before memory is taken. Source: the ONNX description of external data (onnx.proto3).
//! Cost: one pass over the weights, held once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use super::graph::MAX_BYTES;
use super::protobuf::{Value, fields, put_bytes};
use crate::error::{Result, invalid};

/// The bytes of a model with all its weights in them; unchanged where they are there already.
pub(super) fn brought_in(path: &Path, model: Vec<u8>) -> Result<Vec<u8>> {
    // What is no model is said by whoever reads it as one.
    let Ok(total) = bytes_outside(&model) else { return Ok(model) };
    if total == 0 {
        return Ok(model);
    }
    let needed = total.saturating_add(model.len() as u64);
    if needed > MAX_BYTES {
        let hint = "export the network in single precision, or split it";
        return Err(invalid(
            path,
            "weights",
            format!("at most {MAX_BYTES} bytes"),
            format!("{needed}"),
            hint,
        ));
    }
    let mut files = Files { network: path, open: HashMap::new() };
    let mut out = Vec::with_capacity(needed as usize);
    for field in fields(&model).flatten() {
        let Value::Bytes(graph) = field.value else {
            out.extend_from_slice(field.whole);
            continue;
        };
        if field.number != 7 {
            out.extend_from_slice(field.whole);
            continue;
        }
        let mut inner = Vec::with_capacity(graph.len() + total as usize);
        for part in fields(graph).flatten() {
            match (part.number, part.value) {
                (5, Value::Bytes(tensor)) => match Outside::of(tensor) {
                    Ok(Some(weight)) => put_bytes(&mut inner, 5, &files.bring(&weight, tensor)?),
                    _ => inner.extend_from_slice(part.whole),
                },
                _ => inner.extend_from_slice(part.whole),
            }
        }
        put_bytes(&mut out, 7, &inner);
    }
    Ok(out)
}

/// How many bytes of weights lie outside.
fn bytes_outside(model: &[u8]) -> Result<u64, String> {
    let mut total = 0u64;
    for field in fields(model) {
        let field = field?;
        if field.number != 7 {
            continue;
        }
        for part in fields(field.bytes()?) {
            let part = part?;
            if part.number == 5
                && let Some(weight) = Outside::of(part.bytes()?)?
            {
                total = total.saturating_add(weight.n_bytes);
            }
        }
    }
    Ok(total)
}

/// A weight that lies in another file.
struct Outside {
    name: String,
    location: String,
    offset: u64,
    /// By shape and type.
    n_bytes: u64,
    /// As the file says.
    length: Option<u64>,
}

impl Outside {
    /// `None` for a weight whose numbers are in the message.
    fn of(tensor: &[u8]) -> Result<Option<Outside>, String> {
        let mut weight =
            Outside { name: String::new(), location: String::new(), offset: 0, n_bytes: 0, length: None };
        let (mut dims, mut kind, mut outside) = (Vec::new(), 0, false);
        for field in fields(tensor) {
            let field = field?;
            match field.number {
                1 => field.numbers(&mut dims)?,
                2 => kind = field.number_value()?,
                8 => weight.name = field.text()?,
                13 => weight.entry(field.bytes()?)?,
                14 => outside = field.number_value()? == 1,
                _ => {}
            }
        }
        if !outside {
            return Ok(None);
        }
        let name = &weight.name;
        // 1 f32, 2 u8, 3 i8, 4 u16, 5 i16, 6 i32, 7 i64, 9 bool, 10 f16, 11 f64, 12 u32, 13 u64, 16 bf16.
        let size = match kind {
            2 | 3 | 9 => 1,
            4 | 5 | 10 | 16 => 2,
            1 | 6 | 12 => 4,
            7 | 11 | 13 => 8,
            _ => return Err(format!("weight `{name}` of type {kind} in another file")),
        };
        let mut n_bytes = 1u64.checked_mul(size);
        for length in dims {
            n_bytes = n_bytes.zip(u64::try_from(length).ok()).and_then(|(n, m)| n.checked_mul(m));
        }
        weight.n_bytes = n_bytes.ok_or_else(|| format!("a shape of weight `{name}` that no file holds"))?;
        Ok(Some(weight))
    }

    fn entry(&mut self, message: &[u8]) -> Result<(), String> {
        let (mut key, mut value) = (String::new(), String::new());
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => key = field.text()?,
                2 => value = field.text()?,
                _ => {}
            }
        }
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{key} `{text}` of a weight"));
        match key.as_str() {
            "location" => self.location = value,
            "offset" => self.offset = number(&value)?,
            "length" => self.length = Some(number(&value)?),
            _ => {}
        }
        Ok(())
    }
}

/// The files of weights, each opened once.
struct Files<'a> {
    network: &'a Path,
    open: HashMap<String, Opened>,
}

struct Opened {
    path: PathBuf,
    file: File,
    n_bytes: u64,
}

impl Files<'_> {
    /// The message of a weight with its numbers in it.
    fn bring(&mut self, weight: &Outside, tensor: &[u8]) -> Result<Vec<u8>> {
        let opened = match self.open.entry(weight.location.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(open(self.network, weight)?),
        };
        let what = format!("weight `{}`", weight.name);
        if let Some(length) = weight.length.filter(|length| *length != weight.n_bytes) {
            let expected = format!("{} bytes by its shape and type", weight.n_bytes);
            return Err(invalid(
                self.network,
                what,
                expected,
                format!("{length}"),
                "export the network again",
            ));
        }
        if weight.offset.checked_add(weight.n_bytes).is_none_or(|end| end > opened.n_bytes) {
            let expected = format!("{} bytes behind byte {}", weight.n_bytes, weight.offset);
            let found = format!("a file of {} bytes", opened.n_bytes);
            let hint = "the file is cut short, or belongs to another network: copy it again";
            return Err(invalid(&opened.path, what, expected, found, hint));
        }
        let mut numbers = vec![0u8; weight.n_bytes as usize];
        opened
            .file
            .seek(SeekFrom::Start(weight.offset))
            .and_then(|_| opened.file.read_exact(&mut numbers))
            .map_err(|e| invalid(&opened.path, what, "a readable file", e.to_string(), "check the disk"))?;
        let mut out = Vec::with_capacity(tensor.len() + numbers.len() + 16);
        for field in fields(tensor).flatten().filter(|field| !matches!(field.number, 9 | 13 | 14)) {
            out.extend_from_slice(field.whole);
        }
        put_bytes(&mut out, 9, &numbers);
        Ok(out)
    }
}

/// Open the file of a weight, if it lies where it may.
fn open(network: &Path, weight: &Outside) -> Result<Opened> {
    let what = format!("weight `{}`", weight.name);
    let hint = "copy the file of weights beside the network, or export the network again";
    let outside = || {
        let shown = format!("`{}`", weight.location.chars().take(200).collect::<String>());
        invalid(network, what.clone(), "a file in the network's own folder", shown, hint)
    };
    let named = Path::new(&weight.location);
    let plain = named.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if weight.location.is_empty() || !plain || weight.location.contains('\0') {
        return Err(outside());
    }
    let folder = match network.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let path = folder.join(named);
    let absent =
        |e: std::io::Error| invalid(&path, what.clone(), "the file that holds it", e.to_string(), hint);
    let real = path.canonicalize().map_err(absent)?;
    // Where the network is a link, its weights may be links to the same place.
    let linked = network.canonicalize().ok().and_then(|network| network.parent().map(Path::to_owned));
    if ![folder.canonicalize().ok(), linked].iter().flatten().any(|folder| real.starts_with(folder)) {
        return Err(outside());
    }
    if !real.metadata().map_err(absent)?.is_file() {
        return Err(invalid(&path, what, "a file", "a folder or a device", hint));
    }
    let file = File::open(&real).map_err(absent)?;
    let n_bytes = file.metadata().map_err(absent)?.len();
    Ok(Opened { path, file, n_bytes })
}
