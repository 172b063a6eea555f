//! Mantel's test: are two RDMs of the same conditions related?
//!
//! The statistic is a correlation over pairs (of values or of midranks); the null distribution moves the conditions of
//! one RDM, rows and columns together, because pairs that share a condition are not independent.
//!
//! ```text
//! p = (1 + #{draws as extreme as observed}) / (1 + draws)
//! ```
//!
//! Permutations are keyed by the ids of the conditions. Where all n! orders are no more than the draws asked for, each
//! is taken once and p is the share that is as extreme. Source: Mantel 1967; specs: encoding-manifolds 6.2,
//! alignment-methods B21.8. Cost: O(n²) per draw.

use rayon::prelude::*;

use super::rdm_compare::whitened::pairs;
use super::rdm_compare::{Comparison, Undefined, linear};
use stereotax_base::data::rdm::pair_index;
use stereotax_base::data::{Error, Monitor, Rdm, Result};
use stereotax_base::stats::ranks::midranks;
use stereotax_base::stats::resampling::permute_by_id;
use stereotax_base::stats::summary::{permutation_p, tie_tolerance};

/// Which relations are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alternative {
    /// Positive ones (the default).
    #[default]
    Greater,
    /// Negative ones.
    Less,
    /// Both.
    Two,
}

/// Choices of a Mantel test.
#[derive(Debug, Clone)]
pub struct MantelParams {
    /// `Pearson` (the default) or `Spearman`.
    pub comparison: Comparison,
    /// Default `Greater`.
    pub alternative: Alternative,
    /// Default 9,999.
    pub n_permutations: usize,
    /// Default 0.
    pub seed: u64,
    /// Stable ids of the conditions; `None`: their numbers.
    pub ids: Option<Vec<String>>,
}

impl Default for MantelParams {
    fn default() -> Self {
        MantelParams {
            comparison: Comparison::Pearson,
            alternative: Alternative::Greater,
            n_permutations: 9999,
            seed: 0,
            ids: None,
        }
    }
}

/// What a Mantel test found.
#[derive(Debug, Clone, PartialEq)]
pub struct Mantel {
    /// The correlation; NaN where undefined.
    pub statistic: f64,
    /// NaN where the statistic is.
    pub p_value: f64,
    /// Draws used.
    pub n_permutations: usize,
    /// Whether they are all orders but the observed one.
    pub exact: bool,
    /// Mean and standard deviation of the null distribution.
    pub null_mean: f64,
    /// See `null_mean`.
    pub null_sd: f64,
    /// Conditions that took part.
    pub n_conditions: usize,
    /// Why the statistic is undefined.
    pub undefined: Option<Undefined>,
}

/// Test whether two RDMs are related.
///
/// Errors: other sizes, undefined pairs (moving conditions would move the holes), another comparison, fewer than 4
/// conditions, no draw.
pub fn mantel(a: &Rdm, b: &Rdm, params: &MantelParams, monitor: &Monitor<'_>) -> Result<Mantel> {
    let n = a.n_conditions();
    if b.n_conditions() != n || params.ids.as_ref().is_some_and(|ids| ids.len() != n) {
        return Err(Error::Shape {
            what: "rdm".into(),
            expected: format!("{n} conditions (as the first RDM), and as many ids"),
            found: format!("{} conditions", b.n_conditions()),
            hint: "both RDMs must hold the same conditions in the same order".into(),
        });
    }
    if n < 4 || params.n_permutations == 0 {
        return Err(Error::TooFew {
            what: "mantel".into(),
            needed: "4 conditions and 1 permutation".into(),
            found: format!("{n} and {}", params.n_permutations),
            hint: "three conditions have six orders: no p-value below 1/6".into(),
        });
    }
    if a.n_undefined() + b.n_undefined() > 0 {
        return Err(Error::Refused {
            what: "a Mantel test of RDMs with undefined pairs".into(),
            reason: "moving the conditions would compare other pairs in every draw".into(),
            hint: "leave out the conditions that lack pairs (subset)".into(),
        });
    }
    let unit = |rdm: &Rdm| match params.comparison {
        Comparison::Pearson => Ok(linear::unit(rdm.values(), true)),
        Comparison::Spearman => Ok(linear::unit(&midranks(rdm.values()), true)),
        other => Err(Error::Invalid {
            what: "comparison".into(),
            expected: "pearson or spearman".into(),
            found: format!("{other:?}"),
            hint: "rsa tests other comparisons by permutation too".into(),
        }),
    };
    let (x, y) = match (unit(a)?, unit(b)?) {
        (Ok(x), Ok(y)) => (x, y),
        (Err(why), _) | (_, Err(why)) => {
            return Ok(Mantel {
                statistic: f64::NAN,
                p_value: f64::NAN,
                n_permutations: 0,
                exact: false,
                null_mean: f64::NAN,
                null_sd: f64::NAN,
                n_conditions: n,
                undefined: Some(why),
            });
        }
    };
    let square: Vec<f64> = (0..n * n).map(|at| (at / n, at % n)).map(|(i, j)| of_pair(&y, n, i, j)).collect();
    let moved = |order: &[usize]| -> f64 {
        pairs(n).zip(&x).map(|((i, j), v)| v * square[order[i] * n + order[j]]).sum()
    };
    let statistic: f64 = x.iter().zip(&y).map(|(a, b)| a * b).sum();
    let orders =
        (1..=n).try_fold(1usize, |all, k| all.checked_mul(k)).filter(|&all| all - 1 <= params.n_permutations);
    let exact = orders.is_some();
    let n_permutations = orders.map_or(params.n_permutations, |all| all - 1);
    let ids = params.ids.clone().unwrap_or_else(|| numbered(n));
    let null: Vec<f64> = (0..n_permutations)
        .into_par_iter()
        .map(|draw| {
            monitor.check()?;
            let order = if exact { nth_order(n, draw + 1) } else { permute_by_id(&ids, params.seed, draw) };
            Ok(moved(&order))
        })
        .collect::<Result<_>>()?;
    let margin = tie_tolerance(statistic);
    let extreme = |null: f64| match params.alternative {
        Alternative::Greater => null >= statistic - margin,
        Alternative::Less => null <= statistic + margin,
        Alternative::Two => null.abs() >= statistic.abs() - margin,
    };
    let p_value = permutation_p(null.iter().filter(|v| extreme(**v)).count(), n_permutations);
    Ok(Mantel {
        statistic,
        p_value,
        n_permutations,
        exact,
        null_mean: stereotax_base::stats::summary::mean(&null),
        null_sd: stereotax_base::stats::summary::sd(&null),
        n_conditions: n,
        undefined: None,
    })
}

fn of_pair(y: &[f64], n: usize, i: usize, j: usize) -> f64 {
    if i == j { 0.0 } else { y[pair_index(n, i, j)] }
}

/// Ids of conditions that came without names: their numbers, of equal length so that they sort as they count.
pub(super) fn numbered(n: usize) -> Vec<String> {
    let width = n.to_string().len();
    (0..n).map(|i| format!("{i:0width$}")).collect()
}

/// Order number `index` of 0..n in the factorial number system; 0 is the identity.
fn nth_order(n: usize, mut index: usize) -> Vec<usize> {
    let mut left: Vec<usize> = (0..n).collect();
    let mut block: usize = (1..=n).product();
    (0..n)
        .map(|at| {
            block /= n - at;
            let chosen = left.remove(index / block);
            index %= block;
            chosen
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn cloud(n: usize, seed: u64, like: Option<(&[[f64; 3]], f64)>) -> (Vec<[f64; 3]>, Rdm) {
        let mut stream = Stream::new(seed, "mantel tests", 0);
        let points: Vec<[f64; 3]> = (0..n)
            .map(|i| {
                std::array::from_fn(|k| {
                    like.map_or(0.0, |(points, share)| share * points[i][k]) + stream.normal()
                })
            })
            .collect();
        let d = |(i, j): (usize, usize)| {
            (0..3).map(|k: usize| (points[i][k] - points[j][k]).powi(2)).sum::<f64>().sqrt()
        };
        let rdm = Rdm::new(n, pairs(n).map(d).collect()).unwrap();
        (points, rdm)
    }

    #[test]
    fn all_orders_of_four_conditions_by_hand() {
        // A line 0, 1, 2, 3 with itself: of the 24 orders the identity and its mirror image reach r = 1.
        let line = Rdm::new(4, vec![1.0, 2.0, 3.0, 1.0, 2.0, 1.0]).unwrap();
        let found = mantel(&line, &line, &MantelParams::default(), &Monitor::silent()).unwrap();
        assert!(found.exact && found.n_permutations == 23);
        assert!((found.statistic - 1.0).abs() < 1e-15);
        assert!((found.p_value - 2.0 / 24.0).abs() < 1e-15, "{}", found.p_value);
    }

    #[test]
    fn a_relation_is_found_and_ids_carry_the_draws() {
        let (points, a) = cloud(20, 1, None);
        let (_, b) = cloud(20, 2, Some((&points, 2.0)));
        let ids = numbered(20);
        let params = MantelParams { n_permutations: 499, ids: Some(ids.clone()), ..MantelParams::default() };
        let found = mantel(&a, &b, &params, &Monitor::silent()).unwrap();
        assert_eq!(found.p_value, 1.0 / 500.0);
        assert!(found.null_mean.abs() < 0.05);
        // Other rows, the same ids: the same draws.
        let order: Vec<usize> = (0..20).rev().collect();
        let moved =
            MantelParams { ids: Some(order.iter().map(|&i| ids[i].clone()).collect()), ..params.clone() };
        let again =
            mantel(&a.subset(&order).unwrap(), &b.subset(&order).unwrap(), &moved, &Monitor::silent());
        let again = again.unwrap();
        assert!((again.null_sd - found.null_sd).abs() < 1e-12);
        let less = MantelParams { alternative: Alternative::Less, ..params };
        assert!(mantel(&a, &b, &less, &Monitor::silent()).unwrap().p_value > 0.99);
    }

    #[test]
    fn what_cannot_be_tested_is_said() {
        let (_, a) = cloud(6, 1, None);
        let flat = Rdm::new(6, vec![1.0; 15]).unwrap();
        let quiet = Monitor::silent();
        let found = mantel(&a, &flat, &MantelParams::default(), &quiet).unwrap();
        assert!(found.p_value.is_nan() && found.undefined == Some(Undefined::Constant));
        let mut values = a.values().to_vec();
        values[0] = f64::NAN;
        let holes = Rdm::new(6, values).unwrap();
        let refusal = |x: &Rdm, y: &Rdm, p: &MantelParams| mantel(x, y, p, &quiet).unwrap_err().to_string();
        assert!(refusal(&a, &holes, &MantelParams::default()).contains("undefined pairs"));
        assert!(refusal(&a, &cloud(7, 1, None).1, &MantelParams::default()).contains("6 conditions"));
        let tau = MantelParams { comparison: Comparison::TauA, ..MantelParams::default() };
        assert!(refusal(&a, &a, &tau).contains("pearson or spearman"));
    }
}
