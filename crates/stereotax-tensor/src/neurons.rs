//! The neuron matrix: how much of each component every unit's responses hold.
//!
//! With B' the stimulus factor scaled to columns of maximum 1, and C the other factors:
//!
//! ```text
//! M      columns vec(B'[:,r] ∘ C[:,r])                       (stimuli · directions · time) × components
//! w_n    argmin_{w ≥ 0} ‖ M w − vec(z_n) ‖²                   z_n rotated as the fit found
//! X      X[n,r] = √w_n[r]                                     units × components
//! ```
//!
//! The root keeps the vector of coefficients that describes one stimulus at a length of about 1 at most, also where a
//! response is split among components, so that distances between rows of X compare. Components without weight are
//! left out. With *later* maps (the spiking path: the fit saw non-significant maps as silent and all others at norm
//! 1), what was silent is put in, rotated by that common number of directions that costs least, and every map is
//! weighed by its relative firing rate first.
//!
//! Source: Dyballa et al. 2024; specs encoding-manifolds 1.7. Differs from the authors': exact active sets on shared
//! normal equations instead of a bounded solver per unit; beyond a condition number of 10¹² of MᵀM, on M itself.
//! Cost: O(N P R + N R³) for N units of P entries.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::fit::CpFit;
use super::kernels::{khatri_rao, rotate};
use super::problem::CpTensor;
use super::rank::rotated_values;
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{cross, eigh, gram, nnls, nnls_of_design, thin_qr};

/// What is put in after a fit of significant maps only; all in the order of the tensor.
#[derive(Debug, Clone, Copy)]
pub struct LaterMaps<'a> {
    /// Maps of norm 1 (units × stimuli × directions × time), also of stimuli that are not significant.
    pub maps: &'a [f64],
    /// Which (unit, stimulus) were silent in the fit.
    pub silenced: &'a [bool],
    /// The relative rate by which each map is weighed, in [0, 1].
    pub relative: &'a [f64],
}

/// Units × components.
#[derive(Debug, Clone)]
pub struct NeuronMatrix {
    /// X, at least 0.
    pub values: Mat<f64>,
    /// Which components of the fit its columns are.
    pub components: Vec<usize>,
    /// B', stimuli × components, columns of maximum 1.
    pub stimuli: Mat<f64>,
    /// 1 − ‖M w − z‖² / ‖z‖² of each unit; NaN of a silent one.
    pub explained: Vec<f64>,
    /// The common rotation of the maps that were put in later; empty without.
    pub later_shifts: Vec<usize>,
    /// Of MᵀM; how well the coefficients are determined.
    pub condition: f64,
    /// Whether the normal equations were too uncertain, so that M itself was used.
    pub by_design: bool,
}

/// The condition number of MᵀM beyond which its roundings would show.
const UNCERTAIN: f64 = 1e12;

/// Describe every unit by its components.
///
/// Errors: a fit of another tensor, no component with weight, later maps of another size or without rotations.
pub fn neuron_matrix(tensor: &CpTensor, fit: &CpFit, later: Option<LaterMaps<'_>>) -> Result<NeuronMatrix> {
    let shape = tensor.shape();
    let sizes: Vec<usize> = fit.factors.iter().map(Mat::nrows).collect();
    if sizes != shape || fit.shifts.len() != tensor.n_shifts() {
        return Err(Error::Shape {
            what: "fit".into(),
            expected: format!("factors of {shape:?} and {} rotations", tensor.n_shifts()),
            found: format!("{sizes:?} and {}", fit.shifts.len()),
            hint: "pass the tensor that was fitted".into(),
        });
    }
    let n_maps = shape[0] * shape[1];
    if let Some(later) = &later
        && (later.maps.len() != tensor.values().len()
            || later.silenced.len() != n_maps
            || later.relative.len() != n_maps
            || tensor.cyclic_axes().is_none()
            || tensor.observed().is_some())
    {
        return Err(Error::Shape {
            what: "maps that are put in later".into(),
            expected: format!(
                "{} entries, {n_maps} flags and weights, and a shift-invariant fit without gaps",
                tensor.values().len()
            ),
            found: format!("{}, {} and {}", later.maps.len(), later.silenced.len(), later.relative.len()),
            hint: "pass units × stimuli × directions × time, and one flag and weight per unit and stimulus"
                .into(),
        });
    }
    let components: Vec<usize> = (0..fit.weights.len()).filter(|&r| fit.weights[r] > 0.0).collect();
    if components.is_empty() {
        return Err(Error::TooFew {
            what: "components with weight".into(),
            needed: "1".into(),
            found: "none".into(),
            hint: "fit fewer components, or look at the tensor".into(),
        });
    }
    let kept =
        |factor: &Mat<f64>| Mat::from_fn(factor.nrows(), components.len(), |i, r| factor[(i, components[r])]);
    let mut stimuli = kept(&fit.factors[1]);
    for r in 0..components.len() {
        let most = stimuli.col(r).iter().copied().fold(0.0, f64::max);
        stimuli.col_mut(r).iter_mut().for_each(|x| *x /= most);
    }
    let rank = components.len();
    let flat = |factor: &Mat<f64>| -> Vec<f64> {
        (0..factor.nrows()).flat_map(|i| (0..factor.ncols()).map(move |r| factor[(i, r)])).collect()
    };
    let others: Vec<Vec<f64>> = std::iter::once(flat(&stimuli))
        .chain(fit.factors[2..].iter().map(|factor| flat(&kept(factor))))
        .collect();
    let design = khatri_rao(&others, rank);
    let design = MatRef::from_row_major_slice(&design, design.len() / rank, rank);

    let shared = gram(design);
    let spectrum = eigh(shared.as_ref())?.values;
    let condition = spectrum[0] / spectrum[rank - 1].max(0.0);
    let by_design = !(condition <= UNCERTAIN);
    let reduced = by_design.then(|| thin_qr(design));
    let values = rotated_values(tensor, &fit.shifts);
    let n_columns = values.len() / shape[0];
    let units: Vec<(Vec<f64>, f64, usize)> = (0..shape[0])
        .into_par_iter()
        .map(|n| {
            let maps = &values[n * n_columns..(n + 1) * n_columns];
            let observed = observed_rows(tensor, fit, n);
            let solve = |z: &[f64]| -> Result<(Vec<f64>, f64)> {
                let w = match (&observed, &reduced) {
                    (None, None) => nnls(shared.as_ref(), &transposed(design, z)),
                    (None, Some((q, r))) => nnls_of_design(r.as_ref(), &transposed(q.as_ref(), z))?,
                    (Some(rows), _) => {
                        let part = Mat::from_fn(rows.len(), rank, |i, r| design[(rows[i], r)]);
                        let z: Vec<f64> = rows.iter().map(|&i| z[i]).collect();
                        nnls_of_design(part.as_ref(), &z)?
                    }
                };
                let there = |i: usize| observed.as_ref().is_none_or(|rows| rows.binary_search(&i).is_ok());
                let missed: f64 = (0..n_columns)
                    .filter(|&i| there(i))
                    .map(|i| (z[i] - (0..rank).map(|r| design[(i, r)] * w[r]).sum::<f64>()).powi(2))
                    .sum();
                Ok((w, missed))
            };
            let Some(later) = &later else {
                let (w, missed) = solve(maps)?;
                return Ok((w, share(missed, maps), 0));
            };
            let mut best: Option<(Vec<f64>, f64, usize, f64)> = None;
            let (n_stimuli, n_directions) = (shape[1], tensor.cyclic_axes().map_or(1, |c| c.n_directions));
            let length = n_columns / n_stimuli;
            let silenced = &later.silenced[n * n_stimuli..(n + 1) * n_stimuli];
            let trials = if silenced.contains(&true) { n_directions } else { 1 };
            for shift in 0..trials {
                let mut z = vec![0.0; n_columns];
                for s in 0..n_stimuli {
                    let map = s * length..(s + 1) * length;
                    let raw = &later.maps[n * n_columns + map.start..n * n_columns + map.end];
                    let shift = if silenced[s] { shift } else { usize::from(fit.shifts[n * n_stimuli + s]) };
                    rotate(raw, shift, n_directions, &mut z[map.clone()]);
                    let weight = later.relative[n * n_stimuli + s];
                    z[map].iter_mut().for_each(|z| *z *= weight);
                }
                let (w, missed) = solve(&z)?;
                if best.as_ref().is_none_or(|best| missed < best.1 * (1.0 - 1e-12)) {
                    let explained = share(missed, &z);
                    best = Some((w, missed, shift, explained));
                }
            }
            Ok(best.map_or((vec![f64::NAN; rank], f64::NAN, 0), |(w, _, shift, explained)| {
                (w, explained, shift)
            }))
        })
        .collect::<Result<_>>()?;
    Ok(NeuronMatrix {
        values: Mat::from_fn(shape[0], rank, |n, r| units[n].0[r].sqrt()),
        components,
        stimuli,
        explained: units.iter().map(|unit| unit.1).collect(),
        later_shifts: if later.is_some() { units.iter().map(|unit| unit.2).collect() } else { vec![] },
        condition,
        by_design,
    })
}

fn share(missed: f64, z: &[f64]) -> f64 {
    let total: f64 = z.iter().map(|z| z * z).sum();
    if total > 0.0 { 1.0 - missed / total } else { f64::NAN }
}

fn transposed(design: MatRef<f64>, z: &[f64]) -> Vec<f64> {
    let column = MatRef::from_column_major_slice(z, z.len(), 1);
    cross(design, column).col(0).iter().copied().collect()
}

/// Which entries of a unit (rotated) are there; `None` if all are.
fn observed_rows(tensor: &CpTensor, fit: &CpFit, unit: usize) -> Option<Vec<usize>> {
    let n_columns = tensor.values().len() / tensor.shape()[0];
    let there = &tensor.observed()?[unit * n_columns..(unit + 1) * n_columns];
    if there.iter().all(|&there| there) {
        return None;
    }
    let mut seen = there.to_vec();
    if let Some(cyclic) = tensor.cyclic_axes() {
        let length = cyclic.n_directions * cyclic.n_times;
        for (s, (map, out)) in there.chunks_exact(length).zip(seen.chunks_exact_mut(length)).enumerate() {
            rotate(map, usize::from(fit.shifts[unit * cyclic.n_stimuli + s]), cyclic.n_directions, out);
        }
    }
    Some((0..n_columns).filter(|&i| seen[i]).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{outer, planted, rotated};
    use super::super::{CpParams, fit_cp};
    use super::*;
    use stereotax_base::data::Monitor;

    fn fitted(factors: &[Mat<f64>], shifts: Vec<u16>) -> CpFit {
        let rank = factors[0].ncols();
        let mut factors = factors.to_vec();
        let mut weights = vec![1.0; rank];
        for factor in &mut factors {
            for r in 0..rank {
                let norm = factor.col(r).norm_l2();
                weights[r] *= norm;
                factor.col_mut(r).iter_mut().for_each(|x| *x /= norm);
            }
        }
        CpFit {
            weights,
            factors,
            shifts,
            n_undefined_shifts: 0,
            error: 0.0,
            history: vec![],
            n_iter: 0,
            converged: true,
            n_reseeded: 0,
            dead: vec![],
        }
    }

    #[test]
    fn a_unit_that_is_one_component_is_one_hot() {
        // Two disjoint components; unit 0 is 4 of the first, unit 1 is 9 of the second, unit 2 is silent.
        let b = Mat::from_fn(3, 2, |s, r| [[1.0, 0.0], [0.5, 0.0], [0.0, 1.0]][s][r]);
        let c = Mat::from_fn(4, 2, |t, r| if t / 2 == r { 0.5f64.sqrt() } else { 0.0 });
        let a = Mat::from_fn(3, 2, |n, r| [[4.0, 0.0], [0.0, 9.0], [0.0, 0.0]][n][r]);
        let factors = [a, b, c];
        let tensor = CpTensor::plain(&[3, 3, 4], outer(&factors), None).unwrap();
        let found = neuron_matrix(&tensor, &fitted(&factors, vec![]), None).unwrap();
        let expected = [[2.0, 0.0], [0.0, 3.0], [0.0, 0.0]];
        for (n, row) in expected.iter().enumerate() {
            for (r, x) in row.iter().enumerate() {
                assert!((found.values[(n, r)] - x).abs() < 1e-12, "{:?}", found.values);
            }
        }
        assert!((found.explained[0] - 1.0).abs() < 1e-12 && found.explained[2].is_nan());
        assert_eq!(found.stimuli[(1, 0)], 0.5);
        assert!(!found.by_design && found.components == [0, 1]);
    }

    #[test]
    fn planted_coefficients_come_back_through_rotations_gaps_and_near_duplicates() {
        let shape = [12, 3, 4, 6];
        let truth = planted(&[12, 3, 24], 3, 31);
        let (values, undo) = rotated(shape, &truth, 31);
        let observed: Vec<bool> = (0..values.len()).map(|i| i % 9 != 4).collect();
        let fit = fitted(&truth, undo);
        for observed in [None, Some(observed)] {
            let tensor = CpTensor::cyclic(shape, values.clone(), observed).unwrap();
            let found = neuron_matrix(&tensor, &fit, None).unwrap();
            for r in 0..3 {
                let scale = truth[1].col(r).iter().copied().fold(0.0, f64::max) * truth[2].col(r).norm_l2();
                for n in 0..12 {
                    assert!((found.values[(n, r)].powi(2) - truth[0][(n, r)] * scale).abs() < 1e-8);
                }
            }
        }
        // A component twice: the equations are singular, and the fit is as good as before.
        let doubled: Vec<Mat<f64>> =
            truth.iter().map(|f| Mat::from_fn(f.nrows(), 4, |i, r| f[(i, r % 3)])).collect();
        let tensor = CpTensor::cyclic(shape, values, None).unwrap();
        let found = neuron_matrix(&tensor, &fitted(&doubled, fit.shifts), None).unwrap();
        assert!(found.by_design, "{}", found.condition);
        // Sparse factors leave some units silent.
        assert!(found.explained.iter().all(|e| e.is_nan() || *e > 1.0 - 1e-9), "{:?}", found.explained);
    }

    #[test]
    fn maps_put_in_later_take_the_common_rotation_that_costs_least() {
        let shape = [2, 2, 4, 3];
        let truth = planted(&[2, 2, 12], 2, 5);
        let mut truth = truth;
        truth[0] = Mat::full(2, 2, 1.0);
        let full = outer(&truth);
        let mut raw = full.clone();
        // Unit 0, stimulus 1 is turned by three directions and silent in the fit; all weigh a half.
        raw[12..24].rotate_left(3 * 3);
        let mut seen = full.clone();
        seen[12..24].fill(0.0);
        let tensor = CpTensor::cyclic(shape, seen, None).unwrap();
        let fit = fitted(&truth, vec![0; 4]);
        let later = LaterMaps { maps: &raw, silenced: &[false, true, false, false], relative: &[0.5; 4] };
        let found = neuron_matrix(&tensor, &fit, Some(later)).unwrap();
        assert_eq!(found.later_shifts, [3, 0]);
        assert!(found.explained.iter().all(|e| (e - 1.0).abs() < 1e-10));
        let whole = neuron_matrix(&CpTensor::cyclic(shape, full, None).unwrap(), &fit, None).unwrap();
        for n in 0..2 {
            for r in 0..2 {
                assert!((found.values[(n, r)].powi(2) - 0.5 * whole.values[(n, r)].powi(2)).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn another_tensor_is_refused() {
        let tensor = CpTensor::plain(&[4, 3, 2], vec![1.0; 24], None).unwrap();
        let fit = fit_cp(&tensor, &CpParams::default(), &Monitor::silent()).unwrap();
        let other = CpTensor::cyclic([4, 3, 2, 1], vec![1.0; 24], None).unwrap();
        assert!(neuron_matrix(&other, &fit, None).unwrap_err().to_string().contains("that was fitted"));
        let later = LaterMaps { maps: &[0.0; 24], silenced: &[false; 12], relative: &[1.0; 12] };
        assert!(neuron_matrix(&tensor, &fit, Some(later)).unwrap_err().to_string().contains("without gaps"));
    }
}
