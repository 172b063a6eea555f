"""Retrieval scores, by loops over their definitions."""

import numpy as np
import pytest
import stereotax as sx
from sklearn.metrics.pairwise import cosine_similarity

RNG = np.random.default_rng(0)
OBSERVED = RNG.normal(size=(30, 12))
PREDICTED = OBSERVED + 2.5 * RNG.normal(size=(30, 12))


def similarities(kind):
    if kind == "cosine":
        return cosine_similarity(PREDICTED, OBSERVED)
    return np.corrcoef(PREDICTED, OBSERVED)[:30, 30:]


@pytest.mark.parametrize("kind", ["cosine", "pearson"])
def test_scores_equal_loops(kind):
    C = similarities(kind)
    pairs = [(i, j) for j in range(30) for i in range(j)]
    won = np.mean([C[i, i] + C[j, j] > C[i, j] + C[j, i] for i, j in pairs])
    found = sx.two_vs_two(PREDICTED, OBSERVED, similarity=kind, n_permutations=0)
    assert found.accuracy == pytest.approx(won) and found.n_pairs == 435 and np.isnan(found.p_value)
    forward = 1 + (C >= np.diag(C)[:, None]).sum(axis=1) - 1
    backward = 1 + (C >= np.diag(C)[None]).sum(axis=0) - 1
    ranks = sx.rank_accuracy(PREDICTED, OBSERVED, similarity=kind)
    np.testing.assert_array_equal(ranks.ranks, forward)
    assert ranks.accuracy == pytest.approx(1 - (forward.mean() - 1) / 29)
    top = sx.top_k_retrieval(PREDICTED, OBSERVED, k=[1, 5], similarity=kind)
    for direction, expected in (("forward", forward), ("backward", backward)):
        rows = top.accuracies.where(direction=direction)
        np.testing.assert_allclose(rows["accuracy"], [(expected <= 1).mean(), (expected <= 5).mean()])
        np.testing.assert_allclose(rows["chance"], [1 / 30, 5 / 30])
        row = top.ranks.where(direction=direction)
        assert row["mean_rank"][0] == pytest.approx(expected.mean())
        assert row["mean_reciprocal_rank"][0] == pytest.approx((1 / expected).mean())


def test_drawn_candidates_approach_the_exact_mean():
    C = similarities("cosine")
    exact = sx.top_k_retrieval(PREDICTED, OBSERVED, k=1, n_candidates=8).accuracies["accuracy"][0]
    hits = []
    for _ in range(4000):
        i = RNG.integers(30)
        rivals = RNG.choice(np.delete(np.arange(30), i), 7, replace=False)
        hits.append((C[i, rivals] < C[i, i]).all())
    assert np.mean(hits) == pytest.approx(exact, abs=4 * np.std(hits) / np.sqrt(4000))


def test_repeated_stimuli_are_no_rivals():
    twice = np.repeat(np.arange(15), 2)
    observed = OBSERVED[::2].repeat(2, axis=0)
    alone = sx.top_k_retrieval(observed, observed, k=1).accuracies["accuracy"]
    np.testing.assert_array_equal(alone, [0, 0])  # every twin is a tie
    together = sx.top_k_retrieval(observed, observed, k=1, stimuli=twice).accuracies
    np.testing.assert_array_equal(together["accuracy"], [1, 1])
    np.testing.assert_allclose(together["chance"], 1 / 29)
    assert sx.two_vs_two(observed, observed, stimuli=twice).n_pairs == 15 * 14 // 2 * 4


def test_a_predictor_without_variation_scores_nothing():
    constant = np.ones((30, 12))
    assert sx.two_vs_two(constant, OBSERVED).accuracy == 0
    assert sx.two_vs_two(constant, OBSERVED, similarity="pearson").n_undefined == 435
    backward = sx.top_k_retrieval(constant, OBSERVED, k=5).accuracies.where(direction="backward")
    assert backward["accuracy"][0] == 0 and backward["p_value"][0] == 1


def test_every_argument_matters():
    def p_values(**change):
        told = {"n_permutations": 99, "seed": 1, **change}
        return [
            sx.two_vs_two(PREDICTED, OBSERVED, **told).null_q95,
            sx.rank_accuracy(PREDICTED, OBSERVED, **told).null_q95,
            sx.top_k_retrieval(PREDICTED, OBSERVED, **told).accuracies["null_q95"].sum(),
        ]

    base = p_values()
    pairs = [0, 0, *range(28)]
    for change in ({"seed": 2}, {"n_permutations": 19}, {"similarity": "pearson"}, {"stimuli": pairs}):
        assert p_values(**change) != base
    found = sx.two_vs_two(PREDICTED, OBSERVED)
    assert found.p_value == pytest.approx(1 / 1000) and found.chance == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sx.two_vs_two(PREDICTED, OBSERVED[:20]), "30 × 12 values"),
        (lambda: sx.two_vs_two(PREDICTED, OBSERVED, similarity="dot"), "one of `cosine`, `pearson`"),
        (lambda: sx.rank_accuracy(PREDICTED, OBSERVED, stimuli=["a"] * 30), "2 different stimuli"),
        (lambda: sx.top_k_retrieval(PREDICTED, OBSERVED, k=31), "from 1 to 30"),
        (lambda: sx.top_k_retrieval(PREDICTED, OBSERVED, k=[0]), "from 1"),
        (lambda: sx.top_k_retrieval(PREDICTED, OBSERVED, n_candidates=40), "from 2 to 30"),
        (lambda: sx.two_vs_two(PREDICTED * np.nan, OBSERVED), "row 0, column 0"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
