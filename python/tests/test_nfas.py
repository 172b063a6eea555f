"""NFAS on planted truth, against scikit-learn, and as a well-behaved estimator."""

import pickle

import numpy as np
import pytest
import stereotax as sx

FAST = {"n_bootstraps": 40, "n_shifts": 60, "n_shuffles": 3}


def planted(n=150, width=12, n_layers=7, n_rois=4, noise=0.5, seed=0):
    """Layers share a latent that the responses read out; single layers are noisy."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, width))
    layers = [latent + 0.8 * rng.normal(size=(n, width)) for _ in range(n_layers)]
    responses = latent @ rng.normal(size=(width, n_rois)) + noise * rng.normal(size=(n, n_rois))
    return layers, responses


@pytest.fixture(scope="module")
def fitted():
    layers, responses = planted()
    return sx.NFAS(n_folds=5, seed=1, **FAST).fit(layers, responses, roi_names=["V1", "V2", "A1", "A2"])


def mean_r(nfas, representation, layer=None):
    return nfas.scores_.where(representation=representation, layer=layer)["r"].mean()


def test_what_layers_share_is_found_and_predicts_better_than_any_of_them(fitted):
    assert fitted.verdict_
    assert mean_r(fitted, "stable_mode") > 0.9
    singles = [mean_r(fitted, "layer", layer) for layer in fitted.layer_names_]
    assert mean_r(fitted, "stable_mode") > max(singles) + 0.05
    assert abs(mean_r(fitted, "layer_mean") - mean_r(fitted, "stable_mode")) < 0.05
    assert mean_r(fitted, "adaptive") > max(singles)
    assert fitted.scores_.where(representation="stable_mode")["p"].max() <= 2 / 61


def test_unrelated_responses_score_at_chance():
    layers, responses = planted()
    nfas = sx.NFAS(n_folds=5, **FAST).fit(layers, np.random.default_rng(9).normal(size=(150, 8)))
    rows = nfas.scores_.where(representation="stable_mode")
    assert np.abs(rows["r"]).mean() < 0.15
    assert rows["p"].min() > 0.001 and rows["p"].mean() > 0.15
    np.testing.assert_allclose(rows["chance"], 1 / rows["n_eff"])


def test_the_table_is_whole_and_labelled(fitted):
    scores = fitted.scores_
    kinds = 5 + 7 + 3  # stable, adaptive, mean, best, pod; layers; shuffles
    assert len(scores) == kinds * 4 and scores.columns[:4] == ["representation", "layer", "subject", "roi"]
    assert set(scores["subject"]) == {"group"} and set(scores["status"]) == {"ok"}
    row = scores.where(representation="stable_mode", roi="A1")[0]
    assert row["r_lower"] < row["r"] < row["r_upper"]
    assert row["score"] == pytest.approx(max(0, row["r"] ** 2 - 1 / row["n_eff"]), rel=1e-12)
    assert row["n"] == 150 and row["score_kind"] == "debiased"
    assert len(fitted.summary_) == kinds
    assert fitted.summary_.where(representation="pod")["mean_score"][0] == pytest.approx(
        scores.where(representation="pod")["score"].mean()
    )
    spectrum = fitted.spectrum_
    assert set(spectrum["fold"]) == {"all", *(f"fold {i}" for i in range(1, 6))}
    assert spectrum.where(selected=True)["modulus"].min() > 0.8
    assert len(fitted.weights_) == 6 * 7
    assert len(fitted.chosen_) == 2 * 5 and set(
        fitted.chosen_.where(representation="best_layer")["chosen"]
    ) <= set(fitted.layer_names_)
    assert fitted.stability_.lambda_sd < 0.1 and len(fitted.stability_.shuffled_eigenvalues) == 3
    assert fitted.bootstrap_["stable_mode", "group"].shape == (40, 4)


def test_every_sample_is_predicted_from_other_samples(fitted):
    _, responses = planted()
    tests = np.concatenate([fold["test"] for fold in fitted.folds_])
    assert sorted(tests) == list(range(150))
    predictions = fitted.predictions_["stable_mode", "group"]
    by_fold = [
        [np.corrcoef(predictions[fold["test"], j], responses[fold["test"], j])[0, 1] for j in range(4)]
        for fold in fitted.folds_
    ]
    sizes = [len(fold["test"]) for fold in fitted.folds_]
    np.testing.assert_allclose(
        np.average(by_fold, axis=0, weights=sizes),
        fitted.scores_.where(representation="stable_mode")["r"],
        atol=1e-12,
    )


def test_ridge_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    layers, responses = planted()
    alpha = 0.37
    nfas = sx.NFAS(n_folds=5, alphas=[alpha], equalize_dim=False, **FAST).fit(layers, responses)
    for layer, name in ((0, "layer 0"), (6, "layer 6")):
        for fold in nfas.folds_:
            train, test = fold["train"], fold["test"]
            x = layers[layer]
            z = (x - x[train].mean(0)) / x[train].std(0)
            # One penalty, as a multiple of the mean squared singular value of the training design.
            multiple = alpha * (z[train] ** 2).sum() / min(z[train].shape)
            peer = linear_model.RidgeCV(alphas=[multiple]).fit(z[train], responses[train])
            np.testing.assert_allclose(
                nfas.predictions_[name, "group"][test], peer.predict(z[test]), rtol=1e-8, atol=1e-8
            )


def test_constant_responses_are_undefined_and_say_so():
    layers, responses = planted()
    responses[:, 1] = 3.0
    scores = sx.NFAS(n_folds=3, **FAST).fit(layers, responses).scores_
    rows = scores.where(representation="stable_mode")
    assert np.isnan(rows["r"]).tolist() == [False, True, False, False]
    assert np.isnan(rows["score"][1]) and rows["status"][1].startswith("constant")


def test_the_order_of_stimuli_changes_nothing_but_rounding():
    layers, responses = planted()
    ids = [f"clip {i:03}" for i in range(150)]
    order = np.random.default_rng(1).permutation(150)
    a = sx.NFAS(n_folds=5, **FAST).fit(layers, responses, stimulus_ids=ids)
    b = sx.NFAS(n_folds=5, **FAST).fit(
        [x[order] for x in layers], responses[order], stimulus_ids=[ids[i] for i in order]
    )
    np.testing.assert_allclose(a.scores_["r"], b.scores_["r"], atol=1e-9)
    np.testing.assert_allclose(
        a.predictions_["stable_mode", "group"][order], b.predictions_["stable_mode", "group"], atol=1e-8
    )


def test_time_series_are_predicted_across_runs_and_delays():
    rng = np.random.default_rng(3)
    n, tr = 240, 1.5
    latent = rng.normal(size=(n, 5))
    layers = [latent + 0.3 * rng.normal(size=(n, 5)) for _ in range(6)]
    runs = np.repeat(["a", "b", "c", "d"], n // 4)
    responses = np.zeros((n, 2))
    weights = rng.normal(size=(5, 2))
    for run in "abcd":
        rows = np.flatnonzero(runs == run)
        # Responses follow the stimulus by three samples, on a drift.
        responses[rows[3:]] = latent[rows[:-3]] @ weights
        responses[rows] += np.linspace(0, 20, len(rows))[:, None]
    nfas = sx.NFAS(**FAST).fit(layers, responses, runs=runs, tr_s=tr)
    assert [fold["name"] for fold in nfas.folds_] == list("abcd")
    assert mean_r(nfas, "stable_mode") > 0.85
    still = sx.NFAS(hrf="none", **FAST).fit(layers, responses, runs=runs, tr_s=tr)
    assert mean_r(still, "stable_mode") < 0.3
    drifting = sx.NFAS(drift="none", **FAST).fit(layers, responses, runs=runs, tr_s=tr)
    assert mean_r(drifting, "stable_mode") < mean_r(nfas, "stable_mode")
    # Six delays: the first six samples of every run have no prediction.
    dropped = sx.NFAS(drop_padded=True, **FAST).fit(layers, responses, runs=runs, tr_s=tr)
    predictions = dropped.predictions_["stable_mode", "group"]
    missing = np.flatnonzero(np.isnan(predictions[:, 0]))
    np.testing.assert_array_equal(missing, [start + i for start in range(0, n, n // 4) for i in range(6)])
    assert set(dropped.scores_["n"]) == {n - 24} and mean_r(dropped, "stable_mode") > 0.85


def test_confounds_are_taken_out_run_by_run_as_numpy_does():
    rng = np.random.default_rng(4)
    n = 160
    latent = rng.normal(size=(n, 4))
    layers = [latent + 0.3 * rng.normal(size=(n, 4)) for _ in range(5)]
    runs = np.repeat(["a", "b"], n // 2)
    motion = rng.normal(size=(n, 2)).cumsum(0)
    responses = latent @ rng.normal(size=(4, 3)) + 5 * motion @ rng.normal(size=(2, 3))
    series = {"runs": runs, "tr_s": 2.0}
    settings = {**FAST, "hrf": "none", "drift": "none"}
    cleaned = responses.copy()
    for run in "ab":
        rows = runs == run
        basis = np.column_stack([np.ones(rows.sum()), motion[rows]])
        cleaned[rows] -= basis @ np.linalg.lstsq(basis, responses[rows], rcond=None)[0]
    plain = sx.NFAS(**settings).fit(layers, responses, **series)
    found = sx.NFAS(**settings).fit(layers, responses, confounds=motion, **series)
    expected = sx.NFAS(**settings).fit(layers, cleaned, **series)
    np.testing.assert_allclose(found.scores_["r"], expected.scores_["r"], atol=1e-9)
    assert mean_r(found, "stable_mode") > 0.9 > mean_r(plain, "stable_mode") + 0.2
    two = {"s": responses, "t": responses}
    both = sx.NFAS(**settings).fit(layers, two, confounds={"t": 0 * motion, "s": motion}, **series)
    r = both.scores_.where(representation="stable_mode")
    assert r[r["subject"] == "s"]["r"].mean() > r[r["subject"] == "t"]["r"].mean() + 0.2


def test_subjects_share_folds_and_alone_have_the_same_numbers():
    layers, responses = planted()
    other = planted(seed=4)[1]
    both = sx.NFAS(n_folds=4, **FAST).fit(layers, {"s1": responses, "s2": other})
    alone = sx.NFAS(n_folds=4, **FAST).fit(layers, {"s2": other})
    for name in ("r", "p", "alpha"):
        np.testing.assert_array_equal(both.scores_.where(subject="s2")[name], alone.scores_[name])


def test_unequal_widths_are_mapped_and_few_layers_have_no_dynamics():
    layers, responses = planted()
    rng = np.random.default_rng(2)
    mixed = [
        x @ rng.normal(size=(12, width))
        for x, width in zip(layers, (12, 20, 12, 15, 12, 30, 12), strict=True)
    ]
    nfas = sx.NFAS(n_folds=3, **FAST).fit(mixed, responses)
    assert mean_r(nfas, "stable_mode") > 0.8
    with pytest.raises(ValueError, match="layer 1"):
        sx.NFAS(n_folds=3, layer_map="identity", **FAST).fit(mixed, responses)
    shallow = sx.NFAS(n_folds=3, **FAST).fit(layers[:3], responses)
    assert (
        shallow.verdict_ is None
        and len(shallow.spectrum_) == 0
        and "fewer than 4 layers" in shallow.warnings_["text"][0]
    )
    assert set(shallow.scores_["representation"]) == {"layer", "layer_mean", "best_layer", "adaptive"}


def test_memory_and_layout_change_no_number():
    layers, responses = planted()
    a = sx.NFAS(n_folds=3, **FAST).fit(layers, responses)
    b = sx.NFAS(n_folds=3, max_memory=1, **FAST).fit(
        [np.asfortranarray(x) for x in layers], responses[::-1].copy()[::-1]
    )
    assert a.scores_ == b.scores_
    c = sx.NFAS(n_folds=3, seed=1, **FAST).fit(layers, responses)
    assert a.scores_ != c.scores_


def with_repeats(noise=2.0, n_repeats=4, seed=0):
    layers, signal = planted(noise=0.0, seed=seed)
    rng = np.random.default_rng(seed + 100)
    return layers, signal + noise * rng.normal(size=(n_repeats, *signal.shape))


def test_ceilings_from_repeats_subjects_and_elsewhere():
    layers, repeats = with_repeats()
    mean = repeats.mean(axis=0)
    nfas = sx.NFAS(n_folds=3, **FAST).fit(layers, mean, repeats=repeats)
    # The mean of 4 repeats has the variance s² + 2²/4, of which s² is signal.
    signal = planted(noise=0.0)[1].var(axis=0)
    np.testing.assert_allclose(nfas.ceilings_["ceiling"], np.sqrt(signal / (signal + 1)), atol=0.03)
    assert set(nfas.ceilings_["kind"]) == {"split_half"} and set(nfas.ceilings_["status"]) == {"ok"}
    rows = nfas.scores_.where(representation="stable_mode")
    np.testing.assert_array_equal(rows["ceiling"], nfas.ceilings_["ceiling"])
    over = sx.NFAS(n_folds=3, score="ceiling", **FAST).fit(layers, mean, repeats=repeats).scores_
    over = over.where(representation="stable_mode")
    np.testing.assert_allclose(over["score"], (rows["r"] / rows["ceiling"]) ** 2, rtol=1e-12)

    subjects = {"s1": repeats[:2].mean(axis=0), "s2": repeats[2:].mean(axis=0)}
    both = sx.NFAS(n_folds=3, **FAST).fit(layers, subjects)
    assert set(both.ceilings_["kind"]) == {"isc"} and len(both.ceilings_) == 8
    repeated = {"s1": repeats[:2], "s2": repeats[2:]}
    assert set(sx.NFAS(n_folds=3, **FAST).fit(layers, subjects, repeats=repeated).ceilings_["kind"]) == {
        "split_half"
    }
    given = sx.NFAS(n_folds=3, **FAST).fit(layers, mean, ceilings=[0.9, 0.05, np.nan, 0.8])
    assert given.ceilings_["masked"].tolist() == [False, True, True, False]
    assert set(given.controls_["n_rois"]) == {2} and given.controls_["status"][0] == "ok"
    none = sx.NFAS(n_folds=3, score="ceiling", **FAST).fit(layers, mean)
    assert "needs repeats" in none.ceilings_["status"][0] and "no_ceiling" in none.warnings_["code"]
    assert np.isnan(none.scores_["score"]).all() and none.scores_["status"][0] == "no ceiling"


def test_subjects_can_be_one():
    layers, repeats = with_repeats()
    subjects = {"s1": 10 * repeats[0], "s2": repeats[1]}
    one = sx.NFAS(n_folds=3, subjects="group_mean", **FAST).fit(layers, subjects)
    z = [(y - y.mean(axis=0)) / y.std(axis=0) for y in subjects.values()]
    same = sx.NFAS(n_folds=3, **FAST).fit(layers, (z[0] + z[1]) / 2)
    np.testing.assert_allclose(one.scores_["r"], same.scores_["r"], atol=1e-9)
    assert one.subjects_ == ["group"]


def test_controls_stand_beside_the_claim():
    layers, responses = planted(seed=2)
    rng = np.random.default_rng(8)
    latent = np.random.default_rng(2).normal(size=(150, 12))
    nfas = sx.NFAS(n_folds=3, multiverse=True, **FAST).fit(
        layers,
        responses,
        nuisance={"two units": latent[:, :2]},
        untrained=[rng.normal(size=(150, 9)) for _ in range(5)],
    )
    controls = nfas.controls_
    assert controls["control"].tolist() == [
        "adaptive", "best_layer", "first_layer", "last_layer", "layer_mean", "nuisance:two units", "pod",
        "untrained_twin", "shuffled_order", f"best_other:{controls['control'][-1].split(':')[1]}",
    ]  # fmt: skip
    mean = {row["representation"]: row["mean_score"] for row in nfas.summary_}
    row = controls.where(control="nuisance:two units")[0]
    assert row["claim"] == pytest.approx(mean["stable_mode"])
    assert row["value"] == pytest.approx(mean["nuisance:two units"]) and 0.02 < row["value"] < 0.6
    assert row["lower"] > 0.2 and row["difference"] == pytest.approx(row["claim"] - row["value"])
    # The interval is that of paired draws: of the scores, averaged over ROIs.
    n_eff = nfas.scores_.where(representation="stable_mode")["n_eff"]

    def draws(name):
        return np.maximum(0, nfas.bootstrap_[name, "group"] ** 2 - 1 / n_eff).mean(axis=1)

    paired = draws("stable_mode") - draws("nuisance:two units")
    np.testing.assert_allclose([row["lower"], row["upper"]], np.quantile(paired, [0.025, 0.975]), rtol=1e-6)
    twin = controls.where(control="untrained_twin")[0]
    assert twin["value"] < 0.05 and twin["lower"] > 0.5
    significance = nfas.significance_.where(representation="stable_mode")
    assert len(significance) == 4 and (significance["p_adj"] >= significance["p"]).all()

    cells = nfas.multiverse_
    assert len(cells) == 24 and cells["rank"][0] == "energy:0.99" and set(cells["status"]) == {"ok"}
    assert cells["score"][0] == pytest.approx(mean["stable_mode"], rel=1e-12)
    assert cells["versus_layer_mean"][0] == pytest.approx(mean["stable_mode"] - mean["layer_mean"])
    assert cells["select"][4] == "max_energy_in_band:2"


def test_banded_scores_say_what_is_added_to_the_nuisance_features():
    layers, responses = planted(seed=3)
    latent = np.random.default_rng(3).normal(size=(150, 12))
    settings = {"n_folds": 3, "controls": False, **FAST}
    given = {"nuisance": {"all of it": latent}}
    beyond = sx.NFAS(encoder="banded", band_candidates=3, **settings).fit(layers, responses, **given)
    alone = sx.NFAS(**settings).fit(layers, responses, **given)
    assert mean_r(alone, "stable_mode") > 0.8 > 0.4 > mean_r(beyond, "stable_mode")
    assert mean_r(beyond, "nuisance:all of it") == pytest.approx(mean_r(alone, "nuisance:all of it"))
    bands = beyond.bands_.where(representation="stable_mode", roi="roi_1")
    assert bands["band"].tolist() == ["representation", "all of it"] and len(alone.bands_) == 0
    assert bands["r2"].sum() == pytest.approx(bands["joint_r2"][0], rel=1e-9)
    assert bands["weight"].sum() == pytest.approx(1.0)


@pytest.mark.parametrize(("trajectory", "select"), [("sample", "closest_to_one"), ("pooled", "band:2")])
def test_other_trajectories_find_what_layers_share(trajectory, select):
    layers, responses = planted()
    settings = {"trajectory": trajectory, "select": select, "controls": False, **FAST}
    nfas = sx.NFAS(n_folds=3, **settings).fit(layers, responses)
    assert mean_r(nfas, "stable_mode") > 0.8
    assert set(nfas.controls_["control"]) >= {"shuffled_order"}


def test_controls_can_be_left_out_and_change_nothing_else():
    layers, responses = planted()
    all_of_them = sx.NFAS(n_folds=3, **FAST).fit(layers, responses)
    few = sx.NFAS(n_folds=3, controls=["layer_mean", "first_last"], **FAST).fit(layers, responses)
    assert set(few.scores_["representation"]) == {
        "stable_mode", "layer_mean", "layer", "pod", "shuffled_01", "shuffled_02", "shuffled_03",
    }  # fmt: skip
    assert set(few.scores_["layer"]) == {None, "layer 0", "layer 6"} and len(few.chosen_) == 0
    none = sx.NFAS(n_folds=3, controls=False, **FAST).fit(layers, responses)
    assert set(none.controls_["control"]) == {"pod", "shuffled_order"}
    for other in (few, none):
        a, b = (x.scores_.where(representation="stable_mode") for x in (all_of_them, other))
        assert a == b


def test_the_multiverse_of_unequal_widths_is_empty_and_says_so():
    layers, responses = planted()
    nfas = sx.NFAS(n_folds=3, multiverse=True, **FAST).fit([*layers[:4], layers[4][:, :8]], responses)
    assert len(nfas.multiverse_) == 0 and "no_multiverse" in nfas.warnings_["code"]


def test_it_is_pickled_whole_and_shown(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    assert again.scores_ == fitted.scores_ and again.controls_ == fitted.controls_
    assert again.get_params() == fitted.get_params()
    page = fitted._repr_html_()
    assert "stable" in page and "shuffled_order" in page and "<table>" in page
    assert sx.NFAS()._repr_html_() == "<p><code>NFAS()</code></p>"
    with pytest.raises(AttributeError, match="no `scores_`: it is not fitted yet"):
        _ = sx.NFAS().scores_
    assert not hasattr(sx.NFAS(), "scores_") and not hasattr(sx.NFAS(), "nothing")


def test_a_narrow_gate_has_its_warning_before_it():
    # A study refuses a warning above the gate; here the warning follows.
    assert "warn_residual: 0.2" in repr(sx.NFAS(max_residual=0.2)._params(None))
    assert "warn_residual: 0.3" in repr(sx.NFAS()._params(None))
    with pytest.raises(ValueError, match="`max_residual` is '0.2'"):
        sx.NFAS(max_residual="0.2")._params(None)


def test_it_clones_and_shows_its_settings():
    sklearn = pytest.importorskip("sklearn.base")
    nfas = sx.NFAS(n_folds=3, rank=4, delays_s=(1.0, 5.0))
    assert sklearn.clone(nfas).get_params() == nfas.get_params()
    assert repr(nfas) == "NFAS(n_folds=3, rank=4, delays_s=(1.0, 5.0))"
    assert sx.NFAS().set_params(ceiling="none").ceiling == "none"
    with pytest.raises(ValueError, match="NFAS has no setting `ceilings`"):
        sx.NFAS().set_params(ceilings="none")


@pytest.mark.parametrize(
    ("settings", "fit", "text"),
    [
        ({"n_folds": 1}, {}, "folds"),
        ({"n_folds": 3.0}, {}, "`n_folds` is 3.0"),
        ({"n_folds": 151}, {}, "151 folds for 150 different stimuli"),
        ({}, {"roi_names": list("abca")}, "`roi_names` has `a` twice"),
        ({}, {"layer_names": list("abcdefa")}, "`layer_names` has `a` twice"),
        ({"n_folds": "k_fould:3"}, {}, 'did you mean `"k_fold"`'),
        ({"n_bootstraps": -1}, {}, "`n_bootstraps` is -1"),
        ({"n_shuffles": 10**9}, {}, "n_shuffles"),
        ({"max_dim": 0}, {}, "max_dim"),
        ({"seed": 1.5}, {}, "seed"),
        ({"score": "r3"}, {}, "`debiased`"),
        ({"hrf": "canonical"}, {}, "`glover`"),
        ({"alphas": [1.0, -0.1]}, {}, "at least 0"),
        ({"alphas": []}, {}, "at least one"),
        ({"trajectory": "samples"}, {}, 'did you mean `"sample"`'),
        ({"encoder": "banded"}, {}, "needs nuisance features"),
        ({"ceiling": "none", "score": "ceiling"}, {}, "needs a ceiling"),
        ({"subjects": "mean"}, {}, "`group_mean`"),
        ({"controls": ["best_layers"]}, {}, "did you mean `best_layer`"),
        ({"controls": "best_layer"}, {}, "one name per object"),
        ({"delays_s": 3.0}, {}, "two numbers"),
        ({"min_ceiling": 2.0}, {}, "a number from 0 to 1"),
        ({}, {"tr_s": "2"}, "`tr_s` is '2', but a number"),
        ({}, {"ceilings": [0.5]}, "`ceilings` has 1"),
        ({}, {"ceilings": [0.5, 0.5, 0.5, 2.0]}, "outside 0…1"),
        ({}, {"repeats": [[1.0, 2.0]]}, "repeats come first"),
        ({}, {"repeats": np.zeros((2, 150, 3))}, "repeats of subject 0"),
        ({}, {"repeats": np.zeros((150, 4))}, "three axes expected"),
        ({}, {"repeats": {"s1": np.zeros((2, 150, 4))}}, "mappings for both"),
        ({}, {"nuisance": np.zeros((150, 1))}, "no mapping of names"),
        ({}, {"nuisance": {"pitch": np.zeros(150)}}, "a single column is passed as"),
        ({}, {"nuisance": {"pitch": np.zeros((149, 1))}}, "`nuisance pitch` has 149 rows"),
        ({}, {"untrained": [np.zeros((149, 3))]}, "149 rows"),
        ({"max_depth_gain": 0.5}, {}, "max_depth_gain"),
        ({"delays_s": (5.0, 1.0)}, {}, "goes from 5 to 1"),
        ({}, {"runs": ["a"] * 3}, "`runs` has 3 names, but 150"),
        ({}, {"runs": ["a", "b"] * 75}, "begins again at sample 2"),
        ({}, {"roi_names": ["x"]}, "`roi_names` has 1 names, but 4"),
        ({}, {"stimulus_ids": ["x"]}, "`stimulus_ids` has 1"),
        ({}, {"blocks": ["x"]}, "`blocks` has 1"),
        ({}, {"tr_s": -1.0}, "tr_s"),
        ({}, {"tr_s": 50.0}, "delays_s"),
        ({}, {"confounds": np.zeros((150, 1))}, "give `tr_s` and no `repeats`"),
        ({}, {"tr_s": 2.0, "confounds": np.zeros((149, 1))}, "149 rows, but 150 expected"),
        ({}, {"tr_s": 2.0, "confounds": np.zeros(150)}, "a single column is passed as"),
        ({}, {"tr_s": 2.0, "confounds": np.full((150, 1), np.nan)}, "confounds"),
        ({}, {"tr_s": 2.0, "confounds": {"x": np.zeros((150, 1))}}, "the same subjects as `responses`"),
        ({"inner_loss": "r2"}, {}, "`squared_error`"),
        ({"hrf_parity": "nilearn"}, {}, "a convolved response"),
        ({"drop_padded": True, "hrf": "spm"}, {}, "only delays are padded"),
    ],
)
def test_wrong_input_is_named(settings, fit, text):
    layers, responses = planted()
    with pytest.raises(ValueError, match=text):
        sx.NFAS(**{**FAST, **settings}).fit(layers, responses, **fit)


def test_wrong_data_are_named():
    layers, responses = planted()
    for wrong, text in [
        (responses[:149], "`responses` has 149 rows, but 150 expected"),
        (responses.T, "`responses` has 4 rows, but 150 expected"),
        (responses[:, 0], "a single column is passed as"),
        (np.stack([responses] * 2), "a mapping of subjects"),
        (None, "`responses` is None"),
        ("responses.npy", "an array of numbers expected"),
        (responses.astype(str), "real numbers"),
        (responses[:, :0], "no column"),
    ]:
        with pytest.raises(ValueError, match=text):
            sx.NFAS(**FAST).fit(layers, wrong)
    for wrong, text in [
        (layers[0], "one array \\(samples × units\\) per layer"),
        ("conv1", "`layers` is 'conv1'"),
        (None, "`layers` is None"),
        ([x[:, 0] for x in layers], "`layer 0` has the shape"),
        ([layers[0][:, :, None, None]] * 4, "flatten or pool"),
        ([[[1.0, 2.0], [3.0]]] * 4, "all rows must have the same length"),
        ([], "0 layers"),
        ([x[:1] for x in layers], "has 150 rows, but 1 expected"),
    ]:
        with pytest.raises(ValueError, match=text):
            sx.NFAS(**FAST).fit(wrong, responses)
    with pytest.raises(ValueError, match="different stimuli"):
        sx.NFAS(**FAST).fit([x[:1] for x in layers], responses[:1])
    responses[7, 2] = np.nan
    with pytest.raises(ValueError, match="not finite at row 7, column 2"):
        sx.NFAS(**FAST).fit(layers, responses)
    with pytest.raises(ValueError, match="one shape expected"):
        sx.NFAS(**FAST).fit(layers, {"a": np.ones((150, 2)), "b": np.ones((150, 3))})
    with pytest.raises(ValueError, match="at least 1 unit"):
        sx.NFAS(**FAST).fit([np.ones((150, 0))] * 3, planted()[1])
    with pytest.raises(ValueError, match="no subject"):
        sx.NFAS(**FAST).fit(layers, {})
    layers[2] = layers[2].copy()
    layers[2][3, 4] = np.inf
    with pytest.raises(ValueError, match="`layer 2` is not finite at row 3, column 4"):
        sx.NFAS(**FAST).fit(layers, planted()[1])
