//! Map points so that their distances are those of a random walk between them, and place new points there.
//!
//! Of a symmetric kernel K ≥ 0 between N points,
//!
//! ```text
//! q = K 1,  K_α = K_ij / (q_i q_j)^α,  d = K_α 1          α = 1: the density of points is divided out
//! M = K_ij^(α) / √(d_i d_j) = U Λ Uᵀ                       1 = λ₀ ≥ λ₁ ≥ …, by value, not by modulus
//! ψ_k = u_k / √d,  Ψ_k(i) = λ_k^t ψ_k(i)                   k = 1 …; or ψ_k / √(1 − λ_k), of commute times
//! ψ_k(x) = Σ_i p(x, i) ψ_k(i) / λ_k                        of a new point (Nyström), p its walk into the points
//! D_t(i, j)² = Σ_k (Ψ_k(i) − Ψ_k(j))²
//! ```
//!
//! A kernel of several connected parts has the eigenvalue 1 once for each: these coordinates tell parts apart, come
//! first, and `components` names the parts. Points that no other is connected with have no coordinates (NaN) and are
//! listed.
//!
//! Source: Coifman & Lafon 2006; specs: encoding-manifolds 3. Differs from the reference inside IAN, which takes
//! singular values, so that a large negative eigenvalue would lead. Cost: dense O(N³) up to 1,500 points; beyond, some
//! hundred products with the kernel and O(N n²) for n coordinates.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::graph::{Sparse, nearest, squared_between};
use stereotax_base::linalg::{Eigh, add_product, cross, eigh_largest, eigh_leading};
use stereotax_base::stats::summary::{check_finite, median};

/// Points up to which the dense decomposition is taken.
const DENSE: usize = 1500;

/// How far the walk goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Time {
    /// λ^t, t ≥ 0.
    Steps(f64),
    /// 1/√(1 − λ): all times at once. (The reference calls it t = 0.) Parts of a disconnected kernel are infinitely
    /// far from one another, and their coordinates infinite.
    Commute,
}

/// Length of the coordinates before λ^t.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// Σ_i d_i ψ(i)² = 1.
    #[default]
    Reference,
    /// Σ_i π_i ψ(i)² = 1 with π = d/Σd: of the paper, and so for any number of points.
    Stationary,
    /// Σ_i ψ(i)² = 1.
    Unit,
}

/// Choices of a diffusion map.
#[derive(Debug, Clone, PartialEq)]
pub struct DiffusionParams {
    /// Coordinates, without the constant one. Default 20.
    pub n_components: usize,
    /// α from 0 to 1. Default 1.
    pub alpha: f64,
    /// Default one step.
    pub time: Time,
    /// Default `Reference`.
    pub norm: Norm,
    /// Seed of the first vectors of the iteration, which show in degenerate eigenvectors only. Default 0.
    pub seed: u64,
}

impl Default for DiffusionParams {
    fn default() -> Self {
        DiffusionParams {
            n_components: 20,
            alpha: 1.0,
            time: Time::Steps(1.0),
            norm: Norm::default(),
            seed: 0,
        }
    }
}

/// A diffusion map, and what placing new points takes.
#[derive(Debug, Clone)]
pub struct DiffusionMap {
    /// λ₁ ≥ λ₂ ≥ …, without the trivial λ₀ = 1.
    pub eigenvalues: Vec<f64>,
    /// Ψ, points × coordinates; NaN of points left out.
    pub coordinates: Mat<f64>,
    /// Connected part of each point, numbered by first points; `usize::MAX` of points left out.
    pub components: Vec<usize>,
    /// How many parts; 1 is what one hopes for.
    pub n_parts: usize,
    /// Points without a neighbour.
    pub left_out: Vec<usize>,
    /// Of each coordinate, whether another has its eigenvalue within 1e-8: their axes are then arbitrary.
    pub degenerate: Vec<bool>,
    /// exp(−Σ p ln p) with p = λ^{2t}/Σ λ^{2t} over the coordinates: how many take part.
    pub spectral_dimension: f64,
    /// Coordinates with λ^t > 0.1.
    pub n_above: usize,
    /// ψ of the points kept, points × coordinates.
    psi: Mat<f64>,
    kept: Vec<usize>,
    q: Vec<f64>,
    weights: Vec<f64>,
    alpha: f64,
}

/// Map the points of a kernel.
///
/// Errors: entries below 0, α outside [0, 1], time below 0, no coordinates, fewer connected points than coordinates + 2.
pub fn diffusion_map(
    kernel: &Sparse,
    params: &DiffusionParams,
    monitor: &Monitor<'_>,
) -> Result<DiffusionMap> {
    let n_all = kernel.len();
    let late = matches!(params.time, Time::Steps(t) if !(t >= 0.0 && t.is_finite()));
    if !(0.0..=1.0).contains(&params.alpha) || late || params.n_components == 0 {
        return Err(Error::Invalid {
            what: "alpha, time and n_components".into(),
            expected: "α from 0 to 1, a time of 0 or more, and a coordinate at least".into(),
            found: format!("{}, {:?} and {}", params.alpha, params.time, params.n_components),
            hint: "α = 1 divides the density of points out; 20 coordinates are customary".into(),
        });
    }
    for i in 0..n_all {
        let (columns, values) = kernel.row(i);
        if let Some((j, value)) = columns.iter().zip(values).find(|(_, value)| **value < 0.0) {
            return Err(Error::Invalid {
                what: "kernel".into(),
                expected: "no entry below 0".into(),
                found: format!("{value} at ({i}, {j})"),
                hint: "correlations are no kernel; pass exp(−d²/ε), or the points themselves".into(),
            });
        }
    }
    let connected = |i: usize| {
        let (columns, values) = kernel.row(i);
        columns.iter().zip(values).any(|(&j, &value)| j != i && value > 0.0)
    };
    let kept: Vec<usize> = (0..n_all).filter(|&i| connected(i)).collect();
    let n = kept.len();
    if n < params.n_components + 2 {
        return Err(Error::TooFew {
            what: "points".into(),
            needed: format!("{} that are connected with others", params.n_components + 2),
            found: format!("{n} of {n_all}"),
            hint: "ask for fewer coordinates, or widen the kernel".into(),
        });
    }
    // Points of a sparse kernel in an order that suits its products.
    let kept = if n <= DENSE {
        kept
    } else {
        kernel.breadth_first().into_iter().filter(|&i| connected(i)).collect()
    };
    let k = if n == n_all && n <= DENSE { kernel.clone() } else { kernel.subset(&kept) };
    let q = k.row_sums();
    let powers: Vec<f64> = q.iter().map(|q| q.powf(-params.alpha)).collect();
    let k = k.map(|i, j, value| value * powers[i] * powers[j]);
    let d = k.row_sums();
    let roots: Vec<f64> = d.iter().map(|d| d.sqrt()).collect();
    let m = k.map(|i, j, value| value / (roots[i] * roots[j]));

    let labels = m.components();
    let n_parts = labels.iter().max().map_or(0, |most| most + 1);
    let known = eigenvectors_of_one(&labels, n_parts, &roots);
    let wanted = params.n_components.saturating_sub(n_parts - 1);
    let others = if wanted > 0 {
        // Eigenvectors of 1 are known, and moved to −1, away from the largest.
        let moved = |v: MatRef<f64>| -> Result<Mat<f64>> {
            monitor.check()?;
            let mut out = m.times(v);
            let inside = cross(known.as_ref(), v);
            add_product(out.as_mut(), known.as_ref(), inside.as_ref(), -2.0);
            Ok(out)
        };
        if n <= DENSE {
            let mut dense = m.to_dense();
            add_product(dense.as_mut(), known.as_ref(), known.transpose(), -2.0);
            eigh_leading(dense.as_ref(), wanted)?
        } else {
            eigh_largest(n, wanted, 1e-9, params.seed, moved)?
        }
    } else {
        Eigh { values: vec![], vectors: Mat::zeros(n, 0) }
    };
    let from_parts = (n_parts - 1).min(params.n_components);
    let count = params.n_components;
    let eigenvalues: Vec<f64> =
        (0..count).map(|at| if at < from_parts { 1.0 } else { others.values[at - from_parts] }).collect();
    let total: f64 = d.iter().sum();
    let mut psi = Mat::from_fn(n, count, |i, at| {
        let u = if at < from_parts { known[(i, at + 1)] } else { others.vectors[(i, at - from_parts)] };
        u / roots[i]
    });
    for at in 0..count {
        let scale = match params.norm {
            Norm::Reference => 1.0,
            Norm::Stationary => total.sqrt(),
            Norm::Unit => 1.0 / psi.col(at).norm_l2(),
        };
        psi.col_mut(at).iter_mut().for_each(|x| *x *= scale);
    }
    let weights: Vec<f64> = eigenvalues
        .iter()
        .map(|&l| match params.time {
            Time::Steps(t) if t == t.trunc() => l.powi(t as i32),
            Time::Steps(t) => l.max(0.0).powf(t),
            Time::Commute => 1.0 / (1.0 - l).max(0.0).sqrt(),
        })
        .collect();
    let mut coordinates = Mat::full(n_all, count, f64::NAN);
    let mut components = vec![usize::MAX; n_all];
    for (at, &point) in kept.iter().enumerate() {
        components[point] = labels[at];
        (0..count).for_each(|j| coordinates[(point, j)] = weights[j] * psi[(at, j)]);
    }
    let t = if let Time::Steps(t) = params.time { t } else { 1.0 };
    let powers: Vec<f64> = eigenvalues.iter().map(|l| l.abs().powf(t)).collect();
    let sum: f64 = powers.iter().map(|p| p * p).sum();
    let entropy: f64 = powers.iter().map(|p| p * p / sum).filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum();
    let close = |a: usize, b: usize| (eigenvalues[a] - eigenvalues[b]).abs() < 1e-8;
    Ok(DiffusionMap {
        degenerate: (0..count)
            .map(|k| (k > 0 && close(k - 1, k)) || (k + 1 < count && close(k, k + 1)))
            .collect(),
        spectral_dimension: entropy.exp(),
        n_above: powers.iter().filter(|p| **p > 0.1).count(),
        left_out: (0..n_all).filter(|&i| components[i] == usize::MAX).collect(),
        eigenvalues,
        coordinates,
        components,
        n_parts,
        psi,
        kept,
        q,
        weights,
        alpha: params.alpha,
    })
}

/// √d on all points, then, orthogonal to it, what tells the parts apart; each of length 1.
fn eigenvectors_of_one(labels: &[usize], n_parts: usize, roots: &[f64]) -> Mat<f64> {
    let mut made: Mat<f64> = Mat::zeros(labels.len(), n_parts);
    for at in 0..n_parts {
        let mut v: Vec<f64> = labels
            .iter()
            .zip(roots)
            .map(|(&label, &root)| if at == 0 || label == at - 1 { root } else { 0.0 })
            .collect();
        for _ in 0..2 {
            for before in 0..at {
                let inside: f64 = v.iter().zip(made.col(before).iter()).map(|(a, b)| a * b).sum();
                v.iter_mut().zip(made.col(before).iter()).for_each(|(a, b)| *a -= inside * b);
            }
        }
        let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        v.iter().enumerate().for_each(|(i, x)| made[(i, at)] = x / length);
    }
    made
}

impl DiffusionMap {
    /// Place new points by their kernel to the points of the map (new × points, as many columns as points).
    ///
    /// NaN for a new point that no point is near. Errors: another number of columns, entries below 0 or not finite.
    pub fn extend(&self, kernel: MatRef<f64>) -> Result<Mat<f64>> {
        let n_all = self.coordinates.nrows();
        if kernel.ncols() != n_all {
            return Err(Error::Shape {
                what: "kernel".into(),
                expected: format!("{n_all} columns (points of the map)"),
                found: format!("{} columns", kernel.ncols()),
                hint: "give new points × points of the map".into(),
            });
        }
        check_finite("kernel", kernel)?;
        let mut out = Mat::full(kernel.nrows(), self.eigenvalues.len(), f64::NAN);
        for row in 0..kernel.nrows() {
            let k: Vec<f64> = self.kept.iter().map(|&i| kernel[(row, i)]).collect();
            if let Some(value) = k.iter().find(|value| **value < 0.0) {
                return Err(Error::Invalid {
                    what: "kernel".into(),
                    expected: "no entry below 0".into(),
                    found: format!("{value} in row {row}"),
                    hint: "pass what was passed to fit".into(),
                });
            }
            // The new point's own q is a factor of its row, which p divides out.
            let k: Vec<f64> = k.iter().zip(&self.q).map(|(k, q)| k * q.powf(-self.alpha)).collect();
            let d: f64 = k.iter().sum();
            if d > 0.0 {
                for (j, (&eigenvalue, &weight)) in self.eigenvalues.iter().zip(&self.weights).enumerate() {
                    let sum: f64 = k.iter().zip(self.psi.col(j).iter()).map(|(k, psi)| k * psi).sum();
                    out[(row, j)] = weight * sum / d / eigenvalue;
                }
            }
        }
        Ok(out)
    }

    /// Diffusion distance of two points over the coordinates kept; NaN of a point left out.
    pub fn distance(&self, i: usize, j: usize) -> f64 {
        let pairs = self.coordinates.row(i).iter().zip(self.coordinates.row(j).iter());
        pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
    }
}

/// How wide a kernel of neighbours is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bandwidth {
    /// exp(−d²/ε) with this ε.
    Squared(f64),
    /// The ε = 2^m · median d² at which d ln Σ exp(−d²/ε) / d ln ε is largest.
    Automatic,
    /// exp(−d²/(σ_i σ_j)) with σ_i the distance to the m-th neighbour.
    Neighbour(usize),
}

/// A kernel between near points, and what its like for new points takes.
#[derive(Debug, Clone)]
pub struct NeighbourKernel {
    /// Points × points, 1 on the diagonal.
    pub kernel: Sparse,
    /// ε; NaN with scales of points.
    pub epsilon: f64,
    /// σ of each point; √ε where there is one ε.
    pub scales: Vec<f64>,
    k: usize,
    bandwidth: Bandwidth,
}

/// The kernel between each of `points` (n_points × n_coordinates) and its `k` nearest neighbours, either way round.
///
/// Errors: as [`nearest`]; a bandwidth of 0, more neighbours for σ than k, points so equal that σ is 0.
pub fn neighbour_kernel(
    points: MatRef<f64>,
    k: usize,
    bandwidth: Bandwidth,
    monitor: &Monitor<'_>,
) -> Result<NeighbourKernel> {
    let refuse = |found: String| Error::Invalid {
        what: "bandwidth".into(),
        expected: format!("ε above 0, or a neighbour from 1 to {k} at a distance above 0"),
        found,
        hint: "drop points that repeat, or take a later neighbour".into(),
    };
    match bandwidth {
        Bandwidth::Squared(epsilon) if !(epsilon > 0.0 && epsilon.is_finite()) => {
            return Err(refuse(epsilon.to_string()));
        }
        Bandwidth::Neighbour(m) if m == 0 || m > k => return Err(refuse(format!("neighbour {m}"))),
        _ => {}
    }
    let near = nearest(points, k, monitor)?;
    let n = points.nrows();
    let (epsilon, scales) = match bandwidth {
        Bandwidth::Neighbour(m) => {
            (f64::NAN, (0..n).map(|i| near.squared_of(i)[m - 1].sqrt()).collect::<Vec<_>>())
        }
        Bandwidth::Squared(epsilon) => (epsilon, vec![epsilon.sqrt(); n]),
        Bandwidth::Automatic => {
            let epsilon = steepest(&near.squared, n).ok_or_else(|| refuse("all distances are 0".into()))?;
            (epsilon, vec![epsilon.sqrt(); n])
        }
    };
    if let Some(at) = scales.iter().position(|s| !(*s > 0.0)) {
        return Err(refuse(format!("a scale of 0 at point {at}")));
    }
    let mut rows: Vec<Vec<(usize, f64)>> = (0..n).map(|i| vec![(i, 1.0)]).collect();
    for i in 0..n {
        for (&j, &squared) in near.of(i).iter().zip(near.squared_of(i)) {
            // Mutual neighbours come up twice: the pair is put down once, from the lower index.
            let mutual = near.of(j).contains(&i);
            if mutual && j < i {
                continue;
            }
            let value = (-squared / (scales[i] * scales[j])).exp();
            rows[i].push((j, value));
            rows[j].push((i, value));
        }
    }
    Ok(NeighbourKernel { kernel: Sparse::from_rows(rows)?, epsilon, scales, k, bandwidth })
}

/// The ε among median · 2^m at which ln Σ exp(−d²/ε) rises most steeply with ln ε.
fn steepest(squared: &[f64], n: usize) -> Option<f64> {
    let positive: Vec<f64> = squared.iter().copied().filter(|d| *d > 0.0).collect();
    let middle = median(&positive);
    if !(middle > 0.0) {
        return None;
    }
    // Half of ε squares exp(−d²/ε): four exponentials of every pair, at the widest two ε and 1.01 of either way, give
    // those of all. Rounding of 1 − d²/ε grows with every square, to 10⁻⁹ of what is not 0.
    const OCTAVES: usize = 25;
    let widest = |half: usize| middle * 2f64.powf(12.0 - half as f64 / 2.0);
    // Per half octave and way: Σ exp(−d²/ε) for ε, ε/2, ε/4 …
    let sums: Vec<[f64; OCTAVES]> = (0..4)
        .into_par_iter()
        .map(|at| {
            let epsilon = widest(at / 2) * if at % 2 == 0 { 1.01 } else { 1.0 / 1.01 };
            let mut sums = [0.0; OCTAVES];
            // Tiles keep the sums in order and the powers in registers.
            for tile in squared.chunks(16) {
                let mut powers = [0.0; 16];
                powers.iter_mut().zip(tile).for_each(|(power, d)| *power = (-d / epsilon).exp());
                for sum in &mut sums {
                    *sum += powers.iter().sum::<f64>();
                    powers.iter_mut().for_each(|power| *power *= *power);
                }
            }
            sums
        })
        .collect();
    // Points themselves add 1 each.
    let log_sum = |at: usize, octave: usize| (n as f64 + sums[at][octave]).ln();
    let slopes = (0..=2 * (OCTAVES - 1)).rev().map(|steps| {
        let (half, octave) = (steps % 2, steps / 2);
        let slope = log_sum(2 * half, octave) - log_sum(2 * half + 1, octave);
        (slope, widest(0) / 2f64.powf(steps as f64 / 2.0))
    });
    slopes
        .fold(None, |best: Option<(f64, f64)>, (slope, epsilon)| match best {
            Some((most, _)) if most >= slope => best,
            _ => Some((slope, epsilon)),
        })
        .map(|(_, epsilon)| epsilon)
}

impl NeighbourKernel {
    /// The kernel of new points to the `points` it was made of: to the k nearest of these, with σ by the same rule.
    pub fn to(&self, points: MatRef<f64>, new: MatRef<f64>, monitor: &Monitor<'_>) -> Result<Mat<f64>> {
        if new.ncols() != points.ncols() || points.nrows() != self.scales.len() {
            return Err(Error::Shape {
                what: "points".into(),
                expected: format!("{} coordinates (as in fit)", points.ncols()),
                found: format!("{} coordinates", new.ncols()),
                hint: "give the same features in the same order".into(),
            });
        }
        check_finite("points", new)?;
        let (rows, fresh) = (stereotax_base::graph::Rows::of(points), stereotax_base::graph::Rows::of(new));
        let mut out = Mat::zeros(new.nrows(), points.nrows());
        for i in 0..new.nrows() {
            monitor.check()?;
            let mut order: Vec<(f64, usize)> =
                (0..points.nrows()).map(|j| (squared_between(fresh.row(i), rows.row(j)), j)).collect();
            let compare = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
            order.select_nth_unstable_by(self.k, compare);
            order.truncate(self.k + 1);
            order.sort_unstable_by(compare);
            let scale = match self.bandwidth {
                // A point of the map is its own nearest one, as it was not in fit.
                Bandwidth::Neighbour(m) => order[if order[0].0 == 0.0 { m } else { m - 1 }].0.sqrt(),
                _ => self.epsilon.sqrt(),
            };
            for (squared, j) in order {
                let value = (-squared / (scale * self.scales[j])).exp();
                out[(i, j)] = if value.is_finite() { value } else { 1.0 };
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;
    use stereotax_base::stats::summary::pearson;

    fn silent() -> Monitor<'static> {
        Monitor::silent()
    }

    fn circle(n: usize) -> Mat<f64> {
        let turn = 2.0 * std::f64::consts::PI / n as f64;
        Mat::from_fn(n, 2, |i, j| if j == 0 { (turn * i as f64).cos() } else { (turn * i as f64).sin() })
    }

    #[test]
    fn a_circle_has_the_eigenvalues_of_its_fourier_transform() {
        for n in [60, 1700] {
            // Three neighbours on each side; the kernel is circulant.
            let kernel = neighbour_kernel(circle(n).as_ref(), 6, Bandwidth::Squared(1.0), &silent()).unwrap();
            let reach = n / 20;
            let value = |step: usize| (-((step as f64) / reach as f64).powi(2)).exp();
            let rows = Sparse::from_rows(
                (0..n)
                    .map(|i| {
                        let side = (1..=2 * reach).flat_map(|s| [(s, value(s)), (n - s, value(s))]);
                        let all = std::iter::once((0, 1.0)).chain(side);
                        all.map(|(step, value)| ((i + step) % n, value)).collect()
                    })
                    .collect(),
            )
            .unwrap();
            assert_eq!(kernel.kernel.n_entries(), 7 * n);
            let params = DiffusionParams { n_components: 6, ..DiffusionParams::default() };
            let map = diffusion_map(&rows, &params, &silent()).unwrap();
            let turn = 2.0 * std::f64::consts::PI / n as f64;
            for (at, found) in map.eigenvalues.iter().enumerate() {
                let k = (at / 2 + 1) as f64;
                let wave = |k: f64| -> f64 {
                    1.0 + 2.0 * (1..=2 * reach).map(|s| value(s) * (turn * k * s as f64).cos()).sum::<f64>()
                };
                let expected = wave(k) / wave(0.0);
                assert!((found - expected).abs() < 1e-8, "{n} {at}: {found} {expected}");
            }
            // The first pair spans cosine and sine: its radius is the same everywhere.
            let radius: Vec<f64> =
                (0..n).map(|i| map.coordinates[(i, 0)].hypot(map.coordinates[(i, 1)])).collect();
            let (low, high) = radius.iter().fold((f64::MAX, 0f64), |(a, b), r| (a.min(*r), b.max(*r)));
            assert!(high / low < 1.0 + 1e-5, "{low} {high}");
            assert!(n > 100 || map.degenerate.iter().all(|d| *d));
            assert_eq!((map.n_parts, map.left_out.len()), (1, 0));
        }
    }

    #[test]
    fn parts_are_told_apart_and_a_lonely_point_is_named() {
        let mut stream = Stream::new(1, "parts", 0);
        let mut dense = Mat::zeros(21, 21);
        for i in 0..21 {
            dense[(i, i)] = 1.0;
            for j in 0..i {
                if i < 20 && (i < 8) == (j < 8) {
                    dense[(i, j)] = 0.5 + stream.uniform();
                    dense[(j, i)] = dense[(i, j)];
                }
            }
        }
        let sparse = Sparse::from_dense(dense.as_ref()).unwrap();
        let params = DiffusionParams { n_components: 3, ..DiffusionParams::default() };
        let map = diffusion_map(&sparse, &params, &silent()).unwrap();
        assert_eq!((map.n_parts, map.left_out.clone()), (2, vec![20]));
        assert_eq!(map.eigenvalues[0], 1.0);
        assert!(map.eigenvalues[1] < 0.99 && map.coordinates[(20, 0)].is_nan());
        let first: Vec<f64> = (0..20).map(|i| map.coordinates[(i, 0)]).collect();
        assert!(first[..8].iter().all(|x| (x - first[0]).abs() < 1e-12));
        assert!(first[0] * first[19] < 0.0);
    }

    #[test]
    fn the_leading_coordinate_is_not_the_largest_modulus_and_new_points_land_on_their_twins() {
        // Two sides that are connected with each other only: an eigenvalue of −1.
        let n = 40;
        let dense = Mat::from_fn(n, n, |i, j| {
            let near = (-((i / 2) as f64 - (j / 2) as f64).powi(2) / 9.0).exp();
            if i % 2 == j % 2 { 0.02 * near } else { near }
        });
        let sparse = Sparse::from_dense(dense.as_ref()).unwrap();
        for time in [Time::Steps(1.0), Time::Steps(2.5), Time::Commute] {
            let params = DiffusionParams { n_components: 5, time, alpha: 0.5, ..DiffusionParams::default() };
            let map = diffusion_map(&sparse, &params, &silent()).unwrap();
            assert!(map.eigenvalues.iter().all(|l| *l > 0.0), "{:?}", map.eigenvalues);
            let placed = map.extend(dense.as_ref()).unwrap();
            assert!((placed - &map.coordinates).norm_max() < 1e-10);
        }
    }

    #[test]
    fn a_rolled_sheet_unrolls_and_a_torus_has_two_angles() {
        let mut stream = Stream::new(2, "sheets", 0);
        let along: Vec<f64> = (0..1800).map(|_| stream.uniform()).collect();
        let roll = Mat::from_fn(1800, 3, |i, j| {
            let t = 1.5 * std::f64::consts::PI * (1.0 + 2.0 * along[i]);
            [t * t.cos(), 8.0 * ((i * 7919) % 1800) as f64 / 1800.0, t * t.sin()][j]
        });
        let kernel = neighbour_kernel(roll.as_ref(), 12, Bandwidth::Neighbour(7), &silent()).unwrap();
        let map = diffusion_map(&kernel.kernel, &DiffusionParams::default(), &silent()).unwrap();
        let first: Vec<f64> = (0..1800).map(|i| map.coordinates[(i, 0)]).collect();
        // The first coordinate is a cosine along the sheet, whose length is about t².
        let length: Vec<f64> = along
            .iter()
            .map(|a| (std::f64::consts::PI * ((1.0 + 2.0 * a).powi(2) - 1.0) / 8.0).cos())
            .collect();
        assert!(pearson(&first, &length).abs() > 0.98, "{}", pearson(&first, &length));
        assert_eq!(map.n_parts, 1);
        // New points between old ones get coordinates between theirs.
        let new = roll.get(..50, ..);
        let moved = Mat::from_fn(50, 3, |i, j| new[(i, j)] + 0.01);
        let placed =
            map.extend(kernel.to(roll.as_ref(), moved.as_ref(), &silent()).unwrap().as_ref()).unwrap();
        let (a, b): (Vec<f64>, Vec<f64>) = (0..50).map(|i| (placed[(i, 0)], first[i])).unzip();
        assert!(pearson(&a, &b) > 0.999, "{}", pearson(&a, &b));

        // A torus of two circles, of 40 and 30 points: its kernel is the product of theirs.
        let torus = Sparse::from_rows(
            (0..1200usize)
                .map(|i| {
                    let (a, b) = (i % 40, i / 40);
                    let near = |value: f64| [(0, 1.0), (1, value), (2, value.powi(4))];
                    let mut row = vec![];
                    for (step, x) in near(0.8) {
                        for (other, y) in near(0.8) {
                            for at in [a + step, a + 40 - step] {
                                for to in [b + other, b + 30 - other] {
                                    row.push(((to % 30) * 40 + at % 40, x * y));
                                }
                            }
                        }
                    }
                    row.sort_by_key(|entry| entry.0);
                    row.dedup_by_key(|entry| entry.0);
                    row
                })
                .collect(),
        )
        .unwrap();
        let params = DiffusionParams { n_components: 4, ..DiffusionParams::default() };
        let map = diffusion_map(&torus, &params, &silent()).unwrap();
        // The wide angle first: its pair has one radius, and so has the other pair where it is alone.
        let radius: Vec<f64> =
            (0..1200).map(|i| map.coordinates[(i, 0)].hypot(map.coordinates[(i, 1)])).collect();
        let spread = radius.iter().fold(0f64, |m, r| m.max((r / radius[0] - 1.0).abs()));
        assert!(spread < 1e-4, "{spread} {:?}", map.eigenvalues);
    }

    #[test]
    fn the_automatic_bandwidth_is_that_of_loops() {
        let mut stream = Stream::new(9, "diffusion tests", 0);
        for spread in [0.3, 1.0, 4.0] {
            let squared: Vec<f64> =
                (0..3000).map(|i| if i < 5 { 0.0 } else { (spread * stream.normal()).exp() }).collect();
            let middle = median(&squared[5..]);
            let log_sum = |e: f64| (300.0 + squared.iter().map(|d| (-d / e).exp()).sum::<f64>()).ln();
            let slope = |e: f64| log_sum(1.01 * e) - log_sum(e / 1.01);
            let all = (-24..=24).map(|m| middle * 2f64.powf(f64::from(m) / 2.0));
            let slow = all.reduce(|a, b| if slope(b) > slope(a) { b } else { a }).unwrap();
            let found = steepest(&squared, 300).unwrap();
            assert!((found / slow - 1.0).abs() < 1e-12, "{spread}: {found} {slow}");
        }
        assert_eq!(steepest(&[0.0; 4], 2), None);
    }

    #[test]
    fn bad_kernels_and_settings_are_refused_in_words() {
        let two = Sparse::from_dense(Mat::from_fn(2, 2, |_, _| 1.0).as_ref()).unwrap();
        let message =
            |params: DiffusionParams| diffusion_map(&two, &params, &silent()).unwrap_err().to_string();
        assert!(message(DiffusionParams::default()).contains("22 that are connected"));
        assert!(
            message(DiffusionParams { alpha: 2.0, ..DiffusionParams::default() }).contains("α from 0 to 1")
        );
        let negative = Sparse::from_dense(Mat::from_fn(3, 3, |_, _| -1.0).as_ref()).unwrap();
        let refused =
            diffusion_map(&negative, &DiffusionParams::default(), &silent()).unwrap_err().to_string();
        assert!(refused.contains("below 0"), "{refused}");
        let same = Mat::full(9, 2, 1.0);
        assert!(neighbour_kernel(same.as_ref(), 3, Bandwidth::Automatic, &silent()).is_err());
        assert!(neighbour_kernel(same.as_ref(), 3, Bandwidth::Neighbour(2), &silent()).is_err());
    }
}
