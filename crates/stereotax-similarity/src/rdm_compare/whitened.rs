//! Compare dissimilarities under their own covariance, without ever forming it.
//!
//! Estimated from patterns with noise covariance Σ between n conditions, squared distances d_ij and d_kl covary as
//! V = Ξ∘Ξ with Ξ = C Σ Cᵀ (C: contrasts of pairs; Diedrichsen et al. 2021, without signal). The whitened cosine is
//!
//! ```text
//! xᵀV⁻¹y / √(xᵀV⁻¹x · yᵀV⁻¹y)
//! ```
//!
//! With all pairs, V⁻¹ is the least-norm inverse of d = L(G), so that xᵀV⁻¹y = ¼ tr(Q X Q Y) for square RDMs X, Y and
//! Q = Σ⁻¹ − Σ⁻¹11ᵀΣ⁻¹/(1ᵀΣ⁻¹1). For white noise Q centres, and the cosine is linear CKA. With pairs missing and a
//! diagonal Σ = diag(v), V = diag(2v_iv_j) + A diag(v²) Aᵀ with the n columns of incidences A: an n × n system
//! (Woodbury). With pairs missing and a full Σ, V is applied through n × n products and inverted by conjugate
//! gradients.
//!
//! Source: Diedrichsen et al. 2021; Schütt et al. 2023; specs: encoding-manifolds 6.2, peers 7. Differs from rsatoolbox
//! 0.3.2, whose whitened comparison fails for 100 conditions or more where pairs are missing. Cost: O(n³) per RDM.

use faer::{Mat, MatRef};

use super::Undefined;
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{cholesky_solve, dot, product};
use stereotax_base::stats::summary::{is_constant, mean};

/// Covariance of the noise of the patterns between conditions (σ_k in rsatoolbox); a scale changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum NoiseCovariance {
    /// A variance per condition.
    Diagonal(Vec<f64>),
    /// Conditions × conditions, symmetric positive definite.
    Full(Mat<f64>),
}

impl NoiseCovariance {
    /// Refuse what is no covariance of `n` conditions.
    pub fn check(&self, n: usize) -> Result<()> {
        let (rows, columns, good) = match self {
            NoiseCovariance::Diagonal(v) => (v.len(), n, v.iter().all(|v| *v > 0.0 && v.is_finite())),
            NoiseCovariance::Full(m) => (m.nrows(), m.ncols(), m.nrows() != n || is_covariance(m.as_ref())),
        };
        if rows != n || columns != n {
            return Err(Error::Shape {
                what: "noise_covariance".into(),
                expected: format!("{n} conditions"),
                found: format!("{rows} × {columns}"),
                hint: "give one variance per condition, or conditions × conditions".into(),
            });
        }
        if !good {
            return Err(Error::Invalid {
                what: "noise_covariance".into(),
                expected: "positive variances, or a symmetric positive definite matrix".into(),
                found: "another".into(),
                hint: "shrink the estimate towards its diagonal".into(),
            });
        }
        Ok(())
    }
}

fn is_covariance(m: MatRef<f64>) -> bool {
    let n = m.nrows();
    let mut largest = 0.0f64;
    for j in 0..n {
        for i in 0..n {
            if !m[(i, j)].is_finite() {
                return false;
            }
            largest = largest.max(m[(i, j)].abs());
        }
    }
    let symmetric = (0..n).all(|j| (0..j).all(|i| (m[(i, j)] - m[(j, i)]).abs() <= 1e-9 * largest));
    symmetric && cholesky_solve(m, Mat::<f64>::zeros(n, 1).as_ref()).is_some()
}

/// V⁻¹ for all pairs of n conditions.
#[derive(Debug, Clone)]
pub struct Whitener {
    n: usize,
    /// Q, or `None` for centring.
    q: Option<Mat<f64>>,
}

impl Whitener {
    /// For white noise (`None`) or a given covariance.
    pub fn new(n: usize, noise: Option<&NoiseCovariance>) -> Result<Self> {
        let q = match noise {
            None => None,
            Some(noise) => Some(precision_of_contrasts(n, noise)?),
        };
        Ok(Whitener { n, q })
    }

    /// `x` (less its mean where asked) and V⁻¹x, both scaled so that their inner product is 1.
    pub fn unit(&self, x: &[f64], centred: bool) -> std::result::Result<(Vec<f64>, Vec<f64>), Undefined> {
        let x = start(x.to_vec(), centred)?;
        let dual = self.apply(&x);
        let norm = dot(&x, &dual);
        if !(norm > 0.0) {
            return Err(Undefined::Zero);
        }
        let scale = 1.0 / norm.sqrt();
        let scaled = |v: Vec<f64>| v.into_iter().map(|v| v * scale).collect();
        Ok((scaled(x), scaled(dual)))
    }

    /// V⁻¹x = ½ (Q X Q)_ij.
    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let n = self.n;
        if let Some(q) = &self.q {
            let whole = square(n, x);
            let turned = product(product(q.as_ref(), whole.as_ref()).as_ref(), q.as_ref());
            return pairs(n).map(|(i, j)| 0.5 * turned[(i, j)]).collect();
        }
        let mut sums = vec![0.0; n];
        for ((i, j), v) in pairs(n).zip(x) {
            sums[i] += v;
            sums[j] += v;
        }
        let nf = n as f64;
        let all = sums.iter().sum::<f64>() / (nf * nf);
        pairs(n).zip(x).map(|((i, j), v)| 0.5 * (v - (sums[i] + sums[j]) / nf + all)).collect()
    }
}

/// Q of the module's formula.
pub(crate) fn precision_of_contrasts(n: usize, noise: &NoiseCovariance) -> Result<Mat<f64>> {
    let precision = match noise {
        NoiseCovariance::Diagonal(v) => Mat::from_fn(n, n, |i, j| if i == j { 1.0 / v[i] } else { 0.0 }),
        NoiseCovariance::Full(m) => cholesky_solve(m.as_ref(), Mat::<f64>::identity(n, n).as_ref())
            .ok_or_else(|| Error::Invalid {
                what: "noise_covariance".into(),
                expected: "a positive definite matrix".into(),
                found: "another".into(),
                hint: "shrink the estimate towards its diagonal".into(),
            })?,
    };
    let sums: Vec<f64> = (0..n).map(|i| (0..n).map(|j| precision[(i, j)]).sum()).collect();
    let all: f64 = sums.iter().sum();
    Ok(Mat::from_fn(n, n, |i, j| precision[(i, j)] - sums[i] * sums[j] / all))
}

/// Whitened cosine over the pairs `kept` (positions among all pairs of n conditions).
pub fn whitened_cosine(
    n: usize,
    kept: &[usize],
    x: Vec<f64>,
    y: Vec<f64>,
    centred: bool,
    noise: Option<&NoiseCovariance>,
) -> Result<std::result::Result<f64, Undefined>> {
    let (x, y) = match (start(x, centred), start(y, centred)) {
        (Ok(x), Ok(y)) => (x, y),
        (Err(why), _) | (_, Err(why)) => return Ok(Err(why)),
    };
    let dual = |v: &[f64]| -> Result<Vec<f64>> {
        if kept.len() == n * (n - 1) / 2 {
            return Ok(Whitener::new(n, noise)?.apply(v));
        }
        match noise {
            Some(NoiseCovariance::Full(sigma)) => by_conjugate_gradients(n, kept, v, sigma.as_ref()),
            Some(NoiseCovariance::Diagonal(variances)) => by_incidences(n, kept, v, variances),
            None => by_incidences(n, kept, v, &vec![1.0; n]),
        }
    };
    let (dual_x, dual_y) = (dual(&x)?, dual(&y)?);
    let (xx, yy, xy) = (dot(&x, &dual_x), dot(&y, &dual_y), dot(&x, &dual_y));
    if !(xx > 0.0 && yy > 0.0) {
        return Ok(Err(Undefined::Zero));
    }
    Ok(Ok((xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0)))
}

fn start(mut x: Vec<f64>, centred: bool) -> std::result::Result<Vec<f64>, Undefined> {
    if centred {
        if is_constant(&x) {
            return Err(Undefined::Constant);
        }
        let centre = mean(&x);
        x.iter_mut().for_each(|v| *v -= centre);
    }
    if x.iter().all(|v| *v == 0.0) { Err(Undefined::Zero) } else { Ok(x) }
}

/// V⁻¹x for V = diag(2v_iv_j) + A diag(v²) Aᵀ over some of the pairs: W x − W A (diag(v⁻²) + AᵀWA)⁻¹ AᵀW x.
fn by_incidences(n: usize, kept: &[usize], x: &[f64], variances: &[f64]) -> Result<Vec<f64>> {
    let s: Vec<f64> = variances.iter().map(|v| 1.0 / v).collect();
    let all: Vec<(usize, usize)> = pairs(n).collect();
    let mut system = Mat::from_fn(n, n, |i, j| if i == j { s[i] * s[i] } else { 0.0 });
    let mut right = Mat::zeros(n, 1);
    for (&p, v) in kept.iter().zip(x) {
        let (i, j) = all[p];
        let w = 0.5 * s[i] * s[j];
        system[(i, i)] += w;
        system[(j, j)] += w;
        system[(i, j)] += w;
        system[(j, i)] += w;
        right[(i, 0)] += w * v;
        right[(j, 0)] += w * v;
    }
    let z = cholesky_solve(system.as_ref(), right.as_ref()).ok_or_else(|| Error::NoConvergence {
        what: "whitening".into(),
        detail: format!("{n} conditions, {} pairs", kept.len()),
    })?;
    let of = |(&p, v): (&usize, &f64)| {
        let (i, j) = all[p];
        0.5 * s[i] * s[j] * (v - z[(i, 0)] - z[(j, 0)])
    };
    Ok(kept.iter().zip(x).map(of).collect())
}

/// V⁻¹x for a full Σ over some of the pairs. (V x)_kl = M_kk + M_ll − 2 M_kl with M = Σ Lap(x) Σ.
fn by_conjugate_gradients(n: usize, kept: &[usize], x: &[f64], sigma: MatRef<f64>) -> Result<Vec<f64>> {
    let all: Vec<(usize, usize)> = pairs(n).collect();
    let apply = |v: &[f64]| -> Vec<f64> {
        let mut laplacian = Mat::zeros(n, n);
        for (&p, v) in kept.iter().zip(v) {
            let (i, j) = all[p];
            laplacian[(i, i)] += v;
            laplacian[(j, j)] += v;
            laplacian[(i, j)] -= v;
            laplacian[(j, i)] -= v;
        }
        let m = product(product(sigma, laplacian.as_ref()).as_ref(), sigma);
        kept.iter().map(|&p| all[p]).map(|(k, l)| m[(k, k)] + m[(l, l)] - 2.0 * m[(k, l)]).collect()
    };
    let mut found = vec![0.0; x.len()];
    let mut residual = x.to_vec();
    let mut direction = residual.clone();
    let mut size = dot(&residual, &residual);
    let goal = 1e-26 * size;
    for _ in 0..20 * n + 200 {
        if size <= goal {
            return Ok(found);
        }
        let turned = apply(&direction);
        let step = size / dot(&direction, &turned);
        for p in 0..found.len() {
            found[p] += step * direction[p];
            residual[p] -= step * turned[p];
        }
        let new = dot(&residual, &residual);
        for p in 0..found.len() {
            direction[p] = residual[p] + new / size * direction[p];
        }
        size = new;
    }
    if size <= 1e-16 * dot(x, x) {
        return Ok(found);
    }
    Err(Error::NoConvergence {
        what: "whitening".into(),
        detail: format!("{n} conditions, {} pairs: is the noise covariance nearly singular?", kept.len()),
    })
}

/// All pairs in condensed order.
pub fn pairs(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |i| (i + 1..n).map(move |j| (i, j)))
}

fn square(n: usize, x: &[f64]) -> Mat<f64> {
    let mut whole = Mat::zeros(n, n);
    for ((i, j), &v) in pairs(n).zip(x) {
        whole[(i, j)] = v;
        whole[(j, i)] = v;
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::linalg::solve;
    use stereotax_base::stats::rng::Stream;

    fn noise(n: usize, seed: u64) -> Mat<f64> {
        let mut stream = Stream::new(seed, "noise", 0);
        let x = Mat::from_fn(n, n + 3, |_, _| stream.normal());
        product(x.as_ref(), x.transpose())
    }

    /// The definition, with the whole of V.
    fn slow(n: usize, kept: &[usize], x: &[f64], y: &[f64], sigma: MatRef<f64>) -> f64 {
        let all: Vec<(usize, usize)> = pairs(n).collect();
        let xi = |p: usize, q: usize| {
            let ((i, j), (k, l)) = (all[p], all[q]);
            sigma[(i, k)] - sigma[(i, l)] - sigma[(j, k)] + sigma[(j, l)]
        };
        let v = Mat::from_fn(kept.len(), kept.len(), |p, q| xi(kept[p], kept[q]).powi(2));
        let column = |x: &[f64]| Mat::from_fn(x.len(), 1, |i, _| x[i]);
        let dual =
            solve(v.as_ref(), Mat::from_fn(x.len(), 2, |i, j| if j == 0 { x[i] } else { y[i] }).as_ref());
        let inner = |x: &[f64], j: usize| (column(x).transpose() * dual.col(j))[0];
        inner(x, 1) / (inner(x, 0) * inner(y, 1)).sqrt()
    }

    #[test]
    fn every_road_is_that_of_the_whole_covariance() {
        let n = 7;
        let mut stream = Stream::new(3, "whitened", 0);
        let mut draw = || -> Vec<f64> { (0..21).map(|_| stream.uniform()).collect() };
        let (x, y) = (draw(), draw());
        let full = noise(n, 1);
        let diagonal = Mat::from_fn(n, n, |i, j| if i == j { full[(i, i)] } else { 0.0 });
        let variances = NoiseCovariance::Diagonal((0..n).map(|i| full[(i, i)]).collect());
        let white = Mat::<f64>::identity(n, n);
        let some: Vec<usize> = (0..21).filter(|p| ![2, 9, 15].contains(p)).collect();
        let all: Vec<usize> = (0..21).collect();
        for kept in [&all, &some] {
            let of = |v: &[f64]| -> Vec<f64> { kept.iter().map(|&p| v[p]).collect() };
            for (given, whole) in [
                (None, &white),
                (Some(variances.clone()), &diagonal),
                (Some(NoiseCovariance::Full(full.clone())), &full),
            ] {
                let found = whitened_cosine(n, kept, of(&x), of(&y), false, given.as_ref()).unwrap().unwrap();
                let expected = slow(n, kept, &of(&x), &of(&y), whole.as_ref());
                assert!((found - expected).abs() < 1e-9, "{found} is not {expected} ({} pairs)", kept.len());
            }
        }
    }

    #[test]
    fn without_noise_it_is_linear_cka() {
        // CKA of X and Y from centred Gram matrices; the RDMs are squared Euclidean distances.
        let n = 12;
        let mut stream = Stream::new(5, "cka", 0);
        let mut draw = |p: usize| Mat::from_fn(n, p, |_, _| stream.normal());
        let (x, y) = (draw(5), draw(9));
        let gram = |x: &Mat<f64>| {
            let means: Vec<f64> = (0..x.ncols()).map(|j| x.col(j).iter().sum::<f64>() / n as f64).collect();
            let centred = Mat::from_fn(n, x.ncols(), |i, j| x[(i, j)] - means[j]);
            product(centred.as_ref(), centred.transpose())
        };
        let inner = |a: &Mat<f64>, b: &Mat<f64>| -> f64 {
            (0..n).map(|i| (0..n).map(|j| a[(i, j)] * b[(i, j)]).sum::<f64>()).sum()
        };
        let (k, l) = (gram(&x), gram(&y));
        let cka = inner(&k, &l) / (inner(&k, &k) * inner(&l, &l)).sqrt();
        let distances = |k: &Mat<f64>| -> Vec<f64> {
            pairs(n).map(|(i, j)| k[(i, i)] + k[(j, j)] - 2.0 * k[(i, j)]).collect()
        };
        let kept: Vec<usize> = (0..n * (n - 1) / 2).collect();
        let found = whitened_cosine(n, &kept, distances(&k), distances(&l), false, None).unwrap().unwrap();
        assert!((found - cka).abs() < 1e-13, "{found} is not {cka}");
    }

    #[test]
    fn what_is_no_covariance_is_refused() {
        let bad = NoiseCovariance::Diagonal(vec![1.0, -1.0, 2.0]);
        assert!(bad.check(3).unwrap_err().to_string().contains("positive"));
        assert!(bad.check(4).unwrap_err().to_string().contains("4 conditions"));
        let skew = Mat::from_fn(3, 3, |i, j| {
            if i == j {
                2.0
            } else if i < j {
                0.5
            } else {
                0.0
            }
        });
        assert!(NoiseCovariance::Full(skew).check(3).is_err());
        assert!(NoiseCovariance::Full(noise(3, 1)).check(3).is_ok());
    }
}
