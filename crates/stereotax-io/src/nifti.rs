//! Read NIfTI-1 and NIfTI-2 volumes, plain or gzipped, one volume after the other.
//!
//! ```text
//! value = slope · stored + intercept                  (no scaling where the slope is 0 or NaN)
//! (x, y, z) in mm = affine · (i, j, k, 1)             sform if its code is set, else qform, else unknown
//! ```
//!
//! Voxels come with i fastest, as they lie in the file. Sizes are checked before memory is taken; memory is two
//! volumes whatever the length of the series. Pairs of .hdr and .img, complex numbers and colours are refused.
//! Format: NIfTI-1.1 (2007) and NIfTI-2 (2011). Cost: one pass over the file.

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use crate::element::{Element, Endian};
use crate::error::{IoError, IoErrorKind, Result};
use crate::positioned::{PositionedFile, Stretch};

/// A volume with more voxels than this is a mistake.
const MAX_VOXELS: usize = 1 << 28;
const MAX_VOLUMES: usize = 1 << 24;
/// Deflate cannot do better.
const MAX_RATIO: u64 = 1040;
const HEADER_1: usize = 348;
const HEADER_2: usize = 540;

/// Where the voxels of a volume stand.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeGrid {
    /// Voxels along i, j and k.
    pub shape: [usize; 3],
    /// Rows x, y, z (mm) by columns i, j, k, 1; `None` where the file does not say.
    pub affine: Option<[[f64; 4]; 3]>,
}

/// An open NIfTI file of which only the header has been read.
#[derive(Debug)]
pub struct VolumeFile {
    path: PathBuf,
    /// Where the voxels stand.
    pub grid: VolumeGrid,
    /// Volumes; 1 for a single one.
    pub n_volumes: usize,
    /// Seconds between volumes, where the file says.
    pub tr_s: Option<f64>,
    /// How one number is stored.
    pub element: Element,
    endian: Endian,
    slope: f64,
    intercept: f64,
    offset: u64,
    gzipped: bool,
    file: Arc<PositionedFile>,
}

impl VolumeGrid {
    /// Voxels in all.
    pub fn n_voxels(&self) -> usize {
        self.shape.iter().product()
    }

    /// Place in mm of a voxel (or of a point between voxels); `None` without an affine.
    pub fn place(&self, voxel: [f64; 3]) -> Option<[f64; 3]> {
        self.affine.map(|a| a.map(|row| row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3]))
    }

    /// The largest distance between the corners of two grids of one shape, in voxels of the smaller side;
    /// `None` where the shapes or the knowledge of places differ. 0 if neither says where it stands.
    pub fn distance(&self, other: &VolumeGrid) -> Option<f64> {
        if self.shape != other.shape {
            return None;
        }
        let (Some(affine), Some(_)) = (self.affine, other.affine) else {
            return (self.affine.is_none() && other.affine.is_none()).then_some(0.0);
        };
        let side = |axis: usize| affine.iter().map(|row| row[axis] * row[axis]).sum::<f64>().sqrt();
        let side = side(0).min(side(1)).min(side(2));
        let mut largest = 0.0f64;
        for corner in 0..8 {
            let at = [0, 1, 2]
                .map(|axis| if corner >> axis & 1 == 1 { (self.shape[axis].max(1) - 1) as f64 } else { 0.0 });
            let (here, there) = (self.place(at)?, other.place(at)?);
            let squares: f64 = here.iter().zip(there).map(|(a, b)| (a - b).powi(2)).sum();
            largest = largest.max(squares.sqrt() / side);
        }
        Some(largest)
    }

    /// For every voxel of `onto`, the nearest voxel here (its position with i fastest), or `None` outside.
    /// `None` in all where either grid does not say where it stands, or its axes do not span space.
    pub fn nearest(&self, onto: &VolumeGrid) -> Option<Vec<Option<usize>>> {
        let (from, to) = (onto.affine?, inverse(self.affine?)?);
        let [ni, nj, nk] = self.shape;
        let mut found = Vec::with_capacity(onto.n_voxels());
        for k in 0..onto.shape[2] {
            for j in 0..onto.shape[1] {
                for i in 0..onto.shape[0] {
                    let mm = from.map(|r| r[0] * i as f64 + r[1] * j as f64 + r[2] * k as f64 + r[3]);
                    let at = to.map(|r| (r[0] * mm[0] + r[1] * mm[1] + r[2] * mm[2] + r[3] + 0.5).floor());
                    let inside = at.iter().zip([ni, nj, nk]).all(|(x, n)| *x >= 0.0 && *x < n as f64);
                    let [x, y, z] = at.map(|x| x as usize);
                    found.push(inside.then(|| x + ni * (y + nj * z)));
                }
            }
        }
        Some(found)
    }
}

/// The affine that leads back.
fn inverse(a: [[f64; 4]; 3]) -> Option<[[f64; 4]; 3]> {
    let minor = |r: usize, c: usize| {
        let (r1, r2, c1, c2) = ((r + 1) % 3, (r + 2) % 3, (c + 1) % 3, (c + 2) % 3);
        a[r1][c1] * a[r2][c2] - a[r1][c2] * a[r2][c1]
    };
    let determinant: f64 = (0..3).map(|c| a[0][c] * minor(0, c)).sum();
    let size: f64 = (0..3).map(|c| (0..3).map(|r| a[r][c] * a[r][c]).sum::<f64>().sqrt()).product();
    if !(determinant.abs() > 1e-9 * size) {
        return None;
    }
    let mut out = [[0.0; 4]; 3];
    for r in 0..3 {
        for c in 0..3 {
            out[r][c] = minor(c, r) / determinant;
        }
        out[r][3] = -(0..3).map(|c| out[r][c] * a[c][3]).sum::<f64>();
    }
    Some(out)
}

/// Whether the file's first bytes, unpacked where they are gzipped, are those of a NIfTI header.
pub(crate) fn is_nifti(file: &PositionedFile) -> bool {
    let Ok(head) = file.head(HEADER_2) else { return false };
    let bytes = if head.starts_with(&[0x1f, 0x8b]) {
        let mut bytes = Vec::new();
        let _ = MultiGzDecoder::new(head.as_slice()).take(HEADER_1 as u64).read_to_end(&mut bytes);
        bytes
    } else {
        head
    };
    let one = bytes.len() >= HEADER_1 && matches!(&bytes[344..347], b"n+1" | b"ni1");
    one || bytes.len() >= 8 && matches!(&bytes[4..7], b"n+2" | b"ni2")
}

/// Fields of a header at stated bytes.
struct Header<'a> {
    bytes: &'a [u8],
    endian: Endian,
}

impl Header<'_> {
    fn number(&self, element: Element, at: usize) -> f64 {
        let mut out = [0.0];
        element.decode(self.endian, &self.bytes[at..at + element.bytes()], &mut out);
        out[0]
    }

    fn numbers<const N: usize>(&self, element: Element, at: usize) -> [f64; N] {
        std::array::from_fn(|i| self.number(element, at + i * element.bytes()))
    }
}

/// What both versions of the header say, in f64.
struct Fields {
    dim: [f64; 8],
    pixdim: [f64; 8],
    datatype: f64,
    offset: f64,
    slope: f64,
    intercept: f64,
    units: u8,
    codes: [f64; 2],
    quaternion: [f64; 3],
    origin: [f64; 3],
    rows: [[f64; 4]; 3],
}

fn fields(header: &Header<'_>, version: u8) -> Fields {
    use Element::{F32, F64, I16, I32, I64};
    if version == 1 {
        Fields {
            dim: header.numbers(I16, 40),
            pixdim: header.numbers(F32, 76),
            datatype: header.number(I16, 70),
            offset: header.number(F32, 108),
            slope: header.number(F32, 112),
            intercept: header.number(F32, 116),
            units: header.bytes[123],
            codes: header.numbers(I16, 252),
            quaternion: header.numbers(F32, 256),
            origin: header.numbers(F32, 268),
            rows: [280, 296, 312].map(|at| header.numbers(F32, at)),
        }
    } else {
        Fields {
            dim: header.numbers(I64, 16),
            pixdim: header.numbers(F64, 104),
            datatype: header.number(I16, 12),
            offset: header.number(I64, 168),
            slope: header.number(F64, 176),
            intercept: header.number(F64, 184),
            units: header.number(I32, 500) as u8,
            codes: header.numbers(I32, 344),
            quaternion: header.numbers(F64, 352),
            origin: header.numbers(F64, 376),
            rows: [400, 432, 464].map(|at| header.numbers(F64, at)),
        }
    }
}

impl Fields {
    fn affine(&self) -> Option<[[f64; 4]; 3]> {
        let found = if self.codes[1] > 0.0 {
            self.rows
        } else if self.codes[0] > 0.0 {
            let [b, c, d] = self.quaternion;
            let a = (1.0 - b * b - c * c - d * d).max(0.0).sqrt();
            let turn = [
                [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
                [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
                [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
            ];
            let last = if self.pixdim[0] < 0.0 { -self.pixdim[3] } else { self.pixdim[3] };
            let sides = [self.pixdim[1], self.pixdim[2], last];
            std::array::from_fn(|r| {
                [turn[r][0] * sides[0], turn[r][1] * sides[1], turn[r][2] * sides[2], self.origin[r]]
            })
        } else {
            return None;
        };
        found.iter().flatten().all(|x| x.is_finite()).then_some(found)
    }

    fn tr_s(&self) -> Option<f64> {
        let scale = match self.units & 0x38 {
            8 => 1.0,
            16 => 1e-3,
            24 => 1e-6,
            _ => return None,
        };
        Some(self.pixdim[4] * scale).filter(|tr| *tr > 0.0 && tr.is_finite())
    }
}

impl VolumeFile {
    /// Read the header of a NIfTI file.
    ///
    /// # Errors
    /// Bytes that are no NIfTI header, a pair of files, more than four axes, numbers that are no real numbers,
    /// a file shorter than its header promises.
    pub fn open(path: &Path) -> Result<VolumeFile> {
        let file = Arc::new(PositionedFile::open(path)?);
        let gzipped = file.head(2)? == [0x1f, 0x8b];
        let mut bytes = Vec::with_capacity(HEADER_2);
        stream(&file, gzipped)
            .take(HEADER_2 as u64)
            .read_to_end(&mut bytes)
            .map_err(|e| IoError::reading(path, "header", &e))?;
        let Some((version, endian)) = version(&bytes) else {
            return Err(IoError::wrong_format(path, "header", "a NIfTI-1 or NIfTI-2 header", "other bytes"));
        };
        let magic = if version == 1 { &bytes[344..347] } else { &bytes[4..7] };
        if magic != b"n+1" && magic != b"n+2" {
            let found = if magic == b"ni1" || magic == b"ni2" {
                "a header whose voxels are in another file (.hdr with .img)"
            } else {
                "an Analyze header, or one without the NIfTI mark"
            };
            return Err(IoError::wrong_format(path, "header", "one file with header and voxels", found));
        }
        let f = fields(&Header { bytes: &bytes, endian }, version);
        let (shape, n_volumes) = sizes(path, &f.dim)?;
        let element = element(path, f.datatype)?;
        let least = if version == 1 { HEADER_1 } else { HEADER_2 } as f64;
        if !(f.offset >= least && f.offset <= 1e9) {
            return Err(IoError::wrong_format(
                path,
                "header",
                format!("voxels from byte {least} on"),
                format!("from byte {}", f.offset),
            ));
        }
        let scaled = f.slope != 0.0 && f.slope.is_finite();
        let found = VolumeFile {
            path: path.to_owned(),
            grid: VolumeGrid { shape, affine: f.affine() },
            n_volumes,
            tr_s: f.tr_s(),
            element,
            endian,
            slope: if scaled { f.slope } else { 1.0 },
            intercept: if scaled && f.intercept.is_finite() { f.intercept } else { 0.0 },
            offset: f.offset as u64,
            gzipped,
            file,
        };
        found.check_length()?;
        Ok(found)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether going back to an earlier volume means unpacking from the start.
    pub fn is_gzipped(&self) -> bool {
        self.gzipped
    }

    /// Hand over the volumes in order, each with i fastest, until `take` fails or all were read.
    pub fn each_volume(&self, take: impl FnMut(usize, &[f64]) -> Result<()>) -> Result<()> {
        self.volumes(0..self.n_volumes, take)
    }

    /// Hand over some of the volumes in order.
    pub fn volumes(
        &self,
        wanted: Range<usize>,
        mut take: impl FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        let n = self.grid.n_voxels();
        let size = n * self.element.bytes();
        let begin = self.offset + wanted.start as u64 * size as u64;
        let mut source = if self.gzipped {
            let mut source = stream(&self.file, true);
            let skipped = std::io::copy(&mut (&mut source).take(begin), &mut std::io::sink())
                .map_err(|e| self.unpacking(wanted.start, &e))?;
            if skipped < begin {
                return Err(self.ends_early(wanted.start));
            }
            source
        } else {
            Box::new(Stretch::new(self.file.clone(), begin, self.file.len()))
        };
        let mut bytes = vec![0u8; size];
        let mut values = vec![0.0; n];
        for volume in wanted {
            source.read_exact(&mut bytes).map_err(|e| match e.kind() {
                std::io::ErrorKind::UnexpectedEof => self.ends_early(volume),
                _ => self.unpacking(volume, &e),
            })?;
            self.element.decode(self.endian, &bytes, &mut values);
            if self.slope != 1.0 || self.intercept != 0.0 {
                values.iter_mut().for_each(|v| *v = self.slope * *v + self.intercept);
            }
            take(volume, &values)?;
        }
        Ok(())
    }

    /// The numbers that the header promises must be in the file, or at least not be impossible.
    fn check_length(&self) -> Result<()> {
        let bytes = (self.grid.n_voxels() as u64)
            .checked_mul(self.n_volumes as u64)
            .and_then(|n| n.checked_mul(self.element.bytes() as u64))
            .and_then(|n| n.checked_add(self.offset));
        let most = if self.gzipped { self.file.len().saturating_mul(MAX_RATIO) } else { self.file.len() };
        match bytes {
            Some(bytes) if bytes <= most => Ok(()),
            _ => Err(IoError::truncated(
                &self.path,
                "volumes",
                format!("{} of {:?} voxels", self.n_volumes, self.grid.shape),
                format!("a file of {} bytes", self.file.len()),
            )),
        }
    }

    fn ends_early(&self, volume: usize) -> IoError {
        IoError::truncated(
            &self.path,
            "volumes",
            format!("{} volumes", self.n_volumes),
            format!("the end of the file in volume {volume} (from 0)"),
        )
    }

    fn unpacking(&self, volume: usize, error: &std::io::Error) -> IoError {
        IoError::new(
            IoErrorKind::Unreadable,
            &self.path,
            format!("volume {volume} (from 0)"),
            "data that can be read and unpacked",
            error.to_string(),
            "copy or download the file again",
        )
    }
}

fn stream(file: &Arc<PositionedFile>, gzipped: bool) -> Box<dyn Read> {
    let stretch = std::io::BufReader::with_capacity(1 << 18, Stretch::new(file.clone(), 0, file.len()));
    if gzipped { Box::new(MultiGzDecoder::new(stretch)) } else { Box::new(stretch) }
}

/// Version and byte order, by the size that a header says it has.
fn version(bytes: &[u8]) -> Option<(u8, Endian)> {
    let size: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    let found = match (i32::from_le_bytes(size), i32::from_be_bytes(size)) {
        (348, _) => (1, Endian::Little),
        (_, 348) => (1, Endian::Big),
        (540, _) => (2, Endian::Little),
        (_, 540) => (2, Endian::Big),
        _ => return None,
    };
    (bytes.len() >= if found.0 == 1 { HEADER_1 } else { HEADER_2 }).then_some(found)
}

fn sizes(path: &Path, dim: &[f64; 8]) -> Result<([usize; 3], usize)> {
    let n_axes = dim[0];
    let shown = || format!("{} axes {:?}", n_axes, &dim[1..]);
    if !(1.0..=7.0).contains(&n_axes) {
        return Err(IoError::wrong_format(path, "header", "from 1 to 7 axes", shown()));
    }
    let axis = |i: usize| if (i as f64) <= n_axes { dim[i] } else { 1.0 };
    if (1..=7).any(|i| !(axis(i) >= 1.0)) || (5..=7).any(|i| axis(i) != 1.0) {
        return Err(IoError::shape(
            path,
            "volumes",
            "three axes of space and at most one of time, none of them empty",
            shown(),
            "average or split the further axes first",
        ));
    }
    let too_large =
        || IoError::too_large(path, "volumes", format!("at most {MAX_VOXELS} voxels a volume"), shown());
    let [i, j, k, t] = [1, 2, 3, 4].map(|a| axis(a) as usize);
    let voxels = i.checked_mul(j).and_then(|n| n.checked_mul(k)).filter(|n| *n <= MAX_VOXELS);
    if voxels.is_none() || t > MAX_VOLUMES {
        return Err(too_large());
    }
    Ok(([i, j, k], t))
}

pub(crate) fn element(path: &Path, code: f64) -> Result<Element> {
    Ok(match code as i32 {
        2 => Element::U8,
        4 => Element::I16,
        8 => Element::I32,
        16 => Element::F32,
        64 => Element::F64,
        256 => Element::I8,
        512 => Element::U16,
        768 => Element::U32,
        1024 => Element::I64,
        1280 => Element::U64,
        other => {
            let name = match other {
                1 => "bits",
                32 | 1792 | 2048 => "complex numbers",
                128 | 2304 => "colours",
                1536 => "numbers of 128 bits",
                _ => "an unknown type",
            };
            let found = format!("{name} (code {other})");
            return Err(IoError::dtype(path, "voxels", "real numbers of 8 to 64 bits", &found));
        }
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    /// A NIfTI-1 file of f32, little-endian, with an sform.
    pub(crate) fn bytes(shape: [usize; 4], affine: Option<[[f32; 4]; 3]>, values: &[f32]) -> Vec<u8> {
        let mut head = vec![0u8; 352];
        head[..4].copy_from_slice(&348i32.to_le_bytes());
        let n_axes = if shape[3] > 1 { 4 } else { 3 };
        for (i, n) in [n_axes, shape[0], shape[1], shape[2], shape[3], 1, 1, 1].into_iter().enumerate() {
            head[40 + 2 * i..42 + 2 * i].copy_from_slice(&(n as i16).to_le_bytes());
        }
        head[70..72].copy_from_slice(&16i16.to_le_bytes());
        head[76 + 16..76 + 20].copy_from_slice(&1500f32.to_le_bytes());
        head[108..112].copy_from_slice(&352f32.to_le_bytes());
        head[123] = 2 + 16;
        if let Some(affine) = affine {
            head[254..256].copy_from_slice(&1i16.to_le_bytes());
            for (i, x) in affine.iter().flatten().enumerate() {
                head[280 + 4 * i..284 + 4 * i].copy_from_slice(&x.to_le_bytes());
            }
        }
        head[344..348].copy_from_slice(b"n+1\0");
        values.iter().for_each(|v| head.extend(v.to_le_bytes()));
        head
    }

    pub(crate) const MM2: [[f32; 4]; 3] = [[2.0, 0.0, 0.0, -3.0], [0.0, 2.0, 0.0, 5.0], [0.0, 0.0, 2.0, 7.0]];

    fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn all(file: &VolumeFile) -> Vec<f64> {
        let mut found = vec![];
        file.each_volume(|_, volume| {
            found.extend_from_slice(volume);
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn plain_and_gzipped_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let values: Vec<f32> = (0..24).map(|v| v as f32 - 3.5).collect();
        let plain = bytes([2, 3, 2, 2], Some(MM2), &values);
        let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        packed.write_all(&plain).unwrap();
        for (name, bytes) in [("a.nii", plain.clone()), ("a.nii.gz", packed.finish().unwrap())] {
            let file = VolumeFile::open(&write(folder.path(), name, &bytes)).unwrap();
            assert_eq!((file.grid.shape, file.n_volumes, file.tr_s), ([2, 3, 2], 2, Some(1.5)));
            assert_eq!(file.grid.place([1.0, 2.0, 1.0]), Some([-1.0, 9.0, 9.0]));
            assert!(all(&file).iter().zip(&values).all(|(a, b)| *a == f64::from(*b)));
        }
    }

    #[test]
    fn big_endian_scaled_integers_of_version_two() {
        let folder = tempfile::tempdir().unwrap();
        let mut head = vec![0u8; 544];
        head[..4].copy_from_slice(&540i32.to_be_bytes());
        head[4..12].copy_from_slice(b"n+2\0\r\n\x1a\n");
        head[12..14].copy_from_slice(&4i16.to_be_bytes());
        for (i, n) in [3i64, 2, 1, 1, 1, 1, 1, 1].into_iter().enumerate() {
            head[16 + 8 * i..24 + 8 * i].copy_from_slice(&n.to_be_bytes());
        }
        for (i, n) in [-1.0f64, 1.0, 2.0, 3.0].into_iter().enumerate() {
            head[104 + 8 * i..112 + 8 * i].copy_from_slice(&n.to_be_bytes());
        }
        head[168..176].copy_from_slice(&544i64.to_be_bytes());
        head[176..184].copy_from_slice(&0.5f64.to_be_bytes());
        head[184..192].copy_from_slice(&10f64.to_be_bytes());
        head[344..348].copy_from_slice(&1i32.to_be_bytes());
        // Half a turn about x: y and z change sign, and so does k by qfac.
        head[352..360].copy_from_slice(&1f64.to_be_bytes());
        head.extend([-2i16, 7].iter().flat_map(|v| v.to_be_bytes()));
        let file = VolumeFile::open(&write(folder.path(), "b.nii", &head)).unwrap();
        assert_eq!(all(&file), [9.0, 13.5]);
        assert_eq!(file.grid.place([1.0, 1.0, 1.0]), Some([1.0, -2.0, 3.0]));
        assert_eq!(file.tr_s, None);
    }

    #[test]
    fn the_nearest_voxel_by_hand() {
        // 2 mm voxels from −3 against 1 mm voxels from −3.4: i = 0, 1 → 0; 2, 3 → 1; 4 → 2 (outside of 2).
        let row = |side: f64, x: f64| [[side, 0.0, 0.0, x], [0.0, side, 0.0, 0.0], [0.0, 0.0, side, 0.0]];
        let atlas = VolumeGrid { shape: [2, 1, 1], affine: Some(row(2.0, -3.0)) };
        let data = VolumeGrid { shape: [6, 1, 1], affine: Some(row(1.0, -3.4)) };
        let found = atlas.nearest(&data).unwrap();
        assert_eq!(found, [Some(0), Some(0), Some(1), Some(1), None, None]);
        assert_eq!(atlas.distance(&data), None);
        let near = VolumeGrid { affine: Some(row(2.0, -2.2)), ..atlas.clone() };
        assert!((atlas.distance(&near).unwrap() - 0.4).abs() < 1e-12);
        let unknown = VolumeGrid { affine: None, ..atlas.clone() };
        assert_eq!((atlas.distance(&unknown), unknown.distance(&unknown)), (None, Some(0.0)));
        let flat = VolumeGrid { affine: Some([[1.0, 2.0, 3.0, 0.0]; 3]), ..atlas };
        assert_eq!(flat.nearest(&data), None);
    }

    #[test]
    fn broken_files_say_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let good = bytes([2, 3, 2, 2], Some(MM2), &[0.0; 24]);
        let refusal = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            let path = write(folder.path(), "c.nii", &bytes);
            match VolumeFile::open(&path) {
                Err(error) => error,
                Ok(file) => file.each_volume(|_, _| Ok(())).unwrap_err(),
            }
        };
        let set = |at: usize, value: i16| {
            move |b: &mut Vec<u8>| b[at..at + 2].copy_from_slice(&value.to_le_bytes())
        };
        assert_eq!(refusal(&|b| b.truncate(400)).kind, IoErrorKind::Truncated);
        assert_eq!(refusal(&|b| b.truncate(100)).kind, IoErrorKind::WrongFormat);
        assert_eq!(refusal(&set(46, 32767)).kind, IoErrorKind::Truncated);
        assert_eq!(refusal(&set(42, -2)).kind, IoErrorKind::Shape);
        assert_eq!(refusal(&set(40, 9)).kind, IoErrorKind::WrongFormat);
        assert_eq!(refusal(&set(70, 32)).kind, IoErrorKind::Dtype);
        assert!(refusal(&|b| b[344..347].copy_from_slice(b"ni1")).to_string().contains(".img"));
        assert!(
            refusal(&|b| b[108..112].copy_from_slice(&f32::NAN.to_le_bytes())).to_string().contains("byte")
        );
        // A gzipped header that promises more than its bytes can hold.
        let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
        let mut large = good[..352].to_vec();
        (1..4).for_each(|i| set(40 + 2 * i, 600)(&mut large));
        packed.write_all(&large).unwrap();
        let path = write(folder.path(), "c.nii.gz", &packed.finish().unwrap());
        assert_eq!(VolumeFile::open(&path).unwrap_err().kind, IoErrorKind::Truncated);
    }
}
