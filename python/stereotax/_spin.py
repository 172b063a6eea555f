"""Correlations between cortical maps, tested against maps that are as smooth."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from . import _core
from ._arrays import DRAWS, SEED, Array, as_matrix, to_numpy, whole
from ._base import Result
from ._ridge import _choice


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class SpinTest(Result):
    """A correlation between two maps, and how often a turned map reaches it."""

    correlation: float
    #: Two-sided.
    p_value: float
    #: Correlations with the turned maps.
    null: Array
    #: Places where both maps are defined.
    n_used: int
    #: Rotations without a correlation, which take no part.
    n_undefined: int


def spin_test(
    x: Any,
    y: Any,
    spheres: Any = None,
    *,
    labels: Any = None,
    correlation: str = "spearman",
    assign: str = "nearest",
    surrogates: Any = None,
    n_rotations: int = 1000,
    seed: int = 0,
) -> SpinTest:
    """Test the correlation of two cortical maps by turning one of them on its sphere.

    Formula: R uniform on SO(3); a place takes the value of `y` at the place nearest to where R came from; the
    second sphere turns by the mirror image of R. ``p = (1 + #{|r*| ≥ |r|}) / (1 + rotations)``, two-sided. A
    turned map is as smooth as the map, which independent numbers would not be.

    Parameters
    ----------
    x, y : array, places
        First sphere, then second. NaN (the medial wall, and what is turned onto it) is dropped pairwise.
    spheres : array, places × 3, or a pair of them (left, right)
        Vertices of the spherical surfaces, of any radius; not the cortical surfaces.
    labels : array of int, vertices, or a pair of them, optional
        The maps have one value per parcel: parcels in ascending order of their label within each sphere, 0 is
        no parcel. Parcels turn by the centres of their vertices.
    correlation : {"spearman", "pearson"}
        Ties share their mean rank.
    assign : {"nearest", "one_to_one"}
        The nearest place, or every value exactly once at least total squared distance (for parcels).
    surrogates : array, surrogates × places, optional
        Maps in place of turned ones, made in another way; no spheres are needed then.
    n_rotations, seed
        Rotations.

    Returns
    -------
    SpinTest
        ``correlation``, ``p_value``, ``null``, ``n_used``, ``n_undefined``.

    Errors: `ValueError` for maps of other lengths, spheres with a vertex at the origin, infinities.
    Undefined: NaN where a map does not vary.
    Cost: O(places) per rotation by a grid of cubes ("one_to_one": cubic).
    Source: Alexander-Bloch et al. 2018; Markello & Misic 2021; specs peers 5 (11).

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> sphere = rng.normal(size=(500, 3))
    >>> sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    >>> x = sphere[:, 0] + sphere[:, 1] ** 2
    >>> sx.spin_test(x, x + 0.1 * sphere[:, 2], sphere, n_rotations=199).p_value
    0.005
    """
    first, second = _map(x, "x"), _map(y, "y")
    pearson = _choice("correlation", correlation, ("spearman", "pearson")) == "pearson"
    if (spheres is None) == (surrogates is None):
        raise ValueError(
            f"{'neither' if spheres is None else 'both'} `spheres` and `surrogates` given, but one of them "
            "expected\nhint: pass the spherical surfaces, left and right"
        )
    if surrogates is not None:
        maps = as_matrix(surrogates, "surrogates", axes="surrogates × places")
        return SpinTest(**_core.surrogate_test(first, second, maps, pearson))
    found = _core.spin_test(
        first,
        second,
        _places(spheres, labels),
        pearson,
        _choice("assign", assign, ("nearest", "one_to_one")) == "one_to_one",
        whole(n_rotations, "n_rotations", DRAWS, least=1),
        whole(seed, "seed", SEED),
    )
    return SpinTest(**found)


def spin_sources(
    spheres: Any,
    *,
    labels: Any = None,
    assign: str = "nearest",
    n_rotations: int = 1000,
    seed: int = 0,
) -> Array:
    """Which place each place takes its value from in each rotation: the spin null for any other statistic.

    Formula, parameters and source: see `spin_test`; the same seed gives the same rotations. ``y[sources[k]]``
    is map y turned by rotation k.

    Returns
    -------
    array of uint32, rotations × places

    Errors: see `spin_test`. Cost: four bytes per rotation and place.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> sphere = np.random.default_rng(0).normal(size=(40, 3))
    >>> sources = sx.spin_sources(sphere, assign="one_to_one", n_rotations=3)
    >>> sources.shape, sorted(sources[0].tolist()) == list(range(40))
    ((3, 40), True)
    """
    found: Array = _core.spin_sources(
        _places(spheres, labels),
        _choice("assign", assign, ("nearest", "one_to_one")) == "one_to_one",
        whole(n_rotations, "n_rotations", DRAWS, least=1),
        whole(seed, "seed", SEED),
    )
    return found


def moran_surrogates(
    x: Any, weights: Any, *, n_surrogates: int = 1000, procedure: str = "pairs", seed: int = 0
) -> Array:
    """Random maps with the spatial autocorrelation of a given one, for places that are on no sphere.

    Formula: with eigenvectors v_k of the centred weights, ``x − mean = Σ a_k v_k``; "single" gives each a_k a
    random sign (Moran's I, mean and variance stay exactly); "pairs" turns neighbouring (a_k, a_k+1) by a
    random angle (I stays nearly, and maps of few eigenvectors are randomised too).

    Parameters
    ----------
    x : array, places
        NaN stays NaN and takes no part.
    weights : array, places × places
        Symmetric; larger for nearer places, such as inverse distances. The diagonal is not used.
    n_surrogates, seed
        Maps.
    procedure : {"pairs", "single"}

    Returns
    -------
    array, surrogates × places
        To be passed to `spin_test` as ``surrogates``.

    Errors: `ValueError` for weights that are not square or symmetric, or fewer than 3 places.
    Cost: O(n³) once. Source: Wagner & Dray 2015; specs peers 5 (11).

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> at = rng.normal(size=(60, 3))
    >>> apart = np.linalg.norm(at[:, None] - at[None], axis=-1)
    >>> maps = sx.moran_surrogates(at[:, 0], 1 / (apart + np.eye(60)), n_surrogates=99)
    >>> sx.spin_test(at[:, 0], at[:, 0] ** 3, surrogates=maps).p_value
    0.01
    """
    found: Array = _core.moran_surrogates(
        _map(x, "x"),
        as_matrix(weights, "weights", axes="places × places"),
        _choice("procedure", procedure, ("pairs", "single")) == "pairs",
        whole(n_surrogates, "n_surrogates", DRAWS, least=1),
        whole(seed, "seed", SEED),
    )
    return found


def _map(values: Any, name: str) -> list[float]:
    array = to_numpy(values, name)
    if array.ndim != 1:
        raise ValueError(
            f"`{name}` has the shape {array.shape}, but one axis (places) expected\n"
            "hint: join the hemispheres, left then right"
        )
    numbers: list[float] = array.astype(np.float64).tolist()
    return numbers


def _places(spheres: Any, labels: Any) -> list[Array]:
    several = isinstance(spheres, list | tuple)
    parts = list(spheres) if several else [spheres]
    found = [as_matrix(sphere, "spheres", axes="vertices × 3") for sphere in parts]
    if labels is None:
        return found
    given = list(labels) if several else [labels]
    if len(given) != len(found):
        raise ValueError(
            f"`labels` has {len(given)} parts, but {len(found)} expected (one per sphere)\n"
            "hint: pass labels of the left and of the right vertices"
        )
    centres = []
    for sphere, part in zip(found, given, strict=True):
        array = to_numpy(part, "labels")
        if array.dtype.kind not in "iu":
            raise ValueError(f"`labels` holds {array.dtype}, but integers expected\nhint: 0 marks no parcel")
        centres.append(_core.parcel_centres(sphere, array.ravel().tolist())["centres"])
    return centres
