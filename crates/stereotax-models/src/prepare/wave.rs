//! Read WAV files: integers of 8 to 32 bits or floats, any number of channels, which are averaged.
//!
//! ```text
//! value = (b − 128)/128 for 8 bits,  b / 2^(bits−1) for 16, 24 and 32 bits,  as it is for floats
//! ```
//!
//! Format: RIFF WAVE (Microsoft and IBM, 1991), with the extensible header. Sizes are checked against the file.

use std::path::Path;

use crate::error::{Result, invalid};

/// One channel of sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound {
    /// Samples per second.
    pub rate_hz: u32,
    /// From −1 to 1.
    pub samples: Vec<f32>,
}

/// Read a file.
///
/// # Errors
/// Bytes that are no WAV file, compressed ones, a file that is cut short or holds no sample.
pub fn read(path: &Path) -> Result<Sound> {
    let bytes = stereotax_io::read_bytes(path)?;
    parse(&bytes).map_err(|found| {
        invalid(
            path,
            "sound",
            "a WAV file of integers or floats",
            found,
            "convert it, e.g. `ffmpeg -i IN out.wav`",
        )
    })
}

fn parse(bytes: &[u8]) -> std::result::Result<Sound, String> {
    if bytes.len() < 12 || &bytes[..4] != b"RIFF" || &bytes[8..12] != b"WAVE" {
        return Err(match bytes {
            [] => "an empty file",
            [b'f', b'L', b'a', b'C', ..] => "a FLAC file",
            [b'O', b'g', b'g', b'S', ..] => "an Ogg file",
            [b'I', b'D', b'3', ..] | [0xff, 0xfb, ..] => "an MP3 file",
            _ => "other bytes",
        }
        .into());
    }
    let u16_at = |b: &[u8], at: usize| u16::from_le_bytes([b[at], b[at + 1]]);
    let u32_at = |b: &[u8], at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
    let (mut at, mut format) = (12, None);
    while at + 8 <= bytes.len() {
        let (name, size) = (&bytes[at..at + 4], u32_at(bytes, at + 4) as usize);
        let body = &bytes[at + 8..];
        if name == b"fmt " {
            if size < 16 || body.len() < size {
                return Err("a header that is cut short".into());
            }
            let mut kind = u16_at(body, 0);
            if kind == 0xfffe && size >= 26 {
                kind = u16_at(body, 24);
            }
            format = Some((kind, u16_at(body, 2) as usize, u32_at(body, 4), u16_at(body, 14)));
        } else if name == b"data" {
            let (kind, channels, rate_hz, bits) = format.ok_or("samples before their description")?;
            if body.len() < size {
                return Err(format!("{} bytes of samples, where {size} are promised", body.len()));
            }
            let samples = decode(&body[..size], kind, bits, channels)?;
            if samples.is_empty() || rate_hz == 0 {
                return Err(format!("{} samples at {rate_hz} Hz", samples.len()));
            }
            return Ok(Sound { rate_hz, samples });
        }
        at = at.saturating_add(8 + size + size % 2);
    }
    Err("no samples".into())
}

fn decode(data: &[u8], kind: u16, bits: u16, channels: usize) -> std::result::Result<Vec<f32>, String> {
    let size = usize::from(bits / 8);
    let value: fn(&[u8]) -> f64 = match (kind, bits) {
        (1, 8) => |b| (f64::from(b[0]) - 128.0) / 128.0,
        (1, 16) => |b| f64::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0,
        (1, 24) => |b| f64::from(i32::from_le_bytes([0, b[0], b[1], b[2]])) / 2f64.powi(31),
        (1, 32) => |b| f64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]])) / 2f64.powi(31),
        (3, 32) => |b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        (3, 64) => |b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
        _ => return Err(format!("samples of kind {kind} with {bits} bits")),
    };
    if channels == 0 {
        return Err("no channel".into());
    }
    let mean = |frame: &[u8]| frame.chunks_exact(size).map(value).sum::<f64>() / channels as f64;
    let samples: Vec<f32> = data.chunks_exact(size * channels).map(|frame| mean(frame) as f32).collect();
    match samples.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(format!("{} as sample {at}", samples[at])),
        None => Ok(samples),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn wav(kind: u16, bits: u16, channels: u16, rate: u32, data: &[u8]) -> Vec<u8> {
        let mut out = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
        out.extend(kind.to_le_bytes());
        out.extend(channels.to_le_bytes());
        out.extend(rate.to_le_bytes());
        out.extend([0; 6]);
        out.extend(bits.to_le_bytes());
        // A chunk of odd length is padded.
        out.extend(b"LIST\x03\0\0\0abc\0data");
        out.extend((data.len() as u32).to_le_bytes());
        out.extend(data);
        out
    }

    #[test]
    fn every_kind_of_sample_by_hand() {
        let read = |kind, bits, channels, data: &[u8]| {
            parse(&wav(kind, bits, channels, 8000, data)).unwrap().samples
        };
        assert_eq!(read(1, 8, 1, &[128, 0, 192]), [0.0, -1.0, 0.5]);
        assert_eq!(read(1, 16, 1, &[0, 0x80, 0, 0x40]), [-1.0, 0.5]);
        assert_eq!(read(1, 24, 1, &[0, 0, 0x80, 0, 0, 0x40]), [-1.0, 0.5]);
        assert_eq!(read(1, 32, 1, &[0, 0, 0, 0xc0]), [-0.5]);
        assert_eq!(read(3, 32, 2, &[0.5f32.to_le_bytes(), (-1.0f32).to_le_bytes()].concat()), [-0.25]);
        assert_eq!(read(3, 64, 1, &0.25f64.to_le_bytes()), [0.25]);
    }

    #[test]
    fn cut_and_foreign_files_say_so() {
        let whole = wav(1, 16, 1, 8000, &[0; 8]);
        for n in 0..whole.len() {
            assert!(parse(&whole[..n]).is_err(), "{n}");
        }
        assert_eq!(parse(b"OggS0000"), Err("an Ogg file".into()));
        assert!(parse(&wav(2, 4, 1, 8000, &[0; 8])).is_err());
        assert!(parse(&wav(3, 32, 1, 8000, &f32::NAN.to_le_bytes())).is_err());
        assert!(parse(&wav(1, 16, 0, 8000, &[0; 8])).is_err());
    }
}
