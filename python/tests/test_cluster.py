"""Cluster tests, against scipy's connected components and sums by hand."""

import numpy as np
import pytest
import stereotax as sx
from scipy import ndimage, stats


def maps(n=14, shape=(6, 7, 5), seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, *shape))
    values[:, 1:4, 1:4, 1:4] += 1.3
    return values


@pytest.mark.parametrize(("connectivity", "order"), [(6, 1), (18, 2), (26, 3)])
def test_clusters_are_those_of_scipy(connectivity, order):
    values = maps()
    mask = np.random.default_rng(1).uniform(size=values.shape[1:]) > 0.2
    test = sx.cluster_test(
        values[:, mask], mask=mask, connectivity=connectivity, threshold=1.5, n_permutations=19
    )
    t = np.zeros(mask.shape)
    t[mask] = stats.ttest_1samp(values[:, mask], 0).statistic
    np.testing.assert_allclose(test.statistic, t[mask], rtol=1e-10)
    structure = ndimage.generate_binary_structure(3, order)
    masses = []
    for sign in (1, -1):
        labels, count = ndimage.label(sign * t > 1.5, structure)
        masses += [(sign * t - 1.5)[labels == k].sum() for k in range(1, count + 1)]
    np.testing.assert_allclose([c.mass for c in test.clusters], sorted(masses, reverse=True), rtol=1e-9)


def test_null_maps_surfaces_and_areas():
    # Two triangles side by side, and a vertex of its own.
    faces = np.array([[0, 1, 2], [1, 2, 3]])
    observed = np.array([3.0, 2.0, 0.5, 2.5, 1.0])
    null = np.array([[0.1, 0.1, 0.1, 0.1, 5.0], [0.0, 0.0, 0.0, 0.0, 0.1], [0.0, 2.2, 0.0, 2.2, 0.0]])
    test = sx.cluster_test(observed, null=null, faces=faces, threshold=1.5, sides="greater")
    assert [c.vertices.tolist() for c in test.clusters] == [[0, 1, 3]]
    assert test.clusters[0].mass == 3.0 and test.clusters[0].p_mass == 0.5
    assert test.p_values.tolist() == [0.5, 0.75, 0.75, 0.5, 0.75]
    # Alone: ∫_0^1 h² dh. At vertex 2: four vertices up to 0.5.
    assert test.tfce[4] == pytest.approx(1 / 3) and test.tfce[2] == pytest.approx(4 * 0.5**3 / 3)
    areas = sx.cluster_test(observed, null=null, faces=faces, threshold=1.5, areas=[1, 1, 1, 1, 2])
    assert areas.tfce[4] == pytest.approx(2 / 3)
    by_edges = sx.cluster_test(
        observed, null=null, edges=[[0, 1], [0, 2], [2, 1], [1, 3], [3, 2]], threshold=1.5, sides="greater"
    )
    np.testing.assert_array_equal(by_edges.tfce_p_values, test.tfce_p_values)


def test_seeds_decide_and_refusals():
    values = maps()[:, :, :, 0].reshape(14, -1)
    mask = np.ones((6, 7, 1), bool)
    one = sx.cluster_test(values, mask=mask, n_permutations=49)
    np.testing.assert_array_equal(
        one.tfce_p_values, sx.cluster_test(values, mask=mask, n_permutations=49).tfce_p_values
    )
    assert not one.exact and one.clusters == []
    assert sx.cluster_test(values[:5], mask=mask).n_permutations == 31
    assert sx.cluster_test(values, mask=mask, n_permutations=9, tfce=False).tfce is None
    with pytest.raises(ValueError, match="42 vertices"):
        sx.cluster_test(values[:, :41], mask=mask)
    with pytest.raises(ValueError, match="6, 18 or 26"):
        sx.cluster_test(values, mask=mask, connectivity=8)
    with pytest.raises(ValueError, match="one of `mask`"):
        sx.cluster_test(values)
    with pytest.raises(ValueError, match="without `null`"):
        sx.cluster_test(values[0], mask=mask)
    with pytest.raises(ValueError, match="above 0"):
        sx.cluster_test(values, mask=mask, threshold=-2.0)
    with pytest.raises(ValueError, match="below 42"):
        sx.cluster_test(values, faces=[[0, 1, 42]])
