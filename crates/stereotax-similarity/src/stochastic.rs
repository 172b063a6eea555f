//! Shape distance between stochastic representations: a mean and a covariance of responses for each stimulus.
//!
//! ```text
//! d² = min_Q (2 − w) Σ_i ‖μ_i − ν_i Q‖² + w Σ_i B²(Σ_i, Qᵀ Ψ_i Q)
//! B²(Σ, Ψ) = tr Σ + tr Ψ − 2 ‖Σ^½ Ψ^½‖_*                         (Bures)
//! ```
//!
//! w = 1 is the 2-Wasserstein distance between Gaussians, w = 0 that of means alone, w = 2 of covariances alone. The
//! minimum is found by turns: given Q the best square roots Σ^½ U_i, given those the best Q (Procrustes); the objective
//! never rises. It is not convex: beside the rotation of the means, `n_starts` random ones are tried, and the spread of
//! what they reach is told.
//!
//! Source: Duong et al. 2023; specs: encoding-manifolds 6.5. Cost: O(n p³) a step.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::representation::centre;
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{cross, eigh, orthogonal_factor, product, singular_values, thin_qr};
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::check_finite;

/// Choices of a stochastic shape distance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StochasticParams {
    /// w in [0, 2]. Default 1.
    pub covariance_weight: f64,
    /// Random starts beside the rotation of the means. Default 10.
    pub n_starts: usize,
    /// Most steps of a start. Default 200.
    pub max_iterations: usize,
    /// A step that lowers d² by less than this share is the last. Default 1e-10.
    pub tolerance: f64,
    /// Seed of the starts.
    pub seed: u64,
}

impl Default for StochasticParams {
    fn default() -> Self {
        StochasticParams {
            covariance_weight: 1.0,
            n_starts: 10,
            max_iterations: 200,
            tolerance: 1e-10,
            seed: 0,
        }
    }
}

/// The least distance found.
#[derive(Debug, Clone)]
pub struct StochasticShape {
    /// d.
    pub distance: f64,
    /// Largest less least d over starts: 0 where all agree.
    pub spread: f64,
    /// Q, which turns the units of the second into those of the first (padded to the larger number of units).
    pub rotation: Mat<f64>,
    /// Whether the best start ended below the tolerance.
    pub converged: bool,
}

/// Means (stimuli × units, centred here) and one covariance (units × units) per stimulus.
#[derive(Debug, Clone)]
pub struct Gaussians<'a> {
    /// Mean responses.
    pub means: MatRef<'a, f64>,
    /// Covariances, in the order of the stimuli.
    pub covariances: &'a [Mat<f64>],
}

/// Compare two stochastic representations of the same stimuli.
///
/// Errors: different stimuli, covariances that do not fit, are not finite or not positive semi-definite; a weight outside
/// [0, 2].
pub fn stochastic_shape(
    x: &Gaussians<'_>,
    y: &Gaussians<'_>,
    params: &StochasticParams,
) -> Result<StochasticShape> {
    let w = params.covariance_weight;
    if !(0.0..=2.0).contains(&w) {
        return Err(Error::Invalid {
            what: "covariance_weight".into(),
            expected: "a number from 0 to 2".into(),
            found: w.to_string(),
            hint: "0 compares means alone, 2 covariances alone".into(),
        });
    }
    let n = x.means.nrows();
    if y.means.nrows() != n {
        return Err(Error::Shape {
            what: "y".into(),
            expected: format!("{n} stimuli (those of `x`)"),
            found: format!("{} stimuli", y.means.nrows()),
            hint: "rows must be the same stimuli in the same order".into(),
        });
    }
    let width = x.means.ncols().max(y.means.ncols());
    let (a, b) = (prepare("x", x, width)?, prepare("y", y, width)?);
    let problem = Problem { a, b, w };
    let starts: Vec<Mat<f64>> = std::iter::once(problem.rotation_of_means())
        .chain((0..params.n_starts).map(|start| {
            let mut stream = Stream::new(params.seed, "stochastic shape starts", start as u64);
            let noise = Mat::from_fn(width, width, |_, _| stream.normal());
            let (q, r) = thin_qr(noise.as_ref());
            // Signs of R make the draw uniform over rotations and reflections.
            Ok(Mat::from_fn(width, width, |i, j| if r[(j, j)] < 0.0 { -q[(i, j)] } else { q[(i, j)] }))
        }))
        .collect::<Result<_>>()?;
    let ends: Vec<End> =
        starts.into_par_iter().map(|start| problem.descend(start, params)).collect::<Result<_>>()?;
    let largest = ends.iter().map(|end| end.squared).fold(0.0, f64::max);
    let best = ends.into_iter().reduce(|best, end| if end.squared < best.squared { end } else { best });
    let Some(best) = best else {
        return Err(Error::NoConvergence { what: "alignment".into(), detail: "no start".into() });
    };
    Ok(StochasticShape {
        distance: best.squared.max(0.0).sqrt(),
        spread: largest.max(0.0).sqrt() - best.squared.max(0.0).sqrt(),
        rotation: best.rotation,
        converged: best.converged,
    })
}

struct Prepared {
    means: Mat<f64>,
    roots: Vec<Mat<f64>>,
}

struct Problem {
    a: Prepared,
    b: Prepared,
    w: f64,
}

struct End {
    squared: f64,
    rotation: Mat<f64>,
    converged: bool,
}

impl Problem {
    fn rotation_of_means(&self) -> Result<Mat<f64>> {
        orthogonal_factor(cross(self.b.means.as_ref(), self.a.means.as_ref()).as_ref())
    }

    fn descend(&self, mut rotation: Mat<f64>, params: &StochasticParams) -> Result<End> {
        let mut squared = f64::INFINITY;
        for _ in 0..params.max_iterations {
            let mut pull = cross(self.b.means.as_ref(), self.a.means.as_ref());
            pull *= faer::Scale(2.0 - self.w);
            if self.w > 0.0 {
                for (a, b) in self.a.roots.iter().zip(&self.b.roots) {
                    // ‖A Qᵀ B‖_* = max_U tr(U A Qᵀ B): U = R Pᵀ of the decomposition P S Rᵀ.
                    let turned = product(product(a.as_ref(), rotation.transpose()).as_ref(), b.as_ref());
                    let best = orthogonal_factor(turned.as_ref())?;
                    let inner = product(product(b.as_ref(), best.transpose()).as_ref(), a.as_ref());
                    pull += faer::Scale(self.w) * inner;
                }
            }
            rotation = orthogonal_factor(pull.as_ref())?;
            let now = self.squared(&rotation)?;
            let gain = squared - now;
            squared = now;
            if gain <= params.tolerance * now.abs() {
                return Ok(End { squared, rotation, converged: true });
            }
        }
        Ok(End { squared, rotation, converged: false })
    }

    fn squared(&self, rotation: &Mat<f64>) -> Result<f64> {
        let turned = product(self.b.means.as_ref(), rotation.as_ref());
        let mut sum = (2.0 - self.w) * (&self.a.means - &turned).norm_l2().powi(2);
        if self.w > 0.0 {
            for (a, b) in self.a.roots.iter().zip(&self.b.roots) {
                let crossed = product(product(a.as_ref(), rotation.transpose()).as_ref(), b.as_ref());
                let nuclear: f64 = singular_values(crossed.as_ref())?.iter().sum();
                sum += self.w * (a.norm_l2().powi(2) + b.norm_l2().powi(2) - 2.0 * nuclear);
            }
        }
        Ok(sum)
    }
}

fn prepare(what: &str, given: &Gaussians<'_>, width: usize) -> Result<Prepared> {
    check_finite(what, given.means)?;
    let (n, p) = (given.means.nrows(), given.means.ncols());
    if n == 0 || p == 0 || given.covariances.len() != n {
        return Err(Error::Shape {
            what: format!("covariances of {what}"),
            expected: format!("{n} matrices (one per stimulus)"),
            found: given.covariances.len().to_string(),
            hint: "give stimuli × units × units".into(),
        });
    }
    let mut centred = given.means.to_owned();
    centre(&mut centred);
    let means = Mat::from_fn(n, width, |i, j| if j < p { centred[(i, j)] } else { 0.0 });
    let roots = given
        .covariances
        .iter()
        .enumerate()
        .map(|(at, covariance)| {
            let name = format!("covariance {at} of {what}");
            if covariance.nrows() != p || covariance.ncols() != p {
                return Err(Error::Shape {
                    what: name,
                    expected: format!("{p} × {p}"),
                    found: format!("{} × {}", covariance.nrows(), covariance.ncols()),
                    hint: "give one row and column per unit".into(),
                });
            }
            check_finite(&name, covariance.as_ref())?;
            let found = eigh(covariance.as_ref())?;
            let largest = found.values.first().copied().unwrap_or(0.0).max(0.0);
            let least = found.values.last().copied().unwrap_or(0.0);
            if least < -1e-8 * largest.max(f64::MIN_POSITIVE) {
                return Err(Error::Invalid {
                    what: name,
                    expected: "a positive semi-definite matrix".into(),
                    found: format!("an eigenvalue of {least:.3e}"),
                    hint: "pass covariances over repeats, or shrink them".into(),
                });
            }
            let scaled = Mat::from_fn(p, p, |i, j| found.vectors[(i, j)] * found.values[j].max(0.0).sqrt());
            let root = product(scaled.as_ref(), found.vectors.transpose());
            Ok(Mat::from_fn(width, width, |i, j| if i < p && j < p { root[(i, j)] } else { 0.0 }))
        })
        .collect::<Result<_>>()?;
    Ok(Prepared { means, roots })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(15, "stochastic tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    fn covariances(n: usize, p: usize, index: u64) -> Vec<Mat<f64>> {
        (0..n as u64)
            .map(|i| {
                let x = noise(p + 3, p, 1000 * index + i);
                x.transpose() * &x
            })
            .collect()
    }

    fn distance(x: (&Mat<f64>, &[Mat<f64>]), y: (&Mat<f64>, &[Mat<f64>]), w: f64) -> StochasticShape {
        let of = |x: (&Mat<f64>, &[Mat<f64>])| (x.0.clone(), x.1.to_vec());
        let ((m, c), (k, d)) = (of(x), of(y));
        let params = StochasticParams { covariance_weight: w, ..StochasticParams::default() };
        let (x, y) = (
            Gaussians { means: m.as_ref(), covariances: &c },
            Gaussians { means: k.as_ref(), covariances: &d },
        );
        stochastic_shape(&x, &y, &params).unwrap()
    }

    #[test]
    fn one_unit_by_hand() {
        // Means −1, 1 and −2, 2 (a sign is free); variances 1, 4 and 9, 16.
        let (x, y) = (Mat::from_fn(2, 1, |i, _| [-1.0, 1.0][i]), Mat::from_fn(2, 1, |i, _| [2.0, -2.0][i]));
        let (a, b) =
            ([Mat::full(1, 1, 1.0), Mat::full(1, 1, 4.0)], [Mat::full(1, 1, 9.0), Mat::full(1, 1, 16.0)]);
        // Means: 1 + 1. Bures: (1 − 3)² + (2 − 4)².
        let found = |w| distance((&x, &a), (&y, &b), w).distance;
        assert!((found(1.0) - 10f64.sqrt()).abs() < 1e-12);
        assert!((found(0.0) - 2.0).abs() < 1e-12 && (found(2.0) - 4.0).abs() < 1e-12);
    }

    #[test]
    fn rotations_are_undone_and_means_alone_are_procrustes() {
        let (x, c) = (noise(8, 4, 0), covariances(8, 4, 1));
        let (q, _) = thin_qr(noise(4, 4, 2).as_ref());
        let turned: Vec<Mat<f64>> = c.iter().map(|c| q.transpose() * c * &q).collect();
        let y = &x * &q;
        let found = distance((&x, &c), (&y, &turned), 1.0);
        assert!(found.distance < 1e-5 * x.norm_l2() && found.converged, "{}", found.distance);
        let (y, d) = (noise(8, 6, 3), covariances(8, 6, 4));
        use super::super::{FactorPair, Representation, procrustes_euclidean};
        let [a, b] = [&x, &y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        let expected =
            procrustes_euclidean(&FactorPair::new(a.factors().unwrap(), b.factors().unwrap())).unwrap();
        // √(2 − w) at w = 0.
        let found = distance((&x, &c), (&y, &d), 0.0).distance;
        assert!((found - 2f64.sqrt() * expected).abs() < 1e-9);
        let (there, back) = (distance((&x, &c), (&y, &d), 1.0), distance((&y, &d), (&x, &c), 1.0));
        assert!((there.distance - back.distance).abs() < 1e-3 * there.distance);
        assert!(there.spread >= 0.0);
    }

    #[test]
    fn the_triangle_inequality_holds() {
        let points: Vec<(Mat<f64>, Vec<Mat<f64>>)> =
            (0..4).map(|i| (noise(6, 3, 20 + i), covariances(6, 3, 30 + i))).collect();
        let d = Mat::from_fn(4, 4, |i, j| {
            let apart = |i: usize, j: usize| {
                distance((&points[i].0, &points[i].1), (&points[j].0, &points[j].1), 1.0).distance
            };
            if i < j { apart(i, j) } else { 0.0 }
        });
        let d = |i: usize, j: usize| d[(i.min(j), i.max(j))];
        for i in 0..4 {
            for j in 0..4 {
                for k in 0..4 {
                    assert!(d(i, k) <= d(i, j) + d(j, k) + 1e-6);
                }
            }
        }
    }

    #[test]
    fn what_is_no_covariance_is_refused() {
        let (x, c) = (noise(3, 2, 40), covariances(3, 2, 41));
        let bad: Vec<Mat<f64>> =
            (0..3).map(|_| Mat::from_fn(2, 2, |i, j| if i == j { 1.0 } else { 3.0 })).collect();
        let of = |covariances: &[Mat<f64>]| {
            let g = Gaussians { means: x.as_ref(), covariances: &c };
            let h = Gaussians { means: x.as_ref(), covariances };
            stochastic_shape(&g, &h, &StochasticParams::default()).map(|_| ()).map_err(|e| e.to_string())
        };
        assert!(of(&bad).unwrap_err().contains("positive semi-definite"));
        assert!(of(&c[..2]).unwrap_err().contains("one per stimulus"));
        assert!(of(&c).is_ok());
    }
}
