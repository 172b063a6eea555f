//! One bundle of curves: its centre line, how thick it is, and how much its curves cross.

use super::TubularityParams;
use super::spline::Spline;
use stereotax_base::stats::summary::{median, quantile};

/// Points to which every curve is brought.
pub(super) const M: usize = 150;
/// Bins of the radius.
const BINS: usize = 100;
/// Points of the centre line.
const LINE: usize = 400;

/// A curve of M points at equal arc length, and its derivatives by u.
pub(super) struct Curve {
    points: Vec<Vec<f64>>,
    tangents: Vec<Vec<f64>>,
}

/// A bundle and the scores that rest on it; lower is more tube-like.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// Stimulus class.
    pub class: usize,
    /// Curves.
    pub n_curves: usize,
    /// S_tight: mean radius over the length of the centre line.
    pub tightness: f64,
    /// S_cross = X_ε / L. It falls with the length of curves, and so with the number of units.
    pub crossing: f64,
    /// X_ε L² / (2π ε² (1 − e^−4.5)): Σ sin(angle) over crossings, per pair of curves. Free of scale (T3).
    pub crossing_number: f64,
    /// X_ε / ε² (T6).
    pub crossing_legacy: f64,
    /// Mean radius over the least mean distance to another class's centre line (T2); 1 of a single class.
    pub tightness_contextual: f64,
    /// As `tightness`, with the distance to the centre line at the point's own u (T4).
    pub tightness_matched: f64,
    /// As `tightness`, with the distance to the nearest point of the centre line (T4).
    pub tightness_normal: f64,
    /// The q-quantile of the distances to the nearest point of the centre line: the radius of the tube (T5).
    pub tube_radius: f64,
    /// Tube radius times the largest curvature of the centre line (T5): a tube cannot bend more than 1.
    pub bend: f64,
    /// R_q of each of 100 bins of u.
    pub radii: Vec<f64>,
    /// L, length of the centre line.
    pub length: f64,
    /// ε, median distance to the nearest point of another curve.
    pub epsilon: f64,
    /// X_ε, weight of encounters at an angle, per pair of curves.
    pub encounters: f64,
    /// The centre line at 400 equal steps of u.
    pub line: Vec<Vec<f64>>,
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

impl Curve {
    /// Resample a polyline to equal arc length; one of length 0 is a constant curve.
    pub(super) fn of(polyline: &[Vec<f64>]) -> Self {
        let mut along = vec![0.0];
        for pair in polyline.windows(2) {
            along.push(along[along.len() - 1] + distance(&pair[0], &pair[1]));
        }
        let total = along[along.len() - 1];
        let mut points = Vec::with_capacity(M);
        let mut piece = 0;
        for i in 0..M {
            if !(total > 0.0) {
                points.push(polyline[0].clone());
                continue;
            }
            let target = total * i as f64 / (M - 1) as f64;
            while piece + 2 < along.len() && along[piece + 1] < target {
                piece += 1;
            }
            let span = along[piece + 1] - along[piece];
            let share = if span > 0.0 { ((target - along[piece]) / span).min(1.0) } else { 0.0 };
            let ends = polyline[piece].iter().zip(&polyline[piece + 1]);
            points.push(ends.map(|(a, b)| a + share * (b - a)).collect());
        }
        let steps = (M - 1) as f64;
        let tangents = (0..M)
            .map(|i| {
                let (from, to): (usize, usize) = (i.saturating_sub(1), (i + 1).min(M - 1));
                let d: Vec<f64> = points[to]
                    .iter()
                    .zip(&points[from])
                    .map(|(a, b): (&f64, &f64)| (a - b) * steps / (to - from) as f64)
                    .collect();
                let length = d.iter().map(|x| x * x).sum::<f64>().sqrt() + 1e-12;
                d.iter().map(|x| x / length).collect()
            })
            .collect();
        Curve { points, tangents }
    }
}

/// All scores of a bundle that need no other bundle.
pub(super) fn bundle(class: usize, curves: &[Curve], params: &TubularityParams) -> Bundle {
    let p = curves[0].points[0].len();
    let mean = |i: usize| -> Vec<f64> {
        (0..p).map(|k| curves.iter().map(|c| c.points[i][k]).sum::<f64>() / curves.len() as f64).collect()
    };
    let mut mean_line: Vec<Vec<f64>> = (0..M).map(mean).collect();
    let mut splines = smooth(&mean_line, params);
    for _ in 0..params.refits {
        let moved = refit(curves, &mut mean_line, &splines);
        splines = smooth(&mean_line, params);
        if moved < 1e-3 {
            break;
        }
    }
    let at = |u: f64| -> Vec<[f64; 3]> { splines.iter().map(|spline| spline.at(u)).collect() };
    let place = |u: f64| -> Vec<f64> { at(u).iter().map(|f| f[0]).collect() };
    let line: Vec<Vec<f64>> = (0..LINE).map(|i| place(i as f64 / (LINE - 1) as f64)).collect();
    let length: f64 = line.windows(2).map(|w| distance(&w[0], &w[1])).sum();

    // Distances to the centre line by three rules, in bins of u.
    let (mut by_bin, mut matched, mut normal) = (vec![vec![]; BINS], vec![vec![]; BINS], vec![vec![]; BINS]);
    let mut all = vec![];
    for i in 0..M {
        let u = i as f64 / (M - 1) as f64;
        let bin = ((u * BINS as f64) as usize).min(BINS - 1);
        let (centre, own) = (place((bin as f64 + 0.5) / BINS as f64), place(u));
        for curve in curves {
            let point = &curve.points[i];
            by_bin[bin].push(distance(point, &centre));
            matched[bin].push(distance(point, &own));
            let nearest = line.iter().map(|on| distance(point, on)).fold(f64::INFINITY, f64::min);
            normal[bin].push(nearest);
            all.push(nearest);
        }
    }
    let radius = |bins: &[Vec<f64>]| -> Vec<f64> {
        bins.iter().map(|d| if d.is_empty() { 0.0 } else { quantile(d, params.quantile) }).collect()
    };
    let thickness = |radii: &[f64]| radii.iter().sum::<f64>() / BINS as f64 / (length + 1e-12);
    let radii = radius(&by_bin);
    let tube_radius = quantile(&all, params.quantile);
    let curvature = (0..LINE).fold(0.0f64, |most, i| {
        let f = at(i as f64 / (LINE - 1) as f64);
        let sum = |a: usize, b: usize| f.iter().map(|f| f[a] * f[b]).sum::<f64>();
        let (speed, bend, across) = (sum(1, 1), sum(2, 2), sum(1, 2));
        most.max((speed * bend - across * across).max(0.0).sqrt() / speed.powf(1.5).max(1e-300))
    });

    let epsilon = encounter_scale(curves, params.exact_epsilon);
    let encounters = encounters(curves, epsilon);
    let crossings = 2.0 * std::f64::consts::PI * epsilon * epsilon * (1.0 - (-4.5f64).exp());
    Bundle {
        class,
        n_curves: curves.len(),
        tightness: thickness(&radii),
        crossing: encounters / (length + 1e-12),
        crossing_number: encounters * length * length / crossings,
        crossing_legacy: encounters / (epsilon * epsilon),
        tightness_contextual: 1.0,
        tightness_matched: thickness(&radius(&matched)),
        tightness_normal: thickness(&radius(&normal)),
        tube_radius,
        bend: if params.smoothing.is_off() { f64::NAN } else { tube_radius * curvature },
        radii,
        length,
        epsilon,
        encounters,
        line,
    }
}

fn smooth(mean_line: &[Vec<f64>], params: &TubularityParams) -> Vec<Spline> {
    let p = mean_line[0].len();
    let columns: Vec<Vec<f64>> = (0..p).map(|k| mean_line.iter().map(|point| point[k]).collect()).collect();
    let total: f64 = columns
        .iter()
        .map(|y| {
            let mean = y.iter().sum::<f64>() / M as f64;
            y.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>()
        })
        .sum();
    columns.iter().map(|y| Spline::fit(y, params.smoothing.residual(total / p as f64))).collect()
}

/// Bring points to where they are nearest on the line, and average anew there (T7); how far u moved.
fn refit(curves: &[Curve], mean_line: &mut [Vec<f64>], splines: &[Spline]) -> f64 {
    let at = |u: f64| -> Vec<f64> { splines.iter().map(|spline| spline.at(u)[0]).collect() };
    let line: Vec<Vec<f64>> = (0..LINE).map(|i| at(i as f64 / (LINE - 1) as f64)).collect();
    let mut found: Vec<(f64, &Vec<f64>)> = vec![];
    let mut moved = 0.0;
    for curve in curves {
        for (i, point) in curve.points.iter().enumerate() {
            let nearest =
                (0..LINE).min_by(|&a, &b| distance(point, &line[a]).total_cmp(&distance(point, &line[b])));
            let u = nearest.unwrap_or(0) as f64 / (LINE - 1) as f64;
            moved += (u - i as f64 / (M - 1) as f64).abs();
            found.push((u, point));
        }
    }
    // Means in windows of u around each of M places, as wide as two steps; places that none is near keep theirs.
    let width = 2.0 / (M - 1) as f64;
    for (i, place) in mean_line.iter_mut().enumerate() {
        let u = i as f64 / (M - 1) as f64;
        let near: Vec<&Vec<f64>> = found.iter().filter(|f| (f.0 - u).abs() <= width).map(|f| f.1).collect();
        if !near.is_empty() {
            for (k, x) in place.iter_mut().enumerate() {
                *x = near.iter().map(|point| point[k]).sum::<f64>() / near.len() as f64;
            }
        }
    }
    moved / found.len() as f64
}

/// ε: per point the nearest point of another curve among its nine nearest points (or among all), then the median.
fn encounter_scale(curves: &[Curve], exact: bool) -> f64 {
    let mut found = vec![];
    for (a, curve) in curves.iter().enumerate() {
        for (i, point) in curve.points.iter().enumerate() {
            let mut all: Vec<(f64, bool)> = vec![];
            for (b, other) in curves.iter().enumerate() {
                for (j, x) in other.points.iter().enumerate() {
                    if (a, i) != (b, j) {
                        all.push((distance(point, x), a != b));
                    }
                }
            }
            if !exact && all.len() > 9 {
                // Nine others: the tenth of the ten nearest is the point itself.
                all.select_nth_unstable_by(8, |a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
                all.truncate(9);
            }
            let nearest = all.iter().filter(|x| x.1).map(|x| x.0).fold(f64::INFINITY, f64::min);
            if nearest.is_finite() {
                found.push(nearest);
            }
        }
    }
    if found.is_empty() { 1.0 } else { median(&found).max(1e-12) }
}

fn encounters(curves: &[Curve], epsilon: f64) -> f64 {
    let mut total = 0.0;
    for a in 0..curves.len() {
        for b in a + 1..curves.len() {
            for (x, tx) in curves[a].points.iter().zip(&curves[a].tangents) {
                for (y, ty) in curves[b].points.iter().zip(&curves[b].tangents) {
                    let apart = distance(x, y);
                    if apart <= 3.0 * epsilon {
                        let cosine: f64 = tx.iter().zip(ty).map(|(a, b)| a * b).sum();
                        total += (-apart * apart / (2.0 * epsilon * epsilon)).exp() * (1.0 - cosine * cosine);
                    }
                }
            }
        }
    }
    let m = curves.len() as f64;
    2.0 * total / (M * M) as f64 / (m * (m - 1.0))
}

/// Mean distance between two centre lines at 100 equal u.
pub(super) fn apart(a: &Bundle, b: &Bundle) -> f64 {
    let on = |line: &[Vec<f64>], i: usize| {
        let at = i as f64 / 99.0 * (LINE - 1) as f64;
        let (left, share) = (at as usize, at.fract());
        let right = (left + 1).min(LINE - 1);
        line[left].iter().zip(&line[right]).map(|(x, y)| x + share * (y - x)).collect::<Vec<f64>>()
    };
    (0..100).map(|i| distance(&on(&a.line, i), &on(&b.line, i))).sum::<f64>() / 100.0
}

/// Least distance between two centre lines over the sum of their tube radii: above 1 the tubes are disjoint.
pub(super) fn separation(a: &Bundle, b: &Bundle) -> f64 {
    let mut least = f64::INFINITY;
    for x in a.line.iter().step_by(2) {
        for y in b.line.iter().step_by(2) {
            least = least.min(distance(x, y));
        }
    }
    least / (a.tube_radius + b.tube_radius)
}
