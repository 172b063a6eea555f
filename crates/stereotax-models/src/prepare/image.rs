//! Pictures to tensors: decode, resize, crop, scale.
//!
//! ```text
//! value = (byte · scale − mean_c) / std_c             scale = 1/255 unless told
//! ```
//!
//! PNG of any kind and JPEG. Transparency is dropped and grey pictures get three equal channels, as
//! `PIL.Image.convert("RGB")` does. JPEG decoders differ by a grey level or two; PNG is exact.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::resample::{Filter, Picture};
use crate::error::{Result, invalid};
use crate::network::engine::{Numbers, Tensor};

/// No stimulus is larger.
const MAX_PIXELS: usize = 1 << 27;

/// How pictures become tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// The network's input; needed where it has several.
    pub name: Option<String>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// How the size is reached.
    #[serde(default)]
    pub fit: Fit,
    /// Of the shorter side, before cropping; `None`: that of the crop.
    pub shorter_side: Option<usize>,
    /// The filter.
    #[serde(default)]
    pub resample: Filter,
    /// Order of the channels, or grey.
    #[serde(default)]
    pub colours: Colours,
    /// Where the channels stand.
    #[serde(default)]
    pub channels: Channels,
    /// What bytes are multiplied by first.
    #[serde(default = "one_of_255")]
    pub scale: f64,
    /// Taken off each channel; one number holds for all.
    #[serde(default = "zero")]
    pub mean: Vec<f64>,
    /// Each channel is divided by it.
    #[serde(default = "one")]
    pub std: Vec<f64>,
}

/// How a picture comes to its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Both sides are stretched to the size.
    #[default]
    Stretch,
    /// The shorter side is brought to `shorter_side`, then the middle is cut out.
    Crop,
}

/// Which colours, in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colours {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel: 0.299 red + 0.587 green + 0.114 blue, rounded to a byte.
    Grey,
}

/// Where channels stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    /// channels × rows × columns, as PyTorch.
    #[default]
    First,
    /// rows × columns × channels, as TensorFlow.
    Last,
}

fn one_of_255() -> f64 {
    1.0 / 255.0
}

fn zero() -> Vec<f64> {
    vec![0.0]
}

fn one() -> Vec<f64> {
    vec![1.0]
}

impl ImageInput {
    fn n_channels(&self) -> usize {
        if self.colours == Colours::Grey { 1 } else { 3 }
    }

    pub(super) fn check(&self, path: &Path) -> Result<()> {
        let refuse = |what: &str, expected: String, found: String| {
            Err(invalid(path, format!("input.{what}"), expected, found, "see docs/networks.md"))
        };
        if self.height == 0 || self.width == 0 || self.height.saturating_mul(self.width) > MAX_PIXELS {
            let found = format!("{} × {}", self.height, self.width);
            return refuse("height", "a size of at least one pixel".into(), found);
        }
        for (what, values) in [("mean", &self.mean), ("std", &self.std)] {
            let fits = values.len() == 1 || values.len() == self.n_channels();
            if !fits || values.iter().any(|v| !v.is_finite()) || what == "std" && values.contains(&0.0) {
                let expected = format!("one number or {}, finite and no divisor 0", self.n_channels());
                return refuse(what, expected, format!("{values:?}"));
            }
        }
        if let Some(side) = self.shorter_side
            && (self.fit != Fit::Crop || side < self.height.max(self.width))
        {
            return refuse(
                "shorter_side",
                format!("`fit = \"crop\"` and at least {}", self.height.max(self.width)),
                format!("{side} with `fit = {:?}`", self.fit),
            );
        }
        Ok(())
    }

    /// The tensor of a picture.
    pub(super) fn tensor(&self, path: &Path) -> Result<Tensor> {
        let picture = decode(path)?;
        let sized = match self.fit {
            Fit::Stretch => picture.resized(self.height, self.width, self.resample),
            Fit::Crop => {
                let side = self.shorter_side.unwrap_or(self.height.max(self.width));
                let (h, w) = (picture.height, picture.width);
                // The longer side is rounded down, the margin to even: what torchvision does.
                let (h, w) = if h <= w { (side, side * w / h) } else { (side * h / w, side) };
                let margin = |n: usize, m: usize| ((n as f64 - m as f64) / 2.0).round_ties_even() as isize;
                let resized = picture.resized(h, w, self.resample);
                resized.cropped(margin(h, self.height), margin(w, self.width), self.height, self.width)
            }
        };
        Ok(self.scaled(&sized))
    }

    fn scaled(&self, picture: &Picture) -> Tensor {
        let n = self.n_channels();
        let of = |values: &[f64], c: usize| values[c.min(values.len() - 1)];
        let value = |pixel: &[u8], c: usize| {
            let byte = match self.colours {
                Colours::Rgb => pixel[c],
                Colours::Bgr => pixel[2 - c],
                // Weights in 16 binary places.
                Colours::Grey => {
                    let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
                    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
                }
            };
            ((f64::from(byte) * self.scale - of(&self.mean, c)) / of(&self.std, c)) as f32
        };
        let pixels = picture.bytes.chunks_exact(3);
        let (h, w) = (picture.height, picture.width);
        let (shape, values) = match self.channels {
            Channels::First => {
                let values =
                    (0..n).flat_map(|c| pixels.clone().map(move |p| (p, c))).map(|(p, c)| value(p, c));
                (vec![n, h, w], values.collect())
            }
            Channels::Last => (
                vec![h, w, n],
                pixels.flat_map(|p| (0..n).map(move |c| (p, c))).map(|(p, c)| value(p, c)).collect(),
            ),
        };
        Tensor { shape, numbers: Numbers::Real(values) }
    }
}

/// Red, green and blue of a PNG or JPEG file.
pub fn decode(path: &Path) -> Result<Picture> {
    let bytes = stereotax_io::read_bytes(path)?;
    let broken = |sort: &str, reason: String| {
        invalid(
            path,
            "picture",
            format!("a whole {sort} file"),
            reason,
            "open it in an image viewer and save it again",
        )
    };
    if bytes.starts_with(b"\x89PNG") {
        decode_png(&bytes).map_err(|reason| broken("PNG", reason))
    } else if bytes.starts_with(&[0xff, 0xd8]) {
        decode_jpeg(&bytes).map_err(|reason| broken("JPEG", reason))
    } else {
        let found = match bytes.as_slice() {
            [] => "an empty file",
            [b'G', b'I', b'F', ..] => "a GIF",
            [b'R', b'I', b'F', b'F', ..] => "a WebP picture or a WAV sound",
            [b'B', b'M', ..] => "a BMP",
            [b'I', b'I', ..] | [b'M', b'M', ..] => "a TIFF",
            [b'<', ..] => "a web page or SVG",
            _ => "other bytes",
        };
        Err(invalid(
            path,
            "picture",
            "a PNG or JPEG file",
            found,
            "convert it to PNG, which keeps every pixel",
        ))
    }
}

fn decode_png(bytes: &[u8]) -> std::result::Result<Picture, String> {
    let mut decoder =
        png::Decoder::new_with_limits(std::io::Cursor::new(bytes), png::Limits { bytes: 8 * MAX_PIXELS });
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    if width.saturating_mul(height) > MAX_PIXELS {
        return Err(format!("{width} × {height} pixels, more than {MAX_PIXELS}"));
    }
    let length = reader.output_buffer_size().ok_or("more bytes than there is memory")?;
    let mut buffer = vec![0; length];
    let info = reader.next_frame(&mut buffer).map_err(|e| e.to_string())?;
    let samples = info.color_type.samples();
    let mut rgb = Vec::with_capacity(3 * width * height);
    for line in buffer.chunks_exact(info.line_size).take(height) {
        for pixel in line[..width * samples].chunks_exact(samples) {
            match samples {
                1 | 2 => rgb.extend_from_slice(&[pixel[0]; 3]),
                _ => rgb.extend_from_slice(&pixel[..3]),
            }
        }
    }
    Ok(Picture { height, width, channels: 3, bytes: rgb })
}

fn decode_jpeg(bytes: &[u8]) -> std::result::Result<Picture, String> {
    use zune_jpeg::JpegDecoder;
    use zune_jpeg::zune_core::bytestream::ZCursor;
    use zune_jpeg::zune_core::colorspace::ColorSpace;
    use zune_jpeg::zune_core::options::DecoderOptions;
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_strict_mode(true)
        .set_max_width(1 << 15)
        .set_max_height(1 << 15);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let rgb = decoder.decode().map_err(|e| format!("{e:?}"))?;
    let (width, height) = decoder.dimensions().ok_or("no size")?;
    if rgb.len() != 3 * width * height {
        return Err(format!("{} bytes for {width} × {height} pixels", rgb.len()));
    }
    Ok(Picture { height, width, channels: 3, bytes: rgb })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> ImageInput {
        toml::from_str("height = 1\nwidth = 2").unwrap()
    }

    #[test]
    fn pixels_are_scaled_and_ordered_by_hand() {
        let picture = Picture { height: 1, width: 2, channels: 3, bytes: vec![255, 0, 51, 0, 102, 255] };
        let first = input().scaled(&picture);
        assert_eq!(first.shape, [3, 1, 2]);
        assert_eq!(first.numbers, Numbers::Real(vec![1.0, 0.0, 0.0, 0.4, 0.2, 1.0]));
        let last = ImageInput {
            channels: Channels::Last,
            colours: Colours::Bgr,
            scale: 1.0,
            mean: vec![1.0, 2.0, 3.0],
            std: vec![2.0],
            ..input()
        };
        // Blue 51, green 0, red 255 of the first pixel.
        assert_eq!(last.scaled(&picture).numbers, Numbers::Real(vec![25.0, -1.0, 126.0, 127.0, 50.0, -1.5]));
        let grey = ImageInput { colours: Colours::Grey, scale: 1.0, ..input() };
        // 0.299·255 + 0.114·51 = 82.06; 0.587·102 + 0.114·255 = 88.94.
        assert_eq!(grey.scaled(&picture).numbers, Numbers::Real(vec![82.0, 89.0]));
    }

    #[test]
    fn png_of_every_kind_and_what_is_no_picture() {
        use png::{BitDepth, ColorType};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let write = |kind: ColorType, depth: BitDepth, data: &[u8]| {
            let mut encoder = png::Encoder::new(std::fs::File::create(&path).unwrap(), 2, 1);
            encoder.set_color(kind);
            encoder.set_depth(depth);
            if kind == ColorType::Indexed {
                encoder.set_palette(vec![1, 2, 3, 4, 5, 6]);
            }
            encoder.write_header().unwrap().write_image_data(data).unwrap();
            decode(&path).unwrap().bytes
        };
        assert_eq!(write(ColorType::Rgb, BitDepth::Eight, &[1, 2, 3, 4, 5, 6]), [1, 2, 3, 4, 5, 6]);
        assert_eq!(write(ColorType::Rgba, BitDepth::Eight, &[1, 2, 3, 0, 4, 5, 6, 9]), [1, 2, 3, 4, 5, 6]);
        assert_eq!(write(ColorType::Grayscale, BitDepth::Eight, &[7, 8]), [7, 7, 7, 8, 8, 8]);
        assert_eq!(write(ColorType::Grayscale, BitDepth::One, &[0b0100_0000]), [0, 0, 0, 255, 255, 255]);
        assert_eq!(write(ColorType::GrayscaleAlpha, BitDepth::Eight, &[7, 0, 8, 1]), [7, 7, 7, 8, 8, 8]);
        assert_eq!(write(ColorType::Indexed, BitDepth::Eight, &[1, 0]), [4, 5, 6, 1, 2, 3]);
        let whole = std::fs::read(&path).unwrap();
        for n in 0..whole.len() - 12 {
            std::fs::write(&path, &whole[..n]).unwrap();
            assert!(decode(&path).is_err(), "{n} bytes");
        }
        std::fs::write(&path, "GIF89a").unwrap();
        assert!(decode(&path).unwrap_err().to_string().contains("a GIF"));
    }

    #[test]
    fn settings_that_contradict_are_refused() {
        let path = Path::new("net.toml");
        assert!(input().check(path).is_ok());
        assert!(ImageInput { height: 0, ..input() }.check(path).is_err());
        assert!(ImageInput { mean: vec![0.0, 1.0], ..input() }.check(path).is_err());
        assert!(ImageInput { std: vec![0.0], ..input() }.check(path).is_err());
        assert!(ImageInput { shorter_side: Some(256), ..input() }.check(path).is_err());
    }
}
