"""A network beside a brain, as a physiologist looks at them, in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from . import _core
from ._arrays import COUNT, DRAWS, SEED, as_names, as_number, flag, whole
from ._base import Result
from ._decoding import _settings
from ._responses import ResponseTensor
from ._table import Table

RANKS = tuple(range(2, 11))
MEASURES = ("rsa_spearman", "cka_debiased", "svcca")


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Physiology(Result):
    """Modules and areas, looked at. Undefined numbers are NaN, undefined names None."""

    #: One row per population: role, sizes, rank and error of its factorisation, parts and dimensions of its
    #: encoding manifold; decoding accuracy, what was held out, chance, mean over shuffles, and p.
    populations: Table
    #: One row per unit: place on the encoding manifold (x, y, z; NaN without a neighbour), part, strongest
    #: component, and tuning: stimulus, direction_deg, selectivities, transience, latency_s, rate.
    units: Table
    #: The sweep over ranks: error (least over starts), effective dimension, and which rank was chosen.
    ranks: Table
    #: Eigenvalues of the diffusion maps.
    eigenvalues: Table
    #: Decoding manifold: one row per stimulus, direction and time; principal components x, y, z.
    paths: Table
    #: One row per population, kind of points and estimate.
    dimensions: Table
    #: Accuracy of growing windows: last_s, accuracy, sd over deals of the folds.
    windows: Table
    #: Counts and shares of observed and predicted stimuli.
    confusions: Table
    #: One row per population and score, with percentile intervals over draws of units.
    tubularity: Table
    #: Paired differences (first − second) over the same draws.
    tubularity_differences: Table
    #: One row per pair and measure. `linear_predictivity` predicts `second` from `first`.
    alignment: Table
    #: What was left out or needs to be known, by population; None: between populations.
    notes: Table


def physiology(
    modules: Mapping[str, ResponseTensor | Sequence[ResponseTensor]] | None = None,
    areas: Mapping[str, ResponseTensor | Sequence[ResponseTensor]] | None = None,
    *,
    smoothing_bins: float = 3.0,
    normalise: str = "relative_norm",
    ranks: Sequence[int] = RANKS,
    rank: int | None = None,
    n_starts: int = 3,
    max_iterations: int = 200,
    n_coordinates: int = 10,
    n_components: int = 3,
    n_dynamical: int = 5,
    classifier: Any = "logistic",
    held_out: str = "automatic",
    n_folds: int = 5,
    n_repeats: int = 5,
    n_draws: int = 30,
    tube_smoothing: float = 2.0,
    matched: bool = True,
    measures: Sequence[str] = MEASURES,
    n_permutations: int = 99,
    seed: int = 0,
) -> Physiology:
    """Look at modules of a network and areas of a brain by the responses of their units.

    For each: tuning; shift-invariant factorisation, neuron matrix, IAN and diffusion map (encoding
    manifold); principal paths (decoding manifold); dimensions; decoding accuracy. Over all: tubularity with
    paired draws of equally many units, and every pair by similarity of conditions, held-out linear
    predictivity and the angle between their dynamics.

    Parameters
    ----------
    modules, areas : mappings of names to `ResponseTensor`, or to a list of them, one per repeat
        Repeats are trials of a recording, or instances of a stimulus for a network
        (`StimulusSet.repeats`); all but decoding takes their mean. Stimuli of the same name are compared.
        Silent units are left out and named.
    smoothing_bins : float
        Of modules over time before factorisation. Areas are taken as they come.
    normalise : {"relative_norm", "per_map", "maximum", "mean"}
    ranks, rank : numbers of components to try, or the one to take
        Without `rank`, the plateau of the sweep.
    n_starts, max_iterations : int
        Of each factorisation.
    n_coordinates, n_components, n_dynamical : int
        Of encoding manifolds, paths, and dynamics (0: no dynamical similarity).
    classifier : str or `Classifier`
        Tells stimuli.
    held_out : {"automatic", "repeats", "directions", "stratified"}
        Of decoding. Whole repeats: are responses to a condition reliable and its own? Whole directions, of
        all stimuli together: is a stimulus told in directions never seen? "automatic" holds out repeats where
        two or more are given, and directions where not. "stratified" deals the directions of every stimulus
        by itself, as published accuracies do: stimuli that drive a population alike then fall below chance,
        since the same direction of the other is nearer than any other direction of their own.
    n_folds, n_repeats : int
        Folds (fewer where there are fewer repeats or directions), and fresh deals of them.
    n_draws, tube_smoothing, matched
        Of `tubularity`; 0 draws leave it out.
    measures : ids of `measures()`
    n_permutations, seed : int

    Returns
    -------
    Physiology

    A step that a population does not allow (one direction, too few units, units that missed a stimulus) is
    left out and said in `notes`. Errors: `ValueError` for names given twice, unknown measures or settings,
    populations without any response. Cost: (ranks × starts) factorisations and one IAN per population.
    Source: Bertram et al. 2026; specs encoding-manifolds 1 to 6.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> def responses(n):
    ...     course = np.exp(-((np.arange(8) - rng.uniform(1, 6, (n, 1, 1, 1))) ** 2))
    ...     values = rng.uniform(size=(n, 3, 4, 1)) * course
    ...     return sx.ResponseTensor(values, stimuli=list("abc"), directions=[0, 90, 180, 270], bin_s=0.05)
    >>> found = sx.physiology(
    ...     {"readout": responses(25)}, {"V1": responses(30)},
    ...     ranks=[2, 3, 4], n_starts=1, n_folds=2, n_draws=3,
    ... )
    >>> found.populations["population"].tolist(), len(found.units)
    (['readout', 'V1'], 55)
    """
    told = []
    for module, given in ((True, modules), (False, areas)):
        for name, responses in (given or {}).items():
            repeats = [responses] if isinstance(responses, ResponseTensor) else responses
            if not isinstance(repeats, Sequence):
                repeats = [repeats]
            for each in repeats:
                if not isinstance(each, ResponseTensor):
                    raise ValueError(
                        f"`{name}` is {type(each).__name__}, but a ResponseTensor expected (or a list of "
                        "them, one per repeat)\n"
                        "hint: sx.ResponseTensor(values, stimuli=…, directions=…, bin_s=…)"
                    )
            told.append((str(name), module, [each._core for each in repeats]))
    found = _core.physiology(
        told,
        (
            as_number(smoothing_bins, "smoothing_bins"),
            str(normalise),
            [whole(each, "ranks", COUNT) for each in ranks],
            None if rank is None else whole(rank, "rank", COUNT),
            whole(n_starts, "n_starts", COUNT),
            whole(max_iterations, "max_iterations", COUNT, least=1),
        ),
        (
            whole(n_coordinates, "n_coordinates", COUNT),
            whole(n_components, "n_components", COUNT),
            whole(n_dynamical, "n_dynamical", COUNT),
        ),
        (
            whole(n_draws, "n_draws", DRAWS),
            as_number(tube_smoothing, "tube_smoothing"),
            flag(matched, "matched"),
        ),
        (str(held_out), whole(n_folds, "n_folds", COUNT), whole(n_repeats, "n_repeats", COUNT)),
        _settings(classifier),
        as_names(measures, "measures"),
        whole(n_permutations, "n_permutations", DRAWS),
        whole(seed, "seed", SEED),
    )
    return Physiology(**{name: Table(columns) for name, columns in found.items()})
