//! Compare two RDMs: correlations of values or ranks, cosines, their whitened forms, Bures.
//!
//! ```text
//! Pearson, cosine      of the dissimilarities (`linear`)
//! Spearman             Pearson of midranks (`ranks`)
//! ρ-a                  12 Σ (r − r̄)(q − q̄) / (m³ − m): Spearman expected over random tie breaking (`ranks`)
//! τ-a, τ-b             concordant less discordant pairs of pairs, over all, or over the untied (`kendall`)
//! whitened             cosine (of centred values: correlation) under V⁻¹, the covariance of estimates (`whitened`)
//! Bures                tr (A^½ B A^½)^½ / √(tr A tr B) of the centred Gram matrices A, B (`bures`)
//! ```
//!
//! A pair of conditions that is undefined (NaN) in either RDM is left out of both, and counted. Where nothing is
//! left to compare, an RDM is constant (correlations, ranks) or zero (cosines), the value is NaN with a reason.
//!
//! Source: Schütt et al. 2023; Diedrichsen et al. 2021 (whitened); Nili et al. 2014 (τ-a); specs: encoding-manifolds
//! 6.2, peers 1.1. Differs from rsatoolbox: it answers 0 for the cosine of a zero RDM, and refuses RDMs with
//! different undefined pairs. Cost: O(m) per comparison of m pairs, ranks O(m log m) per RDM, τ O(m log m) per
//! comparison, Bures O(n³).

pub mod bures;
pub mod kendall;
pub mod linear;
pub mod ranks;
pub mod whitened;

use faer::Mat;
use rayon::prelude::*;

use stereotax_base::data::{Error, Monitor, Rdm, Result};
use stereotax_base::linalg::dot;
use stereotax_base::stats::ranks::midranks;
pub use whitened::NoiseCovariance;

/// How two RDMs are compared; all are similarities (larger is more alike) but `BuresDistance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Correlation of dissimilarities, in [−1, 1].
    #[default]
    Pearson,
    /// Correlation of midranks, in [−1, 1].
    Spearman,
    /// Spearman's coefficient expected when ties are broken at random; ties keep it from ±1.
    RhoA,
    /// Kendall's τ-a: ties count as neither, and keep it from ±1.
    TauA,
    /// Kendall's τ-b, in [−1, 1].
    TauB,
    /// Cosine of the angle between dissimilarities.
    Cosine,
    /// Cosine under the covariance of the dissimilarities (linear CKA where noise is white).
    WhitenedCosine,
    /// The same of dissimilarities less their mean.
    WhitenedPearson,
    /// Bures similarity of the centred Gram matrices, in [0, 1].
    Bures,
    /// Squared Bures distance of the centred Gram matrices: tr A + tr B − 2 tr (A^½ B A^½)^½; 0 = same.
    BuresDistance,
}

impl Comparison {
    /// Whether only the order of dissimilarities counts.
    pub fn of_ranks(self) -> bool {
        matches!(self, Comparison::Spearman | Comparison::RhoA | Comparison::TauA | Comparison::TauB)
    }

    /// Whether dissimilarities are centred first, so that a constant RDM has no value.
    pub fn centred(self) -> bool {
        self.of_ranks() || matches!(self, Comparison::Pearson | Comparison::WhitenedPearson)
    }

    /// Whether the covariance of dissimilarities enters.
    pub fn is_whitened(self) -> bool {
        matches!(self, Comparison::WhitenedCosine | Comparison::WhitenedPearson)
    }

    /// Whether it is one of Gram matrices, not of pairs.
    pub fn of_grams(self) -> bool {
        matches!(self, Comparison::Bures | Comparison::BuresDistance)
    }
}

/// Why a comparison has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undefined {
    /// Fewer than three pairs are defined in both.
    FewPairs,
    /// One of the RDMs is the same everywhere.
    Constant,
    /// One of the RDMs is zero, or its Gram matrix has no positive trace.
    Zero,
    /// A Gram matrix needs every pair.
    Incomplete,
}

impl Undefined {
    /// The reason in words.
    pub fn words(self) -> &'static str {
        match self {
            Undefined::FewPairs => "fewer than three pairs are defined in both RDMs",
            Undefined::Constant => "an RDM is constant over the pairs compared",
            Undefined::Zero => "an RDM is zero over the pairs compared",
            Undefined::Incomplete => "Gram matrices need every pair, and some are undefined",
        }
    }
}

/// One comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared {
    /// The similarity (or distance); NaN where undefined.
    pub value: f64,
    /// Pairs that were compared.
    pub n_pairs: usize,
    /// Pairs that were left out because one of the RDMs lacks them.
    pub n_dropped: usize,
    /// Why there is no value.
    pub undefined: Option<Undefined>,
}

/// All comparisons of two sets of RDMs.
#[derive(Debug, Clone)]
pub struct Comparisons {
    /// First set × second set.
    pub values: Mat<f64>,
    /// The same in rows, with counts and reasons.
    pub compared: Vec<Vec<Compared>>,
}

/// Compare two RDMs; see the module for formulas. `noise` is for whitened comparisons only (`None`: white).
///
/// Errors: different numbers of conditions, a noise covariance of another size.
pub fn compare(a: &Rdm, b: &Rdm, how: Comparison, noise: Option<&NoiseCovariance>) -> Result<Compared> {
    check(std::slice::from_ref(a), std::slice::from_ref(b), how, noise)?;
    one(a, b, how, noise)
}

/// Compare every RDM of one set with every one of another; what can be shared is done once per RDM.
///
/// Errors: as [`compare`].
pub fn compare_all(
    first: &[Rdm],
    second: &[Rdm],
    how: Comparison,
    noise: Option<&NoiseCovariance>,
    monitor: &Monitor<'_>,
) -> Result<Comparisons> {
    check(first, second, how, noise)?;
    let complete = |rdms: &[Rdm]| rdms.iter().all(|rdm| rdm.n_undefined() == 0);
    let shared = complete(first) && complete(second) && !matches!(how, Comparison::TauA | Comparison::TauB);
    let rows = |i: usize| -> Result<Vec<Compared>> {
        monitor.check()?;
        second.iter().map(|b| one(&first[i], b, how, noise)).collect()
    };
    let compared = if shared {
        let left = prepared(first, how, noise)?;
        let right = prepared(second, how, noise)?;
        let n_pairs = first[0].n_pairs();
        left.par_iter()
            .map(|a| {
                monitor.check()?;
                Ok(right.iter().map(|b| a.with(b, n_pairs)).collect())
            })
            .collect::<Result<Vec<Vec<Compared>>>>()?
    } else {
        (0..first.len()).into_par_iter().map(rows).collect::<Result<Vec<_>>>()?
    };
    let values = Mat::from_fn(first.len(), second.len(), |i, j| compared[i][j].value);
    Ok(Comparisons { values, compared })
}

fn check(first: &[Rdm], second: &[Rdm], how: Comparison, noise: Option<&NoiseCovariance>) -> Result<()> {
    let Some(n) = first.iter().chain(second).map(Rdm::n_conditions).next() else {
        return Ok(());
    };
    if let Some(other) = first.iter().chain(second).find(|rdm| rdm.n_conditions() != n) {
        return Err(Error::Shape {
            what: "rdm".into(),
            expected: format!("{n} conditions (as the first RDM)"),
            found: format!("{} conditions", other.n_conditions()),
            hint: "all RDMs must hold the same conditions in the same order".into(),
        });
    }
    if let Some(noise) = noise {
        if !how.is_whitened() {
            return Err(Error::Invalid {
                what: "noise_covariance".into(),
                expected: "none (only whitened comparisons use one)".into(),
                found: "given".into(),
                hint: "compare by whitened_cosine or whitened_pearson".into(),
            });
        }
        noise.check(n)?;
    }
    Ok(())
}

/// One comparison from scratch, over the pairs that both have.
fn one(a: &Rdm, b: &Rdm, how: Comparison, noise: Option<&NoiseCovariance>) -> Result<Compared> {
    let kept: Vec<usize> =
        (0..a.n_pairs()).filter(|&p| !a.values()[p].is_nan() && !b.values()[p].is_nan()).collect();
    let n_pairs = kept.len();
    let n_dropped = a.n_pairs() - n_pairs;
    let answer = |value: std::result::Result<f64, Undefined>| Compared {
        value: value.unwrap_or(f64::NAN),
        n_pairs,
        n_dropped,
        undefined: value.err(),
    };
    if n_pairs < 3 && !how.of_grams() {
        return Ok(answer(Err(Undefined::FewPairs)));
    }
    let of = |rdm: &Rdm| -> Vec<f64> { kept.iter().map(|&p| rdm.values()[p]).collect() };
    let (x, y) = (of(a), of(b));
    Ok(answer(match how {
        Comparison::Pearson => linear::pearson(&x, &y),
        Comparison::Cosine => linear::cosine(&x, &y),
        Comparison::Spearman => ranks::spearman(&x, &y),
        Comparison::RhoA => ranks::rho_a(&x, &y),
        Comparison::TauA => kendall::tau(&x, &y).map(|tau| tau.a),
        Comparison::TauB => kendall::tau(&x, &y).map(|tau| tau.b),
        Comparison::WhitenedCosine | Comparison::WhitenedPearson => {
            let centred = how == Comparison::WhitenedPearson;
            whitened::whitened_cosine(a.n_conditions(), &kept, x, y, centred, noise)?
        }
        Comparison::Bures | Comparison::BuresDistance if n_dropped > 0 => Err(Undefined::Incomplete),
        Comparison::Bures => bures::similarity(a, b)?,
        Comparison::BuresDistance => bures::squared_distance(a, b)?,
    }))
}

/// What one complete RDM brings into all its comparisons.
enum Prepared {
    /// A unit vector whose inner product with another is the comparison; with the pairs' dual for whitening.
    Unit(Vec<f64>, Option<Vec<f64>>),
    Gram(bures::Root, bool),
    Nothing(Undefined),
}

impl Prepared {
    fn with(&self, other: &Prepared, n_pairs: usize) -> Compared {
        let value = match (self, other) {
            (Prepared::Nothing(why), _) | (_, Prepared::Nothing(why)) => Err(*why),
            (Prepared::Unit(x, _), Prepared::Unit(y, None)) => Ok(dot(x, y)),
            (Prepared::Unit(x, _), Prepared::Unit(_, Some(dual))) => Ok(dot(x, dual)),
            (Prepared::Gram(a, distance), Prepared::Gram(b, _)) => match (bures::fidelity(a, b), distance) {
                (Ok(common), true) => Ok(a.trace + b.trace - 2.0 * common),
                (Ok(common), false) => Ok(common / (a.trace * b.trace).sqrt()),
                (Err(_), _) => Err(Undefined::Zero),
            },
            _ => Err(Undefined::Zero),
        };
        // Unit vectors leave [−1, 1] by rounding only.
        let bound =
            |value: f64| if matches!(self, Prepared::Unit(..)) { value.clamp(-1.0, 1.0) } else { value };
        Compared { value: value.map_or(f64::NAN, bound), n_pairs, n_dropped: 0, undefined: value.err() }
    }
}

fn prepared(rdms: &[Rdm], how: Comparison, noise: Option<&NoiseCovariance>) -> Result<Vec<Prepared>> {
    let Some(first) = rdms.first() else { return Ok(vec![]) };
    let whitener = match how.is_whitened() {
        true => Some(whitened::Whitener::new(first.n_conditions(), noise)?),
        false => None,
    };
    rdms.par_iter()
        .map(|rdm| {
            let x = rdm.values();
            if x.len() < 3 && !how.of_grams() {
                return Ok(Prepared::Nothing(Undefined::FewPairs));
            }
            let unit = |found: std::result::Result<Vec<f64>, Undefined>| match found {
                Ok(vector) => Prepared::Unit(vector, None),
                Err(why) => Prepared::Nothing(why),
            };
            Ok(match how {
                Comparison::Pearson => unit(linear::unit(x, true)),
                Comparison::Cosine => unit(linear::unit(x, false)),
                Comparison::Spearman => unit(linear::unit(&midranks(x), true)),
                Comparison::RhoA => unit(ranks::rho_a_unit(x)),
                Comparison::TauA | Comparison::TauB => Prepared::Nothing(Undefined::FewPairs),
                Comparison::WhitenedCosine | Comparison::WhitenedPearson => {
                    let Some(whitener) = &whitener else { return Ok(Prepared::Nothing(Undefined::Zero)) };
                    match whitener.unit(x, how == Comparison::WhitenedPearson) {
                        Ok((vector, dual)) => Prepared::Unit(vector, Some(dual)),
                        Err(why) => Prepared::Nothing(why),
                    }
                }
                Comparison::Bures | Comparison::BuresDistance => match bures::root(rdm)? {
                    Ok(root) => Prepared::Gram(root, how == Comparison::BuresDistance),
                    Err(why) => Prepared::Nothing(why),
                },
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    pub(super) fn random_rdm(n: usize, seed: u64, ties: bool) -> Rdm {
        let mut stream = Stream::new(seed, "comparison tests", 0);
        let mut draw = || if ties { stream.below(5) as f64 } else { stream.uniform() + 0.1 };
        Rdm::new(n, (0..n * (n - 1) / 2).map(|_| draw()).collect()).unwrap()
    }

    const ALL: [Comparison; 10] = [
        Comparison::Pearson,
        Comparison::Spearman,
        Comparison::RhoA,
        Comparison::TauA,
        Comparison::TauB,
        Comparison::Cosine,
        Comparison::WhitenedCosine,
        Comparison::WhitenedPearson,
        Comparison::Bures,
        Comparison::BuresDistance,
    ];

    #[test]
    fn by_hand_on_three_conditions() {
        // x = (1, 2, 3), y = (1, 3, 2): deviations (−1, 0, 1) and (−1, 1, 0).
        let rdm = |values: [f64; 3]| Rdm::new(3, values.to_vec()).unwrap();
        let (x, y) = (rdm([1.0, 2.0, 3.0]), rdm([1.0, 3.0, 2.0]));
        let found = |how| compare(&x, &y, how, None).unwrap().value;
        for (how, expected) in [
            (Comparison::Pearson, 0.5),
            (Comparison::Spearman, 0.5),
            (Comparison::RhoA, 0.5),
            (Comparison::TauA, 1.0 / 3.0),
            (Comparison::TauB, 1.0 / 3.0),
            (Comparison::Cosine, 13.0 / 14.0),
        ] {
            assert!((found(how) - expected).abs() < 1e-15, "{how:?}: {}", found(how));
        }
        // V of three pairs is 3 I + 1 1ᵀ, so V⁻¹ = (I − 1 1ᵀ/6)/3: x·y = 13 − 36/6 = 7, x·x = y·y = 14 − 6 = 8.
        assert!((found(Comparison::WhitenedCosine) - 7.0 / 8.0).abs() < 1e-15);
        // Centred vectors are orthogonal to 1: as Pearson.
        assert!((found(Comparison::WhitenedPearson) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn an_rdm_is_like_itself_and_comparisons_are_symmetric() {
        let (a, b) = (random_rdm(9, 1, false), random_rdm(9, 2, false));
        for how in ALL {
            let value = |x: &Rdm, y: &Rdm| compare(x, y, how, None).unwrap().value;
            let same = if how == Comparison::BuresDistance { 0.0 } else { 1.0 };
            assert!((value(&a, &a) - same).abs() < 1e-7, "{how:?}: {}", value(&a, &a));
            assert!((value(&a, &b) - value(&b, &a)).abs() < 1e-12, "{how:?}");
            // The order of the conditions does not matter.
            let order = [3, 1, 4, 0, 8, 5, 2, 7, 6];
            let moved = value(&a.subset(&order).unwrap(), &b.subset(&order).unwrap());
            assert!((value(&a, &b) - moved).abs() < 1e-12, "{how:?}");
        }
    }

    #[test]
    fn what_is_shared_changes_nothing() {
        let first: Vec<Rdm> = (0..3).map(|s| random_rdm(8, s, s == 1)).collect();
        let second: Vec<Rdm> = (5..9).map(|s| random_rdm(8, s, s == 7)).collect();
        for how in ALL {
            let all = compare_all(&first, &second, how, None, &Monitor::silent()).unwrap();
            for (i, a) in first.iter().enumerate() {
                for (j, b) in second.iter().enumerate() {
                    let single = compare(a, b, how, None).unwrap();
                    assert!((all.values[(i, j)] - single.value).abs() < 1e-12, "{how:?}");
                    assert_eq!(all.compared[i][j].n_pairs, single.n_pairs);
                }
            }
        }
    }

    #[test]
    fn undefined_pairs_are_left_out_of_both_and_counted() {
        let (a, b) = (random_rdm(7, 1, false), random_rdm(7, 2, false));
        let hole = |rdm: &Rdm, at: usize| {
            let mut values = rdm.values().to_vec();
            values[at] = f64::NAN;
            Rdm::new(7, values).unwrap()
        };
        let (with_a, with_b) = (hole(&a, 3), hole(&b, 8));
        for how in ALL {
            let found = compare(&with_a, &with_b, how, None).unwrap();
            assert_eq!((found.n_pairs, found.n_dropped), (19, 2));
            if how.of_grams() {
                assert_eq!(found.undefined, Some(Undefined::Incomplete));
                continue;
            }
            // What stands in the other RDM at these places does not matter.
            let other = compare(&hole(&with_a, 8), &hole(&with_b, 3), how, None).unwrap();
            assert!((found.value - other.value).abs() < 1e-12, "{how:?}");
            assert!((found.value - compare(&a, &b, how, None).unwrap().value).abs() > 1e-6, "{how:?}");
        }
    }

    #[test]
    fn constants_and_zeros_have_no_value_and_say_why() {
        let flat = Rdm::new(5, vec![2.0; 10]).unwrap();
        let zero = Rdm::new(5, vec![0.0; 10]).unwrap();
        let b = random_rdm(5, 3, false);
        for how in ALL {
            let all = compare_all(
                &[flat.clone(), zero.clone()],
                std::slice::from_ref(&b),
                how,
                None,
                &Monitor::silent(),
            );
            let all = all.unwrap();
            for (i, (rdm, flat)) in [(&flat, true), (&zero, false)].into_iter().enumerate() {
                let found = compare(rdm, &b, how, None).unwrap();
                let defined = flat && !how.centred();
                assert_eq!(found.value.is_nan(), !defined, "{how:?}");
                assert_eq!(found.undefined.is_some(), !defined, "{how:?}");
                assert_eq!(all.compared[i][0].undefined, found.undefined, "{how:?}");
            }
        }
        let few = Rdm::new(2, vec![1.0]).unwrap();
        let found = compare(&few, &few, Comparison::Pearson, None).unwrap();
        assert!(found.undefined.unwrap().words().contains("three pairs"));
    }

    #[test]
    fn wrong_sizes_are_refused_in_words() {
        let (a, b) = (random_rdm(5, 1, false), random_rdm(6, 1, false));
        assert!(compare(&a, &b, Comparison::Pearson, None).unwrap_err().to_string().contains("5 conditions"));
        let noise = NoiseCovariance::Diagonal(vec![1.0; 5]);
        let message = compare(&a, &a, Comparison::Pearson, Some(&noise)).unwrap_err().to_string();
        assert!(message.contains("whitened"), "{message}");
    }
}
