//! Choose how many modes are kept from the singular values of X.
//!
//! ```text
//! energy(f):       least r with Σ_{i≤r} σ² ≥ f Σ σ², at most min(L − 2, 12)
//! hard_threshold:  #{σ > ω(β) · median σ},  ω(β) = λ*(β) / √μ_β
//!                  λ*(β) = √(2(β+1) + 8β / ((β+1) + √(β²+14β+1))),  μ_β the Marchenko–Pastur median
//! ```
//!
//! Source: Gavish & Donoho 2014, eqs. 10–11 (hard threshold, noise level unknown); specs: nfas-dmd 5.8.
//! Differs from: tools that use the cubic 0.56β³ − 0.95β² + 1.82β + 1.43; ω is exact here. Cost: O(L).

use super::spectrum::RankRule;
use stereotax_base::data::{Error, Result};
use stereotax_base::stats::hard_threshold::hard_threshold_factor;

/// No energy rule keeps more modes than this.
pub const RANK_CAP: usize = 12;

/// A rank and what there is to say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct RankChoice {
    /// At least 1, at most the numerical rank.
    pub rank: usize,
    /// For the result's warnings.
    pub warnings: Vec<String>,
}

/// Most modes that the energy and consensus rules keep: min(L − 2, 12).
pub fn rank_cap(n_layers: usize) -> usize {
    n_layers.saturating_sub(2).clamp(1, RANK_CAP)
}

/// Choose the rank from the singular values of X (descending, L − 1 of them, zeros included).
///
/// `relative_cut` is the share of σ₁ below which a direction is noise of the format;
/// `state_size` is the length of a snapshot where it is known (it sets β; without it β → 0).
/// `Consensus` gives the cap. Errors: a share outside (0, 1], a rank of 0.
pub fn choose_rank(
    rule: RankRule,
    singular_values: &[f64],
    relative_cut: f64,
    state_size: Option<usize>,
) -> Result<RankChoice> {
    let n_pairs = singular_values.len();
    let n_layers = n_pairs + 1;
    let largest = singular_values.first().copied().unwrap_or(0.0);
    let numerical = singular_values.iter().take_while(|&&s| s > relative_cut * largest).count().max(1);
    let mut warnings = Vec::new();
    let rank = match rule {
        RankRule::Energy(share) => {
            if !(share > 0.0 && share <= 1.0) {
                return Err(invalid("an energy share above 0 and at most 1", share.to_string()));
            }
            energy_rank(singular_values, share).min(rank_cap(n_layers))
        }
        RankRule::Fixed(0) => return Err(invalid("a rank of at least 1", "0".into())),
        RankRule::Fixed(rank) => {
            if rank > numerical {
                warnings.push(format!("rank {rank} was asked for, but the snapshots have rank {numerical}"));
            }
            rank
        }
        RankRule::HardThreshold => {
            warnings.push(format!(
                "the hard threshold rests on the median of {n_pairs} singular values, which for so few layers is signal itself"
            ));
            let beta = state_size.map_or(0.0, |n| {
                let (small, large) = (n.min(n_pairs) as f64, n.max(n_pairs) as f64);
                small / large
            });
            let threshold = hard_threshold_factor(beta) * median(singular_values);
            let rank = singular_values.iter().take_while(|&&s| s > threshold).count();
            if rank == 0 {
                warnings.push("no singular value exceeds the hard threshold; rank 1 is used".into());
            }
            rank.max(1)
        }
        RankRule::Full => n_pairs,
        RankRule::Consensus => rank_cap(n_layers),
    };
    let rank = rank.min(numerical);
    if rank == n_pairs && n_pairs > 1 {
        warnings.push("the rank is full: the operator interpolates the layers and fits any data".into());
    }
    Ok(RankChoice { rank, warnings })
}

fn invalid(expected: &str, found: String) -> Error {
    Error::Invalid {
        what: "rank".into(),
        expected: expected.into(),
        found,
        hint: "the default is energy 0.99".into(),
    }
}

fn energy_rank(singular_values: &[f64], share: f64) -> usize {
    let total: f64 = singular_values.iter().map(|s| s * s).sum();
    let mut held = 0.0;
    for (i, s) in singular_values.iter().enumerate() {
        held += s * s;
        if held >= share * total {
            return i + 1;
        }
    }
    singular_values.len().max(1)
}

fn median(descending: &[f64]) -> f64 {
    let n = descending.len();
    match n {
        0 => 0.0,
        _ if n % 2 == 1 => descending[n / 2],
        _ => 0.5 * (descending[n / 2 - 1] + descending[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(rule: RankRule, s: &[f64]) -> usize {
        choose_rank(rule, s, 1e-8, Some(100_000)).unwrap().rank
    }

    #[test]
    fn energy_is_counted_in_squares_and_capped() {
        // σ² = 90, 9, 0.9, 0.1: shares 0.9, 0.99, 0.999, 1.
        let s = [90f64.sqrt(), 3.0, 0.9f64.sqrt(), 0.1f64.sqrt()];
        assert_eq!(rank(RankRule::Energy(0.89), &s), 1);
        assert_eq!(rank(RankRule::Energy(0.985), &s), 2);
        assert_eq!(rank(RankRule::Energy(0.9995), &s), 3); // 5 layers: at most 3
        assert_eq!(rank(RankRule::Energy(1.0), &[1.0; 40]), 12);
        assert_eq!(rank(RankRule::Consensus, &[1.0; 7]), 6);
        assert!(choose_rank(RankRule::Energy(1.2), &s, 0.0, None).is_err());
        assert!(choose_rank(RankRule::Fixed(0), &s, 0.0, None).is_err());
    }

    #[test]
    fn a_rank_beyond_the_data_is_lowered_and_said() {
        let chosen = choose_rank(RankRule::Fixed(4), &[1.0, 0.5, 1e-9, 0.0, 0.0], 1e-8, None).unwrap();
        assert_eq!(chosen.rank, 2);
        assert!(chosen.warnings[0].contains("rank 2"), "{:?}", chosen.warnings);
        let full = choose_rank(RankRule::Full, &[3.0, 2.0, 1.0], 1e-8, None).unwrap();
        assert_eq!(full.rank, 3);
        assert!(full.warnings[0].contains("interpolates"), "{:?}", full.warnings);
    }

    #[test]
    fn the_hard_threshold_finds_a_planted_rank_and_never_none() {
        let mut s = vec![20.0, 9.0, 3.0];
        s.extend(std::iter::repeat_n(1.0, 30));
        assert_eq!(rank(RankRule::HardThreshold, &s), 3);
        let none = choose_rank(RankRule::HardThreshold, &[1.0; 9], 1e-8, None).unwrap();
        assert_eq!((none.rank, none.warnings.len()), (1, 2));
    }
}
