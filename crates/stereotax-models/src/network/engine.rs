//! Run a network: give it tensors by name, take the tapped tensors back.
//!
//! The built-in engine is `rten`, which is Rust alone. Any other one is a function of the same signature
//! ([`Engine`]); the Python package brings ONNX Runtime where it is installed. Weights are packed once, the graph is
//! simplified as far as the taps allow, sums are in 32 bits. Bits depend on the processor's features and on the batch,
//! not on the number of threads.

use std::collections::HashMap;

use rten::{ModelOptions, NodeId, Value};

use super::graph::Network;
use crate::error::{ModelError, Result, invalid};

/// Numbers of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Real numbers.
    Real(Vec<f32>),
    /// Whole numbers: tokens, lengths, masks.
    Whole(Vec<i32>),
}

/// A tensor, last axis fastest.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Lengths of its axes.
    pub shape: Vec<usize>,
    /// As many numbers as the product of the lengths.
    pub numbers: Numbers,
}

impl Tensor {
    /// Zeros.
    pub fn zeros(shape: Vec<usize>, whole: bool) -> Tensor {
        let n = shape.iter().product();
        let numbers = if whole { Numbers::Whole(vec![0; n]) } else { Numbers::Real(vec![0.0; n]) };
        Tensor { shape, numbers }
    }

    /// How many numbers.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Inputs by name to the tapped tensors, in their order; a text where it fails.
pub type Engine<'a> = dyn FnMut(Vec<(String, Tensor)>) -> std::result::Result<Vec<Tensor>, String> + 'a;

/// Name and version of the built-in engine.
pub const ENGINE: &str = "rten 0.24";

/// The built-in engine with a network loaded.
pub struct Loaded {
    model: rten::Model,
    taps: Vec<NodeId>,
    nodes: HashMap<String, NodeId>,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("taps", &self.taps.len()).finish_non_exhaustive()
    }
}

impl Loaded {
    /// Load `network` so that it gives `taps`.
    ///
    /// # Errors
    /// Operations that the engine does not know.
    pub fn new(network: &Network, taps: &[String]) -> Result<Loaded> {
        let bytes = network.with_outputs(taps);
        let refused = |reason: String| {
            invalid(
                network.path(),
                "network",
                "operations that the built-in engine knows",
                reason,
                "export it with plain operations of opset 17 or so; or record it in torch with `sx.tap`",
            )
        };
        // The engine is code of others on bytes of others: what it cannot read must not end the program.
        let model = quietly(|| ModelOptions::with_all_ops().prepack_weights(true).load(bytes))
            .map_err(&refused)?
            .map_err(|e| refused(e.to_string()))?;
        let node = |name: &String| model.node_id(name).map_err(|e| refused(e.to_string()));
        let taps = taps.iter().map(node).collect::<Result<Vec<_>>>()?;
        let nodes =
            network.inputs.iter().map(|i| Ok((i.name.clone(), node(&i.name)?))).collect::<Result<_>>()?;
        Ok(Loaded { model, taps, nodes })
    }

    /// One pass; see [`Engine`].
    pub fn run(&self, inputs: Vec<(String, Tensor)>) -> std::result::Result<Vec<Tensor>, String> {
        let mut given = Vec::with_capacity(inputs.len());
        for (name, tensor) in inputs {
            let node = self.nodes.get(&name).ok_or_else(|| format!("the network has no input `{name}`"))?;
            let value: Value = match tensor.numbers {
                Numbers::Real(values) => rten_tensor_value(&tensor.shape, values)?,
                Numbers::Whole(values) => rten_tensor_value(&tensor.shape, values)?,
            };
            given.push((*node, value.into()));
        }
        let outputs = quietly(|| self.model.run(given, &self.taps, None))
            .and_then(|found| found.map_err(|e| e.to_string()))?;
        outputs.into_iter().map(tensor_of).collect()
    }
}

fn rten_tensor_value<T>(shape: &[usize], values: Vec<T>) -> std::result::Result<Value, String>
where
    Value: From<rten_tensor::Tensor<T>>,
{
    Ok(rten_tensor::Tensor::try_from_data(shape, values).map_err(|e| e.to_string())?.into())
}

fn tensor_of(value: Value) -> std::result::Result<Tensor, String> {
    use rten_tensor::Layout;
    let shape = value.shape().to_vec();
    if let Some(tensor) = value.as_tensor_view::<f32>() {
        return Ok(Tensor { shape, numbers: Numbers::Real(tensor.iter().copied().collect()) });
    }
    if let Some(tensor) = value.as_tensor_view::<i32>() {
        return Ok(Tensor { shape, numbers: Numbers::Whole(tensor.iter().copied().collect()) });
    }
    Err("a tapped tensor holds neither 32-bit floats nor whole numbers".into())
}

/// A panic of the engine as a text.
fn quietly<T>(run: impl FnOnce() -> T) -> std::result::Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        format!("the engine gave up: {}", text.unwrap_or_default())
    })
}

/// The error of a run that failed at a stimulus.
pub(crate) fn failed(network: &Network, at: &str, reason: String) -> ModelError {
    ModelError::Run {
        file: network.path().display().to_string(),
        at: at.to_owned(),
        reason,
        hint: "compare the preparation file with the network's inputs (`stereotax info`)".into(),
    }
}
