//! A network beside a brain, as a physiologist looks at them: modules and areas by the responses of their units.
//!
//! For every population (a module of a network, or an area):
//!
//! ```text
//! responses ─▶ tuning of every unit
//!           ─▶ shift-invariant factorisation ─▶ neuron matrix ─▶ IAN ─▶ diffusion map     encoding manifold
//!           ─▶ principal components over time ─▶ paths of stimuli                          decoding manifold
//!           ─▶ dimension, decoding accuracy of growing windows
//! ```
//!
//! and over all of them tubularity with paired draws and matched numbers of units, and every pair of populations by
//! similarity of conditions, held-out linear predictivity and dynamical similarity. Each step is a public function of
//! its family; this composes them. A step that a population does not allow (one direction, too few units) is left out
//! of its results and said in `notes`, in the words of that step's error; only wrong settings are errors here.
//!
//! Source: Bertram et al. 2026; specs: encoding-manifolds 1 to 6. Cost: ranks × starts factorisations per population,
//! IAN of N units, and 2·conditions-sized comparisons per pair.

mod alignment;
mod population;
mod tables;
mod told;

pub use alignment::AlignedPair;
pub use population::{Dimension, EncodingManifold, PopulationView, RankMeasure};
pub use tables::{Column, NamedTable};
pub use told::{HeldOut, Told};

use faer::Mat;

use crate::data::{Error, Monitor, ResponseTensor, Result};
use crate::decoding::{Classifier, FeatureScaling};
use crate::manifold::{Population as Paths, Tubularity, TubularityParams, tubularity};
use crate::tensor::prepare::Normalise;

/// On which side a population stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Part of a network.
    Module,
    /// Part of a brain.
    Area,
}

impl Role {
    /// As it stands in tables.
    pub fn word(self) -> &'static str {
        match self {
            Role::Module => "module",
            Role::Area => "area",
        }
    }
}

/// Responses of one module or area.
#[derive(Debug, Clone)]
pub struct Population {
    /// A name of its own.
    pub name: String,
    /// Which side.
    pub role: Role,
    /// Its responses.
    pub responses: ResponseTensor,
    /// Responses to each repeat (trial, instance) of the stimuli, whose mean `responses` are; none where only the mean
    /// is known.
    pub repeats: Vec<ResponseTensor>,
}

impl Population {
    /// A population of which only the mean over repeats is known.
    pub fn of_means(name: &str, role: Role, responses: ResponseTensor) -> Self {
        Population { name: name.into(), role, responses, repeats: vec![] }
    }

    /// A population of which every repeat is known; its responses are their mean.
    ///
    /// Errors: no repeat; repeats of other units, stimuli, directions or times, or with other gaps.
    pub fn of_repeats(name: &str, role: Role, repeats: Vec<ResponseTensor>) -> Result<Self> {
        let Some(first) = repeats.first() else {
            return Err(Error::TooFew {
                what: format!("repeats of `{name}`"),
                needed: "1 repeat".into(),
                found: "none".into(),
                hint: "give one tensor per repeat, or one of means".into(),
            });
        };
        for (at, repeat) in repeats.iter().enumerate() {
            let same = repeat.shape() == first.shape()
                && repeat.units() == first.units()
                && repeat.stimuli() == first.stimuli()
                && repeat.directions_deg() == first.directions_deg()
                && repeat.bin_s() == first.bin_s()
                && repeat.valid() == first.valid()
                && repeat.lengths() == first.lengths();
            if !same {
                return Err(Error::Shape {
                    what: format!("repeat {at} of `{name}`"),
                    expected: format!(
                        "{:?} units, stimuli, directions and times, named and left out as in repeat 0",
                        first.shape()
                    ),
                    found: format!("{:?}, or others of the same number", repeat.shape()),
                    hint: "bring repeats to the same units, stimuli, directions and times".into(),
                });
            }
        }
        let n = repeats.len() as f64;
        let means = (0..first.values().len())
            .map(|at| repeats.iter().map(|repeat| repeat.values()[at]).sum::<f64>() / n)
            .collect();
        let responses = ResponseTensor::new(
            means,
            first.units().to_vec(),
            first.stimuli().to_vec(),
            first.directions_deg().to_vec(),
            first.bin_s(),
        )?;
        Ok(Population { name: name.into(), role, responses, repeats })
    }
}

/// Every choice of the view.
#[derive(Debug, Clone)]
pub struct PhysiologyParams {
    /// Gaussian smoothing over time of modules before factorisation, in bins (default 3; 0: none). Areas are taken
    /// as they come: their rates are smoothed when they are made.
    pub smoothing_bins: f64,
    /// How maps are scaled for the factorisation (default: relative norm).
    pub normalise: Normalise,
    /// Ranks of the sweep (default 2 to 10); those above what a population holds are left out and noted.
    pub ranks: Vec<usize>,
    /// The rank, instead of the plateau of the sweep.
    pub rank: Option<usize>,
    /// Random starts per rank (default 3).
    pub n_starts: usize,
    /// Iterations of a factorisation (default 200).
    pub max_iterations: usize,
    /// Coordinates of the encoding manifold (default 10).
    pub n_coordinates: usize,
    /// Principal components of the paths (default 3).
    pub n_components: usize,
    /// Settings of tubularity; `None` leaves it out.
    pub tubularity: Option<TubularityParams>,
    /// How stimuli are told from responses (default: logistic regression).
    pub classifier: Classifier,
    /// What is done to responses before decoding (default: nothing).
    pub scaling: FeatureScaling,
    /// What decoding holds out (default: repeats where there are some, or else directions).
    pub held_out: HeldOut,
    /// Folds of decoding (default 5), or one for each repeat or direction where there are fewer.
    pub n_folds: usize,
    /// Fresh deals of these folds (default 5), where there is more than one deal.
    pub n_repeats: usize,
    /// Measures of similarity, by id (default: RSA, debiased CKA, SVCCA).
    pub measures: Vec<String>,
    /// Components of the paths for dynamical similarity (default 5; 0: none).
    pub n_dynamical: usize,
    /// Shuffles for p-values of accuracy and similarity (default 99).
    pub n_permutations: usize,
    /// Seed of everything drawn (default 0).
    pub seed: u64,
}

impl Default for PhysiologyParams {
    fn default() -> Self {
        PhysiologyParams {
            smoothing_bins: 3.0,
            normalise: Normalise::RelativeNorm,
            ranks: (2..=10).collect(),
            rank: None,
            n_starts: 3,
            max_iterations: 200,
            n_coordinates: 10,
            n_components: 3,
            tubularity: Some(TubularityParams::default()),
            classifier: Classifier::default(),
            scaling: FeatureScaling::None,
            held_out: HeldOut::default(),
            n_folds: 5,
            n_repeats: 5,
            measures: ["rsa_spearman", "cka_debiased", "svcca"].map(String::from).to_vec(),
            n_dynamical: 5,
            n_permutations: 99,
            seed: 0,
        }
    }
}

/// Everything about all populations.
#[derive(Debug, Clone)]
pub struct Physiology {
    /// In the order given.
    pub populations: Vec<PopulationView>,
    /// Tubularity of the populations that have bundles, by place; drawn alike.
    pub tubularity: Vec<(usize, Tubularity)>,
    /// Stimuli of those bundles.
    pub tubular_stimuli: Vec<String>,
    /// All pairs, each in both orders.
    pub pairs: Vec<AlignedPair>,
    /// What was left out between populations, and why.
    pub notes: Vec<String>,
}

/// Look at modules and areas.
///
/// Errors: no population, names given twice, settings without meaning, a stop on request.
pub fn physiology(
    populations: &[Population],
    params: &PhysiologyParams,
    monitor: &Monitor<'_>,
) -> Result<Physiology> {
    check(populations, params)?;
    let mut views = Vec::with_capacity(populations.len());
    for population in populations {
        monitor.check()?;
        views.push(population::look(population, params, monitor)?);
    }
    let mut notes = vec![];
    let (tubular_stimuli, tubularity) = tubes(populations, &views, params, &mut notes, monitor)?;
    let pairs = alignment::align_all(populations, &views, params, &mut notes, monitor)?;
    Ok(Physiology { populations: views, tubularity, tubular_stimuli, pairs, notes })
}

fn check(populations: &[Population], params: &PhysiologyParams) -> Result<()> {
    let invalid = |what: &str, expected: &str, found: String, hint: &str| {
        Err(Error::Invalid { what: what.into(), expected: expected.into(), found, hint: hint.into() })
    };
    if populations.is_empty() {
        return Err(Error::TooFew {
            what: "populations".into(),
            needed: "1 module or area".into(),
            found: "none".into(),
            hint: "map names to response tensors".into(),
        });
    }
    for (at, population) in populations.iter().enumerate() {
        if populations[..at].iter().any(|other| other.name == population.name) {
            let hint = "modules and areas share one set of names";
            return invalid(
                "populations",
                "a name of its own for each",
                format!("`{}` twice", population.name),
                hint,
            );
        }
    }
    if params.ranks.is_empty() || params.ranks.contains(&0) || params.rank == Some(0) {
        return invalid(
            "ranks",
            "ranks of at least 1",
            format!("{:?}", params.ranks),
            "2 to 10 are customary",
        );
    }
    if params.n_starts == 0 || params.n_repeats == 0 || params.n_coordinates == 0 || params.n_components == 0
    {
        let found = format!(
            "{}, {}, {} and {}",
            params.n_starts, params.n_repeats, params.n_coordinates, params.n_components
        );
        return invalid(
            "n_starts, n_repeats, n_coordinates and n_components",
            "at least 1 each",
            found,
            "see the defaults",
        );
    }
    crate::similarity::select(&params.measures, 2, 1)?;
    Ok(())
}

/// Take what a step found, or note why there is nothing; a stop on request goes through.
fn noted<T>(step: &str, found: Result<T>, notes: &mut Vec<String>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Error::Cancelled) => Err(Error::Cancelled),
        Err(why) => {
            notes.push(format!("{step} is left out: {}", why.to_string().replace('\n', "; ")));
            Ok(None)
        }
    }
}

/// Stimuli that all of the given tensors have, in the order of the first.
fn shared_stimuli<'a>(tensors: impl Iterator<Item = &'a ResponseTensor>) -> Vec<String> {
    let mut tensors = tensors;
    let Some(first) = tensors.next() else { return vec![] };
    let mut shared = first.stimuli().to_vec();
    for other in tensors {
        shared.retain(|name| other.stimuli().contains(name));
    }
    shared
}

/// Rows stimulus × direction × time of some stimuli, cut to `length` bins, and columns of the kept units.
fn rows_over_time(tensor: &ResponseTensor, stimuli: &[usize], length: usize) -> Mat<f64> {
    let [n_units, _, n_directions, n_times] = tensor.shape();
    Mat::from_fn(stimuli.len() * n_directions * length, n_units, |row, n| {
        let (s, d, t) = (row / (n_directions * length), row / length % n_directions, row % length);
        tensor.map(n, stimuli[s])[d * n_times + t]
    })
}

/// Tubularity of all populations that have bundles of the stimuli they share.
fn tubes(
    populations: &[Population],
    views: &[PopulationView],
    params: &PhysiologyParams,
    notes: &mut Vec<String>,
    monitor: &Monitor<'_>,
) -> Result<(Vec<String>, Vec<(usize, Tubularity)>)> {
    let Some(settings) = &params.tubularity else { return Ok((vec![], vec![])) };
    let mut usable = vec![];
    for (at, (population, view)) in populations.iter().zip(views).enumerate() {
        let tensor = &view.responses;
        if tensor.shape()[2] < 2 {
            notes.push(format!(
                "tubularity of `{}` is left out: one direction only, and a bundle needs two curves per stimulus",
                population.name
            ));
        } else if tensor.valid().contains(&false) {
            notes.push(format!(
                "tubularity of `{}` is left out: not every unit was shown every stimulus",
                population.name
            ));
        } else {
            usable.push(at);
        }
    }
    let stimuli = shared_stimuli(usable.iter().map(|&at| &views[at].responses));
    if usable.is_empty() || stimuli.is_empty() {
        if !usable.is_empty() {
            notes.push("tubularity is left out: the populations share no stimulus".into());
        }
        return Ok((vec![], vec![]));
    }
    let paths = usable
        .iter()
        .map(|&at| {
            let tensor = &views[at].responses;
            let which = tensor.find_stimuli(&stimuli)?;
            let length = which.iter().map(|&s| tensor.lengths()[s]).min().unwrap_or(0);
            Ok((rows_over_time(tensor, &which, length), [stimuli.len(), tensor.shape()[2], length]))
        })
        .collect::<Result<Vec<_>>>()?;
    let all: Vec<Paths<'_>> =
        paths.iter().map(|(rows, shape)| Paths { responses: rows.as_ref(), shape: *shape }).collect();
    let settings = TubularityParams { seed: params.seed, ..settings.clone() };
    let found = noted("tubularity", tubularity(&all, &settings, monitor), notes)?;
    Ok(match found {
        Some(found) => (stimuli, usable.into_iter().zip(found).collect()),
        None => (vec![], vec![]),
    })
}

#[cfg(test)]
mod tests;
