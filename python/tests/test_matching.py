"""Matching of units, against scipy's assignment and linear programme."""

import numpy as np
import pytest
import stereotax as sx
from scipy.optimize import linear_sum_assignment, linprog
from sklearn.model_selection import KFold


def data(n=60, n_units=7, n_targets=5, seed=0):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, 4))
    X = hidden @ rng.normal(size=(4, n_units)) + rng.normal(size=(n, n_units))
    return X, hidden @ rng.normal(size=(4, n_targets)) + rng.normal(size=(n, n_targets))


def correlations(X, y):
    return np.corrcoef(X.T, y.T)[: X.shape[1], X.shape[1] :]


@pytest.mark.parametrize("kind", ["best", "one_to_one"])
def test_pairs_and_scores_by_hand(kind):
    X, y = data()

    def pair(rows):
        r = correlations(X[rows], y[rows])
        if kind == "best":
            return r.argmax(axis=0)
        units, targets = linear_sum_assignment(-r)
        return units[np.argsort(targets)]

    found = sx.match_units(X, y, kind=kind, cv=4)
    np.testing.assert_array_equal(found.units, pair(np.arange(60)))
    scores = [correlations(X[test], y[test])[pair(train), range(5)] for train, test in KFold(4).split(X)]
    np.testing.assert_allclose(found.scores, np.mean(scores, axis=0), rtol=1e-12)


@pytest.mark.parametrize(("n_units", "n_targets"), [(5, 5), (7, 5), (4, 6)])
def test_soft_matching_is_a_linear_programme(n_units, n_targets):
    X, y = data(n_units=n_units, n_targets=n_targets)
    found = sx.match_units(X, y, kind="soft")
    np.testing.assert_allclose(found.plan.sum(axis=1), 1 / n_units)
    np.testing.assert_allclose(found.plan.sum(axis=0), 1 / n_targets)
    rows = np.kron(np.eye(n_units), np.ones(n_targets))
    columns = np.kron(np.ones(n_units), np.eye(n_targets))
    sums = np.r_[np.full(n_units, 1 / n_units), np.full(n_targets, 1 / n_targets)]
    least = linprog(-correlations(X, y).ravel(), A_eq=np.vstack([rows, columns]), b_eq=sums)
    assert found.similarity == pytest.approx(-least.fun, rel=1e-9)
    if n_units == n_targets:
        one = sx.match_units(X, y, kind="one_to_one")
        np.testing.assert_allclose(found.plan, one.plan, atol=1e-15)


def test_refusals():
    X, y = data()
    with pytest.raises(ValueError, match="`kind` is 'all'"):
        sx.match_units(X, y, kind="all")
    with pytest.raises(ValueError, match="held-out"):
        sx.match_units(X, y, cv=30)
    with pytest.raises(ValueError, match="60 rows"):
        sx.match_units(X, y[:50])
