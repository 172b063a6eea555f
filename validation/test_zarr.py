"""Zarr folders beside zarr-python: what it writes is read, what is written it reads."""

import numpy as np
import pytest
import stereotax as sx

zarr = pytest.importorskip("zarr")

RNG = np.random.default_rng(3)


def through(store, array, folder):
    """An array of a store, as `convert` writes it."""
    return np.load(sx.convert(store, folder / "read.npy", arrays=[array], force=True))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("packed", ["none", "gzip", "zstd"])
@pytest.mark.parametrize(
    ("shape", "chunks"),
    [((7,), (3,)), ((11, 5), (4, 2)), ((6, 4, 3), (6, 4, 3)), ((5, 3, 4, 2), (2, 3, 1, 2))],
)
def test_what_zarr_python_writes_is_read(tmp_path, zarr_format, packed, shape, chunks):
    path = tmp_path / "theirs.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    if zarr_format == 3:
        compressors = {"none": None, "gzip": zarr.codecs.GzipCodec(), "zstd": zarr.codecs.ZstdCodec()}[packed]
    else:
        import numcodecs

        compressors = {"none": None, "gzip": numcodecs.GZip(), "zstd": numcodecs.Zstd()}[packed]
    arrays = {}
    for dtype in ("<f8", "<f4", "<f2", "<i8", "<i2", "|u1", "|b1", ">f4", ">i4"):
        values = (RNG.normal(size=shape) * 50).astype(dtype)
        name = "deep/" + dtype.strip("<>|") + ("_big" if dtype[0] == ">" else "")
        how = {"chunks": chunks, "dtype": dtype, "compressors": compressors, "fill_value": 0}
        array = group.create_array(name, shape=shape, **how)
        array[:] = values
        arrays[name] = values
    assert sorted(a["key"] for a in sx.info(path)["arrays"]) == sorted(arrays)
    for name, values in arrays.items():
        found = through(path, name, tmp_path)
        assert found.shape == shape
        np.testing.assert_array_equal(found, values.astype("f8"), err_msg=name)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("fill", [0.0, np.nan, np.inf, -2.5])
def test_chunks_that_are_not_there_are_the_fill_value(tmp_path, zarr_format, fill):
    path = tmp_path / "holes.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    array = group.create_array(
        "x", shape=(9, 4), chunks=(2, 3), dtype="f4", compressors=None, fill_value=fill
    )
    array[4:6, :3] = 7.0
    np.testing.assert_array_equal(through(path, "x", tmp_path), np.asarray(array[:], dtype="f8"))


def test_fortran_order_and_names_of_chunks(tmp_path):
    values = RNG.normal(size=(5, 4))
    for name, more in (
        ("f", {"zarr_format": 2, "order": "F"}),
        ("slash", {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}}),
        ("dots", {"zarr_format": 3, "chunk_key_encoding": {"name": "default", "separator": "."}}),
        ("old", {"zarr_format": 3, "chunk_key_encoding": {"name": "v2", "separator": "."}}),
    ):
        path = tmp_path / f"{name}.zarr"
        array = zarr.create_array(path, shape=(5, 4), chunks=(2, 3), dtype="f8", compressors=None, **more)
        array[:] = values
        found = np.load(sx.convert(path, tmp_path / f"{name}.npy"))
        np.testing.assert_array_equal(found, values, err_msg=name)


def test_what_is_written_zarr_python_reads(tmp_path):
    layers = {"a": RNG.normal(size=(40, 3)).astype("f4"), "wide": RNG.normal(size=(40, 20, 900)).astype("f4")}
    np.savez(tmp_path / "layers.npz", **layers, stimulus_id=[f"é{i}" for i in range(40)])
    written = sx.convert(tmp_path / "layers.npz", tmp_path / "ours.zarr", arrays=["a", "wide"])
    group = zarr.open_group(written, mode="r")
    assert group.attrs["stimulus_id"] == [f"é{i}" for i in range(40)]
    for name, values in layers.items():
        np.testing.assert_array_equal(group[name][:], values)
        np.testing.assert_array_equal(group[name][17:33], values[17:33])
    assert "ids of 40" in sx.info(written)["what"]


def test_what_is_not_read_is_named(tmp_path):
    path = tmp_path / "sharded.zarr"
    zarr.create_array(path, shape=(8, 8), chunks=(2, 2), shards=(4, 4), dtype="f4")[:] = 1.0
    assert "sharding_indexed" in sx.info(path)["arrays"][0]["problem"]
    group = zarr.open_group(tmp_path / "blosc.zarr", mode="w")
    group.create_array("x", shape=(8,), chunks=(8,), dtype="f4", compressors=zarr.codecs.BloscCodec())
    assert "blosc" in sx.info(tmp_path / "blosc.zarr")["arrays"][0]["problem"]
