"""Models, layers, subjects and regions as points of one drawing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, SEED, Array, as_matrix, as_names, to_numpy, whole
from ._base import Result
from ._rdm import RDM
from ._ridge import _choice


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Embedding(Result):
    """Objects as points."""

    #: Objects × axes.
    positions: Array
    names: list[str] | None
    #: √(Σ(δ − d)² / Σδ²): how far distances in the drawing are from the distances given.
    stress: float
    #: Each object's share of the misfit.
    stress_shares: Array
    #: Share of positive eigenvalues per axis (classical scaling), and of negative ones in the moduli.
    explained: Array
    negative_share: float
    #: Draws × objects × axes, each moved onto `positions`; None without bootstraps.
    draws: Array | None
    #: Covariance over draws, objects × axes × axes; None without bootstraps.
    covariances: Array | None
    #: Further objects × axes, and the stress of each; None without them.
    further: Array | None
    further_stress: Array | None
    converged: bool


def embed(
    distances: Any,
    *,
    names: Any = None,
    bootstraps: Any = None,
    n_bootstraps: int = 0,
    further: Any = None,
    method: str = "stress",
    n_axes: int = 2,
    n_starts: int = 4,
    max_iter: int = 1000,
    seed: int = 0,
) -> Embedding:
    """Draw objects by any matrix of distances between them, and say how sure their places are.

    Formula: "stress" minimises ``Σ (δ_ik − ‖x_i − x_k‖)²`` (metric SMACOF); "classical" takes the leading
    axes of the centred ``−½ δ²``. Regions: distances are computed anew per bootstrap draw (over stimuli,
    trials, …), drawn in the same way, and moved onto the drawing by translation, rotation and reflection,
    without scaling.

    Parameters
    ----------
    distances : RDM, or array: objects × objects, or condensed
        Non-negative; of any measure (DSA, shape, CKA angle, …), of models, layers, subjects and regions
        together.
    names : list of str, optional
        One per object.
    bootstraps : list of distances, array (draws × objects × objects), or function of the draw's index
        Distances from resampled stimuli. A function is called for 0 … `n_bootstraps` − 1.
    further : array, new objects × objects, optional
        Distances of objects that are put into the finished drawing without moving it.
    method : {"stress", "classical"}
    n_axes, n_starts, max_iter, seed
        Axes; random starts beside the classical one; steps.

    Returns
    -------
    Embedding
        ``positions``, ``stress``, ``stress_shares``, ``explained``, ``draws`` and ``covariances``,
        ``further``. A drawing is for reading only: test in the full space.

    Errors: `ValueError` for negative, asymmetric or undefined distances, or other numbers of objects.
    Cost: O(n² · steps) (stress), O(n³) (classical).
    Source: de Leeuw 1977; Gower 1966; specs nfas-dmd 10, peers 5 (11).

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> points = np.random.default_rng(0).normal(size=(8, 2))
    >>> d = np.linalg.norm(points[:, None] - points[None], axis=-1)
    >>> drawn = sx.embed(d, further=[[1.0] * 8])
    >>> bool(drawn.stress < 1e-4), drawn.further.shape
    (True, (1, 2))
    >>> noisy = lambda b: d + 0.05 * (1 - np.eye(8)) * np.random.default_rng(b).uniform()
    >>> sx.embed(d, bootstraps=noisy, n_bootstraps=20).covariances.shape
    (8, 2, 2)
    """
    square, given = _square(distances, "distances")
    labels = given if names is None else as_names(names, "names")
    if labels is not None and len(labels) != len(square):
        raise ValueError(
            f"`names` has {len(labels)} names, but {len(square)} expected (one per object)\n"
            "hint: name every object once"
        )
    if callable(bootstraps):
        n_draws = whole(n_bootstraps, "n_bootstraps", COUNT, least=2)
        draws = [_square(bootstraps(b), "bootstraps")[0] for b in range(n_draws)]
    else:
        draws = [] if bootstraps is None else [_square(draw, "bootstraps")[0] for draw in bootstraps]
    for draw in draws:
        if draw.shape != square.shape:
            raise ValueError(
                f"`bootstraps` has a draw of {len(draw)} objects, but {len(square)} expected\n"
                "hint: resample stimuli, not the objects that are drawn"
            )
    found = _core.embed(
        square,
        draws,
        None if further is None else as_matrix(further, "further", axes="new objects × objects"),
        _choice("method", method, ("stress", "classical")) == "stress",
        whole(n_axes, "n_axes", COUNT, least=1),
        whole(n_starts, "n_starts", COUNT),
        whole(max_iter, "max_iter", COUNT, least=1),
        whole(seed, "seed", SEED),
    )
    moved: Array | None = found["draws"] if draws else None
    covariances = None
    if moved is not None:
        centred = moved - moved.mean(axis=0)
        covariances = np.einsum("bij,bik->ijk", centred, centred) / max(len(moved) - 1, 1)
    return Embedding(
        positions=found["positions"],
        names=labels,
        stress=found["stress"],
        stress_shares=found["stress_shares"],
        explained=found["explained"],
        negative_share=found["negative_share"],
        draws=moved,
        covariances=covariances,
        further=None if further is None else found["further"],
        further_stress=None if further is None else found["further_stress"],
        converged=found["converged"],
    )


def _square(values: Any, name: str) -> tuple[Array, list[str] | None]:
    if isinstance(values, RDM):
        return values.square(), values.conditions
    array = to_numpy(values, name)
    if array.ndim == 1:
        return RDM.of(array, name=name).square(), None
    return as_matrix(array, name, axes="objects × objects"), None
