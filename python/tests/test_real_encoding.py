"""Encoding models on real recordings, where a machine has them: the numbers of docs/real-data.md.

The examples themselves run here: what they return is what they print.
"""

import csv
import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest
import stereotax as sx

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("STEREOTAX_DATA", ROOT.parent / "shared" / "data"))


def example(script, folder):
    """The module of an example and its data, or a skip."""
    if not (DATA / folder).is_dir():
        pytest.skip("the recordings are not here")
    spec = importlib.util.spec_from_file_location(Path(script).stem, ROOT / "examples" / script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, DATA / folder


def column(table, name, **where):
    return table.where(**where)[name]


def test_objects_are_predicted_as_the_reference_predicts_them():
    module, data = example("objects/encode.py", "objects81_fmri")
    compared, beyond = module.main(data)
    assert len(compared) == 14
    np.testing.assert_allclose(compared["r"], compared["reference"], atol=5e-8)  # theirs are of float32
    np.testing.assert_allclose(beyond["vision alone"][:2], [0.2029, 0.1434], atol=1e-4)
    np.testing.assert_allclose(beyond["language alone"][4:6], [0.0578, 0.0798], atol=1e-4)
    assert beyond["vision alone"].argmax() == 0 and beyond["overfitted"][0] == 0.85  # early visual cortex
    assert (beyond["object found"] > 0.65).all() and (beyond["p"] == 0.001).all()
    # The order of the origin's notebook (of dissimilarities there): AlexNet before word2vec in EVC, after it
    # in PFS and FFA.
    tables = [compared.where(model=model) for model in module.MODELS]
    vision, language = (dict(zip(table["region"], table["r"], strict=True)) for table in tables)
    assert vision["EVC"] > 3 * language["EVC"]
    assert all(language[region] > vision[region] for region in ("PFS", "FFA"))


def test_sounds_are_predicted_as_the_reference_predicts_them():
    module, data = example("natural-sounds/encode.py", "natsound165_fmri")
    compared, best = module.main(data)
    assert len(compared) == 30
    lstm = compared["features"] == "silero_lstm"
    difference = np.abs(compared["r squared"] - compared["reference"])
    assert difference[~lstm].max() < 2e-6
    assert 0.006 < difference[lstm].max() < 0.007  # by the choice of the penalty, see below
    speech = compared.where(features="silero_lstm", component="speech")
    assert speech["reference"][0] == pytest.approx(0.8414, abs=1e-4)
    assert speech["r squared"][0] == pytest.approx(0.8401, abs=1e-4)
    # What is called R² there is the square of r: the two part where predictions are off in scale.
    conv4 = compared.where(features="silero_conv4", component="envsounds")
    assert conv4["reference"][0] == pytest.approx(0.205, abs=1e-3)
    assert conv4["R2"][0] == pytest.approx(-0.212, abs=1e-3)
    assert (compared["R2"] <= compared["r squared"]).all()
    assert (best["chosen"] == "silero_lstm 5").all()
    np.testing.assert_allclose(best["here"], best["R2, layer chosen elsewhere"], rtol=1e-12)


def test_where_the_choice_of_a_shared_penalty_differs_it_is_by_what_is_averaged():
    # We average R² over components; the reference squared errors, so that components of a large variance
    # count more. With its choice, made from our own leave-one-out predictions, its numbers come out.
    module, data = example("natural-sounds/encode.py", "natsound165_fmri")
    features, responses, components = module.load(data)
    X, expected = features["silero_lstm"], json.loads((data / "reference_numbers.json").read_text())
    settings = {"alpha_scale": "absolute", "scale": True, "cv": "loo", "store_cv_predictions": True}
    predicted, agreed, penalties = np.empty_like(responses), [], 10 ** np.arange(0, 5.1, 0.5)
    for train, test in module.splits():
        fits = [sx.RidgeCV(a, **settings).fit(X[train], responses[train]) for a in penalties]
        errors = [((fit.cv_predictions_ - responses[train]) ** 2).mean() for fit in fits]
        ours = np.mean([fit.best_score_ for fit in fits], axis=1).argmax()
        agreed.append(bool(ours == np.argmin(errors)))
        predicted[test] = fits[np.argmin(errors)].predict(X[test])
    found = sx.prediction_score(responses, predicted, names=components)["r_squared"]
    np.testing.assert_allclose(found, list(expected["ridgecv_5fold_r2"]["silero_lstm"].values()), atol=2e-6)
    assert agreed.count(False) == 1, agreed


def test_neurons_correlate_with_their_networks_and_with_themselves_as_published():
    module, data = example("v4-neurons/ceilings.py", "v4_neurons_images")
    reference = json.loads((data / "reference_numbers.json").read_text())
    found = module.published(data)
    expected = reference["190923_test_half_pearson_compact_vs_neuron"]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.median(found) == pytest.approx(reference["190923_median_pearson"], abs=1e-12)
    assert np.median(found**2) == pytest.approx(reference["190923_median_r2_not_noise_corrected"], abs=1e-12)
    session = np.load(data / "responses_210325.npz")
    trials = session["responses_trials"].astype(float)
    counts = (~np.isnan(trials)).sum(axis=2)
    assert [counts.min(), counts.max()] == reference["210325_repeats_per_image_min_max"]
    np.testing.assert_array_equal(np.nanmean(trials, axis=2), session["responses_average"])
    pairs = module.halves(trials, np.random.RandomState(0))
    ceilings = [sx.noise_ceiling(pair, n_bootstraps=0) for pair in pairs]
    reliability = np.mean([ceiling.units["ceiling"] for ceiling in ceilings], axis=0)
    expected = reference["210325_spearman_brown_split_half_reliability"]
    np.testing.assert_allclose(reliability, expected, atol=1e-12)
    # The repeats that every image has make a lower ceiling: six instead of six to ten.
    six = sx.noise_ceiling(np.moveaxis(trials[:, :, :6], 2, 0).swapaxes(1, 2), n_bootstraps=0)
    assert 0.02 < np.median(reliability - six.units["ceiling"]) < 0.05
    # A reliability is a square: as a correlation it is its root, and fractions know.
    np.testing.assert_allclose(ceilings[0].units["ceiling_r"] ** 2, ceilings[0].units["ceiling"])


def test_coarse_pixels_predict_neurons_to_a_third_of_their_ceiling():
    pytest.importorskip("PIL")
    module, data = example("v4-neurons/ceilings.py", "v4_neurons_images")
    images = module.pixels(data)
    responses = np.load(data / "responses_210325.npz")["responses_average"].T
    predicted = sx.RidgeCV(scale=True, cv="loo").predict_held_out(images, responses)
    assert images.shape == (640, 384)
    r = sx.prediction_score(responses, predicted)["r"]
    assert np.median(r) == pytest.approx(0.326, abs=1e-3)


def test_nouns_are_told_apart_as_the_reference_tells_them():
    module, data = example("nouns/leave_two_out.py", "nouns60_fmri")
    found = module.main(data)
    np.testing.assert_array_equal(found["ours"], found["reference"])  # every one of 9 × 1378 decisions
    assert np.mean(found["ours"]) == pytest.approx(0.5739, abs=1e-4)
    # Words of one category are hardly told apart: what is predicted is the category.
    assert np.mean(found["one category"]) < 0.53 < np.mean(found["two categories"])
    # Leave-one-out predictions point away from their own word, until the mean of the others is taken out.
    assert found["raw"].max() < 0.5 and found["raw"].min() == 0
    assert np.mean(found["nested"]) == pytest.approx(0.60, abs=0.01)
    assert (found["p"] <= 0.05).tolist() == [True, False, True, True, True, False, True, False, False]


def test_165_regressions_of_reading_are_those_that_were_published():
    module, data = example("reading/surprisal.py", "ucl_sentences_eeg_reading")
    found = module.main(data)
    assert len(found) == 165 and found["difference"].max() < 2e-11
    gpt = found.where(measure="N400", predictor="s_GPT2")[0]
    assert gpt["b"] == pytest.approx(-0.07398, abs=1e-5) and gpt["t"] == pytest.approx(-7.008, abs=1e-3)
    with open(data / "published_results_crossval.csv", newline="") as file:
        published = {(row["dv"], row["iv"]): float(row["D_ll_cv"]) for row in csv.DictReader(file)}
    theirs = [published[row["measure"], row["predictor"]] for row in found]
    # Their random folds are not known; ours differ, the picture does not.
    for ours in (found["gain, random folds"], found["gain, whole sentences"]):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.98
        assert np.abs(np.median(ours - theirs)) < 0.15
