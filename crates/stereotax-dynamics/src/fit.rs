//! Fit a depth DMD: from the Gram matrix of the layers to a spectrum with its stable mode.
//!
//! One call reduces (`reduce`), chooses the rank (`rank`), runs the estimator and completes the
//! spectrum (`modes`). Source: specs: nfas-dmd 4 to 7. Cost: O(L³); the data are not read.

use std::ops::Range;

use faer::{Mat, MatRef};

use super::bagged::bagged_dmd;
use super::forward_backward::forward_backward_dmd;
use super::hankel::{HankelSettings, hankel_dmd, hankel_gram, hankel_snapshots};
use super::modes::{RawModes, finish};
use super::moments::ScaledGram;
use super::operator::{Pairs, Pod};
use super::optimised::optimised_dmd;
use super::rank::{choose_rank, rank_cap};
use super::reduce::{Reduced, reduce, reduce_triangle};
use super::restricted::{symmetric_dmd, unitary_dmd};
use super::segments::search_windows;
use super::spectrum::{DepthDmdParams, DepthSpectrum, Estimator, ModeForm, RankConsensus, RankRule};
use super::standard::standard_dmd;
use super::total_least_squares::total_least_squares_dmd;
use stereotax_base::data::{Error, Result};

/// Fewest layers that a depth DMD accepts.
pub const MIN_LAYERS: usize = 4;
/// Below this many layers a spectrum depends strongly on the rank.
pub const FEW_LAYERS: usize = 8;

/// Fit from the L × L Gram matrix of the layers (centred over stimuli and scaled beforehand).
///
/// `epsilon` is the precision of the input format (`TileSource::epsilon`). Errors: fewer than 4
/// layers, a Gram matrix that is not finite or zero, settings outside their range or that contradict
/// each other.
pub fn depth_dmd(gram: MatRef<f64>, epsilon: f64, params: &DepthDmdParams) -> Result<DepthSpectrum> {
    fit(gram, epsilon, &Setup { by_length: false, state_size: None }, params)
}

/// Fit from a scaled Gram matrix, obeying its `pair` scaling and using its state size.
pub fn depth_dmd_scaled(scaled: &ScaledGram, params: &DepthDmdParams) -> Result<DepthSpectrum> {
    let setup = Setup { by_length: scaled.pair, state_size: scaled.state_size };
    match &scaled.triangle {
        None => fit(scaled.gram.as_ref(), scaled.epsilon, &setup, params),
        Some(triangle) => {
            check_depth(triangle.ncols())?;
            let reduced = reduce_triangle(triangle.as_ref(), scaled.epsilon)?;
            fit_reduced(&reduced, None, scaled.epsilon, &setup, params)
        }
    }
}

/// Whether a fit from the Gram matrix alone leans on directions that squaring has blurred, or has lost
/// some that its rank asks for: fit again from moments with triangular factors.
pub fn is_blurred(scaled: &ScaledGram, spectrum: &DepthSpectrum, params: &DepthDmdParams) -> Result<bool> {
    if scaled.triangle.is_some() {
        return Ok(false);
    }
    let reduced = reduce(scaled.gram.as_ref(), scaled.epsilon)?;
    let asked = match params.rank {
        RankRule::Fixed(rank) => rank,
        RankRule::Full => reduced.n_layers() - 1,
        _ => 0,
    };
    // Directions below the precision of the activations cannot be recovered by any reduction.
    let cut = reduce_triangle(reduced.snapshots.as_ref(), scaled.epsilon)?.relative_cut;
    let could_know_more = cut < reduced.relative_cut;
    Ok(reduced.needs_tsqr(spectrum.rank) || (could_know_more && asked > reduced.numerical_rank))
}

/// Fit from snapshots reduced by other means (`reduce_tsqr`).
pub fn depth_dmd_reduced(reduced: &Reduced, params: &DepthDmdParams) -> Result<DepthSpectrum> {
    fit_reduced(reduced, None, 0.0, &Setup { by_length: false, state_size: None }, params)
}

/// The error with which a request to centre over depth is refused.
///
/// A state is longer than the depth, so removing the mean over L layers turns DMD into a discrete
/// Fourier transform: the eigenvalues are the L-th roots of unity other than 1, whatever the data
/// (Chen, Tu & Rowley 2012; specs: nfas-dmd 3.4).
pub fn refuse_depth_centring() -> Error {
    Error::Refused {
        what: "centring over depth".into(),
        reason: "with fewer layers than state dimensions it makes the eigenvalues the L-th roots of unity for any data"
            .into(),
        hint: "centre over stimuli, per layer and unit".into(),
    }
}

struct Setup {
    by_length: bool,
    state_size: Option<usize>,
}

fn fit(gram: MatRef<f64>, epsilon: f64, setup: &Setup, params: &DepthDmdParams) -> Result<DepthSpectrum> {
    check_depth(gram.ncols())?;
    let reduced = reduce(gram, epsilon)?;
    fit_reduced(&reduced, Some(gram), epsilon, setup, params)
}

fn fit_reduced(
    reduced: &Reduced,
    gram: Option<MatRef<f64>>,
    epsilon: f64,
    setup: &Setup,
    params: &DepthDmdParams,
) -> Result<DepthSpectrum> {
    check_depth(reduced.n_layers())?;
    check_settings(params)?;
    if let Estimator::Segments { n_segments } = params.estimator {
        return windowed(reduced, gram, epsilon, n_segments, setup, params);
    }
    let mut spectrum = match params.rank {
        RankRule::Consensus => consensus(reduced, gram, epsilon, setup, params)?,
        _ => fit_once(reduced, gram, epsilon, setup, params)?,
    };
    if reduced.n_layers() < FEW_LAYERS {
        spectrum
            .warnings
            .push(format!("only {} layers: the spectrum depends strongly on the rank", reduced.n_layers()));
    }
    if gram.is_some() && reduced.needs_tsqr(spectrum.rank) {
        spectrum.warnings.push(
            "the smallest retained direction is below 1e-6 of the largest, where the Gram matrix is blurred; reduce by QR"
                .to_owned(),
        );
    }
    Ok(spectrum)
}

fn fit_once(
    reduced: &Reduced,
    gram: Option<MatRef<f64>>,
    epsilon: f64,
    setup: &Setup,
    params: &DepthDmdParams,
) -> Result<DepthSpectrum> {
    if let Estimator::Hankel { delays } = params.estimator {
        let settings = HankelSettings {
            rank: params.rank,
            form: params.modes,
            tikhonov: params.tikhonov,
            by_length: setup.by_length,
        };
        let delayed = match gram {
            Some(gram) => reduce(hankel_gram(gram, delays)?.as_ref(), epsilon)?,
            None => reduce_triangle(hankel_snapshots(reduced.snapshots.as_ref(), delays)?.as_ref(), epsilon)?,
        };
        let raw = hankel_dmd(reduced.n_layers(), &delayed, &settings)?;
        return finish(reduced, raw, params);
    }
    if matches!(params.estimator, Estimator::Optimised | Estimator::Bagged { .. }) {
        return continuous(reduced, setup, params);
    }
    let pairs = Pairs::new(reduced, setup.by_length);
    let singular_values = Pod::full(pairs.x.as_ref())?.s;
    let choice = choose_rank(params.rank, &singular_values, reduced.relative_cut, setup.state_size)?;
    let (form, tikhonov) = (params.modes, params.tikhonov);
    let mut raw: RawModes = match params.estimator {
        Estimator::TotalLeastSquares => {
            total_least_squares_dmd(reduced, &pairs, choice.rank, form, tikhonov)?
        }
        Estimator::ForwardBackward => forward_backward_dmd(reduced, &pairs, choice.rank)?,
        Estimator::Unitary => unitary_dmd(reduced, &pairs, choice.rank)?,
        Estimator::Symmetric => symmetric_dmd(reduced, &pairs, choice.rank)?,
        _ => standard_dmd(reduced, &pairs, choice.rank, form, tikhonov)?,
    };
    raw.warnings.splice(0..0, choice.warnings);
    finish(reduced, raw, params)
}

/// Fit each window of depth by itself and join the spectra: the stable part is the mean over windows of
/// their stable parts, weighted by their numbers of layers, S = Σ_w (L_w / L) · S_w. Energies become
/// shares of the whole trajectory.
fn windowed(
    reduced: &Reduced,
    gram: Option<MatRef<f64>>,
    epsilon: f64,
    n_segments: usize,
    setup: &Setup,
    params: &DepthDmdParams,
) -> Result<DepthSpectrum> {
    let n_layers = reduced.n_layers();
    let inside = DepthDmdParams { estimator: Estimator::Standard, ..*params };
    // The layers of one window, from the Gram matrix where that is all there is.
    let fit_layers = |w: Range<usize>| match gram {
        Some(gram) => fit(gram.submatrix(w.start, w.start, w.len(), w.len()), epsilon, setup, &inside),
        None => {
            let part = reduce_triangle(reduced.snapshots.get(.., w), epsilon)?;
            fit_reduced(&part, None, epsilon, setup, &inside)
        }
    };
    let own = stereotax_base::linalg::gram(reduced.snapshots.as_ref());
    let unsplit = fit_layers(0..n_layers)?;
    let gram = gram.unwrap_or(own.as_ref());
    let (windows, mut warnings) = search_windows(gram, n_segments, unsplit.rank)?;
    let trace = |layers: &Range<usize>| layers.clone().map(|l| gram[(l, l)]).sum::<f64>();
    let total = trace(&(0..n_layers));
    let fitted = windows.iter().map(|w| fit_layers(w.clone())).collect::<Result<Vec<_>>>()?;
    let n_modes: usize = fitted.iter().map(|s| s.eigenvalues.len()).sum();
    let mut joined = DepthSpectrum {
        eigenvalues: Vec::with_capacity(n_modes),
        coefficients: Mat::zeros(n_layers, n_modes),
        amplitudes: Vec::with_capacity(n_modes),
        energies: Vec::with_capacity(n_modes),
        residuals: Vec::with_capacity(n_modes),
        selected: Vec::new(),
        weights: vec![0.0; n_layers],
        rank: fitted.iter().map(|s| s.rank).max().unwrap_or(0),
        numerical_rank: unsplit.numerical_rank,
        runner_up: None,
        reconstruction_error: 0.0,
        consensus: None,
        window_of: Vec::with_capacity(n_modes),
        windows: windows.clone(),
        warnings: Vec::new(),
    };
    for (window, (layers, part)) in windows.iter().zip(&fitted).enumerate() {
        let first = joined.eigenvalues.len();
        let share = trace(layers) / total;
        let counted = layers.len() as f64 / n_layers as f64;
        for (l, weight) in layers.clone().zip(&part.weights) {
            joined.weights[l] = counted * weight;
            for k in 0..part.eigenvalues.len() {
                joined.coefficients[(l, first + k)] = part.coefficients[(l - layers.start, k)];
            }
        }
        joined.selected.extend(part.selected.iter().map(|k| first + k));
        joined.energies.extend(part.energies.iter().map(|e| e * share));
        joined.reconstruction_error += part.reconstruction_error.powi(2) * share;
        joined.eigenvalues.extend(&part.eigenvalues);
        joined.amplitudes.extend(&part.amplitudes);
        joined.residuals.extend(&part.residuals);
        joined.window_of.extend(part.eigenvalues.iter().map(|_| window));
        let told = part.warnings.iter().filter(|w| !w.starts_with("only "));
        warnings.extend(told.map(|w| format!("layers {} to {}: {w}", layers.start, layers.end - 1)));
    }
    joined.reconstruction_error = joined.reconstruction_error.sqrt();
    joined.warnings = warnings;
    Ok(joined)
}

/// Fit exponentials in depth to all snapshots at once; the layers stand at even depths.
fn continuous(reduced: &Reduced, setup: &Setup, params: &DepthDmdParams) -> Result<DepthSpectrum> {
    if setup.by_length {
        return Err(Error::Invalid {
            what: "scale".into(),
            expected: "frobenius, none or unit_sample for an estimator that fits all layers at once".into(),
            found: "pair".into(),
            hint: "there are no pairs to weight; use the standard estimator".into(),
        });
    }
    let n_layers = reduced.n_layers();
    let tau: Vec<f64> = (0..n_layers).map(|l| l as f64 / (n_layers as f64 - 1.0)).collect();
    let singular_values = Pod::full(Pairs::new(reduced, false).x.as_ref())?.s;
    let choice = choose_rank(params.rank, &singular_values, reduced.relative_cut, setup.state_size)?;
    let mut spectrum = match params.estimator {
        Estimator::Bagged { n_bags } => bagged_dmd(reduced, &tau, choice.rank, n_bags, params)?.spectrum,
        _ => optimised_dmd(reduced, &tau, choice.rank, params)?.spectrum,
    };
    spectrum.warnings.splice(0..0, choice.warnings);
    Ok(spectrum)
}

/// Fit every rank up to the cap and keep the one whose selected mode has the least residual.
fn consensus(
    reduced: &Reduced,
    gram: Option<MatRef<f64>>,
    epsilon: f64,
    setup: &Setup,
    params: &DepthDmdParams,
) -> Result<DepthSpectrum> {
    let most = rank_cap(reduced.n_layers()).min(reduced.numerical_rank);
    let mut tried: Vec<DepthSpectrum> = Vec::with_capacity(most);
    for rank in 1..=most {
        let fixed = DepthDmdParams { rank: RankRule::Fixed(rank), ..*params };
        let spectrum = fit_once(reduced, gram, epsilon, setup, &fixed)?;
        if spectrum.rank < rank {
            break;
        }
        tried.push(spectrum);
    }
    let residual = |s: &DepthSpectrum| s.residuals[s.selected[0]];
    let values: Vec<_> = tried.iter().map(DepthSpectrum::selected_eigenvalue).collect();
    let summary = RankConsensus {
        ranks: tried.iter().map(|s| s.rank).collect(),
        re: values.iter().map(|z| z.re).collect(),
        im: values.iter().map(|z| z.im).collect(),
        residuals: tried.iter().map(residual).collect(),
        median_re: median(values.iter().map(|z| z.re).collect()),
        median_im: median(values.iter().map(|z| z.im).collect()),
        spread: values.iter().flat_map(|a| values.iter().map(move |b| (*a - *b).norm())).fold(0.0, f64::max),
    };
    let best = (0..tried.len()).min_by(|&a, &b| residual(&tried[a]).total_cmp(&residual(&tried[b])));
    match best {
        Some(best) => {
            let mut spectrum = tried.swap_remove(best);
            spectrum.consensus = Some(summary);
            Ok(spectrum)
        }
        None => Err(Error::TooFew {
            what: "ranks".into(),
            needed: "1 rank".into(),
            found: "none".into(),
            hint: "the trajectory has no direction above rounding".into(),
        }),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => 0.5 * (values[n / 2 - 1] + values[n / 2]),
    }
}

fn check_depth(n_layers: usize) -> Result<()> {
    if n_layers < MIN_LAYERS {
        return Err(Error::TooFew {
            what: "layers".into(),
            needed: format!("{MIN_LAYERS} layers"),
            found: format!("{n_layers}"),
            hint: "tap every block of the network, or use a representation without dynamics".into(),
        });
    }
    Ok(())
}

fn check_settings(params: &DepthDmdParams) -> Result<()> {
    let invalid = |what: &str, expected: &str, found: String, hint: &str| {
        Err(Error::Invalid { what: what.into(), expected: expected.into(), found, hint: hint.into() })
    };
    if !(params.tikhonov >= 0.0 && params.tikhonov.is_finite()) {
        return invalid(
            "tikhonov",
            "a finite number of at least 0",
            params.tikhonov.to_string(),
            "the default is 0",
        );
    }
    if !(params.min_energy >= 0.0) {
        return invalid(
            "min_energy",
            "a number of at least 0",
            params.min_energy.to_string(),
            "the default is 0.01",
        );
    }
    if matches!(params.estimator, Estimator::Segments { n_segments } if n_segments < 2) {
        return invalid(
            "estimator",
            "at least 2 windows of depth",
            "segments".into(),
            "one window is the standard estimator",
        );
    }
    if matches!(params.estimator, Estimator::ReducedRank { .. }) {
        return invalid(
            "estimator",
            "an estimator for one trajectory of all samples",
            "reduced_rank".into(),
            "reduced-rank regression needs the pooled trajectory",
        );
    }
    if matches!(
        params.estimator,
        Estimator::ForwardBackward
            | Estimator::Unitary
            | Estimator::Symmetric
            | Estimator::Optimised
            | Estimator::Bagged { .. }
    ) && (params.modes == ModeForm::Exact || params.tikhonov > 0.0)
    {
        return invalid(
            "modes and tikhonov",
            "projected modes and no Tikhonov term for this estimator",
            format!("{:?} modes, tikhonov {}", params.modes, params.tikhonov),
            "exact modes and the Tikhonov term belong to least squares",
        );
    }
    if params.rank == RankRule::Consensus
        && matches!(params.estimator, Estimator::Optimised | Estimator::Bagged { .. })
    {
        return invalid(
            "rank",
            "a rule that needs no residual for this estimator",
            "consensus".into(),
            "use energy or fixed",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use faer::c64;

    use super::*;
    use crate::reduce::reduce_triangle;
    use crate::spectrum::{Amplitude, Selection};
    use stereotax_base::linalg::{gram, product, thin_qr};
    use stereotax_base::stats::rng::Stream;

    fn c(re: f64, im: f64) -> c64 {
        c64::new(re, im)
    }

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(6, "fit tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    /// H = Φ · powers for real modes and for pairs (given once, Im > 0), with random modes.
    fn planted(values: &[c64], n: usize, n_layers: usize, index: u64) -> Mat<f64> {
        let columns = 2 * values.len();
        let basis = thin_qr(noise(n, columns, index).as_ref()).0;
        // A little skew, so that modes are not orthogonal.
        let skew =
            Mat::from_fn(columns, columns, |i, j| if i == j { 1.0 } else { 0.15 * ((i + 2 * j) % 3) as f64 });
        let modes = product(basis.as_ref(), skew.as_ref());
        Mat::from_fn(n, n_layers, |i, l| {
            let mut sum = 0.0;
            for (k, value) in values.iter().enumerate() {
                let power = (0..l).fold(c(1.0, 0.0), |p, _| p * *value);
                sum += (c(modes[(i, 2 * k)], modes[(i, 2 * k + 1)]) * power).re;
            }
            sum
        })
    }

    fn with_pairs(values: &[c64]) -> Vec<c64> {
        let mut all: Vec<c64> =
            values.iter().flat_map(|z| if z.im == 0.0 { vec![*z] } else { vec![*z, z.conj()] }).collect();
        all.sort_by(|a, b| {
            b.norm().total_cmp(&a.norm()).then(b.re.total_cmp(&a.re)).then(b.im.total_cmp(&a.im))
        });
        all
    }

    fn params(estimator: Estimator, rank: usize) -> DepthDmdParams {
        DepthDmdParams { estimator, rank: RankRule::Fixed(rank), ..Default::default() }
    }

    fn recovers(
        values: &[c64],
        n_layers: usize,
        estimator: Estimator,
        tolerance: f64,
        index: u64,
    ) -> DepthSpectrum {
        let h = planted(values, 200, n_layers, index);
        let expected = with_pairs(values);
        let found =
            depth_dmd(gram(h.as_ref()).as_ref(), f64::EPSILON, &params(estimator, expected.len())).unwrap();
        // Rounding decides the order of equal moduli, so look for each value among those found.
        for b in &expected {
            let gap = found.eigenvalues.iter().map(|a| (*a - *b).norm()).fold(f64::INFINITY, f64::min);
            assert!(gap < tolerance, "{estimator:?}: {:?} against {expected:?}", found.eigenvalues);
        }
        assert_eq!(found.eigenvalues.len(), expected.len());
        assert!(found.reconstruction_error < 1e-7, "{estimator:?}: {}", found.reconstruction_error);
        assert!(found.residuals.iter().all(|r| *r < 1e-7), "{:?}", found.residuals);
        found
    }

    #[test]
    fn noise_free_eigenvalues_come_back_from_every_estimator() {
        let systems: [(&[c64], usize); 4] = [
            (&[c(0.6, 0.0), c(0.98, 0.0), c(1.05, 0.0)], 13),
            (&[c(1.0, 0.0), c(0.53, 0.73)], 13),
            (&[c(-0.95, 0.0), c(0.9, 0.0), c(0.4, 0.5)], 12),
            (&[c(0.9, 0.0), c(-0.9, 0.0)], 9),
        ];
        for (index, (values, n_layers)) in systems.into_iter().enumerate() {
            for estimator in [
                Estimator::Standard,
                Estimator::TotalLeastSquares,
                Estimator::ForwardBackward,
                Estimator::Hankel { delays: 2 },
            ] {
                recovers(values, n_layers, estimator, 1e-10, index as u64);
            }
        }
    }

    #[test]
    fn nearly_equal_eigenvalues_are_told_apart() {
        let values = [c(0.9, 0.0), c(0.8, 0.0)];
        recovers(&values, 13, Estimator::Standard, 1e-10, 20);
        recovers(&values, 13, Estimator::ForwardBackward, 1e-10, 20);
    }

    #[test]
    fn forward_backward_does_not_invent_a_stable_mode() {
        // The principal root would give +0.95, which closest_to_one would call stable.
        let found = recovers(&[c(-0.95, 0.0), c(0.7, 0.0)], 10, Estimator::ForwardBackward, 1e-10, 21);
        assert!((found.selected_eigenvalue() - c(0.7, 0.0)).norm() < 1e-10);
        let pair = recovers(&[c(-0.53, 0.73), c(0.7, 0.0)], 10, Estimator::ForwardBackward, 1e-10, 22);
        assert!((pair.eigenvalues[0] - c(-0.53, 0.73)).norm() < 1e-10);
    }

    /// Trajectory of a normal operator: orthonormal modes.
    fn normal_system(angles: &[f64], reals: &[f64], n: usize, n_layers: usize, index: u64) -> Mat<f64> {
        let basis = thin_qr(noise(n, 2 * angles.len() + reals.len(), index).as_ref()).0;
        Mat::from_fn(n, n_layers, |i, l| {
            let turning: f64 = angles
                .iter()
                .enumerate()
                .map(|(k, a)| {
                    let angle = a * l as f64;
                    basis[(i, 2 * k)] * angle.cos() + basis[(i, 2 * k + 1)] * angle.sin()
                })
                .sum();
            let steady: f64 = reals
                .iter()
                .enumerate()
                .map(|(k, r)| basis[(i, 2 * angles.len() + k)] * r.powi(l as i32))
                .sum();
            turning + steady
        })
    }

    #[test]
    fn the_restricted_estimators_recover_what_they_can_represent() {
        let turning = normal_system(&[0.3, 1.2], &[1.0, -1.0], 100, 12, 30);
        let g = gram(turning.as_ref());
        let unitary = depth_dmd(g.as_ref(), f64::EPSILON, &params(Estimator::Unitary, 6)).unwrap();
        let mut found: Vec<f64> = unitary.eigenvalues.iter().map(|z| z.arg().abs()).collect();
        found.sort_by(f64::total_cmp);
        for (a, b) in found.iter().zip([0.0, 0.3, 0.3, 1.2, 1.2, std::f64::consts::PI]) {
            assert!((a - b).abs() < 1e-10, "{found:?}");
        }
        assert!(unitary.eigenvalues.iter().all(|z| (z.norm() - 1.0).abs() < 1e-14));
        assert!((unitary.selected_eigenvalue() - 1.0).norm() < 1e-10);

        let steady = normal_system(&[], &[1.02, 0.9, 0.4, -0.8], 100, 12, 31);
        let g = gram(steady.as_ref());
        let symmetric = depth_dmd(g.as_ref(), f64::EPSILON, &params(Estimator::Symmetric, 4)).unwrap();
        for (a, b) in symmetric.eigenvalues.iter().zip([1.02, 0.9, -0.8, 0.4]) {
            assert!((*a - b).norm() < 1e-10, "{:?}", symmetric.eigenvalues);
        }
    }

    #[test]
    fn every_reduction_gives_the_same_spectrum() {
        let h = noise(300, 10, 40);
        let p = params(Estimator::Standard, 4);
        let by_gram = depth_dmd(gram(h.as_ref()).as_ref(), f64::EPSILON, &p).unwrap();
        let triangle = thin_qr(h.as_ref()).1;
        let by_qr = depth_dmd_reduced(&reduce_triangle(triangle.as_ref(), 0.0).unwrap(), &p).unwrap();
        // Slow twin: the full matrix, without any reduction.
        let x = h.get(.., ..9);
        let y = h.get(.., 1..);
        let full = stereotax_base::linalg::svd(x).unwrap();
        let v_s = Mat::from_fn(9, 4, |i, k| full.v[(i, k)] / full.s[k]);
        let moved = product(y, v_s.as_ref());
        let a = product(full.u.get(.., ..4).transpose(), moved.as_ref());
        let direct = stereotax_base::linalg::eig(a.as_ref()).unwrap();
        for k in 0..4 {
            assert!((by_gram.eigenvalues[k] - direct.values[k]).norm() < 1e-11);
            assert!((by_qr.eigenvalues[k] - direct.values[k]).norm() < 1e-11);
            // The lifted mode is the layer combination, up to a phase.
            let mut overlap = c(0.0, 0.0);
            for i in 0..300 {
                let lifted: c64 = (0..4).map(|j| direct.vectors[(j, k)] * full.u[(i, j)]).sum();
                let combined: c64 = (0..10).map(|l| by_gram.coefficients[(l, k)] * h[(i, l)]).sum();
                overlap += lifted.conj() * combined;
            }
            assert!((overlap.norm() - 1.0).abs() < 1e-11);
            // Residual against the explicit vector A φ − λ φ in full space.
            let mut missed = 0.0;
            for i in 0..300 {
                let image: c64 = (0..4).map(|j| direct.vectors[(j, k)] * moved[(i, j)]).sum();
                let mode: c64 = (0..4).map(|j| direct.vectors[(j, k)] * full.u[(i, j)]).sum();
                missed += (image - direct.values[k] * mode).norm_sqr();
            }
            assert!((by_gram.residuals[k] - missed.sqrt()).abs() < 1e-11);
            // And against the Gram form √(c*G₂₂c − |λ|²) of the specification.
            let g = gram(h.as_ref());
            let mut form = c(0.0, 0.0);
            for i in 0..9 {
                for j in 0..9 {
                    form += by_gram.coefficients[(i, k)].conj()
                        * by_gram.coefficients[(j, k)]
                        * g[(i + 1, j + 1)];
                }
            }
            assert!(
                (by_gram.residuals[k].powi(2) - form.re + by_gram.eigenvalues[k].norm_sqr()).abs() < 1e-10
            );
        }
        for (a, b) in by_gram.weights.iter().zip(&by_qr.weights) {
            assert!((a - b).abs() < 1e-10);
        }
        assert_eq!(by_gram.coefficients[(9, 0)], c(0.0, 0.0));
    }

    #[test]
    fn exact_modes_are_eigenvectors_of_the_operator() {
        let h = noise(80, 9, 41);
        let p = DepthDmdParams { modes: ModeForm::Exact, ..params(Estimator::Standard, 3) };
        let found = depth_dmd(gram(h.as_ref()).as_ref(), f64::EPSILON, &p).unwrap();
        let inverse = {
            let full = stereotax_base::linalg::svd(h.get(.., ..8)).unwrap();
            let v_s = Mat::from_fn(8, 3, |i, k| full.v[(i, k)] / full.s[k]);
            product(v_s.as_ref(), full.u.get(.., ..3).transpose())
        };
        let a = product(h.get(.., 1..), inverse.as_ref());
        for k in 0..3 {
            let phi: Vec<c64> =
                (0..80).map(|i| (0..9).map(|l| found.coefficients[(l, k)] * h[(i, l)]).sum()).collect();
            for i in 0..80 {
                let image: c64 = (0..80).map(|j| phi[j] * a[(i, j)]).sum();
                assert!((image - found.eigenvalues[k] * phi[i]).norm() < 1e-11);
            }
            assert_eq!(found.coefficients[(0, k)], c(0.0, 0.0));
        }
    }

    #[test]
    fn rescaling_rotating_and_permuting_change_nothing_but_the_scale() {
        let h = noise(60, 9, 42);
        let turn = thin_qr(noise(60, 60, 43).as_ref()).0;
        let turned = product(turn.as_ref(), h.as_ref());
        let scaled = Mat::from_fn(60, 9, |i, l| 37.0 * turned[((i * 7) % 60, l)]);
        let p = params(Estimator::TotalLeastSquares, 3);
        let a = depth_dmd(gram(h.as_ref()).as_ref(), f64::EPSILON, &p).unwrap();
        let b = depth_dmd(gram(scaled.as_ref()).as_ref(), f64::EPSILON, &p).unwrap();
        for k in 0..3 {
            assert!((a.eigenvalues[k] - b.eigenvalues[k]).norm() < 1e-11);
            assert!((a.energies[k] - b.energies[k]).abs() < 1e-10);
        }
        for (x, y) in a.weights.iter().zip(&b.weights) {
            assert!((x - y).abs() < 1e-10);
        }
        assert_eq!(a.selected, b.selected);
    }

    #[test]
    fn depth_centring_gives_roots_of_unity_for_any_data_and_is_refused() {
        let n_layers = 9;
        let h = noise(200, n_layers, 44);
        let centred =
            Mat::from_fn(200, n_layers, |i, l| h[(i, l)] - h.row(i).iter().sum::<f64>() / n_layers as f64);
        let p = DepthDmdParams { rank: RankRule::Full, ..Default::default() };
        let found = depth_dmd(gram(centred.as_ref()).as_ref(), f64::EPSILON, &p).unwrap();
        let mut angles: Vec<f64> = found.eigenvalues.iter().map(|z| z.arg()).collect();
        angles.sort_by(f64::total_cmp);
        let step = std::f64::consts::TAU / n_layers as f64;
        for (angle, k) in angles.iter().zip([-4.0, -3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 4.0]) {
            assert!((angle - k * step).abs() < 1e-8, "{angles:?}");
        }
        assert!(found.eigenvalues.iter().all(|z| (z.norm() - 1.0).abs() < 1e-8));
        assert!(refuse_depth_centring().to_string().contains("roots of unity"));
    }

    #[test]
    fn pair_scaling_keeps_the_operator_of_exact_data_and_reweights_noisy_data() {
        let values = [c(0.98, 0.0), c(1.6, 0.0)];
        let h = planted(&values, 200, 9, 45);
        let scaled = |gram: Mat<f64>| ScaledGram {
            gram,
            divisors: vec![1.0; 9],
            pair: true,
            triangle: None,
            epsilon: f64::EPSILON,
            state_size: Some(200),
        };
        let p = params(Estimator::Standard, 2);
        let exact = depth_dmd_scaled(&scaled(gram(h.as_ref())), &p).unwrap();
        assert!((exact.eigenvalues[0] - values[1]).norm() < 1e-9);
        assert!((exact.eigenvalues[1] - values[0]).norm() < 1e-9);
        assert!(exact.reconstruction_error < 1e-6);
        // Slow twin on noisy data: divide the pairs themselves.
        let noisy = Mat::from_fn(200, 9, |i, l| h[(i, l)] + 0.05 * noise(1, 1, (i * 9 + l) as u64)[(0, 0)]);
        let found = depth_dmd_scaled(&scaled(gram(noisy.as_ref())), &p).unwrap();
        let lengths: Vec<f64> = (0..8).map(|l| noisy.col(l).norm_l2()).collect();
        let x = Mat::from_fn(200, 8, |i, l| noisy[(i, l)] / lengths[l]);
        let y = Mat::from_fn(200, 8, |i, l| noisy[(i, l + 1)] / lengths[l]);
        let pod = Pod::leading(&Pod::full(x.as_ref()).unwrap(), 2);
        let direct = stereotax_base::linalg::eig(pod.operator(y.as_ref(), 0.0).as_ref()).unwrap();
        for k in 0..2 {
            assert!((found.eigenvalues[k] - direct.values[k]).norm() < 1e-10);
        }
        let plain = depth_dmd(gram(noisy.as_ref()).as_ref(), f64::EPSILON, &p).unwrap();
        assert!((plain.eigenvalues[1] - found.eigenvalues[1]).norm() > 1e-6);
    }

    #[test]
    fn tikhonov_shrinks_and_consensus_reports_every_rank() {
        let h = noise(100, 10, 46);
        let g = gram(h.as_ref());
        let modulus = |tikhonov| {
            let p = DepthDmdParams { tikhonov, ..params(Estimator::Standard, 3) };
            depth_dmd(g.as_ref(), f64::EPSILON, &p).unwrap().eigenvalues.iter().map(|z| z.norm()).sum::<f64>()
        };
        assert!(modulus(1.0) < modulus(0.1) && modulus(0.1) < modulus(0.0));

        let p = DepthDmdParams { rank: RankRule::Consensus, ..Default::default() };
        let found = depth_dmd(g.as_ref(), f64::EPSILON, &p).unwrap();
        let summary = found.consensus.clone().unwrap();
        assert_eq!(summary.ranks, [1, 2, 3, 4, 5, 6, 7, 8]);
        let least = summary.residuals.iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!(summary.residuals[found.rank - 1], least);
        assert_eq!(found.residuals[found.selected[0]], least);
        assert!(summary.spread > 0.0);
    }

    #[test]
    fn a_planted_mode_has_its_energy_and_weights() {
        // One mode of λ = 1 alone: S must be the constant state itself, with all the energy.
        let base = noise(50, 1, 47);
        let h = Mat::from_fn(50, 6, |i, _| base[(i, 0)]);
        let found = depth_dmd(gram(h.as_ref()).as_ref(), f64::EPSILON, &DepthDmdParams::default()).unwrap();
        assert_eq!((found.rank, found.numerical_rank), (1, 1));
        assert!((found.energies[0] - 1.0).abs() < 1e-12);
        assert!((found.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((found.depth_gain() - 1.0).abs() < 1e-12 && found.depth_rotation() < 1e-12);
        assert!(found.warnings.iter().any(|w| w.contains("only 6 layers")));
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let g = gram(noise(30, 6, 48).as_ref());
        let eps = f64::EPSILON;
        let default = DepthDmdParams::default();
        let three = gram(noise(30, 3, 49).as_ref());
        assert!(matches!(depth_dmd(three.as_ref(), eps, &default), Err(Error::TooFew { .. })));
        let full =
            DepthDmdParams { rank: RankRule::Full, estimator: Estimator::TotalLeastSquares, ..default };
        assert!(matches!(depth_dmd(g.as_ref(), eps, &full), Err(Error::Invalid { .. })));
        for refused in [
            DepthDmdParams { estimator: Estimator::ReducedRank { ridge: 0.0 }, ..default },
            DepthDmdParams { tikhonov: f64::NAN, ..default },
            DepthDmdParams { tikhonov: 0.1, estimator: Estimator::Unitary, ..default },
            DepthDmdParams { amplitude: Amplitude::Modulus, ..default },
            DepthDmdParams { select: Selection::Band { gain: 0.5 }, ..default },
            DepthDmdParams { estimator: Estimator::Hankel { delays: 4 }, ..default },
        ] {
            assert!(
                matches!(depth_dmd(g.as_ref(), eps, &refused), Err(Error::Invalid { .. })),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn the_estimators_of_all_layers_at_once_are_reached_and_agree() {
        let values = [c(0.98, 0.0), c(0.53, 0.73)];
        let h = planted(&values, 200, 13, 23);
        let g = gram(h.as_ref());
        for estimator in [Estimator::Optimised, Estimator::Bagged { n_bags: 8 }] {
            let found = depth_dmd(g.as_ref(), f64::EPSILON, &params(estimator, 3)).unwrap();
            for b in with_pairs(&values) {
                let gap = found.eigenvalues.iter().map(|a| (*a - b).norm()).fold(f64::INFINITY, f64::min);
                assert!(gap < 1e-8, "{estimator:?}: {:?}", found.eigenvalues);
            }
            assert!((found.selected_eigenvalue() - c(0.98, 0.0)).norm() < 1e-8);
            let pair = ScaledGram {
                gram: g.clone(),
                divisors: vec![1.0; 13],
                pair: true,
                triangle: None,
                epsilon: f64::EPSILON,
                state_size: None,
            };
            assert!(matches!(depth_dmd_scaled(&pair, &params(estimator, 3)), Err(Error::Invalid { .. })));
        }
    }
}
