//! Choose the number of components, by several rules side by side.
//!
//! ```text
//! dimension    unit-norm neuron factors as rows of M (rank × units), centred over rows; v_i = s_i²/(rank − 1);
//!              Σ v_i / max v_i: how many directions the components span
//! plateau      the smallest rank at which the slope of the mean dimension (smoothed over ranks, σ = 1.5) falls below
//!              a tenth of its maximum and stays there for three ranks; without one, where the curve bends most
//! stability    the largest rank whose starts resemble the best one with a median of 0.9 at least
//! cv           the smallest rank whose held-out error is within one standard error of the least
//! consistency  core consistency (100: the model's form is right; low or negative: too many components)
//! ```
//!
//! The authors choose by eye where the dimension reaches a plateau or knee; rules may disagree with them and with
//! one another, so all are given.
//!
//! Source: Dyballa et al. 2024 and their code; specs encoding-manifolds 1.6; Bro & Kiers 2003 (core consistency).

use faer::{Mat, MatRef};

use super::compare::match_components;
use super::fit::CpFit;
use super::kernels::rotate;
use super::problem::{CpTensor, Cyclic};
use stereotax_base::data::Result;
use stereotax_base::linalg::{product, pseudo_inverse, svd};
use stereotax_base::signal::smooth::{Edge, gaussian_smooth};

/// Normalised total variance of the neuron factor (units × rank) of a fit; from 1 to rank − 1. NaN at rank 1, and
/// where all components are the same.
pub fn effective_dimension(neurons: MatRef<f64>) -> Result<f64> {
    let (n, rank) = (neurons.nrows(), neurons.ncols());
    if rank < 2 {
        return Ok(f64::NAN);
    }
    let norms: Vec<f64> = neurons.col_iter().map(|col| col.norm_l2()).collect();
    let mut rows =
        Mat::from_fn(rank, n, |r, i| if norms[r] > 0.0 { neurons[(i, r)] / norms[r] } else { 0.0 });
    for i in 0..n {
        let mean = rows.col(i).iter().sum::<f64>() / rank as f64;
        rows.col_mut(i).iter_mut().for_each(|x| *x -= mean);
    }
    let squares: Vec<f64> = svd(rows.as_ref())?.s.iter().map(|s| s * s).collect();
    let largest = squares.first().copied().unwrap_or(0.0);
    // Unit columns that agree leave only rounding.
    Ok(if largest > 1e-20 { squares.iter().sum::<f64>() / largest } else { f64::NAN })
}

/// How a plateau was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Plateau {
    /// The rank; `None` with fewer than three ranks.
    pub rank: Option<usize>,
    /// Whether the slope stayed low; otherwise `rank` is where the curve bends most.
    pub reached: bool,
    /// The curve, smoothed.
    pub smoothed: Vec<f64>,
    /// Its slope per component, at each rank.
    pub slope: Vec<f64>,
}

/// The plateau of a curve over ascending ranks.
pub fn plateau(ranks: &[usize], curve: &[f64]) -> Plateau {
    let smoothed = gaussian_smooth(curve, 1.5, Edge::Reflect);
    let slope = gradient(ranks, &smoothed);
    if ranks.len() < 3 || curve.iter().any(|x| !x.is_finite()) {
        return Plateau { rank: None, reached: false, smoothed, slope };
    }
    let most = slope.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let low = |at: usize| slope[at] < 0.1 * most;
    let reached = (0..ranks.len() - 2).find(|&at| most > 0.0 && low(at) && low(at + 1) && low(at + 2));
    let at = reached.unwrap_or_else(|| {
        // The bend of a curve that rises ever less: the most negative second derivative.
        let bend = gradient(ranks, &slope);
        (0..bend.len()).fold(0, |best, i| if bend[i] < bend[best] { i } else { best })
    });
    Plateau { rank: Some(ranks[at]), reached: reached.is_some(), smoothed, slope }
}

/// Central differences; one-sided at both ends.
fn gradient(at: &[usize], values: &[f64]) -> Vec<f64> {
    let n = values.len();
    (0..n)
        .map(|i| {
            let (low, high) = (i.saturating_sub(1), (i + 1).min(n - 1));
            (values[high] - values[low]) / (at[high] as f64 - at[low] as f64)
        })
        .collect()
}

/// Mean similarity of matched components of each start with the best one (the least error), without that one.
pub fn similarity_to_best(fits: &[&CpFit], cyclic: Option<Cyclic>) -> Result<Vec<f64>> {
    let Some(best) = (0..fits.len()).min_by(|&a, &b| fits[a].error.total_cmp(&fits[b].error)) else {
        return Ok(vec![]);
    };
    (0..fits.len())
        .filter(|&at| at != best)
        .map(|at| {
            let matched = match_components(&fits[best].factors, &fits[at].factors, cyclic)?;
            Ok(matched.similarity.iter().sum::<f64>() / matched.similarity.len() as f64)
        })
        .collect()
}

/// The largest rank with a median similarity of at least `least`; `None` where no rank has.
pub fn stable_rank(ranks: &[usize], medians: &[f64], least: f64) -> Option<usize> {
    ranks.iter().zip(medians).filter(|(_, median)| **median >= least).map(|(rank, _)| *rank).max()
}

/// The smallest rank whose mean held-out error is within one standard error of the least mean.
pub fn one_standard_error(ranks: &[usize], errors: &[Vec<f64>]) -> Option<usize> {
    let mean = |x: &Vec<f64>| x.iter().sum::<f64>() / x.len() as f64;
    let best = (0..ranks.len())
        .filter(|&at| mean(&errors[at]).is_finite())
        .min_by(|&a, &b| mean(&errors[a]).total_cmp(&mean(&errors[b])))?;
    let of_best = &errors[best];
    let spread = if of_best.len() > 1 { stereotax_base::stats::summary::sd(of_best) } else { 0.0 };
    let bound = mean(of_best) + spread / (of_best.len() as f64).sqrt();
    (0..ranks.len()).filter(|&at| mean(&errors[at]) <= bound).map(|at| ranks[at]).min()
}

/// Core consistency in percent: 100 (1 − Σ (G − I)² / rank) with G the core that fits the (rotated) tensor best given
/// the factors. NaN with missing entries, or where a factor has fewer independent columns than components.
pub fn core_consistency(tensor: &CpTensor, fit: &CpFit) -> Result<f64> {
    let rank = fit.weights.len();
    if tensor.observed().is_some() || tensor.shape().iter().any(|&n| n < rank) {
        return Ok(f64::NAN);
    }
    // Modes are contracted from the first; what is contracted goes last, so that the order comes round.
    let mut core = rotated_values(tensor, &fit.shifts);
    for (mode, factor) in fit.factors.iter().enumerate() {
        let s = svd(factor.as_ref())?.s;
        if !(s[rank - 1] > 1e-10 * s[0]) {
            return Ok(f64::NAN);
        }
        let inverse = pseudo_inverse(factor.as_ref(), 1e-12)?;
        let n = tensor.shape()[mode];
        let rest = core.len() / n;
        let unfolded = MatRef::from_row_major_slice(&core, n, rest);
        let next = product(unfolded.transpose(), inverse.transpose()); // (rest, rank)
        core = (0..rest).flat_map(|i| (0..rank).map(move |r| (i, r))).map(|at| next[at]).collect();
    }
    let n_modes = tensor.shape().len();
    let mut off = 0.0;
    for (at, value) in core.iter().enumerate() {
        let mut rest = at;
        let index: Vec<usize> = (0..n_modes).map(|_| (rest % rank, rest /= rank).0).collect();
        let diagonal = index.iter().all(|&i| i == index[0]);
        // Weights are shared by the modes, as if each factor had its root of them.
        let scale: f64 = index.iter().map(|&i| fit.weights[i].powf(1.0 / n_modes as f64)).product();
        let value = if scale > 0.0 { value / scale } else { 0.0 };
        off += (value - f64::from(u8::from(diagonal))).powi(2);
    }
    Ok(100.0 * (1.0 - off / rank as f64))
}

/// The tensor with every map rotated as the fit found; missing entries are 0.
pub(super) fn rotated_values(tensor: &CpTensor, shifts: &[u16]) -> Vec<f64> {
    let mut values = tensor.values().to_vec();
    if let Some(Cyclic { n_directions, n_times, .. }) = tensor.cyclic_axes() {
        let length = n_directions * n_times;
        for ((map, out), &shift) in
            tensor.values().chunks_exact(length).zip(values.chunks_exact_mut(length)).zip(shifts)
        {
            rotate(map, usize::from(shift), n_directions, out);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::super::tests::{outer, planted, rotated};
    use super::super::{CpParams, HoldOut, SweepTask, cross_validate, fit_cp, sweep};
    use super::*;
    use std::sync::Mutex;
    use stereotax_base::data::Monitor;

    #[test]
    fn orthonormal_components_span_one_direction_fewer_than_they_are() {
        for rank in [2, 4, 7] {
            let score = effective_dimension(Mat::<f64>::identity(9, rank).as_ref()).unwrap();
            assert!((score - (rank as f64 - 1.0)).abs() < 1e-12, "{score}");
        }
        // Scales do not count; a duplicate spans nothing new.
        let twice = Mat::from_fn(9, 4, |i, r| if i == r % 3 { 1.0 + r as f64 } else { 0.0 });
        assert!(effective_dimension(twice.as_ref()).unwrap() < 2.9);
        assert!(effective_dimension(Mat::full(5, 3, 2.0).as_ref()).unwrap().is_nan());
        assert!(effective_dimension(Mat::full(5, 1, 2.0).as_ref()).unwrap().is_nan());
    }

    #[test]
    fn a_plateau_is_where_the_slope_stays_low() {
        let ranks: Vec<usize> = (2..=20).collect();
        let curve: Vec<f64> = ranks.iter().map(|&r| (r as f64).min(10.0)).collect();
        let found = plateau(&ranks, &curve);
        assert!(found.reached && (11..=13).contains(&found.rank.unwrap()), "{found:?}");
        // Still rising at the end: the bend.
        let bent: Vec<f64> =
            ranks.iter().map(|&r| if r < 10 { r as f64 } else { 7.5 + 0.25 * r as f64 }).collect();
        let found = plateau(&ranks, &bent);
        assert!(!found.reached && (9..=11).contains(&found.rank.unwrap()), "{found:?}");
        assert_eq!(plateau(&[2, 3], &[1.0, 2.0]).rank, None);
    }

    #[test]
    fn rules_by_hand() {
        assert_eq!(stable_rank(&[2, 3, 4, 5], &[0.99, 0.95, 0.91, 0.5], 0.9), Some(4));
        assert_eq!(stable_rank(&[2, 3], &[0.1, f64::NAN], 0.9), None);
        // Least at 4 (mean 0.2, sd 0.1·√2, se 0.1): 3 is within, 2 is not.
        let errors = vec![vec![0.5, 0.5], vec![0.25, 0.3], vec![0.1, 0.3], vec![0.2, 0.3]];
        assert_eq!(one_standard_error(&[2, 3, 4, 5], &errors), Some(3));
    }

    #[test]
    fn the_planted_rank_is_chosen_by_similarity_cross_validation_and_consistency() {
        let shape = [40, 5, 4, 8];
        let truth = planted(&[40, 5, 32], 3, 21);
        let tensor = CpTensor::cyclic(shape, rotated(shape, &truth, 21).0, None).unwrap();
        let base = CpParams { max_iter: 400, tol: 1e-8, ..CpParams::default() };
        let ranks = [1, 2, 3, 4, 5];
        let tasks: Vec<SweepTask> =
            ranks.iter().flat_map(|&rank| (0..6).map(move |start| SweepTask { rank, start })).collect();
        let fits = Mutex::new(Vec::new());
        let silent = Monitor::silent();
        sweep(&tensor, &tasks, &base, &|task, fit| fits.lock().unwrap().push((task, fit)), &silent).unwrap();
        let mut fits = fits.into_inner().unwrap();
        fits.sort_by_key(|(task, _)| *task);
        assert_eq!(fits.iter().map(|(task, _)| *task).collect::<Vec<_>>(), tasks);
        // Any other way to the same task gives the same bits.
        let params = CpParams { rank: 3, start: 4, ..base.clone() };
        let alone = fit_cp(&tensor, &params, &silent).unwrap();
        assert_eq!(alone.history, fits[2 * 6 + 4].1.history);
        let of_rank = |rank: usize| -> Vec<&CpFit> {
            fits.iter().filter(|(task, _)| task.rank == rank).map(|(_, fit)| fit).collect()
        };
        let best = |rank| of_rank(rank).into_iter().min_by(|a, b| a.error.total_cmp(&b.error)).unwrap();
        assert!(best(3).error < 1e-4 && best(2).error > 0.01);
        let medians: Vec<f64> = ranks
            .iter()
            .map(|&rank| {
                stereotax_base::stats::summary::median(
                    &similarity_to_best(&of_rank(rank), tensor.cyclic_axes()).unwrap(),
                )
            })
            .collect();
        assert!(stable_rank(&ranks, &medians, 0.9).is_some_and(|rank| rank <= 3), "{medians:?}");
        let hold_out = HoldOut { n_splits: 3, n_starts: 4, ..HoldOut::default() };
        let errors = cross_validate(&tensor, &ranks, &hold_out, &base, &silent).unwrap();
        let chosen = one_standard_error(&ranks, &errors);
        assert!(chosen.is_some_and(|rank| rank >= 3), "{errors:?}");
        assert!(errors[2].iter().all(|e| *e < 0.02) && errors[1].iter().all(|e| *e > 0.02), "{errors:?}");
        assert!(core_consistency(&tensor, best(3)).unwrap() > 95.0);
        let too_many = core_consistency(&tensor, best(4)).unwrap();
        assert!(!(too_many > 90.0), "{too_many}");
    }

    #[test]
    fn a_core_of_two_by_two_by_hand() {
        // Orthonormal factors and a tensor of those two components plus 3 e₀ ∘ e₀ ∘ e₁, weights 2 and 1.
        let factors: Vec<Mat<f64>> = (0..3).map(|_| Mat::identity(3, 2)).collect();
        let mut values = outer(&[
            Mat::from_fn(3, 2, |i, r| if i == r { 2.0 - r as f64 } else { 0.0 }),
            factors[1].clone(),
            factors[2].clone(),
        ]);
        values[1] += 3.0;
        let tensor = CpTensor::plain(&[3, 3, 3], values, None).unwrap();
        let fit = CpFit {
            weights: vec![2.0, 1.0],
            factors,
            shifts: vec![],
            n_undefined_shifts: 0,
            error: 0.0,
            history: vec![],
            n_iter: 0,
            converged: true,
            n_reseeded: 0,
            dead: vec![],
        };
        // The stray cell (0, 0, 1) is 3 / (2 · 2 · 1)^(1/3) of the core.
        let stray = 3.0 / 4f64.powf(1.0 / 3.0);
        let found = core_consistency(&tensor, &fit).unwrap();
        assert!((found - 100.0 * (1.0 - stray * stray / 2.0)).abs() < 1e-9, "{found}");
    }
}
