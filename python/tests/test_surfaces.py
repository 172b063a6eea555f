"""fsaverage5 with the labels of a user, from nilearn (where it is installed) and from a stand-in."""

import gzip
import sys
import types

import numpy as np
import pytest
import stereotax as sx


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A nilearn whose surfaces are four bytes."""
    files = {}
    for kind in ("infl", "pial", "white"):
        for side in ("left", "right"):
            file = tmp_path / f"{kind}_{side}.gii.gz"
            file.write_bytes(gzip.compress(f"{kind[0]}{side[0]}".encode()))
            files[f"{kind}_{side}"] = str(file)
    datasets = types.ModuleType("nilearn.datasets")
    datasets.fetch_surf_fsaverage = lambda mesh: files
    nilearn = types.ModuleType("nilearn")
    nilearn.datasets = datasets
    monkeypatch.setitem(sys.modules, "nilearn", nilearn)
    monkeypatch.setitem(sys.modules, "nilearn.datasets", datasets)


def test_each_hemisphere_has_its_mesh_and_its_labels(stand_in, tmp_path):
    found = sx.fsaverage(tmp_path / "out", kind="pial", labels=("lh.annot", 'r"h.annot'))
    assert (found.left.name, found.left.read_bytes()) == ("lh.pial.surf.gii", b"pl")
    assert (found.right.name, found.right.read_bytes()) == ("rh.pial.surf.gii", b"pr")
    lines = found.study.splitlines()
    assert lines[1].startswith("  { hemisphere = \"left\", vertices = ")
    assert lines[1].endswith("labels = \"lh.annot\" },")
    assert 'labels = "r\\"h.annot" }' in lines[2]


def test_what_is_wrong_is_said(stand_in, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'flat', but one of 'inflated'"):
        sx.fsaverage(tmp_path, kind="flat")
    with pytest.raises(ValueError, match="has 3 files"):
        sx.fsaverage(tmp_path, labels=("a", "b", "c"))
    with pytest.raises(ValueError, match="have no labels"):
        _ = sx.fsaverage(tmp_path).study
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(ImportError, match=r"stereotax\[surface\]"):
        sx.fsaverage(tmp_path)


def test_an_atlas_is_read_at_the_vertices(tmp_path):
    pytest.importorskip("nilearn")
    nibabel = pytest.importorskip("nibabel")
    # Cubes of 10 mm, numbered by place; the first axis runs to the left.
    shape = (20, 24, 18)
    labels = np.arange(1, np.prod(shape) + 1).reshape(shape).astype(np.int32)
    affine = np.array([[-10.0, 0, 0, 95], [0, 10, 0, -125], [0, 0, 10, -65], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(labels, affine), tmp_path / "atlas.nii.gz")
    found = sx.fsaverage(tmp_path, labels=tmp_path / "atlas.nii.gz", names={7: "seven"})
    named = found.left_labels.read_text().splitlines()[1:]
    assert len(named) == 10242
    from nilearn import datasets

    files = datasets.fetch_surf_fsaverage("fsaverage5")
    pial, white = (nibabel.load(files[f"{k}_left"]).agg_data("pointset") for k in ("pial", "white"))
    for vertex in (0, 17, 5000, 10241):
        x, y, z = (pial[vertex] + white[vertex]) / 2
        i, j, k = round((95 - x) / 10), round((y + 125) / 10), round((z + 65) / 10)
        assert named[vertex] == f'"{labels[i, j, k]}"'
    assert sx.info(found.left)["what"].startswith("a GIFTI file with 2 arrays")
