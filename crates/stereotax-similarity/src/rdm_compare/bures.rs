//! Bures similarity and distance of the centred Gram matrices that RDMs of squared distances stand for.
//!
//! A = −½ J D J with the centring J; F = tr (A^½ B A^½)^½ is the sum of the singular values of A^½ᵀ B^½. Similarity
//! F/√(tr A tr B), squared distance tr A + tr B − 2F. Negative eigenvalues (RDMs that no patterns can have) count as
//! 0, so that an RDM is like itself. Source: Harvey et al. 2024. Differs from rsatoolbox, which leaves them in traces:
//! there such an RDM may be more than 1 like itself. Cost: O(n³).

use faer::Mat;

use super::Undefined;
use stereotax_base::data::{Rdm, Result};
use stereotax_base::linalg::{cross, eigh, svd};

/// A^½ (n × rank) and the trace.
#[derive(Debug, Clone)]
pub struct Root {
    /// U Λ^½, of the eigenvalues above 0 (beyond rounding).
    pub factor: Mat<f64>,
    /// tr A of the same eigenvalues.
    pub trace: f64,
}

/// The root of a centred Gram matrix; undefined where it has no positive eigenvalue.
pub fn root(rdm: &Rdm) -> Result<std::result::Result<Root, Undefined>> {
    let n = rdm.n_conditions();
    let d = rdm.to_square();
    let means: Vec<f64> = (0..n).map(|j| d.col(j).iter().sum::<f64>() / n as f64).collect();
    let all = means.iter().sum::<f64>() / n as f64;
    let gram = Mat::from_fn(n, n, |i, j| -0.5 * (d[(i, j)] - means[i] - means[j] + all));
    let found = eigh(gram.as_ref())?;
    // Below this, eigenvalues are rounding, the roots of which would not be.
    let least = n as f64 * f64::EPSILON * found.values.iter().map(|v| v.abs()).fold(0.0, f64::max);
    let rank = found.values.iter().take_while(|&&v| v > least).count();
    let trace: f64 = found.values[..rank].iter().sum();
    if !(trace > 0.0) {
        return Ok(Err(Undefined::Zero));
    }
    let factor = Mat::from_fn(n, rank, |i, k| found.vectors[(i, k)] * found.values[k].sqrt());
    Ok(Ok(Root { factor, trace }))
}

/// F, the sum of singular values.
pub fn fidelity(a: &Root, b: &Root) -> Result<f64> {
    Ok(svd(cross(a.factor.as_ref(), b.factor.as_ref()).as_ref())?.s.iter().sum())
}

/// F/√(tr A tr B).
pub fn similarity(a: &Rdm, b: &Rdm) -> Result<std::result::Result<f64, Undefined>> {
    Ok(match (root(a)?, root(b)?) {
        (Ok(a), Ok(b)) => Ok(fidelity(&a, &b)? / (a.trace * b.trace).sqrt()),
        (Err(why), _) | (_, Err(why)) => Err(why),
    })
}

/// tr A + tr B − 2F, a squared distance.
pub fn squared_distance(a: &Rdm, b: &Rdm) -> Result<std::result::Result<f64, Undefined>> {
    Ok(match (root(a)?, root(b)?) {
        (Ok(a), Ok(b)) => Ok(a.trace + b.trace - 2.0 * fidelity(&a, &b)?),
        (Err(why), _) | (_, Err(why)) => Err(why),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_line_it_is_the_product_of_centred_positions() {
        // Points on a line have Gram matrices of rank 1: F = |a·b|, tr A = a·a.
        let rdm = |x: [f64; 4]| {
            let d = |(i, j): (usize, usize)| (x[i] - x[j]).powi(2);
            Rdm::new(4, super::super::whitened::pairs(4).map(d).collect()).unwrap()
        };
        // Centred: (−3, −1, 1, 3) and (2, −2, −1, 1): a·b = −2, a·a = 20, b·b = 10.
        let (a, b) = (rdm([0.0, 2.0, 4.0, 6.0]), rdm([2.0, -2.0, -1.0, 1.0]));
        let found = similarity(&a, &b).unwrap().unwrap();
        assert!((found - 2.0 / 200f64.sqrt()).abs() < 1e-7, "{found}");
        let found = squared_distance(&a, &b).unwrap().unwrap();
        assert!((found - (20.0 + 10.0 - 4.0)).abs() < 1e-6, "{found}");
    }
}
