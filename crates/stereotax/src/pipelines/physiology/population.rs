//! What is looked at in one population.

use std::sync::Mutex;

use faer::Mat;

use super::told::{Told, tell_stimuli};
use super::{PhysiologyParams, Population, Role, noted};
use crate::data::{Error, Monitor, ResponseTensor, Result};
use crate::decoding::{PrincipalStates, principal_states};
use crate::manifold::{
    DiffusionMap, DiffusionParams, IanParams, IntrinsicParams, diffusion_map, ian, intrinsic_dimension,
    participation_ratio,
};
use crate::stats::summary::mean;
use crate::tensor::points::keep_points;
use crate::tensor::prepare::{Padding, normalise, smooth};
use crate::tensor::rank::{effective_dimension, plateau};
use crate::tensor::tuning::{Tuning, tuning};
use crate::tensor::{CpFit, CpParams, CpTensor, SweepTask, neuron_matrix, sweep};

/// What one rank of the sweep came to.
#[derive(Debug, Clone, PartialEq)]
pub struct RankMeasure {
    /// Components.
    pub rank: usize,
    /// Least relative error over starts.
    pub error: f64,
    /// Mean over starts of the dimension that components span.
    pub effective_dimension: f64,
}

/// Units as points.
#[derive(Debug, Clone)]
pub struct EncodingManifold {
    /// The sweep.
    pub ranks: Vec<RankMeasure>,
    /// Components of the factorisation taken.
    pub rank: usize,
    /// Whether the plateau of the sweep was reached, or `rank` is where it bends most; true if given.
    pub plateau_reached: bool,
    /// Relative error of the factorisation.
    pub error: f64,
    /// Units × components, all units.
    pub neurons: Mat<f64>,
    /// Units that stand for themselves; those merged into another are not among them.
    pub kept: Vec<usize>,
    /// For every unit, the one that stands for it.
    pub representative: Vec<usize>,
    /// Units × coordinates; NaN of units without a neighbour. Merged units stand where theirs does.
    pub coordinates: Mat<f64>,
    /// Eigenvalues of the diffusion map.
    pub eigenvalues: Vec<f64>,
    /// exp(entropy) of the eigenvalues.
    pub spectral_dimension: f64,
    /// Mean local dimension of the neighbourhoods; NaN where there is none.
    pub local_dimension: f64,
    /// Connected part of every unit; `usize::MAX` without a neighbour.
    pub parts: Vec<usize>,
    /// How many parts.
    pub n_parts: usize,
    /// Whether pruning of neighbourhoods ended by itself.
    pub converged: bool,
}

/// One estimate of dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimension {
    /// Of what: "conditions" (means over time) or "states" (conditions × times).
    pub points: &'static str,
    /// Name of the estimate.
    pub estimate: &'static str,
    /// Dimensions; NaN where undefined.
    pub value: f64,
}

/// One population, looked at.
#[derive(Debug, Clone)]
pub struct PopulationView {
    /// Its name.
    pub name: String,
    /// Its side.
    pub role: Role,
    /// Responses without silent units.
    pub responses: ResponseTensor,
    /// Names of silent units, which take no part.
    pub silent_units: Vec<String>,
    /// Names of stimuli to which nothing responds.
    pub silent_stimuli: Vec<String>,
    /// Tuning of every unit kept.
    pub tuning: Vec<Tuning>,
    /// Encoding manifold.
    pub encoding: Option<EncodingManifold>,
    /// Paths of stimuli.
    pub paths: Option<PrincipalStates>,
    /// Dimensions.
    pub dimensions: Vec<Dimension>,
    /// Stimuli told from responses.
    pub told: Option<Told>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// Look at one population.
pub(super) fn look(
    population: &Population,
    params: &PhysiologyParams,
    monitor: &Monitor<'_>,
) -> Result<PopulationView> {
    let mut notes = vec![];
    let silent = population.responses.silent_units();
    let silent_units: Vec<String> = silent.iter().map(|&n| population.responses.units()[n].clone()).collect();
    let silent_stimuli: Vec<String> = population
        .responses
        .silent_stimuli()
        .into_iter()
        .map(|s| population.responses.stimuli()[s].clone())
        .collect();
    if silent.len() == population.responses.shape()[0] {
        return Err(Error::TooFew {
            what: format!("responses of `{}`", population.name),
            needed: "1 unit that responds".into(),
            found: "silent units only".into(),
            hint: "leave the population out, or look at its recording".into(),
        });
    }
    if !silent.is_empty() {
        notes.push(format!("{} silent units take no part: {}", silent.len(), listed(&silent_units)));
    }
    if !silent_stimuli.is_empty() {
        notes.push(format!("no unit responds to {}", listed(&silent_stimuli)));
    }
    let responses = without(&population.responses, &silent)?;
    if responses.shape()[2] == 1 {
        notes.push("one direction only: maps cannot rotate, and directions cannot be told".into());
    }
    let found = encoding(population.role, &responses, params, &mut notes, monitor);
    let encoding = noted("the encoding manifold", found, &mut notes)?;
    let n_paths = params.n_components.min(responses.shape()[0]);
    let paths = noted("the decoding manifold", principal_states(&responses, n_paths, true), &mut notes)?;
    let dimensions = dimensions(&responses, &mut notes, monitor)?;
    let repeats =
        population.repeats.iter().map(|repeat| without(repeat, &silent)).collect::<Result<Vec<_>>>()?;
    let found = tell_stimuli(&responses, &repeats, params, &mut notes, monitor);
    let told = noted("decoding", found, &mut notes)?;
    Ok(PopulationView {
        name: population.name.clone(),
        role: population.role,
        tuning: tuning(&responses),
        responses,
        silent_units,
        silent_stimuli,
        encoding,
        paths,
        dimensions,
        told,
        notes,
    })
}

/// The first few of some names.
fn listed(names: &[String]) -> String {
    let shown = names.iter().take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > 8 { format!("{shown} and {} more", names.len() - 8) } else { shown }
}

/// The tensor without some units.
fn without(tensor: &ResponseTensor, gone: &[usize]) -> Result<ResponseTensor> {
    if gone.is_empty() {
        return Ok(tensor.clone());
    }
    let length = tensor.values().len() / tensor.shape()[0];
    let kept: Vec<usize> = (0..tensor.shape()[0]).filter(|n| !gone.contains(n)).collect();
    ResponseTensor::new(
        kept.iter().flat_map(|&n| tensor.values()[n * length..][..length].iter().copied()).collect(),
        kept.iter().map(|&n| tensor.units()[n].clone()).collect(),
        tensor.stimuli().to_vec(),
        tensor.directions_deg().to_vec(),
        tensor.bin_s(),
    )
}

/// Factorise, describe units by components, and map them.
fn encoding(
    role: Role,
    responses: &ResponseTensor,
    params: &PhysiologyParams,
    notes: &mut Vec<String>,
    monitor: &Monitor<'_>,
) -> Result<EncodingManifold> {
    let smoothed = if role == Role::Module && params.smoothing_bins > 0.0 {
        let values = smooth(responses, params.smoothing_bins, Padding::Zero)?;
        let names = (responses.units().to_vec(), responses.stimuli().to_vec());
        &ResponseTensor::new(
            values,
            names.0,
            names.1,
            responses.directions_deg().to_vec(),
            responses.bin_s(),
        )?
    } else {
        responses
    };
    let prepared = normalise(smoothed, params.normalise)?;
    let there: Vec<bool> = prepared.values.iter().map(|v| !v.is_nan()).collect();
    let observed = if there.contains(&false) { Some(there) } else { None };
    let values = prepared.values.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect();
    let tensor = CpTensor::cyclic(responses.shape(), values, observed)?;
    let most = tensor.most_components();
    let wanted = params.rank.map_or(params.ranks.clone(), |rank| vec![rank]);
    let ranks: Vec<usize> = wanted.iter().copied().filter(|&rank| rank <= most).collect();
    if ranks.is_empty() {
        return Err(Error::Invalid {
            what: "rank".into(),
            expected: format!("at most {most}, what a tensor of {:?} holds", responses.shape()),
            found: format!("{wanted:?}"),
            hint: "ask for fewer components".into(),
        });
    }
    if ranks.len() < wanted.len() {
        notes.push(format!("ranks above {most} are left out: the tensor holds no more components"));
    }
    let (measures, rank, plateau_reached, fit) = factorise(&tensor, &ranks, params, notes, monitor)?;
    let neurons = neuron_matrix(&tensor, &fit, None)?;
    if neurons.condition > 1e8 {
        notes.push(format!("components nearly agree (condition {:.1e}): lower the rank", neurons.condition));
    }
    let points = keep_points(neurons.values.as_ref(), 1e-6, 0)?;
    let merged: Vec<String> = (0..points.representative.len())
        .filter(|&n| points.representative[n] != n)
        .map(|n| responses.units()[n].clone())
        .collect();
    if !merged.is_empty() {
        notes.push(format!(
            "{} units respond as another does and stand where it stands: {}",
            merged.len(),
            listed(&merged)
        ));
    }
    let rows =
        Mat::from_fn(points.kept.len(), neurons.values.ncols(), |i, r| neurons.values[(points.kept[i], r)]);
    let near = ian(rows.as_ref(), &IanParams::default(), monitor)?;
    let lost: Vec<String> =
        near.disconnected.iter().map(|d| responses.units()[points.kept[d.point]].clone()).collect();
    if !lost.is_empty() {
        notes.push(format!("{} units have no neighbour and no coordinates: {}", lost.len(), listed(&lost)));
    }
    let connected = rows.nrows() - lost.len();
    let n_coordinates = params.n_coordinates.min(connected.saturating_sub(2)).max(1);
    let settings = DiffusionParams { n_components: n_coordinates, seed: params.seed, ..Default::default() };
    let map = diffusion_map(&near.kernel, &settings, monitor)?;
    if map.n_parts > 1 {
        notes.push(format!(
            "the encoding manifold falls into {} parts: its first {} coordinates only tell parts apart",
            map.n_parts,
            map.n_parts - 1
        ));
    }
    if !near.converged {
        notes.push("pruning of neighbourhoods stopped at its limit".into());
    }
    let place = |n: usize| points.kept.iter().position(|&k| k == points.representative[n]);
    let coordinates = spread(&map, &place, neurons.values.nrows());
    Ok(EncodingManifold {
        ranks: measures,
        rank,
        plateau_reached,
        error: fit.error,
        parts: (0..neurons.values.nrows())
            .map(|n| place(n).map_or(usize::MAX, |at| map.components[at]))
            .collect(),
        coordinates,
        representative: points.representative.clone(),
        kept: points.kept,
        neurons: neurons.values,
        eigenvalues: map.eigenvalues.clone(),
        spectral_dimension: map.spectral_dimension,
        local_dimension: near.dimension.as_ref().map_or(f64::NAN, |d| d.mean),
        n_parts: map.n_parts,
        converged: near.converged,
    })
}

/// Coordinates of all units from those of the points.
fn spread(map: &DiffusionMap, place: &dyn Fn(usize) -> Option<usize>, n_units: usize) -> Mat<f64> {
    Mat::from_fn(n_units, map.coordinates.ncols(), |n, k| {
        place(n).map_or(f64::NAN, |at| map.coordinates[(at, k)])
    })
}

/// Sweep over ranks and take the best start of the rank chosen.
fn factorise(
    tensor: &CpTensor,
    ranks: &[usize],
    params: &PhysiologyParams,
    notes: &mut Vec<String>,
    monitor: &Monitor<'_>,
) -> Result<(Vec<RankMeasure>, usize, bool, CpFit)> {
    let tasks: Vec<SweepTask> = ranks
        .iter()
        .flat_map(|&rank| (0..params.n_starts).map(move |start| SweepTask { rank, start }))
        .collect();
    let base = CpParams { max_iter: params.max_iterations, seed: params.seed, ..Default::default() };
    let fits = Mutex::new(Vec::with_capacity(tasks.len()));
    let receive = |task: SweepTask, fit: CpFit| {
        if let Ok(mut fits) = fits.lock() {
            fits.push((task, fit));
        }
    };
    sweep(tensor, &tasks, &base, &receive, monitor)?;
    let mut fits = fits.into_inner().unwrap_or_default();
    fits.sort_by_key(|(task, _)| *task);
    let measures = ranks
        .iter()
        .map(|&rank| {
            let of: Vec<&CpFit> =
                fits.iter().filter(|(task, _)| task.rank == rank).map(|(_, fit)| fit).collect();
            let spans = of
                .iter()
                .map(|fit| effective_dimension(fit.factors[0].as_ref()))
                .collect::<Result<Vec<_>>>()?;
            let error = of.iter().map(|fit| fit.error).fold(f64::INFINITY, f64::min);
            Ok(RankMeasure { rank, error, effective_dimension: mean(&spans) })
        })
        .collect::<Result<Vec<_>>>()?;
    let curve: Vec<f64> = measures.iter().map(|m| m.effective_dimension).collect();
    let (rank, reached) = match params.rank {
        Some(rank) => (rank, true),
        None => {
            let found = plateau(ranks, &curve);
            let highest = ranks.iter().copied().max().unwrap_or(1);
            (found.rank.unwrap_or(highest), found.reached)
        }
    };
    if !reached {
        notes.push(format!("the sweep over ranks has no plateau: {rank} components, where it bends most"));
    }
    let best = fits
        .into_iter()
        .filter(|(task, _)| task.rank == rank)
        .map(|(_, fit)| fit)
        .reduce(|a, b| if b.error < a.error { b } else { a })
        .ok_or_else(|| Error::NoConvergence {
            what: "factorisation".into(),
            detail: format!("no fit of rank {rank}"),
        })?;
    Ok((measures, rank, reached, best))
}

/// Conditions (stimulus × direction) × units, means over time; empty where a unit was not shown a stimulus.
pub(super) fn conditions(responses: &ResponseTensor, stimuli: &[usize]) -> Mat<f64> {
    let [n_units, _, n_directions, n_times] = responses.shape();
    Mat::from_fn(stimuli.len() * n_directions, n_units, |row, n| {
        let s = stimuli[row / n_directions];
        let line = &responses.map(n, s)[row % n_directions * n_times..][..responses.lengths()[s]];
        mean(line)
    })
}

/// Dimension profiles.
fn dimensions(
    responses: &ResponseTensor,
    notes: &mut Vec<String>,
    monitor: &Monitor<'_>,
) -> Result<Vec<Dimension>> {
    let mut found = vec![];
    if responses.valid().contains(&false) {
        notes.push("dimension is left out: not every unit was shown every stimulus".into());
        return Ok(found);
    }
    let all: Vec<usize> = (0..responses.shape()[1]).collect();
    let x = conditions(responses, &all);
    let mut add = |points, estimate, value| found.push(Dimension { points, estimate, value });
    if let Some(ratio) = noted("the participation ratio", participation_ratio(x.as_ref(), None), notes)? {
        add("conditions", "participation_naive", ratio.naive.value);
        add("conditions", "participation_stimuli", ratio.stimuli.value);
        add("conditions", "participation_units", ratio.units.value);
        add("conditions", "participation_both", ratio.both.value);
    }
    for (points, x) in [("conditions", x), ("states", states(responses))] {
        let settings = IntrinsicParams::default();
        let step = format!("the intrinsic dimension of {points}");
        if let Some(of) = noted(&step, intrinsic_dimension(x.as_ref(), &settings, monitor), notes)? {
            add(points, "two_nn", of.two_nn.dimension);
            add(points, "levina_bickel", of.levina_bickel.dimension);
        }
    }
    Ok(found)
}

/// Conditions × times as rows, without padded ends.
fn states(responses: &ResponseTensor) -> Mat<f64> {
    let [n_units, n_stimuli, n_directions, n_times] = responses.shape();
    let rows: Vec<(usize, usize, usize)> = (0..n_stimuli)
        .flat_map(|s| {
            (0..n_directions).flat_map(move |d| (0..responses.lengths()[s]).map(move |t| (s, d, t)))
        })
        .collect();
    Mat::from_fn(rows.len(), n_units, |i, n| {
        let (s, d, t) = rows[i];
        responses.map(n, s)[d * n_times + t]
    })
}
