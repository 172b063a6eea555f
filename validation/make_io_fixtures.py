"""Write the small files on which the readers of stereotax-io are tested.

Run with the folder to write to as the only argument. Needs numpy, safetensors, h5py, pyarrow; the
versions used stand in `versions.json` beside the files.

The reference numbers are a formula, so that the tests can know them without reading anything:
`grid(shape)[i, j, ...] = flat index in C order * 0.5 - 3`, which every format here holds exactly.
"""

import json
import struct
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors
from safetensors.numpy import save_file


def grid(*shape):
    return np.arange(np.prod(shape), dtype="f8").reshape(shape) * 0.5 - 3


def npy(out):
    for dtype in ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8", "<i2", ">i4", "<i8", "|i1", "<u2", ">u8"]:
        values = grid(6, 5) if "f" in dtype else np.arange(30).reshape(6, 5)
        name = dtype.replace("<", "le_").replace(">", "be_").replace("|", "")
        np.save(out / f"npy_{name}.npy", values.astype(dtype))
    np.save(out / "npy_bool.npy", (np.arange(30) % 3 == 0).reshape(6, 5))
    np.save(out / "npy_fortran.npy", np.asfortranarray(grid(6, 5).astype("f4")))
    np.save(out / "npy_fortran_3d.npy", np.asfortranarray(grid(6, 2, 5)))
    np.save(out / "npy_3d.npy", grid(6, 2, 5).astype("f4"))
    np.save(out / "npy_scalar.npy", np.float64(2.5))
    np.save(out / "npy_names.npy", np.array(["A1", "belt", "é–ß"]))
    np.save(out / "npy_names_be.npy", np.array(["A1", "belt", "é–ß"]).astype(">U5"))
    np.save(out / "npy_bytes.npy", np.array([b"A1", b"belt"]))
    np.save(out / "hostile_object.npy", np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    np.save(out / "hostile_structured.npy", np.zeros(3, dtype=[("a", "f4"), ("b", "i2")]))
    whole = (out / "npy_le_f8.npy").read_bytes()
    (out / "hostile_truncated.npy").write_bytes(whole[:-9])
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (4000000000, 4000000000), }\n"
    (out / "hostile_huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)


def npz(out):
    layers = {
        "conv1": grid(6, 4).astype("f4"),
        "conv2": np.asfortranarray(grid(6, 3)),
        "block/attn": grid(6, 2, 5).astype("f2"),
        "rois": np.array(["A1", "belt", "PT"]),
    }
    np.savez(out / "stored.npz", **layers)
    np.savez_compressed(out / "deflated.npz", **layers)
    np.savez(out / "hostile_object.npz", good=grid(2, 2), bad=np.array([None, "x"], dtype=object))

    good = (out / "npy_le_f4.npy").read_bytes()
    with zipfile.ZipFile(out / "hostile_traversal.npz", "w") as z:
        z.writestr("../../escape.npy", good)
    # 200 MB of zeros in 200 kB would be a large fixture; a header that promises them is not needed
    # either: deflate twice over shows the ratio with the real sizes in the directory.
    with zipfile.ZipFile(out / "hostile_bomb.npz", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("bomb.npy", good)
    raw = bytearray((out / "hostile_bomb.npz").read_bytes())
    at = raw.rindex(b"PK\x01\x02")
    raw[at + 24 : at + 28] = struct.pack("<I", 3_000_000_000)
    (out / "hostile_bomb.npz").write_bytes(raw)
    # The directory promises more than the member unpacks to.
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000, 10), }".ljust(117) + b"\n"
    short = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(800)
    with zipfile.ZipFile(out / "hostile_short.npz", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("short.npy", short)
    raw = bytearray((out / "hostile_short.npz").read_bytes())
    at = raw.rindex(b"PK\x01\x02")
    raw[at + 24 : at + 28] = struct.pack("<I", 128 + 80_000)
    (out / "hostile_short.npz").write_bytes(raw)
    # One flipped bit of the packed data.
    raw = bytearray((out / "deflated.npz").read_bytes())
    raw[60] ^= 4
    (out / "hostile_flipped.npz").write_bytes(raw)
    with zipfile.ZipFile(out / "hostile_duplicate.npz", "w") as z:
        z.writestr("a.npy", good)
        z.writestr("a.npy", (out / "npy_be_f4.npy").read_bytes())


def tensors(out):
    save_file(
        {
            "f16": grid(6, 5).astype("f2"),
            "f32": grid(6, 5).astype("f4"),
            "f64": grid(6, 5),
            "i32": np.arange(30, dtype="i4").reshape(6, 5),
            "tokens": grid(6, 2, 5).astype("f4"),
        },
        out / "numpy.safetensors",
        metadata={"made_by": "numpy"},
    )

    def write(name, header, data):
        text = json.dumps(header).encode() if isinstance(header, dict) else header
        (out / name).write_bytes(struct.pack("<Q", len(text)) + text + data)

    # bfloat16 is the upper half of a float32; numpy has no such type, so it is packed by hand.
    bf16 = (grid(6, 5).astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    write("bf16.safetensors", {"x": {"dtype": "BF16", "shape": [6, 5], "data_offsets": [0, 60]}}, bf16)
    truncated = {"x": {"dtype": "F32", "shape": [6, 5], "data_offsets": [0, 120]}}
    write("hostile_short.safetensors", truncated, bytes(8))
    oversized = {"x": {"dtype": "F32", "shape": [6, 50], "data_offsets": [0, 120]}}
    write("hostile_size.safetensors", oversized, bytes(120))
    write(
        "hostile_duplicate.safetensors",
        b'{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
        bytes(2),
    )
    (out / "hostile_header.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")


def hdf5(out):
    with h5py.File(out / "layers.h5", "w") as f:
        f["f4"] = grid(6, 5).astype("<f4")
        f["be_f8"] = grid(6, 5).astype(">f8")
        f["f2"] = grid(6, 5).astype("<f2")
        f["i2"] = np.arange(30, dtype="<i2").reshape(6, 5)
        f["flags"] = (np.arange(6) % 2).astype(bool)
        g = f.create_group("layers")
        g.create_dataset("gzip", data=grid(6, 5), chunks=(4, 2), compression="gzip", shuffle=True)
        g.create_dataset("lzf", data=grid(6, 2, 5).astype("f4"), chunks=(2, 2, 5), compression="lzf")
        f.create_dataset("names", data=["A1", "belt", "é–ß"], dtype=h5py.string_dtype())
        f.create_dataset("fixed", data=np.array([b"A1", b"belt"]))
        f["compound"] = np.zeros(2, dtype=[("a", "f4"), ("b", "i2")])
    with h5py.File(out / "userblock.mat", "w", userblock_size=512) as f:
        f["f8"] = grid(6, 5)
    with h5py.File(out / "latest.h5", "w", libver="latest") as f:
        f.create_dataset("x", data=grid(6, 5), chunks=(2, 5), compression="gzip")
    with h5py.File(out / "hostile_sparse.h5", "w") as f:
        f.create_dataset("x", shape=(1 << 30, 1 << 12), dtype="f8", chunks=(64, 64))
    whole = (out / "layers.h5").read_bytes()
    (out / "hostile_truncated.h5").write_bytes(whole[: len(whole) // 2])


def tables(out):
    table = pa.table(
        {
            "roi": pa.array(["A1", None, "é–ß"]),
            "score": pa.array([0.25, None, -1.5]),
            "n": pa.array([1, None, 3], type=pa.int64()),
            "small": pa.array([1, 2, None], type=pa.int32()),
            "kept": pa.array([True, None, False]),
        }
    )
    pq.write_table(table, out / "table.parquet", compression="zstd")


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for write in (npy, npz, tensors, hdf5, tables):
        write(out)
    versions = {m.__name__: m.__version__ for m in (np, h5py, pa, safetensors)}
    (out / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")
