"""Write the networks of the shared data as ONNX files, each with its preparation file beside it.

`write(name, data, folder)` takes one of `NETWORKS`, the folder `networks` of the shared data and a
folder to write to; it returns the path of the ONNX file. Needs numpy and onnx. The weights stay what
they are; only the layout of kernels changes (ONNX has channels first), and batch axes come first everywhere.
"""

import json
import math
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NETWORKS = (
    "mobilenet_v1_075",
    "darknet_tiny",
    "crepe_tiny",
    "silero_vad_16k",
    "charlstm_charlotte_bronte",
    "charlstm_darwin",
)
OPSET = 17


class Graph:
    """Nodes and weights in the order of their making."""

    def __init__(self):
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []

    def weight(self, name, values, dtype="f4"):
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=dtype), name))
        return name

    def ints(self, name, values):
        return self.weight(name, np.atleast_1d(values), "i8")

    def add(self, op, inputs, name, n_outputs=1, **attributes):
        outputs = [name] + [f"{name}_{i}" for i in range(1, n_outputs)]
        self.nodes.append(helper.make_node(op, inputs, outputs, name=f"{name}/{op}", **attributes))
        return name if n_outputs == 1 else outputs

    def save(self, path):
        graph = helper.make_graph(self.nodes, path.stem, self.inputs, self.outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 9
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())
        return path


def floats(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def normalise(graph, x, weights, key, name):
    parts = [weights[f"{key}/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")]
    names = [graph.weight(f"{name}.{i}", part) for i, part in enumerate(parts)]
    return graph.add("BatchNormalization", [x, *names], name, epsilon=1e-3)


def same(n, kernel, stride):
    """TensorFlow's padding: the odd row or column goes to the end."""
    out = math.ceil(n / stride)
    total = max((out - 1) * stride + kernel - n, 0)
    return out, (total // 2, total - total // 2)


def mobilenet(weights, path):
    graph, n = Graph(), 224
    graph.inputs = [floats("image", ["batch", 3, n, n])]
    zero, six = graph.weight("zero", 0.0), graph.weight("six", 6.0)

    def block(x, kernel, stride, group, key, name):
        nonlocal n
        size = kernel.shape[-1]
        n, pad = same(n, size, stride)
        w = graph.weight(f"{name}.kernel", kernel)
        x = graph.add(
            "Conv",
            [x, w],
            f"{name}.conv",
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[pad[0], pad[0], pad[1], pad[1]],
            group=group,
        )
        x = normalise(graph, x, weights, key, f"{name}.bn")
        return graph.add("Clip", [x, zero, six], name)

    x = block("image", weights["conv1/kernel"].transpose(3, 2, 0, 1), 2, 1, "conv1_bn", "conv1")
    for k in range(1, 14):
        depthwise = weights[f"conv_dw_{k}/depthwise_kernel"].transpose(2, 3, 0, 1)
        stride = 2 if k in (2, 4, 6, 12) else 1
        x = block(x, depthwise, stride, len(depthwise), f"conv_dw_{k}_bn", f"conv_dw_{k}")
        pointwise = weights[f"conv_pw_{k}/kernel"].transpose(3, 2, 0, 1)
        x = block(x, pointwise, 1, 1, f"conv_pw_{k}_bn", f"conv_pw_{k}")
    x = graph.add("GlobalAveragePool", [x], "pool")
    kernel = graph.weight("preds.kernel", weights["conv_preds/kernel"].transpose(3, 2, 0, 1))
    x = graph.add("Conv", [x, kernel, graph.weight("preds.bias", weights["conv_preds/bias"])], "conv_preds")
    x = graph.add("Flatten", [x], "logits")
    graph.add("Softmax", [x], "probabilities", axis=1)
    graph.outputs = [floats("probabilities", ["batch", 1000])]
    path.with_suffix(".toml").write_text(IMAGE + "mean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n")
    return graph.save(path)


IMAGE = """[input]
kind = "image"
height = 224
width = 224
fit = "stretch"
resample = "bilinear"
"""


def darknet(weights, layers, path):
    graph, n, x, folder = Graph(), 224, "image", {}
    graph.inputs = [floats("image", ["batch", 3, n, n])]
    for kind, name, settings in layers:
        if kind == "Conv2D":
            kernel = weights[f"{name}/kernel"].transpose(3, 2, 0, 1)
            size, stride = kernel.shape[-1], settings["strides"][0]
            n, pad = same(n, size, stride)
            inputs = [x, graph.weight(f"{name}.kernel", kernel)]
            if settings.get("use_bias"):
                inputs.append(graph.weight(f"{name}.bias", weights[f"{name}/bias"]))
            x = graph.add(
                "Conv",
                inputs,
                name,
                kernel_shape=[size, size],
                strides=[stride, stride],
                pads=[pad[0], pad[0], pad[1], pad[1]],
            )
        elif kind == "BatchNormalization":
            x = normalise(graph, x, weights, name, name)
        elif kind == "LeakyReLU":
            x = graph.add("LeakyRelu", [x], name, alpha=float(settings["alpha"]))
        elif kind == "MaxPooling2D":
            n, pad = same(n, 2, 2)
            x = graph.add(
                "MaxPool",
                [x],
                name,
                kernel_shape=[2, 2],
                strides=[2, 2],
                pads=[pad[0], pad[0], pad[1], pad[1]],
            )
        elif kind == "GlobalAveragePooling2D":
            x = graph.add("Flatten", [graph.add("GlobalAveragePool", [x], f"{name}.mean")], name)
        elif kind not in ("InputLayer", "Activation", "Dropout"):
            folder[kind] = name
    assert not folder, f"layers that the helper does not know: {folder}"
    graph.outputs = [floats(x, ["batch", 1000])]
    path.with_suffix(".toml").write_text(IMAGE)
    return graph.save(path)


def crepe(weights, path):
    graph, n, x = Graph(), 1024, "frame"
    graph.inputs = [floats("frame", ["batch", 1024])]
    x = graph.add("Reshape", [x, graph.ints("as_channel", [0, 1, 1024])], "channel")
    for k in range(1, 7):
        name = f"conv{k}"
        kernel = weights[f"crepe_{name}/kernel"][:, 0].transpose(2, 1, 0)
        stride = 4 if k == 1 else 1
        n, pad = same(n, kernel.shape[-1], stride)
        w, b = graph.weight(f"{name}.w", kernel), graph.weight(f"{name}.b", weights[f"crepe_{name}/bias"])
        x = graph.add("Conv", [x, w, b], f"{name}.conv", strides=[stride], pads=list(pad))
        x = graph.add("Relu", [x], f"{name}.relu")
        x = normalise(graph, x, weights, f"crepe_{name}_BN", f"{name}.bn")
        x = graph.add("MaxPool", [x], name, kernel_shape=[2], strides=[2])
        n //= 2
    x = graph.add("Transpose", [x], "time_first", perm=[0, 2, 1])
    x = graph.add("Flatten", [x], "flat")
    w = graph.weight("dense.w", weights["crepe_classifier/kernel"])
    x = graph.add("Gemm", [x, w, graph.weight("dense.b", weights["crepe_classifier/bias"])], "classifier")
    graph.add("Sigmoid", [x], "pitch")
    graph.outputs = [floats("pitch", ["batch", 360])]
    path.with_suffix(".toml").write_text(
        '[input]\nkind = "waveform"\nrate_hz = 16000\nframe = 1024\nhop = 1024\nnormalise = "frame"\n'
    )
    return graph.save(path)


def silero(weights, path):
    graph = Graph()
    graph.inputs = [floats("chunk", [1, 576]), floats("h", [1, 1, 128]), floats("c", [1, 1, 128])]
    # The last 64 samples in reverse, without the very last: reflection at the end.
    reflected = graph.ints("reflected", np.arange(574, 510, -1))
    x = graph.add("Gather", ["chunk", reflected], "tail", axis=1)
    x = graph.add("Concat", ["chunk", x], "padded", axis=1)
    x = graph.add("Unsqueeze", [x, graph.ints("axis_1", 1)], "channel")
    x = graph.add("Conv", [x, graph.weight("stft.w", weights["stft_conv.weight"])], "stft", strides=[128])
    cut = graph.ints("halves", [129, 129])
    real, imaginary = graph.add("Split", [x, cut], "real", n_outputs=2, axis=1)
    power = graph.add(
        "Add",
        [
            graph.add("Mul", [real, real], "real2"),
            graph.add("Mul", [imaginary, imaginary], "imaginary2"),
        ],
        "power",
    )
    x = graph.add("Sqrt", [power], "magnitude")
    for k, stride in ((1, 1), (2, 2), (3, 2), (4, 1)):
        w = graph.weight(f"conv{k}.w", weights[f"conv{k}.weight"])
        b = graph.weight(f"conv{k}.b", weights[f"conv{k}.bias"])
        x = graph.add("Conv", [x, w, b], f"conv{k}.conv", strides=[stride], pads=[1, 1])
        x = graph.add("Relu", [x], f"conv{k}")
    x = graph.add("Transpose", [x], "steps", perm=[2, 0, 1])

    def reordered(array):
        i, f, g, o = np.split(array, 4)
        return np.concatenate([i, o, f, g])

    w = graph.weight("lstm.w", reordered(weights["lstm_cell.weight_ih"])[None])
    r = graph.weight("lstm.r", reordered(weights["lstm_cell.weight_hh"])[None])
    bias = [reordered(weights[f"lstm_cell.bias_{part}"]) for part in ("ih", "hh")]
    b = graph.weight("lstm.b", np.concatenate(bias)[None])
    graph.nodes.append(
        helper.make_node(
            "LSTM",
            [x, w, r, b, "", "h", "c"],
            ["lstm", "h_next", "c_next"],
            name="lstm/LSTM",
            hidden_size=128,
        )
    )
    hidden = graph.add("Squeeze", ["h_next", graph.ints("axis_0", 0)], "hidden")
    x = graph.add("Relu", [hidden], "hidden_relu")
    x = graph.add("Unsqueeze", [x, graph.ints("axis_2", 2)], "hidden_column")
    w = graph.weight("final.w", weights["final_conv.weight"])
    x = graph.add("Conv", [x, w, graph.weight("final.b", weights["final_conv.bias"])], "final")
    x = graph.add("Sigmoid", [x], "speech_column")
    graph.add("Reshape", [x, graph.ints("as_row", [1, 1])], "speech")
    graph.outputs = [floats("speech", [1, 1]), floats("h_next", [1, 1, 128]), floats("c_next", [1, 1, 128])]
    path.with_suffix(".toml").write_text(
        '[input]\nkind = "waveform"\nname = "chunk"\nrate_hz = 16000\nframe = 576\nhop = 512\n'
        'pad_start = 64\n\n[state]\nh = "h_next"\nc = "c_next"\n'
    )
    return graph.save(path)


def gates(array):
    """TensorFlow's order i, j, f, o to that of ONNX."""
    i, j, f, o = np.split(array, 4, axis=-1)
    return np.concatenate([i, o, f, j], axis=-1)


def charlstm(weights, vocabulary, path):
    graph = Graph()
    graph.inputs = [helper.make_tensor_value_info("characters", TensorProto.INT64, ["batch", "time"])]
    x = graph.add("Gather", [graph.weight("embedding.w", weights["embedding"]), "characters"], "embedding")
    x = graph.add("Transpose", [x], "steps", perm=[1, 0, 2])
    axis = graph.ints("axis_1", 1)
    for k in range(2):
        cell = {key.split("/")[-1]: weights[key] for key in weights if key.startswith(f"cell_{k}/")}
        kernel, bias = cell.get("kernel", cell.get("weights")), cell.get("bias", cell.get("biases"))

        bias = bias + np.repeat([0, 0, 1, 0], 128)  # forget gates
        w = graph.weight(f"cell_{k}.w", gates(kernel[:128]).T[None])
        r = graph.weight(f"cell_{k}.r", gates(kernel[128:]).T[None])
        b = graph.weight(f"cell_{k}.b", np.concatenate([gates(bias), np.zeros(512, "f4")])[None])
        x = graph.add("LSTM", [x, w, r, b], f"cell_{k}.all", hidden_size=128)
        x = graph.add("Squeeze", [x, axis], f"cell_{k}.steps")
        graph.add("Transpose", [x], f"cell_{k}", perm=[1, 0, 2])
    w = graph.weight("softmax.w", weights["softmax_w"])
    x = graph.add("MatMul", ["cell_1", w], "scores")
    x = graph.add("Add", [x, graph.weight("softmax.b", weights["softmax_b"])], "logits")
    graph.add("Softmax", [x], "probabilities", axis=2)
    graph.outputs = [floats("probabilities", ["batch", "time", len(weights["softmax_b"])])]
    path.with_name(f"{path.stem}.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    path.with_suffix(".toml").write_text(f'[input]\nkind = "characters"\nvocabulary = "{path.stem}.json"\n')
    return graph.save(path)


def write(name, data, folder):
    """Write one network; the path of its ONNX file."""
    data, path = Path(data) / name, Path(folder) / f"{name}.onnx"
    with np.load(data / "weights.npz") as archive:
        weights = {key: archive[key] for key in archive.files}
    if name == "mobilenet_v1_075":
        return mobilenet(weights, path)
    if name == "darknet_tiny":
        return darknet(weights, json.loads((data / "layers.json").read_text()), path)
    if name == "crepe_tiny":
        return crepe(weights, path)
    if name == "silero_vad_16k":
        return silero(weights, path)
    return charlstm(weights, json.loads((data / "vocabulary.json").read_text()), path)
