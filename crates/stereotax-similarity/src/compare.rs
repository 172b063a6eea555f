//! Compare two representations by many measures at once, with chance levels and intervals from one plan.
//!
//! Draws, chance levels and intervals are those of [`super::draws`], with one partner. All are keyed by the ids of
//! stimuli, so that every pair with the same ids sees the same ones.
//!
//! Source: specs: encoding-manifolds 6.8, peers 5 (1, 5, 7) and 7. Cost: that of the reductions and one evaluation per
//! measure and permutation; jackknife draws need their own factors.

use super::cca::saturates;
use super::draws::{Blocks, chance_level, compare_with_all, interval_of};
use super::measures::{Interval, Measure};
use super::representation::{Representation, check_pair};
use stereotax_base::data::{Error, Monitor, Result};

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
    if !(params.level > 0.0 && params.level < 1.0) {
        return Err(Error::Invalid {
            what: "level".into(),
            expected: "a number between 0 and 1".into(),
            found: params.level.to_string(),
            hint: "0.95 is customary".into(),
        });
    }
    let ids = params.blocks.as_deref();
    let blocks = Blocks::new(x.n_stimuli(), ids, params.seed, params.n_bootstraps, params.n_permutations)?;
    let mut drawn = compare_with_all(x, &[y], measures, &blocks, monitor)?;
    let drawn = drawn.remove(0);
    let (rank_x, rank_y) = match drawn.rank {
        Some(rank) => (x.rank()?, rank),
        None => (0, 0),
    };
    let found = measures
        .iter()
        .enumerate()
        .map(|(at, measure)| {
            let value = drawn.values[at];
            let level = chance_level(value, drawn.null.col(at).iter().copied(), measure.direction);
            let mut warnings = warnings(measure, rank_x, rank_y, x.n_stimuli());
            let draws = || drawn.draws.col(at).iter().copied();
            // Where ranks force the value up, its spread tells nothing.
            let interval = match warnings.is_empty() {
                true => interval_of(value, draws(), measure, &blocks, params.level),
                false => None,
            };
            if interval.is_some_and(|[lower, upper]| !(lower <= value && value <= upper)) {
                // Said, not hidden: it happens near the ends of a range.
                let told = "the draws do not surround the value; read the interval with care".to_owned();
                warnings.push(told);
            }
            Compared {
                measure: measure.id,
                value,
                lower: interval.map_or(f64::NAN, |ends| ends[0]),
                upper: interval.map_or(f64::NAN, |ends| ends[1]),
                interval: interval.map(|_| measure.interval),
                chance: level.chance,
                p_value: level.p_value,
                n_draws: draws().filter(|v| !v.is_nan()).count(),
                warnings,
            }
        })
        .collect();
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

#[cfg(test)]
mod tests {
    use super::super::measures::{Direction, MEASURES, measure};
    use super::*;
    use faer::Mat;
    use stereotax_base::stats::rng::Stream;

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
    fn wrong_blocks_are_refused() {
        let (x, y) = signal(24, 5, 6);
        let ids = |size: usize| Some((0..24).map(|i| format!("run {}", i / size)).collect::<Vec<_>>());
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
