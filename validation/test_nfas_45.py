"""The 45 networks of examples/nfas-45: built from their configurations, tapped, run; its "
"adapters on small files."""

import csv
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import stereotax as sx

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "nfas-45"
sys.path.insert(0, str(EXAMPLE))

import adapters  # noqa: E402
import networks  # noqa: E402
import plain_pickle  # noqa: E402
import prepare  # noqa: E402

RNG = np.random.default_rng(4)
MODELS = networks.models()


def test_there_are_fifteen_of_each_in_families():
    modalities = [entry["modality"] for entry in MODELS]
    assert {m: modalities.count(m) for m in set(modalities)} == {"vision": 15, "audio": 15, "language": 15}
    assert len({entry["name"] for entry in MODELS}) == 45


@pytest.mark.parametrize("entry", MODELS, ids=[entry["name"] for entry in MODELS])
def test_every_network_is_built_tapped_and_run(entry):
    torch = pytest.importorskip("torch")
    pytest.importorskip("timm")
    pytest.importorskip("transformers")
    with torch.device("meta"):
        true = networks.from_configuration(entry)
    # wav2vec's kin make one vector of parameters in memory; nothing large may be.
    assert sum(p.numel() for p in true.parameters() if p.device.type != "meta") <= 1024
    n_true = len(sx.tap(true, entry["layers"]).layers)
    torch.manual_seed(0)
    small = networks.from_configuration(entry, small=True).eval()
    found = sx.tap(small, entry["layers"], pool=entry["pool"]).activations(
        networks.example_input(entry, small=True, n=2)
    )
    assert len(found) >= 4 and (n_true >= 4 or entry["family"] == "albert")  # ALBERT runs one block 12 times
    for values in found.values():
        assert values.shape[0] == 2 and np.isfinite(values).all() and values.std() > 0


def test_true_sizes_are_those_that_were_published():
    torch = pytest.importorskip("torch")
    pytest.importorskip("timm")
    pytest.importorskip("transformers")
    # Millions of parameters, as the model cards and papers say, to three digits.
    published = {
        "resnet50": 25.6, "vit_base_patch16_224": 86.6, "convnext_base": 88.6, "wav2vec2-base": 94.4,
        "hubert-large": 315, "gpt2": 124, "gpt2-xl": 1558, "opt-1.3b": 1316, "bert-base-uncased": 109.5,
        "bloom-560m": 559, "qwen2.5-0.5b": 494,
    }  # fmt: skip
    for entry in MODELS:
        if entry["name"] in published:
            with torch.device("meta"):
                model = networks.from_configuration(entry)
            n = sum(p.numel() for p in model.parameters()) / 1e6
            assert n == pytest.approx(published[entry["name"]], rel=0.004), entry["name"]


def test_the_forecast_counts_what_torch_counts():
    pytest.importorskip("torch")
    pytest.importorskip("timm")
    import forecast

    entry = next(e for e in MODELS if e["name"] == "resnet18")
    parameters, operations, numbers, _ = forecast.count(entry)
    assert parameters == 11_689_512 and numbers == 2 * (64 + 128 + 256 + 512)
    assert operations == pytest.approx(2 * 1.814e9, rel=0.001)  # torchvision's 1.81 GFLOPS are multiply-adds


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("touched-by-a-pickle"),))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2", "u1", "?"])
def test_pickles_of_plain_arrays_are_read(tmp_path, protocol, dtype):
    array = (100 * RNG.normal(size=(3, 4, 5))).astype(dtype)
    told = {
        "train": array,
        "fortran": np.asfortranarray(array),
        "n": 3,
        "name": "ü",
        "list": [np.float64(1.5)],
    }
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(told, protocol=protocol))
    found = plain_pickle.load(tmp_path / "a.pkl")
    assert list(found) == list(told) and found["name"] == "ü" and found["list"] == [1.5]
    for name in ("train", "fortran"):
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_every_other_pickle_is_refused_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pkl"
    bad = [Evil(), {"train": Evil()}, np.array([Evil()]), np.array([{}, []], dtype=object), {"train": {1, 2}}]
    bad += [np.zeros(2, dtype=[("a", "f4")]), np.array(["text"]), Path("x"), len, complex(1, 2)]
    for value in bad:
        path.write_bytes(pickle.dumps(value))
        with pytest.raises(plain_pickle.NotPlain):
            plain_pickle.load(path)
    assert not (tmp_path / "touched-by-a-pickle").exists()
    for text in (
        b"cos\nsystem\n(S'touch touched-by-a-pickle'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"",
        b"PK\x03\x04",
    ):
        path.write_bytes(text)
        with pytest.raises(plain_pickle.NotPlain):
            plain_pickle.load(path)
    assert not (tmp_path / "touched-by-a-pickle").exists()


def test_damaged_pickles_end_with_an_error_of_ours(tmp_path):
    whole = pickle.dumps({"train": np.arange(24.0).reshape(2, 3, 4)}, protocol=2)
    path = tmp_path / "a.pkl"
    for k in range(400):
        raw = bytearray(whole)
        for at in RNG.integers(0, len(raw), 1 + k % 4):
            raw[at] = RNG.integers(0, 256)
        path.write_bytes(bytes(raw[: RNG.integers(1, len(raw) + 1)]) if k % 3 == 0 else bytes(raw))
        try:
            plain_pickle.load(path)
        except plain_pickle.NotPlain as reason:
            assert str(path) in str(reason) or "pickle" in str(reason)


def test_algonauts_as_it_lies_on_disk(tmp_path):
    arrays = {}
    for subject in ("sub01", "sub02"):
        folder = tmp_path / "participants_data_v2021" / "mini_track" / subject
        folder.mkdir(parents=True)
        for roi in ("V1", "FFA"):
            arrays[subject, roi] = RNG.normal(size=(6, 3, 7 if roi == "V1" else 4))
            (folder / f"{roi}.pkl").write_bytes(pickle.dumps({"train": arrays[subject, roi]}))
    films = tmp_path / "AlgonautsVideos268_All_30fpsmax"
    films.mkdir()
    for i in range(8):
        (films / f"{i + 1:04d}_0-0-1.mp4").touch()
    made = adapters.algonauts2021(tmp_path, tmp_path / "out" / "algonauts")
    assert made["rois"] == ["V1", "FFA"] and made["n_subjects"] == 2 and made["notes"] == []
    stored = np.load(tmp_path / "out" / "algonauts" / "sub02.npy")
    np.testing.assert_allclose(stored[1, :, 1], arrays["sub02", "FFA"][:, 1].mean(axis=1))
    with open(tmp_path / "out" / "algonauts" / "stimuli.csv") as file:
        assert [row["stimulus_id"] for row in csv.DictReader(file)] == [
            f"{i + 1:04d}_0-0-1" for i in range(6)
        ]
    (tmp_path / "participants_data_v2021" / "mini_track" / "sub01" / "V1.pkl").write_bytes(
        pickle.dumps(Evil())
    )
    with pytest.raises(plain_pickle.NotPlain, match="plain arrays"):
        adapters.algonauts2021(tmp_path, tmp_path / "out" / "again")


def volumes(nibabel, path, n, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = 100 + np.random.default_rng(seed).normal(size=(4, 4, 4, n))
    image = nibabel.Nifti1Image(values.astype("f4"), np.eye(4))
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 1.5
    nibabel.save(image, path)
    return values


@pytest.fixture
def atlas(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    labels = np.zeros((4, 4, 4), dtype=np.int16)
    labels[:2], labels[2:, :2] = 3, 9
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), tmp_path / "atlas.nii.gz")
    return nibabel, tmp_path / "atlas.nii.gz", labels


def test_narratives_as_it_lies_on_disk(tmp_path, atlas):
    nibabel, labels_file, labels = atlas
    root, bold = tmp_path / "ds002345", {}
    for k, (subject, run) in enumerate((("001", "1"), ("001", "2"), ("002", "1"))):
        base = f"sub-{subject}_task-tunnel_run-{run}"
        func = root / "derivatives" / "fmriprep" / f"sub-{subject}" / "func"
        name = f"{base}_space-MNI152NLin2009cAsym_res-native_desc-preproc_bold.nii.gz"
        bold[subject, run] = volumes(nibabel, func / name, 24 + 2 * k, k)
        events = root / f"sub-{subject}" / "func" / f"{base}_events.tsv"
        events.parent.mkdir(parents=True, exist_ok=True)
        events.write_text("onset\tduration\ttrial_type\n0\t3\tmusic\n3.0\t30\tstory\n")
    gentle = root / "stimuli" / "gentle" / "tunnel"
    gentle.mkdir(parents=True)
    (gentle / "align.csv").write_text("So,so,0.25,0.5\nuhm,,,\nthere,there,1.0,1.4\n")
    out = tmp_path / "out" / "narratives-tunnel"
    made = adapters.narratives(root, "tunnel", labels_file, out)
    assert made["rois"] == ["3", "9"] and made["n_subjects"] == 2
    assert len(made["notes"]) == 3 and "1 of 3 words" in made["notes"][2]
    stored = np.load(out / "002.npy")
    np.testing.assert_allclose(stored[:, 1], bold["002", "1"][labels == 9].mean(axis=0)[:24], rtol=1e-5)
    with open(out / "events.csv") as file:
        words = list(csv.DictReader(file))
    assert [w["word"] for w in words] == ["So", "there"] and float(words[1]["onset_s"]) == 4.0
    assert "clock = { tr_s = 1.5 }" in made["toml"]


def test_the_little_prince_as_it_lies_on_disk(tmp_path, atlas):
    nibabel, labels_file, labels = atlas
    root, bold = tmp_path / "ds003643", {}
    for subject, runs in (("EN057", (15, 16)), ("EN058", (9, 10)), ("EN059", (15,))):
        for run in runs:
            func = root / "derivatives" / f"sub-{subject}" / "func"
            name = f"sub-{subject}_task-lppEN_run-{run:02d}_space-MNIColin27_desc-preproc_bold.nii.gz"
            bold[subject, run] = volumes(nibabel, func / name, 10 + run % 2, run)
    annotation = root / "annotation" / "EN"
    annotation.mkdir(parents=True)
    (annotation / "lppEN_word_information.csv").write_text(
        "word,lemma,onset,offset,section\nonce,once,0.1,0.4,1\nwhen,when,0.2,0.5,2\n"
    )
    out = tmp_path / "out" / "little-prince-EN"
    made = adapters.little_prince(root, labels_file, out)
    assert made["n_subjects"] == 2 and "EN059" in made["notes"][0]
    stored = np.load(out / "EN058.npy")
    expected = np.concatenate([bold["EN058", r][labels == 3].mean(axis=0) for r in (9, 10)])
    np.testing.assert_allclose(stored[:, 0], expected, rtol=1e-5)
    with open(out / "events.csv") as file:
        assert [w["run"] for w in csv.DictReader(file)] == ["section1", "section2"]


def test_a_prepared_and_recorded_study_is_one_that_check_accepts(tmp_path):
    torch = pytest.importorskip("torch")
    for subject in ("sub01", "sub02"):
        folder = tmp_path / "participants_data_v2021" / "mini_track" / subject
        folder.mkdir(parents=True)
        for roi in ("V1", "FFA"):
            told = {"train": RNG.normal(size=(40, 3, 5))}
            (folder / f"{roi}.pkl").write_bytes(pickle.dumps(told))
    out = tmp_path / "out"
    out.mkdir()
    prepare.main(["algonauts2021", str(tmp_path), str(out)])
    entry = next(e for e in MODELS if e["name"] == "vit_small_patch16_224")
    torch.manual_seed(0)
    model = networks.from_configuration(entry, small=True).eval()
    films = {f"{i + 1:04d}": torch.rand(3, 64, 64) for i in range(40)}
    prepare.record(entry, model, films, out, "algonauts2021-mini_track")
    assert prepare.study(out) == 1
    found = sx.Study(out / "study.toml").check()
    assert not [f for f in found if "error" in json.dumps(f).lower()], found
