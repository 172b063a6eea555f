"""Write activations of a model, batch by batch, into one safetensors file that a study reads."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from ._arrays import Array

_TYPES = {"float32": "F32", "float16": "F16", "float64": "F64"}
#: Seconds between two points from which a recording can go on.
_EVERY_S = 2.0


class ActivationStore:
    """Layers of known shape, filled row by row; what is finished survives the end of the process.

    The data grow in `NAME.safetensors.part`; `NAME.safetensors.progress` counts the rows that are on disk.
    The finished file gets its name last. `NAME.csv` holds the ids of the rows (column stimulus_id).
    """

    def __init__(
        self,
        path: Path,
        ids: list[str],
        layers: dict[str, tuple[int, ...]],
        dtype: str,
        about: dict[str, str],
    ) -> None:
        self.path = path
        self.ids = ids
        self.ids_path = path.with_suffix(".csv")
        self._part = path.with_name(path.name + ".part")
        self._progress = path.with_name(path.name + ".progress")
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._layers = layers
        marks = hashlib.sha256(json.dumps([ids, list(layers.items()), dtype, about]).encode()).hexdigest()
        header: dict[str, Any] = {
            "__metadata__": {**about, "stimulus_ids": self.ids_path.name, "plan": marks}
        }
        self._offsets: dict[str, int] = {}
        at = 0
        for name, shape in layers.items():
            n_bytes = len(ids) * int(np.prod(shape)) * self._dtype.itemsize
            header[name] = {
                "dtype": _TYPES[dtype],
                "shape": [len(ids), *shape],
                "data_offsets": [at, at + n_bytes],
            }
            self._offsets[name] = at
            at += n_bytes
        text = json.dumps(header, ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        self._head = len(text).to_bytes(8, "little") + text
        self._size = len(self._head) + at
        self._marks = marks
        self._saved_at = time.monotonic()

    @property
    def n_bytes(self) -> int:
        """Size of the finished file."""
        return self._size

    def open(self, overwrite: bool) -> int:
        """Rows that are finished already. All of them if the file is."""
        if overwrite:
            for path in (self.path, self._part, self._progress):
                path.unlink(missing_ok=True)
        if self.path.exists():
            if self._matches(self.path):
                return len(self.ids)
            raise self._other(self.path)
        if self._part.exists() and self._progress.exists():
            told = json.loads(self._progress.read_text(encoding="utf-8"))
            if told.get("plan") != self._marks or not self._matches(self._part):
                raise self._other(self._part)
            return int(told["rows"])
        with open(self._part, "wb") as file:
            file.write(self._head)
            file.truncate(self._size)
        self._note(0)
        return 0

    def _matches(self, path: Path) -> bool:
        with open(path, "rb") as file:
            return path.stat().st_size == self._size and file.read(len(self._head)) == self._head

    def _other(self, path: Path) -> ValueError:
        return ValueError(
            f"`{path}` is there and holds other stimuli, layers or settings than asked for now\n"
            "hint: give another name, or say overwrite=True"
        )

    def row(self, index: int) -> dict[str, Array]:
        """One finished row of every layer."""
        path = self.path if self.path.exists() else self._part
        with open(path, "rb") as file:
            return {name: self._read(file, name, index) for name in self._layers}

    def _read(self, file: Any, name: str, index: int) -> Array:
        count = int(np.prod(self._layers[name]))
        file.seek(len(self._head) + self._offsets[name] + index * count * self._dtype.itemsize)
        raw = np.frombuffer(file.read(count * self._dtype.itemsize), dtype=self._dtype)
        return raw.reshape(self._layers[name])

    def write(self, file: Any, first: int, rows: dict[str, Array]) -> None:
        """Rows `first`, `first` + 1, … of every layer, into the file that `appending` opened."""
        count = 0
        for name, values in rows.items():
            count = len(values)
            stored = np.ascontiguousarray(values, dtype=self._dtype)
            row_bytes = int(np.prod(self._layers[name])) * self._dtype.itemsize
            file.seek(len(self._head) + self._offsets[name] + first * row_bytes)
            file.write(stored.tobytes())
        if time.monotonic() - self._saved_at > _EVERY_S:
            self.save(file, first + count)

    def appending(self) -> Any:
        """The unfinished file, open for writing."""
        return open(self._part, "r+b")

    def save(self, file: Any, rows: int) -> None:
        """Bring the rows to disk, then count them as finished."""
        file.flush()
        os.fsync(file.fileno())
        self._note(rows)
        self._saved_at = time.monotonic()

    def _note(self, rows: int) -> None:
        new = self._progress.with_name(self._progress.name + ".new")
        new.write_text(json.dumps({"plan": self._marks, "rows": rows}), encoding="utf-8")
        os.replace(new, self._progress)

    def finish(self) -> None:
        """Write the ids, give the file its name, forget the count."""
        new = self.ids_path.with_name(self.ids_path.name + ".new")
        with open(new, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["stimulus_id"])
            writer.writerows([name] for name in self.ids)
        os.replace(new, self.ids_path)
        os.replace(self._part, self.path)
        self._progress.unlink(missing_ok=True)
