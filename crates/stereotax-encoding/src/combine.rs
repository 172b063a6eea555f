//! Predict one held-out fold from all layers of a network together: each layer's ridge weighed per target, or one
//! ridge with a weight per layer.
//!
//! Let p_l (n) be what layer l predicts of training rows that were held out of the fit, ŷ_l what it predicts of the
//! test rows, and ȳ the mean over the training rows. For one target
//!
//! ```text
//! stacked   a = argmin ‖Σ_l a_l (y − p_l)‖²,  a ≥ 0, Σ a = 1        ŷ = Σ_l a_l ŷ_l
//! banded    K_γ = Σ_l γ_l K_l, K_l = X_l X_lᵀ/width_l, γ on the simplex; γ and α by inner cross-validation
//! shares    r²_l = Σ_t ŷ'_l (2 y' − ŷ') / Σ_t y'²                   ' : minus ȳ;  Σ_l r²_l = 1 − Σ(y − ŷ)²/Σy'²
//! ```
//!
//! ŷ'_l is a_l (ŷ_l − ȳ) when stacked, and the part of layer l in the joint prediction when banded. Kernels are
//! divided by the widths of the layers, so that equal γ are equal variances. Weights read training rows alone.
//!
//! Source: Breiman 1996 (stacking); Nunez-Elizalde, Huth & Gallant 2019 (bands, product measure); specs:
//! alignment-methods B6.1, B17. Cost: stacked, that of every layer's [`FoldPlan`] and O(n L² R) for L layers and R
//! targets; banded, one decomposition of the training rows per candidate for γ.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::alphas::AlphaScale;
use super::banded::{KernelSearchParams, search_kernels, simplex_candidates};
use super::kernel::{Kernel, kernel_matrix, own_kernel};
use super::nested::{EncodingParams, FoldFeatures, FoldPlan, FoldPrediction, FoldRows, design, fold_rows};
use super::stacking::stack_held_out;
use stereotax_base::data::{Error, Fold, Monitor, Result};
use stereotax_base::linalg::{column_means, product, select_rows};

/// One subject's test rows, predicted from all layers. Vectors have one entry per target.
#[derive(Debug, Clone)]
pub struct CombinedFold {
    /// The samples predicted.
    pub rows: Vec<usize>,
    /// `rows` × targets; NaN for a target that is constant over the training rows.
    pub predictions: Mat<f64>,
    /// a or γ, layers × targets; each column sums to 1, NaN where undefined.
    pub weights: Mat<f64>,
    /// Σ_t ŷ'_l (2 y' − ŷ') over the test rows (layers × targets).
    pub shares: Mat<f64>,
    /// Σ_t y'² over the test rows.
    pub totals: Vec<f64>,
    /// R² of the combined model inside the training rows, by weights chosen on the same rows.
    pub inner_scores: Vec<f64>,
    /// Penalty as a multiple of the mean eigenvalue of K_γ; NaN when stacked, where every layer has its own.
    pub alpha_multiples: Vec<f64>,
    /// Targets at the smallest and at the largest penalty of the grid.
    pub n_at_edges: [usize; 2],
}

/// Fit every layer by itself and weigh their predictions (see the module).
///
/// `targets[s]` is samples × targets of subject s. Errors: no layer, and those of [`FoldPlan`].
pub fn stacked_fold(
    layers: &[FoldFeatures<'_>],
    targets: &[MatRef<'_, f64>],
    fold: &Fold,
    inner: &[Fold],
    params: &EncodingParams,
) -> Result<Vec<CombinedFold>> {
    check_layers(layers)?;
    let fits: Vec<Vec<FoldPrediction>> = layers
        .par_iter()
        .map(|layer| {
            let plan = FoldPlan::new(layer, fold, inner, params)?;
            targets.iter().map(|y| plan.fit_with_inner(*y)).collect()
        })
        .collect::<Result<_>>()?;
    targets
        .iter()
        .enumerate()
        .map(|(subject, y)| stack(&fits.iter().map(|of_layer| &of_layer[subject]).collect::<Vec<_>>(), *y))
        .collect()
}

/// One outer fold with every layer decomposed, for any number of tiles of targets: [`stacked_fold`] of each.
#[derive(Debug)]
pub struct StackedPlan {
    plans: Vec<FoldPlan>,
}

impl StackedPlan {
    /// Do the work on features. Errors: no layer, and those of [`FoldPlan`].
    pub fn new(
        layers: &[FoldFeatures<'_>],
        fold: &Fold,
        inner: &[Fold],
        params: &EncodingParams,
    ) -> Result<Self> {
        check_layers(layers)?;
        let plans = layers.par_iter().map(|layer| FoldPlan::new(layer, fold, inner, params));
        Ok(StackedPlan { plans: plans.collect::<Result<_>>()? })
    }

    /// Fit every layer to `y` (samples × targets) and weigh their predictions.
    pub fn fit(&self, y: MatRef<'_, f64>) -> Result<CombinedFold> {
        let fits: Vec<FoldPrediction> =
            self.plans.par_iter().map(|plan| plan.fit_with_inner(y)).collect::<Result<_>>()?;
        stack(&fits.iter().collect::<Vec<_>>(), y)
    }
}

fn stack(fits: &[&FoldPrediction], y: MatRef<f64>) -> Result<CombinedFold> {
    let inner: Vec<_> = fits.iter().filter_map(|fit| fit.inner.as_ref()).collect();
    let observed = select_rows(y, &inner[0].rows);
    let held_out: Vec<MatRef<f64>> = inner.iter().map(|inner| inner.values.as_ref()).collect();
    let weights = stack_held_out(observed.as_ref(), &held_out)?;
    let (n_layers, n_targets) = (fits.len(), y.ncols());
    let means = column_means(observed.as_ref());
    let parts: Vec<Mat<f64>> = (0..n_layers)
        .map(|l| {
            let predicted = &fits[l].predictions;
            Mat::from_fn(predicted.nrows(), n_targets, |t, j| {
                weights[(l, j)] * (predicted[(t, j)] - means[j])
            })
        })
        .collect();
    let inner_scores = (0..n_targets)
        .map(|j| {
            let (mut error, mut total) = (0.0, 0.0);
            for t in 0..observed.nrows() {
                let mixed: f64 = (0..n_layers).map(|l| weights[(l, j)] * held_out[l][(t, j)]).sum();
                error += (observed[(t, j)] - mixed).powi(2);
                total += (observed[(t, j)] - means[j]).powi(2);
            }
            1.0 - error / total
        })
        .collect();
    // Σ a = 1, so that this is ȳ + Σ ŷ'_l; as it stands, a layer with weight 1 keeps its bits.
    let predictions = Mat::from_fn(fits[0].rows.len(), n_targets, |t, j| {
        (0..n_layers).map(|l| weights[(l, j)] * fits[l].predictions[(t, j)]).sum()
    });
    let (shares, totals) = product_sums(&parts, y, &fits[0].rows, &means);
    Ok(CombinedFold {
        rows: fits[0].rows.clone(),
        predictions,
        weights,
        shares,
        totals,
        inner_scores,
        alpha_multiples: vec![f64::NAN; n_targets],
        n_at_edges: [0, 0],
    })
}

/// Fit one ridge whose bands are the layers, with the best of `n_candidates` weights γ per target (see the module).
///
/// Errors: no layer, penalties that are not above 0, and those of the search.
pub fn banded_fold(
    layers: &[FoldFeatures<'_>],
    targets: &[MatRef<'_, f64>],
    fold: &Fold,
    inner: &[Fold],
    params: &EncodingParams,
    (n_candidates, seed): (usize, u64),
    monitor: &Monitor<'_>,
) -> Result<Vec<CombinedFold>> {
    let plan = BandedPlan::new(layers, fold, inner, params, (n_candidates, seed))?;
    targets.iter().map(|y| plan.fit(*y, monitor)).collect()
}

/// One outer fold with the kernels of all layers, for any number of tiles of targets: [`banded_fold`] of each.
#[derive(Debug)]
pub struct BandedPlan {
    rows: FoldRows,
    /// Of the training rows, and of test rows against these, per layer.
    kernels: Vec<(Mat<f64>, Mat<f64>)>,
    /// Mean eigenvalue of each kernel about its mean.
    sizes: Vec<f64>,
    search: KernelSearchParams,
    params: EncodingParams,
}

impl BandedPlan {
    /// Make the kernels. Errors: those of [`banded_fold`].
    pub fn new(
        layers: &[FoldFeatures<'_>],
        fold: &Fold,
        inner: &[Fold],
        params: &EncodingParams,
        (n_candidates, seed): (usize, u64),
    ) -> Result<Self> {
        check_layers(layers)?;
        let rows = fold_rows(&layers[0], &[], fold, inner, params)?;
        let kernels: Vec<(Mat<f64>, Mat<f64>)> = layers
            .par_iter()
            .map(|layer| {
                let (design, ..) = design(layer, &rows.train, params)?;
                let size = 1.0 / (design.ncols().max(1) as f64).sqrt();
                let scaled = |of: &[usize]| faer::Scale(size) * select_rows(design.as_ref(), of);
                let (x_train, x_test) = (scaled(&rows.train), scaled(&rows.test));
                let own = own_kernel(x_train.as_ref(), Kernel::Linear)?;
                Ok((own, kernel_matrix(x_test.as_ref(), x_train.as_ref(), Kernel::Linear)?))
            })
            .collect::<Result<_>>()?;
        let n = rows.train.len() as f64;
        let sizes = kernels
            .iter()
            .map(|(k, _)| {
                let trace: f64 = (0..k.nrows()).map(|i| k[(i, i)]).sum();
                let all: f64 = k.col_iter().map(|c| c.iter().sum::<f64>()).sum();
                (trace - all / n) / n
            })
            .collect();
        let search = KernelSearchParams {
            gammas: simplex_candidates(layers.len(), n_candidates, seed),
            alphas: params.alphas.clone(),
            selection: params.selection,
            intercept: params.intercept,
            refine: 0,
        };
        Ok(BandedPlan { rows, kernels, sizes, search, params: params.clone() })
    }

    /// Fit `y` (samples × targets), with the best weights per target.
    ///
    /// Cost: one decomposition of the training rows per candidate, however many targets.
    pub fn fit(&self, y: MatRef<'_, f64>, monitor: &Monitor<'_>) -> Result<CombinedFold> {
        let BandedPlan { rows, kernels, sizes, search, params } = self;
        let own: Vec<MatRef<f64>> = kernels.iter().map(|(own, _)| own.as_ref()).collect();
        let y_train = select_rows(y, &rows.train);
        let fit = search_kernels(&own, y_train.as_ref(), &rows.inner, search, monitor)?;
        let n_targets = y.ncols();
        let parts: Vec<Mat<f64>> = kernels
            .par_iter()
            .enumerate()
            .map(|(l, (_, across))| {
                let mut part = tiled_product(across.as_ref(), &fit.coefficients);
                for j in 0..n_targets {
                    let (gamma, offset) = (fit.gammas[(l, j)], fit.offsets[(l, j)]);
                    part.col_as_slice_mut(j).iter_mut().for_each(|v| *v = gamma * *v - offset);
                }
                part
            })
            .collect();
        let alpha_multiples: Vec<f64> = (0..n_targets)
            .map(|j| {
                let size: f64 = sizes.iter().enumerate().map(|(l, size)| fit.gammas[(l, j)] * size).sum();
                fit.alphas[j] / size
            })
            .collect();
        let (shares, totals) = product_sums(&parts, y, &rows.test, &fit.means);
        Ok(CombinedFold {
            predictions: Mat::from_fn(rows.test.len(), n_targets, |t, j| {
                parts.iter().map(|part| part[(t, j)]).sum::<f64>() + fit.means[j]
            }),
            rows: rows.test.clone(),
            weights: fit.gammas,
            shares,
            totals,
            inner_scores: (0..n_targets)
                .map(|j| if fit.chosen[j].is_some() { fit.scores[j] } else { f64::NAN })
                .collect(),
            n_at_edges: at_edges(&alpha_multiples, params),
            alpha_multiples,
        })
    }
}

/// Columns of a product at a time; the last tile is filled up with zeros, so that a column has the same bits in any
/// company.
const TILE: usize = 80;

/// a · b, by tiles of columns of b.
fn tiled_product(a: MatRef<f64>, b: &Mat<f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    for from in (0..b.ncols()).step_by(TILE) {
        let width = TILE.min(b.ncols() - from);
        let tile = Mat::from_fn(b.nrows(), TILE, |i, j| if j < width { b[(i, from + j)] } else { 0.0 });
        let found = product(a, tile.as_ref());
        (0..width).for_each(|j| out.col_as_slice_mut(from + j).copy_from_slice(found.col_as_slice(j)));
    }
    out
}

/// How many penalties are the smallest, and the largest, of a grid of multiples.
fn at_edges(multiples: &[f64], params: &EncodingParams) -> [usize; 2] {
    match (params.alphas.scale, params.alphas.values.as_slice()) {
        // Multiples went through a product and a quotient: equal up to rounding.
        (AlphaScale::MeanSquare, [first, .., last]) => {
            [first, last].map(|edge| multiples.iter().filter(|m| (**m - edge).abs() <= 1e-9 * edge).count())
        }
        _ => [0, 0],
    }
}

/// Σ_t ŷ'_l (2 y' − ŷ') per layer and target, and Σ_t y'² per target.
fn product_sums(parts: &[Mat<f64>], y: MatRef<f64>, rows: &[usize], means: &[f64]) -> (Mat<f64>, Vec<f64>) {
    let n_targets = y.ncols();
    let mut shares = Mat::zeros(parts.len(), n_targets);
    let mut totals = vec![0.0; n_targets];
    for j in 0..n_targets {
        for (t, &row) in rows.iter().enumerate() {
            let observed = y[(row, j)] - means[j];
            let joint: f64 = parts.iter().map(|part| part[(t, j)]).sum();
            for (l, part) in parts.iter().enumerate() {
                shares[(l, j)] += part[(t, j)] * (2.0 * observed - joint);
            }
            totals[j] += observed * observed;
        }
    }
    (shares, totals)
}

fn check_layers(layers: &[FoldFeatures<'_>]) -> Result<()> {
    match layers.is_empty() {
        false => Ok(()),
        true => Err(Error::TooFew {
            what: "layers".into(),
            needed: "1 layer".into(),
            found: "none".into(),
            hint: "give the features of at least one layer".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ridge::Selection;
    use crate::{InnerScheme, Solver, inner_folds};
    use stereotax_base::data::{Folds, Runs};
    use stereotax_base::stats::rng::Stream;

    const N: usize = 120;

    /// Three layers of latents of their own in 6, 10 and 30 units; targets: layer 0, layers 0 and 2 as 3 : 1 in
    /// variance, noise, a constant.
    fn data() -> (Vec<Mat<f64>>, Mat<f64>, Runs) {
        let mut stream = Stream::new(31, "combine tests", 0);
        let z: Vec<Mat<f64>> = (0..3).map(|_| Mat::from_fn(N, 3, |_, _| stream.normal())).collect();
        let layers = [6, 10, 30]
            .iter()
            .zip(&z)
            .map(|(&width, z)| {
                let mixing = Mat::from_fn(3, width, |_, _| stream.normal());
                product(z.as_ref(), mixing.as_ref()) + Mat::from_fn(N, width, |_, _| 0.2 * stream.normal())
            })
            .collect();
        let y = Mat::from_fn(N, 4, |i, j| match j {
            0 => 2.0 * z[0][(i, 0)] + 0.5 * stream.normal() + 5.0,
            1 => 3f64.sqrt() * z[0][(i, 1)] + z[2][(i, 0)] + 0.5 * stream.normal(),
            2 => stream.normal(),
            _ => 1.5,
        });
        (layers, y, Runs::single(N))
    }

    fn fold() -> Fold {
        let (train, test) = (0..N).partition(|i| i % 4 != 0);
        Fold { name: "held".into(), train, test }
    }

    fn params() -> EncodingParams {
        EncodingParams { reduce: None, ..EncodingParams::default() }
    }

    fn inner(runs: &Runs) -> Vec<Fold> {
        inner_folds(runs, &fold(), InnerScheme::Blocks { n_folds: 5, gap: 0 }).unwrap()
    }

    fn of<'a>(layers: &'a [Mat<f64>], runs: &'a Runs) -> Vec<FoldFeatures<'a>> {
        layers.iter().map(|layer| FoldFeatures { values: layer.as_ref(), runs, tr_s: 1.0 }).collect()
    }

    fn checks(found: &CombinedFold, y: &Mat<f64>) {
        let (means, rows) = (column_means(select_rows(y.as_ref(), &fold().train).as_ref()), fold().test);
        assert_eq!(found.rows, rows);
        for j in 0..3 {
            let sum: f64 = (0..3).map(|l| found.weights[(l, j)]).sum();
            assert!((sum - 1.0).abs() < 1e-12 && (0..3).all(|l| found.weights[(l, j)] >= 0.0));
            let error: f64 =
                rows.iter().enumerate().map(|(t, &i)| (y[(i, j)] - found.predictions[(t, j)]).powi(2)).sum();
            let total: f64 = rows.iter().map(|&i| (y[(i, j)] - means[j]).powi(2)).sum();
            assert!((found.totals[j] - total).abs() < 1e-9 * total);
            let shares: f64 = (0..3).map(|l| found.shares[(l, j)]).sum();
            assert!((shares / total - (1.0 - error / total)).abs() < 1e-10, "{j}: {shares} {error} {total}");
        }
        // A target that does not vary has nothing.
        assert!(found.weights[(0, 3)].is_nan() && found.predictions[(0, 3)].is_nan());
        assert!(found.inner_scores[3].is_nan());
        // The planted layers. Of the mixture, stacking leaves 2.8 and 0.44 of 4.25 to them: 1.3 (2 · 1.73 − 1.3), and
        // 0.25 (2 − 0.25).
        let alone = |l: usize| found.shares[(l, 0)] / found.totals[0];
        assert!(alone(0) > 0.7 && alone(1).abs() < 0.1 && alone(2).abs() < 0.1, "{}", alone(0));
        let part = |l: usize| found.shares[(l, 1)] / found.totals[1];
        assert!(
            part(0) > 0.5 && part(2) > 0.05 && part(1).abs() < 0.05,
            "{} {} {}",
            part(0),
            part(1),
            part(2)
        );
    }

    #[test]
    fn stacking_recovers_planted_layers_and_their_mixture() {
        let (layers, y, runs) = data();
        let features = of(&layers, &runs);
        let found =
            stacked_fold(&features, &[y.as_ref()], &fold(), &inner(&runs), &params()).unwrap().remove(0);
        checks(&found, &y);
        // Of two sources of 3 : 1 in variance the best weights on the simplex are 3/4 and 1/4; their standard error is
        // √(1/4/90) = .05.
        assert!((found.weights[(0, 1)] - 0.75).abs() < 0.2, "{}", found.weights[(0, 1)]);
        assert!((found.weights[(2, 1)] - 0.25).abs() < 0.2 && found.weights[(0, 0)] > 0.85);
        // One layer alone is that layer, to the bit.
        let alone = stacked_fold(&features[..1], &[y.as_ref()], &fold(), &inner(&runs), &params()).unwrap();
        let plan = FoldPlan::new(&features[0], &fold(), &inner(&runs), &params()).unwrap();
        let plain = plan.fit(y.as_ref()).unwrap();
        for j in 0..3 {
            assert_eq!(alone[0].predictions.col_as_slice(j), plain.predictions.col_as_slice(j));
            assert!((alone[0].inner_scores[j] - plain.inner_scores[j]).abs() < 0.05);
        }
    }

    #[test]
    fn weights_do_not_look_at_the_held_out_rows() {
        let (layers, y, runs) = data();
        let features = of(&layers, &runs);
        let other = Mat::from_fn(N, 4, |i, j| if i % 4 == 0 { -7.0 * y[(i, j)] + 1.0 } else { y[(i, j)] });
        let of = |y: &Mat<f64>| {
            [
                stacked_fold(&features, &[y.as_ref()], &fold(), &inner(&runs), &params()).unwrap().remove(0),
                banded_fold(
                    &features,
                    &[y.as_ref()],
                    &fold(),
                    &inner(&runs),
                    &params(),
                    (12, 1),
                    &Monitor::silent(),
                )
                .unwrap()
                .remove(0),
            ]
        };
        for (a, b) in of(&y).iter().zip(of(&other)) {
            for j in 0..3 {
                assert_eq!(a.weights.col_as_slice(j), b.weights.col_as_slice(j));
                assert_eq!(a.predictions.col_as_slice(j), b.predictions.col_as_slice(j));
                assert_ne!(a.shares.col_as_slice(j), b.shares.col_as_slice(j));
            }
        }
    }

    #[test]
    fn bands_recover_planted_layers_and_one_band_is_a_ridge() {
        let (layers, y, runs) = data();
        let features = of(&layers, &runs);
        let fit = |layers: &[FoldFeatures<'_>], selection, n_candidates| {
            let params = EncodingParams { selection, ..params() };
            let inner = if selection == Selection::Folds { inner(&runs) } else { vec![] };
            banded_fold(
                layers,
                &[y.as_ref()],
                &fold(),
                &inner,
                &params,
                (n_candidates, 3),
                &Monitor::silent(),
            )
            .unwrap()
            .remove(0)
        };
        for selection in [Selection::Folds, Selection::LeaveOneOut, Selection::Generalised] {
            checks(&fit(&features, selection, 60), &y);
            // One layer: γ is 1 and what is left is ridge; its penalties are multiples of the same mean eigenvalue
            // over n, so the grids differ where there are fewer units than rows.
            let one = fit(&features[2..], selection, 60);
            let inner = if selection == Selection::Folds { inner(&runs) } else { vec![] };
            let mut ridge = EncodingParams { selection, ..params() };
            ridge.alphas.values.iter_mut().for_each(|a| *a *= 30.0 / 90.0);
            let plan = FoldPlan::new(&features[2], &fold(), &inner, &ridge).unwrap();
            let plain = plan.fit(y.as_ref()).unwrap();
            for j in 0..3 {
                assert_eq!(one.weights[(0, j)], 1.0);
                let off = (one.inner_scores[j] - plain.inner_scores[j]).abs();
                assert!(off < 1e-8 || selection != Selection::Folds, "{off}");
                for t in 0..one.rows.len() {
                    assert!((one.predictions[(t, j)] - plain.predictions[(t, j)]).abs() < 1e-8);
                }
                assert!((one.alpha_multiples[j] * 30.0 / 90.0 - plain.alpha_multiples[j]).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn subjects_and_targets_have_the_same_bits_in_any_company() {
        let (layers, y, runs) = data();
        let features = of(&layers, &runs);
        let wide = Mat::from_fn(N, 200, |i, j| y[(i, j % 3)] + (j as f64) * (i % 7) as f64 * 0.01);
        let (all, few) = (wide.as_ref(), wide.get(.., 100..103));
        let stacked = stacked_fold(&features, &[all, few], &fold(), &inner(&runs), &params()).unwrap();
        let banded = banded_fold(
            &features,
            &[all, few],
            &fold(),
            &inner(&runs),
            &params(),
            (8, 1),
            &Monitor::silent(),
        )
        .unwrap();
        for found in [stacked, banded] {
            for j in 0..3 {
                let (a, b) = (&found[0], &found[1]);
                assert_eq!(a.predictions.col_as_slice(100 + j), b.predictions.col_as_slice(j));
                assert_eq!(a.weights.col_as_slice(100 + j), b.weights.col_as_slice(j));
            }
        }
    }

    #[test]
    fn layers_may_be_fitted_by_kernels_or_components_and_none_is_refused() {
        let (layers, y, runs) = data();
        let features = of(&layers, &runs);
        let folds = Folds::k_fold(&(0..N).map(|i| format!("{i:03}")).collect::<Vec<_>>(), 4, 2).unwrap();
        let fold = folds[0].clone();
        let inner = inner_folds(&runs, &fold, InnerScheme::Blocks { n_folds: 5, gap: 0 }).unwrap();
        for solver in
            [Solver::KernelRidge { kernel: Kernel::Rbf { gamma: None } }, Solver::Pls { n_components: 3 }]
        {
            let params = EncodingParams { solver, ..params() };
            let found = stacked_fold(&features, &[y.as_ref()], &fold, &inner, &params).unwrap().remove(0);
            assert!(found.weights[(0, 0)] > 0.8 && found.shares[(0, 0)] / found.totals[0] > 0.5);
        }
        assert!(stacked_fold(&[], &[y.as_ref()], &fold, &inner, &params()).is_err());
    }
}
