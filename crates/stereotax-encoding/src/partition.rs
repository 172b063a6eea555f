//! Divide the variance that sets of features explain into what each has alone and what they share.
//!
//! R²(S) is the out-of-sample R² of the model of the sets in S: 1 − Σ(y − ŷ)²/Σ(y − ȳ)², with ȳ the mean of
//! each test fold. With U all sets and g(B) = R²(U) − R²(U∖B), the cell of A ⊆ U,
//!
//! ```text
//! cell(A) = Σ_{B ⊆ A} (−1)^{|A| − |B|} g(B)
//! ```
//!
//! is what exactly the sets in A have in common and no other has. For two sets these are
//! unique_A = R²(AB) − R²(B), unique_B = R²(AB) − R²(A) and shared = R²(A) + R²(B) − R²(AB). All cells add up
//! to R²(U). A cell can be negative: sets that explain more together than their sum (suppression). Nothing is
//! clipped. R²(U) below the R² of a part means that the joint model overfits: use banded ridge.
//!
//! The product measure divides R² of one joint model by its parts ŷ = Σ_A ŷ_A:
//! R²_A = Σ ŷ_A(2y − ŷ)/Σ y², which adds up to R² exactly; y and all ŷ_A are centred on each test fold.
//!
//! Source: Nunez-Elizalde, Huth & Gallant 2019; Dupré la Tour et al. 2022 (product measure); specs:
//! alignment-methods B17. Cost: O(2^k n m) for k sets.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use stereotax_base::data::{Error, Result};
use stereotax_base::stats::summary::{check_finite, column, is_constant};

/// More sets than this have too many cells to read.
const MOST_SETS: usize = 6;

/// The partition of every target.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// R² of each model, 2^k − 1 × targets: row S − 1 is that of the sets whose bits are set in S.
    pub r2: Mat<f64>,
    /// Cells in the same order: row A − 1 is what exactly the sets of A have in common.
    pub cells: Mat<f64>,
    /// Targets with a negative cell beyond rounding (suppression, or noise).
    pub negative: Vec<bool>,
    /// Targets whose joint model predicts worse than a part of it.
    pub overfitted: Vec<bool>,
    /// Targets that do not vary on the test rows: NaN everywhere.
    pub n_undefined: usize,
}

/// Divide the variance of `observed` (rows × targets) by the predictions of all 2^k − 1 models.
///
/// `predictions[S − 1]` are held-out predictions of the model of the sets whose bits are set in S: for two
/// sets A, B and both. `folds` names the test fold of each row (empty: one fold).
/// Errors: a number of predictions that is no 2^k − 1, different shapes, values that are not finite.
pub fn variance_partition(
    observed: MatRef<f64>,
    predictions: &[MatRef<f64>],
    folds: &[usize],
) -> Result<Partition> {
    check_models(predictions.len())?;
    check(observed, predictions, folds)?;
    let centred = Centred::new(folds, observed.nrows());
    let by_target: Vec<Vec<f64>> = (0..observed.ncols())
        .into_par_iter()
        .map(|j| {
            let y = column(observed, j);
            let total = centred.squares(&y);
            predictions
                .iter()
                .map(|p| {
                    if total.is_nan() {
                        return f64::NAN;
                    }
                    let rest: f64 = y.iter().zip(p.col(j).iter()).map(|(y, p)| (y - p) * (y - p)).sum();
                    1.0 - rest / total
                })
                .collect()
        })
        .collect();
    partition_of_r2(Mat::from_fn(predictions.len(), by_target.len(), |s, j| by_target[j][s]).as_ref())
}

/// Divide known R² of all 2^k − 1 models (models × targets; row S − 1 is that of the sets whose bits are set in S).
///
/// A target without R² has none of its cells. Errors: a number of rows that is no 2^k − 1.
pub fn partition_of_r2(r2: MatRef<f64>) -> Result<Partition> {
    let models = r2.nrows();
    check_models(models)?;
    let of_target = |j: usize| -> Vec<f64> {
        let of = |set: usize| if set == 0 { 0.0 } else { r2[(set - 1, j)] };
        (1..=models)
            .map(|a: usize| {
                (0..=a)
                    .filter(|b| b & a == *b)
                    .map(|b| {
                        let sign =
                            if (a.count_ones() - b.count_ones()).is_multiple_of(2) { 1.0 } else { -1.0 };
                        sign * (of(models) - of(models & !b))
                    })
                    .sum()
            })
            .collect()
    };
    let cells: Vec<Vec<f64>> = (0..r2.ncols()).map(of_target).collect();
    let tolerance = |j: usize| 1e-12 * r2.col(j).iter().fold(1.0, |m: f64, v| m.max(v.abs()));
    Ok(Partition {
        negative: cells.iter().enumerate().map(|(j, c)| c.iter().any(|c| *c < -tolerance(j))).collect(),
        overfitted: (0..cells.len())
            .map(|j| r2.col(j).iter().any(|part| *part > r2[(models - 1, j)] + tolerance(j)))
            .collect(),
        n_undefined: (0..cells.len()).filter(|&j| r2[(0, j)].is_nan()).count(),
        r2: r2.to_owned(),
        cells: Mat::from_fn(models, cells.len(), |a, j| cells[j][a]),
    })
}

fn check_models(found: usize) -> Result<()> {
    let n_sets = (found + 1).trailing_zeros() as usize;
    if found + 1 == 1 << n_sets && (1..=MOST_SETS).contains(&n_sets) {
        return Ok(());
    }
    Err(Error::Invalid {
        what: "predictions".into(),
        expected: format!("one matrix for every combination of 1 to {MOST_SETS} sets (1, 3, 7, …)"),
        found: found.to_string(),
        hint: "for sets A and B: the models of A, of B and of both".into(),
    })
}

/// The product measure: parts × targets, with columns that add up to the R² of the sum of the parts.
///
/// `parts`: held-out predictions of each set within one joint model (rows × targets). Levels are taken out of
/// `observed` and the parts on each test fold. NaN for a target that does not vary.
/// Errors: no part, different shapes, values that are not finite.
pub fn product_measure(observed: MatRef<f64>, parts: &[MatRef<f64>], folds: &[usize]) -> Result<Mat<f64>> {
    if parts.is_empty() {
        return Err(Error::TooFew {
            what: "parts".into(),
            needed: "1 part".into(),
            found: "0".into(),
            hint: "give the prediction of each set within the joint model".into(),
        });
    }
    check(observed, parts, folds)?;
    let centred = Centred::new(folds, observed.nrows());
    let by_target: Vec<Vec<f64>> = (0..observed.ncols())
        .into_par_iter()
        .map(|j| {
            let y = column(observed, j);
            let total = centred.squares(&y);
            let y = centred.series(y);
            let parts: Vec<Vec<f64>> = parts.iter().map(|p| centred.series(column(*p, j))).collect();
            let twice_less: Vec<f64> =
                (0..y.len()).map(|i| 2.0 * y[i] - parts.iter().map(|p| p[i]).sum::<f64>()).collect();
            parts.iter().map(|p| p.iter().zip(&twice_less).map(|(a, b)| a * b).sum::<f64>() / total).collect()
        })
        .collect();
    Ok(Mat::from_fn(parts.len(), by_target.len(), |a, j| by_target[j][a]))
}

/// Rows of each test fold.
struct Centred {
    rows: Vec<Vec<usize>>,
}

impl Centred {
    fn new(folds: &[usize], n: usize) -> Self {
        if folds.is_empty() {
            return Centred { rows: vec![(0..n).collect()] };
        }
        let mut rows = vec![Vec::new(); folds.iter().max().map_or(0, |most| most + 1)];
        folds.iter().enumerate().for_each(|(row, &fold)| rows[fold].push(row));
        rows.retain(|rows| !rows.is_empty());
        Centred { rows }
    }

    fn series(&self, mut x: Vec<f64>) -> Vec<f64> {
        for rows in &self.rows {
            let level = rows.iter().map(|&i| x[i]).sum::<f64>() / rows.len() as f64;
            rows.iter().for_each(|&i| x[i] -= level);
        }
        x
    }

    /// Sum of squares about the folds' means; NaN where no fold varies.
    fn squares(&self, x: &[f64]) -> f64 {
        let varies = |rows: &Vec<usize>| !is_constant(&rows.iter().map(|&i| x[i]).collect::<Vec<_>>());
        if !self.rows.iter().any(varies) {
            return f64::NAN;
        }
        self.series(x.to_vec()).iter().map(|v| v * v).sum()
    }
}

fn check(observed: MatRef<f64>, predictions: &[MatRef<f64>], folds: &[usize]) -> Result<()> {
    let (n, m) = (observed.nrows(), observed.ncols());
    let shape = |what: &str, expected: String, found: String| Error::Shape {
        what: what.into(),
        expected,
        found,
        hint: "all predictions are of the same held-out rows and targets".into(),
    };
    check_finite("observed", observed)?;
    for (i, p) in predictions.iter().enumerate() {
        let what = format!("predictions[{i}]");
        if (p.nrows(), p.ncols()) != (n, m) {
            return Err(shape(&what, format!("{n} × {m} values"), format!("{} × {}", p.nrows(), p.ncols())));
        }
        check_finite(&what, *p)?;
    }
    if !folds.is_empty() && folds.len() != n {
        return Err(shape("folds", format!("{n} entries (one per row)"), folds.len().to_string()));
    }
    if let Some(&fold) = folds.iter().find(|&&fold| fold >= n) {
        return Err(shape("folds", format!("numbers below {n}"), fold.to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    /// Two orthogonal, centred series of variance 1 (Helmert-like, exact).
    fn orthogonal() -> (Vec<f64>, Vec<f64>) {
        let a = (0..400).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let b = (0..400).map(|i| if i / 2 % 2 == 0 { 1.0 } else { -1.0 }).collect();
        (a, b)
    }

    fn as_column(x: &[f64]) -> Mat<f64> {
        Mat::from_fn(x.len(), 1, |i, _| x[i])
    }

    /// The least-squares prediction of y from some orthogonal or single series (all centred).
    fn on(y: &[f64], x: &[f64]) -> Vec<f64> {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let slope = dot(x, y) / dot(x, x);
        x.iter().map(|v| slope * v).collect()
    }

    fn cells(y: &[f64], models: &[Vec<f64>]) -> (Vec<f64>, Partition) {
        let models: Vec<Mat<f64>> = models.iter().map(|m| as_column(m)).collect();
        let views: Vec<MatRef<f64>> = models.iter().map(|m| m.as_ref()).collect();
        let found = variance_partition(as_column(y).as_ref(), &views, &[]).unwrap();
        ((0..models.len()).map(|a| found.cells[(a, 0)]).collect(), found)
    }

    #[test]
    fn suppression_of_the_specs_fixture_is_negative_and_flagged() {
        // y = a, A = a + e, B = e: R²_A = .5, R²_B = 0, R²_AB = 1 (the spec's .499, .000, 1.000 by simulation).
        let (a, e) = orthogonal();
        let both: Vec<f64> = a.iter().zip(&e).map(|(a, e)| a + e).collect();
        let (cells, found) = cells(&a, &[on(&a, &both), on(&a, &e), a.clone()]);
        let expected = [1.0, 0.5, -0.5];
        cells.iter().zip(expected).for_each(|(c, e)| assert!((c - e).abs() < 1e-12, "{cells:?}"));
        assert_eq!((found.negative.clone(), found.overfitted.clone()), (vec![true], vec![false]));
        assert!((found.r2[(0, 0)] - 0.5).abs() < 1e-12);
    }

    #[test]
    fn two_sets_that_share_a_part() {
        // y = 3a + 4e, var 25: A has a, B has e and a: unique A 0, unique B 16/25, shared 9/25.
        let (a, e) = orthogonal();
        let y: Vec<f64> = a.iter().zip(&e).map(|(a, e)| 3.0 * a + 4.0 * e).collect();
        let (cells, found) = cells(&y, &[on(&y, &a), y.clone(), y.clone()]);
        let expected = [0.0, 0.64, 0.36];
        cells.iter().zip(expected).for_each(|(c, e)| assert!((c - e).abs() < 1e-12, "{cells:?}"));
        assert_eq!(found.negative, [false]);
    }

    #[test]
    fn cells_of_three_sets_add_up_and_equal_inclusion_and_exclusion() {
        let mut stream = Stream::new(1, "partition tests", 0);
        let y: Vec<f64> = (0..200).map(|_| stream.normal()).collect();
        let models: Vec<Vec<f64>> =
            (0..7).map(|s| y.iter().map(|v| 0.1 * s as f64 * v + 0.3 * stream.normal()).collect()).collect();
        let (found, partition) = cells(&y, &models);
        let r2: Vec<f64> = (0..7).map(|s| partition.r2[(s, 0)]).collect();
        let [a, b, ab, c, ac, bc, abc] = r2.try_into().unwrap();
        let expected = [
            abc - bc,
            abc - ac,
            ac + bc - c - abc,
            abc - ab,
            ab + bc - b - abc,
            ab + ac - a - abc,
            abc - ab - ac - bc + a + b + c,
        ];
        found.iter().zip(expected).for_each(|(f, e)| assert!((f - e).abs() < 1e-12));
        assert!((found.iter().sum::<f64>() - abc).abs() < 1e-12);
    }

    #[test]
    fn an_overfitted_joint_model_is_flagged_and_a_constant_target_undefined() {
        let (a, e) = orthogonal();
        let worse: Vec<f64> = a.iter().zip(&e).map(|(a, e)| a + 0.5 * e).collect();
        assert_eq!(cells(&a, &[a.clone(), on(&a, &e), worse]).1.overfitted, [true]);
        let flat = vec![0.1; 400];
        let (found, partition) = cells(&flat, &[a.clone(), e.clone(), a]);
        assert!(found.iter().all(|c| c.is_nan()) && partition.n_undefined == 1);
        assert_eq!((partition.negative, partition.overfitted), (vec![false], vec![false]));
    }

    #[test]
    fn the_product_measure_adds_up_and_levels_of_folds_do_not_matter() {
        let mut stream = Stream::new(2, "partition tests", 1);
        let y = Mat::from_fn(60, 2, |_, _| stream.normal());
        let parts: Vec<Mat<f64>> = (0..3)
            .map(|a| Mat::from_fn(60, 2, |i, j| 0.1 * a as f64 * y[(i, j)] + 0.2 * stream.normal()))
            .collect();
        let folds: Vec<usize> = (0..60).map(|i| i / 20).collect();
        let views: Vec<MatRef<f64>> = parts.iter().map(|p| p.as_ref()).collect();
        let found = product_measure(y.as_ref(), &views, &folds).unwrap();
        let lift = |x: &Mat<f64>, by: f64| Mat::from_fn(60, 2, |i, j| x[(i, j)] + by * folds[i] as f64);
        let lifted: Vec<Mat<f64>> = parts.iter().map(|p| lift(p, -3.0)).collect();
        let views: Vec<MatRef<f64>> = lifted.iter().map(|p| p.as_ref()).collect();
        let again = product_measure(lift(&y, 5.0).as_ref(), &views, &folds).unwrap();
        assert!((&found - &again).norm_max() < 1e-12);
        let centred = Centred::new(&folds, 60);
        for j in 0..2 {
            let y = centred.series(column(y.as_ref(), j));
            let sum = centred.series((0..60).map(|i| parts.iter().map(|p| p[(i, j)]).sum()).collect());
            let rest: f64 = y.iter().zip(&sum).map(|(y, s)| (y - s).powi(2)).sum();
            let r2 = 1.0 - rest / y.iter().map(|v| v * v).sum::<f64>();
            assert!(((0..3).map(|a| found[(a, j)]).sum::<f64>() - r2).abs() < 1e-12);
        }
    }

    #[test]
    fn r2_takes_the_mean_of_each_test_fold() {
        // Levels differ between folds; predicting each level alone explains nothing within folds.
        let y = as_column(&[1.0, 3.0, 11.0, 13.0]);
        let levels = as_column(&[2.0, 2.0, 12.0, 12.0]);
        let one = variance_partition(y.as_ref(), &[levels.as_ref()], &[0, 0, 1, 1]).unwrap();
        assert!(one.r2[(0, 0)].abs() < 1e-15);
        assert!(variance_partition(y.as_ref(), &[levels.as_ref()], &[]).unwrap().r2[(0, 0)] > 0.9);
    }

    #[test]
    fn wrong_input_is_named() {
        let (y, p) = (Mat::<f64>::zeros(4, 2), Mat::<f64>::zeros(4, 2));
        let refused = |models: &[MatRef<f64>], folds: &[usize]| {
            variance_partition(y.as_ref(), models, folds).unwrap_err().to_string()
        };
        assert!(refused(&[p.as_ref(), p.as_ref()], &[]).contains("every combination"));
        assert!(refused(&[], &[]).contains("every combination"));
        assert!(refused(&[p.get(..3, ..)], &[]).contains("4 × 2 values"));
        assert!(refused(&[p.as_ref()], &[0]).contains("4 entries"));
        assert!(product_measure(y.as_ref(), &[], &[]).is_err());
    }
}
