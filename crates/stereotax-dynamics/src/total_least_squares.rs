//! Fit the depth operator with noise on both sides of every pair.
//!
//! ```text
//! [X; Y] ≈ rank r:   P = V_r V_rᵀ (leading right-singular directions of the stack)
//! then least squares on X P, Y P
//! ```
//!
//! Source: Hemati et al. 2017; Dawson et al. 2016; specs: nfas-dmd 5.4. Needs more pairs than the rank:
//! with r = L − 1, P is the identity and nothing is gained, so that is refused. Cost: O(L³).

use faer::Mat;

use super::modes::RawModes;
use super::operator::{Pairs, Pod, eigenpairs, ritz_modes};
use super::reduce::Reduced;
use super::spectrum::ModeForm;
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{product, svd};

pub(super) fn total_least_squares_dmd(
    reduced: &Reduced,
    pairs: &Pairs,
    rank: usize,
    form: ModeForm,
    tikhonov: f64,
) -> Result<RawModes> {
    if rank >= pairs.x.ncols() {
        return Err(Error::Invalid {
            what: "rank".into(),
            expected: format!(
                "at most {} for total least squares on {} layers",
                pairs.x.ncols() - 1,
                reduced.n_layers()
            ),
            found: rank.to_string(),
            hint: "ask for a lower rank, or use the standard estimator".into(),
        });
    }
    let denoised = pairs.combined(projector(pairs, rank)?.as_ref());
    let pod = Pod::leading(&Pod::full(denoised.x.as_ref())?, rank);
    let operator = pod.operator(denoised.y.as_ref(), tikhonov);
    let found = eigenpairs(operator.as_ref())?;
    Ok(ritz_modes(reduced.n_layers(), &denoised, &pod, found, form, tikhonov))
}

/// V_r V_rᵀ of [X; Y] (p × p).
fn projector(pairs: &Pairs, rank: usize) -> Result<Mat<f64>> {
    let height = pairs.x.nrows();
    let stack = Mat::from_fn(2 * height, pairs.x.ncols(), |i, j| {
        if i < height { pairs.x[(i, j)] } else { pairs.y[(i - height, j)] }
    });
    let v = svd(stack.as_ref())?.v;
    let leading = v.get(.., ..rank.min(v.ncols()));
    Ok(product(leading, leading.transpose()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::linalg::{eig, eigh, pseudo_inverse};
    use stereotax_base::stats::rng::Stream;

    /// Many noisy pairs of a known 2 × 2 system inside 4 dimensions.
    fn noisy_pairs(n: usize, sigma: f64) -> Pairs {
        let mut stream = Stream::new(5, "tls tests", n as u64);
        let truth = [[0.95, 0.1], [0.0, 0.6]];
        let (mut x, mut y) = (Mat::zeros(4, n), Mat::zeros(4, n));
        for j in 0..n {
            let state = [stream.normal(), stream.normal()];
            for i in 0..2 {
                x[(i, j)] = state[i];
                y[(i, j)] = truth[i][0] * state[0] + truth[i][1] * state[1];
            }
            for i in 0..4 {
                x[(i, j)] += sigma * stream.normal();
                y[(i, j)] += sigma * stream.normal();
            }
        }
        Pairs { x, y, to_layers: Mat::zeros(0, n) }
    }

    fn moduli(pairs: &Pairs, rank: usize, total: bool) -> Vec<f64> {
        let used =
            if total { pairs.combined(projector(pairs, rank).unwrap().as_ref()) } else { pairs.clone() };
        let pod = Pod::leading(&Pod::full(used.x.as_ref()).unwrap(), rank);
        eigenpairs(pod.operator(used.y.as_ref(), 0.0).as_ref())
            .unwrap()
            .values
            .iter()
            .map(|z| z.norm())
            .collect()
    }

    #[test]
    fn the_projection_equals_the_augmented_covariance_form() {
        let pairs = noisy_pairs(40, 0.2);
        let stack = Mat::from_fn(8, 40, |i, j| if i < 4 { pairs.x[(i, j)] } else { pairs.y[(i - 4, j)] });
        let covariance = product(stack.as_ref(), stack.transpose());
        let q = eigh(covariance.as_ref()).unwrap().vectors;
        let (q1, q2) = (q.get(..4, ..2), q.get(4.., ..2));
        let small = product(pseudo_inverse(q1, 1e-12).unwrap().as_ref(), q2);
        let expected: Vec<f64> = eig(small.as_ref()).unwrap().values.iter().map(|z| z.norm()).collect();
        for (a, b) in moduli(&pairs, 2, true).iter().zip(&expected) {
            assert!((a - b).abs() < 1e-12, "{a} against {b}");
        }
    }

    #[test]
    fn it_is_consistent_where_least_squares_shrinks() {
        // Noise variance 0.25 on unit signal: least squares tends to about 0.95 / 1.25.
        let pairs = noisy_pairs(3000, 0.5);
        let (total, ordinary) = (moduli(&pairs, 2, true), moduli(&pairs, 2, false));
        assert!((total[0] - 0.95).abs() < 0.04 && (total[1] - 0.6).abs() < 0.06, "{total:?}");
        assert!(ordinary[0] < 0.82 && ordinary[1] < 0.55, "{ordinary:?}");
    }
}
