"""Layers weighed by their held-out predictions."""

import numpy as np
import pytest
import stereotax as sx
from scipy.optimize import minimize


def planted(seed=0, n=300):
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=(n, p)) for p in (8, 20, 5)]
    y = np.column_stack(
        [layers[0][:, 0], layers[1][:, :2].sum(axis=1), layers[0][:, 1] + layers[2][:, 0], np.zeros(n)]
    )
    y[:, :3] += 0.5 * rng.normal(size=(n, 3))
    return layers, y


def test_weights_are_those_of_scipys_minimiser():
    layers, y = planted()
    stacked = sx.StackedRidgeCV().fit(layers, y)
    for j in range(3):
        errors = np.array([
            y[:, j] - sx.RidgeCV(store_cv_predictions=True).fit(layer, y).cv_predictions_[:, j]
            for layer in layers
        ])
        peer = minimize(
            lambda a, errors=errors: ((a @ errors) ** 2).mean(),
            np.full(3, 1 / 3),
            bounds=[(0, 1)] * 3,
            constraints={"type": "eq", "fun": lambda a: a.sum() - 1},
            tol=1e-12,
        )
        np.testing.assert_allclose(stacked.weights_[:, j], peer.x, atol=1e-4)
    assert np.isnan(stacked.weights_[:, 3]).all()


def test_the_planted_layers_are_found_and_held_out_scores_gain():
    layers, y = planted()
    train, test = slice(0, 200), slice(200, 300)
    stacked = sx.StackedRidgeCV(sx.RidgeCV(cv="loo")).fit([x[train] for x in layers], y[train])
    assert stacked.weights_[0, 0] > 0.9 and stacked.weights_[1, 1] > 0.9
    score = stacked.score([x[test] for x in layers], y[test])
    alone = [sx.RidgeCV().fit(x[train], y[train]).score(x[test], y[test]) for x in layers]
    assert score[2] > max(each[2] for each in alone) + 0.05 and np.isnan(score[3])
    one = sx.StackedRidgeCV(sx.RidgeCV(cv="loo")).fit([x[train] for x in layers], y[train, 0])
    np.testing.assert_allclose(one.predict([x[test] for x in layers]), stacked.predict(
        [x[test] for x in layers])[:, 0])


def test_wrong_layers_are_refused_in_words():
    layers, y = planted()
    with pytest.raises(ValueError, match="a single layer is RidgeCV"):
        sx.StackedRidgeCV().fit(layers[0], y)
    with pytest.raises(ValueError, match="at least one array"):
        sx.StackedRidgeCV().fit([], y)
    stacked = sx.StackedRidgeCV().fit(layers, y)
    with pytest.raises(ValueError, match="3 expected"):
        stacked.predict(layers[:2])
    with pytest.raises(ValueError, match="samples × targets"):
        stacked.score(layers, y[:, :2])
