"""Manifolds, trajectories and dimension of real neurons and of trained networks, where a machine has them."""

import os
from pathlib import Path

import numpy as np
import pytest
import stereotax as sx

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("STEREOTAX_DATA", ROOT.parent / "shared" / "data"))
BIN_MS, N_BINS = 25, 20


def folder(name):
    if not (DATA / name).is_dir():
        pytest.skip("the recordings are not here")
    return DATA / name


@pytest.fixture(scope="module")
def rates():
    """Rates (Hz) of 132 neurons × 7 objects × 3 positions × 20 bins of 25 ms, and of both halves."""
    file = np.load(folder("it_neurons_objects_time") / "spikes.npz")
    site, shape = file["trial_site"], (132, 7, 3, N_BINS)
    first = np.searchsorted(site, np.arange(132))
    counts = np.zeros((len(site), N_BINS))
    bins = file["spike_ms"] // BIN_MS
    kept = (bins >= 0) & (bins < N_BINS)
    np.add.at(counts, ((first[file["spike_site"]] + file["spike_trial"])[kept], bins[kept]), 1)
    condition = site, file["trial_object"], file["trial_position"]
    kernel = np.exp(-0.5 * (np.arange(-3, 4) / 1.2) ** 2)

    def mean(trials):
        here = tuple(part[trials] for part in condition)
        sums, n = np.zeros(shape), np.zeros(shape[:3])
        np.add.at(sums, here, counts[trials])
        np.add.at(n, here, 1)
        assert n.min() >= 5
        smooth = np.apply_along_axis(np.convolve, -1, sums / n[..., None], kernel / kernel.sum(), "same")
        return smooth * 1000 / BIN_MS

    even = file["trial_index"] % 2 == 0
    return mean(np.full(len(site), True)), mean(even), mean(~even)


def test_trajectories_of_an_object_stay_together_over_positions(rates):
    every = rates[0]
    order = np.random.default_rng(0).permutation(21)
    mixed = every.reshape(132, 21, N_BINS)[:, order].reshape(every.shape)
    found = sx.tubularity({"objects": every, "mixed": mixed}, n_draws=20, smoothing=0.01, relative=True)
    objects, others = (found.scores.where(population=name) for name in ("objects", "mixed"))
    # A bundle of one object is thin for the room between bundles; one of any three conditions is not.
    assert objects["tightness_contextual_high"][0] < 0.9 < 1.3 < others["tightness_contextual_low"][0]
    assert found.differences["tightness_high"][0] < 0
    assert objects["separation_low"][0] > others["separation_high"][0]


def test_the_encoding_manifold_of_it_is_that_of_other_trials(rates):
    def prepared(half):
        flat = half.reshape(132, 21, N_BINS)
        return flat / np.sqrt((flat**2).sum(axis=(1, 2), keepdims=True))

    even, odd = (prepared(half) for half in rates[1:])
    model = sx.NonNegativeCP(6, n_starts=5, max_iter=300).fit(even)
    here, there = model.transform(even), model.transform(odd)
    assert all(np.corrcoef(a, b)[0, 1] > 0.75 for a, b in zip(here.T, there.T, strict=True))
    manifold = sx.DiffusionMap(5, n_neighbors=20).fit(np.sqrt(here))
    assert manifold.n_parts_ == 1
    overlap = sx.knn_overlap(manifold.embedding_, manifold.transform(np.sqrt(there)))
    assert overlap.overlap > 4 * overlap.chance and overlap.ranks > 0.15


def test_the_dimension_of_v4_does_not_grow_with_noise_where_repeats_tell_it_apart():
    trials = np.load(folder("v4_neurons_images") / "responses_210325.npz")["responses_trials"].astype(float)

    def halves(n):
        first = [[x[~np.isnan(x)][: 2 * n] for x in neuron] for neuron in trials]
        return (np.array([[x[start::2].mean() for x in neuron] for neuron in first]).T for start in (0, 1))

    of_six, of_two = (sx.participation_ratio(*halves(n)) for n in (3, 1))
    alone = [sx.participation_ratio(next(iter(halves(n)))) for n in (3, 1)]
    # One trial for three: noise doubles what a single repeat shows, and moves two repeats by a twentieth.
    assert alone[1].both > 1.8 * alone[0].both > 1.8 * 1.7 * of_six.both
    assert of_two.both == pytest.approx(of_six.both, rel=0.06)
    assert 20 < of_six.both < 28


def convolved(frames, kernel, stride):
    """Frames × height × width × channels with zeros around, as TensorFlow's "same"."""
    height, width = (-(-side // stride) for side in frames.shape[1:3])
    extra = [
        max((n - 1) * stride + 3 - side, 0)
        for n, side in zip((height, width), frames.shape[1:3], strict=True)
    ]
    frames = np.pad(frames, ((0, 0), *((e // 2, e - e // 2) for e in extra), (0, 0)))
    shifted = (
        frames[:, i : i + stride * height : stride, j : j + stride * width : stride] @ kernel[i, j]
        for i in range(3)
        for j in range(3)
    )
    return sum(shifted)


def first_layer(name):
    """Kernel (3 × 3 × colours × units) and what a frame of grey levels makes of it."""
    file = np.load(folder("networks") / name / "weights.npz")
    kernel, norm, stride = {
        "darknet_tiny": ("conv2d_1/kernel", "batch_normalization_1", 1),
        "mobilenet_v1_075": ("conv1/kernel", "conv1_bn", 2),
    }[name]

    def run(frames):
        scaled = frames / 255.0 if stride == 1 else frames / 127.5 - 1
        y = convolved(scaled[..., None] * np.ones(3), file[kernel], stride)
        gain = file[f"{norm}/gamma"] / np.sqrt(file[f"{norm}/moving_variance"] + 1e-3)
        y = (y - file[f"{norm}/moving_mean"]) * gain + file[f"{norm}/beta"]
        return np.where(y > 0, y, 0.1 * y) if stride == 1 else np.clip(y, 0, 6)

    return file[kernel], run


@pytest.mark.parametrize(("name", "periods"), [("darknet_tiny", (4, 8, 16)), ("mobilenet_v1_075", (8, 16))])
def test_first_layers_prefer_the_orientations_of_their_kernels(name, periods):
    kernel, run = first_layer(name)
    directions = np.arange(0, 360, 45.0)
    maps = {}
    for period in periods:
        clips = (
            sx.gratings(size=(48, 48), n_frames=8, period_px=period, direction=d, speed_px=period / 8)
            for d in directions
        )
        peaks = [run(clip.astype(float))[:, 4:-4, 4:-4].max(axis=(1, 2)).T for clip in clips]
        maps[f"{period} px"] = np.stack(peaks, axis=1)
    responses = sx.ResponseTensor.from_activations(maps, directions=directions, bin_s=0.1)
    mean = responses.values.mean(axis=3)
    # A layer that sees one frame at a time cannot tell a direction from its opposite.
    assert np.abs(mean[..., :4] - mean[..., 4:]).max() < 0.12 * mean.max()
    table = sx.tuning(responses)
    assert np.nanmedian(table["direction_selectivity"]) < 0.01

    # The amplitude with which a kernel meets a grating, by its Fourier transform.
    places = np.argwhere(np.ones((3, 3))).reshape(3, 3, 2) - 1.0
    turn = np.deg2rad(directions[:4])
    for k, period in enumerate(periods):
        waves = np.exp(2j * np.pi * (places @ np.array([-np.sin(turn), np.cos(turn)]) / period))
        amplitudes = np.abs(np.einsum("ijd,iju->ud", waves, kernel.sum(axis=2)))
        tuned = (mean[:, k, :4] + mean[:, k, 4:]) / 2
        selective = np.ptp(tuned, axis=1) > 0.05 * tuned.max()
        assert selective.sum() >= 4
        agreement = [
            np.corrcoef(a, b)[0, 1] for a, b in zip(tuned[selective], amplitudes[selective], strict=True)
        ]
        assert np.median(agreement) > 0.95, (name, period, agreement)
