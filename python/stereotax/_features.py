"""Read features that other tools have extracted: THINGSvision, Net2Brain, Brain-Score, tables of betas."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from ._arrays import Array, refuse_twice
from ._base import Result
from ._store import ActivationStore

_ENDINGS = re.compile(r"\.(jpe?g|png|bmp|gif|tiff?|mp4|avi|wav|mp3|flac|npy|txt)$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Features(Result):
    """Layers of one model on named stimuli, from the files of another tool."""

    #: Stimuli, one per row of every layer.
    ids: list[str]
    #: Layer → array, stimuli × …; files that allow it stay on disk until they are asked for.
    layers: dict[str, Array]
    #: Which tool wrote them.
    source: str

    def save(self, out: str | os.PathLike[str], dtype: str = "float32") -> str:
        """Write them as the store that a study reads (`NAME.safetensors` and `NAME.csv`); returns its path.

        Stimuli go one by one, so that memory holds one layer of one stimulus at a time.
        """
        shapes = {name: tuple(values.shape[1:]) for name, values in self.layers.items()}
        refuse_twice(self.ids, "ids")
        path = Path(out)
        if path.suffix != ".safetensors":
            raise ValueError(f"`out` is `{path}`, but a name that ends in .safetensors expected")
        store = ActivationStore(path, self.ids, shapes, dtype, {"model": self.source})
        done = store.open(overwrite=True)
        with store.appending() as file:
            for row in range(done, len(self.ids)):
                store.write(
                    file, row, {name: np.asarray(v[row : row + 1]) for name, v in self.layers.items()}
                )
            store.save(file, len(self.ids))
        store.finish()
        return str(path)


def read_features(path: str | os.PathLike[str], *, keep_endings: bool = True) -> Features:
    """Features of THINGSvision, Net2Brain or a Brain-Score assembly, told by what lies there.

    THINGSvision: a folder with `features.npy`, or one per module, or parts `features_0-32.npy`, and
    `file_names.txt` in it or above. Parts are ordered by where they end: of several modules THINGSvision
    numbers the beginnings wrongly. Net2Brain: a folder with one .npz per stimulus (arrays are layers), or one
    per layer (arrays are stimuli). Brain-Score: a netCDF-4 assembly (presentation × neuroid), by h5py; its
    layers, or its regions, or the whole; repeated presentations are kept (`align` takes them). A .parquet
    table
    (as of DeepNSD): text in its first column names the rows, numbers in the others are one layer.

    Parameters
    ----------
    path : folder or .nc file
    keep_endings : bool
        False takes `.jpg` and the like off the ids.

    Returns
    -------
    Features
        `ids`, `layers`, `save("model.safetensors")`.

    Errors: `ValueError` for a folder that is neither, layers with different stimuli, another number of names
    than rows; arrays of Python objects (pickles) are refused. Undefined: nothing is filled in.
    Cost: headers of .npy files; other files are read. Source: the tools' own writers; specs peers 1.4 to 1.6.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import stereotax as sx
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for image in ("cat", "dog"):
    ...     np.savez(folder / f"{image}.jpg.npz", conv1=np.ones((1, 4, 2, 2)), fc=np.zeros((1, 10)))
    >>> found = sx.read_features(folder, keep_endings=False)
    >>> found.source, found.ids, {name: values.shape for name, values in found.layers.items()}
    ('Net2Brain', ['cat', 'dog'], {'conv1': (2, 4, 2, 2), 'fc': (2, 10)})
    """
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"`{place}` is not there")
    if place.is_file():
        if place.suffix not in (".nc", ".h5", ".hdf5", ".parquet"):
            raise ValueError(f"`{place}` ends in `{place.suffix}`, but a folder, .nc or .parquet expected")
        found = _parquet(place) if place.suffix == ".parquet" else _assembly(place)
    elif list(place.glob("**/features*.npy")):
        found = _things(place)
    elif list(place.glob("*.npz")):
        found = _net2brain(place)
    else:
        there = ", ".join(sorted(p.name for p in place.iterdir())[:5]) or "nothing"
        raise ValueError(
            f"`{place}` holds {there}, but features*.npy (THINGSvision) or *.npz (Net2Brain) expected\n"
            "hint: activations in .npy, .npz, .h5 or .safetensors are read by a study as they are"
        )
    if not keep_endings:
        found = dataclasses.replace(found, ids=[_ENDINGS.sub("", name) for name in found.ids])
    if found.source != "Brain-Score":  # whose presentations may be repeats
        refuse_twice(found.ids, "ids")
    return found


def _array(path: Path) -> Array:
    try:
        loaded: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as reason:
        raise ValueError(
            f"`{path}` cannot be read: {reason}\nhint: arrays of objects are pickles, which are refused"
        ) from None
    return loaded


def _things(folder: Path) -> Features:
    layers: dict[str, Array] = {}
    for place in sorted({p.parent for p in folder.glob("**/features*.npy")}):
        whole = [p for p in place.glob("features*.npy") if not re.search(r"_\d+(-\d+)?\.npy$", p.name)]
        parts = [p for p in place.glob("features*.npy") if p not in whole]
        name = place.relative_to(folder).as_posix() if place != folder else place.name
        if len(whole) > 1:
            raise ValueError(f"`{place}` has {len(whole)} files of whole features\nhint: keep one per folder")
        if whole:
            layers[name] = _array(whole[0])
        else:
            ordered = sorted(parts, key=lambda p: int(re.findall(r"\d+", p.stem)[-1]))
            layers[name] = np.concatenate([_array(p) for p in ordered])
    names = next(
        (p / "file_names.txt" for p in (folder, folder.parent) if (p / "file_names.txt").is_file()), None
    )
    if names is None:
        names = next(iter(sorted(folder.glob("*/file_names.txt"))), None)
    if names is None:
        raise ValueError(
            f"`{folder}` has no file_names.txt, so rows have no ids\nhint: put it beside the features"
        )
    ids = [line.strip() for line in names.read_text(encoding="utf-8").splitlines() if line.strip()]
    for name, values in layers.items():
        if len(values) != len(ids):
            raise ValueError(f"layer `{name}` has {len(values)} rows, but {len(ids)} expected (`{names}`)")
    return Features(ids, layers, "THINGSvision")


def _net2brain(folder: Path) -> Features:
    files = sorted(folder.glob("*.npz"))
    first: list[str] = []
    rows: list[dict[str, Array]] = []
    for file in files:
        with np.load(file, allow_pickle=False) as data:
            try:
                rows.append({key: data[key] for key in data.files})
            except ValueError as reason:
                raise ValueError(
                    f"`{file}` cannot be read: {reason}\nhint: arrays of objects are pickles"
                ) from None
        first = first or list(rows[0])
        if set(rows[-1]) != set(first):
            odd = sorted(set(rows[-1]) ^ set(first))[0]
            raise ValueError(f"`{file}` and `{files[0]}` do not hold the same arrays: `{odd}` is in one only")
    names = [file.name[: -len(".npz")] for file in files]
    # One file per stimulus has the layers as arrays; one per layer has the stimuli, which end like files.
    by_layer = all(_ENDINGS.search(key) for key in first) and not all(_ENDINGS.search(n) for n in names)
    table = dict(zip(names, rows, strict=True))
    ids, layers = (first, names) if by_layer else (names, first)
    stacked: dict[str, Array] = {}
    for layer in layers:
        values = [table[layer][i] if by_layer else table[i][layer] for i in ids]
        if len({v.shape for v in values}) > 1:
            odd = next(i for i, v in zip(ids, values, strict=True) if v.shape != values[0].shape)
            raise ValueError(f"layer `{layer}` of `{odd}` has another shape than that of `{ids[0]}`")
        # Net2Brain keeps the batch of one image.
        stacked[layer] = np.stack([v[0] if v.ndim > 1 and v.shape[0] == 1 else v for v in values])
    return Features(ids, stacked, "Net2Brain")


def _assembly(path: Path) -> Features:
    try:
        import h5py
    except ImportError:
        raise ImportError("netCDF assemblies need h5py\nhint: pip install stereotax[io]") from None
    with h5py.File(path, "r") as file:
        coordinates = {name: file[name] for name in file if isinstance(file[name], h5py.Dataset)}
        wide = [n for n, d in coordinates.items() if d.ndim >= 2 and d.dtype.kind in "fiu"]
        if len(wide) != 1:
            raise ValueError(
                f"`{path}` has {len(wide)} arrays of two axes or more, but one assembly expected"
            )
        data = coordinates[wide[0]]
        dims = [_dimension(file, data, axis) for axis in range(data.ndim)]
        if "presentation" not in dims:
            raise ValueError(
                f"`{path}` has the axes {', '.join(dims)}, but `presentation` among them expected"
            )
        at = dims.index("presentation")
        key = next((k for k in ("stimulus_id", "image_id", "presentation") if k in coordinates), None)
        if key is None:
            raise ValueError(f"`{path}` has no coordinate stimulus_id or image_id, so rows have no ids")
        ids = _texts(coordinates[key])
        values = np.moveaxis(data[()], at, 0)
        dims.insert(0, dims.pop(at))
        units = dims.index("neuroid") if "neuroid" in dims else len(dims) - 1
        values = np.moveaxis(values, units, -1)  # stimuli × (time) × units
        group = next(
            (k for k in ("layer", "region") if k in coordinates and len(coordinates[k].shape) == 1), None
        )
        if group is None or coordinates[group].shape[0] != values.shape[-1]:
            layers = {wide[0]: values}
        else:
            labels = np.array(_texts(coordinates[group]), dtype=object)
            layers = {name: values[..., labels == name] for name in dict.fromkeys(labels)}
    return Features(ids, layers, "Brain-Score")


def _parquet(path: Path) -> Features:
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise ImportError("Parquet tables need pyarrow\nhint: pip install stereotax[table]") from None
    table = pq.read_table(path)
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    texts = [name for name, values in columns.items() if values.dtype.kind in "OU"]
    numbers = [name for name, values in columns.items() if values.dtype.kind in "fiu"]
    if not texts or not numbers:
        raise ValueError(
            f"`{path}` has {len(texts)} columns of text and {len(numbers)} of numbers, but one "
            "with the ids of the "
            "rows and at least one of numbers expected\nhint: write the stimulus ids into a column of text"
        )
    values = np.stack([columns[name] for name in numbers], axis=1)
    return Features([str(v) for v in columns[texts[0]]], {path.stem: values}, "Parquet")


def _dimension(file: Any, data: Any, axis: int) -> str:
    for scale in data.dims[axis].values():
        return str(scale.name).rsplit("/", 1)[-1]
    return f"axis {axis}"


def _texts(dataset: Any) -> list[str]:
    return [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in dataset[()]]
