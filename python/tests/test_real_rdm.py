"""RDMs of real recordings, where a machine has them, beside the numbers that came with them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import stereotax as sx

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("STEREOTAX_DATA", ROOT.parent / "shared" / "data"))


def folder(name):
    if not (DATA / name).is_dir():
        pytest.skip("the recordings are not here")
    return DATA / name


def test_rdms_of_activations_are_those_that_are_stored():
    data = folder("images92_it")
    activations = np.load(data / "activations_mobilenet_v1_075.npz")
    stored = np.load(data / "rdms_mobilenet_v1_075.npz")
    # The other layers were stored as RDMs of full feature maps, of which the spatial means are kept.
    for layer in ("gap", "logits"):
        found = sx.rdm(activations[layer])
        np.testing.assert_allclose(found.square(), stored[layer], atol=2e-5)


def test_monkey_and_human_it_agree_as_published():
    data = folder("images92_it")
    it = np.load(data / "it_rdms_kriegeskorte2008.npz")
    human, monkey = (sx.RDM.of(it[name]) for name in ("human_it", "monkey_it"))
    numbers = json.loads((data / "reference_numbers.json").read_text())
    pair = np.stack([human.values, monkey.values])
    for score, key in (("pearson", "pearson_monkeyIT_humanIT"), ("spearman", "spearman_monkeyIT_humanIT")):
        movie = sx.RDMMovie(pair, np.arange(2), 92, None, "correlation", None, None, np.zeros(2, int))
        assert movie.generalisation(score)[0, 1] == pytest.approx(numbers[key], abs=1e-10)
    # Kriegeskorte et al. 2008: r = 0.49.
    assert round(numbers["pearson_monkeyIT_humanIT"], 2) == 0.49


def binned(data):
    """Mean rates: trials × bins for every site, and the objects of the trials."""
    spikes = np.load(data / "spikes.npz")
    n_sites = 1 + int(spikes["trial_site"].max())
    begins = np.arange(0, 851, 50)
    sites = []
    for site in range(n_sites):
        objects = spikes["trial_object"][spikes["trial_site"] == site]
        mine = spikes["spike_site"] == site
        counts = np.zeros((len(objects), 1001))
        np.add.at(counts, (spikes["spike_trial"][mine], spikes["spike_ms"][mine].astype(int) + 501), 1)
        sums = counts.cumsum(axis=1)
        sites.append(((sums[:, begins + 150] - sums[:, begins]) / 150, objects))
    return sites


def test_objects_are_decoded_across_time_as_the_peer_decodes_them():
    """Classes with the most correlated training mean, from dissimilarities across times (rows: training)."""
    data = folder("it_neurons_objects_time")
    sites = binned(data)
    expected = json.loads((data / "expected_decoding_neurodecoder.json").read_text())["results"]
    peers = {
        result["zscore_features"]: np.array(result["accuracy_train_by_test"])
        for result in expected.values()
        if result["n_sites"] == 132
    }
    n_bins, n_objects, n_folds = 18, 7, 18
    right = {True: np.zeros((n_bins, n_bins)), False: np.zeros((n_bins, n_bins))}
    rng = np.random.default_rng(0)
    n_runs = 2
    for _ in range(n_runs):
        # (folds, objects, sites, bins): a pseudo-population of single trials.
        trials = np.empty((n_folds, n_objects, len(sites), n_bins))
        for at, (rates, objects) in enumerate(sites):
            for item in range(n_objects):
                chosen = rng.choice(np.flatnonzero(objects == item), n_folds, replace=False)
                trials[:, item, at] = rates[chosen]
        for fold in range(n_folds):
            train = trials[np.arange(n_folds) != fold]
            means = train.mean(axis=0)
            spread, centre = train.std(axis=(0, 1), ddof=1), train.mean(axis=(0, 1))
            test = trials[fold].transpose(2, 0, 1).reshape(n_bins * n_objects, -1)
            for t in range(n_bins):
                for scaled in (True, False):
                    scale = np.where(spread[:, t] > 0, spread[:, t], 1) if scaled else 1
                    shift = centre[:, t] if scaled else 0
                    far = sx.cross_rdm((test - shift) / scale, (means[:, :, t] - shift) / scale)
                    # A trial without any spike has no correlation, and is then a guess.
                    guessed = np.where(np.isnan(far), 2.0, far).argmin(axis=1).reshape(n_bins, n_objects)
                    right[scaled][t] += (guessed == np.arange(n_objects)).mean(axis=1)
    for scaled, count in right.items():
        accuracy = count / (n_runs * n_folds)
        difference = accuracy - peers[scaled]
        # 252 random trials on either side: a standard error of 0.045 at most, over 324 entries.
        assert np.abs(difference).max() < 0.17, np.abs(difference).max()
        assert np.abs(difference).mean() < 0.035 and abs(difference.mean()) < 0.02
    best = right[True] / (n_runs * n_folds)
    assert best[12, 12] == pytest.approx(0.861, abs=0.05)
    assert best[14, 14] == pytest.approx(0.810, abs=0.05)
    assert best[:5, :5].mean() == pytest.approx(1 / 7, abs=0.03)
