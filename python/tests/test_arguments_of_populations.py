"""No argument of readouts, localisers, transfer and population measures gets lost.

As test_arguments.py: every call is made twice, with one argument changed, and what arrives must differ.
"""

import inspect

import numpy as np
import pytest
import stereotax as sx
from test_arguments import recording

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 4)), RNG.normal(size=(30, 3))
MAPS = RNG.normal(size=(30, 3, 2, 4))
TOKENS = RNG.normal(size=(30, 8, 3))
FOLDS = [(list(range(15)), list(range(15, 30))), (list(range(15, 30)), list(range(15)))]
SCORES, NAMES = RNG.normal(size=(2, 5, 30)), ["a", "b", "c"] * 10
PAIRS = {"p": (X, Y), "q": (X + 1, Y + 2)}
TURNED = RNG.normal(size=(4, 6, 5))
recorded = recording(
    "_nonlinearity", "_uncertainty", "_readout", "_in_context", "_localise", "_transfer", "_areas", "_latent"
)


FUNCTIONS = {
    "jacobian_nonlinearity": {"jacobians": (TURNED, TURNED + 1)},
    "linear_surrogate": {"X": (X, X + 1), "y": (Y, Y + 1), "explained": (0.5, 0.6), "seed": (0, 5)},
    "predictive_uncertainty": {
        "samples": (TURNED, TURNED + 1),
        "truth": (TURNED[0], TURNED[1]),
        "noise_variance": (1.0, 2.0),
        "levels": ([0.5], [0.6]),
    },
    "gaussian_uncertainty": {
        "mean": (X, X + 1),
        "variance": (X**2, X**2 + 1),
        "truth": (X, X + 2),
        "noise_variance": (1.0, 2.0),
        "levels": ([0.5], [0.6]),
    },
    "selection_overlap": {
        "first": ([1, 0, 1], [1, 1, 1]),
        "second": ([1, 0, 1], [1, 1, 1]),
        "eligible": (None, [1, 0, 1]),
    },
    "transfer_matrix": {
        "modalities": (PAIRS, {**PAIRS, "q": (X, Y)}),
        "runs": (None, {"p": ["u"] * 10 + ["v"] * 20, "q": ["u"] * 15 + ["v"] * 15}),
        "alphas": ([1.0], [2.0]),
        "n_folds": (3, 2),
        "n_inner": (2, 3),
        "dimensions": ([1], [2]),
        "n_permutations": (9, 19),
        "block": (5, 3),
        "seed": (0, 5),
        "delays": ((), [1, 2]),
    },
    "assign_layers": {
        "hierarchy": ({"a": 0, "b": 1}, {"a": 1, "b": 0}),
        "n_layers": (5, 6),
        "lowest_layer": (0, 1),
    },
    "area_layers": {
        "scores": (SCORES, SCORES + 1),
        "areas": (NAMES, NAMES[::-1]),
        "hierarchy": ({"a": 0, "b": 1, "c": 2}, {"a": 2, "b": 1, "c": 0}),
        "n_permutations": (9, 19),
        "seed": (0, 5),
    },
    "receptive_fields": {
        "fields": (TURNED, TURNED + 1),
        "images": None,  # in place of fields: see the test below
        "responses": None,
        "widest": (None, 2.0),
    },
    "rotation_invariance": {
        "responses": (TURNED, TURNED + 1),
        "gray": (None, np.ones(5)),
        "n_pairs": (2, 3),
        "n_components": (2, 3),
        "cost": (1.0, 2.0),
        "seed": (0, 5),
    },
    "object_information": {
        "responses": (X[:12], X[1:13]),
        "objects": (list("aaaaaabbbbbb"), list("aaaaaacccccc")),
        "clips": (list("mmnnoopqqrrr"), list("mmnnooqqqrrs")),
        "n_folds": (2, 3),
        "n_shuffles": (9, 19),
        "seed": (0, 5),
    },
    "order_agreement": {
        "measure": ([1, 2, 4], [1, 2, 3]),
        "hierarchy": ([1, 2, 3], [3, 2, 1]),
        "n_permutations": (9, 19),
        "seed": (0, 5),
    },
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
        assert recorded(lambda changed=changed: function(**changed)) != before, f"`{key}` of {name} gets lost"


def test_white_noise_arrives(recorded):
    def run(images, responses):
        return recorded(lambda: sx.receptive_fields(images=images, responses=responses))

    base = run(TURNED**2, X[:4] ** 2)
    assert run(TURNED, X[:4] ** 2) != base and run(TURNED**2, X[:4] ** 4) != base


POOLED = {
    "head_alpha": 0.5, "penalty": 0.5, "n_starts": 1, "max_iterations": 3, "tolerance": 0.1, "seed": 3,
    "grid": (2, 4),
}  # fmt: skip
SETTINGS = {
    "FactorisedReadout": (
        lambda each: each.fit(TOKENS, Y),
        {
            "rank": 2, "alphas": [0.5], "smoothness": 0.5, "non_negative": True, "cv": FOLDS,
            "max_iterations": 3, "tolerance": 0.1, "grid": (2, 4),
        },
    ),
    "PointReadout": (
        lambda each: each.fit(TOKENS if each.grid else MAPS, Y),
        {"alphas": [0.5], "cv": FOLDS, "grid": (2, 4)},
    ),
    "AttentionReadout": (lambda each: each.fit(TOKENS, Y), {**POOLED, "positions": False}),
    "GatedMaskReadout": (lambda each: each.fit(TOKENS, Y), {**POOLED, "n_masks": 3}),
    "InContextEncoder": (lambda each: each.fit(X, Y), {"max_iterations": 3, "tolerance": 0.1}),
    "UnitLocaliser": (lambda each: each.fit(X, X + 1), {"n_units": 2, "level": 0.5, "absolute": False}),
    "LatentFactors": (lambda each: each.fit(X), {"n_factors": 1, "max_iterations": 3, "tolerance": 0.1}),
    "ZeroInflatedGamma": (lambda each: each.fit(X**2), {"loc": 0.01}),
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_of_the_estimators_arrives(name, recorded):
    (fit, settings), kind = SETTINGS[name], getattr(sx, name)
    assert set(settings) == set(inspect.signature(kind).parameters), "a new setting needs a value here"
    for key, value in settings.items():
        base = {"grid": (4, 2)} if key in ("smoothness", "positions") and "grid" in settings else {}
        before = recorded(lambda base=base: fit(kind(**base)))
        after = recorded(lambda key=key, value=value, base=base: fit(kind(**{**base, key: value})))
        assert after != before, f"`{key}` of {name} gets lost"


def test_what_methods_are_told_arrives(recorded):
    encoder, localiser = sx.InContextEncoder().fit(X, Y), sx.UnitLocaliser(2).fit(X, X + 1)
    latent, w = sx.LatentFactors(1).fit(X), np.ones((5, 3))
    curve = {"X": X, "y": Y, "X_test": X, "y_test": Y, "sizes": [5], "n_draws": 1, "seed": 0}
    for method, base, changes in (
        (encoder.encode, {"X": X, "y": Y}, {"X": X + 1, "y": Y + 1}),
        (
            encoder.decode,
            {"weights": w, "responses": Y, "noise_variance": None},
            {"weights": w + 1, "responses": Y + 1, "noise_variance": [1, 2, 3]},
        ),
        (
            encoder.context_curve,
            curve,
            {"X": X + 1, "y": Y + 1, "X_test": X + 1, "y_test": Y + 1, "sizes": [6], "n_draws": 2, "seed": 1},
        ),
        (
            localiser.split_half,
            {"positive": X, "negative": Y[:, [0, 0, 0, 0]], "n_splits": 1, "seed": 0},
            {"positive": X + 1, "negative": X, "n_splits": 2, "seed": 1},
        ),
        (
            localiser.control,
            {"kind": "random", "n_units": None, "percentiles": (40.0, 60.0), "seed": 0},
            {"kind": "lowest", "n_units": 1, "percentiles": (20.0, 60.0), "seed": 1},
        ),
        (latent.transform, {"X": X, "observed": None}, {"X": X + 1, "observed": [1, 0, 1, 1]}),
        (latent.predict, {"X": X, "observed": [1, 1, 0, 0]}, {"X": X + 1, "observed": [1, 0, 1, 1]}),
    ):
        assert set(base) == set(inspect.signature(method).parameters) == set(changes)
        before = recorded(lambda method=method, base=base: method(**base))
        for key, value in changes.items():
            after = recorded(lambda method=method, told={**base, key: value}: method(**told))
            assert after != before, f"`{key}` of {method.__name__} gets lost"
    for kind in (sx.AttentionReadout, sx.GatedMaskReadout):
        readout = kind(max_iterations=1)
        before = recorded(lambda readout=readout: readout.fit(MAPS, Y))
        assert recorded(lambda readout=readout: readout.fit(MAPS, Y, regions=["a", "b", "a"])) != before
