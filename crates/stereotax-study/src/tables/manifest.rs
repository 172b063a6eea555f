//! What stands beside the tables: settings, inputs, warnings and sources.

use serde_json::{Value, json};
use stereotax::pipelines::ceilings::CeilingRule;

use crate::config::{self, EncodingSettings, NfasSettings, SimilaritySettings};
use crate::inputs::Inputs;
use crate::{Finding, Study};

pub(super) fn manifest(study: &Study, inputs: &Inputs, findings: &[Finding]) -> Value {
    let mut files: Vec<Value> = Vec::new();
    for benchmark in &inputs.benchmarks {
        for subject in &benchmark.subjects {
            let name = format!("responses: {} · {}", benchmark.id, subject.id);
            files.push(json!({"name": name, "digest": subject.digest}));
        }
        for surface in &benchmark.surfaces {
            let name = format!("surface: {} · {}", benchmark.id, surface.hemisphere);
            files.push(json!({"name": name, "digest": surface.digest}));
        }
        if let Some(volume) = &benchmark.volume {
            files.push(json!({"name": format!("volume: {}", benchmark.id), "digest": volume.digest}));
        }
        for nuisance in &benchmark.nuisance {
            let name = format!("nuisance: {} · {}", benchmark.id, nuisance.name);
            files.push(json!({"name": name, "digest": nuisance.digest}));
        }
    }
    for model in &inputs.models {
        for activation in &model.activations {
            let name = format!("activations: {} · {}", model.model.name, activation.stimuli);
            files.push(json!({"name": name, "digest": activation.digest}));
        }
    }
    json!({
        "name": study.file.name,
        "version": env!("CARGO_PKG_VERSION"),
        "preset": study.file.preset,
        "caveat": study.file.preset.caveat(),
        "seed": study.file.seed,
        "random_numbers": "ChaCha8, one stream per purpose and index",
        "settings": settings(study),
        "gates": study.file.wants_nfas.then_some(study.file.analysis.gates),
        "inputs": files,
        "warnings": findings,
        "references": references(study),
        "simulation": study.file.simulated,
    })
}

/// The choices of every analysis that was asked for; what analyses share stands in each.
fn settings(study: &Study) -> Value {
    let nfas = json!(study.file.analysis);
    let mut settings = json!({});
    if let Some(encoding) = &study.file.encoding {
        let mut all = json!(encoding);
        for key in config::SHARED {
            all[*key] = nfas[*key].clone();
        }
        settings["encoding"] = all;
    }
    if let Some(similarity) = &study.file.similarity {
        let mut all = json!(similarity);
        for key in config::SHARED_WITH_SIMILARITY {
            all[*key] = nfas[*key].clone();
        }
        settings["similarity"] = all;
    }
    if study.file.wants_nfas {
        settings["nfas"] = nfas;
    }
    settings
}

/// Keys of `references.bib` for the methods that a study uses.
pub(crate) fn references(study: &Study) -> Vec<String> {
    let mut keys = if study.file.wants_nfas { of_nfas(&study.file.analysis) } else { Vec::new() };
    if let Some(encoding) = &study.file.encoding {
        keys.extend(of_encoding(encoding, &study.file.analysis).into_iter().map(str::to_owned));
    }
    if let Some(similarity) = &study.file.similarity {
        keys.extend(of_similarity(similarity).into_iter().map(str::to_owned));
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn of_similarity(s: &SimilaritySettings) -> Vec<&'static str> {
    let chosen = crate::similarity::measures(s);
    let mut keys: Vec<&'static str> = chosen.iter().map(|measure| measure.source).collect();
    keys.push("efron1987");
    if s.permutations > 0 {
        keys.push("phipson2010");
    }
    if chosen.iter().any(|m| m.interval == stereotax::similarity::Interval::Jackknife) {
        keys.push("shao1989");
    }
    if let Some(distance) = s.map.as_ref().and_then(|id| stereotax::similarity::measure(id).ok()) {
        keys.extend([distance.source, "deleeuw1977"]);
    }
    keys.extend(of_multiplicity(s.multiplicity));
    keys
}

/// Sources of an adjustment of p-values.
fn of_multiplicity(multiplicity: config::Multiplicity) -> &'static [&'static str] {
    use config::Multiplicity;
    match multiplicity {
        Multiplicity::MaxT => &["westfall1993", "nichols2002"],
        Multiplicity::Holm => &["holm1979"],
        Multiplicity::Bh => &["benjamini1995"],
        Multiplicity::By => &["benjamini2001"],
        Multiplicity::None => &[],
    }
}

fn of_encoding(e: &EncodingSettings, shared: &NfasSettings) -> Vec<&'static str> {
    use config::{Combination, EncodingEncoder, InnerChoice, LayerReduction};
    let mut keys = vec!["phipson2010"];
    match e.encoder {
        EncodingEncoder::Ridge | EncodingEncoder::Ols => keys.push("hoerl1970"),
        EncodingEncoder::KernelRidge => keys.push("saunders1998"),
        EncodingEncoder::Pls { .. } => keys.extend(["wold2001", "dayal1997"]),
    }
    match e.combine {
        Combination::None => {}
        Combination::Stacked => keys.push("breiman1996"),
        Combination::Banded { .. } => keys.extend(["nunezelizalde2019", "duprelatour2022"]),
    }
    match e.inner {
        InnerChoice::Folds => {}
        InnerChoice::Loo => keys.push("allen1974"),
        InnerChoice::Gcv => keys.push("golub1979"),
    }
    match e.reduce {
        LayerReduction::None | LayerReduction::Pca { .. } => {}
        LayerReduction::Sparse { .. } => keys.extend(["achlioptas2003", "li2006", "dasgupta2003"]),
        LayerReduction::Gaussian { .. } => keys.push("dasgupta2003"),
    }
    keys.extend(of_multiplicity(e.multiplicity));
    if !e.partition.is_empty() {
        keys.push("nunezelizalde2019");
    }
    if e.null == config::NullChoice::Refit {
        keys.push("winkler2014");
    }
    if shared.ceiling != CeilingRule::None {
        keys.extend(["sahani2003", "schoppe2016"]);
    }
    match shared.hrf {
        config::Hrf::Spm => keys.push("friston1998"),
        config::Hrf::Glover => keys.push("glover1999"),
        config::Hrf::Auto | config::Hrf::Fir | config::Hrf::None => {}
    }
    keys
}

/// Keys for the methods that these settings use.
pub(crate) fn of_nfas(s: &NfasSettings) -> Vec<String> {
    use stereotax::dynamics::Estimator;
    let mut keys = vec!["yan2026", "schmid2010", "tu2014", "jovanovic2014", "chen2012", "aswani2026"];
    match s.estimator {
        Estimator::TotalLeastSquares => keys.push("hemati2017"),
        Estimator::ForwardBackward => keys.push("dawson2016"),
        Estimator::Optimised => keys.push("askham2018"),
        Estimator::Bagged { .. } => keys.extend(["askham2018", "sashidhar2022"]),
        Estimator::Unitary | Estimator::Symmetric => keys.push("baddoo2023"),
        Estimator::ReducedRank { .. } => keys.push("kostic2022"),
        Estimator::Standard | Estimator::Hankel { .. } | Estimator::Segments { .. } => {}
    }
    if s.rank == stereotax::dynamics::RankRule::HardThreshold {
        keys.push("gavish2014");
    }
    if s.layer_map == config::LayerMap::Kernel {
        keys.push("kornblith2019");
    }
    if s.encoder == config::Encoder::Banded {
        keys.push("nunezelizalde2019");
    }
    match s.multiplicity {
        config::Multiplicity::Bh => keys.push("benjamini1995"),
        config::Multiplicity::By => keys.push("benjamini2001"),
        _ => {}
    }
    keys.push("tukey1949");
    keys.extend(["drmac2018", "hoerl1970", "anderson2001", "anderson2006", "anderson2017", "rousseeuw1987"]);
    keys.extend(["holm1979", "westfall1993", "nichols2002", "phipson2010"]);
    if s.ceiling != CeilingRule::None {
        keys.extend(["sahani2003", "schoppe2016"]);
    }
    match s.hrf {
        config::Hrf::Spm => keys.push("friston1998"),
        config::Hrf::Glover => keys.push("glover1999"),
        config::Hrf::Auto | config::Hrf::Fir | config::Hrf::None => {}
    }
    if s.hrf_parity == config::HrfParity::Nilearn {
        keys.push("abraham2014");
    }
    if s.dispersion_bias == config::DispersionBias::SmallSample {
        keys.push("stier2013");
    }
    if s.controls.multiverse {
        keys.push("steegen2016");
    }
    if s.controls.adaptive {
        keys.push("breiman1996");
    }
    if s.reduction == stereotax::dynamics::Reduction::Tsqr {
        keys.push("demmel2012");
    }
    keys.sort_unstable();
    keys.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_bring_their_sources_and_all_are_in_the_bibliography() {
        let cited = |lines: &str| {
            of_nfas(&config::parse_choices(lines, "choices", true).unwrap_or_else(|e| panic!("{e}")))
        };
        let plain = cited("");
        for (lines, key) in [
            ("hrf = \"spm\"", "friston1998"),
            ("hrf = \"glover\"", "glover1999"),
            ("hrf = \"spm\"\nhrf_parity = \"nilearn\"", "abraham2014"),
            ("dispersion_bias = \"small_sample\"", "stier2013"),
            ("encoder = \"banded\"", "nunezelizalde2019"),
        ] {
            let found = cited(lines);
            assert!(found.iter().any(|k| k == key) && !plain.iter().any(|k| k == key), "{lines}");
            let bib = include_str!("../../../../references.bib");
            assert!(found.iter().all(|k| bib.contains(&format!("{{{k},"))), "{lines}: {found:?}");
        }
    }
}
