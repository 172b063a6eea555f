//! The best rotation between two linear systems (Procrustes analysis over vector fields).
//!
//! ```text
//! cos θ = max_C ⟨A, C B Cᵀ⟩ / (‖A‖ ‖B‖)      C ∈ O(n), both determinants; ⟨X, Y⟩ = Σ x_ij y_ij
//! angular    θ ∈ [0, π], as 2 asin(‖A/‖A‖ − C B Cᵀ/‖B‖‖ / 2), which keeps its digits near 0
//! euclidean  min_C ‖A − C B Cᵀ‖_F, not squared; the same C
//! ```
//!
//! Both are 0 for systems that differ by an orthogonal change of coordinates, and symmetric; with the global
//! maximum both are metrics on systems of one size. The maximum is not concave, so many climbs ([`super::ascent`])
//! are begun: from the identity, from matched eigenvectors and symmetric parts, and from Haar draws, each in both
//! components of O(n). All go some steps, the better ones further, the best to the end. What is above every
//! possible value ([`Alignment::bound`]) is reported; where the value reaches it, the search ends at once.
//!
//! Systems of different sizes: the smaller one is padded with zeros (directions that vanish in one step), or
//! refused; [`super::transport`] compares eigenvalues instead.
//! For normal A and B (A Aᵀ = Aᵀ A), n min Σ|λ − μ|² over pairings is a lower bound of the squared Euclidean
//! distance (Hoffman & Wielandt 1953). It is reached by a unitary C always, by an orthogonal one if conjugate
//! pairs are paired with conjugate pairs or reals in a way that respects conjugation.
//!
//! Source: Ostrow et al. 2023; specs: encoding-manifolds 6.6, nfas-dmd 14. Differs from DSA: its Adam takes
//! 1500 steps from two starts and keeps no account of others. Cost: O(n³) per step; about 1000 steps.

use faer::{Mat, MatRef};

use super::ascent::{Climb, Goal};
use super::starts::{Spectrum, haar, matched, reflected};
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::linalg::{cross, product, schur};
use stereotax_base::stats::summary::check_finite;

/// Steps of every climb, of the better quarter, and of the best few before the last ones run to the end.
const FIRST: usize = 5;
const SECOND: usize = 20;
/// How many reach the second stage at least, and how many the last.
const QUARTER: usize = 6;
const LAST: usize = 2;
/// Up to this size all climbs run to the end.
const SMALL: usize = 8;
/// Values that agree within this are one maximum.
const SAME: f64 = 1e-6;

/// What to do with systems of different sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unequal {
    /// Add rows and columns of zeros to the smaller operator (default).
    #[default]
    Pad,
    /// An error.
    Refuse,
}

/// How the rotation is sought.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AlignmentParams {
    /// Haar starts in each component of O(n) (default 10).
    pub n_random: usize,
    /// Most steps of a climb (default 1000).
    pub max_iterations: usize,
    /// A climb ends where six steps lower the squared distance by less than this share of it (default 1e-7).
    pub tolerance: f64,
    /// Systems of different sizes.
    pub unequal: Unequal,
    /// Seed of the Haar starts.
    pub seed: u64,
}

impl Default for AlignmentParams {
    fn default() -> Self {
        AlignmentParams {
            n_random: 10,
            max_iterations: 1000,
            tolerance: 1e-7,
            unequal: Unequal::Pad,
            seed: 0,
        }
    }
}

/// How two systems lie to one another under the best rotation found.
#[derive(Debug, Clone)]
pub struct Alignment {
    /// θ in [0, π], radians; NaN if an operator is 0.
    pub angle: f64,
    /// ‖A − C B Cᵀ‖_F ≥ 0.
    pub euclidean: f64,
    /// cos θ.
    pub cosine: f64,
    /// No rotation gives a cosine above this. Near it, the maximum is known to be global.
    pub bound: f64,
    /// C (n × n), such that A ≈ C B Cᵀ.
    pub rotation: Mat<f64>,
    /// +1 or −1.
    pub determinant: f64,
    /// Climbs begun.
    pub n_starts: usize,
    /// Cosines of the climbs that ran to their end, descending: how far apart the local maxima lie.
    pub maxima: Vec<f64>,
    /// How many of them reached the best within 1e-6.
    pub n_agreeing: usize,
    /// Steps of all climbs.
    pub n_iterations: usize,
    /// Whether the best climb ended by itself.
    pub converged: bool,
}

/// An operator with what every comparison needs of it, computed once.
#[derive(Debug, Clone)]
pub struct Prepared {
    operator: Mat<f64>,
    norm: f64,
    /// The operator of norm 1 in real Schur form, Qᵀ A Q/‖A‖: climbs happen there.
    unit: Mat<f64>,
    /// Q.
    basis: Mat<f64>,
    spectrum: Spectrum,
}

impl Prepared {
    /// Take an operator in (n × n). Errors: not square, empty, not finite.
    pub fn new(operator: MatRef<f64>) -> Result<Self> {
        let n = operator.nrows();
        if n != operator.ncols() || n == 0 {
            return Err(Error::Shape {
                what: "operator".into(),
                expected: "as many columns as rows, and at least one".into(),
                found: format!("{n} × {}", operator.ncols()),
                hint: "an operator takes states to states of the same kind".into(),
            });
        }
        check_finite("operator", operator)?;
        let operator = operator.to_owned();
        let norm = operator.norm_l2();
        let unit = &operator * (if norm > 0.0 { 1.0 / norm } else { 1.0 });
        let form = schur(unit.as_ref())?;
        let spectrum = Spectrum::new(form.t.as_ref())?;
        Ok(Prepared { operator, norm, unit: form.t, basis: form.q, spectrum })
    }

    /// The operator.
    pub fn operator(&self) -> MatRef<'_, f64> {
        self.operator.as_ref()
    }

    /// n.
    pub fn size(&self) -> usize {
        self.operator.nrows()
    }

    /// With rows and columns of zeros up to a size.
    fn padded(&self, size: usize) -> Result<Self> {
        let n = self.size();
        let at = |i: usize, j: usize| if i < n && j < n { self.operator[(i, j)] } else { 0.0 };
        Prepared::new(Mat::from_fn(size, size, at).as_ref())
    }
}

/// The best rotation between two operators (n × n each, or of different sizes).
///
/// Errors: operators that are not square or not finite, sizes that differ where that is refused.
pub fn align(
    a: MatRef<f64>,
    b: MatRef<f64>,
    params: &AlignmentParams,
    monitor: &Monitor<'_>,
) -> Result<Alignment> {
    align_prepared(&Prepared::new(a)?, &Prepared::new(b)?, params, monitor)
}

/// As [`align`], with operators that are prepared.
pub fn align_prepared(
    a: &Prepared,
    b: &Prepared,
    params: &AlignmentParams,
    monitor: &Monitor<'_>,
) -> Result<Alignment> {
    if a.size() != b.size() {
        if params.unequal == Unequal::Refuse {
            return Err(Error::Shape {
                what: "operators".into(),
                expected: format!("rank {} for both", a.size()),
                found: format!("rank {}", b.size()),
                hint: "fit both with one rank, pad with zeros, or compare eigenvalues by transport".into(),
            });
        }
        let size = a.size().max(b.size());
        let (a, b) = (a.padded(size)?, b.padded(size)?);
        return align_prepared(&a, &b, params, monitor);
    }
    if a.norm == 0.0 || b.norm == 0.0 {
        let n = a.size();
        return Ok(Alignment {
            angle: f64::NAN,
            euclidean: a.norm.max(b.norm),
            cosine: f64::NAN,
            bound: f64::NAN,
            rotation: Mat::identity(n, n),
            determinant: 1.0,
            n_starts: 0,
            maxima: Vec::new(),
            n_agreeing: 0,
            n_iterations: 0,
            converged: true,
        });
    }
    let goal = Goal { a: a.unit.as_ref(), b: b.unit.as_ref(), linear: None };
    let bound = a.spectrum.bound(&b.spectrum).min(1.0);
    let search = Search { goal: &goal, bound, params, monitor };
    // The identity, in the coordinates of both forms, and what the systems suggest.
    let mut own = vec![cross(a.basis.as_ref(), b.basis.as_ref())];
    own.extend(matched(&goal, &a.spectrum, &b.spectrum, params.seed)?);
    let found = search.run(own)?;
    Ok(found.alignment(a, b, bound))
}

/// Climbs from many starts.
pub(super) struct Search<'a> {
    pub goal: &'a Goal<'a>,
    pub bound: f64,
    pub params: &'a AlignmentParams,
    pub monitor: &'a Monitor<'a>,
}

/// Where the climbs ended, best first.
pub(super) struct Found {
    pub ended: Vec<Climb>,
    pub n_starts: usize,
    pub n_iterations: usize,
}

impl Search<'_> {
    fn reached(&self, climb: &Climb) -> bool {
        climb.value >= self.bound - 1e-15
    }

    /// Climb from `own` starts, their reflections and Haar draws.
    pub fn run(&self, own: Vec<Mat<f64>>) -> Result<Found> {
        let (goal, params) = (self.goal, self.params);
        let n = goal.a.nrows();
        let mut climbs: Vec<Climb> = own.into_iter().map(|c| Climb::new(goal, c)).collect();
        // What is aligned already needs no search.
        if let Some(at) = (0..climbs.len()).find(|&at| self.reached(&climbs[at])) {
            let mut best = climbs.swap_remove(at);
            best.converged = true;
            return Ok(Found { ended: vec![best], n_starts: climbs.len() + 1, n_iterations: 0 });
        }
        let twins: Vec<Mat<f64>> =
            climbs.iter().map(|climb| reflected(goal, climb.c.as_ref())).collect::<Result<_>>()?;
        climbs.extend(twins.into_iter().map(|c| Climb::new(goal, c)));
        for draw in 0..2 * params.n_random {
            climbs.push(Climb::new(goal, haar(n, draw % 2 == 0, params.seed, draw as u64)));
        }
        let n_starts = climbs.len();
        let mut n_iterations = 0;
        let mut ended: Vec<Climb> = Vec::new();
        let stages = if n <= SMALL {
            vec![(params.max_iterations, climbs.len())]
        } else {
            let quarter = QUARTER.max(climbs.len() / 4);
            vec![(FIRST, climbs.len()), (SECOND, quarter), (params.max_iterations, LAST)]
        };
        for (steps, kept) in stages {
            climbs.sort_by(|x, y| y.value.total_cmp(&x.value));
            climbs.truncate(kept);
            for climb in &mut climbs {
                let before = climb.n_iterations;
                let left = params.max_iterations.saturating_sub(before).min(steps);
                climb.advance(goal, left, params.tolerance, self.monitor)?;
                n_iterations += climb.n_iterations - before;
            }
        }
        ended.append(&mut climbs);
        ended.sort_by(|x, y| y.value.total_cmp(&x.value));
        // From the best one into the other component: what was climbed there may have begun badly.
        if let (Some(best), true) = (ended.first(), n > SMALL) {
            let mut twin = Climb::new(goal, reflected(goal, best.c.as_ref())?);
            twin.advance(goal, SECOND, params.tolerance, self.monitor)?;
            // A reflection returns to the same height or a little below; only a promising one goes on.
            if twin.value > best.value - 1e-3 {
                twin.advance(goal, params.max_iterations, params.tolerance, self.monitor)?;
                n_iterations += twin.n_iterations;
                ended.push(twin);
                ended.sort_by(|x, y| y.value.total_cmp(&x.value));
            }
        }
        Ok(Found { ended, n_starts, n_iterations })
    }
}

impl Found {
    fn alignment(self, a: &Prepared, b: &Prepared, bound: f64) -> Alignment {
        let n = a.size();
        let maxima: Vec<f64> = self.ended.iter().map(|climb| climb.value).collect();
        let best = maxima.first().copied().unwrap_or(f64::NAN);
        let (inner, converged) = self
            .ended
            .first()
            .map_or_else(|| (Mat::identity(n, n), false), |climb| (climb.rotation(), climb.converged));
        let moved = |c: &Mat<f64>, m: MatRef<f64>| product(product(c.as_ref(), m).as_ref(), c.transpose());
        let chord = (&a.unit - moved(&inner, b.unit.as_ref())).norm_l2();
        let rotation = product(product(a.basis.as_ref(), inner.as_ref()).as_ref(), b.basis.transpose());
        Alignment {
            angle: 2.0 * (0.5 * chord).min(1.0).asin(),
            euclidean: (&a.operator - moved(&rotation, b.operator.as_ref())).norm_l2(),
            cosine: 1.0 - 0.5 * chord * chord,
            bound,
            determinant: rotation.determinant().signum(),
            rotation,
            n_starts: self.n_starts,
            n_agreeing: maxima.iter().filter(|value| best - **value <= SAME).count(),
            maxima,
            n_iterations: self.n_iterations,
            converged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsa::transport::eigenvalues;
    use stereotax_base::linalg::assignment;
    use stereotax_base::stats::rng::Stream;

    fn noise(n: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(7, "alignment tests", index);
        Mat::from_fn(n, n, |_, _| stream.normal())
    }

    fn turned(q: &Mat<f64>, a: &Mat<f64>) -> Mat<f64> {
        product(product(q.as_ref(), a.as_ref()).as_ref(), q.transpose())
    }

    fn between(a: &Mat<f64>, b: &Mat<f64>) -> Alignment {
        align(a.as_ref(), b.as_ref(), &AlignmentParams::default(), &Monitor::silent()).unwrap()
    }

    #[test]
    fn the_same_system_in_other_coordinates_is_at_no_distance() {
        for (n, index) in [(1, 0), (2, 1), (3, 2), (7, 3), (20, 4), (45, 5)] {
            let a = noise(n, index);
            let same = between(&a, &a);
            assert!(same.angle < 1e-10 && same.euclidean < 1e-10, "{n}: {}", same.angle);
            for positive in [true, false] {
                let q = haar(n, positive, 1, index);
                let found = between(&a, &turned(&q, &a));
                assert!(found.angle < 1e-8, "{n} {positive}: {}", found.angle);
                assert!(found.euclidean < 1e-8 * a.norm_l2() && found.bound >= found.cosine - 1e-12);
            }
        }
    }

    #[test]
    fn two_by_two_against_all_angles_and_both_components() {
        for index in 0..12 {
            let (a, b) = (noise(2, 20 + index), noise(2, 40 + index));
            let mut best = f64::NEG_INFINITY;
            for step in 0..40_000 {
                let (s, c) = (std::f64::consts::TAU * f64::from(step) / 40_000.0).sin_cos();
                for side in [1.0, -1.0] {
                    let q = Mat::from_fn(2, 2, |i, j| [[c, -s * side], [s, c * side]][i][j]);
                    let m = turned(&q, &b);
                    best = best.max(crate::dsa::ascent::inner(a.as_ref(), m.as_ref()));
                }
            }
            let best = best / (a.norm_l2() * b.norm_l2());
            let found = between(&a, &b);
            assert!((found.cosine - best).abs() < 1e-7, "{}: {} {best}", index, found.cosine);
            assert!((found.angle - best.acos()).abs() < 1e-6);
            let squared =
                a.norm_l2().powi(2) + b.norm_l2().powi(2) - 2.0 * found.cosine * a.norm_l2() * b.norm_l2();
            assert!((found.euclidean.powi(2) - squared).abs() < 1e-10);
        }
    }

    #[test]
    fn normal_systems_are_as_far_apart_as_their_eigenvalues() {
        // Rotations with rates, in other coordinates: pairs only, so an orthogonal C reaches the bound.
        let normal = |rates: &[(f64, f64)], index: u64| {
            let n = 2 * rates.len();
            let blocks = Mat::from_fn(n, n, |i, j| {
                let (size, angle) = rates[i / 2];
                match (i / 2 == j / 2, i % 2, j % 2) {
                    (false, _, _) => 0.0,
                    (_, 0, 1) => -size * angle.sin(),
                    (_, 1, 0) => size * angle.sin(),
                    _ => size * angle.cos(),
                }
            });
            turned(&haar(n, true, 3, index), &blocks)
        };
        let a = normal(&[(0.95, 0.3), (0.9, 0.9), (0.7, 1.4), (0.5, 2.5), (0.8, 0.1)], 0);
        let b = normal(&[(0.9, 0.5), (0.97, 0.2), (0.6, 1.1), (0.9, 2.0), (0.7, 0.3)], 1);
        let (x, y) = (eigenvalues(a.as_ref()).unwrap(), eigenvalues(b.as_ref()).unwrap());
        let cost = Mat::from_fn(10, 10, |i, j| (x[i] - y[j]).norm_sqr());
        let least: f64 = assignment(cost.as_ref()).iter().enumerate().map(|(i, &j)| cost[(i, j)]).sum();
        let found = between(&a, &b);
        assert!((found.euclidean.powi(2) - least).abs() < 1e-8, "{} {least}", found.euclidean.powi(2));
        // Symmetric systems: their eigenvalues in order.
        let (s, t) = (noise(6, 90), noise(6, 91));
        let (s, t) = (&s + s.transpose(), &t + t.transpose());
        let found = between(&s.to_owned(), &t.to_owned());
        assert!((found.cosine - found.bound).abs() < 1e-10);
    }

    #[test]
    fn more_starts_find_nothing_better_and_components_differ() {
        let (a, b) = (noise(12, 60), noise(12, 61));
        let few = between(&a, &b);
        let params = AlignmentParams { n_random: 150, seed: 5, ..AlignmentParams::default() };
        let many = align(a.as_ref(), b.as_ref(), &params, &Monitor::silent()).unwrap();
        assert!(many.cosine >= few.cosine - 1e-9, "{} {}", many.cosine, few.cosine);
        assert!(many.cosine - few.cosine < 0.02, "{} {}", many.cosine, few.cosine);
        assert!(few.maxima.windows(2).all(|w| w[0] >= w[1]) && few.n_agreeing >= 1);
        let mirrored = between(&b, &a);
        assert!((mirrored.angle - few.angle).abs() < 0.02);
    }

    #[test]
    fn sizes_that_differ_are_padded_or_refused() {
        let a = Mat::from_fn(3, 3, |i, j| if i == j { [0.9, 0.5, 0.0][i] } else { 0.0 });
        let b = Mat::from_fn(2, 2, |i, j| if i == j { [0.5, 0.9][i] } else { 0.0 });
        assert!(between(&a, &b).angle < 1e-8);
        let params = AlignmentParams { unequal: Unequal::Refuse, ..AlignmentParams::default() };
        let refused = align(a.as_ref(), b.as_ref(), &params, &Monitor::silent()).unwrap_err();
        assert!(refused.to_string().contains("transport"));
        assert!(between(&Mat::zeros(2, 2), &b).angle.is_nan());
        assert!(Prepared::new(Mat::zeros(2, 3).as_ref()).is_err());
    }
}
