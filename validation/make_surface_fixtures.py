"""Write the small surface files on which the mesh readers of stereotax-io are tested.

Run with the folder to write to as the only argument. Needs nibabel and numpy; the versions used stand in
`surface_versions.json` beside the files.

The mesh is an octahedron with vertices at (±10, 0, 0), (0, ±20, 0), (0, 0, ±30) in this order and eight
triangles; labels alternate between two regions and none. No number comes from a brain.
"""

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiLabel, GiftiLabelTable

VERTICES = np.array(
    [[10, 0, 0], [-10, 0, 0], [0, 20, 0], [0, -20, 0], [0, 0, 30], [0, 0, -30]], dtype="f4"
)
FACES = np.array(
    [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]], dtype="i4"
)
NAMES = {0: "???", 5: "V1", 9: "A&1"}
LABELS = np.array([5, 9, 5, 9, 0, 0], dtype="i4")


def mesh(encoding, order):
    arrays = [
        GiftiDataArray(VERTICES, intent="NIFTI_INTENT_POINTSET", datatype="NIFTI_TYPE_FLOAT32"),
        GiftiDataArray(FACES, intent="NIFTI_INTENT_TRIANGLE", datatype="NIFTI_TYPE_INT32"),
    ]
    for array in arrays:
        array.encoding = encoding
        array.ind_ord = order
    return GiftiImage(darrays=arrays)


def labels():
    table = GiftiLabelTable()
    for key, name in NAMES.items():
        label = GiftiLabel(key=key, red=0.1, green=0.2, blue=0.3, alpha=1)
        label.label = name
        table.labels.append(label)
    array = GiftiDataArray(LABELS, intent="NIFTI_INTENT_LABEL", datatype="NIFTI_TYPE_INT32")
    return GiftiImage(labeltable=table, darrays=[array])


def series(out):
    """A series on 12 of 20 left vertices and 6 voxels, labels on 15 vertices, and the same for two parcels.

    The value at vertex v and volume t is 100 t + v, at voxel v 100 t + 50 + v (over t alone where v is 3).
    """
    axes = nib.cifti2.cifti2_axes
    mask = np.zeros(20, dtype=bool)
    mask[np.r_[0:6, 10:16]] = True
    volume = np.zeros((3, 2, 1), dtype=bool)
    volume[:] = True
    cortex = axes.BrainModelAxis.from_mask(mask, name="CortexLeft")
    voxels = axes.BrainModelAxis.from_mask(volume, name="AccumbensLeft", affine=np.eye(4))
    time = axes.SeriesAxis(start=0, step=0.72, size=3)
    places = np.r_[np.flatnonzero(mask), 50 + np.arange(6)]
    values = (100 * np.arange(3)[:, None] + places).astype("f4")
    nib.save(nib.Cifti2Image(values, (time, cortex + voxels)), out / "places.dtseries.nii")
    wider = np.zeros(20, dtype=bool)
    wider[:15] = True
    table = {0: ("???", (0, 0, 0, 0)), 2: ("V1", (1, 0, 0, 1)), 7: ("A&1", (0, 1, 0, 1))}
    labels = axes.LabelAxis(["areas"], [table])
    numbers = np.where(np.arange(15) < 6, 2, np.where(np.arange(15) >= 10, 7, 0))[None].astype("f4")
    model = axes.BrainModelAxis.from_mask(wider, name="CortexLeft")
    nib.save(nib.Cifti2Image(numbers, (labels, model)), out / "places.dlabel.nii")
    parcels = axes.ParcelsAxis.from_brain_models([("V1", cortex[:6]), ("A&1", cortex[6:])])
    means = np.stack([values[:, :6].mean(1), values[:, 6:12].mean(1)], axis=1)
    nib.save(nib.Cifti2Image(means, (time, parcels)), out / "places.ptseries.nii")
    arrays = [
        GiftiDataArray(
            (100 * t + np.arange(6)).astype("f4"),
            intent="NIFTI_INTENT_TIME_SERIES",
            datatype="NIFTI_TYPE_FLOAT32",
        )
        for t in range(3)
    ]
    (out / "octahedron.func.gii").write_bytes(GiftiImage(darrays=arrays).to_bytes())


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    # nibabel writes the machine's byte order whatever one asks for, and text row by row whatever order it
    # claims; the tests of the reader itself have the other cases, made by hand.
    for encoding, order, name in [
        ("GIFTI_ENCODING_ASCII", 1, "ascii_row"),
        ("GIFTI_ENCODING_B64BIN", 1, "base64_row"),
        ("GIFTI_ENCODING_B64BIN", 2, "base64_column"),
        ("GIFTI_ENCODING_B64GZ", 1, "gzip_row"),
        ("GIFTI_ENCODING_B64GZ", 2, "gzip_column"),
    ]:
        image = mesh(encoding, order)
        (out / f"octahedron_{name}.surf.gii").write_bytes(image.to_bytes(mode="compat"))
    (out / "octahedron.label.gii").write_bytes(labels().to_bytes())
    nib.freesurfer.write_geometry(str(out / "octahedron.pial"), VERTICES, FACES, create_stamp="simulated")
    colours = np.array([[25, 5, 25, 0, 0], [120, 30, 10, 0, 0], [20, 60, 220, 0, 0]])
    colours[:, 4] = colours[:, 0] + (colours[:, 1] << 8) + (colours[:, 2] << 16)
    index = np.array([{0: 0, 5: 1, 9: 2}[key] for key in LABELS])
    nib.freesurfer.write_annot(str(out / "octahedron.annot"), index, colours, ["unknown", "V1", "A&1"])
    series(out)
    versions = {"nibabel": nib.__version__, "numpy": np.__version__, "python": sys.version.split()[0]}
    (out / "surface_versions.json").write_text(json.dumps(versions, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
