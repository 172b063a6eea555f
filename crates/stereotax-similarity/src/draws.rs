//! Compare one representation with many on common draws: permutations, weights and subsets of stimuli.
//!
//! Reductions are computed once and serve all measures, all partners and all draws. A permutation moves the stimuli of
//! the first side: its Gram, singular vectors and distances are reordered, not computed again, and the moved side
//! serves every partner. Intervals rest on what each measure declares ([`Interval`]): weights of stimuli, or subsets
//! that leave a fifth of them out; a subset of the first side serves every partner too.
//!
//! What a draw tells of sampling is its deviation from the mean of the draws, times a factor f:
//!
//! ```text
//! e_b = f (θ_b − mean_b θ_b),   f = 1 for weights,   f = √(m/(n − m)) for subsets of m of n stimuli
//! ```
//!
//! All draws are keyed by the ids of stimuli (or blocks of them): every measure, pair and layer sees the same ones, so
//! that any two can be compared draw by draw.
//!
//! Source: specs: encoding-manifolds 6.8, peers 5 and 7; Shao & Wu 1989 (leaving many out). Cost: one evaluation per
//! measure, partner and draw; subsets need their own factors.

use faer::Mat;
use rayon::prelude::*;

use super::measures::{Direction, Interval, Measure, Pair, Reduction, Shared};
use super::representation::{Representation, check_pair};
use stereotax_base::data::{Error, Event, Monitor, Result};
use stereotax_base::stats::resampling::{ResamplingPlan, permute_by_id};
use stereotax_base::stats::summary::{normal_quantile, permutation_p, quantile, tie_tolerance};

/// Draws of the jackknife are orders of blocks that permutations do not use.
const JACKKNIFE_FROM: usize = 1 << 40;
/// One over the share that the jackknife leaves out.
const LEFT_OUT: usize = 5;

/// Which stimuli move together, and how often they are drawn.
#[derive(Debug, Clone)]
pub struct Blocks {
    plan: ResamplingPlan,
    rows: Vec<Vec<usize>>,
    n_rows: usize,
}

/// One partner by all measures, with every draw.
#[derive(Debug, Clone, PartialEq)]
pub struct PairDraws {
    /// One per measure; NaN where undefined.
    pub values: Vec<f64>,
    /// With stimuli permuted: permutations × measures.
    pub null: Mat<f64>,
    /// With stimuli weighted or left out, as each measure's interval asks: draws × measures.
    pub draws: Mat<f64>,
    /// Rank of the partner; `None` where nothing needed it.
    pub rank: Option<usize>,
}

/// The value of every measure for `x` with each of `ys`, and all draws of `blocks`.
///
/// Errors: different stimuli; blocks of several sizes where there are permutations; a stop that was asked for.
pub fn compare_with_all(
    x: &Representation<'_>,
    ys: &[&Representation<'_>],
    measures: &[&'static Measure],
    blocks: &Blocks,
    monitor: &Monitor<'_>,
) -> Result<Vec<PairDraws>> {
    for y in ys {
        check_pair(x, y)?;
    }
    let work = Work { x, ys, measures, blocks, monitor };
    let (n_null, n_draws) = (blocks.plan.n_permutations, blocks.plan.n_bootstraps);
    let needs_factors = measures
        .iter()
        .any(|m| m.reduction == Reduction::Factors || n_draws > 0 && m.interval == Interval::Jackknife);
    let needs_grams = measures.iter().any(|m| m.reduction == Reduction::Gram);
    let reduce = |side: &Representation<'_>| -> Result<Option<usize>> {
        monitor.check()?;
        if needs_grams {
            side.gram();
        }
        if needs_factors { side.rank().map(Some) } else { Ok(None) }
    };
    let (of_x, ranks) =
        rayon::join(|| reduce(x), || ys.par_iter().map(|y| reduce(y)).collect::<Result<Vec<_>>>());
    of_x?;
    let pairs: Vec<Pair<'_>> = ys.iter().map(|y| Pair::new(x, y)).collect::<Result<_>>()?;
    // What several measures share comes first: no thread waits for what another one computes.
    let mut shared: Vec<Shared> = Vec::new();
    for what in measures.iter().filter_map(|measure| measure.shares) {
        if !shared.contains(&what) {
            shared.push(what);
        }
    }
    if needs_factors {
        pairs.par_iter().try_for_each(|pair| pair.factors().map(drop))?;
    }
    let tasks_of = |n: usize| -> Vec<(usize, usize)> {
        (0..ys.len()).flat_map(|pair| (0..n).map(move |at| (pair, at))).collect()
    };
    tasks_of(shared.len())
        .par_iter()
        .with_max_len(1)
        .try_for_each(|&(pair, at)| monitor.check().and_then(|()| pairs[pair].prepare(shared[at])))?;
    let values: Vec<f64> = tasks_of(measures.len())
        .par_iter()
        .with_max_len(1)
        .map(|&(pair, at)| monitor.check().and_then(|()| measures[at].of(&pairs[pair])))
        .collect::<Result<_>>()?;
    let mut found: Vec<PairDraws> = ranks?
        .into_iter()
        .enumerate()
        .map(|(pair, rank)| PairDraws {
            values: values[pair * measures.len()..(pair + 1) * measures.len()].to_vec(),
            null: Mat::zeros(n_null, measures.len()),
            draws: Mat::zeros(n_draws, measures.len()),
            rank,
        })
        .collect();
    if n_null > 0 {
        blocks.check_sizes()?;
        let null = work.each_draw("permutations", n_null, |draw| work.permuted(draw))?;
        for (draw, values) in null.iter().enumerate() {
            put(&mut found, draw, values, |pair| &mut pair.null);
        }
    }
    if n_draws > 0 {
        let drawn = work.each_draw("intervals", n_draws, |draw| work.resampled(draw))?;
        for (draw, values) in drawn.iter().enumerate() {
            put(&mut found, draw, values, |pair| &mut pair.draws);
        }
    }
    Ok(found)
}

/// One draw of all partners, measure after measure, into its row.
fn put(found: &mut [PairDraws], draw: usize, values: &[f64], of: impl Fn(&mut PairDraws) -> &mut Mat<f64>) {
    let n_measures = values.len().checked_div(found.len()).unwrap_or(0);
    for (pair, values) in found.iter_mut().zip(values.chunks_exact(n_measures.max(1))) {
        values.iter().enumerate().for_each(|(at, value)| of(pair)[(draw, at)] = *value);
    }
}

/// What all draws share.
struct Work<'a, 'b> {
    x: &'a Representation<'b>,
    ys: &'a [&'a Representation<'b>],
    measures: &'a [&'static Measure],
    blocks: &'a Blocks,
    monitor: &'a Monitor<'a>,
}

impl Work<'_, '_> {
    /// Draws in parallel, each told to whoever watches.
    fn each_draw(
        &self,
        task: &str,
        n: usize,
        of: impl Fn(usize) -> Result<Vec<f64>> + Sync,
    ) -> Result<Vec<Vec<f64>>> {
        self.monitor.tell(Event::Started { task: task.to_owned(), total: n as u64 });
        let drawn = (0..n)
            .into_par_iter()
            .map(|draw| {
                self.monitor.check()?;
                let values = of(draw)?;
                self.monitor.tell(Event::Advanced { done: 1 });
                Ok(values)
            })
            .collect::<Result<_>>()?;
        self.monitor.tell(Event::Finished { task: task.to_owned() });
        Ok(drawn)
    }

    fn permuted(&self, draw: usize) -> Result<Vec<f64>> {
        let moved = self.x.permuted(&self.blocks.permutation(draw));
        let mut values = Vec::with_capacity(self.ys.len() * self.measures.len());
        for y in self.ys {
            values.extend(evaluate(&moved, y, self.measures)?);
        }
        Ok(values)
    }

    fn resampled(&self, draw: usize) -> Result<Vec<f64>> {
        let of_kind = |kind: Interval| self.measures.iter().any(|m| m.interval == kind);
        let weights = of_kind(Interval::Bootstrap).then(|| self.blocks.weights(draw));
        let rows =
            Some(self.blocks.kept(draw)).filter(|rows| of_kind(Interval::Jackknife) && rows.len() >= 2);
        let subset = rows.as_ref().map(|rows| self.x.subset(rows)).transpose()?;
        let mut values = Vec::with_capacity(self.ys.len() * self.measures.len());
        for y in self.ys {
            let pair = Pair::new(self.x, y)?;
            let other = rows.as_ref().map(|rows| y.subset(rows)).transpose()?;
            let kept = match (&subset, &other) {
                (Some(subset), Some(other)) => Some(Pair::new(subset, other)?),
                _ => None,
            };
            for measure in self.measures {
                values.push(match (measure.interval, &weights, &kept) {
                    (Interval::Bootstrap, Some(weights), _) => {
                        measure.weighted(&pair, weights).unwrap_or(f64::NAN)
                    }
                    (Interval::Jackknife, _, Some(kept)) => measure.of(kept)?,
                    _ => f64::NAN,
                });
            }
        }
        Ok(values)
    }
}

fn evaluate(
    x: &Representation<'_>,
    y: &Representation<'_>,
    measures: &[&'static Measure],
) -> Result<Vec<f64>> {
    let pair = Pair::new(x, y)?;
    measures.iter().map(|measure| measure.of(&pair)).collect()
}

/// The mean of a null distribution, and how often it reaches a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChanceLevel {
    /// Mean of the draws; NaN without any.
    pub chance: f64,
    /// Their standard deviation.
    pub spread: f64,
    /// One-sided p; NaN without draws or value.
    pub p_value: f64,
}

/// Judge a value by null draws, of which undefined ones (NaN) are left out.
pub fn chance_level(value: f64, null: impl Iterator<Item = f64>, direction: Direction) -> ChanceLevel {
    let draws: Vec<f64> = null.filter(|v| !v.is_nan()).collect();
    if value.is_nan() || draws.is_empty() {
        return ChanceLevel { chance: f64::NAN, spread: f64::NAN, p_value: f64::NAN };
    }
    let chance = draws.iter().sum::<f64>() / draws.len() as f64;
    let variance = draws.iter().map(|v| (v - chance).powi(2)).sum::<f64>() / draws.len() as f64;
    let tie = tie_tolerance(value);
    let reaching = draws.iter().filter(|&&v| match direction {
        Direction::Similarity => v >= value - tie,
        Direction::Distance => v <= value + tie,
    });
    ChanceLevel { chance, spread: variance.sqrt(), p_value: permutation_p(reaching.count(), draws.len()) }
}

/// The interval of a value from its draws, as the measure declares it, held within its range; `None` with too few.
///
/// Weights: quantiles of the draws. Subsets: θ ± z s.e. with s.e.² the mean of e_b².
pub fn interval_of(
    value: f64,
    draws: impl Iterator<Item = f64>,
    measure: &Measure,
    blocks: &Blocks,
    level: f64,
) -> Option<[f64; 2]> {
    let draws: Vec<f64> = draws.filter(|v| !v.is_nan()).collect();
    let tail = 0.5 * (1.0 - level);
    if value.is_nan() || draws.is_empty() {
        return None;
    }
    if measure.interval == Interval::Bootstrap {
        return Some([quantile(&draws, tail), quantile(&draws, 1.0 - tail)]);
    }
    if draws.len() < 2 {
        return None;
    }
    let mean = draws.iter().sum::<f64>() / draws.len() as f64;
    let spread = draws.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / draws.len() as f64;
    let half = normal_quantile(1.0 - tail) * spread.sqrt() * blocks.factor(Interval::Jackknife);
    Some([(value - half).max(measure.lowest), (value + half).min(measure.highest)])
}

impl Blocks {
    /// Rows that share an id move together; without ids each row is its own block.
    ///
    /// Errors: another number of ids than `n` rows; no row.
    pub fn new(
        n: usize,
        ids: Option<&[String]>,
        seed: u64,
        n_bootstraps: usize,
        n_permutations: usize,
    ) -> Result<Self> {
        let numbers: Vec<String>;
        let ids = match ids {
            Some(ids) => ids,
            None => {
                numbers = (0..n).map(|row| format!("{row:09}")).collect();
                &numbers
            }
        };
        if ids.len() != n {
            return Err(Error::Shape {
                what: "blocks".into(),
                expected: format!("{n} ids (one per stimulus)"),
                found: ids.len().to_string(),
                hint: "rows that move together share an id".into(),
            });
        }
        let mut names: Vec<String> = Vec::new();
        let mut at = std::collections::HashMap::new();
        let mut rows: Vec<Vec<usize>> = Vec::new();
        for (row, id) in ids.iter().enumerate() {
            let place = *at.entry(id.as_str()).or_insert_with(|| {
                names.push(id.clone());
                rows.push(Vec::new());
                names.len() - 1
            });
            rows[place].push(row);
        }
        let plan = ResamplingPlan::new(seed, &names, n_bootstraps, n_permutations)?;
        Ok(Blocks { plan, rows, n_rows: n })
    }

    /// How many blocks.
    pub fn n(&self) -> usize {
        self.rows.len()
    }

    fn n_kept(&self) -> usize {
        self.n() - self.n().div_ceil(LEFT_OUT)
    }

    /// What deviations of draws are multiplied by.
    pub fn factor(&self, kind: Interval) -> f64 {
        match kind {
            Interval::Bootstrap => 1.0,
            Interval::Jackknife => (self.n_kept() as f64 / (self.n() - self.n_kept()) as f64).sqrt(),
        }
    }

    /// Whether blocks may change places: all have one size.
    ///
    /// Error: two sizes, with a block of each.
    pub fn check_sizes(&self) -> Result<()> {
        let size = self.rows[0].len();
        let Some(other) = self.rows.iter().position(|rows| rows.len() != size) else { return Ok(()) };
        Err(Error::Invalid {
            what: "blocks".into(),
            expected: format!("blocks of one size to permute (`{}` has {size})", self.plan.block_ids[0]),
            found: format!("`{}` of {}", self.plan.block_ids[other], self.rows[other].len()),
            hint: "cut blocks of equal length, or ask for no permutations".into(),
        })
    }

    /// The row of the first side that comes to each row in a permutation.
    ///
    /// Blocks of the second side move by the plan's order; moving the first side back is the same comparison.
    fn permutation(&self, draw: usize) -> Vec<usize> {
        let mut order = vec![0; self.n_rows];
        for (to, from) in self.plan.permutation(draw).into_iter().enumerate() {
            self.rows[to].iter().zip(&self.rows[from]).for_each(|(&to, &from)| order[from] = to);
        }
        order
    }

    fn weights(&self, draw: usize) -> Vec<f64> {
        let mut weights = vec![0.0; self.n_rows];
        for (rows, count) in self.rows.iter().zip(self.plan.bootstrap(draw).blocks) {
            rows.iter().for_each(|&row| weights[row] = f64::from(count));
        }
        weights
    }

    /// Rows of all but a fifth of the blocks, in order.
    fn kept(&self, draw: usize) -> Vec<usize> {
        let ids = &self.plan.block_ids;
        let order = permute_by_id(ids, self.plan.seed, JACKKNIFE_FROM + draw);
        // By the order of ids, not of rows: what is left out must not depend on how rows are sorted.
        let mut places: Vec<usize> = (0..self.n()).collect();
        places.sort_by(|&a, &b| ids[a].cmp(&ids[b]));
        let kept = places[..self.n_kept()].iter().map(|&place| order[place]);
        let mut rows: Vec<usize> = kept.flat_map(|block| self.rows[block].clone()).collect();
        rows.sort_unstable();
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::super::compare::{CompareParams, compare};
    use super::super::measures::measure;
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn noise(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(23, "draws tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    #[test]
    fn blocks_move_as_wholes() {
        let ids = |size: usize| (0..24).map(|i| format!("run {}", i / size)).collect::<Vec<_>>();
        let blocks = Blocks::new(24, Some(&ids(4)), 0, 5, 5).unwrap();
        for draw in 0..5 {
            let order = blocks.permutation(draw);
            assert!(order.chunks(4).all(|c| c[0] % 4 == 0 && c.windows(2).all(|w| w[1] == w[0] + 1)));
            assert_eq!(blocks.kept(draw).len(), 16, "two blocks of six are left out");
        }
        assert_eq!(blocks.factor(Interval::Jackknife), 2f64.sqrt());
        assert!(Blocks::new(24, Some(&ids(5)), 0, 5, 5).unwrap().check_sizes().is_err());
        assert!(Blocks::new(23, Some(&ids(4)), 0, 5, 5).is_err());
    }

    #[test]
    fn many_partners_are_each_by_itself() {
        let (x, data) = (noise(20, 5, 0), [noise(20, 4, 1), noise(20, 30, 2), Mat::full(20, 2, 1.0)]);
        let chosen: Vec<&'static Measure> =
            ["cka_debiased", "pwcca", "rsa_spearman"].iter().map(|id| measure(id).unwrap()).collect();
        let a = Representation::new("x", x.as_ref()).unwrap();
        let ys: Vec<Representation<'_>> =
            data.iter().map(|y| Representation::new("y", y.as_ref()).unwrap()).collect();
        let blocks = Blocks::new(20, None, 3, 12, 9).unwrap();
        let found =
            compare_with_all(&a, &ys.iter().collect::<Vec<_>>(), &chosen, &blocks, &Monitor::silent())
                .unwrap();
        let params =
            CompareParams { n_permutations: 9, n_bootstraps: 12, seed: 3, ..CompareParams::default() };
        for (y, pair) in ys.iter().zip(&found) {
            let alone = compare(&a, y, &chosen, &params, &Monitor::silent()).unwrap();
            for (at, one) in alone.measures.iter().enumerate() {
                assert!(one.value == pair.values[at] || one.value.is_nan() && pair.values[at].is_nan());
                let null = pair.null.col(at).iter().copied();
                let p = chance_level(one.value, null, chosen[at].direction).p_value;
                assert!(one.p_value == p || one.p_value.is_nan() && p.is_nan());
            }
            assert_eq!((pair.null.nrows(), pair.draws.nrows()), (9, 12));
        }
        assert!(found[2].values.iter().all(|v| v.is_nan()));
    }

    #[test]
    fn a_moved_first_side_is_a_second_side_moved_back() {
        let (x, y) = (noise(18, 4, 5), noise(18, 6, 6));
        let [a, b] = [&x, &y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        let blocks = Blocks::new(18, None, 1, 0, 3).unwrap();
        let cka = measure("cka_linear").unwrap();
        for draw in 0..3 {
            let moved = a.permuted(&blocks.permutation(draw));
            let other = b.permuted(&blocks.plan.permutation(draw));
            let of =
                |x: &Representation<'_>, y: &Representation<'_>| cka.of(&Pair::new(x, y).unwrap()).unwrap();
            assert!((of(&moved, &b) - of(&a, &other)).abs() < 1e-12);
        }
    }

    #[test]
    fn chance_and_intervals_by_hand() {
        let level = chance_level(2.0, [1.0, 2.0, 3.0, f64::NAN].into_iter(), Direction::Similarity);
        // Two of three reach 2: (1 + 2)/(1 + 3); the spread of 1, 2, 3 is √(2/3).
        assert_eq!((level.chance, level.p_value), (2.0, 0.75));
        assert!((level.spread - (2.0f64 / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!(chance_level(0.5, [1.0, 2.0].into_iter(), Direction::Distance).p_value, 1.0 / 3.0);
        assert!(chance_level(f64::NAN, [1.0].into_iter(), Direction::Distance).p_value.is_nan());
        // Ten stimuli, two left out: f = 2. Deviations ±0.1: s.e. 0.2.
        let blocks = Blocks::new(10, None, 0, 2, 0).unwrap();
        let shape = measure("procrustes_r2").unwrap();
        let found = interval_of(0.5, [0.3, 0.5].into_iter(), shape, &blocks, 0.95).unwrap();
        assert!((found[0] - (0.5 - 0.2 * 1.959_963_984_540_054)).abs() < 1e-9);
        assert!((found[1] - (0.5 + 0.2 * 1.959_963_984_540_054)).abs() < 1e-9);
        assert!(interval_of(0.5, [0.3].into_iter(), shape, &blocks, 0.95).is_none());
    }
}
