//! Where a climb over rotations begins: eigenvectors matched by their eigenvalues, and Haar draws.
//!
//! ```text
//! A v_k = λ_k v_k,  B w_k = μ_k w_k,  paired so that Σ |λ_k − μ_k|² is least (pairs with pairs, reals with reals)
//! C = orthogonal factor of Σ_k v_k d_k w_kᴴ
//! ```
//!
//! An eigenvector has no sign, and one of a complex pair no phase; d_k settles them: where B = Qᵀ A Q, the inner
//! products obey w_iᴴ w_j = d̄_i d_j v_iᴴ v_j, so the d that makes them agree best is found by turning one after
//! the other. For such systems C is Q itself, whether or not A is normal.
//! The same is done with the symmetric parts' eigenvectors, whose signs the skew parts settle.
//! Of each start the twin in the other component of O(n) is the reflection that costs least.
//!
//! Source: specs: encoding-manifolds 6.6. Cost: O(n³) per system once, O(n³) per pair.

use faer::{Mat, MatRef, c64};

use super::ascent::Goal;
use stereotax_base::data::Result;
use stereotax_base::linalg::{assignment, cross, eig, eigh, orthogonal_factor, product, svd, thin_qr};
use stereotax_base::stats::rng::Stream;

/// Rounds over all phases.
const ROUNDS: usize = 40;
/// Beginnings of the phases.
const PHASE_STARTS: u64 = 4;

/// What a system brings to every comparison, computed once.
#[derive(Debug, Clone)]
pub(super) struct Spectrum {
    /// Complex pairs: the eigenvalue with Im > 0 and its vector.
    pairs: Vec<(c64, Vec<c64>)>,
    /// Real eigenvalues and their vectors.
    reals: Vec<(f64, Vec<f64>)>,
    /// Eigenvalues of ½(A + Aᵀ), descending.
    symmetric: Vec<f64>,
    /// Their vectors.
    axes: Mat<f64>,
    /// Singular values of ½(A − Aᵀ), descending.
    skew: Vec<f64>,
}

impl Spectrum {
    pub fn new(a: MatRef<f64>) -> Result<Self> {
        let n = a.nrows();
        let found = eig(a)?;
        let (mut pairs, mut reals) = (Vec::new(), Vec::new());
        for (k, &value) in found.values.iter().enumerate() {
            let column: Vec<c64> = found.vectors.col(k).iter().copied().collect();
            if value.im > 0.0 {
                pairs.push((value, column));
            } else if value.im == 0.0 {
                reals.push((value.re, column.iter().map(|z| z.re).collect()));
            }
        }
        let symmetric = eigh(Mat::from_fn(n, n, |i, j| 0.5 * (a[(i, j)] + a[(j, i)])).as_ref())?;
        let skew = svd(Mat::from_fn(n, n, |i, j| 0.5 * (a[(i, j)] - a[(j, i)])).as_ref())?.s;
        Ok(Spectrum { pairs, reals, symmetric: symmetric.values, axes: symmetric.vectors, skew })
    }

    /// Above ⟨A, C B Cᵀ⟩ for every orthogonal C: symmetric and skew parts each at their own best.
    pub fn bound(&self, other: &Self) -> f64 {
        let sum = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        sum(&self.symmetric, &other.symmetric) + sum(&self.skew, &other.skew)
    }
}

/// Starts that the two systems themselves suggest: by eigenvectors, and by symmetric parts.
pub(super) fn matched(goal: &Goal<'_>, a: &Spectrum, b: &Spectrum, seed: u64) -> Result<Vec<Mat<f64>>> {
    let n = goal.a.nrows();
    let mut found = Vec::new();
    let (va, vb) = paired_vectors(a, b);
    let (ga, gb) = (complex_gram(&va), complex_gram(&vb));
    let mut best: Option<(f64, Mat<f64>)> = None;
    for start in 0..PHASE_STARTS {
        let phases = agree(&ga, &gb, &va.is_real, start, seed);
        // Σ v d wᴴ, real: a pair gives twice the real part of its own term.
        let k = va.vectors.len();
        let weight = |u: usize| if va.is_real[u] { 1.0 } else { 2.0 };
        let left = Mat::from_fn(n, 2 * k, |i, u| {
            let z = va.vectors[u % k][i] * phases[u % k] * weight(u % k);
            if u < k { z.re } else { z.im }
        });
        let right =
            Mat::from_fn(n, 2 * k, |i, u| if u < k { vb.vectors[u][i].re } else { vb.vectors[u - k][i].im });
        let c = orthogonal_factor(product(left.as_ref(), right.transpose()).as_ref())?;
        let value = goal.value(c.as_ref());
        if best.as_ref().is_none_or(|(least, _)| value > *least) {
            best = Some((value, c));
        }
    }
    found.extend(best.map(|(_, c)| c));
    // Symmetric parts, their signs from the skew parts.
    let inside = |m: MatRef<f64>, axes: &Mat<f64>| {
        let turned = product(cross(axes.as_ref(), m).as_ref(), axes.as_ref());
        let skew =
            |i: usize, j: usize| c64::new(if i == j { 0.0 } else { turned[(i, j)] - turned[(j, i)] }, 0.0);
        Mat::from_fn(n, n, skew)
    };
    let (ka, kb) = (inside(goal.a, &a.axes), inside(goal.b, &b.axes));
    let mut best: Option<(f64, Mat<f64>)> = None;
    for start in 0..PHASE_STARTS {
        let signs = agree_simple(&ka, &kb, start, seed);
        let left = Mat::from_fn(n, n, |i, j| a.axes[(i, j)] * signs[j]);
        let c = product(left.as_ref(), b.axes.transpose());
        let value = goal.value(c.as_ref());
        if best.as_ref().is_none_or(|(least, _)| value > *least) {
            best = Some((value, c));
        }
    }
    found.extend(best.map(|(_, c)| c));
    Ok(found)
}

/// The reflection of `c` that costs least, in the other component of O(n).
pub(super) fn reflected(goal: &Goal<'_>, c: MatRef<f64>) -> Result<Mat<f64>> {
    // C (I − 2wwᵀ): the loss is 2 wᵀ(B A'ᵀ + A'ᵀB)w up to the term of fourth order in w, with A' = Cᵀ A C.
    let n = c.nrows();
    let inside = product(cross(c, goal.a).as_ref(), c);
    let m = product(goal.b, inside.transpose()) + cross(inside.as_ref(), goal.b);
    let linear = goal.linear.map(|l| cross(c, l));
    let loss = Mat::from_fn(n, n, |i, j| {
        let extra = linear.as_ref().map_or(0.0, |l| l[(i, j)] + l[(j, i)]);
        m[(i, j)] + m[(j, i)] + extra
    });
    let vectors = eigh(loss.as_ref())?.vectors;
    let reflect = |k: usize| {
        let w = vectors.col(k);
        let cw: Vec<f64> = (0..n).map(|i| (0..n).map(|j| c[(i, j)] * w[j]).sum()).collect();
        Mat::from_fn(n, n, |i, j| c[(i, j)] - 2.0 * cw[i] * w[j])
    };
    // The last few of them; the fourth-order term decides.
    let mut best = reflect(n - 1);
    let mut value = goal.value(best.as_ref());
    for k in (n.saturating_sub(3)..n - 1).rev() {
        let other = reflect(k);
        let found = goal.value(other.as_ref());
        if found > value {
            (best, value) = (other, found);
        }
    }
    Ok(best)
}

/// A Haar draw with determinant +1 or −1.
pub(super) fn haar(n: usize, positive: bool, seed: u64, index: u64) -> Mat<f64> {
    let mut stream = Stream::new(seed, "rotation of a start", index);
    let (mut q, r) = thin_qr(Mat::from_fn(n, n, |_, _| stream.normal()).as_ref());
    for j in 0..n {
        if r[(j, j)] < 0.0 {
            q.col_mut(j).iter_mut().for_each(|x| *x = -*x);
        }
    }
    if n > 0 && (q.determinant() > 0.0) != positive {
        q.col_mut(0).iter_mut().for_each(|x| *x = -*x);
    }
    q
}

/// Eigenvectors of one side in the common order; one of each complex pair.
struct Vectors {
    vectors: Vec<Vec<c64>>,
    is_real: Vec<bool>,
}

fn paired_vectors(a: &Spectrum, b: &Spectrum) -> (Vectors, Vectors) {
    let most = a.pairs.len().max(b.pairs.len());
    // What one side lacks stands for a pair of real numbers, which a pair reaches by losing its imaginary part.
    let cost = Mat::from_fn(most, most, |i, j| match (a.pairs.get(i), b.pairs.get(j)) {
        (Some((x, _)), Some((y, _))) => (*x - *y).norm_sqr(),
        (Some((x, _)), None) | (None, Some((x, _))) => x.im * x.im,
        (None, None) => 0.0,
    });
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let (mut reals_a, mut reals_b) = (a.reals.clone(), b.reals.clone());
    for (i, &j) in assignment(cost.as_ref()).iter().enumerate() {
        match (a.pairs.get(i), b.pairs.get(j)) {
            (Some((_, x)), Some((_, y))) => {
                left.push((x.clone(), false));
                right.push((y.clone(), false));
            }
            (Some(pair), None) => reals_a.extend(dissolved(pair)),
            (None, Some(pair)) => reals_b.extend(dissolved(pair)),
            (None, None) => {}
        }
    }
    for (reals, side) in [(&mut reals_a, &mut left), (&mut reals_b, &mut right)] {
        reals.sort_by(|x, y| y.0.total_cmp(&x.0));
        side.extend(reals.iter().map(|(_, v)| (v.iter().map(|&x| c64::new(x, 0.0)).collect(), true)));
    }
    let split = |side: Vec<(Vec<c64>, bool)>| {
        let (vectors, is_real) = side.into_iter().unzip();
        Vectors { vectors, is_real }
    };
    (split(left), split(right))
}

/// A complex pair as two real numbers with orthonormal vectors of its plane.
fn dissolved((value, vector): &(c64, Vec<c64>)) -> [(f64, Vec<f64>); 2] {
    let plane = Mat::from_fn(vector.len(), 2, |i, j| if j == 0 { vector[i].re } else { vector[i].im });
    let q = thin_qr(plane.as_ref()).0;
    [0, 1].map(|j| (value.re, q.col(j).iter().copied().collect()))
}

/// Inner products v_iᴴ v_j (first) and v_iᴴ v̄_j (second).
fn complex_gram(v: &Vectors) -> [Mat<c64>; 2] {
    let (k, n) = (v.vectors.len(), v.vectors.first().map_or(0, Vec::len));
    let re = Mat::from_fn(n, k, |i, j| v.vectors[j][i].re);
    let im = Mat::from_fn(n, k, |i, j| v.vectors[j][i].im);
    let (rr, ii) = (cross(re.as_ref(), re.as_ref()), cross(im.as_ref(), im.as_ref()));
    let ri = cross(re.as_ref(), im.as_ref());
    [
        Mat::from_fn(k, k, |i, j| c64::new(rr[(i, j)] + ii[(i, j)], ri[(i, j)] - ri[(j, i)])),
        Mat::from_fn(k, k, |i, j| c64::new(rr[(i, j)] - ii[(i, j)], -ri[(i, j)] - ri[(j, i)])),
    ]
}

/// Phases d (±1 for real vectors) with which the inner products agree best.
fn agree(ga: &[Mat<c64>; 2], gb: &[Mat<c64>; 2], is_real: &[bool], start: u64, seed: u64) -> Vec<c64> {
    let k = is_real.len();
    let mut stream = Stream::new(seed, "phases of eigenvectors", start);
    let mut d: Vec<c64> = (0..k)
        .map(|u| {
            let angle = std::f64::consts::TAU * stream.uniform();
            if start == 0 {
                c64::new(1.0, 0.0)
            } else if is_real[u] {
                c64::new(if angle < std::f64::consts::PI { 1.0 } else { -1.0 }, 0.0)
            } else {
                c64::new(angle.cos(), angle.sin())
            }
        })
        .collect();
    for _ in 0..ROUNDS {
        let mut moved = 0.0f64;
        for i in 0..k {
            let mut pull = c64::new(0.0, 0.0);
            for j in 0..k {
                let both = if is_real[j] { 0.0 } else { 1.0 };
                if j != i {
                    pull += ga[0][(i, j)] * gb[0][(i, j)].conj() * d[j];
                }
                pull += ga[1][(i, j)] * gb[1][(i, j)].conj() * d[j].conj() * both;
            }
            let new = if is_real[i] { c64::new(pull.re, 0.0) } else { pull };
            let size = new.norm();
            if size > 1e-12 {
                let new = new * (1.0 / size);
                moved = moved.max((new - d[i]).norm());
                d[i] = new;
            }
        }
        if moved < 1e-15 {
            break;
        }
    }
    d
}

/// Signs with which two real skew matrices agree best.
fn agree_simple(ka: &Mat<c64>, kb: &Mat<c64>, start: u64, seed: u64) -> Vec<f64> {
    let n = ka.nrows();
    let zero = Mat::zeros(n, n);
    let found = agree(&[ka.clone(), zero.clone()], &[kb.clone(), zero], &vec![true; n], start, seed);
    found.iter().map(|z| z.re).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(5, "start tests", index);
        Mat::from_fn(n, n, |_, _| stream.normal())
    }

    #[test]
    fn the_rotation_between_conjugated_systems_is_found_at_once() {
        // Far from normal, with real and complex eigenvalues; rotations of either determinant.
        for (n, index) in [(2, 0), (5, 1), (9, 2), (30, 3)] {
            for positive in [true, false] {
                let a = noise(n, index);
                let q = haar(n, positive, 9, index);
                let b = product(product(q.as_ref(), a.as_ref()).as_ref(), q.transpose());
                let goal = Goal { a: a.as_ref(), b: b.as_ref(), linear: None };
                let (sa, sb) = (Spectrum::new(a.as_ref()).unwrap(), Spectrum::new(b.as_ref()).unwrap());
                let best = matched(&goal, &sa, &sb, 0)
                    .unwrap()
                    .iter()
                    .map(|c| goal.value(c.as_ref()))
                    .fold(f64::NEG_INFINITY, f64::max);
                let most = a.norm_l2().powi(2);
                assert!(best > most * (1.0 - 1e-10), "{n} {positive}: {best} of {most}");
                assert!(sa.bound(&sb) >= best - 1e-9 * most);
            }
        }
    }

    #[test]
    fn haar_draws_are_orthogonal_with_the_determinant_asked_for() {
        for positive in [true, false] {
            let q = haar(6, positive, 1, 0);
            assert!((cross(q.as_ref(), q.as_ref()) - Mat::<f64>::identity(6, 6)).norm_max() < 1e-14);
            assert!((q.determinant() - if positive { 1.0 } else { -1.0 }).abs() < 1e-12);
        }
        // E[q_11²] = 1/n.
        let mean = (0..4000).map(|i| haar(3, true, 2, i)[(0, 0)].powi(2)).sum::<f64>() / 4000.0;
        assert!((mean - 1.0 / 3.0).abs() < 0.02, "{mean}");
    }

    #[test]
    fn a_reflection_is_in_the_other_component_and_costs_little() {
        let a = Mat::from_fn(4, 4, |i, j| if i == j { [2.0, 1.0, 0.5, 0.0][i] } else { 0.0 });
        let goal = Goal { a: a.as_ref(), b: a.as_ref(), linear: None };
        let c = Mat::<f64>::identity(4, 4);
        let twin = reflected(&goal, c.as_ref()).unwrap();
        assert!((twin.determinant() + 1.0).abs() < 1e-12);
        // Mirroring an axis of a symmetric matrix costs nothing.
        assert!((goal.value(twin.as_ref()) - 5.25).abs() < 1e-12);
    }
}
