//! Enumerate or draw the relabellings of a permutation test, each by its index.
//!
//! Shuffle k depends on (seed, k) and on the objects in canonical order, never on threads or on which
//! other shuffles were drawn. Every test on the same objects with the same settings sees the same
//! shuffles: PERMANOVA and silhouette can be read together.
//!
//! What may be exchanged:
//! - `Free`: every object's label;
//! - `Families`: objects of one family keep one common label, and families exchange labels;
//! - `Strata`: labels are exchanged among the objects of one stratum (data set) only.
//!
//! If there are no more distinct labellings than `exact_up_to`, all of them are visited, the observed
//! one first counted once: the p-value is then exact. Source: specs: nfas-dmd 11.2.
//! Cost: one stream (about 0.1 µs) and one Fisher–Yates pass per draw; O(n·groups) per exact one.

use super::rng::Stream;
use super::summary::permutation_p;
use crate::data::{Error, Labels, Result};

/// Which objects may exchange their labels.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    /// All of them (the default).
    #[default]
    Free,
    /// Whole families; each family must lie within one group.
    Families(Labels),
    /// Only objects of the same stratum.
    Strata(Labels),
}

/// How a permutation test is carried out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PermutationParams {
    /// Random shuffles to draw (default 9999).
    pub n_permutations: usize,
    /// Visit all distinct labellings if there are at most this many (default 100 000; 0: never).
    pub exact_up_to: usize,
    /// Who may exchange labels (default: everybody).
    pub exchange: Exchange,
    /// Seed of the shuffles (default 0).
    pub seed: u64,
}

impl Default for PermutationParams {
    fn default() -> Self {
        PermutationParams { n_permutations: 9999, exact_up_to: 100_000, exchange: Exchange::Free, seed: 0 }
    }
}

/// What the shuffles of a test can support.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PermutationSupport {
    /// Shuffles visited, without the observed labelling.
    pub n_permutations: usize,
    /// Whether these are all distinct labellings there are.
    pub exact: bool,
    /// Distinct labellings, the observed one included (infinite beyond 2¹²⁸).
    pub n_distinct: f64,
    /// The smallest p-value these shuffles can give.
    pub smallest_p: f64,
    /// Whether the exchange was restricted to families or strata.
    pub restricted: bool,
    /// What a reader must know: too few distinct labellings for the usual 0.05, for example.
    pub warning: Option<String>,
}

/// Labels that move together, and those they exchange with.
#[derive(Debug, Clone)]
struct Pool {
    /// Label of each exchangeable unit, in canonical order.
    codes: Vec<u32>,
    /// Objects of each unit.
    units: Vec<Vec<usize>>,
    /// Distinct arrangements, if they can be counted in 128 bits.
    n_distinct: Option<u128>,
}

/// The relabellings of one test.
#[derive(Debug, Clone)]
pub struct Shuffles {
    pools: Vec<Pool>,
    /// One pool of single objects in order: the label array itself may be shuffled in place.
    plain: bool,
    n_groups: usize,
    n_objects: usize,
    seed: u64,
    purpose: String,
    support: PermutationSupport,
    /// Index of the observed labelling among the exact ones.
    observed_at: u128,
}

impl Shuffles {
    /// Prepare the shuffles of `labels`, which stand in canonical order.
    pub fn new(
        labels: &[usize],
        n_groups: usize,
        order: &[usize],
        params: &PermutationParams,
        purpose: &str,
    ) -> Result<Self> {
        let exchange = &params.exchange;
        if params.n_permutations == 0 && params.exact_up_to == 0 {
            return Err(Error::Invalid {
                what: "n_permutations".into(),
                expected: "at least 1".into(),
                found: "0".into(),
                hint: "9999 permutations are customary".into(),
            });
        }
        let pools = pools(labels, n_groups, exchange, order)?;
        let n_distinct = pools.iter().try_fold(1u128, |product, pool| product.checked_mul(pool.n_distinct?));
        let exact = n_distinct.is_some_and(|n| n <= params.exact_up_to as u128);
        let n_permutations = match n_distinct {
            Some(n) if exact => (n - 1) as usize,
            _ => params.n_permutations,
        };
        let restricted = !matches!(exchange, Exchange::Free);
        let n_distinct = n_distinct.map_or(f64::INFINITY, |n| n as f64);
        let smallest_p = (1.0 / n_distinct).max(permutation_p(0, n_permutations));
        let warning = (smallest_p > 0.05).then(|| {
            format!(
                "only {n_distinct} distinct labellings are allowed and {n_permutations} were drawn: no p-value below {smallest_p:.3} is possible"
            )
        });
        let support =
            PermutationSupport { n_permutations, exact, n_distinct, smallest_p, restricted, warning };
        let observed_at = if exact { rank_all(&pools, n_groups) } else { 0 };
        Ok(Shuffles {
            plain: matches!(exchange, Exchange::Free),
            pools,
            n_groups,
            n_objects: labels.len(),
            seed: params.seed,
            purpose: purpose.into(),
            support,
            observed_at,
        })
    }

    /// What these shuffles can support.
    pub fn support(&self) -> &PermutationSupport {
        &self.support
    }

    /// How many shuffles there are, without the observed labelling.
    pub fn len(&self) -> usize {
        self.support.n_permutations
    }

    /// Whether there is no shuffle at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many objects are labelled.
    pub fn n_objects(&self) -> usize {
        self.n_objects
    }

    /// Write shuffle `index` (below [`Shuffles::len`]) into `out`, one label per object.
    pub fn write(&self, index: usize, out: &mut [u32]) {
        if self.support.exact {
            let mut rank = index as u128;
            rank += u128::from(rank >= self.observed_at);
            for pool in &self.pools {
                let radix = pool.n_distinct.unwrap_or(1);
                unrank(pool, self.n_groups, rank % radix, out);
                rank /= radix;
            }
            return;
        }
        let mut stream = Stream::new(self.seed, &self.purpose, index as u64);
        if self.plain {
            out.copy_from_slice(&self.pools[0].codes);
            stream.shuffle(out);
            return;
        }
        for pool in &self.pools {
            let mut codes = pool.codes.clone();
            stream.shuffle(&mut codes);
            for (unit, code) in pool.units.iter().zip(codes) {
                for &object in unit {
                    out[object] = code;
                }
            }
        }
    }
}

fn pools(labels: &[usize], n_groups: usize, exchange: &Exchange, order: &[usize]) -> Result<Vec<Pool>> {
    let n = labels.len();
    let belongs = |blocks: &Labels, what: &str| -> Result<Vec<Vec<usize>>> {
        if blocks.n_objects() != n {
            return Err(Error::Shape {
                what: what.into(),
                expected: format!("{n} names (one per object)"),
                found: format!("{} names", blocks.n_objects()),
                hint: "give one family or stratum per object".into(),
            });
        }
        Ok((0..blocks.n_groups())
            .map(|block| (0..n).filter(|&i| blocks.codes()[order[i]] == block).collect())
            .collect())
    };
    let pool = |codes: Vec<u32>, units| {
        let mut counts = vec![0; n_groups];
        codes.iter().for_each(|&c| counts[c as usize] += 1);
        Pool { n_distinct: arrangements(&counts), codes, units }
    };
    match exchange {
        Exchange::Free => {
            Ok(vec![pool(labels.iter().map(|&c| c as u32).collect(), (0..n).map(|i| vec![i]).collect())])
        }
        Exchange::Strata(strata) => Ok(belongs(strata, "strata")?
            .into_iter()
            .map(|members| {
                pool(
                    members.iter().map(|&i| labels[i] as u32).collect(),
                    members.iter().map(|&i| vec![i]).collect(),
                )
            })
            .collect()),
        Exchange::Families(families) => {
            let units = belongs(families, "families")?;
            for (family, members) in units.iter().enumerate() {
                if members.iter().any(|&i| labels[i] != labels[members[0]]) {
                    return Err(Error::Invalid {
                        what: "families".into(),
                        expected: "the models of a family to lie in one group".into(),
                        found: format!("family `{}` lies in several", families.names()[family]),
                        hint: "split the family by group, or use strata".into(),
                    });
                }
            }
            Ok(vec![pool(units.iter().map(|u| labels[u[0]] as u32).collect(), units)])
        }
    }
}

/// Distinct arrangements of a multiset: (Σ n_c)! / Π n_c!.
fn arrangements(counts: &[usize]) -> Option<u128> {
    let (mut total, mut product) = (0u128, 1u128);
    for &count in counts {
        for k in 1..=count as u128 {
            total += 1;
            // Stays a whole number at each step: a product of binomial coefficients.
            product = product.checked_mul(total)? / k;
        }
    }
    Some(product)
}

/// Write the arrangement of the given rank, in lexicographic order of the labels.
fn unrank(pool: &Pool, n_groups: usize, mut rank: u128, out: &mut [u32]) {
    let mut counts = vec![0u128; n_groups];
    pool.codes.iter().for_each(|&c| counts[c as usize] += 1);
    let mut here = pool.n_distinct.unwrap_or(1);
    for (at, unit) in pool.units.iter().enumerate() {
        let left = (pool.units.len() - at) as u128;
        for code in 0..n_groups {
            let with_code = here * counts[code] / left;
            if rank < with_code {
                unit.iter().for_each(|&object| out[object] = code as u32);
                counts[code] -= 1;
                here = with_code;
                break;
            }
            rank -= with_code;
        }
    }
}

/// Rank of the observed labelling among the products of all pools' arrangements.
fn rank_all(pools: &[Pool], n_groups: usize) -> u128 {
    let (mut rank, mut radix) = (0, 1);
    for pool in pools {
        let mut counts = vec![0u128; n_groups];
        pool.codes.iter().for_each(|&c| counts[c as usize] += 1);
        let (mut here, mut own) = (pool.n_distinct.unwrap_or(1), 0);
        for (at, &code) in pool.codes.iter().enumerate() {
            let left = (pool.codes.len() - at) as u128;
            own += (0..code as usize).map(|c| here * counts[c] / left).sum::<u128>();
            here = here * counts[code as usize] / left;
            counts[code as usize] -= 1;
        }
        rank += own * radix;
        radix *= pool.n_distinct.unwrap_or(1);
    }
    rank
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn all(labels: &[usize], exchange: Exchange) -> (Vec<Vec<u32>>, PermutationSupport) {
        let order: Vec<usize> = (0..labels.len()).collect();
        let groups = labels.iter().max().unwrap() + 1;
        let params = PermutationParams { exchange, ..Default::default() };
        let s = Shuffles::new(labels, groups, &order, &params, "test").unwrap();
        let mut out = vec![0; labels.len()];
        let found = (0..s.len())
            .map(|k| {
                s.write(k, &mut out);
                out.clone()
            })
            .collect();
        (found, s.support().clone())
    }

    #[test]
    fn exact_enumeration_visits_every_other_labelling_once() {
        // 6!/(2!·2!·2!) = 90.
        let observed = [2, 0, 1, 1, 0, 2];
        let (found, support) = all(&observed, Exchange::Free);
        assert!(support.exact && support.n_distinct == 90.0 && support.smallest_p == 1.0 / 90.0);
        let distinct: BTreeSet<_> = found.iter().cloned().collect();
        assert_eq!((found.len(), distinct.len()), (89, 89));
        assert!(!distinct.contains(observed.map(|c| c as u32).as_slice()));
    }

    #[test]
    fn families_move_together_and_strata_stay_apart() {
        // Families aa, b, cc in groups 0, 0, 1: 3 ways to place the one family of group 1.
        let families = Labels::new(&["a", "c", "a", "b", "c"]);
        let (found, support) = all(&[0, 1, 0, 0, 1], Exchange::Families(families));
        assert!(support.restricted && support.warning.is_some());
        let found: BTreeSet<_> = found.into_iter().collect();
        assert_eq!(found, BTreeSet::from([vec![0, 0, 0, 1, 0], vec![1, 0, 1, 0, 0]]));
        // Strata {0, 1} and {2, 3, 4} with labels 01 and 011: 2 × 3 labellings.
        let strata = Labels::new(&["x", "x", "y", "y", "y"]);
        let (found, support) = all(&[0, 1, 0, 1, 1], Exchange::Strata(strata));
        assert_eq!((found.len(), support.n_distinct), (5, 6.0));
        assert!(found.iter().all(|l| l[0] + l[1] == 1 && l[2] + l[3] + l[4] == 2));
        // One group per stratum: nothing can be exchanged, and the result says so.
        let (found, support) = all(&[0, 0, 1], Exchange::Strata(Labels::new(&["x", "x", "y"])));
        assert!(found.is_empty() && support.smallest_p == 1.0 && support.warning.is_some());
    }

    #[test]
    fn a_family_in_two_groups_is_refused() {
        let families = Labels::new(&["a", "a", "b"]);
        let params = PermutationParams { exchange: Exchange::Families(families), ..Default::default() };
        let refused = Shuffles::new(&[0, 1, 1], 2, &[0, 1, 2], &params, "test");
        assert!(refused.unwrap_err().to_string().contains("family `a`"));
    }
}
