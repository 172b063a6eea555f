//! Make the inputs of a network from stimuli, as a preparation file beside the network says.
//!
//! ```toml
//! [input]
//! kind = "image"              # image, waveform, log_mel, characters, numbers
//! height = 224
//! width = 224
//! mean = [0.485, 0.456, 0.406]
//! std = [0.229, 0.224, 0.225]
//! ```
//!
//! A stimulus becomes one tensor, or several where a sound is cut into frames. Every kind is a file of this folder.

pub mod image;
pub mod mel;
pub mod rate;
pub mod resample;
pub mod sound;
pub mod tokens;
pub mod wave;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Result, invalid};
use crate::network::engine::Tensor;
use crate::network::graph::Network;

/// What the preparation file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// How stimuli become the network's main input.
    pub input: Input,
    /// Further inputs that are the same for every stimulus: a number that fills them, or `"like"` for ones of the main
    /// input's shape (an attention mask).
    #[serde(default)]
    pub constants: BTreeMap<String, Constant>,
    /// Inputs that are outputs of the frame before: zeros at the start of every stimulus.
    #[serde(default)]
    pub state: BTreeMap<String, String>,
}

/// A further input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Constant {
    /// This number everywhere.
    Number(f64),
    /// `zeros` or `ones`, in the shape of the main input.
    Like(Like),
}

/// What fills an input of the main input's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Like {
    /// Zeros, as token types.
    Zeros,
    /// Ones, as an attention mask.
    Ones,
}

/// One kind of stimulus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Input {
    /// PNG or JPEG.
    Image(image::ImageInput),
    /// WAV, as samples.
    Waveform(sound::WaveformInput),
    /// WAV, as energies of mel bands.
    LogMel(mel::LogMelInput),
    /// Text, character by character.
    Characters(tokens::CharactersInput),
    /// Whole numbers as they are: tokens made elsewhere.
    Numbers(tokens::NumbersInput),
}

/// Where a stimulus comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file.
    File(PathBuf),
    /// A text, of a line of a table.
    Text { text: String, table: PathBuf, line: u64 },
}

impl Content {
    /// For messages.
    pub fn path(&self) -> &Path {
        match self {
            Content::File(path) => path,
            Content::Text { table, .. } => table,
        }
    }
}

impl Preparation {
    /// Read the file.
    ///
    /// # Errors
    /// No such file, unknown keys or words (with line and column), settings that contradict each other.
    pub fn read(path: &Path) -> Result<Preparation> {
        let bytes = stereotax_io::read_bytes(path)?;
        let refused = |found: String| {
            invalid(
                path,
                "preparation file",
                "TOML with a table `[input]`",
                found,
                "docs/networks.md shows one for every kind",
            )
        };
        let text = String::from_utf8(bytes).map_err(|_| refused("bytes that are no text".into()))?;
        let found: Preparation =
            toml::from_str(&text).map_err(|e| refused(e.to_string().trim().to_owned()))?;
        match &found.input {
            Input::Image(input) => input.check(path)?,
            Input::Waveform(input) => input.check(path)?,
            Input::LogMel(input) => input.check(path)?,
            Input::Characters(_) | Input::Numbers(_) => {}
        }
        Ok(found)
    }

    /// Everything that is read once for all stimuli.
    pub fn ready(&self, path: &Path) -> Result<Ready<'_>> {
        let named: Vec<&Path> = match &self.input {
            Input::Characters(input) => vec![&input.vocabulary],
            _ => Vec::new(),
        };
        let files = named.iter().map(|name| beside(path, name)).collect::<Result<Vec<_>>>()?;
        let kind = match &self.input {
            Input::Image(input) => Kind::Image(input),
            Input::Waveform(input) => Kind::Waveform(input),
            Input::LogMel(input) => Kind::LogMel(input, mel::FilterBank::new(input)),
            Input::Characters(input) => Kind::Characters(input.read(path, &files[0])?),
            Input::Numbers(_) => Kind::Numbers,
        };
        Ok(Ready { kind, files: files.iter().map(|bytes| stereotax_io::digest_bytes(bytes)).collect() })
    }

    /// The network's input that stimuli go into.
    pub fn main_input<'a>(
        &self,
        network: &'a Network,
        path: &Path,
    ) -> Result<&'a crate::network::graph::Input> {
        let named = match &self.input {
            Input::Image(input) => &input.name,
            Input::Waveform(input) => &input.name,
            Input::LogMel(input) => &input.name,
            Input::Characters(input) => &input.name,
            Input::Numbers(input) => &input.name,
        };
        let names: Vec<String> = network.inputs.iter().map(|i| i.name.clone()).collect();
        let list = stereotax_io::names::list(&names);
        for name in self.constants.keys().chain(self.state.keys()) {
            if !names.contains(name) {
                return Err(invalid(
                    path,
                    format!("`{name}`"),
                    format!("an input of the network: {list}"),
                    "no input of that name",
                    "leave it away, or name another input",
                ));
            }
        }
        let free: Vec<_> = network
            .inputs
            .iter()
            .filter(|i| !self.constants.contains_key(&i.name) && !self.state.contains_key(&i.name))
            .collect();
        match (named, free.as_slice()) {
            (Some(name), free) => match free.iter().find(|i| i.name == *name) {
                Some(input) if free.len() == 1 => Ok(input),
                Some(_) => Err(invalid(
                    path,
                    "inputs",
                    "a constant or a state for every input but one",
                    list,
                    "give the others under `[constants]`, e.g. `attention_mask = \"ones\"`",
                )),
                None => Err(invalid(
                    path,
                    "input.name",
                    format!("one of {list}"),
                    format!("`{name}`"),
                    "name the input that stimuli go into",
                )),
            },
            (None, [input]) => Ok(input),
            (None, _) => Err(invalid(
                path,
                "inputs",
                "one input for stimuli, and a constant or a state for every other",
                list,
                "give the others under `[constants]`, e.g. `attention_mask = \"ones\"`, or name the one with `name = …`",
            )),
        }
    }
}

/// A preparation with its vocabulary and filters.
#[derive(Debug)]
pub struct Ready<'a> {
    kind: Kind<'a>,
    /// Digests of the files that lie beside it.
    pub(crate) files: Vec<String>,
}

#[derive(Debug)]
enum Kind<'a> {
    Image(&'a image::ImageInput),
    Waveform(&'a sound::WaveformInput),
    LogMel(&'a mel::LogMelInput, mel::FilterBank),
    Characters(tokens::Vocabulary),
    Numbers,
}

impl Ready<'_> {
    /// The frames of one stimulus: tensors without an axis for the batch, all of one shape.
    ///
    /// # Errors
    /// A file that is no image, sound or text of the kind, one too short for a frame, a character that the vocabulary
    /// does not have.
    pub fn frames(&self, content: &Content) -> Result<Vec<Tensor>> {
        Ok(match &self.kind {
            Kind::Image(input) => vec![input.tensor(file(content)?)?],
            Kind::Waveform(input) => input.frames(file(content)?)?,
            Kind::LogMel(input, bank) => vec![input.tensor(file(content)?, bank)?],
            Kind::Characters(vocabulary) => vec![vocabulary.tensor(content)?],
            Kind::Numbers => vec![tokens::numbers(content)?],
        })
    }
}

/// The bytes of a file beside the preparation file.
fn beside(preparation: &Path, name: &Path) -> Result<Vec<u8>> {
    if name.components().count() != 1 || name.is_absolute() || name.file_name().is_none() {
        return Err(invalid(
            preparation,
            "[input]",
            "a file in the same folder",
            format!("`{}`", name.display()),
            "put it beside the preparation file",
        ));
    }
    Ok(stereotax_io::read_bytes(&preparation.with_file_name(name))?)
}

fn file(content: &Content) -> Result<&Path> {
    match content {
        Content::File(path) => Ok(path),
        Content::Text { table, line, .. } => Err(invalid(
            table,
            format!("line {line}"),
            "a column `file`, since the network takes files",
            "a column `text`",
            "name the files, or give the folder that holds them",
        )),
    }
}
