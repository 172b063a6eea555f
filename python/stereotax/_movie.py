"""RDMs over time."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, Array, _aligned, to_numpy, whole
from ._base import Result
from ._noise import as_noise
from ._rdm import MEASURES, RDM, averaged, codes_of, cross_rdm, tell_measure
from ._ridge import _choice

SCORES = ("spearman", "pearson", "cosine")


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class RDMMovie(Result):
    """One RDM for each window of time.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> X = np.random.default_rng(0).normal(size=(6, 20, 10))
    >>> movie = sx.rdm_movie(X, window=4, step=2)
    >>> movie.times.tolist(), movie.rdms[0].n_conditions, movie.generalisation().shape
    ([1.5, 3.5, 5.5, 7.5], 6, (4, 4))
    """

    #: Windows × pairs.
    values: Array
    #: Middle of each window: mean of its times (or time points, counted from 0).
    times: Array
    n_conditions: int
    conditions: list[str] | None
    method: str
    squared: bool | None
    per_channel: bool | None
    #: Pairs without a dissimilarity, per window.
    n_undefined: Array

    @property
    def rdms(self) -> list[RDM]:
        """The RDMs, in the order of time."""
        about = (self.n_conditions, self.conditions, self.method, self.squared, self.per_channel)
        return [RDM(row, *about, int(n)) for row, n in zip(self.values, self.n_undefined, strict=True)]

    def generalisation(self, score: str = "spearman") -> Array:
        """How alike the RDMs of any two windows are (windows × windows, 1 = the same geometry).

        `score` is "spearman", "pearson" or "cosine", over the pairs that both windows define.
        """
        word = _choice("score", score, SCORES)
        found: Array = _core.score_models(self.values, self.values, self.n_conditions, word)
        return found

    def __len__(self) -> int:
        return len(self.values)


def rdm_movie(
    X: Any,
    method: str = "correlation",
    *,
    window: int = 1,
    step: int = 1,
    times: Any = None,
    conditions: Any = None,
    noise: Any = None,
    squared: bool = False,
    per_channel: bool | None = None,
    prior: tuple[float, float] = (1.0, 0.1),
) -> RDMMovie:
    """One RDM for each window of time, of the mean patterns in it.

    Formula: that of `rdm` of ``X[:, :, t:t + window].mean(axis=2)``.

    Parameters
    ----------
    X : array, conditions × channels × times
    method, noise, squared, per_channel, prior
        As in `rdm`.
    window, step : int
        Time points of a window, and from one window to the next; windows lie wholly inside the data.
    times : array, times, optional
        When the time points are, in any unit; their means over windows are in the result.
    conditions : sequence, rows, optional
        Names; rows of one name are averaged.

    Returns
    -------
    RDMMovie
        ``values`` (windows × pairs), ``times``, ``rdms``; ``generalisation()`` compares all pairs of windows.

    Errors: `ValueError` for NaN, a window longer than the data. Undefined: as in `rdm`.
    Cost: that of one RDM per window. Source: specs peers W7; rsatoolbox's ``calc_rdm_movie``.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> X = np.random.default_rng(0).normal(size=(5, 30, 12))
    >>> movie = sx.rdm_movie(X, window=3, step=3, times=np.arange(12) * 0.01)
    >>> movie.values.shape, movie.times.round(2).tolist()
    ((4, 10), [0.01, 0.04, 0.07, 0.1])
    """
    method = _choice("method", method, MEASURES)
    cube, middles, windows, names = _cube(X, window, step, times, conditions)
    divided = method == "poisson" if per_channel is None else bool(per_channel)
    told = tell_measure(method, squared, divided, prior)
    frames = [_aligned(cube[:, :, t]) for t in range(cube.shape[2])]
    values = _core.rdm_movie(frames, windows, told, as_noise(noise))
    return RDMMovie(
        values=values,
        times=middles,
        n_conditions=len(cube),
        conditions=names,
        method=method,
        squared=bool(squared) if method in ("euclidean", "mahalanobis") else None,
        per_channel=divided if method in ("euclidean", "mahalanobis", "poisson") else None,
        n_undefined=np.isnan(values).sum(axis=1),
    )


def cross_temporal_rdms(
    X: Any, method: str = "correlation", *, window: int = 1, step: int = 1, noise: Any = None, **measure: Any
) -> Array:
    """Dissimilarities of every condition at one time with every condition at another.

    Formula: entry (s, t, i, j) is the dissimilarity (as in `rdm`) of condition i in window s and condition j
    in window t. Each matrix (s, t) is not symmetric, but that of (t, s) is its transpose; those of (t, t)
    are the RDMs. A pattern that is carried on has a small diagonal at s ≠ t; a geometry that is kept in
    other patterns does not (compare `RDMMovie.generalisation`).

    Parameters
    ----------
    X : array, conditions × channels × times
    method, window, step
        As in `rdm_movie`.
    noise, **measure
        As in `rdm`: ``squared``, ``per_channel``, ``prior``.

    Returns
    -------
    array, windows × windows × conditions × conditions

    Errors: `ValueError` for NaN, more than 2 · 10⁹ numbers. Undefined: as in `rdm`.
    Cost: (windows · n)² p. Source: specs peers W7 (rsatoolbox's issue 280).

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> X = np.random.default_rng(0).normal(size=(4, 15, 6))
    >>> found = sx.cross_temporal_rdms(X)
    >>> found.shape, bool(np.allclose(found[1, 4], found[4, 1].T))
    ((6, 6, 4, 4), True)
    """
    cube, _, windows, _ = _cube(X, window, step, None, None)
    n, w = len(cube), len(windows)
    if (n * w) ** 2 > COUNT:
        raise ValueError(
            f"`X` makes {w} × {w} matrices of {n} × {n}, {(n * w) ** 2 * 8 / 2**30:.0f} GiB, but 16 GiB "
            "at most expected\nhint: take longer steps, or call sx.cross_rdm for the times you need"
        )
    # The windows of all times below one another are one array of patterns.
    rows = np.concatenate([cube[:, :, a:b].mean(axis=2) for a, b in windows])
    square = cross_rdm(rows, rows, method, noise=noise, **measure)
    return np.ascontiguousarray(square.reshape(w, n, w, n).transpose(0, 2, 1, 3))


def _cube(
    X: Any, window: int, step: int, times: Any, conditions: Any
) -> tuple[Array, Array, list[tuple[int, int]], list[str] | None]:
    cube = to_numpy(X, "X")
    if cube.ndim != 3 or min(cube.shape) == 0:
        raise ValueError(
            f"`X` has the shape {cube.shape}, but three axes (conditions × channels × times) expected\n"
            "hint: np.moveaxis brings time to the end"
        )
    cube = cube.astype(np.float64, copy=False)
    n_times = cube.shape[2]
    windows = _core.time_windows(n_times, whole(window, "window", COUNT), whole(step, "step", COUNT))
    points = np.arange(n_times) if times is None else to_numpy(times, "times").astype(np.float64)
    if points.shape != (n_times,):
        raise ValueError(
            f"`times` has the shape {points.shape}, but {n_times} expected (one per time point)\n"
            "hint: the last axis of `X` is time"
        )
    codes, names = codes_of(conditions, "conditions", len(cube))
    if names is not None and len(names) < len(cube):
        flat = averaged(cube.reshape(len(cube), -1), codes, names)
        cube = flat.reshape(len(names), *cube.shape[1:])
    return cube, np.array([points[a:b].mean() for a, b in windows]), windows, names
