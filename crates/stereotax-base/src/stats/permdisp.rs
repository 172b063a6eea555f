//! Test whether groups differ in spread: distances of objects to their group's centre (PERMDISP).
//!
//! With D the n × n distances, A = −½ D∘D is centred in rows and columns and decomposed, A = V Λ Vᵀ.
//! Objects get coordinates V|Λ|^½ on the axes with λ > 0 and on those with λ < 0 (which exist when D fits
//! in no Euclidean space). The distance to the group's centre is z = √|Δ₊² − Δ₋²|, Δ₊ and Δ₋ measured on
//! the two sets of axes; the centre is the spatial median (found on each set by itself) or the centroid.
//! F is the one-way F of z over groups; its p-value permutes the residuals of z from the group means.
//!
//! Report it next to every PERMANOVA: where spreads differ, a difference in location is confounded.
//! Both signs of axes and permuted residuals are what vegan's betadisper and permutest document;
//! scikit-bio drops the negative axes ([`NegativeAxes::Drop`] gives its F) and permutes labels. Source: Anderson 2006; specs: nfas-dmd 11.3.
//! Cost: O(n³) for the axes, O(n) per permutation.

use faer::Mat;

use super::anova::one_way_permutation;
use super::distance::Distances;
use super::shuffles::{PermutationParams, PermutationSupport};
use super::summary::{is_constant, mean};
use crate::data::{Labels, Monitor, Result};
use crate::linalg::eigh;

/// Eigenvalues below this share of the largest modulus are rounding.
const AXIS_CUT: f64 = 1e-12;

/// Steps of the spatial median before it is reported as not converged.
const MAX_STEPS: usize = 10_000;

/// The centre of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Centre {
    /// The point of least total distance (the default; robust).
    #[default]
    SpatialMedian,
    /// The mean.
    Centroid,
}

/// Whether distances are enlarged for the centre having been fitted to the same objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BiasFactor {
    /// As they are (the default).
    #[default]
    None,
    /// Times √(n_c/(n_c − 1)), for small groups of unequal size (Stier et al. 2013).
    SmallSample,
}

/// What becomes of axes with negative eigenvalues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NegativeAxes {
    /// Their squared distances are subtracted (the default): distances between objects are kept exactly.
    #[default]
    Subtract,
    /// They are left out, as scikit-bio does.
    Drop,
}

/// How the test is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct PermdispParams {
    /// Kind of centre (default spatial median).
    pub centre: Centre,
    /// Negative axes (default: subtracted).
    pub negative_axes: NegativeAxes,
    /// Bias factor (default none).
    pub bias_factor: BiasFactor,
    /// The permutations.
    pub permutations: PermutationParams,
}

/// The result of a PERMDISP.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Permdisp {
    /// One-way F of the distances to the centres; NaN if none of them varies.
    pub f: f64,
    /// Permutation p-value (large F is extreme).
    pub p_value: f64,
    /// Distance of each object to its group's centre.
    pub to_centre: Vec<f64>,
    /// Mean of these per group, in the order of the groups' names.
    pub group_mean: Vec<f64>,
    /// Axes with positive eigenvalues.
    pub n_positive_axes: usize,
    /// Axes with negative eigenvalues; 0 for Euclidean distances.
    pub n_negative_axes: usize,
    /// Share of the negative eigenvalues in the sum of all moduli.
    pub negative_share: f64,
    /// Whether every spatial median was found to 1e-10.
    pub converged: bool,
    /// What the permutations can support.
    pub support: PermutationSupport,
    /// Why F is undefined, if it is.
    pub reason: Option<String>,
}

/// Test whether the groups of `labels` differ in spread.
///
/// Errors: labels that do not match, fewer than two groups, no more objects than groups.
/// A group of one object lies at its own centre (distance 0).
pub fn permdisp(
    distances: &Distances,
    labels: &Labels,
    params: &PermdispParams,
    monitor: &Monitor,
) -> Result<Permdisp> {
    labels.check_for_test("labels", distances.n_objects())?;
    super::permanova::check_objects(distances.n_objects(), labels.n_groups())?;
    let axes = principal_axes(distances)?;
    let mut converged = true;
    let mut to_centre = vec![0.0; distances.n_objects()];
    for group in 0..labels.n_groups() {
        let members = labels.members(group);
        let positive = squared_to_centre(&axes.positive, &members, params.centre, &mut converged);
        let negative = squared_to_centre(&axes.negative, &members, params.centre, &mut converged);
        let n = members.len() as f64;
        let factor = match params.bias_factor {
            BiasFactor::SmallSample if members.len() > 1 => (n / (n - 1.0)).sqrt(),
            _ => 1.0,
        };
        for (k, &i) in members.iter().enumerate() {
            let negative = match params.negative_axes {
                NegativeAxes::Subtract => negative[k],
                NegativeAxes::Drop => 0.0,
            };
            to_centre[i] = factor * (positive[k] - negative).abs().sqrt();
        }
    }
    let group_mean: Vec<f64> = (0..labels.n_groups())
        .map(|c| mean(&labels.members(c).iter().map(|&i| to_centre[i]).collect::<Vec<_>>()))
        .collect();
    let residuals: Vec<f64> = to_centre.iter().zip(labels.codes()).map(|(z, &c)| z - group_mean[c]).collect();
    let order = distances.canonical_order();
    let test = one_way_permutation(&to_centre, &residuals, labels, &order, &params.permutations, monitor)?;
    let reason = is_constant(&to_centre).then(|| "all objects lie equally far from their centres".to_owned());
    Ok(Permdisp {
        f: if reason.is_some() { f64::NAN } else { test.f },
        p_value: if reason.is_some() { f64::NAN } else { test.p_value },
        to_centre,
        group_mean,
        n_positive_axes: axes.positive.ncols(),
        n_negative_axes: axes.negative.ncols(),
        negative_share: axes.negative_share,
        converged,
        support: test.support,
        reason,
    })
}

/// Coordinates on the axes of either sign.
pub(crate) struct Axes {
    /// n × axes with λ > 0, descending.
    pub positive: Mat<f64>,
    /// n × axes with λ < 0.
    pub negative: Mat<f64>,
    /// The positive eigenvalues, descending.
    pub eigenvalues: Vec<f64>,
    /// Σ|λ₋| / Σ|λ|.
    pub negative_share: f64,
}

/// Principal coordinates of a distance matrix (Gower 1966).
pub(crate) fn principal_axes(distances: &Distances) -> Result<Axes> {
    let n = distances.n_objects();
    let d = distances.matrix();
    let a = Mat::from_fn(n, n, |i, j| -0.5 * d[(i, j)] * d[(i, j)]);
    let row_means: Vec<f64> = (0..n).map(|i| a.row(i).iter().sum::<f64>() / n as f64).collect();
    let grand = mean(&row_means);
    let centred = Mat::from_fn(n, n, |i, j| a[(i, j)] - row_means[i] - row_means[j] + grand);
    let found = eigh(centred.as_ref())?;
    let largest = found.values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let cut = AXIS_CUT * largest * n as f64;
    let pick =
        |keep: &dyn Fn(f64) -> bool| -> Vec<usize> { (0..n).filter(|&k| keep(found.values[k])).collect() };
    let coordinates = |axes: &[usize]| {
        Mat::from_fn(n, axes.len(), |i, k| found.vectors[(i, axes[k])] * found.values[axes[k]].abs().sqrt())
    };
    let (up, down) = (pick(&|v| v > cut), pick(&|v| v < -cut));
    let total = |axes: &[usize]| axes.iter().map(|&k| found.values[k].abs()).sum::<f64>();
    Ok(Axes {
        positive: coordinates(&up),
        negative: coordinates(&down),
        eigenvalues: up.iter().map(|&k| found.values[k]).collect(),
        negative_share: if largest > 0.0 { total(&down) / (total(&up) + total(&down)) } else { 0.0 },
    })
}

/// Squared distance of each member to the centre of all members.
fn squared_to_centre(axes: &Mat<f64>, members: &[usize], centre: Centre, converged: &mut bool) -> Vec<f64> {
    let points: Vec<Vec<f64>> =
        members.iter().map(|&i| (0..axes.ncols()).map(|k| axes[(i, k)]).collect()).collect();
    let centre = match centre {
        Centre::Centroid => centroid(&points),
        Centre::SpatialMedian => {
            let found = spatial_median(&points);
            *converged &= found.converged;
            found.point
        }
    };
    points.iter().map(|p| squared(p, &centre)).collect()
}

fn squared(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn centroid(points: &[Vec<f64>]) -> Vec<f64> {
    let n = points.len() as f64;
    (0..points[0].len()).map(|k| points.iter().map(|p| p[k]).sum::<f64>() / n).collect()
}

struct SpatialMedian {
    point: Vec<f64>,
    converged: bool,
}

/// The point of least total distance to all points (Weiszfeld 1937).
///
/// First it asks of each point whether it is the median itself: it is if the unit vectors from it to the
/// others add up to no more than the number of points that coincide with it. The iteration then has no
/// such end and converges linearly; a step that lands on a point is nudged off by leaving that point out.
fn spatial_median(points: &[Vec<f64>]) -> SpatialMedian {
    let scale = points.iter().map(|p| squared(p, &points[0]).sqrt()).fold(0.0, f64::max);
    let near = 1e-14 * scale;
    for candidate in points {
        let mut pull = vec![0.0; candidate.len()];
        let mut coincident = 0.0;
        for p in points {
            let distance = squared(p, candidate).sqrt();
            if distance <= near {
                coincident += 1.0;
                continue;
            }
            pull.iter_mut().zip(p.iter().zip(candidate)).for_each(|(s, (a, b))| *s += (a - b) / distance);
        }
        if pull.iter().map(|x| x * x).sum::<f64>().sqrt() <= coincident {
            return SpatialMedian { point: candidate.clone(), converged: true };
        }
    }
    let mut point = centroid(points);
    for _ in 0..MAX_STEPS {
        let mut next = vec![0.0; point.len()];
        let mut total = 0.0;
        for p in points {
            let distance = squared(p, &point).sqrt();
            if distance > near {
                total += 1.0 / distance;
                next.iter_mut().zip(p).for_each(|(s, a)| *s += a / distance);
            }
        }
        next.iter_mut().for_each(|x| *x /= total);
        let step = squared(&next, &point).sqrt();
        point = next;
        if step <= 1e-10 * 1e-2 * scale {
            return SpatialMedian { point, converged: true };
        }
    }
    SpatialMedian { point, converged: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::distance::{DistanceKind, object_distances};

    fn run(d: &Distances, groups: &[&str], centre: Centre) -> Permdisp {
        let params = PermdispParams { centre, ..Default::default() };
        permdisp(d, &Labels::new(groups), &params, &Monitor::silent()).unwrap()
    }

    fn line(x: &[f64]) -> Distances {
        let x = Mat::from_fn(x.len(), 1, |i, _| x[i]);
        object_distances(x.as_ref(), DistanceKind::EuclideanRaw).unwrap().distances
    }

    #[test]
    fn six_points_on_a_line_by_hand() {
        // 0, 1, 5 with centroid 2 and median 1; 10, 20, 24 with centroid 18 and median 20.
        let d = line(&[0.0, 1.0, 5.0, 10.0, 20.0, 24.0]);
        let groups = ["a", "a", "a", "b", "b", "b"];
        let near = |found: &[f64], expected: &[f64]| {
            assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-9), "{found:?}");
        };
        let found = run(&d, &groups, Centre::Centroid);
        near(&found.to_centre, &[2.0, 1.0, 3.0, 8.0, 2.0, 6.0]);
        // Means 2 and 16/3, grand 11/3: among 2·3·(5/3)² = 50/3; within 2 + 168/9 = 62/3; F = 4·50/62.
        assert!((found.f - 200.0 / 62.0).abs() < 1e-9, "{}", found.f);
        assert_eq!((found.n_positive_axes, found.n_negative_axes), (1, 0));
        let found = run(&d, &groups, Centre::SpatialMedian);
        near(&found.to_centre, &[1.0, 0.0, 4.0, 10.0, 0.0, 4.0]);
        assert!(found.converged);
    }

    #[test]
    fn the_median_of_a_square_is_its_middle_and_distances_may_fit_nowhere() {
        let corners = [[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]].map(|p| p.to_vec()).to_vec();
        let found = spatial_median(&corners);
        assert!(found.converged && squared(&found.point, &[1.0, 1.0]) < 1e-18);
        // d(0, 1) = 4 although both lie 1 away from 2: no triangle, so an axis is negative.
        let d = Mat::from_fn(4, 4, |i, j| {
            if i == j {
                0.0
            } else if i + j == 1 {
                4.0
            } else {
                1.0
            }
        });
        let found = run(&Distances::new(d).unwrap(), &["a", "a", "b", "b"], Centre::Centroid);
        assert!(found.n_negative_axes > 0 && found.negative_share > 0.0);
        // The centroid halves the distance of a pair, on whatever axes: 2, 2, 1/2, 1/2.
        assert!((found.to_centre[0] - 2.0).abs() < 1e-12 && (found.to_centre[2] - 0.5).abs() < 1e-12);
    }

    #[test]
    fn distances_to_a_centroid_follow_from_the_distances_alone() {
        // z² = |mean_j d_ij² − ½ mean_jk d_jk²| within the group, whatever the signs of the axes.
        let rows = [[0.0, 4.0, 1.0, 2.0], [4.0, 0.0, 1.5, 1.0], [1.0, 1.5, 0.0, 1.0], [2.0, 1.0, 1.0, 0.0]];
        let d = Distances::new(Mat::from_fn(4, 4, |i, j| rows[i][j])).unwrap();
        let found = run(&d, &["a", "a", "a", "b"], Centre::Centroid);
        let squares: Vec<f64> =
            (0..3).map(|i| (0..3).map(|j| rows[i][j].powi(2)).sum::<f64>() / 3.0).collect();
        for i in 0..3 {
            let expected = (squares[i] - 0.5 * mean(&squares)).abs().sqrt();
            assert!((found.to_centre[i] - expected).abs() < 1e-12, "{:?}", found.to_centre);
        }
        assert!(found.n_negative_axes > 0 && found.to_centre[3] == 0.0);
    }

    #[test]
    fn equal_spreads_are_undefined_not_zero() {
        let found = run(&line(&[0.0, 2.0, 10.0, 12.0]), &["a", "a", "b", "b"], Centre::Centroid);
        assert!(found.f.is_nan() && found.p_value.is_nan() && found.reason.is_some());
    }

    #[test]
    fn a_wider_group_is_found_and_location_is_ignored() {
        use crate::stats::rng::Stream;
        let mut stream = Stream::new(1, "permdisp tests", 0);
        let x = Mat::from_fn(40, 3, |i, _| stream.normal() * if i < 20 { 1.0 } else { 3.0 });
        let near = Mat::from_fn(40, 3, |i, _| stream.normal() + if i < 20 { 0.0 } else { 50.0 });
        let groups: Vec<&str> = (0..40).map(|i| if i < 20 { "a" } else { "b" }).collect();
        let of = |x: &Mat<f64>| {
            let d = object_distances(x.as_ref(), DistanceKind::EuclideanRaw).unwrap().distances;
            run(&d, &groups, Centre::SpatialMedian).p_value
        };
        assert!(of(&x) < 0.001, "{}", of(&x));
        assert!(of(&near) > 0.05, "{}", of(&near));
    }
}
