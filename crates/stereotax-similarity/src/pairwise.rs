//! One measure of all pairs of many representations of the same stimuli.
//!
//! What a representation needs for all its pairs is computed once: singular vectors and values (n × r numbers), a
//! centred Gram (n × n), or distances. CKA of all pairs is one product of vectorised Grams, taken in blocks of columns:
//! with v_k the entries of Gram k, the inner products of all pairs are VᵀV. Procrustes, CCA and their relatives need
//! the singular values of an r × r matrix per pair, never units × units; `rank` bounds r where leading directions
//! suffice.
//!
//! Tiles have sizes that follow from the data alone, and every tile is written by one task: the bits do not depend on
//! the number of threads.
//!
//! Source: specs: peers 6 (W8); Kornblith et al. 2019; Williams et al. 2021. Memory: n r or n² numbers per
//! representation, about 100 MB beside. Cost: CKA m² n²/2; the others O(n r² + r³) a pair.

use faer::Mat;
use rayon::prelude::*;

use super::factor_pair::FactorPair;
use super::measures::{Measure, Pair, Reduction};
use super::procrustes::{bures_similarity, procrustes_angular, procrustes_euclidean, procrustes_r2};
use super::representation::{CentredGram, Factors, Representation, check_pair};
use stereotax_base::data::{Error, Event, Monitor, Result};
use stereotax_base::linalg::add_product;

/// Numbers of Gram columns that are held side by side: 128 MB.
const HELD: usize = 1 << 24;
/// Representations on either side of one tile of inner products.
const TILE: usize = 64;

/// Choices of a comparison of all pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PairwiseParams {
    /// Leading directions that are kept of each representation; all without. For measures of factors alone.
    pub rank: Option<usize>,
}

/// All pairs (representations × representations); NaN where one is undefined, the identity value on the diagonal.
///
/// Errors: different stimuli; a `rank` for a measure that takes none; a stop that was asked for.
pub fn pairwise(
    representations: &[Representation<'_>],
    measure: &'static Measure,
    params: &PairwiseParams,
    monitor: &Monitor<'_>,
) -> Result<Mat<f64>> {
    let m = representations.len();
    for other in representations.iter().skip(1) {
        check_pair(&representations[0], other)?;
    }
    if params.rank.is_some() && of_factors(measure).is_none() {
        return Err(Error::Invalid {
            what: "rank".into(),
            expected: format!("no rank for `{}`", measure.id),
            found: format!("{:?}", params.rank),
            hint: "Procrustes and CCA of leading directions take one".into(),
        });
    }
    if m == 0 {
        return Ok(Mat::zeros(0, 0));
    }
    match (measure.id, of_factors(measure)) {
        ("cka_linear" | "cka_debiased", _) => {
            prepare(representations, monitor, |r| {
                r.gram();
                Ok(())
            })?;
            let grams: Vec<&CentredGram> = representations.iter().map(|r| r.gram()).collect();
            cka_of_all(&grams, measure.id == "cka_debiased", monitor)
        }
        ("cka_rbf" | "cka_rbf_debiased", _) => {
            prepare(representations, monitor, |r| {
                r.rbf_gram();
                Ok(())
            })?;
            let grams: Vec<&CentredGram> = representations.iter().map(|r| r.rbf_gram()).collect();
            cka_of_all(&grams, measure.id == "cka_rbf_debiased", monitor)
        }
        (_, Some(of_factors)) => {
            prepare(representations, monitor, |r| r.factors().map(|_| ()))?;
            let factors: Vec<Factors> = match params.rank {
                Some(rank) => {
                    representations.iter().map(|r| Ok(r.factors()?.truncated(rank))).collect::<Result<_>>()?
                }
                None => vec![],
            };
            let of = |k: usize| match params.rank {
                Some(_) => Ok(&factors[k]),
                None => representations[k].factors(),
            };
            each_pair(m, measure, monitor, |i, j| of_factors(&FactorPair::new(of(i)?, of(j)?)))
        }
        _ => {
            if measure.reduction == Reduction::Factors {
                prepare(representations, monitor, |r| r.factors().map(|_| ()))?;
            }
            each_pair(m, measure, monitor, |i, j| {
                measure.of(&Pair::new(&representations[i], &representations[j])?)
            })
        }
    }
}

/// All pairs of factors that were kept without their representations.
///
/// Errors: as for [`pairwise`]; a measure that needs more than factors.
pub fn pairwise_factors(
    factors: &[Factors],
    measure: &'static Measure,
    monitor: &Monitor<'_>,
) -> Result<Mat<f64>> {
    let Some(of_factors) = of_factors(measure) else {
        return Err(Error::Invalid {
            what: "measure".into(),
            expected: "one of singular vectors and values".into(),
            found: format!("`{}`", measure.id),
            hint: "compare whole representations by `pairwise`".into(),
        });
    };
    each_pair(factors.len(), measure, monitor, |i, j| of_factors(&FactorPair::new(&factors[i], &factors[j])))
}

/// Whether [`pairwise_factors`] can compare by a measure.
pub fn needs_factors_alone(measure: &Measure) -> bool {
    of_factors(measure).is_some()
}

type OfFactors = fn(&FactorPair<'_>) -> Result<f64>;

/// Measures that factors alone determine.
fn of_factors(measure: &Measure) -> Option<OfFactors> {
    Some(match measure.id {
        "procrustes_angular" => procrustes_angular,
        "procrustes_euclidean" => procrustes_euclidean,
        "procrustes_r2" => procrustes_r2,
        "bures_similarity" => bures_similarity,
        "shape_whitened" => |pair| super::procrustes::shape_angular(pair, 0.0),
        "shape_half" => |pair| super::procrustes::shape_angular(pair, 0.5),
        "cca_mean" => super::cca::mean_cca,
        "cca_r2" => super::cca::r2_cca,
        "svcca" => |pair| Ok(super::cca::svcca(pair, &super::cca::SvccaParams::default())?.value),
        "cca_regularised" => |pair| super::cca::regularised_cca(pair, super::measures::CCA_RIDGE),
        "gulp" => |pair| super::gulp::gulp(pair, super::gulp::GULP_LAMBDA),
        _ => return None,
    })
}

fn prepare(
    representations: &[Representation<'_>],
    monitor: &Monitor<'_>,
    reduce: impl Fn(&Representation<'_>) -> Result<()> + Sync,
) -> Result<()> {
    let task = "reductions".to_owned();
    monitor.tell(Event::Started { task: task.clone(), total: representations.len() as u64 });
    representations.par_iter().try_for_each(|representation| {
        monitor.check()?;
        reduce(representation)?;
        monitor.tell(Event::Advanced { done: 1 });
        Ok(())
    })?;
    monitor.tell(Event::Finished { task });
    Ok(())
}

fn each_pair(
    m: usize,
    measure: &Measure,
    monitor: &Monitor<'_>,
    of: impl Fn(usize, usize) -> Result<f64> + Sync,
) -> Result<Mat<f64>> {
    let pairs: Vec<(usize, usize)> = (0..m)
        .flat_map(|i| (0..m).map(move |j| (i, j)))
        .filter(|&(i, j)| if measure.symmetric { i < j } else { i != j })
        .collect();
    let task = "pairs".to_owned();
    monitor.tell(Event::Started { task: task.clone(), total: pairs.len() as u64 });
    let values: Vec<f64> = pairs
        .par_iter()
        .map(|&(i, j)| {
            monitor.check()?;
            let value = of(i, j)?;
            monitor.tell(Event::Advanced { done: 1 });
            Ok(value)
        })
        .collect::<Result<_>>()?;
    monitor.tell(Event::Finished { task });
    let mut all = Mat::zeros(m, m);
    for (&(i, j), value) in pairs.iter().zip(values) {
        all[(i, j)] = value;
        if measure.symmetric {
            all[(j, i)] = value;
        }
    }
    for i in 0..m {
        // A pair with itself is undefined where the representation is.
        all[(i, i)] = match measure.identity {
            Some(identity) if m == 1 || (0..m).any(|j| j != i && !all[(i, j)].is_nan()) => identity,
            _ => of(i, i)?,
        };
    }
    Ok(all)
}

/// Inner products of all pairs of Grams by blocks of columns, then cosines.
fn cka_of_all(grams: &[&CentredGram], debiased: bool, monitor: &Monitor<'_>) -> Result<Mat<f64>> {
    let (m, n) = (grams.len(), grams[0].n_stimuli());
    let width = (HELD / (n * m)).clamp(1, n);
    let tiles: Vec<(usize, usize)> =
        (0..m.div_ceil(TILE)).flat_map(|i| (0..=i).map(move |j| (i, j))).collect();
    let range = |tile: usize| tile * TILE..m.min((tile + 1) * TILE);
    let mut sums: Vec<Mat<f64>> =
        tiles.iter().map(|&(i, j)| Mat::zeros(range(i).len(), range(j).len())).collect();
    let task = "gram products".to_owned();
    monitor.tell(Event::Started { task: task.clone(), total: n as u64 });
    for from in (0..n).step_by(width) {
        monitor.check()?;
        let to = n.min(from + width);
        let columns: Vec<Mat<f64>> = (0..m.div_ceil(TILE))
            .into_par_iter()
            .map(|tile| {
                let mut side = Mat::zeros(n * (to - from), range(tile).len());
                for (k, at) in range(tile).enumerate() {
                    let part = grams[at].columns(from, to);
                    for j in 0..to - from {
                        side.col_as_slice_mut(k)[j * n..(j + 1) * n].copy_from_slice(part.col_as_slice(j));
                    }
                }
                side
            })
            .collect();
        sums.par_iter_mut().zip(&tiles).for_each(|(sum, &(i, j))| {
            add_product(sum.as_mut(), columns[i].transpose(), columns[j].as_ref(), 1.0);
        });
        monitor.tell(Event::Advanced { done: (to - from) as u64 });
    }
    monitor.tell(Event::Finished { task });
    let mut inner = Mat::zeros(m, m);
    for (sum, &(i, j)) in sums.iter().zip(&tiles) {
        for (b, column) in range(j).enumerate() {
            for (a, row) in range(i).enumerate() {
                inner[(row, column)] = sum[(a, b)];
                inner[(column, row)] = sum[(a, b)];
            }
        }
    }
    if debiased {
        if n < super::cka::LEAST_DEBIASED {
            return Ok(Mat::full(m, m, f64::NAN));
        }
        let (first, second) = ((n as f64 - 1.0) * (n as f64 - 2.0), 2.0 / (n as f64 - 2.0));
        for i in 0..m {
            for j in 0..m {
                let (k, l) = (grams[i], grams[j]);
                let diagonals: f64 = k.diagonal.iter().zip(&l.diagonal).map(|(k, l)| k * l).sum();
                inner[(i, j)] += k.trace * l.trace / first - (1.0 + second) * diagonals;
            }
        }
    }
    let lowest = if debiased { -1.0 } else { 0.0 };
    Ok(Mat::from_fn(m, m, |i, j| {
        let (own, other) = (inner[(i, i)], inner[(j, j)]);
        if !(own > 0.0 && other > 0.0) {
            return f64::NAN;
        }
        if i == j { 1.0 } else { (inner[(i, j)] / (own.sqrt() * other.sqrt())).clamp(lowest, 1.0) }
    }))
}

#[cfg(test)]
mod tests {
    use super::super::measures::{MEASURES, measure};
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn noise(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(18, "pairwise tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    #[test]
    fn all_pairs_are_single_pairs_for_every_measure_and_any_threads() {
        let data: Vec<Mat<f64>> = (0..4).map(|k| noise(18, [4, 30, 7, 9][k], k as u64)).collect();
        for measure in MEASURES {
            let of = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let representations: Vec<Representation<'_>> =
                    data.iter().map(|x| Representation::new("x", x.as_ref()).unwrap()).collect();
                let params = PairwiseParams::default();
                pool.install(|| pairwise(&representations, measure, &params, &Monitor::silent()).unwrap())
            };
            let found = of(1);
            assert_eq!(format!("{found:?}"), format!("{:?}", of(3)), "{}", measure.id);
            let representations: Vec<Representation<'_>> =
                data.iter().map(|x| Representation::new("x", x.as_ref()).unwrap()).collect();
            for i in 0..4 {
                for j in 0..4 {
                    let pair = Pair::new(&representations[i], &representations[j]).unwrap();
                    let expected = measure.of(&pair).unwrap();
                    let off = (found[(i, j)] - expected).abs();
                    assert!(off < 1e-10 * (1.0 + expected.abs()), "{} {i} {j}", measure.id);
                }
            }
        }
    }

    #[test]
    fn many_tiles_and_column_blocks_are_one_product() {
        // More representations than a tile holds.
        let data: Vec<Mat<f64>> = (0..70).map(|k| noise(9, 2 + (k as usize) % 12, 100 + k)).collect();
        let representations: Vec<Representation<'_>> =
            data.iter().map(|x| Representation::new("x", x.as_ref()).unwrap()).collect();
        let found = pairwise(
            &representations,
            measure("cka_debiased").unwrap(),
            &PairwiseParams::default(),
            &Monitor::silent(),
        )
        .unwrap();
        for (i, j) in [(0, 69), (3, 64), (65, 66), (69, 1)] {
            let expected = super::super::debiased_cka(representations[i].gram(), representations[j].gram());
            assert!((found[(i, j)] - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn a_rank_keeps_leading_directions_and_constants_are_undefined() {
        let data: Vec<Mat<f64>> = (0..3).map(|k| noise(20, 8, 200 + k)).collect();
        let mut representations: Vec<Representation<'_>> =
            data.iter().map(|x| Representation::new("x", x.as_ref()).unwrap()).collect();
        let of = |r: &[Representation<'_>], id: &str, rank| {
            pairwise(r, measure(id).unwrap(), &PairwiseParams { rank }, &Monitor::silent())
        };
        let whole = of(&representations, "procrustes_angular", Some(99)).unwrap();
        assert_eq!(whole, of(&representations, "procrustes_angular", None).unwrap());
        let cut = of(&representations, "procrustes_angular", Some(3)).unwrap();
        let factors: Vec<Factors> =
            representations.iter().map(|r| r.factors().unwrap().truncated(3)).collect();
        let kept = pairwise_factors(&factors, measure("procrustes_angular").unwrap(), &Monitor::silent());
        assert!(cut != whole && cut == kept.unwrap());
        assert!(of(&representations, "cka_linear", Some(3)).is_err());
        assert!(pairwise_factors(&factors, measure("cka_linear").unwrap(), &Monitor::silent()).is_err());
        let constant = Mat::full(20, 2, 1.0);
        representations.push(Representation::new("c", constant.as_ref()).unwrap());
        for id in ["cka_linear", "procrustes_angular", "rsa_spearman", "pwcca"] {
            let found = of(&representations, id, None).unwrap();
            assert!(found[(3, 3)].is_nan() && found[(0, 3)].is_nan() && !found[(0, 1)].is_nan(), "{id}");
            assert!((found[(0, 0)] - measure(id).unwrap().identity.unwrap()).abs() < 1e-12);
        }
        let other = noise(19, 3, 300);
        representations.push(Representation::new("o", other.as_ref()).unwrap());
        assert!(of(&representations, "cka_linear", None).is_err());
    }
}
