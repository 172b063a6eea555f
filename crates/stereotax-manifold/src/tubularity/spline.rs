//! Smooth equally spaced numbers by a natural cubic spline, as rough as a residual allows.
//!
//! ```text
//! minimise ∫ f″²  subject to  Σ (y_i − f(u_i))² ≤ s        u_i = i/(n − 1)
//! (R + λ QᵀQ) γ = Qᵀ y,  f = y − λ Q γ,  γ = f″ inside      λ such that the residual is s
//! ```
//!
//! s ≤ 0 joins the numbers by straight lines. Where even the straight line of least squares has a residual of at most s,
//! it is the answer. Source: Reinsch 1967; specs: encoding-manifolds 5.8. Differs from FITPACK, which adds knots until
//! the residual is at most s: it stops at a cubic, not at a line, and its knots are few. Cost: O(n) per λ, about 60.

/// A curve in one dimension over u from 0 to 1.
#[derive(Debug, Clone)]
pub(super) struct Spline {
    values: Vec<f64>,
    /// f″ at the knots; `None` for straight pieces.
    bends: Option<Vec<f64>>,
}

impl Spline {
    pub(super) fn fit(y: &[f64], s: f64) -> Self {
        let n = y.len();
        if !(s > 0.0) || n < 3 {
            return Spline { values: y.to_vec(), bends: None };
        }
        let h = 1.0 / (n - 1) as f64;
        let line = straight(y);
        if residual(y, &line) <= s {
            return Spline { bends: Some(vec![0.0; n]), values: line };
        }
        // R has 2h/3 on and h/6 beside its diagonal; Q has 1/h, −2/h, 1/h.
        let second: Vec<f64> = (1..n - 1).map(|i| (y[i - 1] - 2.0 * y[i] + y[i + 1]) / h).collect();
        let at = |log: f64| {
            let lambda = log.exp();
            let q = lambda / (h * h);
            let gamma = banded_solve([2.0 * h / 3.0 + 6.0 * q, h / 6.0 - 4.0 * q, q], &second);
            let inside = |i: isize| if (0..n as isize - 2).contains(&i) { gamma[i as usize] } else { 0.0 };
            let values: Vec<f64> = (0..n as isize)
                .map(|i| y[i as usize] - lambda / h * (inside(i - 2) - 2.0 * inside(i - 1) + inside(i)))
                .collect();
            (values, gamma)
        };
        // The residual rises with λ.
        let (mut low, mut high) = (-80.0f64, 40.0f64);
        for _ in 0..80 {
            let middle = 0.5 * (low + high);
            if residual(y, &at(middle).0) < s { low = middle } else { high = middle }
        }
        let (values, gamma) = at(low);
        let bends = std::iter::once(0.0).chain(gamma).chain(std::iter::once(0.0)).collect();
        Spline { values, bends: Some(bends) }
    }

    /// f, f′ and f″ at u.
    pub(super) fn at(&self, u: f64) -> [f64; 3] {
        let n = self.values.len();
        if n == 1 {
            return [self.values[0], 0.0, 0.0];
        }
        let h = 1.0 / (n - 1) as f64;
        let left = ((u / h) as usize).min(n - 2);
        let b = u / h - left as f64;
        let a = 1.0 - b;
        let (y0, y1) = (self.values[left], self.values[left + 1]);
        let [mut f, mut slope, mut bend] = [a * y0 + b * y1, (y1 - y0) / h, 0.0];
        if let Some(m) = &self.bends {
            let (m0, m1) = (m[left], m[left + 1]);
            f += ((a * a * a - a) * m0 + (b * b * b - b) * m1) * h * h / 6.0;
            slope += ((1.0 - 3.0 * a * a) * m0 + (3.0 * b * b - 1.0) * m1) * h / 6.0;
            bend = a * m0 + b * m1;
        }
        [f, slope, bend]
    }
}

fn residual(y: &[f64], f: &[f64]) -> f64 {
    y.iter().zip(f).map(|(y, f)| (y - f) * (y - f)).sum()
}

fn straight(y: &[f64]) -> Vec<f64> {
    let n = y.len() as f64;
    let (mean_y, mean_i) = (y.iter().sum::<f64>() / n, (n - 1.0) / 2.0);
    let (mut xy, mut xx) = (0.0, 0.0);
    for (i, y) in y.iter().enumerate() {
        let x = i as f64 - mean_i;
        xy += x * y;
        xx += x * x;
    }
    (0..y.len()).map(|i| mean_y + xy / xx * (i as f64 - mean_i)).collect()
}

/// Solve a symmetric Toeplitz system of five diagonals (on, beside, beyond) by its LDLᵀ factors.
fn banded_solve([on, beside, beyond]: [f64; 3], right: &[f64]) -> Vec<f64> {
    let n = right.len();
    let (mut d, mut e, mut g) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    for i in 0..n {
        // Row i: e to i − 1, g to i − 2.
        g[i] = if i >= 2 { beyond / d[i - 2] } else { 0.0 };
        e[i] = if i >= 1 {
            (beside - if i >= 2 { g[i] * d[i - 2] * e[i - 1] } else { 0.0 }) / d[i - 1]
        } else {
            0.0
        };
        d[i] = on
            - if i >= 1 { e[i] * e[i] * d[i - 1] } else { 0.0 }
            - if i >= 2 { g[i] * g[i] * d[i - 2] } else { 0.0 };
    }
    let mut x = right.to_vec();
    for i in 0..n {
        if i >= 1 {
            x[i] -= e[i] * x[i - 1];
        }
        if i >= 2 {
            x[i] -= g[i] * x[i - 2];
        }
    }
    for i in 0..n {
        x[i] /= d[i];
    }
    for i in (0..n).rev() {
        if i + 1 < n {
            x[i] -= e[i + 1] * x[i + 1];
        }
        if i + 2 < n {
            x[i] -= g[i + 2] * x[i + 2];
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    #[test]
    fn residuals_are_what_was_asked_for_and_bends_are_those_of_the_values() {
        let mut stream = Stream::new(1, "spline", 0);
        let y: Vec<f64> = (0..150).map(|i| (f64::from(i) / 20.0).sin() + 0.1 * stream.normal()).collect();
        for s in [1e-4, 0.5, 2.0, 20.0] {
            let f = Spline::fit(&y, s);
            assert!((residual(&y, &f.values) / s - 1.0).abs() < 1e-6, "{s}");
            // f is smooth: values, slopes and bends agree with differences.
            for u in [0.0031, 0.4, 0.77] {
                let (step, [value, slope, bend]) = (1e-6, f.at(u));
                let ([up, up_slope, _], [down, down_slope, _]) = (f.at(u + step), f.at(u - step));
                assert!(((up - down) / (2.0 * step) - slope).abs() < 1e-5 * (1.0 + slope.abs()));
                assert!(((up_slope - down_slope) / (2.0 * step) - bend).abs() < 1e-4 * (1.0 + bend.abs()));
                assert!((0.5 * (up + down) - value).abs() < 1e-8);
            }
            let knot = f.at(75.0 / 149.0);
            assert!((knot[0] - f.values[75]).abs() < 1e-12);
        }
        // More roughness for less residual; a line where it is near enough; straight pieces for 0.
        let line = Spline::fit(&y, 1e4);
        assert!(line.at(0.3)[2] == 0.0 && (line.at(0.5)[0] - y.iter().sum::<f64>() / 150.0).abs() < 1e-9);
        assert_eq!(Spline::fit(&y, 0.0).at(1.0)[0], y[149]);
        assert!((Spline::fit(&y, 0.0).at(0.5 / 149.0)[0] - 0.5 * (y[0] + y[1])).abs() < 1e-12);
    }
}
