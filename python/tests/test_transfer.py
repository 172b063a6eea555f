"""Transfer between modalities, on weights of known overlap."""

import numpy as np
import pytest
import stereotax as sx

P, V = 10, 40


def modalities(overlap, seed=0, n=(400, 300)):
    rng = np.random.default_rng(seed)
    common, own = rng.normal(size=(2, P, V))
    weights = [common, overlap * common + np.sqrt(1 - overlap**2) * own]
    out = {}
    for k, (name, w) in enumerate(zip(("stories", "movies"), weights, strict=True)):
        X = rng.normal(size=(n[k], P))
        Y = X @ w + np.sqrt(P) * rng.normal(size=(n[k], V))
        out[name] = (5 * k + X, 10 * k + (1 + k) * Y)  # other levels and scales
    return out


def test_cross_scores_are_proportional_to_the_overlap():
    for overlap in (-0.7, 0.0, 0.5, 1.0):
        scores = sx.transfer_matrix(modalities(overlap), n_permutations=0).scores
        across = scores.where(train="stories", test="movies")
        assert across["ratio"][0] == pytest.approx(overlap, abs=0.15)
        within = scores.where(train="movies", test="movies")
        assert within["ratio"][0] == 1 and within["r"][0] == pytest.approx(np.sqrt(0.5), abs=0.1)
        assert np.isnan(scores["p_value"]).all()


def test_scores_are_correlations_within_test_folds():
    data = modalities(0.5)
    runs = {"stories": np.repeat(list("abcd"), 100), "movies": np.repeat(list("xyz"), 100)}
    found = sx.transfer_matrix(data, runs=runs, n_permutations=0, alphas=[0.1])

    def z(values, labels):
        out = np.empty_like(values)
        for label in np.unique(labels):
            part = values[labels == label]
            out[labels == label] = (part - part.mean(axis=0)) / part.std(axis=0)
        return out

    (X, Y), (U, R) = ([z(part, runs[name]) for part in data[name]] for name in data)
    predicted = U @ sx.RidgeCV([0.1]).fit(X, Y).coef_
    slow = [
        np.mean(
            [
                np.corrcoef(predicted[runs["movies"] == r, v], R[runs["movies"] == r, v])[0, 1]
                for r in "xyz"
            ]
        )
        for v in range(V)
    ]
    np.testing.assert_allclose(found.r["stories", "movies"], slow, atol=1e-9)
    W, M = (w - w.mean(axis=1, keepdims=True) for w in (
        sx.RidgeCV([0.1]).fit(X, Y).coef_, sx.RidgeCV([0.1]).fit(U, R).coef_))  # fmt: skip
    basis = np.linalg.svd(W)[0]
    share = found.shared.where(train="stories", test="movies", dimensions=2)["share"][0]
    assert share == pytest.approx(np.linalg.norm(basis[:, :2].T @ M) ** 2 / np.linalg.norm(M) ** 2)
    assert found.shared["dimensions"].max() == 10  # no more than units


def test_block_permutations_find_transfer_and_no_more():
    found = sx.transfer_matrix(modalities(0.6), n_permutations=199, seed=1).scores
    assert (found["p_value"] <= 0.005).all()
    # Noise, not other weights: two random vectors of ten weights resemble each other by chance.
    nulls = []
    for seed in range(10):
        data = modalities(0.0, seed)
        data["movies"] = (data["movies"][0], np.random.default_rng(seed + 99).normal(size=(300, V)))
        nulls.append(sx.transfer_matrix(data, n_permutations=99, seed=seed))
    p = np.concatenate([null.p_values["stories", "movies"] for null in nulls])
    assert 0.12 < (p <= 0.2).mean() < 0.28


def test_arguments_matter():
    data = modalities(0.3)
    base = sx.transfer_matrix(data, n_permutations=19, seed=1)
    for change in ({"seed": 2}, {"block": 3}, {"n_folds": 4}, {"alphas": [1e6]}):
        told = {"n_permutations": 19, "seed": 1, **change}
        assert repr(sx.transfer_matrix(data, **told).to_dict()) != repr(base.to_dict()), change


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: sx.transfer_matrix({"stories": d["stories"]}), "2 modalities"),
        (lambda d: sx.transfer_matrix({**d, "movies": (d["movies"][0][:, :3], d["movies"][1])}), "10 units"),
        (lambda d: sx.transfer_matrix({**d, "movies": (d["movies"][0][:9], d["movies"][1])}), "as many rows"),
        (lambda d: sx.transfer_matrix(d, n_folds=1), "from 2"),
        (lambda d: sx.transfer_matrix({**d, "movies": (d["movies"][0] * np.nan, d["movies"][1])}), "row 0"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(modalities(0.5))


def test_delayed_features_meet_delayed_responses():
    rng = np.random.default_rng(4)
    W = rng.normal(size=(P, V))
    runs = np.repeat(list("abcd"), 60)
    data = {}
    for name in ("stories", "movies"):
        X = rng.normal(size=(240, P))
        late = np.vstack([np.vstack([np.zeros((2, P)), X[runs == r][:-2]]) for r in "abcd"])
        data[name] = (X, late @ W + rng.normal(size=(240, V)))
    labels = {name: runs for name in data}
    scores = {
        delays: sx.transfer_matrix(data, runs=labels, delays=delays, n_permutations=0).scores.where(
            train="stories", test="movies"
        )["r"][0]
        for delays in [(), (1, 2, 3, 4), (2,)]
    }
    assert abs(scores[()]) < 0.2 and scores[1, 2, 3, 4] > 0.85 and scores[2,] >= scores[1, 2, 3, 4] - 0.02
    with pytest.raises(ValueError, match="ascend"):
        sx.transfer_matrix(data, runs=labels, delays=(2, 1))
