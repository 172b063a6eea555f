"""Look at the patterns around every voxel or vertex."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _core
from ._arrays import Array, as_number, finite, to_numpy
from ._base import Result
from ._movie import SCORES
from ._noise import METHODS
from ._rdm import MEASURES, PAIRINGS, as_patterns, as_rdms, averaged, codes_of, tell_measure
from ._ridge import _choice


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Searchlight(Result):
    """What was found around every centre; made by `searchlight`.

    >>> import numpy as np
    >>> import stereotax as sx
    >>> X = np.random.default_rng(0).normal(size=(6, 27))  # 6 conditions, a cube of 27 voxels
    >>> light = sx.searchlight(X, sx.rdm(X), radius=1, mask=np.ones((3, 3, 3), bool))
    >>> light.map().shape
    (27,)
    """

    #: Centres: columns of the data.
    centres: Array
    #: Centres × models; centres × pairs without models; with a function, centres × whatever it returns.
    values: Array
    #: Channels around each centre.
    n_channels: Array
    #: Share of the full sphere or disk that lies in the mask.
    shares: Array
    #: Pairs without a dissimilarity, per centre; None with a function.
    n_undefined: Array | None
    #: Names of the models, or None.
    models: list[str] | None
    #: Columns of the data.
    n_columns: int

    def map(self, model: int | str = 0) -> Array:
        """One value per column of the data, NaN where there was no centre; ``volume[mask] = light.map()``."""
        if isinstance(model, str):
            if model not in (self.models or []):
                raise ValueError(
                    f"`model` is {model!r}, but one of {self.models} expected\nhint: or its number"
                )
            model = (self.models or []).index(model)
        out = np.full(self.n_columns, np.nan)
        out[self.centres] = self.values if self.values.ndim == 1 else self.values[:, model]
        return out


def searchlight(
    X: Any,
    models: Any = None,
    *,
    radius: float,
    mask: Any = None,
    voxel_size: Any = 1.0,
    coordinates: Any = None,
    faces: Any = None,
    min_share: float = 0.5,
    method: str = "correlation",
    score: str = "spearman",
    conditions: Any = None,
    runs: Any = None,
    pairing: str = "shared_runs",
    residuals: Any = None,
    noise: str = "shrinkage_diag",
    dof: float | None = None,
    squared: bool = False,
    per_channel: bool | None = None,
    prior: tuple[float, float] = (1.0, 0.1),
    function: Callable[[Array], Any] | None = None,
    neighbourhoods: Any = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Searchlight:
    """RDMs around every voxel of a volume or vertex of a surface, and how well models match them there.

    Formula: for each centre the columns of `X` within `radius` are the channels of one RDM (as `rdm` or
    `crossnobis`), whose score with a model RDM is the correlation of ranks (``"spearman"``), of
    dissimilarities (``"pearson"``) or their cosine, over all pairs.

    Parameters
    ----------
    X : array, conditions × voxels (or vertices)
        One column per voxel of the mask, in its order: ``volumes[:, mask]``. Float32 stays float32 in memory.
        For ``"crossnobis"`` rows are measurements.
    models : RDMs, optional
        A list or a dictionary of RDMs, or arrays; without them (and without `function`) the RDMs are
        returned.
    radius : float
        A voxel or vertex at exactly this distance belongs. In the unit of `voxel_size` or `coordinates`.
    mask : array of bool, three axes (volume); or vertices (surface, optional)
        Only what it holds belongs to a neighbourhood.
    voxel_size : float or three
        Such as 3.0 for voxels of 3 mm and a radius in mm; 1 counts voxels.
    coordinates, faces : array, vertices × 3 and faces × 3
        A surface; disks by shortest paths over its edges, in place of spheres.
    min_share : float
        Least share of the full sphere or disk that must lie in the mask.
    method : {"correlation", "cosine", "euclidean", "mahalanobis", "poisson", "crossnobis"}
    score : {"spearman", "pearson", "cosine"}
    conditions, runs, pairing
        As in `crossnobis`; `conditions` also averages rows for the other methods.
    residuals : array, rows × voxels, optional
        From which the noise of each neighbourhood is estimated, for ``"mahalanobis"`` and ``"crossnobis"``.
    noise, dof
        How, as `method` and `dof` of `noise_precision`.
    squared, per_channel, prior
        As in `rdm`; ``"crossnobis"`` is squared and divided by channels.
    function : callable, optional
        Any function of the patterns around a centre (conditions × channels), in place of RDMs: it returns a
        number or an array of a fixed length. Such as ``lambda x: sx.cka(x, features)``. Centres are then
        taken one after another, for the interpreter runs one function at a time; what the function calls may
        use all threads. `method` with `models` runs centres in parallel.
    neighbourhoods : sequence of (centre, members), optional
        Lists of columns of your own, in place of spheres and disks; `radius` is then without effect.
    progress : callable, optional
        Hears (task, done, total) now and then.

    Returns
    -------
    Searchlight
        ``values``, ``centres``, ``map()`` (one value per column), ``n_channels``, ``shares``.

    Errors: `ValueError` for NaN, columns that do not fit the mask, models of other conditions.
    Undefined: pairs with constant patterns are left out and counted (``n_undefined``); a score over fewer
    than 2 pairs, or of a constant RDM, is NaN.
    Cost per centre: n² p for n conditions and p channels ((runs + 1) times that for crossnobis), a sort of
    the n (n − 1) / 2 pairs, and a product per model; model RDMs are ranked once. The same bits for any
    number of threads.
    Source: Kriegeskorte et al. 2006; specs peers W6. Differs from rsatoolbox, whose spheres hold voxels
    outside of the mask (its issue 466).

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> mask = np.ones((6, 6, 6), bool)
    >>> X = rng.normal(size=(12, 216))
    >>> light = sx.searchlight(X, {"model": sx.rdm(rng.normal(size=(12, 5)))}, mask=mask, radius=2)
    >>> light.values.shape, bool(abs(light.map("model")[light.centres]).max() < 0.8)
    ((160, 1), True)
    """
    method = _choice("method", method, (*MEASURES, "crossnobis"))
    x = as_patterns(X, "X")
    around = _around(x.shape[1], radius, mask, voxel_size, coordinates, faces, min_share, neighbourhoods)
    centres, shares = around.centres, around.shares
    if function is not None:
        if models is not None:
            raise ValueError(
                "`models` is given with `function`, but one of them expected\nhint: compare inside it"
            )
        codes, names = codes_of(conditions, "conditions", len(x))
        rows = averaged(finite(x, "X"), codes, names)
        members = [around.members(at) for at in range(len(centres))]
        results = [function(np.ascontiguousarray(rows[:, list_])) for list_ in members]
        sizes = np.array([len(list_) for list_ in members])
        return Searchlight(centres, np.asarray(results), sizes, shares, None, None, x.shape[1])
    codes, names = codes_of(conditions, "conditions", len(x))
    run_codes: list[int] = []
    if method == "crossnobis":
        if conditions is None or runs is None:
            raise ValueError(
                '`conditions` and `runs` are missing, but both expected for "crossnobis"\n'
                "hint: name the condition and the run of every row of `X`"
            )
        run_codes, _ = codes_of(runs, "runs", len(x))
    else:
        if runs is not None:
            raise ValueError(
                f'`runs` is given with method={method!r}, but "crossnobis" expected\nhint: drop it'
            )
        x = averaged(x, codes, names)
    n_conditions = len(names) if names is not None else len(x)
    divided = method in ("poisson", "crossnobis") if per_channel is None else bool(per_channel)
    told = None
    model_names: list[str] | None = None
    if models is not None:
        rdms = as_rdms(models, "models")
        keyed = hasattr(models, "keys") and hasattr(models, "values")
        model_names = [str(key) for key in models] if keyed else None
        if rdms[0].n_conditions != n_conditions:
            raise ValueError(
                f"`models` has RDMs of {rdms[0].n_conditions} conditions, but {n_conditions} expected (those "
                "of the data)\nhint: models and data must hold the same conditions in the same order"
            )
        told = (n_conditions, np.stack([rdm.values for rdm in rdms]))
    noisy = None if residuals is None else as_patterns(residuals, "residuals").astype(x.dtype, copy=False)
    found = _core.look_around(
        x,
        around,
        tell_measure(method, squared, divided, prior),
        codes,
        run_codes,
        _choice("pairing", pairing, PAIRINGS),
        noisy,
        (_choice("noise", noise, METHODS), None if dof is None else as_number(dof, "dof")),
        told,
        _choice("score", score, SCORES),
        progress,
    )
    values = found["rdms"] if models is None else found["scores"]
    return Searchlight(
        centres, values, found["n_channels"], shares, found["n_undefined"], model_names, x.shape[1]
    )


def _around(
    n_columns: int,
    radius: float,
    mask: Any,
    voxel_size: Any,
    coordinates: Any,
    faces: Any,
    min_share: float,
    neighbourhoods: Any,
) -> _core.Around:
    reach, share = as_number(radius, "radius"), as_number(min_share, "min_share")
    if neighbourhoods is not None:
        pairs = [(int(centre), [int(i) for i in members]) for centre, members in neighbourhoods]
        if any(centre < 0 or centre >= n_columns or min(members, default=0) < 0 for centre, members in pairs):
            raise ValueError(
                f"`neighbourhoods` names columns outside of the {n_columns} of `X`, but columns counted "
                "from 0 expected\nhint: give pairs (centre, members)"
            )
        return _core.Around.lists(n_columns, [centre for centre, _ in pairs], [list_ for _, list_ in pairs])
    inside = None if mask is None else np.asarray(mask) != 0
    if coordinates is not None or faces is not None:
        points = finite(to_numpy(coordinates, "coordinates").astype(np.float64), "coordinates")
        triangles = to_numpy(faces, "faces")
        for array, name, kinds in ((points, "coordinates", "f"), (triangles, "faces", "iu")):
            if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in kinds or len(array) == 0:
                raise ValueError(
                    f"`{name}` has the shape {array.shape} and holds {array.dtype}, but three columns "
                    "expected\nhint: coordinates are vertices × 3, faces triangles of vertices from 0"
                )
        if (triangles < 0).any():
            raise ValueError(
                "`faces` names a negative vertex, but numbers from 0 expected\nhint: count from 0"
            )
        vertices = None if inside is None else inside.ravel().tolist()
        return _core.Around.disks(points.tolist(), triangles.tolist(), vertices, reach, share)
    if inside is None or inside.ndim != 3:
        found = "missing" if inside is None else f"of the shape {inside.shape}"
        raise ValueError(
            f"`mask` is {found}, but three axes expected\n"
            "hint: give the volume as a mask, or a surface as `coordinates` and `faces`"
        )
    sizes = np.broadcast_to(np.asarray(voxel_size, dtype=np.float64), 3)
    shape = (inside.shape[0], inside.shape[1], inside.shape[2])
    return _core.Around.spheres(shape, inside.ravel().tolist(), tuple(sizes.tolist()), reach, share)
