"""A study from Python is the study of the command line: same nodes, same bytes."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import stereotax as sx

STUDY = """
[study]
name = "planted"
seed = 7
preset = "robust"

[[stimuli]]
id = "clips"
ids = "stimuli.csv"
blocks = "stimulus"

[[brain]]
benchmark = "cortex"
stimuli = "clips"
modality = "auditory"
subjects = [ { id = "s1", responses = "responses.npz", key = "response", axes = AXES } ]
nuisance = [ { name = "pitch", file = "pitch.npy" } ]
by_order = true

[[model]]
name = "deep"
modality = "audio"
family = "planted"
[model.activations]
file = "layers.npz"
layers = ["l0", "l1", "l2", "l3", "l4"]
stimuli = "clips"
by_order = true

[[model]]
name = "random"
modality = "audio"
family = "planted"
trained = false
twin_of = "deep"
[model.activations]
file = "twin.npz"
layers = ["l0", "l1", "l2", "l3", "l4"]
stimuli = "clips"
by_order = true

[analysis.nfas]
outer_folds = "k_fold:3"
bootstraps = 100
shifts = 99
permutations = 99
controls = { layer_order = 2 }
""".replace("AXES", '["repeat", "stimulus", "target"]')


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(120, 4))
    np.savez(folder / "layers.npz", **{f"l{i}": latent + 0.3 * rng.normal(size=(120, 4)) for i in range(5)})
    np.savez(folder / "twin.npz", **{f"l{i}": rng.normal(size=(120, 4)) for i in range(5)})
    signal = latent @ rng.normal(size=(4, 3))
    np.savez(folder / "responses.npz", response=signal + rng.normal(size=(3, 120, 3)))
    np.save(folder / "pitch.npy", latent[:, :1])
    ids = "\n".join(f"clip{i}" for i in range(120))
    (folder / "stimuli.csv").write_text(f"stimulus_id\n{ids}\n", encoding="utf-8")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(folder):
    study = sx.Study(folder / "study.toml")
    return study, study.run(folder / "out", threads=2)


def digest(results):
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(pathlib.Path(results).iterdir())
    }


def test_check_and_plan_tell_and_write_nothing(folder):
    study = sx.Study(folder / "study.toml")
    found = study.check()
    assert found.columns == ["severity", "code", "text"] and any(
        "120 samples" in text for text in found["text"]
    )
    before = sorted(folder.iterdir())
    plan = study.plan(folder / "never", threads=1, max_memory="1G")
    assert (
        len(plan.nodes) > 10 and not plan.nodes["done"].any() and plan.seconds > 0 and plan.memory_bytes > 0
    )
    assert sorted(folder.iterdir()) == before


def test_a_run_makes_tables_a_report_and_can_be_repeated(folder, run):
    study, outcome = run
    assert outcome.computed > 10 and outcome.reused == 0
    assert outcome.report.is_file() and outcome.to_dict()["results"] == str(folder / "out" / "results")
    tables = study.results(folder / "out")
    scores = tables["scores"]
    rows = scores.where(model="deep", representation="stable_mode", subject="s1")
    assert len(rows) == 3 and rows["r"].min() > 0.8
    assert study.manifest(folder / "out")["seed"] == 7
    again = study.run(folder / "out")
    assert again.computed == 0 and again.reused == outcome.computed
    assert study.plan(folder / "out").nodes["done"].all()


def test_progress_is_told_to_the_end_and_may_stop_the_run(folder, run):
    told = []
    study, outcome = run
    study.run(folder / "watched", progress=lambda *now: told.append(now))
    task, done, total = told[-1]
    assert (
        task
        and done == total
        and all(a[1] <= b[1] for a, b in zip(told, told[1:], strict=False) if a[0] == b[0])
    )

    def enough(task, done, total):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        study.run(folder / "stopped", progress=enough)
    # What was finished is kept, and the results are the same.
    study.run(folder / "stopped")
    assert digest(folder / "stopped" / "results") == digest(outcome.results)


def test_the_command_computes_the_same_bytes(folder, run):
    command = [
        sys.executable,
        "-m",
        "stereotax",
        "run",
        str(folder / "study.toml"),
        "--out",
        str(folder / "other"),
    ]
    ran = subprocess.run([*command, "--threads", "1"], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert digest(folder / "other" / "results") == digest(folder / "out" / "results")


def test_the_estimator_has_the_numbers_of_the_study(folder, run):
    study, _ = run
    tables = study.results(folder / "out")
    layers, twin = np.load(folder / "layers.npz"), np.load(folder / "twin.npz")
    repeats = np.load(folder / "responses.npz")["response"]
    rois = list(dict.fromkeys(roi for roi in tables["scores"]["roi"] if not roi.startswith("(")))
    nfas = sx.NFAS(n_folds=3, seed=7, n_bootstraps=100, n_shifts=99, n_shuffles=2, multiverse=True).fit(
        {name: layers[name] for name in layers.files},
        {"s1": repeats.mean(axis=0)},
        repeats={"s1": repeats},
        nuisance={"pitch": np.load(folder / "pitch.npy")},
        untrained=[twin[name] for name in twin.files],
        stimulus_ids=[f"clip{i}" for i in range(120)],
        roi_names=rois,
    )
    scores = tables["scores"].where(model="deep")
    for representation in (
        "stable_mode", "layer_mean", "best_layer", "adaptive", "pod", "shuffled_01", "nuisance:pitch",
    ):  # fmt: skip
        # Shuffles are told as means over subjects, of which there is one.
        subject = "(mean)" if representation == "shuffled_01" else "s1"
        expected = scores.where(representation=representation, subject=subject)
        expected = expected[[not roi.startswith("(") for roi in expected["roi"]]]
        assert len(expected) == 3
        found = nfas.scores_.where(representation=representation)
        for name in ("r", "score", "ceiling", *(["p"] if subject == "s1" else [])):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, err_msg=name)
    ceilings = tables["rois"]
    np.testing.assert_allclose(nfas.ceilings_["ceiling"], ceilings["ceiling"], rtol=1e-12)
    assert set(nfas.ceilings_["kind"]) == set(ceilings["ceiling_kind"]) == {"split_half"}
    cells = tables["multiverse"].where(model="deep")
    for name in ("score", "versus_layer_mean", "lambda_re", "lambda_im"):
        np.testing.assert_allclose(nfas.multiverse_[name], cells[name], rtol=1e-12, atol=1e-14)
    for name in ("scale", "select", "rank", "estimator"):
        assert nfas.multiverse_[name].tolist() == cells[name].tolist()
    controls = tables["controls"].where(model="deep")
    assert nfas.controls_["control"].tolist() == controls["control"].tolist()
    for name in ("claim", "value", "difference"):
        np.testing.assert_allclose(nfas.controls_[name], controls[name], rtol=1e-9, err_msg=name)
    # A study keeps draws in single precision.
    for name in ("lower", "upper"):
        np.testing.assert_allclose(nfas.controls_[name], controls[name], atol=1e-6, err_msg=name)
    assert nfas.verdict_ and tables["models"].where(model="deep")["verdict"][0] == "stable"
    space = sx.ModelSpace(n_permutations=99, n_bootstraps=100, seed=7).fit(
        {"deep": nfas}, modality=["audio"], benchmark=["cortex"]
    )
    assert space.tests_["status"].tolist() == tables["tests"]["status"].tolist()
    assert space.coordinates_["model"].tolist() == ["deep"] * 3


def test_exit_codes_of_the_command_arrive(folder):
    def code(*arguments):
        ran = subprocess.run([sys.executable, "-m", "stereotax", *arguments], capture_output=True, text=True)
        return ran.returncode, ran.stdout, ran.stderr

    status, out, _ = code("--version")
    assert status == 0 and sx.__version__ in out
    status, out, err = code("check", str(folder / "nowhere.toml"))
    assert status == 2 and out == "" and err.startswith("error: ")
    assert code("no-such-command")[0] == 2
    status, out, _ = code("check", str(folder / "study.toml"), "--json")
    assert status == 0 and all(json.loads(line)["severity"] for line in out.splitlines())


def test_mistakes_become_the_exceptions_one_looks_for(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="no study file"):
        sx.Study(tmp_path / "study.toml").check()
    wrong = tmp_path / "study.toml"
    wrong.write_text(STUDY.replace('preset = "robust"', 'preset = "robustt"'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"study\.toml:5:.*preset"):
        sx.Study(wrong).run(tmp_path / "out")
    wrong.write_text(STUDY, encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"stimuli\.csv"):
        sx.Study(wrong).check()
    with pytest.raises(ValueError, match="no finished results"):
        sx.Study(wrong).results(tmp_path)
    study = sx.Study(folder / "study.toml")
    with pytest.raises(ValueError, match="threads"):
        study.run(tmp_path / "out", threads=0)
    with pytest.raises(ValueError, match="a size expected"):
        study.run(tmp_path / "out", max_memory="much")
    with pytest.raises(ValueError, match="max-memory"):
        study.run(tmp_path / "out", max_memory=1)
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    with pytest.raises(OSError):
        study.run(file / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "size"), [("8G", 8 * 2**30), ("500MB", 500 * 2**20), ("1.5KiB", 1536), ("77", 77)]
)
def test_sizes(text, size):
    from stereotax._study import _bytes

    assert _bytes(text) == _bytes(size) == size and _bytes(None) is None


def test_settings_arrive(monkeypatch, folder):
    calls = []
    monkeypatch.setattr(
        sx._study,
        "_core",
        type(
            "C",
            (),
            {
                "study_run": lambda *a: calls.append(a) or {"computed": 0, "reused": 0, "warnings": []},
                "study_plan": lambda *a: (
                    calls.append(a) or {"nodes": {}, "seconds": 0, "memory_bytes": 0, "disk_bytes": 0}
                ),
            },
        ),
    )
    study = sx.Study(folder / "study.toml")
    study.run("out", threads=3, max_memory="1K", recheck=True, progress=print)
    study.plan("out", threads=5, max_memory=7)
    out = pathlib.Path("out")
    assert calls == [(study.path, out, 3, 1024, True, print), (study.path, out, 5, 7)]
    assert os.fspath(study.path).endswith("study.toml")
