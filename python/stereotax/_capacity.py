"""How many classes a linear readout can tell apart, and the geometry that sets it."""

from __future__ import annotations

import dataclasses
from typing import Any

from . import _core
from ._arrays import DRAWS, SEED, Array, as_matrix, as_names, as_number, whole
from ._base import Result
from ._ridge import _choice
from ._table import Table


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class ManifoldCapacity(Result):
    """Capacity, in classes per feature, with radius and dimension."""

    capacity: float
    radius: float
    dimension: float
    #: Mean field only: mean |cosine| of centres (less their mean) before anything is projected out, how many
    #: directions were, the mean |cosine| that 0, 1, … directions leave (up to the last that was tried),
    #: participation ratio of all points, components that hold 90 % of variance, and one row per class.
    center_correlation: float | None = None
    n_removed: int | None = None
    center_correlations: Array | None = None
    participation_ratio: float | None = None
    n_components_90: int | None = None
    classes: Table | None = None
    #: "finite" only: P/⟨a⟩ (equal to the capacity but for rounding), Ψ, mean |cosines| of centres, of axes,
    #: of centres with others' axes, and the share of classes without an anchor in a draw.
    capacity_by_anchors: float | None = None
    utility: float | None = None
    center_alignment: float | None = None
    axis_alignment: float | None = None
    center_axis_alignment: float | None = None
    share_inactive: float | None = None


def manifold_capacity(
    X: Any,
    labels: Any,
    *,
    method: str = "mean_field",
    margin: float = 0.0,
    n_draws: int = 200,
    n_removed: int | str = 0,
    center: bool | None = None,
    seed: int = 0,
) -> ManifoldCapacity:
    """Measure how many class manifolds a linear readout can separate, per feature.

    Formula: "mean_field" (MFTMA): ``1/α = ⟨min |V − t|² with V·s_m ≤ −κ⟩`` over Gaussian t, s_m the points of
    a class at distance 1 by its centre; radius and dimension from the anchors ``(t − V)/Σλ``. "finite"
    (GLUE): ``α = P/⟨|projection of t on the cone of all signed points|²⟩``, and α = Ψ(1 + R⁻²)/D.

    Parameters
    ----------
    X : array, points × features
    labels : array, points
        Class of each point. The mean field needs more features than points of a class.
    method : {"mean_field", "finite"}
        Each class alone, in the limit of many; or all together, as they lie.
    margin : float
        κ of the mean field.
    n_draws : int
        Gaussian vectors (per class with the mean field).
    n_removed : int or "search"
        Directions that the centres share, projected out first (mean field): those that leave the centres
        least correlated, ``min ½ Σ ρ²`` over orthonormal directions; "search" takes as many as leave the
        least mean |ρ|, as the reference always does. Where centres are correlated the mean field without it
        is too large.
    center : bool, optional
        Subtract the mean of all points; by default with the mean field only.
    seed : int

    Returns
    -------
    ManifoldCapacity
        2 for points; less the larger radius and dimension. The mean field's is the harmonic mean
        over classes.

    Errors: `ValueError` for fewer than 2 classes of 2 points, NaN, a class with more points than features
    ("mean_field"), or a centre at the mean of all. Cost: per class and draw one quadratic program, solved by
    active sets; "finite": one per draw over all points. "search": ten minimisations for each number of
    directions, P³ a step.
    Source: Chung et al. 2018; Cohen et al. 2020; Chou et al. 2024; specs alignment-methods B8.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat(np.arange(20), 10)
    >>> centers, noise = rng.normal(size=(20, 100))[labels], rng.normal(size=(200, 100))
    >>> near, far = (sx.manifold_capacity(centers + s * noise, labels) for s in (0.2, 2.0))
    >>> near.capacity > far.capacity and near.radius < far.radius
    True
    """
    finite = _choice("method", method, ("mean_field", "finite")) == "finite"
    if isinstance(n_removed, str):
        _choice("n_removed", n_removed, ("search",))
    if finite and (margin != 0 or n_removed != 0):
        raise ValueError(
            f"`margin` is {margin} and `n_removed` {n_removed}, but 0 expected with the finite method\n"
            'hint: both belong to method="mean_field"'
        )
    found = dict(
        _core.manifold_capacity(
            as_matrix(X, "X", axes="points × features"),
            as_names(labels, "labels"),
            finite,
            as_number(margin, "margin"),
            whole(n_draws, "n_draws", DRAWS, least=1),
            None if isinstance(n_removed, str) else whole(n_removed, "n_removed", 10**6),
            (not finite) if center is None else bool(center),
            whole(seed, "seed", SEED),
        )
    )
    if not finite:
        found["classes"] = Table(
            {
                "class": found["classes"],
                "capacity": found.pop("capacities"),
                "radius": found.pop("radii"),
                "dimension": found.pop("dimensions"),
            }
        )
    return ManifoldCapacity(**found)
