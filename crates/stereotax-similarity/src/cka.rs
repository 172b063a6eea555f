//! Centred kernel alignment: the cosine between two centred Gram matrices.
//!
//! ```text
//! plain      CKA = ⟨K, L⟩ / √(⟨K, K⟩ ⟨L, L⟩),  ⟨K, L⟩ = Σ_ij K_ij L_ij, K and L centred
//! debiased   the same with HSIC₁(K, L) n (n − 3) = Σ_{i≠j} K̃_ij L̃_ij + (1ᵀK̃1)(1ᵀL̃1)/((n−1)(n−2)) − 2/(n−2) 1ᵀK̃L̃1
//! angular    arccos of the plain one: a distance that obeys the triangle inequality
//! ```
//!
//! with K̃ the Gram without its diagonal. For centred K, K̃1 = −diag(K), so that debiasing costs O(n) more:
//! Σ_{i≠j} K_ij L_ij + tr K tr L/((n−1)(n−2)) − 2/(n−2) Σ_i K_ii L_ii. HSIC₁(K, K) is the squared length of the
//! U-centred Gram and never negative, so the debiased cosine lies in [−1, 1].
//!
//! The plain CKA of independent noise grows towards 1 with the number of units over stimuli, because Gram diagonals
//! agree whatever the stimuli are; the debiased one stays about 0. It is the default everywhere.
//!
//! **Bootstrap.** A stimulus that is drawn twice is no pair of similar stimuli; counted as one, it raises both forms
//! above their own estimate. With multiplicities w the debiased form runs over pairs of different stimuli,
//! Σ_{i≠j} w_i w_j A_ij B_ij, with A the residual of K after the additive terms a_i + a_j that fit it best under these
//! weights (for w = 1 that is U-centring, and the result is the debiased CKA exactly). Additive terms are all that
//! independent representations have in common in expectation, so that its chance level stays 0 for any weights. The
//! plain form keeps the diagonal once per draw: Σ_{i≠j} w_i w_j K_ij L_ij + Σ_i w_i K_ii L_ii with the weighted means
//! taken away, so that diagonal and pairs keep the shares that they have in the estimate.
//!
//! Source: Kornblith et al. 2019; Song et al. 2012 (HSIC₁); specs: encoding-manifolds 6.4, peers 7. Undefined (NaN):
//! a representation that is constant; debiased with fewer than 4 stimuli. Cost: O(n²) beyond the Grams, or O(n p q)
//! where there are fewer units than stimuli.

use super::representation::CentredGram;

/// Least stimuli of the debiased form.
pub const LEAST_DEBIASED: usize = 4;
/// Cosines are lifted from arccos to lengths of chords above this.
const NEAR_ONE: f64 = 1.0 - 1e-4;

/// Plain CKA, in [0, 1]; NaN where a side is constant.
pub fn cka(k: &CentredGram, l: &CentredGram) -> f64 {
    cosine(k.inner(l, None), k.inner(k, None), l.inner(l, None)).clamp(0.0, 1.0)
}

/// Debiased CKA, in [−1, 1] with chance level 0; NaN where a side is constant or there are fewer than 4 stimuli.
pub fn debiased_cka(k: &CentredGram, l: &CentredGram) -> f64 {
    if k.n_stimuli() < LEAST_DEBIASED {
        return f64::NAN;
    }
    cosine(hsic(k, l), hsic(k, k), hsic(l, l))
}

/// arccos of the plain CKA, in [0, π/2]; 0 for equal Grams within rounding.
pub fn angular_cka(k: &CentredGram, l: &CentredGram) -> f64 {
    let (kk, ll) = (k.inner(k, None), l.inner(l, None));
    let cosine = cosine(k.inner(l, None), kk, ll);
    if !(cosine > NEAR_ONE) {
        return cosine.clamp(-1.0, 1.0).acos();
    }
    // arccos loses half the digits here: 2 asin of half the chord keeps them.
    let (a, b) = (1.0 / kk.sqrt(), 1.0 / ll.sqrt());
    2.0 * (0.5 * scaled_difference(k, a, l, b)).min(1.0).asin()
}

/// ‖a K − b L‖ entry by entry, in tiles of columns.
pub(super) fn scaled_difference(k: &CentredGram, a: f64, l: &CentredGram, b: f64) -> f64 {
    const TILE: usize = 256;
    let n = k.n_stimuli();
    let mut sum = 0.0;
    for from in (0..n).step_by(TILE) {
        let to = n.min(from + TILE);
        let (left, right) = (k.columns(from, to), l.columns(from, to));
        for j in 0..to - from {
            let both = left.col_as_slice(j).iter().zip(right.col_as_slice(j));
            sum += both.map(|(k, l)| (a * k - b * l).powi(2)).sum::<f64>();
        }
    }
    sum.sqrt()
}

/// n (n − 3) HSIC₁ of centred Grams.
pub fn hsic(k: &CentredGram, l: &CentredGram) -> f64 {
    let n = k.n_stimuli() as f64;
    let diagonals: f64 = k.diagonal.iter().zip(&l.diagonal).map(|(k, l)| k * l).sum();
    let pairs = k.inner(l, None) - diagonals;
    pairs + k.trace * l.trace / ((n - 1.0) * (n - 2.0)) - 2.0 / (n - 2.0) * diagonals
}

/// Debiased CKA of stimuli with multiplicities, over pairs of different stimuli. NaN where one stimulus has half of all
/// weight, or fewer than 4 have any.
pub fn weighted_debiased_cka(k: &CentredGram, l: &CentredGram, weights: &[f64]) -> f64 {
    let total: f64 = weights.iter().sum();
    let n_distinct = weights.iter().filter(|&&w| w > 0.0).count();
    if n_distinct < LEAST_DEBIASED || weights.iter().any(|&w| 2.0 * w >= total) {
        return f64::NAN;
    }
    let (of_k, of_l) = (PairTerms::new(k, weights, total), PairTerms::new(l, weights, total));
    let inner = |a: &CentredGram, of_a: &PairTerms, b: &CentredGram, of_b: &PairTerms| {
        let both = a.diagonal.iter().zip(&b.diagonal).zip(weights);
        let diagonals: f64 = both.map(|((a, b), w)| w * w * a * b).sum();
        let terms = of_a.additive.iter().zip(&of_b.sums).zip(weights);
        let additive: f64 = terms.map(|((a, sum), w)| w * a * sum).sum();
        a.inner(b, Some(weights)) - diagonals - 2.0 * additive
    };
    cosine(inner(k, &of_k, l, &of_l), inner(k, &of_k, k, &of_k), inner(l, &of_l, l, &of_l))
}

/// What pairs of different stimuli add up to, and the additive terms that fit them best.
struct PairTerms {
    /// Σ_{j≠i} w_j K_ij.
    sums: Vec<f64>,
    /// a_i of a_i + a_j ≈ K_ij.
    additive: Vec<f64>,
}

impl PairTerms {
    fn new(k: &CentredGram, weights: &[f64], total: f64) -> Self {
        let mut sums = k.times(weights);
        sums.iter_mut().zip(&k.diagonal).zip(weights).for_each(|((sum, k), w)| *sum -= w * k);
        // Normal equations: (W − 2 w_i) a_i + S = sum_i with S = Σ w_j a_j.
        let (mut above, mut below) = (0.0, 1.0);
        for (sum, w) in sums.iter().zip(weights) {
            above += w * sum / (total - 2.0 * w);
            below += w / (total - 2.0 * w);
        }
        let mean = above / below;
        let additive = sums.iter().zip(weights).map(|(sum, w)| (sum - mean) / (total - 2.0 * w)).collect();
        PairTerms { sums, additive }
    }
}

/// Plain CKA of stimuli with multiplicities: pairs of different stimuli, and each stimulus with itself once per draw.
pub fn weighted_cka(k: &CentredGram, l: &CentredGram, weights: &[f64]) -> f64 {
    let total: f64 = weights.iter().sum();
    let shares: Vec<f64> = weights.iter().map(|w| w / total).collect();
    let means = |k: &CentredGram| {
        let u = k.times(&shares);
        let grand: f64 = u.iter().zip(&shares).map(|(u, w)| u * w).sum();
        (u, grand)
    };
    let ((u, c), (v, d)) = (means(k), means(l));
    let inner = |a: &CentredGram, u: &[f64], c: f64, b: &CentredGram, v: &[f64], d: f64| {
        let crossed: f64 = u.iter().zip(v).zip(weights).map(|((u, v), w)| w * u * v).sum();
        let all = a.inner(b, Some(weights)) - 2.0 * total * crossed + total * total * c * d;
        let twice: f64 = (0..weights.len())
            .map(|i| {
                let (a, b) = (a.diagonal[i] - 2.0 * u[i] + c, b.diagonal[i] - 2.0 * v[i] + d);
                weights[i] * (weights[i] - 1.0) * a * b
            })
            .sum();
        all - twice
    };
    cosine(inner(k, &u, c, l, &v, d), inner(k, &u, c, k, &u, c), inner(l, &v, d, l, &v, d))
}

/// xy/√(xx yy), held in [−1, 1] within rounding; NaN where a length is 0.
fn cosine(xy: f64, xx: f64, yy: f64) -> f64 {
    if !(xx > 0.0 && yy > 0.0) {
        return f64::NAN;
    }
    (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::representation::Representation;
    use super::*;
    use faer::Mat;
    use stereotax_base::stats::rng::Stream;
    use stereotax_base::stats::summary::quantile;

    fn noise(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(6, "cka tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    /// HSIC₁ by its definition: the mean of h over all ordered 4-tuples of different stimuli (Song et al. 2012).
    fn hsic_of_tuples(k: &Mat<f64>, l: &Mat<f64>) -> f64 {
        let n = k.nrows();
        let (mut sum, mut count) = (0.0, 0.0);
        for i in 0..n {
            for j in 0..n {
                for q in 0..n {
                    for r in 0..n {
                        if i == j || i == q || i == r || j == q || j == r || q == r {
                            continue;
                        }
                        sum += k[(i, j)] * (l[(i, j)] + l[(q, r)] - 2.0 * l[(i, q)]);
                        count += 1.0;
                    }
                }
            }
        }
        sum / count
    }

    #[test]
    fn plain_cka_by_hand() {
        // x = (−1, 0, 1), y = (1, −2, 1): xᵀy = 0. z = (−1, 1, 0): (xᵀz)²/(xᵀx zᵀz) = 1/(2·2).
        let x = Mat::from_fn(3, 1, |i, _| i as f64);
        let y = Mat::from_fn(3, 1, |i, _| [1.0, -2.0, 1.0][i]);
        let z = Mat::from_fn(3, 1, |i, _| [-1.0, 1.0, 0.0][i]);
        let [x, y, z] = [&x, &y, &z].map(|x| Representation::new("x", x.as_ref()).unwrap());
        assert_eq!(cka(x.gram(), y.gram()), 0.0);
        assert!((cka(x.gram(), z.gram()) - 0.25).abs() < 1e-15);
        assert!((angular_cka(x.gram(), z.gram()) - 0.25f64.acos()).abs() < 1e-15);
        assert!(debiased_cka(x.gram(), z.gram()).is_nan());
    }

    #[test]
    fn debiasing_is_the_u_statistic_over_tuples() {
        for (p, q) in [(3, 20), (2, 3), (15, 9)] {
            let (x, y) = (noise(7, p, 0), noise(7, q, 1));
            let [a, b] = [&x, &y].map(|x| Representation::new("x", x.as_ref()).unwrap());
            // The definition takes Grams of any centring.
            let dense = |x: &Mat<f64>| x * x.transpose();
            let (k, l) = (dense(&x), dense(&y));
            let scale = 7.0 * 4.0;
            assert!((hsic(a.gram(), b.gram()) / scale - hsic_of_tuples(&k, &l)).abs() < 1e-11);
            let expected = hsic_of_tuples(&k, &l) / (hsic_of_tuples(&k, &k) * hsic_of_tuples(&l, &l)).sqrt();
            assert!((debiased_cka(a.gram(), b.gram()) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn equal_representations_are_at_no_angle() {
        let x = noise(20, 50, 2);
        let turned = Mat::from_fn(20, 50, |i, j| -3.0 * x[(i, 49 - j)] + j as f64);
        let narrow = noise(40, 5, 3);
        let mirrored = Mat::from_fn(40, 5, |i, j| 2.0 * narrow[(i, 4 - j)]);
        for (x, y) in [(&x, &turned), (&narrow, &mirrored)] {
            let [a, b] = [x, y].map(|x| Representation::new("x", x.as_ref()).unwrap());
            assert!(angular_cka(a.gram(), b.gram()) < 1e-12);
            assert!((cka(a.gram(), b.gram()) - 1.0).abs() < 1e-13);
            assert!((debiased_cka(a.gram(), b.gram()) - 1.0).abs() < 1e-13);
        }
        let constant = Mat::full(20, 4, 0.3);
        let c = Representation::new("c", constant.as_ref()).unwrap();
        let a = Representation::new("x", x.as_ref()).unwrap();
        assert!(cka(a.gram(), c.gram()).is_nan() && angular_cka(a.gram(), c.gram()).is_nan());
        assert!(debiased_cka(a.gram(), c.gram()).is_nan());
    }

    #[test]
    fn noise_is_at_chance_when_debiased_and_far_above_it_plain() {
        let (mut plain, mut debiased) = (0.0, 0.0);
        for draw in 0..40 {
            let (x, y) = (noise(20, 200, 10 + draw), noise(20, 200, 100 + draw));
            let [a, b] = [&x, &y].map(|x| Representation::new("x", x.as_ref()).unwrap());
            plain += cka(a.gram(), b.gram()) / 40.0;
            debiased += debiased_cka(a.gram(), b.gram()) / 40.0;
        }
        assert!(plain > 0.85 && debiased.abs() < 0.03, "{plain} {debiased}");
    }

    #[test]
    fn weights_of_one_change_nothing_and_weights_are_copies_without_false_pairs() {
        for p in [3, 30] {
            let (x, y) = (noise(9, p, 4), noise(9, 12, 5));
            let [a, b] = [&x, &y].map(|x| Representation::new("x", x.as_ref()).unwrap());
            let (k, l) = (a.gram(), b.gram());
            let ones = vec![1.0; 9];
            assert!((weighted_cka(k, l, &ones) - cka(k, l)).abs() < 1e-12);
            assert!((weighted_debiased_cka(k, l, &ones) - debiased_cka(k, l)).abs() < 1e-12);
            // Slow twin: copies of stimuli; pairs of copies of one stimulus do not count.
            let weights = [2.0, 0.0, 1.0, 3.0, 1.0, 0.0, 1.0, 1.0, 0.0];
            let copies: Vec<usize> = (0..9).flat_map(|i| vec![i; weights[i] as usize]).collect();
            let expected = slow_plain(&x, &y, &copies);
            assert!((weighted_cka(k, l, &weights) - expected).abs() < 1e-12);
            let expected = slow_debiased(&x, &y, &weights);
            assert!((weighted_debiased_cka(k, l, &weights) - expected).abs() < 1e-10);
        }
    }

    fn slow_plain(x: &Mat<f64>, y: &Mat<f64>, copies: &[usize]) -> f64 {
        let grams: Vec<Mat<f64>> = [x, y]
            .iter()
            .map(|x| {
                let mut drawn = stereotax_base::linalg::select_rows(x.as_ref(), copies);
                super::super::representation::centre(&mut drawn);
                &drawn * drawn.transpose()
            })
            .collect();
        let inner = |k: &Mat<f64>, l: &Mat<f64>| {
            let mut sum = 0.0;
            for a in 0..copies.len() {
                for b in 0..copies.len() {
                    if a == b || copies[a] != copies[b] {
                        sum += k[(a, b)] * l[(a, b)];
                    }
                }
            }
            sum
        };
        inner(&grams[0], &grams[1]) / (inner(&grams[0], &grams[0]) * inner(&grams[1], &grams[1])).sqrt()
    }

    /// Additive terms by least squares over all pairs, solved as a dense system.
    fn slow_debiased(x: &Mat<f64>, y: &Mat<f64>, weights: &[f64]) -> f64 {
        let n = x.nrows();
        let residual = |x: &Mat<f64>| {
            let k = x * x.transpose();
            let (mut left, mut right) = (Mat::zeros(n, n), Mat::zeros(n, 1));
            for i in 0..n {
                for j in (0..n).filter(|&j| j != i) {
                    let w = weights[i] * weights[j];
                    left[(i, i)] += w;
                    left[(i, j)] += w;
                    right[(i, 0)] += w * k[(i, j)];
                }
            }
            let a = stereotax_base::linalg::least_squares(left.as_ref(), right.as_ref(), 1e-12).unwrap();
            Mat::from_fn(n, n, |i, j| if i == j { 0.0 } else { k[(i, j)] - a[(i, 0)] - a[(j, 0)] })
        };
        let (a, b) = (residual(x), residual(y));
        let inner = |a: &Mat<f64>, b: &Mat<f64>| {
            let at = (0..n).flat_map(|j| (0..n).map(move |i| (i, j)));
            at.map(|(i, j)| weights[i] * weights[j] * a[(i, j)] * b[(i, j)]).sum::<f64>()
        };
        inner(&a, &b) / (inner(&a, &a) * inner(&b, &b)).sqrt()
    }

    #[test]
    fn intervals_of_the_bootstrap_hold_their_estimate() {
        // Many units, a shared signal: with copies counted as pairs, plain CKA of draws lies above the estimate.
        let (n, p) = (40, 120);
        let shared = noise(n, 3, 6);
        let seen = |index| {
            let (mixing, own) = (noise(3, p, index), noise(n, p, index + 1));
            &shared * &mixing + 2.0 * &own
        };
        let (x, y) = (seen(20), seen(30));
        let [a, b] = [&x, &y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        let (k, l) = (a.gram(), b.gram());
        let (mut plain, mut debiased, mut naive) = (vec![], vec![], vec![]);
        for draw in 0..200 {
            let mut stream = Stream::new(3, "draws", draw);
            let mut weights = vec![0.0; n];
            (0..n).for_each(|_| weights[stream.below(n)] += 1.0);
            plain.push(weighted_cka(k, l, &weights));
            debiased.push(weighted_debiased_cka(k, l, &weights));
            let copies: Vec<usize> = (0..n).flat_map(|i| vec![i; weights[i] as usize]).collect();
            let (x, y) = (
                stereotax_base::linalg::select_rows(x.as_ref(), &copies),
                stereotax_base::linalg::select_rows(y.as_ref(), &copies),
            );
            let [a, b] = [&x, &y].map(|x| Representation::new("x", x.as_ref()).unwrap());
            naive.push(debiased_cka(a.gram(), b.gram()));
        }
        let (of_plain, of_debiased) = (cka(k, l), debiased_cka(k, l));
        // Not merely inside: the estimate is near the middle of its draws.
        let inside = |draws: &[f64], value: f64| quantile(draws, 0.2) < value && value < quantile(draws, 0.8);
        assert!(inside(&debiased, of_debiased), "{of_debiased} {}", quantile(&debiased, 0.5));
        assert!(inside(&plain, of_plain), "{of_plain} {}", quantile(&plain, 0.5));
        assert!(quantile(&naive, 0.025) > of_debiased, "copies inflate: {}", quantile(&naive, 0.025));
    }
}
