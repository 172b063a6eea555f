//! The small loops of a factorisation: Khatri–Rao products, contractions, coordinate descent, rotations.
//!
//! Factors lie row after row (size × rank). All loops run in the order in which they are written, so their bits
//! depend on nothing but their input.

use pulp::{Arch, NullaryFnOnce};

/// The Khatri–Rao product of the factors of a block of modes: one row per cell, the first mode slowest.
pub fn khatri_rao(factors: &[Vec<f64>], rank: usize) -> Vec<f64> {
    let mut product = vec![1.0; rank];
    for factor in factors {
        let mut next = Vec::with_capacity(product.len() / rank * factor.len());
        for left in product.chunks_exact(rank) {
            for right in factor.chunks_exact(rank) {
                next.extend(left.iter().zip(right).map(|(l, r)| l * r));
            }
        }
        product = next;
    }
    product
}

/// Sum a block product (cells × rank) over all modes of the block but one, weighted by the other modes' factors.
pub fn contract(block: &[f64], factors: &[Vec<f64>], mode: usize, rank: usize) -> Vec<f64> {
    if factors.len() == 1 {
        return block.to_vec();
    }
    let before = khatri_rao(&factors[..mode], rank);
    let after = khatri_rao(&factors[mode + 1..], rank);
    let (n_after, n_mode) = (after.len() / rank, factors[mode].len() / rank);
    let mut out = vec![0.0; n_mode * rank];
    let mut cells = block.chunks_exact(rank);
    for left in before.chunks_exact(rank) {
        for out in out.chunks_exact_mut(rank) {
            for (right, cell) in after.chunks_exact(rank).zip(cells.by_ref().take(n_after)) {
                for r in 0..rank {
                    out[r] += left[r] * right[r] * cell[r];
                }
            }
        }
    }
    out
}

/// FᵀF of a factor (rank × rank).
pub fn factor_gram(factor: &[f64], rank: usize) -> Vec<f64> {
    let mut gram = vec![0.0; rank * rank];
    for row in factor.chunks_exact(rank) {
        for (line, &left) in gram.chunks_exact_mut(rank).zip(row) {
            if left != 0.0 {
                line.iter_mut().zip(row).for_each(|(sum, right)| *sum += left * right);
            }
        }
    }
    gram
}

/// Sweeps of coordinate descent on a factor M ≥ 0 for ½ tr(M Γ Mᵀ) − tr(Mᵀ W): columns in order, each exactly
/// minimised given all others. Rows do not touch one another, so they are swept one after the other.
pub fn descend(factor: &mut [f64], target: &[f64], gram: &[f64], rank: usize, sweeps: usize) {
    struct Rows<'a>(&'a mut [f64], &'a [f64], &'a [f64], usize, usize);
    impl NullaryFnOnce for Rows<'_> {
        type Output = ();
        #[inline(always)]
        fn call(self) {
            let Rows(factor, target, gram, rank, sweeps) = self;
            let mut slope = vec![0.0; rank];
            for (row, target) in factor.chunks_exact_mut(rank).zip(target.chunks_exact(rank)) {
                slope.copy_from_slice(target);
                for (r, line) in gram.chunks_exact(rank).enumerate() {
                    let value = row[r];
                    if value != 0.0 {
                        slope.iter_mut().zip(line).for_each(|(slope, g)| *slope -= value * g);
                    }
                }
                for _ in 0..sweeps {
                    let mut moved = false;
                    for (r, line) in gram.chunks_exact(rank).enumerate() {
                        // A component that is dead in another mode tells nothing about this one.
                        if !(line[r] > 0.0) {
                            continue;
                        }
                        let value = (row[r] + slope[r] / line[r]).max(0.0);
                        let change = value - row[r];
                        if change != 0.0 {
                            moved = true;
                            row[r] = value;
                            slope.iter_mut().zip(line).for_each(|(slope, g)| *slope -= change * g);
                        }
                    }
                    if !moved {
                        break;
                    }
                }
            }
        }
    }
    Arch::new().dispatch(Rows(factor, target, gram, rank, sweeps));
}

/// What was found for one map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rotation {
    /// Directions by which the map moves: direction d goes to d + shift.
    pub shift: usize,
    /// Whether any rotation is better than another; not for a silent map or a silent model.
    pub defined: bool,
    /// Σ (rotated map − model)² over observed entries.
    pub residual: f64,
}

/// The rotation of a map (directions × time) that brings it closest to the model's; the smallest among equals.
///
/// `twice` is room for two model maps.
#[inline(always)]
pub fn best_rotation(
    map: &[f64],
    observed: Option<&[bool]>,
    model: &[f64],
    n_directions: usize,
    twice: &mut [f64],
) -> Rotation {
    let length = map.len();
    let n_times = length / n_directions;
    twice[..length].copy_from_slice(model);
    twice[length..].copy_from_slice(model);
    let squares = (inner(map, map), inner(model, model));
    let defined = squares.0 > 0.0 && squares.1 > 0.0;
    let at = |shift: usize| &twice[shift * n_times..shift * n_times + length];
    // Rounding must not choose between equals: differences beyond this count.
    let slack = 1e-14 * (squares.0 + squares.1);
    let residual = |shift: usize| -> f64 {
        match observed {
            None => squared_distance(map, at(shift)),
            Some(observed) => map
                .iter()
                .zip(at(shift))
                .zip(observed)
                .map(|((x, y), &there)| if there { (x - y) * (x - y) } else { 0.0 })
                .sum(),
        }
    };
    if !defined || n_directions == 1 {
        return Rotation { shift: 0, defined, residual: residual(0) };
    }
    let mut best = (0, f64::INFINITY);
    for shift in 0..n_directions {
        // Without gaps norms are the same for all rotations, and the inner product decides.
        let cost = match observed {
            None => -inner(map, at(shift)),
            Some(_) => residual(shift),
        };
        if cost < best.1 - slack || shift == 0 {
            best = (shift, cost);
        }
    }
    Rotation { shift: best.0, defined, residual: residual(best.0) }
}

/// Σ x y in many lanes, which the caller's instruction set fills.
#[inline(always)]
pub fn inner(x: &[f64], y: &[f64]) -> f64 {
    let mut lanes = [0.0; 32];
    let (mut left, mut right) = (x.chunks_exact(32), y.chunks_exact(32));
    for (a, b) in (&mut left).zip(&mut right) {
        for lane in 0..32 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}

/// Σ (x − y)², likewise.
#[inline(always)]
pub fn squared_distance(x: &[f64], y: &[f64]) -> f64 {
    let mut lanes = [0.0; 32];
    let (mut left, mut right) = (x.chunks_exact(32), y.chunks_exact(32));
    for (a, b) in (&mut left).zip(&mut right) {
        for lane in 0..32 {
            let difference = a[lane] - b[lane];
            lanes[lane] += difference * difference;
        }
    }
    let rest = left.remainder().iter().zip(right.remainder());
    let rest: f64 = rest.map(|(a, b)| (a - b) * (a - b)).sum();
    lanes.iter().sum::<f64>() + rest
}

/// Write a map rotated by `shift` directions.
pub fn rotate<T: Copy>(map: &[T], shift: usize, n_directions: usize, out: &mut [T]) {
    let cut = map.len() - shift * (map.len() / n_directions);
    out[map.len() - cut..].copy_from_slice(&map[..cut]);
    out[..map.len() - cut].copy_from_slice(&map[cut..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    #[test]
    fn khatri_rao_and_contraction_by_hand() {
        // Two modes of 2 and 3, rank 2.
        let factors = [vec![1.0, 2.0, 3.0, 4.0], vec![1.0, 10.0, 2.0, 20.0, 3.0, 30.0]];
        let product = khatri_rao(&factors, 2);
        assert_eq!(product[..6], [1.0, 20.0, 2.0, 40.0, 3.0, 60.0]);
        assert_eq!(product[6..], [3.0, 40.0, 6.0, 80.0, 9.0, 120.0]);
        let block: Vec<f64> = (1..=12).map(f64::from).collect();
        // Mode 0, row 0: 1·1 + 3·2 + 5·3 and 2·10 + 4·20 + 6·30.
        assert_eq!(contract(&block, &factors, 0, 2), [22.0, 280.0, 58.0, 640.0]);
        // Mode 1, row 0: 1·1 + 7·3 and 2·2 + 8·4.
        assert_eq!(contract(&block, &factors, 1, 2), [22.0, 36.0, 30.0, 48.0, 38.0, 60.0]);
        assert_eq!(factor_gram(&factors[0], 2), [10.0, 14.0, 14.0, 20.0]);
    }

    #[test]
    fn one_sweep_is_the_formula_and_many_reach_the_constrained_minimum() {
        // Γ = [2 1; 1 2], w = (1, 5): unconstrained (−1, 3); with m ≥ 0 it is (0, 5/2).
        let (gram, target) = ([2.0, 1.0, 1.0, 2.0], [1.0, 5.0]);
        let mut once = [1.0, 1.0];
        descend(&mut once, &target, &gram, 2, 1);
        // m₀ = max(0, 1 + (1 − 3)/2) = 0, then m₁ = 1 + (5 − 2)/2.
        assert_eq!(once, [0.0, 2.5]);
        let mut many = [4.0, 0.0];
        descend(&mut many, &target, &gram, 2, 50);
        assert!(many[0].abs() < 1e-12 && (many[1] - 2.5).abs() < 1e-12);
        // A dead component is left alone.
        let mut dead = [7.0, 1.0];
        descend(&mut dead, &[0.0, 3.0], &[0.0, 0.0, 0.0, 2.0], 2, 3);
        assert_eq!(dead, [7.0, 1.5]);
    }

    #[test]
    fn rotations_undo_one_another_and_are_found() {
        let mut stream = Stream::new(1, "rotations", 0);
        let map: Vec<f64> = (0..8 * 5).map(|_| stream.uniform()).collect();
        let mut twice = vec![0.0; 80];
        for shift in 0..8 {
            let mut turned = vec![0.0; 40];
            rotate(&map, shift, 8, &mut turned);
            // Direction 0 stands at direction `shift`.
            assert_eq!(turned[shift * 5..shift * 5 + 5], map[..5]);
            let found = best_rotation(&map, None, &turned, 8, &mut twice);
            assert_eq!((found.shift, found.defined, found.residual), (shift, true, 0.0));
            let seen: Vec<bool> = (0..40).map(|i| i % 3 > 0).collect();
            assert_eq!(best_rotation(&map, Some(&seen), &turned, 8, &mut twice).shift, shift);
            let mut back = vec![0.0; 40];
            rotate(&turned, (8 - shift) % 8, 8, &mut back);
            assert_eq!(back, map);
        }
    }

    #[test]
    fn equals_take_the_smallest_rotation_and_silence_none() {
        let mut twice = vec![0.0; 12];
        let flat = [1.0; 6];
        let found = best_rotation(&flat, None, &[3.0; 6], 3, &mut twice);
        assert_eq!((found.shift, found.defined, found.residual), (0, true, 24.0));
        let found = best_rotation(&[0.0; 6], None, &flat, 3, &mut twice);
        assert_eq!((found.shift, found.defined, found.residual), (0, false, 6.0));
        // The second half repeats the first: rotations 1 and 3 of four are equal.
        let map = [0.0, 1.0, 0.0, 1.0];
        assert_eq!(best_rotation(&map, None, &[1.0, 0.0, 1.0, 0.0], 4, &mut [0.0; 8]).shift, 1);
    }
}
