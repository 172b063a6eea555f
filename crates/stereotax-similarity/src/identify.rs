//! Can a region be told from its RDM? Leave one subject out, and look for the nearest mean RDM of the others.
//!
//! For transformed RDMs g_sr (subject s, region r) and centroids c_q = mean of g_tq over t ≠ s, region r of subject s is
//! identified if c_r is the nearest to g_sr, by Euclidean distance or 1 − r. k regions equally near count 1/k. Accuracy is
//! the mean over regions, then over subjects; chance is 1/regions.
//!
//! All distances follow from inner products of g_sr with the sums over subjects and with the subject's own regions, so
//! that a grid of geo-topological cuts costs two products per cell, and ranks are taken once.
//!
//! Source: Lin & Kriegeskorte 2024; specs: alignment-methods B2. Cost per cell: O(S R² m) for S subjects, R regions, m pairs.

use faer::Mat;
use rayon::prelude::*;

use super::rdm_transform::{Cuts, RdmTransform, min_max, transform};
use stereotax_base::data::{Error, Monitor, Rdm, Result};
use stereotax_base::linalg::cross;
use stereotax_base::stats::ranks::midranks;

/// How near two transformed RDMs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nearness {
    /// Euclidean distance (the default).
    #[default]
    Euclidean,
    /// 1 − Pearson's r.
    Correlation,
}

/// How often regions were identified under one transform.
#[derive(Debug, Clone, PartialEq)]
pub struct Identified {
    /// Mean over subjects.
    pub accuracy: f64,
    /// Mean over regions, of each subject.
    pub per_subject: Vec<f64>,
    /// regions × regions: share of subjects in which the region of the row was taken for that of the column.
    pub confusion: Mat<f64>,
    /// RDMs that were constant after the transform; under `Correlation` they are never identified.
    pub n_constant: usize,
}

/// Identify regions under each of some transforms (`None`: RDMs as they are). `rdms[s][r]`: subject s, region r.
///
/// Errors: fewer than 2 subjects or regions, other numbers of regions or conditions, different undefined pairs, and those
/// of [`transform`].
pub fn identify(
    rdms: &[Vec<Rdm>],
    transforms: &[Option<RdmTransform>],
    nearness: Nearness,
    monitor: &Monitor<'_>,
) -> Result<Vec<Identified>> {
    let (n_subjects, n_regions) = (rdms.len(), rdms.first().map_or(0, Vec::len));
    if n_subjects < 2 || n_regions < 2 {
        return Err(Error::TooFew {
            what: "rdms".into(),
            needed: "2 subjects and 2 regions".into(),
            found: format!("{n_subjects} and {n_regions}"),
            hint: "one subject is left out, and a region is told from another".into(),
        });
    }
    let first = &rdms[0][0];
    let holes = |rdm: &Rdm| -> Vec<bool> { rdm.values().iter().map(|v| v.is_nan()).collect() };
    let missing = holes(first);
    for subject in rdms {
        let fits = subject.len() == n_regions
            && subject.iter().all(|rdm| rdm.n_conditions() == first.n_conditions() && holes(rdm) == missing);
        if !fits {
            return Err(Error::Shape {
                what: "rdms".into(),
                expected: format!(
                    "{n_regions} regions of {} conditions with the same undefined pairs in every subject",
                    first.n_conditions()
                ),
                found: format!("{} regions, or others", subject.len()),
                hint: "keep the conditions that all subjects and regions have".into(),
            });
        }
    }
    let flat: Vec<&Rdm> = rdms.iter().flatten().collect();
    let kept: Vec<usize> = (0..first.n_pairs()).filter(|&p| !missing[p]).collect();
    let cut = |how: &Option<RdmTransform>| matches!(how, Some(RdmTransform::GeoTopological { .. }));
    // Ranks and their order, once for all cells of a grid.
    let ranked: Vec<(Vec<f64>, Vec<f64>)> = if transforms.iter().any(cut) {
        let of = |rdm: &&Rdm| {
            let values: Vec<f64> = kept.iter().map(|&p| rdm.values()[p]).collect();
            let ranks = min_max(&midranks(&values));
            let mut sorted = ranks.clone();
            sorted.sort_unstable_by(f64::total_cmp);
            (ranks, sorted)
        };
        flat.par_iter().map(of).collect()
    } else {
        vec![]
    };
    transforms
        .par_iter()
        .map(|how| {
            monitor.check()?;
            let mut columns = Mat::zeros(kept.len(), flat.len());
            for (k, rdm) in flat.iter().enumerate() {
                let to = columns.col_as_slice_mut(k);
                match how {
                    None => to.iter_mut().zip(&kept).for_each(|(to, &p)| *to = rdm.values()[p]),
                    Some(RdmTransform::GeoTopological { lower, upper }) => {
                        // Wrong cuts are refused by the transform itself.
                        if k == 0 {
                            transform(rdm, RdmTransform::GeoTopological { lower: *lower, upper: *upper })?;
                        }
                        let (ranks, sorted) = &ranked[k];
                        let cuts = Cuts::of_sorted(sorted, *lower, *upper);
                        to.iter_mut().zip(cuts.apply(ranks)).for_each(|(to, v)| *to = v);
                    }
                    Some(how) => {
                        let found = transform(rdm, *how)?.rdm;
                        to.iter_mut().zip(&kept).for_each(|(to, &p)| *to = found.values()[p]);
                    }
                }
            }
            Ok(identify_one(columns, n_subjects, n_regions, nearness))
        })
        .collect()
}

/// `columns`: pairs × (subject, region).
fn identify_one(
    mut columns: Mat<f64>,
    n_subjects: usize,
    n_regions: usize,
    nearness: Nearness,
) -> Identified {
    let m = columns.nrows();
    let mut n_constant = 0;
    for k in 0..columns.ncols() {
        let column = columns.col_as_slice_mut(k);
        n_constant += usize::from(column.iter().all(|v| *v == column[0]));
        if nearness == Nearness::Correlation {
            let mean = column.iter().sum::<f64>() / m as f64;
            column.iter_mut().for_each(|v| *v -= mean);
        }
    }
    let mut totals = Mat::zeros(m, n_regions);
    for s in 0..n_subjects {
        for q in 0..n_regions {
            let from = columns.col_as_slice(s * n_regions + q);
            totals.col_as_slice_mut(q).iter_mut().zip(from).for_each(|(to, v)| *to += v);
        }
    }
    let with_totals = cross(totals.as_ref(), columns.as_ref()); // (regions, subject·region)
    let total_norms: Vec<f64> = (0..n_regions).map(|q| totals.col(q).squared_norm_l2()).collect();
    let others = (n_subjects - 1) as f64;
    let mut per_subject = vec![0.0; n_subjects];
    let mut confusion = Mat::zeros(n_regions, n_regions);
    for s in 0..n_subjects {
        let own = columns.subcols(s * n_regions, n_regions);
        let within = cross(own, own);
        for r in 0..n_regions {
            let score: Vec<f64> = (0..n_regions)
                .map(|q| {
                    let inner = (with_totals[(q, s * n_regions + r)] - within[(r, q)]) / others;
                    let norm = (total_norms[q] - 2.0 * with_totals[(q, s * n_regions + q)] + within[(q, q)])
                        / (others * others);
                    match nearness {
                        Nearness::Euclidean => norm - 2.0 * inner,
                        Nearness::Correlation => -inner / (norm * within[(r, r)]).sqrt(),
                    }
                })
                .collect();
            let least = score.iter().copied().fold(f64::INFINITY, f64::min);
            let margin = 1e-12 * (1.0 + within[(r, r)].abs() + least.abs());
            let nearest: Vec<usize> = (0..n_regions).filter(|&q| score[q] <= least + margin).collect();
            for &q in &nearest {
                confusion[(r, q)] += 1.0 / (nearest.len() * n_subjects) as f64;
            }
            if nearest.contains(&r) {
                per_subject[s] += 1.0 / (nearest.len() * n_regions) as f64;
            }
        }
    }
    let accuracy = per_subject.iter().sum::<f64>() / n_subjects as f64;
    Identified { accuracy, per_subject, confusion, n_constant }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn study(n_subjects: usize, n_regions: usize, n: usize, noise: f64, seed: u64) -> Vec<Vec<Rdm>> {
        let m = n * (n - 1) / 2;
        let mut stream = Stream::new(seed, "identification", 0);
        let truth: Vec<Vec<f64>> =
            (0..n_regions).map(|_| (0..m).map(|_| stream.uniform()).collect()).collect();
        (0..n_subjects)
            .map(|_| {
                let one = |of: &Vec<f64>| {
                    Rdm::new(n, of.iter().map(|v| v + noise * stream.normal()).collect()).unwrap()
                };
                truth.iter().map(one).collect()
            })
            .collect()
    }

    /// The definition.
    fn slow(rdms: &[Vec<Rdm>], how: Option<RdmTransform>, nearness: Nearness) -> f64 {
        let g: Vec<Vec<Vec<f64>>> = rdms
            .iter()
            .map(|s| {
                s.iter()
                    .map(|r| how.map_or(r.clone(), |h| transform(r, h).unwrap().rdm).into_values())
                    .collect()
            })
            .collect();
        let (n_subjects, n_regions, m) = (g.len(), g[0].len(), g[0][0].len());
        let mut right = 0.0;
        for s in 0..n_subjects {
            for r in 0..n_regions {
                let distance = |q: usize| -> f64 {
                    let of = |p: usize| (0..n_subjects).filter(|&t| t != s).map(|t| g[t][q][p]).sum::<f64>();
                    let c: Vec<f64> = (0..m).map(|p| of(p) / (n_subjects - 1) as f64).collect();
                    match nearness {
                        Nearness::Euclidean => {
                            c.iter().zip(&g[s][r]).map(|(a, b)| (a - b).powi(2)).sum::<f64>()
                        }
                        Nearness::Correlation => 1.0 - stereotax_base::stats::summary::pearson(&c, &g[s][r]),
                    }
                };
                let own = distance(r);
                let as_near = (0..n_regions).filter(|&q| distance(q) < own + 1e-9).count();
                let nearer = (0..n_regions).any(|q| distance(q) < own - 1e-9);
                right += if nearer { 0.0 } else { 1.0 / as_near as f64 };
            }
        }
        right / (n_subjects * n_regions) as f64
    }

    #[test]
    fn products_give_what_the_definition_gives() {
        let rdms = study(5, 4, 8, 0.8, 1);
        let cuts = |lower, upper| Some(RdmTransform::GeoTopological { lower, upper });
        let transforms = [None, Some(RdmTransform::Rank), cuts(0.2, 0.8), cuts(0.5, 0.5), cuts(0.0, 1.0)];
        for nearness in [Nearness::Euclidean, Nearness::Correlation] {
            let found = identify(&rdms, &transforms, nearness, &Monitor::silent()).unwrap();
            for (found, how) in found.iter().zip(transforms) {
                assert!((found.accuracy - slow(&rdms, how, nearness)).abs() < 1e-12, "{how:?} {nearness:?}");
                let rows: Vec<f64> = (0..4).map(|r| (0..4).map(|q| found.confusion[(r, q)]).sum()).collect();
                assert!(rows.iter().all(|sum| (sum - 1.0).abs() < 1e-12));
            }
        }
    }

    #[test]
    fn little_noise_is_all_and_much_noise_is_chance() {
        let how = [Some(RdmTransform::GeoTopological { lower: 0.2, upper: 0.8 }), None];
        let quiet =
            identify(&study(6, 5, 10, 0.05, 2), &how, Nearness::Euclidean, &Monitor::silent()).unwrap();
        assert!(quiet.iter().all(|found| found.accuracy == 1.0));
        let mean = (0..40)
            .map(|seed| {
                let rdms = study(6, 5, 10, 100.0, seed);
                identify(&rdms, &how, Nearness::Correlation, &Monitor::silent()).unwrap()[0].accuracy
            })
            .sum::<f64>()
            / 40.0;
        // 1,200 decisions at 0.2: a standard error of about 0.012.
        assert!((mean - 0.2).abs() < 0.05, "{mean}");
    }

    #[test]
    fn ties_share_and_wrong_shapes_are_refused() {
        let same = Rdm::new(4, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let rdms = vec![vec![same.clone(), same.clone()]; 3];
        let found = identify(&rdms, &[None], Nearness::Euclidean, &Monitor::silent()).unwrap();
        assert!((found[0].accuracy - 0.5).abs() < 1e-12);
        let refusal = |rdms: &[Vec<Rdm>]| {
            identify(rdms, &[None], Nearness::Euclidean, &Monitor::silent()).unwrap_err().to_string()
        };
        assert!(refusal(&rdms[..1]).contains("2 subjects"));
        assert!(refusal(&[rdms[0].clone(), vec![same]]).contains("2 regions"));
    }
}
