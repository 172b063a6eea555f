//! Refit an optimised DMD on random subsets of the layers, to learn how sure its spectrum is.
//!
//! Each of B bags holds ⌈0.8·L⌉ layers drawn without replacement, starts from the fit to all layers,
//! and is matched to it by the assignment that makes Σ|ω − ω_ref| least. Over the bags that converged:
//!
//! ```text
//! ω̄_k = mean ω_k,   SD_k = √(Σ|ω_k − ω̄_k|² / (n − 1)),   mode_k = mean (b_k φ_k)
//! ```
//!
//! Amplitude-scaled modes b_k·φ_k have no free phase, so they may be averaged. Matching is by
//! assignment, not by sorting, which mixes up modes that cross.
//!
//! Source: Sashidhar & Kutz 2022; specs: nfas-dmd 5.6. Cost: B fits of O(L·ρ·r) per iteration; bags run
//! in parallel, each from its own random stream, and are combined in order.

use faer::{Mat, c64};
use rayon::prelude::*;

use super::optimised::{Exponentials, Problem, optimised_dmd, spectrum_of};
use super::reduce::Reduced;
use super::spectrum::{DepthDmdParams, DepthSpectrum};
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::assignment;
use stereotax_base::stats::rng::Stream;

/// A bagged optimised DMD.
#[derive(Debug, Clone)]
pub struct BaggedDmd {
    /// Spectrum of the averaged rates and modes; residuals are NaN.
    pub spectrum: DepthSpectrum,
    /// The averaged exponentials; `residual` is that of the averages on all layers.
    pub mean: Exponentials,
    /// The fit to all layers, to which bags are matched.
    pub reference: Exponentials,
    /// Standard deviation over bags of each ω (of the complex number: real and imaginary variances
    /// added), in the order of `mean.rates`. NaN with fewer than 2 bags.
    pub rate_sd: Vec<f64>,
    /// Standard deviation over bags of the eigenvalue exp(ω/(L − 1)) of each mode, in the order of
    /// `mean.rates`.
    pub eigenvalue_sd: Vec<f64>,
    /// Share of bags whose fit converged; only these are averaged.
    pub converged_share: f64,
    /// Share of these in which the same mode was selected as in the fit to all layers.
    pub identity_share: f64,
    /// Layers per bag.
    pub bag_size: usize,
}

/// Fit `rank` exponentials to all layers and to `n_bags` bags of them.
///
/// Bags are drawn from the streams (seed, "bagged dmd", bag). Refused if a bag would hold fewer than
/// 2·rank + 1 layers, which leaves no residual to average over. Other errors: those of
/// [`optimised_dmd`], fewer than 2 bags, no bag that converged.
pub fn bagged_dmd(
    reduced: &Reduced,
    tau: &[f64],
    rank: usize,
    n_bags: usize,
    params: &DepthDmdParams,
) -> Result<BaggedDmd> {
    let full = optimised_dmd(reduced, tau, rank, params)?;
    let rank = full.fit.rates.len();
    let n_layers = reduced.n_layers();
    let bag_size = (4 * n_layers).div_ceil(5);
    if bag_size < 2 * rank + 1 {
        return Err(Error::Refused {
            what: format!("bagging {rank} modes over {n_layers} layers"),
            reason: format!("a bag holds {bag_size} layers and needs at least {}", 2 * rank + 1),
            hint: format!("lower the rank to {} or use the optimised estimator", (bag_size - 1) / 2),
        });
    }
    if n_bags < 2 {
        return Err(Error::TooFew {
            what: "n_bags".into(),
            needed: "2 bags".into(),
            found: format!("{n_bags}"),
            hint: "100 is usual".into(),
        });
    }
    let problem = Problem::new(reduced.snapshots.as_ref(), tau, params.max_gain)?;
    let selected = selected_rates(&full.spectrum, &full.fit.rates, &problem);
    let bags: Vec<Option<Bag>> = (0..n_bags)
        .into_par_iter()
        .map(|index| {
            let layers = Stream::new(params.seed, "bagged dmd", index as u64).subset(n_layers, bag_size);
            let part = problem.restrict(&layers);
            let fit = part.fit(&full.fit.rates);
            if !fit.converged {
                return Ok(None);
            }
            let found = part.exponentials(&fit);
            let order = match_rates(&full.fit.rates, &found.rates);
            let spectrum = spectrum_of(reduced, &problem, &found, params, vec![])?;
            let chosen = selected_rates(&spectrum, &found.rates, &problem);
            let mut matched: Vec<usize> = (0..rank).filter(|&k| chosen.contains(&order[k])).collect();
            matched.sort_unstable();
            Ok(Some(Bag {
                rates: order.iter().map(|&j| found.rates[j]).collect(),
                profiles: Mat::from_fn(found.profiles.nrows(), rank, |i, k| found.profiles[(i, order[k])]),
                same_mode: matched == selected,
            }))
        })
        .collect::<Result<_>>()?;
    let bags: Vec<Bag> = bags.into_iter().flatten().collect();
    if bags.is_empty() {
        return Err(Error::NoConvergence {
            what: "bagged DMD".into(),
            detail: format!("none of {n_bags} bags converged at rank {rank}"),
        });
    }
    let n = bags.len() as f64;
    let average = |of: &dyn Fn(&Bag) -> c64| bags.iter().map(of).sum::<c64>() / n;
    let spread = |of: &dyn Fn(&Bag) -> c64| {
        let mean = average(of);
        (bags.iter().map(|b| (of(b) - mean).norm_sqr()).sum::<f64>() / (n - 1.0)).sqrt()
    };
    let rates: Vec<c64> = (0..rank).map(|k| average(&|b| b.rates[k])).collect();
    let profiles = Mat::from_fn(reduced.snapshots.nrows(), rank, |i, k| average(&|b| b.profiles[(i, k)]));
    let mut mean = Exponentials {
        rates,
        profiles,
        residual: 0.0,
        iterations: full.fit.iterations,
        converged: full.fit.converged,
    };
    let mut warnings = full.spectrum.warnings.clone();
    let converged_share = n / n_bags as f64;
    if converged_share < 0.9 {
        warnings.push(format!("only {} of {n_bags} bags converged", bags.len()));
    }
    let identity_share = bags.iter().filter(|b| b.same_mode).count() as f64 / n;
    if identity_share < 0.9 {
        warnings.push(format!(
            "the selected mode is another one in {:.0} % of bags",
            100.0 * (1.0 - identity_share)
        ));
    }
    let spectrum = spectrum_of(reduced, &problem, &mean, params, warnings)?;
    mean.residual = spectrum.reconstruction_error;
    Ok(BaggedDmd {
        spectrum,
        rate_sd: (0..rank).map(|k| spread(&|b| b.rates[k])).collect(),
        eigenvalue_sd: (0..rank).map(|k| spread(&|b| problem.eigenvalue(b.rates[k]))).collect(),
        mean,
        reference: full.fit,
        converged_share,
        identity_share,
        bag_size,
    })
}

struct Bag {
    rates: Vec<c64>,
    profiles: Mat<c64>,
    same_mode: bool,
}

/// For each reference rate, the index of the found rate that stands for it.
fn match_rates(reference: &[c64], found: &[c64]) -> Vec<usize> {
    let n = reference.len();
    assignment(Mat::from_fn(n, n, |i, j| (reference[i] - found[j]).norm()).as_ref())
}

/// Indices into `rates` of the selected modes; a spectrum is in an order of its own.
fn selected_rates(spectrum: &DepthSpectrum, rates: &[c64], problem: &Problem) -> Vec<usize> {
    let n = rates.len();
    let place = assignment(
        Mat::from_fn(n, n, |i, j| (problem.eigenvalue(rates[i]) - spectrum.eigenvalues[j]).norm()).as_ref(),
    );
    (0..n).filter(|&i| spectrum.selected.contains(&place[i])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimised::tests::planted;

    fn c(re: f64, im: f64) -> c64 {
        c64::new(re, im)
    }

    fn depth(n: usize) -> (Vec<f64>, Vec<f64>) {
        let positions: Vec<f64> = (0..n).map(|l| l as f64).collect();
        let tau = positions.iter().map(|p| p / (n as f64 - 1.0)).collect();
        (positions, tau)
    }

    #[test]
    fn without_noise_every_bag_says_the_same() {
        let (positions, tau) = depth(13);
        let reduced = planted(&[c(0.99, 0.0), c(0.8, 0.3), c(0.6, 0.0)], &positions, 0.0, 70);
        let found = bagged_dmd(&reduced, &tau, 4, 30, &DepthDmdParams::default()).unwrap();
        assert_eq!((found.bag_size, found.converged_share, found.identity_share), (11, 1.0, 1.0));
        assert!(found.eigenvalue_sd.iter().all(|sd| *sd < 1e-8), "{:?}", found.eigenvalue_sd);
        assert!((found.spectrum.selected_eigenvalue() - c(0.99, 0.0)).norm() < 1e-9);
        assert!(found.mean.residual < 1e-7);
    }

    #[test]
    fn spread_follows_the_noise_and_bits_do_not_follow_the_threads() {
        let (positions, tau) = depth(16);
        let run = |noise: f64| {
            let reduced = planted(&[c(0.98, 0.0), c(0.7, 0.3)], &positions, noise, 71);
            bagged_dmd(&reduced, &tau, 3, 60, &DepthDmdParams::default()).unwrap()
        };
        let (quiet, loud) = (run(0.02), run(0.2));
        let stable = |b: &BaggedDmd| {
            let at = (0..3).find(|&k| b.mean.rates[k].im == 0.0).unwrap();
            b.eigenvalue_sd[at]
        };
        let ratio = stable(&loud) / stable(&quiet);
        assert!((4.0..25.0).contains(&ratio), "{ratio}");
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let again = one.install(|| run(0.2));
        assert_eq!(loud.mean.rates, again.mean.rates);
        assert_eq!(loud.spectrum.weights, again.spectrum.weights);
    }

    #[test]
    fn too_small_bags_are_refused_with_the_reason() {
        let (positions, tau) = depth(8);
        let reduced = planted(&[c(0.98, 0.0), c(0.7, 0.3)], &positions, 0.1, 72);
        let refused = bagged_dmd(&reduced, &tau, 4, 10, &DepthDmdParams::default()).unwrap_err().to_string();
        assert!(refused.contains("holds 7 layers and needs at least 9"), "{refused}");
        assert!(bagged_dmd(&reduced, &tau, 2, 1, &DepthDmdParams::default()).is_err());
    }

    #[test]
    fn modes_that_cross_keep_their_names() {
        let reference = [c(-0.1, 0.0), c(-0.2, 0.0), c(-3.0, 1.0), c(-3.0, -1.0)];
        let found = [c(-3.1, -0.9), c(-0.21, 0.0), c(-3.1, 0.9), c(-0.12, 0.0)];
        assert_eq!(match_rates(&reference, &found), [3, 1, 2, 0]);
    }
}
