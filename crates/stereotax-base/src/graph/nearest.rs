//! Find the nearest neighbours of every point exactly: in few coordinates by a tree, in many by products of blocks of
//! points.
//!
//! ```text
//! |x_i − x_j|² = |x_i|² + |x_j|² − 2 x_i·x_j          (squares of 512 points, single precision)
//! ```
//!
//! Single precision only rules pairs out: with u = 2⁻²⁴ and p coordinates the expression errs by at most
//! (p + 24) u (|x_i|² + |x_j|²), and a pair is looked at again, in double precision from the differences of
//! the coordinates, unless even with that error it lies beyond the k nearest so far. What is returned does
//! not depend on the way, nor on the order of the work: the k smallest of (distance, index).
//!
//! Points that lie close to few axes are compared along these first. With Q orthonormal, y = Qᵀx and
//! ρ = |x − Q y|,
//!
//! ```text
//! |y_i − y_j|² + (ρ_i − ρ_j)²  ≤  |x_i − x_j|²  ≤  |y_i − y_j|² + (ρ_i + ρ_j)²
//! ```
//!
//! so that (y, ρ) takes the place of x, and 4 ρ_i ρ_j is added to the upper bound. The axes are the leading ones of
//! some points; they are taken where what lies off them is small beside the distances of neighbours that these points
//! show. Poor axes would cost time, never neighbours.
//!
//! Source: the error bound is that of inner products (Higham 2002, 3.5). Cost: n² p products in single
//! precision, halved by symmetry, and O(n k p) distances; memory n p numbers twice and O(n k). The tree: O(n k log n)
//! with a factor that grows with 2^p.

use std::sync::Mutex;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::tree::Tree;
use crate::data::{Error, Monitor, Result};
use crate::linalg::{column_means, cross, eigh, product, thin_qr};

/// Points on a side of a square of pairs.
const SIDE: usize = 512;
/// Up to how many coordinates, and from how many points, a tree is faster. Products cost some 5 ns a pair in few
/// coordinates; a tree looks at most points from about ten coordinates on.
const TREE_COORDINATES: usize = 6;
const TREE_POINTS: usize = 1000;
/// Axes along which points of many coordinates are compared first, and how many points these are taken from.
const AXES: usize = 32;
const SAMPLE: usize = 256;

/// The k nearest neighbours of each of n points, nearest first; of equals, the lower index first.
#[derive(Debug, Clone, PartialEq)]
pub struct Nearest {
    /// How many of each point.
    pub k: usize,
    /// n · k indices, point after point.
    pub indices: Vec<usize>,
    /// Their squared Euclidean distances.
    pub squared: Vec<f64>,
}

impl Nearest {
    /// The neighbours of one point.
    pub fn of(&self, point: usize) -> &[usize] {
        &self.indices[point * self.k..(point + 1) * self.k]
    }

    /// Their squared distances.
    pub fn squared_of(&self, point: usize) -> &[f64] {
        &self.squared[point * self.k..(point + 1) * self.k]
    }
}

/// One row after the other, in one piece of memory.
#[derive(Debug, Clone)]
pub struct Rows {
    width: usize,
    values: Vec<f64>,
}

impl Rows {
    /// A copy of a matrix.
    pub fn of(x: MatRef<f64>) -> Self {
        let mut values = Vec::with_capacity(x.nrows() * x.ncols());
        for i in 0..x.nrows() {
            values.extend(x.row(i).iter().copied());
        }
        Rows { width: x.ncols(), values }
    }

    /// One of them.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    /// Σ (x_i − x_j)².
    pub fn squared_distance(&self, i: usize, j: usize) -> f64 {
        squared_between(self.row(i), self.row(j))
    }
}

/// Σ (x − y)², in eight lanes.
pub fn squared_between(x: &[f64], y: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (mut left, mut right) = (x.chunks_exact(8), y.chunks_exact(8));
    for (a, b) in (&mut left).zip(&mut right) {
        for lane in 0..8 {
            lanes[lane] += (a[lane] - b[lane]) * (a[lane] - b[lane]);
        }
    }
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| (a - b) * (a - b)).sum();
    lanes.iter().sum::<f64>() + rest
}

/// The first of each set of equal rows, ascending.
pub fn distinct_rows(x: MatRef<f64>) -> Vec<usize> {
    let rows = Rows::of(x);
    // −0 equals 0, but sorts before it.
    let compare = |a: usize, b: usize| {
        let pairs = rows.row(a).iter().zip(rows.row(b));
        pairs.map(|(x, y)| (x + 0.0).total_cmp(&(y + 0.0))).find(|order| order.is_ne())
    };
    let mut order: Vec<usize> = (0..x.nrows()).collect();
    order.sort_by(|&a, &b| compare(a, b).unwrap_or_else(|| a.cmp(&b)));
    let mut kept: Vec<usize> = Vec::with_capacity(order.len());
    for at in 0..order.len() {
        if at == 0 || compare(order[at - 1], order[at]).is_some() {
            kept.push(order[at]);
        }
    }
    kept.sort_unstable();
    kept
}

/// What is known of one point while squares of pairs come in.
#[derive(Debug, Clone)]
struct Seen {
    /// The k smallest upper bounds so far, ascending.
    uppers: Vec<f64>,
    /// Pairs that may be among the k nearest: lower and upper bound, and the other point.
    maybe: Vec<(f64, f64, usize)>,
}

impl Seen {
    fn limit(&self) -> f64 {
        self.uppers.last().copied().unwrap_or(f64::INFINITY)
    }

    fn meet(&mut self, lower: f64, upper: f64, other: usize) {
        let limit = self.limit();
        if lower <= limit {
            self.maybe.push((lower, upper, other));
            if upper < limit {
                let at = self.uppers.partition_point(|&u| u <= upper);
                self.uppers.insert(at, upper);
                self.uppers.pop();
            }
        }
    }

    /// Drop what is ruled out by now; where much is left, look at it in double precision.
    fn tidy(&mut self, k: usize, exact: impl Fn(usize) -> f64) {
        if self.maybe.len() <= 8 * k + 64 {
            return;
        }
        let limit = self.limit();
        self.maybe.retain(|&(lower, _, _)| lower <= limit);
        if self.maybe.len() > 4 * k + 32 {
            self.settle(k, exact);
        }
    }

    /// Keep the k nearest by their exact distances.
    fn settle(&mut self, k: usize, exact: impl Fn(usize) -> f64) {
        let limit = self.limit();
        self.maybe.retain(|&(lower, _, _)| lower <= limit);
        for (lower, upper, other) in &mut self.maybe {
            *lower = exact(*other);
            *upper = *lower;
        }
        self.maybe.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
        self.maybe.truncate(k);
        for (at, &(_, upper, _)) in self.maybe.iter().enumerate() {
            self.uppers[at] = self.uppers[at].min(upper);
        }
    }
}

/// Find the k nearest neighbours of every row of `points` (n_points × n_coordinates) among the other rows.
///
/// Errors: k = 0, or fewer than k + 1 points; values must be finite (`NotFinite`).
pub fn nearest(points: MatRef<f64>, k: usize, monitor: &Monitor<'_>) -> Result<Nearest> {
    let (n, p) = (points.nrows(), points.ncols());
    if k == 0 || n < k + 1 || p == 0 {
        return Err(Error::TooFew {
            what: "points".into(),
            needed: format!("{} points of 1 coordinate ({} neighbours of each)", k.max(1) + 1, k.max(1)),
            found: format!("{n} points of {p} coordinates"),
            hint: "give more points, or ask for fewer neighbours (1 or more)".into(),
        });
    }
    crate::stats::summary::check_finite("points", points)?;
    let rows = Rows::of(points);
    if p <= TREE_COORDINATES && n >= TREE_POINTS {
        return Tree::new(&rows, n).nearest(k, monitor);
    }
    let means = column_means(points);
    let largest = (0..n)
        .flat_map(|i| rows.row(i).iter().zip(&means))
        .fold(0.0f64, |most, (x, mean)| most.max((x - mean).abs()));
    // A power of two: distances are scaled without rounding, so that their order stays.
    let scale = if largest > 0.0 { 2f64.powi(-(largest.log2().ceil() as i32).clamp(-500, 500)) } else { 1.0 };
    // One point per column; distances are those of the points times `scale`.
    let centred = |i: usize, j: usize| (rows.row(i)[j] - means[j]) * scale;
    let (single, beside) = match leading_axes(n, p, &centred)? {
        Some(axes) => along(axes.as_ref(), n, p, &centred),
        None => (Mat::<f32>::from_fn(p, n, |j, i| centred(i, j) as f32), vec![]),
    };
    let norms: Vec<f64> =
        (0..n).map(|i| single.col(i).iter().map(|&x| f64::from(x) * f64::from(x)).sum()).collect();
    let doubt = (single.nrows() as f64 + 24.0) * 2f64.powi(-24);
    let exact = |i: usize, j: usize| rows.squared_distance(i, j) * scale * scale;

    let square = Bounds { norms: &norms, beside: &beside, doubt };
    let n_sides = n.div_ceil(SIDE);
    let seen: Vec<Mutex<Vec<Seen>>> = (0..n_sides)
        .map(|side| {
            let count = SIDE.min(n - side * SIDE);
            Mutex::new(vec![Seen { uppers: vec![f64::INFINITY; k], maybe: vec![] }; count])
        })
        .collect();
    let pairs: Vec<(usize, usize)> = (0..n_sides).flat_map(|a| (a..n_sides).map(move |b| (a, b))).collect();
    pairs.par_iter().try_for_each(|&(a, b)| {
        monitor.check()?;
        let (from, other) = (a * SIDE, b * SIDE);
        let left = single.get(.., from..n.min(from + SIDE));
        let right = single.get(.., other..n.min(other + SIDE));
        let inner = product(left.transpose(), right);
        meet_square(&seen[a], inner.as_ref(), false, from, other, &square, k, &exact);
        if a != b {
            meet_square(&seen[b], inner.as_ref(), true, other, from, &square, k, &exact);
        }
        Ok(())
    })?;

    let settled: Vec<Vec<Seen>> = seen
        .into_par_iter()
        .enumerate()
        .map(|(side, seen)| {
            let mut seen = seen.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            for (at, point) in seen.iter_mut().enumerate() {
                point.settle(k, |other| exact(side * SIDE + at, other));
            }
            seen
        })
        .collect();
    let (mut indices, mut squared) = (Vec::with_capacity(n * k), Vec::with_capacity(n * k));
    for (i, point) in settled.iter().flatten().enumerate() {
        for &(_, _, other) in &point.maybe {
            indices.push(other);
            squared.push(rows.squared_distance(i, other));
        }
    }
    Ok(Nearest { k, indices, squared })
}

/// What bounds the distance of a pair beside the product of its points.
struct Bounds<'a> {
    norms: &'a [f64],
    /// How far points lie off the axes; empty where all coordinates are compared.
    beside: &'a [f64],
    doubt: f64,
}

/// Orthonormal axes (p × r) along which most pairs can be told apart; `None` where that does not pay.
fn leading_axes(
    n: usize,
    p: usize,
    centred: &(impl Fn(usize, usize) -> f64 + Sync),
) -> Result<Option<Mat<f64>>> {
    if p < 4 * AXES || n < 4 * SAMPLE {
        return Ok(None);
    }
    // Evenly spaced points; their Gram matrix is small.
    let sample = Mat::from_fn(SAMPLE, p, |s, j| centred(s * n / SAMPLE, j));
    let gram = product(sample.as_ref(), sample.transpose());
    let found = eigh(gram.as_ref())?;
    let rank = (0..AXES).take_while(|&r| found.values[r] > 1e-12 * found.values[0]).count();
    if rank == 0 {
        return Ok(None);
    }
    let vectors = found.vectors.get(.., ..rank);
    // Twice, since the first time rounds.
    let axes = thin_qr(thin_qr(cross(sample.as_ref(), vectors).as_ref()).0.as_ref()).0;
    let inside = product(sample.as_ref(), axes.as_ref());
    let off: f64 = (0..SAMPLE)
        .map(|s| (sample.row(s).squared_norm_l2() - inside.row(s).squared_norm_l2()).max(0.0))
        .sum::<f64>()
        / SAMPLE as f64;
    let between = |a: usize, b: usize| gram[(a, a)] + gram[(b, b)] - 2.0 * gram[(a, b)];
    let mut nearest: Vec<f64> = (0..SAMPLE)
        .map(|a| (0..SAMPLE).filter(|&b| b != a).map(|b| between(a, b)).fold(f64::INFINITY, f64::min))
        .collect();
    nearest.sort_unstable_by(f64::total_cmp);
    // Among all points neighbours are nearer than in the sample: by (SAMPLE/n)^(2/d), taken for d = 2.
    let expected = nearest[SAMPLE / 2] * SAMPLE as f64 / n as f64;
    Ok((4.0 * off <= expected).then_some(axes))
}

/// Coordinates along axes and, last, the distance off them, one point per column; and these distances by themselves.
fn along(
    axes: MatRef<f64>,
    n: usize,
    p: usize,
    centred: &(impl Fn(usize, usize) -> f64 + Sync),
) -> (Mat<f32>, Vec<f64>) {
    let r = axes.ncols();
    let parts: Vec<(Mat<f64>, Vec<f64>)> = (0..n.div_ceil(SIDE))
        .into_par_iter()
        .map(|side| {
            let from = side * SIDE;
            let x = Mat::from_fn(SIDE.min(n - from), p, |i, j| centred(from + i, j));
            let inside = product(x.as_ref(), axes);
            let rest = &x - product(inside.as_ref(), axes.transpose());
            let beside = (0..x.nrows()).map(|i| rest.row(i).norm_l2()).collect();
            (inside, beside)
        })
        .collect();
    let single = Mat::from_fn(r + 1, n, |j, i| {
        let (inside, beside) = &parts[i / SIDE];
        if j < r { inside[(i % SIDE, j)] as f32 } else { beside[i % SIDE] as f32 }
    });
    (single, parts.into_iter().flat_map(|(_, beside)| beside).collect())
}

/// Show the points of one side of a square those of the other. `turned`: they stand in its columns.
fn meet_square(
    seen: &Mutex<Vec<Seen>>,
    inner: MatRef<f32>,
    turned: bool,
    from: usize,
    other: usize,
    bounds: &Bounds<'_>,
    k: usize,
    exact: &(impl Fn(usize, usize) -> f64 + Sync),
) {
    let &Bounds { norms, beside, doubt } = bounds;
    let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (n_here, n_other) =
        if turned { (inner.ncols(), inner.nrows()) } else { (inner.nrows(), inner.ncols()) };
    // Columns lie in one piece: walk along them, whichever side they are.
    let mut limits: Vec<f32> = seen.iter().map(|point| above(point.limit())).collect();
    let low: Vec<f32> = norms.iter().map(|norm| below(norm * (1.0 - doubt))).collect();
    for column in 0..inner.ncols() {
        let column_at = if turned { from + column } else { other + column };
        for (row, &product) in inner.col(column).iter().enumerate() {
            let row_at = if turned { other + row } else { from + row };
            let here = if turned { column } else { row };
            // A quick look that never rules out wrongly: the slack covers rounding in these few operations.
            let bound = low[row_at] + low[column_at] - 2.0 * product;
            if bound > limits[here] {
                continue;
            }
            let (i, j) = if turned { (column_at, row_at) } else { (row_at, column_at) };
            if i == j {
                continue;
            }
            let both = norms[i] + norms[j];
            let middle = both - 2.0 * f64::from(product);
            let off = if beside.is_empty() { 0.0 } else { 4.0 * beside[i] * beside[j] };
            seen[here].meet(middle - doubt * both, middle + off + doubt * both, j);
            limits[here] = above(seen[here].limit());
            seen[here].tidy(k, |j| exact(from + here, j));
        }
    }
    debug_assert!(n_here <= SIDE && n_other <= SIDE);
}

/// A number in single precision that is surely no less.
fn above(x: f64) -> f32 {
    if x.is_finite() { (x + x.abs() * 2f64.powi(-22)) as f32 } else { f32::INFINITY }
}

fn below(x: f64) -> f32 {
    (x * (1.0 - 2f64.powi(-22))) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;

    fn by_loops(points: MatRef<f64>, k: usize) -> Nearest {
        let rows = Rows::of(points);
        let (mut indices, mut squared) = (vec![], vec![]);
        for i in 0..points.nrows() {
            let mut all: Vec<(f64, usize)> =
                (0..points.nrows()).filter(|&j| j != i).map(|j| (rows.squared_distance(i, j), j)).collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            indices.extend(all[..k].iter().map(|pair| pair.1));
            squared.extend(all[..k].iter().map(|pair| pair.0));
        }
        Nearest { k, indices, squared }
    }

    #[test]
    fn neighbours_on_a_line_by_hand() {
        let x = Mat::from_fn(5, 1, |i, _| [0.0, 1.0, 3.0, 7.0, 4.0][i]);
        let found = nearest(x.as_ref(), 2, &Monitor::silent()).unwrap();
        assert_eq!(found.indices, [1, 2, 0, 2, 4, 1, 4, 2, 2, 1]);
        // 1 lies 2 from 3 and 3 from 4; 7 lies 3 from 4.
        assert_eq!(found.squared, [1.0, 9.0, 1.0, 4.0, 1.0, 4.0, 9.0, 16.0, 1.0, 9.0]);
    }

    #[test]
    fn neighbours_are_those_of_loops_also_far_from_the_origin_with_ties_and_tight_clusters() {
        for (case, n, p, k) in [
            (0, 700, 3, 5),
            (1, 1200, 40, 20),
            (2, 600, 2, 7),
            (3, 530, 6, 4),
            // By a tree.
            (0, 1500, 3, 64),
            (0, 1100, 1, 1),
            (0, 1300, 6, 1299),
            (2, 2000, 2, 7),
            (3, 1030, 6, 4),
            (4, 1200, 2, 5),
            // Along 32 of 200 axes, with and without ties off them.
            (5, 1100, 200, 20),
            (6, 1100, 200, 3),
        ] {
            let mut turn = Stream::new(4, "nearest tests", case);
            let turned = Mat::from_fn(6, p, |_, _| turn.normal());
            let mut stream = Stream::new(3, "nearest tests", case);
            let inside =
                Mat::from_fn(n, 6, |_, _| if case == 6 { turn.below(3) as f64 } else { turn.normal() });
            let flat = product(inside.as_ref(), turned.as_ref());
            let points = Mat::from_fn(n, p, |i, j| match case {
                5 | 6 => flat[(i, j)] + if case == 5 { 1e-3 * stream.normal() } else { 0.0 },
                // On a grid there are ties; two far clusters are each finer than single precision.
                2 => stream.below(12) as f64,
                3 => (i % 2) as f64 * 1e3 + 1e-6 * stream.normal(),
                // Most points are one.
                4 => f64::from(u8::from(i % 10 == 0)) * stream.normal(),
                _ => 1e3 + stream.normal(),
            });
            let (found, slow) =
                (nearest(points.as_ref(), k, &Monitor::silent()).unwrap(), by_loops(points.as_ref(), k));
            assert_eq!(found, slow, "case {case}");
            if case >= 5 {
                let centred = |i: usize, j: usize| points[(i, j)];
                assert!(leading_axes(n, p, &centred).unwrap().is_some());
            }
        }
    }

    #[test]
    fn equal_rows_are_found_and_too_few_points_refused() {
        let x = Mat::from_fn(4, 2, |i, j| [[1.0, 0.0], [2.0, 0.0], [1.0, -0.0], [0.5, 3.0]][i][j]);
        assert_eq!(distinct_rows(x.as_ref()), [0, 1, 3]);
        let refused = nearest(x.as_ref(), 4, &Monitor::silent()).unwrap_err().to_string();
        assert!(refused.contains("5 points"), "{refused}");
        let bad = Mat::full(4, 2, f64::NAN);
        assert!(nearest(bad.as_ref(), 1, &Monitor::silent()).is_err());
    }
}
