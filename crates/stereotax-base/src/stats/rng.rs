//! Draw random numbers that depend on a seed, a purpose and an index, never on a schedule.
//!
//! A [`Stream`] is ChaCha8 keyed by (seed, purpose) and set to stream number `index`: permutation 17
//! of a test is the same whether one thread or eight drew it, and whichever other draws were made.
//! Shuffling, bounded integers and normal numbers are our own, because library algorithms may change
//! between releases; their golden values are frozen in the tests below.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The random numbers of one draw.
#[derive(Debug, Clone)]
pub struct Stream {
    rng: ChaCha8Rng,
    spare_normal: Option<f64>,
}

/// Hash a stable id (of a stimulus, a run, a model) to the index of its stream: 64-bit FNV-1a.
pub fn id_key(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Stream {
    /// Open stream `index` of `purpose` under `seed`.
    pub fn new(seed: u64, purpose: &str, index: u64) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&id_key(purpose).to_le_bytes());
        key[16..24].copy_from_slice(&(purpose.len() as u64).to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(index);
        Stream { rng, spare_normal: None }
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// Uniform in [0, 1), on a grid of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * 2f64.powi(-53)
    }

    /// Uniform in 0..bound, exactly (Lemire 2019: multiply, and reject the biased remainder).
    pub fn below(&mut self, bound: usize) -> usize {
        debug_assert!(bound > 0, "nothing lies below zero");
        let bound = bound as u64;
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        if (product as u64) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u64) < threshold {
                product = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as usize
    }

    /// Standard normal, by the polar method (Marsaglia & Bray 1964).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        loop {
            let (u, v) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                let scale = (-2.0 * s.ln() / s).sqrt();
                self.spare_normal = Some(v * scale);
                return u * scale;
            }
        }
    }

    /// Shuffle in place (Fisher–Yates, from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// A random order of 0..n.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// `count` different numbers out of 0..n, sorted.
    pub fn subset(&mut self, n: usize, count: usize) -> Vec<usize> {
        let mut chosen = self.permutation(n);
        chosen.truncate(count);
        chosen.sort_unstable();
        chosen
    }

    /// Up to `count` different places, one after the other with probabilities proportional to their weights (at least
    /// 0); fewer where fewer have weight. In the order drawn.
    ///
    /// Exponential races (Efraimidis & Spirakis 2006): the smallest −ln(u) / weight comes first.
    pub fn weighted(&mut self, weights: &[f64], count: usize) -> Vec<usize> {
        let mut race: Vec<(f64, usize)> = Vec::with_capacity(weights.len());
        for (at, &weight) in weights.iter().enumerate() {
            // One number for each, also for those without weight.
            let time = -(1.0 - self.uniform()).ln();
            if weight > 0.0 {
                race.push((time / weight, at));
            }
        }
        race.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        race.truncate(count);
        race.into_iter().map(|(_, at)| at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_values_are_frozen() {
        let mut stream = Stream::new(7, "golden", 3);
        let bits = [stream.next_u64(), stream.next_u64()];
        let mut order = Stream::new(7, "golden", 4);
        let mut normal = Stream::new(7, "golden", 5);
        let found = (bits, order.permutation(8), [normal.normal(), normal.normal()]);
        assert_eq!(format!("{found:?}"), GOLDEN);
    }

    const GOLDEN: &str = "([3145272722634778385, 9694210940000266058], [6, 0, 7, 1, 3, 4, 5, 2], \
        [-1.5860830363665228, 0.9716201837406427])";

    #[test]
    fn purposes_and_indices_give_different_streams() {
        let first = |purpose: &str, index| Stream::new(1, purpose, index).next_u64();
        assert_ne!(first("a", 0), first("b", 0));
        assert_ne!(first("a", 0), first("a", 1));
        assert_eq!(first("a", 1), first("a", 1));
    }

    #[test]
    fn weights_are_the_chances_of_the_first_and_zeros_never_come() {
        let mut first = [0; 4];
        for index in 0..20_000 {
            let drawn = Stream::new(1, "weighted", index).weighted(&[1.0, 0.0, 2.0, 5.0], 2);
            assert_eq!(drawn.len(), 2);
            assert!(drawn[0] != drawn[1] && !drawn.contains(&1));
            first[drawn[0]] += 1;
        }
        // Chances 1/8, 0, 2/8, 5/8; standard deviations below 70.
        for (found, expected) in first.into_iter().zip([2500, 0, 5000, 12_500]) {
            assert!(i32::abs(found - expected) < 300, "{first:?}");
        }
        assert_eq!(Stream::new(1, "weighted", 0).weighted(&[0.0, 3.0], 2), [1]);
    }

    #[test]
    fn bounded_numbers_and_normals_have_their_moments() {
        let mut stream = Stream::new(1, "moments", 0);
        let mut counts = [0; 7];
        for _ in 0..70_000 {
            counts[stream.below(7)] += 1;
        }
        // Binomial standard deviation is about 93.
        assert!(counts.iter().all(|&c: &i32| c.abs_diff(10_000) < 450), "{counts:?}");
        let draws: Vec<f64> = (0..100_000).map(|_| stream.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let fourth = draws.iter().map(|x| x.powi(4)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.015, "{mean}");
        assert!((fourth - 3.0).abs() < 0.15, "{fourth}");
    }
}
