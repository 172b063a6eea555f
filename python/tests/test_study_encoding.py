"""What a study encodes is what the estimators predict, fold by fold, on the same rows."""

import numpy as np
import pytest
import stereotax as sx

RUNS, ROWS = 4, 30
N = RUNS * ROWS
GRID = [1e-2, 1e-1, 1.0, 10.0, 100.0]

STUDY = """
[study]
name = "encoding"
seed = 5
[[stimuli]]
id = "images"
ids = "stimuli.csv"
[[brain]]
benchmark = "b"
stimuli = "images"
modality = "vision"
by_order = true
subjects = [ { id = "one", responses = "responses.npy" } ]
[[model]]
name = "net"
modality = "vision"
family = "net"
activations = { file = "layers.npz", layers = ["a", "b", "c"], stimuli = "images", by_order = true }
[analysis.encoding]
outer_folds = "leave_run_out"
alphas = [1e-2, 1e-1, 1.0, 10.0, 100.0]
bootstraps = 100
shifts = 99
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoding")
    rng = np.random.default_rng(4)
    latents = [rng.normal(size=(N, 3)) for _ in range(3)]
    layers = [
        z @ rng.normal(size=(3, width)) + 0.3 * rng.normal(size=(N, width))
        for z, width in zip(latents, (8, 14, 140), strict=True)
    ]
    y = np.column_stack(
        [
            latents[0][:, 0] + 0.5 * rng.normal(size=N),
            np.sqrt(3) * latents[1][:, 0] + latents[2][:, 1] + 0.5 * rng.normal(size=N),
            2 * latents[2][:, 0] + rng.normal(size=N),
        ]
    )
    np.savez(folder / "layers.npz", **dict(zip("abc", layers, strict=True)))
    np.save(folder / "responses.npy", y)
    rows = "\n".join(f"s{i:03d},run{i // ROWS}" for i in range(N))
    (folder / "stimuli.csv").write_text(f"stimulus_id,run\n{rows}\n", encoding="utf-8")
    return folder, layers, y


def run_study(folder, name, choices, alphas=True):
    """The tables of a study with these choices."""
    lines = [line for line in STUDY.splitlines() if alphas or not line.startswith("alphas")]
    path = folder / f"{name}.toml"
    path.write_text("\n".join([*lines, choices]), encoding="utf-8")
    study = sx.Study(path)
    study.run(folder / name)
    return study.results(folder / name)


def r_of(tables):
    """r of every layer name, over the three targets."""
    table = tables["encoding"]
    found = {}
    for layer, r in zip(table["layer"], table["r"], strict=True):
        found.setdefault(layer, []).append(r)
    return {layer: np.array(r) for layer, r in found.items()}


def by_hand(predict, y):
    """Fold by fold: the mean of r over held-out runs of equal length."""
    run = np.arange(N) // ROWS
    r = []
    for held in range(RUNS):
        train, test = run != held, run == held
        predicted = predict(train, test, run[train])
        r.append([np.corrcoef(predicted[:, j], y[test, j])[0, 1] for j in range(y.shape[1])])
    return np.mean(r, axis=0)


def z_scored(layer, train):
    return (layer - layer[train].mean(axis=0)) / layer[train].std(axis=0)


@pytest.mark.parametrize(
    ("name", "choices", "make"),
    [
        ("ridge", "", lambda: sx.RidgeCV(GRID)),
        ("pls", 'encoder = "pls:4"', lambda: sx.PLSRegression(4)),
        ("linear", 'encoder = "kernel_ridge"', lambda: sx.KernelRidgeCV(alphas=GRID)),
        (
            "polynomial",
            'encoder = "kernel_ridge"\nkernel = "polynomial:2"',
            lambda: sx.KernelRidgeCV("poly", degree=2, alphas=GRID),
        ),
        (
            "rbf",
            'encoder = "kernel_ridge"\nkernel = "rbf:0.02"',
            lambda: sx.KernelRidgeCV("rbf", gamma=0.02, alphas=GRID),
        ),
    ],
)
def test_every_encoder_of_a_study_is_its_estimator(planted, name, choices, make):
    folder, layers, y = planted
    found = r_of(run_study(folder, name, choices, alphas=name != "pls"))
    for layer, values in zip("abc", layers, strict=True):

        def predict(train, test, groups, values=values):
            z, model = z_scored(values, train), make()
            given = {} if name == "pls" else {"groups": groups}
            return model.fit(z[train], y[train], **given).predict(z[test])

        np.testing.assert_allclose(found[layer], by_hand(predict, y), atol=1e-10, err_msg=layer)


def test_stacked_layers_of_a_study_are_those_of_the_estimator(planted):
    folder, layers, y = planted
    tables = run_study(folder, "stacked", 'combine = "stacked"')
    weights = []

    def predict(train, test, groups):
        z = [z_scored(layer, train) for layer in layers]
        model = sx.StackedRidgeCV(sx.RidgeCV(GRID)).fit([layer[train] for layer in z], y[train], groups)
        weights.append(model.weights_)
        return model.predict([layer[test] for layer in z])

    np.testing.assert_allclose(r_of(tables)["(stacked)"], by_hand(predict, y), atol=1e-10)
    table = tables["encoding_weights"]
    for j, target in enumerate(["roi_1", "roi_2", "roi_3"]):
        rows = [i for i, name in enumerate(table["targets"]) if name == target]
        np.testing.assert_allclose(
            [table["weight"][i] for i in rows], np.mean(weights, axis=0)[:, j], atol=1e-9, err_msg=target
        )


def test_banded_layers_of_a_study_are_those_of_the_estimator(planted):
    folder, layers, y = planted
    tables = run_study(folder, "banded", 'combine = "banded:15"')

    def predict(train, test, groups):
        # Bands of equal variance: features over the square root of their number.
        z = [z_scored(layer, train) / np.sqrt(layer.shape[1]) for layer in layers]
        model = sx.BandedRidgeCV(n_draws=15, concentration=(0.1, 1.0), seed=5, alphas=GRID)
        model.fit([layer[train] for layer in z], y[train], groups=groups)
        return model.predict([layer[test] for layer in z])

    np.testing.assert_allclose(r_of(tables)["(banded)"], by_hand(predict, y), atol=1e-10)
