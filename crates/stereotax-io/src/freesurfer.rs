//! Read FreeSurfer's binary surfaces (`lh.pial`) and annotations (`lh.aparc.annot`).
//!
//! All numbers are big-endian. A surface is a magic number, two lines of text, the counts, then
//! coordinates and triangles; the tail of volume geometry is left aside. An annotation holds a colour
//! per vertex and the table of colours and names. Sizes are checked against the length of the file.

use crate::element::Element;
use crate::error::{IoError, Result};
use crate::gifti::{NamedArray, NamedArrays};
use crate::positioned::PositionedFile;

/// How a surface of triangles begins.
pub(crate) const TRIANGLES: [u8; 3] = [0xff, 0xff, 0xfe];
const MAX_BYTES: u64 = 1 << 30;
const MAX_ENTRIES: usize = 100_000;
const MAX_TEXT: usize = 1 << 16;

/// A cursor over the bytes of a file.
struct Bytes<'a> {
    file: &'a PositionedFile,
    all: &'a [u8],
    at: usize,
}

impl Bytes<'_> {
    fn take(&mut self, n: usize, what: &str) -> Result<&[u8]> {
        let rest = self.all.len() - self.at;
        if n > rest {
            let (expected, found) = (format!("{n} bytes from byte {}", self.at), format!("{rest}"));
            return Err(IoError::truncated(self.file.path(), what, expected, found));
        }
        self.at += n;
        Ok(&self.all[self.at - n..self.at])
    }

    fn integer(&mut self, what: &str) -> Result<i32> {
        let bytes = self.take(4, what)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A count of things of so many bytes each, all of which must still be there.
    fn count(&mut self, bytes_each: usize, what: &str) -> Result<usize> {
        let found = self.integer(what)?;
        let rest = self.all.len() - self.at;
        match usize::try_from(found) {
            Ok(n) if n <= rest / bytes_each => Ok(n),
            Ok(n) => {
                let expected = format!("{n} entries of {bytes_each} bytes");
                Err(IoError::truncated(self.file.path(), what, expected, format!("{rest} bytes")))
            }
            Err(_) => Err(IoError::wrong_format(self.file.path(), what, "a count", format!("{found}"))),
        }
    }

    fn text(&mut self, what: &str) -> Result<String> {
        let length = self.count(1, what)?;
        if length > MAX_TEXT {
            let expected = format!("a name of at most {MAX_TEXT} bytes");
            return Err(IoError::wrong_format(self.file.path(), what, expected, format!("{length}")));
        }
        let bytes = self.take(length, what)?;
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(length);
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }
}

fn whole(file: &PositionedFile) -> Result<Vec<u8>> {
    if file.len() > MAX_BYTES {
        let found = format!("{}", file.len());
        return Err(IoError::too_large(file.path(), "file", format!("at most {MAX_BYTES} bytes"), found));
    }
    file.head(file.len() as usize)
}

/// The arrays `vertices` and `faces` of a surface of triangles.
pub(crate) fn surface(file: &PositionedFile) -> Result<NamedArrays> {
    let all = whole(file)?;
    let mut bytes = Bytes { file, all: &all, at: 3 };
    let comment = all[3..].iter().take(MAX_TEXT).collect::<Vec<_>>();
    let Some(end) = comment.windows(2).position(|pair| *pair[0] == b'\n' && *pair[1] == b'\n') else {
        let expected = "two lines of text after the first three bytes";
        return Err(IoError::wrong_format(file.path(), "file", expected, "no end of them"));
    };
    bytes.take(end + 2, "comment")?;
    let n_vertices = bytes.count(12, "number of vertices")?;
    let n_faces = bytes.integer("number of faces")?;
    let coordinates = bytes.take(12 * n_vertices, "coordinates")?;
    let read = |raw: &[u8]| [raw[0], raw[1], raw[2], raw[3]];
    let vertices = coordinates.chunks_exact(4).map(|raw| f64::from(f32::from_be_bytes(read(raw)))).collect();
    let n_faces = usize::try_from(n_faces).map_err(|_| {
        IoError::wrong_format(file.path(), "number of faces", "a count", format!("{n_faces}"))
    })?;
    let triangles = bytes.take(n_faces.saturating_mul(12), "triangles")?;
    let faces = triangles.chunks_exact(4).map(|raw| f64::from(i32::from_be_bytes(read(raw)))).collect();
    let array = |key: &str, n: usize, element, values| NamedArray {
        key: key.to_owned(),
        shape: vec![n, 3],
        element,
        values,
    };
    Ok(NamedArrays {
        arrays: vec![
            array("vertices", n_vertices, Element::F32, vertices),
            array("faces", n_faces, Element::I32, faces),
        ],
        labels: Vec::new(),
    })
}

/// The array `label` of an annotation, and its table of names. A label's number is its colour.
pub(crate) fn annotation(file: &PositionedFile) -> Result<NamedArrays> {
    let path = file.path();
    let all = whole(file)?;
    let mut bytes = Bytes { file, all: &all, at: 0 };
    let n = bytes.count(8, "number of vertices")?;
    let mut values = vec![0.0; n];
    for _ in 0..n {
        let vertex = bytes.integer("vertex")?;
        let colour = bytes.integer("label")?;
        let place = usize::try_from(vertex).ok().filter(|&v| v < n).ok_or_else(|| {
            IoError::wrong_format(path, "vertex", format!("a number below {n}"), format!("{vertex}"))
        })?;
        values[place] = f64::from(colour);
    }
    let no_table = || IoError::wrong_format(path, "file", "a table of colours and names", "none");
    if bytes.at == all.len() || bytes.integer("table of colours")? == 0 {
        return Err(no_table());
    }
    let first = bytes.integer("table of colours")?;
    // A positive number is the count of entries of the old layout, −2 announces the new one.
    let n_entries = if first > 0 {
        bytes.text("name of the table")?;
        first
    } else if first == -2 {
        bytes.integer("largest entry")?;
        bytes.text("name of the table")?;
        bytes.integer("number of entries")?
    } else {
        return Err(IoError::wrong_format(path, "table of colours", "version 1 or 2", format!("{first}")));
    };
    let n_entries = usize::try_from(n_entries).ok().filter(|&n| n <= MAX_ENTRIES).ok_or_else(|| {
        let expected = format!("at most {MAX_ENTRIES} entries");
        IoError::wrong_format(path, "table of colours", expected, format!("{n_entries}"))
    })?;
    let mut labels = Vec::new();
    for _ in 0..n_entries {
        if first < 0 {
            bytes.integer("number of the entry")?;
        }
        let name = bytes.text("name of a label")?;
        let mut colour = 0i64;
        for channel in 0..4 {
            colour += i64::from(bytes.integer("colour")? & 0xff) << (8 * channel);
        }
        // The fourth channel is transparency and not part of the label.
        labels.push((colour & 0xff_ffff, name));
    }
    let array = NamedArray { key: "label".to_owned(), shape: vec![n], element: Element::I32, values };
    Ok(NamedArrays { arrays: vec![array], labels })
}
