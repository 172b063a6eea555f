"""No argument gets lost between a public function and the extension.

Every public function is called twice, with one argument changed; what arrives at `stereotax._core` must
differ. The extension is wrapped by a recorder, so the functions run as they are.
"""

import inspect

import numpy as np
import pytest
import stereotax as sx
from stereotax import _core

RNG = np.random.default_rng(3)
LAYERS = [RNG.normal(size=(60, 9)) for _ in range(7)]
POINTS = RNG.normal(size=(8, 5))
D = sx.distances(POINTS).distances
GROUPS = list("aaaabbbb")


class Recorder:
    """Stands in for `_core` and notes all arguments of every call."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        item = getattr(_core, name)
        if isinstance(item, type):
            return RecordedClass(self, item)
        if not callable(item):
            return item

        def call(*args, **kwargs):
            self.calls.append((name, plain(args), plain(kwargs)))
            return item(*args, **kwargs)

        return call


class RecordedClass:
    def __init__(self, recorder, item):
        self.recorder, self.item = recorder, item

    def __call__(self, *args, **kwargs):
        self.recorder.calls.append((self.item.__name__, plain(args), plain(kwargs)))
        return self.item(*args, **kwargs)

    def __getattr__(self, name):
        method = getattr(self.item, name)

        def call(*args, **kwargs):
            self.recorder.calls.append((name, plain(args), plain(kwargs)))
            return method(*args, **kwargs)

        return call


def plain(x):
    if isinstance(x, np.ndarray):
        return ("array", x.tobytes(), x.shape)
    if isinstance(x, list | tuple):
        return tuple(plain(i) for i in x)
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return repr(x) if not isinstance(x, str | int | float | bool | type(None) | _core.Moments) else str(x)


def recording(*modules):
    """A fixture that runs a function and returns the calls that some modules make to the core."""

    @pytest.fixture
    def recorded(monkeypatch):
        def run(function):
            recorder = Recorder()
            for module in modules:
                monkeypatch.setattr(getattr(sx, module), "_core", recorder)
            function()
            monkeypatch.undo()
            return recorder.calls

        return run

    return recorded


recorded = recording("_stats", "_depth", "_moments", "_retrieval", "_ceiling", "_profile", "_partition")


TESTS = {
    "D": (D, D * 2),
    "groups": (GROUPS, list("abababab")),
    "n_permutations": (9, 19),
    "families": (None, list("xxyyzzww")),
    "strata": (None, list("xyxyxyxy")),
    "seed": (0, 5),
    "exact_up_to": (100, 1000),
    "ids": (None, list("hgfedcba")),
}
SNCI = {
    "scores": (np.abs(POINTS), np.abs(POINTS) * 2),
    "families": (None, list("xxyyzzww")),
    "kind": ("snr", "bounded"),
    "sign_policy": ("zero", "carry"),
    "n_bootstraps": (10, 20),
    "interval": ("percentile", "bca"),
    "level": (0.95, 0.9),
    "included": (None, [True, True, True, True, False]),
    "seed": (0, 5),
}
RETRIEVAL = {
    "predicted": (POINTS, POINTS + 1),
    "observed": (POINTS, POINTS * 2),
    "stimuli": (None, list("aabbccdd")),
    "similarity": ("cosine", "pearson"),
    "n_permutations": (9, 19),
    "seed": (0, 5),
}
REPEATS = [POINTS, POINTS + RNG.normal(size=POINTS.shape)]
BOOTSTRAP = {
    "blocks": (None, list("aabbccdd")),
    "n_bootstraps": (10, 20),
    "level": (0.95, 0.9),
    "seed": (0, 5),
}
PLACE = {
    "rule": ("largest", "centroid"),
    "temperature": (0.05, 0.1),
    "n_permutations": (9, 19),
    "seed": (0, 5),
}
FUNCTIONS = {
    "two_vs_two": RETRIEVAL,
    "rank_accuracy": RETRIEVAL,
    "top_k_retrieval": {**RETRIEVAL, "k": (1, [1, 2]), "n_candidates": (None, 3)},
    "noise_ceiling": {
        **BOOTSTRAP,
        "repeats": (REPEATS, REPEATS[::-1]),
        "method": ("split_half", "ncsnr"),
        "runs": (None, list("aaaabbbb")),
        "n_splits": (10, 20),
        "unit_names": None,  # stays in Python: see test_ceiling.py
    },
    "half_corrected": {
        **BOOTSTRAP,
        "predicted": (REPEATS, REPEATS[::-1]),
        "observed": (REPEATS, REPEATS[::-1]),
        "least": (0.1, 0.2),
    },
    "encoding_score": {"scores": (POINTS, POINTS * 2)},
    "above_null": {"scores": (POINTS, POINTS * 2), "nulls": ([POINTS], [POINTS * 2]), "level": (0.95, 0.9)},
    "spatial_score": {
        **PLACE,
        "scores": (POINTS, POINTS * 2),
        "hierarchy": (range(5), range(5, 10)),
        "kept": (None, [True, True, True, True, False]),
        "regions": (None, list("abcde")),
        "of_mean_profile": (False, True),
        "surrogates": (None, POINTS),
    },
    "temporal_score": {
        **PLACE,
        "scores": (POINTS, POINTS * 2),
        "times": (range(5), range(5, 10)),
        "onset": (0.0, 1.0),
    },
    "half_time": {
        "steps": ([1, 2, 3], [1, 2, 4]),
        "scores": ([0, 0.5, 1], [0, 0.4, 1]),
        "baseline": (0.0, 0.1),
        "plateau": (1, 2),
    },
    "variance_partition": {
        "y": (POINTS, POINTS * 2),
        "predictions": ({"a": POINTS}, {"a": POINTS * 2}),
        "folds": (None, list("aaaabbbb")),
    },
    "product_measure": {
        "y": (POINTS, POINTS * 2),
        "parts": ({"a": POINTS}, {"a": POINTS * 2}),
        "folds": (None, list("aaaabbbb")),
    },
    "distances": {"coordinates": (POINTS, POINTS * 2), "kind": ("euclidean", "cosine")},
    "permanova": TESTS,
    "pairwise_permanova": TESTS,
    "silhouette": TESTS,
    "permdisp": {
        **TESTS,
        "centre": ("spatial_median", "centroid"),
        "negative_axes": ("subtract", "drop"),
        "bias_factor": ("none", "small_sample"),
    },
    "snci": {**SNCI, "roi_names": None},  # stays in Python: see the test below
    "profile_consistency": {k: v for k, v in SNCI.items() if k not in ("kind", "sign_policy")},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_of_the_functions_arrives(name, recorded):
    function, values = getattr(sx, name), FUNCTIONS[name]
    assert set(inspect.signature(function).parameters) == set(values), "a new argument needs two values here"
    values = {key: pair for key, pair in values.items() if pair is not None}
    base = {key: pair[0] for key, pair in values.items()}
    before = recorded(lambda: function(**base))
    for key, (_, other) in values.items():
        changed = {**base, key: other}
        if key == "groups":
            changed["families"] = None
        assert recorded(lambda changed=changed: function(**changed)) != before, f"`{key}` of {name} gets lost"


def test_names_of_rois_arrive_in_the_table():
    assert sx.snci(np.abs(POINTS), n_bootstraps=0, roi_names=list("abcde")).rois["roi"].tolist() == list(
        "abcde"
    )


SETTINGS = {
    "estimator": "forward_backward",
    "rank": 2,
    "select": "unit_circle",
    "modes": "exact",
    "amplitude": "first",
    "scale": "none",
    "centring": "none",
    "reduction": "tsqr",
    "layer_map": "procrustes",
    "max_width": 3,
    "tikhonov": 0.1,
    "min_energy": 0.2,
    "max_gain": 10.0,
    "seed": 3,
    "max_depth_change": 0.1,
    "max_rotation": 0.1,
    "max_residual": 0.1,
    "min_stable_energy": 0.2,
    "min_weight_correlation": 0.5,
    "trajectory": "pooled",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_of_depth_dmd_arrives(name, recorded):
    assert set(SETTINGS) == set(inspect.signature(sx.DepthDMD).parameters)
    mapped = {"layer_map": "pca"} if name == "max_width" else {}

    def run(**settings):
        depth = sx.DepthDMD(**{**mapped, **settings})
        return depth.fit(LAYERS).transform(LAYERS)

    assert recorded(lambda: run(**{name: SETTINGS[name]})) != recorded(run)


def test_settings_are_understood_as_they_were_meant():
    text = repr(sx.DepthDMD(**{**SETTINGS, "trajectory": "stacked"})._params())
    for word in (
        "ForwardBackward",
        "Fixed(2)",
        "UnitCircle",
        "Exact",
        "First",
        "tikhonov: 0.1",
        "min_energy: 0.2",
        "max_gain: 10.0",
        "seed: 3",
        "Tsqr",
        "max_depth_change: 0.1",
        "max_rotation: 0.1",
        "max_residual: 0.1",
        "min_weight_correlation: 0.5",
    ):
        assert word in text, f"{word} is missing in {text}"


def test_every_argument_of_moments_arrives():
    base = sx.DepthMoments(["a", "b", "c", "d"], 3, ["x"])
    assert base.layer_names == ["a", "b", "c", "d"] and base.width == 3 and base.block_names == ["x"]
    assert sx.DepthMoments(4, 3, unit_sample=True)._core.unit_sample
    assert sx.DepthMoments(4, 3, triangles=True)._core.triangles
    assert sx.DepthMoments.from_layers(LAYERS, triangles=True)._core.triangles
    assert sx.DepthMoments.from_tiles([("u", LAYERS)], triangles=True)._core.triangles
    assert sx.DepthMoments(4, 3, precision="bfloat16")._core.epsilon == 2.0**-7
    layers = LAYERS[:4]
    made = sx.DepthMoments.from_layers(
        layers, layer_names=list("pqrs"), blocks=["u", "v"] * 30, unit_sample=True
    )
    assert (
        made.layer_names == list("pqrs") and made.block_sizes == {"u": 30, "v": 30} and made._core.unit_sample
    )
    assert made.n_samples == 60 and made.n_layers == 4
    for weights in ([1, 0], [2, 1]):
        assert not np.allclose(made.gram(weights), made.gram())
        assert not np.allclose(made.layer_means(weights), made.layer_means())
    assert not np.allclose(made.gram(centring="none"), made.gram())
    assert not np.allclose(made.gram(scale="none"), made.gram())
    tiles = sx.DepthMoments.from_tiles(
        [("u", layers)], layer_names=list("pqrs"), unit_sample=True, precision="float16"
    )
    assert tiles.layer_names == list("pqrs") and tiles._core.unit_sample and tiles._core.epsilon == 2.0**-10


NFAS = {
    "n_folds": 4,
    "seed": 3,
    "trajectory": "sample",
    "estimator": "forward_backward",
    "rank": 2,
    "select": "unit_circle",
    "modes": "exact",
    "amplitude": "first",
    "scale": "none",
    "centring": "none",
    "layer_map": "pca",
    "max_width": 3,
    "align_all": True,
    "tikhonov": 0.1,
    "eligible_energy": 0.2,
    "max_gain": 10.0,
    "fit_on": "all",
    "gate_action": "report",
    "max_depth_gain": 3.0,
    "max_depth_rotation_deg": 20.0,
    "max_residual": 0.7,
    "min_energy": 0.3,
    "min_fold_correlation": 0.2,
    "hrf": "spm",
    "hrf_parity": "nilearn",
    "delays_s": (2.0, 6.0),
    "drop_padded": True,
    "derivatives": "time",
    "drift": "polort:2",
    "project_features": True,
    "encoder": "ols",
    "band_candidates": 3,
    "alphas": [0.5, 2.0],
    "alpha_per_roi": False,
    "equalize_dim": False,
    "max_dim": 5,
    "inner_folds": 3,
    "inner_loss": "correlation",
    "purge_s": 3.0,
    "score": "signed",
    "ceiling": "none",
    "min_ceiling": 0.3,
    "subjects": "group_mean",
    "controls": ["best_layer"],
    "multiverse": True,
    "n_bootstraps": 7,
    "n_shifts": 6,
    "n_shuffles": 5,
    "max_memory": 12345,
}


@pytest.mark.parametrize("name", NFAS)
def test_every_setting_of_nfas_arrives(name):
    assert set(NFAS) == set(inspect.signature(sx.NFAS).parameters)
    base = {"hrf": "spm"} if name in ("derivatives", "hrf_parity") else {}
    changed = sx.NFAS(**{**base, name: NFAS[name]})._params(None)
    assert repr(changed) != repr(sx.NFAS(**base)._params(None))


def test_the_defaults_are_those_of_a_study():
    numbers = {"n_bootstraps": 2000, "n_shifts": 1000, "n_shuffles": 20, "seed": 0, "max_memory": 2**30}
    core = _core.NfasParams("controls = { multiverse = false }", has_nuisance=False, **numbers)
    # The penalties are told as a list or as a range.
    assert repr(sx.NFAS()._params(None)) == repr(core)


def test_every_argument_of_its_fit_arrives(monkeypatch):
    calls = []

    class Stop(Exception):
        pass

    def record(*args):
        calls.append(plain(args[:-1]))
        raise Stop

    monkeypatch.setattr(sx._nfas._core, "nfas", record)
    Y = RNG.normal(size=(60, 2))
    base = {"layers": LAYERS, "responses": Y}
    other = {
        "layers": LAYERS[:5], "responses": Y * 2, "runs": ["a"] * 30 + ["b"] * 30, "tr_s": 2.0,
        "stimulus_ids": [f"c{i}" for i in range(60)], "blocks": ["x"] * 60, "layer_names": list("abcdefg"),
        "roi_names": ["A", "B"], "repeats": np.stack([Y, Y]), "ceilings": [0.5, 0.6],
        "nuisance": {"pitch": Y[:, :1]}, "untrained": LAYERS[2:], "confounds": Y[:, :1],
    }  # fmt: skip
    assert set(other) | {"self"} == set(inspect.signature(sx.NFAS.fit).parameters)
    for change in ({}, *({key: value} for key, value in other.items())):
        series = {"tr_s": 1.0} if "confounds" in change else {}
        with pytest.raises(Stop):
            sx.NFAS().fit(**{**base, **series, **change})
    for key, call in zip(other, calls[1:], strict=True):
        assert call != calls[0], f"`{key}` gets lost"
    # Confounds alone need a time series: it is not `tr_s` that arrived in their stead.
    assert calls[-1][4] and not calls[0][4]


SPACE = {
    "embedding": "z",
    "distance": "cosine",
    "snci": ["tstat"],
    "restricted": "free",
    "exact": False,
    "interval": "bca",
    "sign_policy": "carry",
    "multiplicity": "holm",
    "min_models": 3,
    "convergence_scale": "z_score",
    "convergence_threshold": 0.5,
    "dispersion_centre": "centroid",
    "dispersion_axes": "drop",
    "dispersion_bias": "small_sample",
    "leave_one_family_out": False,
    "level": 0.9,
    "n_permutations": 99,
    "n_bootstraps": 7,
    "seed": 3,
}


@pytest.mark.parametrize("name", SPACE)
def test_every_setting_of_a_space_arrives(name):
    assert set(SPACE) == set(inspect.signature(sx.ModelSpace).parameters)
    assert repr(sx.ModelSpace(**{name: SPACE[name]})._params()) != repr(sx.ModelSpace()._params())


def test_every_argument_of_a_space_arrives(monkeypatch):
    calls = []
    real = _core.compare_models

    def record(*args):
        calls.append(plain(args[:-1]))
        return real(*args)

    monkeypatch.setattr(sx._space._core, "compare_models", record)
    base = {"models": np.abs(POINTS), "modality": GROUPS}
    other = {
        "models": np.abs(POINTS) * 2, "modality": list("abababab"), "family": list("xxyyzzww"),
        "benchmark": list("pqpqpqpq"), "trained": [True] * 7 + [False], "twin_of": {"model_8": "model_1"},
        "networks": list("uuvvv"), "model_names": list("ABCDEFGH"), "roi_names": list("abcde"),
        "ceilings": [0.5] * 5,
    }  # fmt: skip
    assert set(other) | {"self"} == set(inspect.signature(sx.ModelSpace.fit).parameters)
    for change in ({}, *({key: value} for key, value in other.items())):
        sx.ModelSpace(n_permutations=99, n_bootstraps=0).fit(**{**base, **change})
    for key, call in zip(other, calls[1:], strict=True):
        assert call != calls[0], f"`{key}` gets lost"
