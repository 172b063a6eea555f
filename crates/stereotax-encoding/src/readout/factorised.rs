//! Read each target out by masks of where times weights of what.
//!
//! ```text
//! y = Σ_k Σ_c f_kc Σ_p m_kp φ_cp + b                                  K masks (P) and feature weights (C) per target
//! minimise ‖y − ŷ‖² + Σ_k ‖f_k‖² (α ‖m_k‖² + λ m_kᵀ L m_k)             L: Laplacian of the grid's neighbours
//! ```
//!
//! Given the masks this is ridge regression for all f_k, given the f_k one for all m_k (with m ≥ 0 if asked, by
//! coordinate descent), so the loss never rises. The penalty does not depend on how a factor is shared between
//! f_k and m_k; α and λ multiply the mean square of a feature column. Masks come out with unit norm and a
//! positive sum, strongest first: scale and sign are otherwise free.
//!
//! The start is the leading K singular pairs of the full ridge weight (C × P; penalty by leave-one-out).
//!
//! Source: Klindt et al. 2017; specs: alignment-methods B13.2. Differs from the paper: ridge in closed form in
//! place of λ Σ|m| Σ|f| by gradient steps.
//! Cost: one ridge of C · P features; per target and round O(n C P K + n (C² + P²) K² + (C³ + P³) K³).

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::{
    FeatureMaps, Part, check_search, check_targets, choose_alpha, in_columns, masked, parts, penalised,
    weighted,
};
use crate::{RidgeParams, RidgePlan, Selection};
use stereotax_base::data::{Error, Fold, Monitor, Result};
use stereotax_base::linalg::{cross, gram, svd};

/// Sweeps of one non-negative step.
const SWEEPS: usize = 100;

/// How a factorised readout is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct FactorisedParams {
    /// K. Default 1.
    pub rank: usize,
    /// α, multiples of the mean square of a feature column; the best by cross-validation. Default 0.01, 0.1, 1.
    pub alphas: Vec<f64>,
    /// λ, in the same unit. Default 0.
    pub smoothness: f64,
    /// Whether masks may not be negative. Default no.
    pub non_negative: bool,
    /// Most rounds. Default 100.
    pub max_iterations: usize,
    /// A round that gains less of the loss ends the fit. Default 10⁻⁶.
    pub tolerance: f64,
}

impl Default for FactorisedParams {
    fn default() -> Self {
        FactorisedParams {
            rank: 1,
            alphas: vec![0.01, 0.1, 1.0],
            smoothness: 0.0,
            non_negative: false,
            max_iterations: 100,
            tolerance: 1e-6,
        }
    }
}

/// The readout of one target.
#[derive(Debug, Clone, PartialEq)]
pub struct FactorisedTarget {
    /// K × P, unit norm.
    pub masks: Mat<f64>,
    /// K × C.
    pub features: Mat<f64>,
    /// b.
    pub intercept: f64,
    /// The penalty used (as given); NaN for a target that does not vary, which is predicted by its value.
    pub alpha: f64,
    /// Cross-validated R² of that penalty; NaN with a single one.
    pub score: f64,
    /// Rounds.
    pub n_iterations: usize,
    /// Whether the gain of the last round was below the tolerance.
    pub converged: bool,
}

/// A fitted readout.
#[derive(Debug, Clone, PartialEq)]
pub struct FactorisedFit {
    /// One per target.
    pub targets: Vec<FactorisedTarget>,
    /// The same as weights of features (C · P × targets).
    pub weights: Mat<f64>,
}

/// Fit every target of `y` (n × targets).
///
/// Errors: sizes that do not fit, values that are not finite, a rank of 0 or above min(C, P), penalties that are
/// not positive, smoothness without a grid, features that do not vary.
pub fn factorised_readout(
    maps: &FeatureMaps<'_>,
    y: MatRef<f64>,
    folds: &[Fold],
    params: &FactorisedParams,
    monitor: &Monitor<'_>,
) -> Result<FactorisedFit> {
    check_targets(maps, y)?;
    check_search(&params.alphas, folds, y.nrows())?;
    let (n_channels, n_positions) = (maps.n_channels, maps.n_positions());
    let most = n_channels.min(n_positions);
    if params.rank == 0 || params.rank > most || !(params.smoothness >= 0.0) {
        return Err(Error::Invalid {
            what: "rank, smoothness".into(),
            expected: format!("a rank from 1 to {most}, a smoothness of at least 0"),
            found: format!("{}, {}", params.rank, params.smoothness),
            hint: "a rank of 1 is one mask per target".into(),
        });
    }
    let laplacian = if params.smoothness > 0.0 {
        laplacian(maps.needs_grid("a smoothness penalty")?)
    } else {
        Mat::zeros(n_positions, n_positions)
    };
    let (whole, inner) = parts(maps.values, &params.alphas, folds)?;
    // A start per part: its ridge weights.
    let starts =
        std::iter::once(&whole).chain(&inner).map(|part| start(part, y)).collect::<Result<Vec<_>>>()?;
    let targets = (0..y.ncols())
        .into_par_iter()
        .map(|m| {
            monitor.check()?;
            let values: Vec<f64> = y.col(m).iter().copied().collect();
            if whole.is_constant(&values) {
                return Ok(FactorisedTarget {
                    masks: Mat::zeros(params.rank, n_positions),
                    features: Mat::zeros(params.rank, n_channels),
                    intercept: values[0],
                    alpha: f64::NAN,
                    score: f64::NAN,
                    n_iterations: 0,
                    converged: true,
                });
            }
            let fit = |part: &Part, start: &Mat<f64>, alpha: f64| {
                let (centred, _) = part.target(&values);
                let full = Mat::from_fn(n_channels, n_positions, |c, p| start[(c * n_positions + p, m)]);
                alternate(part, centred.as_ref(), &full, alpha, &laplacian, params, monitor)
            };
            let at =
                |part: &Part| inner.iter().position(|other| std::ptr::eq(other, part)).map_or(0, |k| k + 1);
            let (chosen, score) =
                choose_alpha(maps.values, &values, &inner, &params.alphas, |part, alpha| {
                    Ok(weights(&fit(part, &starts[at(part)], alpha)?))
                })?;
            let found = fit(&whole, &starts[0], params.alphas[chosen])?;
            let offset: f64 = weights(&found).iter().zip(&whole.means).map(|(b, mean)| b * mean).sum();
            let (_, mean) = whole.target(&values);
            Ok(FactorisedTarget { intercept: mean - offset, alpha: params.alphas[chosen], score, ..found })
        })
        .collect::<Result<Vec<_>>>()?;
    let weights = in_columns(&targets.iter().map(weights).collect::<Vec<_>>());
    Ok(FactorisedFit { targets, weights })
}

/// Σ_k f_k m_kᵀ, the channel running slower.
fn weights(target: &FactorisedTarget) -> Vec<f64> {
    let full = cross(target.masks.as_ref(), target.features.as_ref());
    (0..full.ncols()).flat_map(|c| full.col_as_slice(c).to_vec()).collect()
}

/// Ridge weights of a part's targets (C · P × targets).
fn start(part: &Part, y: MatRef<f64>) -> Result<Mat<f64>> {
    let params = RidgeParams { selection: Selection::LeaveOneOut, ..RidgeParams::default() };
    let plan = RidgePlan::new(part.x.as_ref(), part.x.get(..0, ..), &[], &params)?;
    let centred = Mat::from_fn(part.x.nrows(), y.ncols(), |i, m| y[(part.rows[i], m)]);
    let alphas = plan.fit(centred.as_ref())?.alphas;
    let found = plan.weights(centred.as_ref(), &alphas)?.weights;
    Ok(Mat::from_fn(
        found.nrows(),
        found.ncols(),
        |i, j| if found[(i, j)].is_nan() { 0.0 } else { found[(i, j)] },
    ))
}

/// Ridge steps for f and m in turn, from the leading singular pairs of `full` (C × P).
fn alternate(
    part: &Part,
    y: MatRef<f64>,
    full: &Mat<f64>,
    alpha: f64,
    laplacian: &Mat<f64>,
    params: &FactorisedParams,
    monitor: &Monitor<'_>,
) -> Result<FactorisedTarget> {
    let (n_channels, n_positions, rank) = (full.nrows(), full.ncols(), params.rank);
    let (alpha, smooth) = (alpha * part.mean_square, params.smoothness * part.mean_square);
    let pairs = svd(full.as_ref())?;
    let mut masks: Vec<Vec<f64>> = (0..rank)
        .map(|k| {
            let mask: Vec<f64> = (0..n_positions).map(|p| pairs.v[(p, k)]).collect();
            let sign = if mask.iter().sum::<f64>() < 0.0 { -1.0 } else { 1.0 };
            let mask: Vec<f64> = mask.iter().map(|v| sign * v).collect();
            if params.non_negative { mask.iter().map(|v| v.max(0.0)).collect() } else { mask }
        })
        .collect();
    let mut features = vec![vec![0.0; n_channels]; rank];
    let roughness = |mask: &[f64]| -> f64 {
        let squares: f64 = mask.iter().map(|v| v * v).sum();
        let mut rough = 0.0;
        if smooth > 0.0 {
            for p in 0..n_positions {
                rough +=
                    mask[p] * laplacian.col_as_slice(p).iter().zip(mask).map(|(l, m)| l * m).sum::<f64>();
            }
        }
        alpha * squares + smooth * rough
    };
    let size = y.squared_norm_l2();
    let (mut before, mut n_iterations, mut converged) = (f64::INFINITY, 0, false);
    while n_iterations < params.max_iterations && !converged {
        monitor.check()?;
        n_iterations += 1;
        // What, given where.
        let blocks: Vec<Mat<f64>> =
            masks.iter().map(|mask| masked(part.x.as_ref(), n_channels, mask)).collect();
        let design = side_by_side(&blocks);
        let mut penalty = Mat::zeros(rank * n_channels, rank * n_channels);
        for k in 0..rank {
            let rough = roughness(&masks[k]);
            (0..n_channels).for_each(|c| penalty[(k * n_channels + c, k * n_channels + c)] = rough);
        }
        let f = penalised(design.as_ref(), y, penalty.as_ref())?;
        (0..rank).for_each(|k| (0..n_channels).for_each(|c| features[k][c] = f[(k * n_channels + c, 0)]));
        // Where, given what.
        let blocks: Vec<Mat<f64>> = features.iter().map(|f| weighted(&part.x, n_positions, f)).collect();
        let design = side_by_side(&blocks);
        let mut penalty = Mat::zeros(rank * n_positions, rank * n_positions);
        for k in 0..rank {
            let square: f64 = features[k].iter().map(|f| f * f).sum();
            for p in 0..n_positions {
                for q in 0..n_positions {
                    let same = if p == q { alpha } else { 0.0 };
                    penalty[(k * n_positions + q, k * n_positions + p)] =
                        square * (same + smooth * laplacian[(q, p)]);
                }
            }
        }
        let moments = gram(design.as_ref()) + &penalty;
        let right = cross(design.as_ref(), y);
        let found = if params.non_negative {
            let from: Vec<f64> = masks.concat();
            non_negative(&moments, right.col_as_slice(0), &from)
        } else {
            penalised(design.as_ref(), y, penalty.as_ref())?.col_as_slice(0).to_vec()
        };
        for k in 0..rank {
            masks[k].copy_from_slice(&found[k * n_positions..(k + 1) * n_positions]);
        }
        // ‖y‖² − 2 mᵀq + mᵀ(G + R)m
        let mut loss = size;
        for (j, m) in found.iter().enumerate() {
            let along: f64 = moments.col_as_slice(j).iter().zip(&found).map(|(g, m)| g * m).sum();
            loss += m * (along - 2.0 * right[(j, 0)]);
        }
        // Share each factor evenly anew; neither loss nor penalty changes.
        for (mask, f) in masks.iter_mut().zip(&mut features) {
            let norm = mask.iter().map(|m| m * m).sum::<f64>().sqrt();
            if norm > 0.0 {
                mask.iter_mut().for_each(|m| *m /= norm);
                f.iter_mut().for_each(|f| *f *= norm);
            }
        }
        converged = before - loss <= params.tolerance * size;
        before = loss;
    }
    let strength = |k: usize| features[k].iter().map(|f| f * f).sum::<f64>();
    let mut order: Vec<usize> = (0..rank).collect();
    order.sort_by(|&a, &b| strength(b).total_cmp(&strength(a)));
    let signs: Vec<f64> =
        masks.iter().map(|mask| if mask.iter().sum::<f64>() < 0.0 { -1.0 } else { 1.0 }).collect();
    Ok(FactorisedTarget {
        masks: Mat::from_fn(rank, n_positions, |k, p| signs[order[k]] * masks[order[k]][p]),
        features: Mat::from_fn(rank, n_channels, |k, c| signs[order[k]] * features[order[k]][c]),
        intercept: 0.0,
        alpha: f64::NAN,
        score: f64::NAN,
        n_iterations,
        converged,
    })
}

/// The m ≥ 0 that minimises mᵀGm − 2mᵀq, by coordinate descent from a point that is not negative.
fn non_negative(g: &Mat<f64>, q: &[f64], from: &[f64]) -> Vec<f64> {
    let mut m = from.to_vec();
    let along = |m: &[f64], j: usize| -> f64 { g.col_as_slice(j).iter().zip(m).map(|(g, m)| g * m).sum() };
    for _ in 0..SWEEPS {
        let (mut moved, mut size) = (0.0f64, 0.0f64);
        for j in 0..m.len() {
            if g[(j, j)] > 0.0 {
                let to = (m[j] + (q[j] - along(&m, j)) / g[(j, j)]).max(0.0);
                moved = moved.max((to - m[j]).abs());
                size = size.max(to);
                m[j] = to;
            }
        }
        if moved <= 1e-9 * size {
            break;
        }
    }
    m
}

/// Of the graph of vertical and horizontal neighbours: number of neighbours on the diagonal, −1 for each.
fn laplacian((height, width): (usize, usize)) -> Mat<f64> {
    let p = height * width;
    let mut out = Mat::zeros(p, p);
    let mut join = |a: usize, b: usize| {
        (out[(a, a)], out[(b, b)]) = (out[(a, a)] + 1.0, out[(b, b)] + 1.0);
        (out[(a, b)], out[(b, a)]) = (-1.0, -1.0);
    };
    for y in 0..height {
        for x in 0..width {
            let at = y * width + x;
            if x + 1 < width {
                join(at, at + 1);
            }
            if y + 1 < height {
                join(at, at + width);
            }
        }
    }
    out
}

fn side_by_side(blocks: &[Mat<f64>]) -> Mat<f64> {
    let width = blocks[0].ncols();
    Mat::from_fn(blocks[0].nrows(), blocks.len() * width, |i, j| blocks[j / width][(i, j % width)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::linalg::product;
    use stereotax_base::stats::rng::Stream;
    use stereotax_base::stats::summary::pearson;

    const SIDE: usize = 9;
    const CHANNELS: usize = 5;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(1, "factorised tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    /// A Gaussian mask around (x, y), and its centre of mass.
    fn blob(x: f64, y: f64, width: f64) -> Vec<f64> {
        (0..SIDE * SIDE)
            .map(|p| {
                let (dx, dy) = ((p % SIDE) as f64 - x, (p / SIDE) as f64 - y);
                (-(dx * dx + dy * dy) / (2.0 * width * width)).exp()
            })
            .collect()
    }

    fn centre(mask: &[f64]) -> (f64, f64) {
        let weight: Vec<f64> = mask.iter().map(|m| m.max(0.0).powi(2)).collect();
        let total: f64 = weight.iter().sum();
        let mean = |of: &dyn Fn(usize) -> usize| {
            weight.iter().enumerate().map(|(p, w)| w * of(p) as f64).sum::<f64>() / total
        };
        (mean(&|p| p % SIDE), mean(&|p| p / SIDE))
    }

    fn maps(values: &Mat<f64>) -> FeatureMaps<'_> {
        FeatureMaps { values: values.as_ref(), n_channels: CHANNELS, grid: Some((SIDE, SIDE)) }
    }

    fn planted(n: usize, masks: &[Vec<f64>], features: &Mat<f64>, sd: f64) -> (Mat<f64>, Mat<f64>) {
        let x = noise(n, CHANNELS * SIDE * SIDE, 2);
        let e = noise(n, masks.len(), 3);
        let y = Mat::from_fn(n, masks.len(), |i, m| {
            let signal: f64 = (0..CHANNELS)
                .flat_map(|c| (0..SIDE * SIDE).map(move |p| (c, p)))
                .map(|(c, p)| features[(c, m)] * masks[m][p] * x[(i, c * SIDE * SIDE + p)])
                .sum();
            4.0 + signal + sd * e[(i, m)]
        });
        (x, y)
    }

    fn params() -> FactorisedParams {
        FactorisedParams { alphas: vec![0.1], ..FactorisedParams::default() }
    }

    #[test]
    fn planted_masks_and_features_come_back() {
        let masks = [blob(2.3, 5.1, 1.2), blob(6.4, 3.0, 1.0)];
        let features = noise(CHANNELS, 2, 4);
        let (x, y) = planted(500, &masks, &features, 1.0);
        for non_negative in [false, true] {
            let params = FactorisedParams { non_negative, smoothness: 0.05, ..params() };
            let fit = factorised_readout(&maps(&x), y.as_ref(), &[], &params, &Monitor::silent()).unwrap();
            for (m, (found, planted)) in fit.targets.iter().zip(&masks).enumerate() {
                let mask: Vec<f64> = (0..SIDE * SIDE).map(|p| found.masks[(0, p)]).collect();
                let (a, b) = (centre(&mask), centre(planted));
                assert!((a.0 - b.0).abs() < 1.0 && (a.1 - b.1).abs() < 1.0, "{a:?} is not {b:?}");
                let f: Vec<f64> = (0..CHANNELS).map(|c| found.features[(0, c)]).collect();
                let r = pearson(&f, features.col_as_slice(m));
                assert!(r > 0.97, "features {r}");
                assert!(pearson(&mask, planted) > 0.9);
                assert!(!non_negative || mask.iter().all(|v| *v >= 0.0));
                let norm: f64 = mask.iter().map(|v| v * v).sum();
                assert!((norm - 1.0).abs() < 1e-12 && found.converged);
            }
            // The readout as weights of features.
            let predicted = product(x.as_ref(), fit.weights.as_ref());
            for m in 0..2 {
                assert!(pearson(predicted.col_as_slice(m), y.col_as_slice(m)) > 0.9);
                let mean = |v: &[f64]| v.iter().sum::<f64>() / 500.0;
                let offset = mean(y.col_as_slice(m)) - mean(predicted.col_as_slice(m));
                assert!((fit.targets[m].intercept - offset).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn two_masks_need_rank_two() {
        let features = noise(CHANNELS, 2, 5);
        let parts = [blob(1.5, 1.5, 1.0), blob(6.5, 6.5, 1.0)];
        let (x, both) = planted(700, &parts, &features, 0.3);
        let y = Mat::from_fn(700, 1, |i, _| both[(i, 0)] + both[(i, 1)]);
        let r2 = |rank| {
            let params = FactorisedParams { rank, ..params() };
            let train = x.get(..500, ..).to_owned();
            let fit = factorised_readout(&maps(&train), y.get(..500, ..), &[], &params, &Monitor::silent());
            let predicted = product(x.get(500.., ..), fit.unwrap().weights.as_ref());
            pearson(predicted.col_as_slice(0), &y.col_as_slice(0)[500..]).powi(2)
        };
        assert!(r2(1) < 0.75 && r2(2) > 0.9, "{} {}", r2(1), r2(2));
    }

    #[test]
    fn the_loss_never_rises_and_ends_where_its_gradient_does() {
        let (x, y) = planted(200, &[blob(4.0, 4.0, 1.5)], &noise(CHANNELS, 1, 6), 2.0);
        let part = parts(x.as_ref(), &[0.1], &[]).unwrap().0;
        let (centred, _) = part.target(y.col_as_slice(0));
        let full = noise(CHANNELS, SIDE * SIDE, 7);
        let lap = laplacian((SIDE, SIDE));
        let loss = |t: &FactorisedTarget| {
            let b = Mat::from_fn(x.ncols(), 1, |j, _| weights(t)[j]);
            let rest = (&centred - product(part.x.as_ref(), b.as_ref())).squared_norm_l2();
            let f = t.features.squared_norm_l2();
            let m = t.masks.transpose();
            let rough = product(m.transpose(), product(lap.as_ref(), m).as_ref())[(0, 0)];
            rest + part.mean_square * f * (0.1 * m.squared_norm_l2() + 0.3 * rough)
        };
        let mut before = f64::INFINITY;
        for rounds in [1, 2, 4, 8, 16, 200] {
            let params =
                FactorisedParams { smoothness: 0.3, max_iterations: rounds, tolerance: 1e-13, ..params() };
            let found =
                alternate(&part, centred.as_ref(), &full, 0.1, &lap, &params, &Monitor::silent()).unwrap();
            let now = loss(&found);
            assert!(now <= before * (1.0 + 1e-12), "{now} after {before}");
            before = now;
            if rounds == 200 {
                for (k, step) in (0..CHANNELS + SIDE * SIDE).flat_map(|k| [(k, 1e-4), (k, -1e-4)]) {
                    let mut moved = found.clone();
                    if k < CHANNELS {
                        moved.features[(0, k)] += step;
                    } else {
                        moved.masks[(0, k - CHANNELS)] += step;
                    }
                    assert!(loss(&moved) >= now - 1e-4, "coordinate {k}");
                }
            }
        }
    }

    #[test]
    fn a_penalty_is_chosen_by_folds_and_neighbours_make_the_laplacian() {
        let (x, y) = planted(150, &[blob(4.0, 4.0, 1.5)], &noise(CHANNELS, 1, 8), 6.0);
        let folds: Vec<Fold> = (0..3)
            .map(|f| Fold {
                name: f.to_string(),
                train: (0..150).filter(|i| i / 50 != f).collect(),
                test: (f * 50..(f + 1) * 50).collect(),
            })
            .collect();
        let params = FactorisedParams { alphas: vec![1e-6, 1.0], ..params() };
        let fit = factorised_readout(&maps(&x), y.as_ref(), &folds, &params, &Monitor::silent()).unwrap();
        assert_eq!(fit.targets[0].alpha, 1.0);
        assert!(fit.targets[0].score < 1.0);
        let lap = laplacian((2, 3));
        let expected = [
            [2.0, -1.0, 0.0, -1.0, 0.0, 0.0],
            [-1.0, 3.0, -1.0, 0.0, -1.0, 0.0],
            [0.0, -1.0, 2.0, 0.0, 0.0, -1.0],
        ];
        assert!((0..3).all(|i| (0..6).all(|j| lap[(i, j)] == expected[i][j])));
    }

    #[test]
    fn a_constant_target_keeps_its_value_and_bad_input_is_named() {
        let x = noise(20, CHANNELS * SIDE * SIDE, 9);
        let y = Mat::from_fn(20, 2, |i, m| if m == 0 { 0.7 } else { i as f64 });
        let silent = Monitor::silent();
        let fit = factorised_readout(&maps(&x), y.as_ref(), &[], &params(), &silent).unwrap();
        assert!(fit.targets[0].intercept == 0.7 && fit.targets[0].alpha.is_nan());
        assert!((0..x.ncols()).all(|j| fit.weights[(j, 0)] == 0.0));
        let refused = |maps: &FeatureMaps<'_>, params: &FactorisedParams| {
            factorised_readout(maps, y.as_ref(), &[], params, &silent).unwrap_err().to_string()
        };
        assert!(refused(&maps(&x), &FactorisedParams { rank: 6, ..params() }).contains("from 1 to 5"));
        assert!(refused(&maps(&x), &FactorisedParams { alphas: vec![0.0], ..params() }).contains("positive"));
        assert!(refused(&maps(&x), &FactorisedParams::default()).contains("folds"));
        let tokens = FeatureMaps { grid: None, ..maps(&x) };
        assert!(refused(&tokens, &FactorisedParams { smoothness: 1.0, ..params() }).contains("tokens"));
        let wrong = FeatureMaps { n_channels: 4, ..maps(&x) };
        assert!(refused(&wrong, &params()).contains("channels"));
    }

    #[test]
    fn threads_do_not_change_bits() {
        let masks = [blob(2.3, 5.1, 1.2), blob(6.4, 3.0, 1.0), blob(3.0, 3.0, 1.0)];
        let (x, y) = planted(80, &masks, &noise(CHANNELS, 3, 4), 1.0);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let params = params();
            pool.install(|| {
                factorised_readout(&maps(&x), y.as_ref(), &[], &params, &Monitor::silent()).unwrap().weights
            })
        };
        assert_eq!(run(1), run(3));
    }
}
