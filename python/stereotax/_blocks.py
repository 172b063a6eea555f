"""Find the layers of a torch module by the names of its classes: torch itself is not needed for it."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from typing import Any

#: Classes that are residual blocks (or what stands in their place) in timm, torchvision and transformers.
_BLOCK = re.compile(
    r"(Block(\d?[dD]|V\d|\d+)?|Bottle(2)?neck\w*|Layer(V\d)?|\w+Basic|\w*InvertedResidual|EdgeResidual"
    r"|Fused?MBConv|MBConv|Fire|Inception[A-E]?|DepthwiseSeparableConv|\w*Residual|\w*Cell\d?|CellStem\d"
    r"|Mixer|Outlooker|ConvEncoder|XceptionModule)$"
)
#: Classes that end likewise and are none: parts of a block, or what holds blocks.
_OTHER = re.compile(
    r"(Stage|BasicLayer|Pad|Position|Embed|Norm\w*Layer$|Norm$|Pool|Conv\w*Layer$|LayerGroup|Aux|Adapter|Attention"
    r"|LinearLayer|MLPBlock|Mlp|FeedForward|Output|Stem$|Drop|Projection|LayerScale$|SqueezeExcite)"
)
_RECURRENT = {"RNNBase", "RNNCellBase"}
_LINEAR = {"Linear", "NonDynamicallyQuantizableLinear"}


def classes(module: Any) -> set[str]:
    """Names of the module's class and of all that it derives from."""
    return {cls.__name__ for cls in type(module).__mro__}


def is_conv(module: Any) -> bool:
    """Whether the module is itself a convolution: its name says so, and its weight has places."""
    weight = getattr(module, "weight", None)
    return any("Conv" in name for name in classes(module)) and len(getattr(weight, "shape", ())) >= 3


def channels_first(module: Any, n_axes: int) -> bool:
    """Whether a batch that this module puts out has channels before positions."""
    parts = [part for _, part in module.named_modules()]
    convolves = any(is_conv(part) for part in parts)
    if n_axes == 3:  # tokens, except behind convolutions along time alone
        return convolves and not any(classes(part) & _LINEAR for part in parts)
    return convolves or not any(classes(part) & _LINEAR for part in parts)


def find_layers(model: Any, wanted: str | list[str]) -> list[str]:
    """Names of modules, in the order in which the model lists them.

    "blocks": the residual blocks; of a model without any, its convolution stages and recurrent modules.
    Anything else: names, or patterns with `*` in which `*` does not cross a dot.
    """
    if wanted == "blocks":
        found = _blocks(model) or _stages(model)
        if found:
            return found
        raise ValueError(
            f"`layers` is 'blocks', but {type(model).__name__} has neither residual blocks nor convolutions "
            "nor recurrent modules that are known\n"
            f"hint: name the modules, as in ['{_any_name(model)}'], or by a pattern such as 'encoder.*'"
        )
    names = [name for name, _ in model.named_modules() if name]
    found = []
    for pattern in [wanted] if isinstance(wanted, str) else wanted:
        depth = str(pattern).count(".")
        here = [
            name
            for name in names
            if name == pattern or (name.count(".") == depth and fnmatch.fnmatchcase(name, str(pattern)))
        ]
        if not here:
            raise ValueError(
                f"`layers` has {pattern!r}, which no module of {type(model).__name__} is called\n"
                f"hint: {_nearest(str(pattern), names)}"
            )
        found += [name for name in here if name not in found]
    return found


def _blocks(model: Any) -> list[str]:
    found: list[tuple[str, str]] = []

    def walk(module: Any, prefix: str) -> None:
        for name, child in module.named_children():
            path = f"{prefix}{name}"
            kind = type(child).__name__
            if _BLOCK.search(kind) and not _OTHER.search(kind) and _has_parts(child):
                found.append((path, re.sub(r"([A-E]|\d[dD]?|V\d)$", "", kind)))
            else:
                walk(child, f"{path}.")

    walk(model, "")
    # A part that merely ends in the same word stands alone; a block has brothers or a number.
    kinds = [kind for _, kind in found]
    kept = [path for path, kind in found if kinds.count(kind) > 1 or path.rsplit(".", 1)[-1].isdigit()]
    return kept if len(kept) > 1 or any(_numbered(path) for path in kept) else []


def _has_parts(module: Any) -> bool:
    return next(iter(module.named_children()), None) is not None


def _numbered(path: str) -> bool:
    return path.rsplit(".", 1)[-1].isdigit()


def _stages(model: Any) -> list[str]:
    """Each convolution with the norm and the activation behind it; recurrent modules."""
    found: list[str] = []
    open_stage = False
    for path, module in _leaves(model):
        names = classes(module)
        if is_conv(module) or names & _RECURRENT:
            found.append(path)
            open_stage = is_conv(module)
        elif names & _LINEAR or "Pool" in type(module).__name__ or "Flatten" in names:
            open_stage = False
        elif open_stage and not any("Drop" in name for name in names):
            found[-1] = path
    return found


def _leaves(model: Any) -> Iterator[tuple[str, Any]]:
    for path, module in model.named_modules():
        if path and not _has_parts(module):
            yield path, module


def _any_name(model: Any) -> str:
    return next((name for name, _ in model.named_modules() if name), "features")


def _nearest(pattern: str, names: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4) or names[:5]
    return f"there is {', '.join(f'`{name}`' for name in near)}" if near else "the model has no parts"
