//! Draw gratings and dots that move in a direction, as frames of grey levels.
//!
//! Directions are angles in degrees: 0 moves rightwards, 90 upwards, counter-clockwise. Frames are images of `height`
//! rows (the first is the top) and `width` columns, one byte per pixel. With u the distance of a pixel along the
//! direction, in pixels, and t the frame:
//!
//! ```text
//! grating   grey = 127.5 (1 + contrast · sin(2π (u − speed t) / period + phase))
//! dots      discs of a diameter, on a torus of the frame's size, moved by speed t along the direction
//! triples   three such discs in a line across the direction, one spacing apart
//! ```
//!
//! Edges of dots fade over one pixel, so that slow motion is smooth. A dot that leaves on one side enters on the
//! other. Dots keep a distance of one diameter where they can (thirty tries each).
//!
//! Source: Dyballa et al. 2024 and the base images of its authors (specs encoding-manifolds 0 and 7.3): gratings and
//! flows of dots of both polarities at two scales. Differs from them: any size, speed and direction, no base image
//! that is cut and shifted by whole pixels. Cost: O(pixels) per grating frame, O(dots · diameter²) per dot frame.

use stereotax::stats::rng::Stream;
use stereotax::{Error, Result};

/// What a frame shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pattern {
    /// A sinusoidal grating.
    Grating {
        /// Pixels per cycle.
        period_px: f64,
    },
    /// Dots or triples.
    Dots {
        /// Pixels.
        diameter_px: f64,
        /// 1 for single dots, 3 for triples.
        per_group: usize,
        /// Between the middles of neighbours of a triple, in pixels.
        spacing_px: f64,
        /// Groups per frame.
        n_groups: usize,
        /// Whether dots are brighter than the ground.
        bright: bool,
    },
}

/// One clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clip {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Frames.
    pub n_frames: usize,
    /// What is shown.
    pub pattern: Pattern,
    /// Direction of motion.
    pub direction_deg: f64,
    /// Pixels per frame; 0 is static.
    pub speed_px: f64,
    /// From above 0 to 1: of full modulation about grey.
    pub contrast: f64,
    /// Seed of phases and places.
    pub seed: u64,
    /// Which instance: other phases and places.
    pub instance: usize,
}

/// All frames, one after the other, rows of pixels from 0 (black) to 255 (white); 127.5 is the ground of gratings, 128
/// that of dots.
///
/// Errors: an empty frame, more than four gigabytes, numbers out of range, dots that do not fit.
pub fn draw(clip: &Clip) -> Result<Vec<u8>> {
    check(clip)?;
    match clip.pattern {
        Pattern::Grating { period_px } => Ok(grating(clip, period_px)),
        Pattern::Dots { .. } => Ok(dots(clip)),
    }
}

fn check(clip: &Clip) -> Result<()> {
    let wrong = |what: &str, expected: &str, found: String, hint: &str| {
        Err(Error::Invalid { what: what.into(), expected: expected.into(), found, hint: hint.into() })
    };
    let pixels = clip.height as f64 * clip.width as f64 * clip.n_frames as f64;
    if !(1.0..=4e9).contains(&pixels) {
        let found = format!("{} frames of {} × {}", clip.n_frames, clip.height, clip.width);
        return wrong("size", "one pixel at least, and 4·10⁹ at most", found, "draw clips one at a time");
    }
    let sound = clip.contrast > 0.0 && clip.contrast <= 1.0;
    if !(sound && clip.speed_px.is_finite() && clip.direction_deg.is_finite()) {
        let found =
            format!("contrast {}, speed {}, direction {}", clip.contrast, clip.speed_px, clip.direction_deg);
        return wrong(
            "clip",
            "a contrast above 0 up to 1, a finite speed and direction",
            found,
            "contrast 1 is full",
        );
    }
    match clip.pattern {
        Pattern::Grating { period_px } if !(period_px >= 2.0 && period_px.is_finite()) => {
            wrong("period", "2 pixels at least", period_px.to_string(), "finer gratings alias")
        }
        Pattern::Dots { diameter_px, per_group, spacing_px, n_groups, .. } => {
            let longest = diameter_px + spacing_px * per_group.saturating_sub(1) as f64;
            let fits = longest < clip.height.min(clip.width) as f64;
            if !(diameter_px >= 1.0 && spacing_px >= 0.0 && fits) || per_group == 0 || n_groups == 0 {
                let found =
                    format!("{n_groups} groups of {per_group} dots of {diameter_px}, {spacing_px} apart");
                let hint = "dots of a few pixels in frames of a hundred are customary";
                return wrong(
                    "dots",
                    "one dot of one pixel at least, and groups smaller than the frame",
                    found,
                    hint,
                );
            }
            Ok(())
        }
        Pattern::Grating { .. } => Ok(()),
    }
}

/// Unit vector of motion in columns and rows; rows count downwards.
fn heading(clip: &Clip) -> (f64, f64) {
    let angle = clip.direction_deg.to_radians();
    (angle.cos(), -angle.sin())
}

fn grating(clip: &Clip, period_px: f64) -> Vec<u8> {
    let tau = 2.0 * std::f64::consts::PI;
    let phase = tau * Stream::new(clip.seed, "grating", clip.instance as u64).uniform();
    let (across, down) = heading(clip);
    let mut frames = Vec::with_capacity(clip.n_frames * clip.height * clip.width);
    for t in 0..clip.n_frames {
        for y in 0..clip.height {
            for x in 0..clip.width {
                let along = x as f64 * across + y as f64 * down - clip.speed_px * t as f64;
                let wave = (tau * along / period_px + phase).sin();
                frames.push((127.5 * (1.0 + clip.contrast * wave)).round() as u8);
            }
        }
    }
    frames
}

fn dots(clip: &Clip) -> Vec<u8> {
    let Pattern::Dots { diameter_px, per_group, spacing_px, n_groups, bright } = clip.pattern else {
        return vec![];
    };
    let (height, width) = (clip.height as f64, clip.width as f64);
    let (across, down) = heading(clip);
    // Triples lie across the direction.
    let members: Vec<(f64, f64)> = (0..per_group)
        .map(|i| {
            let off = (i as f64 - 0.5 * (per_group - 1) as f64) * spacing_px;
            (-down * off, across * off)
        })
        .collect();
    let mut stream = Stream::new(clip.seed, "dots", clip.instance as u64);
    let mut middles: Vec<(f64, f64)> = Vec::with_capacity(n_groups * per_group);
    let apart = |a: (f64, f64), b: (f64, f64)| -> f64 {
        let round = |d: f64, size: f64| (d.rem_euclid(size)).min(size - d.rem_euclid(size));
        round(a.0 - b.0, width).hypot(round(a.1 - b.1, height))
    };
    for _ in 0..n_groups {
        let mut group = vec![];
        for _ in 0..30 {
            let at = (width * stream.uniform(), height * stream.uniform());
            group = members.iter().map(|m| (at.0 + m.0, at.1 + m.1)).collect();
            let free =
                |place: &(f64, f64)| middles.iter().all(|other| apart(*place, *other) >= 2.0 * diameter_px);
            if group.iter().all(free) {
                break;
            }
        }
        middles.extend(group);
    }
    let sign = if bright { 1.0 } else { -1.0 };
    let radius = 0.5 * diameter_px;
    let reach = (radius + 1.0).ceil() as i64;
    let mut frames = vec![128u8; clip.n_frames * clip.height * clip.width];
    for (t, frame) in frames.chunks_exact_mut(clip.height * clip.width).enumerate() {
        let moved = clip.speed_px * t as f64;
        for &(x, y) in &middles {
            let (x, y) = (x + moved * across, y + moved * down);
            let (column, row) = (x.floor() as i64, y.floor() as i64);
            for dy in -reach..=reach {
                for dx in -reach..=reach {
                    // Middles of pixels stand at halves.
                    let distance = ((column + dx) as f64 + 0.5 - x).hypot((row + dy) as f64 + 0.5 - y);
                    let cover = (radius + 0.5 - distance).clamp(0.0, 1.0);
                    if cover > 0.0 {
                        let at = (row + dy).rem_euclid(clip.height as i64) as usize * clip.width
                            + (column + dx).rem_euclid(clip.width as i64) as usize;
                        let value = (128.0 + sign * 127.0 * clip.contrast * cover).round() as u8;
                        // Where dots overlap the one that covers more is seen.
                        frame[at] = if bright { frame[at].max(value) } else { frame[at].min(value) };
                    }
                }
            }
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(pattern: Pattern, direction_deg: f64) -> Clip {
        Clip {
            height: 48,
            width: 64,
            n_frames: 9,
            pattern,
            direction_deg,
            speed_px: 2.0,
            contrast: 1.0,
            seed: 1,
            instance: 0,
        }
    }

    fn dots_of(per_group: usize, bright: bool) -> Pattern {
        Pattern::Dots { diameter_px: 5.0, per_group, spacing_px: 7.0, n_groups: 4, bright }
    }

    /// By how many whole pixels (columns, rows) frame 1 has moved from frame 0 on the torus; `None` if it has not.
    fn moved(frames: &[u8], height: usize, width: usize, dx: usize, dy: usize) -> bool {
        let (a, b) = (&frames[..height * width], &frames[height * width..2 * height * width]);
        (0..height).all(|y| {
            (0..width)
                .all(|x| a[y * width + x].abs_diff(b[(y + dy) % height * width + (x + dx) % width]) <= 1)
        })
    }

    #[test]
    fn what_moves_moves_in_its_direction() {
        for pattern in [dots_of(1, true), dots_of(3, false), Pattern::Grating { period_px: 16.0 }] {
            let frames = |direction| draw(&clip(pattern, direction)).unwrap();
            assert!(moved(&frames(0.0), 48, 64, 2, 0), "{pattern:?}");
            assert!(moved(&frames(90.0), 48, 64, 0, 46), "{pattern:?}");
            assert!(moved(&frames(180.0), 48, 64, 62, 0), "{pattern:?}");
            assert!(moved(&frames(270.0), 48, 64, 0, 2), "{pattern:?}");
            assert!(!moved(&frames(45.0), 48, 64, 0, 0), "{pattern:?}");
        }
        let still = Clip { speed_px: 0.0, ..clip(Pattern::Grating { period_px: 16.0 }, 45.0) };
        assert!(moved(&draw(&still).unwrap(), 48, 64, 0, 0));
    }

    #[test]
    fn a_grating_has_its_period_and_range() {
        let frames = draw(&clip(Pattern::Grating { period_px: 16.0 }, 0.0)).unwrap();
        assert_eq!(frames.len(), 9 * 48 * 64);
        assert!((0..48).all(|x| frames[x].abs_diff(frames[x + 16]) <= 1));
        assert!(frames.iter().max().unwrap() >= &250 && frames.iter().min().unwrap() <= &5);
        let faint = Clip { contrast: 0.1, ..clip(Pattern::Grating { period_px: 16.0 }, 0.0) };
        assert!(draw(&faint).unwrap().iter().all(|v| (114..=141).contains(v)));
    }

    #[test]
    fn dots_have_their_polarity_area_and_line() {
        let one = |per_group, bright| {
            let pattern = Pattern::Dots { diameter_px: 6.0, per_group, spacing_px: 9.0, n_groups: 1, bright };
            draw(&Clip { n_frames: 1, ..clip(pattern, 0.0) }).unwrap()
        };
        let area = |frame: &[u8]| frame.iter().map(|v| f64::from(v.abs_diff(128)) / 127.0).sum::<f64>();
        let disc = std::f64::consts::PI * 9.0;
        assert!((area(&one(1, true)) - disc).abs() < 0.1 * disc);
        assert!((area(&one(3, false)) - 3.0 * disc).abs() < 0.3 * disc);
        assert!(one(1, true).iter().all(|v| *v >= 128) && one(1, false).iter().all(|v| *v <= 128));
        // Moving rightwards, a triple stands upright: it fills no more columns than a dot does.
        let columns = |frame: &[u8]| (0..64).filter(|x| (0..48).any(|y| frame[y * 64 + x] > 140)).count();
        assert_eq!(columns(&one(3, true)), columns(&one(1, true)));
    }

    #[test]
    fn instances_differ_and_are_the_same_again() {
        for pattern in [dots_of(1, true), Pattern::Grating { period_px: 16.0 }] {
            let first = clip(pattern, 0.0);
            assert_eq!(draw(&first).unwrap(), draw(&first).unwrap());
            assert_ne!(draw(&first).unwrap(), draw(&Clip { instance: 1, ..first }).unwrap());
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let good = clip(dots_of(1, true), 0.0);
        let grating = |period_px| clip(Pattern::Grating { period_px }, 0.0);
        for bad in [
            Clip { height: 0, ..good },
            Clip { n_frames: usize::MAX, ..good },
            Clip { contrast: 0.0, ..good },
            Clip { speed_px: f64::NAN, ..good },
            clip(dots_of(0, true), 0.0),
            clip(dots_of(30, true), 0.0),
            grating(1.0),
        ] {
            assert!(draw(&bad).is_err(), "{bad:?}");
        }
    }
}
