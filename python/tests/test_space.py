"""Models as points in the coordinates of a brain: planted groups, fitted models, refused mistakes."""

import copy
import pickle

import numpy as np
import pytest
import stereotax as sx

FAST = {"n_folds": 3, "n_bootstraps": 60, "n_shifts": 40, "n_shuffles": 2}
ROIS = ["V1", "A1", "IFG", "ATL", "PFC"]


def planted(n_each=4, separation=0.2, seed=0):
    """Scores of two modalities with profiles of their own."""
    rng = np.random.default_rng(seed)
    profiles = 0.4 + separation * rng.normal(size=(2, 6))
    scores = np.repeat(profiles, n_each, axis=0) + 0.02 * rng.normal(size=(2 * n_each, 6))
    return scores, ["audio"] * n_each + ["text"] * n_each


def quick(**settings):
    return sx.ModelSpace(**{"n_permutations": 199, "n_bootstraps": 50, **settings})


def test_planted_modalities_lie_apart_and_mixed_ones_do_not():
    scores, modality = planted()
    space = quick(restricted="free").fit(scores, modality=modality)
    row = space.tests_.where(test="permanova", contrast="modality")[0]
    direct = sx.permanova(sx.distances(scores).distances, modality, 199)
    assert (row["statistic"], row["p"], row["r2"]) == (direct.f, direct.p_value, direct.r2)
    assert row["p"] == 2 / 70 and row["exact"], "8 models, 4 and 4: 70 labellings, two of which are the same"
    beside = sx.silhouette(sx.distances(scores).distances, modality, 199)
    assert space.tests_.where(test="silhouette", contrast="modality")["statistic"][0] == beside.mean
    x = space.coordinates_["x"]
    assert (x[:4].min() > x[4:].max()) or (x[:4].max() < x[4:].min())
    # SNCI per modality and ROI is that of the function.
    rows = space.snci_.where(modality="text", kind="snr")
    expected = sx.snci(scores[4:], kind="snr", n_bootstraps=0).rois["value"]
    np.testing.assert_allclose(rows[rows["roi"] != "(median)"]["value"], expected, rtol=1e-12)
    mixed = quick(restricted="free").fit(scores, modality=["audio", "text"] * 4)
    assert mixed.tests_.where(test="permanova", contrast="modality")["p"][0] > 0.2


def test_permdisp_and_the_convergence_map_follow_their_settings():
    scores, modality = planted(n_each=5)
    scores, modality = scores[:9], modality[:9]
    for distance, choice, value in [
        ("euclidean", "centre", "centroid"),
        ("correlation", "negative_axes", "drop"),
        ("euclidean", "bias_factor", "small_sample"),
    ]:
        setting = {"centre": "dispersion_centre", "negative_axes": "dispersion_axes"}.get(
            choice, "dispersion_bias"
        )
        D = sx.distances(scores, distance).distances
        of = {"restricted": "free", "distance": distance}
        found = quick(**of, **{setting: value}).fit(scores, modality=modality)
        f = found.tests_.where(test="permdisp", contrast="modality")["statistic"][0]
        assert f == sx.permdisp(D, modality, **{choice: value}).f
        assert f != sx.permdisp(D, modality).f, choice
    # The least over modalities of the index, standardised over ROIs.
    space = quick(convergence_scale="z_score", convergence_threshold=0.2).fit(scores, modality=modality)
    z = []
    for name in ("audio", "text"):
        rows = space.snci_.where(modality=name, kind="snr")
        index = rows[rows["roi"] != "(median)"]["value"]
        z.append((index - index.mean()) / index.std(ddof=1))
    np.testing.assert_allclose(space.convergence_["convergence"], np.min(z, axis=0), rtol=1e-9)
    np.testing.assert_array_equal(space.convergence_["all_above"], np.min(z, axis=0) > 0.2)


def test_families_are_exchanged_whole_and_networks_are_averaged():
    scores, modality = planted(n_each=6)
    family = [f"{m} {i // 2}" for i, m in enumerate(modality)]
    space = quick(snci=["tstat", "profile"]).fit(
        scores, modality=modality, family=family, networks=["u", "u", "u", "v", "v", "v"]
    )
    row = space.tests_.where(test="permanova", contrast="modality")[0]
    assert row["p"] == 2 / 20 or not row["restricted"], "6 families: 20 labellings"
    assert "restriction_dropped" in space.warnings_["code"]
    assert {"(network) u", "(network) v", "(median)", "(profile)"} <= set(space.snci_["roi"])
    assert set(space.snci_["kind"]) == {"tstat", "profile"}
    assert set(space.convergence_["network"]) == {"u", "v"}
    assert len(space.tests_.where(test="permanova_without_family")) > 0
    without = quick(leave_one_family_out=False).fit(scores, modality=modality, family=family)
    assert len(without.tests_.where(test="permanova_without_family")) == 0


def test_an_undefined_score_leaves_its_roi_out():
    scores, modality = planted()
    hole = scores.copy()
    hole[2, 3] = np.nan
    space = quick(restricted="free").fit(hole, modality=modality)
    kept = sx.distances(np.delete(scores, 3, axis=1)).distances
    f = space.tests_.where(test="permanova", contrast="modality")["statistic"][0]
    assert f == pytest.approx(sx.permanova(kept, modality, 9).f, rel=1e-12)
    assert "rois_incomplete" in space.warnings_["code"]


def fit_model(noise_seed, weights, names=ROIS, **settings):
    rng = np.random.default_rng(1)
    latent = rng.normal(size=(90, 8))
    responses = latent @ rng.normal(size=(8, 5)) + 0.5 * rng.normal(size=(90, 5))
    noise = np.random.default_rng(noise_seed)
    layers = [(latent + 0.4 * noise.normal(size=(90, 8))) * weights for _ in range(5)]
    order = [ROIS.index(name) for name in names]
    return sx.NFAS(**{**FAST, **settings}).fit(layers, responses[:, order], roi_names=names)


@pytest.fixture(scope="module")
def models():
    front, back = np.repeat([1.0, 0.0], 4), np.repeat([0.0, 1.0], 4)
    made = {f"a{i}": fit_model(i, front) for i in range(3)}
    made |= {f"b{i}": fit_model(10 + i, back) for i in range(3)}
    return made


def test_fitted_models_bring_their_draws_and_controls(models):
    modality = {name: name[0] for name in models}
    space = quick(restricted="free").fit(models, modality=modality)
    assert set(space.coordinates_["representation"]) == {"stable_mode", "adaptive", "layer_mean"}
    stable = space.coordinates_.where(representation="stable_mode")
    assert (stable["sd_x"] > 0).all() and set(stable["status"]) == {"ok"}
    assert space.tests_.where(representation="stable_mode", test="permanova", contrast="modality")["p"] == 0.1
    # The controls of a model are those that it has by itself.
    own = models["a1"].controls_
    there = space.controls_.where(model="a1").drop("model", "modality")
    assert there == own
    # Over more models the adjustment is harder.
    one = models["a1"].significance_.where(representation="stable_mode")
    many = space.significance_.where(representation="stable_mode", model="a1")
    assert set(many["roi"]) == set(one["roi"]) and many["p_adj"].sum() >= one["p_adj"].sum()
    assert space.models_["status"].tolist() == ["ok"] * 6
    assert pickle.loads(pickle.dumps(space)).tests_ == space.tests_
    assert "<table>" in space._repr_html_() and repr(space) == repr(quick(restricted="free"))


def test_the_order_of_rois_and_models_changes_nothing(models):
    modality = {name: name[0] for name in models}
    # The same model with its ROIs in another order; fitting them in that order would change roundings.
    turned = copy.copy(models["b2"])
    turned._scored = sx._space._in_order(turned._scored, ROIS, ROIS[::-1])
    turned.roi_names_ = ROIS[::-1]
    assert turned._scored["scores"][0]["r"].tolist() != models["b2"]._scored["scores"][0]["r"].tolist()
    other = {**models, "b2": turned}
    a = quick(restricted="free").fit(models, modality=modality)
    b = quick(restricted="free").fit(dict(reversed(other.items())), modality=modality)
    assert a.tests_ == b.tests_ and a.coordinates_ == b.coordinates_ and a.controls_ == b.controls_
    refitted = {**models, "b2": fit_model(12, np.repeat([0.0, 1.0], 4), names=ROIS[::-1])}
    c = quick(restricted="free").fit(refitted, modality=modality)
    np.testing.assert_allclose(c.tests_["statistic"], a.tests_["statistic"], rtol=1e-6)


def test_models_are_compared_by_what_they_predict(models):
    modality = {name: name[0] for name in models}
    space = quick(restricted="free", embedding="response").fit(models, modality=modality)
    row = space.tests_.where(representation="stable_mode", test="permanova", contrast="modality")[0]
    predicted = [m.predictions_["stable_mode", "group"] for m in models.values()]
    flat = np.array([(p - p.mean(axis=0)).ravel() for p in predicted])
    expected = sx.permanova(1 - np.corrcoef(flat), list(modality.values()), 199)
    assert row["statistic"] == pytest.approx(expected.f, rel=1e-4) and row["p"] == expected.p_value
    other = sx.NFAS(**FAST)
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(90, 4)) for _ in range(5)]
    other.fit(layers, rng.normal(size=(90, 5)), roi_names=ROIS, stimulus_ids=[f"x{i}" for i in range(90)])
    odd = quick(embedding="response").fit({**models, "odd": other}, modality={**modality, "odd": "a"})
    status = odd.tests_.where(representation="adaptive", test="permanova", contrast="modality")["status"][0]
    assert status != "ok" and "stimuli" in status
    scores, groups = planted()
    assert "response" in quick(embedding="response").fit(scores, modality=groups).tests_["status"][0]


def test_other_adjustments_stand_beside_max_t(models):
    modality = {name: name[0] for name in models}
    holm = quick(multiplicity="holm").fit(models, modality=modality).significance_
    plain = quick(multiplicity="none").fit(models, modality=modality).significance_
    np.testing.assert_array_equal(plain["p_adj"], plain["p"])
    assert (holm["p_adj"] >= holm["p"]).all() and (holm["p_adj"] > holm["p"]).any()
    assert (holm["q_bh"] <= holm["q_by"]).all() and holm["p_max_t"].tolist() == plain["p_max_t"].tolist()
    assert len(quick().fit(models, modality=modality).influence_) > 0


def test_an_untrained_twin_is_a_control_and_no_member(models):
    noise = np.random.default_rng(3)
    rng = np.random.default_rng(1)
    latent = rng.normal(size=(90, 8))
    responses = latent @ rng.normal(size=(8, 5)) + 0.5 * rng.normal(size=(90, 5))
    twin = sx.NFAS(**FAST).fit([noise.normal(size=(90, 8)) for _ in range(5)], responses, roi_names=ROIS)
    modality = {**{name: name[0] for name in models}, "twin": "a"}
    space = quick(restricted="free").fit({**models, "twin": twin}, modality=modality, twin_of={"twin": "a0"})
    row = space.controls_.where(model="a0", control="untrained_twin")[0]
    assert row["difference"] > 0.1 and "twin" not in set(space.controls_["model"])
    assert space.tests_.where(representation="adaptive", test="permanova")["n_objects"].tolist()[0] == 6
    # The same as when the twin is given to the model itself.
    assert not space.models_.where(model="twin")["trained"][0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"modality": "audio"}, "one value per model"),
        ({"modality": ["a"]}, "`modality` has 1 values, but 8 expected"),
        ({"modality": {"model_1": "a"}}, "`modality` has nothing for `model_2`"),
        ({"family": [1, 2]}, "`family` has 2 values"),
        ({"networks": ["v"]}, "`networks` has 1 values, but 6 expected \\(one per ROI\\)"),
        ({"model_names": list("aabcdefg")}, "`a` twice"),
        ({"model_names": ["x"]}, "`model_names` has 1 names"),
        ({"roi_names": ["x"]}, "`roi_names` has 1 names"),
        ({"twin_of": {"model_1": "nobody"}}, "`nobody`, which is no model"),
        ({"models": [["a"] * 6] * 8}, "real numbers"),
        ({"models": np.full((8, 6), np.inf)}, "mark undefined scores by NaN"),
        ({"models": np.zeros(8)}, "models × ROIs"),
        ({"models": {}}, "`models` is empty"),
        ({"models": {"a": sx.NFAS()}}, "a fitted NFAS expected"),
        ({"models": {"a": "b"}}, "holds str for `a`"),
        ({"ceilings": [0.5]}, "ceilings of model model_1"),
    ],
)
def test_wrong_input_is_named(change, text):
    scores, modality = planted()
    given = {"models": scores, "modality": modality, **change}
    with pytest.raises(ValueError, match=text):
        quick().fit(given.pop("models"), **given)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"distance": "euclid"}, 'did you mean `"euclidean"`'),
        ({"embedding": "rnk"}, 'did you mean `"rank"`'),
        ({"snci": ["snr", "snr"]}, "each kind once"),
        ({"snci": []}, "at least one"),
        ({"restricted": "familly"}, 'did you mean `"family"`'),
        ({"level": 95}, "between 0 and 1"),
        ({"level": "0.9"}, "a number expected"),
        ({"n_permutations": 0}, "`n_permutations` is 0"),
        ({"min_models": 0}, "min_models"),
        ({"seed": -1}, "seed"),
        ({"exact": "yes"}, "`true` or `false`"),
    ],
)
def test_wrong_settings_are_named(settings, text):
    scores, modality = planted()
    with pytest.raises(ValueError, match=text):
        quick(**settings).fit(scores, modality=modality)


def test_models_that_cannot_be_paired_are_refused(models):
    odd = {
        "seed": fit_model(0, np.ones(8), seed=5),
        "n_bootstraps": fit_model(0, np.ones(8), n_bootstraps=50),
        "score": fit_model(0, np.ones(8), score="r2"),
    }
    for what, model in odd.items():
        with pytest.raises(ValueError, match=f"`odd` has {what}="):
            quick().fit({"a0": models["a0"], "odd": model}, modality=["a", "b"])
    other = fit_model(0, np.ones(8))
    other.roi_names_ = [*ROIS[:4], "OFC"]
    with pytest.raises(ValueError, match="differ in the ROIs `OFC`, `PFC`"):
        quick().fit({"a0": models["a0"], "other": other}, modality=["a", "b"])


def test_it_clones():
    sklearn = pytest.importorskip("sklearn.base")
    space = quick(distance="cosine", snci=("snr",))
    assert sklearn.clone(space).get_params() == space.get_params()
