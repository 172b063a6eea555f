//! A tree of boxes over points of few coordinates, to find nearest neighbours exactly.
//!
//! Points are halved at the median of the coordinate in which their box is widest, down to leaves of some dozen. A
//! search goes into the nearer half first, and into a box only if that may hold a point nearer than the k-th so far:
//! what a box is away bounds the distances of its points from below, but for rounding, which `DOUBT` covers.
//!
//! Source: Friedman, Bentley & Finkel 1977. Cost: O(n log n) for the tree, O(k log n) per point with a factor that
//! grows with 2^p.

use rayon::prelude::*;

use super::nearest::{Nearest, Rows, squared_between};
use crate::data::{Monitor, Result};

/// Points in a leaf, at most.
const LEAF: usize = 24;
/// Share by which the sum of p ≤ 64 squares may come out too large.
const DOUBT: f64 = 1e-13;
/// Points searched for in one go.
const BATCH: usize = 256;

/// A box and what it holds.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// Places of its points in the order of the tree.
    from: usize,
    to: usize,
    /// Its halves; none of a leaf.
    halves: Option<(usize, usize)>,
}

/// The tree.
#[derive(Debug)]
pub(super) struct Tree {
    p: usize,
    /// Points in the order of the tree, and which they are.
    values: Vec<f64>,
    order: Vec<usize>,
    nodes: Vec<Node>,
    /// Of every node p least and p largest coordinates.
    bounds: Vec<f64>,
}

impl Tree {
    /// Over n points; n ≥ 1.
    pub fn new(rows: &Rows, n: usize) -> Self {
        let p = rows.row(0).len();
        let mut tree = Tree { p, values: vec![], order: (0..n).collect(), nodes: vec![], bounds: vec![] };
        let mut order = std::mem::take(&mut tree.order);
        tree.grow(rows, &mut order, 0);
        tree.values = order.iter().flat_map(|&i| rows.row(i).iter().copied()).collect();
        tree.order = order;
        tree
    }

    /// The node over `members`, which stand from `from` on.
    fn grow(&mut self, rows: &Rows, members: &mut [usize], from: usize) -> usize {
        let at = self.nodes.len();
        self.nodes.push(Node { from, to: from + members.len(), halves: None });
        let mut low = vec![f64::INFINITY; self.p];
        let mut high = vec![f64::NEG_INFINITY; self.p];
        for &i in members.iter() {
            for (j, &x) in rows.row(i).iter().enumerate() {
                (low[j], high[j]) = (low[j].min(x), high[j].max(x));
            }
        }
        let widest = (0..self.p)
            .max_by(|&a, &b| (high[a] - low[a]).total_cmp(&(high[b] - low[b])).then(b.cmp(&a)))
            .unwrap_or(0);
        let extent = high[widest] - low[widest];
        self.bounds.extend(low.iter().chain(&high));
        // Points that are all one stay together.
        if members.len() > LEAF && extent > 0.0 {
            let middle = members.len() / 2;
            members.select_nth_unstable_by(middle, |&a, &b| {
                rows.row(a)[widest].total_cmp(&rows.row(b)[widest]).then(a.cmp(&b))
            });
            let (left, right) = members.split_at_mut(middle);
            let first = self.grow(rows, left, from);
            let second = self.grow(rows, right, from + middle);
            self.nodes[at].halves = Some((first, second));
        }
        at
    }

    /// What a box is away from a point, squared.
    fn away(&self, node: usize, point: &[f64]) -> f64 {
        let (low, high) = self.bounds[2 * node * self.p..2 * (node + 1) * self.p].split_at(self.p);
        let beyond = |j: usize| (low[j] - point[j]).max(point[j] - high[j]).max(0.0);
        (0..self.p).map(|j| beyond(j) * beyond(j)).sum()
    }

    /// The k nearest of every point; n > k ≥ 1.
    pub fn nearest(&self, k: usize, monitor: &Monitor<'_>) -> Result<Nearest> {
        let n = self.order.len();
        let found: Vec<Vec<(f64, usize)>> = (0..n.div_ceil(BATCH))
            .into_par_iter()
            .map(|batch| {
                monitor.check()?;
                let mut all = Vec::with_capacity(BATCH * k);
                let mut best = Vec::with_capacity(k + 1);
                for at in batch * BATCH..n.min((batch + 1) * BATCH) {
                    best.clear();
                    let point = &self.values[at * self.p..(at + 1) * self.p];
                    self.search(0, 0.0, point, self.order[at], k, &mut best);
                    all.extend_from_slice(&best);
                }
                Ok(all)
            })
            .collect::<Result<_>>()?;
        let (mut indices, mut squared) = (vec![0; n * k], vec![0.0; n * k]);
        for (at, of_point) in found.iter().flat_map(|batch| batch.chunks_exact(k)).enumerate() {
            let from = self.order[at] * k;
            for (slot, &(distance, other)) in of_point.iter().enumerate() {
                (squared[from + slot], indices[from + slot]) = (distance, other);
            }
        }
        Ok(Nearest { k, indices, squared })
    }

    /// Put what a node holds among the best k of a point, ascending by (distance, index).
    fn search(
        &self,
        node: usize,
        away: f64,
        point: &[f64],
        own: usize,
        k: usize,
        best: &mut Vec<(f64, usize)>,
    ) {
        let too_far =
            |away: f64, best: &[(f64, usize)]| best.len() == k && away * (1.0 - DOUBT) > best[k - 1].0;
        if too_far(away, best) {
            return;
        }
        let Node { from, to, halves } = self.nodes[node];
        if let Some((a, b)) = halves {
            let (to_a, to_b) = (self.away(a, point), self.away(b, point));
            let (near, far) = if to_b < to_a { ((b, to_b), (a, to_a)) } else { ((a, to_a), (b, to_b)) };
            self.search(near.0, near.1, point, own, k, best);
            self.search(far.0, far.1, point, own, k, best);
            return;
        }
        for (at, other) in (from..to).zip(self.values[from * self.p..to * self.p].chunks_exact(self.p)) {
            let found = (squared_between(point, other), self.order[at]);
            let closer = best.len() < k || (found.0, found.1) < best[k - 1];
            if closer && found.1 != own {
                let place = best.partition_point(|b| *b < found);
                if best.len() == k {
                    best.pop();
                }
                best.insert(place, found);
            }
        }
    }
}
