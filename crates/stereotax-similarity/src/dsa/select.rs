//! Choose delays and rank by how well held-out trials are predicted one step ahead.
//!
//! ```text
//! x̂_{t+1} = first channels of W S A S⁻¹ Wᵀ h_t          the operator fitted without the trial's fold
//! MASE = Σ|x − x̂| / Σ|x_{t+1} − x_t|                    below 1: better than "nothing changes"
//! R²   = 1 − Σ(x − x̂)² / Σ(x − mean)²                   mean per channel over what is predicted
//! AIC  = n ln(Σ(x − x̂)² / n) + 2 r²                     n predicted numbers; lower is better
//! ```
//!
//! Every combination predicts the same samples: those that the longest delays allow. Of combinations within one
//! standard error of the best (over folds), the one of fewest numbers r² is taken with [`Parsimony::OneError`].
//! Source: specs: encoding-manifolds 6.6. Cost: one decomposition per number of delays and fold.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::delay::{DelayParams, OperatorRank, check_trials, delayed, embed};
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::linalg::{cholesky_solve, cross, product};
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::{mean, sd};

/// What is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// Least MASE (default).
    #[default]
    Mase,
    /// Largest R².
    R2,
    /// Least AIC.
    Aic,
}

/// Whether a smaller model that is about as good is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parsimony {
    /// The best combination (default).
    #[default]
    Best,
    /// The smallest within one standard error of it.
    OneError,
}

/// The grid and the folds.
#[derive(Debug, Clone, PartialEq)]
pub struct SelectParams {
    /// Numbers of delays to try.
    pub n_delays: Vec<usize>,
    /// Ranks to try; those beyond the data are left out.
    pub ranks: Vec<usize>,
    /// τ.
    pub lag: usize,
    /// λ.
    pub ridge: f64,
    /// Folds of trials, at most as many as trials (5).
    pub n_folds: usize,
    /// What is best.
    pub criterion: Criterion,
    /// Which of those about as good.
    pub parsimony: Parsimony,
    /// Seed of the folds.
    pub seed: u64,
}

/// One combination.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// q.
    pub n_delays: usize,
    /// r.
    pub rank: usize,
    /// Mean over folds.
    pub mase: f64,
    /// Mean over folds; NaN where nothing varies.
    pub r2: f64,
    /// Sum over folds.
    pub aic: f64,
    /// Standard error over folds of the criterion (of AIC per fold).
    pub error: f64,
}

/// The grid with its scores, and the choice.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected {
    /// In the order of the grid, delays first.
    pub candidates: Vec<Candidate>,
    /// Index of the chosen one.
    pub chosen: usize,
    /// What to fit with.
    pub params: DelayParams,
}

/// Score all combinations on held-out trials and choose one.
///
/// Errors: an empty grid, fewer than 2 trials or folds, a trial too short for the longest delays, no rank that
/// the data have, channels that differ, values that are not finite.
pub fn select_delays(
    trials: &[MatRef<f64>],
    params: &SelectParams,
    monitor: &Monitor<'_>,
) -> Result<Selected> {
    let longest = params.n_delays.iter().copied().max().unwrap_or(0);
    let grid = "n_delays and ranks".to_owned();
    if longest == 0 || params.ranks.is_empty() || params.n_delays.contains(&0) || params.ranks.contains(&0) {
        return Err(Error::Invalid {
            what: grid,
            expected: "at least one number from 1 of each".into(),
            found: format!("{:?} and {:?}", params.n_delays, params.ranks),
            hint: "try delays 1, 2, 5, 10 and ranks 2, 5, 10, 20".into(),
        });
    }
    let base =
        DelayParams { n_delays: longest, lag: params.lag, rank: OperatorRank::Full, ridge: params.ridge };
    check_trials(trials, &base)?;
    let n_folds = params.n_folds.min(trials.len());
    if n_folds < 2 {
        return Err(Error::TooFew {
            what: "trials and folds".into(),
            needed: "2 of each".into(),
            found: format!("{} trials, {} folds", trials.len(), params.n_folds),
            hint: "cut a long recording into trials".into(),
        });
    }
    let order = Stream::new(params.seed, "folds of trials", 0).permutation(trials.len());
    let tasks: Vec<(usize, usize)> =
        params.n_delays.iter().flat_map(|&q| (0..n_folds).map(move |fold| (q, fold))).collect();
    let scores = tasks
        .par_iter()
        .map(|&(q, fold)| {
            monitor.check()?;
            let (mut train, mut test) = (Vec::new(), Vec::new());
            for (at, &trial) in order.iter().enumerate() {
                if at % n_folds == fold { &mut test } else { &mut train }.push(trials[trial]);
            }
            fold_scores(&train, &test, q, (longest - 1) * params.lag, params)
        })
        .collect::<Result<Vec<Vec<Option<FoldScore>>>>>()?;
    let mut candidates = Vec::new();
    for (k, &q) in params.n_delays.iter().enumerate() {
        for (m, &rank) in params.ranks.iter().enumerate() {
            let folds: Option<Vec<FoldScore>> =
                (0..n_folds).map(|fold| scores[k * n_folds + fold][m]).collect();
            let Some(folds) = folds else { continue };
            let of = |get: &dyn Fn(&FoldScore) -> f64| folds.iter().map(get).collect::<Vec<f64>>();
            let (mase, r2, aic) = (of(&|f| f.mase), of(&|f| f.r2), of(&|f| f.aic));
            let criterion = match params.criterion {
                Criterion::Mase => &mase,
                Criterion::R2 => &r2,
                Criterion::Aic => &aic,
            };
            let scale = if params.criterion == Criterion::Aic { n_folds as f64 } else { 1.0 };
            candidates.push(Candidate {
                n_delays: q,
                rank,
                mase: mean(&mase),
                r2: mean(&r2),
                aic: aic.iter().sum(),
                error: scale * sd(criterion) / (n_folds as f64).sqrt(),
            });
        }
    }
    let loss = |c: &Candidate| match params.criterion {
        Criterion::Mase => c.mase,
        Criterion::R2 => -c.r2,
        Criterion::Aic => c.aic,
    };
    let best = (0..candidates.len())
        .filter(|&k| !loss(&candidates[k]).is_nan())
        .min_by(|&a, &b| loss(&candidates[a]).total_cmp(&loss(&candidates[b])));
    let Some(best) = best else {
        return Err(Error::TooFew {
            what: "delayed states of the training trials".into(),
            needed: format!("rank {} (the least tried)", params.ranks.iter().min().unwrap_or(&0)),
            found: "less for every number of delays".into(),
            hint: "try smaller ranks or more delays".into(),
        });
    };
    let chosen = match params.parsimony {
        Parsimony::Best => best,
        Parsimony::OneError => {
            let limit = loss(&candidates[best]) + candidates[best].error;
            (0..candidates.len())
                .filter(|&k| loss(&candidates[k]) <= limit)
                .min_by_key(|&k| (candidates[k].rank, candidates[k].n_delays))
                .unwrap_or(best)
        }
    };
    let params = DelayParams {
        n_delays: candidates[chosen].n_delays,
        rank: OperatorRank::Fixed(candidates[chosen].rank),
        ..base
    };
    Ok(Selected { candidates, chosen, params })
}

#[derive(Debug, Clone, Copy)]
struct FoldScore {
    mase: f64,
    r2: f64,
    aic: f64,
}

/// One score per rank; none where the training trials have a lower rank.
fn fold_scores(
    train: &[MatRef<f64>],
    test: &[MatRef<f64>],
    q: usize,
    skip: usize,
    params: &SelectParams,
) -> Result<Vec<Option<FoldScore>>> {
    let embedded = embed(train, q, params.lag)?;
    let channels = test[0].ncols();
    // Held-out pairs from the first sample that every number of delays can predict.
    let (mut now, mut next): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
    for trial in test {
        let h = delayed(*trial, q, params.lag);
        let back = (q - 1) * params.lag;
        for t in skip..trial.nrows() - 1 {
            now.push(h.row(t - back).iter().copied().collect());
            next.push(trial.row(t + 1).iter().copied().collect());
        }
    }
    let n = now.len();
    let h = Mat::from_fn(n, now[0].len(), |i, j| now[i][j]);
    let most = params.ranks.iter().copied().filter(|&r| r <= embedded.v.ncols()).max().unwrap_or(0);
    let (before, after) = embedded.moves(most);
    let states = product(h.as_ref(), embedded.w.get(.., ..most));
    let observed = |i: usize, j: usize| next[i][j];
    let means: Vec<f64> =
        (0..channels).map(|j| (0..n).map(|i| observed(i, j)).sum::<f64>() / n as f64).collect();
    let mut still = 0.0;
    let mut total = 0.0;
    for j in 0..channels {
        for i in 0..n {
            still += (observed(i, j) - now[i][j]).abs();
            total += (observed(i, j) - means[j]).powi(2);
        }
    }
    let score = |rank: usize| -> Option<FoldScore> {
        if rank > most {
            return None;
        }
        let (x, y) = (before.get(.., ..rank), after.get(.., ..rank));
        let mut g = cross(x, x);
        (0..rank).for_each(|k| g[(k, k)] += params.ridge.max(1e-12));
        let transposed = cholesky_solve(g.as_ref(), cross(x, y).as_ref())?;
        // v = S⁻¹ Wᵀ h, v' = A v, x̂ = first channels of W S v'.
        let v = Mat::from_fn(n, rank, |i, k| states[(i, k)] / embedded.s[k]);
        let moved = product(v.as_ref(), transposed.as_ref());
        let back = Mat::from_fn(rank, channels, |k, j| embedded.s[k] * embedded.w[(j, k)]);
        let predicted = product(moved.as_ref(), back.as_ref());
        let (mut absolute, mut squares) = (0.0, 0.0);
        for j in 0..channels {
            for i in 0..n {
                let missed = observed(i, j) - predicted[(i, j)];
                absolute += missed.abs();
                squares += missed * missed;
            }
        }
        let count = (n * channels) as f64;
        Some(FoldScore {
            mase: absolute / still,
            r2: if total > 0.0 { 1.0 - squares / total } else { f64::NAN },
            aic: count * (squares / count).max(f64::MIN_POSITIVE).ln() + 2.0 * (rank * rank) as f64,
        })
    };
    Ok(params.ranks.iter().map(|&rank| score(rank)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> SelectParams {
        SelectParams {
            n_delays: vec![1, 2, 4],
            ranks: vec![1, 2, 4, 6],
            lag: 1,
            ridge: 0.0,
            n_folds: 4,
            criterion: Criterion::Mase,
            parsimony: Parsimony::OneError,
            seed: 0,
        }
    }

    /// One channel of two damped rotations: linear in four delays.
    fn trials(noise: f64) -> Vec<Mat<f64>> {
        (0..12)
            .map(|k| {
                let mut stream = Stream::new(3, "selection tests", k);
                let (p, q, a) = (6.0 * stream.uniform(), 6.0 * stream.uniform(), 1.0 + stream.uniform());
                Mat::from_fn(50, 1, |t, _| {
                    let t = t as f64;
                    let clean =
                        a * 0.98f64.powf(t) * (0.5 * t + p).sin() + 0.97f64.powf(t) * (1.3 * t + q).sin();
                    clean + noise * stream.normal()
                })
            })
            .collect()
    }

    #[test]
    fn the_order_of_a_linear_recurrence_is_found() {
        let trials = trials(1e-6);
        let views: Vec<MatRef<f64>> = trials.iter().map(|t| t.as_ref()).collect();
        for criterion in [Criterion::Mase, Criterion::R2, Criterion::Aic] {
            let found =
                select_delays(&views, &SelectParams { criterion, ..params() }, &Monitor::silent()).unwrap();
            let best = found.candidates[found.chosen];
            assert_eq!((best.n_delays, best.rank), (4, 4), "{criterion:?} {:?}", found.candidates);
            assert!(best.mase < 1e-4 && best.r2 > 1.0 - 1e-8);
            // Rank 6 does not exist with at most 4 columns; rank 4 with 1 delay neither.
            assert!(found.candidates.iter().all(|c| c.rank <= c.n_delays));
        }
    }

    #[test]
    fn noise_is_predicted_no_better_than_by_nothing() {
        let mut stream = Stream::new(9, "noise", 0);
        let trials: Vec<Mat<f64>> = (0..8).map(|_| Mat::from_fn(60, 3, |_, _| stream.normal())).collect();
        let views: Vec<MatRef<f64>> = trials.iter().map(|t| t.as_ref()).collect();
        let found = select_delays(&views, &params(), &Monitor::silent()).unwrap();
        assert!(found.candidates.iter().all(|c| c.r2 < 0.05), "{:?}", found.candidates);
        assert!(select_delays(&views[..1], &params(), &Monitor::silent()).is_err());
        let empty = SelectParams { ranks: vec![], ..params() };
        assert!(select_delays(&views, &empty, &Monitor::silent()).is_err());
        let beyond = SelectParams { ranks: vec![500], ..params() };
        assert!(select_delays(&views, &beyond, &Monitor::silent()).unwrap_err().to_string().contains("rank"));
    }
}
