//! Test whether scores differ between groups, by one-way and two-way analysis of variance with permutation
//! p-values.
//!
//! - One way, N values y in g groups: F = (SS_A/(g−1))/(SS_W/(N−g)), η² = SS_A/SS_T. Labels are permuted.
//!   Post-hoc: the same test for each pair of groups, adjusted by Holm's method.
//! - Two ways (modality × network), any numbers per cell: each term's sum of squares is what it adds to
//!   the others that do not contain it (type II); the error is that of the full model. p-values permute
//!   the residuals of the model without the term (Freedman & Lane 1983), which for the interaction keeps
//!   the main effects in place.
//!
//! Rows are put into an order of their own (by group and value) before anything is drawn, so that input
//! order changes nothing. Source: specs: nfas-dmd 11.5; Freedman & Lane 1983; Anderson & ter Braak 2003.
//! Cost: one way O(N) per permutation; two ways O(N·cells).

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::multiplicity::holm;
use super::permanova::{CHUNK, LABEL_SHUFFLES, check_objects, restrict};
use super::rng::Stream;
use super::shuffles::{Exchange, PermutationParams, PermutationSupport, Shuffles};
use super::summary::{check_finite, is_constant, mean, permutation_p, tie_tolerance};
use crate::data::{Error, Labels, Monitor, Result};
use crate::linalg::{cross, product, svd};

/// Directions below this share of the largest singular value add nothing to a model.
const RANK_CUT: f64 = 1e-9;

/// The result of a one-way analysis.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OneWay {
    /// F in [0, ∞]; NaN if no value differs.
    pub f: f64,
    /// Share of the sum of squares between groups, in [0, 1].
    pub eta2: f64,
    /// Permutation p-value (large F is extreme).
    pub p_value: f64,
    /// Mean per group, in the order of the groups' names.
    pub group_mean: Vec<f64>,
    /// Values per group.
    pub group_sizes: Vec<usize>,
    /// Every pair of groups.
    pub pairs: Vec<PairDifference>,
    /// What the permutations can support.
    pub support: PermutationSupport,
}

/// The difference between two groups' means.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PairDifference {
    /// Name of the first group.
    pub first: String,
    /// Name of the second group.
    pub second: String,
    /// Mean of the first minus mean of the second.
    pub difference: f64,
    /// Two-sided permutation p-value within the pair; NaN if no value differs or each has one value.
    pub p_value: f64,
    /// Adjusted over pairs by Holm's method.
    pub p_adjusted: f64,
}

/// One term of a two-way analysis.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Term {
    /// F; NaN where the term has no degree of freedom or the error none.
    pub f: f64,
    /// Degrees of freedom.
    pub df: usize,
    /// Type II sum of squares.
    pub sum_of_squares: f64,
    /// Share in the total sum of squares.
    pub eta2: f64,
    /// Permutation p-value (large F is extreme).
    pub p_value: f64,
}

/// The result of a two-way analysis.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TwoWay {
    /// The first factor.
    pub first: Term,
    /// The second factor.
    pub second: Term,
    /// Their interaction.
    pub interaction: Term,
    /// Degrees of freedom of the error.
    pub df_error: usize,
    /// Sum of squares of the error.
    pub ss_error: f64,
    /// Residual permutations drawn.
    pub n_permutations: usize,
}

/// One-way analysis of `values` over the groups of `labels`.
///
/// Errors: a value that is not finite, labels that do not match, fewer than two groups, no more values than
/// groups.
pub fn one_way(
    values: &[f64],
    labels: &Labels,
    params: &PermutationParams,
    monitor: &Monitor,
) -> Result<OneWay> {
    check_values(values)?;
    labels.check_for_test("labels", values.len())?;
    check_objects(values.len(), labels.n_groups())?;
    let test = permute_values(values, labels, params, monitor)?;
    let group_mean: Vec<f64> = (0..labels.n_groups())
        .map(|c| mean(&labels.members(c).iter().map(|&i| values[i]).collect::<Vec<_>>()))
        .collect();
    let mut pairs = Vec::new();
    for first in 0..labels.n_groups() {
        for second in first + 1..labels.n_groups() {
            let kept: Vec<usize> =
                (0..values.len()).filter(|&i| [first, second].contains(&labels.codes()[i])).collect();
            let exchange = match &params.exchange {
                Exchange::Free => Exchange::Free,
                Exchange::Families(f) => Exchange::Families(restrict(f, &kept)),
                Exchange::Strata(s) => Exchange::Strata(restrict(s, &kept)),
            };
            let p_value = if kept.len() > 2 {
                let values: Vec<f64> = kept.iter().map(|&i| values[i]).collect();
                let params = PermutationParams { exchange, ..params.clone() };
                permute_values(&values, &restrict(labels, &kept), &params, monitor)?.p_value
            } else {
                f64::NAN
            };
            pairs.push(PairDifference {
                first: labels.names()[first].clone(),
                second: labels.names()[second].clone(),
                difference: group_mean[first] - group_mean[second],
                p_value,
                p_adjusted: f64::NAN,
            });
        }
    }
    let adjusted = holm(&pairs.iter().map(|p| p.p_value).collect::<Vec<_>>());
    pairs.iter_mut().zip(adjusted).for_each(|(pair, p)| pair.p_adjusted = p);
    Ok(OneWay {
        f: test.f,
        eta2: test.eta2,
        p_value: test.p_value,
        group_mean,
        group_sizes: labels.sizes(),
        pairs,
        support: test.support,
    })
}

/// Two-way analysis of `values` over two factors and their interaction.
///
/// `n_permutations` and `seed` of `params` are used; the exchange must be free. Errors: values or labels
/// that do not match, a factor with one level, a full model that leaves nothing for the error.
pub fn two_way(
    values: &[f64],
    first: &Labels,
    second: &Labels,
    params: &PermutationParams,
    monitor: &Monitor,
) -> Result<TwoWay> {
    check_values(values)?;
    first.check_for_test("first factor", values.len())?;
    second.check_for_test("second factor", values.len())?;
    if params.exchange != Exchange::Free {
        return Err(Error::Refused {
            what: "a restricted two-way permutation".into(),
            reason: "residuals of a fitted model cannot be exchanged by family".into(),
            hint: "average the scores of each family first".into(),
        });
    }
    let n = values.len();
    let mut order: Vec<usize> = (0..n).collect();
    let key = |i: usize| (first.codes()[i], second.codes()[i]);
    order.sort_by(|&i, &k| key(i).cmp(&key(k)).then(values[i].total_cmp(&values[k])));
    let y = Mat::from_fn(n, 1, |i, _| values[order[i]]);
    let cells = Labels::new(
        &(0..n).map(|i| format!("{:06} {:06}", first.codes()[i], second.codes()[i])).collect::<Vec<_>>(),
    );
    let dummies =
        |labels: &Labels| Mat::from_fn(n, labels.n_groups(), |i, c| f64::from(labels.codes()[order[i]] == c));
    let (a, b) = (dummies(first), dummies(second));
    let both =
        Mat::from_fn(
            n,
            a.ncols() + b.ncols(),
            |i, j| {
                if j < a.ncols() { a[(i, j)] } else { b[(i, j - a.ncols())] }
            },
        );
    let full = basis(dummies(&cells).as_ref())?;
    if full.ncols() >= n {
        return Err(Error::TooFew {
            what: "values".into(),
            needed: format!("{} values (more than cells)", full.ncols() + 1),
            found: format!("{n} values"),
            hint: "an interaction needs a cell with two values".into(),
        });
    }
    let df_error = n - full.ncols();
    let total = {
        let centre = mean(values);
        values.iter().map(|v| (v - centre).powi(2)).sum::<f64>()
    };
    let (basis_a, basis_b, basis_both) = (basis(a.as_ref())?, basis(b.as_ref())?, basis(both.as_ref())?);
    let defined = !is_constant(values);
    let test = |reduced: &Mat<f64>, larger: &Mat<f64>, purpose: &str| -> Result<Term> {
        let added = basis(without(larger.as_ref(), reduced.as_ref()).as_ref())?;
        let residuals = without(y.as_ref(), reduced.as_ref());
        let design = Design { added: &added, full: &full, df_error };
        let f = design.f(residuals.as_ref());
        let draws: Vec<Result<usize>> = (0..params.n_permutations.div_ceil(CHUNK))
            .into_par_iter()
            .map(|chunk| {
                monitor.check()?;
                let draws = chunk * CHUNK..params.n_permutations.min((chunk + 1) * CHUNK);
                Ok(draws
                    .filter(|&index| {
                        let moved = Stream::new(params.seed, purpose, index as u64).permutation(n);
                        let moved = Mat::from_fn(n, 1, |i, _| residuals[(moved[i], 0)]);
                        design.f(moved.as_ref()) >= f - tie_tolerance(f)
                    })
                    .count())
            })
            .collect();
        let mut n_exceeding = 0;
        for draw in draws {
            n_exceeding += draw?;
        }
        let sum_of_squares = design.added_squares(residuals.as_ref());
        let f = if defined && added.ncols() > 0 { f } else { f64::NAN };
        Ok(Term {
            f,
            df: added.ncols(),
            sum_of_squares,
            eta2: if defined { sum_of_squares / total } else { f64::NAN },
            p_value: if f.is_nan() { f64::NAN } else { permutation_p(n_exceeding, params.n_permutations) },
        })
    };
    Ok(TwoWay {
        first: test(&basis_b, &basis_both, "residuals, first factor")?,
        second: test(&basis_a, &basis_both, "residuals, second factor")?,
        interaction: test(&basis_both, &full, "residuals, interaction")?,
        df_error,
        ss_error: without(y.as_ref(), full.as_ref()).squared_norm_l2(),
        n_permutations: params.n_permutations,
    })
}

/// Orthonormal bases of what a term adds and of the full model.
struct Design<'a> {
    added: &'a Mat<f64>,
    full: &'a Mat<f64>,
    df_error: usize,
}

impl Design<'_> {
    fn added_squares(&self, residuals: MatRef<f64>) -> f64 {
        cross(self.added.as_ref(), residuals).squared_norm_l2()
    }

    fn f(&self, residuals: MatRef<f64>) -> f64 {
        let error = residuals.squared_norm_l2() - cross(self.full.as_ref(), residuals).squared_norm_l2();
        let error = error.max(0.0) / self.df_error as f64;
        self.added_squares(residuals) / self.added.ncols() as f64 / error
    }
}

/// An orthonormal basis of the columns of x.
fn basis(x: MatRef<f64>) -> Result<Mat<f64>> {
    let found = svd(x)?;
    // Dummies have columns of length 1 or more: what is far smaller is rounding.
    let cut = RANK_CUT * found.s.first().copied().unwrap_or(0.0).max(1.0);
    let rank = found.s.iter().take_while(|&&s| s > cut).count();
    Ok(found.u.get(.., ..rank).to_owned())
}

/// x without its part in the span of the orthonormal columns of `q`.
fn without(x: MatRef<f64>, q: MatRef<f64>) -> Mat<f64> {
    x.to_owned() - product(q, cross(q, x).as_ref())
}

/// A one-way F with its permutation p-value.
pub(crate) struct OneWayTest {
    pub f: f64,
    pub eta2: f64,
    pub p_value: f64,
    pub support: PermutationSupport,
}

fn permute_values(
    values: &[f64],
    labels: &Labels,
    params: &PermutationParams,
    monitor: &Monitor,
) -> Result<OneWayTest> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &k| labels.codes()[i].cmp(&labels.codes()[k]).then(values[i].total_cmp(&values[k])));
    one_way_permutation(values, values, labels, &order, params, monitor)
}

/// F of `observed` over labels, against F of `exchanged` over permuted labels, drawn in `order`.
pub(crate) fn one_way_permutation(
    observed: &[f64],
    exchanged: &[f64],
    labels: &Labels,
    order: &[usize],
    params: &PermutationParams,
    monitor: &Monitor,
) -> Result<OneWayTest> {
    let codes: Vec<usize> = order.iter().map(|&i| labels.codes()[i]).collect();
    let shuffles = Shuffles::new(&codes, labels.n_groups(), order, params, LABEL_SHUFFLES)?;
    let codes: Vec<u32> = codes.iter().map(|&c| c as u32).collect();
    let observed: Vec<f64> = order.iter().map(|&i| observed[i]).collect();
    let exchanged: Vec<f64> = order.iter().map(|&i| exchanged[i]).collect();
    let sums = GroupSums::new(&observed, labels.n_groups());
    let among = sums.among(&codes, &mut sums.scratch());
    let f = sums.f(among);
    let nulls = GroupSums::new(&exchanged, labels.n_groups());
    let threshold = f - tie_tolerance(f);
    let chunks: Vec<Result<usize>> = (0..shuffles.len().div_ceil(CHUNK))
        .into_par_iter()
        .map(|chunk| {
            monitor.check()?;
            let (mut codes, mut scratch) = (vec![0; codes.len()], nulls.scratch());
            let mut n_exceeding = 0;
            for index in chunk * CHUNK..shuffles.len().min((chunk + 1) * CHUNK) {
                shuffles.write(index, &mut codes);
                let null = nulls.f(nulls.among(&codes, &mut scratch));
                n_exceeding += usize::from(null >= threshold || null == f);
            }
            Ok(n_exceeding)
        })
        .collect();
    let mut n_exceeding = 0;
    for chunk in chunks {
        n_exceeding += chunk?;
    }
    let defined = sums.total > 0.0;
    Ok(OneWayTest {
        f: if defined { f } else { f64::NAN },
        eta2: if defined { among / sums.total } else { f64::NAN },
        p_value: if defined { permutation_p(n_exceeding, shuffles.len()) } else { f64::NAN },
        support: shuffles.support().clone(),
    })
}

/// Centred values, ready to be summed by group.
struct GroupSums {
    centred: Vec<f64>,
    total: f64,
    n_groups: usize,
}

impl GroupSums {
    fn new(values: &[f64], n_groups: usize) -> Self {
        let centre = mean(values);
        let flat = is_constant(values);
        let centred: Vec<f64> = values.iter().map(|v| if flat { 0.0 } else { v - centre }).collect();
        GroupSums { total: centred.iter().map(|v| v * v).sum(), centred, n_groups }
    }

    fn scratch(&self) -> Vec<(f64, f64)> {
        vec![(0.0, 0.0); self.n_groups]
    }

    /// SS_A of a labelling.
    fn among(&self, codes: &[u32], scratch: &mut [(f64, f64)]) -> f64 {
        scratch.fill((0.0, 0.0));
        for (value, &code) in self.centred.iter().zip(codes) {
            let (sum, count) = &mut scratch[code as usize];
            *sum += value;
            *count += 1.0;
        }
        scratch.iter().filter(|s| s.1 > 0.0).map(|(sum, count)| sum * sum / count).sum()
    }

    fn f(&self, among: f64) -> f64 {
        let (n, g) = (self.centred.len() as f64, self.n_groups as f64);
        let within = self.total - among;
        // What is left of a total after rounding is no spread.
        let within = if within <= 1e-14 * self.total { 0.0 } else { within };
        among / (g - 1.0) / (within / (n - g))
    }
}

fn check_values(values: &[f64]) -> Result<()> {
    check_finite("values", MatRef::from_column_major_slice(values, values.len(), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_way_by_hand() {
        // 1, 2, 3 | 5, 6, 7: SS_A = 6·2² = 24, SS_W = 4, F = 24/(4/4) = 24, η² = 24/28.
        let labels = Labels::new(&["a", "a", "a", "b", "b", "b"]);
        let params = PermutationParams::default();
        let found = one_way(&[1.0, 2.0, 3.0, 5.0, 6.0, 7.0], &labels, &params, &Monitor::silent()).unwrap();
        assert!((found.f - 24.0).abs() < 1e-12 && (found.eta2 - 24.0 / 28.0).abs() < 1e-15);
        // 20 labellings; the observed one and its mirror.
        assert_eq!(found.p_value, 0.1);
        assert_eq!((found.pairs[0].difference, found.pairs[0].p_adjusted), (-4.0, 0.1));
        let flat = one_way(&[0.1; 6], &labels, &params, &Monitor::silent()).unwrap();
        assert!(flat.f.is_nan() && flat.p_value.is_nan() && flat.eta2.is_nan());
    }

    #[test]
    fn two_way_by_hand_in_a_balanced_design() {
        // Cells (0, 0): 1, 3; (0, 1): 5, 7; (1, 0): 2, 4; (1, 1): 14, 16. Cell means 2, 6, 3, 15.
        let y = [1.0, 3.0, 5.0, 7.0, 2.0, 4.0, 14.0, 16.0];
        let a = Labels::new(&["p", "p", "p", "p", "q", "q", "q", "q"]);
        let b = Labels::new(&["u", "u", "v", "v", "u", "u", "v", "v"]);
        let params = PermutationParams { n_permutations: 499, ..Default::default() };
        let found = two_way(&y, &a, &b, &params, &Monitor::silent()).unwrap();
        // Effects: a ±2.5, b ±4, interaction ±2; 8 values each; error 8·1 with 4 degrees of freedom.
        let expected =
            [(50.0, found.first.clone()), (128.0, found.second.clone()), (32.0, found.interaction.clone())];
        for (ss, term) in expected {
            assert!((term.sum_of_squares - ss).abs() < 1e-10 && term.df == 1, "{term:?}");
            assert!((term.f - ss / 2.0).abs() < 1e-9);
            assert!((term.eta2 - ss / 218.0).abs() < 1e-12);
        }
        assert!((found.ss_error - 8.0).abs() < 1e-10 && found.df_error == 4);
        // Input order changes nothing.
        let turn = |l: &Labels| restrict(l, &[7, 3, 1, 0, 2, 6, 5, 4]);
        let y: Vec<f64> = [7, 3, 1, 0, 2, 6, 5, 4].iter().map(|&i| y[i]).collect();
        assert_eq!(two_way(&y, &turn(&a), &turn(&b), &params, &Monitor::silent()).unwrap(), found);
    }

    #[test]
    fn strong_main_effects_do_not_make_an_interaction() {
        let cells: Vec<(usize, usize)> = (0..60).map(|i| (i % 3, i / 3 % 4)).collect();
        let a = Labels::new(&cells.iter().map(|c| format!("a{}", c.0)).collect::<Vec<_>>());
        let b = Labels::new(&cells.iter().map(|c| format!("b{}", c.1)).collect::<Vec<_>>());
        let params = PermutationParams { n_permutations: 99, ..Default::default() };
        let mut rare = 0;
        for seed in 0..100 {
            let mut stream = Stream::new(seed, "anova tests", 0);
            let y: Vec<f64> = cells.iter().map(|c| 5.0 * (c.0 + c.1) as f64 + stream.normal()).collect();
            let found = two_way(&y, &a, &b, &params, &Monitor::silent()).unwrap();
            assert!(found.first.p_value == 0.01 && found.second.p_value == 0.01);
            rare += usize::from(found.interaction.p_value <= 0.05);
        }
        // Expected 5 ± 2.2.
        assert!(rare <= 13, "{rare}");
    }
}
