//! Resize pictures of bytes as Pillow does: filters that widen when shrinking, rounding to bytes after each axis.
//!
//! ```text
//! scale = n_in / n_out      s = max(scale, 1)      centre = (o + ½) · scale
//! w_x ∝ k((x + ½ − centre) / s),  x from ⌊centre − r s + ½⌋ to ⌊centre + r s + ½⌋, both cut at the edges
//! bilinear  k = 1 − |t|, r = 1      bicubic  a = −½, r = 2      lanczos  sinc(t) sinc(t/3), r = 3
//! ```
//!
//! Weights sum to one and are rounded to 22 binary places; columns first, then rows. Source: the behaviour of Pillow
//! that its `Image.resize` documents, checked against it in validation. Cost: O(pixels · r s).

/// How a pixel of the result is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The pixel at the same place.
    Nearest,
    /// A triangle.
    #[default]
    Bilinear,
    /// The cubic with a = −½.
    Bicubic,
    /// The windowed sinc of three lobes.
    Lanczos,
}

/// Bytes, rows of columns of channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Bytes per pixel.
    pub channels: usize,
    /// height × width × channels.
    pub bytes: Vec<u8>,
}

impl Picture {
    /// The same picture in another size.
    pub fn resized(&self, height: usize, width: usize, filter: Filter) -> Picture {
        let wide =
            if width == self.width { self.clone() } else { self.across(&taps(self.width, width, filter)) };
        if height == self.height {
            return wide;
        }
        wide.turned().across(&taps(self.height, height, filter)).turned()
    }

    /// A part of the picture; what lies outside is black.
    pub fn cropped(&self, top: isize, left: isize, height: usize, width: usize) -> Picture {
        let mut bytes = vec![0; height * width * self.channels];
        for (r, line) in bytes.chunks_exact_mut(width * self.channels).enumerate() {
            let row = top + r as isize;
            for (c, pixel) in line.chunks_exact_mut(self.channels).enumerate() {
                let column = left + c as isize;
                if (0..self.height as isize).contains(&row) && (0..self.width as isize).contains(&column) {
                    let at = (row as usize * self.width + column as usize) * self.channels;
                    pixel.copy_from_slice(&self.bytes[at..at + self.channels]);
                }
            }
        }
        Picture { height, width, channels: self.channels, bytes }
    }

    /// Rows become columns.
    fn turned(&self) -> Picture {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for column in 0..self.width {
            for row in 0..self.height {
                let at = (row * self.width + column) * self.channels;
                bytes.extend_from_slice(&self.bytes[at..at + self.channels]);
            }
        }
        Picture { height: self.width, width: self.height, channels: self.channels, bytes }
    }

    /// Every row by the same taps.
    fn across(&self, taps: &[Taps]) -> Picture {
        let mut bytes = Vec::with_capacity(self.height * taps.len() * self.channels);
        for line in self.bytes.chunks_exact(self.width * self.channels) {
            for tap in taps {
                for channel in 0..self.channels {
                    let mut sum = 1i64 << (PLACES - 1);
                    for (x, weight) in tap.weights.iter().enumerate() {
                        sum += weight * i64::from(line[(tap.first + x) * self.channels + channel]);
                    }
                    bytes.push((sum >> PLACES).clamp(0, 255) as u8);
                }
            }
        }
        Picture { height: self.height, width: taps.len(), channels: self.channels, bytes }
    }
}

/// Binary places of weights.
const PLACES: u32 = 22;

/// Which pixels make one of the result.
struct Taps {
    first: usize,
    weights: Vec<i64>,
}

fn taps(n_in: usize, n_out: usize, filter: Filter) -> Vec<Taps> {
    let scale = n_in as f64 / n_out as f64;
    let (radius, kernel): (f64, fn(f64) -> f64) = match filter {
        Filter::Nearest => {
            let place = |o: usize| (((o as f64 + 0.5) * scale) as usize).min(n_in - 1);
            return (0..n_out).map(|o| Taps { first: place(o), weights: vec![1 << PLACES] }).collect();
        }
        Filter::Bilinear => (1.0, |t| (1.0 - t.abs()).max(0.0)),
        Filter::Bicubic => (2.0, cubic),
        Filter::Lanczos => (3.0, |t| if t.abs() < 3.0 { sinc(t) * sinc(t / 3.0) } else { 0.0 }),
    };
    let s = scale.max(1.0);
    (0..n_out)
        .map(|o| {
            let centre = (o as f64 + 0.5) * scale;
            let first = ((centre - radius * s + 0.5) as isize).max(0) as usize;
            let end = ((centre + radius * s + 0.5) as usize).min(n_in);
            let weights: Vec<f64> = (first..end).map(|x| kernel((x as f64 - centre + 0.5) / s)).collect();
            let sum: f64 = weights.iter().sum();
            let weights = weights.iter().map(|w| (w / sum * f64::from(1 << PLACES)).round() as i64).collect();
            Taps { first, weights }
        })
        .collect()
}

fn cubic(t: f64) -> f64 {
    const A: f64 = -0.5;
    let t = t.abs();
    if t < 1.0 {
        ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0
    } else if t < 2.0 {
        (((t - 5.0) * t + 8.0) * t - 4.0) * A
    } else {
        0.0
    }
}

fn sinc(t: f64) -> f64 {
    if t == 0.0 { 1.0 } else { (std::f64::consts::PI * t).sin() / (std::f64::consts::PI * t) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(bytes: &[u8]) -> Picture {
        Picture { height: 1, width: bytes.len(), channels: 1, bytes: bytes.to_vec() }
    }

    #[test]
    fn halves_and_doubles_by_hand() {
        // Two to one: triangle of width 4 about the middle; weights 1, 3, 3, 1 over 8, cut at the edges to 3, 3, 1.
        let halved = row(&[0, 70, 140, 210]).resized(1, 2, Filter::Bilinear);
        // (3·0 + 3·70 + 1·140) / 7 = 50, (1·70 + 3·140 + 3·210) / 7 = 160.
        assert_eq!(halved.bytes, [50, 160]);
        // One to two: places ¼ and ¾ of a pixel: 0, ¼, ¾, 1 of the way.
        assert_eq!(row(&[0, 100]).resized(1, 4, Filter::Bilinear).bytes, [0, 25, 75, 100]);
        assert_eq!(row(&[1, 2, 3]).resized(1, 6, Filter::Nearest).bytes, [1, 1, 2, 2, 3, 3]);
        // A column is a row turned.
        let column = Picture { height: 4, width: 1, channels: 1, bytes: vec![0, 70, 140, 210] };
        assert_eq!(column.resized(2, 1, Filter::Bilinear).bytes, [50, 160]);
    }

    #[test]
    fn a_flat_picture_stays_flat_and_crops_are_cut() {
        let flat = Picture { height: 5, width: 7, channels: 3, bytes: vec![93; 105] };
        for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos, Filter::Nearest] {
            assert!(flat.resized(11, 3, filter).bytes.iter().all(|b| *b == 93), "{filter:?}");
        }
        assert_eq!(row(&[1, 2, 3, 4]).cropped(0, 1, 1, 2).bytes, [2, 3]);
        assert_eq!(row(&[1, 2]).cropped(0, -1, 1, 4).bytes, [0, 1, 2, 0]);
    }
}
