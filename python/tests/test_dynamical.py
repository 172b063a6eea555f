"""Dynamical similarity: systems whose distance is known, brute force, and what is refused."""

import numpy as np
import pytest
import stereotax as sx
from scipy.optimize import linear_sum_assignment
from scipy.stats import ortho_group


def recorded(a, n_trials=6, n_times=60, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    trials = np.zeros((n_trials, n_times, len(a)))
    trials[:, 0] = rng.normal(size=(n_trials, len(a)))
    for t in range(1, n_times):
        trials[:, t] = trials[:, t - 1] @ a.T + noise * rng.normal(size=(n_trials, len(a)))
    return trials


def spiral(rates, sizes):
    a = np.zeros((2 * len(rates), 2 * len(rates)))
    for k, (rate, size) in enumerate(zip(rates, sizes, strict=True)):
        c, s = size * np.cos(rate), size * np.sin(rate)
        a[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = [[c, -s], [s, c]]
    return a


def test_an_operator_is_the_formula_of_its_docstring():
    rng = np.random.default_rng(1)
    trials = [rng.normal(size=(n, 3)).cumsum(axis=0) for n in (20, 31, 14)]
    model = sx.DelayDMD(2, lag=3, rank=4, ridge=0.1).fit(trials)
    rows = [np.hstack([x[3:], x[:-3]]) for x in trials]
    u, s, vt = np.linalg.svd(np.vstack(rows), full_matrices=False)
    ends = np.cumsum([len(r) for r in rows])
    parts = [u[end - len(r) : end, :4] for end, r in zip(ends, rows, strict=True)]
    before, after = np.vstack([p[:-1] for p in parts]), np.vstack([p[1:] for p in parts])
    a = np.linalg.solve(before.T @ before + 0.1 * np.eye(4), before.T @ after).T
    signs = np.sign((vt[:4].T * model.directions_).sum(axis=0))
    np.testing.assert_allclose(model.operator_, signs[:, None] * a * signs, atol=1e-10)
    np.testing.assert_allclose(model.singular_values_, s, rtol=1e-10)
    values, vectors = np.linalg.eig(a.T)
    residuals = np.linalg.norm(after @ vectors - before @ vectors * values, axis=0)
    residuals /= np.linalg.norm(before @ vectors, axis=0)
    order = [np.abs(values - z).argmin() for z in model.eigenvalues_]
    np.testing.assert_allclose(model.residuals_, residuals[order], atol=1e-9)
    assert model.rank_ == 4 and model.n_pairs_ == len(before)


def test_identical_data_and_turned_channels_are_at_no_distance():
    rng = np.random.default_rng(2)
    x = recorded(spiral([0.3, 0.9], [0.97, 0.9]), noise=0.3)
    assert sx.dsa(x, x).distance < 1e-10
    for determinant in (1, -1):
        q = ortho_group.rvs(4, random_state=3)
        q[:, 0] *= determinant * np.sign(np.linalg.det(q))
        found = sx.dsa(x, x @ q, rank=4)
        assert found.distance < 1e-8 and found.eigenvalues < 1e-14
        # More channels that say the same, by an isometry.
        wide = x @ np.linalg.qr(rng.normal(size=(9, 4)))[0].T
        assert sx.dsa(x, wide, rank=4).distance < 1e-8
        assert sx.DelayDMD(rank=None).fit(wide).rank_ == 4


def test_a_conjugated_operator_is_found_and_normal_ones_are_as_far_as_their_eigenvalues():
    rng = np.random.default_rng(4)
    a, b = spiral([0.2, 0.7, 1.3], [0.95, 0.9, 0.6]), spiral([0.3, 0.5, 1.9], [0.9, 0.97, 0.7])
    model = sx.DelayDMD(rank=6, ridge=0)
    fits = []
    for k, m in enumerate((a, b)):
        fit = sx.DelayDMD(**model.get_params()).fit(recorded(m, seed=k))
        q = ortho_group.rvs(6, random_state=k)
        fit.operator_ = q @ m @ q.T
        fits.append(fit)
    found = sx.dsa(*fits, distance="euclidean")
    x, y = (np.linalg.eigvals(m) for m in (a, b))
    cost = np.abs(x[:, None] - y[None]) ** 2
    least = cost[linear_sum_assignment(cost)].sum()
    assert found.distance**2 == pytest.approx(least, abs=1e-8)
    assert found.eigenvalues == pytest.approx(least / 6, abs=1e-12)
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(6), atol=1e-12)
    fits[1].operator_ = rng.normal(size=(6, 6))
    other = sx.dsa(*fits, distance="angular")
    moved = other.rotation @ fits[1].operator_ @ other.rotation.T
    cosine = (fits[0].operator_ * moved).sum() / np.linalg.norm(moved) / np.linalg.norm(fits[0].operator_)
    assert other.distance == pytest.approx(np.arccos(cosine), abs=1e-9) and other.bound >= cosine
    assert other.n_starts >= 23 and len(other.maxima) >= 2


def test_unequal_ranks_and_eigenvalues():
    x = recorded(spiral([0.3], [0.97]), noise=0.2)
    y = recorded(spiral([0.3, 1.0], [0.97, 0.8]), noise=0.2, seed=5)
    padded = sx.dsa(x, y, rank=None)
    assert padded.ranks == (2, 4) and 0 < padded.distance < np.pi / 2
    with pytest.raises(ValueError, match="transport"):
        sx.dsa(x, y, rank=None, unequal="refuse")
    found = sx.dsa(x, y, rank=None, distance="eigenvalues_metric")
    assert found.distance == pytest.approx(np.sqrt(found.eigenvalues))


def test_pairs_are_compared_one_by_one():
    systems = {name: recorded(spiral([r], [0.95]), noise=0.3, seed=k)
               for k, (name, r) in enumerate([("a", 0.3), ("b", 0.35), ("c", 1.2)])}  # fmt: skip
    found = sx.pairwise_dsa(systems, rank=2)
    alone = [sx.dsa(systems[i], systems[j], rank=2).distance for i, j in ("ab", "ac", "bc")]
    np.testing.assert_array_equal(found.distances.values, alone)
    assert found.distances.conditions == ["a", "b", "c"] and found.ranks == [2, 2, 2]
    assert (found.gaps > -1e-9).all() and found.n_unconverged == 0
    by_values = sx.pairwise_dsa(list(systems.values()), rank=2, distance="eigenvalues")
    assert by_values.gaps is None and by_values.distances.values[0] < by_values.distances.values[1]


def test_delays_and_rank_are_found_by_prediction():
    rng = np.random.default_rng(0)
    t = np.arange(60)
    phases = rng.uniform(0, 6, size=(12, 2))
    x = np.stack([0.98**t * np.sin(0.5 * t + p) + 0.97**t * np.sin(1.3 * t + q) for p, q in phases])[
        ..., None
    ]
    model = sx.DelayDMD(ridge=0)
    found = model.select(x + 1e-6 * rng.normal(size=x.shape), n_delays=[1, 2, 4], ranks=[1, 2, 4, 8],
                         one_error=True)  # fmt: skip
    assert (model.n_delays, model.rank) == (found.best_n_delays, found.best_rank) == (4, 4)
    assert found.mase.min() < 1e-3 and found.r2.max() > 0.999 and len(found.aic) == len(found.errors)


def test_inference_tells_systems_apart_and_finds_them_alike():
    x = recorded(spiral([0.4], [0.9]), n_trials=8, n_times=30, noise=0.4, seed=1)
    same = recorded(spiral([0.4], [0.9]), n_trials=8, n_times=30, noise=0.4, seed=2)
    other = recorded(spiral([1.0], [0.9]), n_trials=8, n_times=30, noise=0.4, seed=3)
    settings = dict(rank=2, n_splits=5, n_permutations=59, n_surrogates=59, n_bootstraps=59, n_starts=2)
    far, near = sx.dsa(x, other, **settings), sx.dsa(x, same, **settings)
    assert far.exchange.p_value == 1 / 60 and near.exchange.p_value > 0.05
    assert near.surrogates.p_value == 1 / 60 and near.surrogates.z > 2
    assert far.halves.within_x.mean() < 0.5 * far.halves.between.mean() and len(near.halves.between) == 5
    assert far.interval.lower < far.distance < far.interval.upper
    assert sx.dsa(x, other, **settings).exchange.null.tolist() == far.exchange.null.tolist()
    assert sx.dsa(x, other, **settings | {"seed": 1}).exchange.null.tolist() != far.exchange.null.tolist()


def driven(a, b, turn, seed):
    rng = np.random.default_rng(seed)
    u, x = rng.normal(size=(6, 100, b.shape[1])), np.zeros((6, 100, len(a)))
    for t in range(99):
        x[:, t + 1] = x[:, t] @ a.T + u[:, t] @ b.T
    return x @ turn, u


def test_inputs_are_compared_in_their_own_part():
    a, rng = spiral([0.5, 1.1], [0.8, 0.6]), np.random.default_rng(0)
    b, c = rng.normal(size=(4, 2)), rng.normal(size=(4, 2))
    q = ortho_group.rvs(4, random_state=0)
    x, u = driven(a, b, np.eye(4), 0)
    y, w = x @ q, u
    same = sx.input_dsa(x, y, u, w, rank=4)
    assert max(same.joint, same.state, same.input, same.state_alone, same.input_alone) < 1e-6
    z, v = driven(a, c, q, 1)
    found = sx.input_dsa(x, z, u, v, rank=4)
    assert found.joint > 0.1 and found.input_alone > 0.1
    turned = sx.input_dsa(x, x, u, u @ ortho_group.rvs(2, random_state=2), rank=4, rotate_inputs=True)
    assert turned.joint < 1e-5
    with pytest.raises(ValueError, match="has no inputs"):
        sx.input_dsa(x, z)
    with pytest.raises(ValueError, match="time × inputs"):
        sx.input_dsa(x, z, u[:, :50], v)


def test_refusals():
    x = recorded(spiral([0.3], [0.9]))
    with pytest.raises(ValueError, match="not finite"):
        sx.dsa(np.where(np.arange(60)[:, None] == 3, np.nan, x), x)
    with pytest.raises(ValueError, match="61 samples"):
        sx.DelayDMD(60).fit(x)
    with pytest.raises(ValueError, match="2 channels"):
        sx.DelayDMD().fit([x[0], x[1][:, :1]])
    with pytest.raises(ValueError, match="angular"):
        sx.dsa(x, x, distance="wasserstein")
    with pytest.raises(ValueError, match="trials expected"):
        sx.dsa(sx.DelayDMD().fit(x), x, n_bootstraps=9)
    with pytest.raises(ValueError, match="only trials of one kind"):
        sx.dsa(x, x @ np.ones((2, 3)), rank=1, n_permutations=9)
    with pytest.raises(ValueError, match="not fitted"):
        sx.dsa(sx.DelayDMD(), x)
    with pytest.raises(ValueError, match="2 systems"):
        sx.pairwise_dsa([x])
    zero = sx.DelayDMD(rank=2).fit(x)
    zero.operator_ = np.zeros((2, 2))
    assert np.isnan(sx.dsa(zero, x, rank=2).distance)
