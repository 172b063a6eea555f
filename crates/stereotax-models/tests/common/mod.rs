//! Write small ONNX files: protobuf by hand, numbers that can be followed by hand.

/// A message in the making.
#[derive(Debug, Default, Clone)]
pub struct Message(pub Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn number(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    pub fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }
}

/// A graph in the making.
#[derive(Debug, Default, Clone)]
pub struct Graph {
    graph: Message,
}

impl Graph {
    /// `inputs -> op -> outputs`, with whole-number attributes.
    pub fn node(mut self, op: &str, inputs: &[&str], outputs: &[&str], integers: &[(&str, &[i64])]) -> Self {
        let mut node = Message::default();
        for name in inputs {
            node = node.text(1, name);
        }
        for name in outputs {
            node = node.text(2, name);
        }
        node = node.text(3, &format!("{}/{op}", outputs[0])).text(4, op);
        for (name, values) in integers {
            let mut attribute = Message::default().text(1, name);
            // A single number or a list: types 2 and 7.
            if matches!(*name, "axis" | "group" | "hidden_size") {
                attribute = attribute.number(3, values[0]).number(20, 2);
            } else {
                for value in *values {
                    attribute = attribute.number(8, *value);
                }
                attribute = attribute.number(20, 7);
            }
            node = node.bytes(5, &attribute.0);
        }
        self.graph = self.graph.bytes(1, &node.0);
        self
    }

    pub fn weight(mut self, name: &str, shape: &[i64], values: &[f32]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let mut tensor = Message::default();
        for n in shape {
            tensor = tensor.number(1, *n);
        }
        self.graph = self.graph.bytes(5, &tensor.number(2, 1).text(8, name).bytes(9, &raw).0);
        self
    }

    /// A weight whose numbers lie in another file.
    #[allow(dead_code)]
    pub fn weight_outside(mut self, name: &str, shape: &[i64], entries: &[(&str, &str)]) -> Self {
        let mut tensor = Message::default();
        for n in shape {
            tensor = tensor.number(1, *n);
        }
        tensor = tensor.number(2, 1).text(8, name).number(14, 1);
        for (key, value) in entries {
            tensor = tensor.bytes(13, &Message::default().text(1, key).text(2, value).0);
        }
        self.graph = self.graph.bytes(5, &tensor.0);
        self
    }

    /// Axes below 0 are free. Type 1 is f32, 7 is i64.
    pub fn input(mut self, name: &str, kind: i64, shape: &[i64]) -> Self {
        self.graph = self.graph.bytes(11, &value_info(name, kind, shape));
        self
    }

    pub fn output(mut self, name: &str) -> Self {
        self.graph = self.graph.bytes(12, &value_info(name, 1, &[]));
        self
    }

    pub fn model(self) -> Vec<u8> {
        let opset = Message::default().text(1, "").number(2, 17);
        Message::default().number(1, 8).bytes(7, &self.graph.text(2, "net").0).bytes(8, &opset.0).0
    }
}

fn value_info(name: &str, kind: i64, shape: &[i64]) -> Vec<u8> {
    let mut axes = Message::default();
    for n in shape {
        let axis = if *n < 0 { Message::default().text(2, "any") } else { Message::default().number(1, *n) };
        axes = axes.bytes(1, &axis.0);
    }
    let mut tensor = Message::default().number(1, kind);
    if !shape.is_empty() {
        tensor = tensor.bytes(2, &axes.0);
    }
    Message::default().text(1, name).bytes(2, &Message::default().bytes(1, &tensor.0).0).0
}

const STRIDES: (&str, &[i64]) = ("strides", &[1, 1]);

/// Pictures of 2 × 2: three pointwise convolutions, the last two with a way around them.
///
/// stem = relu(2 red − 1), relu(green + blue);  sum1 = stem + relu-free conv (units swapped);  sum2 = sum1 + 10 sum1.
pub fn residual() -> Vec<u8> {
    Graph::default()
        .input("image", 1, &[-1, 3, 2, 2])
        .weight("w0", &[2, 3, 1, 1], &[2.0, 0.0, 0.0, 0.0, 1.0, 1.0])
        .weight("b0", &[2], &[-1.0, 0.0])
        .weight("w1", &[2, 2, 1, 1], &[0.0, 1.0, 1.0, 0.0])
        .weight("w2", &[2, 2, 1, 1], &[10.0, 0.0, 0.0, 10.0])
        .node("Conv", &["image", "w0", "b0"], &["conv0"], &[STRIDES])
        .node("Relu", &["conv0"], &["stem"], &[])
        .node("Conv", &["stem", "w1"], &["conv1"], &[])
        .node("Add", &["conv1", "stem"], &["sum1"], &[])
        .node("Conv", &["sum1", "w2"], &["conv2"], &[STRIDES])
        .node("Add", &["sum1", "conv2"], &["sum2"], &[])
        .node("Relu", &["sum2"], &["block2"], &[])
        .node("GlobalAveragePool", &["block2"], &["pooled"], &[])
        .output("pooled")
        .model()
}

/// Tokens 0 to 3: an embedding of two units, and a table made from it with time first.
pub fn tokens() -> Vec<u8> {
    Graph::default()
        .input("tokens", 7, &[-1, -1])
        .weight("table", &[4, 2], &[0.0, 1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0])
        .weight("w", &[2, 2], &[1.0, 0.0, 0.0, -1.0])
        .node("Gather", &["table", "tokens"], &["embedding"], &[("axis", &[0])])
        .node("MatMul", &["embedding", "w"], &["mixed"], &[])
        .node("Transpose", &["mixed"], &["time_first"], &[("perm", &[1, 0, 2])])
        .output("time_first")
        .model()
}

/// [`tokens`] with the weights in another file: `table` behind 16 bytes, `w` behind it to the end.
#[allow(dead_code)]
pub fn tokens_outside(location: &str, offset: &str, length: &str) -> (Vec<u8>, Vec<u8>) {
    let table = [0.0f32, 1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0];
    let mut weights = vec![7u8; 16];
    weights.extend(table.iter().chain(&[1.0, 0.0, 0.0, -1.0]).flat_map(|x| x.to_le_bytes()));
    let graph = Graph::default()
        .input("tokens", 7, &[-1, -1])
        .weight_outside("table", &[4, 2], &[("location", location), ("offset", offset), ("length", length)])
        .weight_outside("w", &[2, 2], &[("location", "net.data"), ("offset", "48")])
        .node("Gather", &["table", "tokens"], &["embedding"], &[("axis", &[0])])
        .node("MatMul", &["embedding", "w"], &["mixed"], &[])
        .output("mixed");
    (graph.model(), weights)
}

/// Frames of two samples and a state that adds them up.
pub fn running_sum() -> Vec<u8> {
    Graph::default()
        .input("frame", 1, &[1, 2])
        .input("before", 1, &[1, 2])
        .weight("w", &[2, 2], &[1.0, 0.0, 0.0, 1.0])
        .node("MatMul", &["frame", "w"], &["same"], &[])
        .node("Add", &["same", "before"], &["after"], &[])
        .output("after")
        .model()
}
