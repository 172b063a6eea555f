//! Fit depth as many trajectories: one per sample, or one operator that all samples share.
//!
//! ```text
//! sample   every t its own spectrum;  s(t) = Re Σ_{k ∈ selected(t)} b_k(t) φ_k(t)
//! pooled   one operator on units from the training rows;  s(t) = Π · mean_l h_l(t)
//! ```
//!
//! A per-sample rule needs nothing of other samples but centring and scale, so held-out rows are
//! represented by the same rule. The model's eigenvalue is then the median over training samples (of real
//! and imaginary part), its layer weights their mean. Every gate is held against the median of its
//! number; how many samples pass all gates by themselves is told beside it. For the pooled trajectory
//! there are no layer weights, and the gates judge the one selected mode.
//!
//! Folds are compared by their representations of all rows: by the correlation of what is in the same
//! coordinates, else by the square root of linear CKA, which turns of the coordinates do not change.
//!
//! Sources: specs nfas-dmd 5.1, 5.4, 5.9, 6, 7. Cost: `sample` O(n·(K·L² + L³)) per fold and shuffle;
//! `pooled` O(n·L·k² + k³), k = min(K, `max_width`).

use faer::{Mat, MatRef, c64};
use rayon::prelude::*;

use super::depth::{
    DepthParams, DepthResult, FoldDepth, Mode, PlainCombinations, SampleSpread, ShuffledDepth, Stability,
    Trajectory, alternatives, defined, fold_grams, plain_combinations, shuffled_order, state_kind,
};
use super::design::{Pieces, SampleDesign};
use super::states::States;
use crate::data::{Error, Fold, Monitor, Result, TileSource};
use crate::dynamics::per_sample::PerSampleDmd;
use crate::dynamics::pooled::PooledSpectrum;
use crate::dynamics::stability::{GateNumbers, StableGates, judge};
use crate::dynamics::{DepthGram, DepthMoments, Selection, StableVerdict};
use crate::linalg::{centre_columns, column_means, cross};
use crate::stats::summary::quantile;

/// The trajectories of one model, without a brain: fitted on some rows, applied to all.
#[derive(Debug, Clone)]
pub struct TrajectoryFit {
    /// Stable representation of all rows (samples × units of the state); a sample without a trajectory is 0.
    pub stable: Mat<f64>,
    /// The modes of the pooled operator by descending |λ|; of single samples one, the medians over them.
    pub modes: Vec<Mode>,
    /// Mean weight of each (centred, scaled) layer; empty where the representation is no weighting.
    pub weights: Vec<f64>,
    /// Every row's own fit; `None` for the pooled operator.
    pub samples: Option<PerSampleDmd>,
    /// How the spectra of the fitted rows are distributed; `None` for the pooled operator.
    pub spread: Option<SampleSpread>,
    /// Modes of the operator; of single samples the median.
    pub rank: usize,
    /// How much worse the second choice of the pooled operator is.
    pub margin: Option<f64>,
    /// Whether the gates are passed, by the medians over samples or by the modes selected.
    pub verdict: StableVerdict,
    /// What a reader must know.
    pub warnings: Vec<String>,
}

/// Fit the trajectories that `params` names on the rows `train` and represent all rows of `source`.
///
/// Errors: the stacked trajectory (fit that from moments), and those of [`fit_depth`](super::depth::fit_depth).
pub fn fit_trajectories(
    source: &dyn TileSource,
    train: &[usize],
    params: &DepthParams,
    monitor: &Monitor,
) -> Result<TrajectoryFit> {
    let states = States::fit(source, train, params, monitor)?;
    let order: Vec<usize> = (0..source.layers().len()).collect();
    let fitted = fit_order(&states, &order, train, params, monitor)?;
    Ok(TrajectoryFit {
        stable: fitted.stable,
        modes: fitted.modes,
        weights: fitted.weights,
        samples: fitted.samples,
        spread: fitted.spread,
        rank: fitted.rank,
        margin: fitted.margin,
        verdict: judge(&fitted.gates, &params.gates),
        warnings: fitted.warnings,
    })
}

/// One fit in one order of the layers.
pub(super) struct FittedOrder {
    /// Stable representation of all rows; a sample without a trajectory is 0.
    pub(super) stable: Mat<f64>,
    modes: Vec<Mode>,
    /// Weight of each layer; empty where the representation is no weighting.
    weights: Vec<f64>,
    gates: GateNumbers,
    spread: Option<SampleSpread>,
    samples: Option<PerSampleDmd>,
    rank: usize,
    margin: Option<f64>,
    warnings: Vec<String>,
}

/// Fit the trajectories of a fold's states in this order of the layers.
pub(super) fn fit_order(
    states: &States<'_>,
    order: &[usize],
    train: &[usize],
    params: &DepthParams,
    monitor: &Monitor,
) -> Result<FittedOrder> {
    let mut fitted = match params.trajectory {
        Trajectory::Sample => {
            of_samples(states.per_sample(order, &params.dmd, monitor)?, order, train, &params.gates)?
        }
        Trajectory::Pooled => {
            let (spectrum, stable) = states.pooled(order, &params.dmd, monitor)?;
            of_pooled(&spectrum, stable, order.len(), params)
        }
        Trajectory::Stacked => {
            return Err(Error::Invalid {
                what: "trajectory".into(),
                expected: "sample or pooled".into(),
                found: "stacked".into(),
                hint: "the stacked trajectory is fitted from moments".into(),
            });
        }
    };
    fitted.warnings.splice(0..0, states.warnings.iter().cloned());
    Ok(fitted)
}

fn of_samples(
    found: PerSampleDmd,
    order: &[usize],
    train: &[usize],
    gates: &StableGates,
) -> Result<FittedOrder> {
    let steps = order.len() as f64 - 1.0;
    let rows: Vec<usize> = train.iter().copied().filter(|&t| found.ranks[t] > 0).collect();
    if rows.is_empty() {
        return Err(Error::ZeroVariance {
            what: "trajectories of samples".into(),
            detail: "every training sample is zero in all layers but the last".into(),
            hint: "check that the layers hold activations".into(),
        });
    }
    let of = |number: &dyn Fn(usize) -> f64| -> Vec<f64> { rows.iter().map(|&t| number(t)).collect() };
    let median = |number: &dyn Fn(usize) -> f64| quantile(&of(number), 0.5);
    let lambda = |t: usize| found.eigenvalues[t];
    let numbers = |t: usize| GateNumbers {
        depth_change: lambda(t).norm().ln().abs() * steps,
        rotation: lambda(t).arg().abs() * steps,
        residual: found.residuals[t],
        energy: found.energies[t],
        correlation: 1.0,
    };
    let passing = rows.iter().filter(|&&t| judge(&numbers(t), gates) == StableVerdict::Stable).count();
    let modulus = of(&|t| lambda(t).norm());
    let n_undefined = train.len() - rows.len();
    let mut weights = vec![0.0; order.len()];
    for (place, &layer) in order.iter().enumerate() {
        weights[layer] = rows.iter().map(|&t| found.weights[(t, place)]).sum::<f64>() / rows.len() as f64;
    }
    let mut warnings = Vec::new();
    if n_undefined > 0 {
        warnings.push(format!(
            "{n_undefined} of {} training samples are zero in all layers but the last and have no trajectory; their representation is zero",
            train.len()
        ));
    }
    let mut stable = found.stable.clone();
    for t in (0..stable.nrows()).filter(|&t| found.ranks[t] == 0) {
        stable.row_mut(t).iter_mut().for_each(|x| *x = 0.0);
    }
    Ok(FittedOrder {
        stable,
        modes: vec![Mode {
            re: median(&|t| lambda(t).re),
            im: median(&|t| lambda(t).im),
            energy: median(&|t| found.energies[t]),
            residual: defined(median(&|t| found.residuals[t])),
            versus_persistence: None,
            window: None,
            selected: true,
        }],
        weights: if weights.iter().all(|w| w.is_finite()) { weights } else { Vec::new() },
        gates: GateNumbers {
            depth_change: median(&|t| numbers(t).depth_change),
            rotation: median(&|t| numbers(t).rotation),
            residual: median(&|t| numbers(t).residual),
            energy: median(&|t| numbers(t).energy),
            correlation: 1.0,
        },
        spread: Some(SampleSpread {
            modulus: [quantile(&modulus, 0.25), quantile(&modulus, 0.5), quantile(&modulus, 0.75)],
            share_qualifying: passing as f64 / train.len() as f64,
            pair_share: rows.iter().filter(|&&t| lambda(t).im > 0.0).count() as f64 / rows.len() as f64,
            n_undefined,
        }),
        rank: median(&|t| found.ranks[t] as f64).round() as usize,
        margin: None,
        warnings,
        samples: Some(found),
    })
}

fn of_pooled(found: &PooledSpectrum, stable: Mat<f64>, n_layers: usize, params: &DepthParams) -> FittedOrder {
    let steps = n_layers as f64 - 1.0;
    let chosen = &found.selected;
    let worst = |of: &dyn Fn(usize) -> f64| {
        // NaN if any is: an undefined number must not pass a gate.
        let larger = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
        chosen.iter().map(|&k| of(k)).fold(0.0, larger)
    };
    let value = |k: usize| found.eigenvalues[k];
    let mut warnings = found.warnings.clone();
    // What a band would keep beside the one mode that the rule names.
    let admitted = (0..found.eigenvalues.len())
        .filter(|&k| {
            value(k).norm().ln().abs() * steps <= params.gates.max_depth_change
                && value(k).arg().abs() * steps <= params.gates.max_rotation
                && found.energies[k] >= params.dmd.min_energy
        })
        .count();
    if !matches!(params.dmd.select, Selection::Band { .. }) && admitted > chosen.len() {
        warnings.push(format!(
            "{} of {admitted} modes that neither grow, decay nor turn much over the depth is selected; `select = \"band:2\"` keeps the subspace of all",
            chosen.len()
        ));
    }
    FittedOrder {
        stable,
        modes: (0..found.eigenvalues.len())
            .map(|k| Mode {
                re: value(k).re,
                im: value(k).im,
                energy: found.energies[k],
                residual: defined(found.residuals[k]),
                versus_persistence: defined(found.versus_persistence[k]),
                window: None,
                selected: chosen.contains(&k),
            })
            .collect(),
        weights: Vec::new(),
        gates: GateNumbers {
            depth_change: worst(&|k| value(k).norm().ln().abs()) * steps,
            rotation: worst(&|k| value(k).arg().abs()) * steps,
            residual: worst(&|k| found.residuals[k]),
            energy: chosen.iter().map(|&k| found.energies[k]).sum(),
            correlation: 1.0,
        },
        spread: None,
        samples: None,
        rank: found.rank,
        margin: found.runner_up.map(|(_, margin)| margin).and_then(defined),
        warnings,
    }
}

/// Fit all folds of a model by its samples' trajectories.
///
/// `moments` are those of layers that share a state: from them come the plain mean, the first
/// orthogonal mode over depth and the multiverse, which stays that of the stacked trajectory. `None`:
/// the layers are mapped. Errors: those of the parts.
pub(super) fn depth_of_trajectories(
    source: &dyn TileSource,
    moments: Option<(&DepthMoments, &Pieces)>,
    design: &SampleDesign,
    params: &DepthParams,
    monitor: &Monitor,
) -> Result<DepthResult> {
    let natural: Vec<usize> = (0..source.layers().len()).collect();
    let all = design.whole();
    let whole_states = States::fit(source, &all.train, params, monitor)?;
    let whole = fit_order(&whole_states, &natural, &all.train, params, monitor)?;
    let plain_of = |states: &States<'_>, train: &[usize], gram: Option<&DepthGram>| match gram {
        Some(gram) => {
            let gram = gram.scaled(params.scaling)?;
            plain_combinations(gram.gram.as_ref(), &gram.divisors)
        }
        None => {
            let gram = states.gram(&natural, train)?;
            plain_combinations(gram.as_ref(), &vec![1.0; natural.len()])
        }
    };
    let whole_gram = moments.map(|(m, _)| m.gram(None, params.centring)).transpose()?;
    let grams = moments.map(|(m, pieces)| fold_grams(m, pieces, params)).transpose()?;
    let plain_whole = plain_of(&whole_states, &all.train, whole_gram.as_ref())?;
    let mut own_coordinates = false;
    let mut fits: Vec<(FittedOrder, PlainCombinations)> = Vec::with_capacity(design.folds.len());
    if !params.fit_on_all {
        for (index, fold) in design.folds.iter().enumerate() {
            let states = States::fit(source, &fold.train, params, monitor)?;
            own_coordinates |= states.has_own_coordinates();
            let plain = plain_of(&states, &fold.train, grams.as_ref().map(|g| &g[index]))?;
            fits.push((fit_order(&states, &natural, &fold.train, params, monitor)?, plain));
        }
    }
    let stable = fits.iter_mut().map(|(fit, _)| std::mem::replace(&mut fit.stable, Mat::new())).collect();
    let correlation = least_correlation(stable, own_coordinates, monitor)?;
    let worst = fits.iter().map(|(f, _)| f.gates).reduce(GateNumbers::worse).unwrap_or(whole.gates);
    let verdict = judge(&GateNumbers { correlation, ..worst }, &params.gates);

    let lambdas: Vec<c64> = (0..params.n_shuffles)
        .into_par_iter()
        .map(|index| {
            let order = shuffled_order(natural.len(), params.seed, index);
            let fitted = fit_order(&whole_states, &order, &all.train, params, monitor)?;
            Ok(selected(&fitted.modes))
        })
        .collect::<Result<_>>()?;
    let shuffles = lambdas
        .into_iter()
        .enumerate()
        .map(|(index, lambda)| ShuffledDepth {
            order: shuffled_order(natural.len(), params.seed, index),
            re: lambda.re,
            im: lambda.im,
            coefficients: Vec::new(),
        })
        .collect();

    let record = |fold: &Fold, fitted: &FittedOrder, plain: &PlainCombinations| FoldDepth {
        name: fold.name.clone(),
        modes: fitted.modes.clone(),
        weights: fitted.weights.clone(),
        coefficients: Vec::new(),
        mean_coefficients: plain.mean.clone(),
        pod_coefficients: plain.pod.clone(),
        rank: fitted.rank,
        numerical_rank: fitted.rank,
        windows: Vec::new(),
        spread: fitted.spread,
        margin: fitted.margin,
        reconstruction_error: None,
        warnings: fitted.warnings.clone(),
    };
    Ok(DepthResult {
        state: state_kind(source, params),
        folds: design
            .folds
            .iter()
            .enumerate()
            .map(|(index, fold)| {
                let (fitted, plain) =
                    fits.get(index).map_or((&whole, &plain_whole), |(fitted, plain)| (fitted, plain));
                record(fold, fitted, plain)
            })
            .collect(),
        whole: record(&all, &whole, &plain_whole),
        shuffles,
        alternatives: match moments {
            Some((moments, pieces)) => alternatives(moments, pieces, params, monitor)?,
            None => Vec::new(),
        },
        verdict,
        stability: Stability {
            lambda_sd: None,
            min_correlation: None,
            median_correlation: None,
            fold_correlation: defined(correlation),
            leave_one_layer_out: None,
        },
    })
}

fn selected(modes: &[Mode]) -> c64 {
    modes.iter().find(|m| m.selected).map_or(c64::new(f64::NAN, f64::NAN), |m| c64::new(m.re, m.im))
}

/// Least correlation of the representations of two folds; 1 for one fold.
fn least_correlation(mut centred: Vec<Mat<f64>>, own_coordinates: bool, monitor: &Monitor) -> Result<f64> {
    for stable in &mut centred {
        let means = column_means(stable.as_ref());
        centre_columns(stable.as_mut(), &means);
    }
    let sizes: Vec<f64> = centred
        .par_iter()
        .map(|s| if own_coordinates { cross(s.as_ref(), s.as_ref()).norm_l2() } else { s.norm_l2() })
        .collect();
    let pairs: Vec<(usize, usize)> = (0..centred.len()).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
    let found: Vec<f64> = pairs
        .par_iter()
        .map(|&(a, b)| {
            monitor.check()?;
            let (x, y) = (centred[a].as_ref(), centred[b].as_ref());
            Ok(if own_coordinates {
                (cross(x, y).squared_norm_l2() / (sizes[a] * sizes[b])).sqrt()
            } else {
                inner(x, y) / (sizes[a] * sizes[b])
            })
        })
        .collect::<Result<_>>()?;
    Ok(found.into_iter().fold(1.0, |least, r| if r.is_nan() || r < least { r } else { least }))
}

fn inner(x: MatRef<f64>, y: MatRef<f64>) -> f64 {
    (0..x.ncols()).map(|j| x.col(j).iter().zip(y.col(j).iter()).map(|(a, b)| a * b).sum::<f64>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Folds, LayerArrays, Runs};
    use crate::dynamics::{
        Amplitude, DepthDmdParams, Estimator, RankRule, Scaling, StableVerdict, UnstableReason, depth_dmd,
    };
    use crate::linalg::{product, thin_qr};
    use crate::pipelines::Clock;
    use crate::pipelines::depth::{depth_moments, fit_depth};
    use crate::stats::rng::Stream;

    const N: usize = 80;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(17, "trajectories tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    /// Two latents that stay, one that fades, in `width` units; layers of different size with an offset.
    fn network(width: usize, n_layers: usize, sd: f64) -> Vec<Mat<f64>> {
        let (z, mixing) = (noise(N, 3, 0), noise(3, width, 1));
        (0..n_layers)
            .map(|l| {
                let e = noise(N, width, 10 + l as u64);
                let now = Mat::from_fn(N, 3, |t, k| z[(t, k)] * [1.0f64, 0.98, 0.5][k].powi(l as i32));
                let h = product(now.as_ref(), mixing.as_ref());
                Mat::from_fn(N, width, |t, j| (1.0 + l as f64) * (h[(t, j)] + sd * e[(t, j)]) + j as f64)
            })
            .collect()
    }

    fn params(trajectory: Trajectory) -> DepthParams {
        let estimator = match trajectory {
            Trajectory::Pooled => Estimator::TotalLeastSquares,
            _ => Estimator::Standard,
        };
        DepthParams {
            trajectory,
            dmd: DepthDmdParams { estimator, rank: RankRule::Fixed(3), ..DepthDmdParams::default() },
            n_shuffles: 2,
            n_bootstraps: 3,
            multiverse: false,
            seed: 4,
            ..DepthParams::default()
        }
    }

    fn with_source<T>(layers: &[Mat<f64>], then: impl FnOnce(&dyn TileSource) -> T) -> T {
        let names: Vec<String> = (0..layers.len()).map(|l| format!("layer {l}")).collect();
        then(&LayerArrays::new(&names, layers.iter().map(|h| h.as_ref()).collect()).unwrap())
    }

    fn design() -> SampleDesign {
        let ids: Vec<String> = (0..N).map(|i| format!("s{i:02}")).collect();
        SampleDesign {
            folds: Folds::k_fold(&ids, 4, 0).unwrap(),
            runs: Runs::single(N),
            clock: Clock::Stimulus,
            blocks: (0..N).collect(),
            block_names: ids.clone(),
            ids,
        }
    }

    fn fit(layers: &[Mat<f64>], params: &DepthParams) -> DepthResult {
        with_source(layers, |source| {
            let (design, monitor) = (design(), Monitor::silent());
            let pieces = design.pieces();
            let moments = depth_moments(source, &pieces, params, &monitor).unwrap();
            fit_depth(source, Some((&moments, &pieces)), &design, params, &monitor).unwrap()
        })
    }

    #[test]
    fn the_representation_of_samples_is_its_slow_twin() {
        let layers = network(9, 7, 0.2);
        let train: Vec<usize> = (0..N).filter(|t| t % 3 != 0).collect();
        for (scaling, amplitude, order) in [
            (Scaling::Frobenius, Amplitude::Optimal, [0, 1, 2, 3, 4, 5, 6]),
            (Scaling::None, Amplitude::Optimal, [3, 0, 6, 2, 5, 1, 4]),
            (Scaling::UnitSample, Amplitude::ModeOnly, [0, 1, 2, 3, 4, 5, 6]),
        ] {
            let mut params = params(Trajectory::Sample);
            params.scaling = scaling;
            params.dmd.amplitude = amplitude;
            let found = with_source(&layers, |source| {
                let states = States::fit(source, &train, &params, &Monitor::silent()).unwrap();
                fit_order(&states, &order, &train, &params, &Monitor::silent()).unwrap()
            });
            // Centre and scale by the training rows by hand, then the general route for every sample.
            let ready: Vec<Mat<f64>> = order
                .iter()
                .map(|&l| {
                    let mut h = layers[l].clone();
                    if scaling == Scaling::UnitSample {
                        for t in 0..N {
                            let length = (0..9).map(|j| h[(t, j)].powi(2)).sum::<f64>().sqrt();
                            (0..9).for_each(|j| h[(t, j)] /= length);
                        }
                    }
                    let n = train.len() as f64;
                    for j in 0..9 {
                        let mean = train.iter().map(|&t| h[(t, j)]).sum::<f64>() / n;
                        (0..N).for_each(|t| h[(t, j)] -= mean);
                    }
                    let square: f64 =
                        train.iter().map(|&t| (0..9).map(|j| h[(t, j)].powi(2)).sum::<f64>()).sum();
                    let rms = if scaling == Scaling::Frobenius { (square / (n * 9.0)).sqrt() } else { 1.0 };
                    h * faer::Scale(1.0 / rms)
                })
                .collect();
            let mut moduli = Vec::new();
            for t in 0..N {
                let gram = Mat::from_fn(7, 7, |a, b| {
                    (0..9).map(|j| ready[a][(t, j)] * ready[b][(t, j)]).sum::<f64>()
                });
                let slow = depth_dmd(gram.as_ref(), f64::EPSILON, &params.dmd).unwrap();
                for j in 0..9 {
                    let expected: f64 = (0..7).map(|l| slow.weights[l] * ready[l][(t, j)]).sum();
                    let gap = (found.stable[(t, j)] - expected).abs();
                    assert!(gap < 1e-6 * (1.0 + expected.abs()), "{scaling:?} {t}: {gap}");
                }
                if train.contains(&t) {
                    moduli.push(slow.selected_eigenvalue().norm());
                }
            }
            // The record: quartiles and medians over the training samples only.
            let spread = found.spread.unwrap();
            for (quarter, share) in spread.modulus.into_iter().zip([0.25, 0.5, 0.75]) {
                assert!((quarter - quantile(&moduli, share)).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn medians_over_samples_meet_the_gates_and_say_how_many_agree() {
        let layers = network(12, 9, 0.05);
        let found = fit(&layers, &params(Trajectory::Sample));
        assert_eq!(found.verdict, StableVerdict::Stable, "{:?}", found.whole.modes);
        let spread = found.whole.spread.unwrap();
        assert!(spread.share_qualifying > 0.5 && spread.share_qualifying <= 1.0, "{spread:?}");
        assert!((found.whole.selected().0 - 1.0).abs() < 0.05);
        assert_eq!((found.folds.len(), found.shuffles.len(), found.whole.weights.len()), (4, 2, 9));
        assert!(found.folds.iter().all(|f| f.coefficients.is_empty() && f.mean_coefficients.len() == 9));
        // A strict gate is failed by the median, and counted.
        let mut strict = params(Trajectory::Sample);
        strict.gates.min_energy = 50.0;
        match fit(&layers, &strict).verdict {
            StableVerdict::NoStableMode(failed) => assert_eq!(failed[0].reason, UnstableReason::Energy),
            StableVerdict::Stable => panic!("no mode holds fifty times the trajectory"),
        }
        let mut modulus = params(Trajectory::Sample);
        modulus.dmd.amplitude = Amplitude::Modulus;
        assert!(fit(&layers, &modulus).whole.weights.is_empty());
    }

    #[test]
    fn the_pooled_operator_finds_the_planted_subspace_and_joint_components_change_nothing() {
        let layers = network(40, 9, 0.0);
        let mut exact = params(Trajectory::Pooled);
        exact.dmd.select = Selection::Band { gain: 2.0 };
        // Layers grow by their number, which the scaling takes out up to the fading latent.
        exact.scaling = Scaling::Frobenius;
        let mut joint = exact.clone();
        joint.layer_map.max_width = 6;
        let train: Vec<usize> = (0..N).filter(|t| t % 4 != 1).collect();
        let order: Vec<usize> = (0..9).collect();
        let of = |params: &DepthParams| {
            with_source(&layers, |source| {
                let states = States::fit(source, &train, params, &Monitor::silent()).unwrap();
                assert_eq!(states.has_own_coordinates(), params.layer_map.max_width < 40);
                fit_order(&states, &order, &train, params, &Monitor::silent()).unwrap()
            })
        };
        let (a, b) = (of(&exact), of(&joint));
        assert_eq!((a.stable.ncols(), b.stable.ncols()), (40, 6));
        for (x, y) in a.modes.iter().zip(&b.modes) {
            assert!((x.re - y.re).abs() < 1e-8 && (x.im - y.im).abs() < 1e-8, "{x:?} {y:?}");
        }
        assert!(b.warnings[0].contains("40 units were brought to 6 joint principal components"));
        // Distances between samples are those of the full width: only the coordinates are others.
        for (s, t) in [(0, 1), (3, 50), (79, 20)] {
            let apart = |m: &Mat<f64>| (m.row(s) - m.row(t)).norm_l2();
            assert!((apart(&a.stable) / apart(&b.stable) - 1.0).abs() < 1e-8);
        }
        // The representation spans the two latents that stay, and not the third.
        let z = noise(N, 3, 0);
        let centred = |column: usize| {
            let mean = (0..N).map(|t| z[(t, column)]).sum::<f64>() / N as f64;
            Mat::from_fn(N, 1, |t, _| z[(t, column)] - mean)
        };
        let mut stable = a.stable.clone();
        let means = column_means(stable.as_ref());
        centre_columns(stable.as_mut(), &means);
        let u = crate::linalg::svd(stable.as_ref()).unwrap();
        assert_eq!(u.s.iter().filter(|s| **s > 1e-6 * u.s[0]).count(), 2);
        let inside = |column: usize| {
            let y = centred(column);
            cross(u.u.get(.., ..2), y.as_ref()).norm_l2() / y.norm_l2()
        };
        assert!(inside(0) > 0.99 && inside(1) > 0.99 && inside(2) < 0.5, "{} {}", inside(0), inside(2));
    }

    #[test]
    fn pooled_folds_are_judged_and_have_no_layer_weights() {
        let mut params = params(Trajectory::Pooled);
        params.dmd.select = Selection::Band { gain: 2.0 };
        let found = fit(&network(12, 9, 0.05), &params);
        assert_eq!(found.verdict, StableVerdict::Stable, "{:?}", found.whole.modes);
        assert!(found.whole.weights.is_empty() && found.whole.spread.is_none());
        assert!(found.whole.modes.iter().all(|m| m.versus_persistence.is_some()));
        assert!(found.stability.fold_correlation.unwrap() > 0.98);
        params.dmd.select = Selection::ClosestToOne;
        let one = fit(&network(12, 9, 0.05), &params);
        assert!(one.whole.warnings.iter().any(|w| w.contains("band:2")), "{:?}", one.whole.warnings);
        params.fit_on_all = true;
        let all = fit(&network(12, 9, 0.05), &params);
        assert!(all.folds.iter().all(|f| f.modes == all.whole.modes));
        assert_eq!(all.stability.fold_correlation, Some(1.0));
    }

    #[test]
    fn folds_are_compared_in_their_coordinates_or_whatever_they_are() {
        let x = noise(50, 4, 90);
        let turn = thin_qr(noise(4, 4, 91).as_ref()).0;
        let turned = product(x.as_ref(), turn.as_ref());
        let silent = Monitor::silent();
        let alike = least_correlation(vec![x.clone(), turned.clone()], true, &silent).unwrap();
        assert!((alike - 1.0).abs() < 1e-12);
        assert!(least_correlation(vec![x.clone(), turned], false, &silent).unwrap() < 0.9);
        // One column each: the plain correlation, of [1 2 3] and [1 3 2], is 1/2, whichever rule.
        let a = Mat::from_fn(3, 1, |i, _| [1.0, 2.0, 3.0][i]);
        let b = Mat::from_fn(3, 1, |i, _| [1.0, 3.0, 2.0][i]);
        for own in [false, true] {
            let found = least_correlation(vec![a.clone(), b.clone()], own, &silent).unwrap();
            assert!((found - 0.5).abs() < 1e-12, "{found}");
        }
        assert_eq!(least_correlation(vec![a], false, &silent).unwrap(), 1.0);
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        for trajectory in [Trajectory::Sample, Trajectory::Pooled] {
            let mut params = params(trajectory);
            params.layer_map.max_width = 10;
            let layers = network(16, 6, 0.3);
            let with = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| fit(&layers, &params))
            };
            let one = with(1);
            assert_eq!(one, with(2));
            assert_eq!(one, with(8));
        }
    }
}
