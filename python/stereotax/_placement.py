"""Where brain areas stand along the depth of a network."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, DRAWS, SEED, Array, as_matrix, as_number, whole
from ._base import Result
from ._ridge import _choice


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class AreaPlace(Result):
    """Where one area stands."""

    scores: Array
    score_sds: Array
    #: Mean score when images are in a random order.
    null_means: Array
    #: Per layer, corrected for the choice among layers.
    p_values: Array
    p_value: float
    #: Whether p_value is at most alpha; if not, the depths mean nothing.
    placed: bool
    best_layer: int
    #: Depths are in [0, 1]: first layer to last.
    depth_best: float
    depth_weighted: float
    best_interval: tuple[float, float] | None
    weighted_interval: tuple[float, float] | None
    #: Share of bootstrap draws in which each layer is best.
    best_shares: Array
    ceiling: float | None


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class PseudoDepth(Result):
    """Places of areas along the layers of a network."""

    areas: dict[str, AreaPlace]
    layer_names: list[str]
    #: Neurons and images of each subsample, the same for all areas.
    n_neurons: int
    n_images: int


def pseudo_depth(
    areas: Any,
    layers: Any,
    *,
    halves: Any = None,
    measure: str = "ssm",
    n_components: int = 40,
    n_neurons: int | None = None,
    n_subsamples: int = 50,
    n_images: int | None = None,
    n_bootstraps: int = 200,
    n_permutations: int = 999,
    level: float = 0.95,
    alpha: float = 0.05,
    seed: int = 0,
) -> PseudoDepth:
    """Place areas along a network by which of its layers represents images most as they do.

    Formula: "ssm" is Spearman's correlation, over pairs of images, of the correlations between population
    vectors; "svcca" the mean canonical correlation of `n_components` leading components of both sides. Depth
    of layer l is ``l / (L − 1)``; pseudo-depth is that of the best layer, or ``Σ w_l depth_l / Σ w_l`` with
    ``w_l = max(0, score_l − mean of its null)``.

    Parameters
    ----------
    areas : dict or list of arrays, images × neurons
        Responses averaged over trials; rows are the same images everywhere.
    layers : dict or list of arrays, images × units
        Shallow to deep.
    halves : dict or list of pairs of arrays, optional
        Responses averaged over two halves of the trials, per area: gives ceilings.
    n_neurons : int, optional
        Neurons per subsample, the same for all areas (four fifths of the smallest by default).
    n_subsamples, n_images
        Subsamples that scores are means of; images in each (all by default).
    n_bootstraps, level
        Neurons and images drawn with replacement: intervals. For "svcca" neurons only.
    n_permutations, alpha
        Orders of images: p by the maximum over layers of the score above its null; areas with p above `alpha`
        are not `placed`.
    seed : int
        Of all draws.

    Returns
    -------
    PseudoDepth
        ``areas[name]`` with ``scores``, ``null_means``, ``p_value``, ``placed``, ``depth_best``,
        ``depth_weighted``, intervals and ``ceiling``; ``n_neurons``.

    Errors: `ValueError` for other images, more neurons than the smallest area has, values that are not
    finite. Undefined: an image with a constant population vector has no similarity and is left out of pairs;
    ``depth_weighted`` is NaN where no score is above its null.
    Cost: O(L n² log n) per draw for n images.
    Source: Shi et al. 2019; specs alignment-methods B9. Note that "svcca" of independent data is far from 0.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> layers = [rng.normal(size=(40, 30))]
    >>> for _ in range(4):
    ...     layers.append(0.7 * layers[-1] + 0.7 * rng.normal(size=(40, 30)))
    >>> v1 = layers[1] @ rng.normal(size=(30, 60)) + rng.normal(size=(40, 60))
    >>> noise = rng.normal(size=(40, 50))
    >>> found = sx.pseudo_depth({"V1": v1, "noise": noise}, layers, n_subsamples=5, n_bootstraps=20,
    ...                         n_permutations=99)
    >>> found.areas["V1"].depth_best, found.areas["V1"].placed, found.areas["noise"].placed
    (0.25, True, False)
    """
    area_names, area_arrays = _named(areas, "areas", "area")
    layer_names, layer_arrays = _named(layers, "layers", "layer")
    pairs = None
    if halves is not None:
        given = [halves[name] for name in area_names] if hasattr(halves, "keys") else list(halves)
        if len(given) != len(area_names) or any(len(pair) != 2 for pair in given):
            raise ValueError(
                f"`halves` has {len(given)} entries, but a pair of arrays for each of {len(area_names)} "
                "areas expected\nhint: average odd and even trials"
            )
        pairs = [(as_matrix(one, "halves"), as_matrix(two, "halves")) for one, two in given]
    svcca = _choice("measure", measure, ("ssm", "svcca")) == "svcca"
    found = _core.pseudo_depth(
        area_arrays,
        layer_arrays,
        pairs,
        whole(n_components, "n_components", COUNT, least=1) if svcca else None,
        None if n_neurons is None else whole(n_neurons, "n_neurons", COUNT, least=1),
        whole(n_subsamples, "n_subsamples", DRAWS, least=1),
        None if n_images is None else whole(n_images, "n_images", COUNT, least=1),
        whole(n_bootstraps, "n_bootstraps", DRAWS),
        whole(n_permutations, "n_permutations", DRAWS, least=1),
        as_number(level, "level"),
        as_number(alpha, "alpha"),
        whole(seed, "seed", SEED),
    )
    return PseudoDepth(
        areas={name: AreaPlace(**place) for name, place in zip(area_names, found["areas"], strict=True)},
        layer_names=layer_names,
        n_neurons=found["n_neurons"],
        n_images=found["n_images"],
    )


def _named(values: Any, name: str, each: str) -> tuple[list[str], list[Array]]:
    if hasattr(values, "keys"):
        names, arrays = [str(key) for key in values.keys()], list(values.values())
    elif isinstance(values, np.ndarray) and values.ndim < 3 or not hasattr(values, "__iter__"):
        raise ValueError(
            f"`{name}` is a single array, but one array (images × columns) per {each} expected\n"
            "hint: pass a list or a dictionary of arrays"
        )
    else:
        arrays = list(values)
        names = [f"{each} {k}" for k in range(len(arrays))]
    return names, [as_matrix(array, f"{name}[{key!r}]") for key, array in zip(names, arrays, strict=True)]
