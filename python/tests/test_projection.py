"""Random projections, against their dense matrices, theory and scikit-learn."""

import numpy as np
import pytest
import stereotax as sx
from sklearn.base import clone
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim

BOTH = [sx.SparseRandomProjection, sx.GaussianRandomProjection]
X = np.random.default_rng(0).normal(size=(60, 4000))


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("layout", ["C", "F", "strided", "reversed"])
def test_a_projection_is_the_product_with_its_matrix(kind, layout):
    taken = {"C": X, "F": np.asfortranarray(X), "strided": np.repeat(X, 2, 1)[:, ::2], "reversed": X[::-1]}
    projection = kind(50, seed=3).fit(taken[layout])
    found = projection.transform(taken[layout])
    assert found.dtype == np.float64 and found.flags.c_contiguous
    np.testing.assert_allclose(found, taken[layout] @ projection.matrix(), rtol=1e-9, atol=1e-9)
    single = projection.transform(taken[layout].astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, found, atol=2e-4 * np.abs(found).max())


@pytest.mark.parametrize("kind", BOTH)
def test_rows_may_come_in_tiles_and_half_precision(kind):
    projection = kind(50).fit(X)
    whole = projection.transform(X)
    tiles = [projection.transform(X[begin : begin + 7]) for begin in range(0, 60, 7)]
    np.testing.assert_array_equal(np.concatenate(tiles), whole)
    half = X.astype(np.float16)
    np.testing.assert_array_equal(projection.transform(half), projection.transform(half.astype(np.float32)))
    assert not np.array_equal(kind(50, seed=1).fit_transform(X), whole)


def test_sizes_are_those_of_scikit_learn():
    for n in (2, 10, 118, 1000, 100_000):
        for eps in (0.05, 0.1, 0.5, 0.9):
            assert sx.johnson_lindenstrauss_size(n, eps) == johnson_lindenstrauss_min_dim(n, eps=eps)
    by_samples = sx.SparseRandomProjection(eps=0.4).fit(X).n_components_
    assert by_samples == johnson_lindenstrauss_min_dim(60, eps=0.4)
    assert sx.SparseRandomProjection(9).fit(X).density_ == SparseRandomProjection(9).fit(X).density_


@pytest.mark.parametrize("kind", BOTH)
def test_distances_are_kept_as_well_as_scikit_learn_keeps_them(kind):
    upper = np.triu_indices(60, 1)

    def spread(Z):
        ratio = (euclidean_distances(Z)[upper] / euclidean_distances(X)[upper]) ** 2
        assert np.abs(ratio - 1).max() < 0.3
        return ratio.std()

    k = sx.johnson_lindenstrauss_size(60, 0.3)
    ours = np.mean([spread(kind(k, seed=seed).fit_transform(X)) for seed in range(5)])
    peers = np.mean([spread(SparseRandomProjection(k, random_state=s).fit_transform(X)) for s in range(5)])
    assert ours == pytest.approx(peers, rel=0.1)
    assert ours == pytest.approx(np.sqrt(2 / k), rel=0.1)  # theory: Var = 2/k


@pytest.mark.parametrize("kind", BOTH)
def test_settings_survive_cloning(kind):
    again = clone(kind(7, seed=5))
    assert again.get_params()["n_components"] == 7 and again.get_params()["seed"] == 5
    with pytest.raises(ValueError, match="not fitted"):
        again.transform(X)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_components": 0}, "from 1"),
        ({"n_components": "many"}, "'auto' expected"),
        ({"n_components": "auto", "eps": 0.05}, "4000 features expected"),
        ({"n_components": "auto", "eps": 1.5}, "between 0 and 1"),
        ({"density": 0.0}, "above 0"),
        ({"density": "some"}, "'auto' expected"),
        ({"seed": -1}, "`seed`"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        sx.SparseRandomProjection(**{"n_components": 5, **settings}).fit(X)


def test_wrong_data_are_refused_and_inputs_are_left_alone():
    projection = sx.SparseRandomProjection(5).fit(X)
    with pytest.raises(ValueError, match="3999 features, but 4000"):
        projection.transform(X[:, 1:])
    bad = X.copy()
    bad[3, 4] = np.nan
    kept = bad.copy()
    with pytest.raises(ValueError, match="row 3, column 4"):
        projection.transform(bad)
    np.testing.assert_array_equal(bad, kept)
    with pytest.raises(ValueError, match="two axes"):
        projection.transform(X[0])
