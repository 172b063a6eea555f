//! Test whether groups of objects lie in different places, by permuting group labels over a distance
//! matrix (PERMANOVA).
//!
//! With N objects, g groups of sizes n_c and distances d:
//!
//! - SS_T = (1/N) Σ_{i<j} d²,  SS_W = Σ_c (1/n_c) Σ_{i<j∈c} d²,  SS_A = SS_T − SS_W
//! - F = (SS_A/(g−1)) / (SS_W/(N−g)),  R² = SS_A/SS_T
//! - ω² = (SS_A − (g−1)·MS_W)/(SS_T + MS_W) with MS_W = SS_W/(N−g)
//! - F2 = SS_A / Σ_c (1 − n_c/N)·V_c with V_c = SS_W,c/(n_c−1): keeps its level when groups differ in
//!   spread
//!
//! SS_T is the same for every labelling, so F^π ≥ F is decided as SS_W^π ≤ SS_W + √ε·SS_T; the
//! tolerance makes ties count as ties whatever the rounding (vegan adds a tolerance, scikit-bio
//! compares exactly).
//!
//! Source: Anderson 2001, eq. 1–4; F2: Anderson, Walsh, Clarke, Gorley & Guerra-Castro 2017;
//! specs: nfas-dmd 11.2. Cost: O(Σ n_c²) per permutation, O(N²) memory.

use rayon::prelude::*;

use super::distance::Distances;
use super::multiplicity::holm;
use super::shuffles::{Exchange, PermutationParams, PermutationSupport, Shuffles};
use super::summary::{mean, permutation_p, quantile, tie_tolerance};
use crate::data::{Error, Labels, Monitor, Result};

/// What PERMANOVA and silhouette call their shuffles: the same ones.
pub(crate) const LABEL_SHUFFLES: &str = "group labels";

/// Shuffles per task: one thread does them in order.
pub(crate) const CHUNK: usize = 1024;

/// The result of a PERMANOVA.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Permanova {
    /// Pseudo-F in [0, ∞]; NaN if all distances are zero.
    pub f: f64,
    /// Share of the total sum of squares that lies between groups; can leave [0, 1] for distances
    /// that fit in no Euclidean space.
    pub r2: f64,
    /// R² without its bias; negative when groups differ less than chance.
    pub omega2: f64,
    /// F2, for groups of unequal spread; NaN if a group has one object only.
    pub f2: f64,
    /// Permutation p-value of F (large is extreme).
    pub p_value: f64,
    /// Permutation p-value of F2; NaN where F2 is.
    pub p_value_f2: f64,
    /// Total sum of squares.
    pub ss_total: f64,
    /// Within-group sum of squares.
    pub ss_within: f64,
    /// Within-group sum of squares of each group, divided by its size.
    pub ss_within_group: Vec<f64>,
    /// Objects per group, in the order of the groups' names.
    pub group_sizes: Vec<usize>,
    /// Mean R² under permutation: what no difference at all would give.
    pub null_r2_mean: f64,
    /// 95 % quantile of R² under permutation.
    pub null_r2_q95: f64,
    /// What the permutations can support.
    pub support: PermutationSupport,
    /// Why a value is undefined, if one is.
    pub reason: Option<String>,
}

/// PERMANOVA between two of the groups.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PairwisePermanova {
    /// Name of the first group.
    pub first: String,
    /// Name of the second group.
    pub second: String,
    /// The test on the objects of these two groups only.
    pub test: Permanova,
    /// p-value adjusted over all pairs by Holm's method.
    pub p_adjusted: f64,
}

/// Test whether the groups of `labels` differ in location.
///
/// Errors: labels that do not match, fewer than two groups, no more objects than groups, families that
/// span groups. Undefined (NaN with `reason`): all statistics when every distance is zero.
pub fn permanova(
    distances: &Distances,
    labels: &Labels,
    params: &PermutationParams,
    monitor: &Monitor,
) -> Result<Permanova> {
    labels.check_for_test("labels", distances.n_objects())?;
    check_objects(distances.n_objects(), labels.n_groups())?;
    let order = distances.canonical_order();
    let codes: Vec<usize> = order.iter().map(|&i| labels.codes()[i]).collect();
    let kernel = WithinSums::new(distances, &order, labels.n_groups());
    let shuffles = Shuffles::new(&codes, labels.n_groups(), &order, params, LABEL_SHUFFLES)?;
    let codes: Vec<u32> = codes.iter().map(|&c| c as u32).collect();
    let observed = kernel.evaluate(&codes, &mut kernel.scratch());
    let tolerance = f64::EPSILON.sqrt() * kernel.ss_total;
    let f2_tolerance = tie_tolerance(observed.f2);

    let n_chunks = shuffles.len().div_ceil(CHUNK);
    let chunks: Vec<Result<NullChunk>> = (0..n_chunks)
        .into_par_iter()
        .map(|chunk| {
            monitor.check()?;
            let mut codes = vec![0; codes.len()];
            let mut scratch = kernel.scratch();
            let mut found = NullChunk::default();
            for index in chunk * CHUNK..shuffles.len().min((chunk + 1) * CHUNK) {
                shuffles.write(index, &mut codes);
                let null = kernel.evaluate(&codes, &mut scratch);
                found.n_f += usize::from(null.ss_within <= observed.ss_within + tolerance);
                found.n_f2 += usize::from(null.f2 >= observed.f2 - f2_tolerance || null.f2 == observed.f2);
                found.ss_within.push(null.ss_within);
            }
            Ok(found)
        })
        .collect();
    let (mut n_f, mut n_f2, mut null_r2) = (0, 0, Vec::with_capacity(shuffles.len()));
    for chunk in chunks {
        let chunk = chunk?;
        n_f += chunk.n_f;
        n_f2 += chunk.n_f2;
        null_r2.extend(chunk.ss_within.iter().map(|ss| 1.0 - ss / kernel.ss_total));
    }

    let defined = kernel.ss_total > 0.0;
    let or_nan = |x: f64| if defined { x } else { f64::NAN };
    let (n, g) = (codes.len() as f64, labels.n_groups() as f64);
    let (ss_total, ss_within) = (kernel.ss_total, observed.ss_within);
    let (ss_among, ms_within) = (ss_total - ss_within, ss_within / (n - g));
    let reason = if !defined {
        Some("every distance is zero".to_owned())
    } else if observed.f2.is_nan() {
        Some("F2 needs at least two objects in every group".to_owned())
    } else {
        None
    };
    Ok(Permanova {
        f: or_nan(ss_among / (g - 1.0) / ms_within),
        r2: or_nan(ss_among / ss_total),
        omega2: or_nan((ss_among - (g - 1.0) * ms_within) / (ss_total + ms_within)),
        f2: or_nan(observed.f2),
        p_value: or_nan(permutation_p(n_f, shuffles.len())),
        p_value_f2: if observed.f2.is_nan() { f64::NAN } else { or_nan(permutation_p(n_f2, shuffles.len())) },
        ss_total,
        ss_within,
        ss_within_group: observed.per_group,
        group_sizes: labels.sizes(),
        null_r2_mean: or_nan(mean(&null_r2)),
        null_r2_q95: or_nan(quantile(&null_r2, 0.95)),
        support: shuffles.support().clone(),
        reason,
    })
}

/// PERMANOVA for every pair of groups, with p-values adjusted by Holm's method.
///
/// A pair with no more objects than groups (two single objects) gives NaN with a reason.
/// The restriction of `params` holds within each pair.
pub fn pairwise_permanova(
    distances: &Distances,
    labels: &Labels,
    params: &PermutationParams,
    monitor: &Monitor,
) -> Result<Vec<PairwisePermanova>> {
    labels.check_for_test("labels", distances.n_objects())?;
    let names = labels.names();
    let mut pairs = Vec::new();
    for first in 0..names.len() {
        for second in first + 1..names.len() {
            let objects: Vec<usize> =
                (0..labels.n_objects()).filter(|&i| [first, second].contains(&labels.codes()[i])).collect();
            let pair_labels = restrict(labels, &objects);
            let exchange = match &params.exchange {
                Exchange::Free => Exchange::Free,
                Exchange::Families(f) => Exchange::Families(restrict(f, &objects)),
                Exchange::Strata(s) => Exchange::Strata(restrict(s, &objects)),
            };
            let test = if objects.len() > 2 {
                let params = PermutationParams { exchange, ..params.clone() };
                permanova(&distances.subset(&objects), &pair_labels, &params, monitor)?
            } else {
                undefined_pair()
            };
            pairs.push(PairwisePermanova {
                first: names[first].clone(),
                second: names[second].clone(),
                test,
                p_adjusted: f64::NAN,
            });
        }
    }
    let p: Vec<f64> = pairs.iter().map(|pair| pair.test.p_value).collect();
    for (pair, adjusted) in pairs.iter_mut().zip(holm(&p)) {
        pair.p_adjusted = adjusted;
    }
    Ok(pairs)
}

/// The labels of some objects.
pub(crate) fn restrict(labels: &Labels, objects: &[usize]) -> Labels {
    let names: Vec<&str> = objects.iter().map(|&i| labels.names()[labels.codes()[i]].as_str()).collect();
    Labels::new(&names)
}

pub(crate) fn check_objects(n_objects: usize, n_groups: usize) -> Result<()> {
    if n_objects > n_groups {
        return Ok(());
    }
    Err(Error::TooFew {
        what: "distances".into(),
        needed: format!("{} objects (one more than groups)", n_groups + 1),
        found: format!("{n_objects} objects"),
        hint: "a spread within groups needs a group of two".into(),
    })
}

fn undefined_pair() -> Permanova {
    Permanova {
        f: f64::NAN,
        r2: f64::NAN,
        omega2: f64::NAN,
        f2: f64::NAN,
        p_value: f64::NAN,
        p_value_f2: f64::NAN,
        ss_total: f64::NAN,
        ss_within: f64::NAN,
        ss_within_group: vec![f64::NAN; 2],
        group_sizes: vec![1, 1],
        null_r2_mean: f64::NAN,
        null_r2_q95: f64::NAN,
        support: PermutationSupport {
            n_permutations: 0,
            exact: true,
            n_distinct: 2.0,
            smallest_p: 1.0,
            restricted: false,
            warning: None,
        },
        reason: Some("two groups of one object each have no spread within".into()),
    }
}

#[derive(Default)]
struct NullChunk {
    n_f: usize,
    n_f2: usize,
    ss_within: Vec<f64>,
}

/// The within-group sums of one labelling.
struct Within {
    ss_within: f64,
    per_group: Vec<f64>,
    f2: f64,
}

/// Squared distances in canonical order, ready to be summed by group.
struct WithinSums {
    squared: Vec<f64>,
    n: usize,
    n_groups: usize,
    ss_total: f64,
}

impl WithinSums {
    fn new(distances: &Distances, order: &[usize], n_groups: usize) -> Self {
        let n = order.len();
        let d = distances.matrix();
        let mut squared = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                squared[i * n + j] = d[(order[i], order[j])].powi(2);
            }
        }
        let ss_total = (0..n).map(|i| squared[i * n..i * n + i].iter().sum::<f64>()).sum::<f64>() / n as f64;
        WithinSums { squared, n, n_groups, ss_total }
    }

    /// Room for the members of each group.
    fn scratch(&self) -> Vec<Vec<u32>> {
        vec![Vec::with_capacity(self.n); self.n_groups]
    }

    fn evaluate(&self, codes: &[u32], members: &mut [Vec<u32>]) -> Within {
        members.iter_mut().for_each(Vec::clear);
        for (i, &code) in codes.iter().enumerate() {
            members[code as usize].push(i as u32);
        }
        let n = self.n as f64;
        let mut per_group = Vec::with_capacity(self.n_groups);
        let (mut ss_within, mut spread) = (0.0, 0.0);
        for group in members.iter() {
            let size = group.len() as f64;
            let ss = self.sum_of_pairs(group) / size;
            ss_within += ss;
            spread += (1.0 - size / n) * ss / (size - 1.0);
            per_group.push(ss);
        }
        let f2 = (self.ss_total - ss_within) / spread;
        Within { ss_within, per_group, f2 }
    }

    /// Σ_{i<j} d² within a group. Four sums run side by side, since each waits for its own last addition.
    fn sum_of_pairs(&self, group: &[u32]) -> f64 {
        let mut sums = [0.0; 4];
        for (at, &i) in group.iter().enumerate() {
            let row = &self.squared[i as usize * self.n..(i as usize + 1) * self.n];
            let mut fours = group[..at].chunks_exact(4);
            for four in &mut fours {
                for (sum, &j) in sums.iter_mut().zip(four) {
                    *sum += row[j as usize];
                }
            }
            for &j in fours.remainder() {
                sums[0] += row[j as usize];
            }
        }
        (sums[0] + sums[1]) + (sums[2] + sums[3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::distance::{DistanceKind, object_distances};
    use crate::stats::rng::Stream;
    use faer::Mat;

    fn distances(rows: &[&[f64]]) -> Distances {
        Distances::new(Mat::from_fn(rows.len(), rows.len(), |i, j| rows[i][j])).unwrap()
    }

    fn run(d: &Distances, groups: &[&str]) -> Permanova {
        permanova(d, &Labels::new(groups), &PermutationParams::default(), &Monitor::silent()).unwrap()
    }

    fn cloud(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(3, "permanova tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    fn euclidean(x: &Mat<f64>) -> Distances {
        object_distances(x.as_ref(), DistanceKind::EuclideanRaw).unwrap().distances
    }

    #[test]
    fn four_points_on_a_line_by_hand() {
        // 0, 1 | 3, 4: Σd² = 1+9+16+4+9+1 = 40, SS_T = 10; SS_W = 1/2 + 1/2; F = 9/(1/2) = 18.
        let x = Mat::from_fn(4, 1, |i, _| [0.0, 1.0, 3.0, 4.0][i]);
        let found = run(&euclidean(&x), &["a", "a", "b", "b"]);
        assert_eq!((found.ss_total, found.ss_within, found.f), (10.0, 1.0, 18.0));
        assert_eq!((found.r2, found.omega2), (0.9, (9.0 - 0.5) / 10.5));
        // V_c = 1/2 each, weights 1/2: F2 = 9/0.5.
        assert_eq!(found.f2, 18.0);
        // Six labellings, two of which (the observed one and its mirror) reach F = 18.
        assert_eq!((found.p_value, found.support.exact), (2.0 / 6.0, true));
    }

    #[test]
    fn values_of_vegan_adonis() {
        // Statistics and p-values of vegan::adonis as in scikit-bio's test data (BSD-3-Clause).
        let tied = distances(&[&[0., 1., 1., 4.], &[1., 0., 3., 2.], &[1., 3., 0., 3.], &[4., 2., 3., 0.]]);
        let found = run(&tied, &["Control", "Control", "Fast", "Fast"]);
        assert!((found.f - 2.0).abs() < 1e-12 && (found.p_value - 4.0 / 6.0).abs() < 1e-12);
        let free = distances(&[&[0., 1., 5., 4.], &[1., 0., 3., 2.], &[5., 3., 0., 3.], &[4., 2., 3., 0.]]);
        let found = run(&free, &["Control", "Control", "Fast", "Fast"]);
        assert!((found.f - 4.4).abs() < 1e-12 && (found.p_value - 2.0 / 6.0).abs() < 1e-12);
        let unequal = distances(&[
            &[0., 1., 0.1, 0.5678, 1., 1.],
            &[1., 0., 0.002, 0.42, 0.998, 0.],
            &[0.1, 0.002, 0., 1., 0.123, 1.],
            &[0.5678, 0.42, 1., 0., 0.123, 0.43],
            &[1., 0.998, 0.123, 0.123, 0., 0.5],
            &[1., 0., 1., 0.43, 0.5, 0.],
        ]);
        let found =
            run(&unequal, &["Control", "Treatment1", "Treatment2", "Treatment1", "Control", "Control"]);
        // Published to six digits.
        assert!((found.f - 0.578848).abs() < 5e-7, "{}", found.f);
        assert!((found.p_value - 0.645).abs() < 0.02, "{}", found.p_value);
        assert!(found.f2.is_nan() && found.p_value_f2.is_nan() && found.reason.is_some());
    }

    #[test]
    fn euclidean_data_give_the_trace_ratio_of_manova() {
        let x = cloud(23, 4, 0);
        let groups: Vec<&str> = (0..23).map(|i| ["a", "b", "c"][(i * i) % 3]).collect();
        let labels = Labels::new(&groups);
        let found =
            permanova(&euclidean(&x), &labels, &PermutationParams::default(), &Monitor::silent()).unwrap();
        // Sums of squared deviations from the group means and from the grand mean.
        let deviations = |members: &[usize]| -> f64 {
            (0..4)
                .map(|j| {
                    let values: Vec<f64> = members.iter().map(|&i| x[(i, j)]).collect();
                    let m = mean(&values);
                    values.iter().map(|v| (v - m).powi(2)).sum::<f64>()
                })
                .sum()
        };
        let within: f64 = (0..labels.n_groups()).map(|c| deviations(&labels.members(c))).sum();
        let total = deviations(&(0..23).collect::<Vec<_>>());
        assert!((found.ss_within - within).abs() < 1e-11 && (found.ss_total - total).abs() < 1e-11);
        let g = labels.n_groups() as f64;
        let from_f = 1.0 / (1.0 + (23.0 - g) / ((g - 1.0) * found.f));
        assert!((found.r2 - from_f).abs() < 1e-13);
    }

    #[test]
    fn forty_five_models_in_three_groups_agree_with_the_slow_definition() {
        // Distances that fit in no Euclidean space: 1 − correlation of five coordinates.
        let mut x = cloud(45, 5, 3);
        (0..15).for_each(|i| x[(i, 1)] += 0.6);
        let d = object_distances(x.as_ref(), DistanceKind::Correlation).unwrap().distances;
        let groups: Vec<&str> = (0..45).map(|i| ["vision", "audio", "language"][i / 15]).collect();
        let params = PermutationParams { n_permutations: 99, ..Default::default() };
        let found = permanova(&d, &Labels::new(&groups), &params, &Monitor::silent()).unwrap();
        // Anderson 2001, eq. 1 and 2, pair by pair.
        let (mut total, mut within) = (0.0, 0.0);
        for i in 0..45 {
            for j in i + 1..45 {
                let squared = d.matrix()[(i, j)] * d.matrix()[(i, j)];
                total += squared / 45.0;
                if groups[i] == groups[j] {
                    within += squared / 15.0;
                }
            }
        }
        let f = ((total - within) / 2.0) / (within / 42.0);
        assert!((found.f / f - 1.0).abs() < 1e-12, "{} {f}", found.f);
        assert!((found.r2 - (total - within) / total).abs() < 1e-13, "{}", found.r2);
        // F = R²/(1 − R²) · (N − a)/(a − 1), and MS_W has N − a = 42 degrees of freedom, not N − a − 1.
        let from_r2 = found.r2 / (1.0 - found.r2) * 42.0 / 2.0;
        assert!((found.f / from_r2 - 1.0).abs() < 1e-12, "{} {from_r2}", found.f);
        assert_eq!(found.group_sizes, [15, 15, 15]);
    }

    #[test]
    fn exact_p_values_agree_with_the_slow_definition() {
        let x = cloud(6, 2, 1);
        let d = euclidean(&x);
        let f_of = |labels: &[usize]| {
            let (mut total, mut within, mut sizes) = (0.0, [0.0; 3], [0.0; 3]);
            labels.iter().for_each(|&c| sizes[c] += 1.0);
            for i in 0..6 {
                for j in 0..i {
                    let squared = d.matrix()[(i, j)].powi(2);
                    total += squared / 6.0;
                    if labels[i] == labels[j] {
                        within[labels[i]] += squared;
                    }
                }
            }
            let within: f64 = (0..3).map(|c| within[c] / sizes[c]).sum();
            (total - within) / 2.0 / (within / 3.0)
        };
        let observed = [0, 1, 2, 0, 1, 2];
        let (mut reach, mut all) = (0, 0);
        for code in 0..3usize.pow(6) {
            let labels: Vec<usize> = (0..6).map(|i| code / 3usize.pow(i) % 3).collect();
            if (0..3).all(|c| labels.iter().filter(|&&l| l == c).count() == 2) {
                all += 1;
                reach += i32::from(f_of(&labels) >= f_of(&observed) - 1e-9);
            }
        }
        let found = run(&d, &["a", "b", "c", "a", "b", "c"]);
        assert_eq!(all, 90);
        assert!((found.f - f_of(&observed)).abs() < 1e-12);
        assert_eq!(found.p_value, f64::from(reach) / 90.0);
    }

    #[test]
    fn sampled_p_values_approach_the_exact_one_whatever_the_threads_and_the_row_order() {
        let x = cloud(10, 2, 2);
        let ids: Vec<String> = (0..10).map(|i| format!("m{}", (i * 7) % 10)).collect();
        let groups: Vec<&str> = (0..10).map(|i| if i < 4 { "a" } else { "b" }).collect();
        let d = euclidean(&x).with_ids(&ids).unwrap();
        let labels = Labels::new(&groups);
        let exact = permanova(&d, &labels, &PermutationParams::default(), &Monitor::silent()).unwrap();
        let sampled = PermutationParams { exact_up_to: 0, ..Default::default() };
        let once = permanova(&d, &labels, &sampled, &Monitor::silent()).unwrap();
        assert!(exact.support.exact && !once.support.exact);
        // Standard error at most 0.005.
        assert!((once.p_value - exact.p_value).abs() < 0.02, "{} {}", once.p_value, exact.p_value);
        for threads in [1, 2, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let again = pool.install(|| permanova(&d, &labels, &sampled, &Monitor::silent())).unwrap();
            assert_eq!(again, once);
        }
        let reversed: Vec<usize> = (0..10).rev().collect();
        let turned =
            permanova(&d.subset(&reversed), &restrict(&labels, &reversed), &sampled, &Monitor::silent());
        assert_eq!(turned.unwrap(), once);
    }

    #[test]
    fn p_values_are_uniform_when_groups_are_alike() {
        let groups: Vec<&str> = (0..15).map(|i| ["a", "b", "c"][i % 3]).collect();
        let labels = Labels::new(&groups);
        let params = PermutationParams { n_permutations: 99, exact_up_to: 0, ..Default::default() };
        let below = |level: f64| {
            (0..200)
                .filter(|&k| {
                    let d = euclidean(&cloud(15, 3, 100 + k));
                    permanova(&d, &labels, &params, &Monitor::silent()).unwrap().p_value <= level
                })
                .count()
        };
        // 200 tests: the expected counts are 10 and 100, with standard deviations 3.1 and 7.1.
        let (rare, half) = (below(0.05), below(0.5));
        assert!((1..=20).contains(&rare) && (76..=124).contains(&half), "{rare} {half}");
    }

    #[test]
    fn pairs_are_tested_apart_and_adjusted_together() {
        let mut x = cloud(18, 2, 5);
        (0..6).for_each(|i| x[(i, 0)] += 20.0);
        let groups: Vec<&str> = (0..18).map(|i| ["far", "near", "nearby"][i / 6]).collect();
        let found = pairwise_permanova(
            &euclidean(&x),
            &Labels::new(&groups),
            &PermutationParams::default(),
            &Monitor::silent(),
        )
        .unwrap();
        assert_eq!(found.len(), 3);
        // 12!/(6! 6!) = 924 labellings, of which the observed one and its mirror are the most extreme.
        assert!((found[0].test.p_value - 2.0 / 924.0).abs() < 1e-12);
        assert!((found[0].p_adjusted - 3.0 * 2.0 / 924.0).abs() < 1e-12);
        assert_eq!((found[2].first.as_str(), found[2].second.as_str()), ("near", "nearby"));
        assert!(found[2].test.p_value > 0.05);
    }

    #[test]
    fn equal_objects_have_no_test() {
        let found = run(&euclidean(&Mat::zeros(5, 2)), &["a", "a", "b", "b", "b"]);
        assert!(found.f.is_nan() && found.p_value.is_nan() && found.r2.is_nan());
        assert_eq!(found.reason.as_deref(), Some("every distance is zero"));
    }
}
