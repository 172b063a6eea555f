//! Read the graph of an ONNX file: its nodes, inputs and outputs, not its numbers.
//!
//! Field numbers are those of onnx.proto3 (ONNX 1.x): a model holds a graph (7), a graph holds nodes (1), weights (5),
//! inputs (11) and outputs (12). Weights in files beside it are brought in (`outside`). Cost: one walk over the file's
//! bytes.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use stereotax_io::names;

use super::outside;
use super::protobuf::{self, fields};
use crate::error::{ModelError, Result, invalid};

/// Larger files, or files with larger weights beside them, are not read into memory.
pub(super) const MAX_BYTES: u64 = 8 << 30;

/// One operation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    /// Its name, often empty.
    pub name: String,
    /// What it does: `Conv`, `Add`, …
    pub op: String,
    /// Names of the tensors that go in; empty for one left out.
    pub inputs: Vec<String>,
    /// Names of the tensors that come out.
    pub outputs: Vec<String>,
    /// Whole-number attributes: `group`, `axis`, …
    pub integers: HashMap<String, Vec<i64>>,
    /// Whether it holds graphs of its own (`If`, `Loop`).
    pub has_graphs: bool,
    /// Whether its padding is a rule (`auto_pad`).
    pub pads_itself: bool,
}

/// One input of the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Whether its numbers are whole.
    pub whole_numbers: bool,
    /// Length of each axis, where the file says.
    pub shape: Vec<Option<usize>>,
}

/// The graph of a network and the bytes of its file.
#[derive(Debug, Clone)]
pub struct Network {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Operations, in an order in which they can run.
    pub nodes: Vec<Node>,
    /// Inputs that are no weights.
    pub inputs: Vec<Input>,
    /// Names of the outputs that the file declares.
    pub outputs: Vec<String>,
    /// Shapes of the weights by name.
    pub weights: HashMap<String, Vec<usize>>,
    /// Tensors that do not depend on any input.
    constant: HashSet<String>,
}

impl Network {
    /// Read a file, and the weights that lie in files beside it.
    ///
    /// # Errors
    /// No file, bytes that are no ONNX model, a model without a graph, weights that are named and not there, or that lie
    /// in another folder.
    pub fn read(path: &Path) -> Result<Network> {
        let length = std::fs::metadata(path).map(|m| m.len()).unwrap_or(0);
        if length > MAX_BYTES {
            return Err(invalid(
                path,
                "file",
                format!("at most {MAX_BYTES} bytes"),
                format!("{length}"),
                "export the network in single precision, or split it",
            ));
        }
        let bytes = stereotax_io::read_bytes(path)?;
        Network::parse(path, outside::brought_in(path, bytes)?)
    }

    /// [`Network::read`] of bytes in memory, with all weights in them; `path` is for messages.
    pub fn parse(path: &Path, bytes: Vec<u8>) -> Result<Network> {
        let mut found = Network {
            path: path.to_owned(),
            bytes: Vec::new(),
            nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            weights: HashMap::new(),
            constant: HashSet::new(),
        };
        found.walk(&bytes).map_err(|reason| {
            invalid(
                path,
                "file",
                "an ONNX model",
                looks_like(&bytes, &reason),
                "export it with the tool that made the network, e.g. `torch.onnx.export`",
            )
        })?;
        found.bytes = bytes;
        found.find_constants();
        Ok(found)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's bytes, with the weights that lie beside it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether a tensor depends on no input.
    pub fn is_constant(&self, tensor: &str) -> bool {
        self.constant.contains(tensor)
    }

    /// Every tensor that depends on an input, with the operation that makes it, in order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().flat_map(|node| {
            let named = node.outputs.iter().filter(|name| !name.is_empty() && !self.is_constant(name));
            named.map(move |name| (name.as_str(), node))
        })
    }

    /// The tensors that names mean: each is a tensor, or a node and then its first output.
    ///
    /// # Errors
    /// A name of neither (with the nearest), a name twice.
    pub fn resolve(&self, wanted: &[String]) -> Result<Vec<String>> {
        let mut found: Vec<String> = Vec::with_capacity(wanted.len());
        for name in wanted {
            let tensor = self
                .tensors()
                .find(|(tensor, _)| tensor == name)
                .or_else(|| self.tensors().find(|(_, node)| node.name == *name))
                .map(|(tensor, _)| tensor.to_owned());
            let Some(tensor) = tensor else {
                let there: Vec<String> = self.tensors().map(|(tensor, _)| tensor.to_owned()).collect();
                let near = names::nearest(name, there.iter().map(String::as_str));
                return Err(invalid(
                    &self.path,
                    format!("layer `{name}`"),
                    format!("one of the {} tensors of the network", there.len()),
                    "no tensor or node of that name",
                    near.map_or_else(
                        || "`stereotax info` on the network lists them".to_owned(),
                        |near| {
                            format!("did you mean `{near}`? `stereotax info` on the network lists them all")
                        },
                    ),
                ));
            };
            if found.contains(&tensor) {
                return Err(invalid(
                    &self.path,
                    format!("layer `{name}`"),
                    "every layer once",
                    format!("tensor `{tensor}` twice"),
                    "leave one away",
                ));
            }
            found.push(tensor);
        }
        Ok(found)
    }

    /// The file's bytes with `tensors` declared as outputs, instead of those that it declares itself.
    pub fn with_outputs(&self, tensors: &[String]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 64 * tensors.len());
        let mut declared = false;
        for field in fields(&self.bytes).flatten() {
            match field.value {
                protobuf::Value::Bytes(graph) if field.number == 7 => {
                    let mut inner = Vec::with_capacity(graph.len() + 64);
                    for part in fields(graph).flatten() {
                        match (part.number, part.value) {
                            (12, _) => {}
                            (1, protobuf::Value::Bytes(message)) => {
                                protobuf::put_bytes(&mut inner, 1, &self.with_defaults(message));
                            }
                            _ => inner.extend_from_slice(part.whole),
                        }
                    }
                    if !declared {
                        for name in tensors {
                            let mut value_info = Vec::new();
                            protobuf::put_bytes(&mut value_info, 1, name.as_bytes());
                            protobuf::put_bytes(&mut inner, 12, &value_info);
                        }
                    }
                    declared = true;
                    protobuf::put_bytes(&mut out, 7, &inner);
                }
                _ => out.extend_from_slice(field.whole),
            }
        }
        out
    }

    /// The bytes of an operation, with strides and dilations of 1 and no padding where it leaves them unsaid: not
    /// every engine knows these defaults.
    fn with_defaults(&self, message: &[u8]) -> Vec<u8> {
        let mut out = message.to_vec();
        let Ok(node) = node(message) else { return out };
        let unsaid: &[&str] = match node.op.as_str() {
            "Conv" | "ConvTranspose" => &["strides", "dilations", "pads"],
            "MaxPool" | "AveragePool" => &["strides", "pads"],
            _ => &[],
        };
        let by_kernel = node.integers.get("kernel_shape").map(Vec::len);
        let by_weight =
            node.inputs.get(1).and_then(|w| self.weights.get(w)).map(|shape| shape.len().saturating_sub(2));
        let Some(n) = by_kernel.or(by_weight).filter(|n| (1..=3).contains(n)) else { return out };
        for name in unsaid.iter().filter(|name| !node.integers.contains_key(**name)) {
            let (count, value) = if *name == "pads" { (2 * n, 0) } else { (n, 1) };
            if *name == "pads" && node.pads_itself {
                continue;
            }
            let mut attribute = Vec::new();
            protobuf::put_bytes(&mut attribute, 1, name.as_bytes());
            for _ in 0..count {
                protobuf::put_number(&mut attribute, 8, value);
            }
            // A list of whole numbers.
            protobuf::put_number(&mut attribute, 20, 7);
            protobuf::put_bytes(&mut out, 5, &attribute);
        }
        out
    }

    fn walk(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut graphs = 0;
        for field in fields(bytes) {
            let field = field?;
            if field.number == 7 {
                graphs += 1;
                self.walk_graph(field.bytes()?)?;
            }
        }
        let n_weights = self.weights.len();
        self.inputs.retain(|input| !self.weights.contains_key(&input.name));
        match (graphs, self.nodes.len(), self.inputs.len()) {
            (0, ..) => Err("no graph".into()),
            (_, 0, _) => Err("a graph without operations".into()),
            (.., 0) => Err(format!("a graph without inputs ({n_weights} weights)")),
            _ => Ok(()),
        }
    }

    fn walk_graph(&mut self, graph: &[u8]) -> Result<(), String> {
        for field in fields(graph) {
            let field = field?;
            match field.number {
                1 => self.nodes.push(node(field.bytes()?)?),
                5 => {
                    let (name, shape) = weight(field.bytes()?)?;
                    self.weights.insert(name, shape);
                }
                11 => self.inputs.push(value_info(field.bytes()?)?),
                12 => self.outputs.push(value_info(field.bytes()?)?.name),
                _ => {}
            }
        }
        Ok(())
    }

    /// What follows from weights alone.
    fn find_constants(&mut self) {
        self.constant = self.weights.keys().cloned().collect();
        for node in &self.nodes {
            let random = node.op.starts_with("Random") || node.op == "Bernoulli" || node.op == "Multinomial";
            let known = node.inputs.iter().all(|input| input.is_empty() || self.constant.contains(input));
            if known && !random && !node.has_graphs {
                self.constant.extend(node.outputs.iter().cloned());
            }
        }
    }
}

fn node(message: &[u8]) -> Result<Node, String> {
    let mut found = Node::default();
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => found.inputs.push(field.text()?),
            2 => found.outputs.push(field.text()?),
            3 => found.name = field.text()?,
            4 => found.op = field.text()?,
            5 => attribute(field.bytes()?, &mut found)?,
            _ => {}
        }
    }
    Ok(found)
}

fn attribute(message: &[u8], node: &mut Node) -> Result<(), String> {
    let mut name = String::new();
    let mut numbers = Vec::new();
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => name = field.text()?,
            3 | 8 => field.numbers(&mut numbers)?,
            6 | 11 => node.has_graphs = true,
            _ => {}
        }
    }
    node.pads_itself |= name == "auto_pad";
    if !numbers.is_empty() {
        node.integers.insert(name, numbers);
    }
    Ok(())
}

fn weight(message: &[u8]) -> Result<(String, Vec<usize>), String> {
    let (mut name, mut dims) = (String::new(), Vec::new());
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => field.numbers(&mut dims)?,
            8 => name = field.text()?,
            14 if field.number_value()? == 1 => {
                return Err("weights in another file that cannot be brought in".into());
            }
            _ => {}
        }
    }
    let shape = dims.iter().map(|&n| usize::try_from(n)).collect::<Result<_, _>>();
    Ok((name.clone(), shape.map_err(|_| format!("a negative length in the shape of `{name}`"))?))
}

fn value_info(message: &[u8]) -> Result<Input, String> {
    let mut found = Input { name: String::new(), whole_numbers: false, shape: Vec::new() };
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => found.name = field.text()?,
            2 => {
                for part in fields(field.bytes()?) {
                    let part = part?;
                    if part.number == 1 {
                        tensor_type(part.bytes()?, &mut found)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn tensor_type(message: &[u8], input: &mut Input) -> Result<(), String> {
    for field in fields(message) {
        let field = field?;
        match field.number {
            // 2 u8, 3 i8, 4 u16, 5 i16, 6 i32, 7 i64, 12 u32, 13 u64; 1 is f32.
            1 => input.whole_numbers = matches!(field.number_value()?, 2..=7 | 12 | 13),
            2 => {
                for axis in fields(field.bytes()?) {
                    let mut length = None;
                    for part in fields(axis?.bytes()?) {
                        let part = part?;
                        if part.number == 1 {
                            length = usize::try_from(part.number_value()?).ok().filter(|&n| n > 0);
                        }
                    }
                    input.shape.push(length);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Name what the bytes are instead, where that shows.
fn looks_like(bytes: &[u8], reason: &str) -> String {
    let starts = |with: &[u8]| bytes.starts_with(with);
    if bytes.is_empty() {
        "an empty file".into()
    } else if starts(b"PK\x03\x04") {
        "an archive (zip), perhaps a PyTorch .pt file, which is never read because reading it runs code"
            .into()
    } else if starts(b"\x80\x02") || starts(b"\x80\x04") {
        "a pickled object, which is never read because reading it runs code".into()
    } else if starts(b"\x89HDF") {
        "an HDF5 file, perhaps a Keras model".into()
    } else if starts(b"version https://git-lfs") {
        "a pointer of Git LFS, not the file itself".into()
    } else if starts(b"<") {
        "a web page or XML".into()
    } else {
        format!("other bytes ({reason})")
    }
}

impl From<stereotax::Error> for ModelError {
    fn from(error: stereotax::Error) -> Self {
        ModelError::Invalid {
            file: "settings".into(),
            what: error.to_string(),
            expected: "numbers that the method can use".into(),
            found: "others".into(),
            hint: "change the setting".into(),
        }
    }
}
