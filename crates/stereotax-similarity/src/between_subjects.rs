//! How alike the same area is in different subjects: what another brain reaches, as a model would.
//!
//! For subject s the mean over all other subjects t of measure(area of t, area of s): the other brain takes the model's
//! place. Subjects may differ in their numbers of voxels. Both sides carry the noise of one brain, so that a model of
//! what brains have in common can lie above it (below it for distances): a mark to read values by, not a bound.
//!
//! Source: specs: encoding-manifolds 6.8 (ceilings between subjects). Undefined (NaN): fewer than 2 subjects with a
//! value. Cost: subjects² evaluations.

use rayon::prelude::*;

use super::measures::{Measure, Pair};
use super::representation::Representation;
use stereotax_base::data::{Monitor, Result};

/// Subjects × measures; `None` stands for a subject without the area.
///
/// Errors: different stimuli; a stop that was asked for.
pub fn between_subjects(
    areas: &[Option<&Representation<'_>>],
    measures: &[&'static Measure],
    monitor: &Monitor<'_>,
) -> Result<Vec<Vec<f64>>> {
    areas
        .par_iter()
        .enumerate()
        .map(|(own, area)| {
            let mut sums = vec![(0.0, 0usize); measures.len()];
            let others = areas.iter().enumerate().filter(|(at, _)| *at != own).filter_map(|(_, o)| *o);
            for (other, area) in others.filter_map(|other| Some((other, (*area)?))) {
                monitor.check()?;
                let pair = Pair::new(other, area)?;
                for (sum, measure) in sums.iter_mut().zip(measures) {
                    let value = measure.of(&pair)?;
                    if !value.is_nan() {
                        *sum = (sum.0 + value, sum.1 + 1);
                    }
                }
            }
            Ok(sums.iter().map(|(sum, n)| if *n > 0 { sum / *n as f64 } else { f64::NAN }).collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::measures::measure;
    use super::*;
    use faer::Mat;

    #[test]
    fn every_subject_is_judged_by_the_others() {
        let data: Vec<Mat<f64>> =
            (0..3).map(|s| Mat::from_fn(12, 3 + s, |i, j| ((i * (3 + j) + s * i * i) % 11) as f64)).collect();
        let areas: Vec<Representation<'_>> =
            data.iter().map(|x| Representation::new("area", x.as_ref()).unwrap()).collect();
        let chosen = [measure("cka_linear").unwrap(), measure("pwcca").unwrap()];
        let of =
            |s: usize, t: usize, at: usize| chosen[at].of(&Pair::new(&areas[s], &areas[t]).unwrap()).unwrap();
        let all: Vec<Option<&Representation<'_>>> = areas.iter().map(Some).collect();
        let found = between_subjects(&all, &chosen, &Monitor::silent()).unwrap();
        for at in 0..2 {
            // The other side comes first, which an asymmetric measure tells apart.
            assert_eq!(found[0][at], (of(1, 0, at) + of(2, 0, at)) / 2.0);
        }
        let found = between_subjects(&[all[0], None, all[2]], &chosen, &Monitor::silent()).unwrap();
        assert_eq!(found[2][0], of(0, 2, 0));
        assert!(found[1][0].is_nan());
        assert!(between_subjects(&all[..1], &chosen, &Monitor::silent()).unwrap()[0][0].is_nan());
    }
}
