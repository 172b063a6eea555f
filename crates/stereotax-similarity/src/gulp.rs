//! GULP: how differently ridge regressions on two representations would predict, for the worst or average task.
//!
//! With both sides centred and of unit energy per stimulus (‖X‖² = n), C = XᵀX/n and A = X (C + λ)⁻¹ Xᵀ/n (n × n),
//!
//! ```text
//! d² = ‖A_x − A_y‖² = Σ g_x² + Σ g_y² − 2 ‖G_x^½ U_xᵀ U_y G_y^½‖²,   g = c/(c + λ), c = s²/n
//! ```
//!
//! A distance between Euclidean points, so that the triangle inequality holds; in [0, √(r_x + r_y)]. λ → 0 compares
//! the spans as CCA does, large λ the Grams as CKA does.
//!
//! Source: Boix-Adsera et al. 2022; specs: peers 1.8. Undefined (NaN): a constant side. Cost: O(r_x r_y) beyond the
//! factors, O(n² r) for sides that are nearly equal.

use super::factor_pair::FactorPair;
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::product;

/// Share of the energy per stimulus that is λ where none is chosen.
pub const GULP_LAMBDA: f64 = 1e-2;

/// The distance at a λ above 0, in units of the mean squared length of a centred pattern.
pub fn gulp(pair: &FactorPair<'_>, lambda: f64) -> Result<f64> {
    if !(lambda > 0.0 && lambda.is_finite()) {
        return Err(Error::Invalid {
            what: "lambda".into(),
            expected: "a number above 0".into(),
            found: lambda.to_string(),
            hint: "0.01 is the default; use `cca_r2` for what remains at 0".into(),
        });
    }
    if pair.is_undefined() {
        return Ok(f64::NAN);
    }
    let (of_x, of_y) = (pair.x.energy(), pair.y.energy());
    // c = s²/n of a representation that is scaled to energy n.
    let gain = |s: f64, energy: f64| (s * s / energy) / (s * s / energy + lambda);
    let square = |factors: &super::Factors, energy: f64| {
        factors.singular_values.iter().map(|&s| gain(s, energy).powi(2)).sum::<f64>()
    };
    let crossed = pair.weighted(|s| gain(s, of_x).sqrt(), |s| gain(s, of_y).sqrt());
    let lengths = square(pair.x, of_x) + square(pair.y, of_y);
    let squared = lengths - 2.0 * crossed.norm_l2().powi(2);
    if squared > 1e-4 * lengths {
        return Ok(squared.sqrt());
    }
    // Near 0 the difference itself keeps the digits that its square has lost.
    let half = |factors: &super::Factors, energy: f64| factors.weighted(|s| gain(s, energy).sqrt());
    let (x, y) = (half(pair.x, of_x), half(pair.y, of_y));
    let difference = product(x.as_ref(), x.transpose()) - product(y.as_ref(), y.transpose());
    Ok(difference.norm_l2())
}

#[cfg(test)]
mod tests {
    use super::super::representation::Representation;
    use super::*;
    use faer::Mat;
    use stereotax_base::linalg::solve;
    use stereotax_base::stats::rng::Stream;

    fn noise(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(10, "gulp tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    fn of(x: &Mat<f64>, y: &Mat<f64>, lambda: f64) -> f64 {
        let [a, b] = [x, y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        gulp(&FactorPair::new(a.factors().unwrap(), b.factors().unwrap()), lambda).unwrap()
    }

    #[test]
    fn the_trace_formula_with_covariances_gives_the_same() {
        let (x, y) = (noise(30, 4, 0), noise(30, 6, 1));
        let normal = |x: &Mat<f64>| {
            let x = Representation::new("x", x.as_ref()).unwrap().centred();
            let scale = 30f64.sqrt() / x.norm_l2();
            Mat::from_fn(30, x.ncols(), |i, j| scale * x[(i, j)])
        };
        let (a, b) = (normal(&x), normal(&y));
        let lambda = 0.05;
        let covariance = |x: &Mat<f64>, y: &Mat<f64>| {
            let c = x.transpose() * y;
            Mat::from_fn(c.nrows(), c.ncols(), |i, j| c[(i, j)] / 30.0)
        };
        let ridge = |c: &Mat<f64>| {
            Mat::from_fn(c.nrows(), c.nrows(), |i, j| c[(i, j)] + if i == j { lambda } else { 0.0 })
        };
        let trace = |m: Mat<f64>| (0..m.nrows()).map(|i| m[(i, i)]).sum::<f64>();
        let (xx, yy, xy) = (covariance(&a, &a), covariance(&b, &b), covariance(&a, &b));
        let (rx, ry) = (ridge(&xx), ridge(&yy));
        let hat = |r: &Mat<f64>, c: &Mat<f64>| solve(r.as_ref(), c.as_ref());
        let own = trace(hat(&rx, &xx) * hat(&rx, &xx)) + trace(hat(&ry, &yy) * hat(&ry, &yy));
        let both = trace(hat(&rx, &xy) * hat(&ry, &xy.transpose().to_owned()));
        assert!((of(&x, &y, lambda) - (own - 2.0 * both).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn equal_sides_are_at_zero_and_wrong_penalties_are_refused() {
        let x = noise(20, 40, 2);
        assert!(of(&x, &x, 0.01) < 1e-12);
        let turned = Mat::from_fn(20, 40, |i, j| 5.0 * x[(i, 39 - j)] - 1.0);
        assert!(of(&x, &turned, 0.01) < 1e-12);
        assert!(of(&x, &Mat::full(20, 2, 1.0), 0.01).is_nan());
        let [a, b] = [&x, &x].map(|x| Representation::new("x", x.as_ref()).unwrap());
        let pair = FactorPair::new(a.factors().unwrap(), b.factors().unwrap());
        assert!(gulp(&pair, 0.0).is_err() && gulp(&pair, f64::NAN).is_err());
    }
}
