//! Match the components of two fits, blind to their order, their scales and a rotation of everything.
//!
//! Component i of one fit and j of the other are as similar as the product of the cosines of their factors. The
//! assignment with the largest sum is taken, and of shift-invariant fits the rotation k of all maps of the second
//! with the largest sum: rotating every C by k and adding k to every shift leaves a fit as it is.
//!
//! Source: specs encoding-manifolds 1.5 (indeterminacies). Cost: O(D rank² · sizes + D rank³).

use faer::{Mat, MatRef};

use super::kernels::rotate;
use super::problem::Cyclic;
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{assignment, cross};

/// Which component is which.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentMatch {
    /// For each component of the first fit, the one of the second.
    pub order: Vec<usize>,
    /// The product of cosines of each pair, in [0, 1]; 0 where a component is dead.
    pub similarity: Vec<f64>,
    /// Directions by which the maps of the second fit are rotated to meet those of the first.
    pub shift: usize,
}

/// Match two fits of the same modes and rank.
///
/// Errors: other modes, sizes or ranks.
pub fn match_components(a: &[Mat<f64>], b: &[Mat<f64>], cyclic: Option<Cyclic>) -> Result<ComponentMatch> {
    let sizes = |factors: &[Mat<f64>]| -> Vec<(usize, usize)> {
        factors.iter().map(|factor| (factor.nrows(), factor.ncols())).collect()
    };
    let (Some(last_a), Some(last_b), true) = (a.last(), b.last(), sizes(a) == sizes(b)) else {
        return Err(Error::Shape {
            what: "fits".into(),
            expected: format!("factors of {:?}", sizes(a)),
            found: format!("{:?}", sizes(b)),
            hint: "match fits of the same tensor and rank".into(),
        });
    };
    let rank = last_a.ncols();
    let mut shared = Mat::full(rank, rank, 1.0);
    for (a, b) in a.iter().zip(b).take(a.len() - 1) {
        multiply(&mut shared, cosines(a.as_ref(), b.as_ref()));
    }
    let n_directions = cyclic.map_or(1, |cyclic| cyclic.n_directions);
    let mut best: Option<(f64, ComponentMatch)> = None;
    for shift in 0..n_directions {
        let mut turned = last_b.clone();
        for r in 0..rank {
            let column: Vec<f64> = last_b.col(r).iter().copied().collect();
            rotate(&column, shift, n_directions, turned.col_as_slice_mut(r));
        }
        let mut similarity = shared.clone();
        multiply(&mut similarity, cosines(last_a.as_ref(), turned.as_ref()));
        let cost = Mat::from_fn(rank, rank, |i, j| -similarity[(i, j)]);
        let order = assignment(cost.as_ref());
        let of_pairs: Vec<f64> = order.iter().enumerate().map(|(i, &j)| similarity[(i, j)]).collect();
        let total: f64 = of_pairs.iter().sum();
        if best.as_ref().is_none_or(|(most, _)| total > most + 1e-12) {
            best = Some((total, ComponentMatch { order, similarity: of_pairs, shift }));
        }
    }
    best.map(|(_, found)| found).ok_or_else(|| Error::TooFew {
        what: "components".into(),
        needed: "1".into(),
        found: "none".into(),
        hint: "fit first".into(),
    })
}

fn multiply(into: &mut Mat<f64>, by: Mat<f64>) {
    for j in 0..into.ncols() {
        for i in 0..into.nrows() {
            into[(i, j)] *= by[(i, j)];
        }
    }
}

/// Cosines between columns; 0 of a column of zeros.
fn cosines(a: MatRef<f64>, b: MatRef<f64>) -> Mat<f64> {
    let norms = |x: MatRef<f64>| -> Vec<f64> { x.col_iter().map(|col| col.norm_l2()).collect() };
    let (of_a, of_b) = (norms(a), norms(b));
    let inner = cross(a, b);
    Mat::from_fn(a.ncols(), b.ncols(), |i, j| {
        let size = of_a[i] * of_b[j];
        if size > 0.0 { inner[(i, j)] / size } else { 0.0 }
    })
}
