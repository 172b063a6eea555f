"""Taps on a stand-in with torch's interface; torch itself is met in validation/test_torch.py."""

import csv
import json

import numpy as np
import pytest
import stereotax as sx

RNG = np.random.default_rng(0)


class Module:
    """What `tap` asks of a torch module, on NumPy arrays."""

    training = True

    def __init__(self, function=None, weight=None, **parts):
        self.function, self.parts, self.hooks = function, parts, []
        if weight is not None:
            self.weight = weight

    def eval(self):
        for _, module in self.named_modules():
            module.training = False
        return self

    def named_children(self):
        return iter(self.parts.items())

    def named_modules(self, prefix=""):
        yield prefix, self
        for name, part in self.parts.items():
            yield from part.named_modules(f"{prefix}.{name}" if prefix else name)

    def register_forward_hook(self, hook):
        self.hooks.append(hook)
        return type("Handle", (), {"remove": lambda _: self.hooks.remove(hook)})()

    def __call__(self, *inputs, **named):
        out = inputs[0] if inputs else named["x"]
        for part in self.parts.values():
            out = part(out)
        if self.function:
            out = self.function(out)
        for hook in list(self.hooks):
            hook(self, inputs, out)
        return out


def kind(name, *bases):
    return type(name, bases or (Module,), {})


Block, Linear, Conv2d, ReLU, Norm = (kind(n) for n in ("Block", "Linear", "Conv2d", "ReLU", "LayerNorm"))


def transformer(n_blocks=3):
    """Blocks that double and add their number, then a norm that takes everything away."""
    blocks = {
        str(k): Block(lambda h, k=k: 2 * h + k, attention=kind("SelfAttentionLayer")(), mlp=Linear())
        for k in range(n_blocks)
    }
    return Module(embed=Module(), blocks=kind("Sequential")(**blocks), norm=Norm(lambda h: 0 * h))


def by_hand(x, n_blocks=3):
    found = []
    for k in range(n_blocks):
        x = 2 * x + k
        found.append(x)
    return found


def test_blocks_are_found_before_the_last_norm_and_parts_of_blocks_are_not():
    assert sx.tap(transformer()).layers == ["blocks.0", "blocks.1", "blocks.2"]
    staged = Module(
        stages=kind("ModuleList")(
            a=kind("ConvNeXtStage")(blocks=Module(**{k: Block(norm=Norm()) for k in "01"})),
            b=kind("ConvNeXtStage")(blocks=Module(**{"0": Block(norm=Norm())})),
        ),
        pooler=kind("ClassifierLayer")(dense=Linear()),  # ends like a block, and is none
    )
    assert sx.tap(staged).layers == ["stages.a.blocks.0", "stages.a.blocks.1", "stages.b.blocks.0"]


def test_a_network_without_blocks_gives_convolutions_with_what_follows_and_recurrent_modules():
    weight = np.zeros((2, 2, 3, 3))
    model = Module(
        features=kind("Sequential")(
            c1=Conv2d(weight=weight), n1=Norm(), a1=ReLU(), p1=kind("MaxPool2d")(), c2=Conv2d(weight=weight),
            a2=ReLU(), drop=kind("Dropout")(), flat=kind("Flatten")(), a3=ReLU(),
        ),
        rnn=kind("LSTM", kind("RNNBase"))(),
        head=Linear(),
    )  # fmt: skip
    assert sx.tap(model).layers == ["features.a1", "features.a2", "rnn"]


def test_patterns_do_not_cross_dots_and_unknown_names_show_the_nearest():
    model = transformer()
    assert sx.tap(model, ["norm", "blocks.*"]).layers == ["norm", "blocks.0", "blocks.1", "blocks.2"]
    assert sx.tap(model, "blocks.?.mlp").layers == ["blocks.0.mlp", "blocks.1.mlp", "blocks.2.mlp"]
    with pytest.raises(ValueError, match=r"(?s)'block\.0'.*`blocks\.0`"):
        sx.tap(model, ["block.0"])
    with pytest.raises(ValueError, match="neither residual blocks"):
        sx.tap(Module(a=Linear()))
    with pytest.raises(ValueError, match="torch module expected"):
        sx.tap(lambda x: x)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("mean", [[3, 4], [8, 9]]),
        ("max", [[5, 6], [8, 9]]),
        ("cls", [[1, 2], [8, 9]]),
        ("last", [[5, 6], [8, 9]]),
    ],
)
def test_pooling_by_hand_leaves_padded_tokens_out(pool, expected):
    """Two stimuli of 3 and 1 tokens: the second is padded on the left."""
    x = np.array([[[1, 2], [3, 4], [5, 6]], [[7, 0], [9, 9], [8, 9]]], dtype=float)
    mask = np.array([[1, 1, 1], [0, 0, 1]])
    model = Module(blocks=Module(**{k: Block(mlp=Linear()) for k in "01"}))
    found = sx.tap(model, pool=pool).activations({"x": x, "attention_mask": mask})
    np.testing.assert_array_equal(found["blocks.0"], expected)


def test_maps_have_their_spatial_mean_and_layouts_can_be_told():
    maps = RNG.normal(size=(2, 5, 3, 4))
    convolving = Module(b=Module(**{k: Block(c=Conv2d(weight=np.zeros((5, 5, 1, 1)))) for k in "01"}))
    linear = Module(b=Module(**{k: Block(c=Linear()) for k in "01"}))
    np.testing.assert_allclose(sx.tap(convolving).activations(maps)["b.0"], maps.mean(axis=(2, 3)))
    np.testing.assert_allclose(sx.tap(linear).activations(maps)["b.0"], maps.mean(axis=(1, 2)))
    told = sx.tap(linear, layout="channels_first").activations(maps)["b.0"]
    np.testing.assert_allclose(told, maps.mean(axis=(2, 3)))
    kept = sx.tap(convolving, pool="none").activations(maps)["b.0"]
    np.testing.assert_array_equal(kept, maps.transpose(0, 2, 3, 1))


def test_the_projection_is_that_of_the_package():
    x = RNG.normal(size=(4, 6, 50)).astype(np.float32)
    found = sx.tap(transformer(), pool="sparse:20", seed=3).activations(x)
    flat = by_hand(x)[1].reshape(4, -1)
    peer = sx.SparseRandomProjection(20, seed=3).fit_transform(flat)
    np.testing.assert_array_equal(found["blocks.1"], peer)
    assert found["blocks.1"].dtype == np.float32
    narrow = sx.tap(transformer(), pool="sparse:400").activations(x)["blocks.1"]
    np.testing.assert_array_equal(narrow, flat)  # nothing to project


def test_modules_that_run_several_times_are_depth_and_cells_are_time():
    cell = kind("GRUCell", kind("RNNCellBase"))(lambda h: h + 1)

    class Unrolled(Module):
        def __call__(self, x):
            for _ in range(3):
                x = self.parts["step"](x)
            return x

    shared = Unrolled(step=Block(lambda h: h + 1, mlp=Linear()))
    found = sx.tap(shared, ["step"]).activations(np.zeros((2, 4)))
    assert {name: float(values[0, 0]) for name, values in found.items()} == {
        "step@1": 1,
        "step@2": 2,
        "step@3": 3,
    }
    found = sx.tap(Unrolled(step=cell)).activations(np.zeros((2, 4)))
    np.testing.assert_array_equal(found["step"][1, :, 0], [1, 2, 3])
    assert sx.tap(shared, ["step"], calls="time").activations(np.zeros((2, 4)))["step"].shape == (2, 3, 4)


def read(path):
    """A safetensors file, by its description."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__")
    types = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}
    return {
        name: np.frombuffer(raw[8 + length :][slice(*t["data_offsets"])], types[t["dtype"]]).reshape(
            t["shape"]
        )
        for name, t in header.items()
    }


def test_a_recording_holds_every_stimulus_once_with_its_id(tmp_path):
    x = RNG.normal(size=(11, 4, 3))
    ids = [f"stimulus ü{i}" for i in range(11)]
    tap = sx.tap(transformer())
    made = tap.record(x, tmp_path / "m.safetensors", ids=ids, batch_size=4, dtype="float64")
    stored = read(tmp_path / "m.safetensors")
    for name, expected in zip(tap.layers, by_hand(x), strict=True):
        np.testing.assert_allclose(stored[name], expected.mean(axis=1))
    with open(made.ids_file, encoding="utf-8", newline="") as file:
        assert [row["stimulus_id"] for row in csv.DictReader(file)] == ids
    assert made.layers == tap.layers and made.n_stimuli == 11 and made.n_resumed == 0
    assert 'layers = ["blocks.0", "blocks.1", "blocks.2"]' in made.study_lines("m", "vision", "images")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.csv", "m.safetensors"]
    assert all(module.training for _, module in tap.model.named_modules())  # as before


@pytest.mark.parametrize("batch", [1, 4, "auto"])
def test_the_bytes_do_not_depend_on_batches(tmp_path, batch):
    x = RNG.normal(size=(11, 4, 3))
    files = []
    for name, size in (("a", 11), ("b", batch)):
        sx.tap(transformer()).record(x, tmp_path / f"{name}.safetensors", ids=range(11), batch_size=size)
        files.append(read(tmp_path / f"{name}.safetensors"))
    for name, values in files[0].items():
        np.testing.assert_array_equal(values, files[1][name])


def test_an_interrupted_recording_goes_on_and_asks_only_for_what_is_missing(tmp_path):
    x = RNG.normal(size=(10, 4, 3))
    asked = []

    class Stimuli:
        broken = True

        def __len__(self):
            return len(x)

        def __getitem__(self, i):
            if self.broken and i == 6:
                raise OSError("the disk is away")
            asked.append(i)
            return x[i]

    stimuli, path, ids = Stimuli(), tmp_path / "m.safetensors", [str(i) for i in range(10)]
    with pytest.raises(OSError, match="the disk is away"):
        sx.tap(transformer()).record(stimuli, path, ids=ids, batch_size=2)
    assert not path.exists()
    asked.clear()
    stimuli.broken = False
    made = sx.tap(transformer()).record(stimuli, path, ids=ids, batch_size=3)
    assert made.n_resumed == 6 and asked == [0, 6, 7, 8, 9]  # 0 tells whether the model is the same
    np.testing.assert_allclose(read(path)["blocks.2"], by_hand(x)[2].mean(axis=1).astype("f4"))
    again = sx.tap(transformer()).record(stimuli, path, ids=ids)
    assert again.n_resumed == 10


def test_what_was_begun_with_something_else_is_not_gone_on_with(tmp_path):
    x, path = RNG.normal(size=(6, 4, 3)), tmp_path / "m.safetensors"
    sx.tap(transformer()).record(x, path, ids=range(6))
    with pytest.raises(ValueError, match="other stimuli, layers or settings"):
        sx.tap(transformer()).record(x, path, ids=range(1, 7))
    with pytest.raises(ValueError, match=r"another model or other stimuli: layer `blocks\.0`"):
        sx.tap(transformer()).record(x + 1, path, ids=range(6))
    sx.tap(transformer()).record(x + 1, path, ids=range(6), overwrite=True)
    np.testing.assert_allclose(read(path)["blocks.0"], by_hand(x + 1)[0].mean(axis=1).astype("f4"))


def test_longer_stimuli_come_in_smaller_batches_and_too_long_ones_are_refused(tmp_path):
    sizes = []
    lengths = [10] * 4 + [40] * 4
    stimuli = [np.ones((n, 8)) for n in lengths]

    def prepare(items):
        longest = max(len(item) for item in items)
        padded = np.zeros((len(items), longest, 8))
        mask = np.zeros((len(items), longest))
        for i, item in enumerate(items):
            padded[i, : len(item)], mask[i, : len(item)] = item, 1
        return {"x": padded, "attention_mask": mask}

    class Watched(Module):
        def __call__(self, *inputs, **named):
            sizes.append(named["x"].shape[:2])
            return super().__call__(*inputs, **named)

    model = Watched(blocks=Module(**{k: Block(mlp=Linear()) for k in "01"}))
    one = sx.tap(model)._forward(prepare(stimuli[:1]), count=True)[1]
    sizes.clear()
    run = {"ids": range(8), "prepare": prepare}
    sx.tap(model).record(stimuli, tmp_path / "m.safetensors", max_memory=16 * one, **run)
    assert max(n for n, length in sizes if length == 40) == 1 and max(n for n, _ in sizes) == 4
    with pytest.raises(ValueError, match="`4` may need"):
        sx.tap(model).record(stimuli, tmp_path / "n.safetensors", max_memory=15 * one, **run)
    with pytest.raises(ValueError, match="`8 stimuli` may need"):
        sx.tap(model).record(stimuli, tmp_path / "o.safetensors", max_memory=7 * one, batch_size=9, **run)
    with pytest.raises(ValueError, match="`0` may need"):
        sx.tap(model).record(stimuli, tmp_path / "p.safetensors", max_memory="1K", **run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": None}, "`ids` is missing"),
        ({"ids": ["a", "b", "b"]}, "`b` twice"),
        ({"ids": ["a", "b"]}, "has 2, but 3 expected"),
        ({"out": "m.npz"}, r"ends in \.safetensors"),
        ({"batch_size": "all"}, "whole number or 'auto'"),
        ({"max_memory": "lots"}, "such as '2G'"),
        ({"dtype": "int8"}, "dtype"),
        ({"stimuli": iter([1])}, "a sequence"),
        ({"stimuli": []}, "empty"),
        ({"stimuli": ["a text"] * 3}, "pass `prepare`"),
        ({"stimuli": [np.ones((2, 3)), np.ones((2, 3)), np.ones((4, 3))]}, "cannot be stacked"),
        (
            {"stimuli": [np.ones((2, 3)), np.full((2, 3), 1e6), np.ones((2, 3))], "dtype": "float16"},
            "`b` holds",
        ),
    ],
)
def test_wrong_input_says_what_is_expected(tmp_path, change, message):
    call = {"stimuli": np.ones((3, 2, 3)), "out": "m.safetensors", "ids": ["a", "b", "c"]} | change
    stimuli, out = call.pop("stimuli"), call.pop("out")
    with pytest.raises(ValueError, match=message):
        sx.tap(transformer()).record(stimuli, tmp_path / out, **call)


def test_layers_that_change_their_shape_or_batch_are_refused(tmp_path):
    tap = sx.tap(transformer(), pool="none")
    with pytest.raises(ValueError, match=r"(?s)`blocks\.0` has the shape \(4, 3\) for `1`.*pool"):
        tap.record(
            [np.ones((2, 3)), np.ones((4, 3))], tmp_path / "m.safetensors", ids=["0", "1"], batch_size=1
        )
    windows = Module(b=Module(**{k: Block(lambda h: h.reshape(4, 1, 3), m=Linear()) for k in "01"}))
    with pytest.raises(ValueError, match="2 stimuli first expected"):
        sx.tap(windows).activations(np.ones((2, 2, 3)))
    with pytest.raises(ValueError, match="pool"):
        sx.tap(transformer(), pool="median")
    with pytest.raises(ValueError, match="pool"):
        sx.tap(transformer(), pool="sparse:0")
    mask = np.array([[1, 0]])
    with pytest.raises(ValueError, match="has 3 positions, but the attention mask"):
        sx.tap(transformer()).activations({"x": np.ones((1, 3, 2)), "attention_mask": mask})
