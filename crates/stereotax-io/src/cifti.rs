//! Read CIFTI-2 files: series and maps on vertices and voxels (`.dtseries.nii`, `.dscalar.nii`, `.dlabel.nii`) and on
//! parcels (`.ptseries.nii`, `.pscalar.nii`).
//!
//! A file is a NIfTI-2 header, XML in an extension (code 32) that says what rows and columns are, and a matrix of maps
//! or volumes × places whose first axis is fastest. Two files are brought together by structure and vertex or voxel,
//! not by order, so that labels without a medial wall fit data with one. Connectivity files are refused.
//! Format: CIFTI-2 (March 2014). Sizes are checked against the length of the file; entities are not expanded.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::element::{Element, Endian};
use crate::error::{IoError, Result};
use crate::gifti::{attribute, resolve};
use crate::nifti;
use crate::positioned::PositionedFile;

const HEADER: usize = 540;
/// Codes of intent that CIFTI files have.
const INTENTS: std::ops::Range<i32> = 3000..3100;
const MAX_XML: u64 = 1 << 28;
const MAX_PLACES: usize = 1 << 24;
const MAX_MAPS: usize = 1 << 24;

/// Where a column of the matrix stands: its structure by number, and its vertex or voxel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    structure: usize,
    at: [u32; 3],
}

/// What a file holds, without its numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cifti {
    /// Maps or volumes.
    pub(crate) n_maps: usize,
    /// Vertices and voxels, or parcels.
    pub(crate) n_places: usize,
    pub(crate) element: Option<Element>,
    pub(crate) endian: Option<Endian>,
    /// First byte of the matrix.
    pub(crate) offset: u64,
    /// Seconds between volumes, of series.
    pub(crate) tr_s: Option<f64>,
    /// Names of parcels; empty for vertices and voxels.
    pub(crate) parcels: Vec<String>,
    /// Number and name of the labels of the first map.
    labels: Vec<(i64, String)>,
    structures: Vec<String>,
    places: Vec<Place>,
    kinds: [String; 2],
}

/// Whether a file that is NIfTI by its mark is CIFTI by its intent.
pub(crate) fn is_cifti(file: &PositionedFile) -> bool {
    let Ok(head) = file.head(HEADER) else { return false };
    let Some(bytes) = head.get(504..508).and_then(|b| <[u8; 4]>::try_from(b).ok()) else { return false };
    head.get(4..7) == Some(b"n+2")
        && (INTENTS.contains(&i32::from_le_bytes(bytes)) || INTENTS.contains(&i32::from_be_bytes(bytes)))
}

/// Read the header and the XML.
pub(crate) fn open(file: &Arc<PositionedFile>) -> Result<Cifti> {
    let path = file.path();
    let head = file.head(HEADER)?;
    if head.len() < HEADER {
        return Err(IoError::truncated(path, "header", format!("{HEADER} bytes"), format!("{}", head.len())));
    }
    let little = head[..4] == 540i32.to_le_bytes();
    let endian = if little { Endian::Little } else { Endian::Big };
    let number = |element: Element, at: usize| {
        let mut out = [0.0];
        element.decode(endian, &head[at..at + element.bytes()], &mut out);
        out[0]
    };
    let axis = |i: usize| number(Element::I64, 16 + 8 * i);
    let count = |i: usize, most: usize| {
        let n = axis(i);
        if n >= 1.0 && n <= most as f64 {
            return Ok(n as usize);
        }
        Err(IoError::wrong_format(path, "header", format!("an axis of 1 to {most}"), format!("{n}")))
    };
    if axis(0) != 6.0 || (1..=4).any(|i| axis(i) != 1.0) {
        let found = format!("{} axes", axis(0));
        return Err(IoError::wrong_format(
            path,
            "header",
            "a matrix (six axes, the first four of length 1)",
            found,
        ));
    }
    let (n_maps, n_places) = (count(5, MAX_MAPS)?, count(6, MAX_PLACES)?);
    let element = nifti::element(path, number(Element::I16, 12))?;
    let (slope, intercept) = (number(Element::F64, 176), number(Element::F64, 184));
    if (slope != 0.0 && slope != 1.0) || intercept != 0.0 {
        let found = format!("slope {slope}, intercept {intercept}");
        return Err(IoError::wrong_format(path, "header", "no scaling, which CIFTI does not know", found));
    }
    let offset = number(Element::I64, 168);
    let needed = n_maps as u64 * n_places as u64 * element.bytes() as u64;
    if !(offset >= 544.0 && offset + needed as f64 <= file.len() as f64) {
        return Err(IoError::truncated(
            path,
            "matrix",
            format!("{n_maps} × {n_places} numbers from byte {offset}"),
            format!("a file of {} bytes", file.len()),
        ));
    }
    let mut found = Cifti {
        n_maps,
        n_places,
        element: Some(element),
        endian: Some(endian),
        offset: offset as u64,
        ..Cifti::default()
    };
    let xml = extension(file, endian, offset as u64)?;
    found.read_xml(path, &xml)?;
    found.check(path)?;
    Ok(found)
}

/// The text of the extension of code 32.
fn extension(file: &Arc<PositionedFile>, endian: Endian, end: u64) -> Result<String> {
    let path = file.path();
    let missing =
        |found: String| IoError::wrong_format(path, "extension", "XML of code 32 behind the header", found);
    let mut at = HEADER as u64 + 4;
    while at + 8 <= end {
        let mut head = [0u8; 8];
        file.read_exact_at("extension", at, &mut head)?;
        let mut numbers = [0.0; 2];
        Element::I32.decode(endian, &head, &mut numbers);
        let size = numbers[0];
        if !(size >= 8.0 && at as f64 + size <= end as f64) {
            return Err(missing(format!("one of {size} bytes")));
        }
        if numbers[1] == 32.0 {
            if size as u64 > MAX_XML {
                return Err(IoError::too_large(
                    path,
                    "extension",
                    format!("{MAX_XML} bytes"),
                    format!("{size}"),
                ));
            }
            let mut bytes = vec![0u8; size as usize - 8];
            file.read_exact_at("extension", at + 8, &mut bytes)?;
            while bytes.last().is_some_and(|b| *b == 0) {
                bytes.pop();
            }
            return String::from_utf8(bytes).map_err(|_| missing("bytes that are no text".into()));
        }
        at += size as u64;
    }
    Err(missing("none".into()))
}

/// What the text of an element is for.
enum Reading {
    Vertices(usize),
    Voxels(usize),
    Label(i64),
}

impl Cifti {
    fn read_xml(&mut self, path: &Path, xml: &str) -> Result<()> {
        let broken = |e: String| IoError::wrong_format(path, "extension", "well-formed CIFTI-2 XML", e);
        let mut reader = Reader::from_str(xml);
        let mut reading: Option<(Reading, String)> = None;
        let mut model: Option<usize> = None;
        let mut n_maps_named = 0;
        loop {
            match reader.read_event().map_err(|e| broken(e.to_string()))? {
                Event::Eof => return Ok(()),
                Event::DocType(doctype) if doctype.clone().into_inner().contains('[') => {
                    return Err(broken("declarations of its own, which are never expanded".into()));
                }
                Event::Start(start) => match start.name().as_ref() {
                    "MatrixIndicesMap" => self.map(path, &start)?,
                    "NamedMap" => n_maps_named += 1,
                    "BrainModel" => model = Some(self.brain_model(path, &start)?),
                    "VertexIndices" => reading = model.map(|n| (Reading::Vertices(n), String::new())),
                    "VoxelIndicesIJK" => reading = model.map(|n| (Reading::Voxels(n), String::new())),
                    "Label" if n_maps_named == 1 => {
                        let key = whole(path, &start, "Key")?;
                        reading = Some((Reading::Label(key), String::new()));
                    }
                    "Parcel" => {
                        self.parcels.push(attribute(path, &start, "Name")?.unwrap_or_default());
                        // Its own lists of vertices are not needed.
                        model = None;
                    }
                    _ => {}
                },
                Event::Empty(empty) if empty.name().as_ref() == "MatrixIndicesMap" => {
                    self.map(path, &empty)?
                }
                Event::Text(part) => {
                    if let Some((_, text)) = &mut reading {
                        text.push_str(&part.into_inner());
                    }
                }
                Event::CData(part) => {
                    if let Some((_, text)) = &mut reading {
                        text.push_str(&part.into_inner());
                    }
                }
                Event::GeneralRef(reference) => {
                    let character = resolve(path, &reference)?;
                    if let Some((_, text)) = &mut reading {
                        text.push(character);
                    }
                }
                Event::End(end) => match end.name().as_ref() {
                    "VertexIndices" | "VoxelIndicesIJK" | "Label" => {
                        if let Some((what, text)) = reading.take() {
                            self.take(path, what, &text)?;
                        }
                    }
                    "BrainModel" => model = None,
                    _ => {}
                },
                _ => {}
            }
        }
    }

    fn map(&mut self, path: &Path, start: &BytesStart<'_>) -> Result<()> {
        let along = attribute(path, start, "AppliesToMatrixDimension")?.unwrap_or_default();
        let kind = attribute(path, start, "IndicesMapToDataType")?.unwrap_or_default();
        let kind = kind.trim_start_matches("CIFTI_INDEX_TYPE_").to_lowercase();
        if kind == "series" {
            let step: f64 =
                attribute(path, start, "SeriesStep")?.and_then(|t| t.trim().parse().ok()).unwrap_or(0.0);
            let exponent: i32 =
                attribute(path, start, "SeriesExponent")?.and_then(|t| t.trim().parse().ok()).unwrap_or(0);
            let unit = attribute(path, start, "SeriesUnit")?.unwrap_or_default();
            let tr = step * 10f64.powi(exponent.clamp(-30, 30));
            self.tr_s = (unit.trim() == "SECOND" && tr > 0.0 && tr.is_finite()).then_some(tr);
        }
        for part in along.split(',') {
            match part.trim() {
                "0" => self.kinds[0] = kind.clone(),
                "1" => self.kinds[1] = kind.clone(),
                _ => {}
            }
        }
        Ok(())
    }

    /// The number of a structure's model; its places are appended when their list ends.
    fn brain_model(&mut self, path: &Path, start: &BytesStart<'_>) -> Result<usize> {
        let offset = whole(path, start, "IndexOffset")?;
        if offset != self.places.len() as i64 {
            let expected = format!("structures one after the other: offset {}", self.places.len());
            return Err(IoError::wrong_format(path, "BrainModel", expected, format!("{offset}")));
        }
        let name = attribute(path, start, "BrainStructure")?.unwrap_or_default();
        self.structures.push(name.trim().trim_start_matches("CIFTI_STRUCTURE_").to_owned());
        Ok(self.structures.len() - 1)
    }

    fn take(&mut self, path: &Path, what: Reading, text: &str) -> Result<()> {
        let (structure, axes) = match what {
            Reading::Label(key) => {
                self.labels.push((key, text.trim().to_owned()));
                return Ok(());
            }
            Reading::Vertices(structure) => (structure, 1),
            Reading::Voxels(structure) => (structure, 3),
        };
        let mut numbers = Vec::new();
        for word in text.split_ascii_whitespace() {
            numbers.push(word.parse::<u32>().map_err(|_| {
                let found = format!("`{}`", word.chars().take(40).collect::<String>());
                IoError::wrong_format(path, "BrainModel", "whole numbers from 0", found)
            })?);
        }
        if numbers.len() % axes != 0 || self.places.len() + numbers.len() / axes > self.n_places {
            let found = format!("{} numbers", numbers.len());
            let expected = format!("places of {axes} numbers, {} in all", self.n_places);
            return Err(IoError::wrong_format(path, "BrainModel", expected, found));
        }
        self.places.extend(numbers.chunks_exact(axes).map(|c| Place {
            structure,
            at: [c[0], c.get(1).copied().unwrap_or(0), c.get(2).copied().unwrap_or(0)],
        }));
        Ok(())
    }

    fn check(&self, path: &Path) -> Result<()> {
        let [maps, places] = &self.kinds;
        let known = match places.as_str() {
            "brain_models" => self.places.len(),
            "parcels" => self.parcels.len(),
            _ => {
                let expected = "maps or volumes × places (.dtseries, .dscalar, .dlabel, .ptseries, .pscalar)";
                return Err(IoError::wrong_format(
                    path,
                    "matrix",
                    expected,
                    format!("`{maps}` × `{places}`"),
                ));
            }
        };
        if !matches!(maps.as_str(), "series" | "scalars" | "labels") {
            let expected = "a series, scalars or labels along the first axis";
            return Err(IoError::wrong_format(path, "matrix", expected, format!("`{maps}`")));
        }
        if known != self.n_places {
            let expected = format!("{} places, one per column", self.n_places);
            return Err(IoError::wrong_format(path, "extension", expected, format!("{known}")));
        }
        Ok(())
    }

    /// One sentence.
    pub(crate) fn describe(&self) -> String {
        let places = if self.parcels.is_empty() {
            format!("vertices and voxels of {} structures", self.structures.len())
        } else {
            "parcels".to_owned()
        };
        format!("CIFTI-2 {}: {} × {} {places}", self.kinds[0], self.n_maps, self.n_places)
    }

    /// The name of each place by the first map of labels; empty where it belongs to none.
    pub(crate) fn names(&self, file: &Arc<PositionedFile>) -> Result<Vec<String>> {
        let path = file.path();
        if !self.parcels.is_empty() {
            return Ok(self.parcels.clone());
        }
        let (Some(element), Some(endian)) = (self.element, self.endian) else { return Ok(Vec::new()) };
        if self.labels.is_empty() {
            return Err(IoError::dtype(path, "matrix", "labels (.dlabel.nii) or parcels", &self.kinds[0]));
        }
        let names: HashMap<i64, &String> = self.labels.iter().map(|(key, name)| (*key, name)).collect();
        let mut found = Vec::with_capacity(self.n_places);
        let mut bytes = vec![0u8; element.bytes()];
        for place in 0..self.n_places {
            // The first map is the first number of every column.
            let at = self.offset + (place * self.n_maps * element.bytes()) as u64;
            file.read_exact_at("matrix", at, &mut bytes)?;
            let mut label = [0.0];
            element.decode(endian, &bytes, &mut label);
            let name = if label[0] == 0.0 { Some(String::new()) } else { None };
            let known = names.get(&(label[0] as i64)).filter(|_| label[0].fract() == 0.0);
            found.push(name.or_else(|| known.map(|n| (*n).clone())).ok_or_else(|| {
                let found = format!("{} at place {place}", label[0]);
                IoError::wrong_format(path, "matrix", "labels that the file's table names", found)
            })?);
        }
        Ok(found)
    }
}

/// Names of the parcels of a file; none for vertices and voxels.
pub(crate) fn parcels(path: &Path) -> Result<Vec<String>> {
    Ok(open(&Arc::new(PositionedFile::open(path)?))?.parcels)
}

/// The names of `labels` at the places of `data`, by structure and vertex or voxel; empty where the labels have no such
/// place.
pub(crate) fn names_on(data: &Path, labels: &Path) -> Result<Vec<String>> {
    let open_file = |path: &Path| Ok::<_, IoError>(Arc::new(PositionedFile::open(path)?));
    let (data_file, label_file) = (open_file(data)?, open_file(labels)?);
    let (wanted, found) = (open(&data_file)?, open(&label_file)?);
    let names = found.names(&label_file)?;
    let key = |cifti: &Cifti, place: &Place| (cifti.structures[place.structure].clone(), place.at);
    let by_place: HashMap<_, &String> = found.places.iter().map(|p| key(&found, p)).zip(&names).collect();
    let matched: Vec<String> = wanted
        .places
        .iter()
        .map(|p| by_place.get(&key(&wanted, p)).map_or(String::new(), |n| (*n).clone()))
        .collect();
    if matched.iter().all(String::is_empty) {
        return Err(IoError::shape(
            labels,
            "labels",
            format!("vertices and voxels of `{}`", data.display()),
            "none of them with a label",
            "give labels on the same mesh (fs_LR 32k, for example)",
        ));
    }
    Ok(matched)
}

fn whole(path: &Path, start: &BytesStart<'_>, name: &str) -> Result<i64> {
    let text = attribute(path, start, name)?.unwrap_or_default();
    text.trim().parse().map_err(|_| {
        IoError::wrong_format(path, "extension", format!("a whole number as `{name}`"), format!("`{text}`"))
    })
}
