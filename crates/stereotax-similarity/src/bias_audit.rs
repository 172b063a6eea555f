//! How much of a value is explained by the numbers of stimuli and units alone.
//!
//! For each number of stimuli and of units, random subsets of both are compared as they are, and with the stimuli of
//! one side in a random order: what is left of the value then is chance, with the same spectra, noise and sizes. A
//! measure whose value and chance rise together as stimuli become few or units many tells about n and p, not about
//! representations. Put a plain measure beside its debiased form.
//!
//! Source: specs: peers 5 (7), encoding-manifolds 6.4. Cost: two evaluations per measure, draw and cell of the grid.

use rayon::prelude::*;

use faer::Mat;

use super::measures::{Measure, Pair};
use super::representation::{Representation, check_pair};
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::sd;

/// Choices of an audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BiasAuditParams {
    /// Numbers of stimuli; each at least 2 and at most those there are.
    pub n_stimuli: Vec<usize>,
    /// Numbers of units; a side that has fewer keeps all of its own.
    pub n_units: Vec<usize>,
    /// Subsets per cell. Default 20.
    pub n_draws: usize,
    /// Seed of subsets and orders.
    pub seed: u64,
}

/// One measure at one size.
#[derive(Debug, Clone, PartialEq)]
pub struct BiasCell {
    /// Which measure.
    pub measure: &'static str,
    /// Stimuli of the subsets.
    pub n_stimuli: usize,
    /// Units of the subsets, at most.
    pub n_units: usize,
    /// Mean over subsets.
    pub value: f64,
    /// Standard deviation over subsets.
    pub value_sd: f64,
    /// Mean with the stimuli of one side in random order.
    pub chance: f64,
    /// Its standard deviation.
    pub chance_sd: f64,
}

/// Measure subsets of all sizes.
///
/// Errors: different stimuli; no size, or one beyond what there is.
pub fn bias_audit(
    x: &Representation<'_>,
    y: &Representation<'_>,
    measures: &[&'static Measure],
    params: &BiasAuditParams,
    monitor: &Monitor<'_>,
) -> Result<Vec<BiasCell>> {
    check_pair(x, y)?;
    let most = x.n_units().max(y.n_units());
    check_sizes("n_stimuli", &params.n_stimuli, 2, x.n_stimuli())?;
    check_sizes("n_units", &params.n_units, 1, most)?;
    if params.n_draws == 0 {
        return Err(Error::TooFew {
            what: "n_draws".into(),
            needed: "1".into(),
            found: "0".into(),
            hint: "20 give a mean and a spread".into(),
        });
    }
    let (raw_x, raw_y) = (x.raw(), y.raw());
    let sizes: Vec<(usize, usize)> =
        params.n_stimuli.iter().flat_map(|&n| params.n_units.iter().map(move |&p| (n, p))).collect();
    let tasks: Vec<(usize, usize)> =
        (0..sizes.len()).flat_map(|cell| (0..params.n_draws).map(move |draw| (cell, draw))).collect();
    let found: Vec<(Vec<f64>, Vec<f64>)> = tasks
        .par_iter()
        .map(|&(cell, draw)| {
            monitor.check()?;
            let (n, p) = sizes[cell];
            let mut stream = Stream::new(params.seed, "bias audit", (cell * params.n_draws + draw) as u64);
            let rows = stream.subset(x.n_stimuli(), n);
            let mut part = |raw: &Mat<f64>| {
                let units = stream.subset(raw.ncols(), p.min(raw.ncols()));
                Mat::from_fn(n, units.len(), |i, j| raw[(rows[i], units[j])])
            };
            let (a, b) = (part(&raw_x), part(&raw_y));
            let order = stream.permutation(n);
            let a = Representation::owned(x.name(), a, x.precision())?;
            let b = Representation::owned(y.name(), b, y.precision())?;
            let pair = Pair::new(&a, &b)?;
            let values: Vec<f64> = measures.iter().map(|m| m.of(&pair)).collect::<Result<_>>()?;
            let moved = b.permuted(&order);
            let pair = Pair::new(&a, &moved)?;
            let chance: Vec<f64> = measures.iter().map(|m| m.of(&pair)).collect::<Result<_>>()?;
            Ok((values, chance))
        })
        .collect::<Result<_>>()?;
    let mut cells = Vec::with_capacity(measures.len() * sizes.len());
    for (at, measure) in measures.iter().enumerate() {
        for (cell, &(n_stimuli, n_units)) in sizes.iter().enumerate() {
            let draws = &found[cell * params.n_draws..(cell + 1) * params.n_draws];
            let values: Vec<f64> = draws.iter().map(|(v, _)| v[at]).collect();
            let chance: Vec<f64> = draws.iter().map(|(_, c)| c[at]).collect();
            let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
            cells.push(BiasCell {
                measure: measure.id,
                n_stimuli,
                n_units,
                value: mean(&values),
                value_sd: sd(&values),
                chance: mean(&chance),
                chance_sd: sd(&chance),
            });
        }
    }
    Ok(cells)
}

fn check_sizes(what: &str, sizes: &[usize], least: usize, most: usize) -> Result<()> {
    let wrong = sizes.iter().find(|&&size| size < least || size > most);
    if sizes.is_empty() || wrong.is_some() {
        return Err(Error::Invalid {
            what: what.into(),
            expected: format!("sizes from {least} to {most}"),
            found: wrong.map_or("none".into(), usize::to_string),
            hint: "subsets hold no more than there is".into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::measures::measure;
    use super::*;

    #[test]
    fn plain_cka_rises_with_units_and_falls_with_stimuli_and_the_debiased_one_does_not() {
        let mut stream = Stream::new(19, "bias audit tests", 0);
        let mut noise = |n: usize, p: usize| Mat::from_fn(n, p, |_, _| stream.normal());
        let (shared, u, v) = (noise(120, 2), noise(2, 60), noise(2, 50));
        let (x, y) = (&shared * &u + 2.0 * &noise(120, 60), &shared * &v + 2.0 * &noise(120, 50));
        let [a, b] = [&x, &y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        let params = BiasAuditParams { n_stimuli: vec![10, 120], n_units: vec![5, 50], n_draws: 20, seed: 1 };
        let measures: Vec<&'static Measure> =
            ["cka_linear", "cka_debiased"].iter().map(|id| measure(id).unwrap()).collect();
        let cells = bias_audit(&a, &b, &measures, &params, &Monitor::silent()).unwrap();
        let of = |id: &str, n, p| {
            cells.iter().find(|c| c.measure == id && c.n_stimuli == n && c.n_units == p).unwrap()
        };
        assert!(of("cka_linear", 10, 50).chance > 0.6 && of("cka_linear", 120, 5).chance < 0.1);
        for cell in cells.iter().filter(|c| c.measure == "cka_debiased") {
            // The mean of 20 draws around 0.
            assert!(cell.chance.abs() < 4.0 * cell.chance_sd / 20f64.sqrt(), "{cell:?}");
        }
        let debiased = of("cka_debiased", 120, 50);
        assert!(debiased.value > debiased.chance + 0.3 && debiased.chance_sd < 0.05, "{debiased:?}");
        let again = bias_audit(&a, &b, &measures, &params, &Monitor::silent()).unwrap();
        assert_eq!(cells, again);
    }

    #[test]
    fn sizes_beyond_the_data_are_refused() {
        let x = Mat::from_fn(10, 4, |i, j| ((i * 7 + j * 3) % 11) as f64);
        let a = Representation::new("x", x.as_ref()).unwrap();
        let refused = |n_stimuli: Vec<usize>, n_units: Vec<usize>, n_draws| {
            let params = BiasAuditParams { n_stimuli, n_units, n_draws, seed: 0 };
            bias_audit(&a, &a, &[measure("cka_linear").unwrap()], &params, &Monitor::silent()).is_err()
        };
        assert!(refused(vec![11], vec![2], 3) && refused(vec![5], vec![9], 3) && refused(vec![], vec![2], 3));
        assert!(refused(vec![5], vec![2], 0) && !refused(vec![5], vec![2], 3));
    }
}
