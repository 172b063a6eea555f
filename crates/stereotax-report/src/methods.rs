//! Write the methods text from the settings: one sentence per choice that was made, with its sources.
//!
//! Settings are looked up by key wherever they stand in the manifest's `settings`. A choice that is not
//! there gets no sentence: the text never claims what the run did not say.

use serde_json::Value;

use crate::input::{ReportInput, find};

/// One paragraph of the methods text.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Paragraph {
    pub title: &'static str,
    pub sentences: Vec<Sentence>,
}

/// A sentence and the keys of its sources.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Sentence {
    pub text: String,
    pub keys: Vec<&'static str>,
}

/// A setting as words: "energy:0.99" for text, `{"energy": 0.99}` and `{"kind": "energy", "value": 0.99}` alike.
pub(crate) fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.into(),
        Value::Null => "none".into(),
        Value::Number(n) => n.to_string(),
        Value::Array(list) => list.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            map.iter().map(|(k, v)| format!("{k}:{}", words(v))).collect::<Vec<_>>().join(", ")
        }
    }
}

/// The methods text.
pub(crate) fn write(input: &ReportInput) -> Vec<Paragraph> {
    let all = input.manifest.get("settings").cloned().unwrap_or(Value::Null);
    let encoding = all.get("encoding").filter(|e| e.is_object()).cloned();
    let similarity = all.get("similarity").filter(|s| s.is_object()).cloned();
    // Where only layers were encoded or compared, nothing is said of dynamics.
    let alone = encoding.is_some() || similarity.is_some();
    let settings = match all.get("nfas") {
        Some(nfas) => nfas.clone(),
        None if alone => Value::Null,
        None => all,
    };
    let get = |keys: &[&str]| keys.iter().find_map(|k| find(&settings, k)).map(words);
    let mut paragraphs = Vec::new();
    if !settings.is_null() || !alone {
        paragraphs.push(Paragraph { title: "Idea", sentences: idea(input) });
    }
    let parts: [(&'static str, Vec<Option<Sentence>>); 4] = [
        (
            "From layers to one representation",
            vec![
                get(&["trajectory"]).and_then(|v| trajectory(&v)),
                layer_maps(input, get(&["layer_map"])),
                get(&["centre", "center", "centring", "centering"]).and_then(|v| centring(&v)),
                get(&["reduction"]).filter(|v| v == "tsqr").map(|_| say("The layers are reduced by a tree of QR decompositions instead of their Gram matrix.", &["demmel2012"])),
                get(&["scale"]).and_then(|v| scale(&v)),
                get(&["estimator"]).and_then(|v| estimator(&v)),
                get(&["rank"]).and_then(|v| rank(&v)),
                get(&["amplitude", "amplitudes"]).and_then(|v| match get(&["trajectory"]).as_deref() {
                    Some("pooled") => projected(&v),
                    _ => amplitude(&v),
                }),
                get(&["select", "selection"]).and_then(|v| select(&v)),
                find(&settings, "gates").map(|_| say("A mode counts as stable only if it passes every gate: net gain and rotation over the depth, energy, residual, and agreement between folds. A model whose mode fails a gate gets no verdict of stability, whatever its score.", &["drmac2018"])),
            ],
        ),
        (
            "From representation to brain",
            vec![
                get(&["clock"]).and_then(|v| clock(&v)),
                get(&["resample"]).and_then(|v| resample(&v)),
                get(&["hrf", "haemodynamics"]).and_then(|v| hrf(&v)),
                get(&["hrf_parity"]).filter(|v| v == "nilearn").map(|_| say("The response has the numerics of nilearn: 50 steps per volume, its grid and its constants.", &["abraham2014"])),
                find(&settings, "delays_s").and_then(delays),
                get(&["drop_padded"]).filter(|v| v == "yes").map(|_| say("Samples whose delays reach before their run are left out, when fitting and when scoring.", &[])),
                get(&["drift"]).and_then(|v| drift(&v)),
                get(&["encoder", "encoding"]).and_then(|v| encoder(&v)),
                find(&settings, "alphas").map(penalties),
                get(&["inner_loss"]).filter(|v| v == "correlation").map(|_| say("Penalties are compared by the correlation within inner folds instead of the squared error.", &[])),
                get(&["outer_folds"]).map(|v| say(format!("Scores are of held-out responses. Held out: {}. Everything that is fitted, the layer weights{} included, sees the other rows only.", outer_folds(&v), if get(&["fit_on"]).as_deref() == Some("all") { " not" } else { "" }), &[])),
                get(&["folds", "cv", "cross_validation"]).map(|v| say(format!("Held-out predictions come from these folds: {v}. Everything that is fitted, the depth decomposition included, sees training stimuli only."), &[])),
                get(&["adaptive"]).filter(|v| v == "yes").map(|_| say("The row adaptive mixes the predictions of the stable mode, the layer mean, the first orthogonal mode and at most five single layers, with weights from the simplex chosen per ROI in the inner folds of each training set; where the mixture gains no more than one standard error on inner folds that did not choose it, the best single candidate stands alone.", &["breiman1996"])),
                get(&["score", "score_kind"]).and_then(|v| score(&v)),
                get(&["subjects", "subject"]).and_then(|v| subjects(&v)),
                ceiling(input, get(&["ceiling", "ceilings"])),
                get(&["mask_below", "ceiling_mask", "min_ceiling"]).map(|v| say(format!("ROIs with a ceiling below {v} are masked before any group statistic."), &[])),
                get(&["shifts"]).map(|v| say(format!("p-values of single scores come from {v} circular shifts of each run, or permutations of blocks where rows are single stimuli."), &[])),
                get(&["shifts"]).map(|_| say("Correlations of these draws are widened by √2: under cross-validation a pair of samples adds to a chance correlation twice, once with either of them held out, and draws that move predictions against responses count the two as independent.", &[])),
            ],
        ),
        (
            "Group statistics",
            vec![
                get(&["embedding"]).map(|v| say(format!("The coordinates of a model are {}; planes are for display, tests use the full space.", coordinates(&v)), &[])),
                get(&["snci"]).and_then(|v| snci(&v)),
                get(&["distance"]).map(|v| say(format!("The distance between models is {}.", distance(&v)), &[])),
                get(&["dispersion_centre"]).filter(|v| v == "centroid").map(|_| say("Groups are centred at their centroids in PERMDISP.", &[])),
                get(&["dispersion_axes"]).filter(|v| v == "drop").map(|_| say("Axes with negative eigenvalues are left out of PERMDISP.", &[])),
                get(&["dispersion_bias"]).filter(|v| v == "small_sample").map(|_| say("Distances to the centre of n models are multiplied by √(n/(n − 1)) in PERMDISP.", &["stier2013"])),
            ],
        ),
        (
            "Resampling and multiplicity",
            vec![
                get(&["n_permutations", "permutations"]).map(|v| say(format!("{v} permutations; p = (1 + number at least as extreme) / (1 + number drawn), with a tolerance for ties."), &["phipson2010"])),
                get(&["restrict", "restricted", "permute_within", "exchange"]).map(|v| say(format!("Labels are exchanged {}.", exchanged(&v)), &["anderson2001"])),
                get(&["n_bootstrap", "bootstrap", "bootstraps"]).map(|v| say(format!("{v} bootstrap draws, over the units that the study declares."), &["efron1987"])),
                get(&["adjustment", "adjust", "multiplicity"]).and_then(|v| adjustment(&v)),
                get(&["n_shuffles", "shuffles", "layer_order"]).filter(|n| n != "0").map(|v| say(format!("The layer order was shuffled {v} times as a control; every shuffle went through the same pipeline."), &[])),
            ],
        ),
    ];
    for (title, sentences) in parts {
        let mut sentences: Vec<Sentence> = sentences.into_iter().flatten().collect();
        if title == "Group statistics" {
            sentences.extend(tests_run(input));
        }
        if !sentences.is_empty() {
            paragraphs.push(Paragraph { title, sentences });
        }
    }
    if let Some(encoding) = &encoding {
        paragraphs.push(Paragraph { title: "Encoding layer by layer", sentences: encoded(encoding) });
    }
    if let Some(similarity) = &similarity {
        paragraphs.push(Paragraph { title: "Layers beside brain areas", sentences: compared(similarity) });
    }
    let mut about = vec![say(
        "Figures are drawn with Apache ECharts and own code; the colour map of scores is cividis.",
        &["li2018", "nunez2018"],
    )];
    if input.rows("multiverse").next().is_some() {
        about.insert(0, say("The analysis was repeated over a grid of credible choices.", &["steegen2016"]));
    }
    paragraphs.push(Paragraph { title: "Robustness and display", sentences: about });
    paragraphs
}

fn say(text: impl Into<String>, keys: &[&'static str]) -> Sentence {
    Sentence { text: text.into(), keys: keys.to_vec() }
}

/// Every target from every layer.
fn encoded(settings: &Value) -> Vec<Sentence> {
    let get = |key: &str| settings.get(key).map(words);
    let is_pls = settings.get("encoder").is_some_and(|e| e.get("pls").is_some());
    let model = match get("encoder").as_deref() {
        Some("ols") => say("Responses of every target were predicted from every layer by least squares", &[]),
        Some("kernel_ridge") => say(
            format!(
                "Responses of every target were predicted from every layer by ridge regression in the space of a {} kernel of its z-scored units",
                settings.get("kernel").map_or_else(|| "linear".to_owned(), kernel_words)
            ),
            &["saunders1998"],
        ),
        _ if is_pls => say(
            format!(
                "Responses of all targets together were predicted from every layer by partial least squares with {} components, without scaling",
                settings.get("encoder").and_then(|e| find(e, "components")).map_or_else(String::new, words)
            ),
            &["wold2001", "dayal1997"],
        ),
        _ => say(
            "Responses of every target were predicted from every layer by ridge regression",
            &["hoerl1970"],
        ),
    };
    let mut sentences = vec![model];
    if let Some(reduce) = settings.get("reduce") {
        let size = |value: &Value| {
            find(value, "size")
                .filter(|s| !s.is_null())
                .map_or("as many as keep distances within 10 %".to_owned(), words)
        };
        match (reduce.as_str(), reduce.as_object().and_then(|o| o.keys().next()).map(String::as_str)) {
            (Some("none"), _) => {
                sentences.push(say("The units of a layer were z-scored on the training rows", &[]))
            }
            (_, Some("pca")) => sentences.push(say(
                format!(
                    "Layers were reduced to at most {} principal components of the training rows",
                    find(reduce, "max_dim").map_or_else(String::new, words)
                ),
                &[],
            )),
            (_, Some("sparse")) => sentences.push(say(
                format!("Layers were projected on sparse random directions ({})", size(reduce)),
                &["li2006", "dasgupta2003"],
            )),
            (_, Some("gaussian")) => sentences.push(say(
                format!("Layers were projected on Gaussian random directions ({})", size(reduce)),
                &["dasgupta2003"],
            )),
            _ => {}
        }
    }
    if let Some(hrf) = get("hrf").and_then(|v| hrf(&v)) {
        sentences.push(hrf);
    }
    if get("encoder").as_deref() != Some("ols") && !is_pls {
        let judged = match get("inner").as_deref() {
            Some("loo") => say(
                "The penalty of each target was the one that predicted every training row best from all others",
                &["allen1974"],
            ),
            Some("gcv") => say(
                "The penalty of each target was chosen by generalised cross-validation of the training rows",
                &["golub1979"],
            ),
            _ => say(
                format!(
                    "The penalty of each target was chosen by at most {} inner folds of the training rows",
                    get("inner_folds").unwrap_or_default()
                ),
                &[],
            ),
        };
        sentences.push(judged);
    }
    if let Some(folds) = get("outer_folds") {
        sentences.push(say(format!("Held out: {}", outer_folds(&folds)), &[]));
    }
    sentences.push(say("The best layer of a target was chosen in every held-out fold by the score of the training rows alone; its score is that of the predictions so chosen", &[]));
    match settings.get("combine") {
        Some(Value::String(stacked)) if stacked == "stacked" => sentences.push(say("All layers were also stacked: the predictions of the layers were averaged with weights per target, at least 0 with sum 1, that predict the training rows best from fits which left them out", &["breiman1996"])),
        Some(banded) if banded.get("banded").is_some() => sentences.push(say(
            format!(
                "All layers were also fitted together, by a ridge regression with a weight for each layer: the kernels of the layers, divided by their widths, were summed with the best of {} weightings (equal ones, then random ones) for each target, which was chosen with the penalty on the training rows",
                banded.get("banded").and_then(|b| find(b, "draws")).map_or_else(String::new, words)
            ),
            &["nunezelizalde2019", "duprelatour2022"],
        )),
        _ => {}
    }
    if let Some(Value::Array(sets)) = settings.get("partition")
        && !sets.is_empty()
    {
        let names: Vec<String> = sets.iter().filter_map(|set| set.get("name").map(words)).collect();
        sentences.push(say(format!("The held-out R² of the models of all combinations of the feature sets {} was divided into unique and shared parts by inclusion and exclusion; negative parts were kept", names.join(", ")), &["nunezelizalde2019"]));
    }
    if let (Some(shifts), Some("refit")) = (get("shifts"), get("null").as_deref()) {
        sentences.push(say(format!("p-values come from {shifts} draws that move responses (circular shifts of time series, permutations of stimuli) and fit everything again, penalties and layers chosen anew, so that they need no correction for what the fit made of its freedom"), &["phipson2010", "winkler2014"]));
    } else if let Some(shifts) = get("shifts") {
        sentences.push(say(format!("p-values come from {shifts} draws that move predictions against responses within held-out folds (circular shifts of time series, permutations of stimuli), widened by √2"), &["phipson2010"]));
    }
    match get("multiplicity").as_deref() {
        Some("max_t") => sentences.push(say("They are adjusted over all models, layers and targets of a benchmark and subject by step-down max-T; where a benchmark has more than 2,000 targets, in steps of 0.01 of the correlation, which never makes a p-value smaller", &["westfall1993", "nichols2002"])),
        Some("none") | None => {}
        Some(other) => sentences.extend(adjustment(other)),
    }
    sentences
}

/// Every layer beside every area.
fn compared(settings: &Value) -> Vec<Sentence> {
    let get = |key: &str| settings.get(key).map(words);
    let mut sentences = vec![say(
        format!(
            "Every layer was compared with the response pattern of every area by {}; rows are stimuli, centred over stimuli",
            get("measures").unwrap_or_default()
        ),
        &["kornblith2019"],
    )];
    if let Some(permutations) = get("permutations").filter(|n| n != "0") {
        sentences.push(say(format!("Chance levels and one-sided p-values come from {permutations} permutations of the stimuli, the same for all comparisons"), &["phipson2010"]));
    }
    if let Some(bootstraps) = get("bootstraps") {
        sentences.push(say(format!("Intervals come from {bootstraps} draws of stimuli: with replacement where copies of a stimulus can be left out as pairs, else by leaving a fifth of the stimuli out"), &["efron1987", "shao1989"]));
    }
    sentences.push(say("The best layer of an area was chosen anew in every draw; its value is reported less the optimism of that choice, and its p-value compares with the best layer of every permutation. Models are compared by these corrected values, two-sided, on the same draws; such tests speak of other stimuli and the same subjects", &[]));
    sentences.push(say("The ceiling of an area is the mean value of the same area of the other subjects in the model’s place", &[]));
    match get("multiplicity").as_deref() {
        Some("max_t") => sentences.push(say("p-values are adjusted by step-down max-T: over all models, layers, areas and measures of a benchmark and subject in units of the spread of each null, and over all pairs of models, areas and measures", &["westfall1993", "nichols2002"])),
        Some("none") | None => {}
        Some(other) => sentences.extend(adjustment(other)),
    }
    if let Some(map) = get("map").filter(|m| !m.is_empty()) {
        sentences.push(say(format!("Layers and areas are drawn in a plane by multidimensional scaling of least stress, from {map} of their 128 leading directions"), &["deleeuw1977", "williams2021"]));
    }
    sentences
}

/// A kernel in words.
fn kernel_words(kernel: &Value) -> String {
    match (find(kernel, "degree"), kernel.get("rbf")) {
        (Some(degree), _) => format!("polynomial (degree {})", words(degree)),
        (None, Some(rbf)) => match find(rbf, "gamma").filter(|gamma| !gamma.is_null()) {
            Some(gamma) => format!("Gaussian (γ = {})", words(gamma)),
            None => "Gaussian (γ = 1/units)".to_owned(),
        },
        _ => words(kernel),
    }
}

fn idea(input: &ReportInput) -> Vec<Sentence> {
    let mut sentences = vec![say(
        "The layers of each network, taken in order of depth, are treated as the snapshots of a trajectory; dynamic mode decomposition gives its modes, and the mode nearest to persistence is taken as the network’s representation and mapped to brain responses region by region.",
        &["yan2026", "schmid2010"],
    )];
    if input.manifest.get("preset").and_then(Value::as_str) == Some("paper_literal") {
        sentences.push(say(
            "The preset paper_literal is a reconstruction from the published abstract and digests, not a replication: several formulas of the original are not public.",
            &["yan2026"],
        ));
    }
    sentences.push(say(
        "The stacked form of this representation is a weighted average of layers. Nearness of its eigenvalue to one is no evidence of dynamics by itself, since the mean of any exchangeable sequence is a fixed point; hence the controls.",
        &["aswani2026"],
    ));
    sentences
}

/// The part before the colon, and the part after it.
fn split(value: &str) -> (&str, &str) {
    value.split_once(':').map_or((value, ""), |(head, tail)| (head.trim(), tail.trim()))
}

fn trajectory(v: &str) -> Option<Sentence> {
    Some(match split(v).0 {
        "stacked" => say(
            "All stimuli are stacked into one snapshot per layer, so that each model has one operator, one spectrum and one stable mode.",
            &["tu2014"],
        ),
        "sample" => say("Each stimulus has its own trajectory over depth and its own spectrum.", &["tu2014"]),
        "pooled" => say(
            "All stimuli share one operator, fitted on the pooled pairs of consecutive layers.",
            &["tu2014"],
        ),
        _ => return None,
    })
}

fn clock(v: &str) -> Option<Sentence> {
    (v == "native").then(|| {
        say(
            "Where activations have rows per event (word, frame), depth is reduced on the network’s own clock and the representation is then brought to the scanner’s.",
            &[],
        )
    })
}

fn resample(v: &str) -> Option<Sentence> {
    Some(match v {
        "box" => say("Events come to the scanner’s clock by the mean over each volume.", &[]),
        "lanczos" => say(
            "Events come to the scanner’s clock by a Lanczos filter of three lobes at the rate of the volumes; weights of uneven events are not normalised, so that their rate enters every feature.",
            &[],
        ),
        _ => return None,
    })
}

/// How layers were compared: what the models' rows say was done, or else the setting.
fn layer_maps(input: &ReportInput, setting: Option<String>) -> Option<Sentence> {
    let used: Vec<String> =
        input.distinct("models", "layer_map").into_iter().filter(|m| m != "none").collect();
    let mapped: Vec<&String> = used.iter().filter(|m| *m != "identity").collect();
    match (used.len(), mapped.as_slice()) {
        (0, _) => layer_map(&setting?),
        (1, _) => layer_map(&used[0]),
        (2, [one]) => {
            let (plain, mapped) = (layer_map("identity")?, layer_map(one)?);
            let mapped_text = mapped.text.replacen("Layers are", "where widths differ, layers are", 1);
            Some(Sentence { text: format!("{}; {mapped_text}", plain.text.trim_end_matches('.')), ..mapped })
        }
        _ => layer_map(&setting?),
    }
}

fn layer_map(v: &str) -> Option<Sentence> {
    Some(match split(v).0 {
        "identity" => say("Layers of equal width are compared unit by unit.", &[]),
        "procrustes" => say(
            "Layers are brought to common coordinates by principal components and Procrustes rotations between neighbours, fitted on training stimuli. Such alignment pulls eigenvalues towards one.",
            &[],
        ),
        "pca" => say(
            "Layers are brought to a common width by principal components; their order and signs are arbitrary between layers, so eigenvalues are hard to interpret.",
            &[],
        ),
        "kernel" => say(
            "Layers are compared by their normalised linear kernels, whose inner products are linear CKA.",
            &["kornblith2019"],
        ),
        "random_projection" => say("Layers are projected by one shared random map.", &[]),
        _ => return None,
    })
}

fn centring(v: &str) -> Option<Sentence> {
    Some(match split(v).0 {
        "stimuli" | "over_stimuli" | "yes" => say(
            "Units are centred over stimuli within each layer, never over depth, which would turn the decomposition into a Fourier transform.",
            &["chen2012"],
        ),
        "none" | "no" => {
            say("Units are not centred, so the mean activation is part of the trajectory.", &["chen2012"])
        }
        _ => return None,
    })
}

fn scale(v: &str) -> Option<Sentence> {
    Some(match split(v).0 {
        "frobenius" | "rms" => say(
            "Each layer is divided by its root mean square, so that eigenvalues speak of persistence of pattern and not of growth in size.",
            &[],
        ),
        "none" => say("Layers are not scaled; growth of activations over depth enters the eigenvalues.", &[]),
        "pair" => say("Each pair of consecutive layers is scaled by the size of the first.", &["drmac2018"]),
        "unit_sample" => say("Each stimulus is scaled to unit length in each layer.", &[]),
        _ => return None,
    })
}

fn estimator(v: &str) -> Option<Sentence> {
    let (word, tail) = split(v);
    Some(match word {
        "standard" => say(
            "The operator is estimated by standard (projected) dynamic mode decomposition.",
            &["schmid2010", "tu2014"],
        ),
        "tls" | "total_least_squares" => say(
            "The operator is estimated by total least squares, which removes the bias of noise towards decay.",
            &["hemati2017", "dawson2016"],
        ),
        "symmetric" => say("The operator is constrained to be symmetric.", &["baddoo2023"]),
        "hankel" => say("The operator is estimated on delay-embedded layers (Hankel matrices).", &[]),
        "fb" | "forward_backward" => say(
            "The operator is estimated forwards and backwards on one common basis and averaged.",
            &["dawson2016"],
        ),
        "opt" | "optimised" => {
            say("Modes and rates are fitted together by variable projection.", &["askham2018"])
        }
        "bop" | "bagged" => say(
            "Modes and rates are fitted together by variable projection and averaged over bags of layers.",
            &["askham2018", "sashidhar2022"],
        ),
        "unitary" => say("The operator is constrained to be unitary.", &["baddoo2023"]),
        "segments" => say(
            format!(
                "The depth is split into {} windows of least one-step error, each with a least-squares operator of its own; the stable representation is the mean of the windows’ stable parts, weighted by their numbers of layers.",
                tail.rsplit(':').next().unwrap_or(tail)
            ),
            &["aswani2026"],
        ),
        "reduced_rank" => say("The operator is estimated by reduced-rank regression.", &["kostic2022"]),
        _ => return None,
    })
}

fn rank(v: &str) -> Option<Sentence> {
    let (rule, value) = split(v);
    Some(match rule {
        "energy" => say(format!("The rank keeps a share of {value} of the energy."), &[]),
        "fixed" => say(format!("The rank is fixed at {value}."), &[]),
        "svht" | "hard_threshold" => say(
            "The rank is chosen by the optimal hard threshold, which is unreliable with few layers.",
            &["gavish2014"],
        ),
        "full" => say("The rank is full, so that the operator interpolates the layers.", &[]),
        "consensus" => say("The rank is chosen by agreement over all ranks up to a cap.", &[]),
        _ => return None,
    })
}

fn amplitude(v: &str) -> Option<Sentence> {
    Some(match split(v).0 {
        "optimal" => say("Amplitudes are the least-squares ones over all layers.", &["jovanovic2014"]),
        "first" => say("Amplitudes are those of the first layer.", &[]),
        "mode_only" => {
            say("The representation is the unit mode, signed to agree with the mean of the layers.", &[])
        }
        "modulus" => say("The representation is the entrywise modulus of the unit mode.", &[]),
        _ => return None,
    })
}

/// What the projector of one operator for all samples is applied to.
fn projected(v: &str) -> Option<Sentence> {
    let of = match split(v).0 {
        "optimal" => "the mean of the layers",
        "first" => "the first layer",
        _ => return None,
    };
    Some(say(
        format!("The projector on the selected modes is applied to {of}, stimulus by stimulus."),
        &["kostic2022"],
    ))
}

fn select(v: &str) -> Option<Sentence> {
    Some(match split(v).0 {
        "closest_to_one" => say(
            "The selected mode is the one whose eigenvalue is closest to one; complex pairs count as one unit.",
            &[],
        ),
        "unit_circle" => say(
            "The selected mode is the one whose eigenvalue is closest to the unit circle, rotating modes included.",
            &[],
        ),
        "slowest" => say("The selected mode is the one with the smallest logarithm of its eigenvalue.", &[]),
        "band" => {
            say("All modes within a band of net gain and rotation over the depth are selected together.", &[])
        }
        "decaying_slowest" => say("The selected mode is the slowest of those that do not grow.", &[]),
        "max_energy_in_band" => {
            say("The selected mode is the one of most energy within the stable band.", &[])
        }
        "min_residual" => say("The selected mode is the one of least residual.", &["drmac2018"]),
        _ => return None,
    })
}

fn hrf(v: &str) -> Option<Sentence> {
    Some(match split(v).0 {
        "none" => say("Responses are per stimulus, so no haemodynamic model is applied.", &[]),
        "auto" => say(
            "For time series haemodynamics are modelled by delayed copies of the features (finite impulse response) within each run; for responses per stimulus no haemodynamic model is applied.",
            &[],
        ),
        "fir" => say(
            "Haemodynamics are modelled by delayed copies of the features (finite impulse response) within each run.",
            &[],
        ),
        "spm" => say("Features are convolved with SPM’s canonical haemodynamic response.", &["friston1998"]),
        "glover" => say("Features are convolved with Glover’s haemodynamic response.", &["glover1999"]),
        _ => return None,
    })
}

fn encoder(v: &str) -> Option<Sentence> {
    Some(match split(v).0 {
        "ridge" => say(
            "A ridge regression, with its penalty chosen per ROI by nested cross-validation, predicts responses from the representation (penalty α in ‖Xb − y‖² + α‖b‖²).",
            &["hoerl1970"],
        ),
        "banded" | "banded_ridge" => say(
            "A banded ridge regression predicts responses from the representation and low-level features together; a score is what the representation’s part of the prediction explains beyond the part of the low-level features.",
            &["nunezelizalde2019"],
        ),
        "ols" => say(
            "Ordinary least squares on principal components predicts responses from the representation.",
            &[],
        ),
        _ => return None,
    })
}

fn score(v: &str) -> Option<Sentence> {
    Some(match split(v).0 {
        "r2" => say(
            "The score is r², the squared correlation of held-out prediction and response; its expectation is above zero by chance, and it cannot tell correlation from anti-correlation.",
            &["yan2026"],
        ),
        "signed" => say("The score is r·|r| of held-out prediction and response.", &[]),
        "clipped" => say(
            "The score is r² of held-out prediction and response, with negative correlations counted as zero.",
            &[],
        ),
        "ceil" | "ceiling" => say("The score is r² divided by the squared noise ceiling.", &["schoppe2016"]),
        "debiased" => {
            say("The score is r² less its expectation by chance for the effective number of samples.", &[])
        }
        _ => return None,
    })
}

fn subjects(v: &str) -> Option<Sentence> {
    Some(match split(v).0 {
        "mean_of_scores" | "per_subject" | "each" => {
            say("Models are fitted per subject and scores are averaged.", &[])
        }
        "group_mean" => say("Responses are averaged over subjects before fitting.", &[]),
        _ => return None,
    })
}

fn snci(v: &str) -> Option<Sentence> {
    // Of several kinds the first is the main one.
    let kind = v.split([',', ':']).next().unwrap_or(v).trim();
    let formula = match kind {
        "snr" => "mean over models divided by their standard deviation",
        "bounded" => "mean² / (mean² + variance) over models",
        "snr2" => "mean² / variance over models",
        "snr_c4" => "mean over models divided by their standard deviation, corrected for few models",
        "debiased" => "mean² / (mean² + variance) over models, the mean² less its noise floor",
        "tstat" => "mean over models divided by its standard error",
        "profile" => "mean correlation between the ROI profiles of a modality’s models",
        "profile_icc" => "ICC(3,1) between the ROI profiles of a modality’s models",
        "profile_snr" => {
            "variance over ROIs of the modality’s mean profile divided by the variance between models"
        }
        _ => return None,
    };
    Some(say(
        format!(
            "SNCI of a modality in an ROI is the {formula} ({kind}); the original formula is not public. Its intervals resample model families, not models."
        ),
        &["yan2026"],
    ))
}

/// The delays of a finite impulse response.
fn delays(v: &Value) -> Option<Sentence> {
    let (from, to) = (v.get("from")?.as_f64()?, v.get("to")?.as_f64()?);
    Some(say(format!("Delays of a finite impulse response run from {from} to {to} s."), &[]))
}

fn drift(v: &str) -> Option<Sentence> {
    let parts: Vec<&str> = v.split(':').collect();
    let last = parts.last().copied().unwrap_or_default();
    Some(match parts.first().copied()? {
        "dct" => say(
            format!("Drift slower than {last} Hz is removed from each run of a time series by cosines."),
            &[],
        ),
        "polort" => say(
            format!("Drift is removed from each run of a time series by polynomials up to degree {last}."),
            &[],
        ),
        "none" => say("No drift is removed.", &[]),
        _ => return None,
    })
}

fn penalties(v: &Value) -> Sentence {
    let grid = v.get("grid").unwrap_or(v);
    let number = |key: &str| grid.get(key).and_then(Value::as_f64);
    let tried = match (number("from"), number("to"), number("count")) {
        (Some(from), Some(to), Some(count)) => {
            format!("{count} values from {from:e} to {to:e}, evenly spaced in the logarithm")
        }
        _ => words(v.get("list").unwrap_or(v)),
    };
    say(
        format!("Penalties tried, as multiples of the mean squared singular value of the features: {tried}."),
        &[],
    )
}

fn outer_folds(v: &str) -> String {
    let parts: Vec<&str> = v.split(':').collect();
    let last = parts.last().copied().unwrap_or_default();
    match parts.first().copied().unwrap_or_default() {
        "auto" => "one run at a time where there are several, else one of ten random parts of the stimuli or one of five blocks of a time series".into(),
        "leave_run_out" => "one run at a time".into(),
        "k_fold" => format!("one of {last} random parts of the stimuli at a time"),
        "blocks" => format!("one of {last} contiguous blocks at a time, with purged edges"),
        other => other.replace('_', " "),
    }
}

/// The ceiling that was used, which the tables know where the settings leave it open.
fn ceiling(input: &ReportInput, setting: Option<String>) -> Option<Sentence> {
    let setting = setting?;
    let mut used: Vec<String> = input.distinct("rois", "ceiling_kind");
    used.sort();
    let kinds = if used.is_empty() { vec![setting] } else { used };
    let describe = |kind: &String| match kind.as_str() {
        "none" => "none".to_owned(),
        "isc" => "from correlations between subjects".into(),
        "split_half" => "from split halves of repeats (Spearman–Brown)".into(),
        "explainable_variance" => "from the explainable variance over repeats".into(),
        "signal_power" => "from the signal power over repeats".into(),
        "given" => "given with the ROIs".into(),
        other => other.replace('_', " "),
    };
    let listed: Vec<String> = kinds.iter().map(describe).collect();
    if listed == ["none"] {
        return Some(say("No noise ceiling was estimated.", &[]));
    }
    Some(say(format!("Noise ceiling: {}.", listed.join("; ")), &["sahani2003", "schoppe2016"]))
}

fn coordinates(v: &str) -> String {
    match v {
        "score" => "its scores over ROIs".into(),
        "z" => "its scores over ROIs, z-scored over models".into(),
        "rank" => "the ranks of its scores over ROIs".into(),
        "ceiling" => "its scores over the noise ceilings".into(),
        "response" => "its predicted responses, compared by correlation".into(),
        other => other.replace('_', " "),
    }
}

fn distance(v: &str) -> String {
    match v {
        "euclidean" => "Euclidean, on coordinates z-scored over models".into(),
        "euclidean_raw" => "Euclidean, on the coordinates as they are".into(),
        "correlation" => "one minus the correlation of coordinates".into(),
        "cosine" => "one minus the cosine of coordinates".into(),
        other => other.replace('_', " "),
    }
}

fn exchanged(v: &str) -> String {
    match v {
        "family" => "by families as wholes; where that leaves too few distinct labellings, model by model, and the row of the test says so".into(),
        "strata" => "within benchmarks".into(),
        "free" | "no" => "model by model".into(),
        other => format!("so: {}", other.replace('_', " ")),
    }
}

fn adjustment(v: &str) -> Option<Sentence> {
    let keys: &[&str] = match split(v).0 {
        "max_t" | "maxt" => &["westfall1993", "nichols2002"],
        "bh" | "fdr" => &["benjamini1995"],
        "by" => &["benjamini2001"],
        "holm" => &["holm1979"],
        _ => return None,
    };
    Some(say(format!("p-values are adjusted for multiplicity ({}).", v.replace('_', " ")), keys))
}

/// One sentence per kind of test that stands in `tests`.
fn tests_run(input: &ReportInput) -> Vec<Sentence> {
    let names: Vec<String> = input.distinct("tests", "test").iter().map(|t| t.to_lowercase()).collect();
    let any = |word: &str| names.iter().any(|n| n.contains(word));
    let mut sentences = Vec::new();
    if names.iter().any(|n| n == "permanova") {
        sentences.push(say("Differences between modalities are tested by PERMANOVA.", &["anderson2001"]));
    }
    if any("f2") {
        sentences.push(say("F2 is its variant for groups of unequal spread.", &["anderson2017"]));
    }
    if any("permdisp") {
        sentences.push(say(
            "Spread itself is tested by PERMDISP: where it differs, PERMANOVA is hard to read.",
            &["anderson2006"],
        ));
    }
    if any("silhouette") {
        sentences.push(say("Separation is described by the mean silhouette.", &["rousseeuw1987"]));
    }
    if any("pairwise") {
        sentences
            .push(say("Pairs of modalities are compared afterwards and adjusted together.", &["holm1979"]));
    }
    if any("tukey") {
        sentences.push(say(
            "Mean scores of pairs are also compared by Tukey’s studentised range, which supposes independent normal values.",
            &["tukey1949"],
        ));
    }
    if any("anova") && names.iter().any(|n| n.starts_with("anova")) {
        sentences.push(say("Analysis of variance takes its p-values from permutations.", &["freedman1983"]));
    }
    if any("leave_one_family_out") || any("leave-one-family-out") {
        sentences.push(say(
            "Each model family was left out in turn, to see whether one family carries the result.",
            &[],
        ));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use stereotax_io::Table;

    fn text(settings: Value, preset: &str) -> String {
        let input =
            ReportInput { manifest: json!({ "settings": settings, "preset": preset }), ..Default::default() };
        write(&input).iter().flat_map(|p| &p.sentences).map(|s| s.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_choices_that_were_made_get_a_sentence() {
        let some = text(json!({ "nfas": { "estimator": "tls", "rank": "energy:0.99" } }), "robust");
        assert!(
            some.contains("total least squares") && some.contains("share of 0.99 of the energy"),
            "{some}"
        );
        assert!(!some.contains("ridge") && !some.contains("PERMANOVA"), "{some}");
        assert_eq!(
            text(json!({ "rank": { "energy": 0.99 } }), "robust"),
            text(json!({ "rank": "energy:0.99" }), "robust")
        );
    }

    /// What the robust preset writes into the manifest is said in words, and nothing of it is passed over.
    #[test]
    fn settings_of_a_run_become_sentences() {
        let some = text(
            json!({ "nfas": {
                "hrf": "auto", "delays_s": { "from": 1.5, "to": 9.0 }, "drift": { "dct": { "high_pass_hz": 0.01 } },
                "alphas": { "grid": { "from": 0.001, "to": 1e6, "count": 19 } }, "outer_folds": "auto",
                "fit_on": "train", "snci": ["snr", "debiased"], "restricted": "family", "subjects": "each",
                "estimator": "total_least_squares", "rank": "hard_threshold", "score": "ceiling",
                "embedding": "score", "distance": "euclidean", "ceiling": "auto",
                "controls": { "layer_order": 20 }, "shifts": 1000, "hrf_parity": "nilearn", "drop_padded": true,
                "inner_loss": "correlation", "dispersion_axes": "drop", "dispersion_bias": "small_sample",
                "dispersion_centre": "centroid",
            } }),
            "robust",
        );
        for words in [
            "finite impulse response",
            "from 1.5 to 9 s",
            "slower than 0.01 Hz",
            "19 values from 1e-3 to 1e6",
            "one run at a time where there are several",
            "the layer weights included",
            "mean over models divided by their standard deviation (snr)",
            "by families as wholes",
            "fitted per subject",
            "total least squares",
            "optimal hard threshold",
            "divided by the squared noise ceiling",
            "its scores over ROIs",
            "z-scored over models",
            "Noise ceiling: auto",
            "shuffled 20 times",
            "widened by √2",
            "numerics of nilearn",
            "Samples whose delays reach before their run are left out",
            "the correlation within inner folds",
            "at their centroids",
            "negative eigenvalues are left out",
            "√(n/(n − 1))",
        ] {
            assert!(some.contains(words), "{words}\n{some}");
        }
        assert!(!some.contains('{') && !some.contains("from:"), "{some}");
    }

    #[test]
    fn the_layer_map_is_that_which_was_used() {
        let said = |maps: &[&str]| {
            let models = Table::new().text("layer_map", maps.iter().map(|m| Some(*m)));
            let manifest = json!({ "settings": { "layer_map": "procrustes" } });
            let input = ReportInput { tables: [("models".to_owned(), models)].into(), manifest };
            layer_maps(&input, Some("procrustes".into())).unwrap().text
        };
        assert_eq!(said(&["identity", "none"]), "Layers of equal width are compared unit by unit.");
        assert!(said(&["none"]).starts_with("Layers are brought to common coordinates"));
        let both = said(&["identity", "procrustes", "identity"]);
        assert!(both.contains("unit by unit; where widths differ, layers are brought to"), "{both}");
    }

    #[test]
    fn the_literal_preset_is_a_reconstruction() {
        assert!(
            text(json!({}), "paper_literal")
                .contains("a reconstruction from the published abstract and digests, not a replication")
        );
        assert!(!text(json!({}), "robust").contains("reconstruction"));
    }

    #[test]
    fn every_source_is_in_the_bibliography() {
        let known: Vec<String> = crate::references::all().into_iter().map(|r| r.key).collect();
        let source = include_str!("methods.rs");
        let mut n = 0;
        for list in source.split("&[\"").skip(1) {
            let list = list.split(']').next().unwrap();
            for key in list
                .split('"')
                .map(|k| k.trim_matches([',', ' ']))
                .filter(|k| k.ends_with(|c: char| c.is_ascii_digit()))
            {
                assert!(known.iter().any(|k| k == key), "`{key}` is not in references.bib");
                n += 1;
            }
        }
        assert!(n > 30, "only {n} citations found");
    }

    #[test]
    fn tests_that_ran_are_described() {
        let tests = Table::new().text("test", [Some("permanova"), Some("permdisp")]);
        let input = ReportInput { tables: [("tests".to_owned(), tests)].into(), manifest: json!({}) };
        let all: Vec<String> = write(&input).into_iter().flat_map(|p| p.sentences).map(|s| s.text).collect();
        assert!(all.iter().any(|s| s.contains("PERMDISP")));
        assert!(!all.iter().any(|s| s.contains("silhouette")));
    }
}
