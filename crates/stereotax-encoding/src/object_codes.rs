//! Ask what populations say of objects: whether they tell images apart under rotation, and which object a film shows.
//!
//! **Rotation invariance.** Responses to images in R rotations have the gray response subtracted; for random pairs of
//! images a linear support vector machine (C = 1, hinge) is trained without one rotation and its two neighbours on the
//! circle, and tested on that rotation, for each of the R in turn. Responses are z-scored and reduced to principal
//! components on the training rows. Accuracy is the share of test responses on the right side; chance is ½.
//!
//! **Object information.** One-vs-rest logistic regression (a tiny ridge penalty keeps separable classes finite) in
//! folds that hold whole clips out: bins of one clip resemble each other. Predicted against shown object gives
//! p(i, j), pooled over folds, and
//!
//! ```text
//! MI = Σ p_ij log₂(p_ij/(p_i p_j)) bits            upward bias of about (K − 1)²/(2 n ln 2) for n independent bins
//! ```
//!
//! from which the mean MI of shuffles is taken, where objects are shuffled among whole clips, so that the clustering
//! of bins stays.
//!
//! Source: specs: alignment-methods B7. Differs from the references: folds by clip; the support vector machine
//! penalises its constant like another weight (dual coordinate descent, Hsieh et al. 2008); components are fitted
//! without the test rows. Cost: O(pairs R · training rows · components · sweeps); O(folds K n d) per L-BFGS step.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::reduce::check_finite;
use super::{ReduceParams, reduce};
use stereotax_base::data::{Error, Labels, Monitor, Result};
use stereotax_base::linalg::{dot, lbfgs, product, select_rows};
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::{mean, permutation_p, sd, tie_tolerance};

/// Most sweeps of the support vector machine.
const SWEEPS: usize = 1000;
/// Ridge penalty of the logistic regression, per sample.
const TINY: f64 = 1e-6;

/// Rotation invariance of a population.
#[derive(Debug, Clone, PartialEq)]
pub struct RotationInvariance {
    /// Mean accuracy over pairs.
    pub accuracy: f64,
    /// Of each pair.
    pub per_pair: Vec<f64>,
    /// The pairs of images.
    pub pairs: Vec<(usize, usize)>,
}

/// Settings of [`rotation_invariance`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InvarianceParams {
    /// Random pairs; all of them if there are fewer. Default 50.
    pub n_pairs: usize,
    /// Most principal components. Default 100.
    pub n_components: usize,
    /// C. Default 1.
    pub cost: f64,
    /// Of the pairs.
    pub seed: u64,
}

impl Default for InvarianceParams {
    fn default() -> Self {
        InvarianceParams { n_pairs: 50, n_components: 100, cost: 1.0, seed: 0 }
    }
}

/// Accuracy for `responses` (images · rotations × neurons, all rotations of an image in order around the circle one
/// after the other), less the response to gray (one per neuron).
///
/// Errors: rows that are no multiple of the rotations, fewer than 5 rotations or 2 images, values that are not finite.
pub fn rotation_invariance(
    responses: MatRef<f64>,
    gray: &[f64],
    n_rotations: usize,
    params: &InvarianceParams,
    monitor: &Monitor<'_>,
) -> Result<RotationInvariance> {
    check_finite(responses, "responses")?;
    let n_images = responses.nrows() / n_rotations.max(1);
    let positive = params.cost > 0.0 && params.n_components > 0 && params.n_pairs > 0;
    if n_rotations < 5
        || n_images < 2
        || n_images * n_rotations != responses.nrows()
        || gray.len() != responses.ncols()
        || gray.iter().any(|v| !v.is_finite())
        || !positive
    {
        return Err(Error::Shape {
            what: "responses, gray".into(),
            expected:
                "2 images or more in 5 rotations or more, a gray response per neuron, positive settings"
                    .into(),
            found: format!(
                "{} rows, {n_rotations} rotations, {} neurons, {} gray responses",
                responses.nrows(),
                responses.ncols(),
                gray.len()
            ),
            hint: "pass images × rotations × neurons".into(),
        });
    }
    let x = Mat::from_fn(responses.nrows(), responses.ncols(), |i, j| responses[(i, j)] - gray[j]);
    let all: Vec<(usize, usize)> =
        (0..n_images).flat_map(|a| (a + 1..n_images).map(move |b| (a, b))).collect();
    let mut stream = Stream::new(params.seed, "image pairs", 0);
    let chosen = stream.subset(all.len(), params.n_pairs.min(all.len()));
    let pairs: Vec<(usize, usize)> = chosen.into_iter().map(|k| all[k]).collect();
    // Scaling and components of a fold are those of all images without its rotations.
    let folds = (0..n_rotations)
        .into_par_iter()
        .map(|r| {
            monitor.check()?;
            let out = [(r + n_rotations - 1) % n_rotations, r, (r + 1) % n_rotations];
            let train: Vec<usize> = (0..x.nrows()).filter(|i| !out.contains(&(i % n_rotations))).collect();
            let mut z = x.clone();
            for j in 0..z.ncols() {
                let values: Vec<f64> = train.iter().map(|&i| x[(i, j)]).collect();
                let (centre, size) = (mean(&values), sd(&values));
                z.col_mut(j)
                    .iter_mut()
                    .for_each(|v| *v = if size > 0.0 { (*v - centre) / size } else { 0.0 });
            }
            let reduced = reduce(
                z.as_ref(),
                &train,
                &ReduceParams { max_components: params.n_components, samples_per_component: 1 },
            )?;
            // `reduce` gives components unit variance; here they keep their own.
            let scores = along_components(&z, &reduced.scores, &train);
            Ok(scores)
        })
        .collect::<Result<Vec<Mat<f64>>>>()?;
    let per_pair = pairs
        .par_iter()
        .map(|&(a, b)| {
            monitor.check()?;
            let mut right = 0;
            for (r, z) in folds.iter().enumerate() {
                let out = [(r + n_rotations - 1) % n_rotations, r, (r + 1) % n_rotations];
                let rows = |image: usize| {
                    (0..n_rotations).filter(|k| !out.contains(k)).map(move |k| image * n_rotations + k)
                };
                let train: Vec<usize> = rows(a).chain(rows(b)).collect();
                let labels: Vec<f64> =
                    train.iter().map(|i| if i / n_rotations == a { 1.0 } else { -1.0 }).collect();
                let w = support_vectors(&select_rows(z.as_ref(), &train), &labels, params.cost);
                let side = |i: usize| {
                    let own: Vec<f64> = z.row(i).iter().copied().collect();
                    dot(&own, &w) + w[own.len()]
                };
                right += usize::from(side(a * n_rotations + r) > 0.0)
                    + usize::from(side(b * n_rotations + r) < 0.0);
            }
            Ok(right as f64 / (2 * n_rotations) as f64)
        })
        .collect::<Result<Vec<f64>>>()?;
    Ok(RotationInvariance { accuracy: mean(&per_pair), per_pair, pairs })
}

/// Standardised components with the standard deviation that they had: sd_j = ‖z_trainᵀ u_j‖/n for scores u of unit variance.
fn along_components(z: &Mat<f64>, scores: &Mat<f64>, train: &[usize]) -> Mat<f64> {
    let (own, unit) = (select_rows(z.as_ref(), train), select_rows(scores.as_ref(), train));
    let loadings = product(own.transpose(), unit.as_ref());
    let n = train.len() as f64;
    Mat::from_fn(scores.nrows(), scores.ncols(), |i, k| scores[(i, k)] * loadings.col(k).norm_l2() / n)
}

/// Weights and constant of a linear support vector machine with hinge loss: min ½‖w‖² + C Σ max(0, 1 − y wᵀx).
fn support_vectors(x: &Mat<f64>, y: &[f64], cost: f64) -> Vec<f64> {
    let (n, d) = (x.nrows(), x.ncols());
    let rows: Vec<Vec<f64>> = (0..n).map(|i| x.row(i).iter().copied().chain([1.0]).collect()).collect();
    let squares: Vec<f64> = rows.iter().map(|row| dot(row, row)).collect();
    let (mut w, mut dual) = (vec![0.0; d + 1], vec![0.0f64; n]);
    for _ in 0..SWEEPS {
        let mut violation = 0.0f64;
        for i in 0..n {
            let slope = y[i] * dot(&rows[i], &w) - 1.0;
            let next = (dual[i] - slope / squares[i]).clamp(0.0, cost);
            let moved = next - dual[i];
            if moved != 0.0 {
                violation = violation.max((moved * squares[i]).abs());
                dual[i] = next;
                w.iter_mut().zip(&rows[i]).for_each(|(w, v)| *w += moved * y[i] * v);
            }
        }
        if violation < 1e-6 {
            break;
        }
    }
    w
}

/// Object information of a population.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectInformation {
    /// Bits, less `bias`; may be below 0.
    pub bits: f64,
    /// Bits as they are counted.
    pub raw_bits: f64,
    /// Mean bits of shuffles; 0 without any.
    pub bias: f64,
    /// (1 + #{shuffled ≥ raw})/(1 + shuffles); NaN without any.
    pub p_value: f64,
    /// Share of bins with the right object.
    pub accuracy: f64,
    /// Bins shown (rows) and predicted (columns).
    pub confusion: Vec<Vec<usize>>,
    /// Objects in order of first appearance.
    pub objects: Vec<String>,
}

/// Which object `responses` (bins × neurons) show, with folds of whole clips.
///
/// Clips of each object are dealt to the folds in random order. Errors: different lengths, a clip of two objects,
/// fewer than 2 objects or clips of an object than folds, values that are not finite.
pub fn object_information<S: AsRef<str>>(
    responses: MatRef<f64>,
    objects: &[S],
    clips: &[S],
    n_folds: usize,
    n_shuffles: usize,
    seed: u64,
    monitor: &Monitor<'_>,
) -> Result<ObjectInformation> {
    check_finite(responses, "responses")?;
    let n = responses.nrows();
    if objects.len() != n || clips.len() != n {
        return Err(Error::Shape {
            what: "objects, clips".into(),
            expected: format!("{n} names each (one per bin)"),
            found: format!("{} and {}", objects.len(), clips.len()),
            hint: "name the object and the clip of every bin".into(),
        });
    }
    let (objects, clips) = (Labels::new(objects), Labels::new(clips));
    let mut object_of = vec![usize::MAX; clips.n_groups()];
    for i in 0..n {
        let (clip, object) = (clips.codes()[i], objects.codes()[i]);
        if object_of[clip] != usize::MAX && object_of[clip] != object {
            return Err(Error::Invalid {
                what: format!("clip `{}`", clips.names()[clip]),
                expected: "one object per clip".into(),
                found: format!("`{}` and `{}`", objects.names()[object_of[clip]], objects.names()[object]),
                hint: "name clips apart".into(),
            });
        }
        object_of[clip] = object;
    }
    let k = objects.n_groups();
    let fewest = (0..k).map(|o| object_of.iter().filter(|&&of| of == o).count()).min().unwrap_or(0);
    if k < 2 || n_folds < 2 || fewest < n_folds {
        return Err(Error::TooFew {
            what: "clips".into(),
            needed: format!("2 objects, 2 folds, and {n_folds} clips of every object"),
            found: format!("{k} objects, {n_folds} folds, {fewest} clips of one"),
            hint: "use fewer folds".into(),
        });
    }
    // Deal the clips of each object to the folds.
    let mut fold_of = vec![0; clips.n_groups()];
    for object in 0..k {
        let mut own: Vec<usize> = (0..fold_of.len()).filter(|&c| object_of[c] == object).collect();
        Stream::new(seed, "clip folds", object as u64).shuffle(&mut own);
        own.iter().enumerate().for_each(|(at, &clip)| fold_of[clip] = at % n_folds);
    }
    let tasks: Vec<(usize, usize)> = (0..n_folds).flat_map(|f| (0..k).map(move |o| (f, o))).collect();
    let sides = tasks
        .par_iter()
        .map(|&(fold, object)| {
            monitor.check()?;
            let (test, train): (Vec<usize>, Vec<usize>) =
                (0..n).partition(|&i| fold_of[clips.codes()[i]] == fold);
            let shown: Vec<bool> = train.iter().map(|&i| objects.codes()[i] == object).collect();
            Ok(one_against_rest(responses, &train, &shown, &test))
        })
        .collect::<Result<Vec<Vec<f64>>>>()?;
    let mut predicted = vec![0; n];
    for fold in 0..n_folds {
        let test: Vec<usize> = (0..n).filter(|&i| fold_of[clips.codes()[i]] == fold).collect();
        for (at, &i) in test.iter().enumerate() {
            let side = |o: usize| sides[fold * k + o][at];
            predicted[i] = (0..k).fold(0, |b, o| if side(o) > side(b) { o } else { b });
        }
    }
    // Predictions per clip: a shuffle gives clips other objects.
    let mut per_clip = vec![vec![0; k]; clips.n_groups()];
    (0..n).for_each(|i| per_clip[clips.codes()[i]][predicted[i]] += 1);
    let table = |object_of: &[usize]| {
        let mut table = vec![vec![0usize; k]; k];
        for (clip, counts) in per_clip.iter().enumerate() {
            counts.iter().enumerate().for_each(|(j, c)| table[object_of[clip]][j] += c);
        }
        table
    };
    let confusion = table(&object_of);
    let raw_bits = mutual_information(&confusion);
    let shuffled: Vec<f64> = (0..n_shuffles)
        .into_par_iter()
        .map(|s| {
            let mut other = object_of.clone();
            Stream::new(seed, "clip shuffles", s as u64).shuffle(&mut other);
            mutual_information(&table(&other))
        })
        .collect();
    let bias = if n_shuffles > 0 { mean(&shuffled) } else { 0.0 };
    let reached = shuffled.iter().filter(|b| **b >= raw_bits - tie_tolerance(raw_bits)).count();
    Ok(ObjectInformation {
        bits: raw_bits - bias,
        raw_bits,
        bias,
        p_value: if n_shuffles > 0 { permutation_p(reached, n_shuffles) } else { f64::NAN },
        accuracy: (0..k).map(|o| confusion[o][o]).sum::<usize>() as f64 / n as f64,
        confusion,
        objects: objects.names().to_vec(),
    })
}

/// Σ p_ij log₂(p_ij/(p_i p_j)) of a table of counts.
pub fn mutual_information(counts: &[Vec<usize>]) -> f64 {
    let total: usize = counts.iter().flatten().sum();
    let rows: Vec<usize> = counts.iter().map(|row| row.iter().sum()).collect();
    let columns: Vec<usize> =
        (0..counts.first().map_or(0, Vec::len)).map(|j| counts.iter().map(|row| row[j]).sum()).collect();
    let mut bits = 0.0;
    for (row, own) in counts.iter().zip(&rows) {
        for (count, column) in row.iter().zip(&columns) {
            if *count > 0 {
                let ratio = (*count * total) as f64 / (*own * *column) as f64;
                bits += *count as f64 / total as f64 * ratio.log2();
            }
        }
    }
    bits
}

/// Log-odds of test rows from a logistic regression of `shown` on training rows, z-scored there.
fn one_against_rest(x: MatRef<f64>, train: &[usize], shown: &[bool], test: &[usize]) -> Vec<f64> {
    let (mut own, mut other) = (select_rows(x, train), select_rows(x, test));
    for j in 0..own.ncols() {
        let (centre, size) = (mean(own.col_as_slice(j)), sd(own.col_as_slice(j)));
        let z = |v: &mut f64| *v = if size > 0.0 { (*v - centre) / size } else { 0.0 };
        own.col_mut(j).iter_mut().for_each(z);
        other.col_mut(j).iter_mut().for_each(z);
    }
    let d = own.ncols();
    let n = train.len() as f64;
    let sides = |x: &Mat<f64>, w: &[f64]| -> Vec<f64> {
        let along = product(x.as_ref(), MatRef::from_column_major_slice(&w[..d], d, 1));
        along.col_as_slice(0).iter().map(|v| v + w[d]).collect()
    };
    let found = lbfgs(&vec![0.0; d + 1], 300, 1e-6, |w| {
        let odds = sides(&own, w);
        let mut value = 0.0;
        // ln(1 + e^s) − s·shown, and its slope.
        let slopes: Vec<f64> = odds
            .iter()
            .zip(shown)
            .map(|(s, shown)| {
                let target = if *shown { 1.0 } else { 0.0 };
                value += (s.max(0.0) + (-s.abs()).exp().ln_1p() - s * target) / n;
                (1.0 / (1.0 + (-s).exp()) - target) / n
            })
            .collect();
        let back = product(own.transpose(), MatRef::from_column_major_slice(&slopes, slopes.len(), 1));
        let mut gradient: Vec<f64> =
            back.col_as_slice(0).iter().zip(w).map(|(g, w)| g + 2.0 * TINY * w).collect();
        gradient.push(slopes.iter().sum());
        (value + TINY * dot(&w[..d], &w[..d]), gradient)
    });
    sides(&other, &found.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_by_hand() {
        assert_eq!(mutual_information(&[vec![5, 0], vec![0, 5]]), 1.0);
        assert_eq!(mutual_information(&[vec![5, 5], vec![5, 5]]), 0.0);
        // p = (.4, .1; .1, .4): 1 − H(.2) = 0.27807.
        assert!((mutual_information(&[vec![4, 1], vec![1, 4]]) - 0.278_071_905_1).abs() < 1e-9);
    }

    #[test]
    fn two_points_have_the_margin_between_them() {
        // x = ±2 with the constant: w·2 = 1 on both sides and no constant; large C.
        let x = Mat::from_fn(2, 1, |i, _| if i == 0 { 2.0 } else { -2.0 });
        let w = support_vectors(&x, &[1.0, -1.0], 100.0);
        assert!((w[0] - 0.5).abs() < 1e-6 && w[1].abs() < 1e-6, "{w:?}");
        // Small C: both multipliers are at C, w = 2 · C · 2.
        let w = support_vectors(&x, &[1.0, -1.0], 0.01);
        assert!((w[0] - 0.04).abs() < 1e-12);
    }

    /// 12 images in 15 rotations; a share of each image's pattern does not turn with it.
    fn rotated(invariant: f64) -> (Mat<f64>, Vec<f64>) {
        let mut stream = Stream::new(1, "object tests", 0);
        let fixed = Mat::from_fn(12, 40, |_, _| stream.normal());
        // What turns is as unlike at neighbouring rotations as at far ones.
        let turning = Mat::from_fn(180, 40, |_, _| stream.normal());
        let x = Mat::from_fn(180, 40, |i, j| {
            5.0 + invariant * fixed[(i / 15, j)] + turning[(i, j)] + 0.1 * stream.normal()
        });
        (x, vec![5.0; 40])
    }

    #[test]
    fn invariance_grows_with_what_does_not_turn() {
        let accuracy = |invariant| {
            let (x, gray) = rotated(invariant);
            let params = InvarianceParams { n_pairs: 20, ..InvarianceParams::default() };
            rotation_invariance(x.as_ref(), &gray, 15, &params, &Monitor::silent()).unwrap()
        };
        let found: Vec<f64> =
            [0.0, 0.3, 0.6, 2.0].into_iter().map(|share| accuracy(share).accuracy).collect();
        assert!((found[0] - 0.5).abs() < 0.08, "{found:?}");
        assert!(found[1] > found[0] + 0.05 && found[2] > found[1] + 0.05 && found[3] > 0.97, "{found:?}");
        let again = accuracy(0.3);
        assert!(again.pairs.len() == 20 && again.per_pair.len() == 20);
    }

    #[test]
    fn neighbouring_rotations_do_not_leak() {
        // A pattern that is shared by neighbouring rotations only: the neighbours are held out too.
        let mut stream = Stream::new(2, "object tests", 0);
        let steps = Mat::from_fn(12 * 16, 40, |_, _| stream.normal());
        let x = Mat::from_fn(180, 40, |i, j| {
            let (image, r) = (i / 15, i % 15);
            steps[(image * 16 + r, j)] + steps[(image * 16 + (r + 1) % 15, j)]
        });
        let params = InvarianceParams { n_pairs: 40, ..InvarianceParams::default() };
        let found = rotation_invariance(x.as_ref(), &[0.0; 40], 15, &params, &Monitor::silent()).unwrap();
        assert!((found.accuracy - 0.5).abs() < 0.08, "{}", found.accuracy);
    }

    /// Four objects, 10 clips each, 8 bins per clip; neurons see the object by `gain` and the clip by 1.
    fn films(gain: f64) -> (Mat<f64>, Vec<String>, Vec<String>) {
        let mut stream = Stream::new(3, "object tests", 0);
        let by_object = Mat::from_fn(4, 30, |_, _| stream.normal());
        let by_clip = Mat::from_fn(40, 30, |_, _| stream.normal());
        let x = Mat::from_fn(320, 30, |i, j| {
            gain * by_object[(i / 80, j)] + by_clip[(i / 8, j)] + 0.5 * stream.normal()
        });
        (
            x,
            (0..320).map(|i| format!("o{}", i / 80)).collect(),
            (0..320).map(|i| format!("c{}", i / 8)).collect(),
        )
    }

    fn measure(gain: f64) -> ObjectInformation {
        let (x, objects, clips) = films(gain);
        object_information(x.as_ref(), &objects, &clips, 5, 200, 1, &Monitor::silent()).unwrap()
    }

    #[test]
    fn information_grows_and_clips_do_not_leak() {
        let none = measure(0.0);
        // Bins of a clip are alike, yet no clip helps itself.
        assert!(none.accuracy < 0.4 && none.bits.abs() < 0.1 && none.p_value > 0.05, "{none:?}");
        assert!(
            none.bias > (9.0 / (2.0 * 320.0 * 2f64.ln())),
            "clips make bins count for less: {}",
            none.bias
        );
        let (some, much) = (measure(0.6), measure(3.0));
        assert!(some.bits > none.bits + 0.1 && much.bits > some.bits + 0.3 && much.raw_bits <= 2.0 + 1e-12);
        assert!(much.accuracy > 0.97 && much.p_value < 0.01);
        assert!((much.bits - (much.raw_bits - much.bias)).abs() < 1e-15);
        assert_eq!(much.confusion.iter().map(|r| r.iter().sum::<usize>()).collect::<Vec<_>>(), [80; 4]);
    }

    #[test]
    fn bad_input_is_named() {
        let (x, objects, mut clips) = films(1.0);
        let silent = Monitor::silent();
        let refused = |clips: &[String], folds| {
            object_information(x.as_ref(), &objects, clips, folds, 0, 1, &silent).unwrap_err().to_string()
        };
        assert!(refused(&clips, 11).contains("11 clips"));
        assert!(refused(&clips[..9], 5).contains("320 names"));
        clips[0] = "c39".into();
        assert!(refused(&clips, 5).contains("one object per clip"));
        let params = InvarianceParams::default();
        assert!(rotation_invariance(x.as_ref(), &[0.0; 30], 15, &params, &silent).is_err());
        assert!(rotation_invariance(x.as_ref(), &[0.0; 3], 16, &params, &silent).is_err());
    }
}
