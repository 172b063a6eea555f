"""Areas of the brain and layers of a network: who reads where, and what populations say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, DRAWS, SEED, Array, as_matrix, as_names, as_number, whole
from ._base import Result
from ._table import Table


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class AreaLayers(Result):
    """Readouts from layers of the areas' own depth against other choices."""

    #: One row per area: area, layer (that of the first fold), own (mean score), against_final, against_single
    #: (mean differences of scores).
    areas: Table
    #: One row per other choice (final, single, permuted): comparison, difference (own − other, mean over
    #: neurons), p_value.
    comparisons: Table
    own: float
    #: Layer of each area per fold, and the best single layer per fold.
    layers: list[dict[str, int]]
    single_layers: list[int]
    #: Assignments that differ from one another: no p of permuted areas is below 1 over it.
    n_assignments: int
    n_undefined: int
    #: One fold only: layers were chosen by the scores that judge them.
    biased: bool


def assign_layers(hierarchy: Mapping[str, float], n_layers: int, lowest_layer: int) -> dict[str, int]:
    """Give every area a layer of its own depth.

    Formula: ``layer = round(l₀ + h (L − 1 − l₀))`` with the hierarchy brought to [0, 1]; halves are rounded
    up.

    Parameters
    ----------
    hierarchy : mapping
        Area to its score; larger is higher. 2 areas or more.
    n_layers : int
        L.
    lowest_layer : int
        l₀, the layer (from 0) that predicts the lowest area best.

    Returns: dict of area to layer. Errors: `ValueError` for equal scores, a layer that is not there.
    Source: specs alignment-methods B7.

    Examples
    --------
    >>> import stereotax as sx
    >>> sx.assign_layers({"V1": 0, "LM": 1, "AL": 2}, n_layers=9, lowest_layer=4)
    {'V1': 4, 'LM': 6, 'AL': 8}
    """
    scores = [as_number(score, "hierarchy") for score in hierarchy.values()]
    n = whole(n_layers, "n_layers", COUNT, least=1)
    found = _core.assign_layers(scores, n, whole(lowest_layer, "lowest_layer", COUNT))
    return dict(zip(hierarchy, found, strict=True))


def area_layers(
    scores: Any,
    areas: Sequence[Any],
    hierarchy: Mapping[str, float],
    *,
    n_permutations: int = 9999,
    seed: int = 0,
) -> AreaLayers:
    """Ask whether areas are best read from layers of their own depth (`assign_layers`).

    Against the final layer, the best single layer, and assignments with areas permuted, by differences
    paired over neurons. The layer of the lowest area and the best single layer are chosen on the other
    folds.

    Parameters
    ----------
    scores : array (n_folds, n_layers, n_neurons), or (n_layers, n_neurons)
        Held-out scores per fold or seed. With one fold, choices are biased upwards and `biased` says so.
    areas : sequence of n_neurons names
    hierarchy : mapping
        Area to its score; larger is higher.
    n_permutations : int
        Sign flips for the first two p-values (one-sided, own layer better); neurons of one recording share
        noise, which makes these optimistic. Permuted areas are all gone through (8 at most).
    seed : int

    Returns: `AreaLayers`. Errors: `ValueError` for shapes that do not match, equal hierarchy scores, an
    area without a neuron that has all scores. Undefined: neurons with a NaN are left out and counted.
    Cost: O(folds · layers · neurons + areas!). Source: specs alignment-methods B7.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> depth = np.repeat([1, 3, 5], 20)  # where each neuron is predicted best, of 6 layers
    >>> scores = -0.1 * abs(np.arange(6)[:, None] - depth) + 0.01 * rng.normal(size=(2, 6, 60))
    >>> found = sx.area_layers(scores, np.repeat(["V1", "LM", "AL"], 20), {"V1": 0, "LM": 1, "AL": 2})
    >>> found.layers[0]
    {'V1': 1, 'LM': 3, 'AL': 5}
    >>> [round(float(p), 4) for p in found.comparisons["p_value"]]
    [0.0001, 0.0001, 0.1667]
    """
    array = np.asarray(scores, dtype=np.float64)
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3:
        raise ValueError(
            f"`scores` has the shape {np.shape(scores)}, but folds × layers × neurons expected\n"
            "hint: stack the scores of folds with numpy.stack"
        )
    names = as_names(areas, "areas")
    known = sorted(set(names))
    missing = [area for area in known if area not in hierarchy]
    if missing:
        raise ValueError(f"`hierarchy` has no score of {', '.join(missing)}\nhint: name every area in it")
    found = _core.area_layers(
        [as_matrix(fold, "scores") for fold in array],
        names,
        [as_number(hierarchy[area], "hierarchy") for area in known],
        whole(n_permutations, "n_permutations", DRAWS),
        whole(seed, "seed", SEED),
    )
    order = [area for area in hierarchy if area in known]
    at = [known.index(area) for area in order]
    final, single = found["against_final"], found["against_single"]
    layers = [{area: fold[k] for area, k in zip(order, at, strict=True)} for fold in found["layers"]]
    return AreaLayers(
        areas=Table(
            {
                "area": order,
                "layer": list(layers[0].values()),
                "own": [found["own_per_area"][k] for k in at],
                "against_final": [final[2][k] for k in at],
                "against_single": [single[2][k] for k in at],
            }
        ),
        comparisons=Table(
            {
                "comparison": ["final", "single", "permuted"],
                "difference": [final[0], single[0], found["against_permuted"]],
                "p_value": [final[1], single[1], found["p_permuted"]],
            }
        ),
        own=found["own"],
        layers=layers,
        single_layers=found["single_layers"],
        n_assignments=found["n_assignments"],
        n_undefined=found["n_undefined"],
        biased=found["biased"],
    )


def receptive_fields(
    fields: Any = None, *, images: Any = None, responses: Any = None, widest: float | None = None
) -> Table:
    """Sizes of receptive fields, by a 2-D Gaussian fitted to each.

    Formula: ``b + a exp(−½(u²/σ₁² + v²/σ₂²))`` about a centre, turned by an angle; ``size = π σ₁ σ₂``. From
    responses to white noise, ``RF = Σ r·image/Σ r − mean image``.

    Parameters
    ----------
    fields : array (n_neurons, height, width), optional
        Maps such as weights of a linear readout.
    images, responses : array (n_images, height, width), array (n_images, n_neurons)
        In place of `fields`: white noise, and responses of at least 0.
    widest : float, optional
        Largest σ in pixels; a quarter of the longer side by default.

    Returns
    -------
    Table
        One row per neuron: x, y (pixels from 0, y downwards), sigma_1 ≥ sigma_2, angle_deg (of sigma_1,
        from x towards y), amplitude (negative for OFF fields), offset, correlation of fit and field, size
        (squared pixels), status. A field that is left out has the reason there and NaN for its size: a
        centre outside the image, a σ too large or below a quarter pixel, a correlation below 0.35, a flat
        field.

    Errors: `ValueError` for shapes that do not match, negative responses, NaN in images.
    Cost: O(n_images · pixels · neurons), and O(pixels) per step of a fit. Source: specs alignment-methods B7.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> y, x = np.mgrid[:20, :30]
    >>> field = np.exp(-((x - 12) ** 2 / 18 + (y - 8) ** 2 / 8))  # σ of 3 and 2
    >>> found = sx.receptive_fields(field[None])
    >>> [round(float(found[name][0]), 3) for name in ("x", "y", "sigma_1", "sigma_2")]
    [12.0, 8.0, 3.0, 2.0]
    """
    if (fields is None) == (images is None) or (images is None) != (responses is None):
        raise ValueError(
            "`fields`, or both `images` and `responses`, expected\n"
            "hint: pass maps, or white noise with responses"
        )
    given = np.asarray(images if fields is None else fields, dtype=np.float64)
    if given.ndim != 3:
        raise ValueError(
            f"an array of the shape {given.shape} was found, but three axes expected\n"
            "hint: fields are neurons × height × width, images are images × height × width"
        )
    grid = (given.shape[1], given.shape[2])
    flat = as_matrix(given.reshape(len(given), grid[0] * grid[1]), "images" if fields is None else "fields")
    if fields is None:
        by_pixels = _core.reverse_correlation(flat, as_matrix(responses, "responses"))
    else:
        by_pixels = flat.T
    told = None if widest is None else as_number(widest, "widest")
    return Table(_core.fit_receptive_fields(by_pixels, grid, told))


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class RotationInvariance(Result):
    """How well images are told apart under rotation."""

    #: Mean over pairs of images; chance is ½.
    accuracy: float
    per_pair: Array
    pairs: list[tuple[int, int]]


def rotation_invariance(
    responses: Any,
    *,
    gray: Any = None,
    n_pairs: int = 50,
    n_components: int = 100,
    cost: float = 1.0,
    seed: int = 0,
) -> RotationInvariance:
    """How well a population tells images apart at rotations that it was not trained on.

    For random pairs of images a linear support vector machine (hinge loss) is trained without one rotation
    and its two neighbours on the circle, and tested on that rotation, for each in turn.

    Parameters
    ----------
    responses : array (n_images, n_rotations, n_neurons)
        Rotations in order around the circle, 5 at least (15 steps of 24° in the reference).
    gray : array (n_neurons,), optional
        Response to a gray screen, to be subtracted.
    n_pairs : int
        All pairs if there are fewer.
    n_components : int
        Most principal components; they and z-scores come from the training rows.
    cost : float
        C.
    seed : int

    Returns: `RotationInvariance`. Errors: `ValueError` for too few rotations or images, NaN.
    Cost: O(pairs · rotations² · components · sweeps). Source: specs alignment-methods B7. Differs from
    libsvm: the constant is penalised like a weight.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> image = rng.normal(size=(6, 1, 30))  # the same at every rotation, but for noise
    >>> sx.rotation_invariance(image + 0.3 * rng.normal(size=(6, 15, 30))).accuracy
    1.0
    """
    array = np.asarray(responses, dtype=np.float64)
    if array.ndim != 3:
        raise ValueError(
            f"`responses` has the shape {array.shape}, but images × rotations × neurons expected\n"
            "hint: average repeats first"
        )
    flat = as_matrix(array.reshape(-1, array.shape[2]), "responses")
    baseline = np.zeros(array.shape[2]) if gray is None else np.asarray(gray, dtype=np.float64)
    return RotationInvariance(
        **_core.rotation_invariance(
            flat,
            baseline.ravel().tolist(),
            array.shape[1],
            whole(n_pairs, "n_pairs", COUNT, least=1),
            whole(n_components, "n_components", COUNT, least=1),
            as_number(cost, "cost"),
            whole(seed, "seed", SEED),
        )
    )


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ObjectInformation(Result):
    """What a population says of which object a film shows."""

    #: Bits less `bias`; may be below 0.
    bits: float
    raw_bits: float
    bias: float
    p_value: float
    accuracy: float
    #: Bins shown (rows) and predicted (columns), objects in sorted order.
    confusion: Array
    objects: list[str]


def object_information(
    responses: Any,
    objects: Sequence[Any],
    clips: Sequence[Any],
    *,
    n_folds: int = 10,
    n_shuffles: int = 100,
    seed: int = 0,
) -> ObjectInformation:
    """Bits that a population has about which object a film shows.

    Formula: one-vs-rest logistic regression in folds of whole clips, ``MI = Σ p_ij log₂(p_ij/(p_i p_j))``
    of shown and predicted objects, less the mean MI with objects shuffled among clips.

    Bins of one clip resemble each other: folds that split clips would count that as information, and
    shuffles of single bins would miss how few independent bins there are.

    Parameters
    ----------
    responses : array (n_bins, n_neurons)
    objects, clips : sequence of n_bins names
        What is shown, and in which clip; a clip shows one object.
    n_folds : int
        At most as many as there are clips of an object.
    n_shuffles : int
        0: no correction.
    seed : int

    Returns: `ObjectInformation`; p is (1 + #{shuffled ≥ raw})/(1 + shuffles).
    Errors: `ValueError` for a clip of two objects, fewer clips than folds, NaN.
    Cost: O(folds · objects · bins · neurons) per step. Source: specs alignment-methods B7.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> objects, clips = np.repeat(["a", "b"], 60), np.repeat(np.arange(20), 6)
    >>> responses = 2 * (objects == "a")[:, None] + rng.normal(size=(120, 10))
    >>> found = sx.object_information(responses, objects, clips)
    >>> bool(0.9 < found.raw_bits <= 1.0), bool(found.bits < found.raw_bits)
    (True, True)
    """
    found = _core.object_information(
        as_matrix(responses, "responses"),
        as_names(objects, "objects"),
        as_names(clips, "clips"),
        whole(n_folds, "n_folds", COUNT, least=2),
        whole(n_shuffles, "n_shuffles", DRAWS),
        whole(seed, "seed", SEED),
    )
    return ObjectInformation(**{**found, "confusion": np.array(found["confusion"])})


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class OrderAgreement(Result):
    """How far a measure orders areas as a hierarchy does."""

    #: Kendall's τ-b in [−1, 1]; NaN where a side is all ties.
    tau_b: float
    p_tau: float
    #: Of the measure over the hierarchy.
    slope: float
    p_slope: float
    n_orders: int
    #: Whether p-values come from all orders.
    exact: bool


def order_agreement(
    measure: Sequence[float], hierarchy: Sequence[float], *, n_permutations: int = 9999, seed: int = 0
) -> OrderAgreement:
    """Ask whether a measure orders areas as experiments or a hierarchy do.

    Formula: Kendall's ``τ_b = (C − D)/√((n₀ − n₁)(n₀ − n₂))`` and the slope of least squares.

    Parameters
    ----------
    measure, hierarchy : sequence of float
        One value per area, 3 areas or more.
    n_permutations, seed : int
        Random orders above 8 areas; up to 8 all orders are gone through.

    Returns: `OrderAgreement`; p two-sided. With four areas none is below 1/12: report it as exact.
    Errors: `ValueError` for different lengths, NaN. Source: Kendall 1945; specs alignment-methods B7.

    Examples
    --------
    >>> import stereotax as sx
    >>> found = sx.order_agreement([1.2, 1.5, 1.9, 2.2], [0, 1, 2, 3])
    >>> found.tau_b, round(found.p_tau, 4), found.n_orders
    (1.0, 0.0833, 24)
    """
    return OrderAgreement(
        **_core.order_agreement(
            [float(v) for v in measure],
            [float(v) for v in hierarchy],
            whole(n_permutations, "n_permutations", DRAWS),
            whole(seed, "seed", SEED),
        )
    )
