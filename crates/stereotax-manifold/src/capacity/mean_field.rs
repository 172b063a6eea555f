//! Capacity, radius and dimension of each manifold by mean-field theory.
//!
//! With the points of a manifold at distance 1 from the origin by their centre, s_m = ((x_m − c)/|c|, 1),
//!
//! ```text
//! F(t) = min |V − t|²  subject to V·s_m ≤ −κ                  t ~ N(0, 1) in the span of the points and the centre
//! 1/α  = ⟨F⟩,  anchor s̃ = Σ λ_m s_m / Σ λ_m = (t − V)/Σ λ_m    λ the multipliers; the support point where F = 0
//! R²   = ⟨|δs|²⟩, δs = (s̃ − ⟨s̃⟩) / s̃_centre;   D = n_axes ⟨t̂·ŝ⟩²      without the axis of the centre
//! ```
//!
//! α is 2 for points and falls with radius and dimension; of all manifolds it is the harmonic mean. Centres that are
//! correlated lower the true capacity: their mean |correlation| is returned, and the directions that they share can be
//! searched for and projected out first, as the reference does ([`Removal`]).
//!
//! Source: Chung, Lee & Sompolinsky 2018; Cohen et al. 2020; specs: alignment-methods B8.1. Cost: per manifold M² N for
//! its products, and per draw one active-set solution of at most M points.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::centres::shared_directions;
use super::manifolds;
use stereotax_base::data::{Error, Labels, Monitor, Result};
use stereotax_base::linalg::{centre_columns, column_means, cone_weights, dot, eigh, product};
use stereotax_base::stats::rng::Stream;

/// Directions that all centres share, to be projected out of all points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// None.
    None,
    /// That many; fewer where the centres span no more.
    Directions(usize),
    /// As many as leave the centres least correlated.
    Search,
}

/// Choices of the mean-field capacity.
#[derive(Debug, Clone, PartialEq)]
pub struct MeanFieldParams {
    /// κ ≥ 0. Default 0.
    pub margin: f64,
    /// Gaussian vectors for each manifold. Default 200.
    pub n_draws: usize,
    /// Default none; the reference searches.
    pub removal: Removal,
    /// Subtract the mean of all points. Default yes.
    pub centred: bool,
    /// Default 0.
    pub seed: u64,
}

impl Default for MeanFieldParams {
    fn default() -> Self {
        MeanFieldParams { margin: 0.0, n_draws: 200, removal: Removal::None, centred: true, seed: 0 }
    }
}

/// One manifold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ManifoldGeometry {
    /// α.
    pub capacity: f64,
    /// R, relative to the length of the centre.
    pub radius: f64,
    /// D, up to the number of axes.
    pub dimension: f64,
    /// Axes that the points span.
    pub n_axes: usize,
}

/// All manifolds.
#[derive(Debug, Clone, PartialEq)]
pub struct MeanFieldCapacity {
    /// Harmonic mean of the manifolds' capacities.
    pub capacity: f64,
    /// Mean radius.
    pub radius: f64,
    /// Mean dimension.
    pub dimension: f64,
    /// Mean |cosine| between the centres, less their mean, before anything is projected out.
    pub centre_correlation: f64,
    /// Directions projected out.
    pub n_removed: usize,
    /// Mean |cosine| that 0, 1, … directions leave, up to the last that was tried.
    pub correlations: Vec<f64>,
    /// Participation ratio of all points.
    pub participation_ratio: f64,
    /// Components that hold 90 % of the variance of all points.
    pub n_components_90: usize,
    /// In the order of the labels' groups.
    pub manifolds: Vec<ManifoldGeometry>,
}

/// Capacity of the classes of `points` (n_points × n_features), classes by `labels`.
///
/// Errors: fewer than 2 classes of 2 points, values that are not finite, a class with as many different points as
/// features, or whose centre lies at the origin; a margin below 0, no draw.
pub fn mean_field_capacity(
    points: MatRef<f64>,
    labels: &Labels,
    params: &MeanFieldParams,
    monitor: &Monitor<'_>,
) -> Result<MeanFieldCapacity> {
    if !(params.margin >= 0.0 && params.margin.is_finite()) || params.n_draws == 0 {
        return Err(Error::Invalid {
            what: "margin and n_draws".into(),
            expected: "0 or more, and 1 draw or more".into(),
            found: format!("{} and {}", params.margin, params.n_draws),
            hint: "a margin of 0 and 200 draws are customary".into(),
        });
    }
    let mut sets = manifolds(points, labels, params.centred)?;
    let most = sets.iter().map(Mat::nrows).max().unwrap_or(0);
    if most >= points.ncols() + 2 {
        return Err(Error::TooFew {
            what: "features".into(),
            needed: format!("{} (the largest class has {most} points)", most - 1),
            found: points.ncols().to_string(),
            hint: "take fewer points of each class, or more features".into(),
        });
    }
    let centre_of = |x: &Mat<f64>| column_means(x.as_ref());
    let centres: Vec<Vec<f64>> = sets.iter().map(centre_of).collect();
    let count = centres.len();
    let apart = {
        let mut m = Mat::from_fn(count, points.ncols(), |i, j| centres[i][j]);
        let means = column_means(m.as_ref());
        centre_columns(m.as_mut(), &means);
        m
    };
    let wanted = match params.removal {
        Removal::None => Some(0),
        Removal::Directions(count) => Some(count),
        Removal::Search => None,
    };
    let shared = shared_directions(apart.as_ref(), wanted, params.seed, monitor)?;
    if shared.directions.ncols() > 0 {
        for x in &mut sets {
            let inside = product(x.as_ref(), shared.directions.as_ref());
            *x = &*x - product(inside.as_ref(), shared.directions.transpose());
        }
    }
    let found: Vec<ManifoldGeometry> = sets
        .par_iter()
        .enumerate()
        .map(|(class, x)| {
            monitor.check()?;
            one(x, class, &labels.names()[class], params)
        })
        .collect::<Result<_>>()?;
    let over = |of: fn(&ManifoldGeometry) -> f64| found.iter().map(of).sum::<f64>() / count as f64;
    let spectrum = spectrum(points)?;
    let (total, squares) = spectrum.iter().fold((0.0, 0.0), |(a, b), l| (a + l, b + l * l));
    let mut within = 0.0;
    let n_components_90 = spectrum
        .iter()
        .position(|l| {
            within += l;
            within >= 0.9 * total
        })
        .map_or(spectrum.len(), |at| at + 1);
    Ok(MeanFieldCapacity {
        capacity: 1.0 / over(|m| 1.0 / m.capacity),
        radius: over(|m| m.radius),
        dimension: over(|m| m.dimension),
        centre_correlation: shared.correlations[0],
        n_removed: shared.directions.ncols(),
        correlations: shared.correlations,
        participation_ratio: total * total / squares,
        n_components_90,
        manifolds: found,
    })
}

/// Eigenvalues of the covariance of all points, descending, up to a factor.
fn spectrum(points: MatRef<f64>) -> Result<Vec<f64>> {
    let mut x = points.to_owned();
    let means = column_means(x.as_ref());
    centre_columns(x.as_mut(), &means);
    let small = if x.nrows() < x.ncols() {
        product(x.as_ref(), x.transpose())
    } else {
        product(x.transpose(), x.as_ref())
    };
    Ok(stereotax_base::linalg::eigh_leading(small.as_ref(), 0)?.values.iter().map(|l| l.max(0.0)).collect())
}

fn one(x: &Mat<f64>, class: usize, name: &str, params: &MeanFieldParams) -> Result<ManifoldGeometry> {
    let m = x.nrows();
    let centre = column_means(x.as_ref());
    let length = dot(&centre, &centre).sqrt();
    let largest = x.norm_max();
    if !(length > 1e-12 * largest * (x.ncols() as f64).sqrt()) {
        return Err(Error::ZeroVariance {
            what: format!("centre of class `{name}`"),
            detail: "it lies at the mean of all points".into(),
            hint: "with two classes or equal centres leave the mean in, or drop the class".into(),
        });
    }
    let mut spread = x.clone();
    centre_columns(spread.as_mut(), &centre);
    // Coordinates of the points in their span, from the products of points.
    let products = product(spread.as_ref(), spread.transpose());
    let decomposed = eigh(products.as_ref())?;
    let cut = 1e-12 * decomposed.values[0].max(0.0) * m as f64;
    let n_axes = decomposed.values.iter().take_while(|l| **l > cut && **l > 0.0).count();
    let s: Vec<Vec<f64>> = (0..m)
        .map(|i| {
            let axis = |k: usize| decomposed.vectors[(i, k)] * decomposed.values[k].sqrt() / length;
            (0..n_axes).map(axis).chain(std::iter::once(1.0)).collect()
        })
        .collect();
    let gram: Vec<f64> = (0..m * m).map(|at| dot(&s[at / m], &s[at % m])).collect();
    let mut mean_f = 0.0;
    let mut anchors: Vec<Vec<f64>> = Vec::with_capacity(params.n_draws);
    let mut along = 0.0;
    for draw in 0..params.n_draws {
        let mut stream = Stream::new(params.seed, "capacity", (class as u64) << 32 | draw as u64);
        let t: Vec<f64> = (0..=n_axes).map(|_| stream.normal()).collect();
        let inner: Vec<f64> = s.iter().map(|s| dot(s, &t) + params.margin).collect();
        let weights = cone_weights(&gram, &inner);
        let sum: f64 = weights.iter().sum();
        let anchor: Vec<f64> = if sum > 0.0 {
            let mix = |k: usize| (0..m).map(|i| weights[i] * s[i][k]).sum::<f64>() / sum;
            (0..=n_axes).map(mix).collect()
        } else {
            // No constraint binds: the point furthest along t.
            let furthest = (0..m).max_by(|&a, &b| inner[a].total_cmp(&inner[b]).then(b.cmp(&a)));
            s[furthest.unwrap_or(0)].clone()
        };
        mean_f += sum * sum * dot(&anchor, &anchor) / params.n_draws as f64;
        let (t, a) = (&t[..n_axes], &anchor[..n_axes]);
        along += dot(t, a) / (dot(t, t).sqrt() * (dot(a, a) + 1e-12).sqrt()).max(f64::MIN_POSITIVE);
        anchors.push(anchor);
    }
    let n = params.n_draws as f64;
    let mean: Vec<f64> = (0..n_axes).map(|k| anchors.iter().map(|a| a[k]).sum::<f64>() / n).collect();
    let squares = anchors.iter().map(|a| {
        a[..n_axes].iter().zip(&mean).map(|(a, mean)| (a - mean).powi(2)).sum::<f64>() / a[n_axes].powi(2)
    });
    Ok(ManifoldGeometry {
        capacity: 1.0 / mean_f,
        radius: (squares.sum::<f64>() / n).sqrt(),
        dimension: n_axes as f64 * (along / n).powi(2),
        n_axes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Balls of radius R in D dimensions (±R for one, else many points of the sphere) around orthogonal centres.
    fn balls(radius: f64, dimension: usize, per_ball: usize, draws: usize) -> MeanFieldCapacity {
        let (count, axes) = (2, 40);
        let mut stream = Stream::new(1, "balls", dimension as u64);
        let mut rows = vec![];
        let mut names = vec![];
        for ball in 0..count {
            for at in 0..per_ball {
                let mut direction: Vec<f64> = (0..dimension).map(|_| stream.normal()).collect();
                if dimension == 1 {
                    direction = vec![if at % 2 == 0 { 1.0 } else { -1.0 }];
                }
                if dimension == 2 {
                    let turn = 2.0 * std::f64::consts::PI * at as f64 / per_ball as f64;
                    direction = vec![turn.cos(), turn.sin()];
                }
                let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
                let mut row = vec![0.0; 2 * axes];
                row[ball * axes] = 1.0;
                direction
                    .iter()
                    .enumerate()
                    .for_each(|(k, x)| row[ball * axes + 1 + k] = radius * x / length);
                rows.push(row);
                names.push(ball.to_string());
            }
        }
        let x = Mat::from_fn(rows.len(), 2 * axes, |i, j| rows[i][j]);
        let params = MeanFieldParams { n_draws: draws, centred: false, ..MeanFieldParams::default() };
        mean_field_capacity(x.as_ref(), &Labels::new(&names), &params, &Monitor::silent()).unwrap()
    }

    #[test]
    fn segments_have_the_capacity_of_theory_and_points_two() {
        for (radius, expected) in [(1e-6, 2.0), (0.5, 1.2586), (1.0, 1.0011)] {
            let found = balls(radius, 1, 2, 40_000).capacity;
            assert!((found / expected - 1.0).abs() < 0.02, "{radius}: {found} {expected}");
        }
    }

    #[test]
    fn discs_have_the_capacity_of_the_closed_form() {
        // F of a ball with t₀ along the centre and s = |t_D|, averaged over the same kind of draws.
        let (radius, mut stream, mut sum) = (0.8f64, Stream::new(2, "disc", 0), 0.0);
        let n = 200_000;
        for _ in 0..n {
            let (t0, s) = (stream.normal(), stream.normal().hypot(stream.normal()));
            sum += if t0 >= radius * s {
                0.0
            } else if -s / radius < t0 {
                (radius * s - t0).powi(2) / (1.0 + radius * radius)
            } else {
                t0 * t0 + s * s
            };
        }
        let found = balls(radius, 2, 60, 5000);
        assert!((found.capacity * sum / f64::from(n) - 1.0).abs() < 0.04, "{}", found.capacity);
        assert_eq!(found.manifolds[0].n_axes, 2);
    }

    #[test]
    fn capacity_falls_with_radius_and_dimension_and_removal_lowers_correlation() {
        let wide = balls(1.5, 6, 30, 300);
        let narrow = balls(0.3, 6, 30, 300);
        assert!(wide.capacity < narrow.capacity && wide.radius > narrow.radius);
        assert!(wide.dimension > balls(1.5, 2, 30, 300).dimension);

        let mut stream = Stream::new(3, "correlated", 0);
        let shared: Vec<f64> = (0..60).map(|_| 6.0 * stream.normal()).collect();
        let signs: Vec<f64> = (0..8).map(|_| stream.normal()).collect();
        let own = Mat::from_fn(8, 60, |_, _| 2.0 * stream.normal());
        let x = Mat::from_fn(80, 60, |i, j| signs[i / 10] * shared[j] + own[(i / 10, j)] + stream.normal());
        let names: Vec<String> = (0..80).map(|i| (i / 10).to_string()).collect();
        let labels = Labels::new(&names);
        let with = |removal| {
            let params = MeanFieldParams { removal, ..MeanFieldParams::default() };
            mean_field_capacity(x.as_ref(), &labels, &params, &Monitor::silent()).unwrap()
        };
        let (before, after) = (with(Removal::None), with(Removal::Directions(1)));
        assert!(before.centre_correlation > 0.5, "{}", before.centre_correlation);
        assert!(after.radius > before.radius && after.capacity < before.capacity);
        assert_eq!((before.n_removed, after.n_removed), (0, 1));
        assert_eq!(before.correlations[0], after.correlations[0]);
        assert!(after.correlations[1] < 0.5 * after.correlations[0], "{:?}", after.correlations);
        let searched = with(Removal::Search);
        let least = searched.correlations[1..].iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!(searched.correlations[searched.n_removed], least);
        assert_eq!(before.manifolds.len(), 8);
        assert!(before.n_components_90 >= 1 && before.participation_ratio < 8.0);
    }

    #[test]
    fn what_is_no_manifold_is_refused_in_words() {
        let message = |x: Mat<f64>, names: &[&str]| {
            let params = MeanFieldParams::default();
            mean_field_capacity(x.as_ref(), &Labels::new(names), &params, &Monitor::silent())
                .unwrap_err()
                .to_string()
        };
        let x = Mat::from_fn(4, 9, |i, j| ((i * 5 + j * j) % 7) as f64);
        assert!(message(x.clone(), &["a", "a", "b", "c"]).contains("class `b`"));
        assert!(message(x.clone(), &["a", "a", "a", "a"]).contains("1 classes"));
        let same = Mat::from_fn(4, 9, |i, j| ((i % 2) * j) as f64);
        assert!(message(same, &["a", "a", "b", "b"]).contains("mean of all points"));
    }
}
