//! Read the header of a NumPy array file, trusting nothing in it.
//!
//! The format: magic `\x93NUMPY`, version, header length, a Python dictionary literal with `descr`,
//! `fortran_order` and `shape`, then the bytes. Source: NumPy's `numpy.lib.format`, versions 1 to 3.

use std::path::Path;

use crate::element::{Element, Endian};
use crate::error::{IoError, Result};

/// A header longer than this is refused; real ones take about a hundred bytes.
const MAX_HEADER: usize = 1 << 20;
/// NumPy allows 64 axes.
const MAX_AXES: usize = 64;

/// Of what an array consists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NpyType {
    Number(Element, Endian),
    /// Text of at most so many 4-byte characters, padded with zeros.
    Unicode(usize, Endian),
    /// Text of at most so many bytes, padded with zeros.
    Bytes(usize),
    Object,
    Other(String),
}

impl NpyType {
    /// Bytes per element, where they are known.
    pub(crate) fn bytes(&self) -> Option<usize> {
        match self {
            NpyType::Number(e, _) => Some(e.bytes()),
            NpyType::Unicode(n, _) => n.checked_mul(4),
            NpyType::Bytes(n) => Some(*n),
            NpyType::Object | NpyType::Other(_) => None,
        }
    }

    /// A name for people.
    pub(crate) fn name(&self) -> String {
        match self {
            NpyType::Number(e, _) => e.name().to_owned(),
            NpyType::Unicode(n, _) => format!("text of {n} characters"),
            NpyType::Bytes(n) => format!("text of {n} bytes"),
            NpyType::Object => "object".to_owned(),
            NpyType::Other(name) => name.clone(),
        }
    }
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NpyHeader {
    pub(crate) kind: NpyType,
    pub(crate) fortran: bool,
    pub(crate) shape: Vec<usize>,
    /// Where the data begin, in bytes from the magic.
    pub(crate) data_offset: u64,
}

impl NpyHeader {
    /// Read a header through `read(offset, buffer)`.
    pub(crate) fn read(
        file: &Path,
        what: &str,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<()>,
    ) -> Result<NpyHeader> {
        let mut start = [0u8; 8];
        read(0, &mut start)?;
        if start[..6] != *b"\x93NUMPY" {
            return Err(IoError::wrong_format(
                file,
                what,
                "a NumPy array (magic `\\x93NUMPY`)",
                "other bytes at its start",
            ));
        }
        let (length, before) = match start[6] {
            1 => {
                let mut n = [0u8; 2];
                read(8, &mut n)?;
                (usize::from(u16::from_le_bytes(n)), 10)
            }
            2 | 3 => {
                let mut n = [0u8; 4];
                read(8, &mut n)?;
                (u32::from_le_bytes(n) as usize, 12)
            }
            other => {
                return Err(IoError::wrong_format(
                    file,
                    what,
                    "NumPy format version 1, 2 or 3",
                    format!("version {other}"),
                ));
            }
        };
        if length > MAX_HEADER {
            return Err(IoError::too_large(
                file,
                what,
                format!("a header of at most {MAX_HEADER} bytes"),
                format!("{length} bytes"),
            ));
        }
        let mut text = vec![0u8; length];
        read(before, &mut text)?;
        let text = String::from_utf8_lossy(&text);
        let fields = Literal { rest: &text }.header().ok_or_else(|| {
            malformed(file, what, "a dictionary with descr, fortran_order and shape", &text)
        })?;
        check_shape(file, what, &fields.shape)?;
        Ok(NpyHeader {
            kind: fields.kind,
            fortran: fields.fortran,
            shape: fields.shape,
            data_offset: before + length as u64,
        })
    }

    /// Bytes of data that the header promises; an error where the product overflows.
    pub(crate) fn data_bytes(&self, file: &Path, what: &str) -> Result<u64> {
        let Some(size) = self.kind.bytes() else {
            return match &self.kind {
                NpyType::Object => Err(IoError::object_array(file, what)),
                other => Err(IoError::dtype(file, what, "numbers or text", &other.name())),
            };
        };
        total_bytes(file, what, &self.shape, size)
    }
}

/// Elements × size with every product checked.
pub(crate) fn total_bytes(file: &Path, what: &str, shape: &[usize], size: usize) -> Result<u64> {
    shape
        .iter()
        .try_fold(1u64, |n, &axis| n.checked_mul(axis as u64))
        .and_then(|n| n.checked_mul(size as u64))
        .filter(|&n| n <= i64::MAX as u64)
        .ok_or_else(|| {
            IoError::too_large(
                file,
                what,
                "a size that fits into 63 bits",
                format!("shape {} of {size}-byte elements", show_shape(shape)),
            )
        })
}

/// `480 × 64`.
pub(crate) fn show_shape(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "() (a single number)".to_owned();
    }
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ")
}

/// Refuse absurd numbers of axes.
pub(crate) fn check_shape(file: &Path, what: &str, shape: &[usize]) -> Result<()> {
    if shape.len() > MAX_AXES {
        return Err(IoError::too_large(
            file,
            what,
            format!("at most {MAX_AXES} axes"),
            format!("{} axes", shape.len()),
        ));
    }
    // A zero among the axes must not hide a product that overflows elsewhere.
    let occupied: Vec<usize> = shape.iter().copied().filter(|&n| n > 0).collect();
    total_bytes(file, what, &occupied, 1).map(|_| ())
}

fn malformed(file: &Path, what: &str, expected: &str, found: &str) -> IoError {
    let start: String = found.chars().take(60).collect();
    IoError::wrong_format(file, what, expected, format!("`{}`", start.escape_debug()))
}

struct Fields {
    kind: NpyType,
    fortran: bool,
    shape: Vec<usize>,
}

/// A reader of the one shape of Python literal that NumPy writes.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn header(&mut self) -> Option<Fields> {
        let (mut kind, mut fortran, mut shape) = (None, None, None);
        self.take("{")?;
        loop {
            if self.take("}").is_some() {
                break;
            }
            let key = self.quoted()?;
            self.take(":")?;
            match key {
                "descr" if kind.is_none() => kind = Some(self.descr()?),
                "fortran_order" if fortran.is_none() => fortran = Some(self.boolean()?),
                "shape" if shape.is_none() => shape = Some(self.tuple()?),
                _ => return None,
            }
            if self.take(",").is_none() {
                self.take("}")?;
                break;
            }
        }
        Some(Fields { kind: kind?, fortran: fortran?, shape: shape? })
    }

    fn take(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.trim_start();
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn quoted(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start();
        let quote = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let inner = &self.rest[1..];
        let end = inner.find(quote)?;
        self.rest = &inner[end + 1..];
        Some(&inner[..end])
    }

    fn boolean(&mut self) -> Option<bool> {
        if self.take("True").is_some() { Some(true) } else { self.take("False").map(|()| false) }
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        self.take("(")?;
        let mut shape = Vec::new();
        loop {
            if self.take(")").is_some() {
                return Some(shape);
            }
            self.rest = self.rest.trim_start();
            let end = self.rest.find(|c: char| !c.is_ascii_digit())?;
            shape.push(self.rest[..end].parse().ok()?);
            self.rest = self.rest[end..].trim_start_matches('L');
            if self.take(",").is_none() {
                self.take(")")?;
                return Some(shape);
            }
        }
    }

    fn descr(&mut self) -> Option<NpyType> {
        self.rest = self.rest.trim_start();
        if !self.rest.starts_with('[') {
            return Some(parse_descr(self.quoted()?));
        }
        // A structured type: skip to its closing bracket; it is refused by name later, unless one of
        // its fields is an object, which is refused for its own reason.
        let (mut depth, mut end) = (0usize, None);
        for (i, c) in self.rest.char_indices() {
            match c {
                '[' => depth += 1,
                ']' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                end = Some(i + 1);
                break;
            }
        }
        let text = &self.rest[..end?];
        self.rest = &self.rest[end?..];
        let holds_objects = text.contains("'|O'") || text.contains("'O'");
        Some(if holds_objects { NpyType::Object } else { NpyType::Other("a structured type".to_owned()) })
    }
}

/// `<f4`, `|b1`, `>U12` …
fn parse_descr(descr: &str) -> NpyType {
    let other = || NpyType::Other(format!("NumPy type `{}`", descr.escape_debug()));
    let (order, rest) = match descr.chars().next() {
        Some(c @ ('<' | '>' | '|' | '=')) => (c, &descr[1..]),
        _ => ('|', descr),
    };
    let endian = match order {
        '>' => Endian::Big,
        '=' if cfg!(target_endian = "big") => Endian::Big,
        _ => Endian::Little,
    };
    let Some(kind) = rest.chars().next().filter(char::is_ascii) else { return other() };
    if kind == 'O' {
        return NpyType::Object;
    }
    let Ok(size) = rest[1..].parse::<usize>() else { return other() };
    let element = match (kind, size) {
        ('f', 2) => Element::F16,
        ('f', 4) => Element::F32,
        ('f', 8) => Element::F64,
        ('i', 1) => Element::I8,
        ('i', 2) => Element::I16,
        ('i', 4) => Element::I32,
        ('i', 8) => Element::I64,
        ('u', 1) => Element::U8,
        ('u', 2) => Element::U16,
        ('u', 4) => Element::U32,
        ('u', 8) => Element::U64,
        ('b', 1) => Element::Bool,
        ('U', n) => return NpyType::Unicode(n, endian),
        ('S' | 'a', n) => return NpyType::Bytes(n),
        _ => return other(),
    };
    NpyType::Number(element, endian)
}

/// Decode fixed-width text: `count` entries of the given type.
pub(crate) fn decode_text(
    file: &Path,
    what: &str,
    kind: &NpyType,
    bytes: &[u8],
    count: usize,
) -> Result<Vec<String>> {
    let invalid = |i: usize| {
        IoError::wrong_format(file, what, "valid Unicode text", format!("other bytes in entry {i}"))
    };
    match kind {
        NpyType::Unicode(0, _) | NpyType::Bytes(0) => Ok(vec![String::new(); count]),
        NpyType::Unicode(n, endian) => bytes
            .chunks_exact(4 * n)
            .enumerate()
            .map(|(i, entry)| {
                let mut text: Vec<char> = Vec::with_capacity(*n);
                for code in entry.as_chunks::<4>().0 {
                    let code = match endian {
                        Endian::Little => u32::from_le_bytes(*code),
                        Endian::Big => u32::from_be_bytes(*code),
                    };
                    text.push(char::from_u32(code).ok_or_else(|| invalid(i))?);
                }
                let text: String = text.into_iter().collect();
                Ok(text.trim_end_matches('\0').to_owned())
            })
            .collect(),
        NpyType::Bytes(n) => bytes
            .chunks_exact(*n)
            .enumerate()
            .map(|(i, entry)| {
                let text = std::str::from_utf8(entry).map_err(|_| invalid(i))?;
                Ok(text.trim_end_matches('\0').to_owned())
            })
            .collect(),
        NpyType::Object => Err(IoError::object_array(file, what)),
        other => Err(IoError::dtype(file, what, "text", &other.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::IoErrorKind;

    fn header(text: &str) -> Result<NpyHeader> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        NpyHeader::read(Path::new("x.npy"), "array", |offset, buffer| {
            let start = offset as usize;
            match bytes.get(start..start + buffer.len()) {
                Some(b) => {
                    buffer.copy_from_slice(b);
                    Ok(())
                }
                None => Err(IoError::truncated(Path::new("x.npy"), "array", "more", "the end")),
            }
        })
    }

    #[test]
    fn reads_what_numpy_writes() {
        let h = header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n").unwrap();
        assert_eq!(h.kind, NpyType::Number(Element::F32, Endian::Little));
        assert_eq!((h.fortran, h.shape.as_slice()), (false, [3, 4].as_slice()));
        assert_eq!(h.data_bytes(Path::new("x"), "array").unwrap(), 48);
        assert_eq!(header("{'descr': '>f8', 'fortran_order': True, 'shape': (7,), }").unwrap().shape, [7]);
        assert_eq!(
            header("{'shape': (), 'descr': '|b1', 'fortran_order': False}").unwrap().shape,
            [0usize; 0]
        );
    }

    #[test]
    fn refuses_hostile_headers() {
        let kind = |text: &str| {
            header(text).and_then(|h| h.data_bytes(Path::new("x"), "a")).map(|_| ()).unwrap_err().kind
        };
        assert_eq!(
            kind("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }"),
            IoErrorKind::ObjectArray
        );
        assert_eq!(
            kind("{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (3,), }"),
            IoErrorKind::ObjectArray
        );
        assert_eq!(
            kind("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }"),
            IoErrorKind::Dtype
        );
        assert_eq!(
            kind("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }"),
            IoErrorKind::TooLarge
        );
        assert_eq!(
            kind("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4294967296, 4294967296), }"),
            IoErrorKind::TooLarge
        );
        assert_eq!(kind("{'descr': '<f16', 'fortran_order': False, 'shape': (1,), }"), IoErrorKind::Dtype);
        assert_eq!(kind("__import__('os').system('true')"), IoErrorKind::WrongFormat);
        assert_eq!(
            kind("{'descr': '<f4', 'shape': (-1,), 'fortran_order': False}"),
            IoErrorKind::WrongFormat
        );
        assert_eq!(kind("{'descr': [[[",), IoErrorKind::WrongFormat);
        assert_eq!(kind("{'descr': ']', 'fortran_order': False, 'shape': (1,)}"), IoErrorKind::Dtype);
        assert_eq!(kind(""), IoErrorKind::WrongFormat);
        let error = header("{'descr': '<é4', 'fortran_order': False, 'shape': (1,)}").unwrap();
        assert!(matches!(error.kind, NpyType::Other(_)));
    }
}
