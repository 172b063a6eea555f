//! Read the choices of `[analysis.encoding]`.

use super::choices::{check_design, read_alphas, read_design};
use super::reader::{Argument, Form, Reader, with, word};
use super::study::{
    Benchmark, Clock, Combination, EncodingEncoder, EncodingKernel, EncodingSettings, FeatureSet,
    InnerChoice, InnerLoss, LayerReduction, Model, NfasSettings, NullChoice, Preset,
};
use super::words::{INNER_LOSS, MULTIPLICITY};
use crate::hints::nearest;

/// Keys of what both analyses share: samples, haemodynamics, cleaning, folds, ceilings. They may stand in either
/// table.
pub(crate) const SHARED: &[&str] = &[
    "resample",
    "lanczos_weights",
    "hrf",
    "hrf_parity",
    "delays_s",
    "drop_padded",
    "derivatives",
    "drift",
    "project_features",
    "outer_folds",
    "purge_s",
    "ceiling",
    "min_ceiling",
    "subjects",
    "networks",
];

pub(super) const ENCODING: &[&str] = &[
    "layers",
    "reduce",
    "encoder",
    "kernel",
    "combine",
    "alphas",
    "alpha_per_roi",
    "inner",
    "inner_folds",
    "inner_loss",
    "bootstraps",
    "shifts",
    "null",
    "multiplicity",
    "partition",
    "resample",
    "lanczos_weights",
    "hrf",
    "hrf_parity",
    "delays_s",
    "drop_padded",
    "derivatives",
    "drift",
    "project_features",
    "outer_folds",
    "purge_s",
    "ceiling",
    "min_ceiling",
    "subjects",
    "networks",
];

pub(super) const PARTITION: &[&str] = &["name", "layers", "nuisance"];
/// More sets have too many combinations to fit and to read.
const MOST_SETS: usize = 4;

const fn size(default: Option<f64>, expected: &'static str) -> Argument {
    Argument { least: 1.0, most: 1e6, whole: true, unit: "", default, expected }
}

const REDUCE: &[Form<LayerReduction>] = &[
    word("none", |_| LayerReduction::None),
    with("pca", size(Some(256.0), "a number of components, as in `pca:256`,"), |n| LayerReduction::Pca {
        max_dim: n as usize,
    }),
    // Without a number, the size of Johnson and Lindenstrauss.
    with("sparse", size(Some(0.0), "a number of directions, as in `sparse:5920`,"), |n| {
        LayerReduction::Sparse { size: (n > 0.0).then_some(n as usize) }
    }),
    with("gaussian", size(Some(0.0), "a number of directions, as in `gaussian:1000`,"), |n| {
        LayerReduction::Gaussian { size: (n > 0.0).then_some(n as usize) }
    }),
];
const ENCODER: &[Form<EncodingEncoder>] = &[
    word("ridge", |_| EncodingEncoder::Ridge),
    word("ols", |_| EncodingEncoder::Ols),
    word("kernel_ridge", |_| EncodingEncoder::KernelRidge),
    with("pls", size(Some(25.0), "a number of components, as in `pls:25`,"), |n| EncodingEncoder::Pls {
        components: n as usize,
    }),
];
const KERNEL: &[Form<EncodingKernel>] = &[
    word("linear", |_| EncodingKernel::Linear),
    with(
        "polynomial",
        Argument {
            least: 1.0,
            most: 100.0,
            whole: true,
            unit: "",
            default: Some(3.0),
            expected: "a degree from 1 to 100, as in `polynomial:3`,",
        },
        |degree| EncodingKernel::Polynomial { degree: degree as u32 },
    ),
    // Without a number, 1/units.
    with(
        "rbf",
        Argument {
            least: 1e-12,
            most: 1e12,
            whole: false,
            unit: "",
            default: Some(0.0),
            expected: "a γ above 0, as in `rbf:0.01`,",
        },
        |gamma| EncodingKernel::Rbf { gamma: (gamma > 0.0).then_some(gamma) },
    ),
];
const NULL: &[Form<NullChoice>] =
    &[word("shift", |_| NullChoice::Shift), word("refit", |_| NullChoice::Refit)];
const COMBINE: &[Form<Combination>] = &[
    word("none", |_| Combination::None),
    word("stacked", |_| Combination::Stacked),
    with("banded", size(Some(20.0), "a number of weights to try, as in `banded:100`,"), |n| {
        Combination::Banded { draws: n as usize }
    }),
];
const INNER: &[Form<InnerChoice>] = &[
    word("folds", |_| InnerChoice::Folds),
    word("loo", |_| InnerChoice::Loo),
    word("gcv", |_| InnerChoice::Gcv),
];

/// Read the table; what both analyses share goes into `shared`.
pub(super) fn read_encoding(
    t: &Reader<'_>,
    nfas: Option<&Reader<'_>>,
    shared: &mut NfasSettings,
    preset: Preset,
    brain: &[Benchmark],
    models: &[Model],
) -> EncodingSettings {
    let mut e = EncodingSettings::default();
    for key in SHARED {
        if t.get(key).is_some() && nfas.is_some_and(|nfas| nfas.get(key).is_some()) {
            t.problem(
                key,
                format!("`{key}` stands in [analysis.nfas] and in [analysis.encoding], which share it"),
                "say it in one of them",
            );
        }
    }
    read_design(t, shared);
    check_design(t, shared, preset);
    e.layers = read_layers(t, models);
    t.form("reduce", &mut e.reduce, REDUCE);
    t.form("encoder", &mut e.encoder, ENCODER);
    t.form("kernel", &mut e.kernel, KERNEL);
    t.form("combine", &mut e.combine, COMBINE);
    read_alphas(t, &mut e.alphas);
    t.flag("alpha_per_roi", &mut e.alpha_per_roi);
    t.form("inner", &mut e.inner, INNER);
    t.count("inner_folds", &mut e.inner_folds, 2, 1000);
    t.form("inner_loss", &mut e.inner_loss, INNER_LOSS);
    t.count("bootstraps", &mut e.bootstraps, 100, 10_000_000);
    t.count("shifts", &mut e.shifts, 99, 10_000_000);
    t.form("null", &mut e.null, NULL);
    t.form("multiplicity", &mut e.multiplicity, MULTIPLICITY);
    if let Some(value) = t.get("partition") {
        e.partition = value
            .tables("partition", PARTITION)
            .iter()
            .map(|set| FeatureSet {
                name: set.text("name", "name = \"early\""),
                layers: set.get("layers").and_then(|v| v.texts()).unwrap_or_default(),
                nuisance: set.get("nuisance").and_then(|v| v.text()),
            })
            .collect();
        check_partition(t, &e.partition, brain, models);
    }
    check(t, &e, brain);
    e
}

/// The layers that are looked at; `None`: all.
pub(super) fn read_layers(t: &Reader<'_>, models: &[Model]) -> Option<Vec<String>> {
    let names = t.get("layers")?.texts()?;
    for name in unknown_layers(&names, models) {
        let message = format!("`layers` names `{name}`, but no model has such a layer");
        t.problem("layers", message, &near_layer(name, models));
    }
    for model in models {
        if !model.activations.iter().any(|a| a.layers.iter().any(|layer| names.contains(layer))) {
            let message = format!("`layers` names no layer of model `{}`", model.name);
            t.problem("layers", message, "name at least one of its layers, or leave `layers` out");
        }
    }
    Some(names)
}

fn layers_of(models: &[Model]) -> impl Iterator<Item = &str> {
    models.iter().flat_map(|m| m.activations.iter().flat_map(|a| &a.layers)).map(String::as_str)
}

fn unknown_layers<'a>(names: &'a [String], models: &[Model]) -> impl Iterator<Item = &'a String> {
    names.iter().filter(|name| !layers_of(models).any(|known| known == *name))
}

fn near_layer(name: &str, models: &[Model]) -> String {
    nearest(name, layers_of(models)).map_or_else(
        || "name layers as the models name them".into(),
        |near| format!("did you mean `{near}`?"),
    )
}

fn check_partition(t: &Reader<'_>, sets: &[FeatureSet], brain: &[Benchmark], models: &[Model]) {
    let wrong = |message: String, hint: &str| t.problem("partition", message, hint);
    if !(2..=MOST_SETS).contains(&sets.len()) {
        let message = format!("`partition` has {} sets, but 2 to {MOST_SETS} expected", sets.len());
        wrong(message, "every combination of sets is a model of its own");
    }
    for (at, set) in sets.iter().enumerate() {
        if sets[..at].iter().any(|other| other.name == set.name) {
            wrong(format!("`partition` names `{}` twice", set.name), "give each set a name of its own");
        }
        if set.layers.is_empty() == set.nuisance.is_none() {
            let message = format!("set `{}` of `partition` needs either `layers` or `nuisance`", set.name);
            wrong(message, "as in `{ name = \"early\", layers = [\"block1\"] }`");
        }
        for name in unknown_layers(&set.layers, models) {
            let message = format!("`partition` names `{name}`, but no model has such a layer");
            wrong(message, &near_layer(name, models));
        }
        if let Some(name) = &set.nuisance
            && let Some(bare) = brain.iter().find(|b| b.nuisance.iter().all(|n| n.name != *name))
        {
            let message =
                format!("`partition` names the nuisance set `{name}`, but benchmark `{}` has none", bare.id);
            wrong(message, "name a nuisance set that every benchmark has");
        }
    }
}

fn check(t: &Reader<'_>, e: &EncodingSettings, brain: &[Benchmark]) {
    if let (InnerChoice::Loo | InnerChoice::Gcv, Some(series)) =
        (e.inner, brain.iter().find(|b| matches!(b.clock, Clock::Tr { .. })))
    {
        let message = format!(
            "`inner` leaves out single rows, but benchmark `{}` is a time series: its neighbours tell what was \
             left out",
            series.id
        );
        t.problem("inner", message, "use `inner = \"folds\"`");
    }
    if e.inner == InnerChoice::Gcv && e.inner_loss == InnerLoss::Correlation {
        let message = "`inner = \"gcv\"` contradicts `inner_loss = \"correlation\"`: it is a squared error";
        t.problem("inner_loss", message.into(), "use `inner = \"loo\"` or `\"folds\"`");
    }
    if e.inner != InnerChoice::Folds && t.get("inner_folds").is_some() {
        let message = "`inner_folds` has no say where single rows are left out".to_owned();
        t.problem("inner_folds", message, "leave it out, or use `inner = \"folds\"`");
    }
    let without_penalty = match e.encoder {
        EncodingEncoder::Ols => Some("ols"),
        EncodingEncoder::Pls { .. } => Some("pls"),
        EncodingEncoder::Ridge | EncodingEncoder::KernelRidge => None,
    };
    if let (Some(word), true) = (without_penalty, e.inner != InnerChoice::Folds) {
        let message =
            format!("`encoder = \"{word}\"` has no penalty to choose, and layers are judged by folds");
        t.problem("inner", message, "leave `inner` out, or use `encoder = \"ridge\"`");
    }
    if let (EncodingEncoder::Pls { .. }, Some(key)) =
        (e.encoder, ["alphas", "alpha_per_roi"].into_iter().find(|key| t.get(key).is_some()))
    {
        let message = format!("`{key}` has no say in `encoder = \"pls\"`, which has no penalty");
        t.problem(key, message, "leave it out, or use `encoder = \"ridge\"`");
    }
    if e.encoder != EncodingEncoder::KernelRidge && t.get("kernel").is_some() {
        let message = "`kernel` has a say in `encoder = \"kernel_ridge\"` alone".to_owned();
        t.problem("kernel", message, "leave it out, or use `encoder = \"kernel_ridge\"`");
    }
    check_combination(t, e);
    if e.encoder == EncodingEncoder::Ols && !matches!(e.reduce, LayerReduction::Pca { .. }) {
        let message = "`encoder = \"ols\"` needs fewer features than training rows".to_owned();
        t.problem("encoder", message, "set `reduce = \"pca:256\"`, or use `encoder = \"ridge\"`");
    }
}

/// What all layers together cannot be.
fn check_combination(t: &Reader<'_>, e: &EncodingSettings) {
    let wrong = |message: &str, hint: &str| t.problem("combine", message.to_owned(), hint);
    let Combination::Banded { .. } = e.combine else { return };
    if e.encoder != EncodingEncoder::Ridge {
        wrong("`combine = \"banded\"` is one ridge over all layers", "use `encoder = \"ridge\"`");
    }
    if !e.alpha_per_roi {
        let message = "`combine = \"banded\"` chooses weights and penalties together, target by target";
        wrong(message, "set `alpha_per_roi = true`, or `combine = \"stacked\"`");
    }
    if e.inner_loss == InnerLoss::Correlation {
        let message = "`combine = \"banded\"` contradicts `inner_loss = \"correlation\"`: its search compares \
                       squared errors";
        wrong(message, "leave `inner_loss` out, or use `combine = \"stacked\"`");
    }
    if e.alphas.values().iter().any(|alpha| *alpha <= 0.0) {
        wrong("`combine = \"banded\"` needs penalties above 0", "let `alphas` begin above 0");
    }
}
