//! Correlation and cosine of dissimilarities.

use super::Undefined;
use stereotax_base::linalg::dot;
use stereotax_base::stats::summary::{is_constant, mean};

/// The vector of length 1 in the direction of `x`, or of `x` less its mean.
///
/// Its inner product with another is their cosine, or correlation. Undefined for a zero (constant) `x`.
pub fn unit(x: &[f64], centred: bool) -> Result<Vec<f64>, Undefined> {
    if centred && is_constant(x) {
        return Err(Undefined::Constant);
    }
    let centre = if centred { mean(x) } else { 0.0 };
    let moved: Vec<f64> = x.iter().map(|v| v - centre).collect();
    let length = dot(&moved, &moved).sqrt();
    if !(length > 0.0) {
        return Err(Undefined::Zero);
    }
    Ok(moved.into_iter().map(|v| v / length).collect())
}

/// Correlation of dissimilarities.
pub fn pearson(x: &[f64], y: &[f64]) -> Result<f64, Undefined> {
    Ok(dot(&unit(x, true)?, &unit(y, true)?).clamp(-1.0, 1.0))
}

/// Correlation of dissimilarities of which each counts as often as its weight says.
pub fn weighted_pearson(x: &[f64], y: &[f64], weights: &[f64]) -> Result<f64, Undefined> {
    let total: f64 = weights.iter().sum();
    let mean = |x: &[f64]| x.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>() / total;
    let (mx, my) = (mean(x), mean(y));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for ((x, y), w) in x.iter().zip(y).zip(weights) {
        let (x, y) = (x - mx, y - my);
        xx += w * x * x;
        yy += w * y * y;
        xy += w * x * y;
    }
    if !(xx > 0.0 && yy > 0.0) {
        return Err(Undefined::Constant);
    }
    Ok((xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0))
}

/// Cosine of the angle between dissimilarities; unlike the correlation it knows where 0 is.
pub fn cosine(x: &[f64], y: &[f64]) -> Result<f64, Undefined> {
    Ok(dot(&unit(x, false)?, &unit(y, false)?).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_changes_neither_and_a_shift_only_the_cosine() {
        let (x, y) = ([0.3, 1.0, 0.5, 0.9], [1.0, 2.0, 4.0, 3.0]);
        let scaled: Vec<f64> = x.iter().map(|v| 7.0 * v).collect();
        let shifted: Vec<f64> = x.iter().map(|v| v + 2.0).collect();
        let far = |a: f64, b: f64| (a - b).abs();
        assert!(far(pearson(&x, &y).unwrap(), pearson(&scaled, &y).unwrap()) < 1e-15);
        assert!(far(pearson(&x, &y).unwrap(), pearson(&shifted, &y).unwrap()) < 1e-15);
        assert!(far(cosine(&x, &y).unwrap(), cosine(&scaled, &y).unwrap()) < 1e-15);
        assert!(far(cosine(&x, &y).unwrap(), cosine(&shifted, &y).unwrap()) > 1e-3);
    }
}
