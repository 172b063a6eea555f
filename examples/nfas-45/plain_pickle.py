"""Read pickles that hold plain NumPy arrays of numbers, and refuse every other.

A pickle is a program. This reader lets it name five things only, all of which are stand-ins written here:
none of
NumPy's own constructors ever sees what the file says, and no other code can be reached. What it builds is
checked
(type of the numbers, shape against the number of bytes) before an array is made of it.
"""

import io
import pickle
import re
from pathlib import Path

import numpy as np

_NUMBER = re.compile(r"^[<>|=]?[fiub][1248]$")


class NotPlain(pickle.UnpicklingError, ValueError):
    """The file asks for something else than arrays of numbers, texts, lists and dictionaries."""


def load(path):
    """What the pickle holds: arrays of numbers, numbers, texts, and lists, tuples or dictionaries of them."""
    raw = Path(path).read_bytes()

    class Dtype:
        def __init__(self, code, *flags):
            self.code = code.decode("ascii") if isinstance(code, bytes) else code
            if not isinstance(self.code, str) or not _NUMBER.match(self.code):
                raise NotPlain(f"`{path}` has an array of {self.code!r:.40}, but numbers expected")
            self.order = ""

        def __setstate__(self, state):
            if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
                raise NotPlain(f"`{path}` has a type of numbers that is none of NumPy's plain ones")
            if len(state) > 3 and any(part is not None for part in state[2:5]):
                raise NotPlain(f"`{path}` has an array with named fields")
            self.order = state[1]

        def plain(self):
            made = np.dtype(self.code.lstrip("<>|="))
            return made.newbyteorder(self.order) if self.order in ("<", ">") else made

    def checked(raw_bytes, dtype, shape, fortran):
        if isinstance(raw_bytes, str):  # bytes of Python 2
            raw_bytes = raw_bytes.encode("latin-1")
        ok = (
            isinstance(raw_bytes, bytes | bytearray) and isinstance(dtype, Dtype) and isinstance(shape, tuple)
        )
        if not ok or len(shape) > 32 or not all(type(n) is int and n >= 0 for n in shape):
            raise NotPlain(f"`{path}` has an array whose parts are not those of NumPy")
        size = dtype.plain().itemsize
        for n in shape:
            size *= n
        if size != len(raw_bytes):
            raise NotPlain(
                f"`{path}` has an array of the shape {shape} in {len(raw_bytes)} bytes, not {size}"
            )
        return np.frombuffer(bytes(raw_bytes), dtype.plain()).reshape(shape, order="F" if fortran else "C")

    class Unfilled:
        value = None

        def __init__(self, *_):
            pass

        def __setstate__(self, state):
            if not isinstance(state, tuple) or len(state) != 5:
                raise NotPlain(f"`{path}` has an array whose parts are not those of NumPy")
            _, shape, dtype, fortran, data = state
            self.value = checked(data, dtype, shape, bool(fortran))

    class Ndarray:
        """Only ever an argument."""

    def reconstruct(cls, shape, code):
        if cls is not Ndarray:
            raise NotPlain(f"`{path}` builds something else than an array")
        return Unfilled()

    def frombuffer(data, dtype, shape, order):
        return checked(data, dtype, shape, order == "F")

    def scalar(dtype, data):
        return checked(data, dtype, (), False)[()]

    def encode(text, name):
        if name not in ("latin1", "latin-1") or not isinstance(text, str):
            raise NotPlain(f"`{path}` asks for the codec {name!r}")
        return text.encode("latin-1")

    allowed = {
        "ndarray": Ndarray,
        "dtype": Dtype,
        "_reconstruct": reconstruct,
        "_frombuffer": frombuffer,
        "scalar": scalar,
    }
    modules = {
        "numpy",
        "numpy.core.multiarray",
        "numpy._core.multiarray",
        "numpy.core.numeric",
        "numpy._core.numeric",
    }

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            if module in modules and name in allowed:
                return allowed[name]
            if (module, name) == ("_codecs", "encode"):
                return encode
            raise NotPlain(
                f"`{path}` asks for {module}.{name}, but plain arrays of numbers expected\n"
                "hint: this is refused, since a pickle can run any code; ask for the file as .npy or .npz"
            )

    def finished(value, depth=0):
        if depth > 20:
            raise NotPlain(f"`{path}` is nested too deeply")
        if isinstance(value, Unfilled):
            if value.value is None:
                raise NotPlain(f"`{path}` has an array without numbers")
            return value.value
        if isinstance(value, dict):
            return {finished(k, depth + 1): finished(v, depth + 1) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(finished(v, depth + 1) for v in value)
        if value is None or isinstance(value, bool | int | float | str | bytes | np.ndarray | np.generic):
            return value
        raise NotPlain(f"`{path}` holds {type(value).__name__}, but plain arrays of numbers expected")

    try:
        return finished(Reader(io.BytesIO(raw), encoding="latin-1").load())
    except NotPlain:
        raise
    except Exception as reason:  # cut short, or no pickle at all: whatever its opcodes stumbled over
        raise NotPlain(f"`{path}` cannot be read as a pickle of plain arrays: {reason}") from None
