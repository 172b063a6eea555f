"""Parametric stimuli: gratings, dots and dot triples that move, as frames with their table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, SEED, Array, as_number, flag, to_numpy, whole
from ._base import Result
from ._table import Table

#: Eight directions, anticlockwise from rightwards.
DIRECTIONS = (0.0, 45.0, 90.0, 135.0, 180.0, 225.0, 270.0, 315.0)


def gratings(
    *,
    size: tuple[int, int] = (144, 256),
    n_frames: int = 37,
    period_px: float = 32.0,
    direction: float = 0.0,
    speed_px: float = 1.0,
    contrast: float = 1.0,
    instance: int = 0,
    seed: int = 0,
) -> Array:
    """Draw a sinusoidal grating that moves, or stands still.

    Formula: ``grey = 127.5 (1 + contrast · sin(2π (u − speed · t) / period + phase))`` with u the distance
    along the
    direction.

    Parameters
    ----------
    size : (height, width)
        Pixels.
    n_frames : int
    period_px : float
        Pixels per cycle, at least 2.
    direction : float
        Degrees: 0 moves rightwards, 90 upwards.
    speed_px : float
        Pixels per frame; 0 is a static grating.
    contrast : float
        From above 0 to 1.
    instance : int
        Another random phase for each.
    seed : int

    Returns
    -------
    array of uint8, frames × height × width

    Errors: `ValueError` for numbers out of range. Cost: O(pixels). Source: specs encoding-manifolds 0 and
    7.3.

    Examples
    --------
    >>> import stereotax as sx
    >>> sx.gratings(size=(36, 64), n_frames=5, direction=45).shape
    (5, 36, 64)
    """
    return _draw(size, n_frames, direction, speed_px, contrast, instance, seed, period=period_px)


def moving_dots(
    *,
    size: tuple[int, int] = (144, 256),
    n_frames: int = 37,
    diameter_px: float = 10.0,
    per_group: int = 1,
    spacing_px: float | None = None,
    n_groups: int | None = None,
    bright: bool = True,
    direction: float = 0.0,
    speed_px: float = 1.0,
    contrast: float = 1.0,
    instance: int = 0,
    seed: int = 0,
) -> Array:
    """Draw dots, or triples of dots in a line across the direction, that all move the same way.

    Formula: discs at random places of a torus of the frame's size, moved by ``speed · t`` along the
    direction; edges
    fade over one pixel.

    Parameters
    ----------
    size : (height, width)
        Pixels.
    n_frames : int
    diameter_px : float
        At least 1.
    per_group : int
        1 for single dots, 3 for triples.
    spacing_px : float, optional
        Between the middles of neighbours in a group; 1.5 diameters by default.
    n_groups : int, optional
        By default as many as cover a tenth of the frame.
    bright : bool
        Brighter than the ground (128), or darker.
    direction : float
        Degrees: 0 moves rightwards, 90 upwards.
    speed_px : float
        Pixels per frame.
    contrast : float
    instance : int
        Other places for each.
    seed : int

    Returns
    -------
    array of uint8, frames × height × width

    Errors: `ValueError` for numbers out of range, groups larger than the frame. Cost: O(dots · diameter²)
    per frame.
    Source: specs encoding-manifolds 0 and 7.3.

    Examples
    --------
    >>> import stereotax as sx
    >>> frames = sx.moving_dots(size=(36, 64), n_frames=5, diameter_px=4, per_group=3, bright=False)
    >>> frames.shape, int(frames.max())
    ((5, 36, 64), 128)
    """
    diameter, group = as_number(diameter_px, "diameter_px"), whole(per_group, "per_group", 1000, least=1)
    if n_groups is None:
        area = size[0] * size[1] / max(np.pi * diameter**2 / 4 * group, 1.0)
        n_groups = max(1, round(0.1 * area))
    return _draw(
        size,
        n_frames,
        direction,
        speed_px,
        contrast,
        instance,
        seed,
        diameter=diameter,
        per_group=group,
        spacing=1.5 * diameter if spacing_px is None else as_number(spacing_px, "spacing_px"),
        n_groups=whole(n_groups, "n_groups", 10**6, least=1),
        bright=flag(bright, "bright"),
    )


def _draw(
    size: tuple[int, int],
    n_frames: int,
    direction: float,
    speed_px: float,
    contrast: float,
    instance: int,
    seed: int,
    *,
    period: float | None = None,
    diameter: float = 1.0,
    per_group: int = 1,
    spacing: float = 0.0,
    n_groups: int = 1,
    bright: bool = True,
) -> Array:
    height, width = (whole(side, "size", 100_000, least=1) for side in size)
    frames = whole(n_frames, "n_frames", 10**7, least=1)
    flat: Array = _core.draw_clip(
        (height, width),
        frames,
        None if period is None else as_number(period, "period_px"),
        diameter,
        per_group,
        spacing,
        n_groups,
        bright,
        as_number(direction, "direction"),
        as_number(speed_px, "speed_px"),
        as_number(contrast, "contrast"),
        whole(seed, "seed", SEED),
        whole(instance, "instance", COUNT),
    )
    return flat.reshape(frames, height, width)


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class StimulusSet(Result):
    """Clips by name and angle, drawn when they are asked for."""

    #: One row per clip.
    table: Table
    size: tuple[int, int]
    n_frames: int
    seed: int

    def frames(self, clip: int) -> Array:
        """The frames (uint8, frames × height × width) of the clip in row `clip` of the table."""
        row = self.table[whole(clip, "clip", len(self.table) - 1)]
        common: dict[str, Any] = {
            "size": self.size,
            "n_frames": self.n_frames,
            "direction": float(row["direction"]),
            "speed_px": float(row["speed_px"]),
            "contrast": float(row["contrast"]),
            "instance": int(row["instance"]),
            "seed": self.seed,
        }
        if row["kind"] == "grating":
            return gratings(period_px=float(row["scale_px"]), **common)
        return moving_dots(
            diameter_px=float(row["scale_px"]),
            per_group=int(row["per_group"]),
            bright=row["polarity"] == "positive",
            **common,
        )

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Array]]:
        return ((self.table[clip], self.frames(clip)) for clip in range(len(self.table)))

    @property
    def stimuli(self) -> list[str]:
        """Names of the stimulus classes, in order."""
        return list(dict.fromkeys(self.table["stimulus"].tolist()))

    def responses(self, activations: Any, *, bin_s: float, units: Any = None) -> Any:
        """A `ResponseTensor` of activations, clips × time × units in the order of the table: instances are
        averaged.

        Activations are clipped at 0, and the minimum of the tensor is subtracted, as the authors do (specs
        encoding-manifolds 1.1).
        """
        from ._responses import ResponseTensor

        directions, maps = self._maps(activations)
        return ResponseTensor.from_activations(maps, directions=directions, bin_s=bin_s, units=units)

    def repeats(self, activations: Any, *, bin_s: float, units: Any = None) -> list[Any]:
        """One `ResponseTensor` per instance of the stimuli, for analyses that hold instances out.

        As `responses`, but for the mean; the minimum is that of all instances together.
        """
        from ._responses import ResponseTensor

        directions, maps = self._maps(activations)
        clipped = {name: np.clip(values.astype(np.float64), 0, None) for name, values in maps.items()}
        least = min(values.min() for values in clipped.values())
        return [
            ResponseTensor.from_maps(
                {name: values[instance] - least for name, values in clipped.items()},
                directions=directions,
                bin_s=bin_s,
                units=units,
            )
            for instance in range(min(len(values) for values in maps.values()))
        ]

    def _maps(self, activations: Any) -> tuple[list[float], dict[str, Array]]:
        """Directions, and for every stimulus instances × units × directions × time."""
        values = to_numpy(activations, "activations")
        if values.ndim != 3 or len(values) != len(self.table):
            raise ValueError(
                f"`activations` has the shape {values.shape}, but {len(self.table)} clips × time × units "
                f"expected\n"
                "hint: one clip per row of `table`, in its order"
            )
        directions = sorted(set(self.table["direction"].tolist()))
        maps = {}
        for stimulus in self.stimuli:
            of_stimulus = self.table["stimulus"] == stimulus
            per_direction = [
                values[of_stimulus & (self.table["direction"] == direction)] for direction in directions
            ]
            maps[stimulus] = np.stack(per_direction, axis=1).transpose(0, 3, 1, 2)
        return directions, maps


def stimulus_set(
    *,
    size: tuple[int, int] = (144, 256),
    n_frames: int = 37,
    directions: Sequence[float] = DIRECTIONS,
    periods_px: Sequence[float] = (64.0, 32.0, 16.0),
    diameters_px: Sequence[float] = (8.0, 16.0),
    n_instances: int = 3,
    speed_px: float = 1.0,
    contrast: float = 1.0,
    seed: int = 0,
) -> StimulusSet:
    """Make a set of gratings and dots for direction maps: by default 11 classes × 8 directions × 3 instances.

    Formula: one class per grating period, and per diameter, polarity and 1 or 3 dots.

    Parameters
    ----------
    size : (height, width)
        Pixels.
    n_frames : int
    directions : sequence of float
        Degrees.
    periods_px : sequence of float
        Of gratings. The defaults for gratings and dots are those of two octaves and one; choose them for the
        model's
        field of view.
    diameters_px : sequence of float
        Of dots; each makes four classes (bright or dark, single or in triples).
    n_instances : int
        Random phases and places.
    speed_px : float
        Pixels per frame; 0 makes static stimuli.
    contrast : float
    seed : int

    Returns
    -------
    StimulusSet
        ``table`` (``clip``, ``stimulus``, ``kind``, ``scale_px``, ``per_group``, ``polarity``, ``direction``,
        ``instance``, ``speed_px``, ``contrast``); ``frames(clip)``; iteration gives rows and frames;
        ``responses`` makes a
        `ResponseTensor` of a model's activations.

    Errors: `ValueError` for an empty set; `frames` for numbers out of range. Cost: frames are drawn when
    asked for.
    Source: specs encoding-manifolds 0 and 7.3; same classes as the authors' set, other images.

    Examples
    --------
    >>> import stereotax as sx
    >>> stimuli = sx.stimulus_set(size=(36, 64), n_frames=4)
    >>> len(stimuli), stimuli.stimuli[:4]
    (264, ['grating_64', 'grating_32', 'grating_16', 'neg1dot_8'])
    >>> stimuli.frames(0).shape
    (4, 36, 64)
    """
    classes: list[tuple[str, str, float, int, str | None]] = [
        (f"grating_{as_number(period, 'periods_px'):g}", "grating", float(period), 1, None)
        for period in periods_px
    ]
    for sign in ("negative", "positive"):
        for diameter in diameters_px:
            for group in (1, 3):
                name = f"{sign[:3]}{group}dot_{as_number(diameter, 'diameters_px'):g}"
                classes.append((name, "dots", float(diameter), group, sign))
    rows: list[dict[str, Any]] = []
    for name, kind, scale, group, polarity in classes:
        for direction in directions:
            for instance in range(whole(n_instances, "n_instances", 10_000, least=1)):
                rows.append(
                    {
                        "clip": len(rows),
                        "stimulus": name,
                        "kind": kind,
                        "scale_px": scale,
                        "per_group": group,
                        "polarity": polarity,
                        "direction": as_number(direction, "directions"),
                        "instance": instance,
                        "speed_px": as_number(speed_px, "speed_px"),
                        "contrast": as_number(contrast, "contrast"),
                    }
                )
    if not rows:
        raise ValueError("there is no stimulus\nhint: give a period or a diameter, and a direction")
    height, width = (whole(side, "size", 100_000, least=1) for side in size)
    return StimulusSet(
        Table.from_dicts(rows),
        (height, width),
        whole(n_frames, "n_frames", 10**7, least=1),
        whole(seed, "seed", SEED),
    )
