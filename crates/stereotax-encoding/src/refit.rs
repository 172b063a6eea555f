//! Test encoding scores against models that are fitted again to permuted responses.
//!
//! Under the null hypothesis that responses owe nothing to the features, rows of the responses may change
//! places (blocks of stimuli, or time shifted within runs). Every draw goes through all that the observed
//! responses went through, penalties chosen anew, so the p-value needs no correction for what the fit made
//! of its freedom:
//!
//! ```text
//! p_j = (1 + #{b : T_j(π_b Y) ≥ T_j(Y)}) / (1 + B)
//! ```
//!
//! and step-down max-T (Westfall & Young 1993, algorithm 2.8) over targets on the same draws. Decompositions
//! depend on features alone and are made once. Two statistics T:
//!
//! - generalised cross-validation: the largest 1 − GCV(α)/GCV(mean) over the grid, of one fit to all rows.
//!   With c = Uᵀ π y the errors of all penalties are sums of c_k² with fixed weights, so that a draw takes
//!   one product, 2 n k flops per target;
//! - held out: the correlation of predictions and responses within each outer fold, averaged with weights
//!   n_f, each fold predicted by a fit to the others that chooses its own penalty. 2 Σ_f k (n_A + n_f) flops
//!   per target and draw with penalties chosen by generalised cross-validation.
//!
//! A target that does not vary has no statistic. A statistic that a draw leaves undefined exceeds nothing.
//!
//! Source: Westfall & Young 1993; Winkler et al. 2014 for permuted responses; specs: peers 6 (W10), nfas-dmd
//! 11.5. Differs from shifting held-out predictions ([`stereotax_base::stats::score`]): no widening by √2 is needed.
//! Memory: one batch of tiles, null draws of 5,120 targets in f32, whatever the number of targets.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::reduce::check_finite;
use super::ridge::{RidgePlan, TILE};
use stereotax_base::data::{Error, Event, Fold, Monitor, Result};
use stereotax_base::linalg::{Real, select_rows};
use stereotax_base::stats::null_draws::NullDraws;
use stereotax_base::stats::summary::{is_constant, pearson, permutation_p, tie_tolerance};

/// Tiles of targets whose null draws are held at a time.
const BATCH: usize = 64;

/// A test of every target. Vectors have one entry per target.
#[derive(Debug, Clone)]
pub struct RefitTest {
    /// T; NaN where undefined.
    pub statistic: Vec<f64>,
    /// P(T of permuted responses ≥ T); NaN where T is.
    pub p_value: Vec<f64>,
    /// The same, adjusted over all targets by step-down max-T.
    pub p_adjusted: Vec<f64>,
    /// The largest statistic over all targets of each draw; −∞ where no target has one.
    pub maxima: Vec<f64>,
    /// Targets without a statistic.
    pub n_undefined: usize,
}

/// Test the best generalised cross-validation score of each target (rows of the plan × targets).
///
/// `plan` is of all rows, with [`super::Selection::Generalised`].
/// Errors: another selection, draws over other rows, targets that are not finite.
pub fn generalised_refits<T: Real>(
    plan: &RidgePlan<T>,
    y: MatRef<T>,
    draws: &NullDraws,
    monitor: &Monitor,
) -> Result<RefitTest> {
    check(y, draws)?;
    let statistic = |tile: &Mat<T>, _: usize| plan.best_generalised_scores(tile);
    test(y, plan.has_intercept(), draws, &statistic, monitor)
}

/// Test the held-out correlation of each target; `plans[f]` is fitted to the training rows of `folds[f]` and
/// predicts its test rows, in their order.
///
/// Errors: as many plans as folds needed; draws over other rows; targets that are not finite.
pub fn held_out_refits<T: Real>(
    folds: &[Fold],
    plans: &[RidgePlan<T>],
    y: MatRef<T>,
    draws: &NullDraws,
    monitor: &Monitor,
) -> Result<RefitTest> {
    check(y, draws)?;
    if folds.len() != plans.len() || folds.is_empty() {
        return Err(Error::Shape {
            what: "plans".into(),
            expected: format!("{} plans (one per fold, at least 1)", folds.len()),
            found: format!("{} plans", plans.len()),
            hint: "decompose the training rows of every outer fold".into(),
        });
    }
    let statistic = |tile: &Mat<T>, n: usize| {
        let tile = tile.get(.., ..n);
        let (mut sums, mut rows) = (vec![0.0; n], vec![0.0; n]);
        for (fold, plan) in folds.iter().zip(plans) {
            let predictions = plan.fit_deviations(select_rows(tile, &fold.train).as_ref())?.predictions;
            let observed = select_rows(tile, &fold.test);
            for j in 0..n {
                let r = pearson(&wide(predictions.col_as_slice(j)), &wide(observed.col_as_slice(j)));
                if !r.is_nan() {
                    sums[j] += fold.test.len() as f64 * r;
                    rows[j] += fold.test.len() as f64;
                }
            }
        }
        Ok(sums.iter().zip(&rows).map(|(sum, rows)| sum / rows).collect())
    };
    test(y, plans[0].has_intercept(), draws, &statistic, monitor)
}

/// Statistics of the first columns of a tile of targets, as many as the number says; the others are zero.
type Statistic<'a, T> = dyn Fn(&Mat<T>, usize) -> Result<Vec<f64>> + Sync + 'a;

/// The given columns, about their means where there is an intercept, which then changes no statistic; filled up to
/// a tile with zeros.
fn tile_of<T: Real>(y: MatRef<T>, columns: &[usize], centred: bool) -> Mat<T> {
    let mut out = Mat::zeros(y.nrows(), TILE);
    for (j, &column) in columns.iter().enumerate() {
        let mean = y.col(column).iter().map(|v| -> f64 { (*v).into() }).sum::<f64>() / y.nrows() as f64;
        let level = if centred { mean } else { 0.0 };
        let to = out.col_as_slice_mut(j).iter_mut();
        to.zip(y.col(column).iter()).for_each(|(to, from)| *to = T::from_f64((*from).into() - level));
    }
    out
}

fn wide<T: Real>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| (*v).into()).collect()
}

fn check<T: Real>(y: MatRef<T>, draws: &NullDraws) -> Result<()> {
    check_finite(y, "targets")?;
    if draws.n_samples() == y.nrows() {
        return Ok(());
    }
    Err(Error::Shape {
        what: "null draws".into(),
        expected: format!("moves of {} rows (those of the targets)", y.nrows()),
        found: format!("moves of {} rows", draws.n_samples()),
        hint: "lay out the moves over the runs and blocks of these rows".into(),
    })
}

/// Step-down max-T over tiles of targets, from the least statistic to the largest.
///
/// Running maxima of the draws over all targets so far stand in for the table of all draws.
fn test<T: Real>(
    y: MatRef<T>,
    centred: bool,
    draws: &NullDraws,
    statistic: &Statistic<'_, T>,
    monitor: &Monitor,
) -> Result<RefitTest> {
    let n_targets = y.ncols();
    let in_order: Vec<usize> = (0..n_targets).collect();
    let observed: Vec<f64> = in_order
        .par_chunks(TILE)
        .map(|columns| {
            let found = statistic(&tile_of(y, columns, centred), columns.len())?;
            let values = |j: usize| -> Vec<f64> { y.col(j).iter().map(|v| (*v).into()).collect() };
            let defined = |(j, found): (&usize, f64)| if is_constant(&values(*j)) { f64::NAN } else { found };
            Ok(columns.iter().zip(found).map(defined).collect())
        })
        .collect::<Result<Vec<Vec<f64>>>>()?
        .concat();
    let mut ascending: Vec<usize> = (0..n_targets).filter(|&j| !observed[j].is_nan()).collect();
    ascending.sort_by(|&a, &b| observed[a].total_cmp(&observed[b]));

    let n_draws = draws.n_draws();
    let mut maxima = vec![f64::NEG_INFINITY; n_draws];
    let (mut p_value, mut p_adjusted) = (vec![f64::NAN; n_targets], vec![f64::NAN; n_targets]);
    let task = || "refits to permuted responses".to_string();
    monitor.tell(Event::Started { task: task(), total: ascending.len() as u64 });
    for batch in ascending.chunks(BATCH * TILE) {
        let tiles: Vec<&[usize]> = batch.chunks(TILE).collect();
        let draws: Vec<Vec<f32>> = tiles
            .par_iter()
            .map(|columns| null_of(&tile_of(y, columns, centred), columns.len(), draws, statistic, monitor))
            .collect::<Result<_>>()?;
        for (columns, draws) in tiles.iter().zip(&draws) {
            for (at, &j) in columns.iter().enumerate() {
                let threshold = observed[j]
                    - tie_tolerance(observed[j]).max(T::ROUNDING * 16.0).max(f64::from(f32::EPSILON));
                let (mut alone, mut among) = (0, 0);
                for (draw, largest) in maxima.iter_mut().enumerate() {
                    let value = f64::from(draws[draw * columns.len() + at]);
                    alone += usize::from(value >= threshold);
                    // A NaN is no maximum.
                    *largest = largest.max(value);
                    among += usize::from(*largest >= threshold);
                }
                p_value[j] = permutation_p(alone, n_draws);
                p_adjusted[j] = permutation_p(among, n_draws);
            }
        }
        monitor.tell(Event::Advanced { done: batch.len() as u64 });
    }
    monitor.tell(Event::Finished { task: task() });
    // From the largest statistic down, an adjusted p-value is at least that of the one before.
    let mut least: f64 = 0.0;
    for &j in ascending.iter().rev() {
        least = least.max(p_adjusted[j]);
        p_adjusted[j] = least;
    }
    Ok(RefitTest {
        n_undefined: n_targets - ascending.len(),
        statistic: observed,
        p_value,
        p_adjusted,
        maxima,
    })
}

/// Statistics of one tile of targets in every draw, draw after draw.
fn null_of<T: Real>(
    tile: &Mat<T>,
    n: usize,
    draws: &NullDraws,
    statistic: &Statistic<'_, T>,
    monitor: &Monitor,
) -> Result<Vec<f32>> {
    let mut moved = tile.clone();
    let mut out = Vec::with_capacity(draws.n_draws() * n);
    for from in draws.moves() {
        monitor.check()?;
        for j in 0..n {
            // What met row t of the features now meets row `from[t]`.
            let (to, values) = (moved.col_as_slice_mut(j), tile.col_as_slice(j));
            from.iter().zip(values).for_each(|(&row, value)| to[row as usize] = *value);
        }
        out.extend(statistic(&moved, n)?.into_iter().take(n).map(|value| value as f32));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AlphaGrid, RidgeParams, Selection};
    use stereotax_base::data::{Folds, Runs};
    use stereotax_base::stats::multiplicity::max_t;
    use stereotax_base::stats::rng::Stream;
    use stereotax_base::stats::score::{NullParams, NullScheme};

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(5, "refit tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    /// Moves of single rows.
    fn draws(n: usize, n_permutations: usize) -> NullDraws {
        let block_ids = (0..n).map(|i| format!("{i:03}")).collect();
        let scheme = NullScheme::Blocks { block_ids };
        NullDraws::new(&Runs::single(n), &NullParams { scheme, n_permutations, seed: 1, spread: 1.0 })
            .unwrap()
    }

    fn params() -> RidgeParams {
        RidgeParams {
            alphas: AlphaGrid::absolute(&[0.1, 10.0, 1000.0]),
            selection: Selection::Generalised,
            ..RidgeParams::default()
        }
    }

    fn whole_plan(x: &Mat<f64>) -> RidgePlan {
        let none = Mat::zeros(0, x.ncols());
        RidgePlan::new(x.as_ref(), none.as_ref(), &[], &params()).unwrap()
    }

    fn fold_plans(x: &Mat<f64>) -> (Vec<Fold>, Vec<RidgePlan>) {
        let names: Vec<String> = (0..4).map(|i| format!("part {i}")).collect();
        let runs = Runs::from_lengths(&names, &[x.nrows() / 4; 4]).unwrap();
        let folds: Vec<Fold> = Folds::leave_one_run_out(&runs).unwrap().iter().cloned().collect();
        let rows = |rows: &[usize]| select_rows(x.as_ref(), rows);
        let plan = |fold: &Fold| {
            RidgePlan::new(rows(&fold.train).as_ref(), rows(&fold.test).as_ref(), &[], &params()).unwrap()
        };
        let plans = folds.iter().map(plan).collect();
        (folds, plans)
    }

    #[test]
    fn the_best_generalised_score_is_that_of_the_fit() {
        // Both spaces: the plan's own choice of penalty, made by another road through the code.
        for p in [7, 60] {
            let (x, y) = (noise(40, p, 1), noise(40, 3, 2));
            let plan = whole_plan(&x);
            let fit = plan.fit(y.as_ref()).unwrap();
            let found = plan.best_generalised_scores(&tile_of(y.as_ref(), &[0, 1, 2], true)).unwrap();
            for (score, fit) in found.iter().zip(&fit.inner_scores) {
                assert!((score - fit).abs() < 1e-12, "{score} {fit}");
            }
        }
    }

    #[test]
    fn every_draw_is_a_fit_to_moved_rows_and_max_t_is_that_of_the_whole_table() {
        // 90 targets are two tiles, some of them planted; draws by hand, one fit each.
        let (x, mut y) = (noise(40, 6, 3), noise(40, 90, 4));
        for j in (0..90).step_by(9) {
            (0..40).for_each(|i| y[(i, j)] += x[(i, j % 6)] * j as f64 / 40.0);
        }
        // A constant whose mean rounds, so that something is left of it about its mean.
        (0..40).for_each(|i| y[(i, 7)] = 0.1);
        let (plan, draws) = (whole_plan(&x), draws(40, 30));
        let found = generalised_refits(&plan, y.as_ref(), &draws, &Monitor::silent()).unwrap();
        let slow = |from: &[u32]| {
            let mut moved = y.clone();
            for (t, &row) in from.iter().enumerate() {
                (0..90).for_each(|j| moved[(row as usize, j)] = y[(t, j)]);
            }
            plan.fit(moved.as_ref()).unwrap().inner_scores
        };
        let observed: Vec<f64> = slow(&(0..40).collect::<Vec<u32>>());
        let null: Vec<f32> =
            draws.moves().flat_map(|from| slow(from).into_iter().map(|v| v as f32)).collect();
        let twin = max_t(&observed, &null).unwrap();
        assert!(found.statistic[7].is_nan() && found.p_value[7].is_nan() && found.n_undefined == 1);
        for j in (0..90).filter(|&j| j != 7) {
            assert!((found.statistic[j] - observed[j]).abs() < 1e-12);
            assert_eq!((found.p_value[j], found.p_adjusted[j]), (twin.p_value[j], twin.p_adjusted[j]), "{j}");
        }
        assert!(found.p_adjusted[81] == 1.0 / 31.0 && found.p_adjusted[1] > 0.2);
    }

    #[test]
    fn p_values_are_uniform_without_any_relation() {
        // 2,000 targets of noise: the share at or below .05 has an error of .005.
        let (x, y) = (noise(40, 10, 5), noise(40, 2000, 6));
        let (folds, plans) = fold_plans(&x);
        let draws = draws(40, 99);
        let held_out = held_out_refits(&folds, &plans, y.as_ref(), &draws, &Monitor::silent()).unwrap();
        let generalised =
            generalised_refits(&whole_plan(&x), y.as_ref(), &draws, &Monitor::silent()).unwrap();
        for found in [&held_out, &generalised] {
            for level in [0.05, 0.2, 0.5] {
                let share = found.p_value.iter().filter(|p| **p <= level).count() as f64 / 2000.0;
                let error = (level * (1.0 - level) / 2000.0_f64).sqrt();
                assert!((share - level).abs() < 3.5 * error, "{share} at {level}");
            }
            assert!(found.p_adjusted.iter().all(|p| *p > 0.01));
        }
    }

    #[test]
    fn held_out_correlations_are_those_of_the_folds() {
        let (x, mut y) = (noise(40, 5, 7), noise(40, 2, 8));
        (0..40).for_each(|i| y[(i, 1)] += 3.0 * x[(i, 0)]);
        let (folds, plans) = fold_plans(&x);
        let draws = draws(40, 19);
        let found = held_out_refits(&folds, &plans, y.as_ref(), &draws, &Monitor::silent()).unwrap();
        let mut r = 0.0;
        for (fold, plan) in folds.iter().zip(&plans) {
            let predicted = plan.fit(select_rows(y.as_ref(), &fold.train).as_ref()).unwrap().predictions;
            let truth: Vec<f64> = fold.test.iter().map(|&i| y[(i, 1)]).collect();
            r += pearson(predicted.col_as_slice(1), &truth) / 4.0;
        }
        assert!((found.statistic[1] - r).abs() < 1e-12 && r > 0.9);
        assert_eq!((found.p_value[1], found.p_adjusted[1]), (0.05, 0.05));
        assert!(found.p_value[0] > 0.05);
    }

    #[test]
    fn a_fold_in_which_a_target_does_not_vary_does_not_count() {
        let (x, mut y) = (noise(40, 5, 11), noise(40, 1, 12));
        (0..40).for_each(|i| y[(i, 0)] = if i < 10 { 1.5 } else { y[(i, 0)] + 2.0 * x[(i, 0)] });
        let (folds, plans) = fold_plans(&x);
        let found = held_out_refits(&folds, &plans, y.as_ref(), &draws(40, 19), &Monitor::silent()).unwrap();
        let mut r = 0.0;
        for (fold, plan) in folds.iter().zip(&plans).skip(1) {
            let predicted = plan.fit(select_rows(y.as_ref(), &fold.train).as_ref()).unwrap().predictions;
            let truth: Vec<f64> = fold.test.iter().map(|&i| y[(i, 0)]).collect();
            r += pearson(predicted.col_as_slice(0), &truth) / 3.0;
        }
        assert!((found.statistic[0] - r).abs() < 1e-12 && r > 0.5, "{} {r}", found.statistic[0]);
    }

    #[test]
    fn the_bits_do_not_depend_on_threads() {
        let (x, y) = (noise(40, 12, 9), noise(40, 200, 10));
        let draws = draws(40, 9);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                generalised_refits(&whole_plan(&x), y.as_ref(), &draws, &Monitor::silent()).unwrap()
            })
        };
        let (one, three) = (on(1), on(3));
        assert_eq!(
            (one.statistic, one.p_adjusted, one.maxima),
            (three.statistic, three.p_adjusted, three.maxima)
        );
    }
}
