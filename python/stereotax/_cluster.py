"""Where on a volume or a surface there is an effect."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from . import _core
from ._arrays import DRAWS, SEED, Array, as_matrix, as_number, whole
from ._base import Result
from ._ridge import _choice


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Cluster(Result):
    """One connected set of vertices beyond the threshold."""

    vertices: Array
    peak: int
    peak_value: float
    size: float
    mass: float
    p_size: float
    p_mass: float


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ClusterTest(Result):
    """Maps and clusters with p-values corrected for all vertices."""

    statistic: Array
    p_values: Array
    #: None where `tfce` is off.
    tfce: Array | None
    tfce_p_values: Array | None
    #: Largest mass first; empty without a threshold.
    clusters: list[Cluster]
    n_permutations: int
    #: Whether these are all sign flips there are.
    exact: bool


def cluster_test(
    data: Any,
    *,
    mask: Any = None,
    connectivity: int = 6,
    faces: Any = None,
    edges: Any = None,
    null: Any = None,
    threshold: float | None = None,
    tfce: bool | tuple[float, float] = True,
    sides: str = "two",
    areas: Any = None,
    n_permutations: int = 9999,
    seed: int = 0,
) -> ClusterTest:
    """Test maps for effects somewhere, by the largest value, TFCE and cluster of each null map.

    Formula: ``TFCE(v) = ∫_0^{t_v} e_v(h)^E h^H dh`` with e_v(h) the extent of the connected set above h that
    holds v; a cluster is a connected set with t > θ, its mass ``Σ (t − θ)``. ``p = (1 + #{draws whose maximum
    reaches the value}) / (1 + draws)``: the family-wise error over all vertices is controlled.

    Parameters
    ----------
    data : array, subjects × vertices; or vertices, with `null`
        One map per subject, tested against 0 by flipping signs of subjects (t of one sample); or the observed
        map of any statistic that is large where there is an effect. Vertices of a mask are its voxels in C
        order (``volume[mask]``).
    mask : array of bool, three axes
        The volume; `connectivity` says whether neighbours share a face (6), an edge (18) or a corner (26).
    faces : array, faces × 3
        The surface: triangles by their vertices, counted from 0.
    edges : array, edges × 2
        Any other graph. One of `mask`, `faces` and `edges` is to be given.
    null : array, draws × vertices, optional
        Null maps, made with the dependence between vertices intact (the same shuffle for all vertices).
    threshold : float, optional
        θ above 0, which forms clusters; none without it.
    tfce : bool or (E, H)
        True is (0.5, 2) in volumes and (1, 2) on surfaces and graphs.
    sides : {"two", "greater", "less"}
        Which signs count; two-sided maxima run over both.
    areas : array, vertices, optional
        What vertices count in extents, such as their areas; 1 each by default.
    n_permutations, seed
        Sign flips. Where there are no more than that in all, each is taken once, and the test is exact.

    Returns
    -------
    ClusterTest
        ``statistic``, ``p_values``, ``tfce`` (with the sign of the statistic), ``tfce_p_values`` per vertex;
        ``clusters``; ``n_permutations`` used, ``exact``.

    Errors: `ValueError` for other numbers of vertices, NaN in subjects' maps, an unknown connectivity.
    Undefined: a vertex where all subjects agree exactly, or that is NaN in the observed map, has p = NaN.
    Cost: O(draws · (subjects V + V log V)) for V vertices.
    Source: Nichols & Holmes 2002; Smith & Nichols 2009; specs peers W10. Differs from nilearn: the integral
    is exact (nilearn adds e^E h^H over 100 steps, without their width).

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> maps = rng.normal(size=(16, 8, 8, 8))
    >>> maps[:, 2:5, 2:5, 2:5] += 1.5
    >>> mask = np.ones((8, 8, 8), bool)
    >>> test = sx.cluster_test(maps[:, mask], mask=mask, threshold=3.0, n_permutations=199)
    >>> bool(test.clusters[0].p_mass == 1 / 200 and (test.tfce_p_values < 0.05).sum() >= 20)
    True
    """
    one_map = np.ndim(data) == 1
    if one_map == (null is None):
        what = "one map without `null`" if one_map else "several maps with `null`"
        raise ValueError(
            f"`data` is {what}, but subjects × vertices, or one map with null maps expected\n"
            "hint: pass one map per subject to flip signs, or `null` as draws × vertices"
        )
    values = as_matrix(np.asarray(data)[None] if one_map else data, "data", axes="subjects × vertices")
    given = [
        name for name, value in (("mask", mask), ("faces", faces), ("edges", edges)) if value is not None
    ]
    if len(given) != 1:
        raise ValueError(
            f"{' and '.join(f'`{name}`' for name in given) or 'nothing'} given, but one of `mask`, `faces` "
            "and `edges` expected\nhint: neighbours are those of a volume, a surface or a graph"
        )
    adjacency: dict[str, Any] = {
        "shape": None,
        "mask": [],
        "connectivity": whole(connectivity, "connectivity", 26),
        "n_vertices": values.shape[1],
        "faces": None,
        "edges": [],
    }
    if mask is not None:
        inside = np.asarray(mask)
        if inside.ndim != 3:
            raise ValueError(
                f"`mask` has the shape {inside.shape}, but three axes expected\nhint: add axes of length 1"
            )
        adjacency |= {"shape": inside.shape, "mask": (inside != 0).ravel().tolist()}
    elif faces is not None:
        adjacency["faces"] = _indices(faces, "faces", 3)
    else:
        adjacency["edges"] = _indices(edges, "edges", 2)
    if tfce is True:
        tfce = (0.5, 2.0) if mask is not None else (1.0, 2.0)
    powers = (float(tfce[0]), float(tfce[1])) if tfce is not False else None
    found = _core.cluster_test(
        values,
        None if null is None else as_matrix(null, "null", axes="draws × vertices"),
        adjacency,
        None if areas is None else [float(area) for area in np.asarray(areas).ravel()],
        None if threshold is None else as_number(threshold, "threshold"),
        powers,
        _choice("sides", sides, ("two", "greater", "less")),
        whole(n_permutations, "n_permutations", DRAWS, least=1),
        whole(seed, "seed", SEED),
    )
    return ClusterTest(
        statistic=found["statistic"],
        p_values=found["p_values"],
        tfce=found["tfce"] if powers else None,
        tfce_p_values=found["tfce_p_values"] if powers else None,
        clusters=[Cluster(**cluster) for cluster in found["clusters"]],
        n_permutations=found["n_draws"],
        exact=found["exact"],
    )


def _indices(values: Any, name: str, width: int) -> list[list[int]]:
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[1] != width or array.dtype.kind not in "iu" or (array < 0).any():
        raise ValueError(
            f"`{name}` has the shape {array.shape} and holds {array.dtype}, but {width} columns of vertices "
            "counted from 0 expected\nhint: convert to integers"
        )
    indices: list[list[int]] = array.tolist()
    return indices
