//! A picture of regions: a number for each point, and how dark it is.
//!
//! The page colours the numbers, so that one picture serves all maps; the darkness lies over it.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Nothing there.
pub(crate) const BACKGROUND: u32 = 0;
/// Brain that belongs to no ROI.
pub(crate) const NO_ROI: u32 = 1;
/// ROI k has the number k + 2; with sets of ROIs, set k has.
pub(crate) const FIRST_ROI: u32 = 2;
/// Steps of darkness, of which the last is [`DARKEST`].
pub(crate) const LEVELS: u8 = 16;
pub(crate) const DARKEST: f64 = 0.85;
/// What an outline adds to the darkness.
pub(crate) const OUTLINE: f64 = 0.35;

/// A view, drawn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    pub width: usize,
    pub height: usize,
    /// Row by row from the top: [`BACKGROUND`], [`NO_ROI`], or an ROI or set of ROIs from [`FIRST_ROI`] on.
    pub codes: Vec<u32>,
    /// Darkness from 0 to [`LEVELS`] − 1.
    pub dark: Vec<u8>,
    /// Where one point shows several ROIs: those of each set, ascending. The largest value is shown.
    pub sets: Option<Vec<Vec<u32>>>,
}

/// The step of a darkness.
pub(crate) fn level(darkness: f64) -> u8 {
    (darkness.clamp(0.0, DARKEST) / DARKEST * f64::from(LEVELS - 1)).round() as u8
}

/// The darkness of a step, from 0 to 1.
pub(crate) fn darkness(level: u8) -> f64 {
    f64::from(level) * DARKEST / f64::from(LEVELS - 1)
}

impl Picture {
    /// The picture as the page reads it.
    pub fn json(&self, title: &str, group: &str) -> Value {
        let mut view = json!({
            "title": title,
            "group": group,
            "width": self.width,
            "height": self.height,
            "codes": STANDARD.encode(runs(&self.codes)),
            "shadow": format!("data:image/png;base64,{}", STANDARD.encode(self.shadow())),
        });
        if let Some(sets) = &self.sets {
            view["sets"] = STANDARD.encode(packed_sets(sets)).into();
        }
        view
    }

    /// The darkness as a PNG of black with 16 steps of opacity.
    fn shadow(&self) -> Vec<u8> {
        let mut rows = Vec::new();
        for row in self.dark.chunks_exact(self.width) {
            rows.push(0); // no filter
            rows.extend(row.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0)));
        }
        let opacity: Vec<u8> = (0..LEVELS).map(|level| (darkness(level) * 255.0).round() as u8).collect();
        let mut header = Vec::new();
        header.extend((self.width as u32).to_be_bytes());
        header.extend((self.height as u32).to_be_bytes());
        header.extend([4, 3, 0, 0, 0]); // 4 bits, a palette, not interlaced
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        chunk(&mut png, b"IHDR", &header);
        chunk(&mut png, b"PLTE", &[0; 3 * LEVELS as usize]);
        chunk(&mut png, b"tRNS", &opacity);
        chunk(&mut png, b"IDAT", &packed(&rows));
        chunk(&mut png, b"IEND", &[]);
        png
    }
}

/// Points of red, green, blue and opacity as a PNG.
pub(crate) fn png_of(width: usize, height: usize, rgba: &[u8]) -> Vec<u8> {
    let mut rows = Vec::with_capacity(rgba.len() + height);
    for row in rgba.chunks_exact(4 * width.max(1)) {
        rows.push(0); // no filter
        rows.extend(row);
    }
    let mut header = Vec::new();
    header.extend((width as u32).to_be_bytes());
    header.extend((height as u32).to_be_bytes());
    header.extend([8, 6, 0, 0, 0]); // 8 bits, colour with opacity, not interlaced
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, b"IHDR", &header);
    chunk(&mut png, b"IDAT", &packed(&rows));
    chunk(&mut png, b"IEND", &[]);
    png
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    // Writing to memory cannot fail.
    let _ = packed.write_all(bytes);
    packed.finish().unwrap_or_default()
}

/// A chunk of a PNG: length, name, content, checksum of name and content.
fn chunk(png: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    let mut crc = flate2::Crc::new();
    crc.update(name);
    crc.update(content);
    png.extend((content.len() as u32).to_be_bytes());
    png.extend(name);
    png.extend(content);
    png.extend(crc.sum().to_be_bytes());
}

/// A number in groups of seven bits, lowest first, with the eighth bit set where another group follows.
fn put(out: &mut Vec<u8>, mut x: usize) {
    while x >= 0x80 {
        out.push((x & 0x7f) as u8 | 0x80);
        x >>= 7;
    }
    out.push(x as u8);
}

/// Runs of equal numbers: number, length, number, length …
fn runs(codes: &[u32]) -> Vec<u8> {
    let mut out = Vec::new();
    for run in codes.chunk_by(|a, b| a == b) {
        put(&mut out, run[0] as usize);
        put(&mut out, run.len());
    }
    out
}

/// Sets: how many ROIs, the first, and how far it is from each to the next.
fn packed_sets(sets: &[Vec<u32>]) -> Vec<u8> {
    let mut out = Vec::new();
    for set in sets {
        put(&mut out, set.len());
        let mut last = 0;
        for &roi in set {
            put(&mut out, (roi - last) as usize);
            last = roi;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_by_hand() {
        // 300 = 2 · 128 + 44: 44 with the eighth bit, then 2.
        let codes: Vec<u32> = std::iter::repeat_n(0, 300).chain([5]).collect();
        assert_eq!(runs(&codes), [0, 44 | 0x80, 2, 5, 1]);
        assert!(runs(&[]).is_empty());
    }

    #[test]
    fn sets_are_by_hand() {
        // {3, 5}: two, 3, 2 more. {200}: one, 200 = 128 + 72.
        assert_eq!(packed_sets(&[vec![3, 5], vec![200], vec![]]), [2, 3, 2, 1, 72 | 0x80, 1, 0]);
    }
}
