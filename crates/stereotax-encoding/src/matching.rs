//! Pair units of a model with units of a brain by their tuning, and score the pairs on stimuli that did not make
//! them.
//!
//! With r_ij the Pearson correlation of unit i with target j over training rows,
//!
//! ```text
//! best unit    m(j) = argmax_i r_ij                                        (a unit may serve many targets)
//! one to one   m = argmax Σ_j r_{m(j) j}, no unit twice                    (assignment)
//! soft         T = argmax Σ_ij T_ij r_ij, rows of T sum to 1/n, columns to 1/m   (transport)
//! ```
//!
//! Scores are on the held-out rows of each fold, averaged over folds: r of a target with its unit, or for soft
//! matching Σ_i T_ij r_ij m, the mean correlation with what its column holds. Where there are more targets than
//! units, one to one leaves targets without a unit; they have no score. Correlations with a unit or target
//! that does not vary count as 0 when pairs are made, and have no score.
//!
//! Source: specs: alignment-methods B6.2 (neuron to neuron); Li et al. 2015 (one to one); Khosla & Williams 2024
//! (soft matching). Soft matching of equal sizes is one to one. Cost per fold: O(n units targets) for
//! correlations, then O(k³) for one to one with k = max(units, targets), and that of [`uniform_transport`] for
//! soft matching.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::reduce::check_finite;
use stereotax_base::data::{Error, Fold, Result};
use stereotax_base::linalg::{assignment, cross, select_rows, uniform_transport};

/// How units are paired with targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    /// Each target with the unit that correlates most.
    #[default]
    BestUnit,
    /// Each unit with one target at most.
    OneToOne,
    /// By transport with uniform marginals.
    Soft,
}

/// Choices of a matching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MatchParams {
    /// Default `BestUnit`.
    pub matching: Matching,
}

/// Pairs, and how well they hold.
#[derive(Debug, Clone)]
pub struct Matched {
    /// Mean over folds of the correlation on held-out rows, per target; NaN where no fold has one.
    pub scores: Vec<f64>,
    /// The unit of each target on all rows; `None` without one, and for soft matching.
    pub units: Vec<Option<usize>>,
    /// Weights of units × targets on all rows: T of soft matching; else 1/targets for each pair.
    pub plan: Mat<f64>,
    /// Σ T_ij r_ij on all rows: what the pairing maximised, on the rows that made it.
    pub similarity: f64,
}

/// Pair the units of `x` (rows × units) with the targets of `y` (rows × targets).
///
/// Errors: rows that differ, values that are not finite, folds that overlap or have fewer than 3 rows a side.
pub fn match_units(x: MatRef<f64>, y: MatRef<f64>, folds: &[Fold], params: &MatchParams) -> Result<Matched> {
    check(x, y, folds)?;
    let all: Vec<usize> = (0..x.nrows()).collect();
    let found: Vec<Vec<f64>> = folds
        .par_iter()
        .map(|fold| {
            let plan = plan(&correlations(x, y, &fold.train), params.matching);
            let held_out = correlations(x, y, &fold.test);
            (0..y.ncols())
                .map(|j| {
                    let pairs = (0..x.ncols()).filter(|&i| plan[(i, j)] > 0.0);
                    let (sum, weight) = pairs.fold((0.0, 0.0), |(sum, weight), i| {
                        (sum + plan[(i, j)] * held_out[(i, j)], weight + plan[(i, j)])
                    });
                    sum / weight
                })
                .collect()
        })
        .collect();
    let scores = (0..y.ncols())
        .map(|j| {
            let defined: Vec<f64> = found.iter().map(|fold| fold[j]).filter(|r| !r.is_nan()).collect();
            defined.iter().sum::<f64>() / defined.len() as f64
        })
        .collect();
    let r = correlations(x, y, &all);
    let plan = plan(&r, params.matching);
    let units = (0..y.ncols())
        .map(|j| match params.matching {
            Matching::Soft => None,
            _ => (0..x.ncols()).find(|&i| plan[(i, j)] > 0.0),
        })
        .collect();
    let at = (0..y.ncols()).flat_map(|j| (0..x.ncols()).map(move |i| (i, j)));
    let similarity = at.filter(|&at| plan[at] > 0.0 && !r[at].is_nan()).map(|at| plan[at] * r[at]).sum();
    Ok(Matched { scores, units, plan, similarity })
}

fn plan(r: &Mat<f64>, matching: Matching) -> Mat<f64> {
    let (n_units, n_targets) = (r.nrows(), r.ncols());
    let known = |i: usize, j: usize| if r[(i, j)].is_nan() { 0.0 } else { r[(i, j)] };
    let mut plan = Mat::zeros(n_units, n_targets);
    match matching {
        Matching::BestUnit => {
            for j in 0..n_targets {
                let best =
                    (0..n_units).fold(0, |best, i| if known(i, j) > known(best, j) { i } else { best });
                plan[(best, j)] = 1.0 / n_targets as f64;
            }
        }
        Matching::OneToOne => {
            // Square with rows or columns that cost nothing to go to: correlations are no more than 1.
            let size = n_units.max(n_targets);
            let cost =
                Mat::from_fn(
                    size,
                    size,
                    |i, j| {
                        if i < n_units && j < n_targets { 1.0 - known(i, j) } else { 0.0 }
                    },
                );
            for (i, &j) in assignment(cost.as_ref()).iter().enumerate() {
                if i < n_units && j < n_targets {
                    plan[(i, j)] = 1.0 / n_targets as f64;
                }
            }
        }
        Matching::Soft => {
            let cost = Mat::from_fn(n_units, n_targets, |i, j| 1.0 - known(i, j));
            plan = uniform_transport(cost.as_ref());
        }
    }
    plan
}

/// Pearson correlations of units with targets over some rows; NaN where one does not vary.
fn correlations(x: MatRef<f64>, y: MatRef<f64>, rows: &[usize]) -> Mat<f64> {
    let standard = |z: MatRef<f64>| {
        let mut z = select_rows(z, rows);
        for j in 0..z.ncols() {
            let column = z.col_as_slice_mut(j);
            let size = column.iter().map(|v| v.abs()).fold(0.0, f64::max);
            let mean = column.iter().sum::<f64>() / column.len() as f64;
            column.iter_mut().for_each(|v| *v -= mean);
            let length = column.iter().map(|v| v * v).sum::<f64>().sqrt();
            let scale = if length > 1e-12 * size { 1.0 / length } else { f64::NAN };
            column.iter_mut().for_each(|v| *v *= scale);
        }
        z
    };
    cross(standard(x).as_ref(), standard(y).as_ref())
}

fn check(x: MatRef<f64>, y: MatRef<f64>, folds: &[Fold]) -> Result<()> {
    let n = x.nrows();
    if y.nrows() != n || x.ncols() == 0 || y.ncols() == 0 {
        return Err(Error::Shape {
            what: "targets".into(),
            expected: format!("{n} rows (those of the units), at least one unit and target"),
            found: format!("{} rows, {} units, {} targets", y.nrows(), x.ncols(), y.ncols()),
            hint: "rows must be the same stimuli in order".into(),
        });
    }
    check_finite(x, "units")?;
    check_finite(y, "targets")?;
    folds.iter().try_for_each(|fold| fold.check("fold", n, 3, 3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(43, "matching tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn folds(n: usize) -> Vec<Fold> {
        (0..4)
            .map(|f| Fold {
                name: format!("{f}"),
                train: (0..n).filter(|i| i % 4 != f).collect(),
                test: (0..n).filter(|i| i % 4 == f).collect(),
            })
            .collect()
    }

    fn of(matching: Matching) -> MatchParams {
        MatchParams { matching }
    }

    #[test]
    fn shuffled_units_are_found_again() {
        let y = noise(40, 6, 0);
        let e = noise(40, 9, 1);
        // Unit i is target order[i], with noise; units 6, 7, 8 are noise.
        let order = [3, 0, 5, 1, 4, 2];
        let x =
            Mat::from_fn(
                40,
                9,
                |t, i| if i < 6 { -2.0 + y[(t, order[i])] + 0.2 * e[(t, i)] } else { e[(t, i)] },
            );
        for matching in [Matching::BestUnit, Matching::OneToOne] {
            let found = match_units(x.as_ref(), y.as_ref(), &folds(40), &of(matching)).unwrap();
            for (i, &j) in order.iter().enumerate() {
                assert_eq!(found.units[j], Some(i));
                assert!(found.scores[j] > 0.9);
            }
        }
        let square = x.get(.., ..6);
        let soft = match_units(square, y.as_ref(), &folds(40), &of(Matching::Soft)).unwrap();
        let one = match_units(square, y.as_ref(), &folds(40), &of(Matching::OneToOne)).unwrap();
        assert!(
            (&soft.plan - &one.plan).norm_max() < 1e-15 && (soft.similarity - one.similarity).abs() < 1e-14
        );
        assert_eq!(soft.scores, one.scores);
    }

    #[test]
    fn one_unit_may_serve_twice_only_where_it_may() {
        // Both targets are most like unit 0; unit 1 is a little like target 1.
        let (base, e) = (noise(60, 2, 2), noise(60, 2, 3));
        let x = base.clone();
        let y = Mat::from_fn(60, 2, |t, j| base[(t, 0)] + 0.3 * e[(t, j)] + 0.3 * (j as f64) * base[(t, 1)]);
        let best = match_units(x.as_ref(), y.as_ref(), &folds(60), &of(Matching::BestUnit)).unwrap();
        let one = match_units(x.as_ref(), y.as_ref(), &folds(60), &of(Matching::OneToOne)).unwrap();
        assert_eq!((best.units, one.units), (vec![Some(0), Some(0)], vec![Some(0), Some(1)]));
        assert!(best.scores[1] > one.scores[1]);
        // More targets than units: one is left over.
        let narrow = match_units(x.get(.., ..1), y.as_ref(), &folds(60), &of(Matching::OneToOne)).unwrap();
        assert_eq!(narrow.units.iter().filter(|u| u.is_none()).count(), 1);
        assert_eq!(narrow.scores.iter().filter(|s| s.is_nan()).count(), 1);
    }

    #[test]
    fn scores_are_of_rows_that_did_not_make_the_pairs() {
        // Noise against noise: the best of 200 units correlates on its own rows, not on others.
        let (x, y) = (noise(40, 200, 4), noise(40, 30, 5));
        let found = match_units(x.as_ref(), y.as_ref(), &folds(40), &of(Matching::BestUnit)).unwrap();
        let mean = found.scores.iter().sum::<f64>() / 30.0;
        assert!(mean.abs() < 0.12 && found.similarity > 0.35, "{mean} {}", found.similarity);
    }

    #[test]
    fn what_does_not_vary_has_no_score() {
        let (x, mut y) = (noise(40, 3, 6), noise(40, 2, 7));
        (0..40).for_each(|t| y[(t, 1)] = 4.0);
        for matching in [Matching::BestUnit, Matching::OneToOne, Matching::Soft] {
            let found = match_units(x.as_ref(), y.as_ref(), &folds(40), &of(matching)).unwrap();
            assert!(found.scores[1].is_nan() && found.scores[0].is_finite() && found.similarity.is_finite());
        }
        let short = [Fold { name: "a".into(), train: (0..38).collect(), test: vec![38, 39] }];
        assert!(match_units(x.as_ref(), y.as_ref(), &short, &MatchParams::default()).is_err());
    }
}
