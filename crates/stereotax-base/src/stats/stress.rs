//! Draw objects so that distances on the page are the distances given, as nearly as possible (metric SMACOF).
//!
//! ```text
//! stress(X) = Σ_{i<k} (δ_ik − ‖x_i − x_k‖)²          raw; stress-1 = √(stress / Σ δ²)
//! X ← B(X) X / n,  B_ik = −δ_ik / ‖x_i − x_k‖ (i ≠ k), rows summing to 0       never raises the stress
//! ```
//!
//! Classical scaling ([`super::ordination::classical_mds`]) fits inner products and lets large distances dominate;
//! stress weighs every distance alike and is what a reader measures on the page. Starts: classical scaling, and
//! random ones; the best is kept. [`place_by_distances`] puts a further object into a finished drawing.
//!
//! Source: de Leeuw 1977; Borg & Groenen 2005, 8. Cost: O(n² axes) per step.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::distance::Distances;
use super::ordination::{align, classical_mds};
use super::rng::Stream;
use crate::data::{Error, Monitor, Result};
use crate::linalg::{centre_columns, column_means, product, svd};

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StressParams {
    /// Axes (2).
    pub n_axes: usize,
    /// Random starts beside the classical one (default 4).
    pub n_random: usize,
    /// Most steps of each (default 1000).
    pub max_iterations: usize,
    /// Ends where a step lowers the stress by less than this share of it (default 1e-10).
    pub tolerance: f64,
    /// Seed of the starts.
    pub seed: u64,
}

impl Default for StressParams {
    fn default() -> Self {
        StressParams { n_axes: 2, n_random: 4, max_iterations: 1000, tolerance: 1e-10, seed: 0 }
    }
}

/// A drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct StressMap {
    /// n_objects × n_axes, centred, on principal axes, the largest entry of each positive.
    pub positions: Mat<f64>,
    /// √(Σ(δ − d)² / Σδ²) in [0, 1]: 0 for distances that fit.
    pub stress: f64,
    /// Share of stress of each object: Σ_k (δ_ik − d_ik)² over the sum of all.
    pub shares: Vec<f64>,
    /// Stress-1 of every start, in their order (classical first).
    pub stresses: Vec<f64>,
    /// Whether the best start ended by itself.
    pub converged: bool,
}

/// How a drawing is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrawingMethod {
    /// Least stress (default).
    #[default]
    Stress,
    /// Leading axes of the centred −½ δ².
    Classical,
}

/// Objects in few dimensions, with what is known of their places.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// n_objects × n_axes.
    pub positions: Mat<f64>,
    /// Stress-1 of what is drawn, whichever method drew it.
    pub stress: f64,
    /// Share of the misfit of each object.
    pub shares: Vec<f64>,
    /// Share of positive eigenvalues that each axis of classical scaling explains.
    pub explained: Vec<f64>,
    /// Share of negative eigenvalues in the sum of moduli.
    pub negative_share: f64,
    /// One drawing per resampled matrix, moved onto `positions`.
    pub draws: Vec<Mat<f64>>,
    /// Further objects, in their order.
    pub further: Vec<PlacedObject>,
    /// Whether the best start ended by itself.
    pub converged: bool,
}

/// Draw objects, place `further` ones (new × n_objects distances) and draw resampled distances in the same way.
///
/// Resampled drawings start from classical scaling only and are moved by translation, rotation and reflection.
/// Errors: those of [`stress_mds`], [`place_by_distances`] and [`align`]; other numbers of objects.
pub fn draw(
    distances: &Distances,
    resampled: &[Distances],
    further: Option<MatRef<f64>>,
    method: DrawingMethod,
    params: &StressParams,
    monitor: &Monitor<'_>,
) -> Result<Drawing> {
    let classical = classical_mds(distances, params.n_axes)?;
    let (positions, converged) = match method {
        DrawingMethod::Stress => {
            let found = stress_mds(distances, params, monitor)?;
            (found.positions, found.converged)
        }
        DrawingMethod::Classical => (classical.positions, true),
    };
    let few = StressParams { n_random: 0, ..*params };
    let draws = resampled
        .par_iter()
        .map(|draw| {
            let drawn = match method {
                DrawingMethod::Stress => stress_mds(draw, &few, monitor)?.positions,
                DrawingMethod::Classical => classical_mds(draw, params.n_axes)?.positions,
            };
            align(drawn.as_ref(), positions.as_ref())
        })
        .collect::<Result<_>>()?;
    let further = further.map_or(Ok(Vec::new()), |further| {
        (0..further.nrows())
            .map(|i| {
                let row: Vec<f64> = further.row(i).iter().copied().collect();
                place_by_distances(positions.as_ref(), &row)
            })
            .collect()
    })?;
    let delta = distances.matrix();
    let value = raw_stress(delta, positions.as_ref());
    Ok(Drawing {
        stress: normalised(delta, value),
        shares: shares(delta, positions.as_ref(), value),
        explained: classical.explained,
        negative_share: classical.negative_share,
        positions,
        draws,
        further,
        converged,
    })
}

/// Σ_k (δ_ik − d_ik)² of each object over the sum of all.
fn shares(delta: MatRef<f64>, x: MatRef<f64>, raw: f64) -> Vec<f64> {
    let n = delta.nrows();
    let misses = |i: usize| (0..n).map(|k| (delta[(i, k)] - apart(x, i, k)).powi(2)).sum::<f64>();
    (0..n).map(|i| if raw > 0.0 { misses(i) / (2.0 * raw) } else { 0.0 }).collect()
}

/// Draw objects by their distances.
///
/// Errors: fewer than 2 objects, no axis.
pub fn stress_mds(distances: &Distances, params: &StressParams, monitor: &Monitor<'_>) -> Result<StressMap> {
    let (n, axes) = (distances.n_objects(), params.n_axes);
    if n < 2 || axes == 0 {
        return Err(Error::TooFew {
            what: "objects and axes".into(),
            needed: "2 objects and 1 axis".into(),
            found: format!("{n} and {axes}"),
            hint: "two axes are customary".into(),
        });
    }
    let delta = distances.matrix();
    let typical = delta.norm_l2() / n as f64;
    let classical = classical_mds(distances, axes)?.positions;
    let mut best: Option<(f64, Mat<f64>, bool)> = None;
    let mut stresses = Vec::new();
    for start in 0..=params.n_random {
        let mut stream = Stream::new(params.seed, "stress start", start as u64);
        let mut x = if start == 0 {
            // What lies on one point in few axes is parted a little, or it would stay there.
            Mat::from_fn(n, axes, |i, j| classical[(i, j)] + 1e-6 * typical * stream.normal())
        } else {
            Mat::from_fn(n, axes, |_, _| typical * stream.normal())
        };
        let mut value = raw_stress(delta, x.as_ref());
        let mut converged = false;
        for _ in 0..params.max_iterations {
            monitor.check()?;
            let next = guttman(delta, x.as_ref());
            let new = raw_stress(delta, next.as_ref());
            x = next;
            let gained = value - new;
            value = new;
            if gained <= params.tolerance * value || value <= 1e-28 * typical * typical {
                converged = true;
                break;
            }
        }
        stresses.push(normalised(delta, value));
        if best.as_ref().is_none_or(|(least, _, _)| value < *least) {
            best = Some((value, x, converged));
        }
    }
    let (value, x, converged) = best.unwrap_or((0.0, Mat::zeros(n, axes), true));
    let shares = shares(delta, x.as_ref(), value);
    Ok(StressMap { stress: normalised(delta, value), positions: principal(x)?, shares, stresses, converged })
}

/// Where an object with these distances to drawn objects (n_objects × axes) belongs: least Σ(δ_i − ‖z − x_i‖)².
///
/// For classical drawings this is the nearest place in the plane, not Gower's projection (which assumes the
/// distances to be Euclidean in full). Errors: other numbers of distances, negative or undefined ones.
pub fn place_by_distances(positions: MatRef<f64>, distances: &[f64]) -> Result<PlacedObject> {
    let (n, axes) = (positions.nrows(), positions.ncols());
    let bad = distances.iter().find(|d| !(d.is_finite() && **d >= 0.0));
    if distances.len() != n || n == 0 || bad.is_some() {
        return Err(Error::Shape {
            what: "distances of the new object".into(),
            expected: format!("{n} distances of at least 0"),
            found: bad.map_or(format!("{} distances", distances.len()), |d| d.to_string()),
            hint: "give one distance to each drawn object".into(),
        });
    }
    // From the centre pushed towards each near object: the best of several starts.
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]));
    let scale = distances.iter().map(|d| d * d).sum::<f64>().sqrt();
    let value = |z: &[f64]| (0..n).map(|i| (distances[i] - to(positions, i, z)).powi(2)).sum::<f64>();
    let centre = column_means(positions);
    let mut best: Option<(f64, Vec<f64>)> = None;
    for start in 0..=(2 * axes).min(n) {
        let mut z = centre.clone();
        if start > 0 {
            let near = order[start - 1];
            // Beyond the near object on the far side, by its distance, along an axis that alternates.
            (0..axes).for_each(|j| z[j] = positions[(near, j)]);
            z[(start - 1) % axes] += distances[near] * if (start - 1) / axes % 2 == 0 { 1.0 } else { -1.0 };
        }
        (0..axes).for_each(|j| z[j] += 1e-9 * scale * (1.0 + j as f64));
        let mut now = value(&z);
        for _ in 0..10_000 {
            // Majorisation: the mean of where each object would have it.
            let mut next = vec![0.0; axes];
            for i in 0..n {
                let far = to(positions, i, &z).max(1e-300);
                for j in 0..axes {
                    let towards = (z[j] - positions[(i, j)]) / far;
                    next[j] += (positions[(i, j)] + distances[i] * towards) / n as f64;
                }
            }
            let new = value(&next);
            z = next;
            let gained = now - new;
            now = new;
            if gained <= 1e-14 * now || now <= 1e-28 * scale * scale {
                break;
            }
        }
        if best.as_ref().is_none_or(|(least, _)| now < *least) {
            best = Some((now, z));
        }
    }
    let (value, position) = best.unwrap_or((f64::NAN, centre));
    Ok(PlacedObject { position, stress: if scale > 0.0 { value.sqrt() / scale } else { 0.0 } })
}

/// A further object in a drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedObject {
    /// One number per axis.
    pub position: Vec<f64>,
    /// √(Σ(δ − d)² / Σδ²).
    pub stress: f64,
}

fn to(x: MatRef<f64>, i: usize, z: &[f64]) -> f64 {
    (0..z.len()).map(|j| (x[(i, j)] - z[j]).powi(2)).sum::<f64>().sqrt()
}

fn apart(x: MatRef<f64>, i: usize, k: usize) -> f64 {
    (0..x.ncols()).map(|j| (x[(i, j)] - x[(k, j)]).powi(2)).sum::<f64>().sqrt()
}

fn raw_stress(delta: MatRef<f64>, x: MatRef<f64>) -> f64 {
    let n = delta.nrows();
    (0..n).map(|i| (i + 1..n).map(|k| (delta[(i, k)] - apart(x, i, k)).powi(2)).sum::<f64>()).sum()
}

fn normalised(delta: MatRef<f64>, raw: f64) -> f64 {
    // The matrix holds every pair twice.
    let total = 0.5 * delta.norm_l2().powi(2);
    if total > 0.0 { (raw / total).sqrt() } else { 0.0 }
}

/// The Guttman transform B(X) X / n.
fn guttman(delta: MatRef<f64>, x: MatRef<f64>) -> Mat<f64> {
    let n = x.nrows();
    let mut b = Mat::<f64>::zeros(n, n);
    for k in 0..n {
        for i in k + 1..n {
            let far = apart(x, i, k);
            let weight = if far > 0.0 { -delta[(i, k)] / far } else { 0.0 };
            b[(i, k)] = weight;
            b[(k, i)] = weight;
            b[(i, i)] -= weight;
            b[(k, k)] -= weight;
        }
    }
    product(b.as_ref(), x) * faer::Scale(1.0 / n as f64)
}

/// Centred, on principal axes.
fn principal(mut x: Mat<f64>) -> Result<Mat<f64>> {
    let means = column_means(x.as_ref());
    centre_columns(x.as_mut(), &means);
    let found = svd(x.as_ref())?;
    let axes = x.ncols();
    Ok(Mat::from_fn(
        x.nrows(),
        axes,
        |i, k| if k < found.s.len() { found.u[(i, k)] * found.s[k] } else { 0.0 },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distances(x: &Mat<f64>) -> Distances {
        Distances::new(Mat::from_fn(x.nrows(), x.nrows(), |i, k| apart(x.as_ref(), i, k))).unwrap()
    }

    fn cloud(n: usize, axes: usize) -> Mat<f64> {
        let mut stream = Stream::new(1, "stress tests", n as u64);
        Mat::from_fn(n, axes, |_, j| (2.0 - j as f64 * 0.5) * stream.normal())
    }

    #[test]
    fn distances_of_a_plane_are_drawn_exactly_and_new_objects_fall_into_place() {
        let x = cloud(15, 2);
        let found = stress_mds(&distances(&x), &StressParams::default(), &Monitor::silent()).unwrap();
        assert!(found.stress < 1e-5 && found.converged, "{}", found.stress);
        let aligned = align(found.positions.as_ref(), x.as_ref()).unwrap();
        assert!((aligned - &x).norm_max() < 1e-3);
        let new = [0.7, -1.1];
        let far: Vec<f64> = (0..15).map(|i| to(x.as_ref(), i, &new)).collect();
        let placed = place_by_distances(x.as_ref(), &far).unwrap();
        assert!(placed.stress < 1e-5, "{}", placed.stress);
        assert!((placed.position[0] - 0.7).abs() < 1e-4 && (placed.position[1] + 1.1).abs() < 1e-4);
    }

    #[test]
    fn stress_is_below_that_of_classical_scaling_and_by_hand() {
        // An equilateral triangle on a line: positions −2/3, 0, 2/3 by symmetry of the best order;
        // d = 2/3, 2/3, 4/3: stress (1/9 + 1/9 + 1/9) / 3.
        let three = Distances::new(Mat::from_fn(3, 3, |i, k| if i == k { 0.0 } else { 1.0 })).unwrap();
        let params = StressParams { n_axes: 1, n_random: 20, ..StressParams::default() };
        let found = stress_mds(&three, &params, &Monitor::silent()).unwrap();
        assert!((found.stress - (1.0f64 / 9.0).sqrt()).abs() < 1e-6, "{}", found.stress);
        assert!((found.shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let d = distances(&cloud(12, 6));
        let classical = classical_mds(&d, 2).unwrap().positions;
        let found = stress_mds(&d, &StressParams::default(), &Monitor::silent()).unwrap();
        let before = normalised(d.matrix(), raw_stress(d.matrix(), classical.as_ref()));
        assert!(found.stress < before && found.stresses.iter().all(|s| *s >= found.stress - 1e-12));
        assert!(place_by_distances(classical.as_ref(), &[1.0]).is_err());
        assert!(stress_mds(&d, &StressParams { n_axes: 0, ..params }, &Monitor::silent()).is_err());
    }

    #[test]
    fn a_step_never_raises_the_stress() {
        let d = distances(&cloud(10, 5));
        let mut x = cloud(10, 2);
        let mut value = raw_stress(d.matrix(), x.as_ref());
        for _ in 0..50 {
            x = guttman(d.matrix(), x.as_ref());
            let new = raw_stress(d.matrix(), x.as_ref());
            assert!(new <= value * (1.0 + 1e-14));
            value = new;
        }
    }
}
