//! Read GIFTI files: arrays inside XML, as text, base64, or deflated base64.
//!
//! The whole file is held in memory, and its numbers as f64. Nothing outside it is ever read: entities
//! that a file declares are refused and not expanded, its DTD is not looked up, and arrays kept in a
//! second file (`ExternalFileBinary`) are refused. Sizes are checked before memory is taken.
//! Format: GIFTI Surface Data Format 1.0 (14 January 2011).

use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::element::{Element, Endian};
use crate::error::{IoError, Result};
use crate::positioned::PositionedFile;

/// Larger than any surface or label file; a longer one is a mistake.
const MAX_BYTES: u64 = 1 << 30;
/// All arrays of a file together.
const MAX_NUMBERS: usize = 1 << 26;
const MAX_ARRAYS: usize = 100_000;
const MAX_LABELS: usize = 1_000_000;
const MAX_AXES: usize = 6;
/// Deflate cannot do better.
const MAX_RATIO: usize = 1040;

/// One array of a file that holds meshes or labels.
#[derive(Debug, Clone)]
pub(crate) struct NamedArray {
    /// What it is: `pointset`, `triangle`, `label` … (its intent); `label_2` for the second of a kind.
    pub(crate) key: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) element: Element,
    /// Last axis fastest, whatever the order in the file.
    pub(crate) values: Vec<f64>,
}

/// The arrays of a file and, where it has one, its table of labels.
#[derive(Debug, Clone, Default)]
pub(crate) struct NamedArrays {
    pub(crate) arrays: Vec<NamedArray>,
    /// Number and name of each label.
    pub(crate) labels: Vec<(i64, String)>,
}

/// What the attributes of a `DataArray` say.
struct Header {
    key: String,
    shape: Vec<usize>,
    element: Element,
    encoding: Encoding,
    endian: Endian,
    column_major: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Encoding {
    Ascii,
    Base64,
    GzipBase64,
}

/// Read every array of a GIFTI file.
pub(crate) fn read(file: &PositionedFile) -> Result<NamedArrays> {
    let path = file.path();
    if file.len() > MAX_BYTES {
        return Err(IoError::too_large(
            path,
            "file",
            format!("at most {MAX_BYTES} bytes"),
            format!("{}", file.len()),
        ));
    }
    let bytes = file.head(file.len() as usize)?;
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        IoError::wrong_format(
            path,
            "file",
            "XML in UTF-8",
            format!("other bytes at byte {}", e.valid_up_to()),
        )
    })?;
    parse(path, text)
}

fn parse(path: &Path, text: &str) -> Result<NamedArrays> {
    let broken =
        |e: &dyn std::fmt::Display| IoError::wrong_format(path, "file", "well-formed XML", e.to_string());
    let mut reader = Reader::from_str(text);
    let mut found = NamedArrays::default();
    let mut n_numbers = 0usize;
    let mut inside_gifti = false;
    let mut finished = false;
    let mut header: Option<Header> = None;
    // Text of the element that is being read: `Data` or `Label`.
    let mut data: Option<String> = None;
    let mut label: Option<(i64, String)> = None;
    loop {
        match reader.read_event().map_err(|e| match &e {
            // Markup that is opened and not closed.
            quick_xml::Error::Syntax(_) => {
                IoError::truncated(path, "file", "the end of a tag", format!("the end of the file ({e})"))
            }
            _ => broken(&e),
        })? {
            Event::Eof => break,
            Event::DocType(doctype) if doctype.clone().into_inner().contains('[') => {
                return Err(IoError::wrong_format(
                    path,
                    "DOCTYPE",
                    "none, or the name of the GIFTI DTD",
                    "declarations of its own, which are never expanded",
                ));
            }
            Event::Start(start) => match start.name().as_ref() {
                "GIFTI" => inside_gifti = true,
                "DataArray" if inside_gifti => {
                    if header.is_some() {
                        return Err(IoError::wrong_format(
                            path,
                            "DataArray",
                            "one array after the other",
                            "an array inside an array",
                        ));
                    }
                    header = Some(read_header(path, &start, &found)?);
                }
                "Data" if header.is_some() => data = Some(String::new()),
                "Label" if inside_gifti => label = Some((label_key(path, &start)?, String::new())),
                _ => {}
            },
            // A label without a name, or an array without data.
            Event::Empty(empty) => match empty.name().as_ref() {
                "Label" if inside_gifti => {
                    found.labels.push((label_key(path, &empty)?, String::new()));
                }
                "Data" if header.is_some() => {
                    take(path, &mut header, "", &mut found, &mut n_numbers)?;
                }
                _ => {}
            },
            Event::Text(part) => add(&mut data, &mut label, &part.into_inner()),
            Event::CData(part) => add(&mut data, &mut label, &part.into_inner()),
            Event::GeneralRef(reference) => {
                add(&mut data, &mut label, &resolve(path, &reference)?.to_string());
            }
            Event::End(end) => match end.name().as_ref() {
                "Data" if header.is_some() => {
                    let text = data.take().unwrap_or_default();
                    take(path, &mut header, &text, &mut found, &mut n_numbers)?;
                }
                "DataArray" => {
                    if let Some(header) = header.take() {
                        let what = format!("array `{}`", header.key);
                        return Err(IoError::wrong_format(path, &what, "an element `Data`", "none"));
                    }
                }
                "Label" => {
                    if let Some((key, name)) = label.take() {
                        found.labels.push((key, name.trim().to_owned()));
                    }
                }
                "GIFTI" => finished = true,
                _ => {}
            },
            _ => {}
        }
        if found.labels.len() > MAX_LABELS || found.arrays.len() > MAX_ARRAYS {
            return Err(IoError::too_large(
                path,
                "file",
                format!("at most {MAX_LABELS} labels and {MAX_ARRAYS} arrays"),
                "more",
            ));
        }
    }
    if !inside_gifti {
        return Err(IoError::wrong_format(path, "file", "an element `GIFTI`", "none"));
    }
    if !finished {
        return Err(IoError::truncated(
            path,
            "file",
            "the end of the element `GIFTI`",
            "the end of the file",
        ));
    }
    Ok(found)
}

fn add(data: &mut Option<String>, label: &mut Option<(i64, String)>, part: &str) {
    if let Some(data) = data {
        data.push_str(part);
    } else if let Some((_, name)) = label {
        name.push_str(part);
    }
}

/// The five references of XML itself and numbered characters; no other.
pub(crate) fn resolve(path: &Path, reference: &BytesRef<'_>) -> Result<char> {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return Ok(character);
    }
    let name = reference.xml10_content();
    match name.as_ref() {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        other => Err(IoError::wrong_format(
            path,
            "text",
            "none but the predefined entities",
            format!("`&{};`", other.chars().take(40).collect::<String>()),
        )),
    }
}

pub(crate) fn attribute(path: &Path, start: &BytesStart<'_>, name: &str) -> Result<Option<String>> {
    let broken = |e: String| IoError::wrong_format(path, name, "an attribute", e);
    let Some(found) = start.try_get_attribute(name).map_err(|e| broken(e.to_string()))? else {
        return Ok(None);
    };
    let value = found.normalized_value(XmlVersion::Implicit1_0).map_err(|e| broken(e.to_string()))?;
    Ok(Some(value.into_owned()))
}

fn label_key(path: &Path, start: &BytesStart<'_>) -> Result<i64> {
    // Early writers said `Index`.
    let key = match attribute(path, start, "Key")? {
        Some(key) => key,
        None => attribute(path, start, "Index")?.unwrap_or_default(),
    };
    key.trim().parse().map_err(|_| {
        IoError::wrong_format(path, "LabelTable", "a whole number as `Key` of each label", format!("`{key}`"))
    })
}

fn read_header(path: &Path, start: &BytesStart<'_>, found: &NamedArrays) -> Result<Header> {
    let intent = attribute(path, start, "Intent")?.unwrap_or_default();
    let base = intent.trim().trim_start_matches("NIFTI_INTENT_").to_lowercase();
    let base = if base.is_empty() { "none".to_owned() } else { base };
    let same = found.arrays.iter().filter(|a| a.key.split('_').next() == base.split('_').next());
    let key = match same.filter(|a| a.key == base || a.key.starts_with(&format!("{base}_"))).count() {
        0 => base,
        n => format!("{base}_{}", n + 1),
    };
    let what = format!("array `{key}`");
    let required = |name: &str| -> Result<String> {
        attribute(path, start, name)?
            .ok_or_else(|| IoError::wrong_format(path, &what, format!("the attribute `{name}`"), "none"))
    };
    let count = |name: &str| -> Result<usize> {
        let text = required(name)?;
        text.trim().parse().map_err(|_| {
            IoError::wrong_format(path, &what, format!("a whole number as `{name}`"), format!("`{text}`"))
        })
    };
    let n_axes = count("Dimensionality")?;
    if !(1..=MAX_AXES).contains(&n_axes) {
        let expected = format!("from 1 to {MAX_AXES} axes");
        return Err(IoError::wrong_format(path, &what, expected, format!("{n_axes}")));
    }
    let mut shape = (0..n_axes).map(|k| count(&format!("Dim{k}"))).collect::<Result<Vec<_>>>()?;
    while shape.len() > 1 && shape.last() == Some(&1) {
        shape.pop();
    }
    let data_type = required("DataType")?;
    let element = match data_type.trim().trim_start_matches("NIFTI_TYPE_") {
        "UINT8" => Element::U8,
        "INT8" => Element::I8,
        "UINT16" => Element::U16,
        "INT16" => Element::I16,
        "UINT32" => Element::U32,
        "INT32" => Element::I32,
        "UINT64" => Element::U64,
        "INT64" => Element::I64,
        "FLOAT32" => Element::F32,
        "FLOAT64" => Element::F64,
        other => return Err(IoError::dtype(path, &what, "NIFTI_TYPE_FLOAT32 or _INT32", other)),
    };
    let encoding = match required("Encoding")?.trim() {
        "ASCII" => Encoding::Ascii,
        "Base64Binary" => Encoding::Base64,
        "GZipBase64Binary" => Encoding::GzipBase64,
        "ExternalFileBinary" => {
            return Err(IoError::wrong_format(
                path,
                &what,
                "data inside the file",
                "`ExternalFileBinary`: a reference to another file, which is never followed",
            ));
        }
        other => {
            let expected = "ASCII, Base64Binary or GZipBase64Binary";
            return Err(IoError::wrong_format(path, &what, expected, format!("`{other}`")));
        }
    };
    let endian = match (encoding, attribute(path, start, "Endian")?.as_deref().map(str::trim)) {
        (Encoding::Ascii, _) | (_, Some("LittleEndian")) => Endian::Little,
        (_, Some("BigEndian")) => Endian::Big,
        (_, other) => {
            let found = other.map_or("no `Endian`".to_owned(), |o| format!("`{o}`"));
            return Err(IoError::wrong_format(path, &what, "LittleEndian or BigEndian", found));
        }
    };
    let column_major = match attribute(path, start, "ArrayIndexingOrder")?.as_deref().map(str::trim) {
        Some("RowMajorOrder") => false,
        Some("ColumnMajorOrder") => true,
        // With one axis both are the same.
        None if shape.len() == 1 => false,
        other => {
            let found = other.map_or("no `ArrayIndexingOrder`".to_owned(), |o| format!("`{o}`"));
            return Err(IoError::wrong_format(path, &what, "RowMajorOrder or ColumnMajorOrder", found));
        }
    };
    Ok(Header { key, shape, element, encoding, endian, column_major })
}

/// Decode the text of `Data` and put the array among those found.
fn take(
    path: &Path,
    header: &mut Option<Header>,
    text: &str,
    found: &mut NamedArrays,
    n_numbers: &mut usize,
) -> Result<()> {
    let Some(header) = header.take() else { return Ok(()) };
    let what = format!("array `{}`", header.key);
    let count = header.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let total = count.and_then(|n| n_numbers.checked_add(n)).filter(|&n| n <= MAX_NUMBERS);
    let (Some(count), Some(total)) = (count, total) else {
        return Err(IoError::too_large(
            path,
            &what,
            format!("at most {MAX_NUMBERS} numbers in one file"),
            format!("an array of {:?}", header.shape),
        ));
    };
    *n_numbers = total;
    let in_order = match header.encoding {
        Encoding::Ascii => read_ascii(path, &what, text, count)?,
        Encoding::Base64 | Encoding::GzipBase64 => read_binary(path, &what, text, count, &header)?,
    };
    let values = if header.column_major { row_major(&in_order, &header.shape) } else { in_order };
    found.arrays.push(NamedArray { key: header.key, shape: header.shape, element: header.element, values });
    Ok(())
}

fn wrong_count(path: &Path, what: &str, unit: &str, expected: usize, found: usize) -> IoError {
    let expected_text = format!("{expected} {unit}");
    if found < expected {
        IoError::truncated(path, what, expected_text, format!("{found}"))
    } else {
        IoError::wrong_format(path, what, expected_text, "more")
    }
}

fn read_ascii(path: &Path, what: &str, text: &str, count: usize) -> Result<Vec<f64>> {
    let mut values = Vec::new();
    for word in text.split_ascii_whitespace() {
        let value = word.parse().map_err(|_| {
            IoError::wrong_format(
                path,
                what,
                "numbers",
                format!("`{}`", word.chars().take(40).collect::<String>()),
            )
        })?;
        values.push(value);
        if values.len() > count {
            break;
        }
    }
    if values.len() != count {
        return Err(wrong_count(path, what, "numbers", count, values.len()));
    }
    Ok(values)
}

fn read_binary(path: &Path, what: &str, text: &str, count: usize, header: &Header) -> Result<Vec<f64>> {
    let packed: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let packed =
        STANDARD.decode(&packed).map_err(|e| IoError::wrong_format(path, what, "base64", e.to_string()))?;
    let expected = count * header.element.bytes();
    let bytes = if header.encoding == Encoding::Base64 {
        packed
    } else {
        if expected / MAX_RATIO > packed.len() {
            let found = format!("{} packed bytes", packed.len());
            return Err(IoError::truncated(path, what, format!("{expected} bytes of data"), found));
        }
        // In spite of the name these are zlib streams; some tools write gzip all the same.
        let limit = expected as u64 + 1;
        let mut bytes = Vec::new();
        let unpacked = if packed.starts_with(&[0x1f, 0x8b]) {
            flate2::read::GzDecoder::new(&packed[..]).take(limit).read_to_end(&mut bytes)
        } else {
            flate2::read::ZlibDecoder::new(&packed[..]).take(limit).read_to_end(&mut bytes)
        };
        unpacked.map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => IoError::truncated(
                path,
                what,
                format!("{expected} bytes of data"),
                format!("{}", bytes.len()),
            ),
            _ => IoError::wrong_format(path, what, "deflated data", e.to_string()),
        })?;
        bytes
    };
    if bytes.len() != expected {
        return Err(wrong_count(path, what, "bytes of data", expected, bytes.len()));
    }
    let mut values = vec![0.0; count];
    header.element.decode(header.endian, &bytes, &mut values);
    Ok(values)
}

/// From first axis fastest to last axis fastest.
fn row_major(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let mut out = vec![0.0; values.len()];
    for (at, &value) in values.iter().enumerate() {
        let (mut rest, mut place, mut step) = (at, 0, values.len());
        for &n in shape {
            step /= n.max(1);
            place += (rest % n) * step;
            rest /= n;
        }
        out[place] = value;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::IoErrorKind;

    fn gifti(attributes: &str, data: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <!DOCTYPE GIFTI SYSTEM \"http://www.nitrc.org/frs/download.php/115/gifti.dtd\">\n\
             <GIFTI Version=\"1.0\" NumberOfDataArrays=\"1\"><MetaData/>\n\
             <DataArray Intent=\"NIFTI_INTENT_POINTSET\" {attributes}>\n\
             <CoordinateSystemTransformMatrix><MatrixData>9 9 9</MatrixData></CoordinateSystemTransformMatrix>\n\
             <Data>{data}</Data></DataArray></GIFTI>"
        )
    }

    const TWO_BY_THREE: &str = "Dimensionality=\"2\" Dim0=\"2\" Dim1=\"3\"";

    fn read_text(text: &str) -> Result<NamedArrays> {
        parse(Path::new("a.surf.gii"), text)
    }

    fn attributes(encoding: &str, order: &str, endian: &str, kind: &str) -> String {
        format!(
            "DataType=\"NIFTI_TYPE_{kind}\" ArrayIndexingOrder=\"{order}\" {TWO_BY_THREE} \
             Encoding=\"{encoding}\" Endian=\"{endian}\" ExternalFileName=\"\" ExternalFileOffset=\"\""
        )
    }

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Rows 1 2 3 and 4 5 6 in every encoding, order, byte order and type.
    #[test]
    fn every_encoding_order_and_byte_order_reads_alike() {
        let rows = [1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0];
        let columns = [1.0f64, 4.0, 2.0, 5.0, 3.0, 6.0];
        for (order, stored) in [("RowMajorOrder", rows), ("ColumnMajorOrder", columns)] {
            for endian in ["LittleEndian", "BigEndian"] {
                for kind in ["FLOAT32", "INT32"] {
                    let bytes: Vec<u8> = stored
                        .iter()
                        .flat_map(|&x| match (kind, endian) {
                            ("FLOAT32", "LittleEndian") => (x as f32).to_le_bytes(),
                            ("FLOAT32", _) => (x as f32).to_be_bytes(),
                            (_, "LittleEndian") => (x as i32).to_le_bytes(),
                            _ => (x as i32).to_be_bytes(),
                        })
                        .collect();
                    let ascii: Vec<String> = stored.iter().map(|x| format!("{x}")).collect();
                    for (encoding, text) in [
                        ("ASCII", ascii.join(" \n ")),
                        ("Base64Binary", format!("\n{}\n", STANDARD.encode(&bytes))),
                        ("GZipBase64Binary", STANDARD.encode(deflated(&bytes))),
                    ] {
                        let text = gifti(&attributes(encoding, order, endian, kind), &text);
                        let found = read_text(&text).unwrap();
                        assert_eq!(found.arrays[0].key, "pointset");
                        assert_eq!(found.arrays[0].shape, [2, 3]);
                        assert_eq!(found.arrays[0].values, rows, "{encoding} {order} {endian} {kind}");
                    }
                }
            }
        }
    }

    #[test]
    fn labels_keep_their_names_and_escapes() {
        let text = "<GIFTI><LabelTable><Label Key=\"0\" Red=\"0\">???</Label>\
                    <Label Key=\"7\"><![CDATA[V1 & V2]]></Label><Label Key=\"9\">a&amp;b&#65;</Label>\
                    <Label Key=\"11\"/></LabelTable>\
                    <DataArray Intent=\"NIFTI_INTENT_LABEL\" DataType=\"NIFTI_TYPE_INT32\" \
                    Dimensionality=\"1\" Dim0=\"3\" Encoding=\"ASCII\"><Data>0 7 9</Data></DataArray>\
                    <DataArray Intent=\"NIFTI_INTENT_LABEL\" DataType=\"NIFTI_TYPE_INT32\" \
                    Dimensionality=\"2\" Dim0=\"3\" Dim1=\"1\" ArrayIndexingOrder=\"RowMajorOrder\" \
                    Encoding=\"ASCII\"><Data>0 0 0</Data></DataArray></GIFTI>";
        let found = read_text(text).unwrap();
        let names: Vec<(i64, &str)> = found.labels.iter().map(|(k, n)| (*k, n.as_str())).collect();
        assert_eq!(names, [(0, "???"), (7, "V1 & V2"), (9, "a&bA"), (11, "")]);
        let arrays: Vec<(&str, &[usize])> =
            found.arrays.iter().map(|a| (a.key.as_str(), a.shape.as_slice())).collect();
        assert_eq!(arrays, [("label", [3].as_slice()), ("label_2", [3].as_slice())]);
    }

    #[track_caller]
    fn refused(text: &str, kind: IoErrorKind, words: &str) {
        let error = read_text(text).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn hostile_files_are_refused() {
        use IoErrorKind::{Dtype, TooLarge, Truncated, WrongFormat};
        let ascii = attributes("ASCII", "RowMajorOrder", "LittleEndian", "FLOAT32");
        let good = gifti(&ascii, "1 2 3 4 5 6");
        assert!(read_text(&good).is_ok());
        // A bomb of entities, and entities at all.
        let bomb = "<!DOCTYPE GIFTI [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]><GIFTI>&b;</GIFTI>";
        refused(bomb, WrongFormat, "never expanded");
        refused(&good.replace("1 2 3", "1 &b; 3"), WrongFormat, "`&b;`");
        let outside = "<!DOCTYPE GIFTI [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><GIFTI>&a;</GIFTI>";
        refused(outside, WrongFormat, "never expanded");
        // Cut short: in the markup, in the numbers, in the base64.
        refused(&good[..good.len() - 12], Truncated, "end of a tag");
        refused(good.trim_end_matches("</GIFTI>"), Truncated, "end of the element");
        refused(&gifti(&ascii, "1 2 3 4 5"), Truncated, "6 numbers, found 5");
        refused(&gifti(&ascii, "1 2 3 4 5 6 7"), WrongFormat, "6 numbers, found more");
        refused(&gifti(&ascii, "1 2 3 4 5 six"), WrongFormat, "`six`");
        refused(&gifti(&ascii, ""), Truncated, "6 numbers, found 0");
        let binary = attributes("Base64Binary", "RowMajorOrder", "LittleEndian", "FLOAT32");
        refused(&gifti(&binary, &STANDARD.encode([0; 20])), Truncated, "24 bytes of data, found 20");
        refused(&gifti(&binary, &STANDARD.encode([0; 28])), WrongFormat, "24 bytes of data, found more");
        refused(&gifti(&binary, "!!!"), WrongFormat, "base64");
        let packed = attributes("GZipBase64Binary", "RowMajorOrder", "LittleEndian", "FLOAT32");
        // Unpacks to more than the shape says: a bomb is never unpacked beyond it.
        let bomb = STANDARD.encode(deflated(&vec![0; 1 << 20]));
        refused(&gifti(&packed, &bomb), WrongFormat, "24 bytes of data, found more");
        let cut = deflated(&[
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
        ]);
        refused(&gifti(&packed, &STANDARD.encode(&cut[..cut.len() - 9])), Truncated, "24 bytes of data");
        refused(&gifti(&packed, &STANDARD.encode([7; 30])), WrongFormat, "deflated data");
        // Sizes.
        let huge = |axes: &str| gifti(&ascii.replace(TWO_BY_THREE, axes), "1");
        let big = "Dimensionality=\"2\" Dim0=\"4000000000\" Dim1=\"4000000000000\"";
        refused(&huge(big), TooLarge, "at most");
        refused(&huge("Dimensionality=\"2\" Dim0=\"40000000\" Dim1=\"3\""), TooLarge, "at most");
        refused(&huge("Dimensionality=\"99\" Dim0=\"1\""), WrongFormat, "axes");
        refused(&huge("Dimensionality=\"2\" Dim0=\"-2\" Dim1=\"3\""), WrongFormat, "`-2`");
        refused(&huge("Dimensionality=\"2\" Dim0=\"2\""), WrongFormat, "`Dim1`");
        // What is not read.
        refused(&good.replace("\"ASCII\"", "\"ExternalFileBinary\""), WrongFormat, "never followed");
        refused(&good.replace("\"ASCII\"", "\"Hex\""), WrongFormat, "`Hex`");
        refused(&good.replace("FLOAT32", "COMPLEX64"), Dtype, "COMPLEX64");
        refused(&good.replace("RowMajorOrder", "Any"), WrongFormat, "`Any`");
        refused("<html></html>", WrongFormat, "element `GIFTI`");
        refused("", WrongFormat, "element `GIFTI`");
        refused("<GIFTI><DataArray", Truncated, "end of a tag");
        refused("<GIFTI></DataArray></GIFTI>", WrongFormat, "well-formed XML");
        refused("<GIFTI><LabelTable><Label Key=\"x\">a</Label></LabelTable></GIFTI>", WrongFormat, "`x`");
    }
}
