"""Decoders beside scikit-learn, folds, time, transfer, and a recording where a machine has it."""

import inspect
import json

import numpy as np
import pytest
import stereotax as sx
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from test_arguments import recording
from test_real_rdm import binned, folder

RNG = np.random.default_rng(0)
Y = np.repeat(["car", "face", "hand"], 15)


def world(n_features, gain=1.0, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.unique(Y, return_inverse=True)[1]
    return rng.normal(size=(45, n_features)) * 3 + 5 + gain * 3 * (codes[:, None] == np.arange(n_features))


def centred(scores):
    """Without what all classes share, which decides nothing."""
    return scores - scores.mean(axis=1, keepdims=True)


def scores_of(peer, X):
    return X @ peer.coef_.T + peer.intercept_


@pytest.mark.parametrize("n_features", [6, 200])
def test_logistic_regression_is_scikit_learns(n_features):
    X = world(n_features)
    for zscore in (False, True):
        ours = sx.Classifier(c=0.3, zscore=zscore).fit(X, Y)
        scaled = (X - X.mean(0)) / X.std(0) if zscore else X
        peer = LogisticRegression(C=0.3, tol=1e-10, max_iter=20000).fit(scaled, Y)
        assert ours.converged_ and ours.classes_ == peer.classes_.tolist()
        scores = ours.decision_function(X)
        expected = peer.decision_function(scaled)
        # The penalty makes the gradient bound the error of the weights; the peer's is what is left of it.
        np.testing.assert_allclose(centred(scores), centred(expected), atol=2e-5)
        np.testing.assert_allclose(X @ ours.coef_ + ours.intercept_, scores, atol=1e-9)
        assert ours.predict(X).tolist() == peer.predict(scaled).tolist()


@pytest.mark.parametrize("n_features", [6, 200])
def test_the_discriminant_is_scikit_learns(n_features):
    X = world(n_features)
    means = np.stack([X[Y == name].mean(0) for name in Y])
    gamma = LedoitWolf(assume_centered=True).fit(X - means).shrinkage_
    for shrinkage in (0.2, gamma):
        ours = sx.Classifier("discriminant", shrinkage="auto" if shrinkage == gamma else shrinkage).fit(X, Y)
        peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(X, Y)
        np.testing.assert_allclose(centred(ours.decision_function(X)), centred(scores_of(peer, X)), atol=1e-6)
        np.testing.assert_allclose(centred(ours.coef_), centred(peer.coef_.T), rtol=1e-6, atol=1e-9)
    if n_features == 6:
        plain = sx.Classifier("discriminant", shrinkage=0.0).fit(X, Y)
        peer = LinearDiscriminantAnalysis(solver="lsqr").fit(X, Y)
        np.testing.assert_allclose(centred(plain.coef_), centred(peer.coef_.T), rtol=1e-8)
    else:
        with pytest.raises(ValueError, match="singular"):
            sx.Classifier("discriminant", shrinkage=0.0).fit(X, Y)


def test_neighbours_are_scikit_learns_and_ties_go_to_the_first():
    X, new = world(5), world(5, seed=1)
    for k in (1, 3, 5):
        peer = KNeighborsClassifier(k, algorithm="brute").fit(X, Y)
        assert sx.Classifier("neighbours", k=k).fit(X, Y).predict(new).tolist() == peer.predict(new).tolist()
    told = sx.Classifier("neighbours", k=2).fit([[0.0], [2.0]], ["b", "a"]).predict([[1.0]])
    assert told.tolist() == ["a"]


def test_maximum_correlation_is_that_of_numpy():
    X, new = world(7), world(7, seed=1)
    means = np.stack([X[Y == name].mean(0) for name in ("car", "face", "hand")])
    ours = sx.Classifier("maximum_correlation").fit(X, Y)
    expected = np.corrcoef(new, means)[: len(new), len(new) :]
    np.testing.assert_allclose(ours.decision_function(new), expected, atol=1e-12)
    silent = sx.decode(np.vstack([X, np.zeros((3, 7))]), [*Y, "car", "face", "hand"],
                       classifier="maximum_correlation", cv=3)  # fmt: skip
    assert silent.n_undefined == 3 and silent.predictions["predicted"].tolist().count(None) == 3


@pytest.mark.parametrize(
    ("ours", "peer"),
    [
        ("logistic", LogisticRegression(tol=1e-9, max_iter=5000)),
        (sx.Classifier("discriminant", shrinkage=0.3), LinearDiscriminantAnalysis("lsqr", shrinkage=0.3)),
        ("neighbours", KNeighborsClassifier(3, algorithm="brute")),
    ],
)
def test_held_out_predictions_and_confusions_are_those_of_a_loop(ours, peer):
    X = world(60, 0.6)
    folds = list(StratifiedKFold(5, shuffle=True, random_state=1).split(X, Y))
    found = sx.decode(X, Y, classifier=ours, cv=folds)
    told = np.empty(45, dtype=object)
    for train, test in folds:
        told[test] = peer.fit(X[train], Y[train]).predict(X[test])
    np.testing.assert_array_equal(
        found.predictions["predicted"][np.argsort(found.predictions["sample"])], told
    )
    assert found.accuracy == pytest.approx((told == Y).mean(), abs=1e-12)
    for i, a in enumerate(found.classes):
        for j, b in enumerate(found.classes):
            assert found.confusion[i, j] == ((Y == a) & (told == b)).sum()
    # An estimator itself goes the same way.
    same = sx.decode(X, Y, classifier=peer, cv=folds)
    np.testing.assert_array_equal(same.confusion, found.confusion)
    np.testing.assert_allclose(same.fold_accuracies, found.fold_accuracies)


def test_a_support_vector_machine_comes_from_the_library():
    found = sx.decode(world(8, 3.0), Y, classifier="svm")
    assert found.accuracy > 0.9 and np.isnan(found.scores["p_value"]).all()
    with pytest.raises(ValueError, match="n_permutations"):
        sx.decode(world(8), Y, classifier="svm", n_permutations=9)


def test_folds_are_stratified_and_groups_stay_whole():
    groups = np.array([f"clip {i % 9}" for i in range(45)])
    X = world(6)
    by = sx.decode(X, Y, cv=5).predictions
    for fold in range(5):
        assert np.unique(by.where(fold=fold)["observed"], return_counts=True)[1].tolist() == [3, 3, 3]
    whole = sx.decode(X, Y, cv=3, groups=groups).predictions
    assert all(len(set(whole["fold"][groups[whole["sample"]] == name])) == 1 for name in set(groups))
    assert len(sx.decode(X, Y, groups=groups).fold_accuracies) == 9
    given = sx.decode(X, Y, cv=GroupKFold(3), groups=groups)
    assert len(given.fold_accuracies) == 3


def test_permutations_tell_signal_from_noise_and_respect_groups():
    strong = sx.decode(world(8, 2.0), Y, n_permutations=99)
    assert strong.scores["p_value"][0] == 0.01 and abs(strong.scores["null_mean"][1] - 1 / 3) < 0.06
    # Six groups with one label each: 6!/(2!2!2!) = 90 ways, so that p cannot be below 1/90.
    groups = [f"{name} {i % 2}" for i, name in enumerate(Y)]
    few = sx.decode(world(8, 2.0), Y, cv=5, groups=None, n_permutations=99)
    assert few.scores == strong.scores
    held = [
        (np.flatnonzero(np.arange(45) % 4 != i), np.flatnonzero(np.arange(45) % 4 == i)) for i in range(4)
    ]
    moved = sx.decode(world(8, 2.0), Y, cv=held, groups=groups, n_permutations=500)
    assert moved.scores["p_value"][0] >= 1 / 90


def test_what_cannot_be_decoded_is_told():
    X = world(6)
    with pytest.raises(ValueError, match="group"):
        sx.decode(X, ["a"] * 45, cv=2)
    with pytest.raises(ValueError, match="row 0, column 1"):
        sx.decode(np.where(X == X[0, 1], np.nan, X), Y)
    with pytest.raises(ValueError, match="none of hand"):
        sx.decode(X, Y, cv=[(np.arange(30), np.arange(30, 45))])
    with pytest.raises(ValueError, match="from 1 to 36 neighbours"):
        sx.decode(X, Y, classifier=sx.Classifier("neighbours", k=40))
    with pytest.raises(ValueError, match="2 of class `rare`"):
        sx.decode(X, ["rare"] * 2 + ["common"] * 43)
    with pytest.raises(ValueError, match="45 expected"):
        sx.decode(X, Y[:-1])
    with pytest.raises(ValueError, match="did you mean `logistic`"):
        sx.decode(X, Y, classifier="logistics")
    with pytest.raises(ValueError, match="all samples are the same"):
        sx.decode(np.eye(3)[np.unique(Y, return_inverse=True)[1]], Y, classifier="discriminant")
    constant = sx.decode(np.ones((45, 3)), Y, classifier=sx.Classifier("neighbours", zscore=True))
    assert constant.n_constant == 3 and constant.accuracy == pytest.approx(1 / 3, abs=0.1)
    with pytest.raises(ValueError, match="unit `b`"):
        sx.pseudo_trials(
            {"a": np.ones(4), "b": np.ones(3)}, {"a": list("xxyy"), "b": list("xyy")}, n_repeats=2
        )


def test_decoding_over_time_agrees_with_its_parts():
    rng = np.random.default_rng(3)
    values = rng.uniform(size=(12, 4, 8, 6))
    values[:, :, :, 2:] += rng.uniform(size=(12, 4, 1, 1)) * 2
    responses = sx.ResponseTensor(values, stimuli=list("abcd"), directions=np.arange(8) * 45.0, bin_s=0.05)
    samples = responses.samples()
    assert samples.values.shape == (32, 12, 6) and samples.stimuli[:5] == list("abcda")
    np.testing.assert_array_equal(samples.values[5], values[:, 1, 1])
    by = sx.Classifier("neighbours", k=1)
    found = sx.temporal_generalisation(
        samples.values, samples.stimuli, groups=samples.directions, classifier=by, times=np.arange(6) * 0.05
    )
    for t in (0, 4):
        alone = sx.decode(samples.values[:, :, t], samples.stimuli, groups=samples.directions, classifier=by)
        assert found.accuracy[t, t] == pytest.approx(alone.accuracy)
    row = found.table.where(train=0.2, test=0.25)
    assert row["accuracy"][0] == found.accuracy[4, 5] > found.accuracy[0, 5]
    grow = sx.window_accuracy(responses, groups="directions", classifier=by)
    last = sx.decode(samples.values.mean(2), samples.stimuli, groups=samples.directions, classifier=by)
    assert grow["accuracy"][-1] == pytest.approx(last.accuracy)
    assert grow["last"].tolist() == list(range(6))
    padded = values.copy()
    padded[:, 3, :, 5] = np.nan
    cut = sx.ResponseTensor(padded, stimuli=list("abcd"), directions=np.arange(8) * 45.0, bin_s=0.05)
    with pytest.raises(ValueError, match="`unit 0` has no response to `d` at bin 5"):
        cut.samples()


def test_principal_states_are_the_svd_of_numpy():
    values = np.random.default_rng(4).uniform(size=(9, 2, 4, 5))
    responses = sx.ResponseTensor(values, stimuli=["a", "b"], directions=[0, 90, 180, 270], bin_s=0.1)
    found = sx.principal_states(responses, n_components=2)
    rows = values.transpose(1, 2, 3, 0).reshape(-1, 9)
    rows = rows - rows.mean(0)
    _, s, v = np.linalg.svd(rows, full_matrices=False)
    np.testing.assert_allclose(found.explained, (s**2 / (s**2).sum())[:2], rtol=1e-10)
    np.testing.assert_allclose(np.abs(found.scores.reshape(-1, 2)), np.abs(rows @ v[:2].T), atol=1e-10)
    assert found.table.columns[:3] == ["stimulus", "direction", "time_bin"] and len(found.table) == 40
    still = sx.principal_states(responses, over_time=False)
    assert still.scores.shape == (2, 4, 1, 3)


def test_objects_in_monkey_it_generalise_over_time_as_the_peer_says():
    data = folder("it_neurons_objects_time")
    sites = binned(data)
    expected = json.loads((data / "expected_decoding_neurodecoder.json").read_text())["results"]
    trials = {f"site {i}": rates for i, (rates, _) in enumerate(sites)}
    labels = {f"site {i}": objects for i, (_, objects) in enumerate(sites)}
    for result in expected.values():
        n_sites, zscore = result["n_sites"], result["zscore_features"]
        peer = np.array(result["accuracy_train_by_test"])
        runs = []
        for run in range(2):
            drawn = sx.pseudo_trials(dict(list(trials.items())[:n_sites]), labels, n_repeats=18, seed=run)
            by = sx.Classifier("maximum_correlation", zscore=zscore)
            found = sx.temporal_generalisation(
                drawn.values, drawn.labels, groups=drawn.repeats, classifier=by
            )
            runs.append(found.accuracy)
        difference = np.mean(runs, axis=0) - peer
        # 252 random trials on either side: a standard error of 0.045 at most, over 324 entries.
        assert np.abs(difference).max() < 0.17 and np.abs(difference).mean() < 0.035
        assert abs(difference.mean()) < 0.02


OTHER, MOVIE = [*Y[-2::-1], "car"], world(4)[:, :, None]
FUNCTIONS = {
    "decode": {
        "X": (world(4), world(4, seed=5)), "labels": (Y, OTHER),
        "classifier": ("logistic", "neighbours"), "cv": (None, 3),
        "groups": (None, np.arange(45) % 5), "n_permutations": (0, 3), "seed": (0, 1),
    },
    "temporal_generalisation": {
        "X": (MOVIE, MOVIE + 1), "labels": (Y, OTHER),
        "times": None, "classifier": ("maximum_correlation", "neighbours"), "cv": (None, 3),
        "groups": (None, np.arange(45) % 5), "n_permutations": (0, 3), "seed": (0, 1),
    },
    "window_accuracy": {
        "X": (MOVIE, MOVIE + 1), "labels": (Y, OTHER),
        "windows": ("growing", "shrinking"), "classifier": ("logistic", "neighbours"), "cv": (None, 3),
        "groups": (None, np.arange(45) % 5), "n_repeats": (1, 2), "seed": (0, 1),
    },
    "transfer_decoding": {
        "populations": ({"a": world(4)}, {"b": world(4)}), "labels": (Y, OTHER),
        "n_components": (None, 2), "classifier": ("logistic", "neighbours"), "cv": (None, 3),
        "groups": (None, np.arange(45) % 5), "seed": (0, 1),
    },
    "pseudo_trials": {
        "trials": ({"u": np.ones(4)}, {"v": np.ones(4)}), "labels": ({"u": list("abab"), "v": list("abab")},
        {"u": list("aabb"), "v": list("abba")}), "n_repeats": (1, 2), "seed": (0, 1),
    },
}  # fmt: skip
recorded = recording("_decoding")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_arrives(name, recorded):
    function, values = getattr(sx, name), FUNCTIONS[name]
    assert set(inspect.signature(function).parameters) == set(values), "a new argument needs two values here"
    values = {key: pair for key, pair in values.items() if pair is not None}
    base = {key: pair[0] for key, pair in values.items()}
    before = recorded(lambda: function(**base))
    for key, (_, other) in values.items():
        changed = {**base, key: other}
        assert recorded(lambda changed=changed: function(**changed)) != before, f"`{key}` of {name} gets lost"


def test_every_setting_of_the_classifier_arrives(recorded):
    X = world(4)
    changes = {
        "method": "neighbours", "c": 2.0, "k": 5, "shrinkage": 0.5, "zscore": True, "max_iterations": 5,
        "tolerance": 0.1,
    }  # fmt: skip
    assert set(changes) == set(inspect.signature(sx.Classifier).parameters)
    before = recorded(lambda: sx.Classifier().fit(X, Y))
    for key, value in changes.items():
        assert recorded(lambda k=key, v=value: sx.Classifier(**{k: v}).fit(X, Y)) != before, key
