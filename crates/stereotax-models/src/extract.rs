//! Run a network over stimuli and write what its layers give, row by row, as a store that a study reads.
//!
//! Stimuli go through in their order, in batches of equal shapes; a sound in several frames goes through frame by
//! frame. The first stimulus runs alone, which shows the shapes and whether the first axis is the batch. What is held is
//! the network, one batch and its rows. An interrupted run goes on at the last full batch that is safe on the disk,
//! with the same bytes as one that was not interrupted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use stereotax::data::{Event, Monitor};
use stereotax_io::{Delimited, StoreWriter, StoredLayer, digest_bytes};

use crate::error::{ModelError, Result, invalid};
use crate::network::blocks::{blocks, units_first};
use crate::network::engine::{Engine, Numbers, Tensor, failed};
use crate::network::graph::Network;
use crate::pool::{Pool, Pooled};
use crate::prepare::{Constant, Content, Like, Preparation, Ready};

/// Which layers are taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Layers {
    /// Where blocks end.
    #[default]
    Blocks,
    /// Every tensor that depends on an input.
    All,
    /// Tensors or nodes by name, shallow to deep.
    Named(Vec<String>),
}

/// What is extracted, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How stimuli become inputs.
    pub preparation: Preparation,
    /// Its file; for messages and for what lies beside it.
    pub preparation_file: PathBuf,
    /// Tensors, as [`layers`] found them.
    pub layers: Vec<String>,
    /// What becomes of positions.
    pub pool: Pool,
    /// Stimuli that go through at once.
    pub batch: usize,
    /// Of the random projection.
    pub seed: u64,
    /// Name and version of the engine: another one gives other bits.
    pub engine: String,
}

/// The stimuli, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stimuli {
    /// Unique.
    pub ids: Vec<String>,
    /// As many.
    pub contents: Vec<Content>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// Stimuli.
    pub n_stimuli: usize,
    /// Of which an earlier run had made so many.
    pub n_before: usize,
    /// Layers and the shapes of their rows.
    pub layers: Vec<(String, Vec<usize>)>,
}

impl Stimuli {
    /// The files of a folder, by name, each with its name without the ending as id; or a table with `stimulus_id` and
    /// `file` (beside the table) or `text`.
    ///
    /// # Errors
    /// An empty folder, an id twice, a table without these columns, a file outside the table's folder.
    pub fn open(path: &Path) -> Result<Stimuli> {
        let found = if path.is_dir() { Self::of_folder(path)? } else { Self::of_table(path)? };
        if found.ids.is_empty() {
            let hint = "put the stimuli there, or give a table of them";
            return Err(invalid(path, "stimuli", "at least one file", "none", hint));
        }
        let mut sorted: Vec<&String> = found.ids.iter().collect();
        sorted.sort();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(found),
            Some(pair) => Err(invalid(
                path,
                "stimuli",
                "every id once",
                format!("`{}` twice", pair[0]),
                "give a table with ids of your own: columns `stimulus_id` and `file`",
            )),
        }
    }

    fn of_folder(folder: &Path) -> Result<Stimuli> {
        let unreadable =
            |e: std::io::Error| invalid(folder, "stimuli", "a readable folder", e.to_string(), "check it");
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let hidden = path.file_name().is_none_or(|n| n.to_string_lossy().starts_with('.'));
            if path.is_file() && !hidden {
                files.push(path);
            }
        }
        files.sort();
        let id = |p: &PathBuf| p.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Stimuli {
            ids: files.iter().map(id).collect(),
            contents: files.into_iter().map(Content::File).collect(),
        })
    }

    fn of_table(path: &Path) -> Result<Stimuli> {
        let table = Delimited::read(path)?;
        let ids = table.names_of("stimulus_id")?;
        let contents = if table.has("file") {
            let folder = path.parent().unwrap_or(Path::new("."));
            let place = |(row, name): (usize, String)| {
                let inside = Path::new(&name).components().all(|part| {
                    matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir)
                });
                if inside && !name.is_empty() {
                    return Ok(Content::File(folder.join(name)));
                }
                Err(invalid(
                    path,
                    format!("line {}, column `file`", table.line(row)),
                    "a file within the table's folder",
                    format!("`{name}`"),
                    "put the stimuli beside the table",
                ))
            };
            table.texts("file")?.into_iter().enumerate().map(place).collect::<Result<_>>()?
        } else {
            let texts = table.texts("text")?.into_iter().enumerate();
            texts
                .map(|(row, text)| Content::Text { text, table: path.to_owned(), line: table.line(row) })
                .collect()
        };
        Ok(Stimuli { ids, contents })
    }
}

/// The tensors that `wanted` means, shallow to deep.
///
/// # Errors
/// Names that the network does not have; a network in which no block is found.
pub fn layers(network: &Network, wanted: &Layers) -> Result<Vec<String>> {
    match wanted {
        Layers::Named(names) => network.resolve(names),
        Layers::All => Ok(network.tensors().map(|(name, _)| name.to_owned()).collect()),
        Layers::Blocks => {
            let found = blocks(network);
            if found.is_empty() {
                return Err(invalid(
                    network.path(),
                    "blocks",
                    "additions around weights, or layers with weights",
                    "none",
                    "name the layers; `stereotax info` on the network lists them",
                ));
            }
            Ok(found)
        }
    }
}

/// What the engine must give: the layers, then the states that go on.
pub fn taps(settings: &Settings) -> Vec<String> {
    let mut taps = settings.layers.clone();
    for output in settings.preparation.state.values() {
        if !taps.contains(output) {
            taps.push(output.clone());
        }
    }
    taps
}

/// Extract into `out`; events go to the monitor.
///
/// # Errors
/// Stimuli that cannot be prepared, a network that fails on them, layers whose first axis is not the batch, rows that
/// differ in length (with the rules that keep positions), numbers that are not finite, a full disk, a stop.
pub fn extract(
    network: &Network,
    settings: &Settings,
    stimuli: &Stimuli,
    out: &Path,
    engine: &mut Engine<'_>,
    monitor: &Monitor<'_>,
) -> Result<Extracted> {
    if out.extension().is_none_or(|ending| ending != "safetensors") {
        return Err(invalid(out, "out", "a name that ends in .safetensors", "another", "name the store so"));
    }
    let ready = settings.preparation.ready(&settings.preparation_file)?;
    let job = Job::new(network, settings, ready)?;
    let first = job.rows_of(&[job.frames(&stimuli.contents[0])?], &stimuli.ids[..1], engine)?.remove(0);
    let stored: Vec<StoredLayer> = settings
        .layers
        .iter()
        .zip(&first)
        .map(|(name, (row_shape, _))| StoredLayer { name: name.clone(), row_shape: row_shape.clone() })
        .collect();
    let digest = job.digest(stimuli)?;
    let pooling = settings.pool.to_string();
    let about = [("engine", settings.engine.as_str()), ("pooling", pooling.as_str())];
    let mut writer = StoreWriter::open(out, &digest, &stimuli.ids, &stored, &about)?;
    let (n, n_before) = (stimuli.ids.len(), writer.rows_done());
    let task = "extracting".to_owned();
    monitor.tell(Event::Started { task: task.clone(), total: (n - n_before) as u64 });
    let mut done = n_before;
    while done < n {
        if monitor.check().is_err() {
            writer.keep()?;
            return Err(ModelError::Stopped { done, total: n });
        }
        // Batches begin at multiples of their size, wherever a run began.
        let end = ((done / settings.batch + 1) * settings.batch).min(n);
        let frames: Vec<Vec<Tensor>> = stimuli.contents[done..end]
            .par_iter()
            .map(|content| job.frames(content))
            .collect::<Result<_>>()?;
        let rows = job.rows_of(&frames, &stimuli.ids[done..end], engine)?;
        let mut columns: Vec<Vec<f32>> = vec![Vec::new(); stored.len()];
        for (row, id) in rows.into_iter().zip(&stimuli.ids[done..end]) {
            for (((shape, values), layer), column) in row.into_iter().zip(&stored).zip(&mut columns) {
                if shape != layer.row_shape {
                    return Err(failed(
                        network,
                        &format!("stimulus `{id}`"),
                        format!(
                            "layer `{}` has rows of shape {:?}, and {shape:?} here: stimuli differ in length; pool \
                             them by mean, max, cls or last",
                            layer.name, layer.row_shape
                        ),
                    ));
                }
                column.extend(values);
            }
        }
        writer.append(end - done, &columns)?;
        monitor.tell(Event::Advanced { done: (end - done) as u64 });
        done = end;
    }
    writer.finish()?;
    monitor.tell(Event::Finished { task });
    Ok(Extracted {
        n_stimuli: n,
        n_before,
        layers: stored.into_iter().map(|l| (l.name, l.row_shape)).collect(),
    })
}

/// A network with its settings.
struct Job<'a> {
    network: &'a Network,
    settings: &'a Settings,
    ready: Ready<'a>,
    main: String,
    taps: Vec<String>,
    units_first: Vec<bool>,
}

type Row = Vec<(Vec<usize>, Vec<f32>)>;

impl<'a> Job<'a> {
    fn new(network: &'a Network, settings: &'a Settings, ready: Ready<'a>) -> Result<Self> {
        let main = settings.preparation.main_input(network, &settings.preparation_file)?.name.clone();
        let names: Vec<String> = network.tensors().map(|(name, _)| name.to_owned()).collect();
        for output in settings.preparation.state.values() {
            if !names.contains(output) {
                return Err(invalid(
                    &settings.preparation_file,
                    "[state]",
                    "tensors of the network",
                    format!("`{output}`"),
                    "`stereotax info` on the network lists them",
                ));
            }
        }
        let units_first = settings.layers.iter().map(|layer| units_first(network, layer)).collect();
        Ok(Job { network, settings, ready, main, taps: taps(settings), units_first })
    }

    fn frames(&self, content: &Content) -> Result<Vec<Tensor>> {
        self.ready.frames(content)
    }

    /// What the bytes of the store depend on.
    fn digest(&self, stimuli: &Stimuli) -> Result<String> {
        let mut contents = Vec::with_capacity(stimuli.contents.len());
        for content in &stimuli.contents {
            contents.push(match content {
                Content::File(path) => stereotax_io::digest_file(path)?.blake3,
                Content::Text { text, .. } => text.clone(),
            });
        }
        let s = self.settings;
        let text = serde_json::json!({
            "network": digest_bytes(self.network.bytes()), "preparation": s.preparation,
            "beside": self.ready.files, "layers": s.layers,
            "pool": s.pool.to_string(), "batch": s.batch, "seed": s.seed, "engine": s.engine,
            "ids": stimuli.ids, "contents": contents, "version": env!("CARGO_PKG_VERSION"),
        });
        Ok(digest_bytes(text.to_string().as_bytes()))
    }

    /// The rows of a few stimuli.
    fn rows_of(&self, stimuli: &[Vec<Tensor>], ids: &[String], engine: &mut Engine<'_>) -> Result<Vec<Row>> {
        let mut rows = Vec::with_capacity(stimuli.len());
        let mut next = 0;
        let stateful = !self.settings.preparation.state.is_empty();
        while next < stimuli.len() {
            // Neighbours of one frame each and of one shape go together.
            let alone = stateful || stimuli[next].len() != 1;
            let shape = stimuli[next].first().map(|t| &t.shape);
            let together =
                stimuli[next..].iter().take_while(|s| s.len() == 1 && Some(&s[0].shape) == shape).count();
            let n = if alone { 1 } else { together.max(1) };
            let ids = &ids[next..next + n];
            if alone {
                rows.push(self.one(&stimuli[next], &ids[0], stateful, engine)?);
            } else {
                let frames: Vec<&Tensor> = stimuli[next..next + n].iter().map(|s| &s[0]).collect();
                let outputs = self.run(&frames, BTreeMap::new(), &ids[0], engine)?;
                let row = |at: usize| {
                    let mut pooled = self.empty();
                    self.pool(&mut pooled, &outputs, at, &ids[at])?;
                    self.finish(pooled, &ids[at])
                };
                rows.extend((0..n).into_par_iter().map(row).collect::<Result<Vec<Row>>>()?);
            }
            next += n;
        }
        Ok(rows)
    }

    /// One stimulus of several frames.
    fn one(&self, frames: &[Tensor], id: &str, stateful: bool, engine: &mut Engine<'_>) -> Result<Row> {
        let mut pooled = self.empty();
        let mut state: BTreeMap<String, Tensor> = BTreeMap::new();
        let size = if stateful { 1 } else { self.settings.batch };
        for group in frames.chunks(size) {
            let group: Vec<&Tensor> = group.iter().collect();
            let outputs = self.run(&group, state, id, engine)?;
            for at in 0..group.len() {
                self.pool(&mut pooled, &outputs, at, id)?;
            }
            state = BTreeMap::new();
            for (input, output) in &self.settings.preparation.state {
                if let Some(at) = self.taps.iter().position(|tap| tap == output) {
                    state.insert(input.clone(), outputs[at].clone());
                }
            }
        }
        self.finish(pooled, id)
    }

    fn run(
        &self,
        frames: &[&Tensor],
        mut state: BTreeMap<String, Tensor>,
        id: &str,
        engine: &mut Engine<'_>,
    ) -> Result<Vec<Tensor>> {
        let batch = frames.len();
        let at = format!("stimulus `{id}`");
        let main = stacked(frames);
        let mut inputs = Vec::with_capacity(self.network.inputs.len());
        for input in &self.network.inputs {
            let prepared = &self.settings.preparation;
            let tensor = if input.name == self.main {
                self.fits(&main, input, &at)?;
                main.clone()
            } else if prepared.state.contains_key(&input.name) {
                let shape = input.shape.iter().map(|n| n.unwrap_or(1)).collect();
                state.remove(&input.name).unwrap_or_else(|| Tensor::zeros(shape, input.whole_numbers))
            } else if let Some(constant) = prepared.constants.get(&input.name) {
                let (shape, value) = match constant {
                    Constant::Number(value) => {
                        let dynamic = |(axis, n): (usize, &Option<usize>)| {
                            n.unwrap_or(if axis == 0 { batch } else { 1 })
                        };
                        (input.shape.iter().enumerate().map(dynamic).collect(), *value)
                    }
                    Constant::Like(Like::Zeros) => (main.shape.clone(), 0.0),
                    Constant::Like(Like::Ones) => (main.shape.clone(), 1.0),
                };
                filled(shape, value, input.whole_numbers)
            } else {
                return Err(failed(self.network, &at, format!("nothing for the input `{}`", input.name)));
            };
            inputs.push((input.name.clone(), tensor));
        }
        let outputs = engine(inputs).map_err(|reason| failed(self.network, &at, reason))?;
        for (tensor, layer) in outputs.iter().zip(&self.settings.layers) {
            if tensor.shape.first() != Some(&batch) {
                return Err(invalid(
                    self.network.path(),
                    format!("layer `{layer}`"),
                    format!("a first axis that counts stimuli: {batch} of them went in"),
                    format!("shape {:?}", tensor.shape),
                    "take a tensor behind the next transposition, or leave the layer out",
                ));
            }
        }
        Ok(outputs)
    }

    /// Whether a prepared tensor is what the network's input says.
    fn fits(&self, tensor: &Tensor, input: &crate::network::graph::Input, at: &str) -> Result<()> {
        let axes = tensor.shape.len() == input.shape.len() || input.shape.is_empty();
        let lengths = tensor.shape.iter().zip(&input.shape).skip(1).all(|(n, m)| m.is_none_or(|m| m == *n));
        let kind = matches!(tensor.numbers, Numbers::Whole(_)) == input.whole_numbers;
        let batch = input.shape.first().copied().flatten().is_none_or(|n| n == tensor.shape[0]);
        if axes && lengths && kind && batch {
            return Ok(());
        }
        let sort = |whole: bool| if whole { "whole numbers" } else { "real numbers" };
        let shape: Vec<String> =
            input.shape.iter().map(|n| n.map_or("any".to_owned(), |n| n.to_string())).collect();
        let hint = if axes && lengths && kind {
            format!("the network was exported for batches of {}: say so with `--batch`", shape[0])
        } else {
            "change the preparation file".into()
        };
        Err(invalid(
            &self.settings.preparation_file,
            format!("{at}: input `{}`", input.name),
            format!("{} of shape {}", sort(input.whole_numbers), shape.join(" × ")),
            format!("{} of shape {:?}", sort(!kind ^ input.whole_numbers), tensor.shape),
            hint,
        ))
    }

    fn empty(&self) -> Vec<Pooled> {
        vec![Pooled::new(self.settings.pool); self.settings.layers.len()]
    }

    fn pool(&self, pooled: &mut [Pooled], outputs: &[Tensor], at: usize, id: &str) -> Result<()> {
        for (l, pooled) in pooled.iter_mut().enumerate() {
            pooled.add(&outputs[l], at, self.units_first[l]).map_err(|found| {
                failed(self.network, &format!("stimulus `{id}`, layer `{}`", self.settings.layers[l]), found)
            })?;
        }
        Ok(())
    }

    fn finish(&self, pooled: Vec<Pooled>, id: &str) -> Result<Row> {
        let seed = self.settings.seed;
        let row = |(l, pooled): (usize, Pooled)| {
            let at = || format!("stimulus `{id}`, layer `{}`", self.settings.layers[l]);
            pooled.row(seed.wrapping_add(l as u64)).map_err(|found| failed(self.network, &at(), found))
        };
        pooled.into_iter().enumerate().map(row).collect()
    }
}

/// Tensors of one shape under an axis of their own.
fn stacked(frames: &[&Tensor]) -> Tensor {
    let mut shape = vec![frames.len()];
    shape.extend(frames.first().map_or(&[][..], |f| &f.shape));
    let whole = frames.iter().all(|f| matches!(f.numbers, Numbers::Whole(_)));
    let numbers = if whole {
        Numbers::Whole(
            frames
                .iter()
                .flat_map(|f| if let Numbers::Whole(v) = &f.numbers { v.clone() } else { vec![] })
                .collect(),
        )
    } else {
        Numbers::Real(
            frames
                .iter()
                .flat_map(|f| if let Numbers::Real(v) = &f.numbers { v.clone() } else { vec![] })
                .collect(),
        )
    };
    Tensor { shape, numbers }
}

fn filled(shape: Vec<usize>, value: f64, whole: bool) -> Tensor {
    let n = shape.iter().product();
    let numbers =
        if whole { Numbers::Whole(vec![value as i32; n]) } else { Numbers::Real(vec![value as f32; n]) };
    Tensor { shape, numbers }
}
