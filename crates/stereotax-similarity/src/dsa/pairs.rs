//! All distances between many systems, each fitted and prepared once.
//!
//! Pairs run on the thread pool, each on one thread, in the order of [`stereotax_base::data::rdm`]; the numbers do not
//! depend on the number of threads. Source: specs: encoding-manifolds 6.6, peers W9.
//! Cost: that of [`super::align()`] or [`super::transport`] per pair.

use faer::MatRef;
use rayon::prelude::*;

use super::align::{Alignment, AlignmentParams, Prepared, align_prepared};
use super::transport::{eigenvalue_transport, eigenvalues};
use stereotax_base::data::{Error, Monitor, Rdm, Result};

/// How systems are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DsaDistance {
    /// The angle under the best rotation, [0, π] (default).
    #[default]
    Angular,
    /// The Frobenius norm of the difference under the best rotation.
    Euclidean,
    /// Mean squared distance of eigenvalues under the cheapest plan, not rooted.
    Eigenvalues,
    /// Its root, a metric on spectra.
    EigenvaluesMetric,
}

impl DsaDistance {
    /// Whether a rotation is sought.
    pub fn rotates(self) -> bool {
        matches!(self, DsaDistance::Angular | DsaDistance::Euclidean)
    }

    /// The distance that an alignment holds.
    pub fn of(self, found: &Alignment) -> f64 {
        if self == DsaDistance::Euclidean { found.euclidean } else { found.angle }
    }
}

/// Distances of all pairs.
#[derive(Debug, Clone)]
pub struct PairwiseDsa {
    /// One condition per system.
    pub distances: Rdm,
    /// Above every possible cosine less the cosine found, in the same order; empty without rotations.
    pub gaps: Vec<f64>,
    /// Pairs whose best climb stopped at its limit.
    pub n_unconverged: usize,
}

/// Compare all pairs of operators.
///
/// Errors: fewer than 2 operators, operators that are not square or finite, other sizes where that is refused.
pub fn pairwise(
    operators: &[MatRef<f64>],
    distance: DsaDistance,
    params: &AlignmentParams,
    monitor: &Monitor<'_>,
) -> Result<PairwiseDsa> {
    let n = operators.len();
    if n < 2 {
        return Err(Error::TooFew {
            what: "systems".into(),
            needed: "2 systems".into(),
            found: n.to_string(),
            hint: "a distance needs a pair".into(),
        });
    }
    let pairs: Vec<(usize, usize)> = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).collect();
    if !distance.rotates() {
        let spectra = operators.iter().map(|a| eigenvalues(*a)).collect::<Result<Vec<_>>>()?;
        let values = pairs
            .par_iter()
            .map(|&(i, j)| {
                monitor.check()?;
                let found = eigenvalue_transport(&spectra[i], &spectra[j]);
                Ok(if distance == DsaDistance::Eigenvalues { found.squared } else { found.metric })
            })
            .collect::<Result<Vec<f64>>>()?;
        return Ok(PairwiseDsa { distances: Rdm::new(n, values)?, gaps: Vec::new(), n_unconverged: 0 });
    }
    let prepared = operators.par_iter().map(|a| Prepared::new(*a)).collect::<Result<Vec<_>>>()?;
    let found = pairs
        .par_iter()
        .map(|&(i, j)| {
            let found = align_prepared(&prepared[i], &prepared[j], params, monitor)?;
            Ok((distance.of(&found), found.bound - found.cosine, found.converged))
        })
        .collect::<Result<Vec<(f64, f64, bool)>>>()?;
    Ok(PairwiseDsa {
        distances: Rdm::new(n, found.iter().map(|f| f.0).collect())?,
        gaps: found.iter().map(|f| f.1).collect(),
        n_unconverged: found.iter().filter(|f| !f.2).count(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsa::align;
    use faer::Mat;
    use stereotax_base::stats::rng::Stream;

    #[test]
    fn pairs_are_those_compared_one_by_one_for_any_number_of_threads() {
        let mut stream = Stream::new(1, "pairs tests", 0);
        let systems: Vec<Mat<f64>> =
            [4, 4, 5, 4].iter().map(|&n| Mat::from_fn(n, n, |_, _| stream.normal())).collect();
        let views: Vec<MatRef<f64>> = systems.iter().map(|s| s.as_ref()).collect();
        let params = AlignmentParams::default();
        for distance in [DsaDistance::Angular, DsaDistance::Euclidean, DsaDistance::EigenvaluesMetric] {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| pairwise(&views, distance, &params, &Monitor::silent()).unwrap())
            };
            let (one, three) = (run(1), run(3));
            assert_eq!(one.distances, three.distances);
            if distance.rotates() {
                let alone = align(views[1], views[2], &params, &Monitor::silent()).unwrap();
                assert_eq!(one.distances.get(1, 2), distance.of(&alone));
                assert!(one.gaps.iter().all(|gap| *gap > -1e-9));
            }
        }
        assert!(pairwise(&views[..1], DsaDistance::Angular, &params, &Monitor::silent()).is_err());
    }
}
