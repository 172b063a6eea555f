//! Rank values, equal ones sharing their mean rank, whatever each counts.
//!
//! ```text
//! level of a value    how many different smaller values there are
//! midrank             (weight of all smaller values) + (own weight + 1) / 2
//! ```
//!
//! Levels are found by one sort and serve every weighting after that: a draw with other multiplicities is a pass over
//! the values, not a sort. NaN has no rank and must be left out beforehand; −0 is 0.
//!
//! Source: Kendall 1948 (ties). Cost: sorting m values by radix, O(m); ranks of a weighting O(m).

/// Where values stand among all, equal values sharing one level: the level of each, 0 for the least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    /// Level of each value.
    pub level: Vec<u32>,
    /// How many different values.
    pub n_levels: usize,
}

/// Memory that sorting reuses.
#[derive(Debug, Clone, Default)]
pub struct SortMemory {
    keys: Vec<(u64, u32)>,
    other: Vec<(u64, u32)>,
}

/// Sort once; NaN is not allowed.
pub fn levels(x: &[f64]) -> Levels {
    let mut memory = SortMemory::default();
    sort(x, &mut memory);
    let mut level = vec![0; x.len()];
    let (mut at, mut before) = (0u32, memory.keys.first().map_or(0, |o| o.0));
    for &(key, p) in &memory.keys {
        if key != before {
            (at, before) = (at + 1, key);
        }
        level[p as usize] = at;
    }
    Levels { level, n_levels: if x.is_empty() { 0 } else { at as usize + 1 } }
}

/// Twice the midrank of each level when value p counts `weight[p]` times: 2·(weight below) + own weight + 1.
///
/// `members` lists (level, weight); the last entry of the answer is the total weight.
pub fn doubled_midranks(members: impl Iterator<Item = (u32, u32)>, n_levels: usize) -> (Vec<u32>, u64) {
    let mut counts = vec![0u32; n_levels];
    for (level, weight) in members {
        counts[level as usize] += weight;
    }
    let mut below = 0u32;
    for count in &mut counts {
        let own = *count;
        *count = 2 * below + own + 1;
        below += own;
    }
    (counts, u64::from(below))
}

/// Ranks from 1, equal values sharing their mean rank; NaN is not allowed.
pub fn midranks(x: &[f64]) -> Vec<f64> {
    let mut ranks = Vec::new();
    midranks_into(x, &mut SortMemory::default(), &mut ranks);
    ranks
}

/// [`midranks`] into `out`, with memory that is kept between calls.
pub fn midranks_into(x: &[f64], memory: &mut SortMemory, out: &mut Vec<f64>) {
    sort(x, memory);
    let keys = &memory.keys;
    out.clear();
    out.resize(x.len(), 0.0);
    let mut begin = 0;
    while begin < keys.len() {
        let mut end = begin + 1;
        while end < keys.len() && keys[end].0 == keys[begin].0 {
            end += 1;
        }
        let rank = (begin + end + 1) as f64 / 2.0;
        keys[begin..end].iter().for_each(|(_, at)| out[*at as usize] = rank);
        begin = end;
    }
}

impl Levels {
    /// Midranks, counted from 1.
    pub fn midranks(&self) -> Vec<f64> {
        let (doubled, _) = doubled_midranks(self.level.iter().map(|&l| (l, 1)), self.n_levels);
        self.level.iter().map(|&l| f64::from(doubled[l as usize]) / 2.0).collect()
    }

    /// Midranks where value p counts `weights[p]` times; values without weight keep the rank that they would share.
    pub fn weighted_midranks(&self, weights: &[f64]) -> Vec<f64> {
        let mut ranks = vec![0.0; self.n_levels];
        self.level.iter().zip(weights).for_each(|(&l, w)| ranks[l as usize] += w);
        let mut below = 0.0;
        for rank in &mut ranks {
            let own = *rank;
            *rank = below + 0.5 * (own + 1.0);
            below += own;
        }
        self.level.iter().map(|&l| ranks[l as usize]).collect()
    }
}

/// Bits that sort as the numbers do; −0 is 0.
fn sort_key(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// Fewer values than this are sorted by comparison.
const FEW: usize = 512;
/// Bits of one pass of the sort.
const DIGIT: u32 = 11;

/// Keys with the places they come from, ascending, equal keys by place.
fn sort(x: &[f64], memory: &mut SortMemory) {
    let keys = &mut memory.keys;
    keys.clear();
    keys.extend(x.iter().enumerate().map(|(at, value)| (sort_key(*value), at as u32)));
    if keys.len() < FEW {
        keys.sort_unstable();
    } else {
        radix_sort(keys, &mut memory.other);
    }
}

/// Least significant digit first; passes over digits that all keys share are left out.
fn radix_sort(keys: &mut Vec<(u64, u32)>, other: &mut Vec<(u64, u32)>) {
    other.clear();
    other.resize(keys.len(), (0, 0));
    let (all, any) = keys.iter().fold((u64::MAX, 0), |(all, any), (key, _)| (all & key, any | key));
    let differ = all ^ any;
    let mask = (1u64 << DIGIT) - 1;
    for shift in (0..64).step_by(DIGIT as usize) {
        if differ >> shift & mask == 0 {
            continue;
        }
        let mut counts = [0u32; 1 << DIGIT];
        keys.iter().for_each(|(key, _)| counts[(key >> shift & mask) as usize] += 1);
        let mut sum = 0;
        for count in &mut counts {
            sum += std::mem::replace(count, sum);
        }
        for &entry in keys.iter() {
            let place = &mut counts[(entry.0 >> shift & mask) as usize];
            other[*place as usize] = entry;
            *place += 1;
        }
        std::mem::swap(keys, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;

    #[test]
    fn ties_share_their_rank_at_any_size() {
        assert_eq!(midranks(&[3.0, -1.0, 3.0, 0.0, -0.0]), [4.5, 1.0, 4.5, 2.5, 2.5]);
        assert_eq!(levels(&[]).n_levels, 0);
        let mut stream = Stream::new(1, "ranks", 0);
        let long: Vec<f64> = (0..3000).map(|_| (stream.normal() * 200.0).round() / 7.0).collect();
        let slow: Vec<f64> = long
            .iter()
            .map(|x| {
                let below = long.iter().filter(|y| *y < x).count() as f64;
                let equal = long.iter().filter(|y| *y == x).count() as f64;
                below + (equal + 1.0) / 2.0
            })
            .collect();
        assert_eq!(midranks(&long), slow);
        assert_eq!(levels(&long).midranks(), slow);
    }

    #[test]
    fn weighted_midranks_are_those_of_copies() {
        let (x, weights) = ([2.0, 1.0, 2.0, 5.0], [2u32, 3, 1, 2]);
        let found = levels(&x);
        let (doubled, total) = doubled_midranks(found.level.iter().copied().zip(weights), found.n_levels);
        let copies = midranks(&[2.0, 2.0, 1.0, 1.0, 1.0, 2.0, 5.0, 5.0]);
        assert_eq!(total, 8);
        let ours: Vec<f64> = found.level.iter().map(|&l| f64::from(doubled[l as usize]) / 2.0).collect();
        assert_eq!(ours, [copies[0], copies[2], copies[5], copies[6]]);
        assert_eq!(found.weighted_midranks(&weights.map(f64::from)), ours);
        // Without weight a value stands where it would, and moves nobody.
        assert_eq!(levels(&[1.0, 3.0, 2.0]).weighted_midranks(&[1.0, 1.0, 0.0]), [1.0, 2.0, 1.5]);
    }

    #[test]
    fn an_increasing_function_changes_nothing() {
        let x = [0.3, 0.1, 0.9, 0.5, 0.1];
        let warped: Vec<f64> = x.iter().map(|v: &f64| v.exp() - 7.0).collect();
        assert_eq!(midranks(&x), midranks(&warped));
    }
}
