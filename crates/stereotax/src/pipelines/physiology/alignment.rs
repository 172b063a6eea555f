//! Pairs of populations: conditions alike, one predicted from the other, dynamics alike.
//!
//! Conditions are the stimuli that both have, times directions; responses are means over time. Linear predictivity is
//! ridge regression from the units of one to those of the other, penalties by inner folds, and the median over units
//! of the correlation of held-out predictions, five folds of conditions. Dynamical similarity compares linear
//! operators of the paths in principal components, by the angle under the best rotation (0: the same).
//! Source: specs: encoding-manifolds 6.

use faer::{Mat, MatRef};

use super::population::conditions;
use super::{PhysiologyParams, Population, PopulationView, noted, shared_stimuli};
use crate::data::{Error, Folds, Monitor, Result};
use crate::decoding::principal_states;
use crate::encoding::{RidgeParams, RidgePlan};
use crate::linalg::select_rows;
use crate::similarity::dsa::{
    AlignmentParams, DelayParams, DsaDistance, OperatorRank, delay_operator, pairwise,
};
use crate::similarity::{CompareParams, Representation, compare, select};
use crate::stats::summary::{median, pearson};

/// Folds of linear predictivity, outer and inner.
const FOLDS: usize = 5;

/// One measure of one pair.
#[derive(Debug, Clone, PartialEq)]
pub struct AlignedPair {
    /// Place of the first population: predicts, for `linear_predictivity`.
    pub first: usize,
    /// Place of the second.
    pub second: usize,
    /// Id of the measure.
    pub measure: String,
    /// Its value; NaN where undefined.
    pub value: f64,
    /// Mean over shuffles of conditions; NaN without.
    pub chance: f64,
    /// p-value; NaN without shuffles.
    pub p_value: f64,
    /// Conditions compared.
    pub n_conditions: usize,
}

/// Compare all pairs.
pub(super) fn align_all(
    populations: &[Population],
    views: &[PopulationView],
    params: &PhysiologyParams,
    notes: &mut Vec<String>,
    monitor: &Monitor<'_>,
) -> Result<Vec<AlignedPair>> {
    let mut pairs = vec![];
    for a in 0..views.len() {
        for b in a + 1..views.len() {
            monitor.check()?;
            let step = format!("the comparison of `{}` and `{}`", populations[a].name, populations[b].name);
            if let Some(found) = noted(&step, align(a, b, views, params, monitor), notes)? {
                pairs.extend(found);
            }
        }
    }
    if params.n_dynamical > 0 && views.len() > 1 {
        let found = noted("dynamical similarity", dynamics(views, params, monitor), notes)?;
        pairs.extend(found.unwrap_or_default());
    }
    Ok(pairs)
}

fn align(
    a: usize,
    b: usize,
    views: &[PopulationView],
    params: &PhysiologyParams,
    monitor: &Monitor<'_>,
) -> Result<Vec<AlignedPair>> {
    let (x, y) = (&views[a].responses, &views[b].responses);
    let stimuli = shared_stimuli([x, y].into_iter());
    let same = x.directions_deg().len() == y.directions_deg().len()
        && x.directions_deg().iter().zip(y.directions_deg()).all(|(p, q)| (p - q).abs() < 1e-6);
    if stimuli.is_empty() || !same || x.valid().contains(&false) || y.valid().contains(&false) {
        return Err(Error::Invalid {
            what: "stimuli and directions".into(),
            expected: "shared ones, shown to every unit".into(),
            found: format!(
                "{} shared stimuli, directions {:?} and {:?}",
                stimuli.len(),
                x.directions_deg(),
                y.directions_deg()
            ),
            hint: "name stimuli alike on both sides, and leave out units that missed some".into(),
        });
    }
    let (x, y) = (conditions(x, &x.find_stimuli(&stimuli)?), conditions(y, &y.find_stimuli(&stimuli)?));
    let n = x.nrows();
    let made = |first: usize, second: usize, measure: &str, value: f64, chance: f64, p_value: f64| {
        AlignedPair { first, second, measure: measure.into(), value, chance, p_value, n_conditions: n }
    };
    let measures = select(&params.measures, x.nrows(), x.ncols().max(y.ncols()))?;
    let (p, q) =
        (Representation::new(&views[a].name, x.as_ref())?, Representation::new(&views[b].name, y.as_ref())?);
    let settings =
        CompareParams { n_permutations: params.n_permutations, seed: params.seed, ..Default::default() };
    let mut found: Vec<AlignedPair> = compare(&p, &q, &measures, &settings, monitor)?
        .measures
        .iter()
        .map(|m| made(a, b, m.measure, m.value, m.chance, m.p_value))
        .collect();
    for (first, second, from, to) in [(a, b, &x, &y), (b, a, &y, &x)] {
        let r = predictivity(from.as_ref(), to.as_ref(), params.seed)?;
        found.push(made(first, second, "linear_predictivity", r, f64::NAN, f64::NAN));
    }
    Ok(found)
}

/// Median over units of `y` of the correlation of held-out ridge predictions from `x`.
fn predictivity(x: MatRef<f64>, y: MatRef<f64>, seed: u64) -> Result<f64> {
    let ids: Vec<String> = (0..x.nrows()).map(|i| i.to_string()).collect();
    let mut predicted = Mat::full(y.nrows(), y.ncols(), f64::NAN);
    for fold in Folds::k_fold(&ids, FOLDS, seed)?.iter() {
        let known: Vec<&String> = fold.train.iter().map(|&i| &ids[i]).collect();
        // Every inner fold holds out two conditions at least.
        let inner: Vec<_> =
            Folds::k_fold(&known, (known.len() / 2).clamp(2, FOLDS), seed)?.iter().cloned().collect();
        let (train, test) = (select_rows(x, &fold.train), select_rows(x, &fold.test));
        let plan = RidgePlan::new(train.as_ref(), test.as_ref(), &inner, &RidgeParams::default())?;
        let found = plan.fit(select_rows(y, &fold.train).as_ref())?;
        for (row, &i) in fold.test.iter().enumerate() {
            (0..y.ncols()).for_each(|unit| predicted[(i, unit)] = found.predictions[(row, unit)]);
        }
    }
    let of_unit: Vec<f64> = (0..y.ncols())
        .map(|unit| {
            let (p, q): (Vec<f64>, Vec<f64>) = (0..y.nrows())
                .filter(|&i| predicted[(i, unit)].is_finite())
                .map(|i| (predicted[(i, unit)], y[(i, unit)]))
                .unzip();
            pearson(&p, &q)
        })
        .collect();
    Ok(median(&of_unit))
}

/// Angles between the operators of all populations' paths.
fn dynamics(
    views: &[PopulationView],
    params: &PhysiologyParams,
    monitor: &Monitor<'_>,
) -> Result<Vec<AlignedPair>> {
    let least = views.iter().map(|view| view.responses.shape()[0]).min().unwrap_or(0);
    let n_components = params.n_dynamical.min(least);
    let operators = views
        .iter()
        .map(|view| {
            let states = principal_states(&view.responses, n_components, true)?;
            let trials: Vec<Mat<f64>> = (0..states.scores.nrows() / states.n_times)
                .map(|trial| {
                    let first = trial * states.n_times;
                    let length = (first..first + states.n_times)
                        .filter(|&i| states.scores[(i, 0)].is_finite())
                        .count();
                    states.scores.get(first..first + length, ..).to_owned()
                })
                .collect();
            let trials: Vec<MatRef<'_, f64>> = trials.iter().map(|trial| trial.as_ref()).collect();
            let settings = DelayParams { rank: OperatorRank::Fixed(n_components), ..Default::default() };
            Ok(delay_operator(&trials, &settings)?.operator)
        })
        .collect::<Result<Vec<_>>>()?;
    let operators: Vec<MatRef<'_, f64>> = operators.iter().map(|operator| operator.as_ref()).collect();
    let settings = AlignmentParams { seed: params.seed, ..Default::default() };
    let found = pairwise(&operators, DsaDistance::Angular, &settings, monitor)?;
    let mut pairs = vec![];
    for first in 0..views.len() {
        for second in first + 1..views.len() {
            pairs.push(AlignedPair {
                first,
                second,
                measure: "dsa_angular".into(),
                value: found.distances.get(first, second),
                chance: f64::NAN,
                p_value: f64::NAN,
                n_conditions: 0,
            });
        }
    }
    Ok(pairs)
}
