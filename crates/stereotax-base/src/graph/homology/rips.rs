//! Follow clusters and loops of points while a scale grows: persistent homology of the Vietoris–Rips complex.
//!
//! At scale t all points closer than t are joined, and every three that are joined in pairs span a triangle. A class of
//! dimension 0 is a cluster, one of dimension 1 a loop; each is born at a scale and dies at another, over Z/2:
//!
//! ```text
//! dimension 0   born at 0, dies with the edge of the minimum spanning tree that joins it to another
//! dimension 1   born with an edge that closes a loop, dies with the triangle that fills it
//! ```
//!
//! Edges stand in one order (length, then place); a triangle is named by its last edge and the vertex across from it, so
//! that its name is its place in a filtration. Cohomology goes through the edges backwards and looks for the first
//! triangle that undoes each. Four things make that short: the spanning tree's edges need nothing (clearing); an
//! edge that is the last of some triangle is paired with the first such triangle at once, without persistence
//! (apparent pairs: all but the edges of the relative neighbourhood graph); coboundaries are listed anew whenever
//! they are needed and never stored; and only up to the scale that a column has come to.
//!
//! Above the enclosing radius, min_i max_j d(i, j), the complex is a cone: one cluster, no loop. That is where it ends
//! unless a threshold is given; classes alive at a lower threshold have no end (infinite).
//! With ties the diagram does not depend on how they are broken. Same bits for any number of threads.
//!
//! Source: Bauer 2021 (cohomology, clearing, apparent pairs, implicit coboundary); Edelsbrunner & Harer 2010. Cost: n²
//! numbers of memory, n² log n for the order, at worst n³ for apparent pairs (rarely more than n² log n), and n per
//! edge and addition in a column of the rest.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use faer::MatRef;
use rayon::prelude::*;

use crate::data::rdm::pair_index;
use crate::data::{Error, Monitor, Result};
use crate::graph::nearest::Rows;
use crate::stats::summary::check_finite;

/// How far to go.
#[derive(Debug, Clone, PartialEq)]
pub struct HomologyParams {
    /// 0 for clusters, 1 for clusters and loops. Default 1.
    pub max_dimension: usize,
    /// Largest scale; `None`, the default: the enclosing radius, beyond which nothing happens.
    pub threshold: Option<f64>,
}

impl Default for HomologyParams {
    fn default() -> Self {
        HomologyParams { max_dimension: 1, threshold: None }
    }
}

/// Scales at which a class appears and vanishes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// In the unit of the distances.
    pub birth: f64,
    /// Infinite where the class is alive at the threshold.
    pub death: f64,
}

impl Bar {
    /// death − birth.
    pub fn persistence(&self) -> f64 {
        self.death - self.birth
    }
}

/// Persistence diagrams of a set of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Homology {
    /// Bars longer than 0 of dimension 0, 1, …: longest first, of equals the earlier first.
    pub diagrams: Vec<Vec<Bar>>,
    /// The scale at which it ends.
    pub threshold: f64,
    /// Edges up to the threshold.
    pub n_edges: usize,
}

/// No edge: longer than the threshold, or a vertex with itself.
const NONE: i32 = i32::MAX;
/// No vertex.
const NOBODY: u32 = u32::MAX;

/// Persistent homology of `n_points` points with `distances` of all pairs ((0, 1), (0, 2), …, (1, 2), …).
///
/// An infinite distance joins nobody. Errors: no point, another number of distances than pairs, NaN, a distance below 0,
/// a threshold below 0, a dimension above 1.
pub fn persistent_homology(
    n_points: usize,
    distances: &[f64],
    params: &HomologyParams,
    monitor: &Monitor<'_>,
) -> Result<Homology> {
    check(n_points, distances, params)?;
    let complex = Complex::new(n_points, distances, params.threshold, monitor)?;
    let (clusters, in_tree) = complex.clusters();
    let mut diagrams = vec![clusters];
    if params.max_dimension > 0 {
        diagrams.push(complex.loops(&in_tree, monitor)?);
    }
    for diagram in &mut diagrams {
        diagram.retain(|bar| bar.death > bar.birth);
        diagram.sort_by(|a, b| b.persistence().total_cmp(&a.persistence()).then(a.birth.total_cmp(&b.birth)));
    }
    Ok(Homology { diagrams, threshold: complex.threshold, n_edges: complex.edges.len() })
}

/// Persistent homology of the rows of `points` (n_points × n_coordinates) by Euclidean distance.
///
/// Errors: no point, a value that is not finite, a setting that [`persistent_homology`] refuses.
pub fn homology_of_points(
    points: MatRef<f64>,
    params: &HomologyParams,
    monitor: &Monitor<'_>,
) -> Result<Homology> {
    check_finite("points", points)?;
    let (rows, n) = (Rows::of(points), points.nrows());
    let from = |i: usize| -> Vec<f64> { (i + 1..n).map(|j| rows.squared_distance(i, j).sqrt()).collect() };
    let distances: Vec<Vec<f64>> = (0..n).into_par_iter().map(from).collect();
    persistent_homology(n, &distances.concat(), params, monitor)
}

fn check(n: usize, distances: &[f64], params: &HomologyParams) -> Result<()> {
    if n == 0 || n >= i32::MAX as usize / 2 {
        return Err(Error::TooFew {
            what: "points".into(),
            needed: "1 point".into(),
            found: n.to_string(),
            hint: "give at least one point".into(),
        });
    }
    let pairs = n * (n - 1) / 2;
    if distances.len() != pairs {
        return Err(Error::Shape {
            what: "distances".into(),
            expected: format!("{pairs} distances ({n} points)"),
            found: distances.len().to_string(),
            hint: "give the upper triangle row by row, without the diagonal".into(),
        });
    }
    if let Some(at) = distances.iter().position(|d| d.is_nan()) {
        return Err(Error::NotFinite {
            what: "distances (condensed, as one row)".into(),
            row: 0,
            column: at,
            count: distances.iter().filter(|d| d.is_nan()).count(),
            hint: "leave out points without a distance, or give infinity for pairs that are never joined"
                .into(),
        });
    }
    if let Some(negative) = distances.iter().find(|d| **d < 0.0) {
        return Err(Error::Invalid {
            what: "distances".into(),
            expected: "0 or more".into(),
            found: negative.to_string(),
            hint: "cross-validated distances may be negative; take plain ones, or add a constant".into(),
        });
    }
    if params.threshold.is_some_and(|t| !(t >= 0.0)) || params.max_dimension > 1 {
        return Err(Error::Invalid {
            what: "threshold and max_dimension".into(),
            expected: "0 or more, and 0 or 1".into(),
            found: format!("{:?} and {}", params.threshold, params.max_dimension),
            hint: "leave the threshold out for the enclosing radius".into(),
        });
    }
    Ok(())
}

/// All edges up to a threshold, in order.
struct Complex {
    n: usize,
    threshold: f64,
    /// Ends of each edge.
    edges: Vec<(u32, u32)>,
    lengths: Vec<f64>,
    /// Places of edges among all, n × n.
    places: Vec<i32>,
}

impl Complex {
    fn new(n: usize, distances: &[f64], threshold: Option<f64>, monitor: &Monitor<'_>) -> Result<Self> {
        let between = |i: usize, j: usize| distances[pair_index(n, i, j)];
        let reach: Vec<f64> = (0..n)
            .into_par_iter()
            .map(|i| (0..n).filter(|&j| j != i).map(|j| between(i, j)).fold(0.0, f64::max))
            .collect();
        let radius = reach.iter().copied().fold(f64::INFINITY, f64::min);
        // Points in the middle of all others come first: most edges find the apex of a triangle among them.
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&i, &j| reach[i].total_cmp(&reach[j]).then(i.cmp(&j)));
        let threshold = threshold.map_or(radius, |t| t.min(radius));
        monitor.check()?;
        let mut sorted: Vec<(u64, u32, u32)> = Vec::new();
        for a in 0..n {
            for b in 0..a {
                let d = between(order[a], order[b]);
                if d <= threshold && d < f64::INFINITY {
                    // Bits of numbers that are not negative ascend with them.
                    sorted.push(((d + 0.0).to_bits(), a as u32, b as u32));
                }
            }
        }
        sorted.par_sort_unstable();
        monitor.check()?;
        let mut places = vec![NONE; n * n];
        for (place, &(_, a, b)) in sorted.iter().enumerate() {
            places[a as usize * n + b as usize] = place as i32;
            places[b as usize * n + a as usize] = place as i32;
        }
        let edges = sorted.iter().map(|&(_, a, b)| (a, b)).collect();
        let lengths = sorted.iter().map(|&(d, _, _)| f64::from_bits(d)).collect();
        Ok(Complex { n, threshold, edges, lengths, places })
    }

    fn row(&self, vertex: u32) -> &[i32] {
        &self.places[vertex as usize * self.n..(vertex as usize + 1) * self.n]
    }

    /// Bars of dimension 0, and which edges are in the minimum spanning tree (Kruskal).
    fn clusters(&self) -> (Vec<Bar>, Vec<bool>) {
        let mut parent: Vec<u32> = (0..self.n as u32).collect();
        fn root(parent: &mut [u32], mut v: u32) -> u32 {
            while parent[v as usize] != v {
                parent[v as usize] = parent[parent[v as usize] as usize];
                v = parent[v as usize];
            }
            v
        }
        let mut in_tree = vec![false; self.edges.len()];
        let mut bars = Vec::with_capacity(self.n);
        for (place, &(a, b)) in self.edges.iter().enumerate() {
            if bars.len() + 1 == self.n {
                break;
            }
            let (a, b) = (root(&mut parent, a), root(&mut parent, b));
            if a != b {
                parent[a as usize] = b;
                in_tree[place] = true;
                bars.push(Bar { birth: 0.0, death: self.lengths[place] });
            }
        }
        bars.resize(self.n, Bar { birth: 0.0, death: f64::INFINITY });
        (bars, in_tree)
    }

    /// The first vertex closer to both ends of an edge than these are to each other: with it the edge makes the first
    /// triangle of which it is the last edge.
    fn apex(&self, place: usize) -> u32 {
        let (a, b) = self.edges[place];
        let (from_a, from_b, place) = (self.row(a), self.row(b), place as i32);
        let within = |p: &i32, q: &i32| (*p < place) & (*q < place);
        for (at, (p, q)) in from_a.chunks(32).zip(from_b.chunks(32)).enumerate() {
            if p.iter().zip(q).fold(false, |any, (p, q)| any | within(p, q)) {
                let inside = p.iter().zip(q).position(|(p, q)| within(p, q)).unwrap_or(0);
                return (32 * at + inside) as u32;
            }
        }
        NOBODY
    }

    /// Bars of dimension 1.
    fn loops(&self, in_tree: &[bool], monitor: &Monitor<'_>) -> Result<Vec<Bar>> {
        let mut apexes = vec![NOBODY; self.edges.len()];
        apexes.par_chunks_mut(4096).enumerate().try_for_each(|(chunk, apexes)| {
            monitor.check()?;
            for (at, apex) in apexes.iter_mut().enumerate() {
                *apex = self.apex(4096 * chunk + at);
            }
            Ok(())
        })?;
        let mut bars = vec![];
        // What is left, latest first: pairs of edges and triangles that are not apparent.
        let mut owners: HashMap<u64, usize> = HashMap::new();
        let mut columns: Vec<Vec<u32>> = vec![];
        for place in (0..self.edges.len()).rev().filter(|&e| apexes[e] == NOBODY && !in_tree[e]) {
            monitor.check()?;
            let mut column = Column::new(self, place as u32);
            let death = loop {
                let Some(pivot) = column.pivot() else { break f64::INFINITY };
                let last = (pivot >> 32) as u32;
                if apexes[last as usize] == pivot as u32 {
                    column.add(&[last], pivot);
                } else if let Some(&owner) = owners.get(&pivot) {
                    column.add(&columns[owner], pivot);
                } else {
                    owners.insert(pivot, columns.len());
                    columns.push(column.edges());
                    break self.lengths[last as usize];
                }
            };
            bars.push(Bar { birth: self.lengths[place], death });
        }
        Ok(bars)
    }

    /// Triangles on an edge, by name: after `above`, and with a last edge up to `up_to`.
    fn triangles(&self, edge: u32, above: u64, up_to: i32, mut meet: impl FnMut(u64)) {
        let (a, b) = self.edges[edge as usize];
        let rows = self.row(a).chunks(16).zip(self.row(b).chunks(16));
        for (at, (p, q)) in rows.enumerate() {
            if !p.iter().zip(q).fold(false, |any, (p, q)| any | ((*p <= up_to) & (*q <= up_to))) {
                continue;
            }
            for (inside, (&p, &q)) in p.iter().zip(q).enumerate() {
                let last = p.max(q);
                if last <= up_to {
                    let key = if last < edge as i32 {
                        name(edge, (16 * at + inside) as u32)
                    } else {
                        name(last as u32, if p > q { b } else { a })
                    };
                    if key > above {
                        meet(key);
                    }
                }
            }
        }
    }
}

/// A triangle: its last edge, and the vertex across.
fn name(last: u32, across: u32) -> u64 {
    u64::from(last) << 32 | u64::from(across)
}

/// The coboundary of a sum of edges, known up to a scale.
struct Column<'a> {
    complex: &'a Complex,
    /// The sum; an edge that stands twice is not in it.
    edges: Vec<u32>,
    /// Triangles; one that stands twice is not in it.
    triangles: BinaryHeap<Reverse<u64>>,
    /// Last edges up to this one are in `triangles`.
    up_to: i32,
    step: i32,
}

impl<'a> Column<'a> {
    fn new(complex: &'a Complex, edge: u32) -> Self {
        // The first look is far enough for most columns; it doubles.
        let step = (complex.edges.len() / 256).max(2 * complex.n) as i32;
        let mut column =
            Column { complex, edges: vec![edge], triangles: BinaryHeap::new(), up_to: edge as i32, step };
        column.look_further();
        column
    }

    /// Add another sum of edges whose first triangle is `pivot`, which was taken from this one: what the other has
    /// before it cancels, and it cancels with this one's.
    fn add(&mut self, edges: &[u32], pivot: u64) {
        for &edge in edges {
            let triangles = &mut self.triangles;
            self.complex.triangles(edge, pivot, self.up_to, |key| triangles.push(Reverse(key)));
        }
        self.edges.extend_from_slice(edges);
    }

    /// Take the first triangle; `None` of a sum without a coboundary.
    fn pivot(&mut self) -> Option<u64> {
        loop {
            match self.triangles.pop() {
                Some(first) if self.triangles.peek() == Some(&first) => {
                    self.triangles.pop();
                }
                Some(Reverse(first)) => return Some(first),
                None if self.up_to as usize + 1 >= self.complex.edges.len() => return None,
                None => self.look_further(),
            }
        }
    }

    fn look_further(&mut self) {
        let last = self.complex.edges.len() as i32 - 1;
        let above = name(self.up_to as u32, u32::MAX);
        self.up_to = self.up_to.saturating_add(self.step).min(last);
        self.step = self.step.saturating_mul(2);
        let (edges, up_to) = (self.edges(), self.up_to);
        let triangles = &mut self.triangles;
        for &edge in &edges {
            self.complex.triangles(edge, above, up_to, |key| triangles.push(Reverse(key)));
        }
        self.edges = edges;
    }

    /// The sum, each edge once.
    fn edges(&mut self) -> Vec<u32> {
        let mut edges = std::mem::take(&mut self.edges);
        edges.sort_unstable();
        let mut kept: Vec<u32> = Vec::with_capacity(edges.len());
        for edge in edges {
            if kept.last() == Some(&edge) {
                kept.pop();
            } else {
                kept.push(edge);
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::super::{betti_curve, bottleneck_distance};
    use super::*;
    use crate::stats::rng::Stream;

    fn distances(points: &[Vec<f64>]) -> Vec<f64> {
        let between =
            |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
        let n = points.len();
        (0..n).flat_map(|i| (i + 1..n).map(move |j| between(&points[i], &points[j]))).collect()
    }

    fn homology(n: usize, distances: &[f64], threshold: Option<f64>) -> Homology {
        let params = HomologyParams { threshold, ..HomologyParams::default() };
        persistent_homology(n, distances, &params, &Monitor::silent()).unwrap()
    }

    /// The textbook: every simplex up to dimension 2 in order, and columns of the boundary added until all their lowest
    /// entries differ.
    fn by_matrix(n: usize, distances: &[f64], threshold: f64) -> [Vec<Bar>; 2] {
        let d = |i: usize, j: usize| distances[pair_index(n, i, j)];
        let mut simplices: Vec<(f64, Vec<usize>)> = (0..n).map(|i| (0.0, vec![i])).collect();
        for i in 0..n {
            for j in 0..i {
                simplices.push((d(i, j), vec![j, i]));
                for k in 0..j {
                    simplices.push((d(i, j).max(d(i, k)).max(d(j, k)), vec![k, j, i]));
                }
            }
        }
        simplices.retain(|(scale, _)| *scale <= threshold);
        simplices.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.len().cmp(&b.1.len())).then(a.1.cmp(&b.1)));
        let find = |face: &[usize]| simplices.iter().position(|(_, s)| s == face).unwrap();
        let mut columns: Vec<Vec<usize>> = simplices
            .iter()
            .map(|(_, s)| {
                let face = |out: usize| s.iter().copied().filter(|&v| v != s[out]).collect::<Vec<_>>();
                let mut faces: Vec<usize> = match s.len() {
                    1 => vec![],
                    size => (0..size).map(|out| find(&face(out))).collect(),
                };
                faces.sort_unstable();
                faces
            })
            .collect();
        let mut bars = [vec![], vec![]];
        let mut dead = vec![false; columns.len()];
        for at in 0..columns.len() {
            while let Some(&low) = columns[at].last() {
                let Some(other) = (0..at).find(|&c| columns[c].last() == Some(&low)) else { break };
                let (mine, others) = (columns[at].clone(), columns[other].clone());
                columns[at] = mine.iter().filter(|x| !others.contains(x)).copied().collect();
                columns[at].extend(others.iter().filter(|x| !mine.contains(x)));
                columns[at].sort_unstable();
            }
            if let Some(&low) = columns[at].last() {
                (dead[low], dead[at]) = (true, true);
                let bar = Bar { birth: simplices[low].0, death: simplices[at].0 };
                if bar.death > bar.birth {
                    bars[simplices[low].1.len() - 1].push(bar);
                }
            }
        }
        for at in (0..columns.len()).filter(|&at| !dead[at] && simplices[at].1.len() < 3) {
            bars[simplices[at].1.len() - 1].push(Bar { birth: simplices[at].0, death: f64::INFINITY });
        }
        for bars in &mut bars {
            bars.sort_by(|a, b| {
                b.persistence().total_cmp(&a.persistence()).then(a.birth.total_cmp(&b.birth))
            });
        }
        bars
    }

    #[test]
    fn a_square_by_hand() {
        // Side 1, diagonal √2: four points join at 1, the loop closes at 1 and is filled at √2.
        let square = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]].map(|p| p.to_vec());
        let found = homology(4, &distances(&square), None);
        let joins = |death| Bar { birth: 0.0, death };
        assert_eq!(found.diagrams[0], [joins(f64::INFINITY), joins(1.0), joins(1.0), joins(1.0)]);
        assert_eq!(found.diagrams[1], [Bar { birth: 1.0, death: 2f64.sqrt() }]);
        assert_eq!((found.threshold, found.n_edges), (2f64.sqrt(), 6));
        // Below the diagonal the loop has no end; below the side there is none.
        let found = homology(4, &distances(&square), Some(1.2));
        assert_eq!(found.diagrams[1], [Bar { birth: 1.0, death: f64::INFINITY }]);
        let found = homology(4, &distances(&square), Some(0.5));
        assert_eq!((found.diagrams[0].len(), found.diagrams[1].len()), (4, 0));
        assert_eq!(homology(1, &[], None).diagrams[0], [joins(f64::INFINITY)]);
    }

    #[test]
    fn bars_are_those_of_the_boundary_matrix_also_with_ties_and_thresholds() {
        for case in 0..60u64 {
            let mut stream = Stream::new(21, "homology tests", case);
            let n = 5 + stream.below(8);
            let distances: Vec<f64> = match case % 3 {
                // Any numbers: no triangle inequality is needed; few different ones: ties; a ring with noise.
                0 => (0..n * (n - 1) / 2).map(|_| stream.uniform()).collect(),
                1 => (0..n * (n - 1) / 2).map(|_| stream.below(4) as f64).collect(),
                _ => {
                    let mut at = |i: usize| {
                        let turn = 2.0 * PI * i as f64 / n as f64;
                        vec![turn.cos() + 0.1 * stream.normal(), turn.sin() + 0.1 * stream.normal()]
                    };
                    distances(&(0..n).map(&mut at).collect::<Vec<_>>())
                }
            };
            let mut sorted = distances.clone();
            sorted.sort_by(f64::total_cmp);
            for threshold in [None, Some(sorted[sorted.len() / 2])] {
                let found = homology(n, &distances, threshold);
                let slow = by_matrix(n, &distances, threshold.unwrap_or(f64::INFINITY));
                assert_eq!(found.diagrams[0], slow[0], "{case}");
                // A scale beyond the enclosing radius changes nothing.
                assert_eq!(found.diagrams[1], slow[1], "{case}");
            }
        }
    }

    #[test]
    fn betti_numbers_are_those_of_ranks_and_of_euler() {
        // At a scale: clusters = points − rank of ∂₁; loops = edges − rank ∂₁ − rank ∂₂; hollows = triangles − rank ∂₂;
        // points − edges + triangles = clusters − loops + hollows.
        let n = 9;
        let mut stream = Stream::new(22, "homology tests", 0);
        let points: Vec<Vec<f64>> = (0..n).map(|_| (0..3).map(|_| stream.normal()).collect()).collect();
        let d = distances(&points);
        let found = homology(n, &d, None);
        let joined = |i: usize, j: usize, t: f64| d[pair_index(n, i, j)] <= t;
        for scale in [0.2, 0.7, 1.0, 1.3, 1.6, 2.0, 3.0] {
            let (mut edges, mut triangles) = (vec![], vec![]);
            for i in 0..n {
                for j in (0..i).filter(|&j| joined(i, j, scale)) {
                    edges.push(1u64 << i | 1 << j);
                    for k in (0..j).filter(|&k| joined(i, k, scale) && joined(j, k, scale)) {
                        triangles.push([[i, j], [i, k], [j, k]].map(|[a, b]| 1u64 << a | 1 << b));
                    }
                }
            }
            let faces: Vec<u64> = triangles
                .iter()
                .map(|t| t.iter().map(|e| 1u64 << edges.iter().position(|x| x == e).unwrap()).sum())
                .collect();
            let rank = |mut rows: Vec<u64>| {
                let mut rank = 0;
                while let Some(row) = rows.pop() {
                    if row != 0 {
                        rank += 1;
                        let low = row & row.wrapping_neg();
                        rows.iter_mut().filter(|r| **r & low != 0).for_each(|r| *r ^= row);
                    }
                }
                rank
            };
            let (e, t) = (edges.len(), triangles.len());
            let (first, second) = (rank(edges.clone()), rank(faces));
            let clusters = betti_curve(&found.diagrams[0], &[scale])[0];
            assert_eq!(clusters, n - first);
            if scale < found.threshold {
                let loops = betti_curve(&found.diagrams[1], &[scale])[0];
                assert_eq!(loops, e - first - second, "{scale}");
                let hollows = t - second;
                assert_eq!(n as i64 - e as i64 + t as i64, clusters as i64 - loops as i64 + hollows as i64);
            }
        }
    }

    #[test]
    fn a_circle_has_one_loop_a_torus_two_a_sphere_none() {
        let mut stream = Stream::new(23, "homology tests", 0);
        let n = 240;
        let circle: Vec<Vec<f64>> = (0..n)
            .map(|_| {
                let turn = 2.0 * PI * stream.uniform();
                vec![turn.cos(), turn.sin()]
            })
            .collect();
        let loops = homology(n, &distances(&circle), None).diagrams[1].clone();
        // Of many points of the unit circle the loop is filled at √3.
        assert!((loops[0].death - 3f64.sqrt()).abs() < 0.05 && loops[0].birth < 0.3, "{:?}", loops[0]);
        assert!(loops.len() == 1, "{loops:?}");

        // The flat torus, evenly spaced and jittered.
        let torus: Vec<Vec<f64>> = (0..400)
            .map(|i| {
                let turn = |at: usize, noise: f64| 2.0 * PI * (at as f64 + 0.3 * noise) / 20.0;
                let (u, v) = (turn(i / 20, stream.uniform()), turn(i % 20, stream.uniform()));
                vec![u.cos(), u.sin(), v.cos(), v.sin()]
            })
            .collect();
        let loops = homology(400, &distances(&torus), None).diagrams[1].clone();
        assert!(loops[1].persistence() > 0.9 && loops[2].persistence() < 0.4, "{:?}", &loops[..3]);

        let sphere: Vec<Vec<f64>> = (0..300)
            .map(|_| {
                let x: Vec<f64> = (0..3).map(|_| stream.normal()).collect();
                let length = x.iter().map(|v| v * v).sum::<f64>().sqrt();
                x.iter().map(|v| v / length).collect()
            })
            .collect();
        let loops = homology(300, &distances(&sphere), None).diagrams[1].clone();
        assert!(loops[0].persistence() < 0.4, "{:?}", loops[0]);
    }

    #[test]
    fn diagrams_move_no_more_than_distances_and_not_at_all_with_the_order_of_points() {
        let mut stream = Stream::new(24, "homology tests", 0);
        let n = 40;
        let points: Vec<Vec<f64>> = (0..n).map(|_| (0..2).map(|_| stream.normal()).collect()).collect();
        let d = distances(&points);
        let before = homology(n, &d, None);
        for size in [0.01, 0.1, 0.4] {
            let moved: Vec<f64> =
                d.iter().map(|d| (d + size * (2.0 * stream.uniform() - 1.0)).max(0.0)).collect();
            let most = d.iter().zip(&moved).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let after = homology(n, &moved, None);
            for dimension in 0..2 {
                let apart =
                    bottleneck_distance(&before.diagrams[dimension], &after.diagrams[dimension]).unwrap();
                assert!(apart <= most + 1e-12 && apart > 0.0, "{dimension} {size}: {apart} {most}");
            }
        }
        let order = stream.permutation(n);
        let shuffled: Vec<Vec<f64>> = order.iter().map(|&i| points[i].clone()).collect();
        assert_eq!(homology(n, &distances(&shuffled), None), before);
    }

    #[test]
    fn what_has_no_diagram_is_refused_and_what_is_never_joined_stays_apart() {
        let message = |n: usize, d: &[f64], params: HomologyParams| {
            persistent_homology(n, d, &params, &Monitor::silent()).unwrap_err().to_string()
        };
        let plain = HomologyParams::default();
        assert!(message(0, &[], plain.clone()).contains("1 point"));
        assert!(message(3, &[1.0], plain.clone()).contains("3 distances"));
        assert!(message(2, &[f64::NAN], plain.clone()).contains("infinity"));
        assert!(message(2, &[-0.5], plain.clone()).contains("-0.5"));
        assert!(message(2, &[1.0], HomologyParams { max_dimension: 2, ..plain.clone() }).contains("0 or 1"));
        assert!(message(2, &[1.0], HomologyParams { threshold: Some(-1.0), ..plain }).contains("-1"));
        let apart = homology(3, &[1.0, f64::INFINITY, f64::INFINITY], None);
        assert_eq!(apart.diagrams[0].iter().filter(|bar| bar.death.is_infinite()).count(), 2);
        // All in one place.
        let same = homology(4, &[0.0; 6], None);
        assert_eq!((same.diagrams[0].len(), same.diagrams[1].len()), (1, 0));
    }
}
