"""Arrays of any layout and library give the same numbers, and are never written to."""

import subprocess
import sys

import numpy as np
import pytest
import stereotax as sx

RNG = np.random.default_rng(5)
LAYERS = [RNG.normal(size=(40, 12)) for _ in range(6)]
POINTS = RNG.normal(size=(9, 4))
GROUPS = ["a", "b", "c"] * 3


def strided(x):
    wide = np.zeros((2 * x.shape[0], 3 * x.shape[1]))
    wide[::2, ::3] = x
    return wide[::2, ::3]


def misaligned(x):
    record = np.zeros(x.shape, dtype=np.dtype([("pad", "i1"), ("value", "f8")]))
    record["value"] = x
    return record["value"]


LAYOUTS = {
    "fortran": np.asfortranarray,
    "reversed rows": lambda x: x[::-1].copy()[::-1],
    "reversed columns": lambda x: x[:, ::-1].copy()[:, ::-1],
    "both reversed": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "strided": strided,
    "misaligned": misaligned,
    "other byte order": lambda x: x.astype(">f8"),
    "read-only": lambda x: np.frombuffer(x.tobytes()).reshape(x.shape),
    "nested lists": lambda x: x.tolist(),
    "long double": lambda x: x.astype(np.longdouble),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_bits_of_a_contiguous_array(layout):
    change = LAYOUTS[layout]
    plain = sx.DepthMoments.from_layers(LAYERS)
    assert sx.DepthMoments.from_layers([change(x) for x in LAYERS]).to_bytes() == plain.to_bytes()
    fitted = sx.DepthDMD().fit(LAYERS)
    np.testing.assert_array_equal(fitted.transform([change(x) for x in LAYERS]), fitted.transform(LAYERS))
    D = sx.distances(POINTS).distances
    np.testing.assert_array_equal(sx.distances(change(POINTS)).distances, D)
    assert sx.permanova(change(D), GROUPS).f == sx.permanova(D, GROUPS).f


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_narrow_floats_are_read_as_the_numbers_they_are(dtype):
    narrow = [x.astype(dtype) for x in LAYERS]
    wide = [x.astype(np.float64) for x in narrow]
    np.testing.assert_array_equal(
        sx.DepthMoments.from_layers(narrow).gram(), sx.DepthMoments.from_layers(wide).gram()
    )
    # The precision decides what is rank and what is rounding: two equal layers but for rounding.
    moments = sx.DepthMoments.from_layers(narrow)
    assert moments._core.epsilon == float(np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, bool])
def test_whole_numbers_are_converted(dtype):
    counts = [RNG.integers(0, 2, size=(30, 5)).astype(dtype) for _ in range(5)]
    expected = sx.DepthMoments.from_layers([x.astype(float) for x in counts]).gram()
    np.testing.assert_array_equal(sx.DepthMoments.from_layers(counts).gram(), expected)


def test_a_broadcast_axis_is_a_view_like_any_other():
    row = np.broadcast_to(RNG.normal(size=(40, 1)), (40, 12))
    layers = [*LAYERS[:5], row]
    expected = sx.DepthMoments.from_layers([*LAYERS[:5], row.copy()])
    assert sx.DepthMoments.from_layers(layers) == expected


class Exports:
    """An array of a library that NumPy does not know."""

    def __init__(self, array):
        self.array = array


class ByProtocol(Exports):
    def __array__(self, dtype=None, copy=None):
        return self.array


class ByCapsule(Exports):
    def __dlpack__(self, **kwargs):
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class LikeTorch(ByProtocol):
    """A tensor that is part of a graph: it refuses to be an array before it is detached."""

    dtype, detached = "torch.float64", False

    def detach(self):
        out = LikeTorch(self.array)
        out.detached = True
        return out

    def __array__(self, dtype=None, copy=None):
        if not self.detached:
            raise RuntimeError("call detach first")
        return self.array


@pytest.mark.parametrize("kind", [ByProtocol, ByCapsule, LikeTorch])
def test_arrays_of_other_libraries_are_taken_by_protocol(kind):
    expected = sx.DepthMoments.from_layers(LAYERS)
    assert sx.DepthMoments.from_layers([kind(x) for x in LAYERS]) == expected


def test_bfloat16_is_read_as_the_numbers_it_is():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    narrow = [x.astype(ml_dtypes.bfloat16) for x in LAYERS]
    moments = sx.DepthMoments.from_layers(narrow)
    wide = sx.DepthMoments.from_layers([x.astype(np.float64) for x in narrow])
    np.testing.assert_array_equal(moments.gram(), wide.gram())
    assert moments._core.epsilon == 2.0**-7 and wide._core.epsilon == 2.0**-52
    # As a tile, as responses, from the other end, and beside other precisions.
    tiles = sx.DepthMoments(6, 12)
    tiles.add_tile(0, narrow)
    np.testing.assert_array_equal(tiles.gram(), moments.gram())
    backwards = [x[::-1].copy()[::-1] for x in narrow]
    assert sx.DepthMoments.from_layers(backwards) == moments
    streamed = sx.DepthMoments.from_tiles([("all", narrow)], precision="bfloat16")
    np.testing.assert_array_equal(streamed.gram(), moments.gram())
    for settings in ({"scale": "unit_sample"}, {"layer_map": "procrustes"}, {}):
        depth = sx.DepthDMD(**settings).fit(narrow, train=range(30))
        wide = [x.astype(np.float64) for x in narrow]
        np.testing.assert_allclose(depth.transform(narrow), depth.transform(wide), atol=1e-12)
    mixed = sx.DepthMoments.from_layers([*narrow[:3], *(x.astype(np.float32) for x in LAYERS[3:])])
    np.testing.assert_array_equal(mixed.gram()[:3, :3], moments.gram()[:3, :3])
    points = POINTS.astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(
        sx.distances(points).distances, sx.distances(points.astype(np.float64)).distances
    )


def test_whole_numbers_of_16_bits_are_no_bfloat16():
    counts = [RNG.integers(0, 1000, size=(30, 5)).astype(np.uint16) for _ in range(5)]
    expected = sx.DepthMoments.from_layers([x.astype(float) for x in counts]).gram()
    np.testing.assert_array_equal(sx.DepthMoments.from_layers(counts).gram(), expected)


MEMORY = """
import resource, sys
import numpy as np, stereotax as sx

layers = [np.random.default_rng(i).random((100_000, 250), dtype=np.float32).astype(DTYPE) for i in range(6)]
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
WORK
print(peak() - before, sum(x.nbytes for x in layers))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is told in other units elsewhere")
@pytest.mark.parametrize(
    ("dtype", "work"),
    [
        ("np.float32", "sx.DepthMoments.from_layers(layers)"),
        ("np.float16", "sx.DepthMoments.from_layers(layers)"),
        ("np.float32", "sx.DepthDMD().fit(iter(layers))"),
    ],
)
def test_layers_are_read_where_they_are(dtype, work):
    script = MEMORY.replace("DTYPE", dtype).replace("WORK", work)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    more, size = map(int, ran.stdout.split())
    # Tiles take about 0.2 GB for any size; as float64 the layers would take 1.2 GB.
    assert more < 3e8, f"{more / 1e6:.0f} MB more for {size / 1e6:.0f} MB of layers"


class LikeBfloat16(LikeTorch):
    """A tensor in a format that NumPy lacks: it must be widened first."""

    dtype = "torch.bfloat16"

    def detach(self):
        return LikeBfloat16(self.array)

    def float(self):
        out = LikeTorch(self.array.astype(np.float32))
        out.detached, out.dtype = True, "torch.float32"
        return out

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Got unsupported ScalarType BFloat16")


class OnTheGpu(LikeTorch):
    class device:
        type = "cuda"

    def detach(self):
        return self


def test_tensors_that_numpy_cannot_hold_are_widened_or_refused():
    expected = sx.DepthMoments.from_layers([x.astype(np.float32) for x in LAYERS])
    assert sx.DepthMoments.from_layers([LikeBfloat16(x) for x in LAYERS]) == expected
    with pytest.raises(ValueError, match="call .cpu"):
        sx.DepthMoments.from_layers([OnTheGpu(x) for x in LAYERS])


@pytest.mark.parametrize("kind", [ByProtocol, ByCapsule, LikeTorch])
def test_a_stream_of_tensors_is_accumulated(kind):
    def batches():
        for start in range(0, 40, 10):
            yield f"run {start // 20}", [kind(x[start : start + 10]) for x in LAYERS]

    streamed = sx.DepthMoments.from_tiles(batches())
    whole = sx.DepthMoments.from_layers(LAYERS, blocks=["run 0"] * 20 + ["run 1"] * 20)
    assert streamed.block_sizes == {"run 0": 20, "run 1": 20}
    np.testing.assert_allclose(streamed.gram([1, 0]), whole.gram([1, 0]), rtol=1e-10)


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    tensors = [torch.from_numpy(x).requires_grad_() for x in LAYERS]
    assert sx.DepthMoments.from_layers(tensors) == sx.DepthMoments.from_layers(LAYERS)
    halves = [torch.from_numpy(x).to(torch.bfloat16) for x in LAYERS]
    expected = sx.DepthMoments.from_layers([h.float().numpy() for h in halves])
    assert sx.DepthMoments.from_layers(halves) == expected


def test_a_tensor_on_a_device_is_refused_with_the_way_out():
    class OnDevice(LikeTorch):
        class device:
            type = "cuda"

            def __str__(self):
                return "cuda:0"

        def detach(self):
            return self

    with pytest.raises(ValueError, match=r"call \.cpu\(\) first"):
        sx.DepthMoments.from_layers([OnDevice(x) for x in LAYERS])


def test_inputs_are_never_written_to():
    layers = [x.copy() for x in LAYERS]
    points, D = POINTS.copy(), sx.distances(POINTS).distances
    before = D.copy()
    depth = sx.DepthDMD(layer_map="procrustes").fit(layers)
    depth.transform(layers)
    sx.DepthDMD(scale="unit_sample").fit(layers).transform(layers)
    for test in (sx.permanova, sx.permdisp, sx.silhouette, sx.pairwise_permanova):
        test(D, GROUPS, 99)
    sx.snci(np.abs(points), n_bootstraps=9)
    for x, y in zip(layers, LAYERS, strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(points, POINTS)
    np.testing.assert_array_equal(D, before)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.array([[1, "a"], [2, None]], dtype=object), "holds Python objects"),
        (np.ones((3, 3), dtype=complex), "holds complex128 values"),
        (np.array([["a", "b"]]), "holds <U1 values"),
        (np.ones(3), r"has the shape \(3,\), but two axes"),
        (np.ones((2, 2, 2)), r"has the shape \(2, 2, 2\)"),
        ([[1.0, 2.0], [3.0]], "all rows must have the same length"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(value, text):
    with pytest.raises(ValueError, match=text):
        sx.distances(value)


def test_the_extension_itself_refuses_what_the_border_would_have_converted():
    from stereotax import _core

    for wrong in ([[1.0]], np.ones(3), np.ones((2, 2), dtype=np.float32), misaligned(np.ones((2, 2))), None):
        with pytest.raises(TypeError, match="coordinates"):
            _core.distances(wrong, "euclidean")
