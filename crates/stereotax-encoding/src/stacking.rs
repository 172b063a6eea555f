//! Weigh representations against each other by what each predicted inside the training rows.
//!
//! For one target let p_c (n) be candidate c's inner cross-validated predictions and y the responses,
//! both centred within every inner fold (a score is a correlation within folds: levels do not count).
//! With P = (⟨p_c, p_d⟩), q = (⟨p_c, y⟩) and s = ⟨y, y⟩ the loss of weights a on the simplex is
//!
//! ```text
//! ℓ_j(a) = (aᵀP_j a − 2 aᵀq_j + s_j) / s_j
//! a_j    = argmin  ℓ_j(a) + mean over targets of ℓ(a)        a ≥ 0, Σ a = 1
//! ```
//!
//! The second term is what the other targets say. A target that is predicted well bends its own loss
//! strongly and has weights of its own; one that is barely predicted takes those of all.
//!
//! Weights cost what they gain where candidates are much alike. So the mixture must earn its keep: with
//! weights, and one candidate for all targets, chosen by all inner folds but one, its loss on that fold must
//! be lower by more than one standard error over folds; otherwise the single candidate is taken. Weights read
//! training rows only; applied to the held-out predictions of the same candidates they are an honest
//! score of "weigh, then predict", and because predictions are linear, they are a weighting of layers.
//!
//! Source: Breiman 1996 (stacked regressions, with the simplex in place of a ≥ 0 alone). The quadratic
//! program is solved exactly on its active set (Lawson & Hanson 1974, with the sum fixed); the one-standard-
//! error rule is that of Breiman et al. 1984.
//! Cost: O(n C² R) for C candidates and R targets, and O(F C⁴ R) at worst for the programs of F folds.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::nested::{FoldPrediction, InnerPredictions};
use super::reduce::check_finite;
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{dot, solve};

/// Part of the mean diagonal added to P, so that equal candidates share instead of one taking all.
const EVEN: f64 = 1e-10;

/// The a that minimises aᵀPa − 2aᵀq over a ≥ 0, Σ a = 1, for symmetric positive semidefinite P (C × C).
pub fn simplex_least_squares(p: MatRef<f64>, q: &[f64]) -> Vec<f64> {
    let n = q.len();
    let trace: f64 = (0..n).map(|i| p[(i, i)]).sum();
    let p = Mat::from_fn(n, n, |i, j| p[(i, j)] + if i == j { EVEN * trace / n as f64 } else { 0.0 });
    let size = trace.max(q.iter().map(|x| x.abs()).fold(0.0, f64::max));
    let mut weights = vec![0.0; n];
    let Some(start) =
        (0..n).min_by(|&i, &j| (p[(i, i)] - 2.0 * q[i]).total_cmp(&(p[(j, j)] - 2.0 * q[j])).then(i.cmp(&j)))
    else {
        return weights;
    };
    weights[start] = 1.0;
    let mut support = vec![start];
    // Every round lowers the loss on a new support, so rounds end; the cap guards against rounding.
    for _ in 0..50 * n {
        let gradient: Vec<f64> =
            (0..n).map(|i| (0..n).map(|j| p[(i, j)] * weights[j]).sum::<f64>() - q[i]).collect();
        let level: f64 = gradient.iter().zip(&weights).map(|(g, a)| g * a).sum();
        let entering = (0..n)
            .filter(|i| !support.contains(i))
            .min_by(|&i, &j| gradient[i].total_cmp(&gradient[j]).then(i.cmp(&j)))
            .filter(|&i| gradient[i] < level - 1e-12 * size);
        let Some(entering) = entering else { break };
        support.push(entering);
        while !support.is_empty() {
            let target = on_support(&p, q, &support);
            let blocking = support
                .iter()
                .zip(&target)
                .filter(|(_, z)| **z <= 0.0)
                .map(|(&i, z)| (i, weights[i] / (weights[i] - z)))
                .min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
            let step = blocking.map_or(1.0, |(_, step)| step);
            for (&i, z) in support.iter().zip(&target) {
                weights[i] += step * (z - weights[i]);
            }
            let Some((leaving, _)) = blocking else { break };
            weights[leaving] = 0.0;
            support.retain(|&i| i != leaving);
        }
    }
    let sum: f64 = weights.iter().map(|a| a.max(0.0)).sum();
    weights.iter().map(|a| a.max(0.0) / sum).collect()
}

/// Stationary point with Σ a = 1 on the given support, signs ignored.
fn on_support(p: &Mat<f64>, q: &[f64], support: &[usize]) -> Vec<f64> {
    let k = support.len();
    let system = Mat::from_fn(k + 1, k + 1, |i, j| match (i < k, j < k) {
        (true, true) => p[(support[i], support[j])],
        (false, false) => 0.0,
        _ => 1.0,
    });
    let right = Mat::from_fn(k + 1, 1, |i, _| if i < k { q[support[i]] } else { 1.0 });
    let solved = solve(system.as_ref(), right.as_ref());
    (0..k).map(|i| solved[(i, 0)]).collect()
}

/// Weights of each target by itself (C × targets) that make the squared error of the weighted held-out
/// predictions least; columns sum to 1.
///
/// With errors e_c = y − p_c: argmin aᵀEᵀE a over a ≥ 0, Σ a = 1 (Breiman 1996). NaN for a target
/// whose predictions are not all finite. Errors: no candidate, other shapes, responses that are not finite.
pub fn stack_held_out(responses: MatRef<f64>, predictions: &[MatRef<f64>]) -> Result<Mat<f64>> {
    let (n, n_targets) = (responses.nrows(), responses.ncols());
    let odd = predictions.iter().find(|p| (p.nrows(), p.ncols()) != (n, n_targets));
    if predictions.is_empty() || odd.is_some() || n == 0 {
        return Err(Error::Shape {
            what: "predictions".into(),
            expected: format!("at least one array of {n} × {n_targets} (as the responses)"),
            found: odd.map_or("none".into(), |p| format!("{} × {}", p.nrows(), p.ncols())),
            hint: "give the held-out predictions of every candidate for the same rows".into(),
        });
    }
    check_finite(responses, "responses")?;
    let n_candidates = predictions.len();
    let weights: Vec<Vec<f64>> = (0..n_targets)
        .into_par_iter()
        .map(|j| {
            let errors: Vec<Vec<f64>> =
                predictions.iter().map(|p| (0..n).map(|i| responses[(i, j)] - p[(i, j)]).collect()).collect();
            if errors.iter().flatten().any(|e| !e.is_finite()) {
                return vec![f64::NAN; n_candidates];
            }
            let products = Mat::from_fn(n_candidates, n_candidates, |c, d| dot(&errors[c], &errors[d]));
            simplex_least_squares(products.as_ref(), &vec![0.0; n_candidates])
        })
        .collect();
    Ok(Mat::from_fn(n_candidates, n_targets, |c, j| weights[j][c]))
}

/// Weights of the candidates (C × targets) from their inner predictions; columns sum to 1.
///
/// `responses` holds all samples × targets; only rows named by the inner predictions are read. A target
/// without a defined loss takes the weights of the mean loss, and if no target has one, all are equal.
/// Errors: no candidate, candidates with different rows or targets.
pub fn stack_weights(inner: &[&InnerPredictions], responses: MatRef<f64>) -> Result<Mat<f64>> {
    let Some(first) = inner.first() else {
        return Err(Error::TooFew {
            what: "candidates".into(),
            needed: "1 candidate".into(),
            found: "none".into(),
            hint: "give at least one representation".into(),
        });
    };
    let (n_candidates, n_targets) = (inner.len(), responses.ncols());
    if let Some(odd) = inner.iter().find(|i| i.rows != first.rows || i.values.ncols() != n_targets) {
        return Err(Error::Shape {
            what: "inner predictions".into(),
            expected: format!("{} rows of {n_targets} targets", first.rows.len()),
            found: format!("{} rows of {} targets", odd.rows.len(), odd.values.ncols()),
            hint: "predict with the same folds for every candidate".into(),
        });
    }
    let losses: Vec<Option<Vec<Quadratic>>> =
        (0..n_targets).into_par_iter().map(|j| losses(inner, responses, j)).collect();
    let n_folds = losses.iter().flatten().map(Vec::len).max().unwrap_or(0);
    let all = Joint::new(&losses, n_candidates, None);
    let mixed = all.mix();
    // What mixing gains over one candidate for all targets, on folds that chose neither.
    let gains: Vec<f64> = (0..n_folds)
        .into_par_iter()
        .map(|fold| {
            let others = Joint::new(&losses, n_candidates, Some(fold));
            let (mixed, single) = (others.mix(), unit(others.best(), n_candidates));
            let of = losses.iter().zip(&mixed);
            of.map(|(own, a)| own.as_ref().map_or(0.0, |own| own[fold].at(&single) - own[fold].at(a))).sum()
        })
        .collect();
    let kept = n_folds < 2 || {
        let n = n_folds as f64;
        let mean = gains.iter().sum::<f64>() / n;
        let sd = (gains.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        mean > sd / n.sqrt()
    };
    let single = unit(all.best(), n_candidates);
    Ok(Mat::from_fn(n_candidates, n_targets, |c, j| if kept { mixed[j][c] } else { single[c] }))
}

fn unit(at: usize, n: usize) -> Vec<f64> {
    (0..n).map(|c| f64::from(u8::from(c == at))).collect()
}

/// aᵀPa − 2aᵀq: the loss of one target but for a constant.
#[derive(Debug, Clone)]
struct Quadratic {
    p: Mat<f64>,
    q: Vec<f64>,
}

impl Quadratic {
    fn zero(n: usize) -> Self {
        Quadratic { p: Mat::zeros(n, n), q: vec![0.0; n] }
    }

    fn add(&mut self, other: &Quadratic, scale: f64) {
        self.p += faer::Scale(scale) * &other.p;
        self.q.iter_mut().zip(&other.q).for_each(|(sum, q)| *sum += scale * q);
    }

    fn at(&self, a: &[f64]) -> f64 {
        let mut sum = 0.0;
        for c in 0..a.len() {
            let along: f64 = (0..a.len()).map(|d| self.p[(c, d)] * a[d]).sum();
            sum += a[c] * (along - 2.0 * self.q[c]);
        }
        sum
    }
}

/// The losses of all targets, and their mean.
struct Joint {
    own: Vec<Option<Quadratic>>,
    mean: Quadratic,
    n_candidates: usize,
}

impl Joint {
    /// Of all inner folds but `left_out`.
    fn new(losses: &[Option<Vec<Quadratic>>], n_candidates: usize, left_out: Option<usize>) -> Self {
        let own: Vec<Option<Quadratic>> = losses
            .iter()
            .map(|folds| {
                let mut sum = Quadratic::zero(n_candidates);
                let folds = folds.as_ref()?.iter().enumerate().filter(|(fold, _)| Some(*fold) != left_out);
                folds.for_each(|(_, loss)| sum.add(loss, 1.0));
                Some(sum)
            })
            .collect();
        let defined = own.iter().flatten().count().max(1) as f64;
        let mut mean = Quadratic::zero(n_candidates);
        own.iter().flatten().for_each(|loss| mean.add(loss, 1.0 / defined));
        Joint { own, mean, n_candidates }
    }

    /// Weights per target.
    fn mix(&self) -> Vec<Vec<f64>> {
        let shared = if self.own.iter().all(Option::is_none) {
            vec![1.0 / self.n_candidates as f64; self.n_candidates]
        } else {
            simplex_least_squares(self.mean.p.as_ref(), &self.mean.q)
        };
        self.own
            .par_iter()
            .map(|own| match own {
                Some(own) => {
                    let mut both = own.clone();
                    both.add(&self.mean, 1.0);
                    simplex_least_squares(both.p.as_ref(), &both.q)
                }
                None => shared.clone(),
            })
            .collect()
    }

    /// The candidate that is best for the mean over targets; the first of equals.
    fn best(&self) -> usize {
        let alone = |c: usize| self.mean.p[(c, c)] - 2.0 * self.mean.q[c];
        (0..self.n_candidates).fold(0, |best, c| if alone(c) < alone(best) { c } else { best })
    }
}

/// P/s and q/s of one target within each inner fold; `None` where the target does not vary or a prediction
/// is undefined.
fn losses(inner: &[&InnerPredictions], responses: MatRef<f64>, target: usize) -> Option<Vec<Quadratic>> {
    let (rows, folds) = (&inner[0].rows, &inner[0].folds);
    let y = centred(rows.iter().map(|&i| responses[(i, target)]).collect(), folds);
    let s: f64 = dot(&y, &y);
    let p: Vec<Vec<f64>> =
        inner.iter().map(|i| centred(i.values.col_as_slice(target).to_vec(), folds)).collect();
    let n = p.len();
    if !(s > 0.0) || !p.iter().flatten().all(|v| v.is_finite()) {
        return None;
    }
    // Rows of an inner fold stand together.
    let n_folds = folds.iter().max().map_or(0, |f| f + 1);
    let range = |fold: usize| folds.partition_point(|&f| f < fold)..folds.partition_point(|&f| f <= fold);
    let of_fold = |fold: usize| {
        let rows = range(fold);
        let mut loss = Quadratic::zero(n);
        for c in 0..n {
            for d in 0..=c {
                loss.p[(c, d)] = dot(&p[c][rows.clone()], &p[d][rows.clone()]) / s;
                loss.p[(d, c)] = loss.p[(c, d)];
            }
            loss.q[c] = dot(&p[c][rows.clone()], &y[rows.clone()]) / s;
        }
        loss
    };
    Some((0..n_folds).map(of_fold).collect())
}

/// Values minus the mean of their fold.
fn centred(mut values: Vec<f64>, folds: &[usize]) -> Vec<f64> {
    let n_folds = folds.iter().max().map_or(0, |f| f + 1);
    let (mut sums, mut counts) = (vec![0.0; n_folds], vec![0.0; n_folds]);
    for (v, &f) in values.iter().zip(folds) {
        sums[f] += v;
        counts[f] += 1.0;
    }
    values.iter_mut().zip(folds).for_each(|(v, &f)| *v -= sums[f] / counts[f]);
    values
}

/// The prediction of a fold by candidates mixed with `weights` (C × targets).
///
/// Penalties are those of the candidate that weighs most in a target; `inner_scores` is 1 − ℓ of the
/// mixture (R² within inner folds, by weights chosen on the same rows). Errors: no candidate, different rows.
pub fn stacked(
    candidates: &[&FoldPrediction],
    weights: MatRef<f64>,
    responses: MatRef<f64>,
) -> Result<FoldPrediction> {
    let agree = candidates.iter().all(|c| c.rows == candidates[0].rows && c.inner.is_some());
    if candidates.is_empty() || candidates.len() != weights.nrows() || !agree {
        return Err(Error::Shape {
            what: "candidates".into(),
            expected: format!("{} predictions of the same rows, with their inner ones", weights.nrows()),
            found: format!("{} predictions", candidates.len()),
            hint: "predict with the same folds for every candidate, and keep inner predictions".into(),
        });
    }
    let inner: Vec<&InnerPredictions> = candidates.iter().filter_map(|c| c.inner.as_ref()).collect();
    let mut mixed = candidates[0].clone();
    mixed.inner = None;
    let n_targets = weights.ncols();
    for j in 0..n_targets {
        let top = (0..candidates.len())
            .fold(0, |best, c| if weights[(c, j)] > weights[(best, j)] { c } else { best });
        mixed.alphas[j] = candidates[top].alphas[j];
        mixed.alpha_multiples[j] = candidates[top].alpha_multiples[j];
        let a: Vec<f64> = (0..candidates.len()).map(|c| weights[(c, j)]).collect();
        mixed.inner_scores[j] = losses(&inner, responses, j)
            .map_or(f64::NAN, |folds| -folds.iter().map(|loss| loss.at(&a)).sum::<f64>());
        for t in 0..mixed.rows.len() {
            mixed.predictions[(t, j)] =
                candidates.iter().enumerate().map(|(c, f)| weights[(c, j)] * f.predictions[(t, j)]).sum();
        }
    }
    if let Some(bands) = &mut mixed.bands {
        let of = |c: usize| candidates[c].bands.as_ref();
        let mix = |value: &dyn Fn(usize) -> f64, j: usize| -> f64 {
            (0..candidates.len()).map(|c| weights[(c, j)] * value(c)).sum()
        };
        for (band, part) in bands.parts.iter_mut().enumerate() {
            *part = Mat::from_fn(part.nrows(), n_targets, |t, j| {
                mix(&|c| of(c).map_or(f64::NAN, |b| b.parts[band][(t, j)]), j)
            });
        }
        bands.weights = Mat::from_fn(bands.weights.nrows(), n_targets, |band, j| {
            mix(&|c| of(c).map_or(f64::NAN, |b| b.weights[(band, j)]), j)
        });
    }
    let most = |count: fn(&FoldPrediction) -> usize| candidates.iter().map(|c| count(c)).max().unwrap_or(0);
    mixed.n_components = most(|c| c.n_components);
    mixed.rank = most(|c| c.rank);
    mixed.n_at_lower_edge = most(|c| c.n_at_lower_edge);
    mixed.n_at_upper_edge = most(|c| c.n_at_upper_edge);
    mixed.grid_too_narrow = candidates.iter().any(|c| c.grid_too_narrow);
    Ok(mixed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::linalg::{cross, gram};
    use stereotax_base::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(8, "stacking tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn value(p: &Mat<f64>, q: &[f64], a: &[f64]) -> f64 {
        let n = q.len();
        let power: f64 = (0..n).map(|i| (0..n).map(|j| a[i] * p[(i, j)] * a[j]).sum::<f64>()).sum();
        power - 2.0 * a.iter().zip(q).map(|(a, q)| a * q).sum::<f64>()
    }

    #[test]
    fn held_out_predictions_are_weighed_target_by_target() {
        // Errors (1, 0), (0, 1): half each. (1, 1), (2, 2): all to the first. (2, −1), (−1, 2): aᵀ[5 −4; −4 5]a, half
        // each; a candidate that is not finite leaves its target without weights.
        let y = Mat::from_fn(2, 4, |_, _| 1.0);
        let errors = [
            [[1.0, 0.0], [1.0, 1.0], [2.0, -1.0], [0.0, 0.0]],
            [[0.0, 1.0], [2.0, 2.0], [-1.0, 2.0], [f64::NAN, 0.0]],
        ];
        let predictions: Vec<Mat<f64>> =
            errors.iter().map(|of| Mat::from_fn(2, 4, |i, j| 1.0 - of[j][i])).collect();
        let views: Vec<MatRef<f64>> = predictions.iter().map(|p| p.as_ref()).collect();
        let found = stack_held_out(y.as_ref(), &views).unwrap();
        for (j, first) in [0.5, 1.0, 0.5].into_iter().enumerate() {
            assert!(
                (found[(0, j)] - first).abs() < 1e-9 && (found[(1, j)] + first - 1.0).abs() < 1e-9,
                "{j}"
            );
        }
        assert!(found[(0, 3)].is_nan());
        assert!(stack_held_out(y.as_ref(), &[]).is_err());
    }

    #[test]
    fn two_candidates_by_hand() {
        // p₁ = (1, 0), p₂ = (0, 1), y = (0.8, 0.4): a = (0.7, 0.3), halfway of what the sum leaves over.
        let p = Mat::<f64>::identity(2, 2);
        let a = simplex_least_squares(p.as_ref(), &[0.8, 0.4]);
        assert!((a[0] - 0.7).abs() < 1e-9 && (a[1] - 0.3).abs() < 1e-9, "{a:?}");
        // y = (3, 0): the corner.
        assert_eq!(simplex_least_squares(p.as_ref(), &[3.0, 0.0]), [1.0, 0.0]);
        // Twins share; nothing to tell them apart.
        let twins = simplex_least_squares(Mat::full(2, 2, 1.0).as_ref(), &[0.5, 0.5]);
        assert!((twins[0] - 0.5).abs() < 1e-3, "{twins:?}");
        assert_eq!(simplex_least_squares(Mat::zeros(1, 1).as_ref(), &[0.0]), [1.0]);
    }

    #[test]
    fn no_support_gives_a_lower_loss() {
        // Slow twin: the stationary point of every subset, where it is feasible; the least of them.
        for index in 0..40 {
            let x = noise(30, 6, index);
            let y = noise(30, 1, 100 + index);
            // Half of the programs are nearly collinear, as neighbouring layers are.
            let x = if index % 2 == 0 {
                x
            } else {
                Mat::from_fn(30, 6, |i, j| x[(i, 0)] + 1e-3 * x[(i, j)] + 0.3 * y[(i, 0)])
            };
            let p = gram(x.as_ref());
            let q: Vec<f64> = cross(x.as_ref(), y.as_ref()).col_as_slice(0).to_vec();
            let a = simplex_least_squares(p.as_ref(), &q);
            assert!((a.iter().sum::<f64>() - 1.0).abs() < 1e-12 && a.iter().all(|a| *a >= 0.0));
            let mut least = f64::INFINITY;
            for mask in 1..64u32 {
                let support: Vec<usize> = (0..6).filter(|i| mask >> i & 1 == 1).collect();
                let z = on_support(&p, &q, &support);
                if z.iter().all(|z| *z >= 0.0) {
                    let mut full = vec![0.0; 6];
                    support.iter().zip(&z).for_each(|(&i, z)| full[i] = *z);
                    least = least.min(value(&p, &q, &full));
                }
            }
            let found = value(&p, &q, &a);
            assert!(found - least <= 1e-7 * least.abs().max(1.0), "{index}: {found} against {least}");
        }
    }

    fn inner(values: Mat<f64>) -> InnerPredictions {
        let n = values.nrows();
        InnerPredictions { rows: (0..n).collect(), folds: (0..n).map(|i| 3 * i / n).collect(), values }
    }

    #[test]
    fn strong_targets_have_their_own_weights_and_weak_ones_follow() {
        let (a, b) = (noise(600, 1, 200), noise(600, 1, 201));
        let e = noise(600, 4, 202);
        // Targets 0 and 1 follow a, target 2 follows b, target 3 is noise.
        let y = Mat::from_fn(600, 4, |t, j| {
            e[(t, j)] * 0.5
                + match j {
                    0 | 1 => a[(t, 0)],
                    2 => b[(t, 0)],
                    _ => 0.0,
                }
        });
        // Shrunk as ridge shrinks: the noise target is predicted as nearly nothing.
        let scale = |j: usize, own: bool| {
            if j == 3 {
                0.01
            } else if own {
                0.8
            } else {
                0.02
            }
        };
        let from_a = inner(Mat::from_fn(600, 4, |t, j| scale(j, j < 2) * a[(t, 0)]));
        let from_b = inner(Mat::from_fn(600, 4, |t, j| scale(j, j == 2) * b[(t, 0)]));
        let w = stack_weights(&[&from_a, &from_b], y.as_ref()).unwrap();
        assert!(w[(0, 0)] > 0.9 && w[(0, 1)] > 0.9, "{w:?}");
        assert!(w[(1, 2)] > 0.6, "{w:?}");
        assert!(w[(0, 3)] > 0.6 && w[(0, 3)] < 0.95, "{w:?}");
        // Levels of folds do not count.
        let shifted =
            inner(Mat::from_fn(600, 4, |t, j| from_b.values[(t, j)] + [5.0, -3.0, 9.0][3 * t / 600]));
        let again = stack_weights(&[&from_a, &shifted], y.as_ref()).unwrap();
        assert!((0..4).all(|j| (again[(0, j)] - w[(0, j)]).abs() < 1e-9));
    }

    #[test]
    fn candidates_that_are_much_alike_are_not_mixed() {
        // Both predict the truth with an error of their own, one of them less so; the folds do not agree
        // on what a mixture gains over it.
        let mut single = 0;
        for seed in 0..20 {
            let truth = noise(90, 3, 300 + seed);
            let e = noise(90, 3, 400 + seed);
            let y = Mat::from_fn(90, 3, |t, j| truth[(t, j)] + e[(t, j)]);
            let off = noise(90, 3, 500 + seed);
            let near =
                |size: f64| inner(Mat::from_fn(90, 3, |t, j| 0.5 * truth[(t, j)] + size * off[(t, j)]));
            let w = stack_weights(&[&near(0.02), &near(0.05), &near(0.04)], y.as_ref()).unwrap();
            single += usize::from((0..3).all(|j| w.col(j).iter().any(|a| *a == 1.0)));
        }
        assert!(single >= 12, "{single}");
    }

    #[test]
    fn mixing_must_gain_on_folds_that_did_not_choose_it() {
        // Five candidates with the same error: what a mixture gains is luck, which the folds that chose it see always
        // and the others as often as not. 89 of 100 keep one candidate; 74 would if the folds that chose judged, 63 if
        // gains above minus one standard error were enough.
        let mut single = 0;
        for seed in 0..100 {
            let (truth, e) = (noise(90, 3, 1000 + seed), noise(90, 3, 1200 + seed));
            let y = Mat::from_fn(90, 3, |t, j| truth[(t, j)] + 2.0 * e[(t, j)]);
            let candidates: Vec<InnerPredictions> = (0..5)
                .map(|c| {
                    let off = noise(90, 3, 2000 + 5 * seed + c);
                    inner(Mat::from_fn(90, 3, |t, j| 0.2 * truth[(t, j)] + 0.02 * off[(t, j)]))
                })
                .collect();
            let w = stack_weights(&candidates.iter().collect::<Vec<_>>(), y.as_ref()).unwrap();
            single +=
                usize::from((0..3).all(|j| w[(0, j)] == w[(0, 0)] && w.col(j).iter().any(|a| *a == 1.0)));
        }
        assert!((82..97).contains(&single), "{single}");
    }

    #[test]
    fn a_mixture_has_the_penalty_of_its_heaviest_and_the_loss_of_its_weights() {
        let runs =
            stereotax_base::data::Runs::from_lengths(&["a".into(), "b".into(), "c".into()], &[20, 20, 20])
                .unwrap();
        let outer: Vec<stereotax_base::data::Fold> =
            stereotax_base::data::Folds::leave_one_run_out(&runs).unwrap().iter().cloned().collect();
        let rest = stereotax_base::data::Runs::from_lengths(&["a".into(), "b".into()], &[20, 20]).unwrap();
        let inner: Vec<stereotax_base::data::Fold> =
            stereotax_base::data::Folds::leave_one_run_out(&rest).unwrap().iter().cloned().collect();
        let y = noise(60, 2, 50);
        let predicted = |index: u64, penalty: f64| {
            let x = noise(60, 4, index);
            let x = Mat::from_fn(60, 4, |t, k| x[(t, k)] + y[(t, k % 2)]);
            let params = crate::EncodingParams {
                reduce: None,
                alphas: crate::AlphaGrid::absolute(&[penalty]),
                ..crate::EncodingParams::default()
            };
            let input = crate::FoldFeatures { values: x.as_ref(), runs: &runs, tr_s: 1.0 };
            crate::predict_fold_with_inner(&[input], &[y.as_ref()], &outer[2], &inner, &params)
                .unwrap()
                .remove(0)
        };
        let (first, second) = (predicted(51, 1.0), predicted(52, 10.0));
        let weights = Mat::from_fn(2, 2, |c, j| if c == j { 0.7 } else { 0.3 });
        let mixed = stacked(&[&first, &second], weights.as_ref(), y.as_ref()).unwrap();
        assert_eq!(mixed.alphas, [1.0, 10.0]);
        for j in 0..2 {
            for t in 0..20 {
                let (a, b) = (first.predictions[(t, j)], second.predictions[(t, j)]);
                let sum = weights[(0, j)] * a + weights[(1, j)] * b;
                assert!((mixed.predictions[(t, j)] - sum).abs() < 1e-12);
            }
            // R² within inner folds, from the rows themselves.
            let (p, q) = (first.inner.as_ref().unwrap(), second.inner.as_ref().unwrap());
            let (mut error, mut total) = (0.0, 0.0);
            for fold in [0, 1] {
                let at: Vec<usize> = (0..p.rows.len()).filter(|&k| p.folds[k] == fold).collect();
                let mean =
                    |of: &dyn Fn(usize) -> f64| at.iter().map(|&k| of(k)).sum::<f64>() / at.len() as f64;
                let mixture =
                    |k: usize| weights[(0, j)] * p.values[(k, j)] + weights[(1, j)] * q.values[(k, j)];
                let observed = |k: usize| y[(p.rows[k], j)];
                let (m, o) = (mean(&mixture), mean(&observed));
                error += at.iter().map(|&k| (observed(k) - o - mixture(k) + m).powi(2)).sum::<f64>();
                total += at.iter().map(|&k| (observed(k) - o).powi(2)).sum::<f64>();
            }
            assert!((mixed.inner_scores[j] - (1.0 - error / total)).abs() < 1e-9);
        }
    }

    #[test]
    fn undefined_targets_take_the_weights_of_all() {
        // y = a + b, predicted from a and from b; the second target by neither.
        let (a, b) = (noise(60, 1, 203), noise(60, 1, 204));
        let y = Mat::from_fn(60, 2, |t, _| a[(t, 0)] + b[(t, 0)]);
        let part = |x: &Mat<f64>| Mat::from_fn(60, 2, |t, j| if j == 0 { x[(t, 0)] } else { f64::NAN });
        let (p, other) = (part(&a), part(&b));
        let w = stack_weights(&[&inner(p.clone()), &inner(other)], y.as_ref()).unwrap();
        assert!((w[(0, 1)] - 0.5).abs() < 0.1 && (w[(0, 0)] - w[(0, 1)]).abs() < 1e-9, "{w:?}");
        let constant = Mat::<f64>::zeros(60, 2);
        let w = stack_weights(&[&inner(p.clone()), &inner(p)], constant.as_ref()).unwrap();
        assert_eq!((w[(0, 0)], w[(1, 1)]), (0.5, 0.5));
        assert!(stack_weights(&[], constant.as_ref()).is_err());
    }
}
