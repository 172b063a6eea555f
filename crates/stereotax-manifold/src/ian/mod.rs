//! Find each point's own neighbourhood: iterated adaptive neighbourhoods (IAN), from the Gabriel graph to a kernel.
//!
//! ```text
//! graph     Gabriel's, pruned
//! σ         Σ σ least with σ_i σ_j ≥ (C e_ij)² on all edges               (`scales`)
//! δ′_i      [Σ_j exp(−d_ij²/σ_i²) / m_i] / (√π/2)^{log₂ m_i}               m_i = max(2, degree)
//! C         such that the median of δ′ is 1 ± 0.1                          (bisection, at most 20 steps)
//! prune     points with outlying δ′ lose the edge to their furthest neighbour, the worst tenth first, and again
//! K_ij      exp(−d_ij²/(σ_i σ_j)), K_ii = 1, without entries below 10⁻⁸    C tuned once more, on the rows of K
//! ```
//!
//! δ′ is 1 where a point's neighbourhood holds as much as its degree says, and large where edges bridge gaps. A point
//! that loses its last edge is disconnected: it has no σ and no row in K, and is listed. K is not restricted to edges,
//! and need not be positive semidefinite.
//!
//! Source: Dyballa & Zucker 2023; specs: encoding-manifolds 2. Differs from the reference: double precision for the
//! graph, our own solver, no prompt (what does not converge says so). Discrete pruning lets small differences grow, so
//! compare graphs by shared edges. Cost: O(N²) memory (8 N² bytes) and per step of pruning the programs of the scales;
//! 5,000 points are a practical limit.

mod dimension;
mod gabriel;
mod scales;

pub use dimension::LocalDimension;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use scales::Edge;
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::graph::{Rows, Sparse};
use stereotax_base::stats::summary::{check_finite, median, normal_quantile, quantile};

/// Choices of the neighbourhoods.
#[derive(Debug, Clone, PartialEq)]
pub struct IanParams {
    /// C in (0, 1]; `None` (the default) tunes it.
    pub c: Option<f64>,
    /// Share of the flagged points that lose an edge in one step. Default 0.1; at least one point does.
    pub max_prune: f64,
    /// How many robust standard deviations make δ′ outlying. Default 4.5.
    pub n_sd: f64,
    /// Steps of pruning. Default 500.
    pub max_steps: usize,
    /// Hops of the local dimension. Default 2; 0 leaves it out.
    pub hops: usize,
}

impl Default for IanParams {
    fn default() -> Self {
        IanParams { c: None, max_prune: 0.1, n_sd: 4.5, max_steps: 500, hops: 2 }
    }
}

/// One step of pruning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IanStep {
    /// C.
    pub c: f64,
    /// Median of δ′.
    pub median: f64,
    /// δ′ above this was flagged.
    pub threshold: f64,
    /// Edges taken away.
    pub n_removed: usize,
}

/// A point that lost its last edge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Disconnected {
    /// The point.
    pub point: usize,
    /// σ before that, in units of distance.
    pub last_scale: f64,
    /// Where its last edge led.
    pub last_neighbour: usize,
}

/// Neighbourhoods, and the kernel that they make.
#[derive(Debug, Clone)]
pub struct Ian {
    /// Edges that are left, i < j.
    pub edges: Vec<[usize; 2]>,
    /// How many the Gabriel graph had.
    pub n_gabriel: usize,
    /// K; rows of disconnected points are empty.
    pub kernel: Sparse,
    /// σ, units of distance; 0 of disconnected points.
    pub scales: Vec<f64>,
    /// δ′ of the kernel; NaN of disconnected points.
    pub ratios: Vec<f64>,
    /// The C of the kernel.
    pub c: f64,
    /// In the order in which they came off.
    pub disconnected: Vec<Disconnected>,
    /// Connected part of each point in K, by first points; disconnected points are parts of their own.
    pub components: Vec<usize>,
    /// Parts of two points or more; above 1 the diffusion map has as many eigenvalues 1.
    pub n_parts: usize,
    /// Steps of pruning.
    pub history: Vec<IanStep>,
    /// Whether pruning ended because nothing was outlying.
    pub converged: bool,
    /// Local dimension; `None` where `hops` is 0.
    pub dimension: Option<LocalDimension>,
}

/// Neighbourhoods of the rows of `points` (n_points × n_coordinates).
///
/// Errors: fewer than 3 points, two equal points (they are named), settings outside their ranges.
pub fn ian(points: MatRef<f64>, params: &IanParams, monitor: &Monitor<'_>) -> Result<Ian> {
    check_finite("points", points)?;
    let n = points.nrows();
    let rows = Rows::of(points);
    let mut squared = vec![0.0; n * n];
    squared.par_chunks_mut(n.max(1)).enumerate().for_each(|(i, row)| {
        row.iter_mut().enumerate().for_each(|(j, d)| *d = rows.squared_distance(i, j));
    });
    of_squared(squared, n, params, monitor)
}

/// Neighbourhoods of points of which distances are known (n_points × n_points, symmetric, not squared).
///
/// Errors: as [`ian`]; a matrix that is not square or not symmetric, distances below 0.
pub fn ian_of_distances(distances: MatRef<f64>, params: &IanParams, monitor: &Monitor<'_>) -> Result<Ian> {
    let checked = stereotax_base::stats::distance::Distances::new(distances.to_owned())?;
    let n = checked.n_objects();
    let squared = (0..n * n).map(|at| checked.matrix()[(at / n, at % n)].powi(2)).collect();
    of_squared(squared, n, params, monitor)
}

fn of_squared(squared: Vec<f64>, n: usize, params: &IanParams, monitor: &Monitor<'_>) -> Result<Ian> {
    if n < 3 {
        return Err(Error::TooFew {
            what: "points".into(),
            needed: "3".into(),
            found: n.to_string(),
            hint: "neighbourhoods need some points; hundreds are usual".into(),
        });
    }
    if params.c.is_some_and(|c| !(c > 0.0 && c <= 1.0))
        || !(params.max_prune > 0.0 && params.max_prune <= 1.0)
        || !(params.n_sd > 0.0)
    {
        return Err(Error::Invalid {
            what: "c, max_prune and n_sd".into(),
            expected: "C and a share above 0 up to 1, and standard deviations above 0".into(),
            found: format!("{:?}, {} and {}", params.c, params.max_prune, params.n_sd),
            hint: "leave C out to have it tuned; 0.1 and 4.5 are the reference's".into(),
        });
    }
    let equal =
        (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).find(|&(i, j)| !(squared[i * n + j] > 0.0));
    if let Some((i, j)) = equal {
        return Err(Error::Invalid {
            what: "points".into(),
            expected: "points that differ".into(),
            found: format!("points {i} and {j} are equal"),
            hint: "keep one of each set of equal points (silent units are all alike)".into(),
        });
    }
    let gabriel = gabriel::gabriel(&squared, n, monitor)?;
    let n_gabriel = gabriel.iter().map(Vec::len).sum::<usize>() / 2;
    let mut state =
        State { squared, n, near: gabriel, params: params.clone(), c: 0.0, scales: vec![], ratios: vec![] };
    state.c = params.c.unwrap_or_else(|| state.first_c());
    let (mut history, mut disconnected, mut converged) = (vec![], vec![], false);
    for step in 0..params.max_steps {
        state.solve(false, 1e-6, monitor)?;
        let mu = state.middle();
        if params.c.is_none() && (step == 0 || (mu - 1.0).abs() > 0.1) {
            state.tune(false, monitor)?;
        }
        let (threshold, flagged) = state.outlying();
        let removed = state.prune(&flagged, &mut disconnected);
        history.push(IanStep { c: state.c, median: state.middle(), threshold, n_removed: removed });
        if removed == 0 {
            converged = true;
            break;
        }
    }
    state.solve(true, 1e-8, monitor)?;
    if params.c.is_none() {
        state.tune(true, monitor)?;
        state.solve(true, 1e-8, monitor)?;
    }
    let kernel = state.kernel()?;
    let components = kernel.components();
    let mut sizes = vec![0; n];
    components.iter().for_each(|&part| sizes[part] += 1);
    let edges = state.edges().iter().map(|e| [e.i, e.j]).collect();
    let dimension = (params.hops > 0).then(|| dimension::local(&state.squared, &state.near, params.hops));
    Ok(Ian {
        edges,
        n_gabriel,
        kernel,
        ratios: state.ratios.iter().map(|&r| if r > 0.0 { r } else { f64::NAN }).collect(),
        scales: state.scales,
        c: state.c,
        disconnected,
        n_parts: sizes.iter().filter(|size| **size > 1).count(),
        components,
        history,
        converged,
        dimension,
    })
}

/// What pruning works on.
struct State {
    squared: Vec<f64>,
    n: usize,
    near: Vec<Vec<usize>>,
    params: IanParams,
    c: f64,
    scales: Vec<f64>,
    ratios: Vec<f64>,
}

impl State {
    fn distance(&self, i: usize, j: usize) -> f64 {
        self.squared[i * self.n + j].sqrt()
    }

    /// The furthest neighbour; of equals the larger index.
    fn furthest(&self, i: usize) -> Option<usize> {
        let key = |j: usize| self.squared[i * self.n + j];
        self.near[i].iter().copied().max_by(|&a, &b| key(a).total_cmp(&key(b)).then(a.cmp(&b)))
    }

    fn edges(&self) -> Vec<Edge> {
        let of = |i: usize| self.near[i].iter().filter(move |&&j| j > i).map(move |&j| (i, j));
        (0..self.n).flat_map(of).map(|(i, j)| Edge { i, j, length: self.distance(i, j) }).collect()
    }

    /// median_i (distance to the median neighbour / distance to the furthest), within 0.55 and 0.95.
    fn first_c(&self) -> f64 {
        let shares: Vec<f64> = (0..self.n)
            .filter(|&i| !self.near[i].is_empty())
            .map(|i| {
                let mut lengths: Vec<f64> = self.near[i].iter().map(|&j| self.distance(i, j)).collect();
                lengths.sort_by(f64::total_cmp);
                let degree = lengths.len();
                let at = (degree - 1).min(degree.div_ceil(2).saturating_sub(1).max(1));
                lengths[at] / lengths[degree - 1]
            })
            .collect();
        median(&shares).clamp(0.55, 0.95)
    }

    /// σ and δ′ for the graph and C as they are. `weighted`: δ′ of the kernel.
    fn solve(&mut self, weighted: bool, tolerance: f64, monitor: &Monitor<'_>) -> Result<()> {
        let u: Vec<f64> =
            (0..self.n).map(|i| self.furthest(i).map_or(0.0, |j| self.distance(i, j))).collect();
        self.scales = scales::scales(self.n, &self.edges(), &u, self.c, tolerance, monitor)?;
        let sigma = &self.scales;
        self.ratios = (0..self.n)
            .into_par_iter()
            .map(|i| {
                if sigma[i] == 0.0 {
                    return 0.0;
                }
                let row = &self.squared[i * self.n..(i + 1) * self.n];
                let by = |j: usize| if weighted { sigma[i] * sigma[j] } else { sigma[i] * sigma[i] };
                let sum: f64 = row
                    .iter()
                    .enumerate()
                    .map(|(j, d)| if i == j { 1.0 } else { (-d / by(j)).exp() })
                    .filter(|value| !weighted || *value >= SMALLEST)
                    .sum();
                ratio(sum, self.near[i].len())
            })
            .collect();
        Ok(())
    }

    fn positive(&self) -> Vec<f64> {
        self.ratios.iter().copied().filter(|r| *r > 0.0).collect()
    }

    fn middle(&self) -> f64 {
        median(&self.positive())
    }

    /// Bisect C until the median of δ′ is 1 within 0.1, or C is at an end.
    fn tune(&mut self, weighted: bool, monitor: &Monitor<'_>) -> Result<()> {
        let (mut low, mut high) = (self.c.min(0.5), self.c.max(1.0));
        for _ in 0..20 {
            let mu = self.middle();
            let at_low = mu > 1.1 && (self.c - low).abs() < 1e-6;
            let at_high = mu < 0.9 && (high - self.c).abs() < 1e-6;
            if (mu - 1.0).abs() <= 0.1 || at_low || at_high || mu.is_nan() {
                break;
            }
            if mu > 1.0 {
                high = self.c
            } else {
                low = self.c
            }
            self.c = 0.5 * (low + high);
            self.solve(weighted, 1e-6, monitor)?;
        }
        Ok(())
    }

    /// The threshold, and what lies above it, worst first (of equals the larger index).
    fn outlying(&self) -> (f64, Vec<usize>) {
        let positive = self.positive();
        let n = positive.len() as f64;
        let mu = median(&positive);
        let [q1, q2, q3] = [0.25, 0.5, 0.75].map(|share| quantile(&positive, share));
        // Mean and standard deviation from quartiles (Wan et al. 2014, their C3).
        let centre = 0.333 * (q1 + q2 + q3);
        let sd = (q3 - q1) / (2.0 * normal_quantile((0.75 * n - 0.125) / (n + 0.25)));
        let mut threshold = (centre + self.params.n_sd * sd).max(2.75);
        let most = 5.0 - (mu - 1.0);
        if most < threshold && positive.iter().all(|r| *r <= threshold) {
            threshold = most;
        }
        let mut order: Vec<usize> = (0..self.n).filter(|&i| self.ratios[i] > 0.0).collect();
        order.sort_by(|&a, &b| self.ratios[b].total_cmp(&self.ratios[a]).then(b.cmp(&a)));
        let mut flagged = order.iter().take_while(|&&i| self.ratios[i] > threshold).count();
        if mu - 1.0 > 0.1 {
            let good = positive.iter().filter(|r| **r < 1.1).count();
            flagged = flagged.max(positive.len().saturating_sub(2 * good));
        }
        order.truncate(flagged);
        (threshold, order)
    }

    /// Take the longest edges of the worst points away; how many.
    fn prune(&mut self, flagged: &[usize], disconnected: &mut Vec<Disconnected>) -> usize {
        let most = ((self.params.max_prune * flagged.len() as f64) as usize).max(1);
        let mut touched = vec![false; self.n];
        let mut removed = 0;
        for &i in flagged.iter().take(most) {
            let Some(j) = self.furthest(i) else { continue };
            if touched[i] || touched[j] {
                continue;
            }
            (touched[i], touched[j]) = (true, true);
            removed += 1;
            for (from, to) in [(i, j), (j, i)] {
                self.near[from].retain(|&k| k != to);
                if self.near[from].is_empty() {
                    disconnected.push(Disconnected {
                        point: from,
                        last_scale: self.scales[from],
                        last_neighbour: to,
                    });
                }
            }
        }
        removed
    }

    fn kernel(&self) -> Result<Sparse> {
        let row = |i: usize| -> Vec<(usize, f64)> {
            if self.scales[i] == 0.0 {
                return vec![];
            }
            let entry = |j: usize| {
                if i == j {
                    1.0
                } else {
                    (-self.squared[i * self.n + j] / (self.scales[i] * self.scales[j])).exp()
                }
            };
            (0..self.n)
                .filter(|&j| self.scales[j] > 0.0)
                .map(|j| (j, entry(j)))
                .filter(|e| e.1 >= SMALLEST)
                .collect()
        };
        Sparse::from_rows((0..self.n).into_par_iter().map(row).collect())
    }
}

/// Entries of the kernel below this are left out.
const SMALLEST: f64 = 1e-8;

/// δ′ from the sum of a row and the degree.
fn ratio(sum: f64, degree: usize) -> f64 {
    let m = degree.max(2) as f64;
    sum / m / (std::f64::consts::PI.sqrt() / 2.0).powf(m.log2())
}

/// The kernel row of each new point (new × points): its σ is C times the distance to the nearest point that has one,
/// a rule of thumb; entries below 10⁻⁸ are 0.
///
/// Errors: other coordinates, values that are not finite.
pub fn ian_extend(ian: &Ian, points: MatRef<f64>, new: MatRef<f64>) -> Result<Mat<f64>> {
    check_finite("points", new)?;
    if new.ncols() != points.ncols() || points.nrows() != ian.scales.len() {
        return Err(Error::Shape {
            what: "points".into(),
            expected: format!("{} coordinates (as in fit)", points.ncols()),
            found: format!("{} coordinates", new.ncols()),
            hint: "give the same features in the same order".into(),
        });
    }
    let (rows, fresh) = (Rows::of(points), Rows::of(new));
    let mut out = Mat::zeros(new.nrows(), points.nrows());
    for i in 0..new.nrows() {
        let squared: Vec<f64> = (0..points.nrows())
            .map(|j| stereotax_base::graph::squared_between(fresh.row(i), rows.row(j)))
            .collect();
        let known = (0..points.nrows()).filter(|&j| ian.scales[j] > 0.0);
        let Some(nearest) = known.clone().min_by(|&a, &b| squared[a].total_cmp(&squared[b])) else {
            continue;
        };
        // On a point of the fit, its own scale.
        let scale =
            if squared[nearest] == 0.0 { ian.scales[nearest] } else { ian.c * squared[nearest].sqrt() };
        for j in known {
            let value = (-squared[j] / (scale * ian.scales[j])).exp();
            out[(i, j)] = if value >= SMALLEST { value } else { 0.0 };
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DiffusionParams, diffusion_map};
    use stereotax_base::stats::rng::Stream;

    fn silent() -> Monitor<'static> {
        Monitor::silent()
    }

    #[test]
    fn lattices_and_pairs_have_the_ratios_of_theory() {
        // Infinite lattices with σ = 1: sums of exp(−k²).
        let line: f64 = (-30i32..=30).map(|k| f64::from(-k * k).exp()).sum();
        assert!((ratio(line, 2) - 1.0001).abs() < 5e-5 && (ratio(line * line, 4) - 1.0002).abs() < 5e-5);
        for (c, expected) in [(0.55f64, 0.5849), (0.95, 0.7505), (1.0, 0.7717)] {
            assert!((ratio(1.0 + (-1.0 / (c * c)).exp(), 1) - expected).abs() < 5e-5);
        }
    }

    #[test]
    fn a_circle_keeps_its_ring_and_becomes_a_circle_again() {
        let n = 80;
        let turn = 2.0 * std::f64::consts::PI / n as f64;
        let x =
            Mat::from_fn(n, 2, |i, j| if j == 0 { (turn * i as f64).cos() } else { (turn * i as f64).sin() });
        let found = ian(x.as_ref(), &IanParams::default(), &silent()).unwrap();
        assert!(found.converged && found.disconnected.is_empty() && found.n_parts == 1);
        assert_eq!(found.edges.len(), n);
        assert!(found.edges.iter().all(|[i, j]| (j - i) % (n - 2) == 1), "{:?}", found.edges);
        let d = found.dimension.clone().unwrap();
        assert!((d.mean - 1.0).abs() < 0.3, "{}", d.mean);
        // Scale: σ grows with the points.
        let wide = Mat::from_fn(n, 2, |i, j| 1e3 * x[(i, j)]);
        let other = ian(wide.as_ref(), &IanParams::default(), &silent()).unwrap();
        assert!((other.scales[3] / found.scales[3] / 1e3 - 1.0).abs() < 1e-4);
        let map = diffusion_map(
            &found.kernel,
            &DiffusionParams { n_components: 2, ..DiffusionParams::default() },
            &silent(),
        )
        .unwrap();
        let radius: Vec<f64> =
            (0..n).map(|i| map.coordinates[(i, 0)].hypot(map.coordinates[(i, 1)])).collect();
        assert!(radius.iter().all(|r| (r / radius[0] - 1.0).abs() < 0.02));
        // A point of the fit gets its own row.
        let again = ian_extend(&found, x.as_ref(), x.as_ref()).unwrap();
        assert!((again - found.kernel.to_dense()).norm_max() < 1e-9);
    }

    #[test]
    fn two_clouds_fall_apart_and_a_rolled_sheet_has_two_dimensions() {
        let mut stream = Stream::new(8, "ian", 0);
        let clouds = Mat::from_fn(160, 2, |i, j| 40.0 * (i % 2 * (1 - j)) as f64 + stream.normal());
        let found = ian(clouds.as_ref(), &IanParams::default(), &silent()).unwrap();
        assert!(found.converged);
        let crossing = found.edges.iter().filter(|[i, j]| i % 2 != j % 2).count();
        assert_eq!(crossing, 0, "{:?}", found.history);
        assert!(found.n_parts >= 2);

        let roll = Mat::from_fn(500, 3, |i, j| {
            let mut own = Stream::new(1, "rolled", i as u64);
            let (a, b) = (own.uniform(), own.uniform());
            let t = 1.5 * std::f64::consts::PI * (1.0 + 2.0 * a);
            [t * t.cos(), 21.0 * b, t * t.sin()][j]
        });
        let found = ian(roll.as_ref(), &IanParams::default(), &silent()).unwrap();
        assert!(found.converged && found.edges.len() < found.n_gabriel);
        let d = found.dimension.clone().unwrap();
        assert!((1.6..3.0).contains(&d.mean), "{}", d.mean);
        let (low, high) = found.history.iter().fold((f64::MAX, 0f64), |(a, b), s| (a.min(s.c), b.max(s.c)));
        assert!(low >= 0.5 && high <= 1.0);
        assert!((median(&found.ratios) - 1.0).abs() < 0.15, "{}", median(&found.ratios));
    }

    #[test]
    fn rotation_and_order_change_nothing_that_matters_and_equal_points_are_named() {
        let mut stream = Stream::new(9, "ian", 1);
        let x = Mat::from_fn(90, 3, |_, _| stream.normal());
        let turn = stereotax_base::linalg::thin_qr(Mat::from_fn(3, 3, |_, _| stream.normal()).as_ref()).0;
        let moved = stereotax_base::linalg::product(x.as_ref(), turn.as_ref());
        let params = IanParams { hops: 0, ..IanParams::default() };
        let (a, b) =
            (ian(x.as_ref(), &params, &silent()).unwrap(), ian(moved.as_ref(), &params, &silent()).unwrap());
        assert_eq!(a.edges, b.edges);
        let order: Vec<usize> = (0..90).rev().collect();
        let turned = stereotax_base::linalg::select_rows(x.as_ref(), &order);
        let c = ian(turned.as_ref(), &params, &silent()).unwrap();
        let mut back: Vec<[usize; 2]> = c.edges.iter().map(|[i, j]| [89 - j, 89 - i]).collect();
        back.sort_unstable();
        assert_eq!(a.edges, back);
        let distances = Mat::from_fn(90, 90, |i, j| Rows::of(x.as_ref()).squared_distance(i, j).sqrt());
        assert_eq!(ian_of_distances(distances.as_ref(), &params, &silent()).unwrap().edges, a.edges);
        let mut twice = x.clone();
        (0..3).for_each(|j| twice[(7, j)] = x[(3, j)]);
        let refused = ian(twice.as_ref(), &params, &silent()).unwrap_err().to_string();
        assert!(refused.contains("3 and 7 are equal"), "{refused}");
        let fixed = IanParams { c: Some(1.5), ..params };
        assert!(ian(x.as_ref(), &fixed, &silent()).is_err());
    }
}
