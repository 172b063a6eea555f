"""`info`, `convert` and `extract` are the command: what it says, and its refusals as exceptions."""

import json
import subprocess

import numpy as np
import pytest
import stereotax as sx
from stereotax import _files


def test_info_tells_gaps_and_the_line_of_a_study(tmp_path):
    values = np.zeros((5, 3))
    values[1, 2] = values[4, 0] = np.nan
    np.save(tmp_path / "a.npy", values)
    found = sx.info(tmp_path / "a.npy")
    assert (found["arrays"][0]["gaps"], found["arrays"][0]["rows_with_gaps"]) == (2, 2)
    assert "responses" in found["study"]
    with pytest.raises(FileNotFoundError):
        sx.info(tmp_path / "b.npy")
    (tmp_path / "c.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"the bytes of a \.npy file"):
        sx.info(tmp_path / "c.npy")


def test_convert_keeps_numbers_and_replaces_nothing_unasked(tmp_path):
    a = np.arange(12.0).reshape(4, 3)
    np.savez(tmp_path / "x.npz", a=a, b=np.ones((4, 2)), c=np.ones(7))
    with pytest.raises(ValueError, match="rows"):
        sx.convert(tmp_path / "x.npz", tmp_path / "x.safetensors")
    written = sx.convert(tmp_path / "x.npz", tmp_path / "x.safetensors", arrays=["a", "b"])
    back = sx.convert(written, tmp_path / "a.npy", arrays=["a"])
    assert np.array_equal(np.load(back), a)
    with pytest.raises(ValueError, match="force"):
        sx.convert(written, back, arrays=["a"])
    sx.convert(written, back, arrays=["b"], force=True)
    assert np.load(back).shape == (4, 2)


def test_every_setting_of_extract_reaches_the_command(monkeypatch):
    seen = []

    def run(command, **_):
        seen.append(command[3:])
        return subprocess.CompletedProcess(command, 0, json.dumps({"layers": []}), "")

    monkeypatch.setattr(_files.subprocess, "run", run)
    changes = {"layers": ["a", "b"], "preparation": "p.toml", "pooling": "last", "batch": 3, "seed": 9}
    changes["engine"] = "rten"
    sx.extract("n.onnx", "s", "o.safetensors")
    for key, value in changes.items():
        sx.extract("n.onnx", "s", "o.safetensors", **{key: value})
    assert len({tuple(command) for command in seen}) == 7
    sx.info("f", scan=True)
    assert seen[-1] == ["info", "f", "--json", "--scan"]


def test_a_network_that_is_none_is_refused(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"PK\x03\x04")
    (tmp_path / "net.toml").write_text('[input]\nkind = "numbers"\n')
    with pytest.raises(ValueError, match="PyTorch"):
        sx.extract(tmp_path / "net.onnx", tmp_path, tmp_path / "o.safetensors")


def message(*fields):
    """A protobuf message: whole numbers and bytes by field number."""

    def varint(value):
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)

    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def doubling_network(folder):
    """Tokens, cast to numbers and added to themselves, twice."""

    def node(op, inputs, output, *more):
        return (1, message(*((1, name) for name in inputs), (2, output), (4, op), *more))

    axes = message((1, message((2, "n"))), (1, message((2, "m"))))
    given = message((1, "tokens"), (2, message((1, message((1, 7), (2, axes))))))
    to_real = (5, message((1, "to"), (3, 1), (20, 2)))
    graph = message(
        node("Cast", ["tokens"], "real", to_real),
        node("Add", ["real", "real"], "two"),
        node("Add", ["two", "two"], "four"),
        (2, "net"),
        (11, given),
        (12, message((1, "four"))),
    )
    (folder / "net.onnx").write_bytes(message((1, 8), (7, graph), (8, message((1, ""), (2, 17)))))
    (folder / "net.toml").write_text('[input]\nkind = "numbers"\n')
    (folder / "texts.csv").write_text("stimulus_id,text\na,1 2 6\nb,4 4 7\nc,5 1 0\n")
    return folder / "net.onnx", folder / "texts.csv"


#: Answers as ONNX Runtime would, for that network; tensors in the order in which they are asked for.
STAND_IN = """
import numpy as np
__version__ = "9.8.7"

class SessionOptions:
    def add_session_config_entry(self, key, value):
        assert key.startswith("session.")

class InferenceSession:
    def __init__(self, network, options, providers):
        if b"Add" not in network:
            raise RuntimeError("what is this?")
        assert options.log_severity_level == 4 and providers == ["CPUExecutionProvider"]
    def get_inputs(self):
        given = type("Input", (), {})()
        given.name, given.type = "tokens", "tensor(int64)"
        return [given]
    def run(self, taps, inputs):
        x = inputs["tokens"]
        assert x.dtype == np.int64 and list(inputs) == ["tokens"]
        if x.max() > 90:
            raise RuntimeError("a token too large")
        answers = {"real": x.astype("f4"), "two": np.asfortranarray(2.0 * x), "four": 4 * x}
        return [answers[tap] for tap in taps]
"""


def metadata(path):
    with open(path, "rb") as file:
        return json.loads(file.read(int.from_bytes(file.read(8), "little")))["__metadata__"]


def rows(path, layer):
    return np.load(sx.convert(path, path.with_name("row.npy"), arrays=[layer], force=True))


def test_onnxruntime_runs_networks_where_it_is_there(tmp_path, monkeypatch):
    net, texts = doubling_network(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "onnxruntime.py").write_text(STAND_IN)
    built_in, other = tmp_path / "built-in.safetensors", tmp_path / "other.safetensors"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "there"))
    settings = {"layers": ["four", "two"], "pooling": "keep", "batch": 2}
    assert sx.extract(net, texts, other, **settings)["engine"] == "onnxruntime 9.8.7"
    assert sx.extract(net, texts, built_in, engine="rten", **settings)["engine"].startswith("rten")
    assert metadata(other)["engine"] == "onnxruntime 9.8.7" and metadata(other)["pooling"] == "keep"
    for layer, factor in [("four", 4), ("two", 2)]:
        expected = factor * np.array([[1, 2, 6], [4, 4, 7], [5, 1, 0]])
        assert rows(other, layer).reshape(3, 3).tolist() == expected.tolist()
        assert np.array_equal(rows(other, layer), rows(built_in, layer))
    texts.write_text("stimulus_id,text\na,1 2\nb,99\n")
    with pytest.raises(RuntimeError, match="stimulus `b`: a token too large"):
        sx.extract(net, texts, tmp_path / "failed.safetensors", layers=["two"])


def test_an_engine_that_is_not_there_is_named(tmp_path, monkeypatch):
    net, texts = doubling_network(tmp_path)
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not for this machine')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"(?s)not for this machine.*stereotax\[onnx\]"):
        sx.extract(net, texts, tmp_path / "o.safetensors", layers=["two"], engine="onnxruntime")
    assert not (tmp_path / "o.safetensors").exists()
    found = sx.extract(net, texts, tmp_path / "o.safetensors", layers=["two"])
    assert found["engine"].startswith("rten")
    with pytest.raises(ValueError, match="auto"):
        sx.extract(net, texts, tmp_path / "o.safetensors", engine="tensorrt")
