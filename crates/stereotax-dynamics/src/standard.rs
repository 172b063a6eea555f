//! Fit the depth operator by least squares in the basis of X's leading directions.
//!
//! ```text
//! X = U S Vᵀ (rank r),   Ã = Uᵀ Y V S⁻¹,   Ã W = W Λ
//! Tikhonov: σ/(σ² + η · mean σ²) in place of 1/σ
//! ```
//!
//! Source: Schmid 2010; Tu et al. 2014; specs: nfas-dmd 5.2. Independent noise on the layers adds to
//! XᵀX and not to XᵀY, so |λ| comes out too small. Cost: O(L³).

use super::modes::RawModes;
use super::operator::{Pairs, Pod, eigenpairs, ritz_modes};
use super::reduce::Reduced;
use super::spectrum::ModeForm;
use stereotax_base::data::Result;

pub(super) fn standard_dmd(
    reduced: &Reduced,
    pairs: &Pairs,
    rank: usize,
    form: ModeForm,
    tikhonov: f64,
) -> Result<RawModes> {
    let pod = Pod::leading(&Pod::full(pairs.x.as_ref())?, rank);
    let operator = pod.operator(pairs.y.as_ref(), tikhonov);
    let found = eigenpairs(operator.as_ref())?;
    Ok(ritz_modes(reduced.n_layers(), pairs, &pod, found, form, tikhonov))
}
