//! Compare two representations by many measures at once, with chance levels and intervals from one plan.
//!
//! Reductions are computed once and serve all measures and all draws. A permutation moves the stimuli of the second
//! side: its Gram, singular vectors and distances are reordered, not computed again. Intervals are those that each
//! measure declares ([`Interval`]): a bootstrap over stimuli with weights, or a jackknife that leaves a fifth of them
//! out at a time,
//!
//! ```text
//! s.e.² = m/(n − m) · mean_b (θ_b − θ̄)²,   m stimuli kept;   θ ± z s.e., held within the range of the measure
//! ```
//!
//! All draws are keyed by the ids of stimuli (or blocks of them), so that every measure, and every pair with the same
//! ids, sees the same ones.
//!
//! Source: specs: encoding-manifolds 6.8, peers 5 (1, 5, 7) and 7; Shao & Wu 1989 (leaving many out). Cost: that of the
//! reductions and one evaluation per measure and permutation; jackknife draws need their own factors.

use rayon::prelude::*;

use super::cca::saturates;
use super::measures::{Direction, Interval, Measure, Pair};
use super::representation::{Representation, check_pair};
use crate::data::{Error, Event, Monitor, Result};
use crate::stats::resampling::{ResamplingPlan, permute_by_id};
use crate::stats::summary::{normal_quantile, permutation_p, quantile, tie_tolerance};

/// Draws of the jackknife are orders of blocks that permutations do not use.
const JACKKNIFE_FROM: usize = 1 << 40;
/// One over the share that the jackknife leaves out.
const LEFT_OUT: usize = 5;

/// What to compare, and how often to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct CompareParams {
    /// Permutations of stimuli for chance levels and p-values; 0 for none.
    pub n_permutations: usize,
    /// Draws for intervals; 0 for none.
    pub n_bootstraps: usize,
    /// Coverage of intervals. Default 0.95.
    pub level: f64,
    /// Seed of all draws.
    pub seed: u64,
    /// One id per stimulus; rows with one id form a block that moves as a whole. Default: each row is its own.
    pub blocks: Option<Vec<String>>,
}

impl Default for CompareParams {
    fn default() -> Self {
        CompareParams { n_permutations: 99, n_bootstraps: 0, level: 0.95, seed: 0, blocks: None }
    }
}

/// One measure of one pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Which measure.
    pub measure: &'static str,
    /// Its value; NaN where it is undefined.
    pub value: f64,
    /// Lower end of the interval; NaN without one.
    pub lower: f64,
    /// Upper end of the interval.
    pub upper: f64,
    /// What the interval rests on; `None` without one.
    pub interval: Option<Interval>,
    /// Mean over permutations; NaN without them.
    pub chance: f64,
    /// p of the hypothesis that stimuli do not correspond, one-sided; NaN without permutations.
    pub p_value: f64,
    /// Draws that were defined, for the interval.
    pub n_draws: usize,
    /// What a reader has to know; empty if nothing.
    pub warnings: Vec<String>,
}

/// All measures of one pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// In the order asked for.
    pub measures: Vec<Compared>,
    /// Stimuli.
    pub n_stimuli: usize,
    /// Units of the first side.
    pub n_units_x: usize,
    /// Units of the second side.
    pub n_units_y: usize,
    /// Rank of the first side.
    pub rank_x: usize,
    /// Rank of the second side.
    pub rank_y: usize,
}

/// Evaluate measures on a pair.
///
/// Errors: different stimuli, a level outside (0, 1), blocks that do not fit; a stop that was asked for.
pub fn compare(
    x: &Representation<'_>,
    y: &Representation<'_>,
    measures: &[&'static Measure],
    params: &CompareParams,
    monitor: &Monitor<'_>,
) -> Result<Comparison> {
    check_pair(x, y)?;
    let blocks = Blocks::new(x.n_stimuli(), params)?;
    let needs_factors = measures.iter().any(|m| m.reduction == super::measures::Reduction::Factors)
        || params.n_bootstraps > 0 && measures.iter().any(|m| m.interval == Interval::Jackknife);
    let needs_grams = measures.iter().any(|m| m.reduction == super::measures::Reduction::Gram);
    let reduce = |side: &Representation<'_>| {
        if needs_grams {
            side.gram();
        }
        if needs_factors { side.rank() } else { Ok(0) }
    };
    let (rank_x, rank_y) = rayon::join(|| reduce(x), || reduce(y));
    let (rank_x, rank_y) = (rank_x?, rank_y?);
    let pair = Pair::new(x, y)?;
    let values: Vec<Result<f64>> =
        measures.par_iter().map(|measure| monitor.check().and_then(|()| measure.of(&pair))).collect();
    let mut found = Vec::with_capacity(measures.len());
    for (measure, value) in measures.iter().zip(values) {
        found.push(Compared {
            measure: measure.id,
            value: value?,
            lower: f64::NAN,
            upper: f64::NAN,
            interval: None,
            chance: f64::NAN,
            p_value: f64::NAN,
            n_draws: 0,
            warnings: warnings(measure, rank_x, rank_y, x.n_stimuli()),
        });
    }
    if params.n_permutations > 0 {
        add_chance(&mut found, x, y, measures, &blocks, params, monitor)?;
    }
    if params.n_bootstraps > 0 {
        add_intervals(&mut found, x, y, measures, &blocks, params, monitor)?;
    }
    Ok(Comparison {
        measures: found,
        n_stimuli: x.n_stimuli(),
        n_units_x: x.n_units(),
        n_units_y: y.n_units(),
        rank_x,
        rank_y,
    })
}

fn warnings(measure: &Measure, rank_x: usize, rank_y: usize, n: usize) -> Vec<String> {
    if measure.saturates && saturates(rank_x, rank_y, n) {
        return vec![format!(
            "ranks {rank_x} and {rank_y} add up to more than the {} that {n} stimuli allow: some correlations are 1 \
             whatever the data are",
            n - 1
        )];
    }
    vec![]
}

fn add_chance(
    found: &mut [Compared],
    x: &Representation<'_>,
    y: &Representation<'_>,
    measures: &[&'static Measure],
    blocks: &Blocks,
    params: &CompareParams,
    monitor: &Monitor<'_>,
) -> Result<()> {
    blocks.check_sizes()?;
    let task = "permutations".to_owned();
    monitor.tell(Event::Started { task: task.clone(), total: params.n_permutations as u64 });
    let null: Vec<Vec<f64>> = (0..params.n_permutations)
        .into_par_iter()
        .map(|draw| {
            monitor.check()?;
            let moved = y.permuted(&blocks.permutation(draw));
            let values = evaluate(x, &moved, measures)?;
            monitor.tell(Event::Advanced { done: 1 });
            Ok(values)
        })
        .collect::<Result<_>>()?;
    monitor.tell(Event::Finished { task });
    for (at, (compared, measure)) in found.iter_mut().zip(measures).enumerate() {
        let draws: Vec<f64> = null.iter().map(|values| values[at]).filter(|v| !v.is_nan()).collect();
        if compared.value.is_nan() || draws.is_empty() {
            continue;
        }
        compared.chance = draws.iter().sum::<f64>() / draws.len() as f64;
        let tie = tie_tolerance(compared.value);
        let reaching = draws.iter().filter(|&&v| match measure.direction {
            Direction::Similarity => v >= compared.value - tie,
            Direction::Distance => v <= compared.value + tie,
        });
        compared.p_value = permutation_p(reaching.count(), draws.len());
    }
    Ok(())
}

fn evaluate(
    x: &Representation<'_>,
    y: &Representation<'_>,
    measures: &[&'static Measure],
) -> Result<Vec<f64>> {
    let pair = Pair::new(x, y)?;
    measures.iter().map(|measure| measure.of(&pair)).collect()
}

fn add_intervals(
    found: &mut [Compared],
    x: &Representation<'_>,
    y: &Representation<'_>,
    measures: &[&'static Measure],
    blocks: &Blocks,
    params: &CompareParams,
    monitor: &Monitor<'_>,
) -> Result<()> {
    let of_kind = |kind: Interval| -> Vec<usize> {
        (0..measures.len()).filter(|&at| measures[at].interval == kind).collect()
    };
    let (weighted, kept) = (of_kind(Interval::Bootstrap), of_kind(Interval::Jackknife));
    let pair = Pair::new(x, y)?;
    let chosen: Vec<&'static Measure> = kept.iter().map(|&at| measures[at]).collect();
    let task = "intervals".to_owned();
    monitor.tell(Event::Started { task: task.clone(), total: params.n_bootstraps as u64 });
    let draws: Vec<(Vec<f64>, Vec<f64>)> = (0..params.n_bootstraps)
        .into_par_iter()
        .map(|draw| {
            monitor.check()?;
            let mut by_weight = Vec::new();
            if !weighted.is_empty() {
                let weights = blocks.weights(draw);
                by_weight = weighted
                    .iter()
                    .map(|&at| measures[at].weighted(&pair, &weights).unwrap_or(f64::NAN))
                    .collect();
            }
            let mut by_subset = Vec::new();
            if !chosen.is_empty() && blocks.n() > 1 {
                let rows = blocks.kept(draw);
                if rows.len() >= 2 {
                    by_subset = evaluate(&x.subset(&rows)?, &y.subset(&rows)?, &chosen)?;
                }
            }
            monitor.tell(Event::Advanced { done: 1 });
            Ok((by_weight, by_subset))
        })
        .collect::<Result<_>>()?;
    monitor.tell(Event::Finished { task });
    let tail = 0.5 * (1.0 - params.level);
    for (place, &at) in weighted.iter().enumerate() {
        let draws: Vec<f64> = draws.iter().map(|(w, _)| w[place]).filter(|v| !v.is_nan()).collect();
        let compared = &mut found[at];
        compared.n_draws = draws.len();
        if compared.value.is_nan() || draws.is_empty() {
            continue;
        }
        (compared.lower, compared.upper) = (quantile(&draws, tail), quantile(&draws, 1.0 - tail));
        compared.interval = Some(Interval::Bootstrap);
        if !(compared.lower <= compared.value && compared.value <= compared.upper) {
            // Said, not hidden: it happens near the ends of a range.
            let told = "the draws do not surround the value; read the interval with care".to_owned();
            compared.warnings.push(told);
        }
    }
    for (place, &at) in kept.iter().enumerate() {
        let draws: Vec<f64> =
            draws.iter().filter_map(|(_, s)| s.get(place).copied()).filter(|v| !v.is_nan()).collect();
        let compared = &mut found[at];
        compared.n_draws = draws.len();
        // Where ranks force the value up, its spread tells nothing.
        if compared.value.is_nan() || draws.len() < 2 || !compared.warnings.is_empty() {
            continue;
        }
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let spread = draws.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        let (kept, left) = (blocks.n_kept() as f64, (blocks.n() - blocks.n_kept()) as f64);
        let half = normal_quantile(1.0 - tail) * (spread * kept / left).sqrt();
        compared.lower = (compared.value - half).max(measures[at].lowest);
        compared.upper = (compared.value + half).min(measures[at].highest);
        compared.interval = Some(Interval::Jackknife);
    }
    Ok(())
}

/// Which rows move together.
struct Blocks {
    plan: ResamplingPlan,
    rows: Vec<Vec<usize>>,
    n_rows: usize,
}

impl Blocks {
    fn new(n: usize, params: &CompareParams) -> Result<Self> {
        if !(params.level > 0.0 && params.level < 1.0) {
            return Err(Error::Invalid {
                what: "level".into(),
                expected: "a number between 0 and 1".into(),
                found: params.level.to_string(),
                hint: "0.95 is customary".into(),
            });
        }
        let ids: Vec<String> = match &params.blocks {
            Some(ids) => ids.clone(),
            None => (0..n).map(|row| format!("{row:09}")).collect(),
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
        let plan = ResamplingPlan::new(params.seed, &names, params.n_bootstraps, params.n_permutations)?;
        Ok(Blocks { plan, rows, n_rows: n })
    }

    fn n(&self) -> usize {
        self.rows.len()
    }

    fn n_kept(&self) -> usize {
        self.n() - self.n().div_ceil(LEFT_OUT)
    }

    fn check_sizes(&self) -> Result<()> {
        let size = self.rows[0].len();
        let Some(other) = self.rows.iter().position(|rows| rows.len() != size) else { return Ok(()) };
        Err(Error::Invalid {
            what: "blocks".into(),
            expected: format!("blocks of one size to permute (`{}` has {size})", self.plan.block_ids[0]),
            found: format!("`{}` of {}", self.plan.block_ids[other], self.rows[other].len()),
            hint: "cut blocks of equal length, or ask for no permutations".into(),
        })
    }

    fn permutation(&self, draw: usize) -> Vec<usize> {
        let mut order = vec![0; self.n_rows];
        for (to, from) in self.plan.permutation(draw).into_iter().enumerate() {
            self.rows[to].iter().zip(&self.rows[from]).for_each(|(&to, &from)| order[to] = from);
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
    use super::super::measures::{MEASURES, measure};
    use super::*;
    use crate::stats::rng::Stream;
    use faer::Mat;

    fn noise(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(17, "compare tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    fn all() -> Vec<&'static Measure> {
        MEASURES.iter().collect()
    }

    fn run(x: &Mat<f64>, y: &Mat<f64>, measures: &[&'static Measure], params: &CompareParams) -> Comparison {
        let [a, b] = [x, y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        compare(&a, &b, measures, params, &Monitor::silent()).unwrap()
    }

    fn signal(n: usize, p: usize, q: usize) -> (Mat<f64>, Mat<f64>) {
        let shared = noise(n, 3, 1);
        let seen = |p: usize, index| &shared * &noise(3, p, index) + 1.5 * &noise(n, p, index + 1);
        (seen(p, 10), seen(q, 20))
    }

    #[test]
    fn every_interval_holds_its_estimate_and_every_p_value_finds_the_signal() {
        for (n, p, q) in [(60, 6, 8), (40, 100, 70)] {
            let (x, y) = signal(n, p, q);
            let params = CompareParams { n_permutations: 39, n_bootstraps: 60, ..CompareParams::default() };
            let found = run(&x, &y, &all(), &params);
            assert_eq!((found.n_stimuli, found.rank_x, found.rank_y), (n, p.min(n - 1), q.min(n - 1)));
            for compared in &found.measures {
                let of = measure(compared.measure).unwrap();
                let forced = of.saturates && p > n;
                assert_eq!(!compared.warnings.is_empty(), forced, "{compared:?}");
                if forced {
                    assert!(compared.interval.is_none() && compared.lower.is_nan());
                    continue;
                }
                assert!(compared.lower <= compared.value && compared.value <= compared.upper, "{compared:?}");
                assert!(compared.lower < compared.upper && compared.interval == Some(of.interval));
                let above = match of.direction {
                    Direction::Similarity => compared.value > compared.chance,
                    Direction::Distance => compared.value < compared.chance,
                };
                assert!(above || of.reduction == super::super::Reduction::Units, "{compared:?}");
                if matches!(compared.measure, "cka_debiased" | "procrustes_angular" | "rsa_euclidean") {
                    assert_eq!(compared.p_value, 1.0 / 40.0, "{compared:?}");
                }
            }
        }
    }

    #[test]
    fn p_values_of_noise_are_uniform_enough() {
        let measures: Vec<&'static Measure> =
            ["cka_debiased", "cca_mean", "procrustes_angular", "rsa_spearman"]
                .iter()
                .map(|id| measure(id).unwrap())
                .collect();
        let mut low = [0; 4];
        for draw in 0..100 {
            let (x, y) = (noise(16, 3, 1000 + 2 * draw), noise(16, 4, 1001 + 2 * draw));
            let params = CompareParams { n_permutations: 19, seed: draw, ..CompareParams::default() };
            let found = run(&x, &y, &measures, &params);
            for (count, compared) in low.iter_mut().zip(&found.measures) {
                *count += i32::from(compared.p_value <= 0.2);
            }
        }
        // Binomial with n = 100 and p = 0.2: standard deviation 4.
        assert!(low.iter().all(|&count| (8..=33).contains(&count)), "{low:?}");
    }

    #[test]
    fn threads_and_order_of_measures_do_not_matter() {
        let (x, y) = signal(30, 5, 40);
        let params = CompareParams { n_permutations: 9, n_bootstraps: 9, ..CompareParams::default() };
        let with = |threads: usize, measures: &[&'static Measure]| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| format!("{:?}", run(&x, &y, measures, &params).measures))
        };
        let reference = with(1, &all());
        assert_eq!(with(4, &all()), reference);
        // Alone, a measure has the bits that it has in company.
        for measure in all() {
            let alone = with(2, &[measure]);
            assert!(reference.contains(alone.trim_matches(['[', ']'])), "{}", measure.id);
        }
    }

    #[test]
    fn draws_follow_ids() {
        let (x, y) = signal(24, 5, 6);
        let order = Stream::new(1, "rows", 0).permutation(24);
        let moved = |x: &Mat<f64>| Mat::from_fn(24, x.ncols(), |i, j| x[(order[i], j)]);
        let ids: Vec<String> = (0..24).map(|i| format!("stimulus {i}")).collect();
        let of = |ids: Vec<String>| CompareParams {
            n_permutations: 9,
            n_bootstraps: 9,
            blocks: Some(ids),
            ..CompareParams::default()
        };
        let measures: Vec<&'static Measure> =
            ["cka_debiased", "cca_mean"].iter().map(|id| measure(id).unwrap()).collect();
        let a = run(&x, &y, &measures, &of(ids.clone()));
        let ids = order.iter().map(|&i| ids[i].clone()).collect();
        let b = run(&moved(&x), &moved(&y), &measures, &of(ids));
        for (a, b) in a.measures.iter().zip(&b.measures) {
            for (a, b) in [(a.chance, b.chance), (a.lower, b.lower), (a.upper, b.upper)] {
                assert!((a - b).abs() < 1e-10, "{a} {b}");
            }
        }
    }

    #[test]
    fn blocks_move_as_wholes_and_wrong_ones_are_refused() {
        let (x, y) = signal(24, 5, 6);
        let ids = |size: usize| Some((0..24).map(|i| format!("run {}", i / size)).collect::<Vec<_>>());
        let params = CompareParams { blocks: ids(4), n_permutations: 5, ..CompareParams::default() };
        let blocks = Blocks::new(24, &params).unwrap();
        for draw in 0..5 {
            let order = blocks.permutation(draw);
            assert!(order.chunks(4).all(|c| c[0] % 4 == 0 && c.windows(2).all(|w| w[1] == w[0] + 1)));
            assert_eq!(blocks.kept(draw).len(), 16, "two blocks of six are left out");
        }
        let [a, b] = [&x, &y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        let refused = |params: CompareParams| {
            let cka = [measure("cka_linear").unwrap()];
            compare(&a, &b, &cka, &params, &Monitor::silent()).unwrap_err().to_string()
        };
        let uneven = CompareParams { blocks: ids(5), ..CompareParams::default() };
        assert!(refused(uneven).contains("one size"));
        let short = CompareParams { blocks: Some(vec!["a".into()]), ..CompareParams::default() };
        assert!(refused(short).contains("24 ids"));
        assert!(refused(CompareParams { level: 1.0, ..CompareParams::default() }).contains("level"));
    }

    #[test]
    fn an_undefined_value_has_no_p_value() {
        let (x, constant) = (noise(12, 3, 7), Mat::full(12, 2, 1.0));
        let params = CompareParams { n_permutations: 9, n_bootstraps: 9, ..CompareParams::default() };
        for compared in run(&x, &constant, &all(), &params).measures {
            assert!(compared.value.is_nan() && compared.p_value.is_nan() && compared.lower.is_nan());
            assert!(compared.interval.is_none());
        }
    }
}
