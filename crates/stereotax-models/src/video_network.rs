//! A small video network with a known order: encoder, recurrent core, readout.
//!
//! Its weights are set by a rule and drawn places, not trained, so that what each module can know is known:
//!
//! ```text
//! encoder   e_i(t) = |g_i ∗ Δx(t)|     Gabor filters g at drawn places, orientations and phases, of the change
//!                                      Δx from frame to frame; rectified: it sees motion, but not which way
//! trace     m_i(t) = ½ m_i(t−1) + ½ e_i(t)
//! core      r_j(t) = ½ r_j(t−1) + [Σ_k e(p_jk, t) · (m(p_jk − δ_j, t−1) − m(p_jk + δ_j, t−1))]₊
//!                                      at the places p_jk of unit j: what was behind a moment ago excites, what
//!                                      was ahead inhibits, δ_j along the unit's preferred direction
//! readout   o_u(t) = log(1 + Σ_j w_uj r_j(t))      pools core units whose preferred directions are near its own
//! ```
//!
//! Core and readout are therefore direction selective and the encoder is not, and the preferred directions of both
//! are planted. A response that two detectors with opposite displacements would share cancels (Hassenstein & Reichardt
//! 1956; Barlow & Levick 1965). Cost: frames · units · filter pixels.

use stereotax::stats::rng::Stream;
use stereotax::{Error, Result};

/// Sizes of the network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NetworkParams {
    /// Rows of frames.
    pub height: usize,
    /// Columns of frames.
    pub width: usize,
    /// Units of the encoder.
    pub n_encoder: usize,
    /// Units of the core.
    pub n_core: usize,
    /// Units of the readout.
    pub n_readout: usize,
    /// Pixels of motion per frame that the core is made for.
    pub step_px: f64,
    /// Seed of places, orientations and weights.
    pub seed: u64,
}

impl Default for NetworkParams {
    fn default() -> Self {
        NetworkParams {
            height: 24,
            width: 32,
            n_encoder: 120,
            n_core: 120,
            n_readout: 64,
            step_px: 1.5,
            seed: 0,
        }
    }
}

/// Filters of the encoder: width of the Gaussian, and cycles per pixel.
const SIGMA_PX: f64 = 2.0;
const CYCLES: f64 = 1.0 / 7.0;
/// Places of a core unit.
const PLACES: usize = 6;

#[derive(Debug, Clone)]
struct Gabor {
    x: f64,
    y: f64,
    angle: f64,
    phase: f64,
}

#[derive(Debug, Clone)]
struct Core {
    direction: f64,
    places: Vec<(f64, f64)>,
}

/// The network.
#[derive(Debug, Clone)]
pub struct VideoNetwork {
    params: NetworkParams,
    gabors: Vec<Gabor>,
    cores: Vec<Core>,
    /// Preferred direction of each readout unit, and its weights over the core.
    readouts: Vec<(f64, Vec<f64>)>,
}

/// Activations of one clip, units × frames each (unit after unit).
#[derive(Debug, Clone, PartialEq)]
pub struct Activations {
    /// Encoder.
    pub encoder: Vec<f64>,
    /// Recurrent core.
    pub core: Vec<f64>,
    /// Readout.
    pub readout: Vec<f64>,
}

impl VideoNetwork {
    /// Draw a network.
    ///
    /// Errors: no units, frames smaller than its filters.
    pub fn new(params: NetworkParams) -> Result<Self> {
        let smallest = params.height.min(params.width);
        if params.n_encoder == 0 || params.n_core == 0 || params.n_readout == 0 || smallest < 12 {
            return Err(Error::Invalid {
                what: "network".into(),
                expected: "units in every module, and frames of at least 12 × 12 pixels".into(),
                found: format!("{params:?}"),
                hint: "24 × 32 pixels are the default".into(),
            });
        }
        let (h, w) = (params.height as f64, params.width as f64);
        let gabors = (0..params.n_encoder)
            .map(|i| {
                let mut stream = Stream::new(params.seed, "encoder units", i as u64);
                Gabor {
                    x: w * stream.uniform(),
                    y: h * stream.uniform(),
                    angle: std::f64::consts::PI * stream.below(4) as f64 / 4.0,
                    phase: std::f64::consts::TAU * stream.uniform(),
                }
            })
            .collect();
        let cores: Vec<Core> = (0..params.n_core)
            .map(|j| {
                let mut stream = Stream::new(params.seed, "core units", j as u64);
                Core {
                    direction: 360.0 * stream.uniform(),
                    places: (0..PLACES).map(|_| (w * stream.uniform(), h * stream.uniform())).collect(),
                }
            })
            .collect();
        let readouts = (0..params.n_readout)
            .map(|u| {
                let mut stream = Stream::new(params.seed, "readout units", u as u64);
                let direction = 360.0 * stream.uniform();
                let weight = |core: &Core| {
                    let off = (core.direction - direction).to_radians();
                    (6.0 * (off.cos() - 1.0)).exp()
                };
                let weights = cores.iter().map(|core| weight(core) * stream.uniform()).collect();
                (direction, weights)
            })
            .collect();
        Ok(VideoNetwork { params, gabors, cores, readouts })
    }

    /// Planted preferred directions of the core, in degrees.
    pub fn core_directions(&self) -> Vec<f64> {
        self.cores.iter().map(|core| core.direction).collect()
    }

    /// Planted preferred directions of the readout.
    pub fn readout_directions(&self) -> Vec<f64> {
        self.readouts.iter().map(|(direction, _)| *direction).collect()
    }

    /// Show a clip (frames of rows of grey levels); every state starts at 0, and frames go in one at a time.
    ///
    /// Errors: a clip that is no whole number of frames.
    pub fn show(&self, clip: &[u8]) -> Result<Activations> {
        let (h, w) = (self.params.height, self.params.width);
        if clip.is_empty() || !clip.len().is_multiple_of(h * w) {
            return Err(Error::Shape {
                what: "clip".into(),
                expected: format!("frames of {h} × {w} pixels"),
                found: format!("{} pixels", clip.len()),
                hint: "draw clips at the size of the network".into(),
            });
        }
        let n_frames = clip.len() / (h * w);
        let filters: Vec<Vec<f64>> = self.gabors.iter().map(|g| self.filter(g)).collect();
        let mut found = Activations {
            encoder: vec![0.0; self.gabors.len() * n_frames],
            core: vec![0.0; self.cores.len() * n_frames],
            readout: vec![0.0; self.readouts.len() * n_frames],
        };
        // Energy of change at every pixel, smoothed over a few pixels, and its trace.
        let mut trace = vec![0.0; h * w];
        let mut core = vec![0.0; self.cores.len()];
        for t in 1..n_frames {
            let frame = |t: usize, at: usize| f64::from(clip[t * h * w + at]) / 255.0;
            let change: Vec<f64> = (0..h * w).map(|at| frame(t, at) - frame(t - 1, at)).collect();
            for (i, filter) in filters.iter().enumerate() {
                let drive: f64 = filter.iter().zip(&change).map(|(g, x)| g * x).sum();
                found.encoder[i * n_frames + t] = drive.abs();
            }
            let signed = self.blurred(&change);
            let before = trace.clone();
            for (j, unit) in self.cores.iter().enumerate() {
                let (dx, dy) = self.displacement(unit.direction);
                let drive: f64 = unit
                    .places
                    .iter()
                    .map(|&(x, y)| {
                        let now = self.at(&signed, x, y);
                        now * (self.at(&before, x - dx, y - dy) - self.at(&before, x + dx, y + dy))
                    })
                    .sum();
                core[j] = 0.5 * core[j] + (100.0 * drive).max(0.0);
                found.core[j * n_frames + t] = core[j];
            }
            for (u, (_, weights)) in self.readouts.iter().enumerate() {
                let drive: f64 = weights.iter().zip(&core).map(|(w, r)| w * r).sum();
                found.readout[u * n_frames + t] = (1.0 + drive).ln();
            }
            trace.iter_mut().zip(&signed).for_each(|(m, e)| *m = 0.5 * *m + 0.5 * e);
        }
        Ok(found)
    }

    /// Pixels along a direction: 90° moves up, to earlier rows.
    fn displacement(&self, direction: f64) -> (f64, f64) {
        let angle = direction.to_radians();
        (self.params.step_px * angle.cos(), -self.params.step_px * angle.sin())
    }

    /// A Gabor filter on a torus of the frame's size, of mean 0.
    fn filter(&self, gabor: &Gabor) -> Vec<f64> {
        let (h, w) = (self.params.height, self.params.width);
        let wrap = |d: f64, n: f64| d - n * (d / n).round();
        let mut filter: Vec<f64> = (0..h * w)
            .map(|at| {
                let x = wrap((at % w) as f64 - gabor.x, w as f64);
                let y = wrap((at / w) as f64 - gabor.y, h as f64);
                let along = x * gabor.angle.cos() + y * gabor.angle.sin();
                let size = (-(x * x + y * y) / (2.0 * SIGMA_PX * SIGMA_PX)).exp();
                size * (std::f64::consts::TAU * CYCLES * along + gabor.phase).cos()
            })
            .collect();
        let mean = filter.iter().sum::<f64>() / filter.len() as f64;
        filter.iter_mut().for_each(|g| *g -= mean);
        filter
    }

    /// The mean over three by three pixels.
    fn blurred(&self, image: &[f64]) -> Vec<f64> {
        let (h, w) = (self.params.height, self.params.width);
        (0..h * w)
            .map(|at| {
                let (y, x) = (at / w, at % w);
                let near = |dy: usize, dx: usize| image[(y + h + dy - 1) % h * w + (x + w + dx - 1) % w];
                (0..9).map(|k| near(k / 3, k % 3)).sum::<f64>() / 9.0
            })
            .collect()
    }

    /// The value between pixels, on the torus.
    fn at(&self, image: &[f64], x: f64, y: f64) -> f64 {
        let (h, w) = (self.params.height, self.params.width);
        let (x0, y0) = (x.floor(), y.floor());
        let (fx, fy) = (x - x0, y - y0);
        let pixel = |dx: f64, dy: f64| {
            let column = (x0 + dx).rem_euclid(w as f64) as usize % w;
            let row = (y0 + dy).rem_euclid(h as f64) as usize % h;
            image[row * w + column]
        };
        (1.0 - fx) * (1.0 - fy) * pixel(0.0, 0.0)
            + fx * (1.0 - fy) * pixel(1.0, 0.0)
            + (1.0 - fx) * fy * pixel(0.0, 1.0)
            + fx * fy * pixel(1.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stimuli::{Clip, Pattern, draw};

    fn clip(direction_deg: f64, pattern: Pattern) -> Vec<u8> {
        let clip = Clip {
            height: 24,
            width: 32,
            n_frames: 16,
            pattern,
            direction_deg,
            speed_px: 1.5,
            contrast: 1.0,
            seed: 1,
            instance: 0,
        };
        draw(&clip).unwrap()
    }

    /// Mean activation per unit (rows) and direction of eight.
    fn curves(of: fn(&Activations) -> &Vec<f64>, n: usize, pattern: Pattern) -> Vec<Vec<f64>> {
        let network = VideoNetwork::new(NetworkParams::default()).unwrap();
        let mut curves = vec![vec![0.0; 8]; n];
        for d in 0..8 {
            let found = network.show(&clip(45.0 * d as f64, pattern)).unwrap();
            for (unit, line) in of(&found).chunks_exact(16).enumerate() {
                curves[unit][d] = line.iter().sum::<f64>() / 16.0;
            }
        }
        curves
    }

    /// |Σ r e^{iθ}| / Σ r, and the angle.
    fn vector(curve: &[f64]) -> (f64, f64) {
        let (mut x, mut y) = (0.0, 0.0);
        for (d, r) in curve.iter().enumerate() {
            let angle = (45.0 * d as f64).to_radians();
            (x, y) = (x + r * angle.cos(), y + r * angle.sin());
        }
        (x.hypot(y) / curve.iter().sum::<f64>(), y.atan2(x).to_degrees().rem_euclid(360.0))
    }

    #[test]
    fn core_and_readout_know_directions_and_they_are_the_planted_ones() {
        let network = VideoNetwork::new(NetworkParams::default()).unwrap();
        let dots =
            Pattern::Dots { diameter_px: 4.0, per_group: 1, spacing_px: 6.0, n_groups: 8, bright: true };
        let mean =
            |curves: &[Vec<f64>]| curves.iter().map(|c| vector(c).0).sum::<f64>() / curves.len() as f64;
        let encoder = curves(|a| &a.encoder, 120, dots);
        let core = curves(|a| &a.core, 120, dots);
        let readout = curves(|a| &a.readout, 64, dots);
        let found = [mean(&encoder), mean(&core), mean(&readout)];
        assert!(found[0] < 0.25 && found[1] > 0.5 && found[2] > 0.3, "{found:?}");
        let near = |curve: &Vec<f64>, planted: f64| {
            let off = (vector(curve).1 - planted + 540.0).rem_euclid(360.0) - 180.0;
            off.abs() < 45.0
        };
        let right = readout.iter().zip(network.readout_directions()).filter(|(c, p)| near(c, *p)).count();
        assert!(right > 54, "{right} of 64");
    }

    #[test]
    fn nothing_that_stands_still_drives_it_and_sizes_are_checked() {
        let network = VideoNetwork::new(NetworkParams::default()).unwrap();
        let still = network.show(&[128; 24 * 32 * 5]).unwrap();
        assert!(still.encoder.iter().chain(&still.readout).all(|a| *a == 0.0));
        assert_eq!(still.core.len(), 120 * 5);
        assert!(network.show(&[0; 100]).unwrap_err().to_string().contains("24 × 32"));
        assert!(VideoNetwork::new(NetworkParams { n_core: 0, ..Default::default() }).is_err());
    }
}
