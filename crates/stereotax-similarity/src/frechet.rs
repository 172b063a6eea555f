//! The mean shape of several representations, and their coordinates around it.
//!
//! With F_i = U_i S_i (n × r_i) padded with zeros to a common width, and rotations Q_i,
//!
//! ```text
//! M = argmin Σ_i min_Q ‖F_i Q − M‖²          generalised Procrustes: rotate all to M, average, repeat
//! T_i = F_i Q_i − M                          tangent vectors at M; coordinates are their principal components
//! ```
//!
//! Distances between tangent coordinates are those between shapes to first order, so that means, tests and regressions
//! of shapes become ordinary ones. The sum of squares never rises; the solution may be a local one. It begins at the
//! representation with the least summed squared distance to the others, so that their order does not matter.
//!
//! Source: Williams et al. 2021; specs: encoding-manifolds 6.5. Cost: O(m² r³) for the start, O(m (n r² + r³)) a step.

use faer::Mat;

use super::factor_pair::FactorPair;
use super::representation::Factors;
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{cross, orthogonal_factor, product, svd};

/// Choices of a mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrechetParams {
    /// Whether representations are scaled to length 1 first, so that none counts more. Default yes.
    pub normalise: bool,
    /// Most steps. Default 200.
    pub max_iterations: usize,
    /// A step that lowers the sum of squares by less than this share of it is the last. Default 1e-10.
    pub tolerance: f64,
}

impl Default for FrechetParams {
    fn default() -> Self {
        FrechetParams { normalise: true, max_iterations: 200, tolerance: 1e-10 }
    }
}

/// A mean shape.
#[derive(Debug, Clone)]
pub struct FrechetMean {
    /// M (n × width), up to a rotation of its columns.
    pub mean: Mat<f64>,
    /// Euclidean distance of each shape to the mean.
    pub distances: Vec<f64>,
    /// Principal components of the tangent vectors (shapes × up to shapes − 1), largest first.
    pub coordinates: Mat<f64>,
    /// Steps taken.
    pub n_iterations: usize,
    /// Whether the last step was below the tolerance.
    pub converged: bool,
}

/// Average shapes of the same stimuli.
///
/// Errors: no representation, different rows, one that is constant.
pub fn frechet_mean(shapes: &[&Factors], params: &FrechetParams) -> Result<FrechetMean> {
    check(shapes)?;
    let (n, width) = (shapes[0].left.nrows(), shapes.iter().map(|f| f.rank()).max().unwrap_or(0));
    let padded: Vec<Mat<f64>> = shapes
        .iter()
        .map(|f| {
            let scale = if params.normalise { 1.0 / f.energy().sqrt() } else { 1.0 };
            let scaled = f.scaled();
            Mat::from_fn(n, width, |i, j| if j < f.rank() { scale * scaled[(i, j)] } else { 0.0 })
        })
        .collect();
    let mut mean = padded[medoid(shapes, params.normalise)?].clone();
    let mut turned = turn_all(&padded, &mean)?;
    let mut squares = f64::INFINITY;
    let (mut n_iterations, mut converged) = (0, false);
    while n_iterations < params.max_iterations && !converged {
        n_iterations += 1;
        mean = average(&turned);
        turned = turn_all(&padded, &mean)?;
        let now: f64 = turned.iter().map(|t| (t - &mean).norm_l2().powi(2)).sum();
        let size: f64 = turned.iter().map(|t| t.norm_l2().powi(2)).sum();
        converged = squares - now <= params.tolerance * now + 1e-28 * size;
        squares = now;
    }
    let tangent: Vec<Mat<f64>> = turned.iter().map(|t| t - &mean).collect();
    let distances = tangent.iter().map(|t| t.norm_l2()).collect();
    Ok(FrechetMean { mean, distances, coordinates: principal(&tangent)?, n_iterations, converged })
}

fn average(turned: &[Mat<f64>]) -> Mat<f64> {
    let mut mean = turned[0].clone();
    turned[1..].iter().for_each(|t| mean += t);
    let share = 1.0 / turned.len() as f64;
    Mat::from_fn(mean.nrows(), mean.ncols(), |i, j| share * mean[(i, j)])
}

fn turn_all(shapes: &[Mat<f64>], mean: &Mat<f64>) -> Result<Vec<Mat<f64>>> {
    use rayon::prelude::*;
    shapes
        .par_iter()
        .map(|f| {
            let rotation = orthogonal_factor(cross(f.as_ref(), mean.as_ref()).as_ref())?;
            Ok(product(f.as_ref(), rotation.as_ref()))
        })
        .collect()
}

/// The shape with the least summed squared distance to all; the first among equals.
fn medoid(shapes: &[&Factors], normalise: bool) -> Result<usize> {
    let m = shapes.len();
    let mut sums = vec![0.0; m];
    for i in 0..m {
        for j in i + 1..m {
            let nuclear = FactorPair::new(shapes[i], shapes[j]).nuclear_norm()?;
            let (a, b) = (shapes[i].energy(), shapes[j].energy());
            let squared =
                if normalise { 2.0 - 2.0 * nuclear / (a * b).sqrt() } else { a + b - 2.0 * nuclear };
            sums[i] += squared;
            sums[j] += squared;
        }
    }
    // Rounding must not choose between equals.
    let least = sums.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(sums.iter().position(|&sum| sum <= least * (1.0 + 1e-12)).unwrap_or(0))
}

/// Scores of principal components of matrices, seen as vectors.
fn principal(tangent: &[Mat<f64>]) -> Result<Mat<f64>> {
    let m = tangent.len();
    let inner = |a: &Mat<f64>, b: &Mat<f64>| -> f64 {
        (0..a.ncols()).map(|j| stereotax_base::linalg::dot(a.col_as_slice(j), b.col_as_slice(j))).sum()
    };
    let gram = Mat::from_fn(m, m, |i, j| inner(&tangent[i.min(j)], &tangent[i.max(j)]));
    let found = svd(gram.as_ref())?;
    let largest = found.s.first().copied().unwrap_or(0.0);
    let kept = found.s.iter().take_while(|&&s| s > 1e-12 * largest && s > 0.0).count();
    Ok(Mat::from_fn(m, kept, |i, j| found.u[(i, j)] * found.s[j].sqrt()))
}

fn check(shapes: &[&Factors]) -> Result<()> {
    let Some(first) = shapes.first() else {
        return Err(Error::TooFew {
            what: "representations".into(),
            needed: "1".into(),
            found: "0".into(),
            hint: "pass a list of arrays, stimuli × units".into(),
        });
    };
    for (at, factors) in shapes.iter().enumerate() {
        if factors.left.nrows() != first.left.nrows() {
            return Err(Error::Shape {
                what: format!("representation {at}"),
                expected: format!("{} rows (those of the first)", first.left.nrows()),
                found: format!("{} rows", factors.left.nrows()),
                hint: "rows must be the same stimuli in the same order".into(),
            });
        }
        if factors.rank() == 0 {
            return Err(Error::ZeroVariance {
                what: format!("representation {at}"),
                detail: "it has no shape".into(),
                hint: "leave it out".into(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::representation::Representation;
    use super::*;
    use stereotax_base::linalg::thin_qr;
    use stereotax_base::stats::rng::Stream;

    fn noise(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(14, "frechet tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    fn factors(x: &Mat<f64>) -> Factors {
        Representation::new("x", x.as_ref()).unwrap().factors().unwrap().clone()
    }

    fn turned(x: &Mat<f64>, index: u64) -> Mat<f64> {
        x * thin_qr(noise(x.ncols(), x.ncols(), index).as_ref()).0
    }

    #[test]
    fn the_mean_of_two_lies_in_the_middle() {
        let (x, y) = (noise(15, 4, 0), noise(15, 6, 1));
        let (a, b) = (factors(&x), factors(&y));
        let params = FrechetParams { normalise: false, ..FrechetParams::default() };
        let found = frechet_mean(&[&a, &b], &params).unwrap();
        let apart = super::super::procrustes::procrustes_euclidean(&FactorPair::new(&a, &b)).unwrap();
        assert!(found.converged);
        assert!((found.distances[0] - apart / 2.0).abs() < 1e-6 * apart, "{} {apart}", found.distances[0]);
        assert!((found.distances[1] - apart / 2.0).abs() < 1e-6 * apart);
        assert_eq!(found.coordinates.ncols(), 1);
    }

    #[test]
    fn rotated_copies_have_themselves_as_mean() {
        let x = noise(20, 5, 2);
        let shapes: Vec<Factors> = (0..4).map(|i| factors(&turned(&x, 10 + i))).collect();
        let shapes: Vec<&Factors> = shapes.iter().collect();
        let found = frechet_mean(&shapes, &FrechetParams::default()).unwrap();
        assert!(found.distances.iter().all(|d| *d < 1e-10), "{:?}", found.distances);
    }

    #[test]
    fn order_does_not_matter_and_tangent_distances_are_those_of_near_shapes() {
        let x = noise(30, 4, 3);
        let shapes: Vec<Factors> = (0..5)
            .map(|i| {
                let off = noise(30, 4, 20 + i);
                factors(&turned(&(&x + 0.02 * &off), 30 + i))
            })
            .collect();
        let forward: Vec<&Factors> = shapes.iter().collect();
        let backward: Vec<&Factors> = shapes.iter().rev().collect();
        let params = FrechetParams { normalise: false, ..FrechetParams::default() };
        let (a, b) = (frechet_mean(&forward, &params).unwrap(), frechet_mean(&backward, &params).unwrap());
        for i in 0..5 {
            assert!((a.distances[i] - b.distances[4 - i]).abs() < 1e-8);
            for j in 0..i {
                let apart: f64 = (0..a.coordinates.ncols())
                    .map(|k| (a.coordinates[(i, k)] - a.coordinates[(j, k)]).powi(2))
                    .sum::<f64>()
                    .sqrt();
                let pair = FactorPair::new(forward[i], forward[j]);
                let exact = super::super::procrustes::procrustes_euclidean(&pair).unwrap();
                assert!((apart / exact - 1.0).abs() < 0.01, "{apart} {exact}");
            }
        }
    }

    #[test]
    fn what_has_no_mean_is_refused() {
        let (x, y) = (factors(&noise(10, 3, 4)), factors(&noise(11, 3, 5)));
        let constant = factors(&Mat::full(10, 2, 1.0));
        let params = FrechetParams::default();
        assert!(frechet_mean(&[], &params).is_err() && frechet_mean(&[&x, &y], &params).is_err());
        assert!(frechet_mean(&[&x, &constant], &params).unwrap_err().to_string().contains("no shape"));
        assert_eq!(frechet_mean(&[&x], &params).unwrap().distances.len(), 1);
    }
}
