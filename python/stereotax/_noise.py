"""The noise of channels, in which distances are measured."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from . import _core
from ._arrays import Array, _aligned, as_names, as_number, finite, to_numpy
from ._base import Result
from ._ridge import _choice

METHODS = ("shrinkage_diag", "shrinkage_eye", "full", "diag")


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class NoisePrecision(Result):
    """The inverse of a noise covariance, in the smallest form that it has.

    ``diag(diagonal) − factorᵀ factor`` where there are more than twice as many channels as residuals, a
    matrix otherwise, or a diagonal alone; `to_array` gives channels × channels.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> residuals = np.random.default_rng(0).normal(size=(40, 100))
    >>> noise = sx.noise_precision(residuals)
    >>> noise.factor.shape, noise.to_array().shape
    ((40, 100), (100, 100))
    """

    #: "shrinkage_diag", "shrinkage_eye", "full" or "diag".
    method: str
    #: λ in [0, 1]: 0 is the sample covariance, 1 its target.
    shrinkage: float
    #: Degrees of freedom of the residuals.
    dof: float
    n_channels: int
    #: Channels; None where `matrix` is the whole.
    diagonal: Array | None
    #: Residuals × channels, or None.
    factor: Array | None
    #: Channels × channels, or None.
    matrix: Array | None

    def to_array(self) -> Array:
        """Channels × channels."""
        if self.matrix is not None:
            return self.matrix.copy()
        out = np.diag(np.asarray(self.diagonal))
        return out if self.factor is None else out - self.factor.T @ self.factor


def noise_precision(
    residuals: Any,
    *,
    method: str = "shrinkage_diag",
    conditions: Any = None,
    runs: Any = None,
    regions: Any = None,
    dof: float | None = None,
) -> Any:
    """The precision (inverse covariance) of the noise of channels, from residuals or repeated measurements.

    Formula: with S = RᵀR / ν for residuals R with ν degrees of freedom, the inverse of ``"full"`` S;
    ``"diag"`` diag(S); ``"shrinkage_eye"`` λ m I + (1 − λ) S with m the mean variance (λ: Ledoit & Wolf);
    ``"shrinkage_diag"`` λ diag(S) + (1 − λ) S (λ: Schäfer & Strimmer).

    Parameters
    ----------
    residuals : array, rows × channels
        Residuals of the model that gave the patterns; or measurements, with `conditions`.
    method : {"shrinkage_diag", "shrinkage_eye", "full", "diag"}
    conditions : sequence, rows, optional
        Rows are measurements: what differs from the mean of the same condition is noise.
    runs : sequence, rows, optional
        With `conditions`: from the mean of the same condition in the same run.
    regions : sequence, channels, optional
        One precision for the channels of each region.
    dof : float, optional
        ν. Default: rows − 1, or measurements − conditions.

    Returns
    -------
    NoisePrecision, or a dictionary of them with `regions`
        Give it as `noise` to `rdm` and `crossnobis`.

    Errors: `ValueError` for NaN, a covariance without an inverse (fewer residuals than channels without
    shrinkage, channels that copy one another), a channel without noise, no repeats.
    Undefined: nothing. Cost: n p min(n, p) and min(n, p)³ for n rows and p channels; p × p numbers are made
    only where p < 2 n.
    Source: Ledoit & Wolf 2004; Schäfer & Strimmer 2005; specs peers 1.1. The four estimates of rsatoolbox.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> residuals = np.array([[1.0, 0.0], [2.0, 3.0], [3.0, 3.0]])
    >>> sx.noise_precision(residuals, method="full").to_array().round(3).tolist()
    [[4.0, -2.0], [-2.0, 1.333]]
    """
    from ._rdm import as_patterns, codes_of

    method = _choice("method", method, METHODS)
    rows = as_patterns(residuals, "residuals")
    if runs is not None and conditions is None:
        raise ValueError(
            "`runs` is given without `conditions`, but both expected\nhint: residuals need neither"
        )
    free = None if dof is None else as_number(dof, "dof")
    if conditions is not None:
        codes, _ = codes_of(conditions, "conditions", len(rows))
        run_codes = None if runs is None else codes_of(runs, "runs", len(rows))[0]
        rows, natural = _core.noise_deviations(rows, codes, run_codes)
        free = float(natural) if free is None else free
    if regions is None:
        return _estimated(rows, method, free)
    names = as_names(regions, "regions")
    if len(names) != rows.shape[1]:
        raise ValueError(
            f"`regions` has {len(names)} entries, but {rows.shape[1]} expected (one per channel)\n"
            "hint: name the region of every channel"
        )
    where = np.array(names)
    return {
        name: _estimated(np.ascontiguousarray(rows[:, where == name]), method, free)
        for name in dict.fromkeys(names)
    }


def _estimated(rows: Array, method: str, dof: float | None) -> NoisePrecision:
    found = _core.noise_precision(rows, method, dof)
    matrix, diagonal = found.pop("matrix"), found.pop("diagonal")
    low = diagonal is not None
    return NoisePrecision(
        method=method,
        diagonal=diagonal,
        factor=matrix if low else None,
        matrix=None if low else matrix,
        **found,
    )


def as_noise(noise: Any) -> dict[str, Any] | None:
    """A precision as the extension takes it: a NoisePrecision, a matrix, or one number per channel."""
    if noise is None:
        return None
    if isinstance(noise, NoisePrecision):
        matrix = noise.matrix if noise.factor is None else noise.factor
        diagonal = None if noise.diagonal is None else noise.diagonal.tolist()
        return {"diagonal": diagonal, "matrix": matrix}
    if isinstance(noise, dict):
        raise ValueError(
            "`noise` is a dictionary, but the precision of one region expected\n"
            f"hint: pass one of its values, such as noise[{next(iter(noise), None)!r}]"
        )
    array = to_numpy(noise, "noise").astype(np.float64)
    if array.ndim == 1:
        finite(array[None], "noise")
        return {"diagonal": array.tolist(), "matrix": None}
    if array.ndim != 2:
        raise ValueError(
            f"`noise` has the shape {array.shape}, but channels × channels, or one precision per channel, "
            "expected\nhint: see sx.noise_precision"
        )
    return {"diagonal": None, "matrix": _aligned(array)}
