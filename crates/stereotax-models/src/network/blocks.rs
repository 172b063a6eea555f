//! Find where the blocks of a network end: the depth at which it is usually read.
//!
//! ```text
//! with additions   a residual addition is x + f(x), where f(x) is made from x. It ends a block; where f holds a softmax
//!                  (attention), the last addition before the next such one does, so that a transformer has one output
//!                  per block and not two. An activation function that alone reads the sum belongs to it (ResNet).
//!                  If all sums but the last are read by a normalisation alone (post-norm), its output is taken instead.
//! without          the output of every weighted operation (Conv, Gemm, MatMul, LSTM, GRU, RNN) after what follows it one
//!                  by one: biases, normalisations, activation functions. A depthwise convolution belongs to the
//!                  pointwise one behind it. The last such layer, the network's own output, is left out.
//! ```
//!
//! The sum is taken before the final normalisation, not after it. Source: specs nfas-dmd 3.1.
//! Differs from a look at module names: it needs none. Blocks that change the width without an addition (the strided
//! ones of MobileNet v2) are not found; name them. Cost: O(nodes²) at worst.

use std::collections::{HashMap, HashSet};

use super::graph::{Network, Node};

/// What reads a tensor one by one and changes no position.
const POINTWISE: [&str; 24] = [
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Elu",
    "Selu",
    "Celu",
    "Gelu",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Mish",
    "Tanh",
    "Clip",
    "Softplus",
    "Softsign",
    "Erf",
    "ThresholdedRelu",
    "Swish",
    "BatchNormalization",
    "Identity",
    "Dropout",
    "Cast",
    "QuickGelu",
    "FusedGelu",
];
/// Operations with weights.
const WEIGHTED: [&str; 8] = ["Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN", "FusedConv"];

/// The tensors at which blocks end, shallow to deep; empty where none is found.
pub fn blocks(network: &Network) -> Vec<String> {
    let graph = Links::of(network);
    let sums = graph.residual_sums();
    if sums.len() >= 2 { graph.ends_of_blocks(&sums) } else { graph.ends_of_layers() }
}

/// Who makes and who reads each tensor.
struct Links<'a> {
    network: &'a Network,
    maker: HashMap<&'a str, usize>,
    readers: HashMap<&'a str, Vec<usize>>,
}

/// x + f(x).
struct Sum {
    node: usize,
    /// Operations of f.
    branch: HashSet<usize>,
}

impl<'a> Links<'a> {
    fn of(network: &'a Network) -> Self {
        let mut maker = HashMap::new();
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, node) in network.nodes.iter().enumerate() {
            for name in &node.outputs {
                maker.insert(name.as_str(), at);
            }
            for name in node.inputs.iter().filter(|name| !name.is_empty()) {
                readers.entry(name).or_default().push(at);
            }
        }
        Links { network, maker, readers }
    }

    fn node(&self, at: usize) -> &'a Node {
        &self.network.nodes[at]
    }

    fn output(&self, at: usize) -> &'a str {
        self.node(at).outputs.first().map_or("", String::as_str)
    }

    fn readers_of(&self, tensor: &str) -> &[usize] {
        self.readers.get(tensor).map_or(&[], Vec::as_slice)
    }

    fn residual_sums(&self) -> Vec<Sum> {
        let mut sums = Vec::new();
        for (at, node) in self.network.nodes.iter().enumerate() {
            if node.op != "Add" || node.inputs.len() != 2 {
                continue;
            }
            if node.inputs.iter().any(|input| self.network.is_constant(input)) {
                continue;
            }
            let [a, b] = [&node.inputs[0], &node.inputs[1]];
            // f(x) is made from x by at least one operation with weights.
            if let Some(branch) =
                self.between(a, b).or_else(|| self.between(b, a)).or_else(|| self.fork(a, b))
            {
                sums.push(Sum { node: at, branch });
            }
        }
        sums
    }

    /// The operations that make `to` from `from`, if some do and one has weights.
    fn between(&self, from: &str, to: &str) -> Option<HashSet<usize>> {
        let branch = self.above(to, Some(from))?;
        let weighted = branch.iter().any(|&at| WEIGHTED.contains(&self.node(at).op.as_str()));
        weighted.then_some(branch)
    }

    /// Both sides are made from one tensor, one of them by at most a convolution and what follows it (the shortcut of
    /// a block that changes the width).
    fn fork(&self, a: &str, b: &str) -> Option<HashSet<usize>> {
        let origin = |tensor: &str| {
            let (mut tensor, mut weighted) = (tensor.to_owned(), 0);
            // A broken file may go round in a circle.
            for _ in 0..self.network.nodes.len() {
                let at = *self.maker.get(tensor.as_str())?;
                let node = self.node(at);
                let is_weighted = WEIGHTED.contains(&node.op.as_str());
                let passes =
                    is_weighted || node.op.ends_with("Pool") || POINTWISE.contains(&node.op.as_str());
                if !passes || weighted == 1 && is_weighted {
                    return Some(tensor);
                }
                weighted += usize::from(is_weighted);
                tensor = node.inputs.iter().find(|input| !self.network.is_constant(input))?.clone();
                if weighted == 1 && self.readers_of(&tensor).len() > 1 {
                    return Some(tensor);
                }
            }
            None
        };
        let (from_a, from_b) = (origin(a), origin(b));
        from_a
            .and_then(|from| self.between(&from, b))
            .or_else(|| from_b.and_then(|from| self.between(&from, a)))
    }

    /// Operations above `tensor` down to `stop`; `None` if `stop` is not among what it is made from.
    fn above(&self, tensor: &str, stop: Option<&str>) -> Option<HashSet<usize>> {
        let (mut found, mut open, mut met) = (HashSet::new(), vec![tensor], stop.is_none());
        // Nothing older than the maker of `stop` can lie between.
        let oldest = stop.and_then(|s| self.maker.get(s)).copied();
        while let Some(tensor) = open.pop() {
            if Some(tensor) == stop {
                met = true;
                continue;
            }
            let Some(&at) = self.maker.get(tensor) else { continue };
            if oldest.is_some_and(|oldest| at < oldest) || !found.insert(at) {
                continue;
            }
            open.extend(
                self.node(at).inputs.iter().filter(|i| !self.network.is_constant(i)).map(String::as_str),
            );
        }
        met.then_some(found)
    }

    fn ends_of_blocks(&self, sums: &[Sum]) -> Vec<String> {
        let attends = |sum: &Sum| {
            sum.branch.iter().any(|&at| {
                matches!(self.node(at).op.as_str(), "Softmax" | "Attention" | "MultiHeadAttention")
            })
        };
        let any_attention = sums.iter().any(attends);
        let mut ends: Vec<usize> = Vec::new();
        for (i, sum) in sums.iter().enumerate() {
            let next_attends = sums.get(i + 1).is_none_or(attends);
            let before_first = any_attention && !sums[..=i].iter().any(attends);
            if !any_attention || before_first || next_attends {
                ends.push(sum.node);
            }
        }
        let alone = |at: usize| match self.readers_of(self.output(at)) {
            [one] => Some(*one),
            _ => None,
        };
        let is_norm =
            |at: usize| matches!(self.node(at).op.as_str(), "LayerNormalization" | "SkipLayerNormalization");
        let inner = &ends[..ends.len().saturating_sub(1)];
        let post_norm = !inner.is_empty() && inner.iter().all(|&at| alone(at).is_some_and(is_norm));
        let name = |&at: &usize| {
            let end = match alone(at) {
                Some(next) if post_norm && is_norm(next) => next,
                Some(next) if POINTWISE.contains(&self.node(next).op.as_str()) => next,
                _ => at,
            };
            self.output(end).to_owned()
        };
        ends.iter().map(name).collect()
    }

    fn ends_of_layers(&self) -> Vec<String> {
        let mut ends: Vec<String> = Vec::new();
        for (at, node) in self.network.nodes.iter().enumerate() {
            if !WEIGHTED.contains(&node.op.as_str()) || self.network.is_constant(self.output(at)) {
                continue;
            }
            let end = self.follow(at);
            let next = self.readers_of(self.output(end));
            let leads_to_pointwise = self.is_depthwise(node)
                && matches!(next, [one] if self.node(*one).op == "Conv" && !self.is_depthwise(self.node(*one)));
            if !leads_to_pointwise {
                ends.push(self.output(end).to_owned());
            }
        }
        // The last layer of all is the network's answer.
        if let Some(last) = ends.last()
            && ends.len() > 1
            && self.leads_only_to_the_end(last)
        {
            ends.pop();
        }
        ends
    }

    /// Down the row of operations that each alone read the one before.
    fn follow(&self, mut at: usize) -> usize {
        for _ in 0..self.network.nodes.len() {
            let [next] = self.readers_of(self.output(at)) else { return at };
            let node = self.node(*next);
            let with_constant = matches!(node.op.as_str(), "Add" | "Mul" | "Sub" | "Div")
                && node.inputs.iter().any(|input| self.network.is_constant(input));
            if !POINTWISE.contains(&node.op.as_str()) && !with_constant {
                return at;
            }
            at = *next;
        }
        at
    }

    fn is_depthwise(&self, node: &Node) -> bool {
        let group = node.integers.get("group").and_then(|g| g.first()).copied().unwrap_or(1);
        node.op == "Conv" && group > 1
    }

    /// Whether no operation with weights follows.
    fn leads_only_to_the_end(&self, tensor: &str) -> bool {
        let mut open: Vec<&str> = vec![tensor];
        let mut seen = HashSet::new();
        while let Some(tensor) = open.pop() {
            for &at in self.readers_of(tensor) {
                if WEIGHTED.contains(&self.node(at).op.as_str()) {
                    return false;
                }
                if seen.insert(at) {
                    open.extend(self.node(at).outputs.iter().map(String::as_str));
                }
            }
        }
        true
    }
}

/// Whether the units of a tensor are its first axis behind the batch: so it is after a convolution and what keeps the
/// order of its axes.
pub fn units_first(network: &Network, tensor: &str) -> bool {
    let graph = Links::of(network);
    let mut tensor = tensor;
    for _ in 0..network.nodes.len() {
        let Some(&at) = graph.maker.get(tensor) else { return false };
        let node = graph.node(at);
        let op = node.op.as_str();
        if matches!(
            op,
            "Conv" | "ConvTranspose" | "FusedConv" | "InstanceNormalization" | "GroupNormalization"
        ) {
            return true;
        }
        let keeps = POINTWISE.contains(&op)
            || op.ends_with("Pool")
            || matches!(
                op,
                "Add" | "Mul" | "Sub" | "Div" | "Concat" | "Pad" | "Sqrt" | "Pow" | "Resize" | "Upsample"
            );
        if !keeps {
            return false;
        }
        match node.inputs.iter().find(|input| !input.is_empty() && !network.is_constant(input)) {
            Some(input) => tensor = input,
            None => return false,
        }
    }
    false
}
