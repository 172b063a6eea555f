//! Fit the depth operator on states of several stacked layers.
//!
//! With d layers per state the Gram matrix of the N = L − d + 1 delayed states needs no data:
//!
//! ```text
//! G^(d)[i, j] = Σ_{q < d} G[i + q, j + q]
//! ```
//!
//! A mode of the delayed space is d layers tall; its first block, Σ_j c_j H_j, is the mode as the other
//! estimators know it, and its amplitude is fitted again over all L layers.
//!
//! Source: Arbabi & Mezić 2017; specs: nfas-dmd 4, 5.7. States of a network are long, so delays are
//! seldom needed. Cost: O(d L² + L³).

use faer::{Mat, MatRef, c64};

use super::modes::RawModes;
use super::operator::{Pairs, Pod};
use super::rank::choose_rank;
use super::reduce::Reduced;
use super::spectrum::{ModeForm, RankRule};
use super::standard::standard_dmd;
use stereotax_base::data::{Error, Result};

/// Gram matrix of the states that stack `delays` neighbouring layers ((L − d + 1) × (L − d + 1)).
///
/// Errors: no delay, or so many that fewer than 4 states remain.
pub fn hankel_gram(gram: MatRef<f64>, delays: usize) -> Result<Mat<f64>> {
    let n_states = n_states(gram.nrows(), delays)?;
    Ok(Mat::from_fn(n_states, n_states, |i, j| (0..delays).map(|q| gram[(i + q, j + q)]).sum()))
}

fn n_states(n_layers: usize, delays: usize) -> Result<usize> {
    if delays == 0 || n_layers + 1 < delays + 4 {
        return Err(Error::Invalid {
            what: "delays".into(),
            expected: format!("between 1 and {} for {n_layers} layers", (n_layers + 1).saturating_sub(4)),
            found: delays.to_string(),
            hint: "stack fewer layers; at least 4 delayed states must remain".into(),
        });
    }
    Ok(n_layers - delays + 1)
}

/// The stacked states themselves, from an isometric image of the layers (ρ × L): (d·ρ) × (L − d + 1).
///
/// Errors: as [`hankel_gram`].
pub(super) fn hankel_snapshots(snapshots: MatRef<f64>, delays: usize) -> Result<Mat<f64>> {
    let n_states = n_states(snapshots.ncols(), delays)?;
    let height = snapshots.nrows();
    Ok(Mat::from_fn(delays * height, n_states, |i, l| snapshots[(i % height, l + i / height)]))
}

pub(super) struct HankelSettings {
    pub rank: RankRule,
    pub form: ModeForm,
    pub tikhonov: f64,
    pub by_length: bool,
}

/// Fit `delayed`, the reduced states of `n_layers` layers stacked.
pub(super) fn hankel_dmd(n_layers: usize, delayed: &Reduced, settings: &HankelSettings) -> Result<RawModes> {
    let pairs = Pairs::new(delayed, settings.by_length);
    let singular_values = Pod::full(pairs.x.as_ref())?.s;
    let choice = choose_rank(settings.rank, &singular_values, delayed.relative_cut, None)?;
    let raw = standard_dmd(delayed, &pairs, choice.rank, settings.form, settings.tikhonov)?;
    let mut warnings = choice.warnings;
    warnings.extend(raw.warnings);
    let n_states = delayed.n_layers();
    let coefficients = Mat::from_fn(n_layers, raw.eigenvalues.len(), |l, k| {
        if l < n_states { raw.coefficients[(l, k)] } else { c64::new(0.0, 0.0) }
    });
    let mut clusters = raw.clusters;
    for cluster in &mut clusters {
        let short = &cluster.coefficients;
        cluster.coefficients =
            Mat::from_fn(n_layers, short.ncols(), |l, j| if l < n_states { short[(l, j)] } else { 0.0 });
    }
    Ok(RawModes { coefficients, warnings, clusters, ..raw })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::linalg::gram;
    use stereotax_base::stats::rng::Stream;

    #[test]
    fn the_shift_sum_is_the_gram_of_the_stacked_states() {
        let mut stream = Stream::new(4, "hankel tests", 0);
        let h = Mat::from_fn(11, 9, |_, _| stream.normal());
        let stacked = Mat::from_fn(33, 7, |i, j| h[(i % 11, j + i / 11)]);
        let found = hankel_gram(gram(h.as_ref()).as_ref(), 3).unwrap();
        assert!((found - gram(stacked.as_ref())).norm_max() < 1e-12);
        assert!(hankel_gram(gram(h.as_ref()).as_ref(), 7).is_err());
        assert!(hankel_gram(gram(h.as_ref()).as_ref(), 0).is_err());
    }
}
