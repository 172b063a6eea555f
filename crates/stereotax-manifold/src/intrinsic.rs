//! Estimate how many dimensions points have near one another, whatever the space they are in.
//!
//! With r_1 < r_2 < … the distances of a point to its nearest neighbours,
//!
//! ```text
//! TwoNN           μ = r₂/r₁, sorted; F_i = i/n; d = slope of −ln(1 − F) on ln μ through 0, without the largest μ
//!                 maximum likelihood: d = (n − 1) / Σ ln μ
//! Levina–Bickel   d_i = (k − 1) / Σ_{j<k} ln(r_k/r_j);  over points: harmonic mean (or mean, median)
//! local PCA       of each point and its k neighbours: (Σλ)²/Σλ², and #{λ ≥ share · λ₁}
//! ```
//!
//! All are blind to rotation, shift and scale. They fall short of the truth above about ten dimensions, the more so
//! the fewer points there are: [`calibrate_dimension`] says what as many points in balls of known dimension give.
//! They depend on the scale at which points are looked at: `scales` says how, by parts of the points.
//!
//! Points that are equal to an earlier one are left out and counted (they would have the distance 0).
//!
//! Source: Facco et al. 2017; Levina & Bickel 2004; MacKay & Ghahramani 2005 (harmonic mean); specs:
//! alignment-methods B5.3. Differs from scikit-dimension 0.5: its `MLE(K=…)` is without effect. Cost: that of the
//! nearest neighbours, n² p products, once for both estimates.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::graph::{Nearest, distinct_rows, nearest};
use stereotax_base::linalg::{centre_columns, column_means, cross, eigh, product, select_rows};
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::{mean, median, sd};

/// Choices of the estimates by distances.
#[derive(Debug, Clone, PartialEq)]
pub struct IntrinsicParams {
    /// Neighbours of Levina and Bickel's estimate, 3 or more. Default 20.
    pub k: usize,
    /// Share of the largest μ that TwoNN's line leaves out. Default 0.1.
    pub discard: f64,
    /// How often points are halved for `scales`. Default 4 (down to a sixteenth, and at least 50 points).
    pub n_halvings: usize,
    /// Seed of the parts. Default 0.
    pub seed: u64,
}

impl Default for IntrinsicParams {
    fn default() -> Self {
        IntrinsicParams { k: 20, discard: 0.1, n_halvings: 4, seed: 0 }
    }
}

/// TwoNN's estimates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TwoNn {
    /// The slope.
    pub dimension: f64,
    /// (n − 1)/Σ ln μ.
    pub maximum_likelihood: f64,
}

/// Levina and Bickel's estimates.
#[derive(Debug, Clone, PartialEq)]
pub struct LevinaBickel {
    /// 1 / mean(1/d_i), as MacKay and Ghahramani have it.
    pub dimension: f64,
    /// Mean of d_i, as in the paper.
    pub mean: f64,
    /// Median of d_i.
    pub median: f64,
    /// d_i of each point of the input; NaN of one left out, or whose k neighbours are equally far.
    pub pointwise: Vec<f64>,
}

/// Estimates on parts of the points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Points in a part.
    pub n_points: usize,
    /// Parts, which share no point.
    pub n_parts: usize,
    /// Mean TwoNN slope over parts.
    pub two_nn: f64,
    /// Mean harmonic estimate of Levina and Bickel.
    pub levina_bickel: f64,
}

/// What distances say about the dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct IntrinsicDimension {
    /// By two neighbours.
    pub two_nn: TwoNn,
    /// By k neighbours.
    pub levina_bickel: LevinaBickel,
    /// All points first, then halves, quarters, …
    pub scales: Vec<Scale>,
    /// Points that equal an earlier one.
    pub n_duplicates: usize,
    /// Whether there are at least 5 · 2^d points for TwoNN's d, rounded up.
    pub reliable: bool,
}

/// Estimate the dimension of the rows of `points` (n_points × n_coordinates) from their nearest neighbours.
///
/// Errors: k below 3, fewer than k + 1 different points, values that are not finite, a share outside [0, 1).
pub fn intrinsic_dimension(
    points: MatRef<f64>,
    params: &IntrinsicParams,
    monitor: &Monitor<'_>,
) -> Result<IntrinsicDimension> {
    check(params)?;
    stereotax_base::stats::summary::check_finite("points", points)?;
    let kept = distinct_rows(points);
    if kept.len() < params.k + 1 {
        return Err(Error::TooFew {
            what: "points".into(),
            needed: format!("{} different ones (k + 1)", params.k + 1),
            found: format!("{} different ones among {}", kept.len(), points.nrows()),
            hint: "ask for fewer neighbours, or look for rows that repeat (dead units, padding)".into(),
        });
    }
    let n = points.nrows();
    let distinct = if kept.len() == n { points.to_owned() } else { select_rows(points, &kept) };
    let near = nearest(distinct.as_ref(), params.k, monitor)?;
    let two_nn = two_nn(&near, params.discard);
    let d = pointwise(&near);
    let mut all = vec![f64::NAN; n];
    kept.iter().zip(&d).for_each(|(&at, &d)| all[at] = d);
    let levina_bickel = combined(&d, all);
    let mut scales = vec![Scale {
        n_points: kept.len(),
        n_parts: 1,
        two_nn: two_nn.dimension,
        levina_bickel: levina_bickel.dimension,
    }];
    for halving in 1..=params.n_halvings {
        let (n_parts, size) = (1 << halving, kept.len() >> halving);
        if size < 50.max(params.k + 1) {
            break;
        }
        let order = Stream::new(params.seed, "parts of points", halving as u64).permutation(kept.len());
        let mut found = [0.0, 0.0];
        for part in order.chunks_exact(size).take(n_parts) {
            let near = nearest(select_rows(distinct.as_ref(), part).as_ref(), params.k, monitor)?;
            found[0] += self::two_nn(&near, params.discard).dimension / n_parts as f64;
            found[1] += combined(&pointwise(&near), vec![]).dimension / n_parts as f64;
        }
        scales.push(Scale { n_points: size, n_parts, two_nn: found[0], levina_bickel: found[1] });
    }
    let reliable = kept.len() as f64 >= 5.0 * 2f64.powf(two_nn.dimension.ceil());
    Ok(IntrinsicDimension { two_nn, levina_bickel, scales, n_duplicates: n - kept.len(), reliable })
}

fn check(params: &IntrinsicParams) -> Result<()> {
    if params.k < 3 || !(0.0..1.0).contains(&params.discard) {
        return Err(Error::Invalid {
            what: "k and discard".into(),
            expected: "3 neighbours or more, and a share from 0 to below 1".into(),
            found: format!("{} and {}", params.k, params.discard),
            hint: "10 to 30 neighbours, and 0.1, are customary".into(),
        });
    }
    Ok(())
}

fn two_nn(near: &Nearest, discard: f64) -> TwoNn {
    let n = near.indices.len() / near.k;
    let mut logs: Vec<f64> = (0..n)
        .map(|i| {
            let d = near.squared_of(i);
            0.5 * (d[1] / d[0]).ln()
        })
        .collect();
    logs.sort_by(f64::total_cmp);
    // The largest has F = 1, which has no logarithm of 1 − F.
    let kept = ((n as f64 * (1.0 - discard)) as usize).min(n - 1);
    let (mut xy, mut xx) = (0.0, 0.0);
    for (i, x) in logs[..kept].iter().enumerate() {
        xy += x * -(1.0 - (i + 1) as f64 / n as f64).ln();
        xx += x * x;
    }
    let sum: f64 = logs.iter().sum();
    let or_nan = |value: f64| if value.is_finite() { value } else { f64::NAN };
    TwoNn { dimension: or_nan(xy / xx), maximum_likelihood: or_nan((n as f64 - 1.0) / sum) }
}

fn pointwise(near: &Nearest) -> Vec<f64> {
    let one = |i: usize| {
        let d = near.squared_of(i);
        let (last, rest) = (d[near.k - 1], &d[..near.k - 1]);
        let sum: f64 = rest.iter().map(|d| 0.5 * (last / d).ln()).sum();
        if sum > 0.0 { rest.len() as f64 / sum } else { f64::NAN }
    };
    (0..near.indices.len() / near.k).map(one).collect()
}

fn combined(d: &[f64], pointwise: Vec<f64>) -> LevinaBickel {
    let defined: Vec<f64> = d.iter().copied().filter(|d| !d.is_nan()).collect();
    let inverse: Vec<f64> = defined.iter().map(|d| 1.0 / d).collect();
    LevinaBickel {
        dimension: 1.0 / mean(&inverse),
        mean: mean(&defined),
        median: median(&defined),
        pointwise,
    }
}

/// What as many points in balls give, and what that makes of an estimate.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Dimensions of the balls.
    pub dimensions: Vec<usize>,
    /// Mean TwoNN slope of each.
    pub two_nn: Vec<f64>,
    /// Its standard deviation over balls.
    pub two_nn_sd: Vec<f64>,
    /// Mean harmonic estimate of Levina and Bickel.
    pub levina_bickel: Vec<f64>,
    /// Its standard deviation.
    pub levina_bickel_sd: Vec<f64>,
}

/// Estimate the dimension of uniform balls of known dimension with `n_points` each, `n_draws` times.
///
/// Errors: as [`intrinsic_dimension`]; a dimension of 0.
pub fn calibrate_dimension(
    n_points: usize,
    dimensions: &[usize],
    n_draws: usize,
    params: &IntrinsicParams,
    monitor: &Monitor<'_>,
) -> Result<Calibration> {
    check(params)?;
    if dimensions.contains(&0) || n_draws == 0 {
        return Err(Error::Invalid {
            what: "dimensions and n_draws".into(),
            expected: "1 or more".into(),
            found: format!("{dimensions:?} and {n_draws}"),
            hint: "a ball has a dimension of 1 at least".into(),
        });
    }
    let mut found = Calibration {
        dimensions: dimensions.to_vec(),
        two_nn: vec![],
        two_nn_sd: vec![],
        levina_bickel: vec![],
        levina_bickel_sd: vec![],
    };
    for &dimension in dimensions {
        let (mut a, mut b) = (vec![], vec![]);
        for draw in 0..n_draws {
            let index = (dimension as u64) << 32 | draw as u64;
            let near = nearest(ball(n_points, dimension, params.seed, index).as_ref(), params.k, monitor)?;
            a.push(two_nn(&near, params.discard).dimension);
            b.push(combined(&pointwise(&near), vec![]).dimension);
        }
        found.two_nn.push(mean(&a));
        found.two_nn_sd.push(if n_draws > 1 { sd(&a) } else { f64::NAN });
        found.levina_bickel.push(mean(&b));
        found.levina_bickel_sd.push(if n_draws > 1 { sd(&b) } else { f64::NAN });
    }
    Ok(found)
}

impl Calibration {
    /// The dimension of the ball that would give this TwoNN slope, between those that were tried; NaN outside.
    pub fn corrected_two_nn(&self, estimate: f64) -> f64 {
        corrected(&self.dimensions, &self.two_nn, estimate)
    }

    /// The same for Levina and Bickel's estimate.
    pub fn corrected_levina_bickel(&self, estimate: f64) -> f64 {
        corrected(&self.dimensions, &self.levina_bickel, estimate)
    }
}

fn corrected(dimensions: &[usize], estimates: &[f64], estimate: f64) -> f64 {
    for at in 1..dimensions.len() {
        let (low, high) = (estimates[at - 1], estimates[at]);
        if (low..=high).contains(&estimate) && high > low {
            let share = (estimate - low) / (high - low);
            let (a, b) = (dimensions[at - 1] as f64, dimensions[at] as f64);
            return a + share * (b - a);
        }
    }
    f64::NAN
}

/// Points uniform in the ball of radius 1: normal directions, at radius U^(1/d).
fn ball(n_points: usize, dimension: usize, seed: u64, index: u64) -> Mat<f64> {
    let mut stream = Stream::new(seed, "ball", index);
    let mut points = Mat::zeros(n_points, dimension);
    for i in 0..n_points {
        let x: Vec<f64> = (0..dimension).map(|_| stream.normal()).collect();
        let radius = stream.uniform().powf(1.0 / dimension as f64);
        let scale = radius / x.iter().map(|x| x * x).sum::<f64>().sqrt();
        x.iter().enumerate().for_each(|(j, x)| points[(i, j)] = x * scale);
    }
    points
}

/// Dimension by the covariance of each point and its k nearest neighbours.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalPca {
    /// Mean of `participation`.
    pub participation_ratio: f64,
    /// Mean of `above`.
    pub above_share: f64,
    /// (Σλ)²/Σλ² of each point; NaN of a duplicate.
    pub participation: Vec<f64>,
    /// #{λ ≥ share · λ₁} of each point; NaN of a duplicate.
    pub above: Vec<f64>,
}

/// Local PCA with k neighbours; eigenvalues of at least `share` of the largest count. Directions of curvature and noise
/// count too: it is a baseline. Errors: as [`intrinsic_dimension`], and a share outside (0, 1].
///
/// Cost: that of the neighbours, and O(n k p min(k, p)).
pub fn local_pca(points: MatRef<f64>, k: usize, share: f64, monitor: &Monitor<'_>) -> Result<LocalPca> {
    if k < 2 || !(share > 0.0 && share <= 1.0) {
        return Err(Error::Invalid {
            what: "k and share".into(),
            expected: "2 neighbours or more, and a share above 0 up to 1".into(),
            found: format!("{k} and {share}"),
            hint: "some times more neighbours than dimensions are expected, and 0.05, are customary".into(),
        });
    }
    stereotax_base::stats::summary::check_finite("points", points)?;
    let kept = distinct_rows(points);
    let distinct = select_rows(points, &kept);
    let near = nearest(distinct.as_ref(), k, monitor)?;
    let of_point = |i: usize| -> Result<(f64, f64)> {
        monitor.check()?;
        let rows: Vec<usize> = std::iter::once(i).chain(near.of(i).iter().copied()).collect();
        let mut x = select_rows(distinct.as_ref(), &rows);
        let means = column_means(x.as_ref());
        centre_columns(x.as_mut(), &means);
        let c = if x.ncols() < x.nrows() {
            cross(x.as_ref(), x.as_ref())
        } else {
            product(x.as_ref(), x.transpose())
        };
        let (trace, squares) = ((0..c.nrows()).map(|i| c[(i, i)]).sum::<f64>(), c.squared_norm_l2());
        let values = eigh(c.as_ref())?.values;
        let above = values.iter().filter(|l| **l >= share * values[0]).count();
        Ok((trace * trace / squares, above as f64))
    };
    let found: Vec<(f64, f64)> = (0..kept.len()).into_par_iter().map(of_point).collect::<Result<_>>()?;
    let (mut participation, mut above) = (vec![f64::NAN; points.nrows()], vec![f64::NAN; points.nrows()]);
    for (&at, &(ratio, count)) in kept.iter().zip(&found) {
        participation[at] = ratio;
        above[at] = count;
    }
    Ok(LocalPca {
        participation_ratio: mean(&found.iter().map(|f| f.0).collect::<Vec<_>>()),
        above_share: mean(&found.iter().map(|f| f.1).collect::<Vec<_>>()),
        participation,
        above,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent() -> Monitor<'static> {
        Monitor::silent()
    }

    #[test]
    fn six_points_on_a_line_by_hand() {
        let x = Mat::from_fn(6, 1, |i, _| [0.0, 1.0, 3.0, 7.0, 12.0, 20.0][i]);
        let params = IntrinsicParams { k: 3, ..IntrinsicParams::default() };
        let found = intrinsic_dimension(x.as_ref(), &params, &silent()).unwrap();
        assert!((found.two_nn.dimension - 2.0031851).abs() < 1e-6, "{:?}", found.two_nn);
        assert!((found.two_nn.maximum_likelihood - 1.4810955).abs() < 1e-6);
        let expected = [0.716023, 0.691953, 2.039091, 3.402595, 2.834589, 1.956879];
        for (found, expected) in found.levina_bickel.pointwise.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        let l = &found.levina_bickel;
        assert!((l.dimension - 1.3363325).abs() < 1e-6, "{}", l.dimension);
        assert!((l.mean - 1.9401881).abs() < 1e-6 && (l.median - 1.9979848).abs() < 1e-6);
    }

    #[test]
    fn balls_give_what_is_published_and_calibration_gives_their_dimension_back() {
        let params = IntrinsicParams { n_halvings: 0, ..IntrinsicParams::default() };
        let dimensions = [2, 5, 10, 20];
        let found = calibrate_dimension(2000, &dimensions, 3, &params, &silent()).unwrap();
        for (at, (two, mle)) in [(1.94, 1.96), (4.62, 4.57), (9.28, 8.35), (15.95, 15.01)].iter().enumerate()
        {
            assert!((found.two_nn[at] / two - 1.0).abs() < 0.08, "{:?}", found.two_nn);
            assert!((found.levina_bickel[at] / mle - 1.0).abs() < 0.05, "{:?}", found.levina_bickel);
        }
        let other = intrinsic_dimension(ball(2000, 10, 9, 9).as_ref(), &params, &silent()).unwrap();
        let back = found.corrected_levina_bickel(other.levina_bickel.dimension);
        assert!((back - 10.0).abs() < 0.6, "{back}");
        assert!((found.corrected_two_nn(other.two_nn.dimension) - 10.0).abs() < 1.6);
        assert!(found.corrected_two_nn(99.0).is_nan());
    }

    #[test]
    fn a_rolled_sheet_has_two_dimensions_and_duplicates_change_nothing() {
        let mut stream = Stream::new(1, "roll", 0);
        let mut x = Mat::zeros(1200, 3);
        for i in 0..1000 {
            let t = 1.5 * std::f64::consts::PI * (1.0 + 2.0 * stream.uniform());
            let row = [t * t.cos(), 21.0 * stream.uniform(), t * t.sin()];
            (0..3).for_each(|j| x[(i, j)] = row[j]);
        }
        (1000..1200).for_each(|i| (0..3).for_each(|j| x[(i, j)] = x[(i - 1000, j)]));
        let params = IntrinsicParams::default();
        let with = intrinsic_dimension(x.as_ref(), &params, &silent()).unwrap();
        let without = intrinsic_dimension(x.get(..1000, ..), &params, &silent()).unwrap();
        assert_eq!(with.n_duplicates, 200);
        assert_eq!(with.two_nn, without.two_nn);
        assert!(with.levina_bickel.pointwise[1000].is_nan());
        assert!((without.two_nn.dimension - 2.0).abs() < 0.2, "{:?}", without.two_nn);
        assert_eq!(without.scales.iter().map(|s| s.n_points).collect::<Vec<_>>(), [1000, 500, 250, 125, 62]);
        let local = local_pca(x.get(..1000, ..), 12, 0.05, &silent()).unwrap();
        assert!((local.above_share - 2.0).abs() < 0.25, "{}", local.above_share);
        assert!(without.reliable);
    }

    #[test]
    fn rotation_shift_and_scale_change_nothing_and_too_few_points_are_refused() {
        let x = ball(300, 4, 0, 0);
        let mut stream = Stream::new(2, "turn", 0);
        let turn = stereotax_base::linalg::thin_qr(Mat::from_fn(4, 4, |_, _| stream.normal()).as_ref()).0;
        let moved = product(x.as_ref(), turn.as_ref());
        let moved = Mat::from_fn(300, 4, |i, j| 7.0 * moved[(i, j)] + 100.0);
        let params = IntrinsicParams::default();
        let (a, b) = (
            intrinsic_dimension(x.as_ref(), &params, &silent()).unwrap(),
            intrinsic_dimension(moved.as_ref(), &params, &silent()).unwrap(),
        );
        assert!((a.two_nn.dimension - b.two_nn.dimension).abs() < 1e-8);
        assert!((a.levina_bickel.mean - b.levina_bickel.mean).abs() < 1e-8);
        let same = Mat::full(30, 2, 1.0);
        let refused = intrinsic_dimension(same.as_ref(), &params, &silent()).unwrap_err().to_string();
        assert!(refused.contains("1 different ones among 30"), "{refused}");
    }
}
