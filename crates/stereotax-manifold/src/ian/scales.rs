//! The individual scales: the smallest σ that keep every edge of a graph, by a linear program.
//!
//! For edges of length e_ij, w = C e_ij, and u_i the distance from i to its furthest neighbour in the graph,
//!
//! ```text
//! minimise Σ σ_i   subject to  σ_i ≤ u_i  and, for each edge,
//! (w/u_i) σ_i + σ_j ≥ w (1 + w/u_i)
//! σ_i + (w/u_j) σ_j ≥ w (1 + w/u_j)
//! ```
//!
//! Both are secants of σ_i σ_j = w², which lie above it: σ_i σ_j ≥ (C e_ij)² for every solution. σ = u always is one,
//! and σ > 0 follows. Where optima are not unique the middle of their face is found, not a corner, so that compare the
//! sum, not single σ, with a simplex program.
//!
//! Solved by Mehrotra's predictor–corrector interior point method; the normal equations are N × N with the pattern of the
//! graph, ordered to a narrow profile (reverse Cuthill–McKee) where that pays, dense otherwise.
//!
//! Source: Dyballa & Zucker 2023; Mehrotra 1992; specs: encoding-manifolds 2.3. Cost: 10 to 20 factorisations, each
//! N³/3 dense, or N b² for a profile of mean width b.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};

use stereotax_base::data::{Error, Monitor, Result};

/// An edge i < j and its length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Edge {
    pub i: usize,
    pub j: usize,
    pub length: f64,
}

/// σ of every point; 0 of points without an edge. `furthest`: u.
pub(super) fn scales(
    n: usize,
    edges: &[Edge],
    furthest: &[f64],
    c: f64,
    tolerance: f64,
    monitor: &Monitor<'_>,
) -> Result<Vec<f64>> {
    // Points that have edges, in an order that keeps edges near the diagonal.
    let order = narrow_order(n, edges);
    let size = order.len();
    let mut place = vec![usize::MAX; n];
    order.iter().enumerate().for_each(|(at, &i)| place[i] = at);
    if size == 0 {
        return Ok(vec![0.0; n]);
    }
    let unit = edges.iter().map(|e| e.length).sum::<f64>() / edges.len() as f64;
    let u: Vec<f64> = order.iter().map(|&i| furthest[i] / unit).collect();
    // Rows a_left x_left + a_right x_right ≥ bound.
    let mut rows = Vec::with_capacity(2 * edges.len());
    for edge in edges {
        let (i, j, w) = (place[edge.i], place[edge.j], c * edge.length / unit);
        let (p, r) = (w / u[i], w / u[j]);
        rows.push(Row { left: i, right: j, at_left: p, at_right: 1.0, bound: w * (1.0 + p) });
        rows.push(Row { left: i, right: j, at_left: 1.0, at_right: r, bound: w * (1.0 + r) });
    }
    let x = Program { u, rows }.solve(tolerance, monitor)?;
    let mut sigma = vec![0.0; n];
    order.iter().zip(&x).for_each(|(&i, x)| sigma[i] = x * unit);
    Ok(sigma)
}

#[derive(Debug, Clone, Copy)]
struct Row {
    left: usize,
    right: usize,
    at_left: f64,
    at_right: f64,
    bound: f64,
}

impl Row {
    fn times(&self, x: &[f64]) -> f64 {
        self.at_left * x[self.left] + self.at_right * x[self.right]
    }
}

struct Program {
    u: Vec<f64>,
    rows: Vec<Row>,
}

impl Program {
    /// A x − s = b, x + t = u, Aᵀy − z = 1, with s, t, y, z > 0 and s y, t z → 0.
    fn solve(&self, tolerance: f64, monitor: &Monitor<'_>) -> Result<Vec<f64>> {
        let (n, m) = (self.u.len(), self.rows.len());
        let mut x: Vec<f64> = self.u.iter().map(|u| 0.9 * u).collect();
        let mut t: Vec<f64> = self.u.iter().map(|u| 0.1 * u).collect();
        let mut s: Vec<f64> =
            self.rows.iter().map(|row| (row.times(&x) - row.bound).max(0.1 * row.bound)).collect();
        let mut degree = vec![0.0f64; n];
        self.rows.iter().for_each(|row| {
            degree[row.left] += 1.0;
            degree[row.right] += 1.0;
        });
        let mut y: Vec<f64> = self.rows.iter().map(|r| 1.0 / (degree[r.left] + degree[r.right])).collect();
        let mut z: Vec<f64> = self.transposed(&y).iter().map(|d| (d - 1.0).max(0.1)).collect();
        let scale = self.u.iter().sum::<f64>() / n as f64;
        for _ in 0..200 {
            monitor.check()?;
            let primal: Vec<f64> =
                self.rows.iter().zip(&s).map(|(row, s)| row.bound + s - row.times(&x)).collect();
            let upper: Vec<f64> = (0..n).map(|i| self.u[i] - x[i] - t[i]).collect();
            let dual: Vec<f64> = self.transposed(&y).iter().zip(&z).map(|(ay, z)| 1.0 - ay + z).collect();
            let gap: f64 = dot(&s, &y) + dot(&t, &z);
            let mu = gap / (m + n) as f64;
            let value: f64 = x.iter().sum();
            let worst = |r: &[f64]| r.iter().fold(0.0f64, |worst, r| worst.max(r.abs()));
            if gap <= tolerance * value
                && worst(&primal).max(worst(&upper)) <= tolerance * scale
                && worst(&dual) <= tolerance
            {
                return Ok(x);
            }
            let factor = self.factor(&s, &y, &t, &z)?;
            // Predictor, then corrector with what the predictor neglects.
            let none = (vec![0.0; m], vec![0.0; n]);
            let step = |centre: f64, (of_s, of_t): (&[f64], &[f64])| {
                let sy: Vec<f64> = (0..m).map(|r| centre - s[r] * y[r] - of_s[r]).collect();
                let tz: Vec<f64> = (0..n).map(|i| centre - t[i] * z[i] - of_t[i]).collect();
                let weighed: Vec<f64> = (0..m).map(|r| (sy[r] + y[r] * primal[r]) / s[r]).collect();
                let mut right = self.transposed(&weighed);
                for i in 0..n {
                    right[i] += -dual[i] - (tz[i] - z[i] * upper[i]) / t[i];
                }
                let dx = factor.solve(right);
                let ds: Vec<f64> = self.rows.iter().zip(&primal).map(|(row, p)| row.times(&dx) - p).collect();
                let dt: Vec<f64> = (0..n).map(|i| upper[i] - dx[i]).collect();
                let dy: Vec<f64> = (0..m).map(|r| (sy[r] - y[r] * ds[r]) / s[r]).collect();
                let dz: Vec<f64> = (0..n).map(|i| (tz[i] - z[i] * dt[i]) / t[i]).collect();
                (dx, ds, dt, dy, dz)
            };
            let (_, ds, dt, dy, dz) = step(0.0, (&none.0, &none.1));
            let (p, d) = (longest(&s, &ds).min(longest(&t, &dt)), longest(&y, &dy).min(longest(&z, &dz)));
            let ahead: f64 = (0..m).map(|r| (s[r] + p * ds[r]) * (y[r] + d * dy[r])).sum::<f64>()
                + (0..n).map(|i| (t[i] + p * dt[i]) * (z[i] + d * dz[i])).sum::<f64>();
            let centre = (ahead / gap).powi(3) * mu;
            let of_s: Vec<f64> = ds.iter().zip(&dy).map(|(a, b)| a * b).collect();
            let of_t: Vec<f64> = dt.iter().zip(&dz).map(|(a, b)| a * b).collect();
            let (dx, ds, dt, dy, dz) = step(centre, (&of_s, &of_t));
            let (p, d) = (longest(&s, &ds).min(longest(&t, &dt)), longest(&y, &dy).min(longest(&z, &dz)));
            let (p, d) = ((0.995 * p).min(1.0), (0.995 * d).min(1.0));
            let go = |to: &mut [f64], by: &[f64], step: f64| {
                to.iter_mut().zip(by).for_each(|(a, b)| *a += step * b)
            };
            go(&mut x, &dx, p);
            go(&mut s, &ds, p);
            go(&mut t, &dt, p);
            go(&mut y, &dy, d);
            go(&mut z, &dz, d);
        }
        Err(Error::NoConvergence {
            what: "linear program of the scales".into(),
            detail: format!("{n} points and {} edges; are distances of very unequal size?", m / 2),
        })
    }

    fn transposed(&self, y: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.u.len()];
        for (row, y) in self.rows.iter().zip(y) {
            out[row.left] += row.at_left * y;
            out[row.right] += row.at_right * y;
        }
        out
    }

    /// Aᵀ (y/s) A + z/t, factored.
    fn factor(&self, s: &[f64], y: &[f64], t: &[f64], z: &[f64]) -> Result<Factor> {
        let n = self.u.len();
        let mut first: Vec<usize> = (0..n).collect();
        for row in &self.rows {
            let (low, high) = (row.left.min(row.right), row.left.max(row.right));
            first[high] = first[high].min(low);
        }
        let widths: f64 = first.iter().enumerate().map(|(i, first)| ((i - first) as f64).powi(2)).sum();
        let mut diagonal: Vec<f64> = z.iter().zip(t).map(|(z, t)| z / t).collect();
        let weights = || self.rows.iter().zip(s.iter().zip(y)).map(|(row, (s, y))| (row, y / s));
        for (row, w) in weights() {
            diagonal[row.left] += w * row.at_left * row.at_left;
            diagonal[row.right] += w * row.at_right * row.at_right;
        }
        let off = weights().map(|(row, w)| {
            (row.left.max(row.right), row.left.min(row.right), w * row.at_left * row.at_right)
        });
        let failed = || Error::NoConvergence {
            what: "linear program of the scales".into(),
            detail: format!("its normal equations ({n} × {n}) are not positive definite"),
        };
        if widths < 0.15 * (n as f64).powi(3) / 3.0 {
            let mut profile = Profile::new(first);
            diagonal.iter().enumerate().for_each(|(i, d)| *profile.at(i, i) += d * (1.0 + 1e-14));
            off.for_each(|(i, j, value)| *profile.at(i, j) += value);
            return profile.factor().map(Factor::Profile).ok_or_else(failed);
        }
        let mut dense = Mat::zeros(n, n);
        diagonal.iter().enumerate().for_each(|(i, d)| dense[(i, i)] = d * (1.0 + 1e-14));
        off.for_each(|(i, j, value)| dense[(i, j)] += value);
        // Decompositions run on the calling thread.
        faer::set_global_parallelism(faer::Par::Seq);
        dense.as_ref().llt(Side::Lower).map(Factor::Dense).map_err(|_| failed())
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The longest step, up to 1, that keeps all above 0.
fn longest(at: &[f64], by: &[f64]) -> f64 {
    at.iter().zip(by).filter(|(_, by)| **by < 0.0).fold(1.0f64, |step, (at, by)| step.min(-at / by))
}

enum Factor {
    Dense(faer::linalg::solvers::Llt<f64>),
    Profile(Profile),
}

impl Factor {
    fn solve(&self, right: Vec<f64>) -> Vec<f64> {
        match self {
            Factor::Dense(llt) => {
                let b = Mat::from_fn(right.len(), 1, |i, _| right[i]);
                let x = llt.solve(b);
                (0..right.len()).map(|i| x[(i, 0)]).collect()
            }
            Factor::Profile(profile) => profile.solve(right),
        }
    }
}

/// A lower triangle that keeps of each row what lies between its first entry and the diagonal.
struct Profile {
    first: Vec<usize>,
    starts: Vec<usize>,
    values: Vec<f64>,
}

impl Profile {
    fn new(first: Vec<usize>) -> Self {
        let mut starts = vec![0];
        for (i, first) in first.iter().enumerate() {
            starts.push(starts[i] + i - first + 1);
        }
        let values = vec![0.0; starts[first.len()]];
        Profile { first, starts, values }
    }

    fn at(&mut self, i: usize, j: usize) -> &mut f64 {
        &mut self.values[self.starts[i] + j - self.first[i]]
    }

    /// The Cholesky factor in place, row by row; `None` where the matrix is not positive definite.
    fn factor(mut self) -> Option<Self> {
        for i in 0..self.first.len() {
            let (done, open) = self.values.split_at_mut(self.starts[i]);
            let (first_i, row) = (self.first[i], &mut open[..=i - self.first[i]]);
            for j in first_i..=i {
                let from = first_i.max(self.first[j]);
                let here = &row[from - first_i..j - first_i];
                if j == i {
                    let pivot = row[j - first_i] - stereotax_base::linalg::dot(here, here);
                    if !(pivot > 0.0) {
                        return None;
                    }
                    row[j - first_i] = pivot.sqrt();
                } else {
                    let above = &done[self.starts[j]..self.starts[j + 1]];
                    let inner =
                        stereotax_base::linalg::dot(here, &above[from - self.first[j]..j - self.first[j]]);
                    row[j - first_i] = (row[j - first_i] - inner) / above[j - self.first[j]];
                }
            }
        }
        Some(self)
    }

    fn solve(&self, mut x: Vec<f64>) -> Vec<f64> {
        for i in 0..x.len() {
            let row = &self.values[self.starts[i]..self.starts[i + 1]];
            let before = row.len() - 1;
            let inner: f64 = row[..before].iter().zip(&x[self.first[i]..i]).map(|(a, b)| a * b).sum();
            x[i] = (x[i] - inner) / row[before];
        }
        for i in (0..x.len()).rev() {
            let row = &self.values[self.starts[i]..self.starts[i + 1]];
            let before = row.len() - 1;
            x[i] /= row[before];
            let value = x[i];
            x[self.first[i]..i].iter_mut().zip(&row[..before]).for_each(|(x, a)| *x -= a * value);
        }
        x
    }
}

/// Points that have edges, by reverse Cuthill–McKee.
fn narrow_order(n: usize, edges: &[Edge]) -> Vec<usize> {
    let mut near = vec![vec![]; n];
    for edge in edges {
        near[edge.i].push(edge.j);
        near[edge.j].push(edge.i);
    }
    let degrees: Vec<usize> = near.iter().map(Vec::len).collect();
    near.iter_mut().for_each(|list| list.sort_by_key(|&j| (degrees[j], j)));
    let mut order = vec![];
    let mut seen = vec![false; n];
    let walk = |start: usize, seen: &mut Vec<bool>| {
        let (mut found, mut next) = (vec![start], 0);
        seen[start] = true;
        while next < found.len() {
            for &j in &near[found[next]] {
                if !seen[j] {
                    seen[j] = true;
                    found.push(j);
                }
            }
            next += 1;
        }
        found
    };
    for start in 0..n {
        if seen[start] || near[start].is_empty() {
            continue;
        }
        // From one end of the part: the last point that a walk from anywhere reaches.
        let reached = walk(start, &mut seen.clone());
        let end = reached[reached.len() - 1];
        order.extend(walk(end, &mut seen));
    }
    order.reverse();
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn solve(n: usize, edges: &[(usize, usize, f64)], c: f64) -> Vec<f64> {
        let edges: Vec<Edge> = edges.iter().map(|&(i, j, length)| Edge { i, j, length }).collect();
        let mut u = vec![0.0f64; n];
        for edge in &edges {
            u[edge.i] = u[edge.i].max(edge.length);
            u[edge.j] = u[edge.j].max(edge.length);
        }
        let sigma = scales(n, &edges, &u, c, 1e-9, &Monitor::silent()).unwrap();
        for e in &edges {
            assert!(sigma[e.i] * sigma[e.j] >= (c * e.length).powi(2) * (1.0 - 1e-7), "an edge is lost");
            assert!(sigma[e.i] <= u[e.i] * (1.0 + 1e-9));
        }
        sigma
    }

    #[test]
    fn pairs_rings_and_chains_by_hand() {
        let near = |found: &[f64], expected: &[f64]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
        };
        // Two points: both C e.
        near(&solve(2, &[(0, 1, 3.0)], 0.7), &[2.1, 2.1]);
        let ring: Vec<(usize, usize, f64)> =
            (0..9).map(|i| (i.min((i + 1) % 9), i.max((i + 1) % 9), 1.0)).collect();
        near(&solve(9, &ring, 0.8), &[0.8; 9]);
        let chain: Vec<(usize, usize, f64)> = (0..5).map(|i| (i, i + 1, 1.0)).collect();
        near(&solve(6, &chain, 0.6), &[0.6; 6]);
        // Three: the middle one takes all it may, 1, and the ends C². A point without an edge has no scale.
        near(&solve(4, &chain[..2], 0.8), &[0.64, 1.0, 0.64, 0.0]);
    }

    #[test]
    fn the_profile_and_the_dense_road_agree_and_beat_feasible_points() {
        let mut stream = Stream::new(3, "program", 0);
        let mut edges = vec![];
        for i in 0..60 {
            for step in [1, 2, 5] {
                if i + step < 60 {
                    edges.push((i, i + step, 0.5 + stream.uniform()));
                }
            }
        }
        let narrow = solve(60, &edges, 0.7);
        // The same with a point that joins all, so that the profile does not pay.
        let all: Vec<(usize, usize, f64)> = (0..60)
            .flat_map(|i| (0..i).map(move |j| (j, i)))
            .map(|(i, j)| (i, j, 0.5 + stream.uniform()))
            .collect();
        let dense = solve(60, &all, 0.7);
        let sum = |x: &[f64]| x.iter().sum::<f64>();
        assert!(sum(&dense) > sum(&narrow));
        // Optimality: shrinking any one scale breaks a constraint or is made up by no other.
        for i in 0..60 {
            let tight = edges.iter().any(|&(a, b, e)| {
                (a == i || b == i) && {
                    let (w, o) = (0.7 * e, if a == i { b } else { a });
                    let u = |p: usize| {
                        edges.iter().filter(|(a, b, _)| *a == p || *b == p).map(|x| x.2).fold(0.0, f64::max)
                    };
                    let first = (w / u(i)) * narrow[i] + narrow[o] - w * (1.0 + w / u(i));
                    let second = narrow[i] + (w / u(o)) * narrow[o] - w * (1.0 + w / u(o));
                    first.min(second) < 1e-6
                }
            });
            assert!(tight, "{i} could shrink");
        }
    }
}
