"""NIfTI files as nibabel writes them, and the region means of nilearn."""

import numpy as np
import pytest
import stereotax as sx

nibabel = pytest.importorskip("nibabel")
AFFINE = np.array([[-2.0, 0.1, 0, 30], [0.1, 2, 0, -40], [0, 0, 2.5, -20], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def scan():
    """12 x 10 x 8 voxels, 30 volumes, and 6 regions of at least 20 voxels."""
    rng = np.random.default_rng(8)
    volumes = 100 + 10 * rng.normal(size=(12, 10, 8, 30)) + rng.normal(size=(12, 10, 8, 1))
    labels = np.zeros((12, 10, 8), dtype=np.int16)
    labels[2:10, 2:8, 1:7] = 1 + rng.integers(0, 6, size=(8, 6, 6))
    return volumes, labels


def saved(folder, name, image):
    path = folder / name
    nibabel.save(image, path)
    return path


def by_nilearn(run, atlas):
    from nilearn.maskers import NiftiLabelsMasker

    return NiftiLabelsMasker(str(atlas), standardize=None, resampling_target=None).fit_transform(str(run))


@pytest.mark.parametrize(
    ("name", "dtype", "order", "version"),
    [
        ("f4.nii", np.float32, "<", 1),
        ("f4.nii.gz", np.float32, "<", 1),
        ("f8big.nii", np.float64, ">", 1),
        ("i2.nii.gz", np.int16, "<", 1),
        ("i2big.nii", np.int16, ">", 2),
        ("u1.nii", np.uint8, "<", 2),
    ],
)
def test_region_means_of_nilearn(tmp_path, scan, name, dtype, order, version):
    volumes, labels = scan
    make = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    header = make.header_class(endianness=order)
    header.set_data_dtype(dtype)
    header.set_xyzt_units("mm", "sec")
    image = make(volumes, AFFINE, header)
    image.header["pixdim"][4] = 1.5
    run = saved(tmp_path, name, image)  # integers are scaled by nibabel
    atlas = saved(tmp_path, "atlas.nii.gz", nibabel.Nifti1Image(labels, AFFINE))
    ours = sx.roi_means(run, atlas)
    np.testing.assert_allclose(ours.values, by_nilearn(run, atlas), rtol=1e-6)
    assert ours.rois["label"].tolist() == [1, 2, 3, 4, 5, 6]
    assert ours.rois["n_voxels"].sum() == 288 and ours.tr_s == pytest.approx(1.5)
    data = np.asanyarray(nibabel.load(run).dataobj, dtype=float)
    by_hand = np.stack([data[labels == k].mean(axis=0) for k in range(1, 7)], axis=1)
    np.testing.assert_allclose(ours.values, by_hand, rtol=1e-12)


def test_an_atlas_on_another_grid_as_nilearn_brings_it_there(tmp_path, scan):
    from nilearn.image import resample_to_img

    volumes, labels = scan
    run = saved(tmp_path, "run.nii.gz", nibabel.Nifti1Image(volumes.astype("f4"), AFFINE))
    fine = np.diag([1.13, 1.31, 1.27, 1.0])  # no voxel halfway between two
    fine[:3, 3] = AFFINE[:3, :3] @ [11, 0, 0] + AFFINE[:3, 3]
    rng = np.random.default_rng(9)
    atlas = nibabel.Nifti1Image(rng.integers(0, 4, size=(24, 20, 18)).astype("i2"), fine)
    path = saved(tmp_path, "fine.nii.gz", atlas)
    with pytest.raises(ValueError, match="resample"):
        sx.roi_means(run, path)
    like = nibabel.load(run)
    moved = resample_to_img(atlas, like, interpolation="nearest", copy_header=True, force_resample=True)
    there = np.asarray(moved.get_fdata(), dtype=int)
    # SciPy, on which nilearn rests, takes points beyond the centre of the last voxel as outside; they are
    # within that voxel for another half of its side.
    index = np.moveaxis(np.indices(there.shape), 0, -1) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    index = (index - fine[:3, 3]) @ np.linalg.inv(fine[:3, :3]).T
    nearest = np.floor(index + 0.5).astype(int)
    within = ((nearest >= 0) & (nearest < atlas.shape)).all(axis=-1)
    inside = np.where(within[..., None], nearest, 0)
    by_hand = np.where(within, np.asarray(atlas.dataobj)[tuple(inside.T)].T, 0)
    between_centres = ((index >= 0) & (index <= np.array(atlas.shape) - 1)).all(axis=-1)
    assert between_centres.mean() > 0.5 and (by_hand == there)[between_centres].all()
    ours = sx.roi_means(run, path, resample_labels=True)
    assert ours.rois["n_voxels"].tolist() == [(by_hand == k).sum() for k in (1, 2, 3)]
    data = np.asanyarray(nibabel.load(run).dataobj, dtype=float)
    means = np.stack([data[by_hand == k].mean(axis=0) for k in (1, 2, 3)], axis=1)
    np.testing.assert_allclose(ours.values, means, rtol=1e-12)


def test_a_qform_alone_says_where_voxels_are(tmp_path, scan):
    volumes, labels = scan
    image = nibabel.Nifti1Image(volumes.astype("f4"), None)
    image.set_qform(np.diag([-2.0, 2, 2.5, 1]), code=1)
    image.set_sform(None, code=0)
    run = saved(tmp_path, "q.nii", image)
    atlas = saved(tmp_path, "a.nii", nibabel.Nifti1Image(labels, np.diag([-2.0, 2, 2.5, 1])))
    assert sx.roi_means([run, run], atlas).n_volumes == [30, 30]
    other = saved(tmp_path, "b.nii", nibabel.Nifti1Image(labels, np.diag([2.0, 2, 2.5, 1])))
    with pytest.raises(ValueError, match="voxels away"):
        sx.roi_means(run, other)
