"""The neuron matrix: units as points whose coordinates are what their responses are made of."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, Array, as_matrix, as_number, finite, whole
from ._base import Result
from ._cp import NonNegativeCP, ShiftInvariantCP
from ._responses import ResponseTensor


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class PrincipalScores(Result):
    """Scores on the leading principal components."""

    scores: Array
    #: Columns × components; the entry of largest modulus is positive.
    loadings: Array
    means: Array
    #: The share of variance of every component there is.
    explained: Array


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class NeuronMatrix(Result):
    """Units × components, and how well they describe the units."""

    #: X, at least 0.
    values: Array
    #: One name per row.
    units: list[str]
    #: Which components of the fit the columns are.
    components: Array
    #: Stimuli × components, columns of maximum 1.
    stimuli: Array
    #: Share of each unit's squared norm that is explained; NaN of a silent unit.
    explained: Array
    #: How many units a row stands for: above 1 where duplicates were merged.
    multiplicity: Array
    #: What is to be known, in words.
    warnings: list[str]

    def pca(self, share: float = 0.8) -> PrincipalScores:
        """Scores on the fewest principal components (centred, not scaled) that hold more than `share` of the
        variance.

        Source: specs encoding-manifolds 1.8.
        """
        return PrincipalScores(**_core.principal_scores(self.values, as_number(share, "share")))

    def without_outliers(self, n_far: int = 0, *, dedupe: float = 1e-6) -> NeuronMatrix:
        """Merge duplicates, and leave out the `n_far` units whose nearest neighbour is farthest.

        Units closer than `dedupe` times the median distance to the nearest neighbour are one row, the first
        of them,
        with a `multiplicity`. `warnings` names who was merged or left out. Source: specs encoding-manifolds
        1.8.
        """
        found = _core.keep_points(
            finite(as_matrix(self.values, "values"), "values"),
            as_number(dedupe, "dedupe"),
            whole(n_far, "n_far", COUNT),
        )
        kept = found["kept"]
        warnings = list(self.warnings)
        merged = [n for n, first in enumerate(found["representative"]) if first != n]
        if merged:
            pairs = ", ".join(
                f"{self.units[n]} with {self.units[found['representative'][n]]}" for n in merged[:10]
            )
            warnings.append(
                f"{len(merged)} units merged as duplicates: {pairs}{'…' if len(merged) > 10 else ''}"
            )
        if len(found["far"]):
            warnings.append(f"left out as the farthest: {', '.join(self.units[n] for n in found['far'])}")
        return dataclasses.replace(
            self,
            values=self.values[kept],
            units=[self.units[n] for n in kept],
            explained=self.explained[kept],
            multiplicity=found["multiplicity"],
            warnings=warnings,
        )


def neuron_matrix(
    fit: ShiftInvariantCP | NonNegativeCP,
    *,
    all_responses: ResponseTensor | None = None,
) -> NeuronMatrix:
    """Describe units by how much of each component their responses hold.

    Formula: ``X[n, r] = √w_n[r]`` with ``w_n = argmin_{w ≥ 0} ‖M w − vec(z_n)‖²``, z_n the unit's responses
    rotated as the
    fit found, and M's columns ``vec(B'[:, r] ∘ C[:, r])`` with stimulus factors B' of maximum 1. The root
    keeps the
    coefficients that describe one stimulus at a length of about 1 at most.

    Parameters
    ----------
    fit : ShiftInvariantCP or NonNegativeCP
        Fitted.
    all_responses : ResponseTensor, optional
        For spiking data, whose fit saw maps of norm 1 without those that are not significant: the same units
        and
        stimuli with all maps, normalised by ``normalise("per_map")``. Silent maps of the fit are put in, in
        the common
        rotation that costs least, and all maps are weighed by their `relative_rates`. Models need none.

    Returns
    -------
    NeuronMatrix
        ``values`` (units × components, ≥ 0), ``components``, ``stimuli``, ``explained``, ``units``,
        ``warnings``; and
        the methods ``pca`` and ``without_outliers``.

    Errors: `ValueError` before `fit`, or for other units or stimuli. Undefined: `explained` of a silent
    unit, whose row
    is 0. Cost: O(units · entries per unit · rank). Source: Dyballa et al. 2024; specs encoding-manifolds
    1.7. Differs
    from the authors': exact active sets instead of a bounded solver.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> values = rng.exponential(size=(30, 2, 4, 8))
    >>> responses = sx.ResponseTensor(
    ...     values, stimuli=["bars", "dots"], directions=[0, 90, 180, 270], bin_s=0.1
    ... ).smooth(1).normalise("relative_norm")
    >>> neurons = sx.neuron_matrix(sx.ShiftInvariantCP(rank=3).fit(responses))
    >>> neurons.values.shape, neurons.pca(0.99).scores.shape[0]
    ((30, 3), 30)
    """
    if not isinstance(fit, NonNegativeCP | ShiftInvariantCP):
        raise ValueError(
            f"`fit` is {type(fit).__name__}, but a fitted ShiftInvariantCP or NonNegativeCP expected\n"
            "hint: a sweep's fit is sweep.best(rank)"
        )
    found_fit = fit._fitted("fit_")
    if len(fit._shape) < 3:
        raise ValueError(
            f"`fit` is of a tensor of {fit._shape}, but units × stimuli × something expected\n"
            "hint: the second mode are stimuli"
        )
    later = None
    if all_responses is not None:
        later = _later(fit, all_responses)
    told = {
        "weights": found_fit.weights,
        "factors": found_fit.factors,
        "shifts": found_fit.shifts,
        "error": found_fit.error,
    }
    found = _core.neuron_matrix(fit._tensor, told, later)
    units = getattr(fit, "units_", None) or [f"unit {n}" for n in range(fit._shape[0])]
    warnings = []
    left_out = len(found_fit.weights) - len(found["components"])
    if left_out:
        warnings.append(f"{left_out} components without weight are left out")
    if found["by_design"]:
        warnings.append(
            f"components nearly agree (condition number {found['condition']:.3g}): coefficients are not "
            f"well determined"
        )
    silent = [units[n] for n in np.flatnonzero(np.isnan(found["explained"]))]
    if silent:
        shown = ", ".join(silent[:10]) + ("…" if len(silent) > 10 else "")
        warnings.append(f"{len(silent)} silent units have no coordinates but 0: {shown}")
    return NeuronMatrix(
        values=found["values"],
        units=list(units),
        components=found["components"],
        stimuli=found["stimuli"],
        explained=found["explained"],
        multiplicity=np.ones(len(units), dtype=int),
        warnings=warnings,
    )


def _later(fit: Any, everything: ResponseTensor) -> tuple[Array, Array, Array]:
    if (
        not isinstance(fit, ShiftInvariantCP)
        or everything.shape != fit._shape
        or everything.observed is not None
    ):
        raise ValueError(
            f"`all_responses` has the shape {everything.shape}, but that of a shift-invariant fit "
            f"({fit._shape}), without "
            "missing maps, expected\nhint: select the units that were fitted"
        )
    if everything.units != fit.units_ or everything.stimuli != fit.stimuli_:
        raise ValueError(
            "`all_responses` has other units or stimuli than the fit\nhint: all.select(units=fit.units_, "
            "stimuli=fit.stimuli_)"
        )
    if everything.relative_rates is None:
        raise ValueError("`all_responses` has no relative rates\nhint: all_responses.normalise('per_map')")
    # Silent in the fit: no rotation was found there because there was nothing.
    silenced = fit._silent_maps
    return (
        everything.values.ravel(),
        np.ascontiguousarray(silenced).ravel(),
        np.ascontiguousarray(everything.relative_rates).ravel(),
    )
