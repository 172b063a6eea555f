//! Test a correlation between two cortical maps against maps that are turned on their sphere (spin test).
//!
//! ```text
//! R uniform on SO(3) for the first sphere, M R M with M = diag(−1, 1, 1) for the second (mirrored)
//! turned map:  y'(v) = y(u),  u the place nearest to Rᵀ v       on each sphere
//! p = (1 + #{|r(x, y')| ≥ |r(x, y)|}) / (1 + rotations)          two-sided
//! ```
//!
//! Smooth maps correlate by chance far more than as many independent numbers would; a turned map is as smooth as
//! the map. Where x or y' is undefined (NaN: the medial wall and what is turned onto it), a place is left out of
//! that correlation (`dropped pairwise`). Places are vertices, or parcels by the centres of their vertices.
//! Parcels may take the nearest parcel (some twice, some never), or each exactly one, at least total squared
//! distance on its sphere.
//!
//! Source: Alexander-Bloch et al. 2018; Markello & Misic 2021 (variants); specs: peers 5 (11), nfas-dmd 12.
//! Differs from BrainSpace: rotations from random quaternions under a seed of their own; nearest places by a
//! grid. Cost: O(n) per rotation (vertices), O(n³) one to one; memory O(n) beside the null distribution.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::rng::Stream;
use super::summary::{permutation_p, tie_tolerance};
use crate::data::{Error, Monitor, Result};
use crate::graph::{SphereGrid, squared_distance};
use crate::linalg::assignment;

/// How places of a turned sphere are given values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpinAssign {
    /// That of the nearest place (default).
    #[default]
    Nearest,
    /// Each value used exactly once, at least total squared distance; for parcels (up to some hundred).
    OneToOne,
}

/// Which correlation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapCorrelation {
    /// Of ranks (ties share their mean rank; default).
    #[default]
    Spearman,
    /// Of values.
    Pearson,
}

/// Settings of a spin test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SpinParams {
    /// Rotations (default 1000).
    pub n_rotations: usize,
    /// How values are assigned.
    pub assign: SpinAssign,
    /// Seed of the rotations.
    pub seed: u64,
}

impl Default for SpinParams {
    fn default() -> Self {
        SpinParams { n_rotations: 1000, assign: SpinAssign::Nearest, seed: 0 }
    }
}

/// What a spin test found.
#[derive(Debug, Clone, PartialEq)]
pub struct SpinTest {
    /// Correlation of the maps as they are; NaN where one is constant.
    pub correlation: f64,
    /// Two-sided; NaN with an undefined correlation.
    pub p_value: f64,
    /// Correlations with the turned maps, in the order of the draws; NaN where one is undefined.
    pub null: Vec<f64>,
    /// Places where both maps are defined.
    pub n_used: usize,
    /// Draws without a correlation; they take no part in p.
    pub n_undefined: usize,
}

/// The rotations of one or two spheres, drawn by index.
#[derive(Debug)]
pub struct Spins {
    spheres: Vec<SphereGrid>,
    params: SpinParams,
}

impl Spins {
    /// For one sphere, or two of which the second is the mirror image (left and right; n × 3 each, places in the
    /// order of the maps: first sphere, then second). Radii are brought to 1.
    ///
    /// Errors: no or more than two spheres, other than 3 coordinates, a place at the centre, not finite.
    pub fn new(spheres: &[MatRef<f64>], params: SpinParams) -> Result<Self> {
        if spheres.is_empty() || spheres.len() > 2 {
            return Err(Error::Invalid {
                what: "spheres".into(),
                expected: "one sphere, or two (left and right)".into(),
                found: spheres.len().to_string(),
                hint: "give places × 3 for each hemisphere".into(),
            });
        }
        let spheres = spheres
            .iter()
            .enumerate()
            .map(|(k, sphere)| SphereGrid::new(&format!("sphere {k}"), *sphere))
            .collect::<Result<_>>()?;
        Ok(Spins { spheres, params })
    }

    /// Places of all spheres.
    pub fn n_places(&self) -> usize {
        self.spheres.iter().map(|s| s.points().len()).sum()
    }

    /// All draws, in their order: 4 bytes per draw and place.
    pub fn draws(&self, monitor: &Monitor<'_>) -> Result<Vec<Vec<u32>>> {
        (0..self.params.n_rotations)
            .into_par_iter()
            .map(|draw| {
                monitor.check()?;
                Ok(self.draw(draw))
            })
            .collect()
    }

    /// Draw `index`: the place whose value each place receives.
    pub fn draw(&self, index: usize) -> Vec<u32> {
        let rotation = random_rotation(&mut Stream::new(self.params.seed, "spin rotation", index as u64));
        let mut sources = Vec::with_capacity(self.n_places());
        for (k, sphere) in self.spheres.iter().enumerate() {
            let turn = if k == 0 { rotation } else { mirrored(&rotation) };
            let offset = sources.len() as u32;
            // Rᵀ v for every place v.
            let back = |v: &[f64; 3]| -> [f64; 3] {
                [0, 1, 2].map(|j| turn[0][j] * v[0] + turn[1][j] * v[1] + turn[2][j] * v[2])
            };
            match self.params.assign {
                SpinAssign::Nearest => {
                    sources.extend(sphere.points().iter().map(|v| offset + sphere.nearest(&back(v))));
                }
                SpinAssign::OneToOne => {
                    let turned: Vec<[f64; 3]> = sphere.points().iter().map(back).collect();
                    let n = turned.len();
                    let cost = Mat::from_fn(n, n, |i, j| squared_distance(&turned[i], &sphere.points()[j]));
                    sources.extend(assignment(cost.as_ref()).into_iter().map(|j| offset + j as u32));
                }
            }
        }
        sources
    }
}

/// Test the correlation of two maps over the places of `spheres`; `y` is turned.
///
/// Errors: maps of other lengths, fewer than 3 places where both are defined, no rotation, infinities.
pub fn spin_test(
    x: &[f64],
    y: &[f64],
    spheres: &[MatRef<f64>],
    correlation: MapCorrelation,
    params: &SpinParams,
    monitor: &Monitor<'_>,
) -> Result<SpinTest> {
    let spins = Spins::new(spheres, *params)?;
    let n = spins.n_places();
    let pair = MapPair::new(x, y, n, correlation)?;
    if params.n_rotations == 0 {
        return Err(Error::TooFew {
            what: "n_rotations".into(),
            needed: "1 rotation".into(),
            found: "0".into(),
            hint: "1000 are customary".into(),
        });
    }
    let null = (0..params.n_rotations)
        .into_par_iter()
        .map(|draw| {
            monitor.check()?;
            Ok(pair.correlation(Some(&spins.draw(draw))))
        })
        .collect::<Result<Vec<f64>>>()?;
    Ok(pair.test(null))
}

/// Test the correlation of two maps against surrogates of `y` (draws × places), however they were made.
///
/// Errors: as [`spin_test`].
pub fn surrogate_test(
    x: &[f64],
    y: &[f64],
    surrogates: MatRef<f64>,
    correlation: MapCorrelation,
) -> Result<SpinTest> {
    let pair = MapPair::new(x, y, surrogates.ncols(), correlation)?;
    let null = (0..surrogates.nrows())
        .map(|draw| {
            let map: Vec<f64> = surrogates.row(draw).iter().copied().collect();
            Ok(MapPair::new(x, &map, map.len(), correlation)?.correlation(None))
        })
        .collect::<Result<Vec<f64>>>()?;
    Ok(pair.test(null))
}

/// Centres of parcels on a sphere: the mean of their vertices, brought back to the surface.
///
/// `labels` has one entry per vertex; vertices labelled 0 belong to no parcel. Returns the labels, ascending,
/// and their centres (parcels × 3). Errors: lengths that differ, no parcel, a centre that is the sphere's.
pub fn parcel_centres(sphere: MatRef<f64>, labels: &[i64]) -> Result<ParcelCentres> {
    if labels.len() != sphere.nrows() || sphere.ncols() != 3 {
        return Err(Error::Shape {
            what: "labels".into(),
            expected: format!("{} labels (one per vertex of three coordinates)", sphere.nrows()),
            found: format!("{} labels, {} coordinates", labels.len(), sphere.ncols()),
            hint: "give the labels of this hemisphere only".into(),
        });
    }
    let mut found: Vec<i64> = labels.iter().copied().filter(|&label| label != 0).collect();
    found.sort_unstable();
    found.dedup();
    let mut centres = Mat::zeros(found.len(), 3);
    for (v, label) in labels.iter().enumerate() {
        if let Ok(k) = found.binary_search(label) {
            let norm = (0..3).map(|j| sphere[(v, j)].powi(2)).sum::<f64>().sqrt();
            (0..3).for_each(|j| centres[(k, j)] += sphere[(v, j)] / norm);
        }
    }
    for k in 0..found.len() {
        let norm = (0..3).map(|j| centres[(k, j)] * centres[(k, j)]).sum::<f64>().sqrt();
        if !(norm > 1e-9) {
            return Err(Error::Invalid {
                what: format!("parcel {}", found[k]),
                expected: "vertices with a centre on the sphere".into(),
                found: "vertices that cancel out".into(),
                hint: "a parcel that runs around the sphere has no place to turn".into(),
            });
        }
        (0..3).for_each(|j| centres[(k, j)] /= norm);
    }
    Ok(ParcelCentres { labels: found, centres })
}

/// Parcels of one sphere.
#[derive(Debug, Clone, PartialEq)]
pub struct ParcelCentres {
    /// Ascending, without 0.
    pub labels: Vec<i64>,
    /// Parcels × 3, on the unit sphere.
    pub centres: Mat<f64>,
}

/// Uniform on SO(3): a random unit quaternion (Shoemake 1992).
fn random_rotation(stream: &mut Stream) -> [[f64; 3]; 3] {
    let mut q = [0.0; 4];
    loop {
        q.iter_mut().for_each(|q| *q = stream.normal());
        let norm = q.iter().map(|q| q * q).sum::<f64>().sqrt();
        if norm > 1e-6 {
            q.iter_mut().for_each(|q| *q /= norm);
            break;
        }
    }
    let [w, x, y, z] = q;
    [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
        [2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)],
        [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)],
    ]
}

/// M R M with M = diag(−1, 1, 1).
fn mirrored(r: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    [0, 1, 2].map(|i| [0, 1, 2].map(|j| if (i == 0) == (j == 0) { r[i][j] } else { -r[i][j] }))
}

/// Two maps, ready to be correlated again and again.
struct MapPair {
    x: Vec<f64>,
    y: Vec<f64>,
    /// Places of the sorted distinct values (`u32::MAX` where undefined); empty for Pearson.
    codes: Option<[Vec<u32>; 2]>,
    n_codes: [usize; 2],
}

impl MapPair {
    fn new(x: &[f64], y: &[f64], n: usize, correlation: MapCorrelation) -> Result<Self> {
        for (name, map) in [("x", x), ("y", y)] {
            if map.len() != n {
                return Err(Error::Shape {
                    what: name.into(),
                    expected: format!("{n} places"),
                    found: map.len().to_string(),
                    hint: "maps follow the places of the spheres: first sphere, then second".into(),
                });
            }
            if let Some(row) = map.iter().position(|v| v.is_infinite()) {
                return Err(Error::NotFinite {
                    what: name.into(),
                    row,
                    column: 0,
                    count: map.iter().filter(|v| v.is_infinite()).count(),
                    hint: "mark places without a value by NaN".into(),
                });
            }
        }
        let both = x.iter().zip(y).filter(|(a, b)| !a.is_nan() && !b.is_nan()).count();
        if both < 3 {
            return Err(Error::TooFew {
                what: "places where both maps are defined".into(),
                needed: "3".into(),
                found: both.to_string(),
                hint: "NaN marks places without a value".into(),
            });
        }
        let (codes, n_codes) = if correlation == MapCorrelation::Spearman {
            let ((a, na), (b, nb)) = (coded(x), coded(y));
            (Some([a, b]), [na, nb])
        } else {
            (None, [0, 0])
        };
        Ok(MapPair { x: x.to_vec(), y: y.to_vec(), codes, n_codes })
    }

    /// r of x with y, or with y turned: place v takes the value of `sources[v]`.
    fn correlation(&self, sources: Option<&[u32]>) -> f64 {
        let at = |v: usize| sources.map_or(v, |s| s[v] as usize);
        let Some([a, b]) = &self.codes else {
            let defined = (0..self.x.len()).filter(|&v| !self.x[v].is_nan() && !self.y[at(v)].is_nan());
            return moments(defined.map(|v| (self.x[v], self.y[at(v)])));
        };
        let defined = |v: usize| a[v] != u32::MAX && b[at(v)] != u32::MAX;
        let mut counts = [vec![0u32; self.n_codes[0]], vec![0u32; self.n_codes[1]]];
        for v in (0..a.len()).filter(|&v| defined(v)) {
            counts[0][a[v] as usize] += 1;
            counts[1][b[at(v)] as usize] += 1;
        }
        let [ranks_x, ranks_y] = counts.map(|counts| {
            let mut before = 0.0;
            let rank = |count: u32| {
                let rank = before + 0.5 * (f64::from(count) + 1.0);
                before += f64::from(count);
                rank
            };
            counts.into_iter().map(rank).collect::<Vec<f64>>()
        });
        let pairs = (0..a.len()).filter(|&v| defined(v));
        moments(pairs.map(|v| (ranks_x[a[v] as usize], ranks_y[b[at(v)] as usize])))
    }

    fn test(&self, null: Vec<f64>) -> SpinTest {
        let correlation = self.correlation(None);
        let edge = correlation.abs() - tie_tolerance(correlation);
        let defined: Vec<f64> = null.iter().copied().filter(|r| !r.is_nan()).collect();
        let exceeding = defined.iter().filter(|r| r.abs() >= edge).count();
        let p = permutation_p(exceeding, defined.len());
        SpinTest {
            correlation,
            p_value: if correlation.is_nan() { f64::NAN } else { p },
            n_used: self.x.iter().zip(&self.y).filter(|(a, b)| !a.is_nan() && !b.is_nan()).count(),
            n_undefined: null.len() - defined.len(),
            null,
        }
    }
}

/// Pearson's r of pairs, in two passes; NaN where a side does not vary.
fn moments(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let (mut n, mut sx, mut sy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs.clone() {
        n += 1.0;
        sx += x;
        sy += y;
    }
    let (mx, my) = (sx / n, sy / n);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        let (x, y) = (x - mx, y - my);
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    // Below rounding of the mean there is no variation.
    let least = |m: f64| n * (64.0 * f64::EPSILON * m).powi(2);
    if xx <= least(mx) || yy <= least(my) {
        f64::NAN
    } else {
        (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0)
    }
}

/// Each value's place among the sorted distinct ones, and how many there are.
fn coded(map: &[f64]) -> (Vec<u32>, usize) {
    let mut distinct: Vec<f64> = map.iter().copied().filter(|v| !v.is_nan()).collect();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup_by(|a, b| *a == *b);
    let code = |v: &f64| {
        if v.is_nan() { u32::MAX } else { distinct.partition_point(|d| d < v) as u32 }
    };
    (map.iter().map(code).collect(), distinct.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::fibonacci_sphere as sphere;
    use crate::stats::summary::pearson;

    /// A smooth random map without a preferred direction: orthonormal harmonics of degrees 1 and 2.
    fn smooth(s: &Mat<f64>, index: u64) -> Vec<f64> {
        let mut stream = Stream::new(4, "smooth maps", index);
        let w: Vec<f64> = (0..8).map(|_| stream.normal()).collect();
        (0..s.nrows())
            .map(|i| {
                let [x, y, z] = [0, 1, 2].map(|j| s[(i, j)] / 100.0);
                let first = 3f64.sqrt() * (w[0] * x + w[1] * y + w[2] * z);
                let mixed = 15f64.sqrt() * (w[3] * x * y + w[4] * y * z + w[5] * x * z);
                let squares = 0.5 * 15f64.sqrt() * w[6] * (x * x - y * y);
                first + mixed + squares + 0.5 * 5f64.sqrt() * w[7] * (3.0 * z * z - 1.0)
            })
            .collect()
    }

    #[test]
    fn rotations_are_uniform_and_the_mirror_image_mirrors() {
        let mut trace = 0.0;
        let mut corner = 0.0;
        for draw in 0..20_000 {
            let r = random_rotation(&mut Stream::new(1, "spin rotation", draw));
            for i in 0..3 {
                for j in 0..3 {
                    let dot: f64 = (0..3).map(|k| r[i][k] * r[j][k]).sum();
                    assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-12);
                }
            }
            let cross = [
                r[0][1] * r[1][2] - r[0][2] * r[1][1],
                r[0][2] * r[1][0] - r[0][0] * r[1][2],
                r[0][0] * r[1][1] - r[0][1] * r[1][0],
            ];
            assert!((0..3).all(|k| (cross[k] - r[2][k]).abs() < 1e-12), "determinant 1");
            // Haar: E[tr R] = 0, E[r_11²] = 1/3, E[(tr R)²] = 1.
            let t = r[0][0] + r[1][1] + r[2][2];
            trace += t * t;
            corner += r[0][0] * r[0][0];
        }
        assert!((trace / 2e4 - 1.0).abs() < 0.04 && (corner / 2e4 - 1.0 / 3.0).abs() < 0.01);
        // A right hemisphere that is the left one mirrored receives the same places.
        let left = sphere(200);
        let right = Mat::from_fn(200, 3, |i, j| if j == 0 { -left[(i, j)] } else { left[(i, j)] });
        let spins = Spins::new(&[left.as_ref(), right.as_ref()], SpinParams::default()).unwrap();
        let draw = spins.draw(3);
        assert!((0..200).all(|v| draw[200 + v] == 200 + draw[v]));
    }

    #[test]
    fn correlations_are_those_of_ranks_sorted_anew_without_undefined_places() {
        let s = sphere(300);
        let (mut x, mut y) = (smooth(&s, 0), smooth(&s, 1));
        (0..30).for_each(|v| x[v] = f64::NAN);
        (20..60).for_each(|v| y[v] = f64::NAN);
        // Ties.
        x.iter_mut().for_each(|v| *v = (*v * 10.0).round());
        let spins = Spins::new(&[s.as_ref()], SpinParams::default()).unwrap();
        let sources = spins.draw(5);
        let kept: Vec<usize> =
            (0..300).filter(|&v| !x[v].is_nan() && !y[sources[v] as usize].is_nan()).collect();
        let a: Vec<f64> = kept.iter().map(|&v| x[v]).collect();
        let b: Vec<f64> = kept.iter().map(|&v| y[sources[v] as usize]).collect();
        let ranked = |values: &[f64]| -> Vec<f64> {
            let rank = |v: &f64| {
                let below = values.iter().filter(|w| *w < v).count() as f64;
                below + 0.5 * (values.iter().filter(|w| *w == v).count() as f64 + 1.0)
            };
            values.iter().map(rank).collect()
        };
        let of = |c| MapPair::new(&x, &y, 300, c).unwrap().correlation(Some(&sources));
        assert!((of(MapCorrelation::Spearman) - pearson(&ranked(&a), &ranked(&b))).abs() < 1e-12);
        assert!((of(MapCorrelation::Pearson) - pearson(&a, &b)).abs() < 1e-12);
    }

    #[test]
    fn p_values_are_calibrated_for_smooth_maps_and_find_what_is_there() {
        let s = sphere(400);
        let params = SpinParams { n_rotations: 99, ..SpinParams::default() };
        let p: Vec<f64> = (0..200)
            .map(|k| {
                let (x, y) = (smooth(&s, 2 * k), smooth(&s, 2 * k + 1));
                let params = SpinParams { seed: k, ..params };
                let test =
                    spin_test(&x, &y, &[s.as_ref()], MapCorrelation::Pearson, &params, &Monitor::silent());
                test.unwrap().p_value
            })
            .collect();
        for level in [0.05, 0.2, 0.5] {
            let share = p.iter().filter(|p| **p <= level).count() as f64 / 200.0;
            let se = (level * (1.0 - level) / 200.0).sqrt();
            assert!((share - level).abs() < 3.5 * se, "{level}: {share}");
        }
        let x = smooth(&s, 7);
        let test = spin_test(&x, &x, &[s.as_ref()], MapCorrelation::Spearman, &params, &Monitor::silent());
        let test = test.unwrap();
        assert!((test.correlation - 1.0).abs() < 1e-12 && test.p_value == 0.01);
    }

    #[test]
    fn one_to_one_uses_every_parcel_once_and_centres_are_means() {
        let s = sphere(60);
        let params = SpinParams { assign: SpinAssign::OneToOne, ..SpinParams::default() };
        let mut draw = Spins::new(&[s.as_ref()], params).unwrap().draw(1);
        draw.sort_unstable();
        assert_eq!(draw, (0..60).collect::<Vec<u32>>());
        let axes = Mat::from_fn(4, 3, |i, j| {
            [[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]][i][j]
        });
        let found = parcel_centres(axes.as_ref(), &[5, 5, 2, 0]).unwrap();
        assert_eq!(found.labels, [2, 5]);
        let half = 0.5f64.sqrt();
        assert!((found.centres[(1, 0)] - half).abs() < 1e-15 && (found.centres[(1, 1)] - half).abs() < 1e-15);
    }

    #[test]
    fn refusals() {
        let s = sphere(10);
        let x = vec![1.0; 10];
        let run = |x: &[f64], y: &[f64], n| {
            let params = SpinParams { n_rotations: n, ..SpinParams::default() };
            spin_test(x, y, &[s.as_ref()], MapCorrelation::Pearson, &params, &Monitor::silent())
        };
        assert!(run(&x[..9], &x, 9).is_err() && run(&x, &x, 0).is_err());
        assert!(run(&[f64::NAN; 10], &x, 9).is_err() && run(&[f64::INFINITY; 10], &x, 9).is_err());
        let flat = run(&x, &smooth(&s, 0), 9).unwrap();
        assert!(flat.correlation.is_nan() && flat.p_value.is_nan());
        assert!(Spins::new(&[], SpinParams::default()).is_err());
        assert!(Spins::new(&[Mat::zeros(3, 3).as_ref()], SpinParams::default()).is_err());
    }
}
