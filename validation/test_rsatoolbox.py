"""RDMs, their noise and searchlights beside rsatoolbox on the same input.

Its `euclidean` and `mahalanobis` are squared and divided by channels, and its `noise` is a precision. Its
`poisson_cv` returns the last run alone, and its spheres hold voxels outside of the mask: both are shown here.
"""

import warnings

import numpy as np
import pytest
import stereotax as sx
from scipy.spatial.distance import pdist, squareform

rsatoolbox = pytest.importorskip("rsatoolbox")
from rsatoolbox.data import Dataset, TemporalDataset, noise  # noqa: E402
from rsatoolbox.rdm import calc_rdm, calc_rdm_movie  # noqa: E402
from rsatoolbox.rdm.calc_unbalanced import calc_rdm_unbalanced  # noqa: E402


@pytest.fixture(scope="module")
def repeated():
    """8 runs of 12 conditions × 30 channels, and a covariance of the noise."""
    rng = np.random.default_rng(0)
    conditions, runs = np.tile(np.arange(12), 8), np.repeat(np.arange(8), 12)
    patterns = rng.normal(size=(12, 30))
    x = patterns[conditions] + 2 * rng.normal(size=(96, 30)) + 5
    return x, conditions, runs, rng.normal(size=(200, 30)) @ (np.eye(30) + 0.3 * rng.normal(size=(30, 30)))


def dataset(x, conditions, runs):
    return Dataset(x, obs_descriptors={"condition": conditions, "run": runs})


@pytest.mark.parametrize("method", ["correlation", "euclidean", "mahalanobis", "poisson"])
def test_plain_measures(repeated, method):
    x, conditions, runs, residuals = repeated
    x = np.abs(x)
    precision = sx.noise_precision(residuals).to_array() if method == "mahalanobis" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = calc_rdm(dataset(x, conditions, runs), method, descriptor="condition", noise=precision)
    scale = {"squared": True, "per_channel": True} if method in ("euclidean", "mahalanobis") else {}
    ours = sx.rdm(x, method, conditions=conditions, noise=precision, **scale)
    np.testing.assert_allclose(ours.values, peer.dissimilarities[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("method", ["shrinkage_diag", "shrinkage_eye", "full", "diag"])
@pytest.mark.parametrize("few", [False, True])
def test_noise(repeated, method, few):
    residuals = repeated[3][:20] if few else repeated[3]
    if few and method == "full":
        with pytest.raises(ValueError, match="singular"):
            sx.noise_precision(residuals, method=method)
        return
    peer = noise.prec_from_residuals(residuals.copy(), method=method)
    np.testing.assert_allclose(
        sx.noise_precision(residuals, method=method).to_array(), peer, rtol=1e-7, atol=1e-10
    )
    # The rows are those of a model with ten regressors.
    peer = noise.prec_from_residuals(residuals.copy(), dof=len(residuals) - 10, method=method)
    ours = sx.noise_precision(residuals, method=method, dof=len(residuals) - 10).to_array()
    np.testing.assert_allclose(ours, peer, rtol=1e-7, atol=1e-10)


def test_noise_of_measurements(repeated):
    x, conditions, runs, _ = repeated
    peer = noise.prec_from_unbalanced(dataset(x, conditions, runs), "condition", method="shrinkage_diag")
    ours = sx.noise_precision(x, conditions=conditions)
    np.testing.assert_allclose(ours.to_array(), peer, rtol=1e-7, atol=1e-10)


def test_crossnobis_of_complete_designs(repeated):
    x, conditions, runs, residuals = repeated
    precision = sx.noise_precision(residuals).to_array()
    peer = calc_rdm(
        dataset(x, conditions, runs),
        "crossnobis",
        descriptor="condition",
        cv_descriptor="run",
        noise=precision,
    ).dissimilarities[0]
    for pairing in ("shared_runs", "shared_runs_by_measurements", "all_measurements"):
        ours = sx.crossnobis(x, conditions, runs, noise=precision, pairing=pairing)
        np.testing.assert_allclose(ours.values, peer, rtol=1e-8, atol=1e-9)


def test_crossnobis_of_unbalanced_designs(repeated):
    x, conditions, runs, residuals = repeated
    kept = np.random.default_rng(1).uniform(size=96) > 0.3
    kept[:12] = True
    x, conditions, runs = x[kept], conditions[kept], runs[kept]
    precision = sx.noise_precision(residuals).to_array()
    peer = calc_rdm_unbalanced(
        dataset(x, conditions, runs),
        "crossnobis",
        descriptor="condition",
        cv_descriptor="run",
        noise=precision,
    ).dissimilarities[0]
    ours = sx.crossnobis(x, conditions, runs, noise=precision, pairing="all_measurements")
    np.testing.assert_allclose(ours.values, peer, rtol=1e-7, atol=1e-8)
    # What a run adds to all its patterns moves the peer's estimates, and not those from shared runs.
    moved = x + 3 * np.random.default_rng(2).normal(size=(8, 30))[runs]
    shared, all_ = (
        [sx.crossnobis(y, conditions, runs, noise=precision, pairing=pairing).values for y in (x, moved)]
        for pairing in ("shared_runs", "all_measurements")
    )
    np.testing.assert_allclose(*shared, atol=1e-9)
    assert np.abs(all_[0] - all_[1]).max() > 0.1


def test_its_cross_validated_poisson_divergence_is_that_of_the_last_run(repeated):
    x, conditions, runs, _ = repeated
    x, runs = np.abs(x)[:36], runs[:36]
    conditions = conditions[:36]

    def peer(runs):
        return calc_rdm(
            dataset(x, conditions, runs), "poisson_cv", descriptor="condition", cv_descriptor="run"
        ).dissimilarities[0]

    ours = sx.rdm(x, "poisson", conditions=conditions, runs=runs).values
    # With each run last once, the mean of its three answers is ours.
    three = [peer((runs + shift) % 3) for shift in range(3)]
    np.testing.assert_allclose(np.mean(three, axis=0), ours, rtol=1e-9, atol=1e-11)
    assert np.abs(three[0] - three[1]).max() > 0.01


def test_movies():
    cube = np.random.default_rng(3).normal(size=(8, 15, 10))
    temporal = TemporalDataset(cube, time_descriptors={"time": np.arange(10)})
    bins = [np.arange(0, 4), np.arange(3, 7), np.arange(6, 10)]
    peer = calc_rdm_movie(temporal, method="correlation", bins=bins).dissimilarities
    np.testing.assert_allclose(sx.rdm_movie(cube, window=4, step=3).values, peer, atol=1e-12)


def test_searchlights_inside_a_full_mask_and_at_its_edge():
    from rsatoolbox.inference import eval_fixed
    from rsatoolbox.model import ModelFixed
    from rsatoolbox.util.searchlight import (
        evaluate_models_searchlight,
        get_searchlight_RDMs,
        get_volume_searchlight,
    )

    rng = np.random.default_rng(4)
    mask = np.ones((8, 8, 8), bool)
    x = rng.normal(size=(9, 512))
    # Its radius is exclusive.
    centres, neighbours = get_volume_searchlight(mask, radius=2.5, threshold=1.0)
    peer = get_searchlight_RDMs(x, centres, neighbours, np.arange(9), method="correlation")
    ours = sx.searchlight(x, mask=mask, radius=2.45, min_share=1)
    kept = np.isin(centres, ours.centres)
    np.testing.assert_allclose(ours.values, peer.dissimilarities[kept], atol=1e-12)
    model = squareform(pdist(rng.normal(size=(9, 3))))
    scores = evaluate_models_searchlight(peer, ModelFixed("m", model), eval_fixed, method="spearman")
    peers = np.array([score.evaluations.item() for score in scores])[kept]
    ours = sx.searchlight(x, model, mask=mask, radius=2.45, min_share=1)
    np.testing.assert_allclose(ours.values[:, 0], peers, atol=1e-12)
    # With a hole in the mask its spheres hold the voxel that is not there.
    mask[4, 4, 4] = False
    _, neighbours = get_volume_searchlight(mask, radius=2.5, threshold=0.5)
    hole = np.ravel_multi_index((4, 4, 4), mask.shape)
    assert any(hole in list_ for list_ in neighbours)
    light = sx.searchlight(x[:, mask.ravel()], mask=mask, radius=2.45)
    assert light.n_channels.max() == 81 and light.n_columns == 511
