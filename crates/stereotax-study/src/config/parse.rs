//! Turn the text of a study file into a [`Study`], or into everything that is wrong with it.

use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::choices::{ANALYSIS, Analyses, CONTROLS, GATES, NFAS, read_analysis};
use super::encoding::{ENCODING, PARTITION};
use super::reader::{Reader, Sink, StudyErrors, Value};
use super::similarity::SIMILARITY;
use super::study::{
    ActivationSource, Activations, ArraySource, Axis, Benchmark, Blocks, Clock, Model, Nuisance, Pooling,
    Preset, Repeats, RoiSummary, StimulusSet, Study, Subject, Surface, Voxels,
};
use super::words::{AXIS, BLOCKS, HEMISPHERE, POOLING, PRESET, REPEATS, ROI_SUMMARY};
use crate::hints::nearest;

/// Every table of a study file with the keys that it may have; docs/reference/study-file.md lists the
/// same.
pub const KNOWN_KEYS: &[(&str, &[&str])] = &[
    ("top level", TOP),
    ("[study]", STUDY),
    ("[[stimuli]]", STIMULI),
    ("[[brain]]", BRAIN),
    ("subjects", SUBJECT),
    ("surface", SURFACE),
    ("nuisance", NUISANCE),
    ("[[model]]", MODEL),
    ("activations", ACTIVATIONS),
    ("[analysis]", ANALYSIS),
    ("[analysis.nfas]", NFAS),
    ("[analysis.nfas.gates]", GATES),
    ("[analysis.nfas.controls]", CONTROLS),
    ("[analysis.encoding]", ENCODING),
    ("partition", PARTITION),
    ("[analysis.similarity]", SIMILARITY),
];

const TOP: &[&str] = &["study", "stimuli", "brain", "model", "analysis"];
const STUDY: &[&str] = &["name", "seed", "preset", "simulated"];
const STIMULI: &[&str] = &["id", "ids", "blocks", "trim_start_s", "trim_end_s"];
const BRAIN: &[&str] = &[
    "benchmark",
    "stimuli",
    "modality",
    "model_modalities",
    "clock",
    "subjects",
    "rois",
    "times",
    "atlas",
    "surface",
    "volume",
    "by_order",
    "nuisance",
    "voxels",
    "resample_labels",
    "roi_summary",
];
const SUBJECT: &[&str] = &["id", "responses", "key", "ids", "axes", "repeats", "confounds"];
const SURFACE: &[&str] = &["hemisphere", "vertices", "faces", "labels"];
const NUISANCE: &[&str] = &["name", "file", "key"];
const MODEL: &[&str] = &["name", "modality", "family", "trained", "twin_of", "activations"];
const ACTIVATIONS: &[&str] =
    &["file", "folder", "layers", "positions", "stimuli", "ids", "by_order", "pooling", "events"];
const CLOCK: &[&str] = &["tr_s"];
const SOURCE: &[&str] = &["file", "key"];

/// Read a study file.
///
/// `file_name` only appears in messages. Paths in the result are as written: relative ones are meant
/// from the study file's folder. Errors: all problems at once, in the order of their lines.
pub fn parse(text: &str, file_name: &str) -> Result<Study, StudyErrors> {
    let sink = Sink::new(text);
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let offset = error.span().map_or(0, |span| span.start);
        sink.push(offset, format!("not valid TOML: {}", error.message()), None);
    }
    // What the recovery made of a broken file would only add misleading complaints.
    let study = if syntax.is_empty() { Some(read_study(&document, &sink)) } else { None };
    let problems = sink.into_problems();
    match study {
        Some(study) if problems.is_empty() => Ok(study),
        _ => Err(StudyErrors { file: file_name.to_owned(), problems }),
    }
}

fn read_study<'a>(document: &'a Spanned<DeTable<'a>>, sink: &'a Sink<'a>) -> Study {
    let top = Reader::new(document.get_ref(), 0, "the top level".into(), TOP, sink);

    let head = top.required("study", "[study]").and_then(|v| v.table("[study]", STUDY));
    let mut name = String::new();
    let mut seed = 0;
    let mut preset = Preset::Robust;
    let mut simulated = None;
    if let Some(head) = &head {
        name = head.text("name", "name = \"my-study\"");
        seed = head.get("seed").and_then(|v| v.count(0, i64::MAX as u64)).unwrap_or(0);
        head.form("preset", &mut preset, PRESET);
        simulated = head.get("simulated").and_then(|v| v.text());
    }

    let stimuli = read_stimuli(&top);
    let stimulus_ids: Vec<&str> = stimuli.iter().map(|s| s.id.as_str()).collect();
    let brain = read_brain(&top, &stimuli, &stimulus_ids);
    let models = read_models(&top, &stimulus_ids);
    let Analyses { nfas, wants_nfas, encoding, similarity } = read_analysis(&top, preset, &brain, &models);
    Study {
        name,
        seed,
        preset,
        simulated,
        stimuli,
        brain,
        models,
        analysis: nfas,
        wants_nfas,
        encoding,
        similarity,
    }
}

fn read_stimuli(top: &Reader<'_>) -> Vec<StimulusSet> {
    let Some(value) = top.required("stimuli", "[[stimuli]]") else { return Vec::new() };
    let mut sets: Vec<StimulusSet> = Vec::new();
    for table in value.tables("[[stimuli]]", STIMULI) {
        let id = table.text("id", "id = \"clips\"");
        refuse_duplicate(&table, "id", &id, sets.iter().map(|s| s.id.as_str()), "stimulus set");
        let ids = path(&table, "ids", "ids = \"stimuli.csv\"");
        let mut blocks = Blocks::Stimulus;
        table.form("blocks", &mut blocks, BLOCKS);
        let (mut trim_start_s, mut trim_end_s) = (0.0, 0.0);
        let seconds = "a number of seconds from 0 to 3600";
        table.number("trim_start_s", &mut trim_start_s, 0.0, 3600.0, seconds);
        table.number("trim_end_s", &mut trim_end_s, 0.0, 3600.0, seconds);
        sets.push(StimulusSet { id, ids, blocks, trim_start_s, trim_end_s });
    }
    sets
}

fn read_brain(top: &Reader<'_>, stimuli: &[StimulusSet], stimulus_ids: &[&str]) -> Vec<Benchmark> {
    let Some(value) = top.required("brain", "[[brain]]") else { return Vec::new() };
    let mut benchmarks: Vec<Benchmark> = Vec::new();
    for table in value.tables("[[brain]]", BRAIN) {
        let id = table.text("benchmark", "benchmark = \"my-scans\"");
        refuse_duplicate(&table, "benchmark", &id, benchmarks.iter().map(|b| b.id.as_str()), "benchmark");
        let set = table.text("stimuli", "stimuli = \"clips\"");
        refuse_unknown(&table, "stimuli", &set, stimulus_ids, "stimulus set");
        let clock = read_clock(&table);
        let blocks = stimuli.iter().find(|s| s.id == set).map(|s| s.blocks);
        if matches!(clock, Clock::Tr { .. }) && blocks == Some(Blocks::Stimulus) {
            table.problem(
                "clock",
                format!(
                    "`clock` says that the rows are a time series, but stimulus set `{set}` is resampled \
                     stimulus by stimulus"
                ),
                "set `blocks = \"run\"` or `blocks = \"segment:20s\"` in that [[stimuli]] table",
            );
        }
        let mut by_order = false;
        table.flag("by_order", &mut by_order);
        let times = table.get("times").and_then(|v| source(&v));
        let subjects = read_subjects(&table, by_order, clock, times.is_some());
        let voxels = read_voxels(&table);
        if times.is_some() && (clock != Clock::Stimulus || voxels != Voxels::No) {
            table.problem(
                "times",
                "`times` goes with the responses of channels to single stimuli".into(),
                "leave out `clock` and `voxels`, or average the responses over time",
            );
        }
        let mut roi_summary = RoiSummary::Mean;
        table.form("roi_summary", &mut roi_summary, ROI_SUMMARY);
        if roi_summary == RoiSummary::FirstPc && !matches!(voxels, Voxels::Labels(_)) {
            table.problem(
                "roi_summary",
                "`roi_summary = \"first_pc\"` needs voxels and their labels".into(),
                "say `voxels = \"labels.csv\"`, or leave `roi_summary` out",
            );
        }
        let mut resample_labels = false;
        table.flag("resample_labels", &mut resample_labels);
        let nuisance = read_nuisance(&table);
        benchmarks.push(Benchmark {
            id,
            stimuli: set,
            modality: table.text("modality", "modality = \"auditory\""),
            model_modalities: table.get("model_modalities").and_then(|v| v.texts()).unwrap_or_default(),
            clock,
            subjects,
            rois: table.get("rois").and_then(|v| source(&v)),
            times,
            atlas: table.get("atlas").and_then(|v| v.text()),
            surface: read_surface(&table),
            volume: table.get("volume").and_then(|v| v.path()),
            by_order,
            nuisance,
            voxels,
            roi_summary,
            resample_labels,
        });
    }
    benchmarks
}

fn read_clock(table: &Reader<'_>) -> Clock {
    let Some(value) = table.get("clock") else { return Clock::Stimulus };
    let expected = "`\"stimulus\"` or `{ tr_s = 1.5 }`";
    match value.value.get_ref() {
        DeValue::String(text) if text == "stimulus" => Clock::Stimulus,
        DeValue::Table(_) => {
            let tr = value.table("clock", CLOCK).and_then(|clock| clock.required("tr_s", "tr_s = 1.5"));
            let tr = tr.and_then(|v| v.number(0.01, 60.0, "a number of seconds from 0.01 to 60"));
            Clock::Tr { tr_s: tr.unwrap_or(1.0) }
        }
        _ => value.wrong(expected, None).unwrap_or(Clock::Stimulus),
    }
}

fn read_subjects(benchmark: &Reader<'_>, by_order: bool, clock: Clock, timed: bool) -> Vec<Subject> {
    let example = "subjects = [{ id = \"s1\", responses = \"s1.npy\" }]";
    let Some(value) = benchmark.required("subjects", example) else { return Vec::new() };
    let mut subjects: Vec<Subject> = Vec::new();
    for table in value.tables("subjects", SUBJECT) {
        let id = table.text("id", "id = \"s1\"");
        refuse_duplicate(&table, "id", &id, subjects.iter().map(|s| s.id.as_str()), "subject");
        let axes = read_axes(&table, timed);
        if axes.contains(&Axis::Time) != timed {
            table.problem(
                "axes",
                "the axis `time` of a subject and `times` of its benchmark go together".into(),
                "say `axes = [\"stimulus\", \"target\", \"time\"]` here and `times = \"times.npy\"` there",
            );
        }
        let has_axis = axes.contains(&Axis::Repeat);
        let mut repeats = if has_axis { Repeats::Axis } else { Repeats::None };
        if let Some(found) = table.get("repeats") {
            repeats = read_repeats(&found).unwrap_or(repeats);
            if (repeats == Repeats::Axis) != has_axis {
                table.problem(
                    "repeats",
                    "`repeats` and `axes` in subjects contradict each other".into(),
                    "`repeats = \"axis\"` goes with `axes = [\"stimulus\", \"target\", \"repeat\"]`",
                );
            }
        }
        let ids = table.get("ids").and_then(|v| source(&v));
        refuse_order_and_ids(&table, by_order, ids.is_some());
        let confounds = table.get("confounds").and_then(|v| source(&v));
        if confounds.is_some() && (clock == Clock::Stimulus || repeats != Repeats::None) {
            table.problem(
                "confounds",
                "`confounds` are taken out of the runs of a time series without repeats".into(),
                "take them out of the responses beforehand, or give one series per subject with \
                 `clock = { tr_s = … }`",
            );
        }
        let (responses, further) = read_files(&table);
        subjects.push(Subject {
            id,
            responses,
            further,
            key: table.get("key").and_then(|v| v.text()),
            ids,
            axes,
            repeats,
            confounds,
        });
    }
    subjects
}

/// One file, or one per run.
fn read_files(subject: &Reader<'_>) -> (PathBuf, Vec<PathBuf>) {
    let Some(value) = subject.required("responses", "responses = \"s1.npy\"") else {
        return (PathBuf::new(), Vec::new());
    };
    if !matches!(value.value.get_ref(), DeValue::Array(_)) {
        return (value.path().unwrap_or_default(), Vec::new());
    }
    let mut files = value.texts().unwrap_or_default().into_iter().map(PathBuf::from);
    match files.next() {
        Some(first) => (first, files.collect()),
        None => {
            value.wrong::<()>("a file, or the files of all runs in order of time", None);
            (PathBuf::new(), Vec::new())
        }
    }
}

fn read_axes(subject: &Reader<'_>, timed: bool) -> Vec<Axis> {
    let mut default = vec![Axis::Stimulus, Axis::Target];
    if timed {
        default.push(Axis::Time);
    }
    let Some(value) = subject.get("axes") else { return default };
    let Some(items) = value.items() else { return default };
    let Some(axes) = items.iter().map(|item| item.form(AXIS)).collect::<Option<Vec<_>>>() else {
        return default;
    };
    let count = |axis| axes.iter().filter(|found| **found == axis).count();
    let most = [Axis::Target, Axis::Repeat, Axis::Time].map(count).into_iter().max();
    if count(Axis::Stimulus) != 1 || most > Some(1) {
        value.wrong::<()>("`stimulus` once and `target`, `repeat` and `time` at most once each", None);
        return default;
    }
    axes
}

fn read_repeats(value: &Value<'_>) -> Option<Repeats> {
    if let DeValue::String(text) = value.value.get_ref()
        && let Some(key) = text.strip_prefix("key:")
    {
        return match key.trim() {
            "" => value.wrong("`key:` followed by the name of an array", None),
            key => Some(Repeats::Key { key: key.to_owned() }),
        };
    }
    value.form(REPEATS)
}

fn read_surface(benchmark: &Reader<'_>) -> Vec<Surface> {
    let Some(value) = benchmark.get("surface") else { return Vec::new() };
    let mut surfaces: Vec<Surface> = Vec::new();
    for table in value.tables("surface", SURFACE) {
        let hemisphere = table.get("hemisphere").and_then(|v| v.form(HEMISPHERE));
        if surfaces.iter().any(|s| s.hemisphere == hemisphere || s.hemisphere.is_none()) {
            table.problem(
                "hemisphere",
                "two surfaces show the same hemisphere".into(),
                "give one `left` and one `right`, or a single mesh without `hemisphere`",
            );
        }
        surfaces.push(Surface {
            hemisphere,
            vertices: path(&table, "vertices", "vertices = \"vertices.npy\""),
            faces: table.get("faces").and_then(|v| v.path()),
            labels: path(&table, "labels", "labels = \"labels.npy\""),
        });
    }
    surfaces
}

fn read_nuisance(benchmark: &Reader<'_>) -> Vec<Nuisance> {
    let Some(value) = benchmark.get("nuisance") else { return Vec::new() };
    let mut sets: Vec<Nuisance> = Vec::new();
    for table in value.tables("nuisance", NUISANCE) {
        let name = table.text("name", "name = \"loudness\"");
        refuse_duplicate(&table, "name", &name, sets.iter().map(|s| s.name.as_str()), "nuisance set");
        sets.push(Nuisance {
            name,
            file: path(&table, "file", "file = \"loudness.npy\""),
            key: table.get("key").and_then(|v| v.text()),
        });
    }
    sets
}

fn read_voxels(benchmark: &Reader<'_>) -> Voxels {
    let Some(value) = benchmark.get("voxels") else { return Voxels::No };
    match value.value.get_ref() {
        DeValue::Boolean(true) => Voxels::Each,
        DeValue::Boolean(false) => Voxels::No,
        DeValue::String(_) | DeValue::Table(_) => source(&value).map_or(Voxels::No, Voxels::Labels),
        _ => value.wrong("`true`, `false` or the labels of the voxels", None).unwrap_or(Voxels::No),
    }
}

fn read_models(top: &Reader<'_>, stimulus_ids: &[&str]) -> Vec<Model> {
    let Some(value) = top.required("model", "[[model]]") else { return Vec::new() };
    let tables = value.tables("[[model]]", MODEL);
    let mut models: Vec<Model> = Vec::new();
    for table in &tables {
        let name = table.text("name", "name = \"resnet50\"");
        refuse_duplicate(table, "name", &name, models.iter().map(|m| m.name.as_str()), "model");
        let mut trained = true;
        table.flag("trained", &mut trained);
        let twin =
            table.get("twin_of").filter(|v| !matches!(v.value.get_ref(), DeValue::String(s) if s.is_empty()));
        models.push(Model {
            name,
            modality: table.text("modality", "modality = \"vision\""),
            family: table.text("family", "family = \"resnet\""),
            trained,
            twin_of: twin.and_then(|v| v.text()),
            activations: read_activations(table, stimulus_ids),
        });
    }
    for (table, model) in tables.iter().zip(&models) {
        check_twin(table, model, &models);
    }
    models
}

fn check_twin(table: &Reader<'_>, model: &Model, models: &[Model]) {
    let Some(twin) = &model.twin_of else { return };
    let names: Vec<&str> =
        models.iter().map(|m| m.name.as_str()).filter(|name| *name != model.name).collect();
    refuse_unknown(table, "twin_of", twin, &names, "other model");
    if model.trained {
        table.problem(
            "twin_of",
            format!("model `{}` is the untrained twin of `{twin}`, but `trained` is not false", model.name),
            "add `trained = false`",
        );
    }
    if models.iter().any(|m| m.name == *twin && m.name != model.name && !m.trained) {
        let message = format!("`twin_of` names `{twin}`, which is not trained either");
        table.problem("twin_of", message, "name the trained model");
    }
}

fn read_activations(model: &Reader<'_>, stimulus_ids: &[&str]) -> Vec<Activations> {
    let example = "activations = { file = \"resnet50.npz\", layers = [\"layer1\"], stimuli = \"clips\" }";
    let Some(value) = model.required("activations", example) else { return Vec::new() };
    let mut all: Vec<Activations> = Vec::new();
    for table in value.tables("activations", ACTIVATIONS) {
        let file = table.get("file").and_then(|v| v.path());
        let folder = table.get("folder").and_then(|v| v.path());
        if table.get("file").is_some() == table.get("folder").is_some() {
            table.problem(
                "folder",
                "activations need either `file` or `folder`".into(),
                "`file` holds one array per layer; `folder` holds one file per layer",
            );
        }
        let source_path = match (file, folder) {
            (_, Some(folder)) => ActivationSource::Folder(folder),
            (file, None) => ActivationSource::File(file.unwrap_or_default()),
        };
        let layers = table
            .required("layers", "layers = [\"layer1\", \"layer2\"]")
            .and_then(|v| v.texts())
            .unwrap_or_default();
        let stimuli = table.text("stimuli", "stimuli = \"clips\"");
        refuse_unknown(&table, "stimuli", &stimuli, stimulus_ids, "stimulus set");
        refuse_duplicate(
            &table,
            "stimuli",
            &stimuli,
            all.iter().map(|a| a.stimuli.as_str()),
            "entry of this model for stimulus set",
        );
        let mut by_order = false;
        table.flag("by_order", &mut by_order);
        let ids = table.get("ids").and_then(|v| source(&v));
        refuse_order_and_ids(&table, by_order, ids.is_some());
        let mut pooling = Pooling::Mean;
        table.form("pooling", &mut pooling, POOLING);
        all.push(Activations {
            source: source_path,
            positions: read_positions(&table, layers.len()),
            layers,
            stimuli,
            ids,
            by_order,
            pooling,
            events: table.get("events").and_then(|v| v.path()),
        });
    }
    all
}

fn read_positions(table: &Reader<'_>, n_layers: usize) -> Option<Vec<f64>> {
    let value = table.get("positions")?;
    let positions = read_numbers(&value, f64::MIN, "a finite number")?;
    if positions.len() != n_layers || positions.windows(2).any(|w| w[0] >= w[1]) {
        return value.wrong(&format!("one ascending number per layer ({n_layers})"), None);
    }
    Some(positions)
}

pub(super) fn read_numbers(value: &Value<'_>, least: f64, expected: &str) -> Option<Vec<f64>> {
    value.items()?.iter().map(|item| item.number(least, f64::MAX, expected)).collect()
}

fn path(table: &Reader<'_>, key: &str, example: &str) -> PathBuf {
    table.required(key, example).and_then(|v| v.path()).unwrap_or_default()
}

/// `"rois.csv"` is a file, `"roi_names"` an array in the data's own file; a table says it outright.
fn source(value: &Value<'_>) -> Option<ArraySource> {
    if let DeValue::Table(_) = value.value.get_ref() {
        let table = value.table(&value.name, SOURCE)?;
        let file = table.get("file").map(|v| v.path());
        let key = table.get("key").map(|v| v.text());
        return match (file, key) {
            (Some(file), key) => Some(ArraySource::File { file: file?, key: key.flatten() }),
            (None, Some(key)) => Some(ArraySource::Key { key: key? }),
            (None, None) => value.wrong("a table with `file`, `key` or both", None),
        };
    }
    let text = value.text()?;
    const SUFFIXES: [&str; 9] =
        [".csv", ".tsv", ".txt", ".npy", ".npz", ".h5", ".hdf5", ".parquet", ".safetensors"];
    let lower = text.to_lowercase();
    Some(if SUFFIXES.iter().any(|suffix| lower.ends_with(suffix)) {
        ArraySource::File { file: PathBuf::from(text), key: None }
    } else {
        ArraySource::Key { key: text }
    })
}

fn refuse_duplicate<'s>(
    table: &Reader<'_>,
    key: &str,
    name: &str,
    mut before: impl Iterator<Item = &'s str>,
    what: &str,
) {
    if !name.is_empty() && before.any(|other| other == name) {
        let message = format!("there is a second {what} `{name}`");
        table.problem(key, message, "results are told apart by this name: give each its own");
    }
}

fn refuse_unknown(table: &Reader<'_>, key: &str, name: &str, known: &[&str], what: &str) {
    if name.is_empty() || known.contains(&name) {
        return;
    }
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("no {what} is declared"),
        None => format!("declared: {}", known.join(", ")),
    };
    table.problem(key, format!("`{key}` names `{name}`, but there is no such {what}"), &hint);
}

fn refuse_order_and_ids(table: &Reader<'_>, by_order: bool, has_ids: bool) {
    if by_order && has_ids {
        table.problem(
            "ids",
            "`ids` contradicts `by_order = true`: rows are matched either by id or by order".into(),
            "drop `by_order`; matching by id is the safer one",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::*;
    use stereotax::dynamics::{Amplitude, Estimator, RankRule, Selection};

    const BASE: &str = r#"[study]
name = "natural-sounds"
seed = 7
preset = "robust"

[[stimuli]]
id = "sounds165"
ids = "stimuli.csv"

[[brain]]
benchmark = "norman-haignere"
stimuli = "sounds165"
modality = "auditory"
subjects = [ { id = "group", responses = "responses.npz", key = "response" } ]
rois = "rois.csv"

[[model]]
name = "silero-vad"
modality = "audio"
family = "silero"
activations = { file = "silero.npz", layers = ["conv1", "lstm"], stimuli = "sounds165" }

[analysis.nfas]
"#;

    fn told(text: &str) -> String {
        parse(text, "study.toml").expect_err("a wrong study").to_string()
    }

    fn settings(lines: &str) -> NfasSettings {
        parse(&format!("{BASE}{lines}"), "study.toml").unwrap_or_else(|e| panic!("{e}")).analysis
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        assert_eq!(
            told(&format!("{BASE}estimater = \"standard\"\n")),
            "error: study.toml:24:1: unknown key `estimater` in [analysis.nfas]\n  \
             | estimater = \"standard\"\nhint: did you mean `estimator`?"
        );
    }

    #[test]
    fn an_unknown_word_lists_the_choices() {
        assert_eq!(
            told(&format!("{BASE}scale = \"frobenus\"")),
            "error: study.toml:24:9: `scale` in [analysis.nfas] is `\"frobenus\"`, but one of `frobenius`, \
             `none`, `pair`, `unit_sample` expected\n  | scale = \"frobenus\"\nhint: did you mean \
             `\"frobenius\"`?"
        );
    }

    #[test]
    fn numbers_after_a_colon_are_checked() {
        assert_eq!(
            told(&format!("{BASE}rank = \"energy:1.5\"")),
            "error: study.toml:24:8: `rank` in [analysis.nfas] is `\"energy:1.5\"`, but a share above 0 and at \
             most 1, as in `energy:0.99`, expected\n  | rank = \"energy:1.5\""
        );
        for wrong in [
            "rank = \"fixed\"",
            "rank = \"fixed:2.5\"",
            "rank = \"fixed:0\"",
            "rank = \"full:3\"",
            "rank = \"energy:NaN\"",
        ] {
            assert!(told(&format!("{BASE}{wrong}")).contains("24:8"), "{wrong}");
        }
        assert_eq!(settings("rank = \"fixed:4\"").rank, RankRule::Fixed(4));
        assert_eq!(settings("estimator = \"hankel:3\"").estimator, Estimator::Hankel { delays: 3 });
        assert_eq!(settings("estimator = \"bagged\"").estimator, Estimator::Bagged { n_bags: 100 });
        assert_eq!(settings("select = \"band:2\"").select, Selection::Band { gain: 2.0 });
        assert_eq!(settings("drift = \"polort:2\"").drift, Drift::Polort { degree: 2 });
    }

    #[test]
    fn short_names_are_stored_as_the_long_words() {
        for (short, long) in [
            ("tls", "total_least_squares"),
            ("fb", "forward_backward"),
            ("opt", "optimised"),
            ("bop", "bagged"),
            ("bop:40", "bagged:40"),
        ] {
            let estimator = |word: &str| settings(&format!("estimator = \"{word}\"")).estimator;
            assert_eq!(estimator(short), estimator(long), "{short}");
        }
        let pooled = settings("trajectory = \"pooled\"\nestimator = \"rrr:1e-3\"");
        assert_eq!(pooled.estimator, Estimator::ReducedRank { ridge: 1e-3 });
        assert_eq!(settings("rank = \"svht\"").rank, RankRule::HardThreshold);
        assert_eq!(settings("estimator = \"segments:3\"").estimator, Estimator::Segments { n_segments: 3 });
        assert!(told(&format!("{BASE}estimator = \"segments\"")).contains("as in `segments:3`"));
        assert!(told(&format!("{BASE}estimator = \"tls:3\"")).contains("without a number"));
    }

    #[test]
    fn trajectories_of_samples_refuse_what_belongs_to_the_stacked_one() {
        for (lines, words) in [
            ("trajectory = \"sample\"\nestimator = \"tls\"", "the standard estimator only"),
            ("trajectory = \"pooled\"\nestimator = \"fb\"", "total least squares or reduced rank"),
            ("trajectory = \"pooled\"\nestimator = \"segments:3\"", "total least squares or reduced rank"),
            ("trajectory = \"sample\"\nrank = \"svht\"", "a share of energy, fixed or full"),
            ("trajectory = \"pooled\"\nscale = \"pair\"", "in the stacked trajectory only"),
            ("trajectory = \"pooled\"\nmodes = \"exact\"", "exact modes belong"),
            ("trajectory = \"sample\"\ntikhonov = 0.1", "the Tikhonov term belongs"),
            ("trajectory = \"pooled\"\namplitude = \"mode_only\"", "the mean of the layers"),
            ("trajectory = \"pooled\"\namplitude = \"modulus\"", "offered per sample only"),
            ("trajectory = \"sample\"\nlayer_map = \"kernel\"", "no single samples"),
        ] {
            let message = told(&format!("{BASE}{lines}"));
            assert!(message.contains(words) && message.contains("hint: "), "{lines}: {message}");
        }
        let sample = settings("trajectory = \"sample\"\namplitude = \"modulus\"\nrank = \"fixed:2\"");
        assert_eq!((sample.trajectory, sample.amplitude), (Trajectory::Sample, Amplitude::Modulus));
        assert_eq!(settings("trajectory = \"pooled\"\nrank = \"full\"").trajectory, Trajectory::Pooled);
    }

    #[test]
    fn the_pooled_trajectory_takes_total_least_squares_unless_told() {
        assert_eq!(settings("trajectory = \"pooled\"").estimator, Estimator::TotalLeastSquares);
        let told = settings("trajectory = \"pooled\"\nestimator = \"standard\"");
        assert_eq!(told.estimator, Estimator::Standard);
        assert_eq!(settings("trajectory = \"sample\"").estimator, Estimator::Standard);
    }

    #[test]
    fn choices_of_numerics_are_read_and_kept_where_they_belong() {
        let found = settings(
            "hrf = \"glover\"\nhrf_parity = \"nilearn\"\ninner_loss = \"correlation\"\n\
             eligible_energy = 0.05\nmax_gain = 20\ndispersion_axes = \"drop\"\n\
             dispersion_bias = \"small_sample\"\nlanczos_weights = \"raw\"",
        );
        assert_eq!((found.hrf_parity, found.inner_loss), (HrfParity::Nilearn, InnerLoss::Correlation));
        assert_eq!((found.eligible_energy, found.max_gain), (0.05, 20.0));
        let dispersion = (found.dispersion_axes, found.dispersion_bias);
        assert_eq!(dispersion, (DispersionAxes::Drop, DispersionBias::SmallSample));
        assert_eq!(found.lanczos_weights, LanczosWeights::Raw);
        assert!(settings("drop_padded = true").drop_padded);
        for (lines, words) in [
            ("hrf_parity = \"nilearn\"", "those of a convolved response"),
            ("drop_padded = true\nhrf = \"spm\"", "only delays are padded"),
            ("lanczos_weights = \"raw\"\nresample = \"box\"", "box averages have no such weights"),
            ("inner_loss = \"r2\"", "one of `squared_error`, `correlation` expected"),
            ("dispersion_axes = \"keep\"", "`subtract`, `drop`"),
            ("dispersion_bias = true", "`small_sample`"),
            ("eligible_energy = 1.5", "a share from 0 to 1"),
            ("max_gain = 0.5", "a factor from 1.01 to 1e12"),
        ] {
            let message = told(&format!("{BASE}{lines}"));
            assert!(message.contains(words), "{lines}: {message}");
        }
    }

    #[test]
    fn centring_over_depth_is_refused_with_the_reason() {
        let message = told(&format!("{BASE}centring = \"depth\""));
        assert!(message.contains("study.toml:24:12: `centring = \"depth\"` is refused"), "{message}");
        assert!(message.contains("discrete Fourier transform"), "{message}");
        assert!(message.ends_with("hint: use `centring = \"stimuli\"`"), "{message}");
    }

    #[test]
    fn all_problems_are_told_in_the_order_of_lines() {
        let text = BASE
            .replace("seed = 7", "seed = -7")
            .replace("modality = \"audio\"\n", "")
            .replace("stimuli = \"sounds165\"\nmodality", "stimuli = \"sounds156\"\nmodality");
        let errors = parse(&text, "s.toml").expect_err("three mistakes");
        let found: Vec<(usize, usize, &str)> =
            errors.problems.iter().map(|p| (p.line, p.column, p.message.as_str())).collect();
        assert_eq!(
            found,
            [
                (
                    3,
                    8,
                    "`seed` in [study] is `-7`, but a whole number from 0 to 9223372036854775807 expected"
                ),
                (12, 11, "`stimuli` names `sounds156`, but there is no such stimulus set"),
                (17, 1, "`modality` is missing in [[model]]"),
            ]
        );
        assert_eq!(errors.problems[1].hint.as_deref(), Some("did you mean `sounds165`?"));
    }

    #[test]
    fn names_are_unique() {
        let model = "[[model]]\nname = \"silero-vad\"\nmodality = \"audio\"\nfamily = \"f\"\n\
                     activations = { folder = \"f\", layers = [\"a\"], stimuli = \"sounds165\" }\n";
        let message = told(&format!("{BASE}\n{model}"));
        assert!(
            message.starts_with("error: study.toml:26:8: there is a second model `silero-vad`\n"),
            "{message}"
        );
        let twice = BASE.replace("\"conv1\", \"lstm\"", "\"lstm\", \"lstm\"");
        assert!(told(&twice).contains("`layers` in activations names `lstm` twice"));
        let subjects = BASE
            .replace("key = \"response\" }", "key = \"response\" }, { id = \"group\", responses = \"b\" }");
        assert!(told(&subjects).contains("there is a second subject `group`"));
    }

    #[test]
    fn choices_alone_are_read_as_in_a_study() {
        let text = "estimator = \"bagged:7\"\ngates = { max_residual = 0.4 }\nsnci = [\"profile\"]";
        let found = parse_choices(text, "NFAS", false).unwrap();
        assert_eq!(found, settings(text));
        assert_eq!(parse_choices("", "NFAS", false).unwrap(), NfasSettings::default());
        for (wrong, told) in [
            ("estimater = \"standard\"", "unknown key `estimater` in NFAS"),
            ("rank = \"energy:2\"", "`rank` in NFAS is `\"energy:2\"`"),
            ("gates = { max_residual = -1 }", "`max_residual` in NFAS is `-1`"),
            ("encoder = \"banded\"", "needs nuisance features"),
            ("rank =", "not valid TOML"),
        ] {
            let refused = parse_choices(wrong, "NFAS", false).unwrap_err().to_string();
            assert!(refused.contains(told), "{refused}");
        }
        assert!(parse_choices("encoder = \"banded\"", "NFAS", true).is_ok());
    }

    #[test]
    fn twins_must_make_sense() {
        let own = BASE
            .replace("family = \"silero\"", "family = \"silero\"\ntwin_of = \"silero-vad\"\ntrained = false");
        assert!(told(&own).contains("21:11: `twin_of` names `silero-vad`, but there is no such other model"));
        let untold = BASE.replace("family = \"silero\"", "family = \"silero\"\ntwin_of = \"x\"");
        assert!(told(&untold).contains("but `trained` is not false"));
    }

    #[test]
    fn contradictions_say_where_the_other_side_comes_from() {
        let text = format!("{BASE}score = \"ceiling\"").replace("\"robust\"", "\"paper_literal\"");
        assert_eq!(
            told(&text),
            "error: study.toml:24:9: `score` contradicts `ceiling` (from preset `paper_literal`): a score over \
             the ceiling needs a ceiling\n  | score = \"ceiling\"\nhint: set `ceiling = \"auto\"`, or `score = \
             \"debiased\"`"
        );
        assert!(told(&format!("{BASE}encoder = \"banded\"")).contains("needs nuisance features"));
    }

    #[test]
    fn a_time_series_is_not_resampled_point_by_point() {
        let tr = BASE.replace("rois =", "clock = { tr_s = 1.5 }\nrois =");
        assert!(told(&tr).contains("15:9: `clock` says that the rows are a time series"));
        let blocks = tr.replace("ids = \"stimuli.csv\"", "ids = \"stimuli.csv\"\nblocks = \"segment:20s\"");
        let study = parse(&blocks, "s").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(study.brain[0].clock, Clock::Tr { tr_s: 1.5 });
        assert_eq!(study.stimuli[0].blocks, Blocks::Segment { seconds: 20.0 });
    }

    #[test]
    fn broken_toml_is_told_with_its_line() {
        let message = told("[study]\nname = \"a\nseed = 1\n");
        assert!(message.starts_with("error: study.toml:2:"), "{message}");
        assert!(message.contains("not valid TOML"), "{message}");
        assert!(told("").contains("`study` is missing in the top level"));
    }

    #[test]
    fn a_simulation_says_what_is_simulated() {
        assert_eq!(parse(BASE, "s").unwrap_or_else(|e| panic!("{e}")).simulated, None);
        let told_so = BASE.replace("seed = 7", "seed = 7\nsimulated = \"a toy cortex\"");
        let study = parse(&told_so, "s").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(study.simulated.as_deref(), Some("a toy cortex"));
        assert!(told(&told_so.replace("\"a toy cortex\"", "true")).contains("a text in quotes"));
    }

    #[test]
    fn presets_give_defaults_and_choices_override_them() {
        assert_eq!(settings(""), Preset::Robust.settings());
        let literal = BASE.replace("\"robust\"", "\"paper_literal\"") + "permutations = 999\n";
        let found = parse(&literal, "s").unwrap_or_else(|e| panic!("{e}")).analysis;
        assert_eq!(found, NfasSettings { permutations: 999, ..Preset::PaperLiteral.settings() });
        assert_eq!((found.score, found.scale, found.layer_map), (Score::R2, Scale::None, LayerMap::Pca));
        assert!(Preset::PaperLiteral.caveat().is_some_and(|text| text.contains("not a replication")));
    }

    #[test]
    fn the_default_penalties_are_half_decades() {
        let values = settings("").alphas.values();
        assert_eq!(values.len(), 19);
        assert!((values[0] / 1e-3 - 1.0).abs() < 1e-12 && (values[18] / 1e6 - 1.0).abs() < 1e-12);
        assert!((values[7] / 10f64.sqrt() - 1.0).abs() < 1e-12);
        assert_eq!(settings("alphas = [10, 1.0, 10]").alphas.values(), [1.0, 10.0]);
    }

    #[test]
    fn cleaning_belongs_to_time_series_and_voxels() {
        let with = |brain: &str| BASE.replace("rois =", &format!("{brain}\nrois ="));
        for (brain, told_so) in [
            ("roi_summary = \"first_pc\"", "needs voxels and their labels"),
            ("roi_summary = \"median\"", "`first_pc`"),
        ] {
            assert!(told(&with(brain)).contains(told_so), "{}", told(&with(brain)));
        }
        let confounds = BASE.replace("key = \"response\" }", "key = \"response\", confounds = \"c.csv\" }");
        assert!(told(&confounds).contains("without repeats"), "{}", told(&confounds));
        let series =
            confounds.replace("ids = \"stimuli.csv\"", "ids = \"stimuli.csv\"\nblocks = \"run\"").replace(
                "rois =",
                "clock = { tr_s = 2 }\nvoxels = \"l.csv\"\nroi_summary = \"first_pc\"\nrois =",
            );
        let brain = parse(&series, "s").unwrap_or_else(|e| panic!("{e}")).brain.remove(0);
        assert_eq!(brain.roi_summary, RoiSummary::FirstPc);
        let file = ArraySource::File { file: "c.csv".into(), key: None };
        assert_eq!(brain.subjects[0].confounds, Some(file));
    }

    #[test]
    fn sources_are_files_or_keys() {
        let key =
            |text: &str| parse(&BASE.replace("\"rois.csv\"", text), "s").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(key("\"names\"").brain[0].rois, Some(ArraySource::Key { key: "names".into() }));
        let both = ArraySource::File { file: "a.npz".into(), key: Some("names".into()) };
        assert_eq!(key("{ file = \"a.npz\", key = \"names\" }").brain[0].rois, Some(both));
    }

    #[test]
    fn the_json_of_settings_is_frozen_and_goes_round() {
        let study = parse(BASE, "s").unwrap_or_else(|e| panic!("{e}"));
        let json = serde_json::to_string(&study).expect("serialises");
        assert_eq!(serde_json::from_str::<Study>(&json).expect("reads"), study);
        // Node keys hash this text: a change here makes every stored result a different one.
        assert_eq!(serde_json::to_string(&study.analysis).expect("serialises"), GOLDEN);
    }

    const GOLDEN: &str = concat!(
        r#"{"trajectory":"stacked","layer_map":"procrustes","max_width":256,"align_all":false,"centri"#,
        r#"ng":"stimuli","reduction":"auto","scale":"frobenius","estimator":"standard","rank":{"energy":0.99},"modes":"p"#,
        r#"rojected","amplitude":"optimal","tikhonov":0.0,"select":"closest_to_one","eligible_energy":0.01,"max_gain":1000.0,"gates":{"action""#,
        r#":"exclude","min_energy":0.1,"max_residual":0.5,"warn_residual":0.3,"max_depth_gain":2.0,""#,
        r#"max_depth_rotation_deg":45.0,"min_fold_correlation":0.95},"fit_on":"train","clock":"tr","resample":"auto","lanczos_weights":"auto","h"#,
        r#"rf":"auto","hrf_parity":"none","delays_s":{"from":1.5,"to":9.0},"drop_padded":false,"derivatives":"none","drift":{"dct":{"high_pas"#,
        r#"s_hz":0.01}},"project_features":false,"encoder":"ridge","band_candidates":20,"alphas":{"grid":{"from":0.001,"to":1000000.0,"count":19}},"#,
        r#""alpha_per_roi":true,"equalize_dim":true,"max_dim":256,"inner_folds":8,"inner_loss":"squared_error","outer_folds":"auto"#,
        r#"","purge_s":12.0,"score":"debiased","ceiling":"auto","min_ceiling":0.1,"subjects":"each",""#,
        r#"embedding":"score","benchmarks":"average","snci":["snr","debiased"],"convergence_scale":"snci","convergence_threshold":1.0,"distance":"euclidean","dispersion_centre":"spatial_median","dispersion_axes":"subtract","dispersion_bias":"none","permutations":9999,"e"#,
        r#"xact":true,"restricted":"family","bootstraps":2000,"interval":"percentile","sign_policy":"zero","shifts":1000,"multiplicity":"max_t","networks":"network","con"#,
        r#"trols":{"layer_order":20,"layer_mean":true,"first_last":true,"best_layer":true,"untrained""#,
        r#":true,"nuisance":true,"multiverse":true,"leave_one_family_out":true,"adaptive":true}}"#,
    );
}
