"""Run networks by ONNX Runtime, for the command: what `crates/stereotax-python/src/command.rs` calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._arrays import Array

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


def engine() -> str:
    """Name and version, as they stand in a store. Error: the extra `onnx` is not installed."""
    return f"onnxruntime {_runtime().__version__}"


def load(network: bytes, taps: list[str]) -> Callable[[dict[str, Array]], list[Array]]:
    """A network that gives the tensors `taps`, in their order, of inputs by name.

    Inputs are converted to the types that the network declares; outputs come as 32-bit floats or whole
    numbers, last axis fastest. One session, on the processor, with ONNX Runtime's own number of threads.
    """
    runtime = _runtime()
    options = runtime.SessionOptions()
    # Errors come as exceptions; nothing but data goes to stdout, nothing unasked to stderr.
    options.log_severity_level = 4
    # Its threads do not spin while rows are pooled and the next stimuli prepared.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = runtime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    types = {given.name: _TYPES.get(given.type) for given in session.get_inputs()}

    def run(inputs: dict[str, Array]) -> list[Array]:
        given = {name: np.asarray(array, dtype=types.get(name)) for name, array in inputs.items()}
        return [_plain(name, output) for name, output in zip(taps, session.run(taps, given), strict=True)]

    return run


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            f"no package `onnxruntime` ({error}); `pip install stereotax[onnx]` brings it"
        ) from error
    return onnxruntime


def _plain(name: str, output: Any) -> Array:
    array = np.asarray(output)
    if array.dtype.kind == "f":
        # Numbers that 32 bits do not hold become infinite, which whoever reads them refuses.
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(array, dtype=np.float32)
    if array.dtype.kind in "iub":
        whole = np.ascontiguousarray(array, dtype=np.int32)
        if not np.array_equal(whole, array):
            raise ValueError(f"tensor `{name}`: expected whole numbers of 32 bits, found larger ones")
        return whole
    raise ValueError(f"tensor `{name}`: expected numbers, found {array.dtype}")
