"""What is in a file, one format to another, and networks in ONNX files: the command, from Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PathLike = str | os.PathLike[str]


def _command(*arguments: str) -> str:
    """What the command prints; its message as an exception where it refuses."""
    done = subprocess.run(
        [sys.executable, "-m", "stereotax", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return done.stdout
    message = done.stderr.strip().rpartition("error: ")[2]
    if "nothing of that name" in message:
        raise FileNotFoundError(message)
    raise ValueError(message) if done.returncode == 2 else RuntimeError(message)


def info(file: PathLike, *, scan: bool = False) -> dict[str, Any]:
    """What a file is: format, arrays with shape, dtype and gaps, units, the line of study.toml that uses it.

    `file`: .npy, .npz, .safetensors, .zarr, HDF5, CSV, NIfTI, CIFTI, GIFTI, FreeSurfer, ONNX, PNG, JPEG
    or WAV.
    `scan=True` counts NaN and infinities in arrays of more than 256 MB too. Errors: no such file; a file
    of none of these formats, or one that is cut short, with what it looks like. Cost: one pass over the
    numbers; memory of a few MB. The same as `stereotax info --json`.

    >>> import numpy as np, pathlib, tempfile
    >>> import stereotax as sx
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "responses.npy"
    >>> np.save(path, np.zeros((20, 3)))
    >>> sx.info(path)["arrays"][0]["shape"]
    [20, 3]
    """
    found = _command("info", str(file), "--json", *(["--scan"] if scan else []))
    result: dict[str, Any] = json.loads(found)
    return result


def convert(
    source: PathLike, target: PathLike, *, arrays: Sequence[str] | None = None, force: bool = False
) -> Path:
    """Write the arrays of a file into .safetensors or .zarr (32 bits, with ids) or one into .npy (64 bits).

    `arrays` chooses by name; all that hold numbers by default. Nothing is replaced unless `force`.
    Errors: arrays of different numbers of rows, several for .npy, numbers that 32 bits do not hold, a
    target that exists. Cost: one pass; memory of a few MB. The same as `stereotax convert`. Returns the
    target.

    >>> import numpy as np, pathlib, tempfile
    >>> import stereotax as sx
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> np.savez(folder / "layers.npz", a=np.zeros((4, 2)), b=np.ones((4, 5)))
    >>> written = sx.convert(folder / "layers.npz", folder / "layers.safetensors")
    >>> [array["key"] for array in sx.info(written)["arrays"]]
    ['a', 'b']
    """
    chosen = ["--arrays", ",".join(arrays)] if arrays else []
    _command("convert", str(source), str(target), *chosen, *(["--force"] if force else []))
    return Path(target)


def extract(
    network: PathLike,
    stimuli: PathLike,
    out: PathLike,
    *,
    layers: str | Sequence[str] = "blocks",
    preparation: PathLike | None = None,
    pooling: str = "mean",
    batch: int = 8,
    seed: int = 0,
    engine: str = "auto",
) -> dict[str, Any]:
    """Run a network in an ONNX file over stimuli and write the activations of its layers for a study.

    `stimuli`: a folder of images or sounds, or a CSV with stimulus_id and file or text. `layers`:
    "blocks" (where blocks end, found in the graph), "all", or names of tensors or nodes, shallow to
    deep. `preparation`: a TOML that says how stimuli become inputs; by default the network's name with
    the ending .toml. `pooling`: mean, max, cls, last, flatten, keep, or "project:4096" for sparse random
    directions (Li, Hastie & Church 2006) of `seed`. `engine`: "rten", the built-in one; "onnxruntime",
    of the extra `onnx`; "auto": ONNX Runtime where it is installed. `out`: .safetensors or .zarr, stimuli
    × units per layer, with the ids of the stimuli, the engine and its version in it. An
    interrupted run goes on when called again. Returns what was written: file, n_stimuli, n_before,
    layers (name, row_shape), pooling, engine. Errors: stimuli that are not of the kind, layers that the
    network does not have, operations that the engine does not know, an engine that is not there. Cost:
    the network's own; memory: the network and one batch. The same as `stereotax extract`.

    >>> import stereotax as sx
    >>> sx.extract("net.onnx", "images", "net.safetensors", pooling="cls")["layers"]  # doctest: +SKIP
    [{'name': 'block1', 'row_shape': [192]}, {'name': 'block2', 'row_shape': [192]}]
    """
    names = layers if isinstance(layers, str) else ",".join(layers)
    more = [] if preparation is None else ["--preparation", str(preparation)]
    found = _command(
        "extract",
        str(network),
        *("--stimuli", str(stimuli), "--out", str(out), "--layers", names, "--pooling", pooling),
        *("--batch", str(batch), "--seed", str(seed), "--engine", engine, "--json", *more),
    )
    result: dict[str, Any] = json.loads(found)
    return result
