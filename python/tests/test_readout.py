"""Readouts of feature maps: planted places and features come back, and each is what its weights say."""

import numpy as np
import pytest
import stereotax as sx
from scipy.ndimage import map_coordinates
from sklearn.base import clone

RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(500, 4, 7, 9))
TOKENS = MAPS.reshape(500, 4, 63).transpose(0, 2, 1)


def blob(x, y, width=1.0):
    rows, columns = np.mgrid[:7, :9]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * width**2))


def centre(mask):
    weight = np.maximum(mask, 0) ** 2
    rows, columns = np.mgrid[:7, :9]
    return (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()


@pytest.mark.parametrize("non_negative", [False, True])
def test_factorised_readouts_find_planted_masks_and_features(non_negative):
    masks, features = np.stack([blob(2.2, 4.6), blob(6.5, 2.0)]), RNG.normal(size=(2, 4))
    y = np.einsum("nchw,thw,tc->nt", MAPS, masks, features) + 3.0
    y += 0.5 * y.std(axis=0) * RNG.normal(size=y.shape)
    readout = sx.FactorisedReadout(alphas=[0.1], smoothness=0.1, non_negative=non_negative).fit(MAPS, y)
    assert readout.masks_.shape == (2, 1, 7, 9) and readout.features_.shape == (2, 1, 4)
    for found, planted, f, planted_f in zip(
        readout.masks_[:, 0], masks, readout.features_[:, 0], features, strict=True
    ):
        np.testing.assert_allclose(centre(found), centre(planted), atol=1.0)
        assert np.corrcoef(f, planted_f)[0, 1] > 0.9
        assert np.linalg.norm(found) == pytest.approx(1)
        assert not non_negative or found.min() >= 0
    slow = np.einsum("nchw,tkhw,tkc->nt", MAPS, readout.masks_, readout.features_) + readout.intercept_
    np.testing.assert_allclose(readout.predict(MAPS), slow, atol=1e-9)
    assert readout.score(MAPS, y).min() > 0.7 and readout.converged_.all()


def test_tokens_are_maps_without_a_grid():
    y = MAPS[:, 0, 2, 3] + 0.1 * RNG.normal(size=500)
    on_maps = sx.FactorisedReadout(alphas=[0.1]).fit(MAPS, y)
    on_tokens = sx.FactorisedReadout(alphas=[0.1]).fit(TOKENS, y)
    np.testing.assert_allclose(on_tokens.predict(TOKENS), on_maps.predict(MAPS), atol=1e-12)
    assert on_tokens.masks_.shape == (1, 1, 63)
    gridded = sx.FactorisedReadout(alphas=[0.1], grid=(7, 9)).fit(TOKENS, y)
    assert gridded.masks_.shape == (1, 1, 7, 9)
    with pytest.raises(ValueError, match="tokens"):
        sx.PointReadout(alphas=[0.1]).fit(TOKENS, y)
    assert sx.PointReadout(alphas=[0.1], grid=(7, 9)).fit(TOKENS, y).predict(TOKENS).shape == (500,)


def test_rank_and_penalty_count():
    y = MAPS[:, 0, 1, 1] + MAPS[:, 1, 5, 7] + 0.3 * RNG.normal(size=500)
    one, two = (sx.FactorisedReadout(rank, alphas=[0.1]).fit(MAPS[:350], y[:350]) for rank in (1, 2))
    assert one.score(MAPS[350:], y[350:]) < 0.7 < 0.85 < two.score(MAPS[350:], y[350:])
    chosen = sx.FactorisedReadout(alphas=[1e-6, 1.0], cv=4).fit(MAPS[:100], RNG.normal(size=100))
    assert chosen.alpha_[0] == 1.0 and chosen.best_score_[0] < 0.3


def test_point_readouts_find_planted_points():
    points, features = np.array([[2.3, 4.4], [7.8, 0.5], [0.0, 6.0]]), RNG.normal(size=(3, 4))
    sampled = [
        [[map_coordinates(c, [[y], [x]], order=1)[0] for c in sample] for sample in MAPS] for x, y in points
    ]
    y = np.einsum("tnc,tc->nt", np.array(sampled), features) + 0.2 * RNG.normal(size=(500, 3))
    readout = sx.PointReadout(alphas=[0.01, 0.1]).fit(MAPS, y)
    at = (readout.position_ + 1) / 2 * [8, 6]
    np.testing.assert_allclose(at, points, atol=0.15)
    assert all(np.corrcoef(f, g)[0, 1] > 0.95 for f, g in zip(readout.features_, features, strict=True))
    assert readout.score(MAPS, y).min() > 0.9


def test_attention_finds_what_it_asks_for():
    a = np.exp(3 * TOKENS[:, :, 0])
    a /= a.sum(axis=1, keepdims=True)
    y = np.stack([(a * TOKENS[:, :, 1]).sum(axis=1), (a * TOKENS[:, :, 2]).sum(axis=1)], axis=1)
    readout = sx.AttentionReadout().fit(TOKENS[:350], y[:350], regions=["V1", "V1"])
    assert readout.score(TOKENS[350:], y[350:]).min() > 0.9
    with pytest.raises(ValueError, match="samples × targets"):
        readout.score(TOKENS[350:], y[350:].T)
    maps = readout.attention_maps(TOKENS)
    assert list(maps) == ["V1"] and np.corrcoef(maps["V1"].ravel(), a.ravel())[0, 1] > 0.9
    np.testing.assert_allclose(maps["V1"].sum(axis=1), 1)
    assert readout.loss_[0] < 0.4 * readout.mean_pool_loss_[0]
    # The definition, from what is fitted.
    z = (TOKENS - TOKENS[:350].mean(axis=(0, 1))) / TOKENS[:350].std(axis=(0, 1))
    logits = z @ readout.queries_[0] / 2
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    slow = np.einsum("np,npc->nc", weights, z) @ readout.coef_ + readout.intercept_
    np.testing.assert_allclose(readout.predict(TOKENS), slow, atol=1e-9)
    assert sx.AttentionReadout(max_iterations=2).fit(MAPS, y).attention_maps(MAPS)["all"].shape == (500, 7, 9)


def test_gates_choose_between_masks():
    maps = MAPS.copy()
    maps[::2, 3] += 2
    maps[1::2, 3] -= 2
    y = np.where(np.arange(500) % 2, maps[:, 0, 1, 1], maps[:, 0, 5, 6]) + 0.1 * RNG.normal(size=500)
    single = sx.GatedMaskReadout(1, penalty=1e-5).fit(maps[:400], y[:400])
    gated = sx.GatedMaskReadout(2, penalty=1e-5).fit(maps[:400], y[:400])
    assert single.score(maps[400:], y[400:]) < 0.7 < 0.85 < gated.score(maps[400:], y[400:])
    assert sorted(np.argmax(gated.masks_["all"].reshape(2, 63), axis=1)) == [10, 51]
    gates = gated.gates(maps)["all"]
    assert gates.shape == (500, 2) and abs(gates[::2].mean(axis=0) - gates[1::2].mean(axis=0)).min() > 0.7


def test_settings_are_those_of_scikit_learn():
    for readout in (
        sx.FactorisedReadout(2, alphas=[1.0]),
        sx.PointReadout(cv=2),
        sx.AttentionReadout(seed=3),
        sx.GatedMaskReadout(3),
    ):
        assert clone(readout).get_params() == readout.get_params()
        with pytest.raises(ValueError, match="not fitted"):
            readout.predict(MAPS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y: sx.FactorisedReadout().fit(MAPS.reshape(500, -1), y), "do not flatten"),
        (lambda y: sx.FactorisedReadout(5, alphas=[1]).fit(MAPS, y), "from 1 to 4"),
        (lambda y: sx.FactorisedReadout(alphas=[-1]).fit(MAPS, y), "positive"),
        (lambda y: sx.FactorisedReadout(alphas=[1], smoothness=1).fit(TOKENS, y), "grid"),
        (lambda y: sx.PointReadout(alphas=[1]).fit(MAPS[:400], y), "400 rows"),
        (lambda y: sx.AttentionReadout().fit(MAPS, y, regions=["a", "b"]), "one per target"),
        (lambda y: sx.AttentionReadout(penalty=-1).fit(MAPS, y), "penalty"),
        (lambda y: sx.GatedMaskReadout(64).fit(MAPS, y), "1 to 63"),
        (lambda y: sx.GatedMaskReadout(1, max_iterations=1).fit(MAPS, y).predict(MAPS[:, :3]), "4 channels"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(RNG.normal(size=500))
