//! Score how much closer each object lies to its own group than to the next one (silhouette).
//!
//! s_i = (b_i − a_i)/max(a_i, b_i), with a_i the mean distance to the other members of the own group and
//! b_i the least mean distance to another group. s is in [−1, 1], high = well separated; the only member
//! of a group has s = 0, and so has an object with a_i = b_i = 0.
//!
//! The permutation test uses the very shuffles of PERMANOVA. A permuted labelling costs one pass over
//! the distances: the sums of every object's distances to every group.
//! Source: Rousseeuw 1987; specs: nfas-dmd 11.4. Cost: O(N²) per labelling.

use rayon::prelude::*;

use super::distance::Distances;
use super::permanova::{CHUNK, LABEL_SHUFFLES};
use super::shuffles::{PermutationParams, PermutationSupport, Shuffles};
use super::summary::{mean, permutation_p, tie_tolerance};
use crate::data::{Labels, Monitor, Result};

/// Rows that are summed side by side.
const LANES: usize = 8;

/// Silhouettes of one labelling.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Silhouette {
    /// Mean over objects.
    pub mean: f64,
    /// Each object's silhouette.
    pub per_object: Vec<f64>,
    /// Mean over the objects of each group, in the order of the groups' names.
    pub per_group: Vec<f64>,
}

/// The mean silhouette against permuted labels.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SilhouetteTest {
    /// The observed silhouettes.
    pub observed: Silhouette,
    /// Permutation p-value of the mean (large is extreme).
    pub p_value: f64,
    /// Mean of the mean silhouette under permutation; it lies below zero.
    pub null_mean: f64,
    /// What the permutations can support.
    pub support: PermutationSupport,
}

/// Silhouettes of the objects in the groups of `labels`.
///
/// Errors: labels that do not match, or fewer than two groups.
pub fn silhouette(distances: &Distances, labels: &Labels) -> Result<Silhouette> {
    labels.check_for_test("labels", distances.n_objects())?;
    let order: Vec<usize> = (0..distances.n_objects()).collect();
    let mut kernel = Kernel::new(distances, &order, labels.n_groups());
    let codes: Vec<u32> = labels.codes().iter().map(|&c| c as u32).collect();
    let total = kernel.evaluate(&codes);
    let per_object = kernel.silhouettes[..codes.len()].to_vec();
    let per_group = (0..labels.n_groups())
        .map(|c| mean(&labels.members(c).iter().map(|&i| per_object[i]).collect::<Vec<_>>()))
        .collect();
    Ok(Silhouette { mean: total, per_object, per_group })
}

/// Test the mean silhouette by permuting labels as [`super::permanova::permanova`] does.
pub fn silhouette_test(
    distances: &Distances,
    labels: &Labels,
    params: &PermutationParams,
    monitor: &Monitor,
) -> Result<SilhouetteTest> {
    let observed = silhouette(distances, labels)?;
    let order = distances.canonical_order();
    let codes: Vec<usize> = order.iter().map(|&i| labels.codes()[i]).collect();
    let shuffles = Shuffles::new(&codes, labels.n_groups(), &order, params, LABEL_SHUFFLES)?;
    let kernel = Kernel::new(distances, &order, labels.n_groups());
    let threshold = observed.mean - tie_tolerance(observed.mean);
    let chunks: Vec<Result<(usize, f64)>> = (0..shuffles.len().div_ceil(CHUNK))
        .into_par_iter()
        .map(|chunk| {
            monitor.check()?;
            let mut kernel = kernel.clone();
            let mut codes = vec![0; order.len()];
            let (mut n_exceeding, mut sum) = (0, 0.0);
            for index in chunk * CHUNK..shuffles.len().min((chunk + 1) * CHUNK) {
                shuffles.write(index, &mut codes);
                let null = kernel.evaluate(&codes);
                n_exceeding += usize::from(null >= threshold);
                sum += null;
            }
            Ok((n_exceeding, sum))
        })
        .collect();
    let (mut n_exceeding, mut sum) = (0, 0.0);
    for chunk in chunks {
        let (n, s) = chunk?;
        n_exceeding += n;
        sum += s;
    }
    Ok(SilhouetteTest {
        observed,
        p_value: permutation_p(n_exceeding, shuffles.len()),
        null_mean: sum / shuffles.len() as f64,
        support: shuffles.support().clone(),
    })
}

/// Distances with rows padded to whole lanes, and room for one labelling.
#[derive(Debug, Clone)]
struct Kernel {
    distances: Vec<f64>,
    n: usize,
    stride: usize,
    members: Vec<Vec<u32>>,
    sums: Vec<f64>,
    own: Vec<f64>,
    nearest: Vec<f64>,
    silhouettes: Vec<f64>,
}

impl Kernel {
    fn new(distances: &Distances, order: &[usize], n_groups: usize) -> Self {
        let n = order.len();
        let stride = n.next_multiple_of(LANES);
        let mut padded = vec![0.0; n * stride];
        for i in 0..n {
            for j in 0..n {
                padded[i * stride + j] = distances.matrix()[(order[i], order[j])];
            }
        }
        Kernel {
            distances: padded,
            n,
            stride,
            members: vec![Vec::with_capacity(n); n_groups],
            sums: vec![0.0; stride],
            own: vec![0.0; stride],
            nearest: vec![0.0; stride],
            silhouettes: vec![0.0; stride],
        }
    }

    /// Fill `silhouettes` for one labelling and return their mean.
    fn evaluate(&mut self, codes: &[u32]) -> f64 {
        self.members.iter_mut().for_each(Vec::clear);
        for (i, &code) in codes.iter().enumerate() {
            self.members[code as usize].push(i as u32);
        }
        self.nearest.fill(f64::INFINITY);
        for members in self.members.iter().filter(|m| !m.is_empty()) {
            // (n_objects): every object's summed distance to this group. Plain comparisons below, since
            // they become one instruction per lane.
            for (chunk, out) in self.sums.chunks_exact_mut(LANES).enumerate() {
                let mut sums = [0.0; LANES];
                for &j in members {
                    let at = j as usize * self.stride + chunk * LANES;
                    let row = &self.distances[at..at + LANES];
                    for lane in 0..LANES {
                        sums[lane] += row[lane];
                    }
                }
                out.copy_from_slice(&sums);
            }
            // The distance to oneself is zero, so the sum over others is the sum over all.
            let to_others = 1.0 / (members.len() as f64 - 1.0);
            for &i in members {
                self.own[i as usize] = self.sums[i as usize] * to_others;
                self.sums[i as usize] = f64::INFINITY;
            }
            let to_all = 1.0 / members.len() as f64;
            for (nearest, sum) in self.nearest.iter_mut().zip(&self.sums) {
                let other = sum * to_all;
                *nearest = if other < *nearest { other } else { *nearest };
            }
        }
        for ((s, &a), &b) in self.silhouettes.iter_mut().zip(&self.own).zip(&self.nearest) {
            let larger = if a > b { a } else { b };
            let ratio = (b - a) / larger;
            *s = if larger > 0.0 { ratio } else { 0.0 };
        }
        // The mean distance of a single member to its own group is 0/0.
        for members in self.members.iter().filter(|m| m.len() == 1) {
            self.silhouettes[members[0] as usize] = 0.0;
        }
        self.silhouettes[..self.n].iter().sum::<f64>() / self.n as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::distance::{DistanceKind, object_distances};
    use crate::stats::permanova::permanova;
    use crate::stats::rng::Stream;
    use faer::Mat;

    fn euclidean(x: &Mat<f64>) -> Distances {
        object_distances(x.as_ref(), DistanceKind::EuclideanRaw).unwrap().distances
    }

    #[test]
    fn five_points_on_a_line_by_hand() {
        // 0, 1 | 4, 6 | 20. Object 0: a = 1, b = 5: 0.8. Object 1: a = 1, b = 4: 0.75.
        // Object 4: a = 2, b = 3.5: 3/7. Object 6: a = 2, b = 5.5: 7/11. The single one: 0.
        let x = Mat::from_fn(5, 1, |i, _| [0.0, 1.0, 4.0, 6.0, 20.0][i]);
        let found = silhouette(&euclidean(&x), &Labels::new(&["a", "a", "b", "b", "c"])).unwrap();
        let expected = [0.8, 0.75, 3.0 / 7.0, 7.0 / 11.0, 0.0];
        for (s, e) in found.per_object.iter().zip(expected) {
            assert!((s - e).abs() < 1e-15, "{s} against {e}");
        }
        assert!((found.mean - expected.iter().sum::<f64>() / 5.0).abs() < 1e-15);
        assert!((found.per_group[0] - 0.775).abs() < 1e-15 && found.per_group[2] == 0.0);
    }

    #[test]
    fn equal_objects_score_zero() {
        let found = silhouette(&euclidean(&Mat::zeros(4, 2)), &Labels::new(&["a", "a", "b", "b"])).unwrap();
        assert_eq!(found.per_object, [0.0; 4]);
    }

    #[test]
    fn the_lanes_agree_with_the_definition() {
        let mut stream = Stream::new(5, "silhouette tests", 0);
        let x = Mat::from_fn(45, 6, |_, _| stream.normal());
        let groups: Vec<String> = (0..45).map(|i| format!("g{}", (i * i) % 7)).collect();
        let labels = Labels::new(&groups);
        let d = euclidean(&x);
        let found = silhouette(&d, &labels).unwrap();
        for i in 0..45 {
            let to = |c: usize| {
                let others: Vec<f64> =
                    labels.members(c).into_iter().filter(|&j| j != i).map(|j| d.matrix()[(i, j)]).collect();
                mean(&others)
            };
            let own = labels.codes()[i];
            let a = to(own);
            let b = (0..labels.n_groups()).filter(|&c| c != own).map(to).fold(f64::INFINITY, f64::min);
            let s = if a.is_nan() { 0.0 } else { (b - a) / a.max(b) };
            assert!((found.per_object[i] - s).abs() < 1e-14);
        }
    }

    #[test]
    fn planted_groups_are_found_by_both_tests_on_the_same_shuffles() {
        let mut stream = Stream::new(5, "silhouette tests", 1);
        let x = Mat::from_fn(9, 2, |i, _| stream.normal() + 30.0 * (i / 3) as f64);
        let labels = Labels::new(&["a", "a", "a", "b", "b", "b", "c", "c", "c"]);
        let params = PermutationParams::default();
        let found = silhouette_test(&euclidean(&x), &labels, &params, &Monitor::silent()).unwrap();
        let beside = permanova(&euclidean(&x), &labels, &params, &Monitor::silent()).unwrap();
        // 9!/(3!)³ = 1680 labellings; 3! of them name the same groups.
        assert_eq!(found.p_value, 6.0 / 1680.0);
        assert_eq!((beside.p_value, &beside.support), (6.0 / 1680.0, &found.support));
        assert!(found.null_mean < 0.0 && found.observed.mean > 0.8);
    }
}
