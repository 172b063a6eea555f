"""Noise ceilings, against their definitions in NumPy and planted truth."""

import numpy as np
import pytest
import stereotax as sx


def planted(n=4000, share=0.3, n_repeats=6, n_units=3, seed=0):
    rng = np.random.default_rng(seed)
    signal = np.sqrt(share) * rng.normal(size=(n, n_units))
    return signal + np.sqrt(1 - share) * rng.normal(size=(n_repeats, n, n_units))


@pytest.mark.parametrize(
    ("method", "kind", "truth"),
    [
        ("split_half", "reliability", 0.72),  # 6·.3/(1 + 5·.3)
        ("explainable_variance", "r2", 0.3),
        ("signal_power", "r", np.sqrt(0.72)),
        ("ncsnr", "r2", 0.72),
        ("leave_one_out", "r", 0.3 / np.sqrt(0.3 + 0.7 / 5)),
        ("isc_single", "r", np.sqrt(0.3)),
        ("isc_group", "r", np.sqrt(0.72)),
    ],
)
def test_methods_recover_the_truth_and_say_what_they_are(method, kind, truth):
    found = sx.noise_ceiling(planted(), method, n_bootstraps=50)
    assert found.kind == kind and found.n_repeats == 6
    np.testing.assert_allclose(found.units["ceiling"], truth, atol=0.04)
    assert (found.units["lower"] < found.units["ceiling"]).all()
    assert (found.units["upper"] > found.units["ceiling"]).all()
    as_r = found.units["ceiling"] if kind == "r" else np.sqrt(found.units["ceiling"])
    np.testing.assert_allclose(found.units["ceiling_r"], as_r)


def test_definitions_in_numpy():
    repeats = planted(n=50, n_repeats=4)

    def leave_one_out(x):
        others = [np.delete(x, i, 0).mean(0) for i in range(4)]
        return [[np.corrcoef(x[i, :, j], others[i][:, j])[0, 1] for j in range(3)] for i in range(4)]

    # Repeats are standardised first, so that each weighs alike.
    z = (repeats - repeats.mean(1, keepdims=True)) / repeats.std(1, keepdims=True)
    found = sx.noise_ceiling(repeats, "split_half").leave_one_out
    np.testing.assert_allclose(found, leave_one_out(repeats))
    found = sx.noise_ceiling(repeats, "leave_one_out")
    np.testing.assert_allclose(found.units["ceiling"], np.mean(leave_one_out(z), axis=0))
    noise = repeats.var(axis=0, ddof=1).mean(axis=0)
    signal = repeats.mean(axis=0).var(axis=0, ddof=1) - noise / 4
    expected = signal / (signal + noise / 4)
    np.testing.assert_allclose(sx.noise_ceiling(repeats, "ncsnr").units["ceiling"], expected)


def test_scores_are_held_against_ceilings_on_their_own_scale():
    found = sx.noise_ceiling(planted(), "split_half", n_bootstraps=0, unit_names=["a", "b", "c"])
    reliability = found.units["ceiling"]
    as_r2 = found.fraction([0.36, 0.9, np.nan], "r2")
    # A reliability is a square: it is not squared again.
    np.testing.assert_allclose(as_r2["fraction"][:2], [0.36 / reliability[0], 0.9 / reliability[1]])
    as_r = found.fraction([0.6, np.sqrt(0.9), np.nan], "r")
    np.testing.assert_allclose(as_r["fraction"][:2] ** 2, as_r2["fraction"][:2])
    assert as_r["fraction"][1] > 1 and "above the ceiling" in as_r["status"][1]
    assert as_r["status"][0] is None and as_r["status"][2] == "no score"
    none = sx.noise_ceiling(np.random.default_rng(1).normal(size=(2, 20, 40)), n_bootstraps=0)
    table = none.fraction(np.full(40, 0.5))
    undefined = np.isnan(none.units["ceiling_r"])
    assert undefined.any() and np.isnan(table["fraction"][undefined]).all()
    assert all("negative" in reason for reason in table["status"][undefined])
    low = ~undefined & (none.units["ceiling_r"] < 0.3)
    assert all("below 0.3" in s for s in none.fraction(np.full(40, 0.5), least=0.3)["status"][low])


def test_intervals_cover_and_arguments_matter():
    inside = 0
    for seed in range(40):
        found = sx.noise_ceiling(planted(n=200, n_units=1, seed=seed), "isc_single", n_bootstraps=200)
        inside += bool(found.units["lower"][0] <= np.sqrt(0.3) <= found.units["upper"][0])
    assert inside >= 33  # binomial(40, .95): 38 ± 1.4; the percentile interval is a little short
    repeats = planted(n=60, n_repeats=10)

    def numbers(**change):
        units = sx.noise_ceiling(repeats, **{"n_bootstraps": 20, "n_splits": 9, **change}).units
        return np.concatenate([units[name] for name in ("ceiling", "lower", "upper")])

    base = numbers()
    runs = np.repeat(["a", "b"], 30)
    for change in ({"seed": 1}, {"n_splits": 10}, {"n_bootstraps": 21}, {"level": 0.5}, {"runs": runs}):
        assert not np.array_equal(numbers(**change), base), change
    assert not np.array_equal(numbers(blocks=np.arange(60) // 5), base)


def test_halves_recover_a_true_one_where_spearman_brown_would_not():
    # 600 stimuli, 60 neurons, 10 trials, a linear map on 10 features: the simulation of the spec.
    rng = np.random.default_rng(2)
    X = rng.normal(size=(600, 10))
    signal = X @ rng.normal(size=(10, 60)) / np.sqrt(10)
    trials = signal + 3 * rng.normal(size=(10, 600, 60))
    scores, browned = [], []
    for _ in range(5):
        order = rng.permutation(10)
        halves = [trials[order[:5]].mean(0), trials[order[5:]].mean(0)]
        maps = [np.linalg.lstsq(X[:300], half[:300], rcond=None)[0] for half in halves]
        found = sx.half_corrected([X[300:] @ m for m in maps], [half[300:] for half in halves])
        scores.append(np.nanmedian(found.score))
        known = ~np.isnan(found.score)
        assert ((found.lower < found.score) & (found.score < found.upper))[known].mean() > 0.95
        both = found.predicted_reliability, found.observed_reliability
        brown = np.prod([2 * r / (1 + r) for r in both], axis=0)
        browned.append(np.nanmedian(found.raw / np.sqrt(brown)))
    assert np.mean(scores) == pytest.approx(1, abs=0.03)
    assert np.mean(browned) < 0.9


def test_wrong_input_is_refused():
    repeats = planted(n=20)
    for call, message in [
        (lambda: sx.noise_ceiling(repeats[:1]), "2 repeats"),
        (lambda: sx.noise_ceiling(repeats, "splithalf"), "did you mean `split_half`"),
        (lambda: sx.noise_ceiling([repeats[0], repeats[1][:10]]), "20 samples"),
        (lambda: sx.noise_ceiling(repeats[0]), "repeats come first"),
        (lambda: sx.noise_ceiling(repeats, level=1.0), "between 0 and 1"),
        (lambda: sx.noise_ceiling(repeats, blocks=["a"]), "20 ids"),
        (lambda: sx.noise_ceiling(repeats, unit_names=["a"]), "3 expected"),
        (lambda: sx.noise_ceiling(repeats).fraction([0.5]), "one score per unit"),
        (lambda: sx.noise_ceiling(repeats).fraction([0.5] * 3, "z"), "one of r, r2"),
        (lambda: sx.half_corrected(repeats[:2], repeats[2:4, :9]), "20 stimuli × 3 units"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_trials_of_equal_numbers_are_nsd_s_ceiling_of_repeats():
    rng = np.random.default_rng(5)
    repeats = rng.normal(size=(40, 3)) + rng.normal(size=(4, 40, 3))
    stimuli = np.tile(np.arange(40), 4)
    found = sx.trial_ceiling(repeats.reshape(160, 3), stimuli)
    equal = sx.noise_ceiling(repeats, "ncsnr")
    np.testing.assert_allclose(found.units["ceiling"], equal.units["ceiling"], rtol=1e-12)
    np.testing.assert_allclose(found.units["ceiling_r"], equal.units["ceiling_r"], rtol=1e-12)
    assert (found.mean_inverse, found.n_stimuli, found.n_repeated) == (0.25, 40, 40)
    assert (found.units["lower"] < found.units["ceiling"]).all()


def test_trials_of_unequal_numbers_against_nsd_s_formula():
    rng = np.random.default_rng(6)
    counts = rng.integers(1, 4, size=500)
    stimuli = np.repeat(np.arange(500), counts)
    signal = rng.normal(size=(500, 20))
    trials = signal[stimuli] + 1.5 * rng.normal(size=(len(stimuli), 20))
    found = sx.trial_ceiling(trials, stimuli, n_bootstraps=0)
    a, b, c = (counts == 3).mean(), (counts == 2).mean(), (counts == 1).mean()
    assert found.mean_inverse == pytest.approx(a / 3 + b / 2 + c)
    ncsnr = found.units["ncsnr"]
    np.testing.assert_allclose(ncsnr**2 / (ncsnr**2 + a / 3 + b / 2 + c), found.units["ceiling"], rtol=1e-12)
    assert found.units["ceiling"].mean() == pytest.approx(1 / (1 + 2.25 * found.mean_inverse), abs=0.03)
    # Order of trials and names of stimuli do not count.
    order = rng.permutation(len(stimuli))
    again = sx.trial_ceiling(trials[order], [f"s{k}" for k in stimuli[order]], n_bootstraps=0)
    np.testing.assert_allclose(again.units["ceiling"], found.units["ceiling"], rtol=1e-12)
    with pytest.raises(ValueError, match="more than once"):
        sx.trial_ceiling(trials, np.arange(len(stimuli)))
    with pytest.raises(ValueError, match="2 names, but 20"):
        sx.trial_ceiling(trials, stimuli, unit_names=["a", "b"])
