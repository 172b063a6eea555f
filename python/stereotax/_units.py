"""Choose some units of a model's feature maps, for recordings as large as those of brains."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, SEED, Array, as_number, to_numpy, whole
from ._base import Result
from ._ridge import _choice


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class UnitSample(Result):
    """Units of feature maps, map after map in the order drawn."""

    channel: Array
    y: Array
    x: Array
    #: The largest, over clips, of the mean activation over time.
    score: Array
    #: What is to be known, in words.
    warnings: list[str]

    def take(self, activations: Any) -> Array:
        """The activations of these units: channels × height × width become units on the last axis."""
        values: Array = to_numpy(activations, "activations")[..., self.channel, self.y, self.x]
        return values

    @property
    def names(self) -> list[str]:
        """One name per unit: channel, row and column of its map."""
        return [f"c{c} y{y} x{x}" for c, y, x in zip(self.channel, self.y, self.x, strict=True)]


def sample_units(
    activations: Any,
    *,
    n_maps: int = 40,
    n_per_map: int = 50,
    crop: str | None = "symmetric",
    crop_share: float = 0.25,
    max_channels: int | None = None,
    seed: int = 0,
) -> UnitSample:
    """Draw feature maps, and units of each, with probabilities proportional to how much they respond.

    Formula: activations of each clip are divided by their maximum; a unit's score is the largest, over
    clips, of its mean
    over time; maps are drawn without replacement by their mean score, then units of each map by their scores.

    Parameters
    ----------
    activations : array, clips × time × channels × height × width
        Negative values count as 0. One axis less has no time.
    n_maps : int
        Maps; all that respond, if there are fewer.
    n_per_map : int
        Units of each, likewise.
    crop : {"symmetric", "topleft"} or None
        Leave out units at the border: `crop_share` of rows and columns, half of it at each side; or all of
        it at the top
        and left only, as in the authors' code.
    crop_share : float
        From 0 to below 1.
    max_channels : int, optional
        Only the first ones (the authors take 40 of recurrent layers).
    seed : int

    Returns
    -------
    UnitSample
        ``channel``, ``y``, ``x`` (places in the uncropped maps), ``score``, ``warnings``;
        ``take(activations)`` records.

    Errors: `ValueError` for other axes, no response at all, NaN. Units that never respond are not drawn.
    Cost:
    O(activations). Source: specs encoding-manifolds 7.3 and 7.4, trap 10. Differs from the authors': the
    crop is
    symmetric unless asked otherwise.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> activations = np.random.default_rng(0).uniform(size=(6, 5, 8, 12, 16))
    >>> units = sx.sample_units(activations, n_maps=3, n_per_map=4)
    >>> units.take(activations).shape
    (6, 5, 12)
    """
    values = to_numpy(activations, "activations")
    if values.ndim == 4:
        values = values[:, None]
    if values.ndim != 5 or values.size == 0:
        raise ValueError(
            f"`activations` has the shape {values.shape}, but clips × time × channels × height × width "
            f"expected\n"
            "hint: stack the arrays that the hook recorded, one per frame"
        )
    if not np.isfinite(values).all():
        raise ValueError("`activations` is not finite\nhint: look for the clip at which the model diverged")
    share = as_number(crop_share, "crop_share")
    if not 0 <= share < 1:
        raise ValueError(f"`crop_share` is {share}, but a number from 0 to below 1 expected")
    n_channels, height, width = values.shape[2:]
    top, left = (int(side * share / 2) for side in (height, width))
    bottom, right = height - top, width - left
    if crop is None:
        top, bottom, left, right = 0, height, 0, width
    elif _choice("crop", crop, ("symmetric", "topleft")) == "topleft":
        top, bottom, left, right = int(height * share), height, int(width * share), width
    kept = (
        n_channels if max_channels is None else min(whole(max_channels, "max_channels", COUNT, 1), n_channels)
    )
    score = np.zeros((kept, bottom - top, right - left))
    for clip in values:
        part = np.clip(clip[:, :kept, top:bottom, left:right].astype(np.float64), 0, None)
        most = part.max()
        if most > 0:
            score = np.maximum(score, part.mean(axis=0) / most)
    if not score.any():
        raise ValueError("no unit responds to any clip\nhint: look at the hook, the crop and the stimuli")
    warnings = []
    seed = whole(seed, "seed", SEED)
    maps = _core.weighted_draw(
        score.mean(axis=(1, 2)).tolist(), whole(n_maps, "n_maps", COUNT, 1), seed, "feature maps"
    )
    if len(maps) < n_maps:
        warnings.append(f"only {len(maps)} of {kept} maps respond, but {n_maps} asked for")
    wanted = whole(n_per_map, "n_per_map", COUNT, 1)
    channel: list[int] = []
    place: list[int] = []
    for c in maps:
        drawn = _core.weighted_draw(score[c].ravel().tolist(), wanted, seed, f"units of map {c}")
        if len(drawn) < wanted:
            warnings.append(f"only {len(drawn)} units of map {c} respond, but {wanted} asked for")
        channel += [c] * len(drawn)
        place += drawn
    y, x = np.unravel_index(np.array(place), score.shape[1:])
    channels = np.array(channel)
    return UnitSample(channels, y + top, x + left, score[channels, y, x], warnings)
