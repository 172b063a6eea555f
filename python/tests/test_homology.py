"""Clusters and loops at all scales."""

import numpy as np
import pytest
import stereotax as sx

RNG = np.random.default_rng(5)


def circle(n, noise=0.0):
    turn = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.column_stack([np.cos(turn), np.sin(turn)]) + noise * RNG.normal(size=(n, 2))


def test_points_and_their_distances_give_the_same():
    points = RNG.normal(size=(40, 3))
    square = np.linalg.norm(points[:, None] - points[None], axis=-1)
    condensed = square[np.triu_indices(40, 1)]
    found = sx.persistent_homology(points)
    for given in (square, condensed, sx.RDM.of(condensed)):
        again = sx.persistent_homology(given, metric="precomputed")
        assert again.n_points == found.n_points == 40 and again.n_edges == found.n_edges
        for ours, theirs in zip(found.diagrams, again.diagrams, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-12)
    assert len(sx.persistent_homology(points, max_dimension=0).diagrams) == 1
    # The tree of clusters, by SciPy's rule: n − 1 joins and one cluster that stays.
    clusters = found.diagrams[0]
    assert len(clusters) == 40 and np.isinf(clusters[0, 1]) and (clusters[:, 0] == 0).all()


def test_a_loop_is_found_in_noise_and_a_threshold_leaves_it_without_an_end():
    loops = sx.persistent_homology(circle(80, 0.05)).diagrams[1]
    lengths = loops[:, 1] - loops[:, 0]
    assert lengths[0] > 1.0 and (lengths[1:] < 0.2).all()
    cut = sx.persistent_homology(circle(80), threshold=1.0)
    assert cut.threshold == 1.0 and np.isinf(cut.diagrams[1][0, 1])
    assert np.isnan(cut.entropies[1])


def test_distances_of_diagrams_and_what_one_says():
    a, b = (sx.persistent_homology(circle(50, noise)).diagrams[1] for noise in (0.02, 0.1))
    bottleneck = sx.diagram_distance(a, b)
    orders = [sx.diagram_distance(a, b, kind="wasserstein", order=p) for p in (1.0, 2.0, 8.0)]
    assert 0 < bottleneck <= orders[2] + 1e-12 and orders[2] <= orders[1] <= orders[0]
    assert sx.diagram_distance(a, b, kind="wasserstein", ground="euclidean") >= orders[0] - 1e-12
    assert sx.diagram_distance(a, a) == 0 and sx.diagram_distance([], []) == 0
    # Against nothing: half the longest bar, and half of all.
    assert sx.diagram_distance(a, []) == pytest.approx(np.ptp(a, axis=1).max() / 2)
    assert sx.diagram_distance(a, [], kind="wasserstein") == pytest.approx(np.ptp(a, axis=1).sum() / 2)
    assert sx.betti_curve(a, [-1.0, a[0].mean()]).tolist() == [0, 1]
    assert np.isnan(sx.persistence_entropy([]))
    assert sx.persistence_entropy(b) == pytest.approx(
        -sum(p * np.log(p) for p in np.ptp(b, axis=1) / np.ptp(b, axis=1).sum())
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sx.persistent_homology(np.zeros((0, 2))), "1 point"),
        (lambda: sx.persistent_homology([[np.nan, 1.0]]), "not finite"),
        (lambda: sx.persistent_homology([1.0, np.nan, 2.0], metric="precomputed"), "infinity"),
        (lambda: sx.persistent_homology([1.0, -1.0, 2.0], metric="precomputed"), "-1"),
        (lambda: sx.persistent_homology([1.0, 1.0], metric="precomputed"), "3 distances"),
        (lambda: sx.persistent_homology(np.ones((2, 3)), metric="precomputed"), "points × points"),
        (lambda: sx.persistent_homology([[0.0, 1.0], [2.0, 0.0]], metric="precomputed"), "not symmetric"),
        (lambda: sx.persistent_homology(np.ones((3, 2)), threshold=-1.0), "-1"),
        (lambda: sx.persistent_homology(np.ones((3, 2)), max_dimension=2), "max_dimension"),
        (lambda: sx.diagram_distance([[0.0, 1.0]], [[2.0, 1.0]]), "`b`"),
        (lambda: sx.diagram_distance([[0.0, 1.0, 2.0]], []), "2 \\(birth, death\\)"),
        (lambda: sx.diagram_distance([], [], order=2.0), "wasserstein"),
        (lambda: sx.diagram_distance([], [], kind="wasserstein", order=0.5), "bottleneck"),
    ],
)
def test_what_has_no_answer_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_the_registry_knows_topology_and_ranks():
    x = RNG.normal(size=(30, 5))
    y = x + 0.3 * RNG.normal(size=(30, 5))
    table = sx.compare(x, y, ["rtd_0", "rtd_1", "knn_ranks"], n_permutations=19)
    found = dict(zip(table["measure"], table["value"], strict=True))
    assert 0 < found["rtd_0"] <= found["rtd_1"] and 0 < found["knn_ranks"] < 1
    assert sx.knn_overlap(x, y).ranks == pytest.approx(found["knn_ranks"])


def test_every_argument_changes_the_result():
    points = circle(30, 0.1)
    square = np.linalg.norm(points[:, None] - points[None], axis=-1)
    plain = sx.persistent_homology(square).diagrams[1]
    assert sx.diagram_distance(sx.persistent_homology(square, metric="precomputed").diagrams[1], plain) > 0.1
    a, b = (sx.persistent_homology(circle(30, noise)).diagrams[0] for noise in (0.05, 0.2))
    calls = ({}, {"kind": "wasserstein"}, {"kind": "wasserstein", "order": 3.0})
    values = [sx.diagram_distance(a, b, **call) for call in calls]
    values.append(sx.diagram_distance(a, b, kind="wasserstein", ground="euclidean"))
    assert len(set(np.round(values, 9))) == 4
