//! Minimise a smooth function of many variables from its gradient (L-BFGS).
//!
//! The step is d = −H g, H built from the last ten pairs of steps and gradient changes (two loops), scaled by
//! sᵀy/yᵀy. Its length meets the weak Wolfe conditions, found by doubling and halving (Lewis & Overton 2013).
//! Pairs with sᵀy ≤ 0 are left out. The value never rises.
//!
//! Source: Liu & Nocedal 1989. Cost: 40 vector operations beside each evaluation.

use super::dot;

/// Pairs that H is built from.
const MEMORY: usize = 10;
/// Wolfe conditions: share of the promised decrease, and of the slope that may remain.
const DECREASE: f64 = 1e-4;
const SLOPE: f64 = 0.9;
/// Most evaluations of one line search.
const TRIALS: usize = 30;

/// Where a minimisation ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Minimum {
    /// The point.
    pub at: Vec<f64>,
    /// The value there.
    pub value: f64,
    /// Steps taken.
    pub n_iterations: usize,
    /// Whether the gradient or the last gain was below the tolerance, and not the number of steps at its limit.
    pub converged: bool,
}

/// Minimise `function`, which returns value and gradient, from `start`.
///
/// Ends when the largest entry of the gradient is below `tolerance · max(1, |value|)`, when a step gains less
/// than `tolerance` of the value times 10⁻³, or after `max_iterations`. A value that is not finite is a step too far.
pub fn lbfgs(
    start: &[f64],
    max_iterations: usize,
    tolerance: f64,
    mut function: impl FnMut(&[f64]) -> (f64, Vec<f64>),
) -> Minimum {
    let mut at = start.to_vec();
    let (mut value, mut gradient) = function(&at);
    let mut pairs: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    for n_iterations in 0..max_iterations {
        let largest = gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
        if !value.is_finite() || largest <= tolerance * value.abs().max(1.0) {
            return Minimum { at, value, n_iterations, converged: value.is_finite() };
        }
        let mut direction = downhill(&gradient, &pairs);
        let mut slope = dot(&gradient, &direction);
        if !(slope < 0.0) {
            pairs.clear();
            direction = gradient.iter().map(|g| -g).collect();
            slope = -dot(&gradient, &gradient);
        }
        let first = if pairs.is_empty() { (1.0 / dot(&gradient, &gradient).sqrt()).min(1.0) } else { 1.0 };
        let found = line_search(&at, value, slope, &direction, first, &mut function);
        let Some((point, new_value, new_gradient)) = found else {
            if pairs.is_empty() {
                return Minimum { at, value, n_iterations, converged: true };
            }
            pairs.clear();
            continue;
        };
        let step: Vec<f64> = point.iter().zip(&at).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = new_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        if dot(&step, &change) > f64::EPSILON * dot(&change, &change) {
            if pairs.len() == MEMORY {
                pairs.remove(0);
            }
            pairs.push((step, change));
        }
        let gain = value - new_value;
        (at, value, gradient) = (point, new_value, new_gradient);
        if gain <= 1e-3 * tolerance * value.abs() {
            return Minimum { at, value, n_iterations: n_iterations + 1, converged: true };
        }
    }
    Minimum { at, value, n_iterations: max_iterations, converged: false }
}

/// −H g by the two loops.
fn downhill(gradient: &[f64], pairs: &[(Vec<f64>, Vec<f64>)]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut parts = Vec::with_capacity(pairs.len());
    for (step, change) in pairs.iter().rev() {
        let part = dot(step, &q) / dot(step, change);
        q.iter_mut().zip(change).for_each(|(q, y)| *q -= part * y);
        parts.push(part);
    }
    if let Some((step, change)) = pairs.last() {
        let scale = dot(step, change) / dot(change, change);
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((step, change), part) in pairs.iter().zip(parts.iter().rev()) {
        let more = part - dot(change, &q) / dot(step, change);
        q.iter_mut().zip(step).for_each(|(q, s)| *q += more * s);
    }
    q
}

/// A point that decreases enough, with a slope that has flattened where one is found.
fn line_search(
    at: &[f64],
    value: f64,
    slope: f64,
    direction: &[f64],
    first: f64,
    function: &mut impl FnMut(&[f64]) -> (f64, Vec<f64>),
) -> Option<(Vec<f64>, f64, Vec<f64>)> {
    let (mut low, mut high, mut length) = (0.0, f64::INFINITY, first);
    let mut best = None;
    for _ in 0..TRIALS {
        let point: Vec<f64> = at.iter().zip(direction).map(|(x, d)| x + length * d).collect();
        let (new, gradient) = function(&point);
        if !(new <= value + DECREASE * length * slope) {
            high = length;
        } else {
            let flat = dot(&gradient, direction) >= SLOPE * slope;
            best = Some((point, new, gradient));
            if flat {
                break;
            }
            low = length;
        }
        length = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * length };
    }
    best.filter(|(_, new, _)| *new < value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_valley_of_rosenbrock_ends_at_one() {
        let function = |x: &[f64]| {
            let mut gradient = vec![0.0; x.len()];
            let mut value = 0.0;
            for i in 0..x.len() - 1 {
                let (a, b) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
                value += 100.0 * a * a + b * b;
                gradient[i] += -400.0 * a * x[i] - 2.0 * b;
                gradient[i + 1] += 200.0 * a;
            }
            (value, gradient)
        };
        let found = lbfgs(&[-1.2; 10], 500, 1e-9, function);
        assert!(found.converged && found.at.iter().all(|x| (x - 1.0).abs() < 1e-6), "{found:?}");
        let short = lbfgs(&[-1.2; 10], 3, 1e-9, function);
        assert!(!short.converged && short.n_iterations == 3 && short.value < function(&[-1.2; 10]).0);
    }

    #[test]
    fn a_quadratic_of_bad_scale_and_a_wall_are_no_trouble() {
        let scales = [1e-3, 1.0, 1e3];
        let bowl = |x: &[f64]| {
            let value = (0..3).map(|i| 0.5 * scales[i] * (x[i] - 2.0).powi(2)).sum::<f64>();
            (value, (0..3).map(|i| scales[i] * (x[i] - 2.0)).collect())
        };
        let found = lbfgs(&[0.0; 3], 200, 1e-10, bowl);
        assert!(found.at.iter().all(|x| (x - 2.0).abs() < 1e-4), "{found:?}");
        // x − ln x has no value below 0.
        let wall = |x: &[f64]| (x[0] - x[0].ln(), vec![1.0 - 1.0 / x[0]]);
        assert!((lbfgs(&[5.0], 100, 1e-10, wall).at[0] - 1.0).abs() < 1e-6);
    }
}
