"""Non-negative CP beside tensorly and tensortools: the same objective, the same components.

Their error is the root of ours. Where there is one minimum to find, all three find it; on noise ours is no
worse.
"""

import numpy as np
import pytest
import stereotax as sx


def planted(noise, shape=(30, 8, 20), rank=3, seed=0):
    rng = np.random.default_rng(seed)
    factors = [rng.exponential(size=(n, rank)) * (rng.uniform(size=(n, rank)) > 0.3) for n in shape]
    clean = np.einsum("ir,jr,kr->ijk", *factors)
    return clean + noise * clean.mean() * np.abs(rng.normal(size=clean.shape)), factors


def similarity(ours, theirs):
    """Products of cosines of the best pairs, blind to order and scale."""
    product = 1.0
    for a, b in zip(ours, theirs, strict=True):
        product = product * ((a / np.linalg.norm(a, axis=0)).T @ (b / np.linalg.norm(b, axis=0)))
    return product.max(axis=1)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_tensorly_hals_finds_the_same_components(noise):
    decomposition = pytest.importorskip("tensorly.decomposition")
    X, _ = planted(noise)
    ours = sx.NonNegativeCP(rank=3, n_starts=8, max_iter=3000, tol=1e-12).fit(X)
    weights, factors = decomposition.non_negative_parafac_hals(
        X, rank=3, n_iter_max=300, tol=1e-9, init="svd"
    )
    model = np.einsum("r,ir,jr,kr->ijk", weights, *factors)
    theirs = ((X - model) ** 2).sum() / (X**2).sum()
    assert ours.error_ <= theirs * (1 + 1e-4) + 1e-9
    assert (similarity(ours.factors_, factors) > 0.999).all()


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_tensortools_hals_finds_the_same_components(noise):
    tt = pytest.importorskip("tensortools")
    X, _ = planted(noise)
    ours = sx.NonNegativeCP(rank=3, n_starts=8, max_iter=3000, tol=1e-12).fit(X)
    fits = [tt.ncp_hals(X, rank=3, random_state=s, max_iter=500, tol=1e-9, verbose=False) for s in range(3)]
    best = min(fits, key=lambda fit: fit.obj)
    assert np.sqrt(ours.error_) <= best.obj * (1 + 1e-4) + 1e-5
    assert (similarity(ours.factors_, best.factors.factors) > 0.999).all()


def test_one_direction_of_the_shift_invariant_fit_is_theirs():
    decomposition = pytest.importorskip("tensorly.decomposition")
    X, _ = planted(0.3)
    ours = sx.ShiftInvariantCP(rank=3, n_starts=8, max_iter=3000, tol=1e-12).fit(X[:, :, None])
    weights, factors = decomposition.non_negative_parafac_hals(
        X, rank=3, n_iter_max=300, tol=1e-9, init="svd"
    )
    model = np.einsum("r,ir,jr,kr->ijk", weights, *factors)
    assert ours.error_ <= ((X - model) ** 2).sum() / (X**2).sum() * (1 + 1e-4)
