"""Cortical surfaces to paint maps on."""

from __future__ import annotations

import dataclasses
import gzip
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ._arrays import Array
from ._base import Result

#: Our word, nilearn's.
_KINDS = {"inflated": "infl", "pial": "pial", "white": "white"}
#: Depths between pial (0) and white (1) surface at which a label is looked for, nearest to the middle first.
_DEPTHS = (0.5, 0.25, 0.75, 0.0, 1.0)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Surfaces(Result):
    """Meshes of both hemispheres, and which ROI each vertex belongs to."""

    #: GIFTI files.
    left: Path
    right: Path
    #: Label files: GIFTI, FreeSurfer annotation or CSV; None where none were given.
    left_labels: Path | None
    right_labels: Path | None

    @property
    def study(self) -> str:
        """The line of study.toml, under `[[brain]]`, that paints maps on these surfaces."""
        if self.left_labels is None or self.right_labels is None:
            raise ValueError(
                "these surfaces have no labels, but a study needs the ROI of each vertex\n"
                "hint: call `fsaverage` with `labels`"
            )
        sides = [("left", self.left, self.left_labels), ("right", self.right, self.right_labels)]
        parts = [
            f'  {{ hemisphere = "{side}", vertices = {_quoted(mesh)}, labels = {_quoted(labels)} }},\n'
            for side, mesh, labels in sides
        ]
        return "surface = [\n" + "".join(parts) + "]\n"


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def fsaverage(
    folder: str | os.PathLike[str],
    *,
    kind: str = "inflated",
    labels: str | os.PathLike[str] | tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
    names: Mapping[int, str] | None = None,
) -> Surfaces:
    """The average cortex fsaverage5 as GIFTI files, with the labels of your atlas.

    Parameters
    ----------
    folder : path
        Where the files go; made if it is not there.
    kind : {"inflated", "pial", "white"}
        How the cortex is drawn; its vertices are the same.
    labels : path, or two paths (left, right), optional
        Two files that label the vertices of fsaverage5 (`lh.aparc.a2009s.annot` of Destrieux, the parcels of
        Schaefer in the networks of Yeo, any `.label.gii`) are taken as they are. One NIfTI atlas is read at
        the vertices: the label of the voxel at the middle between pial and white surface or, where that is 0,
        a quarter, three quarters, none and all of the way to the white one.
    names : dict of int to str, optional
        Names of the labels of a NIfTI atlas, as in the ROI table; others keep their number.

    Returns
    -------
    Surfaces
        `left`, `right`, `left_labels`, `right_labels` (paths) and `study`, the line for study.toml.

    fsaverage5 has 10,242 vertices a hemisphere, in mm of MNI305, which differs from MNI152 by a few mm:
    reading a volume there is for pictures, not for numbers. It comes with nilearn; nothing is downloaded.
    Errors: without nilearn, ``ImportError``; another number of labels is found by `stereotax check`.
    Cost: a second. Source: Fischl et al. (1999).

    >>> import stereotax as sx
    >>> cortex = sx.fsaverage("cortex", kind="pial", labels="atlas.nii.gz")          # doctest: +SKIP
    >>> print(cortex.study)                                                        # doctest: +SKIP
    surface = [
      { hemisphere = "left", vertices = "cortex/lh.pial.surf.gii", labels = "cortex/lh.labels.csv" },
      { hemisphere = "right", vertices = "cortex/rh.pial.surf.gii", labels = "cortex/rh.labels.csv" },
    ]
    """
    if kind not in _KINDS:
        raise ValueError(f"`kind` is {kind!r}, but one of {', '.join(map(repr, _KINDS))} expected")
    if isinstance(labels, tuple) and len(labels) != 2:
        raise ValueError(
            f"`labels` has {len(labels)} files, but two expected\nhint: give the left and the right one"
        )
    files = _nilearn().fetch_surf_fsaverage("fsaverage5")
    into = Path(folder)
    into.mkdir(parents=True, exist_ok=True)
    meshes: list[Path] = []
    of_vertices: list[Path | None] = []
    for number, (side, short) in enumerate((("left", "lh"), ("right", "rh"))):
        mesh = into / f"{short}.{kind}.surf.gii"
        with gzip.open(files[f"{_KINDS[kind]}_{side}"]) as packed:
            mesh.write_bytes(packed.read())
        meshes.append(mesh)
        if labels is None:
            of_vertices.append(None)
        elif isinstance(labels, tuple):
            of_vertices.append(Path(labels[number]))
        else:
            found = _labels_at(labels, files[f"pial_{side}"], files[f"white_{side}"])
            table = into / f"{short}.labels.csv"
            words = ["" if label == 0 else (names or {}).get(label, str(label)) for label in found.tolist()]
            table.write_text("roi\n" + "".join(_cell(word) + "\n" for word in words), encoding="utf-8")
            of_vertices.append(table)
    return Surfaces(meshes[0], meshes[1], of_vertices[0], of_vertices[1])


def _nilearn() -> Any:
    try:
        from nilearn import datasets
    except ImportError:
        raise ImportError(
            "fsaverage comes with nilearn, which is not installed\nhint: pip install stereotax[surface]"
        ) from None
    return datasets


def _cell(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def _labels_at(atlas: str | os.PathLike[str], pial: str, white: str) -> Array:
    """The label of a NIfTI atlas at every vertex."""
    import nibabel

    image = nibabel.load(atlas)
    volume = np.asarray(image.dataobj)
    if volume.ndim == 4 and volume.shape[3] == 1:
        volume = volume[..., 0]
    if volume.ndim != 3 or not np.array_equal(volume, np.round(volume)):
        raise ValueError(
            f"`{os.fspath(atlas)}` holds {volume.shape} numbers, but one volume of whole numbers expected\n"
            "hint: take the most probable label of each voxel first"
        )
    to_voxel = np.linalg.inv(image.affine)
    outer, inner = (nibabel.load(mesh).agg_data("pointset").astype(float) for mesh in (pial, white))
    found: Array = np.zeros(len(outer), dtype=np.int64)
    for depth in _DEPTHS:
        place = (1 - depth) * outer + depth * inner
        voxel = np.floor(place @ to_voxel[:3, :3].T + to_voxel[:3, 3] + 0.5).astype(int)
        inside = np.all((voxel >= 0) & (voxel < volume.shape), axis=1) & (found == 0)
        found[inside] = volume[tuple(voxel[inside].T)]
    return found
