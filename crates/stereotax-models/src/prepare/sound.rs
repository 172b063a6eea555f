//! Sounds to waveforms: whole, or cut into frames.
//!
//! ```text
//! frame f = samples f · hop … f · hop + frame − 1 of (pad_start zeros, sound, zeros to fill the last frame)
//! ```
//!
//! `normalise` takes off the mean and divides by the standard deviation, of each frame or of the whole sound; a flat
//! one becomes zeros. Sounds of another rate than `rate_hz` are refused, or resampled (`rate`) where that is asked for.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::rate::resampled;
use super::wave::{self, Sound};
use crate::error::{Result, invalid};
use crate::network::engine::{Numbers, Tensor};

/// How sounds become tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaveformInput {
    /// The network's input; needed where it has several.
    pub name: Option<String>,
    /// Samples per second.
    pub rate_hz: u32,
    /// What happens to sounds of another rate.
    #[serde(default)]
    pub resample: Resample,
    /// Samples of a frame; `None`: the whole sound is one.
    pub frame: Option<usize>,
    /// Samples from frame to frame; `None`: the frame.
    pub hop: Option<usize>,
    /// Zeros before the sound.
    #[serde(default)]
    pub pad_start: usize,
    /// What is brought to mean 0 and standard deviation 1.
    #[serde(default)]
    pub normalise: Normalise,
    /// A last frame that the sound does not fill is padded by zeros; otherwise it is left out.
    #[serde(default = "yes")]
    pub pad_end: bool,
    /// Lengths of further axes, all 1, before the samples: 1 for networks that take batch × 1 × samples.
    #[serde(default)]
    pub leading_axes: usize,
}

/// What happens to sounds of another rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resample {
    /// They are refused.
    #[default]
    Refuse,
    /// They are brought to the network's rate by a band-limiting filter.
    Polyphase,
}

/// What is brought to mean 0 and standard deviation 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// Nothing.
    #[default]
    None,
    /// Every frame.
    Frame,
    /// The whole sound.
    Sound,
}

fn yes() -> bool {
    true
}

/// Read a sound at the rate that a network expects.
pub(super) fn read_at(path: &Path, rate_hz: u32, resample: Resample) -> Result<Sound> {
    let sound = wave::read(path)?;
    if sound.rate_hz == rate_hz {
        return Ok(sound);
    }
    let expected = format!("{rate_hz} samples per second, as the network was trained on");
    match resample {
        Resample::Refuse => Err(invalid(
            path,
            "sound",
            expected,
            format!("{}", sound.rate_hz),
            "say `resample = \"polyphase\"` in the preparation file",
        )),
        Resample::Polyphase => {
            let hint = format!("resample it, e.g. `ffmpeg -i IN -ar {rate_hz} out.wav`");
            let samples = resampled(&sound.samples, sound.rate_hz, rate_hz)
                .map_err(|found| invalid(path, "sound", expected, found, hint))?;
            Ok(Sound { rate_hz, samples })
        }
    }
}

impl WaveformInput {
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        let bad = self.rate_hz == 0 || self.frame == Some(0) || self.hop == Some(0) || self.leading_axes > 4;
        if bad || self.hop.is_some() && self.frame.is_none() || self.pad_start > 1 << 24 {
            return Err(invalid(
                path,
                "[input]",
                "a rate, a frame and a hop above 0, and a hop only with a frame",
                format!("rate_hz {}, frame {:?}, hop {:?}", self.rate_hz, self.frame, self.hop),
                "leave `frame` and `hop` away to take every sound whole",
            ));
        }
        Ok(())
    }

    /// The frames of a sound.
    pub(super) fn frames(&self, path: &Path) -> Result<Vec<Tensor>> {
        let mut samples = read_at(path, self.rate_hz, self.resample)?.samples;
        if self.normalise == Normalise::Sound {
            standardise(&mut samples);
        }
        let mut padded = vec![0.0; self.pad_start];
        padded.extend(samples);
        let length = self.frame.unwrap_or(padded.len());
        let hop = self.hop.unwrap_or(length);
        let n = if self.pad_end {
            padded.len().saturating_sub(length).div_ceil(hop) + 1
        } else if padded.len() >= length {
            (padded.len() - length) / hop + 1
        } else {
            0
        };
        if n == 0 {
            return Err(invalid(
                path,
                "sound",
                format!("at least one frame of {length} samples"),
                format!("{} samples", padded.len()),
                "say `pad_end = true`, or leave the sound out",
            ));
        }
        let mut shape = vec![1; self.leading_axes];
        shape.push(length);
        Ok((0..n)
            .map(|f| {
                let begin = (f * hop).min(padded.len());
                let mut frame = padded[begin..(begin + length).min(padded.len())].to_vec();
                frame.resize(length, 0.0);
                if self.normalise == Normalise::Frame {
                    standardise(&mut frame);
                }
                Tensor { shape: shape.clone(), numbers: Numbers::Real(frame) }
            })
            .collect())
    }
}

fn standardise(values: &mut [f32]) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
    let scale = if variance > 0.0 { 1.0 / variance.sqrt() } else { 0.0 };
    values.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) * scale) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(settings: &str, samples: &[i16]) -> Result<Vec<Vec<f32>>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let data: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        bytes.extend(8000u32.to_le_bytes());
        bytes.extend([0, 0, 0, 0, 0, 0, 16, 0]);
        bytes.extend(b"data");
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(data);
        std::fs::write(&path, bytes).unwrap();
        let rate = if settings.contains("rate_hz") { "" } else { "rate_hz = 8000\n" };
        let settings = format!("{rate}{settings}");
        let input: WaveformInput = toml::from_str(&settings).unwrap();
        let values = |t: Tensor| match t.numbers {
            Numbers::Real(values) => values,
            Numbers::Whole(_) => panic!(),
        };
        Ok(input.frames(&path)?.into_iter().map(values).collect())
    }

    #[test]
    fn another_rate_is_refused_or_resampled() {
        let sound = [8192; 64];
        let refused = frames("rate_hz = 16000", &sound).unwrap_err().to_string();
        assert!(refused.contains("8000") && refused.contains("polyphase"), "{refused}");
        let found = frames("rate_hz = 16000\nresample = \"polyphase\"", &sound).unwrap();
        assert_eq!(found[0].len(), 128);
        assert!((found[0][64] - 0.25).abs() < 1e-3);
    }

    #[test]
    fn frames_by_hand() {
        let sound = [0, 8192, 16384, 24576, -8192];
        assert_eq!(frames("", &sound).unwrap(), [[0.0, 0.25, 0.5, 0.75, -0.25]]);
        let cut = frames("frame = 3\nhop = 2\npad_start = 1", &sound).unwrap();
        assert_eq!(cut, [[0.0, 0.0, 0.25], [0.25, 0.5, 0.75], [0.75, -0.25, 0.0]]);
        assert_eq!(frames("frame = 4\npad_end = false", &sound).unwrap(), [[0.0, 0.25, 0.5, 0.75]]);
        assert!(frames("frame = 6\npad_end = false", &sound).is_err());
        // Mean 0.25, variance (1 + 0 + 1)/3 · 0.0625.
        let z = (1.5f64).sqrt() as f32;
        assert_eq!(frames("frame = 3\nnormalise = \"frame\"", &sound[..3]).unwrap(), [[-z, 0.0, z]]);
        assert_eq!(frames("frame = 2\nnormalise = \"frame\"", &[5, 5]).unwrap(), [[0.0, 0.0]]);
    }
}
