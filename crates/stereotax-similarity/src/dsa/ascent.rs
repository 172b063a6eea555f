//! Climb over the orthogonal matrices: the C that maximises how well A and C B Cᵀ agree.
//!
//! ```text
//! f(C) = ⟨A, C B Cᵀ⟩ + ⟨L, C⟩                          C ∈ O(n); L = 0 without inputs
//! M = C B Cᵀ,  P = A Mᵀ − Mᵀ A + L Cᵀ,  slope along exp(Ω) C:  Σ_{i>j} (P_ij − P_ji) Ω_ij
//! C ← (I − Ω/2)⁻¹ (I + Ω/2) C                          Cayley: orthogonal for every skew Ω
//! ```
//!
//! The direction Ω is that of L-BFGS in the moving frame: slopes are taken at C itself, so vectors of earlier
//! steps are used as they are. Step lengths meet the weak Wolfe conditions. The value never falls. Neither step
//! leaves the component of O(n), +1 or −1, in which it begins.
//!
//! Source: Edelman, Arias & Smith 1998 (the geometry); Wen & Yin 2013 (Cayley steps); specs: encoding-manifolds
//! 6.6. Cost: about 11 n³ flops and 20 n² per step.

use std::collections::VecDeque;

use faer::{Mat, MatRef};

use stereotax_base::data::{Monitor, Result};
use stereotax_base::linalg::{cross, dot, product, solve};

/// Pairs of steps and slopes that a direction is built from.
const MEMORY: usize = 10;
/// Wolfe conditions: share of the promised gain, and of the slope that may remain.
const GAIN: f64 = 1e-4;
const SLOPE: f64 = 0.9;
/// Most evaluations of one line search.
const TRIALS: usize = 25;
/// A slope that is none.
const LEVEL: f64 = 1e-11;
/// Gains that are looked back at to see whether a climb has ended.
const PATIENCE: usize = 6;

/// What is maximised.
pub(super) struct Goal<'a> {
    /// n × n.
    pub a: MatRef<'a, f64>,
    /// n × n.
    pub b: MatRef<'a, f64>,
    /// n × n, or none.
    pub linear: Option<MatRef<'a, f64>>,
}

impl Goal<'_> {
    /// f(C).
    pub fn value(&self, c: MatRef<f64>) -> f64 {
        let m = product(product(c, self.b).as_ref(), c.transpose());
        inner(self.a, m.as_ref()) + self.linear.map_or(0.0, |l| inner(l, c))
    }

    /// f(C) and its slopes, packed.
    fn at(&self, c: MatRef<f64>) -> (f64, Vec<f64>) {
        let m = product(product(c, self.b).as_ref(), c.transpose());
        let mut value = inner(self.a, m.as_ref());
        let mut p = product(self.a, m.transpose()) - cross(m.as_ref(), self.a);
        if let Some(l) = self.linear {
            value += inner(l, c);
            p += product(l, c.transpose());
        }
        (value, pack(p.as_ref()))
    }
}

/// Σ x_ij y_ij, column after column.
pub(super) fn inner(x: MatRef<f64>, y: MatRef<f64>) -> f64 {
    (0..x.ncols())
        .map(|j| match (x.col(j).try_as_col_major(), y.col(j).try_as_col_major()) {
            (Some(x), Some(y)) => dot(x.as_slice(), y.as_slice()),
            _ => x.col(j).iter().zip(y.col(j).iter()).map(|(x, y)| x * y).sum(),
        })
        .sum()
}

/// P_ij − P_ji for i > j, column after column.
fn pack(p: MatRef<f64>) -> Vec<f64> {
    let n = p.nrows();
    let mut packed = Vec::with_capacity(n * n.saturating_sub(1) / 2);
    let mirrored = p.transpose().to_owned();
    for j in 0..n {
        packed.extend((j + 1..n).map(|i| p[(i, j)] - mirrored[(i, j)]));
    }
    packed
}

/// (I − tΩ/2)⁻¹ (I + tΩ/2) C = 2 (I − tΩ/2)⁻¹ C − C.
fn turned(c: MatRef<f64>, omega: &[f64], t: f64) -> Mat<f64> {
    let n = c.nrows();
    let mut left = Mat::identity(n, n);
    let mut at = 0;
    for j in 0..n {
        for i in j + 1..n {
            let half = 0.5 * t * omega[at];
            left[(i, j)] = -half;
            left[(j, i)] = half;
            at += 1;
        }
    }
    let mut new = solve(left.as_ref(), c);
    for j in 0..n {
        for i in 0..n {
            new[(i, j)] = 2.0 * new[(i, j)] - c[(i, j)];
        }
    }
    new
}

/// Bring a nearly orthogonal matrix back: one Newton step towards its orthogonal factor.
fn orthonormalised(c: MatRef<f64>) -> Mat<f64> {
    let n = c.nrows();
    let g = cross(c, c);
    let half = Mat::from_fn(n, n, |i, j| 0.5 * (if i == j { 3.0 } else { 0.0 } - g[(i, j)]));
    product(c, half.as_ref())
}

/// A climb that can be interrupted and taken up again.
pub(super) struct Climb {
    /// Where it stands, n × n.
    pub c: Mat<f64>,
    /// f there.
    pub value: f64,
    /// Steps so far.
    pub n_iterations: usize,
    /// Whether slope or gain fell below the tolerance.
    pub converged: bool,
    slope: Vec<f64>,
    pairs: VecDeque<(Vec<f64>, Vec<f64>)>,
    history: VecDeque<f64>,
}

impl Climb {
    /// Begin at an orthogonal matrix.
    pub fn new(goal: &Goal<'_>, c: Mat<f64>) -> Self {
        let (value, slope) = goal.at(c.as_ref());
        Climb {
            c,
            value,
            n_iterations: 0,
            converged: false,
            slope,
            pairs: VecDeque::new(),
            history: VecDeque::new(),
        }
    }

    /// Up to `steps` steps; ends early where no slope is left, or [`PATIENCE`] steps gain less than `tolerance`
    /// times 1 − f (half the squared distance of unit operators).
    pub fn advance(
        &mut self,
        goal: &Goal<'_>,
        steps: usize,
        tolerance: f64,
        monitor: &Monitor<'_>,
    ) -> Result<()> {
        for _ in 0..steps {
            if self.converged {
                break;
            }
            monitor.check()?;
            if dot(&self.slope, &self.slope).sqrt() <= LEVEL {
                self.converged = true;
                break;
            }
            let mut direction = self.direction();
            let mut rise = dot(&self.slope, &direction);
            if !(rise > 0.0) {
                self.pairs.clear();
                direction.clone_from(&self.slope);
                rise = dot(&self.slope, &self.slope);
            }
            // Without memory the first step turns every direction by a moderate angle.
            let size = dot(&direction, &direction).sqrt();
            let moderate = 0.1 * (self.c.nrows() as f64).sqrt();
            let first = if self.pairs.is_empty() { (moderate / size).min(1e3) } else { 1.0 };
            let Some((c, value, slope, t)) = self.search(goal, &direction, rise, first) else {
                if self.pairs.is_empty() {
                    self.converged = true;
                }
                self.pairs.clear();
                continue;
            };
            let step: Vec<f64> = direction.iter().map(|d| d * t).collect();
            let change: Vec<f64> = self.slope.iter().zip(&slope).map(|(old, new)| old - new).collect();
            if dot(&step, &change) > 1e-12 * dot(&change, &change).sqrt() * dot(&step, &step).sqrt() {
                if self.pairs.len() == MEMORY {
                    self.pairs.pop_front();
                }
                self.pairs.push_back((step, change));
            }
            self.history.push_back(self.value);
            if self.history.len() > PATIENCE {
                self.history.pop_front();
            }
            (self.c, self.value, self.slope) = (c, value, slope);
            self.n_iterations += 1;
            let before = self.history[0];
            let gained = self.value - before;
            if self.history.len() == PATIENCE && gained <= tolerance * (1.0 - self.value).max(1e-15) {
                self.converged = true;
            }
            if self.n_iterations.is_multiple_of(50) {
                self.c = orthonormalised(self.c.as_ref());
            }
        }
        Ok(())
    }

    /// The matrix it ended at, orthogonal to rounding.
    pub fn rotation(&self) -> Mat<f64> {
        orthonormalised(self.c.as_ref())
    }

    /// H times the slope, H from the pairs (two loops).
    fn direction(&self) -> Vec<f64> {
        let mut q = self.slope.clone();
        let mut shares = Vec::with_capacity(self.pairs.len());
        for (step, change) in self.pairs.iter().rev() {
            let share = dot(step, &q) / dot(step, change);
            q.iter_mut().zip(change).for_each(|(q, y)| *q -= share * y);
            shares.push(share);
        }
        if let Some((step, change)) = self.pairs.back() {
            let scale = dot(step, change) / dot(change, change);
            q.iter_mut().for_each(|q| *q *= scale);
        }
        for ((step, change), share) in self.pairs.iter().zip(shares.iter().rev()) {
            let correction = share - dot(change, &q) / dot(step, change);
            q.iter_mut().zip(step).for_each(|(q, s)| *q += correction * s);
        }
        q
    }

    /// The point, value, slopes and length of a step along `direction`; none where no step gains.
    fn search(
        &self,
        goal: &Goal<'_>,
        direction: &[f64],
        rise: f64,
        first: f64,
    ) -> Option<(Mat<f64>, f64, Vec<f64>, f64)> {
        let (mut low, mut high, mut t) = (0.0, f64::INFINITY, first);
        let mut best = None;
        for _ in 0..TRIALS {
            let c = turned(self.c.as_ref(), direction, t);
            let (value, slope) = goal.at(c.as_ref());
            if !(value >= self.value + GAIN * t * rise) {
                high = t;
            } else {
                let steep = dot(&slope, direction) > SLOPE * rise;
                best = Some((c, value, slope, t));
                if !steep {
                    break;
                }
                low = t;
            }
            t = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * t };
            // Beyond half a turn along the way nothing new comes.
            if t * dot(direction, direction).sqrt() > 1e3 || (high - low) < 1e-3 * high && best.is_some() {
                break;
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::linalg::thin_qr;
    use stereotax_base::stats::rng::Stream;

    fn noise(n: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(3, "ascent tests", index);
        Mat::from_fn(n, n, |_, _| stream.normal())
    }

    #[test]
    fn slopes_are_differences_of_the_value() {
        let (a, b, l) = (noise(5, 0), noise(5, 1), noise(5, 2));
        let goal = Goal { a: a.as_ref(), b: b.as_ref(), linear: Some(l.as_ref()) };
        let c = thin_qr(noise(5, 3).as_ref()).0;
        let (value, slope) = goal.at(c.as_ref());
        assert!((value - goal.value(c.as_ref())).abs() < 1e-12);
        for k in 0..slope.len() {
            let mut omega = vec![0.0; slope.len()];
            omega[k] = 1.0;
            let step = |t: f64| goal.value(turned(c.as_ref(), &omega, t).as_ref());
            let difference = (step(1e-5) - step(-1e-5)) / 2e-5;
            assert!((difference - slope[k]).abs() < 1e-7 * slope[k].abs().max(1.0), "{k}");
        }
    }

    #[test]
    fn a_climb_never_falls_and_stays_orthogonal_in_its_component() {
        let (a, b) = (noise(8, 4), noise(8, 5));
        let (a, b) = (&a * (1.0 / a.norm_l2()), &b * (1.0 / b.norm_l2()));
        let goal = Goal { a: a.as_ref(), b: b.as_ref(), linear: None };
        let c = thin_qr(noise(8, 6).as_ref()).0;
        let side = c.determinant().signum();
        let mut climb = Climb::new(&goal, c);
        let mut value = climb.value;
        for _ in 0..200 {
            climb.advance(&goal, 1, 1e-9, &Monitor::silent()).unwrap();
            assert!(climb.value >= value);
            value = climb.value;
        }
        assert!(climb.converged);
        let c = climb.rotation();
        assert!((cross(c.as_ref(), c.as_ref()) - Mat::<f64>::identity(8, 8)).norm_max() < 1e-14);
        assert!((c.determinant() - side).abs() < 1e-12);
        assert!((goal.value(c.as_ref()) - value).abs() < 1e-13);
        assert!(goal.at(c.as_ref()).1.iter().all(|g| g.abs() < 1e-4));
    }
}
