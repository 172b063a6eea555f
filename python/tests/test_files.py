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
    sx.extract("n.onnx", "s", "o.safetensors")
    for key, value in changes.items():
        sx.extract("n.onnx", "s", "o.safetensors", **{key: value})
    assert len({tuple(command) for command in seen}) == 6
    sx.info("f", scan=True)
    assert seen[-1] == ["info", "f", "--json", "--scan"]


def test_a_network_that_is_none_is_refused(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"PK\x03\x04")
    (tmp_path / "net.toml").write_text('[input]\nkind = "numbers"\n')
    with pytest.raises(ValueError, match="PyTorch"):
        sx.extract(tmp_path / "net.onnx", tmp_path, tmp_path / "o.safetensors")
