"""Refits to permuted responses, against NumPy and by what they must find."""

import numpy as np
import pytest
import stereotax as sx


def planted(n=80, p=6, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, p))
    responses = rng.normal(size=(n, 5))
    responses[:, 2] += 2 * features[:, 0]
    responses[:, 4] = 3.0
    return features, responses


def gcv(features, y, alphas):
    """1 − GCV(α)/GCV(mean) from the hat matrix itself, the best of the penalties."""
    n = len(y)
    centred = features - features.mean(axis=0)
    gram, mean = centred.T @ centred, np.full((n, n), 1 / n)
    scores = []
    for alpha in alphas:
        hat = mean + centred @ np.linalg.solve(gram + alpha * np.eye(len(gram)), centred.T)
        gcv = ((y - hat @ y) ** 2).sum() / (1 - np.trace(hat) / n) ** 2
        scores.append(1 - gcv / (((y - y.mean()) ** 2).sum() / (1 - 1 / n) ** 2))
    return max(scores)


def test_the_statistic_is_that_of_the_hat_matrix():
    features, responses = planted()
    alphas = [0.5, 20.0, 400.0]
    found = sx.encoding_test(
        features, responses, statistic="gcv", alphas=alphas, alpha_scale="absolute", n_permutations=19
    )
    expected = [gcv(features, responses[:, j], alphas) for j in range(4)]
    np.testing.assert_allclose(found.statistic[:4], expected, rtol=1e-10)
    assert np.isnan(found.statistic[4]) and np.isnan(found.p_adjusted[4])
    assert found.p_value[2] == found.p_adjusted[2] == found.smallest_p == 0.05


@pytest.mark.parametrize("statistic", ["held_out", "gcv"])
def test_single_precision_gives_the_same(statistic):
    features, responses = planted()
    double = sx.encoding_test(features, responses, statistic=statistic, n_permutations=50)
    single = sx.encoding_test(
        features.astype(np.float32), responses.astype(np.float32), statistic=statistic, n_permutations=50
    )
    np.testing.assert_allclose(single.statistic, double.statistic, atol=1e-5)
    np.testing.assert_allclose(single.p_value, double.p_value, atol=0.021)


def test_what_drifts_is_no_evidence_when_time_is_shifted():
    # Slow features and slow responses of no relation: moving samples one by one takes each for independent.
    rng = np.random.default_rng(1)

    def slow(columns):
        steps = rng.normal(size=(300, columns))
        return np.array([np.convolve(steps[:, j], np.ones(25), "same") for j in range(columns)]).T

    features, responses = slow(4), slow(60)
    groups = np.repeat(np.arange(6), 50)
    common = {"groups": groups, "n_permutations": 99}
    moved = sx.encoding_test(features, responses, **common)
    shifted = sx.encoding_test(features, responses, scheme="shift", **common)
    assert (moved.p_value <= 0.05).mean() > 0.15 > (shifted.p_value <= 0.05).mean()


def test_blocks_move_as_one_and_runs_stay_apart():
    features, responses = planted()
    blocks = np.repeat(np.arange(20), 4)
    runs = np.repeat(["a", "b"], 40)
    found = sx.encoding_test(features, responses, blocks=blocks, runs=runs, n_permutations=99)
    assert found.p_value[2] == 0.01
    # One block per run: nothing can move, and that is said.
    still = sx.encoding_test(features, responses, blocks=runs, runs=runs, n_permutations=9)
    assert still.p_value[2] == 1.0 and "2 blocks allow only 1 different draws" in still.warning


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"statistic": "loo"}, "held_out, gcv"),
        ({"n_permutations": 0}, "n_permutations"),
        ({"blocks": ["a"] * 79}, "80 ids"),
        ({"blocks": ["a", "b"] * 40}, "stand together"),
        ({"scheme": "shift", "blocks": ["a"] * 80}, "leave one of the two out"),
        ({"scheme": "shift", "min_shift": 60}, "at least 120 samples"),
    ],
)
def test_wrong_input_is_refused_in_words(change, words):
    features, responses = planted()
    with pytest.raises(ValueError, match=words):
        sx.encoding_test(features, responses, **change)
    responses[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN|finite"):
        sx.encoding_test(features, responses)
