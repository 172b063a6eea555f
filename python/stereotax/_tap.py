"""Record the layers of a torch model into the activation store that a study reads."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, SEED, Array, as_names, refuse_twice, whole
from ._base import Result
from ._blocks import channels_first, classes, find_layers
from ._ridge import _choice
from ._store import ActivationStore

_POOLS = ("mean", "max", "cls", "last", "flatten", "none", "sparse:K")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
#: More stimuli at once bring nothing on a CPU.
_MOST_AT_ONCE = 64


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Recording(Result):
    """Where activations were written, and what stands there."""

    #: The safetensors file: one array (stimuli × units, or × positions × units) per layer.
    file: str
    #: CSV with the column stimulus_id: one line per row of the arrays.
    ids_file: str
    #: Stimuli, one per row.
    ids: list[str]
    #: Names of the layers in the order in which the model computed them.
    layers: list[str]
    #: Shape of one stimulus in each layer.
    shapes: list[tuple[int, ...]]
    n_stimuli: int
    #: Stimuli that an earlier, interrupted call had finished.
    n_resumed: int
    #: Modules that were asked for and that the model did not call.
    unused: list[str]

    def study_lines(self, name: str, modality: str, stimuli: str, family: str | None = None) -> str:
        """The `[[model]]` of study.toml that uses this recording; the file is named without its folder."""
        import json

        def text(value: str) -> str:
            return json.dumps(value, ensure_ascii=False)

        layers = ", ".join(text(layer) for layer in self.layers)
        return (
            f"[[model]]\nname = {text(name)}\nmodality = {text(modality)}\nfamily = "
            f"{text(family or name)}\n\n"
            f"[model.activations]\nfile = {text(Path(self.file).name)}\nids = "
            f"{text(Path(self.ids_file).name)}\n"
            f"layers = [{layers}]\nstimuli = {text(stimuli)}\n"
        )


class Tap:
    """The layers of one model, ready to be recorded. Made by `tap`."""

    def __init__(
        self, model: Any, layers: str | Sequence[str], pool: str, layout: str, calls: str, seed: int
    ) -> None:
        if not all(hasattr(model, name) for name in ("named_modules", "register_forward_hook")):
            raise ValueError(
                f"`model` is {type(model).__name__}, but a torch module expected\n"
                "hint: pass the torch.nn.Module itself, not a pipeline or a processor around it"
            )
        self.model = model
        self.pool = pool
        self._directions = _directions(pool)
        self._layout = _choice("layout", layout, ("auto", "channels_first", "channels_last"))
        self._calls = _choice("calls", calls, ("auto", "depth", "time"))
        self._seed = whole(seed, "seed", SEED)
        wanted = layers if isinstance(layers, str) else as_names(layers, "layers")
        #: Names of the modules, in the order in which the model lists them.
        self.layers: list[str] = find_layers(model, wanted)

    def __repr__(self) -> str:
        return f"Tap({len(self.layers)} layers of {type(self.model).__name__}: {', '.join(self.layers)})"

    def activations(self, inputs: Any) -> dict[str, Array]:
        """Layers of one batch in memory: name → array, stimuli first, in the order of computation.

        `inputs` is what the model takes: a tensor, or a mapping of named arguments.
        """
        found, _ = self._forward(inputs, count=False)
        return found

    def record(
        self,
        stimuli: Any,
        out: str | os.PathLike[str],
        *,
        ids: Sequence[str] | None = None,
        prepare: Callable[[list[Any]], Any] | None = None,
        batch_size: int | str = "auto",
        max_memory: int | str = "2G",
        dtype: str = "float32",
        overwrite: bool = False,
    ) -> Recording:
        """Write the layers of all stimuli into one file, in one pass, going on where an earlier call stopped.

        Parameters
        ----------
        stimuli : sequence, or mapping from id to stimulus
            Tensors or arrays (one per stimulus), mappings of named arguments, or anything that `prepare`
            takes:
            only the stimuli of one batch are asked for at a time.
        out : path
            Ends in .safetensors. The ids go into the .csv of the same name.
        ids : sequence of str
            One per stimulus. Needed unless `stimuli` is a mapping, or paths (whose names without ending
            count).
        prepare : callable
            From a list of stimuli to what the model takes (a tensor, or a mapping of named arguments): a
            transform, a tokeniser. Default: stacking.
        batch_size : int or "auto"
            Stimuli at once. "auto": as many as `max_memory` allows, at most 64.
        max_memory : int or str
            Bytes, or a text such as "2G": bound of what recording takes beyond the model and the stimuli
            themselves, on the device of the model. What one stimulus needs is bounded from above by the sum
            over the outputs of all elementary modules, which a first pass over one stimulus counts.
        dtype : {"float32", "float16", "float64"}
            Of the stored numbers.
        overwrite : bool
            Start anew even if there is a file of that name.

        Returns
        -------
        Recording

        Errors: `ValueError` for another number of ids than stimuli, ids that stand twice, a layer whose shape
        changes from stimulus to stimulus (pool it), infinities (half precision that overflowed), a stimulus
        that needs more than `max_memory`, and a file that was begun with another model, stimuli or settings.
        """
        self.model_device()
        stimuli, names = _named(stimuli, ids)
        stack = prepare or _stack
        budget = _bytes(max_memory)
        path = Path(out)
        if path.suffix != ".safetensors":
            raise ValueError(f"`out` is `{path}`, but a name that ends in .safetensors expected")
        _choice("dtype", dtype, ("float32", "float16", "float64"))
        with self._evaluating():
            first_inputs = stack([stimuli[0]])
            probe, per_stimulus = self._forward(first_inputs, count=True)
            unused = [name for name in self.layers if not any(_module_of(key) == name for key in probe)]
            if not probe:
                raise ValueError(
                    f"the model called none of {len(self.layers)} tapped modules\n"
                    "hint: tap the part that is run, such as model.get_encoder()"
                )
            for name, values in probe.items():
                _refuse_non_finite(values, name, names[:1], dtype)
            layers = {name: values.shape[1:] for name, values in probe.items()}
            about = {"model": type(self.model).__name__, "pool": self.pool, "seed": str(self._seed)}
            store = ActivationStore(path, names, layers, dtype, about)
            self._refuse_memory(per_stimulus, budget, names[0])
            size = max(1, min(budget // max(per_stimulus, 1), _MOST_AT_ONCE, len(names)))
            if not isinstance(batch_size, str):
                size = min(whole(batch_size, "batch_size", COUNT, least=1), len(names))
                self._refuse_memory(per_stimulus * size, budget, f"{size} stimuli")
            elif batch_size != "auto":
                raise ValueError(f"`batch_size` is {batch_size!r}, but a whole number or 'auto' expected")
            done = store.open(overwrite)
            if done:
                self._compare(store.row(0), probe, path)
            if done < len(names):
                scale = (per_stimulus, budget, _elements(first_inputs))
                self._fill(store, stimuli, names, stack, done, size, scale, dtype)
                store.finish()
        return Recording(
            str(path),
            str(store.ids_path),
            names,
            list(layers),
            list(layers.values()),
            len(names),
            done,
            unused,
        )

    def model_device(self) -> Any:
        """Where the parameters are; None for a model without any."""
        parameters = getattr(self.model, "parameters", None)
        device = next((p.device for p in parameters()), None) if parameters else None
        if getattr(device, "type", None) == "meta":
            raise ValueError(
                "the model is on the device `meta`, where tensors have shapes and no numbers\n"
                "hint: load its weights first"
            )
        return device

    def _fill(
        self,
        store: ActivationStore,
        stimuli: Any,
        names: list[str],
        stack: Callable[[list[Any]], Any],
        done: int,
        size: int,
        scale: tuple[int, int, float],
        dtype: str,
    ) -> None:
        per_stimulus, budget, elements = scale
        with store.appending() as file:
            try:
                while done < len(names):
                    count = min(size, len(names) - done)
                    while True:
                        inputs = stack([stimuli[done + i] for i in range(count)])
                        # Longer stimuli than the first: attention grows with the square of the length.
                        longer = max(1.0, _elements(inputs) / count / elements)
                        needed = int(per_stimulus * count * longer**2)
                        if count == 1 or needed <= budget:
                            break
                        count = max(1, count // 2)
                    self._refuse_memory(needed, budget, names[done])
                    rows, _ = self._forward(inputs, count=False)
                    self._check_rows(rows, store, names[done : done + count], dtype)
                    store.write(file, done, rows)
                    done += count
            finally:
                store.save(file, done)

    def _check_rows(self, rows: dict[str, Array], store: ActivationStore, ids: list[str], dtype: str) -> None:
        expected = store._layers
        if list(rows) != list(expected):
            raise ValueError(
                f"the model called {len(rows)} tapped modules for `{ids[0]}`, but "
                f"{len(expected)} for the first "
                "stimulus\nhint: tap modules that every stimulus passes through"
            )
        for name, values in rows.items():
            if values.shape != (len(ids), *expected[name]):
                raise ValueError(
                    f"layer `{name}` has the shape {values.shape[1:]} for `{ids[0]}`, but "
                    f"{expected[name]} for the "
                    "first stimulus\nhint: stimuli of unequal length need a pool such as 'mean' or 'last'"
                )
            _refuse_non_finite(values, name, ids, dtype)

    def _refuse_memory(self, needed: int, budget: int, what: str) -> None:
        if needed > budget:
            raise ValueError(
                f"`{what}` may need {needed / 2**20:.0f} MiB, but `max_memory` is {budget / 2**20:.0f} MiB\n"
                "hint: allow more, take a smaller batch_size, or shorten the stimuli"
            )

    def _compare(self, stored: dict[str, Array], fresh: dict[str, Array], path: Path) -> None:
        for name, before in stored.items():
            scale = float(np.abs(before).max(initial=0)) + 1e-6
            if not np.allclose(before, fresh[name][0], rtol=0, atol=0.01 * scale):
                raise ValueError(
                    f"`{path}` was begun with another model or other stimuli: layer `{name}` of "
                    "the first stimulus "
                    "differs\nhint: give another name, or say overwrite=True"
                )

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Dropout and batch statistics off, as they were afterwards."""
        was = {path: m.training for path, m in self.model.named_modules() if hasattr(m, "training")}
        self.model.eval()
        try:
            yield
        finally:
            for path, module in self.model.named_modules():
                if path in was:
                    module.training = was[path]

    def _forward(self, inputs: Any, count: bool) -> tuple[dict[str, Array], int]:
        """Pooled layers in the order of their (last) call; bytes put out by all elementary modules."""
        device = self.model_device()
        inputs = _moved(inputs, device)
        mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
        n = _batch(inputs)
        modules = dict(self.model.named_modules())
        seen: dict[str, list[Array]] = {}
        total = [0]

        def pooled(name: str) -> Callable[[Any, Any, Any], None]:
            def hook(module: Any, _: Any, output: Any) -> None:
                value = self._pooled(name, module, _tensor(output, name), n, mask)
                seen.setdefault(name, []).append(value)

            return hook

        def weighed(_: Any, __: Any, output: Any) -> None:
            for tensor in _tensors(output):
                total[0] += int(np.prod(tensor.shape)) * _item_size(tensor)

        handles = [modules[name].register_forward_hook(pooled(name)) for name in self.layers]
        if count:
            leaves = [m for m in modules.values() if next(iter(m.named_children()), None) is None]
            handles += [leaf.register_forward_hook(weighed) for leaf in leaves]
        torch = sys.modules.get("torch")
        quiet = torch.inference_mode() if torch is not None else contextlib.nullcontext()
        try:
            with quiet:
                self.model(**inputs) if isinstance(inputs, Mapping) else self.model(inputs)
        finally:
            for handle in handles:
                handle.remove()
        found: dict[str, Array] = {}
        for name, calls in seen.items():
            if len(calls) == 1:
                found[name] = calls[0]
            elif self._by_time(modules[name]):
                found[name] = np.stack(calls, axis=1)
            else:
                found.update({f"{name}@{k}": value for k, value in enumerate(calls, start=1)})
        stored = sum(values.nbytes for values in found.values())
        return found, total[0] + 2 * stored

    def _by_time(self, module: Any) -> bool:
        return self._calls == "time" or (self._calls == "auto" and "RNNCellBase" in classes(module))

    def _pooled(self, name: str, module: Any, output: Any, n: int, mask: Any) -> Array:
        """One row per stimulus."""
        shape = tuple(output.shape)
        if "RNNBase" in classes(module) and not getattr(module, "batch_first", False) and len(shape) == 3:
            output = output.swapaxes(0, 1)
            shape = tuple(output.shape)
        if not shape or shape[0] != n:
            raise ValueError(
                f"layer `{name}` puts out {' × '.join(map(str, shape))}, but {n} stimuli first expected\n"
                "hint: tap a module whose first axis is the batch, not windows or steps"
            )
        if len(shape) <= 2:
            if self._directions:
                return self._projected(output.reshape(n, -1))
            return _numbers(output.reshape(n, -1))
        first = (
            channels_first(module, len(shape)) if self._layout == "auto" else self._layout == "channels_first"
        )
        if "RNNBase" in classes(module):
            first = False
        if first:
            output = output.swapaxes(1, -1) if len(shape) == 3 else _channels_last(output)
        if self.pool == "none":
            return _numbers(output)
        if self.pool == "flatten":
            return _numbers(output.reshape(n, -1))
        if self._directions:
            return self._projected(output.reshape(n, -1))
        tokens = output.reshape(n, -1, output.shape[-1])  # stimuli × positions × units
        kept = None if mask is None else _mask(mask, tokens.shape[1], name)
        return _pool(self.pool, tokens, kept)

    def _projected(self, flat: Any) -> Array:
        rows = np.ascontiguousarray(_numbers(flat), dtype=np.float32)
        p = rows.shape[1]
        if p <= self._directions:
            return rows
        return _core.random_projection(rows, self._directions, 1 / float(np.sqrt(p)), self._seed)


def tap(
    model: Any,
    layers: str | Sequence[str] = "blocks",
    *,
    pool: str = "mean",
    layout: str = "auto",
    calls: str = "auto",
    seed: int = 0,
) -> Tap:
    """Tap the layers of a torch model: of timm, torchvision, transformers or your own.

    "blocks" are the residual blocks, each after its sum and before the norm at the end of the model (the last
    of transformers' `hidden_states` is behind that norm). A model without blocks gives its convolutions, each
    with the norm and the activation behind it, and its recurrent modules.

    Formula: with h (positions × units) of a stimulus, "mean" is Σ_t m_t h_t / Σ_t m_t, m being the attention
    mask where the inputs have one (else 1); "max" the largest over positions; "cls" the first and "last" the
    last position that the mask keeps; "flatten" all of h in one row; "none" keeps positions (time of a
    recurrent module); "sparse:K" the product of all of h with a sparse random matrix of K columns, as
    `SparseRandomProjection` with the seed. Padded positions count in the last three.

    Parameters
    ----------
    model : torch.nn.Module
    layers : str or sequence of str
        "blocks", or names of modules as `model.named_modules()` lists them, `*` standing for any part of one
        ("encoder.layer.*").
    pool : {"mean", "max", "cls", "last", "flatten", "none", "sparse:K"}
        How positions (tokens, frames, places) become one row; of maps, "mean" is the spatial mean.
    layout : {"auto", "channels_first", "channels_last"}
        Where units stand. "auto": first in modules that convolve, last in others and among tokens.
    calls : {"auto", "depth", "time"}
        What a module that runs several times per stimulus does: steps of depth (`name@1`, `name@2`, …), or
        of time (an axis behind the stimuli). "auto": time for cells of recurrent networks, else depth.
    seed : int
        Of the projection.

    Returns
    -------
    Tap
        `layers`; `record(stimuli, "model.safetensors", ids=…)` writes the store; `activations(batch)` gives
        one batch.

    Errors: `ValueError` for what is no torch module, names that no module has, a model without known blocks.
    Of a recurrent module with several layers torch shows the last one only.
    Cost: that of the model; pooling adds less than 5 %, a projection √p · K random numbers per batch and
    layer of p numbers. Torch is never imported: a torch model has done so.
    Source: specs nfas-dmd 3; Li, Hastie & Church 2006 for the projection.

    Examples
    --------
    Any object with torch's interface will do; this one has two blocks that add 1:

    >>> import numpy as np, tempfile
    >>> import stereotax as sx
    >>> class Module:
    ...     training = False
    ...     def __init__(self, **parts): self.parts, self.hooks = parts, []
    ...     def eval(self): return self
    ...     def named_children(self): return iter(self.parts.items())
    ...     def named_modules(self, prefix=""):
    ...         yield prefix, self
    ...         for name, part in self.parts.items():
    ...             yield from part.named_modules(f"{prefix}.{name}" if prefix else name)
    ...     def register_forward_hook(self, hook):
    ...         self.hooks.append(hook)
    ...         return type("Handle", (), {"remove": lambda _: self.hooks.remove(hook)})()
    ...     def __call__(self, x):
    ...         for part in self.parts.values(): x = part(x)
    ...         out = x + 1 if type(self) is Block else x
    ...         for hook in self.hooks: hook(self, (x,), out)
    ...         return out
    >>> class Block(Module): pass
    >>> model = Module(stem=Module(), blocks=Module(**{k: Block(norm=Module()) for k in "01"}))
    >>> tap = sx.tap(model)
    >>> tap
    Tap(2 layers of Module: blocks.0, blocks.1)
    >>> folder = tempfile.mkdtemp()
    >>> stimuli = {"cat": np.zeros((5, 3)), "dog": np.ones((5, 3))}     # 5 tokens × 3 units each
    >>> recorded = tap.record(stimuli, f"{folder}/model.safetensors")
    >>> recorded.layers, recorded.shapes
    (['blocks.0', 'blocks.1'], [(3,), (3,)])
    >>> tap.activations(np.ones((1, 5, 3)))["blocks.1"]
    array([[3., 3., 3.]])
    """
    return Tap(model, layers, pool, layout, calls, seed)


def _directions(pool: Any) -> int:
    """K of "sparse:K"; 0 for the other rules."""
    name, _, size = str(pool).partition(":")
    if name == "sparse" and size.isdigit() and 0 < int(size) <= COUNT:
        return int(size)
    _choice("pool", pool, _POOLS[:-1])
    return 0


def _bytes(value: int | str) -> int:
    if isinstance(value, str):
        number, unit = value.strip().rstrip("Bb"), 1
        if number and number[-1].upper() in _UNITS:
            number, unit = number[:-1], _UNITS[number[-1].upper()]
        try:
            return int(float(number) * unit)
        except ValueError:
            raise ValueError(
                f"`max_memory` is {value!r}, but bytes or a text such as '2G' expected"
            ) from None
    return whole(value, "max_memory", 2**62, least=1)


def _named(stimuli: Any, ids: Any) -> tuple[Any, list[str]]:
    """Stimuli that can be asked for by place, and their ids."""
    if isinstance(stimuli, Mapping):
        if ids is not None:
            raise ValueError("`ids` are the keys of `stimuli` already\nhint: leave them out")
        ids, stimuli = list(stimuli), list(stimuli.values())
    if not hasattr(stimuli, "__len__") or not hasattr(stimuli, "__getitem__") or isinstance(stimuli, str):
        raise ValueError(
            f"`stimuli` is {type(stimuli).__name__}, but a sequence (with a length) or a mapping expected\n"
            "hint: pass a list, an array, or a dataset with __len__ and __getitem__"
        )
    if len(stimuli) == 0:
        raise ValueError("`stimuli` is empty, but at least one expected")
    if ids is None:
        if not all(isinstance(stimuli[i], os.PathLike) for i in range(len(stimuli))):
            raise ValueError(
                "`ids` is missing, but one id per stimulus expected\n"
                "hint: pass ids=[…] as in the stimulus file of the study, or a mapping from id to stimulus"
            )
        ids = [Path(stimuli[i]).stem for i in range(len(stimuli))]
    names = as_names(ids, "ids")
    if len(names) != len(stimuli):
        raise ValueError(f"`ids` has {len(names)}, but {len(stimuli)} expected (one per stimulus)")
    refuse_twice(names, "ids")
    return stimuli, names


def _stack(items: list[Any]) -> Any:
    """One batch of stimuli that are arrays, tensors, or mappings of such."""
    if isinstance(items[0], Mapping):
        return {key: _stack([item[key] for item in items]) for key in items[0]}
    if hasattr(items[0], "detach"):
        return sys.modules["torch"].stack(items)
    try:
        batch = np.stack([np.asarray(item) for item in items])
    except ValueError as reason:
        raise ValueError(
            f"stimuli cannot be stacked: {reason}\nhint: pass `prepare`, which pads them"
        ) from None
    if batch.dtype.kind not in "fiub":
        raise ValueError(
            f"stimuli are {type(items[0]).__name__}, but tensors, arrays or mappings of them expected\n"
            "hint: pass `prepare`, which turns a list of them into what the model takes"
        )
    return batch


def _moved(inputs: Any, device: Any) -> Any:
    """Inputs on the model's device; NumPy arrays as tensors where the model is torch's."""
    if isinstance(inputs, Mapping):
        return {key: _moved(value, device) for key, value in inputs.items()}
    torch = sys.modules.get("torch")
    if torch is not None and device is not None and isinstance(inputs, np.ndarray):
        inputs = torch.from_numpy(np.ascontiguousarray(inputs))
    if device is not None and hasattr(inputs, "to") and getattr(inputs, "device", device) != device:
        inputs = inputs.to(device)
    return inputs


def _batch(inputs: Any) -> int:
    first = next(iter(_tensors(inputs)), None)
    if first is None or not len(first.shape):
        raise ValueError(
            f"the model's input is {type(inputs).__name__}, but a tensor with stimuli along its "
            "first axis, or a "
            "mapping of such, expected\nhint: look at what `prepare` returns"
        )
    return int(first.shape[0])


def _elements(inputs: Any) -> float:
    return float(max(int(np.prod(t.shape)) for t in _tensors(inputs)))


def _tensors(value: Any) -> list[Any]:
    if hasattr(value, "shape"):
        return [value]
    if isinstance(value, Mapping):
        return [t for item in value.values() for t in _tensors(item)]
    if isinstance(value, list | tuple):
        return [t for item in value for t in _tensors(item)]
    return []


def _tensor(output: Any, name: str) -> Any:
    found = _tensors(output)
    if not found:
        raise ValueError(
            f"layer `{name}` puts out {type(output).__name__}, but a tensor expected\nhint: tap "
            "another module"
        )
    return found[0].detach() if hasattr(found[0], "detach") else found[0]


def _item_size(tensor: Any) -> int:
    size = getattr(tensor, "itemsize", None)
    return int(size if size is not None else tensor.element_size())


def _wide(tensor: Any) -> Any:
    """Half precision as float32, so that sums do not lose digits."""
    return tensor.float() if hasattr(tensor, "float") and _item_size(tensor) < 4 else tensor


def _numbers(tensor: Any) -> Array:
    values = _wide(tensor)
    return values.cpu().numpy().copy() if hasattr(values, "cpu") else np.array(values)


def _channels_last(output: Any) -> Any:
    axes = len(output.shape)
    order = (0, *range(2, axes), 1)
    return output.permute(order) if hasattr(output, "permute") else output.transpose(order)


def _mask(mask: Any, positions: int, name: str) -> Any:
    """The mask as stimuli × positions of 0 and 1, where it has the layer's positions; None if all count."""
    kept = _numbers(mask) != 0
    if kept.all():
        return None
    if kept.ndim != 2 or kept.shape[1] != positions:
        raise ValueError(
            f"layer `{name}` has {positions} positions, but the attention mask has the shape "
            f"{kept.shape} and "
            "leaves some out\nhint: pass stimuli of one length at a time (batch_size=1)"
        )
    return kept


def _pool(rule: str, tokens: Any, kept: Array | None) -> Array:
    """stimuli × positions × units to stimuli × units."""
    n, positions = tokens.shape[:2]
    if rule in ("cls", "last"):
        if kept is None:
            at = np.full(n, 0 if rule == "cls" else positions - 1)
        else:
            at = kept.argmax(axis=1) if rule == "cls" else positions - 1 - kept[:, ::-1].argmax(axis=1)
        return np.stack([_numbers(tokens[i, int(t)]) for i, t in enumerate(at)])
    if kept is None:
        if rule == "mean":
            return _numbers(_wide(tokens).mean(1))
        return _numbers(tokens.amax(1) if hasattr(tokens, "amax") else tokens.max(1))
    chosen = [_numbers(tokens[i])[kept[i]] for i in range(n)]
    return np.stack([c.mean(axis=0) if rule == "mean" else c.max(axis=0) for c in chosen])


def _module_of(key: str) -> str:
    name, _, number = key.rpartition("@")
    return name if number.isdigit() and name else key


def _refuse_non_finite(values: Array, name: str, ids: list[str], dtype: str) -> None:
    largest = float(np.finfo(dtype).max)
    bad = ~(np.abs(values) <= largest)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        raise ValueError(
            f"layer `{name}` of `{ids[row]}` holds {values[bad][0]}, which is no {dtype} number\n"
            "hint: half precision overflows above 65504: run the model in float32 or bfloat16, store float32"
        )
