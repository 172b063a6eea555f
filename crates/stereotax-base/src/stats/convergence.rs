//! Map where every modality's models agree: the conjunction of their SNCI maps.
//!
//! C_j = min_g v_gj over modalities g, with v the SNCI of ROI j or its z-score over the included ROIs of
//! the modality. High = consistent in all of them; C is undefined where one of them is. The interval is the
//! percentile interval of C over bootstrap draws of families, drawn for each modality by itself.
//! Source: specs: nfas-dmd 10 (convergence map). Cost: that of the SNCI bootstrap.

use faer::MatRef;

use super::snci::{Estimate, SnciParams, bootstrap_snci, estimate, snci};
use super::summary::{mean, sd};
use crate::data::{Error, Labels, Result};

/// The scores of one modality's models.
#[derive(Debug, Clone)]
pub struct ModalityScores<'a> {
    /// Name of the modality.
    pub name: String,
    /// n_models × n_rois; NaN marks an undefined score.
    pub scores: MatRef<'a, f64>,
    /// Family of each model.
    pub families: Labels,
}

/// What is compared between modalities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConvergenceScale {
    /// SNCI as it is (the default).
    #[default]
    Snci,
    /// SNCI standardised over the included ROIs of each modality.
    ZScore,
}

/// The conjunction map.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Convergence {
    /// C with its interval, per ROI.
    pub rois: Vec<Estimate>,
    /// The modality that holds the minimum, per ROI; `None` where C is undefined.
    pub weakest: Vec<Option<String>>,
    /// Modalities with a defined value, per ROI.
    pub n_modalities: Vec<usize>,
    /// The threshold asked for.
    pub threshold: f64,
    /// Included ROIs whose value exceeds the threshold in all modalities, ascending.
    pub above: Vec<usize>,
}

/// The conjunction of the SNCI maps of two or more modalities.
///
/// Errors: fewer than two modalities, one name twice, different numbers of ROIs, and those of SNCI.
pub fn convergence(
    modalities: &[ModalityScores],
    scale: ConvergenceScale,
    threshold: f64,
    params: &SnciParams,
) -> Result<Convergence> {
    check(modalities)?;
    let n_rois = modalities[0].scores.ncols();
    let no_bootstrap = SnciParams { n_bootstraps: 0, ..params.clone() };
    let (mut values, mut draws) = (Vec::new(), Vec::new());
    for modality in modalities {
        let found = snci(modality.scores, &modality.families, &no_bootstrap)?;
        let observed: Vec<f64> = found.rois.iter().map(|e| e.value).collect();
        let purpose = format!("bootstrap families {}", modality.name);
        let drawn = bootstrap_snci(modality.scores, &modality.families, params, &purpose);
        values.push(scaled(observed, scale, params));
        draws.push(drawn.into_iter().map(|d| scaled(d, scale, params)).collect::<Vec<_>>());
    }
    // Without draws in one modality there is no interval.
    let n_draws = draws.iter().map(Vec::len).min().unwrap_or(0);
    let least = |at: &dyn Fn(usize) -> f64| {
        (0..modalities.len())
            .map(at)
            .fold(f64::INFINITY, |m, v| if v.is_nan() || m.is_nan() { f64::NAN } else { m.min(v) })
    };
    let percentile = SnciParams { interval: super::snci::Interval::Percentile, ..params.clone() };
    let rois: Vec<Estimate> = (0..n_rois)
        .map(|j| {
            let drawn = (0..n_draws).map(|b| least(&|g| draws[g][b][j])).collect();
            estimate(least(&|g| values[g][j]), drawn, &[], &percentile)
        })
        .collect();
    let weakest = (0..n_rois)
        .map(|j| {
            let at = (0..modalities.len()).find(|&g| values[g][j] == rois[j].value);
            at.map(|g| modalities[g].name.clone())
        })
        .collect();
    Ok(Convergence {
        weakest,
        n_modalities: (0..n_rois).map(|j| values.iter().filter(|v| !v[j].is_nan()).count()).collect(),
        threshold,
        above: (0..n_rois).filter(|&j| included(params, j) && rois[j].value > threshold).collect(),
        rois,
    })
}

fn included(params: &SnciParams, roi: usize) -> bool {
    params.included.as_ref().is_none_or(|mask| mask[roi])
}

/// SNCI on the scale of comparison. Infinite values take no part in the mean and spread of z-scores.
fn scaled(values: Vec<f64>, scale: ConvergenceScale, params: &SnciParams) -> Vec<f64> {
    if scale == ConvergenceScale::Snci {
        return values;
    }
    let kept: Vec<f64> = (0..values.len())
        .filter(|&j| included(params, j) && values[j].is_finite())
        .map(|j| values[j])
        .collect();
    let (centre, spread) = (mean(&kept), sd(&kept));
    let spread = if spread > 0.0 { spread } else { f64::NAN };
    values.iter().map(|v| (v - centre) / spread).collect()
}

fn check(modalities: &[ModalityScores]) -> Result<()> {
    if modalities.len() < 2 {
        return Err(Error::TooFew {
            what: "modalities".into(),
            needed: "2 modalities".into(),
            found: format!("{}", modalities.len()),
            hint: "a conjunction needs at least two maps".into(),
        });
    }
    let n_rois = modalities[0].scores.ncols();
    for (g, modality) in modalities.iter().enumerate() {
        if modality.scores.ncols() != n_rois {
            return Err(Error::Shape {
                what: format!("scores of {}", modality.name),
                expected: format!("{n_rois} ROIs (as {})", modalities[0].name),
                found: format!("{} ROIs", modality.scores.ncols()),
                hint: "all modalities need the same ROIs and one common mask".into(),
            });
        }
        if modalities[..g].iter().any(|other| other.name == modality.name) {
            return Err(Error::Invalid {
                what: "modalities".into(),
                expected: "each modality once".into(),
                found: format!("`{}` twice", modality.name),
                hint: "join the scores of one modality".into(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;
    use crate::stats::snci::SnciKind;
    use faer::Mat;

    #[test]
    fn a_region_converges_only_where_every_modality_agrees() {
        let mut stream = Stream::new(1, "convergence tests", 0);
        // ROI 0: both consistent. ROI 1: only the first. ROI 2: undefined in the second.
        let first = Mat::from_fn(10, 3, |_, _| 1.0 + 0.1 * stream.normal());
        let second = Mat::from_fn(10, 3, |_, j| match j {
            0 => 1.0 + 0.1 * stream.normal(),
            1 => stream.normal(),
            _ => f64::NAN,
        });
        let names: Vec<String> = (0..10).map(|i| format!("f{i}")).collect();
        let modality =
            |name: &str, scores| ModalityScores { name: name.into(), scores, families: Labels::new(&names) };
        let both = [modality("vision", first.as_ref()), modality("audio", second.as_ref())];
        let params = SnciParams { kind: SnciKind::Bounded, n_bootstraps: 500, ..Default::default() };
        let found = convergence(&both, ConvergenceScale::Snci, 0.9, &params).unwrap();
        assert_eq!(found.above, [0]);
        assert_eq!(found.weakest[1].as_deref(), Some("audio"));
        assert!(found.rois[1].value < 0.5 && found.rois[2].value.is_nan() && found.weakest[2].is_none());
        assert_eq!(found.n_modalities, [2, 2, 1]);
        let e = found.rois[0];
        assert!(e.lower > 0.9 && e.lower <= e.value && e.value <= e.upper + 0.01, "{e:?}");
        // The order of the modalities changes nothing.
        let [a, b] = both;
        let turned = convergence(&[b, a], ConvergenceScale::Snci, 0.9, &params).unwrap();
        assert_eq!(turned.rois[..2], found.rois[..2]);
        assert_eq!(turned.above, found.above);
    }
}
