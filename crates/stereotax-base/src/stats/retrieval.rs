//! Judge predictions by whether they find their own stimulus: top-k retrieval, rank accuracy, 2-versus-2.
//!
//! Predicted embeddings P and true ones T are n × d; C_ij is the similarity of P_i and T_j (cosine, or
//! Pearson's correlation: cosine of rows from which their means are taken).
//!
//! | score | definition | chance |
//! | --- | --- | --- |
//! | rank of i | 1 + number of other candidates whose similarity is not lower | (N + 1)/2 |
//! | top-k | share of i with rank ≤ k | k/N |
//! | rank accuracy | mean of 1 − (rank − 1)/(N − 1): the share of others with a lower similarity | 1/2 |
//! | 2-versus-2 | share of pairs with C_ii + C_jj > C_ij + C_ji | 1/2 |
//!
//! A tie is a failure: a predictor that says the same of everything scores 0, not 1. So is a similarity that
//! does not exist (a zero row, a constant one for Pearson); such rows are counted. Similarities closer than
//! 10⁻¹² are tied. "Forward" takes a prediction and looks among stimuli, "backward" a stimulus and looks among
//! predictions. Rows of one stimulus are no rivals of each other: N counts the row itself and all rows of
//! other stimuli. For M < N candidates the chance of a rank ≤ k among the row and M − 1 random rivals is
//! taken from the hypergeometric distribution: the mean over all draws, of which others take some.
//!
//! Significance: predictions are permuted by stimuli (stimuli with equal numbers of rows among themselves);
//! p = (1 + #{null ≥ observed})/(1 + draws).
//! Source: Mitchell et al. 2008 (2-versus-2); specs: alignment-methods B18.
//! Cost: O(n²d + n² log n), and per draw O(n) for ranks, O(n²) for 2-versus-2; memory n².

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::resampling::permute_by_id;
use super::summary::{check_finite, mean, median, permutation_p, quantile, tie_tolerance};
use crate::data::{Error, Labels, Monitor, Result};
use crate::linalg::product;

/// Similarities closer than this are tied.
const TIE: f64 = 1e-12;

/// How alike two embeddings are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// xᵀy / (‖x‖ ‖y‖) (the default).
    #[default]
    Cosine,
    /// The cosine of centred rows.
    Pearson,
}

/// Predictions and what they should be, and how chance is drawn.
#[derive(Debug, Clone)]
pub struct Matched<'a> {
    /// P, n × d.
    pub predicted: MatRef<'a, f64>,
    /// T, n × d; row i belongs to row i of P.
    pub observed: MatRef<'a, f64>,
    /// The stimulus of each row; rows of one stimulus are no rivals. Empty: every row has its own.
    pub stimuli: &'a [String],
    /// C.
    pub similarity: Similarity,
    /// Permutations of stimuli; 0: no p-values.
    pub n_permutations: usize,
    /// Seed of the permutations.
    pub seed: u64,
}

/// A share with what chance gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Chance {
    /// The observed share, in [0, 1].
    pub value: f64,
    /// What is expected without any relation and without ties.
    pub chance: f64,
    /// p-value of a share so large; NaN without permutations.
    pub p_value: f64,
    /// 95th percentile of the permuted shares; NaN without.
    pub null_q95: f64,
}

/// 2-versus-2 accuracy.
#[derive(Debug, Clone, PartialEq)]
pub struct TwoVsTwo {
    /// The share of pairs won.
    pub accuracy: Chance,
    /// The share of its pairs that each row wins; NaN for a row without pairs.
    pub per_row: Vec<f64>,
    /// Pairs of different stimuli.
    pub n_pairs: usize,
    /// Pairs lost by a tie.
    pub n_ties: usize,
    /// Pairs lost because a similarity does not exist.
    pub n_undefined: usize,
}

/// Ranks and what follows from them, in one direction.
#[derive(Debug, Clone, PartialEq)]
pub struct Retrieval {
    /// Rank of each row's own stimulus, from 1.
    pub ranks: Vec<usize>,
    /// Candidates of each row, itself among them.
    pub n_candidates: Vec<usize>,
    /// Top-k accuracy for each k asked for.
    pub top_k: Vec<(usize, Chance)>,
    /// Rank accuracy (two-way identification).
    pub rank_accuracy: Chance,
    /// 1 − (rank − 1)/(N − 1) of each row; NaN for a row without rivals.
    pub per_row: Vec<f64>,
    /// Mean rank.
    pub mean_rank: f64,
    /// Median rank.
    pub median_rank: f64,
    /// Mean of 1/rank.
    pub mean_reciprocal_rank: f64,
    /// Rows without a similarity to their own stimulus.
    pub n_undefined: usize,
}

/// In which direction stimuli are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// A prediction looks among stimuli.
    #[default]
    Forward,
    /// A stimulus looks among predictions.
    Backward,
}

/// 2-versus-2 accuracy over all pairs of rows of different stimuli.
///
/// Errors: different shapes, values that are not finite, fewer than two stimuli, a stop on request.
pub fn two_vs_two(data: &Matched<'_>, monitor: &Monitor<'_>) -> Result<TwoVsTwo> {
    let stimuli = Stimuli::new(data)?;
    let c = similarities(data, Direction::Forward);
    let n = c.nrows();
    let tol = 2.0 * TIE;
    let margin = |order: &dyn Fn(usize) -> usize, i: usize, j: usize| {
        let (a, b) = (order(i), order(j));
        (c[(a, i)] + c[(b, j)]) - (c[(a, j)] + c[(b, i)])
    };
    let (mut won, mut pairs) = (vec![0usize; n], vec![0usize; n]);
    let (mut n_ties, mut n_undefined) = (0, 0);
    for j in 0..n {
        for i in (0..j).filter(|&i| stimuli.of[i] != stimuli.of[j]) {
            let margin = margin(&|i| i, i, j);
            [i, j].into_iter().for_each(|row| pairs[row] += 1);
            if margin > tol {
                [i, j].into_iter().for_each(|row| won[row] += 1);
            } else if margin.is_nan() {
                n_undefined += 1;
            } else if margin >= -tol {
                n_ties += 1;
            }
        }
    }
    let n_pairs = pairs.iter().sum::<usize>() / 2;
    let null = draws(data, monitor, |b| {
        let order = stimuli.permutation(data.seed, b);
        let mut won = 0usize;
        for j in 0..n {
            won += (0..j)
                .filter(|&i| stimuli.of[i] != stimuli.of[j] && margin(&|i| order[i], i, j) > tol)
                .count();
        }
        vec![won as f64 / n_pairs as f64]
    })?;
    let share = won.iter().sum::<usize>() as f64 / 2.0 / n_pairs as f64;
    Ok(TwoVsTwo {
        accuracy: against(share, 0.5, null.iter().map(|draw| draw[0]).collect()),
        per_row: won.iter().zip(&pairs).map(|(&won, &of)| won as f64 / of as f64).collect(),
        n_pairs,
        n_ties,
        n_undefined,
    })
}

/// Ranks, top-k accuracies and rank accuracy of every row.
///
/// `ks`: the ks of top-k; `n_candidates`: M, all there are without it.
/// Errors: those of [`two_vs_two`]; a k of 0 or above the candidates, M below 2 or above the rows.
pub fn retrieval(
    data: &Matched<'_>,
    direction: Direction,
    ks: &[usize],
    n_candidates: Option<usize>,
    monitor: &Monitor<'_>,
) -> Result<Retrieval> {
    let stimuli = Stimuli::new(data)?;
    let c = similarities(data, direction);
    let n = c.nrows();
    let pool: Vec<usize> = (0..n).map(|i| n + 1 - stimuli.rows[stimuli.of[i]].len()).collect();
    let least = pool.iter().copied().min().unwrap_or(0);
    let invalid = |what: &str, expected: String, found: usize| Error::Invalid {
        what: what.into(),
        expected,
        found: found.to_string(),
        hint: "rows of one stimulus are not candidates of each other".into(),
    };
    if let Some(&m) = n_candidates.iter().find(|&&m| m < 2 || m > least) {
        return Err(invalid("n_candidates", format!("a whole number from 2 to {least}"), m));
    }
    let most = n_candidates.unwrap_or(least);
    if let Some(&k) = ks.iter().find(|&&k| k == 0 || k > most) {
        return Err(invalid("k", format!("a whole number from 1 to {most} (the candidates)"), k));
    }
    // Rank of j in row i, were it i's own: not lower are all but the lower ones, and rows of j do not count.
    let lines: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| c[(i, j)]).collect()).collect();
    let sorted: Vec<Vec<f64>> = lines
        .par_iter()
        .map(|line| {
            let mut line: Vec<f64> = line.iter().copied().filter(|v| !v.is_nan()).collect();
            line.sort_unstable_by(f64::total_cmp);
            line
        })
        .collect();
    let rank = |i: usize, j: usize| {
        let own = lines[i][j];
        let lower = |v: f64| v < own - TIE;
        let rivals = n - sorted[i].partition_point(|&v| lower(v));
        let kin = stimuli.rows[stimuli.of[j]].iter().filter(|&&k| !lower(lines[i][k])).count();
        1 + rivals - kin
    };
    // Top-k and rank accuracy of one row.
    let chances: Vec<Vec<f64>> =
        ks.iter().map(|&k| (0..n).map(|i| within(k, pool[i], n_candidates)).collect()).collect();
    let hit = |k: usize, rank: usize, pool: usize| match n_candidates {
        None => f64::from(u8::from(rank <= k)),
        Some(m) => hypergeometric_at_most(k - 1, pool - 1, rank - 1, m - 1),
    };
    let accuracy = |rank: usize, pool: usize| 1.0 - (rank - 1) as f64 / (pool - 1) as f64;
    let scores = |rank_of: &dyn Fn(usize) -> usize| -> Vec<f64> {
        let ranks: Vec<usize> = (0..n).map(rank_of).collect();
        let mean_of = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>() / n as f64;
        let mut found: Vec<f64> = ks.iter().map(|&k| mean_of(&|i| hit(k, ranks[i], pool[i]))).collect();
        found.push(mean_of(&|i| accuracy(ranks[i], pool[i])));
        found
    };
    let ranks: Vec<usize> = (0..n).map(|i| rank(i, i)).collect();
    let observed = scores(&|i| ranks[i]);
    let null = draws(data, monitor, |b| {
        let order = stimuli.permutation(data.seed, b);
        scores(&|i| rank(i, order[i]))
    })?;
    let column = |at: usize| null.iter().map(|draw| draw[at]).collect::<Vec<f64>>();
    let numbers: Vec<f64> = ranks.iter().map(|&r| r as f64).collect();
    Ok(Retrieval {
        top_k: ks
            .iter()
            .enumerate()
            .map(|(at, &k)| (k, against(observed[at], mean(&chances[at]), column(at))))
            .collect(),
        rank_accuracy: against(observed[ks.len()], 0.5, column(ks.len())),
        per_row: (0..n).map(|i| accuracy(ranks[i], pool[i])).collect(),
        mean_rank: mean(&numbers),
        median_rank: median(&numbers),
        mean_reciprocal_rank: mean(&numbers.iter().map(|r| 1.0 / r).collect::<Vec<_>>()),
        n_undefined: (0..n).filter(|&i| lines[i][i].is_nan()).count(),
        n_candidates: pool,
        ranks,
    })
}

fn within(k: usize, pool: usize, n_candidates: Option<usize>) -> f64 {
    k as f64 / n_candidates.unwrap_or(pool) as f64
}

/// P(X ≤ most) for X the marked ones among `drawn` of `total`, of which `marked` are marked.
fn hypergeometric_at_most(most: usize, total: usize, marked: usize, drawn: usize) -> f64 {
    let least = (drawn + marked).saturating_sub(total);
    let greatest = marked.min(drawn);
    if most >= greatest {
        return 1.0;
    }
    if most < least {
        return 0.0;
    }
    // Ratios of neighbouring terms, begun at the mode so that nothing underflows.
    let ratio = |x: usize| {
        // P(x + 1)/P(x)
        ((marked - x) * (drawn - x)) as f64 / ((x + 1) * (total + x + 1 - marked - drawn)) as f64
    };
    let mode = ((drawn + 1) * (marked + 1) / (total + 2)).clamp(least, greatest);
    let (mut below, mut above) = (0.0, 0.0);
    let mut add = |x: usize, term: f64| if x <= most { below += term } else { above += term };
    add(mode, 1.0);
    let mut term = 1.0;
    for x in mode..greatest {
        term *= ratio(x);
        add(x + 1, term);
    }
    term = 1.0;
    for x in (least..mode).rev() {
        term /= ratio(x);
        add(x, term);
    }
    below / (below + above)
}

/// Which rows belong to which stimulus.
struct Stimuli {
    of: Vec<usize>,
    rows: Vec<Vec<usize>>,
    /// Stimuli with equal numbers of rows, by number and name.
    classes: Vec<(Vec<usize>, Vec<String>)>,
}

impl Stimuli {
    fn new(data: &Matched<'_>) -> Result<Self> {
        let n = data.predicted.nrows();
        let shape = |what: &str, expected: String, found: String| Error::Shape {
            what: what.into(),
            expected,
            found,
            hint: "row i of the predictions must belong to row i of what was observed".into(),
        };
        if data.observed.nrows() != n || data.observed.ncols() != data.predicted.ncols() {
            return Err(shape(
                "observed",
                format!("{} × {} values (as in `predicted`)", n, data.predicted.ncols()),
                format!("{} × {}", data.observed.nrows(), data.observed.ncols()),
            ));
        }
        if !data.stimuli.is_empty() && data.stimuli.len() != n {
            return Err(shape("stimuli", format!("{n} names (one per row)"), data.stimuli.len().to_string()));
        }
        check_finite("predicted", data.predicted)?;
        check_finite("observed", data.observed)?;
        let own: Vec<String>;
        let names = if data.stimuli.is_empty() {
            own = (0..n).map(|i| i.to_string()).collect();
            &own
        } else {
            data.stimuli
        };
        let labels = Labels::new(names);
        if labels.n_groups() < 2 {
            return Err(Error::TooFew {
                what: "stimuli".into(),
                needed: "2 different stimuli".into(),
                found: labels.n_groups().to_string(),
                hint: "there is nothing to tell apart".into(),
            });
        }
        let mut rows = vec![Vec::new(); labels.n_groups()];
        labels.codes().iter().enumerate().for_each(|(row, &stimulus)| rows[stimulus].push(row));
        let mut sizes: Vec<usize> = rows.iter().map(Vec::len).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let classes = sizes
            .iter()
            .map(|&size| {
                let members: Vec<usize> = (0..rows.len()).filter(|&s| rows[s].len() == size).collect();
                let ids = members.iter().map(|&s| labels.names()[s].clone()).collect();
                (members, ids)
            })
            .collect();
        Ok(Stimuli { of: labels.codes().to_vec(), rows, classes })
    }

    /// The row whose stimulus takes the place of each row's own.
    fn permutation(&self, seed: u64, index: usize) -> Vec<usize> {
        let mut order = vec![0; self.of.len()];
        for (members, ids) in &self.classes {
            for (place, from) in permute_by_id(ids, seed, index).into_iter().enumerate() {
                let (to, from) = (&self.rows[members[place]], &self.rows[members[from]]);
                to.iter().zip(from).for_each(|(&to, &from)| order[to] = from);
            }
        }
        order
    }
}

fn draws(
    data: &Matched<'_>,
    monitor: &Monitor<'_>,
    draw: impl Fn(usize) -> Vec<f64> + Sync,
) -> Result<Vec<Vec<f64>>> {
    (0..data.n_permutations)
        .into_par_iter()
        .map(|b| {
            monitor.check()?;
            Ok(draw(b))
        })
        .collect()
}

fn against(value: f64, chance: f64, null: Vec<f64>) -> Chance {
    if null.is_empty() {
        return Chance { value, chance, p_value: f64::NAN, null_q95: f64::NAN };
    }
    let exceeding = null.iter().filter(|&&v| v >= value - tie_tolerance(value)).count();
    Chance { value, chance, p_value: permutation_p(exceeding, null.len()), null_q95: quantile(&null, 0.95) }
}

/// C, or Cᵀ for the backward direction; NaN where a side has no direction.
fn similarities(data: &Matched<'_>, direction: Direction) -> Mat<f64> {
    let unit = |x: MatRef<f64>| {
        let mut x = x.to_owned();
        for i in 0..x.nrows() {
            let largest = x.row(i).iter().fold(0.0, |m: f64, v| m.max(v.abs()));
            if data.similarity == Similarity::Pearson {
                let level = x.row(i).iter().sum::<f64>() / x.ncols() as f64;
                x.row_mut(i).iter_mut().for_each(|v| *v -= level);
            }
            // Scaled first, so that squares neither overflow nor vanish.
            x.row_mut(i).iter_mut().for_each(|v| *v /= largest);
            let length = x.row(i).norm_l2();
            let none = !(length > 64.0 * f64::EPSILON * (x.ncols() as f64).sqrt());
            x.row_mut(i).iter_mut().for_each(|v| *v = if none { f64::NAN } else { *v / length });
        }
        x
    };
    let (p, t) = (unit(data.predicted), unit(data.observed));
    match direction {
        Direction::Forward => product(p.as_ref(), t.transpose()),
        Direction::Backward => product(t.as_ref(), p.transpose()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;

    fn matched<'a>(p: &'a Mat<f64>, t: &'a Mat<f64>) -> Matched<'a> {
        Matched {
            predicted: p.as_ref(),
            observed: t.as_ref(),
            stimuli: &[],
            similarity: Similarity::Cosine,
            n_permutations: 0,
            seed: 0,
        }
    }

    fn planted(n: usize, d: usize, noise: f64, seed: u64) -> (Mat<f64>, Mat<f64>) {
        let mut stream = Stream::new(seed, "retrieval tests", 0);
        let t = Mat::from_fn(n, d, |_, _| stream.normal());
        let p = Mat::from_fn(n, d, |i, j| t[(i, j)] + noise * stream.normal());
        (p, t)
    }

    fn found(data: &Matched<'_>, direction: Direction, ks: &[usize], m: Option<usize>) -> Retrieval {
        retrieval(data, direction, ks, m, &Monitor::silent()).unwrap()
    }

    /// Vectors with given cosines: true ones are axes, predictions have C as coordinates and a rest.
    fn with_cosines(c: &[[f64; 3]; 3]) -> (Mat<f64>, Mat<f64>) {
        let p = Mat::from_fn(3, 6, |i, j| {
            if j < 3 {
                c[i][j]
            } else if j == 3 + i {
                (1.0 - c[i].iter().map(|v| v * v).sum::<f64>()).sqrt()
            } else {
                0.0
            }
        });
        (p, Mat::from_fn(3, 6, |i, j| f64::from(u8::from(i == j))))
    }

    #[test]
    fn ranks_of_the_specs_fixture() {
        // C = [.9 .2 .3; .8 .5 .1; 0 .4 .3]: ranks 1, 2, 2; backward (columns) 1, 1, 2 with a tie lost.
        let (p, t) = with_cosines(&[[0.9, 0.2, 0.3], [0.8, 0.5, 0.1], [0.0, 0.4, 0.3]]);
        let forward = found(&matched(&p, &t), Direction::Forward, &[1, 2], None);
        assert_eq!((forward.ranks.clone(), forward.n_candidates.clone()), (vec![1, 2, 2], vec![3; 3]));
        assert!((forward.top_k[0].1.value - 1.0 / 3.0).abs() < 1e-15);
        assert!((forward.top_k[0].1.chance - 1.0 / 3.0).abs() < 1e-15);
        assert_eq!(forward.top_k[1].1.value, 1.0);
        assert!((forward.rank_accuracy.value - 2.0 / 3.0).abs() < 1e-15);
        assert!((forward.mean_reciprocal_rank - 2.0 / 3.0).abs() < 1e-15);
        assert_eq!((forward.median_rank, forward.mean_rank), (2.0, 5.0 / 3.0));
        assert_eq!(found(&matched(&p, &t), Direction::Backward, &[1], None).ranks, [1, 1, 2]);
    }

    #[test]
    fn two_versus_two_of_the_specs_fixture() {
        // cos(y₁, ŷ₁) + cos(y₂, ŷ₂) = 1.547527 > cos(y₁, ŷ₂) + cos(y₂, ŷ₁) = .940459.
        let y = Mat::from_fn(2, 3, |i, j| [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]][i][j]);
        let p = Mat::from_fn(2, 3, |i, j| [[0.5, 0.1, 0.0], [0.6, 0.4, 0.2]][i][j]);
        let c = similarities(&matched(&p, &y), Direction::Forward);
        assert!((c[(0, 0)] + c[(1, 1)] - 1.547527).abs() < 5e-7);
        assert!((c[(1, 0)] + c[(0, 1)] - 0.940459).abs() < 5e-7);
        let test = two_vs_two(&matched(&p, &y), &Monitor::silent()).unwrap();
        assert_eq!((test.accuracy.value, test.n_pairs, test.n_ties), (1.0, 1, 0));
        let swapped = Mat::from_fn(2, 3, |i, j| p[(1 - i, j)]);
        assert_eq!(two_vs_two(&matched(&swapped, &y), &Monitor::silent()).unwrap().accuracy.value, 0.0);
    }

    #[test]
    fn whoever_says_the_same_of_everything_scores_nothing() {
        let (_, t) = planted(20, 8, 1.0, 1);
        let constant = Mat::from_fn(20, 8, |_, j| (j + 1) as f64);
        let test = two_vs_two(&matched(&constant, &t), &Monitor::silent()).unwrap();
        assert_eq!((test.accuracy.value, test.n_ties, test.n_undefined), (0.0, 190, 0));
        // Looked for among predictions, each of which is the same.
        let backward = found(&matched(&constant, &t), Direction::Backward, &[1, 5], None);
        assert_eq!(backward.ranks, [20; 20]);
        assert_eq!((backward.rank_accuracy.value, backward.top_k[1].1.value), (0.0, 0.0));
        // Without any direction, both ways.
        for direction in [Direction::Forward, Direction::Backward] {
            let none = found(&matched(&Mat::zeros(20, 8), &t), direction, &[1], None);
            assert_eq!((none.ranks, none.n_undefined), (vec![20; 20], 20));
        }
        let test = two_vs_two(&matched(&Mat::zeros(20, 8), &t), &Monitor::silent()).unwrap();
        assert_eq!((test.accuracy.value, test.n_undefined), (0.0, 190));
        let flat = Mat::from_fn(20, 8, |i, _| 0.1 + i as f64);
        let pearson = Matched { similarity: Similarity::Pearson, ..matched(&flat, &t) };
        assert_eq!(found(&pearson, Direction::Forward, &[1], None).n_undefined, 20);
    }

    #[test]
    fn scores_equal_their_definitions_by_loops() {
        let (p, t) = planted(30, 12, 2.5, 2);
        let stimuli: Vec<String> = (0..30).map(|i| format!("s{}", i * i % 23)).collect();
        for similarity in [Similarity::Cosine, Similarity::Pearson] {
            let data = Matched { stimuli: &stimuli, similarity, ..matched(&p, &t) };
            let c = similarities(&data, Direction::Forward);
            let (mut won, mut pairs) = (0, 0);
            for i in 0..30 {
                let rivals: Vec<usize> = (0..30).filter(|&j| stimuli[j] != stimuli[i]).collect();
                let ahead = rivals.iter().filter(|&&j| c[(i, j)] >= c[(i, i)]).count();
                let forward = found(&data, Direction::Forward, &[3], None);
                assert_eq!((forward.ranks[i], forward.n_candidates[i]), (1 + ahead, 1 + rivals.len()));
                assert!((forward.per_row[i] - (1.0 - ahead as f64 / rivals.len() as f64)).abs() < 1e-15);
                let ahead = rivals.iter().filter(|&&j| c[(j, i)] >= c[(i, i)]).count();
                assert_eq!(found(&data, Direction::Backward, &[3], None).ranks[i], 1 + ahead);
                for &j in rivals.iter().filter(|&&j| j < i) {
                    pairs += 1;
                    won += usize::from(c[(i, i)] + c[(j, j)] > c[(i, j)] + c[(j, i)]);
                }
            }
            let test = two_vs_two(&data, &Monitor::silent()).unwrap();
            assert_eq!((test.n_pairs, test.accuracy.value), (pairs, won as f64 / pairs as f64));
        }
    }

    #[test]
    fn fewer_candidates_are_the_mean_over_all_their_draws() {
        let (p, t) = planted(9, 5, 2.0, 3);
        let data = matched(&p, &t);
        let c = similarities(&data, Direction::Forward);
        let exact = found(&data, Direction::Forward, &[1, 2], Some(4));
        // Every set of 3 rivals out of 8, for every row.
        for (at, k) in [(0, 1), (1, 2)] {
            let (mut hits, mut sets) = (0, 0);
            for i in 0..9 {
                for mask in 0u32..1 << 9 {
                    if mask.count_ones() == 3 && mask >> i & 1 == 0 {
                        let ahead = (0..9).filter(|&j| mask >> j & 1 == 1 && c[(i, j)] >= c[(i, i)]).count();
                        sets += 1;
                        hits += usize::from(ahead < k);
                    }
                }
            }
            assert!((exact.top_k[at].1.value - hits as f64 / sets as f64).abs() < 1e-12);
            assert_eq!(exact.top_k[at].1.chance, k as f64 / 4.0);
        }
        // With all candidates nothing is left to draw.
        let all = found(&data, Direction::Forward, &[1, 2], Some(9));
        let plain = found(&data, Direction::Forward, &[1, 2], None);
        for at in 0..2 {
            assert!((all.top_k[at].1.value - plain.top_k[at].1.value).abs() < 1e-15);
        }
        // Large numbers neither overflow nor vanish: half of 20,000 rivals ahead, 299 drawn.
        let half = hypergeometric_at_most(149, 20_000, 10_000, 299);
        assert!((half - 0.5).abs() < 1e-12, "{half}");
    }

    #[test]
    fn accuracy_falls_from_one_to_chance_as_noise_grows_and_p_values_follow() {
        let accuracy = |noise| {
            let (p, t) = planted(60, 30, noise, 4);
            let data = Matched { n_permutations: 199, ..matched(&p, &t) };
            let top = found(&data, Direction::Forward, &[1, 5], None);
            (top, two_vs_two(&data, &Monitor::silent()).unwrap())
        };
        let (clear, clear_pairs) = accuracy(0.01);
        assert_eq!((clear.top_k[0].1.value, clear_pairs.accuracy.value), (1.0, 1.0));
        assert_eq!((clear.top_k[0].1.p_value, clear_pairs.accuracy.p_value), (1.0 / 200.0, 1.0 / 200.0));
        let (some, some_pairs) = accuracy(3.0);
        assert!(some.rank_accuracy.value < 1.0 && some.rank_accuracy.value > 0.7);
        assert!(some_pairs.accuracy.value < 1.0 && some_pairs.accuracy.p_value < 0.01);
        let (none, none_pairs) = accuracy(1e4);
        assert!((none.rank_accuracy.value - 0.5).abs() < 0.15 && none.rank_accuracy.p_value > 0.01);
        assert!((none_pairs.accuracy.value - 0.5).abs() < 0.2 && none_pairs.accuracy.p_value > 0.01);
        assert!((clear.rank_accuracy.null_q95 - 0.5).abs() < 0.15);
    }

    #[test]
    fn p_values_are_uniform_without_a_relation() {
        let stimuli: Vec<String> = (0..24).map(|i| format!("s{}", i / 2)).collect();
        let (mut pairs, mut ranks) = (0, 0);
        for seed in 0..200 {
            let (_, t) = planted(24, 6, 0.0, 2 * seed);
            let (_, p) = planted(24, 6, 0.0, 2 * seed + 1);
            let data = Matched { stimuli: &stimuli, n_permutations: 99, seed, ..matched(&p, &t) };
            pairs += usize::from(two_vs_two(&data, &Monitor::silent()).unwrap().accuracy.p_value <= 0.1);
            let found = found(&data, Direction::Backward, &[1], None);
            ranks += usize::from(found.rank_accuracy.p_value <= 0.1);
        }
        // Binomial(200, .1): mean 20, standard deviation 4.2.
        assert!((8..=33).contains(&pairs) && (8..=33).contains(&ranks), "{pairs} and {ranks} of 200");
    }

    #[test]
    fn neither_scale_nor_order_of_rows_matters() {
        let (p, t) = planted(25, 7, 2.0, 5);
        let ids: Vec<String> = (0..25).map(|i| format!("s{i}")).collect();
        let data = Matched { stimuli: &ids, n_permutations: 50, ..matched(&p, &t) };
        let (before, pairs) =
            (found(&data, Direction::Forward, &[2], None), two_vs_two(&data, &Monitor::silent()).unwrap());
        let turn = |x: &Mat<f64>, scale: f64| Mat::from_fn(25, 7, |i, j| scale * x[(24 - i, j)]);
        let (p, t) = (turn(&p, 1e200), turn(&t, 1e-200));
        let ids: Vec<String> = ids.into_iter().rev().collect();
        let data = Matched { stimuli: &ids, n_permutations: 50, ..matched(&p, &t) };
        let after = found(&data, Direction::Forward, &[2], None);
        assert!(before.ranks.iter().eq(after.ranks.iter().rev()));
        assert_eq!(before.top_k[0].1.p_value, after.top_k[0].1.p_value);
        let again = two_vs_two(&data, &Monitor::silent()).unwrap();
        assert_eq!(pairs.accuracy.p_value, again.accuracy.p_value);
    }

    #[test]
    fn wrong_input_is_named() {
        let (p, t) = planted(6, 4, 1.0, 6);
        let silent = Monitor::silent();
        let refused = |data: &Matched<'_>| two_vs_two(data, &silent).unwrap_err().to_string();
        let (short, _) = planted(5, 4, 1.0, 6);
        assert!(refused(&matched(&p, &short)).contains("6 × 4 values"));
        let same = vec!["a".to_owned(); 6];
        assert!(refused(&Matched { stimuli: &same, ..matched(&p, &t) }).contains("2 different stimuli"));
        assert!(refused(&Matched { stimuli: &same[..3], ..matched(&p, &t) }).contains("6 names"));
        let mut bad = p.clone();
        bad[(2, 1)] = f64::NAN;
        assert!(refused(&matched(&bad, &t)).contains("row 2, column 1"));
        for (ks, m) in
            [(vec![0], None), (vec![7], None), (vec![4], Some(3)), (vec![1], Some(7)), (vec![1], Some(1))]
        {
            assert!(
                retrieval(&matched(&p, &t), Direction::Forward, &ks, m, &silent).is_err(),
                "{ks:?} {m:?}"
            );
        }
    }
}
