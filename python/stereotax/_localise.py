"""Units of a network that respond more to one kind of stimulus than to another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, SEED, Array, as_layers, as_matrix, as_number, whole
from ._base import Estimator, Result
from ._table import Table


class UnitLocaliser(Estimator):
    """Find the units that respond more to one kind of stimulus (a language localiser).

    Formula: Welch's ``t = (x̄ − ȳ)/√(s_x²/n_x + s_y²/n_y)`` per unit with Welch–Satterthwaite degrees of
    freedom; Benjamini–Hochberg over all units of all layers; of the units with q ≤ `level` and t > 0 the
    `n_units` of largest t.

    Parameters
    ----------
    n_units : int or float
        At most how many, or (between 0 and 1) which share of all units. 4096 or 0.01 are customary.
    level : float
        Of the mask; 1 for none.
    absolute : bool
        Compare |activation|.

    Attributes
    ----------
    t_, df_, p_value_, q_value_ : dict of str to array
        Per layer and unit; p two-sided. NaN for a unit that varies in neither condition.
    selected_ : dict of str to array of bool
    n_selected_, n_dead_ : int
        Units selected, and without a test: these are never selected.

    Errors
    ------
    ValueError
        For layers that do not match, fewer than 2 stimuli of a kind, NaN.

    Cost: O(stimuli · units). Source: Fedorenko et al. 2010; AlKhamissi et al. 2025; Welch 1947; specs
    alignment-methods B15. The t of selected units is biased upwards by their selection: see `split_half`.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> sentences, nonwords = ({"layer": rng.normal(size=(240, 500))} for _ in range(2))
    >>> sentences["layer"][:, :5] += 1
    >>> localiser = sx.UnitLocaliser(n_units=5, absolute=False).fit(sentences, nonwords)
    >>> np.flatnonzero(localiser.selected_["layer"])
    array([0, 1, 2, 3, 4])
    >>> localiser.transform(sentences).shape
    (240, 5)
    """

    def __init__(self, n_units: float = 0.01, *, level: float = 0.05, absolute: bool = True) -> None:
        self.n_units = n_units
        self.level = level
        self.absolute = absolute

    def fit(self, positive: Any, negative: Any) -> UnitLocaliser:
        """Test and select: per layer one array (stimuli × units) for each kind of stimulus.

        Layers come as a list, a mapping of names, or an array (layers × stimuli × units); a single array
        (stimuli × units) is one layer.
        """
        a, b, names = _both(positive, negative)
        sizes = [layer.shape[1] for layer in a]
        found = _core.localise_units(a, b, self._told(sum(sizes)))
        self.layer_names_ = names
        self._sizes = sizes
        self.t_ = self._split(found["t"])
        self.df_ = self._split(found["df"])
        self.p_value_ = self._split(found["p_value"])
        self.q_value_ = self._split(found["q_value"])
        self.selected_ = self._split(found["selected"])
        self.n_selected_ = int(found["selected"].sum())
        self.n_dead_: int = found["n_dead"]
        return self

    def transform(self, layers: Any, units: dict[str, Array] | None = None) -> Array:
        """Activations (stimuli × units) of the selected units, or of `units` as `control` gives them."""
        flags = self._fitted("selected_") if units is None else units
        arrays, names = self._known(layers)
        parts = [array[:, flags[name]] for array, name in zip(arrays, names, strict=True)]
        return np.concatenate(parts, axis=1)

    def split_half(self, positive: Any, negative: Any, *, n_splits: int = 10, seed: int = 0) -> Table:
        """Select units in a random half of the stimuli of each kind, and test them in the other.

        One row per split: `dice` and `jaccard` of the selections of both halves, `overlap` (units in both),
        `expected` and `p_overlap` of random selections (hypergeometric), `t_first` and `p_first` (Welch's
        test of the mean activation of the first half's units on the second half), `t_second` and `p_second`
        the other way round, and `share_positive_first`, `share_positive_second`: the share of those units
        with t > 0 there.
        """
        a, b, _ = _both(positive, negative)
        told = self._told(sum(layer.shape[1] for layer in a))
        n = whole(n_splits, "n_splits", COUNT, least=1)
        return Table(_core.validate_units(a, b, told, n, whole(seed, "seed", SEED)))

    def control(
        self,
        kind: str = "random",
        *,
        n_units: int | None = None,
        percentiles: tuple[float, float] = (40.0, 60.0),
        seed: int = 0,
    ) -> dict[str, Array]:
        """Units that are not selected, to compare with: flags per layer, for `transform`.

        `kind` is "random", "lowest" (smallest t) or "percentiles" (t between these percentiles); as many as
        are selected, or `n_units`. Dead units are left out.
        """
        self._fitted("selected_")
        n = self.n_selected_ if n_units is None else whole(n_units, "n_units", COUNT, least=1)
        low, high = (as_number(share, "percentiles") for share in percentiles)
        flags = _core.control_units(
            self._joined(self.t_).tolist(),
            self._joined(self.selected_).tolist(),
            n,
            str(kind),
            (low, high),
            whole(seed, "seed", SEED),
        )
        return self._split(flags)

    def ablate(
        self, layers: Any, units: dict[str, Array] | None = None, *, fill: str = "zero"
    ) -> dict[str, Array]:
        """Activations of all layers (stimuli × units) without the selected units, or `units` of `control`.

        `fill` is what stands in their place: "zero", or "mean" over the stimuli given.
        """
        flags = self._fitted("selected_") if units is None else units
        if fill not in ("zero", "mean"):
            raise ValueError(f"`fill` is {fill!r}, but 'zero' or 'mean' expected")
        arrays, names = self._known(layers)
        out = {}
        for array, name in zip(arrays, names, strict=True):
            lesion = np.array(array)
            gone = np.asarray(flags[name], dtype=bool)
            lesion[:, gone] = lesion[:, gone].mean(axis=0) if fill == "mean" else 0
            out[name] = lesion
        return out

    def ablation(
        self,
        score: Callable[[dict[str, Array]], float],
        layers: Any,
        *,
        fill: str = "zero",
        n_random: int = 99,
        seed: int = 0,
    ) -> Ablation:
        """Whether performance rests on the selected units more than on as many others.

        `score` takes the layers (name to stimuli × units) and returns a performance, larger for better: the
        held-out score of a task or of an encoding, say. It is asked for the intact layers, for those without
        the selected units, and `n_random` times for those without as many random units that are not selected
        (dead units left out). p = (1 + #{random ≤ ablated})/(1 + n_random), one-sided: no random ablation
        that costs more. Run a network again inside `score` where later layers should feel the loss of earlier
        ones.

        Errors: `ValueError` for an unknown `fill`, a score that is no finite number, fewer other units than
        are selected. Cost: n_random + 2 calls of `score`. Source: specs alignment-methods B15.

        Examples
        --------
        >>> import numpy as np
        >>> import stereotax as sx
        >>> rng = np.random.default_rng(0)
        >>> sentences, nonwords = ({"layer": rng.normal(size=(240, 500))} for _ in range(2))
        >>> sentences["layer"][:, :5] += 1
        >>> localiser = sx.UnitLocaliser(n_units=5, absolute=False).fit(sentences, nonwords)
        >>> found = localiser.ablation(lambda layers: layers["layer"].mean(), sentences, n_random=19)
        >>> bool(found.change < found.random_change.min()), found.p_value
        (True, 0.05)
        """
        self._fitted("selected_")
        n = whole(n_random, "n_random", COUNT, least=1)
        start = whole(seed, "seed", SEED)
        arrays, names = self._known(layers)
        intact = _performance(score(dict(zip(names, map(np.array, arrays), strict=True))))
        ablated = _performance(score(self.ablate(layers, fill=fill)))
        # Seeds that those of another `seed` do not meet.
        controls = (self.control(seed=(1_000_003 * start + k) % SEED) for k in range(n))
        random = np.array([_performance(score(self.ablate(layers, units, fill=fill))) for units in controls])
        return Ablation(
            intact=intact,
            ablated=ablated,
            change=ablated - intact,
            random_change=random - intact,
            p_value=float((1 + (random <= ablated).sum()) / (1 + n)),
            n_units=self.n_selected_,
        )

    def _known(self, layers: Any) -> tuple[list[Array], list[str]]:
        arrays, names = _layers(layers)
        if names != self.layer_names_ or [layer.shape[1] for layer in arrays] != self._sizes:
            raise ValueError(
                f"`layers` are {names}, but {self.layer_names_} expected (as in fit)\n"
                "hint: pass the same layers with the same units"
            )
        return arrays, names

    def _told(self, n_all: int) -> tuple[int, float, bool]:
        given = self.n_units
        if isinstance(given, float) and 0 < given < 1:
            given = max(1, round(given * n_all))
        count = whole(given, "n_units", COUNT, least=1)
        return count, as_number(self.level, "level"), bool(self.absolute)

    def _split(self, flat: Array) -> dict[str, Array]:
        parts = np.split(flat, np.cumsum(self._sizes)[:-1])
        return dict(zip(self.layer_names_, parts, strict=True))

    def _joined(self, by_layer: dict[str, Array]) -> Array:
        return np.concatenate([by_layer[name] for name in self.layer_names_])


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Ablation(Result):
    """What performance loses without the selected units, and without others."""

    #: Performance of the intact layers, and without the selected units.
    intact: float
    ablated: float
    #: ``ablated − intact``; negative for a loss.
    change: float
    #: The same of each random ablation of as many other units.
    random_change: Array
    #: (1 + #{random ≤ ablated})/(1 + random ablations).
    p_value: float
    n_units: int


def _performance(value: Any) -> float:
    if np.ndim(value) == 0 and np.isfinite(number := float(value)):
        return number
    raise ValueError(
        f"`score` returned {value!r:.60}, but a finite number expected\nhint: average over stimuli and units"
    )


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class SelectionOverlap(Result):
    """How far two selections of units agree."""

    n_first: int
    n_second: int
    n_both: int
    #: 2|A∩B|/(|A| + |B|) and |A∩B|/|A∪B|; NaN of two empty selections.
    dice: float
    jaccard: float
    #: |A||B|/N, the overlap of random selections, and P(overlap ≥ |A∩B|) of them.
    expected: float
    p_value: float


def selection_overlap(first: Any, second: Any, *, eligible: Any = None) -> SelectionOverlap:
    """Compare two selections of units with each other, and with random ones.

    Formula: ``Dice = 2|A∩B|/(|A| + |B|)``, ``Jaccard = |A∩B|/|A∪B|``; p is the hypergeometric tail for |A|
    and |B| units out of N.

    Parameters
    ----------
    first, second : array of bool, or dict of such arrays
        One flag per unit, such as `UnitLocaliser.selected_`.
    eligible : the same, optional
        Units that could be selected (not dead); all by default. Others do not count.

    Returns: `SelectionOverlap`. Errors: `ValueError` for different lengths.
    Cost: O(N). Source: specs alignment-methods B15.

    Examples
    --------
    >>> import stereotax as sx
    >>> found = sx.selection_overlap([1, 1, 0, 0, 0], [1, 1, 1, 0, 0])
    >>> found.dice, round(found.p_value, 12)
    (0.8, 0.3)
    """
    a, b = _flags(first), _flags(second)
    known = [True] * len(a) if eligible is None else _flags(eligible)
    return SelectionOverlap(**_core.selection_overlap(a, b, known))


def _flags(given: Any) -> list[bool]:
    parts: Iterable[Any] = given.values() if hasattr(given, "values") else [given]
    return [bool(flag) for part in parts for flag in np.asarray(part).ravel()]


def _layers(layers: Any) -> tuple[list[Array], list[str]]:
    if getattr(layers, "ndim", 0) == 2:
        layers = [layers]
    arrays, names = as_layers(layers, None)
    return [as_matrix(array, name) for array, name in zip(arrays, names, strict=True)], names


def _both(positive: Any, negative: Any) -> tuple[list[Array], list[Array], list[str]]:
    (a, names), (b, other) = _layers(positive), _layers(negative)
    if names != other:
        raise ValueError(
            f"`negative` has the layers {other}, but {names} expected (as `positive`)\n"
            "hint: pass the same layers for both kinds of stimulus"
        )
    return a, b, names
