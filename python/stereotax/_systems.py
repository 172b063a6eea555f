"""Components of trained brain models that serve as feature makers, readouts and metrics."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._arrays import COUNT, SEED, Array, as_names, as_number, finite, to_numpy, whole
from ._base import Result
from ._ridge import _choice


def _matrix(values: Any, name: str, axes: str) -> Array:
    array = np.asarray(to_numpy(values, name), dtype=np.float64)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"`{name}` has the shape {array.shape}, but {axes} expected")
    return finite(array, name)


def adaptive_pooling(responses: Any, n_bins: int) -> Array:
    """Voxels of any number brought to a common number: the largest of each of `n_bins` stretches.

    Formula: bin i is ``max_v x[:, v]`` over v from ⌊i V / K⌋ to ⌈(i + 1) V / K⌉ − 1; neighbouring bins
    share a
    voxel where K does not divide V.

    Parameters
    ----------
    responses : array, samples × voxels
        Voxels in an order that subjects share (an atlas's), else bins mean nothing across subjects.
    n_bins : int
        K; with more bins than voxels, voxels come several times.

    Returns
    -------
    array, samples × n_bins

    Errors: `ValueError` for NaN. Cost: samples · voxels. Source: Wang et al. 2024 (MindBridge); specs
    alignment-methods B21.10. The same as torch's adaptive max pooling.

    Examples
    --------
    >>> import stereotax as sx
    >>> sx.adaptive_pooling([[1.0, 5.0, 2.0, 4.0, 3.0]], 2).tolist()
    [[5.0, 4.0]]
    """
    x = _matrix(responses, "responses", "samples × voxels")
    k, v = whole(n_bins, "n_bins", COUNT, least=1), x.shape[1]
    bounds = [(i * v // k, -(-(i + 1) * v // k)) for i in range(k)]
    return np.stack([x[:, a:b].max(axis=1) for a, b in bounds], axis=1)


def softmax_projection(weights: Any, embeddings: Any, temperature: float) -> Array:
    """Voxel weights moved to where embeddings of images lie, so that a decoder of embeddings can read them.

    Formula: with voxel weights w and image embeddings e_i, ``s = softmax_i(w · e_i / τ)``; the direction is
    ``Σ s_i e_i / |e_i|`` (scaled to length 1), the length ``Σ s_i |e_i|``. τ → 0 gives the embedding that the
    voxel prefers, τ → ∞ the mean direction.

    Parameters
    ----------
    weights : array, voxels × features
        Of a linear encoder on the embeddings.
    embeddings : array, images × features
    temperature : float
        τ above 0, in units of w · e. Choose it on images that were not used for the weights.

    Returns
    -------
    array, voxels × features

    Errors: `ValueError` for NaN, other numbers of features, an embedding of zeros, τ ≤ 0. Undefined (NaN): a
    voxel whose directions cancel. Cost: voxels · images · features.
    Source: Luo et al. 2024 (BrainSCUBA); specs alignment-methods B21.10.

    Examples
    --------
    >>> import stereotax as sx
    >>> sx.softmax_projection([[1.0, 0.0]], [[3.0, 4.0], [-1.0, 0.0]], temperature=0.01).round(6).tolist()
    [[3.0, 4.0]]
    """
    w, e = (
        _matrix(weights, "weights", "voxels × features"),
        _matrix(embeddings, "embeddings", "images × features"),
    )
    tau = as_number(temperature, "temperature")
    if w.shape[1] != e.shape[1]:
        raise ValueError(f"`weights` has {w.shape[1]} features, but {e.shape[1]} expected, as `embeddings`")
    lengths = np.linalg.norm(e, axis=1)
    if tau <= 0 or not lengths.all():
        raise ValueError("`temperature` above 0 and embeddings other than zero expected")
    scores = w @ e.T / tau
    s = np.exp(scores - scores.max(axis=1, keepdims=True))
    s /= s.sum(axis=1, keepdims=True)
    direction = s @ (e / lengths[:, None])
    norm = np.linalg.norm(direction, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = np.where(norm > 1e-12, direction / norm, np.nan) * (s @ lengths)[:, None]
    return found


def region_gradient(weights: Any, embedding: Any) -> Array:
    """How an image's embedding should change to raise the mean predicted response of a region.

    Formula: encoders see x/|x|, so with w̄ the mean weight of the region's voxels the gradient is
    ``(I − x̂ x̂ᵀ) w̄ / |x|``; it is orthogonal to x.

    Parameters
    ----------
    weights : array, voxels × features
        Of linear encoders on embeddings of unit length.
    embedding : array, features

    Returns
    -------
    array, features

    Errors: `ValueError` for NaN, other numbers of features, an embedding of zeros. Cost: voxels · features.
    Source: Luo et al. 2023 (BrainDiVE); specs alignment-methods B21.10.

    Examples
    --------
    >>> import stereotax as sx
    >>> sx.region_gradient([[1.0, 1.0], [3.0, 1.0]], [2.0, 0.0]).tolist()
    [0.0, 0.5]
    """
    w = _matrix(weights, "weights", "voxels × features").mean(axis=0)
    x = finite(np.asarray(to_numpy(embedding, "embedding"), dtype=np.float64).ravel()[None], "embedding")[0]
    if w.shape != x.shape or not x.any():
        raise ValueError(f"`embedding` has {x.size} features, but {w.size} expected, not all zero")
    length = float(np.linalg.norm(x))
    unit = x / length
    found: Array = (w - unit * (unit @ w)) / length
    return found


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Tokens(Result):
    """Samples as entries of a codebook."""

    #: Index of the nearest codeword of each sample.
    codes: Array
    #: Share of samples per codeword.
    usage: Array
    #: Codewords in use, 2^H with H the entropy of usage in bits: 1 (one only) to their number (all alike).
    perplexity: float
    #: Mean absolute difference of samples and codewords.
    absolute_error: float
    #: Correlation of all entries of samples and codewords; NaN where one is constant.
    correlation: float


def quantise(samples: Any, codebook: Any) -> Tokens:
    """Each sample as its nearest codeword, and how well the codebook is used.

    Formula: ``code_n = argmin_k |x_n − c_k|²``, the first where several are as near; perplexity
    ``2^(−Σ u_k log₂ u_k)`` of the usage u.

    Parameters
    ----------
    samples : array, samples × features
    codebook : array, codewords × features

    Returns
    -------
    Tokens

    Errors: `ValueError` for NaN, other numbers of features. Cost: samples · codewords · features.
    Source: Zheng et al. 2024 (Du-IN) and Xiao et al. 2025 (BrainOmni) report these; specs B21.10.

    Examples
    --------
    >>> import stereotax as sx
    >>> found = sx.quantise([[0.1], [0.9], [1.2], [0.0]], [[0.0], [1.0], [5.0]])
    >>> found.codes.tolist(), found.perplexity, round(found.absolute_error, 6)
    ([0, 1, 1, 0], 2.0, 0.1)
    """
    x, c = (
        _matrix(samples, "samples", "samples × features"),
        _matrix(codebook, "codebook", "codewords × features"),
    )
    if x.shape[1] != c.shape[1]:
        raise ValueError(f"`codebook` has {c.shape[1]} features, but {x.shape[1]} expected, as `samples`")
    codes = np.empty(len(x), dtype=np.int64)
    for start in range(0, len(x), 1024):
        part = x[start : start + 1024]
        codes[start : start + 1024] = (((part[:, None] - c[None]) ** 2).sum(axis=2)).argmin(axis=1)
    usage = np.bincount(codes, minlength=len(c)) / len(x)
    used = usage[usage > 0]
    nearest = c[codes]
    constant = np.ptp(x) == 0 or np.ptp(nearest) == 0
    return Tokens(
        codes=codes,
        usage=usage,
        perplexity=float(2.0 ** -(used * np.log2(used)).sum()),
        absolute_error=float(np.abs(x - nearest).mean()),
        correlation=float("nan") if constant else float(np.corrcoef(x.ravel(), nearest.ravel())[0, 1]),
    )


def multi_scale(signal: Any, widths: Sequence[int]) -> Array:
    """Means over windows of several widths that end at each sample: features of several time scales.

    Formula: for width m, ``out[t, j] = mean of x[t − m + 1 … t, j]``; windows that begin before the recording
    are as long as there is.

    Parameters
    ----------
    signal : array, times × channels
    widths : sequence of int
        In samples.

    Returns
    -------
    array, times × (channels · widths)
        All channels of the first width, then of the next.

    Errors: `ValueError` for NaN, no widths. Cost: times · channels · widths.
    Source: Zhou et al. 2025 (CSBrain), its temporal scales without the learned part; specs A2, system 96.

    Examples
    --------
    >>> import stereotax as sx
    >>> sx.multi_scale([[2.0], [4.0], [9.0]], [1, 2]).tolist()
    [[2.0, 2.0], [4.0, 3.0], [9.0, 6.5]]
    """
    x = _matrix(signal, "signal", "times × channels")
    sizes = [whole(m, "widths", COUNT, least=1) for m in widths]
    if not sizes:
        raise ValueError("`widths` is empty, but at least one expected")
    sums = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0)])
    ends = np.arange(1, len(x) + 1)
    parts = []
    for m in sizes:
        starts = np.maximum(ends - m, 0)
        parts.append((sums[ends] - sums[starts]) / (ends - starts)[:, None])
    return np.concatenate(parts, axis=1)


def group_by_parcel(signal: Any, parcels: Any) -> tuple[Array, list[str]]:
    """Channels or voxels averaged by parcel (an atlas's region, a lobe): tokens of a coarser scale.

    Formula: ``out[t, p] = mean of x[t, c] over the channels c of parcel p``.

    Parameters
    ----------
    signal : array, times × channels
    parcels : sequence of names, channels
        An empty name belongs to no parcel.

    Returns
    -------
    array (times × parcels), names in the order in which they first come

    Errors: `ValueError` for NaN, another number of names, no parcel. Cost: times · channels.
    Source: Oganesian et al. 2025 (BaRISTA); specs A2, system 72.

    Examples
    --------
    >>> import stereotax as sx
    >>> values, names = sx.group_by_parcel([[1.0, 2.0, 3.0]], ["STG", "V1", "STG"])
    >>> values.tolist(), names
    ([[2.0, 2.0]], ['STG', 'V1'])
    """
    x = _matrix(signal, "signal", "times × channels")
    labels = as_names(parcels, "labels")
    names = [name for name in dict.fromkeys(labels) if name]
    if len(labels) != x.shape[1] or not names:
        raise ValueError(f"`parcels` has {len(labels)} names, but {x.shape[1]} expected, not all empty")
    return np.stack([x[:, [label == n for label in labels]].mean(axis=1) for n in names], axis=1), names


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class KnockOut(Result):
    """What a decoder loses without each region."""

    regions: list[str]
    #: Score with all regions.
    score: float
    #: Score minus that with the region's voxels at their training mean; above 0: the decoder uses it.
    importance: Array


def knock_out(score: Any, responses: Any, regions: Any, training_mean: Any) -> KnockOut:
    """How much a fitted decoder depends on each region: its voxels are set to their training mean.

    Formula: ``importance_r = score(X) − score(X with the voxels of r replaced by their training mean)``. The
    decoder is not fitted anew, so regions that say the same share their importance.

    Parameters
    ----------
    score : callable
        From responses (samples × voxels) to a number, higher being better: a fitted decoder on test data.
    responses : array, samples × voxels
        Of test samples.
    regions : sequence of names, voxels
    training_mean : array, voxels
        Of the training samples.

    Returns
    -------
    KnockOut

    Errors: `ValueError` for NaN and other numbers of voxels. Cost: one call of `score` per region, and one.
    Source: specs A2, system 73 (whole-brain decoding with fMRI foundation models).

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> X = np.array([[1.0, 5.0], [2.0, 6.0]])
    >>> found = sx.knock_out(lambda x: float(x[:, 0].sum()), X, ["V1", "A1"], [0.0, 5.5])
    >>> found.score, dict(zip(found.regions, found.importance.tolist()))
    (3.0, {'V1': 3.0, 'A1': 0.0})
    """
    x = _matrix(responses, "responses", "samples × voxels")
    labels = as_names(regions, "regions")
    mean = np.asarray(to_numpy(training_mean, "training_mean"), dtype=np.float64).ravel()
    for what, size in (("regions", len(labels)), ("training_mean", mean.size)):
        if size != x.shape[1]:
            raise ValueError(f"`{what}` has {size}, but {x.shape[1]} expected (one per voxel)")
    names = list(dict.fromkeys(labels))
    whole_score = float(score(x.copy()))
    lost = []
    for name in names:
        without = x.copy()
        gone = np.array([label == name for label in labels])
        without[:, gone] = mean[gone]
        lost.append(whole_score - float(score(without)))
    return KnockOut(names, whole_score, np.array(lost))


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class GeneratedSignal(Result):
    """How generated recordings differ from real ones in their second-order statistics."""

    #: Hertz.
    frequencies: Array
    #: log₁₀ of generated over real power, frequencies × channels.
    log_power_ratio: Array
    #: Root mean square of these, over frequencies above 0 and channels: 0 for the same spectra.
    spectral_distance: float
    #: ‖C_generated − C_real‖_F / ‖C_real‖_F of the covariances of channels: 0 for the same.
    covariance_distance: float


def compare_generated(generated: Any, real: Any, rate_hz: float, *, window: int = 256) -> GeneratedSignal:
    """Spectra and covariance of generated recordings beside those of real ones.

    Formula: power by Welch's method (Hann windows, half overlapping, each with its mean taken out), and
    ``C = Xᵀ X / (n − 1)`` of centred channels.

    Parameters
    ----------
    generated, real : arrays, times × channels
        They may differ in length, not in channels.
    rate_hz : float
    window : int
        Samples per window, at least 8 and at most the shorter recording.

    Returns
    -------
    GeneratedSignal

    Errors: `ValueError` for NaN, other channels, a recording shorter than a window, a constant real channel.
    Cost: times · channels · (log window + channels). Source: Huang et al. 2025 (MEG-GPT); Welch 1967; specs
    A2, system 44.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> x = np.random.default_rng(0).normal(size=(2000, 3))
    >>> found = sx.compare_generated(10 * x, x, rate_hz=100)
    >>> round(found.spectral_distance, 6), round(found.covariance_distance, 6)
    (2.0, 99.0)
    """
    g, r = _matrix(generated, "generated", "times × channels"), _matrix(real, "real", "times × channels")
    m, rate = whole(window, "window", COUNT, least=8), as_number(rate_hz, "rate_hz")
    if g.shape[1] != r.shape[1] or min(len(g), len(r)) < m or rate <= 0:
        raise ValueError(
            f"`generated` is {g.shape} and `real` {r.shape} at {rate_hz} Hz, but the same channels, at least "
            f"{m} samples and a rate above 0 expected"
        )
    if (np.ptp(r, axis=0) == 0).any():
        raise ValueError(
            f"`real` is constant in channel {int(np.argmin(np.ptp(r, axis=0)))}, so it has no spectrum"
        )

    def power(x: Array) -> Array:
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(m) / m)
        starts = range(0, len(x) - m + 1, m // 2)
        parts = [x[s : s + m] - x[s : s + m].mean(axis=0) for s in starts]
        spectra = [np.abs(np.fft.rfft(p * hann[:, None], axis=0)) ** 2 for p in parts]
        found: Array = np.mean(spectra, axis=0)
        return found

    def covariance(x: Array) -> Array:
        centred = x - x.mean(axis=0)
        found: Array = centred.T @ centred / (len(x) - 1)
        return found

    with np.errstate(divide="ignore"):
        ratio = np.log10(power(g)) - np.log10(power(r))
    c = covariance(r)
    return GeneratedSignal(
        frequencies=np.fft.rfftfreq(m, 1 / rate),
        log_power_ratio=ratio,
        spectral_distance=float(np.sqrt((ratio[1:] ** 2).mean())),
        covariance_distance=float(np.linalg.norm(covariance(g) - c) / np.linalg.norm(c)),
    )


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Topography(Result):
    """Whether near units are alike."""

    #: Correlation of the similarity of tuning with distance over all pairs: below 0, near units are alike.
    distance_correlation: float
    #: Mean difference of tuning of nearest neighbours, divided by that of all pairs: 0 smooth, 1 salt and
    #: pepper.
    neighbour_ratio: float


def topography(tuning: Any, positions: Any) -> Topography:
    """How smoothly tuning varies over a sheet of cortex, or of a model.

    Formula: with s_ij the correlation of the tuning of units i and j and d_ij their distance,
    ``distance_correlation = corr(s_ij, d_ij)`` over pairs; ``neighbour_ratio`` is the mean of 1 − s over
    nearest neighbours (of each unit; the mean over those at the same distance) divided by the mean over all
    pairs, which is what shuffled positions give on average.

    Parameters
    ----------
    tuning : array, units × stimuli
    positions : array, units × dimensions

    Returns
    -------
    Topography

    Errors: `ValueError` for NaN, fewer than 3 units, a unit with constant tuning. Undefined (NaN): all units
    tuned alike, or all distances equal. Cost: units². Source: Margalit et al. 2024 for the measures; specs
    A2, system 104, and B21.10.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> x = np.linspace(0, 1, 20)
    >>> smooth = np.stack([np.cos(2 * np.pi * (x + k / 8)) for k in range(8)], axis=1)
    >>> found = sx.topography(smooth, x[:, None])
    >>> found.neighbour_ratio < 0.1
    True
    """
    t, p = _matrix(tuning, "tuning", "units × stimuli"), _matrix(positions, "positions", "units × dimensions")
    if len(t) != len(p) or len(t) < 3:
        raise ValueError(f"`positions` has {len(p)} units, but {len(t)} expected, and at least 3")
    centred = t - t.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    if not (lengths > 1e-12 * (1 + np.abs(t).max())).all():
        raise ValueError(
            f"unit {int(lengths.argmin())} has constant tuning, so it is like no other\nhint: drop it"
        )
    unit = centred / lengths
    similarity = unit @ unit.T
    distance = np.sqrt(np.maximum(((p[:, None] - p[None]) ** 2).sum(axis=2), 0))
    pairs = np.triu_indices(len(t), 1)
    s, d = similarity[pairs], distance[pairs]
    defined = np.ptp(s) > 1e-12 and np.ptp(d) > 0
    apart = distance + np.diag(np.full(len(t), np.inf))
    nearest = apart <= apart.min(axis=1, keepdims=True)
    difference = 1 - similarity
    near = [difference[i, nearest[i]].mean() for i in range(len(t))]
    mean = float((1 - s).mean())
    return Topography(
        distance_correlation=float(np.corrcoef(s, d)[0, 1]) if defined else float("nan"),
        neighbour_ratio=float(np.mean(near)) / mean if mean > 1e-12 else float("nan"),
    )


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Asymmetry(Result):
    """Whether A among B is found sooner or later than B among A."""

    #: (mean of A in B − mean of B in A) / their sum, from −1 to 1: above 0, A in B takes longer.
    index: float
    #: Bootstrap interval of 95 %, by percentiles.
    lower: float
    upper: float


def asymmetry_index(a_in_b: Any, b_in_a: Any, *, n_bootstraps: int = 2000, seed: int = 0) -> Asymmetry:
    """Visual search asymmetry from numbers of fixations (or times) until the target is found.

    Formula: ``(mean(A in B) − mean(B in A)) / (mean(A in B) + mean(B in A))``; trials of either kind are
    drawn
    with replacement, apart from one another.

    Parameters
    ----------
    a_in_b, b_in_a : arrays, trials
        Not negative.
    n_bootstraps : int
    seed : int

    Returns
    -------
    Asymmetry

    Errors: `ValueError` for NaN, negative numbers, fewer than two trials of a kind, zeros only.
    Cost: trials · n_bootstraps. Source: Gupta et al. 2021; specs A2, system 34, and B21.10.

    Examples
    --------
    >>> import stereotax as sx
    >>> found = sx.asymmetry_index([6, 8, 7, 7], [3, 4, 3, 4])
    >>> round(found.index, 6), found.lower > 0
    (0.333333, True)
    """
    sides = []
    for name, values in (("a_in_b", a_in_b), ("b_in_a", b_in_a)):
        x = finite(np.asarray(to_numpy(values, name), dtype=np.float64).ravel()[None], name)[0]
        if x.size < 2 or (x < 0).any() or not x.any():
            raise ValueError(
                f"`{name}` has {x.size} trials, but at least 2 expected, not negative, not all zero"
            )
        sides.append(x)
    n, key = whole(n_bootstraps, "n_bootstraps", 10**6, least=100), whole(seed, "seed", SEED)

    def index(a: Any, b: Any) -> Any:
        return (a - b) / np.maximum(a + b, 1e-300)

    draws = []
    for k, x in enumerate(sides):  # counter-based streams: one per side
        stream = np.random.Generator(np.random.Philox(key=[key, k]))
        draws.append(np.array([x[stream.integers(0, x.size, x.size)].mean() for _ in range(n)]))
    lower, upper = np.percentile(index(*draws), [2.5, 97.5])
    return Asymmetry(float(index(sides[0].mean(), sides[1].mean())), float(lower), float(upper))


def abx_sensitivity(share_correct: float, *, rule: str = "differencing") -> float:
    """d′ from the share of correct answers in an ABX task without bias.

    Formula: with Φ the normal distribution function, share correct is ``Φ(d/√2) Φ(d/k) + Φ(−d/√2) Φ(−d/k)``,
    k = √6 for an observer who compares differences ("differencing"; stimuli vary from trial to trial) and
    k = 2 for one who judges each ("independent"; the two stimuli are fixed). d′ solves it.

    Parameters
    ----------
    share_correct : float
        From 0.5 (chance, d′ = 0; below it 0 is returned) to below 1.
    rule : {"differencing", "independent"}

    Returns
    -------
    float

    Errors: `ValueError` outside 0 to 1. Undefined: 1 has no finite d′ and gives inf. Cost: none.
    Source: Macmillan & Creelman 2005, chapter 9; specs A2, system 77, and B21.10.

    Examples
    --------
    >>> import stereotax as sx
    >>> round(sx.abx_sensitivity(0.75), 2), round(sx.abx_sensitivity(0.75, rule="independent"), 2)
    (2.02, 1.79)
    """
    p = as_number(share_correct, "share_correct")
    k = {"differencing": math.sqrt(6), "independent": 2.0}[
        _choice("rule", rule, ("differencing", "independent"))
    ]
    if not 0 <= p <= 1:
        raise ValueError(f"`share_correct` is {p}, but a share from 0 to 1 expected")
    if p <= 0.5:
        return 0.0

    def normal(z: float) -> float:
        return 0.5 * math.erfc(-z / math.sqrt(2))

    def correct(d: float) -> float:
        return normal(d / math.sqrt(2)) * normal(d / k) + normal(-d / math.sqrt(2)) * normal(-d / k)

    low, high = 0.0, 64.0
    if correct(high) <= p:
        return math.inf
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if correct(middle) < p else (low, middle)
    return (low + high) / 2
