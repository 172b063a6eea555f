//! Capacity and geometry of the manifolds as they lie, without a limit of many (GLUE).
//!
//! With random signs y_i of P manifolds, t ~ N(0, 1), and the projection of t onto the cone of all points y_i x,
//!
//! ```text
//! α = P / ⟨|proj t|²⟩                          anchors s_i: the mean of manifold i's points, by their weights
//! a = (S t)ᵀ (S Sᵀ)⁺ (S t)                      S: signed anchors, P × N;  S₀ their means over draws, S₁ = S − S₀
//! b = (S₁ t)ᵀ (S₁ S₁ᵀ)⁺ (S₁ t),  c = (S₁ t)ᵀ (S₀ S₀ᵀ + S₁ S₁ᵀ)⁺ (S₁ t)
//! D = ⟨b⟩/P,  R = √(⟨c⟩ / (⟨b⟩ − ⟨c⟩)),  Ψ = ⟨c⟩/⟨a⟩;   P/⟨a⟩ = Ψ (1 + R⁻²)/D
//! ```
//!
//! Manifolds without weight in a draw (below 10⁻⁶ of all) have no anchor there and are left out of it; without that P/⟨a⟩
//! would not be α. Alignments are mean |cosines|: between centres (mean anchors), between axes (S₁), and between both.
//!
//! Source: Chou et al. 2024; specs: alignment-methods B8.2. Cost: products of all points once, then per draw an
//! active-set solution over all points.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::{manifolds, mean_cosine};
use stereotax_base::data::{Error, Labels, Monitor, Result};
use stereotax_base::linalg::{cone_weights, eigh, product, pseudo_inverse};
use stereotax_base::stats::rng::Stream;

/// Choices of the finite capacity.
#[derive(Debug, Clone, PartialEq)]
pub struct FiniteParams {
    /// Draws of signs and vectors. Default 200.
    pub n_draws: usize,
    /// Subtract the mean of all points. Default no.
    pub centred: bool,
    /// Default 0.
    pub seed: u64,
}

impl Default for FiniteParams {
    fn default() -> Self {
        FiniteParams { n_draws: 200, centred: false, seed: 0 }
    }
}

/// Capacity and effective geometry.
#[derive(Debug, Clone, PartialEq)]
pub struct FiniteCapacity {
    /// P/⟨|proj t|²⟩.
    pub capacity: f64,
    /// P/⟨a⟩, the same up to rounding: their difference shows what leaving manifolds out did.
    pub capacity_by_anchors: f64,
    /// D.
    pub dimension: f64,
    /// R.
    pub radius: f64,
    /// Ψ, above 0 up to 1: 1 where all of the variation of anchors hurts.
    pub utility: f64,
    /// Mean |cos| between different centres.
    pub centre_alignment: f64,
    /// Mean |cos| between different manifolds' axes, over draws.
    pub axis_alignment: f64,
    /// Mean |cos| between a centre and another manifold's axis.
    pub centre_axis_alignment: f64,
    /// Share of manifolds and draws without an anchor.
    pub share_inactive: f64,
}

/// One draw: |proj t|², anchors (empty where inactive), signs, t in the span.
struct Draw {
    projected: f64,
    anchors: Vec<Option<Vec<f64>>>,
    signs: Vec<f64>,
    t: Vec<f64>,
}

/// Capacity of the classes of `points` (n_points × n_features) together.
///
/// Errors: as for the mean field, except that any number of features and any centre will do.
pub fn finite_capacity(
    points: MatRef<f64>,
    labels: &Labels,
    params: &FiniteParams,
    monitor: &Monitor<'_>,
) -> Result<FiniteCapacity> {
    if params.n_draws == 0 {
        return Err(Error::Invalid {
            what: "n_draws".into(),
            expected: "1 or more".into(),
            found: "0".into(),
            hint: "200 are customary".into(),
        });
    }
    let sets = manifolds(points, labels, params.centred)?;
    let count = sets.len();
    let class: Vec<usize> =
        sets.iter().enumerate().flat_map(|(at, x)| std::iter::repeat_n(at, x.nrows())).collect();
    let m = class.len();
    let all = {
        let rows: Vec<(usize, usize)> =
            sets.iter().enumerate().flat_map(|(at, x)| (0..x.nrows()).map(move |i| (at, i))).collect();
        Mat::from_fn(m, points.ncols(), |i, j| sets[rows[i].0][(rows[i].1, j)])
    };
    // Coordinates in the span of all points; what t has outside of it changes nothing.
    let products = product(all.as_ref(), all.transpose());
    let decomposed = eigh(products.as_ref())?;
    let cut = 1e-12 * decomposed.values[0].max(0.0) * m as f64;
    let rank = decomposed.values.iter().take_while(|l| **l > cut && **l > 0.0).count();
    let x = Mat::from_fn(m, rank, |i, k| decomposed.vectors[(i, k)] * decomposed.values[k].sqrt());
    let draws: Vec<Draw> = (0..params.n_draws)
        .into_par_iter()
        .map(|draw| {
            monitor.check()?;
            let mut stream = Stream::new(params.seed, "finite capacity", draw as u64);
            let signs: Vec<f64> =
                (0..count).map(|_| if stream.next_u64() >> 63 == 1 { -1.0 } else { 1.0 }).collect();
            let t: Vec<f64> = (0..rank).map(|_| stream.normal()).collect();
            let y: Vec<f64> = class.iter().map(|&class| signs[class]).collect();
            let gram: Vec<f64> =
                (0..m * m).map(|at| y[at / m] * y[at % m] * products[(at / m, at % m)]).collect();
            let line = |i: usize| x.row(i).iter().zip(&t).map(|(x, t)| x * t).sum::<f64>();
            let inner: Vec<f64> = (0..m).map(|i| y[i] * line(i)).collect();
            let weights = cone_weights(&gram, &inner);
            let projected = weights.iter().zip(&inner).map(|(w, h)| w * h).sum();
            let total: f64 = weights.iter().sum();
            let anchors = (0..count)
                .map(|at| {
                    let own = || (0..m).filter(|&i| class[i] == at);
                    let sum: f64 = own().map(|i| weights[i]).sum();
                    (sum > 1e-6 * total).then(|| {
                        (0..rank).map(|k| own().map(|i| weights[i] * x[(i, k)]).sum::<f64>() / sum).collect()
                    })
                })
                .collect();
            Ok(Draw { projected, anchors, signs, t })
        })
        .collect::<Result<_>>()?;

    // Mean anchors, unsigned.
    let centres: Vec<Vec<f64>> = (0..count)
        .map(|at| {
            let found: Vec<&Vec<f64>> = draws.iter().filter_map(|draw| draw.anchors[at].as_ref()).collect();
            let n = found.len().max(1) as f64;
            (0..rank).map(|k| found.iter().map(|a| a[k]).sum::<f64>() / n).collect()
        })
        .collect();
    let parts: Vec<[f64; 6]> = draws
        .par_iter()
        .map(|draw| {
            let active: Vec<usize> = (0..count).filter(|&at| draw.anchors[at].is_some()).collect();
            let anchor = |i: usize, k: usize| draw.anchors[active[i]].as_ref().map_or(0.0, |a| a[k]);
            let s = Mat::from_fn(active.len(), rank, |i, k| draw.signs[active[i]] * anchor(i, k));
            let s0 = Mat::from_fn(active.len(), rank, |i, k| draw.signs[active[i]] * centres[active[i]][k]);
            let s1 = &s - &s0;
            let t = Mat::from_fn(rank, 1, |k, _| draw.t[k]);
            let form = |on: &Mat<f64>, inverse: Mat<f64>| -> f64 {
                let h = product(on.as_ref(), t.as_ref());
                let solved = product(inverse.as_ref(), h.as_ref());
                (0..h.nrows()).map(|i| h[(i, 0)] * solved[(i, 0)]).sum()
            };
            let square = |a: &Mat<f64>| product(a.as_ref(), a.transpose());
            let a = form(&s, pseudo_inverse(square(&s).as_ref(), 1e-10)?);
            let b = form(&s1, pseudo_inverse(square(&s1).as_ref(), 1e-10)?);
            let c = form(&s1, pseudo_inverse((square(&s0) + square(&s1)).as_ref(), 1e-10)?);
            let lines = |m: &Mat<f64>| -> Vec<Vec<f64>> {
                (0..m.nrows()).map(|i| m.row(i).iter().copied().collect()).collect()
            };
            let (axes, centre) = (lines(&s1), lines(&s0));
            let mut across = (0.0, 0.0);
            for i in 0..axes.len() {
                for j in (0..axes.len()).filter(|&j| j != i) {
                    let cosine = mean_cosine(&[axes[i].clone(), centre[j].clone()]);
                    if !cosine.is_nan() {
                        across = (across.0 + cosine, across.1 + 1.0);
                    }
                }
            }
            let inactive = (count - active.len()) as f64 / count as f64;
            Ok([a, b, c, mean_cosine(&axes), across.0 / across.1, inactive])
        })
        .collect::<Result<_>>()?;
    let n = draws.len() as f64;
    let mean = |k: usize| {
        let defined: Vec<f64> = parts.iter().map(|p| p[k]).filter(|v| !v.is_nan()).collect();
        defined.iter().sum::<f64>() / defined.len() as f64
    };
    let (a, b, c) = (mean(0), mean(1), mean(2));
    let projected = draws.iter().map(|draw| draw.projected).sum::<f64>() / n;
    Ok(FiniteCapacity {
        capacity: count as f64 / projected,
        capacity_by_anchors: count as f64 / a,
        dimension: b / count as f64,
        radius: (c / (b - c)).sqrt(),
        utility: c / a,
        centre_alignment: mean_cosine(&centres),
        axis_alignment: mean(3),
        centre_axis_alignment: mean(4),
        share_inactive: mean(5),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MeanFieldParams, mean_field_capacity};

    #[test]
    fn orthogonal_points_have_a_capacity_of_two() {
        // Twelve manifolds of two equal points each.
        let x = Mat::from_fn(24, 15, |i, j| f64::from(u8::from(i / 2 == j)));
        let names: Vec<String> = (0..24).map(|i| (i / 2).to_string()).collect();
        let params = FiniteParams { n_draws: 3000, ..FiniteParams::default() };
        let found = finite_capacity(x.as_ref(), &Labels::new(&names), &params, &Monitor::silent()).unwrap();
        assert!((found.capacity - 2.0).abs() < 0.05, "{}", found.capacity);
        assert!((found.share_inactive - 0.5).abs() < 0.02, "{}", found.share_inactive);
    }

    #[test]
    fn capacity_is_that_of_anchors_and_of_the_mean_field_for_clouds_without_correlation() {
        let mut stream = Stream::new(5, "clouds", 0);
        let centres = Mat::from_fn(20, 300, |_, _| stream.normal());
        let x = Mat::from_fn(160, 300, |i, j| centres[(i / 8, j)] + 0.8 * stream.normal());
        let names: Vec<String> = (0..160).map(|i| (i / 8).to_string()).collect();
        let labels = Labels::new(&names);
        let params = FiniteParams { n_draws: 300, ..FiniteParams::default() };
        let found = finite_capacity(x.as_ref(), &labels, &params, &Monitor::silent()).unwrap();
        assert!((found.capacity_by_anchors / found.capacity - 1.0).abs() < 1e-3, "{found:?}");
        let by_geometry = found.utility * (1.0 + found.radius.powi(-2)) / found.dimension;
        assert!((by_geometry / found.capacity_by_anchors - 1.0).abs() < 1e-9);
        let field = MeanFieldParams { centred: false, n_draws: 500, ..MeanFieldParams::default() };
        let field = mean_field_capacity(x.as_ref(), &labels, &field, &Monitor::silent()).unwrap();
        assert!(
            (found.capacity / field.capacity - 1.0).abs() < 0.15,
            "{} {}",
            found.capacity,
            field.capacity
        );
    }
}
