//! Find the largest eigenvalues of a large symmetric matrix from its products with vectors.
//!
//! Block Lanczos with full reorthogonalisation and thick restart: the basis V grows by blocks of four vectors, each
//! what A makes of the last one, without its parts in V. Eigenpairs of VᵀAV approach those of A from inside; where the
//! basis is full it is cut down to the better half of them: those beyond the wanted ones cost room, but without them
//! eigenvalues that stand close to the last wanted one come in again and again. A block of four finds eigenvalues that are repeated up to four
//! times in one go. What has converged is doubted once: a random block and what A makes of it follow, so that an
//! eigenvalue repeated more often comes in, and the search ends when the eigenvalues stay as they were.
//!
//! What A makes of a block lies, but for rounding, in the block, the one before and itself (after a restart: in the
//! whole basis). These parts are taken out first and make VᵀAV; one pass over the basis then takes out what rounding
//! left.
//!
//! Source: Golub & Underwood 1977; Wu & Simon 2000 (thick restart). Cost: per block four products with A, and O(n m)
//! for a basis of m = 2 count + 40 vectors; a decomposition of m × m every fourth block.

use faer::{Mat, MatRef};

use super::{Eigh, add_product, cross, eigh, product, thin_qr};
use crate::data::{Error, Result};
use crate::stats::rng::Stream;

/// Vectors in a block.
const BLOCK: usize = 4;
/// Blocks that follow a random one before the eigenvalues are believed.
const BLOCKS_OF_DOUBT: usize = 3;
/// Blocks between two looks at the eigenvalues.
const BLOCKS_UNSEEN: usize = 4;

/// The `count` largest eigenvalues (descending) of a symmetric n × n matrix, with eigenvectors of which the entry of
/// largest modulus is positive.
///
/// `apply` multiplies the matrix with a block of columns. A pair has converged once |A v − λ v| ≤ `tolerance` · max |λ|.
/// Errors: no convergence within 3,000 blocks; whatever `apply` returns.
pub fn eigh_largest(
    n: usize,
    count: usize,
    tolerance: f64,
    seed: u64,
    mut apply: impl FnMut(MatRef<f64>) -> Result<Mat<f64>>,
) -> Result<Eigh> {
    let count = count.min(n);
    let most = (2 * count + 40).min(n);
    let mut stream = Stream::new(seed, "Lanczos", 0);
    let mut block = thin_qr(Mat::from_fn(n, BLOCK.min(n), |_, _| stream.normal()).as_ref()).0;
    // Room for the whole basis; the first `size` columns are in use.
    let mut room: Mat<f64> = Mat::zeros(n, most.max(BLOCK.min(n)));
    let mut size = 0;
    let mut projected: Mat<f64> = Mat::zeros(0, 0);
    let (mut believed, mut since): (Option<Vec<f64>>, usize) = (None, 0);
    // Where the vectors begin that what A makes of a block has parts in; where, for good, after a block was dropped for
    // a random one; the largest |λ| seen.
    let (mut reach, mut dropped, mut largest) = (0, usize::MAX, 0.0f64);
    for step in 0..3000 {
        let width = block.ncols();
        let mut next = apply(block.as_ref())?;
        room.get_mut(.., size..size + width).copy_from(block.as_ref());
        let basis = room.get(.., ..size + width);
        let near = room.get(.., reach..size + width);
        let coupling = cross(near, next.as_ref());
        projected = Mat::from_fn(size + width, size + width, |i, j| match (i < size, j < size) {
            (true, true) => projected[(i, j)],
            (_, false) if i >= size => {
                0.5 * (coupling[(i - reach, j - size)] + coupling[(j - reach, i - size)])
            }
            (true, false) if i >= reach => coupling[(i - reach, j - size)],
            (false, _) if j >= reach => coupling[(j - reach, i - size)],
            _ => 0.0,
        });
        add_product(next.as_mut(), near, coupling.as_ref(), -1.0);
        let again = cross(basis, next.as_ref());
        add_product(next.as_mut(), basis, again.as_ref(), -1.0);
        let (mut fresh, upper) = thin_qr(next.as_ref());

        let full = size + width >= n;
        let crowded = size + 2 * width > most && !full;
        since += 1;
        let mut doubt = false;
        let mut seen: Option<Eigh> = None;
        if full || crowded || step % BLOCKS_UNSEEN == 0 {
            let ritz = eigh(projected.as_ref())?;
            largest = ritz.values.iter().fold(largest, |most, value| most.max(value.abs()));
            // |A v − λ v| = |R y_last| for v = V y, with y_last the entries of the last block.
            let last = ritz.vectors.get(size.., ..);
            let open = product(upper.as_ref(), last);
            let residual = |k: usize| open.col(k).norm_l2();
            let settled = size + width >= count && (0..count).all(|k| residual(k) <= tolerance * largest);
            let same = believed.as_ref().is_some_and(|before| {
                before.iter().zip(&ritz.values).all(|(a, b)| (a - b).abs() <= 1e-8 * largest)
            });
            let converged = full || (settled && same && since > BLOCKS_OF_DOUBT);
            doubt = settled && !same;
            if doubt {
                (believed, since) = (Some(ritz.values[..count].to_vec()), 0);
            }
            if converged {
                let mut vectors = product(basis, ritz.vectors.get(.., ..count));
                for j in 0..count {
                    let entry =
                        vectors.col(j).iter().fold(0.0f64, |b, &x| if x.abs() > b.abs() { x } else { b });
                    if entry < 0.0 {
                        vectors.col_mut(j).iter_mut().for_each(|x| *x = -*x);
                    }
                }
                return Ok(Eigh { values: ritz.values[..count].to_vec(), vectors });
            }
            seen = Some(ritz);
        }
        if doubt {
            dropped = dropped.min(size);
        }
        reach = size.min(dropped);
        size += width;
        if let Some(ritz) = seen.filter(|_| crowded) {
            let kept = (most / 2).max(count + BLOCK).min(most.saturating_sub(width)).max(1);
            let best = product(basis, ritz.vectors.get(.., ..kept));
            room.get_mut(.., ..kept).copy_from(best.as_ref());
            projected = Mat::from_fn(kept, kept, |i, j| if i == j { ritz.values[i] } else { 0.0 });
            (size, reach) = (kept, 0);
            dropped = if dropped == usize::MAX { usize::MAX } else { 0 };
        }
        // Directions that A did not add (an invariant subspace) are replaced by random ones.
        let scale = largest.max(f64::MIN_POSITIVE);
        let basis = room.get(.., ..size);
        let width = fresh.ncols().min(n - size);
        // Short rests and random ones are not orthogonal to the basis yet.
        let mut loose = false;
        for j in 0..width {
            loose |= doubt || upper[(j, j)].abs() <= 1e-4 * scale;
            if !doubt && upper[(j, j)].abs() > 1e-13 * scale {
                continue;
            }
            for i in 0..n {
                fresh[(i, j)] = stream.normal();
            }
            reach = 0;
        }
        block = fresh.get(.., ..width).to_owned();
        for _ in 0..if loose { 2 } else { 0 } {
            let inside = cross(basis, block.as_ref());
            add_product(block.as_mut(), basis, inside.as_ref(), -1.0);
            block = thin_qr(block.as_ref()).0;
        }
    }
    Err(Error::NoConvergence {
        what: "Lanczos iteration".into(),
        detail: format!("{count} eigenvalues of a {n} × {n} matrix; ask for fewer"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenpairs_are_those_of_the_dense_decomposition() {
        let mut stream = Stream::new(4, "lanczos tests", 0);
        let x = Mat::from_fn(400, 300, |_, j| stream.normal() / (1.0 + j as f64));
        let mut a = cross(x.as_ref(), x.as_ref());
        // A large negative eigenvalue must not lead.
        for i in 0..300 {
            a[(i, i)] -= if i == 299 { 1e4 } else { 0.0 };
        }
        let dense = eigh(a.as_ref()).unwrap();
        let found = eigh_largest(300, 12, 1e-12, 0, |v| Ok(product(a.as_ref(), v))).unwrap();
        for k in 0..12 {
            assert!((found.values[k] - dense.values[k]).abs() < 1e-6, "{k}");
            let off = found.vectors.col(k).to_owned() - dense.vectors.col(k);
            assert!(off.norm_l2() < 1e-5, "{k} {}", off.norm_l2());
        }
    }

    #[test]
    fn eigenvalues_that_crowd_at_the_top_are_found_in_few_products() {
        // As of a diffusion map: 1 − k²/10⁵, and the last wanted ones hardly apart from the next.
        let n = 3000;
        let value = |i: usize| (1.0 - (i * i) as f64 * 1e-5).max(1e-3 * (i % 7) as f64);
        let mut n_products = 0;
        let apply = |v: MatRef<f64>| {
            n_products += v.ncols();
            Ok(Mat::from_fn(n, v.ncols(), |i, j| value(i) * v[(i, j)]))
        };
        let found = eigh_largest(n, 20, 1e-9, 3, apply).unwrap();
        for k in 0..20 {
            assert!((found.values[k] - value(k)).abs() < 1e-12, "{k}");
            // The vector is the k-th unit vector.
            assert!((found.vectors[(k, k)] - 1.0).abs() < 1e-6, "{k} {}", found.vectors[(k, k)]);
        }
        let g = cross(found.vectors.as_ref(), found.vectors.as_ref());
        assert!((g - Mat::<f64>::identity(20, 20)).norm_max() < 1e-10);
        // Cut down to 24 of 80 vectors, it took twice as many.
        assert!(n_products < 2000, "{n_products}");
    }

    #[test]
    fn repeated_eigenvalues_are_all_found() {
        // 1 four times, then ½ six times, on a diagonal, also of few rows: 28 of 30 directions hold the blocks and
        // what A makes of them, and two of the six are outside.
        for n in [500, 30, 3] {
            let value = |i: usize| {
                if i % n < 4 {
                    1.0
                } else if i < 10 {
                    0.5
                } else {
                    0.3 / (1 + i) as f64
                }
            };
            let apply = |v: MatRef<f64>| Ok(Mat::from_fn(n, v.ncols(), |i, j| value(i) * v[(i, j)]));
            let found = eigh_largest(n, 10, 1e-10, 1, apply).unwrap();
            let mut expected: Vec<f64> = (0..n).map(value).collect();
            expected.sort_by(|a, b| b.total_cmp(a));
            for (found, expected) in found.values.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-9, "{n}: {found} {expected}");
            }
            let g = cross(found.vectors.as_ref(), found.vectors.as_ref());
            assert!((g - Mat::<f64>::identity(10.min(n), 10.min(n))).norm_max() < 1e-10);
        }
        // A matrix of rank 2 has no more to give: the rest is 0.
        let few =
            |v: MatRef<f64>| Ok(Mat::from_fn(300, v.ncols(), |i, j| if i < 2 { v[(i, j)] } else { 0.0 }));
        let found = eigh_largest(300, 6, 1e-10, 2, few).unwrap();
        assert!(found.values.iter().zip([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]).all(|(a, b)| (a - b).abs() < 1e-9));
    }
}
