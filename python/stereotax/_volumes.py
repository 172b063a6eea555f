"""Volumes of a brain, by region."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from . import _core
from ._arrays import Array
from ._base import Result
from ._table import Table


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class RoiMeans(Result):
    """Mean series of regions: `values` has a row per volume, a column per row of `rois`."""

    #: n_volumes × n_rois; NaN in the column of a region without a usable voxel.
    values: Array
    #: One row per region, labels ascending: label, n_voxels (averaged), n_dropped (constant or not finite).
    rois: Table
    #: Volumes of each run; the rows of `values` are theirs, one run after the other.
    n_volumes: list[int]
    #: Seconds between volumes, as the first run says; None where it does not.
    tr_s: float | None


def roi_means(
    runs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    atlas: str | os.PathLike[str],
    *,
    resample_labels: bool = False,
) -> RoiMeans:
    """Mean over the voxels of every region, volume by volume, of NIfTI series.

    Formula: ``values[t, r] = mean of volume t over the voxels labelled r`` that vary over all volumes and
    are finite in all of them; the others are left out and counted. Label 0 is no region.

    `runs`: one NIfTI-1 or -2 file or several in order of time (`.nii`, `.nii.gz`; scaled integers, either
    byte order), together one series. `atlas`: one volume of whole numbers. It must stand on the grid of the
    runs (the same shape, corners within half a voxel); `resample_labels=True` brings it there by nearest
    neighbours. Undefined (NaN): a region without a usable voxel. Errors: other grids, a file that is cut
    short, labels that are no whole numbers. Cost: one pass over the files (two if a labelled voxel turns out
    useless late); memory: two volumes and the result, whatever the length of the series.
    Source: NIfTI-1.1 and NIfTI-2. Differs from nilearn's `NiftiLabelsMasker`: constant and non-finite voxels
    are left out of the mean, not averaged as they are or as zeros; labels are never resampled unasked; a
    point within half a voxel of the outermost centre is inside.

    >>> import numpy as np, pathlib, tempfile
    >>> import stereotax as sx
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> def save(name, volumes):  # what a scanner's software does
    ...     head = np.zeros(88, "<f4")
    ...     head.view("<i4")[[0, 86]] = 348, int.from_bytes(b"n+1\\0", "little")
    ...     head.view("<i2")[20:28] = 4, *volumes.shape[::-1], 1, 1, 1
    ...     head.view("<i2")[35], head[27] = 16, 352
    ...     (folder / name).write_bytes(head.tobytes() + volumes.astype("<f4").tobytes())
    >>> save("atlas.nii", np.array([[[[7, 7, 9, 0]]]]))
    >>> save("bold.nii", np.array([[[[1, 3, 5, 8]]], [[[2, 6, 4, 8]]]]))
    >>> found = sx.roi_means(folder / "bold.nii", folder / "atlas.nii")
    >>> found.values.tolist(), found.rois["label"].tolist()
    ([[2.0, 5.0], [4.0, 4.0]], [7, 9])
    """
    files = [runs] if isinstance(runs, (str, os.PathLike)) else list(runs)
    if not files:
        raise ValueError(
            "`runs` is empty, but at least one file expected\nhint: give the NIfTI file of each run"
        )
    found = _core.roi_means([os.fspath(f) for f in files], os.fspath(atlas), bool(resample_labels))
    labels = found["labels"]
    rois = {
        "label": labels,
        "n_voxels": np.asarray(found["n_voxels"], dtype=int),
        "n_dropped": np.asarray(found["n_dropped"], dtype=int),
    }
    return RoiMeans(
        values=found["values"].reshape(-1, labels.size),
        rois=Table(rois),
        n_volumes=found["n_volumes"],
        tr_s=found["tr_s"],
    )
