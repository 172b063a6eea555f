//! Sounds to energies of mel bands, in logarithms.
//!
//! ```text
//! S_ft  = |Σ_n w_n x_{t·hop + n} exp(−2πi f n / n_fft)|^power      w the periodic Hann window of `window` samples
//! M_mt  = Σ_f B_mf S_ft                                            triangles between points even in mel
//! slaney mel: f / (200/3) to 1000 Hz, then 15 + 27 ln(f/1000) / ln 6.4;   htk: 2595 log₁₀(1 + f/700)
//! ```
//!
//! With `centre` the sound is reflected by n_fft/2 samples at both ends, so that frame t is about t · hop. `norm =
//! "slaney"` gives each triangle the area 1 over hertz. Logarithms: `ln` and `log10` of max(M, floor), `db` as
//! 10 log₁₀, and `whisper`: log₁₀ cut at 8 below the largest, plus 4, over 4, without the last frame.
//! Source: Slaney 1998 and Young et al. 2006 for the scales; the conventions are librosa's.
//! Cost: O(frames · n_fft²) by direct sums, which are exact in any size.

use std::f64::consts::PI;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::sound::{Resample, read_at};
use crate::error::{Result, invalid};
use crate::network::engine::{Numbers, Tensor};

/// How sounds become mel energies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogMelInput {
    /// The network's input; needed where it has several.
    pub name: Option<String>,
    /// Samples per second.
    pub rate_hz: u32,
    /// What happens to sounds of another rate.
    #[serde(default)]
    pub resample: Resample,
    /// Samples of a transform.
    pub n_fft: usize,
    /// Samples from frame to frame.
    pub hop: usize,
    /// Samples of the window, in the middle of the transform; `None`: all of it.
    pub window: Option<usize>,
    /// Bands.
    pub n_mels: usize,
    /// Lowest frequency.
    #[serde(default)]
    pub low_hz: f64,
    /// Highest frequency; `None`: half the rate.
    pub high_hz: Option<f64>,
    /// 2 for energy, 1 for magnitude.
    #[serde(default = "two")]
    pub power: f64,
    /// The scale.
    #[serde(default)]
    pub scale: Scale,
    /// The area of triangles.
    #[serde(default)]
    pub norm: Norm,
    /// The logarithm.
    #[serde(default)]
    pub log: Log,
    /// Smaller energies are taken for this.
    #[serde(default = "tiny")]
    pub floor: f64,
    /// Whether the sound is reflected at both ends.
    #[serde(default = "yes")]
    pub centre: bool,
    /// Seconds to which every sound is cut or filled with zeros.
    pub length_s: Option<f64>,
    /// Order of the axes.
    #[serde(default)]
    pub axes: Axes,
    /// Axes of length 1 before these.
    #[serde(default)]
    pub leading_axes: usize,
}

/// Hertz to mel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Even below 1000 Hz.
    #[default]
    Slaney,
    /// A logarithm throughout.
    Htk,
}

/// The area of triangles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// 1 over hertz.
    #[default]
    Slaney,
    /// The peak is 1.
    None,
}

/// The logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Log {
    /// Natural.
    #[default]
    Ln,
    /// Decimal.
    Log10,
    /// Decibels.
    Db,
    /// As Whisper's networks take it.
    Whisper,
    /// None.
    None,
}

/// Order of the axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axes {
    /// Bands × frames.
    #[default]
    BandsFirst,
    /// Frames × bands.
    FramesFirst,
}

fn two() -> f64 {
    2.0
}

fn tiny() -> f64 {
    1e-10
}

fn yes() -> bool {
    true
}

impl LogMelInput {
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        let high = self.high_hz.unwrap_or(f64::from(self.rate_hz) / 2.0);
        let sizes = (1..=1 << 16).contains(&self.n_fft) && self.hop > 0 && (1..=4096).contains(&self.n_mels);
        let window = self.window.is_none_or(|w| w > 0 && w <= self.n_fft);
        let band = self.low_hz >= 0.0 && self.low_hz < high && high <= f64::from(self.rate_hz) / 2.0;
        let rest = self.power > 0.0 && self.floor > 0.0 && self.leading_axes <= 4;
        let length = self.length_s.is_none_or(|s| s > 0.0 && s * f64::from(self.rate_hz) < 1e9);
        if sizes && window && band && rest && length {
            return Ok(());
        }
        Err(invalid(
            path,
            "[input]",
            "n_fft to 65536, hop, window ≤ n_fft, n_mels to 4096, 0 ≤ low_hz < high_hz ≤ rate_hz/2, power, floor and \
             length_s above 0",
            "others",
            "see docs/networks.md",
        ))
    }

    pub(super) fn tensor(&self, path: &Path, bank: &FilterBank) -> Result<Tensor> {
        let mut samples = read_at(path, self.rate_hz, self.resample)?.samples;
        if let Some(length_s) = self.length_s {
            samples.resize((length_s * f64::from(self.rate_hz)).round() as usize, 0.0);
        }
        let needed = if self.centre { self.n_fft / 2 + 1 } else { self.n_fft };
        if samples.len() < needed {
            let found = format!("{}", samples.len());
            return Err(invalid(
                path,
                "sound",
                format!("at least {needed} samples"),
                found,
                "say `length_s`",
            ));
        }
        let n_mels = self.n_mels;
        let mut frames = bank.energies(&samples, self);
        if self.log == Log::Whisper && frames.len() > 1 {
            frames.pop();
        }
        self.take_log(&mut frames);
        let t = frames.len();
        let (mut shape, values) = (
            vec![1; self.leading_axes],
            match self.axes {
                Axes::FramesFirst => frames.iter().flatten().map(|x| *x as f32).collect(),
                Axes::BandsFirst => {
                    (0..n_mels).flat_map(|m| frames.iter().map(move |f| f[m] as f32)).collect()
                }
            },
        );
        shape.extend(if self.axes == Axes::FramesFirst { [t, n_mels] } else { [n_mels, t] });
        Ok(Tensor { shape, numbers: Numbers::Real(values) })
    }

    fn take_log(&self, frames: &mut [Vec<f64>]) {
        let floor = self.floor;
        let each = |frames: &mut [Vec<f64>], f: &dyn Fn(f64) -> f64| {
            frames.iter_mut().flatten().for_each(|x| *x = f(*x));
        };
        match self.log {
            Log::None => {}
            Log::Ln => each(frames, &|x| x.max(floor).ln()),
            Log::Log10 => each(frames, &|x| x.max(floor).log10()),
            Log::Db => each(frames, &|x| 10.0 * x.max(floor).log10()),
            Log::Whisper => {
                each(frames, &|x| x.max(floor).log10());
                let largest = frames.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
                each(frames, &|x| (x.max(largest - 8.0) + 4.0) / 4.0);
            }
        }
    }
}

/// Tables of one setting.
#[derive(Debug, Clone)]
pub struct FilterBank {
    window: Vec<f64>,
    /// Of n_fft equal turns.
    cosines: Vec<f64>,
    sines: Vec<f64>,
    /// First frequency and weights of each band.
    bands: Vec<(usize, Vec<f64>)>,
}

impl FilterBank {
    /// Windows, turns and triangles.
    pub fn new(input: &LogMelInput) -> FilterBank {
        let n = input.n_fft;
        let length = input.window.unwrap_or(n);
        let mut window = vec![0.0; n];
        let left = (n - length) / 2;
        for i in 0..length {
            window[left + i] = 0.5 - 0.5 * (2.0 * PI * i as f64 / length as f64).cos();
        }
        let turn = |i: usize| 2.0 * PI * i as f64 / n as f64;
        FilterBank {
            window,
            cosines: (0..n).map(|i| turn(i).cos()).collect(),
            sines: (0..n).map(|i| turn(i).sin()).collect(),
            bands: bands(input),
        }
    }

    /// Energies of the bands, frame after frame.
    fn energies(&self, samples: &[f32], input: &LogMelInput) -> Vec<Vec<f64>> {
        let n = input.n_fft;
        let half = if input.centre { n / 2 } else { 0 };
        let length = samples.len() as isize;
        // Reflection about the first and the last sample.
        let at = |i: isize| {
            let i = if i < 0 {
                -i
            } else if i >= length {
                2 * length - 2 - i
            } else {
                i
            };
            samples.get(i as usize).map_or(0.0, |x| f64::from(*x))
        };
        let n_frames = (samples.len() + 2 * half - n) / input.hop + 1;
        (0..n_frames)
            .into_par_iter()
            .map(|t| {
                let begin = (t * input.hop) as isize - half as isize;
                let frame: Vec<f64> = (0..n).map(|i| self.window[i] * at(begin + i as isize)).collect();
                let spectrum: Vec<f64> =
                    (0..=n / 2).map(|f| self.magnitude(&frame, f).powf(input.power)).collect();
                let band = |(first, weights): &(usize, Vec<f64>)| {
                    weights.iter().zip(&spectrum[*first..]).map(|(w, s)| w * s).sum()
                };
                self.bands.iter().map(band).collect()
            })
            .collect()
    }

    fn magnitude(&self, frame: &[f64], f: usize) -> f64 {
        let n = frame.len();
        let (mut real, mut imaginary, mut turn) = (0.0, 0.0, 0);
        for x in frame {
            real += x * self.cosines[turn];
            imaginary += x * self.sines[turn];
            turn += f;
            if turn >= n {
                turn -= n;
            }
        }
        (real * real + imaginary * imaginary).sqrt()
    }
}

fn bands(input: &LogMelInput) -> Vec<(usize, Vec<f64>)> {
    let high = input.high_hz.unwrap_or(f64::from(input.rate_hz) / 2.0);
    let (low, high) = (to_mel(input.low_hz, input.scale), to_mel(high, input.scale));
    let step = (high - low) / (input.n_mels + 1) as f64;
    let points: Vec<f64> =
        (0..input.n_mels + 2).map(|i| from_mel(low + step * i as f64, input.scale)).collect();
    let bin = f64::from(input.rate_hz) / input.n_fft as f64;
    points
        .windows(3)
        .map(|p| {
            let height = if input.norm == Norm::Slaney { 2.0 / (p[2] - p[0]) } else { 1.0 };
            let weight = |f: usize| {
                let hz = f as f64 * bin;
                height * ((hz - p[0]) / (p[1] - p[0])).min((p[2] - hz) / (p[2] - p[1])).max(0.0)
            };
            let all: Vec<f64> = (0..=input.n_fft / 2).map(weight).collect();
            let first = all.iter().position(|w| *w > 0.0).unwrap_or(0);
            let last = all.iter().rposition(|w| *w > 0.0).map_or(first, |l| l + 1);
            (first, all[first..last].to_vec())
        })
        .collect()
}

/// Hertz to mel.
pub fn to_mel(hz: f64, scale: Scale) -> f64 {
    match scale {
        Scale::Htk => 2595.0 * (1.0 + hz / 700.0).log10(),
        Scale::Slaney if hz < 1000.0 => hz * 3.0 / 200.0,
        Scale::Slaney => 15.0 + 27.0 * (hz / 1000.0).ln() / 6.4f64.ln(),
    }
}

/// Mel to hertz.
pub fn from_mel(mel: f64, scale: Scale) -> f64 {
    match scale {
        Scale::Htk => 700.0 * (10f64.powf(mel / 2595.0) - 1.0),
        Scale::Slaney if mel < 15.0 => mel * 200.0 / 3.0,
        Scale::Slaney => 1000.0 * ((mel - 15.0) * 6.4f64.ln() / 27.0).exp(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(more: &str) -> LogMelInput {
        toml::from_str(&format!("rate_hz = 8000\nn_fft = 16\nhop = 4\nn_mels = 3\n{more}")).unwrap()
    }

    #[test]
    fn scales_go_back_and_meet_at_1000() {
        for scale in [Scale::Slaney, Scale::Htk] {
            for hz in [0.0, 440.0, 999.9, 1000.0, 7000.0] {
                assert!((from_mel(to_mel(hz, scale), scale) - hz).abs() < 1e-9 * (1.0 + hz));
            }
        }
        assert_eq!(to_mel(1000.0, Scale::Slaney), 15.0);
        assert!((to_mel(1000.0, Scale::Htk) - 999.9855).abs() < 1e-3);
    }

    #[test]
    fn a_cosine_stands_in_its_bin_by_hand() {
        // cos(2π·3n/16) under the periodic Hann window: half of 16/2 in bin 3, a quarter in bins 2 and 4.
        let samples: Vec<f32> = (0..16).map(|n| (2.0 * PI * 3.0 * n as f64 / 16.0).cos() as f32).collect();
        let settings = input("centre = false\npower = 1.0");
        let bank = FilterBank::new(&settings);
        let frame: Vec<f64> = samples.iter().zip(&bank.window).map(|(x, w)| f64::from(*x) * w).collect();
        for (f, expected) in [(1, 0.0), (2, 2.0), (3, 4.0), (4, 2.0), (5, 0.0)] {
            assert!((bank.magnitude(&frame, f) - expected).abs() < 1e-6, "bin {f}");
        }
        let energies = bank.energies(&samples, &settings);
        assert_eq!(energies.len(), 1);
        let by_hand: f64 = [(2, 2.0), (3, 4.0), (4, 2.0)]
            .iter()
            .map(|(f, s)| bank.bands[1].1.get(f - bank.bands[1].0).map_or(0.0, |w| w * s))
            .sum();
        assert!((energies[0][1] - by_hand).abs() < 1e-6);
    }

    #[test]
    fn wrong_settings_are_refused() {
        let path = Path::new("net.toml");
        assert!(input("").check(path).is_ok());
        for more in ["low_hz = 5000", "high_hz = 4001", "window = 17", "floor = 0", "length_s = -1"] {
            assert!(input(more).check(path).is_err(), "{more}");
        }
    }
}
